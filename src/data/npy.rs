//! `.npy` files as samples, with everything about them checked.

use std::fs;
use std::path::Path;

use ndarray::{Array2, ArrayD, Ix2};
use ndarray_npy::{ReadNpyError, ReadNpyExt, ReadableElement};

use super::npy_header::Header;
use super::samples::Samples;
use super::shortened;
use crate::error::{Error, Result};
use crate::number::Classify;
use crate::scalar::Scalar;

/// Reads images and their labels.
pub(super) fn read_samples<T: Scalar>(images: &Path, labels: &Path) -> Result<Samples<T>> {
    let (pixels, numbers) = (read_array(images, PIXELS)?, read_array(labels, LABELS)?);
    to_samples(images, pixels, labels, numbers)
}

/// Number types of images.
pub(super) const PIXELS: &[&str] = &["u8", "f32", "f64"];
/// Number types of labels.
pub(super) const LABELS: &[&str] = &["u8", "f32", "f64", "i32", "i64"];

/// Checks arrays of images and labels, each of which came from a file.
pub(super) fn to_samples<T: Scalar>(
    images: &Path,
    pixels: ArrayD<f64>,
    labels: &Path,
    numbers: ArrayD<f64>,
) -> Result<Samples<T>> {
    let pixels = to_images::<T>(images, pixels)?;
    let (numbers, classes) = to_labels(labels, numbers)?;
    if numbers.len() != pixels.nrows() {
        let name = images.file_name().unwrap_or(images.as_os_str()).to_string_lossy();
        let expected = format!("{} labels, one for each image of {name}", pixels.nrows());
        return Err(Error::content(labels, expected, format!("{} labels", numbers.len())));
    }
    check_one_hot(labels, numbers.len(), classes)?;
    Samples::new(pixels, numbers, classes)
}

fn to_images<T: Scalar>(path: &Path, array: ArrayD<f64>) -> Result<Array2<T>> {
    let found = format!("shape {:?}", array.shape());
    let Ok(images) = array.into_dimensionality::<Ix2>() else {
        return Err(Error::content(path, "an array of shape (samples, pixels)", found));
    };
    if images.is_empty() {
        return Err(Error::content(path, "at least one image with at least one pixel", found));
    }
    // After the conversion: a large `f64` becomes an infinite `f32`.
    let converted = images.mapv(T::from_f64);
    if let Some(((row, column), _)) = converted.indexed_iter().find(|(_, value)| !value.is_finite()) {
        let value = images[[row, column]];
        let dtype = if value.is_finite() { format!(" of type {}", T::DTYPE) } else { String::new() };
        let found = format!("{value:?} in row {row}, column {column}");
        return Err(Error::content(path, format!("finite numbers{dtype}"), found));
    }
    Ok(converted)
}

/// Returns the class of each sample and the number of classes.
fn to_labels(path: &Path, array: ArrayD<f64>) -> Result<(Vec<usize>, usize)> {
    let expected = "one-hot labels of shape (samples, classes) or whole numbers of shape (samples,)";
    let (rows, columns) = match *array.shape() {
        [rows] | [rows, 1] => (rows, 1),
        [rows, columns] => (rows, columns),
        _ => return Err(Error::content(path, expected, format!("shape {:?}", array.shape()))),
    };
    if rows == 0 || columns == 0 {
        return Err(Error::content(path, "at least one label", format!("shape {:?}", array.shape())));
    }
    let values: Vec<f64> = array.iter().copied().collect();
    if columns > 1 {
        let labels = values.chunks(columns).enumerate().map(|(row, values)| one_hot_class(path, row, values));
        return Ok((labels.collect::<Result<_>>()?, columns));
    }
    let labels: Vec<usize> =
        values.iter().enumerate().map(|(row, &value)| whole_number(path, row, value)).collect::<Result<_>>()?;
    let classes = labels.iter().max().map_or(0, |&largest| largest + 1);
    Ok((labels, classes))
}

fn one_hot_class(path: &Path, row: usize, values: &[f64]) -> Result<usize> {
    let ones = values.iter().filter(|&&value| value == 1.0).count();
    let zeros = values.iter().filter(|&&value| value == 0.0).count();
    match values.iter().position(|&value| value == 1.0) {
        Some(class) if ones == 1 && zeros == values.len() - 1 => Ok(class),
        _ => Err(Error::content(
            path,
            "one-hot rows, a single 1 among 0",
            format!("{} in row {row}", shortened(&format!("{values:?}"))),
        )),
    }
}

/// More classes than this are a mistake, and would ask for memory that nobody has.
pub(super) const MAX_CLASSES: usize = 1_000_000;
/// One-hot labels of more numbers than this, likewise.
const MAX_ONE_HOT: usize = 1_000_000_000;

/// Checks that the one-hot labels of so many samples can be held.
pub(super) fn check_one_hot(path: &Path, samples: usize, classes: usize) -> Result<()> {
    if samples.checked_mul(classes).is_some_and(|numbers| numbers <= MAX_ONE_HOT) {
        return Ok(());
    }
    let expected = "labels that are at most 1,000,000,000 numbers in one-hot form";
    Err(Error::content(path, expected, format!("{samples} of {classes} classes")))
}

fn whole_number(path: &Path, row: usize, value: f64) -> Result<usize> {
    if value >= 0.0 && value.fract() == 0.0 && value < MAX_CLASSES as f64 {
        Ok(value as usize)
    } else {
        Err(Error::content(
            path,
            "labels that are whole numbers from 0 to 999,999",
            format!("{} in row {row}", shortened(&value.to_string())),
        ))
    }
}

/// Reads an array of one of the accepted number types.
fn read_array(path: &Path, accepted: &[&str]) -> Result<ArrayD<f64>> {
    if path.is_dir() {
        return Err(Error::content(path, "an .npy file", "a directory"));
    }
    let bytes = fs::read(path).map_err(|source| Error::Read { path: path.into(), source })?;
    decode_array(path, &bytes, accepted)
}

/// Reads an array from the bytes of an `.npy` file.
pub(super) fn decode_array(path: &Path, bytes: &[u8], accepted: &[&str]) -> Result<ArrayD<f64>> {
    let header = Header::read(bytes).map_err(|found| Error::content(path, "an .npy file", found))?;
    if !header.fits() {
        let expected = format!("the data of an array of shape ({})", shortened(header.shape));
        return Err(Error::content(path, expected, format!("{} bytes", bytes.len())));
    }
    for &name in accepted {
        let read = match name {
            "u8" => decode::<u8>(bytes, f64::from),
            "f32" => decode::<f32>(bytes, f64::from),
            "f64" => decode::<f64>(bytes, |x| x),
            "i32" => decode::<i32>(bytes, f64::from),
            // Labels beyond 2^53 are refused anyway.
            _ => decode::<i64>(bytes, |x| x as f64),
        };
        match read {
            Ok(array) => return Ok(array),
            Err(ReadNpyError::WrongDescriptor(_)) => {}
            Err(error) => return Err(Error::content(path, "an .npy file", shortened(&error.to_string()))),
        }
    }
    let expected = format!("numbers of type {}", accepted.join(", "));
    Err(Error::content(path, expected, format!("type {}", shortened(header.descriptor))))
}

fn decode<N: ReadableElement + Copy>(
    bytes: &[u8],
    convert: fn(N) -> f64,
) -> std::result::Result<ArrayD<f64>, ReadNpyError> {
    Ok(ArrayD::<N>::read_npy(bytes)?.mapv(convert))
}
