//! Running sums along an axis.
//!
//! They are accumulated in `f64`: in single precision the rounding errors of a long sum add up.

use crate::kernel::index::AxisSplit;
use crate::number::Number;

/// How many neighbours along the inner axes are summed side by side.
const COLUMNS: usize = 32;

/// `y[o, i, :] = x[o, 0, :] + … + x[o, i, :]`.
pub(crate) fn cumsum<T: Number>(x: &[T], split: AxisSplit, y: &mut [T]) {
    let AxisSplit { length, inner, .. } = split;
    if x.is_empty() {
        return;
    }
    for (x, y) in x.chunks_exact(length * inner).zip(y.chunks_exact_mut(length * inner)) {
        match inner {
            1 => running_sum(x.iter().zip(y)),
            _ => running_sums(x, inner, 0..length, y),
        }
    }
}

/// `y[o, i, :] = x[o, i, :] + … + x[o, length - 1, :]`.
pub(crate) fn cumsum_from_last<T: Number>(x: &[T], split: AxisSplit, y: &mut [T]) {
    let AxisSplit { length, inner, .. } = split;
    if x.is_empty() {
        return;
    }
    for (x, y) in x.chunks_exact(length * inner).zip(y.chunks_exact_mut(length * inner)) {
        match inner {
            1 => running_sum(x.iter().zip(y).rev()),
            _ => running_sums(x, inner, (0..length).rev(), y),
        }
    }
}

/// Sums one row. The sum stays in a register.
#[inline(always)]
fn running_sum<'a, T: Number>(row: impl Iterator<Item = (&'a T, &'a mut T)>) {
    let mut sum = 0.0;
    for (&x, y) in row {
        sum += x.to_f64();
        *y = T::from_f64(sum);
    }
}

/// Sums rows of `inner` elements, in the order of `rows`.
#[inline(always)]
fn running_sums<T: Number>(x: &[T], inner: usize, rows: impl Iterator<Item = usize> + Clone, y: &mut [T]) {
    for first in (0..inner).step_by(COLUMNS) {
        let width = COLUMNS.min(inner - first);
        let mut sums = [0.0; COLUMNS];
        for row in rows.clone() {
            let start = row * inner + first;
            let (x, y) = (&x[start..start + width], &mut y[start..start + width]);
            for ((sum, &x), y) in sums.iter_mut().zip(x).zip(y) {
                *sum += x.to_f64();
                *y = T::from_f64(*sum);
            }
        }
    }
}
