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
    OneCycle(OneCycle),
    Function(Arc<dyn Fn(usize) -> f64 + Send + Sync>),
    Times(Box<[Schedule; 2]>),
    Then { parts: Box<[Schedule; 2]>, steps: usize },
}

/// The learning rates at the ends of a cycle's two parts, and where the parts end.
#[derive(Clone, Copy)]
struct OneCycle {
    start: f64,
    largest: f64,
    end: f64,
    rise: f64,
    last: f64,
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

    /// Returns one cycle of `steps` steps: by half a cosine from `largest / 25` up to `largest` in the first 30 % of the
    /// steps, and by half a cosine down to `largest / 250,000` at the last step (Smith and Topin 2018). After it the
    /// learning rate stays.
    ///
    /// This is torch's `OneCycleLR` with its defaults for `pct_start`, `div_factor` and `final_div_factor`. The momentum,
    /// which torch cycles too by default, stays as it is.
    ///
    /// # Panics
    ///
    /// If `largest` is not a finite number of at least 0, or if `steps` is 0.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::optim::Schedule;
    ///
    /// let schedule = Schedule::one_cycle(1.0, 10); // up to step 0.3 · 10 - 1, down to step 9
    /// for (step, expected) in [(0, 0.04), (1, 0.52), (2, 1.0), (9, 4e-6), (100, 4e-6)] {
    ///     assert!((schedule.at(step) - expected).abs() < 1e-15);
    /// }
    /// ```
    #[doc(alias = "OneCycleLR")]
    #[track_caller]
    #[must_use]
    pub fn one_cycle(largest: f64, steps: usize) -> Self {
        Self::one_cycle_with(largest, steps, 0.3, 25.0, 1e4)
    }

    /// Returns one cycle as [`one_cycle`](Self::one_cycle) does, with the share of the steps in which the learning rate
    /// rises, the divisor of `largest` at the start, and the divisor of the first learning rate at the end.
    ///
    /// # Panics
    ///
    /// If `largest` is not a finite number of at least 0, if `steps` is 0, if the share is not from 0 to 1, or if a
    /// divisor is not a finite number above 0.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::optim::Schedule;
    ///
    /// let schedule = Schedule::one_cycle_with(1.0, 10, 0.5, 4.0, 8.0); // up to step 0.5 · 10 - 1
    /// for (step, expected) in [(0, 0.25), (4, 1.0), (9, 0.25 / 8.0)] {
    ///     assert!((schedule.at(step) - expected).abs() < 1e-15);
    /// }
    /// ```
    #[track_caller]
    #[must_use]
    pub fn one_cycle_with(largest: f64, steps: usize, rising: f64, divisor: f64, final_divisor: f64) -> Self {
        check_steps("a cycle", steps);
        assert!((0.0..=1.0).contains(&rising), "Schedule: a rising share of {rising} is not from 0 to 1");
        for divisor in [divisor, final_divisor] {
            assert!(
                divisor > 0.0 && divisor.is_finite(),
                "Schedule: a divisor of {divisor} is not a finite number above 0"
            );
        }
        let start = largest / divisor;
        let (rise, last) = (rising * steps as f64 - 1.0, steps as f64 - 1.0);
        Self::new(largest, Rule::OneCycle(OneCycle { start, largest, end: start / final_divisor, rise, last }))
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

    /// Returns the product of two schedules: at every step this schedule's learning rate times the factor by which the
    /// other one changes its own. In torch: `ChainedScheduler`, of schedulers that multiply.
    ///
    /// # Panics
    ///
    /// If the other schedule's learning rate is 0: there is no factor.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::optim::Schedule;
    ///
    /// let schedule = Schedule::exponential(8.0, 0.5).times(Schedule::linear(1.0, 0.25, 1.0, 2));
    /// assert_eq!([0, 1, 2, 3].map(|step| schedule.at(step)), [2.0, 2.5, 2.0, 1.0]); // 8, 4, 2, 1 times 1/4, 5/8, 1, 1
    /// ```
    #[doc(alias = "ChainedScheduler")]
    #[track_caller]
    #[must_use]
    pub fn times(self, other: Self) -> Self {
        assert!(other.learning_rate > 0.0, "Schedule: a factor of a learning rate of 0 does not exist");
        Self::new(self.learning_rate, Rule::Times(Box::new([self, other])))
    }

    /// Returns this schedule for so many steps, and the next one after them, which begins at its step 0. In torch:
    /// `SequentialLR`.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::optim::Schedule;
    ///
    /// let schedule = Schedule::linear(1.0, 0.5, 1.0, 2).then(2, Schedule::exponential(1.0, 0.5));
    /// assert_eq!([0, 1, 2, 3].map(|step| schedule.at(step)), [0.5, 0.75, 1.0, 0.5]);
    /// ```
    #[doc(alias = "SequentialLR")]
    #[must_use]
    pub fn then(self, steps: usize, next: Self) -> Self {
        Self {
            learning_rate: self.learning_rate,
            rule: Rule::Then { parts: Box::new([self, next]), steps },
            warm_up: None,
        }
    }

    /// Returns the learning rate of a step.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::optim::Schedule;
    ///
    /// assert_eq!(Schedule::exponential(1.0, 0.5).at(3), 0.125);
    /// ```
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
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Param;
    /// use tapegrad::optim::{Optimizer, Schedule, Sgd};
    ///
    /// let mut sgd = Sgd::new([Param::new(array![1.0])], 1.0);
    /// Schedule::exponential(1.0, 0.5).apply(2, &mut sgd);
    /// assert_eq!(sgd.learning_rate(), 0.25);
    /// ```
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
            Rule::OneCycle(cycle) => cycle.at(step),
            Rule::Function(factor) => lr * factor(step),
            Rule::Times(parts) => parts[0].at(step) * (parts[1].at(step) / parts[1].learning_rate),
            Rule::Then { parts, steps } if step < *steps => parts[0].at(step),
            Rule::Then { parts, steps } => parts[1].at(step - steps),
        }
    }
}

impl OneCycle {
    fn at(self, step: usize) -> f64 {
        let Self { start, largest, end, rise, last } = self;
        let step = (step as f64).min(last);
        let wave = |from: f64, to: f64, share: f64| to + (from - to) / 2.0 * (1.0 + libm::cos(PI * share));
        // A part without steps is skipped: its length of 0 would be a divisor.
        if step <= rise && rise > 0.0 {
            wave(start, largest, step / rise)
        } else if last > rise {
            wave(largest, end, (step - rise) / (last - rise))
        } else {
            largest
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
            Rule::OneCycle(OneCycle { start, end, last, .. }) => {
                write!(f, "one cycle from {start} to {end} in {} steps", last + 1.0)
            }
            Rule::Function(_) => write!(f, "times a function of the step"),
            Rule::Times(parts) => write!(f, "the product of ({:?}) and ({:?})", parts[0], parts[1]),
            Rule::Then { parts, steps } => write!(f, "({:?}) for {steps} steps, then ({:?})", parts[0], parts[1]),
        }?;
        match self.warm_up {
            Some(WarmUp { steps, start }) => write!(f, ", after {steps} steps of warm-up from {start}"),
            None => Ok(()),
        }
    }
}
