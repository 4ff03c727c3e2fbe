//! ode: `y_i' = x_i y_{i-1}`, with 1 for `y_{-1}`, from `y = 0` to `t = 2` by `s` steps of the classical Runge-Kutta method.

use ndarray::{ArrayD, arr1};
use tapegrad::Var;

use crate::input::{expected, limit};
use crate::protocol::{Call, Outcome};

fn solve<'t>(x: Var<'t, f64>, s: usize) -> Var<'t, f64> {
    let (tape, n) = (x.tape(), x.shape().elements());
    let one = tape.constant(arr1(&[1.0]));
    let f = |y: Var<'t, f64>| x * Var::concat(&[one, y.slice(0, ..n - 1)], 0);
    let h = 2.0 / s as f64;
    (0..s).fold(tape.constant(ArrayD::zeros(vec![n])), |y, _| {
        let k1 = f(y);
        let k2 = f(y + k1 * (h / 2.0));
        let k3 = f(y + k2 * (h / 2.0));
        let k4 = f(y + k3 * h);
        y + (k1 + k2 * 2.0 + k3 * 2.0 + k4) * (h / 6.0)
    })
}

fn problem(call: &Call) -> Outcome<(ArrayD<f64>, usize)> {
    let (x, s) = (call.input.array("x", 1)?, call.input.count("s")?);
    if x.is_empty() || s == 0 {
        return Err(expected("x and s", "at least one equation and one step", format!("{} and {s}", x.len())));
    }
    limit("s times the length of x", s as f64 * x.len() as f64, 2e7)?;
    limit("s", s as f64, 1e5)?;
    Ok((x, s))
}

pub fn primal(call: &mut Call) -> Outcome {
    let (x, s) = problem(call)?;
    call.value(&[s], &[&x], |v| solve(v[0], s))
}

/// The gradient of the last element.
pub fn gradient(call: &mut Call) -> Outcome {
    let (x, s) = problem(call)?;
    let last = x.len() - 1;
    call.gradient(&[s], &[&x], |v| solve(v[0], s).slice(0, last..).sum())
}
