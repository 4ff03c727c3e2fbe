//! Rows chosen by index, joined, and put back. An array is seen as `(outer, length, inner)` around one axis.

use crate::scalar::Scalar;

/// The lengths before, at and after an axis.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Around {
    pub(crate) outer: usize,
    pub(crate) length: usize,
    pub(crate) inner: usize,
}

impl Around {
    pub(crate) fn new(shape: &[usize], axis: usize) -> Self {
        Self { outer: shape[..axis].iter().product(), length: shape[axis], inner: shape[axis + 1..].iter().product() }
    }
}

/// `y[o, i, :] = x[o, indices[i], :]`.
pub(crate) fn select<T: Scalar>(x: &[T], around: Around, indices: &[u32], y: &mut [T]) {
    let Around { length, inner, .. } = around;
    if y.is_empty() {
        return;
    }
    for (x, y) in x.chunks_exact(length * inner).zip(y.chunks_exact_mut(indices.len() * inner)) {
        for (&index, y) in indices.iter().zip(y.chunks_exact_mut(inner)) {
            let start = index as usize * inner;
            y.copy_from_slice(&x[start..start + inner]);
        }
    }
}

/// `y[o, indices[i], :] += x[o, i, :]`; `around` describes `y`. An index that occurs twice receives both.
pub(crate) fn add_selected<T: Scalar>(x: &[T], around: Around, indices: &[u32], y: &mut [T]) {
    let Around { length, inner, .. } = around;
    if x.is_empty() {
        return;
    }
    for (x, y) in x.chunks_exact(indices.len() * inner).zip(y.chunks_exact_mut(length * inner)) {
        for (&index, x) in indices.iter().zip(x.chunks_exact(inner)) {
            let start = index as usize * inner;
            for (y, &x) in y[start..start + inner].iter_mut().zip(x) {
                *y += x;
            }
        }
    }
}

/// `y[i] = x[i, columns[i]]` for rows of `width` elements.
pub(crate) fn pick<T: Scalar>(x: &[T], width: usize, columns: &[u32], y: &mut [T]) {
    for (row, (&column, y)) in columns.iter().zip(y).enumerate() {
        *y = x[row * width + column as usize];
    }
}

/// `y[i, columns[i]] += x[i]` for rows of `width` elements.
pub(crate) fn add_picked<T: Scalar>(x: &[T], width: usize, columns: &[u32], y: &mut [T]) {
    for (row, (&column, &x)) in columns.iter().zip(x).enumerate() {
        y[row * width + column as usize] += x;
    }
}

/// Writes `x` into the rows of `y` that begin at `start` along the axis; `around` describes `y`.
pub(crate) fn place<T: Scalar>(x: &[T], around: Around, start: usize, y: &mut [T]) {
    let Around { outer, length, inner } = around;
    if x.is_empty() {
        return;
    }
    for (x, y) in x.chunks_exact(x.len() / outer).zip(y.chunks_exact_mut(length * inner)) {
        y[start * inner..start * inner + x.len()].copy_from_slice(x);
    }
}
