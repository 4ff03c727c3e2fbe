//! Triangular systems of equations, by blocks: the matrix product does most of the work.

use pulp::{Simd, WithSimd};

use crate::kernel::matmul::{Accumulate, Matmul, MatrixRef, matmul};
use crate::number::{Number, dispatch};

/// Up to this many rows are solved or factorized row by row.
pub(super) const BASE: usize = 16;
/// So many columns of the right-hand side are solved together: the rows of a base case stay in the nearest cache.
const COLUMNS: usize = 256;

/// Which triangle of a matrix is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The elements on and below the diagonal.
    Lower,
    /// The elements on and above the diagonal.
    Upper,
}

/// The diagonal of a triangular matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Diagonal {
    /// All ones. The matrix in memory may hold anything there.
    Unit,
    /// The elements of the matrix.
    Given,
}

/// A triangle of a square matrix of `n` rows.
#[derive(Clone, Copy)]
pub(super) struct Triangle<'a, T> {
    matrix: MatrixRef<'a, T>,
    n: usize,
    part: Part,
    diagonal: Diagonal,
}

impl<'a, T: Number + Matmul> Triangle<'a, T> {
    /// A triangle of the row-major `a`.
    pub(super) fn new(a: &'a [T], n: usize, part: Part, diagonal: Diagonal) -> Self {
        Self { matrix: MatrixRef { data: a, row_stride: n, col_stride: 1 }, n, part, diagonal }
    }

    /// Returns the transpose: a lower triangle becomes an upper one.
    pub(super) fn transposed(self) -> Self {
        let part = if self.part == Part::Lower { Part::Upper } else { Part::Lower };
        Self { matrix: self.matrix.transposed(), part, ..self }
    }

    /// Returns the square block of `n` rows on the diagonal that begins at a row.
    fn block(self, start: usize, n: usize) -> Self {
        Self { matrix: self.matrix.from(start, start), n, ..self }
    }

    /// `b = t⁻¹ b` for a `b` with this many columns, whose rows begin `stride` apart. A zero on the diagonal gives
    /// infinities or NaN.
    pub(super) fn solve(self, b: &mut [T], stride: usize, columns: usize, scratch: &mut Vec<T>) {
        let n = self.n;
        if columns == 0 {
            return;
        }
        if n <= BASE {
            return dispatch(Base { triangle: self, b, stride, columns });
        }
        let half = half(n);
        let (top, bottom) = b.split_at_mut(half * stride);
        let (leading, trailing) = (self.block(0, half), self.block(half, n - half));
        if self.part == Part::Lower {
            leading.solve(top, stride, columns, scratch);
            let (a, b) = (self.matrix.from(half, 0), MatrixRef { data: top, row_stride: stride, col_stride: 1 });
            subtract_product(bottom, stride, [n - half, columns, half], a, b, scratch);
            trailing.solve(bottom, stride, columns, scratch);
        } else {
            trailing.solve(bottom, stride, columns, scratch);
            let (a, b) = (self.matrix.from(0, half), MatrixRef { data: bottom, row_stride: stride, col_stride: 1 });
            subtract_product(top, stride, [half, columns, n - half], a, b, scratch);
            leading.solve(top, stride, columns, scratch);
        }
    }
}

/// Returns how many of `n` rows, more than [`BASE`], the first block has.
pub(super) fn half(n: usize) -> usize {
    (n / 2).next_multiple_of(BASE)
}

/// `c -= a b` for an `a` of `(m, k)` and a `b` of `(k, n)`; the rows of `c` begin `stride` apart.
pub(super) fn subtract_product<T: Number + Matmul>(
    c: &mut [T],
    stride: usize,
    [m, n, k]: [usize; 3],
    a: MatrixRef<'_, T>,
    b: MatrixRef<'_, T>,
    scratch: &mut Vec<T>,
) {
    product(scratch, [m, n, k], a, b);
    subtract(c, stride, scratch, n);
}

/// Stores the product in the scratch memory.
pub(super) fn product<T: Number + Matmul>(
    scratch: &mut Vec<T>,
    [m, n, k]: [usize; 3],
    a: MatrixRef<'_, T>,
    b: MatrixRef<'_, T>,
) {
    scratch.resize(m * n, T::ZERO);
    matmul(m, n, k, a, b, scratch, Accumulate::No);
}

/// Subtracts a row-major matrix of `n` columns from the rows of `c`, which begin `stride` apart.
pub(super) fn subtract<T: Number>(c: &mut [T], stride: usize, product: &[T], n: usize) {
    for (c, product) in c.chunks_mut(stride).zip(product.chunks_exact(n)) {
        for (c, &product) in c.iter_mut().zip(product) {
            *c -= product;
        }
    }
}

/// A small system, solved row by row.
struct Base<'a, T> {
    triangle: Triangle<'a, T>,
    b: &'a mut [T],
    stride: usize,
    columns: usize,
}

impl<T: Number + Matmul> WithSimd for Base<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { triangle: Triangle { matrix, n, part, diagonal }, b, stride, columns } = self;
        let t = |row: usize, column: usize| matrix.data[row * matrix.row_stride + column * matrix.col_stride];
        for start in (0..columns).step_by(COLUMNS) {
            let width = COLUMNS.min(columns - start);
            for step in 0..n {
                let i = if part == Part::Lower { step } else { n - 1 - step };
                let (before, rest) = b.split_at_mut(i * stride);
                let (row, after) = rest.split_at_mut(stride.min(rest.len()));
                let row = &mut row[start..start + width];
                let (known, others) = if part == Part::Lower { (0..i, &*before) } else { (i + 1..n, &*after) };
                for (p, other) in known.zip(others.chunks(stride)) {
                    let (factor, other) = (t(i, p), &other[start..start + width]);
                    for column in 0..width {
                        row[column] -= factor * other[column];
                    }
                }
                if diagonal == Diagonal::Given {
                    let pivot = t(i, i);
                    for x in row {
                        *x /= pivot;
                    }
                }
            }
        }
    }
}
