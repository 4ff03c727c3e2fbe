//! [`NAdam`]: Adam with Nesterov's momentum.

use std::borrow::Borrow;
use std::fmt;

use super::optimizer::Optimizer;
use super::param_group::{
    Layout, ParamGroup, betas_setting, decoupled_setting, eps_setting, shared_methods, shared_settings, stateful,
};
use crate::number::{Algebra, inlined};
use crate::param::Param;
use crate::scalar::Scalar;

/// NAdam, Adam with Nesterov's momentum: `torch.optim.NAdam` (Dozat 2016).
///
/// At step `t = 1, 2, …` of a parameter `w` with the gradient `g` (`-g` to maximize):
///
/// ```text
/// d  = g + λ w                       decoupled: d = g,  w = (1 - lr λ) w
/// μₜ = β₁ (1 - 0.5 · 0.96^(t ψ))     the momentum of step t
/// Mₜ = μ₁ μ₂ … μₜ
/// m  = β₁ m + (1 - β₁) d             m = 0 before the first step
/// v  = β₂ v + (1 - β₂) d²            v = 0 before the first step
/// m̂  = (1 - μₜ) / (1 - Mₜ) d + μₜ₊₁ / (1 - Mₜ₊₁) m
/// v̂  = v / (1 - β₂ᵗ)
/// w -= lr m̂ / (√v̂ + ε)
/// ```
///
/// Here `lr` is the learning rate; PyTorch's default is 2e-3. The defaults are `β₁ = 0.9`, `β₂ = 0.999`, `ε = 1e-8`, a
/// momentum decay `ψ` of 4e-3, and a weight decay `λ` of 0, coupled.
///
/// A parameter without a gradient is skipped: `w`, `m`, `v`, `M` and its own `t` do not change.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::Param;
/// use tapegrad::optim::{NAdam, Optimizer};
///
/// let w = Param::new(array![1.0]);
/// let mut nadam = NAdam::new([&w], 0.5).with_betas(0.0, 0.5).with_eps(0.0);
/// w.accumulate_grad(&array![3.0].into_dyn());
/// nadam.step(); // without momentum m̂ = g, and v̂ = g²
/// assert!((w.value()[[0]] - 0.5_f64).abs() < 1e-15);
/// ```
pub struct NAdam<T> {
    group: ParamGroup<T, 2>,
    betas: [f64; 2],
    eps: T,
    momentum_decay: f64,
    decoupled: bool,
}

impl<T: Scalar> NAdam<T> {
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
    /// See [`NAdam`].
    #[track_caller]
    #[must_use]
    pub fn new(parameters: impl IntoIterator<Item: Borrow<Param<T>>>, learning_rate: T) -> Self {
        let group = ParamGroup::new("NAdam", parameters, learning_rate);
        Self { group, betas: [0.9, 0.999], eps: T::from_f64(1e-8), momentum_decay: 4e-3, decoupled: false }
    }

    betas_setting!();

    /// Returns the optimizer with this momentum decay `ψ`: how soon the momentum rises from `β₁ / 2` to `β₁`.
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
    /// use tapegrad::optim::{NAdam, Optimizer};
    ///
    /// let w = Param::new(array![1.0]);
    /// let mut nadam = NAdam::new([&w], 0.5).with_momentum_decay(0.1);
    /// w.accumulate_grad(&array![3.0].into_dyn());
    /// nadam.step();
    /// assert!(w.value()[[0]] < 1.0_f64);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn with_momentum_decay(mut self, decay: f64) -> Self {
        self.group.not_negative("a momentum decay", T::from_f64(decay));
        self.momentum_decay = decay;
        self
    }

    eps_setting!();

    decoupled_setting!(NAdam);

    shared_settings!(NAdam);

    fn layout(&self) -> Layout {
        Layout { arrays: &["exp_avg", "exp_avg_sq"], product: Some("mu_product") }
    }
}

impl<T: Scalar> Optimizer<T> for NAdam<T> {
    fn step(&mut self) {
        let Self { ref mut group, betas: [beta1, beta2], eps, momentum_decay, decoupled } = *self;
        let lr = group.learning_rate().to_f64();
        let (objective, keep) = group.objective_and_keep(decoupled);
        let [b1, rest1, b2, rest2] = [beta1, 1.0 - beta1, beta2, 1.0 - beta2].map(T::from_f64);
        let momentum = |step: u64| beta1 * (1.0 - 0.5 * libm::pow(0.96, step as f64 * momentum_decay));
        group.step(|update, grad, state| {
            let step = state.step();
            let (mu, next) = (momentum(step), momentum(step + 1));
            let product = state.multiply(mu);
            // The corrections are differences of numbers close to 1: computed in f64, rounded at the end.
            let of_gradient = T::from_f64(lr * (1.0 - mu) / (1.0 - product));
            let of_average = T::from_f64(lr * next / (1.0 - product * next));
            let correction = T::from_f64(1.0 - libm::pow(beta2, step as f64));
            update.update_2(
                grad,
                state.arrays(grad.len(), T::ZERO),
                inlined!(|w, g, [m, v]| {
                    let d = objective.gradient(w, g);
                    let (m, v) = (b1 * m + rest1 * d, b2 * v + rest2 * d * d);
                    let divisor = (v / correction).sqrt() + eps;
                    (keep * w - (of_gradient * d + of_average * m) / divisor, [m, v])
                }),
            );
        });
    }

    shared_methods!();
}

stateful!(NAdam);

/// Prints the settings.
impl<T: Scalar> fmt::Debug for NAdam<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, betas: [beta1, beta2], eps, momentum_decay, decoupled } = self;
        group.describe(f, format_args!(", betas {beta1} and {beta2}, eps {eps:e}, momentum decay {momentum_decay}"))?;
        if *decoupled { write!(f, ", decoupled") } else { Ok(()) }
    }
}
