//! [`Adadelta`]: steps of the size of the earlier steps.

use std::borrow::Borrow;
use std::fmt;

use super::optimizer::Optimizer;
use super::param_group::{Layout, ParamGroup, eps_setting, shared_methods, shared_settings, stateful};
use crate::number::{Algebra, inlined};
use crate::param::Param;
use crate::scalar::Scalar;

/// Adadelta, as in `torch.optim.Adadelta` (Zeiler 2012, algorithm 1).
///
/// ```text
/// d  = g + λ w
/// v  = ρ v + (1 - ρ) d²                v = 0 before the first step
/// Δ  = √(u + ε) / √(v + ε) · d
/// u  = ρ u + (1 - ρ) Δ²                u = 0 before the first step
/// w -= lr Δ
/// ```
///
/// Here `g` is the gradient (`-g` to maximize) and `lr` the learning rate. Zeiler has none, which is a learning rate of 1.
/// By default `ρ` is 0.9, `ε` is 1e-6, and the weight decay `λ` (coupled) is 0.
///
/// A parameter without a gradient is skipped, and its `v` and `u` do not change.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::Param;
/// use tapegrad::optim::{Adadelta, Optimizer};
///
/// let w = Param::new(array![1.0]);
/// let mut adadelta = Adadelta::new([&w], 1.0).with_rho(0.5).with_eps(1.0);
/// w.accumulate_grad(&array![4.0].into_dyn());
/// adadelta.step(); // v = 8: Δ = √1 / √9 · 4
/// assert!((w.value()[[0]] - (1.0 - 4.0 / 3.0_f64)).abs() < 1e-15);
/// ```
pub struct Adadelta<T> {
    group: ParamGroup<T, 2>,
    rho: f64,
    eps: T,
}

impl<T: Scalar> Adadelta<T> {
    /// Returns an optimizer of these parameters. PyTorch's default for the learning rate is 1.
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
    /// See [`Adadelta`].
    #[track_caller]
    #[must_use]
    pub fn new(parameters: impl IntoIterator<Item: Borrow<Param<T>>>, learning_rate: T) -> Self {
        let group = ParamGroup::new("Adadelta", parameters, learning_rate);
        Self { group, rho: 0.9, eps: T::from_f64(1e-6) }
    }

    /// Returns the optimizer with this decay rate `ρ` of both averages.
    ///
    /// It is an `f64` for weights of any type: in `f32`, `1 - ρ` would lose digits.
    ///
    /// # Panics
    ///
    /// If it is below 0, or not below 1.
    ///
    /// # Example
    ///
    /// See [`Adadelta`].
    #[track_caller]
    #[must_use]
    pub fn with_rho(mut self, rho: f64) -> Self {
        self.rho = self.group.fraction("a rho", rho);
        self
    }

    eps_setting!();

    shared_settings!(Adadelta);

    fn layout(&self) -> Layout {
        Layout::arrays(&["square_avg", "acc_delta"])
    }
}

impl<T: Scalar> Optimizer<T> for Adadelta<T> {
    fn step(&mut self) {
        let Self { ref mut group, rho, eps } = *self;
        let (lr, objective) = (group.learning_rate(), group.objective());
        let (rho, rest) = (T::from_f64(rho), T::from_f64(1.0 - rho));
        group.step(|update, grad, state| {
            update.update_2(
                grad,
                state.arrays(grad.len(), T::ZERO),
                inlined!(|w, g, [v, u]| {
                    let d = objective.gradient(w, g);
                    let v = rho * v + rest * d * d;
                    let delta = (u + eps).sqrt() / (v + eps).sqrt() * d;
                    (w - lr * delta, [v, rho * u + rest * delta * delta])
                }),
            );
        });
    }

    shared_methods!();
}

stateful!(Adadelta);

/// Prints the settings.
impl<T: Scalar> fmt::Debug for Adadelta<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.group.describe(f, format_args!(", rho {}, eps {:e}", self.rho, self.eps))
    }
}
