//! Eigenvalues, QR and singular values: against PyTorch, against their definitions, and where derivatives end.
//!
//! `torch_decompositions.py` writes the table.

use ndarray::{Array1, Array2, ArrayD, ArrayView2, Axis, IxDyn, array};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use tapegrad::transform::hessian;
use tapegrad::{Program, Scalar, Tape, Var};

use crate::torch_names::{Function, assert_all_rows_are_used, assert_as_differences, assert_as_in_pytorch};

const NAN: f64 = f64::NAN;

/// Returns matrices near one with this diagonal.
fn near<'t>(x: Var<'t, f64>, diagonal: &[f64]) -> Var<'t, f64> {
    let shape = x.shape();
    let middle = |(i, j)| if i == j { diagonal[i] } else { 0.0 };
    x * 0.4 + x.tape().constant(Array2::from_shape_fn((shape[shape.len() - 2], shape[shape.len() - 1]), middle))
}

/// All factors in one array, so that a loss has a weight for each element.
fn all<'t>(factors: &[Var<'t, f64>]) -> Var<'t, f64> {
    let parts: Vec<Var<'t, f64>> = factors.iter().map(|factor| factor.flatten()).collect();
    Var::concat(&parts, 0)
}

fn eigh(x: Var<'_, f64>) -> Var<'_, f64> {
    let (values, vectors) = x.eigh();
    all(&[values, vectors])
}

fn qr(x: Var<'_, f64>) -> Var<'_, f64> {
    let (q, r) = x.qr();
    all(&[q, r])
}

fn svd(x: Var<'_, f64>) -> Var<'_, f64> {
    let (u, values, v_t) = x.svd();
    all(&[u, values, v_t])
}

/// The same functions as in `torch_decompositions.py`.
fn functions() -> Vec<(&'static str, Function)> {
    vec![
        ("eigh", |x| eigh(near(x[0], &[1.0, 3.0, -2.0, 6.0]))),
        ("eigh batch", |x| eigh(near(x[0], &[1.0, 3.0, -2.0]))),
        ("eigh of one", |x| eigh(x[0])),
        ("eigh of two", |x| eigh(x[0])),
        ("eigh empty batch", |x| eigh(x[0])),
        ("eigvalsh", |x| x[0].eigvalsh()),
        ("eigh function", |x| {
            let (values, vectors) = x[0].eigh();
            (vectors * values.exp()).matmul(vectors.transpose())
        }),
        ("qr", |x| qr(near(x[0], &[1.0, 3.0, -2.0, 6.0]))),
        ("qr tall", |x| qr(x[0])),
        ("qr wide", |x| qr(x[0])),
        ("qr batch", |x| qr(x[0])),
        ("qr wide batch", |x| qr(x[0])),
        ("qr of one", |x| qr(x[0])),
        ("qr column", |x| qr(x[0])),
        ("qr row", |x| qr(x[0])),
        ("qr empty batch", |x| qr(x[0])),
        ("svd", |x| svd(near(x[0], &[1.0, 3.0, -2.0, 6.0]))),
        ("svd tall", |x| svd(near(x[0], &[1.0, 3.0, -2.0]))),
        ("svd wide", |x| svd(near(x[0], &[1.0, 3.0, -2.0]))),
        ("svd batch", |x| svd(near(x[0], &[1.0, 3.0]))),
        ("svd wide batch", |x| svd(x[0])),
        ("svd of one", |x| svd(x[0])),
        ("svd column", |x| svd(x[0])),
        ("svd row", |x| svd(x[0])),
        ("svd empty batch", |x| svd(x[0])),
        ("svdvals", |x| x[0].svdvals()),
        ("svd product", |x| {
            let (u, _, v_t) = x[0].svd();
            u.matmul(v_t)
        }),
    ]
}

fn table() -> Value {
    serde_json::from_str(include_str!("files/torch_decompositions.json")).expect("the table is JSON")
}

#[test]
fn values_and_two_orders_of_derivatives_are_those_of_pytorch() {
    let table = table();
    assert_all_rows_are_used(&functions(), &table);
    assert_as_in_pytorch(&functions(), &table);
}

#[test]
fn derivatives_agree_with_differences() {
    let functions: Vec<_> = functions().into_iter().filter(|(name, _)| !name.contains("empty")).collect();
    assert_as_differences(&functions, &table());
}

fn matrix<T: Scalar>(x: Var<'_, T>) -> Array2<f64> {
    let shape = x.shape();
    Array2::from_shape_vec((shape[0], shape[1]), x.value().iter().map(|x| x.to_f64()).collect()).expect("a matrix")
}

fn vector<T: Scalar>(x: Var<'_, T>) -> Array1<f64> {
    x.value().iter().map(|x| x.to_f64()).collect()
}

fn largest(a: &Array2<f64>) -> f64 {
    a.iter().fold(0.0, |largest: f64, x| largest.max(x.abs()))
}

#[track_caller]
fn assert_near(found: &Array2<f64>, expected: &Array2<f64>, tolerance: f64) {
    assert_eq!(found.dim(), expected.dim());
    let error = largest(&(found - expected));
    assert!(error <= tolerance, "error {error:e} in\n{found}, expected\n{expected}");
}

#[track_caller]
fn assert_orthonormal(columns: ArrayView2<'_, f64>, tolerance: f64) {
    assert_near(&columns.t().dot(&columns), &Array2::eye(columns.ncols()), tolerance);
}

/// Asserts that in each column the first element within a tenth of the largest is not negative.
#[track_caller]
fn assert_signs(columns: &Array2<f64>) {
    for column in columns.axis_iter(Axis(1)) {
        let size = column.iter().fold(0.0_f64, |size, x| size.max(x.abs()));
        // A little apart from the limit, because `f32` rounds.
        let borderline = column.iter().any(|x| (x.abs() / size - 0.9).abs() < 1e-6);
        let first = column.iter().find(|x| x.abs() >= 0.9 * size);
        assert!(borderline || first.is_none_or(|&x| x >= 0.0), "{column}");
    }
}

/// Asserts what defines the decompositions. The tolerance is relative to the largest element.
#[track_caller]
fn assert_decomposed<T: Scalar>(a: &Array2<f64>, tolerance: f64) {
    let tape = Tape::<T>::new();
    let x = tape.leaf(a.mapv(T::from_f64));
    let a = &matrix(x); // as rounded to the type
    let (m, n) = a.dim();
    let (k, size) = (m.min(n), tolerance * largest(a));

    let (q, r) = x.qr();
    let (q, r) = (matrix(q), matrix(r));
    assert_eq!((q.dim(), r.dim()), ((m, k), (k, n)));
    assert_near(&q.dot(&r), a, size);
    assert_orthonormal(q.view(), tolerance);
    assert!(r.indexed_iter().all(|((i, j), &x)| if i == j { x >= 0.0 } else { i < j || x == 0.0 }), "{r}");

    let (u, values, v_t) = x.svd();
    let (u, values, v_t) = (matrix(u), vector(values), matrix(v_t));
    assert_eq!((u.dim(), values.len(), v_t.dim()), ((m, k), k, (k, n)));
    assert_near(&(&u * &values).dot(&v_t), a, size);
    assert_orthonormal(u.view(), tolerance);
    assert_orthonormal(v_t.t(), tolerance);
    assert!(values.iter().is_sorted_by(|a, b| a >= b) && values.iter().all(|&x| x >= 0.0), "{values}");
    assert_signs(&u);

    if m == n {
        let (values, vectors) = x.eigh();
        let (values, vectors) = (vector(values), matrix(vectors));
        let symmetric = (a + &a.t()) * 0.5;
        assert_near(&(&vectors * &values).dot(&vectors.t()), &symmetric, size);
        assert_orthonormal(vectors.view(), tolerance);
        assert!(values.iter().is_sorted(), "{values}");
        assert_signs(&vectors);
    }
}

/// Matrices of all kinds: numbers between -1 and 1, small whole numbers, ranks that are not full, and many magnitudes.
fn matrices() -> impl Strategy<Value = Array2<f64>> {
    let size = (1..9_usize, 1..9_usize, any::<bool>(), any::<u64>(), 0..5_u8);
    size.prop_map(|(m, n, square, seed, kind)| {
        let (mut rng, n) = (StdRng::seed_from_u64(seed), if square { m } else { n });
        let mut whole = |m, n| Array2::from_shape_simple_fn((m, n), || f64::from(rng.random_range(-1..=1)));
        match kind {
            0 => whole(m, n),
            1 => {
                let rank = m.min(n).div_ceil(2);
                whole(m, rank).dot(&whole(rank, n))
            }
            2 => Array2::from_shape_simple_fn((m, n), || rng.random_range(-1.0..1.0)),
            3 => Array2::from_shape_simple_fn((m, n), || {
                rng.random_range(-1.0..1.0) * 10_f64.powi(rng.random_range(-20..0))
            }),
            _ => {
                let scales: Vec<f64> = (0..n).map(|_| 10_f64.powi(rng.random_range(-20..0))).collect();
                Array2::from_shape_fn((m, n), |(_, j)| rng.random_range(-1.0..1.0) * scales[j])
            }
        }
    })
}

proptest! {
    #![proptest_config(crate::common::cases(200))]

    #[test]
    fn factors_multiply_to_the_matrix(a in matrices()) {
        assert_decomposed::<f64>(&a, 2e-14);
    }

    #[test]
    fn factors_in_single_precision_multiply_to_the_matrix(a in matrices()) {
        assert_decomposed::<f32>(&a, 2e-6);
    }
}

#[test]
fn factors_of_special_matrices_multiply_to_them() {
    let mut rng = StdRng::seed_from_u64(51);
    let large = Array2::from_shape_simple_fn((40, 30), || rng.random_range(-1.0..1.0));
    let hilbert = Array2::from_shape_fn((12, 12), |(i, j)| 1.0 / (i + j + 1) as f64);
    let path = Array2::from_shape_fn((20, 20), |(i, j)| f64::from(i8::from(i.abs_diff(j) == 1)));
    let block = Array2::from_shape_fn((15, 15), |(i, j)| if i / 5 == j / 5 { 1.0 } else { 0.0 });
    for a in [large.dot(&large.t()), large, hilbert, path, block, Array2::ones((6, 6)), Array2::eye(7)] {
        assert_decomposed::<f64>(&a, 5e-14);
        assert_decomposed::<f64>(&a.t().to_owned(), 5e-14);
        assert_decomposed::<f64>(&(&a * 1e300), 5e-14);
        assert_decomposed::<f64>(&(&a * 1e-300), 5e-14);
    }
    assert_decomposed::<f64>(&Array2::zeros((4, 3)), 1e-15);
    assert_decomposed::<f64>(&Array2::zeros((3, 3)), 1e-15);
    // Singular values of many magnitudes are each right.
    let tape = Tape::<f64>::new();
    let graded = tape.leaf(array![[1e-30, 1.0], [1e-30, -1.0], [0.0, 0.0]]);
    let expected = [2.0_f64.sqrt(), 2.0_f64.sqrt() * 1e-30];
    assert!(graded.svdvals().value().iter().zip(expected).all(|(x, y)| (x / y - 1.0).abs() < 1e-15));
}

#[test]
fn a_batch_has_the_bits_of_its_matrices() {
    let mut rng = StdRng::seed_from_u64(52);
    let batch = ArrayD::from_shape_simple_fn(IxDyn(&[3, 4, 4]), || rng.random_range(-1.0..1.0));
    let tape = Tape::<f64>::new();
    let x = tape.leaf(&batch);
    for f in [Var::eigh as fn(_) -> _, Var::qr, |x| (x.svd().0, x.svd().2)] {
        let (first, second) = f(x);
        for k in 0..3 {
            let (one, two) = f(tape.leaf(batch.index_axis(Axis(0), k)));
            assert_eq!(first.value().index_axis(Axis(0), k), one.value());
            assert_eq!(second.value().index_axis(Axis(0), k), two.value());
        }
    }
}

/// For a symmetric matrix, the derivative of an eigenvalue is `v vᵀ`.
#[test]
fn the_gradient_by_a_symmetric_matrix_is_symmetric() {
    let tape = Tape::<f64>::new();
    let a = tape.leaf(array![[2.0, 1.0, 0.0], [1.0, 3.0, -1.0], [0.0, -1.0, 5.0]]);
    let (values, vectors) = a.eigh();
    for k in 0..3 {
        let v = vectors.slice(1, k..k + 1);
        let outer = matrix(v.matmul(v.transpose()));
        assert_near(&matrix(values.slice(0, k..k + 1).sum().grad_wrt(a)), &outer, 1e-14);
    }
    let by_vectors = matrix((vectors * tape.constant(array![1.0, 4.0, 9.0])).sin().sum().grad_wrt(a));
    assert_near(&by_vectors, &by_vectors.t().to_owned(), 1e-14);
    // Without symmetry, the symmetric part counts.
    let b = tape.leaf(array![[2.0, 3.0, 1.0], [-1.0, 3.0, -2.0], [-1.0, 0.0, 5.0]]);
    assert_eq!(b.eigh().0.value(), values.value());
    assert_eq!(b.eigh().1.value(), vectors.value());
}

#[test]
fn losses_of_values_alone_have_a_gradient_where_values_are_equal() {
    let tape = Tape::<f64>::new().checked(); // no NaN on the way
    let turn = tape.constant(array![[2.0, -2.0, 1.0], [1.0, 2.0, 2.0], [2.0, 1.0, -2.0]]) / 3.0;
    for diagonal in [array![2.0, 2.0, 2.0], array![2.0, 2.0, 5.0], array![0.0, 0.0, 2.0], array![0.0, 0.0, 0.0]] {
        // Σ λ³ has the gradient 3 a².
        let a = (turn * tape.constant(diagonal)).matmul(turn.transpose());
        let a = tape.leaf(a.value());
        a.eigvalsh().powf(3.0).sum().backward();
        assert_near(&a.grad().unwrap().to_owned().into_dimensionality().unwrap(), &matrix(a.matmul(a) * 3.0), 1e-13);
        // Σ σ² has the gradient 2 a, and so has a matrix that is not square.
        for x in [a, tape.leaf(a.slice(0, ..2).value()), tape.leaf(a.slice(1, 1..).value())] {
            assert_near(&matrix(x.svdvals().square().sum().grad_wrt(x)), &matrix(x * 2.0), 1e-13);
        }
    }
    // Forward, too: along the identity every eigenvalue grows alike.
    let tape = Tape::<f64>::new();
    let (a, along) = (tape.leaf(Array2::eye(3) * 2.0), tape.leaf(Array2::eye(3)));
    assert_eq!(a.eigvalsh().jvp(&[a], &[along]).value(), array![1.0, 1.0, 1.0].into_dyn());
    assert_eq!(a.svdvals().jvp(&[a], &[along]).value(), array![1.0, 1.0, 1.0].into_dyn());
}

#[test]
fn derivatives_end_where_the_vectors_are_not_unique() {
    let tape = Tape::<f64>::new();
    let bad = |g: Var<'_, f64>| g.value().iter().any(|g| !g.is_finite());
    let weights = tape.constant(array![[1.0, 2.0], [5.0, 3.0]]);
    let twice = tape.leaf(Array2::eye(2) * 3.0);
    assert!(bad((twice.eigh().1 * weights).sum().grad_wrt(twice)));
    assert!(bad((twice.svd().0 * weights).sum().grad_wrt(twice)));
    // The second derivative of Σ λ² is infinite or NaN, or right: twice the direction.
    for values in [twice.eigvalsh(), twice.svdvals()] {
        let gradient = values.square().sum().grad_wrt(twice);
        assert!(bad((gradient * weights).sum().grad_wrt(twice)));
        assert_near(&matrix(gradient.square().sum().grad_wrt(twice)), &matrix(twice * 8.0), 0.0);
    }
    // A singular value 0 of a square matrix: the vectors are unique up to the sign, and the derivative exists.
    let singular = tape.leaf(array![[2.0, 0.0], [0.0, 0.0]]);
    assert!(!bad((singular.svd().0 * weights).sum().grad_wrt(singular)));
    // If the matrix is not square, any vector outside its columns will do.
    let tall = tape.leaf(array![[2.0, 0.0], [0.0, 0.0], [0.0, 0.0]]);
    assert!(bad(tall.svd().0.sin().sum().grad_wrt(tall)));
    assert!(!bad(tall.svdvals().sum().grad_wrt(tall)));
    // Dependent columns: q is not unique.
    let dependent = tape.leaf(array![[1.0, 2.0], [2.0, 4.0]]);
    let (q, r) = dependent.qr();
    assert!(bad(q.sum().grad_wrt(dependent)) && bad(r.sum().grad_wrt(dependent)));
}

fn symmetric(x: Var<'_, f64>) -> Var<'_, f64> {
    (x + x.transpose()) * 0.5
}

/// `Σ ln λ` of a positive definite matrix is `ln det`: the same derivatives of order 2 on two ways.
#[test]
fn hessians_agree_with_those_of_the_determinant() {
    let a = array![[4.0, 1.0, 0.5], [1.0, 3.0, -1.0], [0.5, -1.0, 5.0]];
    let expected = hessian(|x| symmetric(x).logdet(), &a);
    let ways: [for<'t> fn(Var<'t, f64>) -> Var<'t, f64>; 3] =
        [|x| x.eigvalsh().ln().sum(), |x| symmetric(x).svdvals().ln().sum(), |x| symmetric(x).qr().1.diag().ln().sum()];
    for way in ways {
        let found = hessian(way, &a);
        assert!((&found - &expected).iter().all(|e| e.abs() < 1e-13), "{found}\n{expected}");
    }
    // Order 3, of eigenvalues: from the sum of their logarithms, and from the determinant.
    let third = |f: for<'t> fn(Var<'t, f64>) -> Var<'t, f64>| {
        let tape = Tape::new();
        let x = tape.leaf(&a);
        let weights = tape.constant(array![[1.0, 2.0, 0.0], [2.0, -1.0, 3.0], [0.0, 3.0, 1.0]]);
        matrix((0..3).fold(f(x), |y, _| (y.grad_wrt(x) * weights).sum()).grad_wrt(x))
    };
    let expected = third(|x| symmetric(x).logdet());
    assert_near(&third(|x| x.eigvalsh().ln().sum()), &expected, 1e-12);
    assert_near(&third(|x| symmetric(x).qr().1.diag().ln().sum()), &expected, 1e-12);
    assert_near(&third(|x| symmetric(x).svdvals().ln().sum()), &expected, 1e-12);
}

#[test]
fn compiled_programs_run_on_other_matrices() {
    fn f(x: Var<'_, f64>) -> Var<'_, f64> {
        let y = (eigh(x.matmul(x.transpose())).sin().sum() + qr(x).sin().sum()) * svd(x).cos().sum();
        y.grad_wrt(x)
    }
    let mut rng = StdRng::seed_from_u64(53);
    let mut random = || Array2::from_shape_simple_fn((3, 4), || rng.random_range(-1.0..1.0));
    let (one, other) = (random(), random());
    let tape = Tape::new();
    let x = tape.leaf(one);
    let mut program = Program::compile(&[x], &[f(x)]).unwrap();
    let again = Tape::new();
    assert_eq!(program.run(&[other.view().into_dyn()]).unwrap().value(0), f(again.leaf(&other)).value());
}

#[test]
fn a_nan_or_an_infinity_makes_its_matrix_nan_and_no_other() {
    let tape = Tape::<f64>::new();
    for bad in [NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let x = tape.leaf(array![[[1.0, 0.0], [bad, 2.0]], [[4.0, 0.0], [0.0, 4.0]]]);
        let (values, vectors) = x.eigh();
        let (q, r) = x.qr();
        let (u, singular, v_t) = x.svd();
        for factor in [values, vectors, q, r, u, singular, v_t] {
            let value = factor.value();
            assert!(value.index_axis(Axis(0), 0).iter().all(|x| x.is_nan()));
            assert!(value.index_axis(Axis(0), 1).iter().all(|x| [0.0, 1.0, 4.0].contains(x)), "{value}");
        }
        let gradient = (values.sum() + singular.sum() + r.sum()).grad_wrt(x);
        let gradient = gradient.value();
        assert!(gradient.index_axis(Axis(0), 0).iter().all(|x| x.is_nan()));
        assert!(gradient.index_axis(Axis(0), 1).iter().all(|x| x.is_finite()));
    }
}

#[test]
fn matrices_without_elements_have_factors_without_elements() {
    let tape = Tape::<f64>::new();
    for shape in [[2, 0, 0], [0, 3, 3], [2, 0, 3], [2, 3, 0], [0, 2, 3]] {
        let x = tape.leaf(ArrayD::zeros(IxDyn(&shape)));
        let [batch, m, n] = shape;
        let k = m.min(n);
        let (q, r) = x.qr();
        let (u, values, v_t) = x.svd();
        let mut factors = vec![q, r, u, values, v_t];
        assert!(*q.shape() == [batch, m, k] && *r.shape() == [batch, k, n]);
        assert!(*u.shape() == [batch, m, k] && *values.shape() == [batch, k] && *v_t.shape() == [batch, k, n]);
        if m == n {
            let (values, vectors) = x.eigh();
            assert!(*values.shape() == [batch, n] && *vectors.shape() == shape);
            factors.extend([values, vectors]);
        }
        let loss = factors.iter().map(|factor| factor.sum()).sum::<Var<'_, f64>>();
        assert_eq!(*loss.grad_wrt(x).shape(), shape);
        assert_eq!(loss.grad_wrt(x).value(), ArrayD::<f64>::zeros(IxDyn(&shape)));
    }
}

#[test]
fn the_tape_shows_the_names_of_decompositions() {
    let tape = Tape::<f64>::new();
    let x = tape.leaf(array![[1.0, 2.0], [2.0, 3.0]]);
    let _ = (x.eigh(), x.qr(), x.svd());
    let text = format!("{tape:?}");
    for name in [" = eigh ", " = qr ", " = svd "] {
        assert!(text.contains(name), "{text}");
    }
}
