//! [`Numbers`]: an array of one of the number types that are written. What all readers and writers of arrays by name share.

use std::path::Path;

use ndarray::{ArrayD, ArrayRef, Dimension, IxDyn};

use super::shortened::shortened;
use crate::error::{Error, Result};
use crate::number::Classify;
use crate::scalar::Scalar;

/// An array to write.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Numbers {
    F32(ArrayD<f32>),
    F64(ArrayD<f64>),
    I64(ArrayD<i64>),
}

impl Numbers {
    /// Returns a copy of an array, in its own number type.
    pub(crate) fn new<T: Scalar>(array: &ArrayRef<T, IxDyn>) -> Self {
        match T::DTYPE {
            "f32" => Self::F32(array.mapv(|x| x.to_f64() as f32)),
            _ => Self::F64(array.mapv(T::to_f64)),
        }
    }
}

/// Returns an array of a file in another number type. Numbers are rounded.
///
/// # Errors
///
/// If a finite number is too large for the type.
pub(crate) fn in_type<T: Scalar>(place: &Path, array: ArrayD<f64>) -> Result<ArrayD<T>> {
    let converted = array.mapv(T::from_f64);
    let lost = array.iter().zip(&converted).position(|(x, y)| x.is_finite() && !y.is_finite());
    if let Some((index, x)) = lost.and_then(|position| array.indexed_iter().nth(position)) {
        let expected = format!("numbers within the range of {}", T::DTYPE);
        return Err(Error::content(place, expected, format!("{x:e} at {:?}", index.slice())));
    }
    Ok(converted)
}

/// Checks that the names of arrays to write differ.
pub(super) fn check_names<'a>(path: &Path, names: impl Iterator<Item = &'a str>) -> Result<()> {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => {
            let found = format!("`{}` twice", shortened(pair[0]));
            Err(Error::content(path, "arrays of different names to write", found))
        }
        None => Ok(()),
    }
}
