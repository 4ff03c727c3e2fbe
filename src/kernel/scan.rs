//! Running sums along an axis.

use crate::kernel::index::Around;
use crate::scalar::Scalar;

/// `y[o, i, :] = x[o, 0, :] + … + x[o, i, :]`.
pub(crate) fn cumsum<T: Scalar>(x: &[T], around: Around, y: &mut [T]) {
    let Around { length, inner, .. } = around;
    if x.is_empty() {
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
    y.copy_from_slice(x);
    for y in y.chunks_exact_mut(length * inner) {
        for start in (inner..length * inner).step_by(inner).rev() {
            let (before, rest) = y.split_at_mut(start);
            add(&mut before[start - inner..], &rest[..inner]);
        }
    }
}

#[inline(always)]
fn add<T: Scalar>(a: &mut [T], b: &[T]) {
    for (a, &b) in a.iter_mut().zip(b) {
        *a += b;
    }
}
