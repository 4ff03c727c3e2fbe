//! Numbers for kernels: `f32` and `f64`, their functions, and SIMD vectors of them.
//!
//! This module imports no other module of the crate. [`Number`] has arithmetic and constants. [`Algebra`] adds the
//! functions in which the rows of the table are written. `math` holds branch-free elementary functions; the compiler
//! vectorizes loops over them.

mod algebra;
mod arithmetic;
mod functions;
mod math;
pub(crate) mod simd;
mod special;
mod vocabulary;

pub use algebra::Algebra;
pub(crate) use arithmetic::Classify;
pub use arithmetic::Number;
pub use functions::Functions;
pub use simd::{InstructionSet, Vectors};
pub(crate) use simd::{arch, dispatch, dispatch_or, outlined};
pub(crate) use vocabulary::vocabulary;

/// An inlined closure that owns its captures, for a loop that calls it at every element.
///
/// A closure that is not inlined is compiled without the vector instructions of the loop. A number that is captured by
/// reference is read again at every element. Either makes the loop many times slower.
///
/// Pass the macro directly as an argument. Rust does not yet accept its attribute in a `let`.
macro_rules! inlined {
    (|$($x:tt $(: $X:ty)?),*| -> $Y:ty $body:block) => {
        #[inline(always)]
        move |$($x $(: $X)?),*| -> $Y { $body }
    };
    (|$($x:tt $(: $X:ty)?),*| $body:expr) => {
        #[inline(always)]
        move |$($x $(: $X)?),*| $body
    };
}
pub(crate) use inlined;
