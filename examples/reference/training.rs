//! Training runs and learning rates of another engine: `torch.optim`'s optimizers and schedules by their options.

use std::cell::RefCell;
use std::collections::HashSet;
use std::path::Path;

use ndarray::{ArrayD, IxDyn};
use serde_json::Value;
use tapegrad::data::Npz;
use tapegrad::optim::{Adagrad, Adam, AdamW, Optimizer, RmsProp, Schedule, Sgd};
use tapegrad::{Param, Reduction, Tape};

use crate::lesson::Outcome;
use crate::{Report, distance, read_json, worse};

/// Options that say how PyTorch computes, not what; and where a schedule begins.
const WITHOUT_EFFECT: [&str; 6] = ["capturable", "differentiable", "foreach", "fused", "last_epoch", "verbose"];

/// The start of a training run that all optimizers share.
struct Start {
    x: ArrayD<f64>,
    labels: Vec<usize>,
    w: Vec<ArrayD<f64>>,
}

/// Trains the network of the reference on all samples by each optimizer that there is, and compares schedules.
pub fn run(directory: &Path, report: &mut Report) -> Outcome {
    let mut file = Npz::open(directory.join("training.npz"))?;
    let names: HashSet<String> = file.names().into_iter().collect();
    let start = Start {
        x: file.array("x")?,
        labels: file.array::<f64>("labels")?.iter().map(|&label| label as usize).collect(),
        w: (0..4).map(|k| file.array(&format!("init{k}"))).collect::<tapegrad::Result<_>>()?,
    };
    let mut scheduled = HashSet::new();
    for run in read_json(&directory.join("index.json"))? {
        let name = run["name"].as_str().ok_or("training/index.json: expected a name")?;
        let options = Options { name, values: &run["options"], read: RefCell::default() };
        let rates = format!("lr.{}", name.trim_start_matches("lr."));
        if names.contains(&rates) && !names.contains(&format!("{name}.loss")) {
            let values = learning_rates(&mut file, &rates)?;
            match by_options(&options, &values)? {
                Some(schedule) if options.unread().is_empty() => add_schedule(&rates, &schedule, &values, report),
                Some(_) => skip(&rates, &options.unread(), report),
                None => skip(&rates, &[], report),
            }
            scheduled.insert(rates);
            continue;
        }
        let w: Vec<Param<f64>> = start.w.iter().cloned().map(Param::new).collect();
        match optimizer(&options, &w)? {
            Some(mut optimizer) if options.unread().is_empty() => {
                let error = train(&start, name, &w, &mut *optimizer, &mut file, &names)?;
                report.add(name, "training", error, "");
            }
            Some(_) => skip(name, &options.unread(), report),
            None => skip(name, &[], report),
        }
    }
    // Learning rates without options: the name says the kind of schedule, the first values that show them the numbers.
    let mut others: Vec<_> =
        names.iter().filter(|name| name.starts_with("lr.") && !scheduled.contains(*name)).collect();
    others.sort();
    for name in others {
        let values = learning_rates(&mut file, name)?;
        match by_values(name.trim_start_matches("lr."), values.as_slice().unwrap_or_default()) {
            Some(schedule) => {
                println!("{name}: no options are given; read off its values: {schedule:?}");
                add_schedule(name, &schedule, &values, report);
            }
            None => skip(name, &[], report),
        }
    }
    Ok(())
}

/// Lists a run as not supported, for the options that are not if its kind is.
fn skip(name: &str, unsupported: &[&str], report: &mut Report) {
    match unsupported {
        [] => report.skip(&format!("training: {name}")),
        options => report.skip(&format!("training: {name} with {}", options.join(", "))),
    }
}

/// Returns the largest error of a training run.
fn train(
    start: &Start,
    name: &str,
    w: &[Param<f64>],
    optimizer: &mut dyn Optimizer<f64>,
    file: &mut Npz,
    names: &HashSet<String>,
) -> Outcome<f64> {
    let mut tape = Tape::new();
    let losses = file.array::<f64>(&format!("{name}.loss"))?;
    let (mut error, mut found, mut compared) = (0.0, Vec::new(), 0);
    for step in 1..=losses.len() {
        let [w1, b1, w2, b2] = [0, 1, 2, 3].map(|k| tape.param(&w[k]));
        let scores = (tape.constant(&start.x).matmul(w1) + b1).tanh().matmul(w2) + b2;
        let loss = scores.cross_entropy_labels(&start.labels, Reduction::Mean);
        found.push(loss.item());
        optimizer.zero_grad();
        loss.backward();
        if step == 1 {
            for (k, w) in w.iter().enumerate() {
                let grad = w.grad().ok_or("a parameter was not reached")?;
                error = worse(error, distance(grad.view(), &file.array(&format!("grad{k}"))?));
            }
        }
        optimizer.step();
        tape.reset();
        for (k, w) in w.iter().enumerate() {
            let expected = format!("{name}.step{step}.p{k}");
            if names.contains(&expected) {
                error = worse(error, distance(w.value().view(), &file.array(&expected)?));
                compared += 1;
            }
        }
    }
    let expected = names.iter().filter(|other| other.starts_with(&format!("{name}.step"))).count();
    if compared != expected || compared == 0 {
        return Err(
            format!("training.npz: {name} has {expected} arrays of parameters, {compared} within its losses").into()
        );
    }
    let found = ArrayD::from_shape_vec(IxDyn(&[found.len()]), found)?;
    Ok(worse(error, distance(found.view(), &losses)))
}

/// The options of a run, by PyTorch's names.
struct Options<'a> {
    name: &'a str,
    values: &'a Value,
    /// The keys that were asked for: those that were not are not supported.
    read: RefCell<HashSet<String>>,
}

impl Options<'_> {
    /// Returns an option that is given, and not null.
    fn get(&self, key: &str) -> Option<&Value> {
        self.read.borrow_mut().insert(key.into());
        self.values.get(key).filter(|value| !value.is_null())
    }

    fn expect<R>(&self, key: &str, expected: &str, value: Option<R>) -> Outcome<R> {
        let (name, found) = (self.name, &self.values[key]);
        value.ok_or_else(|| format!("training/index.json: {name}: {key}: expected {expected}, found {found}").into())
    }

    /// Returns a number of at least 0, or PyTorch's default if it is not given.
    fn number(&self, key: &str, otherwise: f64) -> Outcome<f64> {
        let number = |value: &Value| value.as_f64().filter(|&number| number >= 0.0);
        self.get(key).map_or(Ok(otherwise), |value| self.expect(key, "a number of at least 0", number(value)))
    }

    fn steps(&self, key: &str, otherwise: Option<u64>) -> Outcome<usize> {
        let steps = self.get(key).map_or(otherwise, Value::as_u64);
        self.expect(key, "a number of steps from 1", steps.filter(|&steps| steps > 0).map(|steps| steps as usize))
    }

    fn flag(&self, key: &str) -> Outcome<bool> {
        self.get(key).map_or(Ok(false), |value| self.expect(key, "true or false", value.as_bool()))
    }

    /// Returns decay rates: at least 0 and below 1.
    fn rates<const N: usize>(&self, key: &str, otherwise: [f64; N]) -> Outcome<[f64; N]> {
        let Some(value) = self.get(key) else { return Ok(otherwise) };
        let values: Option<Vec<f64>> = match value {
            Value::Array(list) => list.iter().map(Value::as_f64).collect(),
            value => value.as_f64().map(|rate| vec![rate]),
        };
        let rates = values.filter(|rates| rates.iter().all(|rate| (0.0..1.0).contains(rate)));
        self.expect(key, "rates from 0 to below 1", rates.and_then(|rates| rates.try_into().ok()))
    }

    /// Returns the options that nobody asked for.
    fn unread(&self) -> Vec<&str> {
        let keys = self.values.as_object().into_iter().flat_map(|values| values.keys().map(String::as_str));
        let read = self.read.borrow();
        keys.filter(|key| !read.contains(*key) && !WITHOUT_EFFECT.contains(key)).collect()
    }
}

/// Returns the optimizer of these options: of the kind its name begins with, else of that which alone has such an
/// option. An optimizer that the library does not have is `None`.
fn optimizer(options: &Options<'_>, w: &[Param<f64>]) -> Outcome<Option<Box<dyn Optimizer<f64>>>> {
    let named = options.name.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
    let has = |key: &str| options.values.get(key).is_some();
    let kind = match named {
        "sgd" | "adam" | "adamw" | "rmsprop" | "adagrad" => named,
        _ if has("nesterov") => "sgd",
        _ if has("amsgrad") => "adam",
        _ if has("centered") => "rmsprop",
        _ if has("initial_accumulator_value") => "adagrad",
        _ => return Ok(None),
    };
    let lr = options.get("lr").and_then(Value::as_f64).filter(|&lr| lr >= 0.0);
    let lr = options.expect("lr", "a learning rate of at least 0", lr)?;
    let maximize = options.flag("maximize")?;
    let decay = |otherwise| options.number("weight_decay", otherwise);
    Ok(Some(match kind {
        "sgd" => {
            let (momentum, dampening) = (options.number("momentum", 0.0)?, options.number("dampening", 0.0)?);
            let sgd = Sgd::new(w, lr).with_momentum(momentum).with_dampening(dampening).with_weight_decay(decay(0.0)?);
            let nesterov = options.flag("nesterov")?;
            let fits = !nesterov || momentum > 0.0 && dampening == 0.0;
            options.expect("nesterov", "a momentum and no dampening", fits.then_some(()))?;
            let sgd = if nesterov { sgd.with_nesterov() } else { sgd };
            Box::new(if maximize { sgd.with_maximize() } else { sgd })
        }
        "adam" | "adamw" => {
            let ([beta1, beta2], eps) = (options.rates("betas", [0.9, 0.999])?, options.number("eps", 1e-8)?);
            let amsgrad = options.flag("amsgrad")?;
            if options.flag("decoupled_weight_decay")? || kind == "adamw" {
                let adamw = AdamW::new(w, lr).with_betas(beta1, beta2).with_eps(eps);
                let adamw = adamw.with_weight_decay(decay(if kind == "adamw" { 0.01 } else { 0.0 })?);
                let adamw = if amsgrad { adamw.with_amsgrad() } else { adamw };
                Box::new(if maximize { adamw.with_maximize() } else { adamw })
            } else {
                let adam = Adam::new(w, lr).with_betas(beta1, beta2).with_eps(eps).with_weight_decay(decay(0.0)?);
                let adam = if amsgrad { adam.with_amsgrad() } else { adam };
                Box::new(if maximize { adam.with_maximize() } else { adam })
            }
        }
        "rmsprop" => {
            let ([alpha], eps) = (options.rates("alpha", [0.99])?, options.number("eps", 1e-8)?);
            let rms_prop = RmsProp::new(w, lr).with_alpha(alpha).with_eps(eps).with_weight_decay(decay(0.0)?);
            let rms_prop = rms_prop.with_momentum(options.number("momentum", 0.0)?);
            let rms_prop = if options.flag("centered")? { rms_prop.with_centered() } else { rms_prop };
            Box::new(if maximize { rms_prop.with_maximize() } else { rms_prop })
        }
        _ => {
            let (lr_decay, eps) = (options.number("lr_decay", 0.0)?, options.number("eps", 1e-10)?);
            let initial = options.number("initial_accumulator_value", 0.0)?;
            let adagrad = Adagrad::new(w, lr).with_eps(eps).with_weight_decay(decay(0.0)?);
            let adagrad = adagrad.with_learning_rate_decay(lr_decay).with_initial_accumulator(initial);
            Box::new(if maximize { adagrad.with_maximize() } else { adagrad })
        }
    }))
}

/// Reads the learning rates of a schedule.
fn learning_rates(file: &mut Npz, name: &str) -> Outcome<ArrayD<f64>> {
    let values = file.array::<f64>(name)?;
    let fit = values.ndim() == 1 && !values.is_empty() && values.iter().all(|rate| rate.is_finite() && *rate >= 0.0);
    fit.then_some(values).ok_or_else(|| format!("training.npz: {name}: expected a row of finite numbers from 0").into())
}

/// Compares a schedule's learning rates, as parts of the largest.
fn add_schedule(name: &str, schedule: &Schedule, expected: &ArrayD<f64>, report: &mut Report) {
    let largest = expected.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let found: Vec<f64> = (0..expected.len()).map(|step| schedule.at(step) / largest).collect();
    let error = ArrayD::from_shape_vec(IxDyn(&[found.len()]), found)
        .map_or(f64::INFINITY, |found| distance(found.view(), &(expected / largest)));
    report.add(name, "schedule", error, "");
}

/// Returns the schedule of these options. One that the library does not have is `None`. What PyTorch needs and is not given is
/// taken from the values: the learning rate at the start.
fn by_options(options: &Options<'_>, values: &ArrayD<f64>) -> Outcome<Option<Schedule>> {
    let name = options.name.trim_start_matches("lr.");
    let has = |key: &str| options.values.get(key).is_some();
    let first = values.first().copied().unwrap_or_default();
    let start_factor = options.number("start_factor", 1.0 / 3.0)?;
    let lr = ["lr", "base_lr", "initial_lr"].into_iter().find(|&key| has(key));
    let lr = match lr {
        Some(key) => options.number(key, first)?,
        None if has("start_factor") && start_factor > 0.0 => first / start_factor,
        None => first,
    };
    let kind = kind(name).unwrap_or("");
    Ok(Some(if has("milestones") {
        let milestones = options.get("milestones").and_then(Value::as_array);
        let milestones = milestones.map(|list| list.iter().map(|at| at.as_u64().map(|at| at as usize)).collect());
        let milestones: Vec<usize> = options.expect("milestones", "a list of steps", milestones.flatten())?;
        Schedule::multi_step(lr, milestones, options.number("gamma", 0.1)?)
    } else if has("step_size") {
        Schedule::step(lr, options.steps("step_size", None)?, options.number("gamma", 0.1)?)
    } else if has("T_max") {
        Schedule::cosine(lr, options.steps("T_max", None)?, options.number("eta_min", 0.0)?)
    } else if has("start_factor") || has("total_iters") && kind == "linear" {
        let end_factor = options.number("end_factor", 1.0)?;
        Schedule::linear(lr, start_factor, end_factor, options.steps("total_iters", Some(5))?)
    } else if has("gamma") && kind == "exponential" {
        Schedule::exponential(lr, options.number("gamma", 1.0)?)
    } else {
        return Ok(None);
    }))
}

/// Returns the kind of schedule that a name stands for by its first word, if none of the others is a kind too.
fn kind(name: &str) -> Option<&'static str> {
    let name = name.to_lowercase().replace("multi_", "multi").replace("warm_", "warm").replace("_lr", "");
    let of_word = |word: &str| match word {
        "step" => Some("step"),
        "multistep" => Some("multistep"),
        "exponential" | "exp" => Some("exponential"),
        "cosine" | "cosineannealing" => Some("cosine"),
        "linear" | "warmup" => Some("linear"),
        _ => None,
    };
    let mut words = name.split(|c: char| !c.is_ascii_alphabetic());
    let kind = of_word(words.next()?)?;
    words.all(|word| of_word(word).is_none()).then_some(kind)
}

/// Returns the schedule of this kind whose numbers are read off the first of its values that show them; the others
/// are what a comparison then tests. `None` if the kind is unknown or the values show no such schedule.
fn by_values(name: &str, r: &[f64]) -> Option<Schedule> {
    let first = *r.first()?;
    // Rates that are computed by steps differ in their last bits where they are meant to be equal.
    let changes: Vec<usize> = (1..r.len()).filter(|&t| (r[t] - r[t - 1]).abs() > 1e-12 * r[t - 1]).collect();
    let ratio = |t: usize| r[t] / r[t - 1];
    match kind(name)? {
        "step" => changes.first().map(|&t| Schedule::step(first, t, ratio(t))),
        "multistep" => {
            // A milestone may count more than once: the smallest change is that of one.
            let gamma = changes.iter().map(|&t| ratio(t)).min_by(|a, b| a.ln().abs().total_cmp(&b.ln().abs()))?;
            let times = |t: usize| (ratio(t).ln() / gamma.ln()).round() as usize;
            let milestones = changes.iter().flat_map(|&t| std::iter::repeat_n(t, times(t).min(r.len())));
            Some(Schedule::multi_step(first, milestones.collect::<Vec<_>>(), gamma))
        }
        "exponential" => Some(Schedule::exponential(first, r.get(1)? / first)),
        "cosine" => {
            // With θ = π / T: r₀ - r₁ = a (1 - cos θ) and r₀ - r₂ = a (1 - cos 2θ) = 2 (r₀ - r₁)(1 + cos θ).
            let (one, two) = (first - r.get(1)?, first - r.get(2)?);
            let steps = (std::f64::consts::PI / (two / one / 2.0 - 1.0).acos()).round();
            let a = one / (1.0 - (std::f64::consts::PI / steps).cos());
            let fits = (1.0..1e6).contains(&steps) && a.is_finite();
            fits.then(|| Schedule::cosine(first, steps as usize, (first - 2.0 * a).max(0.0)))
        }
        _ => {
            let (last, &reached) = (*r.last()?, changes.last()?);
            let largest = first.max(last);
            Some(Schedule::linear(largest, first / largest, last / largest, reached))
        }
    }
}
