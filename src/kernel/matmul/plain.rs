//! The same products by plain loops, one element after the other: for machines without vector instructions, and a second
//! statement of the order of summation.

use crate::kernel::matmul::few::chains;
use crate::kernel::matmul::lanes::{LINE, stored};
use crate::kernel::matmul::operand::{Accumulate, Product};
use crate::kernel::matmul::tiles::piece;
use crate::number::Vectors;

/// Each sum begins with the old content, or with 0, and takes one step after the other.
pub(super) fn one_by_one<T: Vectors>(product: Product<'_, T>) {
    let Product { k, accumulate, .. } = product;
    for_elements(product, |c, add| {
        let start = if accumulate == Accumulate::Yes { *c } else { T::default() };
        *c = (0..k).fold(start, add);
    });
}

/// Some sums side by side. They are added from the first to the last.
pub(super) fn in_chains<T: Vectors>(product: Product<'_, T>) {
    let Product { n, k, accumulate, .. } = product;
    let chains = chains::<T>(n);
    for_elements(product, |c, add| {
        let sum = |chain: usize| (chain..k).step_by(chains).fold(T::default(), add);
        *c = stored(accumulate, c, (1..chains).fold(sum(0), |total, chain| total + sum(chain)));
    });
}

/// The sums of pieces of `k`, each added to the result.
pub(super) fn in_pieces<T: Vectors>(product: Product<'_, T>) {
    let Product { n, k, a, accumulate, .. } = product;
    let piece = piece(n, k, a);
    for_elements(product, |c, add| {
        for start in (0..k).step_by(piece) {
            let sum = (start..k.min(start + piece)).fold(T::default(), add);
            *c = stored(accumulate.at(start), c, sum);
        }
    });
}

/// A sum for each lane of a line, then the sum of the lanes.
pub(super) fn in_lanes<T: Vectors>(product: Product<'_, T>) {
    let Product { k, accumulate, .. } = product;
    let line = LINE / size_of::<T>();
    let whole = k / line * line;
    for_elements(product, |c, add| {
        let mut sums = [T::default(); LINE];
        for p in 0..whole {
            sums[p % line] = add(sums[p % line], p);
        }
        // The steps after the last whole line go to the last lanes, or to the first if there is no whole line. The other
        // lanes add the product of two zeros.
        let first = if whole == 0 { 0 } else { line - (k - whole) };
        if whole < k {
            for (lane, sum) in sums[..line].iter_mut().enumerate() {
                *sum = match lane.checked_sub(first) {
                    Some(step) if whole + step < k => add(*sum, whole + step),
                    _ => T::fused(T::default(), T::default(), *sum),
                };
            }
        }
        let mut width = line / 2;
        while width > 0 {
            for lane in 0..width {
                sums[lane] = sums[lane] + sums[lane + width];
            }
            width /= 2;
        }
        *c = stored(accumulate, c, sums[0]);
    });
}

/// Calls `f` with each element of `c` and a function that adds the product of a step to a sum.
#[inline(always)]
fn for_elements<T: Vectors>(product: Product<'_, T>, f: impl Fn(&mut T, &dyn Fn(T, usize) -> T)) {
    let Product { m, n, a, b, c, c_strides, .. } = product;
    for i in 0..m {
        for j in 0..n {
            let add = |sum: T, p: usize| {
                let a = a.data[i * a.row_stride + p * a.col_stride];
                T::fused(a, b.data[p * b.row_stride + j * b.col_stride], sum)
            };
            f(&mut c[i * c_strides.0 + j * c_strides.1], &add);
        }
    }
}
