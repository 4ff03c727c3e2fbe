//! Mean and variance of one group, and the numbers of its pullback.

use pulp::Simd;

use crate::kernel::sums::{SumsOf, sum_runs, sums_inlined};
use crate::number::{Algebra, Classify, Number, inlined, outlined};

/// The elements of one group, in arrays of the shape of the normalized one.
pub(super) trait Group<T: Number>: Copy {
    /// Returns the sums of functions of the elements of some arrays.
    fn sums<const K: usize, const M: usize>(self, x: [&[T]; K], f: impl Fn([T; K]) -> [T; M] + Copy) -> [T; M];

    /// Calls `f` with each element.
    fn each(self, x: &[T], f: impl FnMut(T));
}

/// A group that is a row. The arrays are this row.
#[derive(Clone, Copy)]
pub(super) struct Row<S>(pub(super) S);

impl<S: Simd, T: Number> Group<T> for Row<S> {
    #[inline(always)]
    fn sums<const K: usize, const M: usize>(self, x: [&[T]; K], f: impl Fn([T; K]) -> [T; M] + Copy) -> [T; M] {
        sums_inlined(self.0, x, f)
    }

    fn each(self, x: &[T], f: impl FnMut(T)) {
        x.iter().copied().for_each(f);
    }
}

/// A group that is a channel of images: `runs` runs of `length` elements, one for each image.
#[derive(Clone, Copy)]
pub(super) struct Channel<S> {
    pub(super) simd: S,
    pub(super) runs: usize,
    /// The position of the first run, and the distance between two.
    pub(super) start: usize,
    pub(super) stride: usize,
    pub(super) length: usize,
}

impl<S: Simd, T: Number> Group<T> for Channel<S> {
    #[inline(always)]
    fn sums<const K: usize, const M: usize>(self, x: [&[T]; K], f: impl Fn([T; K]) -> [T; M] + Copy) -> [T; M] {
        let Self { simd, runs, start, stride, length } = self;
        sum_runs(
            runs,
            inlined!(|run: usize| -> [T; M] {
                let mut runs = x;
                for k in 0..K {
                    runs[k] = &x[k][start + run * stride..][..length];
                }
                outlined(simd, SumsOf::<T, _, K, M> { x: runs, f })
            }),
        )
    }

    fn each(self, x: &[T], mut f: impl FnMut(T)) {
        for run in 0..self.runs {
            x[self.start + run * self.stride..][..self.length].iter().copied().for_each(&mut f);
        }
    }
}

/// What the normalized elements of a group are computed from.
///
/// There are two passes: the mean, then the squares of the differences from it. (The difference of two large sums would lose
/// its digits.) The mean of large numbers is rounded, perhaps by more than the numbers differ. So the mean of the differences
/// is subtracted from the differences: it is the rounding error of the first mean.
#[derive(Clone, Copy)]
pub(super) struct Moments<T> {
    pub(super) mean: T,
    /// The mean of the differences from the mean.
    pub(super) correction: T,
    /// `1 / √(variance + eps)`.
    pub(super) inverse: T,
}

impl<T: Number> Moments<T> {
    /// Returns the moments of a group of `length` elements.
    #[inline(always)]
    pub(super) fn of(group: impl Group<T>, x: &[T], length: T, eps: T) -> Self {
        let [sum] = group.sums([x], inlined!(|x: [T; 1]| -> [T; 1] { x }));
        let mean = sum / length;
        let [sum] = group.sums([x], inlined!(|x: [T; 1]| -> [T; 1] { [x[0] - mean] }));
        let correction = sum / length;
        // If the sum overflows, there is no correction.
        let correction = if correction.is_finite() { correction } else { T::ZERO };
        let [sum] = group.sums([x], inlined!(|x: [T; 1]| -> [T; 1] { [square(x[0] - mean - correction)] }));
        let variance = sum / length;
        let inverse = if variance == T::INFINITY {
            inverse_of_far(group, x, [mean, correction], length, eps)
        } else {
            T::ONE / Algebra::sqrt(variance + eps)
        };
        Self { mean, correction, inverse }
    }

    /// Returns an element, normalized.
    #[inline(always)]
    pub(super) fn normalized(self, x: T) -> T {
        (x - self.mean - self.correction) * self.inverse
    }
}

#[inline(always)]
fn square<T: Number>(x: T) -> T {
    x * x
}

/// Returns `1 / √(variance + eps)` of a group whose variance overflows: the differences from the mean are divided by the
/// largest first.
#[cold]
#[inline(never)]
fn inverse_of_far<T: Number>(group: impl Group<T>, x: &[T], [mean, correction]: [T; 2], length: T, eps: T) -> T {
    let mut largest = T::ZERO;
    group.each(x, |x| {
        let size = Algebra::abs(x - mean - correction);
        if size > largest {
            largest = size;
        }
    });
    // An infinite element has no finite difference from the mean; the result is NaN.
    let factor = if largest.is_finite() { largest } else { T::ONE };
    let [sum] = group.sums([x], |[x]| [square((x - mean - correction) / factor)]);
    T::ONE / factor / Algebra::sqrt(sum / length + eps / factor / factor)
}

/// What the pullback of a group is computed from, beside its moments.
#[derive(Clone, Copy)]
pub(super) struct Means<T> {
    /// The mean of the cotangent.
    pub(super) mean: T,
    /// The mean of the cotangent times the normalized elements.
    pub(super) along: T,
}

impl<T: Number> Means<T> {
    /// Returns the cotangent of an element, given that of its normalized one, `g`.
    #[inline(always)]
    pub(super) fn pulled(self, moments: Moments<T>, g: T, x: T) -> T {
        (g - self.mean - moments.normalized(x) * self.along) * moments.inverse
    }
}
