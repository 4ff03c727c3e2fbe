//! Blame: which operation made the first NaN or infinity, and why a gradient is missing. Every answer names the user's
//! line.
//!
//! [`Tape::first_non_finite`](crate::Tape::first_non_finite) searches a recording afterwards.
//! [`Tape::checked`](crate::Tape::checked) makes a tape check each operation at once.
//! [`Tape::unreached`](crate::Tape::unreached) says why a parameter has no gradient. Blame observes sweeps; sweeps do
//! not depend on blame.

mod hint;
mod non_finite;
mod range;
mod unreached;
mod watch;

pub use crate::tape::Checked;
pub use non_finite::{NonFinite, Operand, Phase};
pub use range::ValueRange;
pub use unreached::{Reason, Unreached};
pub(crate) use watch::{backward, source_grads};
