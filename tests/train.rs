//! The three descents: the examples they use, the history they return, and how they end.

use std::ops::ControlFlow;

use ndarray::{Array1, Array2, array};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tapegrad::nn::{Activation, Linear, Module, Mse, Sequential, SoftmaxCrossEntropy, Tanh};
use tapegrad::optim::Sgd;
use tapegrad::train::{
    ByHand, ByTape, Descent, Examples, InChunks, Learner, batch_descent, mini_batch_descent,
    mini_batch_descent_with_replacement, stochastic_descent,
};
use tapegrad::{Param, Reduction, threads};

fn examples(count: usize, seed: u64) -> Examples<f64> {
    let mut rng = StdRng::seed_from_u64(seed);
    let x = Array2::from_shape_simple_fn((count, 4), || rng.random_range(-1.0..1.0));
    let y = Array2::from_shape_fn((count, 3), |(i, j)| {
        let class = if x[[i, 0]] > 0.3 { 0 } else { 1 + usize::from(x[[i, 1]] > 0.0) };
        f64::from(u8::from(class == j))
    });
    Examples::new(x, y).unwrap()
}

fn network() -> Sequential<f64> {
    Sequential::mlp(5, 4, 8, 3, Activation::Tanh, &mut StdRng::seed_from_u64(1)).unwrap()
}

#[test]
fn every_descent_is_the_same_by_hand_and_by_tape() {
    let (train, test) = (examples(50, 0), examples(20, 1));
    for kind in 0..3 {
        let descend = |learner: &mut dyn Learner<f64>, parameters: &[Param<f64>]| {
            let mut sgd = Sgd::new(parameters, 0.1);
            let descent = Descent::new(5).seed(7);
            match kind {
                0 => batch_descent(learner, &mut sgd, &train, Some(&test), descent),
                1 => stochastic_descent(learner, &mut sgd, &train, Some(&test), descent),
                _ => mini_batch_descent(learner, &mut sgd, &train, Some(&test), 8, descent),
            }
            .unwrap()
        };
        let (by_hand, recorded) = (network(), network());
        let (hand_parameters, tape_parameters) = (by_hand.parameters().to_vec(), recorded.parameters().to_vec());
        let hand = descend(&mut ByHand::new(by_hand, SoftmaxCrossEntropy::new()), &hand_parameters);
        let mut by_tape = ByTape::new(move |tape, x| recorded.record(tape, x), SoftmaxCrossEntropy::new());
        let tape = descend(&mut by_tape, &tape_parameters);

        assert_eq!(hand.passes().len(), 5);
        assert!(hand.result().train_loss() < hand.passes()[0].train_loss(), "{kind}");
        for (a, b) in hand.losses().iter().zip(&tape.losses()) {
            assert!((a / b - 1.0).abs() < 1e-12, "{kind}: {a} {b}");
        }
        assert_eq!(hand.result().test_accuracy(), tape.result().test_accuracy());
        for (a, b) in hand_parameters.iter().zip(&tape_parameters) {
            let worst = (&*a.value() - &*b.value()).iter().fold(0.0, |worst: f64, d| worst.max(d.abs()));
            assert!(worst < 1e-12, "{kind}: {worst:e}");
            assert!(a.grad().is_none(), "no gradient is left behind");
        }
    }
}

#[test]
fn a_descent_in_chunks_is_the_same_to_rounding_and_the_same_bits_on_any_number_of_threads() {
    let (train, test) = (examples(50, 0), examples(20, 1));
    let descend = |learner: &mut dyn Learner<f64>, parameters: &[Param<f64>]| {
        let mut sgd = Sgd::new(parameters, 0.1);
        let history = batch_descent(learner, &mut sgd, &train, Some(&test), Descent::new(5)).unwrap();
        let weights: Vec<f64> = parameters.iter().flat_map(|w| w.value().iter().copied().collect::<Vec<_>>()).collect();
        (history, weights)
    };
    for reduction in [Reduction::Mean, Reduction::Sum] {
        let loss = move || SoftmaxCrossEntropy::new().with_reduction(reduction);
        let whole = network();
        let parameters = whole.parameters().to_vec();
        let (expected, expected_weights) = descend(&mut ByHand::new(whole, loss()), &parameters);
        let mut bits: Vec<Vec<u64>> = Vec::new();
        for (by_tape, count) in [(false, 1), (false, 3), (true, 1), (true, 3)] {
            let parameters = network().parameters().to_vec();
            let copies = parameters.clone();
            let make = move || {
                let layers = copies.chunks(2).map(|pair| Linear::from_params(pair[0].clone(), Some(pair[1].clone())));
                layers.enumerate().fold(Sequential::new(), |net, (k, layer)| match k {
                    0 => net.push(layer),
                    _ => net.push(Tanh::new()).push(layer),
                })
            };
            let (history, weights) = threads::with(count, || {
                let mut learner: Box<dyn Learner<f64>> = if by_tape {
                    let record = move || {
                        let net = make();
                        ByTape::new(move |tape, x| net.record(tape, x), loss())
                    };
                    Box::new(InChunks::new(8, reduction, record))
                } else {
                    Box::new(InChunks::new(8, reduction, move || ByHand::new(make(), loss())))
                };
                descend(&mut *learner, &parameters)
            });
            for (a, b) in history.losses().iter().zip(&expected.losses()) {
                assert!((a / b - 1.0).abs() < 1e-12, "{reduction:?}: {a} {b}");
            }
            assert_eq!(history.result().test_accuracy(), expected.result().test_accuracy());
            assert_eq!(history.result().train_accuracy(), expected.result().train_accuracy());
            assert!(weights.iter().zip(&expected_weights).all(|(a, b)| (a - b).abs() < 1e-12));
            bits.push(weights.iter().map(|w| w.to_bits()).collect());
        }
        assert!(bits[0] == bits[1] && bits[2] == bits[3]);
    }
}

#[test]
fn a_batch_descent_is_the_loop_of_its_definition() {
    let (x, y) = (array![[1.0], [2.0], [3.0]], array![[2.0], [3.0], [5.0]]);
    let train = Examples::new(x, y).unwrap();
    let w = Param::new(array![[0.5]]);
    let loss = Mse::new().with_reduction(Reduction::Sum);
    let mut learner = ByHand::new(Linear::from_params(w.clone(), None), loss);
    let history = batch_descent(&mut learner, &mut Sgd::new([&w], 0.01), &train, None, Descent::new(3)).unwrap();
    let mut expected: f64 = 0.5;
    for pass in history.passes() {
        let errors = [expected - 2.0, 2.0 * expected - 3.0, 3.0 * expected - 5.0];
        assert!((pass.train_loss() - errors.iter().map(|e| e * e).sum::<f64>()).abs() < 1e-12);
        assert_eq!((pass.test_loss(), pass.train_accuracy()), (None, None)); // no test set, no classes
        expected -= 0.01 * 2.0 * (errors[0] + 2.0 * errors[1] + 3.0 * errors[2]);
    }
    assert!((w.value()[[0, 0]] - expected).abs() < 1e-14);
}

/// A learner that lists the examples of each step.
#[derive(Debug, Default)]
struct Spy {
    batches: Vec<Vec<f64>>,
    output: Array2<f64>,
    loss_of_step: Vec<f64>,
}

impl Learner<f64> for Spy {
    fn evaluate(&mut self, _: &Examples<f64>) -> f64 {
        1.0
    }
    fn accumulate_gradient(&mut self, examples: &Examples<f64>) -> f64 {
        self.batches.push(examples.inputs().iter().copied().collect());
        self.loss_of_step.get(self.batches.len() - 1).copied().unwrap_or(1.0)
    }
    fn output(&self) -> &Array2<f64> {
        &self.output
    }
}

fn numbered(count: usize) -> Examples<f64> {
    let x = Array1::from_shape_fn(count, |i| i as f64).insert_axis(ndarray::Axis(1));
    Examples::new(x.clone(), x).unwrap()
}

#[test]
fn a_stochastic_pass_draws_with_replacement_and_a_mini_batch_pass_sees_each_once() {
    let none: [Param<f64>; 0] = [];
    let train = numbered(100);
    let mut spy = Spy::default();
    stochastic_descent(&mut spy, &mut Sgd::new(&none, 0.1), &train, None, Descent::new(3)).unwrap();
    assert_eq!(spy.batches.len(), 300);
    assert!(spy.batches.iter().all(|batch| batch.len() == 1));
    let mut first: Vec<f64> = spy.batches[..100].concat();
    first.sort_by(f64::total_cmp);
    first.dedup();
    assert!((50..80).contains(&first.len()), "100 draws hit about 63 of 100: {}", first.len());

    let again = |seed| {
        let mut spy = Spy::default();
        let descent = Descent::new(2).seed(seed);
        mini_batch_descent(&mut spy, &mut Sgd::new(&none, 0.1), &train, None, 32, descent).unwrap();
        spy.batches
    };
    let batches = again(5);
    assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [32, 32, 32, 4, 32, 32, 32, 4]);
    for pass in batches.chunks(4) {
        let mut seen = pass.concat();
        seen.sort_by(f64::total_cmp);
        assert_eq!(seen, (0..100).map(f64::from).collect::<Vec<_>>());
    }
    assert_ne!(batches[..4], batches[4..], "every pass has an order of its own");
    assert_eq!(batches, again(5));
    assert_ne!(batches, again(6));

    let drawn = |seed| {
        let mut spy = Spy::default();
        let descent = Descent::new(2).seed(seed);
        mini_batch_descent_with_replacement(&mut spy, &mut Sgd::new(&none, 0.1), &train, None, 32, descent).unwrap();
        spy.batches
    };
    let batches = drawn(5);
    assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [32; 8]);
    let mut seen = batches[..4].concat();
    seen.sort_by(f64::total_cmp);
    seen.dedup();
    assert!((60..90).contains(&seen.len()), "128 draws hit about 72 of 100: {}", seen.len());
    assert_eq!(batches, drawn(5));
    assert_ne!(batches, drawn(6));
}

#[test]
fn a_loss_that_is_not_finite_ends_the_descent_at_its_pass() {
    let none: [Param<f64>; 0] = [];
    let mut spy = Spy { loss_of_step: vec![1.0, 1.0, 1.0, 1.0, f64::NAN], ..Spy::default() };
    let descent = Descent::new(10);
    let stopped = mini_batch_descent(&mut spy, &mut Sgd::new(&none, 0.1), &numbered(6), None, 2, descent).unwrap_err();
    assert_eq!((stopped.pass(), stopped.history().len()), (1, 2)); // three batches a pass: the second of pass 1
    let expected = "the loss is NaN at pass 1: stopped (the last finite one was 1e0; a smaller learning rate may help)";
    assert_eq!(stopped.to_string(), expected);

    // A learning rate that is too large: the loss grows.
    let w = Param::new(array![[1.0_f32]]);
    let mut learner = ByHand::new(Linear::from_params(w.clone(), None), Mse::new());
    let train = Examples::new(array![[1.0_f32]], array![[0.0]]).unwrap();
    let stopped = batch_descent(&mut learner, &mut Sgd::new([&w], 1e10), &train, None, Descent::new(10)).unwrap_err();
    assert_eq!(stopped.pass(), 2); // 1, then 4e20, then more than f32 holds
    assert!(stopped.loss().is_infinite());
    // The gradient is cleared without a step.
    assert!(w.grad().is_none());
    w.set_value(array![[1e30_f32]].into_dyn());
    let inputs = Examples::new(array![[0.0_f32], [1.0]], array![[0.0], [0.0]]).unwrap();
    for seed in 0..4 {
        let mut sgd = Sgd::new([&w], 1.0);
        assert!(mini_batch_descent(&mut learner, &mut sgd, &inputs, None, 1, Descent::new(1).seed(seed)).is_err());
        assert!(w.grad().is_none());
    }
}

#[test]
fn a_callback_sees_every_pass_and_can_end_the_descent() {
    let none: [Param<f64>; 0] = [];
    let mut seen = Vec::new();
    let callback = |pass: &tapegrad::train::Pass| {
        seen.push(pass.index());
        if pass.index() == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let descent = Descent::new(10).on_pass(callback);
    let history =
        stochastic_descent(&mut Spy::default(), &mut Sgd::new(&none, 0.1), &numbered(4), None, descent).unwrap();
    assert_eq!((history.passes().len(), history.result().index()), (2, 2));
    assert_eq!(seen, [0, 1, 2]);
    let nothing = Descent::new(0);
    let history = batch_descent(&mut Spy::default(), &mut Sgd::new(&none, 0.1), &numbered(4), None, nothing).unwrap();
    assert_eq!(history.losses().dim(), (0, 2));
}
