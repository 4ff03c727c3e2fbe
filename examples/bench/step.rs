//! A step of a workload, and the steps that several workloads share.

use std::sync::Arc;

use ndarray::{Array, ArrayD, Dimension};
use tapegrad::optim::{Optimizer, Sgd};
use tapegrad::{Outputs, Param, Program, Scalar, Tape, Var};

use crate::workload::Path;

const LEARNING_RATE: f64 = 0.01;

/// Runs one step and returns its loss. A list that is passed in receives what the step computes besides: the gradients,
/// or for W11 the products.
pub type Step<T> = Box<dyn FnMut(Wanted<'_, T>) -> T>;

/// A list that receives the gradients of a step.
pub type Wanted<'w, T> = Option<&'w mut Vec<ArrayD<T>>>;

/// The parameters of a network, and their update.
pub struct Descent<T: Scalar> {
    params: Vec<Param<T>>,
    sgd: Sgd<T>,
}

impl<T: Scalar> Descent<T> {
    pub fn new(params: Vec<Param<T>>) -> Self {
        let sgd = Sgd::new(&params, T::from_f64(LEARNING_RATE));
        Self { params, sgd }
    }

    /// Updates the parameters by their gradients, and clears these.
    pub fn update(&mut self, wanted: Wanted<'_, T>) {
        if let Some(list) = wanted {
            list.extend(self.params.iter().filter_map(|param| Some(ArrayD::clone(&*param.grad()?))));
        }
        self.sgd.step();
        self.sgd.zero_grad();
    }
}

/// Trains parameters: `record` records the loss of an input.
pub fn train<T: Scalar, D: Dimension + 'static>(
    path: Path,
    x: Arc<Array<T, D>>,
    params: Vec<Param<T>>,
    record: impl for<'t> Fn(&'t Tape<T>, Var<'t, T>) -> Var<'t, T> + 'static,
) -> Step<T> {
    let mut descent = Descent::new(params);
    let mut tape = Tape::new();
    if path != Path::Program {
        return Box::new(move |wanted| {
            let loss = record(&tape, tape.constant(&x));
            loss.backward();
            let loss = loss.item();
            descent.update(wanted);
            tape.reset();
            loss
        });
    }
    let input = tape.constant(&x);
    let mut program = Program::compile_step(&[input], record(&tape, input)).expect("no step is a checkpoint");
    Box::new(move |wanted| {
        let loss = program.run(&[x.view().into_dyn()]).expect("the input has the recorded shape").item(0);
        descent.update(wanted);
        loss
    })
}

/// Computes a loss and its gradient by one array: `record` records the loss.
pub fn differentiate<T: Scalar, D: Dimension + 'static>(
    path: Path,
    x: Arc<Array<T, D>>,
    record: impl for<'t> Fn(&'t Tape<T>, Var<'t, T>) -> Var<'t, T> + 'static,
) -> Step<T> {
    let mut tape = Tape::new();
    if path != Path::Program {
        return Box::new(move |wanted| {
            let leaf = tape.leaf(&x);
            let loss = record(&tape, leaf);
            loss.backward();
            if let Some(list) = wanted {
                list.extend(leaf.grad().map(|g| g.to_owned()));
            }
            let loss = loss.item();
            tape.reset();
            loss
        });
    }
    let leaf = tape.leaf(&x);
    let loss = record(&tape, leaf);
    let mut program = Program::compile(&[leaf], &[loss, loss.grad_wrt(leaf)]).expect("no step is a checkpoint");
    Box::new(move |wanted| {
        let outputs = program.run(&[x.view().into_dyn()]).expect("the input has the recorded shape");
        loss_of(&outputs, wanted)
    })
}

/// Returns output 0, a loss, and writes the others to the list.
pub fn loss_of<T: Scalar>(outputs: &Outputs<'_, T>, wanted: Wanted<'_, T>) -> T {
    if let Some(list) = wanted {
        list.extend((1..outputs.len()).map(|k| outputs.value(k).to_owned()));
    }
    outputs.item(0)
}

/// Computes the derivative of a loss along a direction of its input: 0.1 in each element.
pub fn along<T: Scalar, D: Dimension + 'static>(
    path: Path,
    x: Arc<Array<T, D>>,
    record: impl for<'t> Fn(&'t Tape<T>, Var<'t, T>) -> Var<'t, T> + 'static,
) -> Step<T> {
    let direction = Arc::new(x.mapv(|_| T::from_f64(0.1)));
    let mut tape = Tape::new();
    Box::new(move |_| {
        let leaf = tape.leaf(&x);
        let loss = record(&tape, leaf);
        let direction = tape.constant(&direction);
        let slope = if path == Path::Jvp {
            loss.jvp(&[leaf], &[direction])
        } else {
            let cotangent = tape.leaf(T::ZERO);
            (loss.vjp(cotangent, &[leaf])[0] * direction).sum().grad_wrt(cotangent)
        };
        let slope = slope.item();
        tape.reset();
        slope
    })
}
