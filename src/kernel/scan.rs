//! Running sums along an axis.

use crate::kernel::index::Around;
use crate::scalar::Scalar;

/// `y[o, i, :] = x[o, 0, :] + … + x[o, i, :]`.
pub(crate) fn cumsum<T: Scalar>(x: &[T], around: Around, y: &mut [T]) {
    let Around { length, inner, .. } = around;
    if x.is_empty() {
        return;
    }
    if inner == 1 {
        for (x, y) in x.chunks_exact(length).zip(y.chunks_exact_mut(length)) {
            running_sum(x.iter().zip(y));
        }
        return;
    }
    y.copy_from_slice(x);
    for y in y.chunks_exact_mut(length * inner) {
        for start in (inner..length * inner).step_by(inner) {
            let (before, rest) = y.split_at_mut(start);
            add(&mut rest[..inner], &before[start - inner..]);
        }
    }
}

/// `y[o, i, :] = x[o, i, :] + … + x[o, length - 1, :]`.
pub(crate) fn cumsum_from_last<T: Scalar>(x: &[T], around: Around, y: &mut [T]) {
    let Around { length, inner, .. } = around;
    if x.is_empty() {
        return;
    }
    if inner == 1 {
        for (x, y) in x.chunks_exact(length).zip(y.chunks_exact_mut(length)) {
            running_sum(x.iter().zip(y).rev());
        }
        return;
    }
    y.copy_from_slice(x);
    for y in y.chunks_exact_mut(length * inner) {
        for start in (inner..length * inner).step_by(inner).rev() {
            let (before, rest) = y.split_at_mut(start);
            add(&mut before[start - inner..], &rest[..inner]);
        }
    }
}

/// Along the innermost axis the sum stays in a register.
#[inline(always)]
fn running_sum<'a, T: Scalar>(row: impl Iterator<Item = (&'a T, &'a mut T)>) {
    let mut sum = T::ZERO;
    for (&x, y) in row {
        sum += x;
        *y = sum;
    }
}

#[inline(always)]
fn add<T: Scalar>(a: &mut [T], b: &[T]) {
    for (a, &b) in a.iter_mut().zip(b) {
        *a += b;
    }
}
