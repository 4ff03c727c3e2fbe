//! Powers.

use super::exponential::exp_f64;
use super::logarithm::ln_f64;

/// 1.5 · 2^52: numbers below 2^51 that are added to it are rounded to whole ones.
const SHIFTER: f64 = 6755399441055744.0;
/// From here on every `f32` is a whole number, and even.
const EVEN: f64 = 16777216.0;

/// `x^p`, with the special cases of IEEE 754, as `e^(p ln |x|)` in double precision.
#[inline(always)]
pub(crate) fn pow_f32(x: f32, p: f32) -> f32 {
    let (x, p) = (f64::from(x), f64::from(p));
    let size = x.abs();
    let round = |p: f64| (p + SHIFTER) - SHIFTER;
    let large = p.abs() >= EVEN;
    let whole = large | (round(p) == p);
    let odd = !large & whole & (round(0.5 * p) != 0.5 * p);
    let power = exp_f64(p * ln_f64(size));
    // ln 1 is 0, and 0 times an infinite exponent is NaN.
    let power = if size == 1.0 && !p.is_nan() { 1.0 } else { power };
    let negative = x.is_sign_negative();
    let power = if negative && odd { -power } else { power };
    let power = if x < 0.0 && size < f64::INFINITY && !whole { f64::NAN } else { power };
    (if p == 0.0 || x == 1.0 { 1.0 } else { power }) as f32
}
