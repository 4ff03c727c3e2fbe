//! [`Log`]: the records of a run, line by line in a file.

use std::fs::{self, File};
use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::record::Record;
use crate::error::{Error, Result};

/// A file with a JSON object in each line, one for each [`Record`] (JSON Lines): see [`Record::to_json`].
///
/// A line is in the file when [`write`](Self::write) returns, so that other programs can follow the run.
///
/// # Example
///
/// ```
/// use tapegrad::train::{Log, Record};
///
/// # fn main() -> tapegrad::Result<()> {
/// # let directory = tempfile::tempdir().expect("a directory is made");
/// # let path = directory.path().join("run.jsonl");
/// let mut log = Log::create(&path)?;
/// [4.0, 2.0, 1.0].iter().enumerate().try_for_each(|(pass, &loss)| log.write(&Record::new(pass, loss)))?;
///
/// // The checkpoint was written before pass 2, so that pass runs again.
/// let (mut log, before) = Log::resume(&path, 2)?;
/// assert_eq!(before, [Record::new(0, 4.0), Record::new(1, 2.0)]);
/// log.write(&Record::new(2, 1.5))?;
/// # let text = std::fs::read_to_string(&path).expect("it was written");
/// assert_eq!(text.lines().last(), Some(r#"{"pass":2,"seconds":0.0,"train_loss":1.5}"#));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
}

/// How each line begins.
const BEGIN: &str = "{\"pass\":";

impl Log {
    /// Returns an empty log. A file of this name is replaced.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    ///
    /// # Example
    ///
    /// See [`Log`].
    #[doc(alias = "SummaryWriter")]
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        match File::create(&path) {
            Ok(file) => Ok(Self { path, file }),
            Err(source) => Err(Error::Write { path, source }),
        }
    }

    /// Returns a log that goes on before this pass, and the records of the passes before it. The lines of later passes,
    /// which the run takes again, are removed; so is a line that was not written to its end. If there is no such file, the
    /// log is empty.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or written, or if a line before this pass is not one of a log. Nothing is removed then.
    ///
    /// # Example
    ///
    /// See [`Log`].
    pub fn resume(path: impl AsRef<Path>, pass: usize) -> Result<(Self, Vec<Record>)> {
        let path = path.as_ref();
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok((Self::create(path)?, Vec::new())),
            Err(source) => return Err(Error::Read { path: path.into(), source }),
        };
        let (mut records, mut kept) = (Vec::new(), 0);
        for (index, line) in text.split_inclusive('\n').enumerate() {
            let whole = line.strip_suffix('\n');
            if whole.is_none() && (line.starts_with(BEGIN) || BEGIN.starts_with(line)) {
                break;
            }
            let Some(record) = whole.and_then(Record::from_json) else {
                let expected = format!("a line of a log, {{\"pass\":…}}, as line {}", index + 1);
                return Err(Error::content(path, expected, format!("{:?}", crate::data::shortened(line.trim_end()))));
            };
            if record.pass() >= pass {
                break;
            }
            kept += line.len();
            records.push(record);
        }
        let open = || {
            let mut file = File::options().write(true).open(path)?;
            file.set_len(kept as u64)?;
            file.seek(SeekFrom::End(0))?;
            Ok(file)
        };
        match open() {
            Ok(file) => Ok((Self { path: path.into(), file }, records)),
            Err(source) => Err(Error::Write { path: path.into(), source }),
        }
    }

    /// Writes a record as one line.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    ///
    /// # Example
    ///
    /// See [`Log`].
    pub fn write(&mut self, record: &Record) -> Result<()> {
        // In one call, and without a buffer: a reader never waits for the rest of a line.
        let line = record.to_json() + "\n";
        self.file.write_all(line.as_bytes()).map_err(|source| Error::Write { path: self.path.clone(), source })
    }
}
