//! [`Rows`]: the rows of a batch, and how their losses become one number.

use std::ops::Range;

use crate::number::Classify;
use crate::scalar::Scalar;

/// The rows of a batch, and how their losses become one number.
///
/// It says what one chunk's loss means, so that the chunk's share of the total comes out right, also for a smaller last
/// chunk. The loss of a chunk has one element, or one for each row of the chunk, of shape `(rows,)` or `(rows, 1)`:
///
/// | | total of losses `l` | a chunk's loss of one element is |
/// |---|---|---|
/// | [`Rows::mean`] | `1/n Σ l` | the mean over its rows, as losses return by default |
/// | [`Rows::sum`] | `Σ l` | the sum over its rows |
/// | [`Rows::weighted`] | `Σ w l / Σ w` | the weighted mean over its rows |
///
/// A loss with one element for each row contains no mean, sum or weight yet.
///
/// # Example
///
/// ```
/// use ndarray::{Array1, array};
/// use tapegrad::Param;
/// use tapegrad::chunks::{Chunks, Rows};
///
/// let (x, w) = (array![1.0, 2.0, 6.0], Param::new(array![1.0]));
/// let mut total = |rows: Rows<'_, f64>| {
///     // One loss for each row.
///     Chunks::new(2).accumulate_gradients(rows, |tape, rows| tape.constant(x.slice(ndarray::s![rows])) * tape.param(&w))
/// };
/// assert_eq!(total(Rows::mean(3)), 3.0);
/// assert_eq!(total(Rows::sum(3)), 9.0);
/// assert_eq!(total(Rows::weighted(&[1.0, 2.0, 1.0])), 2.75); // (1 + 2 · 2 + 6) / 4
/// assert_eq!(w.grad().unwrap()[[0]], 3.0 + 9.0 + 2.75);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Rows<'w, T> {
    count: usize,
    total: Total<'w, T>,
}

#[derive(Clone, Copy, Debug)]
enum Total<'w, T> {
    Mean,
    Sum,
    Weighted { weights: &'w [T], sum: f64 },
}

impl<'w, T: Scalar> Rows<'w, T> {
    /// Returns `count` rows; the total is the mean of their losses, NaN if there is no row.
    ///
    /// # Example
    ///
    /// See [`Rows`].
    #[must_use]
    pub fn mean(count: usize) -> Self {
        Self { count, total: Total::Mean }
    }

    /// Returns `count` rows; the total is the sum of their losses, 0 if there is no row.
    ///
    /// # Example
    ///
    /// See [`Rows`].
    #[must_use]
    pub fn sum(count: usize) -> Self {
        Self { count, total: Total::Sum }
    }

    /// Returns one row for each weight; the total is the mean of the losses with these weights.
    ///
    /// A chunk whose weights are all 0 is not computed.
    ///
    /// # Panics
    ///
    /// If a weight is not a finite number of at least 0, or if all are 0.
    ///
    /// # Example
    ///
    /// ```should_panic
    /// use tapegrad::chunks::Rows;
    ///
    /// let _ = Rows::weighted(&[1.0, -1.0]); // Rows::weighted: weight 1 is -1, expected a finite number of at least 0
    /// ```
    #[track_caller]
    #[must_use]
    pub fn weighted(weights: &'w [T]) -> Self {
        let valid = |weight: &T| weight.is_finite() && *weight >= T::ZERO;
        if let Some(row) = weights.iter().position(|weight| !valid(weight)) {
            panic!("Rows::weighted: weight {row} is {}, expected a finite number of at least 0", weights[row]);
        }
        let sum = sum(weights);
        assert!(sum > 0.0, "Rows::weighted: expected a weight above 0, found {} weights of 0", weights.len());
        Self { count: weights.len(), total: Total::Weighted { weights, sum } }
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Returns the factor of a chunk's loss in the total.
    pub(super) fn share(&self, rows: &Range<usize>) -> f64 {
        match self.total {
            Total::Mean => rows.len() as f64 / self.count as f64,
            Total::Sum => 1.0,
            Total::Weighted { weights, sum: total } => sum(&weights[rows.clone()]) / total,
        }
    }

    /// Returns the factor of a row's loss in the total.
    pub(super) fn share_of_row(&self, row: usize) -> f64 {
        match self.total {
            Total::Mean => 1.0 / self.count as f64,
            Total::Sum => 1.0,
            Total::Weighted { weights, sum } => weights[row].to_f64() / sum,
        }
    }

    /// Returns the total of no rows.
    pub(crate) fn empty(&self) -> f64 {
        match self.total {
            Total::Mean => f64::NAN,
            Total::Sum | Total::Weighted { .. } => 0.0,
        }
    }
}

fn sum<T: Scalar>(weights: &[T]) -> f64 {
    weights.iter().map(|weight| weight.to_f64()).sum()
}
