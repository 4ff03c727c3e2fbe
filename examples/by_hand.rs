//! A network of one hidden layer, wired module by module: forward and backward spelled out. Then the same by
//! `Sequential`, which automates both. The numbers are identical.
//!
//! `cargo run --release --example by_hand -- --help`

mod lesson;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use lesson::plot::{Axis, Curve, Panel};
use lesson::{Outcome, Pixels, exit, positive, positive_number};
use ndarray::Array2;
use tapegrad::Param;
use tapegrad::data::accuracy;
use tapegrad::nn::{Linear, Loss, Module, Sequential, SoftmaxCrossEntropy, Tanh};
use tapegrad::train::{Bar, Progress, Record};

/// Train a one-hidden-layer network on digits, once module by module and once by Sequential.
///
/// Exit codes: 0 both give the same bits, 1 they do not or the data cannot be used, 2 the arguments are wrong.
#[derive(Parser, Debug)]
struct Options {
    /// Directory with x.npy, y.npy (training) and xt.npy, yt.npy (test) [default: the digits of this repository]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Width of the hidden layer
    #[arg(long, default_value_t = 20, value_parser = positive)]
    hidden: usize,
    /// Passes over the training digits
    #[arg(long, default_value_t = 50, value_parser = positive)]
    passes: usize,
    /// Size of a step along the gradient of the mean cross-entropy
    #[arg(long, default_value_t = 0.5, value_parser = positive_number, allow_negative_numbers = true)]
    epsilon: f64,
    /// Seed of the initial parameters
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to draw losses and accuracies
    #[arg(long, value_name = "FILE.svg", value_parser = lesson::svg, default_value = "by_hand.svg")]
    plot: PathBuf,
}

fn main() -> ExitCode {
    exit(run(&lesson::parse()))
}

fn run(options: &Options) -> Outcome {
    lesson::check_output(Some(&options.plot))?;
    let data = lesson::load_digits(options.data.as_ref())?;
    let [train, test] = lesson::examples(&data, Pixels::Scaled)?;
    let (x, y) = (train.inputs(), train.targets());
    let widths = [x.ncols(), options.hidden, data.train().classes()];

    // Module by module.
    let parameters = lesson::normal_parameters(&widths, options.seed);
    let mut linear1 = linear(&parameters[..2]);
    let mut tanh = Tanh::new();
    let mut linear2 = linear(&parameters[2..]);
    let mut loss = SoftmaxCrossEntropy::new();
    let (mut by_module, mut percent) = (Vec::new(), Vec::new());
    let bar = Bar::new(Progress::Bar, 2 * options.passes);
    for pass in 0..options.passes {
        // Forward: each module takes what the one before gave.
        let z1 = linear1.forward(x);
        let a1 = tanh.forward(z1);
        let z2 = linear2.forward(a1);
        by_module.push(loss.forward(y, z2));
        let share = accuracy(z2, data.train().labels());
        percent.push(100.0 * share);
        bar.show(&Record::new(pass, by_module[pass]).with_train_accuracy(share));

        // Backward: each module turns the delta of its output into the delta of its input, and adds to its gradient.
        let delta2 = loss.backward(y, z2);
        linear2.backward_update_gradient(a1, delta2);
        let delta1 = linear2.backward_delta(a1, delta2);
        let delta0 = tanh.backward_delta(z1, delta1);
        linear1.backward_update_gradient(x, delta0);

        linear1.update_parameters(options.epsilon);
        linear2.update_parameters(options.epsilon);
        linear1.zero_grad();
        linear2.zero_grad();
    }

    // The same by Sequential.
    let parameters = lesson::normal_parameters(&widths, options.seed);
    let mut net = Sequential::new().push(linear(&parameters[..2])).push(Tanh::new()).push(linear(&parameters[2..]));
    let (mut by_sequential, mut percent_by_sequential) = (Vec::new(), Vec::new());
    for pass in 0..options.passes {
        let yhat = net.forward(x);
        by_sequential.push(loss.forward(y, yhat));
        let share = accuracy(yhat, data.train().labels());
        percent_by_sequential.push(100.0 * share);
        bar.show(&Record::new(options.passes + pass, by_sequential[pass]).with_train_accuracy(share));
        let delta = loss.backward(y, yhat);
        net.backward_update_gradient(x, delta);
        net.update_parameters(options.epsilon);
        net.zero_grad();
    }

    drop(bar);
    println!("\npass   loss module by module   loss by Sequential");
    let shown =
        (0..options.passes).filter(|pass| pass % (options.passes / 10).max(1) == 0 || pass + 1 == options.passes);
    shown.for_each(|pass| println!("{pass:4}   {:<21.15}   {:<21.15}", by_module[pass], by_sequential[pass]));

    let hidden = tanh.forward(linear1.forward(test.inputs())).clone();
    let scores: Array2<f64> = linear2.forward(&hidden).clone();
    let same = by_module == by_sequential && scores == net.forward(test.inputs());
    println!(
        "\ntest accuracy {:.2} %; {}",
        100.0 * accuracy(&scores, data.test().labels()),
        match same {
            true => "all losses and the outputs of both are the same bits",
            false => "THE TWO DIFFER",
        }
    );
    let pair = |modules, sequential| {
        [Curve::by_index("module by module", modules, 0), Curve::by_index("Sequential", sequential, 1).dashed()]
    };
    let title = format!("{} hidden units, epsilon {}", options.hidden, options.epsilon);
    let (losses, accuracies) = (pair(by_module, by_sequential), pair(percent, percent_by_sequential));
    let panels = [
        Panel::new(title, Axis::whole("pass"), Axis::readable("mean cross-entropy, train"), losses),
        Panel::new("digits told apart", Axis::whole("pass"), Axis::percent("accuracy %, train"), accuracies),
    ];
    lesson::plot::write(&options.plot, &panels)?;
    if same { Ok(()) } else { Err("module by module and by Sequential, the numbers differ".into()) }
}

fn linear(parameters: &[Param<f64>]) -> Linear<f64> {
    Linear::from_params(parameters[0].clone(), Some(parameters[1].clone()))
}
