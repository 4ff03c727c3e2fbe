//! Elementary functions without branches, for loops the compiler turns into vector code.
//!
//! The functions of `std` are calls into the C library, one element at a time. Those here are plain arithmetic on one
//! scalar, always inlined, so that a loop such as
//! `for (o, &x) in out.iter_mut().zip(x) { *o = exp_f32(x) }` becomes SSE2, AVX2 or AVX-512 code, whichever the
//! enclosing function is compiled for.
//!
//! Rules that every function keeps:
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
//! To be inlined they need a caller that is: in a loop run by `pulp`, call them from `#[inline(always)]` functions and
//! closures only. A plain closure is inlined while it is short; beyond that it becomes a call, compiled for SSE2.
//!
//! Polynomials called minimax come from the Remez exchange in 60-digit arithmetic, their coefficients then rounded to
//! the type.

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

/// As [`constants_f32`], where the comments are.
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
        /// `x = k ln 2 + r` with `k` the nearest integer. `hi = x - k LN_2_HI` is exact; what is left of `k ln 2` goes
        /// into `tail`, so that the two roundings that matter are those of the caller's two additions.
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
            // 2^k may lie outside the normal range where e^x does not, so it is applied as two factors. The first
            // product is exact: a result that is subnormal is rounded once more, by the second, as it must be.
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
            // Half of everything is summed, then doubled: 2^k itself overflows just below the largest argument.
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
        /// With `s = f / (2 + f)`: `ln(1 + f) = 2s + s R(s^2)`, and `2s = f - f^2/2 + s f^2/2`, of which the leading
        /// term is exact (the decomposition of fdlibm's `e_log.c`). `R` is minimax.
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
            // `(1 - leading) - half` is what the line above rounded off.
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
/// The subtraction runs in f64, where `k` (17 bits) times the first part of `pi/2` is exact: what survives when `x` is
/// close to a multiple of `pi/2` still has more than 24 good bits. Only the rounding to f32 is an error.
#[inline(always)]
fn reduce_trig_f32(x: f32) -> (f32, u32) {
    const SHIFTER: f32 = 12_582_912.0;
    let shifted = x * std::f32::consts::FRAC_2_PI + SHIFTER;
    let k = f64::from(shifted - SHIFTER);
    let [first, second, _] = FRAC_PI_2_PARTS;
    let r = (f64::from(x) - k * first) - k * second;
    (r as f32, shifted.to_bits())
}

/// As [`reduce_trig_f32`]: Cody and Waite's reduction in three parts, the second subtraction with its error recovered.
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

/// Returns `erfc |x|`, in f64, to 8 digits: `t e^(P(t) - x^2)`, where f64 holds the square of a f32 exactly.
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
// Logarithms of 2 and 10 among the exact values are data, not misspelt constants.
#[allow(clippy::approx_constant)]
mod tests {
    use super::*;
    use std::hint::black_box;

    /// A function under test: both instances, the reference, and the largest error the module's table admits.
    struct Case {
        name: &'static str,
        single: fn(f32) -> f32,
        double: fn(f64) -> f64,
        std: fn(f64) -> f64,
        /// `(x, y, d)`: the exact value is `y + d / 1000` units in the last place of `y`.
        exact: &'static [(f64, f64, i32)],
        bound_f32: f64,
        bound_f64: f64,
        limit_f32: f32,
        limit_f64: f64,
    }

    #[rustfmt::skip]
    const CASES: [Case; 8] = [
        case("exp", exp_f32, exp_f64, f64::exp, EXP, 0.91, 0.90),
        case("exp_m1", exp_m1_f32, exp_m1_f64, f64::exp_m1, EXP_M1, 1.24, 1.21),
        case("ln", ln_f32, ln_f64, f64::ln, LN, 0.84, 0.80),
        case("ln_1p", ln_1p_f32, ln_1p_f64, f64::ln_1p, LN_1P, 0.84, 0.80),
        case("tanh", tanh_f32, tanh_f64, f64::tanh, TANH, 1.33, 1.32),
        case("sigmoid", sigmoid_f32, sigmoid_f64, sigmoid_std, SIGMOID, 2.41, 2.34),
        Case { limit_f32: TRIG_LIMIT_F32, limit_f64: TRIG_LIMIT_F64,
            ..case("sin", sin_f32, sin_f64, f64::sin, SIN, 1.57, 1.48) },
        Case { limit_f32: TRIG_LIMIT_F32, limit_f64: TRIG_LIMIT_F64,
            ..case("cos", cos_f32, cos_f64, f64::cos, COS, 1.57, 1.49) },
    ];

    const fn case(
        name: &'static str,
        single: fn(f32) -> f32,
        double: fn(f64) -> f64,
        std: fn(f64) -> f64,
        exact: &'static [(f64, f64, i32)],
        bound_f32: f64,
        bound_f64: f64,
    ) -> Case {
        let (limit_f32, limit_f64) = (f32::INFINITY, f64::INFINITY);
        Case { name, single, double, std, exact, bound_f32, bound_f64, limit_f32, limit_f64 }
    }

    fn sigmoid_std(x: f64) -> f64 {
        // `1 / (1 + exp(-x))` loses the subnormal end of the left tail.
        if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) }
    }

    /// Distance between floats of `mantissa_bits` stored bits and least exponent `min_exponent`, in the binade of `y`.
    fn ulp(y: f64, mantissa_bits: i32, min_exponent: i32) -> f64 {
        let exponent = ((y.to_bits() >> 52) & 0x7ff) as i32 - 1023;
        // In two factors: the smallest is subnormal, and `powi` reaches it through a reciprocal.
        2f64.powi(exponent.max(min_exponent)) * 2f64.powi(-mantissa_bits)
    }

    #[test]
    fn f32_errors_stay_within_the_stated_bounds() {
        for case in &CASES {
            let (mut largest, mut at) = (0.0, 0.0);
            // A prime step: every binade of both signs, some 4 million arguments; subnormals, infinities and NaN too.
            for bits in (0..=u32::MAX).step_by(1009) {
                let x = f32::from_bits(bits);
                if x.abs() > case.limit_f32 {
                    continue;
                }
                let (got, exact) = ((case.single)(x), (case.std)(f64::from(x)));
                let rounded = exact as f32;
                if rounded.is_nan() || rounded.is_infinite() || rounded == 0.0 {
                    let same = got.to_bits() == rounded.to_bits() || got.is_nan() && rounded.is_nan();
                    assert!(same, "{}_f32({x:e}) = {got:e}, not {rounded:e}", case.name);
                    continue;
                }
                let error = (f64::from(got) - exact).abs() / ulp(exact, 23, -126);
                if error > largest || error.is_nan() {
                    (largest, at) = (error, x);
                }
            }
            assert!(largest <= case.bound_f32, "{}_f32({at:e}) is off by {largest} ulp", case.name);
        }
    }

    #[test]
    fn f64_errors_stay_within_the_stated_bounds() {
        for case in &CASES {
            for &(x, y, thousandths) in case.exact {
                let got = (case.double)(x);
                let error = ((got - y) / ulp(y, 52, -1022) - f64::from(thousandths) / 1000.0).abs();
                assert!(error <= case.bound_f64, "{}_f64({x:e}) = {got:e}, off by {error} ulp", case.name);
            }
        }
    }

    #[test]
    fn error_functions_of_f32_are_rounded_almost_correctly() {
        for (name, f, exact) in
            [("erf", erf_f32 as fn(f32) -> f32, libm::erf as fn(f64) -> f64), ("erfc", erfc_f32, libm::erfc)]
        {
            let mut largest = (0.0, 0.0);
            for bits in (0..=u32::MAX).step_by(1009) {
                let x = f32::from_bits(bits);
                let (got, exact) = (f64::from(f(x)), exact(f64::from(x)));
                if x.is_nan() || exact.abs() < f64::from(f32::MIN_POSITIVE) * 1e-8 {
                    assert!(
                        got == 0.0 && exact.is_sign_negative() == got.is_sign_negative() || got.is_nan() && x.is_nan()
                    );
                    continue;
                }
                let error = (got - exact).abs() / ulp(exact, 23, -126);
                if error > largest.0 || error.is_nan() {
                    largest = (error, x);
                }
            }
            println!("{name}: {largest:?}");
            assert!(largest.0 <= 0.69, "{name}_f32({:e}) is off by {} ulp", largest.1, largest.0);
        }
        assert!(erf_f32(-0.0).is_sign_negative());
        assert_eq!([erfc_f32(f32::INFINITY), erfc_f32(-f32::INFINITY), erf_f32(f32::INFINITY)], [0.0, 2.0, 1.0]);
    }

    /// The exact values are few; `std` is good to one unit, and can be asked everywhere.
    #[test]
    fn f64_values_agree_with_std_over_all_binades() {
        for case in &CASES {
            for i in 0..250_000u64 {
                // Multiples of 2^64 / golden ratio: evenly spread over the bit patterns.
                let x = f64::from_bits(i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                if x.abs() > case.limit_f64 {
                    continue;
                }
                let (got, std) = ((case.double)(x), (case.std)(x));
                if std.is_nan() || std.is_infinite() || std == 0.0 {
                    let same = got.to_bits() == std.to_bits() || got.is_nan() && std.is_nan();
                    assert!(same, "{}_f64({x:e}) = {got:e}, not {std:e}", case.name);
                    continue;
                }
                let error = (got - std).abs() / ulp(std, 52, -1022);
                assert!(error <= 3.0, "{}_f64({x:e}) = {got:e}, std has {std:e}", case.name);
            }
        }
    }

    /// The sweeps above see few arguments near 1; this one is dense where the functions bend.
    #[test]
    fn f64_values_agree_with_std_on_a_fine_grid() {
        for case in &CASES {
            for i in -60_000..60_000 {
                let x = f64::from(i) * 1.234_567_891e-4 + 1e-9;
                let (got, std) = ((case.double)(x), (case.std)(x));
                let error = (got - std).abs() / ulp(std, 52, -1022);
                let both_nan = got.is_nan() && std.is_nan();
                assert!(error <= 3.0 || both_nan, "{}_f64({x:e}) = {got:e}, std has {std:e}", case.name);
            }
        }
    }

    macro_rules! special_value_tests {
        (
            $test:ident, $float:ident, $exp:ident, $exp_m1:ident, $ln:ident, $ln_1p:ident, $tanh:ident,
            $sigmoid:ident, $sin:ident, $cos:ident
        ) => {
            #[test]
            fn $test() {
                const INFINITY: $float = $float::INFINITY;
                const TINY: $float = $float::MIN_POSITIVE;
                let smallest = $float::from_bits(1);
                let same = |got: $float, want: $float| assert_eq!(got.to_bits(), want.to_bits(), "{got:e} {want:e}");
                for f in [$exp, $exp_m1, $ln, $ln_1p, $tanh, $sigmoid, $sin, $cos] {
                    assert!(f($float::NAN).is_nan());
                    assert!(f(-$float::NAN).is_nan());
                }
                for f in [$exp_m1, $ln_1p, $tanh, $sin] {
                    for x in [0.0, smallest, 3.0 * smallest, TINY, 1.5 * TINY] {
                        same(f(x), x);
                        same(f(-x), -x);
                    }
                }

                same($exp(0.0), 1.0);
                same($exp(-0.0), 1.0);
                same($exp(INFINITY), INFINITY);
                same($exp(-INFINITY), 0.0);
                same($exp($float::MAX), INFINITY);
                same($exp($float::MIN), 0.0);
                assert!($exp(TINY.ln() - 1.0) > 0.0 && $exp(TINY.ln() - 1.0) < TINY);

                same($exp_m1(INFINITY), INFINITY);
                same($exp_m1(-INFINITY), -1.0);
                // The argument just below overflow, where 2^k alone would overflow.
                assert!($exp($float::MAX.ln() * (1.0 - $float::EPSILON)).is_finite());
                assert!($exp_m1($float::MAX.ln() * (1.0 - $float::EPSILON)).is_finite());

                same($ln(1.0), 0.0);
                same($ln(0.0), -INFINITY);
                same($ln(-0.0), -INFINITY);
                same($ln(INFINITY), INFINITY);
                for x in [-smallest, -1.0, -INFINITY] {
                    assert!($ln(x).is_nan());
                }
                same($ln(smallest), (smallest as f64).ln() as $float);

                same($ln_1p(-1.0), -INFINITY);
                same($ln_1p(INFINITY), INFINITY);
                for x in [-1.0 - $float::EPSILON, -2.0, -INFINITY] {
                    assert!($ln_1p(x).is_nan());
                }

                for x in [20.0, 1e30, $float::MAX, INFINITY] {
                    same($tanh(x), 1.0);
                    same($tanh(-x), -1.0);
                }

                same($sigmoid(0.0), 0.5);
                same($sigmoid(-0.0), 0.5);
                same($sigmoid(INFINITY), 1.0);
                same($sigmoid(-INFINITY), 0.0);

                same($cos(0.0), 1.0);
                same($cos(smallest), 1.0);
            }
        };
    }

    #[rustfmt::skip]
    special_value_tests!(
        special_values_f32, f32, exp_f32, exp_m1_f32, ln_f32, ln_1p_f32, tanh_f32, sigmoid_f32, sin_f32, cos_f32
    );
    #[rustfmt::skip]
    special_value_tests!(
        special_values_f64, f64, exp_f64, exp_m1_f64, ln_f64, ln_1p_f64, tanh_f64, sigmoid_f64, sin_f64, cos_f64
    );

    #[test]
    fn odd_functions_are_odd_and_bounded_ones_bounded() {
        for bits in (0..1 << 31).step_by(4001) {
            let x = f32::from_bits(bits);
            if x.is_nan() {
                continue;
            }
            assert_eq!(tanh_f32(-x).to_bits(), (-tanh_f32(x)).to_bits(), "tanh_f32({x:e})");
            assert!(tanh_f32(x) <= 1.0 && exp_m1_f32(-x) >= -1.0, "{x:e}");
            assert!((0.0..=1.0).contains(&sigmoid_f32(x)) && (0.0..=1.0).contains(&sigmoid_f32(-x)), "{x:e}");
            let x = f64::from(x);
            assert_eq!(tanh_f64(-x).to_bits(), (-tanh_f64(x)).to_bits(), "tanh_f64({x:e})");
            assert!(tanh_f64(x) <= 1.0 && exp_m1_f64(-x) >= -1.0, "{x:e}");
        }
        for i in 0..100_000 {
            let x = f64::from(i) * 0.731;
            assert_eq!(sin_f64(-x).to_bits(), (-sin_f64(x)).to_bits(), "sin_f64({x:e})");
            assert_eq!(cos_f64(-x).to_bits(), cos_f64(x).to_bits(), "cos_f64({x:e})");
            assert!(sin_f64(x).abs() <= 1.0 && cos_f64(x).abs() <= 1.0, "{x:e}");
            let x = x as f32;
            assert_eq!(sin_f32(-x).to_bits(), (-sin_f32(x)).to_bits(), "sin_f32({x:e})");
            assert_eq!(cos_f32(-x).to_bits(), cos_f32(x).to_bits(), "cos_f32({x:e})");
            assert!(sin_f32(x).abs() <= 1.0 && cos_f32(x).abs() <= 1.0, "{x:e}");
        }
    }

    /// Between neighbouring floats an error near one unit may reverse the order; a few units apart it must not.
    #[test]
    fn monotone_functions_are_monotone_on_a_grid() {
        let increasing: [fn(f64) -> f64; 4] = [exp_f64, exp_m1_f64, tanh_f64, sigmoid_f64];
        for f in increasing {
            // The pieces of `tanh` meet at 0.625, and the exponents change at odd multiples of ln(2)/2.
            for edge in [0.625, 0.312_5, 0.346_573_590_279_972_65, 1.039_720_770_839_918] {
                for i in -1000..1000 {
                    let x = |i: i32| edge + f64::from(i) * 8.0 * f64::EPSILON;
                    assert!(f(x(i)) <= f(x(i + 1)), "at {:e}", x(i));
                    assert!(f(-x(i)) >= f(-x(i + 1)), "at {:e}", -x(i));
                }
            }
        }
    }

    /// The compiler vectorises such loops in optimised builds only; there this compares vector code with scalar code.
    #[test]
    fn bits_in_a_dispatched_loop_equal_those_of_scalar_calls() {
        let x32: Vec<f32> = (0..4099u32).map(|i| f32::from_bits(i.wrapping_mul(0x9e37_79b9))).collect();
        let x64: Vec<f64> = (0..4099u64).map(|i| f64::from_bits(i.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
        macro_rules! compare {
            ($x:expr, $($f:ident)*) => {$(
                let mut looped = $x.clone();
                pulp::Arch::new().dispatch(#[inline(always)] || {
                    for (o, &x) in looped.iter_mut().zip(&$x) {
                        *o = $f(x);
                    }
                });
                for (&x, &y) in $x.iter().zip(&looped) {
                    let scalar = $f(black_box(x));
                    let same = y.to_bits() == scalar.to_bits() || y.is_nan() && scalar.is_nan();
                    assert!(same, "{}({x:e}) = {y:e} in a loop, {scalar:e} alone", stringify!($f));
                }
            )*};
        }
        compare!(x32, exp_f32 exp_m1_f32 ln_f32 ln_1p_f32 tanh_f32 sigmoid_f32 sin_f32 cos_f32);
        compare!(x64, exp_f64 exp_m1_f64 ln_f64 ln_1p_f64 tanh_f64 sigmoid_f64 sin_f64 cos_f64);
    }

    // Values of the eight functions in 400-digit arithmetic (mpmath): the arguments are the worst found in the sweep
    // described at the top, arguments spread over the binades, the edges of the ranges, and for sin and cos some that
    // need every part of the reduction.
    #[rustfmt::skip]
    const EXP: &[(f64, f64, i32)] = &[
        (-740.1116283887042, 3.75e-322, -174), (-720.4686728205887, 1.2718356957e-313, 150),
        (-708.3513066218466, 2.3277497312217236e-308, 467), (-671.8188681180605, 1.7091207144661832e-292, -340),
        (-600.321529202584, 1.9216420768103603e-261, -359), (-410.67914835380265, 4.40871512500061e-179, 152),
        (-343.3931576702739, 7.349308879715208e-150, -225), (-334.38574734570915, 5.999500593945818e-146, -345),
        (-300.10970667507377, 4.613286488053605e-131, 189), (-100.00579989247747, 3.698562383919893e-44, -62),
        (-30.01522307199568, 9.216249996306451e-14, -310), (-10.00037495658442, 4.5382909950932834e-05, -498),
        (-3.0013009370509875, 0.04972234063844382, -215), (-1.0000698554235745, 0.36785374369481944, 110),
        (-0.3500317495546703, 0.7046657165408545, -337), (-6.449e-06, 0.9999935510207948, -316),
        (-1.336e-14, 0.9999999999999867, -336), (1.196e-16, 1.0000000000000002, -461),
        (1.532e-10, 1.0000000001532, 463), (0.3501485817161999, 1.4192784117498478, -394),
        (1.000826852124672, 2.7205303750440164, -295), (2.000247603922299, 7.390885884724556, -328),
        (5.001116194823036, 148.57890959014642, -461), (20.01254866444811, 491291730.168629, 14),
        (50.04738544712285, 5.436298977126574e+21, -384), (169.52538282171759, 4.206668621535799e+73, -211),
        (200.1154205897235, 8.110038312608391e+86, -187), (333.8055168997075, 9.330265850061654e+144, -237),
        (349.0113091356866, 3.747017137970893e+151, 101), (450.21236841596533, 3.347705822488247e+195, 117),
        (500.19834023732534, 1.7115083497944548e+217, -362), (709.6921648698655, 1.6420676791654791e+308, 6),
        (709.7330597284345, 1.7106118033583507e+308, 221),
    ];
    #[rustfmt::skip]
    const EXP_M1: &[(f64, f64, i32)] = &[
        (-700.2159372768714, -1.0, 0), (-38.03101280164656, -1.0, 137),
        (-37.00668687605718, -0.9999999999999999, -237), (-30.017448004909873, -0.9999999999999081, 281),
        (-10.006389134689261, -0.9999548892118377, -192), (-3.001117192628177, -0.9502685223193602, -137),
        (-1.9465841719350494, -0.8572391136824774, 9), (-1.6012012007083396, -0.7983458546475334, 1),
        (-1.0005477444657096, -0.6323220075802516, -303), (-0.7000439522824813, -0.5034365217864932, -491),
        (-0.4116479667443859, -0.33744252273182357, 154), (-0.4098141926003533, -0.3362264272796584, 202),
        (-0.39828606421718543, -0.3285300833307961, 170), (-0.3931564512037579, -0.3250768532130964, 171),
        (-0.3753601144783875, -0.31295817946983545, 196), (-0.35002086040948815, -0.2953266102100757, 8),
        (-1.361e-07, -1.3609999073839544e-07, 363), (-1.686e-75, -1.686e-75, 0), (-1.598e-122, -1.598e-122, 0),
        (-1.004e-165, -1.004e-165, 0), (-1.488e-201, -1.488e-201, 0), (-1.236e-257, -1.236e-257, 0),
        (6.39e-279, 6.39e-279, 0), (1.018e-243, 1.018e-243, 0), (4.059e-198, 4.059e-198, 0), (2.32e-132, 2.32e-132, 0),
        (3.286e-89, 3.286e-89, 0), (6.552e-35, 6.552e-35, 0), (0.34007002596235864, 0.40504597681544224, -92),
        (0.3502381399906136, 0.4194055255672788, -138), (0.38775208509349657, 0.4736643956265059, 37),
        (0.6902950386909118, 0.9943038432469, -328), (1.0003141471703767, 1.7191359031492917, 288),
        (2.001171123727015, 6.3977146669859755, -469), (5.002265921881854, 147.7498330216908, 157),
        (20.00599533993727, 488082661.54682004, 464), (50.039718974076116, 5.394781088780729e+21, 162),
        (200.13979888674592, 8.310176841927814e+86, -329), (500.1220482553611, 1.5857905863972752e+217, 87),
        (709.4072664105735, 1.234983696042032e+308, 55),
    ];
    #[rustfmt::skip]
    const LN: &[(f64, f64, i32)] = &[
        (5.05e-321, -737.5105551506176, 64), (2.006e-314, -722.3155765106754, -395),
        (3.334e-312, -717.202376229813, -61), (5.873e-282, -647.5586306477805, 405),
        (2.417e-247, -567.8559908678079, -173), (2.118e-209, -480.4898121885763, -427),
        (1.159e-175, -402.80483370960036, -366), (2.182e-122, -280.1351394578627, -36),
        (7.417e-80, -182.20303277676922, -487), (1.79e-59, -135.27030486679604, 248),
        (1.175e-13, -29.772338061326472, 209), (0.5, -0.6931471805599453, -209),
        (0.6329991449211358, -0.4572862076743616, -249), (0.6335940946614507, -0.45634675881978276, -224),
        (0.7071, -0.346583180371942, 417), (0.70711, -0.3465690382006941, 65), (0.9, -0.10536051565782628, 347),
        (0.999, -0.0010005003335835344, -118), (0.9999999999999999, -1.1102230246251565e-16, -250),
        (1.0000000000000002, 2.2204460492503128e-16, 0), (1.001, 0.0009995003330834232, -313),
        (1.1, 0.09531017980432493, 427), (1.280501012245741, 0.2472514171653233, -225),
        (1.4024098737352344, 0.33819209519853005, 209), (1.4054169949427084, 0.34033405230474406, 217),
        (1.408871917966401, 0.34278932599286754, 210), (1.4142, 0.3465640001880033, -165),
        (1.41422, 0.34657814235925116, 483), (1.6008616130258297, 0.4705419924434033, -251),
        (2.0, 0.6931471805599453, 209), (2.5690714115234337, 0.9435445151425089, 251), (216.7, 5.378513908542313, 61),
        (3.217e+65, 150.83648029286985, 277), (8.212e+101, 234.6666908915553, -136),
        (5.422e+153, 353.98598397916544, 422), (4.407e+185, 427.4614363897583, -307),
        (2.864e+203, 468.4769931268897, -144), (7.128e+245, 566.0973784737097, 165),
        (1.75e+295, 679.8222182211789, -9),
    ];
    #[rustfmt::skip]
    const LN_1P: &[(f64, f64, i32)] = &[
        (-0.9999999999999999, -36.7368005696771, -95), (-0.999, -6.907755278982136, -267),
        (-0.9, -2.302585092994046, -11), (-0.5, -0.6931471805599453, -209),
        (-0.3732972880941072, -0.46728299448164096, -243), (-0.36640590533854933, -0.45634675881978276, -224),
        (-0.2929, -0.3465831803719419, -169), (-0.29288, -0.3465548962294445, 398),
        (-1.886e-15, -1.886000000000002e-15, 491), (-9.182e-55, -9.182e-55, 0), (-3.858e-120, -3.858e-120, 0),
        (-5.311e-157, -5.311e-157, 0), (-4.652e-223, -4.652e-223, 0), (-2.634e-264, -2.634e-264, 0),
        (3.649e-300, 3.649e-300, 0), (1.048e-246, 1.048e-246, 0), (1.367e-199, 1.367e-199, 0),
        (5.281e-148, 5.281e-148, 0), (1.187e-91, 1.187e-91, 0), (1.494e-49, 1.494e-49, 0),
        (0.280501012245741, 0.2472514171653233, -225), (0.4012853497631603, 0.3373899223924775, 254),
        (0.4024098737352344, 0.33819209519853005, 209), (0.40541699494270844, 0.34033405230474406, 217),
        (0.4088719179664011, 0.34278932599286754, 210), (0.4142, 0.3465640001880034, 249),
        (0.41422, 0.34657814235925116, -224), (0.571511384037497, 0.4520378212874699, 253),
        (1.0, 0.6931471805599453, 209), (1.424e+21, 48.707756765864744, -72), (3.238e+72, 166.96108255082675, -445),
        (3.486e+108, 249.92794499045476, 44), (5.8e+148, 342.54045168067114, -89), (5.239e+164, 379.2800858914496, 24),
        (3.083e+208, 480.0636024916655, 169), (6.497e+244, 563.7021032224455, -27),
        (3.479e+303, 698.9300280733656, 119),
    ];
    #[rustfmt::skip]
    const TANH: &[(f64, f64, i32)] = &[
        (-18.90642701402719, -0.9999999999999999, -318), (-8.000538780926744, -0.9999997751720724, -401),
        (-2.0002070741874207, -0.9640422071178283, -74), (-0.6309799257245841, -0.558726601581773, -286),
        (-0.6291113365923358, -0.557439998282354, 227), (-1.566e-12, -1.566e-12, 0), (-4.884e-66, -4.884e-66, 0),
        (-9.193e-120, -9.193e-120, 0), (-4.645e-164, -4.645e-164, 0), (-3.385e-220, -3.385e-220, 0),
        (-4.755e-272, -4.755e-272, 0), (7.302e-277, 7.302e-277, 0), (1.675e-246, 1.675e-246, 0),
        (3.024e-195, 3.024e-195, 0), (1.51e-136, 1.51e-136, 0), (2.725e-101, 2.725e-101, 0), (2.329e-42, 2.329e-42, 0),
        (0.1000953097925525, 0.09976235674108655, -41), (0.20013809873142718, 0.19750803542339943, 254),
        (0.3001546474299212, 0.29145412965417944, 445), (0.4002470370997637, 0.38016031693701896, 283),
        (0.5003381000412247, 0.4623830137229162, 92), (0.6000323957359343, 0.5370726186822649, -430),
        (0.6205577104662359, 0.5515162194955827, 289), (0.6254874809316913, 0.5549371722221611, 285),
        (0.6305509433060048, 0.5584314662067864, 72), (0.6316024821307535, 0.5591546622318738, -278),
        (0.6330609390719149, 0.5601563093130654, 316), (0.6339892152343154, 0.5607929842972904, -74),
        (0.6490551424142192, 0.5710335505789536, 248), (0.6921826636937056, 0.5993823519579654, -112),
        (0.6936324868351744, 0.6003105055775865, -16), (0.7005585111848376, 0.6047221666179629, -266),
        (1.0003923789068914, 0.7617588957906167, 324), (1.5005984682484803, 0.9052563422657722, 303),
        (3.001902868697057, 0.9950734919572616, 490), (5.000311239108094, 0.9999092607608133, -279),
        (12.002505158225354, 0.9999999999248746, 52), (18.002921457379895, 0.9999999999999996, -154),
        (19.000998936473916, 0.9999999999999999, 436), (19.100004455684317, 1.0, -231), (25.003781623306985, 1.0, 0),
        (300.0304393104068, 1.0, 0),
    ];
    #[rustfmt::skip]
    const SIGMOID: &[(f64, f64, i32)] = &[
        (-740.0188706561329, 4.1e-322, 196), (-720.6295193117091, 1.08286986093e-313, -467),
        (-708.7349450640505, 1.586076851337886e-308, 285), (-600.0891302911986, 2.424387657780429e-261, 223),
        (-300.07567732696714, 4.772975262698534e-131, 447), (-100.03473895460537, 3.593063341559832e-44, 83),
        (-30.010924903185852, 9.255948248361414e-14, -94), (-10.001228422307623, 4.534213771403396e-05, 384),
        (-6.931137793072814, 0.0009759353583277593, 22), (-6.930583120953308, 0.0009764763038811138, 152),
        (-4.844942789661651, 0.00780664437145524, -331), (-4.156065989383381, 0.015427346833154217, 12),
        (-4.149479090194433, 0.015527717512898312, 197), (-4.146587216701555, 0.015571986439284018, -284),
        (-3.002546810779454, 0.04731094929933998, -403), (-2.7510029165309717, 0.060030034198154704, 81),
        (-1.992013133061434, 0.12004404551934238, -41), (-1.0009931027217047, 0.2687462103340988, 394),
        (-0.3501630963107059, 0.413342871210995, -274), (-0.003204, 0.49919900068522916, 173),
        (-1.66e-09, 0.499999999585, -381), (-6.91e-16, 0.49999999999999983, -112), (1.027e-17, 0.5, 23),
        (6.274e-14, 0.5000000000000157, 278), (5.653e-08, 0.5000000141325, 468),
        (0.35016934212974565, 0.5866586433402297, -194), (1.0000858846615561, 0.7310754642442542, -168),
        (2.0002043752334964, 0.8808185343964839, -448), (5.001713179191215, 0.9933185287680364, 140),
        (20.00529513783434, 0.9999999979497316, 260), (36.02983879361237, 0.9999999999999998, -28),
        (38.0061346672, 1.0, -141), (50.00115478605226, 1.0, 0),
    ];
    #[rustfmt::skip]
    const SIN: &[(f64, f64, i32)] = &[
        (-1000692.5219417003, -0.8489492007540146, 350), (-872231.6592033354, 0.12481297982293706, -459),
        (-853755.5729038378, -0.4838451343792243, 291), (-471693.91753488337, -0.48943205888316726, 424),
        (-300399.604197375, -0.49223989507596366, 199), (-55429.74804977584, 0.49055815884428905, 343),
        (-1000.0279370754222, -0.8422660630041539, 430), (-6.283185307179586, 2.4492935982947064e-16, -121),
        (-3.202367593665203, 0.06073753399855777, 346), (-1.5014773890758866, -0.9975984043298164, -388),
        (-3.393e-19, -3.393e-19, 0), (-1.313e-107, -1.313e-107, 0), (-7.659e-179, -7.659e-179, 0),
        (-4.383e-231, -4.383e-231, 0), (3.728e-264, 3.728e-264, 0), (5.893e-200, 5.893e-200, 0),
        (1.605e-137, 1.605e-137, 0), (1.262e-47, 1.262e-47, 0), (0.30023371646740143, 0.2957434764575677, 6),
        (0.7802571386961372, 0.7034621993281003, 289), (0.7901762029217516, 0.7104772809907094, -176),
        (1.0008115112467737, 0.8419091690820862, -160), (1.5707963267948966, 1.0, 0),
        (1.5813471535020198, 0.999944340544235, -148), (2.0016121571695713, 0.9086253513553436, -389),
        (3.1025368321243088, 0.03904589320970536, -199), (3.141592653589793, 1.2246467991473532e-16, -121),
        (4.701065675603148, -0.999935892069395, 364), (6.203209360090311, -0.07989071796360657, -143),
        (10.003555625433549, -0.5470010897901467, -25), (15.191768946046663, 0.493573907171665, -288),
        (100.00289801507414, -0.503864505164899, -249), (10002.79418539049, -0.03681531795315827, 409),
        (100025.91743632678, -0.6808618212317146, 37), (314159.2653589793, -3.3960653996302193e-11, 1),
        (376799.6065983628, -0.12499169109265618, 447), (523598.25199952326, 1.0, 0),
        (621758.3784408988, -0.4853962770522295, 333), (818652.439098584, -0.49467678632340906, -245),
        (824595.9401808612, -0.12491739441256353, 474), (970350.3430471388, 0.33060783353824547, 330),
        (1040994.775679395, 0.22254237265433024, 229), (1048574.0923776457, -1.0, 0),
    ];
    #[rustfmt::skip]
    const COS: &[(f64, f64, i32)] = &[
        (-1000789.1354310203, -0.9717853084870205, 130), (-549239.806055495, 0.12485593449712139, 236),
        (-353069.58642681735, 0.12492952725798424, -487), (-165154.97144944756, 0.12481968683755658, 358),
        (-95336.46666980605, -0.12488075397912927, 471), (-78277.99933452928, -0.4846660677318565, 310),
        (-4107.380016008159, -0.24970787404152736, 87), (-1012.9121750273276, 0.24881419607552224, 390),
        (-1000.7501404598305, -0.1522854575737425, -33), (-6.283185307179586, 1.0, 0),
        (-3.202558859983519, -0.9981421364003509, 37), (-1.5013504625068261, 0.06939005799356292, 342),
        (-1.422e-40, 1.0, 0), (-1.233e-103, 1.0, 0), (-3.375e-204, 1.0, 0), (1.936e-278, 1.0, 0), (8.015e-152, 1.0, 0),
        (3.194e-83, 1.0, 0), (0.3000680537480192, 0.9553163756557118, 431),
        (0.7801534308074671, 0.7108056249157255, -194), (0.7901614549569882, 0.7037306164218744, 190),
        (1.0006240663974377, 0.5397770669234297, -422), (1.5707963267948966, 6.123233995736766e-17, -121),
        (1.5813278881331014, -0.010531366656730832, -429), (2.0009589468525233, -0.4170186129790189, 119),
        (3.1020242319328073, -0.9992172721355911, 217), (3.141592653589793, -1.0, 0),
        (4.700398458886317, -0.011990234182351237, -412), (4.71238898038469, -1.8369701987210297e-16, -318),
        (6.2040956310312705, 0.9968740415250592, 16), (10.009097771375517, -0.83408749315962, 4),
        (29.324521970598724, -0.497407886939637, -162), (100.07823028840981, 0.8992542687233536, 65),
        (10004.780327445938, -0.36954758137103355, -486), (100017.85217183377, -0.5121239593163422, 372),
        (324694.0781594587, -0.4952854066792722, 447), (523598.25199952326, 1.6941534667660546e-11, -367),
        (555517.3391218919, -0.4844740920404537, -373), (1040345.8178878593, 0.42894995228653604, -338),
        (1048574.0923776457, -1.1837114658485184e-11, -165),
    ];
}
