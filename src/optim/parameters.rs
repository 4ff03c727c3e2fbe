//! [`Parameters`]: what every optimizer has.

use std::borrow::Borrow;
use std::fmt;

use crate::kernel::update::Weights;
use crate::number::Classify;
use crate::param::Param;
use crate::scalar::Scalar;

/// The distinct parameters of an optimizer, each with what the optimizer keeps for it, and the settings that all
/// optimizers share.
pub(super) struct Parameters<T, const N: usize> {
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

/// What an optimizer keeps for a parameter.
pub(super) struct State<T, const N: usize> {
    /// The steps that the parameter took part in, this one included.
    pub(super) step: u64,
    arrays: [Vec<T>; N],
}

/// Which way the loss goes, and how large weights are punished.
#[derive(Clone, Copy)]
pub(super) struct Objective<T> {
    sign: T,
    weight_decay: T,
}

impl<T: Scalar, const N: usize> Parameters<T, N> {
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

    /// Lends each parameter that has a gradient to the rule.
    pub(super) fn step(&mut self, rule: impl Fn(Weights<'_, T>, &[T], &mut State<T, N>)) {
        for Slot { parameter, state } in &mut self.slots {
            parameter.step(|weights, grad| {
                state.step += 1;
                rule(weights, grad, state);
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

    /// Writes name, number of parameters and learning rate, then the settings given, then those that differ from usual.
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
    /// Returns the first `USED` arrays, with as many elements as the parameter has: new ones hold `initial`.
    pub(super) fn arrays<const USED: usize>(&mut self, length: usize, initial: T) -> [&mut [T]; USED] {
        let arrays = self.arrays.first_chunk_mut().expect("an optimizer asks for no more arrays than it has");
        arrays.each_mut().map(|array| {
            array.resize(length, initial);
            array.as_mut_slice()
        })
    }

    /// Returns whether no array is in use yet.
    pub(super) fn is_new(&self) -> bool {
        self.arrays.iter().all(Vec::is_empty)
    }
}

impl<T: Scalar> Objective<T> {
    /// Returns the gradient to descend along: `g`, or `-g` to maximize, plus `λ w`.
    #[inline(always)]
    pub(super) fn gradient(self, w: T, g: T) -> T {
        let g = self.sign * g;
        // Without decay an infinite weight must not make a NaN of `0 w`.
        if self.weight_decay == T::ZERO { g } else { g + self.weight_decay * w }
    }

    /// Returns whether the gradient is taken as it is.
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
