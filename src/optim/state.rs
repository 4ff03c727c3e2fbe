//! [`Stateful`]: what training remembers from one step to the next, to be saved and loaded.

use std::fmt;

use ndarray::ArrayD;

use crate::error::{Error, Result};
use crate::param::Param;

/// An entry of an optimizer's state.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::Param;
/// use tapegrad::optim::{Optimizer, Sgd, StateValue, Stateful};
///
/// let w = Param::new(array![10.0]);
/// let mut sgd = Sgd::new([&w], 1.0).with_momentum(0.5);
/// w.accumulate_grad(&array![2.0].into_dyn());
/// sgd.step();
/// let state = sgd.state();
/// let velocity = state.iter().find(|entry| entry.name == "momentum_buffer").unwrap();
/// assert_eq!(velocity.parameter, Some(0));
/// assert_eq!(velocity.value, StateValue::Array(array![2.0].into_dyn()));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct StateEntry<T> {
    /// The place of its parameter in [`Stateful::parameters`]; `None` for an entry of the whole optimizer.
    pub parameter: Option<usize>,
    /// The name, PyTorch's where it has one: `exp_avg`, `momentum_buffer`, `step`.
    pub name: String,
    /// The value.
    pub value: StateValue<T>,
}

impl<T> StateEntry<T> {
    pub(super) fn new(parameter: Option<usize>, name: impl Into<String>, value: StateValue<T>) -> Self {
        Self { parameter, name: name.into(), value }
    }
}

/// The value of an entry of a state.
///
/// # Example
///
/// See [`StateEntry`].
#[derive(Clone, Debug, PartialEq)]
pub enum StateValue<T> {
    /// Numbers of the parameters' type.
    Array(ArrayD<T>),
    /// A number of steps.
    Count(u64),
    /// A number that is kept in `f64` for parameters of any type.
    Number(f64),
}

/// What has parameters and remembers something from step to step: every [`Optimizer`](super::Optimizer), and
/// [`Lbfgs`](super::Lbfgs).
///
/// The settings (betas, momentum, …) are no part of the state. Whoever resumes a run builds the optimizer with the same
/// settings, and then loads its state.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::Param;
/// use tapegrad::optim::{Optimizer, Sgd, Stateful};
///
/// # fn main() -> tapegrad::Result<()> {
/// let w = Param::new(array![10.0]);
/// let mut first = Sgd::new([&w], 1.0).with_momentum(0.5);
/// w.accumulate_grad(&array![2.0].into_dyn());
/// first.step(); // v = 2
///
/// let mut second = Sgd::new([&w], 0.25).with_momentum(0.5);
/// second.load_state(first.state())?;
/// assert_eq!(second.learning_rate(), 1.0);
/// second.step(); // v = 0.5 · 2 + 2 = 3
/// assert_eq!(w.value()[[0]], 10.0 - 2.0 - 3.0);
/// # Ok(())
/// # }
/// ```
pub trait Stateful<T>: fmt::Debug {
    /// Returns the name of the kind, such as `Adam` or `Groups(Adam, Sgd)`. A saved state is for optimizers of its kind.
    fn kind(&self) -> String;

    /// Returns the parameters, each once.
    fn parameters(&self) -> Vec<Param<T>>;

    /// Returns the state. A parameter that took part in no step has no entry.
    #[doc(alias = "state_dict")]
    fn state(&self) -> Vec<StateEntry<T>>;

    /// Replaces the state.
    ///
    /// # Errors
    ///
    /// If an entry is missing, has another shape, or is not one of this optimizer's. The state is then as before.
    #[doc(alias = "load_state_dict")]
    fn load_state(&mut self, state: Vec<StateEntry<T>>) -> Result<()>;
}

/// Returns the error of a state that does not fit. `who` is the optimizer's name.
pub(super) fn misfit(who: &str, expected: impl fmt::Display, found: impl Into<String>) -> Error {
    Error::value("optimizer state", format!("{expected} for {who}"), found)
}

impl<T> StateValue<T> {
    /// Returns the count, or an error that names it.
    pub(super) fn count(&self, who: &str, name: &str) -> Result<u64> {
        match self {
            Self::Count(count) => Ok(*count),
            other => Err(misfit(who, format_args!("a whole number {name}"), other.kind())),
        }
    }

    /// Returns the number, or an error that names it.
    pub(super) fn number(&self, who: &str, name: &str) -> Result<f64> {
        match self {
            Self::Number(number) => Ok(*number),
            other => Err(misfit(who, format_args!("a number {name}"), other.kind())),
        }
    }

    /// Returns what it is, for messages.
    pub(super) fn kind(&self) -> String {
        match self {
            Self::Array(array) => format!("an array of shape {:?}", array.shape()),
            Self::Count(count) => format!("the count {count}"),
            Self::Number(number) => format!("the number {number}"),
        }
    }
}
