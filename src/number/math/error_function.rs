//! The error function and its complement: `erf`, `erfc`.

use super::exponential::{exp_parts_f64, exp_sum_f64};
use super::polynomial::{horner_f32, horner_f64};

/// `log2((z + 3) erfc z) + z^2 log2(e)` in powers of `1 - 6 / (z + 3)`, minimax for `z` up to 10.2. Relative error of
/// erfc: 4.2e-10.
const ERFC_EXPONENT: [f64; 12] = [
    0.103_003_272_034_010_25,
    -1.186_648_597_954_452,
    0.304_821_171_810_338_4,
    -0.032_520_379_118_122_86,
    -0.029_015_621_868_279_18,
    0.017_257_314_174_758_252,
    -0.000_134_187_198_393_315_04,
    -0.004_083_939_983_036_447,
    0.001_366_928_737_812_914_4,
    0.000_803_563_513_943_784,
    -0.000_506_324_358_484_539_7,
    -0.000_235_221_599_290_439_24,
];
/// `(2^f - 1) / f`, minimax for `|f|` up to 1/2. Error: 4.7e-11.
const POWER_OF_2_F64: [f64; 7] = [
    0.693_147_180_706_677_4,
    0.240_226_510_667_825_85,
    0.055_504_103_599_372_4,
    0.009_618_038_062_580_615,
    0.001_333_393_885_307_586_3,
    0.000_154_667_856_852_829_32,
    1.519_549_792_922_751e-5,
];

/// Returns `erfc |x|`, in f64, to 9 digits: `2^(P(q) - x^2 log2(e)) / (|x| + 3)`. The square of an f32 is exact in f64.
#[inline(always)]
fn erfc_tail(x: f32) -> f64 {
    // 1.5 * 2^52 + 1023
    const SHIFTER: f64 = 6_755_399_441_056_767.0;
    let z = f64::from(x.abs());
    // The result is 0 in f32 from 10.1 on.
    let z = if z > 10.2 { 10.2 } else { z };
    let t = 1.0 / (z + 3.0);
    let exponent = (z * z).mul_add(-std::f64::consts::LOG2_E, horner_f64(t.mul_add(-6.0, 1.0), &ERFC_EXPONENT));
    let shifted = exponent + SHIFTER;
    let f = exponent - (shifted - SHIFTER);
    let power = f64::from_bits(shifted.to_bits() << 52);
    t * horner_f64(f, &POWER_OF_2_F64).mul_add(f, 1.0) * power
}

/// Returns the complementary error function of `x`.
#[inline(always)]
pub(crate) fn erfc_f32(x: f32) -> f32 {
    let tail = erfc_tail(x);
    (if x < 0.0 { 2.0 - tail } else { tail }) as f32
}

/// `erf(a)/a - 1` in powers of `a^2`, minimax for `a` up to 1. Relative error of erf: 2.3e-9.
const ERF_RATIO_F32: [f32; 7] =
    [0.128_379_17, -0.376_126_26, 0.112_835_854, -0.026_853_815, 0.005_188_330_5, -8.010_202_4e-4, 7.853_85e-5];
/// `log2(erfc a)` in powers of `a - 1`, minimax for `a` from 0.99 to 4. Error of erf: 5.4e-9.
const ERFC_LOG_2: [f32; 9] = [
    -2.668_416_7,
    -3.807_225_5,
    -1.216_346_3,
    -0.059_964_437,
    0.014_496_717,
    -0.002_906_628,
    4.207_921e-4,
    -3.250_193e-5,
    1.878_867_7e-7,
];
/// `(2^f - 1) / f`, minimax for `|f|` up to 1/2. Error: 1.4e-8.
const POWER_OF_2_F32: [f32; 6] =
    [0.693_147_24, 0.240_226_5, 0.055_502_973, 0.009_618_031, 0.001_341_003_1, 0.000_154_697_58];

/// Returns the error function of `x`: by a polynomial for `|x| < 1`, where `1 - erfc` would lose digits, else as
/// `1 - 2^P(|x|)`. -0 stays -0.
#[inline(always)]
pub(crate) fn erf_f32(x: f32) -> f32 {
    // 1.5 * 2^23 + 127
    const SHIFTER: f32 = 12_583_039.0;
    let a = x.abs();
    let a = if a > 4.0 { 4.0 } else { a };
    let near = a.mul_add(horner_f32(a * a, &ERF_RATIO_F32), a);
    let exponent = horner_f32(a - 1.0, &ERFC_LOG_2);
    let shifted = exponent + SHIFTER;
    let f = exponent - (shifted - SHIFTER);
    let power = f32::from_bits(shifted.to_bits() << 23);
    let far = (-power).mul_add(horner_f32(f, &POWER_OF_2_F32).mul_add(f, 1.0), 1.0);
    (if a < 1.0 { near } else { far }).copysign(x)
}

/// `erf(a)/a - 1` in powers of `a^2`, minimax for `a` up to 1. Relative error of erf: 1.3e-17.
const ERF_RATIO_F64: [f64; 13] = [
    0.128_379_167_095_512_6,
    -0.376_126_389_031_837_5,
    0.112_837_916_709_548_58,
    -0.026_866_170_645_072_96,
    0.005_223_977_624_781_37,
    -0.000_854_832_697_876_514_9,
    0.000_120_553_310_375_511_08,
    -1.492_559_351_872_822_6e-5,
    1.646_097_295_415_375_7e-6,
    -1.635_002_619_207_719_3e-7,
    1.465_788_353_091_917_3e-8,
    -1.136_567_067_182_543_3e-9,
    5.945_255_584_220_722e-11,
];
/// What its first coefficient loses by rounding.
const ERF_RATIO_REST: f64 = -1.256_601_008_803_643_2e-17;
/// `(a + 1) e^(a^2) erfc a` in powers of `1 - 2 / (a + 1)`, minimax for `a` from 0.99 to 6. Error of erf: 7.6e-18.
const ERFC_NEAR: [f64; 14] = [
    0.855_167_152_311_614,
    -0.237_680_906_823_979_6,
    -0.095_556_474_983_124_99,
    0.013_908_944_646_471_565,
    0.025_397_333_362_710_783,
    0.009_544_394_379_346_361,
    -0.001_239_664_265_355_241_6,
    -0.003_676_732_200_526_302_4,
    -0.002_180_407_808_804_922,
    -0.000_866_114_473_131_046_5,
    0.001_308_873_219_148_639_9,
    -0.001_211_595_849_529_655_2,
    0.002_215_205_225_622_893,
    -0.000_929_915_156_589_063_9,
];

/// Returns `erf a` for `a` from 0 to 1: `a + a P(a^2)`, with the rounding error of the last step of `P`.
#[inline(always)]
fn erf_near(a: f64, square: f64) -> f64 {
    let [first, rest @ ..] = ERF_RATIO_F64;
    let slope = horner_f64(square, &rest);
    let product = square * slope;
    let ratio = product + first;
    let ratio_rest = (first - (ratio - product)) + (square.mul_add(slope, -product) + ERF_RATIO_REST);
    a + a.mul_add(ratio, a * ratio_rest)
}

/// Returns the error function of `x`: by a polynomial for `|x| < 1`, where `1 - erfc` would lose digits. -0 stays -0.
#[inline(always)]
pub(crate) fn erf_f64(x: f64) -> f64 {
    let a = x.abs();
    let a = if a > 6.0 { 6.0 } else { a };
    let square = a * a;
    let near = erf_near(a, square);
    let t = 1.0 / (a + 1.0);
    let scaled = t * horner_f64(t.mul_add(-2.0, 1.0), &ERFC_NEAR);
    // e^(-a^2), with the rounding error of the square.
    let far = (-scaled).mul_add(exp_sum_f64(-square, -a.mul_add(a, -square)), 1.0);
    (if a < 1.0 { near } else { far }).copysign(x)
}

/// `(a + 3) e^(a^2) erfc a` in powers of `(a - 3) / (a + 3)`, minimax for `a` from 0.44 to 27.3. Relative error: 1.4e-18.
const ERFC_FAR: [f64; 22] = [
    1.074_006_907_088_339_8,
    -0.883_394_453_169_883_6,
    0.590_228_357_104_102_2,
    -0.310_467_261_900_565_23,
    0.119_527_761_287_271_98,
    -0.026_827_234_624_558_296,
    -0.001_212_416_626_780_057_6,
    0.003_034_062_002_342_870_4,
    -0.000_548_309_697_196_964_6,
    -0.000_276_777_853_734_661_06,
    0.000_107_561_530_024_455_43,
    3.039_817_772_501_616_7e-5,
    -1.747_079_563_210_701_6e-5,
    -4.749_141_220_770_088_5e-6,
    2.766_196_463_086_795_3e-6,
    9.982_733_961_297_795e-7,
    -4.098_053_706_195_741_4e-7,
    -2.317_357_406_543_146_8e-7,
    4.869_144_134_796_088_4e-8,
    4.784_218_103_136_456e-8,
    -3.197_581_637_605_647e-9,
    -6.102_030_385_569_817e-9,
];
/// What the first two coefficients lose by rounding.
const ERFC_FAR_REST: [f64; 2] = [-8.939_089_511_182_171e-17, -1.360_779_141_807_049_1e-17];

/// Returns the complementary error function of `x`: `1 - erf x` below 0.45, where it is not small.
///
/// Above, `e^(-a^2) P(q) / (a + 3)` with `q = (a - 3) / (a + 3)`. Each factor is a sum of two numbers, so that its
/// rounding does not show.
#[inline(always)]
pub(crate) fn erfc_f64(x: f64) -> f64 {
    let a = x.abs();
    let a = if a > 28.0 { 28.0 } else { a };
    let square = a * a;
    let erf = erf_near(a, square);
    // 1 / (a + 3) = t (1 + t_rest)
    let sum = a + 3.0;
    let sum_rest = a - (sum - 3.0);
    let t = 1.0 / sum;
    let t_rest = (-t).mul_add(sum_rest, (-t).mul_add(sum, 1.0));
    let difference = a - 3.0;
    let difference_rest = a - (difference + 3.0);
    let q = difference * t;
    let q_rest = q.mul_add(t_rest, difference_rest.mul_add(t, difference.mul_add(t, -q)));
    // The last two steps of P with their rounding errors, and its derivative to a few percent.
    let [first, second, rest @ ..] = ERFC_FAR;
    let [first_rest, second_rest] = ERFC_FAR_REST;
    let higher = horner_f64(q, &rest);
    let slope = q.mul_add(higher, second);
    let slope_rest = q.mul_add(higher, second - slope) + second_rest;
    let p = q.mul_add(slope, first);
    let derivative = q.mul_add(q.mul_add(-0.2, higher), slope);
    let p_rest = derivative.mul_add(q_rest, q.mul_add(slope, first - p)) + q.mul_add(slope_rest, first_rest);
    let product = t * p;
    let product_rest = product.mul_add(t_rest, t.mul_add(p_rest, t.mul_add(p, -product)));
    let (power, power_rest, first, second) = exp_parts_f64(-square, -a.mul_add(a, -square));
    let tail = product.mul_add(power, product.mul_add(power_rest, product_rest * power)) * first * second;
    let far = if x < 0.0 { 2.0 - tail } else { tail };
    let near = 1.0 - erf.copysign(x);
    if a < 0.45 { near } else { far }
}
