//! A network for images of your own: `.npy` files in, a trained network and its curves out. A run that was stopped goes on.
//!
//! `cargo run --release --example train_your_own -- --data DIRECTORY --run run.npz`

mod lesson;

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use lesson::plot::{Axis, Curve, Panel};
use lesson::{positive, verdict::Curves};
use ndarray::Array2;
use tapegrad::data::{Batches, Generator, Samples, accuracy, load_data, one_hot};
use tapegrad::files::{Saved, ToSave};
use tapegrad::nn::{Activation, Loss, Module, Sequential, SoftmaxCrossEntropy};
use tapegrad::optim::{Adam, Optimizer, Schedule, clip_grad_norm};

/// Train a network of two layers on images of your own, by Adam, one cycle of learning rates, and clipped gradients.
#[derive(Parser, Debug)]
#[rustfmt::skip]
struct Options {
    /// Directory with x.npy, y.npy (training) and xt.npy, yt.npy (test)
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/data/digits178"))] data: PathBuf,
    /// The file of the run: written after every pass, and read if it is there
    #[arg(long, default_value = "run.npz")] run: PathBuf,
    #[arg(long, default_value_t = 100, value_parser = positive)] hidden: usize,
    #[arg(long, default_value_t = 20, value_parser = positive)] passes: usize,
    /// Stop before this pass; the next run goes on
    #[arg(long)] until: Option<usize>,
    #[arg(long, default_value_t = 64, value_parser = positive)] batch: usize,
}

fn main() -> ExitCode {
    lesson::exit(train(&lesson::parse()))
}

fn train(options: &Options) -> lesson::Outcome {
    let (data, _) = load_data::<f32>(&options.data)?.normalized();
    let (width, classes) = (data.train().images().ncols(), data.train().classes());
    let mut net = Sequential::mlp(3, width, options.hidden, classes, Activation::ReLU, &mut Generator::new(0))?;
    let (mut loss, named) = (SoftmaxCrossEntropy::new(), net.named_parameters());
    let mut adam = Adam::new(net.parameters(), 1e-3);
    let (mut first, mut curves) = (0, Curves::default());
    if options.run.exists() {
        let saved = Saved::read(&options.run)?;
        first = saved.count("pass")? as usize;
        curves = Curves::load(&saved, first)?;
        saved.restore(&named, &mut adam)?;
    }
    let mut batches = Batches::new(data.train().len(), options.batch, 1).resumed_at(first as u64);
    let steps = batches.iter().len();
    let schedule = Schedule::one_cycle(3e-3, options.passes * steps);
    let (mut images, mut labels) = (Array2::default((0, 0)), Vec::new());
    for pass in first..options.until.unwrap_or(options.passes).min(options.passes) {
        batches.shuffle();
        for (step, rows) in batches.iter().enumerate() {
            let (x, labels) = data.train().batch(rows, &mut images, &mut labels);
            let y = one_hot(labels, classes)?;
            schedule.apply(pass * steps + step, &mut adam);
            let delta = loss.backward(&y, net.forward(&x));
            net.backward_update_gradient(&x, delta);
            clip_grad_norm(net.parameters(), 1.0);
            adam.step();
            adam.zero_grad();
        }
        let mut evaluate = |set: &Samples<f32>| {
            let yhat = net.forward(set.images());
            (f64::from(loss.forward(&set.one_hot(), yhat)), accuracy(yhat, set.labels()))
        };
        let [train, test] = [data.train(), data.test()].map(&mut evaluate);
        curves.push([train.0, test.0], [train.1, test.1]);
        println!("pass {}: train loss {:.6}, test loss {:.6}, {:.2} %", pass + 1, train.0, test.0, 100.0 * test.1);
        let file = ToSave::new().parameters(&named).optimizer(&adam, &named).count("pass", pass as u64 + 1);
        curves.save(file).write(&options.run)?;
    }
    let losses = [0, 1].map(|set| Curve::by_index(["train", "test"][set], curves.loss(set), set));
    let panel = Panel::new("your own", Axis::whole("pass"), Axis::logarithmic("mean cross-entropy"), losses);
    lesson::plot::write("train_your_own.svg".as_ref(), &[panel])
}
