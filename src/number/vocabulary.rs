//! The vocabulary of the table: each function with its documentation, its parameters, and its computation on numbers.

/// Passes the vocabulary to the macro `$then`: for each function its documentation, its parameters, and its
/// implementation for numbers.
///
/// Each function becomes a method of [`Algebra`]. Numbers compute it. A `Var` records it: its method of this name is a
/// row of the table.
///
/// - `by_type`: a function for `f32`, then one for `f64`. Functions from `libm` compute one element at a time, with the
///   same bits on every machine. The others vectorize.
/// - `by_formula`: one formula for both.
macro_rules! vocabulary {
    ($then:ident) => {
        $then! {
            by_type {
                /// `e^x`.
                fn exp(): math::exp_f32, math::exp_f64;
                /// `e^x - 1`, accurate near 0.
                fn exp_m1(): math::exp_m1_f32, math::exp_m1_f64;
                /// The natural logarithm.
                fn ln(): math::ln_f32, math::ln_f64;
                /// `ln(1 + x)`.
                fn ln_1p(): math::ln_1p_f32, math::ln_1p_f64;
                /// The logarithm to base 2.
                fn log2(): libm::log2f, libm::log2;
                /// The logarithm to base 10.
                fn log10(): libm::log10f, libm::log10;
                /// The square root.
                fn sqrt(): f32::sqrt, f64::sqrt;
                /// The absolute value.
                fn abs(): f32::abs, f64::abs;
                /// The inverse sine.
                fn asin(): libm::asinf, libm::asin;
                /// The inverse cosine.
                fn acos(): libm::acosf, libm::acos;
                /// The inverse tangent.
                fn atan(): libm::atanf, libm::atan;
                /// The angle of the point `(x, self)`.
                fn atan2(x: Self): libm::atan2f, libm::atan2;
                /// The hyperbolic sine.
                fn sinh(): libm::sinhf, libm::sinh;
                /// The hyperbolic cosine.
                fn cosh(): libm::coshf, libm::cosh;
                /// The hyperbolic tangent.
                fn tanh(): math::tanh_f32, math::tanh_f64;
                /// The inverse hyperbolic sine.
                fn asinh(): libm::asinhf, libm::asinh;
                /// The inverse hyperbolic cosine.
                fn acosh(): libm::acoshf, libm::acosh;
                /// The inverse hyperbolic tangent.
                fn atanh(): libm::atanhf, libm::atanh;
                /// `1 / (1 + e^-x)`.
                fn sigmoid(): math::sigmoid_f32, math::sigmoid_f64;
                /// The error function.
                fn erf(): math::erf_f32, math::erf_f64;
                /// The complementary error function.
                fn erfc(): math::erfc_f32, math::erfc_f64;
                /// `2^x`.
                fn exp2(): libm::exp2f, libm::exp2;
                /// The largest integer that is not above the number.
                fn floor(): f32::floor, f64::floor;
                /// The smallest integer that is not below the number.
                fn ceil(): f32::ceil, f64::ceil;
                /// The nearest integer, the even one of two.
                fn round(): f32::round_ties_even, f64::round_ties_even;
                /// The remainder with the sign of the divisor.
                fn remainder(divisor: Self): special::remainder_f32, special::remainder_f64;
                /// The logarithm of the size of the gamma function.
                fn lgamma(): libm::lgammaf, libm::lgamma;
                /// The derivative of `ln Γ`.
                fn digamma(): special::digamma_f32, special::digamma_f64;
                /// Derivative number `order`, from 1 on, of `digamma`.
                fn polygamma(order: T): special::polygamma_f32, special::polygamma_f64;
                /// `x^exponent`.
                fn powf(exponent: T): math::pow_f32, math::pow_f64;
                /// `self^exponent`.
                fn pow(exponent: Self): math::pow_f32, math::pow_f64;
            }
            by_formula {
                /// The sine.
                fn sin(self) -> Self {
                    if T::Functions::in_fast_range(self) {
                        T::Functions::sin_fast(self)
                    } else {
                        T::Functions::sin_far(self)
                    }
                }
                /// The cosine.
                fn cos(self) -> Self {
                    if T::Functions::in_fast_range(self) {
                        T::Functions::cos_fast(self)
                    } else {
                        T::Functions::cos_far(self)
                    }
                }
                /// The tangent.
                fn tan(self) -> Self {
                    if T::Functions::in_fast_range(self) {
                        T::Functions::sin_fast(self) / T::Functions::cos_fast(self)
                    } else {
                        T::Functions::tan_far(self)
                    }
                }
                /// -1, 0 or 1; NaN of NaN.
                fn sign(self) -> Self {
                    let sign = if self < T::ZERO { -T::ONE } else { self };
                    if self > T::ZERO { T::ONE } else { sign }
                }
                /// `√(a² + b²)`, scaled by the larger operand: no square overflows or vanishes.
                fn hypot(self, other: Self) -> Self {
                    let (a, b) = (T::Functions::abs(self), T::Functions::abs(other));
                    let (small, large) = if a > b { (b, a) } else { (a, b) };
                    let ratio = small / large;
                    let y = large * T::Functions::sqrt(T::ONE + ratio * ratio);
                    let y = if large == T::ZERO { small } else { y };
                    // As in IEEE 754, infinity wins even if the other operand is NaN.
                    if a == T::INFINITY || b == T::INFINITY { T::INFINITY } else { y }
                }
                /// The larger of two; NaN if either is.
                fn maximum(self, other: Self) -> Self {
                    // Comparisons with NaN are false: `a > b` selects b if b is NaN, the second test selects a NaN in
                    // a.
                    let larger = if self > other { self } else { other };
                    if self.is_nan() { self } else { larger }
                }
                /// The number limited to the interval from `low` to `high`.
                fn clamp(self, low: T, high: T) -> Self {
                    let x = if self < low { low } else { self };
                    if x > high { high } else { x }
                }
                /// `1 - x`.
                fn one_minus(self) -> Self {
                    T::ONE - self
                }
                /// 0 for every operand.
                fn zeros_like(self) -> Self {
                    T::ZERO
                }
                /// 0 where `mask <= 0`, else `self`. It selects and does not multiply, so a NaN or an infinity that is
                /// not selected has no effect. Where the mask is NaN, `self` is selected.
                fn where_positive(self, mask: Self) -> Self {
                    if mask <= T::ZERO { T::ZERO } else { self }
                }
                /// 1 where `low < x < high`, else 0; an infinite bound is no bound.
                fn in_range_mask(self, low: T, high: T) -> Self {
                    let above = low < self || low == T::NEG_INFINITY;
                    let below = self < high || high == T::INFINITY;
                    if above && below && !self.is_nan() { T::ONE } else { T::ZERO }
                }
                /// The weight of the first operand of `maximum` in a cotangent: 0 if it is smaller, ½ at a tie, else 1.
                fn tie_weight(self, other: Self) -> Self {
                    let weight = if self == other { T::ONE / (T::ONE + T::ONE) } else { T::ONE };
                    if self < other { T::ZERO } else { weight }
                }
                /// 1 where two numbers are equal, else 0.
                fn equal(self, other: Self) -> Self {
                    if self == other { T::ONE } else { T::ZERO }
                }
                /// 1 where `x > 0`, else `slope`.
                fn leaky_slope(self, slope: T) -> Self {
                    if self > T::ZERO { T::ONE } else { slope }
                }
                /// 1 where `x > 0`, else `alpha e^x`.
                fn elu_slope(self, alpha: T) -> Self {
                    let slope = alpha * T::Functions::exp(self);
                    if self > T::ZERO { T::ONE } else { slope }
                }
                /// `e^(a - b)`, 1 where both are infinity, 0 where `a` is minus infinity.
                fn exp_difference(self, other: Self) -> Self {
                    let e = T::Functions::exp(self - other);
                    let e = if self == other { T::ONE } else { e };
                    if self == T::NEG_INFINITY { T::ZERO } else { e }
                }
                /// `a b`, and 0 where `a` is 0 and `b` is infinite: a term of weight 0 contributes 0.
                fn multiply_no_nan(self, factor: Self) -> Self {
                    let product = self * factor;
                    if self == T::ZERO && !factor.is_nan() { T::ZERO } else { product }
                }
                /// `a / b`, and 0 where both are 0: a term of weight 0 contributes 0.
                fn zero_divide(self, divisor: Self) -> Self {
                    let quotient = self / divisor;
                    if self == T::ZERO && !divisor.is_nan() { T::ZERO } else { quotient }
                }
                /// `a / b`, and 0 where `b` is 0: a vector of length 0 has no direction.
                fn divide_no_nan(self, divisor: Self) -> Self {
                    let quotient = self / divisor;
                    if divisor == T::ZERO { T::ZERO } else { quotient }
                }
            }
        }
    };
}
pub(crate) use vocabulary;
