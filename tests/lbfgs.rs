//! L-BFGS: PyTorch's trajectories (`optim.py`), and what it converges to.

use ndarray::{Array1, Array2, array};
use serde_json::Value;
use tapegrad::data::{load_data, one_hot};
use tapegrad::nn::{Linear, Loss, Module, SoftmaxCrossEntropy};
use tapegrad::optim::{Lbfgs, Stateful};
use tapegrad::{Param, Scalar, Tape};

/// Returns the loss of Rosenbrock's valley, and adds its gradient: `(1 - x)² + 100 (y - x²)²`.
fn rosenbrock<T: Scalar>(x: &Param<T>, y: &Param<T>) -> T {
    let (t, a, b) = (T::from_f64, x.value()[[0]], y.value()[[0]]);
    let rise = b - a * a;
    x.accumulate_grad(&array![t(-2.0) * (T::ONE - a) - t(400.0) * a * rise].into_dyn());
    y.accumulate_grad(&array![t(200.0) * rise].into_dyn());
    (T::ONE - a) * (T::ONE - a) + t(100.0) * rise * rise
}

/// A layer, and what it learns from.
struct OneLayer {
    layer: Linear<f64>,
    loss: SoftmaxCrossEntropy<f64>,
    x: Array2<f64>,
    y: Array2<f64>,
}

impl OneLayer {
    fn new(x: Array2<f64>, labels: &[usize], classes: usize) -> Self {
        let weight = Param::new(Array2::zeros((x.ncols(), classes)));
        let layer = Linear::from_params(weight, Some(Param::new(Array1::zeros(classes))));
        Self { layer, loss: SoftmaxCrossEntropy::new(), y: one_hot(labels, classes).unwrap(), x }
    }

    fn evaluate(&mut self) -> f64 {
        let yhat = self.layer.forward(&self.x);
        let loss = self.loss.forward(&self.y, yhat);
        let delta = self.loss.backward(&self.y, yhat);
        self.layer.backward_update_gradient(&self.x, delta);
        loss
    }
}

/// Returns the norm of all gradients.
fn norm(parameters: &[Param<f64>]) -> f64 {
    let squares = parameters.iter().map(|parameter| parameter.grad().unwrap().mapv(|g| g * g).sum());
    squares.sum::<f64>().sqrt()
}

/// Compares a run with that of this name in `optim.json`. `step` returns the loss before it.
fn assert_as_pytorch(name: &str, parameters: &[Param<f64>], mut step: impl FnMut() -> f64) {
    let json: Value = serde_json::from_str(include_str!("files/optim.json")).unwrap();
    for (index, expected) in json["lbfgs"][name].as_array().unwrap().iter().enumerate() {
        let mut found = vec![step()];
        found.extend(parameters.iter().flat_map(|parameter| parameter.value().iter().copied().collect::<Vec<_>>()));
        let expected: Vec<f64> = expected.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            let close = (found - expected).abs() <= 1e-10;
            assert!(close, "{name}, step {index}: {found} for {expected}");
        }
    }
}

#[test]
fn steps_are_those_of_pytorch() {
    type Settings = fn(Lbfgs<f64>) -> Lbfgs<f64>;
    let cases: [(&str, Settings); 3] = [
        ("rosenbrock", |lbfgs| lbfgs.with_iterations(3).with_evaluations(30)),
        ("rosenbrock short memory", |lbfgs| {
            lbfgs.with_iterations(4).with_evaluations(30).with_history(2).with_learning_rate(0.5)
        }),
        ("rosenbrock few evaluations", |lbfgs| lbfgs),
    ];
    for (name, settings) in cases {
        let (x, y) = (Param::new(array![-1.5]), Param::new(array![2.0]));
        let mut lbfgs = settings(Lbfgs::new([&x, &y, &x]));
        assert_as_pytorch(name, &[x.clone(), y.clone()], || lbfgs.step(|| rosenbrock(&x, &y)));
    }

    let x = Array2::from_shape_fn((20, 4), |(i, k)| ((7 * i + 3 * k * k) % 11) as f64 / 5.0 - 1.0);
    let labels: Vec<usize> = (0..20).map(|i| (i * i + i / 3) % 3).collect();
    let mut one = OneLayer::new(x, &labels, 3);
    let parameters = one.layer.parameters().to_vec();
    let mut lbfgs = Lbfgs::new(&parameters).with_iterations(4).with_evaluations(30);
    assert_as_pytorch("one layer", &parameters, || lbfgs.step(|| one.evaluate()));
}

#[test]
fn a_resumed_run_takes_the_same_steps() {
    let start = || (Param::new(array![-1.5]), Param::new(array![2.0]));
    let ((x, y), (a, b)) = (start(), start());
    let make = |x, y| Lbfgs::new([x, y]).with_iterations(3).with_history(4);
    let mut whole = make(&x, &y);
    let mut parts = make(&a, &b);
    for _ in 0..8 {
        whole.step(|| rosenbrock(&x, &y));
        let state = parts.state();
        parts = make(&a, &b);
        parts.load_state(state).expect("its own state");
        parts.step(|| rosenbrock(&a, &b));
        assert_eq!((x.value(), y.value()), (a.value(), b.value()));
    }
    // Wrong states change nothing.
    let good = parts.state();
    for index in 0..good.len() {
        let mut wrong = good.clone();
        wrong.remove(index);
        assert!(parts.load_state(wrong).is_err(), "{}", good[index].name);
        let mut wrong = good.clone();
        wrong[index].value = tapegrad::optim::StateValue::Array(array![1.0].into_dyn());
        assert!(parts.load_state(wrong).is_err(), "{}", good[index].name);
        assert_eq!(parts.state(), good);
    }
}

#[test]
fn it_converges_in_the_valley() {
    for (a, b) in [(-1.2, 1.0), (-1.5, 2.0), (5.0, -5.0), (0.0, 0.0)] {
        let (x, y) = (Param::new(array![a]), Param::new(array![b]));
        let mut lbfgs = Lbfgs::new([&x, &y]).with_iterations(100).with_tolerances(1e-9, 0.0);
        lbfgs.step(|| rosenbrock(&x, &y));
        [&x, &y].into_iter().for_each(Param::zero_grad);
        rosenbrock(&x, &y);
        assert!(norm(&[x.clone(), y.clone()]) < 1e-8);
        assert!((x.value()[[0]] - 1.0).abs() < 1e-8 && (y.value()[[0]] - 1.0).abs() < 1e-8);
    }
    let (x, y) = (Param::new(array![-1.2_f32]), Param::new(array![1.0]));
    Lbfgs::new([&x, &y]).with_iterations(100).step(|| rosenbrock(&x, &y));
    assert!((x.value()[[0]] - 1.0).abs() < 1e-3, "{}", x.value());
}

/// Every twelfth digit of the course; `course_digits_in_full` takes all of them.
fn course_digits(every: usize) -> (f64, f64, usize) {
    let data = load_data::<f64>(concat!(env!("CARGO_MANIFEST_DIR"), "/data/digits178")).unwrap();
    let rows: Vec<usize> = (0..data.train().len()).step_by(every).collect();
    let digits = data.train().select(&rows).scaled(1.0 / 255.0);
    let mut one = OneLayer::new(digits.images().clone(), digits.labels(), digits.classes());
    let parameters = one.layer.parameters().to_vec();
    let mut lbfgs = Lbfgs::new(&parameters).with_tolerances(1e-12, 0.0);
    let mut count = 0;
    while count < 2000 {
        lbfgs.step(|| {
            count += 1;
            one.evaluate()
        });
        if norm(&parameters) < 1e-8 {
            break;
        }
    }
    parameters.iter().for_each(Param::zero_grad);
    let loss = one.evaluate();
    (loss, norm(&parameters), count)
}

#[test]
fn it_converges_on_the_courses_layer() {
    let (loss, norm, count) = course_digits(12);
    assert!(norm < 1e-8 && loss < 1e-8, "loss {loss:e}, norm {norm:e} after {count} evaluations");
}

/// `cargo test --release --test all course_digits_in_full -- --ignored --nocapture`
#[test]
#[ignore = "seconds without optimization"]
fn course_digits_in_full() {
    let (loss, norm, count) = course_digits(1);
    println!("loss {loss:e}, norm {norm:e} after {count} evaluations");
    assert!(norm < 1e-8, "loss {loss:e}, norm {norm:e} after {count} evaluations");
}

#[test]
fn a_loss_that_is_not_a_number_is_turned_back_from() {
    // √w is NaN below 0; the first step of the line search leads there.
    let w = Param::new(array![4.0]);
    let mut tape = Tape::new();
    Lbfgs::new([&w]).with_learning_rate(100.0).step(|| {
        let v = tape.param(&w);
        let loss = (v.sqrt() + 1.0 / v).sum(); // the minimum is at 2^(2/3)
        loss.backward();
        let loss = loss.item();
        tape.reset();
        loss
    });
    assert!((w.value()[[0]] - 4.0_f64.cbrt()).abs() < 1e-6, "{}", w.value());
}
