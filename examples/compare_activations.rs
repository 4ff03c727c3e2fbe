//! tanh against relu, all else equal.
//!
//! `cargo run --release --example compare_activations -- --help`

mod lesson;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use lesson::plot::{Axis, Curve, Panel};
use lesson::{Activation, Outcome, exit, positive, positive_number};
use tapegrad::nn::{Linear, Module, Sequential, SoftmaxCrossEntropy};
use tapegrad::optim::Sgd;
use tapegrad::train::{ByHand, Descent, Examples, Progress, batch_descent};

/// Train two networks of one hidden layer on digits from the same parameters, with tanh and with relu, along the mean
/// gradient on all training digits; draw the losses of both.
#[derive(Parser, Debug)]
struct Options {
    /// Directory with x.npy, y.npy (training) and xt.npy, yt.npy (test) [default: the digits of this repository]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Width of the hidden layer
    #[arg(long, default_value_t = 100, value_parser = positive)]
    hidden: usize,
    /// Passes over the training digits
    #[arg(long, default_value_t = 200, value_parser = positive)]
    passes: usize,
    /// Size of a step
    #[arg(long, default_value_t = 1e-4, value_parser = positive_number, allow_negative_numbers = true)]
    epsilon: f64,
    /// Divide pixels by 255
    #[arg(long)]
    scale_pixels: bool,
    /// Seed of the initial parameters, 1e-3 · N(0, 1)
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to draw the losses
    #[arg(long, value_name = "FILE.svg", default_value = "compare_activations.svg")]
    plot: PathBuf,
    /// Draw them on a logarithmic scale
    #[arg(long)]
    log: bool,
}

fn main() -> ExitCode {
    exit(run(&lesson::parse()))
}

fn run(options: &Options) -> Outcome {
    lesson::check_output(Some(&options.plot))?;
    let data = lesson::load_digits(options.data.as_ref(), options.scale_pixels)?;
    let (train, test) = (Examples::from(data.train()), Examples::from(data.test()));
    let widths = [data.train().images().ncols(), options.hidden, data.train().classes()];
    let mut curves = Vec::new();
    println!("\n        loss before            loss after             accuracy %");
    println!("        train      test        train      test        train   test");
    for (color, (name, activation)) in [("tanh", Activation::Tanh), ("relu", Activation::Relu)].into_iter().enumerate()
    {
        let parameters = lesson::normal_parameters(&widths, options.seed);
        let linear = |k: usize| Linear::from_params(parameters[k].clone(), Some(parameters[k + 1].clone()));
        let network = activation.push(Sequential::new().push(linear(0))).push(linear(2));
        let mut sgd = Sgd::new(network.parameters(), options.epsilon);
        let mut learner = ByHand::new(network, SoftmaxCrossEntropy::new());
        let descent = Descent::new(options.passes).progress(Progress::Bar);
        let history = batch_descent(&mut learner, &mut sgd, &train, Some(&test), descent)?;
        let (first, last) = (history.passes()[0], history.result());
        let percent = |accuracy: Option<f64>| 100.0 * accuracy.unwrap_or(f64::NAN);
        let loss = |loss: Option<f64>| loss.unwrap_or(f64::NAN);
        println!(
            "{name}    {:<9.6}  {:<9.6}   {:<9.6}  {:<9.6}   {:6.2}  {:6.2}",
            first.train_loss(),
            loss(first.test_loss()),
            last.train_loss(),
            loss(last.test_loss()),
            percent(last.train_accuracy()),
            percent(last.test_accuracy()),
        );
        let losses = history.losses();
        let (train, test) = (percent(last.train_accuracy()), percent(last.test_accuracy()));
        curves.push(Curve::by_index(format!("{name}, train ({train:.1} %)"), losses.column(0).to_vec(), color));
        curves.push(Curve::by_index(format!("{name}, test ({test:.1} %)"), losses.column(1).to_vec(), color).thin());
    }
    let title = format!("{} hidden, epsilon {:e}", options.hidden, options.epsilon);
    let y = if options.log { Axis::logarithmic } else { Axis::linear };
    let panel = Panel::new(title, Axis::whole("pass"), y("mean cross-entropy"), curves);
    lesson::plot::write(&options.plot, &[panel])
}
