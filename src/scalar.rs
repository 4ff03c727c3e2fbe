//! [`Scalar`]: the element types of a tape, `f32` and `f64`.

use std::fmt::{Debug, Display, LowerExp};
use std::iter::Sum;
use std::ops::{AddAssign, DivAssign, MulAssign, Neg, SubAssign};

use ndarray::{LinalgScalar, ScalarOperand};

use crate::input::Input;
use crate::kernel::matmul::Matmul;
use crate::op::{Algebra, Functions, Kernels};

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// An element type that can be recorded and differentiated: `f32` or `f64`.
///
/// The trait is sealed: kernels and tolerances are written for these two.
///
/// # Example
///
/// ```
/// use tapegrad::Scalar;
///
/// fn half<T: Scalar>(x: T) -> T {
///     x / T::from_f64(2.0)
/// }
/// assert_eq!(half(3.0_f32), 1.5);
/// assert_eq!(f64::DTYPE, "f64");
/// ```
pub trait Scalar:
    sealed::Sealed
    + Algebra<Self>
    + Functions
    + Matmul
    + Kernels
    + Input<Self>
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
    /// The type's name as files and command lines spell it: `"f32"` or `"f64"`.
    const DTYPE: &'static str;

    /// Returns the nearest number of this type.
    fn from_f64(x: f64) -> Self;

    /// Returns the number as an `f64`, exactly.
    fn to_f64(self) -> f64;

    /// Returns whether the number is neither infinite nor NaN.
    fn is_finite(self) -> bool;

    /// Returns whether the number is NaN.
    fn is_nan(self) -> bool;
}

macro_rules! scalar {
    ($T:ident) => {
        impl Scalar for $T {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const EPSILON: Self = $T::EPSILON;
            const INFINITY: Self = $T::INFINITY;
            const NEG_INFINITY: Self = $T::NEG_INFINITY;
            const DTYPE: &'static str = stringify!($T);

            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                x as $T
            }

            #[inline(always)]
            fn to_f64(self) -> f64 {
                self.into()
            }

            #[inline(always)]
            fn is_finite(self) -> bool {
                self.is_finite()
            }

            #[inline(always)]
            fn is_nan(self) -> bool {
                self.is_nan()
            }
        }
    };
}
scalar!(f32);
scalar!(f64);
