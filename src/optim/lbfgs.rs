//! [`Lbfgs`]: quasi-Newton steps with a line search.

use std::borrow::Borrow;
use std::collections::VecDeque;
use std::fmt;

use ndarray::{Array1, Array2, ArrayD, IxDyn};

use super::line_search::{Point, strong_wolfe};
use super::param_group::check_not_negative;
use super::state::{StateEntry, StateValue, Stateful, misfit};
use crate::error::Result;
use crate::param::Param;
use crate::scalar::Scalar;

/// L-BFGS with a line search for the strong Wolfe conditions: `torch.optim.LBFGS` with `line_search_fn="strong_wolfe"`.
///
/// It is for a loss that is the same function at each evaluation: all examples at once, and nothing random. A
/// [`step`](Self::step) makes up to [20 iterations](Self::with_iterations). Each follows the direction `-H g`, where `H`
/// estimates the inverse of the Hessian from the last [100 changes](Self::with_history) of parameters `s` and of
/// gradients `y` (Nocedal and Wright 2006, algorithm 7.4, with `H₀ = s·y / y·y`). The line search, their algorithms 3.5
/// and 3.6, finds a step `t` such that
///
/// ```text
/// L(w + t d) ≤ L(w) + 1e-4 t g·d        |g(w + t d)·d| ≤ 0.9 |g·d|
/// ```
///
/// A pair with `s·y ≤ 1e-10` is left out. A step ends early at a small gradient, at a small change, or after
/// `⌊5/4 iterations⌋` evaluations, see [`with_tolerances`](Self::with_tolerances).
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::optim::Lbfgs;
/// use tapegrad::{Param, Tape};
///
/// // Rosenbrock's valley: (1 - x)² + 100 (y - x²)², with the minimum 0 at (1, 1)
/// let (x, y) = (Param::new(array![-1.5_f64]), Param::new(array![2.0]));
/// let mut lbfgs = Lbfgs::new([&x, &y]).with_tolerances(1e-10, 0.0);
/// let mut tape = Tape::<f64>::new();
/// for _ in 0..5 {
///     lbfgs.step(|| {
///         let (a, b) = (tape.param(&x), tape.param(&y));
///         let loss = ((1.0 - a).square() + (b - a.square()).square() * 100.0).sum();
///         loss.backward();
///         let loss = loss.item();
///         tape.reset();
///         loss
///     });
/// }
/// assert!((x.value()[[0]] - 1.0).abs() < 1e-10 && (y.value()[[0]] - 1.0_f64).abs() < 1e-10);
/// ```
#[doc(alias("LBFGS", "BFGS", "quasi-Newton", "strong_wolfe"))]
pub struct Lbfgs<T> {
    parameters: Vec<Param<T>>,
    learning_rate: f64,
    iterations: usize,
    evaluations: Option<usize>,
    gradient_tolerance: f64,
    change_tolerance: f64,
    history: usize,
    memory: Option<Memory<T>>,
}

/// What an iteration leaves for the next one. All vectors hold the parameters one after the other.
#[derive(Clone)]
struct Memory<T> {
    iterations: u64,
    direction: Vec<T>,
    t: f64,
    gradient: Vec<T>,
    /// The changes, the oldest first.
    changes: VecDeque<Change<T>>,
    /// The factor `H₀`.
    scale: f64,
}

/// The change of the parameters `s`, that of the gradient `y`, and `1 / s·y`.
#[derive(Clone)]
struct Change<T> {
    s: Vec<T>,
    y: Vec<T>,
    rho: f64,
}

impl<T: Scalar> Lbfgs<T> {
    /// Returns an optimizer of these parameters, with the learning rate 1: the line search tries the whole step first.
    ///
    /// They come as a slice, an array or an iterator, of handles or of references to handles. A parameter that is given
    /// twice counts once.
    ///
    /// # Example
    ///
    /// See [`Lbfgs`].
    #[must_use]
    pub fn new(parameters: impl IntoIterator<Item: Borrow<Param<T>>>) -> Self {
        let mut distinct: Vec<Param<T>> = Vec::new();
        for parameter in parameters {
            if !distinct.iter().any(|known| known.is(parameter.borrow())) {
                distinct.push(parameter.borrow().clone());
            }
        }
        Self {
            parameters: distinct,
            learning_rate: 1.0,
            iterations: 20,
            evaluations: None,
            gradient_tolerance: 1e-7,
            change_tolerance: 1e-9,
            history: 100,
            memory: None,
        }
    }

    /// Returns the optimizer with this learning rate: the step that a line search tries first.
    ///
    /// # Panics
    ///
    /// If it is not a finite number of at least 0.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Param;
    /// use tapegrad::optim::Lbfgs;
    ///
    /// let lbfgs = Lbfgs::new([Param::new(array![1.0])]).with_learning_rate(0.5);
    /// assert!(format!("{lbfgs:?}").contains("0.5"));
    /// ```
    #[track_caller]
    #[must_use]
    pub fn with_learning_rate(self, learning_rate: f64) -> Self {
        Self { learning_rate: check_not_negative("Lbfgs", "a learning rate", learning_rate), ..self }
    }

    /// Returns the optimizer with this number of iterations in a step, torch's `max_iter`.
    ///
    /// # Example
    ///
    /// See [`step`](Self::step).
    #[doc(alias = "max_iter")]
    #[must_use]
    pub fn with_iterations(self, iterations: usize) -> Self {
        Self { iterations, ..self }
    }

    /// Returns the optimizer with this number of evaluations in a step, torch's `max_eval`. By default it is
    /// `⌊5/4 iterations⌋`.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Param;
    /// use tapegrad::optim::Lbfgs;
    ///
    /// let w = Param::new(array![8.0]);
    /// let mut evaluations = 0;
    /// Lbfgs::new([&w]).with_evaluations(1).step(|| {
    ///     evaluations += 1;
    ///     w.accumulate_grad(&(2.0 * &*w.value()));
    ///     w.value()[0] * w.value()[0]
    /// });
    /// assert!(evaluations >= 1);
    /// ```
    #[doc(alias = "max_eval")]
    #[must_use]
    pub fn with_evaluations(self, evaluations: usize) -> Self {
        Self { evaluations: Some(evaluations), ..self }
    }

    /// Returns the optimizer with these tolerances: a step ends once no element of the gradient is larger than
    /// `gradient`, or once an iteration changes no parameter by more than `change`, or the loss by less. The defaults
    /// are 1e-7 and 1e-9.
    ///
    /// # Panics
    ///
    /// If one is not a finite number of at least 0.
    ///
    /// # Example
    ///
    /// See [`Lbfgs`].
    #[track_caller]
    #[must_use]
    pub fn with_tolerances(self, gradient: f64, change: f64) -> Self {
        let check = |value| check_not_negative("Lbfgs", "a tolerance", value);
        Self { gradient_tolerance: check(gradient), change_tolerance: check(change), ..self }
    }

    /// Returns the optimizer that remembers this number of changes, torch's `history_size`.
    ///
    /// # Panics
    ///
    /// If it is 0.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Param;
    /// use tapegrad::optim::Lbfgs;
    ///
    /// let w = Param::new(array![8.0]);
    /// let mut lbfgs = Lbfgs::new([&w]).with_history(3);
    /// lbfgs.step(|| {
    ///     w.accumulate_grad(&(2.0 * &*w.value()));
    ///     w.value()[0] * w.value()[0]
    /// });
    /// assert!(f64::abs(w.value()[0]) < 1e-6);
    /// ```
    #[doc(alias = "history_size")]
    #[track_caller]
    #[must_use]
    pub fn with_history(self, history: usize) -> Self {
        assert!(history > 0, "Lbfgs: expected a history of at least 1, found 0");
        Self { history, ..self }
    }

    /// Makes the iterations of a step, and returns the loss before the first one.
    ///
    /// `evaluate` computes the loss and adds the gradients of the parameters, as [`backward`](crate::Var::backward)
    /// does. The gradients are cleared before each call, and those of the last call stay. A loss of NaN counts as
    /// infinite: the line search turns back from it. If a gradient is NaN or infinite before the first iteration, no parameter
    /// changes.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Param;
    /// use tapegrad::optim::Lbfgs;
    ///
    /// let w = Param::new(array![8.0]);
    /// let mut lbfgs = Lbfgs::new([&w]).with_iterations(5);
    /// let loss = lbfgs.step(|| {
    ///     w.accumulate_grad(&(2.0 * &*w.value())); // the gradient of w²
    ///     w.value()[0] * w.value()[0]
    /// });
    /// assert_eq!(loss, 64.0); // before the first iteration
    /// assert!(f64::abs(w.value()[0]) < 1e-6);
    /// ```
    pub fn step(&mut self, mut evaluate: impl FnMut() -> T) -> T {
        // Handles: if `evaluate` panics, the optimizer keeps its own.
        let parameters = self.parameters.clone();
        self.iterate(&parameters, || {
            parameters.iter().for_each(Param::zero_grad);
            evaluate()
        })
    }

    fn iterate(&mut self, parameters: &[Param<T>], mut evaluate: impl FnMut() -> T) -> T {
        let first = evaluate();
        let (mut loss, mut gradient) = (first.to_f64(), gathered(parameters));
        let most = self.evaluations.unwrap_or(self.iterations * 5 / 4);
        let mut evaluations = 1;
        let steep = largest(&gradient) > self.gradient_tolerance && largest(&gradient) < f64::INFINITY;
        if !steep {
            return first; // also with NaN; along an infinite gradient there is no finite step
        }
        for iteration in 1..=self.iterations {
            let (direction, before) = match self.memory.take() {
                None => (gradient.iter().map(|&g| -g).collect(), None),
                Some(memory) => {
                    let memory = memory.learn(&gradient, self.history);
                    (memory.direction(&gradient), Some(memory))
                }
            };
            let t = match &before {
                None => (1.0 / gradient.iter().map(|g| g.to_f64().abs()).sum::<f64>()).min(1.0) * self.learning_rate,
                Some(_) => self.learning_rate,
            };
            let (count, changes, scale) = match before {
                None => (0, VecDeque::new(), 1.0),
                Some(memory) => (memory.iterations, memory.changes, memory.scale),
            };
            let slope = dot(&gradient, &direction);
            let memory = Memory { iterations: count + 1, direction, t, gradient: gradient.clone(), changes, scale };
            let memory = self.memory.insert(memory);
            let downhill = slope <= -self.change_tolerance && slope < 0.0;
            if !downhill {
                break; // also with NaN
            }
            let start: Vec<_> = parameters.iter().map(Param::value).collect();
            let direction = &memory.direction;
            let point = |t: f64| {
                move_to(parameters, &start, direction, t);
                let loss = evaluate().to_f64();
                let gradient = gathered(parameters);
                let slope = dot(&gradient, direction);
                Point { t, loss: if loss.is_nan() { f64::INFINITY } else { loss }, gradient, slope }
            };
            let from = Point { t: 0.0, loss, gradient, slope };
            let (scale, tolerance) = (largest(direction), LINE_TOLERANCE);
            let (end, count) = strong_wolfe(point, from, t, scale, tolerance, most.saturating_sub(evaluations));
            move_to(parameters, &start, direction, end.t);
            memory.t = end.t;
            evaluations += count;
            let change = (end.loss - loss).abs();
            (loss, gradient) = (end.loss, end.gradient);
            if iteration == self.iterations
                || evaluations >= most
                || largest(&gradient) == f64::INFINITY
                || largest(&gradient) <= self.gradient_tolerance
                || scale * end.t.abs() <= self.change_tolerance
                || change < self.change_tolerance
            {
                break;
            }
        }
        first
    }
}

/// A line search's bracket that moves no parameter by more is narrow enough; torch has the same number.
const LINE_TOLERANCE: f64 = 1e-9;

impl<T: Scalar> Memory<T> {
    /// Takes in the last change, if its curvature is positive.
    fn learn(mut self, gradient: &[T], history: usize) -> Self {
        let y: Vec<T> = gradient.iter().zip(&self.gradient).map(|(&new, &old)| new - old).collect();
        let t = T::from_f64(self.t);
        let s: Vec<T> = self.direction.iter().map(|&d| d * t).collect();
        let product = dot(&y, &s);
        if product > 1e-10 {
            while self.changes.len() >= history {
                self.changes.pop_front();
            }
            self.scale = product / dot(&y, &y);
            self.changes.push_back(Change { s, y, rho: 1.0 / product });
        }
        self
    }

    /// Returns `-H g` by the recursion over the changes, from the newest to the oldest and back.
    fn direction(&self, gradient: &[T]) -> Vec<T> {
        let mut q: Vec<T> = gradient.iter().map(|&g| -g).collect();
        let add = |q: &mut [T], factor: f64, of: &[T]| {
            let factor = T::from_f64(factor);
            q.iter_mut().zip(of).for_each(|(q, &x)| *q += factor * x);
        };
        let mut factors = Vec::with_capacity(self.changes.len());
        for Change { s, y, rho } in self.changes.iter().rev() {
            let factor = dot(s, &q) * rho;
            add(&mut q, -factor, y);
            factors.push(factor);
        }
        let scale = T::from_f64(self.scale);
        q.iter_mut().for_each(|q| *q *= scale);
        for (Change { s, y, rho }, factor) in self.changes.iter().zip(factors.iter().rev()) {
            let back = dot(y, &q) * rho;
            add(&mut q, factor - back, s);
        }
        q
    }
}

/// Returns the gradients one after the other; zeros for a parameter that was not reached.
fn gathered<T: Scalar>(parameters: &[Param<T>]) -> Vec<T> {
    let mut all = Vec::with_capacity(parameters.iter().map(|parameter| parameter.shape().elements()).sum());
    for parameter in parameters {
        match parameter.grad() {
            Some(grad) => all.extend(grad.iter().copied()),
            None => all.resize(all.len() + parameter.shape().elements(), T::ZERO),
        }
    }
    all
}

/// Sets the parameters to `start + t direction`.
fn move_to<T: Scalar>(parameters: &[Param<T>], start: &[std::sync::Arc<ArrayD<T>>], mut direction: &[T], t: f64) {
    let t = T::from_f64(t);
    for (parameter, start) in parameters.iter().zip(start) {
        let (here, rest) = direction.split_at(start.len());
        let moved: Vec<T> = start.iter().zip(here).map(|(&w, &d)| w + t * d).collect();
        parameter.set_value(ArrayD::from_shape_vec(start.raw_dim(), moved).expect("as many elements as before"));
        direction = rest;
    }
}

fn dot<T: Scalar>(a: &[T], b: &[T]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a.to_f64() * b.to_f64()).sum()
}

/// Returns the largest magnitude; NaN if there is one.
fn largest<T: Scalar>(x: &[T]) -> f64 {
    x.iter().map(|x| x.to_f64().abs()).fold(0.0, |a: f64, b| if a.is_nan() || b <= a { a } else { b })
}

const WHO: &str = "Lbfgs";

impl<T: Scalar> Stateful<T> for Lbfgs<T> {
    fn kind(&self) -> String {
        WHO.into()
    }

    fn parameters(&self) -> Vec<Param<T>> {
        self.parameters.clone()
    }

    /// `n_iter`, `d`, `t`, `prev_flat_grad`, `old_stps` and `old_dirs` with a row for each change, and `H_diag`.
    fn state(&self) -> Vec<StateEntry<T>> {
        let Some(memory) = &self.memory else { return Vec::new() };
        let vector = |x: &[T]| StateValue::Array(Array1::from(x.to_vec()).into_dyn());
        let rows = |of: fn(&Change<T>) -> &[T]| {
            let elements = memory.changes.iter().flat_map(|change| of(change).iter().copied()).collect();
            let shape = (memory.changes.len(), memory.direction.len());
            StateValue::Array(Array2::from_shape_vec(shape, elements).expect("rows of one length").into_dyn())
        };
        vec![
            StateEntry::new(None, "n_iter", StateValue::Count(memory.iterations)),
            StateEntry::new(None, "d", vector(&memory.direction)),
            StateEntry::new(None, "t", StateValue::Number(memory.t)),
            StateEntry::new(None, "prev_flat_grad", vector(&memory.gradient)),
            StateEntry::new(None, "old_stps", rows(|change| &change.s)),
            StateEntry::new(None, "old_dirs", rows(|change| &change.y)),
            StateEntry::new(None, "H_diag", StateValue::Number(memory.scale)),
        ]
    }

    fn load_state(&mut self, state: Vec<StateEntry<T>>) -> Result<()> {
        if state.is_empty() {
            self.memory = None;
            return Ok(());
        }
        let width: usize = self.parameters.iter().map(|parameter| parameter.shape().elements()).sum();
        let names = ["n_iter", "d", "t", "prev_flat_grad", "old_stps", "old_dirs", "H_diag"];
        if let Some(entry) = state.iter().find(|entry| entry.parameter.is_some() || !names.contains(&&*entry.name)) {
            return Err(misfit(WHO, format_args!("the entries {}", names.join(", ")), &*entry.name));
        }
        let find = |name: &str| {
            let entry = state.iter().find(|entry| entry.name == name);
            entry.map(|entry| &entry.value).ok_or_else(|| misfit(WHO, format_args!("an entry {name}"), "none"))
        };
        let array = |name: &str, rows: Option<usize>| -> Result<Vec<T>> {
            let shape = rows.map_or(IxDyn(&[width]), |rows| IxDyn(&[rows, width]));
            match find(name)? {
                StateValue::Array(array) if array.raw_dim() == shape => Ok(array.iter().copied().collect()),
                other => Err(misfit(WHO, format_args!("an array {name} of shape {shape:?}"), other.kind())),
            }
        };
        let count = match find("old_stps")? {
            StateValue::Array(array) if array.ndim() == 2 => array.shape()[0],
            other => return Err(misfit(WHO, format_args!("a matrix old_stps of {width} columns"), other.kind())),
        };
        let (all_s, all_y) = (array("old_stps", Some(count))?, array("old_dirs", Some(count))?);
        let changes = (0..count).map(|row| {
            let [s, y] = [&all_s, &all_y].map(|all| all[row * width..(row + 1) * width].to_vec());
            let rho = 1.0 / dot(&y, &s);
            Change { s, y, rho }
        });
        self.memory = Some(Memory {
            iterations: find("n_iter")?.count(WHO, "n_iter")?,
            direction: array("d", None)?,
            t: find("t")?.number(WHO, "t")?,
            gradient: array("prev_flat_grad", None)?,
            changes: changes.collect(),
            scale: find("H_diag")?.number(WHO, "H_diag")?,
        });
        Ok(())
    }
}

/// Prints the settings.
impl<T: Scalar> fmt::Debug for Lbfgs<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { parameters, learning_rate, iterations, history, .. } = self;
        let count = parameters.len();
        write!(
            f,
            "Lbfgs of {count} parameters, learning rate {learning_rate}, {iterations} iterations, history {history}"
        )
    }
}
