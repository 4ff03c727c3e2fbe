//! What stays exact or accurate beyond single points: over many elements, lengths, rows, at large arguments and high orders.
//! Single points are rows of the page of edge cases, see `edge_cases.rs`.

use ndarray::{ArrayD, ArrayViewD, array};
use tapegrad::op::Unary;
use tapegrad::{Tape, Var};

const NAN: f64 = f64::NAN;
const INF: f64 = f64::INFINITY;

/// Returns value and gradient of the sum of `f` at `x`.
fn at(x: &[f64], f: impl for<'t> Fn(Var<'t, f64>) -> Var<'t, f64>) -> (Vec<f64>, Vec<f64>) {
    let tape = Tape::new();
    let x = tape.leaf(ArrayD::from(ndarray::Array1::from(x.to_vec()).into_dyn()));
    let y = f(x);
    y.sum().backward();
    (y.value().iter().copied().collect(), x.grad().expect("reached").iter().copied().collect())
}

fn numbers(array: ArrayViewD<'_, f64>) -> Vec<f64> {
    array.iter().copied().collect()
}

/// Equal, with NaN equal to NaN.
fn same(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a == b || a.is_nan() && b.is_nan())
}

macro_rules! assert_same {
    ($found:expr, $expected:expr) => {
        let (found, expected) = (&$found, &$expected);
        assert!(same(found, expected), "{found:?}, expected {expected:?}");
    };
}

#[test]
fn a_square_as_a_power_has_the_third_derivative_0_at_0() {
    let tape = Tape::new();
    let x = tape.leaf(0.0);
    assert_eq!(x.powf(2.0).grad_wrt(x).grad_wrt(x).grad_wrt(x).item(), 0.0);
}

#[test]
fn no_elementwise_function_swallows_nan() {
    for (unary, _) in Unary::samples() {
        if unary.saves() != tapegrad::op::Saves::NotDifferentiable {
            assert_same!(at(&[NAN], |x| x.unary(unary)).0, [NAN]);
        }
    }
}

#[test]
fn sums_of_nothing_are_0_and_of_much_are_accurate() {
    assert_same!(at(&[], |x| x.sum()).0, [0.0]);
    // A running sum of single precision would stop growing at 2^24.
    let tape = Tape::<f32>::new();
    let x = tape.leaf(ndarray::Array1::<f32>::ones(20_000_000));
    assert_eq!(x.sum().item(), 20_000_000.0);
    let tenths = tape.leaf(ndarray::Array2::<f32>::from_elem((1_000_000, 2), 0.1));
    for sum in tenths.sum_axes([0], tapegrad::KeepDims::No).value() {
        assert!((sum - 100_000.0).abs() < 1.0, "{sum}");
    }
}

/// Returns how far a sum is from the exact one, in units of its last place.
fn ulps(found: f32, exact: f64) -> f64 {
    let exact_single = (exact as f32).abs();
    (f64::from(found) - exact).abs() / f64::from(exact_single.next_up() - exact_single)
}

#[test]
fn sums_of_ten_million_tenths_are_off_by_at_most_one_unit_in_the_last_place() {
    use tapegrad::KeepDims::No;
    for (shape, axes) in [
        (&[10_000_000][..], &[0][..]),
        (&[5_000_000, 2], &[0]),
        // A tenth of them, along other axes.
        (&[2, 500_000], &[1]),
        (&[25_000, 40], &[0]),
        (&[2, 5000, 100], &[1]),
        (&[50, 2, 10_000], &[0, 2]),
        (&[250, 2, 1000, 2], &[0, 2]),
        (&[250, 2, 2000], &[0, 2]),
    ] {
        let tape = Tape::<f32>::new();
        let x = tape.leaf(ArrayD::from_elem(shape, 0.1_f32));
        let sums = x.sum_axes(axes, No);
        let count = x.value().len() / sums.value().len();
        for &sum in sums.value() {
            let ulps = ulps(sum, f64::from(0.1_f32) * count as f64);
            assert!(ulps <= 1.0, "{shape:?} {axes:?}: {sum} is off by {ulps}");
        }
    }
}

#[test]
fn a_negative_zero_does_not_survive_a_sum_however_long() {
    for count in [2_usize, 30, 64, 100, 3000, 100_000] {
        let tape = Tape::<f32>::new();
        let x = tape.leaf(ndarray::Array1::from_elem(count, -0.0_f32));
        assert_eq!(x.sum().item().to_bits(), 0.0_f32.to_bits(), "{count}");
        let columns = x.reshape([count, 1]).sum_axes([0], tapegrad::KeepDims::No);
        assert_eq!(columns.item().to_bits(), 0.0_f32.to_bits(), "{count} rows");
    }
}

#[test]
fn a_large_mean_does_not_show_in_variance_and_deviation() {
    use tapegrad::KeepDims::No;
    for (shape, axis) in [(&[1_000_000][..], 0), (&[3, 20_000], 1), (&[50_000, 3], 0), (&[1000, 10], 0)] {
        // Alternating along the axis: the variance is 1/4.
        let alternating =
            |mean: f64| ArrayD::from_shape_fn(shape, |index| mean + if index[axis] % 2 == 0 { 0.0 } else { 1.0 });
        let count = shape[axis] as f64;
        let (single, double) = (Tape::<f32>::new(), Tape::new());
        for mean in [1e6, 16_777_000.0, 0.0] {
            let x = single.leaf(alternating(mean).mapv(|x| x as f32));
            let (var, std) = (x.var_axes([axis as isize], 0, No), x.std_axes([axis as isize], 0, No));
            for (&var, &std) in var.value().iter().zip(std.value()) {
                assert!((var - 0.25).abs() < 1e-6 && (std - 0.5).abs() < 1e-6, "{shape:?} {mean}: {var} {std}");
            }
            // 2 (x - mean) / n, and its derivative: 2 (1 - 1/n) / n on the diagonal.
            let dx = var.sum().grad_wrt(x);
            let ddx = dx.slice(0, 0..1).slice(-1, 0..1).sum().grad_wrt(x);
            let first = dx.value().iter().next().copied().expect("an element");
            let second = ddx.value().iter().next().copied().expect("an element");
            assert!((f64::from(first) * count + 1.0).abs() < 1e-5, "{shape:?} {mean}: {first}");
            let expected = 2.0 * (1.0 - 1.0 / count);
            assert!((f64::from(second) * count - expected).abs() < 1e-5, "{shape:?} {mean}: {second}");
        }
        for mean in [1e15, -4e15] {
            let x = double.leaf(alternating(mean));
            let (var, std) = (x.var_axes([axis as isize], 0, No), x.std_axes([axis as isize], 0, No));
            for (&var, &std) in var.value().iter().zip(std.value()) {
                assert!((var - 0.25).abs() < 1e-14 && (std - 0.5).abs() < 1e-14, "{shape:?} {mean}: {var} {std}");
            }
        }
    }
}

#[test]
fn equal_numbers_have_the_variance_0_although_their_mean_is_rounded() {
    for count in [3, 10, 49, 1000, 100_000] {
        let tape = Tape::<f32>::new();
        let x = tape.leaf(ndarray::Array1::from_elem(count, 0.1_f32));
        assert_eq!((x.var(0).item(), x.std(1).item()), (0.0, 0.0), "{count}");
        let tape = Tape::new();
        let x = tape.leaf(ndarray::Array1::from_elem(count, 0.1));
        assert_eq!((x.var(1).item(), x.std(0).item()), (0.0, 0.0), "{count}");
    }
}

#[test]
fn sine_and_its_kin_take_arguments_of_any_size() {
    let mut x: Vec<f64> = (0..1000).map(|i| f64::from(i) * 0.37).collect();
    let near: Vec<f64> = x.clone();
    for (i, large) in [(300, 1e300), (301, -3e7), (302, 1e22)] {
        x[i] = large;
    }
    for (f, df, exact) in [
        (Unary::Sin, 1.0, f64::sin as fn(f64) -> f64),
        (Unary::Cos, -1.0, f64::cos as fn(f64) -> f64),
        (Unary::Tan, 0.0, f64::tan as fn(f64) -> f64),
    ] {
        let (y, g) = at(&x, |x| x.unary(f));
        for (i, &x) in x.iter().enumerate() {
            assert!((y[i] - exact(x)).abs() < 1e-15 * (1.0 + exact(x).abs()), "{f:?} of {x}: {}", y[i]);
            let slope = match f {
                Unary::Sin => x.cos() * df,
                Unary::Cos => x.sin() * df,
                _ => 1.0 + x.tan() * x.tan(),
            };
            assert!((g[i] - slope).abs() < 3e-15 * (1.0 + slope.abs()), "slope of {f:?} at {x}: {}", g[i]);
        }
        // Whether a neighbour is large must not show.
        let (near_y, near_g) = at(&near, |x| x.unary(f));
        for i in (0..1000).filter(|i| !(300..303).contains(i)) {
            assert_eq!((y[i].to_bits(), g[i].to_bits()), (near_y[i].to_bits(), near_g[i].to_bits()));
        }
    }
    assert_same!(at(&[INF, NAN], |x| x.sin()).0, [NAN, NAN]);
    assert_same!(at(&[INF, NAN], |x| x.cos()).1, [NAN, NAN]);
}

#[test]
fn a_product_is_exact_beside_zeros_at_any_order() {
    // ∂²/∂xᵢ∂xⱼ is the product of the others, ∂³ that of what is left.
    let tape = Tape::new();
    let x = tape.leaf(array![0.0, 0.0, 3.0, 5.0]);
    let first = x.prod().grad_wrt(x);
    let second = first.slice(0, 0..1).sum().grad_wrt(x);
    assert_same!(numbers(first.value()), [0.0, 0.0, 0.0, 0.0]);
    assert_same!(numbers(second.value()), [0.0, 15.0, 0.0, 0.0]);
    let third = second.slice(0, 1..2).sum().grad_wrt(x);
    assert_same!(numbers(third.value()), [0.0, 0.0, 5.0, 3.0]);
    // Every length: each odd level has an element that waits.
    for n in 1..20_usize {
        let x: Vec<f64> = (0..n).map(|i| if i == n / 2 { 0.0 } else { 1.0 + i as f64 }).collect();
        let others = |i| x.iter().enumerate().filter(|&(j, _)| j != i).map(|(_, x)| x).product::<f64>();
        let (value, grad) = at(&x, |x| x.prod());
        assert_eq!(value, [0.0]);
        assert!(grad.iter().enumerate().all(|(i, &g)| (g - others(i)).abs() <= 1e-14 * others(i)), "{n}: {grad:?}");
    }
}

#[test]
fn norms_of_rows_neither_overflow_nor_vanish() {
    let tape = Tape::<f32>::new();
    let rows = tape.leaf(array![[3e-20_f32, 4e-20], [0.0, 0.0], [3.0, 4.0], [3e30, 4e30]]);
    let norms = rows.norm_axes([1], tapegrad::KeepDims::No);
    for (y, expected) in norms.value().iter().zip([5e-20_f32, 0.0, 5.0, 5e30]) {
        assert!((y - expected).abs() <= 1e-6 * expected, "{y}, expected {expected}");
    }
}

#[test]
fn reductions_take_scalars_empty_axes_and_axes_of_1() {
    use tapegrad::KeepDims::{No, Yes};
    let tape = Tape::new();
    let x = tape.leaf(3.0);
    for y in [x.min(), x.prod(), x.norm(), x.logsumexp(), x.prod_axes([], No), x.min_axes([], Yes)] {
        tape.zero_grad();
        y.backward();
        assert_eq!((y.item(), x.grad().unwrap().sum()), (3.0, 1.0));
    }
    let empty = tape.leaf(ndarray::Array2::<f64>::zeros((0, 3)));
    let over_nothing = [empty.prod_axes([0], No), empty.norm_axes([0], No), empty.logsumexp_axes([0], No)];
    for (y, expected) in over_nothing.into_iter().zip([1.0, 0.0, -INF]) {
        assert_same!(numbers(y.value()), [expected; 3]);
        y.sum().backward();
    }
    for y in [empty.prod_axes([1], Yes), empty.min_axes([1], Yes), empty.std_axes([1], 0, Yes), empty.cumsum(1)] {
        assert_eq!(y.shape()[0], 0);
        y.sum().backward();
    }
    assert_eq!(empty.cumsum(0).shape().to_string(), "(0, 3)");
    let one = tape.leaf(array![[2.0], [3.0]]);
    let y = one.prod_axes([1], No)
        * one.norm_axes([-1], No)
        * one.logsumexp_axes([1], No)
        * one.cumsum(1).sum_axes([1], No);
    assert_same!(numbers(y.value()), [16.0, 81.0]);
}

#[test]
fn running_sums_run_along_any_axis() {
    let tape = Tape::new();
    let x = tape.leaf(array![[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
    assert_eq!(x.cumsum(0).value(), array![[1.0, 2.0, 3.0], [5.0, 7.0, 9.0]].into_dyn());
    assert_eq!(x.cumsum(-1).value(), array![[1.0, 3.0, 6.0], [4.0, 9.0, 15.0]].into_dyn());
    assert_eq!(x.transpose().cumsum(0).value(), array![[1.0, 4.0], [3.0, 9.0], [6.0, 15.0]].into_dyn());
}

#[test]
fn reductions_in_single_precision_and_of_repeated_axes_are_those_of_an_index_loop() {
    use tapegrad::KeepDims::No;
    let x = ndarray::Array2::from_shape_fn((1, 37), |(_, j)| (j as f64 * 0.7).sin() + 1.5);
    let tape = Tape::<f32>::new();
    let single = tape.leaf(x.mapv(|x| x as f32)).broadcast_to([3, 37]);
    let row: Vec<f64> = x.iter().map(|&x| f64::from(x as f32)).collect();
    let mean = row.iter().sum::<f64>() / 37.0;
    let squares: f64 = row.iter().map(|x| (x - mean).powi(2)).sum();
    for (y, expected) in [
        (single.min_axes([1], No), row.iter().copied().fold(INF, f64::min)),
        (single.prod_axes([-1], No), row.iter().product()),
        (single.norm_axes([1], No), row.iter().map(|x| x * x).sum::<f64>().sqrt()),
        (single.logsumexp_axes([1], No), row.iter().map(|x| x.exp()).sum::<f64>().ln()),
        (single.var_axes([1], 1, No), squares / 36.0),
        (single.std_axes([1], 0, No), (squares / 37.0).sqrt()),
        (single.cumsum(1).slice(1, 36..).reshape([3]), row.iter().sum()),
    ] {
        assert_eq!(*y.shape(), [3]);
        for &y in y.value() {
            assert!((f64::from(y) / expected - 1.0).abs() < 1e-5, "{y}, expected {expected}");
        }
        tape.zero_grad();
    }
}
