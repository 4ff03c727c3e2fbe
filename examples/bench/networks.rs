//! W1 to W6: networks of linear layers.
//!
//! | | widths | activation | batch | loss |
//! |---|---|---|---|---|
//! | W1 | 784, 3 | | 18,858 | mean cross-entropy of labels |
//! | W2 | 784, 100, 3 | tanh | 18,858 | the same |
//! | W3 | 784, 100, 10 | tanh | 128 | the same |
//! | W4 | 784, 10, 3 | tanh | 1 | the same |
//! | W5 | 16 in 51 places | tanh, also after the last layer | 1 | mean squared error |
//! | W6 | 784, 1024, 1024, 10 | relu | 512 | mean cross-entropy of labels |
//!
//! With `s` the workload's first stream: `s` is the input, `(batch, 784)` in `[0, 1)`; `s + 1` the labels, or the target of
//! W5 in `[-1, 1)`; `s + 2 + 2k` the weight of layer `k`, `(in, out)`, and `s + 3 + 2k` its bias, `(out)`. Weights and biases
//! are uniform, with the bounds `√(3 / in)` and `1 / √in`.

use std::ops::Range;
use std::sync::Arc;

use ndarray::{Array2, ArrayView2, s};
use tapegrad::chunks::{Chunks, Rows};
use tapegrad::nn::{Linear, Loss, Module, Mse, ReLU, Sequential, SoftmaxCrossEntropy, Tanh};
use tapegrad::{Param, Scalar, Tape, Var};

use crate::data;
use crate::step::{Descent, Step, along, train};
use crate::workload::{Path, Workload};

/// Returns widths, whether the activation is relu, and the batch.
pub fn sizes(workload: Workload) -> (Vec<usize>, bool, usize) {
    match workload {
        Workload::W1 => (vec![784, 3], false, 18858),
        Workload::W2 => (vec![784, 100, 3], false, 18858),
        Workload::W4 => (vec![784, 10, 3], false, 1),
        Workload::W5 => (vec![16; 51], false, 1),
        Workload::W6 => (vec![784, 1024, 1024, 10], true, 512),
        _ => (vec![784, 100, 10], false, 128),
    }
}

/// Returns a step of W1 to W6.
pub fn step<T: Scalar>(workload: Workload, path: Path, chunk: usize) -> Step<T> {
    let (widths, relu, batch) = sizes(workload);
    let deep = workload == Workload::W5;
    let (inputs, classes) = (widths[0], widths[widths.len() - 1]);
    let stream = workload.stream();
    let x = Arc::new(data::array(stream, (batch, inputs), |u| u));

    let layers: Vec<(Param<T>, Param<T>)> = (stream + 2..)
        .step_by(2)
        .zip(widths.windows(2))
        .map(|(stream, width)| {
            let weight = Param::new(data::weight(stream, (width[0], width[1]), width[0]));
            (weight, data::bias(stream + 1, width[1], width[0]))
        })
        .collect();
    // Networks that this makes share the parameters.
    let make = move || {
        layers.iter().enumerate().fold(Sequential::new(), |network, (k, (weight, bias))| {
            let network = network.push(Linear::from_params(weight.clone(), Some(bias.clone())));
            match deep || k + 1 < layers.len() {
                true if relu => network.push(ReLU::new()),
                true => network.push(Tanh::new()),
                false => network,
            }
        })
    };
    let network = make();
    let params = network.parameters().to_vec();
    let target = data::array(stream + 1, (batch, classes), data::symmetric);
    let labels = data::labels(stream + 1, batch, classes);
    let model = Model { network, target, labels, deep };
    match path {
        Path::Tape | Path::Program => train(path, x, params, move |tape, x| model.record(tape, x, 0..batch)),
        Path::Jvp | Path::JvpByVjp => along(path, x, move |tape, x| model.record(tape, x, 0..batch)),
        Path::Manual => by_hand(model, x, params),
        Path::Chunked => in_chunks(model, x, params, chunk),
        Path::ManualChunked => in_chunks_by_hand(model, x, params, chunk, make),
    }
}

/// What W1 to W6 train.
struct Model<T: Scalar> {
    network: Sequential<T>,
    target: Array2<T>,
    labels: Vec<usize>,
    /// Mean squared error to the target instead of cross-entropy of the labels.
    deep: bool,
}

impl<T: Scalar> Model<T> {
    /// Records the loss of some rows.
    fn record<'t>(&self, tape: &'t Tape<T>, x: Var<'t, T>, rows: Range<usize>) -> Var<'t, T> {
        let output = self.network.record(tape, x);
        match self.deep {
            true => Mse::new().record(&self.target.slice(s![rows, ..]), output),
            false => SoftmaxCrossEntropy::new().record_labels(&self.labels[rows], output),
        }
    }
}

fn in_chunks<T: Scalar>(model: Model<T>, x: Arc<Array2<T>>, params: Vec<Param<T>>, size: usize) -> Step<T> {
    let (mut chunks, mut descent) = (Chunks::new(size), Descent::new(params));
    Box::new(move |wanted| {
        let loss = chunks.accumulate_gradients(Rows::mean(x.nrows()), |tape, rows| {
            model.record(tape, tape.constant(&x).slice(0, rows.clone()), rows)
        });
        descent.update(wanted);
        loss
    })
}

fn by_hand<T: Scalar>(mut model: Model<T>, x: Arc<Array2<T>>, params: Vec<Param<T>>) -> Step<T> {
    let (mut losses, mut descent) = (Losses::default(), Descent::new(params));
    Box::new(move |wanted| {
        let output = model.network.forward(&x);
        let (loss, delta) = losses.of(&model.target.view(), &model.labels, model.deep, output);
        model.network.backward_update_gradient(&x, delta);
        descent.update(wanted);
        loss
    })
}

fn in_chunks_by_hand<T: Scalar>(
    model: Model<T>,
    x: Arc<Array2<T>>,
    params: Vec<Param<T>>,
    size: usize,
    make: impl Fn() -> Sequential<T> + Send + Sync + 'static,
) -> Step<T> {
    let mut chunks = Chunks::by_hand(size, move || (make(), Losses::default()));
    let mut descent = Descent::new(params);
    let Model { target, labels, deep, .. } = model;
    Box::new(move |wanted| {
        let loss = chunks.accumulate_by_hand(Rows::mean(x.nrows()), |(network, losses), rows| {
            let (x, target) = (x.slice(s![rows.clone(), ..]), target.slice(s![rows.clone(), ..]));
            let output = network.forward(&x);
            let (loss, delta) = losses.of(&target, &labels[rows], deep, output);
            network.backward_update_gradient(&x, delta);
            loss
        });
        descent.update(wanted);
        loss
    })
}

/// The losses by hand, with their memory.
#[derive(Default)]
struct Losses<T: Scalar> {
    mse: Mse<T>,
    cross_entropy: SoftmaxCrossEntropy<T>,
}

impl<T: Scalar> Losses<T> {
    /// Returns loss and delta.
    fn of(&mut self, target: &ArrayView2<'_, T>, labels: &[usize], deep: bool, output: &Array2<T>) -> (T, &Array2<T>) {
        if deep {
            let loss = self.mse.forward(target, output);
            (loss, self.mse.backward(target, output))
        } else {
            let loss = self.cross_entropy.forward_labels(labels, output);
            (loss, self.cross_entropy.backward_labels(labels, output))
        }
    }
}
