//! Methods of [`Var`] for pooling: one number for each window of the last two axes.

use super::window::Size2d;
use crate::kernel::window::Window;
use crate::op::{Linear, Op};
use crate::scalar::Scalar;
use crate::shape::KeepDims;
use crate::tape::Var;

/// The windows of a pooling with padding.
///
/// # Example
///
/// ```
/// use tapegrad::PoolOptions;
///
/// // The stride is the size of the window, as in PyTorch.
/// assert_eq!(PoolOptions::new(3), PoolOptions::new([3, 3]).with_stride(3).with_padding(0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolOptions {
    pub(crate) kernel: Size2d,
    pub(crate) stride: Size2d,
    pub(crate) padding: Size2d,
    pub(crate) divisor: PoolDivisor,
}

/// What an average over a window at the edge divides by.
///
/// # Example
///
/// See [`PoolOptions::with_divisor`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PoolDivisor {
    /// The number of all elements of the window, with those of the padding: PyTorch's `count_include_pad=True`.
    #[default]
    #[doc(alias = "count_include_pad")]
    Window,
    /// The number of elements of the window that belong to the array.
    Elements,
}

impl PoolOptions {
    /// Returns windows of this size, side by side, without padding.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{PoolOptions, Tape};
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]);
    /// assert_eq!(x.max_pool2d_with(&PoolOptions::new(2)).value(), array![[6.0, 8.0]].into_dyn());
    /// ```
    #[must_use]
    pub fn new(kernel: impl Into<Size2d>) -> Self {
        let kernel = kernel.into();
        Self { kernel, stride: kernel, padding: Size2d::from(0), divisor: PoolDivisor::Window }
    }

    /// Returns the options with this distance between neighbouring windows.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{PoolOptions, Tape};
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0, 3.0, 2.0]]);
    /// let y = x.max_pool2d_with(&PoolOptions::new([1, 2]).with_stride(1));
    /// assert_eq!(y.value(), array![[3.0, 3.0]].into_dyn());
    /// ```
    #[must_use]
    pub fn with_stride(self, stride: impl Into<Size2d>) -> Self {
        Self { stride: stride.into(), ..self }
    }

    /// Returns the options with this padding before and after each axis: of zeros for an average, of -∞ for a maximum.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{PoolOptions, Tape};
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[-1.0, -3.0]]);
    /// let y = x.max_pool2d_with(&PoolOptions::new([1, 2]).with_padding([0, 1]));
    /// assert_eq!(y.value(), array![[-1.0, -3.0]].into_dyn()); // of -∞, -1 and of -3, -∞
    /// ```
    #[must_use]
    pub fn with_padding(self, padding: impl Into<Size2d>) -> Self {
        Self { padding: padding.into(), ..self }
    }

    /// Returns the options with this divisor of averages.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{PoolDivisor, PoolOptions, Tape};
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[2.0, 6.0]]);
    /// let options = PoolOptions::new([1, 2]).with_padding([0, 1]);
    /// assert_eq!(x.avg_pool2d_with(&options).value(), array![[1.0, 3.0]].into_dyn()); // (0 + 2) / 2, (6 + 0) / 2
    /// let options = options.with_divisor(PoolDivisor::Elements);
    /// assert_eq!(x.avg_pool2d_with(&options).value(), array![[2.0, 6.0]].into_dyn());
    /// ```
    #[must_use]
    pub fn with_divisor(self, divisor: PoolDivisor) -> Self {
        Self { divisor, ..self }
    }
}

impl<K: Into<Size2d>> From<K> for PoolOptions {
    /// Windows of this size, side by side.
    fn from(kernel: K) -> Self {
        Self::new(kernel)
    }
}

/// Pooling.
impl<T: Scalar> Var<'_, T> {
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
    #[doc(alias = "MaxPool2d")]
    #[track_caller]
    #[must_use]
    pub fn max_pool2d(self, kernel: impl Into<Size2d>, stride: impl Into<Size2d>) -> Self {
        let (kernel, stride) = (kernel.into().lengths("max_pool2d"), stride.into().lengths("max_pool2d"));
        // The array is both operands: the one that is searched, and the one that elements are taken from.
        self.tape().apply(Op::TakeAtArgmax2d { window: Window::new(kernel, stride) }, &[self.id(), self.id()])
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
    #[doc(alias = "AvgPool2d")]
    #[track_caller]
    #[must_use]
    pub fn avg_pool2d(self, kernel: impl Into<Size2d>, stride: impl Into<Size2d>) -> Self {
        let (kernel, stride) = (kernel.into().lengths("avg_pool2d"), stride.into().lengths("avg_pool2d"));
        self.apply(Linear::AvgPool2d { window: Window::new(kernel, stride) })
    }

    /// Returns the largest element of each window of the last two axes, like [`max_pool2d`](Self::max_pool2d), with
    /// padding.
    ///
    /// # Shapes
    ///
    /// `(.., H, W) -> (.., H', W')` where `H' = (H + 2 padding - kernel) / stride + 1`, rounded down, and `W'` likewise.
    ///
    /// # Derivative
    ///
    /// Like [`max_pool2d`](Self::max_pool2d). An element of -∞ that ties with the padding before it gets nothing.
    ///
    /// # Panics
    ///
    /// Like [`max_pool2d`](Self::max_pool2d), and if the padding is more than half of the window: a window could lie in
    /// the padding as a whole.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{PoolOptions, Tape};
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[-1.0, -3.0, -2.0]]);
    /// let y = x.max_pool2d_with(&PoolOptions::new([1, 2]).with_padding([0, 1]));
    /// assert_eq!(y.value(), array![[-1.0, -2.0]].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn max_pool2d_with(self, options: &PoolOptions) -> Self {
        self.padded("max_pool2d", options, T::NEG_INFINITY).max_pool2d(options.kernel, options.stride)
    }

    /// Returns the mean of each window of the last two axes, like [`avg_pool2d`](Self::avg_pool2d), with padding.
    ///
    /// # Shapes
    ///
    /// Like [`max_pool2d_with`](Self::max_pool2d_with).
    ///
    /// # Panics
    ///
    /// Like [`max_pool2d_with`](Self::max_pool2d_with).
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{PoolDivisor, PoolOptions, Tape};
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[2.0, 3.0, 5.0]]);
    /// let options = PoolOptions::new([1, 2]).with_padding([0, 1]);
    /// assert_eq!(x.avg_pool2d_with(&options).value(), array![[1.0, 4.0]].into_dyn()); // (0 + 2) / 2
    /// let options = options.with_divisor(PoolDivisor::Elements);
    /// assert_eq!(x.avg_pool2d_with(&options).value(), array![[2.0, 4.0]].into_dyn()); // 2 / 1
    /// ```
    #[track_caller]
    #[must_use]
    pub fn avg_pool2d_with(self, options: &PoolOptions) -> Self {
        let y = self.padded("avg_pool2d", options, T::ZERO).avg_pool2d(options.kernel, options.stride);
        if options.divisor == PoolDivisor::Window || options.padding == Size2d::from(0) {
            return y;
        }
        // The mean of ones is the part of the window that is not padding.
        let shape = self.shape();
        let ones = ndarray::Array2::ones([shape[shape.len() - 2], shape[shape.len() - 1]]);
        let ones = self.tape().constant(ones).padded("avg_pool2d", options, T::ZERO);
        y.div(ones.avg_pool2d(options.kernel, options.stride))
    }

    /// Returns the largest element of each plane of the last two axes, which stay with length 1.
    ///
    /// # Derivative
    ///
    /// `g` goes to the largest element, at a tie to the first in row-major order.
    ///
    /// # Panics
    ///
    /// If there are fewer than two axes, or no elements in a plane.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0, 7.0], [7.0, 5.0]]);
    /// let y = x.global_max_pool2d();
    /// y.sum().backward();
    /// assert_eq!(y.value(), array![[7.0]].into_dyn());
    /// assert_eq!(x.grad().unwrap(), array![[0.0, 1.0], [0.0, 0.0]].into_dyn());
    /// ```
    #[doc(alias("adaptive_max_pool2d", "AdaptiveMaxPool2d"))]
    #[track_caller]
    #[must_use]
    pub fn global_max_pool2d(self) -> Self {
        let size = self.plane("global_max_pool2d");
        self.max_pool2d(size, 1)
    }

    /// Returns the mean of each plane of the last two axes, which stay with length 1.
    ///
    /// # Derivative
    ///
    /// `g / (H W)` for each element.
    ///
    /// # Panics
    ///
    /// If there are fewer than two axes.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0, 3.0], [5.0, 7.0]]);
    /// assert_eq!(x.global_avg_pool2d().value(), array![[4.0]].into_dyn());
    /// ```
    #[doc(alias("adaptive_avg_pool2d", "AdaptiveAvgPool2d"))]
    #[track_caller]
    #[must_use]
    pub fn global_avg_pool2d(self) -> Self {
        self.plane("global_avg_pool2d");
        self.mean_axes([-2, -1], KeepDims::Yes)
    }

    /// Returns the lengths of the last two axes.
    #[track_caller]
    fn plane(self, op: &'static str) -> [usize; 2] {
        match *self.shape() {
            [.., height, width] => [height, width],
            ref shape => self.refuse(op, format!("the operand has {} axes, not at least 2", shape.len())),
        }
    }

    /// Returns the array with a padding around the last two axes.
    #[track_caller]
    fn padded(self, op: &'static str, options: &PoolOptions, value: T) -> Self {
        self.plane(op);
        let (kernel, padding) = (options.kernel.get(), options.padding.get());
        if (0..2).any(|axis| padding[axis] > kernel[axis] / 2) {
            self.refuse(op, format!("a padding of {padding:?} is more than half of a window of {kernel:?}"));
        }
        let mut pads = vec![(0, 0); self.ndim() - 2];
        pads.extend(padding.map(|length| (length, length)));
        self.pad(pads, value)
    }
}
