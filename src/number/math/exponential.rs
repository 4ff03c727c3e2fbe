//! The exponential function and its kin: `exp`, `exp_m1`, `tanh`, `sigmoid`.

use super::polynomial::{horner_f32, horner_f64};

/// The numbers that differ between the two instances of the macro below.
mod constants_f32 {
    /// Stored bits of the significand.
    pub const MANTISSA_BITS: u32 = 23;
    pub const EXPONENT_BIAS: u32 = 127;
    /// `1.5 * 2^23 + 2 * 127`. Added to `x`, it leaves `round(x) + 254` in the low bits of the sum; the 254 keeps that
    /// number positive, so that it can be halved by a logical shift.
    pub const EXP_SHIFTER: f32 = 12_583_166.0;
    /// ln 2 in two parts: the nearest number, and the rest.
    pub const LN_2_HI: f32 = std::f32::consts::LN_2;
    pub const LN_2_LO: f32 = -1.904_654_2e-9;
    /// `exp` is infinite at and beyond the first, zero at and below the second.
    pub const EXP_MAX: f32 = 89.0;
    pub const EXP_MIN: f32 = -104.0;
    /// `exp_m1` rounds to -1 at and below this.
    pub const EXP_M1_MIN: f32 = -20.0;
    /// `(e^r - 1 - r - r^2/2) / r^3`, minimax over |r| <= ln(2)/2, ascending powers. Relative error of e^r: 6.5e-9.
    pub const EXP_TAIL: [f32; 4] = [0.166_665_23, 0.041_666_49, 0.008_369_158, 0.001_393_365_2];
    /// The same with one coefficient more, for `e^r - 1`. Error: 1.3e-10.
    pub const EXP_M1_TAIL: [f32; 5] = [0.166_666_66, 0.041_666_463, 0.008_333_586, 0.001_393_523_4, 0.000_197_334_16];
    /// `(tanh(h)/h - 1) / h^2` in powers of `h^2`, minimax for |h| <= 0.26. Relative error of tanh: 6.3e-9.
    pub const TANH_TAIL: [f32; 3] = [-0.333_332_12, 0.133_220_43, -0.051_121_715];
    /// `tanh` rounds to 1 at and beyond this.
    pub const TANH_MAX: f32 = 9.02;
    /// The bits of the quotient that `tanh` keeps. With half of them, the remainder has one rounding error less: f64
    /// needs that, and has the time, as it waits for the division.
    pub const TANH_QUOTIENT: u32 = !0;
    /// `sigmoid` rounds to 1 at and beyond this.
    pub const SIGMOID_MAX: f32 = 18.0;
    pub const HALF_OF_BITS: u32 = 0xffff_f000;
    /// Below this `sigmoid` is computed with an exponent that is larger by `LIFT`, and then multiplied by `UNLIFT`.
    pub const LOW: f32 = -48.0;
    pub const LIFT: f32 = 32.0;
    pub const UNLIFT: f32 = 1.0 / 4_294_967_296.0;
}

/// The constants for `f64`. [`constants_f32`] has the comments.
mod constants_f64 {
    pub const MANTISSA_BITS: u32 = 52;
    pub const EXPONENT_BIAS: u64 = 1023;
    /// `1.5 * 2^52 + 2 * 1023`.
    pub const EXP_SHIFTER: f64 = 6_755_399_441_057_790.0;
    pub const LN_2_HI: f64 = std::f64::consts::LN_2;
    pub const LN_2_LO: f64 = 2.319_046_813_846_299_6e-17;
    pub const EXP_MAX: f64 = 710.0;
    pub const EXP_MIN: f64 = -746.0;
    pub const EXP_M1_MIN: f64 = -40.0;
    /// Relative error of e^r: 5.7e-18.
    pub const EXP_TAIL: [f64; 9] = [
        0.166_666_666_666_664_33,
        0.041_666_666_666_603_965,
        0.008_333_333_333_500_281,
        0.001_388_888_892_679_644,
        0.000_198_412_694_656_095_07,
        2.480_150_868_006_071_5e-5,
        2.755_764_142_271_93e-6,
        2.762_518_858_367_719_5e-7,
        2.497_820_976_922_260_2e-8,
    ];
    /// Error: 3.3e-19.
    pub const EXP_M1_TAIL: [f64; 10] = [
        0.166_666_666_666_666_74,
        0.041_666_666_666_666_67,
        0.008_333_333_333_322_207,
        0.001_388_888_888_888_094_4,
        0.000_198_412_698_865_91,
        2.480_158_733_395_308_8e-5,
        2.755_724_233_668_035_7e-6,
        2.755_726_431_433_642e-7,
        2.511_004_989_585_871_6e-8,
        2.091_813_816_945_801e-9,
    ];
    /// Relative error of tanh: 1.4e-17.
    pub const TANH_TAIL: [f64; 7] = [
        -0.333_333_333_333_327_5,
        0.133_333_333_330_481_83,
        -0.053_968_253_558_401_486,
        0.021_869_462_200_322_175,
        -0.008_862_356_058_436_842,
        0.003_576_197_950_104_948_4,
        -0.001_306_229_770_667_672_2,
    ];
    pub const TANH_MAX: f64 = 19.1;
    pub const TANH_QUOTIENT: u64 = HALF_OF_BITS;
    pub const SIGMOID_MAX: f64 = 38.0;
    pub const HALF_OF_BITS: u64 = 0xffff_ffff_fc00_0000;
    pub const LOW: f64 = -96.0;
    pub const LIFT: f64 = 64.0;
    pub const UNLIFT: f64 = 1.0 / 18_446_744_073_709_551_616.0;
}

macro_rules! exponential_functions {
    (
        $float:ident, $bits:ident, $constants:ident, $horner:ident, $clamped:ident, $power_parts:ident, $tanh_near:ident,
        $exp:ident, $exp_m1:ident, $tanh:ident, $sigmoid:ident
    ) => {
        /// Returns `x` limited to the interval from `low` to `high`.
        #[inline(always)]
        fn $clamped(x: $float, low: $float, high: $float) -> $float {
            // Written so that a NaN fails both comparisons and passes through.
            let x = if x > high { high } else { x };
            if x < low { low } else { x }
        }

        /// Returns two powers of 2 whose product is `2^k`, given a number whose low bits hold `k + 2 * EXPONENT_BIAS`.
        ///
        /// `2^k` may be outside the normal range where a multiple of it is not.
        #[inline(always)]
        fn $power_parts(n: $bits) -> ($float, $float) {
            use $constants::*;
            let half = n >> 1;
            ($float::from_bits(half << MANTISSA_BITS), $float::from_bits((n - half) << MANTISSA_BITS))
        }

        /// Returns `e^x`.
        ///
        /// `x = k ln 2 + r` with `k` the nearest integer: `e^x = 2^k e^r` with `|r| <= ln(2)/2` and a minimax polynomial
        /// for `e^r`. The first subtraction of the reduction is exact. Exactly 1 at 0; infinity on overflow, gradual
        /// underflow through the subnormal numbers to 0.
        #[inline(always)]
        pub(crate) fn $exp(x: $float) -> $float {
            use $constants::*;
            let x = $clamped(x, EXP_MIN, EXP_MAX);
            let shifted = x.mul_add(std::$float::consts::LOG2_E, EXP_SHIFTER);
            let k = shifted - EXP_SHIFTER;
            let r = (-k).mul_add(LN_2_LO, (-k).mul_add(LN_2_HI, x));
            let power = $horner(r, &EXP_TAIL).mul_add(r, 0.5).mul_add(r, 1.0).mul_add(r, 1.0);
            // The first product is exact. The second rounds a subnormal result once more, as it must.
            let (first, second) = $power_parts(shifted.to_bits());
            power * first * second
        }

        /// Returns `e^x - 1`, accurate near 0 too.
        ///
        /// With the reduction of `exp` and `e^r - 1 = hi + tail`: `2^k (1 + hi + tail) - 1 = (2^k - 1) + 2^k hi + 2^k
        /// tail`. `hi` is exact, and the rounding error of the first sum is added to the last term. -1 at minus infinity;
        /// -0 stays -0.
        #[inline(always)]
        pub(crate) fn $exp_m1(x: $float) -> $float {
            use $constants::*;
            let clamped = $clamped(x, EXP_M1_MIN, EXP_MAX);
            let shifted = clamped.mul_add(std::$float::consts::LOG2_E, EXP_SHIFTER);
            let k = shifted - EXP_SHIFTER;
            let hi = (-k).mul_add(LN_2_HI, clamped);
            let lo = k * LN_2_LO;
            let r = hi - lo;
            let square = r * r;
            let square_rest = r.mul_add(r, -square);
            let tail = square.mul_add($horner(r, &EXP_M1_TAIL).mul_add(r, 0.5), square_rest.mul_add(0.5, -lo));
            // Sums the halves of the terms and doubles the result: 2^k itself overflows just below the largest
            // argument.
            let half = $float::from_bits((shifted.to_bits() - (EXPONENT_BIAS + 1)) << MANTISSA_BITS);
            let less = half - 0.5;
            let sum = half.mul_add(hi, less);
            // Zero but where `half` is so large that 1/2 is lost.
            let lost = (half - less) - 0.5;
            let error = half.mul_add(hi, less - sum) + lost;
            let doubled = 2.0 * (sum + half.mul_add(tail, error));
            // Halving would cost a subnormal its last bit, and the sum costs -0 its sign.
            if x.abs() < $float::EPSILON / 4.0 { x } else { doubled }
        }

        /// Returns `tanh h` for `|h|` up to 0.26.
        #[inline(always)]
        fn $tanh_near(h: $float) -> $float {
            let z = h * h;
            (h * z).mul_add($horner(z, &$constants::TANH_TAIL), h)
        }

        /// Returns the hyperbolic tangent of `x`.
        ///
        /// `|x| = k ln(2)/2 + h` with an integer `k`. With `m = 2^k` and `t = tanh h`, the addition theorem gives
        /// `tanh |x| = ((m - 1) + (m + 1) t) / ((m + 1) + (m - 1) t)`: one formula for all arguments. `k` is 0 up to
        /// 0.26, where the quotient is `t`. The quotient `q` is corrected by its remainder, which is computed from the
        /// exact numbers `m - 1` and `m + 1` as `((m - 1) - q (m + 1)) + t ((m + 1) - q (m - 1))`. Odd; -0 stays -0.
        #[inline(always)]
        pub(crate) fn $tanh(x: $float) -> $float {
            use $constants::*;
            const SHIFTER: $float = EXP_SHIFTER - EXPONENT_BIAS as $float;
            let a = x.abs();
            let a = if a > TANH_MAX { TANH_MAX } else { a };
            // The 1/4 moves the range of `h` to -0.087 to 0.26: where `k` is 1, `t` is small and its rounding does not
            // show.
            let shifted = a.mul_add(2.0 * std::$float::consts::LOG2_E, -0.25) + SHIFTER;
            let k = shifted - SHIFTER;
            let h = (-k).mul_add(LN_2_LO / 2.0, (-k).mul_add(LN_2_HI / 2.0, a));
            let t = $tanh_near(h);
            let above = $float::from_bits(shifted.to_bits() << MANTISSA_BITS) + 1.0;
            // So the difference of the two is 2 even where `m + 1` is rounded.
            let below = above - 2.0;
            let reciprocal = 1.0 / below.mul_add(t, above);
            let q = $float::from_bits((above.mul_add(t, below) * reciprocal).to_bits() & TANH_QUOTIENT);
            let remainder = t.mul_add((-q).mul_add(below, above), (-q).mul_add(above, below));
            remainder.mul_add(reciprocal, q).copysign(x)
        }

        /// Returns the logistic function `1 / (1 + e^-x)`.
        ///
        /// `x = k ln 2 + 2h`. With `m = 2^k` and `t = tanh h`: `m (1 + t) / ((m + 1) + (m - 1) t)`, corrected by the
        /// remainder as in `tanh`. Relative accuracy holds in the left tail too, down to the subnormal numbers. Exactly
        /// 1/2 at 0.
        #[inline(always)]
        pub(crate) fn $sigmoid(x: $float) -> $float {
            use $constants::*;
            const SHIFTER: $float = EXP_SHIFTER - EXPONENT_BIAS as $float;
            let x = $clamped(x, EXP_MIN, SIGMOID_MAX);
            let shifted = x.mul_add(std::$float::consts::LOG2_E, SHIFTER);
            let k = shifted - SHIFTER;
            let h = (-k).mul_add(LN_2_LO / 2.0, (-k).mul_add(LN_2_HI / 2.0, 0.5 * x));
            let t = $tanh_near(h);
            // 2^k may be below the normal range. There the factor 2^LIFT is too much to begin with; `m` does not count in
            // the denominator then, as it should not.
            let (lift, unlift) = if x < LOW { (LIFT, UNLIFT) } else { (0.0, 1.0) };
            let m = $float::from_bits((shifted + lift).to_bits() << MANTISSA_BITS);
            // `m + 1` in two parts, the first with half of the bits, and `m - 1` likewise: the products with `q` are exact.
            let above = $float::from_bits((m + 1.0).to_bits() & HALF_OF_BITS);
            let below = above - 2.0;
            let rest = m - (above - 1.0);
            let rest = rest.mul_add(t, rest);
            let reciprocal = 1.0 / (below.mul_add(t, above) + rest);
            let q = $float::from_bits((m.mul_add(t, m) * reciprocal).to_bits() & HALF_OF_BITS);
            let remainder = t.mul_add((-q).mul_add(below, m), (-q).mul_add(above, m));
            (-q).mul_add(rest, remainder).mul_add(reciprocal, q) * unlift
        }
    };
}

exponential_functions!(
    f32,
    u32,
    constants_f32,
    horner_f32,
    clamped_f32,
    power_parts_f32,
    tanh_near_f32,
    exp_f32,
    exp_m1_f32,
    tanh_f32,
    sigmoid_f32
);

exponential_functions!(
    f64,
    u64,
    constants_f64,
    horner_f64,
    clamped_f64,
    power_parts_f64,
    tanh_near_f64,
    exp_f64,
    exp_m1_f64,
    tanh_f64,
    sigmoid_f64
);

/// Returns `e^(x + rest)` for `x` from -600 to 0 and a rounding error `rest`.
#[inline(always)]
pub(super) fn exp_sum_f64(x: f64, rest: f64) -> f64 {
    use constants_f64::*;
    const SHIFTER: f64 = EXP_SHIFTER - EXPONENT_BIAS as f64;
    let shifted = x.mul_add(std::f64::consts::LOG2_E, SHIFTER);
    let k = shifted - SHIFTER;
    let r = (-k).mul_add(LN_2_HI, x) + (-k).mul_add(LN_2_LO, rest);
    let power = horner_f64(r, &EXP_TAIL).mul_add(r, 0.5).mul_add(r, 1.0).mul_add(r, 1.0);
    power * f64::from_bits(shifted.to_bits() << MANTISSA_BITS)
}

/// Returns `(p, p_rest, first, second)` with `e^(x + rest) = (p + p_rest) first second`, for `x` from -800 to 0 and a
/// rounding error `rest`. The last two are powers of 2.
#[inline(always)]
pub(super) fn exp_parts_f64(x: f64, rest: f64) -> (f64, f64, f64, f64) {
    use constants_f64::*;
    let shifted = x.mul_add(std::f64::consts::LOG2_E, EXP_SHIFTER);
    let k = shifted - EXP_SHIFTER;
    let hi = (-k).mul_add(LN_2_HI, x);
    let lo = (-k).mul_add(LN_2_LO, rest);
    let r = hi + lo;
    let r_rest = (hi - r) + lo;
    let p = 1.0 + r;
    let tail = (r * r).mul_add(horner_f64(r, &EXP_TAIL).mul_add(r, 0.5), (1.0 - p) + r);
    let (first, second) = power_parts_f64(shifted.to_bits());
    (p, tail + r_rest.mul_add(r, r_rest), first, second)
}
