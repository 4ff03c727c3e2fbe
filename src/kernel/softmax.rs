//! Softmax and its logarithm along one axis, shifted by the maximum so that no exponential overflows.

use crate::kernel::elementwise::{map, map_in_place};
use crate::kernel::reduce::{max_columns, max_slice, sum_columns, sum_slice};
use crate::kernel::view::CHUNK;
use crate::number::{Algebra, Number, inlined};
use crate::threads::{PIECE, in_pieces};

/// `y = exp(x - max) / Σ exp(x - max)` along `axis` of the row-major `x`.
pub(crate) fn softmax<T: Number>(x: &[T], shape: &[usize], axis: usize, y: &mut [T]) {
    let (length, inner): (usize, usize) = (shape[axis], shape[axis + 1..].iter().product());
    in_pieces(y, length * inner, PIECE, |start, y| softmax_of(&x[start..][..y.len()], length, inner, y));
}

/// The softmax of some of the groups.
fn softmax_of<T: Number>(x: &[T], length: usize, inner: usize, y: &mut [T]) {
    if inner == 1 {
        shift_rows(x, length, y);
        // All rows at once: the exponential runs at full vector width even if rows are short.
        map_in_place(y, inlined!(|x: T| x.exp()));
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
        shift_columns(x, length, inner, y);
        map_in_place(y, inlined!(|x: T| x.exp()));
        for_columns(x, length, inner, y, |_, y, first, count| {
            let sum = &mut [T::ZERO; TILE][..count];
            sum_columns(y, inner, first, sum);
            for y in y.chunks_exact_mut(inner) {
                y[first..first + count].iter_mut().zip(&*sum).for_each(|(y, &sum)| *y /= sum);
            }
        });
    }
}

/// `y = x - max - ln Σ exp(x - max)` along `axis` of the row-major `x`.
pub(crate) fn log_softmax<T: Number>(x: &[T], shape: &[usize], axis: usize, y: &mut [T]) {
    let (length, inner): (usize, usize) = (shape[axis], shape[axis + 1..].iter().product());
    in_pieces(y, length * inner, PIECE, |start, y| log_softmax_of(&x[start..][..y.len()], length, inner, y));
}

/// The log-softmax of some of the groups.
fn log_softmax_of<T: Number>(x: &[T], length: usize, inner: usize, y: &mut [T]) {
    if inner > 1 {
        // The exponentials are stored in the memory of the result and summed there.
        shift_columns(x, length, inner, y);
        map_in_place(y, inlined!(|x: T| x.exp()));
        for_columns(x, length, inner, y, |x, y, first, count| {
            let (max, sum) = (&mut [T::ZERO; TILE][..count], &mut [T::ZERO; TILE][..count]);
            max_columns(x, inner, first, max);
            sum_columns(y, inner, first, sum);
            sum.iter_mut().for_each(|sum| *sum = sum.ln());
            for (x, y) in x.chunks_exact(inner).zip(y.chunks_exact_mut(inner)) {
                let x = x[first..first + count].iter().zip(max.iter().zip(&*sum));
                y[first..first + count].iter_mut().zip(x).for_each(|(y, (&x, (&max, &sum)))| *y = x - max - sum);
            }
        });
        return;
    }
    if y.is_empty() {
        return;
    }
    if length > CHUNK {
        for (x, y) in x.chunks_exact(length).zip(y.chunks_exact_mut(length)) {
            let max = max_slice(x);
            map(y, x, inlined!(|x: T| (x - max).exp()));
            let log_sum = sum_slice(y).ln();
            map(y, x, inlined!(|x: T| x - max - log_sum));
        }
    } else {
        shift_rows(x, length, y);
        let mut exponentials = [T::ZERO; CHUNK];
        for rows in y.chunks_mut(CHUNK / length * length) {
            let exponentials = &mut exponentials[..rows.len()];
            map(exponentials, rows, inlined!(|x: T| x.exp()));
            for (y, exponentials) in rows.chunks_exact_mut(length).zip(exponentials.chunks_exact(length)) {
                subtract(y, sum_row(exponentials).ln());
            }
        }
    }
}

/// `y = x - max(row)` for each row of `length` elements.
fn shift_rows<T: Number>(x: &[T], length: usize, y: &mut [T]) {
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

fn subtract<T: Number>(y: &mut [T], number: T) {
    for y in y {
        *y -= number;
    }
}

/// Rows up to this length are folded by a plain loop: choosing the instruction set would cost more than the loop.
const SHORT: usize = 32;

fn sum_row<T: Number>(row: &[T]) -> T {
    if row.len() <= SHORT { row.iter().copied().sum() } else { sum_slice(row) }
}

fn max_row<T: Number>(row: &[T]) -> T {
    if row.len() <= SHORT { row.iter().fold(T::NEG_INFINITY, |a, &b| a.maximum(b)) } else { max_slice(row) }
}

/// The number of columns that are processed together.
const TILE: usize = 64;

/// `y = x - max(column)` for an axis that is not the last: the elements of one softmax are `inner` apart in memory.
fn shift_columns<T: Number>(x: &[T], length: usize, inner: usize, y: &mut [T]) {
    for_columns(x, length, inner, y, |x, y, first, count| {
        let max = &mut [T::ZERO; TILE][..count];
        max_columns(x, inner, first, max);
        for (x, y) in x.chunks_exact(inner).zip(y.chunks_exact_mut(inner)) {
            let x = x[first..first + count].iter().zip(&*max);
            y[first..first + count].iter_mut().zip(x).for_each(|(y, (&x, &max))| *y = x - max);
        }
    });
}

/// Calls `f` for each matrix of `length` rows and `inner` columns in `x` and `y`, for at most `TILE` columns at a time.
/// The last two arguments are the first column and the number of columns.
fn for_columns<T: Number>(x: &[T], length: usize, inner: usize, y: &mut [T], f: impl Fn(&[T], &mut [T], usize, usize)) {
    if x.is_empty() {
        return;
    }
    for (x, y) in x.chunks_exact(length * inner).zip(y.chunks_exact_mut(length * inner)) {
        for first in (0..inner).step_by(TILE) {
            f(x, y, first, TILE.min(inner - first));
        }
    }
}
