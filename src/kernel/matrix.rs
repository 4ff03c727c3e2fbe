//! Matrices that keep their memory when their shape changes.

use std::mem;

use ndarray::Array2;

use crate::number::Number;

/// Gives a matrix this shape and returns its elements in row-major order, to be overwritten. It reuses the memory.
pub(crate) fn shape_to<T: Number>(array: &mut Array2<T>, (rows, columns): (usize, usize)) -> &mut [T] {
    if array.dim() != (rows, columns) || !array.is_standard_layout() {
        let (mut values, _) = mem::take(array).into_raw_vec_and_offset();
        values.resize(rows * columns, T::ZERO);
        *array = Array2::from_shape_vec((rows, columns), values).expect("as many elements as the shape takes");
    }
    array.as_slice_mut().expect("a matrix in standard layout")
}
