//! [`InChunks`]: a learner that takes its examples chunk by chunk.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use ndarray::{Array2, Axis};

use super::examples::Examples;
use super::learner::Learner;
use crate::chunks::{Chunks, Rows};
use crate::kernel::matrix::shape_to;
use crate::reduction::Reduction;
use crate::scalar::Scalar;

/// A learner that takes its examples [in chunks](crate::chunks): a descent on all of them needs the memory of a few
/// chunks, and with the feature `rayon` the chunks share the [threads](crate::threads).
///
/// Every thread has a learner of its own, [`ByHand`](super::ByHand), [`ByTape`](super::ByTape) or another one. They
/// share the parameters.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::nn::{Linear, Mse};
/// use tapegrad::train::{ByHand, Examples, InChunks, Learner};
/// use tapegrad::{Param, Reduction};
///
/// # fn main() -> tapegrad::Result<()> {
/// let w = Param::new(array![[3.0]]);
/// let weight = w.clone();
/// let make = move || ByHand::new(Linear::from_params(weight.clone(), None), Mse::new());
/// let mut learner = InChunks::new(2, Reduction::Mean, make);
/// let examples = Examples::new(array![[1.0], [2.0], [3.0]], array![[1.0], [6.0], [12.0]])?;
/// let loss: f64 = learner.accumulate_gradient(&examples);
/// assert!((loss - 13.0 / 3.0).abs() < 1e-14); // (2² + 0² + 3²) / 3
/// assert!((w.grad().unwrap()[[0, 0]] + 14.0 / 3.0).abs() < 1e-14); // 2 (2 · 1 + 0 · 2 - 3 · 3) / 3
/// assert_eq!(learner.output(), array![[3.0], [6.0], [9.0]]);
/// # Ok(())
/// # }
/// ```
pub struct InChunks<T, L> {
    /// A learner and memory for the examples of a chunk.
    chunks: Chunks<T, (L, Option<Examples<T>>)>,
    reduction: Reduction,
    output: Array2<T>,
}

impl<T: Scalar, L: Learner<T> + Send> InChunks<T, L> {
    /// Returns a learner that takes `size` examples at a time.
    ///
    /// `make` makes the learner of a thread, from clones of the same [`Param`](crate::Param)s. `reduction` is that of
    /// its loss: a mean over the examples, or a sum.
    ///
    /// # Panics
    ///
    /// If the size is 0, or the reduction is [`Reduction::None`].
    ///
    /// # Example
    ///
    /// See [`InChunks`].
    #[track_caller]
    #[must_use]
    pub fn new(size: usize, reduction: Reduction, make: impl Fn() -> L + Send + Sync + 'static) -> Self {
        let chunks = Chunks::by_hand(size, move || (make(), None));
        Self { chunks, reduction: reduction.to_one_number("InChunks"), output: Array2::default((0, 0)) }
    }

    #[track_caller]
    fn run(&mut self, examples: &Examples<T>, pass: impl Fn(&mut L, &Examples<T>) -> T + Sync) -> T {
        let rows = match self.reduction {
            Reduction::Mean | Reduction::BatchMean => Rows::mean(examples.len()),
            Reduction::OutputMean | Reduction::Sum | Reduction::None => Rows::sum(examples.len()),
        };
        let output = Mutex::new(&mut self.output);
        self.chunks.accumulate_by_hand(rows, |(learner, chunk), rows| {
            let loss = pass(learner, examples.part(rows.clone(), chunk));
            let yhat = learner.output();
            let output = &mut **output.lock().unwrap_or_else(PoisonError::into_inner);
            shape_to(output, (examples.len(), yhat.ncols()));
            output.slice_axis_mut(Axis(0), rows.into()).assign(yhat);
            loss
        })
    }
}

impl<T: Scalar, L: Learner<T> + Send> Learner<T> for InChunks<T, L> {
    fn evaluate(&mut self, examples: &Examples<T>) -> T {
        self.run(examples, |learner, chunk| learner.evaluate(chunk))
    }

    fn accumulate_gradient(&mut self, examples: &Examples<T>) -> T {
        self.run(examples, |learner, chunk| learner.accumulate_gradient(chunk))
    }

    fn output(&self) -> &Array2<T> {
        &self.output
    }
}

impl<T, L> fmt::Debug for InChunks<T, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { chunks, reduction, .. } = self;
        f.debug_struct("InChunks").field("chunks", chunks).field("reduction", reduction).finish_non_exhaustive()
    }
}
