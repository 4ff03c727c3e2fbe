//! [`gradcheck`]: the tape's gradients against differences, at orders 1 and 2.

use ndarray::ArrayD;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::differences::{Differences, Gradients, Sum, add_products, reach};
use super::names::{index_of, name_of};
use super::report::{Failure, Options, Order, Report, Verdict};
use super::restore::Restore;
use super::slope::CONFIDENCE;
use crate::number::Classify;
use crate::param::Param;
use crate::scalar::Scalar;
use crate::tape::{Tape, Var};

/// Checks the derivatives of `f` at `inputs`, and returns how closely they agree.
///
/// `f` is any function of as many `Var`s as there are inputs, on one tape. It may record constants and parameters on
/// `x[0].tape()`. Three things are checked:
///
/// - The gradient agrees with central differences of `f`. Both the sweep on arrays and the recording sweep are checked. The
///   directions are random: in all inputs at once, and in each input and parameter alone. The steps shrink until the
///   differences agree or only rounding is left.
/// - The dot test: `<u, J v> = <Jᵀ u, v>`, where differentiating `Jᵀ u` by `u` gives the product with the Jacobian `J`.
/// - The gradient of the recorded gradient agrees with differences of it.
///
/// If one of them fails, every element is checked alone, and the worst is named. If a whole step of 1 changes the function by
/// less than its rounding, the derivative counts as 0.
///
/// # Errors
///
/// A [`Failure`] if a derivative is wrong, or if the function has no derivative here. At a kink the slopes to the left and to
/// the right stay apart however small the step. The verdict is [`Verdict::Inconclusive`] if rounding hides more than a
/// quarter of a derivative at every step.
///
/// # Panics
///
/// If `f` panics, if there are neither inputs nor parameters, and if the options hold a parameter twice.
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
/// // A constant passes no gradient on: the derivative of this square is wrong.
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
    check(&f, inputs, options)
}

/// The function that is checked. It is behind a pointer, so that this module is compiled once for each number type and not
/// again for each closure.
type Function<'a, T> = dyn for<'t> Fn(&[Var<'t, T>]) -> Var<'t, T> + 'a;

#[track_caller]
fn check<T: Scalar>(f: &Function<'_, T>, inputs: &[ArrayD<T>], options: &Options<T>) -> Result<Report, Failure> {
    let parameters = options.parameters();
    assert!(inputs.len() + parameters.len() > 0, "gradcheck: there is nothing to differentiate by");
    for (k, parameter) in parameters.iter().enumerate() {
        if let Some(first) = parameters[..k].iter().position(|earlier| earlier.is(parameter)) {
            panic!("gradcheck: parameters {first} and {k} of the options are the same");
        }
    }
    let _restore = Restore::new(parameters);
    let values = parameters.iter().map(|parameter| ArrayD::clone(&parameter.value()));
    let at: Vec<ArrayD<T>> = inputs.iter().cloned().chain(values).collect();
    let rng = &mut StdRng::seed_from_u64(options.seed());
    let check = Check { f, options, inputs: inputs.len(), at: &at };
    let y = check.repeatable()?;
    let mut report = Report::new(options, at.len(), at.iter().map(ArrayD::len).sum());
    for direction in 0..options.directions() {
        let random = |x: &ArrayD<T>, rng: &mut StdRng| x.mapv(|_| T::from_f64(step(rng)));
        let mut u = if y.len() == 1 { ArrayD::ones(y.raw_dim()) } else { random(&y, rng) };
        let v: Vec<ArrayD<f64>> = at.iter().map(|x| x.mapv(|x| step(rng) * reach(x))).collect();
        let w: Vec<ArrayD<T>> = at.iter().map(|x| random(x, rng)).collect();
        let alone = if direction == 0 { Alone::Yes } else { Alone::No };
        match check.directions(&u, &w, &v, alone, &mut report) {
            // The rounding of a large output hides small ones: try again with outputs weighted by their sizes.
            Err(hidden) if hidden.verdict() == Verdict::Inconclusive => {
                balance(&mut u, &y);
                // Such weights may cancel within the rules, so a failure with them proves nothing.
                check.directions(&u, &w, &v, alone, &mut report).map_err(|_| hidden)?;
            }
            outcome => outcome?,
        }
    }
    Ok(report)
}

/// Divides each weight by the size of the number that it weights.
fn balance<T: Scalar>(weights: &mut ArrayD<T>, sizes: &ArrayD<T>) {
    let largest = sizes.iter().map(|x| x.to_f64().abs()).fold(0.0, f64::max);
    if largest == 0.0 {
        return;
    }
    // Weights in f32 must not overflow.
    let least = largest.max(1e-10) * 1e-28;
    weights.zip_mut_with(sizes, |weight, size| {
        let size = size.to_f64().abs();
        *weight = T::from_f64(weight.to_f64() / if size < least { largest } else { size });
    });
}

/// Returns a random number of either sign, with a size between ½ and 1.
fn step(rng: &mut StdRng) -> f64 {
    let size = rng.random_range(0.5..1.0);
    if rng.random_bool(0.5) { size } else { -size }
}

/// Whether each input and parameter is moved alone, too.
#[derive(Clone, Copy, PartialEq)]
enum Alone {
    Yes,
    No,
}

/// The gradient, after both sweeps gave the same.
struct First<T> {
    gradients: Gradients<T>,
    /// Whether each input is a parameter used inside a checkpoint: recorded gradients do not reach it.
    in_segments: Vec<bool>,
}

/// Whether the contracted gradient is differentiated.
#[derive(Clone, Copy, PartialEq)]
enum Sweep {
    Yes,
    No,
}

struct Check<'a, T> {
    f: &'a Function<'a, T>,
    options: &'a Options<T>,
    inputs: usize,
    /// Inputs, then parameters.
    at: &'a [ArrayD<T>],
}

impl<T: Scalar> Check<'_, T> {
    /// Returns the name of an input or parameter, for messages.
    fn name(&self, variable: usize) -> String {
        match variable.checked_sub(self.inputs) {
            None => format!("input {variable}"),
            Some(number) => name_of(number, &self.options.parameters()[number]),
        }
    }

    /// Names the element that fails.
    fn locate(&self, failure: Failure, variable: usize, element: usize) -> Failure {
        failure.at(self.name(variable), index_of(self.at[variable].shape(), element))
    }

    /// Returns a direction in which nothing moves.
    fn nowhere(&self) -> Vec<ArrayD<f64>> {
        self.at.iter().map(|x| ArrayD::zeros(x.raw_dim())).collect()
    }

    /// Returns the direction of one element.
    fn unit(&self, variable: usize, element: usize, length: f64) -> Vec<ArrayD<f64>> {
        let mut unit = self.nowhere();
        if let Some(v) = unit[variable].iter_mut().nth(element) {
            *v = length;
        }
        unit
    }

    /// Records `f` with inputs and parameters at `x`, and returns the input leaves and the result.
    #[track_caller]
    fn record<'t>(&self, tape: &'t Tape<T>, x: &[ArrayD<T>]) -> (Vec<Var<'t, T>>, Var<'t, T>) {
        for (parameter, x) in self.options.parameters().iter().zip(&x[self.inputs..]) {
            parameter.set_value(x.clone());
        }
        let leaves: Vec<Var<'t, T>> = x[..self.inputs].iter().map(|x| tape.leaf(x)).collect();
        let y = (self.f)(&leaves);
        (leaves, y)
    }

    /// Returns the nodes of each input and parameter. A parameter may be recorded several times.
    fn nodes<'t>(&self, tape: &'t Tape<T>, leaves: &[Var<'t, T>]) -> Vec<Vec<Var<'t, T>>> {
        let mut nodes: Vec<Vec<Var<'t, T>>> = leaves.iter().map(|&leaf| vec![leaf]).collect();
        let recorded = tape.nodes();
        for parameter in self.options.parameters() {
            let of_parameter = |&id: &u32| recorded.param(id).is_some_and(|param| param.is(parameter));
            let ids = (0..u32::try_from(recorded.len()).unwrap_or(u32::MAX)).filter(of_parameter);
            nodes.push(ids.map(|id| Var::new(tape, id)).collect());
        }
        nodes
    }

    /// Returns the result, if it is finite and a second run gives the same.
    fn repeatable(&self) -> Result<ArrayD<T>, Failure> {
        let (first, second) = (Tape::new(), Tape::new());
        let (y, again) = (self.record(&first, self.at).1, self.record(&second, self.at).1);
        for (number, (&a, &b)) in y.value().iter().zip(again.value()).enumerate() {
            let verdict = if a != b && !(a.is_nan() && b.is_nan()) {
                Verdict::NotRepeatable
            } else if a.is_finite() {
                continue;
            } else {
                Verdict::NotFinite
            };
            let failure = Failure::new(verdict, Order::First, a.to_f64(), b.to_f64());
            return Err(failure.at("output".into(), index_of(&y.shape(), number)));
        }
        Ok(y.value().to_owned())
    }

    /// Compares the gradients of both orders with differences, and runs the dot test. `u` weights the outputs, `w` the elements
    /// of the gradient; the differences are along `v`.
    fn directions(
        &self,
        u: &ArrayD<T>,
        w: &[ArrayD<T>],
        v: &[ArrayD<f64>],
        alone: Alone,
        report: &mut Report,
    ) -> Result<(), Failure> {
        let First { gradients, in_segments } = self.first(u)?;
        let p = |x: &[ArrayD<T>]| self.value(x, u);
        let tolerance = self.options.tolerance();
        self.along_each(&Differences::new(Order::First, tolerance, self.at, &gradients, &p), v, alone, report)?;
        self.adjoint(u, v, report)?;
        if self.options.order() == Order::First {
            return Ok(());
        }
        // Gradients that are not recorded cannot be differentiated again.
        let (mut w, mut v) = (w.to_vec(), v.to_vec());
        for (variable, _) in in_segments.iter().enumerate().filter(|(_, in_segment)| **in_segment) {
            w[variable].fill(T::ZERO);
            v[variable].fill(0.0);
        }
        let (_, second) = self.contracted(self.at, u, &w, Sweep::Yes);
        self.finite(Order::Second, &second)?;
        // Terms as large as the result may cancel within the rules, so a gradient is only exact to this size's rounding.
        let least = self.at.iter().flatten().map(|x| reach(*x)).fold(f64::INFINITY, f64::min);
        let floor = self.value(self.at, u).1 / least;
        let p = |x: &[ArrayD<T>]| {
            let (value, terms) = self.contracted(x, u, &w, Sweep::No).0;
            (value, terms + floor)
        };
        self.along_each(&Differences::new(Order::Second, tolerance, self.at, &second, &p), &v, alone, report)
    }

    /// Compares along `v`, and along the part of `v` in each variable, which a larger part may hide.
    fn along_each(
        &self,
        differences: &Differences<'_, T>,
        v: &[ArrayD<f64>],
        alone: Alone,
        report: &mut Report,
    ) -> Result<(), Failure> {
        self.along(differences, v, report)?;
        if alone == Alone::No || v.len() == 1 {
            return Ok(());
        }
        for variable in (0..v.len()).filter(|&variable| v[variable].iter().any(|v| *v != 0.0)) {
            let mut part = self.nowhere();
            part[variable].assign(&v[variable]);
            self.along(differences, &part, report).map_err(|failure| failure.within(self.name(variable)))?;
        }
        Ok(())
    }

    /// Compares along `v`. If the derivatives disagree, finds the element.
    fn along(&self, differences: &Differences<'_, T>, v: &[ArrayD<f64>], report: &mut Report) -> Result<(), Failure> {
        let finding = differences.look(v);
        let Some(verdict) = finding.verdict() else {
            report.add(differences.order(), finding.error(), finding.hidden());
            return Ok(());
        };
        if verdict == Verdict::Inconclusive {
            return Err(finding.failure(verdict, 1.0));
        }
        // Reports the worst wrong element, else the first without a derivative, else the direction.
        let (mut worst, mut without) = (None, None);
        let mut largest = 0.0;
        for (variable, x) in self.at.iter().enumerate() {
            for (k, &element) in x.iter().enumerate() {
                if v[variable].iter().nth(k).is_none_or(|v| *v == 0.0) {
                    continue;
                }
                let length = reach(element);
                let finding = differences.look(&self.unit(variable, k, length));
                let difference = finding.difference() / length;
                match finding.verdict() {
                    Some(verdict @ Verdict::Wrong) if difference > largest => {
                        largest = difference;
                        let mut failure = finding.failure(verdict, length);
                        if !differences.has_gradient(variable) {
                            failure = failure.because("no gradient: the tape knows of no dependence".into());
                        }
                        worst = Some(self.locate(failure, variable, k));
                    }
                    Some(verdict @ Verdict::NotDifferentiable) if without.is_none() => {
                        without = Some(self.locate(finding.failure(verdict, length), variable, k));
                    }
                    _ => {}
                }
            }
        }
        Err(worst.or(without).unwrap_or_else(|| finding.failure(verdict, 1.0)))
    }

    /// Returns `<u, f(x)>`.
    fn value(&self, x: &[ArrayD<T>], u: &ArrayD<T>) -> Sum {
        let tape = Tape::new();
        let (_, y) = self.record(&tape, x);
        add_products((0.0, 0.0), y.value(), u)
    }

    /// Returns `Jᵀ u`, if both sweeps agree on it.
    fn first(&self, u: &ArrayD<T>) -> Result<First<T>, Failure> {
        let tape = Tape::new();
        let (leaves, y) = self.record(&tape, self.at);
        let nodes = self.nodes(&tape, &leaves);
        let recorded = arrays(&grads((y * tape.constant(u)).sum(), &nodes));
        self.finite(Order::First, &recorded)?;
        let parameters = self.options.parameters();
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
                    return Err(self.locate(Failure::new(Verdict::SweepsDiffer, Order::First, a, b), variable, k));
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
        let (value, contracted) = contract(&grads((y * tape.constant(u)).sum(), &nodes), w);
        let gradients = match (contracted, sweep) {
            (Some(contracted), Sweep::Yes) => arrays(&grads(contracted, &nodes)),
            _ => vec![None; nodes.len()],
        };
        (value, gradients)
    }

    fn finite(&self, order: Order, gradients: &Gradients<T>) -> Result<(), Failure> {
        for (variable, gradient) in gradients.iter().enumerate() {
            let mut elements = gradient.iter().flatten().enumerate();
            if let Some((k, g)) = elements.find(|(_, g)| !g.is_finite()) {
                let failure = Failure::new(Verdict::NotFinite, order, g.to_f64(), f64::NAN);
                return Err(self.locate(failure, variable, k));
            }
        }
        Ok(())
    }

    /// Runs the dot test. If it fails, finds the element.
    fn adjoint(&self, u: &ArrayD<T>, v: &[ArrayD<f64>], report: &mut Report) -> Result<(), Failure> {
        let allowed = if T::DTYPE == "f32" { 1e-4 } else { 1e-11 };
        // The rules also lose a derivative that moves the result by less than its rounding.
        let floor = CONFIDENCE * T::EPSILON.to_f64() * self.value(self.at, u).1 / allowed;
        // Subnormal numbers are not exact.
        let floor = floor.max(if T::DTYPE == "f32" { 1e-36 } else { 1e-300 });
        let (by_inputs, by_outputs, error) = self.dots(u, v, floor);
        report.add_dot(error);
        if error <= allowed {
            return Ok(());
        }
        let failure = |by_inputs, by_outputs| Failure::new(Verdict::NotAdjoint, Order::First, by_inputs, by_outputs);
        for (variable, x) in self.at.iter().enumerate() {
            for k in 0..x.len() {
                let (by_inputs, by_outputs, error) = self.dots(u, &self.unit(variable, k, 1.0), floor);
                if error > allowed || error.is_nan() {
                    return Err(self.locate(failure(by_inputs, by_outputs), variable, k));
                }
            }
        }
        Err(failure(by_inputs, by_outputs))
    }

    /// Returns `<Jᵀ u, v>`, `<u, J v>`, and their relative difference: relative to the sum of the terms' magnitudes, but at
    /// least to `floor`.
    fn dots(&self, u: &ArrayD<T>, v: &[ArrayD<f64>], floor: f64) -> (f64, f64, f64) {
        let tape = Tape::new();
        let (leaves, y) = self.record(&tape, self.at);
        let nodes = self.nodes(&tape, &leaves);
        let cotangent = tape.leaf(u);
        let (by_inputs, contracted) = contract(&grads((y * cotangent).sum(), &nodes), v);
        let product = contracted.and_then(|contracted| contracted.grads_or_none(&[cotangent])[0]);
        let by_outputs = product.map_or((0.0, 0.0), |product| add_products((0.0, 0.0), product.value(), u));
        let difference = (by_inputs.0 - by_outputs.0).abs();
        let error = if difference == 0.0 { 0.0 } else { difference / by_inputs.1.max(by_outputs.1).max(floor) };
        (by_inputs.0, by_outputs.0, error)
    }
}

/// Returns the recorded gradients of `loss` by each variable: the sum over its nodes.
fn grads<'t, T: Scalar>(loss: Var<'t, T>, nodes: &[Vec<Var<'t, T>>]) -> Vec<Option<Var<'t, T>>> {
    let all: Vec<Var<'t, T>> = nodes.iter().flatten().copied().collect();
    let mut grads = loss.grads_or_none(&all).into_iter();
    let sum = |nodes: &Vec<Var<'t, T>>| grads.by_ref().take(nodes.len()).flatten().reduce(|sum, grad| sum + grad);
    nodes.iter().map(sum).collect()
}

/// Returns the values of recorded gradients.
fn arrays<T: Scalar>(grads: &[Option<Var<'_, T>>]) -> Gradients<T> {
    grads.iter().map(|grad| grad.map(|grad| grad.value().to_owned())).collect()
}

/// Returns the dot product `<grads, w>` as a number, and recorded; `None` if there is no gradient.
fn contract<'t, T: Scalar, W: Scalar>(grads: &[Option<Var<'t, T>>], w: &[ArrayD<W>]) -> (Sum, Option<Var<'t, T>>) {
    let (mut value, mut contracted) = ((0.0, 0.0), None);
    for (grad, w) in grads.iter().zip(w) {
        let Some(grad) = *grad else { continue };
        value = add_products(value, grad.value(), w);
        let term = (grad * grad.tape().constant(w.mapv(|w| T::from_f64(w.to_f64())))).sum();
        contracted = Some(contracted.map_or(term, |sum: Var<'t, T>| sum + term));
    }
    (value, contracted)
}
