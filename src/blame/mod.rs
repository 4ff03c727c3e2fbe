//! Blame: which operation made the first NaN or infinity, and why a gradient is missing. Answers name the user's line.
//!
//! [`Tape::first_non_finite`](crate::Tape::first_non_finite) looks at a record afterwards,
//! [`Tape::checked`](crate::Tape::checked) makes a tape look as it goes, and
//! [`Tape::unreached`](crate::Tape::unreached) says why a parameter has no gradient.

mod hint;
mod non_finite;
mod unreached;

pub use non_finite::{NonFinite, Operand, Phase, ValueRange};
pub(crate) use non_finite::{all_finite, check_recorded, in_rule, in_seed, survey};
pub use unreached::{Reason, Unreached};
