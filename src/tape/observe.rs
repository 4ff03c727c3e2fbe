//! What a tape tells an observer: values and rules as they are recorded, and the sweeps that ran.

use std::cell::Ref;
use std::panic::Location;
use std::sync::Arc;

use super::event::Event;
use super::nodes::{CustomId, RecordedRule};
use super::reads::{Question, ValueRead};
use super::workspace::{Seed, SweepRun};
use super::{Check, CustomOp, Tape, Var};
use crate::input::Input;
use crate::scalar::Scalar;

impl<T: Scalar> Tape<T> {
    /// Makes the tape tell an observer of each event, or none.
    pub(crate) fn observe(&self, check: Option<Check<T>>) {
        self.check.set(check);
    }

    /// Returns the observer.
    pub(crate) fn observer(&self) -> Option<Check<T>> {
        self.check.get()
    }

    /// Tells the observer of an event.
    ///
    /// # Panics
    ///
    /// If it finds something wrong.
    #[inline]
    #[track_caller]
    pub(crate) fn notify(&self, event: Event) {
        if let Some(check) = self.check.get()
            && let Some(found) = check(self, event)
        {
            panic!("{found}");
        }
    }

    /// Returns the handle of a node that was recorded just now, after a look at its value on a checked tape. The values that
    /// a rule records are checked when its result is there.
    #[inline]
    #[track_caller]
    pub(super) fn checked_var(&self, id: u32) -> Var<'_, T> {
        if self.check.get().is_some() && self.origin.get().is_none() {
            self.notify(Event::Value(id));
        }
        Var::new(self, id)
    }

    /// Notes that a sweep on `Var`s recorded a rule, and tells the observer.
    #[track_caller]
    pub(crate) fn note_rule(&self, rule: RecordedRule) {
        self.edit().add_rule(rule);
        self.notify(Event::Rule(rule));
    }

    /// Returns the sweeps on arrays since the last reset.
    pub(crate) fn sweeps(&self) -> Ref<'_, Vec<SweepRun<T>>> {
        self.sweeps.borrow()
    }

    /// Notes that a sweep on arrays ran. Of several from one value only the last is kept.
    pub(crate) fn note_sweep(&self, from: u32, seed: Option<Seed<T>>) {
        let mut sweeps = self.sweeps.borrow_mut();
        if let Some(earlier) = sweeps.iter().position(|sweep| sweep.from == from)
            && let Some(unused) = sweeps.remove(earlier).seed
        {
            unused.give_back(&self.memory.pool);
        }
        sweeps.push(SweepRun { from, seed });
    }

    /// Returns an input as the cotangent that a sweep begins with.
    pub(crate) fn seed(&self, input: impl Input<T>) -> Seed<T> {
        match input.hand_over() {
            Ok(shared) => Seed::Shared(shared),
            Err(input) => {
                let mut buffer = self.memory.pool.take(input.dims().elements());
                input.write_to(&mut buffer);
                Seed::Buffer(buffer)
            }
        }
    }

    /// Notes that the user's code reads a value. The first time counts.
    #[inline]
    pub(crate) fn note_read(&self, id: u32, location: &'static Location<'static>) {
        if !self.nodes().node(id).read.replace(true) {
            self.reads.borrow_mut().push(ValueRead { id, location, question: None });
        }
    }

    /// Notes a question about a value.
    pub(crate) fn note_question(
        &self,
        id: u32,
        question: Question<T>,
        answer: bool,
        location: &'static Location<'static>,
    ) {
        self.reads.borrow_mut().push(ValueRead { id, location, question: Some((question, answer)) });
    }

    /// Returns the values that were read since the last reset.
    pub(crate) fn reads(&self) -> Ref<'_, Vec<ValueRead<T>>> {
        self.reads.borrow()
    }

    /// Returns a custom operation, which then outlives the recording.
    pub(crate) fn custom_handle(&self, id: CustomId) -> Arc<dyn CustomOp<T>> {
        Arc::clone(&self.recording.customs[id.0 as usize])
    }
}
