//! Memory for copies of matrices.

use std::mem;
use std::ops::{Deref, DerefMut};

use crate::number::Vectors;

/// The most buffers that a thread keeps for the next factorization.
const KEPT: usize = 6;
/// The most bytes of a kept buffer. New memory costs a page fault for each page, which is much for a matrix of this size and
/// little for a larger one.
const LARGEST: usize = 4 << 20;

/// Memory that the thread keeps after use. A new buffer holds old numbers or zeros.
pub(super) struct Buffer<T: Vectors> {
    memory: Vec<T>,
    length: usize,
}

impl<T: Vectors> Buffer<T> {
    pub(super) fn new(length: usize) -> Self {
        let mut buffer = Self { memory: Vec::new(), length: 0 };
        buffer.set_length(length);
        buffer
    }

    pub(super) fn copy_of(x: &[T]) -> Self {
        let mut buffer = Self::new(x.len());
        buffer.copy_from_slice(x);
        buffer
    }

    pub(super) fn set_length(&mut self, length: usize) {
        if self.memory.len() < length {
            if self.memory.is_empty() {
                self.memory = T::with_spare(Vec::pop).unwrap_or_default();
            }
            if self.memory.len() < length {
                self.memory.resize(length, T::default());
            }
        }
        self.length = length;
    }
}

impl<T: Vectors> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.memory[..self.length]
    }
}

impl<T: Vectors> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.memory[..self.length]
    }
}

impl<T: Vectors> Drop for Buffer<T> {
    fn drop(&mut self) {
        let memory = mem::take(&mut self.memory);
        if !memory.is_empty() && memory.capacity() * size_of::<T>() <= LARGEST {
            T::with_spare(|spare| {
                if spare.len() < KEPT {
                    spare.push(memory);
                }
            });
        }
    }
}
