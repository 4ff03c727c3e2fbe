//! Elementary functions without branches, which compilers turn into vector instructions.
//!
//! They use additions, multiplications, divisions, selections and integer operations on the bits of a number, in one
//! fixed order and without fused multiply-add: the same bits on every CPU, whatever the width of its vectors. Rounding to
//! a whole number is done by adding and subtracting a large one, since the oldest instruction set has nothing else.
//!
//! Errors were measured over all binades against wider arithmetic; the tests below hold the bounds.

macro_rules! functions {
    (
        $T:ident, $bits:ident, $int:ident, mantissa $mantissa:literal, bias $bias:literal, magic $magic:literal,
        ln2 $ln2_hi:literal + $ln2_lo:literal, exp from $exp_min:literal to $exp_max:literal, tanh until $tanh_max:literal,
        exp_m1 [$($exp_m1:expr),+],
        ln2_short $ln_hi:literal + $ln_lo:literal, sqrt_half $sqrt_half:literal, tiny $tiny:literal scaled by $scale:literal is $scale_log:literal,
        ln [$($ln:literal),+]
    ) => {
        /// The functions on one number type.
        pub(crate) mod $T {
            /// Adding it leaves no room for a fraction: the sum is rounded to a whole number, found in its lowest bits.
            const MAGIC: $T = $magic;

            /// Evaluates a polynomial by Horner's rule, the highest coefficient first.
            #[inline(always)]
            fn polynomial(x: $T, coefficients: &[$T]) -> $T {
                let mut sum = 0.0;
                for &coefficient in coefficients {
                    sum = sum * x + coefficient;
                }
                sum
            }

            /// Returns `2^n` for `n` within the exponents of normal numbers.
            #[inline(always)]
            fn power_of_two(n: $int) -> $T {
                $T::from_bits((n.wrapping_add($bias) as $bits) << $mantissa)
            }

            /// Returns `n` and `e^r - 1` for `x = n ln 2 + r`, `|r| <= ln 2 / 2`: Cody and Waite's reduction, `ln 2` in two
            /// parts, and the Taylor series, cut where it falls below a half unit in the last place.
            #[inline(always)]
            fn reduced(x: $T) -> ($int, $T) {
                let sum = x * std::$T::consts::LOG2_E + MAGIC;
                let n = (sum.to_bits() as $int).wrapping_sub(MAGIC.to_bits() as $int);
                let whole = sum - MAGIC;
                let r = (x - whole * $ln2_hi) - whole * $ln2_lo;
                (n, r + r * r * polynomial(r, &[$($exp_m1),+]))
            }

            /// Returns `e^x`, at most 1.5 units in the last place off; infinity and 0 beyond the range.
            #[inline(always)]
            pub(crate) fn exp(x: $T) -> $T {
                // NaN compares false and passes.
                let x = if x > $exp_max { $exp_max } else { x };
                let x = if x < $exp_min { $exp_min } else { x };
                let (n, p) = reduced(x);
                // In two factors, because 2^n alone may be out of range where the result is not. Only the last
                // multiplication rounds.
                let half = n >> 1;
                (1.0 + p) * power_of_two(half) * power_of_two(n.wrapping_sub(half))
            }

            /// Returns the hyperbolic tangent, at most 3 units in the last place off, with the sign of `x`, never beyond 1.
            ///
            /// `t / (t + 2)` with `t = e^(2|x|) - 1`, which is as accurate near 0 as `t` is.
            #[inline(always)]
            pub(crate) fn tanh(x: $T) -> $T {
                let a = x.abs();
                let a = if a > $tanh_max { $tanh_max } else { a };
                let (n, p) = reduced(a + a);
                let scale = power_of_two(n);
                let t = scale * p + (scale - 1.0);
                (t / (t + 2.0)).copysign(x)
            }

            /// Returns `1 / (1 + e^-x)`, at most 3 units in the last place off, in the far left tail too.
            #[inline(always)]
            pub(crate) fn sigmoid(x: $T) -> $T {
                let e = exp(-x.abs());
                let numerator = if x < 0.0 { e } else { 1.0 };
                numerator / (1.0 + e)
            }

            /// Returns the natural logarithm, at most 1.5 units in the last place off; as in IEEE at 0, below and at infinity.
            ///
            /// `x = 2^e m` with `m` between `√½` and `√2`, and `ln m` by the series in `s = (m - 1) / (m + 1)` with the
            /// coefficients of fdlibm's `e_log.c`.
            #[inline(always)]
            pub(crate) fn ln(x: $T) -> $T {
                let subnormal = x < $tiny;
                let scaled = if subnormal { x * $scale } else { x };
                let shifted = (scaled.to_bits() as $int).wrapping_sub($sqrt_half);
                let e = shifted >> $mantissa;
                let m = $T::from_bits(((shifted & ((1 << $mantissa) - 1)) + $sqrt_half) as $bits);
                // The whole number e as a fraction: into the lowest bits of the magic number.
                let e = $T::from_bits(MAGIC.to_bits().wrapping_add(e as $bits)) - MAGIC;
                let e = if subnormal { e - $scale_log } else { e };
                let f = m - 1.0;
                let s = f / (2.0 + f);
                let z = s * s;
                let r = z * polynomial(z, &[$($ln),+]);
                let half_square = 0.5 * f * f;
                let y = (s * (half_square + r) + e * $ln_lo - half_square) + f + e * $ln_hi;
                let y = if x == 0.0 { $T::NEG_INFINITY } else { y };
                let y = if x < 0.0 { $T::NAN } else { y };
                // Infinity and NaN are their own logarithms.
                if x < $T::INFINITY { y } else { x }
            }
        }
    };
}

functions! {
    f32, u32, i32, mantissa 23, bias 127, magic 12_582_912.0,
    ln2 0.693_359_4 + -2.121_944_4e-4, exp from -104.0 to 89.0, tanh until 10.0,
    exp_m1 [1.0 / 40_320.0, 1.0 / 5_040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5],
    ln2_short 0.693_138_1 + 9.058_001e-6, sqrt_half 0x3f35_04f3, tiny 1.175_494_4e-38 scaled by 33_554_432.0 is 25.0,
    ln [0.242_790_79, 0.284_987_87, 0.400_009_72, 0.666_666_6]
}

functions! {
    f64, u64, i64, mantissa 52, bias 1023, magic 6_755_399_441_055_744.0,
    ln2 6.931_471_803_691_238e-1 + 1.908_214_929_270_587_7e-10, exp from -746.0 to 710.0, tanh until 22.0,
    exp_m1 [
        1.0 / 87_178_291_200.0, 1.0 / 6_227_020_800.0, 1.0 / 479_001_600.0, 1.0 / 39_916_800.0, 1.0 / 3_628_800.0,
        1.0 / 362_880.0, 1.0 / 40_320.0, 1.0 / 5_040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5
    ],
    ln2_short 6.931_471_803_691_238e-1 + 1.908_214_929_270_587_7e-10, sqrt_half 0x3fe6_a09e_667f_3bcd,
    tiny 2.225_073_858_507_201_4e-308 scaled by 18_014_398_509_481_984.0 is 54.0,
    ln [
        1.479_819_860_511_658_6e-1, 1.531_383_769_920_937_3e-1, 1.818_357_216_161_805e-1, 2.222_219_843_214_978_4e-1,
        2.857_142_874_366_239e-1, 3.999_999_999_940_942e-1, 6.666_666_666_666_735e-1
    ]
}

#[cfg(test)]
mod tests {
    use super::{f32 as single, f64 as double};
    use crate::kernel::elementwise::map;

    /// The distance in units in the last place of `expected`.
    fn ulps(found: f64, expected: f64, mantissa_bits: i32, min_exponent: i32) -> f64 {
        if found == expected || found.is_nan() && expected.is_nan() {
            return 0.0;
        }
        let exponent =
            if expected == 0.0 { min_exponent } else { (expected.abs().log2().floor() as i32).max(min_exponent) };
        (found - expected).abs() / f64::exp2(f64::from(exponent - mantissa_bits))
    }

    /// The largest error over all binades, both signs, and where it is.
    fn worst_single(f: fn(f32) -> f32, exact: fn(f64) -> f64) -> (f64, f32) {
        let mut worst = (0.0, 0.0);
        for bits in (0..=u32::MAX).step_by(1999) {
            let x = f32::from_bits(bits);
            let expected = exact(f64::from(x));
            // Beyond the range the correctly rounded result is an infinity.
            let expected = if expected.abs() > f64::from(f32::MAX) * (1.0 + 3e-8) {
                expected.signum() * f64::INFINITY
            } else {
                expected
            };
            let error = ulps(f64::from(f(x)), expected, 23, -126);
            if error.is_nan() || error > worst.0 {
                worst = (error, x);
            }
        }
        worst
    }

    fn worst_double(f: fn(f64) -> f64, reference: fn(f64) -> f64) -> (f64, f64) {
        let mut worst = (0.0, 0.0);
        for bits in (0..=u64::MAX).step_by(9_223_372_036_899) {
            let x = f64::from_bits(bits);
            let error = ulps(f(x), reference(x), 52, -1022);
            if error.is_nan() || error > worst.0 {
                worst = (error, x);
            }
        }
        worst
    }

    fn sigmoid(x: f64) -> f64 {
        if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) }
    }

    #[test]
    fn single_precision_is_as_accurate_as_stated() {
        for (name, f, exact, bound) in [
            ("exp", single::exp as fn(f32) -> f32, f64::exp as fn(f64) -> f64, 1.5),
            ("tanh", single::tanh, f64::tanh, 3.0),
            ("sigmoid", single::sigmoid, sigmoid, 3.0),
            ("ln", single::ln, f64::ln, 1.5),
        ] {
            let (error, x) = worst_single(f, exact);
            println!("{name}: {error:.3} ulp at {x:e}");
            assert!(error <= bound, "{name}({x:e}): {error} units in the last place");
        }
    }

    #[test]
    fn double_precision_is_as_accurate_as_stated() {
        // The standard library's functions, which are off by up to 1 unit themselves.
        for (name, f, reference, bound) in [
            ("exp", double::exp as fn(f64) -> f64, f64::exp as fn(f64) -> f64, 2.0),
            ("tanh", double::tanh, f64::tanh, 3.5),
            ("sigmoid", double::sigmoid, sigmoid, 3.5),
            ("ln", double::ln, f64::ln, 2.0),
        ] {
            let (error, x) = worst_double(f, reference);
            println!("{name}: {error:.3} ulp at {x:e}");
            assert!(error <= bound, "{name}({x:e}): {error} units in the last place");
        }
    }

    #[test]
    fn special_values_are_those_of_ieee() {
        let (infinity, nan) = (f64::INFINITY, f64::NAN);
        assert_eq!([double::exp(0.0), double::exp(infinity), double::exp(-infinity)], [1.0, infinity, 0.0]);
        assert_eq!([double::ln(1.0), double::ln(0.0), double::ln(infinity)], [0.0, -infinity, infinity]);
        assert_eq!([double::tanh(infinity), double::tanh(-infinity), double::tanh(40.0)], [1.0, -1.0, 1.0]);
        assert_eq!([double::sigmoid(infinity), double::sigmoid(-infinity), double::sigmoid(0.0)], [1.0, 0.0, 0.5]);
        assert_eq!([single::exp(0.0), single::exp(100.0), single::exp(-200.0)], [1.0, f32::INFINITY, 0.0]);
        assert_eq!([single::ln(1.0), single::ln(0.0)], [0.0, f32::NEG_INFINITY]);
        assert!(double::tanh(-0.0).is_sign_negative() && single::tanh(-0.0).is_sign_negative());
        assert_eq!((double::tanh(5e-324), single::tanh(1e-45)), (5e-324, 1e-45));
        for f in [double::exp, double::ln, double::tanh, double::sigmoid] {
            assert!(f(nan).is_nan());
        }
        for f in [single::exp, single::ln, single::tanh, single::sigmoid] {
            assert!(f(f32::NAN).is_nan());
        }
        assert!(double::ln(-1.0).is_nan() && single::ln(-1.0).is_nan() && double::ln(-infinity).is_nan());
    }

    #[test]
    fn a_vectorized_loop_gives_the_bits_of_single_calls() {
        let x: Vec<f32> = (0..997).map(|i| (i as f32 - 500.0) * 0.037).collect();
        let mut y = vec![0.0; x.len()];
        for f in [single::exp as fn(f32) -> f32, single::tanh, single::sigmoid, single::ln] {
            map(&mut y, &x, f);
            assert!(x.iter().zip(&y).all(|(&x, &y)| f(x).to_bits() == y.to_bits()));
        }
        map(
            &mut y,
            &x,
            #[inline(always)]
            |x| single::tanh(x) + single::exp(x),
        );
        assert!(x.iter().zip(&y).all(|(&x, &y)| (single::tanh(x) + single::exp(x)).to_bits() == y.to_bits()));
    }
}
