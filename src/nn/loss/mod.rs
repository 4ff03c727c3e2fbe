//! [`Loss`]: what training makes small.

mod elementwise;
mod softmax_cross_entropy;

use std::fmt::Debug;

use ndarray::{Array2, ArrayRef2};

use crate::scalar::Scalar;
use crate::shape::Shape;
use crate::tape::Var;

pub use elementwise::{CrossEntropy, Hinge, Mse, Perceptron};
pub use softmax_cross_entropy::SoftmaxCrossEntropy;

/// A loss with its derivative by hand: a number for targets `y` and outputs `yhat` of a network, both
/// `(batch, width)`.
///
/// [`backward`](Self::backward) depends on its arguments alone. It may reuse what the last
/// [`forward`](Self::forward) computed, if that was on the same outputs, and is right in any case.
///
/// # Panics
///
/// At the caller's line: if `y` and `yhat` have different shapes.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::nn::{Loss, Mse};
///
/// let mut loss = Mse::new();
/// let (y, yhat) = (array![[1.0, 2.0]], array![[1.0, 4.0]]);
/// assert_eq!(loss.forward(&y, &yhat), 2.0); // (0² + 2²) / 2
/// assert_eq!(loss.backward(&y, &yhat), array![[0.0, 2.0]]);
/// ```
#[doc(alias = "Criterion")]
pub trait Loss<T: Scalar>: Debug + Send {
    /// Returns the loss: a mean, unless its [`Reduction`](crate::Reduction) is another. A mean over an empty batch is NaN.
    #[doc(alias = "updateOutput")]
    #[track_caller]
    fn forward(&mut self, y: &ArrayRef2<T>, yhat: &ArrayRef2<T>) -> T;

    /// Returns the gradient of the loss by `yhat`: the `delta` with which the backward pass of a network begins.
    #[doc(alias = "updateGradInput")]
    #[track_caller]
    fn backward(&mut self, y: &ArrayRef2<T>, yhat: &ArrayRef2<T>) -> &Array2<T>;

    /// Records the loss for the targets `y`, which are not differentiated.
    #[track_caller]
    fn record<'t>(&self, y: &ArrayRef2<T>, yhat: Var<'t, T>) -> Var<'t, T>;
}

/// Checks that targets and outputs have the same shape.
#[track_caller]
fn check_shapes(loss: &str, y: &[usize], yhat: &[usize]) {
    let (y, yhat) = (Shape::from(y), Shape::from(yhat));
    assert!(y == yhat, "{loss}: targets of shape {y} for outputs of shape {yhat}");
}
