//! [`Optimizer`]: the trait of all optimizers.

use super::state::Stateful;

/// A rule that updates parameters from their gradients.
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
pub trait Optimizer<T>: Stateful<T> {
    /// Updates every parameter that has a gradient. The gradients stay.
    fn step(&mut self);

    /// Clears the gradients of all parameters.
    fn zero_grad(&mut self);

    /// Returns the learning rate.
    fn learning_rate(&self) -> T;

    /// Sets the learning rate of the following steps.
    ///
    /// # Panics
    ///
    /// If it is not a finite number of at least 0.
    #[track_caller]
    fn set_learning_rate(&mut self, learning_rate: T);
}
