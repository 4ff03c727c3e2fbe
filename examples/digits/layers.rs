//! One layer and two, trained along the documents' delta `ŷ - y`: by formulas, and by the tape.
//!
//! The loss that these lessons report has another gradient: see the example two_losses.

use std::fmt;
use std::ops::ControlFlow;

use ndarray::{Array1, Array2, ArrayRef2, Axis, Ix1, Ix2};
use tapegrad::nn::{Loss, SoftmaxCrossEntropy};
use tapegrad::optim::Sgd;
use tapegrad::train::{Descent, Examples, Learner, Progress, batch_descent};
use tapegrad::{Param, Reduction, Tape, Var};

use super::lesson::{self, Activation, Half, Outcome};
use super::task::{Task, Trained};
use super::{Gradient, Reduce};

/// Trains the layers of a task.
pub fn train(task: &Task, gradient: Gradient) -> Outcome<Trained> {
    let over = if gradient.reduction == Reduce::Sum { "summed over" } else { "averaged over" };
    println!("the step follows the delta ŷ - y of the scores, {over} the digits; it is the gradient of the softmax");
    println!("cross-entropy, and not of the loss L: the example two_losses shows why");
    let empty = || Array2::default((0, 0));
    match gradient.path {
        Half::Manual => descend(task, &mut Formulas { task, reduction: gradient.reduction, h: empty(), yhat: empty() }),
        Half::Tape => {
            let reduction = match gradient.reduction {
                Reduce::Sum => Reduction::Sum,
                Reduce::Mean => Reduction::Mean,
            };
            let loss = SoftmaxCrossEntropy::new().with_reduction(reduction);
            descend(task, &mut Recorded { task, tape: Tape::new(), loss, yhat: empty() })
        }
    }
}

fn descend(task: &Task, learner: &mut impl Learner<f64>) -> Outcome<Trained> {
    let [train, test] = &task.sets;
    let mut sgd = Sgd::new(&task.parameters, task.epsilon); // w -= ε dL/dw
    let (first, mut curves) = task.begin(&mut sgd)?;
    // The callback cannot reach the optimizer while it works. Without momentum it remembers its learning rate alone.
    let (remembered, mut saved) = (Sgd::new(&task.parameters, task.epsilon), Ok(()));
    let (mut watch, mut watched) = (task.watch(first, Progress::Silent)?, Ok(()));
    let (named, so_far) = (lesson::named(&task.parameters), watch.time());
    let descent = Descent::new(task.passes).starting_at(first).progress(Progress::Bar);
    let descent = descent.on_record(&named, |record| {
        if watched.is_ok() {
            let time = so_far + record.time();
            watched = watch.show(record.with_time(time));
        }
    });
    let descent = descent.on_pass(|pass| {
        saved = task.save(pass.index(), &curves, &remembered);
        curves.append(pass);
        if saved.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    let history = batch_descent(learner, &mut sgd, train, Some(test), descent);
    saved?;
    watched?;
    curves.append(history?.result());
    let yhat = [train, test].map(|examples| {
        learner.evaluate(examples);
        learner.output().clone()
    });
    Ok(Trained { curves, watch, yhat })
}

/// The gradient by formulas on arrays.
struct Formulas<'a> {
    task: &'a Task,
    reduction: Reduce,
    /// The hidden layer's output, `(N, H)`; for one layer the input takes its place.
    h: Array2<f64>,
    /// `(N, K)`.
    yhat: Array2<f64>,
}

impl Learner<f64> for Formulas<'_> {
    fn evaluate(&mut self, examples: &Examples<f64>) -> f64 {
        let (x, p) = (examples.inputs(), &self.task.parameters);
        let z = match p.len() {
            2 => x.dot(&matrix(&p[0])) + vector(&p[1]),
            _ => {
                self.h = activate(self.task.activation, x.dot(&matrix(&p[0])) + vector(&p[1]));
                self.h.dot(&matrix(&p[2])) + vector(&p[3])
            }
        };
        self.yhat = softmax(&z);
        self.task.evaluate_loss(examples.targets(), &z, &self.yhat)
    }

    fn accumulate_gradient(&mut self, examples: &Examples<f64>) -> f64 {
        let loss = self.evaluate(examples);
        let (x, y, p) = (&**examples.inputs(), &**examples.targets(), &self.task.parameters);
        // dL/dz = ŷ - y
        let mut dz = &self.yhat - y;
        if self.reduction == Reduce::Mean {
            dz /= y.nrows() as f64;
        }
        match p.len() {
            2 => accumulate(x, &dz, &p[0], &p[1]),
            _ => {
                accumulate(&self.h, &dz, &p[2], &p[3]);
                // z = h W2 + b2 and h = f(z1): dL/dz1 = (dL/dz W2ᵀ) f'(z1)
                let dh = dz.dot(&matrix(&p[2]).t());
                accumulate(x, &(dh * slope(self.task.activation, &self.h)), &p[0], &p[1]);
            }
        }
        loss
    }

    fn output(&self) -> &Array2<f64> {
        &self.yhat
    }
}

/// Adds the gradients of `z = x W + b`: `dL/dW = xᵀ dL/dz`, and `dL/db` is the sum of the rows of `dL/dz`.
fn accumulate(x: &ArrayRef2<f64>, dz: &Array2<f64>, w: &Param<f64>, b: &Param<f64>) {
    w.accumulate_grad(&x.t().dot(dz).as_standard_layout().into_owned().into_dyn());
    b.accumulate_grad(&dz.sum_axis(Axis(0)).into_dyn());
}

/// `ŷ[n, k] = e^(z[n, k] - m) / Σ_j e^(z[n, j] - m)`, with the largest `z` of the row as `m`: nothing overflows.
fn softmax(z: &Array2<f64>) -> Array2<f64> {
    let mut yhat = z.clone();
    for mut row in yhat.rows_mut() {
        let m = row.fold(f64::NEG_INFINITY, |m, &z| m.max(z));
        row.mapv_inplace(|z| (z - m).exp());
        row /= row.sum();
    }
    yhat
}

fn activate(activation: Activation, z: Array2<f64>) -> Array2<f64> {
    match activation {
        Activation::Tanh => z.mapv_into(f64::tanh),
        Activation::Relu => z.mapv_into(|z| if z > 0.0 { z } else { 0.0 }),
        Activation::Sigmoid => z.mapv_into(|z| 1.0 / (1.0 + (-z).exp())),
    }
}

/// Returns `f'(z)` in terms of `h = f(z)`.
fn slope(activation: Activation, h: &Array2<f64>) -> Array2<f64> {
    match activation {
        Activation::Tanh => h.mapv(|h| 1.0 - h * h),
        Activation::Relu => h.mapv(|h| if h > 0.0 { 1.0 } else { 0.0 }),
        Activation::Sigmoid => h.mapv(|h| h * (1.0 - h)),
    }
}

fn matrix(parameter: &Param<f64>) -> Array2<f64> {
    (*parameter.value()).clone().into_dimensionality::<Ix2>().expect("W is a matrix")
}

fn vector(parameter: &Param<f64>) -> Array1<f64> {
    (*parameter.value()).clone().into_dimensionality::<Ix1>().expect("b is a vector")
}

impl fmt::Debug for Formulas<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Formulas")
    }
}

/// The gradient of the softmax cross-entropy by the tape.
struct Recorded<'a> {
    task: &'a Task,
    tape: Tape<f64>,
    loss: SoftmaxCrossEntropy<f64>,
    yhat: Array2<f64>,
}

impl Recorded<'_> {
    /// Records the scores, calls `finish` with them, and returns the loss that is reported.
    fn run(&mut self, examples: &Examples<f64>, finish: impl FnOnce(&SoftmaxCrossEntropy<f64>, Var<'_, f64>)) -> f64 {
        let z = scores(self.task, &self.tape, self.tape.constant(examples.inputs()));
        self.yhat = two_axes(z.softmax(-1));
        let loss = self.task.evaluate_loss(examples.targets(), &two_axes(z), &self.yhat);
        finish(&self.loss, z);
        self.tape.reset();
        loss
    }
}

impl Learner<f64> for Recorded<'_> {
    fn evaluate(&mut self, examples: &Examples<f64>) -> f64 {
        self.run(examples, |_, _| ())
    }

    fn accumulate_gradient(&mut self, examples: &Examples<f64>) -> f64 {
        self.run(examples, |loss, z| loss.record(examples.targets(), z).backward())
    }

    fn output(&self) -> &Array2<f64> {
        &self.yhat
    }
}

impl fmt::Debug for Recorded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recorded")
    }
}

/// Records the scores of one layer or of two.
pub fn scores<'t>(task: &Task, tape: &'t Tape<f64>, x: Var<'t, f64>) -> Var<'t, f64> {
    let linear = |x: Var<'t, f64>, k: usize| {
        let (w, b) = (tape.param(&task.parameters[k]), tape.param(&task.parameters[k + 1]));
        x.matmul(w) + b
    };
    match task.parameters.len() {
        2 => linear(x, 0),
        _ => linear(task.activation.record(linear(x, 0)), 2),
    }
}

/// Returns a copy of the value of a recorded matrix.
pub fn two_axes(matrix: Var<'_, f64>) -> Array2<f64> {
    matrix.value().to_owned().into_dimensionality::<Ix2>().expect("scores are a matrix")
}
