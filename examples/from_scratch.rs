//! The course's functions on arrays alone, under their names, and the documents' questions with the numbers that answer
//! them. At the end the library's modules and its tape train on the same data: the histories are the same.
//!
//! `cargo run --release --example from_scratch -- --help`

mod lesson;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use lesson::plot::{Axis, Curve, Panel};
use lesson::verdict::Curves;
use lesson::{Outcome, Pixels, exit, positive, positive_number};
use ndarray::{Array1, Array2, ArrayRef2, s};
use tapegrad::check::{self, gradcheck};
use tapegrad::nn::{CrossEntropy, Linear, Loss, Module, Sequential, Softmax, SoftmaxCrossEntropy, Tanh};
use tapegrad::train::Examples;
use tapegrad::{Param, Reduction, Tape, Var};

// ---- The documents' functions: arrays, and nothing of the library. ----

/// W (D, K) and b (K) of each layer.
type Parameters = Vec<(Array2<f64>, Array1<f64>)>;

/// `ŷ[n, k] = e^z[n, k] / Σ_j e^z[n, j]`. The largest z of a row is subtracted first, so nothing overflows.
fn softmax(z: Array2<f64>) -> Array2<f64> {
    let mut yhat = z;
    for mut row in yhat.rows_mut() {
        let largest = row.fold(f64::NEG_INFINITY, |largest, &z| largest.max(z));
        row.mapv_inplace(|z| (z - largest).exp());
        row /= row.sum();
    }
    yhat
}

/// `ŷ = softmax(x W + b)`.
fn predict_one_layer_nn(x: &ArrayRef2<f64>, parameters: &Parameters) -> Array2<f64> {
    let (w, b) = &parameters[0];
    softmax(x.dot(w) + b)
}

/// `h = tanh(x W1 + b1)` and `ŷ = softmax(h W2 + b2)`.
fn predict_two_layer_nn(x: &ArrayRef2<f64>, parameters: &Parameters) -> (Array2<f64>, Array2<f64>) {
    let [(w1, b1), (w2, b2)] = [&parameters[0], &parameters[1]];
    let h = (x.dot(w1) + b1).mapv_into(f64::tanh);
    let yhat = softmax(h.dot(w2) + b2);
    (h, yhat)
}

/// `L = -1/N Σ_n Σ_k [y ln(ŷ + 1e-16) + (1 - y) ln(1 - ŷ + 1e-16)]`.
fn evaluate_loss(y: &ArrayRef2<f64>, yhat: &ArrayRef2<f64>) -> f64 {
    let terms = y.iter().zip(yhat).map(|(y, yhat)| y * (yhat + 1e-16).ln() + (1.0 - y) * (1.0 - yhat + 1e-16).ln());
    -terms.sum::<f64>() / y.nrows() as f64
}

/// With `dL/dz = ŷ - y`: `dL/dW = xᵀ (ŷ - y)`, and `dL/db` is the sum of its rows.
fn partial_derivative_one_layer_nn(
    x: &ArrayRef2<f64>,
    y: &ArrayRef2<f64>,
    parameters: &Parameters,
) -> (Array2<f64>, Array1<f64>) {
    let dz = predict_one_layer_nn(x, parameters) - y;
    (x.t().dot(&dz), dz.sum_axis(ndarray::Axis(0)))
}

/// With `dz2 = ŷ - y` and, because `tanh' = 1 - tanh²`, `dz1 = (dz2 W2ᵀ) (1 - h²)`.
fn partial_derivative_two_layer_nn(
    x: &ArrayRef2<f64>,
    y: &ArrayRef2<f64>,
    parameters: &Parameters,
) -> (Array2<f64>, Array1<f64>, Array2<f64>, Array1<f64>) {
    let (h, yhat) = predict_two_layer_nn(x, parameters);
    let dz2 = yhat - y;
    let dz1 = dz2.dot(&parameters[1].0.t()) * h.mapv(|h| 1.0 - h * h);
    let sum = |dz: &Array2<f64>| dz.sum_axis(ndarray::Axis(0));
    (x.t().dot(&dz1), sum(&dz1), h.t().dot(&dz2), sum(&dz2))
}

/// Takes steps `W -= ε dL/dW`, `b -= ε dL/db`, and returns the losses before them.
fn gradient_descent_one_layer_nn(
    x: &ArrayRef2<f64>,
    y: &ArrayRef2<f64>,
    parameters: &mut Parameters,
    num_passes: usize,
    epsilon: f64,
) -> Vec<f64> {
    let mut losses = Vec::new();
    for _ in 0..num_passes {
        losses.push(evaluate_loss(y, &predict_one_layer_nn(x, parameters)));
        let (dw, db) = partial_derivative_one_layer_nn(x, y, parameters);
        parameters[0].0.scaled_add(-epsilon, &dw);
        parameters[0].1.scaled_add(-epsilon, &db);
    }
    losses
}

/// The same for two layers.
fn gradient_descent_two_layer_nn(
    x: &ArrayRef2<f64>,
    y: &ArrayRef2<f64>,
    parameters: &mut Parameters,
    num_passes: usize,
    epsilon: f64,
) -> Vec<f64> {
    let mut losses = Vec::new();
    for _ in 0..num_passes {
        losses.push(evaluate_loss(y, &predict_two_layer_nn(x, parameters).1));
        let (dw1, db1, dw2, db2) = partial_derivative_two_layer_nn(x, y, parameters);
        for ((w, b), (dw, db)) in parameters.iter_mut().zip([(dw1, db1), (dw2, db2)]) {
            w.scaled_add(-epsilon, &dw);
            b.scaled_add(-epsilon, &db);
        }
    }
    losses
}

/// The share of rows whose largest ŷ is in the column of the class.
fn accuracy(y: &ArrayRef2<f64>, yhat: &ArrayRef2<f64>) -> f64 {
    let argmax = |row: ndarray::ArrayView1<'_, f64>| (0..row.len()).fold(0, |k, j| if row[j] > row[k] { j } else { k });
    let right = y.rows().into_iter().zip(yhat.rows()).filter(|(y, yhat)| argmax(*y) == argmax(*yhat)).count();
    right as f64 / y.nrows() as f64
}

// ---- The documents' questions. ----

/// Run the course's functions on arrays, answer its questions with numbers, and compare with modules and tape.
///
/// Exit codes: 0 done, 1 the histories differ or the data cannot be used, 2 the arguments are wrong.
#[derive(Parser, Debug)]
struct Options {
    /// Directory with x.npy, y.npy (training) and xt.npy, yt.npy (test) [default: the digits of this repository]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Width of the hidden layer of the second network
    #[arg(long, default_value_t = 10, value_parser = positive)]
    hidden: usize,
    /// Passes over the training digits
    #[arg(long, default_value_t = 200, value_parser = positive)]
    passes: usize,
    /// Size of a step along the summed gradient
    #[arg(long, default_value_t = 1e-5, value_parser = positive_number, allow_negative_numbers = true)]
    epsilon: f64,
    /// Seed of the initial parameters, 1e-3 · N(0, 1)
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to draw losses and accuracies
    #[arg(long, value_name = "FILE.svg", value_parser = lesson::svg, default_value = "from_scratch.svg")]
    plot: PathBuf,
}

fn main() -> ExitCode {
    exit(run(&lesson::parse()))
}

fn run(options: &Options) -> Outcome {
    lesson::check_output(Some(&options.plot))?;
    let data = lesson::load_digits(options.data.as_ref())?;
    let sets = lesson::examples(&data, Pixels::Scaled)?;
    let [x, y] = [sets[0].inputs(), sets[0].targets()];
    let ((n, d), k) = (x.dim(), y.ncols());

    println!("\n-- What are N, K, D? How many parameters?");
    println!("x is {:?} and y is {:?}: N = {n} digits, D = {d} pixels, K = {k} classes", x.dim(), y.dim());
    let count = |d: usize, widths: &[usize]| {
        let mut inputs = d;
        widths.iter().map(|&outputs| (std::mem::replace(&mut inputs, outputs) + 1) * outputs).sum::<usize>()
    };
    println!("one layer: (D + 1) K = {}", count(d, &[k]));
    for hidden in [10, 100] {
        println!("two layers, H = {hidden}: (D + 1) H + (H + 1) K = {}", count(d, &[hidden, k]));
    }
    println!("two layers, H = 10, pictures of 256 x 256 pixels: {}", count(256 * 256, &[10, k]));

    let one = start(&[d, k], options.seed);
    let yhat = predict_one_layer_nn(x, &one);
    let off = yhat.sum_axis(ndarray::Axis(1)).iter().fold(0.0, |off: f64, sum| off.max((sum - 1.0).abs()));
    println!("\n-- What do the rows of ŷ sum to?\nto 1: the largest deviation of the {n} rows is {off:.1e}");

    println!("\n-- What do y ln ŷ and (1 - y) ln(1 - ŷ) tend to?");
    println!("ŷ            y ln(ŷ + 1e-16), y = 1    (1 - y) ln(1 - ŷ + 1e-16), y = 0");
    for p in [1.0, 0.999, 0.9, 0.5, 0.1, 1e-3, 1e-5, 0.0_f64] {
        println!("{p:<11e}  {:<24.6}  {:.6}", (p + 1e-16).ln(), (1.0 - p + 1e-16).ln());
    }
    println!(
        "the first tends to 0 as ŷ tends to 1, the second as ŷ tends to 0; else to -∞, which 1e-16 keeps at -36.84"
    );

    println!("\n-- When does L tend to 0?");
    let wrong = Array2::from_shape_fn(y.dim(), |(n, j)| y[[n, (j + 1) % k]]);
    println!(
        "at ŷ = y it is {:.6}, at the initial parameters {:.6}",
        evaluate_loss(y, y).abs(),
        evaluate_loss(y, &yhat)
    );
    println!("if every digit is taken for a wrong one for certain, it is {:.6}", evaluate_loss(y, &wrong));

    derivatives(&sets[0], &one)?;

    println!("\n-- The descents: {} passes, epsilon {:e}", options.passes, options.epsilon);
    let mut panels = Vec::new();
    for widths in [vec![d, k], vec![d, options.hidden, k]] {
        let (title, descend, predict): (String, Descent, Predict) = match widths.len() {
            2 => ("one layer".into(), gradient_descent_one_layer_nn, predict_one_layer_nn),
            _ => {
                let predict: Predict = |x, parameters| predict_two_layer_nn(x, parameters).1;
                (format!("{} hidden units", options.hidden), gradient_descent_two_layer_nn, predict)
            }
        };
        println!("\n{title}:");
        let mut parameters = start(&widths, options.seed);
        let mut curves = Curves::default();
        for pass in 0..=options.passes {
            let yhat = [0, 1].map(|set| predict(sets[set].inputs(), &parameters));
            let of =
                |f: fn(&ArrayRef2<f64>, &ArrayRef2<f64>) -> f64| [0, 1].map(|set| f(sets[set].targets(), &yhat[set]));
            curves.push(of(evaluate_loss), of(accuracy));
            if pass < options.passes {
                descend(x, y, &mut parameters, 1, options.epsilon); // many passes are as many descents of one
            }
        }
        let [train, test] = curves.accuracies[options.passes].map(|accuracy| 100.0 * accuracy);
        println!("accuracy by argmax: {train:.2} % of the training digits, {test:.2} % of the test digits");
        println!("-- Has the curve converged?\n{}", curves.verdict());
        for (half, losses) in
            [("modules", by_modules(&sets, &widths, options)), ("the tape", by_tape(&sets, &widths, options))]
        {
            let pairs = losses.iter().zip(&curves.losses).flat_map(|(a, b)| a.iter().zip(b));
            let worst = pairs.fold(0.0, |worst: f64, (a, b)| worst.max((a / b - 1.0).abs()));
            println!("by {half}: the same history, the largest relative difference is {worst:.1e}");
            if worst.is_nan() || worst > 1e-9 {
                return Err(format!("by {half} the history is another one: it differs by {worst:e}").into());
            }
        }
        let loss = |set: usize| Curve::by_index(["train", "test"][set], curves.loss(set), set);
        let percent = |set: usize| Curve::by_index(["train", "test"][set], curves.percent(set), set);
        let told_apart = format!("digits told apart by {title}");
        let (y, accuracies) = (Axis::percent("accuracy %"), [percent(0), percent(1).dashed()]);
        panels.push(Panel::new(title, Axis::whole("pass"), Axis::readable("loss L"), [loss(0), loss(1).dashed()]));
        panels.push(Panel::new(told_apart, Axis::whole("pass"), y, accuracies));
    }
    println!("\n-- What does it mean if the test curve rises while the train curve falls?");
    println!("overfitting: the network learns what only the training digits have. Stop where the test loss is lowest,");
    println!(
        "take fewer parameters, or more digits. `digits two-layers --epsilon 3e-4 --passes 1000` shows such curves"
    );
    lesson::plot::write(&options.plot, &panels)
}

type Descent = fn(&ArrayRef2<f64>, &ArrayRef2<f64>, &mut Parameters, usize, f64) -> Vec<f64>;
type Predict = fn(&ArrayRef2<f64>, &Parameters) -> Array2<f64>;

/// Returns initial parameters of layers of these widths.
fn start(widths: &[usize], seed: u64) -> Parameters {
    let values = lesson::normal_parameters(widths, seed);
    let pair = |pair: &[Param<f64>]| {
        let [w, b] = [0, 1].map(|k| (*pair[k].value()).clone());
        (w.into_dimensionality().expect("W is a matrix"), b.into_dimensionality().expect("b is a vector"))
    };
    values.chunks(2).map(pair).collect()
}

/// Prints the partial derivatives by their formulas, beside finite differences.
fn derivatives(train: &Examples<f64>, parameters: &Parameters) -> Outcome {
    let (x, y) = (train.inputs().slice(s![..1, ..]), train.targets().slice(s![..1, ..]));
    let (w, b) = &parameters[0];
    let (dw, db) = partial_derivative_one_layer_nn(&x, &y, parameters);
    // A bright pixel of the first digit.
    let d = (0..x.ncols()).fold(0, |best, d| if x[[0, d]] > x[[0, best]] { d } else { best });
    // By how much f grows per step of one parameter, at both sides of it.
    let slope = |f: &dyn Fn(&Parameters) -> f64, step: &dyn Fn(&mut Parameters, f64)| {
        let at = |h: f64| {
            let mut moved = parameters.clone();
            step(&mut moved, h);
            f(&moved)
        };
        (at(1e-5) - at(-1e-5)) / 2e-5
    };
    let z = |p: &Parameters| x.row(0).dot(&p[0].0.column(0)) + p[0].1[0];
    let categorical = |p: &Parameters| -(&predict_one_layer_nn(&x, p) + 1e-300).mapv(f64::ln).dot(&y.t())[[0, 0]];
    let loss = |p: &Parameters| evaluate_loss(&y, &predict_one_layer_nn(&x, p));
    let (of_w, of_b) = (|p: &mut Parameters, h: f64| p[0].0[[d, 0]] += h, |p: &mut Parameters, h: f64| p[0].1[0] += h);

    println!("\n-- dz/dW, dz/db, dL/dW, dL/db: for the first digit, its pixel d = {d} and the class k = 0");
    println!("derivative    formula          number      finite differences");
    let row = |name: &str, formula: &str, number: f64, slope: f64| {
        println!("{name:12}  {formula:15}  {number:<10.7}  {slope:.7}");
    };
    row("dz_k/dW_dk", "x_d", x[[0, d]], slope(&z, &of_w));
    row("dz_k/db_k", "1", 1.0, slope(&z, &of_b));
    row("dL/dW_dk", "x_d (ŷ_k - y_k)", dw[[d, 0]], slope(&categorical, &of_w));
    row("dL/db_k", "ŷ_k - y_k", db[0], slope(&categorical, &of_b));
    println!(
        "the last two are derivatives of -Σ y ln ŷ. Those of L are {:.7} and {:.7}: `two_losses` derives both",
        slope(&loss, &of_w),
        slope(&loss, &of_b)
    );

    // All elements, and the tape's gradient of the same loss.
    fn record<'t>(x: &ArrayRef2<f64>, y: &ArrayRef2<f64>, v: &[Var<'t, f64>]) -> Var<'t, f64> {
        let z = v[0].tape().constant(x).matmul(v[0]) + v[1];
        SoftmaxCrossEntropy::new().record(y, z)
    }
    let inputs = [w.clone().into_dyn(), b.clone().into_dyn()];
    let report = gradcheck(|v| record(&x, &y, v), &inputs, &check::Options::new())?;
    let tape = Tape::new();
    let leaves = [0, 1].map(|k| tape.leaf(&inputs[k]));
    record(&x, &y, &leaves).backward();
    let by_tape = leaves.map(|leaf| leaf.grad().expect("the loss depends on W and b"));
    let differs = |a: &[f64], b: &[f64]| a.iter().zip(b).fold(0.0, |most: f64, (a, b)| most.max((a - b).abs()));
    let worst = [dw.into_dyn().as_standard_layout(), db.into_dyn().as_standard_layout()]
        .iter()
        .zip(by_tape)
        .map(|(formula, tape)| differs(formula.as_slice().unwrap_or(&[]), tape.as_slice().unwrap_or(&[])))
        .fold(0.0, f64::max);
    println!(
        "gradcheck compares all {} elements with finite differences: the largest error is {:.1e}; formulas and tape \
         differ by {worst:.1e}",
        report.elements(),
        report.largest_error()
    );
    Ok(())
}

// ---- The same by the library. ----

/// Returns the layers before the softmax, with the initial parameters.
fn network(widths: &[usize], seed: u64) -> Sequential<f64> {
    let p = lesson::normal_parameters(widths, seed);
    let linear = |k: usize| Linear::from_params(p[k].clone(), Some(p[k + 1].clone()));
    let first = Sequential::new().push(linear(0));
    if p.len() == 2 { first } else { first.push(Tanh::new()).push(linear(2)) }
}

/// Returns the losses before each pass by the library's modules.
fn by_modules(sets: &[Examples<f64>; 2], widths: &[usize], options: &Options) -> Vec<[f64; 2]> {
    let mut net = network(widths, options.seed);
    let (mut softmax, mut course) = (Softmax::new(), CrossEntropy::new());
    let mut delta = SoftmaxCrossEntropy::new().with_reduction(Reduction::Sum);
    let mut pass = |_| {
        let [test, train] = [1, 0].map(|set: usize| {
            let yhat = softmax.forward(net.forward(sets[set].inputs()));
            course.forward(sets[set].targets(), yhat)
        });
        // ŷ - y for the training digits, whose forward pass was the last.
        net.backward_update_gradient(sets[0].inputs(), delta.backward(sets[0].targets(), &net.output().clone()));
        net.update_parameters(options.epsilon);
        net.zero_grad();
        [train, test]
    };
    (0..options.passes).map(&mut pass).collect()
}

/// Returns the losses before each pass by the tape.
fn by_tape(sets: &[Examples<f64>; 2], widths: &[usize], options: &Options) -> Vec<[f64; 2]> {
    let mut net = network(widths, options.seed);
    let summed = SoftmaxCrossEntropy::new().with_reduction(Reduction::Sum);
    let mut tape = Tape::new();
    let mut pass = |_| {
        let z = [0, 1].map(|set: usize| net.record(&tape, tape.constant(sets[set].inputs())));
        let losses = [0, 1].map(|set| CrossEntropy::new().record(sets[set].targets(), z[set].softmax(-1)).item());
        summed.record(sets[0].targets(), z[0]).backward();
        net.update_parameters(options.epsilon);
        net.zero_grad();
        tape.reset();
        losses
    };
    (0..options.passes).map(&mut pass).collect()
}
