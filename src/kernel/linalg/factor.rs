//! Factorizations by blocks: the matrix product does most of the work.
//!
//! A matrix is cut into its left and its right half, which are factorized one after the other (Toledo 1997; Golub and
//! Van Loan 2013, 3.2.11 and 4.2.9).

use std::ops::Range;

use pulp::{Simd, WithSimd};

use crate::kernel::linalg::triangular::{BASE, Diagonal, Part, Triangle, half, product, subtract, subtract_product};
use crate::kernel::matmul::{Matmul, MatrixRef};
use crate::number::{Algebra, Number, dispatch};

/// The factorization `p a = l u` with a permutation `p`, a unit lower triangular `l` and an upper triangular `u`.
///
/// Partial pivoting: the element of a column with the largest magnitude comes to the diagonal.
pub(super) struct Lu<T> {
    n: usize,
    /// `l` below the diagonal, `u` on it and above.
    factors: Vec<T>,
    /// Row `i` of `p a` is this row of `a`.
    rows: Vec<usize>,
    /// The determinant of `p`: 1 or -1.
    sign: T,
}

impl<T: Number + Matmul> Lu<T> {
    /// Factorizes the row-major `a`.
    pub(super) fn new(a: Vec<T>, n: usize) -> Self {
        let mut lu = Self { n, factors: a, rows: (0..n).collect(), sign: T::ONE };
        lu.factorize(0, n, &mut Vec::new());
        lu
    }

    /// Factorizes these columns, below the row of the first. The columns before them are factorized.
    fn factorize(&mut self, first: usize, end: usize, scratch: &mut Vec<T>) {
        let n = self.n;
        if end - first <= BASE {
            let Self { factors, rows, sign, .. } = self;
            return dispatch(Panel { a: factors, n, first, end, rows, sign });
        }
        let middle = first + half(end - first);
        self.factorize(first, middle, scratch);
        let (size, width) = (middle - first, end - middle);
        let at = |row: usize, column: usize| row * n + column;
        // The block on the diagonal and those to its right lie in the same rows of memory.
        let corner = copied_block(&self.factors, n, first..middle);
        let corner = Triangle::new(&corner, size, Part::Lower, Diagonal::Unit);
        corner.solve(&mut self.factors[at(first, middle)..at(middle - 1, end)], n, width, scratch);
        if middle < n {
            let block =
                |row, column| MatrixRef { data: &self.factors[at(row, column)..], row_stride: n, col_stride: 1 };
            product(scratch, [n - middle, width, size], block(middle, first), block(first, middle));
            subtract(&mut self.factors[at(middle, middle)..], n, scratch, width);
        }
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

    pub(super) fn is_singular(&self) -> bool {
        self.diagonal().any(|x| x == T::ZERO)
    }

    /// Writes `a⁻¹ b` for a `b` with this many columns.
    pub(super) fn solve(&self, b: &[T], columns: usize, x: &mut [T]) {
        for (x, &row) in x.chunks_exact_mut(columns.max(1)).zip(&self.rows) {
            x.copy_from_slice(&b[row * columns..][..columns]);
        }
        self.solve_permuted(columns, x);
    }

    /// Writes `a⁻¹`.
    pub(super) fn inverse(&self, x: &mut [T]) {
        x.fill(T::ZERO);
        for (x, &row) in x.chunks_exact_mut(self.n.max(1)).zip(&self.rows) {
            x[row] = T::ONE;
        }
        self.solve_permuted(self.n, x);
    }

    /// `x = u⁻¹ l⁻¹ x`.
    fn solve_permuted(&self, columns: usize, x: &mut [T]) {
        let mut scratch = Vec::new();
        for (part, diagonal) in [(Part::Lower, Diagonal::Unit), (Part::Upper, Diagonal::Given)] {
            Triangle::new(&self.factors, self.n, part, diagonal).solve(x, columns, columns, &mut scratch);
        }
    }
}

/// Returns a copy of a square block on the diagonal of a matrix with `n` columns.
fn copied_block<T: Number>(a: &[T], n: usize, rows: Range<usize>) -> Vec<T> {
    rows.clone().flat_map(|row| &a[row * n..][rows.clone()]).copied().collect()
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

/// Replaces the upper triangle of a symmetric matrix by the upper triangular `u` with `uᵀ u = a`. Elements below the
/// diagonal become meaningless. Returns `None` if the matrix is not positive definite.
pub(super) fn cholesky<T: Number + Matmul>(a: &mut [T], n: usize) -> Option<()> {
    cholesky_block(a, n, 0, n, &mut Vec::new())
}

/// Factorizes the block on the diagonal from row `first` to `end`.
fn cholesky_block<T: Number + Matmul>(
    a: &mut [T],
    n: usize,
    first: usize,
    end: usize,
    scratch: &mut Vec<T>,
) -> Option<()> {
    if end - first <= BASE {
        return dispatch(CholeskyBase { a, n, first, end });
    }
    let middle = first + half(end - first);
    let (size, width) = (middle - first, end - middle);
    cholesky_block(a, n, first, middle, scratch)?;
    let at = |row: usize, column: usize| row * n + column;
    // The block on the diagonal and the one to its right lie in the same rows of memory.
    let corner = copied_block(a, n, first..middle);
    let corner = Triangle::new(&corner, size, Part::Upper, Diagonal::Given).transposed();
    let (upper, lower) = a.split_at_mut(at(middle, 0));
    corner.solve(&mut upper[at(first, middle)..], n, width, scratch);
    let right = MatrixRef { data: &upper[at(first, middle)..], row_stride: n, col_stride: 1 };
    subtract_product(&mut lower[middle..], n, [width, width, size], right.transposed(), right, scratch);
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
