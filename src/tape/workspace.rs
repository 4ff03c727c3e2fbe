//! [`Workspace`]: what sweeps on arrays keep for the next one, so that a steady-state step allocates nothing.

use std::sync::Arc;

use crate::input::SharedStorage;
use crate::memory::Pool;
use crate::param::Param;

/// The cotangents of a sweep by node.
pub(crate) type Cotangents<T> = Vec<Option<Vec<T>>>;

/// What a sweep on arrays keeps for the next one.
pub(crate) struct Workspace<T> {
    pub(crate) cotangents: Cotangents<T>,
    /// Gradients that are complete: they are handed out when the whole sweep is.
    pub(crate) complete: Vec<(Target<T>, Vec<T>)>,
}

impl<T> Default for Workspace<T> {
    fn default() -> Self {
        Self { cotangents: Vec::new(), complete: Vec::new() }
    }
}

/// The target of a complete gradient.
pub(crate) enum Target<T> {
    /// A source of this tape.
    Source(u32),
    /// A parameter that a segment uses.
    Param(Param<T>),
}

/// A sweep on arrays that ran: where it started, and the seed if it was not 1.
pub(crate) struct SweepRun<T> {
    pub(crate) from: u32,
    pub(crate) seed: Option<Seed<T>>,
}

/// The cotangent that a sweep begins with.
pub(crate) enum Seed<T> {
    /// In a buffer of the tape.
    Buffer(Vec<T>),
    /// In memory that belongs to others as well.
    Shared(Arc<dyn SharedStorage<T>>),
}

impl<T: Copy + Default> Seed<T> {
    /// Returns the elements in row-major order.
    pub(crate) fn values(&self) -> &[T] {
        match self {
            Self::Buffer(buffer) => buffer,
            Self::Shared(shared) => shared.values(),
        }
    }

    /// Gives a buffer back to its pool.
    pub(crate) fn give_back(self, pool: &Pool<T>) {
        if let Self::Buffer(buffer) = self {
            pool.put(buffer);
        }
    }
}
