//! [`gradcheck`]: the tape's gradients against differences, at orders 1 and 2.

use std::fmt;

use ndarray::ArrayD;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::index_of;
use super::restore::Restore;
use super::slope::{CONFIDENCE, Slope, Steps, Value, slope};
use crate::number::Classify;
use crate::param::Param;
use crate::scalar::Scalar;
use crate::tape::{Tape, Var};

/// Which derivatives [`gradcheck`] looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Order {
    /// The gradient.
    First,
    /// The gradient, and the gradient of the gradient.
    Second,
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First => "order 1",
            Self::Second => "order 2",
        })
    }
}

/// What [`gradcheck`] looks at, and how closely.
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
    /// Returns the usual options: orders 1 and 2, three directions, no parameters, a relative tolerance of `1e-7` in `f64`
    /// and of `2e-3` in `f32`.
    #[must_use]
    pub fn new() -> Self {
        let tolerance = if T::DTYPE == "f32" { 2e-3 } else { 1e-7 };
        Self { parameters: Vec::new(), order: Order::Second, directions: 3, tolerance, seed: 0 }
    }

    /// Checks the gradient by these parameters, too. The function records them; their values are moved during the check
    /// and are, as their gradients are, as before afterwards.
    ///
    /// Of a parameter that a [checkpoint](Tape::checkpoint) uses only the gradient by the sweep on arrays is checked, at order
    /// 1: gradients that are recorded do not reach parameters within a segment.
    #[must_use]
    pub fn with_parameters(mut self, parameters: &[Param<T>]) -> Self {
        self.parameters = parameters.to_vec();
        self
    }

    /// Checks up to this order.
    #[must_use]
    pub fn with_order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// Checks along so many random directions.
    ///
    /// # Panics
    ///
    /// If there are none.
    #[track_caller]
    #[must_use]
    pub fn with_directions(mut self, directions: usize) -> Self {
        assert!(directions > 0, "gradcheck: at least one direction is needed");
        self.directions = directions;
        self
    }

    /// Allows this relative difference.
    #[must_use]
    pub fn with_tolerance(mut self, tolerance: f64) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Draws the directions from this seed.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }
}

/// What [`gradcheck`] looked at, and how well it agreed.
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
    /// Returns how many numbers the function was differentiated by.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.elements
    }

    /// Returns the largest relative difference between a derivative and differences, over all directions and orders.
    #[must_use]
    pub fn largest_error(&self) -> f64 {
        self.errors.iter().copied().fold(0.0, f64::max)
    }

    /// Returns the largest relative difference of the dot test.
    #[must_use]
    pub fn dot_error(&self) -> f64 {
        self.dot_error
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dtype, variables, elements, directions, errors, rounding, dot_error } = self;
        write!(f, "gradcheck: {elements} elements of {variables} inputs in {dtype}, {directions} directions:")?;
        for (order, error) in [Order::First, Order::Second].iter().zip(errors) {
            write!(f, " {order} within {error:.1e},")?;
        }
        write!(f, " dot test within {dot_error:.1e}")?;
        if *rounding > 0.0 { write!(f, "; rounding would have hidden errors up to {rounding:.1e}") } else { Ok(()) }
    }
}

/// What is the matter with a derivative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// The tape's derivative is not that of the function.
    Wrong,
    /// The function has a kink, a jump or an end here: there is no derivative to compare with.
    NotDifferentiable,
    /// A value or a derivative is infinite or NaN.
    NotFinite,
    /// A rule is not linear in its cotangent, or loses the way to it: `<u, J v>` is not `<Jᵀ u, v>`.
    NotAdjoint,
    /// The sweep that records gives another gradient than the one on arrays.
    SweepsDiffer,
    /// The function gives different values for the same inputs.
    NotRepeatable,
    /// Rounding hides the answer, or differences do not settle on one: the derivative may be right or wrong.
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

/// Why [`gradcheck`] says no: the verdict, where, and both numbers.
///
/// A function of more than one output is differentiated as `<u, f(x)>`, with a random `u`, and at order 2 the function is
/// the dot product of that gradient with random numbers; a function of one output is taken as it is.
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
    /// Returns what is the matter.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Returns the order of the derivative.
    #[must_use]
    pub fn order(&self) -> Order {
        self.order
    }

    /// Returns which input it is, as in `input 0` or `parameter 1 (weight)`; `None` if it is no single one.
    #[must_use]
    pub fn variable(&self) -> Option<&str> {
        self.variable.as_deref()
    }

    /// Returns the index of the worst element; `None` if it is no single one.
    #[must_use]
    pub fn index(&self) -> Option<&[usize]> {
        self.index.as_deref()
    }

    /// Returns the tape's number: the derivative by that element, or along a direction.
    #[must_use]
    pub fn found(&self) -> f64 {
        self.found
    }

    /// Returns the number that it should be, by differences or by the other way to compute it.
    #[must_use]
    pub fn expected(&self) -> f64 {
        self.expected
    }

    fn at(mut self, variable: String, index: Vec<usize>) -> Self {
        (self.variable, self.index) = (Some(variable), Some(index));
        self
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
        let (found, expected) = (Number(self.found), Number(self.expected));
        match self.verdict {
            Verdict::Wrong | Verdict::NotDifferentiable | Verdict::Inconclusive => {
                write!(f, "the tape gives {found}, differences give {expected}")?;
            }
            Verdict::NotFinite => write!(f, "{found}")?,
            Verdict::NotAdjoint => write!(f, "<Jᵀ u, v> is {found}, <u, J v> is {expected}")?,
            Verdict::SweepsDiffer => write!(f, "recorded {found}, on arrays {expected}")?,
            Verdict::NotRepeatable => write!(f, "{found}, and then {expected}")?,
        }
        if self.detail.is_empty() { Ok(()) } else { write!(f, " ({})", self.detail) }
    }
}

impl std::error::Error for Failure {}

/// A number as messages show it: without hundreds of zeros.
struct Number(f64);

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

/// Checks the derivatives of `f` at `inputs`, and says how well they agree.
///
/// `f` is any function of `Var`s on one tape, as many as there are inputs; it may record constants and parameters on
/// `x[0].tape()`. What is checked:
///
/// - that the gradient, by the sweep on arrays and by the one that records, agrees with central differences of `f` along
///   random directions of all inputs at once, and of each input and parameter alone, with steps that shrink until they
///   agree or rounding is all that is left;
/// - that `<u, J v> = <Jᵀ u, v>`: the product with the Jacobian `J` is found by differentiating `Jᵀ u` by `u`;
/// - that the gradient of the recorded gradient agrees with differences of it.
///
/// If one of them fails, every element is differentiated alone, and the worst is named. A derivative so small that the function
/// moves by less than its rounding over a whole step of 1 counts as the 0 that it looks like.
///
/// # Errors
///
/// A [`Failure`] if a derivative is wrong, or if the function has none here: a kink shows by the slopes to its left and right,
/// which stay apart however small the step. If rounding hides more than a quarter of a derivative at every step the verdict is
/// [`Verdict::Inconclusive`].
///
/// # Panics
///
/// If `f` does, if it is to be differentiated by nothing, and if the options hold a parameter twice.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::check::{Options, gradcheck};
///
/// let (a, x) = (array![[1.0, 2.0], [3.0, 4.0]].into_dyn(), array![0.5, -0.5].into_dyn());
/// let report = gradcheck(|v| v[0].matmul(v[1]).tanh(), &[a, x], &Options::new())?;
/// assert_eq!(report.elements(), 6);
/// assert!(report.largest_error() < 1e-7);
///
/// // No gradient by x passes through a constant: a wrong derivative.
/// let x = array![3.0, 1.0].into_dyn();
/// let dropped = gradcheck(|v| (v[0] * v[0].tape().constant(v[0].value())).sum(), &[x], &Options::new());
/// assert_eq!(
///     dropped.unwrap_err().to_string(),
///     "gradcheck, order 1: wrong: input 0 at [0]: the tape gives 3, differences give 6"
/// );
/// # Ok::<(), tapegrad::check::Failure>(())
/// ```
#[doc(alias("check_grads", "grad_check", "test_rrule"))]
#[track_caller]
pub fn gradcheck<T, F>(f: F, inputs: &[ArrayD<T>], options: &Options<T>) -> Result<Report, Failure>
where
    T: Scalar,
    F: for<'t> Fn(&[Var<'t, T>]) -> Var<'t, T>,
{
    let variables = inputs.len() + options.parameters.len();
    assert!(variables > 0, "gradcheck: there is nothing to differentiate by");
    for (k, parameter) in options.parameters.iter().enumerate() {
        if let Some(first) = options.parameters[..k].iter().position(|earlier| earlier.is(parameter)) {
            panic!(
                "gradcheck: each parameter once is expected, but parameters {first} and {k} of the options are the same"
            );
        }
    }
    let _restore = Restore::new(&options.parameters);
    let parameters = options.parameters.iter().map(|parameter| ArrayD::clone(&parameter.value()));
    let at: Vec<ArrayD<T>> = inputs.iter().cloned().chain(parameters).collect();
    let rng = &mut StdRng::seed_from_u64(options.seed);
    let check = Check { f, options, inputs: inputs.len(), at: &at };
    let y = check.repeatable()?;
    let mut report = Report {
        dtype: T::DTYPE,
        variables,
        elements: at.iter().map(ArrayD::len).sum(),
        directions: options.directions,
        errors: vec![0.0; if options.order == Order::First { 1 } else { 2 }],
        rounding: 0.0,
        dot_error: 0.0,
    };
    for direction in 0..options.directions {
        let random = |x: &ArrayD<T>, rng: &mut StdRng| x.mapv(|_| T::from_f64(step(rng)));
        let mut u = if y.len() == 1 { ArrayD::ones(y.raw_dim()) } else { random(&y, rng) };
        // Inputs are moved by about 1, large ones by more.
        let v: Vec<ArrayD<f64>> = at.iter().map(|x| x.mapv(|x| step(rng) * reach(x))).collect();
        let w: Vec<ArrayD<T>> = at.iter().map(|x| random(x, rng)).collect();
        let alone = if direction == 0 { Alone::Yes } else { Alone::No };
        match check.directions(&u, &w, &v, alone, &mut report) {
            // Rounding of a large output hides small ones: once more with each output of about the same weight.
            Err(hidden) if hidden.verdict == Verdict::Inconclusive => {
                balance(&mut u, &y);
                // Such weights may cancel within the rules: only what passes counts.
                check.directions(&u, &w, &v, alone, &mut report).map_err(|_| hidden)?;
            }
            outcome => outcome?,
        }
    }
    Ok(report)
}

/// Divides weights by the sizes of what they are for.
fn balance<T: Scalar>(weights: &mut ArrayD<T>, sizes: &ArrayD<T>) {
    let largest = sizes.iter().map(|x| x.to_f64().abs()).fold(0.0, f64::max);
    if largest == 0.0 {
        return;
    }
    // Weights of f32 must not overflow.
    let least = largest.max(1e-10) * 1e-28;
    weights.zip_mut_with(sizes, |weight, size| {
        let size = size.to_f64().abs();
        *weight = T::from_f64(weight.to_f64() / if size < least { largest } else { size });
    });
}

/// Returns a number between ½ and 1 in size, of either sign.
fn step(rng: &mut StdRng) -> f64 {
    let size = rng.random_range(0.5..1.0);
    if rng.random_bool(0.5) { size } else { -size }
}

/// Returns how far an element is moved in a step of 1.
fn reach<T: Scalar>(x: T) -> f64 {
    (x.to_f64().abs() / 16.0).max(1.0)
}

/// Gradients by input; `None` where there is no dependence.
type Gradients<T> = Vec<Option<ArrayD<T>>>;

/// A number and the size of what it was summed up from, which says how exact it is.
type Sum = (f64, f64);

/// Whether inputs and parameters are moved alone, too.
#[derive(Clone, Copy, PartialEq)]
enum Alone {
    Yes,
    No,
}

/// The gradient by both sweeps.
struct First<T> {
    gradients: Gradients<T>,
    /// Of which inputs there is no recorded gradient: parameters within a checkpoint.
    in_segments: Vec<bool>,
}

/// Whether the contracted gradient is differentiated.
#[derive(Clone, Copy, PartialEq)]
enum Sweep {
    Yes,
    No,
}

struct Check<'a, T, F> {
    f: F,
    options: &'a Options<T>,
    inputs: usize,
    /// Inputs, then parameters.
    at: &'a [ArrayD<T>],
}

/// What a direction shows.
struct Finding {
    verdict: Option<Verdict>,
    found: f64,
    expected: f64,
    error: f64,
    /// The relative error that rounding may have hidden.
    hidden: f64,
    detail: String,
}

impl<T, F> Check<'_, T, F>
where
    T: Scalar,
    F: for<'t> Fn(&[Var<'t, T>]) -> Var<'t, T>,
{
    /// Returns what messages call an input.
    fn name(&self, variable: usize) -> String {
        let Some(parameter) = variable.checked_sub(self.inputs) else { return format!("input {variable}") };
        match self.options.parameters[parameter].name() {
            "" => format!("parameter {parameter}"),
            name => format!("parameter {parameter} ({name})"),
        }
    }

    fn failure(&self, verdict: Verdict, order: Order, found: f64, expected: f64) -> Failure {
        Failure { verdict, order, variable: None, index: None, found, expected, detail: String::new() }
    }

    /// Records `f` with inputs and parameters at `x`: its inputs and its result.
    #[track_caller]
    fn record<'t>(&self, tape: &'t Tape<T>, x: &[ArrayD<T>]) -> (Vec<Var<'t, T>>, Var<'t, T>) {
        for (parameter, x) in self.options.parameters.iter().zip(&x[self.inputs..]) {
            parameter.set_value(x.clone());
        }
        let leaves: Vec<Var<'t, T>> = x[..self.inputs].iter().map(|x| tape.leaf(x)).collect();
        let y = (self.f)(&leaves);
        (leaves, y)
    }

    /// Returns the nodes of each input: a parameter may be recorded several times.
    fn nodes<'t>(&self, tape: &'t Tape<T>, leaves: &[Var<'t, T>]) -> Vec<Vec<Var<'t, T>>> {
        let mut nodes: Vec<Vec<Var<'t, T>>> = leaves.iter().map(|&leaf| vec![leaf]).collect();
        let recorded = tape.nodes();
        for parameter in &self.options.parameters {
            let of_parameter = |&id: &u32| recorded.param(id).is_some_and(|param| param.is(parameter));
            let ids = (0..u32::try_from(recorded.len()).unwrap_or(u32::MAX)).filter(of_parameter);
            nodes.push(ids.map(|id| Var::new(tape, id)).collect());
        }
        nodes
    }

    /// Returns the recorded gradients of `loss` by all inputs.
    fn grads<'t>(&self, loss: Var<'t, T>, nodes: &[Vec<Var<'t, T>>]) -> Vec<Option<Var<'t, T>>> {
        let all: Vec<Var<'t, T>> = nodes.iter().flatten().copied().collect();
        let mut grads = loss.grads_or_none(&all).into_iter();
        let sum = |nodes: &Vec<Var<'t, T>>| grads.by_ref().take(nodes.len()).flatten().reduce(|sum, grad| sum + grad);
        nodes.iter().map(sum).collect()
    }

    /// Returns the result, if it is finite and the same twice.
    fn repeatable(&self) -> Result<ArrayD<T>, Failure> {
        let (tape, again) = (Tape::new(), Tape::new());
        let (y, twice) = (self.record(&tape, self.at).1, self.record(&again, self.at).1);
        for (number, (&a, &b)) in y.value().iter().zip(twice.value()).enumerate() {
            let index = index_of(&y.value().to_owned(), number);
            let failure = |verdict| self.failure(verdict, Order::First, a.to_f64(), b.to_f64());
            if a != b && !(a.is_nan() && b.is_nan()) {
                return Err(failure(Verdict::NotRepeatable).at("output".into(), index));
            }
            if !a.is_finite() {
                return Err(failure(Verdict::NotFinite).at("output".into(), index));
            }
        }
        Ok(y.value().to_owned())
    }

    /// Compares the gradients along `v`, and along the part of `v` that belongs to each input, with differences, and runs the
    /// dot test.
    fn directions(
        &self,
        u: &ArrayD<T>,
        w: &[ArrayD<T>],
        v: &[ArrayD<f64>],
        alone: Alone,
        report: &mut Report,
    ) -> Result<(), Failure> {
        let First { gradients, in_segments } = self.first(u)?;
        self.along_each(Order::First, &gradients, v, alone, |x| self.value(x, u), report)?;
        self.adjoint(u, v, report)?;
        if self.options.order == Order::First {
            return Ok(());
        }
        // What is not recorded has no second derivative to look at.
        let (mut w, mut v) = (w.to_vec(), v.to_vec());
        for (variable, _) in in_segments.iter().enumerate().filter(|(_, in_segment)| **in_segment) {
            w[variable].fill(T::ZERO);
            v[variable].fill(0.0);
        }
        let (_, second) = self.contracted(self.at, u, &w, Sweep::Yes);
        self.finite(Order::Second, &second)?;
        // Within the rules terms as large as the result may cancel: no gradient is more exact than that.
        let least = self.at.iter().flatten().map(|x| reach(*x)).fold(f64::INFINITY, f64::min);
        let floor = self.value(self.at, u).1 / least;
        let p = |x: &[ArrayD<T>]| {
            let (value, terms) = self.contracted(x, u, &w, Sweep::No).0;
            (value, terms + floor)
        };
        self.along_each(Order::Second, &second, &v, alone, p, report)
    }

    /// Compares along `v`, and along each of its parts, which a larger one may hide.
    fn along_each(
        &self,
        order: Order,
        gradients: &Gradients<T>,
        v: &[ArrayD<f64>],
        alone: Alone,
        p: impl Fn(&[ArrayD<T>]) -> Sum,
        report: &mut Report,
    ) -> Result<(), Failure> {
        let at = p(self.at);
        self.along(order, gradients, v, at, &p, report)?;
        if alone == Alone::No || v.len() == 1 {
            return Ok(());
        }
        for variable in (0..v.len()).filter(|&variable| v[variable].iter().any(|v| *v != 0.0)) {
            let mut part = self.nowhere();
            part[variable].assign(&v[variable]);
            self.along(order, gradients, &part, at, &p, report).map_err(|failure| match failure.variable {
                None => Failure { variable: Some(self.name(variable)), ..failure },
                Some(_) => failure,
            })?;
        }
        Ok(())
    }

    /// Returns a direction in which nothing moves.
    fn nowhere(&self) -> Vec<ArrayD<f64>> {
        self.at.iter().map(|x| ArrayD::zeros(x.raw_dim())).collect()
    }

    /// Returns `<u, f(x)>`.
    fn value(&self, x: &[ArrayD<T>], u: &ArrayD<T>) -> Sum {
        let tape = Tape::new();
        let (_, y) = self.record(&tape, x);
        let y = y.value();
        y.iter().zip(u).map(|(y, u)| y.to_f64() * u.to_f64()).fold((0.0, 0.0), add)
    }

    /// Returns `Jᵀ u`, by both sweeps.
    fn first(&self, u: &ArrayD<T>) -> Result<First<T>, Failure> {
        let tape = Tape::new();
        let (leaves, y) = self.record(&tape, self.at);
        let nodes = self.nodes(&tape, &leaves);
        let recorded = self.grads((y * tape.constant(u)).sum(), &nodes);
        let recorded: Gradients<T> = recorded.iter().map(|grad| grad.map(|grad| grad.value().to_owned())).collect();
        self.finite(Order::First, &recorded)?;
        let parameters = &self.options.parameters;
        let in_segment = parameters.iter().map(|parameter| tape.is_param_of_segment(parameter));
        let in_segments: Vec<bool> = vec![false; self.inputs].into_iter().chain(in_segment).collect();
        let unknown = recorded.iter().all(Option::is_none) && !in_segments.contains(&true);
        if unknown || !tape.nodes().node(y.id()).needs_grad {
            return Ok(First { gradients: recorded, in_segments });
        }
        parameters.iter().for_each(Param::zero_grad);
        y.backward_with(u);
        let of_leaves = leaves.iter().map(|leaf| leaf.grad().map(|grad| grad.to_owned()));
        let of_parameters = parameters.iter().map(|parameter| parameter.grad().map(|grad| ArrayD::clone(&grad)));
        let swept: Gradients<T> = of_leaves.chain(of_parameters).collect();
        let close = 1e4 * T::EPSILON.to_f64();
        for (variable, (recorded, swept)) in recorded.iter().zip(&swept).enumerate() {
            if in_segments[variable] {
                continue;
            }
            let number = |grad: &Option<ArrayD<T>>, k| grad.as_ref().and_then(|grad| grad.iter().nth(k).copied());
            let scale = recorded.iter().chain(swept).flatten().map(|g| g.to_f64().abs()).fold(0.0, f64::max);
            for k in 0..self.at[variable].len() {
                let (a, b) = (number(recorded, k), number(swept, k));
                let (a, b) = (a.unwrap_or(T::ZERO).to_f64(), b.unwrap_or(T::ZERO).to_f64());
                if (a - b).abs() > close * scale || b.is_nan() {
                    let failure = self.failure(Verdict::SweepsDiffer, Order::First, a, b);
                    return Err(failure.at(self.name(variable), index_of(&self.at[variable], k)));
                }
            }
        }
        self.finite(Order::First, &swept)?;
        Ok(First { gradients: swept, in_segments })
    }

    /// Returns `<w, Jᵀ u>` at `x`, and its gradients.
    fn contracted(&self, x: &[ArrayD<T>], u: &ArrayD<T>, w: &[ArrayD<T>], sweep: Sweep) -> (Sum, Gradients<T>) {
        let tape = Tape::new();
        let (leaves, y) = self.record(&tape, x);
        let nodes = self.nodes(&tape, &leaves);
        let grads = self.grads((y * tape.constant(u)).sum(), &nodes);
        let (mut value, mut contracted) = ((0.0, 0.0), None);
        for (grad, w) in grads.iter().zip(w) {
            let Some(grad) = *grad else { continue };
            value = grad.value().iter().zip(w).fold(value, |sum, (g, w)| add(sum, g.to_f64() * w.to_f64()));
            let term = (grad * tape.constant(w)).sum();
            contracted = Some(contracted.map_or(term, |sum| sum + term));
        }
        let gradients = match (contracted, sweep) {
            (Some(contracted), Sweep::Yes) => self.grads(contracted, &nodes),
            _ => vec![None; nodes.len()],
        };
        (value, gradients.iter().map(|grad| grad.map(|grad| grad.value().to_owned())).collect())
    }

    fn finite(&self, order: Order, gradients: &Gradients<T>) -> Result<(), Failure> {
        for (variable, gradient) in gradients.iter().enumerate() {
            let Some(gradient) = gradient else { continue };
            if let Some((k, g)) = gradient.iter().enumerate().find(|(_, g)| !g.is_finite()) {
                let failure = self.failure(Verdict::NotFinite, order, g.to_f64(), f64::NAN);
                return Err(failure.at(self.name(variable), index_of(gradient, k)));
            }
        }
        Ok(())
    }

    /// Compares the gradients along `v` with differences of `p`, which is `at` here; if they disagree, finds the element.
    fn along(
        &self,
        order: Order,
        gradients: &Gradients<T>,
        v: &[ArrayD<f64>],
        at: Sum,
        p: &impl Fn(&[ArrayD<T>]) -> Sum,
        report: &mut Report,
    ) -> Result<(), Failure> {
        let finding = self.look(gradients, v, at, p);
        let Some(verdict) = finding.verdict else {
            let error = &mut report.errors[order as usize];
            *error = error.max(finding.error);
            report.rounding = report.rounding.max(finding.hidden);
            return Ok(());
        };
        let failure = |verdict, finding: Finding, length: f64| Failure {
            detail: finding.detail,
            ..self.failure(verdict, order, finding.found / length, finding.expected / length)
        };
        if verdict == Verdict::Inconclusive {
            return Err(failure(verdict, finding, 1.0));
        }
        // The worst that is wrong; or else the first without a derivative; or else the direction.
        let (mut worst, mut without) = (None, None);
        let mut largest = 0.0;
        for (variable, x) in self.at.iter().enumerate() {
            for (k, &element) in x.iter().enumerate() {
                if v[variable].iter().nth(k).is_none_or(|v| *v == 0.0) {
                    continue;
                }
                let mut unit = self.nowhere();
                let length = reach(element);
                if let Some(v) = unit[variable].iter_mut().nth(k) {
                    *v = length;
                }
                let finding = self.look(gradients, &unit, at, p);
                let difference = (finding.found - finding.expected).abs() / length;
                let located = |verdict, mut finding: Finding| {
                    if gradients[variable].is_none() && verdict == Verdict::Wrong {
                        finding.detail = "no gradient: the tape knows of no dependence".into();
                    }
                    Some(failure(verdict, finding, length).at(self.name(variable), index_of(x, k)))
                };
                match finding.verdict {
                    Some(Verdict::Wrong) if difference > largest => {
                        largest = difference;
                        worst = located(Verdict::Wrong, finding);
                    }
                    Some(verdict @ Verdict::NotDifferentiable) if without.is_none() => {
                        without = located(verdict, finding);
                    }
                    _ => {}
                }
            }
        }
        Err(worst.or(without).unwrap_or_else(|| failure(verdict, finding, 1.0)))
    }

    /// Compares the gradients along `v` with differences of `p`: with a few steps, and only if these do not agree with more.
    fn look(&self, gradients: &Gradients<T>, v: &[ArrayD<f64>], at: Sum, p: &impl Fn(&[ArrayD<T>]) -> Sum) -> Finding {
        let found: f64 = pairs(gradients, v).map(|(g, v)| g * v).sum();
        let size = norm(pairs(gradients, v).map(|(g, v)| g * v));
        // Where the inputs are rounded, at a step.
        let of_inputs = |h: f64| {
            let moved = self.at.iter().zip(v).map(|(x, v)| {
                let mut sizes = v.clone();
                sizes.zip_mut_with(x, |v, x| *v = if *v == 0.0 { 0.0 } else { x.to_f64().abs() + h.abs() * v.abs() });
                sizes
            });
            let moved: Vec<ArrayD<f64>> = moved.collect();
            norm(pairs(gradients, &moved).map(|(g, x)| g * x))
        };
        let slope = |steps: Steps, scatter: f64| {
            let value = |h: f64, (value, terms): Sum| -> Value {
                (value, T::EPSILON.to_f64() * (terms + of_inputs(h)) + scatter)
            };
            slope::<T>(steps, value(0.0, at), |h| value(h, p(&self.moved(v, h))))
        };
        let judge = |slope: &Slope, steps: Steps| self.judge(slope, steps, found, size, v);
        let quick = slope(Steps::Few, 0.0);
        let finding = judge(&quick, Steps::Few);
        let allowed = self.options.tolerance * size.max(found.abs());
        if finding.verdict.is_none() && finding.hidden <= self.options.tolerance && quick.change <= allowed {
            return finding;
        }
        // A constant, as the tape says.
        if found == 0.0 && size == 0.0 && quick.is_flat() {
            return Finding { verdict: None, hidden: 0.0, ..finding };
        }
        // What cancels within the function shows in its values at the numbers next to these.
        let ulps = 2.0 * T::EPSILON.to_f64();
        let next = |x: f64, v: f64| ulps * v.signum() * if x == 0.0 { v.abs() } else { x.abs() };
        let scatter = self.scatter(v, p, next);
        let finding = judge(&slope(Steps::Small, scatter), Steps::Small);
        match finding.verdict {
            None | Some(Verdict::NotDifferentiable) => finding,
            // A large step may show what small ones do not.
            Some(Verdict::Inconclusive) => judge(&slope(Steps::All, scatter), Steps::All),
            // A sum with something large hides small moves without scattering.
            _ => {
                let wide = if T::DTYPE == "f32" { 2.0_f64.powi(-12) } else { 2.0_f64.powi(-24) };
                let scatter = scatter.max(self.scatter(v, p, |_, v| wide * v));
                let second = judge(&slope(Steps::Small, scatter), Steps::Small);
                let excused = matches!(second.verdict, None | Some(Verdict::Inconclusive));
                if excused { judge(&slope(Steps::All, scatter), Steps::All) } else { finding }
            }
        }
    }

    /// Returns by how much `p` departs from a smooth function, from its differences of orders 2 and 3 at four points at either side that are
    /// `next` to each other (Moré and Wild 2011, Estimating computational noise).
    fn scatter(&self, v: &[ArrayD<f64>], p: &impl Fn(&[ArrayD<T>]) -> Sum, next: impl Fn(f64, f64) -> f64) -> f64 {
        let value = |k: f64| {
            let beside = |(x, v): (&ArrayD<T>, &ArrayD<f64>)| {
                let mut x = x.clone();
                x.zip_mut_with(v, |x, v| {
                    if *v != 0.0 {
                        *x = T::from_f64(x.to_f64() + k * next(x.to_f64(), *v));
                    }
                });
                x
            };
            let beside: Vec<ArrayD<T>> = self.at.iter().zip(v).map(beside).collect();
            p(&beside).0
        };
        let mut scatter = 0.0;
        // Each side for itself: a kink or a jump right here is no rounding.
        for side in [-1.0, 1.0] {
            let mut differences: Vec<f64> = (1..=4).map(|k| value(side * f64::from(k))).collect();
            // Differences of order k of noise are of the size of √((2k)! / k!²); those of order 1 are the slope, too.
            for size in [2.0, 6.0, 20.0_f64] {
                differences = differences.windows(2).map(|pair| pair[1] - pair[0]).collect();
                let mean = norm(differences.iter().copied()) / (differences.len() as f64).sqrt();
                if size > 2.0 && mean.is_finite() {
                    scatter = f64::max(scatter, mean / size.sqrt());
                }
            }
        }
        scatter
    }

    /// Says what differences show of the derivative `found`, summed up from terms of the norm `size`.
    fn judge(&self, slope: &Slope, steps: Steps, found: f64, size: f64, v: &[ArrayD<f64>]) -> Finding {
        let expected = slope.value;
        let scale = found.abs().max(size).max(if expected.is_nan() { 0.0 } else { expected.abs() });
        let difference = (found - expected).abs();
        // Numbers too small to have all their digits agree if both are.
        let smallest = if T::DTYPE == "f32" { f64::from(f32::MIN_POSITIVE) } else { f64::MIN_POSITIVE };
        let allowed = self.options.tolerance * scale + smallest;
        let rounding = CONFIDENCE * slope.rounding;
        let agrees = difference <= allowed + rounding;
        let kink = slope.kink::<T>(scale).or_else(|| if agrees { None } else { slope.kink_around(found) });
        let hidden = if rounding <= allowed { 0.0 } else { rounding / scale };
        let (verdict, detail) = if !scale.is_finite() {
            (Some(Verdict::Inconclusive), "the derivative along a direction is not finite".into())
        } else if let Some((left, right)) = kink {
            let single = v.iter().flatten().filter(|v| **v != 0.0).count() == 1;
            let length = if single { v.iter().flatten().sum() } else { 1.0 };
            let (left, right) = (Number(rounded::<T>(left / length)), Number(rounded::<T>(right / length)));
            (Some(Verdict::NotDifferentiable), format!("{left} to the left, {right} to the right"))
        } else if expected.is_nan() {
            (Some(Verdict::NotDifferentiable), "the function ends here".into())
        } else if steps == Steps::All && slope.vanishes::<T>(size.max(found.abs())) {
            (None, String::new())
        } else if agrees && hidden > MOST_HIDDEN && !(hidden <= 2.0 && difference <= scale / 16.0) {
            let detail = format!("rounding hides the answer: differences are only known to {rounding:.1e}");
            (Some(Verdict::Inconclusive), detail)
        } else if agrees {
            (None, String::new())
        } else if !slope.settled(allowed) && difference <= slope.spread() {
            let detail = format!("differences do not settle: the last two are {:.1e} apart", slope.change);
            (Some(Verdict::NotDifferentiable), detail)
        } else if slope.ever(found, allowed) {
            let detail = "larger steps agree with the tape, smaller ones do not".into();
            (Some(Verdict::Inconclusive), detail)
        } else {
            (Some(Verdict::Wrong), String::new())
        };
        let error = if difference == 0.0 || scale == 0.0 { 0.0 } else { difference / scale.max(rounding) };
        Finding { verdict, found, expected: rounded::<T>(expected), error, hidden, detail }
    }

    fn moved(&self, v: &[ArrayD<f64>], h: f64) -> Vec<ArrayD<T>> {
        let moved = |(x, v): (&ArrayD<T>, &ArrayD<f64>)| {
            let mut x = x.clone();
            x.zip_mut_with(v, |x, v| *x = T::from_f64(x.to_f64() + h * v));
            x
        };
        self.at.iter().zip(v).map(moved).collect()
    }

    /// The dot test; if it fails, finds the input, and the element.
    fn adjoint(&self, u: &ArrayD<T>, v: &[ArrayD<f64>], report: &mut Report) -> Result<(), Failure> {
        let allowed = if T::DTYPE == "f32" { 1e-4 } else { 1e-11 };
        // A derivative that moves the result by less than its rounding is lost within the rules, too.
        let floor = CONFIDENCE * T::EPSILON.to_f64() * self.value(self.at, u).1 / allowed;
        // Nor are the smallest of all numbers exact.
        let floor = floor.max(if T::DTYPE == "f32" { 1e-36 } else { 1e-300 });
        let (by_inputs, by_outputs, error) = self.dots(u, v, floor);
        report.dot_error = report.dot_error.max(error);
        if error <= allowed {
            return Ok(());
        }
        for (variable, x) in self.at.iter().enumerate() {
            for k in 0..x.len() {
                let mut unit = self.nowhere();
                if let Some(v) = unit[variable].iter_mut().nth(k) {
                    *v = 1.0;
                }
                let (by_inputs, by_outputs, error) = self.dots(u, &unit, floor);
                if error > allowed || error.is_nan() {
                    let failure = self.failure(Verdict::NotAdjoint, Order::First, by_inputs, by_outputs);
                    return Err(failure.at(self.name(variable), index_of(x, k)));
                }
            }
        }
        Err(self.failure(Verdict::NotAdjoint, Order::First, by_inputs, by_outputs))
    }

    /// Returns `<Jᵀ u, v>`, `<u, J v>`, and how far they are from each other, relative to what they were summed up from or to
    /// `floor`.
    fn dots(&self, u: &ArrayD<T>, v: &[ArrayD<f64>], floor: f64) -> (f64, f64, f64) {
        let tape = Tape::new();
        let (leaves, y) = self.record(&tape, self.at);
        let nodes = self.nodes(&tape, &leaves);
        let cotangent = tape.leaf(u);
        let mut by_inputs = (0.0, 0.0);
        let mut contracted = None;
        for (grad, v) in self.grads((y * cotangent).sum(), &nodes).into_iter().zip(v) {
            let Some(grad) = grad else { continue };
            by_inputs = grad.value().iter().zip(v).fold(by_inputs, |sum, (g, v)| add(sum, g.to_f64() * v));
            let term = (grad * tape.constant(v.mapv(T::from_f64))).sum();
            contracted = Some(contracted.map_or(term, |sum: Var<'_, T>| sum + term));
        }
        let product = contracted.and_then(|contracted| contracted.grads_or_none(&[cotangent])[0]);
        let mut by_outputs = (0.0, 0.0);
        if let Some(product) = product {
            by_outputs =
                product.value().iter().zip(u).fold(by_outputs, |sum, (p, u)| add(sum, p.to_f64() * u.to_f64()));
        }
        let difference = (by_inputs.0 - by_outputs.0).abs();
        let error = if difference == 0.0 { 0.0 } else { difference / by_inputs.1.max(by_outputs.1).max(floor) };
        (by_inputs.0, by_outputs.0, error)
    }
}

fn add((sum, size): Sum, term: f64) -> Sum {
    (sum + term, size + term.abs())
}

/// The part of a derivative that rounding may hide; up to 2 where differences agree to a sixteenth all the same.
const MOST_HIDDEN: f64 = 0.25;

/// Returns the elements of gradients beside those of a direction, where there is a gradient.
fn pairs<'a, T: Scalar>(
    gradients: &'a Gradients<T>,
    v: &'a [ArrayD<f64>],
) -> impl Iterator<Item = (f64, f64)> + Clone + 'a {
    let known = gradients.iter().zip(v).filter_map(|(gradient, v)| gradient.as_ref().map(|gradient| (gradient, v)));
    known.flat_map(|(gradient, v)| gradient.iter().zip(v).map(|(g, v)| (g.to_f64(), *v)))
}

/// Returns the root of the sum of squares, which may be larger than numbers can be.
fn norm(elements: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = elements.clone().map(f64::abs).fold(0.0, f64::max);
    if largest == 0.0 || !largest.is_finite() {
        return largest;
    }
    largest * elements.map(|x| (x / largest).powi(2)).sum::<f64>().sqrt()
}

/// Returns a number without the digits that differences do not have.
fn rounded<T: Scalar>(x: f64) -> f64 {
    let digits = if T::DTYPE == "f32" { 4 } else { 9 };
    let shown = format!("{x:.digits$e}");
    let rounded = shown.parse().unwrap_or(x);
    // What is left of rounding next to nothing is nothing.
    if rounded == 0.0 { 0.0 } else { rounded }
}
