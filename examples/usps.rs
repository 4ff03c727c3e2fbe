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
use lesson::watch::{Outputs, Watch, class_names};
use lesson::{Activation, Half, momentum, positive, positive_number};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tapegrad::data::{ConfusionMatrix, load_usps};
use tapegrad::files::{Saved, ToSave, save};
use tapegrad::nn::{Module, Sequential, SoftmaxCrossEntropy};
use tapegrad::optim::{Optimizer, Sgd};
use tapegrad::report::Report;
use tapegrad::train::{ByHand, ByTape, Descent, Examples, Learner, Pass, Progress, Record, mini_batch_descent};

/// Train a multi-layer perceptron on the USPS digits.
///
/// The digits do not come with this repository, since nobody states a licence for them. Put train.npz and test.npz, each
/// with arrays x (digits, 256) and y (digits,), into a directory; or train.txt and test.txt in the course's text form: a
/// first line `classes pixels`, then a line `label v1 v2 …` for each digit, and a last line `-1`.
///
/// Exit codes: 0 done, 1 the data cannot be used, the loss is no longer finite or a file cannot be written, 2 the arguments
/// are wrong.
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
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..1 << 53))]
    seed: u64,
    /// Write the state of the run to this file (.npz or .safetensors) before every pass that --every says
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Number of passes from one checkpoint to the next
    #[arg(long, default_value_t = 10, value_parser = positive)]
    every: usize,
    /// Go on where the run was that wrote this checkpoint: with the same options it ends with the same bits
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
    /// Write the trained parameters to a file (.npz or .safetensors)
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Where to draw losses and accuracies
    #[arg(long, value_name = "FILE.svg", value_parser = lesson::svg, default_value = "usps.svg")]
    plot: PathBuf,
    #[command(flatten)]
    watch: Outputs,
    /// End with one JSON object on the last line of standard output
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    lesson::exit(run(&lesson::parse()))
}

fn run(options: &Options) -> lesson::Outcome {
    let outputs = [Some(&options.plot), options.checkpoint.as_ref(), options.save.as_ref()];
    outputs.into_iter().try_for_each(lesson::check_output)?;
    options.watch.check()?;
    let data = load_usps::<f32>(&options.data)?;
    let (train, test) = (Examples::from(data.train()), Examples::from(data.test()));
    let (width, classes) = (data.train().images().ncols(), data.train().classes());
    println!("{} training and {} test digits of {classes} classes", train.len(), test.len());
    let mut rng = StdRng::seed_from_u64(options.seed);
    let network = Sequential::mlp(options.layers, width, options.hidden, classes, options.activation.into(), &mut rng)?;
    println!("{}\n", network.summary(width));

    let mut sgd = Sgd::new(network.parameters(), options.epsilon as f32).with_momentum(options.momentum as f32);
    let named = network.named_parameters();
    let loss = SoftmaxCrossEntropy::new();
    let mut learner: Box<dyn Learner<f32>> = match options.path {
        Half::Manual => Box::new(ByHand::new(network, loss)),
        Half::Tape => Box::new(ByTape::new(move |tape, x| network.record(tape, x), loss)),
    };
    let (mut done, mut curves) = (0, Curves::default());
    if let Some(path) = &options.resume {
        let saved = Saved::read(path)?;
        for (name, here) in [("seed", options.seed), ("batch", options.batch as u64), ("passes", options.passes as u64)]
        {
            let there = saved.count(name)?;
            if here != there {
                return Err(format!("{}: expected a run with --{name} {here}, found {there}", path.display()).into());
            }
        }
        done = saved.count("pass")? as usize;
        curves = Curves::load(&saved, done)?;
        saved.restore(&named, &mut sgd)?;
        println!("the run goes on at pass {done}");
    }
    let page = Report::new(format!("USPS, {} layers", options.layers))
        .with_fact("digits", format!("{} for training, {} for the test", train.len(), test.len()))
        .with_fact("gradients", "in the first step of a pass")
        .with_fact("batch", options.batch)
        .with_fact("momentum", options.momentum);
    let mut watch = Watch::new(&options.watch, page, Progress::Silent, options.passes, done)?;
    watch.first_layer(&named[0].0, &named[0].1);
    let mut watched = Ok(());
    // Two descents, the second with smaller steps, each in parts that end with a checkpoint.
    let rough = options.passes - options.passes / 3;
    let last = loop {
        if let Some(path) = &options.checkpoint {
            let file = ToSave::new().parameters(&named).optimizer(&sgd, &named).count("pass", done as u64);
            let file = file.count("seed", options.seed).count("batch", options.batch as u64);
            curves.save(file.count("passes", options.passes as u64)).write(path)?;
        }
        let (start, end, factor) = if done < rough { (0, rough, 1.0) } else { (rough, options.passes, 0.1) };
        sgd.set_learning_rate((options.epsilon * factor) as f32);
        let next = if options.checkpoint.is_some() { end.min((done / options.every + 1) * options.every) } else { end };
        let report = |pass: &Pass| {
            if (start + pass.index()).is_multiple_of(5) {
                println!("pass {:3}: {pass}", start + pass.index());
            }
            ControlFlow::Continue(())
        };
        let descent =
            Descent::new(next - start).starting_at(done - start).seed(options.seed.wrapping_add(start as u64));
        let so_far = watch.time();
        // The result of a part is the first pass of the next one.
        let record = |record: Record| {
            let pass = start + record.pass();
            if watched.is_ok() && (pass < next || next == options.passes) {
                let time = so_far + record.time();
                watched = watch.show(record.at_pass(pass).with_time(time));
            }
        };
        let descent = descent.progress(Progress::Bar).on_pass(report).on_record(&named, record);
        let history = mini_batch_descent(learner.as_mut(), &mut sgd, &train, Some(&test), options.batch, descent)?;
        history.passes().iter().for_each(|pass| curves.append(pass));
        std::mem::replace(&mut watched, Ok(()))?;
        done = next;
        if done == options.passes {
            break *history.result();
        }
    };
    curves.append(&last);
    println!("pass {done:3}: {last}");
    if let Some(path) = &options.save {
        save(path, &named)?;
    }

    learner.evaluate(&test);
    let matrix = ConfusionMatrix::new(learner.output(), data.test().labels());
    println!("\ntest digits:\n{matrix}\ntest accuracy {:.2} %", 100.0 * matrix.accuracy());
    watch.finish(Some((&matrix, &class_names(classes)[..])))?;
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
