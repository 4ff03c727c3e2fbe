//! How well classes are told apart: [`accuracy`], [`predictions`], [`ConfusionMatrix`].

use std::fmt;

use ndarray::{Array2, ArrayRef2};

use crate::scalar::Scalar;

/// Returns the column of the largest score of each row of `scores`, `(samples, classes)`.
///
/// The first of several equal scores counts. A NaN is never the largest, and a row of nothing else has no prediction.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::data::predictions;
///
/// let scores = array![[0.1, 0.9], [0.5, 0.5], [f64::NAN, 0.0], [f64::NAN, f64::NAN]];
/// assert_eq!(predictions(&scores), [Some(1), Some(0), Some(1), None]);
/// ```
#[doc(alias = "argmax")]
#[must_use]
pub fn predictions<T: Scalar>(scores: &ArrayRef2<T>) -> Vec<Option<usize>> {
    match scores.as_slice() {
        // A row of a slice costs a few instructions, a row of an array as much as ten comparisons.
        Some(numbers) if scores.ncols() > 0 => numbers.chunks_exact(scores.ncols()).map(largest).collect(),
        _ => scores.rows().into_iter().map(|row| largest(&row.to_vec())).collect(),
    }
}

fn largest<T: Scalar>(row: &[T]) -> Option<usize> {
    // A comparison with NaN is false, so NaN is never kept. Eight maxima at a time do not wait for each other.
    let keep = |largest: &mut T, &x: &T| *largest = if x > *largest { x } else { *largest };
    let (blocks, rest) = row.as_chunks::<8>();
    let mut lanes = [T::NEG_INFINITY; 8];
    blocks.iter().for_each(|block| lanes.iter_mut().zip(block).for_each(|(lane, x)| keep(lane, x)));
    let mut largest = T::NEG_INFINITY;
    lanes.iter().chain(rest).for_each(|x| keep(&mut largest, x));
    row.iter().position(|&x| x == largest)
}

/// Returns the share of rows of `scores`, `(samples, classes)`, whose largest score is in the column of the label.
///
/// The first of several equal scores counts; a NaN is never the largest. NaN if there is no row.
///
/// # Panics
///
/// If there are more or fewer labels than rows.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::data::accuracy;
///
/// let scores = array![[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]];
/// assert_eq!(accuracy(&scores, &[1, 0, 0]), 2.0 / 3.0);
/// ```
#[track_caller]
#[must_use]
pub fn accuracy<T: Scalar>(scores: &ArrayRef2<T>, labels: &[usize]) -> f64 {
    assert!(scores.nrows() == labels.len(), "accuracy: {} rows of scores for {} labels", scores.nrows(), labels.len());
    let right = predictions(scores).iter().zip(labels).filter(|(found, label)| **found == Some(**label)).count();
    right as f64 / labels.len() as f64
}

/// How often samples of each class were taken for each class.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::data::ConfusionMatrix;
///
/// let scores = array![[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]];
/// let matrix = ConfusionMatrix::new(&scores, &[0, 0, 1, 1]);
/// assert_eq!(matrix.counts(), array![[1, 1], [1, 1]]);
/// assert_eq!(matrix.accuracy(), 0.5);
/// assert_eq!(matrix.precision(0), 0.5); // of two taken for class 0, one was
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ConfusionMatrix {
    counts: Array2<usize>,
    /// The samples of each class, those without a prediction included.
    samples: Vec<usize>,
}

impl ConfusionMatrix {
    /// Counts the [`predictions`] of `scores`, `(samples, classes)`.
    ///
    /// # Panics
    ///
    /// If there are more or fewer labels than rows, or a label is not below the number of classes.
    ///
    /// # Example
    ///
    /// See [`ConfusionMatrix`].
    #[track_caller]
    #[must_use]
    pub fn new<T: Scalar>(scores: &ArrayRef2<T>, labels: &[usize]) -> Self {
        let (rows, classes) = scores.dim();
        assert!(rows == labels.len(), "ConfusionMatrix: {rows} rows of scores for {} labels", labels.len());
        let mut matrix = Self { counts: Array2::zeros((classes, classes)), samples: vec![0; classes] };
        for (row, (prediction, &label)) in predictions(scores).into_iter().zip(labels).enumerate() {
            assert!(
                label < classes,
                "ConfusionMatrix: label {label} of row {row} is out of range for {classes} classes"
            );
            matrix.samples[label] += 1;
            if let Some(prediction) = prediction {
                matrix.counts[[label, prediction]] += 1;
            }
        }
        matrix
    }

    /// Returns the counts: a row for each true class, a column for each predicted one.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::data::ConfusionMatrix;
    ///
    /// let matrix = ConfusionMatrix::new(&array![[0.9, 0.1], [0.7, 0.3]], &[0, 1]);
    /// assert_eq!(matrix.counts(), array![[1, 0], [1, 0]]); // both were taken for class 0
    /// ```
    #[must_use]
    pub fn counts(&self) -> &Array2<usize> {
        &self.counts
    }

    /// Returns the share of all samples that were taken for what they are. Without samples it is NaN.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::data::ConfusionMatrix;
    ///
    /// assert_eq!(ConfusionMatrix::new(&array![[0.9, 0.1], [0.7, 0.3]], &[0, 1]).accuracy(), 0.5);
    /// ```
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        self.counts.diag().sum() as f64 / self.samples.iter().sum::<usize>() as f64
    }

    /// Returns the share of the samples taken for `class` that are of it; NaN if none was.
    ///
    /// # Panics
    ///
    /// If there is no such class.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::data::ConfusionMatrix;
    ///
    /// let matrix = ConfusionMatrix::new(&array![[0.9, 0.1], [0.7, 0.3]], &[0, 1]);
    /// assert_eq!(matrix.precision(0), 0.5); // of two taken for class 0, one was
    /// assert!(matrix.precision(1).is_nan()); // none was taken for class 1
    /// ```
    #[track_caller]
    #[must_use]
    pub fn precision(&self, class: usize) -> f64 {
        self.check(class);
        self.counts[[class, class]] as f64 / self.counts.column(class).sum() as f64
    }

    /// Returns the share of the samples of `class` that were taken for it. Without such samples it is NaN.
    ///
    /// # Panics
    ///
    /// If there is no such class.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::data::ConfusionMatrix;
    ///
    /// let matrix = ConfusionMatrix::new(&array![[0.9, 0.1], [0.7, 0.3]], &[0, 1]);
    /// assert_eq!((matrix.recall(0), matrix.recall(1)), (1.0, 0.0));
    /// ```
    #[track_caller]
    #[must_use]
    pub fn recall(&self, class: usize) -> f64 {
        self.check(class);
        self.counts[[class, class]] as f64 / self.samples[class] as f64
    }

    #[track_caller]
    fn check(&self, class: usize) {
        let classes = self.samples.len();
        assert!(class < classes, "ConfusionMatrix: class {class} of {classes}");
    }
}

/// Prints the counts, with precision and recall of each class in per cent.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::data::ConfusionMatrix;
///
/// let matrix = ConfusionMatrix::new(&array![[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], &[0, 1, 1]);
/// let expected = "\
/// true \\ taken for      0      1   recall %
///                0      1      0     100.00
///                1      1      1      50.00
///      precision %  50.00 100.00";
/// assert_eq!(matrix.to_string(), expected);
/// ```
impl fmt::Display for ConfusionMatrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let classes = self.samples.len();
        write!(f, "true \\ taken for")?;
        (0..classes).try_for_each(|class| write!(f, " {class:6}"))?;
        writeln!(f, "   recall %")?;
        for (class, row) in self.counts.rows().into_iter().enumerate() {
            write!(f, "{class:>16}")?;
            row.iter().try_for_each(|count| write!(f, " {count:6}"))?;
            writeln!(f, "     {:6.2}", 100.0 * self.recall(class))?;
        }
        write!(f, "{:>16}", "precision %")?;
        (0..classes).try_for_each(|class| write!(f, " {:6.2}", 100.0 * self.precision(class)))
    }
}
