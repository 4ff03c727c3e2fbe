//! [`RmsProp`]: the gradient, divided by the root of the average of its square.

use std::borrow::Borrow;
use std::fmt;

use super::optimizer::Optimizer;
use super::param_group::{Layout, ParamGroup, eps_setting, shared_methods, shared_settings, stateful};
use crate::number::{Algebra, inlined};
use crate::param::Param;
use crate::scalar::Scalar;

/// RMSprop, as in `torch.optim.RMSprop` (Tieleman and Hinton 2012; centered: Graves 2013).
///
/// ```text
/// d  = g + λ w
/// v  = α v + (1 - α) d²         v = 0 before the first step
/// a  = α a + (1 - α) d          a = 0 before the first step; without centering a is not used
/// b  = μ b + d / (√(v - a²) + ε)
/// w -= lr b
/// ```
///
/// Here `g` is the gradient (`-g` to maximize) and `lr` the learning rate. By default `α` is 0.99 and `ε` is 1e-8; the
/// momentum `μ` and the weight decay `λ` (coupled) are 0. `v - a²` is a variance: a negative one, the result of
/// rounding, counts as 0. PyTorch gives NaN there.
///
/// A parameter without a gradient is skipped, and its `v`, `a` and `b` do not change.
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
    group: ParamGroup<T, 3>,
    alpha: f64,
    eps: T,
    momentum: T,
    centered: bool,
}

impl<T: Scalar> RmsProp<T> {
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
    /// See [`RmsProp`].
    #[track_caller]
    #[must_use]
    pub fn new(parameters: impl IntoIterator<Item: Borrow<Param<T>>>, learning_rate: T) -> Self {
        let group = ParamGroup::new("RmsProp", parameters, learning_rate);
        Self { group, alpha: 0.99, eps: T::from_f64(1e-8), momentum: T::ZERO, centered: false }
    }

    /// Returns the optimizer with this decay rate `α` of the averages.
    ///
    /// It is an `f64` for weights of any type: in `f32`, `1 - α` would lose digits.
    ///
    /// # Panics
    ///
    /// If it is below 0, or not below 1.
    ///
    /// # Example
    ///
    /// See [`with_centered`](Self::with_centered).
    #[track_caller]
    #[must_use]
    pub fn with_alpha(mut self, alpha: f64) -> Self {
        self.alpha = self.group.fraction("an alpha", alpha);
        self
    }

    eps_setting!();

    /// Returns the optimizer with this momentum `μ`.
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
    /// use tapegrad::optim::{Optimizer, RmsProp};
    ///
    /// let w = Param::new(array![0.0]);
    /// let mut rms_prop = RmsProp::new([&w], 1.0).with_alpha(0.0).with_eps(0.0).with_momentum(0.5);
    /// w.accumulate_grad(&array![4.0].into_dyn());
    /// rms_prop.step(); // g / √v = 1
    /// rms_prop.step(); // 0.5 · 1 + 1
    /// assert_eq!(w.value()[[0]], -2.5);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn with_momentum(mut self, momentum: T) -> Self {
        self.momentum = self.group.not_negative("a momentum", momentum);
        self
    }

    /// Returns the optimizer that divides by the root of the gradient's variance, `v - a²`, instead of `√v`.
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

    shared_settings!(RmsProp);

    fn layout(&self) -> Layout {
        Layout::arrays(match (self.centered, self.momentum == T::ZERO) {
            (false, true) => &["square_avg"],
            (true, true) => &["square_avg", "grad_avg"],
            (false, false) => &["square_avg", "momentum_buffer"],
            (true, false) => &["square_avg", "grad_avg", "momentum_buffer"],
        })
    }
}

impl<T: Scalar> Optimizer<T> for RmsProp<T> {
    fn step(&mut self) {
        let Self { ref mut group, alpha, eps, momentum, centered } = *self;
        let (lr, objective) = (group.learning_rate(), group.objective());
        let rule = Rule { alpha: T::from_f64(alpha), rest: T::from_f64(1.0 - alpha), eps };
        group.step(|update, grad, state| match (centered, momentum == T::ZERO) {
            (false, true) => update.update_1(
                grad,
                state.arrays(grad.len(), T::ZERO),
                inlined!(|w, g, [v]| {
                    let d = objective.gradient(w, g);
                    let v = rule.average(v, d * d);
                    (w - lr * rule.scaled(d, v), [v])
                }),
            ),
            (true, true) => update.update_2(
                grad,
                state.arrays(grad.len(), T::ZERO),
                inlined!(|w, g, [v, a]| {
                    let d = objective.gradient(w, g);
                    let [v, a] = [rule.average(v, d * d), rule.average(a, d)];
                    (w - lr * rule.scaled(d, variance(v, a)), [v, a])
                }),
            ),
            (false, false) => update.update_2(
                grad,
                state.arrays(grad.len(), T::ZERO),
                inlined!(|w, g, [v, b]| {
                    let d = objective.gradient(w, g);
                    let v = rule.average(v, d * d);
                    let b = momentum * b + rule.scaled(d, v);
                    (w - lr * b, [v, b])
                }),
            ),
            (true, false) => update.update_3(
                grad,
                state.arrays(grad.len(), T::ZERO),
                inlined!(|w, g, [v, a, b]| {
                    let d = objective.gradient(w, g);
                    let [v, a] = [rule.average(v, d * d), rule.average(a, d)];
                    let b = momentum * b + rule.scaled(d, variance(v, a));
                    (w - lr * b, [v, a, b])
                }),
            ),
        });
    }

    shared_methods!();
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

/// Returns `v - a²`. Rounding may make it negative; then it is 0.
#[inline(always)]
fn variance<T: Scalar>(v: T, a: T) -> T {
    (v - a * a).maximum(T::ZERO)
}

stateful!(RmsProp);

/// Prints the settings.
impl<T: Scalar> fmt::Debug for RmsProp<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, alpha, eps, momentum, centered } = self;
        group.describe(f, format_args!(", alpha {alpha}, eps {eps:e}, momentum {momentum}"))?;
        if *centered { write!(f, ", centered") } else { Ok(()) }
    }
}
