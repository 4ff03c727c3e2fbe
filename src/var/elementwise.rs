//! Methods of [`Var`] for the rows of the table.

use super::operand::Operand;
use crate::number::Algebra;
use crate::op::rows::{binary_rows, unary_rows};
use crate::op::{Binary, Op, Unary};
use crate::scalar::Scalar;
use crate::tape::Var;

/// Makes a method from each row of one operand.
macro_rules! unary_methods {
    ($(
        $(#[$doc:meta])*
        $vis:vis $Variant:ident $({ $($p:ident = $sample:literal),+ })? as $method:ident:
            |$x:tt| $f:expr, $dx:tt,
            $(fast |$fast_x:tt| $fast_f:expr, $fast_dx:tt,)?
            on $low:literal to $high:literal
            $(, where $check:expr, $message:literal)?;
    )*) => {
        impl<T: Scalar> Var<'_, T> { $(
            $(#[$doc])*
            #[track_caller]
            #[must_use]
            $vis fn $method(self $(, $($p: T),+)?) -> Self {
                $( assert!($check, $message); )?
                self.apply(Unary::$Variant $({ $($p),+ })?)
            }
        )* }
    };
}
unary_rows!(unary_methods);

/// Makes a method from each row of two operands.
macro_rules! binary_methods {
    ($(
        $(#[$doc:meta])*
        $vis:vis $Variant:ident as $method:ident: |$a:ident, $b:ident| $f:expr, $da:tt, $db:tt
            $(, on $low:literal to $high:literal)?;
    )*) => {
        impl<'t, T: Scalar> Var<'t, T> { $(
            $(#[$doc])*
            #[track_caller]
            #[must_use]
            $vis fn $method(self, other: impl Operand<'t, T>) -> Self {
                self.binary(Binary::$Variant, self.beside(other))
            }
        )* }
    };
}
binary_rows!(binary_methods);

impl<T: Scalar> Var<'_, T> {
    /// Applies a row of the table of elementwise functions.
    ///
    /// # Panics
    ///
    /// If a parameter violates the condition of the row: [`clamp`](Self::clamp) with a lower bound above the upper one,
    /// [`huber`](Self::huber) with a negative or NaN `delta`.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::{Tape, op::Unary};
    ///
    /// let tape = Tape::new();
    /// assert_eq!(tape.leaf(3.0).unary(Unary::Square).item(), 9.0);
    /// ```
    #[track_caller]
    #[must_use]
    #[inline]
    pub fn unary(self, op: Unary<T>) -> Self {
        op.check();
        self.apply(op)
    }

    /// Applies a row of the table of elementwise functions of two operands, with broadcasting.
    ///
    /// # Panics
    ///
    /// If the shapes do not broadcast, or `other` is on a different tape.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::{Tape, op::Binary};
    ///
    /// let tape = Tape::new();
    /// assert_eq!(tape.leaf(3.0).binary(Binary::Mul, tape.leaf(2.0)).item(), 6.0);
    /// ```
    #[track_caller]
    #[must_use]
    #[inline]
    pub fn binary(self, op: Binary, other: Self) -> Self {
        self.assert_same_tape(op.name(), other);
        self.tape().apply(Op::Binary(op), &[self.id(), other.id()])
    }

    /// Returns the natural logarithm: [`ln`](Self::ln) by NumPy's name.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(4.0);
    /// let y = x.log();
    /// y.backward();
    /// assert_eq!((y.item(), x.grad().unwrap().sum()), (4.0_f64.ln(), 0.25));
    /// ```
    #[track_caller]
    #[must_use]
    pub fn log(self) -> Self {
        self.ln()
    }

    /// Returns the larger of each element and a number: [`clamp`](Self::clamp) without an upper bound.
    ///
    /// # Derivative
    ///
    /// 1 for `x > low`, else 0. At the bound it is 0; [`maximum`](Self::maximum) of a number has ½ there.
    ///
    /// # Panics
    ///
    /// If `low` is NaN.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![-1.0, 0.5, 3.0]);
    /// let y = x.clamp_min(0.5);
    /// y.sum().backward();
    /// assert_eq!(y.value(), array![0.5, 0.5, 3.0].into_dyn());
    /// assert_eq!(x.grad().unwrap(), array![0.0, 0.0, 1.0].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn clamp_min(self, low: T) -> Self {
        self.clamp(low, T::INFINITY)
    }

    /// Returns the smaller of each element and a number: [`clamp`](Self::clamp) without a lower bound.
    ///
    /// # Derivative
    ///
    /// 1 for `x < high`, else 0, also at the bound.
    ///
    /// # Panics
    ///
    /// If `high` is NaN.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// assert_eq!(tape.leaf(array![-1.0, 3.0]).clamp_max(0.5).value(), array![-1.0, 0.5].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn clamp_max(self, high: T) -> Self {
        self.clamp(T::NEG_INFINITY, high)
    }

    /// Returns the power `base^x` of a number: [`pow`](Self::pow) with this array as the exponent.
    ///
    /// # Derivative
    ///
    /// `y ln(base)`, and 0 for the base 0 and `x >= 0`.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::<f64>::new();
    /// let x = tape.leaf(2.0);
    /// let y = x.exponent_of(3.0);
    /// y.backward();
    /// assert_eq!(y.item(), 9.0);
    /// assert!((x.grad().unwrap().sum() - 9.0 * 3.0_f64.ln()).abs() < 1e-14);
    /// ```
    #[doc(alias = "rpow")]
    #[doc(alias = "power")]
    #[track_caller]
    #[must_use]
    pub fn exponent_of(self, base: T) -> Self {
        self.tape().constant(base).pow(self)
    }
}

/// Combinations of rows.
impl<'t, T: Scalar> Var<'t, T> {
    /// Returns `x ln y`, with NumPy's broadcasting; 0 where `x` is 0 and `y` is not NaN or negative.
    ///
    /// # Derivative
    ///
    /// `ln y` by `x`, as in IEEE 754, so minus infinity for `y = 0`. `x / y` by `y`.
    ///
    /// # Panics
    ///
    /// If the shapes do not broadcast.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let p = tape.leaf(array![0.0, 0.5]);
    /// assert_eq!(p.xlogy(p).value(), array![0.0, -0.5 * 2.0_f64.ln()].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn xlogy(self, y: impl Operand<'t, T>) -> Self {
        self.multiply_no_nan(self.beside(y).ln())
    }

    /// Returns the point between this array and `end` at the share `weight` of the way: `x + weight (end - x)`, with
    /// NumPy's broadcasting. Each of the two may be a number.
    ///
    /// # Derivative
    ///
    /// `1 - weight` by `x`, `weight` by `end`, `end - x` by `weight`.
    ///
    /// # Panics
    ///
    /// If the shapes do not broadcast.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let (x, end) = (tape.leaf(array![0.0, 10.0]), tape.leaf(array![4.0, 20.0]));
    /// assert_eq!(x.lerp(end, 0.25).value(), array![1.0, 12.5].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn lerp(self, end: impl Operand<'t, T>, weight: impl Operand<'t, T>) -> Self {
        // Exact at both ends, unlike `x + weight (end - x)`.
        let weight = self.beside(weight);
        self.beside(end) * weight - self * (weight - T::ONE)
    }
}
