//! [`History`]: losses and accuracies of a descent.

use std::fmt;
use std::time::Duration;

use ndarray::Array2;

/// The loss on examples, and the share of those whose largest output is in the column of their class, if the targets are
/// one-hot.
#[derive(Clone, Copy)]
pub(super) struct Evaluation {
    pub(super) loss: f64,
    pub(super) accuracy: Option<f64>,
}

/// Losses and accuracies before the updates of a pass.
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

    /// Returns the number of the pass, from 0. The result of a descent has the number of all passes.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// Returns how long the updates before the pass took together, without the evaluations for this history.
    #[must_use]
    pub fn time(&self) -> Duration {
        self.time
    }

    /// Returns the loss on the training examples.
    #[must_use]
    pub fn train_loss(&self) -> f64 {
        self.train_loss
    }

    /// Returns the share of training examples that were classified correctly, if they have classes.
    #[must_use]
    pub fn train_accuracy(&self) -> Option<f64> {
        self.train_accuracy
    }

    /// Returns the loss on the test examples, if there are any.
    #[must_use]
    pub fn test_loss(&self) -> Option<f64> {
        self.test_loss
    }

    /// Returns the share of test examples that were classified correctly, if they have classes.
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

/// The passes of a descent, each as it was before its updates, and the result.
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
    #[must_use]
    pub fn passes(&self) -> &[Pass] {
        &self.passes
    }

    /// Returns the losses and accuracies after the last update.
    #[must_use]
    pub fn result(&self) -> &Pass {
        &self.result
    }

    /// Returns train and test loss of the passes, `(passes, 2)`. Without test examples the second column is NaN.
    #[must_use]
    pub fn losses(&self) -> Array2<f64> {
        Array2::from_shape_fn((self.passes.len(), 2), |(pass, column)| match column {
            0 => self.passes[pass].train_loss,
            _ => self.passes[pass].test_loss.unwrap_or(f64::NAN),
        })
    }
}

/// A descent that stopped at a loss that is NaN or infinite.
///
/// The parameters keep the values of the last update. Earlier values are gone, unless the caller kept them.
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

    /// Returns the number of the pass that was stopped, from 0.
    #[must_use]
    pub fn pass(&self) -> usize {
        self.pass
    }

    /// Returns the loss, NaN or infinite.
    #[must_use]
    pub fn loss(&self) -> f64 {
        self.loss
    }

    /// Returns the passes with a finite loss.
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
