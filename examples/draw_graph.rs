//! The computational graphs of a course on neural networks, forward and backward, with the size of every value: one layer,
//! two layers (a single sample and a batch), a fully connected layer, relu, and the loss.
//!
//! `cargo run --release --example draw_graph -- --help`

mod lesson;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use lesson::{Outcome, exit, positive};
use ndarray::Array2;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tapegrad::nn::{Linear, Module};
use tapegrad::{Reduction, Tape, Var, draw};

/// Draw the graphs of the networks of the course, each as SVG and as DOT, and explain them node by node.
#[derive(Parser, Debug)]
struct Options {
    /// Directory to write the pictures to
    #[arg(long, value_name = "DIR", default_value = "graphs")]
    out: PathBuf,
    /// Draw the sweep too: each cotangent with its shape and its rule
    #[arg(long)]
    backward: bool,
    /// Number of samples in a batch
    #[arg(long, default_value_t = 18_858, value_parser = positive)]
    samples: usize,
    /// Number of pixels of a sample
    #[arg(long, default_value_t = 784, value_parser = positive)]
    inputs: usize,
    /// Number of hidden units
    #[arg(long, default_value_t = 100, value_parser = positive)]
    hidden: usize,
    /// Number of classes
    #[arg(long, default_value_t = 3, value_parser = positive)]
    classes: usize,
}

/// As many as one array may consist of: 400 MB.
const MAX_NUMBERS: usize = 100_000_000;

/// A picture: its file, what it shows, and what records it.
type Piece = (&'static str, &'static str, for<'t> fn(&'t Tape<f32>, &Options) -> Var<'t, f32>);

const PIECES: [Piece; 6] = [
    ("one_layer", "one layer", one_layer),
    ("two_layers_sample", "two layers, a single sample", |tape, options| two_layers(tape, options, 1)),
    ("two_layers_batch", "two layers, a batch", |tape, options| two_layers(tape, options, options.samples)),
    ("fully_connected", "a fully connected layer", fully_connected),
    ("relu", "relu", relu),
    ("loss", "the loss", loss),
];

fn main() -> ExitCode {
    exit(run(&lesson::parse()))
}

fn run(options: &Options) -> Outcome {
    check_sizes(options)?;
    fs::create_dir_all(&options.out).map_err(|error| at(&options.out, &error))?;
    for (name, title, record) in PIECES {
        let tape = Tape::new();
        let result = record(&tape, options);
        println!("{title}:\n\n{}", draw::explain(result));
        let (drawing, suffix) = match options.backward {
            true => (draw::graph(result).with_backward(), "_backward"),
            false => (draw::graph(result), ""),
        };
        let drawing = drawing.with_title(title);
        for (ending, content) in [("svg", drawing.svg()), ("dot", drawing.dot())] {
            let path = options.out.join(format!("{name}{suffix}.{ending}"));
            fs::write(&path, content).map_err(|error| at(&path, &error))?;
        }
        println!("drawn in {}\n", options.out.join(format!("{name}{suffix}.svg")).display());
    }
    Ok(())
}

/// Checks that each array fits into memory.
fn check_sizes(options: &Options) -> Outcome {
    let Options { samples, inputs, hidden, classes, .. } = *options;
    let sizes = [("samples", samples), ("inputs", inputs), ("hidden", hidden), ("classes", classes)];
    for (at, (first, rows)) in sizes.iter().enumerate() {
        for (second, columns) in &sizes[at + 1..] {
            if rows.saturating_mul(*columns) > MAX_NUMBERS {
                let product = format!("--{first} times --{second}");
                return Err(format!("{product}: expected at most {MAX_NUMBERS}, found {rows} x {columns}").into());
            }
        }
    }
    Ok(())
}

fn at(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}

/// Returns an array to draw. Its numbers do not matter.
fn array(rows: usize, columns: usize) -> Array2<f32> {
    Array2::from_elem((rows, columns), 0.5)
}

/// Softmax regression: `ŷ = softmax(x W + b)`.
fn one_layer<'t>(tape: &'t Tape<f32>, options: &Options) -> Var<'t, f32> {
    let layer = Linear::new(options.inputs, options.classes, &mut StdRng::seed_from_u64(0));
    let x = tape.constant(array(options.samples, options.inputs)).named("x");
    let z = layer.record(tape, x).named("z");
    course_loss(z, options.samples, options)
}

/// A hidden layer: `ŷ = softmax(tanh(x W1 + b1) W2 + b2)`.
fn two_layers<'t>(tape: &'t Tape<f32>, options: &Options, samples: usize) -> Var<'t, f32> {
    let mut rng = StdRng::seed_from_u64(0);
    let first = Linear::new(options.inputs, options.hidden, &mut rng);
    let second = Linear::new(options.hidden, options.classes, &mut rng);
    let x = tape.constant(array(samples, options.inputs)).named("x");
    let h = first.record(tape, x).named("z").tanh().named("h");
    course_loss(second.record(tape, h).named("z"), samples, options)
}

/// `ŷ = softmax(z)` and the loss of it: its terms in one operation. [`loss`] has the same from sums, products and logarithms.
fn course_loss<'t>(z: Var<'t, f32>, samples: usize, options: &Options) -> Var<'t, f32> {
    let y = z.tape().constant(array(samples, options.classes)).named("y");
    z.course_cross_entropy(y, Reduction::BatchMean)
}

/// The layer by itself. What stands below it is the seed of the sweep, `g = dz`.
fn fully_connected<'t>(tape: &'t Tape<f32>, options: &Options) -> Var<'t, f32> {
    let layer = Linear::new(options.inputs, options.hidden, &mut StdRng::seed_from_u64(0));
    let x = tape.leaf(array(options.samples, options.inputs)).named("x");
    layer.record(tape, x).named("z")
}

fn relu<'t>(tape: &'t Tape<f32>, options: &Options) -> Var<'t, f32> {
    tape.leaf(array(options.samples, options.hidden)).named("z").relu().named("h")
}

/// The course's loss from sums, products and logarithms:
/// `L = -1/N Σ [y ln(ŷ + 1e-16) + (1 - y) ln(1 - ŷ + 1e-16)]`.
fn loss<'t>(tape: &'t Tape<f32>, options: &Options) -> Var<'t, f32> {
    let yhat = tape.leaf(array(options.samples, options.classes)).named("ŷ");
    let y = tape.constant(array(options.samples, options.classes)).named("y");
    let epsilon = 1e-16;
    let hit = tape.group("y ln(ŷ + ε)", || y * (yhat + epsilon).ln());
    let miss = tape.group("(1 - y) ln(1 - ŷ + ε)", || (1.0 - y) * (1.0 - yhat + epsilon).ln());
    -(hit + miss).sum() / options.samples as f32
}
