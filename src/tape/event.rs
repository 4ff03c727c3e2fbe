//! [`Event`]: something that was recorded; [`Checked`]: whether a tape checks it.

use super::nodes::RecordedRule;

/// Whether a tape checks as it goes: what [`Tape::set_checked`](crate::Tape::set_checked) takes.
///
/// # Example
///
/// See [`Tape::set_checked`](crate::Tape::set_checked).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// Every value and cotangent is checked.
    Yes,
    /// Nothing is checked, which costs nothing.
    No,
}

/// Something that was recorded.
#[derive(Clone, Copy)]
pub(crate) enum Event {
    /// The value of a node.
    Value(u32),
    /// Nodes of a derivative, up to its result.
    Derivative { first: u32, result: u32 },
    /// The rule of a node, whose result is recorded.
    Rule(RecordedRule),
}
