//! Factorizations of one square matrix, row-major. A factorization that does not exist gives NaN.
//!
//! They work by blocks, and the matrix product does most of the work. So they have the same bits on every machine and for
//! any number of threads, as it has. Unlike other kernels, they copy matrices to memory of their own, which a thread
//! keeps in part. The file `decomposition` is apart: a crate computes there, number by number.

mod buffer;
#[cfg(feature = "decompositions")]
mod decomposition;
mod determinant;
mod factor;
mod triangular;

#[cfg(feature = "decompositions")]
pub(crate) use decomposition::{eigh, qr, svd};
pub(crate) use determinant::det_derivative;

use crate::kernel::linalg::buffer::Buffer;
use crate::kernel::linalg::factor::{Factored, Lu};
use crate::kernel::linalg::triangular::{Diagonal, Part, Triangle};
use crate::kernel::matmul::Matmul;
use crate::number::{Algebra, Classify, Number};

/// The result of a factorization that does not exist.
fn nan<T: Number>() -> T {
    T::from_f64(f64::NAN)
}

/// `y = a⁻¹`; NaN for a singular matrix.
pub(crate) fn inverse<T: Number + Matmul>(a: &[T], n: usize, y: &mut [T]) {
    let lu = Lu::new(Buffer::copy_of(a), n);
    if lu.factored().is_singular() {
        y.fill(nan());
    } else {
        lu.factored().inverse(y);
    }
}

/// Returns whether an element is NaN. The search for pivots would skip it.
fn has_nan<T: Number>(a: &[T]) -> bool {
    // Without an exit from the loop, the compiler uses vectors.
    a.iter().fold(false, |found, x| found | x.is_nan())
}

/// Returns the determinant.
pub(crate) fn det<T: Number + Matmul>(a: &[T], n: usize) -> T {
    if has_nan(a) { nan() } else { Lu::new(Buffer::copy_of(a), n).determinant() }
}

/// Returns the logarithm of the determinant: minus infinity for a singular matrix, NaN for a negative determinant. It
/// does not compute the determinant, which may overflow.
pub(crate) fn log_det<T: Number + Matmul>(a: &[T], n: usize) -> T {
    if has_nan(a) {
        return nan();
    }
    let lu = Lu::new(Buffer::copy_of(a), n);
    let sum = lu.diagonal().fold(T::ZERO, |sum, x| sum + x.abs().ln());
    if lu.determinant_sign() < T::ZERO { nan() } else { sum }
}

/// Returns the sign of the determinant: -1, 0 or 1; NaN if an element is infinite or NaN. It does not compute the
/// determinant, which may overflow or underflow.
pub(crate) fn det_sign<T: Number + Matmul>(a: &[T], n: usize) -> T {
    if a.iter().all(|x| x.is_finite()) { Lu::new(Buffer::copy_of(a), n).determinant_sign() } else { nan() }
}

/// `x = a⁻¹ b` for a `b` with `columns` columns, or `x = a⁻ᵀ b`; NaN for a singular matrix. Triangular matrices are solved
/// by substitution.
pub(crate) fn solve<T: Number + Matmul>(a: &[T], n: usize, transposed: bool, b: &[T], columns: usize, x: &mut [T]) {
    match triangle(a, n) {
        Some(triangle) => solve_triangle(triangle, transposed, b, columns, x),
        None => solve_factored(Lu::new(Buffer::copy_of(a), n).factored(), transposed, b, columns, x),
    }
}

/// In place of the first row number, after the factors: the matrix is triangular and its own factor.
const LOWER: f64 = -1.0;
const UPPER: f64 = -2.0;

/// Writes what [`solve_by_factors`] needs of a matrix: its factors, then the numbers of its rows in their new order.
pub(crate) fn factors<T: Number + Matmul>(a: &[T], n: usize, y: &mut [T]) {
    let (factors, rows) = y.split_at_mut(n * n);
    match triangle(a, n) {
        Some(triangle) => {
            factors.copy_from_slice(a);
            rows.fill(T::from_f64(if triangle.part() == Part::Lower { LOWER } else { UPPER }));
        }
        None => Lu::new(Buffer::copy_of(a), n).write(factors, rows),
    }
}

/// The same as [`solve`], bit by bit, with the [`factors`] of the matrix.
pub(crate) fn solve_by_factors<T: Number + Matmul>(
    factors: &[T],
    n: usize,
    transposed: bool,
    b: &[T],
    columns: usize,
    x: &mut [T],
) {
    let (factors, rows) = factors.split_at(n * n);
    let part = match rows.first().map_or(LOWER, |row| row.to_f64()) {
        LOWER => Part::Lower,
        UPPER => Part::Upper,
        _ => {
            let rows: Vec<usize> = rows.iter().map(|row| row.to_f64() as usize).collect();
            return solve_factored(Factored { n, factors, rows: &rows }, transposed, b, columns, x);
        }
    };
    solve_triangle(Triangle::new(factors, n, part, Diagonal::Given), transposed, b, columns, x);
}

/// Returns the matrix as a triangle if all elements above its diagonal are 0, or all below it.
fn triangle<T: Number + Matmul>(a: &[T], n: usize) -> Option<Triangle<'_, T>> {
    let rows = || a.chunks_exact(n.max(1)).enumerate();
    let zeros = |x: &[T]| x.iter().all(|&x| x == T::ZERO);
    let part = if rows().all(|(i, row)| zeros(&row[i + 1..])) {
        Part::Lower
    } else if rows().all(|(i, row)| zeros(&row[..i])) {
        Part::Upper
    } else {
        return None;
    };
    Some(Triangle::new(a, n, part, Diagonal::Given))
}

fn solve_triangle<T: Number + Matmul>(
    triangle: Triangle<'_, T>,
    transposed: bool,
    b: &[T],
    columns: usize,
    x: &mut [T],
) {
    if triangle.is_singular() {
        return x.fill(nan());
    }
    x.copy_from_slice(b);
    let triangle = if transposed { triangle.transposed() } else { triangle };
    triangle.solve(x, columns, columns, &mut Buffer::new(0));
}

fn solve_factored<T: Number + Matmul>(lu: Factored<'_, T>, transposed: bool, b: &[T], columns: usize, x: &mut [T]) {
    if lu.is_singular() {
        x.fill(nan());
    } else if transposed {
        lu.solve_transposed(b, columns, x);
    } else {
        lu.solve(b, columns, x);
    }
}

/// The lower triangular `y` with `y yᵀ = (a + aᵀ) / 2`; NaN if that matrix is not positive definite.
pub(crate) fn cholesky<T: Number + Matmul>(a: &[T], n: usize, y: &mut [T]) {
    let half = T::from_f64(0.5);
    let mut factor = transpose(a, n);
    factor.iter_mut().zip(a).for_each(|(b, &a)| *b = a * half + *b * half);
    if factor::cholesky(&mut factor, n).is_none() {
        return y.fill(nan());
    }
    transpose_into(&factor, n, y);
    for (i, y) in y.chunks_exact_mut(n.max(1)).enumerate() {
        y[i + 1..].fill(T::ZERO);
    }
}

/// Returns the transpose of a row-major matrix.
fn transpose<T: Number + Matmul>(a: &[T], n: usize) -> Buffer<T> {
    let mut y = Buffer::new(n * n);
    transpose_into(a, n, &mut y);
    y
}

/// A few columns at a time: their elements share lines of memory.
fn transpose_into<T: Number>(a: &[T], n: usize, y: &mut [T]) {
    const COLUMNS: usize = 16;
    for start in (0..n).step_by(COLUMNS) {
        for (i, row) in a.chunks_exact(n).enumerate() {
            for (j, &x) in row[start..n.min(start + COLUMNS)].iter().enumerate() {
                y[(start + j) * n + i] = x;
            }
        }
    }
}
