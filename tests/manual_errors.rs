//! The messages for mistakes in the calling code, and that they name the caller's line.

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use ndarray::{Array2, array};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tapegrad::nn::{CrossEntropy, Linear, Loss, Module, Mse, Sequential, Sigmoid, Softmax, SoftmaxCrossEntropy, Tanh};
use tapegrad::optim::{Adagrad, Adam, AdamW, Optimizer, RmsProp, Schedule, Sgd};
use tapegrad::{Param, Tape};

thread_local! {
    static LAST: RefCell<Option<(String, String)>> = const { RefCell::new(None) };
}

/// Asserts that the code panics with this message at a line of this file.
#[track_caller]
fn assert_panics<R>(expected: &str, code: impl FnOnce() -> R) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        panic::set_hook(Box::new(|info| {
            let payload = info.payload();
            let message = payload.downcast_ref::<String>().cloned();
            let message =
                message.or_else(|| payload.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default();
            let file = info.location().map(|location| location.file().to_string()).unwrap_or_default();
            eprintln!("{file}: {message}");
            LAST.set(Some((message, file)));
        }));
    });
    let result = panic::catch_unwind(AssertUnwindSafe(|| drop(code())));
    assert!(result.is_err(), "no panic, expected: {expected}");
    let (message, file) = LAST.take().expect("the hook ran");
    assert_eq!(message, expected);
    assert_eq!(file, file!(), "{message}");
}

fn zeros(rows: usize, columns: usize) -> Array2<f64> {
    Array2::zeros((rows, columns))
}

fn linear(inputs: usize, outputs: usize) -> Linear<f64> {
    Linear::new(inputs, outputs, &mut StdRng::seed_from_u64(0))
}

fn network() -> Sequential<f64> {
    Sequential::new().push(linear(784, 100)).push(Tanh::new()).push(linear(100, 3))
}

#[test]
fn a_wrong_width_names_the_layer() {
    assert_panics("Linear 4 -> 3: expected an input of width 4, found 5", || linear(4, 3).forward(&zeros(2, 5)).sum());
    assert_panics("in layer 0 (Linear 784 -> 100): expected an input of width 784, found 100", || {
        network().forward(&zeros(2, 100)).sum()
    });
    let mut wrong = Sequential::new().push(linear(784, 784)).push(Tanh::new()).push(linear(100, 3));
    assert_panics("in layer 2 (Linear 100 -> 3): expected an input of width 100, found 784", || {
        wrong.forward(&zeros(2, 784)).sum()
    });
    let mut nested = Sequential::new().push(linear(5, 784)).push(network()).push(linear(4, 3));
    assert_panics("in layer 2 (Linear 4 -> 3): expected an input of width 4, found 3", || {
        nested.forward(&zeros(2, 5)).sum()
    });
    let mut nested = Sequential::new().push(linear(5, 6)).push(network());
    assert_panics(
        "in layer 1 (Sequential of 3 layers): in layer 0 (Linear 784 -> 100): expected an input of width 784, found 6",
        || nested.forward(&zeros(2, 5)).sum(),
    );
}

#[test]
fn a_wrong_width_is_found_when_recording() {
    let tape = Tape::new();
    let x = tape.constant(zeros(2, 5));
    assert_panics("Linear 4 -> 3: expected an input of width 4, found 5", || linear(4, 3).record(&tape, x));
    assert_panics("in layer 0 (Linear 784 -> 100): expected an input of width 784, found 5", || {
        network().record(&tape, x)
    });
    let row = tape.constant(array![1.0, 2.0]);
    assert_panics("Linear 4 -> 3: expected an input of shape (batch, width), found (2,)", || {
        linear(4, 3).record(&tape, row)
    });
    assert_panics("Sequential of 3 layers: expected an input of shape (batch, width), found (2,)", || {
        network().record(&tape, row)
    });
}

#[test]
fn backward_before_forward_names_the_layer() {
    let (x, delta) = (zeros(2, 4), zeros(2, 3));
    let message = "Linear 4 -> 3: backward before forward";
    assert_panics(message, || linear(4, 3).backward_update_gradient(&x, &delta));
    assert_panics(message, || linear(4, 3).backward_delta(&x, &delta).sum());
    assert_panics(message, || linear(4, 3).backward(&x, &delta).sum());
    assert_panics("Tanh: backward before forward", || Tanh::new().backward_delta(&x, &x).sum());
    assert_panics("Tanh: backward before forward", || Tanh::new().backward_update_gradient(&x, &x));
    assert_panics("Softmax: backward before forward", || Softmax::new().backward_delta(&x, &x).sum());
    let message = "in layer 2 (Linear 100 -> 3): backward before forward";
    let x = zeros(2, 784);
    assert_panics(message, || network().backward_update_gradient(&x, &delta));
    assert_panics(message, || network().backward_delta(&x, &delta).sum());
    assert_panics(message, || network().backward(&x, &delta).sum());
    assert_panics("Sequential of 0 layers: backward before forward", || Sequential::new().backward(&x, &x).sum());
}

#[test]
fn a_delta_of_another_shape_than_the_output_is_refused() {
    let mut layer = linear(4, 3);
    let x = zeros(2, 4);
    layer.forward(&x);
    let message = "Linear 4 -> 3: expected a delta of the output's shape (2, 3), found (2, 4)";
    assert_panics(message, || layer.backward_update_gradient(&x, &zeros(2, 4)));
    assert_panics(message, || layer.backward_delta(&x, &zeros(2, 4)).sum());
    assert!(layer.weight().grad().is_none(), "nothing was added before the check");
    let mut layer = Sigmoid::new();
    layer.forward(&x);
    assert_panics("Sigmoid: expected a delta of the output's shape (2, 4), found (3, 4)", || {
        layer.backward_delta(&x, &zeros(3, 4)).sum()
    });
    let (mut net, x) = (network(), zeros(2, 784));
    net.forward(&x);
    let message = "in layer 2 (Linear 100 -> 3): expected a delta of the output's shape (2, 3), found (1, 3)";
    assert_panics(message, || net.backward_update_gradient(&x, &zeros(1, 3)));
    assert_panics(message, || net.backward_delta(&x, &zeros(1, 3)).sum());
    assert!(net.gradient().iter().all(Option::is_none));
}

#[test]
fn another_input_than_that_of_the_forward_pass_is_refused() {
    let mut layer = linear(4, 3);
    layer.forward(&zeros(2, 4));
    assert_panics("Linear 4 -> 3: backward on a batch of 5 after forward on a batch of 2", || {
        layer.backward_update_gradient(&zeros(5, 4), &zeros(5, 3));
    });
    assert_panics("Linear 4 -> 3: expected an input of width 4, found 6", || {
        layer.backward_delta(&zeros(2, 6), &zeros(2, 3)).sum()
    });
    let mut layer = Tanh::new();
    layer.forward(&zeros(2, 4));
    assert_panics("Tanh: an input of width 5 is not the forward pass's, which gave a width of 4", || {
        layer.backward_delta(&zeros(2, 5), &zeros(2, 4)).sum()
    });
    let mut net = network();
    net.forward(&zeros(2, 784));
    let message = "in layer 0 (Linear 784 -> 100): backward on a batch of 5 after forward on a batch of 2";
    assert_panics(message, || net.backward(&zeros(5, 784), &zeros(2, 3)).sum());
    assert!(net.gradient().iter().all(Option::is_none), "nothing was added before the check");
}

#[test]
fn parameters_that_do_not_fit_a_layer_are_refused() {
    let vector = Param::new(array![1.0, 2.0]);
    let matrix = Param::new(array![[1.0, 2.0]]);
    assert_panics("Linear: expected a weight of shape (in, out), found (2,)", || {
        Linear::from_params(vector.clone(), None)
    });
    assert_panics("Linear: expected a weight of shape (in, out), found (0, 2)", || {
        Linear::from_params(Param::new(zeros(0, 2)), None)
    });
    assert_panics("Linear 1 -> 2: expected a bias of shape (2,), found (1, 2)", || {
        Linear::from_params(matrix.clone(), Some(matrix.clone()))
    });
    assert_panics("Linear 0 -> 3: expected at least one input and one output", || linear(0, 3));
    assert_panics("Linear 3 -> 0: expected at least one input and one output", || linear(3, 0));
}

#[test]
fn targets_of_another_shape_are_refused() {
    let (y, yhat, tape) = (zeros(4, 3), zeros(4, 2), Tape::new());
    let losses: [(&str, Box<dyn Loss<f64>>); 3] = [
        ("Mse", Box::new(Mse::new())),
        ("CrossEntropy", Box::new(CrossEntropy::new())),
        ("SoftmaxCrossEntropy", Box::new(SoftmaxCrossEntropy::new())),
    ];
    for (name, loss) in losses {
        let message = format!("{name}: targets of shape (4, 3) for outputs of shape (4, 2)");
        assert_panics_anywhere(&message, loss, &y, &yhat, &tape);
    }
    // At the caller's line, if the loss is not a trait object.
    let message = "Mse: targets of shape (4, 3) for outputs of shape (4, 2)";
    assert_panics(message, || Mse::new().forward(&y, &yhat));
    assert_panics(message, || Mse::new().backward(&y, &yhat).sum());
    assert_panics(message, || Mse::new().record(&y, tape.leaf(&yhat)));
    let message = "SoftmaxCrossEntropy: targets of shape (4, 3) for outputs of shape (4, 2)";
    assert_panics(message, || SoftmaxCrossEntropy::new().forward(&y, &yhat));
    assert_panics(message, || SoftmaxCrossEntropy::new().backward(&y, &yhat).sum());
    assert_panics(message, || SoftmaxCrossEntropy::new().record(&y, tape.leaf(&yhat)));
    let message = "CrossEntropy: targets of shape (4, 3) for outputs of shape (4, 2)";
    assert_panics(message, || CrossEntropy::new().forward(&y, &yhat));
    assert_panics(message, || CrossEntropy::new().backward(&y, &yhat).sum());
    assert_panics(message, || CrossEntropy::new().record(&y, tape.leaf(&yhat)));
}

/// Asserts the message of a trait object, which does not name the caller's line.
fn assert_panics_anywhere(
    expected: &str,
    mut loss: Box<dyn Loss<f64>>,
    y: &Array2<f64>,
    yhat: &Array2<f64>,
    tape: &Tape<f64>,
) {
    let message = |code: &mut dyn FnMut()| {
        let error = panic::catch_unwind(AssertUnwindSafe(code)).expect_err(expected);
        error.downcast_ref::<String>().cloned().unwrap_or_default()
    };
    assert_eq!(message(&mut || _ = loss.forward(y, yhat)), expected);
    assert_eq!(message(&mut || _ = loss.backward(y, yhat).sum()), expected);
    assert_eq!(message(&mut || _ = loss.record(y, tape.leaf(yhat))), expected);
}

#[test]
fn labels_out_of_range_are_refused() {
    let (mut loss, yhat, tape) = (SoftmaxCrossEntropy::new(), zeros(4, 3), Tape::new());
    let message = "SoftmaxCrossEntropy: label 7 of row 3 is out of range for 3 classes";
    let labels = [0, 1, 2, 7];
    assert_panics(message, || loss.forward_labels(&labels, &yhat));
    assert_panics(message, || loss.backward_labels(&labels, &yhat).sum());
    assert_panics(message, || loss.record_labels(&labels, tape.leaf(&yhat)));
    let message = "SoftmaxCrossEntropy: 3 labels for 4 rows of scores";
    assert_panics(message, || loss.forward_labels(&[0, 1, 2], &yhat));
    assert_panics(message, || loss.backward_labels(&[0, 1, 2], &yhat).sum());
    assert_panics(message, || loss.record_labels(&[0, 1, 2], tape.leaf(&yhat)));
    assert_panics("SoftmaxCrossEntropy: expected scores of shape (batch, classes), found (2,)", || {
        loss.record_labels(&[0], tape.leaf(array![1.0, 2.0]))
    });
}

#[test]
fn invalid_settings_of_sgd_are_refused() {
    let w = Param::new(array![1.0]);
    for (value, shown) in [(-1.0, "-1"), (f64::NAN, "NaN"), (f64::INFINITY, "inf")] {
        let message = format!("Sgd: a learning rate of {shown} is not a finite number of at least 0");
        assert_panics(&message, || Sgd::new([&w], value));
        assert_panics(&message, || Sgd::new([&w], 0.1).set_learning_rate(value));
        let message = format!("Sgd: a momentum of {shown} is not a finite number of at least 0");
        assert_panics(&message, || Sgd::new([&w], 0.1).with_momentum(value));
    }
}

#[test]
fn invalid_settings_of_optimizers_are_refused() {
    let w = Param::new(array![1.0]);
    let message = |what: &str| format!("{what} of -1 is not a finite number of at least 0");
    assert_panics(&message("Sgd: a weight decay"), || Sgd::new([&w], 0.1).with_weight_decay(-1.0));
    assert_panics("Sgd: a dampening of NaN is not a finite number", || Sgd::new([&w], 0.1).with_dampening(f64::NAN));
    let nesterov = |momentum, dampening| {
        format!(
            "Sgd: Nesterov's rule needs a momentum greater than 0, given before it, and no dampening; \
             found momentum {momentum}, dampening {dampening}"
        )
    };
    assert_panics(&nesterov(0.0, 0.0), || Sgd::new([&w], 0.1).with_nesterov());
    let sgd = || Sgd::new([&w], 0.1).with_momentum(0.5);
    assert_panics(&nesterov(0.5, 0.25), || sgd().with_dampening(0.25).with_nesterov());
    assert_panics(&nesterov(0.5, 0.25), || sgd().with_nesterov().with_dampening(0.25));
    assert_panics(&nesterov(0.0, 0.0), || sgd().with_nesterov().with_momentum(0.0));

    assert_panics(&message("Adam: a learning rate"), || Adam::new([&w], -1.0));
    assert_panics(&message("AdamW: a learning rate"), || AdamW::new([&w], 0.1).set_learning_rate(-1.0));
    assert_panics(&message("Adam: an eps"), || Adam::new([&w], 0.1).with_eps(-1.0));
    assert_panics(&message("AdamW: a weight decay"), || AdamW::new([&w], 0.1).with_weight_decay(-1.0));
    assert_panics("Adam: a beta1 of 1 is not from 0 to below 1", || Adam::new([&w], 0.1).with_betas(1.0, 0.9));
    assert_panics("Adam: a beta2 of -1 is not from 0 to below 1", || Adam::new([&w], 0.1).with_betas(0.9, -1.0));

    assert_panics(&message("RmsProp: a momentum"), || RmsProp::new([&w], 0.1).with_momentum(-1.0));
    assert_panics(&message("RmsProp: an eps"), || RmsProp::new([&w], 0.1).with_eps(-1.0));
    assert_panics("RmsProp: an alpha of NaN is not from 0 to below 1", || RmsProp::new([&w], 0.1).with_alpha(f64::NAN));
    assert_panics(&message("Adagrad: an eps"), || Adagrad::new([&w], 0.1).with_eps(-1.0));
    assert_panics(&message("Adagrad: a learning rate decay"), || {
        Adagrad::new([&w], 0.1).with_learning_rate_decay(-1.0)
    });
    assert_panics(&message("Adagrad: an initial accumulator"), || {
        Adagrad::new([&w], 0.1).with_initial_accumulator(-1.0)
    });
}

#[test]
fn invalid_settings_of_schedules_are_refused() {
    let message = |what: &str| format!("Schedule: {what} of -1 is not a finite number of at least 0");
    assert_panics(&message("a learning rate"), || Schedule::exponential(-1.0, 0.5));
    assert_panics(&message("a gamma"), || Schedule::exponential(0.1, -1.0));
    assert_panics(&message("a gamma"), || Schedule::step(0.1, 2, -1.0));
    assert_panics(&message("a gamma"), || Schedule::multi_step(0.1, [2], -1.0));
    assert_panics(&message("a minimum"), || Schedule::cosine(0.1, 2, -1.0));
    assert_panics(&message("a start factor"), || Schedule::linear(0.1, -1.0, 1.0, 2));
    assert_panics(&message("an end factor"), || Schedule::linear(0.1, 1.0, -1.0, 2));
    assert_panics(&message("a start factor"), || Schedule::exponential(0.1, 0.5).with_warm_up(2, -1.0));
    let message = |what: &str| format!("Schedule: {what} of 0 steps; expected at least 1");
    assert_panics(&message("a step size"), || Schedule::step(0.1, 0, 0.5));
    assert_panics(&message("a half period"), || Schedule::cosine(0.1, 0, 0.0));
    assert_panics(&message("a length"), || Schedule::linear(0.1, 0.5, 1.0, 0));
    assert_panics(&message("a warm-up"), || Schedule::exponential(0.1, 0.5).with_warm_up(0, 0.5));
    let w = Param::new(array![1.0]);
    assert_panics("Sgd: a learning rate of -1 is not a finite number of at least 0", || {
        Schedule::function(0.5, |_| -2.0).apply(0, &mut Sgd::new([&w], 0.1));
    });
}
