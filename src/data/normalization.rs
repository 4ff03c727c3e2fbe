//! [`Normalization`]: pixels with mean 0 and variance 1.

use ndarray::{Array1, ArrayRef2, Axis};

use super::samples::Samples;
use crate::error::{Error, Result};
use crate::scalar::Scalar;

/// The mean and the standard deviation of each pixel over some samples: `(x - mean) / deviation`.
///
/// The statistics are those of the samples that it was made from, the training samples; test samples are normalized by
/// the same numbers. The deviation is that of the samples themselves, `√(1/n Σ (x - mean)²)`. Where it is 0, the pixel is
/// only centered.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::data::{Normalization, Samples};
///
/// # fn main() -> tapegrad::Result<()> {
/// let train = Samples::new(array![[1.0, 5.0], [3.0, 5.0]], vec![0, 1], 2)?;
/// let test = Samples::new(array![[4.0, 6.0]], vec![0], 2)?;
/// let normalization = Normalization::of(&train);
/// assert_eq!(normalization.apply(&train)?.images(), array![[-1.0, 0.0], [1.0, 0.0]]);
/// assert_eq!(normalization.apply(&test)?.images(), array![[2.0, 1.0]]); // (4 - 2) / 1, 6 - 5
/// # Ok(())
/// # }
/// ```
#[doc(alias = "StandardScaler")]
#[derive(Clone, Debug, PartialEq)]
pub struct Normalization {
    mean: Array1<f64>,
    deviation: Array1<f64>,
}

impl Normalization {
    /// Returns the statistics of these samples.
    ///
    /// # Example
    ///
    /// See [`Normalization`].
    #[must_use]
    pub fn of<T: Scalar>(train: &Samples<T>) -> Self {
        let images = train.images();
        let count = images.nrows() as f64;
        let mean = column_sums(images, |_, x| x) / count;
        // The second sum is of small numbers, also where the mean is large.
        let variance = column_sums(images, |pixel, x| (x - mean[pixel]) * (x - mean[pixel])) / count;
        Self { deviation: variance.mapv(f64::sqrt), mean }
    }

    /// Returns the mean of each pixel.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::data::{Normalization, Samples};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let train = Samples::new(array![[1.0, 5.0], [3.0, 5.0]], vec![0, 1], 2)?;
    /// assert_eq!(Normalization::of(&train).mean(), array![2.0, 5.0]);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn mean(&self) -> &Array1<f64> {
        &self.mean
    }

    /// Returns the standard deviation of each pixel.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::data::{Normalization, Samples};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let train = Samples::new(array![[1.0, 5.0], [3.0, 5.0]], vec![0, 1], 2)?;
    /// assert_eq!(Normalization::of(&train).deviation(), array![1.0, 0.0]);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn deviation(&self) -> &Array1<f64> {
        &self.deviation
    }

    /// Returns samples with their pixels normalized by these statistics.
    ///
    /// # Errors
    ///
    /// If the samples have another number of pixels.
    ///
    /// # Example
    ///
    /// See [`Normalization`].
    pub fn apply<T: Scalar>(&self, samples: &Samples<T>) -> Result<Samples<T>> {
        let (width, found) = (self.mean.len(), samples.images().ncols());
        if found != width {
            return Err(Error::value("images", format!("{width} pixels, as the statistics have"), found.to_string()));
        }
        let mut images = samples.images().clone();
        for (pixel, mut column) in images.axis_iter_mut(Axis(1)).enumerate() {
            let divisor = if self.deviation[pixel] == 0.0 { 1.0 } else { self.deviation[pixel] };
            column.mapv_inplace(|x| T::from_f64((x.to_f64() - self.mean[pixel]) / divisor));
        }
        Samples::new(images, samples.labels().to_vec(), samples.classes())
    }
}

fn column_sums<T: Scalar>(images: &ArrayRef2<T>, term: impl Fn(usize, f64) -> f64) -> Array1<f64> {
    let mut sums = Array1::zeros(images.ncols());
    for row in images.rows() {
        sums.iter_mut().zip(row).enumerate().for_each(|(pixel, (sum, x))| *sum += term(pixel, x.to_f64()));
    }
    sums
}
