//! Tables from CSV files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use csv::{ErrorKind, ReaderBuilder, StringRecord, Trim};
use ndarray::{Array2, ArrayD, IxDyn};

use super::arrays;
use super::samples::Samples;
use super::shortened::shortened;
use crate::error::{Error, Result};
use crate::scalar::Scalar;

/// A reader of CSV files: a line for each sample, a number in each column.
///
/// By default the first line has the names of the columns, and columns are separated by commas. Quotes and line ends are
/// those of RFC 4180.
///
/// This type needs the feature `csv`.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::data::Csv;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let directory = tempfile::tempdir()?;
/// let path = directory.path().join("flowers.csv");
/// std::fs::write(&path, "length,width,kind\n5.1,3.5,setosa\n7.0,3.2,versicolor\n4.9,3.0,setosa\n")?;
/// let (samples, kinds) = Csv::new().samples::<f64>(&path, "kind")?;
/// assert_eq!(samples.images(), array![[5.1, 3.5], [7.0, 3.2], [4.9, 3.0]]);
/// assert_eq!((samples.labels(), kinds), (&[0, 1, 0][..], vec!["setosa".to_string(), "versicolor".to_string()]));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Csv {
    delimiter: u8,
    header: bool,
}

impl Default for Csv {
    fn default() -> Self {
        Self::new()
    }
}

/// The names of the columns, and the lines.
struct Table {
    names: Vec<String>,
    /// Each with its number in the file.
    records: Vec<(u64, StringRecord)>,
}

impl Csv {
    /// Returns a reader with the defaults.
    ///
    /// # Example
    ///
    /// See [`Csv`].
    #[must_use]
    pub fn new() -> Self {
        Self { delimiter: b',', header: true }
    }

    /// Returns the reader with this byte between columns: `b';'`, `b'\t'`.
    ///
    /// # Example
    ///
    /// See [`table`](Self::table).
    #[must_use]
    pub fn with_delimiter(self, delimiter: u8) -> Self {
        Self { delimiter, ..self }
    }

    /// Returns the reader of files without names. The columns are then called `0`, `1`, ….
    ///
    /// # Example
    ///
    /// See [`table`](Self::table).
    #[must_use]
    pub fn without_header(self) -> Self {
        Self { header: false, ..self }
    }

    /// Reads numbers: the names of the columns, and the array `(lines, columns)`.
    ///
    /// # Errors
    ///
    /// If the file is missing or not UTF-8, if a line has another number of columns than the first, if there is no line or
    /// no column, or if something is not a finite number. The message names the line and the column.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::data::Csv;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let directory = tempfile::tempdir()?;
    /// let path = directory.path().join("a.csv");
    /// std::fs::write(&path, "1;2.5\n-3;1e-3\n")?;
    /// let (names, table) = Csv::new().with_delimiter(b';').without_header().table::<f64>(&path)?;
    /// assert_eq!(names, ["0", "1"]);
    /// assert_eq!(table, array![[1.0, 2.5], [-3.0, 0.001]]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn table<T: Scalar>(&self, path: impl AsRef<Path>) -> Result<(Vec<String>, Array2<T>)> {
        let path = path.as_ref();
        let table = self.read(path)?;
        let columns: Vec<usize> = (0..table.names.len()).collect();
        let values = table.numbers(path, &columns)?.into_iter().map(T::from_f64).collect();
        let array = Array2::from_shape_vec((table.records.len(), columns.len()), values);
        Ok((table.names, array.expect("as many numbers in each line")))
    }

    /// Reads samples: a column has the class of each, and the others its pixels. Returns the samples, and the names of the
    /// classes: the different texts of that column, sorted; if all are whole numbers, sorted as such.
    ///
    /// # Errors
    ///
    /// As [`table`](Self::table), and if there is no such column, or no other.
    ///
    /// # Example
    ///
    /// See [`Csv`].
    pub fn samples<T: Scalar>(&self, path: impl AsRef<Path>, label: &str) -> Result<(Samples<T>, Vec<String>)> {
        let path = path.as_ref();
        let table = self.read(path)?;
        let Some(column) = table.names.iter().position(|name| name == label) else {
            let found = format!("the columns {}", shortened(&table.names.join(", ")));
            return Err(Error::content(path, format!("a column {label}"), found));
        };
        let text = |record: &StringRecord| record.get(column).unwrap_or("").to_string();
        let distinct: BTreeSet<String> = table.records.iter().map(|(_, record)| text(record)).collect();
        let mut names: Vec<String> = distinct.into_iter().collect();
        if names.iter().all(|name| name.parse::<i64>().is_ok()) {
            names.sort_by_key(|name| name.parse::<i64>().unwrap_or(0));
        }
        let class = |text: String| names.iter().position(|name| *name == text).unwrap_or(0) as f64;
        let labels: Vec<f64> = table.records.iter().map(|(_, record)| class(text(record))).collect();
        let columns: Vec<usize> = (0..table.names.len()).filter(|&other| other != column).collect();
        let (rows, numbers) = (labels.len(), table.numbers(path, &columns)?);
        let pixels = ArrayD::from_shape_vec(IxDyn(&[rows, columns.len()]), numbers).expect("as many in each line");
        let labels = ArrayD::from_shape_vec(IxDyn(&[rows]), labels).expect("as many as there are");
        Ok((arrays::to_samples(path, pixels, path, labels)?, names))
    }

    fn read(&self, path: &Path) -> Result<Table> {
        if path.is_dir() {
            return Err(Error::content(path, "a CSV file", "a directory"));
        }
        let file = std::fs::File::open(path).map_err(|source| Error::Read { path: path.into(), source })?;
        let mut reader =
            ReaderBuilder::new().delimiter(self.delimiter).has_headers(self.header).trim(Trim::All).from_reader(file);
        let refuse = |error: csv::Error| match error.kind() {
            ErrorKind::UnequalLengths { pos, expected_len, len } => {
                let line = pos.as_ref().map_or(0, csv::Position::line);
                let place = PathBuf::from(format!("{}, line {line}", path.display()));
                Error::content(&place, format!("{expected_len} columns"), len.to_string())
            }
            _ => Error::content(path, "a CSV file", shortened(&error.to_string())),
        };
        let header: Vec<String> = match self.header {
            true => reader.headers().map_err(refuse)?.iter().map(String::from).collect(),
            false => Vec::new(),
        };
        let mut records = Vec::new();
        for record in reader.records() {
            let record = record.map_err(refuse)?;
            records.push((record.position().map_or(0, csv::Position::line), record));
        }
        let Some((_, first)) = records.first() else {
            return Err(Error::content(path, "at least one line of numbers", "none"));
        };
        let names = if self.header { header } else { (0..first.len()).map(|column| column.to_string()).collect() };
        Ok(Table { names, records })
    }
}

impl Table {
    /// Returns the numbers of these columns, line by line.
    fn numbers(&self, path: &Path, columns: &[usize]) -> Result<Vec<f64>> {
        let mut numbers = Vec::new();
        for (line, record) in &self.records {
            for &column in columns {
                let text = record.get(column).unwrap_or("");
                match text.parse::<f64>() {
                    Ok(number) if number.is_finite() => numbers.push(number),
                    _ => {
                        let name = shortened(&self.names[column]);
                        let place = PathBuf::from(format!("{}, line {line}, column {name}", path.display()));
                        return Err(Error::content(&place, "a finite number", format!("`{}`", shortened(text))));
                    }
                }
            }
        }
        Ok(numbers)
    }
}
