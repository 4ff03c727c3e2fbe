//! The course's digits, told apart by one layer and by two: by hand, by tape, with an optimizer, and as a model of one's
//! own. All that describe the same network from the same parameters give the same history of losses.
//!
//! `cargo run --release --example digits -- --help`

mod lesson;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand, ValueEnum};
use lesson::plot::{Axis, Curve, Panel};
use lesson::{Activation, Half, Outcome, exit, momentum, positive, positive_number};
use ndarray::{Array2, ArrayRef2};
use tapegrad::data::{ConfusionMatrix, Dataset, save_npz};
use tapegrad::nn::{Linear, Loss, Model, Module, Sequential, SoftmaxCrossEntropy};
use tapegrad::optim::{Optimizer, Sgd};
use tapegrad::train::{ByHand, ByTape, Descent, Examples, Learner, Progress, batch_descent};
use tapegrad::{Param, Reduction, Tape, Var};

/// Tell digits apart by networks of one and of two layers, in float64.
///
/// Every lesson descends along the gradient on all training digits at once. Losses are the mean cross-entropy of the softmax;
/// the gradient by the scores is ŷ - y, summed or averaged over the digits.
///
/// Exit codes: 0 done, 1 the data cannot be used or the loss is no longer finite, 2 the arguments are wrong.
#[derive(Parser, Debug)]
struct Arguments {
    #[command(subcommand)]
    lesson: Lesson,
}

#[derive(Subcommand, Debug)]
enum Lesson {
    /// Softmax regression, x W + b. Defaults: 200 passes, epsilon 1e-5, the summed gradient
    OneLayer {
        #[command(flatten)]
        options: Options,
        /// Which half of the library computes the gradient
        #[arg(long, value_enum, default_value_t = Half::Manual)]
        path: Half,
    },
    /// One hidden layer, f(x W1 + b1) W2 + b2. Defaults: 2000 passes, epsilon 1e-3, the mean gradient
    TwoLayers {
        #[command(flatten)]
        options: Options,
        /// Which half of the library computes the gradient
        #[arg(long, value_enum, default_value_t = Half::Manual)]
        path: Half,
    },
    /// The network of two-layers on the tape: record, backward, grad, zero, spelled out
    Tape(Options),
    /// The network of two-layers, its steps taken by SGD with momentum
    Optimizer {
        #[command(flatten)]
        options: Options,
        /// Momentum, as PyTorch defines it; with 0 the steps are those of two-layers
        #[arg(long, default_value_t = 0.9, value_parser = momentum)]
        momentum: f64,
    },
    /// The network of two-layers as a model of one's own
    Module(Options),
}

#[derive(Args, Debug)]
struct Options {
    /// Directory with x.npy, y.npy (training) and xt.npy, yt.npy (test) [default: the digits of this repository]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Width of the hidden layer
    #[arg(long, default_value_t = 100, value_parser = positive)]
    hidden: usize,
    /// Activation of the hidden layer
    #[arg(long, value_enum, default_value_t = Activation::Tanh)]
    activation: Activation,
    /// Passes over the training digits [default: 200 for one-layer, else 2000]
    #[arg(long, value_parser = positive)]
    passes: Option<usize>,
    /// Size of a step: w -= epsilon * gradient [default: 1e-5 for one-layer, else 1e-3]
    #[arg(long, value_parser = positive_number, allow_negative_numbers = true)]
    epsilon: Option<f64>,
    /// Whether the gradients of the digits are summed or averaged [default: sum for one-layer, else mean]
    #[arg(long, value_enum)]
    reduction: Option<Reduce>,
    /// Divide pixels by 255
    #[arg(long)]
    scale_pixels: bool,
    /// Seed of the initial parameters, 1e-3 · N(0, 1)
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Take the initial parameters from a file instead: float64 arrays W, b or W1, b1, W2, b2; W is (inputs, outputs)
    #[arg(long, value_name = "FILE.npz")]
    init: Option<PathBuf>,
    /// Write the trained parameters to a file, under the same names
    #[arg(long, value_name = "FILE.npz")]
    save: Option<PathBuf>,
    /// Write train and test loss before each pass's update, as an array `history` of shape (passes, 2)
    #[arg(long, value_name = "FILE.npz")]
    history: Option<PathBuf>,
    /// Draw both losses
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    /// Draw them on a logarithmic scale
    #[arg(long)]
    log: bool,
    /// End with one JSON object on the last line of standard output
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Reduce {
    Sum,
    Mean,
}

fn main() -> ExitCode {
    exit(match lesson::parse::<Arguments>().lesson {
        Lesson::OneLayer { options, path } => run(&options, 1, |task| layers(task, path)),
        Lesson::TwoLayers { options, path } => run(&options, 2, |task| layers(task, path)),
        Lesson::Tape(options) => run(&options, 2, tape),
        Lesson::Optimizer { options, momentum } => run(&options, 2, |task| optimizer(task, momentum)),
        Lesson::Module(options) => run(&options, 2, module),
    })
}

/// What a lesson has to work with.
struct Task {
    train: Examples<f64>,
    test: Examples<f64>,
    /// W, b or W1, b1, W2, b2.
    parameters: Vec<Param<f64>>,
    activation: Activation,
    loss: SoftmaxCrossEntropy<f64>,
    epsilon: f64,
    passes: usize,
    /// The number of training and test digits if losses are sums over them, else 1.
    counts: [f64; 2],
}

/// What a lesson comes to: the mean losses before each pass's update, and the scores of both sets after the last one.
struct Trained {
    losses: Vec<[f64; 2]>,
    scores: [Array2<f64>; 2],
}

/// Runs a lesson of this many layers, between what all lessons have in common.
fn run(options: &Options, depth: usize, lesson: impl FnOnce(&Task) -> Outcome<Trained>) -> Outcome {
    for output in [&options.save, &options.history, &options.plot] {
        lesson::check_output(output.as_ref())?;
    }
    let data = lesson::load_digits(options.data.as_ref(), options.scale_pixels)?;
    let task = Task::new(options, depth, &data)?;
    let Trained { losses, scores } = lesson(&task)?;

    let labels = [data.train().labels(), data.test().labels()];
    let losses_now = [0, 1].map(|k| task.mean_loss(k, &scores[k]));
    let matrices = [0, 1].map(|k| ConfusionMatrix::new(&scores[k], labels[k]));
    for (set, first, loss, matrix) in
        [("train", losses[0][0], losses_now[0], &matrices[0]), ("test ", losses[0][1], losses_now[1], &matrices[1])]
    {
        println!("{set} loss {first:.6} -> {loss:.6}, accuracy {:.2} %", 100.0 * matrix.accuracy());
    }
    if losses_now[0] > losses[0][0] {
        println!(
            "the loss has grown: this step is too large; try --scale-pixels, --reduction mean or a smaller --epsilon"
        );
    }
    println!("\ntest digits:\n{}", matrices[1]);

    let history = Array2::from_shape_fn((losses.len(), 2), |(pass, set)| losses[pass][set]);
    if let Some(path) = &options.history {
        save_npz(path, &[("history", history.view().into_dyn())])?;
        println!("the history is in {}", path.display());
    }
    if let Some(path) = &options.save {
        lesson::save_parameters(&task.parameters, path)?;
    }
    if let Some(path) = &options.plot {
        let curves = [("train", 0, 0), ("test", 1, 1)];
        let curves = curves.map(|(name, set, color)| Curve::by_index(name, history.column(set).to_vec(), color));
        let title = format!("{depth} layer{}, epsilon {:e}", if depth == 1 { "" } else { "s" }, task.epsilon);
        let y = if options.log { Axis::logarithmic } else { Axis::linear };
        let panel = Panel::new(title, Axis::whole("pass"), y("mean cross-entropy"), curves);
        lesson::plot::write(path, &[panel])?;
    }
    if options.json {
        let result = serde_json::json!({
            "passes": task.passes,
            "epsilon": task.epsilon,
            "reduction": if task.counts == [1.0; 2] { "mean" } else { "sum" },
            "first_train_loss": losses[0][0],
            "first_test_loss": losses[0][1],
            "train_loss": losses_now[0],
            "test_loss": losses_now[1],
            "train_accuracy": matrices[0].accuracy(),
            "test_accuracy": matrices[1].accuracy(),
        });
        println!("{result}");
    }
    Ok(())
}

impl Task {
    fn new(options: &Options, depth: usize, data: &Dataset<f64>) -> Outcome<Self> {
        let (train, test) = (Examples::from(data.train()), Examples::from(data.test()));
        let (width, classes) = (data.train().images().ncols(), data.train().classes());
        let widths = if depth == 1 { vec![width, classes] } else { vec![width, options.hidden, classes] };
        let parameters = lesson::normal_parameters(&widths, options.seed);
        if let Some(path) = &options.init {
            lesson::load_parameters(&parameters, path)?;
        }
        let (passes, epsilon, reduce) = if depth == 1 { (200, 1e-5, Reduce::Sum) } else { (2000, 1e-3, Reduce::Mean) };
        let summed = options.reduction.unwrap_or(reduce) == Reduce::Sum;
        let reduction = if summed { Reduction::Sum } else { Reduction::Mean };
        let counts = if summed { [train.len() as f64, test.len() as f64] } else { [1.0; 2] };
        Ok(Self {
            parameters,
            activation: options.activation,
            loss: SoftmaxCrossEntropy::new().with_reduction(reduction),
            epsilon: options.epsilon.unwrap_or(epsilon),
            passes: options.passes.unwrap_or(passes),
            train,
            test,
            counts,
        })
    }

    /// Returns the layers on the parameters of the task.
    fn network(&self) -> Sequential<f64> {
        let linear = |k: usize| Linear::from_params(self.parameters[k].clone(), Some(self.parameters[k + 1].clone()));
        let first = Sequential::new().push(linear(0));
        if self.parameters.len() == 2 {
            return first;
        }
        self.activation.push(first).push(linear(2))
    }

    /// Returns the mean loss of scores for the training digits (0) or the test digits (1).
    fn mean_loss(&self, set: usize, scores: &ArrayRef2<f64>) -> f64 {
        let y = [&self.train, &self.test][set].targets();
        self.loss.clone().forward(y, scores) / self.counts[set]
    }

    /// Refuses a loss that is not finite.
    fn check(&self, pass: usize, loss: f64) -> Outcome {
        match loss.is_finite() {
            true => Ok(()),
            false => Err(format!("the loss is {loss} at pass {pass}: stopped (a smaller --epsilon may help)").into()),
        }
    }
}

/// Trains layers by one half of the library or the other.
fn layers(task: &Task, half: Half) -> Outcome<Trained> {
    println!("{}\n", task.network().summary(task.train.inputs().ncols()));
    match half {
        Half::Manual => descend(task, &mut ByHand::new(task.network(), task.loss.clone())),
        Half::Tape => {
            let network = task.network();
            descend(task, &mut ByTape::new(move |tape, x| network.record(tape, x), task.loss.clone()))
        }
    }
}

fn descend(task: &Task, learner: &mut impl Learner<f64>) -> Outcome<Trained> {
    let mut sgd = Sgd::new(&task.parameters, task.epsilon);
    let descent = Descent::new(task.passes).progress(Progress::Bar);
    let history = batch_descent(learner, &mut sgd, &task.train, Some(&task.test), descent)?;
    let losses =
        history.losses().rows().into_iter().map(|row| [row[0] / task.counts[0], row[1] / task.counts[1]]).collect();
    let scores = [&task.train, &task.test].map(|examples| {
        learner.evaluate(examples);
        learner.output().clone()
    });
    Ok(Trained { losses, scores })
}

/// The network of two layers, spelled out on a tape.
fn scores<'t>(task: &Task, tape: &'t Tape<f64>, x: Var<'t, f64>) -> Var<'t, f64> {
    let [w1, b1, w2, b2] = [0, 1, 2, 3].map(|k| tape.param(&task.parameters[k]));
    let h = task.activation.record(x.matmul(w1) + b1);
    h.matmul(w2) + b2
}

/// Record, backward, grad, zero.
fn tape(task: &Task) -> Outcome<Trained> {
    let mut tape = Tape::new();
    let mut losses = Vec::new();
    for pass in 0..task.passes {
        let loss = task.loss.record(task.train.targets(), scores(task, &tape, tape.constant(task.train.inputs())));
        let test_loss = task.loss.record(task.test.targets(), scores(task, &tape, tape.constant(task.test.inputs())));
        losses.push([loss.item() / task.counts[0], test_loss.item() / task.counts[1]]);
        task.check(pass, loss.item())?;
        if pass == 0 {
            print_grads("before the first backward", &task.parameters);
        }
        loss.backward();
        if pass == 0 {
            print_grads("after it", &task.parameters);
        }
        for parameter in &task.parameters {
            let grad = parameter.grad().ok_or("a parameter was not reached")?;
            parameter.set_value(&*parameter.value() - task.epsilon * &*grad);
            parameter.zero_grad();
        }
        tape.reset();
    }
    finish(task, losses, |tape, x| scores(task, tape, x))
}

fn print_grads(when: &str, parameters: &[Param<f64>]) {
    println!("{when}:");
    for parameter in parameters {
        match parameter.grad() {
            None => println!("  {}.grad = None", parameter.name()),
            Some(grad) => {
                let norm = grad.iter().map(|g| g * g).sum::<f64>().sqrt();
                println!("  {}.grad = array of shape {}, norm {norm:.6}", parameter.name(), parameter.shape());
            }
        }
    }
}

/// The same with an optimizer: step, zero_grad.
fn optimizer(task: &Task, momentum: f64) -> Outcome<Trained> {
    let mut sgd = Sgd::new(&task.parameters, task.epsilon).with_momentum(momentum);
    println!("{sgd:?}");
    let losses = steps(task, &mut sgd, |tape, x| scores(task, tape, x))?;
    finish(task, losses, |tape, x| scores(task, tape, x))
}

/// Two layers c1 and c2, with tanh or another activation between them: a model of one's own. Without layers it is the
/// identity, which is where one begins.
struct Mlp {
    c1: Option<(Param<f64>, Param<f64>)>,
    c2: Option<(Param<f64>, Param<f64>)>,
    activation: Activation,
}

impl Model<f64> for Mlp {
    fn parameters(&self) -> Vec<Param<f64>> {
        [&self.c1, &self.c2].into_iter().flatten().flat_map(|(w, b)| [w.clone(), b.clone()]).collect()
    }

    fn record<'t>(&self, tape: &'t Tape<f64>, x: Var<'t, f64>) -> Var<'t, f64> {
        let mut y = x;
        if let Some((w, b)) = &self.c1 {
            y = self.activation.record(y.matmul(tape.param(w)) + tape.param(b));
        }
        if let Some((w, b)) = &self.c2 {
            y = y.matmul(tape.param(w)) + tape.param(b);
        }
        y
    }
}

/// The same as a model of one's own.
fn module(task: &Task) -> Outcome<Trained> {
    let identity = Mlp { c1: None, c2: None, activation: task.activation };
    let x = task.test.inputs();
    println!(
        "the identity: {} parameters, model(x) = x: {}",
        identity.parameters().len(),
        identity.call(x) == (**x).clone().into_dyn()
    );

    let [w1, b1, w2, b2] = [0, 1, 2, 3].map(|k| task.parameters[k].clone());
    let model = Mlp { c1: Some((w1, b1)), c2: Some((w2, b2)), activation: task.activation };
    let shapes: Vec<String> = model.parameters().iter().map(|p| format!("{} {}", p.name(), p.shape())).collect();
    println!("complete: parameters {}; model(x) has shape {:?}", shapes.join(", "), model.call(x).shape());

    let losses = steps(task, &mut Sgd::new(model.parameters(), task.epsilon), |tape, x| model.record(tape, x))?;
    finish(task, losses, |tape, x| model.record(tape, x))
}

/// Takes the steps of an optimizer on a tape, spelled out.
fn steps(
    task: &Task,
    optimizer: &mut impl Optimizer<f64>,
    scores: impl for<'t> Fn(&'t Tape<f64>, Var<'t, f64>) -> Var<'t, f64>,
) -> Outcome<Vec<[f64; 2]>> {
    let mut tape = Tape::new();
    let mut losses = Vec::new();
    for pass in 0..task.passes {
        let loss = task.loss.record(task.train.targets(), scores(&tape, tape.constant(task.train.inputs())));
        let test_loss = task.loss.record(task.test.targets(), scores(&tape, tape.constant(task.test.inputs())));
        losses.push([loss.item() / task.counts[0], test_loss.item() / task.counts[1]]);
        task.check(pass, loss.item())?;
        optimizer.zero_grad();
        loss.backward();
        optimizer.step();
        tape.reset();
    }
    Ok(losses)
}

/// Computes the scores of both sets after the last step.
fn finish(
    task: &Task,
    losses: Vec<[f64; 2]>,
    scores: impl for<'t> Fn(&'t Tape<f64>, Var<'t, f64>) -> Var<'t, f64>,
) -> Outcome<Trained> {
    let evaluate = |x: &Arc<Array2<f64>>| {
        let tape = Tape::new();
        let scores = scores(&tape, tape.constant(x)).value().to_owned();
        scores.into_dimensionality()
    };
    Ok(Trained { losses, scores: [evaluate(task.train.inputs())?, evaluate(task.test.inputs())?] })
}
