//! Times one training step of a fixed workload, or operations one by one, and prints lines of JSON.
//!
//! ```sh
//! cargo run --profile lto --features rayon --example bench -- --workload W3 --dtype f32 --path tape --threads 1
//! cargo run --profile lto --features rayon --example bench -- --workload W12 --dtype f64 --path program --variant scalars
//! cargo run --profile lto --features rayon --example bench -- --ops --only softmax --size M --threads 1
//! cargo run --profile lto --features rayon --example bench -- --sweep --threads 1
//! cargo run --profile lto --features rayon --example bench -- --floors --threads 1
//! ```
//!
//! `--all` runs every workload on every path, one after the other, and prints a line for each: with `--steps 2` it shows
//! that all of them work. For figures, run each in a process of its own. `--save FILE` times nothing: it runs one step and
//! writes the loss and what the step computes, in double precision, to an `.npz` file with the arrays `loss`, `0`, `1`, ….
//!
//! | | network | batch | loss | paths |
//! |---|---|---|---|---|
//! | W1 | 784 → 3 | 18,858 | mean cross-entropy, integer labels | all |
//! | W2 | 784 → 100 tanh → 3 | 18,858 | mean cross-entropy | all |
//! | W3 | 784 → 100 tanh → 10 | 128 | mean cross-entropy | all |
//! | W4 | 784 → 10 tanh → 3 | 1 | cross-entropy | all |
//! | W5 | 50 × (16 → 16, tanh) | 1 | mean squared error | all |
//! | W6 | 784 → 1024 relu → 1024 relu → 10 | 512 | mean cross-entropy | all |
//! | W7 | 1,000,000 elements, 10 × `tanh(0.9 y + 0.1)` | | mean square, gradient of the input | all without chunks |
//! | W8 | 64 elements, 200 × the same | | mean square, gradient of the input | all without chunks |
//! | W9 | 1×28×28 → conv 5×5 16, relu, pool → conv 5×5 32, relu, pool → 10 | 64 | mean cross-entropy | tape, program |
//! | W10 | LSTM, 32 features → 64, 50 time steps → 10 | 32 | mean cross-entropy | tape, program |
//! | W11 | W3's Hessian times a direction; `--variant fwdrev`, `revrev` | 128 | mean cross-entropy | tape, program |
//! | W12 | RK4, 1,000 steps, gradient by 4 parameters; `--variant scalars` | | sum of squares | tape, program |
//!
//! Shapes and the source of all data are in the files of the workloads:
//!
//! | file | content |
//! |---|---|
//! | `networks` | W1 to W6 |
//! | `chains` | W7, W8 |
//! | `images` | W9 |
//! | `sequences` | W10 |
//! | `hessian` | W11 |
//! | `trajectory` | W12 |
//! | `ops` | single operations |
//! | `growth` | programs of 10² to 10⁶ nodes, slices and rows |
//! | `floor` | the operations and bytes of each workload, and the time that they need at least |
//! | `workload` | names, and which path and variant a workload has |
//! | `step` | the steps that several workloads share |
//! | `data` | the sequences of numbers |
//!
//! A step is forward, loss, backward and plain SGD on all parameters (none in W7, W8, W11 and W12), on fixed data. The path
//! `program` records and compiles before the first step; a step runs the program, and the update where there is one. With
//! the paths `jvp` and `jvp-by-vjp` a step is forward, loss, and the derivative of the loss along a direction of the input.
//! With the paths `chunked` and `manual-chunked` the batch is cut into chunks of `--chunk` rows, on either half. A step is
//! repeated for warm-up, then timed at least 20 times and for 3 seconds, for at most 20 seconds. Compare figures of one run,
//! or of alternating runs: the machine drifts.

mod chains;
mod data;
mod floor;
mod growth;
mod hessian;
mod images;
mod networks;
mod ops;
mod sequences;
mod step;
mod trajectory;
mod workload;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use ndarray::{ArrayD, arr0};
use tapegrad::data::save_npz;
use tapegrad::{Scalar, threads};

use ops::{Selection, Size};
use step::Step;
use workload::{Path, Variant, Workload, name};

/// Time a training step of a fixed workload; the last line is one JSON object.
#[derive(Parser, Debug)]
struct Options {
    /// Which workload, see the table at the top of the source
    #[arg(long, value_enum, required_unless_present_any = ["all", "ops", "sweep", "floors"])]
    workload: Option<Workload>,
    /// Every workload on every path, a line for each
    #[arg(long, conflicts_with_all = ["workload", "path", "variant", "save"])]
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
    /// How the step is computed
    #[arg(long, value_enum, default_value_t = Path::Tape)]
    path: Path,
    /// Another way to write W11 or W12
    #[arg(long, value_enum)]
    variant: Option<Variant>,
    /// Run exactly this many timed steps instead of at least 20 and 3 seconds
    #[arg(long)]
    steps: Option<usize>,
    /// Time nothing: run one step and write the loss and what the step computes to this `.npz` file
    #[arg(long, value_name = "FILE", conflicts_with = "steps")]
    save: Option<PathBuf>,
    /// Operations one by one instead of a workload, a line for each
    #[arg(long, conflicts_with_all = ["workload", "all", "path", "variant", "steps", "save", "chunk"])]
    ops: bool,
    /// Operations whose names contain this
    #[arg(long, value_name = "NAME", requires = "ops")]
    only: Option<String>,
    /// Operations of this size alone
    #[arg(long, value_enum, requires = "ops")]
    size: Option<Size>,
    /// Programs of 10² to 10⁶ nodes, slices and rows instead of a workload: nanoseconds for each, a line for each length
    #[arg(long, conflicts_with_all = ["workload", "all", "path", "variant", "steps", "save", "chunk", "ops"])]
    sweep: bool,
    /// The longest program of a sweep
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = at_least_one, requires = "sweep")]
    most: usize,
    /// The time that each workload needs at least on this machine: the machine's line, and one for each workload
    #[arg(long, conflicts_with_all = ["workload", "all", "path", "variant", "steps", "save", "chunk", "ops", "sweep"])]
    floors: bool,
    /// The largest array by which a bandwidth is measured, in MiB: several times the last cache
    #[arg(long, value_name = "MIB", default_value_t = 512, value_parser = at_least_one, requires = "floors")]
    memory: usize,
    /// Time for each operation, and for each measurement of the machine; with 0 each runs once
    #[arg(long, default_value_t = 0.15, value_parser = seconds, conflicts_with_all = ["workload", "all", "sweep"])]
    seconds: f64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Dtype {
    F32,
    F64,
}

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

/// Runs the workload that was asked for, or all of them, or operations.
fn run<T: Scalar>(options: &Options) -> Result<(), Box<dyn Error>> {
    check_threads(options.threads)?;
    if let Some(workload) = options.workload {
        workload.check(options.path, options.variant)?;
    }
    // The steps run on a thread of the pool, where the others are awake.
    let result = threads::with(options.threads, || match options.workload {
        Some(workload) => match &options.save {
            Some(file) => save::<T>(workload, options, file).map_err(|error| error.to_string()),
            None => {
                time::<T>(workload, options.path, options.variant, options);
                Ok(())
            }
        },
        None if options.ops => ops::run::<T>(&Selection {
            only: options.only.as_deref(),
            size: options.size,
            time: Duration::from_secs_f64(options.seconds),
            threads: options.threads,
        }),
        None if options.sweep => {
            growth::run::<T>(options.most);
            Ok(())
        }
        None if options.floors => {
            floor::run::<T>(options.threads, Duration::from_secs_f64(options.seconds), options.memory << 20);
            Ok(())
        }
        None => {
            for &workload in Workload::value_variants() {
                for path in workload.paths() {
                    time::<T>(workload, path, None, options);
                    for &variant in workload.variants() {
                        time::<T>(workload, path, Some(variant), options);
                    }
                }
            }
            Ok(())
        }
    });
    Ok(result?)
}

/// Returns what runs one step and gives the loss before the update.
fn step<T: Scalar>(workload: Workload, path: Path, variant: Option<Variant>, options: &Options) -> Step<T> {
    match workload {
        Workload::W7 | Workload::W8 => chains::step(workload, path),
        Workload::W9 => images::step(path),
        Workload::W10 => sequences::step(path),
        Workload::W11 => hessian::step(path, variant),
        Workload::W12 => trajectory::step(path, variant),
        _ => networks::step(workload, path, options.chunk.unwrap_or(1024 / size_of::<T>())),
    }
}

/// Runs one step and writes what it computes to a file.
fn save<T: Scalar>(workload: Workload, options: &Options, file: &std::path::Path) -> tapegrad::Result<()> {
    let mut computed = Vec::new();
    let loss = step::<T>(workload, options.path, options.variant, options)(Some(&mut computed));
    computed.insert(0, arr0(loss).into_dyn());
    let arrays: Vec<ArrayD<f64>> = computed.iter().map(|array| array.mapv(|x| x.to_f64())).collect();
    let names = std::iter::once("loss".to_owned()).chain((0..).map(|k: usize| k.to_string()));
    let names: Vec<String> = names.take(arrays.len()).collect();
    let named: Vec<_> = names.iter().map(String::as_str).zip(arrays.iter().map(|array| array.view())).collect();
    save_npz(file, &named)
}

/// Times the steps of one workload and prints its line.
fn time<T: Scalar>(workload: Workload, path: Path, variant: Option<Variant>, options: &Options) {
    let mut step = step::<T>(workload, path, variant, options);
    let mut losses = vec![step(None)];

    let warm_up = Instant::now();
    let enough = |count: usize, since: Instant| match options.steps {
        Some(_) => true,
        None => {
            count >= 21 && since.elapsed() >= Duration::from_millis(500) || since.elapsed() >= Duration::from_secs(5)
        }
    };
    while !enough(losses.len(), warm_up) {
        losses.push(step(None));
    }

    let mut times = Vec::with_capacity(1 << 20);
    let start = Instant::now();
    loop {
        let begin = Instant::now();
        let loss = step(None);
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
    let mut result = serde_json::json!({
        "peer": "tapegrad",
        "version": env!("CARGO_PKG_VERSION"),
        "workload": format!("{workload:?}"),
        "dtype": T::DTYPE,
        "threads": options.threads,
        "path": name(path),
        "median_us": round(quantile(0.5)),
        "min_us": round(times[0]),
        "p90_us": round(quantile(0.9)),
        "steps": times.len(),
        "peak_rss_mib": peak_rss_mib(),
        "loss_first": first,
        "loss_last": last,
    });
    if let Some(variant) = variant {
        result["variant"] = name(variant).into();
    }
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

fn seconds(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|seconds| (0.0..=1e6).contains(seconds))
        .ok_or_else(|| "expected seconds, at most 1e6".into())
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
