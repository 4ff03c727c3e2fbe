//! A tool for [GradBench](https://github.com/gradbench/gradbench): its twelve evaluations, by this library alone.
//!
//! `cargo run --release --example gradbench` speaks GradBench's protocol on standard input and output, a line of JSON a message:
//!
//! ```text
//! {"id": 0, "kind": "define", "module": "hello"}
//! {"id": 0, "success": true}
//! {"id": 1, "kind": "evaluate", "module": "hello", "function": "double", "input": 3.0}
//! {"id": 1, "output": 6.0, "success": true, "timings": [{"name": "evaluate", "nanoseconds": 1234}]}
//! ```
//!
//! Each evaluation is a file. It reads its input, records the function on a tape, and asks for derivatives. `compiled`
//! turns a recording into a [`Program`](tapegrad::Program), once for all inputs of these shapes.

mod ba;
mod compiled;
mod descent;
mod det;
mod gmm;
mod hello;
mod ht;
mod input;
mod kmeans;
mod llsq;
mod lse;
mod lstm;
mod ode;
mod particle;
mod protocol;
mod saddle;

use std::io;
use std::process::ExitCode;

use clap::Parser;
use protocol::{Module, Tool};

const MODULES: &[Module] = &[
    Module { name: "ba", functions: &[("objective", ba::objective), ("jacobian", ba::jacobian)] },
    Module { name: "det", functions: &[("primal", det::primal), ("gradient", det::gradient)] },
    Module { name: "gmm", functions: &[("objective", gmm::objective), ("jacobian", gmm::jacobian)] },
    Module { name: "hello", functions: &[("square", hello::square), ("double", hello::double)] },
    Module { name: "ht", functions: &[("objective", ht::objective), ("jacobian", ht::jacobian)] },
    Module { name: "kmeans", functions: &[("cost", kmeans::cost), ("dir", kmeans::dir)] },
    Module { name: "llsq", functions: &[("primal", llsq::primal), ("gradient", llsq::gradient)] },
    Module { name: "lse", functions: &[("primal", lse::primal), ("gradient", lse::gradient)] },
    Module { name: "lstm", functions: &[("objective", lstm::objective), ("jacobian", lstm::jacobian)] },
    Module { name: "ode", functions: &[("primal", ode::primal), ("gradient", ode::gradient)] },
    Module {
        name: "particle",
        functions: &[("rr", particle::rr), ("rf", particle::rf), ("fr", particle::fr), ("ff", particle::ff)],
    },
    Module {
        name: "saddle",
        functions: &[("rr", saddle::rr), ("rf", saddle::rf), ("fr", saddle::fr), ("ff", saddle::ff)],
    },
];

/// Answer GradBench's messages, a line of JSON each, from standard input to standard output, until the input ends.
///
/// Exit codes: 0 the input has ended, 1 it cannot be read or the answers cannot be written, 2 the arguments are wrong.
#[derive(Parser, Debug)]
struct Options {}

fn main() -> ExitCode {
    let Options {} = Options::parse();
    match Tool::new("tapegrad", MODULES).serve(io::stdin().lock(), io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
