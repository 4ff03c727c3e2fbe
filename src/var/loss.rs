//! Losses as methods of [`Var`]: recorded, stable, and differentiable by prediction and target, at any order.
//!
//! Each elementwise loss is a row of the table and a sum. The hand-derived losses of [`nn`](crate::nn) are others, and
//! their witness.

use crate::reduction::Reduction;
use crate::scalar::Scalar;
use crate::shape::ShapeError;
use crate::tape::Var;

/// Losses: of a prediction, `self`, and a target.
///
/// A target is a `Var`, so that it may depend on parameters as well; data are a [`constant`](crate::Tape::constant). It
/// has the prediction's very shape: nothing is broadcast, which in a loss is a mistake more often than not.
impl<'t, T: Scalar> Var<'t, T> {
    /// Returns the mean squared error: the mean or the sum of `(x - target)²` over all elements.
    ///
    /// The hand-derived [`nn::Mse`](crate::nn::Mse) is this mean.
    ///
    /// # Derivative
    ///
    /// `2 (x - target)`, by the number of elements for the mean.
    ///
    /// # Panics
    ///
    /// If the shapes differ, or `target` is of another tape.
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
    /// The sign of `x - target`, 0 where they are equal; by the number of elements for the mean.
    ///
    /// # Panics
    ///
    /// If the shapes differ, or `target` is of another tape.
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
    /// `d` limited to the interval from `-delta` to `delta`, by the number of elements for the mean.
    ///
    /// # Panics
    ///
    /// If the shapes differ, `target` is of another tape, or `delta` is negative or NaN.
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
    /// A class of probability 0 counts as 0 even where its score is minus infinity. For classes by number there is
    /// [`cross_entropy_labels`](Self::cross_entropy_labels).
    ///
    /// # Shapes
    ///
    /// `(…, classes)` both; all axes but the last are rows.
    ///
    /// # Derivative
    ///
    /// `softmax(x) Σ target - target`, by the number of rows for the mean.
    ///
    /// # Panics
    ///
    /// If the shapes differ, there is no axis, or `target` is of another tape.
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

    /// Returns the cross-entropy of scores (logits) with one right class for each row: the mean over the rows, or the sum,
    /// of `ln Σ e^x - x[label]`, computed without overflow by a shift of the maximum.
    ///
    /// # Shapes
    ///
    /// `(batch, classes)` and `batch` labels.
    ///
    /// # Derivative
    ///
    /// `softmax(x)`, minus 1 at the label; by the number of rows for the mean.
    ///
    /// # Panics
    ///
    /// If the shape is another, or a label is not below the number of classes.
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

    /// Returns the negative log-likelihood: the mean over the rows, or the sum, of `-x[label]`, of logarithms of
    /// probabilities such as [`log_softmax`](Self::log_softmax) gives.
    ///
    /// # Shapes
    ///
    /// `(batch, classes)` and `batch` labels.
    ///
    /// # Derivative
    ///
    /// -1 at the label, else 0; by the number of rows for the mean.
    ///
    /// # Panics
    ///
    /// If the shape is another, or a label is not below the number of classes.
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

    /// Returns the binary cross-entropy of probabilities: the mean or the sum of `-(t ln x + (1 - t) ln(1 - x))` over all
    /// elements, with `t` the target.
    ///
    /// A part of weight 0 counts as 0; else the logarithm of 0 is minus infinity, as in IEEE, and no limit is put to it
    /// (PyTorch's is -100). [`binary_cross_entropy_with_logits`](Self::binary_cross_entropy_with_logits) does without.
    ///
    /// # Derivative
    ///
    /// `(1 - t) / (1 - x) - t / x`, by the number of elements for the mean.
    ///
    /// # Panics
    ///
    /// If the shapes differ, or `target` is of another tape.
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

    /// Returns the binary cross-entropy of scores (logits), [`binary_cross_entropy`](Self::binary_cross_entropy) of their
    /// [`sigmoid`](Self::sigmoid): the mean or the sum of `t ln(1 + e^-x) + (1 - t) ln(1 + e^x)` over all elements, which
    /// neither overflows nor loses small terms.
    ///
    /// # Derivative
    ///
    /// `sigmoid(x) - t`, by the number of elements for the mean.
    ///
    /// # Panics
    ///
    /// If the shapes differ, or `target` is of another tape.
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

    /// Returns the hinge loss: the mean or the sum of `max(0, 1 - t x)` over all elements, with targets `t` of -1 and 1.
    ///
    /// # Derivative
    ///
    /// `-t` where `t x < 1`, else 0, at the kink too; by the number of elements for the mean.
    ///
    /// # Panics
    ///
    /// If the shapes differ, or `target` is of another tape.
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

    /// Returns the loss of the perceptron: the mean or the sum of `max(0, -t x)` over all elements, with targets `t` of -1
    /// and 1.
    ///
    /// # Derivative
    ///
    /// `-t` where `t x < 0`, else 0, at the kink too; by the number of elements for the mean.
    ///
    /// # Panics
    ///
    /// If the shapes differ, or `target` is of another tape.
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

    /// Returns the Kullback-Leibler divergence of a prediction, given as logarithms of probabilities, from target
    /// probabilities `t`: the sum of `t (ln t - x)` over all elements, or the mean over all elements, as PyTorch's `"mean"`. The
    /// divergence per row is the sum divided by the number of rows.
    ///
    /// An element of target 0 counts as 0.
    ///
    /// # Derivative
    ///
    /// `-t`, by the number of elements for the mean.
    ///
    /// # Panics
    ///
    /// If the shapes differ, or `target` is of another tape.
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
    /// It is [`nn::CrossEntropy`](crate::nn::CrossEntropy) behind a softmax, with the same meaning of the reduction: the
    /// course averages over the rows, [`Reduction::BatchMean`]; [`Reduction::Mean`] is over the classes of each row, too. For
    /// one class out of several, [`cross_entropy`](Self::cross_entropy) is the usual loss.
    ///
    /// # Shapes
    ///
    /// `(…, classes)` both; all axes but the last are rows.
    ///
    /// # Derivative
    ///
    /// That of the softmax with the cotangent `(1 - t) / (1 - p + ε) - t / (p + ε)`, by the divisor of the mean.
    ///
    /// # Panics
    ///
    /// If the shapes differ, there is no axis, or `target` is of another tape.
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
        self.softmax(-1).course_cross_entropy_term(target).reduce(reduction.divisor(rows, classes))
    }

    /// Returns the sum of all elements as the reduction says: the first axis counts the examples, the others their terms.
    #[track_caller]
    fn reduce_elements(self, reduction: Reduction) -> Self {
        let (rows, terms) = match self.shape().split_first() {
            Some((&rows, terms)) => (rows, terms.iter().product()),
            None => (1, 1),
        };
        self.reduce(reduction.divisor(rows, terms))
    }

    /// Returns the sum by `divisor`.
    #[track_caller]
    fn reduce(self, divisor: f64) -> Self {
        if divisor == 1.0 { self.sum() } else { self.sum().divide_by(T::from_f64(divisor)) }
    }

    /// Returns minus the sum by `divisor`.
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

    /// Returns the number of rows, of all axes but the last, and of the classes along that one.
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
