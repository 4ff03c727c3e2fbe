//! Normalization of groups of any layout: each step is a pass over the elements of all groups.

use crate::kernel::elementwise;
use crate::kernel::reduce;
use crate::kernel::view::View;
use crate::number::{Algebra, Classify, Number, inlined};
use crate::shape::{AxisSet, KeepDims, Shape};

/// A row-major array and the axes that a group spans. The elements of a group are normalized together.
pub(super) struct Groups<'a> {
    shape: &'a [usize],
    axes: AxisSet,
    /// The shape of an array with one number for each group.
    numbers: Shape,
}

impl<'a> Groups<'a> {
    pub(super) fn new(shape: &'a [usize], axes: AxisSet) -> Self {
        Self { shape, axes, numbers: Shape::from(shape).reduced(axes, KeepDims::Yes) }
    }

    /// Returns the number of groups.
    pub(super) fn count(&self) -> usize {
        self.numbers.elements()
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
    /// The steps are those of [`Moments`](super::moments::Moments).
    pub(super) fn normalize<T: Number>(&self, x: &[T], eps: T, scratch: &mut [T], y: &mut [T], inverse: &mut [T]) {
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

    /// Writes the cotangent of the operand to `out`, given that of the result `y`, `g`: `r (g - mean g - y mean(g y))` with
    /// `r` in `inverse`. `numbers` holds two numbers for each group.
    pub(super) fn pull<T: Number>(
        &self,
        g: &[T],
        y: &[T],
        inverse: &[T],
        numbers: &mut [T],
        scratch: &mut [T],
        out: &mut [T],
    ) {
        let (mean, along) = numbers.split_at_mut(inverse.len());
        self.means(g, mean);
        elementwise::zip_slices(scratch, g, y, inlined!(|g, y| g * y));
        self.means(scratch, along);
        self.with(y, along, scratch, inlined!(|y, along| y * along));
        self.with(g, mean, out, inlined!(|g, mean| g - mean));
        elementwise::zip_in_place(out, scratch, inlined!(|g, along| g - along));
        // The last step is in place, through the scratch memory.
        self.with(out, inverse, scratch, inlined!(|g, inverse| g * inverse));
        out.copy_from_slice(scratch);
    }
}
