//! [`Batches`]: the rows of a data set in random order, a batch at a time.

use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;
use rand::seq::SliceRandom;

use super::generator::Generator;
use crate::error::{Error, Result};

/// Row numbers in random order, cut into batches; a seed determines all orders.
///
/// A resumed run needs the seed and the [`epoch`](Self::epoch): [`resumed_at`](Self::resumed_at).
///
/// # Example
///
/// ```
/// use tapegrad::data::Batches;
///
/// let mut batches = Batches::new(10, 4, 0);
/// batches.shuffle();
/// let sizes: Vec<usize> = batches.iter().map(<[usize]>::len).collect();
/// assert_eq!(sizes, [4, 4, 2]);
/// let mut rows: Vec<usize> = batches.iter().flatten().copied().collect();
/// rows.sort();
/// assert_eq!(rows, (0..10).collect::<Vec<_>>()); // every row once
/// ```
#[derive(Debug)]
pub struct Batches {
    rows: Vec<usize>,
    size: usize,
    drop_last: bool,
    /// The rows by their weights, if rows are drawn with replacement.
    weights: Option<WeightedIndex<f64>>,
    generator: Generator,
    epoch: u64,
}

impl Batches {
    /// Returns the rows `0..count` in order, in batches of `size`.
    ///
    /// # Panics
    ///
    /// If `size` is 0.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::data::Batches;
    ///
    /// let batches = Batches::new(5, 2, 0);
    /// assert_eq!(batches.iter().collect::<Vec<_>>(), [&[0, 1][..], &[2, 3], &[4]]); // in order before the first shuffle
    /// ```
    #[track_caller]
    #[must_use]
    pub fn new(count: usize, size: usize, seed: u64) -> Self {
        assert!(size > 0, "Batches: expected a size of at least 1, found 0");
        let (rows, generator) = ((0..count).collect(), Generator::new(seed));
        Self { rows, size, drop_last: false, weights: None, generator, epoch: 0 }
    }

    /// Returns batches of rows that are drawn with replacement. Row `k` has the chance `weights[k] / Σ weights` at each
    /// of the `draws` of an epoch. The first epoch is drawn by the first [`shuffle`](Self::shuffle); before it there are
    /// no rows.
    ///
    /// # Errors
    ///
    /// If a weight is negative or not finite, or all are 0.
    ///
    /// # Panics
    ///
    /// If `size` is 0.
    ///
    /// # Example
    ///
    /// Three times as many rows of the rare class 1 as there are:
    ///
    /// ```
    /// use tapegrad::data::Batches;
    ///
    /// # fn main() -> tapegrad::Result<()> {
    /// let labels = [0, 0, 0, 1];
    /// let weights: Vec<f64> = labels.iter().map(|&label| [1.0, 3.0][label]).collect();
    /// let mut batches = Batches::weighted(&weights, 1000, 10, 0)?;
    /// batches.shuffle();
    /// let rare = batches.iter().flatten().filter(|&&row| labels[row] == 1).count();
    /// assert!((450..550).contains(&rare));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "WeightedRandomSampler")]
    #[track_caller]
    pub fn weighted(weights: &[f64], draws: usize, size: usize, seed: u64) -> Result<Self> {
        let mut batches = Self::new(0, size, seed);
        let expected = "finite numbers of at least 0, and one above 0";
        let found = |k: usize| Error::value("weights", expected, format!("{} in row {k}", weights[k]));
        if let Some(k) = weights.iter().position(|weight| !weight.is_finite() || *weight < 0.0) {
            return Err(found(k));
        }
        let index = WeightedIndex::new(weights);
        batches.weights = Some(index.map_err(|error| Error::value("weights", expected, error.to_string()))?);
        batches.rows = Vec::with_capacity(draws);
        batches.rows.resize(draws, 0);
        Ok(batches)
    }

    /// Returns the batches without a last one that is smaller.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::data::Batches;
    ///
    /// assert_eq!(Batches::new(10, 4, 0).with_drop_last().iter().len(), 2);
    /// ```
    #[doc(alias = "drop_last")]
    #[must_use]
    pub fn with_drop_last(self) -> Self {
        Self { drop_last: true, ..self }
    }

    /// Returns the batches after this number of epochs, with the orders that they had: as many calls of
    /// [`shuffle`](Self::shuffle) as are missing.
    ///
    /// # Panics
    ///
    /// If that epoch is over.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::data::Batches;
    ///
    /// let mut batches = Batches::new(10, 4, 0);
    /// (0..3).for_each(|_| batches.shuffle());
    /// let resumed = Batches::new(10, 4, 0).resumed_at(batches.epoch());
    /// assert!(resumed.iter().eq(batches.iter()));
    /// ```
    #[track_caller]
    #[must_use]
    pub fn resumed_at(mut self, epoch: u64) -> Self {
        assert!(self.epoch <= epoch, "Batches: expected an epoch of at least {}, found {epoch}", self.epoch);
        (self.epoch..epoch).for_each(|_| self.shuffle());
        self
    }

    /// Returns the number of epochs so far: of calls of [`shuffle`](Self::shuffle).
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::data::Batches;
    ///
    /// let mut batches = Batches::new(5, 2, 0);
    /// batches.shuffle();
    /// assert_eq!(batches.epoch(), 1);
    /// ```
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Puts the rows into another order, or draws others: the next epoch. Allocates nothing.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::data::Batches;
    ///
    /// let (mut a, mut b) = (Batches::new(100, 10, 7), Batches::new(100, 10, 7));
    /// a.shuffle();
    /// assert!(!a.iter().eq(b.iter()));
    /// b.shuffle();
    /// assert!(a.iter().eq(b.iter())); // equal seeds give equal orders
    /// ```
    pub fn shuffle(&mut self) {
        match &self.weights {
            None => self.rows.shuffle(&mut self.generator),
            Some(weights) => self.rows.fill_with(|| weights.sample(&mut self.generator)),
        }
        self.epoch += 1;
    }

    /// Returns the batches of this epoch; the last may be smaller.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::data::Batches;
    ///
    /// let sizes: Vec<usize> = Batches::new(5, 2, 0).iter().map(<[usize]>::len).collect();
    /// assert_eq!(sizes, [2, 2, 1]);
    /// ```
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[usize]> {
        let drawn = self.weights.is_none() || self.epoch > 0;
        let rows = if drawn { self.rows.len() } else { 0 };
        let end = if self.drop_last { rows - rows % self.size } else { rows };
        self.rows[..end].chunks(self.size)
    }
}
