//! Functions of arrays, recorded once for inputs of the same shapes, and guarded.

use std::collections::HashMap;

use ndarray::{ArrayD, ArrayViewD};
use tapegrad::{Error, Outputs, Program, Tape, Var};

use crate::protocol::Outcome;

/// How many ways through a function with branches are kept.
const WAYS: usize = 16;

/// The programs of all functions, each for the shapes that it was last asked for.
#[derive(Default)]
pub struct Programs {
    kept: HashMap<String, Kept>,
}

/// The programs of one function: one for each way that inputs have taken through its branches, the last one first.
#[derive(Default)]
struct Kept {
    key: Vec<usize>,
    shapes: Vec<Vec<usize>>,
    programs: Vec<Program<f64>>,
}

impl Programs {
    /// Returns a function. `key` is all that the recording depends on besides the inputs.
    pub fn function<F>(&mut self, name: &str, key: &[usize], record: F) -> Compiled<'_, F>
    where
        F: for<'t> Fn(&[Var<'t, f64>]) -> Vec<Var<'t, f64>>,
    {
        let kept = self.kept.entry(name.into()).or_default();
        if kept.key != key {
            *kept = Kept { key: key.into(), ..Kept::default() };
        }
        Compiled { kept, record }
    }
}

/// A function of arrays.
pub struct Compiled<'a, F> {
    kept: &'a mut Kept,
    record: F,
}

impl<F: for<'t> Fn(&[Var<'t, f64>]) -> Vec<Var<'t, f64>>> Compiled<'_, F> {
    /// Records and compiles the function, unless that was done for inputs of these shapes.
    pub fn prepare(&mut self, inputs: &[&ArrayD<f64>]) -> Outcome<()> {
        if !inputs.iter().map(|x| x.shape()).eq(self.kept.shapes.iter()) {
            self.kept.shapes = inputs.iter().map(|x| x.shape().into()).collect();
            self.kept.programs.clear();
        }
        if self.kept.programs.is_empty() { self.record(inputs) } else { Ok(()) }
    }

    /// Runs the function. A program checks the branches that were taken when it was recorded: where these inputs take
    /// another one, the function is recorded once more.
    pub fn run<R>(&mut self, inputs: &[&ArrayD<f64>], take: impl Fn(&Outputs<'_, f64>) -> R) -> Outcome<R> {
        self.prepare(inputs)?;
        let views: Vec<ArrayViewD<'_, f64>> = inputs.iter().map(|x| x.view()).collect();
        loop {
            for way in 0..self.kept.programs.len() {
                let result = match self.kept.programs[way].run(&views) {
                    Ok(outputs) => take(&outputs),
                    Err(Error::Diverged { .. }) => continue,
                    Err(error) => return Err(error.to_string()),
                };
                self.kept.programs.swap(0, way);
                return Ok(result);
            }
            self.record(inputs)?;
        }
    }

    fn record(&mut self, inputs: &[&ArrayD<f64>]) -> Outcome<()> {
        let tape = Tape::new();
        let leaves: Vec<Var<'_, f64>> = inputs.iter().map(|x| tape.leaf(*x)).collect();
        let program = Program::compile(&leaves, &(self.record)(&leaves)).map_err(|error| error.to_string())?;
        self.kept.programs.truncate(WAYS - 1);
        self.kept.programs.insert(0, program);
        Ok(())
    }
}
