//! kmeans: the squared distance of each point to the nearest centroid, and the step of Newton's method in the centroids.

use std::sync::Arc;

use ndarray::{ArrayD, Axis, concatenate};
use serde_json::Value;
use tapegrad::{KeepDims, Tape, Var};

use crate::input::{expected, limit, list};
use crate::protocol::{Call, Outcome, measure};

/// Returns `Σ_i min_j ‖c_j - p_i‖²`. The nearest centroid of each point is chosen by value, as by a branch.
fn distance<'t>([c, p, columns]: [Var<'t, f64>; 3]) -> Var<'t, f64> {
    // The nearest has the largest 2 c_j · p_i - ‖c_j‖²: one product, of [2 c  -‖c‖²] and [p 1]ᵀ. A row for each centroid: the
    // points lie beside each other, and many are compared at the same time.
    let nearness =
        c.tape().no_grad(|| Var::concat(&[2.0 * c, -c.square().sum_axes([1], KeepDims::Yes)], 1).matmul(columns));
    let nearest = nearness.argmax(0).into_raw_vec_and_offset().0;
    (c.index_select(0, &nearest) - p).square().sum()
}

/// Returns centroids, points, and the points as columns with a 1 below each. The tape shares them.
fn problem(call: &Call) -> Outcome<[Arc<ArrayD<f64>>; 3]> {
    let (points, centroids) = (call.input.array("points", 2)?, call.input.array("centroids", 2)?);
    let d = points.shape()[1];
    if centroids.shape()[1] != d || centroids.is_empty() || points.is_empty() {
        let found = format!("{:?} and {:?}", points.shape(), centroids.shape());
        return Err(expected("points and centroids", "lists of the shapes [n, d] and [k, d]", found));
    }
    limit("points times centroids", points.shape()[0] as f64 * centroids.shape()[0] as f64, 5e8)?;
    let columns = concatenate![Axis(0), points.t(), ArrayD::ones(vec![1, points.shape()[0]])];
    Ok([centroids, points, columns].map(Arc::new))
}

pub fn cost(call: &mut Call) -> Outcome {
    let ([c, p, columns], mut tape) = (problem(call)?, Tape::new());
    let run = || {
        tape.reset();
        Ok(distance([&c, &p, &columns].map(|x| tape.constant(x))).item())
    };
    measure(call.input, run, Value::from)
}

/// The step is the gradient by the diagonal of the Hessian. The rest of the Hessian is 0: its product with ones is its diagonal.
pub fn dir(call: &mut Call) -> Outcome {
    let ([c, p, columns], mut tape) = (problem(call)?, Tape::new());
    let run = || {
        tape.reset();
        let (leaf, ones) = (tape.leaf(&c), tape.constant(ArrayD::ones(c.raw_dim())));
        let cost = distance([leaf, tape.constant(&p), tape.constant(&columns)]);
        let gradient = cost.grad_wrt(leaf);
        let diagonal = gradient.jvp(&[leaf], &[ones]);
        Ok((gradient / diagonal).value().to_owned())
    };
    measure(call.input, run, list)
}
