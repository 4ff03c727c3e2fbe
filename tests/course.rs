//! The statements of course documents about modules: three forms of a linear layer, conventions of losses, numbers of
//! parameters, a batch as the sum of its samples.

use ndarray::{Array2, Axis, array, concatenate};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tapegrad::data::one_hot;
use tapegrad::nn::{
    Activation, AugmentedLinear, CrossEntropy, Hinge, Linear, LogSoftmax, Loss, Module, Mse, Perceptron, Sequential,
    Softmax, SoftmaxCrossEntropy,
};
use tapegrad::{Param, Reduction, Tape};

fn uniform(rows: usize, columns: usize, rng: &mut StdRng) -> Array2<f64> {
    Array2::from_shape_simple_fn((rows, columns), || rng.random_range(-1.5..1.5))
}

fn close(what: &str, a: &Array2<f64>, b: &Array2<f64>) {
    let worst = (a - b).iter().fold(0.0, |worst: f64, d| worst.max(d.abs()));
    assert!(a.dim() == b.dim() && worst <= 1e-12, "{what}: {worst:e}\n{a}\n{b}");
}

fn matrix(grad: &ndarray::ArrayD<f64>) -> Array2<f64> {
    let columns = grad.shape()[grad.ndim() - 1];
    grad.to_shape((grad.len() / columns, columns)).unwrap().into_owned()
}

proptest! {
    #![proptest_config(crate::common::cases(200))]

    #[test]
    fn the_three_forms_of_a_linear_layer_agree(
        batch in 0..5usize,
        inputs in 1..5usize,
        outputs in 1..5usize,
        seed in any::<u64>(),
    ) {
        let rng = &mut StdRng::seed_from_u64(seed);
        let (x, delta) = (uniform(batch, inputs, rng), uniform(batch, outputs, rng));
        let (w, b) = (uniform(inputs, outputs, rng), uniform(1, outputs, rng));
        let rows = concatenate![Axis(0), w, b];
        let with_ones = concatenate![Axis(1), x, Array2::ones((batch, 1))];

        let mut vector = Linear::from_params(Param::new(w), Some(Param::new(b.row(0).to_owned())));
        let mut one_matrix = AugmentedLinear::from_param(Param::new(rows.clone()));
        let mut without = Linear::from_params(Param::new(rows), None); // for an input with the column of ones
        close("output", vector.forward(&x), one_matrix.forward(&x));
        close("output", vector.output(), without.forward(&with_ones));
        close("delta", vector.backward(&x, &delta), one_matrix.backward(&x, &delta));
        let full = without.backward(&with_ones, &delta);
        close("delta", vector.grad_input(), &full.slice_axis(Axis(1), (..inputs).into()).to_owned());
        let [dw, db] = [0, 1].map(|k| matrix(&vector.parameters()[k].grad().unwrap()));
        let both = concatenate![Axis(0), dw, db];
        close("gradient", &both, &matrix(&one_matrix.weight().grad().unwrap()));
        close("gradient", &both, &matrix(&without.weight().grad().unwrap()));
    }

    #[test]
    fn a_batch_is_the_sum_of_its_samples(
        layers in prop::sample::select(vec![3usize, 5, 7]),
        activation in prop::sample::select(vec![Activation::Tanh, Activation::ReLU, Activation::Sigmoid]),
        batch in 1..6usize,
        seed in any::<u64>(),
    ) {
        let rng = &mut StdRng::seed_from_u64(seed);
        let mut net = Sequential::<f64>::mlp(layers, 4, 5, 3, activation, rng).unwrap();
        let (x, labels) = (uniform(batch, 4, rng), (0..batch).map(|_| rng.random_range(0..3)).collect::<Vec<_>>());
        let mut loss = SoftmaxCrossEntropy::new().with_reduction(Reduction::Sum);
        let scores = net.forward(&x).clone();
        let total = loss.forward_labels(&labels, &scores);
        let deltas = net.backward(&x, &loss.backward_labels(&labels, &scores).clone()).clone();
        let together: Vec<_> = net.gradient().into_iter().map(|grad| matrix(&grad.unwrap())).collect();

        net.zero_grad();
        let mut sum = 0.0;
        for (row, &label) in labels.iter().enumerate() {
            let sample = x.row(row).to_owned().insert_axis(Axis(0));
            let score = net.forward(&sample).clone();
            close("output", &score, &scores.row(row).to_owned().insert_axis(Axis(0)));
            sum += loss.forward_labels(&[label], &score);
            let delta = loss.backward_labels(&[label], &score).clone();
            close("delta", net.backward(&sample, &delta), &deltas.row(row).to_owned().insert_axis(Axis(0)));
        }
        prop_assert!((sum - total).abs() < 1e-12 * (1.0 + total));
        for (one, all) in net.gradient().into_iter().zip(&together) {
            close("gradient", &matrix(&one.unwrap()), all);
        }
    }

    #[test]
    fn log_softmax_is_the_logarithm_of_softmax(rows in 1..4usize, width in 1..6usize, seed in any::<u64>()) {
        let rng = &mut StdRng::seed_from_u64(seed);
        let (x, delta) = (uniform(rows, width, rng), uniform(rows, width, rng));
        let (mut log, mut softmax) = (LogSoftmax::new(), Softmax::new());
        let p = softmax.forward(&x).clone();
        close("output", log.forward(&x), &p.mapv(f64::ln));
        // d ln p = dp / p
        close("delta", log.backward_delta(&x, &delta), softmax.backward_delta(&x, &(&delta / &p)));
    }

    #[test]
    fn acc_grad_parameters_scales(scale in -2.0..2.0f64, seed in any::<u64>()) {
        let rng = &mut StdRng::seed_from_u64(seed);
        let mut net = Sequential::<f64>::mlp(3, 3, 4, 2, Activation::Tanh, rng).unwrap();
        let (x, delta) = (uniform(5, 3, rng), uniform(5, 2, rng));
        net.forward(&x);
        net.backward_update_gradient(&x, &delta);
        let once: Vec<_> = net.gradient().into_iter().map(|grad| matrix(&grad.unwrap())).collect();
        net.acc_grad_parameters(&x, &delta, scale);
        for (grad, once) in net.gradient().into_iter().zip(&once) {
            close("gradient", &matrix(&grad.unwrap()), &((1.0 + scale) * once));
        }
        let delta_in = net.backward_delta(&x, &delta).clone();
        net.zero_grad();
        close("delta", net.backward_scaled(&x, &delta, scale), &delta_in);
        for (grad, once) in net.gradient().into_iter().zip(&once) {
            close("gradient", &matrix(&grad.unwrap()), &(scale * once));
        }
    }

    #[test]
    fn the_binary_cross_entropy_behind_a_softmax_has_the_derivative_of_its_documentation(
        rows in 1..5usize,
        classes in 2..6usize,
        seed in any::<u64>(),
    ) {
        let rng = &mut StdRng::seed_from_u64(seed);
        let z = uniform(rows, classes, rng);
        let labels: Vec<usize> = (0..rows).map(|_| rng.random_range(0..classes)).collect();
        let y = one_hot::<f64>(&labels, classes).unwrap();
        let (mut softmax, mut loss) = (Softmax::new(), CrossEntropy::new().with_reduction(Reduction::Sum));
        let yhat = softmax.forward(&z).clone();
        let mut expected = &yhat - &y;
        for (n, &c) in labels.iter().enumerate() {
            let others = || (0..classes).filter(move |&k| k != c);
            let s: f64 = others().map(|k| yhat[[n, k]] / (1.0 - yhat[[n, k]])).sum();
            expected[[n, c]] -= yhat[[n, c]] * s;
            others().for_each(|j| expected[[n, j]] += yhat[[n, j]] / (1.0 - yhat[[n, j]]) - yhat[[n, j]] * s);
        }
        let delta = loss.backward(&y, &yhat).clone();
        close("by hand", softmax.backward_delta(&z, &delta), &expected);
        let tape = Tape::new();
        let scores = tape.leaf(&z);
        loss.record(&y, scores.softmax(-1)).backward();
        close("by tape", &scores.grad().unwrap().to_owned().into_dimensionality().unwrap(), &expected);
        if classes == 2 {
            close("two classes", &expected, &(2.0 * (&yhat - &y)));
        }
    }
}

#[test]
fn parameters_are_counted_as_the_course_counts_them() {
    let count = |hidden| {
        let rng = &mut StdRng::seed_from_u64(0);
        Sequential::<f32>::mlp(3, 784, hidden, 3, Activation::ReLU, rng).unwrap().parameter_count()
    };
    assert_eq!((count(10), count(100)), (7_883, 78_803));
    // H (D + 1) + (L - 3) / 2 · H (H + 1) + C (H + 1)
    let rng = &mut StdRng::seed_from_u64(0);
    let net = Sequential::<f32>::mlp(7, 5, 4, 3, Activation::Sigmoid, rng).unwrap();
    assert_eq!(net.parameter_count(), 4 * 6 + 2 * 4 * 5 + 3 * 5);
    let names: Vec<String> = net.layers().map(|layer| layer.name()).collect();
    let expected =
        ["Linear 5 -> 4", "Sigmoid", "Linear 4 -> 4", "Sigmoid", "Linear 4 -> 4", "Sigmoid", "Linear 4 -> 3"];
    assert_eq!(names, expected);
}

#[test]
fn a_perceptron_with_too_few_layers_or_a_width_of_0_is_refused() {
    let message = |layers, inputs, hidden, classes| {
        let rng = &mut StdRng::seed_from_u64(0);
        Sequential::<f32>::mlp(layers, inputs, hidden, classes, Activation::ReLU, rng).unwrap_err().to_string()
    };
    for layers in [0, 1, 2, 4] {
        let expected = format!("layers: expected an odd number of at least 3, found {layers}");
        assert_eq!(message(layers, 1, 1, 1), expected);
    }
    assert_eq!(message(3, 0, 1, 1), "inputs: expected at least one, found 0");
    assert_eq!(message(3, 1, 0, 1), "hidden units: expected at least one, found 0");
    assert_eq!(message(3, 1, 1, 0), "classes: expected at least one, found 0");
}

#[test]
fn losses_follow_the_conventions_of_the_documents() {
    let (y, yhat) = (array![[1.0, -1.0, 1.0], [-1.0, -1.0, 1.0]], array![[2.0, 0.5, -1.0], [1.0, -3.0, 0.0]]);
    let squares = array![[1.0, 2.25, 4.0], [4.0, 4.0, 1.0]]; // (ŷ - y)²
    for (reduction, divisor) in
        [(Reduction::Mean, 6.0), (Reduction::BatchMean, 2.0), (Reduction::OutputMean, 3.0), (Reduction::Sum, 1.0)]
    {
        let mut loss = Mse::new().with_reduction(reduction);
        assert_eq!(loss.forward(&y, &yhat), squares.sum() / divisor);
        close("gradient", loss.backward(&y, &yhat), &(-2.0 * (&y - &yhat) / divisor));
    }
    // 1 - ŷ y: -1, 1.5, 2, 2, -2, 1 and -ŷ y: -2, 0.5, 1, 1, -3, 0
    assert!((Hinge::new().forward(&y, &yhat) - 6.5 / 6.0).abs() < 1e-15);
    assert!((Perceptron::new().forward(&y, &yhat) - 2.5 / 6.0).abs() < 1e-15);
    let sixth = 1.0 / 6.0;
    let hinge = array![[0.0, sixth, -sixth], [sixth, 0.0, -sixth]];
    close("hinge", Hinge::new().backward(&y, &yhat), &hinge);
    let perceptron = array![[0.0, sixth, -sixth], [sixth, 0.0, 0.0]]; // 0 at the kink
    close("perceptron", Perceptron::new().backward(&y, &yhat), &perceptron);
    let kink = array![[1.0]];
    assert_eq!(Hinge::new().backward(&kink, &kink), array![[0.0]]);

    // -ln p_y summed: the gradient is p - onehot.
    let mut loss = SoftmaxCrossEntropy::new().with_reduction(Reduction::Sum);
    let scores = array![[0.0, 0.0], [800.0, -800.0]];
    assert!((loss.forward_labels(&[0, 1], &scores) - (2.0_f64.ln() + 1600.0)).abs() < 1e-12);
    assert_eq!(loss.backward_labels(&[0, 1], &scores), array![[-0.5, 0.5], [1.0, -1.0]]);
}
