//! [`Pool`]: recycled buffers. In steady state a training step takes all its memory from here and returns it.

use std::cell::RefCell;
use std::mem;
use std::ops::{Deref, DerefMut};

/// Free buffers, in classes by the largest power of two that their capacity reaches.
///
/// A request takes any buffer of its class, so that a batch of another size finds memory, too. The memory in the pool
/// is bounded by the memory that was in use at one time.
#[derive(Debug)]
pub struct Pool<T> {
    classes: RefCell<Vec<Vec<Vec<T>>>>,
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self { classes: RefCell::new(Vec::new()) }
    }
}

impl<T: Copy + Default> Pool<T> {
    /// Returns a buffer of `length` elements with unspecified (but valid) content.
    #[inline]
    pub(crate) fn take(&self, length: usize) -> Vec<T> {
        let class = usize::BITS - length.saturating_sub(1).leading_zeros();
        let recycled = self.classes.borrow_mut().get_mut(class as usize).and_then(Vec::pop);
        let mut buffer = recycled.unwrap_or_else(|| Vec::with_capacity(1 << class));
        // Truncates, or fills only the elements beyond the previous length: neither if sizes repeat.
        buffer.resize(length, T::default());
        buffer
    }

    /// Returns a buffer as [`take`](Self::take) does; `None` if there is no memory for it.
    #[inline]
    pub(crate) fn try_take(&self, length: usize) -> Option<Vec<T>> {
        // A large buffer is requested with its exact size, in a way that the system may refuse.
        const LARGE: usize = 1 << 24;
        if length >= LARGE {
            let class = usize::BITS - (length - 1).leading_zeros();
            let recycled = self.classes.borrow().get(class as usize).is_some_and(|buffers| !buffers.is_empty());
            if !recycled {
                let mut buffer = Vec::new();
                buffer.try_reserve_exact(length).ok()?;
                buffer.resize(length, T::default());
                return Some(buffer);
            }
        }
        Some(self.take(length))
    }

    /// Takes a buffer back.
    #[inline]
    pub(crate) fn put(&self, buffer: Vec<T>) {
        if buffer.capacity() == 0 {
            return;
        }
        // A buffer from elsewhere may have any capacity. It goes to the class in which it is large enough for every
        // request.
        let class = buffer.capacity().ilog2() as usize;
        let mut classes = self.classes.borrow_mut();
        if classes.len() <= class {
            classes.resize_with(class + 1, Vec::new);
        }
        classes[class].push(buffer);
    }

    /// Exchanges all buffers with another pool.
    pub(crate) fn trade(&self, other: &Self) {
        self.classes.swap(&other.classes);
    }

    /// Wraps a buffer, which returns to this pool when dropped.
    #[inline]
    pub(crate) fn hold(&self, buffer: Vec<T>) -> Lent<'_, T> {
        Lent { buffer, pool: self }
    }

    /// Returns a new buffer, which returns to this pool when dropped.
    #[inline]
    pub(crate) fn lend(&self, length: usize) -> Lent<'_, T> {
        self.hold(self.take(length))
    }
}

/// A buffer that returns to its pool when dropped.
pub(crate) struct Lent<'a, T: Copy + Default> {
    buffer: Vec<T>,
    pool: &'a Pool<T>,
}

impl<T: Copy + Default> Lent<'_, T> {
    /// Returns the buffer, which then does not return to the pool.
    #[inline]
    pub(crate) fn keep(mut self) -> Vec<T> {
        mem::take(&mut self.buffer)
    }
}

impl<T: Copy + Default> Drop for Lent<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.pool.put(mem::take(&mut self.buffer));
    }
}

impl<T: Copy + Default> Deref for Lent<'_, T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        &self.buffer
    }
}

impl<T: Copy + Default> DerefMut for Lent<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.buffer
    }
}

impl<T: Copy + Default> Clone for Lent<'_, T> {
    fn clone(&self) -> Self {
        let mut copy = self.pool.lend(self.buffer.len());
        copy.copy_from_slice(&self.buffer);
        copy
    }
}
