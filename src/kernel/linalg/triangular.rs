//! Triangular systems of equations, by blocks: the matrix product does most of the work.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use crate::kernel::linalg::buffer::Buffer;
use crate::kernel::matmul::{Accumulate, Matmul, MatrixRef, matmul_strided};
use crate::number::{Number, dispatch};

/// Up to this many rows are solved or factorized row by row.
pub(super) const BASE: usize = 16;

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

    pub(super) fn part(self) -> Part {
        self.part
    }

    /// Returns whether an element of the diagonal is 0.
    pub(super) fn is_singular(self) -> bool {
        let MatrixRef { data, row_stride, col_stride } = self.matrix;
        data.iter().step_by(row_stride + col_stride).take(self.n).any(|&x| x == T::ZERO)
    }

    /// Returns the square block of `n` rows on the diagonal that begins at a row.
    fn block(self, start: usize, n: usize) -> Self {
        Self { matrix: self.matrix.from(start, start), n, ..self }
    }

    /// `b = t⁻¹ b` for a `b` with this many columns, whose rows begin `stride` apart. A zero on the diagonal gives
    /// infinities or NaN.
    pub(super) fn solve(self, b: &mut [T], stride: usize, columns: usize, scratch: &mut Buffer<T>) {
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
            let (left, right) = (self.matrix.from(half, 0), negated(top, stride, 0..columns, scratch));
            matmul_strided([n - half, columns, half], left, right, bottom, stride, Accumulate::Yes);
            trailing.solve(bottom, stride, columns, scratch);
        } else {
            trailing.solve(bottom, stride, columns, scratch);
            let (left, right) = (self.matrix.from(0, half), negated(bottom, stride, 0..columns, scratch));
            matmul_strided([half, columns, n - half], left, right, top, stride, Accumulate::Yes);
            leading.solve(top, stride, columns, scratch);
        }
    }
}

impl<T: Number + Matmul> Triangle<'_, T> {
    /// `b = t⁻¹` for a lower triangle and a `b` of zeros, whose rows begin `stride` apart.
    pub(super) fn invert(self, b: &mut [T], stride: usize, scratch: &mut Buffer<T>) {
        let n = self.n;
        if n <= BASE {
            b.iter_mut().step_by(stride + 1).take(n).for_each(|x| *x = T::ONE);
            return self.solve(b, stride, n, scratch);
        }
        let half = half(n);
        let (top, bottom) = b.split_at_mut(half * stride);
        let trailing = self.block(half, n - half);
        self.block(0, half).invert(top, stride, scratch);
        let (left, right) = (self.matrix.from(half, 0), negated(top, stride, 0..half, scratch));
        matmul_strided([n - half, half, half], left, right, bottom, stride, Accumulate::No);
        trailing.solve(bottom, stride, half, scratch);
        trailing.invert(&mut bottom[half..], stride, scratch);
    }
}

/// Returns how many of `n` rows, more than [`BASE`], the first block has.
pub(super) fn half(n: usize) -> usize {
    (n / 2).next_multiple_of(BASE)
}

/// Copies the columns of some rows, which begin `stride` apart, and changes their signs: a product with the copy,
/// added to a matrix, subtracts from it.
pub(super) fn negated<'a, T: Number + Matmul>(
    rows: &[T],
    stride: usize,
    columns: Range<usize>,
    scratch: &'a mut Buffer<T>,
) -> MatrixRef<'a, T> {
    let width = columns.len();
    scratch.set_length(rows.len().div_ceil(stride) * width);
    dispatch(Negated { rows, stride, columns, copy: scratch });
    MatrixRef { data: scratch, row_stride: width, col_stride: 1 }
}

struct Negated<'a, T> {
    rows: &'a [T],
    stride: usize,
    columns: Range<usize>,
    copy: &'a mut [T],
}

impl<T: Number> WithSimd for Negated<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { rows, stride, columns: Range { start, end }, copy } = self;
        let width = end - start;
        for i in 0..copy.len() / width {
            let (row, copy) = (&rows[i * stride + start..][..width], &mut copy[i * width..][..width]);
            for j in 0..width {
                copy[j] = -row[j];
            }
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
    fn with_simd<S: Simd>(mut self, simd: S) {
        let (lanes, columns) = (T::lanes::<S>(), self.columns);
        let mut start = 0;
        while start < columns {
            match (columns - start) / lanes {
                0 => {
                    self.solve_narrow(simd, start..columns);
                    start = columns;
                }
                1..4 => {
                    self.solve_columns::<S, 1>(simd, start);
                    start += lanes;
                }
                _ => {
                    self.solve_columns::<S, 4>(simd, start);
                    start += 4 * lanes;
                }
            }
        }
    }
}

impl<T: Number + Matmul> Base<'_, T> {
    #[inline(always)]
    fn t(&self, row: usize, column: usize) -> T {
        let MatrixRef { data, row_stride, col_stride } = self.triangle.matrix;
        data[row * row_stride + column * col_stride]
    }

    /// Returns the row that is solved in a step, and the rows that are solved before.
    #[inline(always)]
    fn row(&self, step: usize) -> (usize, Range<usize>) {
        let n = self.triangle.n;
        if self.triangle.part == Part::Lower { (step, 0..step) } else { (n - 1 - step, n - step..n) }
    }

    #[inline(always)]
    fn divide(&mut self, row: usize, columns: Range<usize>) {
        if self.triangle.diagonal == Diagonal::Given {
            let pivot = self.t(row, row);
            for x in &mut self.b[row * self.stride..][columns] {
                *x /= pivot;
            }
        }
    }

    /// Solves for `V` vectors of columns. The sums of a row stay in registers.
    #[inline(always)]
    fn solve_columns<S: Simd, const V: usize>(&mut self, simd: S, start: usize) {
        let columns = start..start + V * T::lanes::<S>();
        for step in 0..self.triangle.n {
            let (i, known) = self.row(step);
            let row = |p: usize| p * self.stride + columns.start..p * self.stride + columns.end;
            let mut sums = [T::splat(simd, T::ZERO); V];
            sums.copy_from_slice(T::as_vectors::<S>(&self.b[row(i)]));
            for p in known {
                let (factor, other) = (T::splat(simd, -self.t(i, p)), &T::as_vectors::<S>(&self.b[row(p)])[..V]);
                for v in 0..V {
                    sums[v] = T::fma(simd, factor, other[v], sums[v]);
                }
            }
            T::as_vectors_mut::<S>(&mut self.b[row(i)]).copy_from_slice(&sums);
            self.divide(i, columns.clone());
        }
    }

    /// Solves for columns that do not fill a vector.
    #[inline(always)]
    fn solve_narrow<S: Simd>(&mut self, simd: S, columns: Range<usize>) {
        for step in 0..self.triangle.n {
            let (i, known) = self.row(step);
            let row = |p: usize| p * self.stride + columns.start..p * self.stride + columns.end;
            let mut sum = T::partial_load(simd, &self.b[row(i)]);
            for p in known {
                let factor = T::splat(simd, -self.t(i, p));
                sum = T::fma(simd, factor, T::partial_load(simd, &self.b[row(p)]), sum);
            }
            T::partial_store(simd, &mut self.b[row(i)], sum);
            self.divide(i, columns.clone());
        }
    }
}
