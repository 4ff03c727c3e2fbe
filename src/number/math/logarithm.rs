//! The natural logarithm: `ln`, `ln_1p`.

use super::polynomial::{horner_f32, horner_f64};

/// The numbers that differ between the two instances of the macro below.
mod constants_f32 {
    /// The exponent that `ln_parts` returns for 2.
    const UNIT: f32 = 8_388_608.0;
    /// ln 2 in two parts, for one unit of the exponent; the first has 15 bits, so that its product with any exponent (8
    /// bits) is exact.
    pub const LN_2_HI: f32 = 0.693_145_75 / UNIT;
    pub const LN_2_LO: f32 = 1.428_606_8e-6 / UNIT;
    /// The least number that is reduced to itself.
    pub const LOWEST: f32 = std::f32::consts::FRAC_1_SQRT_2;
    /// Lifts every subnormal into the normal range.
    pub const SUBNORMAL_SCALE: f32 = 33_554_432.0;
    pub const SUBNORMAL_EXPONENT: f32 = 25.0 * UNIT;
}

/// The constants for `f64`. [`constants_f32`] has the comments.
mod constants_f64 {
    /// 41 bits, for exponents of 11 bits.
    pub const LN_2_HI: f64 = 0.693_147_180_559_663;
    pub const LN_2_LO: f64 = 2.823_529_056_303_157_7e-13;
    pub const LOWEST: f64 = std::f64::consts::FRAC_1_SQRT_2;
    pub const SUBNORMAL_SCALE: f64 = 18_014_398_509_481_984.0;
    pub const SUBNORMAL_EXPONENT: f64 = 54.0;
}

/// Returns `(2^23 k, f)` with `x = 2^k (1 + f)` and `sqrt(1/2) <= 1 + f < sqrt(2)`, for positive normal `x`.
#[inline(always)]
fn ln_parts_f32(x: f32) -> (f32, f32) {
    const SIGN_AND_EXPONENT: u32 = 0xff80_0000;
    let k = x.to_bits().wrapping_sub(constants_f32::LOWEST.to_bits()) & SIGN_AND_EXPONENT;
    (k.cast_signed() as f32, f32::from_bits(x.to_bits().wrapping_sub(k)) - 1.0)
}

/// Returns `(k, f)` with `x = 2^k (1 + f)` and `sqrt(1/2) <= 1 + f < sqrt(2)`, for positive normal `x`.
#[inline(always)]
fn ln_parts_f64(x: f64) -> (f64, f64) {
    use constants_f64::LOWEST;
    const MANTISSA_BITS: u32 = 52;
    const MANTISSA: u64 = (1 << MANTISSA_BITS) - 1;
    // 2^MANTISSA_BITS: or-ing a small integer into its bits adds that integer.
    const SHIFTER: f64 = (MANTISSA + 1) as f64;
    const EXPONENT_BIAS: f64 = 1023.0;
    // Moves the binade's edge from 1 to sqrt(1/2), and makes the exponent count from 0 at 2^-BIAS.
    let moved = x.to_bits().wrapping_add(1.0_f64.to_bits() - LOWEST.to_bits());
    let k = f64::from_bits((moved >> MANTISSA_BITS) | SHIFTER.to_bits()) - (SHIFTER + EXPONENT_BIAS);
    (k, f64::from_bits((moved & MANTISSA) + LOWEST.to_bits()) - 1.0)
}

/// `(ln(1 + f) - f + f^2/2) / f^3`, minimax for `sqrt(1/2) - 1 <= f <= sqrt(2) - 1`. Relative error of ln: 1.7e-9.
const LN_TAIL_F32: [f32; 9] = [
    0.333_333_13,
    -0.249_999_84,
    0.200_021_88,
    -0.166_694_83,
    0.142_171_17,
    -0.123_774_86,
    0.118_887_976,
    -0.118_467_435,
    0.069_373_064,
];
/// Returns `ln(1 + f) - f + more`.
#[inline(always)]
fn ln_tail_f32(f: f32, more: f32) -> f32 {
    // In f32 this polynomial costs less than the division of the form for f64.
    (f * f).mul_add(f.mul_add(horner_f32(f, &LN_TAIL_F32), -0.5), more)
}

/// `(ln((1+s)/(1-s)) - 2s) / s^3` in powers of `s^2`, minimax for |s| <= 3 - 2 sqrt(2). Error of ln: 3e-18 * s.
const LN_TAIL_F64: [f64; 7] = [
    0.666_666_666_666_669_6,
    0.399_999_999_996_135_1,
    0.285_714_287_050_384_15,
    0.222_222_019_442_574_58,
    0.181_834_062_342_222_19,
    0.153_177_647_685_364_07,
    0.147_613_886_281_002_9,
];

/// Returns `ln(1 + f) - f + more`.
///
/// With `s = f / (2 + f)`: `ln(1 + f) = 2s + s R(s^2)`, and `2s = f - f^2/2 + s f^2/2` (the decomposition of fdlibm's
/// `e_log.c`). `R` is minimax.
#[inline(always)]
fn ln_tail_f64(f: f64, more: f64) -> f64 {
    let s = f / (2.0 + f);
    let z = s * s;
    let half_square = 0.5 * f * f;
    s.mul_add(z.mul_add(horner_f64(z, &LN_TAIL_F64), half_square), more) - half_square
}

macro_rules! logarithms {
    (
        $float:ident, $constants:ident, $ln_tail:ident, $ln_parts:ident, $ln_sum:ident, $ln:ident,
        $ln_1p:ident
    ) => {
        /// Returns `k ln 2 + ln(1 + f)`, given the part of it for `LN_2_LO`.
        #[inline(always)]
        fn $ln_sum(k: $float, f: $float, small: $float) -> $float {
            k.mul_add($constants::LN_2_HI, f + $ln_tail(f, small))
        }

        /// Returns the natural logarithm of `x`.
        ///
        /// `ln x = k ln 2 + ln m` with `m` near 1. Exactly 0 at 1, minus infinity at 0 and -0,
        /// NaN for negative `x`, infinity at infinity; subnormal numbers are scaled first.
        #[inline(always)]
        pub(crate) fn $ln(x: $float) -> $float {
            use $constants::*;
            let is_subnormal = x < $float::MIN_POSITIVE;
            // Both in one condition: with two, the compiler computes all that is between them twice.
            let (scaled, exponent) = if is_subnormal { (x * SUBNORMAL_SCALE, SUBNORMAL_EXPONENT) } else { (x, 0.0) };
            let (k, f) = $ln_parts(scaled);
            let k = k - exponent;
            let finite = if x < $float::INFINITY { $ln_sum(k, f, k * LN_2_LO) } else { x };
            let special = if x == 0.0 { $float::NEG_INFINITY } else { $float::NAN };
            if x > 0.0 { finite } else { special }
        }

        /// Returns `ln(1 + x)`, accurate near 0 too.
        ///
        /// `u = 1 + x` rounded, with its rounding error `e` recovered exactly (Knuth's two-sum):
        /// `ln(1 + x) = ln(u) + e/u` to first order. Where `k` is 0, `x` is used itself.
        /// Minus infinity at -1, NaN below, -0 stays -0.
        #[inline(always)]
        pub(crate) fn $ln_1p(x: $float) -> $float {
            let u = 1.0 + x;
            let x_seen = u - 1.0;
            let error = (x - x_seen) + (1.0 - (u - x_seen));
            let (k, f) = $ln_parts(u);
            let quotient = error / u;
            let (f, correction) = if k == 0.0 { (x, 0.0) } else { (f, quotient) };
            let finite =
                if x < $float::INFINITY { $ln_sum(k, f, k.mul_add($constants::LN_2_LO, correction)) } else { x };
            let finite = if x.abs() < $float::EPSILON / 4.0 { x } else { finite };
            let special = if x == -1.0 { $float::NEG_INFINITY } else { $float::NAN };
            if x > -1.0 { finite } else { special }
        }
    };
}

logarithms!(f32, constants_f32, ln_tail_f32, ln_parts_f32, ln_sum_f32, ln_f32, ln_1p_f32);
logarithms!(f64, constants_f64, ln_tail_f64, ln_parts_f64, ln_sum_f64, ln_f64, ln_1p_f64);

/// The coefficients of `(ln((1+s)/(1-s)) - 2s - 2/3 s^3) / s^5` in powers of `s^2`. For |s| <= 3 - 2 sqrt(2), what is left out
/// changes the logarithm by 5e-22 of its size.
const LN_SERIES: [f64; 11] = [
    2.0 / 5.0,
    2.0 / 7.0,
    2.0 / 9.0,
    2.0 / 11.0,
    2.0 / 13.0,
    2.0 / 15.0,
    2.0 / 17.0,
    2.0 / 19.0,
    2.0 / 21.0,
    2.0 / 23.0,
    2.0 / 25.0,
];

/// Returns the natural logarithm as the sum of two numbers, to about 65 bits: minus infinity at 0, infinity at infinity.
/// Its argument is not negative.
///
/// With `s = f / (2 + f)` for `1 + f` near 1, it is `k ln 2 + 2s + 2/3 s^3 + s^5 Q(s^2)`. The first three terms are summed with
/// their rounding errors.
#[inline(always)]
pub(super) fn ln_pair_f64(x: f64) -> (f64, f64) {
    use constants_f64::*;
    const THIRDS: f64 = 2.0 / 3.0;
    const THIRDS_REST: f64 = 3.700_743_415_417_188e-17;
    let is_subnormal = x < f64::MIN_POSITIVE;
    let (scaled, exponent) = if is_subnormal { (x * SUBNORMAL_SCALE, SUBNORMAL_EXPONENT) } else { (x, 0.0) };
    let (k, f) = ln_parts_f64(scaled);
    let k = k - exponent;

    let divisor = 2.0 + f;
    let divisor_rest = (2.0 - divisor) + f;
    let s = f / divisor;
    let s_rest = ((-s).mul_add(divisor, f) - s * divisor_rest) / divisor;
    let square = s * s;
    let square_rest = s.mul_add(s, -square) + 2.0 * s * s_rest;
    let third = square * THIRDS;
    let third_rest = square.mul_add(THIRDS, -third) + (square * THIRDS_REST + square_rest * THIRDS);
    let series = square * square * horner_f64(square, &LN_SERIES);
    let factor = third + series;
    let factor_rest = ((third - factor) + series) + third_rest;
    let cube = s * factor;
    let cube_rest = s.mul_add(factor, -cube) + (s * factor_rest + s_rest * factor);

    let near = 2.0 * s + cube;
    let near_rest = ((2.0 * s - near) + cube) + (2.0 * s_rest + cube_rest);
    // Exact: the constant has 41 bits.
    let whole = k * LN_2_HI;
    let sum = whole + near;
    let rest = ((whole - sum) + near) + (near_rest + k * LN_2_LO);
    let ln = sum + rest;
    let ln = if x < f64::INFINITY { ln } else { x };
    (if x == 0.0 { f64::NEG_INFINITY } else { ln }, (sum - ln) + rest)
}
