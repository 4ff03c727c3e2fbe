//! [`CrossEntropyOptions`]: class weights, ignored labels and label smoothing.

use ndarray::Array1;

use crate::reduction::Reduction;
use crate::scalar::Scalar;
use crate::tape::Var;

/// Options of [`Var::cross_entropy_with`].
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::{CrossEntropyOptions, Tape};
///
/// let tape = Tape::<f64>::new();
/// let x = tape.leaf(array![[0.0, 0.0], [0.0, 0.0], [7.0, -9.0]]);
/// let options = CrossEntropyOptions::new().with_weights([1.0, 3.0]).with_ignored(255);
/// let loss = x.cross_entropy_with(&[0, 1, 255], &options);
/// loss.backward();
/// assert!((loss.item() - 2.0_f64.ln()).abs() < 1e-15); // (1 ln 2 + 3 ln 2) / (1 + 3)
/// assert_eq!(x.grad().unwrap(), array![[-0.125, 0.125], [0.375, -0.375], [0.0, 0.0]].into_dyn());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct CrossEntropyOptions<T> {
    weights: Option<Vec<T>>,
    ignored: Option<usize>,
    smoothing: T,
    reduction: Reduction,
}

impl<T: Scalar> CrossEntropyOptions<T> {
    /// Returns the options of a plain mean: all weights are 1, no label is ignored, nothing is smoothed.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::{CrossEntropyOptions, Reduction, Tape};
    ///
    /// let tape = Tape::<f64>::new();
    /// let x = tape.leaf(ndarray::array![[1.0, 3.0]]);
    /// let plain = x.cross_entropy_labels(&[0], Reduction::Mean);
    /// assert_eq!(x.cross_entropy_with(&[0], &CrossEntropyOptions::new()).item(), plain.item());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self { weights: None, ignored: None, smoothing: T::ZERO, reduction: Reduction::Mean }
    }

    /// Gives each class a weight.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{CrossEntropyOptions, Reduction, Tape};
    ///
    /// let tape = Tape::<f64>::new();
    /// let x = tape.leaf(array![[0.0, 0.0], [0.0, 0.0]]);
    /// let options = CrossEntropyOptions::new().with_weights([1.0, 3.0]).with_reduction(Reduction::Sum);
    /// let loss = x.cross_entropy_with(&[0, 1], &options);
    /// assert!((loss.item() - 4.0 * 2.0_f64.ln()).abs() < 1e-15); // 1 ln 2 + 3 ln 2
    /// ```
    #[doc(alias = "weight")]
    #[must_use]
    pub fn with_weights(self, weights: impl Into<Vec<T>>) -> Self {
        Self { weights: Some(weights.into()), ..self }
    }

    /// Leaves out the rows with this label, which need not be a class.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{CrossEntropyOptions, Tape};
    ///
    /// let tape = Tape::<f64>::new();
    /// let x = tape.leaf(array![[0.0, 0.0], [5.0, 0.0]]);
    /// let loss = x.cross_entropy_with(&[1, 255], &CrossEntropyOptions::new().with_ignored(255));
    /// assert!((loss.item() - 2.0_f64.ln()).abs() < 1e-15); // the first row alone
    /// ```
    #[doc(alias = "ignore_index")]
    #[must_use]
    pub fn with_ignored(self, label: usize) -> Self {
        Self { ignored: Some(label), ..self }
    }

    /// Spreads this share of each target equally over all classes (Szegedy et al. 2016).
    ///
    /// # Panics
    ///
    /// If the share is not from 0 to 1.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{CrossEntropyOptions, Tape};
    ///
    /// let tape = Tape::<f64>::new();
    /// let x = tape.leaf(array![[0.0, 0.0]]);
    /// x.cross_entropy_with(&[0], &CrossEntropyOptions::new().with_smoothing(0.5)).backward();
    /// assert_eq!(x.grad().unwrap(), array![[-0.25, 0.25]].into_dyn()); // ½ - ¾, ½ - ¼
    /// ```
    #[doc(alias = "label_smoothing")]
    #[track_caller]
    #[must_use]
    pub fn with_smoothing(self, smoothing: T) -> Self {
        let share = smoothing >= T::ZERO && smoothing <= T::ONE;
        assert!(share, "label smoothing: expected a share from 0 to 1, found {smoothing}");
        Self { smoothing, ..self }
    }

    /// Reduces the rows in another way than by their mean.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{CrossEntropyOptions, Reduction, Tape};
    ///
    /// let tape = Tape::<f64>::new();
    /// let x = tape.leaf(array![[0.0, 0.0], [0.0, 0.0]]);
    /// let terms = x.cross_entropy_with(&[0, 1], &CrossEntropyOptions::new().with_reduction(Reduction::None));
    /// assert_eq!(terms.shape().to_string(), "(2,)");
    /// ```
    #[must_use]
    pub fn with_reduction(self, reduction: Reduction) -> Self {
        Self { reduction, ..self }
    }
}

impl<T: Scalar> Default for CrossEntropyOptions<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Scalar> Var<'_, T> {
    /// Returns the cross-entropy of scores (logits) with the number of the right class for each row, with class weights `w`,
    /// an ignored label and label smoothing `ε`. The term of a row with the label `y` is
    ///
    /// ```text
    /// -(1 - ε) w[y] ln p[y] - ε / classes · Σ w[c] ln p[c],   p = softmax(x)
    /// ```
    ///
    /// A row with the ignored label has the term 0. As in PyTorch, [`Reduction::Mean`] divides by the sum of the weights
    /// `w[y]` of the rows that count. [`Reduction::BatchMean`] divides by their number. If no row counts, both are NaN. The
    /// others are as for [`cross_entropy_labels`](Self::cross_entropy_labels).
    ///
    /// A class of weight 0 counts as 0, even if its score is minus infinity.
    ///
    /// # Shapes
    ///
    /// `(batch, classes)` and `batch` labels.
    ///
    /// # Derivative
    ///
    /// Of the term of a row, `p Σ q - q`, where `q` holds the weighted targets: `ε w / classes`, and `(1 - ε) w[y]` more at
    /// the label.
    ///
    /// # Panics
    ///
    /// If the shape does not fit the labels, a label that is not ignored is not below the number of classes, or there is not
    /// a weight for each class.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{CrossEntropyOptions, Tape};
    ///
    /// let tape = Tape::<f64>::new();
    /// let x = tape.leaf(array![[0.0, 0.0]]);
    /// let loss = x.cross_entropy_with(&[0], &CrossEntropyOptions::new().with_smoothing(0.5));
    /// loss.backward();
    /// assert!((loss.item() - 2.0_f64.ln()).abs() < 1e-15);
    /// assert_eq!(x.grad().unwrap(), array![[-0.25, 0.25]].into_dyn()); // targets ¾ and ¼
    /// ```
    #[doc(alias = "cross_entropy")]
    #[doc(alias = "CrossEntropyLoss")]
    #[track_caller]
    #[must_use]
    pub fn cross_entropy_with(self, labels: &[usize], options: &CrossEntropyOptions<T>) -> Self {
        const NAME: &str = "cross_entropy_with";
        let CrossEntropyOptions { weights, ignored, smoothing, reduction } = options;
        let counts = |label: &usize| Some(*label) != *ignored;
        // An ignored label becomes class 0, whose term is then replaced.
        let classes: Vec<usize> = labels.iter().map(|label| if counts(label) { *label } else { 0 }).collect();
        self.check_labels(NAME, &classes);
        let width = self.shape()[1];
        let weights = match weights {
            Some(weights) if weights.len() == width => weights.clone(),
            Some(weights) => self.refuse(NAME, format!("{} weights are given for {width} classes", weights.len())),
            None => vec![T::ONE; width],
        };
        let tape = self.tape();
        let row_weights: Array1<T> = classes.iter().map(|&class| weights[class]).collect();
        let total: T =
            row_weights.iter().zip(labels).filter(|(_, label)| counts(label)).map(|(&weight, _)| weight).sum();
        let logarithms = self.log_softmax(-1);
        let mut terms = tape.constant(row_weights).multiply_no_nan(logarithms.pick(&classes)).negative();
        if *smoothing > T::ZERO {
            let all = tape.constant(Array1::from(weights)).multiply_no_nan(logarithms).sum_axis(-1);
            terms = terms * (T::ONE - *smoothing) - all * (*smoothing / T::from_f64(width as f64));
        }
        if !labels.iter().all(counts) {
            let left_out: Array1<bool> = labels.iter().map(|label| !counts(label)).collect();
            terms = terms.masked_fill(&left_out, T::ZERO);
        }
        let rows = labels.iter().filter(|label| counts(label)).count();
        match reduction {
            Reduction::None => terms,
            Reduction::Sum | Reduction::OutputMean => terms.sum(),
            Reduction::Mean => terms.sum() / total,
            Reduction::BatchMean => terms.sum() / T::from_f64(rows as f64),
        }
    }
}
