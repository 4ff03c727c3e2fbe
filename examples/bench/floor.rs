//! `--floors`: the time that a step of each workload needs at least on this machine, a line for each workload.
//!
//! ```text
//! floor = max(flops / peak, bytes / bandwidth)
//! ```
//!
//! The first line is the machine, on the given number of threads:
//!
//! | field | measured by |
//! |---|---|
//! | `gflops`, the peak | 12 chains of multiply-adds `x a + a` in registers, each of them two operations |
//! | `multiply_add_ns` | one such chain: what a multiply-add takes that waits for the one before it |
//! | `cache_gb_s` | an array of 1 MiB, see below |
//! | `memory_gb_s` | an array of `--memory` MiB; it should be several times the last cache |
//!
//! A bandwidth is that of an array of some size, again and again: read, or in three parts as `a = b + 3 c`, whichever is
//! faster. Each thread has an equal part of it. A workload's `gb_s` is that of an array with the bytes of the workload, from
//! 16 KiB for each thread to `--memory` MiB in all. So a batch that fits the caches has the bandwidth of a cache. Each
//! measurement takes `--seconds`, and the fastest round counts.
//!
//! With `P` parameters and a batch of `B`, the work of a step is:
//!
//! | | flops | numbers moved |
//! |---|---|---|
//! | W1 | `2 · 2·B·784·3 + 2 P`, B = 18,858, P = 2,355: 177,420,774 | `784 B + 4 P`: 14,794,092 |
//! | W2 | `2 · 2·B·784·100 + 3 · 2·B·100·3 + 2 P`, B = 18,858, P = 78,803: 5,947,970,806 | `784 B + 4 P`: 15,099,884 |
//! | W3 | `2 · 2·B·784·100 + 3 · 2·B·100·10 + 2 P`, B = 128, P = 79,510: 41,067,820 | `784 B + 4 P`: 418,392 |
//! | W4 | `2 · 2·784·10 + 3 · 2·10·3 + 2 P`, P = 7,883: 47,306 | `784 + 4 P`: 32,316 |
//! | W5 | `(3 · 50 - 1) · 2·16·16 + 2 P`, P = 13,600: 103,488 | `16 + 16 + 4 P`: 54,432 |
//! | W6 | `2 · 2·B·784·1024 + 3 · 2·B·(1024·1024 + 1024·10) + 2 P`, B = 512, P = 1,863,690: 4,900,577,300 | `784 B + 4 P`: 7,856,168 |
//! | W7 | `(10 · 7 + 3) · 1,000,000`: 73,000,000 | `2 · 1,000,000`: 2,000,000 |
//! | W8 | `(200 · 7 + 3) · 64`: 89,792 | `2 · 64`: 128 |
//! | W9 | `2 · 2·B·24·24·16·25 + 3 · 2·B·(8·8·32·400 + 512·10) + 2 P`, B = 64, P = 18,378: 375,558,036 | `784 B + 4 P`: 123,688 |
//! | W10 | `50 · (2 · 2·B·32·256 + 3 · 2·B·64·256) - 2·B·64·256 + 3 · 2·B·64·10 + 2 P`, B = 32, P = 25,482: 208,840,468 | `50·32 B + 4 P`: 153,128 |
//! | W11 | `3 · 2·B·784·100 + 8 · 2·B·100·10`, B = 128, P = 79,510: 62,259,200 | `784 B + 3 P`: 338,882 |
//! | W12 | `1000 · (71 + 108)`: 179,000 | `2 · 4`: 8 |
//!
//! **Flops** are additions and multiplications. A product of `m × k` and `k × n` has `2 m k n`, bias included. A layer has three
//! products: forward, the gradient of its weights, and the gradient of its input, which the first layer does not need. A
//! convolution is the product with its windows. `2 P` is the update. Not counted are activations, losses, pools and the
//! gradients of biases: a network could not do without them either, so the floor is low by what they take.
//!
//! - A link of the chains W7 and W8 has seven: `y a + b` and tanh forward, `(1 - y²) g a` backward. The loss has three for each
//!   element. A tanh counts as one, although its approximation takes ten to twenty.
//! - W10: at the first time step nothing needs the gradient of the state.
//! - W11, forward over reverse: `z₁`, its tangent, and the product for the first weight have `784·100`. The others have
//!   `100·10`: `z₂`, and twice each the tangents of `z₂`, of the second weight's gradient, and of the hidden layer's delta; and
//!   that delta.
//! - W12, forward: four slopes of 8 operations, three states ahead of 6, and the sum of 21. Backward: 18 for each slope, 8 of them
//!   for the parameters, and 36 for the rest.
//!
//! **Numbers moved** come from memory or go there at least once: the input is read once. A parameter is read and written, and so
//! is its gradient. W7 and W8 read the input and write its gradient. W11 reads parameters and directions, and writes the products.
//! Not counted are labels, and all values in between, as if each of them stayed in a register or a near cache. A number has 4
//! bytes in `f32`, 8 in `f64`.
//!
//! W4, W5, W8 and W12 are chains of small operations that wait for each other, so this floor says little about them: latency
//! decides. Their lines have the number of operations in the longest chain, `chain`, and the time that as many dependent
//! multiply-adds take, `chain_us`. An operation is a product with its bias, a function, an addition or a multiplication:
//!
//! | | chain |
//! |---|---|
//! | W4 | product, tanh, product, loss, and backward the same: 8 |
//! | W5 | `50 · (2 + 2)`: product and tanh of each layer, and backward the same: 200 |
//! | W8 | `200 · (3 + 2)`: `y a`, `+ b`, tanh; `(1 - y²) g` and `g a`: 1,000 |
//! | W12 | `1000 · (21 + 24)`: three stages of 5, the last slope of 3, the sum of 3; 1, three stages of 6, the last of 4, 1: 45,000 |

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use pulp::{Arch, Simd, WithSimd};
use serde_json::json;
use tapegrad::Scalar;

use crate::workload::Workload;
use crate::{chains, hessian, images, networks, round, sequences, trajectory};

/// A thread's smallest array, in bytes.
const LEAST: usize = 16 << 10;
/// What a near cache holds, in bytes.
const CACHE: usize = 1 << 20;
/// The bytes of a round, at least: it takes 20 microseconds or more.
const ROUND: usize = 4 << 20;
/// Multiply-adds of each chain in a round.
const LINKS: usize = 20_000;
/// Chains enough for two units with a latency of up to six, and few enough for 16 registers.
const CHAINS: usize = 12;

/// What a step does at least.
pub struct Work {
    /// Additions and multiplications.
    pub flops: usize,
    /// Numbers that come from memory or go there.
    pub moved: usize,
    /// Operations in the longest chain, where these are small.
    pub chain: Option<usize>,
}

/// Measures the machine and prints its line, and one for each workload.
pub fn run<T: Scalar>(threads: usize, time: Duration, memory: usize) {
    let machine = Machine { threads, time, memory };
    let (seconds, lanes) = machine.link::<T, CHAINS>();
    let peak = (2 * CHAINS * lanes * threads) as f64 / seconds;
    let (latency, _) = machine.link::<T, 1>();
    println!(
        "{}",
        json!({
            "dtype": T::DTYPE,
            "threads": threads,
            "gflops": round(peak / 1e9),
            "multiply_add_ns": round(latency * 1e9),
            "cache_gb_s": round(machine.bandwidth::<T>(CACHE * threads) / 1e9),
            "memory_gb_s": round(machine.bandwidth::<T>(memory) / 1e9),
        })
    );
    for &workload in Workload::value_variants() {
        let Work { flops, moved, chain } = work(workload);
        let bytes = moved * size_of::<T>();
        let bandwidth = machine.bandwidth::<T>(bytes);
        let (computing, moving) = (flops as f64 / peak * 1e6, bytes as f64 / bandwidth * 1e6);
        let mut line = json!({
            "workload": format!("{workload:?}"),
            "dtype": T::DTYPE,
            "threads": threads,
            "flops": flops,
            "bytes": bytes,
            "gflops": round(peak / 1e9),
            "gb_s": round(bandwidth / 1e9),
            "flops_us": round(computing),
            "bytes_us": round(moving),
            "floor_us": round(computing.max(moving)),
        });
        if let Some(chain) = chain {
            line["chain"] = chain.into();
            line["chain_us"] = round(chain as f64 * latency * 1e6).into();
        }
        println!("{line}");
    }
}

/// Returns what a step of a workload does at least.
fn work(workload: Workload) -> Work {
    let chain = match workload {
        Workload::W4 => Some(8),
        Workload::W5 => Some(200),
        Workload::W8 => Some(1000),
        Workload::W12 => Some(45 * trajectory::STEPS),
        _ => None,
    };
    let (flops, moved) = match workload {
        Workload::W7 | Workload::W8 => {
            let (length, repeats) = chains::sizes(workload);
            ((7 * repeats + 3) * length, 2 * length)
        }
        Workload::W9 => {
            let batch = images::BATCH;
            let first = product(batch * 24 * 24, 25, 16);
            let others = product(batch * 8 * 8, 16 * 25, 32) + product(batch, 512, 10);
            let parameters = parameters(&[(25, 16), (16 * 25, 32), (512, 10)]);
            (2 * first + 3 * others + 2 * parameters, batch * 28 * 28 + 4 * parameters)
        }
        Workload::W10 => {
            use sequences::{BATCH, FEATURES, HIDDEN, TIMES};
            let input = product(BATCH, FEATURES, 4 * HIDDEN);
            let state = product(BATCH, HIDDEN, 4 * HIDDEN);
            let products = TIMES * (2 * input + 3 * state) - state + 3 * product(BATCH, HIDDEN, 10);
            let parameters = parameters(&[(FEATURES + HIDDEN, 4 * HIDDEN), (HIDDEN, 10)]);
            (products + 2 * parameters, TIMES * BATCH * FEATURES + 4 * parameters)
        }
        Workload::W11 => {
            let batch = hessian::BATCH;
            let parameters = parameters(&[(784, 100), (100, 10)]);
            (3 * product(batch, 784, 100) + 8 * product(batch, 100, 10), batch * 784 + 3 * parameters)
        }
        Workload::W12 => ((71 + 108) * trajectory::STEPS, 2 * 4),
        _ => {
            let (widths, _, batch) = networks::sizes(workload);
            let layers: Vec<_> = widths.windows(2).map(|width| (width[0], width[1])).collect();
            let products: usize = layers.iter().map(|&(inputs, outputs)| product(batch, inputs, outputs)).sum();
            let (first, parameters) = (product(batch, widths[0], widths[1]), parameters(&layers));
            let target = if workload == Workload::W5 { batch * widths[widths.len() - 1] } else { 0 };
            (3 * products - first + 2 * parameters, batch * widths[0] + target + 4 * parameters)
        }
    };
    Work { flops, moved, chain }
}

/// Returns the additions and multiplications of a product of `rows × inner` and `inner × columns`.
fn product(rows: usize, inner: usize, columns: usize) -> usize {
    2 * rows * inner * columns
}

/// Returns the number of parameters of layers with biases.
fn parameters(layers: &[(usize, usize)]) -> usize {
    layers.iter().map(|(inputs, outputs)| (inputs + 1) * outputs).sum()
}

/// How to measure.
struct Machine {
    threads: usize,
    time: Duration,
    /// The bytes of the largest array.
    memory: usize,
}

impl Machine {
    /// Returns the seconds of a link of `N` chains of vectors, and the numbers in a vector.
    fn link<T: Scalar, const N: usize>(&self) -> (f64, usize) {
        let chains = |links| Arch::new().dispatch(Chains::<T, N> { a: black_box(T::from_f64(0.5)), links });
        let seconds = self.shortest(|| {
            || {
                chains(LINKS);
            }
        });
        (seconds / LINKS as f64, chains(0))
    }

    /// Returns the bytes in a second that come and go in an array of so many bytes.
    fn bandwidth<T: Scalar>(&self, bytes: usize) -> f64 {
        let part = (bytes.min(self.memory) / self.threads).max(LEAST);
        let (length, times) = (part / size_of::<T>(), ROUND.div_ceil(part));
        let three = length / 3;
        // A number that is not zero: the system may have one page for all zeros.
        let array = |length: usize| vec![T::from_f64(0.5); length];
        let read = self.shortest(|| {
            let a = array(length);
            move || {
                for _ in 0..times {
                    black_box(Arch::new().dispatch(Read(black_box(&a))));
                }
            }
        });
        let triad = self.shortest(|| {
            let (mut a, b, c) = (array(three), array(three), array(three));
            move || {
                for _ in 0..times {
                    let (a, b, c) = (black_box(&mut *a), black_box(&*b), black_box(&*c));
                    Arch::new().dispatch(Triad { a, b, c });
                }
            }
        });
        let numbers = f64::max(length as f64 / read, (3 * three) as f64 / triad);
        numbers * (times * self.threads * size_of::<T>()) as f64
    }

    /// Returns the seconds of the shortest round, in which each thread does its work once. `make` makes a thread's work.
    fn shortest<W: FnMut()>(&self, make: impl Fn() -> W + Sync) -> f64 {
        let (barrier, enough) = (Barrier::new(self.threads), AtomicBool::new(false));
        let rounds = |first: bool| {
            let mut work = make();
            barrier.wait();
            let (begin, mut least) = (Instant::now(), f64::INFINITY);
            loop {
                barrier.wait();
                if enough.load(Ordering::Relaxed) {
                    return least;
                }
                let start = Instant::now();
                work();
                barrier.wait();
                least = least.min(start.elapsed().as_secs_f64());
                if first {
                    enough.store(begin.elapsed() >= self.time, Ordering::Relaxed);
                }
            }
        };
        thread::scope(|scope| {
            (1..self.threads).for_each(|_| {
                scope.spawn(|| rounds(false));
            });
            rounds(true)
        })
    }
}

/// Chains of `x = x a + a`, one for each of `N` vectors; returns the numbers in a vector.
struct Chains<T, const N: usize> {
    a: T,
    links: usize,
}

impl<T: Scalar, const N: usize> WithSimd for Chains<T, N> {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> usize {
        let a = T::splat(simd, self.a);
        let mut x = [a; N];
        for _ in 0..self.links {
            for x in &mut x {
                *x = T::fma(simd, *x, a, a);
            }
        }
        black_box(x.map(|x| T::reduce(simd, x)));
        T::lanes::<S>()
    }
}

/// Reads an array: adds all numbers up.
struct Read<'a, T>(&'a [T]);

impl<T: Scalar> WithSimd for Read<'_, T> {
    type Output = T;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> T {
        let (mut sums, one) = ([T::splat(simd, T::ZERO); 8], T::splat(simd, T::ONE));
        let (blocks, rest) = T::as_vectors::<S>(self.0).as_chunks::<8>();
        for block in blocks {
            for (sum, &x) in sums.iter_mut().zip(block) {
                *sum = T::fma(simd, x, one, *sum);
            }
        }
        for &x in rest {
            sums[0] = T::fma(simd, x, one, sums[0]);
        }
        sums.map(|x| T::reduce(simd, x)).into_iter().sum()
    }
}

/// `a = b + 3 c`.
struct Triad<'a, T> {
    a: &'a mut [T],
    b: &'a [T],
    c: &'a [T],
}

impl<T: Scalar> WithSimd for Triad<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let three = T::splat(simd, T::from_f64(3.0));
        let (a, b, c) = (T::as_vectors_mut::<S>(self.a), T::as_vectors::<S>(self.b), T::as_vectors::<S>(self.c));
        for ((a, &b), &c) in a.iter_mut().zip(b).zip(c) {
            *a = T::fma(simd, three, c, b);
        }
    }
}
