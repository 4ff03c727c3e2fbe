//! [`Error`]: everything that comes from outside and is not as it should be.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Data from outside the program that cannot be used: files, labels, arguments.
///
/// A message names the file or the argument, what was expected, and what was found. (A bug in calling code, such as
/// shapes that do not fit, panics instead.)
///
/// # Example
///
/// ```
/// let error = tapegrad::data::load_data::<f64>("no/such/directory").unwrap_err();
/// assert!(error.to_string().starts_with("no/such/directory: expected a directory with x.npy, y.npy, xt.npy and yt.npy"));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The operating system could not read a file.
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The operating system could not write a file. What was there before is still there.
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file holds something else than it should.
    Content {
        /// The file.
        path: PathBuf,
        /// What was expected.
        expected: String,
        /// What was found.
        found: String,
    },
    /// A value that was handed over is not as it should be.
    Value {
        /// What the value is.
        what: &'static str,
        /// What was expected.
        expected: String,
        /// What was found.
        found: String,
    },
}

/// The result of what may meet an [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn content(path: &Path, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self::Content { path: path.into(), expected: expected.into(), found: found.into() }
    }

    pub(crate) fn value(what: &'static str, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self::Value { what, expected: expected.into(), found: found.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, source } => write!(f, "{}: cannot be read: {source}", path.display()),
            Self::Write { path, source } => write!(f, "{}: cannot be written: {source}", path.display()),
            Self::Content { path, expected, found } => {
                write!(f, "{}: expected {expected}, found {found}", path.display())
            }
            Self::Value { what, expected, found } => write!(f, "{what}: expected {expected}, found {found}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } | Self::Write { source, .. } => Some(source),
            Self::Content { .. } | Self::Value { .. } => None,
        }
    }
}
