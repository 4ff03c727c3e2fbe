//! [`RowsOfFile`]: reads some rows of an `.npy` file, never the whole.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ndarray::ArrayD;
use ndarray_npy::npy::header::Header;

use super::npy::{Described, LONGEST_HEADER, NumberType, inspect};
use crate::error::{Error, Result};

/// An open `.npy` file of one or two axes, whose header was checked.
#[derive(Debug)]
pub(super) struct RowsOfFile {
    path: PathBuf,
    /// Locked from setting the position to the end of reading.
    file: Mutex<File>,
    number_type: NumberType,
    header: Header,
    /// The position of the data.
    before: u64,
}

impl RowsOfFile {
    /// Opens a file and reads its header. Its array has one of the accepted number types, and one axis or two.
    pub(super) fn open(path: &Path, accepted: &[NumberType], expected: &str) -> Result<Self> {
        if path.is_dir() {
            return Err(Error::content(path, "an .npy file", "a directory"));
        }
        let read = || -> io::Result<(File, u64, Vec<u8>)> {
            let file = File::open(path)?;
            let size = file.metadata()?.len();
            let mut beginning = Vec::new();
            (&file).take(LONGEST_HEADER as u64 + 12).read_to_end(&mut beginning)?;
            Ok((file, size, beginning))
        };
        let (file, size, beginning) = read().map_err(|source| Error::Read { path: path.into(), source })?;
        let Described { number_type, header, before } = inspect(path, &beginning, size, accepted)?;
        if !matches!(header.shape.len(), 1 | 2) {
            return Err(Error::content(path, expected, format!("shape {:?}", header.shape)));
        }
        Ok(Self { path: path.into(), file: Mutex::new(file), number_type, header, before: before as u64 })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the shape of the whole array: one length or two.
    pub(super) fn shape(&self) -> &[usize] {
        &self.header.shape
    }

    pub(super) fn rows(&self) -> usize {
        self.header.shape[0]
    }

    /// Returns the number of numbers in a row.
    pub(super) fn row_length(&self) -> usize {
        self.header.shape[1..].iter().product()
    }

    /// Reads some rows: from one place of the file, or for an array in Fortran's order from one place for each column.
    pub(super) fn read(&self, rows: Range<usize>) -> Result<ArrayD<f64>> {
        let (columns, bytes) = (self.row_length(), self.number_type.bytes());
        let mut header = self.header.clone();
        header.shape[0] = rows.len();
        let damaged = |error: &dyn std::fmt::Display| Error::content(&self.path, "an .npy file", error.to_string());
        let mut array = header.to_bytes().map_err(|error| damaged(&error))?;
        let mut end = array.len();
        array.resize(end + rows.len() * columns * bytes, 0);
        let pieces = if header.layout.is_fortran() { columns } else { 1 };
        let numbers = rows.len() * columns / pieces.max(1);
        let file = &mut *self.file.lock().unwrap_or_else(PoisonError::into_inner);
        for piece in 0..pieces {
            // A piece is a part of a column, or all the rows.
            let start =
                if header.layout.is_fortran() { piece * self.rows() + rows.start } else { rows.start * columns };
            let to = &mut array[end..end + numbers * bytes];
            end += to.len();
            let position = self.before + (start * bytes) as u64;
            file.seek(SeekFrom::Start(position))
                .and_then(|_| file.read_exact(to))
                .map_err(|source| Error::Read { path: self.path.clone(), source })?;
        }
        self.number_type.decode(&self.path, &array)
    }
}
