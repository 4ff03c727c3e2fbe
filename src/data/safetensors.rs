//! `.safetensors` files: several arrays by name, as Python's `safetensors` reads and writes them.

use std::borrow::Cow;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use ndarray::{ArrayD, ArrayViewD, IxDyn};
use safetensors::{Dtype, SafeTensors as Parsed, View};

use super::numbers::{Numbers, in_type};
use super::replace::replace;
use super::shortened::shortened;
use crate::error::{Error, Result};
use crate::scalar::Scalar;

/// A `.safetensors` file: arrays by name.
///
/// This type needs the feature `safetensors`.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::data::{SafeTensors, save_safetensors};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let directory = tempfile::tempdir()?;
/// let path = directory.path().join("parameters.safetensors");
/// let (w, b) = (array![[1.0, 2.0]].into_dyn(), array![3.0].into_dyn());
/// save_safetensors(&path, &[("0.weight", w.view()), ("0.bias", b.view())])?;
///
/// let file = SafeTensors::open(&path)?;
/// assert_eq!(file.names(), ["0.bias", "0.weight"]);
/// assert_eq!(file.array::<f64>("0.weight")?, w);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct SafeTensors {
    path: PathBuf,
    /// Sorted by name.
    arrays: Vec<(String, Found)>,
}

/// An array of the file.
#[derive(Clone, Debug)]
struct Found {
    dtype: Dtype,
    shape: Vec<usize>,
    data: Vec<u8>,
}

impl SafeTensors {
    /// Opens a file.
    ///
    /// # Errors
    ///
    /// If there is no such file, or it is not `.safetensors`: cut off, damaged, or of another kind. Memory is taken for
    /// what the file holds, never for what its header promises.
    ///
    /// # Example
    ///
    /// See [`SafeTensors`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        if path.is_dir() {
            return Err(Error::content(path, "a .safetensors file", "a directory"));
        }
        let bytes = fs::read(path).map_err(|source| Error::Read { path: path.into(), source })?;
        let refuse = |why: &str| {
            let found = format!("{} bytes of something else ({})", bytes.len(), shortened(why));
            Error::content(path, "a .safetensors file", found)
        };
        check_offsets(&bytes).map_err(|why| refuse(&why))?;
        let parsed = Parsed::deserialize(&bytes).map_err(|error| refuse(&error.to_string()))?;
        let found = |view: safetensors::tensor::TensorView<'_>| Found {
            dtype: view.dtype(),
            shape: view.shape().to_vec(),
            data: view.data().to_vec(),
        };
        let mut arrays: Vec<_> = parsed.tensors().into_iter().map(|(name, view)| (name, found(view))).collect();
        arrays.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(Self { path: path.into(), arrays })
    }

    /// Returns the names of the arrays, sorted.
    ///
    /// # Example
    ///
    /// See [`SafeTensors`].
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.arrays.iter().map(|(name, _)| name.clone()).collect()
    }

    /// Returns the array of this name, of any shape, from `U8`, `F32`, `F64`, `I32` or `I64`.
    ///
    /// A number that `T` cannot hold is rounded to the nearest one.
    ///
    /// # Errors
    ///
    /// If the file has no array of this name; if its numbers have another type; if a finite number is too large for an
    /// `f32`.
    ///
    /// # Example
    ///
    /// See [`SafeTensors`].
    pub fn array<T: Scalar>(&self, name: &str) -> Result<ArrayD<T>> {
        in_type(&self.place(name), self.read_f64(name)?)
    }

    fn place(&self, name: &str) -> PathBuf {
        format!("{}, array {name}", self.path.display()).into()
    }

    /// Returns the array of this name, in `f64`.
    pub(crate) fn read_f64(&self, name: &str) -> Result<ArrayD<f64>> {
        let Some((_, Found { dtype, shape, data })) = self.arrays.iter().find(|(known, _)| known == name) else {
            let names = self.names().join(", ");
            let found = if names.is_empty() { "no array".into() } else { format!("the arrays {}", shortened(&names)) };
            return Err(Error::content(&self.path, format!("an array {name}"), found));
        };
        let numbers = match dtype {
            Dtype::U8 => data.iter().map(|&x| x.into()).collect(),
            Dtype::F32 => numbers(data, |bytes| f32::from_le_bytes(bytes).into()),
            Dtype::F64 => numbers(data, f64::from_le_bytes),
            Dtype::I32 => numbers(data, |bytes| i32::from_le_bytes(bytes).into()),
            Dtype::I64 => numbers(data, |bytes| i64::from_le_bytes(bytes) as f64),
            other => {
                let expected = "numbers of type U8, F32, F64, I32, I64";
                return Err(Error::content(&self.place(name), expected, format!("type {other:?}")));
            }
        };
        let array = ArrayD::from_shape_vec(IxDyn(shape), numbers);
        array.map_err(|_| Error::content(&self.place(name), "a shape that memory can hold", format!("{shape:?}")))
    }
}

fn numbers<const BYTES: usize>(data: &[u8], number: impl Fn([u8; BYTES]) -> f64) -> Vec<f64> {
    data.as_chunks::<BYTES>().0.iter().map(|&bytes| number(bytes)).collect()
}

/// Checks that no array of the header ends behind the file. The crate adds to the last end before it compares it with the
/// length of the file, and a sum beyond the largest number would panic.
fn check_offsets(bytes: &[u8]) -> std::result::Result<(), String> {
    let (length, rest) = bytes.split_first_chunk().ok_or("a header that is cut off")?;
    let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
    let header = rest.get(..length).ok_or("a header that is cut off")?;
    let header: serde_json::Value = serde_json::from_slice(header).map_err(|error| error.to_string())?;
    let arrays = header.as_object().ok_or("a header that is no object")?;
    for (name, array) in arrays.iter().filter(|(name, _)| *name != METADATA) {
        let end = array.get("data_offsets").and_then(|offsets| offsets.get(1)).and_then(serde_json::Value::as_u64);
        if end.is_none_or(|end| end > (rest.len() - length) as u64) {
            return Err(format!("array {name} ends behind the file"));
        }
    }
    Ok(())
}

/// The entry of a header that is no array.
const METADATA: &str = "__metadata__";

/// Writes arrays to a `.safetensors` file.
///
/// The file is written beside the old one, synced and renamed, as by [`save_npz`](super::save_npz): it is replaced as a
/// whole or not at all.
///
/// This function needs the feature `safetensors`.
///
/// # Errors
///
/// If two arrays have one name, or the system refuses to write.
///
/// # Example
///
/// See [`SafeTensors`].
pub fn save_safetensors<T: Scalar>(path: impl AsRef<Path>, arrays: &[(&str, ArrayViewD<'_, T>)]) -> Result<()> {
    let arrays: Vec<_> = arrays.iter().map(|(name, array)| (name.to_string(), Numbers::new(array))).collect();
    save_tensors(path.as_ref(), &arrays)
}

/// Writes arrays of several number types.
pub(crate) fn save_tensors(path: &Path, arrays: &[(String, Numbers)]) -> Result<()> {
    super::numbers::check_names(path, arrays.iter().map(|(name, _)| &**name))?;
    if arrays.iter().any(|(name, _)| name == METADATA) {
        return Err(Error::content(path, "names of arrays other than that of the header's own entry", METADATA));
    }
    let views = arrays.iter().map(|(name, numbers)| (name, Tensor::new(numbers)));
    let bytes = safetensors::serialize(views, None)
        .map_err(|error| Error::content(path, "arrays that .safetensors can hold", error.to_string()))?;
    replace(path, |mut file| file.write_all(&bytes)).map_err(|source| Error::Write { path: path.into(), source })
}

/// An array in the form in which the crate takes it: the bytes of its elements in row-major order, little-endian.
struct Tensor<'a> {
    dtype: Dtype,
    shape: &'a [usize],
    data: Vec<u8>,
}

impl<'a> Tensor<'a> {
    fn new(numbers: &'a Numbers) -> Self {
        let (dtype, shape, data) = match numbers {
            Numbers::F32(array) => (Dtype::F32, array.shape(), array.iter().flat_map(|x| x.to_le_bytes()).collect()),
            Numbers::F64(array) => (Dtype::F64, array.shape(), array.iter().flat_map(|x| x.to_le_bytes()).collect()),
            Numbers::I64(array) => (Dtype::I64, array.shape(), array.iter().flat_map(|x| x.to_le_bytes()).collect()),
        };
        Self { dtype, shape, data }
    }
}

impl View for Tensor<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.data)
    }

    fn data_len(&self) -> usize {
        self.data.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(header: &str, data: &[u8]) -> Result<SafeTensors> {
        let directory = tempfile::tempdir().expect("a directory is made");
        let path = directory.path().join("a.safetensors");
        let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat();
        fs::write(&path, bytes).expect("the file is written");
        SafeTensors::open(&path)
    }

    #[test]
    fn headers_that_promise_too_much_are_refused() {
        let eighth = (1_u64 << 61) - 1;
        let arrays: Vec<String> = (0..8)
            .map(|k| {
                let (start, end) = (eighth * k, eighth * (k + 1));
                format!("\"{k}\":{{\"dtype\":\"U8\",\"shape\":[{eighth}],\"data_offsets\":[{start},{end}]}}")
            })
            .collect();
        let error = open(&format!("{{{}}}", arrays.join(",")), &[0; 8]).expect_err("too much").to_string();
        assert!(error.ends_with("bytes of something else (array 0 ends behind the file)"), "{error}");
        let empty = "{\"a\":{\"dtype\":\"U8\",\"shape\":[0,18446744073709551615],\"data_offsets\":[0,0]}}";
        let error = open(empty, &[]).and_then(|file| file.read_f64("a")).expect_err("too long").to_string();
        assert!(error.contains("array a: expected a shape that memory can hold, found [0, 184467"), "{error}");
        let half = "{\"a\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[0,2]}}";
        let error = open(half, &[0; 2]).and_then(|file| file.read_f64("a")).expect_err("another type").to_string();
        assert!(error.ends_with("expected numbers of type U8, F32, F64, I32, I64, found type F16"), "{error}");
    }
}
