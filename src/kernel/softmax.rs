//! Softmax and its logarithm along one axis, shifted by the maximum so that no exponential overflows.

use crate::kernel::elementwise::{map, map_in_place};
use crate::kernel::reduce::{max_slice, maximum, sum_slice};
use crate::kernel::view::CHUNK;
use crate::scalar::Scalar;

/// `y = exp(x - max) / Σ exp(x - max)` along `axis` of the row-major `x`.
pub(crate) fn softmax<T: Scalar>(x: &[T], shape: &[usize], axis: usize, y: &mut [T]) {
    let length = shape[axis];
    let inner: usize = shape[axis + 1..].iter().product();
    if inner == 1 {
        shift_rows(x, length, y);
        // All rows at once: the exponential runs at full vector width however short the rows are.
        map_in_place(
            y,
            #[inline(always)]
            |x: T| x.exp(),
        );
        if y.is_empty() {
            return;
        }
        for y in y.chunks_exact_mut(length) {
            let sum = sum_row(y);
            for y in y {
                *y /= sum;
            }
        }
    } else {
        along_axis(x, y, length, inner, |sum| sum, |x, sum| x.exp() / sum);
    }
}

/// `y = x - max - ln Σ exp(x - max)` along `axis` of the row-major `x`.
pub(crate) fn log_softmax<T: Scalar>(x: &[T], shape: &[usize], axis: usize, y: &mut [T]) {
    let length = shape[axis];
    let inner: usize = shape[axis + 1..].iter().product();
    if inner > 1 {
        along_axis(x, y, length, inner, T::ln, |x, log_sum| x - log_sum);
        return;
    }
    shift_rows(x, length, y);
    if y.is_empty() {
        return;
    }
    let mut exponentials = [T::ZERO; CHUNK];
    if length > CHUNK {
        for y in y.chunks_exact_mut(length) {
            let mut sum = T::ZERO;
            for block in y.chunks(CHUNK) {
                let exponentials = &mut exponentials[..block.len()];
                map(
                    exponentials,
                    block,
                    #[inline(always)]
                    |x: T| x.exp(),
                );
                sum += sum_slice(exponentials);
            }
            subtract(y, sum.ln());
        }
    } else {
        for rows in y.chunks_mut(CHUNK / length * length) {
            let exponentials = &mut exponentials[..rows.len()];
            map(
                exponentials,
                rows,
                #[inline(always)]
                |x: T| x.exp(),
            );
            for (y, exponentials) in rows.chunks_exact_mut(length).zip(exponentials.chunks_exact(length)) {
                subtract(y, sum_row(exponentials).ln());
            }
        }
    }
}

/// `y = x - max(row)` for each row of `length` elements.
fn shift_rows<T: Scalar>(x: &[T], length: usize, y: &mut [T]) {
    if x.is_empty() {
        return;
    }
    for (x, y) in x.chunks_exact(length).zip(y.chunks_exact_mut(length)) {
        let max = max_row(x);
        for (y, &x) in y.iter_mut().zip(x) {
            *y = x - max;
        }
    }
}

fn subtract<T: Scalar>(y: &mut [T], number: T) {
    for y in y {
        *y -= number;
    }
}

/// Rows shorter than this are folded on the spot: choosing the instruction set costs more than they do.
const SHORT: usize = 32;

fn sum_row<T: Scalar>(row: &[T]) -> T {
    if row.len() <= SHORT { row.iter().copied().sum() } else { sum_slice(row) }
}

fn max_row<T: Scalar>(row: &[T]) -> T {
    if row.len() <= SHORT { row.iter().fold(T::NEG_INFINITY, |a, &b| maximum(a, b)) } else { max_slice(row) }
}

/// The same for an axis that is not the last: elements of one softmax lie `inner` apart.
fn along_axis<T: Scalar>(
    x: &[T],
    y: &mut [T],
    length: usize,
    inner: usize,
    norm: impl Fn(T) -> T,
    finish: impl Fn(T, T) -> T,
) {
    if x.is_empty() {
        return;
    }
    for (x, y) in x.chunks_exact(length * inner).zip(y.chunks_exact_mut(length * inner)) {
        for column in 0..inner {
            let elements = || x[column..].iter().step_by(inner).copied();
            let max = elements().fold(T::NEG_INFINITY, |a, b| maximum(a, b));
            let norm = norm(elements().map(|x| (x - max).exp()).sum());
            for (y, x) in y[column..].iter_mut().step_by(inner).zip(elements()) {
                *y = finish(x - max, norm);
            }
        }
    }
}
