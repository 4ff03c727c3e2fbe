//! Polynomials, evaluated with fused multiply-adds.

macro_rules! polynomial {
    ($float:ident, $horner:ident) => {
        /// Returns the polynomial with `coefficients` in ascending powers, at `x`.
        #[inline(always)]
        pub(super) fn $horner<const N: usize>(x: $float, coefficients: &[$float; N]) -> $float {
            let mut sum = coefficients[N - 1];
            for i in (0..N - 1).rev() {
                sum = sum.mul_add(x, coefficients[i]);
            }
            sum
        }
    };
}
polynomial!(f32, horner_f32);
polynomial!(f64, horner_f64);
