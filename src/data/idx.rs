//! IDX files, the format of MNIST, also compressed by gzip.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use ndarray::{ArrayD, IxDyn};

use super::arrays;
use super::dataset::{Dataset, check_pair};
use super::samples::Samples;
use super::shortened::shortened;
use crate::error::{Error, Result};
use crate::scalar::Scalar;

/// Reads images and labels from two IDX files, each compressed by gzip or not: the format of MNIST.
///
/// An IDX file begins with two zeros, a byte for the number type, a byte for the number of axes, and a length of four
/// bytes for each axis; the numbers follow, all in the order of networks (big-endian). The first axis of the images is
/// that of the samples, and the others make one image. Labels are whole numbers, one for each image.
///
/// This function needs the feature `idx`.
///
/// # Errors
///
/// If a file is missing, cut off, damaged or of another format; and as `load_data` for images and labels that do not fit
/// each other. Memory is taken for what a file holds, never for what its header promises.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::data::load_idx;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let directory = tempfile::tempdir()?;
/// let (images, labels) = (directory.path().join("images"), directory.path().join("labels"));
/// std::fs::write(&images, [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 10, 20, 30, 40])?; // 2 images of 1 × 2 bytes
/// std::fs::write(&labels, [0, 0, 8, 1, 0, 0, 0, 2, 1, 0])?;
/// let samples = load_idx::<f64>(&images, &labels)?;
/// assert_eq!(samples.images(), array![[10.0, 20.0], [30.0, 40.0]]);
/// assert_eq!(samples.labels(), [1, 0]);
/// # Ok(())
/// # }
/// ```
#[doc(alias("MNIST", "ubyte"))]
pub fn load_idx<T: Scalar>(images: impl AsRef<Path>, labels: impl AsRef<Path>) -> Result<Samples<T>> {
    let (images, labels) = (images.as_ref(), labels.as_ref());
    let pixels = read_idx(images)?;
    let rows = pixels.shape().first().copied().unwrap_or(0);
    let width: usize = pixels.shape().iter().skip(1).product();
    // Axes of an image become one; a vector or a single number is refused as such.
    let pixels = match pixels.ndim() {
        0..=2 => pixels,
        _ => pixels.into_shape_with_order(IxDyn(&[rows, width])).expect("the same number of elements"),
    };
    arrays::to_samples(images, pixels, labels, read_idx(labels)?)
}

/// Reads MNIST, or another data set in its files, from a directory: `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`,
/// `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte`, each also with the extension `.gz`.
///
/// Pixels are from 0 to 255, as they are in the files: see [`Dataset::scaled`].
///
/// This function needs the feature `idx`.
///
/// # Errors
///
/// As [`load_idx`], and if the test images have another width than the training images, or a class that those lack.
///
/// # Example
///
/// See [`load_idx`].
pub fn load_mnist<T: Scalar>(directory: impl AsRef<Path>) -> Result<Dataset<T>> {
    let directory = directory.as_ref();
    let file = |name: &str| -> PathBuf {
        let (plain, compressed) = (directory.join(name), directory.join(format!("{name}.gz")));
        if !plain.exists() && compressed.exists() { compressed } else { plain }
    };
    let both = |set: &str| {
        let (images, labels) = (file(&format!("{set}-images-idx3-ubyte")), file(&format!("{set}-labels-idx1-ubyte")));
        Ok::<_, Error>((load_idx(&images, &labels)?, images, labels))
    };
    let ((train, ..), (test, images, labels)) = (both("train")?, both("t10k")?);
    check_pair((train, "the training images", "the training labels"), (test, &images, &labels))
}

/// Reads the array of a file.
fn read_idx(path: &Path) -> Result<ArrayD<f64>> {
    if path.is_dir() {
        return Err(Error::content(path, "an IDX file", "a directory"));
    }
    let bytes = fs::read(path).map_err(|source| Error::Read { path: path.into(), source })?;
    // The beginning of every gzip file; an IDX file begins with zeros.
    match bytes.starts_with(&[0x1f, 0x8b]) {
        true => decode(path, MultiGzDecoder::new(&*bytes)),
        false => decode(path, &*bytes),
    }
}

/// Decodes an array. No more is read than the header promises, and a byte; memory grows with what is there.
fn decode(path: &Path, mut file: impl Read) -> Result<ArrayD<f64>> {
    let refuse = |found: String| Error::content(path, "an IDX file", found);
    let mut read = |count: u64, what: &str| {
        let mut bytes = Vec::new();
        match file.by_ref().take(count).read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(error) => Err(refuse(format!("damaged {what} ({})", shortened(&error.to_string())))),
        }
    };
    let (number_type, axes) = match read(4, "data")?[..] {
        [0, 0, number_type, axes] => (number_type, axes),
        [] => return Err(refuse("an empty file".into())),
        _ => return Err(refuse("a file that does not begin like one".into())),
    };
    let lengths = read(4 * u64::from(axes), "lengths")?;
    if lengths.len() != 4 * usize::from(axes) {
        return Err(refuse("a header that is cut off".into()));
    }
    let shape: Vec<usize> = lengths.as_chunks().0.iter().map(|&length| u32::from_be_bytes(length) as usize).collect();
    let Some((bytes, decode)) = decoder(number_type) else {
        return Err(refuse(format!("numbers of type 0x{number_type:02x}")));
    };
    // The lengths other than 0 have to fit, also if there is a 0 among them.
    let spanned = shape.iter().filter(|&&length| length > 0).try_fold(bytes, |size, &length| size.checked_mul(length));
    let size = match spanned.map(isize::try_from) {
        Some(Ok(_)) => bytes * shape.iter().product::<usize>(),
        _ => return Err(refuse(format!("the shape {shape:?}"))),
    };
    let data = read(size as u64 + 1, "data")?;
    if data.len() != size {
        let expected = format!("the {size} bytes of an array of shape {shape:?}");
        let found = if data.len() > size { "more".into() } else { format!("{} bytes", data.len()) };
        return Err(Error::content(path, expected, found));
    }
    Ok(ArrayD::from_shape_vec(IxDyn(&shape), decode(&data)).expect("as many numbers as the shape has"))
}

type Decode = fn(&[u8]) -> Vec<f64>;

/// Returns the size of a number and the decoder of a number type.
fn decoder(number_type: u8) -> Option<(usize, Decode)> {
    fn each<const SIZE: usize>(data: &[u8], number: impl Fn([u8; SIZE]) -> f64) -> Vec<f64> {
        data.as_chunks().0.iter().map(|&bytes| number(bytes)).collect()
    }
    let decoder: (usize, Decode) = match number_type {
        0x08 => (1, |data| each(data, |bytes| u8::from_be_bytes(bytes).into())),
        0x09 => (1, |data| each(data, |bytes| i8::from_be_bytes(bytes).into())),
        0x0b => (2, |data| each(data, |bytes| i16::from_be_bytes(bytes).into())),
        0x0c => (4, |data| each(data, |bytes| i32::from_be_bytes(bytes).into())),
        0x0d => (4, |data| each(data, |bytes| f32::from_be_bytes(bytes).into())),
        0x0e => (8, |data| each(data, f64::from_be_bytes)),
        _ => return None,
    };
    Some(decoder)
}
