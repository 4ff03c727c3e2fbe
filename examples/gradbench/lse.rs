//! lse: the logarithm of a sum of exponentials, from its primitives.

use ndarray::ArrayD;
use tapegrad::Var;

use crate::input::expected;
use crate::protocol::{Call, Outcome};

fn log_sum_exp(x: Var<'_, f64>) -> Var<'_, f64> {
    let max = x.max().detach(); // the result does not depend on it
    (x - max).exp().sum().ln() + max
}

fn problem(call: &Call) -> Outcome<ArrayD<f64>> {
    let x = call.input.array("x", 1)?;
    if x.is_empty() { Err(expected("x", "at least one number", "none")) } else { Ok(x) }
}

pub fn primal(call: &mut Call) -> Outcome {
    let x = problem(call)?;
    call.value(&[], &[&x], |v| log_sum_exp(v[0]))
}

pub fn gradient(call: &mut Call) -> Outcome {
    let x = problem(call)?;
    call.gradient(&[], &[&x], |v| log_sum_exp(v[0]))
}
