//! What a [gradcheck](super::gradcheck()) is asked and what it answers: [`Options`], [`Report`], [`Failure`].

use std::fmt;

use crate::param::Param;
use crate::scalar::Scalar;

/// Which derivatives [`gradcheck`](super::gradcheck()) checks.
///
/// # Example
///
/// See [`Options`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Order {
    /// The gradient.
    First,
    /// The gradient, and the gradient of the gradient.
    Second,
}

impl Order {
    const ALL: [Self; 2] = [Self::First, Self::Second];
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First => "order 1",
            Self::Second => "order 2",
        })
    }
}

/// What [`gradcheck`](super::gradcheck()) checks, and how closely.
///
/// # Example
///
/// ```
/// use tapegrad::check::{Options, Order, gradcheck};
/// use ndarray::array;
///
/// let options = Options::new().with_order(Order::First).with_directions(1).with_tolerance(1e-9);
/// assert!(gradcheck(|x| x[0].tanh(), &[array![0.5, 1.0].into_dyn()], &options).is_ok());
/// ```
#[derive(Clone, Debug)]
pub struct Options<T> {
    parameters: Vec<Param<T>>,
    order: Order,
    directions: usize,
    tolerance: f64,
    seed: u64,
}

impl<T: Scalar> Default for Options<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Scalar> Options<T> {
    /// Returns the default options: orders 1 and 2, three directions, no parameters, and a relative tolerance of `1e-7` in
    /// `f64` and `2e-3` in `f32`.
    ///
    /// # Example
    ///
    /// See [`Options`].
    #[must_use]
    pub fn new() -> Self {
        let tolerance = if T::DTYPE == "f32" { 2e-3 } else { 1e-7 };
        Self { parameters: Vec::new(), order: Order::Second, directions: 3, tolerance, seed: 0 }
    }

    /// Also checks the gradients of these parameters. The function must record them.
    ///
    /// The check changes their values. Afterwards values and gradients are as they were before.
    ///
    /// Parameters used inside a [checkpoint](crate::Tape::checkpoint) are checked at order 1 only, and only through
    /// [`backward`](crate::Var::backward): recorded gradients do not reach them.
    ///
    /// # Example
    ///
    /// See [`check`](super).
    #[must_use]
    pub fn with_parameters(mut self, parameters: &[Param<T>]) -> Self {
        self.parameters = parameters.to_vec();
        self
    }

    /// Checks up to this order.
    ///
    /// # Example
    ///
    /// See [`Options`].
    #[must_use]
    pub fn with_order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// Checks along this number of random directions.
    ///
    /// # Panics
    ///
    /// If the number is 0.
    ///
    /// # Example
    ///
    /// See [`Options`].
    #[track_caller]
    #[must_use]
    pub fn with_directions(mut self, directions: usize) -> Self {
        assert!(directions > 0, "gradcheck: at least one direction is needed");
        self.directions = directions;
        self
    }

    /// Allows this relative difference.
    ///
    /// # Example
    ///
    /// See [`Options`].
    #[must_use]
    pub fn with_tolerance(mut self, tolerance: f64) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Draws the directions from this seed.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::check::{Options, gradcheck};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let check = |seed| gradcheck(|x| x[0].tanh(), &[array![0.5].into_dyn()], &Options::new().with_seed(seed));
    /// assert_eq!(check(1)?.to_string(), check(1)?.to_string()); // equal seeds give equal checks
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    pub(super) fn parameters(&self) -> &[Param<T>] {
        &self.parameters
    }

    pub(super) fn order(&self) -> Order {
        self.order
    }

    pub(super) fn directions(&self) -> usize {
        self.directions
    }

    pub(super) fn tolerance(&self) -> f64 {
        self.tolerance
    }

    pub(super) fn seed(&self) -> u64 {
        self.seed
    }
}

/// What [`gradcheck`](super::gradcheck()) checked, and how closely the derivatives agreed.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::check::{Options, gradcheck};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let report = gradcheck(|x| x[0].square(), &[array![1.0, 2.0].into_dyn()], &Options::new())?;
/// assert_eq!(report.elements(), 2);
/// assert!(report.largest_error() < 1e-7 && report.dot_error() < 1e-11);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Report {
    dtype: &'static str,
    variables: usize,
    elements: usize,
    directions: usize,
    errors: Vec<f64>,
    rounding: f64,
    dot_error: f64,
}

impl Report {
    /// Returns a report of a check that has not compared anything yet.
    pub(super) fn new<T: Scalar>(options: &Options<T>, variables: usize, elements: usize) -> Self {
        let orders = Order::ALL.iter().filter(|order| **order <= options.order).count();
        Self {
            dtype: T::DTYPE,
            variables,
            elements,
            directions: options.directions,
            errors: vec![0.0; orders],
            rounding: 0.0,
            dot_error: 0.0,
        }
    }

    /// Adds a derivative that agrees to within `error`, where rounding may hide an error up to `hidden`.
    pub(super) fn add(&mut self, order: Order, error: f64, hidden: f64) {
        let largest = &mut self.errors[order as usize];
        *largest = largest.max(error);
        self.rounding = self.rounding.max(hidden);
    }

    /// Adds a dot test that agrees to within `error`.
    pub(super) fn add_dot(&mut self, error: f64) {
        self.dot_error = self.dot_error.max(error);
    }

    /// Returns the number of elements that the function was differentiated by.
    ///
    /// # Example
    ///
    /// See [`Report`].
    #[must_use]
    pub fn elements(&self) -> usize {
        self.elements
    }

    /// Returns the largest relative difference between the tape's derivatives and finite differences, over all directions
    /// and orders.
    ///
    /// # Example
    ///
    /// See [`Report`].
    #[must_use]
    pub fn largest_error(&self) -> f64 {
        self.errors.iter().copied().fold(0.0, f64::max)
    }

    /// Returns the largest relative difference between the two sides of the dot test.
    ///
    /// # Example
    ///
    /// See [`Report`].
    #[must_use]
    pub fn dot_error(&self) -> f64 {
        self.dot_error
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dtype, variables, elements, directions, errors, rounding, dot_error } = self;
        write!(f, "gradcheck: {elements} elements of {variables} inputs in {dtype}, {directions} directions:")?;
        for (order, error) in Order::ALL.iter().zip(errors) {
            write!(f, " {order} within {error:.1e},")?;
        }
        write!(f, " dot test within {dot_error:.1e}")?;
        if *rounding > 0.0 { write!(f, "; rounding may hide errors up to {rounding:.1e}") } else { Ok(()) }
    }
}

/// What is wrong with a derivative.
///
/// # Example
///
/// See [`Failure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// The tape's derivative is not the derivative of the function.
    Wrong,
    /// The function has a kink or a jump here, or its domain ends here: it has no derivative.
    NotDifferentiable,
    /// A value or a derivative is infinite or NaN.
    NotFinite,
    /// The dot test fails: `<u, J v>` is not `<Jᵀ u, v>`. A rule is not linear in its cotangent, or its result does not
    /// depend on the cotangent.
    NotAdjoint,
    /// The recording sweep and the sweep on arrays give different gradients.
    SweepsDiffer,
    /// The function gives different values for the same inputs.
    NotRepeatable,
    /// Rounding hides the answer, or differences do not converge. The derivative may be right or wrong.
    Inconclusive,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wrong => "wrong",
            Self::NotDifferentiable => "not differentiable here",
            Self::NotFinite => "not finite",
            Self::NotAdjoint => "the dot test fails",
            Self::SweepsDiffer => "the sweeps differ",
            Self::NotRepeatable => "not repeatable",
            Self::Inconclusive => "inconclusive",
        })
    }
}

/// Why [`gradcheck`](super::gradcheck()) fails: the verdict, the place, and both numbers.
///
/// A function with one output is differentiated as it is. A function with several outputs is differentiated as
/// `<u, f(x)>` with a random `u`. At order 2, the check differentiates the dot product of that gradient with random numbers.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::check::{Options, Verdict, gradcheck};
///
/// let failure = gradcheck(|x| x[0].abs().sum(), &[array![1.0, 0.0].into_dyn()], &Options::new()).unwrap_err();
/// assert_eq!(failure.verdict(), Verdict::NotDifferentiable);
/// assert_eq!(failure.index(), Some(&[1][..]));
/// assert_eq!(
///     failure.to_string(),
///     "gradcheck, order 1: not differentiable here: input 0 at [1]: the tape gives 0, differences give 0 (-1 to the left, 1 to the right)"
/// );
/// ```
#[derive(Clone, Debug)]
pub struct Failure {
    verdict: Verdict,
    order: Order,
    variable: Option<String>,
    index: Option<Vec<usize>>,
    found: f64,
    expected: f64,
    detail: String,
}

impl Failure {
    /// Returns a failure along a direction.
    pub(super) fn new(verdict: Verdict, order: Order, found: f64, expected: f64) -> Self {
        Self { verdict, order, variable: None, index: None, found, expected, detail: String::new() }
    }

    /// Names the element.
    pub(super) fn at(mut self, variable: String, index: Vec<usize>) -> Self {
        (self.variable, self.index) = (Some(variable), Some(index));
        self
    }

    /// Names the variable, unless it has been named.
    pub(super) fn within(mut self, variable: String) -> Self {
        self.variable.get_or_insert(variable);
        self
    }

    /// Adds a reason.
    pub(super) fn because(mut self, detail: String) -> Self {
        self.detail = detail;
        self
    }

    /// Returns what is wrong.
    ///
    /// # Example
    ///
    /// See [`Failure`].
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Returns the order of the derivative.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::check::{Options, Order, gradcheck};
    ///
    /// let copied = gradcheck(|x| x[0] * x[0].tape().constant(x[0].value()), &[array![3.0].into_dyn()], &Options::new());
    /// let failure = copied.unwrap_err();
    /// assert_eq!((failure.order(), failure.variable()), (Order::First, Some("input 0")));
    /// ```
    #[must_use]
    pub fn order(&self) -> Order {
        self.order
    }

    /// Returns the variable that fails, for example `input 0`, `parameter 1 (weight)` or `output`; `None` if the failure is
    /// along a direction in all of them.
    ///
    /// # Example
    ///
    /// See [`order`](Self::order).
    #[must_use]
    pub fn variable(&self) -> Option<&str> {
        self.variable.as_deref()
    }

    /// Returns the index of the worst element; `None` if the failure is along a direction.
    ///
    /// # Example
    ///
    /// See [`Failure`].
    #[must_use]
    pub fn index(&self) -> Option<&[usize]> {
        self.index.as_deref()
    }

    /// Returns the tape's number: the derivative by that element, or along a direction.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::check::{Options, gradcheck};
    ///
    /// let copied = gradcheck(|x| (x[0] * x[0].tape().constant(x[0].value())).sum(), &[array![3.0, 1.0].into_dyn()], &Options::new());
    /// let failure = copied.unwrap_err();
    /// assert_eq!(failure.found(), 3.0);
    /// assert!((failure.expected() - 6.0).abs() < 1e-6);
    /// ```
    #[must_use]
    pub fn found(&self) -> f64 {
        self.found
    }

    /// Returns the expected number: from differences, or from the other way to compute it.
    ///
    /// # Example
    ///
    /// See [`found`](Self::found).
    #[must_use]
    pub fn expected(&self) -> f64 {
        self.expected
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gradcheck, {}: {}: ", self.order, self.verdict)?;
        match (&self.variable, &self.index) {
            (Some(variable), Some(index)) => write!(f, "{variable} at {index:?}: ")?,
            (Some(variable), None) => write!(f, "{variable}: ")?,
            _ => f.write_str("along a random direction: ")?,
        }
        let (found, expected) = (Number::new(self.found), Number::new(self.expected));
        match self.verdict {
            Verdict::Wrong | Verdict::NotDifferentiable | Verdict::Inconclusive => {
                write!(f, "the tape gives {found}, differences give {expected}")?;
            }
            Verdict::NotFinite => write!(f, "{found}")?,
            Verdict::NotAdjoint => write!(f, "<Jᵀ u, v> is {found}, <u, J v> is {expected}")?,
            Verdict::SweepsDiffer => write!(f, "recorded {found}, on arrays {expected}")?,
            Verdict::NotRepeatable => write!(f, "first {found}, then {expected}")?,
        }
        if self.detail.is_empty() { Ok(()) } else { write!(f, " ({})", self.detail) }
    }
}

impl std::error::Error for Failure {}

/// A number in a message: a very large or very small one is written with an exponent.
pub(super) struct Number(f64);

impl Number {
    pub(super) fn new(x: f64) -> Self {
        Self(x)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.0.abs();
        if size.is_finite() && size != 0.0 && !(1e-5..1e7).contains(&size) {
            write!(f, "{:e}", self.0)
        } else {
            write!(f, "{}", self.0)
        }
    }
}
