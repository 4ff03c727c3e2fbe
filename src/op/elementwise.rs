//! [`Unary`] and [`Binary`]: the rows of the table as operations, with kernel, pullback and recorded rule.

use std::ops::Range;

use smallvec::{SmallVec, smallvec};

use pulp::{Arch, Simd, WithSimd};

use crate::kernel::view::View;
use crate::kernel::{elementwise, loops};
use crate::number::{Algebra, Functions, Number, inlined};
use crate::op::rows::{GELU_CUBE, GELU_SLOPE, NORMAL_DENSITY, binary_rows, unary_rows};
use crate::threads::{PIECE, in_pieces};

/// The values that the derivative of a row reads besides the cotangent. They have to be kept, and the sweep gathers
/// them into row-major order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saves {
    /// Nothing: the cotangent is passed on unchanged.
    Nothing,
    /// Nothing: the cotangent is sufficient.
    Cotangent,
    /// The operands.
    Operands,
    /// The result.
    Result,
    /// The operands and the result.
    All,
    /// Nothing: the function is piecewise constant, and no cotangent passes.
    NotDifferentiable,
}

impl Saves {
    /// Returns whether the derivative reads the operands.
    pub(crate) fn operands(self) -> bool {
        matches!(self, Self::Operands | Self::All)
    }
}

/// Expands the derivative of a row: to the values that it reads (`@saves`), its fused pullback (`@pull`) or its
/// recorded rule (`@vjp`).
macro_rules! derivative {
    (@saves [same]) => { Saves::Nothing };
    (@saves [none]) => { Saves::NotDifferentiable };
    (@saves [|$g:tt, _, _| $dx:expr]) => { Saves::Cotangent };
    (@saves [|$g:tt, _, $y:ident| $dx:expr]) => { Saves::Result };
    (@saves [|$g:tt, $x:ident, _| $dx:expr]) => { Saves::Operands };
    (@saves [|$g:tt, $x:ident, $y:ident| $dx:expr]) => { Saves::All };
    (@saves [|$g:tt, _, _, _| $dx:expr]) => { Saves::Cotangent };
    (@saves [|$g:tt, _, _, $y:ident| $dx:expr]) => { Saves::Result };
    (@saves [|$g:tt, $a:tt, $b:tt, _| $dx:expr]) => { Saves::Operands };
    (@saves [|$g:tt, $a:tt, $b:tt, $y:ident| $dx:expr]) => { Saves::All };

    (@pull [same], $($array:ident),+) => { {} };
    (@pull [none], $cotangent:ident $(, $array:ident)+) => { $cotangent.fill(T::ZERO) };
    (@pull [|$g:tt, $x:tt, $y:tt| $dx:expr], $cotangent:ident, $operand:ident, $result:ident) => {
        loops::pull($cotangent, $operand, $result, inlined!(|$g: T, $x: T, $y: T| -> T { $dx }))
    };
    (
        @pull [|$g:tt, $a:tt, $b:tt, $y:tt| $dx:expr],
        $cotangent:ident, $left:ident, $right:ident, $result:ident
    ) => {
        loops::pull_slices($cotangent, $left, $right, $result, inlined!(|$g: T, $a: T, $b: T, $y: T| -> T { $dx }))
    };

    (@vjp [same], $cotangent:ident $(, $value:ident)+) => { $cotangent };
    (@vjp [none], $cotangent:ident $(, $value:ident)+) => { $cotangent.zeros_like() };
    (@vjp [|$($name:tt),+| $dx:expr], $($value:ident),+) => { {
        let ($($name),+) = ($($value),+);
        $dx
    } };
}

/// Returns whether the branch-free form of a row is valid for all of these arguments.
#[inline(always)]
fn all_in_fast_range<T: Number>(x: &[T]) -> bool {
    // No early exit: a plain fold vectorizes.
    x.iter().fold(true, |all, &x| all & T::Functions::in_fast_range(x))
}

// The `allow`s are needed because an expression of a row may leave out a parameter.
macro_rules! unary {
    ($(
        $(#[$doc:meta])*
        $vis:vis $Variant:ident $({ $($p:ident = $sample:literal),+ })? as $method:ident:
            |$x:tt| $f:expr, $dx:tt,
            $(fast |$fast_x:tt| $fast_f:expr, $fast_dx:tt,)?
            on $low:literal to $high:literal
            $(, where $check:expr, $message:literal)?;
    )*) => {
        /// An elementwise function of one operand: a row of the table.
        #[derive(Clone, Copy, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum Unary<T> {
            $( $(#[$doc])* $Variant $({ $(
                #[doc = concat!("The parameter `", stringify!($p), "`.")]
                $p: T
            ),+ })?, )*
        }

        impl<T: Number> Unary<T> {
            /// The names of all rows.
            #[doc(hidden)]
            pub const NAMES: &'static [&'static str] = &[$(stringify!($method)),*];

            /// Returns every row, with parameters for tests and an interval of operands. The interval has no kink or
            /// pole, except perhaps at 0.
            #[doc(hidden)]
            #[must_use]
            pub fn samples() -> Vec<(Self, Range<f64>)> {
                vec![$( (Self::$Variant $({ $($p: T::from_f64($sample)),+ })?, $low..$high) ),*]
            }

            /// Returns the name, for messages and printed tapes.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self { $( Self::$Variant $({ $($p: _),+ })? => stringify!($method), )* }
            }

            /// Returns the values that the derivative reads.
            #[must_use]
            pub fn saves(&self) -> Saves {
                match self { $( Self::$Variant $({ $($p: _),+ })? => derivative!(@saves $dx), )* }
            }

            /// Returns the parameters.
            pub(crate) fn parameters(&self) -> SmallVec<[T; 2]> {
                match *self { $( Self::$Variant $({ $($p),+ })? => smallvec![$($($p),+)?], )* }
            }

            /// Panics if a parameter violates the row's condition.
            #[allow(unused_variables)]
            #[track_caller]
            pub(crate) fn check(&self) {
                match *self { $( Self::$Variant $({ $($p),+ })? => { $( assert!($check, $message); )? } )* }
            }

            #[allow(unused_variables)]
            #[inline(always)]
            fn forward_loop(self, x: &[T], y: &mut [T]) {
                match self {
                    $(
                        $( Self::$Variant if all_in_fast_range(x) => {
                            loops::map(y, x, inlined!(|$fast_x: T| -> T { $fast_f }))
                        } )?
                        Self::$Variant $({ $($p),+ })? => loops::map(y, x, inlined!(|$x: T| -> T { $f })),
                    )*
                }
            }

            #[allow(unused_variables)]
            #[inline(always)]
            fn pull_loop(self, g: &mut [T], x: &[T], y: &[T]) {
                match self {
                    $(
                        $( Self::$Variant if all_in_fast_range(x) => derivative!(@pull $fast_dx, g, x, y), )?
                        Self::$Variant $({ $($p),+ })? => derivative!(@pull $dx, g, x, y),
                    )*
                }
            }

            /// Returns `dx(g, x, y)`.
            #[allow(unused_variables)]
            pub(crate) fn vjp<A: Algebra<T>>(self, g: A, x: A, y: A) -> A {
                match self { $( Self::$Variant $({ $($p),+ })? => derivative!(@vjp $dx, g, x, y), )* }
            }
        }
    };
}
unary_rows!(unary);

impl<T: Number> Unary<T> {
    /// `y = f(x)`.
    pub(crate) fn forward(self, x: &[T], y: &mut [T]) {
        in_pieces(y, 1, PIECE, |start, y| {
            let x = &x[start..][..y.len()];
            Arch::new().dispatch(RowLoop::Unary(self, x, y));
        });
    }

    /// `g = dx(g, x, y)`, in place.
    pub(crate) fn pull(self, g: &mut [T], x: &[T], y: &[T]) {
        in_pieces(g, 1, PIECE, |start, g| {
            let (x, y) = (&x[start..][..g.len()], &y[start..][..g.len()]);
            Arch::new().dispatch(RowLoop::PullUnary(self, g, x, y));
        });
    }
}

macro_rules! binary {
    ($(
        $(#[$doc:meta])*
        $vis:vis $Variant:ident as $method:ident: |$a:ident, $b:ident| $f:expr, $da:tt, $db:tt
            $(, on $low:literal to $high:literal)?;
    )*) => {
        /// An elementwise function of two operands, with NumPy's broadcasting: a row of the table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Binary {
            $( $(#[$doc])* $Variant, )*
        }

        impl Binary {
            /// The names of all rows.
            #[doc(hidden)]
            pub const NAMES: &'static [&'static str] = &[$(stringify!($method)),*];

            /// All rows.
            #[doc(hidden)]
            pub const ALL: &'static [Self] = &[$(Self::$Variant),*];

            /// Returns every row, with an interval of operands that has no kink or pole.
            #[doc(hidden)]
            #[must_use]
            pub fn samples() -> Vec<(Self, Range<f64>)> {
                let sample = |row, interval: Option<Range<f64>>| (row, interval.unwrap_or(0.5..2.0));
                vec![$( sample(Self::$Variant, None::<Range<f64>>$(.or(Some($low..$high)))?) ),*]
            }

            /// Returns the name, for messages and printed tapes.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $( Self::$Variant => stringify!($method), )* }
            }

            /// Returns the values that the derivative by operand `k` reads.
            #[must_use]
            pub fn saves(self, k: usize) -> Saves {
                match self {
                    $( Self::$Variant => if k == 0 { derivative!(@saves $da) } else { derivative!(@saves $db) }, )*
                }
            }

            #[inline(always)]
            fn forward_loop<T: Number>(self, a: &[T], b: &[T], y: &mut [T]) {
                match self {
                    $( Self::$Variant => loops::zip_slices(y, a, b, inlined!(|$a: T, $b: T| -> T { $f })), )*
                }
            }

            #[allow(unused_variables)]
            #[inline(always)]
            fn pull_loop<T: Number>(self, k: usize, g: &mut [T], a: &[T], b: &[T], y: &[T]) {
                match (self, k) {
                    $(
                        (Self::$Variant, 0) => derivative!(@pull $da, g, a, b, y),
                        (Self::$Variant, _) => derivative!(@pull $db, g, a, b, y),
                    )*
                }
            }

            /// Returns `da(g, a, b, y)` for the first operand, `k = 0`, and `db(g, a, b, y)` for the second.
            #[allow(unused_variables)]
            pub(crate) fn vjp<T: Number, A: Algebra<T>>(self, k: usize, g: A, a: A, b: A, y: A) -> A {
                match (self, k) {
                    $(
                        (Self::$Variant, 0) => derivative!(@vjp $da, g, a, b, y),
                        (Self::$Variant, _) => derivative!(@vjp $db, g, a, b, y),
                    )*
                }
            }
        }
    };
}
binary_rows!(binary);

impl Binary {
    /// `y = f(a, b)`, broadcast to `shape`.
    pub(crate) fn forward<T: Number>(self, a: View<'_, T>, b: View<'_, T>, shape: &[usize], y: &mut [T]) {
        elementwise::zip_with(a, b, shape, y, |y, a, b| {
            Arch::new().dispatch(RowLoop::Binary(self, a, b, y));
        });
    }

    /// `g = da(g, a, b, y)` for the first operand, `k = 0`, and `g = db(g, a, b, y)` for the second, in place. `g` and `y`
    /// have the shape `shape`, to which the operands broadcast.
    pub(crate) fn pull<T: Number>(
        self,
        k: usize,
        g: &mut [T],
        a: View<'_, T>,
        b: View<'_, T>,
        y: &[T],
        shape: &[usize],
    ) {
        // A strided operand that the rule does not read is not gathered.
        let y_view = View::contiguous(y, shape);
        let (a, b) = if self.saves(k).operands() { (a, b) } else { (y_view, y_view) };
        elementwise::pull_with(g, a, b, y, shape, |g, a, b, y| {
            Arch::new().dispatch(RowLoop::PullBinary(self, k, g, a, b, y));
        });
    }
}

/// The loop of a row, or of its pullback, over slices of equal length. All rows are one function for each instruction set:
/// a tile calls it without asking again which instructions the CPU has.
pub(super) enum RowLoop<'a, T> {
    Unary(Unary<T>, &'a [T], &'a mut [T]),
    Binary(Binary, &'a [T], &'a [T], &'a mut [T]),
    /// `a` where the first is not 0, else `b`.
    Select(&'a [T], &'a [T], &'a [T], &'a mut [T]),
    PullUnary(Unary<T>, &'a mut [T], &'a [T], &'a [T]),
    PullBinary(Binary, usize, &'a mut [T], &'a [T], &'a [T], &'a [T]),
}

impl<T: Number> WithSimd for RowLoop<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        match self {
            Self::Unary(row, x, y) => row.forward_loop(x, y),
            Self::Binary(row, a, b, y) => row.forward_loop(a, b, y),
            Self::Select(mask, a, b, y) => {
                loops::zip_three(y, mask, a, b, inlined!(|mask, a, b| if mask == T::ZERO { b } else { a }));
            }
            Self::PullUnary(row, g, x, y) => row.pull_loop(g, x, y),
            Self::PullBinary(row, k, g, a, b, y) => row.pull_loop(k, g, a, b, y),
        }
    }
}
