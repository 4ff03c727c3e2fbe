//! Runs cases that another engine made: values, gradients, higher derivatives and training runs in float64.
//!
//! `cargo run --release --example reference -- --help`

mod cases;
mod higher;
#[path = "../lesson/mod.rs"]
mod lesson;
mod training;

use std::collections::BTreeMap;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use lesson::{Outcome, exit};
use ndarray::{ArrayD, ArrayViewD};
use serde_json::Value;

/// Where the contract of this library differs from PyTorch 2.15 on purpose, and why.
const DIFFERENCES: [(&str, &str); 1] =
    [("det", "at a singular matrix the gradient is the matrix of cofactors, which is the derivative; PyTorch gives 0")];

/// Compare with cases in the form: index.json with id, family, op, attrs, inputs, grads, kink, note; cases/FAMILY.npz with
/// ID_in0…, ID_out, ID_cot, ID_grad0…; higher/index.json and higher.npz; training/index.json and training.npz.
///
/// A case passes if |a - b| <= 1e-10 max(1, |b|) for all elements, NaN and infinities in the same places.
///
/// Exit codes: 0 all that is supported passed, 1 something failed or cannot be read, 2 the arguments are wrong.
#[derive(Parser, Debug)]
struct Options {
    /// Directory of cases
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// End with one JSON object on the last line of standard output
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    exit(run(&lesson::parse()))
}

/// What became of the cases of an operation.
#[derive(Default)]
struct Tally {
    cases: usize,
    passed: usize,
    max_rel_error: f64,
}

#[derive(Default)]
struct Report {
    by_op: BTreeMap<String, Tally>,
    failed: Vec<String>,
    unsupported: Vec<String>,
}

impl Report {
    /// Takes in the largest error of a case: infinite if shapes or the places of NaN and infinities differ.
    fn add(&mut self, id: &str, op: &str, error: f64, explanation: &str) {
        let tally = self.by_op.entry(op.into()).or_default();
        tally.cases += 1;
        if error <= 1e-10 {
            tally.passed += 1;
            tally.max_rel_error = tally.max_rel_error.max(error);
        } else {
            println!("{id} {op} {explanation}: differs by {error:.1e}");
            self.failed.push(id.into());
        }
    }

    /// Takes in a case that cannot be compared.
    fn refuse(&mut self, id: &str, op: &str, why: &str) {
        self.by_op.entry(op.into()).or_default().cases += 1;
        // The first line: the others name places in this program.
        println!("{id} {op}: {}", why.lines().next().unwrap_or_default());
        self.failed.push(id.into());
    }

    fn skip(&mut self, op: &str) {
        if !self.unsupported.iter().any(|known| known == op) {
            self.unsupported.push(op.into());
        }
    }
}

fn run(options: &Options) -> Outcome {
    let directory = &options.directory;
    if !directory.is_dir() {
        return Err(format!("{}: expected a directory of cases with index.json", directory.display()).into());
    }
    let mut report = Report::default();
    cases::run(directory, &mut report)?;
    if directory.join("higher/index.json").exists() {
        higher::run(&directory.join("higher"), &mut report)?;
    }
    if directory.join("training/index.json").exists() {
        training::run(&directory.join("training"), &mut report)?;
    }

    println!("\n{:32} cases  passed  max error", "operation");
    for (op, tally) in &report.by_op {
        println!("{op:32} {:5}  {:6}  {:.1e}", tally.cases, tally.passed, tally.max_rel_error);
    }
    let total = |count: fn(&Tally) -> usize| report.by_op.values().map(count).sum::<usize>();
    let (cases, passed) = (total(|tally| tally.cases), total(|tally| tally.passed));
    let worst = report.by_op.values().map(|tally| tally.max_rel_error).fold(0.0, f64::max);
    println!("\n{passed} of {cases} passed; not supported: {}", report.unsupported.join(", "));
    println!("where it differs from PyTorch on purpose:");
    DIFFERENCES.iter().for_each(|(op, why)| println!("  {op}: {why}"));
    if options.json {
        let result = serde_json::json!({
            "cases": cases,
            "passed": passed,
            "failed": report.failed,
            "unsupported": report.unsupported,
            "max_rel_error": worst,
        });
        println!("{result}");
    }
    match report.failed.len() {
        0 => Ok(()),
        count => Err(format!("{count} of {cases} cases failed").into()),
    }
}

/// Runs a case. A panic in it is an error like any other: one wrong case must not keep the others from being compared.
fn guarded<R>(case: impl FnOnce() -> Outcome<R>) -> Outcome<R> {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| ()));
    let result = panic::catch_unwind(AssertUnwindSafe(case));
    panic::set_hook(hook);
    result.unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref::<&str>().copied());
        Err(text.unwrap_or("a panic").into())
    })
}

fn read_json(path: &Path) -> Outcome<Vec<Value>> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: cannot be read: {error}", path.display()))?;
    Ok(serde_json::from_str(&text).map_err(|error| format!("{}: expected a JSON list: {error}", path.display()))?)
}

/// Returns the largest `|a - b| / max(1, |b|)`; infinity where shapes, NaN or infinities differ.
fn distance(a: ArrayViewD<'_, f64>, b: &ArrayD<f64>) -> f64 {
    if a.shape() != b.shape() {
        return f64::INFINITY;
    }
    let each = |(&a, &b): (&f64, &f64)| match b.is_finite() {
        true => (a - b).abs() / b.abs().max(1.0),
        false if a == b || a.is_nan() && b.is_nan() => 0.0,
        false => f64::INFINITY,
    };
    a.iter().zip(b).map(each).fold(0.0, worse)
}

/// Returns the larger error, or NaN if one of them is NaN: it does not pass.
fn worse(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::INFINITY } else { a.max(b) }
}
