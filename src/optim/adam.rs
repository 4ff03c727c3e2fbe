//! [`Adam`] and [`AdamW`]: the gradient's average, divided by the root of the average of its square.

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;

use super::optimizer::Optimizer;
use super::param_group::{Layout, Objective, ParamGroup, eps_setting, shared_methods, shared_settings, stateful};
use crate::number::{Algebra, inlined};
use crate::param::Param;
use crate::scalar::Scalar;

/// Adam, with the weight decay as part of the gradient (coupled): `torch.optim.Adam`. See [`AdamRule`] for formulas and
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
/// adam.step(); // m̂ = g, v̂ = g²: the first step is lr for a gradient of any size
/// assert!((w.value()[[0]] - 0.75_f64).abs() < 1e-15);
/// assert!((w.value()[[1]] - 1.25_f64).abs() < 1e-15);
/// ```
pub type Adam<T> = AdamRule<T, Coupled>;

/// Adam with the weight decay apart from the gradient (decoupled), 0.01 by default: `torch.optim.AdamW`. See
/// [`AdamRule`] for formulas and settings.
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
pub type AdamW<T> = AdamRule<T, Decoupled>;

/// The weight decay of [`Adam`]: part of the gradient.
///
/// # Example
///
/// See [`Adam`].
#[derive(Clone, Copy, Debug)]
pub enum Coupled {}

/// The weight decay of [`AdamW`]: apart from the gradient.
///
/// # Example
///
/// See [`AdamW`].
#[derive(Clone, Copy, Debug)]
pub enum Decoupled {}

/// Where the weight decay acts: [`Coupled`] or [`Decoupled`].
///
/// # Example
///
/// See [`Adam`] and [`AdamW`].
pub trait Decay: decay::Sealed {}

impl Decay for Coupled {}
impl Decay for Decoupled {}

mod decay {
    /// The differences between the two.
    pub trait Sealed {
        /// The optimizer's name, for messages.
        const NAME: &str;
        const DECOUPLED: bool;
        const DEFAULT: f64;
    }

    impl Sealed for super::Coupled {
        const NAME: &str = "Adam";
        const DECOUPLED: bool = false;
        const DEFAULT: f64 = 0.0;
    }

    impl Sealed for super::Decoupled {
        const NAME: &str = "AdamW";
        const DECOUPLED: bool = true;
        const DEFAULT: f64 = 0.01;
    }
}

/// [`Adam`] with the weight decay [`Coupled`], [`AdamW`] with the weight decay [`Decoupled`].
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
/// Here `lr` is the learning rate. The defaults are `β₁ = 0.9`, `β₂ = 0.999`, `ε = 1e-8`, and a weight decay `λ` of 0
/// for Adam and 0.01 for AdamW.
///
/// Sources: Kingma and Ba 2015, algorithm 1; Loshchilov and Hutter 2019, algorithm 2, for the decoupled decay; Reddi et
/// al. 2018 for amsgrad. As in PyTorch, amsgrad takes the maximum of `v` and then corrects it.
///
/// A parameter without a gradient is skipped: `w`, `m`, `v` and its own `t` do not change. AdamW does not shrink it.
///
/// # Example
///
/// See [`Adam`] and [`AdamW`].
pub struct AdamRule<T, D> {
    group: ParamGroup<T, 3>,
    betas: [f64; 2],
    eps: T,
    amsgrad: bool,
    decay: PhantomData<D>,
}

impl<T: Scalar, D: Decay> AdamRule<T, D> {
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
    /// use tapegrad::optim::Adam;
    ///
    /// let layer = Linear::<f32>::new(3, 2, &mut StdRng::seed_from_u64(0));
    /// let adam = Adam::new(layer.parameters(), 0.5);
    /// assert_eq!(format!("{adam:?}"), "Adam of 2 parameters, learning rate 0.5, betas 0.9 and 0.999, eps 1e-8");
    /// ```
    #[track_caller]
    #[must_use]
    pub fn new(parameters: impl IntoIterator<Item: Borrow<Param<T>>>, learning_rate: T) -> Self {
        let mut group = ParamGroup::new(D::NAME, parameters, learning_rate);
        group.set_weight_decay(T::from_f64(D::DEFAULT));
        Self { group, betas: [0.9, 0.999], eps: T::from_f64(1e-8), amsgrad: false, decay: PhantomData }
    }

    /// Returns the optimizer with these decay rates: `β₁` for the average of the gradient, `β₂` for the average of its
    /// square.
    ///
    /// They are `f64` for weights of any type: in `f32`, `1 - β₂` would lose four digits.
    ///
    /// # Panics
    ///
    /// If one is below 0, or not below 1.
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
        self.betas = [self.group.fraction("a beta1", beta1), self.group.fraction("a beta2", beta2)];
        self
    }

    eps_setting!();

    /// Returns the optimizer with amsgrad: the divisor uses the largest `v` so far.
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

    shared_settings!(Adam);

    fn layout(&self) -> Layout {
        Layout::arrays(match self.amsgrad {
            false => &["exp_avg", "exp_avg_sq"],
            true => &["exp_avg", "exp_avg_sq", "max_exp_avg_sq"],
        })
    }
}

impl<T: Scalar, D: Decay> Optimizer<T> for AdamRule<T, D> {
    fn step(&mut self) {
        let Self { ref mut group, betas: [beta1, beta2], eps, amsgrad, .. } = *self;
        let lr = group.learning_rate().to_f64();
        let (objective, keep) = group.objective_and_keep(D::DECOUPLED);
        group.step(|update, grad, state| {
            // The corrections are differences of numbers close to 1: computed in f64, rounded at the end.
            let correction = |beta| 1.0 - libm::pow(beta, state.step() as f64);
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
                false => update.update_2(
                    grad,
                    state.arrays(grad.len(), T::ZERO),
                    inlined!(|w, g, [m, v]| {
                        let [m, v] = rule.moments(w, g, m, v);
                        (rule.follow(w, m, v), [m, v])
                    }),
                ),
                true => update.update_3(
                    grad,
                    state.arrays(grad.len(), T::ZERO),
                    inlined!(|w, g, [m, v, largest]| {
                        let [m, v] = rule.moments(w, g, m, v);
                        let largest = largest.maximum(v);
                        (rule.follow(w, m, largest), [m, v, largest])
                    }),
                ),
            }
        });
    }

    shared_methods!();
}

/// The numbers of one step.
#[derive(Clone, Copy)]
struct Rule<T> {
    objective: Objective<T>,
    /// The factor of a weight: `1 - lr λ` with decoupled decay, else 1.
    keep: T,
    betas: [T; 2],
    /// `1 - β`
    rests: [T; 2],
    /// `lr / (1 - β₁ᵗ)`
    step_size: T,
    /// `1 / √(1 - β₂ᵗ)`
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

stateful!(AdamRule, D: Decay);

/// Prints the settings.
impl<T: Scalar, D: Decay> fmt::Debug for AdamRule<T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [beta1, beta2] = self.betas;
        self.group.describe(f, format_args!(", betas {beta1} and {beta2}, eps {:e}", self.eps))?;
        if self.amsgrad { write!(f, ", amsgrad") } else { Ok(()) }
    }
}
