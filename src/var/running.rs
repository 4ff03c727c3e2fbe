//! [`RunningStatistics`]: averages that batch normalization keeps for later.

use ndarray::{Array1, ArrayViewD, Axis};

use crate::param::Param;
use crate::scalar::Scalar;

/// Running averages of the mean and the variance of each channel, for batch normalization.
///
/// They start at mean 0 and variance 1. Each batch moves them: `average += momentum (of the batch - average)`. The
/// variance of a batch divides by the number of elements less one, as in PyTorch.
///
/// The averages are [`Param`]s without a gradient: a shared handle that can be saved like any other.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::RunningStatistics;
///
/// let running = RunningStatistics::new(2).with_momentum(1.0); // those of the last batch alone
/// running.observe(array![[1.0, 5.0], [3.0, 5.0]].view().into_dyn());
/// assert_eq!(*running.mean().value(), array![2.0, 5.0].into_dyn());
/// assert_eq!(*running.variance().value(), array![2.0, 0.0].into_dyn());
/// ```
#[derive(Clone, Debug)]
pub struct RunningStatistics<T> {
    /// The mean, then the variance.
    averages: [Param<T>; 2],
    momentum: T,
}

impl<T: Scalar> RunningStatistics<T> {
    /// Returns averages for this number of channels, with a momentum of 0.1.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::RunningStatistics;
    ///
    /// let running = RunningStatistics::<f64>::new(2);
    /// assert_eq!(*running.mean().value(), array![0.0, 0.0].into_dyn());
    /// assert_eq!(*running.variance().value(), array![1.0, 1.0].into_dyn());
    /// ```
    #[must_use]
    pub fn new(channels: usize) -> Self {
        let averages = [
            Param::named("running_mean", Array1::zeros(channels)),
            Param::named("running_var", Array1::ones(channels)),
        ];
        Self { averages, momentum: T::from_f64(0.1) }
    }

    /// Returns the averages with this momentum: the weight of a new batch.
    ///
    /// # Panics
    ///
    /// If it is not between 0 and 1.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::RunningStatistics;
    ///
    /// let running = RunningStatistics::new(1).with_momentum(0.25);
    /// running.observe(array![[4.0], [4.0]].view().into_dyn());
    /// assert_eq!(running.mean().value()[0], 1.0); // a quarter of the way from 0 to 4
    /// ```
    #[track_caller]
    #[must_use]
    pub fn with_momentum(self, momentum: T) -> Self {
        assert!(
            (T::ZERO..=T::ONE).contains(&momentum),
            "RunningStatistics: expected a momentum between 0 and 1, found {momentum}"
        );
        Self { momentum, ..self }
    }

    /// Returns the running mean, of shape `(channels)`.
    ///
    /// # Example
    ///
    /// See [`RunningStatistics`].
    #[must_use]
    pub fn mean(&self) -> &Param<T> {
        &self.averages[0]
    }

    /// Returns the running variance, of shape `(channels)`.
    ///
    /// # Example
    ///
    /// See [`RunningStatistics`].
    #[must_use]
    pub fn variance(&self) -> &Param<T> {
        &self.averages[1]
    }

    /// Returns mean and variance.
    pub(crate) fn averages(&self) -> &[Param<T>] {
        &self.averages
    }

    /// Moves the averages towards the mean and the variance of a batch, `(N, C, ..)`.
    ///
    /// # Panics
    ///
    /// If the batch has another number of channels, or each channel has only one element: one element has no variance.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::RunningStatistics;
    ///
    /// let running = RunningStatistics::new(1).with_momentum(0.5);
    /// running.observe(array![[1.0], [3.0]].view().into_dyn());
    /// assert_eq!(running.mean().value()[0], 1.0); // half way from 0 to 2
    /// assert_eq!(running.variance().value()[0], 1.5); // half way from 1 to 2
    /// ```
    #[track_caller]
    pub fn observe(&self, batch: ArrayViewD<'_, T>) {
        let channels = self.mean().shape()[0];
        assert!(
            batch.ndim() >= 2 && batch.len_of(Axis(1)) == channels,
            "RunningStatistics: expected a batch of {channels} channels, found the shape {:?}",
            batch.shape()
        );
        let count = batch.len() / channels.max(1);
        assert!(
            channels == 0 || count > 1,
            "RunningStatistics: expected more than one element for each channel, found {count}: one has no variance"
        );
        let (mut means, mut variances) = (Vec::with_capacity(channels), Vec::with_capacity(channels));
        let number = |count: usize| T::from_f64(count as f64);
        for channel in batch.axis_iter(Axis(1)) {
            let rough = channel.iter().copied().sum::<T>() / number(count);
            // The mean of large numbers is rounded; the mean of the differences from it corrects it.
            let mean = rough + channel.iter().map(|&x| x - rough).sum::<T>() / number(count);
            means.push(mean);
            variances.push(channel.iter().map(|&x| (x - mean) * (x - mean)).sum::<T>() / number(count - 1));
        }
        self.move_to(&means, &variances);
    }

    /// Moves the averages towards the means and the unbiased variances of a batch.
    pub(crate) fn move_to(&self, means: &[T], variances: &[T]) {
        for (average, found) in self.averages.iter().zip([means, variances]) {
            let old = average.value();
            let new = old.iter().zip(found).map(|(&old, &new)| old + self.momentum * (new - old));
            average.set_value(Array1::from_iter(new));
        }
    }
}
