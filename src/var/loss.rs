//! Losses as methods of [`Var`]: recorded, stable, and differentiable by prediction and target, at any order.
//!
//! Each elementwise loss is a row of the table and a sum. The losses of [`nn`](crate::nn) are derived by hand,
//! independently of these, and each checks the other.

use super::operand::Operand;
use crate::reduction::Reduction;
use crate::scalar::Scalar;
use crate::shape::ShapeError;
use crate::tape::Var;

/// Losses of a prediction, `self`, and a target.
///
/// A target is a `Var`, so it may depend on parameters. Data are recorded as a [`constant`](crate::Tape::constant). The
/// target must have the shape of the prediction: a loss does not broadcast, because different shapes are usually a
/// mistake.
///
/// With [`Reduction::None`] a loss keeps its terms: one for each row of [`cross_entropy`](Var::cross_entropy),
/// [`cross_entropy_labels`](Var::cross_entropy_labels) and [`nll_loss`](Var::nll_loss), one for each element of the others.
impl<'t, T: Scalar> Var<'t, T> {
    /// Returns the mean squared error: the mean or the sum of `(x - target)²` over all elements.
    ///
    /// The hand-derived [`nn::Mse`](crate::nn::Mse) is this mean.
    ///
    /// # Derivative
    ///
    /// `2 (x - target)`, divided by the number of elements for the mean.
    ///
    /// # Panics
    ///
    /// If the shapes differ, or `target` is on a different tape.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{Reduction, Tape};
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![1.0, 5.0]);
    /// let loss = x.mse_loss(tape.constant(array![1.0, 3.0]), Reduction::Mean);
    /// loss.backward();
    /// assert_eq!(loss.item(), 2.0); // (0² + 2²) / 2
    /// assert_eq!(x.grad().unwrap(), array![0.0, 2.0].into_dyn());
    /// ```
    #[doc(alias = "MSELoss")]
    #[track_caller]
    #[must_use]
    pub fn mse_loss(self, target: Self, reduction: Reduction) -> Self {
        self.check_target("mse_loss", target);
        self.squared_difference(target).reduce_elements(reduction)
    }

    /// Returns the mean absolute error: the mean or the sum of `|x - target|` over all elements.
    ///
    /// # Derivative
    ///
    /// The sign of `x - target`, 0 where they are equal, divided by the number of elements for the mean.
    ///
    /// # Panics
    ///
    /// If the shapes differ, or `target` is on a different tape.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{Reduction, Tape};
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![1.0, 5.0]);
    /// let loss = x.l1_loss(tape.constant(array![1.0, 3.0]), Reduction::Mean);
    /// loss.backward();
    /// assert_eq!(loss.item(), 1.0); // (0 + 2) / 2
    /// assert_eq!(x.grad().unwrap(), array![0.0, 0.5].into_dyn());
    /// ```
    #[doc(alias = "mae")]
    #[doc(alias = "L1Loss")]
    #[track_caller]
    #[must_use]
    pub fn l1_loss(self, target: Self, reduction: Reduction) -> Self {
        self.check_target("l1_loss", target);
        self.abs_difference(target).reduce_elements(reduction)
    }

    /// Returns the Huber loss: the mean or the sum over all elements of `d²/2` where `|d| <= delta`, else
    /// `delta (|d| - delta/2)`, with `d = x - target`.
    ///
    /// # Derivative
    ///
    /// `d` clamped to the interval from `-delta` to `delta`, divided by the number of elements for the mean.
    ///
    /// # Panics
    ///
    /// If the shapes differ, `target` is on a different tape, or `delta` is negative or NaN.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{Reduction, Tape};
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![1.0, 8.0]);
    /// let loss = x.huber_loss(tape.constant(array![0.0, 3.0]), 2.0, Reduction::Sum);
    /// loss.backward();
    /// assert_eq!(loss.item(), 8.5); // 1² / 2 + 2 (5 - 1)
    /// assert_eq!(x.grad().unwrap(), array![1.0, 2.0].into_dyn());
    /// ```
    #[doc(alias = "HuberLoss")]
    #[track_caller]
    #[must_use]
    pub fn huber_loss(self, target: Self, delta: T, reduction: Reduction) -> Self {
        self.check_target("huber_loss", target);
        (self - target).huber(delta).reduce_elements(reduction)
    }

    /// Returns the smooth absolute error: the mean or the sum over all elements of `d² / (2 beta)` where `|d| <= beta`, else
    /// `|d| - beta / 2`, with `d = x - target`. It is [`huber_loss`](Self::huber_loss) divided by its `delta`, so far from the
    /// target its slope is 1. With `beta = 0` it is [`l1_loss`](Self::l1_loss).
    ///
    /// # Derivative
    ///
    /// `d / beta` clamped to the interval from -1 to 1, divided by the number of elements for the mean.
    ///
    /// # Panics
    ///
    /// If the shapes differ, `target` is on a different tape, or `beta` is negative or NaN.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{Reduction, Tape};
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![1.0, 8.0]);
    /// let loss = x.smooth_l1_loss(tape.constant(array![0.0, 3.0]), 2.0, Reduction::Sum);
    /// loss.backward();
    /// assert_eq!(loss.item(), 4.25); // 1² / 4 + (5 - 1)
    /// assert_eq!(x.grad().unwrap(), array![0.5, 1.0].into_dyn());
    /// ```
    #[doc(alias = "SmoothL1Loss")]
    #[track_caller]
    #[must_use]
    pub fn smooth_l1_loss(self, target: Self, beta: T, reduction: Reduction) -> Self {
        self.check_target("smooth_l1_loss", target);
        assert!(beta >= T::ZERO, "smooth_l1_loss: expected a beta of at least 0, found {beta}");
        if beta == T::ZERO {
            return self.l1_loss(target, reduction);
        }
        self.sub(target).huber(beta).divide_by(beta).reduce_elements(reduction)
    }

    /// Returns the cross-entropy of scores (logits) with target distributions: the mean over the rows, or the sum, of
    /// `-Σ target ln softmax(x)` along the last axis.
    ///
    /// A class of target probability 0 counts as 0, even if its score is minus infinity. For targets given as class
    /// numbers see [`cross_entropy_labels`](Self::cross_entropy_labels).
    ///
    /// # Shapes
    ///
    /// `(…, classes)` for both. All axes except the last are rows.
    ///
    /// # Derivative
    ///
    /// `softmax(x) Σ target - target`, divided by the number of rows for the mean.
    ///
    /// # Panics
    ///
    /// If the shapes differ, there is no axis, or `target` is on a different tape.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{Reduction, Tape};
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[0.0, 0.0], [1000.0, 0.0]]); // probabilities ½, ½ and 1, 0
    /// let loss = x.cross_entropy(tape.constant(array![[1.0, 0.0], [1.0, 0.0]]), Reduction::Mean);
    /// loss.backward();
    /// assert_eq!(loss.item(), 2.0_f64.ln() / 2.0);
    /// assert_eq!(x.grad().unwrap(), array![[-0.25, 0.25], [0.0, 0.0]].into_dyn());
    /// ```
    #[doc(alias = "CrossEntropyLoss")]
    #[doc(alias = "softmax_cross_entropy")]
    #[track_caller]
    #[must_use]
    pub fn cross_entropy(self, target: Self, reduction: Reduction) -> Self {
        self.check_target("cross_entropy", target);
        let (rows, _) = self.check_classes("cross_entropy");
        let terms = target.multiply_no_nan(self.log_softmax(-1));
        match reduction {
            Reduction::None => -terms.sum_axis(-1),
            _ => terms.negative_sum(reduction.divisor(rows, 1)),
        }
    }

    /// Returns the cross-entropy of scores (logits) with the number of the right class for each row: the mean over the
    /// rows, or the sum, of `ln Σ e^x - x[label]`.
    ///
    /// The maximum is subtracted first, so nothing overflows.
    ///
    /// # Shapes
    ///
    /// `(batch, classes)` and `batch` labels.
    ///
    /// # Derivative
    ///
    /// `softmax(x)`, minus 1 at the label, divided by the number of rows for the mean.
    ///
    /// # Panics
    ///
    /// If the shape does not fit the labels, or a label is not below the number of classes.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{Reduction, Tape};
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[0.0, 0.0], [1000.0, 0.0]]);
    /// let loss = x.cross_entropy_labels(&[0, 1], Reduction::Sum);
    /// loss.backward();
    /// assert_eq!(loss.item(), 2.0_f64.ln() + 1000.0);
    /// assert_eq!(x.grad().unwrap(), array![[-0.5, 0.5], [1.0, -1.0]].into_dyn());
    /// ```
    #[doc(alias = "sparse_categorical_crossentropy")]
    #[track_caller]
    #[must_use]
    pub fn cross_entropy_labels(self, labels: &[usize], reduction: Reduction) -> Self {
        self.check_labels("cross_entropy_labels", labels);
        self.log_softmax(-1).pick(labels).negative_mean(labels, reduction)
    }

    /// Returns the negative log-likelihood: the mean over the rows, or the sum, of `-x[label]`. The prediction holds
    /// logarithms of probabilities, such as [`log_softmax`](Self::log_softmax) returns.
    ///
    /// # Shapes
    ///
    /// `(batch, classes)` and `batch` labels.
    ///
    /// # Derivative
    ///
    /// -1 at the label, else 0, divided by the number of rows for the mean.
    ///
    /// # Panics
    ///
    /// If the shape does not fit the labels, or a label is not below the number of classes.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{Reduction, Tape};
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[-1.0, -2.0], [-3.0, -4.0]]);
    /// let loss = x.nll_loss(&[0, 1], Reduction::Mean);
    /// loss.backward();
    /// assert_eq!(loss.item(), 2.5); // (1 + 4) / 2
    /// assert_eq!(x.grad().unwrap(), array![[-0.5, 0.0], [0.0, -0.5]].into_dyn());
    /// ```
    #[doc(alias = "NLLLoss")]
    #[track_caller]
    #[must_use]
    pub fn nll_loss(self, labels: &[usize], reduction: Reduction) -> Self {
        self.check_labels("nll_loss", labels);
        self.pick(labels).negative_mean(labels, reduction)
    }

    /// Returns the binary cross-entropy of probabilities: the mean or the sum of `-(t ln x + (1 - t) ln(1 - x))` over
    /// all elements, with `t` the target.
    ///
    /// A term of weight 0 counts as 0. Otherwise the logarithm of 0 is minus infinity, as in IEEE 754. PyTorch clips it
    /// at -100, this library does not. [`binary_cross_entropy_with_logits`](Self::binary_cross_entropy_with_logits)
    /// takes no logarithm of a probability.
    ///
    /// # Derivative
    ///
    /// `(1 - t) / (1 - x) - t / x`, divided by the number of elements for the mean.
    ///
    /// # Panics
    ///
    /// If the shapes differ, or `target` is on a different tape.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{Reduction, Tape};
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![0.5, 0.0]);
    /// let loss = x.binary_cross_entropy(tape.constant(array![1.0, 0.0]), Reduction::Sum);
    /// loss.backward();
    /// assert_eq!(loss.item(), 2.0_f64.ln());
    /// assert_eq!(x.grad().unwrap(), array![-2.0, 1.0].into_dyn());
    /// ```
    #[doc(alias = "BCELoss")]
    #[track_caller]
    #[must_use]
    pub fn binary_cross_entropy(self, target: Self, reduction: Reduction) -> Self {
        self.check_target("binary_cross_entropy", target);
        self.binary_cross_entropy_term(target).reduce_elements(reduction)
    }

    /// Returns the binary cross-entropy of scores (logits): the mean or the sum of
    /// `t ln(1 + e^-x) + (1 - t) ln(1 + e^x)` over all elements.
    ///
    /// It is the [`binary_cross_entropy`](Self::binary_cross_entropy) of the [`sigmoid`](Self::sigmoid) of the scores,
    /// computed without overflow and without loss of small terms.
    ///
    /// # Derivative
    ///
    /// `sigmoid(x) - t`, divided by the number of elements for the mean.
    ///
    /// # Panics
    ///
    /// If the shapes differ, or `target` is on a different tape.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{Reduction, Tape};
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![0.0, -1000.0]);
    /// let loss = x.binary_cross_entropy_with_logits(tape.constant(array![1.0, 1.0]), Reduction::Sum);
    /// loss.backward();
    /// assert_eq!(loss.item(), 2.0_f64.ln() + 1000.0);
    /// assert_eq!(x.grad().unwrap(), array![-0.5, -1.0].into_dyn());
    /// ```
    #[doc(alias = "BCEWithLogitsLoss")]
    #[track_caller]
    #[must_use]
    pub fn binary_cross_entropy_with_logits(self, target: Self, reduction: Reduction) -> Self {
        self.check_target("binary_cross_entropy_with_logits", target);
        self.binary_cross_entropy_with_logits_term(target).reduce_elements(reduction)
    }

    /// Returns the binary cross-entropy of scores (logits) with a weight for the positive part: the mean or the sum of
    /// `w t ln(1 + e^-x) + (1 - t) ln(1 + e^x)` over all elements, with `w` the weight, a number or a `Var`.
    ///
    /// A weight above 1 counts positive examples more, for instance where they are rare. The mean divides by the number of
    /// elements, whatever the weight.
    ///
    /// # Shapes
    ///
    /// The weight broadcasts to the shape of the prediction: `(classes)` for `(batch, classes)`.
    ///
    /// # Derivative
    ///
    /// `(1 - t) s - w t (1 - s)`, with `s = sigmoid(x)`, divided by the number of elements for the mean.
    ///
    /// # Panics
    ///
    /// If the shapes differ, the weight does not broadcast, or an operand is on a different tape.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{Reduction, Tape};
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![0.0, -1000.0, 0.0]);
    /// let t = tape.constant(array![1.0, 1.0, 0.0]);
    /// let loss = x.weighted_binary_cross_entropy_with_logits(t, 3.0, Reduction::None);
    /// loss.sum().backward();
    /// assert_eq!(loss.value(), array![3.0 * 2.0_f64.ln(), 3000.0, 2.0_f64.ln()].into_dyn());
    /// assert_eq!(x.grad().unwrap(), array![-1.5, -3.0, 0.5].into_dyn());
    /// ```
    #[doc(alias = "pos_weight")]
    #[track_caller]
    #[must_use]
    pub fn weighted_binary_cross_entropy_with_logits(
        self,
        target: Self,
        weight: impl Operand<'t, T>,
        reduction: Reduction,
    ) -> Self {
        const NAME: &str = "weighted_binary_cross_entropy_with_logits";
        self.check_target(NAME, target);
        let weighted = target * weight;
        if weighted.shape() != self.shape() {
            self.refuse(NAME, format!("a weight that makes the targets {}", weighted.shape()));
        }
        let positive = weighted.multiply_no_nan((-self).softplus());
        (positive + target.one_minus().multiply_no_nan(self.softplus())).reduce_elements(reduction)
    }

    /// Returns the hinge loss: the mean or the sum of `max(0, 1 - t x)` over all elements, with targets `t` of -1 and
    /// 1.
    ///
    /// # Derivative
    ///
    /// `-t` where `t x < 1`, else 0 (also at the kink), divided by the number of elements for the mean.
    ///
    /// # Panics
    ///
    /// If the shapes differ, or `target` is on a different tape.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{Reduction, Tape};
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![0.5, -2.0, 3.0]);
    /// let loss = x.hinge_loss(tape.constant(array![1.0, 1.0, 1.0]), Reduction::Sum);
    /// loss.backward();
    /// assert_eq!(loss.item(), 3.5); // 0.5 + 3 + 0
    /// assert_eq!(x.grad().unwrap(), array![-1.0, -1.0, 0.0].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn hinge_loss(self, target: Self, reduction: Reduction) -> Self {
        self.check_target("hinge_loss", target);
        self.hinge_term(target).reduce_elements(reduction)
    }

    /// Returns the perceptron loss: the mean or the sum of `max(0, -t x)` over all elements, with targets `t` of -1 and
    /// 1.
    ///
    /// # Derivative
    ///
    /// `-t` where `t x < 0`, else 0 (also at the kink), divided by the number of elements for the mean.
    ///
    /// # Panics
    ///
    /// If the shapes differ, or `target` is on a different tape.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{Reduction, Tape};
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![0.5, -2.0]);
    /// let loss = x.perceptron_loss(tape.constant(array![1.0, 1.0]), Reduction::Sum);
    /// loss.backward();
    /// assert_eq!(loss.item(), 2.0);
    /// assert_eq!(x.grad().unwrap(), array![0.0, -1.0].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn perceptron_loss(self, target: Self, reduction: Reduction) -> Self {
        self.check_target("perceptron_loss", target);
        self.perceptron_term(target).reduce_elements(reduction)
    }

    /// Returns the Kullback-Leibler divergence of a prediction `x` from target probabilities `t`: the sum or the mean
    /// of `t (ln t - x)` over all elements.
    ///
    /// The prediction holds logarithms of probabilities. The mean is over all elements, like PyTorch's `"mean"`. The
    /// divergence per row is the sum divided by the number of rows. An element of target 0 counts as 0.
    ///
    /// # Derivative
    ///
    /// `-t`, divided by the number of elements for the mean.
    ///
    /// # Panics
    ///
    /// If the shapes differ, or `target` is on a different tape.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{Reduction, Tape};
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![0.25_f64.ln(), 0.75_f64.ln()]);
    /// let loss = x.kl_div(tape.constant(array![1.0, 0.0]), Reduction::Sum);
    /// loss.backward();
    /// assert_eq!(loss.item(), 4.0_f64.ln()); // 1 (ln 1 - ln ¼)
    /// assert_eq!(x.grad().unwrap(), array![-1.0, 0.0].into_dyn());
    /// ```
    #[doc(alias = "KLDivLoss")]
    #[doc(alias = "kl_divergence")]
    #[track_caller]
    #[must_use]
    pub fn kl_div(self, target: Self, reduction: Reduction) -> Self {
        self.check_target("kl_div", target);
        self.kl_divergence(target).reduce_elements(reduction)
    }

    /// Returns the binary cross-entropy of each class after a softmax along the last axis: the sum of
    /// `-[t ln(p + ε) + (1 - t) ln(1 - p + ε)]` with `p = softmax(x)` and `ε = 1e-16`, or a mean.
    ///
    /// It is [`nn::CrossEntropy`](crate::nn::CrossEntropy) after a softmax, with the same reductions. The course
    /// averages over the rows, which is [`Reduction::BatchMean`]. [`Reduction::Mean`] averages over the classes of each
    /// row, too. For one class out of several, [`cross_entropy`](Self::cross_entropy) is the usual loss.
    ///
    /// # Shapes
    ///
    /// `(…, classes)` for both. All axes except the last are rows.
    ///
    /// # Derivative
    ///
    /// The softmax's, for the cotangent `(1 - t) / (1 - p + ε) - t / (p + ε)`, divided by the divisor of the mean.
    ///
    /// # Panics
    ///
    /// If the shapes differ, there is no axis, or `target` is on a different tape.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{Reduction, Tape};
    ///
    /// let tape = Tape::<f64>::new();
    /// let x = tape.leaf(array![[0.0, 0.0]]);
    /// let loss = x.course_cross_entropy(tape.constant(array![[1.0, 0.0]]), Reduction::BatchMean);
    /// loss.backward();
    /// assert!((loss.item() - 2.0 * 2.0_f64.ln()).abs() < 1e-15); // -(ln ½ + ln ½)
    /// assert!((x.grad().unwrap()[[0, 1]] - 1.0).abs() < 1e-15);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn course_cross_entropy(self, target: Self, reduction: Reduction) -> Self {
        self.check_target("course_cross_entropy", target);
        let (rows, classes) = self.check_classes("course_cross_entropy");
        let terms = self.softmax(-1).named("ŷ").course_cross_entropy_term(target);
        match reduction {
            Reduction::None => terms,
            _ => terms.reduce(reduction.divisor(rows, classes)),
        }
    }

    /// Returns minus the sum of a term for each label, divided as the reduction says, or minus the terms.
    #[track_caller]
    fn negative_mean(self, labels: &[usize], reduction: Reduction) -> Self {
        match reduction {
            Reduction::None => -self,
            _ => self.negative_sum(reduction.divisor(labels.len(), 1)),
        }
    }

    /// Returns the sum of all elements, divided as the reduction says, or the elements. The first axis counts examples, the
    /// others their terms.
    #[track_caller]
    fn reduce_elements(self, reduction: Reduction) -> Self {
        if reduction == Reduction::None {
            return self;
        }
        let (rows, terms) = match self.shape().split_first() {
            Some((&rows, terms)) => (rows, terms.iter().product()),
            None => (1, 1),
        };
        self.reduce(reduction.divisor(rows, terms))
    }

    /// Returns the sum divided by `divisor`.
    #[track_caller]
    fn reduce(self, divisor: f64) -> Self {
        if divisor == 1.0 { self.sum() } else { self.sum().divide_by(T::from_f64(divisor)) }
    }

    /// Returns minus the sum divided by `divisor`.
    #[track_caller]
    fn negative_sum(self, divisor: f64) -> Self {
        if divisor == 1.0 { -self.sum() } else { self.sum().divide_by(T::from_f64(-divisor)) }
    }

    #[track_caller]
    fn check_target(self, name: &'static str, target: Self) {
        self.assert_same_tape(name, target);
        let (x, t) = (self.shape(), target.shape());
        if x != t {
            let error = ShapeError::new(name, &[&x, &t], "prediction and target have different shapes".into());
            panic!("{}", self.tape().explain(&error, &[self.id(), target.id()]));
        }
    }

    /// Returns the number of rows (over all axes except the last) and of classes (along the last axis).
    #[track_caller]
    fn check_classes(self, name: &'static str) -> (usize, usize) {
        let shape = self.shape();
        match shape.split_last() {
            Some((&classes, rows)) => (rows.iter().product(), classes),
            None => self.check(Err(ShapeError::new(name, &[&shape], "a number has no axis of classes".into()))),
        }
    }

    #[track_caller]
    pub(super) fn check_labels(self, name: &'static str, labels: &[usize]) {
        let shape = self.shape();
        let finding = match *shape {
            [rows, _] if rows == labels.len() => return self.check_indices(name, labels, 1, &shape),
            [rows, _] => format!("{} labels are given for {rows} rows", labels.len()),
            _ => format!("the prediction has {} axes, not 2", shape.len()),
        };
        self.check(Err(ShapeError::new(name, &[&shape], finding)))
    }
}
