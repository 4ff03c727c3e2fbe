//! [`Adagrad`]: the gradient, divided by the root of the sum of its squares.

use std::borrow::Borrow;
use std::fmt;

use super::optimizer::Optimizer;
use super::param_group::{Layout, ParamGroup, eps_setting, shared_methods, shared_settings, stateful};
use crate::number::{Algebra, inlined};
use crate::param::Param;
use crate::scalar::Scalar;

/// Adagrad, as in `torch.optim.Adagrad` (Duchi, Hazan and Singer 2011).
///
/// At step `t = 1, 2, …` of a parameter:
///
/// ```text
/// d  = g + λ w
/// s += d²                        s = s₀ before the first step
/// w -= lr / (1 + (t - 1) η) · d / (√s + ε)
/// ```
///
/// Here `g` is the gradient (`-g` to maximize) and `lr` the learning rate. By default `ε` is 1e-10; the learning rate's
/// decay `η`, the weight decay `λ` (coupled) and the initial sum `s₀` are 0.
///
/// A parameter without a gradient is skipped: its `s` and its own `t` do not change.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::Param;
/// use tapegrad::optim::{Adagrad, Optimizer};
///
/// let w = Param::new(array![1.0]);
/// let mut adagrad = Adagrad::new([&w], 0.5).with_eps(0.0);
/// w.accumulate_grad(&array![3.0].into_dyn());
/// adagrad.step(); // s = 9: 1 - 0.5 · 3 / 3
/// assert_eq!(w.value()[[0]], 0.5);
/// adagrad.zero_grad();
/// w.accumulate_grad(&array![4.0].into_dyn());
/// adagrad.step(); // s = 25: 0.5 - 0.5 · 4 / 5
/// assert!((w.value()[[0]] - 0.1_f64).abs() < 1e-15);
/// ```
pub struct Adagrad<T> {
    group: ParamGroup<T, 1>,
    learning_rate_decay: T,
    eps: T,
    initial_accumulator: T,
}

impl<T: Scalar> Adagrad<T> {
    /// Returns an optimizer of these parameters.
    ///
    /// They come as a slice, an array or an iterator, of handles or of references to handles. A parameter that is given
    /// twice is updated once.
    ///
    /// # Panics
    ///
    /// If the learning rate is not a finite number of at least 0.
    ///
    /// # Example
    ///
    /// See [`Adagrad`].
    #[track_caller]
    #[must_use]
    pub fn new(parameters: impl IntoIterator<Item: Borrow<Param<T>>>, learning_rate: T) -> Self {
        let group = ParamGroup::new("Adagrad", parameters, learning_rate);
        Self { group, learning_rate_decay: T::ZERO, eps: T::from_f64(1e-10), initial_accumulator: T::ZERO }
    }

    /// Returns the optimizer with this decay `η` of the learning rate.
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
    /// use tapegrad::optim::{Adagrad, Optimizer};
    ///
    /// let w = Param::new(array![0.0]);
    /// let adagrad = Adagrad::new([&w], 1.0).with_learning_rate_decay(1.0);
    /// let mut adagrad = adagrad.with_initial_accumulator(7.0).with_eps(0.0);
    /// w.accumulate_grad(&array![3.0].into_dyn());
    /// adagrad.step(); // s = 7 + 9: -3 / 4
    /// assert_eq!(w.value()[[0]], -0.75);
    /// adagrad.step(); // s = 25, half the learning rate: -0.75 - 0.5 · 3 / 5
    /// assert!((w.value()[[0]] + 1.05_f64).abs() < 1e-15);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn with_learning_rate_decay(mut self, decay: T) -> Self {
        self.learning_rate_decay = self.group.not_negative("a learning rate decay", decay);
        self
    }

    eps_setting!();

    /// Returns the optimizer with this initial value `s₀` of the sums of squares.
    ///
    /// # Panics
    ///
    /// If it is not a finite number of at least 0.
    ///
    /// # Example
    ///
    /// See [`with_learning_rate_decay`](Self::with_learning_rate_decay).
    #[track_caller]
    #[must_use]
    pub fn with_initial_accumulator(mut self, initial: T) -> Self {
        self.initial_accumulator = self.group.not_negative("an initial accumulator", initial);
        self
    }

    shared_settings!(Adagrad);

    fn layout(&self) -> Layout {
        Layout::arrays(&["sum"])
    }
}

impl<T: Scalar> Optimizer<T> for Adagrad<T> {
    fn step(&mut self) {
        let Self { ref mut group, learning_rate_decay, eps, initial_accumulator } = *self;
        let (lr, decay) = (group.learning_rate().to_f64(), learning_rate_decay.to_f64());
        let objective = group.objective();
        group.step(|update, grad, state| {
            let lr = T::from_f64(lr / (1.0 + (state.step() - 1) as f64 * decay));
            update.update_1(
                grad,
                state.arrays(grad.len(), initial_accumulator),
                inlined!(|w, g, [s]| {
                    let d = objective.gradient(w, g);
                    let s = s + d * d;
                    (w - lr * d / (s.sqrt() + eps), [s])
                }),
            );
        });
    }

    shared_methods!();
}

stateful!(Adagrad);

/// Prints the settings.
impl<T: Scalar> fmt::Debug for Adagrad<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, learning_rate_decay, eps, initial_accumulator } = self;
        group.describe(
            f,
            format_args!(", decay {learning_rate_decay}, eps {eps:e}, initial accumulator {initial_accumulator}"),
        )
    }
}
