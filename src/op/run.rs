//! How operations run on arrays: each match arm calls a kernel.

use std::ops::Deref;

use smallvec::SmallVec;

use crate::kernel::conv::{self, Scratch};
use crate::kernel::index::{self, AxisSplit};
use crate::kernel::matmul::{Accumulate, Matmul, MatrixRef, matmul};
use crate::kernel::view::{self, View};
use crate::kernel::window::{self, Patches, Window};
use crate::kernel::{elementwise, linalg, norm, normalize, reduce, scan, softmax};
use crate::memory::{Lent, Pool};
use crate::number::Number;
use crate::op::axes::{End, Transposed};
use crate::op::data::OpData;
use crate::op::operation::{Linear, Op, ReduceKind};
use crate::shape::{AxisSet, Shape, broadcast, elements, row_major_strides};
use crate::threads::{PIECE, in_pieces};

/// A number for which all kernels exist.
pub trait Computed: Number + Matmul {}

impl<T: Number + Matmul> Computed for T {}

/// The operands of an operation: views. An operand is gathered into row-major order if a kernel needs that.
struct Operands<'a, T> {
    views: &'a [View<'a, T>],
    pool: &'a Pool<T>,
}

impl<'a, T: Computed> Operands<'a, T> {
    fn view(&self, k: usize) -> View<'a, T> {
        self.views[k]
    }

    fn shape(&self, k: usize) -> &'a [usize] {
        self.views[k].shape
    }

    fn row_major(&self, k: usize) -> RowMajor<'a, T> {
        row_major(self.views[k], self.pool)
    }
}

impl<T: Computed> Op<T> {
    /// Computes the operation into the row-major `out`, whose shape is the one from the shape rule. It overwrites
    /// `out`, or adds to it, as `accumulate` says; only some operations [can add](Self::adds).
    pub(super) fn run_on(
        &self,
        views: &[View<'_, T>],
        shape: &[usize],
        out: &mut [T],
        data: &OpData,
        pool: &Pool<T>,
        accumulate: Accumulate,
    ) {
        debug_assert!(accumulate == Accumulate::No || self.adds(), "{self}");
        let x = Operands { views, pool };
        match *self {
            Self::Unary(row) => row.forward(&x.row_major(0), out),
            Self::Binary(row) => row.forward(x.view(0), x.view(1), shape, out),
            Self::Linear(ref linear) => linear.run_on(&x, shape, out, data, accumulate),
            Self::Matmul { left, right } => product((x.view(0), left), (x.view(1), right), out, accumulate),
            Self::Reduce { kind, axes, .. } => match kind {
                ReduceKind::Sum => reduce::sum(&x.row_major(0), x.shape(0), axes, out),
                ReduceKind::Max => reduce::max(&x.row_major(0), x.shape(0), axes, out),
                ReduceKind::Min => reduce::min(&x.row_major(0), x.shape(0), axes, out),
                ReduceKind::Prod => reduce::prod(&x.row_major(0), x.shape(0), axes, out),
                ReduceKind::Norm => norm::norm(&x.row_major(0), x.shape(0), axes, out, pool),
                ReduceKind::LogSumExp => norm::logsumexp(&x.row_major(0), x.shape(0), axes, out, pool),
            },
            Self::Softmax { axis } => softmax::softmax(&x.row_major(0), x.shape(0), axis, out),
            Self::LogSoftmax { axis } => softmax::log_softmax(&x.row_major(0), x.shape(0), axis, out),
            Self::Select => elementwise::select(x.view(0), x.view(1), x.view(2), shape, out),
            Self::Conv2d { window } => {
                let patches = Patches::new(x.shape(0), window);
                let scratch = Scratch::of_images(&patches, x.shape(1)[0], x.shape(0)[0]);
                let memory = (scratch, &mut *pool.lend(scratch.elements()));
                conv::conv2d(&x.row_major(0), &x.row_major(1), x.shape(1)[0], &patches, memory, out);
            }
            Self::Conv2dInput { window, .. } => {
                let patches = Patches::new(shape, window);
                let scratch = Scratch::of_images(&patches, x.shape(1)[0], shape[0]);
                let memory = (scratch, &mut *pool.lend(scratch.elements()));
                let (g, w) = (x.row_major(0), x.row_major(1));
                out.fill(T::ZERO);
                conv::add_conv2d_input(&g, &w, x.shape(1)[0], &patches, memory, out);
            }
            Self::Conv2dWeight { window } => {
                let patches = Patches::new(x.shape(0), window);
                let scratch = Scratch::of_weight(&patches, shape[0], x.shape(0)[0]);
                let mut sums = pool.lend(scratch.elements_of_groups(out.len()));
                let memory = (scratch, &mut *pool.lend(scratch.elements()), &mut *sums);
                out.fill(T::ZERO);
                conv::add_conv2d_weight(&x.row_major(0), &x.row_major(1), shape[0], &patches, memory, out);
            }
            Self::TakeAtArgmax2dBackward { window } => {
                clear(out, accumulate);
                window::add_max_unpool(&x.row_major(0), &x.row_major(1), last_two(shape), window, out);
            }
            Self::TakeAtArgmax2d { window } => {
                window::max_pool(&x.row_major(0), &x.row_major(1), last_two(x.shape(0)), window, out);
            }
            Self::Normalize { axes, eps } => {
                normalize::normalize(&x.row_major(0), x.shape(0), axes, eps, out, pool);
            }
            Self::NormalizeAffine { axes, eps } => {
                let affine = [x.view(1), x.view(2)];
                normalize::normalize_affine(&x.row_major(0), affine, x.shape(0), axes, eps, out, pool);
            }
            Self::NormalizeBackward { axes, eps } => {
                normalize::pull(&x.row_major(0), &x.row_major(1), x.shape(0), axes, eps, out, pool);
            }
            Self::InverseStd { axes, eps } => {
                normalize::inverse_std(&x.row_major(0), x.shape(0), axes, eps, out, pool);
            }
            Self::Inverse => each_matrix(&x.row_major(0), x.shape(0), out, linalg::inverse),
            Self::Cholesky => each_matrix(&x.row_major(0), x.shape(0), out, linalg::cholesky),
            Self::DetDerivative { .. } => {
                let directions: SmallVec<[_; 4]> = (1..views.len()).map(|k| x.row_major(k)).collect();
                let mut start = 0;
                each_matrix(&x.row_major(0), x.shape(0), out, |x, n, y| {
                    let h: SmallVec<[&[T]; 4]> = directions.iter().map(|h| &h[start..start + x.len()]).collect();
                    linalg::det_derivative(x, &h, n, y);
                    start += x.len();
                });
            }
            Self::Det => each_number(&x.row_major(0), x.shape(0), out, T::ONE, linalg::det),
            Self::DetSign => each_number(&x.row_major(0), x.shape(0), out, T::ONE, linalg::det_sign),
            Self::LogDet => each_number(&x.row_major(0), x.shape(0), out, T::ZERO, linalg::log_det),
            Self::Factors => {
                let n = last_two(shape)[1];
                let matrices = x.row_major(0);
                for (x, y) in matrices.chunks_exact((n * n).max(1)).zip(out.chunks_exact_mut((n * n + n).max(1))) {
                    linalg::factors(x, n, y);
                }
            }
            Self::Solve { left } | Self::SolveByFactors { left } => {
                let [n, columns] = last_two(shape);
                let by_factors = matches!(self, Self::SolveByFactors { .. });
                let (k, size) = if by_factors { (2, n * n + n) } else { (0, n * n) };
                let (a_data, b_data) = (x.row_major(k), x.row_major(1));
                let batch = &shape[..shape.len() - 2];
                let a_starts = view::starts(View::contiguous(&a_data, x.shape(k)), batch);
                let b_starts = view::starts(View::contiguous(&b_data, x.shape(1)), batch);
                for ((y, a), b) in out.chunks_exact_mut((n * columns).max(1)).zip(a_starts).zip(b_starts) {
                    let (a, b) = (&a_data[a..a + size], &b_data[b..b + n * columns]);
                    let transposed = left == Transposed::Yes;
                    if by_factors {
                        linalg::solve_by_factors(a, n, transposed, b, columns, y);
                    } else {
                        linalg::solve(a, n, transposed, b, columns, y);
                    }
                }
            }
        }
    }

    /// Returns whether the operation can add its result to an array piece by piece, with the same bits as a separate
    /// addition.
    pub(super) fn adds(&self) -> bool {
        // Accumulating overlapping windows straight into the array rounds differently from summing first; the recording sweep
        // sums first, so this must too.
        let apart = |window: &Window| window.kernel.iter().zip(window.stride).all(|(&kernel, stride)| kernel <= stride);
        match self {
            Self::Linear(Linear::AvgPool2dBackward { window, .. }) | Self::TakeAtArgmax2dBackward { window } => {
                apart(window)
            }
            op => matches!(
                op,
                Self::Matmul { .. }
                    | Self::Linear(
                        Linear::SliceBackward { .. }
                            | Linear::IndexAdd { .. }
                            | Linear::TakeAlongRowsBackward { .. }
                            | Linear::DiagonalBackward { .. }
                    )
            ),
        }
    }
}

impl<T: Computed> Linear<T> {
    fn run_on(&self, x: &Operands<'_, T>, shape: &[usize], out: &mut [T], data: &OpData, accumulate: Accumulate) {
        match *self {
            Self::CumSum { axis, from: End::First } => {
                scan::cumsum(&x.row_major(0), AxisSplit::new(x.shape(0), axis), out);
            }
            Self::CumSum { axis, from: End::Last } => {
                scan::cumsum_from_last(&x.row_major(0), AxisSplit::new(x.shape(0), axis), out);
            }
            Self::Reshape { .. } => view::copy(x.view(0), x.shape(0), out),
            Self::Permute { .. } | Self::BroadcastTo { .. } | Self::Slice { .. } | Self::Diagonal => {
                let (layout, offset) = self.view(x.shape(0), x.view(0).strides, shape).expect("it is always a view");
                view::copy(layout.of_memory(&x.view(0).data[offset..], shape), shape, out);
            }
            Self::SumTo { shape: ref target } => {
                reduce::sum(&x.row_major(0), x.shape(0), AxisSet::stretched(target, x.shape(0)), out);
            }
            Self::SliceBackward { axis, start, step, .. } => {
                clear(out, accumulate);
                let strides = row_major_strides(shape);
                let offset = start * strides[axis];
                let strides = strides.with_axis(axis, strides[axis] * step);
                view::scatter_add(out, offset, x.shape(0), &strides, &x.row_major(0));
            }
            Self::IndexAdd { axis, indices, .. } => {
                clear(out, accumulate);
                index::add_selected(&x.row_major(0), AxisSplit::new(shape, axis), data.indices(indices), out);
            }
            Self::TakeAlongRowsBackward { columns, width } => {
                clear(out, accumulate);
                index::add_picked(&x.row_major(0), width, data.indices(columns), out);
            }
            Self::DiagonalBackward { columns, .. } => {
                clear(out, accumulate);
                let strides = row_major_strides(shape);
                let along: Shape = strides[..strides.len() - 2].iter().copied().chain([columns + 1]).collect();
                view::scatter_add(out, 0, x.shape(0), &along, &x.row_major(0));
            }
            Self::AvgPool2dBackward { window, .. } => {
                clear(out, accumulate);
                window::add_avg_unpool(&x.row_major(0), last_two(shape), window, out);
            }
            Self::IndexSelect { axis, indices } => {
                index::select(&x.row_major(0), AxisSplit::new(x.shape(0), axis), data.indices(indices), out);
            }
            Self::TakeAlongRows { columns } => {
                index::pick(&x.row_major(0), x.shape(0)[1], data.indices(columns), out);
            }
            Self::Concat { axis } => {
                let mut start = 0;
                for k in 0..x.views.len() {
                    index::place(&x.row_major(k), AxisSplit::new(shape, axis), start, out);
                    start += x.shape(k)[axis];
                }
            }
            Self::Flip { axes } => index::flip(&x.row_major(0), x.shape(0), axes, out),
            Self::Pad { axis, before, value, .. } => {
                out.fill(value);
                index::place(&x.row_major(0), AxisSplit::new(shape, axis), before, out);
            }
            Self::Tril { offset } => {
                view::copy(x.view(0), x.shape(0), out);
                index::clear_triangle(out, shape, |row| (row + 1).saturating_add_signed(offset)..usize::MAX);
            }
            Self::Triu { offset } => {
                view::copy(x.view(0), x.shape(0), out);
                index::clear_triangle(out, shape, |row| 0..row.saturating_add_signed(offset));
            }
            Self::AvgPool2d { window } => window::avg_pool(&x.row_major(0), last_two(x.shape(0)), window, out),
        }
    }
}

/// Computes the rules of `normalize_affine` for all operands at once: the cotangents of those that are wanted, given that of
/// the result. They have the bits that the rules have one by one.
pub(super) fn pull_normalize<T: Number>(
    (axes, eps): (AxisSet, T),
    [x, gain, bias]: [View<'_, T>; 3],
    g: &[T],
    grads: [Option<&mut [T]>; 3],
    pool: &Pool<T>,
) {
    normalize::pull_affine(&row_major(x, pool), g, [gain, bias], x.shape, axes, eps, grads, pool);
}

/// Clears the memory of a result that a kernel adds, unless the result is added to the old content.
fn clear<T: Number>(out: &mut [T], accumulate: Accumulate) {
    if accumulate == Accumulate::No {
        out.fill(T::ZERO);
    }
}

/// Computes the product of two matrices or of two batches of matrices.
#[inline]
pub(super) fn product<T: Computed>(
    (a, left): (View<'_, T>, Transposed),
    (b, right): (View<'_, T>, Transposed),
    out: &mut [T],
    accumulate: Accumulate,
) {
    let ((m, k, a_matrix), (_, n, b_matrix)) = (matrix(a, left), matrix(b, right));
    let (a_batch, b_batch) = (&a.shape[..a.shape.len() - 2], &b.shape[..b.shape.len() - 2]);
    if a_batch.is_empty() && b_batch.is_empty() {
        return matmul(m, n, k, a_matrix, b_matrix, out, accumulate);
    }
    // If the result is empty, there is nothing to compute, and an operand may have no first element.
    if out.is_empty() {
        return;
    }
    let batch = broadcast("matmul", a_batch, b_batch).expect("the shape rule refuses batches that do not broadcast");
    let multiply = |(c, (a_start, b_start)): (&mut [T], (usize, usize))| {
        // If k is 0, the matrices have no first element.
        let (a, b) = if k == 0 { (&[][..], &[][..]) } else { (&a_matrix.data[a_start..], &b_matrix.data[b_start..]) };
        matmul(m, n, k, MatrixRef { data: a, ..a_matrix }, MatrixRef { data: b, ..b_matrix }, c, accumulate);
    };
    // The distance between the matrices of an operand, if they lie one after the other or are the same one.
    let distance = |x: View<'_, T>, own: &[usize], size: usize| match x.strides {
        _ if own.is_empty() => Some(0),
        None if *own == *batch => Some(size),
        _ => None,
    };
    let distances = distance(a, a_batch, m * k).zip(distance(b, b_batch, k * n));
    // Pieces of many multiplications.
    in_pieces(out, m * n, (m * n).max(PIECE * 16 / k.max(1)), |first, out| {
        let (first, products) = (first / (m * n), out.chunks_exact_mut(m * n));
        match distances {
            Some((a, b)) => products.zip((first..).map(|i| (i * a, i * b))).for_each(multiply),
            None => {
                let starts = view::starts(a, &batch).zip(view::starts(b, &batch)).skip(first);
                products.zip(starts).for_each(multiply);
            }
        }
    });
}

/// Returns rows, columns and strides of a matrix operand; of the first matrix, if it is a batch. A transpose swaps the
/// strides and copies nothing.
fn matrix<T: Number>(x: View<'_, T>, transposed: Transposed) -> (usize, usize, MatrixRef<'_, T>) {
    let last = x.shape.len() - 1;
    let (rows, columns) = (x.shape[last - 1], x.shape[last]);
    let (row_stride, col_stride) = x.strides.map_or((columns, 1), |strides| (strides[last - 1], strides[last]));
    match transposed {
        Transposed::No => (rows, columns, MatrixRef { data: x.data, row_stride, col_stride }),
        Transposed::Yes => (columns, rows, MatrixRef { data: x.data, row_stride: col_stride, col_stride: row_stride }),
    }
}

/// Runs `f` on each matrix of the last two axes and the corresponding matrix of the result.
fn each_matrix<T: Number>(x: &[T], shape: &[usize], out: &mut [T], mut f: impl FnMut(&[T], usize, &mut [T])) {
    let n = last_two(shape)[0];
    let size = (n * n).max(1);
    for (x, y) in x.chunks_exact(size).zip(out.chunks_exact_mut(size)) {
        f(x, n, y);
    }
}

/// Runs `f` on each matrix of the last two axes; a matrix without elements gives `empty`.
fn each_number<T: Number>(x: &[T], shape: &[usize], out: &mut [T], empty: T, f: impl Fn(&[T], usize) -> T) {
    let n = last_two(shape)[0];
    out.fill(empty);
    for (x, y) in x.chunks_exact((n * n).max(1)).zip(out) {
        *y = f(x, n);
    }
}

/// Returns the lengths of the last two axes.
fn last_two(shape: &[usize]) -> [usize; 2] {
    [shape[shape.len() - 2], shape[shape.len() - 1]]
}

/// Returns the elements in row-major order: the operand's own, or gathered into a lent buffer.
fn row_major<'a, T: Number>(x: View<'a, T>, pool: &'a Pool<T>) -> RowMajor<'a, T> {
    match x.as_slice() {
        Some(data) => RowMajor::Borrowed(data),
        None => {
            let mut buffer = pool.lend(elements(x.shape));
            view::copy(x, x.shape, &mut buffer);
            RowMajor::Gathered(buffer)
        }
    }
}

enum RowMajor<'a, T: Number> {
    Borrowed(&'a [T]),
    Gathered(Lent<'a, T>),
}

impl<T: Number> Deref for RowMajor<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::Borrowed(data) => data,
            Self::Gathered(buffer) => buffer,
        }
    }
}
