//! Checking as a tape goes: blame as the observer of recordings and sweeps.

use std::ops::ControlFlow::{self, Break, Continue};

use super::non_finite::{NonFinite, in_rule, in_seed, in_sources, in_value, in_values, is_finite};
use super::range::ValueRange;
use crate::kernel::view::View;
use crate::number::Classify;
use crate::scalar::Scalar;
use crate::sweep::{self, Observer};
use crate::tape::{Checked, Event, Nodes, Step, Tape, Var};

/// Returns what is wrong with something that was recorded.
#[cold]
fn check<T: Scalar>(tape: &Tape<T>, event: Event) -> Option<String> {
    let nodes = tape.nodes();
    let found = match event {
        Event::Value(id) => in_value(tape, &nodes, id),
        // What is recorded on the way to a result may be infinite: a selection may drop it again.
        Event::Derivative { result, .. } if is_finite(tape.view(&nodes, result)) => None,
        Event::Derivative { first, result } => (first..=result).find_map(|id| in_value(tape, &nodes, id)),
        Event::Rule(rule) => {
            let range = ValueRange::of(tape.view(&nodes, rule.g));
            in_rule(tape, &nodes, rule.node, rule.k, range, tape.view(&nodes, rule.result))
        }
    };
    found.map(|found| found.to_string())
}

/// Looks for the first cotangent that is not finite.
struct Watch {
    /// For each tape that the sweep is on, the outer one first: the nodes whose cotangent is not finite though no rule made it
    /// so, because a cotangent before it was not.
    inherited: Vec<Vec<bool>>,
    /// For each of these tapes, the range of the cotangent whose rules run.
    g: Vec<ValueRange>,
    found: Option<NonFinite>,
}

impl Watch {
    fn new() -> Self {
        Self { inherited: Vec::new(), g: Vec::new(), found: None }
    }

    fn stop(&mut self, found: Option<NonFinite>) -> ControlFlow<()> {
        self.found = found;
        if self.found.is_some() { Break(()) } else { Continue(()) }
    }

    /// Panics with what stopped a sweep.
    #[track_caller]
    fn panic(&self) -> ! {
        match &self.found {
            Some(found) => panic!("{found}"),
            None => panic!("the sweep was stopped"),
        }
    }
}

impl<T: Scalar> Observer<T> for Watch {
    fn seed(&mut self, nodes: &Nodes<T>, from: u32, seed: View<'_, T>) -> ControlFlow<()> {
        self.stop(in_seed(nodes, from, seed))
    }

    fn enter(&mut self, cotangents: &[Option<Vec<T>>]) {
        // No rule of a segment made what an input of it holds already.
        let infinite = |g: &Option<Vec<T>>| g.as_ref().is_some_and(|g| !g.iter().all(|x| x.is_finite()));
        self.inherited.push(cotangents.iter().map(infinite).collect());
        self.g.push(ValueRange::of::<T>(View::contiguous(&[], &[0])));
    }

    fn before(&mut self, g: View<'_, T>) {
        if let Some(last) = self.g.last_mut() {
            *last = ValueRange::of(g);
        }
    }

    #[cold]
    fn after(&mut self, tape: &Tape<T>, nodes: &Nodes<T>, id: u32, cotangents: &[Option<Vec<T>>]) -> ControlFlow<()> {
        let node = nodes.node(id);
        for k in (0..nodes.operands(id).len()).rev().filter(|&k| node.step.passes(k)) {
            let x = sweep::destination(nodes, id, k);
            let (Some(inherited), Some(&g)) = (self.inherited.last_mut(), self.g.last()) else { continue };
            let Some(cotangent) = &cotangents[x as usize] else { continue };
            if inherited[x as usize] || cotangent.iter().all(|x| x.is_finite()) {
                continue;
            }
            inherited[x as usize] = true;
            // The rules within a segment were looked at one by one.
            if !matches!(node.step, Step::Checkpoint(_)) {
                let cotangent = View::contiguous(cotangent, nodes.shape(x));
                self.stop(in_rule(tape, nodes, id, k, g, cotangent))?;
            }
        }
        Continue(())
    }

    fn leave(&mut self) {
        self.inherited.pop();
        self.g.pop();
    }
}

/// Sweeps backward from `from` on arrays and accumulates gradients, as [`Var::backward`] does.
///
/// # Panics
///
/// On a checked tape, with a [`NonFinite`] if a rule makes a number that is not finite. No gradient changes then.
#[track_caller]
pub(crate) fn backward<T: Scalar>(from: Var<'_, T>, seed: Option<Vec<T>>) {
    let mut watch = Watch::new();
    let observer: Option<&mut dyn Observer<T>> = if from.tape().is_checked() { Some(&mut watch) } else { None };
    if sweep::backward(from, seed, observer).is_break() {
        watch.panic();
    }
}

/// Sweeps backward from `from` on arrays and returns the gradients of these leaves, `None` of one that is not reached.
///
/// # Panics
///
/// As [`backward`].
#[track_caller]
pub(crate) fn leaf_grads<T: Scalar>(
    from: Var<'_, T>,
    seed: Option<Vec<T>>,
    leaves: &[Var<'_, T>],
) -> Vec<Option<Vec<T>>> {
    let mut watch = Watch::new();
    let observer: Option<&mut dyn Observer<T>> = if from.tape().is_checked() { Some(&mut watch) } else { None };
    match sweep::leaf_grads(from, seed, leaves, observer) {
        Continue(grads) => grads,
        Break(()) => watch.panic(),
    }
}

impl<T: Scalar> Tape<T> {
    /// Returns the operation that made the first NaN or infinity of this record, in its values or, if those are finite, in
    /// the sweeps that ran on it; `None` if there is neither.
    ///
    /// It says which operation it was, the line that recorded it, the ranges of its operands, and what usually lies
    /// behind it. It looks at a record as it is, and runs its sweeps once more without touching a gradient: call it when
    /// a loss or a gradient turns out not to be finite. A tape that is [`checked`](Self::checked) finds out at once.
    ///
    /// An operation makes a NaN if none of its operands holds one, and an infinity if its operands are finite. So
    /// infinities in a constant, as masks have them, are not blamed for as long as nothing comes of them; a leaf or a
    /// parameter that is not finite is. In gradients that were recorded by [`Var::grads`], the operation is blamed whose
    /// rule made the number.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![-1.0, 2.0]);
    /// let loss = x.relu().ln().sum(); // ln 0
    /// assert_eq!(loss.item(), f64::NEG_INFINITY);
    ///
    /// let found = tape.first_non_finite().unwrap();
    /// assert_eq!(found.op(), "ln");
    /// assert_eq!(found.location().line(), loss.tape().first_non_finite().unwrap().location().line());
    /// assert_eq!((found.operands()[0].range().min(), found.operands()[0].range().max()), (0.0, 2.0));
    /// assert!(found.hint().unwrap().starts_with("ln of 0 is minus infinity"));
    /// ```
    #[must_use]
    pub fn first_non_finite(&self) -> Option<NonFinite> {
        let nodes = self.nodes();
        if let Some(found) = in_values(self, &nodes, |_| false) {
            return Some(found);
        }
        let sweeps: Vec<_> = self.sweeps().iter().map(|sweep| (sweep.from, sweep.seed.clone())).collect();
        let mut finite = true;
        for (from, seed) in sweeps {
            let mut watch = Watch::new();
            match sweep::finite_gradients(Var::new(self, from), seed, &mut watch) {
                Continue(gradients) => finite &= gradients,
                Break(()) => return watch.found,
            }
        }
        // No operation made it: it came in with a constant. That matters only if something came of it.
        let mut used = vec![false; nodes.len()];
        nodes.ids().flat_map(|id| nodes.operands(id)).for_each(|&operand| used[operand as usize] = true);
        let mut results = nodes.ids().filter(|&id| !used[id as usize] && !nodes.operands(id).is_empty());
        if finite && results.all(|id| is_finite(self.view(&nodes, id))) {
            return None;
        }
        in_sources(self, &nodes, &[])
    }

    /// Returns this tape, which from now on checks as it goes: see [`set_checked`](Self::set_checked).
    ///
    /// # Example
    ///
    /// ```should_panic
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new().checked();
    /// let y = tape.leaf(1000.0).exp(); // panics here: exp made the first infinity
    /// ```
    #[must_use]
    pub fn checked(self) -> Self {
        self.set_checked(Checked::Yes);
        self
    }

    /// Makes the tape check as it goes, or stop to.
    ///
    /// A checked tape panics as soon as an operation makes a NaN or an infinity, when it is recorded or, in a sweep, in the
    /// cotangent that its rule gives to an operand; the message is the [`NonFinite`] that
    /// [`first_non_finite`](Self::first_non_finite) returns, which names the line that recorded the operation. A
    /// sweep that panics changes no gradient. Checking reads every value and cotangent once more; not checking costs
    /// nothing.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::Tape;
    /// use tapegrad::blame::Checked;
    ///
    /// let tape = Tape::new();
    /// let _ = tape.leaf(0.0).ln(); // minus infinity, as in IEEE
    /// tape.set_checked(Checked::Yes);
    /// assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| tape.leaf(0.0).ln())).is_err());
    /// ```
    #[doc(alias = "detect_anomaly")]
    pub fn set_checked(&self, checked: Checked) {
        self.observe(match checked {
            Checked::Yes => Some(check),
            Checked::No => None,
        });
    }

    /// Returns whether the tape checks as it goes.
    #[must_use]
    pub fn is_checked(&self) -> bool {
        self.observer().is_some()
    }
}
