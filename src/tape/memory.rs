//! [`Memory`]: values, buffers and gradients of a recording, apart from what was recorded.

use std::cell::RefCell;
use std::sync::Arc;

use elsa::FrozenVec;

use super::nodes::{Dims, id_of};
use crate::input::SharedStorage;
use crate::memory::Pool;

/// Which memory a value lies in.
#[derive(Clone, Copy)]
pub(super) enum Storage {
    /// A buffer of the tape.
    Buffer(u32),
    /// Memory that belongs to others as well.
    Shared(u32),
}

/// Where the value of a node lies.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) storage: Storage,
    /// The position of the first element.
    pub(super) offset: usize,
    /// The number of elements from there on: of a strided value, at least those that it spans.
    pub(super) length: usize,
    /// `None` for row-major without gaps.
    pub(super) strides: Option<Dims>,
    /// The gradient of a leaf that a sweep has reached.
    pub(super) grad: Option<u32>,
}

impl Place {
    /// Returns the place of a row-major value at the beginning of its memory.
    #[inline]
    pub(super) fn whole(storage: Storage, length: usize) -> Self {
        Self { storage, offset: 0, length, strides: None, grad: None }
    }
}

/// The gradient of a leaf.
pub(super) enum LeafGrad<T> {
    /// Not read yet: a later sweep adds to it in place.
    Private(Vec<T>),
    /// In a buffer that stays as it is, because views of it were handed out.
    Read(u32),
}

/// The memory of a tape.
pub(super) struct Memory<T> {
    /// Values, and gradients of leaves. A frozen vector only grows, so that references into its buffers stay valid
    /// while more is recorded.
    pub(super) buffers: FrozenVec<Vec<T>>,
    /// Values that belong to others as well: parameters, and constants that were handed over in an `Arc`.
    pub(super) shared: FrozenVec<Arc<dyn SharedStorage<T>>>,
    /// Where the value of each node lies.
    pub(super) places: RefCell<Vec<Place>>,
    /// The gradients of leaves.
    pub(super) grads: RefCell<Vec<LeafGrad<T>>>,
    pub(super) pool: Pool<T>,
    pub(super) index_pool: Pool<u32>,
}

impl<T> Default for Memory<T> {
    fn default() -> Self {
        Self {
            buffers: FrozenVec::new(),
            shared: FrozenVec::new(),
            places: RefCell::default(),
            grads: RefCell::default(),
            pool: Pool::default(),
            index_pool: Pool::default(),
        }
    }
}

impl<T: Copy + Default> Memory<T> {
    /// Forgets all values and keeps their memory.
    pub(super) fn reset(&mut self) {
        self.places.get_mut().clear();
        self.shared.as_mut().clear();
        for grad in self.grads.get_mut().drain(..) {
            if let LeafGrad::Private(buffer) = grad {
                self.pool.put(buffer);
            }
        }
        // The first buffers go back last: the next recording begins with the memory it began with before.
        for buffer in self.buffers.as_mut().drain(..).rev() {
            self.pool.put(buffer);
        }
    }
}

impl<T> Memory<T> {
    /// Keeps a buffer until reset.
    #[inline]
    pub(super) fn keep(&self, buffer: Vec<T>) -> Storage {
        Storage::Buffer(freeze(&self.buffers, buffer))
    }

    /// Keeps memory of others until reset.
    pub(super) fn share(&self, values: Arc<dyn SharedStorage<T>>) -> Storage {
        Storage::Shared(freeze(&self.shared, values))
    }

    /// Returns where the value of a node lies.
    #[inline]
    pub(super) fn place(&self, id: u32) -> Place {
        self.places.borrow()[id as usize]
    }

    /// Returns a whole buffer, or the whole of a memory that belongs to others as well.
    #[inline]
    pub(super) fn all(&self, storage: Storage) -> &[T] {
        match storage {
            Storage::Buffer(id) => &self.buffers[id as usize],
            Storage::Shared(id) => self.shared[id as usize].values(),
        }
    }

    /// Returns the memory of a value, from its first element on.
    #[inline]
    pub(super) fn data(&self, place: &Place) -> &[T] {
        &self.all(place.storage)[place.offset..place.offset + place.length]
    }
}

/// Appends to a frozen vector and returns the position.
#[inline]
pub(super) fn freeze<V>(list: &FrozenVec<V>, value: V) -> u32 {
    let id = id_of(list.len());
    list.push(value);
    id
}
