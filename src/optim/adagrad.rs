//! [`Adagrad`]: the gradient over the root of the sum of its squares.

use std::borrow::Borrow;
use std::fmt;

use super::Optimizer;
use super::parameters::Parameters;
use crate::number::Algebra;
use crate::param::Param;
use crate::scalar::Scalar;

/// Adagrad, as `torch.optim.Adagrad` has it (Duchi, Hazan and Singer 2011).
///
/// At step `t = 1, 2, …` of a parameter:
///
/// ```text
/// d  = g + λ w
/// s += d²                        s = s₀ before the first step
/// w -= lr / (1 + (t - 1) η) · d / (√s + ε)
/// ```
///
/// with the gradient `g` (`-g` to maximize), the learning rate `lr`, `ε = 1e-10`, and, all 0 unless given, its decay
/// `η`, the weight decay `λ` and the accumulator's initial value `s₀`.
///
/// A parameter without a gradient is passed over: its `s` and its own count `t` stay as they are.
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
    parameters: Parameters<T, 1>,
    learning_rate_decay: T,
    eps: T,
    initial_accumulator: T,
}

impl<T: Scalar> Adagrad<T> {
    /// Returns an optimizer of these parameters: a slice, an array or an iterator, of handles or of references to them.
    /// A parameter that is given twice is updated once.
    ///
    /// # Panics
    ///
    /// If the learning rate is not a finite number of at least 0.
    #[track_caller]
    #[must_use]
    pub fn new(parameters: impl IntoIterator<Item: Borrow<Param<T>>>, learning_rate: T) -> Self {
        let parameters = Parameters::new("Adagrad", parameters, learning_rate);
        Self { parameters, learning_rate_decay: T::ZERO, eps: T::from_f64(1e-10), initial_accumulator: T::ZERO }
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
        self.learning_rate_decay = self.parameters.not_negative("a learning rate decay", decay);
        self
    }

    /// Returns the optimizer with this `ε`, which keeps the divisor from 0.
    ///
    /// # Panics
    ///
    /// If it is not a finite number of at least 0.
    #[track_caller]
    #[must_use]
    pub fn with_eps(mut self, eps: T) -> Self {
        self.eps = self.parameters.not_negative("an eps", eps);
        self
    }

    /// Returns the optimizer with this initial value `s₀` of the sums of squares.
    ///
    /// # Panics
    ///
    /// If it is not a finite number of at least 0.
    #[track_caller]
    #[must_use]
    pub fn with_initial_accumulator(mut self, initial: T) -> Self {
        self.initial_accumulator = self.parameters.not_negative("an initial accumulator", initial);
        self
    }

    /// Returns the optimizer with this weight decay `λ`: the gradient of `λ/2 ‖w‖²` joins that of the loss (coupled).
    ///
    /// # Panics
    ///
    /// If it is not a finite number of at least 0.
    #[track_caller]
    #[must_use]
    pub fn with_weight_decay(mut self, weight_decay: T) -> Self {
        self.parameters.set_weight_decay(weight_decay);
        self
    }

    /// Returns the optimizer going uphill: it follows `-g`.
    #[must_use]
    pub fn with_maximize(mut self) -> Self {
        self.parameters.maximize();
        self
    }
}

impl<T: Scalar> Optimizer<T> for Adagrad<T> {
    fn step(&mut self) {
        let Self { ref mut parameters, learning_rate_decay, eps, initial_accumulator } = *self;
        let (lr, decay) = (parameters.learning_rate().to_f64(), learning_rate_decay.to_f64());
        let objective = parameters.objective();
        parameters.step(|weights, grad, state| {
            let lr = T::from_f64(lr / (1.0 + (state.step - 1) as f64 * decay));
            weights.update_1(
                grad,
                state.arrays(grad.len(), initial_accumulator),
                #[inline(always)]
                move |w, g, [s]| {
                    let d = objective.gradient(w, g);
                    let s = s + d * d;
                    (w - lr * d / (s.sqrt() + eps), [s])
                },
            );
        });
    }

    fn zero_grad(&mut self) {
        self.parameters.zero_grad();
    }

    fn learning_rate(&self) -> T {
        self.parameters.learning_rate()
    }

    fn set_learning_rate(&mut self, learning_rate: T) {
        self.parameters.set_learning_rate(learning_rate);
    }
}

/// Prints the settings.
impl<T: Scalar> fmt::Debug for Adagrad<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { parameters, learning_rate_decay, eps, initial_accumulator } = self;
        parameters.describe(
            f,
            format_args!(", decay {learning_rate_decay}, eps {eps:e}, initial accumulator {initial_accumulator}"),
        )
    }
}
