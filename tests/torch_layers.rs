//! Layers by hand and on the tape against PyTorch's in float64: values, gradients, second derivatives, running averages.
//! `torch_layers.py` writes the table.

use ndarray::{Array2, ArrayD, Ix2};
use serde_json::Value;
use tapegrad::nn::{
    AvgPool2d, BatchNorm, Conv2d, LayerNorm, LstmCell, MaxPool2d, Model, Module, MultiheadAttention, Recurrent, RnnCell,
};
use tapegrad::{AttentionMask, ConvOptions, Param, PoolDivisor, PoolOptions, Tape, Var};

use crate::torch_names::spread;

fn table() -> Value {
    serde_json::from_str(include_str!("files/torch_layers.json")).expect("the table is JSON")
}

fn numbers(row: &Value) -> Vec<f64> {
    row.as_array().expect("an array").iter().map(|x| x.as_f64().expect("a number")).collect()
}

fn lengths(row: &Value) -> Vec<usize> {
    numbers(row).into_iter().map(|length| length as usize).collect()
}

#[track_caller]
fn assert_close<'a>(found: impl IntoIterator<Item = &'a f64>, expected: &Value, what: &str) {
    let (found, expected): (Vec<f64>, _) = (found.into_iter().copied().collect(), numbers(expected));
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let close = (found - expected).abs() <= 1e-10 * (1.0 + expected.abs());
        assert!(close, "{what}, element {i}: {found}, PyTorch has {expected}");
    }
}

fn matrix(array: ArrayD<f64>) -> Array2<f64> {
    array.into_dimensionality::<Ix2>().expect("a matrix")
}

/// Gives the parameters and the buffers the numbers of the table, and returns the input.
fn prepare(row: &Value, parameters: &[Param<f64>], buffers: &[Param<f64>]) -> ArrayD<f64> {
    for (k, parameter) in parameters.iter().enumerate() {
        assert_eq!(parameter.shape().to_vec(), lengths(&row["parameters"][k]));
        parameter.set_value(spread(parameter.shape(), -1.0, 1.0, k + 1));
    }
    for (k, buffer) in buffers.iter().enumerate() {
        buffer.set_value(spread(buffer.shape(), 0.3, 1.3, 20 + k));
    }
    spread(&lengths(&row["input"]), -1.0, 1.0, 0)
}

/// Compares a recording with the table.
fn assert_recorded(
    name: &str,
    row: &Value,
    parameters: &[Param<f64>],
    x: &ArrayD<f64>,
    record: impl for<'t> Fn(&'t Tape<f64>, Var<'t, f64>) -> Var<'t, f64>,
) {
    let tape = Tape::new();
    let x = tape.leaf(x);
    let y = record(&tape, x);
    assert_close(y.value(), &row["value"], &format!("{name}: value"));
    let loss = (y.flatten_axes(1, -1) * tape.constant(seed(y))).sum();
    parameters.iter().for_each(Param::zero_grad);
    loss.backward();
    assert_close(x.grad().expect("reached"), &row["first"][0], &format!("{name}: gradient"));
    for (k, parameter) in parameters.iter().enumerate() {
        let what = format!("{name}: gradient of parameter {k}");
        assert_close(&*parameter.grad().expect("reached"), &row["first"][k + 1], &what);
    }
    // The gradient by the input, contracted, by everything.
    let tape = Tape::new();
    let x = tape.leaf(x.value());
    let y = record(&tape, x);
    let loss = (y.flatten_axes(1, -1) * tape.constant(seed(y))).sum();
    let total = (loss.grads_or_zeros(&[x])[0] * tape.constant(spread(&x.shape(), -1.0, 1.0, 11))).sum();
    parameters.iter().for_each(Param::zero_grad);
    // What it does not depend on has a derivative of 0, and not none.
    (total + 0.0 * y.sum()).backward();
    assert_close(x.grad().expect("reached"), &row["second"][0], &format!("{name}: second derivative"));
    for (k, parameter) in parameters.iter().enumerate() {
        let what = format!("{name}: second derivative by parameter {k}");
        assert_close(&*parameter.grad().expect("reached"), &row["second"][k + 1], &what);
    }
}

fn seed(y: Var<'_, f64>) -> ArrayD<f64> {
    let flat = y.flatten_axes(1, -1);
    spread(&flat.shape(), -1.0, 1.0, 7)
}

/// Compares a layer's both halves with the table.
fn assert_layer(name: &str, mut layer: impl Module<f64>) {
    let table = table();
    let row = &table[name];
    let parameters = layer.parameters().to_vec();
    if name.ends_with("eval") {
        layer.eval();
    }
    let x = matrix(prepare(row, &parameters, &layer.buffers()));
    let y = layer.forward(&x).clone();
    assert_close(&y, &row["value"], &format!("{name}: value by hand"));
    for (k, buffer) in layer.buffers().iter().enumerate() {
        assert_close(&*buffer.value(), &row["buffers"][k], &format!("{name}: {}", buffer.name()));
    }
    let delta = matrix(spread(&[y.nrows(), y.ncols()], -1.0, 1.0, 7));
    let d_in = layer.backward(&x, &delta).clone();
    assert_close(&d_in, &row["first"][0], &format!("{name}: gradient by hand"));
    for (k, parameter) in parameters.iter().enumerate() {
        let what = format!("{name}: gradient of parameter {k} by hand");
        assert_close(&*parameter.grad().expect("reached"), &row["first"][k + 1], &what);
    }
    prepare(row, &parameters, &layer.buffers());
    assert_recorded(name, row, &parameters, &x.into_dyn(), |tape, x| layer.record(tape, x));
}

#[test]
fn layers() {
    let rng = &mut rand::SeedableRng::seed_from_u64(0);
    let rng: &mut rand::rngs::StdRng = rng;
    let options = ConvOptions::new().with_stride([2, 1]).with_padding([1, 0]);
    assert_layer("Conv2d", Conv2d::with_options([2, 5, 4], 3, [3, 2], &options, rng));
    let options = ConvOptions::new().with_stride(2).with_padding(1).with_dilation(2).with_groups(2);
    assert_layer("Conv2d groups", Conv2d::with_options([4, 5, 5], 6, 2, &options, rng));
    let options = PoolOptions::new([3, 2]).with_stride([2, 1]).with_padding(1);
    assert_layer("MaxPool2d", MaxPool2d::new([2, 5, 6], options));
    assert_layer("AvgPool2d", AvgPool2d::new([2, 5, 6], options));
    let options = options.with_stride(2).with_divisor(PoolDivisor::Elements);
    assert_layer("AvgPool2d elements", AvgPool2d::new([1, 5, 6], options));
    assert_layer("LayerNorm", LayerNorm::new(4));
    assert_layer("BatchNorm", BatchNorm::new(3).with_momentum(0.3));
    assert_layer("BatchNorm images", BatchNorm::of_images([2, 2, 3]));
    assert_layer("BatchNorm eval", BatchNorm::new(3));
    assert_layer("BatchNorm images eval", BatchNorm::of_images([2, 2, 3]));
    assert_layer("RnnCell", RnnCell::new(2, 4, rng));
    assert_layer("LstmCell", LstmCell::new(2, 4, rng));
    assert_layer("Rnn", Recurrent::new(RnnCell::new(2, 3, rng)));
    assert_layer("Lstm", Recurrent::new(LstmCell::new(2, 3, rng)));
}

#[test]
fn attention() {
    let mut rng: rand::rngs::StdRng = rand::SeedableRng::seed_from_u64(0);
    for (name, mask) in [("Attention", AttentionMask::All), ("Attention causal", AttentionMask::Causal)] {
        let table = table();
        let row = &table[name];
        let attention = MultiheadAttention::new(4, 2, &mut rng).with_mask(mask);
        let parameters = attention.parameters();
        let x = prepare(row, &parameters, &[]);
        assert_recorded(name, row, &parameters, &x, |tape, x| {
            let steps = x.reshape(((), 3, 4));
            attention.record(tape, steps).flatten_axes(1, -1)
        });
    }
}
