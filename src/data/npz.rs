//! `.npz` files: several arrays by name.

use std::fs::{self, File};
use std::io::{self, BufWriter, Cursor, Read, Write};
use std::path::{Path, PathBuf};

use ndarray::{ArrayD, ArrayViewD};
use ndarray_npy::{WritableElement, WriteNpyExt};
use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

use super::npy::decode_array;
use super::shortened;
use crate::error::{Error, Result};
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
    /// # Errors
    ///
    /// If there is none, it is cut off or damaged, or has another number type.
    pub fn array<T: Scalar>(&mut self, name: &str) -> Result<ArrayD<T>> {
        Ok(self.read(name, super::npy::LABELS)?.mapv(T::from_f64))
    }

    /// Returns what messages call an array of the file.
    pub(super) fn place(&self, name: &str) -> PathBuf {
        format!("{}, array {name}", self.path.display()).into()
    }

    pub(super) fn read(&mut self, name: &str, accepted: &[&str]) -> Result<ArrayD<f64>> {
        let (place, names) = (self.place(name), self.names().join(", "));
        let mut bytes = Vec::new();
        let read = match self.archive.by_name(&format!("{name}.npy")) {
            Ok(mut entry) => entry.read_to_end(&mut bytes).map_err(|error| error.to_string()),
            Err(ZipError::FileNotFound) => {
                let found =
                    if names.is_empty() { "no array".into() } else { format!("the arrays {}", shortened(&names)) };
                return Err(Error::content(&self.path, format!("an array {name}"), found));
            }
            Err(error) => Err(error.to_string()),
        };
        match read {
            Ok(_) => decode_array(&place, &bytes, accepted),
            Err(error) => Err(Error::content(&place, "an .npy array", format!("damaged data ({})", shortened(&error)))),
        }
    }
}

/// Writes arrays to an `.npz` file, uncompressed.
///
/// The file is written aside, synced and renamed: one that was there before is replaced as a whole or not at all.
///
/// # Errors
///
/// If the system refuses.
///
/// # Example
///
/// See [`Npz`].
pub fn save_npz<T: Scalar + WritableElement>(
    path: impl AsRef<Path>,
    arrays: &[(&str, ArrayViewD<'_, T>)],
) -> Result<()> {
    let path = path.as_ref();
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

/// Writes a file beside `path` and renames it once it is complete.
fn write_aside(path: &Path, write: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
    let Some(name) = path.file_name() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the name of a file"));
    };
    let mut aside = name.to_os_string();
    aside.push(format!(".{}.part", std::process::id()));
    let aside = path.with_file_name(aside);
    let written = File::create(&aside).and_then(|file| {
        write(&file)?;
        file.sync_all()
    });
    let renamed = written.and_then(|()| fs::rename(&aside, path));
    if renamed.is_err() {
        // Nothing to save there; the first error is the one to report.
        let _ = fs::remove_file(&aside);
    }
    renamed
}
