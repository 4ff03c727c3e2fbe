//! What all lessons on digits have in common: data, parameters, the reported loss, and what they leave behind.

use std::path::PathBuf;

use ndarray::{Array2, ArrayRef2};
use tapegrad::Param;
use tapegrad::data::{ConfusionMatrix, accuracy, save_npz};
use tapegrad::files::{Saved, ToSave};
use tapegrad::nn::{CrossEntropy, Loss, SoftmaxCrossEntropy};
use tapegrad::optim::Stateful;
use tapegrad::report::Report;
use tapegrad::train::{Examples, Progress};

use super::lesson::plot::{Axis, Curve, Panel};
use super::lesson::verdict::Curves;
use super::lesson::watch::{Outputs, Watch, class_names};
use super::lesson::{self, Activation, Outcome, Pixels};
use super::{Options, Reported};

/// What a lesson has to work with.
pub struct Task {
    /// Training and test digits.
    pub sets: [Examples<f64>; 2],
    labels: [Vec<usize>; 2],
    /// W, b or W1, b1, W2, b2.
    pub parameters: Vec<Param<f64>>,
    /// Between two layers.
    pub activation: Activation,
    pub loss: Reported,
    pub epsilon: f64,
    pub passes: usize,
    /// The checkpoint to write, and how often.
    checkpoint: Option<(PathBuf, usize)>,
    /// The checkpoint to go on from.
    resume: Option<PathBuf>,
    /// What shows the run, and its title.
    outputs: Outputs,
    title: String,
}

/// What a lesson comes to: the curves, and the probabilities of both sets after the last update.
pub struct Trained {
    pub curves: Curves,
    pub watch: Watch,
    pub yhat: [Array2<f64>; 2],
}

/// Runs a lesson on one layer, or on two with a hidden layer of this width.
pub fn run(
    name: &str,
    options: &Options,
    hidden: Option<(usize, Activation)>,
    epsilon: f64,
    lesson: impl FnOnce(&Task) -> Outcome<Trained>,
) -> Outcome {
    let plot = options.plot.clone().unwrap_or_else(|| PathBuf::from(format!("digits_{}.svg", name.replace('-', "_"))));
    for output in [&options.save, &options.history, &options.checkpoint, &Some(plot.clone())] {
        lesson::check_output(output.as_ref())?;
    }
    let outputs = Outputs { log: options.jsonl.clone(), report: options.report.clone() };
    outputs.check()?;
    let task = Task { outputs, title: format!("digits {name}"), ..Task::new(options, hidden, epsilon)? };
    let Trained { curves, watch, yhat } = lesson(&task)?;

    let (first, last) = (curves.losses[0], curves.losses[task.passes]);
    let matrices = [0, 1].map(|set| ConfusionMatrix::new(&yhat[set], &task.labels[set]));
    println!();
    for (set, name) in ["train", "test "].into_iter().enumerate() {
        let percent = 100.0 * matrices[set].accuracy();
        println!("{name} loss {:.6} -> {:.6}, accuracy {percent:.2} %", first[set], last[set]);
    }
    println!("{}", curves.verdict());
    println!("\ntest digits:\n{}", matrices[1]);
    watch.finish(Some((&matrices[1], &class_names(matrices[1].counts().nrows())[..])))?;

    if let Some(path) = &options.history {
        let of = |rows: &[[f64; 2]]| Array2::from_shape_fn((task.passes, 2), |(pass, set)| rows[pass][set]);
        let (history, accuracy) = (of(&curves.losses), of(&curves.accuracies));
        save_npz(path, &[("history", history.view().into_dyn()), ("accuracy", accuracy.view().into_dyn())])?;
        println!("the history is in {}", path.display());
    }
    if let Some(path) = &options.save {
        lesson::save_parameters(&task.parameters, path)?;
    }
    lesson::plot::write(&plot, &task.panels(&curves, options.log))?;
    if options.json {
        let result = serde_json::json!({
            "passes": task.passes,
            "epsilon": task.epsilon,
            "loss": match task.loss { Reported::Course => "course", Reported::Softmax => "softmax" },
            "first_train_loss": first[0],
            "first_test_loss": first[1],
            "train_loss": last[0],
            "test_loss": last[1],
            "train_accuracy": matrices[0].accuracy(),
            "test_accuracy": matrices[1].accuracy(),
        });
        println!("{result}");
    }
    Ok(())
}

impl Task {
    fn new(options: &Options, hidden: Option<(usize, Activation)>, epsilon: f64) -> Outcome<Self> {
        let data = lesson::load_digits(options.data.as_ref())?;
        let pixels = if options.raw_pixels { Pixels::Raw } else { Pixels::Scaled };
        let sets = lesson::examples(&data, pixels)?;
        let (width, classes) = (data.train().images().ncols(), data.train().classes());
        let widths = match hidden {
            None => vec![width, classes],
            Some((hidden, _)) => vec![width, hidden, classes],
        };
        let parameters = lesson::normal_parameters(&widths, options.seed);
        if let Some(path) = &options.init {
            lesson::load_parameters(&parameters, path)?;
        }
        let shapes: Vec<String> = parameters.iter().map(|p| format!("{} {}", p.name(), p.shape())).collect();
        let count: usize = parameters.iter().map(|p| p.shape().elements()).sum();
        let from = if options.init.is_some() { "from the file" } else { "drawn from 1e-3 · N(0, 1)" };
        println!("{count} parameters {from}: {}", shapes.join(", "));
        Ok(Self {
            sets,
            labels: [data.train().labels().to_vec(), data.test().labels().to_vec()],
            parameters,
            activation: hidden.map_or(Activation::Tanh, |(_, activation)| activation),
            loss: options.loss,
            epsilon: options.epsilon.unwrap_or(epsilon),
            passes: options.passes,
            checkpoint: options.checkpoint.clone().map(|path| (path, options.every)),
            resume: options.resume.clone(),
            outputs: Outputs::default(),
            title: String::new(),
        })
    }

    /// Returns what shows the run from this pass on.
    pub fn watch(&self, first: usize, progress: Progress) -> Outcome<Watch> {
        let loss = match self.loss {
            Reported::Course => "the course's L = -1/N Σ Σ [y ln(ŷ + 1e-16) + (1 - y) ln(1 - ŷ + 1e-16)]",
            Reported::Softmax => "mean softmax cross-entropy",
        };
        let [train, test] = &self.sets;
        let page = Report::new(&*self.title)
            .with_fact("loss", loss)
            .with_fact("digits", format!("{} for training, {} for the test", train.len(), test.len()));
        let mut watch = Watch::new(&self.outputs, page, progress, self.passes, first)?;
        watch.first_layer(self.parameters[0].name(), &self.parameters[0]);
        Ok(watch)
    }

    /// Writes the checkpoint if it is time to: the parameters and curves before a pass, and what the optimizer remembers.
    pub fn save(&self, pass: usize, curves: &Curves, optimizer: &dyn Stateful<f64>) -> Outcome {
        match &self.checkpoint {
            Some((path, every)) if pass.is_multiple_of(*every) => {
                let named = lesson::named(&self.parameters);
                let file = ToSave::new().parameters(&named).optimizer(optimizer, &named).count("pass", pass as u64);
                Ok(curves.save(file).write(path)?)
            }
            _ => Ok(()),
        }
    }

    /// Returns the pass to begin with, and the curves before it: those of the checkpoint, if there is one to go on from.
    pub fn begin(&self, optimizer: &mut dyn Stateful<f64>) -> Outcome<(usize, Curves)> {
        let Some(path) = &self.resume else { return Ok(Default::default()) };
        let saved = Saved::read(path)?;
        let pass = saved.count("pass")? as usize;
        if pass > self.passes {
            return Err(format!("{}: expected a pass of at most {}, found {pass}", path.display(), self.passes).into());
        }
        let curves = Curves::load(&saved, pass)?;
        saved.restore(&lesson::named(&self.parameters), optimizer)?;
        println!("the run goes on at pass {pass}");
        Ok((pass, curves))
    }

    /// Returns the loss that the lesson reports, for the targets `y`, scores and their softmax `yhat`.
    pub fn evaluate_loss(&self, y: &ArrayRef2<f64>, scores: &ArrayRef2<f64>, yhat: &ArrayRef2<f64>) -> f64 {
        match self.loss {
            Reported::Course => CrossEntropy::new().forward(y, yhat),
            Reported::Softmax => SoftmaxCrossEntropy::new().forward(y, scores),
        }
    }

    /// Returns the accuracies of the probabilities of both sets.
    pub fn accuracies(&self, yhat: [&ArrayRef2<f64>; 2]) -> [f64; 2] {
        [0, 1].map(|set| accuracy(yhat[set], &self.labels[set]))
    }

    /// Refuses a loss that is not finite.
    pub fn check(&self, pass: usize, loss: f64) -> Outcome {
        match loss.is_finite() {
            true => Ok(()),
            false => Err(format!("the loss is {loss} at pass {pass}: stopped (a smaller --epsilon may help)").into()),
        }
    }

    /// Returns the axes with the losses, and those with the accuracies.
    fn panels(&self, curves: &Curves, log: bool) -> [Panel; 2] {
        let title = match self.parameters.len() {
            2 => format!("one layer, epsilon {:e}", self.epsilon),
            _ => format!("{} hidden units, epsilon {:e}", self.parameters[1].shape().elements(), self.epsilon),
        };
        let y = if log { Axis::logarithmic } else { Axis::readable };
        let name = match self.loss {
            Reported::Course => "loss L",
            Reported::Softmax => "mean softmax cross-entropy",
        };
        let losses = [
            Curve::by_index("train", curves.loss(0).take(self.passes), 0),
            Curve::by_index("test", curves.loss(1).take(self.passes), 1).dashed(),
        ];
        let accuracies = [
            Curve::by_index("train", curves.percent(0).take(self.passes), 0),
            Curve::by_index("test", curves.percent(1).take(self.passes), 1).dashed(),
        ];
        [
            Panel::new(title, Axis::whole("pass"), y(name), losses),
            Panel::new("digits told apart", Axis::whole("pass"), Axis::percent("accuracy %"), accuracies),
        ]
    }
}
