//! Factorizations of one square matrix, row-major. `nalgebra` computes them. A factorization that does not exist gives
//! NaN.
//!
//! Unlike other kernels, these allocate: a factorization costs much more than an allocation.

use nalgebra::{DMatrix, Dyn, FullPivLU, RealField};
use smallvec::SmallVec;

use crate::number::Number;

/// The result of a factorization that does not exist.
fn nan<T: RealField>() -> T {
    nalgebra::convert(f64::NAN)
}

fn matrix<T: RealField + Copy>(a: &[T], n: usize) -> DMatrix<T> {
    DMatrix::from_row_slice(n, n, a)
}

/// Writes a matrix row by row; writes NaN for `None`.
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

/// Returns whether an element is NaN. The search for pivots would skip it.
fn has_nan<T: RealField + Copy>(a: &[T]) -> bool {
    a.iter().any(|x| x.partial_cmp(x).is_none())
}

/// Returns the determinant.
pub(crate) fn det<T: RealField + Copy>(a: &[T], n: usize) -> T {
    if has_nan(a) { nan() } else { matrix(a, n).lu().determinant() }
}

/// Returns the logarithm of the determinant: minus infinity for a singular matrix, NaN for a negative determinant. It
/// does not compute the determinant, which may overflow.
pub(crate) fn log_det<T: RealField + Copy>(a: &[T], n: usize) -> T {
    if has_nan(a) {
        return nan();
    }
    let lu = matrix(a, n).lu();
    let diagonal = lu.u().diagonal();
    let swaps: T = lu.p().determinant();
    let negative = diagonal.iter().filter(|x| **x < T::zero()).count();
    let sum = diagonal.iter().fold(T::zero(), |sum, x| sum + x.abs().ln());
    let positive = (swaps > T::zero()) == (negative % 2 == 0);
    let singular = diagonal.iter().any(|x| x.is_zero());
    if positive || singular { sum } else { nan() }
}

/// `x = a⁻¹ b` for a `b` with `columns` columns; NaN for a singular matrix. Triangular matrices are solved by
/// substitution.
pub(crate) fn solve<T: RealField + Copy>(a: &[T], n: usize, b: &[T], columns: usize, x: &mut [T]) {
    solve_matrix(matrix(a, n), b, columns, x);
}

/// `x = a⁻ᵀ b`; otherwise as [`solve`].
pub(crate) fn solve_transposed<T: RealField + Copy>(a: &[T], n: usize, b: &[T], columns: usize, x: &mut [T]) {
    // Read by columns, a row-major matrix is its transpose.
    solve_matrix(DMatrix::from_column_slice(n, n, a), b, columns, x);
}

fn solve_matrix<T: RealField + Copy>(a: DMatrix<T>, b: &[T], columns: usize, x: &mut [T]) {
    let n = a.nrows();
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

/// The derivative of order `k + 1` of the determinant, contracted with `k` directions `h`: the matrix `y` with
/// `<y, z> = d/dt₁ … d/dt_k d/ds det(a + t₁ h₁ + … + t_k h_k + s z)` at 0. Without directions it is the matrix of
/// cofactors. Computed in double precision.
///
/// The determinant is a polynomial, so its derivatives exist at every matrix, singular or not. They are symmetric in
/// the directions.
pub(crate) fn det_derivative<T: Number>(a: &[T], h: &[&[T]], n: usize, y: &mut [T]) {
    let wide = |x: &[T]| DMatrix::from_row_iterator(n, n, x.iter().map(|&x| x.to_f64()));
    let a = wide(a);
    let by_inverse = if h.is_empty() { cofactors(&a) } else { None };
    let result = by_inverse.or_else(|| {
        let factors = Factors::new(a)?;
        let h: Vec<DMatrix<f64>> = h.iter().map(|h| factors.between(wide(h))).collect();
        let h: Vec<&DMatrix<f64>> = h.iter().collect();
        let mut result = DMatrix::zeros(n, n);
        // For a diagonal matrix, the element at `(row, column)` is a sum over all sets of `k + 1` indices that contain
        // both. Each term is the product of the diagonal values outside the set and, up to the sign, the mixed minor of
        // the directions in the set without `row` and `column`.
        for_each_subset(n, h.len() + 1, &mut |rows| {
            let others = factors.product_without(rows);
            for (i, &row) in rows.iter().enumerate() {
                for (j, &column) in rows.iter().enumerate() {
                    let sign = if (i + j) % 2 == 0 { others } else { -others };
                    result[(row, column)] += sign * mixed(&h, &without(rows, row), &without(rows, column));
                }
            }
        });
        Some(factors.outside(result))
    });
    write_narrow(result, y);
}

/// Returns the cofactors of matrices that are small or have an inverse.
///
/// Determinant and inverse come from the same factors. The small pivots of a nearly singular matrix are mostly rounding
/// errors; they cancel in the product of the two.
fn cofactors(a: &DMatrix<f64>) -> Option<DMatrix<f64>> {
    match (a.nrows(), a.as_slice()) {
        (1, _) => Some(DMatrix::identity(1, 1)),
        // The matrix is column-major.
        (2, &[a, c, b, d]) => Some(DMatrix::from_row_slice(2, 2, &[d, -c, -b, a])),
        _ => {
            let lu = a.clone().lu();
            let det = lu.determinant();
            let product = det.is_normal().then(|| lu.try_inverse()).flatten()?.transpose() * det;
            product.iter().all(|x| x.is_finite()).then_some(product)
        }
    }
}

/// A few row or column numbers.
type Few = SmallVec<[usize; 4]>;

/// Returns the numbers without `one`.
fn without(numbers: &[usize], one: usize) -> Few {
    numbers.iter().copied().filter(|&number| number != one).collect()
}

/// Calls `f` with all sets of `size` of the numbers below `n`, in order.
fn for_each_subset(n: usize, size: usize, f: &mut impl FnMut(&[usize])) {
    if size > n {
        return;
    }
    let mut chosen: Few = (0..size).collect();
    loop {
        f(&chosen);
        let Some(place) = (0..size).rev().find(|&place| chosen[place] < n - size + place) else { return };
        chosen[place] += 1;
        for later in place + 1..size {
            chosen[later] = chosen[later - 1] + 1;
        }
    }
}

/// Returns the mixed minor of these rows and columns: the sum of the determinants over all ways to take each row from a
/// different matrix.
fn mixed(matrices: &[&DMatrix<f64>], rows: &[usize], columns: &[usize]) -> f64 {
    let Some((&row, rest)) = rows.split_first() else { return 1.0 };
    let mut sum = 0.0;
    for (k, matrix) in matrices.iter().enumerate() {
        let others: SmallVec<[&DMatrix<f64>; 4]> = [&matrices[..k], &matrices[k + 1..]].concat().into();
        for (j, &column) in columns.iter().enumerate() {
            let minor = matrix[(row, column)] * mixed(&others, rest, &without(columns, column));
            sum += if j % 2 == 0 { minor } else { -minor };
        }
    }
    sum
}

/// Writes a matrix row by row; writes NaN for `None`.
fn write_narrow<T: Number>(result: Option<DMatrix<f64>>, y: &mut [T]) {
    match result {
        Some(result) => y.iter_mut().zip(result.transpose().as_slice()).for_each(|(y, &x)| *y = T::from_f64(x)),
        None => y.iter_mut().for_each(|y| *y = T::from_f64(f64::NAN)),
    }
}

/// The factorization `p a q = l d u` with a diagonal `d`. The other factors have the determinant 1 or -1. So up to the
/// sign, the determinant and its derivatives at `a` are those at `d`, with each direction `h` replaced by
/// `l⁻¹ p h q u⁻¹`.
///
/// Full pivoting brings the largest remaining element to the diagonal. So no element of `l` and `u` exceeds 1 in
/// magnitude, and their inverses stay moderate. (A singular value decomposition would do as well, but the one in
/// `nalgebra` is sometimes wrong: its issue 1172.)
struct Factors {
    lu: FullPivLU<f64, Dyn, Dyn>,
    /// Unit triangular: ones on the diagonal.
    l: DMatrix<f64>,
    /// Unit triangular: ones on the diagonal.
    u: DMatrix<f64>,
    /// The diagonal of `d`, in descending magnitude up to rounding.
    values: Vec<f64>,
    /// `det(p) det(q)`: 1 or -1.
    sign: f64,
}

impl Factors {
    /// Returns `None` for a matrix with a NaN or an infinity.
    fn new(a: DMatrix<f64>) -> Option<Self> {
        if !a.iter().all(|x| x.is_finite()) {
            return None;
        }
        let lu = a.full_piv_lu();
        let (l, mut u) = (lu.l(), lu.u());
        let values: Vec<f64> = u.diagonal().iter().copied().collect();
        for (mut row, &value) in u.row_iter_mut().zip(&values) {
            // If the value is 0, the row is 0.
            if value != 0.0 {
                row /= value;
            }
        }
        u.fill_diagonal(1.0);
        let sign = lu.p().determinant::<f64>() * lu.q().determinant::<f64>();
        Some(Self { lu, l, u, values, sign })
    }

    /// Returns the product of all values outside `rows`. Large and small factors alternate, so that it overflows only
    /// if the result does.
    fn product_without(&self, rows: &[usize]) -> f64 {
        let mut others = (0..self.values.len()).filter(|row| !rows.contains(row)).map(|row| self.values[row]);
        let mut product = 1.0_f64;
        while let Some(value) = if product.abs() < 1.0 { others.next() } else { others.next_back() } {
            product *= value;
        }
        product
    }

    /// Returns `l⁻¹ p h q u⁻¹`.
    fn between(&self, mut h: DMatrix<f64>) -> DMatrix<f64> {
        self.lu.p().permute_rows(&mut h);
        self.lu.q().permute_columns(&mut h);
        self.l.solve_lower_triangular_unchecked_mut(&mut h);
        let mut transposed = h.transpose();
        self.u.tr_solve_upper_triangular_unchecked_mut(&mut transposed);
        transposed.transpose()
    }

    /// The adjoint of [`between`](Self::between), with the sign of the factors: `± pᵀ l⁻ᵀ g u⁻ᵀ qᵀ`.
    fn outside(&self, mut g: DMatrix<f64>) -> DMatrix<f64> {
        self.l.tr_solve_lower_triangular_unchecked_mut(&mut g);
        let mut transposed = g.transpose();
        self.u.solve_upper_triangular_unchecked_mut(&mut transposed);
        let mut g = transposed.transpose() * self.sign;
        self.lu.p().inv_permute_rows(&mut g);
        self.lu.q().inv_permute_columns(&mut g);
        g
    }
}
