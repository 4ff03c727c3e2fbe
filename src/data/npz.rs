//! `.npz` files: several arrays by name.

use std::fmt::Display;
use std::fs;
use std::io::{self, BufWriter, Cursor, Read, Write};
use std::path::{Path, PathBuf};

use ndarray::{ArrayD, ArrayViewD};
use ndarray_npy::{WritableElement, WriteNpyError, WriteNpyExt};
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

use super::npy::{LABELS, LONGEST_HEADER, NumberType, check_header, decode_array};
use super::numbers::{Numbers, check_names, in_type};
use super::replace::replace;
use super::shortened::shortened;
use crate::error::{Error, Result};
use crate::scalar::Scalar;

/// An `.npz` file, compressed or not, as NumPy writes it: arrays by name.
///
/// This type needs the feature `npz`.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::data::{Npz, save_npz};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let directory = tempfile::tempdir()?;
/// let path = directory.path().join("parameters.npz");
/// let (w, b) = (array![[1.0, 2.0]].into_dyn(), array![3.0].into_dyn());
/// save_npz(&path, &[("W", w.view()), ("b", b.view())])?;
///
/// let mut file = Npz::open(&path)?;
/// assert_eq!(file.names(), ["W", "b"]);
/// assert_eq!(file.array::<f64>("W")?, w);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Npz {
    path: PathBuf,
    archive: ZipArchive<Cursor<Vec<u8>>>,
}

impl Npz {
    /// Opens a file.
    ///
    /// # Errors
    ///
    /// If there is no such file, or it is not `.npz`.
    ///
    /// # Example
    ///
    /// See [`Npz`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        if path.is_dir() {
            return Err(Error::content(path, "an .npz file", "a directory"));
        }
        let bytes = fs::read(path).map_err(|source| Error::Read { path: path.into(), source })?;
        let found = match bytes.len() {
            0 => "an empty file".to_string(),
            length => format!("{length} bytes of something else"),
        };
        match ZipArchive::new(Cursor::new(bytes)) {
            Ok(archive) => Ok(Self { path: path.into(), archive }),
            Err(error) => Err(Error::content(path, "an .npz file", format!("{found} ({error})"))),
        }
    }

    /// Returns the names of the arrays, in the order of the file.
    ///
    /// # Example
    ///
    /// See [`Npz`].
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        (0..self.archive.len())
            .filter_map(|index| self.archive.name_for_index(index))
            .flatten()
            .map(|name| name.strip_suffix(".npy").unwrap_or(&name).to_string())
            .collect()
    }

    /// Returns the array of this name, of any shape, from `u8`, `f32`, `f64`, `i32` or `i64`.
    ///
    /// A number that `T` cannot hold is rounded to the nearest one: digits of an `f64` beyond those of an `f32`, whole
    /// numbers above 2^53 (in `f32` above 2^24).
    ///
    /// # Errors
    ///
    /// If the file has no array of this name; if the array is cut off or damaged, its header does not fit its size, or its
    /// numbers have another type; if a finite number is too large for an `f32`. An array whose header does not fit its
    /// size is not unpacked.
    ///
    /// # Example
    ///
    /// See [`Npz`].
    pub fn array<T: Scalar>(&mut self, name: &str) -> Result<ArrayD<T>> {
        in_type(&self.place(name), self.read(name, LABELS)?)
    }

    /// Returns what messages call an array of the file.
    pub(super) fn place(&self, name: &str) -> PathBuf {
        format!("{}, array {name}", self.path.display()).into()
    }

    /// Returns the array of this name, in `f64`.
    pub(crate) fn read_f64(&mut self, name: &str) -> Result<ArrayD<f64>> {
        self.read(name, LABELS)
    }

    pub(super) fn read(&mut self, name: &str, accepted: &[NumberType]) -> Result<ArrayD<f64>> {
        let place = self.place(name);
        let Some(index) = self.archive.index_for_name(&format!("{name}.npy")) else {
            let names = self.names().join(", ");
            let found = if names.is_empty() { "no array".into() } else { format!("the arrays {}", shortened(&names)) };
            return Err(Error::content(&self.path, format!("an array {name}"), found));
        };
        let damaged =
            |error: &str| Error::content(&place, "an .npy array", format!("damaged data ({})", shortened(error)));
        let entry = self.archive.by_index(index).map_err(|error| damaged(&error.to_string()))?;
        let size = entry.size();
        unpack(entry, size, &place, accepted, damaged)
    }
}

/// The header, and the bytes in front of it, are within so many bytes.
const BEGINNING: usize = LONGEST_HEADER + 12;

/// Reads an array from a file of the archive that has this size, as the archive says.
///
/// The header is unpacked first. The data are unpacked only if the header and the size agree, and only one byte further
/// than this size.
fn unpack(
    mut entry: impl Read,
    size: u64,
    place: &Path,
    accepted: &[NumberType],
    damaged: impl Fn(&str) -> Error,
) -> Result<ArrayD<f64>> {
    let mut bytes = Vec::new();
    let mut read_up_to = |end: u64, bytes: &mut Vec<u8>| {
        let rest = end.saturating_sub(bytes.len() as u64);
        entry.by_ref().take(rest).read_to_end(bytes).map_err(|error| damaged(&error.to_string()))
    };
    read_up_to(BEGINNING as u64, &mut bytes)?;
    check_header(place, &bytes, size, accepted)?;
    read_up_to(size.saturating_add(1), &mut bytes)?;
    decode_array(place, &bytes, accepted)
}

/// Writes arrays to an `.npz` file, compressed.
///
/// The file is written beside the old one, synced and renamed. So a file that was there before is replaced as a whole or
/// not at all, and several writers do not disturb each other: the last one to finish is the one whose file stays.
///
/// A process that is killed leaves an unfinished file `NAME.PROCESS.NUMBER.part` beside `NAME`. The next save of `NAME`
/// removes it. A file that a process is still writing is locked, and stays.
///
/// This function needs the feature `npz`.
///
/// # Errors
///
/// If two arrays have one name, or the system refuses to write.
///
/// # Example
///
/// See [`Npz`].
pub fn save_npz<T: Scalar + WritableElement>(
    path: impl AsRef<Path>,
    arrays: &[(&str, ArrayViewD<'_, T>)],
) -> Result<()> {
    let path = path.as_ref();
    check_names(path, arrays.iter().map(|(name, _)| *name))?;
    write(path, arrays, |array, archive| array.write_npy(archive))
}

/// Writes arrays of several number types.
pub(crate) fn save_numbers(path: &Path, arrays: &[(String, Numbers)]) -> Result<()> {
    check_names(path, arrays.iter().map(|(name, _)| &**name))?;
    write(path, arrays, |numbers, archive| match numbers {
        Numbers::F32(array) => array.write_npy(archive),
        Numbers::F64(array) => array.write_npy(archive),
        Numbers::I64(array) => array.write_npy(archive),
    })
}

type Archive<'a> = ZipWriter<BufWriter<&'a fs::File>>;

fn write<A>(
    path: &Path,
    arrays: &[(impl Display, A)],
    write: impl Fn(&A, &mut Archive<'_>) -> std::result::Result<(), WriteNpyError>,
) -> Result<()> {
    replace(path, |file| {
        let mut archive = ZipWriter::new(BufWriter::new(file));
        for (name, array) in arrays {
            archive.start_file(format!("{name}.npy"), SimpleFileOptions::default().large_file(true))?;
            write(array, &mut archive).map_err(io::Error::other)?;
        }
        archive.finish()?.flush()
    })
    .map_err(|source| Error::Write { path: path.into(), source })
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    /// The beginning of an `.npy` file.
    fn header(shape: &str) -> Vec<u8> {
        let header = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}\n");
        [&b"\x93NUMPY\x01\x00"[..], &(header.len() as u16).to_le_bytes()[..], header.as_bytes()].concat()
    }

    /// Counts the bytes that are read.
    struct Counting<R>(R, u64);

    impl<R: Read> Read for Counting<R> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.0.read(buffer)?;
            self.1 += count as u64;
            Ok(count)
        }
    }

    #[test]
    fn no_more_is_unpacked_than_header_and_size_agree_on() {
        let (place, damaged) = (Path::new("w"), |error: &str| -> Error { panic!("{error}") });
        // Unpacks data without an end, and returns the number of bytes read and the message.
        let unpack = |file: &[u8], size: u64| {
            let mut entry = Counting(file.chain(io::repeat(0)), 0);
            let error = unpack(&mut entry, size, place, LABELS, damaged).expect_err("without an end").to_string();
            (entry.1, error)
        };
        let file = header("(20000,)");
        let size = file.len() as u64 + 160_000;
        assert_eq!(unpack(&file, size), (size + 1, "w: expected an .npy file, found 1 bytes after its data".into()));
        // Where they differ no data are unpacked, however large either is.
        let beginning = BEGINNING as u64;
        let message = |expected: &str, found: &str| format!("w: expected {expected}, found {found}");
        let (short, long) = (size - 1, size + 599_000_000);
        let expected = "the data of an array of shape (20000)";
        assert_eq!(unpack(&file, short), (beginning, message(expected, &format!("{short} bytes"))));
        let found = "599000000 bytes after its data";
        assert_eq!(unpack(&file, long), (beginning, message("an .npy file", found)));
        let (read, error) = unpack(&header("(1000000000000, 784)"), 599_000_000);
        let expected = "the data of an array of shape (1000000000000, 784)";
        assert_eq!((read, error), (beginning, message(expected, "599000000 bytes")));
        assert_eq!(unpack(b"something else", u64::MAX).0, beginning);
    }

    #[test]
    fn a_small_file_that_promises_much_is_refused_before_it_is_unpacked() {
        // 16 MB of zeros in 16 kB; the header promises twice as much.
        let directory = tempfile::tempdir().expect("a directory is made");
        let path = directory.path().join("a.npz");
        let mut archive = ZipWriter::new(File::create(&path).expect("the file is made"));
        let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
        archive.start_file("w.npy", options).expect("the array is begun");
        let file = [header("(4000000,)"), vec![0; 16_000_000]].concat();
        archive.write_all(&file).expect("the array is written");
        archive.finish().expect("the file is written");
        assert!(fs::metadata(&path).expect("it is there").len() < 40_000);
        let error = Npz::open(&path).and_then(|mut npz| npz.array::<f64>("w")).expect_err("a lie").to_string();
        let expected = format!("expected the data of an array of shape (4000000), found {} bytes", file.len());
        assert!(error.ends_with(&expected), "{error}");
    }
}
