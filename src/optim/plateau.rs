//! [`ReduceOnPlateau`]: a smaller learning rate once a loss no longer falls.

use super::optimizer::Optimizer;
use super::param_group::check_not_negative;
use super::state::{StateEntry, StateValue, misfit};
use crate::error::Result;
use crate::scalar::Scalar;

/// Multiplies the learning rate by a factor whenever a loss has not fallen for more than `patience` observations:
/// `torch.optim.lr_scheduler.ReduceLROnPlateau`.
///
/// A loss has fallen if it is below `(1 - threshold)` times the best one so far. After a reduction, `cooldown`
/// observations pass before bad ones are counted again. The defaults are those of PyTorch: a factor of 0.1, a patience of
/// 10, a threshold of 1e-4, no cooldown, and a smallest learning rate of 0. As there, a change of the learning rate of
/// no more than 1e-8 is left out.
///
/// Unlike a [`Schedule`](super::Schedule) it depends on what it saw. [`state`](Self::state) saves that.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::Param;
/// use tapegrad::optim::{Optimizer, ReduceOnPlateau, Sgd};
///
/// let mut sgd = Sgd::new([&Param::new(array![0.0])], 1.0);
/// let mut plateau = ReduceOnPlateau::new().with_factor(0.5).with_patience(1);
/// for (loss, expected) in [(3.0, 1.0), (3.0, 1.0), (3.0, 0.5), (2.0, 0.5), (2.5, 0.5), (2.5, 0.25)] {
///     plateau.observe(loss, &mut sgd);
///     assert_eq!(sgd.learning_rate(), expected);
/// }
/// ```
#[doc(alias = "ReduceLROnPlateau")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReduceOnPlateau {
    factor: f64,
    patience: u64,
    threshold: f64,
    cooldown: u64,
    minimum: f64,
    maximize: bool,
    best: f64,
    bad: u64,
    cooling: u64,
}

impl Default for ReduceOnPlateau {
    fn default() -> Self {
        Self::new()
    }
}

impl ReduceOnPlateau {
    /// Returns a plateau that has observed nothing, with the settings of PyTorch.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Param;
    /// use tapegrad::optim::{Optimizer, ReduceOnPlateau, Sgd};
    ///
    /// let mut sgd = Sgd::new([Param::new(array![0.0])], 1.0);
    /// let mut plateau = ReduceOnPlateau::new();
    /// (0..11).for_each(|_| plateau.observe(3.0, &mut sgd)); // the best one, and ten that are no better
    /// assert_eq!(sgd.learning_rate(), 1.0);
    /// plateau.observe(3.0, &mut sgd);
    /// assert!(f64::abs(sgd.learning_rate() - 0.1) < 1e-15);
    /// ```
    #[must_use]
    pub fn new() -> Self {
        let (factor, patience, threshold) = (0.1, 10, 1e-4);
        let best = f64::INFINITY;
        Self { factor, patience, threshold, cooldown: 0, minimum: 0.0, maximize: false, best, bad: 0, cooling: 0 }
    }

    /// Returns it with this factor of the learning rate.
    ///
    /// # Panics
    ///
    /// If it is not at least 0 and below 1.
    ///
    /// # Example
    ///
    /// See [`ReduceOnPlateau`].
    #[track_caller]
    #[must_use]
    pub fn with_factor(self, factor: f64) -> Self {
        assert!((0.0..1.0).contains(&factor), "ReduceOnPlateau: a factor of {factor} is not from 0 to below 1");
        Self { factor, ..self }
    }

    /// Returns it with this number of bad observations that pass before a reduction.
    ///
    /// # Example
    ///
    /// See [`ReduceOnPlateau`].
    #[must_use]
    pub fn with_patience(self, patience: u64) -> Self {
        Self { patience, ..self }
    }

    /// Returns it with this threshold: the share of the best loss by which a loss has to be lower.
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
    /// use tapegrad::optim::{Optimizer, ReduceOnPlateau, Sgd};
    ///
    /// let mut sgd = Sgd::new([Param::new(array![0.0])], 1.0);
    /// let mut plateau = ReduceOnPlateau::new().with_factor(0.5).with_patience(0).with_threshold(0.25);
    /// plateau.observe(4.0, &mut sgd);
    /// plateau.observe(3.5, &mut sgd); // lower, and not by a quarter
    /// assert_eq!(sgd.learning_rate(), 0.5);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn with_threshold(self, threshold: f64) -> Self {
        Self { threshold: check_not_negative("ReduceOnPlateau", "a threshold", threshold), ..self }
    }

    /// Returns it with this number of observations after a reduction that are not counted.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Param;
    /// use tapegrad::optim::{Optimizer, ReduceOnPlateau, Sgd};
    ///
    /// let mut sgd = Sgd::new([Param::new(array![0.0])], 1.0);
    /// let mut plateau = ReduceOnPlateau::new().with_factor(0.5).with_patience(0).with_cooldown(2);
    /// (0..4).for_each(|_| plateau.observe(3.0, &mut sgd)); // the second reduces, two are not counted
    /// assert_eq!(sgd.learning_rate(), 0.5);
    /// plateau.observe(3.0, &mut sgd);
    /// assert_eq!(sgd.learning_rate(), 0.25);
    /// ```
    #[must_use]
    pub fn with_cooldown(self, cooldown: u64) -> Self {
        Self { cooldown, ..self }
    }

    /// Returns it with this smallest learning rate.
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
    /// use tapegrad::optim::{Optimizer, ReduceOnPlateau, Sgd};
    ///
    /// let mut sgd = Sgd::new([Param::new(array![0.0])], 1.0);
    /// let mut plateau = ReduceOnPlateau::new().with_factor(0.5).with_patience(0).with_minimum(0.75);
    /// (0..5).for_each(|_| plateau.observe(3.0, &mut sgd));
    /// assert_eq!(sgd.learning_rate(), 0.75);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn with_minimum(self, minimum: f64) -> Self {
        Self { minimum: check_not_negative("ReduceOnPlateau", "a minimum", minimum), ..self }
    }

    /// Returns it for a number that should rise, an accuracy for example: good is above `(1 + threshold)` times the best.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Param;
    /// use tapegrad::optim::{Optimizer, ReduceOnPlateau, Sgd};
    ///
    /// let mut sgd = Sgd::new([Param::new(array![0.0])], 1.0);
    /// let mut plateau = ReduceOnPlateau::new().with_factor(0.5).with_patience(0).with_maximize();
    /// for (accuracy, expected) in [(0.5, 1.0), (0.9, 1.0), (0.8, 0.5)] {
    ///     plateau.observe(accuracy, &mut sgd);
    ///     assert_eq!(sgd.learning_rate(), expected);
    /// }
    /// ```
    #[must_use]
    pub fn with_maximize(self) -> Self {
        Self { maximize: true, best: f64::NEG_INFINITY, ..self }
    }

    /// Observes a loss, and reduces the optimizer's learning rate if it is time to. NaN is a bad observation.
    ///
    /// # Example
    ///
    /// See [`ReduceOnPlateau`].
    #[doc(alias = "step")]
    pub fn observe<T: Scalar>(&mut self, loss: f64, optimizer: &mut (impl Optimizer<T> + ?Sized)) {
        let good = match self.maximize {
            false => loss < self.best * (1.0 - self.threshold),
            true => loss > self.best * (1.0 + self.threshold),
        };
        // The first finite observation is the best so far, also where `0 · ∞` above is NaN.
        if good || !self.best.is_finite() && loss.is_finite() {
            (self.best, self.bad) = (loss, 0);
        } else {
            self.bad += 1;
        }
        if self.cooling > 0 {
            (self.cooling, self.bad) = (self.cooling - 1, 0);
        }
        if self.bad > self.patience {
            (self.cooling, self.bad) = (self.cooldown, 0);
            let before = optimizer.learning_rate().to_f64();
            let after = (before * self.factor).max(self.minimum);
            if before - after > 1e-8 {
                optimizer.set_learning_rate(T::from_f64(after));
            }
        }
    }

    /// Returns what it has seen: the best loss, the number of bad observations, and what is left of the cooldown.
    ///
    /// # Example
    ///
    /// See [`load_state`](Self::load_state).
    #[must_use]
    pub fn state<T>(&self) -> Vec<StateEntry<T>> {
        vec![
            StateEntry::new(None, "best", StateValue::Number(self.best)),
            StateEntry::new(None, "bad", StateValue::Count(self.bad)),
            StateEntry::new(None, "cooling", StateValue::Count(self.cooling)),
        ]
    }

    /// Replaces what it has seen.
    ///
    /// # Errors
    ///
    /// If the entries are not those of [`state`](Self::state). Nothing changes then.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::optim::ReduceOnPlateau;
    ///
    /// # fn main() -> tapegrad::Result<()> {
    /// let (first, mut second) = (ReduceOnPlateau::new(), ReduceOnPlateau::new());
    /// second.load_state(&first.state::<f32>())?;
    /// assert_eq!(first, second);
    /// assert!(second.load_state::<f32>(&[]).is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn load_state<T>(&mut self, state: &[StateEntry<T>]) -> Result<()> {
        let who = "ReduceOnPlateau";
        let [best, bad, cooling] = ["best", "bad", "cooling"].map(|name| {
            let entry = state.iter().find(|entry| entry.name == name);
            entry.map(|entry| &entry.value).ok_or_else(|| misfit(who, format_args!("an entry {name}"), "none"))
        });
        let (best, bad) = (best?.number(who, "best")?, bad?.count(who, "bad")?);
        (self.best, self.bad, self.cooling) = (best, bad, cooling?.count(who, "cooling")?);
        Ok(())
    }
}
