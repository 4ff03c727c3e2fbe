//! [`ParamGroup`]: what every optimizer has, and the macros that write the methods every optimizer has.

use std::borrow::Borrow;
use std::fmt;

use crate::kernel::update::ParamUpdate;
use crate::number::Classify;
use crate::param::Param;
use crate::scalar::Scalar;

/// The distinct parameters of an optimizer, each with its state, and the settings that all optimizers share.
pub(super) struct ParamGroup<T, const N: usize> {
    /// The optimizer's name, for messages.
    name: &'static str,
    slots: Vec<Slot<T, N>>,
    learning_rate: T,
    objective: Objective<T>,
}

struct Slot<T, const N: usize> {
    parameter: Param<T>,
    state: State<T, N>,
}

/// An optimizer's state for one parameter.
pub(super) struct State<T, const N: usize> {
    step: u64,
    arrays: [Vec<T>; N],
}

/// The direction of the optimization, down or up, and the weight decay.
#[derive(Clone, Copy)]
pub(super) struct Objective<T> {
    sign: T,
    weight_decay: T,
}

impl<T: Scalar, const N: usize> ParamGroup<T, N> {
    /// Returns a group for an optimizer of this name.
    #[track_caller]
    pub(super) fn new(
        name: &'static str,
        parameters: impl IntoIterator<Item: Borrow<Param<T>>>,
        learning_rate: T,
    ) -> Self {
        let mut slots: Vec<Slot<T, N>> = Vec::new();
        for parameter in parameters {
            let parameter = parameter.borrow();
            if !slots.iter().any(|slot| slot.parameter.is(parameter)) {
                let state = State { step: 0, arrays: [const { Vec::new() }; N] };
                slots.push(Slot { parameter: parameter.clone(), state });
            }
        }
        let objective = Objective { sign: T::ONE, weight_decay: T::ZERO };
        let mut new = Self { name, slots, learning_rate: T::ZERO, objective };
        new.set_learning_rate(learning_rate);
        new
    }

    /// Calls the rule for each parameter that has a gradient.
    pub(super) fn step(&mut self, rule: impl Fn(ParamUpdate<'_, T>, &[T], &mut State<T, N>)) {
        for Slot { parameter, state } in &mut self.slots {
            parameter.step(|update, grad| {
                state.step += 1;
                rule(update, grad, state);
            });
        }
    }

    pub(super) fn zero_grad(&self) {
        self.slots.iter().for_each(|slot| slot.parameter.zero_grad());
    }

    pub(super) fn learning_rate(&self) -> T {
        self.learning_rate
    }

    #[track_caller]
    pub(super) fn set_learning_rate(&mut self, learning_rate: T) {
        self.learning_rate = self.not_negative("a learning rate", learning_rate);
    }

    pub(super) fn objective(&self) -> Objective<T> {
        self.objective
    }

    pub(super) fn maximize(&mut self) {
        self.objective.sign = -T::ONE;
    }

    #[track_caller]
    pub(super) fn set_weight_decay(&mut self, weight_decay: T) {
        self.objective.weight_decay = self.not_negative("a weight decay", weight_decay);
    }

    /// Returns a setting that must be finite.
    #[track_caller]
    pub(super) fn finite(&self, setting: &str, value: T) -> T {
        assert!(value.is_finite(), "{}: {setting} of {value} is not a finite number", self.name);
        value
    }

    /// Returns a setting that must be finite and not negative.
    #[track_caller]
    pub(super) fn not_negative(&self, setting: &str, value: T) -> T {
        check_not_negative(self.name, setting, value)
    }

    /// Returns a setting that must be at least 0 and below 1.
    #[track_caller]
    pub(super) fn fraction(&self, setting: &str, value: f64) -> f64 {
        assert!((0.0..1.0).contains(&value), "{}: {setting} of {value} is not from 0 to below 1", self.name);
        value
    }

    /// Writes name, number of parameters and learning rate, then `settings`, then the shared settings that are not at
    /// their defaults.
    pub(super) fn describe(&self, f: &mut fmt::Formatter<'_>, settings: fmt::Arguments<'_>) -> fmt::Result {
        let (name, count, lr, Objective { sign, weight_decay }) =
            (self.name, self.slots.len(), self.learning_rate, self.objective);
        write!(f, "{name} of {count} parameters, learning rate {lr}{settings}")?;
        if weight_decay != T::ZERO {
            write!(f, ", weight decay {weight_decay}")?;
        }
        if sign < T::ZERO { write!(f, ", maximizing") } else { Ok(()) }
    }
}

impl<T: Scalar, const N: usize> State<T, N> {
    /// Returns the number of steps that the parameter took part in, this one included.
    pub(super) fn step(&self) -> u64 {
        self.step
    }

    /// Returns the first `USED` arrays, of the parameter's `length`. New elements are `initial`.
    pub(super) fn arrays<const USED: usize>(&mut self, length: usize, initial: T) -> [&mut [T]; USED] {
        let arrays = self.arrays.first_chunk_mut().expect("an optimizer uses at most its own number of arrays");
        arrays.each_mut().map(|array| {
            array.resize(length, initial);
            array.as_mut_slice()
        })
    }

    /// Returns true before the first use of an array.
    pub(super) fn is_new(&self) -> bool {
        self.arrays.iter().all(Vec::is_empty)
    }
}

impl<T: Scalar> Objective<T> {
    /// Returns the gradient to descend: `g + λ w`, or `-g + λ w` to maximize.
    #[inline(always)]
    pub(super) fn gradient(self, w: T, g: T) -> T {
        let g = self.sign * g;
        // With `λ = 0` an infinite weight must not give `0 w`, which is NaN.
        if self.weight_decay == T::ZERO { g } else { g + self.weight_decay * w }
    }

    /// Returns true if [`gradient`](Self::gradient) is `g`.
    pub(super) fn is_plain(self) -> bool {
        self.sign == T::ONE && self.weight_decay == T::ZERO
    }

    /// Returns the weight decay, and the objective without it.
    pub(super) fn decoupled(self) -> (T, Self) {
        (self.weight_decay, Self { weight_decay: T::ZERO, ..self })
    }
}

/// Returns a setting that must be finite and not negative.
#[track_caller]
pub(super) fn check_not_negative<T: Scalar>(owner: &str, setting: &str, value: T) -> T {
    assert!(
        value.is_finite() && value >= T::ZERO,
        "{owner}: {setting} of {value} is not a finite number of at least 0"
    );
    value
}

/// Writes the settings that all optimizers share, in an `impl` block of one with a field `group`.
macro_rules! shared_settings {
    ($Optimizer:ident) => {
        /// Returns the optimizer with this weight decay `λ`.
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
        #[doc = concat!("use tapegrad::optim::{", stringify!($Optimizer), ", Optimizer};")]
        ///
        /// let w = Param::new(array![8.0]);
        #[doc = concat!("let mut optimizer = ", stringify!($Optimizer), "::new([&w], 0.5).with_weight_decay(0.25);")]
        /// w.accumulate_grad(&array![0.0].into_dyn());
        /// optimizer.step(); // the gradient is 0; the weight shrinks
        /// assert!(0.0 < w.value()[[0]] && w.value()[[0]] < 8.0);
        /// ```
        #[track_caller]
        #[must_use]
        pub fn with_weight_decay(mut self, weight_decay: T) -> Self {
            self.group.set_weight_decay(weight_decay);
            self
        }

        /// Returns the optimizer that goes uphill: it follows `-g`.
        ///
        /// # Example
        ///
        /// ```
        /// use ndarray::array;
        /// use tapegrad::Param;
        #[doc = concat!("use tapegrad::optim::{", stringify!($Optimizer), ", Optimizer};")]
        ///
        /// let w = Param::new(array![1.0]);
        #[doc = concat!("let mut optimizer = ", stringify!($Optimizer), "::new([&w], 0.5).with_maximize();")]
        /// w.accumulate_grad(&array![2.0].into_dyn());
        /// optimizer.step();
        /// assert!(w.value()[[0]] > 1.0);
        /// ```
        #[must_use]
        pub fn with_maximize(mut self) -> Self {
            self.group.maximize();
            self
        }
    };
}

/// Writes the setting `ε`, in an `impl` block of an optimizer with the fields `group` and `eps`.
macro_rules! eps_setting {
    () => {
        /// Returns the optimizer with this `ε`, which keeps the divisor from 0.
        ///
        /// # Panics
        ///
        /// If it is not a finite number of at least 0.
        #[track_caller]
        #[must_use]
        pub fn with_eps(mut self, eps: T) -> Self {
            self.eps = self.group.not_negative("an eps", eps);
            self
        }
    };
}

/// Writes the methods of [`Optimizer`](super::Optimizer) except `step`, in its `impl` for one with a field `group`.
macro_rules! shared_methods {
    () => {
        fn zero_grad(&mut self) {
            self.group.zero_grad();
        }

        fn learning_rate(&self) -> T {
            self.group.learning_rate()
        }

        fn set_learning_rate(&mut self, learning_rate: T) {
            self.group.set_learning_rate(learning_rate);
        }
    };
}

pub(super) use {eps_setting, shared_methods, shared_settings};
