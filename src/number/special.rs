//! Functions that compute one element at a time: remainders, and the derivatives of the gamma function's logarithm.
//!
//! They are not inlined into loops. The functions of `f32` compute in `f64`.

use std::f64::consts::PI;

/// Returns `a - b floor(a / b)`: the remainder with the sign of `b`.
pub(crate) fn remainder_f64(a: f64, b: f64) -> f64 {
    let rest = a % b; // with the sign of a
    if rest != 0.0 && (rest < 0.0) != (b < 0.0) { rest + b } else { rest }
}

/// Returns `a - b floor(a / b)`: the remainder with the sign of `b`.
pub(crate) fn remainder_f32(a: f32, b: f32) -> f32 {
    let rest = a % b; // with the sign of a
    if rest != 0.0 && (rest < 0.0) != (b < 0.0) { rest + b } else { rest }
}

/// The Bernoulli numbers `B₂, B₄, …, B₂₀`.
const BERNOULLI: [f64; 10] = [
    1.0 / 6.0,
    -1.0 / 30.0,
    1.0 / 42.0,
    -1.0 / 30.0,
    5.0 / 66.0,
    -691.0 / 2730.0,
    7.0 / 6.0,
    -3617.0 / 510.0,
    43867.0 / 798.0,
    -174_611.0 / 330.0,
];

/// Returns the derivative of `ln Γ`.
///
/// For large `x` it is `ln x - 1/(2x) - Σ B₂ₖ / (2k x²ᵏ)` (Abramowitz and Stegun 1964, 6.3.18). Smaller arguments are
/// moved up by `ψ(x) = ψ(x + 1) - 1/x` (6.3.5), negative ones reflected by `ψ(x) = ψ(1 - x) - π cot(π x)` (6.3.7).
pub(crate) fn digamma_f64(x: f64) -> f64 {
    if x == 0.0 {
        return if x.is_sign_negative() { f64::INFINITY } else { f64::NEG_INFINITY };
    }
    if x < 0.0 {
        // The tangent has the period 1, and a difference of neighbours is exact.
        let turn = x - x.round_ties_even();
        return if turn == 0.0 { f64::NAN } else { digamma_f64(1.0 - x) - PI / libm::tan(PI * turn) };
    }
    let (mut shift, mut x) = (0.0, x);
    while x < 12.0 {
        shift += 1.0 / x;
        x += 1.0;
    }
    let square = 1.0 / (x * x);
    let (mut series, mut power) = (0.0, 1.0);
    for (k, bernoulli) in (1..).zip(&BERNOULLI[..8]) {
        power *= square;
        series += bernoulli * power / f64::from(2 * k);
    }
    libm::log(x) - 0.5 / x - series - shift
}

/// Returns the derivative of `ln Γ`.
pub(crate) fn digamma_f32(x: f32) -> f32 {
    digamma_f64(f64::from(x)) as f32
}

/// Returns derivative number `order` of `digamma`: `(-1)^(n+1) n! ζ(n + 1, x)` with `n` the order, an integer from 1 on
/// (Abramowitz and Stegun 1964, 6.4.10).
pub(crate) fn polygamma_f64(x: f64, order: f64) -> f64 {
    let s = order + 1.0;
    let (mut factorial, mut k) = (1.0, 2.0);
    while k <= order {
        factorial *= k;
        k += 1.0;
    }
    let even = |n: f64| n % 2.0 == 0.0;
    let zeta = if x > 0.0 {
        hurwitz_zeta(s, x)
    } else if x == x.floor() {
        // A pole; for odd powers its two sides have opposite signs.
        if even(s) { f64::INFINITY } else { f64::NAN }
    } else {
        // With x = f - m: the terms from f on, and those from f - 1 down to x.
        let f = x - x.floor();
        // Near 0 from below, f is rounded to 1, while the distance to the pole above is exact.
        let below = hurwitz_zeta(s, x.ceil() - x) - hurwitz_zeta(s, 1.0 - x);
        hurwitz_zeta(s, f) + if even(s) { below } else { -below }
    };
    if even(order) { -factorial * zeta } else { factorial * zeta }
}

/// Returns derivative number `order` of `digamma`.
pub(crate) fn polygamma_f32(x: f32, order: f32) -> f32 {
    polygamma_f64(f64::from(x), f64::from(order)) as f32
}

/// Returns `Σ (x + k)^-s` over `k` from 0 on, for `x > 0` and `s > 1`.
///
/// The terms up to some `a = x + n` are added. The others are
/// `a^(1-s) / (s-1) + a^-s / 2 + Σ B₂ⱼ / (2j)! s (s+1) … (s+2j-2) a^(1-s-2j)`, the Euler-Maclaurin formula (Abramowitz and
/// Stegun 1964, 23.1.30).
fn hurwitz_zeta(s: f64, x: f64) -> f64 {
    let (mut sum, mut a) = (0.0, x);
    while a < 10.0 + s {
        sum += libm::pow(a, -s);
        a += 1.0;
    }
    let power = libm::pow(a, -s);
    sum += libm::pow(a, 1.0 - s) / (s - 1.0) + 0.5 * power;
    let mut factor = s * power / a;
    for (j, bernoulli) in (1..).zip(BERNOULLI) {
        let twice = f64::from(2 * j);
        // Here the factor is s (s+1) … (s+2j-2) a^(1-s-2j) / (2j-2)!.
        sum += bernoulli * factor / (twice * (twice - 1.0));
        factor *= (s + twice - 1.0) * (s + twice) / (a * a * twice * (twice - 1.0));
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_near(found: f64, expected: f64) {
        assert!((found - expected).abs() <= 1e-14 * expected.abs().max(1.0), "{found}, expected {expected}");
    }

    #[test]
    fn digamma_and_its_derivatives_have_their_known_values() {
        const EULER: f64 = 0.577_215_664_901_532_9;
        const APERY: f64 = 1.202_056_903_159_594_2;
        assert_near(digamma_f64(1.0), -EULER);
        assert_near(digamma_f64(0.5), -EULER - 2.0 * 2.0_f64.ln());
        assert_near(digamma_f64(-0.5), digamma_f64(0.5) + 2.0);
        assert_near(digamma_f64(1e6), 1e6_f64.ln() - 0.5e-6 - 1e-12 / 12.0);
        assert_near(polygamma_f64(1.0, 1.0), PI * PI / 6.0);
        assert_near(polygamma_f64(0.5, 1.0), PI * PI / 2.0);
        assert_near(polygamma_f64(-0.5, 1.0), PI * PI / 2.0 + 4.0);
        assert_near(polygamma_f64(1.0, 2.0), -2.0 * APERY);
        assert_near(polygamma_f64(-1.5, 2.0), -14.0 * APERY + 16.0 + 16.0 / 27.0);
        assert_near(polygamma_f64(1.0, 3.0), PI.powi(4) / 15.0);
        assert!(digamma_f64(-3.0).is_nan() && digamma_f64(0.0) == f64::NEG_INFINITY);
        assert!(digamma_f64(f64::INFINITY) == f64::INFINITY && digamma_f64(f64::NAN).is_nan());
        assert!(polygamma_f64(f64::INFINITY, 1.0) == 0.0 && polygamma_f64(f64::NAN, 1.0).is_nan());
    }

    #[test]
    fn a_remainder_has_the_sign_of_its_divisor() {
        for (a, b, expected) in
            [(7.0, 3.0, 1.0), (-7.0, 3.0, 2.0), (7.0, -3.0, -2.0), (-7.0, -3.0, -1.0), (6.0, -3.0, 0.0)]
        {
            assert_eq!(remainder_f64(a, b), expected);
            assert_eq!(remainder_f32(a as f32, b as f32), expected as f32);
        }
    }
}
