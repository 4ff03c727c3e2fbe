//! Normalization by mean and variance over a set of axes, for layer and batch normalization.
//!
//! Each step is a pass over the elements of all groups. If groups are rows, it is a pass over one row: a short row stays in
//! the nearest cache from the first step to the last. Both ways take the same steps. A row is summed in another order than
//! a column, as in [`reduce`].

use pulp::{Simd, WithSimd};

use crate::kernel::elementwise;
use crate::kernel::loops;
use crate::kernel::reduce::{self, sum_inlined};
use crate::kernel::view::View;
use crate::number::{Algebra, Classify, Number, dispatch, inlined};
use crate::shape::{AxisSet, KeepDims, Shape};
use crate::threads::{self, PIECE};

/// A row-major array and the axes that a group spans. The elements of a group are normalized together.
struct Groups<'a> {
    shape: &'a [usize],
    axes: AxisSet,
    /// The shape of an array with one number for each group.
    numbers: Shape,
}

impl<'a> Groups<'a> {
    fn new(shape: &'a [usize], axes: AxisSet) -> Self {
        Self { shape, axes, numbers: Shape::from(shape).reduced(axes, KeepDims::Yes) }
    }

    /// Returns the number of elements in a group.
    fn length<T: Number>(&self) -> T {
        T::from_f64(self.axes.elements(self.shape) as f64)
    }

    /// `out` is the mean of each group.
    fn means<T: Number>(&self, x: &[T], out: &mut [T]) {
        reduce::sum(x, self.shape, self.axes, out);
        let length = self.length();
        out.iter_mut().for_each(|sum| *sum /= length);
    }

    /// `y = f(x, number)`, with the number of the group of each element.
    #[inline(always)]
    fn with<T: Number>(&self, x: &[T], numbers: &[T], y: &mut [T], f: impl Fn(T, T) -> T + Copy + Sync) {
        elementwise::zip(View::contiguous(x, self.shape), View::contiguous(numbers, &self.numbers), self.shape, y, f);
    }

    /// Replaces the variances by `1 / √(variance + eps)` if one of them has overflowed. Where the square of a
    /// difference from the mean overflows, the differences of the group are divided by the largest first. `scratch` is
    /// as long as `differences`.
    #[cold]
    fn inverse_of_far<T: Number>(&self, eps: T, differences: &[T], scratch: &mut [T], variances: &mut [T]) {
        // An allocation: this is rare.
        let mut factors = vec![T::ONE; variances.len()];
        elementwise::map(scratch, differences, inlined!(|x| Algebra::abs(x)));
        reduce::max(scratch, self.shape, self.axes, &mut factors);
        for (factor, &variance) in factors.iter_mut().zip(&*variances) {
            // An infinite element has no finite difference from the mean; the result is NaN.
            if variance != T::INFINITY || !factor.is_finite() {
                *factor = T::ONE;
            }
        }
        self.with(differences, &factors, scratch, inlined!(|x, factor| (x / factor) * (x / factor)));
        self.means(scratch, variances);
        for (variance, factor) in variances.iter_mut().zip(factors) {
            *variance = T::ONE / factor / Algebra::sqrt(*variance + eps / factor / factor);
        }
    }

    /// Writes the normalized `x` to `y`, and `1 / √(variance + eps)` to `inverse`.
    ///
    /// Two passes: the mean, then the squares of the differences from it. (The difference of two large sums would lose
    /// its digits.) The mean of large numbers is rounded, perhaps by more than the numbers differ. So the mean of the
    /// differences is subtracted from the differences: it is the rounding error of the first mean.
    fn normalize<T: Number>(&self, x: &[T], eps: T, scratch: &mut [T], y: &mut [T], inverse: &mut [T]) {
        self.means(x, inverse);
        self.with(x, inverse, y, inlined!(|x, mean| x - mean));
        self.means(y, inverse);
        // If the sum overflows, there is no correction.
        inverse.iter_mut().filter(|mean| !mean.is_finite()).for_each(|mean| *mean = T::ZERO);
        self.with(y, inverse, scratch, inlined!(|x, mean| x - mean));
        elementwise::map(y, scratch, inlined!(|x| x * x));
        self.means(y, inverse);
        match inverse.contains(&T::INFINITY) {
            true => self.inverse_of_far(eps, scratch, y, inverse),
            false => inverse.iter_mut().for_each(|variance| *variance = T::ONE / Algebra::sqrt(*variance + eps)),
        }
        self.with(scratch, inverse, y, inlined!(|x, inverse| x * inverse));
    }
}

/// Writes `(x - mean) / √(variance + eps)` over `axes` to `y`, and `1 / √(variance + eps)` to `inverse`, one number for
/// each group. `scratch` is as long as `x`.
pub(crate) fn normalize<T: Number>(
    x: &[T],
    shape: &[usize],
    axes: AxisSet,
    eps: T,
    scratch: &mut [T],
    y: &mut [T],
    inverse: &mut [T],
) {
    if let Some((rows, width)) = divided_rows(shape, axes) {
        let (shape, after, axes) = ([rows / 2, width], [rows - rows / 2, width], AxisSet::one(1));
        let (x, x_after) = x.split_at(shape[0] * width);
        let (scratch, scratch_after) = scratch.split_at_mut(x.len());
        let (y, y_after) = y.split_at_mut(x.len());
        let (inverse, inverse_after) = inverse.split_at_mut(shape[0]);
        threads::join(
            || normalize(x, &shape, axes, eps, scratch, y, inverse),
            || normalize(x_after, &after, axes, eps, scratch_after, y_after, inverse_after),
        );
        return;
    }
    match rows(shape, axes) {
        Some((_, width)) => dispatch(NormalizeRows { x, eps, scratch: &mut scratch[..width], y, inverse }),
        None => Groups::new(shape, axes).normalize(x, eps, scratch, y, inverse),
    }
}

/// [`normalize`] for groups that are rows, on one thread. `scratch` is as long as a row.
struct NormalizeRows<'a, T> {
    x: &'a [T],
    eps: T,
    scratch: &'a mut [T],
    y: &'a mut [T],
    inverse: &'a mut [T],
}

impl<T: Number> WithSimd for NormalizeRows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, eps, scratch, y, inverse } = self;
        let width = scratch.len();
        for ((x, y), inverse) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)).zip(inverse) {
            *inverse = normalize_row(simd, x, eps, scratch, y);
        }
    }
}

/// Writes a normalized row to `y`, and returns `1 / √(variance + eps)`: the steps of [`Groups::normalize`].
#[inline(always)]
fn normalize_row<S: Simd, T: Number>(simd: S, x: &[T], eps: T, scratch: &mut [T], y: &mut [T]) -> T {
    let length = T::from_f64(x.len() as f64);
    let mean = sum_inlined(simd, x) / length;
    loops::map(y, x, inlined!(|x: T| -> T { x - mean }));
    let mean = sum_inlined(simd, y) / length;
    let mean = if mean.is_finite() { mean } else { T::ZERO };
    loops::map(scratch, y, inlined!(|x: T| -> T { x - mean }));
    loops::map(y, scratch, inlined!(|x: T| -> T { x * x }));
    let mut inverse = sum_inlined(simd, y) / length;
    if inverse == T::INFINITY {
        let shape = [1, x.len()];
        let inverse = std::slice::from_mut(&mut inverse);
        Groups::new(&shape, AxisSet::one(1)).inverse_of_far(eps, scratch, y, inverse);
    } else {
        inverse = T::ONE / Algebra::sqrt(inverse + eps);
    }
    loops::map(y, scratch, inlined!(|x: T| -> T { x * inverse }));
    inverse
}

/// Returns the number of rows and their width, if rows are the groups and each is normalized on one thread: there are
/// elements, and no row is so long that threads share it. A row of one element is no sum.
fn rows(shape: &[usize], axes: AxisSet) -> Option<(usize, usize)> {
    let first = (0..shape.len()).find(|&axis| axes.contains(axis))?;
    let (rows, width): (usize, usize) = (shape[..first].iter().product(), shape[first..].iter().product());
    let are_groups = (first..shape.len()).all(|axis| axes.contains(axis));
    let shared = width >= 2 * PIECE && threads::count() > 1;
    (are_groups && rows > 0 && width > 1 && !shared).then_some((rows, width))
}

/// Returns the number of rows and their width, if threads can share the rows of a large array.
fn divided_rows(shape: &[usize], axes: AxisSet) -> Option<(usize, usize)> {
    rows(shape, axes).filter(|&(rows, width)| rows > 1 && rows * width >= 2 * PIECE && threads::count() > 1)
}

/// Writes the vjp of [`normalize`] to `out`: `r (g - mean g - y mean(g y))`, where `y` is the normalized `x` and
/// `r = 1 / √(variance + eps)`. `y` and `scratch` are as long as `x`. `numbers` holds three numbers for each group.
#[allow(clippy::too_many_arguments)]
pub(crate) fn denormalize<T: Number>(
    x: &[T],
    g: &[T],
    shape: &[usize],
    axes: AxisSet,
    eps: T,
    y: &mut [T],
    scratch: &mut [T],
    numbers: &mut [T],
    out: &mut [T],
) {
    let count = numbers.len() / 3;
    let (inverse, rest) = numbers.split_at_mut(count);
    let (mean, along) = rest.split_at_mut(count);
    Pullback { x, g, eps, y, scratch, inverse, mean, along, out }.run(shape, axes);
}

/// The arguments of [`denormalize`], for some of the groups.
struct Pullback<'a, T> {
    x: &'a [T],
    g: &'a [T],
    eps: T,
    y: &'a mut [T],
    scratch: &'a mut [T],
    inverse: &'a mut [T],
    mean: &'a mut [T],
    along: &'a mut [T],
    out: &'a mut [T],
}

impl<T: Number> Pullback<'_, T> {
    fn run(self, shape: &[usize], axes: AxisSet) {
        let Self { x, g, eps, y, scratch, inverse, mean, along, out } = self;
        if let Some((rows, width)) = divided_rows(shape, axes) {
            let (shape, after, axes) = ([rows / 2, width], [rows - rows / 2, width], AxisSet::one(1));
            let ((x, x_after), (g, g_after)) = (x.split_at(shape[0] * width), g.split_at(shape[0] * width));
            let (y, y_after) = y.split_at_mut(x.len());
            let (scratch, scratch_after) = scratch.split_at_mut(x.len());
            let (out, out_after) = out.split_at_mut(x.len());
            let (inverse, inverse_after) = inverse.split_at_mut(shape[0]);
            let (mean, mean_after) = mean.split_at_mut(shape[0]);
            let (along, along_after) = along.split_at_mut(shape[0]);
            let first = Pullback { x, g, eps, y, scratch, inverse, mean, along, out };
            let second = Pullback {
                x: x_after,
                g: g_after,
                eps,
                y: y_after,
                scratch: scratch_after,
                inverse: inverse_after,
                mean: mean_after,
                along: along_after,
                out: out_after,
            };
            threads::join(move || first.run(&shape, axes), move || second.run(&after, axes));
            return;
        }
        if let Some((_, width)) = rows(shape, axes) {
            let (y, scratch) = (&mut y[..width], &mut scratch[..width]);
            return dispatch(DenormalizeRows { x, g, eps, y, scratch, out });
        }
        let groups = Groups::new(shape, axes);
        groups.normalize(x, eps, scratch, y, inverse);
        groups.means(g, mean);
        elementwise::zip_slices(scratch, g, y, inlined!(|g, y| g * y));
        groups.means(scratch, along);
        groups.with(y, along, scratch, inlined!(|y, along| y * along));
        groups.with(g, mean, out, inlined!(|g, mean| g - mean));
        elementwise::zip_in_place(out, scratch, inlined!(|g, along| g - along));
        // The last step is in place, through the scratch memory.
        groups.with(out, inverse, scratch, inlined!(|g, inverse| g * inverse));
        out.copy_from_slice(scratch);
    }
}

/// [`denormalize`] for groups that are rows, on one thread. `y` and `scratch` are as long as a row.
struct DenormalizeRows<'a, T> {
    x: &'a [T],
    g: &'a [T],
    eps: T,
    y: &'a mut [T],
    scratch: &'a mut [T],
    out: &'a mut [T],
}

impl<T: Number> WithSimd for DenormalizeRows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, g, eps, y, scratch, out } = self;
        let (width, length) = (y.len(), T::from_f64(y.len() as f64));
        for ((x, g), out) in x.chunks_exact(width).zip(g.chunks_exact(width)).zip(out.chunks_exact_mut(width)) {
            let inverse = normalize_row(simd, x, eps, scratch, y);
            let mean = sum_inlined(simd, g) / length;
            loops::zip_slices(scratch, g, y, inlined!(|g: T, y: T| -> T { g * y }));
            let along = sum_inlined(simd, scratch) / length;
            loops::zip_slices(out, g, y, inlined!(|g: T, y: T| -> T { (g - mean - y * along) * inverse }));
        }
    }
}
