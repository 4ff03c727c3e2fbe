//! [`Samples`]: images and their labels.

use ndarray::{Array2, ArrayRef2, Axis};

use crate::error::{Error, Result};
use crate::scalar::Scalar;

/// Images, one in each row, and the class of each.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::data::Samples;
///
/// # fn main() -> tapegrad::Result<()> {
/// let samples = Samples::new(array![[0.0, 255.0], [255.0, 0.0]], vec![1, 0], 2)?;
/// assert_eq!(samples.len(), 2);
/// assert_eq!(samples.one_hot(), array![[0.0, 1.0], [1.0, 0.0]]);
/// assert_eq!(samples.scaled(1.0 / 255.0).images()[[0, 1]], 1.0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Samples<T> {
    images: Array2<T>,
    labels: Vec<usize>,
    classes: usize,
}

impl<T: Scalar> Samples<T> {
    /// Returns samples of these images, `(samples, pixels)`, and labels.
    ///
    /// # Errors
    ///
    /// If there is no sample, the counts differ, or a label is not below `classes`.
    pub fn new(images: Array2<T>, labels: Vec<usize>, classes: usize) -> Result<Self> {
        if images.is_empty() {
            let found = format!("{} images of {} pixels", images.nrows(), images.ncols());
            return Err(Error::value("images", "at least one, with at least one pixel", found));
        }
        if labels.len() != images.nrows() {
            let expected = format!("{}, one for each image", images.nrows());
            return Err(Error::value("labels", expected, labels.len().to_string()));
        }
        check_labels(&labels, classes)?;
        let images = if images.is_standard_layout() { images } else { images.as_standard_layout().into_owned() };
        Ok(Self { images, labels, classes })
    }

    /// Returns the images, `(samples, pixels)`.
    #[must_use]
    pub fn images(&self) -> &Array2<T> {
        &self.images
    }

    /// Returns the class of each image.
    #[must_use]
    pub fn labels(&self) -> &[usize] {
        &self.labels
    }

    /// Returns the number of classes.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Returns the number of samples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Returns whether there is no sample; never true.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Returns the labels as rows with a 1 in the column of the class, `(samples, classes)`.
    #[must_use]
    pub fn one_hot(&self) -> Array2<T> {
        fill_one_hot(&self.labels, self.classes)
    }

    /// Returns the samples with all pixels multiplied by `factor`: 1/255 brings bytes to the interval from 0 to 1.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        let factor = T::from_f64(factor);
        Self { images: self.images.mapv(|pixel| pixel * factor), ..self.clone() }
    }

    /// Copies the samples of these rows into a batch, whose memory is reused.
    ///
    /// # Panics
    ///
    /// If a row is out of range.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::{Array2, array};
    /// use tapegrad::data::Samples;
    ///
    /// # fn main() -> tapegrad::Result<()> {
    /// let samples = Samples::new(array![[1.0], [2.0], [3.0]], vec![0, 1, 0], 2)?;
    /// let (mut images, mut labels) = (Array2::zeros((0, 0)), Vec::new());
    /// samples.gather_into(&[2, 1], &mut images, &mut labels);
    /// assert_eq!(images, array![[3.0], [2.0]]);
    /// assert_eq!(labels, [0, 1]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn gather_into(&self, rows: &[usize], images: &mut Array2<T>, labels: &mut Vec<usize>) {
        if let Some(row) = rows.iter().find(|&&row| row >= self.len()) {
            panic!("gather_into: row {row} of {} samples", self.len());
        }
        let width = self.images.ncols();
        if images.dim() != (rows.len(), width) {
            // The old memory serves a batch of another size.
            let mut memory = std::mem::take(images).into_raw_vec_and_offset().0;
            memory.clear();
            memory.resize(rows.len() * width, T::ZERO);
            *images = Array2::from_shape_vec((rows.len(), width), memory).expect("the memory has the batch's size");
        }
        labels.clear();
        for (&row, mut image) in rows.iter().zip(images.rows_mut()) {
            image.assign(&self.images.row(row));
            labels.push(self.labels[row]);
        }
    }

    /// Returns the samples as ones of more classes.
    pub(crate) fn with_classes(self, classes: usize) -> Self {
        Self { classes, ..self }
    }
}

fn check_labels(labels: &[usize], classes: usize) -> Result<()> {
    match labels.iter().enumerate().find(|&(_, &label)| label >= classes) {
        Some((row, label)) => {
            Err(Error::value("labels", format!("classes below {classes}"), format!("{label} in row {row}")))
        }
        None => Ok(()),
    }
}

fn fill_one_hot<T: Scalar>(labels: &[usize], classes: usize) -> Array2<T> {
    let mut rows = Array2::zeros((labels.len(), classes));
    for (mut row, &label) in rows.rows_mut().into_iter().zip(labels) {
        row[label] = T::ONE;
    }
    rows
}

/// Returns labels as rows with a 1 in the column of the class, `(labels, classes)`.
///
/// # Errors
///
/// If a label is not below `classes`.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::data::one_hot;
///
/// # fn main() -> tapegrad::Result<()> {
/// assert_eq!(one_hot::<f64>(&[2, 0], 3)?, array![[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]);
/// assert_eq!(
///     one_hot::<f64>(&[2, 7], 3).unwrap_err().to_string(),
///     "labels: expected classes below 3, found 7 in row 1"
/// );
/// # Ok(())
/// # }
/// ```
pub fn one_hot<T: Scalar>(labels: &[usize], classes: usize) -> Result<Array2<T>> {
    check_labels(labels, classes)?;
    Ok(fill_one_hot(labels, classes))
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
    let largest = scores.axis_iter(Axis(0)).map(|row| {
        let best = (None, T::NEG_INFINITY);
        row.iter().enumerate().fold(best, |best, (k, &x)| if x > best.1 { (Some(k), x) } else { best }).0
    });
    let right = largest.zip(labels).filter(|(largest, label)| *largest == Some(**label)).count();
    right as f64 / labels.len() as f64
}
