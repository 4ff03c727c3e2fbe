//! Few rows, few columns or few steps: multiples of rows are added up, and the large operand is read once, in place.

use pulp::Simd;

use crate::kernel::matmul::lanes::{LINE, Scratch, copied_rows, load, store_narrow, stored};
use crate::kernel::matmul::operand::{Accumulate, Product, even, steps};
use crate::number::Vectors;

/// Rows of the large operand that are added to the sums in one pass.
const ROWS: usize = 8;

/// One row of `a` and short rows of `b`. The sums stay in registers, except on machines with short vectors. `b` is read
/// once.
#[inline(always)]
pub(super) fn short_row<S: Simd, T: Vectors>(simd: S, product: Product<'_, T>) {
    // The vectors of a line of 64 bytes.
    let chains = chains::<T>(product.n);
    match const { LINE / size_of::<T::Vector<S>>() } {
        1 => match chains {
            8 => short_sums::<S, T, 1, 8>(simd, product),
            4 => short_sums::<S, T, 2, 4>(simd, product),
            _ => short_sums::<S, T, 4, 2>(simd, product),
        },
        2 => match chains {
            8 => short_sums::<S, T, 2, 8>(simd, product),
            4 => short_sums::<S, T, 4, 4>(simd, product),
            _ => short_sums::<S, T, 8, 2>(simd, product),
        },
        _ => match chains {
            8 => short_sums::<S, T, 4, 8>(simd, product),
            4 => short_sums::<S, T, 8, 4>(simd, product),
            _ => short_sums::<S, T, 16, 2>(simd, product),
        },
    }
}

/// Returns how many sums of a short row run side by side: as many as fill 8 registers of AVX-512. The length of a row
/// alone decides it.
#[inline(always)]
pub(super) fn chains<T>(n: usize) -> usize {
    match (n * size_of::<T>()).div_ceil(LINE) {
        1 => 8,
        2 => 4,
        _ => 2,
    }
}

/// The same for rows of at most `NV` vectors. Row `p` of `b` is added to the sums `p % CHAINS`; these are added up in the
/// end. `CHAINS` sums run side by side to hide the latency of a multiply-add.
#[inline(always)]
fn short_sums<S: Simd, T: Vectors, const NV: usize, const CHAINS: usize>(simd: S, product: Product<'_, T>) {
    let Product { n, k, a, b, c, accumulate, .. } = product;
    let lanes = T::lanes::<S>();
    let mut sums = [[T::splat(simd, T::default()); NV]; CHAINS];
    // Whole vectors are read as long as the data has them. Lanes beyond the row's end belong to the next row and are
    // dropped.
    let reach = NV * lanes + (CHAINS - 1) * b.row_stride;
    let mut p = 0;
    while p + CHAINS <= k && p * b.row_stride + reach <= b.data.len() {
        let rows = &b.data[p * b.row_stride..][..reach];
        for (chain, sums) in sums.iter_mut().enumerate() {
            let row = &T::as_vectors::<S>(&rows[chain * b.row_stride..])[..NV];
            let factor = T::splat(simd, a.data[(p + chain) * a.col_stride]);
            for (sum, &b) in sums.iter_mut().zip(row) {
                *sum = T::fma(simd, factor, b, *sum);
            }
        }
        p += CHAINS;
    }
    while p < k {
        let factor = T::splat(simd, a.data[p * a.col_stride]);
        let row = &b.data[p * b.row_stride..][..n];
        for (sum, row) in sums[p % CHAINS].iter_mut().zip(row.chunks(lanes)) {
            *sum = T::fma(simd, factor, T::partial_load(simd, row), *sum);
        }
        p += 1;
    }
    for (j, c) in c.chunks_mut(lanes).enumerate() {
        let mut sum = sums[0][j];
        for sums in &sums[1..] {
            sum = T::sum(simd, sum, sums[j]);
        }
        if accumulate == Accumulate::Yes {
            sum = T::sum(simd, T::partial_load(simd, c), sum);
        }
        T::partial_store(simd, c, sum);
    }
}

/// Few columns of `b` and a transposed `a`. The rows that `a` has in memory are added to the rows of a transposed `c`,
/// which is kept in the nearest cache, by `add_all_rows`. So the large operand is read once, from front to back.
#[inline(always)]
pub(super) fn columns_of_a<T: Vectors>(product: Product<'_, T>, add_all_rows: impl FnOnce(Product<'_, T>)) {
    let Product { m, n, k, a, b, c, c_strides: (row_stride, _), accumulate } = product;
    let stride = m.next_multiple_of(LINE / size_of::<T>());
    let mut scratch = Scratch::take();
    let (sums, _) = scratch.split(stride * n, 0);
    add_all_rows(Product {
        m: n,
        n: m,
        k,
        a: b.transposed(),
        b: a.transposed(),
        c: &mut *sums,
        c_strides: (stride, 1),
        accumulate: Accumulate::No,
    });
    for (i, c) in c.chunks_mut(row_stride).enumerate() {
        for (c, sums) in c.iter_mut().zip(sums.chunks_exact(stride)) {
            *c = stored(accumulate, c, sums[i]);
        }
    }
}

/// `c[i, :] = Σ a[i, p] b[p, :]` for few `i`, where the rows of `b` are contiguous.
#[inline(always)]
pub(super) fn add_all_rows<S: Simd, T: Vectors>(simd: S, mut product: Product<'_, T>) {
    let Product { m, n, k, .. } = product;
    // The sums and the current rows share half of a first-level cache.
    let rows_of_block = if m <= 3 { m } else { m + ROWS };
    let block = even(n, 32 * 1024 / size_of::<T>() / rows_of_block).next_multiple_of(T::lanes::<S>());
    for start in (0..n).step_by(block) {
        let mut columns = Product { n: block.min(n - start), ..product.from(0, start, 0) };
        for p in (0..k).step_by(ROWS) {
            if k - p < ROWS {
                for p in p..k {
                    add_to_all_sums::<S, T, 1>(simd, columns.from(0, 0, p));
                }
            } else if m == 4 {
                add_rows::<S, T, 4, 4>(simd, columns.from(0, 0, p));
                add_rows::<S, T, 4, 4>(simd, columns.from(0, 0, p + 4));
            } else {
                add_to_all_sums::<S, T, ROWS>(simd, columns.from(0, 0, p));
            }
        }
    }
}

/// Adds multiples of the first `R` rows of `b` to all rows of `c`, a few rows of `c` at a time: the factors have to fit
/// in registers.
#[inline(always)]
fn add_to_all_sums<S: Simd, T: Vectors, const R: usize>(simd: S, mut product: Product<'_, T>) {
    steps!(product.m; 1 => 1, 2 | 4 => 2, _ => 3; |i, SUMS| add_rows::<S, T, R, SUMS>(simd, product.from(i, 0, 0)));
}

/// Small `k`: each row of `c` is a sum of a few multiples of the rows of `b`, which stay in the nearest cache.
#[inline(always)]
pub(super) fn few_steps<S: Simd, T: Vectors>(simd: S, product: Product<'_, T>) {
    let Product { m, n, k, b, .. } = product;
    let mut scratch = Scratch::take();
    let b = if b.col_stride == 1 { b } else { copied_rows(&mut scratch, b, k, n) };
    let mut product = Product { b, ..product };
    if k == 1 && n <= T::lanes::<S>() && product.accumulate == Accumulate::No {
        return narrow_outer(simd, product);
    }
    steps!(m; 1 | 2 => 1, _ => 3; |i, SUMS| match k {
        1 => add_rows::<S, T, 1, SUMS>(simd, product.from(i, 0, 0)),
        2 => add_rows::<S, T, 2, SUMS>(simd, product.from(i, 0, 0)),
        3 => add_rows::<S, T, 3, SUMS>(simd, product.from(i, 0, 0)),
        _ => add_rows::<S, T, 4, SUMS>(simd, product.from(i, 0, 0)),
    });
}

/// `c[i, j] = a[i] b[j]`, where a row of `c` is at most a vector. It stores whole vectors nevertheless.
#[inline(always)]
fn narrow_outer<S: Simd, T: Vectors>(simd: S, product: Product<'_, T>) {
    let Product { m, n, a, b, c, c_strides: (row_stride, _), accumulate, .. } = product;
    let b = T::partial_load(simd, &b.data[..n]);
    let zero = T::splat(simd, T::default());
    for row in (0..m).step_by(8) {
        let rows = 8.min(m - row);
        let mut products = [b; 8];
        for (i, product) in products.iter_mut().enumerate() {
            let a = T::splat(simd, a.data[(row + i.min(rows - 1)) * a.row_stride]);
            // As in `add_rows`: the sum with 0 is not -0.
            *product = T::fma(simd, a, b, zero);
        }
        store_narrow(simd, products, &mut c[row * row_stride..], row_stride, 0..rows, n, accumulate);
    }
}

/// `c[j, :] = Σ a[j, p] b[p, :]` over `R` rows of `b`, for `J` rows of `c`.
#[inline(always)]
fn add_rows<S: Simd, T: Vectors, const R: usize, const J: usize>(simd: S, product: Product<'_, T>) {
    let Product { n: width, a: factors, b: rows, c: sums, c_strides: (stride, _), accumulate, .. } = product;
    let lanes = T::lanes::<S>();
    let zero = T::splat(simd, T::default());
    let mut factor = [[zero; R]; J];
    for j in 0..J {
        for p in 0..R {
            factor[j][p] = T::splat(simd, factors.data[j * factors.row_stride + p * factors.col_stride]);
        }
    }
    let vectors = width / lanes;
    let mut row = [&[][..]; R];
    for p in 0..R {
        row[p] = &rows.data[p * rows.row_stride..][..width];
    }
    let mut behind = sums;
    let mut sums: [&mut [T]; J] = std::array::from_fn(|_| Default::default());
    for sums in &mut sums {
        let (this, next) = behind.split_at_mut(stride.min(behind.len()));
        *sums = &mut this[..width];
        behind = next;
    }
    if vectors == 0 {
        let mut sum = [zero; J];
        if accumulate == Accumulate::Yes {
            for j in 0..J {
                sum[j] = T::partial_load(simd, sums[j]);
            }
        }
        for p in 0..R {
            // The lanes beyond the row's end are dropped.
            let x = load(simd, &rows.data[p * rows.row_stride..]);
            for j in 0..J {
                sum[j] = T::fma(simd, factor[j][p], x, sum[j]);
            }
        }
        for j in 0..J {
            T::partial_store(simd, sums[j], sum[j]);
        }
        return;
    }
    // The last vector may overlap the one before it. So it is computed before that one is stored, and stored after it.
    let last = width - lanes;
    let mut last_sum = [zero; J];
    if accumulate == Accumulate::Yes {
        for j in 0..J {
            last_sum[j] = T::as_vectors::<S>(&sums[j][last..])[0];
        }
    }
    for p in 0..R {
        let x = T::as_vectors::<S>(&row[p][last..])[0];
        for j in 0..J {
            last_sum[j] = T::fma(simd, factor[j][p], x, last_sum[j]);
        }
    }
    let mut row_vectors = [T::as_vectors::<S>(&[]); R];
    for p in 0..R {
        row_vectors[p] = &T::as_vectors::<S>(row[p])[..vectors];
    }
    let mut sum_vectors: [&mut [T::Vector<S>]; J] = std::array::from_fn(|_| Default::default());
    for (vector, sums) in sum_vectors.iter_mut().zip(&mut sums) {
        *vector = &mut T::as_vectors_mut::<S>(sums)[..vectors];
    }
    for v in 0..vectors {
        let mut sum = [zero; J];
        if accumulate == Accumulate::Yes {
            for j in 0..J {
                sum[j] = sum_vectors[j][v];
            }
        }
        for p in 0..R {
            let x = row_vectors[p][v];
            for j in 0..J {
                sum[j] = T::fma(simd, factor[j][p], x, sum[j]);
            }
        }
        for j in 0..J {
            sum_vectors[j][v] = sum[j];
        }
    }
    for j in 0..J {
        T::as_vectors_mut::<S>(&mut sums[j][last..])[0] = last_sum[j];
    }
}
