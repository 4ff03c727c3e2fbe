//! tanh against relu, all else equal: the network and the loss of `digits tape`, by hand-derived modules.
//!
//! `cargo run --release --example compare_activations -- --help`

mod lesson;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use lesson::plot::{Axis, Curve, Panel};
use lesson::verdict::Curves;
use lesson::{Activation, Outcome, Pixels, exit, positive, positive_number};
use tapegrad::nn::{CrossEntropy, Linear, Module, Sequential, Softmax};
use tapegrad::optim::Sgd;
use tapegrad::train::{ByHand, Descent, Progress, batch_descent};

/// Train two networks of one hidden layer on digits from the same parameters, with tanh and with relu, along the gradient
/// of L = -1/N Σ_n Σ_k [y ln(ŷ + 1e-16) + (1 - y) ln(1 - ŷ + 1e-16)] on all training digits; draw both.
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
    /// Take pixels as they are, 0 to 255
    #[arg(long)]
    raw_pixels: bool,
    /// Divide pixels by 255, which is the default
    #[arg(long, conflicts_with = "raw_pixels")]
    scale_pixels: bool,
    /// Seed of the initial parameters, 1e-3 · N(0, 1)
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to draw losses and accuracies
    #[arg(long, value_name = "FILE.svg", value_parser = lesson::svg, default_value = "compare_activations.svg")]
    plot: PathBuf,
    /// Draw the losses on a logarithmic scale, even if a linear one is readable
    #[arg(long)]
    log: bool,
}

fn main() -> ExitCode {
    exit(run(&lesson::parse()))
}

fn run(options: &Options) -> Outcome {
    lesson::check_output(Some(&options.plot))?;
    let data = lesson::load_digits(options.data.as_ref())?;
    let pixels = if options.raw_pixels { Pixels::Raw } else { Pixels::Scaled };
    let [train, test] = lesson::examples(&data, pixels)?;
    let widths = [data.train().images().ncols(), options.hidden, data.train().classes()];
    let (mut losses, mut accuracies) = (Vec::new(), Vec::new());
    println!("\n        loss before            loss after             accuracy %");
    println!("        train      test        train      test        train   test");
    for (color, (name, activation)) in [("tanh", Activation::Tanh), ("relu", Activation::Relu)].into_iter().enumerate()
    {
        let parameters = lesson::normal_parameters(&widths, options.seed);
        let linear = |k: usize| Linear::from_params(parameters[k].clone(), Some(parameters[k + 1].clone()));
        let network = activation.push(Sequential::new().push(linear(0))).push(linear(2)).push(Softmax::new());
        let mut sgd = Sgd::new(network.parameters(), options.epsilon);
        let mut learner = ByHand::new(network, CrossEntropy::new());
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
        let curves = Curves::new(history.passes());
        for (set, digits) in ["train", "test"].into_iter().enumerate() {
            let name = format!("{name}, {digits}");
            let pair = [
                Curve::by_index(name.clone(), curves.loss(set), color),
                Curve::by_index(name, curves.percent(set), color),
            ];
            let [loss, accuracy] = if set == 0 { pair } else { pair.map(Curve::dashed) };
            losses.push(loss);
            accuracies.push(accuracy);
        }
    }
    let title = format!("{} hidden units, epsilon {:e}", options.hidden, options.epsilon);
    let y = if options.log { Axis::logarithmic } else { Axis::readable };
    let panels = [
        Panel::new(title, Axis::whole("pass"), y("loss L"), losses),
        Panel::new("digits told apart", Axis::whole("pass"), Axis::percent("accuracy %"), accuracies),
    ];
    lesson::plot::write(&options.plot, &panels)
}
