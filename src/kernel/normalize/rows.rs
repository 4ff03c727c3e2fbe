//! Normalization of groups that are rows: one pass over a row after the other, while it is in the nearest cache.

use pulp::{Simd, WithSimd};

use super::moments::{Means, Moments, Row};
use crate::kernel::loops;
use crate::kernel::sums::{ColumnSums, ROWS_OF_BLOCK, ROWS_OF_GROUP, sum_of};
use crate::memory::Pool;
use crate::number::{Number, dispatch, inlined};
use crate::threads::{self, PIECE, in_pieces};

/// Writes the normalized rows to `y`, times `gain` plus `bias` if there are such.
pub(super) fn normalize<T: Number>(x: &[T], width: usize, eps: T, affine: Option<[&[T]; 2]>, y: &mut [T]) {
    in_pieces(y, width, PIECE, |start, y| {
        let x = &x[start..][..y.len()];
        match affine {
            Some(affine) => dispatch(Rows { x, width, eps, affine, y }),
            None => dispatch(Rows::<T, 0> { x, width, eps, affine: [], y }),
        }
    });
}

struct Rows<'a, T, const N: usize> {
    x: &'a [T],
    width: usize,
    eps: T,
    affine: [&'a [T]; N],
    y: &'a mut [T],
}

impl<T: Number, const N: usize> WithSimd for Rows<'_, T, N> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, width, eps, affine, y } = self;
        let length = T::from_f64(width as f64);
        let mut start = 0;
        while start < y.len() {
            let (x, y) = (&x[start..start + width], &mut y[start..start + width]);
            let moments = Moments::of(Row(simd), x, length, eps);
            if let [gain, bias] = affine[..] {
                let (gain, bias) = (&gain[..width], &bias[..width]);
                for i in 0..width {
                    y[i] = moments.normalized(x[i]) * gain[i] + bias[i];
                }
            } else {
                loops::map(y, x, inlined!(|x: T| -> T { moments.normalized(x) }));
            }
            start += width;
        }
    }
}

/// Writes `1 / √(variance + eps)` of each row.
pub(super) fn inverse_std<T: Number>(x: &[T], width: usize, eps: T, out: &mut [T]) {
    in_pieces(out, 1, (PIECE / width).max(1), |start, out| {
        dispatch(Inverses { x: &x[start * width..][..out.len() * width], width, eps, out });
    });
}

struct Inverses<'a, T> {
    x: &'a [T],
    width: usize,
    eps: T,
    out: &'a mut [T],
}

impl<T: Number> WithSimd for Inverses<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, width, eps, out } = self;
        let length = T::from_f64(width as f64);
        for row in 0..out.len() {
            out[row] = Moments::of(Row(simd), &x[row * width..(row + 1) * width], length, eps).inverse;
        }
    }
}

/// Writes the pullback of the normalization of rows.
pub(super) fn pull<T: Number>(x: &[T], g: &[T], width: usize, eps: T, out: &mut [T]) {
    in_pieces(out, width, PIECE, |start, out| {
        let range = start..start + out.len();
        dispatch(Pullback { x: &x[range.clone()], g: &g[range], width, eps, out });
    });
}

struct Pullback<'a, T> {
    x: &'a [T],
    g: &'a [T],
    width: usize,
    eps: T,
    out: &'a mut [T],
}

impl<T: Number> WithSimd for Pullback<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, g, width, eps, out } = self;
        let length = T::from_f64(width as f64);
        let mut start = 0;
        while start < out.len() {
            let range = start..start + width;
            let (x, g, out) = (&x[range.clone()], &g[range.clone()], &mut out[range]);
            let moments = Moments::of(Row(simd), x, length, eps);
            let means = Means {
                mean: sum_of(simd, [g], inlined!(|v: [T; 1]| -> T { v[0] })) / length,
                along: sum_of(simd, [g, x], inlined!(|v: [T; 2]| -> T { v[0] * moments.normalized(v[1]) })) / length,
            };
            loops::zip_slices(out, g, x, inlined!(|g: T, x: T| -> T { means.pulled(moments, g, x) }));
            start += width;
        }
    }
}

/// The arguments of the pullback of rows with gain and bias, for some of the blocks of rows.
struct Affine<'a, T> {
    x: &'a [T],
    g: &'a [T],
    gain: &'a [T],
    eps: T,
    columns: &'a ColumnSums,
    /// Empty if it is not wanted.
    out: &'a mut [T],
    /// The sums of the cotangents of gain and bias, for each block. They are empty if they are not wanted.
    blocks: [&'a mut [T]; 2],
}

/// Writes the pullback of rows with gain and bias: the cotangents of the three operands, if they are wanted.
pub(super) fn pull_affine<T: Number>(
    x: &[T],
    g: &[T],
    gain: &[T],
    eps: T,
    grads: [Option<&mut [T]>; 3],
    pool: &Pool<T>,
) {
    let [out, of_gain, of_bias] = grads;
    let width = gain.len();
    let columns = ColumnSums::new(x.len() / width, width);
    let length = if of_gain.is_some() || of_bias.is_some() { columns.elements() } else { 0 };
    let (mut gains, mut biases) = (pool.lend(length), pool.lend(length));
    Affine {
        x,
        g,
        gain,
        eps,
        columns: &columns,
        out: out.unwrap_or_default(),
        blocks: [&mut gains, &mut biases],
    }
    .run();
    for (blocks, out) in [(gains, of_gain), (biases, of_bias)] {
        if let Some(out) = out {
            columns.finish(&mut { blocks }, out);
        }
    }
}

impl<T: Number> Affine<'_, T> {
    fn run(self) {
        let width = self.gain.len();
        let blocks = (self.x.len() / width).div_ceil(ROWS_OF_BLOCK);
        if blocks < 2 || self.x.len() < 2 * PIECE || threads::count() == 1 {
            return dispatch(self);
        }
        let Self { x, g, gain, eps, columns, out, blocks: [gains, biases] } = self;
        let half = blocks / 2;
        let elements = half * ROWS_OF_BLOCK * width;
        let ((x, x_after), (g, g_after)) = (x.split_at(elements), g.split_at(elements));
        let (out, out_after) = out.split_at_mut(elements.min(out.len()));
        let (gains, gains_after) = gains.split_at_mut((half * width).min(gains.len()));
        let (biases, biases_after) = biases.split_at_mut((half * width).min(biases.len()));
        let first = Affine { x, g, gain, eps, columns, out, blocks: [gains, biases] };
        let second = Affine {
            x: x_after,
            g: g_after,
            gain,
            eps,
            columns,
            out: out_after,
            blocks: [gains_after, biases_after],
        };
        threads::join(move || first.run(), move || second.run());
    }
}

impl<T: Number> WithSimd for Affine<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, g, gain, eps, columns, out, blocks: [gains, biases] } = self;
        let (width, length) = (gain.len(), T::from_f64(gain.len() as f64));
        gains.fill(columns.neutral());
        biases.fill(columns.neutral());
        let (rows, mut group) = (x.len() / width, 0);
        let mut moments = [Moments { mean: T::ZERO, correction: T::ZERO, inverse: T::ZERO }; ROWS_OF_GROUP];
        while group < rows {
            let end = rows.min(group + ROWS_OF_GROUP);
            for row in group..end {
                let range = row * width..(row + 1) * width;
                let (x, g) = (&x[range.clone()], &g[range.clone()]);
                let own = Moments::of(Row(simd), x, length, eps);
                moments[row - group] = own;
                if out.is_empty() {
                    continue;
                }
                let means = Means {
                    mean: sum_of(simd, [g, gain], inlined!(|v: [T; 2]| -> T { v[0] * v[1] })) / length,
                    along: sum_of(
                        simd,
                        [g, gain, x],
                        inlined!(|v: [T; 3]| -> T { v[0] * v[1] * own.normalized(v[2]) }),
                    ) / length,
                };
                loops::zip_three(
                    &mut out[range],
                    g,
                    gain,
                    x,
                    inlined!(|g: T, gain: T, x: T| -> T { means.pulled(own, g * gain, x) }),
                );
            }
            if !gains.is_empty() {
                let (rows, block) = (group * width..end * width, group / ROWS_OF_BLOCK * width);
                let (moments, arrays) = (&moments[..end - group], [&g[rows.clone()], &x[rows]]);
                columns.add(
                    arrays,
                    moments,
                    &mut gains[block..block + width],
                    inlined!(|g: T, x: T, moments: Moments<T>| -> T { g * moments.normalized(x) }),
                );
                columns.add(
                    arrays,
                    moments,
                    &mut biases[block..block + width],
                    inlined!(|g: T, _: T, _: Moments<T>| -> T { g }),
                );
            }
            group = end;
        }
    }
}
