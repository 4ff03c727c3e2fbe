//! The promises at the edges, one test for each.

use ndarray::{ArrayD, array};
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
        (array![1.0, 1.0].into_dyn(), array![1.0, 1.0].into_dyn())
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
