//! The cases of single operations: values, and gradients for a cotangent.

use std::collections::HashMap;
use std::path::Path;

use ndarray::{ArrayD, IxDyn};
use serde_json::Value;
use tapegrad::data::Npz;
use tapegrad::{AxisRange, KeepDims, Reduction, Shape, Tape, Var};

use crate::lesson::Outcome;
use crate::{Report, distance, guarded, read_json, worse};

/// Runs all cases of a directory.
pub fn run(directory: &Path, report: &mut Report) -> Outcome {
    let mut families: HashMap<String, Npz> = HashMap::new();
    for case in read_json(&directory.join("index.json"))? {
        let text = |key: &str| case[key].as_str().ok_or_else(|| format!("index.json: a case without {key}: {case}"));
        let (id, family, op) = (text("id")?, text("family")?, text("op")?);
        let compared = guarded(|| {
            if !families.contains_key(family) {
                families.insert(family.into(), Npz::open(directory.join(format!("cases/{family}.npz")))?);
            }
            compare(&case, id, op, families.get_mut(family).ok_or("a family was just opened")?)
        });
        match compared {
            Ok(Some(error)) => report.add(id, op, error, case["note"].as_str().unwrap_or("")),
            Ok(None) => report.skip(op),
            Err(why) => report.refuse(id, op, &why.to_string()),
        }
    }
    Ok(())
}

/// Returns the largest error of value and gradients of one case; `None` if the operation is not supported.
fn compare(case: &Value, id: &str, op: &str, file: &mut Npz) -> Outcome<Option<f64>> {
    let mut array = |name: &str| file.array::<f64>(&format!("{id}_{name}"));
    let tape = Tape::new();
    let count = case["inputs"].as_u64().ok_or("expected a number of inputs")?;
    let grads = case["grads"].as_array().filter(|grads| grads.len() as u64 == count);
    let wanted = grads.and_then(|grads| grads.iter().map(Value::as_bool).collect::<Option<Vec<_>>>());
    let wanted = wanted.ok_or_else(|| format!("expected grads, true or false for each of {count} inputs"))?;
    let inputs = (0..count).map(|k| array(&format!("in{k}"))).collect::<tapegrad::Result<Vec<_>>>()?;
    let x: Vec<Var<'_, f64>> = inputs.iter().map(|input| tape.leaf(input)).collect();
    let Some(y) = apply(op, &Attributes { id, values: &case["attrs"] }, &x)? else {
        return Ok(None);
    };
    let (out, cot) = (array("out")?, array("cot")?);
    for (name, expected) in [("out", &out), ("cot", &cot)] {
        if *expected.shape() != *y.shape() {
            return Err(format!("expected the shape of {name}, {:?}, found {}", expected.shape(), y.shape()).into());
        }
    }
    let mut error = distance(y.value(), &out);
    y.backward_with(&cot);
    let grad_of = |x: &Var<'_, f64>| x.grad().map_or_else(|| ArrayD::zeros(&*x.shape()), |grad| grad.to_owned());
    for (k, x) in x.iter().enumerate().filter(|&(k, _)| wanted[k]) {
        error = worse(error, distance(grad_of(x).view(), &array(&format!("grad{k}"))?));
    }
    Ok(Some(error))
}

/// Returns the bounds of a clamp.
fn bounds(attributes: &Value) -> (f64, f64) {
    let bound = |key: &str, none: f64| attributes[key].as_f64().unwrap_or(none);
    (bound("min", f64::NEG_INFINITY), bound("max", f64::INFINITY))
}

/// The attributes of a case, with a message for what is missing.
pub struct Attributes<'a> {
    pub id: &'a str,
    pub values: &'a Value,
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

    /// The axes of a list or a number. Without them all axes of `rank`.
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

/// Applies an operation by its name in the cases. One that the library does not have is `None`.
pub fn apply<'t>(op: &str, a: &Attributes<'_>, x: &[Var<'t, f64>]) -> Outcome<Option<Var<'t, f64>>> {
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
            // The cases know it by its mean over the rows.
            let sum = a.values["reduction"].as_str() == Some("sum");
            first.course_cross_entropy(a.target(first)?, if sum { Reduction::Sum } else { Reduction::BatchMean })
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
