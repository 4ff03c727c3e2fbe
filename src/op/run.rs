//! How an operation runs on arrays: the arm that hands each to its kernel.

use super::{Binary, End, IndexList, Op, Transposed, Unary};
use smallvec::SmallVec;

use crate::kernel::index::{self, AxisSplit};
use crate::kernel::matmul::{Accumulate, MatrixRef, matmul};
use crate::kernel::view::{self, View};
use crate::kernel::window::{self, Patches, Window};
use crate::kernel::{conv, elementwise, linalg, normalize, reduce, scan, softmax};
use crate::memory::{Lent, Pool};
use crate::scalar::Scalar;
use crate::shape::{AxisSet, KeepDims, Shape, broadcast};

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
    /// The minimum over axes.
    fn min_over(x: &[Self], shape: &[usize], axes: AxisSet, out: &mut [Self]);
    /// The product over axes.
    fn prod_over(x: &[Self], shape: &[usize], axes: AxisSet, out: &mut [Self]);
    /// The convolution of images with a weight of `out` kernels.
    fn conv2d(x: &[Self], w: &[Self], out: usize, patches: &Patches, scratch: &mut [Self], y: &mut [Self]);
    /// Its reverse for the images.
    fn add_conv2d_input(g: &[Self], w: &[Self], out: usize, patches: &Patches, scratch: &mut [Self], dx: &mut [Self]);
    /// Its reverse for the weight.
    fn add_conv2d_weight(x: &[Self], g: &[Self], out: usize, patches: &Patches, scratch: &mut [Self], dw: &mut [Self]);
    /// `(x - mean) / √(variance + eps)` over axes to `y`; `1 / √(variance + eps)` to `inverse`.
    fn normalize(
        x: &[Self],
        shape: &[usize],
        axes: AxisSet,
        eps: Self,
        scratch: &mut [Self],
        y: &mut [Self],
        inverse: &mut [Self],
    );
    /// What lies where the largest element of each window does.
    fn max_pool(x: &[Self], values: &[Self], size: [usize; 2], window: Window, y: &mut [Self]);
    /// The reverse of `max_pool`.
    fn add_max_unpool(x: &[Self], g: &[Self], size: [usize; 2], window: Window, y: &mut [Self]);
    /// The mean of each window.
    fn avg_pool(x: &[Self], size: [usize; 2], window: Window, y: &mut [Self]);
    /// The reverse of `avg_pool`.
    fn add_avg_unpool(g: &[Self], size: [usize; 2], window: Window, y: &mut [Self]);
    /// The reverse of `normalize` for the cotangent `g`.
    #[allow(clippy::too_many_arguments)]
    fn denormalize(
        x: &[Self],
        g: &[Self],
        shape: &[usize],
        axes: AxisSet,
        eps: Self,
        y: &mut [Self],
        scratch: &mut [Self],
        numbers: &mut [Self],
        out: &mut [Self],
    );
    /// The inverse of an `n` by `n` matrix.
    fn inverse(a: &[Self], n: usize, y: &mut [Self]);
    /// The determinant.
    fn det(a: &[Self], n: usize) -> Self;
    /// The logarithm of the determinant.
    fn log_det(a: &[Self], n: usize) -> Self;
    /// The derivative of the determinant, of the order after that of the directions `h`.
    fn det_derivative(a: &[Self], h: &[&[Self]], n: usize, y: &mut [Self]);
    /// The `x` with `a x = b`, or `aᵀ x = b`.
    fn solve(a: &[Self], n: usize, transposed: bool, b: &[Self], columns: usize, x: &mut [Self]);
    /// The Cholesky factor.
    fn cholesky(a: &[Self], n: usize, y: &mut [Self]);
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

            fn min_over(x: &[$T], shape: &[usize], axes: AxisSet, out: &mut [$T]) {
                reduce::min(x, shape, axes, out);
            }

            fn prod_over(x: &[$T], shape: &[usize], axes: AxisSet, out: &mut [$T]) {
                reduce::prod(x, shape, axes, out);
            }

            fn conv2d(x: &[$T], w: &[$T], out: usize, patches: &Patches, scratch: &mut [$T], y: &mut [$T]) {
                conv::conv2d(x, w, out, patches, scratch, y);
            }

            fn add_conv2d_input(g: &[$T], w: &[$T], out: usize, patches: &Patches, scratch: &mut [$T], dx: &mut [$T]) {
                conv::add_conv2d_input(g, w, out, patches, scratch, dx);
            }

            fn add_conv2d_weight(x: &[$T], g: &[$T], out: usize, patches: &Patches, scratch: &mut [$T], dw: &mut [$T]) {
                conv::add_conv2d_weight(x, g, out, patches, scratch, dw);
            }

            fn normalize(
                x: &[$T], shape: &[usize], axes: AxisSet, eps: $T, scratch: &mut [$T], y: &mut [$T], inverse: &mut [$T],
            ) {
                normalize::normalize(x, shape, axes, eps, scratch, y, inverse);
            }

            fn max_pool(x: &[$T], values: &[$T], size: [usize; 2], window: Window, y: &mut [$T]) {
                window::max_pool(x, values, size, window, y);
            }

            fn add_max_unpool(x: &[$T], g: &[$T], size: [usize; 2], window: Window, y: &mut [$T]) {
                window::add_max_unpool(x, g, size, window, y);
            }

            fn avg_pool(x: &[$T], size: [usize; 2], window: Window, y: &mut [$T]) {
                window::avg_pool(x, size, window, y);
            }

            fn add_avg_unpool(g: &[$T], size: [usize; 2], window: Window, y: &mut [$T]) {
                window::add_avg_unpool(g, size, window, y);
            }

            fn denormalize(
                x: &[$T], g: &[$T], shape: &[usize], axes: AxisSet, eps: $T, y: &mut [$T], scratch: &mut [$T],
                numbers: &mut [$T], out: &mut [$T],
            ) {
                normalize::denormalize(x, g, shape, axes, eps, y, scratch, numbers, out);
            }

            fn inverse(a: &[$T], n: usize, y: &mut [$T]) {
                linalg::inverse(a, n, y);
            }

            fn det(a: &[$T], n: usize) -> $T {
                linalg::det(a, n)
            }

            fn log_det(a: &[$T], n: usize) -> $T {
                linalg::log_det(a, n)
            }

            fn det_derivative(a: &[$T], h: &[&[$T]], n: usize, y: &mut [$T]) {
                linalg::det_derivative(a, h, n, y, <$T>::from_f64);
            }

            fn solve(a: &[$T], n: usize, transposed: bool, b: &[$T], columns: usize, x: &mut [$T]) {
                linalg::solve(a, n, transposed, b, columns, x);
            }

            fn cholesky(a: &[$T], n: usize, y: &mut [$T]) {
                linalg::cholesky(a, n, y);
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
            (Self::Matmul { .. }, &[a, b]) => self.run_matmul(a, b, out, Accumulate::No),
            (Self::Sum { axes, .. }, &[x]) => T::sum_over(&row_major(x, pool), x.shape, *axes, out),
            (Self::SumTo(target), &[x]) => {
                T::sum_over(&row_major(x, pool), x.shape, AxisSet::stretched(target, x.shape), out);
            }
            (Self::Max { axes, .. }, &[x]) => T::max_over(&row_major(x, pool), x.shape, *axes, out),
            (Self::Min { axes, .. }, &[x]) => T::min_over(&row_major(x, pool), x.shape, *axes, out),
            (Self::Prod { axes, .. }, &[x]) => T::prod_over(&row_major(x, pool), x.shape, *axes, out),
            (Self::Norm { axes, .. }, &[x]) => norm(&row_major(x, pool), x.shape, *axes, out, pool),
            (Self::LogSumExp { axes, .. }, &[x]) => logsumexp(&row_major(x, pool), x.shape, *axes, out, pool),
            (Self::CumSum { axis, from: End::First }, &[x]) => {
                scan::cumsum(&row_major(x, pool), AxisSplit::new(x.shape, *axis), out);
            }
            (Self::CumSum { axis, from: End::Last }, &[x]) => {
                scan::cumsum_from_last(&row_major(x, pool), AxisSplit::new(x.shape, *axis), out);
            }
            (Self::Softmax { axis }, &[x]) => T::softmax(&row_major(x, pool), x.shape, *axis, out),
            (Self::LogSoftmax { axis }, &[x]) => T::log_softmax(&row_major(x, pool), x.shape, *axis, out),
            (Self::Reshape(_), &[x]) => view::copy(x, x.shape, out),
            (Self::IndexSelect { axis, indices }, &[x]) => {
                index::select(&row_major(x, pool), AxisSplit::new(x.shape, *axis), lists.indices(*indices), out);
            }
            (Self::Pick { columns }, &[x]) => {
                index::pick(&row_major(x, pool), x.shape[1], lists.indices(*columns), out)
            }
            (Self::Concat { axis }, parts) => {
                let mut start = 0;
                for &part in parts {
                    index::place(&row_major(part, pool), AxisSplit::new(shape, *axis), start, out);
                    start += part.shape[*axis];
                }
            }
            (Self::Flip(axes), &[x]) => index::flip(&row_major(x, pool), x.shape, *axes, out),
            (&Self::Pad { axis, before, value, .. }, &[x]) => {
                out.fill(value);
                index::place(&row_major(x, pool), AxisSplit::new(shape, axis), before, out);
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
            (&Self::Conv2d(window), &[x, w]) => {
                let patches = Patches::new(x.shape, window);
                let mut scratch = pool.lend(conv::scratch(&patches));
                T::conv2d(&row_major(x, pool), &row_major(w, pool), w.shape[0], &patches, &mut scratch, out);
            }
            (&Self::MaxPool2d(window), &[x, values]) => {
                let (x, values) = (&row_major(x, pool), &row_major(values, pool));
                T::max_pool(x, values, last_two(operands[0].shape), window, out);
            }
            (&Self::AvgPool2d(window), &[x]) => T::avg_pool(&row_major(x, pool), last_two(x.shape), window, out),
            (&Self::Normalize { axes, eps }, &[x]) => {
                let groups = Shape::from(x.shape).reduced(axes, KeepDims::No).elements();
                let (mut scratch, mut inverse) = (pool.lend(out.len()), pool.lend(groups));
                T::normalize(&row_major(x, pool), x.shape, axes, eps, &mut scratch, out, &mut inverse);
            }
            (&Self::Denormalize { axes, eps }, &[x, g]) => {
                let groups = Shape::from(x.shape).reduced(axes, KeepDims::No).elements();
                let (mut y, mut scratch, mut numbers) =
                    (pool.lend(out.len()), pool.lend(out.len()), pool.lend(3 * groups));
                let (x_data, g) = (row_major(x, pool), row_major(g, pool));
                T::denormalize(&x_data, &g, x.shape, axes, eps, &mut y, &mut scratch, &mut numbers, out);
            }
            (&Self::InverseStd { axes, eps }, &[x]) => {
                let count = crate::shape::elements(x.shape);
                let (mut scratch, mut y) = (pool.lend(count), pool.lend(count));
                T::normalize(&row_major(x, pool), x.shape, axes, eps, &mut scratch, &mut y, out);
            }
            (Self::Inverse, &[x]) => each_matrix(&row_major(x, pool), x.shape, out, T::inverse),
            (Self::Cholesky, &[x]) => each_matrix(&row_major(x, pool), x.shape, out, T::cholesky),
            (Self::DetDerivative { .. }, &[x, ref directions @ ..]) => {
                let directions: SmallVec<[_; 4]> = directions.iter().map(|&h| row_major(h, pool)).collect();
                let mut start = 0;
                each_matrix(&row_major(x, pool), x.shape, out, |x, n, y| {
                    let h: SmallVec<[&[T]; 4]> = directions.iter().map(|h| &h[start..start + x.len()]).collect();
                    T::det_derivative(x, &h, n, y);
                    start += x.len();
                });
            }
            (Self::Det, &[x]) => each_number(&row_major(x, pool), x.shape, out, T::ONE, T::det),
            (Self::LogDet, &[x]) => each_number(&row_major(x, pool), x.shape, out, T::ZERO, T::log_det),
            (Self::Solve { left }, &[a, b]) => {
                let [n, columns] = last_two(shape);
                let (a_data, b_data) = (row_major(a, pool), row_major(b, pool));
                let batch = &shape[..shape.len() - 2];
                let a_starts = view::starts(View::contiguous(&a_data, a.shape), batch);
                let b_starts = view::starts(View::contiguous(&b_data, b.shape), batch);
                for ((x, a), b) in out.chunks_exact_mut((n * columns).max(1)).zip(a_starts).zip(b_starts) {
                    let (a, b) = (&a_data[a..a + n * n], &b_data[b..b + n * columns]);
                    T::solve(a, n, *left == Transposed::Yes, b, columns, x);
                }
            }
            (
                Self::Unslice { .. }
                | Self::IndexAdd { .. }
                | Self::Unpick { .. }
                | Self::Undiagonal { .. }
                | Self::Conv2dInput { .. }
                | Self::Conv2dWeight(_)
                | Self::MaxUnpool2d(_)
                | Self::AvgUnpool2d { .. },
                _,
            ) => {
                out.fill(T::ZERO);
                self.add_to(operands, shape, out, lists, pool);
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
        // What adds up several numbers to one element would round otherwise than their sum, added: the sweep that records would
        // give other bits.
        let overlap =
            |window: &Window| window.kernel.iter().zip(window.stride).any(|(&kernel, stride)| kernel > stride);
        match self {
            Self::Conv2dInput { .. } | Self::Conv2dWeight(_) => false,
            Self::MaxUnpool2d(window) | Self::AvgUnpool2d { window, .. } if overlap(window) => false,
            _ => self.add_to(operands, shape, out, lists, pool),
        }
    }

    /// Adds the operation's result to `out`, piece by piece, if it consists of pieces; returns whether it does.
    fn add_to(
        &self,
        operands: &[View<'_, T>],
        shape: &[usize],
        out: &mut [T],
        lists: &impl Lists,
        pool: &Pool<T>,
    ) -> bool {
        match (self, operands) {
            (Self::Matmul { .. }, &[a, b]) => self.run_matmul(a, b, out, Accumulate::Yes),
            (&Self::Unslice { axis, start, step, .. }, &[x]) => {
                let strides = view::row_major_strides(shape);
                let offset = start * strides[axis];
                let strides = strides.with_axis(axis, strides[axis] * step);
                view::scatter_add(out, offset, x.shape, &strides, &row_major(x, pool));
            }
            (Self::IndexAdd { axis, indices, .. }, &[x]) => {
                index::add_selected(&row_major(x, pool), AxisSplit::new(shape, *axis), lists.indices(*indices), out);
            }
            (Self::Unpick { columns, width }, &[x]) => {
                index::add_picked(&row_major(x, pool), *width, lists.indices(*columns), out);
            }
            (Self::Undiagonal { columns, .. }, &[x]) => {
                let strides = view::row_major_strides(shape);
                let along: Shape = strides[..strides.len() - 2].iter().copied().chain([columns + 1]).collect();
                view::scatter_add(out, 0, x.shape, &along, &row_major(x, pool));
            }
            (&Self::Conv2dInput { window, .. }, &[g, w]) => {
                let patches = Patches::new(shape, window);
                let mut scratch = pool.lend(conv::scratch(&patches));
                T::add_conv2d_input(&row_major(g, pool), &row_major(w, pool), w.shape[0], &patches, &mut scratch, out);
            }
            (&Self::Conv2dWeight(window), &[x, g]) => {
                let patches = Patches::new(x.shape, window);
                let mut scratch = pool.lend(conv::scratch(&patches));
                T::add_conv2d_weight(&row_major(x, pool), &row_major(g, pool), shape[0], &patches, &mut scratch, out);
            }
            (&Self::MaxUnpool2d(window), &[x, g]) => {
                T::add_max_unpool(&row_major(x, pool), &row_major(g, pool), last_two(shape), window, out);
            }
            (&Self::AvgUnpool2d { window, .. }, &[g]) => {
                T::add_avg_unpool(&row_major(g, pool), last_two(shape), window, out);
            }
            _ => return false,
        }
        true
    }

    fn run_matmul(&self, a: View<'_, T>, b: View<'_, T>, out: &mut [T], accumulate: Accumulate) {
        let Self::Matmul { left, right } = *self else { unreachable!("{self} is not a matrix product") };
        let ((m, k, a_matrix), (_, n, b_matrix)) = (matrix(a, left), matrix(b, right));
        let (a_batch, b_batch) = (&a.shape[..a.shape.len() - 2], &b.shape[..b.shape.len() - 2]);
        if a_batch.is_empty() && b_batch.is_empty() {
            return matmul(m, n, k, a_matrix, b_matrix, out, accumulate);
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
            matmul(m, n, k, MatrixRef { data: a, ..a_matrix }, MatrixRef { data: b, ..b_matrix }, c, accumulate);
        }
    }
}

/// Below this length the squares of a vector's elements may have lost digits, in either number type.
const SHORT_NORM: f64 = 1e-15;

/// The square root of the sum of squares over `axes`. Where that overflows, or the squares lose their digits, the
/// elements are divided by the largest first.
fn norm<T: Scalar>(x: &[T], shape: &[usize], axes: AxisSet, out: &mut [T], pool: &Pool<T>) {
    let (mut each, mut sum) = (pool.lend(x.len()), pool.lend(out.len()));
    T::unary(Unary::Square, x, &mut each);
    T::sum_over(&each, shape, axes, &mut sum);
    T::unary(Unary::Sqrt, &sum, out);
    let extreme = |y: T| y < T::from_f64(SHORT_NORM) || y == T::INFINITY;
    if !out.iter().any(|&y| extreme(y)) {
        return;
    }
    let (mut largest, mut scaled) = (pool.lend(out.len()), pool.lend(out.len()));
    T::unary(Unary::Abs, x, &mut each);
    T::max_over(&each, shape, axes, &mut largest);
    let mut ratio = pool.lend(x.len());
    let kept = Shape::from(shape).reduced(axes, KeepDims::Yes);
    let largest_view = View::contiguous(&largest, &kept);
    T::binary(Binary::DivOrZero, View::contiguous(&each, shape), largest_view, shape, &mut ratio);
    T::unary(Unary::Square, &ratio, &mut each);
    T::sum_over(&each, shape, axes, &mut sum);
    T::unary(Unary::Sqrt, &sum, &mut scaled);
    for ((y, &scaled), &largest) in out.iter_mut().zip(&*scaled).zip(&*largest) {
        // An infinite element makes the length infinite; its ratio to itself is no number. Nothing has no largest.
        if extreme(*y) && largest.is_finite() {
            *y = scaled * largest;
        }
    }
}

/// `m + ln Σ e^(x - m)` over `axes` with the maximum `m`; minus infinity of no elements.
fn logsumexp<T: Scalar>(x: &[T], shape: &[usize], axes: AxisSet, out: &mut [T], pool: &Pool<T>) {
    let (mut each, mut max, mut sum) = (pool.lend(x.len()), pool.lend(out.len()), pool.lend(out.len()));
    T::max_over(x, shape, axes, &mut max);
    let kept = Shape::from(shape).reduced(axes, KeepDims::Yes);
    // The difference of equal infinities is none: it gives 1 at infinity, and 0, what e^x is there, at minus infinity.
    T::binary(Binary::ExpDifference, View::contiguous(x, shape), View::contiguous(&max, &kept), shape, &mut each);
    T::sum_over(&each, shape, axes, &mut sum);
    T::unary(Unary::Ln, &sum, out);
    crate::kernel::elementwise::add_assign(out, &max);
}

/// Returns rows, columns and strides of a matrix operand, of the first one of a batch. A transpose is a swap of strides,
/// never a copy.
fn matrix<T: Scalar>(x: View<'_, T>, transposed: Transposed) -> (usize, usize, MatrixRef<'_, T>) {
    let last = x.shape.len() - 1;
    let (rows, columns) = (x.shape[last - 1], x.shape[last]);
    let (row_stride, col_stride) = x.strides.map_or((columns, 1), |strides| (strides[last - 1], strides[last]));
    match transposed {
        Transposed::No => (rows, columns, MatrixRef { data: x.data, row_stride, col_stride }),
        Transposed::Yes => (columns, rows, MatrixRef { data: x.data, row_stride: col_stride, col_stride: row_stride }),
    }
}

/// Runs `f` on each matrix of the last two axes and the one of the result.
fn each_matrix<T: Scalar>(x: &[T], shape: &[usize], out: &mut [T], mut f: impl FnMut(&[T], usize, &mut [T])) {
    let n = last_two(shape)[0];
    let size = (n * n).max(1);
    for (x, y) in x.chunks_exact(size).zip(out.chunks_exact_mut(size)) {
        f(x, n, y);
    }
}

/// Runs `f` on each matrix of the last two axes; a matrix without elements gives `empty`.
fn each_number<T: Scalar>(x: &[T], shape: &[usize], out: &mut [T], empty: T, f: impl Fn(&[T], usize) -> T) {
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
