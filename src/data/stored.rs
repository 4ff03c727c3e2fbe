//! [`StoredSamples`]: images and labels that stay in their files, read some rows at a time.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::path::Path;

use ndarray::{Array2, Axis};

use super::arrays::{check_one_hot, to_images, to_labels};
use super::npy::{LABELS, PIXELS};
use super::rows_of_file::RowsOfFile;
use super::samples::Samples;
use crate::error::{Error, Result};
use crate::scalar::Scalar;

/// So many bytes of a file are read at a time.
const BLOCK: usize = 1 << 20;

/// Images and labels that stay in two `.npy` files. Rows are read from their offset, so the files may be larger than the
/// memory.
///
/// This type needs the feature `npy`.
///
/// [`read`](Self::read) takes `&self`, and threads may call it at the same time. So the chunks of a batch can read their
/// own rows: see [`try_accumulate_gradients`](crate::chunks::Chunks::try_accumulate_gradients).
///
/// # Example
///
/// A mean over 2,514 digits. One chunk of them is in memory at a time:
///
/// ```
/// use tapegrad::Param;
/// use tapegrad::chunks::{Chunks, Rows};
/// use tapegrad::data::{load_data, open_data};
///
/// # fn main() -> tapegrad::Result<()> {
/// let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/data/digits178");
/// let (files, w) = (open_data::<f64>(directory)?, Param::new(ndarray::array![1.0]));
/// let digits = files.train();
/// let mean = Chunks::new(256).try_accumulate_gradients(Rows::mean(digits.len()), |tape, rows| {
///     let samples = digits.read(rows)?;
///     Ok::<_, tapegrad::Error>((tape.constant(samples.images()) * tape.param(&w)).mean())
/// })?;
/// let whole = load_data::<f64>(directory)?.train().images().mean().unwrap();
/// assert!((mean - whole).abs() < 1e-12 * whole);
/// # Ok(())
/// # }
/// ```
pub struct StoredSamples<T> {
    images: RowsOfFile,
    labels: RowsOfFile,
    classes: usize,
    scalar: PhantomData<fn() -> T>,
}

impl<T: Scalar> StoredSamples<T> {
    /// Opens a file of images and a file of labels, of the kinds that [`load_data`](super::load_data) reads.
    ///
    /// Of the images, only the header is read. Labels that are whole numbers are read once, a block at a time, because
    /// the largest one says how many classes there are.
    ///
    /// # Errors
    ///
    /// Those of `load_data`, except those about single images: these come from [`read`](Self::read).
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::data::StoredSamples;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let directory = tempfile::tempdir()?;
    /// let (x, y) = (directory.path().join("x.npy"), directory.path().join("y.npy"));
    /// ndarray_npy::write_npy(&x, &array![[1.0], [2.0], [3.0]])?;
    /// ndarray_npy::write_npy(&y, &array![0_u8, 4, 1])?;
    /// let samples = StoredSamples::<f64>::open(&x, &y)?;
    /// assert_eq!((samples.len(), samples.width(), samples.classes()), (3, 1, 5));
    /// # Ok(())
    /// # }
    /// ```
    pub fn open(images: impl AsRef<Path>, labels: impl AsRef<Path>) -> Result<Self> {
        let expected = "an array of shape (samples, pixels)";
        let images = RowsOfFile::open(images.as_ref(), PIXELS, expected)?;
        let expected_labels = "one-hot labels of shape (samples, classes) or whole numbers of shape (samples,)";
        let labels = RowsOfFile::open(labels.as_ref(), LABELS, expected_labels)?;
        let found = |file: &RowsOfFile| format!("shape {:?}", file.shape());
        if images.shape().len() != 2 {
            return Err(Error::content(images.path(), expected, found(&images)));
        }
        if images.shape().contains(&0) {
            return Err(Error::content(images.path(), "at least one image with at least one pixel", found(&images)));
        }
        if labels.shape().contains(&0) {
            return Err(Error::content(labels.path(), "at least one label", found(&labels)));
        }
        if labels.rows() != images.rows() {
            let name = images.path().file_name().unwrap_or(images.path().as_os_str()).to_string_lossy();
            let expected = format!("{} labels, one for each image of {name}", images.rows());
            return Err(Error::content(labels.path(), expected, format!("{} labels", labels.rows())));
        }
        let classes = match labels.row_length() {
            1 => blocks(0..labels.rows(), BLOCK / size_of::<f64>()).try_fold(0, |classes, rows| {
                let (_, found) = to_labels(labels.path(), labels.read(rows.clone())?, rows.start)?;
                Ok(classes.max(found))
            })?,
            columns => columns,
        };
        check_one_hot(labels.path(), 1, classes)?;
        Ok(Self { images, labels, classes, scalar: PhantomData })
    }

    /// Returns the number of samples.
    ///
    /// # Example
    ///
    /// See [`open`](Self::open).
    #[must_use]
    pub fn len(&self) -> usize {
        self.images.rows()
    }

    /// Returns whether there is no sample; never true.
    ///
    /// # Example
    ///
    /// See [`open`](Self::open).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of pixels of an image.
    ///
    /// # Example
    ///
    /// See [`open`](Self::open).
    #[must_use]
    pub fn width(&self) -> usize {
        self.images.row_length()
    }

    /// Returns the number of classes.
    ///
    /// # Example
    ///
    /// See [`open`](Self::open).
    #[must_use]
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Reads the samples of these rows, about a megabyte at a time.
    ///
    /// # Errors
    ///
    /// If the system cannot read the file, an image has a NaN or an infinity, or a label is not one. The message names
    /// the row of the file.
    ///
    /// # Panics
    ///
    /// If the range is empty or ends behind the last row.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::data::{load_data, open_data};
    ///
    /// # fn main() -> tapegrad::Result<()> {
    /// let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/data/digits178");
    /// let rows = open_data::<f32>(directory)?.train().read(1000..1003)?;
    /// assert_eq!(rows, load_data::<f32>(directory)?.train().select(&[1000, 1001, 1002]));
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn read(&self, rows: Range<usize>) -> Result<Samples<T>> {
        assert!(
            rows.start < rows.end && rows.end <= self.len(),
            "read: expected a range of at least one row, among {}, found {rows:?}",
            self.len()
        );
        let mut images = Array2::zeros((rows.len(), self.width()));
        let mut labels = Vec::with_capacity(rows.len());
        // Of one row, the file has so many bytes at most.
        let bytes = size_of::<f64>() * self.width().max(self.labels.row_length());
        for block in blocks(rows.clone(), BLOCK / bytes) {
            let pixels = to_images(self.images.path(), self.images.read(block.clone())?, block.start)?;
            let place = block.start - rows.start..block.end - rows.start;
            images.slice_axis_mut(Axis(0), place.into()).assign(&pixels);
            labels.extend(to_labels(self.labels.path(), self.labels.read(block.clone())?, block.start)?.0);
        }
        Samples::new(images, labels, self.classes)
    }

    /// Returns all samples in the order of the files, a batch at a time. The last batch may be smaller.
    ///
    /// A batch is read when the iterator is asked for it. For batches in another order, take [`read`](Self::read) with
    /// ranges in that order.
    ///
    /// # Panics
    ///
    /// If `size` is 0.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::data::open_data;
    ///
    /// # fn main() -> tapegrad::Result<()> {
    /// let files = open_data::<f32>(concat!(env!("CARGO_MANIFEST_DIR"), "/data/digits178"))?;
    /// let mut sizes = Vec::new();
    /// for batch in files.test().batches(250) {
    ///     sizes.push(batch?.len());
    /// }
    /// assert_eq!(sizes, [250, 250, 127]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "DataLoader")]
    #[track_caller]
    pub fn batches(&self, size: usize) -> impl Iterator<Item = Result<Samples<T>>> {
        assert!(size > 0, "batches: expected a size of at least 1, found 0");
        blocks(0..self.len(), size).map(|rows| self.read(rows))
    }
}

/// Returns a range in pieces of this length, at least 1; the last may be shorter.
fn blocks(rows: Range<usize>, length: usize) -> impl Iterator<Item = Range<usize>> {
    let (length, end) = (length.max(1), rows.end);
    rows.step_by(length).map(move |start| start..end.min(start + length))
}

/// Prints the files and what they hold.
impl<T: Scalar> fmt::Debug for StoredSamples<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rows, width, classes) = (self.len(), self.width(), self.classes);
        write!(f, "{rows} samples of {width} pixels and {classes} classes in {}", self.images.path().display())
    }
}

/// Samples to train on, and others of the same kind to test with, that stay in their files.
///
/// # Example
///
/// See [`open_data`].
#[derive(Debug)]
pub struct StoredData<T: Scalar> {
    train: StoredSamples<T>,
    test: StoredSamples<T>,
}

impl<T: Scalar> StoredData<T> {
    /// Returns the samples to train on.
    ///
    /// # Example
    ///
    /// See [`open_data`].
    #[must_use]
    pub fn train(&self) -> &StoredSamples<T> {
        &self.train
    }

    /// Returns the samples to test with.
    ///
    /// # Example
    ///
    /// See [`open_data`].
    #[must_use]
    pub fn test(&self) -> &StoredSamples<T> {
        &self.test
    }
}

/// Opens the files that [`load_data`](super::load_data) reads, and reads their rows when asked.
///
/// This function needs the feature `npy`.
///
/// # Errors
///
/// Those of [`StoredSamples::open`]; and if the test images have another width than the training images, or a class that
/// those lack.
///
/// # Example
///
/// ```
/// use tapegrad::data::open_data;
///
/// # fn main() -> tapegrad::Result<()> {
/// let files = open_data::<f32>(concat!(env!("CARGO_MANIFEST_DIR"), "/data/digits178"))?;
/// assert_eq!((files.train().len(), files.test().len()), (2514, 627));
/// assert_eq!(files.train().read(0..10)?.images().dim(), (10, 784));
/// # Ok(())
/// # }
/// ```
pub fn open_data<T: Scalar>(directory: impl AsRef<Path>) -> Result<StoredData<T>> {
    let file = |name| directory.as_ref().join(name);
    let train = StoredSamples::open(file("x.npy"), file("y.npy"))?;
    let mut test = StoredSamples::open(file("xt.npy"), file("yt.npy"))?;
    let (width, classes) = (train.width(), train.classes());
    if test.width() != width {
        let expected = format!("images of {width} pixels, as in x.npy");
        return Err(Error::content(&file("xt.npy"), expected, format!("{} pixels", test.width())));
    }
    if test.classes > classes {
        let expected = format!("labels of {classes} classes, as in y.npy");
        return Err(Error::content(&file("yt.npy"), expected, format!("{} classes", test.classes)));
    }
    // A class that no test sample has is a class too.
    test.classes = classes;
    Ok(StoredData { train, test })
}
