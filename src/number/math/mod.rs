//! Branch-free elementary functions: the compiler vectorizes loops over them.
//!
//! The functions of `std` are calls into the C library, one element at a time. The functions here are plain arithmetic
//! on one scalar, and they are always inlined. So a loop such as
//! `for (o, &x) in out.iter_mut().zip(x) { *o = exp_f32(x) }` becomes SSE2, AVX2 or AVX-512 code: the target of the
//! enclosing function decides.
//!
//! Every function keeps these rules:
//!
//! - Only `+ - * /`, comparisons, bit operations and selects: no call, no table, and a select (`if` between two values
//!   already computed) instead of a branch.
//! - No fused multiply-add. The same sequence of IEEE operations runs on every CPU and in scalar code, so the bits of a
//!   result depend neither on the instruction set nor on an element's place in the slice.
//! - No `floor`, `round` or float-to-integer cast: SSE2 lacks them or lacks them for f64. Adding a large constant with
//!   ulp 1 (a "shifter") rounds to the nearest integer instead, and leaves that integer in the low bits of the sum.
//! - NaN in, NaN out.
//!
//! Largest errors found, in units in the last place of the exact result (0.5 is correct rounding). f32: every bit
//! pattern, against `std` in f64. f64: 20 million arguments for each function against 80-bit arithmetic, one half of
//! them uniform over the bit patterns, a quarter uniform over the interval where the function is not trivial, a quarter
//! spread over the binades 2^-40 to 2^10; for `sin` and `cos` also the five floats nearest to each multiple of pi/2.
//!
//! | function  | f32  | f64  |
//! |-----------|------|------|
//! | `exp`     | 0.91 | 0.90 |
//! | `exp_m1`  | 1.24 | 1.21 |
//! | `ln`      | 0.84 | 0.80 |
//! | `ln_1p`   | 0.84 | 0.80 |
//! | `tanh`    | 1.33 | 1.32 |
//! | `sigmoid` | 2.41 | 2.34 |
//! | `sin`     | 1.57 | 1.48 |
//! | `cos`     | 1.57 | 1.49 |
//! | `erf`     | 0.53 |      |
//! | `erfc`    | 0.69 |      |
//!
//! `sin` and `cos` hold up to `TRIG_LIMIT_*`; larger arguments need a longer reduction, which is not done here.
//!
//! Their callers have to be inlined, too: in a loop run by `pulp`, call them only from `#[inline(always)]` functions
//! and from closures made by `inlined!`. A plain closure is inlined only while it is short. A longer one becomes a
//! call, compiled for SSE2.
//!
//! Minimax polynomials come from the Remez exchange in 60-digit arithmetic. Their coefficients are then rounded to the
//! type.

/// The numbers that differ between the two instances of the macro below.
mod constants_f32 {
    /// Stored bits of the significand.
    pub const MANTISSA_BITS: u32 = 23;
    pub const EXPONENT_BIAS: u32 = 127;
    /// `1.5 * 2^23 + 2 * 127`. Added to `x`, it leaves `round(x) + 254` in the low bits of the sum; the 254 keeps that
    /// number positive, so that it can be halved by a logical shift.
    pub const EXP_SHIFTER: f32 = 12_583_166.0;
    /// ln 2 in two parts; the first has 15 bits, so that its product with any exponent (8 bits) is exact.
    pub const LN_2_HI: f32 = 0.693_145_75;
    pub const LN_2_LO: f32 = 1.428_606_8e-6;
    /// `exp` is infinite at and beyond the first, zero at and below the second.
    pub const EXP_MAX: f32 = 89.0;
    pub const EXP_MIN: f32 = -104.0;
    /// `exp_m1` rounds to -1 at and below this.
    pub const EXP_M1_MIN: f32 = -20.0;
    /// `(e^r - 1 - r - r^2/2) / r^3`, minimax over |r| <= ln(2)/2, ascending powers. Error of e^r: 3.3e-9.
    pub const EXP_TAIL: [f32; 4] = [0.166_665_2, 0.041_666_333, 0.008_368_935, 0.001_394_755_8];
    /// `(ln((1+s)/(1-s)) - 2s) / s^3` in powers of `s^2`, minimax for |s| <= 3 - 2 sqrt(2). Error of ln: 1e-11 * s.
    pub const LN_TAIL: [f32; 4] = [0.666_666_7, 0.400_003_28, 0.285_376_67, 0.235_763_79];
    pub const SQRT_HALF: f32 = std::f32::consts::FRAC_1_SQRT_2;
    /// Lifts every subnormal into the normal range.
    pub const SUBNORMAL_SCALE: f32 = 33_554_432.0;
    pub const SUBNORMAL_EXPONENT: f32 = 25.0;
    /// Fifth convergent of Lambert's continued fraction, as the deviation from x (see `tanh`). Error: 1e-9 at 0.625.
    pub const TANH_NUMERATOR: [f32; 2] = [315.0, 14.0];
    pub const TANH_DENOMINATOR: [f32; 3] = [945.0, 420.0, 15.0];
    /// `tanh(x)` is 1 when `2x` is at least this.
    pub const TANH_SATURATION: f32 = 20.0;
    /// `(sin(r)/r - 1) / r^2` in powers of `r^2`, minimax over |r| <= 1.005 pi/4. Relative error of sin: 3.7e-9.
    pub const SIN_TAIL: [f32; 3] = [-0.166_666_55, 0.008_332_155, -0.000_195_140_85];
    /// `(cos(r) - 1 + r^2/2) / r^4` in powers of `r^2`, likewise. Error of cos: 1e-10.
    pub const COS_TAIL: [f32; 3] = [0.041_666_646, -0.001_388_733_7, 2.443_484_7e-5];
}

/// The constants for `f64`. [`constants_f32`] has the comments.
mod constants_f64 {
    pub const MANTISSA_BITS: u32 = 52;
    pub const EXPONENT_BIAS: u64 = 1023;
    /// `1.5 * 2^52 + 2 * 1023`.
    pub const EXP_SHIFTER: f64 = 6_755_399_441_057_790.0;
    /// 41 bits, for exponents of 11 bits.
    pub const LN_2_HI: f64 = 0.693_147_180_559_663;
    pub const LN_2_LO: f64 = 2.823_529_056_303_157_7e-13;
    pub const EXP_MAX: f64 = 710.0;
    pub const EXP_MIN: f64 = -746.0;
    pub const EXP_M1_MIN: f64 = -40.0;
    /// Error of e^r: 5.7e-18.
    pub const EXP_TAIL: [f64; 9] = [
        0.166_666_666_666_667_02,
        0.041_666_666_666_601_085,
        0.008_333_333_333_301_184,
        0.001_388_888_892_803_299_6,
        0.000_198_412_699_396_165_7,
        2.480_150_704_552_701_7e-5,
        2.755_718_912_342_421_7e-6,
        2.762_586_742_957_383_5e-7,
        2.512_858_414_457_784_3e-8,
    ];
    /// Error of ln: 3e-18 * s.
    pub const LN_TAIL: [f64; 7] = [
        0.666_666_666_666_669_6,
        0.399_999_999_996_135_1,
        0.285_714_287_050_384_15,
        0.222_222_019_442_574_58,
        0.181_834_062_342_222_19,
        0.153_177_647_685_364_07,
        0.147_613_886_281_002_9,
    ];
    pub const SQRT_HALF: f64 = std::f64::consts::FRAC_1_SQRT_2;
    pub const SUBNORMAL_SCALE: f64 = 18_014_398_509_481_984.0;
    pub const SUBNORMAL_EXPONENT: f64 = 54.0;
    /// Eighth convergent. Error: 8e-18 at 0.625.
    pub const TANH_NUMERATOR: [f64; 4] = [675_675.0, 45_045.0, 594.0, 1.0];
    pub const TANH_DENOMINATOR: [f64; 5] = [2_027_025.0, 945_945.0, 51_975.0, 630.0, 1.0];
    pub const TANH_SATURATION: f64 = 40.0;
    /// Relative error of sin: 3.7e-18.
    pub const SIN_TAIL: [f64; 6] = [
        -0.166_666_666_666_666_3,
        0.008_333_333_333_321_868,
        -0.000_198_412_698_293_528_87,
        2.755_731_352_812_870_8e-6,
        -2.505_073_161_468_113_3e-8,
        1.589_521_379_565_755_6e-10,
    ];
    /// Error of cos: 5e-20.
    pub const COS_TAIL: [f64; 6] = [
        0.041_666_666_666_666_595,
        -0.001_388_888_888_887_338_7,
        2.480_158_728_900_174e-5,
        -2.755_731_420_809_175e-7,
        2.087_570_298_395_076e-9,
        -1.135_856_449_001_310_8e-11,
    ];
}

/// `pi/2` in three parts, the first two of 33 bits, so that their products with an integer of 20 bits are exact.
const FRAC_PI_2_PARTS: [f64; 3] = [1.570_796_326_734_125_6, 6.077_100_506_303_966e-11, 2.022_266_248_795_950_6e-21];

/// `sin_f32` and `cos_f32` are accurate up to this magnitude.
pub(crate) const TRIG_LIMIT_F32: f32 = 131_072.0;
/// `sin_f64` and `cos_f64` are accurate up to this magnitude: there `x / (pi/2)` has 20 bits.
pub(crate) const TRIG_LIMIT_F64: f64 = 1_048_576.0;

macro_rules! elementary_functions {
    (
        $float:ident, $bits:ident, $constants:ident, $horner:ident,
        $exp_parts:ident, $exp:ident, $exp_m1:ident, $ln_parts:ident, $ln_sum:ident, $ln:ident, $ln_1p:ident,
        $tanh:ident, $sigmoid:ident, $sin_kernel:ident, $cos_kernel:ident
    ) => {
        /// Returns the polynomial with `coefficients` in ascending powers, at `x`.
        #[inline(always)]
        fn $horner<const N: usize>(x: $float, coefficients: &[$float; N]) -> $float {
            let mut sum = coefficients[N - 1];
            for i in (0..N - 1).rev() {
                sum = sum * x + coefficients[i];
            }
            sum
        }

        /// Returns `(hi, tail, n)` with `e^x = 2^k (1 + hi + tail)`, `|hi + tail| < 0.42` and `|tail|` much smaller
        /// than `|hi|`; the low bits of `n` hold `k + 2 * EXPONENT_BIAS`.
        ///
        /// `x = k ln 2 + r` with `k` the nearest integer. `hi = x - k LN_2_HI` is exact. The rest of `k ln 2` goes into
        /// `tail`. So only two roundings matter: those in the caller's two additions.
        #[inline(always)]
        fn $exp_parts(x: $float) -> ($float, $float, $bits) {
            use $constants::*;
            let shifted = x * std::$float::consts::LOG2_E + EXP_SHIFTER;
            let k = shifted - EXP_SHIFTER;
            let hi = x - k * LN_2_HI;
            let lo = k * LN_2_LO;
            let r = hi - lo;
            let tail = r * r * (0.5 + r * $horner(r, &EXP_TAIL)) - lo;
            (hi, tail, shifted.to_bits())
        }

        /// Returns `e^x`.
        ///
        /// `e^x = 2^k e^r` with `|r| <= ln(2)/2` and a minimax polynomial for `e^r`. Exactly 1 at 0; infinity on
        /// overflow, gradual underflow through the subnormal numbers to 0.
        #[inline(always)]
        pub(crate) fn $exp(x: $float) -> $float {
            use $constants::*;
            // Written so that a NaN fails both comparisons and passes through.
            let x = if x > EXP_MAX { EXP_MAX } else { x };
            let x = if x < EXP_MIN { EXP_MIN } else { x };
            let (hi, tail, n) = $exp_parts(x);
            // 2^k may be outside the normal range where e^x is not, so it is applied as two factors. The first product
            // is exact. The second rounds a subnormal result once more, as it must.
            let half = n >> 1;
            let first = $float::from_bits(half << MANTISSA_BITS);
            let second = $float::from_bits((n - half) << MANTISSA_BITS);
            (1.0 + (hi + tail)) * first * second
        }

        /// Returns `e^x - 1`, accurate near 0 too.
        ///
        /// `2^k (1 + hi + tail) - 1 = (2^k hi + (2^k - 1)) + 2^k tail`, with the reduction of `exp`. -1 at minus
        /// infinity; -0 stays -0.
        #[inline(always)]
        pub(crate) fn $exp_m1(x: $float) -> $float {
            use $constants::*;
            let clamped = if x > EXP_MAX { EXP_MAX } else { x };
            let clamped = if clamped < EXP_M1_MIN { EXP_M1_MIN } else { clamped };
            let (hi, tail, n) = $exp_parts(clamped);
            // Sums the halves of the terms and doubles the result: 2^k itself overflows just below the largest
            // argument.
            let half = $float::from_bits((n - (EXPONENT_BIAS + 1)) << MANTISSA_BITS);
            let sum = (half * hi + (half - 0.5)) + half * tail;
            // Halving would cost a subnormal its last bit, and the sum costs -0 its sign.
            if x.abs() < $float::EPSILON / 4.0 { x } else { 2.0 * sum }
        }

        /// Returns `(k, f)` with `x = 2^k (1 + f)` and `sqrt(1/2) <= 1 + f < sqrt(2)`, for positive normal `x`.
        #[inline(always)]
        fn $ln_parts(x: $float) -> ($float, $float) {
            use $constants::*;
            const ONE: $bits = (1.0 as $float).to_bits();
            const LOWEST: $bits = SQRT_HALF.to_bits();
            const MANTISSA: $bits = (1 << MANTISSA_BITS) - 1;
            // 2^MANTISSA_BITS: or-ing a small integer into its bits adds that integer.
            const SHIFTER: $float = (MANTISSA + 1) as $float;
            // Moves the binade's edge from 1 to sqrt(1/2), and makes the exponent count from 0 at 2^-BIAS.
            let moved = x.to_bits().wrapping_add(ONE - LOWEST);
            let k = $float::from_bits((moved >> MANTISSA_BITS) | SHIFTER.to_bits());
            let k = k - (SHIFTER + EXPONENT_BIAS as $float);
            (k, $float::from_bits((moved & MANTISSA) + LOWEST) - 1.0)
        }

        /// Returns `k ln 2 + ln(1 + f) + correction`.
        ///
        /// With `s = f / (2 + f)`: `ln(1 + f) = 2s + s R(s^2)`, and `2s = f - f^2/2 + s f^2/2`, whose leading term is
        /// exact (the decomposition of fdlibm's `e_log.c`). `R` is minimax.
        #[inline(always)]
        fn $ln_sum(k: $float, f: $float, correction: $float) -> $float {
            use $constants::*;
            let s = f / (2.0 + f);
            let z = s * s;
            let half_square = 0.5 * f * f;
            let small = s * (half_square + z * $horner(z, &LN_TAIL)) + (k * LN_2_LO + correction);
            k * LN_2_HI + (f - (half_square - small))
        }

        /// Returns the natural logarithm of `x`.
        ///
        /// `ln x = k ln 2 + ln m` with `m` in `[sqrt(1/2), sqrt(2))`. Exactly 0 at 1, minus infinity at 0 and -0,
        /// NaN for negative `x`, infinity at infinity; subnormal numbers are scaled first.
        #[inline(always)]
        pub(crate) fn $ln(x: $float) -> $float {
            use $constants::*;
            let is_subnormal = x < $float::MIN_POSITIVE;
            let scaled = if is_subnormal { x * SUBNORMAL_SCALE } else { x };
            let (k, f) = $ln_parts(scaled);
            let k = if is_subnormal { k - SUBNORMAL_EXPONENT } else { k };
            let finite = if x < $float::INFINITY { $ln_sum(k, f, 0.0) } else { x };
            let special = if x == 0.0 { $float::NEG_INFINITY } else { $float::NAN };
            if x > 0.0 { finite } else { special }
        }

        /// Returns `ln(1 + x)`, accurate near 0 too.
        ///
        /// `u = 1 + x` rounded, with its rounding error `e` recovered exactly (Knuth's two-sum):
        /// `ln(1 + x) = ln(u) + e/u` to first order. Where `u` is within `[sqrt(1/2), sqrt(2))`, `x` is used itself.
        /// Minus infinity at -1, NaN below, -0 stays -0.
        #[inline(always)]
        pub(crate) fn $ln_1p(x: $float) -> $float {
            let u = 1.0 + x;
            let x_seen = u - 1.0;
            let error = (x - x_seen) + (1.0 - (u - x_seen));
            let (k, f) = $ln_parts(u);
            let f = if k == 0.0 { x } else { f };
            let correction = if k == 0.0 { 0.0 } else { error / u };
            let finite = if x < $float::INFINITY { $ln_sum(k, f, correction) } else { x };
            let finite = if x.abs() < $float::EPSILON / 4.0 { x } else { finite };
            let special = if x == -1.0 { $float::NEG_INFINITY } else { $float::NAN };
            if x > -1.0 { finite } else { special }
        }

        /// Returns the hyperbolic tangent of `x`.
        ///
        /// For `a = |x| < 0.625`: `a - a^3 N(a^2) / D(a^2)`, a convergent of Lambert's continued fraction
        /// `a / (1 + a^2 / (3 + a^2 / (5 + ...)))`, whose coefficients are integers. Beyond: `1 - 2 / (e^2a + 1)`.
        /// Both add a small quotient to an exact number, hence the small error, and share the division.
        /// Odd, with -0 for -0; exactly 1 in magnitude at saturation and never more; tiny `x` is returned as it is.
        #[inline(always)]
        pub(crate) fn $tanh(x: $float) -> $float {
            use $constants::*;
            let a = x.abs();
            let doubled = 2.0 * a;
            let doubled = if doubled > TANH_SATURATION { TANH_SATURATION } else { doubled };
            let (hi, tail, n) = $exp_parts(doubled);
            let power_of_two = $float::from_bits((n - EXPONENT_BIAS) << MANTISSA_BITS);
            let exponential = (1.0 + (hi + tail)) * power_of_two;

            let z = a * a;
            let is_small = a < 0.625;
            let base = if is_small { a } else { 1.0 };
            let numerator = if is_small { a * z * $horner(z, &TANH_NUMERATOR) } else { 2.0 };
            let denominator = if is_small { $horner(z, &TANH_DENOMINATOR) } else { exponential + 1.0 };
            (base - numerator / denominator).copysign(x)
        }

        /// Returns the logistic function `1 / (1 + e^-x)`.
        ///
        /// With `e = e^-|x|`, which cannot overflow: `1 / (1 + e)` for `x >= 0`, `e / (1 + e)` for `x < 0`. The second
        /// keeps relative accuracy in the left tail, down to the subnormal numbers. Exactly 1/2 at 0.
        #[inline(always)]
        pub(crate) fn $sigmoid(x: $float) -> $float {
            let e = $exp(-x.abs());
            let numerator = if x >= 0.0 { 1.0 } else { e };
            numerator / (1.0 + e)
        }

        /// Returns `sin r` for `|r|` up to about `pi/4`: `r` plus a minimax polynomial, with the sign of `r`.
        #[inline(always)]
        fn $sin_kernel(r: $float) -> $float {
            let z = r * r;
            // The sum of -0 and the polynomial's +0 is +0, so the sign is put back.
            (r + r * (z * $horner(z, &$constants::SIN_TAIL))).copysign(r)
        }

        /// Returns `cos r` for `|r|` up to about `pi/4`; never more than 1.
        #[inline(always)]
        fn $cos_kernel(r: $float) -> $float {
            let z = r * r;
            let half = 0.5 * z;
            let leading = 1.0 - half;
            // `(1 - leading) - half` is the rounding error of the line above.
            leading + (((1.0 - leading) - half) + z * z * $horner(z, &$constants::COS_TAIL))
        }
    };
}

elementary_functions!(
    f32,
    u32,
    constants_f32,
    horner_f32,
    exp_parts_f32,
    exp_f32,
    exp_m1_f32,
    ln_parts_f32,
    ln_sum_f32,
    ln_f32,
    ln_1p_f32,
    tanh_f32,
    sigmoid_f32,
    sin_kernel_f32,
    cos_kernel_f32
);

elementary_functions!(
    f64,
    u64,
    constants_f64,
    horner_f64,
    exp_parts_f64,
    exp_f64,
    exp_m1_f64,
    ln_parts_f64,
    ln_sum_f64,
    ln_f64,
    ln_1p_f64,
    tanh_f64,
    sigmoid_f64,
    sin_kernel_f64,
    cos_kernel_f64
);

/// Returns `(r, n)` with `x = k pi/2 + r`, `|r|` at most about `pi/4`, and `k` in the low bits of `n`.
///
/// The subtraction runs in f64, where `k` (17 bits) times the first part of `pi/2` is exact. When `x` is close to a
/// multiple of `pi/2`, the difference still has more than 24 correct bits. The only error is the rounding to f32.
#[inline(always)]
fn reduce_trig_f32(x: f32) -> (f32, u32) {
    const SHIFTER: f32 = 12_582_912.0;
    let shifted = x * std::f32::consts::FRAC_2_PI + SHIFTER;
    let k = f64::from(shifted - SHIFTER);
    let [first, second, _] = FRAC_PI_2_PARTS;
    let r = (f64::from(x) - k * first) - k * second;
    (r as f32, shifted.to_bits())
}

/// As [`reduce_trig_f32`]: Cody and Waite's reduction in three parts. The error of the second subtraction is recovered.
#[inline(always)]
fn reduce_trig_f64(x: f64) -> (f64, u64) {
    const SHIFTER: f64 = 6_755_399_441_055_744.0;
    let shifted = x * std::f64::consts::FRAC_2_PI + SHIFTER;
    let k = shifted - SHIFTER;
    let [first, second, third] = FRAC_PI_2_PARTS;
    let remainder = x - k * first;
    let product = k * second;
    let r = remainder - product;
    let error = (remainder - r) - product;
    (r - (k * third - error), shifted.to_bits())
}

macro_rules! trigonometric_functions {
    (
        $float:ident, $bits:ident, $reduce:ident, $sin_kernel:ident, $cos_kernel:ident, $sin:ident, $cos:ident
    ) => {
        /// Returns `sin x` for `|x|` up to the type's `TRIG_LIMIT`, and a meaningless number beyond.
        ///
        /// `sin(k pi/2 + r)` is `sin r`, `cos r`, `-sin r`, `-cos r` for `k = 0, 1, 2, 3` modulo 4. -0 stays -0.
        #[inline(always)]
        pub(crate) fn $sin(x: $float) -> $float {
            let (r, n) = $reduce(x);
            let magnitude = if n & 1 == 0 { $sin_kernel(r) } else { $cos_kernel(r) };
            let sign = (n & 2) << ($bits::BITS - 2);
            $float::from_bits(magnitude.to_bits() ^ sign)
        }

        /// Returns `cos x` for `|x|` up to the type's `TRIG_LIMIT`, and a meaningless number beyond.
        ///
        /// `cos(k pi/2 + r)` is `cos r`, `-sin r`, `-cos r`, `sin r` for `k = 0, 1, 2, 3` modulo 4. Exactly 1 at 0.
        #[inline(always)]
        pub(crate) fn $cos(x: $float) -> $float {
            let (r, n) = $reduce(x);
            let magnitude = if n & 1 == 0 { $cos_kernel(r) } else { $sin_kernel(r) };
            let sign = (n.wrapping_add(1) & 2) << ($bits::BITS - 2);
            $float::from_bits(magnitude.to_bits() ^ sign)
        }
    };
}

trigonometric_functions!(f32, u32, reduce_trig_f32, sin_kernel_f32, cos_kernel_f32, sin_f32, cos_f32);

trigonometric_functions!(f64, u64, reduce_trig_f64, sin_kernel_f64, cos_kernel_f64, sin_f64, cos_f64);

/// `ln(erfc z / t) + z^2` with `t = 2 / (2 + z)` in powers of `(t - 0.575) / 0.425`, for `z` up to 11: the Chebyshev
/// interpolation. Error: 1.4e-8.
const ERFC_EXPONENT: [f64; 11] = [
    -0.569_994_960_630_803_7,
    0.581_034_790_612_157_9,
    0.018_217_858_247_167_9,
    -0.031_169_263_153_740_814,
    -0.001_534_448_957_338_330_5,
    0.004_123_369_232_286_861,
    -0.000_224_995_864_232_695_36,
    -0.000_634_276_398_488_059,
    0.000_139_469_164_139_977_06,
    6.976_294_990_619_382e-5,
    -2.730_395_821_459_949e-5,
];
/// `erf(a) / a` in powers of `a^2` up to 1/2, likewise. Relative error: 8e-10.
const ERF_RATIO: [f64; 6] = [
    1.128_379_166_330_162_6,
    -0.376_126_278_724_771_8,
    0.112_835_331_201_554_71,
    -0.026_843_900_137_657_084,
    0.005_136_527_572_365_847,
    -0.000_693_352_766_530_901_8,
];

/// Returns `erfc |x|`, in f64, to 8 digits: `t e^(P(t) - x^2)`. The square of an f32 is exact in f64.
#[inline(always)]
fn erfc_tail(x: f32) -> f64 {
    let z = f64::from(x.abs());
    // The result is 0 in f32 from 10.1 on.
    let z = if z > 11.0 { 11.0 } else { z };
    let t = 2.0 / (2.0 + z);
    t * exp_f64(horner_f64((t - 0.575) * (1.0 / 0.425), &ERFC_EXPONENT) - z * z)
}

/// Returns the complementary error function of `x`.
#[inline(always)]
pub(crate) fn erfc_f32(x: f32) -> f32 {
    let tail = erfc_tail(x);
    (if x < 0.0 { 2.0 - tail } else { tail }) as f32
}

/// Returns the error function of `x`: by a polynomial for `|x| < 0.7`, where `1 - erfc` would lose digits. -0 stays -0.
#[inline(always)]
pub(crate) fn erf_f32(x: f32) -> f32 {
    let a = f64::from(x.abs());
    let near = a * horner_f64(a * a, &ERF_RATIO);
    let far = 1.0 - erfc_tail(x);
    ((if a < 0.7 { near } else { far }) as f32).copysign(x)
}

#[cfg(test)]
// The exact values contain logarithms of 2 and 10: data, not approximations of named constants.
#[allow(clippy::approx_constant)]
mod tests;
