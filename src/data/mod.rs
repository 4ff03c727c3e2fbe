//! Labelled samples: from `.npy` files, in batches, and how well they are told apart.

mod batches;
mod metrics;
mod npy;
mod npy_header;
#[cfg(feature = "npz")]
mod npz;
mod samples;
mod usps;

use std::path::Path;

pub use batches::Batches;
pub use metrics::{ConfusionMatrix, accuracy, predictions};
#[cfg(feature = "npz")]
pub use npz::{Npz, save_npz};
pub use samples::{Samples, one_hot};
pub use usps::load_usps;

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
    /// Returns the samples to train on.
    #[must_use]
    pub fn train(&self) -> &Samples<T> {
        &self.train
    }

    /// Returns the samples to test with.
    #[must_use]
    pub fn test(&self) -> &Samples<T> {
        &self.test
    }

    /// Returns both with all pixels multiplied by `factor`, see [`Samples::scaled`].
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        Self { train: self.train.scaled(factor), test: self.test.scaled(factor) }
    }
}

/// Reads `x.npy` and `y.npy` (training) and `xt.npy` and `yt.npy` (test) from a directory.
///
/// Images are arrays of shape `(samples, pixels)` of `u8`, `f32` or `f64`; their values are kept as they are, see
/// [`Samples::scaled`]. Labels are one-hot, `(samples, classes)`, or whole numbers, `(samples,)` or `(samples, 1)`, of
/// `u8`, `f32`, `f64`, `i32` or `i64`. Byte order and row or column order are as the files say.
///
/// # Errors
///
/// Names the file, what was expected and what was found: if the directory or a file is missing, cut off, not `.npy` or a
/// directory; if number type or shape are others; if an image has a NaN or an infinity; if labels are not
/// one-hot or not whole numbers; if counts differ, or the test set has another width or a class that the training
/// set has not; if a set is empty.
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
pub fn load_data<T: Scalar>(directory: impl AsRef<Path>) -> Result<Dataset<T>> {
    let directory = directory.as_ref();
    if !directory.is_dir() {
        let found = if directory.exists() { "a file" } else { "nothing there" };
        return Err(Error::content(directory, "a directory with x.npy, y.npy, xt.npy and yt.npy", found));
    }
    let read = |images: &str, labels: &str| npy::read_samples(&directory.join(images), &directory.join(labels));
    let (train, test): (Samples<T>, Samples<T>) = (read("x.npy", "y.npy")?, read("xt.npy", "yt.npy")?);
    check_pair((train, "x.npy", "y.npy"), (test, &directory.join("xt.npy"), &directory.join("yt.npy")))
}

/// Checks that test samples are of the kind of the training samples. Messages name the files of images and labels.
fn check_pair<T: Scalar>(
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
    npy::check_one_hot(labels, test.len(), train.classes())?;
    // A class may be missing among the test samples: it is a class all the same.
    let test = test.with_classes(train.classes());
    Ok(Dataset { train, test })
}

/// Returns the beginning of what was found, for a message of one line.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_string(),
    }
}
