//! What the digits look like, and which of them a network takes for others: a contact sheet, and one digit on the
//! terminal.
//!
//! `cargo run --release --example show_digits -- --help`

mod lesson;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use lesson::{Outcome, exit, positive};
use ndarray::ArrayView1;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tapegrad::data::{Samples, accuracy, predictions};
use tapegrad::nn::{Activation, Module, Sequential, SoftmaxCrossEntropy};
use tapegrad::optim::Sgd;
use tapegrad::train::{ByHand, Descent, Examples, Progress, mini_batch_descent};

/// Train a small network, then draw test digits, each with what it is and, if that differs, with what the network takes it
/// for; and print one of them.
///
/// Classes of the course's digits are called by the digits 1, 7 and 8; others by their numbers.
#[derive(Parser, Debug)]
struct Options {
    /// Directory with x.npy, y.npy (training) and xt.npy, yt.npy (test) [default: the digits of this repository]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// How many test digits to draw, all wrong ones first
    #[arg(long, default_value_t = 60, value_parser = positive)]
    count: usize,
    /// Passes of the training
    #[arg(long, default_value_t = 3, value_parser = positive)]
    passes: usize,
    /// Which test digit to print on the terminal [default: the first wrong one]
    #[arg(long)]
    digit: Option<usize>,
    /// Seed of initial parameters and batches
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to draw the contact sheet
    #[arg(long, value_name = "FILE.svg", value_parser = lesson::svg, default_value = "show_digits.svg")]
    plot: PathBuf,
}

fn main() -> ExitCode {
    exit(run(&lesson::parse()))
}

fn run(options: &Options) -> Outcome {
    lesson::check_output(Some(&options.plot))?;
    let data = lesson::load_digits(options.data.as_ref())?.scaled(1.0 / 255.0);
    let (train, test) = (data.train(), data.test());
    if let Some(digit) = options.digit.filter(|&digit| digit >= test.len()) {
        return Err(format!("--digit: expected a number below {}, found {digit}", test.len()).into());
    }
    let (width, classes) = (test.images().ncols(), train.classes());
    let Some(side) = (1..=width).find(|side| side * side == width) else {
        return Err(format!("expected square images, found {width} pixels").into());
    };

    let mut rng = StdRng::seed_from_u64(options.seed);
    let network = Sequential::mlp(3, width, 30, classes, Activation::Tanh, &mut rng)?;
    let mut sgd = Sgd::new(network.parameters(), 0.1);
    let mut learner = ByHand::new(network, SoftmaxCrossEntropy::new());
    let descent = Descent::new(options.passes).seed(options.seed).progress(Progress::Bar);
    mini_batch_descent(&mut learner, &mut sgd, &Examples::from(train), None, 32, descent)?;
    let scores = learner.network_mut().forward(test.images());
    println!("test accuracy {:.2} %", 100.0 * accuracy(scores, test.labels()));

    let predicted = predictions(scores);
    let wrong = |&row: &usize| predicted[row] != Some(test.labels()[row]);
    let rows: Vec<usize> = (0..test.len()).filter(wrong).chain((0..test.len()).filter(|row| !wrong(row))).collect();
    let shown = options.digit.unwrap_or(rows[0]);
    println!("\ntest digit {shown} {}", caption(test, shown, predicted[shown]));
    print_digit(test.images().row(shown), side);
    draw(&options.plot, test, &rows[..options.count.min(rows.len())], &predicted, side)
}

/// Returns the digit of a class.
fn name(class: usize, classes: usize) -> String {
    match (class, classes) {
        (0..3, 3) => ["1", "7", "8"][class].into(),
        _ => class.to_string(),
    }
}

/// Returns what a digit is and, if the network is wrong, what it takes the digit for.
fn caption(test: &Samples<f64>, row: usize, prediction: Option<usize>) -> String {
    let truth = name(test.labels()[row], test.classes());
    match prediction {
        Some(class) if class == test.labels()[row] => format!("is {truth}"),
        Some(class) => format!("is {truth}, taken for {}", name(class, test.classes())),
        None => format!("is {truth}, taken for none"),
    }
}

/// Prints an image in two rows of pixels a line of text.
fn print_digit(pixels: ArrayView1<'_, f64>, side: usize) {
    for row in (0..side).step_by(2) {
        let below = |column: usize| if row + 1 < side { pixels[(row + 1) * side + column] } else { 0.0 };
        let line: String = (0..side)
            .map(|column| match (pixels[row * side + column] > 0.4, below(column) > 0.4) {
                (false, false) => ' ',
                (true, false) => '▀',
                (false, true) => '▄',
                (true, true) => '█',
            })
            .collect();
        println!("    {}", line.trim_end());
    }
}

/// Draws digits in rows of ten.
fn draw(path: &Path, test: &Samples<f64>, rows: &[usize], predicted: &[Option<usize>], side: usize) -> Outcome {
    const PIXEL: i32 = 3;
    let (image, columns) = (side as i32 * PIXEL, 10);
    // A caption is wider than a small digit.
    let (cell_width, cell_height) = ((image + 16).max(128), image + 34);
    let lines = (rows.len() as i32 + columns - 1) / columns;
    let size = ((columns * cell_width + 16) as u32, (lines * cell_height + 16) as u32);
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        area.fill(&WHITE)?;
        for (k, &row) in rows.iter().enumerate() {
            let (x0, y0) = (
                8 + k as i32 % columns * cell_width + (cell_width - image) / 2,
                8 + k as i32 / columns * cell_height + 4,
            );
            let right = predicted[row] == Some(test.labels()[row]);
            let color = if right { RGBColor(70, 70, 70) } else { RGBColor(200, 40, 0) };
            area.draw(&Rectangle::new(
                [(x0 - 2, y0 - 2), (x0 + image + 2, y0 + image + 2)],
                color.stroke_width(if right { 1 } else { 3 }),
            ))?;
            let pixels = test.images().row(row);
            for line in 0..side {
                // A run of equal pixels is one rectangle. White pixels need no rectangle.
                let shade = |column: usize| (pixels[line * side + column].clamp(0.0, 1.0) * 7.0).round() as u8;
                let mut start = 0;
                for column in 1..=side {
                    if column < side && shade(column) == shade(start) {
                        continue;
                    }
                    if shade(start) > 0 {
                        let gray = 255 - (f64::from(shade(start)) / 7.0 * 255.0) as u8;
                        let (left, right) = (x0 + start as i32 * PIXEL, x0 + column as i32 * PIXEL);
                        let (top, bottom) = (y0 + line as i32 * PIXEL, y0 + (line as i32 + 1) * PIXEL);
                        area.draw(&Rectangle::new(
                            [(left, top), (right, bottom)],
                            RGBColor(gray, gray, gray).filled(),
                        ))?;
                    }
                    start = column;
                }
            }
            let style = ("sans-serif", 15).into_font().color(&color).pos(Pos::new(HPos::Center, VPos::Top));
            area.draw(&Text::new(caption(test, row, predicted[row]), (x0 + image / 2, y0 + image + 6), style))?;
        }
        area.present()?;
    }
    // Pixels side by side, without a seam where a viewer smooths their edges.
    let svg = svg.replacen("<svg ", "<svg shape-rendering=\"crispEdges\" ", 1);
    std::fs::write(path, svg).map_err(|error| format!("{}: cannot be written: {error}", path.display()))?;
    println!("\n{} digits are in {}, wrong ones first and framed in red", rows.len(), path.display());
    Ok(())
}
