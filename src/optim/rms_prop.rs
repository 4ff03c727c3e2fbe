//! [`RmsProp`]: the gradient over the root of the mean of its squares.

use std::borrow::Borrow;
use std::fmt;

use super::Optimizer;
use super::parameters::Parameters;
use crate::number::Algebra;
use crate::param::Param;
use crate::scalar::Scalar;

/// RMSprop, as `torch.optim.RMSprop` has it (Tieleman and Hinton 2012; centered: Graves 2013).
///
/// ```text
/// d  = g + λ w
/// v  = α v + (1 - α) d²         v = 0 before the first step
/// a  = α a + (1 - α) d          a = 0 before the first step; a² only enters if centered
/// b  = μ b + d / (√(v - a²) + ε)
/// w -= lr b
/// ```
///
/// with the gradient `g` (`-g` to maximize), the learning rate `lr`, `α = 0.99`, `ε = 1e-8`, and, 0 unless given, the
/// momentum `μ` and the weight decay `λ`. `v - a²` is a variance; where rounding makes it negative, it is 0 (PyTorch
/// gives NaN there).
///
/// A parameter without a gradient is passed over; what is kept for it stays as it is.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::Param;
/// use tapegrad::optim::{Optimizer, RmsProp};
///
/// let w = Param::new(array![1.0]);
/// let mut rms_prop = RmsProp::new([&w], 0.5).with_alpha(0.75).with_eps(0.0);
/// w.accumulate_grad(&array![4.0].into_dyn());
/// rms_prop.step(); // v = 0.25 · 16 = 4: 1 - 0.5 · 4 / 2
/// assert_eq!(w.value()[[0]], 0.0);
/// ```
pub struct RmsProp<T> {
    parameters: Parameters<T, 3>,
    alpha: f64,
    eps: T,
    momentum: T,
    centered: bool,
}

impl<T: Scalar> RmsProp<T> {
    /// Returns an optimizer of these parameters: a slice, an array or an iterator, of handles or of references to them.
    /// A parameter that is given twice is updated once.
    ///
    /// # Panics
    ///
    /// If the learning rate is not a finite number of at least 0.
    #[track_caller]
    #[must_use]
    pub fn new(parameters: impl IntoIterator<Item: Borrow<Param<T>>>, learning_rate: T) -> Self {
        let parameters = Parameters::new("RmsProp", parameters, learning_rate);
        Self { parameters, alpha: 0.99, eps: T::from_f64(1e-8), momentum: T::ZERO, centered: false }
    }

    /// Returns the optimizer with this decay rate `α` of the averages. It is an `f64` whatever the weights are: of
    /// `1 - α`, digits would be lost in `f32`.
    ///
    /// # Panics
    ///
    /// If it is not from 0 to below 1.
    #[track_caller]
    #[must_use]
    pub fn with_alpha(mut self, alpha: f64) -> Self {
        self.alpha = self.parameters.fraction("an alpha", alpha);
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

    /// Returns the optimizer with this momentum `μ`.
    ///
    /// # Panics
    ///
    /// If it is not a finite number of at least 0.
    #[track_caller]
    #[must_use]
    pub fn with_momentum(mut self, momentum: T) -> Self {
        self.momentum = self.parameters.not_negative("a momentum", momentum);
        self
    }

    /// Returns the optimizer with the variance of the gradients in the divisor, in place of the mean of their squares.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Param;
    /// use tapegrad::optim::{Optimizer, RmsProp};
    ///
    /// let w = Param::new(array![1.0]);
    /// let mut rms_prop = RmsProp::new([&w], 0.5).with_alpha(0.5).with_eps(0.0).with_centered();
    /// w.accumulate_grad(&array![4.0].into_dyn());
    /// rms_prop.step(); // v = 8, a = 2: 1 - 0.5 · 4 / √(8 - 4)
    /// assert_eq!(w.value()[[0]], 0.0);
    /// ```
    #[must_use]
    pub fn with_centered(mut self) -> Self {
        self.centered = true;
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

impl<T: Scalar> Optimizer<T> for RmsProp<T> {
    fn step(&mut self) {
        let Self { ref mut parameters, alpha, eps, momentum, centered } = *self;
        let (lr, objective) = (parameters.learning_rate(), parameters.objective());
        let rule = Rule { alpha: T::from_f64(alpha), rest: T::from_f64(1.0 - alpha), eps };
        parameters.step(|weights, grad, state| match (centered, momentum == T::ZERO) {
            (false, true) => weights.update_1(
                grad,
                state.arrays(grad.len(), T::ZERO),
                #[inline(always)]
                move |w, g, [v]| {
                    let d = objective.gradient(w, g);
                    let v = rule.average(v, d * d);
                    (w - lr * rule.scaled(d, v), [v])
                },
            ),
            (true, true) => weights.update_2(
                grad,
                state.arrays(grad.len(), T::ZERO),
                #[inline(always)]
                move |w, g, [v, a]| {
                    let d = objective.gradient(w, g);
                    let [v, a] = [rule.average(v, d * d), rule.average(a, d)];
                    (w - lr * rule.scaled(d, variance(v, a)), [v, a])
                },
            ),
            (false, false) => weights.update_2(
                grad,
                state.arrays(grad.len(), T::ZERO),
                #[inline(always)]
                move |w, g, [v, b]| {
                    let d = objective.gradient(w, g);
                    let v = rule.average(v, d * d);
                    let b = momentum * b + rule.scaled(d, v);
                    (w - lr * b, [v, b])
                },
            ),
            (true, false) => weights.update_3(
                grad,
                state.arrays(grad.len(), T::ZERO),
                #[inline(always)]
                move |w, g, [v, a, b]| {
                    let d = objective.gradient(w, g);
                    let [v, a] = [rule.average(v, d * d), rule.average(a, d)];
                    let b = momentum * b + rule.scaled(d, variance(v, a));
                    (w - lr * b, [v, a, b])
                },
            ),
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

/// The numbers of a step.
#[derive(Clone, Copy)]
struct Rule<T> {
    alpha: T,
    /// `1 - α`
    rest: T,
    eps: T,
}

impl<T: Scalar> Rule<T> {
    #[inline(always)]
    fn average(self, average: T, new: T) -> T {
        self.alpha * average + self.rest * new
    }

    #[inline(always)]
    fn scaled(self, d: T, mean_square: T) -> T {
        d / (mean_square.sqrt() + self.eps)
    }
}

/// Returns `v - a²`; never negative but by rounding, and then 0.
#[inline(always)]
fn variance<T: Scalar>(v: T, a: T) -> T {
    (v - a * a).maximum(T::ZERO)
}

/// Prints the settings.
impl<T: Scalar> fmt::Debug for RmsProp<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { parameters, alpha, eps, momentum, centered } = self;
        parameters.describe(f, format_args!(", alpha {alpha}, eps {eps:e}, momentum {momentum}"))?;
        if *centered { write!(f, ", centered") } else { Ok(()) }
    }
}
