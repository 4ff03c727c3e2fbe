//! [`Number`]: arithmetic, constants and conversions; [`Classify`]: tests for NaN and infinities.

use std::fmt::{Debug, Display, LowerExp};
use std::iter::Sum;
use std::ops::{AddAssign, DivAssign, MulAssign, Neg, SubAssign};

use ndarray::{LinalgScalar, ScalarOperand};

use super::functions::Functions;

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// A number that kernels compute with, `f32` or `f64`: arithmetic, constants and conversions.
///
/// Generic code is written for [`Scalar`](crate::Scalar), which includes this trait. It is sealed. Its methods do not
/// clash with the traits of other crates: code for `T: Scalar + num_traits::Float` can call `x.exp()`.
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
    /// Infinity: the minimum of no numbers.
    const INFINITY: Self;
    /// Minus infinity: the maximum of no numbers.
    const NEG_INFINITY: Self;
    /// The type's name in files and on command lines: `"f32"` or `"f64"`.
    const DTYPE: &'static str;

    /// The functions of the type. They are not methods of the number, so that users do not see them.
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

/// Classification of numbers, for all number types.
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
