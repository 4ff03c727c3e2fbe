//! [`Operand`]: what stands on the right of an operator, a `Var` or a number.

use crate::scalar::Scalar;
use crate::tape::Var;

mod sealed {
    use super::{Scalar, Var};

    /// A `Var` or a number.
    #[allow(missing_debug_implementations)] // nobody outside can name it
    pub enum Side<'t, T> {
        Var(Var<'t, T>),
        Number(T),
    }

    pub trait Sealed<'t, T: Scalar> {
        /// Returns which of the two it is.
        fn side(self) -> Side<'t, T>;
    }
}
pub(super) use sealed::{Sealed, Side};

/// The second operand of an operator or of an elementwise function: a [`Var`], or a number of its element type.
///
/// The trait is sealed.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::Tape;
///
/// let tape = Tape::new();
/// let x = tape.leaf(array![-1.0, 3.0]);
/// assert_eq!(x.maximum(0.0).value(), array![0.0, 3.0].into_dyn());
/// assert_eq!((x * 2.0 + x).value(), array![-3.0, 9.0].into_dyn());
/// ```
///
/// An integer is refused, and so is a number of another type. The error says what to write instead:
///
/// ```compile_fail,E0277
/// # use tapegrad::Tape;
/// # let tape = Tape::new();
/// # let x = tape.leaf(3.0);
/// x * 2 // 2.0
/// # ;
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be combined with a `Var` of `{T}`",
    label = "expected a `Var` of `{T}` or a number of type `{T}`",
    note = "write a number with a decimal point (`2.0`), or convert it: `T::from_f64(n as f64)`",
    note = "put an array on the tape first: `tape.constant(array)` for data, `tape.leaf(array)` to differentiate by it",
    note = "a `Param` is recorded by `tape.param(&param)`, and a reference to a `Var` is copied: `*x`"
)]
pub trait Operand<'t, T: Scalar>: Sealed<'t, T> {}

impl<'t, T: Scalar, O: Sealed<'t, T>> Operand<'t, T> for O {}

impl<'t, T: Scalar> Sealed<'t, T> for Var<'t, T> {
    #[inline]
    fn side(self) -> Side<'t, T> {
        Side::Var(self)
    }
}

impl<'t, T: Scalar> Sealed<'t, T> for T {
    #[inline]
    fn side(self) -> Side<'t, T> {
        Side::Number(self)
    }
}

impl<'t, T: Scalar> Var<'t, T> {
    /// Returns an operand as a `Var`: a number is recorded as a constant.
    #[track_caller]
    #[inline]
    pub(super) fn beside(self, operand: impl Operand<'t, T>) -> Self {
        match operand.side() {
            Side::Var(var) => var,
            Side::Number(number) => self.tape().constant(number),
        }
    }
}
