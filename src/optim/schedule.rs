//! [`Schedule`]: learning rates that change from step to step.

use std::f64::consts::PI;
use std::fmt;
use std::sync::Arc;

use super::optimizer::Optimizer;
use super::param_group::check_not_negative;
use crate::scalar::Scalar;

/// The learning rate as a function of the step. Steps count from 0.
///
/// A schedule has no state: [`at`](Self::at) computes the learning rate of any step in closed form, and
/// [`apply`](Self::apply) gives it to an optimizer. The caller decides what a step is: an update, or an epoch. The
/// formulas are those of `torch.optim.lr_scheduler`.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::Param;
/// use tapegrad::optim::{Optimizer, Schedule, Sgd};
///
/// let w = Param::new(array![8.0]);
/// let mut sgd = Sgd::new([&w], 1.0);
/// let schedule = Schedule::step(1.0, 2, 0.5); // half every 2 steps: 1, 1, 0.5, 0.5, …
/// w.accumulate_grad(&array![1.0].into_dyn());
/// for step in 0..4 {
///     schedule.apply(step, &mut sgd);
///     sgd.step();
/// }
/// assert_eq!(w.value()[[0]], 8.0 - (1.0 + 1.0 + 0.5 + 0.5));
/// ```
#[derive(Clone)]
pub struct Schedule {
    learning_rate: f64,
    rule: Rule,
    warm_up: Option<WarmUp>,
}

#[derive(Clone)]
enum Rule {
    Step { size: usize, gamma: f64 },
    MultiStep { milestones: Vec<usize>, gamma: f64 },
    Exponential { gamma: f64 },
    Cosine { steps: usize, minimum: f64 },
    Linear { start: f64, end: f64, steps: usize },
    Function(Arc<dyn Fn(usize) -> f64 + Send + Sync>),
}

#[derive(Clone, Copy)]
struct WarmUp {
    steps: usize,
    start: f64,
}

impl Schedule {
    /// Returns the schedule `lr γ^⌊t / size⌋` at step `t`: a step down every `size` steps, torch's `StepLR`.
    ///
    /// # Panics
    ///
    /// If the learning rate or `gamma` is not a finite number of at least 0, or if the size is 0.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::optim::Schedule;
    ///
    /// let schedule = Schedule::step(1.0, 10, 0.5);
    /// assert_eq!([0, 9, 10, 25].map(|step| schedule.at(step)), [1.0, 1.0, 0.5, 0.25]);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn step(learning_rate: f64, size: usize, gamma: f64) -> Self {
        check_steps("a step size", size);
        check("a gamma", gamma);
        Self::new(learning_rate, Rule::Step { size, gamma })
    }

    /// Returns the schedule `lr γ^k` at step `t`, with `k` the number of milestones at or before `t`: torch's
    /// `MultiStepLR`. A milestone that is given twice counts twice.
    ///
    /// # Panics
    ///
    /// If the learning rate or `gamma` is not a finite number of at least 0.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::optim::Schedule;
    ///
    /// let schedule = Schedule::multi_step(1.0, [2, 5], 0.5);
    /// assert_eq!([0, 1, 2, 4, 5].map(|step| schedule.at(step)), [1.0, 1.0, 0.5, 0.5, 0.25]);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn multi_step(learning_rate: f64, milestones: impl Into<Vec<usize>>, gamma: f64) -> Self {
        check("a gamma", gamma);
        Self::new(learning_rate, Rule::MultiStep { milestones: milestones.into(), gamma })
    }

    /// Returns the schedule `lr γ^t` at step `t`: torch's `ExponentialLR`.
    ///
    /// # Panics
    ///
    /// If the learning rate or `gamma` is not a finite number of at least 0.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::optim::Schedule;
    ///
    /// assert_eq!(Schedule::exponential(1.0, 0.5).at(3), 0.125);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn exponential(learning_rate: f64, gamma: f64) -> Self {
        check("a gamma", gamma);
        Self::new(learning_rate, Rule::Exponential { gamma })
    }

    /// Returns the schedule `min + (lr - min) (1 + cos(π t / steps)) / 2` at step `t`: torch's `CosineAnnealingLR`,
    /// with `T_max` for `steps` and `eta_min` for `minimum` (Loshchilov and Hutter 2017, equation 5, without restarts).
    /// After `steps` it rises again, and is back at `lr` after `2 steps`.
    ///
    /// # Panics
    ///
    /// If the learning rate or the minimum is not a finite number of at least 0, or if `steps` is 0.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::optim::Schedule;
    ///
    /// let schedule = Schedule::cosine(1.0, 10, 0.5);
    /// for (step, expected) in [(0, 1.0), (5, 0.75), (10, 0.5), (15, 0.75), (20, 1.0)] {
    ///     assert!((schedule.at(step) - expected).abs() < 1e-15);
    /// }
    /// ```
    #[track_caller]
    #[must_use]
    pub fn cosine(learning_rate: f64, steps: usize, minimum: f64) -> Self {
        check_steps("a half period", steps);
        check("a minimum", minimum);
        Self::new(learning_rate, Rule::Cosine { steps, minimum })
    }

    /// Returns the schedule of `lr` times a factor, which changes linearly from `start` at step 0 to `end` at step
    /// `steps`, and stays `end`: torch's `LinearLR`.
    ///
    /// # Panics
    ///
    /// If the learning rate or a factor is not a finite number of at least 0, or if `steps` is 0.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::optim::Schedule;
    ///
    /// let schedule = Schedule::linear(2.0, 0.25, 0.75, 4);
    /// assert_eq!([0, 2, 4, 100].map(|step| schedule.at(step)), [0.5, 1.0, 1.5, 1.5]);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn linear(learning_rate: f64, start: f64, end: f64, steps: usize) -> Self {
        check_steps("a length", steps);
        check("a start factor", start);
        check("an end factor", end);
        Self::new(learning_rate, Rule::Linear { start, end, steps })
    }

    /// Returns the schedule of `lr` times a function of the step: torch's `LambdaLR`.
    ///
    /// # Panics
    ///
    /// If the learning rate is not a finite number of at least 0.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::optim::Schedule;
    ///
    /// let schedule = Schedule::function(2.0, |step| 1.0 / (step + 1) as f64);
    /// assert_eq!([0, 1, 3].map(|step| schedule.at(step)), [2.0, 1.0, 0.5]);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn function(learning_rate: f64, factor: impl Fn(usize) -> f64 + Send + Sync + 'static) -> Self {
        Self::new(learning_rate, Rule::Function(Arc::new(factor)))
    }

    /// Returns the schedule with a warm-up before its step 0. In `steps` steps the warm-up changes the learning rate
    /// linearly, from `start` times the schedule's first learning rate to that learning rate. In torch: `SequentialLR`
    /// of a `LinearLR` and the schedule.
    ///
    /// # Panics
    ///
    /// If `start` is not a finite number of at least 0, or if `steps` is 0.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::optim::Schedule;
    ///
    /// let schedule = Schedule::exponential(1.0, 0.5).with_warm_up(2, 0.5);
    /// assert_eq!([0, 1, 2, 3].map(|step| schedule.at(step)), [0.5, 0.75, 1.0, 0.5]);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn with_warm_up(self, steps: usize, start: f64) -> Self {
        check_steps("a warm-up", steps);
        check("a start factor", start);
        Self { warm_up: Some(WarmUp { steps, start }), ..self }
    }

    /// Returns the learning rate of a step.
    #[must_use]
    pub fn at(&self, step: usize) -> f64 {
        match self.warm_up {
            Some(WarmUp { steps, start }) if step < steps => self.without_warm_up(0) * line(start, 1.0, step, steps),
            Some(WarmUp { steps, .. }) => self.without_warm_up(step - steps),
            None => self.without_warm_up(step),
        }
    }

    /// Sets the optimizer's learning rate to that of a step.
    ///
    /// # Panics
    ///
    /// If it is not a finite number of at least 0, which only a [`function`](Self::function) can cause.
    #[track_caller]
    pub fn apply<T: Scalar>(&self, step: usize, optimizer: &mut (impl Optimizer<T> + ?Sized)) {
        optimizer.set_learning_rate(T::from_f64(self.at(step)));
    }

    #[track_caller]
    fn new(learning_rate: f64, rule: Rule) -> Self {
        check("a learning rate", learning_rate);
        Self { learning_rate, rule, warm_up: None }
    }

    fn without_warm_up(&self, step: usize) -> f64 {
        let lr = self.learning_rate;
        // `libm` has the same bits on every machine.
        let power = |gamma, exponent: usize| libm::pow(gamma, exponent as f64);
        match &self.rule {
            Rule::Step { size, gamma } => lr * power(*gamma, step / size),
            Rule::MultiStep { milestones, gamma } => {
                lr * power(*gamma, milestones.iter().filter(|&&milestone| milestone <= step).count())
            }
            Rule::Exponential { gamma } => lr * power(*gamma, step),
            Rule::Cosine { steps, minimum } => {
                // Reduced to one period: precise after any number of steps.
                let angle = PI * (step % (2 * steps)) as f64 / *steps as f64;
                minimum + (lr - minimum) * (1.0 + libm::cos(angle)) / 2.0
            }
            Rule::Linear { start, end, steps } => lr * line(*start, *end, step, *steps),
            Rule::Function(factor) => lr * factor(step),
        }
    }
}

/// Returns the factor at a step: linear from `start` to `end`, then `end`.
fn line(start: f64, end: f64, step: usize, steps: usize) -> f64 {
    start + (end - start) * step.min(steps) as f64 / steps as f64
}

/// Checks a setting that must be finite and not negative.
#[track_caller]
fn check(setting: &str, value: f64) {
    check_not_negative("Schedule", setting, value);
}

/// Checks a number of steps.
#[track_caller]
fn check_steps(setting: &str, steps: usize) {
    assert!(steps > 0, "Schedule: {setting} of 0 steps; expected at least 1");
}

/// Prints the settings.
impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schedule of learning rate {}, ", self.learning_rate)?;
        match &self.rule {
            Rule::Step { size, gamma } => write!(f, "times {gamma} every {size} steps"),
            Rule::MultiStep { milestones, gamma } => write!(f, "times {gamma} at the steps {milestones:?}"),
            Rule::Exponential { gamma } => write!(f, "times {gamma} at every step"),
            Rule::Cosine { steps, minimum } => write!(f, "by a cosine to {minimum} in {steps} steps"),
            Rule::Linear { start, end, steps } => write!(f, "times {start} to {end} in {steps} steps"),
            Rule::Function(_) => write!(f, "times a function of the step"),
        }?;
        match self.warm_up {
            Some(WarmUp { steps, start }) => write!(f, ", after {steps} steps of warm-up from {start}"),
            None => Ok(()),
        }
    }
}
