//! Norm and log-sum-exp over a set of axes, also where the plain formula would overflow.

use crate::kernel::elementwise;
use crate::kernel::reduce;
use crate::kernel::view::View;
use crate::memory::Pool;
use crate::number::{Algebra, Classify, Number, inlined};
use crate::shape::{AxisSet, KeepDims, Shape};

/// Below this norm the squares of the elements may underflow and lose digits, in either number type.
const SHORT_NORM: f64 = 1e-15;

/// The square root of the sum of squares over `axes`. Where the sum overflows or the squares lose digits, the elements
/// are divided by the largest first.
pub(crate) fn norm<T: Number>(x: &[T], shape: &[usize], axes: AxisSet, out: &mut [T], pool: &Pool<T>) {
    let (mut each, mut sum) = (pool.lend(x.len()), pool.lend(out.len()));
    elementwise::map(&mut each, x, inlined!(|x: T| x * x));
    reduce::sum(&each, shape, axes, &mut sum);
    elementwise::map(out, &sum, inlined!(|x: T| x.sqrt()));
    let extreme = |y: T| y < T::from_f64(SHORT_NORM) || y == T::INFINITY;
    if !out.iter().any(|&y| extreme(y)) {
        return;
    }
    let (mut largest, mut scaled) = (pool.lend(out.len()), pool.lend(out.len()));
    elementwise::map(&mut each, x, inlined!(|x: T| x.abs()));
    reduce::max(&each, shape, axes, &mut largest);
    let mut ratio = pool.lend(x.len());
    let kept = Shape::from(shape).reduced(axes, KeepDims::Yes);
    let largest_view = View::contiguous(&largest, &kept);
    let each_view = View::contiguous(&each, shape);
    elementwise::zip(each_view, largest_view, shape, &mut ratio, inlined!(|a: T, b: T| a.divide_no_nan(b)));
    elementwise::map(&mut each, &ratio, inlined!(|x: T| x * x));
    reduce::sum(&each, shape, axes, &mut sum);
    elementwise::map(&mut scaled, &sum, inlined!(|x: T| x.sqrt()));
    for ((y, &scaled), &largest) in out.iter_mut().zip(&*scaled).zip(&*largest) {
        // An infinite element gives an infinite norm, as computed; its ratio to itself would be NaN. A group without
        // elements has the largest element minus infinity, and its norm is 0.
        if extreme(*y) && largest.is_finite() {
            *y = scaled * largest;
        }
    }
}

/// `m + ln Σ e^(x - m)` over `axes` with the maximum `m`; minus infinity for a group without elements.
pub(crate) fn logsumexp<T: Number>(x: &[T], shape: &[usize], axes: AxisSet, out: &mut [T], pool: &Pool<T>) {
    let (mut each, mut max, mut sum) = (pool.lend(x.len()), pool.lend(out.len()), pool.lend(out.len()));
    reduce::max(x, shape, axes, &mut max);
    let kept = Shape::from(shape).reduced(axes, KeepDims::Yes);
    // The difference of equal infinities would be NaN. At infinity the exponential is set to 1, at minus infinity to 0
    // = e^-∞.
    let (x, max_view) = (View::contiguous(x, shape), View::contiguous(&max, &kept));
    elementwise::zip(x, max_view, shape, &mut each, inlined!(|x: T, max: T| x.exp_difference(max)));
    reduce::sum(&each, shape, axes, &mut sum);
    elementwise::map(out, &sum, inlined!(|x: T| x.ln()));
    elementwise::add_assign(out, &max);
}
