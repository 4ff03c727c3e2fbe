//! [`BatchNorm`]: each channel normalized over the batch.

use ndarray::{Array1, Array2, ArrayRef2};

use super::buffer::{Buffer, row_major};
use super::image::size_text;
use super::layer::{buffered_results, debug_prints_name};
use super::layer_norm::moments;
use super::mode::Mode;
use super::module::{Module, expect, fixed_width, recorded_width};
use crate::number::Algebra;
use crate::param::Param;
use crate::scalar::Scalar;
use crate::tape::{Tape, Var};
use crate::var::RunningStatistics;

/// Each channel normalized to mean 0 and variance 1 over the batch, times a weight, plus a bias (Ioffe and Szegedy 2015).
///
/// A channel is a column of the input, or with [`of_images`](Self::of_images) the elements of one channel of all images. In
/// training, mean and variance are those of the batch, and each pass, by hand or recorded, moves running averages of them. In
/// evaluation they are the running averages.
///
/// Each chunk of [`Chunks`](crate::chunks::Chunks) is a batch of its own, and on several threads the order in which they move
/// the averages is not fixed. A segment of a [`checkpoint`](crate::Tape::checkpoint) runs twice, and moves them twice.
///
/// # Shapes
///
/// `x, y: (batch, C)` or `(batch, C·H·W)`; weight `w`, bias `b` and both averages: `(C)`.
///
/// # Derivative
///
/// For one channel of `m` elements in training, with `μ = 1/m Σ x`, `v = 1/m Σ (x - μ)²`, `r = 1/√(v + eps)` and
/// `n = (x - μ) r`, the steps are those of [`LayerNorm`](super::LayerNorm), with one `w` for all elements:
///
/// ```text
/// y[i]     = w n[i] + b
/// dL/db    = Σ_i delta[i]
/// dL/dw    = Σ_i delta[i] n[i]
/// d_in[i]  = r w (delta[i] - mean delta - n[i] mean(delta n)) = r w / m (m delta[i] - dL/db - n[i] dL/dw)
/// ```
///
/// In evaluation `μ` and `r` do not depend on `x`, so `d_in[i] = r w delta[i]`.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::nn::{BatchNorm, Module};
///
/// let mut layer = BatchNorm::new(1).with_eps(0.0).with_momentum(0.5);
/// let x = array![[1.0], [3.0]];
/// assert_eq!(layer.forward(&x), array![[-1.0], [1.0]]);
/// assert_eq!(layer.buffers()[0].value()[[0]], 1.0); // half way from 0 to 2
/// assert_eq!(layer.buffers()[1].value()[[0]], 1.5); // half way from 1 to 2, the unbiased variance
/// layer.eval();
/// assert_eq!(layer.forward(&array![[1.0]]), array![[0.0]]);
/// ```
#[doc(alias("BatchNorm1d", "BatchNorm2d"))]
pub struct BatchNorm<T> {
    channels: usize,
    /// Height and width of an image, or nothing.
    size: Option<[usize; 2]>,
    eps: T,
    running: RunningStatistics<T>,
    mode: Mode,
    /// The weight, then the bias.
    parameters: [Param<T>; 2],
    /// The normalized `n`, `r` for each channel, and the mode of the last forward pass.
    normalized: Buffer<T>,
    inverse: Vec<T>,
    mode_of_forward: Mode,
    output: Buffer<T>,
    delta: Buffer<T>,
    delta_rows: Buffer<T>,
}

impl<T: Scalar> BatchNorm<T> {
    /// Returns a layer for rows of this width: each column is a channel. The weight is 1, the bias 0, `eps` 1e-5, and the
    /// momentum of the running averages 0.1.
    ///
    /// # Panics
    ///
    /// If the width is 0.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::nn::{BatchNorm, Module};
    ///
    /// let layer = BatchNorm::<f64>::new(3);
    /// assert_eq!(layer.parameter_count(), 6); // a weight and a bias for each channel
    /// ```
    #[doc(alias = "BatchNorm1d")]
    #[track_caller]
    #[must_use]
    pub fn new(width: usize) -> Self {
        Self::of(width, None)
    }

    /// Returns a layer for images of the size `[channels, height, width]`, one in a row of the input, as for
    /// [`Conv2d`](super::Conv2d).
    ///
    /// # Panics
    ///
    /// If a length is 0.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::nn::{BatchNorm, Module};
    ///
    /// let mut layer = BatchNorm::of_images([2, 1, 2]).with_eps(0.0);
    /// assert_eq!(layer.forward(&array![[1.0, 3.0, 7.0, 5.0]]), array![[-1.0, 1.0, 1.0, -1.0]]);
    /// ```
    #[doc(alias = "BatchNorm2d")]
    #[track_caller]
    #[must_use]
    pub fn of_images([channels, height, width]: [usize; 3]) -> Self {
        Self::of(channels, Some([height, width]))
    }

    #[track_caller]
    fn of(channels: usize, size: Option<[usize; 2]>) -> Self {
        assert!(
            channels > 0 && size.is_none_or(|size| !size.contains(&0)),
            "BatchNorm: expected channels with elements, found {channels} of the size {size:?}"
        );
        Self {
            channels,
            size,
            eps: T::from_f64(1e-5),
            running: RunningStatistics::new(channels),
            mode: Mode::default(),
            parameters: [Param::named("weight", Array1::ones(channels)), Param::named("bias", Array1::zeros(channels))],
            normalized: Buffer::default(),
            inverse: Vec::new(),
            mode_of_forward: Mode::default(),
            output: Buffer::default(),
            delta: Buffer::default(),
            delta_rows: Buffer::default(),
        }
    }

    /// Returns the layer with this number added to each variance.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::nn::{BatchNorm, Module};
    ///
    /// let mut layer = BatchNorm::new(1).with_eps(3.0);
    /// assert_eq!(layer.forward(&array![[-1.0], [1.0]]), array![[-0.5], [0.5]]); // ±1 / √(1 + 3)
    /// ```
    #[must_use]
    pub fn with_eps(self, eps: T) -> Self {
        Self { eps, ..self }
    }

    /// Returns the layer with this weight of a new batch in the running averages.
    ///
    /// # Panics
    ///
    /// If it is not between 0 and 1.
    ///
    /// # Example
    ///
    /// See [`BatchNorm`].
    #[track_caller]
    #[must_use]
    pub fn with_momentum(self, momentum: T) -> Self {
        Self { running: self.running.with_momentum(momentum), ..self }
    }

    /// Returns the weight, of shape `(C)`.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::nn::BatchNorm;
    ///
    /// assert_eq!(*BatchNorm::<f64>::new(2).weight().value(), ndarray::array![1.0, 1.0].into_dyn());
    /// ```
    #[must_use]
    pub fn weight(&self) -> &Param<T> {
        &self.parameters[0]
    }

    /// Returns the bias, of shape `(C)`.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::nn::BatchNorm;
    ///
    /// assert_eq!(*BatchNorm::<f64>::new(2).bias().value(), ndarray::array![0.0, 0.0].into_dyn());
    /// ```
    #[must_use]
    pub fn bias(&self) -> &Param<T> {
        &self.parameters[1]
    }

    /// Returns the running averages.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::nn::BatchNorm;
    ///
    /// assert_eq!(BatchNorm::<f64>::new(2).running().variance().value()[0], 1.0); // before the first batch
    /// ```
    #[must_use]
    pub fn running(&self) -> &RunningStatistics<T> {
        &self.running
    }

    /// Returns the number of elements of a channel in one row.
    fn plane(&self) -> usize {
        self.size.map_or(1, |[height, width]| height * width)
    }
}

/// Calls `f` with the number of the channel and its elements in one row, for each row and channel.
fn each_channel<T>(channels: usize, plane: usize, values: &mut [T], mut f: impl FnMut(usize, usize, &mut [T])) {
    for (number, values) in values.chunks_exact_mut(plane).enumerate() {
        f(number, number % channels, values);
    }
}

/// Returns the sums of `delta` and of `delta n` for each channel.
fn sums<T: Scalar>(channels: usize, plane: usize, delta: &[T], n: &[T]) -> Vec<[T; 2]> {
    let mut sums = vec![[T::ZERO; 2]; channels];
    for (number, (delta, n)) in delta.chunks_exact(plane).zip(n.chunks_exact(plane)).enumerate() {
        let [plain, along] = &mut sums[number % channels];
        *plain += delta.iter().copied().sum::<T>();
        *along += delta.iter().zip(n).map(|(&delta, &n)| delta * n).sum::<T>();
    }
    sums
}

debug_prints_name!(BatchNorm);

impl<T: Scalar> Module<T> for BatchNorm<T> {
    fn name(&self) -> String {
        match self.size {
            Some([height, width]) => format!("BatchNorm {}", size_text([self.channels, height, width])),
            None => format!("BatchNorm {}", self.channels),
        }
    }

    fn forward(&mut self, input: &ArrayRef2<T>) -> &Array2<T> {
        expect(self, self.output_width(input.ncols()));
        let (channels, plane, count) = (self.channels, self.plane(), input.nrows() * self.plane());
        let n = self.normalized.copy_from(input);
        let found = match self.mode {
            Mode::Training => {
                // The same check as that of the recorded layer.
                assert!(count > 1, "BatchNorm {channels}: expected more than one element for each channel in training");
                let of = |channel: usize| {
                    let planes = n.chunks_exact(plane).skip(channel).step_by(channels);
                    moments(planes.flatten().copied(), count)
                };
                let (means, variances): (Vec<T>, Vec<T>) = (0..channels).map(of).unzip();
                let unbiased = T::from_f64(count as f64 / (count - 1) as f64);
                let unbiased: Vec<T> = variances.iter().map(|&variance| variance * unbiased).collect();
                self.running.move_to(&means, &unbiased);
                (means, variances)
            }
            Mode::Evaluation => {
                let [mean, variance] = [self.running.mean(), self.running.variance()].map(Param::value);
                (row_major(&mean).to_vec(), row_major(&variance).to_vec())
            }
        };
        let (means, variances) = found;
        self.inverse.clear();
        self.inverse.extend(variances.iter().map(|&variance| T::ONE / (variance + self.eps).sqrt()));
        self.mode_of_forward = self.mode;
        let inverse = &self.inverse;
        each_channel(channels, plane, n, |_, channel, n| {
            n.iter_mut().for_each(|n| *n = (*n - means[channel]) * inverse[channel]);
        });
        let [weight, bias] = [0, 1].map(|k| self.parameters[k].value());
        let (n, w, b) = (self.normalized.values(), row_major(&weight), row_major(&bias));
        each_channel(channels, plane, self.output.shaped(input.dim()), |number, channel, y| {
            let n = &n[number * plane..][..plane];
            y.iter_mut().zip(n).for_each(|(y, &n)| *y = w[channel] * n + b[channel]);
        });
        self.output.array()
    }

    buffered_results!();

    fn backward_update_gradient(&mut self, input: &ArrayRef2<T>, delta: &ArrayRef2<T>) {
        expect(self, self.check_backward(input, delta));
        let (channels, plane) = (self.channels, self.plane());
        let sums = sums(channels, plane, self.delta_rows.rows_of(delta), self.normalized.values());
        for (parameter, which) in self.parameters.iter().zip([1, 0]) {
            parameter.accumulate_with(|g| g.iter_mut().zip(&sums).for_each(|(g, sums)| *g = sums[which]));
        }
    }

    /// `r w (delta - mean delta - n mean(delta n))` in training, `r w delta` in evaluation.
    fn backward_delta(&mut self, input: &ArrayRef2<T>, delta: &ArrayRef2<T>) -> &Array2<T> {
        expect(self, self.check_backward(input, delta));
        let (channels, plane) = (self.channels, self.plane());
        let count = T::from_f64((input.nrows() * plane) as f64);
        let (weight, n, inverse) = (self.parameters[0].value(), self.normalized.values(), &self.inverse);
        let w = row_major(&weight);
        let d_in = self.delta.copy_from(delta);
        let means: Vec<[T; 2]> = match self.mode_of_forward {
            Mode::Training => sums(channels, plane, d_in, n).iter().map(|sums| sums.map(|sum| sum / count)).collect(),
            Mode::Evaluation => vec![[T::ZERO; 2]; channels],
        };
        each_channel(channels, plane, d_in, |number, channel, d_in| {
            let ([mean, along], scale) = (means[channel], inverse[channel] * w[channel]);
            let n = &n[number * plane..][..plane];
            d_in.iter_mut().zip(n).for_each(|(d_in, &n)| *d_in = scale * (*d_in - mean - n * along));
        });
        self.delta.array()
    }

    fn parameters(&self) -> &[Param<T>] {
        &self.parameters
    }

    fn buffers(&self) -> Vec<Param<T>> {
        self.running.averages().to_vec()
    }

    fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
    }

    fn record<'t>(&self, tape: &'t Tape<T>, x: Var<'t, T>) -> Var<'t, T> {
        expect(self, recorded_width(x).and_then(|width| self.output_width(width)));
        let _group = tape.open_group("BatchNorm");
        let images = match self.size {
            Some([height, width]) => x.reshape(((), self.channels, height, width)),
            None => x,
        };
        let (weight, bias) = (tape.param(self.weight()), tape.param(self.bias()));
        let y = match self.mode {
            Mode::Training => images.batch_norm_running(weight, bias, &self.running, self.eps),
            Mode::Evaluation => {
                let [mean, variance] = [self.running.mean(), self.running.variance()];
                let [mean, variance] = [mean, variance].map(|average| tape.constant(&*average.value()));
                images.batch_norm_with(mean, variance, weight, bias, self.eps)
            }
        };
        if self.size.is_some() { y.flatten_axes(1, -1) } else { y }
    }

    fn output_width(&self, input_width: usize) -> Result<usize, String> {
        let width = self.channels * self.plane();
        fixed_width(width, width, input_width)
    }
}
