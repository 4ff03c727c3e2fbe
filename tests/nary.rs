//! Modules of any number of inputs, and graphs of them: by hand against the tape and against central differences.

use ndarray::{Array1, Array2, ArrayRef2, array};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tapegrad::nn::{DotProduct, Graph, Linear, Loss, Mse, NaryModule, NodeId, Sum, Tanh, Vector};
use tapegrad::{Param, Tape};

fn uniform(rows: usize, columns: usize, rng: &mut StdRng) -> Array2<f64> {
    Array2::from_shape_simple_fn((rows, columns), || rng.random_range(-1.5..1.5))
}

/// Builds a random graph of two inputs. Every value has the same width, except the last, a dot product.
fn graph(width: usize, program: &[(u8, usize, usize)], rng: &mut StdRng) -> Graph<f64> {
    let mut graph = Graph::new(2);
    let mut places = vec![graph.input(0), graph.input(1)];
    let tied = Param::new(uniform(width, width, rng));
    for &(kind, a, b) in program {
        let at = |k: usize, places: &[NodeId]| places[places.len() - 1 - k % places.len()];
        let (a, b) = (at(a, &places), at(b, &places));
        places.push(match kind % 6 {
            0 => graph.join(Sum::new(), &[a, b]),
            1 => graph.join(Sum::new(), &[a, b, a]),
            2 => graph.layer(Linear::from_params(tied.clone(), None), a),
            3 => graph.layer(Tanh::new(), b),
            4 => graph.join(Vector::new(Array1::from_shape_simple_fn(width, || rng.random_range(-1.0..1.0))), &[]),
            _ => graph.layer(Linear::new(width, width, rng), b),
        });
    }
    let (last, other) = (places[places.len() - 1], places[places.len() / 2]);
    let all = graph.join(Sum::new(), &[last, other, places[0]]);
    graph.join(DotProduct::new(), &[all, other]);
    graph
}

fn close(what: &str, a: &[f64], b: &[f64], tolerance: f64) {
    let scale = a.iter().chain(b).fold(1.0, |scale: f64, x| scale.max(x.abs()));
    let worst = a.iter().zip(b).fold(0.0, |worst: f64, (a, b)| worst.max((a - b).abs()));
    assert!(a.len() == b.len() && worst <= tolerance * scale, "{what}: {worst:e} at {scale:e}\n{a:?}\n{b:?}");
}

proptest! {
    #![proptest_config(crate::common::cases(500))]

    #[test]
    fn graphs_agree_with_the_tape_and_with_differences(
        program in prop::collection::vec((any::<u8>(), 0..6usize, 0..6usize), 0..8),
        width in 1..4usize,
        rows in prop::sample::select(vec![(3, 3), (3, 1), (1, 3), (1, 1)]),
        seed in any::<u64>(),
    ) {
        let rng = &mut StdRng::seed_from_u64(seed);
        let mut net = graph(width, &program, rng);
        let (x, y) = (uniform(rows.0, width, rng), uniform(rows.1, width, rng));
        let mut loss = Mse::new();
        let scores = net.forward(&[&x, &y]).clone();
        let target = uniform(scores.nrows(), 1, rng);
        let delta = loss.backward(&target, &scores).clone();
        let deltas = net.backward(&[&x, &y], &delta).to_vec();
        let by_hand: Vec<_> = net.gradient();

        // Each backward pass alone.
        net.zero_grad();
        net.backward_update_gradient(&[&x, &y], &delta);
        prop_assert_eq!(&net.gradient(), &by_hand);
        prop_assert_eq!(net.grad_input(), &deltas[..]);
        let other = delta.mapv(|delta| 3.0 * delta);
        net.backward_delta(&[&x, &y], &other);
        let kept = net.grad_input().to_vec();
        net.zero_grad();
        net.backward_update_gradient(&[&x, &y], &delta);
        prop_assert_eq!(net.grad_input(), &kept[..]);
        prop_assert_eq!(net.backward_delta(&[&x, &y], &delta), &deltas[..]);
        prop_assert_eq!(&net.gradient(), &by_hand);

        // Scaled: the parameters' gradients, and not those of the inputs.
        prop_assert_eq!(net.backward_scaled(&[&x, &y], &delta, -1.5), &deltas[..]);
        for (k, (scaled, once)) in net.gradient().iter().zip(&by_hand).enumerate() {
            prop_assert_eq!(scaled.is_some(), once.is_some());
            if let (Some(scaled), Some(once)) = (scaled, once) {
                let expected: Vec<f64> = once.iter().map(|once| once - 1.5 * once).collect();
                close(&format!("scaled parameter {k}"), scaled.as_slice().unwrap(), &expected, 1e-12);
            }
        }

        // The tape.
        net.zero_grad();
        let tape = Tape::new();
        let (xt, yt) = (tape.leaf(&x), tape.leaf(&y));
        let recorded = net.record(&tape, &[xt, yt]);
        close("output", recorded.value().as_slice().unwrap(), scores.as_slice().unwrap(), 1e-12);
        loss.record(&target, recorded).backward();
        for (k, (leaf, delta)) in [xt, yt].into_iter().zip(&deltas).enumerate() {
            // Without a dependence, the delta by hand is zero and the tape has no gradient.
            let grad = leaf.grad().map_or(vec![0.0; delta.len()], |grad| grad.iter().copied().collect());
            close(&format!("input {k}"), &grad, delta.as_slice().unwrap(), 1e-12);
        }
        for (k, (hand, tape)) in by_hand.iter().zip(net.gradient()).enumerate() {
            prop_assert_eq!(hand.is_some(), tape.is_some(), "parameter {}", k);
            if let (Some(hand), Some(tape)) = (hand, &tape) {
                close(&format!("parameter {k}"), hand.as_slice().unwrap(), tape.as_slice().unwrap(), 1e-12);
            }
        }

        // Central differences along a random direction of the inputs.
        let (dx, dy) = (uniform(rows.0, width, rng), uniform(rows.1, width, rng));
        let mut at = |h: f64| {
            let (x, y) = (&x + &(h * &dx), &y + &(h * &dy));
            loss.forward(&target, net.forward(&[&x, &y]))
        };
        let expected = (at(1e-5) - at(-1e-5)) / 2e-5;
        let found = (&deltas[0] * &dx).sum() + (&deltas[1] * &dy).sum();
        prop_assert!((found - expected).abs() <= 1e-6 * (1.0 + expected.abs() + delta[[0, 0]].abs()), "{} {}", found, expected);
    }
}

#[test]
fn a_bilinear_scorer_learns_by_hand() {
    // The targets are the scores x W y of a matrix W, which the training must find.
    let rng = &mut StdRng::seed_from_u64(0);
    let truth = uniform(3, 3, rng);
    let (x, y) = (uniform(40, 3, rng), uniform(40, 3, rng));
    let target = (x.dot(&truth) * &y).sum_axis(ndarray::Axis(1)).insert_axis(ndarray::Axis(1));
    let w = Param::new(Array2::zeros((3, 3)));
    let mut scorer = Graph::new(2);
    let projected = scorer.layer(Linear::from_params(w.clone(), None), scorer.input(0));
    scorer.join(DotProduct::new(), &[projected, scorer.input(1)]);
    let mut loss = Mse::new();
    for _ in 0..500 {
        scorer.zero_grad();
        let delta = loss.backward(&target, scorer.forward(&[&x, &y]));
        scorer.backward_update_gradient(&[&x, &y], delta);
        scorer.update_parameters(0.3);
    }
    close("W", w.value().as_slice().unwrap(), truth.as_slice().unwrap(), 1e-6);
}

#[test]
fn an_input_that_is_not_used_has_a_delta_of_zeros() {
    let mut graph = Graph::new(2);
    graph.layer(Tanh::new(), graph.input(1));
    let (x, y) = (array![[1.0, 2.0]], array![[0.0]]);
    graph.forward(&[&x, &y]);
    let deltas = graph.backward_delta(&[&x, &y], &array![[1.0]]);
    assert_eq!(deltas, [array![[0.0, 0.0]], array![[1.0]]]);
}

fn message(code: impl FnOnce() + std::panic::UnwindSafe) -> String {
    let payload = std::panic::catch_unwind(code).unwrap_err();
    payload.downcast_ref::<String>().cloned().unwrap_or_else(|| payload.downcast_ref::<&str>().unwrap().to_string())
}

#[test]
fn mistakes_are_named() {
    let zeros = |rows: usize, columns: usize| Array2::<f64>::zeros((rows, columns));
    let forward = |module: &mut dyn NaryModule<f64>, inputs: &[Array2<f64>]| {
        let inputs: Vec<&ArrayRef2<f64>> = inputs.iter().map(|input| &**input).collect();
        module.forward(&inputs);
    };
    for (inputs, expected) in [
        (vec![], "Sum: expected at least one input, found none"),
        (vec![zeros(2, 3), zeros(2, 4)], "Sum: expected inputs of one width, found 3 for input 0 and 4 for input 1"),
        (vec![zeros(2, 3), zeros(4, 3)], "Sum: expected inputs of 2 rows, or of one, found 4 for input 1"),
    ] {
        assert_eq!(message(move || forward(&mut Sum::new(), &inputs)), expected);
    }
    assert_eq!(
        message(move || forward(&mut DotProduct::new(), &[zeros(2, 3)])),
        "DotProduct: expected two inputs, found 1"
    );
    let one = [zeros(1, 3)];
    assert_eq!(message(move || forward(&mut Vector::new(array![1.0]), &one)), "Vector 1: expected no input, found 1");
    let in_graph = move || {
        let mut graph = Graph::new(1);
        let first = graph.layer(Tanh::new(), graph.input(0));
        graph.join(DotProduct::new(), &[first]);
        forward(&mut graph, &[zeros(2, 3)]);
    };
    assert_eq!(message(in_graph), "Graph of 2 nodes: in node 1 (DotProduct): expected two inputs, found 1");
    let early = || {
        Sum::new().backward_delta(&[&array![[1.0]]], &array![[1.0]]);
    };
    assert_eq!(message(early), "Sum: backward before forward");
    assert_eq!(
        message(|| drop(format!("{:?}", Graph::<f64>::new(1).input(1)))),
        "Graph: input 1 of a graph of 1 inputs"
    );
    let foreign = || {
        let (mut a, b) = (Graph::<f64>::new(2), Graph::<f64>::new(2));
        a.join(Sum::new(), &[a.input(0), b.input(1)]);
    };
    assert_eq!(message(foreign), "Graph: Sum: expected places of this graph, found one of another graph as input 1");
    let empty = || {
        Graph::<f64>::new(0).forward(&[]);
    };
    assert_eq!(message(empty), "Graph of 0 nodes: expected at least one node");
}
