//! [`Error`]: invalid data from outside the program.

use std::fmt;
use std::io;
use std::panic::Location;
use std::path::{Path, PathBuf};

/// An error in data from outside the program: files, labels, arguments.
///
/// The message names the file or the argument, the expected content and the content found. (A bug in the calling code,
/// such as shapes that do not fit, panics instead.)
///
/// # Example
///
/// ```
/// let error = tapegrad::data::load_usps::<f64>("no/such/directory").unwrap_err();
/// assert!(error.to_string().starts_with("no/such/directory: expected the USPS digits: train.npz and test.npz"));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The operating system could not read a file.
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The operating system could not write a file. A file that existed before is complete: it is the old file, or the
    /// new one if only the directory could not be synced.
    Write {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The content of a file is not as expected.
    Content {
        /// The file.
        path: PathBuf,
        /// The expected content.
        expected: String,
        /// The content found.
        found: String,
    },
    /// A value is not as expected.
    Value {
        /// The name of the value.
        what: &'static str,
        /// The expected content.
        expected: String,
        /// The content found.
        found: String,
    },
    /// Another process of a run, or all of them together, cannot go on.
    ///
    /// This variant needs the feature `mpi`.
    #[cfg(feature = "mpi")]
    #[cfg_attr(docsrs, doc(cfg(feature = "mpi")))]
    Rank {
        /// The number of the process.
        rank: usize,
        /// Its error.
        message: String,
    },
    /// A run of a [`Program`](crate::Program) finds another value than the code found when it recorded. The code may have
    /// taken a branch that depends on the value, so the program may not be what it would record now.
    Diverged {
        /// The number of the step on the tape.
        node: u32,
        /// The line that read the value.
        location: &'static Location<'static>,
        /// The value, or the answer, of the recording.
        expected: String,
        /// The value, or the answer, of the run.
        found: String,
    },
}

/// The result of a function that may return an [`Error`].
///
/// # Example
///
/// ```
/// use tapegrad::data::Samples;
///
/// fn read() -> tapegrad::Result<Samples<f64>> {
///     Samples::new(ndarray::array![[1.0]], vec![0], 1)
/// }
/// assert!(read().is_ok());
/// ```
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
            #[cfg(feature = "mpi")]
            Self::Rank { rank, message } => write!(f, "rank {rank}: {message}"),
            Self::Diverged { node, location, expected, found } => write!(
                f,
                "the program was recorded while {location} read %{node}: expected {expected}, found {found}. Record it again \
                 for these inputs, ask for the branch by `decide`, or read the value after compiling"
            ),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } | Self::Write { source, .. } => Some(source),
            #[cfg(feature = "mpi")]
            Self::Rank { .. } => None,
            Self::Content { .. } | Self::Value { .. } | Self::Diverged { .. } => None,
        }
    }
}
