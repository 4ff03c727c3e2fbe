//! Dot products of many rows with few columns, or of few rows with many columns.

use pulp::Simd;

use crate::kernel::matmul::lanes::{LINE, Scratch, copied_rows, stored, sum_of_line, tail};
use crate::kernel::matmul::operand::{Product, steps};
use crate::number::Vectors;

/// `c[i, j] = a[i, :] · b[:, j]`, where the rows of `a` are contiguous and `b` has few columns.
#[inline(always)]
pub(super) fn few_dots<S: Simd, T: Vectors>(simd: S, product: Product<'_, T>) {
    if product.b.row_stride == 1 {
        return dots(simd, product);
    }
    let mut scratch = Scratch::take();
    let columns = copied_rows(&mut scratch, product.b.transposed(), product.n, product.k);
    dots(simd, Product { b: columns.transposed(), ..product });
}

/// The same product, if the columns of `b` are contiguous as well: tiles of dot products, as large as registers allow.
#[inline(always)]
fn dots<S: Simd, T: Vectors>(simd: S, mut product: Product<'_, T>) {
    let m = product.m;
    match const { LINE / size_of::<T::Vector<S>>() } {
        1 => steps!(m; 0..4 => 1, _ => 4; |i, ROWS| dots_of_rows::<S, T, ROWS, 3, 1>(simd, product.from(i, 0, 0))),
        2 => steps!(m; 1 => 1, _ => 2; |i, ROWS| dots_of_rows::<S, T, ROWS, 3, 2>(simd, product.from(i, 0, 0))),
        _ => steps!(m; 1 => 1, _ => 2; |i, ROWS| dots_of_rows::<S, T, ROWS, 2, 4>(simd, product.from(i, 0, 0))),
    }
}

/// Dot products of `R` rows with all columns, at most `J` columns at a time: the sums have to fit in registers.
#[inline(always)]
fn dots_of_rows<S: Simd, T: Vectors, const R: usize, const J: usize, const PARTS: usize>(
    simd: S,
    mut product: Product<'_, T>,
) {
    let n = product.n;
    match const { J } {
        2 => steps!(n; 1 => 1, _ => 2; |j, COLUMNS| dot_tile::<S, T, R, COLUMNS, PARTS>(simd, product.from(0, j, 0))),
        _ => steps!(n; 1 => 1, 2 | 4 => 2, _ => 3; |j, COLUMNS| {
            dot_tile::<S, T, R, COLUMNS, PARTS>(simd, product.from(0, j, 0));
        }),
    }
}

/// `R` by `J` dot products side by side: each vector that is read serves several of them. Each lane of a line of `PARTS`
/// vectors has its own sum.
#[inline(always)]
fn dot_tile<S: Simd, T: Vectors, const R: usize, const J: usize, const PARTS: usize>(simd: S, product: Product<'_, T>) {
    let Product { k, a, b, c, c_strides, accumulate, .. } = product;
    let lines = k / (LINE / size_of::<T>());
    let mut sums = [[[T::splat(simd, T::default()); PARTS]; J]; R];
    let mut xs: [&[T]; R] = [&[]; R];
    let mut ys: [&[T]; J] = [&[]; J];
    let mut x_lines: [&[[T::Vector<S>; PARTS]]; R] = [&[]; R];
    let mut y_lines: [&[[T::Vector<S>; PARTS]]; J] = [&[]; J];
    for i in 0..R {
        xs[i] = &a.data[i * a.row_stride..][..k];
        x_lines[i] = &T::as_vectors::<S>(xs[i]).as_chunks().0[..lines];
    }
    for j in 0..J {
        ys[j] = &b.data[j * b.col_stride..][..k];
        y_lines[j] = &T::as_vectors::<S>(ys[j]).as_chunks().0[..lines];
    }
    for l in 0..lines {
        for p in 0..PARTS {
            for i in 0..R {
                for j in 0..J {
                    sums[i][j][p] = T::fma(simd, x_lines[i][l][p], y_lines[j][l][p], sums[i][j][p]);
                }
            }
        }
    }
    if lines * (LINE / size_of::<T>()) < k {
        let mut x_tails = [sums[0][0]; R];
        for i in 0..R {
            x_tails[i] = tail(simd, xs[i]);
        }
        for j in 0..J {
            let y: [_; PARTS] = tail(simd, ys[j]);
            for i in 0..R {
                for p in 0..PARTS {
                    sums[i][j][p] = T::fma(simd, x_tails[i][p], y[p], sums[i][j][p]);
                }
            }
        }
    }
    for i in 0..R {
        for j in 0..J {
            let c = &mut c[i * c_strides.0 + j * c_strides.1];
            *c = stored(accumulate, c, sum_of_line::<S, T, PARTS>(simd, sums[i][j]));
        }
    }
}
