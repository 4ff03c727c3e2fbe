//! Modules beyond a row of layers, by hand and by the tape: modules of several inputs, module z without an input, and two
//! linear layers in series.
//!
//! `cargo run --release --example modules -- --help`

mod lesson;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use lesson::plot::{Axis, Curve, Panel};
use lesson::{Outcome, exit, positive, positive_number};
use ndarray::{Array1, Array2, ArrayD, ArrayRef2, array};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;
use tapegrad::nn::{DotProduct, Graph, Linear, Loss, Module, Mse, NaryModule, Sequential, Sum, Vector};
use tapegrad::{Reduction, Tape};

/// Run modules forward and backward, by hand and by the tape, and train two of them.
///
/// Exit codes: 0 both give the same numbers, 1 they do not, 2 the arguments are wrong.
#[derive(Parser, Debug)]
struct Options {
    /// Steps of the trainings
    #[arg(long, default_value_t = 100, value_parser = positive)]
    steps: usize,
    /// Size of a step along the gradient of the mean squared error
    #[arg(long, default_value_t = 0.05, value_parser = positive_number, allow_negative_numbers = true)]
    epsilon: f64,
    /// Seed of points and parameters
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to draw the losses
    #[arg(long, value_name = "FILE.svg", value_parser = lesson::svg, default_value = "modules.svg")]
    plot: PathBuf,
}

/// The largest difference that rounding explains, relative to the larger number or to 1.
const ROUNDING: f64 = 1e-12;

fn main() -> ExitCode {
    exit(run(&lesson::parse()))
}

fn run(options: &Options) -> Outcome {
    lesson::check_output(Some(&options.plot))?;
    let rng = &mut StdRng::seed_from_u64(options.seed);

    println!("-- Several inputs: y = a + b + c, and y = a · b row by row");
    let (a, b, c) = (array![[1.0, 2.0], [3.0, 4.0]], array![[5.0, 6.0], [7.0, 8.0]], array![[10.0, 20.0]]);
    let delta = array![[1.0, -1.0], [0.5, 2.0]];
    nary(&mut Sum::new(), &[&a, &b, &c], &delta)?;
    nary(&mut DotProduct::new(), &[&a, &b], &array![[1.0], [-2.0]])?;

    println!("\n-- No input: module z, whose output is its parameter");
    let mut z = Vector::new(array![1.0, -2.0, 0.5]);
    nary(&mut z, &[], &array![[1.0, 2.0, 3.0]])?;
    z.zero_grad();
    z.acc_grad_parameters(&[], &array![[1.0, 2.0, 3.0]], 0.1);
    println!("acc_grad_parameters with the scale 0.1: dz = {}", show(&z.gradient()[0]));
    z.update_parameters(1.0);
    println!("a step of 1 along it: z = {}", z.forward(&[]));
    z.zero_grad();
    println!("after zero_grad: dz = {}", show(&z.gradient()[0]));

    println!("\n-- In series: Linear 5 -> 3, then Linear 3 -> 1");
    let (x, y) = (normal(40, 5, rng), normal(40, 1, rng));
    let seed = rng.random();
    let series = series(&x, &y, seed, options)?;

    println!("\n-- A graph: the score s = (x W) · z of a learned vector z");
    let y = x.dot(&array![[1.0], [-1.0], [0.5], [0.0], [2.0]]);
    let scores = graph(&x, &y, rng, options)?;

    let panel = |title: &str, [hand, tape]: [Vec<f64>; 2]| {
        let curves = [Curve::by_index("by hand", hand, 0), Curve::by_index("by tape", tape, 1).dashed()];
        Panel::new(title, Axis::whole("step"), Axis::readable("mean squared error"), curves)
    };
    lesson::plot::write(&options.plot, &[panel("5 -> 3 -> 1", series), panel("(x W) · z", scores)])
}

/// Runs a module forward and backward, and compares it with the tape.
fn nary(module: &mut impl NaryModule<f64>, inputs: &[&ArrayRef2<f64>], delta: &Array2<f64>) -> Outcome {
    println!("\n{}", module.name());
    println!("  output      {}", module.forward(inputs).to_string().replace('\n', ""));
    module.zero_grad();
    module.backward(inputs, delta);
    for (k, d) in module.grad_input().iter().enumerate() {
        println!("  delta {k}     {}", d.to_string().replace('\n', ""));
    }
    let by_hand = module.gradient();
    by_hand.iter().for_each(|grad| println!("  gradient    {}", show(grad)));

    module.zero_grad();
    let tape = Tape::new();
    let leaves: Vec<_> = inputs.iter().map(|input| tape.leaf(*input)).collect();
    let output = module.record(&tape, &leaves);
    output.backward_with(delta);
    let mut worst = difference(&output.value().to_owned(), &module.output().clone().into_dyn());
    for (leaf, delta) in leaves.iter().zip(module.grad_input()) {
        let grad = leaf.grad().ok_or("the output depends on every input")?;
        worst = worst.max(difference(&grad.to_owned(), &delta.clone().into_dyn()));
    }
    for (hand, tape) in by_hand.iter().zip(module.gradient()) {
        let (hand, tape) = (hand.as_ref().ok_or("no gradient by hand")?, tape.ok_or("no gradient by tape")?);
        worst = worst.max(difference(hand, &tape));
    }
    agreed(worst)
}

/// Trains two linear layers in series by hand and by the tape, and returns the losses of both.
fn series(x: &Array2<f64>, y: &Array2<f64>, seed: u64, options: &Options) -> Outcome<[Vec<f64>; 2]> {
    let network = || {
        let rng = &mut StdRng::seed_from_u64(seed);
        Sequential::new().push(Linear::new(5, 3, rng)).push(Linear::new(3, 1, rng))
    };
    let (mut by_hand, mut by_tape, mut loss) = (network(), network(), Mse::new());
    println!("{} parameters: 5 · 3 + 3 and 3 · 1 + 1", by_hand.parameter_count());
    let mut tape = Tape::new();
    let (mut losses, mut worst) = ([Vec::new(), Vec::new()], 0.0_f64);
    for _ in 0..options.steps {
        let yhat = by_hand.forward(x);
        losses[0].push(loss.forward(y, yhat));
        let delta = loss.backward(y, yhat);
        by_hand.backward(x, delta); // through the second layer, then the first

        let recorded = loss.record(y, by_tape.record(&tape, tape.constant(x)));
        losses[1].push(recorded.item());
        recorded.backward();
        tape.reset();

        for (hand, tape) in by_hand.gradient().into_iter().zip(by_tape.gradient()) {
            worst = worst.max(difference(&*hand.ok_or("no gradient")?, &*tape.ok_or("no gradient")?));
        }
        for network in [&mut by_hand, &mut by_tape] {
            network.update_parameters(options.epsilon);
            network.zero_grad();
        }
    }
    let last = losses[0].len() - 1;
    println!("the loss falls from {:.2e} to {:.2e} in {} steps", losses[0][0], losses[0][last], options.steps);
    println!("without an activation between them they are one line: 5 -> 1 could do as much");
    agreed(worst)?;
    Ok(losses)
}

/// Trains a graph of a linear layer, a vector and a dot product by hand and by the tape.
fn graph(x: &Array2<f64>, y: &Array2<f64>, rng: &mut StdRng, options: &Options) -> Outcome<[Vec<f64>; 2]> {
    let seed: u64 = rng.random();
    let scorer = || {
        let rng = &mut StdRng::seed_from_u64(seed);
        let mut scorer = Graph::new(1);
        let projected = scorer.layer(Linear::without_bias(5, 2, rng), scorer.input(0));
        let z = scorer.join(Vector::new(Array1::from_shape_simple_fn(2, || rng.sample(StandardNormal))), &[]);
        scorer.join(DotProduct::new(), &[projected, z]);
        scorer
    };
    let (mut by_hand, mut by_tape, mut loss) = (scorer(), scorer(), Mse::new().with_reduction(Reduction::Mean));
    println!("{by_hand:?}");
    let mut tape = Tape::new();
    let (mut losses, mut worst) = ([Vec::new(), Vec::new()], 0.0_f64);
    for _ in 0..options.steps {
        let yhat = by_hand.forward(&[x]);
        losses[0].push(loss.forward(y, yhat));
        let delta = loss.backward(y, yhat);
        by_hand.backward_update_gradient(&[x], delta);

        let recorded = loss.record(y, by_tape.record(&tape, &[tape.constant(x)]));
        losses[1].push(recorded.item());
        recorded.backward();
        tape.reset();

        for (hand, tape) in by_hand.gradient().into_iter().zip(by_tape.gradient()) {
            worst = worst.max(difference(&*hand.ok_or("no gradient")?, &*tape.ok_or("no gradient")?));
        }
        for scorer in [&mut by_hand, &mut by_tape] {
            scorer.update_parameters(options.epsilon);
            scorer.zero_grad();
        }
    }
    let last = losses[0].len() - 1;
    println!("the loss falls from {:.2e} to {:.2e} in {} steps", losses[0][0], losses[0][last], options.steps);
    agreed(worst)?;
    Ok(losses)
}

fn normal(rows: usize, columns: usize, rng: &mut StdRng) -> Array2<f64> {
    Array2::from_shape_simple_fn((rows, columns), || rng.sample(StandardNormal))
}

fn show(grad: &Option<std::sync::Arc<ArrayD<f64>>>) -> String {
    grad.as_ref().map_or("None".into(), |grad| grad.to_string())
}

fn difference(a: &ArrayD<f64>, b: &ArrayD<f64>) -> f64 {
    let relative = |(a, b): (&f64, &f64)| (a - b).abs() / a.abs().max(b.abs()).max(1.0);
    // A NaN must not pass for agreement.
    a.iter().zip(b).map(relative).fold(0.0, |worst, d| if d > worst || d.is_nan() { d } else { worst })
}

fn agreed(worst: f64) -> Outcome {
    println!("  by hand and by tape: they differ by {worst:.1e}");
    match worst <= ROUNDING {
        true => Ok(()),
        false => Err(format!("by hand and by tape the numbers differ by {worst:e}").into()),
    }
}
