//! `sin` and `cos` in the range where a short reduction suffices.

use super::polynomial::{horner_f32, horner_f64};

/// The numbers that differ between the two instances of the macro below.
mod constants_f32 {
    /// `1.5 * 2^23`.
    pub const SHIFTER: f32 = 12_582_912.0;
    /// `pi/2` in three parts. The second is positive, so that its product with 0 is: -0 stays -0.
    pub const FRAC_PI_2_PARTS: [f32; 3] = [std::f32::consts::FRAC_PI_2.next_down(), 7.549_79e-8, -1.715_124_5e-15];
    /// `(sin(r)/r - 1) / r^2` in powers of `r^2`, minimax over |r| <= 1.005 pi/4. Relative error of sin: 3.7e-9.
    pub const SIN_TAIL: [f32; 3] = [-0.166_666_55, 0.008_332_155, -0.000_195_140_85];
    /// `(cos(r) - 1 + r^2/2) / r^4` in powers of `r^2`, likewise. Error of cos: 1e-10.
    pub const COS_TAIL: [f32; 3] = [0.041_666_646, -0.001_388_733_7, 2.443_484_7e-5];
}

/// The constants for `f64`. [`constants_f32`] has the comments.
mod constants_f64 {
    /// `1.5 * 2^52`.
    pub const SHIFTER: f64 = 6_755_399_441_055_744.0;
    pub const FRAC_PI_2_PARTS: [f64; 3] =
        [std::f64::consts::FRAC_PI_2, 6.123_233_995_736_766e-17, -1.497_384_904_859_169_8e-33];
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

/// `sin_f32` and `cos_f32` are accurate up to this magnitude.
pub(crate) const TRIG_LIMIT_F32: f32 = 131_072.0;
/// `sin_f64` and `cos_f64` are accurate up to this magnitude: there `x / (pi/2)` has 20 bits.
pub(crate) const TRIG_LIMIT_F64: f64 = 1_048_576.0;

macro_rules! trigonometric_functions {
    (
        $float:ident, $bits:ident, $constants:ident, $horner:ident, $reduce:ident, $sin_kernel:ident,
        $cos_kernel:ident, $sin:ident, $cos:ident
    ) => {
        /// Returns `(r, e, n)` with `x = k pi/2 + r + e`, `|r|` at most about `pi/4`, `e` a rounding error, and `k` in
        /// the low bits of `n`.
        ///
        /// Cody and Waite's reduction in three parts, with fused multiply-adds: the first difference is exact, and the
        /// rounding errors of the second product and of the second difference are recovered.
        #[inline(always)]
        fn $reduce(x: $float) -> ($float, $float, $bits) {
            use $constants::*;
            let shifted = x.mul_add(std::$float::consts::FRAC_2_PI, SHIFTER);
            let k = shifted - SHIFTER;
            let [first, second, third] = FRAC_PI_2_PARTS;
            let remainder = (-k).mul_add(first, x);
            let product = k * second;
            let r = remainder - product;
            let error = (remainder - r) - product;
            let rest = (-k).mul_add(third, (-k).mul_add(second, product));
            (r, error + rest, shifted.to_bits())
        }

        /// Returns `sin(r + e)` for `|r|` up to about `pi/4`: `r` plus a minimax polynomial, with the sign of `r`.
        #[inline(always)]
        fn $sin_kernel(r: $float, e: $float) -> $float {
            let z = r * r;
            // The sum of -0 and the polynomial's +0 is +0, so the sign is put back.
            (r + (r * z).mul_add($horner(z, &$constants::SIN_TAIL), e)).copysign(r)
        }

        /// Returns `cos(r + e)` for `|r|` up to about `pi/4`; never more than 1.
        #[inline(always)]
        fn $cos_kernel(r: $float, e: $float) -> $float {
            let z = r * r;
            let leading = z.mul_add(-0.5, 1.0);
            // `(1 - leading) - z/2` is the rounding error of the line above.
            let error = z.mul_add(-0.5, 1.0 - leading);
            leading + (z * z).mul_add($horner(z, &$constants::COS_TAIL), (-r).mul_add(e, error))
        }

        /// Returns `sin x` for `|x|` up to the type's `TRIG_LIMIT`, and a meaningless number beyond.
        ///
        /// `sin(k pi/2 + r)` is `sin r`, `cos r`, `-sin r`, `-cos r` for `k = 0, 1, 2, 3` modulo 4. -0 stays -0.
        #[inline(always)]
        pub(crate) fn $sin(x: $float) -> $float {
            let (r, e, n) = $reduce(x);
            let magnitude = if n & 1 == 0 { $sin_kernel(r, e) } else { $cos_kernel(r, e) };
            let sign = (n & 2) << ($bits::BITS - 2);
            $float::from_bits(magnitude.to_bits() ^ sign)
        }

        /// Returns `cos x` for `|x|` up to the type's `TRIG_LIMIT`, and a meaningless number beyond.
        ///
        /// `cos(k pi/2 + r)` is `cos r`, `-sin r`, `-cos r`, `sin r` for `k = 0, 1, 2, 3` modulo 4. Exactly 1 at 0.
        #[inline(always)]
        pub(crate) fn $cos(x: $float) -> $float {
            let (r, e, n) = $reduce(x);
            let magnitude = if n & 1 == 0 { $cos_kernel(r, e) } else { $sin_kernel(r, e) };
            let sign = (n.wrapping_add(1) & 2) << ($bits::BITS - 2);
            $float::from_bits(magnitude.to_bits() ^ sign)
        }
    };
}

trigonometric_functions!(
    f32,
    u32,
    constants_f32,
    horner_f32,
    reduce_trig_f32,
    sin_kernel_f32,
    cos_kernel_f32,
    sin_f32,
    cos_f32
);
trigonometric_functions!(
    f64,
    u64,
    constants_f64,
    horner_f64,
    reduce_trig_f64,
    sin_kernel_f64,
    cos_kernel_f64,
    sin_f64,
    cos_f64
);
