//! Checked tapes: blame as the observer of recordings and sweeps.

use std::ops::ControlFlow::{self, Break, Continue};

use super::non_finite::{NonFinite, in_rule, in_seed, in_sources, in_value, in_values, is_finite};
use super::range::ValueRange;
use crate::kernel::view::View;
use crate::number::Classify;
use crate::scalar::Scalar;
use crate::sweep::{self, Observer};
use crate::tape::{Checked, Event, Nodes, Seed, Step, SweepRun, Tape, Var};

/// Returns the message for a recorded value or rule that is not finite.
#[cold]
fn check<T: Scalar>(tape: &Tape<T>, event: Event) -> Option<String> {
    let nodes = tape.nodes();
    let found = match event {
        Event::Value(id) => in_value(tape, &nodes, id),
        // Intermediate values of a derivative may be infinite: a selection may drop them again.
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
    /// For each tape that the sweep is on, the outer one first: whether a node's cotangent is already known not to be
    /// finite, so that no later rule is blamed for it.
    inherited: Vec<Vec<bool>>,
    /// For each of these tapes, the range of the cotangent that is the input of the running rules.
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

    /// Panics with the number that stopped a sweep.
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
        // A cotangent that is not finite before the segment's sweep was not made by a rule of the segment.
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
        let step = nodes.step(id);
        for k in (0..nodes.operands(id).len()).rev().filter(|&k| step.passes(k)) {
            let x = sweep::destination(nodes, id, k);
            let (Some(inherited), Some(&g)) = (self.inherited.last_mut(), self.g.last()) else { continue };
            let Some(cotangent) = &cotangents[x as usize] else { continue };
            if inherited[x as usize] || cotangent.iter().all(|x| x.is_finite()) {
                continue;
            }
            inherited[x as usize] = true;
            // The rules within a segment have been checked one by one.
            if !matches!(step, Step::Checkpoint(_)) {
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
/// On a checked tape, with a [`NonFinite`] if a rule makes a number that is not finite. Then no gradient changes.
#[track_caller]
pub(crate) fn backward<T: Scalar>(from: Var<'_, T>, seed: Option<Seed<T>>) {
    let mut watch = Watch::new();
    let observer: Option<&mut dyn Observer<T>> = if from.tape().is_checked() { Some(&mut watch) } else { None };
    if sweep::backward(from, seed, observer).is_break() {
        watch.panic();
    }
}

/// Sweeps backward from `from` on arrays and returns the gradients of these leaves and parameters, `None` for one that
/// is not reached.
///
/// # Panics
///
/// Like [`backward`].
#[track_caller]
pub(crate) fn source_grads<T: Scalar>(
    from: Var<'_, T>,
    seed: Option<&[T]>,
    sources: &[Var<'_, T>],
) -> Vec<Option<Vec<T>>> {
    let mut watch = Watch::new();
    let observer: Option<&mut dyn Observer<T>> = if from.tape().is_checked() { Some(&mut watch) } else { None };
    match sweep::source_grads(from, seed, sources, observer) {
        Continue(grads) => grads,
        Break(()) => watch.panic(),
    }
}

impl<T: Scalar> Tape<T> {
    /// Returns the operation that made the first NaN or infinity on this tape, or `None` if there is nothing to blame.
    /// Values are searched first, then the sweeps that ran on them.
    ///
    /// The result names the operation, the line that recorded it, the ranges of its operands, and the usual cause. Call
    /// this when a loss or a gradient is not finite. It runs the sweeps again and changes no gradient. A
    /// [`checked`](Self::checked) tape panics at once instead.
    ///
    /// An operation makes a NaN if no operand holds one. It makes an infinity if all its operands are finite. A
    /// constant may hold infinities, like a mask: it is blamed only if a result or a gradient is not finite because of
    /// it. A leaf or a parameter that is not finite is always blamed. In gradients recorded by [`Var::grads`], the
    /// operation whose rule made the number is blamed.
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
        let mut finite = true;
        for SweepRun { from, seed } in self.sweeps().iter() {
            let mut watch = Watch::new();
            match sweep::finite_gradients(Var::new(self, *from), seed.as_ref().map(Seed::values), &mut watch) {
                Continue(gradients) => finite &= gradients,
                Break(()) => return watch.found,
            }
        }
        // No operation made a NaN or an infinity. An infinity in a constant is to blame only if a result or a gradient
        // is not finite because of it.
        let mut used = vec![false; nodes.len()];
        nodes.ids().flat_map(|id| nodes.operands(id)).for_each(|&operand| used[operand as usize] = true);
        let mut results = nodes.ids().filter(|&id| !used[id as usize] && !nodes.operands(id).is_empty());
        if finite && results.all(|id| is_finite(self.view(&nodes, id))) {
            return None;
        }
        in_sources(self, &nodes, &[])
    }

    /// Returns this tape, which from now on checks every operation: see [`set_checked`](Self::set_checked).
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

    /// Turns the check of every operation on or off.
    ///
    /// A checked tape panics as soon as an operation makes a NaN or an infinity in its value, or its rule makes one in
    /// the cotangent of an operand. The message is the [`NonFinite`] that [`first_non_finite`](Self::first_non_finite)
    /// returns. It names the line that recorded the operation. A sweep that panics changes no gradient. A checked tape
    /// reads every value and cotangent once more. Without the check there is no cost.
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

    /// Returns whether the tape checks every operation.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::Tape;
    ///
    /// assert!(!Tape::<f64>::new().is_checked());
    /// assert!(Tape::<f64>::new().checked().is_checked());
    /// ```
    #[must_use]
    pub fn is_checked(&self) -> bool {
        self.observer().is_some()
    }
}
