//! [`Dataset`]: samples to train on and to test with, and the reader of a directory of `.npy` files.

use std::path::Path;

use super::arrays;
use super::normalization::Normalization;
#[cfg(feature = "npy")]
use super::npy::{LABELS, PIXELS, read_array};
use super::samples::Samples;
use crate::error::{Error, Result};
use crate::scalar::Scalar;

/// Samples to train on, and others of the same kind to test with.
///
/// # Example
///
/// ```
/// use tapegrad::data::load_data;
///
/// # fn main() -> tapegrad::Result<()> {
/// let data = load_data::<f32>(concat!(env!("CARGO_MANIFEST_DIR"), "/data/digits178"))?;
/// assert_eq!((data.train().len(), data.test().len()), (2514, 627));
/// assert_eq!(data.train().classes(), 3);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset<T> {
    train: Samples<T>,
    test: Samples<T>,
}

impl<T: Scalar> Dataset<T> {
    /// Returns these samples to train on, and those to test with.
    ///
    /// # Errors
    ///
    /// If the test images have another width than the training images, or the test samples have another number of classes.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::data::{Dataset, Samples};
    ///
    /// # fn main() -> tapegrad::Result<()> {
    /// let samples = Samples::new(array![[1.0], [2.0], [3.0], [4.0]], vec![0, 1, 0, 1], 2)?;
    /// let (train, test) = samples.train_test_split(0.25, 0)?;
    /// assert_eq!(Dataset::new(train, test)?.test().len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(train: Samples<T>, test: Samples<T>) -> Result<Self> {
        let kind = |samples: &Samples<T>| (samples.images().ncols(), samples.classes());
        let describe = |(pixels, classes)| format!("images of {pixels} pixels in {classes} classes");
        let (expected, found) = (kind(&train), kind(&test));
        match expected == found {
            true => Ok(Self { train, test }),
            false => Err(Error::value("test samples", describe(expected), describe(found))),
        }
    }

    /// Returns the samples to train on.
    ///
    /// # Example
    ///
    /// See [`Dataset`].
    #[must_use]
    pub fn train(&self) -> &Samples<T> {
        &self.train
    }

    /// Returns the samples to test with.
    ///
    /// # Example
    ///
    /// See [`Dataset`].
    #[must_use]
    pub fn test(&self) -> &Samples<T> {
        &self.test
    }

    /// Returns both with their pixels normalized by the statistics of the training samples alone, and these statistics.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::data::{Dataset, Samples};
    ///
    /// # fn main() -> tapegrad::Result<()> {
    /// let train = Samples::new(array![[1.0], [3.0]], vec![0, 1], 2)?;
    /// let data = Dataset::new(train, Samples::new(array![[7.0]], vec![0], 2)?)?;
    /// let (data, normalization) = data.normalized();
    /// assert_eq!((normalization.mean()[0], normalization.deviation()[0]), (2.0, 1.0));
    /// assert_eq!(data.test().images(), array![[5.0]]);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn normalized(&self) -> (Self, Normalization) {
        let normalization = Normalization::of(&self.train);
        let apply = |samples| normalization.apply(samples).expect("both sets have images of one width");
        (Self { train: apply(&self.train), test: apply(&self.test) }, normalization)
    }

    /// Returns both with all pixels multiplied by `factor`, see [`Samples::scaled`].
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::data::{Dataset, Samples};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let bytes = |value: f64| Samples::new(array![[value]], vec![0], 1);
    /// let data = Dataset::new(bytes(51.0)?, bytes(255.0)?)?.scaled(1.0 / 255.0);
    /// assert_eq!(data.test().images(), array![[1.0]]);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        Self { train: self.train.scaled(factor), test: self.test.scaled(factor) }
    }
}

/// Reads `x.npy` and `y.npy` (training) and `xt.npy` and `yt.npy` (test) from a directory.
///
/// This function needs the feature `npy`.
///
/// Images are arrays of shape `(samples, pixels)` of `u8`, `f32` or `f64`; their values are kept as they are, see
/// [`Samples::scaled`]. Labels are one-hot, `(samples, classes)`, or whole numbers, `(samples,)` or `(samples, 1)`, of
/// `u8`, `f32`, `f64`, `i32` or `i64`. Byte order and row or column order are as the files say.
///
/// # Errors
///
/// The message names the file, what was expected and what was found. It is an error if
///
/// - the directory is missing, or a file is missing, cut off, not `.npy` or a directory;
/// - a number type or a shape is not one of those above, or a set is empty;
/// - an image has a NaN or an infinity, or labels are not one-hot or not whole numbers;
/// - the counts of images and labels differ;
/// - the test images have another width than the training images, or a class that those lack.
///
/// # Example
///
/// ```
/// use tapegrad::data::load_data;
///
/// # fn main() -> tapegrad::Result<()> {
/// let data = load_data::<f64>(concat!(env!("CARGO_MANIFEST_DIR"), "/data/digits178"))?;
/// assert_eq!(data.train().images().dim(), (2514, 784));
/// assert!(data.train().images().iter().all(|pixel| (0.0..=255.0).contains(pixel)));
/// # Ok(())
/// # }
/// ```
#[cfg(feature = "npy")]
#[cfg_attr(docsrs, doc(cfg(feature = "npy")))]
pub fn load_data<T: Scalar>(directory: impl AsRef<Path>) -> Result<Dataset<T>> {
    let directory = directory.as_ref();
    if !directory.is_dir() {
        let found = if directory.exists() { "a file" } else { "nothing there" };
        return Err(Error::content(directory, "a directory with x.npy, y.npy, xt.npy and yt.npy", found));
    }
    let read = |images: &str, labels: &str| {
        let (images, labels) = (directory.join(images), directory.join(labels));
        let (pixels, numbers) = (read_array(&images, PIXELS)?, read_array(&labels, LABELS)?);
        arrays::to_samples(&images, pixels, &labels, numbers)
    };
    let (train, test): (Samples<T>, Samples<T>) = (read("x.npy", "y.npy")?, read("xt.npy", "yt.npy")?);
    check_pair((train, "x.npy", "y.npy"), (test, &directory.join("xt.npy"), &directory.join("yt.npy")))
}

/// Checks that test samples are of the kind of the training samples. Messages name the files of images and labels.
pub(super) fn check_pair<T: Scalar>(
    (train, train_images, train_labels): (Samples<T>, &str, &str),
    (test, images, labels): (Samples<T>, &Path, &Path),
) -> Result<Dataset<T>> {
    let (width, test_width) = (train.images().ncols(), test.images().ncols());
    if test_width != width {
        let expected = format!("images of {width} pixels, as in {train_images}");
        return Err(Error::content(images, expected, format!("{test_width} pixels")));
    }
    if test.classes() > train.classes() {
        let expected = format!("labels of {} classes, as in {train_labels}", train.classes());
        return Err(Error::content(labels, expected, format!("{} classes", test.classes())));
    }
    arrays::check_one_hot(labels, test.len(), train.classes())?;
    // A class that no test sample has is a class too.
    let test = test.with_classes(train.classes());
    Ok(Dataset { train, test })
}
