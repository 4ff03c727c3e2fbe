//! The losses that compare each output with its target: [`Mse`], [`Hinge`], [`Perceptron`], [`CrossEntropy`].

use ndarray::{Array2, ArrayRef2};

use super::criterion::{Loss, check_shapes};
use crate::kernel::elementwise::zip_in_place;
use crate::nn::buffer::Buffer;
use crate::nn::layer::default_is_new;
use crate::number::{Algebra, inlined};
use crate::reduction::Reduction;
use crate::scalar::Scalar;
use crate::tape::Var;

/// Keeps the logarithm of a probability of 0 finite.
const EPSILON: f64 = 1e-16;

/// Defines losses `L = 1/M Σ l(ŷ, y)` over all elements. `M` follows from the reduction, and `dl` is `dl/dŷ`.
macro_rules! elementwise_loss {
    ($(
        $(#[$doc:meta])*
        $Loss:ident: l = |$yhat:ident, $y:ident| $l:expr, dl = |$yhat_:ident, $y_:ident| $dl:expr,
            recorded as |$yhat_var:ident, $y_var:ident| $record:expr, reduced by $reduction:ident
    )*) => { $(
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $Loss<T> {
            reduction: Reduction,
            /// In `forward` the terms of the sum.
            delta: Buffer<T>,
            targets: Buffer<T>,
        }

        impl<T: Scalar> $Loss<T> {
            #[doc = concat!("Returns the loss, reduced by [`Reduction::", stringify!($reduction), "`].")]
            ///
            /// # Example
            ///
            #[doc = concat!("See [`", stringify!($Loss), "`].")]
            #[must_use]
            pub fn new() -> Self {
                Self { reduction: Reduction::$reduction, delta: Buffer::default(), targets: Buffer::default() }
            }

            /// Returns the loss with this reduction.
            ///
            /// # Panics
            ///
            /// If it is [`Reduction::None`].
            ///
            /// # Example
            ///
            /// See [`Reduction`].
            #[track_caller]
            #[must_use]
            pub fn with_reduction(self, reduction: Reduction) -> Self {
                Self { reduction: reduction.to_one_number(stringify!($Loss)), ..self }
            }

            #[inline(always)]
            fn l($yhat: T, $y: T) -> T {
                $l
            }

            #[inline(always)]
            fn dl($yhat_: T, $y_: T) -> T {
                $dl
            }

            /// Writes `f(ŷ, y)` to `delta`, and returns it and `M`.
            #[track_caller]
            fn zip(&mut self, y: &ArrayRef2<T>, yhat: &ArrayRef2<T>, f: impl Fn(T, T) -> T + Copy + Sync) -> (&mut [T], f64) {
                check_shapes(stringify!($Loss), y.shape(), yhat.shape());
                let out = self.delta.copy_from(yhat);
                zip_in_place(out, self.targets.rows_of(y), f);
                (out, self.reduction.divisor(y.nrows(), y.ncols()))
            }
        }

        default_is_new!($Loss);

        impl<T: Scalar> Loss<T> for $Loss<T> {
            fn forward(&mut self, y: &ArrayRef2<T>, yhat: &ArrayRef2<T>) -> T {
                let (terms, m) = self.zip(y, yhat, inlined!(|yhat, y| Self::l(yhat, y)));
                let sum: f64 = terms.iter().map(|term| term.to_f64()).sum();
                T::from_f64(sum / m)
            }

            fn backward(&mut self, y: &ArrayRef2<T>, yhat: &ArrayRef2<T>) -> &Array2<T> {
                let m = T::from_f64(self.reduction.divisor(y.nrows(), y.ncols()));
                self.zip(y, yhat, inlined!(|yhat, y| Self::dl(yhat, y) / m));
                self.delta.array()
            }

            fn record<'t>(&self, y: &ArrayRef2<T>, $yhat_var: Var<'t, T>) -> Var<'t, T> {
                check_shapes(stringify!($Loss), y.shape(), &$yhat_var.shape());
                let m = T::from_f64(self.reduction.divisor(y.nrows(), y.ncols()));
                let _group = $yhat_var.tape().open_group(stringify!($Loss));
                let $y_var = $yhat_var.tape().constant(y).named("y");
                $record.sum() / m
            }
        }
    )* };
}

elementwise_loss! {
    /// The squared error, `l = (ŷ - y)²`.
    ///
    /// "The mean squared error" has several meanings in courses:
    ///
    /// - [`Reduction::Mean`], the default: the mean over all elements, as in PyTorch;
    /// - [`Reduction::BatchMean`]: the squares summed over the outputs, then averaged over the samples;
    /// - [`Reduction::OutputMean`], "square loss": the mean over the outputs, summed over the samples;
    /// - [`Reduction::Sum`]: the plain sum, with the gradient `-2 (y - ŷ)`.
    ///
    /// # Derivative
    ///
    /// ```text
    /// dl/dŷ = 2 (ŷ - y)
    /// ```
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Reduction;
    /// use tapegrad::nn::{Loss, Mse};
    ///
    /// let mut loss = Mse::new();
    /// let (y, yhat) = (array![[0.0, 0.0], [0.0, 0.0]], array![[1.0, 1.0], [3.0, -1.0]]);
    /// assert_eq!(loss.forward(&y, &yhat), 3.0); // (1 + 1 + 9 + 1) / 4
    /// assert_eq!(loss.backward(&y, &yhat), array![[0.5, 0.5], [1.5, -0.5]]);
    ///
    /// let mut sum = Mse::new().with_reduction(Reduction::Sum);
    /// assert_eq!(sum.backward(&y, &yhat), array![[2.0, 2.0], [6.0, -2.0]]); // -2 (y - ŷ)
    /// ```
    #[doc(alias("MSECriterion", "MSELoss", "square loss", "quadratic"))]
    Mse: l = |yhat, y| (yhat - y) * (yhat - y), dl = |yhat, y| (yhat - y) + (yhat - y),
        recorded as |yhat, y| (yhat - y).square(), reduced by Mean

    /// The hinge loss of scores `ŷ` for targets `y` of 1 or -1, `l = max(0, 1 - ŷ y)`. It is 0 if the score has the
    /// target's sign and a margin of at least 1.
    ///
    /// # Derivative
    ///
    /// ```text
    /// dl/dŷ = -y where ŷ y < 1; else 0, also at the kink
    /// ```
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::nn::{Hinge, Loss};
    ///
    /// let mut loss = Hinge::new();
    /// let (y, yhat) = (array![[1.0], [-1.0]], array![[3.0], [1.0]]);
    /// assert_eq!(loss.forward(&y, &yhat), 1.0); // (0 + 2) / 2
    /// assert_eq!(loss.backward(&y, &yhat), array![[0.0], [0.5]]);
    /// ```
    #[doc(alias("MarginCriterion", "HingeLoss", "hinge loss"))]
    Hinge: l = |yhat, y| { let margin = T::ONE - yhat * y; if margin < T::ZERO { T::ZERO } else { margin } },
        dl = |yhat, y| if T::ONE - yhat * y <= T::ZERO { T::ZERO } else { -y },
        recorded as |yhat, y| yhat.hinge_term(y), reduced by Mean

    /// The loss of Rosenblatt's perceptron for targets `y` of 1 or -1, `l = max(0, -ŷ y)`: a hinge without a margin.
    ///
    /// # Derivative
    ///
    /// ```text
    /// dl/dŷ = -y where ŷ y < 0; else 0, also at the kink
    /// ```
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::nn::{Loss, Perceptron};
    ///
    /// let mut loss = Perceptron::new();
    /// let (y, yhat) = (array![[1.0], [-1.0]], array![[0.5], [3.0]]);
    /// assert_eq!(loss.forward(&y, &yhat), 1.5); // (0 + 3) / 2
    /// assert_eq!(loss.backward(&y, &yhat), array![[0.0], [0.5]]);
    /// ```
    #[doc(alias("perceptron hinge", "PerceptronLoss"))]
    Perceptron: l = |yhat, y| { let wrong = -(yhat * y); if wrong < T::ZERO { T::ZERO } else { wrong } },
        dl = |yhat, y| if -(yhat * y) <= T::ZERO { T::ZERO } else { -y },
        recorded as |yhat, y| yhat.perceptron_term(y), reduced by Mean

    /// The binary cross-entropy of probabilities `ŷ`, each class on its own:
    /// `l = -[y ln(ŷ + ε) + (1 - y) ln(1 - ŷ + ε)]` with `ε = 1e-16`.
    ///
    /// By default it is summed over the classes and averaged over the rows ([`Reduction::BatchMean`]). It follows a
    /// [`Sigmoid`](crate::nn::Sigmoid) layer, and several classes of a row may be true at once. For one class out of
    /// several, [`SoftmaxCrossEntropy`](super::SoftmaxCrossEntropy) of the scores is more accurate.
    ///
    /// # Derivative
    ///
    /// With `ln' u = 1/u` and the inner derivatives 1 and -1:
    ///
    /// ```text
    /// dl/dŷ = -[y / (ŷ + ε) - (1 - y) / (1 - ŷ + ε)]
    /// ```
    ///
    /// Behind a [`Softmax`](crate::nn::Softmax) it is another derivative than the well-known `ŷ - y`. Let `g[k] = dl/dŷ[k]`
    /// and `ŷ = softmax(z)`. For a row whose class is `c`, `g[c] = -1/ŷ[c]`, and `g[k] = 1 / (1 - ŷ[k])` for the others
    /// (without `ε`). With `dŷ[k]/dz[j] = ŷ[k] ((k = j) - ŷ[j])`:
    ///
    /// ```text
    /// dL/dz[j] = Σ_k g[k] ŷ[k] ((k = j) - ŷ[j]) = ŷ[j] (g[j] - Σ_k g[k] ŷ[k])
    /// Σ_k g[k] ŷ[k] = -1 + S                        with S = Σ_{k ≠ c} ŷ[k] / (1 - ŷ[k])
    /// dL/dz[c] = (ŷ[c] - 1) - ŷ[c] S
    /// dL/dz[j] =  ŷ[j]      + ŷ[j] / (1 - ŷ[j]) - ŷ[j] S    for j ≠ c
    /// ```
    ///
    /// The first terms are `ŷ - y`, the delta of [`SoftmaxCrossEntropy`](super::SoftmaxCrossEntropy). The others come from
    /// `(1 - y) ln(1 - ŷ)`; they sum to 0. For three equal probabilities `S` is 1 and the delta is 1.5 times `ŷ - y`. For
    /// two classes it is always 2 times `ŷ - y`. A course that derives `ŷ - y` by hand and differentiates this loss
    /// automatically compares the gradients of two losses. The example `two_losses` shows both.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::nn::{CrossEntropy, Loss, Module, Softmax};
    ///
    /// let mut loss = CrossEntropy::new();
    /// let (y, yhat) = (array![[1.0, 0.0]], array![[0.5, 0.5]]);
    /// let value: f64 = loss.forward(&y, &yhat);
    /// assert!((value - 2.0 * 2.0_f64.ln()).abs() < 1e-15); // -(ln ½ + ln ½)
    /// assert!((loss.backward(&y, &yhat) - array![[-2.0, 2.0]]).abs().sum() < 1e-14); // -1/½ and 1/½
    ///
    /// // Behind a softmax of three equal scores: 1.5 (ŷ - y).
    /// let (z, y) = (array![[0.0, 0.0, 0.0]], array![[1.0, 0.0, 0.0]]);
    /// let mut softmax = Softmax::new();
    /// let delta = loss.backward(&y, softmax.forward(&z)).clone();
    /// assert!((softmax.backward_delta(&z, &delta) - array![[-1.0, 0.5, 0.5]]).abs().sum() < 1e-14);
    /// ```
    #[doc(alias("BCECriterion", "BCELoss", "binary cross-entropy"))]
    CrossEntropy: l = |yhat, y| {
            let epsilon = T::from_f64(EPSILON);
            -(y * (yhat + epsilon).ln() + (T::ONE - y) * (T::ONE - yhat + epsilon).ln())
        },
        dl = |yhat, y| {
            let epsilon = T::from_f64(EPSILON);
            -(y / (yhat + epsilon) - (T::ONE - y) / (T::ONE - yhat + epsilon))
        },
        recorded as |yhat, y| {
            let epsilon = T::from_f64(EPSILON);
            // In this order: 1 + ε rounds to 1.
            -(y * (yhat + epsilon).ln() + (-y + T::ONE) * (-yhat + T::ONE + epsilon).ln())
        },
        reduced by BatchMean
}
