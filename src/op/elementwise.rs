//! [`Unary`] and [`Binary`]: the rows of the table as operations, with kernel, pullback and recorded rule.

use std::ops::Range;

use smallvec::{SmallVec, smallvec};

use pulp::{Simd, WithSimd};

use crate::kernel::view::View;
use crate::kernel::{elementwise, loops};
use crate::number::{Algebra, Functions, Number, dispatch, inlined, outlined};
use crate::op::rows::{GELU_CUBE, GELU_SLOPE, NORMAL_DENSITY, SELU_ALPHA, SELU_SCALE, binary_rows, unary_rows};
use crate::threads::{PIECE, in_pieces};

/// The values that the derivative of a row reads besides the cotangent. They have to be kept, and the sweep gathers
/// them into row-major order.
///
/// # Example
///
/// ```
/// use tapegrad::op::{Saves, Unary};
///
/// assert_eq!(Unary::<f64>::Tanh.saves(), Saves::Result); // g (1 - y²)
/// assert_eq!(Unary::<f64>::Sin.saves(), Saves::Operands); // g cos x
/// ```
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

/// The type of a row's parameter.
macro_rules! row_parameter {
    ($p:ident) => {
        T
    };
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
        ///
        /// # Example
        ///
        /// ```
        /// use tapegrad::Tape;
        /// use tapegrad::op::Unary;
        ///
        /// let tape = Tape::<f64>::new();
        /// let x = tape.leaf(0.5);
        /// assert_eq!(x.unary(Unary::Tanh).item(), x.tanh().item());
        /// ```
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
            ///
            /// # Example
            ///
            /// ```
            /// use tapegrad::op::Unary;
            ///
            /// assert_eq!(Unary::<f64>::Tanh.name(), "tanh");
            /// ```
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self { $( Self::$Variant $({ $($p: _),+ })? => stringify!($method), )* }
            }

            /// Returns the values that the derivative reads.
            ///
            /// # Example
            ///
            /// See [`Saves`].
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

            /// Runs the loop `y = f(x)`.
            #[inline]
            fn forward_by(self, runner: impl Runner, x: &[T], y: &mut [T]) {
                match self {
                    $( Self::$Variant $({ $($p),+ })? => {
                        runner.run(unary_forward::$Variant { x, y, parameters: ($($($p),+)?) });
                    } )*
                }
            }

            /// Runs the loop `g = dx(g, x, y)`.
            #[inline]
            fn pull_by(self, runner: impl Runner, g: &mut [T], x: &[T], y: &[T]) {
                match self {
                    $( Self::$Variant $({ $($p),+ })? => {
                        runner.run(unary_pull::$Variant { g, x, y, parameters: ($($($p),+)?) });
                    } )*
                }
            }

            /// Returns `dx(g, x, y)`.
            #[allow(unused_variables)]
            pub(crate) fn vjp<A: Algebra<T>>(self, g: A, x: A, y: A) -> A {
                match self { $( Self::$Variant $({ $($p),+ })? => derivative!(@vjp $dx, g, x, y), )* }
            }
        }

        /// The loops of the rows, a type for each.
        #[allow(unused_parens)]
        mod unary_forward {
            use super::*;

            $(
                pub(super) struct $Variant<'a, T> {
                    pub(super) x: &'a [T],
                    pub(super) y: &'a mut [T],
                    pub(super) parameters: ($($(row_parameter!($p)),+)?),
                }

                impl<T: Number> WithSimd for $Variant<'_, T> {
                    type Output = ();

                    #[inline(always)]
                    #[allow(unused_variables, unused_parens)]
                    fn with_simd<S: Simd>(self, _: S) {
                        let Self { x, y, parameters: ($($($p),+)?) } = self;
                        $(
                            if all_in_fast_range(x) {
                                return loops::map(y, x, inlined!(|$fast_x: T| -> T { $fast_f }));
                            }
                        )?
                        loops::map(y, x, inlined!(|$x: T| -> T { $f }));
                    }
                }
            )*
        }

        /// The loops of the rows' pullbacks, a type for each.
        #[allow(unused_parens)]
        mod unary_pull {
            use super::*;

            $(
                pub(super) struct $Variant<'a, T> {
                    pub(super) g: &'a mut [T],
                    pub(super) x: &'a [T],
                    pub(super) y: &'a [T],
                    pub(super) parameters: ($($(row_parameter!($p)),+)?),
                }

                impl<T: Number> WithSimd for $Variant<'_, T> {
                    type Output = ();

                    #[inline(always)]
                    #[allow(unused_variables, unused_parens)]
                    fn with_simd<S: Simd>(self, _: S) {
                        let Self { g, x, y, parameters: ($($($p),+)?) } = self;
                        $(
                            if all_in_fast_range(x) {
                                return derivative!(@pull $fast_dx, g, x, y);
                            }
                        )?
                        derivative!(@pull $dx, g, x, y);
                    }
                }
            )*
        }
    };
}
unary_rows!(unary);

impl<T: Number> Unary<T> {
    /// `y = f(x)`.
    pub(crate) fn forward(self, x: &[T], y: &mut [T]) {
        in_pieces(y, 1, PIECE, |start, y| {
            self.forward_by(Dispatch, &x[start..][..y.len()], y);
        });
    }

    /// `g = dx(g, x, y)`, in place, or `g = dx(from, x, y)`.
    pub(crate) fn pull(self, g: &mut [T], from: Option<&[T]>, x: &[T], y: &[T]) {
        elementwise::in_place_or_from(g, from, |start, g| {
            let (x, y) = (&x[start..][..g.len()], &y[start..][..g.len()]);
            self.pull_by(Dispatch, g, x, y);
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
        ///
        /// # Example
        ///
        /// ```
        /// use tapegrad::Tape;
        /// use tapegrad::op::Binary;
        ///
        /// let tape = Tape::<f64>::new();
        /// let (x, y) = (tape.leaf(3.0), tape.leaf(4.0));
        /// assert_eq!(x.binary(Binary::Mul, y).item(), 12.0);
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
            ///
            /// # Example
            ///
            /// ```
            /// use tapegrad::op::Binary;
            ///
            /// assert_eq!(Binary::Mul.name(), "mul");
            /// ```
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $( Self::$Variant => stringify!($method), )* }
            }

            /// Returns the values that the derivative by operand `k` reads.
            ///
            /// # Example
            ///
            /// ```
            /// use tapegrad::op::{Binary, Saves};
            ///
            /// assert_eq!(Binary::Mul.saves(0), Saves::Operands); // g b
            /// ```
            #[must_use]
            pub fn saves(self, k: usize) -> Saves {
                match self {
                    $( Self::$Variant => if k == 0 { derivative!(@saves $da) } else { derivative!(@saves $db) }, )*
                }
            }

            /// Runs the loop `y = f(a, b)`.
            #[inline]
            fn forward_by<T: Number>(self, runner: impl Runner, a: &[T], b: &[T], y: &mut [T]) {
                match self {
                    $( Self::$Variant => runner.run(binary_forward::$Variant { a, b, y }), )*
                }
            }

            /// Runs the loop `g = da(g, a, b, y)` for the first operand, `k = 0`, and `g = db(g, a, b, y)` for the second.
            #[inline]
            fn pull_by<T: Number>(self, runner: impl Runner, k: usize, g: &mut [T], a: &[T], b: &[T], y: &[T]) {
                match (self, k) {
                    $(
                        (Self::$Variant, 0) => runner.run(binary_pull_first::$Variant { g, a, b, y }),
                        (Self::$Variant, _) => runner.run(binary_pull_second::$Variant { g, a, b, y }),
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

        /// The loops of the rows, a type for each.
        mod binary_forward {
            use super::*;

            $(
                pub(super) struct $Variant<'a, T> {
                    pub(super) a: &'a [T],
                    pub(super) b: &'a [T],
                    pub(super) y: &'a mut [T],
                }

                impl<T: Number> WithSimd for $Variant<'_, T> {
                    type Output = ();

                    #[inline(always)]
                    fn with_simd<S: Simd>(self, _: S) {
                        let Self { a, b, y } = self;
                        loops::zip_slices(y, a, b, inlined!(|$a: T, $b: T| -> T { $f }));
                    }
                }
            )*
        }

        /// The loops of the pullbacks for the first operand, a type for each row.
        mod binary_pull_first {
            use super::*;
            $( binary_pull!($Variant, $da); )*
        }

        /// The loops of the pullbacks for the second operand, a type for each row.
        mod binary_pull_second {
            use super::*;
            $( binary_pull!($Variant, $db); )*
        }
    };
}

/// The loop of a row's pullback for one operand.
macro_rules! binary_pull {
    ($Variant:ident, $dx:tt) => {
        pub(super) struct $Variant<'a, T> {
            pub(super) g: &'a mut [T],
            pub(super) a: &'a [T],
            pub(super) b: &'a [T],
            pub(super) y: &'a [T],
        }

        impl<T: Number> WithSimd for $Variant<'_, T> {
            type Output = ();

            #[inline(always)]
            #[allow(unused_variables)]
            fn with_simd<S: Simd>(self, _: S) {
                let Self { g, a, b, y } = self;
                derivative!(@pull $dx, g, a, b, y);
            }
        }
    };
}
binary_rows!(binary);

impl Binary {
    /// `y = f(a, b)`, broadcast to `shape`.
    pub(crate) fn forward<T: Number>(self, a: View<'_, T>, b: View<'_, T>, shape: &[usize], y: &mut [T]) {
        elementwise::zip_with(a, b, shape, y, |y, a, b| self.forward_by(Dispatch, a, b, y));
    }

    /// `g = da(g, a, b, y)` for the first operand, `k = 0`, and `g = db(g, a, b, y)` for the second, in place, or of
    /// `from` instead of `g`. All three have the shape of `y`, to which the operands broadcast.
    pub(crate) fn pull<T: Number>(
        self,
        k: usize,
        g: &mut [T],
        from: Option<&[T]>,
        operands: [View<'_, T>; 2],
        y: View<'_, T>,
    ) {
        // A strided operand that the rule does not read is not gathered.
        let operands = if self.saves(k).operands() { operands } else { [y, y] };
        elementwise::pull_with(g, from, operands, y, |g, a, b, y| self.pull_by(Dispatch, k, g, a, b, y));
    }
}

/// The loops of rows on a known instruction set: a tile does not ask again which instructions the CPU has.
///
/// They are not inlined: tiles and straight-line programs share them. The row is passed by reference, and the slices in
/// registers. An argument that was written to memory just before stalls the load that reads it.
impl<T: Number> Unary<T> {
    /// `y = f(x)`.
    #[inline(never)]
    pub(super) fn run<S: Simd>(&self, simd: S, x: &[T], y: &mut [T]) {
        self.forward_by(Known(simd), x, y);
    }

    /// `g = dx(g, x, y)`, in place.
    #[inline(never)]
    pub(super) fn run_pull<S: Simd>(&self, simd: S, g: &mut [T], x: &[T], y: &[T]) {
        self.pull_by(Known(simd), g, x, y);
    }
}

impl Binary {
    /// `y = f(a, b)`.
    #[inline(never)]
    pub(super) fn run<S: Simd, T: Number>(self, simd: S, a: &[T], b: &[T], y: &mut [T]) {
        self.forward_by(Known(simd), a, b, y);
    }

    /// `g = da(g, a, b, y)` for the first operand, `k = 0`, and `g = db(g, a, b, y)` for the second, in place.
    #[inline(never)]
    pub(super) fn run_pull<S: Simd, T: Number>(self, simd: S, k: usize, g: &mut [T], a: &[T], b: &[T], y: &[T]) {
        self.pull_by(Known(simd), k, g, a, b, y);
    }
}

/// `y = a` where the mask is not 0, else `b`.
pub(super) fn select<S: Simd, T: Number>(simd: S, mask: &[T], a: &[T], b: &[T], y: &mut [T]) {
    Known(simd).run(SelectLoop { mask, a, b, y });
}

struct SelectLoop<'a, T> {
    mask: &'a [T],
    a: &'a [T],
    b: &'a [T],
    y: &'a mut [T],
}

impl<T: Number> WithSimd for SelectLoop<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { mask, a, b, y } = self;
        loops::zip_three(y, mask, a, b, inlined!(|mask, a, b| if mask == T::ZERO { b } else { a }));
    }
}

/// How a loop is run. The loops are types of their own, and not closures within a generic function, so that both ways share
/// the compiled code.
trait Runner: Copy {
    fn run(self, looped: impl WithSimd<Output = ()>);
}

/// On the widest vector instructions of this CPU.
#[derive(Clone, Copy)]
struct Dispatch;

impl Runner for Dispatch {
    // Not inlined: a function with the loops of all rows in it takes minutes to compile.
    #[inline(never)]
    fn run(self, looped: impl WithSimd<Output = ()>) {
        dispatch(looped);
    }
}

/// On an instruction set that is known.
#[derive(Clone, Copy)]
struct Known<S>(S);

impl<S: Simd> Runner for Known<S> {
    #[inline(always)]
    fn run(self, looped: impl WithSimd<Output = ()>) {
        // With vector instructions, the loop is a function of its own. Without, it would be inlined.
        if S::IS_SCALAR {
            outlined(self.0, looped);
        } else {
            self.0.vectorize(looped);
        }
    }
}
