//! How the messages of a check name elements and parameters.

use crate::param::Param;
use crate::scalar::Scalar;

/// Returns the index of an element of an array of this shape, given its number in row-major order.
pub(super) fn index_of(shape: &[usize], number: usize) -> Vec<usize> {
    let mut rest = number;
    let mut index: Vec<usize> = Vec::with_capacity(shape.len());
    for &length in shape.iter().rev() {
        index.push(rest % length.max(1));
        rest /= length.max(1);
    }
    index.reverse();
    index
}

/// Returns `parameter 1 (weight)`, or `parameter 1` if the parameter has no name.
pub(super) fn name_of<T: Scalar>(number: usize, parameter: &Param<T>) -> String {
    match parameter.name() {
        "" => format!("parameter {number}"),
        name => format!("parameter {number} ({name})"),
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{ArrayD, Dimension, IxDyn};

    use super::index_of;

    #[test]
    fn numbers_become_indices_in_row_major_order() {
        for shape in [&[2, 3, 4][..], &[5], &[]] {
            let array = ArrayD::<f64>::zeros(IxDyn(shape));
            for (number, (index, _)) in array.indexed_iter().enumerate() {
                assert_eq!(index_of(shape, number), index.slice());
            }
        }
    }
}
