//! THE TABLE: every derivative rule, once.
//!
//! An elementwise operation is one row of [`unary!`] or [`binary!`]: from it come the variant, the method of
//! [`Var`] with its documentation, the forward kernel, the fused pullback on arrays, the recorded rule, and the
//! sample that tests draw from. A structural operation is an arm of [`vjp`].
//!
//! `g` is the cotangent of the output `y`; a rule returns the cotangent of an operand. Rows are written in the
//! vocabulary of [`Algebra`](super::Algebra) and serve numbers and `Var`s alike. Broadcasting does not appear:
//! the sweep undoes it.

use super::{Interpreter, Op, Term, Transposed};
use crate::kernel::elementwise;
use crate::kernel::view::View;
use crate::scalar::Scalar;
use crate::shape::{AxisSet, KeepDims};
use crate::var::Var;

/// What the derivative of a row reads: what has to be kept, and in which form it has to be at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// Nothing: the cotangent is handed on as it is.
    Nothing,
    /// The cotangent alone.
    Cotangent,
    /// The cotangent and the operands.
    Operands,
    /// The cotangent and the result.
    Result,
    /// The cotangent, the operands and the result.
    All,
    /// Not even the cotangent: the function is piecewise constant and serves as a mask, no cotangent passes.
    Flat,
}

impl Reads {
    /// Returns whether the operands are among it.
    pub(crate) fn operands(self) -> bool {
        matches!(self, Self::Operands | Self::All)
    }
}

// Not every expression of a row mentions every parameter, hence the `allow`s.
macro_rules! unary {
    ($(
        $(#[$doc:meta])*
        $vis:vis $Variant:ident $({ $($p:ident = $sample:literal),+ })? as $method:ident
            : |$x:ident| $f:expr; |$g:pat_param, $dx_x:pat_param, $dx_y:pat_param| $dx:expr;
            reads $reads:ident, on $low:literal to $high:literal
    )*) => {
        /// An elementwise function of one operand: a row of the table.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub enum Unary<T> {
            $( $(#[$doc])* $Variant $({ $(
                #[doc = concat!("The parameter `", stringify!($p), "`.")]
                $p: T
            ),+ })?, )*
        }

        impl<T: Scalar> Unary<T> {
            /// The names of all rows.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($method)),*];

            /// Returns every row, with parameters fit for tests and an interval of operands that holds no kink or pole
            /// but perhaps 0.
            #[must_use]
            pub fn samples() -> Vec<(Self, std::ops::Range<f64>)> {
                vec![$( (Self::$Variant $({ $($p: T::from_f64($sample)),+ })?, $low..$high) ),*]
            }

            /// Returns the name that messages and printed tapes use.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self { $( Self::$Variant $({ $($p: _),+ })? => stringify!($method), )* }
            }

            /// Returns what the derivative reads.
            #[must_use]
            pub fn reads(&self) -> Reads {
                match self { $( Self::$Variant $({ $($p: _),+ })? => Reads::$reads, )* }
            }

            /// Returns the parameters.
            pub(crate) fn parameters(&self) -> smallvec::SmallVec<[T; 2]> {
                match *self { $( Self::$Variant $({ $($p),+ })? => smallvec::smallvec![$($($p),+)?], )* }
            }

            /// `y = f(x)`.
            #[allow(unused_variables)]
            pub(crate) fn forward(self, x: &[T], y: &mut [T]) {
                match self {
                    $( Self::$Variant $({ $($p),+ })? => elementwise::map(y, x, #[inline(always)] move |$x: T| -> T { $f }), )*
                }
            }

            /// `g = dx(g, x, y)`, in place.
            #[allow(unused_variables)]
            pub(crate) fn pull(self, g: &mut [T], x: &[T], y: &[T]) {
                match self {
                    $( Self::$Variant $({ $($p),+ })? =>
                        elementwise::pull(g, x, y, #[inline(always)] move |$g: T, $dx_x: T, $dx_y: T| -> T { $dx }), )*
                }
            }

            /// Returns `dx(g, x, y)`, recorded.
            #[allow(unused_variables)]
            pub(crate) fn record_vjp<'t>(self, g: Var<'t, T>, x: Var<'t, T>, y: Var<'t, T>) -> Var<'t, T> {
                use super::Algebra as _;
                match self {
                    $( Self::$Variant $({ $($p),+ })? => {
                        let ($g, $dx_x, $dx_y) = (g, x, y);
                        $dx
                    } )*
                }
            }
        }

        impl<'t, T: Scalar> Var<'t, T> {
            $(
                $(#[$doc])*
                #[track_caller]
                #[must_use]
                $vis fn $method(self $($(, $p: T)+)?) -> Self {
                    self.unary(Unary::$Variant $({ $($p),+ })?)
                }
            )*
        }
    };
}

unary! {
    /// Returns `-x`.
    ///
    /// # Derivative
    ///
    /// `-g`
    ///
    /// # Example
    ///
    /// ```
    /// # use tapegrad::Tape;
    /// let tape = Tape::new();
    /// let x = tape.leaf(3.0);
    /// assert_eq!((-x).item(), -3.0);
    /// ```
    pub(crate) Neg as negative: |x| -x; |g, _, _| -g; reads Cotangent, on -2.0 to 2.0

    /// Returns `x + addend` for a number `addend`.
    ///
    /// # Derivative
    ///
    /// `g`
    pub(crate) AddNumber { addend = 1.5 } as add_number: |x| x + addend; |g, _, _| g; reads Nothing, on -2.0 to 2.0

    /// Returns `minuend - x` for a number `minuend`.
    ///
    /// # Derivative
    ///
    /// `-g`
    pub(crate) SubtractFrom { minuend = 1.5 } as subtract_from: |x| minuend - x; |g, _, _| -g; reads Cotangent, on -2.0 to 2.0

    /// Returns `x * factor` for a number `factor`.
    ///
    /// # Derivative
    ///
    /// `g * factor`
    pub(crate) Scale { factor = -0.7 } as scale: |x| x * factor; |g, _, _| g * factor; reads Cotangent, on -2.0 to 2.0

    /// Returns `x / divisor` for a number `divisor`.
    ///
    /// # Derivative
    ///
    /// `g / divisor`
    pub(crate) DivideBy { divisor = 1.7 } as divide_by: |x| x / divisor; |g, _, _| g / divisor; reads Cotangent, on -2.0 to 2.0

    /// Returns `dividend / x` for a number `dividend`.
    ///
    /// # Derivative
    ///
    /// `-g * y / x`
    pub(crate) Divide { dividend = 1.3 } as divide: |x| dividend / x; |g, x, y| -(g * y / x); reads All, on 0.5 to 2.0

    /// Returns the square `x²`.
    ///
    /// # Derivative
    ///
    /// `2 x`
    ///
    /// # Example
    ///
    /// ```
    /// # use tapegrad::Tape;
    /// let tape = Tape::new();
    /// let x = tape.leaf(3.0);
    /// let y = x.square();
    /// y.backward();
    /// assert_eq!(y.item(), 9.0);
    /// assert_eq!(x.grad().unwrap().sum(), 6.0);
    /// ```
    pub Square as square: |x| x * x; |g, x, _| g * (x + x); reads Operands, on -2.0 to 2.0

    /// Returns the power `x^exponent` with a number as exponent.
    ///
    /// As in IEEE, `x^0` is 1 for every `x`, and a negative `x` has powers at whole exponents only, NaN at others.
    ///
    /// # Derivative
    ///
    /// `exponent * x^(exponent - 1)`, and 0 for the exponent 0, at `x = 0` too.
    ///
    /// # Example
    ///
    /// ```
    /// # use tapegrad::Tape;
    /// let tape = Tape::new();
    /// let x = tape.leaf(4.0);
    /// let y = x.powf(1.5);
    /// y.backward();
    /// assert_eq!(y.item(), 8.0);
    /// assert_eq!(x.grad().unwrap().sum(), 3.0); // 1.5 · √4
    /// ```
    pub Powf { exponent = 2.5 } as powf: |x| x.powf(exponent);
        |g, x, _| if exponent == T::ZERO { g.zeros_like() } else { g * (x.powf(exponent - T::ONE) * exponent) };
        reads Operands, on 0.5 to 2.0

    /// Returns the exponential `e^x`.
    ///
    /// # Derivative
    ///
    /// `y`
    ///
    /// # Example
    ///
    /// ```
    /// # use tapegrad::Tape;
    /// let tape = Tape::new();
    /// assert_eq!(tape.leaf(0.0).exp().item(), 1.0);
    /// ```
    pub Exp as exp: |x| x.exp(); |g, _, y| g * y; reads Result, on -2.0 to 2.0

    /// Returns the natural logarithm `ln x`; minus infinity at 0 and NaN below, as in IEEE. [`Var::log`] is the same.
    ///
    /// # Derivative
    ///
    /// `1 / x`
    ///
    /// # Example
    ///
    /// ```
    /// # use tapegrad::Tape;
    /// let tape = Tape::new();
    /// let x = tape.leaf(4.0);
    /// x.ln().backward();
    /// assert_eq!(x.grad().unwrap().sum(), 0.25);
    /// ```
    pub Ln as ln: |x| x.ln(); |g, x, _| g / x; reads Operands, on 0.5 to 2.0

    /// Returns the square root; NaN of a negative number, as in IEEE.
    ///
    /// # Derivative
    ///
    /// `1 / (2 y)`: infinite at 0, as in IEEE.
    ///
    /// # Example
    ///
    /// ```
    /// # use tapegrad::Tape;
    /// let tape = Tape::new();
    /// let x = tape.leaf(4.0);
    /// x.sqrt().backward();
    /// assert_eq!(x.grad().unwrap().sum(), 0.25);
    /// ```
    pub Sqrt as sqrt: |x| x.sqrt(); |g, _, y| g / (y + y); reads Result, on 0.5 to 2.0

    /// Returns the hyperbolic tangent.
    ///
    /// # Derivative
    ///
    /// `1 - y²`
    ///
    /// # Example
    ///
    /// ```
    /// # use tapegrad::Tape;
    /// let tape = Tape::new();
    /// let x = tape.leaf(0.0);
    /// let y = x.tanh();
    /// y.backward();
    /// assert_eq!(y.item(), 0.0);
    /// assert_eq!(x.grad().unwrap().sum(), 1.0);
    /// ```
    pub Tanh as tanh: |x| x.tanh(); |g, _, y| g * (y * y).one_minus(); reads Result, on -2.0 to 2.0

    /// Returns the logistic function `1 / (1 + e^-x)`.
    ///
    /// # Derivative
    ///
    /// `y (1 - y)`
    ///
    /// # Example
    ///
    /// ```
    /// # use tapegrad::Tape;
    /// let tape = Tape::new();
    /// let x = tape.leaf(0.0);
    /// let y = x.sigmoid();
    /// y.backward();
    /// assert_eq!(y.item(), 0.5);
    /// assert_eq!(x.grad().unwrap().sum(), 0.25);
    /// ```
    pub Sigmoid as sigmoid: |x| x.sigmoid(); |g, _, y| g * (y * y.one_minus()); reads Result, on -2.0 to 2.0

    /// Returns the rectifier `max(x, 0)`; NaN stays NaN.
    ///
    /// # Derivative
    ///
    /// 0 for `x <= 0`, so 0 at the kink, else 1. The cotangent is selected, not multiplied.
    ///
    /// # Example
    ///
    /// ```
    /// # use ndarray::array;
    /// # use tapegrad::Tape;
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![-1.0, 0.0, 2.0]);
    /// x.relu().sum().backward();
    /// assert_eq!(x.grad().unwrap(), array![0.0, 0.0, 1.0].into_dyn());
    /// ```
    pub Relu as relu: |x| if x < T::ZERO { T::ZERO } else { x }; |g, x, _| g.gate(x); reads Operands, on 0.1 to 2.0

    /// Returns the absolute value.
    ///
    /// # Derivative
    ///
    /// The sign of `x`, 0 at 0.
    ///
    /// # Example
    ///
    /// ```
    /// # use tapegrad::Tape;
    /// let tape = Tape::new();
    /// let x = tape.leaf(-3.0);
    /// x.abs().backward();
    /// assert_eq!(x.grad().unwrap().sum(), -1.0);
    /// ```
    pub Abs as abs: |x| x.abs(); |g, x, _| g * x.sign(); reads Operands, on 0.1 to 2.0

    /// Returns the sign: -1, 0 or 1; NaN of NaN.
    ///
    /// # Derivative
    ///
    /// 0
    ///
    /// # Example
    ///
    /// ```
    /// # use ndarray::array;
    /// # use tapegrad::Tape;
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![-3.0, 0.0, 0.5]);
    /// assert_eq!(x.sign().value(), array![-1.0, 0.0, 1.0].into_dyn());
    /// ```
    pub Sign as sign: |x| x.sign(); |g, _, _| g.zeros_like(); reads Cotangent, on 0.1 to 2.0

    /// Returns `x` limited to the interval from `low` to `high`; NaN stays NaN.
    ///
    /// # Derivative
    ///
    /// 1 for `low <= x <= high`, so 1 at both bounds, else 0. The cotangent is selected, not multiplied.
    ///
    /// # Example
    ///
    /// ```
    /// # use ndarray::array;
    /// # use tapegrad::Tape;
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![-2.0, -1.0, 0.5, 3.0]);
    /// let y = x.clamp(-1.0, 1.0);
    /// y.sum().backward();
    /// assert_eq!(y.value(), array![-1.0, -1.0, 0.5, 1.0].into_dyn());
    /// assert_eq!(x.grad().unwrap(), array![0.0, 1.0, 1.0, 0.0].into_dyn());
    /// ```
    pub Clamp { low = -1.0, high = 1.0 } as clamp:
        |x| { let x = if x < low { low } else { x }; if x > high { high } else { x } };
        |g, x, _| g.gate(x.within(low, high)); reads Operands, on -0.9 to 0.9

    /// Returns 1 where `low <= x <= high`, else 0: a mask, through which no cotangent passes.
    pub(crate) Within { low = -1.0, high = 1.0 } as within:
        |x| x.within(low, high); |g, _, _| g.zeros_like(); reads Flat, on -0.9 to 0.9
}

macro_rules! binary {
    ($(
        $(#[$doc:meta])*
        $vis:vis $Variant:ident as $method:ident
            : |$a:ident, $b:ident| $f:expr;
            |$ga:pat_param, $aa:pat_param, $ba:pat_param, $ya:pat_param| $da:expr;
            |$gb:pat_param, $ab:pat_param, $bb:pat_param, $yb:pat_param| $db:expr;
            reads $reads_a:ident $reads_b:ident
    )*) => {
        /// An elementwise function of two operands, with NumPy's broadcasting: a row of the table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Binary {
            $( $(#[$doc])* $Variant, )*
        }

        impl Binary {
            /// The names of all rows.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($method)),*];
            /// All rows. Every function is smooth on operands between 0.5 and 2 that differ.
            pub const ALL: &'static [Self] = &[$(Self::$Variant),*];

            /// Returns the name that messages and printed tapes use.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $( Self::$Variant => stringify!($method), )* }
            }

            /// Returns what the derivative by operand `k` (0 or 1) reads.
            #[must_use]
            pub fn reads(self, k: usize) -> Reads {
                match self { $( Self::$Variant => if k == 0 { Reads::$reads_a } else { Reads::$reads_b }, )* }
            }

            /// `y = f(a, b)`, both operands broadcast to `shape`.
            pub(crate) fn forward<T: Scalar>(self, a: View<'_, T>, b: View<'_, T>, shape: &[usize], y: &mut [T]) {
                match self {
                    $( Self::$Variant => elementwise::zip(a, b, shape, y, #[inline(always)] move |$a: T, $b: T| -> T { $f }), )*
                }
            }

            /// `g = d(g, a, b, y)` for operand `k`, in place, in the shape of `y`.
            pub(crate) fn pull<T: Scalar>(
                self, k: usize, g: &mut [T], a: View<'_, T>, b: View<'_, T>, y: &[T], shape: &[usize],
            ) {
                // A strided operand that the rule does not read is not gathered.
                let y_view = View::contiguous(y, shape);
                let (a, b) = if self.reads(k).operands() { (a, b) } else { (y_view, y_view) };
                match (self, k) {
                    $(
                        (Self::$Variant, 0) => elementwise::pull_zip(
                            g, a, b, y, shape, #[inline(always)] move |$ga: T, $aa: T, $ba: T, $ya: T| -> T { $da }),
                        (Self::$Variant, _) => elementwise::pull_zip(
                            g, a, b, y, shape, #[inline(always)] move |$gb: T, $ab: T, $bb: T, $yb: T| -> T { $db }),
                    )*
                }
            }

            /// Returns the rule for operand `k`, recorded, in the shape of `y`.
            pub(crate) fn record_vjp<'t, T: Scalar>(
                self, k: usize, g: Var<'t, T>, a: Var<'t, T>, b: Var<'t, T>, y: Var<'t, T>,
            ) -> Var<'t, T> {
                use super::Algebra as _;
                match (self, k) {
                    $(
                        (Self::$Variant, 0) => { let ($ga, $aa, $ba, $ya) = (g, a, b, y); $da }
                        (Self::$Variant, _) => { let ($gb, $ab, $bb, $yb) = (g, a, b, y); $db }
                    )*
                }
            }
        }

        impl<'t, T: Scalar> Var<'t, T> {
            $(
                $(#[$doc])*
                #[track_caller]
                #[must_use]
                $vis fn $method(self, other: Self) -> Self {
                    self.binary(Binary::$Variant, other)
                }
            )*
        }
    };
}

binary! {
    /// Returns `a + b`.
    pub(crate) Add as add: |a, b| a + b; |g, _, _, _| g; |g, _, _, _| g; reads Nothing Nothing

    /// Returns `a - b`.
    pub(crate) Sub as sub: |a, b| a - b; |g, _, _, _| g; |g, _, _, _| -g; reads Nothing Cotangent

    /// Returns `a * b`, element by element.
    pub(crate) Mul as mul: |a, b| a * b; |g, _, b, _| g * b; |g, a, _, _| g * a; reads Operands Operands

    /// Returns `a / b`, element by element, as in IEEE.
    pub(crate) Div as div: |a, b| a / b; |g, _, b, _| g / b; |g, _, b, y| -(g * y / b); reads Operands All

    /// Returns the larger of two elements, with NumPy's broadcasting; NaN if either is NaN.
    ///
    /// # Derivative
    ///
    /// `g` for the larger, 0 for the smaller, half each at a tie; `g` for both if one is NaN. The cotangent is
    /// selected, not multiplied.
    ///
    /// # Panics
    ///
    /// If the shapes do not broadcast.
    ///
    /// # Example
    ///
    /// ```
    /// # use ndarray::array;
    /// # use tapegrad::Tape;
    /// let tape = Tape::new();
    /// let a = tape.leaf(array![1.0, 5.0, 2.0]);
    /// let b = tape.leaf(array![3.0, 4.0, 2.0]);
    /// let y = a.maximum(b);
    /// y.sum().backward();
    /// assert_eq!(y.value(), array![3.0, 5.0, 2.0].into_dyn());
    /// assert_eq!(a.grad().unwrap(), array![0.0, 1.0, 0.5].into_dyn());
    /// ```
    pub Maximum as maximum: |a, b| a.maximum(b);
        |g, a, b, _| { let share = a.share(b); g.gate(share) * share };
        |g, a, b, _| { let share = b.share(a); g.gate(share) * share }; reads Operands Operands

    /// Returns 0 where `mask <= 0`, else `a`. Selects and never multiplies; no cotangent passes to the mask.
    pub(crate) Gate as gate: |a, mask| a.gate(mask);
        |g, _, mask, _| g.gate(mask); |g, _, _, _| g.zeros_like(); reads Operands Flat

    /// Returns the share of a cotangent that `maximum` hands to its first operand: 0 for the smaller, ½ at a tie, else 1.
    pub(crate) Share as share: |a, b| a.share(b); |g, _, _, _| g.zeros_like(); |g, _, _, _| g.zeros_like(); reads Flat Flat

    /// Returns 1 where two elements are equal, else 0: a mask.
    pub(crate) Equal as equal: |a, b| a.equal(b); |g, _, _, _| g.zeros_like(); |g, _, _, _| g.zeros_like(); reads Flat Flat
}

/// Returns the rule of the structural operation `op` for its operand `k`: the vector-Jacobian product with the
/// cotangent `g`.
///
/// The rule's last operation is returned and not applied: the sweep runs it into the cotangent that is there
/// already, or into a new one.
pub(crate) fn vjp<T: Scalar, I: Interpreter<T>>(op: &Op<T>, k: usize, i: &I, g: I::Value) -> Term<T, I::Value> {
    match *op {
        // y = a b: da = g bᵀ, db = aᵀ g (Giles 2008, 2.2.1). A transposed operand is read transposed, never copied.
        Op::Matmul { left, right } => match (k, left, right) {
            (0, Transposed::No, _) => Term::Two(Op::Matmul { left: Transposed::No, right: right.flipped() }, g, i.x(1)),
            (0, Transposed::Yes, _) => Term::Two(Op::Matmul { left: right, right: Transposed::Yes }, i.x(1), g),
            (_, _, Transposed::No) => Term::Two(Op::Matmul { left: left.flipped(), right: Transposed::No }, i.x(0), g),
            (_, _, Transposed::Yes) => Term::Two(Op::Matmul { left: Transposed::Yes, right: left }, g, i.x(0)),
        },
        Op::Sum { axes, .. } => {
            let kept = keep_dims(i, g, axes);
            Term::One(Op::BroadcastTo(i.x_shape(0)), kept)
        }
        // Ties share evenly: the mask of maximal elements, divided by how many there are.
        Op::Max { axes, .. } => {
            let y = keep_dims(i, i.y(), axes);
            let g = keep_dims(i, g, axes);
            let mask = i.apply(Op::Binary(Binary::Equal), [i.x(0), y]);
            let count = i.apply(Op::Sum { axes, keep: KeepDims::Yes }, [i.again(&mask)]);
            let share = i.apply(Op::Binary(Binary::Div), [g, count]);
            Term::Two(Op::Binary(Binary::Mul), mask, share)
        }
        // y (g - Σ g y)
        Op::Softmax { axis } => {
            let weighted = i.apply(Op::Binary(Binary::Mul), [i.again(&g), i.y()]);
            let total = i.apply(Op::Sum { axes: AxisSet::one(axis), keep: KeepDims::Yes }, [weighted]);
            let centered = i.apply(Op::Binary(Binary::Sub), [g, total]);
            Term::Two(Op::Binary(Binary::Mul), centered, i.y())
        }
        // g - softmax Σ g, and softmax = e^y
        Op::LogSoftmax { axis } => {
            let total = i.apply(Op::Sum { axes: AxisSet::one(axis), keep: KeepDims::Yes }, [i.again(&g)]);
            let softmax = i.apply(Op::Unary(Unary::Exp), [i.y()]);
            let taken = i.apply(Op::Binary(Binary::Mul), [softmax, total]);
            Term::Two(Op::Binary(Binary::Sub), g, taken)
        }
        // Moving elements about: the cotangent moves back. What was repeated is summed, what was left out is zero.
        Op::Reshape(_) => Term::One(Op::Reshape(i.x_shape(0)), g),
        Op::Permute(ref axes) => Term::One(Op::Permute(axes.inverse()), g),
        Op::BroadcastTo(_) => Term::One(Op::SumTo(i.x_shape(0)), g),
        Op::SumTo(_) => Term::One(Op::BroadcastTo(i.x_shape(0)), g),
        Op::Slice { axis, start, step, .. } => {
            Term::One(Op::Unslice { axis, start, step, length: i.x_shape(0)[axis] }, g)
        }
        Op::Unslice { axis, start, step, .. } => {
            Term::One(Op::Slice { axis, start, step, length: i.x_shape(0)[axis] }, g)
        }
        Op::IndexSelect { axis, indices } => Term::One(Op::IndexAdd { axis, indices, length: i.x_shape(0)[axis] }, g),
        Op::IndexAdd { axis, indices, .. } => Term::One(Op::IndexSelect { axis, indices }, g),
        Op::Pick { columns } => Term::One(Op::Unpick { columns, width: i.x_shape(0)[1] }, g),
        Op::Unpick { columns, .. } => Term::One(Op::Pick { columns }, g),
        Op::Concat { axis } => {
            let start = (0..k).map(|before| i.x_shape(before)[axis]).sum();
            Term::One(Op::Slice { axis, start, step: 1, length: i.x_shape(k)[axis] }, g)
        }
        // Rules that only the interpreter can run: rows of the table, fused or recorded, and the user's own.
        Op::Unary(_) | Op::Binary(_) | Op::Custom(_) => Term::Done(i.pull(k, g)),
        Op::Checkpoint(_) => unreachable!("a sweep runs a segment again, as a whole"),
        Op::Leaf | Op::Constant | Op::Param => unreachable!("a source has no operands"),
    }
}

/// Returns a reduced value with its axes back at length 1, so that it broadcasts against the operand.
fn keep_dims<T: Scalar, I: Interpreter<T>>(i: &I, reduced: I::Value, axes: AxisSet) -> I::Value {
    i.apply(Op::Reshape(i.x_shape(0).reduced(axes, KeepDims::Yes)), [reduced])
}
