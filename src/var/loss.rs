//! Losses as methods of [`Var`]: recorded, stable, and differentiable by prediction and target, at any order.
//!
//! Each elementwise loss is a row of the table and a sum. The losses of [`nn`](crate::nn) are derived by hand,
//! independently of these, and each checks the other.

use crate::reduction::Reduction;
use crate::scalar::Scalar;
use crate::shape::ShapeError;
use crate::tape::Var;

/// Losses of a prediction, `self`, and a target.
///
/// A target is a `Var`, so it may depend on parameters. Data are recorded as a [`constant`](crate::Tape::constant). The
/// target must have the shape of the prediction: a loss does not broadcast, because different shapes are usually a
/// mistake.
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
    #[track_caller]
    #[must_use]
    pub fn huber_loss(self, target: Self, delta: T, reduction: Reduction) -> Self {
        self.check_target("huber_loss", target);
        (self - target).huber(delta).reduce_elements(reduction)
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
        target.multiply_no_nan(self.log_softmax(-1)).negative_sum(reduction.divisor(rows, 1))
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
        self.log_softmax(-1).pick(labels).negative_sum(reduction.divisor(labels.len(), 1))
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
        self.pick(labels).negative_sum(reduction.divisor(labels.len(), 1))
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
        self.softmax(-1).named("ŷ").course_cross_entropy_term(target).reduce(reduction.divisor(rows, classes))
    }

    /// Returns the sum of all elements, divided as the reduction says. The first axis counts examples, the others their
    /// terms.
    #[track_caller]
    fn reduce_elements(self, reduction: Reduction) -> Self {
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
    fn check_labels(self, name: &'static str, labels: &[usize]) {
        let shape = self.shape();
        let finding = match *shape {
            [rows, _] if rows == labels.len() => return self.check_indices(name, labels, 1, &shape),
            [rows, _] => format!("{} labels are given for {rows} rows", labels.len()),
            _ => format!("the prediction has {} axes, not 2", shape.len()),
        };
        self.check(Err(ShapeError::new(name, &[&shape], finding)))
    }
}
