//! [`Batches`]: the rows of a data set in random order, a batch at a time.

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

/// Row numbers in random order, cut into batches; a seed determines all orders.
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
    rng: StdRng,
}

impl Batches {
    /// Returns the rows `0..count` in order, in batches of `size`.
    ///
    /// # Panics
    ///
    /// If `size` is 0.
    #[track_caller]
    #[must_use]
    pub fn new(count: usize, size: usize, seed: u64) -> Self {
        assert!(size > 0, "Batches: expected a size of at least 1, found 0");
        Self { rows: (0..count).collect(), size, rng: StdRng::seed_from_u64(seed) }
    }

    /// Puts the rows into another order: the next epoch. Allocates nothing.
    pub fn shuffle(&mut self) {
        self.rows.shuffle(&mut self.rng);
    }

    /// Returns the batches of this epoch; the last may be smaller.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[usize]> {
        self.rows.chunks(self.size)
    }
}
