//! Decompositions of one matrix in double precision, row-major: eigenvalues, QR, singular values. `nalgebra` computes them.
//!
//! It does so number by number, with basic operations and square roots. So the bits are the same on every machine. Signs that
//! a decomposition leaves open are fixed here. A matrix with an infinity or a NaN gives NaN in all factors, and so does one whose
//! iteration does not end.

use nalgebra::linalg::{QR, SymmetricEigen};
use nalgebra::{DMatrix, Dyn};

/// How often the iterations may run for each row. They need about two.
const ITERATIONS: usize = 40;

/// An element counts as the largest of its vector if its magnitude is this part of the maximum. So rounding does not choose
/// among several that are equal.
const LARGE: f64 = 0.9;

/// The squares of columns that are shorter underflow, beside a matrix with elements of about 1. They count as 0.
const TINY: f64 = 1e-120;

/// Fills the eigenvalues of the symmetric part `(a + aᵀ) / 2` in ascending order, and the eigenvectors as columns. The
/// largest element of each is positive.
pub(crate) fn eigh(a: &[f64], n: usize, values: &mut [f64], vectors: &mut [f64]) {
    if n == 0 {
        return;
    }
    let decomposed = scaled(a).and_then(|(a, exponent)| {
        let symmetric = DMatrix::from_fn(n, n, |i, j| 0.5 * a[i * n + j] + 0.5 * a[j * n + i]);
        Some((symmetric_eigen(symmetric)?, exponent))
    });
    let Some((found, exponent)) = decomposed else {
        values.fill(f64::NAN);
        return vectors.fill(f64::NAN);
    };
    let order = sorted(n, |k| found.eigenvalues[k]);
    for (k, (&from, value)) in order.iter().zip(values).enumerate() {
        *value = libm::scalbn(found.eigenvalues[from], exponent);
        let column = found.eigenvectors.column(from);
        let sign = sign(column.iter());
        column.iter().enumerate().for_each(|(i, x)| vectors[i * n + k] = sign * x);
    }
}

/// Returns the eigenvalues and eigenvectors of a symmetric matrix with elements up to 1, in any order.
fn symmetric_eigen(a: DMatrix<f64>) -> Option<SymmetricEigen<f64, Dyn>> {
    let limit = ITERATIONS * a.nrows();
    SymmetricEigen::try_new(a, f64::EPSILON, limit)
}

/// Fills the reduced factors of `a = q r`: with `k = min(m, n)`, `q` is `(m, k)` and `r` is `(k, n)`. No element on the
/// diagonal of `r` is negative.
pub(crate) fn qr(a: &[f64], [m, n]: [usize; 2], q: &mut [f64], r: &mut [f64]) {
    let Some((a, exponent)) = scaled(a) else {
        q.fill(f64::NAN);
        return r.fill(f64::NAN);
    };
    let found = QR::new(DMatrix::from_row_slice(m, n, &a));
    write(&found.q(), q);
    write(&found.unpack_r(), r);
    r.iter_mut().for_each(|x| *x = libm::scalbn(*x, exponent));
}

/// Fills the reduced factors of `a = u diag(values) vᵀ`: with `k = min(m, n)`, `u` is `(m, k)` and `vᵀ` is `(k, n)`. The
/// values descend. The largest element of each column of `u` is positive.
///
/// `nalgebra` has this decomposition as well. For matrices without full rank its factors are wrong in the second digit.
pub(crate) fn svd(a: &[f64], [m, n]: [usize; 2], u: &mut [f64], values: &mut [f64], v_t: &mut [f64]) {
    let k = m.min(n);
    if k == 0 {
        return;
    }
    let decomposed = scaled(a).and_then(|(a, exponent)| {
        let a = DMatrix::from_row_slice(m, n, &a);
        let (left, found, right) = if m < n {
            let (right, found, left) = tall_svd(a.transpose())?;
            (left, found, right)
        } else {
            tall_svd(a)?
        };
        Some((left, found, right, exponent))
    });
    let Some((left, found, right, exponent)) = decomposed else {
        [u, values, v_t].into_iter().for_each(|factor| factor.fill(f64::NAN));
        return;
    };
    for (at, value) in values.iter_mut().enumerate() {
        *value = libm::scalbn(found[at], exponent);
        let sign = sign(left.column(at).iter());
        left.column(at).iter().enumerate().for_each(|(i, x)| u[i * k + at] = sign * x);
        right.column(at).iter().enumerate().for_each(|(j, x)| v_t[at * n + j] = sign * x);
    }
}

/// Returns `u`, the values and `v` of a matrix with at least as many rows as columns, and with elements up to 1.
///
/// With `a = q r`, the eigenvectors `v` of `rᵀ r` make the columns of `r v` nearly orthogonal. Rotations complete this (Golub
/// and Van Loan 2013, 8.6.3): then the lengths of the columns are the values, and small ones are as accurate as large ones.
fn tall_svd(a: DMatrix<f64>) -> Option<(DMatrix<f64>, Vec<f64>, DMatrix<f64>)> {
    let n = a.ncols();
    let factors = QR::new(a);
    let (q, r) = (factors.q(), factors.unpack_r());
    let mut v = symmetric_eigen(r.tr_mul(&r))?.eigenvectors;
    let mut columns = r * &v;
    rotate_to_orthogonal(&mut columns, &mut v)?;
    let lengths: Vec<f64> = columns.column_iter().map(|column| column.norm()).collect();
    let order = sorted(n, |k| -lengths[k]);
    let mut left = DMatrix::zeros(n, n);
    let rank = lengths.iter().filter(|&&length| length >= TINY).count();
    for (at, &from) in order.iter().enumerate().take(rank) {
        left.set_column(at, &(columns.column(from) / lengths[from]));
    }
    // Where a value is 0, any directions that are orthogonal to the others.
    let complete = QR::new(left.clone()).q();
    (rank..n).for_each(|at| left.set_column(at, &complete.column(at)));
    let right = DMatrix::from_fn(n, n, |i, at| v[(i, order[at])]);
    Some((q * left, order.iter().map(|&from| lengths[from]).collect(), right))
}

/// Rotates pairs of columns until all are orthogonal, and the columns of `v` likewise; `None` if there is no end.
fn rotate_to_orthogonal(columns: &mut DMatrix<f64>, v: &mut DMatrix<f64>) -> Option<()> {
    let n = columns.ncols();
    let small = f64::EPSILON * n as f64;
    for _ in 0..ITERATIONS {
        let mut done = true;
        for i in 0..n {
            for j in i + 1..n {
                let (a, b) = (columns.column(i), columns.column(j));
                let (length_a, length_b, product) = (a.norm(), b.norm(), a.dot(&b));
                if length_a < TINY || length_b < TINY || product.abs() <= small * length_a * length_b {
                    continue;
                }
                done = false;
                let cotangent = (length_b - length_a) * (length_b + length_a) / (2.0 * product);
                let tangent = 1.0_f64.copysign(cotangent) / (cotangent.abs() + libm::hypot(1.0, cotangent));
                let cosine = 1.0 / libm::hypot(1.0, tangent);
                let sine = cosine * tangent;
                for matrix in [&mut *columns, v] {
                    for row in 0..n {
                        let (x, y) = (matrix[(row, i)], matrix[(row, j)]);
                        matrix[(row, i)] = cosine * x - sine * y;
                        matrix[(row, j)] = sine * x + cosine * y;
                    }
                }
            }
        }
        if done {
            return Some(());
        }
    }
    None
}

/// Returns the elements without a power of two that they have in common, and its exponent. Squares of the largest then
/// neither overflow nor underflow. `None` if an element is not finite.
fn scaled(a: &[f64]) -> Option<(Vec<f64>, i32)> {
    let largest = a.iter().try_fold(0.0_f64, |largest, x| x.is_finite().then(|| largest.max(x.abs())))?;
    let (_, exponent) = libm::frexp(largest);
    Some((a.iter().map(|&x| libm::scalbn(x, -exponent)).collect(), exponent))
}

/// Returns the numbers below `count`, ordered by their keys; equal keys in the order of the numbers.
fn sorted(count: usize, key: impl Fn(usize) -> f64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|&a, &b| key(a).total_cmp(&key(b)));
    order
}

/// Returns the sign of the first of the largest elements.
fn sign<'a>(vector: impl Iterator<Item = &'a f64> + Clone) -> f64 {
    let largest = vector.clone().fold(0.0_f64, |largest, x| largest.max(x.abs()));
    let negative = vector.into_iter().find(|x| x.abs() >= LARGE * largest).is_some_and(|&x| x < 0.0);
    if negative { -1.0 } else { 1.0 }
}

/// Copies a matrix to row-major elements.
fn write(matrix: &DMatrix<f64>, out: &mut [f64]) {
    let columns = matrix.ncols().max(1);
    for (i, row) in out.chunks_exact_mut(columns).enumerate() {
        row.iter_mut().enumerate().for_each(|(j, x)| *x = matrix[(i, j)]);
    }
}
