//! `--sweep`: how the time grows with the length of a program and with the rows of a batch, from 10² up to `--most`.
//!
//! Each line has the shortest time of a few steps, divided by the number of nodes, slices or rows. On a flat cost these
//! figures stay the same from line to line.
//!
//! | lines | program | figures, in nanoseconds |
//! |---|---|---|
//! | `nodes` | a chain of `n` tanh of one number | a node's `record`, `backward`, `grads`, `jvp`, `reset` |
//! | `slices` | the sum of the squares of `n` slices of one array | a slice's `record`, `backward`, `grads`, `reset` |
//! | `rows` | 16 → 16 tanh → 1, mean of the squares, `n` rows | a row's `tape` and `chunked`, forward and backward |
//!
//! `grads` and `jvp` are recorded. `reset` gives back all that was recorded before it, also by them.

use std::hint::black_box;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use ndarray::{Array1, Array2};
use serde_json::{Map, Value, json};
use tapegrad::chunks::{Chunks, Rows};
use tapegrad::{Param, Scalar, Tape, Var};

use crate::data;

/// The nodes, slices or rows of all steps of a line, if they are not more in three steps. A sweep that ends early does less.
const WORK: usize = 300_000;

/// Returns how often a program of length `n` runs.
fn steps(n: usize, most: usize) -> usize {
    (WORK.min(most.saturating_mul(30)) / n).max(3)
}

/// Times programs of all lengths, and prints a line for each.
pub fn run<T: Scalar>(most: usize) {
    let lengths = || std::iter::successors(Some(100), |n| Some(n * 10)).take_while(move |&n| n <= most);
    lengths().for_each(|n| print::<T>("nodes", n, most, nodes::<T>));
    lengths().for_each(|n| print::<T>("slices", n, most, slices::<T>));
    lengths().for_each(|n| rows::<T>(n, most));
}

/// The shortest time of each part of a program, in the order of the parts.
struct Times(Vec<(&'static str, f64)>);

impl Times {
    fn add(&mut self, part: &'static str, start: Instant) {
        let time = start.elapsed().as_secs_f64();
        match self.0.iter_mut().find(|(name, _)| *name == part) {
            Some((_, least)) => *least = least.min(time),
            None => self.0.push((part, time)),
        }
    }

    fn print<T: Scalar>(&self, sweep: &str, n: usize) {
        let each =
            |&(part, time): &(&str, f64)| (format!("{part}_ns"), ((time * 1e10 / n as f64).round() / 10.0).into());
        let mut line: Map<String, Value> = self.0.iter().map(each).collect();
        line.extend([("sweep".into(), json!(sweep)), ("n".into(), json!(n)), ("dtype".into(), json!(T::DTYPE))]);
        println!("{}", Value::Object(line));
    }
}

/// Runs a program of length `n` again and again on one tape, and prints its line.
fn print<T: Scalar>(sweep: &str, n: usize, most: usize, run: fn(&Tape<T>, usize, &mut Times)) {
    let (mut tape, mut times) = (Tape::new(), Times(Vec::new()));
    for _ in 0..steps(n, most) {
        run(&tape, n, &mut times);
        let start = Instant::now();
        tape.reset();
        times.add("reset", start);
    }
    times.print::<T>(sweep, n);
}

fn nodes<T: Scalar>(tape: &Tape<T>, n: usize, times: &mut Times) {
    let x = tape.leaf(T::from_f64(0.5));
    let start = Instant::now();
    let y = (0..n).fold(x, |y, _| y.tanh());
    times.add("record", start);
    let start = Instant::now();
    y.backward();
    times.add("backward", start);
    let start = Instant::now();
    black_box(y.grad_wrt(x));
    times.add("grads", start);
    let start = Instant::now();
    black_box(y.jvp(&[x], &[tape.constant(T::ONE)]));
    times.add("jvp", start);
}

fn slices<T: Scalar>(tape: &Tape<T>, n: usize, times: &mut Times) {
    let x = tape.leaf(Array1::from_elem(n, T::from_f64(0.5)));
    let start = Instant::now();
    let sum: Var<'_, T> = x.unbind(0).into_iter().map(Var::square).sum();
    times.add("record", start);
    let start = Instant::now();
    sum.backward();
    times.add("backward", start);
    let start = Instant::now();
    black_box(sum.grad_wrt(x));
    times.add("grads", start);
}

fn rows<T: Scalar>(n: usize, most: usize) {
    const WIDTH: usize = 16;
    let x: Arc<Array2<T>> = Arc::new(data::array(1, (n, WIDTH), data::symmetric));
    let hidden = Param::new(data::array::<T, _>(2, (WIDTH, WIDTH), data::symmetric));
    let output = Param::new(data::array::<T, _>(3, (WIDTH, 1), data::symmetric));
    let (mut tape, mut chunks, mut times) = (Tape::new(), Chunks::new(1024), Times(Vec::new()));
    for _ in 0..steps(n, most) {
        let start = Instant::now();
        let y = tape.constant(&x).matmul(tape.param(&hidden)).tanh().matmul(tape.param(&output));
        y.square().mean().backward();
        tape.reset();
        times.add("tape", start);
        let start = Instant::now();
        chunks.accumulate_gradients(Rows::mean(n), |tape, rows: Range<usize>| {
            let x = tape.constant(&x).slice(0, rows);
            x.matmul(tape.param(&hidden)).tanh().matmul(tape.param(&output)).square().mean()
        });
        times.add("chunked", start);
        [&hidden, &output].iter().for_each(|param| param.zero_grad());
    }
    times.print::<T>("rows", n);
}
