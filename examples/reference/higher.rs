//! Higher derivatives: Hessians, products with them, Jacobians, derivatives of elementwise operations,
//! penalties on gradients. Each is computed in all the ways that the library has.

use std::path::Path;

use ndarray::{ArrayD, ArrayViewD};
use serde_json::{Value, json};
use tapegrad::data::Npz;
use tapegrad::{KeepDims, Reduction, Tape, Var, transform};

use crate::cases::{Attributes, apply};
use crate::lesson::Outcome;
use crate::{Report, distance, guarded, read_json, worse};

/// The arrays of one entry.
struct Entry<'a> {
    name: &'a str,
    file: &'a mut Npz,
}

impl Entry<'_> {
    fn array(&mut self, name: &str) -> Outcome<ArrayD<f64>> {
        Ok(self.file.array(&format!("{}.{name}", self.name))?)
    }

    /// Returns the arrays `p0`, `p1`, … of a network's four parameters, or of something that goes with each.
    fn four(&mut self, prefix: &str) -> Outcome<Vec<ArrayD<f64>>> {
        (0..4).map(|k| self.array(&format!("{prefix}{k}"))).collect()
    }

    fn has(&self, name: &str) -> bool {
        let name = format!("{}.{name}", self.name);
        self.file.names().iter().any(|known| known.trim_end_matches(".npy") == name)
    }

    /// Returns how far a result is from the array of this name.
    fn compare(&mut self, name: &str, found: ArrayViewD<'_, f64>) -> Outcome<f64> {
        Ok(distance(found, &self.array(name)?))
    }
}

/// Runs all entries of a directory.
pub fn run(directory: &Path, report: &mut Report) -> Outcome {
    let mut file = Npz::open(directory.join("higher.npz"))?;
    for entry in read_json(&directory.join("index.json"))? {
        let text =
            |key: &str| entry[key].as_str().ok_or_else(|| format!("higher/index.json: expected a {key}: {entry}"));
        let (name, kind) = (text("name")?, text("kind")?);
        let mut arrays = Entry { name, file: &mut file };
        let error = guarded(|| match kind {
            "hessian" => hessian(&mut arrays),
            "jacobian" => jacobian(&mut arrays),
            "derivatives" => derivatives(&mut arrays),
            "hvp" => network_hvp(&mut arrays),
            kind if kind.contains("penalty") => penalty(&mut arrays),
            _ => Ok(None),
        });
        let op = format!("higher: {kind}");
        match error {
            _ if kind == "constant" => {} // an array that others use
            Ok(Some(error)) => report.add(name, &op, error, entry["note"].as_str().unwrap_or("")),
            Ok(None) => report.skip(&format!("higher: {name} ({kind})")),
            Err(why) => report.refuse(name, &op, &why.to_string()),
        }
    }
    Ok(())
}

/// Returns the error of value, gradient, Hessian and Hessian-vector product of a function of one array.
fn hessian(entry: &mut Entry<'_>) -> Outcome<Option<f64>> {
    type Function = Box<dyn for<'t> Fn(Var<'t, f64>) -> Var<'t, f64>>;
    let f: Function = match entry.name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '_') {
        "rosenbrock" => Box::new(|x| {
            let (low, high) = (x.slice(0, ..x.shape()[0] - 1), x.slice(0, 1..));
            ((high - low.square()).square() * 100.0 + (1.0 - low).square()).sum()
        }),
        "logsumexp" => Box::new(|x| x.logsumexp()),
        "quadratic" => {
            let matrix: ArrayD<f64> = entry.file.array("quadratic_matrix.a")?;
            Box::new(move |x| x.matmul(x.tape().constant(&matrix).matmul(x)))
        }
        _ => return Ok(None),
    };
    let (x, v) = (entry.array("x")?, entry.array("v")?);
    let (value, gradient) = transform::value_and_grad(&f, &x);
    let hessian = transform::hessian(&f, &x);
    let hvp = transform::hvp(&f, &x, &v);
    // Forward over reverse, on a tape.
    let tape = Tape::new();
    let (leaf, along) = (tape.leaf(&x), tape.constant(&v));
    let pushed = f(leaf).hvp(&[leaf], &[along])[0];
    let mut error = entry.compare("value", ArrayD::from_elem(vec![], value).view())?;
    for (name, found) in
        [("gradient", gradient.view()), ("hessian", hessian.view()), ("hvp", hvp.view()), ("hvp", pushed.value())]
    {
        error = worse(error, entry.compare(name, found)?);
    }
    Ok(Some(error))
}

/// An operation on one array, with the attributes that an entry leaves unsaid.
struct Operation<'a> {
    name: &'a str,
    attributes: Value,
}

impl<'a> Operation<'a> {
    /// Returns the operation that an entry is named after, as `jacobian_softmax`. Another name is `None`.
    fn of(entry: &'a str, x: &ArrayD<f64>) -> Outcome<Option<Self>> {
        let Some((_, name)) = entry.split_once('_') else { return Ok(None) };
        let attributes = json!({ "axis": -1, "axes": null, "ddof": 0, "k": 0, "slope": 0.01, "alpha": 1.0 });
        let operation = Self { name, attributes };
        let tape = Tape::new();
        Ok(operation.apply(tape.constant(x))?.is_some().then_some(operation))
    }

    fn apply<'t>(&self, x: Var<'t, f64>) -> Outcome<Option<Var<'t, f64>>> {
        apply(self.name, &Attributes { id: self.name, values: &self.attributes }, &[x])
    }

    fn record<'t>(&self, x: Var<'t, f64>) -> Var<'t, f64> {
        self.apply(x).ok().flatten().expect("the operation has been applied to this array before")
    }
}

/// Returns the error of value and Jacobian of the operation that the entry is named after.
fn jacobian(entry: &mut Entry<'_>) -> Outcome<Option<f64>> {
    let x = entry.array("x")?;
    let Some(operation) = Operation::of(entry.name, &x)? else { return Ok(None) };
    let jacobian = transform::jacobian(|x| operation.record(x), &x);
    let mut error = entry.compare("jacobian", jacobian.view())?;
    // The same by columns, forward.
    let mut columns = ArrayD::zeros(jacobian.raw_dim());
    for k in 0..x.len() {
        let mut unit = ArrayD::zeros(x.raw_dim());
        unit.iter_mut().skip(k).take(1).for_each(|element| *element = 1.0);
        let (value, pushed) = transform::jvp(|x| operation.record(x), &x, &unit);
        error = worse(error, entry.compare("value", value.view())?);
        columns.iter_mut().skip(k).step_by(x.len()).zip(&pushed).for_each(|(to, from)| *to = *from);
    }
    Ok(Some(worse(error, entry.compare("jacobian", columns.view())?)))
}

/// Returns the error of the value and the derivatives `d0`, `d1`, … of the operation that the entry is named after.
fn derivatives(entry: &mut Entry<'_>) -> Outcome<Option<f64>> {
    let x = entry.array("x")?;
    let Some(operation) = Operation::of(entry.name, &x)? else { return Ok(None) };
    let tape = Tape::new();
    let leaf = tape.leaf(&x);
    let one = tape.constant(ArrayD::ones(x.raw_dim()));
    let y = operation.record(leaf);
    // Backward, and forward: of an elementwise operation the Jacobian is diagonal.
    let (mut backward, mut forward) = (y, y);
    let mut error = entry.compare("d0", y.value())?;
    for order in (1..).map(|order| format!("d{order}")).take_while(|name| entry.has(name)).collect::<Vec<_>>() {
        backward = backward.sum().grad_wrt(leaf);
        forward = forward.jvp(&[leaf], &[one]);
        error = worse(error, entry.compare(&order, backward.value())?);
        error = worse(error, entry.compare(&order, forward.value())?);
    }
    Ok(Some(error))
}

/// Records the outputs of the network `tanh(x w1 + b1) w2 + b2`.
fn network<'t>(x: Var<'t, f64>, p: &[Var<'t, f64>]) -> Var<'t, f64> {
    (x.matmul(p[0]) + p[1]).tanh().matmul(p[2]) + p[3]
}

/// Returns the error of loss, gradients and Hessian-vector product of a network.
fn network_hvp(entry: &mut Entry<'_>) -> Outcome<Option<f64>> {
    if !["labels", "p3", "v3", "g3", "hv3"].iter().all(|name| entry.has(name)) {
        return Ok(None);
    }
    let labels: Vec<usize> = entry.array("labels")?.iter().map(|&label| label as usize).collect();
    let tape = Tape::new();
    let x = tape.constant(entry.array("x")?);
    let p: Vec<Var<'_, f64>> = entry.four("p")?.iter().map(|p| tape.leaf(p)).collect();
    let v: Vec<Var<'_, f64>> = entry.four("v")?.iter().map(|v| tape.constant(v)).collect();
    let loss = network(x, &p).cross_entropy_labels(&labels, Reduction::Mean);
    let gradients = loss.grads(&p);
    // Forward over reverse, and reverse over reverse.
    let forward = loss.hvp(&p, &v);
    let along = gradients.iter().zip(&v).map(|(g, v)| (*g * *v).sum()).reduce(|a, b| a + b);
    let reverse = along.expect("there are four gradients").grads(&p);
    let mut error = entry.compare("loss", loss.value())?;
    for k in 0..4 {
        error = worse(error, entry.compare(&format!("g{k}"), gradients[k].value())?);
        error = worse(error, entry.compare(&format!("hv{k}"), forward[k].value())?);
        error = worse(error, entry.compare(&format!("hv{k}"), reverse[k].value())?);
    }
    Ok(Some(error))
}

/// Returns the error of a penalty on the gradient of a network by its input, and of the gradients of that penalty by the
/// network's parameters. Which penalty it is the note says in words; the value tells.
fn penalty(entry: &mut Entry<'_>) -> Outcome<Option<f64>> {
    let Some(value) = ["penalty", "value", "loss"].into_iter().find(|name| entry.has(name)) else { return Ok(None) };
    if !["x", "p0", "p1", "p2", "p3"].iter().all(|name| entry.has(name)) {
        return Ok(None);
    }
    let tape = Tape::new();
    let x = tape.leaf(entry.array("x")?);
    let p: Vec<Var<'_, f64>> = entry.four("p")?.iter().map(|p| tape.leaf(p)).collect();
    let y = network(x, &p);
    let differentiated = if entry.has("labels") {
        let labels: Vec<usize> = entry.array("labels")?.iter().map(|&label| label as usize).collect();
        y.cross_entropy_labels(&labels, Reduction::Mean)
    } else {
        y.sum()
    };
    let g = differentiated.grad_wrt(x);
    let norms = g.norm_axes([1], KeepDims::No);
    let forms = [(norms - 1.0).square().mean(), norms.square().mean(), g.square().sum(), g.square().mean()];
    for form in forms {
        if entry.compare(value, form.value())? > 1e-10 {
            continue;
        }
        let mut error = 0.0;
        for (k, gradient) in form.grads_or_none(&p).into_iter().enumerate() {
            let Some(name) = [format!("g{k}"), format!("grad{k}")].into_iter().find(|name| entry.has(name)) else {
                continue;
            };
            let gradient = gradient.unwrap_or_else(|| p[k] * 0.0);
            error = worse(error, entry.compare(&name, gradient.value())?);
        }
        return Ok(Some(error));
    }
    Ok(None)
}
