//! The course's digits, told apart by one layer and by two: by formulas, by tape, with an optimizer, and as a model of
//! one's own.
//!
//! `cargo run --release --example digits -- --help`

mod layers;
#[path = "../lesson/mod.rs"]
mod lesson;
mod task;
mod torch;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use lesson::{Activation, Half, exit, momentum, positive, positive_number};
use task::{Task, run};

/// Tell digits apart by networks of one and of two layers, in float64.
///
/// Every lesson descends along the gradient on all training digits at once. It reports the loss
/// L = -1/N Σ_n Σ_k [y ln(ŷ + 1e-16) + (1 - y) ln(1 - ŷ + 1e-16)] with ŷ = softmax(scores) on the training and the test
/// digits. one-layer and two-layers descend along the delta ŷ - y of the scores, summed over the digits: it is the
/// gradient of the softmax cross-entropy, not of L (see the example two_losses). tape, optimizer and module descend along
/// the gradient of the loss that they report.
///
/// Exit codes: 0 done, 1 the data cannot be used or the loss is no longer finite, 2 the arguments are wrong.
#[derive(Parser, Debug)]
struct Arguments {
    #[command(subcommand)]
    lesson: Lesson,
}

#[derive(Subcommand, Debug)]
enum Lesson {
    /// Softmax regression, ŷ = softmax(x W + b). Defaults: 200 passes, epsilon 1e-5
    OneLayer {
        #[command(flatten)]
        options: Options,
        #[command(flatten)]
        gradient: Gradient,
    },
    /// One hidden layer, ŷ = softmax(f(x W1 + b1) W2 + b2). Defaults: 200 passes, epsilon 1e-5, 10 hidden units
    TwoLayers {
        #[command(flatten)]
        options: Options,
        #[command(flatten)]
        gradient: Gradient,
        /// Width of the hidden layer
        #[arg(long, default_value_t = 10, value_parser = positive)]
        hidden: usize,
        /// Activation of the hidden layer
        #[arg(long, value_enum, default_value_t = Activation::Tanh)]
        activation: Activation,
    },
    /// Two layers on the tape: record, backward, grad, update, zero, spelled out. Defaults: 200 passes, epsilon 1e-4
    Tape {
        #[command(flatten)]
        options: Options,
        /// Width of the hidden layer
        #[arg(long, default_value_t = 100, value_parser = positive)]
        hidden: usize,
        /// Activation of the hidden layer
        #[arg(long, value_enum, default_value_t = Activation::Tanh)]
        activation: Activation,
    },
    /// The network and the loss of tape, with the steps of SGD with momentum
    Optimizer {
        #[command(flatten)]
        options: Options,
        /// Width of the hidden layer
        #[arg(long, default_value_t = 100, value_parser = positive)]
        hidden: usize,
        /// Activation of the hidden layer
        #[arg(long, value_enum, default_value_t = Activation::Tanh)]
        activation: Activation,
        /// Momentum, as PyTorch defines it; with 0 the steps are those of tape
        #[arg(long, default_value_t = 0.9, value_parser = momentum)]
        momentum: f64,
    },
    /// Two layers as a model of one's own that returns probabilities
    Module {
        #[command(flatten)]
        options: Options,
        /// Width of the hidden layer
        #[arg(long, default_value_t = 100, value_parser = positive)]
        hidden: usize,
        /// Activation of the hidden layer
        #[arg(long, value_enum, default_value_t = Activation::Relu)]
        activation: Activation,
    },
}

/// What all lessons take.
#[derive(Args, Debug)]
struct Options {
    /// Directory with x.npy, y.npy (training) and xt.npy, yt.npy (test) [default: the digits of this repository]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Passes over the training digits
    #[arg(long, default_value_t = 200, value_parser = positive)]
    passes: usize,
    /// Size of a step: w -= epsilon * gradient [default: 1e-5 for one-layer and two-layers, else 1e-4]
    #[arg(long, value_parser = positive_number, allow_negative_numbers = true)]
    epsilon: Option<f64>,
    /// The loss that is reported
    #[arg(long, value_enum, default_value_t = Reported::Course)]
    loss: Reported,
    /// Take pixels as they are, 0 to 255
    #[arg(long)]
    raw_pixels: bool,
    /// Divide pixels by 255, which is the default
    #[arg(long, conflicts_with = "raw_pixels")]
    scale_pixels: bool,
    /// Seed of the initial parameters, 1e-3 · N(0, 1)
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Take the initial parameters from a file instead (.npz or .safetensors): float64 arrays W, b or W1, b1, W2, b2; W is
    /// (inputs, outputs)
    #[arg(long, value_name = "FILE")]
    init: Option<PathBuf>,
    /// Write the trained parameters to a file (.npz or .safetensors), under the same names
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Write the state of the run to this file (.npz or .safetensors) before every pass that --every says
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Number of passes from one checkpoint to the next
    #[arg(long, default_value_t = 10, value_parser = positive)]
    every: usize,
    /// Go on where the run was that wrote this checkpoint: with the same options it ends with the same bits
    #[arg(long, value_name = "FILE", conflicts_with = "init")]
    resume: Option<PathBuf>,
    /// Write what is plotted: arrays `history`, the losses, and `accuracy` of shape (passes, 2): train and test, before
    /// each pass's update
    #[arg(long, value_name = "FILE.npz")]
    history: Option<PathBuf>,
    /// Where to draw losses and accuracies [default: digits_LESSON.svg]
    #[arg(long, value_name = "FILE.svg", value_parser = lesson::svg)]
    plot: Option<PathBuf>,
    /// Write a line of JSON for each pass: losses, accuracies, learning rate, gradient norms
    #[arg(long, value_name = "FILE.jsonl")]
    jsonl: Option<PathBuf>,
    /// Write a page that shows the run, again after each pass: open it in a browser
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Draw the losses on a logarithmic scale, even if a linear one is readable
    #[arg(long)]
    log: bool,
    /// End with one JSON object on the last line of standard output
    #[arg(long)]
    json: bool,
}

/// How one-layer and two-layers find their gradient.
#[derive(Args, Clone, Copy, Debug)]
struct Gradient {
    /// By spelled-out formulas, or by the tape as the gradient of the softmax cross-entropy
    #[arg(long, value_enum, default_value_t = Half::Manual)]
    path: Half,
    /// Whether the gradients of the digits are summed or averaged
    #[arg(long, value_enum, default_value_t = Reduce::Sum)]
    reduction: Reduce,
}

/// Which loss a lesson reports. tape, optimizer and module descend along its gradient, too.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Reported {
    /// -1/N Σ_n Σ_k [y ln(ŷ + 1e-16) + (1 - y) ln(1 - ŷ + 1e-16)]
    Course,
    /// The mean softmax cross-entropy, -1/N Σ_n Σ_k y ln ŷ
    Softmax,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Reduce {
    Sum,
    Mean,
}

fn main() -> ExitCode {
    exit(match lesson::parse::<Arguments>().lesson {
        Lesson::OneLayer { options, gradient } => {
            run("one-layer", &options, None, 1e-5, |task: &Task| layers::train(task, gradient))
        }
        Lesson::TwoLayers { options, gradient, hidden, activation } => {
            run("two-layers", &options, Some((hidden, activation)), 1e-5, |task: &Task| layers::train(task, gradient))
        }
        Lesson::Tape { options, hidden, activation } => {
            run("tape", &options, Some((hidden, activation)), 1e-4, torch::tape)
        }
        Lesson::Optimizer { options, hidden, activation, momentum } => {
            run("optimizer", &options, Some((hidden, activation)), 1e-4, |task: &Task| torch::optimizer(task, momentum))
        }
        Lesson::Module { options, hidden, activation } => {
            run("module", &options, Some((hidden, activation)), 1e-4, torch::module)
        }
    })
}
