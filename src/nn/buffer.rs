//! [`Buffer`]: a matrix that keeps its memory from one pass to the next.

use ndarray::{Array2, ArrayD, ArrayRef2};

use crate::kernel::matrix::shape_to;
use crate::scalar::Scalar;

/// A row-major matrix that every pass overwrites.
///
/// It allocates only when it grows beyond its largest size so far: after a smaller last batch, the memory of the full
/// batches is still there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Buffer<T> {
    array: Array2<T>,
}

impl<T: Scalar> Buffer<T> {
    /// Returns the matrix.
    pub(crate) fn array(&self) -> &Array2<T> {
        &self.array
    }

    /// Returns the matrix, to be written.
    pub(crate) fn array_mut(&mut self) -> &mut Array2<T> {
        &mut self.array
    }

    /// Returns the elements in row-major order.
    pub(crate) fn values(&self) -> &[T] {
        self.array.as_slice().expect("a buffer is row-major")
    }

    /// Returns the elements in row-major order after a change of the matrix to this shape. They are arbitrary.
    pub(crate) fn shaped(&mut self, shape: (usize, usize)) -> &mut [T] {
        shape_to(&mut self.array, shape)
    }

    /// Copies another matrix and returns the elements in row-major order.
    pub(crate) fn copy_from(&mut self, matrix: &ArrayRef2<T>) -> &mut [T] {
        self.shaped(matrix.dim());
        self.array.assign(matrix);
        self.array.as_slice_mut().expect("a buffer is row-major")
    }

    /// Returns the elements of a matrix in row-major order. A matrix of another layout is copied to this buffer.
    pub(crate) fn rows_of<'a>(&'a mut self, matrix: &'a ArrayRef2<T>) -> &'a [T] {
        match matrix.as_slice() {
            Some(values) => values,
            None => self.copy_from(matrix),
        }
    }
}

/// Returns the elements of a parameter's value in row-major order.
pub(crate) fn row_major<T: Scalar>(value: &ArrayD<T>) -> &[T] {
    value.as_slice().expect("a parameter's value is in standard layout")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_smaller_batch_keeps_the_memory() {
        let mut buffer = Buffer::<f64>::default();
        let memory = buffer.shaped((4, 3)).as_ptr();
        for rows in [1, 4, 0, 4] {
            assert_eq!(buffer.shaped((rows, 3)).len(), 3 * rows);
            assert_eq!(buffer.shaped((rows, 3)).as_ptr(), memory);
            assert_eq!(buffer.array().dim(), (rows, 3));
        }
    }
}
