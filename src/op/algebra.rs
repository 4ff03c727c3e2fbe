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
    /// `ln(1 + x)`.
    fn ln_1p(self) -> Self;
    /// The sine.
    fn sin(self) -> Self;
    /// The cosine.
    fn cos(self) -> Self;
    /// The hyperbolic sine.
    fn sinh(self) -> Self;
    /// The hyperbolic cosine.
    fn cosh(self) -> Self;
    /// The complementary error function.
    fn erfc(self) -> Self;
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
    /// `self^exponent`.
    fn pow(self, exponent: Self) -> Self;
    /// `√(a² + b²)`.
    fn hypot(self, other: Self) -> Self;
    /// The larger of two; NaN if either is.
    fn maximum(self, other: Self) -> Self;
    /// `1 - x`.
    fn one_minus(self) -> Self;
    /// 0 where `mask <= 0`, else `self`: selects and never multiplies, so that a NaN or an infinity that is not
    /// selected leaves no trace. A mask of NaN lets pass.
    fn gate(self, mask: Self) -> Self;
    /// 1 where `low <= x <= high`, else 0.
    fn within(self, low: T, high: T) -> Self;
    /// The share of a cotangent that `maximum` hands to its first operand: 0 for the smaller, 1 for the larger, ½ where
    /// neither is.
    fn share(self, other: Self) -> Self;
    /// 1 where two numbers are equal, else 0.
    fn equal(self, other: Self) -> Self;
    /// 1 where `x > 0`, else `slope`.
    fn leaky_slope(self, slope: T) -> Self;
    /// 1 where `x > 0`, else `alpha e^x`.
    fn elu_slope(self, alpha: T) -> Self;
    /// `e^(a - b)`, 1 where both are infinity, 0 where `a` is minus infinity.
    fn exp_difference(self, other: Self) -> Self;
    /// `a b`, and 0 where `a` is 0, whatever `b` but NaN: what has no weight has no share.
    fn mul_or_zero(self, factor: Self) -> Self;
    /// `a / b`, and 0 where `a` is 0, whatever `b` but NaN.
    fn ratio(self, divisor: Self) -> Self;
    /// The number limited to the interval from `low` to `high`.
    fn clamp(self, low: T, high: T) -> Self;
    /// `a / b`, and 0 where `b` is 0: a direction, and none where there is no length.
    fn div_or_zero(self, divisor: Self) -> Self;
    /// 0, whatever the operand.
    fn zeros_like(self) -> Self;
}

/// What else the rows of the table compute with: functions of numbers that no derivative mentions.
///
/// Those that `libm` computes are one element at a time and the same bits on every machine; the others vectorize.
pub trait Functions: Sized {
    /// `e^x - 1`, accurate near 0.
    fn exp_m1(self) -> Self;
    /// The logarithm to base 2.
    fn log2(self) -> Self;
    /// The logarithm to base 10.
    fn log10(self) -> Self;
    /// The tangent.
    fn tan(self) -> Self;
    /// Returns whether `sin_near` and its kind hold at this argument.
    fn holds_near(self) -> bool;
    /// The sine, of an argument that is near.
    fn sin_near(self) -> Self;
    /// The cosine, of an argument that is near.
    fn cos_near(self) -> Self;
    /// The tangent, of an argument that is near.
    fn tan_near(self) -> Self;
    /// The inverse sine.
    fn asin(self) -> Self;
    /// The inverse cosine.
    fn acos(self) -> Self;
    /// The inverse tangent.
    fn atan(self) -> Self;
    /// The inverse hyperbolic sine.
    fn asinh(self) -> Self;
    /// The inverse hyperbolic cosine.
    fn acosh(self) -> Self;
    /// The inverse hyperbolic tangent.
    fn atanh(self) -> Self;
    /// The error function.
    fn erf(self) -> Self;
    /// The angle of the point `(x, self)`.
    fn atan2(self, x: Self) -> Self;
}

/// Implements a method by a function of the same number type.
macro_rules! by {
    ($($method:ident: $f:path),* $(,)?) => { $(
        #[inline(always)]
        fn $method(self) -> Self {
            $f(self)
        }
    )* };
}

macro_rules! algebra {
    (
        $T:ident, exp $exp:ident, exp_m1 $exp_m1:ident, ln $ln:ident, ln_1p $ln_1p:ident, tanh $tanh:ident,
        sigmoid $sigmoid:ident, sin $sin:ident, cos $cos:ident, limit $limit:ident, erf $erf:path, erfc $erfc:path,
        libm [$far_sin:ident $far_cos:ident $far_tan:ident $log2:ident $log10:ident $sinh:ident $cosh:ident $asin:ident
            $acos:ident $atan:ident $asinh:ident $acosh:ident $atanh:ident $atan2:ident]
    ) => {
        impl Algebra<$T> for $T {
            by! {
                exp: math::$exp, ln: math::$ln, ln_1p: math::$ln_1p, sqrt: $T::sqrt, tanh: math::$tanh,
                sigmoid: math::$sigmoid, sinh: libm::$sinh, cosh: libm::$cosh, erfc: $erfc, abs: $T::abs,
            }
            #[inline(always)]
            fn sin(self) -> Self {
                if self.holds_near() { math::$sin(self) } else { libm::$far_sin(self) }
            }
            #[inline(always)]
            fn cos(self) -> Self {
                if self.holds_near() { math::$cos(self) } else { libm::$far_cos(self) }
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
            fn pow(self, exponent: $T) -> Self {
                $T::powf(self, exponent)
            }
            /// Scaled by the larger operand: no square overflows or vanishes.
            #[inline(always)]
            fn hypot(self, other: $T) -> Self {
                let (a, b) = ($T::abs(self), $T::abs(other));
                let (small, large) = if a > b { (b, a) } else { (a, b) };
                let ratio = small / large;
                let y = large * $T::sqrt(1.0 + ratio * ratio);
                let y = if large == 0.0 { small } else { y };
                // As in IEEE, even if the other is NaN.
                if a == $T::INFINITY || b == $T::INFINITY { $T::INFINITY } else { y }
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
                let share = if self > other { 1.0 } else { 0.5 };
                if self < other { 0.0 } else { share }
            }
            #[inline(always)]
            fn equal(self, other: Self) -> Self {
                if self == other { 1.0 } else { 0.0 }
            }
            #[inline(always)]
            fn leaky_slope(self, slope: $T) -> Self {
                if self > 0.0 { 1.0 } else { slope }
            }
            #[inline(always)]
            fn elu_slope(self, alpha: $T) -> Self {
                let slope = alpha * math::$exp(self);
                if self > 0.0 { 1.0 } else { slope }
            }
            #[inline(always)]
            fn exp_difference(self, other: Self) -> Self {
                let e = math::$exp(self - other);
                let e = if self == other { 1.0 } else { e };
                if self == $T::NEG_INFINITY { 0.0 } else { e }
            }
            #[inline(always)]
            fn mul_or_zero(self, factor: Self) -> Self {
                let product = self * factor;
                if self == 0.0 && !factor.is_nan() { 0.0 } else { product }
            }
            #[inline(always)]
            fn ratio(self, divisor: Self) -> Self {
                let quotient = self / divisor;
                if self == 0.0 && !divisor.is_nan() { 0.0 } else { quotient }
            }
            #[inline(always)]
            fn clamp(self, low: $T, high: $T) -> Self {
                let x = if self < low { low } else { self };
                if x > high { high } else { x }
            }
            #[inline(always)]
            fn div_or_zero(self, divisor: Self) -> Self {
                let quotient = self / divisor;
                if divisor == 0.0 { 0.0 } else { quotient }
            }
            #[inline(always)]
            fn zeros_like(self) -> Self {
                0.0
            }
        }

        impl Functions for $T {
            by! {
                exp_m1: math::$exp_m1, log2: libm::$log2, log10: libm::$log10, sin_near: math::$sin, cos_near: math::$cos,
                asin: libm::$asin, acos: libm::$acos, atan: libm::$atan, asinh: libm::$asinh, acosh: libm::$acosh,
                atanh: libm::$atanh, erf: $erf,
            }
            #[inline(always)]
            fn holds_near(self) -> bool {
                $T::abs(self) <= math::$limit
            }
            #[inline(always)]
            fn tan_near(self) -> Self {
                math::$sin(self) / math::$cos(self)
            }
            #[inline(always)]
            fn tan(self) -> Self {
                if self.holds_near() { self.tan_near() } else { libm::$far_tan(self) }
            }
            #[inline(always)]
            fn atan2(self, x: Self) -> Self {
                libm::$atan2(self, x)
            }
        }
    };
}
algebra!(
    f32, exp exp_f32, exp_m1 exp_m1_f32, ln ln_f32, ln_1p ln_1p_f32, tanh tanh_f32,
    sigmoid sigmoid_f32, sin sin_f32, cos cos_f32, limit TRIG_LIMIT_F32, erf math::erf_f32, erfc math::erfc_f32,
    libm [sinf cosf tanf log2f log10f sinhf coshf asinf acosf atanf asinhf acoshf atanhf atan2f]
);
algebra!(
    f64, exp exp_f64, exp_m1 exp_m1_f64, ln ln_f64, ln_1p ln_1p_f64, tanh tanh_f64,
    sigmoid sigmoid_f64, sin sin_f64, cos cos_f64, limit TRIG_LIMIT_F64, erf libm::erf, erfc libm::erfc,
    libm [sin cos tan log2 log10 sinh cosh asin acos atan asinh acosh atanh atan2]
);
