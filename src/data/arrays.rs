//! Arrays from files as samples, with everything about them checked.

use std::path::Path;

use ndarray::{Array2, ArrayD, Ix2};

use super::samples::Samples;
use super::shortened::shortened;
use crate::error::{Error, Result};
use crate::number::Classify;
use crate::scalar::Scalar;

/// Checks arrays of images and labels, each of which came from a file.
pub(super) fn to_samples<T: Scalar>(
    images: &Path,
    pixels: ArrayD<f64>,
    labels: &Path,
    numbers: ArrayD<f64>,
) -> Result<Samples<T>> {
    let pixels = to_images::<T>(images, pixels, 0)?;
    let (numbers, classes) = to_labels(labels, numbers, 0)?;
    if numbers.len() != pixels.nrows() {
        let name = images.file_name().unwrap_or(images.as_os_str()).to_string_lossy();
        let expected = format!("{} labels, one for each image of {name}", pixels.nrows());
        return Err(Error::content(labels, expected, format!("{} labels", numbers.len())));
    }
    check_one_hot(labels, numbers.len(), classes)?;
    Samples::new(pixels, numbers, classes)
}

/// Checks an array of images. The first one is row `first` of the file.
pub(super) fn to_images<T: Scalar>(path: &Path, array: ArrayD<f64>, first: usize) -> Result<Array2<T>> {
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
        let found = format!("{value:?} in row {}, column {column}", first + row);
        return Err(Error::content(path, format!("finite numbers{dtype}"), found));
    }
    Ok(converted)
}

/// Returns the class of each sample and the number of classes. The first label is row `first` of the file.
pub(super) fn to_labels(path: &Path, array: ArrayD<f64>, first: usize) -> Result<(Vec<usize>, usize)> {
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
        let labels = values.chunks(columns).enumerate().map(|(row, values)| one_hot_class(path, first + row, values));
        return Ok((labels.collect::<Result<_>>()?, columns));
    }
    let labels: Vec<usize> =
        values.iter().enumerate().map(|(row, &value)| whole_number(path, first + row, value)).collect::<Result<_>>()?;
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
