//! A network for images of your own: `.npy` files in, a trained network and its curves out. A run that was stopped goes on.
//!
//! `cargo run --release --example train_your_own -- --data DIRECTORY --run run.npz`

mod lesson;

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use lesson::plot::{Axis, Curve, Panel};
use lesson::{positive, verdict::Curves};
use tapegrad::data::{Batches, Generator, Samples, accuracy, load_data};
use tapegrad::files::{Saved, ToSave};
use tapegrad::nn::{Dropout, Linear, Loss, Module, ReLU, Sequential, SoftmaxCrossEntropy};
use tapegrad::optim::{Adam, Optimizer, Schedule, clip_grad_norm};

/// Train a network of two layers on images of your own, by Adam, one cycle of learning rates, clipped gradients, and dropout.
#[derive(Parser, Debug)]
#[rustfmt::skip]
struct Options {
    #[arg(long, help = "Directory with x.npy, y.npy (training) and xt.npy, yt.npy (test)",
        default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/data/digits178"))] data: PathBuf,
    #[arg(long, help = "The run: written after every pass, read if it is there", default_value = "run.npz")] run: PathBuf,
    #[arg(long, help = "Stop before this pass; the next run goes on")] until: Option<usize>,
    #[arg(long, default_value_t = 100, value_parser = positive)] hidden: usize,
    #[arg(long, default_value_t = 20, value_parser = positive)] passes: usize,
    #[arg(long, default_value_t = 64, value_parser = positive)] batch: usize,
}

fn main() -> ExitCode {
    lesson::exit(train(&lesson::parse()))
}

fn train(options: &Options) -> lesson::Outcome {
    let (data, _) = load_data::<f32>(&options.data)?.normalized();
    let (width, classes) = (data.train().images().ncols(), data.train().classes());
    let saved = if options.run.exists() { Some(Saved::read(&options.run)?) } else { None };
    let first = saved.as_ref().map_or(Ok(0), |saved| saved.count("pass"))?;
    let mut batches = Batches::new(data.train().len(), options.batch, 1).resumed_at(first);
    let (first, steps, rng) = (first as usize, batches.iter().len(), &mut Generator::new(0));
    let hidden = Linear::new(width, options.hidden, rng);
    let dropout = Dropout::new(0.5, 2).resumed_at((first * steps) as u64);
    let mut net = Sequential::new().push(hidden).push(ReLU::new()).push(dropout);
    net = net.push(Linear::new(options.hidden, classes, rng));
    let (mut loss, named) = (SoftmaxCrossEntropy::new(), net.named_parameters());
    let (mut adam, mut curves) = (Adam::new(net.parameters(), 1e-3), Curves::default());
    if let Some(saved) = &saved {
        curves = Curves::load(saved, first)?;
        saved.restore(&named, &mut adam)?;
    }
    let schedule = Schedule::one_cycle(3e-3, options.passes * steps);
    for pass in first..options.until.unwrap_or(options.passes).min(options.passes) {
        batches.shuffle();
        net.train();
        for (step, rows) in batches.iter().enumerate() {
            schedule.apply(pass * steps + step, &mut adam);
            let batch = data.train().select(rows);
            let delta = loss.backward(&batch.one_hot(), net.forward(batch.images()));
            net.backward_update_gradient(batch.images(), delta);
            clip_grad_norm(net.parameters(), 1.0);
            adam.step();
            adam.zero_grad();
        }
        net.eval();
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
