//! The layers of both halves beyond `Linear` and the activations: by hand against the tape (`parity`), against differences
//! (the Jacobian kit), in training and evaluation, and what a network does with them.

use ndarray::{Array2, array};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tapegrad::check::{parity, test_jacobian, test_jacobian_parameters};
use tapegrad::nn::{
    AvgPool2d, BatchNorm, Conv2d, Dropout, Embedding, Flatten, LayerNorm, Linear, LstmCell, MaxPool2d, Module, Mse,
    ReLU, Recurrent, Residual, RnnCell, Sequential, Sigmoid, Tanh,
};
use tapegrad::train::{ByHand, Examples, Learner};
use tapegrad::{ConvOptions, PoolDivisor, PoolOptions, Program, Scalar, Tape};

fn random<T: Scalar>(rows: usize, columns: usize, seed: u64) -> Array2<T> {
    let mut rng = StdRng::seed_from_u64(seed);
    Array2::from_shape_simple_fn((rows, columns), || T::from_f64(rng.random_range(-1.5..1.5)))
}

/// Checks a layer in training and in evaluation.
#[track_caller]
fn assert_agrees(layer: &mut (impl Module<f64> + 'static), width: usize) {
    let x = random(3, width, 1);
    // An eval before the first training pass uses the first running averages.
    for evaluation in [false, true] {
        if evaluation {
            layer.eval()
        } else {
            layer.train()
        }
        let name = format!("{}, evaluation {evaluation}", layer.name());
        let y = random(3, layer.output_width(width).expect("the width fits"), 2);
        let agreement = parity(layer, &mut Mse::new(), (&x, &y));
        agreement.unwrap_or_else(|difference| panic!("{name}: {difference}"));
        let error = test_jacobian(layer, &x);
        assert!(error < 1e-8, "{name}: {error}");
        for parameter in layer.parameters().to_vec() {
            let error = test_jacobian_parameters(layer, &x, &parameter);
            assert!(error < 1e-8, "{name}, {parameter:?}: {error}");
        }
        // Another memory layout, and a smaller batch.
        let x = random(width, 2, 3).reversed_axes();
        let y = random(2, y.ncols(), 4);
        parity(layer, &mut Mse::new(), (&x, &y)).unwrap_or_else(|difference| panic!("{name}: {difference}"));
    }
}

fn rng() -> StdRng {
    StdRng::seed_from_u64(5)
}

#[test]
fn convolution() {
    assert_agrees(&mut Conv2d::new([2, 4, 3], 3, [2, 1], &mut rng()), 24);
    let options = ConvOptions::new().with_stride([2, 1]).with_padding([1, 2]).with_dilation([1, 2]).with_groups(2);
    assert_agrees(&mut Conv2d::with_options([4, 3, 4], 2, 2, &options, &mut rng()), 48);
}

#[test]
fn pooling() {
    assert_agrees(&mut MaxPool2d::new([2, 4, 5], 2), 40);
    let options = PoolOptions::new([3, 2]).with_stride([2, 1]).with_padding([1, 1]);
    assert_agrees(&mut MaxPool2d::new([1, 4, 5], options), 20);
    assert_agrees(&mut AvgPool2d::new([1, 4, 5], options), 20);
    assert_agrees(&mut AvgPool2d::new([1, 4, 5], options.with_divisor(PoolDivisor::Elements)), 20);
}

#[test]
fn normalization() {
    assert_agrees(&mut LayerNorm::new(5), 5);
    assert_agrees(&mut BatchNorm::new(4), 4);
    assert_agrees(&mut BatchNorm::of_images([2, 2, 3]), 12);
}

#[test]
fn dropout() {
    assert_agrees(&mut Dropout::new(0.4, 3), 6);
}

#[test]
fn flatten_and_residual() {
    assert_agrees(&mut Flatten::new(), 6);
    let inner =
        Sequential::new().push(Linear::new(4, 3, &mut rng())).push(Tanh::new()).push(Linear::new(3, 4, &mut rng()));
    assert_agrees(&mut Residual::new(inner), 4);
}

#[test]
fn recurrent_cells() {
    assert_agrees(&mut RnnCell::new(2, 3, &mut rng()), 5);
    assert_agrees(&mut LstmCell::new(2, 3, &mut rng()), 8);
}

#[test]
fn recurrent_networks() {
    assert_agrees(&mut Recurrent::new(RnnCell::new(2, 3, &mut rng())), 8);
    assert_agrees(&mut Recurrent::new(LstmCell::new(2, 2, &mut rng())), 6);
}

/// Its indices are no quantities, so the Jacobian by them does not exist.
#[test]
fn embedding() {
    let mut layer = Embedding::new(4, 3, &mut rng());
    let x = array![[0.0, 3.0], [3.0, 3.0], [1.0, 0.0]];
    parity(&mut layer, &mut Mse::new(), (&x, &random(3, 6, 2))).unwrap_or_else(|difference| panic!("{difference}"));
    let weight = layer.weight().clone();
    assert!(test_jacobian_parameters(&mut layer, &x, &weight) < 1e-9);
    assert_eq!(layer.backward_delta(&x, &random(3, 6, 2)), Array2::<f64>::zeros((3, 2)));
}

#[test]
#[should_panic(expected = "Embedding 4 -> 3: expected an index from 0 to 3, found 4")]
fn an_index_beyond_the_table_is_refused() {
    Embedding::<f64>::new(4, 3, &mut rng()).forward(&array![[0.0, 4.0]]);
}

/// A network of many kinds of layers.
fn network() -> Sequential<f64> {
    let rng = &mut rng();
    let conv = Conv2d::with_options([1, 6, 6], 4, 3, &ConvOptions::new().with_padding(1), rng);
    let pool = MaxPool2d::new(conv.output_image(), 2);
    let norm = BatchNorm::of_images(pool.output_image());
    let residual = Sequential::new().push(Linear::new(36, 8, rng)).push(Sigmoid::new()).push(Linear::new(8, 36, rng));
    Sequential::new()
        .push(conv)
        .push(ReLU::new())
        .push(pool)
        .push(norm)
        .push(Flatten::new())
        .push(Residual::new(residual))
        .push(Dropout::new(0.25, 7))
        .push(LayerNorm::new(36))
        .push(Linear::new(36, 3, rng))
}

#[test]
fn a_network_of_them_agrees_with_the_tape() {
    let mut net = network();
    let (x, y) = (random(5, 36, 1), random(5, 3, 2));
    let before: Vec<_> = net.buffers().iter().map(|buffer| buffer.value()).collect();
    for _ in 0..2 {
        parity(&mut net, &mut Mse::new(), (&x, &y)).unwrap_or_else(|difference| panic!("{difference}"));
        net.eval();
    }
    let after: Vec<_> = net.buffers().iter().map(|buffer| buffer.value()).collect();
    assert_eq!(before, after, "a check leaves the buffers as they were");
}

#[test]
fn a_table_shows_shapes_and_weights() {
    let expected = "\
layer                       output         parameters
input                       (batch, 36)
Conv2d 1x6x6 -> 4x6x6       (batch, 4·6·6)         40
ReLU                        (batch, 4·6·6)          0
MaxPool2d 4x6x6 -> 4x3x3    (batch, 4·3·3)          0
BatchNorm 4x3x3             (batch, 4·3·3)          8
Flatten                     (batch, 36)             0
Residual of Sequential of 3 layers (batch, 36)           620
Dropout 0.25                (batch, 36)             0
LayerNorm 36                (batch, 36)            72
Linear 36 -> 3              (batch, 3)            111
total                                             851";
    let words = |text: &str| -> Vec<Vec<String>> {
        text.lines().map(|line| line.split_whitespace().map(String::from).collect()).collect()
    };
    assert_eq!(words(&network().summary(36)), words(expected));
}

#[test]
fn evaluation_is_a_function_of_each_row_and_training_is_not() {
    let mut net = network();
    let x = random(5, 36, 1);
    let first = net.forward(&x).to_owned();
    assert_ne!(net.forward(&x).to_owned(), first, "another mask");
    net.eval();
    let all = net.forward(&x).to_owned();
    assert_eq!(net.forward(&x).to_owned(), all);
    let alone = net.forward(&x.slice_axis(ndarray::Axis(0), (2..3).into()).to_owned()).to_owned();
    for (a, b) in alone.iter().zip(all.row(2)) {
        assert!((a - b).abs() < 1e-12);
    }
}

#[test]
fn the_recorded_mask_is_that_of_the_forward_pass_before_it() {
    let x = Array2::<f64>::ones((4, 16));
    let mut layer = Dropout::new(0.5, 11);
    let record = |layer: &Dropout<f64>| {
        let tape = Tape::new();
        layer
            .record(&tape, tape.constant(&x))
            .value()
            .to_owned()
            .into_dimensionality::<ndarray::Ix2>()
            .expect("a matrix")
    };
    let first = layer.forward(&x).clone();
    let second = layer.forward(&x).clone();
    assert_ne!(first, second);
    assert_eq!(record(&layer), second);
    let third = record(&layer);
    assert_ne!(third, second, "a second recording draws anew");
    let fourth = layer.forward(&x).clone();
    assert!(fourth != third && fourth != second);
    // The same seed gives the same masks, whichever half draws them.
    let again = Dropout::new(0.5, 11);
    assert_eq!([(); 4].map(|()| record(&again)), [first, second, third, fourth]);
}

#[test]
fn both_halves_move_the_running_averages_alike() {
    let (mut by_hand, on_tape) = (BatchNorm::of_images([2, 2, 3]), BatchNorm::of_images([2, 2, 3]));
    for seed in 0..3 {
        let x = random::<f64>(4, 12, seed);
        by_hand.forward(&x);
        let tape = Tape::new();
        let _ = on_tape.record(&tape, tape.constant(&x));
        for (a, b) in by_hand.buffers().iter().zip(on_tape.buffers()) {
            assert_eq!(a.name(), b.name());
            for (a, b) in a.value().iter().zip(b.value().iter()) {
                assert!((a - b).abs() < 1e-14);
            }
        }
    }
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let message = |f: &dyn Fn()| {
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).expect_err("a panic");
        panic.downcast_ref::<String>().expect("a message").clone()
    };
    let cases: [(&dyn Fn(), &str); 7] = [
        (
            &|| drop(Conv2d::<f64>::new([1, 2, 2], 1, 3, &mut rng())),
            "Conv2d: a window of [3, 3] with a dilation of [1, 1] is larger than [2, 2], padded by [0, 0]",
        ),
        (
            &|| drop(Conv2d::<f64>::with_options([3, 4, 4], 2, 3, &ConvOptions::new().with_groups(2), &mut rng())),
            "Conv2d: a weight of shape (2, 1, 3, 3) does not fit images of 3 channels in 2 groups",
        ),
        (
            &|| drop(MaxPool2d::<f64>::new([1, 4, 4], PoolOptions::new(2).with_padding(2))),
            "MaxPool2d: a padding of [2, 2] is more than half of a window of [2, 2]",
        ),
        (
            &|| drop(BatchNorm::<f64>::new(2).forward(&array![[1.0, 2.0]]).clone()),
            "BatchNorm 2: expected more than one element for each channel in training",
        ),
        (
            &|| drop(Recurrent::new(RnnCell::<f64>::new(2, 3, &mut rng())).forward(&array![[1.0, 2.0, 3.0]]).clone()),
            "Recurrent RnnCell 2 -> 3: expected at least one step of width 2, found an input of width 3",
        ),
        (
            &|| drop(Residual::new(Linear::<f64>::new(2, 3, &mut rng())).forward(&array![[1.0, 2.0]]).clone()),
            "Residual of Linear 2 -> 3: the shortcut has width 2, the module's output 3",
        ),
        (&|| drop(Dropout::<f64>::new(1.5, 0)), "Dropout: expected a probability between 0 and 1, found 1.5"),
    ];
    for (f, expected) in cases {
        assert_eq!(message(f), expected);
    }
}

#[test]
fn a_learner_evaluates_in_evaluation_mode_and_learns_in_training() {
    let examples = Examples::new(array![[3.0]], array![[3.0]]).expect("one example");
    let mut learner = ByHand::new(Dropout::new(1.0, 0), Mse::new());
    assert_eq!(learner.accumulate_gradient(&examples), 9.0); // all is dropped
    assert_eq!(learner.evaluate(&examples), 0.0);
    assert_eq!(learner.accumulate_gradient(&examples), 9.0);
}

#[test]
#[should_panic(expected = "the segment gave other values when it ran again")]
fn a_mask_in_a_checkpoint_is_refused() {
    let layer = Dropout::new(0.5, 0);
    let tape = Tape::new();
    let x = tape.leaf(Array2::<f64>::ones((4, 16)));
    tape.checkpoint(&[x], move |tape, x| layer.record(tape, x[0])).sum().backward();
}

#[test]
fn a_program_normalizes_other_batches_and_leaves_the_averages() {
    let layer = BatchNorm::new(2).with_eps(0.0);
    let tape = Tape::new();
    let x = tape.leaf(array![[1.0, 5.0], [3.0, 1.0]]);
    let y = layer.record(&tape, x);
    let mut program = Program::compile(&[x], &[y]).expect("a program");
    let before = layer.running().mean().value();
    let other = array![[7.0, 0.0], [5.0, 8.0]].into_dyn();
    let outputs = program.run(&[other.view()]).expect("the shapes fit");
    assert_eq!(outputs.value(0), array![[1.0, -1.0], [-1.0, 1.0]].into_dyn());
    assert_eq!(layer.running().mean().value(), before);
}
