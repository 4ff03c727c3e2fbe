//! Trains one network twice on real digits, from the same parameters and on the same batches: by hand-derived
//! backward passes, and by the tape. Prints how far the two ever differ, and what a step of each costs.
//!
//! `cargo run --release --example manual_vs_autograd -- --help`

mod lesson;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use lesson::plot::{Axis, Curve, Panel};
use lesson::watch::{Outputs, Watch, class_names};
use lesson::{Activation, Usage, momentum, positive, positive_number};
use ndarray::{Array2, ArrayD};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tapegrad::data::{Batches, ConfusionMatrix, Samples, accuracy, load_data};
use tapegrad::nn::{Linear, Module, Sequential, SoftmaxCrossEntropy};
use tapegrad::optim::{Optimizer, Sgd};
use tapegrad::report::Report;
use tapegrad::train::{Progress, Record, gradient_norms};
use tapegrad::{Param, Scalar, Tape};

/// Train the same network by hand-derived passes and by the tape, step for step, and compare.
///
/// The verdict is on the gradients, from equal parameters, at the start and at the end. The parameters of the two paths are
/// compared too, but not judged: what rounding leaves grows with the steps, and faster the wilder the training.
///
/// Exit codes: 0 the two agree to rounding, 1 they do not, the training diverged or the data cannot be read, 2 the
/// arguments are wrong.
#[derive(Parser, Debug)]
struct Options {
    /// Directory with x.npy, y.npy (training) and xt.npy, yt.npy (test) [default: the digits of this repository]
    #[arg(long)]
    data: Option<PathBuf>,
    /// Width of every hidden layer
    #[arg(long, default_value_t = 100, value_parser = positive)]
    hidden: usize,
    /// Activation after every layer but the last
    #[arg(long, value_enum, default_value_t = Activation::Tanh)]
    activation: Activation,
    /// Number of linear layers: 1 is softmax regression, 2 has one hidden layer
    #[arg(long, default_value_t = 2, value_parser = positive)]
    depth: usize,
    /// Passes over the training digits
    #[arg(long, default_value_t = 10, value_parser = positive)]
    epochs: usize,
    /// Digits in a batch
    #[arg(long, default_value_t = 128, value_parser = positive)]
    batch: usize,
    /// Learning rate
    #[arg(long, default_value_t = 0.1, value_parser = positive_number, allow_negative_numbers = true)]
    lr: f64,
    /// Momentum, as PyTorch defines it
    #[arg(long, default_value_t = 0.9, value_parser = momentum)]
    momentum: f64,
    /// Seed of initial parameters and batches
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Number type
    #[arg(long, value_enum, default_value_t = Dtype::F32)]
    dtype: Dtype,
    /// Where to draw the losses and the test accuracies of both
    #[arg(long, value_name = "FILE.svg", value_parser = lesson::svg, default_value = "manual_vs_autograd.svg")]
    plot: PathBuf,
    #[command(flatten)]
    watch: Outputs,
    /// End with one JSON object on the last line of standard output
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Dtype {
    F32,
    F64,
}

fn main() -> ExitCode {
    let options: Options = lesson::parse();
    let agreed = match options.dtype {
        Dtype::F32 => run::<f32>(&options),
        Dtype::F64 => run::<f64>(&options),
    };
    match agreed {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => lesson::exit(Err(error)),
    }
}

/// Returns whether the two paths agree.
fn run<T: Scalar>(options: &Options) -> Result<bool, Box<dyn Error>> {
    lesson::check_output(Some(&options.plot))?;
    options.watch.check()?;
    if !T::from_f64(options.lr).to_f64().is_finite() {
        let message = format!("--lr: expected a number that {} can hold, found {:e}", T::DTYPE, options.lr);
        return Err(Usage(message).into());
    }
    let directory =
        options.data.clone().unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/data/digits178").into());
    let data = load_data::<T>(&directory)?;
    let (train, test) = (data.train().scaled(1.0 / 255.0), data.test().scaled(1.0 / 255.0));
    println!(
        "{} training and {} test digits of {} classes from {}",
        train.len(),
        test.len(),
        train.classes(),
        directory.display()
    );

    let mut by_hand = ByHand::new(network(options, &train), options);
    let mut by_tape = ByTape::new(network(options, &train), options);
    println!("{:?}\n", by_hand.network);

    // The batch is in an `Arc` so that the tape shares it instead of copying it.
    let mut images = Arc::new(Array2::zeros((0, 0)));
    let mut labels = Vec::new();
    let mut batches = Batches::new(train.len(), options.batch, options.seed);
    let (mut hand_us, mut tape_us) = (Vec::new(), Vec::new());
    let mut at_start = None;
    let mut curves = Vec::new();
    let page = Report::new("manual_vs_autograd")
        .with_fact("shown", "the network trained by hand; losses are means over the batches of a pass")
        .with_fact("gradients", "on the last batch of a pass, after its step")
        .with_fact("number type", T::DTYPE)
        .with_fact("digits", format!("{} for training, {} for the test", train.len(), test.len()))
        .with_fact("batch", options.batch)
        .with_fact("momentum", options.momentum);
    let mut watch = Watch::new(&options.watch, page, Progress::Bar, options.epochs, 0)?;
    let named = by_hand.network.named_parameters();
    watch.first_layer(&named[0].0, &named[0].1);

    for epoch in 1..=options.epochs {
        let (mut hand_losses, mut tape_losses) = (Vec::new(), Vec::new());
        let first_of_epoch = hand_us.len();
        batches.shuffle();
        for rows in batches.iter() {
            let batch = Arc::get_mut(&mut images).ok_or("the batch is still on the tape")?;
            train.gather_into(rows, batch, &mut labels);
            if at_start.is_none() {
                // Not a step: both gradients at the common start, to be looked at.
                by_hand.gradients(&images, &labels);
                by_tape.gradients(&images, &labels);
                println!("gradients at the start, on the first batch");
                at_start = Some(compare_gradients(by_hand.network.parameters(), by_tape.network.parameters(), 0.0));
                by_hand.optimizer.zero_grad();
                by_tape.optimizer.zero_grad();
                print_heading();
            }
            // Whoever goes first finds a colder cache: take turns.
            let order = if hand_us.len().is_multiple_of(2) { [0, 1] } else { [1, 0] };
            for path in order {
                let start = Instant::now();
                if path == 0 {
                    hand_losses.push(by_hand.step(&images, &labels));
                    hand_us.push(start.elapsed().as_secs_f64() * 1e6);
                } else {
                    tape_losses.push(by_tape.step(&images, &labels));
                    tape_us.push(start.elapsed().as_secs_f64() * 1e6);
                }
            }
        }
        let losses = [mean(&hand_losses), mean(&tape_losses)];
        if losses.iter().any(|loss| !loss.is_finite()) {
            let [hand, tape] = losses;
            let message = format!("the training diverged in epoch {epoch}: loss {hand} by hand, {tape} by tape");
            return Err(format!("{message} (a smaller --lr may help)").into());
        }
        let percent = [by_hand.accuracy(&test), by_tape.accuracy(&test)].map(|share| 100.0 * share);
        curves.push([losses, percent]);
        let train_percent = [by_hand.accuracy(&train), by_tape.accuracy(&train)].map(|share| 100.0 * share);
        watch.above(|| {
            println!(
                "{epoch:5}    {:<12.6}   {:<12.6}   {:5.2}  {:5.2}   {:5.2}  {:5.2}   {:<7.1}  {:<7.1}",
                losses[0],
                losses[1],
                train_percent[0],
                train_percent[1],
                percent[0],
                percent[1],
                median(&hand_us[first_of_epoch..]),
                median(&tape_us[first_of_epoch..]),
            );
        });
        // Not a step either: the gradients where the pass has led, to be shown.
        by_hand.gradients(&images, &labels);
        let record = Record::new(epoch, losses[0])
            .with_train_accuracy(train_percent[0] / 100.0)
            .with_test_accuracy(percent[0] / 100.0)
            .with_learning_rate(by_hand.optimizer.learning_rate().to_f64())
            .with_gradient_norms(gradient_norms(&named))
            .with_time(watch.time());
        by_hand.optimizer.zero_grad();
        watch.show(record)?;
    }
    let confusion = ConfusionMatrix::new(by_hand.network.forward(test.images()), test.labels());
    watch.finish(Some((&confusion, &class_names(test.classes())[..])))?;

    let steps = hand_us.len();
    let (max_rel_grad_diff, largest_grad) = at_start.ok_or("no batch was seen")?;
    let pairs = by_hand.network.parameters().iter().zip(by_tape.network.parameters());
    let max_rel_param_diff = pairs.map(|(a, b)| relative_difference(&a.value(), &b.value(), 0.0)).fold(0.0, worse);
    let (hand_us, tape_us) = (median(&hand_us), median(&tape_us));

    // Once more where training has led, from equal parameters again.
    for (hand, tape) in by_hand.network.parameters().iter().zip(by_tape.network.parameters()) {
        tape.set_value((*hand.value()).clone());
    }
    by_hand.gradients(&images, &labels);
    by_tape.gradients(&images, &labels);
    println!("\ngradients at the end, on the last batch, from the parameters trained by hand");
    // What is left of a gradient when the terms cancel is as inexact as the terms were: no more is asked than of the
    // gradients at the start.
    let (last_rel_grad_diff, _) =
        compare_gradients(by_hand.network.parameters(), by_tape.network.parameters(), largest_grad);

    // A gradient is a sum over the batch and the layers: some hundred roundings.
    let grad_bound = 1e3 * T::EPSILON.to_f64();
    let agreed = max_rel_grad_diff <= grad_bound && last_rel_grad_diff <= grad_bound;
    println!(
        "\n{}: gradients differ by {max_rel_grad_diff:.1e} at the start and {last_rel_grad_diff:.1e} at the end (rounding \
         explains {grad_bound:.1e}); parameters after {steps} steps by {max_rel_param_diff:.1e}",
        if agreed { "The two paths agree" } else { "THE TWO PATHS DISAGREE" }
    );
    println!("a step takes {hand_us:.1} µs by hand, {tape_us:.1} µs by tape: {:.2} times", tape_us / hand_us);

    let pair = |number: usize| {
        let curve = |path: usize, name: &str| {
            let points = curves.iter().enumerate().map(|(k, epoch)| ((k + 1) as f64, epoch[number][path]));
            Curve::new(name, points, path)
        };
        [curve(0, "by hand"), curve(1, "by tape").dashed()]
    };
    let panels = [
        Panel::new("one network, trained twice", Axis::whole("epoch"), Axis::readable("mean loss"), pair(0)),
        Panel::new("test digits told apart", Axis::whole("epoch"), Axis::percent("accuracy %"), pair(1)),
    ];
    lesson::plot::write(&options.plot, &panels)?;

    if options.json {
        let result = serde_json::json!({
            "samples": train.len(),
            "test_samples": test.len(),
            "steps": steps,
            "max_rel_grad_diff": max_rel_grad_diff,
            "max_rel_grad_diff_at_end": last_rel_grad_diff,
            "max_rel_param_diff": max_rel_param_diff,
            "manual_test_accuracy": by_hand.accuracy(&test),
            "autograd_test_accuracy": by_tape.accuracy(&test),
            "manual_parameters_hash": parameters_hash(&by_hand.network),
            "autograd_parameters_hash": parameters_hash(&by_tape.network),
            "manual_us_per_step": hand_us,
            "autograd_us_per_step": tape_us,
            "dtype": T::DTYPE,
            "agreed": agreed,
        });
        println!("{result}");
    }
    Ok(agreed)
}

/// Returns a hash of the bits of all parameters (FNV-1a): equal for runs that agree to the last bit.
fn parameters_hash<T: Scalar>(network: &Sequential<T>) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for parameter in network.parameters() {
        for byte in parameter.value().iter().flat_map(|x| x.to_f64().to_bits().to_le_bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
    format!("{hash:016x}")
}

fn print_heading() {
    println!("\nepoch    loss by hand   loss by tape   train %        test %         µs a step");
    println!("                                       hand   tape    hand   tape    hand     tape");
}

/// Returns the network that the options describe. The same options give the same initial parameters.
fn network<T: Scalar>(options: &Options, train: &Samples<T>) -> Sequential<T> {
    let mut rng = StdRng::seed_from_u64(options.seed);
    let mut network = Sequential::new();
    let mut width = train.images().ncols();
    for _ in 1..options.depth {
        network = network.push(Linear::new(width, options.hidden, &mut rng));
        network = options.activation.push(network);
        width = options.hidden;
    }
    network.push(Linear::new(width, train.classes(), &mut rng))
}

/// The network, its loss and its optimizer, on the hand-derived path.
struct ByHand<T: Scalar> {
    network: Sequential<T>,
    loss: SoftmaxCrossEntropy<T>,
    optimizer: Sgd<T>,
}

impl<T: Scalar> ByHand<T> {
    fn new(network: Sequential<T>, options: &Options) -> Self {
        let optimizer = optimizer(&network, options);
        Self { network, loss: SoftmaxCrossEntropy::new(), optimizer }
    }

    fn gradients(&mut self, images: &Array2<T>, labels: &[usize]) -> T {
        let scores = self.network.forward(images);
        let loss = self.loss.forward_labels(labels, scores);
        let delta = self.loss.backward_labels(labels, scores);
        self.network.backward_update_gradient(images, delta);
        loss
    }

    fn step(&mut self, images: &Array2<T>, labels: &[usize]) -> T {
        let loss = self.gradients(images, labels);
        self.optimizer.step();
        self.optimizer.zero_grad();
        loss
    }

    fn accuracy(&mut self, samples: &Samples<T>) -> f64 {
        accuracy(self.network.forward(samples.images()), samples.labels())
    }
}

/// The same on the tape.
struct ByTape<T: Scalar> {
    network: Sequential<T>,
    loss: SoftmaxCrossEntropy<T>,
    optimizer: Sgd<T>,
    tape: Tape<T>,
}

impl<T: Scalar> ByTape<T> {
    fn new(network: Sequential<T>, options: &Options) -> Self {
        let optimizer = optimizer(&network, options);
        Self { network, loss: SoftmaxCrossEntropy::new(), optimizer, tape: Tape::new() }
    }

    fn gradients(&mut self, images: &Arc<Array2<T>>, labels: &[usize]) -> T {
        let scores = self.network.record(&self.tape, self.tape.constant(images));
        let loss = self.loss.record_labels(labels, scores);
        loss.backward();
        let loss = loss.item();
        self.tape.reset();
        loss
    }

    fn step(&mut self, images: &Arc<Array2<T>>, labels: &[usize]) -> T {
        let scores = self.network.record(&self.tape, self.tape.constant(images));
        let loss = self.loss.record_labels(labels, scores);
        loss.backward();
        self.optimizer.step();
        self.optimizer.zero_grad();
        let loss = loss.item();
        self.tape.reset();
        loss
    }

    fn accuracy(&mut self, samples: &Samples<T>) -> f64 {
        let scores = self.network.record(&self.tape, self.tape.constant(samples.images()));
        let scores = scores.value().to_owned().into_dimensionality();
        self.tape.reset();
        // The network gives a row of scores for each sample.
        scores.map_or(f64::NAN, |scores| accuracy::<T>(&scores, samples.labels()))
    }
}

fn optimizer<T: Scalar>(network: &Sequential<T>, options: &Options) -> Sgd<T> {
    let parameters = network.parameters().iter().cloned();
    Sgd::new(parameters, T::from_f64(options.lr)).with_momentum(T::from_f64(options.momentum))
}

/// Prints the gradients of both paths side by side. Returns their largest difference, relative to the largest element of
/// the parameter's gradient, or to `floor` if that is larger; and the largest element of all gradients.
fn compare_gradients<T: Scalar>(by_hand: &[Param<T>], by_tape: &[Param<T>], floor: f64) -> (f64, f64) {
    println!("parameter          shape           norm by hand       norm by tape       max |a-b| / max |a|");
    let (mut worst, mut largest) = (0.0, 0.0);
    for (k, (hand, tape)) in by_hand.iter().zip(by_tape).enumerate() {
        let name = format!("{k} {}", hand.name());
        let shape = hand.shape().to_string();
        let difference = match (hand.grad(), tape.grad()) {
            (Some(hand), Some(tape)) => {
                let difference = relative_difference(&hand, &tape, floor);
                println!("{name:18} {shape:15} {:<18.12e} {:<18.12e} {difference:.2e}", norm(&hand), norm(&tape));
                largest = worse(largest, max_abs(&hand));
                difference
            }
            (hand, tape) => {
                println!("{name:18} {shape:15} by hand: {}, by tape: {}", hand.is_some(), tape.is_some());
                f64::INFINITY
            }
        };
        worst = worse(worst, difference);
    }
    (worst, largest)
}

/// Returns the larger of two differences, NaN if either is: NaN must not pass for agreement.
fn worse(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}

fn norm<T: Scalar>(a: &ArrayD<T>) -> f64 {
    a.iter().map(|x| x.to_f64().powi(2)).sum::<f64>().sqrt()
}

/// Returns `max |a - b| / max |a|`, or with `floor` below if that is larger.
fn relative_difference<T: Scalar>(a: &ArrayD<T>, b: &ArrayD<T>, floor: f64) -> f64 {
    let difference = a.iter().zip(b).map(|(a, b)| (a.to_f64() - b.to_f64()).abs()).fold(0.0, worse);
    if difference == 0.0 { 0.0 } else { difference / max_abs(a).max(floor) }
}

fn max_abs<T: Scalar>(a: &ArrayD<T>) -> f64 {
    a.iter().map(|a| a.to_f64().abs()).fold(0.0, worse)
}

fn mean<T: Scalar>(values: &[T]) -> f64 {
    values.iter().map(|x| x.to_f64()).sum::<f64>() / values.len() as f64
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
