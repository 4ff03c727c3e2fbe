//! Derivatives of functions: a closure and arrays go in, arrays come out.
//!
//! A function is written on [`Var`]s, as on a tape: `|x| (x * x).sum()`. Each helper records it once, on a tape of
//! its own, and nothing accumulates anywhere: the gradients of [`Param`](crate::Param)s that the function uses stay
//! as they are. Other arrays enter through the tape of the argument: `|x| x.matmul(x.tape().constant(&a))`.
//!
//! A derivative by something that the function does not depend on is 0. For derivatives that are themselves recorded,
//! and by any value, see [`Var::grads`], [`Var::vjp`], [`Var::jvp`] and [`Var::hvp`].
//!
//! | helper | of | gives | cost, in runs of the function |
//! |---|---|---|---|
//! | [`value_and_grad`], [`value_and_grads`] | a loss | its value and gradient | a few |
//! | [`vjp`] | an array | its value, and `Jᵀ g` for a cotangent `g` | a few |
//! | [`jvp`] | an array | its value, and `J v` for a tangent `v` | a few |
//! | [`jacobian`] | an array | `J` | a few for each input or output, whichever are fewer |
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
use crate::tape::{Tape, Var};

/// Returns the value of `f` at `x`, a single number, and its gradient there.
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

/// Returns the value of a function of several arrays, a single number, and its gradient by each.
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
    let grads = blame::leaf_grads(y, None, &leaves);
    (y.item(), grads.into_iter().zip(inputs).map(|(g, x)| array(g, x.raw_dim())).collect())
}

/// Returns the value of `f` at `x` and the vector-Jacobian product `Jᵀ g` with a cotangent `g` of the value's shape.
///
/// # Panics
///
/// If the cotangent has another shape than the value.
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
    let mut seed = tape.pool().take(shape.elements());
    cotangent.write_to(&mut seed);
    (y.value().to_owned(), pull(y, Some(seed), leaf, x.raw_dim()))
}

/// Returns the value of `f` at `x` and the Jacobian-vector product `J v` with a tangent `v` of the shape of `x`: the
/// derivative of the value as `x` moves along `v`. It is found in forward mode, see [`Var::jvp`].
///
/// # Panics
///
/// If the tangent has another shape than `x`.
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
    match y.jvp_or_none(&[leaf], &[tangent]) {
        Some(pushed) => (value, pushed.value().to_owned()),
        None => {
            let zeros = ArrayD::zeros(value.raw_dim());
            (value, zeros)
        }
    }
}

/// Returns the Jacobian of `f` at `x`: the derivative of every element of the value by every element of `x`.
///
/// Row by row, in reverse, or column by column, forward: whichever are fewer.
///
/// # Shapes
///
/// The axes of the value, then the axes of `x`.
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
    let mut jacobian = vec![T::ZERO; outputs * inputs];
    if outputs <= inputs {
        rows(y, leaf, &mut jacobian);
    } else {
        // The vjp is linear in its cotangent u, with the matrix Jᵀ: the rows of its own Jacobian are the columns of J.
        let u = tape.leaf(ArrayD::zeros(IxDyn(&y.shape())));
        if let Some(pulled) = y.vjp_or_none(u, &[leaf]).into_iter().next().flatten() {
            let mut transposed = vec![T::ZERO; outputs * inputs];
            rows(pulled, u, &mut transposed);
            for (i, row) in jacobian.chunks_exact_mut(inputs.max(1)).enumerate() {
                for (j, to) in row.iter_mut().enumerate() {
                    *to = transposed[j * outputs + i];
                }
            }
        }
    }
    let shape: Shape = y.shape().iter().chain(x.shape()).copied().collect();
    array(Some(jacobian), IxDyn(&shape))
}

/// Returns the Hessian of `f` at `x`: the second derivatives of a single number by every pair of elements of `x`.
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
    let mut hessian = vec![T::ZERO; x.len() * x.len()];
    if let Some(gradient) = y.grads_or_none(&[leaf]).into_iter().next().flatten() {
        rows(gradient, leaf, &mut hessian);
    }
    let shape: Shape = x.shape().iter().chain(x.shape()).copied().collect();
    array(Some(hessian), IxDyn(&shape))
}

/// Returns the Hessian-vector product `H v` of `f` at `x`, in the shape of `x`. The Hessian is never formed.
///
/// # Panics
///
/// If `f` returns more than one number, or `v` has another shape than `x`.
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
    // H is symmetric: a vjp of the gradient is H v as well as a jvp, and on arrays it is the faster one.
    match y.grads_or_none(&[leaf]).into_iter().next().flatten() {
        Some(gradient) => {
            let mut seed = tape.pool().take(elements(x.shape()));
            seed.iter_mut().zip(v).for_each(|(to, &v)| *to = v);
            pull(gradient, Some(seed), leaf, x.raw_dim())
        }
        None => Array::zeros(x.raw_dim()),
    }
}

/// Returns what the function returned, if it did so on its argument's tape.
#[track_caller]
fn own<'t, T: Scalar>(helper: &str, tape: &'t Tape<T>, y: Var<'t, T>) -> Var<'t, T> {
    assert!(std::ptr::eq(y.tape(), tape), "{helper}: the function returned a Var of another tape");
    y
}

/// Returns what the function returned, if it is a single number.
#[track_caller]
fn loss<'t, T: Scalar>(helper: &str, tape: &'t Tape<T>, y: Var<'t, T>) -> Var<'t, T> {
    let shape = own(helper, tape, y).shape();
    assert!(shape.elements() == 1, "{helper}: the function returned shape {shape}, not a single number");
    y
}

/// Returns the gradient of `Σ y * seed` by a leaf.
fn pull<T: Scalar, D: Dimension>(y: Var<'_, T>, seed: Option<Vec<T>>, leaf: Var<'_, T>, dim: D) -> Array<T, D> {
    array(blame::leaf_grads(y, seed, &[leaf]).into_iter().next().flatten(), dim)
}

/// Returns the elements as an array; zeros for none.
fn array<T: Scalar, D: Dimension>(elements: Option<Vec<T>>, dim: D) -> Array<T, D> {
    match elements {
        Some(elements) => Array::from_shape_vec(dim, elements).expect("a derivative has the shape that it belongs to"),
        None => Array::zeros(dim),
    }
}

/// Writes the gradients of each element of `y` by a leaf, one row each, over zeros.
fn rows<T: Scalar>(y: Var<'_, T>, leaf: Var<'_, T>, out: &mut [T]) {
    let (outputs, inputs) = (y.shape().elements(), leaf.shape().elements());
    for (i, row) in out.chunks_exact_mut(inputs.max(1)).enumerate() {
        let mut seed = y.tape().pool().take(outputs);
        seed.fill(T::ZERO);
        seed[i] = T::ONE;
        if let Some(gradient) = blame::leaf_grads(y, Some(seed), &[leaf]).pop().flatten() {
            row.copy_from_slice(&gradient);
            y.tape().pool().put(gradient);
        }
    }
}
