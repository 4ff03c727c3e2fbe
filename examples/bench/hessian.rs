//! W11: the Hessian of W3's loss times a direction, by all parameters: 784 → 100 tanh → 10, batch 128. A step computes the
//! loss and the four products. The gradient is not asked for, and nothing is updated.
//!
//! `--variant fwdrev` differentiates the gradient forward along the direction, which is [`Var::hvp`]. `--variant revrev`
//! differentiates `Σ gradient · direction` backward.
//!
//! Input, labels and parameters are those of W3, streams 300 to 305. The direction of parameter `k` is stream `1100 + k`, in
//! `[-1, 1)`.

use std::sync::Arc;

use ndarray::{ArrayD, IxDyn};
use tapegrad::{Program, Reduction, Scalar, Tape, Var};

use crate::data;
use crate::step::{Step, loss_of};
use crate::workload::{Path, Variant, Workload};

pub const BATCH: usize = 128;
const SHAPES: [&[usize]; 4] = [&[784, 100], &[100], &[100, 10], &[10]];

/// Returns a step of W11.
pub fn step<T: Scalar>(path: Path, variant: Option<Variant>) -> Step<T> {
    let (base, stream) = (Workload::W3.stream(), Workload::W11.stream());
    let x = Arc::new(data::array::<T, _>(base, (BATCH, 784), |u| u));
    let labels = data::labels(base + 1, BATCH, 10);
    let params = [
        data::weight(base + 2, IxDyn(SHAPES[0]), 784),
        ArrayD::clone(&*data::bias(base + 3, 100, 784).value()),
        data::weight(base + 4, IxDyn(SHAPES[2]), 100),
        ArrayD::clone(&*data::bias(base + 5, 10, 100).value()),
    ]
    .map(Arc::new);
    let mut streams = stream..;
    let directions = SHAPES
        .map(|shape| data::array(streams.next().unwrap_or_default(), IxDyn(shape), data::symmetric))
        .map(Arc::new);

    let mut tape = Tape::new();
    if path != Path::Program {
        return Box::new(move |wanted| {
            let leaves = params.each_ref().map(|param| tape.leaf(param));
            let directions = directions.each_ref().map(|direction| tape.constant(direction));
            let loss = record(tape.constant(&x), leaves, &labels);
            let products = match variant {
                Some(Variant::Revrev) => {
                    weighted(loss.grads(&leaves), directions).backward();
                    leaves.map(|leaf| leaf.grad()).into_iter().flatten().collect()
                }
                _ => loss.hvp(&leaves, &directions).into_iter().map(Var::value).collect::<Vec<_>>(),
            };
            if let Some(list) = wanted {
                list.extend(products.iter().map(|product| product.to_owned()));
            }
            let loss = loss.item();
            tape.reset();
            loss
        });
    }
    let arrays: Vec<_> = params.into_iter().chain(directions).collect();
    let vars: Vec<_> = arrays.iter().map(|array| tape.leaf(array)).collect();
    let (leaves, directions) = vars.split_at(4);
    let input = tape.constant(&x);
    let loss = record(input, [leaves[0], leaves[1], leaves[2], leaves[3]], &labels);
    let products = match variant {
        Some(Variant::Revrev) => weighted(loss.grads(leaves), directions.iter().copied()).grads(leaves),
        _ => loss.hvp(leaves, directions),
    };
    let outputs: Vec<_> = std::iter::once(loss).chain(products).collect();
    let inputs: Vec<_> = std::iter::once(input).chain(vars.iter().copied()).collect();
    let mut program = Program::compile(&inputs, &outputs).expect("no step is a checkpoint");
    Box::new(move |wanted| {
        let inputs: Vec<_> = std::iter::once(x.view().into_dyn()).chain(arrays.iter().map(|a| a.view())).collect();
        loss_of(&program.run(&inputs).expect("the inputs have the recorded shapes"), wanted)
    })
}

/// Records the loss.
fn record<'t, T: Scalar>(x: Var<'t, T>, [w1, b1, w2, b2]: [Var<'t, T>; 4], labels: &[usize]) -> Var<'t, T> {
    let hidden = (x.matmul(w1) + b1).tanh();
    (hidden.matmul(w2) + b2).cross_entropy_labels(labels, Reduction::Mean)
}

/// Returns `Σ gradient · direction` over all parameters.
fn weighted<'t, T: Scalar>(gradients: Vec<Var<'t, T>>, directions: impl IntoIterator<Item = Var<'t, T>>) -> Var<'t, T> {
    let sums = gradients.into_iter().zip(directions).map(|(gradient, direction)| (gradient * direction).sum());
    sums.reduce(|sum, more| sum + more).expect("there are parameters")
}
