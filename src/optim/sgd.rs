//! [`Sgd`]: stochastic gradient descent.

use std::borrow::Borrow;
use std::fmt;

use super::optimizer::Optimizer;
use super::param_group::{Layout, ParamGroup, shared_methods, shared_settings, stateful};
use crate::number::inlined;
use crate::param::Param;
use crate::scalar::Scalar;

/// Stochastic gradient descent, with momentum as PyTorch defines it.
///
/// ```text
/// d  = g + λ w
/// v  = m v + (1 - τ) d        v = d at the first step
/// w -= lr v                   Nesterov: w -= lr (d + m v)
/// ```
///
/// Here `g` is the gradient (`-g` to maximize) and `lr` the learning rate. The momentum `m`, the dampening `τ` and the
/// weight decay `λ` (coupled) are 0 by default. Without momentum `v = d`. The formula is that of `torch.optim.SGD`:
/// after Sutskever et al. 2013, with the learning rate outside the velocity.
///
/// A parameter without a gradient is skipped, and its velocity `v` does not change.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::Param;
/// use tapegrad::optim::{Optimizer, Sgd};
///
/// let w = Param::new(array![10.0]);
/// let mut sgd = Sgd::new([&w], 0.5).with_momentum(0.5);
/// w.accumulate_grad(&array![2.0].into_dyn());
/// sgd.step(); // v = 2
/// assert_eq!(w.value()[[0]], 9.0);
/// sgd.step(); // v = 0.5 · 2 + 2 = 3
/// assert_eq!(w.value()[[0]], 7.5);
/// ```
pub struct Sgd<T> {
    group: ParamGroup<T, 1>,
    momentum: T,
    dampening: T,
    nesterov: bool,
}

impl<T: Scalar> Sgd<T> {
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
    /// ```
    /// use rand::{SeedableRng, rngs::StdRng};
    /// use tapegrad::nn::{Linear, Module};
    /// use tapegrad::optim::{Optimizer, Sgd};
    ///
    /// let layer = Linear::<f32>::new(3, 2, &mut StdRng::seed_from_u64(0));
    /// let sgd = Sgd::new(layer.parameters(), 0.5);
    /// assert_eq!(sgd.learning_rate(), 0.5);
    /// assert_eq!(format!("{sgd:?}"), "Sgd of 2 parameters, learning rate 0.5, momentum 0");
    /// ```
    #[track_caller]
    #[must_use]
    pub fn new(parameters: impl IntoIterator<Item: Borrow<Param<T>>>, learning_rate: T) -> Self {
        let group = ParamGroup::new("Sgd", parameters, learning_rate);
        Self { group, momentum: T::ZERO, dampening: T::ZERO, nesterov: false }
    }

    /// Returns the optimizer with this momentum `m`: the fraction of the velocity that the next step keeps.
    ///
    /// # Panics
    ///
    /// If the momentum is not a finite number of at least 0, or if it is 0 with Nesterov's rule.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Param;
    /// use tapegrad::optim::{Optimizer, Sgd};
    ///
    /// let w = Param::new(array![10.0]);
    /// let mut sgd = Sgd::new([&w], 1.0).with_momentum(0.5);
    /// w.accumulate_grad(&array![2.0].into_dyn());
    /// sgd.step(); // v = 2
    /// sgd.step(); // v = 0.5 · 2 + 2 = 3
    /// assert_eq!(w.value()[[0]], 5.0);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn with_momentum(mut self, momentum: T) -> Self {
        self.momentum = self.group.not_negative("a momentum", momentum);
        self.checked()
    }

    /// Returns the optimizer with this dampening `τ`: the gradient enters the velocity with the factor `1 - τ`. The
    /// first velocity is the first gradient, without dampening, as in PyTorch.
    ///
    /// # Panics
    ///
    /// If the dampening is not a finite number, or if it is not 0 with Nesterov's rule.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Param;
    /// use tapegrad::optim::{Optimizer, Sgd};
    ///
    /// let w = Param::new(array![10.0]);
    /// let mut sgd = Sgd::new([&w], 1.0).with_momentum(0.5).with_dampening(0.75);
    /// w.accumulate_grad(&array![2.0].into_dyn());
    /// sgd.step(); // v = 2
    /// assert_eq!(w.value()[[0]], 8.0);
    /// sgd.step(); // v = 0.5 · 2 + 0.25 · 2 = 1.5
    /// assert_eq!(w.value()[[0]], 6.5);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn with_dampening(mut self, dampening: T) -> Self {
        self.dampening = self.group.finite("a dampening", dampening);
        self.checked()
    }

    /// Returns the optimizer with Nesterov's rule: a step follows `d + m v` with the new velocity `v`, which applies
    /// the momentum one step ahead.
    ///
    /// # Panics
    ///
    /// If the momentum is 0 (set it first), or the dampening is not.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Param;
    /// use tapegrad::optim::{Optimizer, Sgd};
    ///
    /// let w = Param::new(array![10.0]);
    /// let mut sgd = Sgd::new([&w], 0.5).with_momentum(0.5).with_nesterov();
    /// w.accumulate_grad(&array![2.0].into_dyn());
    /// sgd.step(); // v = 2, w -= 0.5 (2 + 0.5 · 2)
    /// assert_eq!(w.value()[[0]], 8.5);
    /// sgd.step(); // v = 3, w -= 0.5 (2 + 0.5 · 3)
    /// assert_eq!(w.value()[[0]], 6.75);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn with_nesterov(mut self) -> Self {
        self.nesterov = true;
        self.checked()
    }

    shared_settings!(Sgd);

    fn layout(&self) -> Layout {
        Layout::arrays(if self.momentum == T::ZERO { &[] } else { &["momentum_buffer"] })
    }

    /// Returns the momentum.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Param;
    /// use tapegrad::optim::Sgd;
    ///
    /// assert_eq!(Sgd::new([Param::new(array![1.0])], 0.1).with_momentum(0.9).momentum(), 0.9);
    /// ```
    #[must_use]
    pub fn momentum(&self) -> T {
        self.momentum
    }

    /// Checks that the settings fit each other.
    #[track_caller]
    fn checked(self) -> Self {
        let Self { momentum, dampening, nesterov, .. } = self;
        assert!(
            !nesterov || momentum > T::ZERO && dampening == T::ZERO,
            "Sgd: Nesterov's rule needs a momentum greater than 0, given before it, and no dampening; \
             found momentum {momentum}, dampening {dampening}"
        );
        self
    }
}

impl<T: Scalar> Optimizer<T> for Sgd<T> {
    fn step(&mut self) {
        let (lr, m, nesterov) = (self.group.learning_rate(), self.momentum, self.nesterov);
        let (damped, objective) = (T::ONE - self.dampening, self.group.objective());
        self.group.step(|update, grad, state| {
            // Velocity 0 before the first step makes v = d there.
            let share = if state.is_new() { T::ONE } else { damped };
            // The two common cases have a loop of their own, without the general case's terms.
            match (m == T::ZERO, objective.is_plain() && share == T::ONE && !nesterov) {
                (true, true) => update.map(grad, inlined!(|w, g| w - lr * g)),
                (true, false) => update.map(grad, inlined!(|w, g| w - lr * objective.gradient(w, g))),
                (false, true) => update.update_1(
                    grad,
                    state.arrays(grad.len(), T::ZERO),
                    inlined!(|w, g, [v]| {
                        let v = m * v + g;
                        (w - lr * v, [v])
                    }),
                ),
                (false, false) => update.update_1(
                    grad,
                    state.arrays(grad.len(), T::ZERO),
                    inlined!(|w, g, [v]| {
                        let d = objective.gradient(w, g);
                        let v = m * v + share * d;
                        (w - lr * if nesterov { d + m * v } else { v }, [v])
                    }),
                ),
            }
        });
    }

    shared_methods!();
}

stateful!(Sgd);

/// Prints the settings.
impl<T: Scalar> fmt::Debug for Sgd<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.group.describe(f, format_args!(", momentum {}", self.momentum))?;
        if self.dampening != T::ZERO {
            write!(f, ", dampening {}", self.dampening)?;
        }
        if self.nesterov { write!(f, ", Nesterov") } else { Ok(()) }
    }
}
