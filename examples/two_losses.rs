//! Where the two halves of the course disagree, and why: the delta ŷ - y that is derived by hand is the derivative of the
//! categorical cross-entropy, and the loss that is differentiated automatically is the binary one.
//!
//! `cargo run --release --example two_losses -- --help`

mod lesson;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use lesson::plot::{Axis, Curve, Panel};
use lesson::{Outcome, Pixels, exit, positive, positive_number};
use ndarray::{Array2, ArrayRef2, array};
use tapegrad::check::{self, gradcheck};
use tapegrad::data::accuracy;
use tapegrad::nn::{CrossEntropy, Loss, SoftmaxCrossEntropy};
use tapegrad::train::{Bar, Examples, Progress, Record};
use tapegrad::{Reduction, Tape, Var};

/// Show the deltas of the categorical and of the binary cross-entropy of a softmax on a sample and on the digits, check
/// each against its own loss, and train one layer along both.
///
/// categorical  C = -Σ y ln ŷ                              dC/dz = ŷ - y
/// binary       L = -Σ [y ln ŷ + (1 - y) ln(1 - ŷ)]        dL/dz = ŷ - y + (1 - y) ŷ / (1 - ŷ) - ŷ S
///
/// with ŷ = softmax(z) and S the sum of ŷ / (1 - ŷ) over the wrong classes. L adds 1e-16 within its logarithms.
///
/// Exit codes: 0 each delta is the derivative of its loss, 1 one is not or the data cannot be used, 2 the arguments are
/// wrong.
#[derive(Parser, Debug)]
#[command(verbatim_doc_comment)]
struct Options {
    /// Directory with x.npy, y.npy (training) and xt.npy, yt.npy (test) [default: the digits of this repository]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Passes over the training digits
    #[arg(long, default_value_t = 200, value_parser = positive)]
    passes: usize,
    /// Size of a step along the summed gradient
    #[arg(long, default_value_t = 1e-5, value_parser = positive_number, allow_negative_numbers = true)]
    epsilon: f64,
    /// Seed of the initial parameters, 1e-3 · N(0, 1)
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to draw the losses
    #[arg(long, value_name = "FILE.svg", value_parser = lesson::svg, default_value = "two_losses.svg")]
    plot: PathBuf,
}

/// The two losses.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Categorical,
    Binary,
}

impl Form {
    const BOTH: [Self; 2] = [Self::Categorical, Self::Binary];

    fn name(self) -> &'static str {
        match self {
            Self::Categorical => "categorical",
            Self::Binary => "binary",
        }
    }

    /// Records the loss of scores, summed over the rows.
    fn record<'t>(self, y: &ArrayRef2<f64>, z: Var<'t, f64>) -> Var<'t, f64> {
        match self {
            Self::Categorical => SoftmaxCrossEntropy::new().with_reduction(Reduction::Sum).record(y, z),
            Self::Binary => CrossEntropy::new().with_reduction(Reduction::Sum).record(y, z.softmax(-1)),
        }
    }

    /// Returns the derivative of the loss by the scores, for one-hot `y` and `ŷ = softmax(z)`.
    fn delta(self, y: &Array2<f64>, yhat: &Array2<f64>) -> Array2<f64> {
        let mut delta = yhat - y;
        if self == Self::Binary {
            // (1 - y) ŷ / (1 - ŷ); its row sums are S. As in the loss, 1e-16 keeps it finite.
            let odds = (1.0 - y) * yhat / (1.0 - yhat + 1e-16);
            let s = odds.sum_axis(ndarray::Axis(1)).insert_axis(ndarray::Axis(1));
            delta = delta + &odds - yhat * &s;
        }
        delta
    }
}

fn main() -> ExitCode {
    exit(run(&lesson::parse()))
}

fn run(options: &Options) -> Outcome {
    lesson::check_output(Some(&options.plot))?;
    println!("-- One sample of class 0: each delta by its formula, and by the tape from its loss");
    for (what, z) in [
        ("all the same to it", array![[0.0, 0.0, 0.0]]),
        ("nearly right", array![[2.0, 0.0, -1.0]]),
        ("right and certain", array![[5.0, 0.0, 0.0]]),
        ("wrong", array![[0.0, 2.0, 0.5]]),
        ("wrong and certain", array![[0.0, 5.0, 0.0]]),
    ] {
        one_sample(what, &z)?;
    }

    println!("\n-- The digits");
    let data = lesson::load_digits(options.data.as_ref())?;
    let sets = lesson::examples(&data, Pixels::Scaled)?;
    let mut curves: Vec<Vec<[f64; 6]>> = Vec::new();
    for form in Form::BOTH {
        curves.push(descend(form, &sets, [data.train().labels(), data.test().labels()], options)?);
    }
    let panels = [("L, the binary form", 0), ("C, the categorical form", 2), ("digits told apart", 4)];
    let panels = panels.map(|(name, column)| {
        let curve = |form: usize, set: usize| {
            let along = format!("along d{}/dz, {}", ["C", "L"][form], ["train", "test"][set]);
            let curve = Curve::by_index(along, curves[form].iter().map(|losses| losses[column + set]), form);
            if set == 0 { curve } else { curve.dashed() }
        };
        let four = [curve(0, 0), curve(0, 1), curve(1, 0), curve(1, 1)];
        let y = if column == 4 { Axis::percent("accuracy %") } else { Axis::readable("mean loss") };
        Panel::new(name, Axis::whole("pass"), y, four)
    });
    println!("\n-- Which one is right?");
    println!(
        "each is the derivative of its own loss. A network that is trained along ŷ - y and plotted with L descends"
    );
    println!(
        "along C: L falls with it, but a gradcheck of L against ŷ - y fails, and another program that differentiates"
    );
    println!("L takes other steps: for three classes 1.5 times as long at first, and in the end twice as long");
    lesson::plot::write(&options.plot, &panels)
}

/// Returns the value and the derivative of a loss by the scores, by the tape.
fn by_tape(form: Form, y: &ArrayRef2<f64>, z: &Array2<f64>) -> Outcome<(f64, Array2<f64>)> {
    let tape = Tape::new();
    let z = tape.leaf(z);
    let loss = form.record(y, z);
    loss.backward();
    let grad = z.grad().ok_or("the loss depends on the scores")?.to_owned().into_dimensionality()?;
    Ok((loss.item(), grad))
}

/// Shows both deltas of scores, and checks each against its own loss.
fn one_sample(what: &str, z: &Array2<f64>) -> Outcome {
    let y = array![[1.0, 0.0, 0.0]];
    let yhat = softmax(z);
    println!("\n{what}: z = {}, ŷ = {:.6}", z.row(0), yhat.row(0));
    println!(
        "             loss       delta by its formula                by the tape                         gradcheck"
    );
    for form in Form::BOTH {
        let formula = form.delta(&y, &yhat);
        let (loss, tape) = by_tape(form, &y, z)?;
        let report = gradcheck(
            |v| form.record(&y, v[0]),
            &[z.clone().into_dyn()],
            &check::Options::new().with_order(check::Order::First),
        )?;
        let error = report.largest_error();
        println!("{:11}  {loss:<9.6}  {:<34}  {:<34}  {error:.0e}", form.name(), row(&formula), row(&tape));
        let worst = (&formula - &tape).iter().fold(0.0, |worst: f64, d| worst.max(d.abs()));
        if worst > 1e-9 {
            return Err(format!("the {} delta differs from the tape's by {worst:e}", form.name()).into());
        }
    }
    let [categorical, binary] = Form::BOTH.map(|form| form.delta(&y, &yhat));
    println!("binary / categorical: {}", row(&(binary / categorical)));
    Ok(())
}

fn row(matrix: &Array2<f64>) -> String {
    let numbers: Vec<String> = matrix.iter().map(|x| format!("{x:9.6}")).collect();
    format!("[{}]", numbers.join(", "))
}

fn softmax(z: &Array2<f64>) -> Array2<f64> {
    let tape = Tape::new();
    let yhat = tape.constant(z).softmax(-1).value().to_owned();
    yhat.into_dimensionality().expect("scores are a matrix")
}

/// Trains one layer along the delta of a loss. Returns L, C and the accuracy in per cent before each pass, each on both
/// sets.
fn descend(form: Form, sets: &[Examples<f64>; 2], labels: [&[usize]; 2], options: &Options) -> Outcome<Vec<[f64; 6]>> {
    let [x, y] = [sets[0].inputs(), sets[0].targets()];
    let parameters = lesson::normal_parameters(&[x.ncols(), y.ncols()], options.seed);
    let mut w: Array2<f64> = (*parameters[0].value()).clone().into_dimensionality()?;
    let mut b: ndarray::Array1<f64> = (*parameters[1].value()).clone().into_dimensionality()?;
    let mut history = Vec::new();
    println!("\nalong the delta of the {} loss:", form.name());
    let bar = Bar::new(Progress::Bar, options.passes);
    for pass in 0..=options.passes {
        let z = [0, 1].map(|set: usize| sets[set].inputs().dot(&w) + &b);
        let yhat = [softmax(&z[0]), softmax(&z[1])];
        let l = [0, 1].map(|set| CrossEntropy::new().forward(sets[set].targets(), &yhat[set]));
        let c = [0, 1].map(|set| SoftmaxCrossEntropy::new().forward(sets[set].targets(), &z[set]));
        let right = [0, 1].map(|set| 100.0 * accuracy(&yhat[set], labels[set]));
        bar.show(&Record::new(pass, l[0]).with_test_accuracy(right[1] / 100.0));
        if pass == 0 || pass == options.passes {
            bar.above(|| {
                println!(
                    "  pass {pass}: L = {:.6}, C = {:.6} in training; {:.2} % of the test digits",
                    l[0], c[0], right[1]
                );
                compare(&sets[0], &yhat[0]);
            });
        }
        if pass < options.passes {
            history.push([l[0], l[1], c[0], c[1], right[0], right[1]]);
            let delta = form.delta(y, &yhat[0]);
            w.scaled_add(-options.epsilon, &x.t().dot(&delta));
            b.scaled_add(-options.epsilon, &delta.sum_axis(ndarray::Axis(0)));
        }
    }
    Ok(history)
}

/// Prints how the gradients of both losses by W compare.
fn compare(train: &Examples<f64>, yhat: &Array2<f64>) {
    let [c, l] = Form::BOTH.map(|form| train.inputs().t().dot(&form.delta(train.targets(), yhat)));
    let norm = |dw: &Array2<f64>| (dw * dw).sum().sqrt();
    let cosine = (&c * &l).sum() / (norm(&c) * norm(&l));
    println!(
        "    |dC/dW| = {:.4}, |dL/dW| = {:.4}: {:.4} times as long, at an angle of {:.2} degrees",
        norm(&c),
        norm(&l),
        norm(&l) / norm(&c),
        cosine.clamp(-1.0, 1.0).acos().to_degrees()
    );
}
