//! [`Tree`]: runs chunks, and adds their losses and gradients in the order that the chunks' numbers fix.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::param::Gradients;
use crate::scalar::Scalar;
use crate::threads;

/// The states of threads, and memory for gradients. Whoever runs a chunk takes one of each.
pub(super) struct Kept<T, S> {
    free: Mutex<Free<T, S>>,
}

struct Free<T, S> {
    states: Vec<S>,
    /// All are cleared. A thread collects in a box, and to move it there must not allocate.
    #[allow(clippy::vec_box)]
    gradients: Vec<Box<Gradients<T>>>,
}

impl<T: Scalar, S> Kept<T, S> {
    pub(super) fn new() -> Self {
        Self { free: Mutex::new(Free { states: Vec::new(), gradients: Vec::new() }) }
    }

    fn free(&self) -> MutexGuard<'_, Free<T, S>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn give_back(&self, mut gradients: Box<Gradients<T>>) {
        gradients.clear();
        self.free().gradients.push(gradients);
    }

    /// Lends a state. If `f` panics, the state is dropped.
    pub(super) fn with_state<R>(&self, make: &dyn Fn() -> S, f: impl FnOnce(&mut S) -> R) -> R {
        let free = self.free().states.pop();
        let mut state = free.unwrap_or_else(make);
        let result = f(&mut state);
        self.free().states.push(state);
        result
    }
}

/// Loss and gradients of some rows.
pub(super) struct Part<T> {
    pub(super) loss: f64,
    pub(super) gradients: Box<Gradients<T>>,
}

/// Why there is no result.
pub(super) enum Failure<E> {
    /// The user's function returned an error.
    Error(E),
    /// The user's function returned a loss that does not fit.
    Bug(String),
    /// A chunk with a lower number has failed.
    Skipped,
}

/// The loss of a chunk, whose gradients were collected.
pub(super) struct Computed<T> {
    /// Its part of the total.
    pub(super) loss: f64,
    /// The factor of the gradients in the total.
    pub(super) scale: T,
}

/// A list of chunks that are run and added up.
pub(super) struct Tree<'a, T, S, F> {
    kept: &'a Kept<T, S>,
    make: &'a (dyn Fn() -> S + Send + Sync),
    /// The number of rows in each chunk except the last.
    size: usize,
    rows: usize,
    chunk: F,
    /// The lowest number of a chunk that has failed.
    failed: AtomicUsize,
}

impl<'a, T, S, E, F> Tree<'a, T, S, F>
where
    T: Scalar,
    S: Send,
    E: Send,
    F: Fn(&mut S, Range<usize>) -> Result<Computed<T>, Failure<E>> + Sync,
{
    pub(super) fn new(
        kept: &'a Kept<T, S>,
        make: &'a (dyn Fn() -> S + Send + Sync),
        size: usize,
        rows: usize,
        chunk: F,
    ) -> Self {
        Self { kept, make, size, rows, chunk, failed: AtomicUsize::new(usize::MAX) }
    }

    /// Runs all chunks; there is at least one. Of several errors, it returns that of the first chunk.
    pub(super) fn run(&self) -> Result<Part<T>, Failure<E>> {
        self.run_subtree(0..self.rows.div_ceil(self.size))
    }

    /// Does the same for the chunks of one node of the tree.
    pub(super) fn run_subtree(&self, chunks: Range<usize>) -> Result<Part<T>, Failure<E>> {
        if threads::count() > 1 { self.shared(chunks) } else { self.one_by_one(chunks) }
    }

    fn one_by_one(&self, chunks: Range<usize>) -> Result<Part<T>, Failure<E>> {
        let Some((first, second)) = halves(&chunks) else { return self.leaf(chunks.start) };
        let first = self.one_by_one(first)?;
        self.add(Ok(first), self.one_by_one(second))
    }

    fn shared(&self, chunks: Range<usize>) -> Result<Part<T>, Failure<E>> {
        let Some((first, second)) = halves(&chunks) else { return self.leaf(chunks.start) };
        let (first, second) = threads::join(|| self.shared(first), || self.shared(second));
        self.add(first, second)
    }

    /// Adds the result of later rows.
    fn add(
        &self,
        first: Result<Part<T>, Failure<E>>,
        second: Result<Part<T>, Failure<E>>,
    ) -> Result<Part<T>, Failure<E>> {
        match (first, second) {
            (Ok(mut first), Ok(mut second)) => {
                first.loss += second.loss;
                first.gradients.add_all(&mut second.gradients);
                self.kept.give_back(second.gradients);
                Ok(first)
            }
            (Ok(part), Err(failure)) | (Err(failure), Ok(part)) => {
                self.kept.give_back(part.gradients);
                Err(failure)
            }
            (Err(Failure::Skipped), Err(failure)) | (Err(failure), Err(_)) => Err(failure),
        }
    }

    fn leaf(&self, number: usize) -> Result<Part<T>, Failure<E>> {
        if number > self.failed.load(Ordering::Relaxed) {
            return Err(Failure::Skipped);
        }
        let failing = Failing { failed: &self.failed, number };
        let start = number * self.size;
        let rows = start..self.rows.min(start + self.size);
        let free = self.kept.free().gradients.pop();
        let gradients = free.unwrap_or_else(|| Box::new(Gradients::new()));
        let run = |state: &mut S| threads::alone(|| gradients.collect(|| (self.chunk)(state, rows)));
        let (mut gradients, computed) = self.kept.with_state(self.make, run);
        match computed {
            Ok(Computed { loss, scale }) => {
                std::mem::forget(failing);
                if scale != T::ONE {
                    threads::alone(|| gradients.scale(scale));
                }
                Ok(Part { loss, gradients })
            }
            Err(failure) => {
                self.kept.give_back(gradients);
                Err(failure)
            }
        }
    }
}

/// Divides a list of chunks into two halves. The first has as many chunks as the second, or one more. A single chunk has no
/// halves: `None`.
pub(super) fn halves(chunks: &Range<usize>) -> Option<(Range<usize>, Range<usize>)> {
    let middle = chunks.start + chunks.len().div_ceil(2);
    (chunks.len() > 1).then_some((chunks.start..middle, middle..chunks.end))
}

/// Notes the number of a chunk that has failed, when dropped: also while a panic unwinds.
struct Failing<'a> {
    failed: &'a AtomicUsize,
    number: usize,
}

impl Drop for Failing<'_> {
    fn drop(&mut self) {
        self.failed.fetch_min(self.number, Ordering::Relaxed);
    }
}
