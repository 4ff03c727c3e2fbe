//! Means and variances over a set of axes: what layer and batch normalization have in common.

use crate::kernel::elementwise;
use crate::kernel::reduce;
use crate::kernel::view::View;
use crate::op::Algebra;
use crate::scalar::Scalar;
use crate::shape::{AxisSet, KeepDims, Shape};

/// Writes `(x - mean) / √(variance + eps)` over `axes` to `y`, and `1 / √(variance + eps)`, one number for each group that is
/// normalized, to `inverse`. `scratch` is as long as `x`.
pub(crate) fn normalize<T: Scalar>(
    x: &[T],
    shape: &[usize],
    axes: AxisSet,
    eps: T,
    scratch: &mut [T],
    y: &mut [T],
    inverse: &mut [T],
) {
    center(x, shape, axes, eps, y, scratch, inverse);
    scale(scratch, shape, axes, inverse, y);
}

/// Writes `x - mean` to `centered` and `1 / √(variance + eps)`, one number for each group that is normalized, to `inverse`.
///
/// Mean first and squares of the differences then: the difference of two large sums would lose what it is to give.
fn center<T: Scalar>(
    x: &[T],
    shape: &[usize],
    axes: AxisSet,
    eps: T,
    squares: &mut [T],
    centered: &mut [T],
    inverse: &mut [T],
) {
    let count = T::from_f64(axes.elements(shape) as f64);
    reduce::sum(x, shape, axes, inverse);
    inverse.iter_mut().for_each(|mean| *mean /= count);
    let groups = Shape::from(shape).reduced(axes, KeepDims::Yes);
    elementwise::zip(
        View::contiguous(x, shape),
        View::contiguous(inverse, &groups),
        shape,
        centered,
        #[inline(always)]
        |x, mean| x - mean,
    );
    elementwise::map(
        squares,
        centered,
        #[inline(always)]
        |x| x * x,
    );
    reduce::sum(squares, shape, axes, inverse);
    inverse.iter_mut().for_each(|sum| *sum = T::ONE / Algebra::sqrt(*sum / count + eps));
}

/// Multiplies each group by its number.
fn scale<T: Scalar>(centered: &[T], shape: &[usize], axes: AxisSet, inverse: &[T], y: &mut [T]) {
    let groups = Shape::from(shape).reduced(axes, KeepDims::Yes);
    elementwise::zip(
        View::contiguous(centered, shape),
        View::contiguous(inverse, &groups),
        shape,
        y,
        #[inline(always)]
        |x, inverse| x * inverse,
    );
}
