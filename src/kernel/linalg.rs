//! Factorizations of one square matrix, row-major. `nalgebra` computes; what it cannot compute becomes NaN here.
//!
//! Unlike other kernels these allocate: a factorization costs much more.

use nalgebra::{DMatrix, RealField, SVD};

/// What a factorization that does not exist gives.
fn nan<T: RealField>() -> T {
    nalgebra::convert(f64::NAN)
}

fn matrix<T: RealField + Copy>(a: &[T], n: usize) -> DMatrix<T> {
    DMatrix::from_row_slice(n, n, a)
}

/// Writes a matrix row by row, NaN if there is none.
fn write<T: RealField + Copy>(result: Option<DMatrix<T>>, y: &mut [T]) {
    match result {
        // Columns of the transpose are rows.
        Some(result) => y.copy_from_slice(result.transpose().as_slice()),
        None => y.fill(nan()),
    }
}

/// `y = a⁻¹`; NaN for a singular matrix.
pub(crate) fn inverse<T: RealField + Copy>(a: &[T], n: usize, y: &mut [T]) {
    write(matrix(a, n).lu().try_inverse(), y);
}

/// Returns the determinant.
pub(crate) fn det<T: RealField + Copy>(a: &[T], n: usize) -> T {
    matrix(a, n).lu().determinant()
}

/// Returns the logarithm of the determinant, without the determinant, which may overflow: minus infinity for a singular
/// matrix, NaN where the determinant is negative.
pub(crate) fn log_det<T: RealField + Copy>(a: &[T], n: usize) -> T {
    let lu = matrix(a, n).lu();
    let diagonal = lu.u().diagonal();
    let swaps: T = lu.p().determinant();
    let negative = diagonal.iter().filter(|x| **x < T::zero()).count();
    let sum = diagonal.iter().fold(T::zero(), |sum, x| sum + x.abs().ln());
    let positive = (swaps > T::zero()) == (negative % 2 == 0);
    let singular = diagonal.iter().any(|x| x.is_zero());
    if positive || singular { sum } else { nan() }
}

/// `x = a⁻¹ b`, or `a⁻ᵀ b`, for a `b` of `columns`; NaN for a singular matrix. Triangular matrices are solved by substitution.
pub(crate) fn solve<T: RealField + Copy>(a: &[T], n: usize, transposed: bool, b: &[T], columns: usize, x: &mut [T]) {
    // Read by columns, a row-major matrix is its transpose.
    let a = if transposed { DMatrix::from_column_slice(n, n, a) } else { matrix(a, n) };
    let mut result = DMatrix::from_row_slice(n, columns, b);
    let zero = |row: usize, column: usize| a[(row, column)].is_zero();
    let lower = (0..n).all(|column| (0..column).all(|row| zero(row, column)));
    let upper = lower || (0..n).all(|column| (column + 1..n).all(|row| zero(row, column)));
    let solved = match (lower, upper) {
        (true, _) => a.solve_lower_triangular_mut(&mut result),
        (_, true) => a.solve_upper_triangular_mut(&mut result),
        _ => a.lu().solve_mut(&mut result),
    };
    write(solved.then_some(result), x);
}

/// The lower triangular `y` with `y yᵀ = (a + aᵀ) / 2`; NaN if that matrix is not positive definite.
pub(crate) fn cholesky<T: RealField + Copy>(a: &[T], n: usize, y: &mut [T]) {
    let a = matrix(a, n);
    let half: T = nalgebra::convert(0.5);
    let symmetric = (&a + a.transpose()) * half;
    write(symmetric.cholesky().map(|factor| factor.l()), y);
}

/// The cofactors of `a`, the derivative of the determinant: `det(a) a⁻ᵀ` where that exists, and right where it does not.
pub(crate) fn cofactors<T: RealField + Copy>(a: &[T], n: usize, y: &mut [T]) {
    match (n, a) {
        (1, _) => y.fill(T::one()),
        (2, &[a, b, c, d]) => y.copy_from_slice(&[d, -c, -b, a]),
        _ => {
            let a = matrix(a, n);
            let lu = a.clone().lu();
            if let Some(inverse) = lu.try_inverse() {
                // det(a) a⁻ᵀ loses as many digits as the condition number has. With a small one it is the cheap way.
                let condition = norm(&a) * norm(&inverse);
                if condition * T::default_epsilon().sqrt().sqrt() < T::one() {
                    return write(Some(inverse.transpose() * lu.determinant()), y);
                }
            }
            write(Decomposition::new(a).map(|svd| svd.back(DMatrix::from_diagonal(&svd.cofactors()))), y);
        }
    }
}

/// The derivative of `Σ cofactors(a) h` by `a`: the second derivative of the determinant, applied to `h`. It is symmetric.
pub(crate) fn det_hessian<T: RealField + Copy>(a: &[T], h: &[T], n: usize, y: &mut [T]) {
    let h = matrix(h, n);
    let result = Decomposition::new(matrix(a, n)).map(|svd| {
        // At a diagonal matrix s it is Σ_{i≠j} p_ij (h_ii dx_jj - h_ij dx_ji), p_ij the product of all s but s_i and s_j.
        let h = svd.u.tr_mul(&h) * svd.v_transposed.transpose();
        let mut result = DMatrix::zeros(n, n);
        for i in 0..n {
            let before = svd.product(0..i);
            let mut between = T::one();
            for j in i + 1..n {
                let product = before * between * svd.product(j + 1..n);
                result[(i, i)] += product * h[(j, j)];
                result[(j, j)] += product * h[(i, i)];
                result[(j, i)] -= product * h[(i, j)];
                result[(i, j)] -= product * h[(j, i)];
                between *= svd.values[j];
            }
        }
        svd.back(result)
    });
    write(result, y);
}

/// Returns the largest sum of a column's absolute values.
fn norm<T: RealField + Copy>(a: &DMatrix<T>) -> T {
    a.column_iter().map(|column| column.iter().fold(T::zero(), |sum, x| sum + x.abs())).fold(T::zero(), T::max)
}

/// `a = u s vᵀ`: at any matrix, the determinant and its derivatives are those at the diagonal matrix `s`, turned.
struct Decomposition<T: RealField> {
    u: DMatrix<T>,
    values: Vec<T>,
    v_transposed: DMatrix<T>,
    /// `det(u) det(v)`: 1 or -1.
    sign: T,
}

impl<T: RealField + Copy> Decomposition<T> {
    /// Returns `None` for a matrix with a NaN or an infinity.
    fn new(a: DMatrix<T>) -> Option<Self> {
        if !a.iter().all(|x| x.is_finite()) {
            return None;
        }
        let SVD { u, v_t, singular_values } = a.svd(true, true);
        let (u, v_transposed) = (u?, v_t?);
        let positive = (u.determinant() > T::zero()) == (v_transposed.determinant() > T::zero());
        let sign = if positive { T::one() } else { -T::one() };
        Some(Self { u, values: singular_values.iter().copied().collect(), v_transposed, sign })
    }

    fn product(&self, range: std::ops::Range<usize>) -> T {
        self.values[range].iter().fold(T::one(), |product, &x| product * x)
    }

    /// Returns the cofactors of the diagonal matrix: each the product of all other values.
    fn cofactors(&self) -> nalgebra::DVector<T> {
        let n = self.values.len();
        nalgebra::DVector::from_fn(n, |i, _| self.product(0..i) * self.product(i + 1..n))
    }

    /// Returns the matrix turned back to the bases of `a`.
    fn back(&self, matrix: DMatrix<T>) -> DMatrix<T> {
        &self.u * matrix * &self.v_transposed * self.sign
    }
}
