//! [`Sgd`]: stochastic gradient descent.

use std::borrow::Borrow;
use std::fmt;

use super::Optimizer;
use crate::kernel::elementwise::zip_in_place;
use crate::param::Param;
use crate::scalar::Scalar;

/// Stochastic gradient descent, with momentum as PyTorch defines it.
///
/// ```text
/// v  = m v + g        v = g at the first step
/// w -= lr v
/// ```
///
/// with the gradient `g`, the momentum `m` (0 unless given) and the learning rate `lr`. A parameter without a gradient
/// is passed over, and its velocity `v` stays as it is.
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
    slots: Vec<Slot<T>>,
    learning_rate: T,
    momentum: T,
}

/// A parameter and its velocity, empty until the first step with momentum.
struct Slot<T> {
    parameter: Param<T>,
    velocity: Vec<T>,
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
        check("learning rate", learning_rate);
        let mut slots: Vec<Slot<T>> = Vec::new();
        for parameter in parameters {
            let parameter = parameter.borrow();
            if !slots.iter().any(|slot| slot.parameter.is(parameter)) {
                slots.push(Slot { parameter: parameter.clone(), velocity: Vec::new() });
            }
        }
        Self { slots, learning_rate, momentum: T::ZERO }
    }

    /// Returns the optimizer with this momentum.
    ///
    /// # Panics
    ///
    /// If the momentum is not a finite number of at least 0.
    #[track_caller]
    #[must_use]
    pub fn with_momentum(mut self, momentum: T) -> Self {
        check("momentum", momentum);
        self.momentum = momentum;
        self
    }

    /// Returns the momentum.
    #[must_use]
    pub fn momentum(&self) -> T {
        self.momentum
    }
}

impl<T: Scalar> Optimizer<T> for Sgd<T> {
    fn step(&mut self) {
        let (lr, m) = (self.learning_rate, self.momentum);
        for Slot { parameter, velocity } in &mut self.slots {
            parameter.step(|weights, grad| {
                let direction = if m == T::ZERO {
                    grad
                } else {
                    // Velocity 0 before the first step makes v = g there.
                    velocity.resize(grad.len(), T::ZERO);
                    zip_in_place(
                        velocity,
                        grad,
                        #[inline(always)]
                        move |v, g| m * v + g,
                    );
                    velocity
                };
                weights.map(
                    direction,
                    #[inline(always)]
                    move |w, v| w - lr * v,
                );
            });
        }
    }

    fn zero_grad(&mut self) {
        self.slots.iter().for_each(|slot| slot.parameter.zero_grad());
    }

    fn learning_rate(&self) -> T {
        self.learning_rate
    }

    fn set_learning_rate(&mut self, learning_rate: T) {
        check("learning rate", learning_rate);
        self.learning_rate = learning_rate;
    }
}

/// Checks a setting that must be finite and not negative.
#[track_caller]
fn check<T: Scalar>(setting: &str, value: T) {
    assert!(value.is_finite() && value >= T::ZERO, "Sgd: a {setting} of {value} is not a finite number of at least 0");
}

/// Prints the settings.
impl<T: Scalar> fmt::Debug for Sgd<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, lr, m) = (self.slots.len(), self.learning_rate, self.momentum);
        write!(f, "Sgd of {count} parameters, learning rate {lr}, momentum {m}")
    }
}
