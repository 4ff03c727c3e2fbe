//! `.npy` files as arrays, checked before they take memory.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use ndarray::ArrayD;
use ndarray_npy::npy::header::Header;
use ndarray_npy::{ReadNpyError, ReadNpyExt, ReadableElement};

use super::shortened::shortened;
use crate::error::{Error, Result};

/// A type of the numbers of a file.
#[derive(Clone, Copy)]
pub(super) struct NumberType {
    name: &'static str,
    bytes: usize,
    /// Returns whether a header describes numbers of this type.
    is_described: fn(&Header) -> bool,
    decode: fn(&[u8]) -> std::result::Result<ArrayD<f64>, ReadNpyError>,
}

impl fmt::Debug for NumberType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl NumberType {
    /// Returns the size of a number in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Reads an array from the bytes of an `.npy` file that was made from rows of a checked one.
    pub(super) fn decode(&self, path: &Path, file: &[u8]) -> Result<ArrayD<f64>> {
        (self.decode)(file).map_err(|error| Error::content(path, "an .npy file", shortened(&error.to_string())))
    }

    const fn new<N: ReadableElement>(
        name: &'static str,
        decode: fn(&[u8]) -> std::result::Result<ArrayD<f64>, ReadNpyError>,
    ) -> Self {
        // An array without elements reads nothing but the description.
        let is_described = |header: &Header| N::read_to_end_exact_vec(io::empty(), &header.type_descriptor, 0).is_ok();
        Self { name, bytes: size_of::<N>(), is_described, decode }
    }
}

const U8: NumberType = NumberType::new::<u8>("u8", |file| decode(file, |x: u8| x.into()));
const F32: NumberType = NumberType::new::<f32>("f32", |file| decode(file, |x: f32| x.into()));
const F64: NumberType = NumberType::new::<f64>("f64", |file| decode(file, |x: f64| x));
const I32: NumberType = NumberType::new::<i32>("i32", |file| decode(file, |x: i32| x.into()));
// Labels beyond 2^53 are refused anyway.
const I64: NumberType = NumberType::new::<i64>("i64", |file| decode(file, |x: i64| x as f64));

/// Number types of images.
pub(super) const PIXELS: &[NumberType] = &[U8, F32, F64];
/// Number types of labels.
pub(super) const LABELS: &[NumberType] = &[U8, F32, F64, I32, I64];

fn decode<N: ReadableElement + Copy>(
    file: &[u8],
    convert: fn(N) -> f64,
) -> std::result::Result<ArrayD<f64>, ReadNpyError> {
    Ok(ArrayD::<N>::read_npy(file)?.mapv(convert))
}

/// Reads an array of one of the accepted number types.
pub(super) fn read_array(path: &Path, accepted: &[NumberType]) -> Result<ArrayD<f64>> {
    if path.is_dir() {
        return Err(Error::content(path, "an .npy file", "a directory"));
    }
    let file = fs::read(path).map_err(|source| Error::Read { path: path.into(), source })?;
    decode_array(path, &file, accepted)
}

/// Reads an array from the bytes of an `.npy` file.
pub(super) fn decode_array(path: &Path, file: &[u8], accepted: &[NumberType]) -> Result<ArrayD<f64>> {
    check_header(path, file, file.len() as u64, accepted)?.decode(path, file)
}

/// Returns the number type of a file, and checks that its header fits its size. Of the file no more than the header is
/// needed.
pub(super) fn check_header(path: &Path, beginning: &[u8], size: u64, accepted: &[NumberType]) -> Result<NumberType> {
    Ok(inspect(path, beginning, size, accepted)?.number_type)
}

/// What the header of a file says, and where its data begin.
pub(super) struct Described {
    pub(super) number_type: NumberType,
    pub(super) header: Header,
    pub(super) before: usize,
}

/// Does the same as [`check_header`], and returns all that the header says.
pub(super) fn inspect(path: &Path, beginning: &[u8], size: u64, accepted: &[NumberType]) -> Result<Described> {
    let (header, before) = parse_header(beginning).map_err(|found| Error::content(path, "an .npy file", found))?;
    let Some(&number_type) = accepted.iter().find(|number_type| (number_type.is_described)(&header)) else {
        let names: Vec<&str> = accepted.iter().map(|number_type| number_type.name).collect();
        let found = format!("type {}", shortened(&header.type_descriptor.to_string()));
        return Err(Error::content(path, format!("numbers of type {}", names.join(", ")), found));
    };
    let data = data_bytes(&header.shape, number_type.bytes).map(|bytes| bytes as u64 + before as u64);
    match data {
        Some(promised) if promised == size => Ok(Described { number_type, header, before }),
        Some(promised) if promised < size => {
            Err(Error::content(path, "an .npy file", format!("{} bytes after its data", size - promised)))
        }
        _ => {
            let lengths: Vec<String> = header.shape.iter().map(usize::to_string).collect();
            let expected = format!("the data of an array of shape ({})", shortened(&lengths.join(", ")));
            Err(Error::content(path, expected, format!("{size} bytes")))
        }
    }
}

/// Returns the size of the data of an array; `None` if no process could hold them.
///
/// An empty array has strides too, so its other axes have to fit.
fn data_bytes(shape: &[usize], element: usize) -> Option<usize> {
    let spanned = shape.iter().filter(|&&length| length > 0).try_fold(element, |n, &length| n.checked_mul(length))?;
    isize::try_from(spanned).ok()?;
    Some(if shape.contains(&0) { 0 } else { spanned })
}

/// No longer headers are read; NumPy has the same limit.
pub(super) const LONGEST_HEADER: usize = 10_000;

/// Returns the header and the number of bytes before the data, or a message about what was found instead.
///
/// `Header::from_reader` allocates the length that a file states, up to 4 GB. The time of its parser of Python literals
/// is exponential in the depth of brackets: ten braces within each other take seconds. So both are limited before it is
/// called. The header of an array of numbers has one dictionary, with one tuple in it.
fn parse_header(file: &[u8]) -> std::result::Result<(Header, usize), String> {
    let Some(rest) = file.strip_prefix(b"\x93NUMPY") else {
        let found = if file.is_empty() { "an empty file" } else { "a file that does not begin like one" };
        return Err(found.into());
    };
    let (length, rest) = match *rest {
        [1, 0, a, b, ref rest @ ..] => (usize::from(u16::from_le_bytes([a, b])), rest),
        [2 | 3, 0, a, b, c, d, ref rest @ ..] => (u32::from_le_bytes([a, b, c, d]) as usize, rest),
        [major, minor, ..] if !matches!((major, minor), (1..=3, 0)) => {
            return Err(format!("version {major}.{minor} of the format"));
        }
        _ => return Err("a header that is cut off".into()),
    };
    if length > LONGEST_HEADER {
        return Err(format!("a header of {length} bytes, more than {LONGEST_HEADER}"));
    }
    let header = rest.get(..length).ok_or("a header that is cut off")?;
    let count = |bracket: u8| header.iter().filter(|&&byte| byte == bracket).count();
    let mut reader = file;
    match (count(b'{'), count(b'('), count(b'[')) {
        (1, 0..=1, 0) => Header::from_reader(&mut reader).ok(),
        _ => None,
    }
    .map(|header| (header, file.len() - reader.len()))
    .ok_or_else(|| format!("the header {}", shortened(String::from_utf8_lossy(header).trim())))
}
