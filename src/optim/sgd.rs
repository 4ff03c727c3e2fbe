//! [`Sgd`]: stochastic gradient descent.

use std::borrow::Borrow;
use std::fmt;

use super::Optimizer;
use super::parameters::Parameters;
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
/// with the gradient `g` (`-g` to maximize), the learning rate `lr`, and, all 0 unless given, the momentum `m`, the
/// dampening `τ` and the weight decay `λ`. Without momentum `v = d`. The formula is that of `torch.optim.SGD` (there
/// after Sutskever et al. 2013, with the learning rate outside the velocity).
///
/// A parameter without a gradient is passed over, and its velocity `v` stays as it is.
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
    parameters: Parameters<T, 1>,
    momentum: T,
    dampening: T,
    nesterov: bool,
}

impl<T: Scalar> Sgd<T> {
    /// Returns an optimizer of these parameters: a slice, an array or an iterator, of handles or of references to them.
    /// A parameter that is given twice is updated once.
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
        let parameters = Parameters::new("Sgd", parameters, learning_rate);
        Self { parameters, momentum: T::ZERO, dampening: T::ZERO, nesterov: false }
    }

    /// Returns the optimizer with this momentum `m`: the share of the velocity that the next step keeps.
    ///
    /// # Panics
    ///
    /// If the momentum is not a finite number of at least 0, or 0 with Nesterov's rule.
    #[track_caller]
    #[must_use]
    pub fn with_momentum(mut self, momentum: T) -> Self {
        self.momentum = self.parameters.not_negative("a momentum", momentum);
        self.checked()
    }

    /// Returns the optimizer with this dampening `τ`, by which the gradient enters the velocity with less weight. The
    /// first gradient is the first velocity, undampened, as in PyTorch.
    ///
    /// # Panics
    ///
    /// If the dampening is not a finite number, or not 0 with Nesterov's rule.
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
        self.dampening = self.parameters.finite("a dampening", dampening);
        self.checked()
    }

    /// Returns the optimizer with this weight decay `λ`: the gradient of `λ/2 ‖w‖²` joins that of the loss (coupled).
    ///
    /// # Panics
    ///
    /// If the weight decay is not a finite number of at least 0.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Param;
    /// use tapegrad::optim::{Optimizer, Sgd};
    ///
    /// let w = Param::new(array![8.0]);
    /// let mut sgd = Sgd::new([&w], 0.5).with_weight_decay(0.25);
    /// w.accumulate_grad(&array![2.0].into_dyn());
    /// sgd.step(); // 8 - 0.5 (2 + 0.25 · 8)
    /// assert_eq!(w.value()[[0]], 6.0);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn with_weight_decay(mut self, weight_decay: T) -> Self {
        self.parameters.set_weight_decay(weight_decay);
        self
    }

    /// Returns the optimizer with Nesterov's rule: it follows the gradient and the velocity that comes of it, as if it
    /// looked one step ahead.
    ///
    /// # Panics
    ///
    /// If there is no momentum yet, or a dampening.
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

    /// Returns the optimizer going uphill: it follows `-g`.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Param;
    /// use tapegrad::optim::{Optimizer, Sgd};
    ///
    /// let w = Param::new(array![1.0]);
    /// let mut sgd = Sgd::new([&w], 0.5).with_maximize();
    /// w.accumulate_grad(&array![2.0].into_dyn());
    /// sgd.step();
    /// assert_eq!(w.value()[[0]], 2.0);
    /// ```
    #[must_use]
    pub fn with_maximize(mut self) -> Self {
        self.parameters.maximize();
        self
    }

    /// Returns the momentum.
    #[must_use]
    pub fn momentum(&self) -> T {
        self.momentum
    }

    /// Checks the settings that exclude each other.
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
        let (lr, m, nesterov) = (self.parameters.learning_rate(), self.momentum, self.nesterov);
        let (damped, objective) = (T::ONE - self.dampening, self.parameters.objective());
        self.parameters.step(|weights, grad, state| {
            // Velocity 0 before the first step makes v = d there.
            let share = if state.is_new() { T::ONE } else { damped };
            // The two usual cases have a loop that computes nothing else.
            match (m == T::ZERO, objective.is_plain() && share == T::ONE && !nesterov) {
                (true, true) => weights.map(
                    grad,
                    #[inline(always)]
                    move |w, g| w - lr * g,
                ),
                (true, false) => weights.map(
                    grad,
                    #[inline(always)]
                    move |w, g| w - lr * objective.gradient(w, g),
                ),
                (false, true) => weights.update_1(
                    grad,
                    state.arrays(grad.len(), T::ZERO),
                    #[inline(always)]
                    move |w, g, [v]| {
                        let v = m * v + g;
                        (w - lr * v, [v])
                    },
                ),
                (false, false) => weights.update_1(
                    grad,
                    state.arrays(grad.len(), T::ZERO),
                    #[inline(always)]
                    move |w, g, [v]| {
                        let d = objective.gradient(w, g);
                        let v = m * v + share * d;
                        (w - lr * if nesterov { d + m * v } else { v }, [v])
                    },
                ),
            }
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
impl<T: Scalar> fmt::Debug for Sgd<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parameters.describe(f, format_args!(", momentum {}", self.momentum))?;
        if self.dampening != T::ZERO {
            write!(f, ", dampening {}", self.dampening)?;
        }
        if self.nesterov { write!(f, ", Nesterov") } else { Ok(()) }
    }
}
