//! How an operation runs on arrays: the arm that hands each to its kernel.

use super::{Binary, IndexList, Op, Transposed, Unary};
use crate::kernel::index::{self, Around};
use crate::kernel::matmul::{Matrix, Store, matmul};
use crate::kernel::view::{self, View};
use crate::kernel::{elementwise, reduce, softmax};
use crate::memory::{Lent, Pool};
use crate::scalar::Scalar;
use crate::shape::{AxisSet, Shape, broadcast};

/// Where the index lists of operations are found.
pub(crate) trait Lists {
    /// Returns the indices.
    fn indices(&self, list: IndexList) -> &[u32];
}

/// The kernels that the table and the reductions run.
///
/// They are functions of each number type and not generic ones, so that they are compiled once, with this crate, and not again
/// with every crate that uses it.
#[doc(hidden)]
pub trait Kernels: Sized {
    /// `y = f(x)`.
    fn unary(op: Unary<Self>, x: &[Self], y: &mut [Self]);
    /// `g = f'(g, x, y)`.
    fn pull_unary(op: Unary<Self>, g: &mut [Self], x: &[Self], y: &[Self]);
    /// `y = f(a, b)`, broadcast to `shape`.
    fn binary(op: Binary, a: View<'_, Self>, b: View<'_, Self>, shape: &[usize], y: &mut [Self]);
    /// `g = f'(g, a, b, y)` for operand `k`, broadcast to the shape of `y`.
    fn pull_binary(op: Binary, k: usize, g: &mut [Self], a: View<'_, Self>, b: View<'_, Self>, y: View<'_, Self>);
    /// The sum over axes.
    fn sum_over(x: &[Self], shape: &[usize], axes: AxisSet, out: &mut [Self]);
    /// The maximum over axes.
    fn max_over(x: &[Self], shape: &[usize], axes: AxisSet, out: &mut [Self]);
    /// Softmax along an axis.
    fn softmax(x: &[Self], shape: &[usize], axis: usize, y: &mut [Self]);
    /// The logarithm of softmax along an axis.
    fn log_softmax(x: &[Self], shape: &[usize], axis: usize, y: &mut [Self]);
}

macro_rules! kernels {
    ($($T:ident)*) => { $(
        impl Kernels for $T {
            fn unary(op: Unary<$T>, x: &[$T], y: &mut [$T]) {
                op.forward(x, y);
            }

            fn pull_unary(op: Unary<$T>, g: &mut [$T], x: &[$T], y: &[$T]) {
                op.pull(g, x, y);
            }

            fn binary(op: Binary, a: View<'_, $T>, b: View<'_, $T>, shape: &[usize], y: &mut [$T]) {
                op.forward(a, b, shape, y);
            }

            fn pull_binary(op: Binary, k: usize, g: &mut [$T], a: View<'_, $T>, b: View<'_, $T>, y: View<'_, $T>) {
                op.pull(k, g, a, b, y.data, y.shape);
            }

            fn sum_over(x: &[$T], shape: &[usize], axes: AxisSet, out: &mut [$T]) {
                reduce::sum(x, shape, axes, out);
            }

            fn max_over(x: &[$T], shape: &[usize], axes: AxisSet, out: &mut [$T]) {
                reduce::max(x, shape, axes, out);
            }

            fn softmax(x: &[$T], shape: &[usize], axis: usize, y: &mut [$T]) {
                softmax::softmax(x, shape, axis, y);
            }

            fn log_softmax(x: &[$T], shape: &[usize], axis: usize, y: &mut [$T]) {
                softmax::log_softmax(x, shape, axis, y);
            }
        }
    )* };
}
kernels!(f32 f64);

impl<T: Scalar> Op<T> {
    /// Computes the operation into `out`, row-major, of the shape that the shape rule gives. What `out` held before is
    /// never read.
    pub(crate) fn run(
        &self,
        operands: &[View<'_, T>],
        shape: &[usize],
        out: &mut [T],
        lists: &impl Lists,
        pool: &Pool<T>,
    ) {
        match (self, operands) {
            (Self::Unary(unary), &[x]) => T::unary(*unary, &row_major(x, pool), out),
            (Self::Binary(binary), &[a, b]) => T::binary(*binary, a, b, shape, out),
            (Self::Matmul { .. }, &[a, b]) => self.run_matmul(a, b, out, Store::Overwrite),
            (Self::Sum { axes, .. }, &[x]) => T::sum_over(&row_major(x, pool), x.shape, *axes, out),
            (Self::SumTo(target), &[x]) => {
                T::sum_over(&row_major(x, pool), x.shape, AxisSet::stretched(target, x.shape), out);
            }
            (Self::Max { axes, .. }, &[x]) => T::max_over(&row_major(x, pool), x.shape, *axes, out),
            (Self::Softmax { axis }, &[x]) => T::softmax(&row_major(x, pool), x.shape, *axis, out),
            (Self::LogSoftmax { axis }, &[x]) => T::log_softmax(&row_major(x, pool), x.shape, *axis, out),
            (Self::Reshape(_), &[x]) => view::copy(x, x.shape, out),
            (Self::IndexSelect { axis, indices }, &[x]) => {
                index::select(&row_major(x, pool), Around::new(x.shape, *axis), lists.indices(*indices), out);
            }
            (Self::Pick { columns }, &[x]) => {
                index::pick(&row_major(x, pool), x.shape[1], lists.indices(*columns), out)
            }
            (Self::Concat { axis }, parts) => {
                let mut start = 0;
                for &part in parts {
                    index::place(&row_major(part, pool), Around::new(shape, *axis), start, out);
                    start += part.shape[*axis];
                }
            }
            (Self::Flip(axes), &[x]) => index::flip(&row_major(x, pool), x.shape, *axes, out),
            (&Self::Pad { axis, before, value, .. }, &[x]) => {
                out.fill(value);
                index::place(&row_major(x, pool), Around::new(shape, axis), before, out);
            }
            (&Self::Tril(offset), &[x]) => {
                view::copy(x, x.shape, out);
                index::clear_triangle(out, shape, |row| (row + 1).saturating_add_signed(offset)..usize::MAX);
            }
            (&Self::Triu(offset), &[x]) => {
                view::copy(x, x.shape, out);
                index::clear_triangle(out, shape, |row| 0..row.saturating_add_signed(offset));
            }
            (Self::Select, &[mask, a, b]) => elementwise::select(mask, a, b, shape, out),
            (Self::Unslice { .. } | Self::IndexAdd { .. } | Self::Unpick { .. } | Self::Undiagonal { .. }, _) => {
                out.fill(T::ZERO);
                self.run_add(operands, shape, out, lists, pool);
            }
            (op, operands) => unreachable!("{op} of {} operands does not compute", operands.len()),
        }
    }

    /// Adds the operation's result to `out`, where that is possible in one go; returns whether it was.
    pub(crate) fn run_add(
        &self,
        operands: &[View<'_, T>],
        shape: &[usize],
        out: &mut [T],
        lists: &impl Lists,
        pool: &Pool<T>,
    ) -> bool {
        match (self, operands) {
            (Self::Matmul { .. }, &[a, b]) => self.run_matmul(a, b, out, Store::Add),
            (&Self::Unslice { axis, start, step, .. }, &[x]) => {
                let strides = view::row_major_strides(shape);
                let offset = start * strides[axis];
                let strides = strides.with_axis(axis, strides[axis] * step);
                view::scatter_add(out, offset, x.shape, &strides, &row_major(x, pool));
            }
            (Self::IndexAdd { axis, indices, .. }, &[x]) => {
                index::add_selected(&row_major(x, pool), Around::new(shape, *axis), lists.indices(*indices), out);
            }
            (Self::Unpick { columns, width }, &[x]) => {
                index::add_picked(&row_major(x, pool), *width, lists.indices(*columns), out);
            }
            (Self::Undiagonal { columns, .. }, &[x]) => {
                let strides = view::row_major_strides(shape);
                let along: Shape = strides[..strides.len() - 2].iter().copied().chain([columns + 1]).collect();
                view::scatter_add(out, 0, x.shape, &along, &row_major(x, pool));
            }
            _ => return false,
        }
        true
    }

    fn run_matmul(&self, a: View<'_, T>, b: View<'_, T>, out: &mut [T], store: Store) {
        let Self::Matmul { left, right } = *self else { unreachable!("{self} is not a matrix product") };
        let ((m, k, a_matrix), (_, n, b_matrix)) = (matrix(a, left), matrix(b, right));
        let (a_batch, b_batch) = (&a.shape[..a.shape.len() - 2], &b.shape[..b.shape.len() - 2]);
        if a_batch.is_empty() && b_batch.is_empty() {
            return matmul(m, n, k, a_matrix, b_matrix, out, store);
        }
        // With an empty result there is no product to compute; operands may then have no element to begin at.
        if out.is_empty() {
            return;
        }
        let batch =
            broadcast("matmul", a_batch, b_batch).unwrap_or_else(|error| panic!("the shape rule let pass {error}"));
        let (a_starts, b_starts) = (view::starts(a, &batch), view::starts(b, &batch));
        for ((c, a_start), b_start) in out.chunks_exact_mut(m * n).zip(a_starts).zip(b_starts) {
            // Without a k there is no element at the start either.
            let (a, b) =
                if k == 0 { (&[][..], &[][..]) } else { (&a_matrix.data[a_start..], &b_matrix.data[b_start..]) };
            matmul(m, n, k, Matrix { data: a, ..a_matrix }, Matrix { data: b, ..b_matrix }, c, store);
        }
    }
}

/// Returns rows, columns and strides of a matrix operand, of the first one of a batch. A transpose is a swap of strides,
/// never a copy.
fn matrix<T: Scalar>(x: View<'_, T>, transposed: Transposed) -> (usize, usize, Matrix<'_, T>) {
    let last = x.shape.len() - 1;
    let (rows, columns) = (x.shape[last - 1], x.shape[last]);
    let (row_stride, col_stride) = x.strides.map_or((columns, 1), |strides| (strides[last - 1], strides[last]));
    match transposed {
        Transposed::No => (rows, columns, Matrix { data: x.data, row_stride, col_stride }),
        Transposed::Yes => (columns, rows, Matrix { data: x.data, row_stride: col_stride, col_stride: row_stride }),
    }
}

/// Returns the elements in row-major order: the operand's own, or gathered into a lent buffer.
fn row_major<'a, T: Scalar>(x: View<'a, T>, pool: &'a Pool<T>) -> RowMajor<'a, T> {
    match x.as_slice() {
        Some(data) => RowMajor::Own(data),
        None => {
            let mut buffer = pool.lend(crate::shape::elements(x.shape));
            view::copy(x, x.shape, &mut buffer);
            RowMajor::Gathered(buffer)
        }
    }
}

enum RowMajor<'a, T: Scalar> {
    Own(&'a [T]),
    Gathered(Lent<'a, T>),
}

impl<T: Scalar> std::ops::Deref for RowMajor<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::Own(data) => data,
            Self::Gathered(buffer) => buffer,
        }
    }
}
