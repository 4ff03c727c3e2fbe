//! [`Conv2d`]: convolution of images.

use ndarray::{Array1, Array2, Array4, ArrayRef2};
use rand::Rng;

use super::buffer::{Buffer, row_major};
use super::image::{Windows, size_text};
use super::layer::{buffered_results, debug_prints_name};
use super::linear::uniform;
use super::module::{Module, expect, fixed_width, recorded_width};
use crate::kernel::matmul::{Accumulate, MatrixRef, matmul};
use crate::param::Param;
use crate::scalar::Scalar;
use crate::shape::Shape;
use crate::tape::{Tape, Var};
use crate::var::{ConvOptions, Size2d};

/// A convolution of images with `out` kernels, plus a bias for each.
///
/// A row of the input is one image: its channels one after the other, each row by row. The layer knows the size of its
/// images, so that a matrix with a row for each example can flow through a [`Sequential`](super::Sequential).
///
/// # Shapes
///
/// `x: (batch, C·H·W)`, weight `W: (out, C / groups, h, w)`, bias `b: (out)`, `y: (batch, out·H'·W')`, where
/// `H' = (H + 2 padding - dilation (h - 1) - 1) / stride + 1`, rounded down, and `W'` likewise.
///
/// # Derivative
///
/// Write `s` for a place in the result and `k` for a place in the kernel. The kernel's element `k` meets the element
/// `s·stride + k·dilation - padding` of the image; outside the image it meets 0. For one image and one group:
///
/// ```text
/// y[o, s]        = b[o] + Σ_{c,k} W[o, c, k] x[c, s·stride + k·dilation - padding]
/// dL/db[o]       = Σ_s delta[o, s]
/// dL/dW[o, c, k] = Σ_s delta[o, s] x[c, s·stride + k·dilation - padding]
/// dL/dx[c, p]    = Σ_{o,s,k: s·stride + k·dilation - padding = p} delta[o, s] W[o, c, k]
/// ```
///
/// The elements that place `s` meets are a row of the patch matrix `P[s, (c, k)]`. With it, `y = P Wᵀ + b`,
/// `dW = deltaᵀ P` and `dP = delta W`; `dL/dx` adds each element of `dP` at the place that it comes from. The gradients of
/// the images of a batch add up.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::Param;
/// use tapegrad::nn::{Conv2d, Module};
///
/// let weight = Param::new(array![[[[1.0, 10.0]]]]);
/// let mut layer = Conv2d::from_params([1, 2, 3], weight, Some(Param::new(array![0.5])), &Default::default());
/// let x = array![[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]]; // one image of 2 rows
/// assert_eq!(layer.forward(&x), array![[21.5, 32.5, 54.5, 65.5]]);
/// let delta = array![[1.0, 1.0, 1.0, 1.0]];
/// assert_eq!(layer.backward(&x, &delta), array![[1.0, 11.0, 10.0, 1.0, 11.0, 10.0]]);
/// assert_eq!(*layer.weight().grad().unwrap(), array![[[[12.0, 16.0]]]].into_dyn()); // 1+2+4+5, 2+3+5+6
/// ```
pub struct Conv2d<T> {
    windows: Windows,
    out: usize,
    options: ConvOptions,
    /// The weight, then the bias if there is one.
    parameters: Vec<Param<T>>,
    output: Buffer<T>,
    delta: Buffer<T>,
    input_rows: Buffer<T>,
    delta_rows: Buffer<T>,
    /// The patches of one group of channels, `(batch · windows, C / groups · h · w)`.
    patches: Buffer<T>,
    /// The results or deltas of one group, `(batch · windows, out / groups)`.
    results: Buffer<T>,
}

impl<T: Scalar> Conv2d<T> {
    /// Returns a layer for images of the size `[channels, height, width]`, with `out` kernels of this size, a stride of 1
    /// and no padding. Weight and bias are drawn uniformly between `-1/√n` and `1/√n`, where `n` is the number of
    /// elements of a kernel over all its channels, as in PyTorch.
    ///
    /// # Panics
    ///
    /// If a length is 0, or the kernel is larger than the image.
    ///
    /// # Example
    ///
    /// ```
    /// use rand::{SeedableRng, rngs::StdRng};
    /// use tapegrad::nn::{Conv2d, Module};
    ///
    /// let layer = Conv2d::<f32>::new([3, 8, 8], 16, 5, &mut StdRng::seed_from_u64(0));
    /// assert_eq!(layer.output_image(), [16, 4, 4]);
    /// assert_eq!(layer.parameter_count(), 1_216); // 16·3·5·5 + 16
    /// ```
    #[track_caller]
    #[must_use]
    pub fn new(image: [usize; 3], out: usize, kernel: impl Into<Size2d>, rng: &mut (impl Rng + ?Sized)) -> Self {
        Self::with_options(image, out, kernel, &ConvOptions::new(), rng)
    }

    /// Returns a layer as [`new`](Self::new) does, with this stride, padding, dilation and number of groups.
    ///
    /// # Panics
    ///
    /// If a length is 0, the kernel is larger than the padded image, or the channels cannot be divided into the groups.
    ///
    /// # Example
    ///
    /// ```
    /// use rand::{SeedableRng, rngs::StdRng};
    /// use tapegrad::ConvOptions;
    /// use tapegrad::nn::{Conv2d, Module};
    ///
    /// let options = ConvOptions::new().with_padding(1).with_stride(2);
    /// let layer = Conv2d::<f32>::with_options([1, 28, 28], 8, 3, &options, &mut StdRng::seed_from_u64(0));
    /// assert_eq!(layer.name(), "Conv2d 1x28x28 -> 8x14x14");
    /// ```
    #[track_caller]
    #[must_use]
    pub fn with_options(
        image: [usize; 3],
        out: usize,
        kernel: impl Into<Size2d>,
        options: &ConvOptions,
        rng: &mut (impl Rng + ?Sized),
    ) -> Self {
        let [height, width] = kernel.into().get();
        let channels = image[0] / options.groups.max(1);
        assert!(
            out > 0 && channels * height * width > 0,
            "Conv2d: expected a kernel, channels and groups, found a kernel of {height} x {width}, {} channels to {out} and \
             {} groups",
            image[0],
            options.groups
        );
        let mut draw = uniform(channels * height * width, rng);
        let weight = Array4::from_shape_simple_fn((out, channels, height, width), &mut draw);
        let bias = Array1::from_shape_simple_fn(out, &mut draw);
        Self::from_params(image, Param::named("weight", weight), Some(Param::named("bias", bias)), options)
    }

    /// Returns a layer with these parameters.
    ///
    /// # Panics
    ///
    /// If the weight is not of shape `(out, channels / groups, h, w)`, the bias is not of shape `(out)`, a length is 0, or
    /// the kernel is larger than the padded image.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::nn::{Conv2d, Module};
    /// use tapegrad::{ConvOptions, Param};
    ///
    /// let weight = Param::new(array![[[[1.0, 10.0]]]]);
    /// let mut layer = Conv2d::from_params([1, 1, 3], weight, None, &ConvOptions::new());
    /// assert_eq!(layer.forward(&array![[1.0, 2.0, 3.0]]), array![[21.0, 32.0]]);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn from_params(image: [usize; 3], weight: Param<T>, bias: Option<Param<T>>, options: &ConvOptions) -> Self {
        let groups = options.groups;
        let (out, channels, kernel) = match **weight.shape() {
            [out, channels, height, width] if out > 0 => (out, channels, [height, width]),
            _ => panic!("Conv2d: expected a weight of shape (out, channels, height, width), found {}", weight.shape()),
        };
        assert!(
            groups > 0 && channels * groups == image[0] && out.is_multiple_of(groups),
            "Conv2d: a weight of shape {} does not fit images of {} channels in {groups} groups",
            weight.shape(),
            image[0]
        );
        let mut parameters = vec![weight];
        if let Some(bias) = bias {
            let (expected, found) = (Shape::from([out]), bias.shape());
            assert!(*found == expected, "Conv2d: expected a bias of shape {expected}, found {found}");
            parameters.push(bias);
        }
        Self {
            windows: Windows::of_convolution("Conv2d", image, kernel, options),
            out,
            options: *options,
            parameters,
            output: Buffer::default(),
            delta: Buffer::default(),
            input_rows: Buffer::default(),
            delta_rows: Buffer::default(),
            patches: Buffer::default(),
            results: Buffer::default(),
        }
    }

    /// Returns the weight, of shape `(out, channels / groups, h, w)`.
    ///
    /// # Example
    ///
    /// ```
    /// use rand::{SeedableRng, rngs::StdRng};
    /// use tapegrad::nn::Conv2d;
    ///
    /// let layer = Conv2d::<f32>::new([3, 8, 8], 4, 5, &mut StdRng::seed_from_u64(0));
    /// assert_eq!(layer.weight().shape().to_string(), "(4, 3, 5, 5)");
    /// ```
    #[must_use]
    pub fn weight(&self) -> &Param<T> {
        &self.parameters[0]
    }

    /// Returns the bias, of shape `(out)`, if there is one.
    ///
    /// # Example
    ///
    /// ```
    /// use rand::{SeedableRng, rngs::StdRng};
    /// use tapegrad::nn::Conv2d;
    ///
    /// let layer = Conv2d::<f32>::new([3, 8, 8], 4, 5, &mut StdRng::seed_from_u64(0));
    /// assert_eq!(layer.bias().unwrap().shape().to_string(), "(4,)");
    /// ```
    #[must_use]
    pub fn bias(&self) -> Option<&Param<T>> {
        self.parameters.get(1)
    }

    /// Returns the size of an output image, `[out, H', W']`: that of the next layer's input.
    ///
    /// # Example
    ///
    /// ```
    /// use rand::{SeedableRng, rngs::StdRng};
    /// use tapegrad::nn::Conv2d;
    ///
    /// let layer = Conv2d::<f32>::new([3, 8, 8], 4, 5, &mut StdRng::seed_from_u64(0));
    /// assert_eq!(layer.output_image(), [4, 4, 4]); // 8 - 5 + 1
    /// ```
    #[must_use]
    pub fn output_image(&self) -> [usize; 3] {
        [self.out, self.windows.counts[0], self.windows.counts[1]]
    }

    /// Returns the numbers of a group: of its kernels, and of the elements of each.
    fn of_group(&self) -> (usize, usize) {
        let groups = self.options.groups;
        (self.out / groups, self.windows.image[0] / groups * self.windows.elements())
    }
}

/// Writes the patch matrix of one group of channels.
fn gather<'a, T: Scalar>(
    windows: &Windows,
    x: &[T],
    group: usize,
    inner: usize,
    patches: &'a mut Buffer<T>,
) -> &'a [T] {
    let (width, plane, elements) = (windows.width(), windows.plane(), windows.elements());
    let (batch, channels) = (x.len() / width, inner / elements);
    let rows = windows.windows() * inner;
    let matrix = patches.shaped((batch * windows.windows(), inner));
    matrix.fill(T::ZERO);
    for (matrix, x) in matrix.chunks_exact_mut(rows).zip(x.chunks_exact(width)) {
        for channel in 0..channels {
            let (x, at) = (&x[(group * channels + channel) * plane..][..plane], channel * elements);
            windows.taps.iter().for_each(|&[window, place, from]| matrix[window * inner + at + place] = x[from]);
        }
    }
    matrix
}

/// Adds each element of a patch matrix at its place in the images of one group: the adjoint of [`gather`].
fn scatter<T: Scalar>(windows: &Windows, matrix: &[T], group: usize, inner: usize, x: &mut [T]) {
    let (width, plane, elements) = (windows.width(), windows.plane(), windows.elements());
    let channels = inner / elements;
    for (matrix, x) in matrix.chunks_exact(windows.windows() * inner).zip(x.chunks_exact_mut(width)) {
        for channel in 0..channels {
            let (x, at) = (&mut x[(group * channels + channel) * plane..][..plane], channel * elements);
            windows.taps.iter().for_each(|&[window, place, from]| x[from] += matrix[window * inner + at + place]);
        }
    }
}

/// Copies the channels of one group between images of `out` channels and a matrix with a row for each window.
fn deltas_of_group<'a, T: Scalar>(
    windows: usize,
    (out, kernels): (usize, usize),
    delta: &[T],
    group: usize,
    results: &'a mut Buffer<T>,
) -> &'a [T] {
    let batch = delta.len() / (out * windows);
    let matrix = results.shaped((batch * windows, kernels));
    for (matrix, delta) in matrix.chunks_exact_mut(windows * kernels).zip(delta.chunks_exact(out * windows)) {
        for kernel in 0..kernels {
            let delta = &delta[(group * kernels + kernel) * windows..][..windows];
            matrix[kernel..].iter_mut().step_by(kernels).zip(delta).for_each(|(to, &delta)| *to = delta);
        }
    }
    matrix
}

/// Returns a row-major matrix.
fn rows<T>(data: &[T], columns: usize) -> MatrixRef<'_, T> {
    MatrixRef { data, row_stride: columns, col_stride: 1 }
}

/// Returns the transpose of a row-major matrix.
fn transposed<T>(data: &[T], columns: usize) -> MatrixRef<'_, T> {
    MatrixRef { data, row_stride: 1, col_stride: columns }
}

debug_prints_name!(Conv2d);

impl<T: Scalar> Module<T> for Conv2d<T> {
    fn name(&self) -> String {
        format!("Conv2d {} -> {}", size_text(self.windows.image), size_text(self.output_image()))
    }

    /// `y = P Wᵀ + b`, group by group.
    fn forward(&mut self, input: &ArrayRef2<T>) -> &Array2<T> {
        expect(self, self.output_width(input.ncols()));
        let (kernels, inner) = self.of_group();
        let (batch, windows, out) = (input.nrows(), self.windows.windows(), self.out);
        let weight = self.parameters[0].value();
        let bias = self.parameters.get(1).map(Param::value);
        let x = self.input_rows.rows_of(input);
        let y = self.output.shaped((batch, out * windows));
        for group in 0..self.options.groups {
            let patches = gather(&self.windows, x, group, inner, &mut self.patches);
            let w = &row_major(&weight)[group * kernels * inner..][..kernels * inner];
            let results = self.results.shaped((batch * windows, kernels));
            let (left, right) = (rows(patches, inner), transposed(w, inner));
            matmul(batch * windows, kernels, inner, left, right, results, Accumulate::No);
            for (y, results) in y.chunks_exact_mut(out * windows).zip(results.chunks_exact(windows * kernels)) {
                for kernel in 0..kernels {
                    let b = bias.as_ref().map_or(T::ZERO, |bias| row_major(bias)[group * kernels + kernel]);
                    let y = &mut y[(group * kernels + kernel) * windows..][..windows];
                    y.iter_mut().zip(results[kernel..].iter().step_by(kernels)).for_each(|(y, &sum)| *y = sum + b);
                }
            }
        }
        self.output.array()
    }

    buffered_results!();

    /// `dW += deltaᵀ P`, `db +=` the sums of delta over images and places.
    fn backward_update_gradient(&mut self, input: &ArrayRef2<T>, delta: &ArrayRef2<T>) {
        expect(self, self.check_backward(input, delta));
        let (kernels, inner) = self.of_group();
        let (batch, windows, out) = (input.nrows(), self.windows.windows(), self.out);
        let Self { windows: geometry, options, parameters, input_rows, delta_rows, patches, results, .. } = self;
        let (x, delta) = (input_rows.rows_of(input), delta_rows.rows_of(delta));
        parameters[0].accumulate_with(|dw| {
            for (group, dw) in (0..options.groups).zip(dw.chunks_exact_mut(kernels * inner)) {
                let patches = gather(geometry, x, group, inner, patches);
                let delta = deltas_of_group(windows, (out, kernels), delta, group, results);
                let (left, right) = (transposed(delta, kernels), rows(patches, inner));
                matmul(kernels, inner, batch * windows, left, right, dw, Accumulate::No);
            }
        });
        if let Some(bias) = parameters.get(1) {
            bias.accumulate_with(|db| {
                db.fill(T::ZERO);
                for delta in delta.chunks_exact(out * windows) {
                    let channels = delta.chunks_exact(windows);
                    db.iter_mut().zip(channels).for_each(|(db, delta)| *db += delta.iter().copied().sum::<T>());
                }
            });
        }
    }

    /// `dP = delta W`, then each element is added at its place.
    fn backward_delta(&mut self, input: &ArrayRef2<T>, delta: &ArrayRef2<T>) -> &Array2<T> {
        expect(self, self.check_backward(input, delta));
        let (kernels, inner) = self.of_group();
        let (batch, windows, out) = (input.nrows(), self.windows.windows(), self.out);
        let weight = self.parameters[0].value();
        let delta = self.delta_rows.rows_of(delta);
        let d_in = self.delta.shaped((batch, self.windows.width()));
        d_in.fill(T::ZERO);
        for group in 0..self.options.groups {
            let delta = deltas_of_group(windows, (out, kernels), delta, group, &mut self.results);
            let w = &row_major(&weight)[group * kernels * inner..][..kernels * inner];
            let patches = self.patches.shaped((batch * windows, inner));
            matmul(batch * windows, inner, kernels, rows(delta, kernels), rows(w, inner), patches, Accumulate::No);
            scatter(&self.windows, patches, group, inner, d_in);
        }
        self.delta.array()
    }

    fn parameters(&self) -> &[Param<T>] {
        &self.parameters
    }

    fn record<'t>(&self, tape: &'t Tape<T>, x: Var<'t, T>) -> Var<'t, T> {
        expect(self, recorded_width(x).and_then(|width| self.output_width(width)));
        let _group = tape.open_group("Conv2d");
        let [channels, height, width] = self.windows.image;
        let images = x.reshape(((), channels, height, width));
        let bias = self.bias().map(|bias| tape.param(bias));
        images.conv2d_with(tape.param(self.weight()), bias, &self.options).flatten_axes(1, -1)
    }

    fn output_width(&self, input_width: usize) -> Result<usize, String> {
        fixed_width(self.windows.width(), self.output_image().iter().product(), input_width)
    }

    fn output_shape(&self, input: &[usize]) -> Result<Shape, String> {
        self.output_width(input.iter().product())?;
        Ok(Shape::from(self.output_image()))
    }
}
