//! The ten digits of USPS, 16×16 pixels, by a multi-layer perceptron and mini-batches.
//!
//! `cargo run --release --example usps -- --help`

mod lesson;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use lesson::plot::{Axis, Curve, Panel};
use lesson::verdict::Curves;
use lesson::{Activation, Half, momentum, positive, positive_number};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tapegrad::data::{ConfusionMatrix, load_usps};
use tapegrad::nn::{Module, Sequential, SoftmaxCrossEntropy};
use tapegrad::optim::{Optimizer, Sgd};
use tapegrad::train::{ByHand, ByTape, Descent, Examples, Learner, Pass, Progress, mini_batch_descent};

/// Train a multi-layer perceptron on the USPS digits.
///
/// The digits do not come with this repository, since nobody states a licence for them. Put train.npz and test.npz, each
/// with arrays x (digits, 256) and y (digits,), into a directory; or train.txt and test.txt in the course's text form: a
/// first line `classes pixels`, then a line `label v1 v2 …` for each digit, and a last line `-1`.
///
/// Exit codes: 0 done, 1 the loss is no longer finite or a file cannot be written, 2 the data or the arguments are wrong.
#[derive(Parser, Debug)]
struct Options {
    /// Directory with the digits
    #[arg(long, value_name = "DIR", default_value = "data/usps")]
    data: PathBuf,
    /// Layers in all, activations included: an odd number of at least 3
    #[arg(long, default_value_t = 3, value_parser = positive)]
    layers: usize,
    /// Width of every hidden layer
    #[arg(long, default_value_t = 100, value_parser = positive)]
    hidden: usize,
    /// Activation between linear layers
    #[arg(long, value_enum, default_value_t = Activation::Relu)]
    activation: Activation,
    /// Passes over the training digits
    #[arg(long, default_value_t = 30, value_parser = positive)]
    passes: usize,
    /// Digits in a batch
    #[arg(long, default_value_t = 64, value_parser = positive)]
    batch: usize,
    /// Size of a step along the gradient of the mean cross-entropy; it falls to a tenth in the last third of the passes
    #[arg(long, default_value_t = 0.05, value_parser = positive_number, allow_negative_numbers = true)]
    epsilon: f64,
    /// Momentum, as PyTorch defines it
    #[arg(long, default_value_t = 0.9, value_parser = momentum)]
    momentum: f64,
    /// Which half of the library computes the gradients
    #[arg(long, value_enum, default_value_t = Half::Manual)]
    path: Half,
    /// Seed of initial parameters and batches
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to draw losses and accuracies
    #[arg(long, value_name = "FILE.svg", default_value = "usps.svg")]
    plot: PathBuf,
    /// End with one JSON object on the last line of standard output
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let options: Options = lesson::parse();
    let prepared = lesson::check_output(Some(&options.plot)).and_then(|()| Ok(load_usps::<f32>(&options.data)?));
    match prepared {
        Ok(data) => lesson::exit(run(&options, &data)),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options, data: &tapegrad::data::Dataset<f32>) -> lesson::Outcome {
    let (train, test) = (Examples::from(data.train()), Examples::from(data.test()));
    let (width, classes) = (data.train().images().ncols(), data.train().classes());
    println!("{} training and {} test digits of {classes} classes", train.len(), test.len());
    let mut rng = StdRng::seed_from_u64(options.seed);
    let network = Sequential::mlp(options.layers, width, options.hidden, classes, options.activation.into(), &mut rng)?;
    println!("{}\n", network.summary(width));

    let mut sgd = Sgd::new(network.parameters(), options.epsilon as f32).with_momentum(options.momentum as f32);
    let loss = SoftmaxCrossEntropy::new();
    let mut learner: Box<dyn Learner<f32>> = match options.path {
        Half::Manual => Box::new(ByHand::new(network, loss)),
        Half::Tape => Box::new(ByTape::new(move |tape, x| network.record(tape, x), loss)),
    };
    let mut passes = Vec::new();
    // Two descents, the second with smaller steps.
    let fine = options.passes / 3;
    for (count, factor) in [(options.passes - fine, 1.0), (fine, 0.1)] {
        sgd.set_learning_rate((options.epsilon * factor) as f32);
        let before = passes.len();
        let report = |pass: &Pass| {
            if (before + pass.index()).is_multiple_of(5) {
                println!("pass {:3}: {pass}", before + pass.index());
            }
            ControlFlow::Continue(())
        };
        let descent =
            Descent::new(count).seed(options.seed.wrapping_add(before as u64)).progress(Progress::Bar).on_pass(report);
        let history = mini_batch_descent(learner.as_mut(), &mut sgd, &train, Some(&test), options.batch, descent)?;
        passes.extend_from_slice(history.passes());
        if passes.len() == options.passes {
            passes.push(*history.result());
            break;
        }
    }
    let Some(last) = passes.last() else { return Err("no pass was made".into()) };
    println!("pass {:3}: {last}", passes.len() - 1);

    learner.evaluate(&test);
    let matrix = ConfusionMatrix::new(learner.output(), data.test().labels());
    println!("\ntest digits:\n{matrix}\ntest accuracy {:.2} %", 100.0 * matrix.accuracy());
    let curves = Curves::new(&passes);
    let loss = |set: usize| Curve::by_index(["train", "test"][set], curves.loss(set), set);
    let percent = |set: usize| Curve::by_index(["train", "test"][set], curves.percent(set), set);
    let (losses, accuracies) = ([loss(0), loss(1).dashed()], [percent(0), percent(1).dashed()]);
    let title = format!("USPS, {} layers", options.layers);
    let panels = [
        Panel::new(title, Axis::whole("pass"), Axis::logarithmic("mean cross-entropy"), losses),
        Panel::new("digits told apart", Axis::whole("pass"), Axis::percent("accuracy %"), accuracies),
    ];
    lesson::plot::write(&options.plot, &panels)?;
    if options.json {
        let precision: Vec<f64> = (0..classes).map(|class| matrix.precision(class)).collect();
        let result = serde_json::json!({
            "samples": train.len(),
            "test_samples": test.len(),
            "passes": options.passes,
            "train_loss": last.train_loss(),
            "test_loss": last.test_loss(),
            "train_accuracy": last.train_accuracy(),
            "test_accuracy": matrix.accuracy(),
            "precision": precision,
        });
        println!("{result}");
    }
    Ok(())
}
