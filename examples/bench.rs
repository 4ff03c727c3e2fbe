//! Times one training step of a fixed workload and prints one line of JSON.
//!
//! `cargo run --profile lto --example bench -- --workload W3 --dtype f32 --path tape`
//!
//! `--all` runs every workload on every path, one after the other, and prints a line for each: with `--steps 2` it shows
//! that all of them work. For figures, run each in a process of its own.
//!
//! | | network | batch | loss |
//! |---|---|---|---|
//! | W1 | 784 → 3 | 18,858 | mean cross-entropy, integer labels |
//! | W2 | 784 → 100 tanh → 3 | 18,858 | mean cross-entropy |
//! | W3 | 784 → 100 tanh → 10 | 128 | mean cross-entropy |
//! | W4 | 784 → 10 tanh → 3 | 1 | cross-entropy |
//! | W5 | 50 × (16 → 16, tanh) | 1 | mean squared error |
//! | W6 | 784 → 1024 relu → 1024 relu → 10 | 512 | mean cross-entropy |
//! | W7 | 1,000,000 elements, 10 × `tanh(0.9 y + 0.1)` | | mean square, gradient of the input |
//! | W8 | 64 elements, 200 × the same | | mean square, gradient of the input |
//!
//! A step is forward, loss, backward and plain SGD on all parameters (none in W7 and W8), on fixed data. With the paths
//! `jvp` and `jvp-by-vjp` it is forward, loss, and the derivative of the loss along a direction of the input: by the sweep
//! forward, or by differentiating the vjp by its cotangent. With the paths `chunked` and `manual-chunked` the batch is cut
//! into chunks of `--chunk` rows, on either half; the last workloads have no batch. A step is repeated for warm-up, then timed at least 20 times and for
//! 3 seconds, for at most 20 seconds. Compare figures of one run, or of alternating runs: the machine drifts.

use std::error::Error;
use std::ops::Range;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use ndarray::{Array1, Array2, ArrayView2, Axis, Zip, s};
use tapegrad::chunks::{Chunks, Rows};
use tapegrad::nn::{Linear, Loss, Module, Mse, ReLU, Sequential, SoftmaxCrossEntropy, Tanh};
use tapegrad::optim::{Optimizer, Sgd};
use tapegrad::{Param, Scalar, Tape, Var, threads};

/// Time a training step of a fixed workload; the last line is one JSON object.
#[derive(Parser, Debug)]
struct Options {
    /// Which workload, see the table at the top of the source
    #[arg(long, value_enum, required_unless_present = "all")]
    workload: Option<Workload>,
    /// Every workload on every path, a line for each
    #[arg(long, conflicts_with_all = ["workload", "path"])]
    all: bool,
    /// Number type
    #[arg(long, value_enum, default_value_t = Dtype::F32)]
    dtype: Dtype,
    /// Threads: by default one for each core with the feature `rayon`, else 1
    #[arg(long, default_value_t = cores())]
    threads: usize,
    /// Rows in a chunk, on the paths `chunked` and `manual-chunked`: by default 256 in `f32`, 128 in `f64`
    #[arg(long, value_parser = at_least_one)]
    chunk: Option<usize>,
    /// Recorded on the tape, or by hand-derived passes; or a derivative along a direction, see the top of the source
    #[arg(long, value_enum, default_value_t = Path::Tape)]
    path: Path,
    /// Run exactly this many timed steps instead of at least 20 and 3 seconds
    #[arg(long)]
    steps: Option<usize>,
}

#[derive(Clone, Copy, Debug, ValueEnum, PartialEq, Eq)]
#[value(rename_all = "verbatim")]
enum Workload {
    W1,
    W2,
    W3,
    W4,
    W5,
    W6,
    W7,
    W8,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Dtype {
    F32,
    F64,
}

#[derive(Clone, Copy, Debug, ValueEnum, PartialEq, Eq)]
enum Path {
    Tape,
    Manual,
    Chunked,
    ManualChunked,
    Jvp,
    JvpByVjp,
}

impl Path {
    /// Returns whether the path exists for a workload: a chain has no rows.
    fn takes(self, workload: Workload) -> bool {
        !matches!((self, workload), (Self::Chunked | Self::ManualChunked, Workload::W7 | Workload::W8))
    }

    /// Records the derivative of a loss along a direction of the input.
    fn along<'t, T: Scalar>(self, loss: Var<'t, T>, x: Var<'t, T>, direction: Var<'t, T>) -> Var<'t, T> {
        if self == Self::Jvp {
            return loss.jvp(&[x], &[direction]);
        }
        let cotangent = loss.tape().leaf(T::ZERO);
        (loss.vjp(cotangent, &[x])[0] * direction).sum().grad_wrt(cotangent)
    }
}

const LEARNING_RATE: f64 = 0.01;
const CHAIN_SCALE: f64 = 0.9;
const CHAIN_OFFSET: f64 = 0.1;

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match options.dtype {
        Dtype::F32 => run::<f32>(&options),
        Dtype::F64 => run::<f64>(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the workload that was asked for, or all of them.
fn run<T: Scalar>(options: &Options) -> Result<(), Box<dyn Error>> {
    check_threads(options.threads)?;
    if let Some(workload) = options.workload.filter(|&workload| !options.path.takes(workload)) {
        return Err(format!("{workload:?} has no batch to be cut into chunks").into());
    }
    // The steps run on a thread of the pool, where the others are awake.
    threads::with(options.threads, || match options.workload {
        Some(workload) => time::<T>(workload, options.path, options),
        None => {
            for &workload in Workload::value_variants() {
                for &path in Path::value_variants().iter().filter(|path| path.takes(workload)) {
                    time::<T>(workload, path, options);
                }
            }
        }
    });
    Ok(())
}

/// Times the steps of one workload and prints its line.
fn time<T: Scalar>(workload: Workload, path: Path, options: &Options) {
    let mut step = step::<T>(workload, path, options.chunk.unwrap_or(1024 / size_of::<T>()));
    let mut losses = vec![step()];

    let warm_up = Instant::now();
    let enough = |count: usize, since: Instant| match options.steps {
        Some(_) => true,
        None => {
            count >= 21 && since.elapsed() >= Duration::from_millis(500) || since.elapsed() >= Duration::from_secs(5)
        }
    };
    while !enough(losses.len(), warm_up) {
        losses.push(step());
    }

    let mut times = Vec::with_capacity(1 << 20);
    let start = Instant::now();
    loop {
        let begin = Instant::now();
        let loss = step();
        times.push(begin.elapsed().as_secs_f64() * 1e6);
        losses.push(loss);
        let elapsed = start.elapsed();
        let done = match options.steps {
            Some(steps) => times.len() >= steps,
            None => elapsed >= Duration::from_secs(20) || elapsed >= Duration::from_secs(3) && times.len() >= 20,
        };
        if done {
            break;
        }
    }
    times.sort_by(f64::total_cmp);
    let quantile = |q: f64| times[((times.len() - 1) as f64 * q).round() as usize];
    let (first, last) = (losses[0].to_f64(), losses[losses.len() - 1].to_f64());
    let result = serde_json::json!({
        "peer": "tapegrad",
        "version": env!("CARGO_PKG_VERSION"),
        "workload": format!("{workload:?}"),
        "dtype": T::DTYPE,
        "threads": options.threads,
        "path": path.to_possible_value().map(|value| value.get_name().to_owned()),
        "median_us": round(quantile(0.5)),
        "min_us": round(times[0]),
        "p90_us": round(quantile(0.9)),
        "steps": times.len(),
        "peak_rss_mib": peak_rss_mib(),
        "loss_first": first,
        "loss_last": last,
    });
    println!("{result}");
}

fn round(microseconds: f64) -> f64 {
    (microseconds * 1000.0).round() / 1000.0
}

/// Returns the most memory that the process ever held, in MiB; `None` where the system does not say.
fn peak_rss_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some((kib / 1024.0 * 10.0).round() / 10.0)
}

/// Returns the default number of threads.
fn cores() -> usize {
    if cfg!(feature = "rayon") { std::thread::available_parallelism().map_or(1, usize::from) } else { 1 }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&number| number > 0).ok_or_else(|| "expected a number of at least 1".into())
}

fn check_threads(threads: usize) -> Result<(), Box<dyn Error>> {
    match threads {
        0 => Err("--threads 0: expected at least 1".into()),
        2.. if !cfg!(feature = "rayon") => {
            Err(format!("--threads {threads}: this build has 1 thread; build with --features rayon").into())
        }
        _ => Ok(()),
    }
}

/// Returns what runs one step and gives the loss before the update.
fn step<T: Scalar>(workload: Workload, path: Path, chunk: usize) -> Box<dyn FnMut() -> T> {
    let number = workload as u64 + 1;
    let (widths, relu, batch): (Vec<usize>, bool, usize) = match workload {
        Workload::W1 => (vec![784, 3], false, 18858),
        Workload::W2 => (vec![784, 100, 3], false, 18858),
        Workload::W3 => (vec![784, 100, 10], false, 128),
        Workload::W4 => (vec![784, 10, 3], false, 1),
        Workload::W5 => (vec![16; 51], false, 1),
        Workload::W6 => (vec![784, 1024, 1024, 10], true, 512),
        Workload::W7 => return chain(path, number, 1_000_000, 10),
        Workload::W8 => return chain(path, number, 64, 200),
    };
    let deep = workload == Workload::W5;
    let (inputs, classes) = (widths[0], widths[widths.len() - 1]);
    let stream = 100 * number;
    let x = array(stream, (batch, inputs), |u| u);

    let mut layers = Vec::new();
    for (k, width) in widths.windows(2).enumerate() {
        let fan_in = width[0] as f64;
        let weight =
            array(stream + 2 + 2 * k as u64, (width[0], width[1]), |u| (2.0 * u - 1.0) * (3.0 / fan_in).sqrt());
        let bias = array(stream + 3 + 2 * k as u64, (1, width[1]), |u| (2.0 * u - 1.0) / fan_in.sqrt());
        let bias: Array1<T> = bias.index_axis_move(Axis(0), 0);
        layers.push((Param::new(weight), Param::new(bias)));
    }
    // Networks that this makes share the parameters.
    let make = move || {
        layers.iter().enumerate().fold(Sequential::new(), |network, (k, (weight, bias))| {
            let network = network.push(Linear::from_params(weight.clone(), Some(bias.clone())));
            match deep || k + 1 < layers.len() {
                true if relu => network.push(ReLU::new()),
                true => network.push(Tanh::new()),
                false => network,
            }
        })
    };
    let network = make();
    let optimizer = Sgd::new(network.parameters().iter().cloned(), T::from_f64(LEARNING_RATE));
    let target = array(stream + 1, (batch, classes), |u| 2.0 * u - 1.0);
    let labels = uniform(stream + 1).take(batch).map(|u| (u * classes as f64) as usize).collect();
    let model = Model { network, optimizer, x: Arc::new(x), target, labels, deep };
    match path {
        Path::Tape => model.on_tape(),
        Path::Manual => model.by_hand(),
        Path::Chunked => model.in_chunks(chunk),
        Path::ManualChunked => model.in_chunks_by_hand(chunk, make),
        Path::Jvp | Path::JvpByVjp => model.along(path),
    }
}

/// What W1 to W6 train.
struct Model<T: Scalar> {
    network: Sequential<T>,
    optimizer: Sgd<T>,
    x: Arc<Array2<T>>,
    target: Array2<T>,
    labels: Vec<usize>,
    /// Mean squared error to the target instead of cross-entropy of the labels.
    deep: bool,
}

impl<T: Scalar> Model<T> {
    /// Records the loss of some rows.
    fn record<'t>(&self, tape: &'t Tape<T>, x: Var<'t, T>, rows: Range<usize>) -> Var<'t, T> {
        let output = self.network.record(tape, x);
        match self.deep {
            true => Mse::new().record(&self.target.slice(s![rows, ..]), output),
            false => SoftmaxCrossEntropy::new().record_labels(&self.labels[rows], output),
        }
    }

    fn rows(&self) -> usize {
        self.x.nrows()
    }

    fn along(self, path: Path) -> Box<dyn FnMut() -> T> {
        let direction = Arc::new(Array2::from_elem(self.x.dim(), T::from_f64(0.1)));
        let mut tape = Tape::new();
        Box::new(move || {
            let x = tape.leaf(&self.x);
            let slope = path.along(self.record(&tape, x, 0..self.rows()), x, tape.constant(&direction)).item();
            tape.reset();
            slope
        })
    }

    fn on_tape(mut self) -> Box<dyn FnMut() -> T> {
        let mut tape = Tape::new();
        Box::new(move || {
            let loss = self.record(&tape, tape.constant(&self.x), 0..self.rows());
            loss.backward();
            let loss = loss.item();
            self.optimizer.step();
            self.optimizer.zero_grad();
            tape.reset();
            loss
        })
    }

    fn in_chunks(mut self, size: usize) -> Box<dyn FnMut() -> T> {
        let mut chunks = Chunks::new(size);
        Box::new(move || {
            let loss = chunks.accumulate_gradients(Rows::mean(self.rows()), |tape, rows| {
                self.record(tape, tape.constant(&self.x).slice(0, rows.clone()), rows)
            });
            self.optimizer.step();
            self.optimizer.zero_grad();
            loss
        })
    }

    fn by_hand(mut self) -> Box<dyn FnMut() -> T> {
        let mut losses = Losses::default();
        Box::new(move || {
            let output = self.network.forward(&self.x);
            let (loss, delta) = losses.of(&self.target.view(), &self.labels, self.deep, output);
            self.network.backward_update_gradient(&self.x, delta);
            self.optimizer.step();
            self.optimizer.zero_grad();
            loss
        })
    }

    fn in_chunks_by_hand(
        mut self,
        size: usize,
        make: impl Fn() -> Sequential<T> + Send + Sync + 'static,
    ) -> Box<dyn FnMut() -> T> {
        let mut chunks = Chunks::by_hand(size, move || (make(), Losses::default()));
        Box::new(move || {
            let loss = chunks.accumulate_by_hand(Rows::mean(self.rows()), |(network, losses), rows| {
                let (x, target) = (self.x.slice(s![rows.clone(), ..]), self.target.slice(s![rows.clone(), ..]));
                let output = network.forward(&x);
                let (loss, delta) = losses.of(&target, &self.labels[rows], self.deep, output);
                network.backward_update_gradient(&x, delta);
                loss
            });
            self.optimizer.step();
            self.optimizer.zero_grad();
            loss
        })
    }
}

/// The losses by hand, with their memory.
#[derive(Default)]
struct Losses<T: Scalar> {
    mse: Mse<T>,
    cross_entropy: SoftmaxCrossEntropy<T>,
}

impl<T: Scalar> Losses<T> {
    /// Returns loss and delta.
    fn of(&mut self, target: &ArrayView2<'_, T>, labels: &[usize], deep: bool, output: &Array2<T>) -> (T, &Array2<T>) {
        if deep {
            let loss = self.mse.forward(target, output);
            (loss, self.mse.backward(target, output))
        } else {
            let loss = self.cross_entropy.forward_labels(labels, output);
            (loss, self.cross_entropy.backward_labels(labels, output))
        }
    }
}

/// W7 and W8: `repeats` times `y = tanh(0.9 y + 0.1)`, the mean square, and the gradient of the input.
fn chain<T: Scalar>(path: Path, number: u64, length: usize, repeats: usize) -> Box<dyn FnMut() -> T> {
    let x = Arc::new(array::<T>(100 * number, (1, length), |u| 2.0 * u - 1.0));
    let (scale, offset) = (T::from_f64(CHAIN_SCALE), T::from_f64(CHAIN_OFFSET));
    match path {
        Path::Jvp | Path::JvpByVjp => {
            let direction = Arc::new(Array2::from_elem((1, length), T::from_f64(0.1)));
            let mut tape = Tape::new();
            Box::new(move || {
                let x = tape.leaf(&x);
                let y = (0..repeats).fold(x, |y, _| (y * scale + offset).tanh());
                let slope = path.along(y.square().mean(), x, tape.constant(&direction)).item();
                tape.reset();
                slope
            })
        }
        Path::Tape => {
            let mut tape = Tape::new();
            Box::new(move || {
                let x = tape.leaf(&x);
                let y = (0..repeats).fold(x, |y, _| (y * scale + offset).tanh());
                let loss = y.square().mean();
                loss.backward();
                let loss = loss.item();
                tape.reset();
                loss
            })
        }
        // `Path::takes` leaves the paths with chunks to the others.
        Path::Manual | Path::Chunked | Path::ManualChunked => {
            let mut links: Vec<(Array2<T>, Tanh<T>)> =
                (0..repeats).map(|_| (Array2::zeros((1, length)), Tanh::new())).collect();
            let mut g = Array2::zeros((1, length));
            Box::new(move || {
                let mut y: &Array2<T> = &x;
                for (z, tanh) in &mut links {
                    Zip::from(&mut *z).and(y).for_each(|z, &y| *z = y * scale + offset);
                    y = tanh.forward(z);
                }
                let count = T::from_f64(length as f64);
                let loss = y.iter().map(|&y| y * y).sum::<T>() / count;
                Zip::from(&mut g).and(y).for_each(|g, &y| *g = (y + y) / count);
                for (z, tanh) in links.iter_mut().rev() {
                    let delta = tanh.backward_delta(z, &g);
                    Zip::from(&mut g).and(delta).for_each(|g, &delta| *g = delta * scale);
                }
                loss
            })
        }
    }
}

/// Returns an array of `f` of numbers that are uniform on `[0, 1)`.
fn array<T: Scalar>(stream: u64, shape: (usize, usize), f: impl Fn(f64) -> f64) -> Array2<T> {
    let mut numbers = uniform(stream);
    Array2::from_shape_simple_fn(shape, || T::from_f64(f(numbers.next().unwrap_or_default())))
}

/// Returns the splitmix64 sequence of a stream, as numbers in `[0, 1)`.
fn uniform(stream: u64) -> impl Iterator<Item = f64> {
    (1u64..).map(move |i| {
        let mut z = ((stream << 32) + i).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        (z >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    })
}
