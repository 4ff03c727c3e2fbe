//! llsq: the coefficients of a polynomial are fitted to the sign of `t`, at `n` points `t` from -1 to 1.

use ndarray::{Array1, Array2, ArrayD};
use tapegrad::Var;

use crate::input::{expected, limit};
use crate::protocol::{Call, Outcome};

/// Returns `½ Σ (sign t_i - Σ x_j t_i^j)²`.
fn distance(x: Var<'_, f64>, n: usize) -> Var<'_, f64> {
    let t = Array1::linspace(-1.0, 1.0, n);
    let mut powers = Array2::ones((n, x.shape().elements()));
    for j in 1..powers.ncols() {
        let next = &powers.column(j - 1) * &t;
        powers.column_mut(j).assign(&next);
    }
    let sign = x.tape().constant(&t).sign();
    0.5 * (sign - x.tape().constant(powers).matmul(x)).square().sum()
}

fn problem(call: &Call) -> Outcome<(ArrayD<f64>, usize)> {
    let (x, n) = (call.input.array("x", 1)?, call.input.count("n")?);
    if n < 2 {
        return Err(expected("n", "2 points or more", n));
    }
    limit("n times the length of x", n as f64 * x.len() as f64, 2e8)?;
    Ok((x, n))
}

pub fn primal(call: &mut Call) -> Outcome {
    let (x, n) = problem(call)?;
    call.value(&[n], &[&x], |v| distance(v[0], n))
}

pub fn gradient(call: &mut Call) -> Outcome {
    let (x, n) = problem(call)?;
    call.gradient(&[n], &[&x], |v| distance(v[0], n))
}
