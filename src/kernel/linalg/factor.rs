//! Factorizations by blocks: the matrix product does most of the work.
//!
//! A matrix is cut into its left and its right half, which are factorized one after the other (Toledo 1997; Golub and
//! Van Loan 2013, 3.2.11 and 4.2.9).

use std::ops::Range;

use pulp::{Simd, WithSimd};

use crate::kernel::linalg::buffer::Buffer;
use crate::kernel::linalg::triangular::{BASE, Diagonal, Part, Triangle, half, negated};
use crate::kernel::matmul::{Accumulate, Matmul, MatrixRef, matmul_strided};
use crate::number::{Algebra, Number, dispatch};

/// The factorization `p a = l u` with a permutation `p`, a unit lower triangular `l` and an upper triangular `u`.
///
/// Partial pivoting: the element of a column with the largest magnitude comes to the diagonal.
pub(super) struct Lu<T: Matmul> {
    n: usize,
    /// `l` below the diagonal, `u` on it and above.
    factors: Buffer<T>,
    /// Row `i` of `p a` is this row of `a`.
    rows: Vec<usize>,
    /// The determinant of `p`: 1 or -1.
    sign: T,
}

impl<T: Number + Matmul> Lu<T> {
    /// Factorizes the row-major `a`.
    pub(super) fn new(a: Buffer<T>, n: usize) -> Self {
        let mut lu = Self { n, factors: a, rows: (0..n).collect(), sign: T::ONE };
        lu.factorize(0, n, &mut Buffer::new(0));
        lu
    }

    /// Factorizes these columns, below the row of the first. The columns before them are factorized.
    fn factorize(&mut self, first: usize, end: usize, scratch: &mut Buffer<T>) {
        let n = self.n;
        if end - first <= BASE {
            let Self { factors, rows, sign, .. } = self;
            if n <= BASE {
                return dispatch(Panel { a: factors, n, first, end, rows, sign });
            }
            return dispatch(Columns { a: factors, n, first, end, rows, sign, scratch });
        }
        let middle = first + half(end - first);
        self.factorize(first, middle, scratch);
        let (size, width) = (middle - first, end - middle);
        let at = |row: usize, column: usize| row * n + column;
        // The block on the diagonal and those to its right lie in the same rows of memory.
        let copy = copied_block(&self.factors, n, first..middle);
        let corner = Triangle::new(&copy, size, Part::Lower, Diagonal::Unit);
        corner.solve(&mut self.factors[at(first, middle)..at(middle - 1, end)], n, width, scratch);
        drop(copy);
        let (upper, lower) = self.factors.split_at_mut(at(middle, 0));
        let right = MatrixRef { data: &upper[at(first, middle)..], row_stride: n, col_stride: 1 };
        let left = negated(lower, n, first..middle, scratch);
        matmul_strided([n - middle, width, size], left, right, &mut lower[middle..], n, Accumulate::Yes);
        self.factorize(middle, end, scratch);
    }

    /// Returns the diagonal of `u`.
    pub(super) fn diagonal(&self) -> impl Iterator<Item = T> + '_ {
        self.factors.iter().step_by(self.n + 1).copied()
    }

    /// Returns the sign of the determinant: -1, 0 or 1.
    pub(super) fn determinant_sign(&self) -> T {
        self.diagonal().fold(self.sign, |sign, x| match x {
            x if x == T::ZERO => T::ZERO,
            x if x < T::ZERO => -sign,
            _ => sign,
        })
    }

    pub(super) fn determinant(&self) -> T {
        self.diagonal().fold(self.sign, |product, x| product * x)
    }

    /// Writes the factors and the row numbers.
    pub(super) fn write(&self, factors: &mut [T], rows: &mut [T]) {
        factors.copy_from_slice(&self.factors);
        rows.iter_mut().zip(&self.rows).for_each(|(to, &row)| *to = T::from_f64(row as f64));
    }

    pub(super) fn factored(&self) -> Factored<'_, T> {
        Factored { n: self.n, factors: &self.factors, rows: &self.rows }
    }
}

/// The factors of an [`Lu`], wherever they are stored.
#[derive(Clone, Copy)]
pub(super) struct Factored<'a, T> {
    pub(super) n: usize,
    pub(super) factors: &'a [T],
    pub(super) rows: &'a [usize],
}

impl<'a, T: Number + Matmul> Factored<'a, T> {
    pub(super) fn is_singular(self) -> bool {
        self.factors.iter().step_by(self.n + 1).any(|&x| x == T::ZERO)
    }

    /// Writes `a⁻¹ b` for a `b` with this many columns.
    pub(super) fn solve(self, b: &[T], columns: usize, x: &mut [T]) {
        for (x, &row) in x.chunks_exact_mut(columns.max(1)).zip(self.rows) {
            x.copy_from_slice(&b[row * columns..][..columns]);
        }
        self.solve_permuted(columns, x);
    }

    /// Writes `a⁻ᵀ b = pᵀ l⁻ᵀ u⁻ᵀ b`.
    pub(super) fn solve_transposed(self, b: &[T], columns: usize, x: &mut [T]) {
        let (mut permuted, mut scratch) = (Buffer::copy_of(b), Buffer::new(0));
        self.u().transposed().solve(&mut permuted, columns, columns, &mut scratch);
        self.l().transposed().solve(&mut permuted, columns, columns, &mut scratch);
        self.restore_rows(&permuted, columns, x);
    }

    /// Writes `pᵀ permuted`.
    fn restore_rows(self, permuted: &[T], columns: usize, x: &mut [T]) {
        for (from, &row) in permuted.chunks_exact(columns.max(1)).zip(self.rows) {
            x[row * columns..][..columns].copy_from_slice(from);
        }
    }

    /// Writes `a⁻¹ = u⁻¹ l⁻¹ p`.
    pub(super) fn inverse(self, x: &mut [T]) {
        let n = self.n;
        x.fill(T::ZERO);
        if n <= BASE {
            for (x, &row) in x.chunks_exact_mut(n.max(1)).zip(self.rows) {
                x[row] = T::ONE;
            }
            return self.solve_permuted(n, x);
        }
        let mut scratch = Buffer::new(0);
        self.l().invert(x, n, &mut scratch);
        self.u().solve(x, n, n, &mut scratch);
        for x in x.chunks_exact_mut(n) {
            scratch.set_length(n);
            scratch.copy_from_slice(x);
            for (&column, &value) in self.rows.iter().zip(&*scratch) {
                x[column] = value;
            }
        }
    }

    /// Writes `a⁻ᵀ = pᵀ l⁻ᵀ u⁻ᵀ`.
    pub(super) fn inverse_transposed(self, x: &mut [T]) {
        let n = self.n;
        let (mut permuted, mut scratch) = (Buffer::new(n * n), Buffer::new(0));
        permuted.fill(T::ZERO);
        self.u().transposed().invert(&mut permuted, n, &mut scratch);
        self.l().transposed().solve(&mut permuted, n, n, &mut scratch);
        self.restore_rows(&permuted, n, x);
    }

    fn l(self) -> Triangle<'a, T> {
        Triangle::new(self.factors, self.n, Part::Lower, Diagonal::Unit)
    }

    fn u(self) -> Triangle<'a, T> {
        Triangle::new(self.factors, self.n, Part::Upper, Diagonal::Given)
    }

    /// `x = u⁻¹ l⁻¹ x`.
    fn solve_permuted(self, columns: usize, x: &mut [T]) {
        let mut scratch = Buffer::new(0);
        self.l().solve(x, columns, columns, &mut scratch);
        self.u().solve(x, columns, columns, &mut scratch);
    }
}

/// Returns a copy of a square block on the diagonal of a matrix with `n` columns.
fn copied_block<T: Number + Matmul>(a: &[T], n: usize, rows: Range<usize>) -> Buffer<T> {
    let width = rows.len();
    let mut copy = Buffer::new(width * width);
    for (copy, row) in copy.chunks_exact_mut(width).zip(rows.clone()) {
        copy.copy_from_slice(&a[row * n..][rows.clone()]);
    }
    copy
}

/// A few columns of an LU factorization.
struct Panel<'a, T> {
    a: &'a mut [T],
    n: usize,
    first: usize,
    end: usize,
    rows: &'a mut [usize],
    sign: &'a mut T,
}

impl<T: Number> WithSimd for Panel<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { a, n, first, end, rows, sign } = self;
        for j in first..end {
            let (mut largest, mut size) = (j, a[j * n + j].abs());
            for i in j + 1..n {
                let x = a[i * n + j].abs();
                if x > size {
                    (largest, size) = (i, x);
                }
            }
            if largest != j {
                let (upper, lower) = a.split_at_mut(largest * n);
                upper[j * n..][..n].swap_with_slice(&mut lower[..n]);
                rows.swap(j, largest);
                *sign = -*sign;
            }
            let (upper, lower) = a.split_at_mut((j + 1) * n);
            let pivot = upper[j * n + j];
            if pivot == T::ZERO {
                continue;
            }
            let pivot_row = &upper[j * n + j + 1..j * n + end];
            for row in lower.chunks_exact_mut(n) {
                let factor = row[j] / pivot;
                row[j] = factor;
                let row = &mut row[j + 1..end];
                for column in 0..row.len() {
                    row[column] -= factor * pivot_row[column];
                }
            }
        }
    }
}

/// The same for columns of a large matrix. They are copied, so that each is contiguous.
struct Columns<'a, T: Matmul> {
    a: &'a mut [T],
    n: usize,
    first: usize,
    end: usize,
    rows: &'a mut [usize],
    sign: &'a mut T,
    scratch: &'a mut Buffer<T>,
}

impl<T: Number + Matmul> WithSimd for Columns<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { a, n, first, end, rows, sign, scratch } = self;
        let (width, height) = (end - first, n - first);
        scratch.set_length(width * height);
        let columns = &mut scratch[..];
        copy_columns(&a[first * n..], n, first, columns, height);
        for j in 0..width {
            let (before, rest) = columns.split_at_mut((j + 1) * height);
            let column = &mut before[j * height..];
            let largest = j + largest(&column[j..]);
            if largest != j {
                column.swap(j, largest);
                for other in rest.chunks_exact_mut(height) {
                    other.swap(j, largest);
                }
                for other in before[..j * height].chunks_exact_mut(height) {
                    other.swap(j, largest);
                }
                let (upper, lower) = a.split_at_mut((first + largest) * n);
                upper[(first + j) * n..][..n].swap_with_slice(&mut lower[..n]);
                rows.swap(first + j, first + largest);
                *sign = -*sign;
            }
            let column = &mut before[j * height..];
            let pivot = column[j];
            if pivot == T::ZERO {
                continue;
            }
            let column = &mut column[j + 1..];
            for x in column.iter_mut() {
                *x /= pivot;
            }
            for other in rest.chunks_exact_mut(height) {
                let factor = other[j];
                let other = &mut other[j + 1..][..column.len()];
                for i in 0..column.len() {
                    other[i] -= column[i] * factor;
                }
            }
        }
        for (i, row) in a[first * n..].chunks_exact_mut(n).enumerate() {
            let row = &mut row[first..end];
            for j in 0..row.len() {
                row[j] = columns[j * height + i];
            }
        }
    }
}

#[inline(always)]
fn copy_columns<T: Number>(a: &[T], n: usize, first: usize, columns: &mut [T], height: usize) {
    for (i, row) in a.chunks_exact(n).enumerate() {
        for (j, column) in columns.chunks_exact_mut(height).enumerate() {
            column[i] = row[first + j];
        }
    }
}

/// Returns the place of the element with the largest magnitude: the first such, and the first if all are NaN.
#[inline(always)]
fn largest<T: Number>(x: &[T]) -> usize {
    let mut sizes = [-T::ONE; 16];
    let (blocks, rest) = x.as_chunks::<16>();
    for block in blocks {
        for lane in 0..16 {
            let x = block[lane].abs();
            sizes[lane] = if x > sizes[lane] { x } else { sizes[lane] };
        }
    }
    for (size, x) in sizes.iter_mut().zip(rest) {
        let x = x.abs();
        *size = if x > *size { x } else { *size };
    }
    let size = sizes.iter().fold(-T::ONE, |size, &x| if x > size { x } else { size });
    x.iter().position(|x| x.abs() == size).unwrap_or(0)
}

/// Replaces the upper triangle of a symmetric matrix by the upper triangular `u` with `uᵀ u = a`. Elements below the
/// diagonal become meaningless. Returns `None` if the matrix is not positive definite.
pub(super) fn cholesky<T: Number + Matmul>(a: &mut [T], n: usize) -> Option<()> {
    cholesky_block(a, n, 0, n, &mut Buffer::new(0))
}

/// Factorizes the block on the diagonal from row `first` to `end`.
fn cholesky_block<T: Number + Matmul>(
    a: &mut [T],
    n: usize,
    first: usize,
    end: usize,
    scratch: &mut Buffer<T>,
) -> Option<()> {
    if end - first <= BASE {
        return dispatch(CholeskyBase { a, n, first, end });
    }
    let middle = first + half(end - first);
    let (size, width) = (middle - first, end - middle);
    cholesky_block(a, n, first, middle, scratch)?;
    let at = |row: usize, column: usize| row * n + column;
    // The block on the diagonal and the one to its right lie in the same rows of memory.
    let copy = copied_block(a, n, first..middle);
    let corner = Triangle::new(&copy, size, Part::Upper, Diagonal::Given).transposed();
    let (upper, lower) = a.split_at_mut(at(middle, 0));
    corner.solve(&mut upper[at(first, middle)..], n, width, scratch);
    drop(copy);
    let right = MatrixRef { data: &upper[at(first, middle)..], row_stride: n, col_stride: 1 };
    let negated = negated(&upper[at(first, 0)..], n, middle..end, scratch);
    matmul_strided([width, width, size], right.transposed(), negated, &mut lower[middle..], n, Accumulate::Yes);
    cholesky_block(a, n, middle, end, scratch)
}

/// A small block of a Cholesky factorization.
struct CholeskyBase<'a, T> {
    a: &'a mut [T],
    n: usize,
    first: usize,
    end: usize,
}

impl<T: Number> WithSimd for CholeskyBase<'_, T> {
    type Output = Option<()>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Option<()> {
        let Self { a, n, first, end } = self;
        for j in first..end {
            let (upper, lower) = a.split_at_mut((j + 1) * n);
            let row = &mut upper[j * n + j..j * n + end];
            // Not positive, or NaN.
            if row[0].partial_cmp(&T::ZERO) != Some(std::cmp::Ordering::Greater) {
                return None;
            }
            let root = row[0].sqrt();
            row[0] = root;
            for x in &mut row[1..] {
                *x /= root;
            }
            for (step, other) in lower.chunks_mut(n).take(end - j - 1).enumerate() {
                let (factor, row) = (row[1 + step], &row[1 + step..]);
                let other = &mut other[j + 1 + step..end];
                for column in 0..other.len() {
                    other[column] -= factor * row[column];
                }
            }
        }
        Some(())
    }
}
