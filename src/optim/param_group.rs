//! [`ParamGroup`]: what every optimizer has, and the macros that write the methods every optimizer has.

use std::borrow::Borrow;
use std::fmt;

use ndarray::{ArrayD, IxDyn};

use super::state::{StateEntry, StateValue, misfit};
use crate::error::Result;
use crate::kernel::update::ParamUpdate;
use crate::number::Classify;
use crate::param::Param;
use crate::scalar::Scalar;

/// The distinct parameters of an optimizer, each with its state, and the settings that all optimizers share.
pub(super) struct ParamGroup<T, const N: usize> {
    /// The optimizer's name, for messages and files.
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
    /// The product of a factor of each step so far, for optimizers that need one.
    product: f64,
    arrays: [Vec<T>; N],
}

/// The names of what a parameter's state holds, for saving.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    /// The arrays in use.
    pub(super) arrays: &'static [&'static str],
    /// The product, if it is in use.
    pub(super) product: Option<&'static str>,
}

impl Layout {
    pub(super) const fn arrays(arrays: &'static [&'static str]) -> Self {
        Self { arrays, product: None }
    }
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
                slots.push(Slot { parameter: parameter.clone(), state: State::new() });
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

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn parameters(&self) -> Vec<Param<T>> {
        self.slots.iter().map(|slot| slot.parameter.clone()).collect()
    }

    pub(super) fn state(&self, layout: Layout) -> Vec<StateEntry<T>> {
        let lr = StateValue::Number(self.learning_rate.to_f64());
        let mut entries = vec![StateEntry::new(None, LEARNING_RATE, lr)];
        for (index, Slot { parameter, state }) in self.slots.iter().enumerate().filter(|(_, slot)| slot.state.step > 0)
        {
            let mut push = |name: &str, value| entries.push(StateEntry::new(Some(index), name, value));
            push(STEP, StateValue::Count(state.step));
            if let Some(name) = layout.product {
                push(name, StateValue::Number(state.product));
            }
            for (name, array) in layout.arrays.iter().zip(&state.arrays) {
                // A setting that came after the first steps has no numbers yet.
                let mut array = array.clone();
                array.resize(parameter.shape().elements(), T::ZERO);
                let array = ArrayD::from_shape_vec(IxDyn(parameter.shape()), array);
                push(name, StateValue::Array(array.expect("a state has its parameter's size")));
            }
        }
        entries
    }

    /// Replaces all states, or none if an entry does not fit.
    pub(super) fn load_state(&mut self, layout: Layout, entries: Vec<StateEntry<T>>) -> Result<()> {
        let who = self.name;
        let mut states: Vec<State<T, N>> = self.slots.iter().map(|_| State::new()).collect();
        let mut missing = vec![0; self.slots.len()];
        let mut learning_rate = self.learning_rate;
        for StateEntry { parameter, name, value } in entries {
            let Some(index) = parameter else {
                if name != LEARNING_RATE {
                    return Err(misfit(who, "no other entry than learning_rate", name));
                }
                let lr = T::from_f64(value.number(who, LEARNING_RATE)?);
                if !(lr.is_finite() && lr >= T::ZERO) {
                    return Err(misfit(who, "a finite learning rate of at least 0", lr.to_string()));
                }
                learning_rate = lr;
                continue;
            };
            let (Some(slot), Some(state)) = (self.slots.get(index), states.get_mut(index)) else {
                let expected = format!("entries of {} parameters", self.slots.len());
                return Err(misfit(who, expected, format!("one of parameter {index}")));
            };
            missing[index] += 1;
            match layout.arrays.iter().position(|known| *known == name) {
                Some(place) => match value {
                    StateValue::Array(array) if array.shape() == &**slot.parameter.shape() => {
                        state.arrays[place] = array.iter().copied().collect();
                    }
                    other => {
                        let expected = format!("an array {name} of shape {}", slot.parameter.shape());
                        return Err(misfit(who, expected, other.kind()));
                    }
                },
                None if name == STEP => state.step = value.count(who, STEP)?,
                None if layout.product == Some(&name) => state.product = value.number(who, &name)?,
                None => return Err(misfit(who, format_args!("the entries {}", layout.names()), name)),
            }
        }
        let complete = 1 + usize::from(layout.product.is_some()) + layout.arrays.len();
        if let Some((index, count)) = missing.iter().enumerate().find(|&(_, &count)| count != 0 && count != complete) {
            let expected = format!("the entries {} of parameter {index}", layout.names());
            return Err(misfit(who, expected, format!("{count} of {complete}")));
        }
        self.slots.iter_mut().zip(states).for_each(|(slot, state)| slot.state = state);
        self.learning_rate = learning_rate;
        Ok(())
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

    /// Returns the objective, and the factor of a weight: with decoupled weight decay `1 - lr λ`, else 1.
    pub(super) fn objective_and_keep(&self, decoupled: bool) -> (Objective<T>, T) {
        if !decoupled {
            return (self.objective, T::ONE);
        }
        let (weight_decay, gradient_alone) = self.objective.decoupled();
        (gradient_alone, T::from_f64(1.0 - self.learning_rate.to_f64() * weight_decay.to_f64()))
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

/// The name of the learning rate in a state.
const LEARNING_RATE: &str = "learning_rate";
/// The name of a parameter's number of steps in a state.
const STEP: &str = "step";

impl Layout {
    /// Returns all names of a parameter's entries, for messages.
    fn names(self) -> String {
        let names: Vec<&str> = [STEP].into_iter().chain(self.product).chain(self.arrays.iter().copied()).collect();
        names.join(", ")
    }
}

impl<T: Scalar, const N: usize> State<T, N> {
    fn new() -> Self {
        Self { step: 0, product: 1.0, arrays: [const { Vec::new() }; N] }
    }

    /// Multiplies the product by this step's factor, and returns it.
    pub(super) fn multiply(&mut self, factor: f64) -> f64 {
        self.product *= factor;
        self.product
    }

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

/// Writes the setting of both decay rates, in an `impl` block of an optimizer with the fields `group` and `betas`.
macro_rules! betas_setting {
    () => {
        /// Returns the optimizer with these decay rates: `β₁` for the average of the gradient, `β₂` for the average of
        /// its square.
        ///
        /// They are `f64` for weights of any type: in `f32`, `1 - β₂` would lose four digits.
        ///
        /// # Panics
        ///
        /// If one is below 0, or not below 1.
        ///
        /// # Example
        ///
        /// See [`NAdam`](crate::optim::NAdam).
        #[track_caller]
        #[must_use]
        pub fn with_betas(mut self, beta1: f64, beta2: f64) -> Self {
            self.betas = [self.group.fraction("a beta1", beta1), self.group.fraction("a beta2", beta2)];
            self
        }
    };
}

/// Writes the setting of decoupled weight decay, in an `impl` block of an optimizer with a field `decoupled`.
macro_rules! decoupled_setting {
    ($Optimizer:ident) => {
        /// Returns the optimizer whose weight decay acts apart from the gradient, as that of
        /// [`AdamW`](super::AdamW) does.
        ///
        /// # Example
        ///
        /// ```
        /// use ndarray::array;
        /// use tapegrad::Param;
        #[doc = concat!("use tapegrad::optim::{", stringify!($Optimizer), ", Optimizer};")]
        ///
        /// let w = Param::new(array![2.0]);
        #[doc = concat!("let optimizer = ", stringify!($Optimizer), "::new([&w], 0.5).with_weight_decay(0.25);")]
        /// w.accumulate_grad(&array![0.0].into_dyn());
        /// optimizer.with_decoupled_weight_decay().step(); // the gradient is 0; the weight shrinks: 2 (1 - 0.5 · 0.25)
        /// assert_eq!(w.value()[[0]], 1.75);
        /// ```
        #[must_use]
        pub fn with_decoupled_weight_decay(mut self) -> Self {
            self.decoupled = true;
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
        ///
        /// # Example
        ///
        /// See [`Adagrad`](crate::optim::Adagrad).
        #[track_caller]
        #[must_use]
        pub fn with_eps(mut self, eps: T) -> Self {
            self.eps = self.group.not_negative("an eps", eps);
            self
        }
    };
}

/// Writes [`Stateful`](super::Stateful) for an optimizer with a field `group` and a method `layout`.
macro_rules! stateful {
    ($Optimizer:ident $(, $D:ident: $Bound:ident)?) => {
        impl<T: Scalar $(, $D: $Bound)?> $crate::optim::state::Stateful<T> for $Optimizer<T $(, $D)?> {
            fn kind(&self) -> String {
                self.group.name().into()
            }

            fn parameters(&self) -> Vec<Param<T>> {
                self.group.parameters()
            }

            fn state(&self) -> Vec<$crate::optim::state::StateEntry<T>> {
                self.group.state(self.layout())
            }

            fn load_state(&mut self, state: Vec<$crate::optim::state::StateEntry<T>>) -> $crate::error::Result<()> {
                self.group.load_state(self.layout(), state)
            }
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

pub(super) use {betas_setting, decoupled_setting, eps_setting, shared_methods, shared_settings, stateful};
