//! Methods of [`Var`] for diagonals and triangles of matrices.

use crate::op::Linear;
use crate::scalar::Scalar;
use crate::tape::Var;

/// Diagonals and triangles.
impl<T: Scalar> Var<'_, T> {
    /// Returns the diagonal of a matrix, or the square matrix with this vector as its diagonal and zeros elsewhere.
    ///
    /// The diagonal of a matrix is not copied. Axes before the last two are a batch of matrices.
    ///
    /// # Shapes
    ///
    /// `(.., m, n) -> (.., min(m, n))`, `(n) -> (n, n)`.
    ///
    /// # Derivative
    ///
    /// By a vector, the diagonal of `g`. By a matrix, the matrix with `g` as its diagonal.
    ///
    /// # Panics
    ///
    /// If the array has no axis.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
    /// let d = x.diag();
    /// assert_eq!(d.value(), array![1.0, 5.0].into_dyn());
    /// assert_eq!(d.diag().value(), array![[1.0, 0.0], [0.0, 5.0]].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn diag(self) -> Self {
        match *self.shape() {
            [length] => self.apply(Linear::DiagonalBackward { rows: length, columns: length }),
            [_, _, ..] => self.apply(Linear::Diagonal),
            [] => self.refuse("diag", "a number has no diagonal".into()),
        }
    }

    /// Returns diagonal `k` of a matrix: 0 is the main diagonal, 1 the one above it, -1 the one below. The last two axes are
    /// matrices. A diagonal outside the matrix has no elements. No data is copied.
    ///
    /// # Derivative
    ///
    /// The matrix with `g` on the diagonal, 0 elsewhere.
    ///
    /// # Panics
    ///
    /// If the array has fewer than two axes.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
    /// assert_eq!(x.diagonal(1).value(), array![2.0, 6.0].into_dyn());
    /// assert_eq!(x.diagonal(-1).value(), array![4.0].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn diagonal(self, k: isize) -> Self {
        let shape = self.shape();
        let rank = shape.len();
        if rank < 2 {
            self.refuse("diagonal", format!("the operand has {rank} axes, not at least 2"));
        }
        // Diagonal k is the main diagonal of the matrix without its first columns or rows.
        let axis = if k < 0 { rank - 2 } else { rank - 1 };
        let start = k.unsigned_abs().min(shape[axis]);
        let part = match start {
            0 => self,
            _ => self.apply(Linear::Slice { axis, start, step: 1, length: shape[axis] - start }),
        };
        part.apply(Linear::Diagonal)
    }

    /// Returns the lower triangle: the elements on and below diagonal `k`, zeros above it. Diagonal 0 is the main
    /// diagonal, 1 the one above it, -1 the one below. The last two axes are matrices.
    ///
    /// # Derivative
    ///
    /// The same triangle of `g`. Elements are selected, not multiplied, so an infinity outside the triangle has no
    /// effect.
    ///
    /// # Panics
    ///
    /// If the array has fewer than two axes.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.tril(0).value(), array![[1.0, 0.0], [3.0, 4.0]].into_dyn());
    /// assert_eq!(x.tril(-1).value(), array![[0.0, 0.0], [3.0, 0.0]].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn tril(self, k: isize) -> Self {
        self.apply(Linear::Tril { offset: k })
    }

    /// Returns the upper triangle: the elements on and above diagonal `k`, zeros below it. Diagonals count as in
    /// [`tril`](Self::tril).
    ///
    /// # Panics
    ///
    /// If the array has fewer than two axes.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.triu(0).value(), array![[1.0, 2.0], [0.0, 4.0]].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn triu(self, k: isize) -> Self {
        self.apply(Linear::Triu { offset: k })
    }
}
