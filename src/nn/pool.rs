//! [`MaxPool2d`] and [`AvgPool2d`]: one number for each window of an image.

use ndarray::{Array2, ArrayRef2};

use super::buffer::Buffer;
use super::image::{Windows, size_text};
use super::layer::{buffered_results, debug_prints_name};
use super::module::{Module, expect, fixed_width, recorded_width};
use crate::number::Classify;
use crate::scalar::Scalar;
use crate::shape::Shape;
use crate::tape::{Tape, Var};
use crate::var::{PoolDivisor, PoolOptions};

/// The largest element of each window of an image.
///
/// A row of the input is one image, as for [`Conv2d`](super::Conv2d).
///
/// # Shapes
///
/// `(batch, C·H·W) -> (batch, C·H'·W')`, where `H' = (H + 2 padding - kernel) / stride + 1`, rounded down.
///
/// # Derivative
///
/// With `p(s)` the place of the largest element of window `s` (of equal ones the first):
///
/// ```text
/// y[s]    = x[p(s)]
/// d_in[p] = Σ_{s: p(s) = p} delta[s]
/// ```
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::nn::{MaxPool2d, Module};
///
/// let mut layer = MaxPool2d::new([1, 2, 4], 2);
/// let x = array![[1.0, 3.0, 0.0, 7.0, 2.0, 3.0, 7.0, 5.0]];
/// assert_eq!(layer.forward(&x), array![[3.0, 7.0]]);
/// assert_eq!(layer.backward_delta(&x, &array![[1.0, 2.0]]), array![[0.0, 1.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0]]);
/// ```
pub struct MaxPool2d<T> {
    windows: Windows,
    options: PoolOptions,
    /// The place of the largest element of each window in its row of the input, in the last forward pass.
    places: Vec<usize>,
    output: Buffer<T>,
    delta: Buffer<T>,
    rows: Buffer<T>,
}

/// The mean of each window of an image.
///
/// A row of the input is one image, as for [`Conv2d`](super::Conv2d).
///
/// # Shapes
///
/// Like [`MaxPool2d`].
///
/// # Derivative
///
/// With `n(s)` the divisor of window `s`: the number of all its elements, or of those that are not padding
/// ([`PoolDivisor`]).
///
/// ```text
/// y[s]    = 1/n(s) Σ_{p in window s} x[p]
/// d_in[p] = Σ_{s: p in window s} delta[s] / n(s)
/// ```
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::nn::{AvgPool2d, Module};
///
/// let mut layer = AvgPool2d::new([1, 2, 2], 2);
/// let x = array![[1.0, 2.0, 3.0, 6.0]];
/// assert_eq!(layer.forward(&x), array![[3.0]]);
/// assert_eq!(layer.backward_delta(&x, &array![[8.0]]), array![[2.0, 2.0, 2.0, 2.0]]);
/// ```
pub struct AvgPool2d<T> {
    windows: Windows,
    options: PoolOptions,
    /// What each window divides by.
    divisors: Vec<T>,
    output: Buffer<T>,
    delta: Buffer<T>,
    rows: Buffer<T>,
}

/// Writes what both poolings have in common.
macro_rules! pool {
    ($Layer:ident, |$windows:ident, $options:ident| { $($field:ident: $value:expr),+ }) => {
        impl<T: Scalar> $Layer<T> {
            /// Returns a layer for images of the size `[channels, height, width]`. The options may be the size of the
            /// windows alone: then they lie side by side.
            ///
            /// # Panics
            ///
            /// If a length is 0, a window is larger than the padded image, or the padding is more than half of a window.
            ///
            /// # Example
            ///
            #[doc = concat!("See [`", stringify!($Layer), "`].")]
            #[track_caller]
            #[must_use]
            pub fn new(image: [usize; 3], options: impl Into<PoolOptions>) -> Self {
                let $options = options.into();
                let $windows = Windows::of_pool(stringify!($Layer), image, &$options);
                Self {
                    $($field: $value,)+
                    windows: $windows,
                    options: $options,
                    output: Buffer::default(),
                    delta: Buffer::default(),
                    rows: Buffer::default(),
                }
            }

            /// Returns the size of an output image: that of the next layer's input.
            ///
            /// # Example
            ///
            /// ```
            /// use tapegrad::nn::{AvgPool2d, MaxPool2d};
            ///
            /// assert_eq!(MaxPool2d::<f32>::new([3, 8, 6], 2).output_image(), [3, 4, 3]);
            /// assert_eq!(AvgPool2d::<f32>::new([3, 8, 6], [4, 3]).output_image(), [3, 2, 2]);
            /// ```
            #[must_use]
            pub fn output_image(&self) -> [usize; 3] {
                [self.windows.image[0], self.windows.counts[0], self.windows.counts[1]]
            }
        }

        debug_prints_name!($Layer);
    };
}
pool!(MaxPool2d, |windows, options| { places: Vec::new() });
pool!(AvgPool2d, |windows, options| { divisors: divisors(&windows, options.divisor) });

/// Returns what each window divides by.
fn divisors<T: Scalar>(windows: &Windows, divisor: PoolDivisor) -> Vec<T> {
    let mut counts = vec![0; windows.windows()];
    windows.taps.iter().for_each(|&[window, ..]| counts[window] += 1);
    let number = |count| match divisor {
        PoolDivisor::Window => T::from_f64(windows.elements() as f64),
        PoolDivisor::Elements => T::from_f64(f64::from(count)),
    };
    counts.into_iter().map(number).collect()
}

/// Writes the methods of [`Module`] that both poolings have in common.
macro_rules! pool_methods {
    ($kind:literal, $method:ident) => {
        fn name(&self) -> String {
            format!(concat!($kind, " {} -> {}"), size_text(self.windows.image), size_text(self.output_image()))
        }

        buffered_results!();

        fn record<'t>(&self, tape: &'t Tape<T>, x: Var<'t, T>) -> Var<'t, T> {
            expect(self, recorded_width(x).and_then(|width| self.output_width(width)));
            let _group = tape.open_group($kind);
            let [channels, height, width] = self.windows.image;
            x.reshape(((), channels, height, width)).$method(&self.options).flatten_axes(1, -1)
        }

        fn output_width(&self, input_width: usize) -> Result<usize, String> {
            fixed_width(self.windows.width(), self.output_image().iter().product(), input_width)
        }

        fn output_shape(&self, input: &[usize]) -> Result<Shape, String> {
            self.output_width(input.iter().product())?;
            Ok(Shape::from(self.output_image()))
        }
    };
}

impl<T: Scalar> Module<T> for MaxPool2d<T> {
    fn forward(&mut self, input: &ArrayRef2<T>) -> &Array2<T> {
        expect(self, self.output_width(input.ncols()));
        let (plane, windows) = (self.windows.plane(), self.windows.windows());
        let width = windows * self.windows.image[0];
        let y = self.output.shaped((input.nrows(), width));
        self.places.clear();
        self.places.resize(y.len(), usize::MAX);
        let planes = self.rows.rows_of(input).chunks_exact(plane);
        let results = y.chunks_exact_mut(windows).zip(self.places.chunks_exact_mut(windows));
        for (number, (x, (y, places))) in planes.zip(results).enumerate() {
            let start = number % self.windows.image[0] * plane;
            for &[window, _, from] in &self.windows.taps {
                // The first element of the window, a larger one, or NaN.
                if places[window] == usize::MAX || x[from] > y[window] || x[from].is_nan() {
                    (y[window], places[window]) = (x[from], start + from);
                }
            }
        }
        self.output.array()
    }

    fn backward_delta(&mut self, input: &ArrayRef2<T>, delta: &ArrayRef2<T>) -> &Array2<T> {
        expect(self, self.check_backward(input, delta));
        let width = self.windows.width();
        let d_in = self.delta.shaped((input.nrows(), width));
        d_in.fill(T::ZERO);
        let count = delta.ncols();
        let rows = self.rows.rows_of(delta).chunks_exact(count).zip(self.places.chunks_exact(count));
        for (d_in, (delta, places)) in d_in.chunks_exact_mut(width).zip(rows) {
            places.iter().zip(delta).for_each(|(&place, &delta)| d_in[place] += delta);
        }
        self.delta.array()
    }

    pool_methods!("MaxPool2d", max_pool2d_with);
}

impl<T: Scalar> Module<T> for AvgPool2d<T> {
    fn forward(&mut self, input: &ArrayRef2<T>) -> &Array2<T> {
        expect(self, self.output_width(input.ncols()));
        let (plane, windows) = (self.windows.plane(), self.windows.windows());
        let y = self.output.shaped((input.nrows(), windows * self.windows.image[0]));
        y.fill(T::ZERO);
        for (x, y) in self.rows.rows_of(input).chunks_exact(plane).zip(y.chunks_exact_mut(windows)) {
            self.windows.taps.iter().for_each(|&[window, _, from]| y[window] += x[from]);
            y.iter_mut().zip(&self.divisors).for_each(|(y, &divisor)| *y /= divisor);
        }
        self.output.array()
    }

    fn backward_delta(&mut self, input: &ArrayRef2<T>, delta: &ArrayRef2<T>) -> &Array2<T> {
        expect(self, self.check_backward(input, delta));
        let (plane, windows) = (self.windows.plane(), self.windows.windows());
        let d_in = self.delta.shaped((input.nrows(), self.windows.width()));
        d_in.fill(T::ZERO);
        for (d_in, delta) in d_in.chunks_exact_mut(plane).zip(self.rows.rows_of(delta).chunks_exact(windows)) {
            let divisors = &self.divisors;
            self.windows.taps.iter().for_each(|&[window, _, from]| d_in[from] += delta[window] / divisors[window]);
        }
        self.delta.array()
    }

    pool_methods!("AvgPool2d", avg_pool2d_with);
}
