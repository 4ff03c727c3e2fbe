//! [`CrossEntropy`]: the cross-entropy of probabilities, each class on its own.

use ndarray::{Array2, ArrayRef2};

use super::{Loss, check_shapes, count};
use crate::kernel::elementwise::zip_in_place;
use crate::nn::buffer::Buffer;
use crate::scalar::Scalar;
use crate::var::Var;

/// Keeps the logarithm of a probability of 0 finite.
const EPSILON: f64 = 1e-16;

/// The binary cross-entropy of probabilities `ŷ` between 0 and 1, summed over the classes:
/// `L = -1/N Σ [y ln(ŷ + ε) + (1 - y) ln(1 - ŷ + ε)]` with `N` rows and `ε = 1e-16`.
///
/// It fits behind a [`Sigmoid`](crate::nn::Sigmoid) layer; several classes of a row may be true at once. For one class
/// out of several, [`SoftmaxCrossEntropy`](super::SoftmaxCrossEntropy) on scores is more exact.
///
/// # Derivative
///
/// With `ln' u = 1/u` and the inner derivatives 1 and -1:
///
/// ```text
/// dL/dŷ = -1/N [y / (ŷ + ε) - (1 - y) / (1 - ŷ + ε)]
/// ```
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::nn::{CrossEntropy, Loss};
///
/// let mut loss = CrossEntropy::new();
/// let (y, yhat) = (array![[1.0, 0.0]], array![[0.5, 0.5]]);
/// let value: f64 = loss.forward(&y, &yhat);
/// assert!((value - 2.0 * 2.0_f64.ln()).abs() < 1e-15); // -(ln ½ + ln ½)
/// assert!((loss.backward(&y, &yhat) - array![[-2.0, 2.0]]).abs().sum() < 1e-14); // -1/½ and 1/½
/// ```
#[derive(Clone, Debug, Default)]
pub struct CrossEntropy<T> {
    /// The terms of the sum, then `delta`.
    delta: Buffer<T>,
    targets: Buffer<T>,
}

impl<T: Scalar> CrossEntropy<T> {
    /// Returns the loss.
    #[must_use]
    pub fn new() -> Self {
        Self { delta: Buffer::default(), targets: Buffer::default() }
    }

    /// Replaces the content of `delta` by `f(ŷ, y)`.
    #[track_caller]
    fn zip(&mut self, y: &ArrayRef2<T>, yhat: &ArrayRef2<T>, f: impl Fn(T, T) -> T) -> &mut [T] {
        check_shapes("CrossEntropy", y.shape(), yhat.shape());
        let out = self.delta.copy_from(yhat);
        zip_in_place(out, self.targets.rows_of(y), f);
        out
    }
}

impl<T: Scalar> Loss<T> for CrossEntropy<T> {
    fn forward(&mut self, y: &ArrayRef2<T>, yhat: &ArrayRef2<T>) -> T {
        let epsilon = T::from_f64(EPSILON);
        let terms = self.zip(
            y,
            yhat,
            #[inline(always)]
            move |yhat, y| y * (yhat + epsilon).ln() + (T::ONE - y) * (T::ONE - yhat + epsilon).ln(),
        );
        let sum: f64 = terms.iter().map(|term| term.to_f64()).sum();
        T::from_f64(-sum / y.nrows() as f64)
    }

    fn backward(&mut self, y: &ArrayRef2<T>, yhat: &ArrayRef2<T>) -> &Array2<T> {
        let (epsilon, n) = (T::from_f64(EPSILON), count::<T>(y.nrows()));
        self.zip(
            y,
            yhat,
            #[inline(always)]
            move |yhat, y| -(y / (yhat + epsilon) - (T::ONE - y) / (T::ONE - yhat + epsilon)) / n,
        );
        self.delta.array()
    }

    fn record<'t>(&self, y: &ArrayRef2<T>, yhat: Var<'t, T>) -> Var<'t, T> {
        check_shapes("CrossEntropy", y.shape(), &yhat.shape());
        let (epsilon, n) = (T::from_f64(EPSILON), count::<T>(y.nrows()));
        let y = yhat.tape().constant(y);
        // In this order: 1 + ε is 1.
        let true_class = (yhat + epsilon).ln();
        let false_class = (-yhat + T::ONE + epsilon).ln();
        -(y * true_class + (-y + T::ONE) * false_class).sum() / n
    }
}
