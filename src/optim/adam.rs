//! [`Adam`] and [`AdamW`]: steps of a size that the gradient's own history sets.

use std::borrow::Borrow;
use std::fmt;

use super::Optimizer;
use super::parameters::{Objective, Parameters};
use crate::number::Algebra;
use crate::param::Param;
use crate::scalar::Scalar;

/// Adam, with the weight decay in the gradient (coupled): `torch.optim.Adam`. See [`AdamRule`] for formulas and
/// settings.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::Param;
/// use tapegrad::optim::{Adam, Optimizer};
///
/// let w = Param::new(array![1.0, 1.0]);
/// let mut adam = Adam::new([&w], 0.25).with_eps(0.0);
/// w.accumulate_grad(&array![100.0, -0.01].into_dyn());
/// adam.step(); // the first step is lr, whatever the size of the gradient: m̂ = g, v̂ = g²
/// assert!((w.value()[[0]] - 0.75_f64).abs() < 1e-15);
/// assert!((w.value()[[1]] - 1.25_f64).abs() < 1e-15);
/// ```
pub type Adam<T> = AdamRule<T, false>;

/// Adam with the weight decay beside the gradient (decoupled), 0.01 unless given: `torch.optim.AdamW`. See [`AdamRule`]
/// for formulas and settings.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::Param;
/// use tapegrad::optim::{AdamW, Optimizer};
///
/// let w = Param::new(array![2.0]);
/// let mut adamw = AdamW::new([&w], 0.5).with_weight_decay(0.25);
/// w.accumulate_grad(&array![0.0].into_dyn());
/// adamw.step(); // the gradient is 0; the weight shrinks: 2 (1 - 0.5 · 0.25)
/// assert_eq!(w.value()[[0]], 1.75);
/// ```
pub type AdamW<T> = AdamRule<T, true>;

/// [`Adam`] (not `DECOUPLED`) and [`AdamW`] (`DECOUPLED`).
///
/// At step `t = 1, 2, …` of a parameter `w` with the gradient `g` (`-g` to maximize):
///
/// ```text
/// Adam:   d = g + λ w          AdamW: d = g,  w = (1 - lr λ) w
/// m  = β₁ m + (1 - β₁) d       m = 0 before the first step
/// v  = β₂ v + (1 - β₂) d²      v = 0 before the first step
/// m̂  = m / (1 - β₁ᵗ)           the average of gradients, corrected for its start at 0
/// v̂  = v / (1 - β₂ᵗ)           amsgrad: of the largest v so far
/// w -= lr m̂ / (√v̂ + ε)
/// ```
///
/// with the learning rate `lr`, `β₁ = 0.9`, `β₂ = 0.999`, `ε = 1e-8`, and the weight decay `λ`, 0 for Adam and 0.01 for
/// AdamW unless given. Sources: Kingma and Ba 2015, algorithm 1; Loshchilov and Hutter 2019, algorithm 2, for the
/// decoupled decay; Reddi et al. 2018 for amsgrad, which here, as in PyTorch, corrects the maximum and does not take
/// the maximum of what was corrected.
///
/// A parameter without a gradient is passed over: `w`, `m`, `v` and its own count `t` stay as they are, and AdamW does
/// not shrink it.
pub struct AdamRule<T, const DECOUPLED: bool> {
    parameters: Parameters<T, 3>,
    betas: [f64; 2],
    eps: T,
    amsgrad: bool,
}

impl<T: Scalar, const DECOUPLED: bool> AdamRule<T, DECOUPLED> {
    const NAME: &str = if DECOUPLED { "AdamW" } else { "Adam" };

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
    /// use tapegrad::optim::Adam;
    ///
    /// let layer = Linear::<f32>::new(3, 2, &mut StdRng::seed_from_u64(0));
    /// let adam = Adam::new(layer.parameters(), 0.5);
    /// assert_eq!(format!("{adam:?}"), "Adam of 2 parameters, learning rate 0.5, betas 0.9 and 0.999, eps 1e-8");
    /// ```
    #[track_caller]
    #[must_use]
    pub fn new(parameters: impl IntoIterator<Item: Borrow<Param<T>>>, learning_rate: T) -> Self {
        let mut parameters = Parameters::new(Self::NAME, parameters, learning_rate);
        if DECOUPLED {
            parameters.set_weight_decay(T::from_f64(0.01));
        }
        Self { parameters, betas: [0.9, 0.999], eps: T::from_f64(1e-8), amsgrad: false }
    }

    /// Returns the optimizer with these decay rates `β₁` of the gradients' average and `β₂` of their squares' average.
    ///
    /// They are `f64` whatever the weights are: of `1 - β₂`, four digits would be lost in `f32`.
    ///
    /// # Panics
    ///
    /// If one is not from 0 to below 1.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Param;
    /// use tapegrad::optim::{Adam, Optimizer};
    ///
    /// let w = Param::new(array![1.0]);
    /// let mut adam = Adam::new([&w], 0.5).with_betas(0.0, 0.0).with_eps(2.0);
    /// w.accumulate_grad(&array![2.0].into_dyn());
    /// adam.step(); // m = 2, v = 4: 1 - 0.5 · 2 / (2 + 2)
    /// assert_eq!(w.value()[[0]], 0.75);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn with_betas(mut self, beta1: f64, beta2: f64) -> Self {
        self.betas = [self.parameters.fraction("a beta1", beta1), self.parameters.fraction("a beta2", beta2)];
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

    /// Returns the optimizer with this weight decay `λ`: in the gradient for [`Adam`], beside it for [`AdamW`].
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

    /// Returns the optimizer with amsgrad: the divisor takes the largest `v` so far.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Param;
    /// use tapegrad::optim::{Adam, Optimizer};
    ///
    /// let w = Param::new(array![0.0]);
    /// let mut adam = Adam::new([&w], 1.0).with_betas(0.0, 0.0).with_eps(0.0).with_amsgrad();
    /// w.accumulate_grad(&array![4.0].into_dyn());
    /// adam.step();
    /// assert_eq!(w.value()[[0]], -1.0);
    /// adam.zero_grad();
    /// w.accumulate_grad(&array![2.0].into_dyn());
    /// adam.step(); // the largest v is still 16: -1 - 2 / 4
    /// assert_eq!(w.value()[[0]], -1.5);
    /// ```
    #[must_use]
    pub fn with_amsgrad(mut self) -> Self {
        self.amsgrad = true;
        self
    }

    /// Returns the optimizer going uphill: it follows `-g`.
    #[must_use]
    pub fn with_maximize(mut self) -> Self {
        self.parameters.maximize();
        self
    }
}

impl<T: Scalar, const DECOUPLED: bool> Optimizer<T> for AdamRule<T, DECOUPLED> {
    fn step(&mut self) {
        let Self { ref mut parameters, betas: [beta1, beta2], eps, amsgrad } = *self;
        let (mut objective, mut keep, lr) = (parameters.objective(), T::ONE, parameters.learning_rate().to_f64());
        if DECOUPLED {
            let (weight_decay, gradient_alone) = objective.decoupled();
            (objective, keep) = (gradient_alone, T::from_f64(1.0 - lr * weight_decay.to_f64()));
        }
        parameters.step(|weights, grad, state| {
            // The corrections are differences of numbers close to 1: all in f64, rounded at the end.
            let correction = |beta| 1.0 - libm::pow(beta, state.step as f64);
            let rule = Rule {
                objective,
                keep,
                betas: [beta1, beta2].map(T::from_f64),
                rests: [1.0 - beta1, 1.0 - beta2].map(T::from_f64),
                step_size: T::from_f64(lr / correction(beta1)),
                scale: T::from_f64(1.0 / correction(beta2).sqrt()),
                eps,
            };
            match amsgrad {
                false => weights.update_2(
                    grad,
                    state.arrays(grad.len(), T::ZERO),
                    #[inline(always)]
                    move |w, g, [m, v]| {
                        let [m, v] = rule.moments(w, g, m, v);
                        (rule.follow(w, m, v), [m, v])
                    },
                ),
                true => weights.update_3(
                    grad,
                    state.arrays(grad.len(), T::ZERO),
                    #[inline(always)]
                    move |w, g, [m, v, largest]| {
                        let [m, v] = rule.moments(w, g, m, v);
                        let largest = largest.maximum(v);
                        (rule.follow(w, m, largest), [m, v, largest])
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

/// The numbers of one step.
#[derive(Clone, Copy)]
struct Rule<T> {
    objective: Objective<T>,
    /// What AdamW's decay leaves of a weight.
    keep: T,
    betas: [T; 2],
    /// `1 - β`
    rests: [T; 2],
    /// The learning rate, corrected for the start of `m`.
    step_size: T,
    /// The correction of `√v`.
    scale: T,
    eps: T,
}

impl<T: Scalar> Rule<T> {
    #[inline(always)]
    fn moments(self, w: T, g: T, m: T, v: T) -> [T; 2] {
        let ([beta1, beta2], [rest1, rest2]) = (self.betas, self.rests);
        let d = self.objective.gradient(w, g);
        [beta1 * m + rest1 * d, beta2 * v + rest2 * d * d]
    }

    #[inline(always)]
    fn follow(self, w: T, m: T, v: T) -> T {
        self.keep * w - self.step_size * m / (v.sqrt() * self.scale + self.eps)
    }
}

/// Prints the settings.
impl<T: Scalar, const DECOUPLED: bool> fmt::Debug for AdamRule<T, DECOUPLED> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [beta1, beta2] = self.betas;
        self.parameters.describe(f, format_args!(", betas {beta1} and {beta2}, eps {:e}", self.eps))?;
        if self.amsgrad { write!(f, ", amsgrad") } else { Ok(()) }
    }
}
