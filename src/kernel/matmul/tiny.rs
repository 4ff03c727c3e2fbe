//! Products of a few numbers: a row of the result is an array of constant length, in registers.

use crate::kernel::matmul::lanes::stored;
use crate::kernel::matmul::operand::Product;
use crate::number::Vectors;

/// The largest number of columns of such a product.
pub(super) const COLUMNS: usize = 4;
/// The largest number of rows, and of steps.
pub(super) const ROWS: usize = 8;

/// Up to [`COLUMNS`] columns. Each sum takes one step after the other, and is added to the old content in the end.
#[inline(always)]
pub(super) fn tiny<T: Vectors>(product: Product<'_, T>) {
    match product.n {
        1 => columns::<T, 1>(product),
        2 => columns::<T, 2>(product),
        3 => columns::<T, 3>(product),
        _ => columns::<T, COLUMNS>(product),
    }
}

#[inline(always)]
fn columns<T: Vectors, const N: usize>(product: Product<'_, T>) {
    let Product { m, k, a, b, c, c_strides, accumulate, .. } = product;
    for i in 0..m {
        let row = |j: usize| i * c_strides.0 + j * c_strides.1;
        let mut sums = [T::default(); N];
        for p in 0..k {
            let factor = a.data[i * a.row_stride + p * a.col_stride];
            let start = p * b.row_stride;
            if b.col_stride == 1 {
                // A slice of constant length: one vector.
                let row = &b.data[start..start + N];
                (0..N).for_each(|j| sums[j] = T::fused(factor, row[j], sums[j]));
            } else {
                (0..N).for_each(|j| sums[j] = T::fused(factor, b.data[start + j * b.col_stride], sums[j]));
            }
        }
        (0..N).for_each(|j| c[row(j)] = stored(accumulate, &c[row(j)], sums[j]));
    }
}
