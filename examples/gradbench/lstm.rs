//! lstm: the loss of a small recurrent network that predicts the next character of a text, from ADBench.
//!
//! All weights act elementwise. Layer `j` has the rows `2j` of `main_params`, weights, and `2j + 1`, biases. Each row has
//! four blocks: forget gate, input gate, output gate, change. The forget gate and the output gate see the layer's input, the
//! other two its last output.

use ndarray::ArrayD;
use tapegrad::{KeepDims, Var};

use crate::input::{expected, limit};
use crate::protocol::{Call, Outcome};

fn loss<'t>(v: &[Var<'t, f64>]) -> Var<'t, f64> {
    let &[main, extra, state, sequence] = v else { panic!("lstm has four inputs") };
    let row = |x: Var<'t, f64>, k: usize| x.slice(0, k..=k).squeeze(0);
    let (layers, width, steps) = (state.shape()[0] / 2, state.shape()[1], sequence.shape()[0] - 1);
    let blocks = main.reshape([8 * layers, width]);
    let block: Vec<Var<'t, f64>> = (0..8 * layers).map(|k| row(blocks, k)).collect();
    let gate = |layer: usize, gate: usize, x: Var<'t, f64>| x * block[8 * layer + gate] + block[8 * layer + 4 + gate];
    let extra = [0, 1, 2].map(|k| row(extra, k));
    let mut state: Vec<Var<'t, f64>> = (0..2 * layers).map(|k| row(state, k)).collect();

    let mut outputs = Vec::with_capacity(steps);
    for t in 0..steps {
        let mut x = row(sequence, t) * extra[0];
        for (layer, state) in state.chunks_exact_mut(2).enumerate() {
            let [hidden, cell] = [state[0], state[1]];
            let forget = gate(layer, 0, x).sigmoid();
            let output = gate(layer, 2, x).sigmoid();
            let input = gate(layer, 1, hidden).sigmoid();
            let change = gate(layer, 3, hidden).tanh();
            state[1] = cell * forget + input * change;
            state[0] = output * state[1].tanh();
            x = state[0];
        }
        outputs.push(x);
    }

    let y = Var::stack(&outputs, 0) * extra[1] + extra[2];
    let log_total = (y.exp().sum_axes([1], KeepDims::Yes) + 2.0).ln();
    let total = (sequence.slice(0, 1..) * (y - log_total)).sum();
    -total / (steps * width) as f64
}

fn problem(call: &Call) -> Outcome<[ArrayD<f64>; 4]> {
    let input = call.input;
    let (sequence, state) = (input.array("sequence", 2)?, input.array("state", 2)?);
    let ([c, b], rows) = ([sequence.shape()[0], sequence.shape()[1]], state.shape()[0]);
    if c < 2 || b == 0 || rows == 0 || rows % 2 != 0 || state.shape()[1] != b {
        let found = format!("{:?} and {:?}", sequence.shape(), state.shape());
        return Err(expected("sequence and state", "shapes [c, b] with c from 2, and [2 layers, b]", found));
    }
    limit("the sequence times the layers", (c * rows) as f64 * b as f64, 2e7)?;
    Ok([input.shaped("main_params", &[rows, 4 * b])?, input.shaped("extra_params", &[3, b])?, state, sequence])
}

pub fn objective(call: &mut Call) -> Outcome {
    let problem = problem(call)?;
    call.value(&[], &problem.each_ref(), loss)
}

pub fn jacobian(call: &mut Call) -> Outcome {
    let problem = problem(call)?;
    call.value(&[], &problem.each_ref(), |v| {
        let gradients = loss(v).grads(&v[..2]).into_iter();
        Var::concat(&gradients.map(|g| g.reshape([g.shape().elements()])).collect::<Vec<_>>(), 0)
    })
}
