//! [`Algebra`]: the vocabulary in which the rows of the table are written.

use std::ops::{Add, Div, Mul, Neg, Sub};

use crate::kernel::math;
use crate::kernel::reduce::maximum;

/// What a derivative in the table may say of its operands.
///
/// Numbers implement it by computing, a [`Var`](crate::Var) by recording. That is how a rule that is written
/// once serves both sweeps. `T` is the number type, `Self` a number or a `Var` of such numbers.
pub trait Algebra<T>:
    Copy
    + Neg<Output = Self>
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Add<T, Output = Self>
    + Sub<T, Output = Self>
    + Mul<T, Output = Self>
    + Div<T, Output = Self>
{
    /// `e^x`.
    fn exp(self) -> Self;
    /// The natural logarithm.
    fn ln(self) -> Self;
    /// The square root.
    fn sqrt(self) -> Self;
    /// The hyperbolic tangent.
    fn tanh(self) -> Self;
    /// `1 / (1 + e^-x)`.
    fn sigmoid(self) -> Self;
    /// The absolute value.
    fn abs(self) -> Self;
    /// -1, 0 or 1; NaN of NaN.
    fn sign(self) -> Self;
    /// `x^exponent`.
    fn powf(self, exponent: T) -> Self;
    /// The larger of two; NaN if either is.
    fn maximum(self, other: Self) -> Self;
    /// `1 - x`.
    fn one_minus(self) -> Self;
    /// 0 where `mask <= 0`, else `self`: selects and never multiplies, so that a NaN or an infinity that is not
    /// selected leaves no trace. A mask of NaN lets pass.
    fn gate(self, mask: Self) -> Self;
    /// 1 where `low <= x <= high`, else 0.
    fn within(self, low: T, high: T) -> Self;
    /// The share of a cotangent that `maximum` hands to its first operand: 0 for the smaller, ½ at a tie, else 1.
    fn share(self, other: Self) -> Self;
    /// 1 where two numbers are equal, else 0.
    fn equal(self, other: Self) -> Self;
    /// 0, whatever the operand.
    fn zeros_like(self) -> Self;
}

macro_rules! algebra {
    ($T:ident, $math:path) => {
        impl Algebra<$T> for $T {
            #[inline(always)]
            fn exp(self) -> Self {
                use $math as math;
                math::exp(self)
            }
            #[inline(always)]
            fn ln(self) -> Self {
                use $math as math;
                math::ln(self)
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                $T::sqrt(self)
            }
            #[inline(always)]
            fn tanh(self) -> Self {
                use $math as math;
                math::tanh(self)
            }
            #[inline(always)]
            fn sigmoid(self) -> Self {
                use $math as math;
                math::sigmoid(self)
            }
            #[inline(always)]
            fn abs(self) -> Self {
                $T::abs(self)
            }
            #[inline(always)]
            fn sign(self) -> Self {
                let sign = if self < 0.0 { -1.0 } else { self };
                if self > 0.0 { 1.0 } else { sign }
            }
            #[inline(always)]
            fn powf(self, exponent: $T) -> Self {
                $T::powf(self, exponent)
            }
            #[inline(always)]
            fn maximum(self, other: Self) -> Self {
                maximum(self, other)
            }
            #[inline(always)]
            fn one_minus(self) -> Self {
                1.0 - self
            }
            #[inline(always)]
            fn gate(self, mask: Self) -> Self {
                if mask <= 0.0 { 0.0 } else { self }
            }
            #[inline(always)]
            fn within(self, low: $T, high: $T) -> Self {
                if low <= self && self <= high { 1.0 } else { 0.0 }
            }
            #[inline(always)]
            fn share(self, other: Self) -> Self {
                let share = if self == other { 0.5 } else { 1.0 };
                if self < other { 0.0 } else { share }
            }
            #[inline(always)]
            fn equal(self, other: Self) -> Self {
                if self == other { 1.0 } else { 0.0 }
            }
            #[inline(always)]
            fn zeros_like(self) -> Self {
                0.0
            }
        }
    };
}
algebra!(f32, math::f32);
algebra!(f64, math::f64);
