//! Softmax and its logarithm along one axis, shifted by the maximum so that no exponential overflows.

use pulp::{Simd, WithSimd};

use crate::kernel::elementwise::map_in_place;
use crate::kernel::reduce::{max_columns, max_inlined, sum_columns, sum_inlined};
use crate::kernel::view::CHUNK;
use crate::number::{Algebra, Number, dispatch, inlined};
use crate::threads::{PIECE, in_pieces};

/// `y = exp(x - max) / Σ exp(x - max)` along `axis` of the row-major `x`.
pub(crate) fn softmax<T: Number>(x: &[T], shape: &[usize], axis: usize, y: &mut [T]) {
    let (length, inner): (usize, usize) = (shape[axis], shape[axis + 1..].iter().product());
    in_pieces(y, length * inner, PIECE, |start, y| softmax_of(&x[start..][..y.len()], length, inner, y));
}

/// The softmax of some of the groups.
fn softmax_of<T: Number>(x: &[T], length: usize, inner: usize, y: &mut [T]) {
    if inner == 1 {
        dispatch(Rows { x, length, y, logarithm: Logarithm::No });
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
    dispatch(Rows { x, length, y, logarithm: Logarithm::Yes });
}

/// Whether the logarithm of the softmax is computed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Logarithm {
    No,
    Yes,
}

/// The softmax of each row of `length` elements, or its logarithm, in one kernel: a block of rows takes all steps before
/// the next block begins, so that it stays in the nearest cache.
struct Rows<'a, T> {
    x: &'a [T],
    length: usize,
    y: &'a mut [T],
    logarithm: Logarithm,
}

impl<T: Number> WithSimd for Rows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, length, y, logarithm } = self;
        if y.is_empty() {
            return;
        }
        // Plain loops: the adapters of iterators are not always inlined, and would be compiled without the instructions.
        if length > CHUNK && logarithm == Logarithm::Yes {
            for (x, y) in x.chunks_exact(length).zip(y.chunks_exact_mut(length)) {
                let max = max_inlined(simd, x);
                for (y, &x) in y.iter_mut().zip(x) {
                    *y = (x - max).exp();
                }
                let log_sum = sum_inlined(simd, y).ln();
                for (y, &x) in y.iter_mut().zip(x) {
                    *y = x - max - log_sum;
                }
            }
            return;
        }
        let mut exponentials = [T::ZERO; CHUNK];
        let block = (CHUNK / length).max(1) * length;
        for (x, y) in x.chunks(block).zip(y.chunks_mut(block)) {
            for (x, y) in x.chunks_exact(length).zip(y.chunks_exact_mut(length)) {
                let max = max_inlined(simd, x);
                for (y, &x) in y.iter_mut().zip(x) {
                    *y = x - max;
                }
            }
            // All rows of the block at once: the exponential runs at full vector width even if rows are short.
            if logarithm == Logarithm::No {
                for y in y.iter_mut() {
                    *y = y.exp();
                }
                for y in y.chunks_exact_mut(length) {
                    let sum = sum_inlined(simd, y);
                    for y in y {
                        *y /= sum;
                    }
                }
            } else {
                let exponentials = &mut exponentials[..y.len()];
                for (e, &y) in exponentials.iter_mut().zip(&*y) {
                    *e = y.exp();
                }
                for (y, exponentials) in y.chunks_exact_mut(length).zip(exponentials.chunks_exact(length)) {
                    let log_sum = sum_inlined(simd, exponentials).ln();
                    for y in y {
                        *y -= log_sum;
                    }
                }
            }
        }
    }
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
