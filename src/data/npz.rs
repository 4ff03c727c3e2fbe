//! `.npz` files: several arrays by name.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufWriter, Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use ndarray::{ArrayD, ArrayViewD, Dimension};
use ndarray_npy::{WritableElement, WriteNpyExt};
use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

use super::npy::decode_array;
use super::npy_header::Header;
use super::shortened;
use crate::error::{Error, Result};
use crate::number::Classify;
use crate::scalar::Scalar;

/// An `.npz` file, compressed or not, as NumPy writes it: arrays by name.
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
    /// If there is none, or it is not `.npz`.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        if path.is_dir() {
            return Err(Error::content(path, "an .npz file", "a directory"));
        }
        let bytes = fs::read(path).map_err(|source| Error::Read { path: path.into(), source })?;
        let found = match bytes.len() {
            0 => "an empty file".to_string(),
            length => format!("{length} bytes that are none"),
        };
        match ZipArchive::new(Cursor::new(bytes)) {
            Ok(archive) => Ok(Self { path: path.into(), archive }),
            Err(error) => Err(Error::content(path, "an .npz file", format!("{found} ({error})"))),
        }
    }

    /// Returns the names of the arrays, in the order of the file.
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
    /// A number that the type asked for does not have is rounded to the nearest: digits of an `f64` beyond those of an `f32`, whole
    /// numbers above 2^53 (in `f32` above 2^24).
    ///
    /// # Errors
    ///
    /// If there is none, it is cut off or damaged, has another number type, or has a finite number that is too large for an
    /// `f32`.
    pub fn array<T: Scalar>(&mut self, name: &str) -> Result<ArrayD<T>> {
        let array = self.read(name, super::npy::LABELS)?;
        let converted = array.mapv(T::from_f64);
        let lost = array.iter().zip(&converted).position(|(x, y)| x.is_finite() && !y.is_finite());
        if let Some((index, x)) = lost.and_then(|position| array.indexed_iter().nth(position)) {
            let expected = format!("numbers within the range of {}", T::DTYPE);
            return Err(Error::content(&self.place(name), expected, format!("{x:e} at {:?}", index.slice())));
        }
        Ok(converted)
    }

    /// Returns what messages call an array of the file.
    pub(super) fn place(&self, name: &str) -> PathBuf {
        format!("{}, array {name}", self.path.display()).into()
    }

    pub(super) fn read(&mut self, name: &str, accepted: &[&str]) -> Result<ArrayD<f64>> {
        let (place, names) = (self.place(name), self.names().join(", "));
        let read = match self.archive.by_name(&format!("{name}.npy")) {
            Ok(entry) => read_promised(entry).map_err(|error| error.to_string()),
            Err(ZipError::FileNotFound) => {
                let found =
                    if names.is_empty() { "no array".into() } else { format!("the arrays {}", shortened(&names)) };
                return Err(Error::content(&self.path, format!("an array {name}"), found));
            }
            Err(error) => Err(error.to_string()),
        };
        match read {
            Ok(bytes) => decode_array(&place, &bytes, accepted),
            Err(error) => Err(Error::content(&place, "an .npy array", format!("damaged data ({})", shortened(&error)))),
        }
    }
}

/// NumPy writes headers of a few dozen bytes; one that is longer than this is none.
const HEADER: u64 = 1 << 16;

/// Reads an array as far as its header goes, and one byte more: of data that are too long no more is unpacked.
fn read_promised(mut entry: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    entry.by_ref().take(HEADER).read_to_end(&mut bytes)?;
    if let Some(promised) = Header::read(&bytes).ok().and_then(|header| header.promised()) {
        let rest = (promised + 1).saturating_sub(bytes.len());
        entry.take(rest as u64).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// Writes arrays to an `.npz` file, uncompressed.
///
/// The file is written aside, synced and renamed: one that was there before is replaced as a whole or not at all.
///
/// # Errors
///
/// If two arrays have one name, or the system refuses.
///
/// # Example
///
/// See [`Npz`].
pub fn save_npz<T: Scalar + WritableElement>(
    path: impl AsRef<Path>,
    arrays: &[(&str, ArrayViewD<'_, T>)],
) -> Result<()> {
    let path = path.as_ref();
    let twice = |&(k, (name, _)): &(usize, &(&str, _))| arrays[..k].iter().any(|(before, _)| before == name);
    if let Some((_, (name, _))) = arrays.iter().enumerate().find(twice) {
        return Err(Error::content(path, "arrays of different names to write", format!("`{}` twice", shortened(name))));
    }
    write_aside(path, |file| {
        let mut archive = ZipWriter::new(BufWriter::new(file));
        for (name, array) in arrays {
            archive.start_file(format!("{name}.npy"), SimpleFileOptions::default().large_file(true))?;
            array.write_npy(&mut archive).map_err(io::Error::other)?;
        }
        archive.finish()?.flush()
    })
    .map_err(|source| Error::Write { path: path.into(), source })
}

/// How many files have been begun: each has a name of its own, whichever thread writes it.
static BEGUN: AtomicUsize = AtomicUsize::new(0);

/// Creates a new file beside `path`.
fn create_aside(path: &Path, name: &OsStr) -> io::Result<(File, PathBuf)> {
    loop {
        let mut aside = name.to_os_string();
        aside.push(format!(".{}.{}.part", std::process::id(), BEGUN.fetch_add(1, Ordering::Relaxed)));
        let aside = path.with_file_name(aside);
        match File::create_new(&aside) {
            // Left behind by a process of the same number that was ended.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => return created.map(|file| (file, aside)),
        }
    }
}

/// Writes a file beside `path` and renames it once it is complete.
fn write_aside(path: &Path, write: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
    let Some(name) = path.file_name() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the name of a file"));
    };
    let (file, aside) = create_aside(path, name)?;
    let written = write(&file).and_then(|()| file.sync_all());
    let renamed = written.and_then(|()| fs::rename(&aside, path));
    if renamed.is_err() {
        // Nothing to save there; the first error is the one to report.
        let _ = fs::remove_file(&aside);
    }
    renamed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_unpacked_than_the_header_promises() {
        let npy = |shape: &str| {
            let header = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}\n");
            [&b"\x93NUMPY\x01\x00"[..], &(header.len() as u16).to_le_bytes()[..], header.as_bytes()].concat()
        };
        // Of data without an end.
        let read = |file: &[u8]| read_promised(file.chain(io::repeat(0))).expect("nothing fails").len();
        let file = npy("(20000,)");
        assert_eq!(read(&file), file.len() + 160_000 + 1);
        assert_eq!(read(&npy("(2,)")), HEADER as usize); // looked at for the header already
        assert_eq!(read(b"something else"), HEADER as usize);
        assert_eq!(read(&npy("(0, 9)")), HEADER as usize);
    }
}
