//! [`CustomOp`]: operations that a user adds.

use std::fmt::Debug;
use std::sync::Arc;

use ndarray::{ArrayViewD, ArrayViewMutD, IxDyn};
use smallvec::SmallVec;

use crate::kernel::view::View;
use crate::scalar::Scalar;
use crate::shape::{Shape, ShapeError};
use crate::var::Var;

/// An operation of one's own: a function on arrays, and its derivative in terms of recorded operations.
///
/// The rule is written on [`Var`]s. So it serves [`Var::backward`] and [`Var::grads`] alike, and the operation
/// can be differentiated to any order.
///
/// # Example
///
/// `softplus(x) = ln(1 + e^x)`, whose derivative is the logistic function:
///
/// ```
/// use std::sync::Arc;
/// use ndarray::{ArrayViewD, ArrayViewMutD, Zip};
/// use tapegrad::{CustomOp, Shape, ShapeError, Tape, Var};
///
/// #[derive(Debug)]
/// struct Softplus;
///
/// impl CustomOp<f64> for Softplus {
///     fn name(&self) -> &'static str {
///         "softplus"
///     }
///
///     fn shape(&self, operands: &[&[usize]]) -> Result<Shape, ShapeError> {
///         match operands {
///             [x] => Ok(Shape::from(*x)),
///             _ => Err(ShapeError::new("softplus", operands, "it takes one operand".into())),
///         }
///     }
///
///     fn forward(&self, operands: &[ArrayViewD<f64>], result: ArrayViewMutD<f64>) {
///         // ln(1 + e^x) = max(x, 0) + ln(1 + e^-|x|) does not overflow.
///         Zip::from(result).and(&operands[0]).for_each(|y, &x| *y = x.max(0.0) + (-x.abs()).exp().ln_1p());
///     }
///
///     fn vjp<'t>(&self, _k: usize, operands: &[Var<'t, f64>], _result: Var<'t, f64>, g: Var<'t, f64>) -> Var<'t, f64> {
///         g * operands[0].sigmoid()
///     }
/// }
///
/// let tape = Tape::new();
/// let softplus = Arc::new(Softplus);
/// let x = tape.leaf(0.0);
/// let y = Var::custom(&softplus, &[x]);
/// y.backward();
/// assert_eq!(y.item(), 2.0_f64.ln());
/// assert_eq!(x.grad().unwrap().sum(), 0.5); // sigmoid(0)
/// assert_eq!(y.grad_wrt(x).grad_wrt(x).item(), 0.25); // second order
/// ```
pub trait CustomOp<T: Scalar>: Debug + Send + Sync {
    /// Returns the name for messages and printed tapes.
    fn name(&self) -> &'static str;

    /// Returns the shape of the result.
    ///
    /// # Errors
    ///
    /// If operands of these shapes, or so many, cannot be taken.
    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, ShapeError>;

    /// Computes the result, every element of it: what `result` holds before means nothing.
    fn forward(&self, operands: &[ArrayViewD<'_, T>], result: ArrayViewMutD<'_, T>);

    /// Returns the cotangent of operand `k`, in its shape or one that broadcasting gave it, for the cotangent `g` of
    /// the result.
    fn vjp<'t>(&self, k: usize, operands: &[Var<'t, T>], result: Var<'t, T>, g: Var<'t, T>) -> Var<'t, T>;
}

/// A shared custom operation, of a type that is known or of any: what [`Var::custom`] takes.
pub trait SharedOp<T: Scalar> {
    /// Returns a handle to the operation.
    fn share(&self) -> Arc<dyn CustomOp<T>>;
}

impl<T: Scalar, C: CustomOp<T> + 'static> SharedOp<T> for Arc<C> {
    fn share(&self) -> Arc<dyn CustomOp<T>> {
        self.clone()
    }
}

impl<T: Scalar> SharedOp<T> for Arc<dyn CustomOp<T>> {
    fn share(&self) -> Arc<dyn CustomOp<T>> {
        self.clone()
    }
}

/// Runs a custom operation on recorded values.
pub(crate) fn run<T: Scalar>(op: &dyn CustomOp<T>, operands: &[View<'_, T>], shape: &[usize], out: &mut [T]) {
    let operands: SmallVec<[ArrayViewD<'_, T>; 4]> = operands.iter().map(View::array).collect();
    op.forward(&operands, ArrayViewMutD::from_shape(IxDyn(shape), out).expect("the buffer has the result's shape"));
}
