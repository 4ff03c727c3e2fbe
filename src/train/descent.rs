//! The three descents: batch, stochastic, mini-batch.

use std::fmt;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use rand::RngExt;

use super::examples::Examples;
use super::history::{Diverged, Evaluation, History, Pass};
use super::learner::Learner;
use super::progress::{Bar, Progress};
use super::record::{Record, gradient_norms};
use crate::data::{Batches, Generator, accuracy};
use crate::optim::Optimizer;
use crate::param::Param;
use crate::scalar::Scalar;

/// The settings of a descent: the number of passes, the seed, the progress shown, and a callback.
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
/// // Halve w, at most a hundred times, until the loss is below a hundredth.
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
    first: usize,
    seed: u64,
    progress: Progress,
    on_pass: Option<OnPass<'a>>,
    on_record: Option<OnRecord<'a>>,
}

type OnPass<'a> = Box<dyn FnMut(&Pass) -> ControlFlow<()> + 'a>;
/// Takes a record, and whether the gradients of its pass are there.
type OnRecord<'a> = Box<dyn FnMut(Record, bool) + 'a>;

impl<'a> Descent<'a> {
    /// Returns a descent of this number of passes, with seed 0, that shows no progress.
    ///
    /// # Example
    ///
    /// See [`Descent`].
    #[must_use]
    pub fn new(passes: usize) -> Self {
        Self { passes, first: 0, seed: 0, progress: Progress::Silent, on_pass: None, on_record: None }
    }

    /// Returns the descent with this seed for the random choice of examples, or the order of batches.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::train::Descent;
    ///
    /// assert_eq!(format!("{:?}", Descent::new(3).seed(7)), "Descent of 3 passes, seed 7, Silent");
    /// ```
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Returns the descent that begins at this pass, because an earlier run made those before it. The random choices are
    /// those that a descent from pass 0 makes there. The history has no passes before this one.
    ///
    /// A run that is resumed in this way takes the same steps as one without interruption, if it has the parameters and
    /// what the optimizer remembers: see `files`.
    ///
    /// # Panics
    ///
    /// When the descent begins, if there are not so many passes.
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
    /// let examples = Examples::new(array![[1.0], [2.0], [3.0]], array![[3.0], [1.0], [2.0]])?;
    /// let run = |parts: &[(usize, usize)]| {
    ///     let w = Param::new(array![[0.0]]);
    ///     let mut learner = ByHand::new(Linear::from_params(w.clone(), None), Mse::new());
    ///     for &(first, end) in parts {
    ///         let descent = Descent::new(end).starting_at(first);
    ///         stochastic_descent(&mut learner, &mut Sgd::new([&w], 0.01), &examples, None, descent)?;
    ///     }
    ///     Ok::<f64, Box<dyn std::error::Error>>(w.value()[[0, 0]])
    /// };
    /// assert_eq!(run(&[(0, 5)])?, run(&[(0, 2), (2, 5)])?);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn starting_at(self, pass: usize) -> Self {
        Self { first: pass, ..self }
    }

    /// Returns the descent with this progress shown.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::train::{Descent, Progress};
    ///
    /// let descent = Descent::new(3).progress(Progress::Silent); // Progress::Bar with the feature `progress`
    /// assert_eq!(format!("{descent:?}"), "Descent of 3 passes, seed 0, Silent");
    /// ```
    #[must_use]
    pub fn progress(self, progress: Progress) -> Self {
        Self { progress, ..self }
    }

    /// Returns the descent with a function that is called before the updates of every pass. [`ControlFlow::Break`] ends
    /// the descent at once.
    ///
    /// # Example
    ///
    /// See [`Descent`].
    #[must_use]
    pub fn on_pass(self, on_pass: impl FnMut(&Pass) -> ControlFlow<()> + 'a) -> Self {
        Self { on_pass: Some(Box::new(on_pass)), ..self }
    }

    /// Returns the descent with a function that is called once for every pass, and once for the result.
    ///
    /// The record of a pass has the losses and accuracies before its updates, the learning rate, and the norms of these
    /// parameters' gradients in the first step of the pass, which is taken at the same parameters. The record of the result
    /// has gradients only in [`batch_descent`], where they come with the loss.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Param;
    /// use tapegrad::nn::{Linear, Mse};
    /// use tapegrad::optim::Sgd;
    /// use tapegrad::train::{ByHand, Descent, Examples, batch_descent};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let w = Param::new(array![[1.0]]);
    /// let mut learner = ByHand::new(Linear::from_params(w.clone(), None), Mse::new());
    /// let examples = Examples::new(array![[1.0]], array![[0.0]])?; // the loss is w², its gradient 2 w
    /// let mut lines = Vec::new();
    /// let descent = Descent::new(1).on_record(&[("w".to_string(), w.clone())], |record| {
    ///     lines.push((record.pass(), record.train_loss(), record.gradient_norms()[0].1));
    /// });
    /// batch_descent(&mut learner, &mut Sgd::new([&w], 0.25), &examples, None, descent)?;
    /// assert_eq!(lines, [(0, 1.0, 2.0), (1, 0.25, 1.0)]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias("callback", "log", "SummaryWriter"))]
    #[must_use]
    pub fn on_record<T: Scalar>(
        self,
        parameters: &[(String, Param<T>)],
        mut on_record: impl FnMut(Record) + 'a,
    ) -> Self {
        let parameters = parameters.to_vec();
        let with_norms = move |record: Record, has_gradients: bool| {
            let norms = if has_gradients { gradient_norms(&parameters) } else { Vec::new() };
            on_record(record.with_gradient_norms(norms));
        };
        Self { on_record: Some(Box::new(with_norms)), ..self }
    }
}

impl fmt::Debug for Descent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { passes, seed, progress, .. } = self;
        write!(f, "Descent of {passes} passes, seed {seed}, {progress:?}")
    }
}

/// Trains on all examples at once, and returns the history. A pass is one step along the gradient of the loss on all of
/// them. Nothing is random.
///
/// # Errors
///
/// [`Diverged`] if the training loss is not finite.
///
/// # Panics
///
/// If the examples do not fit the learner.
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
        // The training loss comes with its gradient. A descent that ends here discards the gradient.
        optimizer.zero_grad();
        let start = Instant::now();
        let loss = learner.accumulate_gradient(train).to_f64();
        let mut time = start.elapsed();
        let evaluation = Evaluation::new(loss, run.accuracy_of(learner, Set::Train));
        match run.begin_pass(learner, Some(evaluation)) {
            Ok(ControlFlow::Continue(())) => run.record(optimizer, true),
            ended => {
                if ended.is_ok() {
                    run.record(optimizer, true);
                }
                optimizer.zero_grad();
                return ended.map(|_| run.finish(optimizer));
            }
        }
        let start = Instant::now();
        optimizer.step();
        time += start.elapsed();
        run.time += time;
    }
}

/// Trains on one example at a time, drawn at random with replacement, and returns the history. The number of steps in a
/// pass is the number of examples.
///
/// # Errors
///
/// [`Diverged`] if a loss is not finite.
///
/// # Panics
///
/// If the examples do not fit the learner.
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
/// assert_eq!(w.value()[[0, 0]], 2.8125); // each of the four steps halves the error of 3
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
    let mut rng = Generator::new(descent.seed);
    let mut draw = move || rng.random_range(0..train.len());
    (0..descent.first * train.len()).for_each(|_| _ = draw());
    let mut run = Run::new(train, test, descent);
    let mut batch = None;
    while run.begin_pass(learner, None)?.is_continue() {
        for _ in 0..train.len() {
            run.step(learner, optimizer, &[draw()], &mut batch)?;
        }
    }
    Ok(run.finish(optimizer))
}

/// Trains on `size` examples at a time, and returns the history. A pass uses every example once, in random order. Its
/// last batch may be smaller.
///
/// # Errors
///
/// [`Diverged`] if a loss is not finite.
///
/// # Panics
///
/// If `size` is 0, or if the examples do not fit the learner.
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
/// assert_eq!(w.value()[[0, 0]], 2.25); // two batches, of two and of one: each halves the error of 3
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
    let mut batches = Batches::new(train.len(), size, descent.seed).resumed_at(descent.first as u64);
    let mut run = Run::new(train, test, descent);
    let mut batch = None;
    while run.begin_pass(learner, None)?.is_continue() {
        batches.shuffle();
        for rows in batches.iter() {
            run.step(learner, optimizer, rows, &mut batch)?;
        }
    }
    Ok(run.finish(optimizer))
}

/// Trains on `size` examples at a time, drawn at random with replacement, and returns the history. A pass takes as many
/// steps as [`mini_batch_descent`], all of `size` examples. It may use an example several times, and another one not at
/// all.
///
/// # Errors
///
/// [`Diverged`] if a loss is not finite.
///
/// # Panics
///
/// If `size` is 0, or if the examples do not fit the learner.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::Param;
/// use tapegrad::nn::{Linear, Mse};
/// use tapegrad::optim::Sgd;
/// use tapegrad::train::{ByHand, Descent, Examples, mini_batch_descent_with_replacement};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let w = Param::new(array![[0.0]]);
/// let mut learner = ByHand::new(Linear::from_params(w.clone(), None), Mse::new());
/// let examples = Examples::new(array![[1.0], [-1.0], [1.0]], array![[3.0], [-3.0], [3.0]])?; // y = 3 x
/// let mut sgd = Sgd::new([&w], 0.25);
/// mini_batch_descent_with_replacement(&mut learner, &mut sgd, &examples, None, 2, Descent::new(1))?;
/// assert_eq!(w.value()[[0, 0]], 2.25); // two batches of two: each halves the error of 3
/// # Ok(())
/// # }
/// ```
#[doc(alias("random(1, N)", "minibatch", "bootstrap"))]
#[track_caller]
pub fn mini_batch_descent_with_replacement<T: Scalar>(
    learner: &mut (impl Learner<T> + ?Sized),
    optimizer: &mut (impl Optimizer<T> + ?Sized),
    train: &Examples<T>,
    test: Option<&Examples<T>>,
    size: usize,
    descent: Descent<'_>,
) -> Result<History, Diverged> {
    let name = "mini_batch_descent_with_replacement";
    assert!(size > 0, "{name}: expected batches of at least 1 example, found a size of 0");
    let mut rng = Generator::new(descent.seed);
    let mut draw = move || rng.random_range(0..train.len());
    (0..descent.first * train.len().div_ceil(size) * size).for_each(|_| _ = draw());
    let mut run = Run::new(train, test, descent);
    let (mut rows, mut batch) = (vec![0; size], None);
    while run.begin_pass(learner, None)?.is_continue() {
        for _ in 0..train.len().div_ceil(size) {
            rows.fill_with(&mut draw);
            run.step(learner, optimizer, &rows, &mut batch)?;
        }
    }
    Ok(run.finish(optimizer))
}

/// A running descent.
struct Run<'a, T> {
    train: &'a Examples<T>,
    test: Option<&'a Examples<T>>,
    train_labels: Option<Vec<usize>>,
    test_labels: Option<Vec<usize>>,
    descent: Descent<'a>,
    bar: Bar,
    passes: Vec<Pass>,
    /// The evaluation by the last call of [`begin_pass`](Self::begin_pass).
    now: Option<Pass>,
    /// Whether there is a record of it.
    recorded: bool,
    /// The time of all updates so far.
    time: Duration,
}

#[derive(Clone, Copy)]
enum Set {
    Train,
    Test,
}

impl<'a, T: Scalar> Run<'a, T> {
    #[track_caller]
    fn new(train: &'a Examples<T>, test: Option<&'a Examples<T>>, descent: Descent<'a>) -> Self {
        let Descent { first, passes, .. } = descent;
        assert!(
            first <= passes,
            "Descent: expected a first pass of at most {passes}, the number of passes, found {first}"
        );
        Self {
            train,
            test,
            train_labels: train.labels(),
            test_labels: test.and_then(Examples::labels),
            bar: Bar::new(descent.progress, descent.passes),
            passes: Vec::with_capacity(descent.passes.min(100_000)),
            now: None,
            recorded: false,
            time: Duration::ZERO,
            descent,
        }
    }

    /// Evaluates losses and accuracies, and returns whether there is another pass. `train` is the evaluation of the
    /// training examples, if there is one already.
    #[track_caller]
    fn begin_pass(
        &mut self,
        learner: &mut (impl Learner<T> + ?Sized),
        train: Option<Evaluation>,
    ) -> Result<ControlFlow<()>, Diverged> {
        let train = train.unwrap_or_else(|| {
            let loss = learner.evaluate(self.train).to_f64();
            Evaluation::new(loss, self.accuracy_of(learner, Set::Train))
        });
        let index = self.descent.first + self.passes.len();
        if !train.loss().is_finite() {
            return Err(self.diverged(index, train.loss()));
        }
        let test = self.test.map(|test| {
            let loss = learner.evaluate(test).to_f64();
            Evaluation::new(loss, self.accuracy_of(learner, Set::Test))
        });
        let pass = Pass::new(index, self.time, train, test);
        self.bar.show(&Record::from(&pass));
        self.now = Some(pass);
        self.recorded = false;
        if index == self.descent.passes {
            return Ok(ControlFlow::Break(()));
        }
        if let Some(on_pass) = &mut self.descent.on_pass
            && self.bar.above(|| on_pass(&pass)).is_break()
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
        let batch = self.train.gather(rows, batch);
        optimizer.zero_grad();
        let loss = learner.accumulate_gradient(batch).to_f64();
        if !loss.is_finite() {
            // No step is taken, and no gradient is left.
            optimizer.zero_grad();
            return Err(self.diverged(self.descent.first + self.passes.len() - 1, loss));
        }
        self.time += start.elapsed();
        self.record(optimizer, true);
        let start = Instant::now();
        optimizer.step();
        optimizer.zero_grad();
        self.time += start.elapsed();
        Ok(())
    }

    /// Hands out the record of the last evaluation, if that was not done.
    fn record(&mut self, optimizer: &(impl Optimizer<T> + ?Sized), has_gradients: bool) {
        if !self.recorded
            && let (Some(on_record), Some(pass)) = (&mut self.descent.on_record, &self.now)
        {
            let record = Record::from(pass).with_learning_rate(optimizer.learning_rate().to_f64());
            self.bar.above(|| on_record(record, has_gradients));
        }
        self.recorded = true;
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

    fn finish(mut self, optimizer: &(impl Optimizer<T> + ?Sized)) -> History {
        self.record(optimizer, false);
        let result = self.now.expect("a descent evaluates at least once");
        History::new(self.passes, result)
    }
}
