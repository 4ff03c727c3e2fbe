//! Methods of [`Var`] for linear algebra: products, inverses, determinants, linear systems.

use smallvec::SmallVec;

use crate::op::{Linear, Op, ReduceKind, Transposed, matmul_shape};
use crate::scalar::Scalar;
use crate::shape::{AxisSet, KeepDims, elements};
use crate::tape::Var;

/// From this many rows on, a matrix costs more to factorize than a node to record.
const FACTORED: usize = 32;

/// Linear algebra. The last two axes are matrices; axes before them are a batch.
///
/// If a matrix is singular or not positive definite, a result that does not exist is NaN, or an infinity where IEEE 754
/// defines one. A gradient that needs this result is NaN, too. The gradient of [`logdet`](Self::logdet) needs only the
/// inverse, so it is finite for a negative determinant, although the value is NaN. For a nearly singular matrix the
/// result depends on rounding, as in NumPy.
impl<T: Scalar> Var<'_, T> {
    /// Returns the matrix product, like NumPy's `@`.
    ///
    /// # Shapes
    ///
    /// `(m, k) x (k, n) -> (m, n)`, `(k) x (k, n) -> (n)`, `(m, k) x (k) -> (m)`, `(k) x (k) -> ()`. Axes before the
    /// last two are a batch of matrices and broadcast: `(b, m, k) x (b, k, n)`, `(b, m, k) x (k, n)` and
    /// `(m, k) x (b, k, n) -> (b, m, n)`.
    ///
    /// # Derivative
    ///
    /// `g bᵀ` and `aᵀ g` (Giles 2008, 2.2.1), summed over broadcast axes. The kernel reads a transposed operand in
    /// place and does not copy it.
    ///
    /// # Panics
    ///
    /// If an operand has no axis, the inner dimensions differ, the batches do not broadcast, or `other` is on a
    /// different tape.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let a = tape.leaf(array![[1.0, 2.0], [3.0, 4.0]]);
    /// let x = tape.leaf(array![1.0, -1.0]);
    /// let y = a.matmul(x);
    /// assert_eq!(y.value(), array![-1.0, -1.0].into_dyn());
    /// y.sum().backward();
    /// assert_eq!(x.grad().unwrap(), array![4.0, 6.0].into_dyn());
    ///
    /// let batch = tape.leaf(array![[[1.0, 0.0]], [[0.0, 2.0]]]); // two matrices of one row
    /// assert_eq!(batch.matmul(a).value(), array![[[1.0, 2.0]], [[6.0, 8.0]]].into_dyn());
    /// ```
    #[doc(alias = "dot")]
    #[track_caller]
    #[must_use]
    pub fn matmul(self, other: Self) -> Self {
        self.assert_same_tape("matmul", other);
        let (a, b) = (self.shape(), other.shape());
        if let ([_, _], [_, _]) = (&*a, &*b) {
            return self.matmul_matrices(other);
        }
        let shape = match matmul_shape(&a, &b) {
            Ok(shape) => shape,
            Err(error) => panic!("{}", self.tape().explain(&error, &[self.id(), other.id()])),
        };
        // A vector on the left is a matrix of one row, on the right a matrix of one column.
        let left = if a.len() == 1 { self.apply(Linear::Reshape { shape: [1, a[0]].into() }) } else { self };
        let right = if b.len() == 1 { other.apply(Linear::Reshape { shape: [b[0], 1].into() }) } else { other };
        // A batch times a single matrix is one tall matrix times it: one large product instead of many small ones. The
        // gradient of the single matrix is then one product as well, not a sum of many.
        if let (&[ref rows @ .., inner], 1..=2) = (&*a, b.len())
            && rows.len() > 1
            && self.tape().is_row_major(self.id())
        {
            let rows = elements(rows);
            return left
                .apply(Linear::Reshape { shape: [rows, inner].into() })
                .matmul_matrices(right)
                .apply(Linear::Reshape { shape });
        }
        let product = left.matmul_matrices(right);
        if a.len() == 1 || b.len() == 1 { product.apply(Linear::Reshape { shape }) } else { product }
    }

    /// Records the product of operands with at least two axes.
    #[track_caller]
    fn matmul_matrices(self, other: Self) -> Self {
        let op = Op::Matmul { left: Transposed::No, right: Transposed::No };
        self.tape().apply(op, &[self.id(), other.id()])
    }

    /// Returns the inverse of a matrix; NaN in every element if it is singular.
    ///
    /// # Shapes
    ///
    /// `(.., n, n) -> (.., n, n)`
    ///
    /// # Derivative
    ///
    /// `-yᵀ g yᵀ` (Giles 2008, 2.2.3)
    ///
    /// # Panics
    ///
    /// If the matrices are not square.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::<f64>::new();
    /// let a = tape.leaf(array![[2.0, 0.0], [0.0, 4.0]]);
    /// let y = a.inv();
    /// y.sum().backward();
    /// assert_eq!(y.value(), array![[0.5, 0.0], [0.0, 0.25]].into_dyn());
    /// assert_eq!(a.grad().unwrap(), array![[-0.25, -0.125], [-0.125, -0.0625]].into_dyn());
    /// assert!(tape.leaf(array![[1.0, 2.0], [2.0, 4.0]]).inv().value()[[0, 0]].is_nan());
    /// ```
    #[doc(alias = "inverse")]
    #[track_caller]
    #[must_use]
    pub fn inv(self) -> Self {
        self.apply(Op::Inverse)
    }

    /// Returns the determinant of a matrix.
    ///
    /// # Shapes
    ///
    /// `(.., n, n) -> (..)`
    ///
    /// # Derivative
    ///
    /// `g` times the matrix of cofactors. For an invertible matrix this is `g det(a) a⁻ᵀ` (Giles 2008, 2.2.4). The
    /// determinant is a polynomial, so the derivatives are right at singular matrices, too. They exist to order 5.
    ///
    /// # Panics
    ///
    /// If the matrices are not square. A derivative panics if its order is above 5.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let a = tape.leaf(array![[1.0, 2.0], [2.0, 4.0]]); // singular
    /// let y = a.det();
    /// y.backward();
    /// assert_eq!(y.item(), 0.0);
    /// assert_eq!(a.grad().unwrap(), array![[4.0, -2.0], [-2.0, 1.0]].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn det(self) -> Self {
        self.apply(Op::Det)
    }

    /// Returns the natural logarithm of the determinant of a matrix: minus infinity if the matrix is singular, NaN if
    /// the determinant is negative.
    ///
    /// A determinant that overflows or underflows still has the right logarithm.
    ///
    /// # Shapes
    ///
    /// `(.., n, n) -> (..)`
    ///
    /// # Derivative
    ///
    /// `g a⁻ᵀ`: NaN at a singular matrix.
    ///
    /// # Panics
    ///
    /// If the matrices are not square.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let a = tape.leaf(array![[2.0, 0.0], [0.0, 4.0]]);
    /// let y = a.logdet();
    /// y.backward();
    /// assert!((y.item() - 8.0_f64.ln()).abs() < 1e-15);
    /// assert_eq!(a.grad().unwrap(), array![[0.5, 0.0], [0.0, 0.25]].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn logdet(self) -> Self {
        self.apply(Op::LogDet)
    }

    /// Returns the sign of the determinant of a matrix, -1, 0 or 1, and the logarithm of its size: minus infinity for a
    /// singular matrix.
    ///
    /// # Shapes
    ///
    /// `(.., n, n) -> (..)` for both.
    ///
    /// # Derivative
    ///
    /// Of the logarithm `g a⁻ᵀ`, NaN at a singular matrix. The sign is a constant.
    ///
    /// # Panics
    ///
    /// If the matrices are not square.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::<f64>::new();
    /// let a = tape.leaf(array![[0.0, 2.0], [4.0, 0.0]]); // the determinant is -8
    /// let (sign, size) = a.slogdet();
    /// size.backward();
    /// assert_eq!(sign.item(), -1.0);
    /// assert!((size.item() - 8.0_f64.ln()).abs() < 1e-15);
    /// assert_eq!(a.grad().unwrap(), array![[0.0, 0.5], [0.25, 0.0]].into_dyn()); // a⁻ᵀ
    /// ```
    #[track_caller]
    #[must_use]
    pub fn slogdet(self) -> (Self, Self) {
        let shape = self.shape();
        let rows = match *shape {
            [.., rows, columns] if rows == columns => rows,
            _ => self.refuse("slogdet", "expected a square matrix, or a batch of such".into()),
        };
        let sign = self.apply(Op::DetSign);
        if rows == 0 {
            return (sign, self.logdet()); // 1 and 0
        }
        // The first row times the sign, so that the determinant is positive or 0.
        let mut pads: SmallVec<[(usize, usize); 4]> = SmallVec::from_elem((0, 0), shape.len());
        pads[shape.len() - 2] = (0, rows - 1);
        let signs = sign.expand_dims(-1).expand_dims(-1).pad(&pads, T::ONE);
        (sign, self.mul(signs).logdet())
    }

    /// Returns the sum of the elements on the diagonal of a matrix, which need not be square.
    ///
    /// # Shapes
    ///
    /// `(.., m, n) -> (..)`
    ///
    /// # Derivative
    ///
    /// `g` on the diagonal, 0 elsewhere.
    ///
    /// # Panics
    ///
    /// If there are fewer than two axes.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let a = tape.leaf(array![[1.0, 2.0], [3.0, 4.0]]);
    /// let y = a.trace();
    /// y.backward();
    /// assert_eq!(y.item(), 5.0);
    /// assert_eq!(a.grad().unwrap(), array![[1.0, 0.0], [0.0, 1.0]].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn trace(self) -> Self {
        let rank = self.shape().len();
        if rank < 2 {
            self.refuse("trace", format!("the operand has {rank} axes, not at least 2"));
        }
        self.apply(Linear::Diagonal).apply(Op::Reduce {
            kind: ReduceKind::Sum,
            axes: AxisSet::one(rank - 2),
            keep: KeepDims::No,
        })
    }

    /// Returns the solution `x` of the linear equations `a x = b`, where this array is `a`; NaN in every element if `a`
    /// is singular.
    ///
    /// Triangular matrices are recognized and solved by substitution. This is faster and more accurate than a product
    /// with [`inv`](Self::inv).
    ///
    /// # Shapes
    ///
    /// `(.., n, n)` with a vector `(n)` gives `(.., n)`, and with matrices `(.., n, m)` gives `(.., n, m)`. As in
    /// NumPy, `b` is a vector if it has one axis, and axes before the last two broadcast.
    ///
    /// # Derivative
    ///
    /// `db = a⁻ᵀ g` and `da = -db xᵀ` (Giles 2008, 2.3.1)
    ///
    /// If a derivative is possible and `n` is 32 or more, the factors of the matrix are recorded as well, `n² + n` numbers: the
    /// derivative uses them again.
    ///
    /// # Panics
    ///
    /// If the matrices are not square, `b` does not fit, or it is on a different tape.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let a = tape.leaf(array![[2.0, 0.0], [0.0, 4.0]]);
    /// let b = tape.leaf(array![2.0, 8.0]);
    /// let x = a.solve(b);
    /// x.sum().backward();
    /// assert_eq!(x.value(), array![1.0, 2.0].into_dyn());
    /// assert_eq!(b.grad().unwrap(), array![0.5, 0.25].into_dyn());
    /// assert_eq!(a.grad().unwrap(), array![[-0.5, -1.0], [-0.25, -0.5]].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn solve(self, b: Self) -> Self {
        self.assert_same_tape("solve", b);
        let length = match *b.shape() {
            [length] => length,
            _ => return self.solve_matrix(b),
        };
        let op = Op::<T>::Solve { left: Transposed::No };
        // Checked here, so that the message shows the vector and not the column.
        if let Err(error) = op.shape(&[&self.shape(), &[length, 1]]) {
            let error = error.with_shapes(&[&self.shape(), &[length]]);
            panic!("{}", self.tape().explain(&error, &[self.id(), b.id()]));
        }
        let column = b.apply(Linear::Reshape { shape: [length, 1].into() });
        let x = self.solve_matrix(column);
        let shape = x.shape();
        x.apply(Linear::Reshape { shape: shape[..shape.len() - 1].into() })
    }

    /// Records the solution for matrices. The factors of a large matrix are a node: the derivative needs them again.
    #[track_caller]
    fn solve_matrix(self, b: Self) -> Self {
        let left = Transposed::No;
        let op = Op::Solve { left };
        let (a_shape, b_shape) = (self.shape(), b.shape());
        let large = a_shape.last().is_some_and(|&columns| columns >= FACTORED);
        // Without a derivative nothing would read the factors again.
        let kept = large && self.tape().differentiates(&[self.id(), b.id()]);
        if !kept || op.shape(&[&a_shape, &b_shape]).is_err() {
            return self.tape().apply(op, &[self.id(), b.id()]);
        }
        let factors = self.apply(Op::Factors);
        self.tape().apply(Op::SolveByFactors { left }, &[self.id(), b.id(), factors.id()])
    }

    /// Returns the Cholesky factor of a matrix: the lower triangular `y` with a positive diagonal and `y yᵀ` equal to
    /// the matrix. If the matrix is not positive definite, every element is NaN.
    ///
    /// If the matrix is not symmetric, its symmetric part `(a + aᵀ) / 2` is factorized.
    ///
    /// # Shapes
    ///
    /// `(.., n, n) -> (.., n, n)`
    ///
    /// # Derivative
    ///
    /// The symmetric part of `y⁻ᵀ Φ(yᵀ g) y⁻¹`, where `Φ` takes the lower triangle and halves the diagonal (Murray
    /// 2016, (10)).
    ///
    /// # Panics
    ///
    /// If the matrices are not square.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::<f64>::new();
    /// let a = tape.leaf(array![[4.0, 2.0], [2.0, 10.0]]);
    /// let y = a.cholesky();
    /// assert_eq!(y.value(), array![[2.0, 0.0], [1.0, 3.0]].into_dyn());
    /// assert!(tape.leaf(array![[1.0, 2.0], [2.0, 1.0]]).cholesky().value()[[0, 0]].is_nan());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn cholesky(self) -> Self {
        self.apply(Op::Cholesky)
    }
}
