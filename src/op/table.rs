//! THE TABLE: every derivative rule, once.
//!
//! An elementwise operation is one row of [`unary!`] or [`binary!`]: from it come the variant, the method of
//! [`Var`] with its documentation, the forward kernel, the fused pullback on arrays, the recorded rule, and the
//! sample that tests draw from. A structural operation is an arm of [`vjp`].
//!
//! `g` is the cotangent of the output `y`; a rule returns the cotangent of an operand. Rows are written in the
//! vocabulary of [`Algebra`](super::Algebra) and serve numbers and `Var`s alike. Broadcasting does not appear:
//! the sweep undoes it.

use smallvec::SmallVec;

use super::{Interpreter, Op, Permutation, Term, Transposed};
use crate::kernel::elementwise;
use crate::kernel::view::View;
use crate::scalar::Scalar;
use crate::shape::{AxisSet, KeepDims, broadcast};
use crate::var::Var;

/// `1/√(2π)`: the normal density at 0.
const NORMAL_DENSITY: f64 = 0.5 * std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2;
/// `√(2/π)`, twice: the slope of the argument of [`Unary::GeluTanh`]'s logistic function at 0.
const GELU_SLOPE: f64 = std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::SQRT_2;
/// The coefficient of `x³` there (Hendrycks and Gimpel 2016).
const GELU_CUBE: f64 = 0.044_715;

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

/// Returns whether a row's loop for arguments that are `near` holds for all of these: one without a call in it, which
/// vectorizes. Each element gets the same bits from either loop.
fn all_near<T: Scalar>(x: &[T]) -> bool {
    // No early exit: a plain fold vectorizes.
    x.iter().fold(true, |all, &x| all & x.holds_near())
}

// Not every expression of a row mentions every parameter, hence the `allow`s.
macro_rules! unary {
    ($(
        $(#[$doc:meta])*
        $vis:vis $Variant:ident $({ $($p:ident = $sample:literal),+ })? as $method:ident
            : |$x:ident| $f:expr; |$g:pat_param, $dx_x:pat_param, $dx_y:pat_param| $dx:expr;
            $(near |$near_x:ident| $near_f:expr; |$near_g:pat_param, $near_dx_x:pat_param, $near_dx_y:pat_param| $near_dx:expr;)?
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
                    $(
                        $( Self::$Variant if all_near(x) => {
                            elementwise::map(y, x, #[inline(always)] move |$near_x: T| -> T { $near_f })
                        } )?
                        Self::$Variant $({ $($p),+ })? => {
                            elementwise::map(y, x, #[inline(always)] move |$x: T| -> T { $f })
                        }
                    )*
                }
            }

            /// `g = dx(g, x, y)`, in place.
            #[allow(unused_variables)]
            pub(crate) fn pull(self, g: &mut [T], x: &[T], y: &[T]) {
                match self {
                    $(
                        $( Self::$Variant if all_near(x) => elementwise::pull(
                            g, x, y,
                            #[inline(always)] move |$near_g: T, $near_dx_x: T, $near_dx_y: T| -> T { $near_dx }), )?
                        Self::$Variant $({ $($p),+ })? => {
                            elementwise::pull(g, x, y, #[inline(always)] move |$g: T, $dx_x: T, $dx_y: T| -> T { $dx })
                        }
                    )*
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
    #[doc(alias = "float_power")]
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
    #[doc(alias = "expit")]
    #[doc(alias = "logistic")]
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
    /// The sign of `x`, 0 at 0, where the cotangent is not even multiplied.
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
    #[doc(alias = "absolute")]
    #[doc(alias = "fabs")]
    pub Abs as abs: |x| x.abs(); |g, x, y| (g * x.sign()).gate(y); reads All, on 0.1 to 2.0

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
    #[doc(alias = "signum")]
    pub Sign as sign: |x| x.sign(); |g, _, _| g.zeros_like(); reads Cotangent, on 0.1 to 2.0

    /// Returns `x` limited to the interval from `low` to `high`; NaN stays NaN.
    ///
    /// # Derivative
    ///
    /// 1 for `low <= x <= high`, so 1 at both bounds, else 0. The cotangent is selected, not multiplied.
    ///
    /// # Panics
    ///
    /// If `low` is above `high`, or one of them is NaN.
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
    #[doc(alias = "clip")]
    pub Clamp { low = -1.0, high = 1.0 } as clamp:
        |x| x.clamp(low, high);
        |g, x, _| g.gate(x.within(low, high)); reads Operands, on -0.9 to 0.9

    /// Returns the reciprocal `1 / x`; infinite at 0, as in IEEE.
    ///
    /// # Derivative
    ///
    /// `-y²`
    ///
    /// # Example
    ///
    /// ```
    /// # use tapegrad::Tape;
    /// let tape = Tape::new();
    /// let x = tape.leaf(4.0);
    /// let y = x.recip();
    /// y.backward();
    /// assert_eq!((y.item(), x.grad().unwrap().sum()), (0.25, -0.0625));
    /// ```
    #[doc(alias = "reciprocal")]
    pub Recip as recip: |x| T::ONE / x; |g, _, y| -(g * y * y); reads Result, on 0.5 to 2.0

    /// Returns the reciprocal of the square root, `1 / √x`; infinite at 0 and NaN below, as in IEEE.
    ///
    /// # Derivative
    ///
    /// `-y³ / 2`
    ///
    /// # Example
    ///
    /// ```
    /// # use tapegrad::Tape;
    /// let tape = Tape::new();
    /// let x = tape.leaf(4.0);
    /// let y = x.rsqrt();
    /// y.backward();
    /// assert_eq!((y.item(), x.grad().unwrap().sum()), (0.5, -0.0625));
    /// ```
    pub Rsqrt as rsqrt: |x| T::ONE / x.sqrt();
        |g, _, y| -(g * (y * y * y) * T::from_f64(0.5));
        reads Result, on 0.5 to 2.0

    /// Returns the logarithm to base 2; minus infinity at 0 and NaN below, as in IEEE.
    ///
    /// # Derivative
    ///
    /// `1 / (x ln 2)`
    ///
    /// # Example
    ///
    /// ```
    /// # use tapegrad::Tape;
    /// let tape = Tape::new();
    /// let x = tape.leaf(8.0);
    /// let y = x.log2();
    /// y.backward();
    /// assert_eq!(y.item(), 3.0);
    /// assert_eq!(x.grad().unwrap().sum(), 1.0 / (8.0 * 2.0_f64.ln()));
    /// ```
    pub Log2 as log2: |x| x.log2();
        |g, x, _| g / (x * T::from_f64(std::f64::consts::LN_2));
        reads Operands, on 0.5 to 2.0

    /// Returns the logarithm to base 10; minus infinity at 0 and NaN below, as in IEEE.
    ///
    /// # Derivative
    ///
    /// `1 / (x ln 10)`
    ///
    /// # Example
    ///
    /// ```
    /// # use tapegrad::Tape;
    /// let tape = Tape::new();
    /// let x = tape.leaf(1000.0);
    /// let y = x.log10();
    /// y.backward();
    /// assert_eq!(y.item(), 3.0);
    /// assert_eq!(x.grad().unwrap().sum(), 1.0 / (1000.0 * 10.0_f64.ln()));
    /// ```
    pub Log10 as log10: |x| x.log10();
        |g, x, _| g / (x * T::from_f64(std::f64::consts::LN_10));
        reads Operands, on 0.5 to 2.0

    /// Returns `ln(1 + x)`, accurate near 0 too; minus infinity at -1 and NaN below, as in IEEE.
    ///
    /// # Derivative
    ///
    /// `1 / (1 + x)`
    ///
    /// # Example
    ///
    /// ```
    /// # use tapegrad::Tape;
    /// let tape = Tape::new();
    /// let x = tape.leaf(1e-20);
    /// let y = x.ln_1p();
    /// y.backward();
    /// assert_eq!((y.item(), x.grad().unwrap().sum()), (1e-20, 1.0)); // ln of 1 + 1e-20 would be 0
    /// ```
    #[doc(alias = "log1p")]
    pub Ln1p as ln_1p: |x| x.ln_1p(); |g, x, _| g / (x + T::ONE); reads Operands, on -0.5 to 2.0

    /// Returns `e^x - 1`, accurate near 0 too.
    ///
    /// # Derivative
    ///
    /// `y + 1`
    ///
    /// # Example
    ///
    /// ```
    /// # use tapegrad::Tape;
    /// let tape = Tape::new();
    /// let x = tape.leaf(1e-20);
    /// let y = x.exp_m1();
    /// y.backward();
    /// assert_eq!((y.item(), x.grad().unwrap().sum()), (1e-20, 1.0));
    /// ```
    #[doc(alias = "expm1")]
    pub ExpM1 as exp_m1: |x| x.exp_m1(); |g, _, y| g * (y + T::ONE); reads Result, on -2.0 to 2.0

    /// Returns the sine.
    ///
    /// # Derivative
    ///
    /// `cos x`
    ///
    /// # Example
    ///
    /// ```
    /// # use tapegrad::Tape;
    /// let tape = Tape::new();
    /// let x = tape.leaf(0.0);
    /// let y = x.sin();
    /// y.backward();
    /// assert_eq!((y.item(), x.grad().unwrap().sum()), (0.0, 1.0));
    /// ```
    pub Sin as sin: |x| x.sin(); |g, x, _| g * x.cos();
        near |x| x.sin_near(); |g, x, _| g * x.cos_near();
        reads Operands, on -2.0 to 2.0

    /// Returns the cosine.
    ///
    /// # Derivative
    ///
    /// `-sin x`
    ///
    /// # Example
    ///
    /// ```
    /// # use tapegrad::Tape;
    /// let tape = Tape::new();
    /// let x = tape.leaf(0.0);
    /// let y = x.cos();
    /// y.backward();
    /// assert_eq!((y.item(), x.grad().unwrap().sum()), (1.0, 0.0));
    /// ```
    pub Cos as cos: |x| x.cos(); |g, x, _| -(g * x.sin());
        near |x| x.cos_near(); |g, x, _| -(g * x.sin_near());
        reads Operands, on -2.0 to 2.0

    /// Returns the tangent.
    ///
    /// # Derivative
    ///
    /// `1 + y²`
    ///
    /// # Example
    ///
    /// ```
    /// # use tapegrad::Tape;
    /// let tape = Tape::new();
    /// let x = tape.leaf(0.0);
    /// let y = x.tan();
    /// y.backward();
    /// assert_eq!((y.item(), x.grad().unwrap().sum()), (0.0, 1.0));
    /// ```
    pub Tan as tan: |x| x.tan(); |g, _, y| g * (y * y + T::ONE);
        near |x| x.tan_near(); |g, _, y| g * (y * y + T::ONE);
        reads Result, on -1.0 to 1.0

    /// Returns the inverse sine, between -π/2 and π/2; NaN outside -1 to 1.
    ///
    /// # Derivative
    ///
    /// `1 / √(1 - x²)`: infinite at -1 and 1.
    ///
    /// # Example
    ///
    /// ```
    /// # use tapegrad::Tape;
    /// let tape = Tape::<f64>::new();
    /// let x = tape.leaf(0.6);
    /// let y = x.asin();
    /// y.backward();
    /// assert!((y.item().sin() - 0.6).abs() < 1e-15);
    /// assert!((x.grad().unwrap().sum() - 1.25).abs() < 1e-15); // 1 / 0.8
    /// ```
    #[doc(alias = "arcsin")]
    pub Asin as asin: |x| x.asin(); |g, x, _| g / (x.one_minus() * (x + T::ONE)).sqrt(); reads Operands, on -0.8 to 0.8

    /// Returns the inverse cosine, between 0 and π; NaN outside -1 to 1.
    ///
    /// # Derivative
    ///
    /// `-1 / √(1 - x²)`: infinite at -1 and 1.
    ///
    /// # Example
    ///
    /// ```
    /// # use tapegrad::Tape;
    /// let tape = Tape::<f64>::new();
    /// let x = tape.leaf(0.6);
    /// let y = x.acos();
    /// y.backward();
    /// assert!((y.item().cos() - 0.6).abs() < 1e-15);
    /// assert!((x.grad().unwrap().sum() + 1.25).abs() < 1e-15); // -1 / 0.8
    /// ```
    #[doc(alias = "arccos")]
    pub Acos as acos: |x| x.acos();
        |g, x, _| -(g / (x.one_minus() * (x + T::ONE)).sqrt());
        reads Operands, on -0.8 to 0.8

    /// Returns the inverse tangent, between -π/2 and π/2.
    ///
    /// # Derivative
    ///
    /// `1 / (1 + x²)`
    ///
    /// # Example
    ///
    /// ```
    /// # use tapegrad::Tape;
    /// let tape = Tape::new();
    /// let x = tape.leaf(1.0);
    /// let y = x.atan();
    /// y.backward();
    /// assert_eq!((y.item(), x.grad().unwrap().sum()), (std::f64::consts::FRAC_PI_4, 0.5));
    /// ```
    #[doc(alias = "arctan")]
    pub Atan as atan: |x| x.atan(); |g, x, _| g / (x * x + T::ONE); reads Operands, on -2.0 to 2.0

    /// Returns the hyperbolic sine.
    ///
    /// # Derivative
    ///
    /// `cosh x`
    ///
    /// # Example
    ///
    /// ```
    /// # use tapegrad::Tape;
    /// let tape = Tape::new();
    /// let x = tape.leaf(0.0);
    /// let y = x.sinh();
    /// y.backward();
    /// assert_eq!((y.item(), x.grad().unwrap().sum()), (0.0, 1.0));
    /// ```
    pub Sinh as sinh: |x| x.sinh(); |g, x, _| g * x.cosh(); reads Operands, on -2.0 to 2.0

    /// Returns the hyperbolic cosine.
    ///
    /// # Derivative
    ///
    /// `sinh x`
    ///
    /// # Example
    ///
    /// ```
    /// # use tapegrad::Tape;
    /// let tape = Tape::new();
    /// let x = tape.leaf(0.0);
    /// let y = x.cosh();
    /// y.backward();
    /// assert_eq!((y.item(), x.grad().unwrap().sum()), (1.0, 0.0));
    /// ```
    pub Cosh as cosh: |x| x.cosh(); |g, x, _| g * x.sinh(); reads Operands, on -2.0 to 2.0

    /// Returns the inverse hyperbolic sine.
    ///
    /// # Derivative
    ///
    /// `1 / √(x² + 1)`
    ///
    /// # Example
    ///
    /// ```
    /// # use tapegrad::Tape;
    /// let tape = Tape::<f64>::new();
    /// let x = tape.leaf(0.75);
    /// let y = x.asinh();
    /// y.backward();
    /// assert!((y.item() - 2.0_f64.ln()).abs() < 1e-15); // ln(x + √(x² + 1))
    /// assert_eq!(x.grad().unwrap().sum(), 0.8); // 1 / 1.25
    /// ```
    #[doc(alias = "arcsinh")]
    pub Asinh as asinh: |x| x.asinh(); |g, x, _| g / x.hypot(x.zeros_like() + T::ONE); reads Operands, on -2.0 to 2.0

    /// Returns the inverse hyperbolic cosine; NaN below 1.
    ///
    /// # Derivative
    ///
    /// `1 / √(x² - 1)`: infinite at 1.
    ///
    /// # Example
    ///
    /// ```
    /// # use tapegrad::Tape;
    /// let tape = Tape::<f64>::new();
    /// let x = tape.leaf(1.25);
    /// let y = x.acosh();
    /// y.backward();
    /// assert!((y.item() - 2.0_f64.ln()).abs() < 1e-15); // ln(x + √(x² - 1))
    /// assert!((x.grad().unwrap().sum() - 4.0 / 3.0).abs() < 1e-15); // 1 / 0.75
    /// ```
    #[doc(alias = "arccosh")]
    pub Acosh as acosh: |x| x.acosh();
        |g, x, _| g / ((x - T::ONE).sqrt() * (x + T::ONE).sqrt());
        reads Operands, on 1.2 to 3.0

    /// Returns the inverse hyperbolic tangent; infinite at -1 and 1, NaN outside.
    ///
    /// # Derivative
    ///
    /// `1 / (1 - x²)`
    ///
    /// # Example
    ///
    /// ```
    /// # use tapegrad::Tape;
    /// let tape = Tape::<f64>::new();
    /// let x = tape.leaf(0.6);
    /// let y = x.atanh();
    /// y.backward();
    /// assert!((y.item() - 2.0_f64.ln()).abs() < 1e-15); // ½ ln(1.6 / 0.4)
    /// assert!((x.grad().unwrap().sum() - 1.0 / 0.64).abs() < 1e-15);
    /// ```
    #[doc(alias = "arctanh")]
    pub Atanh as atanh: |x| x.atanh(); |g, x, _| g / (x.one_minus() * (x + T::ONE)); reads Operands, on -0.8 to 0.8

    /// Returns the error function, `2/√π ∫ e^(-t²) dt` from 0 to `x`.
    ///
    /// # Derivative
    ///
    /// `2/√π e^(-x²)`
    ///
    /// # Example
    ///
    /// ```
    /// # use tapegrad::Tape;
    /// let tape = Tape::new();
    /// let x = tape.leaf(0.0);
    /// let y = x.erf();
    /// y.backward();
    /// assert_eq!(y.item(), 0.0);
    /// assert_eq!(x.grad().unwrap().sum(), std::f64::consts::FRAC_2_SQRT_PI);
    /// ```
    pub Erf as erf: |x| x.erf();
        |g, x, _| g * ((-(x * x)).exp() * T::from_f64(std::f64::consts::FRAC_2_SQRT_PI));
        reads Operands, on -2.0 to 2.0

    /// Returns the complementary error function `1 - erf x`, accurate where that is small too.
    ///
    /// # Derivative
    ///
    /// `-2/√π e^(-x²)`
    ///
    /// # Example
    ///
    /// ```
    /// # use tapegrad::Tape;
    /// let tape = Tape::new();
    /// let x = tape.leaf(0.0);
    /// let y = x.erfc();
    /// y.backward();
    /// assert_eq!(y.item(), 1.0);
    /// assert_eq!(x.grad().unwrap().sum(), -std::f64::consts::FRAC_2_SQRT_PI);
    /// assert!(tape.leaf(10.0).erfc().item() > 2e-45);
    /// ```
    pub Erfc as erfc: |x| x.erfc();
        |g, x, _| g * ((-(x * x)).exp() * T::from_f64(-std::f64::consts::FRAC_2_SQRT_PI));
        reads Operands, on -2.0 to 2.0

    /// Returns the logarithm of the logistic function, `-ln(1 + e^-x)`, which neither overflows nor loses small results.
    ///
    /// # Derivative
    ///
    /// `1 / (1 + e^x)`
    ///
    /// # Example
    ///
    /// ```
    /// # use ndarray::array;
    /// # use tapegrad::Tape;
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![0.0, -1000.0]);
    /// let y = x.log_sigmoid();
    /// y.sum().backward();
    /// assert_eq!(y.value(), array![-(2.0_f64.ln()), -1000.0].into_dyn());
    /// assert_eq!(x.grad().unwrap(), array![0.5, 1.0].into_dyn());
    /// ```
    #[doc(alias = "logsigmoid")]
    pub LogSigmoid as log_sigmoid: |x| { let low = if x < T::ZERO { x } else { T::ZERO }; low - (-x.abs()).exp().ln_1p() };
        |g, x, _| g * (-x).sigmoid();
        reads Operands, on -2.0 to 2.0

    /// Returns `ln(1 + e^x)`, a smooth rectifier, which neither overflows nor loses small results.
    ///
    /// # Derivative
    ///
    /// `1 / (1 + e^-x)`
    ///
    /// # Example
    ///
    /// ```
    /// # use ndarray::array;
    /// # use tapegrad::Tape;
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![0.0, 1000.0]);
    /// let y = x.softplus();
    /// y.sum().backward();
    /// assert_eq!(y.value(), array![2.0_f64.ln(), 1000.0].into_dyn());
    /// assert_eq!(x.grad().unwrap(), array![0.5, 1.0].into_dyn());
    /// ```
    pub Softplus as softplus: |x| { let high = if x > T::ZERO { x } else { T::ZERO }; high + (-x.abs()).exp().ln_1p() };
        |g, x, _| g * x.sigmoid();
        reads Operands, on -2.0 to 2.0

    /// Returns `x` where it is positive, else `slope * x`.
    ///
    /// # Derivative
    ///
    /// 1 for `x > 0`, else `slope`, at 0 too.
    ///
    /// # Example
    ///
    /// ```
    /// # use ndarray::array;
    /// # use tapegrad::Tape;
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![-2.0, 0.0, 3.0]);
    /// let y = x.leaky_relu(0.5);
    /// y.sum().backward();
    /// assert_eq!(y.value(), array![-1.0, 0.0, 3.0].into_dyn());
    /// assert_eq!(x.grad().unwrap(), array![0.5, 0.5, 1.0].into_dyn());
    /// ```
    pub LeakyRelu { slope = 0.3 } as leaky_relu: |x| if x > T::ZERO { x } else { x * slope };
        |g, x, _| g * x.leaky_slope(slope);
        reads Operands, on 0.1 to 2.0

    /// Returns 1 where `x > 0`, else `slope`: piecewise constant, no cotangent passes.
    ///
    /// # Derivative
    ///
    /// 0
    pub(crate) LeakySlope { slope = 0.3 } as leaky_slope: |x| x.leaky_slope(slope);
        |g, _, _| g.zeros_like();
        reads Flat, on 0.1 to 2.0

    /// Returns `x` where it is positive, else `alpha (e^x - 1)`.
    ///
    /// # Derivative
    ///
    /// 1 for `x > 0`, else `alpha e^x`, at 0 too.
    ///
    /// # Example
    ///
    /// ```
    /// # use ndarray::array;
    /// # use tapegrad::Tape;
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![-(2.0_f64.ln()), 3.0]);
    /// let y = x.elu(2.0);
    /// y.sum().backward();
    /// assert_eq!(y.value(), array![-1.0, 3.0].into_dyn()); // 2 (½ - 1)
    /// assert_eq!(x.grad().unwrap(), array![1.0, 1.0].into_dyn()); // 2 · ½
    /// ```
    pub Elu { alpha = 0.5 } as elu: |x| { let low = x.exp_m1() * alpha; if x > T::ZERO { x } else { low } };
        |g, x, _| g * x.elu_slope(alpha);
        reads Operands, on -2.0 to -0.1

    /// Returns 1 where `x > 0`, else `alpha e^x`.
    ///
    /// # Derivative
    ///
    /// 0 for `x >= 0`, else `y`. The cotangent is selected.
    pub(crate) EluSlope { alpha = 0.5 } as elu_slope: |x| x.elu_slope(alpha);
        |g, x, y| (g * y).gate(-x);
        reads All, on -2.0 to -0.1

    /// Returns `x / (1 + e^-x)`, the sigmoid linear unit.
    ///
    /// # Derivative
    ///
    /// `s (1 + x (1 - s))` with the logistic function `s` of `x`.
    ///
    /// # Example
    ///
    /// ```
    /// # use tapegrad::Tape;
    /// let tape = Tape::new();
    /// let x = tape.leaf(0.0);
    /// let y = x.silu();
    /// y.backward();
    /// assert_eq!((y.item(), x.grad().unwrap().sum()), (0.0, 0.5));
    /// ```
    #[doc(alias = "swish")]
    pub Silu as silu: |x| x * x.sigmoid();
        |g, x, _| { let s = x.sigmoid(); g * (s * (x * s.one_minus() + T::ONE)) };
        reads Operands, on -2.0 to 2.0

    /// Returns `x Φ(x)`, the Gaussian error linear unit, with the normal distribution function `Φ`; see
    /// [`gelu_tanh`](Var::gelu_tanh) for the approximation.
    ///
    /// # Derivative
    ///
    /// `Φ(x) + x φ(x)` with the normal density `φ`.
    ///
    /// # Example
    ///
    /// ```
    /// # use tapegrad::Tape;
    /// let tape = Tape::new();
    /// let x = tape.leaf(0.0);
    /// let y = x.gelu();
    /// y.backward();
    /// assert_eq!((y.item(), x.grad().unwrap().sum()), (0.0, 0.5));
    /// ```
    pub Gelu as gelu: |x| x * ((x * T::from_f64(-std::f64::consts::FRAC_1_SQRT_2)).erfc() * T::from_f64(0.5));
        |g, x, _| {
            let distribution = (x * T::from_f64(-std::f64::consts::FRAC_1_SQRT_2)).erfc() * T::from_f64(0.5);
            let density = (x * x * T::from_f64(-0.5)).exp() * T::from_f64(NORMAL_DENSITY);
            g * (distribution + x * density)
        };
        reads Operands, on -2.0 to 2.0

    /// Returns `x/2 (1 + tanh(√(2/π) (x + 0.044715 x³)))`, the approximation of [`gelu`](Var::gelu) that many trained
    /// networks use.
    ///
    /// # Derivative
    ///
    /// `s (1 + x (1 - s) u')` with the logistic function `s` of `u = 2 √(2/π) (x + 0.044715 x³)`, since `(1 + tanh(u/2)) / 2 = s`.
    ///
    /// # Example
    ///
    /// ```
    /// # use tapegrad::Tape;
    /// let tape = Tape::new();
    /// let x = tape.leaf(0.0);
    /// let y = x.gelu_tanh();
    /// y.backward();
    /// assert_eq!((y.item(), x.grad().unwrap().sum()), (0.0, 0.5));
    /// ```
    pub GeluTanh as gelu_tanh: |x| x * ((x * x * T::from_f64(GELU_CUBE) + T::ONE) * x * T::from_f64(GELU_SLOPE)).sigmoid();
        |g, x, _| {
            // Far out s is 0 or 1, and the slope would overflow.
            let x = x.clamp(T::from_f64(-40.0), T::from_f64(40.0));
            let square = x * x;
            let s = ((square * T::from_f64(GELU_CUBE) + T::ONE) * x * T::from_f64(GELU_SLOPE)).sigmoid();
            let slope = (square * T::from_f64(3.0 * GELU_CUBE) + T::ONE) * T::from_f64(GELU_SLOPE);
            g * (s * (x * (s.one_minus() * slope) + T::ONE))
        };
        reads Operands, on -2.0 to 2.0

    /// Returns the Huber function: `x²/2` where `|x| <= delta`, else `delta (|x| - delta/2)`; [`Var::huber_loss`] is that
    /// of a difference.
    ///
    /// # Derivative
    ///
    /// `x` limited to the interval from `-delta` to `delta`.
    ///
    /// # Panics
    ///
    /// If `delta` is negative or NaN.
    ///
    /// # Example
    ///
    /// ```
    /// # use ndarray::array;
    /// # use tapegrad::Tape;
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![-1.0, 5.0]);
    /// let y = x.huber(2.0);
    /// y.sum().backward();
    /// assert_eq!(y.value(), array![0.5, 8.0].into_dyn()); // 2 (5 - 1)
    /// assert_eq!(x.grad().unwrap(), array![-1.0, 2.0].into_dyn());
    /// ```
    pub Huber { delta = 1.5 } as huber: |x| {
            let (a, square) = (x.abs(), x * x * T::from_f64(0.5));
            let line = (a - delta * T::from_f64(0.5)) * delta;
            if a <= delta { square } else { line }
        };
        |g, x, _| g * x.clamp(-delta, delta); reads Operands, on -1.0 to 1.0

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
            $(on $low:literal to $high:literal;)? reads $reads_a:ident $reads_b:ident
    )*) => {
        /// An elementwise function of two operands, with NumPy's broadcasting: a row of the table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Binary {
            $( $(#[$doc])* $Variant, )*
        }

        impl Binary {
            /// The names of all rows.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($method)),*];
            /// All rows.
            pub const ALL: &'static [Self] = &[$(Self::$Variant),*];

            /// Returns every row with an interval of operands in which the function is smooth where they differ.
            #[must_use]
            pub fn samples() -> Vec<(Self, std::ops::Range<f64>)> {
                let sample = |row, interval: Option<std::ops::Range<f64>>| (row, interval.unwrap_or(0.5..2.0));
                vec![$( sample(Self::$Variant, None::<std::ops::Range<f64>>$(.or(Some($low..$high)))?) ),*]
            }

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

    /// Returns the power `a^b` of two elements, with NumPy's broadcasting; [`powf`](Var::powf) has a number as exponent.
    ///
    /// As in IEEE, `a^0` is 1 for every `a`, and a negative `a` has powers at whole exponents only, NaN at others.
    ///
    /// # Derivative
    ///
    /// `b a^(b-1)` by `a`, and 0 for `0^0`; `y ln a` by `b`, and 0 for `a = 0` and `b >= 0`.
    ///
    /// # Panics
    ///
    /// If the shapes do not broadcast.
    ///
    /// # Example
    ///
    /// ```
    /// # use tapegrad::Tape;
    /// let tape = Tape::new();
    /// let (a, b) = (tape.leaf(2.0), tape.leaf(3.0));
    /// let y = a.pow(b);
    /// y.backward();
    /// assert_eq!(y.item(), 8.0);
    /// assert_eq!(a.grad().unwrap().sum(), 12.0); // 3 · 2²
    /// assert_eq!(b.grad().unwrap().sum(), 8.0 * 2.0_f64.ln());
    /// ```
    #[doc(alias = "power")]
    pub Pow as pow: |a, b| a.pow(b);
        // Selected at the single points where the formula is 0 · ∞, and not along `b = 0`, where the derivative of this
        // one by `b` is not 0. There the factor that would be infinite is 1: its own derivative is then 0 as well.
        |g, a, b, _| {
            let size = a.abs() + b.abs();
            let hole = size.within(T::ZERO, T::ZERO);
            (g * (a.pow(b - T::ONE + hole) * b)).gate(size)
        };
        |g, a, b, y| {
            let size = a.abs() + (-b).gate(-b);
            let hole = size.within(T::ZERO, T::ZERO);
            (g * (y * (a + hole).ln())).gate(size)
        };
        reads Operands All

    /// Returns the smaller of two elements, with NumPy's broadcasting; NaN if either is NaN.
    ///
    /// # Derivative
    ///
    /// `g` for the smaller, 0 for the larger, half each at a tie; `g` for both if one is NaN. The cotangent is
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
    /// let y = a.minimum(b);
    /// y.sum().backward();
    /// assert_eq!(y.value(), array![1.0, 4.0, 2.0].into_dyn());
    /// assert_eq!(a.grad().unwrap(), array![1.0, 0.0, 0.5].into_dyn());
    /// ```
    pub Minimum as minimum: |a, b| -(-a).maximum(-b);
        |g, a, b, _| { let share = b.share(a); g.gate(share) * share };
        |g, a, b, _| { let share = a.share(b); g.gate(share) * share }; reads Operands Operands

    /// Returns the angle of the point `(b, a)` with the first axis, between -π and π: `atan(a / b)` in the right
    /// quadrant, with NumPy's broadcasting.
    ///
    /// # Derivative
    ///
    /// `b / (a² + b²)` by `a`, `-a / (a² + b²)` by `b`; NaN at the origin, where there is no angle.
    ///
    /// # Panics
    ///
    /// If the shapes do not broadcast.
    ///
    /// # Example
    ///
    /// ```
    /// # use tapegrad::Tape;
    /// let tape = Tape::<f64>::new();
    /// let (a, b) = (tape.leaf(1.0), tape.leaf(-1.0));
    /// let y = a.atan2(b);
    /// y.backward();
    /// assert_eq!(y.item(), 0.75 * std::f64::consts::PI);
    /// assert!((a.grad().unwrap().sum() + 0.5).abs() < 1e-15);
    /// assert!((b.grad().unwrap().sum() + 0.5).abs() < 1e-15);
    /// ```
    #[doc(alias = "arctan2")]
    pub Atan2 as atan2: |a, b| a.atan2(b);
        |g, a, b, _| { let r = a.hypot(b); g * (b / r / r) };
        |g, a, b, _| { let r = a.hypot(b); -(g * (a / r / r)) }; reads Operands Operands

    /// Returns the length `√(a² + b²)`, with NumPy's broadcasting; no square overflows on the way.
    ///
    /// # Derivative
    ///
    /// `a / y` and `b / y`, and 0 at the origin, where the cotangent is not even multiplied.
    ///
    /// # Panics
    ///
    /// If the shapes do not broadcast.
    ///
    /// # Example
    ///
    /// ```
    /// # use tapegrad::Tape;
    /// let tape = Tape::new();
    /// let (a, b) = (tape.leaf(3.0), tape.leaf(4.0));
    /// let y = a.hypot(b);
    /// y.backward();
    /// assert_eq!(y.item(), 5.0);
    /// assert_eq!((a.grad().unwrap().sum(), b.grad().unwrap().sum()), (0.6, 0.8));
    /// ```
    pub Hypot as hypot: |a, b| a.hypot(b);
        |g, a, _, y| g.gate(y) * a.div_or_zero(y); |g, _, b, y| g.gate(y) * b.div_or_zero(y); reads All All

    /// Returns `e^(a - b)`, 1 where both are infinity, 0 where `a` is minus infinity.
    pub(crate) ExpDifference as exp_difference: |a, b| a.exp_difference(b);
        |g, _, _, y| g * y; |g, _, _, y| -(g * y); reads Result Result

    /// Returns `a / b`, and 0 where `b` is 0, in every derivative too: a direction, and none where there is no length.
    pub(crate) DivOrZero as div_or_zero: |a, b| a.div_or_zero(b);
        |g, _, b, _| g.div_or_zero(b); |g, _, b, y| -(g * y).div_or_zero(b); reads Operands All

    /// Returns `a b`, and 0 where `a` is 0, whatever `b` but NaN: what has no weight has no share.
    ///
    /// # Derivative
    ///
    /// `b` by `a`, as in IEEE; `a` by `b`, 0 where `a` is 0.
    pub(crate) MulOrZero as mul_or_zero: |a, b| a.mul_or_zero(b);
        |g, _, b, _| g * b; |g, a, _, _| a.mul_or_zero(g); reads Operands Operands

    /// Returns `a / b`, and 0 where `a` is 0, whatever `b` but NaN.
    ///
    /// # Derivative
    ///
    /// `1 / b` by `a`, `-y / b` by `b`, each 0 where the dividend is.
    pub(crate) Ratio as ratio: |a, b| a.ratio(b);
        |g, _, b, _| g.ratio(b); |g, _, b, y| -(g * y).ratio(b); reads Operands All

    /// Returns `(a - b)²`, a term of [`Var::mse_loss`].
    ///
    /// # Derivative
    ///
    /// `2 (a - b)` by `a`, minus that by `b`.
    pub(crate) SquaredDifference as squared_difference: |a, b| (a - b) * (a - b);
        |g, a, b, _| { let d = a - b; g * (d + d) };
        |g, a, b, _| { let d = b - a; g * (d + d) }; reads Operands Operands

    /// Returns `|a - b|`, a term of [`Var::l1_loss`].
    ///
    /// # Derivative
    ///
    /// The sign of `a - b` by `a`, 0 where they are equal, even of an infinite cotangent; minus that by `b`.
    pub(crate) AbsDifference as abs_difference: |a, b| (a - b).abs();
        |g, a, b, y| (g * (a - b).sign()).gate(y); |g, a, b, y| (g * (b - a).sign()).gate(y); reads All All

    /// Returns `-(b ln a + (1 - b) ln(1 - a))`, a term of [`Var::binary_cross_entropy`]; 0 for the part without weight.
    ///
    /// # Derivative
    ///
    /// `(1 - b) / (1 - a) - b / a` by `a`, `ln(1 - a) - ln a` by `b`.
    pub(crate) BinaryCrossEntropy as binary_cross_entropy_term:
        |a, b| -(b.mul_or_zero(a.ln()) + b.one_minus().mul_or_zero((-a).ln_1p()));
        |g, a, b, _| g * (b.one_minus().ratio(a.one_minus()) - b.ratio(a));
        |g, a, _, _| g * ((-a).ln_1p() - a.ln()); on 0.2 to 0.8; reads Operands Operands

    /// Returns `b ln(1 + e^-a) + (1 - b) ln(1 + e^a)`, a term of [`Var::binary_cross_entropy_with_logits`]; 0 for the part
    /// without weight.
    ///
    /// # Derivative
    ///
    /// `s - b` by `a`, with the logistic function `s` of `a`; `-a` by `b`.
    pub(crate) BinaryCrossEntropyWithLogits as binary_cross_entropy_with_logits_term: |a, b| {
            let (low, high) = if a < T::ZERO { (-a, T::ZERO) } else { (T::ZERO, a) };
            let tail = (-a.abs()).exp().ln_1p();
            b.mul_or_zero(low + tail) + b.one_minus().mul_or_zero(high + tail)
        };
        |g, a, b, _| g * (a.sigmoid() - b); |g, a, _, _| -(g * a); reads Operands Operands

    /// Returns `max(0, 1 - a b)`, a term of [`Var::hinge_loss`].
    ///
    /// # Derivative
    ///
    /// `-b` by `a` and `-a` by `b` where `a b < 1`, else 0. The cotangent is selected.
    pub(crate) Hinge as hinge_term: |a, b| { let y = T::ONE - a * b; if y < T::ZERO { T::ZERO } else { y } };
        |g, a, b, _| -(g * b).gate((a * b).one_minus()); |g, a, b, _| -(g * a).gate((a * b).one_minus());
        on 0.2 to 0.8; reads Operands Operands

    /// Returns `max(0, -a b)`, a term of [`Var::perceptron_loss`].
    ///
    /// # Derivative
    ///
    /// `-b` by `a` and `-a` by `b` where `a b < 0`, else 0. The cotangent is selected.
    pub(crate) Perceptron as perceptron_term: |a, b| { let y = -(a * b); if y < T::ZERO { T::ZERO } else { y } };
        |g, a, b, _| -(g * b).gate(-(a * b)); |g, a, b, _| -(g * a).gate(-(a * b)); reads Operands Operands

    /// Returns `b (ln b - a)`, a term of [`Var::kl_div`]; 0 where `b` is 0.
    ///
    /// # Derivative
    ///
    /// `-b` by `a`, `ln b - a + 1` by `b`.
    pub(crate) KlDivergence as kl_divergence: |a, b| b.mul_or_zero(b.ln()) - b.mul_or_zero(a);
        |g, _, b, _| -(g * b); |g, a, b, _| g * (b.ln() - a + T::ONE); reads Operands Operands

    /// Returns `-(b ln(a + ε) + (1 - b) ln(1 - a + ε))` with `ε = 1e-16`, a term of [`Var::course_cross_entropy`].
    ///
    /// # Derivative
    ///
    /// `(1 - b) / (1 - a + ε) - b / (a + ε)` by `a`, `ln(1 - a + ε) - ln(a + ε)` by `b`.
    pub(crate) CourseCrossEntropy as course_cross_entropy_term:
        |a, b| -(b * (a + T::from_f64(1e-16)).ln() + (T::ONE - b) * (T::ONE - a + T::from_f64(1e-16)).ln());
        |g, a, b, _| g * (b.one_minus() / (a.one_minus() + T::from_f64(1e-16)) - b / (a + T::from_f64(1e-16)));
        |g, a, _, _| g * ((a.one_minus() + T::from_f64(1e-16)).ln() - (a + T::from_f64(1e-16)).ln());
        on 0.2 to 0.8; reads Operands Operands

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
        Op::Matmul { left, right } => {
            let (product, a, b) = match (k, left, right) {
                (0, Transposed::No, _) => (Op::Matmul { left: Transposed::No, right: right.flipped() }, g, i.x(1)),
                (0, Transposed::Yes, _) => (Op::Matmul { left: right, right: Transposed::Yes }, i.x(1), g),
                (_, _, Transposed::No) => (Op::Matmul { left: left.flipped(), right: Transposed::No }, i.x(0), g),
                (_, _, Transposed::Yes) => (Op::Matmul { left: Transposed::Yes, right: left }, g, i.x(0)),
            };
            // Where one matrix of this operand met several of the other, the products have more axes than it: they are
            // summed by the sweep.
            let (own, other) = (i.x_shape(k), i.x_shape(1 - k));
            let (batch, others) = (&own[..own.len() - 2], &other[..other.len() - 2]);
            match batch == others || broadcast("matmul", batch, others).is_ok_and(|common| *common == *batch) {
                true => Term::Two(product, a, b),
                false => Term::Done(i.apply(product, [a, b])),
            }
        }
        Op::Sum { axes, .. } => {
            let kept = keep_dims(i, g, axes);
            Term::One(Op::BroadcastTo(i.x_shape(0)), kept)
        }
        // Ties share evenly: the mask of the largest or smallest elements, divided by how many there are. The others get 0 even of an
        // infinite cotangent.
        Op::Max { axes, .. } | Op::Min { axes, .. } => {
            let y = keep_dims(i, i.y(), axes);
            let g = keep_dims(i, g, axes);
            let mask = i.apply(Op::Binary(Binary::Equal), [i.x(0), y]);
            let count = i.apply(Op::Sum { axes, keep: KeepDims::Yes }, [i.again(&mask)]);
            let share = i.apply(Op::Binary(Binary::Div), [mask, count]);
            let selected = i.apply(Op::Binary(Binary::Gate), [g, i.again(&share)]);
            Term::Two(Op::Binary(Binary::Mul), selected, share)
        }
        // g times the product of the others
        Op::Prod { axes, .. } => {
            let kept = keep_dims(i, g, axes);
            match axes.elements(&i.x_shape(0)) {
                0 | 1 => Term::One(Op::BroadcastTo(i.x_shape(0)), kept),
                _ => Term::Two(Op::Binary(Binary::Mul), products_of_others(i, axes), kept),
            }
        }
        // g x / y, and 0 even of an infinite cotangent where the norm is 0
        Op::Norm { axes, .. } => {
            let y = keep_dims(i, i.y(), axes);
            let g = i.apply(Op::Binary(Binary::Gate), [keep_dims(i, g, axes), i.again(&y)]);
            let direction = i.apply(Op::Binary(Binary::DivOrZero), [i.x(0), y]);
            Term::Two(Op::Binary(Binary::Mul), direction, g)
        }
        // g e^(x - y), divided by its sum: 1 but for the rounding of y, which is large where y is, or for infinities.
        Op::LogSumExp { axes, .. } => {
            let y = keep_dims(i, i.y(), axes);
            let g = keep_dims(i, g, axes);
            let weight = i.apply(Op::Binary(Binary::ExpDifference), [i.x(0), y]);
            let total = i.apply(Op::Sum { axes, keep: KeepDims::Yes }, [i.again(&weight)]);
            let share = i.apply(Op::Binary(Binary::DivOrZero), [g, total]);
            Term::Two(Op::Binary(Binary::Mul), weight, share)
        }
        Op::CumSum { axis, from } => Term::One(Op::CumSum { axis, from: from.other() }, g),
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
            Term::One(Op::Slice { axis, start: i.x_start(k, axis), step: 1, length: i.x_shape(k)[axis] }, g)
        }
        Op::Flip(axes) => Term::One(Op::Flip(axes), g),
        Op::Pad { axis, before, .. } => {
            Term::One(Op::Slice { axis, start: before, step: 1, length: i.x_shape(0)[axis] }, g)
        }
        Op::Diagonal => match *i.x_shape(0) {
            [.., rows, columns] => Term::One(Op::Undiagonal { rows, columns }, g),
            _ => unreachable!("the shape rule asks for matrices"),
        },
        Op::Undiagonal { .. } => Term::One(Op::Diagonal, g),
        Op::Tril(offset) => Term::One(Op::Tril(offset), g),
        Op::Triu(offset) => Term::One(Op::Triu(offset), g),
        // Selected, never multiplied. The mask gets nothing.
        Op::Select => {
            let mask = match k {
                1 => i.x(0),
                _ => i.apply(Op::Unary(Unary::SubtractFrom { minuend: T::ONE }), [i.x(0)]),
            };
            Term::Done(i.apply(Op::Binary(Binary::Gate), [g, mask]))
        }
        // The convolution is a bilinear form: the sum of y g is one of x, w and g alike. Each operation gives what one of the
        // three is multiplied by, so each is a derivative of the others.
        Op::Conv2d(window) => match k {
            0 => Term::Two(Op::Conv2dInput { window, size: size(&i.x_shape(0)) }, g, i.x(1)),
            _ => Term::Two(Op::Conv2dWeight(window), i.x(0), g),
        },
        Op::Conv2dInput { window, .. } => match k {
            0 => Term::Two(Op::Conv2d(window), g, i.x(1)),
            _ => Term::Two(Op::Conv2dWeight(window), g, i.x(0)),
        },
        Op::Conv2dWeight(window) => match k {
            0 => Term::Two(Op::Conv2dInput { window, size: size(&i.x_shape(0)) }, i.x(1), g),
            _ => Term::Two(Op::Conv2d(window), i.x(0), g),
        },
        // Where the largest elements lie is piecewise constant; what is taken from there is linear.
        Op::MaxPool2d(window) => Term::Two(Op::MaxUnpool2d(window), i.x(0), g),
        Op::MaxUnpool2d(window) => Term::Two(Op::MaxPool2d(window), i.x(0), g),
        Op::AvgPool2d(window) => Term::One(Op::AvgUnpool2d { window, size: size(&i.x_shape(0)) }, g),
        Op::AvgUnpool2d { window, .. } => Term::One(Op::AvgPool2d(window), g),
        // r (g - mean g - y mean(g y)) with r = 1 / √(variance + eps) (Ioffe and Szegedy 2015, 3)
        Op::Normalize { axes, eps } => Term::Two(Op::Denormalize { axes, eps }, i.x(0), g),
        // It is symmetric in its two cotangents.
        Op::Denormalize { axes, eps } => match k {
            1 => Term::Two(Op::Denormalize { axes, eps }, i.x(0), g),
            _ => Term::Done(second_of_normalize(i, axes, eps, g)),
        },
        // r = (variance + eps)^-½: -g r³ (x - mean) / n, and (x - mean) r is the normalized x
        Op::InverseStd { axes, eps } => {
            let square = i.apply(Op::Unary(Unary::Square), [i.y()]);
            let divisor = T::from_f64(-(axes.elements(&i.x_shape(0)) as f64));
            let factor = i.apply(Op::Binary(Binary::Mul), [g, square]);
            let factor = i.apply(Op::Unary(Unary::DivideBy { divisor }), [factor]);
            Term::Two(Op::Binary(Binary::Mul), i.apply(Op::Normalize { axes, eps }, [i.x(0)]), factor)
        }
        // Giles 2008, 2.2.3: y = a⁻¹: -yᵀ g yᵀ
        Op::Inverse => {
            let product = i.apply(Op::Matmul { left: Transposed::Yes, right: Transposed::No }, [i.y(), g]);
            let product = i.apply(Op::Matmul { left: Transposed::No, right: Transposed::Yes }, [product, i.y()]);
            Term::One(Op::Unary(Unary::Neg), product)
        }
        // Giles 2008, 2.2.4: g det(a) a⁻ᵀ, which is g times the cofactors at singular matrices too
        Op::Det => {
            let g = matrix_of_one(i, g);
            Term::Two(Op::Binary(Binary::Mul), i.apply(Op::DetDerivative { order: 1 }, [i.x(0)]), g)
        }
        // Symmetric in all directions, of which the cotangent is the last: of the matrix, the next derivative along one more;
        // of a direction, the same derivative along the cotangent instead.
        Op::DetDerivative { order } => {
            let (order, place) = if k == 0 { (order + 1, usize::from(order)) } else { (order, k) };
            let op = Op::DetDerivative { order };
            Term::Done(match order {
                2 => i.apply(op, replaced::<_, _, 2>(i, place, g)),
                3 => i.apply(op, replaced::<_, _, 3>(i, place, g)),
                4 => i.apply(op, replaced::<_, _, 4>(i, place, g)),
                5 => i.apply(op, replaced::<_, _, 5>(i, place, g)),
                _ => panic!("det: there are derivatives up to order 5"),
            })
        }
        // g a⁻ᵀ
        Op::LogDet => {
            let g = matrix_of_one(i, g);
            let inverse = i.apply(Op::Inverse, [i.x(0)]);
            Term::Two(Op::Binary(Binary::Mul), transpose(i, inverse), g)
        }
        // Giles 2008, 2.3.1: a x = b: db = a⁻ᵀ g, da = -db xᵀ; with aᵀ in the place of a, da is transposed.
        Op::Solve { left } => {
            let db = i.apply(Op::Solve { left: left.flipped() }, [i.x(0), g]);
            match (k, left) {
                (1, _) => Term::Done(db),
                (_, left) => {
                    let (first, second) = if left == Transposed::No { (db, i.y()) } else { (i.y(), db) };
                    let outer = Op::Matmul { left: Transposed::No, right: Transposed::Yes };
                    let product = i.apply(outer, [first, second]);
                    Term::Done(i.apply(Op::Unary(Unary::Neg), [product]))
                }
            }
        }
        // Murray 2016, (10): y⁻ᵀ Φ(yᵀ g) y⁻¹, symmetric; Φ takes the lower triangle and half of the diagonal.
        Op::Cholesky => {
            let half = T::from_f64(0.5);
            let transposed = Op::Solve { left: Transposed::Yes };
            let product = i.apply(Op::Matmul { left: Transposed::Yes, right: Transposed::No }, [i.y(), g]);
            let below = i.apply(Op::Tril(-1), [i.again(&product)]);
            let with_diagonal = i.apply(Op::Tril(0), [product]);
            let phi = i.apply(Op::Binary(Binary::Add), [below, with_diagonal]);
            let phi = i.apply(Op::Unary(Unary::Scale { factor: half }), [phi]);
            let left = i.apply(transposed.clone(), [i.y(), phi]);
            let left = transpose(i, left);
            let both = i.apply(transposed, [i.y(), left]);
            let turned = transpose(i, i.again(&both));
            let sum = i.apply(Op::Binary(Binary::Add), [both, turned]);
            Term::One(Op::Unary(Unary::Scale { factor: half }), sum)
        }
        // Rules that only the interpreter can run: rows of the table, fused or recorded, and the user's own.
        Op::Unary(_) | Op::Binary(_) | Op::Custom(_) => Term::Done(i.pull(k, g)),
        Op::Checkpoint(_) => unreachable!("a sweep runs a segment again, as a whole"),
        Op::Leaf | Op::Constant | Op::Param => unreachable!("a source has no operands"),
    }
}

/// Returns one number for each matrix of the operand, as a matrix of one element.
fn matrix_of_one<T: Scalar, I: Interpreter<T>>(i: &I, number: I::Value) -> I::Value {
    let shape = i.x_shape(0);
    let batch = shape[..shape.len() - 2].iter().copied();
    i.apply(Op::Reshape(batch.chain([1, 1]).collect()), [number])
}

/// Returns the matrices of a value of the operand's shape, transposed.
fn transpose<T: Scalar, I: Interpreter<T>>(i: &I, matrices: I::Value) -> I::Value {
    let rank = i.x_shape(0).len();
    i.apply(Op::Permute(Permutation::swapped(rank, rank - 2, rank - 1)), [matrices])
}

/// Returns the operands with another value in one place.
fn replaced<T: Scalar, I: Interpreter<T>, const N: usize>(i: &I, place: usize, value: I::Value) -> [I::Value; N] {
    let mut value = Some(value);
    std::array::from_fn(|k| if k == place { value.take().expect("a place comes once") } else { i.x(k) })
}

/// Returns the derivative of `<g, denormalize(x, h)>` by `x`.
///
/// With `y` the normalized `x` and `r = 1 / √(variance + eps)` that number is, for each group of `n` elements,
/// `n r (mean(g h) - mean g mean h - mean(g y) mean(h y))`. Its derivative by `y` is `-r (mean(h y) g + mean(g y) h)`, which
/// goes on to `x` as any cotangent of `y` does; `r` has the derivative `-r² y / n`.
fn second_of_normalize<T: Scalar, I: Interpreter<T>>(i: &I, axes: AxisSet, eps: T, g: I::Value) -> I::Value {
    let divisor = T::from_f64(axes.elements(&i.x_shape(0)) as f64);
    let mul = |a: I::Value, b: I::Value| i.apply(Op::Binary(Binary::Mul), [a, b]);
    let add = |a: I::Value, b: I::Value| i.apply(Op::Binary(Binary::Add), [a, b]);
    let sub = |a: I::Value, b: I::Value| i.apply(Op::Binary(Binary::Sub), [a, b]);
    let mean = |x: I::Value| {
        let sum = i.apply(Op::Sum { axes, keep: KeepDims::Yes }, [x]);
        i.apply(Op::Unary(Unary::DivideBy { divisor }), [sum])
    };
    let again = |value: &I::Value| i.again(value);
    let (y, h) = (i.apply(Op::Normalize { axes, eps }, [i.x(0)]), i.x(1));
    let r = i.apply(Op::InverseStd { axes, eps }, [i.x(0)]);
    let (g_y, h_y) = (mean(mul(again(&g), again(&y))), mean(mul(again(&h), again(&y))));
    let means = add(mul(mean(again(&g)), mean(again(&h))), mul(again(&g_y), again(&h_y)));
    let number = sub(mean(mul(again(&g), again(&h))), means);
    let by_y = mul(add(mul(h_y, g), mul(g_y, h)), again(&r));
    let by_y = i.apply(Op::Denormalize { axes, eps }, [i.x(0), by_y]);
    let by_r = mul(mul(number, i.apply(Op::Unary(Unary::Square), [r])), y);
    i.apply(Op::Unary(Unary::Neg), [add(by_y, by_r)])
}

/// Returns the lengths of the last two axes, as operations on windows keep them.
fn size(shape: &[usize]) -> [u32; 2] {
    [shape[shape.len() - 2] as u32, shape[shape.len() - 1] as u32]
}

/// Returns a reduced value with its axes back at length 1, so that it broadcasts against the operand.
fn keep_dims<T: Scalar, I: Interpreter<T>>(i: &I, reduced: I::Value, axes: AxisSet) -> I::Value {
    i.apply(Op::Reshape(i.x_shape(0).reduced(axes, KeepDims::Yes)), [reduced])
}

/// Returns, for each element of the operand, the product of all others that a reduction over `axes` takes with it.
///
/// Neighbours are multiplied with each other until two elements are left; back down, each one of a pair takes the other
/// one along. No element is divided by, so zeros are exact, and since these are operations like any other, the rule can be
/// differentiated again. Neighbours, and not the halves: large and small elements that take turns then make up for each other.
fn products_of_others<T: Scalar, I: Interpreter<T>>(i: &I, axes: AxisSet) -> I::Value {
    let shape = i.x_shape(0);
    let ranks = 0..shape.len();
    let reduced = ranks.clone().filter(|&axis| axes.contains(axis));
    let order = Permutation::new(ranks.clone().filter(|&axis| !axes.contains(axis)).chain(reduced));
    let in_order = order.axes().eq(ranks);
    let mut length = axes.elements(&shape);
    let rows = shape.elements() / length.max(1);
    let slice = |x: &I::Value, start, step, length| i.apply(Op::Slice { axis: 1, start, step, length }, [i.again(x)]);
    let multiply = |a: I::Value, b: I::Value| i.apply(Op::Binary(Binary::Mul), [a, b]);
    let join = Op::Concat { axis: 1 };
    let column = |x: I::Value, length| i.apply(Op::Reshape([rows, length, 1].into()), [x]);
    let interleave = |a: I::Value, b: I::Value, half| {
        let pairs = i.apply(Op::Concat { axis: 2 }, [column(a, half), column(b, half)]);
        i.apply(Op::Reshape([rows, 2 * half].into()), [pairs])
    };

    let x = if in_order { i.x(0) } else { i.apply(Op::Permute(order.clone()), [i.x(0)]) };
    let mut x = i.apply(Op::Reshape([rows, length].into()), [x]);
    let mut pairs: SmallVec<[[I::Value; 2]; 8]> = SmallVec::new();
    let mut lengths: SmallVec<[usize; 8]> = SmallVec::new();
    while length > 2 {
        let half = length / 2;
        let (a, b) = (slice(&x, 0, 2, half), slice(&x, 1, 2, half));
        let product = multiply(i.again(&a), i.again(&b));
        // An odd one waits for the next level.
        x = if length.is_multiple_of(2) {
            product
        } else {
            i.apply(join.clone(), [product, slice(&x, 2 * half, 1, 1)])
        };
        pairs.push([a, b]);
        lengths.push(length);
        length = length.div_ceil(2);
    }
    let mut others = i.apply(join.clone(), [slice(&x, 1, 1, 1), slice(&x, 0, 1, 1)]);
    while let (Some([a, b]), Some(length)) = (pairs.pop(), lengths.pop()) {
        let half = length / 2;
        let shared = slice(&others, 0, 1, half);
        let both = interleave(multiply(i.again(&shared), b), multiply(shared, a), half);
        others =
            if length.is_multiple_of(2) { both } else { i.apply(join.clone(), [both, slice(&others, half, 1, 1)]) };
    }
    let others = i.apply(Op::Reshape(order.apply(&shape)), [others]);
    if in_order { others } else { i.apply(Op::Permute(order.inverse()), [others]) }
}
