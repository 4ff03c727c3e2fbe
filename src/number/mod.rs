//! What kernels compute with: the numbers `f32` and `f64`, their functions, and vectors of them.
//!
//! This room knows no other. [`Number`] is arithmetic and constants; [`Algebra`] adds the functions in which the rows of the
//! table are written; `math` holds elementary functions without branches, for loops that become vector code.

mod algebra;
mod math;
pub(crate) mod simd;

use std::fmt::{Debug, Display, LowerExp};
use std::iter::Sum;
use std::ops::{AddAssign, DivAssign, MulAssign, Neg, SubAssign};

use ndarray::{LinalgScalar, ScalarOperand};

pub(crate) use algebra::vocabulary;
pub use algebra::{Algebra, Functions};
pub use simd::Vectors;

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// A number that kernels compute with, `f32` or `f64`: arithmetic, constants and conversions.
///
/// Generic code is written for [`Scalar`](crate::Scalar), which includes this trait. It is sealed, and it has no method
/// that a trait of another crate could clash with: `T: Scalar + num_traits::Float` may call `x.exp()`.
///
/// # Example
///
/// ```
/// use tapegrad::Number;
///
/// assert_eq!(f32::from_f64(0.5) + f32::ONE, 1.5);
/// assert_eq!(0.5_f32.to_f64(), 0.5);
/// assert_eq!(f64::DTYPE, "f64");
/// ```
pub trait Number:
    sealed::Sealed
    + LinalgScalar
    + ScalarOperand
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + DivAssign
    + Sum
    + PartialOrd
    + Default
    + Debug
    + Display
    + LowerExp
    + Send
    + Sync
    + 'static
{
    /// The number 0.
    const ZERO: Self;
    /// The number 1.
    const ONE: Self;
    /// The distance from 1 to the next larger number.
    const EPSILON: Self;
    /// Infinity: the minimum over nothing.
    const INFINITY: Self;
    /// Minus infinity: the maximum over nothing.
    const NEG_INFINITY: Self;
    /// The type's name in files and on command lines: `"f32"` or `"f64"`.
    const DTYPE: &'static str;

    /// The functions of the type. They stand beside it and not on it, where users would meet them.
    #[doc(hidden)]
    type Functions: Functions<Self>;

    /// Returns the nearest number of this type.
    fn from_f64(x: f64) -> Self;

    /// Returns the number as an `f64`, exactly.
    fn to_f64(self) -> f64;
}

macro_rules! number {
    ($T:ident) => {
        impl Number for $T {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const EPSILON: Self = $T::EPSILON;
            const INFINITY: Self = $T::INFINITY;
            const NEG_INFINITY: Self = $T::NEG_INFINITY;
            const DTYPE: &'static str = stringify!($T);

            type Functions = $T;

            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                x as $T
            }

            #[inline(always)]
            fn to_f64(self) -> f64 {
                self.into()
            }
        }
    };
}
number!(f32);
number!(f64);

/// Tests of a number that need no function, for all numbers.
pub(crate) trait Classify: Number {
    /// Returns whether the number is neither infinite nor NaN.
    fn is_finite(self) -> bool;

    /// Returns whether the number is NaN.
    fn is_nan(self) -> bool;
}

impl<T: Number> Classify for T {
    #[inline(always)]
    fn is_finite(self) -> bool {
        T::Functions::is_finite(self)
    }

    #[inline(always)]
    fn is_nan(self) -> bool {
        T::Functions::is_nan(self)
    }
}

/// An inlined closure that owns what it captures, for a loop that runs it at every element.
///
/// A closure that is not inlined is compiled without the vector instructions of the loop; a captured number that is
/// borrowed is read again at every element. Either makes a loop many times slower.
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
