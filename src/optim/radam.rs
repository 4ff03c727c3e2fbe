//! [`RAdam`]: Adam that divides by its root of squares only once it knows enough of them.

use std::borrow::Borrow;
use std::fmt;

use super::optimizer::Optimizer;
use super::param_group::{
    Layout, ParamGroup, betas_setting, decoupled_setting, eps_setting, shared_methods, shared_settings, stateful,
};
use crate::number::{Algebra, inlined};
use crate::param::Param;
use crate::scalar::Scalar;

/// RAdam, rectified Adam: `torch.optim.RAdam` (Liu et al. 2020, algorithm 2).
///
/// At step `t = 1, 2, …` of a parameter `w` with the gradient `g` (`-g` to maximize):
///
/// ```text
/// d  = g + λ w                          decoupled: d = g,  w = (1 - lr λ) w
/// m  = β₁ m + (1 - β₁) d                m = 0 before the first step
/// v  = β₂ v + (1 - β₂) d²               v = 0 before the first step
/// m̂  = m / (1 - β₁ᵗ)
/// ρ∞ = 2 / (1 - β₂) - 1                 ρₜ = ρ∞ - 2 t β₂ᵗ / (1 - β₂ᵗ)
/// r  = √( (ρₜ - 4)(ρₜ - 2) ρ∞ / ((ρ∞ - 4)(ρ∞ - 2) ρₜ) )
/// w -= lr m̂ r √(1 - β₂ᵗ) / (√v + ε)     if ρₜ > 5
/// w -= lr m̂                             else
/// ```
///
/// Here `lr` is the learning rate. The defaults are `β₁ = 0.9`, `β₂ = 0.999`, `ε = 1e-8`, and a weight decay `λ` of 0,
/// coupled. As in PyTorch, `ε` is added before the correction of `v`, and the limit for `ρₜ` is 5; in the paper it is 4.
///
/// A parameter without a gradient is skipped: `w`, `m`, `v` and its own `t` do not change.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::Param;
/// use tapegrad::optim::{Optimizer, RAdam};
///
/// let w = Param::new(array![1.0]);
/// let mut radam = RAdam::new([&w], 0.125);
/// w.accumulate_grad(&array![4.0].into_dyn());
/// radam.step(); // ρ₁ = 1: a step of gradient descent
/// assert!((w.value()[[0]] - 0.5_f64).abs() < 1e-15);
/// ```
pub struct RAdam<T> {
    group: ParamGroup<T, 2>,
    betas: [f64; 2],
    eps: T,
    decoupled: bool,
}

impl<T: Scalar> RAdam<T> {
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
    /// See [`RAdam`].
    #[track_caller]
    #[must_use]
    pub fn new(parameters: impl IntoIterator<Item: Borrow<Param<T>>>, learning_rate: T) -> Self {
        let group = ParamGroup::new("RAdam", parameters, learning_rate);
        Self { group, betas: [0.9, 0.999], eps: T::from_f64(1e-8), decoupled: false }
    }

    betas_setting!();

    eps_setting!();

    decoupled_setting!(RAdam);

    shared_settings!(RAdam);

    fn layout(&self) -> Layout {
        Layout::arrays(&["exp_avg", "exp_avg_sq"])
    }
}

/// Returns the factor of `1 / (√v + ε)`: `r √(1 - β₂ᵗ)`; none while too few squares are known.
fn rectification(beta2: f64, step: u64) -> Option<f64> {
    let power = libm::pow(beta2, step as f64);
    let limit = 2.0 / (1.0 - beta2) - 1.0;
    let length = limit - 2.0 * step as f64 * power / (1.0 - power);
    let squared = (length - 4.0) * (length - 2.0) * limit / ((limit - 4.0) * (limit - 2.0) * length);
    (length > 5.0).then(|| squared.sqrt() * (1.0 - power).sqrt())
}

impl<T: Scalar> Optimizer<T> for RAdam<T> {
    fn step(&mut self) {
        let Self { ref mut group, betas: [beta1, beta2], eps, decoupled } = *self;
        let lr = group.learning_rate().to_f64();
        let (objective, keep) = group.objective_and_keep(decoupled);
        let [b1, rest1, b2, rest2] = [beta1, 1.0 - beta1, beta2, 1.0 - beta2].map(T::from_f64);
        group.step(|update, grad, state| {
            let step_size = lr / (1.0 - libm::pow(beta1, state.step() as f64));
            let factor = rectification(beta2, state.step());
            let (rectified, size) = (factor.is_some(), T::from_f64(step_size * factor.unwrap_or(1.0)));
            update.update_2(
                grad,
                state.arrays(grad.len(), T::ZERO),
                inlined!(|w, g, [m, v]| {
                    let d = objective.gradient(w, g);
                    let (m, v) = (b1 * m + rest1 * d, b2 * v + rest2 * d * d);
                    let divisor = if rectified { v.sqrt() + eps } else { T::ONE };
                    (keep * w - size * m / divisor, [m, v])
                }),
            );
        });
    }

    shared_methods!();
}

stateful!(RAdam);

/// Prints the settings.
impl<T: Scalar> fmt::Debug for RAdam<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, betas: [beta1, beta2], eps, decoupled } = self;
        group.describe(f, format_args!(", betas {beta1} and {beta2}, eps {eps:e}"))?;
        if *decoupled { write!(f, ", decoupled") } else { Ok(()) }
    }
}
