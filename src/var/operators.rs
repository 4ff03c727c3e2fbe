//! Operators, and the functions that rules use on [`Var`]s.

use std::iter::{Product, Sum};
use std::ops::{Add, AddAssign, Div, DivAssign, Mul, MulAssign, Neg, Sub, SubAssign};

use super::operand::{Operand, Side};
use crate::number::{Algebra, vocabulary};
use crate::scalar::Scalar;
use crate::tape::Var;

macro_rules! operator {
    ($Trait:ident, $method:ident, $Assign:ident, $assign:ident, |$a:ident, $b:ident| $number_right:expr) => {
        impl<'t, T: Scalar, O: Operand<'t, T>> $Trait<O> for Var<'t, T> {
            type Output = Self;

            #[track_caller]
            #[inline]
            fn $method(self, other: O) -> Self {
                match other.side() {
                    // The row's method: an inherent method takes precedence over the operator's.
                    Side::Var(other) => Var::$method(self, other),
                    Side::Number($b) => {
                        let $a = self;
                        $number_right
                    }
                }
            }
        }

        /// Records a new value. The one before stays on the tape, and its gradient is right.
        impl<'t, T: Scalar, O: Operand<'t, T>> $Assign<O> for Var<'t, T> {
            #[track_caller]
            #[inline]
            fn $assign(&mut self, other: O) {
                *self = $Trait::$method(*self, other);
            }
        }
    };
}
operator!(Add, add, AddAssign, add_assign, |x, number| x.add_number(number));
operator!(Sub, sub, SubAssign, sub_assign, |x, number| x.add_number(-number));
operator!(Mul, mul, MulAssign, mul_assign, |x, number| x.scale(number));
operator!(Div, div, DivAssign, div_assign, |x, number| x.divide_by(number));

impl<T: Scalar> Neg for Var<'_, T> {
    type Output = Self;

    #[track_caller]
    fn neg(self) -> Self {
        self.negative()
    }
}

macro_rules! fold {
    ($Trait:ident, $method:ident, $row:ident, $name:literal, $example:literal) => {
        #[doc = concat!("The ", $name, " of an iterator of `Var`s, with broadcasting.")]
        ///
        /// # Panics
        ///
        /// If the iterator is empty: without a `Var` there is no tape. Also if the shapes do not broadcast.
        ///
        /// # Example
        ///
        /// ```
        /// use tapegrad::{Tape, Var};
        ///
        /// let tape = Tape::new();
        /// let terms = [tape.leaf(2.0), tape.leaf(5.0)];
        #[doc = $example]
        /// ```
        impl<'t, T: Scalar> $Trait for Var<'t, T> {
            #[track_caller]
            fn $method<I: Iterator<Item = Self>>(mut terms: I) -> Self {
                let Some(mut total) = terms.next() else {
                    panic!(concat!($name, ": an iterator without a Var has no tape: use tape.constant"))
                };
                for term in terms {
                    total = total.$row(term);
                }
                total
            }
        }

        #[doc = concat!("The ", $name, " of an iterator of references to `Var`s, like that of `Var`s.")]
        impl<'a, 't, T: Scalar> $Trait<&'a Var<'t, T>> for Var<'t, T> {
            #[track_caller]
            fn $method<I: Iterator<Item = &'a Self>>(terms: I) -> Self {
                terms.copied().$method()
            }
        }
    };
}
fold!(Sum, sum, add, "sum", "assert_eq!(terms.iter().sum::<Var<'_, f64>>().item(), 7.0);");
fold!(Product, product, mul, "product", "assert_eq!(terms.iter().product::<Var<'_, f64>>().item(), 10.0);");

macro_rules! number_left {
    ($T:ident: $($Trait:ident $method:ident $row:ident),+) => { $(
        impl<'t> $Trait<Var<'t, $T>> for $T {
            type Output = Var<'t, $T>;

            #[track_caller]
            fn $method(self, x: Var<'t, $T>) -> Var<'t, $T> {
                x.$row(self)
            }
        }
    )+ };
}
number_left!(f32: Add add add_number, Sub sub subtract_from, Mul mul scale, Div div divide);
number_left!(f64: Add add add_number, Sub sub subtract_from, Mul mul scale, Div div divide);

macro_rules! algebra {
    (
        by_type { $( $(#[$doc:meta])* fn $f:ident($($p:ident: $P:ident)?): $single:path, $double:path; )* }
        by_formula { $( $(#[$formula_doc:meta])* fn $g:ident($me:ident $(, $q:ident: $Q:ident)*) -> Self $body:block )* }
    ) => {
        /// Rules on `Var`s are recorded: each function is the row of the same name.
        impl<T: Scalar> Algebra<T> for Var<'_, T> {
            $(
                fn $f(self $(, $p: $P)?) -> Self {
                    Var::$f(self $(, $p)?)
                }
            )*
            $(
                fn $g(self $(, $q: $Q)*) -> Self {
                    Var::$g(self $(, $q)*)
                }
            )*
        }
    };
}
vocabulary!(algebra);

impl<T: Scalar> Var<'_, T> {
    /// `1 - x`.
    pub(crate) fn one_minus(self) -> Self {
        self.subtract_from(T::ONE)
    }

    /// Zeros in the shape of the value.
    pub(crate) fn zeros_like(self) -> Self {
        self.tape().zeros(self.shape())
    }
}
