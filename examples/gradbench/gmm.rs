//! gmm: the log-likelihood of a Gaussian mixture with a Wishart prior, from ADBench.
//!
//! `Q_k` is lower-triangular: `exp q_k` on the diagonal, `l_k` below it, column by column.
//!
//! ```text
//! -n (d/2 ln 2π + lse(α)) + Σ_i lse_k(α_k + Σ q_k - ½ ‖Q_k (x_i - μ_k)‖²)
//!     + k (ν d ln(γ/√2) - ln Γ_d(ν/2)) - γ²/2 Σ_k ‖Q_k‖² + m Σ q,  ν = d + m + 1
//! ```

use std::f64::consts::{LN_2, PI};

use ndarray::{Array2, ArrayD, arr0};
use serde_json::json;
use tapegrad::{KeepDims, Var};

use crate::input::{expected, limit, list};
use crate::protocol::{Call, Outcome};

/// The parameters α, μ, q, l, then the points, γ, m, and what depends on these two alone.
type Problem = [ArrayD<f64>; 8];

fn log_likelihood<'t>(v: &[Var<'t, f64>]) -> Var<'t, f64> {
    let &[alpha, mu, q, l, x, gamma, m, constant] = v else { panic!("gmm has eight inputs") };
    let (tape, [n, d], k) = (x.tape(), [x.shape()[0], x.shape()[1]], alpha.shape()[0]);

    // Q_k (x - μ_k), for all points and components, is one product: [x 1] [Q  -Q μ]ᵀ.
    let diagonal = q.exp();
    let padded = Var::concat(&[diagonal, l, tape.constant(Array2::zeros((k, 1)))], 1);
    let roots = padded.index_select(1, &lower_triangle(d)).reshape([k, d, d]);
    let offsets = -(roots * mu.reshape([k, 1, d])).sum_axes([2], KeepDims::Yes);
    let maps = Var::concat(&[roots, offsets], 2).reshape([k * d, d + 1]);
    let points = Var::concat(&[x, tape.constant(Array2::ones((n, 1)))], 1);
    let distances = points.matmul(maps.transpose()).square().reshape([n, k, d]).sum_axes([2], KeepDims::No);

    let sums = q.sum_axes([1], KeepDims::No);
    let fit = (alpha + sums - 0.5 * distances).logsumexp_axes([1], KeepDims::No).sum();
    let norms = diagonal.square().sum() + l.square().sum();
    fit - n as f64 * alpha.logsumexp() + constant - 0.5 * gamma.square() * norms + m * sums.sum()
}

/// Returns where each element of `Q` is found in a row `exp q, l, 0`.
fn lower_triangle(d: usize) -> Vec<usize> {
    let mut positions = vec![d * (d + 1) / 2; d * d];
    let mut below = d..;
    for column in 0..d {
        positions[column * d + column] = column;
        (column + 1..d).zip(&mut below).for_each(|(row, position)| positions[row * d + column] = position);
    }
    positions
}

fn problem(call: &Call) -> Outcome<Problem> {
    let input = call.input;
    let [d, k, n] = [input.count("d")?, input.count("k")?, input.count("n")?];
    if d == 0 || k == 0 || n == 0 {
        return Err(expected("d, k, n", "whole numbers from 1", format!("{d}, {k}, {n}")));
    }
    limit("k times n times d", k as f64 * n as f64 * d as f64, 5e8)?;
    let (gamma, m) = (input.number("gamma")?, input.count("m")?);
    if gamma <= 0.0 {
        return Err(expected("gamma", "a number above 0", gamma));
    }
    let nu = (d + m + 1) as f64;
    let wishart = nu * d as f64 * (gamma.ln() - 0.5 * LN_2) - ln_gamma_of_matrix(0.5 * nu, d);
    let constant = k as f64 * wishart - 0.5 * (n * d) as f64 * (2.0 * PI).ln();
    Ok([
        input.shaped("alpha", &[k])?,
        input.shaped("mu", &[k, d])?,
        input.shaped("q", &[k, d])?,
        input.shaped("l", &[k, d * (d - 1) / 2])?,
        input.shaped("x", &[n, d])?,
        arr0(gamma).into_dyn(),
        arr0(m as f64).into_dyn(),
        arr0(constant).into_dyn(),
    ])
}

/// Returns `ln Γ_d(x)`, the logarithm of the gamma function of d×d matrices.
fn ln_gamma_of_matrix(x: f64, d: usize) -> f64 {
    0.25 * (d * (d - 1)) as f64 * PI.ln() + (0..d).map(|j| libm::lgamma(x - 0.5 * j as f64)).sum::<f64>()
}

pub fn objective(call: &mut Call) -> Outcome {
    let problem = problem(call)?;
    call.value(&[], &problem.each_ref(), log_likelihood)
}

pub fn jacobian(call: &mut Call) -> Outcome {
    let problem = problem(call)?;
    call.compiled(
        &[],
        &problem.each_ref(),
        |v| log_likelihood(v).grads(&v[..4]),
        |outputs| [0, 1, 2, 3].map(|parameter| outputs.value(parameter).to_owned()),
        |[alpha, mu, q, l]| json!({ "alpha": list(alpha), "mu": list(mu), "q": list(q), "l": list(l) }),
    )
}
