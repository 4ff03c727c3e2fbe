//! Factorizations of one square matrix, row-major. A factorization that does not exist gives NaN.
//!
//! They work by blocks, and the matrix product does most of the work. So they have the same bits on every machine and for
//! any number of threads, as it has. Unlike other kernels, they allocate: a factorization costs much more than an
//! allocation. The file `decomposition` is apart: a crate computes there, number by number.

#[cfg(feature = "decompositions")]
mod decomposition;
mod determinant;
mod factor;
mod triangular;

#[cfg(feature = "decompositions")]
pub(crate) use decomposition::{eigh, qr, svd};
pub(crate) use determinant::det_derivative;

use crate::kernel::linalg::factor::Lu;
use crate::kernel::linalg::triangular::{Diagonal, Part, Triangle};
use crate::kernel::matmul::Matmul;
use crate::number::{Algebra, Classify, Number};

/// The result of a factorization that does not exist.
fn nan<T: Number>() -> T {
    T::from_f64(f64::NAN)
}

/// `y = a⁻¹`; NaN for a singular matrix.
pub(crate) fn inverse<T: Number + Matmul>(a: &[T], n: usize, y: &mut [T]) {
    let lu = Lu::new(a.to_vec(), n);
    if lu.is_singular() {
        y.fill(nan());
    } else {
        lu.inverse(y);
    }
}

/// Returns whether an element is NaN. The search for pivots would skip it.
fn has_nan<T: Number>(a: &[T]) -> bool {
    a.iter().any(|x| x.is_nan())
}

/// Returns the determinant.
pub(crate) fn det<T: Number + Matmul>(a: &[T], n: usize) -> T {
    if has_nan(a) { nan() } else { Lu::new(a.to_vec(), n).determinant() }
}

/// Returns the logarithm of the determinant: minus infinity for a singular matrix, NaN for a negative determinant. It
/// does not compute the determinant, which may overflow.
pub(crate) fn log_det<T: Number + Matmul>(a: &[T], n: usize) -> T {
    if has_nan(a) {
        return nan();
    }
    let lu = Lu::new(a.to_vec(), n);
    let sum = lu.diagonal().fold(T::ZERO, |sum, x| sum + x.abs().ln());
    if lu.determinant_sign() < T::ZERO { nan() } else { sum }
}

/// Returns the sign of the determinant: -1, 0 or 1; NaN if an element is infinite or NaN. It does not compute the
/// determinant, which may overflow or underflow.
pub(crate) fn det_sign<T: Number + Matmul>(a: &[T], n: usize) -> T {
    if a.iter().all(|x| x.is_finite()) { Lu::new(a.to_vec(), n).determinant_sign() } else { nan() }
}

/// `x = a⁻¹ b` for a `b` with `columns` columns; NaN for a singular matrix. Triangular matrices are solved by
/// substitution.
pub(crate) fn solve<T: Number + Matmul>(a: &[T], n: usize, b: &[T], columns: usize, x: &mut [T]) {
    solve_owned(a.to_vec(), n, b, columns, x);
}

/// `x = a⁻ᵀ b`; otherwise as [`solve`].
pub(crate) fn solve_transposed<T: Number + Matmul>(a: &[T], n: usize, b: &[T], columns: usize, x: &mut [T]) {
    solve_owned(transpose(a, n), n, b, columns, x);
}

fn solve_owned<T: Number + Matmul>(a: Vec<T>, n: usize, b: &[T], columns: usize, x: &mut [T]) {
    let rows = || a.chunks_exact(n.max(1)).enumerate();
    let zeros = |x: &[T]| x.iter().all(|&x| x == T::ZERO);
    let part = if rows().all(|(i, row)| zeros(&row[i + 1..])) {
        Some(Part::Lower)
    } else if rows().all(|(i, row)| zeros(&row[..i])) {
        Some(Part::Upper)
    } else {
        None
    };
    if let Some(part) = part {
        if rows().any(|(i, row)| row[i] == T::ZERO) {
            return x.fill(nan());
        }
        x.copy_from_slice(b);
        return Triangle::new(&a, n, part, Diagonal::Given).solve(x, columns, columns, &mut Vec::new());
    }
    let lu = Lu::new(a, n);
    if lu.is_singular() {
        x.fill(nan());
    } else {
        lu.solve(b, columns, x);
    }
}

/// The lower triangular `y` with `y yᵀ = (a + aᵀ) / 2`; NaN if that matrix is not positive definite.
pub(crate) fn cholesky<T: Number + Matmul>(a: &[T], n: usize, y: &mut [T]) {
    let half = T::from_f64(0.5);
    let mut factor: Vec<T> = a.iter().zip(transpose(a, n)).map(|(&a, b)| a * half + b * half).collect();
    if factor::cholesky(&mut factor, n).is_none() {
        return y.fill(nan());
    }
    for (i, y) in y.chunks_exact_mut(n.max(1)).enumerate() {
        for (j, y) in y.iter_mut().enumerate() {
            *y = if j <= i { factor[j * n + i] } else { T::ZERO };
        }
    }
}

/// Returns the transpose of a row-major matrix.
fn transpose<T: Number>(a: &[T], n: usize) -> Vec<T> {
    (0..n).flat_map(|column| (0..n).map(move |row| a[row * n + column])).collect()
}
