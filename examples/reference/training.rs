//! Training runs: the losses and the parameters of a small network, step by step.

use std::path::Path;

use ndarray::{ArrayD, IxDyn};
use tapegrad::data::Npz;
use tapegrad::optim::{Optimizer, Sgd};
use tapegrad::{Param, Reduction, Tape};

use crate::lesson::Outcome;
use crate::{Report, distance, read_json, worse};

/// Trains the network of the reference, 200 steps on all samples, by each optimizer that there is.
pub fn run(directory: &Path, report: &mut Report) -> Outcome {
    let mut file = Npz::open(directory.join("training.npz"))?;
    let x = file.array::<f64>("x")?;
    let labels: Vec<usize> = file.array::<f64>("labels")?.iter().map(|&label| label as usize).collect();
    let initial = (0..4).map(|k| file.array::<f64>(&format!("init{k}"))).collect::<tapegrad::Result<Vec<_>>>()?;
    for run in read_json(&directory.join("index.json"))? {
        let name = run["name"].as_str().ok_or("training/index.json: expected a name")?;
        let option = |key: &str| run["options"][key].as_f64().unwrap_or(0.0);
        let plain = ["dampening", "weight_decay"].iter().all(|key| option(key) == 0.0)
            && run["options"]["nesterov"].as_bool() != Some(true);
        if !name.starts_with("sgd") || !plain {
            report.skip(&format!("training: {name}"));
            continue;
        }
        let w: Vec<Param<f64>> = initial.iter().cloned().map(Param::new).collect();
        let mut sgd = Sgd::new(&w, option("lr")).with_momentum(option("momentum"));
        let mut tape = Tape::new();
        let losses = file.array::<f64>(&format!("{name}.loss"))?;
        let (mut error, mut found) = (0.0, Vec::new());
        for step in 1..=losses.len() {
            let [w1, b1, w2, b2] = [0, 1, 2, 3].map(|k| tape.param(&w[k]));
            let scores = (tape.constant(&x).matmul(w1) + b1).tanh().matmul(w2) + b2;
            let loss = scores.cross_entropy_labels(&labels, Reduction::Mean);
            found.push(loss.item());
            sgd.zero_grad();
            loss.backward();
            if step == 1 {
                for (k, w) in w.iter().enumerate() {
                    let grad = w.grad().ok_or("a parameter was not reached")?;
                    error = worse(error, distance(grad.view(), &file.array(&format!("grad{k}"))?));
                }
            }
            sgd.step();
            tape.reset();
            if [1, 10, 200].contains(&step) {
                for (k, w) in w.iter().enumerate() {
                    error = worse(error, distance(w.value().view(), &file.array(&format!("{name}.step{step}.p{k}"))?));
                }
            }
        }
        let found = ArrayD::from_shape_vec(IxDyn(&[found.len()]), found)?;
        report.add(name, "training", worse(error, distance(found.view(), &losses)), "");
    }
    Ok(())
}
