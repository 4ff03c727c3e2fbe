//! Methods of [`Var`] for images and layers: convolution, pooling, normalization.

use crate::kernel::window::Window;
use crate::op::{Linear, Op};
use crate::scalar::Scalar;
use crate::shape::{AxisSet, Shape, ShapeError};
use crate::tape::Var;

/// Two lengths, along height and width: the size of a window, a stride, or a padding.
///
/// Converts from one number for both, from `[height, width]`, and from `(height, width)`.
///
/// # Example
///
/// ```
/// use tapegrad::Size2d;
///
/// assert_eq!(Size2d::from(3), Size2d::from([3, 3]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Size2d([usize; 2]);

impl From<usize> for Size2d {
    fn from(length: usize) -> Self {
        Self([length, length])
    }
}

impl From<[usize; 2]> for Size2d {
    fn from(lengths: [usize; 2]) -> Self {
        Self(lengths)
    }
}

impl From<(usize, usize)> for Size2d {
    fn from((height, width): (usize, usize)) -> Self {
        Self([height, width])
    }
}

impl Size2d {
    /// Returns the lengths in the form that operations store.
    #[track_caller]
    fn lengths(self, op: &str) -> [u32; 2] {
        let mut lengths = [0; 2];
        // A loop, because a panic in a closure would name its own line and not the caller's.
        for (kept, length) in lengths.iter_mut().zip(self.0) {
            *kept = match u32::try_from(length) {
                Ok(length) if length <= u32::MAX / 4 => length,
                _ => panic!("{op}: a window, stride or padding of {length}: at most {} are possible", u32::MAX / 4),
            };
        }
        lengths
    }
}

/// Images and layers.
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
    #[track_caller]
    #[must_use]
    pub fn conv2d(
        self,
        weight: Self,
        bias: Option<Self>,
        stride: impl Into<Size2d>,
        padding: impl Into<Size2d>,
    ) -> Self {
        self.assert_same_tape("conv2d", weight);
        let (stride, padding) = (stride.into().lengths("conv2d"), padding.into().lengths("conv2d"));
        let shape = weight.shape();
        // The shape rule refuses operands of any other rank.
        let kernel =
            if let [_, _, height, width] = *shape { Size2d([height, width]).lengths("conv2d") } else { [1, 1] };
        let y = self.tape().apply(Op::Conv2d { window: Window { kernel, stride, padding } }, &[self.id(), weight.id()]);
        let Some(bias) = bias else { return y };
        self.assert_same_tape("conv2d", bias);
        if *bias.shape() != [shape[0]] {
            let finding = format!("the bias is not of shape ({},)", shape[0]);
            let error = ShapeError::new("conv2d", &[&self.shape(), &shape, &bias.shape()], finding);
            panic!("{}", self.tape().explain(&error, &[self.id(), weight.id(), bias.id()]));
        }
        y.add(bias.apply(Linear::Reshape { shape: [shape[0], 1, 1].into() }))
    }

    /// Returns the largest element of each window of the last two axes.
    ///
    /// # Shapes
    ///
    /// `(.., H, W) -> (.., H', W')` where `H' = (H - kernel) / stride + 1`, rounded down, and `W'` likewise.
    ///
    /// # Derivative
    ///
    /// `g` goes to the largest element. At a tie it goes to the first in row-major order, as in PyTorch; the reductions
    /// [`max`](Self::max) and [`max_axes`](Self::max_axes) give equal shares instead. NaN counts as the largest.
    ///
    /// # Panics
    ///
    /// If there are fewer than two axes, the window is empty or larger than the array, or the stride is 0.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0, 3.0, 0.0, 7.0], [2.0, 3.0, 7.0, 5.0]]);
    /// let y = x.max_pool2d(2, 2);
    /// y.sum().backward();
    /// assert_eq!(y.value(), array![[3.0, 7.0]].into_dyn());
    /// assert_eq!(x.grad().unwrap(), array![[0.0, 1.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn max_pool2d(self, kernel: impl Into<Size2d>, stride: impl Into<Size2d>) -> Self {
        let (kernel, stride) = (kernel.into().lengths("max_pool2d"), stride.into().lengths("max_pool2d"));
        // The array is both operands: the one that is searched, and the one that elements are taken from.
        self.tape()
            .apply(Op::TakeAtArgmax2d { window: Window { kernel, stride, padding: [0, 0] } }, &[self.id(), self.id()])
    }

    /// Returns the mean of each window of the last two axes.
    ///
    /// # Shapes
    ///
    /// `(.., H, W) -> (.., H', W')` where `H' = (H - kernel) / stride + 1`, rounded down, and `W'` likewise.
    ///
    /// # Derivative
    ///
    /// `g / n` for each of the `n` elements of a window. Where windows overlap, the contributions add up.
    ///
    /// # Panics
    ///
    /// Like [`max_pool2d`](Self::max_pool2d).
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0, 2.0, 5.0], [3.0, 4.0, 7.0]]);
    /// let y = x.avg_pool2d(2, 1);
    /// y.sum().backward();
    /// assert_eq!(y.value(), array![[2.5, 4.5]].into_dyn());
    /// assert_eq!(x.grad().unwrap(), array![[0.25, 0.5, 0.25], [0.25, 0.5, 0.25]].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn avg_pool2d(self, kernel: impl Into<Size2d>, stride: impl Into<Size2d>) -> Self {
        let (kernel, stride) = (kernel.into().lengths("avg_pool2d"), stride.into().lengths("avg_pool2d"));
        self.apply(Linear::AvgPool2d { window: Window { kernel, stride, padding: [0, 0] } })
    }

    /// Returns the array normalized over its last axes: `(x - mean) / √(variance + eps) · gain + bias`. The shape of
    /// `gain` says which axes.
    ///
    /// # Shapes
    ///
    /// `(.., D)` with `gain` and `bias` of shape `(D)`, or several axes in place of `D`. The variance divides by the
    /// number of elements.
    ///
    /// # Derivative
    ///
    /// With `h = g · gain` and the normalized array `y`: `(h - mean h - y mean(h y)) / √(variance + eps)` by the array,
    /// `Σ g y` by `gain`, `Σ g` by `bias` (Ba, Kiros and Hinton 2016).
    ///
    /// # Panics
    ///
    /// If `gain` and `bias` do not have the shape of the last axes, or the operands are on different tapes.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0, 3.0], [5.0, 1.0]]);
    /// let (gain, bias) = (tape.leaf(array![10.0, 10.0]), tape.leaf(array![0.5, 0.0]));
    /// let y = x.layer_norm(gain, bias, 0.0);
    /// assert_eq!(y.value(), array![[-9.5, 10.0], [10.5, -10.0]].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn layer_norm(self, gain: Self, bias: Self, eps: T) -> Self {
        let (shape, last) = (self.shape(), gain.shape());
        if last.is_empty() || !shape.ends_with(&last) || bias.shape() != last {
            self.refuse_norm("layer_norm", gain, bias, "gain and bias are not of the shape of the last axes".into());
        }
        self.assert_same_tape("layer_norm", gain);
        self.assert_same_tape("layer_norm", bias);
        let axes = (shape.len() - last.len()..shape.len()).fold(AxisSet::default(), AxisSet::with);
        self.apply(Op::Normalize { axes, eps }).mul(gain).add(bias)
    }

    /// Returns the array with each channel (axis 1) normalized over all other axes:
    /// `(x - mean) / √(variance + eps) · gain + bias`. Mean and variance are those of this batch.
    ///
    /// # Shapes
    ///
    /// `(N, C, ..)` with `gain` and `bias` of shape `(C)`. The variance divides by the number of elements.
    ///
    /// # Derivative
    ///
    /// Like [`layer_norm`](Self::layer_norm), over the other axes (Ioffe and Szegedy 2015).
    ///
    /// # Panics
    ///
    /// If there are fewer than two axes, `gain` and `bias` do not have the shape `(C)`, or the operands are on
    /// different tapes.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0, 5.0], [3.0, 1.0]]);
    /// let (gain, bias) = (tape.leaf(array![10.0, 10.0]), tape.leaf(array![0.5, 0.0]));
    /// let y = x.batch_norm(gain, bias, 0.0);
    /// assert_eq!(y.value(), array![[-9.5, 10.0], [10.5, -10.0]].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn batch_norm(self, gain: Self, bias: Self, eps: T) -> Self {
        let shape = self.shape();
        let &[_, channels, ..] = &*shape else {
            self.refuse("batch_norm", format!("the operand has {} axes, not at least 2", shape.len()));
        };
        if *gain.shape() != [channels] || *bias.shape() != [channels] {
            self.refuse_norm("batch_norm", gain, bias, format!("gain and bias are not of shape ({channels},)"));
        }
        self.assert_same_tape("batch_norm", gain);
        self.assert_same_tape("batch_norm", bias);
        let axes = (0..shape.len()).filter(|&axis| axis != 1).fold(AxisSet::default(), AxisSet::with);
        // To broadcast along axis 1, `gain` and `bias` need as many trailing axes as the array has after it.
        let mut wide = Shape::from([channels]);
        (2..shape.len()).for_each(|_| wide.push(1));
        let (gain, bias) = match shape.len() {
            2 => (gain, bias),
            _ => (gain.apply(Linear::Reshape { shape: wide.clone() }), bias.apply(Linear::Reshape { shape: wide })),
        };
        self.apply(Op::Normalize { axes, eps }).mul(gain).add(bias)
    }

    #[track_caller]
    fn refuse_norm(self, op: &'static str, gain: Self, bias: Self, finding: String) -> ! {
        let error = ShapeError::new(op, &[&self.shape(), &gain.shape(), &bias.shape()], finding);
        panic!("{}", self.tape().explain(&error, &[self.id()]))
    }
}
