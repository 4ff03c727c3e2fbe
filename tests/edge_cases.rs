//! The promises at the edges, one test for each.

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
fn relu_abs_and_sign_have_derivative_0_at_0() {
    assert_same!(at(&[-1.0, 0.0, -0.0, 2.0], |x| x.relu()).1, [0.0, 0.0, 0.0, 1.0]);
    assert_same!(at(&[-1.0, 0.0, -0.0, 2.0], |x| x.abs()).1, [-1.0, 0.0, 0.0, 1.0]);
    assert_same!(at(&[-1.0, 0.0, 2.0], |x| x.sign()).1, [0.0, 0.0, 0.0]);
}

#[test]
fn an_infinite_cotangent_reaches_only_what_is_selected() {
    assert_same!(at(&[0.0, -0.0, 4.0], |x| x.abs().sqrt()).1, [0.0, 0.0, 0.25]);
    assert_same!(at(&[NAN], |x| x.abs()).1, [NAN]);
    assert_same!(at(&[0.0, -1.0], |x| x.max().sqrt()).1, [INF, 0.0]);
    assert_same!(at(&[0.0, NAN], |x| x.max()).1, [NAN, NAN]);
    for through_abs in [true, false] {
        let tape = Tape::new();
        let x = tape.leaf(array![0.0, -1.0]);
        let y = if through_abs { x.abs().sqrt().sum() } else { x.max().sqrt() };
        y.backward();
        assert_eq!(y.grad_wrt(x).value(), x.grad().expect("reached"));
    }
}

#[test]
fn ties_in_max_share_evenly() {
    assert_same!(at(&[3.0, 1.0, 3.0, 3.0], |x| x.max() * 3.0).1, [1.0, 0.0, 1.0, 1.0]);
    let tape = Tape::new();
    let x = tape.leaf(array![[1.0, 1.0], [0.0, 2.0]]);
    x.max_axes([1], tapegrad::KeepDims::No).sum().backward();
    assert_eq!(x.grad().unwrap(), array![[0.5, 0.5], [0.0, 1.0]].into_dyn());
}

#[test]
fn maximum_of_equal_operands_gives_half_to_each() {
    let tape = Tape::new();
    let (a, b) = (tape.leaf(array![1.0, 5.0]), tape.leaf(array![1.0, 4.0]));
    a.maximum(b).sum().backward();
    assert_eq!(a.grad().unwrap(), array![0.5, 1.0].into_dyn());
    assert_eq!(b.grad().unwrap(), array![0.5, 0.0].into_dyn());
}

#[test]
fn clamp_passes_the_gradient_at_its_bounds() {
    assert_same!(at(&[-1.5, -1.0, 0.0, 1.0, 1.5], |x| x.clamp(-1.0, 1.0)).1, [0.0, 1.0, 1.0, 1.0, 0.0]);
}

#[test]
fn the_power_0_has_gradient_0_everywhere() {
    assert_same!(at(&[0.0, -2.0, INF], |x| x.powf(0.0)).0, [1.0, 1.0, 1.0]);
    assert_same!(at(&[0.0, -2.0, INF], |x| x.powf(0.0)).1, [0.0, 0.0, 0.0]);
    assert_same!(at(&[0.0], |x| x.powf(1.0)).1, [1.0]);
    assert_same!(at(&[0.0], |x| x.powf(2.0)).1, [0.0]);
    let tape = Tape::new();
    let x = tape.leaf(0.0);
    assert_eq!(x.powf(2.0).grad_wrt(x).grad_wrt(x).item(), 2.0);
    assert_eq!(x.powf(2.0).grad_wrt(x).grad_wrt(x).grad_wrt(x).item(), 0.0);
}

#[test]
fn what_is_not_selected_leaves_no_trace() {
    let tape = Tape::new();
    let x = tape.leaf(array![-1.0, 2.0]);
    x.relu().backward_with(array![INF, 1.0]);
    assert_eq!(x.grad().unwrap(), array![0.0, 1.0].into_dyn());
    let y = tape.leaf(array![[0.0, -INF, 0.0]]);
    let loss = -y.log_softmax(-1).pick(&[0]).sum();
    loss.backward();
    assert_eq!(loss.item(), 2.0_f64.ln());
    assert_eq!(y.grad().unwrap(), array![[-0.5, 0.0, 0.5]].into_dyn());
    let (a, b) = (tape.leaf(array![1.0]), tape.leaf(array![2.0]));
    a.maximum(b).backward_with(array![INF]);
    assert_eq!((a.grad().unwrap()[[0]], b.grad().unwrap()[[0]]), (0.0, INF));
}

#[test]
fn logarithm_root_and_division_are_those_of_ieee() {
    assert_same!(at(&[0.0, -1.0, INF], |x| x.ln()).0, [-INF, NAN, INF]);
    assert_same!(at(&[0.0, 4.0], |x| x.ln()).1, [INF, 0.25]);
    assert_same!(at(&[0.0, -1.0, 4.0], |x| x.sqrt()).0, [0.0, NAN, 2.0]);
    assert_same!(at(&[0.0, -1.0, 4.0], |x| x.sqrt()).1, [INF, NAN, 0.25]);
    assert_same!(at(&[0.0, -0.0], |x| 1.0 / x).0, [INF, -INF]);
    assert_same!(at(&[0.0, 2.0], |x| x / 0.0).0, [NAN, INF]);
    assert_same!(at(&[0.0, 2.0], |x| 1.0 / x).1, [-INF, -0.25]);
}

#[test]
fn nan_is_never_swallowed() {
    assert_same!(at(&[NAN, -1.0], |x| x.relu()).0, [NAN, 0.0]);
    assert_same!(at(&[NAN, -1.0], |x| x.relu()).1, [1.0, 0.0]);
    assert_same!(at(&[NAN], |x| x.clamp(-1.0, 1.0)).0, [NAN]);
    assert_same!(at(&[1.0, NAN, 3.0], |x| x.max()).0, [NAN]);
    assert_same!(at(&[1.0, NAN, 3.0], |x| x.max()).1, [NAN, NAN, NAN]);
    assert_same!(at(&[NAN, 1.0, 3.0], |x| x.softmax(0)).0, [NAN, NAN, NAN]);
    assert_same!(at(&[NAN], |x| x.sign()).0, [NAN]);
    for (unary, _) in tapegrad::op::Unary::samples() {
        if unary.reads() != tapegrad::op::Reads::Flat {
            assert_same!(at(&[NAN], |x| x.unary(unary)).0, [NAN]);
        }
    }
    let tape = Tape::new();
    let (a, b) = (tape.leaf(array![NAN, 1.0]), tape.leaf(array![1.0, NAN]));
    let y = a.maximum(b);
    y.sum().backward();
    assert!(y.value().iter().all(|y| y.is_nan()));
    assert_eq!(
        (a.grad().unwrap().to_owned(), b.grad().unwrap().to_owned()),
        (array![0.5, 0.5].into_dyn(), array![0.5, 0.5].into_dyn())
    );
}

#[test]
fn softmax_neither_overflows_nor_loses_small_probabilities() {
    assert_same!(at(&[1e300, 1e300], |x| x.softmax(0)).0, [0.5, 0.5]);
    assert_same!(at(&[0.0, -1e4], |x| x.log_softmax(0)).0, [0.0, -1e4]);
    assert_same!(at(&[0.0, -INF], |x| x.softmax(0)).0, [1.0, 0.0]);
    assert_same!(at(&[0.0, -INF], |x| x.log_softmax(0)).0, [0.0, -INF]);
    assert_same!(at(&[-745.0, 0.0], |x| x.sigmoid()).0, [5e-324, 0.5]);
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

#[test]
fn a_power_with_a_recorded_exponent_is_selected_where_the_formula_is_0_times_infinity() {
    let tape = Tape::new();
    let a = tape.leaf(array![0.0, 0.0, 0.0, 2.0, -2.0, 0.0]);
    let b = tape.leaf(array![0.0, 1.0, 2.0, 0.0, 3.0, -1.0]);
    let y = a.pow(b);
    y.sum().backward();
    assert_same!(numbers(y.value()), [1.0, 0.0, 0.0, 1.0, -8.0, INF]);
    assert_same!(numbers(a.grad().unwrap()), [0.0, 1.0, 0.0, 0.0, 12.0, -INF]);
    assert_same!(numbers(b.grad().unwrap()), [0.0, 0.0, 0.0, 2.0_f64.ln(), NAN, -INF]);
    // ∂²/∂a∂b a^b = a^(b-1) (1 + b ln a): 1/a at b = 0, where the first derivative by a is 0.
    let (a, b) = (tape.leaf(2.0), tape.leaf(0.0));
    assert_eq!(a.pow(b).grad_wrt(a).grad_wrt(b).item(), 0.5);
    let (a, b) = (tape.leaf(0.0), tape.constant(2.0));
    assert_eq!(a.pow(b).grad_wrt(a).grad_wrt(a).item(), 2.0);
}

#[test]
fn minimum_of_equal_operands_gives_half_to_each_and_keeps_nan() {
    let tape = Tape::new();
    let (a, b) = (tape.leaf(array![1.0, 5.0, NAN]), tape.leaf(array![1.0, 4.0, 1.0]));
    let y = a.minimum(b);
    y.sum().backward();
    assert_same!(numbers(y.value()), [1.0, 4.0, NAN]);
    assert_same!(numbers(a.grad().unwrap()), [0.5, 0.0, 0.5]);
    assert_same!(numbers(b.grad().unwrap()), [0.5, 1.0, 0.5]);
}

#[test]
fn hypot_is_smooth_but_at_the_origin_and_neither_overflows_nor_vanishes() {
    let tape = Tape::new();
    let (a, b) = (tape.leaf(array![0.0, 3e200, 3e-200, INF, NAN]), tape.leaf(array![0.0, 4e200, 4e-200, NAN, 1.0]));
    let y = a.hypot(b);
    y.sum().backward();
    let relative = |found: f64, expected: f64| (found / expected - 1.0).abs() < 1e-15;
    assert!(relative(y.value()[[1]], 5e200) && relative(y.value()[[2]], 5e-200));
    assert_same!([y.value()[[0]], y.value()[[3]], y.value()[[4]]], [0.0, INF, NAN]);
    let (ga, gb) = (a.grad().unwrap(), b.grad().unwrap());
    assert_eq!((ga[[0]], gb[[0]]), (0.0, 0.0));
    assert!(relative(ga[[1]], 0.6) && relative(gb[[1]], 0.8) && relative(ga[[2]], 0.6) && relative(gb[[2]], 0.8));
    let (a, b) = (tape.leaf(0.0), tape.leaf(0.0));
    assert_eq!(a.hypot(b).grad_wrt(a).grad_wrt(a).item(), 0.0);
}

#[test]
fn atan2_knows_all_quadrants_and_the_axes() {
    let tape = Tape::new();
    let a = tape.leaf(array![0.0, 0.0, -0.0, 1e-300, 1.0]);
    let b = tape.leaf(array![1.0, -1.0, -1.0, 1e-300, INF]);
    let y = a.atan2(b);
    y.sum().backward();
    let pi = std::f64::consts::PI;
    assert_same!(numbers(y.value()), [0.0, pi, -pi, pi / 4.0, 0.0]);
    assert_eq!((a.grad().unwrap()[[0]], a.grad().unwrap()[[1]]), (1.0, -1.0));
    assert!((a.grad().unwrap()[[3]] / 5e299 - 1.0).abs() < 1e-15); // 1 / 2e-300
    let (a, b) = (tape.leaf(0.0), tape.leaf(0.0));
    a.atan2(b).backward();
    assert!(a.grad().unwrap().sum().is_nan() && b.grad().unwrap().sum().is_nan());
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
fn leaky_relu_and_elu_have_their_left_derivative_at_0() {
    assert_same!(at(&[-1.0, 0.0, 2.0], |x| x.leaky_relu(0.25)).1, [0.25, 0.25, 1.0]);
    assert_same!(at(&[0.0, 2.0, -INF, INF, 1000.0], |x| x.elu(0.5)).0, [0.0, 2.0, -0.5, INF, 1000.0]);
    assert_same!(at(&[0.0, 2.0, -INF, INF, 1000.0], |x| x.elu(0.5)).1, [0.5, 1.0, 0.0, 1.0, 1.0]);
    let tape = Tape::new();
    let x = tape.leaf(array![-(2.0_f64.ln()), 0.0, 1000.0]);
    let second = x.elu(2.0).sum().grad_wrt(x).sum().grad_wrt(x);
    assert_same!(numbers(second.value()), [1.0, 0.0, 0.0]); // alpha e^x, 0 at the kink and beyond
}

#[test]
fn far_arguments_neither_overflow_nor_lose_what_is_small() {
    let (ln2, tiny) = (2.0_f64.ln(), (-700.0_f64).exp());
    assert_same!(at(&[0.0, 1e4, -1e4, INF, -INF], |x| x.softplus()).0, [ln2, 1e4, 0.0, INF, 0.0]);
    assert_same!(at(&[0.0, 1e4, -1e4, INF, -INF], |x| x.softplus()).1, [0.5, 1.0, 0.0, 1.0, 0.0]);
    assert_same!(at(&[0.0, 1e4, -1e4, INF, -INF], |x| x.log_sigmoid()).0, [-ln2, 0.0, -1e4, 0.0, -INF]);
    assert_same!(at(&[0.0, 1e4, -1e4, INF, -INF], |x| x.log_sigmoid()).1, [0.5, 0.0, 1.0, 0.0, 1.0]);
    for (found, expected) in [
        (at(&[-700.0], |x| x.softplus()).0[0], tiny),
        (at(&[700.0], |x| x.log_sigmoid()).0[0], -tiny),
        (at(&[10.0], |x| x.erfc()).0[0], 2.088_487_583_762_545e-45),
        (at(&[1e-20], |x| x.ln_1p()).0[0], 1e-20),
        (at(&[1e-20], |x| x.exp_m1()).0[0], 1e-20),
        (at(&[-10.0], |x| x.gelu()).0[0], -7.619_853_024_160_527e-23),
    ] {
        assert!((found / expected - 1.0).abs() < 1e-13, "{found}, expected {expected}");
    }
    for f in [Unary::Gelu, Unary::GeluTanh, Unary::Silu] {
        assert_same!(at(&[1e3, -1e3, 0.0], |x| x.unary(f)).0, [1e3, 0.0, 0.0]);
        assert_same!(at(&[1e3, -1e3, 0.0], |x| x.unary(f)).1, [1.0, 0.0, 0.5]);
    }
}

#[test]
fn inverse_functions_are_those_of_ieee_at_the_ends_of_their_domain() {
    let half = std::f64::consts::FRAC_PI_2;
    assert_same!(at(&[1.0, -1.0, 1.5], |x| x.asin()).0, [half, -half, NAN]);
    assert_same!(at(&[1.0, -1.0, 1.5], |x| x.asin()).1, [INF, INF, NAN]);
    assert_same!(at(&[1.0, -1.0, 1.5], |x| x.acos()).1, [-INF, -INF, NAN]);
    assert_same!(at(&[INF, -INF], |x| x.atan()).0, [half, -half]);
    assert_same!(at(&[INF, -INF], |x| x.atan()).1, [0.0, 0.0]);
    assert_same!(at(&[1.0, 0.5], |x| x.acosh()).0, [0.0, NAN]);
    assert_same!(at(&[1.0, 0.5], |x| x.acosh()).1, [INF, NAN]);
    assert_same!(at(&[1.0, -1.0], |x| x.atanh()).0, [INF, -INF]);
    assert_same!(at(&[1.0, -1.0], |x| x.atanh()).1, [INF, INF]);
    assert_same!(at(&[0.0, -1.0], |x| x.log2()).0, [-INF, NAN]);
    assert_same!(at(&[-1.0, -2.0], |x| x.ln_1p()).0, [-INF, NAN]);
    assert_same!(at(&[0.0, 4.0], |x| x.rsqrt()).0, [INF, 0.5]);
    assert_same!(at(&[0.0, 4.0], |x| x.rsqrt()).1, [-INF, -0.0625]);
    assert_same!(at(&[0.0, -0.0], |x| x.recip()).0, [INF, -INF]);
    assert_same!(at(&[0.0, 2.0], |x| x.recip()).1, [-INF, -0.25]);
}

#[test]
fn a_product_is_exact_beside_zeros_at_any_order() {
    assert_same!(at(&[0.0, 2.0, 3.0], |x| x.prod()).1, [6.0, 0.0, 0.0]);
    assert_same!(at(&[0.0, 2.0, 0.0, 5.0], |x| x.prod()).1, [0.0, 0.0, 0.0, 0.0]);
    assert_same!(at(&[0.0, INF, 3.0], |x| x.prod()).1, [INF, 0.0, NAN]); // 3 ∞, 0 · 3, 0 · ∞
    assert_same!(at(&[7.0], |x| x.prod()).1, [1.0]);
    assert_same!(at(&[], |x| x.prod()).0, [1.0]);
    assert_same!(at(&[], |x| x.prod()).1, []);
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
fn a_norm_has_derivative_0_at_0_and_neither_overflows_nor_vanishes() {
    assert_same!(at(&[0.0, 0.0], |x| x.norm()).0, [0.0]);
    assert_same!(at(&[0.0, 0.0], |x| x.norm()).1, [0.0, 0.0]);
    assert_same!(at(&[], |x| x.norm()).0, [0.0]);
    assert_same!(at(&[3.0, NAN], |x| x.norm()).0, [NAN]);
    assert_same!(at(&[3.0, -INF], |x| x.norm()).0, [INF]);
    for scale in [1e-300, 1e-20, 1.0, 1e200] {
        let (y, g) = at(&[3.0 * scale, -4.0 * scale], |x| x.norm());
        assert!((y[0] / (5.0 * scale) - 1.0).abs() < 1e-15, "{scale}: {y:?}");
        assert!((g[0] - 0.6).abs() < 1e-15 && (g[1] + 0.8).abs() < 1e-15, "{scale}: {g:?}");
    }
    let tape = Tape::<f32>::new();
    let rows = tape.leaf(array![[3e-20_f32, 4e-20], [0.0, 0.0], [3.0, 4.0], [3e30, 4e30]]);
    let norms = rows.norm_axes([1], tapegrad::KeepDims::No);
    for (y, expected) in norms.value().iter().zip([5e-20_f32, 0.0, 5.0, 5e30]) {
        assert!((y - expected).abs() <= 1e-6 * expected, "{y}, expected {expected}");
    }
    // A penalty on the gradient of a norm, at 0 too: no order is NaN.
    let tape = Tape::new();
    let x = tape.leaf(array![0.0, 0.0]);
    assert_same!(numbers(x.norm().grad_wrt(x).square().sum().grad_wrt(x).value()), [0.0, 0.0]);
}

#[test]
fn logsumexp_takes_infinities() {
    assert_same!(at(&[-INF, 0.0, -INF], |x| x.logsumexp()).0, [0.0]);
    assert_same!(at(&[-INF, 0.0, -INF], |x| x.logsumexp()).1, [0.0, 1.0, 0.0]);
    assert_same!(at(&[-INF, -INF], |x| x.logsumexp()).0, [-INF]);
    assert_same!(at(&[-INF, -INF], |x| x.logsumexp()).1, [0.0, 0.0]);
    assert_same!(at(&[INF, 0.0, INF], |x| x.logsumexp()).0, [INF]);
    assert_same!(at(&[INF, 0.0, INF], |x| x.logsumexp()).1, [0.5, 0.0, 0.5]);
    assert_same!(at(&[], |x| x.logsumexp()).0, [-INF]);
    assert_same!(at(&[0.0, NAN], |x| x.logsumexp()).0, [NAN]);
    // At 1e10 the result is rounded to 2e-6: weights taken from it would be off by as much.
    let (y, g) = at(&[1e10, 1e10, 0.0], |x| x.logsumexp());
    assert_eq!((y[0], g), (1e10 + 2.0_f64.ln(), vec![0.5, 0.5, 0.0]));
    let tape = Tape::new();
    let x = tape.leaf(array![-INF, 0.0, 0.0]);
    let second = x.logsumexp().grad_wrt(x).slice(0, 1..2).sum().grad_wrt(x);
    assert_same!(numbers(second.value()), [0.0, 0.25, -0.25]);
}

#[test]
fn ties_in_min_share_evenly_and_nan_stays() {
    assert_same!(at(&[3.0, 1.0, 1.0], |x| x.min()).1, [0.0, 0.5, 0.5]);
    assert_same!(at(&[3.0, NAN, 1.0], |x| x.min()).0, [NAN]);
    assert_same!(at(&[INF, INF], |x| x.min()).0, [INF]);
}

#[test]
fn variance_of_equal_elements_and_without_degrees_of_freedom() {
    assert_same!(at(&[2.0, 2.0], |x| x.var(1)).1, [0.0, 0.0]);
    assert_same!(at(&[2.0, 2.0], |x| x.std(1)).0, [0.0]);
    assert_same!(at(&[2.0, 2.0], |x| x.std(1)).1, [0.0, 0.0]);
    assert_same!(at(&[2.0], |x| x.var(1)).0, [NAN]); // 0 / 0, as in NumPy
    assert_same!(at(&[2.0], |x| x.std(1)).0, [NAN]);
    assert_same!(at(&[1e200, -1e200], |x| x.std(0)).0, [1e200]);
    // Far from 0: the mean is subtracted before anything is squared.
    assert_same!(at(&[1e9, 1e9 + 1.0, 1e9 + 2.0], |x| x.var(1)).0, [1.0]);
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
#[should_panic(expected = "min: (0,): the minimum over no elements does not exist")]
fn the_minimum_of_nothing_panics() {
    let tape = Tape::new();
    let _ = tape.leaf(ndarray::Array1::<f64>::zeros(0)).min();
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
