//! The course's digits on several processes: every rank reads its own rows, all take the same steps, and the parameters
//! have the same bits for any number of ranks and threads.
//!
//! ```sh
//! cargo build --release --features mpi,rayon --example digits_mpi
//! mpirun -n 2 target/release/examples/digits_mpi --help
//! ```
//!
//! `--bench` times the steps of a workload, or single messages. One JSON line tells of rank 0:
//!
//! | field | contents |
//! |---|---|
//! | `step_us` | a whole step: minimum, lower quartile, median |
//! | `compute_us` | the part of it within this rank's chunks, with one thread |
//! | `bytes` | the size of the gradient |
//! | `rows`, `peak_rss_mib` | what this rank holds |

mod bench;
mod checkpoint;
#[path = "../lesson/mod.rs"]
mod lesson;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use checkpoint::Descent;
use clap::Parser;
use lesson::{momentum, normal_parameters, parse, positive, positive_number};
use ndarray::s;
use tapegrad::chunks::{Chunks, Rows};
use tapegrad::data::{Samples, open_data};
use tapegrad::nn::{Linear, Module, Sequential, SoftmaxCrossEntropy, Tanh};
use tapegrad::parallel::{Mpi, Replica};
use tapegrad::{Param, threads};

/// Tell digits apart by two layers, on several processes, in float64.
///
/// Every pass is a step of descent with momentum along the gradient of the mean cross-entropy of all training digits.
/// Start it with `mpirun -n 4` for four ranks, or without mpirun for one. With --checkpoint it goes on where the file
/// ends, on any number of ranks.
#[derive(Parser, Debug)]
struct Arguments {
    /// Directory with x.npy, y.npy (training) and xt.npy, yt.npy (test) [default: the digits of this repository]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Passes over the training digits, those of the checkpoint included
    #[arg(long, default_value_t = 20, value_parser = positive)]
    passes: usize,
    /// Width of the hidden layer
    #[arg(long, default_value_t = 100, value_parser = positive)]
    hidden: usize,
    /// Size of a step
    #[arg(long, default_value_t = 0.1, value_parser = positive_number)]
    epsilon: f64,
    /// Momentum, as PyTorch defines it
    #[arg(long, default_value_t = 0.9, value_parser = momentum)]
    momentum: f64,
    /// Seed of the initial parameters, 1e-3 · N(0, 1)
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Rows in a chunk: a rank has at least one chunk
    #[arg(long, value_parser = positive)]
    chunk: Option<usize>,
    /// Threads of each rank, with the feature rayon
    #[arg(long, default_value_t = 1, value_parser = positive)]
    threads: usize,
    /// Go on from this file if it is there, and write it after every pass
    #[arg(long, value_name = "FILE.npz")]
    checkpoint: Option<PathBuf>,
    /// Seconds that a rank waits for another one
    #[arg(long, default_value_t = 60, value_parser = positive)]
    timeout: usize,
    /// Time steps instead, on made-up numbers in float32
    #[arg(long, value_enum)]
    bench: Option<bench::Workload>,
    /// Time them for so many seconds
    #[arg(long, default_value_t = 5, value_parser = positive, requires = "bench")]
    seconds: usize,
}

fn main() -> ExitCode {
    let arguments: Arguments = parse();
    Mpi::run(|mpi| {
        mpi.set_timeout(Duration::from_secs(arguments.timeout as u64));
        threads::with(arguments.threads, || match arguments.bench {
            Some(workload) => bench::run(mpi, workload, arguments.chunk, arguments.seconds),
            None => descend(mpi, &arguments),
        })
    })
}

fn network(params: &[Param<f64>]) -> Sequential<f64> {
    Sequential::new()
        .push(Linear::from_params(params[0].clone(), Some(params[1].clone())))
        .push(Tanh::new())
        .push(Linear::from_params(params[2].clone(), Some(params[3].clone())))
}

fn descend(mpi: &Mpi, arguments: &Arguments) -> tapegrad::Result<()> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/digits178");
    let files = mpi.agree(open_data::<f64>(arguments.data.as_ref().unwrap_or(&own)))?;
    let (count, width, classes) = (files.train().len(), files.train().width(), files.train().classes());
    mpi.same("the digits", format!("{count} of {width} pixels and {classes} classes"))?;
    // This rank's rows, and no others.
    let mut chunks = Chunks::new(arguments.chunk.unwrap_or(128));
    let mine = mpi.shard(count, chunks.size())?;
    let digits = mpi.agree(files.train().read(mine.clone()))?.scaled(1.0 / 255.0);

    let params = normal_parameters(&[width, arguments.hidden, classes], arguments.seed);
    let mut descent = Descent::new(params.clone());
    if let Some(file) = &arguments.checkpoint {
        // Rank 0 reads the file, and all ranks get what it holds.
        let read = mpi.rank() == 0 && file.exists();
        mpi.agree(if read { descent.load(file) } else { Ok(()) })?;
        descent.broadcast(mpi)?;
    }
    let mut replica = Replica::new(mpi, &params)?;
    let network = network(&params);
    for pass in descent.passes()..arguments.passes {
        let loss = replica.accumulate_gradients(&mut chunks, Rows::mean(count), |tape, rows: Range<usize>| {
            let rows = rows.start - mine.start..rows.end - mine.start;
            let scores = network.record(tape, tape.constant(digits.images().slice(s![rows.clone(), ..])));
            SoftmaxCrossEntropy::new().record_labels(&digits.labels()[rows], scores)
        })?;
        descent.step(arguments.epsilon, arguments.momentum);
        if let Some(file) = &arguments.checkpoint {
            mpi.agree(if mpi.rank() == 0 { descent.save(file) } else { Ok(()) })?;
        }
        if mpi.rank() == 0 {
            println!("pass {pass}: loss {loss:.6}");
        }
    }
    if mpi.rank() == 0 {
        let right = files.test().batches(256).map(|batch| Ok(correct(&params, &batch?.scaled(1.0 / 255.0))));
        let right: usize = right.sum::<tapegrad::Result<usize>>()?;
        println!("{right} of {} test digits are right", files.test().len());
        println!("bits of the parameters: {:016x}", digest(&params));
    }
    mpi.agree(Ok(()))
}

/// Returns the number of digits whose largest score is that of their class.
fn correct(params: &[Param<f64>], digits: &Samples<f64>) -> usize {
    let mut network = network(params);
    let predictions = tapegrad::data::predictions(network.forward(digits.images()));
    predictions.iter().zip(digits.labels()).filter(|&(found, class)| *found == Some(*class)).count()
}

/// Returns a number that almost surely differs if a bit of a parameter does: the FNV-1a hash of them all.
fn digest(params: &[Param<f64>]) -> u64 {
    let values: Vec<f64> = params.iter().flat_map(|param| param.value().iter().copied().collect::<Vec<_>>()).collect();
    let bytes = values.iter().flat_map(|value| value.to_bits().to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
