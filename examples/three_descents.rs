//! Batch, stochastic and mini-batch descent on the same problem: loss against passes, and against time. The batches of
//! the last are of shuffled digits, or of digits drawn with replacement.
//!
//! `cargo run --release --example three_descents -- --help`

mod lesson;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use lesson::plot::{Axis, Curve, Panel};
use lesson::{Half, Outcome, Pixels, exit, positive, positive_number};
use tapegrad::nn::{Linear, Module, Sequential, SoftmaxCrossEntropy, Tanh};
use tapegrad::optim::Sgd;
use tapegrad::train::{
    ByHand, ByTape, Descent, Learner, Progress, batch_descent, mini_batch_descent, mini_batch_descent_with_replacement,
    stochastic_descent,
};

/// Train a network of one hidden layer on digits by the three descents, from the same parameters. A pass of
/// mini-batches uses each digit once, in random order, or draws as many digits with replacement.
#[derive(Parser, Debug)]
struct Options {
    /// Directory with x.npy, y.npy (training) and xt.npy, yt.npy (test) [default: the digits of this repository]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Width of the hidden layer
    #[arg(long, default_value_t = 20, value_parser = positive)]
    hidden: usize,
    /// Passes over the training digits
    #[arg(long, default_value_t = 20, value_parser = positive)]
    passes: usize,
    /// Size of a step of the batch descent
    #[arg(long, default_value_t = 0.5, value_parser = positive_number, allow_negative_numbers = true)]
    epsilon_batch: f64,
    /// Size of a step of the stochastic descent
    #[arg(long, default_value_t = 0.02, value_parser = positive_number, allow_negative_numbers = true)]
    epsilon_stochastic: f64,
    /// Size of a step of the mini-batch descent
    #[arg(long, default_value_t = 0.2, value_parser = positive_number, allow_negative_numbers = true)]
    epsilon_mini_batch: f64,
    /// Digits in a mini-batch
    #[arg(long, default_value_t = 32, value_parser = positive)]
    batch: usize,
    /// Which half of the library computes the gradients
    #[arg(long, value_enum, default_value_t = Half::Manual)]
    path: Half,
    /// Seed of initial parameters, draws and batches
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to draw the losses
    #[arg(long, value_name = "FILE.svg", value_parser = lesson::svg, default_value = "three_descents.svg")]
    plot: PathBuf,
}

fn main() -> ExitCode {
    exit(run(&lesson::parse()))
}

fn run(options: &Options) -> Outcome {
    lesson::check_output(Some(&options.plot))?;
    let data = lesson::load_digits(options.data.as_ref())?;
    let [train, test] = lesson::examples(&data, Pixels::Scaled)?;
    let widths = [data.train().images().ncols(), options.hidden, data.train().classes()];

    let (mut by_pass, mut by_time, mut accuracies) = (Vec::new(), Vec::new(), Vec::new());
    println!("\ndescent       steps a pass   train loss   test loss   test %   ms of updates");
    for (color, name) in ["batch", "stochastic", "mini-batch", "drawn batch"].into_iter().enumerate() {
        let parameters = lesson::normal_parameters(&widths, options.seed);
        let linear = |k: usize| Linear::from_params(parameters[k].clone(), Some(parameters[k + 1].clone()));
        let network = Sequential::new().push(linear(0)).push(Tanh::new()).push(linear(2));
        let loss = SoftmaxCrossEntropy::new();
        let mut learner: Box<dyn Learner<f64>> = match options.path {
            Half::Manual => Box::new(ByHand::new(network, loss)),
            Half::Tape => Box::new(ByTape::new(move |tape, x| network.record(tape, x), loss)),
        };
        let (epsilon, steps) = match name {
            "batch" => (options.epsilon_batch, 1),
            "stochastic" => (options.epsilon_stochastic, train.len()),
            _ => (options.epsilon_mini_batch, train.len().div_ceil(options.batch)),
        };
        let mut sgd = Sgd::new(&parameters, epsilon);
        let descent = Descent::new(options.passes).seed(options.seed).progress(Progress::Bar);
        let (learner, test) = (learner.as_mut(), Some(&test));
        let history = match name {
            "batch" => batch_descent(learner, &mut sgd, &train, test, descent)?,
            "stochastic" => stochastic_descent(learner, &mut sgd, &train, test, descent)?,
            "mini-batch" => mini_batch_descent(learner, &mut sgd, &train, test, options.batch, descent)?,
            _ => mini_batch_descent_with_replacement(learner, &mut sgd, &train, test, options.batch, descent)?,
        };
        let last = history.result();
        println!(
            "{name:12}  {steps:<12}   {:<10.6}   {:<9.6}   {:6.2}   {:.1}",
            last.train_loss(),
            last.test_loss().unwrap_or(f64::NAN),
            100.0 * last.test_accuracy().unwrap_or(f64::NAN),
            1e3 * last.time().as_secs_f64(),
        );
        let seen = || history.passes().iter().chain([last]);
        let milliseconds = |pass: &tapegrad::train::Pass| 1e3 * pass.time().as_secs_f64();
        let test_loss = |pass: &tapegrad::train::Pass| pass.test_loss().unwrap_or(f64::NAN);
        let (train, test) = (format!("{name}, train"), format!("{name}, test"));
        by_pass.push(Curve::by_index(train.clone(), seen().map(|pass| pass.train_loss()), color));
        by_pass.push(Curve::by_index(test.clone(), seen().map(test_loss), color).dashed());
        let percent = |share: Option<f64>| 100.0 * share.unwrap_or(f64::NAN);
        let of_train = seen().map(|pass| percent(pass.train_accuracy()));
        accuracies.push(Curve::by_index(train.clone(), of_train, color));
        let of_test = seen().map(|pass| percent(pass.test_accuracy()));
        accuracies.push(Curve::by_index(test.clone(), of_test, color).dashed());
        by_time.push(Curve::new(train, seen().map(|pass| (milliseconds(pass), pass.train_loss())), color));
        by_time.push(Curve::new(test, seen().map(|pass| (milliseconds(pass), test_loss(pass))), color).dashed());
    }
    let y = Axis::logarithmic("mean cross-entropy");
    let panels = [
        Panel::new("loss against passes", Axis::whole("pass"), y, by_pass),
        Panel::new("loss against time", Axis::linear("ms of updates"), y, by_time),
        Panel::new("digits told apart", Axis::whole("pass"), Axis::percent("accuracy %"), accuracies),
    ];
    lesson::plot::write(&options.plot, &panels)
}
