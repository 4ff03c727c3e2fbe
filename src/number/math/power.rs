//! Powers.

use super::exponential::{exp_f64, exp_parts_f64};
use super::logarithm::{ln_f64, ln_pair_f64};

/// `x^p`, with the special cases of IEEE 754, as `e^(p ln |x|)` in double precision.
#[inline(always)]
pub(crate) fn pow_f32(x: f32, p: f32) -> f32 {
    let (x, p) = (f64::from(x), f64::from(p));
    with_special_cases(x, p, exp_f64(p * ln_f64(x.abs()))) as f32
}

/// `x^p`, with the special cases of IEEE 754, as `e^(p ln |x|)` with the logarithm and its product as sums of two numbers.
#[inline(always)]
pub(crate) fn pow_f64(x: f64, p: f64) -> f64 {
    // Beyond them a power is infinite, or 0.
    const MAX: f64 = 710.0;
    const MIN: f64 = -746.0;
    let (ln, rest) = ln_pair_f64(x.abs());
    let y = p * ln;
    let rest = p.mul_add(ln, -y) + p * rest;
    let inside = y < MAX && y > MIN;
    let rest = if inside { rest } else { 0.0 };
    // A NaN fails both comparisons.
    let y = if y >= MAX { MAX } else { y };
    let y = if y <= MIN { MIN } else { y };
    let (power, more, first, second) = exp_parts_f64(y, rest);
    with_special_cases(x, p, (power + more) * first * second)
}

/// Returns `x^p`, given `|x|^p` where that is neither 0 to the power of 0 nor 1 to an infinite power.
#[inline(always)]
fn with_special_cases(x: f64, p: f64, power: f64) -> f64 {
    /// From here on every number is whole. Below, adding it rounds to a whole number.
    const WHOLE: f64 = 4_503_599_627_370_496.0;
    let is_whole = |p: f64| (p >= WHOLE) | ((p + WHOLE) - WHOLE == p);
    let (size, steps) = (x.abs(), p.abs());
    let whole = is_whole(steps);
    let odd = whole & !is_whole(0.5 * steps);
    let power = if size == 1.0 && !p.is_nan() { 1.0 } else { power };
    let power = if x.is_sign_negative() && odd { -power } else { power };
    let power = if x < 0.0 && size < f64::INFINITY && !whole { f64::NAN } else { power };
    if p == 0.0 || x == 1.0 { 1.0 } else { power }
}
