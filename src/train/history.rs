//! [`History`]: the losses and accuracies of a descent.

use std::fmt;
use std::time::Duration;

use ndarray::Array2;

/// The loss on examples. If their targets are one-hot, also the accuracy: the fraction of examples whose largest output
/// is in the column of their class.
#[derive(Clone, Copy)]
pub(super) struct Evaluation {
    loss: f64,
    accuracy: Option<f64>,
}

impl Evaluation {
    pub(super) fn new(loss: f64, accuracy: Option<f64>) -> Self {
        Self { loss, accuracy }
    }

    pub(super) fn loss(&self) -> f64 {
        self.loss
    }
}

/// Losses and accuracies before the updates of a pass.
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
/// let (train, test) = (Examples::new(array![[1.0]], array![[0.0]])?, Examples::new(array![[2.0]], array![[0.0]])?);
/// let history = batch_descent(&mut learner, &mut Sgd::new([&w], 0.25), &train, Some(&test), Descent::new(2))?;
///
/// let pass = &history.passes()[1]; // after one step: w = 1/2
/// assert_eq!(pass.index(), 1);
/// assert_eq!((pass.train_loss(), pass.test_loss()), (0.25, Some(1.0)));
/// assert_eq!((pass.train_accuracy(), pass.test_accuracy()), (None, None)); // no classes
/// assert_eq!(pass.to_string(), "train loss 0.250000; test loss 1.000000");
/// assert_eq!(history.result().train_loss(), 0.0625);
/// assert_eq!(history.losses(), array![[1.0, 4.0], [0.25, 1.0]]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pass {
    index: usize,
    time: Duration,
    train_loss: f64,
    train_accuracy: Option<f64>,
    test_loss: Option<f64>,
    test_accuracy: Option<f64>,
}

impl Pass {
    pub(super) fn new(index: usize, time: Duration, train: Evaluation, test: Option<Evaluation>) -> Self {
        Self {
            index,
            time,
            train_loss: train.loss,
            train_accuracy: train.accuracy,
            test_loss: test.map(|test| test.loss),
            test_accuracy: test.and_then(|test| test.accuracy),
        }
    }

    /// Returns the number of passes before this one. For the result it is the number of all passes.
    ///
    /// # Example
    ///
    /// See [`Pass`].
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// Returns the time of all updates before this pass, without the evaluations for this history.
    ///
    /// # Example
    ///
    /// See [`Pass`].
    #[must_use]
    pub fn time(&self) -> Duration {
        self.time
    }

    /// Returns the loss on the training examples.
    ///
    /// # Example
    ///
    /// See [`Pass`].
    #[must_use]
    pub fn train_loss(&self) -> f64 {
        self.train_loss
    }

    /// Returns the fraction of training examples that are classified correctly, if the targets are one-hot.
    ///
    /// # Example
    ///
    /// See [`Pass`].
    #[must_use]
    pub fn train_accuracy(&self) -> Option<f64> {
        self.train_accuracy
    }

    /// Returns the loss on the test examples, if there are any.
    ///
    /// # Example
    ///
    /// See [`Pass`].
    #[must_use]
    pub fn test_loss(&self) -> Option<f64> {
        self.test_loss
    }

    /// Returns the fraction of test examples that are classified correctly, if there are any and the targets are
    /// one-hot.
    ///
    /// # Example
    ///
    /// See [`Pass`].
    #[must_use]
    pub fn test_accuracy(&self) -> Option<f64> {
        self.test_accuracy
    }
}

/// Prints losses and accuracies in one line.
impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent =
            |accuracy: Option<f64>| accuracy.map_or(String::new(), |share| format!(", {:.2} %", 100.0 * share));
        write!(f, "train loss {:.6}{}", self.train_loss, percent(self.train_accuracy))?;
        match self.test_loss {
            Some(loss) => write!(f, "; test loss {loss:.6}{}", percent(self.test_accuracy)),
            None => Ok(()),
        }
    }
}

/// Losses and accuracies of a descent: before the updates of each pass, and at the end.
///
/// # Example
///
/// See [`Pass`].
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    passes: Vec<Pass>,
    result: Pass,
}

impl History {
    pub(super) fn new(passes: Vec<Pass>, result: Pass) -> Self {
        Self { passes, result }
    }

    /// Returns the passes.
    ///
    /// # Example
    ///
    /// See [`Pass`].
    #[must_use]
    pub fn passes(&self) -> &[Pass] {
        &self.passes
    }

    /// Returns the result: losses and accuracies after the last update.
    ///
    /// # Example
    ///
    /// See [`Pass`].
    #[must_use]
    pub fn result(&self) -> &Pass {
        &self.result
    }

    /// Returns the training and the test loss of each pass, `(passes, 2)`. Without test examples the test loss is NaN.
    ///
    /// # Example
    ///
    /// See [`Pass`].
    #[must_use]
    pub fn losses(&self) -> Array2<f64> {
        Array2::from_shape_fn((self.passes.len(), 2), |(pass, column)| match column {
            0 => self.passes[pass].train_loss,
            _ => self.passes[pass].test_loss.unwrap_or(f64::NAN),
        })
    }
}

/// The error of a descent that stopped at a loss of NaN or infinity.
///
/// The parameters are those that gave this loss.
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
/// let examples = Examples::new(array![[1.0]], array![[0.0]])?;
/// let diverged = batch_descent(&mut learner, &mut Sgd::new([&w], 1e200), &examples, None, Descent::new(5)).unwrap_err();
/// assert_eq!(diverged.pass(), 1); // w = 1 - 2e200, whose square is infinite
/// assert_eq!((diverged.loss(), diverged.history().len()), (f64::INFINITY, 1));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Diverged {
    pass: usize,
    loss: f64,
    history: Vec<Pass>,
}

impl Diverged {
    pub(super) fn new(pass: usize, loss: f64, history: Vec<Pass>) -> Self {
        Self { pass, loss, history }
    }

    /// Returns the index of the pass in which the descent stopped.
    ///
    /// # Example
    ///
    /// See [`Diverged`].
    #[must_use]
    pub fn pass(&self) -> usize {
        self.pass
    }

    /// Returns the loss that is not finite.
    ///
    /// # Example
    ///
    /// See [`Diverged`].
    #[must_use]
    pub fn loss(&self) -> f64 {
        self.loss
    }

    /// Returns the passes whose evaluation was finite, the interrupted one included.
    ///
    /// # Example
    ///
    /// See [`Diverged`].
    #[must_use]
    pub fn history(&self) -> &[Pass] {
        &self.history
    }
}

impl fmt::Display for Diverged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the loss is {} at pass {}: stopped", self.loss, self.pass)?;
        match self.history.last() {
            Some(last) => {
                write!(f, " (the last finite one was {:e}; a smaller learning rate may help)", last.train_loss)
            }
            None => Ok(()),
        }
    }
}

impl std::error::Error for Diverged {}
