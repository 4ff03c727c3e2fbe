//! The two formats: arrays by name.

use std::path::Path;

use ndarray::ArrayD;

use crate::data::Numbers;
#[cfg(feature = "npz")]
use crate::data::{Npz, save_numbers};
#[cfg(feature = "safetensors")]
use crate::data::{SafeTensors, save_tensors};
use crate::error::{Error, Result};

enum Format {
    #[cfg(feature = "npz")]
    Npz,
    #[cfg(feature = "safetensors")]
    SafeTensors,
}

/// Returns the format that the extension says.
fn format_of(path: &Path) -> Result<Format> {
    match path.extension().and_then(|extension| extension.to_str()) {
        #[cfg(feature = "npz")]
        Some("npz") => Ok(Format::Npz),
        #[cfg(feature = "safetensors")]
        Some("safetensors") => Ok(Format::SafeTensors),
        #[cfg(not(feature = "npz"))]
        Some("npz") => Err(missing(path, "npz")),
        #[cfg(not(feature = "safetensors"))]
        Some("safetensors") => Err(missing(path, "safetensors")),
        Some(other) => Err(Error::content(path, EXTENSIONS, format!("`{other}`"))),
        None => Err(Error::content(path, EXTENSIONS, "none")),
    }
}

/// Returns the error of a format that this build has not.
#[cfg(not(all(feature = "npz", feature = "safetensors")))]
fn missing(path: &Path, feature: &str) -> Error {
    Error::content(path, format!("a build with the feature `{feature}`"), "one without")
}

const EXTENSIONS: &str = "a name with the extension `npz` or `safetensors`";

/// Writes arrays.
pub(super) fn write(path: &Path, arrays: &[(String, Numbers)]) -> Result<()> {
    match format_of(path)? {
        #[cfg(feature = "npz")]
        Format::Npz => save_numbers(path, arrays),
        #[cfg(feature = "safetensors")]
        Format::SafeTensors => save_tensors(path, arrays),
    }
}

/// Reads all arrays, each with its name.
pub(super) fn read(path: &Path) -> Result<Vec<(String, ArrayD<f64>)>> {
    match format_of(path)? {
        #[cfg(feature = "npz")]
        Format::Npz => {
            let mut file = Npz::open(path)?;
            let names = file.names();
            names.into_iter().map(|name| Ok((name.clone(), file.read_f64(&name)?))).collect()
        }
        #[cfg(feature = "safetensors")]
        Format::SafeTensors => {
            let file = SafeTensors::open(path)?;
            file.names().into_iter().map(|name| Ok((name.clone(), file.read_f64(&name)?))).collect()
        }
    }
}
