//! The three descents: batch, stochastic, mini-batch.

use std::fmt;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::examples::Examples;
use super::history::{Diverged, Evaluation, History, Pass};
use super::learner::Learner;
use super::progress::{Bar, Progress};
use crate::data::{Batches, accuracy};
use crate::optim::Optimizer;
use crate::scalar::Scalar;

/// How a descent runs: how many passes, from which seed, what it tells on the way.
///
/// # Example
///
/// ```
/// use std::ops::ControlFlow;
///
/// use ndarray::array;
/// use tapegrad::Param;
/// use tapegrad::nn::{Linear, Mse};
/// use tapegrad::optim::Sgd;
/// use tapegrad::train::{ByHand, Descent, Examples, batch_descent};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let w = Param::new(array![[1.0]]);
/// let mut learner = ByHand::new(Linear::from_params(w.clone(), None), Mse::new());
/// let examples = Examples::new(array![[1.0]], array![[0.0]])?;
///
/// // Halve w, up to a hundred times, but no further than a loss below a hundredth.
/// let enough = |pass: &tapegrad::train::Pass| match pass.train_loss() < 0.01 {
///     true => ControlFlow::Break(()),
///     false => ControlFlow::Continue(()),
/// };
/// let descent = Descent::new(100).on_pass(enough);
/// let history = batch_descent(&mut learner, &mut Sgd::new([&w], 0.25), &examples, None, descent)?;
/// assert_eq!(history.passes().len(), 4); // losses 1, 1/4, 1/16, 1/64
/// assert_eq!(history.result().train_loss(), 1.0 / 256.0);
/// # Ok(())
/// # }
/// ```
pub struct Descent<'a> {
    passes: usize,
    seed: u64,
    progress: Progress,
    on_pass: Option<OnPass<'a>>,
}

type OnPass<'a> = Box<dyn FnMut(&Pass) -> ControlFlow<()> + 'a>;

impl<'a> Descent<'a> {
    /// Returns a descent of this many passes, with seed 0, silent.
    #[must_use]
    pub fn new(passes: usize) -> Self {
        Self { passes, seed: 0, progress: Progress::Silent, on_pass: None }
    }

    /// Returns the descent with another seed of what is drawn at random: examples, or the order of batches.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Returns the descent with something to look at while it runs.
    #[must_use]
    pub fn progress(self, progress: Progress) -> Self {
        Self { progress, ..self }
    }

    /// Returns the descent with a function that is called before the updates of every pass; by [`ControlFlow::Break`] it
    /// ends the descent there and then.
    #[must_use]
    pub fn on_pass(self, on_pass: impl FnMut(&Pass) -> ControlFlow<()> + 'a) -> Self {
        Self { on_pass: Some(Box::new(on_pass)), ..self }
    }
}

impl fmt::Debug for Descent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { passes, seed, progress, .. } = self;
        write!(f, "Descent of {passes} passes, seed {seed}, {progress:?}")
    }
}

/// Trains on all examples at once: a pass is one step along the gradient of the loss on them, their sum or mean as the
/// loss reduces. Nothing is drawn at random.
///
/// # Errors
///
/// [`Diverged`] if the training loss is not finite.
///
/// # Panics
///
/// If the learner does not take the examples.
///
/// # Example
///
/// See [`train`](crate::train).
#[doc(alias("batch gradient descent", "full batch"))]
#[track_caller]
pub fn batch_descent<T: Scalar>(
    learner: &mut (impl Learner<T> + ?Sized),
    optimizer: &mut (impl Optimizer<T> + ?Sized),
    train: &Examples<T>,
    test: Option<&Examples<T>>,
    descent: Descent<'_>,
) -> Result<History, Diverged> {
    let mut run = Run::new(train, test, descent);
    loop {
        // The gradient is on the way to the training loss: a pass that does not come to its step throws it away.
        optimizer.zero_grad();
        let start = Instant::now();
        let loss = learner.accumulate_gradient(train).to_f64();
        let mut time = start.elapsed();
        let seen = Evaluation { loss, accuracy: run.accuracy_of(learner, Set::Train) };
        match run.begin_pass(learner, Some(seen)) {
            Ok(ControlFlow::Continue(())) => {}
            ended => {
                optimizer.zero_grad();
                return ended.map(|_| run.finish());
            }
        }
        let start = Instant::now();
        optimizer.step();
        time += start.elapsed();
        run.time += time;
    }
}

/// Trains on one example at a time, drawn at random with replacement; a pass is as many steps as there are examples.
///
/// # Errors
///
/// [`Diverged`] if a loss is not finite.
///
/// # Panics
///
/// If the learner does not take the examples.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::Param;
/// use tapegrad::nn::{Linear, Mse};
/// use tapegrad::optim::Sgd;
/// use tapegrad::train::{ByHand, Descent, Examples, stochastic_descent};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let w = Param::new(array![[0.0]]);
/// let mut learner = ByHand::new(Linear::from_params(w.clone(), None), Mse::new());
/// let examples = Examples::new(array![[1.0], [-1.0]], array![[3.0], [-3.0]])?; // y = 3 x
/// let history = stochastic_descent(&mut learner, &mut Sgd::new([&w], 0.25), &examples, None, Descent::new(2))?;
/// assert_eq!(w.value()[[0, 0]], 2.8125); // either example halves the error of 3, four times
/// assert_eq!(history.passes().len(), 2);
/// # Ok(())
/// # }
/// ```
#[doc(alias("SGD", "stochastic gradient descent", "online"))]
#[track_caller]
pub fn stochastic_descent<T: Scalar>(
    learner: &mut (impl Learner<T> + ?Sized),
    optimizer: &mut (impl Optimizer<T> + ?Sized),
    train: &Examples<T>,
    test: Option<&Examples<T>>,
    descent: Descent<'_>,
) -> Result<History, Diverged> {
    let mut rng = StdRng::seed_from_u64(descent.seed);
    let mut run = Run::new(train, test, descent);
    let mut batch = None;
    while run.begin_pass(learner, None)?.is_continue() {
        for _ in 0..train.len() {
            run.step(learner, optimizer, &[rng.random_range(0..train.len())], &mut batch)?;
        }
    }
    Ok(run.finish())
}

/// Trains on `size` examples at a time; a pass sees every example once, in random order. Its last batch may be smaller.
///
/// # Errors
///
/// [`Diverged`] if a loss is not finite.
///
/// # Panics
///
/// If `size` is 0, or the learner does not take the examples.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::Param;
/// use tapegrad::nn::{Linear, Mse};
/// use tapegrad::optim::Sgd;
/// use tapegrad::train::{ByHand, Descent, Examples, mini_batch_descent};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let w = Param::new(array![[0.0]]);
/// let mut learner = ByHand::new(Linear::from_params(w.clone(), None), Mse::new());
/// let examples = Examples::new(array![[1.0], [-1.0], [1.0]], array![[3.0], [-3.0], [3.0]])?; // y = 3 x
/// mini_batch_descent(&mut learner, &mut Sgd::new([&w], 0.25), &examples, None, 2, Descent::new(1))?;
/// assert_eq!(w.value()[[0, 0]], 2.25); // two batches, of two and of one, halve the error of 3
/// # Ok(())
/// # }
/// ```
#[doc(alias("minibatch", "mini-batch gradient descent"))]
#[track_caller]
pub fn mini_batch_descent<T: Scalar>(
    learner: &mut (impl Learner<T> + ?Sized),
    optimizer: &mut (impl Optimizer<T> + ?Sized),
    train: &Examples<T>,
    test: Option<&Examples<T>>,
    size: usize,
    descent: Descent<'_>,
) -> Result<History, Diverged> {
    assert!(size > 0, "mini_batch_descent: expected batches of at least 1 example, found a size of 0");
    let mut batches = Batches::new(train.len(), size, descent.seed);
    let mut run = Run::new(train, test, descent);
    let mut batch = None;
    while run.begin_pass(learner, None)?.is_continue() {
        batches.shuffle();
        for rows in batches.iter() {
            run.step(learner, optimizer, rows, &mut batch)?;
        }
    }
    Ok(run.finish())
}

/// A descent under way.
struct Run<'a, T> {
    train: &'a Examples<T>,
    test: Option<&'a Examples<T>>,
    train_labels: Option<Vec<usize>>,
    test_labels: Option<Vec<usize>>,
    descent: Descent<'a>,
    bar: Bar,
    passes: Vec<Pass>,
    /// What the last call of [`begin_pass`](Self::begin_pass) saw.
    now: Option<Pass>,
    /// Spent on updates.
    time: Duration,
}

#[derive(Clone, Copy)]
enum Set {
    Train,
    Test,
}

impl<'a, T: Scalar> Run<'a, T> {
    fn new(train: &'a Examples<T>, test: Option<&'a Examples<T>>, descent: Descent<'a>) -> Self {
        Self {
            train,
            test,
            train_labels: train.labels(),
            test_labels: test.and_then(Examples::labels),
            bar: Bar::new(descent.progress, descent.passes),
            passes: Vec::with_capacity(descent.passes.min(100_000)),
            now: None,
            time: Duration::ZERO,
            descent,
        }
    }

    /// Looks at losses and accuracies, and says whether there is another pass. `train` is what is known of the training
    /// examples already.
    #[track_caller]
    fn begin_pass(
        &mut self,
        learner: &mut (impl Learner<T> + ?Sized),
        train: Option<Evaluation>,
    ) -> Result<ControlFlow<()>, Diverged> {
        let train = train.unwrap_or_else(|| {
            let loss = learner.evaluate(self.train).to_f64();
            Evaluation { loss, accuracy: self.accuracy_of(learner, Set::Train) }
        });
        let index = self.passes.len();
        if !train.loss.is_finite() {
            return Err(self.diverged(index, train.loss));
        }
        let test = self.test.map(|test| {
            let loss = learner.evaluate(test).to_f64();
            Evaluation { loss, accuracy: self.accuracy_of(learner, Set::Test) }
        });
        let pass = Pass::new(index, self.time, train, test);
        self.bar.show(&pass);
        self.now = Some(pass);
        if index == self.descent.passes {
            return Ok(ControlFlow::Break(()));
        }
        if let Some(on_pass) = &mut self.descent.on_pass
            && on_pass(&pass).is_break()
        {
            return Ok(ControlFlow::Break(()));
        }
        self.passes.push(pass);
        Ok(ControlFlow::Continue(()))
    }

    /// Updates by the gradient of the loss on these rows.
    #[track_caller]
    fn step(
        &mut self,
        learner: &mut (impl Learner<T> + ?Sized),
        optimizer: &mut (impl Optimizer<T> + ?Sized),
        rows: &[usize],
        batch: &mut Option<Examples<T>>,
    ) -> Result<(), Diverged> {
        let start = Instant::now();
        self.train.gather(rows, batch);
        let batch = batch.as_ref().expect("gathered");
        optimizer.zero_grad();
        let loss = learner.accumulate_gradient(batch).to_f64();
        if !loss.is_finite() {
            // No step is taken, and none is left to take.
            optimizer.zero_grad();
            return Err(self.diverged(self.passes.len() - 1, loss));
        }
        optimizer.step();
        optimizer.zero_grad();
        self.time += start.elapsed();
        Ok(())
    }

    fn accuracy_of(&self, learner: &(impl Learner<T> + ?Sized), set: Set) -> Option<f64> {
        let labels = match set {
            Set::Train => &self.train_labels,
            Set::Test => &self.test_labels,
        };
        labels.as_ref().map(|labels| accuracy(learner.output(), labels))
    }

    fn diverged(&mut self, pass: usize, loss: f64) -> Diverged {
        Diverged::new(pass, loss, std::mem::take(&mut self.passes))
    }

    fn finish(self) -> History {
        let result = self.now.expect("a descent looks at least once");
        History::new(self.passes, result)
    }
}
