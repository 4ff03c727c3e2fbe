//! An LSTM that learns a poem by heart, by hand or by the tape: from each letter it tells the next.
//!
//! `cargo run --release --example char_lstm -- --help`

mod lesson;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use lesson::plot::{Axis, Curve, Panel};
use lesson::watch::{Outputs, Watch};
use lesson::{Half, Outcome, exit, positive, positive_number};
use ndarray::{Array2, ArrayView2};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tapegrad::Tape;
use tapegrad::nn::{Embedding, Linear, LstmCell, Module, Recurrent, Sequential, SoftmaxCrossEntropy};
use tapegrad::optim::{Adam, Optimizer};
use tapegrad::report::Report;
use tapegrad::train::{Progress, Record, gradient_norms};

/// Teach an LSTM a text, letter by letter, and let it write: in float32, with Adam.
///
/// Exit codes: 0 done, 1 the text cannot be used, 2 the arguments are wrong.
#[derive(Parser, Debug)]
struct Options {
    /// A text to learn instead of the poem
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// Steps of training
    #[arg(long, default_value_t = 400, value_parser = positive)]
    steps: usize,
    /// Letters in a sequence
    #[arg(long, default_value_t = 32, value_parser = positive)]
    length: usize,
    /// Sequences in a mini-batch
    #[arg(long, default_value_t = 16, value_parser = positive)]
    batch: usize,
    /// Width of the LSTM
    #[arg(long, default_value_t = 64, value_parser = positive)]
    hidden: usize,
    /// Size of a step of Adam
    #[arg(long, default_value_t = 1e-2, value_parser = positive_number, allow_negative_numbers = true)]
    epsilon: f64,
    /// Which half of the library computes the gradients
    #[arg(long, value_enum, default_value_t = Half::Tape)]
    path: Half,
    /// Seed of the parameters and the sequences
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to draw the loss
    #[arg(long, value_name = "FILE.svg", value_parser = lesson::svg, default_value = "char_lstm.svg")]
    plot: PathBuf,
    #[command(flatten)]
    watch: Outputs,
}

/// Jane Taylor, The Star (1806).
const POEM: &str = "\
Twinkle, twinkle, little star,
How I wonder what you are!
Up above the world so high,
Like a diamond in the sky.
When the blazing sun is gone,
When he nothing shines upon,
Then you show your little light,
Twinkle, twinkle, all the night.
";

/// The width of a letter's vector.
const LETTER: usize = 16;

fn main() -> ExitCode {
    exit(run(&lesson::parse()))
}

/// A network in two parts: the states after each letter of a sequence, and the scores of the next letter for one state.
struct Reader {
    states: Sequential<f32>,
    scores: Linear<f32>,
    hidden: usize,
}

impl Reader {
    /// Returns a row of states for each letter of each sequence: the same numbers, in rows of one state.
    fn rows<'a>(&self, states: &'a Array2<f32>) -> Outcome<ArrayView2<'a, f32>> {
        Ok(states.view().into_shape_with_order((states.len() / self.hidden, self.hidden))?)
    }

    /// Adds the gradients by hand, and returns the loss.
    fn by_hand(&mut self, x: &Array2<f32>, next: &[usize], loss: &mut SoftmaxCrossEntropy<f32>) -> Outcome<f32> {
        let states = self.states.forward(x).clone();
        let rows = self.rows(&states)?;
        let scores = self.scores.forward(&rows);
        let value = loss.forward_labels(next, scores);
        let delta = loss.backward_labels(next, scores);
        let delta = self.scores.backward(&rows, delta).clone();
        self.states.backward_update_gradient(x, &delta.into_shape_with_order(states.dim())?);
        Ok(value)
    }

    /// Adds the gradients by the tape, and returns the loss.
    fn by_tape(&self, x: &Array2<f32>, next: &[usize], loss: &SoftmaxCrossEntropy<f32>, tape: &mut Tape<f32>) -> f32 {
        tape.reset();
        let states = self.states.record(tape, tape.constant(x));
        let scores = self.scores.record(tape, states.reshape(((), self.hidden)));
        let loss = loss.record_labels(next, scores);
        loss.backward();
        loss.item()
    }

    /// Returns the text that goes on from its beginning, always with the likeliest letter.
    fn write(&mut self, start: &[usize], length: usize) -> Outcome<Vec<usize>> {
        let mut text = start.to_vec();
        while text.len() < length {
            let x = Array2::from_shape_fn((1, text.len()), |(_, i)| text[i] as f32);
            let states = self.states.forward(&x).clone();
            let rows = self.rows(&states)?;
            let scores = self.scores.forward(&rows);
            let last = scores.row(scores.nrows() - 1);
            let best = (0..last.len()).max_by(|&i, &j| last[i].total_cmp(&last[j]));
            text.push(best.unwrap_or_default());
        }
        Ok(text)
    }
}

fn run(options: &Options) -> Outcome {
    lesson::check_output(Some(&options.plot))?;
    options.watch.check()?;
    let text = match &options.text {
        Some(path) => std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?,
        None => POEM.to_string(),
    };
    let mut letters: Vec<char> = text.chars().collect();
    letters.sort_unstable();
    letters.dedup();
    let text: Vec<usize> = text.chars().filter_map(|letter| letters.binary_search(&letter).ok()).collect();
    if text.len() <= options.length {
        let found = text.len();
        return Err(format!("expected a text of more than {} letters, found {found}", options.length).into());
    }
    println!("a text of {} letters, {} different ones", text.len(), letters.len());

    let rng = &mut StdRng::seed_from_u64(options.seed);
    let cell = LstmCell::new(LETTER, options.hidden, rng);
    let states = Sequential::new().push(Embedding::new(letters.len(), LETTER, rng)).push(Recurrent::new(cell));
    let scores = Linear::new(options.hidden, letters.len(), rng);
    println!("{}\n{}", states.summary(options.length), scores.name());
    let mut reader = Reader { states, scores, hidden: options.hidden };
    let parameters = [reader.states.parameters(), reader.scores.parameters()].concat();
    let mut adam = Adam::new(&parameters, options.epsilon as f32);
    let (mut loss, mut tape, mut losses) = (SoftmaxCrossEntropy::new(), Tape::new(), Vec::new());
    let page = Report::new("An LSTM learns a text")
        .with_fact("text", format!("{} letters, {} different ones", text.len(), letters.len()))
        .with_fact("a pass", "one step");
    let mut watch = Watch::new(&options.watch, page, Progress::Bar, options.steps, 0)?;
    let named = [("states", reader.states.named_parameters()), ("scores", reader.scores.named_parameters())];
    let named = named.into_iter().flat_map(|(part, named)| {
        named.into_iter().map(move |(name, parameter)| (format!("{part}.{name}"), parameter))
    });
    let named: Vec<_> = named.collect();
    for step in 1..=options.steps {
        // The state before a sequence is 0. The beginning of the text is always among the sequences.
        let starts: Vec<usize> = (0..options.batch)
            .map(|row| if row == 0 { 0 } else { rng.random_range(0..text.len() - options.length) })
            .collect();
        let x = Array2::from_shape_fn((options.batch, options.length), |(row, i)| text[starts[row] + i] as f32);
        let next: Vec<usize> =
            starts.iter().flat_map(|&start| text[start + 1..=start + options.length].iter().copied()).collect();
        let value = match options.path {
            Half::Manual => reader.by_hand(&x, &next, &mut loss)?,
            Half::Tape => reader.by_tape(&x, &next, &loss, &mut tape),
        };
        let record = Record::new(step, f64::from(value)).with_learning_rate(options.epsilon);
        watch.show(record.with_gradient_norms(gradient_norms(&named)).with_time(watch.time()))?;
        adam.step();
        adam.zero_grad();
        losses.push(f64::from(value));
        if step.is_multiple_of(100) || step == options.steps {
            watch.above(|| println!("step {step}: loss {value:.4}, {:.1} s", watch.time().as_secs_f64()));
        }
    }
    watch.finish(None)?;
    let written = reader.write(&text[..1], text.len().min(4 * options.length))?;
    let right = written.iter().zip(&text).filter(|(a, b)| a == b).count();
    println!("from its first letter it writes, {right} of {} letters right:", written.len());
    println!("{}", written.iter().map(|&letter| letters[letter]).collect::<String>());
    let curves = [Curve::by_index("", losses, 0)];
    let panel = Panel::new("the next letter", Axis::whole("step"), Axis::readable("mean loss"), curves);
    lesson::plot::write(&options.plot, &[panel])
}
