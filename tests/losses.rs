//! The losses at their edges, and against those that are derived by hand.

use ndarray::{Array2, ArrayViewD, array};
use num_traits::Float;
use tapegrad::Reduction::{BatchMean, Mean, OutputMean, Sum};
use tapegrad::nn::{CrossEntropy, Hinge, Loss, Mse, Perceptron, SoftmaxCrossEntropy};
use tapegrad::{Scalar, Tape};

const NAN: f64 = f64::NAN;
const INF: f64 = f64::INFINITY;

fn numbers(array: ArrayViewD<'_, f64>) -> Vec<f64> {
    array.iter().copied().collect()
}

/// Predictions and distributions of some rows.
fn batch<T: Scalar>() -> (Array2<T>, Array2<T>) {
    let scores = Array2::from_shape_fn((5, 4), |(i, j)| T::from_f64(((i * 7 + j * 3) as f64 * 1.3).sin() * 3.0));
    let mut y = Array2::from_shape_fn((5, 4), |(i, j)| T::from_f64(((i + 2 * j) as f64 * 0.9).cos().abs() + 0.1));
    for mut row in y.rows_mut() {
        let sum = row.sum();
        row.mapv_inplace(|y| y / sum);
    }
    (scores, y)
}

fn assert_near<T: Scalar + Float>(found: impl IntoIterator<Item = T>, expected: impl IntoIterator<Item = T>) {
    for (found, expected) in found.into_iter().zip(expected) {
        let bound = T::from_f64(10.0) * T::EPSILON * (T::ONE + expected.abs());
        assert!((found - expected).abs() <= bound, "{found}, expected {expected}");
    }
}

fn the_losses_by_hand_agree<T: Scalar + Float>() {
    let (scores, y) = batch::<T>();
    let tape = Tape::new();
    let (x, t) = (tape.leaf(&scores), tape.constant(&y));
    let labels = [3, 0, 1, 1, 2];
    // By hand: the gradient of a mean over the rows.
    let mut softmax_cross_entropy = SoftmaxCrossEntropy::new();
    let of_labels = (
        softmax_cross_entropy.forward_labels(&labels, &scores),
        softmax_cross_entropy.backward_labels(&labels, &scores).clone(),
    );
    let of_distribution =
        (softmax_cross_entropy.forward(&y, &scores), softmax_cross_entropy.backward(&y, &scores).clone());
    let mut mse = Mse::new();
    let of_mse = (mse.forward(&y, &scores), mse.backward(&y, &scores).clone());
    for (loss, (value, grad)) in [
        (x.cross_entropy_labels(&labels, Mean), &of_labels),
        (x.log_softmax(-1).nll_loss(&labels, Mean), &of_labels),
        (x.cross_entropy(t, Mean), &of_distribution),
        (x.mse_loss(t, Mean), &of_mse),
    ] {
        tape.zero_grad();
        loss.backward();
        assert_near([loss.item()], [*value]);
        assert_near(x.grad().unwrap().iter().copied(), grad.iter().copied());
    }
    // On probabilities the course's loss without its 1e-16 is the binary cross-entropy.
    let p = scores.mapv(|x| T::ONE / (T::ONE + (-x).exp()));
    let mut cross_entropy = CrossEntropy::new();
    let (value, grad) = (cross_entropy.forward(&y, &p), cross_entropy.backward(&y, &p).clone());
    let p = tape.leaf(&p);
    let loss = p.binary_cross_entropy(t, Sum) / T::from_f64(5.0);
    loss.backward();
    assert_near([loss.item()], [value]);
    assert_near(p.grad().unwrap().iter().copied(), grad.iter().copied());
    let of_scores = x.binary_cross_entropy_with_logits(t, Sum) / T::from_f64(5.0);
    assert_near([of_scores.item()], [value]);
    // The same behind a softmax.
    let softmax = x.softmax(-1);
    let value = cross_entropy.forward(&y, &softmax.value().into_dimensionality().expect("a matrix").to_owned());
    assert_near([x.course_cross_entropy(t, BatchMean).item()], [value]);
}

#[test]
fn the_losses_by_hand_agree_in_both_number_types() {
    the_losses_by_hand_agree::<f64>();
    the_losses_by_hand_agree::<f32>();
}

#[test]
fn predictions_may_be_views() {
    let tape = Tape::new();
    let (scores, y) = batch::<f64>();
    let (x, t) = (tape.leaf(&scores), tape.constant(&y));
    let (turned, turned_t) = (tape.leaf(scores.t()).transpose(), tape.constant(y.t()).transpose());
    for (a, b) in [
        (x.mse_loss(t, Mean), turned.mse_loss(turned_t, Mean)),
        (x.l1_loss(t, Mean), turned.l1_loss(turned_t, Mean)),
        (x.huber_loss(t, 0.5, Sum), turned.huber_loss(turned_t, 0.5, Sum)),
        (x.cross_entropy(t, Mean), turned.cross_entropy(turned_t, Mean)),
        (x.cross_entropy_labels(&[0, 1, 2, 3, 0], Mean), turned.cross_entropy_labels(&[0, 1, 2, 3, 0], Mean)),
        (x.nll_loss(&[0, 1, 2, 3, 0], Mean), turned.nll_loss(&[0, 1, 2, 3, 0], Mean)),
        (x.hinge_loss(t, Sum), turned.hinge_loss(turned_t, Sum)),
        (x.perceptron_loss(t, Sum), turned.perceptron_loss(turned_t, Sum)),
        (x.kl_div(t, Sum), turned.kl_div(turned_t, Sum)),
        (x.course_cross_entropy(t, Sum), turned.course_cross_entropy(turned_t, Sum)),
    ] {
        assert_eq!(a.item().to_bits(), b.item().to_bits());
    }
}

#[test]
fn the_mean_is_of_elements_or_of_rows() {
    let tape = Tape::new();
    let (scores, y) = batch::<f64>();
    let (x, t) = (tape.constant(&scores), tape.constant(&y));
    let labels = [3, 0, 1, 1, 2];
    for (sum, mean, count) in [
        (x.mse_loss(t, Sum), x.mse_loss(t, Mean), 20.0),
        (x.l1_loss(t, Sum), x.l1_loss(t, Mean), 20.0),
        (x.huber_loss(t, 1.0, Sum), x.huber_loss(t, 1.0, Mean), 20.0),
        (x.hinge_loss(t, Sum), x.hinge_loss(t, Mean), 20.0),
        (x.perceptron_loss(t, Sum), x.perceptron_loss(t, Mean), 20.0),
        (x.kl_div(t, Sum), x.kl_div(t, Mean), 20.0),
        (x.binary_cross_entropy_with_logits(t, Sum), x.binary_cross_entropy_with_logits(t, Mean), 20.0),
        (x.cross_entropy(t, Sum), x.cross_entropy(t, Mean), 5.0),
        (x.cross_entropy_labels(&labels, Sum), x.cross_entropy_labels(&labels, Mean), 5.0),
        (x.nll_loss(&labels, Sum), x.nll_loss(&labels, Mean), 5.0),
        (x.course_cross_entropy(t, Sum), x.course_cross_entropy(t, Mean), 20.0),
    ] {
        assert!((mean.item() * count - sum.item()).abs() <= 1e-14 * sum.item().abs());
    }
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
fn losses_take_what_is_certain_and_what_is_impossible() {
    let tape = Tape::new();
    // Probabilities of exactly 0 and 1: right, the loss and its slope are finite; wrong, they are infinite.
    let (p, t) = (tape.leaf(array![0.0, 1.0, 1.0, 0.0]), tape.constant(array![0.0, 1.0, 0.0, 1.0]));
    let right = p.slice(0, ..2).binary_cross_entropy(t.slice(0, ..2), Sum);
    right.backward();
    assert_eq!(right.item(), 0.0);
    assert_same!(numbers(p.grad().unwrap()), [1.0, -1.0, 0.0, 0.0]);
    assert_same!(numbers(right.grad_wrt(p).slice(0, ..2).sum().grad_wrt(p).value()), [1.0, 1.0, 0.0, 0.0]);
    tape.zero_grad();
    let wrong = p.binary_cross_entropy(t, Sum);
    wrong.backward();
    assert_eq!(wrong.item(), INF);
    assert_same!(numbers(p.grad().unwrap()), [1.0, -1.0, INF, -INF]);
    // Scores of any size, infinite ones too.
    let (x, t) = (tape.leaf(array![INF, -INF, 1e4, -1e4, 1e4]), tape.constant(array![1.0, 0.0, 1.0, 0.0, 0.0]));
    let loss = x.binary_cross_entropy_with_logits(t, Sum);
    loss.backward();
    assert_eq!(loss.item(), 1e4);
    assert_same!(numbers(x.grad().unwrap()), [0.0, 0.0, 0.0, 0.0, 1.0]);
    // Classes ruled out.
    let x = tape.leaf(array![[3.0, -INF, 3.0]]);
    for loss in [
        x.cross_entropy_labels(&[0], Mean),
        x.cross_entropy(tape.constant(array![[1.0, 0.0, 0.0]]), Mean),
        x.log_softmax(-1).nll_loss(&[0], Sum),
        x.log_softmax(-1).kl_div(tape.constant(array![[1.0, 0.0, 0.0]]), Sum),
    ] {
        tape.zero_grad();
        loss.backward();
        assert!((loss.item() - 2.0_f64.ln()).abs() < 1e-15);
        assert_same!(numbers(x.grad().unwrap()), [-0.5, 0.0, 0.5]);
    }
    assert_eq!(x.cross_entropy_labels(&[1], Sum).item(), INF);
    let far = tape.leaf(array![[1000.0, 0.0], [1000.0, 0.0]]);
    let loss = far.cross_entropy_labels(&[0, 1], Sum);
    loss.backward();
    assert_eq!(loss.item(), 1000.0);
    assert_same!(numbers(far.grad().unwrap()), [0.0, 0.0, 1.0, -1.0]);
    // The course's loss stays finite where a probability is 0.
    let loss = far.course_cross_entropy(tape.constant(array![[0.0, 1.0], [1.0, 0.0]]), BatchMean);
    assert!((loss.item() + 1e-16_f64.ln()).abs() < 1e-12);
}

#[test]
fn losses_have_derivative_0_at_their_kinks() {
    let tape = Tape::new();
    let (x, t) = (tape.leaf(array![1.0, 0.0]), tape.constant(array![1.0, 1.0]));
    x.slice(0, ..1).hinge_loss(t.slice(0, ..1), Sum).backward();
    x.slice(0, 1..).perceptron_loss(t.slice(0, 1..), Sum).backward();
    x.slice(0, ..1).l1_loss(t.slice(0, ..1), Sum).backward();
    assert_same!(numbers(x.grad().unwrap()), [0.0, 0.0]);
    // A Huber loss is smooth at delta, where the slope is delta.
    let x = tape.leaf(array![-2.0, 2.0, -7.0, 1e200]);
    let loss = x.huber_loss(tape.constant(array![0.0, 0.0, 0.0, 0.0]), 2.0, Sum);
    loss.backward();
    assert_eq!(loss.item(), 2.0 + 2.0 + 12.0 + 2e200);
    assert_same!(numbers(x.grad().unwrap()), [-2.0, 2.0, -2.0, 2.0]);
}

#[test]
fn a_nan_in_a_prediction_shows_in_every_loss() {
    let tape = Tape::new();
    let (x, zero) = (tape.leaf(array![[NAN, 0.5]]), tape.constant(array![[0.0, 1.0]]));
    for loss in [
        x.mse_loss(zero, Mean),
        x.l1_loss(zero, Mean),
        x.huber_loss(zero, 1.0, Mean),
        x.cross_entropy(zero, Mean),
        x.cross_entropy_labels(&[1], Mean),
        x.binary_cross_entropy(zero, Mean),
        x.binary_cross_entropy_with_logits(zero, Mean),
        x.hinge_loss(zero, Mean),
        x.perceptron_loss(zero, Mean),
        x.kl_div(zero, Mean),
        x.course_cross_entropy(zero, Mean),
    ] {
        assert!(loss.item().is_nan(), "{loss:?}");
    }
}

#[test]
fn a_loss_of_nothing_is_0_and_its_mean_is_nan() {
    let tape = Tape::new();
    let x = tape.leaf(Array2::<f64>::zeros((0, 3)));
    assert_eq!(x.mse_loss(x, Sum).item(), 0.0);
    assert_eq!(x.cross_entropy(x, Sum).item(), 0.0);
    x.cross_entropy_labels(&[], Sum).backward();
    assert!(x.cross_entropy_labels(&[], Mean).item().is_nan() && x.mse_loss(x, Mean).item().is_nan());
}

#[test]
#[should_panic(expected = "mse_loss: (3, 1) x (3,): prediction and target have different shapes")]
fn a_target_of_another_shape_is_not_broadcast() {
    let tape = Tape::new();
    let (x, t) = (tape.leaf(array![[1.0], [2.0], [3.0]]), tape.constant(array![1.0, 2.0, 3.0]));
    let _ = x.mse_loss(t, Mean);
}

#[test]
#[should_panic(expected = "cross_entropy_labels: (2, 3): index 3 at position 1 is out of range for axis 1 of length 3")]
fn a_label_out_of_range_panics() {
    let tape = Tape::new();
    let _ = tape.leaf(Array2::<f64>::zeros((2, 3))).cross_entropy_labels(&[0, 3], Mean);
}

#[test]
#[should_panic(expected = "nll_loss: (2, 3): 3 labels are given for 2 rows")]
fn too_many_labels_panic() {
    let tape = Tape::new();
    let _ = tape.leaf(Array2::<f64>::zeros((2, 3))).nll_loss(&[0, 1, 2], Mean);
}

#[test]
fn the_losses_of_the_course_agree_by_hand_in_every_reduction() {
    let tape = Tape::<f64>::new();
    let (scores, y) = batch::<f64>();
    let x = tape.leaf(&scores);
    let softmax = x.softmax(-1).value().into_dimensionality().expect("a matrix").to_owned();
    for reduction in [Mean, BatchMean, OutputMean, Sum] {
        let value = CrossEntropy::new().with_reduction(reduction).forward(&y, &softmax);
        assert_near([x.course_cross_entropy(tape.constant(&y), reduction).item()], [value]);
    }
}

#[test]
fn an_infinite_target_on_the_right_side_costs_nothing_by_hand_and_by_tape() {
    let tape = Tape::new();
    let (yhat, y) = (array![[2.0, -3.0, 0.5]], array![[INF, -INF, 1.0]]);
    let (mut hinge, mut perceptron) = (Hinge::new(), Perceptron::new());
    for (loss, expected) in
        [(&mut hinge as &mut dyn Loss<f64>, [0.0, 0.0, -1.0 / 3.0]), (&mut perceptron, [0.0, 0.0, 0.0])]
    {
        let x = tape.leaf(&yhat);
        let recorded = loss.record(&y, x);
        recorded.backward();
        assert_eq!(recorded.item(), loss.forward(&y, &yhat));
        assert_same!(numbers(x.grad().unwrap()), expected);
        assert_same!(numbers(loss.backward(&y, &yhat).view().into_dyn()), expected);
    }
}

#[test]
fn an_infinite_cotangent_leaves_no_trace_where_prediction_and_target_are_equal() {
    let tape = Tape::new();
    let (x, t) = (tape.leaf(array![1.0, 2.0]), tape.leaf(array![1.0, 0.0]));
    x.l1_loss(t, Sum).backward_with(ndarray::arr0(INF));
    assert_same!(numbers(x.grad().unwrap()), [0.0, INF]);
    assert_same!(numbers(t.grad().unwrap()), [0.0, -INF]);
    let recorded = (x.l1_loss(t, Sum) - 2.0).sqrt(); // at 0: its slope is infinite
    assert_same!(numbers(recorded.grad_wrt(x).value()), [0.0, INF]);
}
