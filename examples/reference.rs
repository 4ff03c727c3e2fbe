//! Runs cases that another engine made: values, gradients and training runs in float64.
//!
//! `cargo run --release --example reference -- --help`

mod lesson;
mod training;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use lesson::{Outcome, exit};
use ndarray::{ArrayD, ArrayViewD, IxDyn};
use serde_json::Value;
use tapegrad::data::Npz;
use tapegrad::{AxisRange, KeepDims, Reduction, Shape, Tape, Var};

/// Where the contract of this library differs from PyTorch 2.15 on purpose, and why. A case that differs for `clamp` is
/// measured against the contract instead, and listed.
const DIFFERENCES: [(&str, &str); 2] = [
    ("clamp", "the bounds are inclusive, so that at them the gradient is 1, as it is inside; PyTorch gives 0"),
    ("det", "at a singular matrix the gradient is the matrix of cofactors, which is the derivative; PyTorch gives 0"),
];

/// Compare with cases in the form: index.json with id, family, op, attrs, inputs, grads, kink, note; cases/FAMILY.npz with
/// ID_in0…, ID_out, ID_cot, ID_grad0…; training/index.json and training.npz.
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
    by_contract: Vec<String>,
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
    run_cases(directory, &mut report)?;
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
    println!("measured against our contract: {}", report.by_contract.join(", "));
    println!("where it differs from PyTorch on purpose:");
    DIFFERENCES.iter().for_each(|(op, why)| println!("  {op}: {why}"));
    if options.json {
        let result = serde_json::json!({
            "cases": cases,
            "passed": passed,
            "failed": report.failed,
            "by_contract": report.by_contract,
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

fn read_json(path: &Path) -> Outcome<Vec<Value>> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: cannot be read: {error}", path.display()))?;
    Ok(serde_json::from_str(&text).map_err(|error| format!("{}: expected a JSON list: {error}", path.display()))?)
}

fn run_cases(directory: &Path, report: &mut Report) -> Outcome {
    let mut families: HashMap<String, Npz> = HashMap::new();
    for case in read_json(&directory.join("index.json"))? {
        let text = |key: &str| case[key].as_str().ok_or_else(|| format!("index.json: a case without {key}: {case}"));
        let (id, family, op) = (text("id")?, text("family")?, text("op")?);
        if !families.contains_key(family) {
            families.insert(family.into(), Npz::open(directory.join(format!("cases/{family}.npz")))?);
        }
        let file = families.get_mut(family).ok_or("a family was just opened")?;
        let mut array = |name: &str| file.array::<f64>(&format!("{id}_{name}"));

        let tape = Tape::new();
        let count = case["inputs"].as_u64().ok_or_else(|| format!("{id}: expected a number of inputs"))?;
        let inputs = (0..count).map(|k| array(&format!("in{k}"))).collect::<tapegrad::Result<Vec<_>>>()?;
        let x: Vec<Var<'_, f64>> = inputs.iter().map(|input| tape.leaf(input)).collect();
        let Some(y) = apply(op, &Attributes { id, values: &case["attrs"] }, &x)? else {
            report.skip(op);
            continue;
        };
        let mut error = distance(y.value(), &array("out")?);
        y.backward_with(array("cot")?);
        for (k, x) in x.iter().enumerate() {
            if case["grads"][k].as_bool() == Some(true) {
                let expected = array(&format!("grad{k}"))?;
                let grad = x.grad().map(|grad| grad.to_owned());
                error =
                    worse(error, distance(grad.unwrap_or_else(|| ArrayD::zeros(expected.raw_dim())).view(), &expected));
            }
        }
        if error > 1e-10
            && op == "clamp"
            && let [x] = x[..]
        {
            let (low, high) = bounds(&case["attrs"]);
            let g = array("cot")?;
            let inside = inputs[0].mapv(|x| f64::from(u8::from(low <= x && x <= high)));
            let grad = x.grad().map(|grad| grad.to_owned()).unwrap_or_else(|| ArrayD::zeros(g.raw_dim()));
            error = worse(distance(y.value(), &array("out")?), distance(grad.view(), &(g * inside)));
            report.by_contract.push(id.into());
        }
        report.add(id, op, error, case["note"].as_str().unwrap_or(""));
    }
    Ok(())
}

/// Returns the bounds of a clamp.
fn bounds(attributes: &Value) -> (f64, f64) {
    let bound = |key: &str, none: f64| attributes[key].as_f64().unwrap_or(none);
    (bound("min", f64::NEG_INFINITY), bound("max", f64::INFINITY))
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

/// Returns the larger error; NaN is none that passes.
fn worse(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::INFINITY } else { a.max(b) }
}

/// The attributes of a case, with a message for what is missing.
struct Attributes<'a> {
    id: &'a str,
    values: &'a Value,
}

impl Attributes<'_> {
    fn expect<R>(&self, key: &str, value: Option<R>) -> Outcome<R> {
        let (id, found) = (self.id, &self.values[key]);
        value.ok_or_else(|| format!("{id}: attribute {key} is not as expected: {found}").into())
    }

    fn number(&self, key: &str) -> Outcome<f64> {
        self.expect(key, self.values[key].as_f64())
    }

    fn axis(&self, key: &str) -> Outcome<isize> {
        self.expect(key, self.values[key].as_i64().map(|axis| axis as isize))
    }

    fn size(&self, key: &str) -> Outcome<usize> {
        self.expect(key, self.values[key].as_u64().map(|size| size as usize))
    }

    /// The axes of a list or a number; all of `rank` if there is none.
    fn axes(&self, rank: usize) -> Outcome<Vec<isize>> {
        match &self.values["axes"] {
            Value::Null => Ok((0..rank as isize).collect()),
            Value::Number(axis) => self.expect("axes", axis.as_i64().map(|axis| vec![axis as isize])),
            Value::Array(axes) => {
                self.expect("axes", axes.iter().map(|axis| axis.as_i64().map(|axis| axis as isize)).collect())
            }
            _ => self.expect("axes", None),
        }
    }

    fn keep(&self) -> KeepDims {
        if self.values["keepdims"].as_bool() == Some(true) { KeepDims::Yes } else { KeepDims::No }
    }

    fn sizes(&self, key: &str) -> Outcome<Vec<usize>> {
        let sizes = self.values[key].as_array();
        let sizes = sizes.and_then(|list| list.iter().map(|size| size.as_u64().map(|size| size as usize)).collect());
        self.expect(key, sizes)
    }

    fn reduction(&self) -> Outcome<Reduction> {
        match self.values["reduction"].as_str() {
            Some("mean") => Ok(Reduction::Mean),
            Some("sum") => Ok(Reduction::Sum),
            _ => self.expect("reduction", None),
        }
    }

    /// An array of nested lists.
    fn nested<E>(&self, key: &str, element: fn(&Value) -> Option<E>) -> Outcome<ArrayD<E>> {
        fn collect<E>(value: &Value, element: fn(&Value) -> Option<E>, into: &mut Vec<E>) -> Option<()> {
            match value {
                Value::Array(list) => list.iter().try_for_each(|value| collect(value, element, into)),
                value => {
                    into.push(element(value)?);
                    Some(())
                }
            }
        }
        let (mut shape, mut inner) = (Vec::new(), &self.values[key]);
        while let Value::Array(list) = inner {
            shape.push(list.len());
            inner = list.first().unwrap_or(&Value::Null);
        }
        let mut elements = Vec::new();
        let collected = collect(&self.values[key], element, &mut elements);
        let array = collected.and_then(|()| ArrayD::from_shape_vec(IxDyn(&shape), elements).ok());
        self.expect(key, array)
    }

    /// The target of a loss, on the tape of the prediction.
    fn target<'t>(&self, x: Var<'t, f64>) -> Outcome<Var<'t, f64>> {
        Ok(x.tape().constant(self.nested("target", Value::as_f64)?))
    }
}

/// Applies an operation by its name in the cases; `None` if there is none such here.
fn apply<'t>(op: &str, a: &Attributes<'_>, x: &[Var<'t, f64>]) -> Outcome<Option<Var<'t, f64>>> {
    let first = *x.first().ok_or_else(|| format!("{}: expected an input", a.id))?;
    let second = || x.get(1).copied().ok_or_else(|| format!("{}: expected a second input", a.id));
    let rank = first.shape().len();
    Ok(Some(match op {
        "add" => first + second()?,
        "sub" => first - second()?,
        "mul" => first * second()?,
        "div" => first / second()?,
        "pow" => first.pow(second()?),
        "maximum" => first.maximum(second()?),
        "minimum" => first.minimum(second()?),
        "atan2" => first.atan2(second()?),
        "hypot" => first.hypot(second()?),
        "neg" => -first,
        "exp" => first.exp(),
        "exp_m1" => first.exp_m1(),
        "ln" | "log" => first.ln(),
        "log1p" => first.ln_1p(),
        "log2" => first.log2(),
        "log10" => first.log10(),
        "sqrt" => first.sqrt(),
        "rsqrt" => first.rsqrt(),
        "square" => first.square(),
        "recip" => first.recip(),
        "abs" => first.abs(),
        "sign" => first.sign(),
        "sin" => first.sin(),
        "cos" => first.cos(),
        "tan" => first.tan(),
        "asin" => first.asin(),
        "acos" => first.acos(),
        "atan" => first.atan(),
        "sinh" => first.sinh(),
        "cosh" => first.cosh(),
        "tanh" => first.tanh(),
        "asinh" => first.asinh(),
        "acosh" => first.acosh(),
        "atanh" => first.atanh(),
        "sigmoid" => first.sigmoid(),
        "log_sigmoid" => first.log_sigmoid(),
        "relu" => first.relu(),
        "leaky_relu" => first.leaky_relu(a.number("slope")?),
        "elu" => first.elu(a.number("alpha")?),
        "softplus" => first.softplus(),
        "silu" => first.silu(),
        "gelu" => first.gelu(),
        "gelu_tanh" => first.gelu_tanh(),
        "erf" => first.erf(),
        "erfc" => first.erfc(),
        "powf" => first.powf(a.number("exponent")?),
        "clamp" => {
            let (low, high) = bounds(a.values);
            first.clamp(low, high)
        }
        "matmul" => first.matmul(second()?),
        "sum" => first.sum_axes(a.axes(rank)?, a.keep()),
        "mean" => first.mean_axes(a.axes(rank)?, a.keep()),
        "prod" => first.prod_axes(a.axes(rank)?, a.keep()),
        "max" => first.max_axes(a.axes(rank)?, a.keep()),
        "min" => first.min_axes(a.axes(rank)?, a.keep()),
        "norm" => first.norm_axes(a.axes(rank)?, a.keep()),
        "logsumexp" => first.logsumexp_axes(a.axes(rank)?, a.keep()),
        "var" => first.var_axes(a.axes(rank)?, a.size("ddof")?, a.keep()),
        "std" => first.std_axes(a.axes(rank)?, a.size("ddof")?, a.keep()),
        "cumsum" => first.cumsum(a.axis("axis")?),
        "softmax" => first.softmax(a.axis("axis")?),
        "log_softmax" => first.log_softmax(a.axis("axis")?),
        "reshape" => first.reshape(Shape::from(&*a.sizes("shape")?)),
        "broadcast_to" => first.broadcast_to(Shape::from(&*a.sizes("shape")?)),
        "permute" => first.permute(a.axes(rank)?),
        "transpose" => first.transpose(),
        "squeeze" => first.squeeze(a.axis("axis")?),
        "expand_dims" => first.expand_dims(a.axis("axis")?),
        "concat" => Var::concat(x, a.axis("axis")?),
        "stack" => Var::stack(x, a.axis("axis")?),
        "slice" => {
            let ranges = a.expect("ranges", a.values["ranges"].as_array())?;
            let end = |value: &Value| value.as_i64().map(|end| end as isize);
            let range = |r: &Value| AxisRange::new(end(&r[0]), end(&r[1]), end(&r[2]).unwrap_or(1));
            first.slice_axes(ranges.iter().map(range).collect::<Vec<_>>())
        }
        "flip" => first.flip(a.axes(rank)?),
        "pad" => {
            let pads = a.expect("pads", a.values["pads"].as_array())?;
            let pair = |pad: &Value| Some((pad[0].as_u64()? as usize, pad[1].as_u64()? as usize));
            first.pad(a.expect("pads", pads.iter().map(pair).collect::<Option<Vec<_>>>())?, a.number("value")?)
        }
        "index_select" => first.index_select(a.axis("axis")?, &a.sizes("indices")?),
        "gather" => {
            let indices = a.nested("indices", |index| index.as_u64().map(|index| index as usize))?;
            first.gather(a.axis("axis")?, &indices)
        }
        "diag" => first.diag(),
        "tril" => first.tril(a.axis("k")?),
        "triu" => first.triu(a.axis("k")?),
        "tile" => first.tile(a.sizes("reps")?),
        "where" => Var::select(&a.nested("mask", Value::as_bool)?, first, second()?),
        "mse" => first.mse_loss(a.target(first)?, a.reduction()?),
        "l1" => first.l1_loss(a.target(first)?, a.reduction()?),
        "huber" => first.huber_loss(a.target(first)?, a.number("delta")?, a.reduction()?),
        "cross_entropy" if a.values["labels"].is_array() => {
            first.cross_entropy_labels(&a.sizes("labels")?, a.reduction()?)
        }
        "cross_entropy" => first.cross_entropy(a.target(first)?, a.reduction()?),
        "nll" => first.nll_loss(&a.sizes("labels")?, a.reduction()?),
        "binary_cross_entropy" => first.binary_cross_entropy(a.target(first)?, a.reduction()?),
        "binary_cross_entropy_with_logits" => first.binary_cross_entropy_with_logits(a.target(first)?, a.reduction()?),
        "hinge" => first.hinge_loss(a.target(first)?, a.reduction()?),
        "perceptron" => first.perceptron_loss(a.target(first)?, a.reduction()?),
        "kl_div" => first.kl_div(a.target(first)?, a.reduction()?),
        "course_cross_entropy" => {
            let reduction = if a.values["reduction"].is_null() { Reduction::Mean } else { a.reduction()? };
            first.course_cross_entropy(a.target(first)?, reduction)
        }
        "conv2d" => first.conv2d(second()?, x.get(2).copied(), a.size("stride")?, a.size("padding")?),
        "max_pool2d" => first.max_pool2d(a.size("kernel")?, a.size("stride")?),
        "avg_pool2d" => first.avg_pool2d(a.size("kernel")?, a.size("stride")?),
        "layer_norm" | "batch_norm" => {
            let bias = *x.get(2).ok_or_else(|| format!("{}: expected a third input", a.id))?;
            let (gain, eps) = (second()?, a.number("eps")?);
            if op == "layer_norm" { first.layer_norm(gain, bias, eps) } else { first.batch_norm(gain, bias, eps) }
        }
        "inv" => first.inv(),
        "det" => first.det(),
        "logdet" => first.logdet(),
        "trace" => first.trace(),
        "solve" => first.solve(second()?),
        "cholesky" => first.cholesky(),
        _ => return Ok(None),
    }))
}
