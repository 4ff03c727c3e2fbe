//! Hints: the usual cause of a NaN or an infinity, by operation.

use super::range::ValueRange;
use crate::number::Number;
use crate::op::{Binary, Op, ReduceKind, Unary};
use crate::tape::Step;

/// An operation that made a NaN or an infinity, with the ranges of its operands.
pub(super) struct Evidence<'a, T> {
    pub(super) step: &'a Step<T>,
    /// The number that the operation made: NaN or an infinity.
    pub(super) value: f64,
    pub(super) operands: &'a [ValueRange],
    /// The cotangent, if the operation's rule made the number.
    pub(super) cotangent: Option<ValueRange>,
    /// `"f32"` or `"f64"`.
    pub(super) dtype: &'static str,
}

impl<T: Number> Evidence<'_, T> {
    fn single(&self) -> bool {
        self.dtype == "f32"
    }

    fn largest(&self) -> &'static str {
        if self.single() { "3.4028235e38" } else { "1.7976931348623157e308" }
    }

    /// Returns a hint.
    pub(super) fn hint(&self) -> Option<String> {
        let known = match self.cotangent {
            None => self.recording(),
            Some(g) => self.rule(g),
        };
        known.or_else(|| self.general())
    }

    /// Returns a hint for an operation whose value is not finite.
    fn recording(&self) -> Option<String> {
        let Step::Op(op) = self.step else { return None };
        let (name, x) = (op.name(), *self.operands.first()?);
        let last = *self.operands.last()?;
        let nan = self.value.is_nan();
        Some(match op {
            Op::Unary(Unary::Ln | Unary::Log2 | Unary::Log10) if !nan && x.zeros > 0 => format!(
                "{name} of 0 is minus infinity: keep its operand above 0, or use log_softmax for the logarithm of a softmax"
            ),
            Op::Unary(Unary::Ln | Unary::Log2 | Unary::Log10 | Unary::Sqrt | Unary::Rsqrt) if nan && x.min < 0.0 => {
                format!("{name} of a negative number is NaN")
            }
            Op::Unary(Unary::Ln1p) if x.min <= -1.0 => "ln_1p is minus infinity at -1 and NaN below".into(),
            Op::Unary(Unary::Rsqrt) if x.zeros > 0 => "rsqrt divides by the root of 0".into(),
            Op::Unary(Unary::Divide { .. } | Unary::Recip) | Op::Binary(Binary::Div) if last.zeros > 0 => {
                let zeros = if last.zeros == 1 { "is a 0".into() } else { format!("are {} zeros", last.zeros) };
                format!("division by 0: among the divisors there {zeros}")
            }
            Op::Unary(Unary::DivideBy { .. }) => "division by 0, or nearly so: a mean over no elements divides by 0".into(),
            Op::Unary(Unary::Exp | Unary::ExpM1 | Unary::Sinh | Unary::Cosh) => format!(
                "overflow: e^x is beyond the largest {} from x = {} on; subtract the maximum first, as softmax and log_softmax do",
                self.dtype,
                if self.single() { 88.73 } else { 709.79 }
            ),
            Op::Unary(Unary::Powf { .. }) | Op::Binary(Binary::Pow) if nan && x.min < 0.0 => "a negative number to a fractional power is NaN".into(),
            Op::Unary(Unary::Powf { .. }) | Op::Binary(Binary::Pow) if x.zeros > 0 => "0 to a negative power is infinite".into(),
            Op::Unary(Unary::Asin | Unary::Acos) => format!("{name} is NaN outside -1 to 1"),
            Op::Unary(Unary::Acosh) => "acosh is NaN below 1".into(),
            Op::Unary(Unary::Atanh) => "atanh is infinite at -1 and 1 and NaN beyond".into(),
            Op::Softmax { .. } | Op::LogSoftmax { .. } | Op::Reduce { kind: ReduceKind::LogSumExp, .. } if x.infinities > 0 => {
                format!("{name} of nothing but minus infinities, or of plus infinity, is NaN: is a whole row masked?")
            }
            Op::Binary(Binary::BinaryCrossEntropy) if x.min <= 0.0 || x.max >= 1.0 => {
                "a prediction of 0 or 1 is certain, and wrong: use binary_cross_entropy_with_logits, which needs no sigmoid".into()
            }
            Op::Binary(Binary::CourseCrossEntropy) if x.min < 0.0 || x.max > 1.0 => "predictions are probabilities, from 0 to 1".into(),
            Op::Binary(Binary::KlDivergence) if last.min < 0.0 => "targets are probabilities, not below 0".into(),
            Op::Normalize { .. } | Op::NormalizeAffine { .. } | Op::InverseStd { .. } => "all elements of a group are the same and eps is 0".into(),
            Op::Inverse | Op::Solve { .. } | Op::SolveByFactors { .. } => "the matrix is singular, or nearly so".into(),
            Op::LogDet => "the determinant is not above 0".into(),
            Op::Cholesky => "the matrix is not positive definite".into(),
            _ => return None,
        })
    }

    /// Returns a hint for an operation whose rule gave a cotangent that is not finite.
    fn rule(&self, g: ValueRange) -> Option<String> {
        let Step::Op(op) = self.step else { return None };
        let (name, x) = (op.name(), *self.operands.first()?);
        let last = *self.operands.last()?;
        let at_zero = |what: &str| {
            // The rule still gets the cotangent 0 of an element that a selection leaves out.
            if self.value.is_nan() && g.zeros > 0 {
                format!(
                    "at 0 the derivative of {what} is infinite, and a cotangent of 0 times that is NaN: if a selection or a \
                     product with 0 leaves the element out, leave it out before {what}, not after"
                )
            } else {
                format!("at 0 the derivative of {what} is infinite: add a small number to its operand")
            }
        };
        Some(match op {
            Op::Unary(
                Unary::Sqrt
                | Unary::Rsqrt
                | Unary::Ln
                | Unary::Log2
                | Unary::Log10
                | Unary::Recip
                | Unary::Divide { .. }
                | Unary::Powf { .. },
            )
            | Op::Binary(Binary::Pow)
                if x.zeros > 0 =>
            {
                at_zero(name)
            }
            Op::Binary(Binary::Div) if last.zeros > 0 => at_zero("the quotient by its divisor"),
            Op::Unary(Unary::Divide { .. } | Unary::Recip | Unary::DivideBy { .. } | Unary::Rsqrt)
            | Op::Binary(Binary::Div) => {
                "overflow: the derivative divides by the divisor once more, and that is very small".into()
            }
            Op::Unary(Unary::Ln1p) if x.min <= -1.0 => "at -1 the derivative of ln_1p is infinite".into(),
            Op::Binary(Binary::BinaryCrossEntropy) if x.min <= 0.0 || x.max >= 1.0 => {
                "the derivative by a prediction of 0 or 1 is infinite: use binary_cross_entropy_with_logits".into()
            }
            Op::Unary(Unary::Asin | Unary::Acos | Unary::Atanh) if x.min <= -1.0 || x.max >= 1.0 => {
                format!("at -1 and 1 the derivative of {name} is infinite")
            }
            Op::Unary(Unary::Acosh) if x.min <= 1.0 => "at 1 the derivative of acosh is infinite".into(),
            Op::Inverse | Op::LogDet | Op::Solve { .. } | Op::SolveByFactors { .. } | Op::Cholesky => {
                "the matrix is singular, or nearly so".into()
            }
            _ => return None,
        })
    }

    /// Returns a hint that holds for any operation.
    fn general(&self) -> Option<String> {
        let infinite = self.operands.iter().chain(&self.cotangent).any(|x| x.infinities > 0);
        if self.value.is_nan() {
            return infinite.then(|| "infinity minus infinity, or 0 times infinity".into());
        }
        Some(format!("overflow: beyond the largest {}, {}", self.dtype, self.largest()))
    }
}
