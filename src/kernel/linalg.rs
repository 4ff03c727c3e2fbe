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

/// The cofactors of `a`, the derivative of the determinant: `det(a) a⁻ᵀ` where that exists, and right where it does not. In
/// double precision.
///
/// Determinant and inverse come from the same factors, so that the small pivots of a nearly singular matrix, which are mostly
/// rounding errors, cancel in their product.
pub(crate) fn cofactors<T: Copy + Into<f64>>(a: &[T], n: usize, y: &mut [T], narrow: impl Fn(f64) -> T) {
    let a = DMatrix::from_row_iterator(n, n, a.iter().map(|&x| x.into()));
    let result = match (n, a.as_slice()) {
        (1, _) => Some(DMatrix::identity(1, 1)),
        // The matrix lies by columns.
        (2, &[a, c, b, d]) => Some(DMatrix::from_row_slice(2, 2, &[d, -c, -b, a])),
        _ => {
            let lu = a.clone().lu();
            let product = lu.try_inverse().map(|inverse| inverse.transpose() * lu.determinant());
            product.filter(|product| product.iter().all(|x| x.is_finite())).or_else(|| {
                let svd = Decomposition::new(a)?;
                Some(svd.back(DMatrix::from_diagonal(&svd.cofactors())))
            })
        }
    };
    write_narrow(result, y, narrow);
}

/// The derivative of `Σ cofactors(a) h` by `a`: the second derivative of the determinant, applied to `h`. It is symmetric.
pub(crate) fn det_hessian<T: Copy + Into<f64>>(a: &[T], h: &[T], n: usize, y: &mut [T], narrow: impl Fn(f64) -> T) {
    let wide = |x: &[T]| DMatrix::from_row_iterator(n, n, x.iter().map(|&x| x.into()));
    let result = Decomposition::new(wide(a)).map(|svd| {
        // At a diagonal matrix s it is Σ_{i≠j} p_ij (h_ii dx_jj - h_ij dx_ji), p_ij the product of all s but s_i and s_j.
        let h = svd.u.tr_mul(&wide(h)) * svd.v_transposed.transpose();
        let mut result = DMatrix::zeros(n, n);
        for i in 0..n {
            let before = svd.product(0..i);
            let mut between = 1.0;
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
    write_narrow(result, y, narrow);
}

/// Writes a matrix row by row, NaN if there is none.
fn write_narrow<T>(result: Option<DMatrix<f64>>, y: &mut [T], narrow: impl Fn(f64) -> T) {
    match result {
        Some(result) => y.iter_mut().zip(result.transpose().as_slice()).for_each(|(y, &x)| *y = narrow(x)),
        None => y.iter_mut().for_each(|y| *y = narrow(f64::NAN)),
    }
}

/// `a = u s vᵀ`: at any matrix, the determinant and its derivatives are those at the diagonal matrix `s`, turned.
struct Decomposition {
    u: DMatrix<f64>,
    values: Vec<f64>,
    v_transposed: DMatrix<f64>,
    /// `det(u) det(v)`: 1 or -1.
    sign: f64,
}

impl Decomposition {
    /// Returns `None` for a matrix with a NaN or an infinity.
    fn new(a: DMatrix<f64>) -> Option<Self> {
        if !a.iter().all(|x| x.is_finite()) {
            return None;
        }
        let SVD { u, v_t, singular_values } = a.svd(true, true);
        let (u, v_transposed) = (u?, v_t?);
        let sign = (u.determinant() * v_transposed.determinant()).signum();
        Some(Self { u, values: singular_values.iter().copied().collect(), v_transposed, sign })
    }

    fn product(&self, range: std::ops::Range<usize>) -> f64 {
        self.values[range].iter().product()
    }

    /// Returns the cofactors of the diagonal matrix: each the product of all other values.
    fn cofactors(&self) -> nalgebra::DVector<f64> {
        let n = self.values.len();
        nalgebra::DVector::from_fn(n, |i, _| self.product(0..i) * self.product(i + 1..n))
    }

    /// Returns the matrix turned back to the bases of `a`.
    fn back(&self, matrix: DMatrix<f64>) -> DMatrix<f64> {
        &self.u * matrix * &self.v_transposed * self.sign
    }
}
