//! [`Mse`]: the mean squared error.

use ndarray::{Array2, ArrayRef2};

use super::{Loss, check_shapes, count};
use crate::kernel::elementwise::zip_in_place;
use crate::nn::buffer::Buffer;
use crate::scalar::Scalar;
use crate::var::Var;

/// The mean squared error over all `N` elements, as in PyTorch: `L = 1/N Σ (ŷ - y)²`.
///
/// # Derivative
///
/// ```text
/// dL/dŷ[i] = 2 (ŷ[i] - y[i]) / N
/// ```
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::nn::{Loss, Mse};
///
/// let mut loss = Mse::new();
/// let (y, yhat) = (array![[0.0, 0.0], [0.0, 0.0]], array![[1.0, 1.0], [3.0, -1.0]]);
/// assert_eq!(loss.forward(&y, &yhat), 3.0); // (1 + 1 + 9 + 1) / 4
/// assert_eq!(loss.backward(&y, &yhat), array![[0.5, 0.5], [1.5, -0.5]]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Mse<T> {
    /// `ŷ - y`, then `delta`.
    delta: Buffer<T>,
    targets: Buffer<T>,
}

impl<T: Scalar> Mse<T> {
    /// Returns the loss.
    #[must_use]
    pub fn new() -> Self {
        Self { delta: Buffer::default(), targets: Buffer::default() }
    }

    /// Replaces the content of `delta` by `f(ŷ, y)`.
    #[track_caller]
    fn zip(&mut self, y: &ArrayRef2<T>, yhat: &ArrayRef2<T>, f: impl Fn(T, T) -> T) -> &mut [T] {
        check_shapes("Mse", y.shape(), yhat.shape());
        let out = self.delta.copy_from(yhat);
        zip_in_place(out, self.targets.rows_of(y), f);
        out
    }
}

impl<T: Scalar> Loss<T> for Mse<T> {
    fn forward(&mut self, y: &ArrayRef2<T>, yhat: &ArrayRef2<T>) -> T {
        let squares = self.zip(
            y,
            yhat,
            #[inline(always)]
            move |yhat, y| (yhat - y) * (yhat - y),
        );
        let sum: f64 = squares.iter().map(|square| square.to_f64()).sum();
        T::from_f64(sum / y.len() as f64)
    }

    fn backward(&mut self, y: &ArrayRef2<T>, yhat: &ArrayRef2<T>) -> &Array2<T> {
        let n = count::<T>(y.len());
        self.zip(
            y,
            yhat,
            #[inline(always)]
            move |yhat, y| ((yhat - y) + (yhat - y)) / n,
        );
        self.delta.array()
    }

    fn record<'t>(&self, y: &ArrayRef2<T>, yhat: Var<'t, T>) -> Var<'t, T> {
        check_shapes("Mse", y.shape(), &yhat.shape());
        (yhat - yhat.tape().constant(y)).square().mean()
    }
}
