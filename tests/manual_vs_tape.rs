//! Hand-derived networks against the tape: random stacks of layers with every loss must have the same outputs, losses
//! and gradients on both paths. The gradients must also be those of central differences.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ndarray::{Array1, Array2, ArrayD, ArrayRef2, ArrayView2, array, s};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tapegrad::nn::{
    AugmentedLinear, CrossEntropy, Hinge, Linear, LogSoftmax, Loss, Module, Mse, Perceptron, ReLU, Sequential, Sigmoid,
    Softmax, SoftmaxCrossEntropy, Tanh,
};
use tapegrad::optim::{Optimizer, Sgd};
use tapegrad::{Param, Reduction, Scalar, Tape, Var};

/// A random network, its batch and its loss.
#[derive(Clone, Debug)]
struct Spec {
    width: usize,
    batch: usize,
    layers: Vec<Layer>,
    /// The number of first layers that form a network within the network.
    nested: usize,
    loss: Kind,
    reduction: Reduction,
    seed: u64,
}

#[derive(Clone, Copy, Debug)]
enum Layer {
    Linear(usize),
    LinearWithoutBias(usize),
    AugmentedLinear(usize),
    /// Square, with a weight shared by all tied layers of its width.
    Tied,
    Tanh,
    Sigmoid,
    ReLU,
    Softmax,
    LogSoftmax,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Mse,
    Hinge,
    Perceptron,
    CrossEntropy,
    Distributions,
    /// Rows that do not sum to 1.
    Weights,
    OneHot,
    Labels,
}

fn specs() -> impl Strategy<Value = Spec> {
    let layer = prop_oneof![
        3 => (1..=8_usize).prop_map(Layer::Linear),
        1 => (1..=8_usize).prop_map(Layer::LinearWithoutBias),
        1 => (1..=8_usize).prop_map(Layer::AugmentedLinear),
        1 => Just(Layer::Tied),
        1 => Just(Layer::Tanh),
        1 => Just(Layer::Sigmoid),
        1 => Just(Layer::ReLU),
        1 => Just(Layer::Softmax),
        1 => Just(Layer::LogSoftmax),
    ];
    let loss = prop::sample::select(vec![
        Kind::Mse,
        Kind::Hinge,
        Kind::Perceptron,
        Kind::CrossEntropy,
        Kind::Distributions,
        Kind::Weights,
        Kind::OneHot,
        Kind::Labels,
    ]);
    let reductions = vec![Reduction::Mean, Reduction::BatchMean, Reduction::OutputMean, Reduction::Sum];
    let loss = (loss, prop::sample::select(reductions));
    (1..=8_usize, 1..=6_usize, prop::collection::vec(layer, 1..=6), 0..=3_usize, loss, any::<u64>()).prop_map(
        |(width, batch, mut layers, nested, (loss, reduction), seed)| {
            if let Kind::CrossEntropy = loss {
                layers.push(Layer::Sigmoid); // its outputs are probabilities
            }
            Spec { width, batch, layers, nested, loss, reduction, seed }
        },
    )
}

fn uniform<T: Scalar>(rows: usize, columns: usize, rng: &mut StdRng) -> Array2<T> {
    Array2::from_shape_simple_fn((rows, columns), || T::from_f64(rng.random_range(-1.5..1.5)))
}

fn network<T: Scalar>(spec: &Spec) -> Sequential<T> {
    let rng = &mut StdRng::seed_from_u64(spec.seed);
    let mut tied: HashMap<usize, Param<T>> = HashMap::new();
    let mut width = spec.width;
    let mut parts = [Sequential::new(), Sequential::new()];
    for (index, &layer) in spec.layers.iter().enumerate() {
        let part = &mut parts[usize::from(index >= spec.nested)];
        let net = std::mem::take(part);
        *part = match layer {
            Layer::Linear(outputs) => net.push(Linear::new(width, outputs, rng)),
            Layer::LinearWithoutBias(outputs) => net.push(Linear::without_bias(width, outputs, rng)),
            Layer::AugmentedLinear(outputs) => net.push(AugmentedLinear::new(width, outputs, rng)),
            Layer::Tied => {
                let weight = tied.entry(width).or_insert_with(|| {
                    let bound = T::from_f64((width as f64).sqrt());
                    Param::new(uniform(width, width, rng) / bound)
                });
                net.push(Linear::from_params(weight.clone(), None))
            }
            Layer::Tanh => net.push(Tanh::new()),
            Layer::Sigmoid => net.push(Sigmoid::new()),
            Layer::ReLU => net.push(ReLU::new()),
            Layer::Softmax => net.push(Softmax::new()),
            Layer::LogSoftmax => net.push(LogSoftmax::new()),
        };
        if let Layer::Linear(outputs) | Layer::LinearWithoutBias(outputs) | Layer::AugmentedLinear(outputs) = layer {
            width = outputs;
        }
    }
    let [inner, outer] = parts;
    if inner.is_empty() { outer } else { Sequential::new().push(inner).push(outer) }
}

/// A loss with its targets.
enum Target<T> {
    Arrays(Box<dyn Loss<T>>, Array2<T>),
    Labels(Box<SoftmaxCrossEntropy<T>>, Vec<usize>),
}

impl<T: Scalar> Target<T> {
    fn new(kind: Kind, reduction: Reduction, rows: usize, classes: usize, rng: &mut StdRng) -> Self {
        let labels: Vec<usize> = (0..rows).map(|_| rng.random_range(0..classes)).collect();
        let mut weights = Array2::from_shape_simple_fn((rows, classes), || T::from_f64(rng.random_range(0.0..1.0)));
        let softmax = SoftmaxCrossEntropy::new().with_reduction(reduction);
        let sign = |y: T| if y < T::from_f64(0.5) { -T::ONE } else { T::ONE };
        let loss: Box<dyn Loss<T>> = match kind {
            Kind::Mse => Box::new(Mse::new().with_reduction(reduction)),
            Kind::Hinge => Box::new(Hinge::new().with_reduction(reduction)),
            Kind::Perceptron => Box::new(Perceptron::new().with_reduction(reduction)),
            Kind::CrossEntropy => Box::new(CrossEntropy::new().with_reduction(reduction)),
            Kind::Distributions | Kind::Weights | Kind::OneHot => Box::new(softmax),
            Kind::Labels => return Self::Labels(Box::new(softmax), labels),
        };
        let targets = match kind {
            Kind::Hinge | Kind::Perceptron => weights.mapv(sign),
            Kind::Distributions => {
                for mut row in weights.rows_mut() {
                    let sum = row.sum();
                    row.mapv_inplace(|y| y / sum);
                }
                weights
            }
            Kind::OneHot => {
                Array2::from_shape_fn((rows, classes), |(i, j)| if labels[i] == j { T::ONE } else { T::ZERO })
            }
            _ => weights,
        };
        Self::Arrays(loss, targets)
    }

    fn forward(&mut self, yhat: &ArrayRef2<T>) -> T {
        match self {
            Self::Arrays(loss, y) => loss.forward(y, yhat),
            Self::Labels(loss, labels) => loss.forward_labels(labels, yhat),
        }
    }

    fn backward(&mut self, yhat: &ArrayRef2<T>) -> &Array2<T> {
        match self {
            Self::Arrays(loss, y) => loss.backward(y, yhat),
            Self::Labels(loss, labels) => loss.backward_labels(labels, yhat),
        }
    }

    fn record<'t>(&self, yhat: Var<'t, T>) -> Var<'t, T> {
        match self {
            Self::Arrays(loss, y) => loss.record(y, yhat),
            Self::Labels(loss, labels) => loss.record_labels(labels, yhat),
        }
    }
}

/// Returns the network, an input and a target of the specification.
fn setup<T: Scalar>(spec: &Spec) -> (Sequential<T>, Array2<T>, Target<T>) {
    let net = network::<T>(spec);
    let rng = &mut StdRng::seed_from_u64(spec.seed ^ 1);
    let x = uniform(spec.batch, spec.width, rng);
    let classes = net.output_width(spec.width).unwrap();
    let target = Target::new(spec.loss, spec.reduction, spec.batch, classes, rng);
    (net, x, target)
}

/// The tolerance is relative to the largest element of both, or to `floor`: cancellation leaves larger errors.
#[track_caller]
fn assert_close<T: Scalar>(what: &str, a: &ArrayD<T>, b: &ArrayD<T>, tolerance: f64, floor: f64) {
    assert_eq!(a.shape(), b.shape(), "{what}");
    let scale = largest(a).max(largest(b)).max(floor);
    let difference = a.iter().zip(b).map(|(&a, &b)| (a - b).to_f64().abs()).fold(0.0, f64::max);
    assert!(difference <= tolerance * scale, "{what}: differ by {difference:e} at {scale:e}\n{a}\n{b}");
    assert!(a.iter().all(|a| a.to_f64().is_finite()), "{what}: not finite\n{a}");
}

fn largest<T: Scalar>(a: &ArrayD<T>) -> f64 {
    a.iter().map(|a| a.to_f64().abs()).fold(0.0, f64::max)
}

fn gradients<T: Scalar>(net: &Sequential<T>) -> Vec<Arc<ArrayD<T>>> {
    net.gradient().into_iter().map(|grad| grad.expect("every parameter is reached")).collect()
}

fn agree<T: Scalar>(spec: &Spec, tolerance: f64) {
    let (mut net, x, mut target) = setup::<T>(spec);

    // By hand, in one pass ...
    let yhat = net.forward(&x).clone();
    let value = target.forward(&yhat);
    let delta = target.backward(&yhat).clone();
    let dx = net.backward(&x, &delta).clone();
    let by_hand = gradients(&net);
    // ... and in two.
    net.zero_grad();
    net.backward_update_gradient(&x, &delta);
    assert_eq!(gradients(&net), by_hand);
    assert_eq!(net.backward_delta(&x, &delta), &dx);
    assert_eq!(gradients(&net), by_hand, "backward_delta leaves the parameters alone");

    // On the tape.
    net.zero_grad();
    assert!(net.gradient().iter().all(Option::is_none));
    let tape = Tape::new();
    let x = tape.leaf(&x);
    let recorded = net.record(&tape, x);
    let loss = target.record(recorded);
    loss.backward();

    let scalar = |x: T| Array1::from_elem(1, x).into_dyn();
    assert_close("output", &yhat.into_dyn(), &recorded.value().to_owned(), tolerance, 0.01);
    assert_close("loss", &scalar(value), &scalar(loss.item()), tolerance, 0.01);
    let (delta, dx) = (delta.into_dyn(), dx.into_dyn());
    // Probabilities, targets and activations are of order 1, even where their differences are small.
    let largest_gradient = by_hand.iter().map(|grad| largest(grad)).fold(largest(&delta).max(largest(&dx)), f64::max);
    let floor = 0.01 * largest_gradient.max(1.0);
    assert_close("input gradient", &dx, &x.grad().unwrap().to_owned(), tolerance, floor);
    let recorded = gradients(&net);
    assert_eq!(by_hand.len(), recorded.len());
    for (k, (by_hand, recorded)) in by_hand.iter().zip(&recorded).enumerate() {
        assert_close(&format!("gradient of parameter {k}"), by_hand, recorded, tolerance, floor);
    }
}

/// Returns true if a step of the differences below could move an element across the kink of a `ReLU`.
fn near_kink(net: &Sequential<f64>, x: &Array2<f64>) -> bool {
    let layers: Vec<_> = net.layers().collect();
    (0..layers.len()).filter(|&index| layers[index].name() == "ReLU").any(|index| {
        let input = if index == 0 { x } else { layers[index - 1].output() };
        input.iter().any(|x| *x != 0.0 && x.abs() < 1e-3)
    })
}

fn agree_with_differences(spec: &Spec) {
    const STEP: f64 = 1e-5;
    let (mut net, x, mut target) = setup::<f64>(spec);
    let yhat = net.forward(&x).clone();
    if near_kink(&net, &x) {
        return;
    }
    let delta = target.backward(&yhat).clone();
    let dx = net.backward(&x, &delta).clone();
    let mut loss = |net: &mut Sequential<f64>, x: &Array2<f64>| target.forward(net.forward(x));

    let differences = Array2::from_shape_fn(x.dim(), |position| {
        let mut moved = x.clone();
        let mut at = |step: f64| {
            moved[position] = x[position] + step;
            loss(&mut net, &moved)
        };
        (at(STEP) - at(-STEP)) / (2.0 * STEP)
    });
    assert_differences("input", &dx.into_dyn(), &differences.into_dyn());

    let parameters = net.parameters().to_vec();
    for (k, parameter) in parameters.iter().enumerate() {
        let value = parameter.value();
        let mut differences = ArrayD::zeros(value.raw_dim());
        for (position, difference) in differences.indexed_iter_mut() {
            let mut at = |step: f64| {
                let mut moved = ArrayD::clone(&value);
                moved[position.clone()] += step;
                parameter.set_value(moved);
                loss(&mut net, &x)
            };
            *difference = (at(STEP) - at(-STEP)) / (2.0 * STEP);
        }
        parameter.set_value(ArrayD::clone(&value));
        let grad = parameter.grad().expect("every parameter is reached");
        assert_differences(&format!("parameter {k}"), &grad, &differences);
    }
}

#[track_caller]
fn assert_differences(what: &str, grad: &ArrayD<f64>, differences: &ArrayD<f64>) {
    let scale = grad.iter().fold(0.1, |scale: f64, g| scale.max(g.abs()));
    let worst = (grad - differences).abs().fold(0.0, |a: f64, &b| a.max(b));
    assert!(worst <= 1e-7 * scale, "{what}: differs by {worst:e} at {scale:e}\n{grad}\n{differences}");
}

proptest! {
    // Two losses for each element of each parameter.
    #![proptest_config(crate::common::cases(300))]

    #[test]
    fn manual_gradients_are_central_differences(mut spec in specs()) {
        spec.nested = 0; // for `near_kink`
        agree_with_differences(&spec);
    }
}

proptest! {
    #![proptest_config(crate::common::cases(1000))]

    #[test]
    fn manual_and_tape_agree_in_f64(spec in specs()) {
        agree::<f64>(&spec, 1e-12);
    }

    #[test]
    fn manual_and_tape_agree_in_f32(spec in specs()) {
        agree::<f32>(&spec, 1e-4);
    }

    #[test]
    fn gradients_of_two_batches_accumulate(spec in specs()) {
        let (mut net, first, mut target) = setup::<f64>(&spec);
        let rng = &mut StdRng::seed_from_u64(spec.seed ^ 2);
        let second = uniform(spec.batch, spec.width, rng);
        let mut backward = |net: &mut Sequential<f64>, x: &Array2<f64>| {
            let delta = target.backward(net.forward(x)).clone();
            net.backward_update_gradient(x, &delta);
        };
        backward(&mut net, &first);
        let alone = gradients(&net);
        net.zero_grad();
        backward(&mut net, &second);
        let sums: Vec<ArrayD<f64>> = gradients(&net).iter().zip(&alone).map(|(a, b)| &**a + &**b).collect();
        backward(&mut net, &first);
        for (k, (sum, grad)) in sums.iter().zip(gradients(&net)).enumerate() {
            assert_close("both by hand", sum, &grad, 1e-12, largest(&alone[k]).max(0.01));
        }

        // One by hand, the other on the tape.
        net.zero_grad();
        backward(&mut net, &first);
        let tape = Tape::new();
        target.record(net.record(&tape, tape.leaf(&second))).backward();
        for (k, (sum, grad)) in sums.iter().zip(gradients(&net)).enumerate() {
            assert_close("one on the tape", sum, &grad, 1e-12, largest(&alone[k]).max(0.01));
        }
    }
}

#[test]
fn training_with_momentum_gives_the_same_parameters() {
    for (seed, loss) in [Kind::Mse, Kind::CrossEntropy, Kind::Distributions, Kind::Labels].into_iter().enumerate() {
        let mut layers = vec![Layer::Linear(6), Layer::Tanh, Layer::Tied, Layer::ReLU, Layer::Tied, Layer::Linear(3)];
        if let Kind::CrossEntropy = loss {
            layers.push(Layer::Sigmoid);
        }
        let spec =
            Spec { width: 4, batch: 5, layers, nested: 2, loss, reduction: Reduction::BatchMean, seed: seed as u64 };
        let (mut by_hand, recorded) = (network::<f64>(&spec), network::<f64>(&spec));
        let mut sgd_by_hand = Sgd::new(by_hand.parameters(), 0.2).with_momentum(0.9);
        let mut sgd_recorded = Sgd::new(recorded.parameters(), 0.2).with_momentum(0.9);
        let before = by_hand.parameters()[0].value();
        let mut tape = Tape::new();
        let rng = &mut StdRng::seed_from_u64(7);
        for batch in [5, 5, 2, 6, 5] {
            let x = uniform(batch, 4, rng);
            let mut target = Target::new(loss, Reduction::BatchMean, batch, 3, rng);

            sgd_by_hand.zero_grad();
            let delta = target.backward(by_hand.forward(&x));
            by_hand.backward_update_gradient(&x, delta);
            sgd_by_hand.step();

            sgd_recorded.zero_grad();
            target.record(recorded.record(&tape, tape.constant(&x))).backward();
            sgd_recorded.step();
            tape.reset();
        }
        assert_ne!(by_hand.parameters()[0].value(), before, "training moves the parameters");
        for (a, b) in by_hand.parameters().iter().zip(recorded.parameters()) {
            assert!(!a.is(b));
            assert_close("parameter", &a.value(), &b.value(), 1e-12, 0.0);
        }
    }
}

#[test]
fn a_tied_layer_counts_once_in_an_update() {
    let w = Param::new(array![[2.0]]);
    let tied = || Linear::from_params(w.clone(), None);
    let mut net = Sequential::new().push(tied()).push(Sequential::new().push(tied()).push(tied()));
    assert_eq!(net.parameters().len(), 1);
    let x = array![[1.0]];
    assert_eq!(net.forward(&x), array![[8.0]]); // w³
    net.backward_update_gradient(&x, &array![[1.0]]);
    assert_eq!(w.grad().unwrap()[[0, 0]], 12.0); // 3 w²
    net.update_parameters(0.125);
    assert_eq!(w.value()[[0, 0]], 0.5);
}

/// The identity. It counts its calls.
#[derive(Debug)]
struct Probe {
    parameters: Vec<Param<f64>>,
    output: Array2<f64>,
    delta: Array2<f64>,
    updates: Arc<AtomicUsize>,
    deltas: Arc<AtomicUsize>,
}

impl Module<f64> for Probe {
    fn name(&self) -> String {
        "Probe".into()
    }
    fn forward(&mut self, input: &ArrayRef2<f64>) -> &Array2<f64> {
        self.output = input.to_owned();
        &self.output
    }
    fn output(&self) -> &Array2<f64> {
        &self.output
    }
    fn grad_input(&self) -> &Array2<f64> {
        &self.delta
    }
    fn backward_update_gradient(&mut self, _: &ArrayRef2<f64>, _: &ArrayRef2<f64>) {
        self.updates.fetch_add(1, Ordering::Relaxed);
    }
    fn backward_delta(&mut self, _: &ArrayRef2<f64>, delta: &ArrayRef2<f64>) -> &Array2<f64> {
        self.deltas.fetch_add(1, Ordering::Relaxed);
        self.delta = delta.to_owned();
        &self.delta
    }
    fn parameters(&self) -> &[Param<f64>] {
        &self.parameters
    }
    fn record<'t>(&self, _: &'t Tape<f64>, x: Var<'t, f64>) -> Var<'t, f64> {
        x
    }
}

#[test]
fn a_pass_computes_only_the_deltas_it_needs() {
    let (x, w) = (array![[1.0]], Param::new(array![[1.0]]));
    // The calls of the first layer, (updates, deltas): by backward_update_gradient, backward_delta, and backward. The
    // first case has parameters. The second has none, so backward_update_gradient does not call it.
    let cases = [(vec![w.clone()], [(1, 0), (0, 1), (1, 1)]), (vec![], [(0, 0), (0, 1), (1, 1)])];
    for (parameters, expected) in cases {
        let (updates, deltas) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let probe = Probe {
            parameters,
            output: Array2::default((0, 0)),
            delta: Array2::default((0, 0)),
            updates: updates.clone(),
            deltas: deltas.clone(),
        };
        let mut net = Sequential::new().push(probe).push(Linear::from_params(w.clone(), None));
        let calls = || (updates.swap(0, Ordering::Relaxed), deltas.swap(0, Ordering::Relaxed));
        net.forward(&x);
        net.backward_update_gradient(&x, &x);
        assert_eq!(calls(), expected[0]);
        net.backward_delta(&x, &x);
        assert_eq!(calls(), expected[1]);
        net.backward(&x, &x);
        assert_eq!(calls(), expected[2]);
    }
}

/// The same matrix in several layouts.
fn layouts(x: &Array2<f64>) -> Vec<Array2<f64>> {
    let mut reversed = x.slice(s![..;-1, ..;-1]).as_standard_layout().into_owned();
    reversed.invert_axis(ndarray::Axis(0));
    reversed.invert_axis(ndarray::Axis(1));
    let columns = x.t().as_standard_layout().into_owned().reversed_axes();
    assert!(reversed == x && columns == x);
    assert!(!reversed.is_standard_layout() && !columns.is_standard_layout());
    vec![columns, reversed]
}

/// The same matrix with gaps in memory.
fn with_gaps(x: &Array2<f64>, wide: &mut Array2<f64>) {
    *wide = Array2::from_elem((2 * x.nrows(), 3 * x.ncols()), f64::NAN);
    wide.slice_mut(s![..;2, ..;3]).assign(x);
}

#[test]
fn the_layout_of_arguments_makes_no_difference() {
    let rng = &mut StdRng::seed_from_u64(3);
    let nets: Vec<Box<dyn Module<f64>>> = vec![
        Box::new(Linear::new(4, 3, rng)),
        Box::new(Linear::without_bias(4, 3, rng)),
        Box::new(Tanh::new()),
        Box::new(Sigmoid::new()),
        Box::new(ReLU::new()),
        Box::new(Softmax::new()),
        Box::new(Sequential::new()),
        Box::new(Sequential::new().push(Linear::new(4, 3, rng)).push(Softmax::new())),
    ];
    for mut net in nets {
        let x = uniform(5, 4, rng);
        let delta = uniform(5, net.output_width(4).unwrap(), rng);
        let run = |net: &mut Box<dyn Module<f64>>, x: ArrayView2<f64>, delta: ArrayView2<f64>| {
            net.zero_grad();
            let y = net.forward(&x).clone();
            let dx = net.backward(&x, &delta).clone();
            (y, dx, net.gradient())
        };
        let expected = run(&mut net, x.view(), delta.view());
        for (x, delta) in layouts(&x).iter().zip(layouts(&delta)) {
            assert_eq!(run(&mut net, x.view(), delta.view()), expected, "{net:?}");
        }
        let (mut wide_x, mut wide_delta) = (Array2::default((0, 0)), Array2::default((0, 0)));
        with_gaps(&x, &mut wide_x);
        with_gaps(&delta, &mut wide_delta);
        let result = run(&mut net, wide_x.slice(s![..;2, ..;3]), wide_delta.slice(s![..;2, ..;3]));
        assert_eq!(result, expected, "{net:?}");
    }
}

#[test]
fn the_layout_of_targets_and_outputs_makes_no_difference() {
    let rng = &mut StdRng::seed_from_u64(4);
    let y = uniform(5, 4, rng).mapv(|y: f64| y.abs() / 2.0);
    let yhat = uniform(5, 4, rng).mapv(|y: f64| y.abs() / 2.0);
    let losses: [Box<dyn Loss<f64>>; 3] =
        [Box::new(Mse::new()), Box::new(CrossEntropy::new()), Box::new(SoftmaxCrossEntropy::new())];
    for mut loss in losses {
        let expected = (loss.forward(&y, &yhat), loss.backward(&y, &yhat).clone());
        for (y, yhat) in layouts(&y).iter().zip(layouts(&yhat)) {
            assert_eq!((loss.forward(y, &yhat), loss.backward(y, &yhat).clone()), expected, "{loss:?}");
        }
    }
}

#[test]
fn linear_is_the_index_loop() {
    let rng = &mut StdRng::seed_from_u64(5);
    let mut layer = Linear::<f64>::new(4, 3, rng);
    let x = uniform(2, 4, rng);
    let (w, b) = (layer.weight().value(), layer.bias().unwrap().value());
    let expected = Array2::from_shape_fn((2, 3), |(i, o)| b[o] + (0..4).map(|k| x[[i, k]] * w[[k, o]]).sum::<f64>());
    assert_close("output", &layer.forward(&x).clone().into_dyn(), &expected.into_dyn(), 1e-14, 0.0);
}

#[test]
fn initial_weights_fill_their_interval() {
    let layer = Linear::<f64>::new(4, 1000, &mut StdRng::seed_from_u64(6));
    for parameter in layer.parameters() {
        let value = parameter.value();
        let (low, high) = value.iter().fold((0.0, 0.0), |(low, high): (f64, f64), &w| (low.min(w), high.max(w)));
        assert!((-0.5..-0.49).contains(&low) && high > 0.49 && high <= 0.5, "{parameter:?}: {low} to {high}");
    }
    let (single, double) = (
        Linear::<f32>::new(4, 3, &mut StdRng::seed_from_u64(6)),
        Linear::<f64>::new(4, 3, &mut StdRng::seed_from_u64(6)),
    );
    assert_eq!(*single.weight().value(), double.weight().value().mapv(|w| w as f32));
}

#[test]
fn batches_of_changing_size_reuse_the_memory() {
    let rng = &mut StdRng::seed_from_u64(8);
    let mut net = Sequential::<f64>::new().push(Linear::new(4, 6, rng)).push(Tanh::new()).push(Linear::new(6, 3, rng));
    let mut loss = SoftmaxCrossEntropy::new();
    let mut memory = None;
    for batch in [6, 2, 6, 1, 6] {
        let x = uniform(batch, 4, rng);
        let labels: Vec<usize> = (0..batch).map(|i| i % 3).collect();
        let yhat = net.forward(&x);
        let delta = loss.backward_labels(&labels, yhat);
        let pointers = (yhat.as_ptr(), delta.as_ptr(), net.backward(&x, delta).as_ptr());
        assert_eq!(*memory.get_or_insert(pointers), pointers);
        assert_eq!(net.output().dim(), (batch, 3));
    }
}

#[test]
fn a_loss_is_right_after_any_other_evaluation() {
    let rng = &mut StdRng::seed_from_u64(9);
    let make = |name: &str| -> Box<dyn Loss<f64>> {
        match name {
            "Mse" => Box::new(Mse::new()),
            "CrossEntropy" => Box::new(CrossEntropy::new()),
            _ => Box::new(SoftmaxCrossEntropy::new()),
        }
    };
    for name in ["Mse", "CrossEntropy", "SoftmaxCrossEntropy"] {
        let make = || make(name);
        let mut used = make();
        for rows in [3, 3, 1, 0, 3] {
            let mut matrix = || uniform(rows, 4, rng).mapv(|y: f64| y.abs() / 2.0);
            let (y, yhat, other) = (matrix(), matrix(), matrix());
            used.forward(&y, &other);
            assert_eq!(used.backward(&y, &yhat), make().backward(&y, &yhat));
            let value = used.forward(&y, &yhat);
            assert!(value == make().forward(&y, &yhat) || rows == 0 && value.is_nan());
            assert_eq!(used.backward(&other, &yhat), make().backward(&other, &yhat));
        }
    }
}

#[test]
fn a_class_of_probability_0_gives_no_nan() {
    let scores = array![[1.0, f64::NEG_INFINITY, 1.0], [f64::NEG_INFINITY, 2.0, f64::NEG_INFINITY]];
    let (labels, y) = ([2, 1], array![[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]);
    let gradient = array![[0.25, 0.0, -0.25], [0.0, 0.0, 0.0]];
    let mut loss = SoftmaxCrossEntropy::new();
    for value in [loss.forward(&y, &scores), loss.forward_labels(&labels, &scores)] {
        assert!((value - 0.5 * 2.0_f64.ln()).abs() < 1e-15, "{value}");
    }
    assert_eq!(loss.backward(&y, &scores), gradient);
    assert_eq!(loss.backward_labels(&labels, &scores), gradient);
    let tape = Tape::new();
    for record in [
        |loss: &SoftmaxCrossEntropy<f64>, scores| loss.record(&array![[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]], scores),
        |loss: &SoftmaxCrossEntropy<f64>, scores| loss.record_labels(&[2, 1], scores),
    ] {
        let scores = tape.leaf(&scores);
        let value = record(&loss, scores);
        value.backward();
        assert!((value.item() - 0.5 * 2.0_f64.ln()).abs() < 1e-15, "{value:?}");
        assert_close("tape", &scores.grad().unwrap().to_owned(), &gradient.clone().into_dyn(), 1e-15, 0.0);
    }
}

#[test]
fn large_scores_do_not_overflow() {
    let (y, scores) = (array![[0.5, 0.5]], array![[1e4, -1e4]]);
    let mut loss = SoftmaxCrossEntropy::new();
    assert_eq!(loss.forward(&y, &scores), 1e4);
    assert_eq!(loss.backward(&y, &scores), array![[0.5, -0.5]]);
    let mut softmax = Softmax::new();
    assert_eq!(softmax.forward(&scores), array![[1.0, 0.0]]);
}

#[test]
fn cross_entropy_is_finite_at_certainty() {
    let (y, yhat) = (array![[1.0, 0.0]], array![[0.0, 1.0]]);
    let mut loss = CrossEntropy::new();
    let expected = -2.0 * 1e-16_f64.ln();
    assert!((loss.forward(&y, &yhat) - expected).abs() < 1e-12);
    let delta = loss.backward(&y, &yhat).clone();
    assert!((delta.clone() / array![[-1e16, 1e16]] - 1.0).abs().sum() < 1e-14, "{delta}");
    let tape = Tape::new();
    let yhat = tape.leaf(&yhat);
    let value = loss.record(&y, yhat);
    value.backward();
    assert!((value.item() - expected).abs() < 1e-12);
    assert_close("tape", &yhat.grad().unwrap().to_owned(), &delta.into_dyn(), 1e-15, 0.0);
}

#[test]
fn relu_selects_at_and_below_its_kink() {
    let x = array![[-1.0, 0.0, -0.0, 2.0, f64::NAN]];
    let delta = array![[f64::INFINITY, 3.0, f64::NAN, 3.0, 3.0]];
    let mut layer = ReLU::new();
    assert!(layer.forward(&x)[[0, 4]].is_nan());
    assert_eq!(layer.backward_delta(&x, &delta), array![[0.0, 0.0, 0.0, 3.0, 3.0]]);
    let tape = Tape::new();
    let x = tape.leaf(&x);
    layer.record(&tape, x).backward_with(&delta);
    assert_eq!(x.grad().unwrap(), array![[0.0, 0.0, 0.0, 3.0, 3.0]].into_dyn());
}

#[test]
fn a_network_without_layers_is_the_identity() {
    let mut net = Sequential::<f64>::new();
    let (x, delta) = (array![[1.0, 2.0]], array![[3.0, 4.0]]);
    assert_eq!(net.forward(&x), x);
    assert_eq!(net.output(), x);
    assert_eq!(net.backward(&x, &delta), delta);
    assert_eq!(net.backward_delta(&x, &delta), delta);
    net.backward_update_gradient(&x, &delta);
    let tape = Tape::new();
    assert_eq!(net.record(&tape, tape.constant(&x)).value(), x.into_dyn());
}

#[test]
fn an_empty_batch_passes() {
    let rng = &mut StdRng::seed_from_u64(10);
    let mut net = Sequential::<f64>::new().push(Linear::new(4, 3, rng)).push(Softmax::new());
    let x = Array2::zeros((0, 4));
    assert_eq!(net.forward(&x).dim(), (0, 3));
    assert_eq!(net.backward(&x, &Array2::zeros((0, 3))).dim(), (0, 4));
    assert!(gradients(&net).iter().all(|grad| grad.iter().all(|&g| g == 0.0)));
}

#[test]
fn an_update_does_not_change_snapshots() {
    let mut layer = Linear::from_params(Param::new(array![[1.0]]), None);
    let x = array![[2.0]];
    let held = layer.weight().value();
    layer.forward(&x);
    layer.backward_update_gradient(&x, &array![[1.0]]);
    let grad = layer.weight().grad().unwrap();
    layer.update_parameters(0.25);
    layer.backward_update_gradient(&x, &array![[1.0]]);
    assert_eq!((held[[0, 0]], grad[[0, 0]]), (1.0, 2.0));
    assert_eq!((layer.weight().value()[[0, 0]], layer.weight().grad().unwrap()[[0, 0]]), (0.5, 4.0));
}
