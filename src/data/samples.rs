//! [`Samples`]: images and their labels.

use std::ops::Range;

use ndarray::{Array2, ArrayView2, Axis};
use rand::seq::SliceRandom;

use super::generator::Generator;
use crate::error::{Error, Result};
use crate::kernel::matrix::shape_to;
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
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::data::Samples;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// assert_eq!(Samples::new(array![[1.0], [2.0]], vec![0, 1], 2)?.len(), 2);
    /// let error = Samples::new(array![[1.0], [2.0]], vec![0], 2).unwrap_err();
    /// assert_eq!(error.to_string(), "labels: expected 2, one for each image, found 1");
    /// # Ok(())
    /// # }
    /// ```
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
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::data::Samples;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let samples = Samples::new(array![[1.0], [2.0]], vec![0, 1], 2)?;
    /// assert_eq!(samples.images(), array![[1.0], [2.0]]);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn images(&self) -> &Array2<T> {
        &self.images
    }

    /// Returns the class of each image.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::data::Samples;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let samples = Samples::new(array![[1.0], [2.0]], vec![0, 1], 2)?;
    /// assert_eq!(samples.labels(), [0, 1]);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn labels(&self) -> &[usize] {
        &self.labels
    }

    /// Returns the number of classes.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::data::Samples;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let samples = Samples::new(array![[1.0], [2.0]], vec![0, 1], 5)?;
    /// assert_eq!(samples.classes(), 5);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Returns the number of samples.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::data::Samples;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// assert_eq!(Samples::new(array![[1.0], [2.0]], vec![0, 1], 2)?.len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Returns whether there is no sample; never true.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::data::Samples;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// assert!(!Samples::new(array![[1.0], [2.0]], vec![0, 1], 2)?.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Returns the labels as rows with a 1 in the column of the class, `(samples, classes)`.
    ///
    /// # Example
    ///
    /// See [`Samples`].
    #[must_use]
    pub fn one_hot(&self) -> Array2<T> {
        fill_one_hot(&self.labels, self.classes)
    }

    /// Returns the samples with all pixels multiplied by `factor`: 1/255 brings bytes to the interval from 0 to 1.
    ///
    /// # Example
    ///
    /// See [`Samples`].
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        let factor = T::from_f64(factor);
        Self { images: self.images.mapv(|pixel| pixel * factor), ..self.clone() }
    }

    /// Returns the samples of these rows, in this order.
    ///
    /// # Panics
    ///
    /// If a row is out of range, or the list of rows is empty.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::data::Samples;
    ///
    /// # fn main() -> tapegrad::Result<()> {
    /// let samples = Samples::new(array![[1.0], [2.0], [3.0]], vec![0, 1, 0], 2)?;
    /// assert_eq!(samples.select(&[2, 1]), Samples::new(array![[3.0], [2.0]], vec![0, 1], 2)?);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        assert!(!rows.is_empty(), "select: expected at least one row, found none");
        self.assert_rows("select", rows);
        let mut selected = Self { images: Array2::default((0, 0)), labels: Vec::new(), classes: self.classes };
        self.gather_into(rows, &mut selected.images, &mut selected.labels);
        selected
    }

    /// Returns the images and labels of consecutive rows, as they are in memory.
    ///
    /// # Panics
    ///
    /// If the range ends behind the last row.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::data::Samples;
    ///
    /// # fn main() -> tapegrad::Result<()> {
    /// let samples = Samples::new(array![[1.0], [2.0], [3.0]], vec![0, 1, 0], 2)?;
    /// let (images, labels) = samples.slice(1..3);
    /// assert_eq!((images, labels), (array![[2.0], [3.0]].view(), &[1, 0][..]));
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    #[must_use]
    pub fn slice(&self, rows: Range<usize>) -> (ArrayView2<'_, T>, &[usize]) {
        let count = self.len();
        assert!(rows.start <= rows.end && rows.end <= count, "slice: expected rows within 0..{count}, found {rows:?}");
        (self.images.slice_axis(Axis(0), rows.clone().into()), &self.labels[rows])
    }

    /// Returns the samples of a batch: as they are in memory if its rows are consecutive, else copied to `images` and
    /// `labels`, whose memory is reused.
    ///
    /// # Panics
    ///
    /// If a row is out of range.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::{Array2, array};
    /// use tapegrad::data::{Batches, Samples};
    ///
    /// # fn main() -> tapegrad::Result<()> {
    /// let samples = Samples::new(array![[1.0], [2.0], [3.0]], vec![0, 1, 0], 2)?;
    /// let (mut images, mut labels) = (Array2::zeros((0, 0)), Vec::new());
    /// for rows in Batches::new(3, 2, 0).iter() {
    ///     samples.batch(rows, &mut images, &mut labels); // in order: nothing is copied
    /// }
    /// assert!(images.is_empty());
    /// let (batch, _) = samples.batch(&[2, 0], &mut images, &mut labels);
    /// assert_eq!(batch, array![[3.0], [1.0]]);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn batch<'a>(
        &'a self,
        rows: &[usize],
        images: &'a mut Array2<T>,
        labels: &'a mut Vec<usize>,
    ) -> (ArrayView2<'a, T>, &'a [usize]) {
        self.assert_rows("batch", rows);
        match rows.first() {
            Some(&first) if rows.iter().enumerate().all(|(k, &row)| row == first + k) => {
                self.slice(first..first + rows.len())
            }
            _ => {
                self.gather_into(rows, images, labels);
                (images.view(), labels)
            }
        }
    }

    /// Returns `k` pairs of samples, to train on and to test with: every sample is in one of the test parts, drawn at
    /// random. The sizes of the test parts differ by at most 1. Equal seeds give equal parts. A pair is copied when the
    /// iterator comes to it.
    ///
    /// # Errors
    ///
    /// If `k` is below 2, or above the number of samples.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::Array2;
    /// use tapegrad::data::Samples;
    ///
    /// # fn main() -> tapegrad::Result<()> {
    /// let samples = Samples::new(Array2::<f64>::zeros((10, 2)), vec![0; 10], 1)?;
    /// let sizes: Vec<_> = samples.k_fold(3, 0)?.map(|(train, test)| (train.len(), test.len())).collect();
    /// assert_eq!(sizes, [(6, 4), (7, 3), (7, 3)]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias("KFold", "cross-validation"))]
    pub fn k_fold(&self, k: usize, seed: u64) -> Result<impl ExactSizeIterator<Item = (Self, Self)>> {
        if k < 2 || k > self.len() {
            return Err(Error::value(
                "folds",
                format!("from 2 to {}, the number of samples", self.len()),
                k.to_string(),
            ));
        }
        let rows = shuffled_rows(self.len(), seed);
        let (size, larger) = (rows.len() / k, rows.len() % k);
        Ok((0..k).map(move |fold| {
            let start = fold * size + fold.min(larger);
            let end = start + size + usize::from(fold < larger);
            (self.select(&[&rows[..start], &rows[end..]].concat()), self.select(&rows[start..end]))
        }))
    }

    /// Returns the samples in random order. Equal seeds give equal orders.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::data::Samples;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let samples = Samples::new(array![[1.0], [2.0], [3.0]], vec![0, 1, 2], 3)?;
    /// assert_eq!(samples.shuffled(7), samples.shuffled(7));
    /// assert_eq!(samples.shuffled(7).images().sum(), 6.0); // the same rows
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn shuffled(&self, seed: u64) -> Self {
        self.select(&shuffled_rows(self.len(), seed))
    }

    /// Returns the samples in two parts, drawn at random: to train on, and this share of them to test with, rounded to
    /// the nearest number. Equal seeds give equal parts.
    ///
    /// # Errors
    ///
    /// If one of the parts would have no sample.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::Array2;
    /// use tapegrad::data::Samples;
    ///
    /// # fn main() -> tapegrad::Result<()> {
    /// let samples = Samples::new(Array2::<f64>::zeros((10, 2)), vec![0; 10], 1)?;
    /// let (train, test) = samples.train_test_split(0.2, 0)?;
    /// assert_eq!((train.len(), test.len()), (8, 2));
    /// assert!(samples.train_test_split(1.0, 0).is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn train_test_split(&self, test_share: f64, seed: u64) -> Result<(Self, Self)> {
        let count = (self.len() as f64 * test_share).round();
        // Written so that NaN is refused.
        if !(count >= 1.0 && count < self.len() as f64) {
            let expected = format!("one that leaves both parts of {} samples some", self.len());
            return Err(Error::value("test share", expected, test_share.to_string()));
        }
        let rows = shuffled_rows(self.len(), seed);
        let (test, train) = rows.split_at(count as usize);
        Ok((self.select(train), self.select(test)))
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
        self.assert_rows("gather_into", rows);
        shape_to(images, (rows.len(), self.images.ncols()));
        labels.clear();
        for (&row, mut image) in rows.iter().zip(images.rows_mut()) {
            image.assign(&self.images.row(row));
            labels.push(self.labels[row]);
        }
    }

    #[track_caller]
    fn assert_rows(&self, name: &str, rows: &[usize]) {
        if let Some(row) = rows.iter().find(|&&row| row >= self.len()) {
            panic!("{name}: expected rows below the number of samples, {}, found {row}", self.len());
        }
    }

    /// Returns the samples as ones of more classes.
    pub(crate) fn with_classes(self, classes: usize) -> Self {
        Self { classes, ..self }
    }
}

fn shuffled_rows(count: usize, seed: u64) -> Vec<usize> {
    let mut rows: Vec<usize> = (0..count).collect();
    rows.shuffle(&mut Generator::new(seed));
    rows
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
