//! A line through noisy points, in the form `ŷ = [x 1] W`: gradient descent on the mean squared error, beside the closed
//! form of least squares.
//!
//! `cargo run --release --example linear_regression -- --help`

mod lesson;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use lesson::plot::{Axis, Curve, Panel};
use lesson::{Outcome, exit, positive, positive_number};
use ndarray::{Array1, Array2};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;
use tapegrad::nn::{AugmentedLinear, Module, Mse};
use tapegrad::optim::Sgd;
use tapegrad::train::{ByHand, Descent, Examples, Progress, batch_descent};
use tapegrad::{Param, Tape, Var};

/// Fit y = w·x + b to noisy points by gradient descent, and compare with the closed-form solution.
///
/// Weight and bias are one matrix: a column of ones beside x (hstack) makes the last row of W the bias.
#[derive(Parser, Debug)]
struct Options {
    /// Number of points
    #[arg(long, default_value_t = 200, value_parser = positive)]
    points: usize,
    /// Number of inputs
    #[arg(long, default_value_t = 1, value_parser = positive)]
    inputs: usize,
    /// Standard deviation of the noise
    #[arg(long, default_value_t = 0.3, value_parser = positive_number, allow_negative_numbers = true)]
    noise: f64,
    /// Passes over the points
    #[arg(long, default_value_t = 100, value_parser = positive)]
    passes: usize,
    /// Size of a step along the gradient of the mean squared error
    #[arg(long, default_value_t = 0.1, value_parser = positive_number, allow_negative_numbers = true)]
    epsilon: f64,
    /// Seed of points and noise
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to draw the loss, and for one input the points with both lines
    #[arg(long, value_name = "FILE.svg", value_parser = lesson::svg, default_value = "linear_regression.svg")]
    plot: PathBuf,
}

/// As many as the points may consist of: 400 MB.
const MAX_NUMBERS: usize = 50_000_000;

fn main() -> ExitCode {
    exit(run(&lesson::parse()))
}

fn run(options: &Options) -> Outcome {
    lesson::check_output(Some(&options.plot))?;
    if options.points <= options.inputs {
        let (points, inputs) = (options.points, options.inputs);
        let message = format!("--points: expected more than the number of inputs, {inputs}, found {points}");
        return Err(lesson::Usage(message).into());
    }
    if options.points * options.inputs > MAX_NUMBERS {
        let found = options.points * options.inputs;
        let message = format!("--points times --inputs: expected at most {MAX_NUMBERS} numbers, found {found}");
        return Err(lesson::Usage(message).into());
    }
    let mut rng = StdRng::seed_from_u64(options.seed);
    let mut normal = || rng.sample::<f64, _>(StandardNormal);
    let true_w = Array1::from_shape_simple_fn(options.inputs, &mut normal);
    let true_b = normal();
    let x = Array2::from_shape_simple_fn((options.points, options.inputs), &mut normal);
    let y = (x.dot(&true_w) + true_b).mapv(|y| y + options.noise * normal()).insert_axis(ndarray::Axis(1));

    let w = Param::named("W", Array2::zeros((options.inputs + 1, 1)));
    let layer = AugmentedLinear::from_param(w.clone());
    let examples = Examples::new(x.clone(), y.clone())?;
    let mut sgd = Sgd::new([&w], options.epsilon);
    let mut learner = ByHand::new(layer, Mse::new());
    let descent = Descent::new(options.passes).progress(Progress::Bar);
    let history = batch_descent(&mut learner, &mut sgd, &examples, None, descent)?;

    // Least squares: [x 1]ᵀ [x 1] W = [x 1]ᵀ y.
    let tape = Tape::new();
    let ones = Array2::ones((options.points, 1));
    let (x1, target) = (Var::concat(&[tape.constant(&x), tape.constant(ones)], 1), tape.constant(&y));
    let closed = tape.leaf(x1.transpose().matmul(x1).solve(x1.transpose().matmul(target)).value().to_owned());
    if closed.value().iter().any(|v| !v.is_finite()) {
        return Err("the points do not determine a line".into());
    }
    // Its gradient is zero at the solution.
    let least = (x1.matmul(closed) - target).square().mean();
    least.backward();
    let largest = closed.grad().map_or(f64::NAN, |g| g.iter().fold(0.0, |a: f64, g| a.max(g.abs())));

    println!("            truth      closed form  descent      difference");
    let w = w.value();
    let mut worst: f64 = 0.0;
    for k in 0..=options.inputs {
        let (name, truth, descent) = match k == options.inputs {
            true => ("b".to_string(), true_b, w[[k, 0]]),
            false => (format!("w[{k}]"), true_w[k], w[[k, 0]]),
        };
        let closed = closed.value()[[k, 0]];
        let difference = (descent - closed).abs();
        worst = worst.max(difference);
        println!("{name:10}  {truth:<9.6}  {:<11.6}  {descent:<11.6}  {difference:.1e}", closed);
    }
    let least = least.item();
    println!("\nmean squared error: {least:.9} by the closed form, {:.9} by descent", history.result().train_loss());
    println!("largest gradient at the closed form: {largest:.1e}");
    if worst > 1e-3 {
        println!("the descent is not there yet: more --passes or a larger --epsilon may help");
    }
    let losses = history.passes().iter().map(|pass| pass.train_loss());
    let curves = [
        Curve::by_index("descent", losses, 0),
        Curve::by_index("closed form", vec![least; options.passes], 1).dashed(),
    ];
    let title = learner.network().name();
    let y_axis = Axis::logarithmic("mean squared error");
    let mut panels = vec![Panel::new(title, Axis::whole("pass"), y_axis, curves)];
    if options.inputs == 1 {
        let ends = x.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), &x| (a.min(x), b.max(x)));
        let line =
            |name: &str, w: f64, b: f64, color| Curve::new(name, [ends.0, ends.1].map(|x| (x, w * x + b)), color);
        let closed = closed.value();
        let lines = [
            Curve::new("points", x.iter().copied().zip(y.iter().copied()), 2).scattered(),
            line("by descent", w[[0, 0]], w[[1, 0]], 0),
            line("by the closed form", closed[[0, 0]], closed[[1, 0]], 1).dashed(),
        ];
        panels.insert(0, Panel::new("the fitted line", Axis::linear("x"), Axis::linear("y"), lines));
    }
    lesson::plot::write(&options.plot, &panels)
}
