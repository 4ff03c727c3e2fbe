//! Matrices with strides, their product, and the parts of both.

/// A matrix operand with strides: element `(i, j)` is `data[i * row_stride + j * col_stride]`.
#[derive(Clone, Copy, Debug)]
pub struct MatrixRef<'a, T> {
    pub(crate) data: &'a [T],
    pub(crate) row_stride: usize,
    pub(crate) col_stride: usize,
}

impl<T> MatrixRef<'_, T> {
    #[track_caller]
    pub(super) fn assert_holds(&self, rows: usize, columns: usize) {
        let row = (rows - 1).checked_mul(self.row_stride);
        let column = (columns - 1).checked_mul(self.col_stride);
        let last = row.zip(column).and_then(|(row, column)| row.checked_add(column));
        assert!(
            last.is_some_and(|last| last < self.data.len()),
            "matmul: an operand of {rows} x {columns} with strides ({}, {}) does not fit in {} elements",
            self.row_stride,
            self.col_stride,
            self.data.len()
        );
    }

    /// Returns the part that begins at a row and a column.
    #[inline(always)]
    pub(crate) fn from(self, row: usize, column: usize) -> Self {
        Self { data: &self.data[row * self.row_stride + column * self.col_stride..], ..self }
    }

    #[inline(always)]
    pub(crate) fn transposed(self) -> Self {
        Self { row_stride: self.col_stride, col_stride: self.row_stride, ..self }
    }
}

/// Whether a product is added to the old content of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accumulate {
    /// The product overwrites the old content, which is not read and may be anything.
    No,
    /// The product is added to the old content.
    Yes,
}

impl Accumulate {
    /// Returns the mode of the pass that begins at `step` of `k`. Passes after the first add to its result.
    #[inline(always)]
    pub(super) fn at(self, step: usize) -> Self {
        if step == 0 { self } else { Self::Yes }
    }
}

/// The operands and the result of one product: `a` is `(m, k)`, `b` is `(k, n)`, and `c` is `(m, n)`.
pub(super) struct Product<'a, T> {
    pub(super) m: usize,
    pub(super) n: usize,
    pub(super) k: usize,
    pub(super) a: MatrixRef<'a, T>,
    pub(super) b: MatrixRef<'a, T>,
    pub(super) c: &'a mut [T],
    /// The strides of the rows and of the columns of `c`. Only dot products may be stored with a column stride that is
    /// not 1.
    pub(super) c_strides: (usize, usize),
    pub(super) accumulate: Accumulate,
}

impl<T: Copy> Product<'_, T> {
    /// Returns the part that begins at a row and a column of `c` and at a step of `k`.
    #[inline(always)]
    pub(super) fn from(&mut self, row: usize, column: usize, step: usize) -> Product<'_, T> {
        Product {
            m: self.m - row,
            n: self.n - column,
            k: self.k - step,
            a: self.a.from(row, step),
            b: self.b.from(step, column),
            c: &mut self.c[row * self.c_strides.0 + column * self.c_strides.1..],
            c_strides: self.c_strides,
            accumulate: self.accumulate.at(step),
        }
    }

    /// Returns the same product as `cᵀ = bᵀ aᵀ`.
    #[inline(always)]
    pub(super) fn transposed(self) -> Self {
        let Self { m, n, a, b, c_strides, .. } = self;
        Self { m: n, n: m, a: b.transposed(), b: a.transposed(), c_strides: (c_strides.1, c_strides.0), ..self }
    }
}

/// Returns the length of the pieces of `length`: as few pieces as possible, of about equal length, none longer than
/// `limit`.
#[inline(always)]
pub(super) fn even(length: usize, limit: usize) -> usize {
    length.div_ceil(length.div_ceil(limit))
}

/// Runs the body for the positions from 0 to a count, in steps. The remaining length selects the step, whose length is
/// a constant in the body.
macro_rules! steps {
    ($count:expr; $($left:pat => $length:literal),+; |$position:ident, $LENGTH:ident| $body:expr) => {{
        let (count, mut $position) = ($count, 0);
        while $position < count {
            match count - $position {
                $($left => {
                    const $LENGTH: usize = $length;
                    $body;
                    $position += $LENGTH;
                })+
            }
        }
    }};
}
pub(super) use steps;
