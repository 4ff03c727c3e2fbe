//! A convolutional network on the digits, by hand or by the tape: convolution, batch normalization, pooling, dropout.
//!
//! `cargo run --release --example cnn -- --help`

mod lesson;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use lesson::plot::{Axis, Curve, Panel};
use lesson::watch::{Outputs, Watch, class_names};
use lesson::{Half, Outcome, exit, positive, positive_number};
use ndarray::{Array2, ArrayRef2};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tapegrad::data::{Batches, ConfusionMatrix, Samples, load_data};
use tapegrad::nn::{
    BatchNorm, Conv2d, Dropout, Flatten, Linear, MaxPool2d, Module, ReLU, Sequential, SoftmaxCrossEntropy,
};
use tapegrad::optim::{Adam, Optimizer, Schedule};
use tapegrad::report::Report;
use tapegrad::train::{Progress, Record, gradient_norms};
use tapegrad::{ConvOptions, Tape};

/// Tell digits apart by a convolutional network, in float32, with Adam on mini-batches.
///
/// Exit codes: 0 done, 1 the data cannot be used, 2 the arguments are wrong.
#[derive(Parser, Debug)]
struct Options {
    /// Directory with x.npy, y.npy (training) and xt.npy, yt.npy (test) [default: the digits of this repository]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Passes over the training digits
    #[arg(long, default_value_t = 12, value_parser = positive)]
    passes: usize,
    /// Digits in a mini-batch
    #[arg(long, default_value_t = 64, value_parser = positive)]
    batch: usize,
    /// Kernels of the first convolution; the second has twice as many
    #[arg(long, default_value_t = 8, value_parser = positive)]
    kernels: usize,
    /// Size of the first step of Adam; the steps get smaller along a half cosine
    #[arg(long, default_value_t = 2e-3, value_parser = positive_number, allow_negative_numbers = true)]
    epsilon: f64,
    /// Which half of the library computes the gradients
    #[arg(long, value_enum, default_value_t = Half::Tape)]
    path: Half,
    /// Seed of the parameters, the batches and the masks
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Take only so many digits of each set
    #[arg(long, value_parser = positive)]
    digits: Option<usize>,
    /// Where to draw losses and accuracies
    #[arg(long, value_name = "FILE.svg", value_parser = lesson::svg, default_value = "cnn.svg")]
    plot: PathBuf,
    #[command(flatten)]
    watch: Outputs,
}

/// The pixels along each side of a digit.
const SIDE: usize = 28;

fn main() -> ExitCode {
    exit(run(&lesson::parse()))
}

/// Returns the network: two blocks of convolution, normalization, rectifier and pooling, then a linear layer.
fn network(options: &Options, classes: usize) -> Sequential<f32> {
    let rng = &mut StdRng::seed_from_u64(options.seed);
    let padded = |padding: usize| ConvOptions::new().with_padding(padding);
    let first = Conv2d::with_options([1, SIDE, SIDE], options.kernels, 5, &padded(2), rng);
    let first_pool = MaxPool2d::new(first.output_image(), 2);
    let second = Conv2d::with_options(first_pool.output_image(), 2 * options.kernels, 3, &padded(1), rng);
    let second_pool = MaxPool2d::new(second.output_image(), 2);
    let width = second_pool.output_image().iter().product();
    let norms = [&first, &second].map(|conv| BatchNorm::of_images(conv.output_image()));
    let [first_norm, second_norm] = norms;
    Sequential::new()
        .push(first)
        .push(first_norm)
        .push(ReLU::new())
        .push(first_pool)
        .push(second)
        .push(second_norm)
        .push(ReLU::new())
        .push(second_pool)
        .push(Flatten::new())
        .push(Dropout::new(0.25, options.seed))
        .push(Linear::new(width, classes, rng))
}

fn run(options: &Options) -> Outcome {
    lesson::check_output(Some(&options.plot))?;
    options.watch.check()?;
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/data/digits178").into();
    let directory = options.data.as_ref().unwrap_or(&own);
    let data = load_data::<f32>(directory)?;
    let first = |samples: &Samples<f32>| {
        let count = options.digits.unwrap_or(usize::MAX).min(samples.len());
        samples.shuffled(1).select(&(0..count).collect::<Vec<_>>()).scaled(1.0 / 255.0)
    };
    let (train, test) = (first(data.train()), first(data.test()));
    let pixels = train.images().ncols();
    if pixels != SIDE * SIDE {
        let directory = directory.display();
        return Err(format!("{directory}: expected digits of {} pixels, found {pixels}", SIDE * SIDE).into());
    }
    println!("{} training and {} test digits of {} classes", train.len(), test.len(), train.classes());

    let mut net = network(options, train.classes());
    println!("{}", net.summary(SIDE * SIDE));
    let mut loss = SoftmaxCrossEntropy::new();
    let mut adam = Adam::new(net.parameters(), options.epsilon as f32);
    let mut batches = Batches::new(train.len(), options.batch, options.seed);
    let (mut tape, mut images, mut labels) = (Tape::new(), Array2::zeros((0, 0)), Vec::new());
    let schedule = Schedule::cosine(options.epsilon, options.passes * train.len().div_ceil(options.batch), 0.0);
    let mut step = 0;
    let (mut losses, mut accuracies) = (Vec::new(), Vec::new());
    let page = Report::new("A convolutional network")
        .with_fact("digits", format!("{} for training, {} for the test", train.len(), test.len()))
        .with_fact("training loss", "mean over the batches of a pass, with dropout")
        .with_fact("gradients", "in the last step of a pass")
        .with_fact("batch", options.batch);
    let mut watch = Watch::new(&options.watch, page, Progress::Bar, options.passes, 0)?;
    let (named, mut norms, mut confusion) = (net.named_parameters(), Vec::new(), None);
    watch.first_layer(&named[0].0, &named[0].1);
    for pass in 1..=options.passes {
        net.train();
        batches.shuffle();
        let (mut sum, last) = (0.0, batches.iter().len() - 1);
        for (number, rows) in batches.iter().enumerate() {
            // One digit alone has no variance.
            if rows.len() == 1 && train.len() > 1 {
                continue;
            }
            train.gather_into(rows, &mut images, &mut labels);
            let value = match options.path {
                Half::Manual => {
                    let scores = net.forward(&images);
                    let value = loss.forward_labels(&labels, scores);
                    let delta = loss.backward_labels(&labels, scores);
                    net.backward_update_gradient(&images, delta);
                    value
                }
                Half::Tape => {
                    tape.reset();
                    let recorded = loss.record_labels(&labels, net.record(&tape, tape.constant(&images)));
                    recorded.backward();
                    recorded.item()
                }
            };
            schedule.apply(step, &mut adam);
            adam.step();
            step += 1;
            if number == last || norms.is_empty() {
                norms = gradient_norms(&named);
            }
            adam.zero_grad();
            sum += f64::from(value) * rows.len() as f64;
        }
        net.eval();
        losses.push(sum / train.len() as f64);
        let matrix = ConfusionMatrix::new(&scores(&mut net, test.images()), test.labels());
        let (loss, share, time) = (sum / train.len() as f64, matrix.accuracy(), watch.time());
        accuracies.push(share);
        watch.above(|| {
            let seconds = time.as_secs_f64();
            println!("pass {pass}: loss {loss:.4}, {:.2} % of the test digits, {seconds:.1} s", 100.0 * share);
        });
        let record = Record::new(pass, loss).with_test_accuracy(share).with_time(time);
        let record = record.with_learning_rate(f64::from(adam.learning_rate()));
        watch.show(record.with_gradient_norms(std::mem::take(&mut norms)))?;
        confusion = Some(matrix);
    }
    let names = class_names(test.classes());
    watch.finish(confusion.as_ref().map(|matrix| (matrix, &*names)))?;
    let curve = |values: &[f64]| [Curve::new("", (1..).map(f64::from).zip(values.to_vec()), 0)];
    let loss = Panel::new("training", Axis::whole("pass"), Axis::readable("mean loss"), curve(&losses));
    let right: Vec<f64> = accuracies.iter().map(|share| 100.0 * share).collect();
    let right = Panel::new("test digits", Axis::whole("pass"), Axis::percent("accuracy in %"), curve(&right));
    lesson::plot::write(&options.plot, &[loss, right])
}

/// Returns the scores of many digits, some at a time: so the memory for patches stays small.
fn scores(net: &mut Sequential<f32>, images: &ArrayRef2<f32>) -> Array2<f32> {
    let mut scores = Array2::zeros((0, 0));
    for images in images.axis_chunks_iter(ndarray::Axis(0), 128) {
        let part = net.forward(&images);
        if scores.is_empty() {
            scores = Array2::zeros((0, part.ncols()));
        }
        scores.append(ndarray::Axis(0), part.view()).expect("all parts have a column for each class");
    }
    scores
}
