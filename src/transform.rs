//! Derivatives of functions: they take a closure and arrays, and return arrays.
//!
//! A function takes and returns [`Var`]s, as on a tape: `|x| (x * x).sum()`. Each helper records it once, on a tape of its own.
//! Gradients do not accumulate: those of [`Param`](crate::Param)s that the function uses stay as they are. The function
//! records other arrays on the tape of its argument: `|x| x.matmul(x.tape().constant(&a))`.
//!
//! The derivative by an argument that the function does not depend on is 0. [`Var::grads`], [`Var::vjp`], [`Var::jvp`] and
//! [`Var::hvp`] give derivatives by any `Var`, and record them.
//!
//! | helper | function returns | gives | cost, in runs of the function |
//! |---|---|---|---|
//! | [`value_and_grad`], [`value_and_grads`] | a loss | its value and gradient | a few |
//! | [`vjp`] | an array | its value, and `Jᵀ g` for a cotangent `g` | a few |
//! | [`jvp`] | an array | its value, and `J v` for a tangent `v` | a few |
//! | [`jacobian`] | an array | `J` | a few for each input, or for each output if these are fewer |
//! | [`hvp`] | a loss | `H v` | a few |
//! | [`hessian`] | a loss | `H` | a few for each input |
//!
//! # Example
//!
//! Newton's method: one step leads to the minimum of a quadratic function.
//!
//! ```
//! use ndarray::{Ix2, array};
//! use tapegrad::{Var, transform};
//!
//! fn f(x: Var<'_, f64>) -> Var<'_, f64> {
//!     let centered = x - x.tape().constant(array![1.0, -2.0]);
//!     (centered.square() * x.tape().constant(array![1.0, 4.0])).sum()
//! }
//!
//! let x = array![5.0, 5.0];
//! let (value, gradient) = transform::value_and_grad(f, &x);
//! assert_eq!(value, 212.0); // 4² + 4 · 7²
//! assert_eq!(gradient, array![8.0, 56.0]);
//! let hessian = transform::hessian(f, &x).into_dimensionality::<Ix2>()?;
//! assert_eq!(hessian, array![[2.0, 0.0], [0.0, 8.0]]);
//! assert_eq!(x - gradient / hessian.diag(), array![1.0, -2.0]);
//! # Ok::<(), ndarray::ShapeError>(())
//! ```

use ndarray::{Array, ArrayD, ArrayRef, ArrayViewD, Dimension, IxDyn};

use crate::blame;
use crate::input::Input;
use crate::scalar::Scalar;
use crate::shape::{Shape, elements};
use crate::sweep::batch_grads;
use crate::tape::{Tape, Var};

/// Returns the value of `f` at `x`, a single number, and its gradient.
///
/// # Panics
///
/// If `f` returns more than one number.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::transform::value_and_grad;
///
/// let (value, gradient) = value_and_grad(|x| (x * x).sum(), &array![1.0, 2.0]);
/// assert_eq!(value, 5.0);
/// assert_eq!(gradient, array![2.0, 4.0]);
/// ```
#[track_caller]
pub fn value_and_grad<T: Scalar, D: Dimension>(
    f: impl for<'t> FnOnce(Var<'t, T>) -> Var<'t, T>,
    x: &ArrayRef<T, D>,
) -> (T, Array<T, D>) {
    let tape = Tape::new();
    let leaf = tape.leaf(x);
    let y = loss("value_and_grad", &tape, f(leaf));
    (y.item(), pull(y, None, leaf, x.raw_dim()))
}

/// Returns the value of a function of several arrays, a single number, and its gradient by each array.
///
/// # Panics
///
/// If `f` returns more than one number.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::transform::value_and_grads;
///
/// let (a, b) = (array![1.0, 2.0], array![[3.0], [4.0]]);
/// let inputs = [a.view().into_dyn(), b.view().into_dyn()];
/// let (value, gradients) = value_and_grads(|x| x[0].matmul(x[1]).sum(), &inputs);
/// assert_eq!(value, 11.0);
/// assert_eq!(gradients[0], array![3.0, 4.0].into_dyn());
/// assert_eq!(gradients[1], array![[1.0], [2.0]].into_dyn());
/// ```
#[track_caller]
pub fn value_and_grads<T: Scalar>(
    f: impl for<'t> FnOnce(&[Var<'t, T>]) -> Var<'t, T>,
    inputs: &[ArrayViewD<'_, T>],
) -> (T, Vec<ArrayD<T>>) {
    let tape = Tape::new();
    let leaves: Vec<Var<'_, T>> = inputs.iter().map(|x| tape.leaf(x)).collect();
    let y = loss("value_and_grads", &tape, f(&leaves));
    let grads = blame::source_grads(y, None, &leaves);
    (y.item(), grads.into_iter().zip(inputs).map(|(g, x)| array(g, x.raw_dim())).collect())
}

/// Returns the value of `f` at `x`, and the vector-Jacobian product `Jᵀ g`. The cotangent `g` has the value's shape.
///
/// # Panics
///
/// If the cotangent's shape is not that of the value.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::transform::vjp;
///
/// let (value, pulled) = vjp(|x| x.square(), &array![1.0, 2.0], array![10.0, 100.0]);
/// assert_eq!(value, array![1.0, 4.0].into_dyn());
/// assert_eq!(pulled, array![20.0, 400.0]); // 2 x g
/// ```
#[track_caller]
pub fn vjp<T: Scalar, D: Dimension>(
    f: impl for<'t> FnOnce(Var<'t, T>) -> Var<'t, T>,
    x: &ArrayRef<T, D>,
    cotangent: impl Input<T>,
) -> (ArrayD<T>, Array<T, D>) {
    let tape = Tape::new();
    let leaf = tape.leaf(x);
    let y = own("vjp", &tape, f(leaf));
    let (found, shape) = (cotangent.dims(), y.shape());
    assert!(found == shape, "vjp: a cotangent of shape {found} for a value of shape {shape}");
    let seed = tape.seed(cotangent);
    (y.value().to_owned(), pull(y, Some(seed.values()), leaf, x.raw_dim()))
}

/// Returns the value of `f` at `x`, and the Jacobian-vector product `J v`: the derivative of the value along `v`.
///
/// The tangent `v` has the shape of `x`. The product is computed in forward mode; see [`Var::jvp`].
///
/// # Panics
///
/// If the tangent's shape is not that of `x`.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::transform::jvp;
///
/// let (value, pushed) = jvp(|x| (x * x).sum(), &array![1.0, 2.0], &array![1.0, 10.0]);
/// assert_eq!(value.sum(), 5.0);
/// assert_eq!(pushed.sum(), 42.0); // 2·1·1 + 2·2·10
/// ```
#[track_caller]
pub fn jvp<T: Scalar, D: Dimension>(
    f: impl for<'t> FnOnce(Var<'t, T>) -> Var<'t, T>,
    x: &ArrayRef<T, D>,
    tangent: &ArrayRef<T, D>,
) -> (ArrayD<T>, ArrayD<T>) {
    let tape = Tape::new();
    let (leaf, tangent) = (tape.leaf(x), tape.constant(tangent));
    let y = own("jvp", &tape, f(leaf));
    let value = y.value().to_owned();
    let pushed = y.jvp_or_none(&[leaf], &[tangent]);
    let pushed = pushed.map_or_else(|| ArrayD::zeros(value.raw_dim()), |pushed| pushed.value().to_owned());
    (value, pushed)
}

/// Returns the Jacobian of `f` at `x`: the derivative of every element of the value by every element of `x`.
///
/// It is computed row by row, or column by column if there are fewer columns than rows.
///
/// # Shapes
///
/// The axes of the value, followed by the axes of `x`.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::transform::jacobian;
///
/// // (x0, x1) -> (x0 x1, x1²)
/// let rows = jacobian(|x| x.slice(0, 1..) * x, &array![2.0, 3.0]);
/// assert_eq!(rows, array![[3.0, 2.0], [0.0, 6.0]].into_dyn());
/// ```
#[track_caller]
pub fn jacobian<T: Scalar, D: Dimension>(
    f: impl for<'t> FnOnce(Var<'t, T>) -> Var<'t, T>,
    x: &ArrayRef<T, D>,
) -> ArrayD<T> {
    let tape = Tape::new();
    let leaf = tape.leaf(x);
    let y = own("jacobian", &tape, f(leaf));
    let (outputs, inputs) = (y.shape().elements(), x.len());
    let jacobian = if outputs <= inputs {
        Some(rows(y, leaf))
    } else {
        // The vjp is linear in its cotangent u, with the matrix Jᵀ: the rows of its own Jacobian are the columns of J.
        let u = tape.leaf(ArrayD::zeros(IxDyn(&y.shape())));
        only(y.vjp_or_none(u, &[leaf])).map(|pulled| {
            let transposed = rows(pulled, u);
            (0..outputs * inputs).map(|k| transposed[k % inputs * outputs + k / inputs]).collect()
        })
    };
    matrix(jacobian, &y.shape(), x.shape())
}

/// Returns the Hessian of `f` at `x`: the second derivatives of the value, a single number, by all pairs of elements of `x`.
///
/// # Shapes
///
/// The axes of `x`, twice.
///
/// # Panics
///
/// If `f` returns more than one number.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::transform::hessian;
///
/// // x0² x1
/// let second = hessian(|x| x.slice(0, ..1).square().sum() * x.slice(0, 1..).sum(), &array![3.0, 5.0]);
/// assert_eq!(second, array![[10.0, 6.0], [6.0, 0.0]].into_dyn()); // 2 x1, 2 x0, 0
/// ```
#[track_caller]
pub fn hessian<T: Scalar, D: Dimension>(
    f: impl for<'t> FnOnce(Var<'t, T>) -> Var<'t, T>,
    x: &ArrayRef<T, D>,
) -> ArrayD<T> {
    let tape = Tape::new();
    let leaf = tape.leaf(x);
    let y = loss("hessian", &tape, f(leaf));
    let hessian = only(y.grads_or_none(&[leaf])).map(|gradient| rows(gradient, leaf));
    matrix(hessian, x.shape(), x.shape())
}

/// Returns the Hessian-vector product `H v` of `f` at `x`, in the shape of `x`. The Hessian is never formed.
///
/// # Panics
///
/// If `f` returns more than one number, or if the shape of `v` is not that of `x`.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::transform::hvp;
///
/// let product = hvp(|x| (x * x * x).sum(), &array![1.0, 2.0], &array![1.0, 10.0]);
/// assert_eq!(product, array![6.0, 120.0]); // 6 x v
/// ```
#[track_caller]
pub fn hvp<T: Scalar, D: Dimension>(
    f: impl for<'t> FnOnce(Var<'t, T>) -> Var<'t, T>,
    x: &ArrayRef<T, D>,
    v: &ArrayRef<T, D>,
) -> Array<T, D> {
    let (found, shape) = (Shape::from(v.shape()), Shape::from(x.shape()));
    assert!(found == shape, "hvp: a vector of shape {found} for an array of shape {shape}");
    let tape = Tape::new();
    let leaf = tape.leaf(x);
    let y = loss("hvp", &tape, f(leaf));
    // H is symmetric, so both a vjp and a jvp of the gradient give H v. The vjp, on arrays, is faster.
    match only(y.grads_or_none(&[leaf])) {
        Some(gradient) => {
            let mut seed = tape.pool().take(elements(x.shape()));
            seed.iter_mut().zip(v).for_each(|(to, &v)| *to = v);
            pull(gradient, Some(&seed), leaf, x.raw_dim())
        }
        None => Array::zeros(x.raw_dim()),
    }
}

/// Returns `y`, the result of a function, after checking that it is on the tape of the argument.
#[track_caller]
fn own<'t, T: Scalar>(helper: &str, tape: &'t Tape<T>, y: Var<'t, T>) -> Var<'t, T> {
    assert!(std::ptr::eq(y.tape(), tape), "{helper}: the function returned a Var of another tape");
    y
}

/// Returns `y`, the result of a function, after checking that it is a single number on the tape of the argument.
#[track_caller]
fn loss<'t, T: Scalar>(helper: &str, tape: &'t Tape<T>, y: Var<'t, T>) -> Var<'t, T> {
    let shape = own(helper, tape, y).shape();
    assert!(shape.elements() == 1, "{helper}: the function returned shape {shape}, not a single number");
    y
}

/// Returns the gradient of `Σ y * seed` by a leaf.
fn pull<T: Scalar, D: Dimension>(y: Var<'_, T>, seed: Option<&[T]>, leaf: Var<'_, T>, dim: D) -> Array<T, D> {
    array(only(blame::source_grads(y, seed, &[leaf])), dim)
}

/// Returns the derivative by a single variable.
fn only<G>(derivatives: Vec<Option<G>>) -> Option<G> {
    derivatives.into_iter().next().flatten()
}

/// Returns the elements as an array; zeros for `None`.
fn array<T: Scalar, D: Dimension>(elements: Option<Vec<T>>, dim: D) -> Array<T, D> {
    match elements {
        Some(elements) => Array::from_shape_vec(dim, elements).expect("a derivative has the shape that it belongs to"),
        None => Array::zeros(dim),
    }
}

/// Returns the elements of a derivative as an array with the axes of the outputs, followed by those of the inputs.
fn matrix<T: Scalar>(elements: Option<Vec<T>>, outputs: &[usize], inputs: &[usize]) -> ArrayD<T> {
    let shape: Shape = outputs.iter().chain(inputs).copied().collect();
    array(elements, IxDyn(&shape))
}

/// The number of elements of the largest cotangent of a batch, about: a batch of large arrays saves no time.
const BATCH: usize = 1 << 16;

/// Returns the gradient of each element of `y` by a leaf, one row each.
fn rows<T: Scalar>(y: Var<'_, T>, leaf: Var<'_, T>) -> Vec<T> {
    let (outputs, inputs) = (y.shape().elements(), leaf.shape().elements());
    let mut rows = vec![T::ZERO; outputs * inputs];
    let largest = {
        let nodes = y.tape().nodes();
        (leaf.id()..=y.id()).map(|id| elements(nodes.shape(id))).max().unwrap_or(1)
    };
    // A checked tape looks at each cotangent.
    let together = if y.tape().is_checked() { 1 } else { (BATCH / largest.max(1)).clamp(1, outputs.max(1)) };
    for (part, rows) in rows.chunks_mut((together * inputs).max(1)).enumerate() {
        let (first, count) = (part * together, rows.len() / inputs);
        let mut seeds = vec![T::ZERO; count * outputs];
        (0..count).for_each(|member| seeds[member * outputs + first + member] = T::ONE);
        let batch = if count > 1 { batch_grads(y, &seeds, count, leaf) } else { None };
        if let Some(batch) = batch {
            rows.copy_from_slice(&batch);
            continue;
        }
        for (row, seed) in rows.chunks_exact_mut(inputs).zip(seeds.chunks_exact(outputs)) {
            if let Some(gradient) = only(blame::source_grads(y, Some(seed), &[leaf])) {
                row.copy_from_slice(&gradient);
                y.tape().pool().put(gradient);
            }
        }
    }
    rows
}
