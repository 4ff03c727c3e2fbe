//! Derivatives of the determinant of any order, at any matrix.

use smallvec::SmallVec;

use crate::kernel::linalg::buffer::Buffer;
use crate::kernel::linalg::factor::Lu;
use crate::kernel::linalg::triangular::{Diagonal, Part, Triangle};
use crate::number::Number;

/// A square matrix, row-major.
#[derive(Clone)]
struct Square {
    n: usize,
    data: Vec<f64>,
}

impl Square {
    fn new(n: usize, element: impl Fn(usize, usize) -> f64) -> Self {
        Self { n, data: (0..n * n).map(|i| element(i / n, i % n)).collect() }
    }

    fn at(&self, row: usize, column: usize) -> f64 {
        self.data[row * self.n + column]
    }

    fn at_mut(&mut self, row: usize, column: usize) -> &mut f64 {
        &mut self.data[row * self.n + column]
    }

    fn transposed(&self) -> Self {
        Self::new(self.n, |row, column| self.at(column, row))
    }
}

/// The derivative of order `k + 1` of the determinant, contracted with `k` directions `h`: the matrix `y` with
/// `<y, z> = d/dt₁ … d/dt_k d/ds det(a + t₁ h₁ + … + t_k h_k + s z)` at 0. Without directions it is the matrix of
/// cofactors. Computed in double precision.
///
/// The determinant is a polynomial, so its derivatives exist at every matrix, singular or not. They are symmetric in
/// the directions.
pub(crate) fn det_derivative<T: Number>(a: &[T], h: &[&[T]], n: usize, y: &mut [T]) {
    let wide = |x: &[T]| Square { n, data: x.iter().map(|&x| x.to_f64()).collect() };
    if h.is_empty() && cofactors(a, n, y).is_some() {
        return;
    }
    let result = || {
        let factors = Factors::new(wide(a))?;
        let h: Vec<Square> = h.iter().map(|h| factors.between(wide(h))).collect();
        let h: Vec<&Square> = h.iter().collect();
        let mut result = Square::new(n, |_, _| 0.0);
        // For a diagonal matrix, the element at `(row, column)` is a sum over all sets of `k + 1` indices that contain
        // both. Each term is the product of the diagonal values outside the set and, up to the sign, the mixed minor of
        // the directions in the set without `row` and `column`.
        for_each_subset(n, h.len() + 1, &mut |rows| {
            let others = factors.product_without(rows);
            for (i, &row) in rows.iter().enumerate() {
                for (j, &column) in rows.iter().enumerate() {
                    let sign = if (i + j) % 2 == 0 { others } else { -others };
                    *result.at_mut(row, column) += sign * mixed(&h, &without(rows, row), &without(rows, column));
                }
            }
        });
        Some(factors.outside(result))
    };
    write_narrow(result(), y);
}

/// Writes the cofactors of a matrix that is small or has an inverse; returns `None` for any other matrix.
///
/// Determinant and inverse come from the same factors. The small pivots of a nearly singular matrix are mostly rounding
/// errors; they cancel in the product of the two.
fn cofactors<T: Number>(a: &[T], n: usize, y: &mut [T]) -> Option<()> {
    match (n, a) {
        (1, _) => y[0] = T::ONE,
        (2, &[a, b, c, d]) => y.copy_from_slice(&[d, -c, -b, a]),
        _ => {
            let mut wide = Buffer::new(n * n);
            wide.iter_mut().zip(a).for_each(|(wide, &x)| *wide = x.to_f64());
            let lu = Lu::new(wide, n);
            let det = lu.determinant();
            if !det.is_normal() || lu.factored().is_singular() {
                return None;
            }
            let mut inverse = Buffer::new(n * n);
            lu.factored().inverse_transposed(&mut inverse);
            let mut finite = true;
            for (y, &x) in y.iter_mut().zip(&*inverse) {
                let x: f64 = x * det;
                finite &= x.is_finite();
                *y = T::from_f64(x);
            }
            if !finite {
                return None;
            }
        }
    }
    Some(())
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
fn mixed(matrices: &[&Square], rows: &[usize], columns: &[usize]) -> f64 {
    let Some((&row, rest)) = rows.split_first() else { return 1.0 };
    let mut sum = 0.0;
    for (k, matrix) in matrices.iter().enumerate() {
        let others: SmallVec<[&Square; 4]> = [&matrices[..k], &matrices[k + 1..]].concat().into();
        for (j, &column) in columns.iter().enumerate() {
            let minor = matrix.at(row, column) * mixed(&others, rest, &without(columns, column));
            sum += if j % 2 == 0 { minor } else { -minor };
        }
    }
    sum
}

/// Writes a matrix; writes NaN for `None`.
fn write_narrow<T: Number>(result: Option<Square>, y: &mut [T]) {
    match result {
        Some(result) => y.iter_mut().zip(result.data).for_each(|(y, x)| *y = T::from_f64(x)),
        None => y.fill(T::from_f64(f64::NAN)),
    }
}

/// The factorization `p a q = l d u` with a diagonal `d`. The other factors have the determinant 1 or -1. So up to the
/// sign, the determinant and its derivatives at `a` are those at `d`, with each direction `h` replaced by
/// `l⁻¹ p h q u⁻¹`.
///
/// Full pivoting brings the largest remaining element to the diagonal. So no element of `l` and `u` exceeds 1 in
/// magnitude, and their inverses stay moderate.
struct Factors {
    /// `l` below the diagonal, `u` above. Both have ones on the diagonal.
    factors: Square,
    /// Row `i` of `p a` is this row of `a`.
    rows: Vec<usize>,
    /// Column `j` of `a q` is this column of `a`.
    columns: Vec<usize>,
    /// The diagonal of `d`, in descending magnitude up to rounding.
    values: Vec<f64>,
    /// `det(p) det(q)`: 1 or -1.
    sign: f64,
}

impl Factors {
    /// Returns `None` for a matrix with a NaN or an infinity.
    fn new(mut a: Square) -> Option<Self> {
        if !a.data.iter().all(|x| x.is_finite()) {
            return None;
        }
        let n = a.n;
        let (mut rows, mut columns): (Vec<usize>, Vec<usize>) = ((0..n).collect(), (0..n).collect());
        let mut sign = 1.0;
        for k in 0..n {
            let candidates = (k..n).flat_map(|i| (k..n).map(move |j| (i, j)));
            let (i, j) = candidates
                .fold((k, k), |best, at| if a.at(at.0, at.1).abs() > a.at(best.0, best.1).abs() { at } else { best });
            if i != k {
                (0..n).for_each(|column| a.data.swap(i * n + column, k * n + column));
                rows.swap(i, k);
                sign = -sign;
            }
            if j != k {
                (0..n).for_each(|row| a.data.swap(row * n + j, row * n + k));
                columns.swap(j, k);
                sign = -sign;
            }
            let pivot = a.at(k, k);
            if pivot == 0.0 {
                // So are all elements that remain.
                break;
            }
            for row in k + 1..n {
                let factor = a.at(row, k) / pivot;
                *a.at_mut(row, k) = factor;
                for column in k + 1..n {
                    *a.at_mut(row, column) -= factor * a.at(k, column);
                }
            }
        }
        let values: Vec<f64> = (0..n).map(|k| a.at(k, k)).collect();
        for (row, &value) in values.iter().enumerate() {
            // If the value is 0, the row is 0.
            if value != 0.0 {
                (row + 1..n).for_each(|column| *a.at_mut(row, column) /= value);
            }
        }
        Some(Self { factors: a, rows, columns, values, sign })
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

    fn l(&self) -> Triangle<'_, f64> {
        Triangle::new(&self.factors.data, self.factors.n, Part::Lower, Diagonal::Unit)
    }

    fn u(&self) -> Triangle<'_, f64> {
        Triangle::new(&self.factors.data, self.factors.n, Part::Upper, Diagonal::Unit)
    }

    /// Returns `l⁻¹ p h q u⁻¹`.
    fn between(&self, h: Square) -> Square {
        let mut permuted = Square::new(h.n, |row, column| h.at(self.rows[row], self.columns[column]));
        solve(self.l(), &mut permuted);
        let mut transposed = permuted.transposed();
        solve(self.u().transposed(), &mut transposed);
        transposed.transposed()
    }

    /// The adjoint of [`between`](Self::between), with the sign of the factors: `± pᵀ l⁻ᵀ g u⁻ᵀ qᵀ`.
    fn outside(&self, mut g: Square) -> Square {
        solve(self.l().transposed(), &mut g);
        let mut transposed = g.transposed();
        solve(self.u(), &mut transposed);
        let mut result = g;
        for (i, &row) in self.rows.iter().enumerate() {
            for (j, &column) in self.columns.iter().enumerate() {
                *result.at_mut(row, column) = transposed.at(j, i) * self.sign;
            }
        }
        result
    }
}

/// `x = t⁻¹ x`.
fn solve(t: Triangle<'_, f64>, x: &mut Square) {
    let n = x.n;
    t.solve(&mut x.data, n, n, &mut Buffer::new(0));
}
