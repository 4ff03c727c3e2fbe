//! The network of two layers as PyTorch's users write it: leaves and `backward`, then an optimizer, then a model.

use ndarray::{Array2, ArrayRef2, Axis};
use tapegrad::nn::{Linear, Loss, Model, Module, SoftmaxCrossEntropy};
use tapegrad::optim::{Optimizer, Sgd};
use tapegrad::train::{Examples, Progress, Record, gradient_norms};
use tapegrad::{Param, Tape, Var};

use super::Reported;
use super::layers::{scores, two_axes};
use super::lesson::{self, Activation, Outcome};
use super::task::{Task, Trained};

/// A network's scores and their softmax, recorded.
struct Forward<'t> {
    scores: Var<'t, f64>,
    yhat: Var<'t, f64>,
}

/// Records the network of the task.
fn forward<'t>(task: &Task, tape: &'t Tape<f64>, x: Var<'t, f64>) -> Forward<'t> {
    let scores = scores(task, tape, x);
    Forward { scores, yhat: scores.softmax(-1) }
}

/// Records `L = -1/N Σ_n Σ_k [y ln(ŷ + 1e-16) + (1 - y) ln(1 - ŷ + 1e-16)]` from sum, mul and ln as it stands; or the mean
/// softmax cross-entropy, if the lesson reports that.
fn record_loss<'t>(task: &Task, y: &ArrayRef2<f64>, forward: &Forward<'t>) -> Var<'t, f64> {
    if task.loss == Reported::Softmax {
        return SoftmaxCrossEntropy::new().record(y, forward.scores);
    }
    let (n, yhat) = (y.nrows() as f64, forward.yhat);
    let y = yhat.tape().constant(y);
    -(y * (yhat + 1e-16).ln() + (1.0 - y) * (1.0 - yhat + 1e-16).ln()).sum() / n
}

/// Record, backward, grad, update, zero.
pub fn tape(task: &Task) -> Outcome<Trained> {
    let w = &task.parameters; // leaves: W1, b1, W2, b2
    println!("they are leaves made from the arrays of two-layers: the gradient of each is accumulated in .grad");
    let [x, y] = [task.sets[0].inputs(), task.sets[0].targets()];

    println!("\none pass, step by step:");
    let tape = Tape::new();
    let recorded = forward(task, &tape, tape.constant(x));
    print_rows("ŷ = softmax(f(x W1 + b1) W2 + b2)", &two_axes(recorded.yhat))?;
    let loss = record_loss(task, y, &recorded);
    println!("  loss = {:.6}, recorded as {}", loss.item(), tape.ops().join(", "));
    print_grads("before loss.backward()", w);
    loss.backward();
    print_grads("after it", w);
    let before = w[0].value();
    w[0].set_value(&*w[0].value() - task.epsilon * &*w[0].grad().ok_or("W1 was not reached")?);
    let moved = (&*w[0].value() - &*before).iter().fold(0.0, |most: f64, step| most.max(step.abs()));
    println!("  after W1 -= {:e} W1.grad no element of W1 has moved by more than {moved:.3e}", task.epsilon);
    w[0].set_value((*before).clone()); // the loop below begins where two-layers begins
    w.iter().for_each(Param::zero_grad);
    print_grads("after zero_grad()", w);

    println!("\nthe loop of {} passes:", task.passes);
    let update = |_: &mut Sgd<f64>| {
        for w in w {
            let grad = w.grad().ok_or("a parameter was not reached")?;
            w.set_value(&*w.value() - task.epsilon * &*grad);
            w.zero_grad();
        }
        Ok(())
    };
    let mut sgd = Sgd::new(w, task.epsilon); // only for checkpoints
    let trained = descend(task, |tape, x| forward(task, tape, x), &mut sgd, update)?;
    println!("{}", suffice(task, &trained));
    Ok(trained)
}

/// Answers the documents' question.
fn suffice(task: &Task, trained: &Trained) -> String {
    let [(first, _), (last, accuracy)] = [0, task.passes].map(|k| {
        let curves = &trained.curves;
        (curves.losses[k][0], curves.accuracies[k][1])
    });
    let fall = 100.0 * (first - last) / first;
    let found = format!(
        "the loss fell by {fall:.3} %, from {first:.6} to {last:.6}; {:.1} % of the test digits are right",
        100.0 * accuracy
    );
    match accuracy > 0.9 {
        true => format!("do {} passes suffice? for most digits they do: {found}", task.passes),
        false => format!("do {} passes suffice? no: {found} (more --passes or a larger --epsilon)", task.passes),
    }
}

fn print_rows(what: &str, yhat: &Array2<f64>) -> Outcome {
    let sums = yhat.sum_axis(Axis(1));
    let off = sums.iter().fold(0.0, |off: f64, sum| off.max((sum - 1.0).abs()));
    println!("  {what} has shape {:?}; its first row is {:.6}", yhat.dim(), yhat.row(0));
    println!("  its {} rows sum to 1, within {off:.1e}", sums.len());
    if off < 1e-12 {
        Ok(())
    } else {
        Err(format!("expected rows that sum to 1, found one that is off by {off:e}").into())
    }
}

fn print_grads(when: &str, parameters: &[Param<f64>]) {
    println!("  {when}:");
    for parameter in parameters {
        match parameter.grad() {
            None => println!("    {}.grad = None", parameter.name()),
            Some(grad) => {
                let norm = grad.iter().map(|g| g * g).sum::<f64>().sqrt();
                println!("    {}.grad = array of shape {}, norm {norm:.6}", parameter.name(), parameter.shape());
            }
        }
    }
}

/// The same with an optimizer: step, zero_grad.
pub fn optimizer(task: &Task, momentum: f64) -> Outcome<Trained> {
    let mut sgd = Sgd::new(&task.parameters, task.epsilon).with_momentum(momentum);
    println!("{sgd:?}");
    descend(task, |tape, x| forward(task, tape, x), &mut sgd, step)
}

/// The step of an optimizer.
fn step(sgd: &mut Sgd<f64>) -> Outcome {
    sgd.step();
    sgd.zero_grad();
    Ok(())
}

/// The model that one begins with: `forward` returns its input.
struct Identity;

impl Model<f64> for Identity {
    fn parameters(&self) -> Vec<Param<f64>> {
        Vec::new()
    }

    fn record<'t>(&self, _: &'t Tape<f64>, x: Var<'t, f64>) -> Var<'t, f64> {
        x
    }
}

/// Two linear layers, with relu or another activation between them, that return probabilities.
struct Mlp {
    c1: Linear<f64>,
    c2: Linear<f64>,
    activation: Activation,
}

impl Mlp {
    fn forward<'t>(&self, tape: &'t Tape<f64>, x: Var<'t, f64>) -> Forward<'t> {
        let h = self.activation.record(self.c1.record(tape, x));
        let scores = self.c2.record(tape, h);
        Forward { scores, yhat: scores.softmax(-1) }
    }
}

impl Model<f64> for Mlp {
    fn parameters(&self) -> Vec<Param<f64>> {
        [self.c1.parameters(), self.c2.parameters()].concat()
    }

    fn record<'t>(&self, tape: &'t Tape<f64>, x: Var<'t, f64>) -> Var<'t, f64> {
        self.forward(tape, x).yhat
    }
}

/// The same as a model of one's own.
pub fn module(task: &Task) -> Outcome<Trained> {
    let x = task.sets[1].inputs();
    let same = Identity.call(x) == (**x).clone().into_dyn();
    println!("\nfirst the identity: {} parameters, model(x) == x: {same}", Identity.parameters().len());
    if !same {
        return Err("expected the identity to return its input".into());
    }

    let linear = |k: usize| Linear::from_params(task.parameters[k].clone(), Some(task.parameters[k + 1].clone()));
    let model = Mlp { c1: linear(0), c2: linear(2), activation: task.activation };
    println!("then c1: {}, {:?}, c2: {}, softmax", model.c1.name(), model.activation, model.c2.name());
    print_rows("model(x)", &model.call(x).into_dimensionality()?)?;
    let parameters = model.parameters();
    println!("  model.parameters(): {} arrays, handed to the optimizer", parameters.len());

    let mut sgd = Sgd::new(parameters, task.epsilon);
    descend(task, |tape, x| model.forward(tape, x), &mut sgd, step)
}

/// The loop: record both losses, sweep from the training loss, step.
fn descend(
    task: &Task,
    forward: impl for<'t> Fn(&'t Tape<f64>, Var<'t, f64>) -> Forward<'t>,
    sgd: &mut Sgd<f64>,
    step: impl Fn(&mut Sgd<f64>) -> Outcome,
) -> Outcome<Trained> {
    let mut tape = Tape::new();
    let (first, mut curves) = task.begin(sgd)?;
    let (mut watch, named) = (task.watch(first, Progress::Bar)?, lesson::named(&task.parameters));
    for pass in first..=task.passes {
        task.save(pass, &curves, sgd)?;
        let record = |examples: &Examples<f64>| {
            let forward = forward(&tape, tape.constant(examples.inputs()));
            (record_loss(task, examples.targets(), &forward), forward.yhat)
        };
        let [(loss, yhat), (test_loss, test_yhat)] = [record(&task.sets[0]), record(&task.sets[1])];
        task.check(pass, loss.item())?;
        let yhat = [yhat, test_yhat].map(two_axes);
        let [train_share, test_share] = task.accuracies([&yhat[0], &yhat[1]]);
        curves.push([loss.item(), test_loss.item()], [train_share, test_share]);
        let record = Record::new(pass, loss.item())
            .with_train_accuracy(train_share)
            .with_test_loss(test_loss.item())
            .with_test_accuracy(test_share)
            .with_learning_rate(task.epsilon)
            .with_time(watch.time());
        if pass == task.passes {
            watch.show(record)?;
            return Ok(Trained { curves, watch, yhat });
        }
        loss.backward();
        watch.show(record.with_gradient_norms(gradient_norms(&named)))?;
        step(sgd)?;
        tape.reset();
    }
    Err("expected at least one pass".into())
}
