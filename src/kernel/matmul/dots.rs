//! Dot products of many rows with few columns, or of few rows with many columns.

use pulp::Simd;

use crate::kernel::matmul::lanes::{Scratch, copied_rows, stored, tail};
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

/// The same product, if the columns of `b` are contiguous as well.
#[inline(always)]
fn dots<S: Simd, T: Vectors>(simd: S, mut product: Product<'_, T>) {
    steps!(product.m; 0..4 => 1, _ => 4; |i, ROWS| dots_of_rows::<S, T, ROWS>(simd, product.from(i, 0, 0)));
}

/// Dot products of `R` rows with all columns, a few columns at a time: the sums have to fit in registers.
#[inline(always)]
fn dots_of_rows<S: Simd, T: Vectors, const R: usize>(simd: S, mut product: Product<'_, T>) {
    steps!(product.n; 1 => 1, 2 | 4 => 2, _ => 3; |j, COLUMNS| {
        dot_tile::<S, T, R, COLUMNS>(simd, product.from(0, j, 0));
    });
}

/// `R` by `J` dot products side by side: each vector that is read serves several of them.
#[inline(always)]
fn dot_tile<S: Simd, T: Vectors, const R: usize, const J: usize>(simd: S, product: Product<'_, T>) {
    let Product { k, a, b, c, c_strides, accumulate, .. } = product;
    let lanes = T::lanes::<S>();
    let vectors = k / lanes;
    let mut sums = [[T::splat(simd, T::default()); J]; R];
    let mut xs: [&[T]; R] = [&[]; R];
    let mut ys: [&[T]; J] = [&[]; J];
    let mut x_vectors = [T::as_vectors::<S>(&[]); R];
    let mut y_vectors = [T::as_vectors::<S>(&[]); J];
    for i in 0..R {
        xs[i] = &a.data[i * a.row_stride..][..k];
        x_vectors[i] = &T::as_vectors::<S>(xs[i])[..vectors];
    }
    for j in 0..J {
        ys[j] = &b.data[j * b.col_stride..][..k];
        y_vectors[j] = &T::as_vectors::<S>(ys[j])[..vectors];
    }
    for v in 0..vectors {
        for i in 0..R {
            for j in 0..J {
                sums[i][j] = T::fma(simd, x_vectors[i][v], y_vectors[j][v], sums[i][j]);
            }
        }
    }
    if vectors * lanes < k {
        let mut x_tails = [sums[0][0]; R];
        for i in 0..R {
            x_tails[i] = tail(simd, xs[i]);
        }
        for j in 0..J {
            let y = tail(simd, ys[j]);
            for i in 0..R {
                sums[i][j] = T::fma(simd, x_tails[i], y, sums[i][j]);
            }
        }
    }
    for i in 0..R {
        for j in 0..J {
            let c = &mut c[i * c_strides.0 + j * c_strides.1];
            *c = stored(accumulate, c, T::reduce(simd, sums[i][j]));
        }
    }
}
