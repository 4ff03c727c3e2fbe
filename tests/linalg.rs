//! Inverses, determinants and linear systems: against their definitions, and where they do not exist.

use ndarray::{Array2, ArrayD, Ix2, IxDyn, array, s};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tapegrad::{Scalar, Tape, Var};

const NAN: f64 = f64::NAN;
const INF: f64 = f64::INFINITY;

fn random(rng: &mut StdRng, rows: usize, columns: usize) -> Array2<f64> {
    Array2::from_shape_simple_fn((rows, columns), || rng.random_range(-1.0..1.0))
}

fn matrix(x: Var<'_, f64>) -> Array2<f64> {
    x.value().to_owned().into_dimensionality::<Ix2>().expect("a matrix")
}

fn close(a: &Array2<f64>, b: &Array2<f64>, tolerance: f64) -> bool {
    let scale = 1.0 + b.iter().fold(0.0_f64, |largest, b| largest.max(b.abs()));
    a.dim() == b.dim() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= tolerance * scale)
}

/// The determinant by expansion along the first row.
fn det(a: &Array2<f64>) -> f64 {
    let n = a.nrows();
    expansion(&elements(a), n, &(0..n).collect::<Vec<_>>(), (1 << n) - 1)
}

fn elements(a: &Array2<f64>) -> Vec<f64> {
    a.iter().copied().collect()
}

/// The determinant of these rows and of the columns that a mask has, by the expansion along the first of the rows.
fn expansion(a: &[f64], n: usize, rows: &[usize], columns: u32) -> f64 {
    let [first, rest @ ..] = rows else { return 1.0 };
    let (mut sum, mut sign) = (0.0, 1.0);
    for j in 0..n {
        if columns >> j & 1 == 1 {
            sum += a[first * n + j] * sign * expansion(a, n, rest, columns & !(1 << j));
            sign = -sign;
        }
    }
    sum
}

fn cofactors(a: &Array2<f64>) -> Array2<f64> {
    let (n, elements) = (a.nrows(), elements(a));
    Array2::from_shape_fn(a.dim(), |(i, j)| {
        let rows: Vec<usize> = (0..n).filter(|&row| row != i).collect();
        let minor = expansion(&elements, n, &rows, ((1 << n) - 1) & !(1 << j));
        if (i + j).is_multiple_of(2) { minor } else { -minor }
    })
}

#[test]
fn inverse_and_solution_satisfy_their_equations() {
    let mut rng = StdRng::seed_from_u64(31);
    for n in [1, 2, 3, 5, 8, 40] {
        let (a, b) = (random(&mut rng, n, n), random(&mut rng, n, 3));
        let tape = Tape::new();
        let (a, b) = (tape.leaf(a), tape.leaf(b));
        assert!(close(&matrix(a.matmul(a.inv())), &Array2::eye(n), 1e-9), "n = {n}");
        assert!(close(&matrix(a.matmul(a.solve(b))), &matrix(b), 1e-9), "n = {n}");
        for triangular in [a.tril(0), a.triu(0), a.tril(0).transpose(), a.tril(0).triu(0)] {
            let shifted = triangular + tape.constant(Array2::eye(n) * 4.0);
            assert!(close(&matrix(shifted.matmul(shifted.solve(b))), &matrix(b), 1e-9), "n = {n}");
        }
        let column = b.slice(1, 1..2).squeeze(1);
        let x = a.solve(column);
        assert_eq!(*x.shape(), [n]);
        assert!((a.matmul(x) - column).abs().max().item() < 1e-9);
    }
}

/// The sizes meet the edges of blocks. The factors are small whole numbers, so the product is exact.
#[test]
fn large_matrices_are_factorized_by_blocks() {
    let mut rng = StdRng::seed_from_u64(32);
    for n in [15, 16, 17, 33, 65] {
        // Below the diagonal, little of each row is not 0: so the matrix is well-conditioned.
        let lower = Array2::from_shape_fn((n, n), |(i, j)| match (i, j) {
            (i, j) if i == j => 1.0,
            (i, j) if i > j && (i * 7 + j) % n < 2 => f64::from(rng.random_range(-1..=1)),
            _ => 0.0,
        });
        let upper = Array2::from_shape_fn((n, n), |(i, j)| if i == j { 2.0 } else { lower[[j, i]] });
        let tape = Tape::new();
        // The last row first: the pivots are elsewhere than on the diagonal.
        let product = lower.dot(&upper).slice(s![..;-1, ..]).to_owned();
        let a = tape.leaf(product.clone());
        let reversed = if n % 4 < 2 { 1.0 } else { -1.0 };
        let det = reversed * 2.0_f64.powi(n as i32);
        assert!((a.det().item() - det).abs() <= 1e-9 * det.abs(), "n = {n}: {} and {det}", a.det().item());
        for columns in [0, 1, 3, 257] {
            let b = tape.leaf(random(&mut rng, n, columns));
            assert!(close(&matrix(a.matmul(a.solve(b))), &matrix(b), 1e-9), "n = {n}, {columns} columns");
        }
        assert!(close(&matrix(a.inv().matmul(a)), &Array2::eye(n), 1e-9), "n = {n}");
        let positive = a.matmul(a.transpose());
        let factor = positive.cholesky();
        assert!(close(&matrix(factor.matmul(factor.transpose())), &matrix(positive), 1e-12), "n = {n}");
        assert!(matrix(factor).indexed_iter().all(|((i, j), &x)| if i == j { x > 0.0 } else { i > j || x == 0.0 }));
        let log_det = positive.logdet().item();
        assert!((log_det - 2.0 * n as f64 * 2.0_f64.ln()).abs() < 1e-9, "n = {n}: {log_det}");
        // A row twice: singular, and not positive definite.
        let mut twice = product;
        let row = twice.row(0).to_owned();
        twice.row_mut(n - 1).assign(&row);
        let twice = tape.leaf(twice);
        assert_eq!(twice.det().item(), 0.0, "n = {n}");
        assert!(matrix(twice.inv()).iter().all(|x| x.is_nan()), "n = {n}");
        let indefinite = tape.constant(Array2::eye(n)) - positive;
        assert!(matrix(indefinite.cholesky()).iter().all(|x| x.is_nan()), "n = {n}");
    }
}

/// A factorization by plain loops in double precision, with the pivots of the library: `a⁻¹` and the determinant.
fn gauss_jordan(a: &Array2<f64>) -> (Array2<f64>, f64) {
    let n = a.nrows();
    let (mut a, mut b, mut det) = (elements(a), elements(&Array2::eye(n)), 1.0);
    for k in 0..n {
        let pivot = (k..n).fold(k, |best, i| if a[i * n + k].abs() > a[best * n + k].abs() { i } else { best });
        if pivot != k {
            (0..n).for_each(|j| a.swap(k * n + j, pivot * n + j));
            (0..n).for_each(|j| b.swap(k * n + j, pivot * n + j));
            det = -det;
        }
        let value = a[k * n + k];
        det *= value;
        for x in [&mut a, &mut b] {
            x[k * n..][..n].iter_mut().for_each(|x| *x /= value);
        }
        for i in (0..n).filter(|&i| i != k) {
            let factor = a[i * n + k];
            for x in [&mut a, &mut b] {
                let row = x[k * n..][..n].to_vec();
                x[i * n..][..n].iter_mut().zip(&row).for_each(|(x, row)| *x -= factor * row);
            }
        }
    }
    (Array2::from_shape_vec((n, n), b).expect("n x n"), det)
}

/// Compares results and gradients at one size with plain loops. `tolerance` is for a well-conditioned matrix.
fn check_size<T: Scalar>(n: usize, tolerance: f64) {
    let mut rng = StdRng::seed_from_u64(n as u64);
    // Rounded, so that both types hold the same matrix. The rows are in reverse order: no pivot is on the diagonal.
    let dominant = Array2::from_shape_fn((n, n), |(i, j)| {
        let x: f64 = rng.random_range(-1.0..1.0);
        f64::from(if i + j + 1 == n { 2.0 + x as f32 } else { x as f32 / n as f32 })
    });
    let (inverse, det) = gauss_jordan(&dominant);
    let narrow = |x: &Array2<f64>| x.mapv(T::from_f64);
    let wide =
        |x: Var<'_, T>| x.value().mapv(|x| x.to_f64()).into_dimensionality::<Ix2>().unwrap_or_else(|_| panic!("{x:?}"));
    let same = |name: &str, found: Array2<f64>, expected: &Array2<f64>| {
        assert!(close(&found, expected, tolerance), "{name}, n = {n}, {}: {found} and {expected}", T::DTYPE);
    };
    let tape = Tape::<T>::new();
    // As stored, and as a view of the transpose.
    let (plain, view) = (tape.leaf(narrow(&dominant)), tape.leaf(narrow(&dominant.t().to_owned())));
    let right = random(&mut rng, n, 3).mapv(|x| f64::from(x as f32));
    let b = tape.leaf(narrow(&right));
    for a in [plain, view.transpose()] {
        same("inv", wide(a.inv()), &inverse);
        let found = a.det();
        assert!((found.item().to_f64() / det - 1.0).abs() < n as f64 * tolerance, "det, n = {n}: {found:?} and {det}");
        same("det'", wide(found.grad_wrt(a)) / det, &inverse.t().to_owned());
        same("logdet'", wide(a.logdet().grad_wrt(a)), &inverse.t().to_owned());
        let x = a.solve(b);
        let expected = inverse.dot(&right);
        same("solve", wide(x), &expected);
        let db = inverse.t().dot(&Array2::ones((n, 3)));
        let gradients = x.sum().grads(&[a, b]);
        same("db", wide(gradients[1]), &db);
        same("da", wide(gradients[0]), &-db.dot(&expected.t()));
        let positive = a.matmul(a.transpose());
        let factor = positive.cholesky();
        same("cholesky", wide(factor.matmul(factor.transpose())), &wide(positive));
    }
}

#[test]
fn every_size_agrees_with_plain_loops() {
    for n in (1..=36).chain([47, 48, 49, 63, 64, 65, 80, 97, 130]) {
        check_size::<f64>(n, 1e-12);
        check_size::<f32>(n, 1e-5);
    }
}

#[test]
fn a_large_solve_refuses_what_a_small_one_refuses() {
    const N: usize = 40;
    let mut rng = StdRng::seed_from_u64(36);
    let tape = Tape::new();
    let good = random(&mut rng, N, N);
    let mut singular = good.clone();
    singular.column_mut(3).fill(0.0);
    let mut bad = good.clone();
    bad[[7, 30]] = NAN;
    let lower = Array2::from_shape_fn((N, N), |(i, j)| if i >= j { good[[i, j]] } else { 0.0 });
    let mut flat = lower.clone();
    flat[[5, 5]] = 0.0;
    let batch = ndarray::stack![ndarray::Axis(0), good, singular, bad, flat, flat.t(), lower, lower.t()];
    let (a, b) = (tape.leaf(&batch), tape.leaf(random(&mut rng, N, 2)));
    let x = a.solve(b);
    let da = x.sum().grad_wrt(a);
    for (k, matrix) in batch.outer_iter().enumerate() {
        let none = (1..5).contains(&k);
        let (one, alone) = (x.index(0, k as isize), tape.leaf(matrix));
        assert!(one.value().iter().all(|x| x.is_nan() == none), "matrix {k}: {one:?}");
        assert!(da.index(0, k as isize).value().iter().all(|x| x.is_nan() == none), "matrix {k}");
        if !none {
            assert_eq!(one.value(), alone.solve(b).value(), "matrix {k}");
            let residual = (alone.matmul(one) - b).abs().max().item();
            let scale = one.abs().max().item();
            assert!(residual < 1e-13 * N as f64 * scale.max(1.0), "matrix {k}: {residual}");
        }
    }
    for columns in [0, 1, 5] {
        let empty = tape.leaf(Array2::<f64>::zeros((N, columns)));
        assert_eq!(matrix(tape.leaf(&good).solve(empty)), Array2::<f64>::zeros((N, columns)));
    }
    let no_batch = tape.leaf(ArrayD::<f64>::zeros(IxDyn(&[0, N, N])));
    assert_eq!(no_batch.solve(b).shape().to_string(), "(0, 40, 2)");
}

#[test]
fn determinants_agree_with_the_expansion_by_minors() {
    let mut rng = StdRng::seed_from_u64(32);
    for n in [0, 1, 2, 3, 4, 5, 6] {
        let value = random(&mut rng, n, n);
        let tape = Tape::new();
        let a = tape.leaf(&value);
        let d = a.det();
        assert!((d.item() - det(&value)).abs() < 1e-13, "n = {n}");
        d.backward();
        let expected = cofactors(&value).into_dyn();
        assert!((&a.grad().unwrap() - &expected).iter().all(|e| e.abs() < 1e-12), "n = {n}");
        let log = a.logdet().item();
        let right = if det(&value) > 0.0 { (log - det(&value).ln()).abs() < 1e-12 } else { log.is_nan() };
        assert!(right, "n = {n}: {log}, the determinant is {}", det(&value));
    }
}

#[test]
fn the_determinant_has_two_derivatives_at_singular_matrices() {
    let mut rng = StdRng::seed_from_u64(33);
    for n in 1..=6 {
        for rank in 0..n {
            // Whole numbers: the products, and the determinant by minors, are exact.
            let (left, right) = (random(&mut rng, n, rank), random(&mut rng, rank, n));
            let value = left.mapv(|x| (4.0 * x).round()).dot(&right.mapv(|x| (4.0 * x).round()));
            let tape = Tape::new();
            let a = tape.leaf(&value);
            let first = a.det().grad_wrt(a);
            // Products of n - 1 elements of the matrix round like the largest of them.
            let largest = value.iter().fold(1.0_f64, |largest, x| largest.max(x.abs())).powi(n as i32 - 1);
            assert!(close(&matrix(first), &cofactors(&value), 1e-13 * largest), "n = {n}, rank = {rank}\n{first:?}");
            if n == 1 {
                continue;
            }
            // Cofactors are linear in each element: one difference is the derivative.
            let weights = random(&mut rng, n, n);
            let second = (first * tape.constant(&weights)).sum().grad_wrt(a);
            let before = cofactors(&value);
            let along = |(i, j): (usize, usize)| {
                let mut moved = value.clone();
                moved[[i, j]] += 1.0;
                ((cofactors(&moved) - &before) * &weights).sum()
            };
            assert!(
                close(&matrix(second), &Array2::from_shape_fn((n, n), along), 1e-12 * largest),
                "n = {n}, rank = {rank}"
            );
        }
    }
}

/// The gradient of `<weights, gradient of …>` of the determinant, of this order.
fn derivative(value: &Array2<f64>, order: usize, weights: &Array2<f64>) -> Array2<f64> {
    let tape = Tape::new();
    let (a, weights) = (tape.leaf(value), tape.constant(weights));
    matrix((1..order).fold(a.det().grad_wrt(a), |g, _| (g * weights).sum().grad_wrt(a)))
}

#[test]
fn the_determinant_has_derivatives_to_order_5_at_any_matrix() {
    let mut rng = StdRng::seed_from_u64(41);
    let known = [
        array![[1.0, 2.0, 2.0], [2.0, -1.0, -1.0], [2.0, 1.0, -1.0]],
        array![[10.0, 39.0, -52.0], [38.0, -21.0, 4.0], [101.0, -15.0, -38.0]],
        array![[0.0, -1.0, -1.0, 1.0], [0.0, 1.0, -1.0, 0.0], [-1.0, 1.0, -1.0, 0.0], [1.0, 0.0, 0.0, 0.0]],
        Array2::zeros((4, 4)),
    ];
    let small =
        (0..15).map(|k| Array2::from_shape_simple_fn((3 + k % 3, 3 + k % 3), || f64::from(rng.random_range(-1..=1))));
    let small: Vec<Array2<f64>> = small.collect();
    for value in known.iter().chain(&small) {
        let n = value.nrows();
        let weights = Array2::from_shape_fn((n, n), |(i, j)| f64::from((3 * i + 5 * j) as u8 % 7) - 3.0);
        assert!(close(&derivative(value, 1, &weights), &cofactors(value), 1e-12), "{value}");
        // A determinant is linear in each element, and so are its derivatives: one difference is the next derivative.
        for order in 2..=5 {
            let before = |moved: &Array2<f64>| match order {
                2 => (cofactors(moved) * &weights).sum(),
                _ => (derivative(moved, order - 1, &weights) * &weights).sum(),
            };
            let at = before(value);
            let along = |(i, j): (usize, usize)| {
                let mut moved = value.clone();
                moved[[i, j]] += 1.0;
                before(&moved) - at
            };
            let (found, expected) = (derivative(value, order, &weights), Array2::from_shape_fn((n, n), along));
            assert!(
                close(&found, &expected, 1e-11 * (1.0 + at.abs())),
                "order {order} of\n{value}:\n{found}\n{expected}"
            );
        }
    }
    let beyond = std::panic::catch_unwind(|| derivative(&Array2::eye(7), 6, &Array2::ones((7, 7))));
    assert!(beyond.is_err());
}

#[test]
fn derivatives_of_determinants_are_exact_over_many_magnitudes() {
    let mut rng = StdRng::seed_from_u64(42);
    for _ in 0..200 {
        // Rows and columns of 1e-8 to 1e8: of the scaled matrix the derivatives are known from the plain one.
        let n = rng.random_range(3..6);
        let plain = random(&mut rng, n, n);
        let mut scales = || (0..n).map(|_| 2_f64.powi(rng.random_range(-26..=26))).collect::<Vec<_>>();
        let (rows, columns) = (scales(), scales());
        let scale = Array2::from_shape_fn((n, n), |(i, j)| rows[i] * columns[j]);
        let whole: f64 = rows.iter().chain(&columns).product();
        let tape = Tape::new();
        let (a, b) = (tape.leaf(&plain), tape.leaf(&plain * &scale));
        let scale = tape.constant(scale);
        // By the plain matrix both determinants have the same derivatives, up to a factor.
        let (first, scaled) = (a.det().grad_wrt(a), b.det().grad_wrt(b) * scale / whole);
        assert!(close(&matrix(scaled), &matrix(first), 1e-10), "{plain}");
        let (second, scaled) = (first.sum().grad_wrt(a), scaled.sum().grad_wrt(b) * scale);
        assert!(close(&matrix(scaled), &matrix(second), 1e-9), "{plain}");
    }
}

#[test]
fn determinants_that_underflow_or_hold_a_nan_have_the_derivatives_of_others() {
    let tape = Tape::<f64>::new();
    let a = tape.leaf(Array2::eye(3) * 1e-120);
    assert!(close(&(matrix(a.det().grad_wrt(a)) * 1e240), &Array2::eye(3), 1e-14));
    let a = tape.leaf(Array2::eye(4) * array![1e200, 1e200, 1e-200, 1e-200]);
    let expected = Array2::from_diag(&array![1e-200, 1e-200, 1e200, 1e200]);
    let first = matrix(a.det().grad_wrt(a));
    assert!(first.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= 1e-14 * b), "{first}");
    let a = tape.leaf(array![[0.0, 1.0], [NAN, 2.0]]);
    assert!(a.det().item().is_nan() && a.logdet().item().is_nan());
}

#[test]
fn what_does_not_exist_is_nan_and_only_that() {
    let tape = Tape::new();
    let batch = tape.leaf(array![[[1.0, 2.0], [2.0, 4.0]], [[2.0, 0.0], [0.0, 4.0]]]); // the first is singular
    let nan_then = |x: Var<'_, f64>, rest: ArrayD<f64>| {
        let count = x.shape().elements() / 2;
        let value = x.reshape([2, count]).value();
        assert!(value.slice(s![0, ..]).iter().all(|x| x.is_nan()), "{value}");
        assert_eq!(value.index_axis(ndarray::Axis(0), 1), rest);
    };
    nan_then(batch.inv(), array![0.5, 0.0, 0.0, 0.25].into_dyn());
    nan_then(batch.solve(tape.leaf(array![2.0, 8.0])), array![1.0, 2.0].into_dyn());
    nan_then(batch.inv().sum().grad_wrt(batch), array![-0.25, -0.125, -0.125, -0.0625].into_dyn());
    let log = batch.logdet();
    assert_eq!(log.value()[0], -INF);
    assert!((log.value()[1] - 8.0_f64.ln()).abs() < 1e-15);
    nan_then(log.sum().grad_wrt(batch), array![0.5, 0.0, 0.0, 0.25].into_dyn());
    assert!(tape.leaf(array![[0.0, 1.0], [1.0, 0.0]]).logdet().item().is_nan()); // the determinant is -1
    for indefinite in [array![[1.0, 2.0], [2.0, 1.0]], array![[0.0, 0.0], [0.0, 0.0]], array![[4.0, 0.0], [0.0, NAN]]] {
        let a = tape.leaf(indefinite);
        let y = a.cholesky();
        assert!(y.value().iter().all(|x| x.is_nan()), "{y:?}");
        y.sum().backward();
        assert!(a.grad().unwrap().iter().all(|x| x.is_nan()));
    }
    let triangular = tape.leaf(array![[1.0, 0.0], [5.0, 0.0]]);
    assert!(triangular.solve(tape.leaf(array![1.0, 1.0])).value().iter().all(|x| x.is_nan()));
}

#[test]
fn a_nan_or_an_infinity_in_a_matrix_comes_out_as_nan() {
    let tape = Tape::new();
    for bad in [NAN, INF, -INF] {
        for n in [1, 2, 3, 5] {
            let mut value = Array2::eye(n) * 2.0;
            value[[n - 1, 0]] = bad;
            let a = tape.leaf(value);
            assert!(a.det().value().iter().all(|x| !x.is_finite() || n > 1 && bad.is_infinite()));
            let gradient = a.det().grad_wrt(a);
            let second = gradient.square().sum().grad_wrt(a);
            if n > 2 {
                assert!(gradient.value().iter().any(|x| !x.is_finite()), "{gradient:?}");
                assert!(second.value().iter().any(|x| !x.is_finite()));
            }
        }
        let a = tape.leaf(array![[2.0, bad], [bad, 3.0]]);
        assert!(a.cholesky().value().iter().any(|x| x.is_nan()));
        assert!(bad.is_infinite() || a.inv().value().iter().any(|x| x.is_nan()));
    }
}

#[test]
fn matrices_without_elements_have_a_determinant() {
    let tape = Tape::new();
    let none = tape.leaf(ArrayD::<f64>::zeros(IxDyn(&[2, 0, 0])));
    assert_eq!(none.det().value(), array![1.0, 1.0].into_dyn());
    assert_eq!(none.logdet().value(), array![0.0, 0.0].into_dyn());
    assert_eq!(none.trace().value(), array![0.0, 0.0].into_dyn());
    let all = none.inv().sum() + none.cholesky().sum() + none.det().sum() + none.logdet().sum() + none.trace().sum();
    all.backward();
    assert_eq!(none.grad().unwrap().shape(), [2, 0, 0]);
    let right = tape.leaf(ArrayD::<f64>::zeros(IxDyn(&[0, 3])));
    assert_eq!(none.solve(right).shape().to_string(), "(2, 0, 3)");
    let no_batch = tape.leaf(ArrayD::<f64>::zeros(IxDyn(&[0, 2, 2])));
    assert_eq!(no_batch.det().shape().to_string(), "(0,)");
    assert_eq!(no_batch.solve(tape.leaf(array![1.0, 2.0])).shape().to_string(), "(0, 2)");
    let square = tape.leaf(array![[1.0, 0.0], [0.0, 1.0]]);
    assert_eq!(square.solve(tape.leaf(Array2::zeros((2, 0)))).shape().to_string(), "(2, 0)");
}

#[test]
fn the_logarithm_of_a_determinant_does_not_overflow() {
    let tape = Tape::<f64>::new();
    for factor in [1e3_f64, 1e-3, -1e3] {
        let a = tape.leaf(Array2::eye(200) * factor);
        assert!((a.logdet().item() - 200.0 * factor.abs().ln()).abs() < 1e-9);
    }
    // A permutation by two swaps has the determinant 1.
    let swapped = tape.leaf(array![[0.0, 2.0, 0.0], [0.0, 0.0, 3.0], [5.0, 0.0, 0.0]]);
    assert!((swapped.logdet().item() - 30.0_f64.ln()).abs() < 1e-15);
}

#[test]
fn cofactors_are_accurate_near_singular_matrices() {
    let mut rng = StdRng::seed_from_u64(34);
    for round in 0..300 {
        let mut value = random(&mut rng, 5, 5);
        // One row, two or three come near the plane of the others.
        for row in 2..3 + round % 3 {
            let scale = 10.0_f64.powf(rng.random_range(-20.0..0.0));
            let near = value.row(0).to_owned() * rng.random_range(-1.0..1.0) + value.row(1);
            let moved = near + value.row(row).to_owned() * scale;
            value.row_mut(row).assign(&moved);
        }
        let tape = Tape::new();
        let a = tape.leaf(&value);
        assert!(close(&matrix(a.det().grad_wrt(a)), &cofactors(&value), 1e-13), "{value}");
    }
}

#[test]
fn only_the_symmetric_part_has_a_cholesky_factor() {
    let tape = Tape::new();
    let (a, b) = (tape.leaf(array![[4.0, 5.0], [-1.0, 10.0]]), tape.leaf(array![[4.0, 2.0], [2.0, 10.0]]));
    assert_eq!(a.cholesky().value(), b.cholesky().value());
    let weights = tape.constant(array![[1.0, INF], [2.0, 3.0]]);
    let loss = a.cholesky().tril(0) * weights.tril(0);
    loss.sum().backward();
    let grad = a.grad().unwrap();
    assert_eq!(grad[[0, 1]], grad[[1, 0]]);
}

#[test]
fn single_precision_solves_likewise() {
    let tape = Tape::<f32>::new();
    let a = tape.leaf(array![[4.0_f32, 2.0, 0.5], [2.0, 10.0, 1.0], [0.5, 1.0, 3.0]]);
    let factor = a.cholesky();
    let back = factor.matmul(factor.transpose()) - a;
    assert!(back.abs().max().item() < 1e-6);
    let near = |x: Var<'_, f32>, y: Var<'_, f32>| (x - y).abs().max().item() < 1e-3;
    assert!(near(a.det().ln(), a.logdet()));
    assert!(near(a.det().ln().grad_wrt(a), a.inv()));
    assert!(near(a.logdet().grad_wrt(a), a.inv()));
    let second = a.det().grad_wrt(a).sum().grad_wrt(a);
    assert!(second.value().iter().all(|x| x.is_finite()));
    assert!(near(a.matmul(a.solve(a)), a));
}

#[test]
fn the_sign_of_a_determinant_is_found_where_the_determinant_underflows() {
    // Eigenvalues 1e-4, and once 100 + 1e-4: the determinant is below 1e-390.
    let near_ones = Array2::<f64>::eye(100) * 1e-4 + 1.0;
    let mut swapped = near_ones.clone();
    swapped.row_mut(3).assign(&near_ones.row(7));
    swapped.row_mut(7).assign(&near_ones.row(3));
    let tape = Tape::new().checked(); // no NaN on the way
    for (regular, expected) in [(near_ones, 1.0), (swapped, -1.0)] {
        let a = tape.leaf(regular);
        let (sign, size) = a.slogdet();
        assert_eq!(sign.item(), expected);
        let exact = 99.0 * 1e-4_f64.ln() + 100.0001_f64.ln();
        assert!((size.item() - exact).abs() < 1e-8, "{}", size.item() - exact);
        size.backward();
        assert!(close(
            &a.grad().expect("a gradient").to_owned().into_dimensionality::<Ix2>().expect("a matrix"),
            &matrix(a.inv().transpose()),
            1e-9
        ));
    }
    let tape = Tape::new();
    let empty = tape.leaf(Array2::<f64>::zeros((0, 0)));
    let (sign, size) = empty.slogdet();
    size.backward();
    assert_eq!((sign.item(), size.item()), (1.0, 0.0));
    assert_eq!(empty.grad().map(|g| g.len()), Some(0));
    assert_eq!(tape.leaf(array![[1.0, 2.0], [2.0, 4.0]]).slogdet().0.item(), 0.0);
    for x in [NAN, INF] {
        assert!(tape.leaf(array![[x, 1.0], [1.0, 1.0]]).slogdet().0.item().is_nan());
    }
}

#[test]
fn a_cholesky_factor_of_a_huge_number_exists() {
    assert_eq!(Tape::new().leaf(array![[1e308]]).cholesky().item(), 1e308_f64.sqrt());
}
