//! A network for images of your own: `.npy` files in, a trained network and its curves out. A run that was stopped goes on.
//!
//! `cargo run --release --example train_your_own -- --data DIRECTORY --run run.npz`

mod lesson;

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use lesson::plot::{Axis, Curve, Panel};
use lesson::{positive, verdict::Curves, watch};
use tapegrad::data::{Batches, ConfusionMatrix, Generator, Samples, load_data};
use tapegrad::files::{Saved, ToSave};
use tapegrad::nn::{Dropout, Linear, Loss, Module, ReLU, Sequential, SoftmaxCrossEntropy};
use tapegrad::optim::{Adam, Optimizer, Schedule, clip_grad_norm};
use tapegrad::report::Report;
use tapegrad::train::{Progress, Record, gradient_norms};

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
    #[command(flatten)] watch: watch::Outputs,
}

fn main() -> ExitCode {
    lesson::exit(train(&lesson::parse()))
}

fn train(options: &Options) -> lesson::Outcome {
    options.watch.check()?;
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
    let page = Report::new("your own").with_fact("gradients", "in the last step of a pass, before they are clipped");
    let mut watch = watch::Watch::new(&options.watch, page, Progress::Bar, options.passes, first)?;
    watch.first_layer(&named[0].0, &named[0].1);
    let (mut norms, mut confusion) = (Vec::new(), None);
    for pass in first..options.until.unwrap_or(options.passes).min(options.passes) {
        batches.shuffle();
        net.train();
        for (step, rows) in batches.iter().enumerate() {
            schedule.apply(pass * steps + step, &mut adam);
            let batch = data.train().select(rows);
            let delta = loss.backward(&batch.one_hot(), net.forward(batch.images()));
            net.backward_update_gradient(batch.images(), delta);
            norms = if step + 1 == steps { gradient_norms(&named) } else { norms };
            clip_grad_norm(net.parameters(), 1.0);
            adam.step();
            adam.zero_grad();
        }
        net.eval();
        let mut evaluate = |set: &Samples<f32>| {
            let yhat = net.forward(set.images());
            (f64::from(loss.forward(&set.one_hot(), yhat)), ConfusionMatrix::new(yhat, set.labels()))
        };
        let [(train, seen), (test, matrix)] = [data.train(), data.test()].map(&mut evaluate);
        let (done, seen, share) = (pass + 1, seen.accuracy(), matrix.accuracy());
        curves.push([train, test], [seen, share]);
        watch.above(|| println!("pass {done}: train loss {train:.6}, test loss {test:.6}, {:.2} %", 100.0 * share));
        let record = Record::new(pass, train).with_train_accuracy(seen).with_test_loss(test).with_test_accuracy(share);
        let record = record.with_learning_rate(f64::from(adam.learning_rate())).with_time(watch.time());
        watch.show(record.with_gradient_norms(std::mem::take(&mut norms)))?;
        confusion = Some(matrix);
        let file = ToSave::new().parameters(&named).optimizer(&adam, &named).count("pass", pass as u64 + 1);
        curves.save(file).write(&options.run)?;
    }
    let names = watch::class_names(classes);
    watch.finish(confusion.as_ref().map(|matrix| (matrix, &*names)))?;
    let losses = [0, 1].map(|set| Curve::by_index(["train", "test"][set], curves.loss(set), set));
    let panel = Panel::new("your own", Axis::whole("pass"), Axis::logarithmic("mean cross-entropy"), losses);
    lesson::plot::write("train_your_own.svg".as_ref(), &[panel])
}
