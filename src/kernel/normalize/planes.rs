//! Normalization of the channels of images: first the numbers of each channel, whose elements stay in the second cache, then
//! one pass over all images.

use pulp::{Simd, WithSimd};

use super::moments::{Channel, Group, Means, Moments};
use crate::kernel::loops;
use crate::memory::Pool;
use crate::number::{Number, dispatch, inlined};
use crate::threads::{PIECE, in_pieces};

/// Images with channels: arrays of `count * channels * length` elements.
#[derive(Clone, Copy)]
pub(super) struct Planes {
    pub(super) count: usize,
    pub(super) channels: usize,
    /// The number of elements of a channel of one image.
    pub(super) length: usize,
}

/// The numbers of a channel: its moments, then its means, then the sums for the cotangents of gain and bias.
const MOMENTS: usize = 3;
const PULLBACK: usize = MOMENTS + 4;

impl Planes {
    fn channel<S>(self, simd: S, channel: usize) -> Channel<S> {
        let Self { count, channels, length } = self;
        Channel { simd, runs: count, start: channel * length, stride: channels * length, length }
    }

    /// Returns the number of elements in a group.
    fn elements<T: Number>(self) -> T {
        T::from_f64((self.count * self.length) as f64)
    }

    /// Returns the fewest channels of which a thread computes the numbers.
    fn fewest(self) -> usize {
        (PIECE / (self.count * self.length)).max(1)
    }

    /// Writes the normalized channels to `y`, times `gain` plus `bias` if there are such: one number for each channel.
    pub(super) fn normalize<T: Number>(self, x: &[T], eps: T, affine: Option<[&[T]; 2]>, y: &mut [T], pool: &Pool<T>) {
        let mut numbers = pool.lend(MOMENTS * self.channels);
        in_pieces(&mut numbers, MOMENTS, self.fewest() * MOMENTS, |start, numbers| {
            dispatch(MomentsOf { planes: self, first: start / MOMENTS, x, eps, numbers });
        });
        let numbers = &*numbers;
        in_pieces(y, self.length, PIECE, |start, y| {
            let (first, x) = (start / self.length, &x[start..][..y.len()]);
            match affine {
                Some(affine) => dispatch(Normalized { planes: self, first, x, numbers, affine, y }),
                None => dispatch(Normalized { planes: self, first, x, numbers, affine: [], y }),
            }
        });
    }

    /// Writes `1 / √(variance + eps)` of each channel.
    pub(super) fn inverse_std<T: Number>(self, x: &[T], eps: T, out: &mut [T], pool: &Pool<T>) {
        let mut numbers = pool.lend(MOMENTS * self.channels);
        in_pieces(&mut numbers, MOMENTS, self.fewest() * MOMENTS, |start, numbers| {
            dispatch(MomentsOf { planes: self, first: start / MOMENTS, x, eps, numbers });
        });
        for (out, numbers) in out.iter_mut().zip(numbers.chunks_exact(MOMENTS)) {
            *out = numbers[2];
        }
    }

    /// Writes the pullback of the normalization of channels, with a gain of one number for each if there is such: the
    /// cotangents of the array, the gain and the bias, if they are wanted.
    pub(super) fn pull<T: Number>(
        self,
        x: &[T],
        g: &[T],
        gain: Option<&[T]>,
        eps: T,
        grads: [Option<&mut [T]>; 3],
        pool: &Pool<T>,
    ) {
        let mut numbers = pool.lend(PULLBACK * self.channels);
        in_pieces(&mut numbers, PULLBACK, self.fewest() * PULLBACK, |start, numbers| {
            let first = start / PULLBACK;
            match gain {
                Some(gain) => dispatch(PullbackOf { planes: self, first, x, g, gain: [gain], eps, numbers }),
                None => dispatch(PullbackOf { planes: self, first, x, g, gain: [], eps, numbers }),
            }
        });
        let [out, of_gain, of_bias] = grads;
        for (place, out) in [(PULLBACK - 2, of_gain), (PULLBACK - 1, of_bias)] {
            for (out, numbers) in out.into_iter().flatten().zip(numbers.chunks_exact(PULLBACK)) {
                *out = numbers[place];
            }
        }
        let (Some(out), numbers) = (out, &*numbers) else { return };
        in_pieces(out, self.length, PIECE, |start, out| {
            let (first, range) = (start / self.length, start..start + out.len());
            let (x, g) = (&x[range.clone()], &g[range]);
            match gain {
                Some(gain) => dispatch(Pulled { planes: self, first, x, g, numbers, gain: [gain], out }),
                None => dispatch(Pulled { planes: self, first, x, g, numbers, gain: [], out }),
            }
        });
    }
}

struct MomentsOf<'a, T> {
    planes: Planes,
    first: usize,
    x: &'a [T],
    eps: T,
    numbers: &'a mut [T],
}

impl<T: Number> WithSimd for MomentsOf<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { planes, first, x, eps, numbers } = self;
        for channel in 0..numbers.len() / MOMENTS {
            let group = planes.channel(simd, first + channel);
            let Moments { mean, correction, inverse } = Moments::of(group, x, planes.elements(), eps);
            numbers[channel * MOMENTS..][..MOMENTS].copy_from_slice(&[mean, correction, inverse]);
        }
    }
}

/// Returns the moments among the numbers of a channel.
#[inline(always)]
fn moments<T: Number>(numbers: &[T]) -> Moments<T> {
    Moments { mean: numbers[0], correction: numbers[1], inverse: numbers[2] }
}

struct Normalized<'a, T, const N: usize> {
    planes: Planes,
    first: usize,
    x: &'a [T],
    numbers: &'a [T],
    affine: [&'a [T]; N],
    y: &'a mut [T],
}

impl<T: Number, const N: usize> WithSimd for Normalized<'_, T, N> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { planes, first, x, numbers, affine, y } = self;
        let length = planes.length;
        for plane in 0..y.len() / length {
            let (channel, range) = ((first + plane) % planes.channels, plane * length..(plane + 1) * length);
            let moments = moments(&numbers[channel * MOMENTS..]);
            let (x, y) = (&x[range.clone()], &mut y[range]);
            if let [gain, bias] = affine[..] {
                let (gain, bias) = (gain[channel], bias[channel]);
                loops::map(y, x, inlined!(|x: T| -> T { moments.normalized(x) * gain + bias }));
            } else {
                loops::map(y, x, inlined!(|x: T| -> T { moments.normalized(x) }));
            }
        }
    }
}

struct PullbackOf<'a, T, const N: usize> {
    planes: Planes,
    first: usize,
    x: &'a [T],
    g: &'a [T],
    gain: [&'a [T]; N],
    eps: T,
    numbers: &'a mut [T],
}

impl<T: Number, const N: usize> WithSimd for PullbackOf<'_, T, N> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { planes, first, x, g, gain, eps, numbers } = self;
        let length: T = planes.elements();
        for channel in 0..numbers.len() / PULLBACK {
            let group = planes.channel(simd, first + channel);
            let moments = Moments::of(group, x, length, eps);
            let [sum, along, of_gain, of_bias] = if let [gain] = gain[..] {
                let gain = gain[first + channel];
                group.sums(
                    [x, g],
                    inlined!(|v: [T; 2]| -> [T; 4] {
                        let (y, h) = (moments.normalized(v[0]), v[1] * gain);
                        [h, h * y, v[1] * y, v[1]]
                    }),
                )
            } else {
                let [sum, along] =
                    group.sums([x, g], inlined!(|v: [T; 2]| -> [T; 2] { [v[1], v[1] * moments.normalized(v[0])] }));
                [sum, along, T::ZERO, T::ZERO]
            };
            let Moments { mean, correction, inverse } = moments;
            let all = [mean, correction, inverse, sum / length, along / length, of_gain, of_bias];
            numbers[channel * PULLBACK..][..PULLBACK].copy_from_slice(&all);
        }
    }
}

struct Pulled<'a, T, const N: usize> {
    planes: Planes,
    first: usize,
    x: &'a [T],
    g: &'a [T],
    numbers: &'a [T],
    gain: [&'a [T]; N],
    out: &'a mut [T],
}

impl<T: Number, const N: usize> WithSimd for Pulled<'_, T, N> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { planes, first, x, g, numbers, gain, out } = self;
        let length = planes.length;
        for plane in 0..out.len() / length {
            let (channel, range) = ((first + plane) % planes.channels, plane * length..(plane + 1) * length);
            let numbers = &numbers[channel * PULLBACK..];
            let (moments, means) = (moments(numbers), Means { mean: numbers[MOMENTS], along: numbers[MOMENTS + 1] });
            let (x, g, out) = (&x[range.clone()], &g[range.clone()], &mut out[range]);
            if let [gain] = gain[..] {
                let gain = gain[channel];
                loops::zip_slices(out, g, x, inlined!(|g: T, x: T| -> T { means.pulled(moments, g * gain, x) }));
            } else {
                loops::zip_slices(out, g, x, inlined!(|g: T, x: T| -> T { means.pulled(moments, g, x) }));
            }
        }
    }
}
