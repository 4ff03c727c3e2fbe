//! GradBench's protocol: a message a line, an answer a line.

use std::any::Any;
use std::io::{self, BufRead, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use ndarray::ArrayD;
use serde_json::{Value, json};
use tapegrad::{Outputs, Var};

use crate::compiled::{Compiled, Programs};
use crate::input::{Input, expected, list};

/// What an evaluation returns: the answer, or what is wrong with the input.
pub type Outcome<T = Answer> = Result<T, String>;

/// A function of an evaluation.
pub type Function = fn(&mut Call) -> Outcome;

/// An evaluation.
pub struct Module {
    pub name: &'static str,
    pub functions: &'static [(&'static str, Function)],
}

/// The result of a function, and how many nanoseconds each run took.
pub struct Answer {
    output: Value,
    nanoseconds: Vec<u64>,
}

/// A message that asks for a function.
pub struct Call<'a> {
    pub input: Input<'a>,
    name: String,
    programs: &'a mut Programs,
}

impl Call<'_> {
    /// Runs a function of arrays until GradBench has enough, and measures it.
    ///
    /// `record` says what the function computes. It is recorded and compiled before the first run, and not again for other
    /// inputs of the same shapes and the same `key`: what else the recording depends on. `take` is part of a run. It takes
    /// the result over from the program.
    pub fn compiled<R>(
        &mut self,
        key: &[usize],
        inputs: &[&ArrayD<f64>],
        record: impl for<'t> Fn(&[Var<'t, f64>]) -> Vec<Var<'t, f64>>,
        take: impl Fn(&Outputs<'_, f64>) -> R,
        report: impl FnOnce(R) -> Value,
    ) -> Outcome {
        let mut function = self.programs.function(&self.name, key, record);
        function.prepare(inputs)?;
        measure(self.input, || function.run(inputs, &take), report)
    }

    /// Measures the value of a function of arrays.
    pub fn value(
        &mut self,
        key: &[usize],
        inputs: &[&ArrayD<f64>],
        f: impl for<'t> Fn(&[Var<'t, f64>]) -> Var<'t, f64>,
    ) -> Outcome {
        self.compiled(key, inputs, |v| vec![f(v)], |outputs| outputs.value(0).to_owned(), list)
    }

    /// Measures the gradient of a function of arrays by the first of them.
    pub fn gradient(
        &mut self,
        key: &[usize],
        inputs: &[&ArrayD<f64>],
        f: impl for<'t> Fn(&[Var<'t, f64>]) -> Var<'t, f64>,
    ) -> Outcome {
        self.value(key, inputs, |v| f(v).grad_wrt(v[0]))
    }

    /// Returns a function that is recorded and compiled when it first runs.
    pub fn function<F>(&mut self, key: &[usize], record: F) -> Compiled<'_, F>
    where
        F: for<'t> Fn(&[Var<'t, f64>]) -> Vec<Var<'t, f64>>,
    {
        self.programs.function(&self.name, key, record)
    }
}

/// Repeats a function until both `min_runs` runs and `min_seconds` seconds are done. Without these fields it runs once.
pub fn measure<R>(input: Input<'_>, mut run: impl FnMut() -> Outcome<R>, report: impl FnOnce(R) -> Value) -> Outcome {
    let (mut runs, mut least) = (1, Duration::ZERO);
    if input.is_object() {
        runs = input.count("min_runs")?.max(1);
        let seconds = input.number("min_seconds")?;
        least = Duration::try_from_secs_f64(seconds).map_err(|_| expected("min_seconds", "a time", seconds))?;
    }
    let begin = Instant::now();
    let mut nanoseconds = Vec::new();
    loop {
        let start = Instant::now();
        let result = run()?;
        nanoseconds.push(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
        if nanoseconds.len() >= runs && begin.elapsed() >= least {
            let output = report(result);
            return if finite(&output) {
                Ok(Answer { output, nanoseconds })
            } else {
                Err("the result has a number that is not finite".into())
            };
        }
    }
}

/// Returns whether all numbers are finite: in JSON the others are `null`.
fn finite(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(values) => values.iter().all(finite),
        Value::Object(fields) => fields.values().all(finite),
        _ => true,
    }
}

/// Answers messages.
pub struct Tool {
    name: &'static str,
    modules: &'static [Module],
    programs: Programs,
}

impl Tool {
    pub fn new(name: &'static str, modules: &'static [Module]) -> Self {
        Self { name, modules, programs: Programs::default() }
    }

    /// Answers all messages, each before the next is read. No message ends it.
    pub fn serve(&mut self, mut messages: impl BufRead, mut answers: impl Write) -> io::Result<()> {
        let mut line = Vec::new();
        while messages.read_until(b'\n', &mut line)? > 0 {
            if !line.trim_ascii().is_empty() {
                writeln!(answers, "{}", self.answer(&line))?;
                answers.flush()?;
            }
            line.clear();
        }
        Ok(())
    }

    fn answer(&mut self, line: &[u8]) -> Value {
        let message: Value = match serde_json::from_slice(line) {
            Ok(message) => message,
            Err(error) => return refusal(&Value::Null, format!("expected a message in JSON: {error}")),
        };
        let id = &message["id"];
        match message["kind"].as_str() {
            Some("start") => json!({ "id": id, "tool": self.name }),
            Some("define") => match self.module(&message) {
                Ok(_) => json!({ "id": id, "success": true }),
                Err(error) => refusal(id, error),
            },
            Some("evaluate") => match self.evaluate(&message) {
                Ok(Answer { output, nanoseconds }) => {
                    let timing = |nanoseconds| json!({ "name": "evaluate", "nanoseconds": nanoseconds });
                    let timings: Vec<Value> = nanoseconds.into_iter().map(timing).collect();
                    json!({ "id": id, "success": true, "output": output, "timings": timings })
                }
                Err(error) => refusal(id, error),
            },
            Some("analysis") => json!({ "id": id }),
            _ => refusal(id, expected("kind", "start, define, evaluate or analysis", &message["kind"])),
        }
    }

    fn module(&self, message: &Value) -> Outcome<&'static Module> {
        let name = message["module"].as_str().ok_or_else(|| expected("module", "a name", &message["module"]))?;
        self.modules.iter().find(|module| module.name == name).ok_or_else(|| format!("unknown module {name:?}"))
    }

    fn evaluate(&mut self, message: &Value) -> Outcome {
        let module = self.module(message)?;
        let name = message["function"].as_str().ok_or_else(|| expected("function", "a name", &message["function"]))?;
        let Some((_, function)) = module.functions.iter().find(|(known, _)| *known == name) else {
            return Err(format!("unknown function {name:?} of the module {}", module.name));
        };
        let name = format!("{}::{name}", module.name);
        let mut call = Call { input: Input::new(&message["input"]), name, programs: &mut self.programs };
        // The evaluations check their input. What they miss is refused here, where it ends a message and not the tool.
        catch_unwind(AssertUnwindSafe(|| function(&mut call))).unwrap_or_else(|panic| Err(words(&*panic)))
    }
}

/// Returns the message of a panic.
fn words(panic: &(dyn Any + Send)) -> String {
    let literal = panic.downcast_ref::<&str>().map(|&text| text.to_string());
    literal.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "an unknown error".into())
}

fn refusal(id: &Value, error: String) -> Value {
    json!({ "id": id, "success": false, "error": error })
}
