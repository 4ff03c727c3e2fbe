//! [`SoftmaxCrossEntropy`]: the cross-entropy of scores for one class out of several.

use ndarray::{Array2, ArrayRef2};

use super::criterion::{Loss, check_shapes};
use crate::nn::buffer::Buffer;
use crate::nn::layer::default_is_new;
use crate::nn::softmax::{row_max, softmax_rows};
use crate::number::Algebra;
use crate::reduction::Reduction;
use crate::scalar::Scalar;
use crate::shape::Shape;
use crate::tape::Var;

/// The cross-entropy between target distributions `y` and the softmax of scores `ŷ`, the mean over the `n` rows:
/// `L = -1/n Σ_i Σ_j y[i, j] ln p[i, j]` with `p = softmax(ŷ)`. [`Reduction::Sum`] leaves out the `1/n`.
///
/// A row of `y` is one-hot or any other distribution. A class with `y[i, j] = 0` adds 0, even for a score of minus
/// infinity. Targets may also be class numbers: see [`forward_labels`](Self::forward_labels),
/// [`backward_labels`](Self::backward_labels) and [`record_labels`](Self::record_labels).
///
/// # Derivative
///
/// For one row, with its largest score `m` and `S = Σ_k e^(ŷ[k] - m)` (log-sum-exp shift):
///
/// ```text
/// ln p[j]     = (ŷ[j] - m) - ln S                    nothing overflows
/// d ln p[k] / dŷ[j] = (k = j) - p[j]
/// dL/dŷ[j]    = -1/n Σ_k y[k] ((k = j) - p[j]) = (s p[j] - y[j]) / n    with s = Σ_k y[k]
/// ```
///
/// For a distribution `s` is 1, which gives the well-known `(p - y) / n`.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::nn::{Loss, SoftmaxCrossEntropy};
///
/// let mut loss = SoftmaxCrossEntropy::new();
/// let scores = array![[0.0, 0.0], [1000.0, 0.0]]; // probabilities ½, ½ and 1, 0
/// let y = array![[1.0, 0.0], [1.0, 0.0]];
/// let value: f64 = loss.forward(&y, &scores);
/// assert!((value - 2.0_f64.ln() / 2.0).abs() < 1e-15); // (ln 2 + 0) / 2
/// assert_eq!(loss.backward(&y, &scores), array![[-0.25, 0.25], [0.0, 0.0]]);
/// assert_eq!(loss.backward_labels(&[0, 0], &scores), array![[-0.25, 0.25], [0.0, 0.0]]);
/// ```
#[doc(alias("CrossEntropyCriterion", "CrossEntropyLoss", "ClassNLLCriterion"))]
#[derive(Clone, Debug)]
pub struct SoftmaxCrossEntropy<T> {
    reduction: Reduction,
    /// The scores of the last evaluation.
    scores: Buffer<T>,
    /// Their softmax.
    softmax: Buffer<T>,
    /// `ln S` of each row.
    log_sums: Vec<T>,
    delta: Buffer<T>,
    targets: Buffer<T>,
}

default_is_new!(SoftmaxCrossEntropy);

impl<T: Scalar> SoftmaxCrossEntropy<T> {
    /// Returns the loss, the mean over the rows.
    ///
    /// # Example
    ///
    /// See [`SoftmaxCrossEntropy`].
    #[must_use]
    pub fn new() -> Self {
        Self {
            reduction: Reduction::Mean,
            scores: Buffer::default(),
            softmax: Buffer::default(),
            log_sums: Vec::new(),
            delta: Buffer::default(),
            targets: Buffer::default(),
        }
    }

    /// Returns the loss with this reduction. A row is one term.
    ///
    /// # Panics
    ///
    /// If it is [`Reduction::None`].
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Reduction;
    /// use tapegrad::nn::SoftmaxCrossEntropy;
    ///
    /// // The gradient of the sum is p - y for any number of rows.
    /// let mut loss = SoftmaxCrossEntropy::new().with_reduction(Reduction::Sum);
    /// assert_eq!(loss.backward_labels(&[1, 0], &array![[7.0, 7.0], [3.0, 3.0]]), array![[0.5, -0.5], [-0.5, 0.5]]);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn with_reduction(self, reduction: Reduction) -> Self {
        Self { reduction: reduction.to_one_number("SoftmaxCrossEntropy"), ..self }
    }

    /// Returns the divisor of the sum over this number of rows.
    fn divisor(&self, rows: usize) -> f64 {
        self.reduction.divisor(rows, 1)
    }

    /// Returns the loss for class numbers, `(batch)` labels for `(batch, classes)` scores.
    ///
    /// # Panics
    ///
    /// If the number of labels is not that of the rows, or if a label is not below the number of classes.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::nn::SoftmaxCrossEntropy;
    ///
    /// let mut loss = SoftmaxCrossEntropy::new();
    /// // The second class has the probability 0.
    /// assert_eq!(loss.forward_labels(&[0], &array![[3.0, f64::NEG_INFINITY]]), 0.0);
    /// ```
    #[track_caller]
    pub fn forward_labels(&mut self, labels: &[usize], yhat: &ArrayRef2<T>) -> T {
        check_labels(labels, yhat.shape());
        self.evaluate(yhat);
        let rows = self.scores.values().chunks_exact(yhat.ncols().max(1));
        let mut sum = 0.0;
        for ((row, &log_sum), &label) in rows.zip(&self.log_sums).zip(labels) {
            sum -= ((row[label] - row_max(row)) - log_sum).to_f64();
        }
        T::from_f64(sum / self.divisor(labels.len()))
    }

    /// Returns the gradient by the scores of the loss for class numbers: `(p - 1) / n` at the label, else `p / n`.
    ///
    /// # Panics
    ///
    /// As [`forward_labels`](Self::forward_labels).
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::nn::SoftmaxCrossEntropy;
    ///
    /// let mut loss = SoftmaxCrossEntropy::new();
    /// assert_eq!(loss.backward_labels(&[1], &array![[7.0, 7.0]]), array![[0.5, -0.5]]);
    /// ```
    #[track_caller]
    pub fn backward_labels(&mut self, labels: &[usize], yhat: &ArrayRef2<T>) -> &Array2<T> {
        check_labels(labels, yhat.shape());
        self.evaluate(yhat);
        let n = T::from_f64(self.divisor(labels.len()));
        let rows = self.delta.copy_from(self.softmax.array()).chunks_exact_mut(yhat.ncols().max(1));
        for (row, &label) in rows.zip(labels) {
            row[label] -= T::ONE;
            row.iter_mut().for_each(|delta| *delta /= n);
        }
        self.delta.array()
    }

    /// Records the loss for class numbers. The scores of other classes may be minus infinity.
    ///
    /// # Panics
    ///
    /// As [`forward_labels`](Self::forward_labels).
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    /// use tapegrad::nn::SoftmaxCrossEntropy;
    ///
    /// let tape = Tape::new();
    /// let scores = tape.leaf(array![[7.0, 7.0]]);
    /// SoftmaxCrossEntropy::new().record_labels(&[1], scores).backward();
    /// assert_eq!(scores.grad().unwrap(), array![[0.5, -0.5]].into_dyn());
    /// ```
    #[track_caller]
    pub fn record_labels<'t>(&self, labels: &[usize], yhat: Var<'t, T>) -> Var<'t, T> {
        check_labels(labels, &yhat.shape());
        let _group = yhat.tape().open_group("SoftmaxCrossEntropy");
        -yhat.log_softmax(-1).pick(labels).sum() / T::from_f64(self.divisor(labels.len()))
    }

    /// Computes softmax and `ln S` of the scores, unless they equal those of the last evaluation.
    fn evaluate(&mut self, yhat: &ArrayRef2<T>) {
        // A NaN equals nothing, so scores with a NaN are evaluated again.
        if self.scores.array() == yhat && self.log_sums.len() == yhat.nrows() {
            return;
        }
        self.scores.copy_from(yhat);
        self.log_sums.clear();
        softmax_rows(self.softmax.copy_from(yhat), yhat.ncols(), |sum| self.log_sums.push(sum.ln()));
    }
}

impl<T: Scalar> Loss<T> for SoftmaxCrossEntropy<T> {
    fn forward(&mut self, y: &ArrayRef2<T>, yhat: &ArrayRef2<T>) -> T {
        check_shapes("SoftmaxCrossEntropy", y.shape(), yhat.shape());
        self.evaluate(yhat);
        let classes = yhat.ncols().max(1);
        let rows = self.scores.values().chunks_exact(classes).zip(&self.log_sums);
        let mut sum = 0.0;
        for ((row, &log_sum), y) in rows.zip(self.targets.rows_of(y).chunks_exact(classes)) {
            let max = row_max(row);
            for (&yhat, &y) in row.iter().zip(y) {
                // Selected: 0 ln 0 would be NaN.
                if y != T::ZERO {
                    sum -= (y * ((yhat - max) - log_sum)).to_f64();
                }
            }
        }
        T::from_f64(sum / self.divisor(y.nrows()))
    }

    fn backward(&mut self, y: &ArrayRef2<T>, yhat: &ArrayRef2<T>) -> &Array2<T> {
        check_shapes("SoftmaxCrossEntropy", y.shape(), yhat.shape());
        self.evaluate(yhat);
        let (n, classes) = (T::from_f64(self.divisor(y.nrows())), yhat.ncols().max(1));
        let rows = self.delta.copy_from(self.softmax.array()).chunks_exact_mut(classes);
        for (row, y) in rows.zip(self.targets.rows_of(y).chunks_exact(classes)) {
            let s: T = y.iter().copied().sum();
            for (p, &y) in row.iter_mut().zip(y) {
                *p = (s * *p - y) / n;
            }
        }
        self.delta.array()
    }

    fn record<'t>(&self, y: &ArrayRef2<T>, yhat: Var<'t, T>) -> Var<'t, T> {
        check_shapes("SoftmaxCrossEntropy", y.shape(), &yhat.shape());
        let n = T::from_f64(self.divisor(y.nrows()));
        let _group = yhat.tape().open_group("SoftmaxCrossEntropy");
        let y = yhat.tape().constant(y).named("y");
        // The gate selects the classes with a target other than 0, as in `forward`.
        -(y * yhat.log_softmax(-1).where_positive(y.abs())).sum() / n
    }
}

/// Checks that there is a label for each row, and that every label is below the number of classes.
#[track_caller]
fn check_labels(labels: &[usize], yhat: &[usize]) {
    let &[rows, classes] = yhat else {
        panic!("SoftmaxCrossEntropy: expected scores of shape (batch, classes), found {}", Shape::from(yhat));
    };
    assert!(labels.len() == rows, "SoftmaxCrossEntropy: {} labels for {rows} rows of scores", labels.len());
    if let Some((row, label)) = labels.iter().enumerate().find(|&(_, &label)| label >= classes) {
        panic!("SoftmaxCrossEntropy: label {label} of row {row} is out of range for {classes} classes");
    }
}
