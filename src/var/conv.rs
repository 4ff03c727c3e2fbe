//! Methods of [`Var`] for convolution, along one axis and two, and its transpose.

use super::window::Size2d;
use crate::kernel::window::Window;
use crate::op::{Linear, Op};
use crate::scalar::Scalar;
use crate::shape::{Shape, ShapeError};
use crate::tape::Var;

/// How the kernels of a convolution move over the images: stride, padding, dilation, and groups of channels.
///
/// For a convolution along one axis, the second length of each pair counts. A single number serves for both.
///
/// # Example
///
/// ```
/// use tapegrad::ConvOptions;
///
/// let options = ConvOptions::new().with_stride(2).with_padding([0, 1]);
/// assert_eq!(options, ConvOptions::default().with_stride([2, 2]).with_padding((0, 1)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvOptions {
    pub(crate) stride: Size2d,
    pub(crate) padding: Size2d,
    pub(crate) dilation: Size2d,
    pub(crate) groups: usize,
    output_padding: Size2d,
}

impl Default for ConvOptions {
    fn default() -> Self {
        let (zero, one) = (Size2d::from(0), Size2d::from(1));
        Self { stride: one, padding: zero, dilation: one, groups: 1, output_padding: zero }
    }
}

impl ConvOptions {
    /// Returns a stride of 1, no padding, a dilation of 1 and one group.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::ConvOptions;
    ///
    /// assert_eq!(ConvOptions::new(), ConvOptions::new().with_stride(1).with_padding(0).with_dilation(1).with_groups(1));
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the options with this distance between neighbouring places of a kernel; 1 by default.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{ConvOptions, Tape};
    ///
    /// let tape = Tape::new();
    /// let (x, w) = (tape.leaf(array![[[1.0, 2.0, 3.0, 4.0]]]), tape.leaf(array![[[1.0, 10.0]]]));
    /// let y = x.conv1d(w, None, &ConvOptions::new().with_stride(2));
    /// assert_eq!(y.value(), array![[[21.0, 43.0]]].into_dyn());
    /// ```
    #[must_use]
    pub fn with_stride(self, stride: impl Into<Size2d>) -> Self {
        Self { stride: stride.into(), ..self }
    }

    /// Returns the options with this number of zeros before and after each axis; 0 by default.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{ConvOptions, Tape};
    ///
    /// let tape = Tape::new();
    /// let (x, w) = (tape.leaf(array![[[1.0, 2.0]]]), tape.leaf(array![[[1.0, 10.0]]]));
    /// let y = x.conv1d(w, None, &ConvOptions::new().with_padding(1));
    /// assert_eq!(y.value(), array![[[10.0, 21.0, 2.0]]].into_dyn()); // of 0, 1, 2, 0
    /// ```
    #[must_use]
    pub fn with_padding(self, padding: impl Into<Size2d>) -> Self {
        Self { padding: padding.into(), ..self }
    }

    /// Returns the options with this distance between the elements of the image that neighbouring elements of a kernel
    /// multiply; 1 by default.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{ConvOptions, Tape};
    ///
    /// let tape = Tape::new();
    /// let (x, w) = (tape.leaf(array![[[1.0, 2.0, 3.0, 4.0]]]), tape.leaf(array![[[1.0, 10.0]]]));
    /// let y = x.conv1d(w, None, &ConvOptions::new().with_dilation(2));
    /// assert_eq!(y.value(), array![[[31.0, 42.0]]].into_dyn()); // 1 + 10 · 3, 2 + 10 · 4
    /// ```
    #[doc(alias("atrous", "dilated convolution"))]
    #[must_use]
    pub fn with_dilation(self, dilation: impl Into<Size2d>) -> Self {
        Self { dilation: dilation.into(), ..self }
    }

    /// Returns the options with this number of groups; 1 by default. The channels of input and output are divided into
    /// as many equal parts, and each part of the output sees its own part of the input alone.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{ConvOptions, Tape};
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[[1.0, 2.0], [3.0, 4.0]]]); // two channels
    /// let w = tape.leaf(array![[[1.0]], [[10.0]]]); // a kernel for each
    /// let y = x.conv1d(w, None, &ConvOptions::new().with_groups(2));
    /// assert_eq!(y.value(), array![[[1.0, 2.0], [30.0, 40.0]]].into_dyn());
    /// ```
    #[doc(alias = "depthwise")]
    #[must_use]
    pub fn with_groups(self, groups: usize) -> Self {
        Self { groups, ..self }
    }

    /// Returns the options with so much more length of the result of a transposed convolution; 0 by default. With a
    /// stride above 1, inputs of several lengths have results of one length; this number chooses between them.
    /// Convolutions do not read it.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{ConvOptions, Tape};
    ///
    /// let tape = Tape::new();
    /// let (x, w) = (tape.leaf(array![[[1.0, 2.0]]]), tape.leaf(array![[[1.0]]]));
    /// let options = ConvOptions::new().with_stride(2);
    /// let shorter = x.conv_transpose1d(w, None, &options);
    /// let longer = x.conv_transpose1d(w, None, &options.with_output_padding([0, 1]));
    /// assert_eq!(shorter.value(), array![[[1.0, 0.0, 2.0]]].into_dyn());
    /// assert_eq!(longer.value(), array![[[1.0, 0.0, 2.0, 0.0]]].into_dyn());
    /// ```
    #[must_use]
    pub fn with_output_padding(self, output_padding: impl Into<Size2d>) -> Self {
        Self { output_padding: output_padding.into(), ..self }
    }

    /// Returns the options of a convolution along the last of two axes: the other has length 1.
    fn along_one_axis(self) -> Self {
        let last = |lengths: Size2d, other: usize| Size2d::from([other, lengths.get()[1]]);
        Self {
            stride: last(self.stride, 1),
            padding: last(self.padding, 0),
            dilation: last(self.dilation, 1),
            groups: self.groups,
            output_padding: last(self.output_padding, 0),
        }
    }

    /// Returns the window of kernels of this size.
    #[track_caller]
    fn window(self, op: &str, kernel: [usize; 2]) -> Window {
        Window {
            kernel: Size2d::from(kernel).lengths(op),
            stride: self.stride.lengths(op),
            padding: self.padding.lengths(op),
            dilation: self.dilation.lengths(op),
        }
    }

    /// Returns the lengths of the transposed convolution of images of this size.
    ///
    /// # Errors
    ///
    /// If a length of the window is 0, or the result would have no pixels: what was found.
    fn transposed_size(self, window: Window, size: [usize; 2]) -> Result<[usize; 2], String> {
        if [window.stride, window.kernel, window.dilation].iter().any(|lengths| lengths.contains(&0)) {
            return Err(format!("{window}: every length has to be at least 1"));
        }
        let mut result = [0; 2];
        for axis in 0..2 {
            let (stride, more) = (window.stride[axis] as usize, self.output_padding.get()[axis]);
            if more >= stride {
                return Err(format!("an output padding of {more} is not smaller than the stride, {stride}"));
            }
            let all = (size[axis].saturating_sub(1).saturating_mul(stride)).saturating_add(window.extent(axis) + more);
            let length = all.checked_sub(2 * window.padding[axis] as usize).filter(|_| size[axis] > 0);
            result[axis] = match length {
                Some(length @ 1..=0x3fff_ffff) => length,
                _ => return Err(format!("images of {size:?} have no transposed convolution with {window}")),
            };
        }
        Ok(result)
    }
}

/// Convolution.
impl<T: Scalar> Var<'_, T> {
    /// Returns the convolution of images with the kernels of `weight`, plus `bias`. As usual in neural networks, the
    /// kernels are not reflected.
    ///
    /// # Shapes
    ///
    /// `(N, C, H, W)` with a weight `(O, C, h, w)` and a bias `(O)` gives `(N, O, H', W')`, where
    /// `H' = (H + 2 padding - h) / stride + 1`, rounded down, and `W'` likewise. The padding consists of zeros.
    ///
    /// # Derivative
    ///
    /// The convolution is linear in the input and in the weight. Its derivative by the input is the transposed
    /// convolution of `g` with the weight, and by the weight the correlation of the input with `g`. Both are operations
    /// of this library, so derivatives exist to any order.
    ///
    /// [`conv2d_with`](Self::conv2d_with) also takes a dilation and groups.
    ///
    /// # Panics
    ///
    /// If the shapes do not fit, a kernel is larger than the padded image, the stride is 0, or the operands are on
    /// different tapes.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]]); // one image, one channel
    /// let w = tape.leaf(array![[[[1.0, 10.0]]]]);
    /// let b = tape.leaf(array![0.5]);
    /// let y = x.conv2d(w, Some(b), 1, 0);
    /// y.sum().backward();
    /// assert_eq!(y.value(), array![[[[21.5, 32.5], [54.5, 65.5]]]].into_dyn());
    /// assert_eq!(w.grad().unwrap(), array![[[[12.0, 16.0]]]].into_dyn()); // 1+2+4+5, 2+3+5+6
    /// assert_eq!(x.grad().unwrap(), array![[[[1.0, 11.0, 10.0], [1.0, 11.0, 10.0]]]].into_dyn());
    /// ```
    #[doc(alias = "Conv2d")]
    #[track_caller]
    #[must_use]
    pub fn conv2d(
        self,
        weight: Self,
        bias: Option<Self>,
        stride: impl Into<Size2d>,
        padding: impl Into<Size2d>,
    ) -> Self {
        self.conv2d_with(weight, bias, &ConvOptions::new().with_stride(stride).with_padding(padding))
    }

    /// Returns the convolution of images with the kernels of `weight`, plus `bias`, like [`conv2d`](Self::conv2d), with
    /// any stride, padding, dilation and number of groups.
    ///
    /// # Shapes
    ///
    /// `(N, C, H, W)` with a weight `(O, C / groups, h, w)` and a bias `(O)` gives `(N, O, H', W')`, where
    /// `H' = (H + 2 padding - dilation (h - 1) - 1) / stride + 1`, rounded down, and `W'` likewise.
    ///
    /// # Panics
    ///
    /// Like [`conv2d`](Self::conv2d), and if the channels cannot be divided into the groups.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{ConvOptions, Tape};
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[[[1.0, 2.0, 3.0]], [[4.0, 5.0, 6.0]]]]); // one image, two channels
    /// let w = tape.leaf(array![[[[1.0, 10.0]]], [[[1.0, -1.0]]]]);
    /// let y = x.conv2d_with(w, None, &ConvOptions::new().with_dilation(2).with_groups(2));
    /// assert_eq!(y.value(), array![[[[31.0]], [[-2.0]]]].into_dyn()); // 1 + 10·3, and 4 - 6
    /// ```
    #[track_caller]
    #[must_use]
    pub fn conv2d_with(self, weight: Self, bias: Option<Self>, options: &ConvOptions) -> Self {
        self.convolve("conv2d", weight, bias, *options)
    }

    /// Returns the convolution of sequences with the kernels of `weight`, plus `bias`: [`conv2d`](Self::conv2d) along
    /// one axis.
    ///
    /// # Shapes
    ///
    /// `(N, C, L)` with a weight `(O, C / groups, l)` and a bias `(O)` gives `(N, O, L')`, where
    /// `L' = (L + 2 padding - dilation (l - 1) - 1) / stride + 1`, rounded down.
    ///
    /// # Panics
    ///
    /// If the shapes do not fit, a kernel is longer than the padded sequence, a stride or dilation is 0, or the operands
    /// are on different tapes.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{ConvOptions, Tape};
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[[1.0, 2.0, 4.0]]]);
    /// let w = tape.leaf(array![[[-1.0, 1.0]]]);
    /// let y = x.conv1d(w, None, &ConvOptions::new());
    /// y.sum().backward();
    /// assert_eq!(y.value(), array![[[1.0, 2.0]]].into_dyn());
    /// assert_eq!(w.grad().unwrap(), array![[[3.0, 6.0]]].into_dyn()); // 1+2, 2+4
    /// ```
    #[doc(alias = "Conv1d")]
    #[track_caller]
    #[must_use]
    pub fn conv1d(self, weight: Self, bias: Option<Self>, options: &ConvOptions) -> Self {
        let (x, w) = self.as_images("conv1d", weight);
        x.convolve("conv1d", w, bias, options.along_one_axis()).squeeze(2)
    }

    /// Returns the transposed convolution: the adjoint of [`conv2d`](Self::conv2d), which takes the result of a convolution
    /// back to the size of its images, plus `bias`.
    ///
    /// Each element of the input adds a kernel, times that element, to a window of the result.
    ///
    /// # Shapes
    ///
    /// `(N, C, H, W)` with a weight `(C, O / groups, h, w)` and a bias `(O)` gives `(N, O, H', W')`, where
    /// `H' = (H - 1) stride - 2 padding + dilation (h - 1) + output_padding + 1`, and `W'` likewise. The weight is that
    /// of the convolution from `O` channels to `C`.
    ///
    /// # Derivative
    ///
    /// By the input the convolution of `g` with the weight, by the weight the correlation of `g` with the input.
    ///
    /// # Panics
    ///
    /// If the shapes do not fit, the result would have no elements, the output padding is not smaller than the stride,
    /// the channels cannot be divided into the groups, or the operands are on different tapes.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{ConvOptions, Tape};
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[[[1.0, 2.0]]]]);
    /// let w = tape.leaf(array![[[[1.0, 10.0, 100.0]]]]);
    /// let y = x.conv_transpose2d(w, None, &ConvOptions::new().with_stride([1, 2]));
    /// y.sum().backward();
    /// assert_eq!(y.value(), array![[[[1.0, 10.0, 102.0, 20.0, 200.0]]]].into_dyn());
    /// assert_eq!(x.grad().unwrap(), array![[[[111.0, 111.0]]]].into_dyn());
    /// assert_eq!(w.grad().unwrap(), array![[[[3.0, 3.0, 3.0]]]].into_dyn());
    /// ```
    #[doc(alias("ConvTranspose2d", "deconvolution"))]
    #[track_caller]
    #[must_use]
    pub fn conv_transpose2d(self, weight: Self, bias: Option<Self>, options: &ConvOptions) -> Self {
        self.convolve_back("conv_transpose2d", weight, bias, *options)
    }

    /// Returns the transposed convolution of sequences: [`conv_transpose2d`](Self::conv_transpose2d) along one axis.
    ///
    /// # Shapes
    ///
    /// `(N, C, L)` with a weight `(C, O / groups, l)` and a bias `(O)` gives `(N, O, L')`, where
    /// `L' = (L - 1) stride - 2 padding + dilation (l - 1) + output_padding + 1`.
    ///
    /// # Panics
    ///
    /// Like [`conv_transpose2d`](Self::conv_transpose2d).
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{ConvOptions, Tape};
    ///
    /// let tape = Tape::new();
    /// let (x, w) = (tape.leaf(array![[[1.0, 2.0]]]), tape.leaf(array![[[1.0, 10.0]]]));
    /// let y = x.conv_transpose1d(w, None, &ConvOptions::new());
    /// assert_eq!(y.value(), array![[[1.0, 12.0, 20.0]]].into_dyn()); // 1·[1, 10, 0] + 2·[0, 1, 10]
    /// ```
    #[doc(alias = "ConvTranspose1d")]
    #[track_caller]
    #[must_use]
    pub fn conv_transpose1d(self, weight: Self, bias: Option<Self>, options: &ConvOptions) -> Self {
        let (x, w) = self.as_images("conv_transpose1d", weight);
        x.convolve_back("conv_transpose1d", w, bias, options.along_one_axis()).squeeze(2)
    }

    /// Returns sequences and their weight as images of height 1.
    #[track_caller]
    fn as_images(self, op: &'static str, weight: Self) -> (Self, Self) {
        self.assert_same_tape(op, weight);
        if self.ndim() != 3 || weight.ndim() != 3 {
            self.refuse_weight(op, weight, "input and weight have 3 axes each".into());
        }
        (self.expand_dims(2), weight.expand_dims(2))
    }

    /// The convolution of images.
    #[track_caller]
    fn convolve(self, op: &'static str, weight: Self, bias: Option<Self>, options: ConvOptions) -> Self {
        self.assert_same_tape(op, weight);
        let shape = weight.shape();
        // The shape rule refuses operands of any other rank.
        let kernel = if let [_, _, height, width] = *shape { [height, width] } else { [1, 1] };
        let window = options.window(op, kernel);
        let y = match options.groups {
            1 => self.tape().apply(Op::Conv2d { window }, &[self.id(), weight.id()]),
            groups => {
                let (input, _) = self.channels(op, weight);
                if groups == 0 || !input.is_multiple_of(groups) || !shape[0].is_multiple_of(groups) {
                    let finding = format!("{input} channels to {} cannot be divided into {groups} groups", shape[0]);
                    self.refuse_weight(op, weight, finding);
                }
                let (each, taken) = (input / groups, shape[1]);
                if each != taken {
                    let finding = format!("each of {groups} groups has {each} channels, the weight takes {taken}");
                    self.refuse_weight(op, weight, finding);
                }
                self.in_groups(weight, groups, &Op::Conv2d { window })
            }
        };
        y.plus_bias(op, bias, shape[0], [self, weight])
    }

    /// The transposed convolution of images.
    #[track_caller]
    fn convolve_back(self, op: &'static str, weight: Self, bias: Option<Self>, options: ConvOptions) -> Self {
        self.assert_same_tape(op, weight);
        let (input, size) = self.channels(op, weight);
        let (shape, groups) = (weight.shape(), options.groups);
        if groups == 0 || !input.is_multiple_of(groups) {
            self.refuse_weight(op, weight, format!("{input} channels cannot be divided into {groups} groups"));
        }
        if shape[0] != input {
            self.refuse_weight(op, weight, format!("the input has {input} channels, the weight takes {}", shape[0]));
        }
        let window = options.window(op, [shape[2], shape[3]]);
        let size = match options.transposed_size(window, size) {
            Ok(size) => Size2d::from(size).lengths(op),
            Err(finding) => self.refuse_weight(op, weight, finding),
        };
        let transposed = Op::Conv2dInput { window, size };
        let y = match groups {
            1 => self.tape().apply(transposed, &[self.id(), weight.id()]),
            _ => self.in_groups(weight, groups, &transposed),
        };
        y.plus_bias(op, bias, shape[1] * groups, [self, weight])
    }

    /// Returns the number of channels of images, and their size. It refuses images or a weight of another rank.
    #[track_caller]
    fn channels(self, op: &'static str, weight: Self) -> (usize, [usize; 2]) {
        match *self.shape() {
            [_, channels, height, width] if weight.ndim() == 4 => (channels, [height, width]),
            _ => self.refuse_weight(op, weight, "input and weight have 4 axes each".into()),
        }
    }

    /// Applies an operation to each group of channels and its part of the weight's first axis. The number of groups
    /// divides both.
    #[track_caller]
    fn in_groups(self, weight: Self, groups: usize, op: &Op<T>) -> Self {
        let (channels, rows) = (self.shape()[1] / groups, weight.shape()[0] / groups);
        let mut parts = Vec::with_capacity(groups);
        for group in 0..groups {
            let x = self.apply(Linear::Slice { axis: 1, start: group * channels, step: 1, length: channels });
            let w = weight.apply(Linear::Slice { axis: 0, start: group * rows, step: 1, length: rows });
            parts.push(self.tape().apply(op.clone(), &[x.id(), w.id()]));
        }
        Self::concat(&parts, 1)
    }

    /// Adds a number to each channel of the result for `x` and `weight`.
    #[track_caller]
    fn plus_bias(self, op: &'static str, bias: Option<Self>, channels: usize, [x, weight]: [Self; 2]) -> Self {
        let Some(bias) = bias else { return self };
        self.assert_same_tape(op, bias);
        if *bias.shape() != [channels] {
            let finding = format!("the bias is not of shape ({channels},)");
            let error = ShapeError::new(op, &[&x.shape(), &weight.shape(), &bias.shape()], finding);
            panic!("{}", self.tape().explain(&error, &[x.id(), weight.id(), bias.id()]));
        }
        self.add(bias.apply(Linear::Reshape { shape: Shape::from([channels, 1, 1]) }))
    }

    #[track_caller]
    fn refuse_weight(self, op: &'static str, weight: Self, finding: String) -> ! {
        let error = ShapeError::new(op, &[&self.shape(), &weight.shape()], finding);
        panic!("{}", self.tape().explain(&error, &[self.id(), weight.id()]))
    }
}
