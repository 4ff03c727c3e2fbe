//! [`Chunks`]: loss and gradient of a batch, chunk by chunk.

use std::convert::Infallible;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use super::rows::Rows;
use super::tree::{Computed, Failure, Kept, Tree};
use crate::blame;
use crate::scalar::Scalar;
use crate::tape::{Seed, Tape, Var};

/// Loss and gradient of a batch, chunk by chunk. See the [module](crate::chunks).
///
/// `S` is the state that a thread keeps from one chunk to the next: a tape, or what a function given to
/// [`by_hand`](Self::by_hand) makes.
///
/// # Example
///
/// Full-batch descent on 1,000 rows. The tape holds 64 of them at a time:
///
/// ```
/// use std::sync::Arc;
///
/// use ndarray::{Array2, array};
/// use tapegrad::Param;
/// use tapegrad::chunks::{Chunks, Rows};
/// use tapegrad::optim::{Optimizer, Sgd};
///
/// let x = Arc::new(Array2::from_shape_fn((1000, 2), |(i, j)| ((i * 7 + j * 3) % 10) as f64 / 10.0));
/// let y = Arc::new(x.dot(&array![[3.0], [-1.0]]));
/// let w = Param::new(array![[0.0], [0.0]]);
/// let (mut chunks, mut sgd) = (Chunks::new(64), Sgd::new([&w], 0.5));
/// for _ in 0..1000 {
///     chunks.accumulate_gradients(Rows::mean(1000), |tape, rows| {
///         let (x, y) = (tape.constant(&x).slice(0, rows.clone()), tape.constant(&y).slice(0, rows));
///         (x.matmul(tape.param(&w)) - y).square().mean()
///     });
///     sgd.step();
///     sgd.zero_grad();
/// }
/// assert!((w.value()[[0, 0]] - 3.0_f64).abs() < 1e-9 && (w.value()[[1, 0]] + 1.0).abs() < 1e-9);
/// ```
pub struct Chunks<T, S = Tape<T>> {
    /// The number of rows in a chunk.
    pub(super) size: usize,
    pub(super) make: Box<dyn Fn() -> S + Send + Sync>,
    pub(super) kept: Kept<T, S>,
}

impl<T: Scalar> Chunks<T> {
    /// Returns chunks of this many rows, recorded on tapes.
    ///
    /// A good size keeps the inputs of a chunk and all that it records in a core's second-level cache: 256 rows of 784
    /// `f32` take 0.8 MB.
    ///
    /// # Panics
    ///
    /// If the size is 0.
    ///
    /// # Example
    ///
    /// See [`Chunks`].
    #[track_caller]
    #[must_use]
    pub fn new(size: usize) -> Self {
        Self::by_hand(size, Tape::new)
    }

    /// Adds the gradient of the total loss by each parameter to the parameter's gradient, and returns the total loss.
    ///
    /// `record` records the loss of a range of rows on the tape that it is given; [`Rows`] says what it returns. The
    /// library sweeps. `record` may run on several threads at once. It should depend on nothing but its arguments and on
    /// values that stay as they are: randomness is drawn from a generator whose seed is made of the row.
    ///
    /// A chunk whose loss is a constant contributes no gradient.
    ///
    /// # Panics
    ///
    /// If a loss has another shape or is on another tape, if no loss depends on a parameter, or if `record` panics. Then
    /// no gradient changes.
    ///
    /// # Example
    ///
    /// See [`Chunks`] and [`Rows`].
    #[doc(alias("gradient accumulation", "micro-batch"))]
    #[track_caller]
    pub fn accumulate_gradients<F>(&mut self, rows: Rows<'_, T>, record: F) -> T
    where
        F: for<'t> Fn(&'t Tape<T>, Range<usize>) -> Var<'t, T> + Sync,
    {
        match self.try_accumulate_gradients(rows, |tape, rows| Ok::<_, Infallible>(record(tape, rows))) {
            Ok(loss) => loss,
            Err(never) => match never {},
        }
    }

    /// Does the same as [`accumulate_gradients`](Self::accumulate_gradients) with a function that may fail, for instance
    /// because it reads its rows from a file.
    ///
    /// # Errors
    ///
    /// The error of the first chunk that fails. No gradient changes.
    ///
    /// # Panics
    ///
    /// Like [`accumulate_gradients`](Self::accumulate_gradients).
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Param;
    /// use tapegrad::chunks::{Chunks, Rows};
    ///
    /// let w = Param::new(array![2.0]);
    /// let result = Chunks::new(1).try_accumulate_gradients(Rows::sum(3), |tape, rows| match rows.start {
    ///     0 => Ok(tape.param(&w).square().sum()),
    ///     row => Err(format!("row {row} is missing")),
    /// });
    /// assert_eq!(result, Err("row 1 is missing".to_string()));
    /// assert!(w.grad().is_none());
    /// ```
    #[track_caller]
    pub fn try_accumulate_gradients<E, F>(&mut self, rows: Rows<'_, T>, record: F) -> Result<T, E>
    where
        E: Send,
        F: for<'t> Fn(&'t Tape<T>, Range<usize>) -> Result<Var<'t, T>, E> + Sync,
    {
        let depends = AtomicBool::new(false);
        let chunk = |tape: &mut Tape<T>, range: Range<usize>| {
            let result = sweep(tape, &rows, range, &record, &depends);
            tape.reset();
            result
        };
        let loss = if (1..=self.size).contains(&rows.count()) {
            // A single chunk has nobody to share the threads with, and its kernels use them. A sweep changes gradients
            // when it is complete, so they need not be collected.
            let computed = self.kept.with_state(&*self.make, |tape| chunk(tape, 0..rows.count()));
            finish(computed.map(|computed| computed.loss))?
        } else {
            self.run(&rows, chunk)?
        };
        assert!(
            depends.into_inner() || rows.count() == 0,
            "accumulate_gradients: expected a loss that depends on a parameter, found a constant in every chunk"
        );
        Ok(loss)
    }
}

impl<T: Scalar, S: Send> Chunks<T, S> {
    /// Returns chunks of this many rows, computed by hand-derived layers.
    ///
    /// `make` makes the state of a thread: layers and losses with buffers of their own. All threads share the
    /// parameters, so `make` builds its layers from clones of the same [`Param`](crate::Param)s.
    ///
    /// # Panics
    ///
    /// If the size is 0.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::{array, s};
    /// use tapegrad::Param;
    /// use tapegrad::chunks::{Chunks, Rows};
    /// use tapegrad::nn::{Linear, Loss, Module, Mse};
    ///
    /// let (x, y) = (array![[1.0], [2.0], [3.0]], array![[0.0], [0.0], [0.0]]);
    /// let w = Param::new(array![[2.0]]);
    /// let weight = w.clone();
    /// let mut chunks = Chunks::by_hand(2, move || (Linear::from_params(weight.clone(), None), Mse::new()));
    /// let loss = chunks.accumulate_by_hand(Rows::mean(3), |(layer, mse), rows| {
    ///     let (x, y) = (x.slice(s![rows.clone(), ..]), y.slice(s![rows, ..]));
    ///     let yhat = layer.forward(&x);
    ///     let loss = mse.forward(&y, yhat); // the mean over the rows of the chunk
    ///     let delta = mse.backward(&y, yhat);
    ///     layer.backward_update_gradient(&x, delta);
    ///     loss
    /// });
    /// assert!((loss - 56.0_f64 / 3.0).abs() < 1e-14); // (2² + 4² + 6²) / 3
    /// assert!((w.grad().unwrap()[[0, 0]] - 56.0 / 3.0).abs() < 1e-14);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn by_hand(size: usize, make: impl Fn() -> S + Send + Sync + 'static) -> Self {
        assert!(size > 0, "Chunks: expected at least 1 row in a chunk, found a size of 0");
        Self { size, make: Box::new(make), kept: Kept::new() }
    }

    /// Returns the number of rows in a chunk.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::chunks::Chunks;
    ///
    /// assert_eq!(Chunks::<f32>::new(256).size(), 256);
    /// ```
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Adds the gradient of the total loss by each parameter to the parameter's gradient, and returns the total loss.
    ///
    /// `pass` runs forward and backward on a range of rows, and returns their loss as one number; [`Rows`] says what that
    /// is. Its layers add the gradient of this very number. The library multiplies both with the share of the chunk in
    /// the total. `pass` may run on several threads at once.
    ///
    /// # Panics
    ///
    /// If `pass` panics. Then no gradient changes.
    ///
    /// # Example
    ///
    /// See [`by_hand`](Self::by_hand).
    #[track_caller]
    pub fn accumulate_by_hand<F>(&mut self, rows: Rows<'_, T>, pass: F) -> T
    where
        F: Fn(&mut S, Range<usize>) -> T + Sync,
    {
        match self.try_accumulate_by_hand(rows, |state, rows| Ok::<_, Infallible>(pass(state, rows))) {
            Ok(loss) => loss,
            Err(never) => match never {},
        }
    }

    /// Does the same as [`accumulate_by_hand`](Self::accumulate_by_hand) with a function that may fail.
    ///
    /// # Errors
    ///
    /// The error of the first chunk that fails. No gradient changes.
    ///
    /// # Panics
    ///
    /// Like [`accumulate_by_hand`](Self::accumulate_by_hand).
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::chunks::{Chunks, Rows};
    ///
    /// let mut chunks = Chunks::<f64, ()>::by_hand(1, || ());
    /// let result = chunks.try_accumulate_by_hand(Rows::sum(3), |(), rows| match rows.start {
    ///     0 => Ok(1.0),
    ///     row => Err(format!("row {row} is missing")),
    /// });
    /// assert_eq!(result, Err("row 1 is missing".to_string()));
    /// ```
    #[track_caller]
    pub fn try_accumulate_by_hand<E, F>(&mut self, rows: Rows<'_, T>, pass: F) -> Result<T, E>
    where
        E: Send,
        F: Fn(&mut S, Range<usize>) -> Result<T, E> + Sync,
    {
        self.run(&rows, |state, range| weigh(&rows, range, |range| pass(state, range)))
    }

    /// Runs all chunks and adds the gradients to those of the parameters.
    #[track_caller]
    fn run<E: Send>(
        &self,
        rows: &Rows<'_, T>,
        chunk: impl Fn(&mut S, Range<usize>) -> Result<Computed<T>, Failure<E>> + Sync,
    ) -> Result<T, E> {
        if rows.count() == 0 {
            return Ok(T::from_f64(rows.empty()));
        }
        let part = Tree::new(&self.kept, &*self.make, self.size, rows.count(), chunk).run();
        finish(part.map(|mut part| {
            part.gradients.accumulate();
            self.kept.give_back(part.gradients);
            part.loss
        }))
    }
}

/// Runs a hand-derived pass on a chunk, and returns its part of the total.
pub(super) fn weigh<T: Scalar, E>(
    rows: &Rows<'_, T>,
    range: Range<usize>,
    pass: impl FnOnce(Range<usize>) -> Result<T, E>,
) -> Result<Computed<T>, Failure<E>> {
    let share = rows.share(&range);
    let loss = if share == 0.0 { T::ZERO } else { pass(range).map_err(Failure::Error)? };
    Ok(Computed { loss: share * loss.to_f64(), scale: T::from_f64(share) })
}

/// Returns the loss, or the user's error.
///
/// # Panics
///
/// If the user's function has a bug.
#[track_caller]
pub(super) fn finish<T: Scalar, E>(loss: Result<f64, Failure<E>>) -> Result<T, E> {
    match loss {
        Ok(loss) => Ok(T::from_f64(loss)),
        Err(Failure::Error(error)) => Err(error),
        Err(Failure::Bug(message)) => panic!("accumulate_gradients: {message}"),
        Err(Failure::Skipped) => panic!("a chunk is skipped only after another one has failed"),
    }
}

/// Records the loss of a chunk, sweeps backward from it, and returns its part of the total.
pub(super) fn sweep<'t, T: Scalar, E>(
    tape: &'t Tape<T>,
    rows: &Rows<'_, T>,
    range: Range<usize>,
    record: impl Fn(&'t Tape<T>, Range<usize>) -> Result<Var<'t, T>, E>,
    depends: &AtomicBool,
) -> Result<Computed<T>, Failure<E>> {
    let (share, count) = (rows.share(&range), range.len());
    if share == 0.0 {
        return Ok(Computed { loss: 0.0, scale: T::ONE });
    }
    let loss = record(tape, range.clone()).map_err(Failure::Error)?;
    if !std::ptr::eq(loss.tape(), tape) {
        return Err(Failure::Bug(format!("the loss of rows {range:?} is on another tape than the one given")));
    }
    let (shape, value) = (loss.shape(), loss.value());
    let (total, seed) = match *shape {
        _ if shape.elements() == 1 => {
            let total = value.iter().map(|loss| share * loss.to_f64()).sum();
            (total, (share != 1.0).then(|| seed(tape, std::iter::once(share))))
        }
        [length] | [length, 1] if length == count => {
            let shares = range.clone().map(|row| rows.share_of_row(row));
            let total = value.iter().zip(shares.clone()).map(|(loss, share)| share * loss.to_f64()).sum();
            (total, Some(seed(tape, shares)))
        }
        _ => {
            return Err(Failure::Bug(format!(
                "expected a loss of one element, or one for each of rows {range:?}, found shape {shape}"
            )));
        }
    };
    if tape.nodes().node(loss.id()).needs_grad {
        depends.store(true, Ordering::Relaxed);
        blame::backward(loss, seed);
    }
    Ok(Computed { loss: total, scale: T::ONE })
}

/// Returns the seed of a sweep in a buffer of the tape.
fn seed<T: Scalar>(tape: &Tape<T>, shares: impl ExactSizeIterator<Item = f64>) -> Seed<T> {
    let mut seed = tape.pool().take(shares.len());
    seed.iter_mut().zip(shares).for_each(|(seed, share)| *seed = T::from_f64(share));
    Seed::Buffer(seed)
}

/// Prints the size.
impl<T, S> fmt::Debug for Chunks<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chunks of {} rows", self.size)
    }
}
