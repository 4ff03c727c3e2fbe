//! [`Algebra`]: the operators and functions in which the rows of the table are written.

use std::ops::{Add, Div, Mul, Neg, Sub};

use super::arithmetic::{Classify, Number};
use super::functions::Functions;
use super::vocabulary::vocabulary;

macro_rules! algebra {
    (
        by_type { $( $(#[$doc:meta])* fn $f:ident($($p:ident: $P:ident)?): $single:path, $double:path; )* }
        by_formula { $( $(#[$formula_doc:meta])* fn $g:ident($me:ident $(, $q:ident: $Q:ident)*) -> Self $body:block )* }
    ) => {
        /// The operators and functions in which the rows of the table are written.
        ///
        /// Numbers implement it by computing, a [`Var`](crate::Var) by recording. So a rule is written once for both
        /// sweeps. `T` is the number type, `Self` a number or a `Var` of such numbers.
        pub trait Algebra<T>:
            Copy
            + Neg<Output = Self>
            + Add<Output = Self>
            + Sub<Output = Self>
            + Mul<Output = Self>
            + Div<Output = Self>
            + Add<T, Output = Self>
            + Sub<T, Output = Self>
            + Mul<T, Output = Self>
            + Div<T, Output = Self>
        {
            $( $(#[$doc])* #[must_use] fn $f(self $(, $p: $P)?) -> Self; )*
            $( $(#[$formula_doc])* #[must_use] fn $g(self $(, $q: $Q)*) -> Self; )*
        }

        impl<T: Number> Algebra<T> for T {
            $(
                #[inline(always)]
                fn $f(self $(, $p: $P)?) -> Self {
                    T::Functions::$f(self $(, $p)?)
                }
            )*
            $(
                #[inline(always)]
                fn $g($me $(, $q: $Q)*) -> Self $body
            )*
        }
    };
}
vocabulary!(algebra);
