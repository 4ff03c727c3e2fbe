//! [`ValueRead`]: values that the user's code read while it recorded. What it recorded afterwards may depend on them.

use std::panic::Location;
use std::sync::Arc;

/// A question about a number.
pub(crate) type Question<T> = Arc<dyn Fn(T) -> bool + Send + Sync>;

/// A value that was read.
pub(crate) struct ValueRead<T> {
    pub(crate) id: u32,
    /// The line that read it.
    pub(crate) location: &'static Location<'static>,
    /// The question that was asked, and the answer; `None` if the value itself was read.
    pub(crate) question: Option<(Question<T>, bool)>,
}
