//! The time of a step, and of single messages.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use ndarray::{Array1, Array2, s};
use tapegrad::chunks::{Chunks, Rows};
use tapegrad::nn::{Linear, Module, ReLU, Sequential, SoftmaxCrossEntropy, Tanh};
use tapegrad::optim::{Optimizer, Sgd};
use tapegrad::parallel::{Mpi, Replica};
use tapegrad::{Param, Result};

/// What is timed.
#[derive(Clone, Copy, Debug, ValueEnum, PartialEq)]
pub enum Workload {
    /// 784 → 100 tanh → 3, batch 18,858
    #[value(name = "W2")]
    W2,
    /// 784 → 1024 relu → 1024 relu → 10, batch 512
    #[value(name = "W6")]
    W6,
    /// An act of all ranks without content, and broadcasts of 1 kB to 64 MB
    #[value(name = "messages")]
    Messages,
}

/// Runs steps for some seconds. Rank 0 prints one JSON line.
pub fn run(mpi: &Mpi, workload: Workload, chunk: Option<usize>, seconds: usize) -> Result<()> {
    let time = Duration::from_secs(seconds as u64);
    match workload {
        Workload::W2 => train(mpi, "W2", &[784, 100, 3], 18_858, chunk.unwrap_or(256), time),
        Workload::W6 => train(mpi, "W6", &[784, 1024, 1024, 10], 512, chunk.unwrap_or(128), time),
        Workload::Messages => messages(mpi, time),
    }
}

/// Returns a number in `[0, 1)` that depends on its position alone: the splitmix64 sequence from `position`.
fn number(stream: u64, position: usize) -> f32 {
    let mut z = ((stream << 40) + position as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 40) as f32 / (1 << 24) as f32
}

fn train(mpi: &Mpi, name: &str, widths: &[usize], batch: usize, chunk: usize, time: Duration) -> Result<()> {
    let (inputs, classes) = (widths[0], widths[widths.len() - 1]);
    let mine = mpi.shard(batch, chunk)?;
    // The rows of this rank alone.
    let x =
        Array2::from_shape_fn((mine.len(), inputs), |(row, column)| number(0, (mine.start + row) * inputs + column));
    let labels: Vec<usize> = mine.clone().map(|row| (number(1, row) * classes as f32) as usize).collect();
    let layers: Vec<(Param<f32>, Param<f32>)> = (2..)
        .step_by(2)
        .zip(widths.windows(2))
        .map(|(stream, width)| {
            let (bound, rows) = ((3.0 / width[0] as f32).sqrt(), width[1]);
            let draw = |stream, position| (2.0 * number(stream, position) - 1.0) * bound;
            let weight = Array2::from_shape_fn((width[0], width[1]), |(i, j)| draw(stream, i * rows + j));
            (Param::new(weight), Param::new(Array1::from_shape_fn(rows, |j| draw(stream + 1, j))))
        })
        .collect();
    let (layers, deep) = (Arc::new(layers), widths.len() > 3);
    let params: Vec<Param<f32>> = layers.iter().flat_map(|(weight, bias)| [weight.clone(), bias.clone()]).collect();
    let mut chunks = Chunks::by_hand(chunk, move || {
        let network = layers.iter().enumerate().fold(Sequential::new(), |network, (k, (weight, bias))| {
            let network = network.push(Linear::from_params(weight.clone(), Some(bias.clone())));
            match k + 1 < layers.len() {
                true if deep => network.push(ReLU::new()),
                true => network.push(Tanh::new()),
                false => network,
            }
        });
        (network, SoftmaxCrossEntropy::new())
    });
    let (mut replica, mut sgd) = (Replica::new(mpi, &params)?, Sgd::new(&params, 0.01));
    let computing = AtomicU64::new(0);
    let (mut steps, mut computes, mut losses) = (Vec::new(), Vec::new(), Vec::new());
    repeat(mpi, time, || {
        let start = Instant::now();
        computing.store(0, Ordering::Relaxed);
        let loss = replica.accumulate_by_hand(&mut chunks, Rows::mean(batch), |(network, loss), rows| {
            let start = Instant::now();
            let rows = rows.start - mine.start..rows.end - mine.start;
            let (x, labels) = (x.slice(s![rows.clone(), ..]), &labels[rows]);
            let scores = network.forward(&x);
            let value = loss.forward_labels(labels, scores);
            let delta = loss.backward_labels(labels, scores);
            network.backward_update_gradient(&x, delta);
            computing.fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
            value
        })?;
        sgd.step();
        sgd.zero_grad();
        steps.push(start.elapsed().as_secs_f64() * 1e6);
        computes.push(computing.load(Ordering::Relaxed) as f64 / 1e3);
        losses.push(loss);
        Ok(())
    })?;
    if mpi.rank() == 0 {
        let bytes = 4 * params.iter().map(|param| param.value().len()).sum::<usize>();
        println!(
            "{{\"workload\": \"{name}\", \"ranks\": {}, \"threads\": {}, \"chunk\": {chunk}, \"steps\": {}, \
             \"step_us\": {:.0?}, \"compute_us\": {:.0?}, \"bytes\": {bytes}, \"rows\": {}, \"peak_rss_mib\": {:.0}, \
             \"loss_first\": {}, \"loss_last\": {}}}",
            mpi.size(),
            tapegrad::threads::count(),
            steps.len(),
            quartiles(&mut steps),
            quartiles(&mut computes),
            mine.len(),
            peak_rss(),
            losses[0],
            losses[losses.len() - 1],
        );
    }
    Ok(())
}

fn messages(mpi: &Mpi, time: Duration) -> Result<()> {
    let time = time / 6;
    let mut empty = Vec::new();
    repeat(mpi, time, || {
        let start = Instant::now();
        mpi.agree(Ok::<_, tapegrad::Error>(()))?;
        empty.push(start.elapsed().as_secs_f64() * 1e6);
        Ok(())
    })?;
    let mut lines = vec![format!("\"agree_us\": {:.1?}", quartiles(&mut empty))];
    for bytes in [1 << 10, 1 << 15, 1 << 20, 1 << 23, 1 << 26] {
        let (mut numbers, mut times) = (vec![0.0_f32; bytes / 4], Vec::new());
        repeat(mpi, time, || {
            let start = Instant::now();
            mpi.broadcast_numbers(&mut numbers)?;
            times.push(start.elapsed().as_secs_f64() * 1e6);
            Ok(())
        })?;
        lines.push(format!("\"broadcast_{bytes}_us\": {:.1?}", quartiles(&mut times)));
    }
    if mpi.rank() == 0 {
        println!("{{\"ranks\": {}, {}}}", mpi.size(), lines.join(", "));
    }
    Ok(())
}

/// Calls `step` until the time of rank 0 is over, at least 5 times, after one call that is not counted by anybody who
/// takes a minimum.
fn repeat(mpi: &Mpi, time: Duration, mut step: impl FnMut() -> Result<()>) -> Result<()> {
    let start = Instant::now();
    let mut count = 0_u64;
    loop {
        // Between the blocks of steps rank 0 says whether there is another one: all ranks do as many.
        let mut go_on = [u64::from(start.elapsed() < time || count < 5)];
        mpi.broadcast_numbers(&mut go_on)?;
        if go_on[0] == 0 {
            return Ok(());
        }
        for _ in 0..5 {
            step()?;
            count += 1;
        }
    }
}

/// Returns minimum, lower quartile and median.
fn quartiles(times: &mut [f64]) -> [f64; 3] {
    times.sort_by(f64::total_cmp);
    [times[0], times[times.len() / 4], times[times.len() / 2]]
}

/// Returns the largest memory of this process so far, in MiB; 0 where the system does not say.
fn peak_rss() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).map_or(0.0, |kib| kib / 1024.0)
}
