//! [`Loss`], Lua torch's `Criterion`: the trait of hand-derived losses.

use std::fmt::Debug;

use ndarray::{Array2, ArrayRef2};

use crate::scalar::Scalar;
use crate::shape::Shape;
use crate::tape::Var;

/// A loss with a hand-derived gradient: a number for the targets `y` and the outputs `yhat` of a network, both
/// `(batch, width)`.
///
/// [`backward`](Self::backward) depends on its arguments alone, and needs no [`forward`](Self::forward) before it.
/// After a `forward` on the same outputs it may reuse the results.
///
/// # Panics
///
/// At the caller's line, if `y` and `yhat` have different shapes.
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
pub trait Loss<T: Scalar>: Debug + Send + Sync {
    /// Returns the loss: by default a mean, see [`Reduction`](crate::Reduction). The mean over an empty batch is NaN.
    #[doc(alias = "updateOutput")]
    #[track_caller]
    fn forward(&mut self, y: &ArrayRef2<T>, yhat: &ArrayRef2<T>) -> T;

    /// Returns the gradient of the loss by `yhat`: the `delta` for the backward pass of the network.
    #[doc(alias = "updateGradInput")]
    #[track_caller]
    fn backward(&mut self, y: &ArrayRef2<T>, yhat: &ArrayRef2<T>) -> &Array2<T>;

    /// Records the loss. The targets `y` are constants.
    #[track_caller]
    fn record<'t>(&self, y: &ArrayRef2<T>, yhat: Var<'t, T>) -> Var<'t, T>;
}

/// Checks that targets and outputs have the same shape.
#[track_caller]
pub(super) fn check_shapes(loss: &str, y: &[usize], yhat: &[usize]) {
    let (y, yhat) = (Shape::from(y), Shape::from(yhat));
    assert!(y == yhat, "{loss}: targets of shape {y} for outputs of shape {yhat}");
}
