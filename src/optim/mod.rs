//! Optimizers: what turns gradients into steps.
//!
//! An optimizer holds handles to the parameters. It does not matter which half computed the gradients, the hand-derived
//! layers or the tape. Formulas and settings are those of `torch.optim`, and so are the settings that are not given.
//!
//! | optimizer | follows |
//! |---|---|
//! | [`Sgd`] | the gradient, or its velocity (momentum, Nesterov) |
//! | [`Adam`], [`AdamW`] | the gradient's average over the root of its square's average |
//! | [`RmsProp`] | the gradient over the root of its square's average |
//! | [`Adagrad`] | the gradient over the root of the sum of its squares |
//!
//! A [`Schedule`] changes the learning rate from step to step.
//!
//! All of them pass over a parameter without a gradient: its value, what is kept for it and its count of steps stay as
//! they are. A gradient of 0 is not none: the averages move on, and a velocity carries the parameter further.

mod adagrad;
mod adam;
mod parameters;
mod rms_prop;
mod schedule;
mod sgd;

use std::fmt::Debug;

pub use adagrad::Adagrad;
pub use adam::{Adam, AdamRule, AdamW};
pub use rms_prop::RmsProp;
pub use schedule::Schedule;
pub use sgd::Sgd;

/// A rule by which parameters follow their gradients.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::optim::{Optimizer, Sgd};
/// use tapegrad::{Param, Tape};
///
/// let w = Param::new(array![4.0]);
/// let mut optimizer = Sgd::new([&w], 0.25);
/// let mut tape = Tape::new();
/// for expected in [2.0, 1.0, 0.5] {
///     optimizer.zero_grad();
///     tape.param(&w).square().sum().backward(); // gradient 2 w
///     optimizer.step(); // w -= 0.25 · 2 w
///     tape.reset();
///     assert_eq!(w.value()[[0]], expected);
/// }
/// ```
pub trait Optimizer<T>: Debug {
    /// Updates every parameter that has a gradient. Gradients are left as they are.
    fn step(&mut self);

    /// Clears the gradients of all parameters.
    fn zero_grad(&mut self);

    /// Returns the learning rate.
    fn learning_rate(&self) -> T;

    /// Changes the learning rate of the steps to come.
    ///
    /// # Panics
    ///
    /// If it is not a finite number of at least 0.
    #[track_caller]
    fn set_learning_rate(&mut self, learning_rate: T);
}
