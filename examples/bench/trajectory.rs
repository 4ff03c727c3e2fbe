//! W12: 1,000 steps of the classical Runge-Kutta method (RK4), of length 0.01, and the gradient by four parameters.
//!
//! ```text
//! x' = a x - b x y,  y' = -c y + d x y,  z' = x - z,  from (1, 0.5, 0), with (a, b, c, d) = (1.5, 1, 3, 1)
//! ```
//!
//! The loss is the sum of squares of the final state. The parameters are one array of 4; its elements are taken once, before
//! the loop. The state is one array of 3. `--variant scalars` has three numbers instead. There are no random data, and
//! nothing is updated.

use std::array::from_fn;
use std::sync::Arc;

use ndarray::{Array1, arr1};
use tapegrad::{Scalar, Tape, Var};

use crate::step::{Step, differentiate};
use crate::workload::{Path, Variant};

const START: [f64; 3] = [1.0, 0.5, 0.0];
const PARAMS: [f64; 4] = [1.5, 1.0, 3.0, 1.0];
pub const STEPS: usize = 1000;
const H: f64 = 0.01;

/// Returns a step of W12.
pub fn step<T: Scalar>(path: Path, variant: Option<Variant>) -> Step<T> {
    let params: Arc<Array1<T>> = Arc::new(arr1(&PARAMS.map(T::from_f64)));
    match variant {
        Some(Variant::Scalars) => differentiate(path, params, |tape, p| {
            let p = from_fn(|k| p.slice(0, k..k + 1).squeeze(0));
            let start = START.map(|x| tape.constant(T::from_f64(x)));
            let [x, y, z] = integrate(start, |[x, y, z]| slopes(p, x, y, z));
            x.square() + y.square() + z.square()
        }),
        _ => differentiate(path, params, |tape: &Tape<T>, p| {
            let p = from_fn(|k| element(p, k));
            let start = tape.constant(arr1(&START.map(T::from_f64)));
            let [end] =
                integrate([start], |[s]| [Var::concat(&slopes(p, element(s, 0), element(s, 1), element(s, 2)), 0)]);
            end.square().sum()
        }),
    }
}

/// Returns an element of a vector, as an array of one.
fn element<T: Scalar>(vector: Var<'_, T>, k: usize) -> Var<'_, T> {
    vector.slice(0, k..k + 1)
}

/// Returns the derivatives of the state by time.
fn slopes<'t, T: Scalar>(
    [a, b, c, d]: [Var<'t, T>; 4],
    x: Var<'t, T>,
    y: Var<'t, T>,
    z: Var<'t, T>,
) -> [Var<'t, T>; 3] {
    let xy = x * y;
    [a * x - b * xy, d * xy - c * y, x - z]
}

/// Returns the state after all steps.
fn integrate<'t, T: Scalar, const N: usize>(
    start: [Var<'t, T>; N],
    f: impl Fn([Var<'t, T>; N]) -> [Var<'t, T>; N],
) -> [Var<'t, T>; N] {
    let [half, whole, sixth, two] = [H / 2.0, H, H / 6.0, 2.0].map(T::from_f64);
    (0..STEPS).fold(start, |s, _| {
        let ahead = |h: T, k: [Var<'t, T>; N]| from_fn(|i| s[i] + k[i] * h);
        let k1 = f(s);
        let k2 = f(ahead(half, k1));
        let k3 = f(ahead(half, k2));
        let k4 = f(ahead(whole, k3));
        from_fn(|i| s[i] + (k1[i] + k2[i] * two + k3[i] * two + k4[i]) * sixth)
    })
}
