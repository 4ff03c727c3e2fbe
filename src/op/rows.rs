//! THE TABLE: every elementwise operation and its derivative, one row each. This file is data and uses no other module.
//!
//! A row of [`unary_rows!`] or [`binary_rows!`] is
//!
//! ```text
//! /// documentation, with the formula and the derivative
//! pub Tanh as tanh: |x| x.tanh(), [|g, _, y| g * (y * y).one_minus()], on -2.0 to 2.0;
//! ```
//!
//! It lists the variant, the method of [`Var`](crate::Var), the function `y = f(x)`, the derivative, and an interval of
//! operands for tests. The interval holds no kink or pole except perhaps 0. `unary_rows!` passes the rows to a macro,
//! which makes the enum, the kernels and the rules (`op/elementwise`) or the methods (`var/elementwise`).
//!
//! The derivative returns the cotangent of an operand for the cotangent `g` of the result. It uses the functions of
//! [`Algebra`](crate::number::Algebra): numbers compute them, `Var`s record them. A parameter `_` is not read, so the
//! row itself says which values the rule needs. `[same]` passes `g` on. `[none]` is the rule of a piecewise constant
//! function, such as a mask: no cotangent passes. Rules do not mention broadcasting, because the sweep reverses it.
//!
//! `fast |x| f, [dx]` is a second form without a branch, for arguments that are all in the fast range. It gives the
//! same bits. `where condition, message` is a condition on the parameters.

/// `1/√(2π)`: the normal density at 0.
pub(crate) const NORMAL_DENSITY: f64 = 0.5 * std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2;
/// `2 √(2/π)`: in [`Unary::GeluTanh`](crate::op::Unary::GeluTanh), the slope at 0 of the argument of the logistic
/// function.
pub(crate) const GELU_SLOPE: f64 = std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::SQRT_2;
/// The coefficient of `x³` in that argument (Hendrycks and Gimpel 2016).
pub(crate) const GELU_CUBE: f64 = 0.044_715;

/// The slope of [`Unary::Selu`](crate::op::Unary::Selu) where it is linear, and its ratio to the exponential part
/// (Klambauer et al. 2017).
pub(crate) const SELU_SCALE: f64 = 1.050_700_987_355_480_5;
pub(crate) const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;

/// Passes the rows of one operand to the macro `$then`.
#[rustfmt::skip]
macro_rules! unary_rows { ($then:ident) => { $then! {
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
    #[doc(hidden)]
    pub(crate) Neg as negative: |x| -x, [|g, _, _| -g], on -2.0 to 2.0;

    /// Returns `x + addend` for a number `addend`.
    ///
    /// # Derivative
    ///
    /// `g`
    #[doc(hidden)]
    pub(crate) AddNumber { addend = 1.5 } as add_number: |x| x + addend, [same], on -2.0 to 2.0;

    /// Returns `minuend - x` for a number `minuend`.
    ///
    /// # Derivative
    ///
    /// `-g`
    #[doc(hidden)]
    pub(crate) SubtractFrom { minuend = 1.5 } as subtract_from: |x| minuend - x,
        [|g, _, _| -g],
        on -2.0 to 2.0;

    /// Returns `x * factor` for a number `factor`.
    ///
    /// # Derivative
    ///
    /// `g * factor`
    #[doc(hidden)]
    pub(crate) Scale { factor = -0.7 } as scale: |x| x * factor, [|g, _, _| g * factor], on -2.0 to 2.0;

    /// Returns `x / divisor` for a number `divisor`.
    ///
    /// # Derivative
    ///
    /// `g / divisor`
    #[doc(hidden)]
    pub(crate) DivideBy { divisor = 1.7 } as divide_by: |x| x / divisor,
        [|g, _, _| g / divisor],
        on -2.0 to 2.0;

    /// Returns `dividend / x` for a number `dividend`.
    ///
    /// # Derivative
    ///
    /// `-g * y / x`
    #[doc(hidden)]
    pub(crate) Divide { dividend = 1.3 } as divide: |x| dividend / x, [|g, x, y| -(g * y / x)], on 0.5 to 2.0;

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
    pub Square as square: |x| x * x, [|g, x, _| g * (x + x)], on -2.0 to 2.0;

    /// Returns the power `x^exponent` for a number `exponent`.
    ///
    /// As in IEEE 754, `x^0` is 1 for every `x`. A negative `x` to an exponent that is no integer is NaN.
    ///
    /// # Derivative
    ///
    /// `exponent * x^(exponent - 1)`. For the exponent 0 it is 0, also at `x = 0`.
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
    pub Powf { exponent = 2.5 } as powf: |x| x.powf(exponent),
        [|g, x, _| if exponent == T::ZERO { g.zeros_like() } else { g * (x.powf(exponent - T::ONE) * exponent) }],
        on 0.5 to 2.0;

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
    pub Exp as exp: |x| x.exp(), [|g, _, y| g * y], on -2.0 to 2.0;

    /// Returns the natural logarithm `ln x`; minus infinity at 0 and NaN below, as in IEEE 754.
    /// [`Var::log`](crate::Var::log) is the same.
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
    pub Ln as ln: |x| x.ln(), [|g, x, _| g / x], on 0.5 to 2.0;

    /// Returns the square root; NaN for a negative number, as in IEEE 754.
    ///
    /// # Derivative
    ///
    /// `1 / (2 y)`, infinite at 0, as in IEEE 754.
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
    pub Sqrt as sqrt: |x| x.sqrt(), [|g, _, y| g / (y + y)], on 0.5 to 2.0;

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
    pub Tanh as tanh: |x| x.tanh(), [|g, _, y| g * (y * y).one_minus()], on -2.0 to 2.0;

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
    pub Sigmoid as sigmoid: |x| x.sigmoid(), [|g, _, y| g * (y * y.one_minus())], on -2.0 to 2.0;

    /// Returns the rectifier `max(x, 0)`; NaN for NaN.
    ///
    /// # Derivative
    ///
    /// 1 for `x > 0`, else 0, also at the kink. The cotangent is selected, not multiplied.
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
    pub Relu as relu: |x| if x < T::ZERO { T::ZERO } else { x },
        [|g, x, _| g.where_positive(x)],
        on 0.1 to 2.0;

    /// Returns the absolute value.
    ///
    /// # Derivative
    ///
    /// The sign of `x`. At 0 the derivative is 0, even for an infinite cotangent.
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
    pub Abs as abs: |x| x.abs(), [|g, x, y| (g * x.sign()).where_positive(y)], on 0.1 to 2.0;

    /// Returns the sign: -1, 0 or 1; NaN for NaN.
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
    pub Sign as sign: |x| x.sign(), [|g, _, _| g.zeros_like()], on 0.1 to 2.0;

    /// Returns `x` clamped to the interval from `low` to `high`; NaN for NaN.
    ///
    /// # Derivative
    ///
    /// 1 for `low < x < high`, else 0. At a bound it is 0, like [`relu`](crate::Var::relu) at 0. The cotangent is
    /// selected, not multiplied. An infinite bound has no effect.
    ///
    /// # Panics
    ///
    /// If `low` is above `high`, or either is NaN.
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
    /// assert_eq!(x.grad().unwrap(), array![0.0, 0.0, 1.0, 0.0].into_dyn());
    /// ```
    #[doc(alias = "clip")]
    pub Clamp { low = -1.0, high = 1.0 } as clamp: |x| x.clamp(low, high),
        [|g, x, _| g.where_positive(x.in_range_mask(low, high))],
        on -0.9 to 0.9,
        where low <= high, "clamp: {low} and {high} are no interval: expected a lower and an upper bound";

    /// Returns the reciprocal `1 / x`; infinite at 0, as in IEEE 754.
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
    pub Recip as recip: |x| T::ONE / x, [|g, _, y| -(g * y * y)], on 0.5 to 2.0;

    /// Returns the reciprocal of the square root, `1 / √x`; infinite at 0 and NaN below, as in IEEE 754.
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
    pub Rsqrt as rsqrt: |x| T::ONE / x.sqrt(),
        [|g, _, y| -(g * (y * y * y) * T::from_f64(0.5))],
        on 0.5 to 2.0;

    /// Returns the logarithm to base 2; minus infinity at 0 and NaN below, as in IEEE 754.
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
    pub Log2 as log2: |x| x.log2(), [|g, x, _| g / (x * T::from_f64(std::f64::consts::LN_2))], on 0.5 to 2.0;

    /// Returns the logarithm to base 10; minus infinity at 0 and NaN below, as in IEEE 754.
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
    pub Log10 as log10: |x| x.log10(),
        [|g, x, _| g / (x * T::from_f64(std::f64::consts::LN_10))],
        on 0.5 to 2.0;

    /// Returns `ln(1 + x)`, accurate also near 0; minus infinity at -1 and NaN below, as in IEEE 754.
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
    pub Ln1p as ln_1p: |x| x.ln_1p(), [|g, x, _| g / (x + T::ONE)], on -0.5 to 2.0;

    /// Returns `e^x - 1`, accurate also near 0.
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
    pub ExpM1 as exp_m1: |x| x.exp_m1(), [|g, _, y| g * (y + T::ONE)], on -2.0 to 2.0;

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
    pub Sin as sin: |x| x.sin(), [|g, x, _| g * x.cos()],
        fast |x| T::Functions::sin_fast(x), [|g, x, _| g * T::Functions::cos_fast(x)], on -2.0 to 2.0;

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
    pub Cos as cos: |x| x.cos(), [|g, x, _| -(g * x.sin())],
        fast |x| T::Functions::cos_fast(x), [|g, x, _| -(g * T::Functions::sin_fast(x))], on -2.0 to 2.0;

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
    pub Tan as tan: |x| x.tan(), [|g, _, y| g * (y * y + T::ONE)],
        fast |x| T::Functions::sin_fast(x) / T::Functions::cos_fast(x), [|g, _, y| g * (y * y + T::ONE)], on -1.0 to 1.0;

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
    pub Asin as asin: |x| x.asin(), [|g, x, _| g / (x.one_minus() * (x + T::ONE)).sqrt()], on -0.8 to 0.8;

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
    pub Acos as acos: |x| x.acos(), [|g, x, _| -(g / (x.one_minus() * (x + T::ONE)).sqrt())], on -0.8 to 0.8;

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
    pub Atan as atan: |x| x.atan(), [|g, x, _| g / (x * x + T::ONE)], on -2.0 to 2.0;

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
    pub Sinh as sinh: |x| x.sinh(), [|g, x, _| g * x.cosh()], on -2.0 to 2.0;

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
    pub Cosh as cosh: |x| x.cosh(), [|g, x, _| g * x.sinh()], on -2.0 to 2.0;

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
    pub Asinh as asinh: |x| x.asinh(), [|g, x, _| g / x.hypot(x.zeros_like() + T::ONE)], on -2.0 to 2.0;

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
    pub Acosh as acosh: |x| x.acosh(),
        [|g, x, _| g / ((x - T::ONE).sqrt() * (x + T::ONE).sqrt())],
        on 1.2 to 3.0;

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
    pub Atanh as atanh: |x| x.atanh(), [|g, x, _| g / (x.one_minus() * (x + T::ONE))], on -0.8 to 0.8;

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
    pub Erf as erf: |x| x.erf(),
        [|g, x, _| g * ((-(x * x)).exp() * T::from_f64(std::f64::consts::FRAC_2_SQRT_PI))],
        on -2.0 to 2.0;

    /// Returns the complementary error function `1 - erf x`, accurate also where it is small.
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
    pub Erfc as erfc: |x| x.erfc(),
        [|g, x, _| g * ((-(x * x)).exp() * T::from_f64(-std::f64::consts::FRAC_2_SQRT_PI))],
        on -2.0 to 2.0;

    /// Returns the logarithm of the logistic function, `-ln(1 + e^-x)`, without overflow, accurate also where it is
    /// small.
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
    pub LogSigmoid as log_sigmoid: |x| { let low = if x < T::ZERO { x } else { T::ZERO }; low - (-x.abs()).exp().ln_1p() },
        [|g, x, _| g * (-x).sigmoid()],
        on -2.0 to 2.0;

    /// Returns `ln(1 + e^x)`, a smooth rectifier, without overflow, accurate also where it is small.
    /// [`softplus_beta`](crate::Var::softplus_beta) has a sharpness.
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
    pub Softplus as softplus: |x| { let high = if x > T::ZERO { x } else { T::ZERO }; high + (-x.abs()).exp().ln_1p() },
        [|g, x, _| g * x.sigmoid()],
        on -2.0 to 2.0;

    /// Returns `x` where it is positive, else `slope * x`.
    ///
    /// # Derivative
    ///
    /// 1 for `x > 0`, else `slope`, also at 0.
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
    pub LeakyRelu { slope = 0.3 } as leaky_relu: |x| if x > T::ZERO { x } else { x * slope },
        [|g, x, _| g * x.leaky_slope(slope)],
        on 0.1 to 2.0;

    /// Returns 1 where `x > 0`, else `slope`: a piecewise constant function, so no cotangent passes.
    ///
    /// # Derivative
    ///
    /// 0
    #[doc(hidden)]
    pub(crate) LeakySlope { slope = 0.3 } as leaky_slope: |x| x.leaky_slope(slope), [none], on 0.1 to 2.0;

    /// Returns `x` where it is positive, else `alpha (e^x - 1)`.
    ///
    /// # Derivative
    ///
    /// 1 for `x > 0`, else `alpha e^x`, also at 0.
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
    pub Elu { alpha = 0.5 } as elu: |x| { let low = x.exp_m1() * alpha; if x > T::ZERO { x } else { low } },
        [|g, x, _| g * x.elu_slope(alpha)],
        on -2.0 to -0.1;

    /// Returns 1 where `x > 0`, else `alpha e^x`.
    ///
    /// # Derivative
    ///
    /// 0 for `x >= 0`, else `y`. The cotangent is selected.
    #[doc(hidden)]
    pub(crate) EluSlope { alpha = 0.5 } as elu_slope: |x| x.elu_slope(alpha),
        [|g, x, y| (g * y).where_positive(-x)],
        on -2.0 to -0.1;

    /// Returns `λ x` where `x` is positive, else `λ α (e^x - 1)`, the scaled exponential linear unit. The constants are
    /// `λ = 1.0507…` and `α = 1.6732…` (Klambauer et al. 2017).
    ///
    /// # Derivative
    ///
    /// `λ` for `x > 0`, else `λ α e^x`, also at 0.
    ///
    /// # Example
    ///
    /// ```
    /// # use ndarray::array;
    /// # use tapegrad::Tape;
    /// let tape = Tape::<f64>::new();
    /// let x = tape.leaf(array![-(2.0_f64.ln()), 2.0]);
    /// let y = x.selu();
    /// y.sum().backward();
    /// assert!((y.value()[[0]] + 0.5 * 1.7580993408473766).abs() < 1e-15); // λ α (½ - 1)
    /// assert_eq!(y.value()[[1]], 2.0 * x.grad().unwrap()[[1]]);
    /// ```
    pub Selu as selu: |x| {
            let low = x.exp_m1() * T::from_f64(SELU_SCALE * SELU_ALPHA);
            if x > T::ZERO { x * T::from_f64(SELU_SCALE) } else { low }
        },
        [|g, x, _| g * (x.elu_slope(T::from_f64(SELU_ALPHA)) * T::from_f64(SELU_SCALE))],
        on -2.0 to -0.1;

    /// Returns `x` where it is positive, else `alpha (e^(x / alpha) - 1)`, the continuously differentiable exponential
    /// linear unit.
    ///
    /// # Derivative
    ///
    /// 1 for `x > 0`, else `e^(x / alpha)`. At 0 both are 1.
    ///
    /// # Panics
    ///
    /// If `alpha` is not above 0.
    ///
    /// # Example
    ///
    /// ```
    /// # use ndarray::array;
    /// # use tapegrad::Tape;
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![-2.0 * 2.0_f64.ln(), 3.0]);
    /// let y = x.celu(2.0);
    /// y.sum().backward();
    /// assert_eq!(y.value(), array![-1.0, 3.0].into_dyn()); // 2 (½ - 1)
    /// assert_eq!(x.grad().unwrap(), array![0.5, 1.0].into_dyn());
    /// ```
    pub Celu { alpha = 1.5 } as celu: |x| { let low = (x / alpha).exp_m1() * alpha; if x > T::ZERO { x } else { low } },
        [|g, x, _| g * (x / alpha).elu_slope(T::ONE)],
        on -2.0 to -0.1,
        where alpha > T::ZERO, "celu: expected an alpha above 0, found {alpha}";

    /// Returns `x / (1 + e^-x)`, the sigmoid linear unit.
    ///
    /// # Derivative
    ///
    /// `s (1 + x (1 - s))`, where `s` is the logistic function of `x`.
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
    pub Silu as silu: |x| x * x.sigmoid(),
        [|g, x, _| { let s = x.sigmoid(); g * (s * (x * s.one_minus() + T::ONE)) }],
        on -2.0 to 2.0;

    /// Returns `x tanh(ln(1 + e^x))`, a smooth rectifier (Misra 2019), without overflow.
    ///
    /// # Derivative
    ///
    /// `t + x (1 - t²) s`, where `t = tanh(ln(1 + e^x))` and `s` is the logistic function of `x`. With `e = e^x` it is
    /// `e (e + 2) / d + 4 x e (e + 1) / d²`, where `d = e (e + 2) + 2`.
    ///
    /// # Example
    ///
    /// ```
    /// # use ndarray::array;
    /// # use tapegrad::Tape;
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![0.0, 1000.0]);
    /// let y = x.mish();
    /// y.sum().backward();
    /// assert_eq!(y.value(), array![0.0, 1000.0].into_dyn());
    /// assert_eq!(x.grad().unwrap(), array![0.6, 1.0].into_dyn()); // tanh(ln 2) = 3/5
    /// ```
    pub Mish as mish: |x| {
            // From 40 on the factor is 1, and e² would overflow later.
            let e = x.clamp(T::NEG_INFINITY, T::from_f64(40.0)).exp();
            let numerator = e * (e + T::from_f64(2.0));
            x * (numerator / (numerator + T::from_f64(2.0)))
        },
        [|g, x, _| {
            let x = x.clamp(T::from_f64(-800.0), T::from_f64(40.0));
            let e = x.exp();
            let numerator = e * (e + T::from_f64(2.0));
            let d = numerator + T::from_f64(2.0);
            g * (numerator / d + x * (e / d) * ((e + T::ONE) / d) * T::from_f64(4.0))
        }],
        on -2.0 to 2.0;

    /// Returns `x / (1 + |x|)`, which lies between -1 and 1; NaN of an infinity.
    ///
    /// # Derivative
    ///
    /// `1 / (1 + |x|)²`
    ///
    /// # Example
    ///
    /// ```
    /// # use tapegrad::Tape;
    /// let tape = Tape::new();
    /// let x = tape.leaf(1.0);
    /// let y = x.softsign();
    /// y.backward();
    /// assert_eq!((y.item(), x.grad().unwrap().sum()), (0.5, 0.25));
    /// ```
    pub Softsign as softsign: |x| x / (x.abs() + T::ONE),
        [|g, x, _| { let size = x.abs() + T::ONE; g / size / size }],
        on -2.0 to 2.0;

    /// Returns `x relu6(x + 3) / 6`: 0 below -3, `x` above 3, and a parabola between.
    ///
    /// # Derivative
    ///
    /// `(2 x + 3) / 6` between -3 and 3, 0 below, 1 above. At -3 it is 0, at 3 it is 1.
    ///
    /// # Example
    ///
    /// ```
    /// # use ndarray::array;
    /// # use tapegrad::Tape;
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![-4.0, 0.0, 4.0]);
    /// let y = x.hardswish();
    /// y.sum().backward();
    /// assert_eq!(y.value(), array![0.0, 0.0, 4.0].into_dyn());
    /// assert_eq!(x.grad().unwrap(), array![0.0, 0.5, 1.0].into_dyn());
    /// ```
    #[doc(alias = "hard_swish")]
    pub Hardswish as hardswish: |x| x * ((x + T::from_f64(3.0)).clamp(T::ZERO, T::from_f64(6.0)) / T::from_f64(6.0)),
        [|g, x, _| {
            let step = x + T::from_f64(3.0);
            let slope = x.where_positive(step.in_range_mask(T::ZERO, T::from_f64(6.0)));
            g * ((step.clamp(T::ZERO, T::from_f64(6.0)) + slope) / T::from_f64(6.0))
        }],
        on -2.0 to 2.0;

    /// Returns `x Φ(x)`, the Gaussian error linear unit, where `Φ` is the normal distribution function.
    /// [`gelu_tanh`](crate::Var::gelu_tanh) is an approximation.
    ///
    /// # Derivative
    ///
    /// `Φ(x) + x φ(x)`, where `φ` is the normal density.
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
    pub Gelu as gelu: |x| x * ((x * T::from_f64(-std::f64::consts::FRAC_1_SQRT_2)).erfc() * T::from_f64(0.5)),
        [|g, x, _| {
            let distribution = (x * T::from_f64(-std::f64::consts::FRAC_1_SQRT_2)).erfc() * T::from_f64(0.5);
            let density = (x * x * T::from_f64(-0.5)).exp() * T::from_f64(NORMAL_DENSITY);
            g * (distribution + x * density)
        }],
        on -2.0 to 2.0;

    /// Returns `x/2 (1 + tanh(√(2/π) (x + 0.044715 x³)))`, the approximation of [`gelu`](crate::Var::gelu) that many
    /// trained networks use.
    ///
    /// # Derivative
    ///
    /// `s (1 + x (1 - s) u')`, where `u = 2 √(2/π) (x + 0.044715 x³)` and `s = (1 + tanh(u/2)) / 2` is the logistic
    /// function of `u`.
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
    pub GeluTanh as gelu_tanh: |x| x * ((x * x * T::from_f64(GELU_CUBE) + T::ONE) * x * T::from_f64(GELU_SLOPE)).sigmoid(),
        [|g, x, _| {
            // For large |x|, s is 0 or 1, and the slope would overflow.
            let x = x.clamp(T::from_f64(-40.0), T::from_f64(40.0));
            let square = x * x;
            let s = ((square * T::from_f64(GELU_CUBE) + T::ONE) * x * T::from_f64(GELU_SLOPE)).sigmoid();
            let slope = (square * T::from_f64(3.0 * GELU_CUBE) + T::ONE) * T::from_f64(GELU_SLOPE);
            g * (s * (x * (s.one_minus() * slope) + T::ONE))
        }],
        on -2.0 to 2.0;

    /// Returns the Huber function: `x²/2` where `|x| <= delta`, else `delta (|x| - delta/2)`.
    /// [`Var::huber_loss`](crate::Var::huber_loss) applies it to the difference of prediction and target.
    ///
    /// # Derivative
    ///
    /// `x` clamped to the interval from `-delta` to `delta`.
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
        },
        [|g, x, _| g * x.clamp(-delta, delta)],
        on -1.0 to 1.0,
        where delta >= T::ZERO, "huber: expected a delta of at least 0, found {delta}";

    /// Returns the power `2^x`.
    ///
    /// # Derivative
    ///
    /// `y ln 2`
    ///
    /// # Example
    ///
    /// ```
    /// # use tapegrad::Tape;
    /// let tape = Tape::new();
    /// let x = tape.leaf(3.0);
    /// let y = x.exp2();
    /// y.backward();
    /// assert_eq!((y.item(), x.grad().unwrap().sum()), (8.0, 8.0 * std::f64::consts::LN_2));
    /// ```
    pub Exp2 as exp2: |x| x.exp2(), [|g, _, y| g * (y * T::from_f64(std::f64::consts::LN_2))], on -2.0 to 2.0;

    /// Returns the largest integer that is not above `x`.
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
    /// let x = tape.leaf(array![-0.5, 1.5]);
    /// let y = x.floor();
    /// y.sum().backward();
    /// assert_eq!(y.value(), array![-1.0, 1.0].into_dyn());
    /// assert_eq!(x.grad().unwrap(), array![0.0, 0.0].into_dyn());
    /// ```
    pub Floor as floor: |x| x.floor(), [|g, _, _| g.zeros_like()], on 0.1 to 0.9;

    /// Returns the smallest integer that is not below `x`.
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
    /// assert_eq!(tape.leaf(array![-1.5, 0.5]).ceil().value(), array![-1.0, 1.0].into_dyn());
    /// ```
    pub Ceil as ceil: |x| x.ceil(), [|g, _, _| g.zeros_like()], on 0.1 to 0.9;

    /// Returns the nearest integer; of two that are equally near, the even one, as NumPy and PyTorch do.
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
    /// assert_eq!(tape.leaf(array![0.5, 0.7, 1.5, 2.5]).round().value(), array![0.0, 1.0, 2.0, 2.0].into_dyn());
    /// ```
    pub Round as round: |x| x.round(), [|g, _, _| g.zeros_like()], on 0.6 to 1.4;

    /// Returns `ln |Γ(x)|`, the logarithm of the gamma function; infinity at 0 and at negative integers.
    ///
    /// # Derivative
    ///
    /// [`digamma`](crate::Var::digamma) of `x`
    ///
    /// # Example
    ///
    /// ```
    /// # use tapegrad::Tape;
    /// let tape = Tape::<f64>::new();
    /// let x = tape.leaf(5.0);
    /// assert!((x.lgamma().item() - 24.0_f64.ln()).abs() < 1e-14); // Γ(5) = 4!
    /// ```
    #[doc(alias = "gammaln")]
    #[doc(alias = "ln_gamma")]
    pub Lgamma as lgamma: |x| x.lgamma(), [|g, x, _| g * x.digamma()], on 0.5 to 2.0;

    /// Returns the digamma function, `Γ'(x) / Γ(x)`. At 0 it is infinite, at negative integers NaN.
    ///
    /// # Derivative
    ///
    /// The trigamma function `Σ 1 / (x + k)²` over `k` from 0 on. The further derivatives are polygamma functions.
    ///
    /// # Example
    ///
    /// ```
    /// # use tapegrad::Tape;
    /// let tape = Tape::<f64>::new();
    /// let x = tape.leaf(1.0);
    /// let y = x.digamma();
    /// y.backward();
    /// assert!((y.item() + 0.577_215_664_901_532_9).abs() < 1e-15); // minus Euler's constant
    /// assert!((x.grad().unwrap().sum() - std::f64::consts::PI.powi(2) / 6.0).abs() < 1e-14);
    /// ```
    #[doc(alias = "psi")]
    pub Digamma as digamma: |x| x.digamma(), [|g, x, _| g * x.polygamma(T::ONE)], on 0.5 to 2.0;

    /// Returns derivative number `order` of the digamma function, `(-1)^(n+1) n! Σ 1 / (x + k)^(n+1)` over `k` from 0 on,
    /// with `n` the order, an integer from 1 on.
    ///
    /// # Derivative
    ///
    /// The same function of the next order.
    #[doc(hidden)]
    pub(crate) Polygamma { order = 1.0 } as polygamma: |x| x.polygamma(order),
        [|g, x, _| g * x.polygamma(order + T::ONE)],
        on 0.5 to 2.0,
        where order >= T::ONE && order.floor() == order, "polygamma: expected an order of 1, 2, .., found {order}";

    /// Returns 1 where `low < x < high`, else 0: a mask, so no cotangent passes.
    #[doc(hidden)]
    pub(crate) InRangeMask { low = -1.0, high = 1.0 } as in_range_mask: |x| x.in_range_mask(low, high),
        [none],
        on -0.9 to 0.9;
} } }
pub(crate) use unary_rows;

/// Passes the rows of two operands to the macro `$then`.
#[rustfmt::skip]
macro_rules! binary_rows { ($then:ident) => { $then! {
    /// Returns `a + b`.
    #[doc(hidden)]
    pub(crate) Add as add: |a, b| a + b,
        [same],
        [same];

    /// Returns `a - b`.
    #[doc(hidden)]
    pub(crate) Sub as sub: |a, b| a - b,
        [same],
        [|g, _, _, _| -g];

    /// Returns `a * b`, element by element.
    #[doc(hidden)]
    pub(crate) Mul as mul: |a, b| a * b,
        [|g, _, b, _| g * b],
        [|g, a, _, _| g * a];

    /// Returns `a / b`, element by element, as in IEEE 754.
    #[doc(hidden)]
    pub(crate) Div as div: |a, b| a / b,
        [|g, _, b, _| g / b],
        [|g, _, b, y| -(g * y / b)];

    /// Returns the larger of two elements, with NumPy's broadcasting; NaN if either is NaN. The second may be a number.
    ///
    /// # Derivative
    ///
    /// `g` for the larger, 0 for the smaller. At a tie each gets half of `g`. If one is NaN, both get `g`. The
    /// cotangent is selected, not multiplied.
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
    pub Maximum as maximum: |a, b| a.maximum(b),
        [|g, a, b, _| { let weight = a.tie_weight(b); g.where_positive(weight) * weight }],
        [|g, a, b, _| { let weight = b.tie_weight(a); g.where_positive(weight) * weight }];

    /// Returns the power `a^b` of two elements, with NumPy's broadcasting. [`powf`](crate::Var::powf) takes a number as
    /// exponent, [`exponent_of`](crate::Var::exponent_of) a number as base.
    ///
    /// As in IEEE 754, `a^0` is 1 for every `a`. A negative `a` to an exponent that is no integer is NaN.
    ///
    /// # Derivative
    ///
    /// By `a`: `b a^(b-1)`, and 0 for `0^0`. By `b`: `y ln a`, and 0 for `a = 0` and `b >= 0`.
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
    pub Pow as pow: |a, b| a.pow(b),
        // 0 is selected only at the points where the formula is 0 · ∞. It is not selected along all of `b = 0`, because
        // there the derivative of this rule by `b` is not 0. At a selected point the infinite factor is replaced by 1,
        // whose own derivative is 0 as well.
        [|g, a, b, _| {
            let size = a.abs() + b.abs();
            let hole = size.equal(size.zeros_like());
            (g * (a.pow(b - T::ONE + hole) * b)).where_positive(size)
        }],
        [|g, a, b, y| {
            let size = a.abs() + (-b).where_positive(-b);
            let hole = size.equal(size.zeros_like());
            (g * (y * (a + hole).ln())).where_positive(size)
        }];

    /// Returns the smaller of two elements, with NumPy's broadcasting; NaN if either is NaN. The second may be a number.
    ///
    /// # Derivative
    ///
    /// `g` for the smaller, 0 for the larger. At a tie each gets half of `g`. If one is NaN, both get `g`. The
    /// cotangent is selected, not multiplied.
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
    pub Minimum as minimum: |a, b| -(-a).maximum(-b),
        [|g, a, b, _| { let weight = b.tie_weight(a); g.where_positive(weight) * weight }],
        [|g, a, b, _| { let weight = a.tie_weight(b); g.where_positive(weight) * weight }];

    /// Returns the remainder of `a / b` with the sign of `b`, Python's `a % b`, with NumPy's broadcasting.
    ///
    /// It is `a - b floor(a / b)`, computed without the rounding of the quotient. For `b = 0` it is NaN.
    ///
    /// # Derivative
    ///
    /// 1 by `a`, `-floor(a / b)` by `b`, also where the remainder jumps.
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
    /// let (a, b) = (tape.leaf(array![7.0, -7.0]), tape.leaf(array![3.0, 3.0]));
    /// let y = a.remainder(b);
    /// y.sum().backward();
    /// assert_eq!(y.value(), array![1.0, 2.0].into_dyn());
    /// assert_eq!(b.grad().unwrap(), array![-2.0, 3.0].into_dyn());
    /// ```
    pub Remainder as remainder: |a, b| a.remainder(b),
        [same],
        [|g, a, b, y| -(g * ((a - y) / b).round())], on 1.0 to 2.0;

    /// Returns `ln(e^a + e^b)` without overflow, with NumPy's broadcasting. It is minus infinity where both are.
    ///
    /// # Derivative
    ///
    /// `e^a / (e^a + e^b)` by `a`, `e^b / (e^a + e^b)` by `b`. An operand of minus infinity gets 0. Two operands of infinity
    /// get half each.
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
    /// let (a, b) = (tape.leaf(1000.0), tape.leaf(1000.0));
    /// let y = a.logaddexp(b);
    /// y.backward();
    /// assert_eq!(y.item(), 1000.0 + 2.0_f64.ln());
    /// assert_eq!((a.grad().unwrap().sum(), b.grad().unwrap().sum()), (0.5, 0.5));
    /// ```
    pub Logaddexp as logaddexp: |a, b| {
            let y = a.maximum(b) + (-(a - b).abs()).exp().ln_1p();
            // Of equal infinities the difference is NaN.
            if a == b { a + T::from_f64(std::f64::consts::LN_2) } else { y }
        },
        [|g, a, b, _| {
            let high = a.maximum(b);
            let (p, q) = (a.exp_difference(high), b.exp_difference(high));
            g * p.divide_no_nan(p + q)
        }],
        [|g, a, b, _| {
            let high = a.maximum(b);
            let (p, q) = (a.exp_difference(high), b.exp_difference(high));
            g * q.divide_no_nan(p + q)
        }];

    /// Returns the angle of the point `(b, a)` with the first axis, between -π and π: `atan(a / b)` in the right
    /// quadrant, with NumPy's broadcasting.
    ///
    /// # Derivative
    ///
    /// `b / (a² + b²)` by `a`, `-a / (a² + b²)` by `b`. At the origin, where the angle is undefined, it is NaN.
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
    pub Atan2 as atan2: |a, b| a.atan2(b),
        [|g, a, b, _| { let r = a.hypot(b); g * (b / r / r) }],
        [|g, a, b, _| { let r = a.hypot(b); -(g * (a / r / r)) }];

    /// Returns the length `√(a² + b²)`, with NumPy's broadcasting. The squares neither overflow nor underflow.
    ///
    /// # Derivative
    ///
    /// `a / y` by `a`, `b / y` by `b`. At the origin both are 0, even for an infinite cotangent.
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
    pub Hypot as hypot: |a, b| a.hypot(b),
        [|g, a, _, y| g.where_positive(y) * a.divide_no_nan(y)],
        [|g, _, b, y| g.where_positive(y) * b.divide_no_nan(y)];

    /// Returns `e^(a - b)`. It is 1 where both are infinity, and 0 where `a` is minus infinity.
    #[doc(hidden)]
    pub(crate) ExpDifference as exp_difference: |a, b| a.exp_difference(b),
        [|g, _, _, y| g * y],
        [|g, _, _, y| -(g * y)];

    /// Returns `a / b`, and 0 where `b` is 0. Where `b` is 0, every derivative is 0, too.
    #[doc(hidden)]
    pub(crate) DivideNoNan as divide_no_nan: |a, b| a.divide_no_nan(b),
        [|g, _, b, _| g.divide_no_nan(b)],
        [|g, _, b, y| -(g * y).divide_no_nan(b)];

    /// Returns `a b`, and 0 where the weight `a` is 0 and `b` is not NaN.
    ///
    /// # Derivative
    ///
    /// `b` by `a`, as in IEEE 754. `a` by `b`, and 0 where `a` is 0.
    #[doc(hidden)]
    pub(crate) MultiplyNoNan as multiply_no_nan: |a, b| a.multiply_no_nan(b),
        [|g, _, b, _| g * b],
        [|g, a, _, _| a.multiply_no_nan(g)];

    /// Returns `a / b`, and 0 where `a` is 0 and `b` is not NaN.
    ///
    /// # Derivative
    ///
    /// `1 / b` by `a`, `-y / b` by `b`. Each quotient is 0 where its dividend is 0.
    #[doc(hidden)]
    pub(crate) ZeroDivide as zero_divide: |a, b| a.zero_divide(b),
        [|g, _, b, _| g.zero_divide(b)],
        [|g, _, b, y| -(g * y).zero_divide(b)];

    /// Returns `(a - b)²`, a term of [`Var::mse_loss`](crate::Var::mse_loss).
    ///
    /// # Derivative
    ///
    /// `2 (a - b)` by `a`, `-2 (a - b)` by `b`.
    #[doc(hidden)]
    pub(crate) SquaredDifference as squared_difference: |a, b| (a - b) * (a - b),
        [|g, a, b, _| { let d = a - b; g * (d + d) }],
        [|g, a, b, _| { let d = b - a; g * (d + d) }];

    /// Returns `|a - b|`, a term of [`Var::l1_loss`](crate::Var::l1_loss).
    ///
    /// # Derivative
    ///
    /// The sign of `a - b` by `a`, minus the sign by `b`. Where they are equal it is 0, even for an infinite cotangent.
    #[doc(hidden)]
    pub(crate) AbsDifference as abs_difference: |a, b| (a - b).abs(),
        [|g, a, b, y| (g * (a - b).sign()).where_positive(y)],
        [|g, a, b, y| (g * (b - a).sign()).where_positive(y)];

    /// Returns `-(b ln a + (1 - b) ln(1 - a))`, a term of
    /// [`Var::binary_cross_entropy`](crate::Var::binary_cross_entropy). A part of weight 0 counts as 0.
    ///
    /// # Derivative
    ///
    /// `(1 - b) / (1 - a) - b / a` by `a`, `ln(1 - a) - ln a` by `b`.
    #[doc(hidden)]
    pub(crate) BinaryCrossEntropy as binary_cross_entropy_term:
        |a, b| -(b.multiply_no_nan(a.ln()) + b.one_minus().multiply_no_nan((-a).ln_1p())),
        [|g, a, b, _| g * (b.one_minus().zero_divide(a.one_minus()) - b.zero_divide(a))],
        [|g, a, _, _| g * ((-a).ln_1p() - a.ln())], on 0.2 to 0.8;

    /// Returns `b ln(1 + e^-a) + (1 - b) ln(1 + e^a)`, a term of
    /// [`Var::binary_cross_entropy_with_logits`](crate::Var::binary_cross_entropy_with_logits). A part of weight 0
    /// counts as 0.
    ///
    /// # Derivative
    ///
    /// `s - b` by `a`, where `s` is the logistic function of `a`; `-a` by `b`.
    #[doc(hidden)]
    pub(crate) BinaryCrossEntropyWithLogits as binary_cross_entropy_with_logits_term: |a, b| {
            let (low, high) = if a < T::ZERO { (-a, T::ZERO) } else { (T::ZERO, a) };
            let tail = (-a.abs()).exp().ln_1p();
            b.multiply_no_nan(low + tail) + b.one_minus().multiply_no_nan(high + tail)
        },
        [|g, a, b, _| g * (a.sigmoid() - b)],
        [|g, a, _, _| -(g * a)];

    /// Returns `max(0, 1 - a b)`, a term of [`Var::hinge_loss`](crate::Var::hinge_loss).
    ///
    /// # Derivative
    ///
    /// `-b` by `a` and `-a` by `b` where `a b < 1`, else 0. The cotangent is selected.
    #[doc(hidden)]
    pub(crate) Hinge as hinge_term: |a, b| { let y = T::ONE - a * b; if y < T::ZERO { T::ZERO } else { y } },
        [|g, a, b, _| -(g * b).where_positive((a * b).one_minus())],
        [|g, a, b, _| -(g * a).where_positive((a * b).one_minus())], on 0.2 to 0.8;

    /// Returns `max(0, -a b)`, a term of [`Var::perceptron_loss`](crate::Var::perceptron_loss).
    ///
    /// # Derivative
    ///
    /// `-b` by `a` and `-a` by `b` where `a b < 0`, else 0. The cotangent is selected.
    #[doc(hidden)]
    pub(crate) Perceptron as perceptron_term:
        |a, b| { let y = -(a * b); if y < T::ZERO { T::ZERO } else { y } },
        [|g, a, b, _| -(g * b).where_positive(-(a * b))],
        [|g, a, b, _| -(g * a).where_positive(-(a * b))];

    /// Returns `b (ln b - a)`, a term of [`Var::kl_div`](crate::Var::kl_div); 0 where `b` is 0.
    ///
    /// # Derivative
    ///
    /// `-b` by `a`, `ln b - a + 1` by `b`.
    #[doc(hidden)]
    pub(crate) KlDivergence as kl_divergence: |a, b| b.multiply_no_nan(b.ln()) - b.multiply_no_nan(a),
        [|g, _, b, _| -(g * b)],
        [|g, a, b, _| g * (b.ln() - a + T::ONE)];

    /// Returns `-(b ln(a + ε) + (1 - b) ln(1 - a + ε))` with `ε = 1e-16`, a term of
    /// [`Var::course_cross_entropy`](crate::Var::course_cross_entropy).
    ///
    /// # Derivative
    ///
    /// `(1 - b) / (1 - a + ε) - b / (a + ε)` by `a`, `ln(1 - a + ε) - ln(a + ε)` by `b`.
    #[doc(hidden)]
    pub(crate) CourseCrossEntropy as course_cross_entropy_term:
        |a, b| -(b * (a + T::from_f64(1e-16)).ln() + (T::ONE - b) * (T::ONE - a + T::from_f64(1e-16)).ln()),
        [|g, a, b, _| g * (b.one_minus() / (a.one_minus() + T::from_f64(1e-16)) - b / (a + T::from_f64(1e-16)))],
        [|g, a, _, _| g * ((a.one_minus() + T::from_f64(1e-16)).ln() - (a + T::from_f64(1e-16)).ln())], on 0.2 to 0.8;

    /// Returns 0 where `mask <= 0`, else `a`. It selects and does not multiply. No cotangent passes to the mask.
    #[doc(hidden)]
    pub(crate) WherePositive as where_positive: |a, mask| a.where_positive(mask),
        [|g, _, mask, _| g.where_positive(mask)],
        [none];

    /// Returns the share of the cotangent that `maximum` passes to `a`: 0 if `a` is the smaller, ½ at a tie, else 1.
    #[doc(hidden)]
    pub(crate) TieWeight as tie_weight: |a, b| a.tie_weight(b),
        [none],
        [none];

    /// Returns 1 where two elements are equal, else 0: a mask.
    #[doc(hidden)]
    pub(crate) Equal as equal: |a, b| a.equal(b),
        [none],
        [none];
} } }
pub(crate) use binary_rows;
