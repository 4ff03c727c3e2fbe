//! [`History`]: what a descent saw.

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

/// What a descent saw before the updates of a pass.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Pass {
    /// The number of the pass, from 0; of the result, the number of all passes.
    pub index: usize,
    /// How long the updates before it took together, without the evaluations for this history.
    pub time: Duration,
    /// The loss on the training examples.
    pub train_loss: f64,
    /// The share of training examples that were told apart rightly, if they have classes.
    pub train_accuracy: Option<f64>,
    /// The loss on the test examples, if there are any.
    pub test_loss: Option<f64>,
    /// The share of test examples that were told apart rightly, if they have classes.
    pub test_accuracy: Option<f64>,
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
}

/// Prints losses and accuracies in a line.
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
    pub(super) passes: Vec<Pass>,
    pub(super) result: Pass,
}

impl History {
    /// Returns the passes.
    #[must_use]
    pub fn passes(&self) -> &[Pass] {
        &self.passes
    }

    /// Returns what the descent came to, after its last update.
    #[must_use]
    pub fn result(&self) -> &Pass {
        &self.result
    }

    /// Returns train and test loss of the passes, `(passes, 2)`; NaN where there are no test examples.
    #[must_use]
    pub fn losses(&self) -> Array2<f64> {
        Array2::from_shape_fn((self.passes.len(), 2), |(pass, column)| match column {
            0 => self.passes[pass].train_loss,
            _ => self.passes[pass].test_loss.unwrap_or(f64::NAN),
        })
    }
}

/// A descent that came upon a loss which is no finite number, and stopped.
///
/// The parameters are as they were left: those of [`history`](Self::history)'s last pass are gone, unless the caller
/// kept them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Diverged {
    /// The pass in which it stopped, from 0.
    pub pass: usize,
    /// The loss.
    pub loss: f64,
    /// The passes before it.
    pub history: Vec<Pass>,
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
