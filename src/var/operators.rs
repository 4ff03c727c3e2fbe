//! Operators, and the functions that rules use on [`Var`]s.

use std::ops::{Add, Div, Mul, Neg, Sub};

use crate::number::{Algebra, vocabulary};
use crate::scalar::Scalar;
use crate::tape::Var;

macro_rules! operator {
    ($Trait:ident, $method:ident, |$a:ident, $b:ident| $number_right:expr) => {
        impl<'t, T: Scalar> $Trait for Var<'t, T> {
            type Output = Self;

            #[track_caller]
            fn $method(self, other: Self) -> Self {
                // The row's method: an inherent method takes precedence over the operator's.
                Var::$method(self, other)
            }
        }

        impl<'t, T: Scalar> $Trait<T> for Var<'t, T> {
            type Output = Self;

            #[track_caller]
            fn $method(self, $b: T) -> Self {
                let $a = self;
                $number_right
            }
        }
    };
}
operator!(Add, add, |x, number| x.add_number(number));
operator!(Sub, sub, |x, number| x.add_number(-number));
operator!(Mul, mul, |x, number| x.scale(number));
operator!(Div, div, |x, number| x.divide_by(number));

impl<T: Scalar> Neg for Var<'_, T> {
    type Output = Self;

    #[track_caller]
    fn neg(self) -> Self {
        self.negative()
    }
}

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
