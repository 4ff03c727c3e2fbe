//! Normalization of groups that are rows: one pass over a row after the other, while it is in the nearest cache.

use pulp::{Simd, WithSimd};

use super::moments::{Means, Moments, Row};
use crate::kernel::loops;
use crate::kernel::sums::{ColumnSums, ROWS_OF_BLOCK, ROWS_OF_GROUP, sums_inlined};
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
            let [sum, along] =
                sums_inlined(simd, [x, g], inlined!(|v: [T; 2]| -> [T; 2] { [v[1], v[1] * moments.normalized(v[0])] }));
            let means = Means { mean: sum / length, along: along / length };
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
    scratch: &'a mut [T],
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
    // A group of products, and a row: for each block if threads share the blocks.
    let places = if threads::count() > 1 { columns.elements() / width } else { 1 };
    let mut scratch = pool.lend(places * (ROWS_OF_GROUP + 1) * width);
    Affine {
        x,
        g,
        gain,
        eps,
        columns: &columns,
        out: out.unwrap_or_default(),
        blocks: [&mut gains, &mut biases],
        scratch: &mut scratch,
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
        let Self { x, g, gain, eps, columns, out, blocks: [gains, biases], scratch } = self;
        let half = blocks / 2;
        let elements = half * ROWS_OF_BLOCK * width;
        let ((x, x_after), (g, g_after)) = (x.split_at(elements), g.split_at(elements));
        let (out, out_after) = out.split_at_mut(elements.min(out.len()));
        let (gains, gains_after) = gains.split_at_mut((half * width).min(gains.len()));
        let (biases, biases_after) = biases.split_at_mut((half * width).min(biases.len()));
        let (scratch, scratch_after) = scratch.split_at_mut(half * (ROWS_OF_GROUP + 1) * width);
        let first = Affine { x, g, gain, eps, columns, out, blocks: [gains, biases], scratch };
        let second = Affine {
            x: x_after,
            g: g_after,
            gain,
            eps,
            columns,
            out: out_after,
            blocks: [gains_after, biases_after],
            scratch: scratch_after,
        };
        threads::join(move || first.run(), move || second.run());
    }
}

impl<T: Number> WithSimd for Affine<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, g, gain, eps, columns, out, blocks: [gains, biases], scratch } = self;
        let (width, length) = (gain.len(), T::from_f64(gain.len() as f64));
        let (products, scratch) = scratch[..(ROWS_OF_GROUP + 1) * width].split_at_mut(ROWS_OF_GROUP * width);
        gains.fill(T::ZERO);
        biases.fill(T::ZERO);
        let (mut group, mut block) = (0, 0);
        while group < x.len() {
            let end = x.len().min(group + ROWS_OF_GROUP * width);
            let mut start = group;
            while start < end {
                let (x, g) = (&x[start..start + width], &g[start..start + width]);
                let moments = Moments::of(Row(simd), x, length, eps);
                if !gains.is_empty() {
                    let products = &mut products[start - group..][..width];
                    loops::zip_slices(products, g, x, inlined!(|g: T, x: T| -> T { g * moments.normalized(x) }));
                }
                if !out.is_empty() {
                    let [sum, along] = sums_inlined(
                        simd,
                        [x, g, gain],
                        inlined!(|v: [T; 3]| -> [T; 2] {
                            let h = v[1] * v[2];
                            [h, h * moments.normalized(v[0])]
                        }),
                    );
                    let means = Means { mean: sum / length, along: along / length };
                    let out = &mut out[start..start + width];
                    loops::zip_three(
                        out,
                        g,
                        gain,
                        x,
                        inlined!(|g: T, gain: T, x: T| -> T { means.pulled(moments, g * gain, x) }),
                    );
                }
                start += width;
            }
            if !gains.is_empty() {
                let sums = block * width..(block + 1) * width;
                columns.add(&products[..end - group], scratch, &mut gains[sums.clone()]);
                columns.add(&g[group..end], scratch, &mut biases[sums]);
            }
            group = end;
            block = group / width / ROWS_OF_BLOCK;
        }
    }
}
