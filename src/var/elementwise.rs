//! Methods of [`Var`] for the rows of the table.

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
        impl<T: Scalar> Var<'_, T> { $(
            $(#[$doc])*
            #[track_caller]
            #[must_use]
            $vis fn $method(self, other: Self) -> Self {
                self.binary(Binary::$Variant, other)
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
    #[track_caller]
    #[must_use]
    pub fn log(self) -> Self {
        self.ln()
    }
}
