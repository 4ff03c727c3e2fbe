//! Methods of [`Var`] for normalization: of layers, of root mean squares, of batches.

use super::running::RunningStatistics;
use crate::op::{Linear, Op};
use crate::scalar::Scalar;
use crate::shape::{AxisSet, KeepDims, Shape, ShapeError};
use crate::tape::Var;

/// Normalization.
impl<T: Scalar> Var<'_, T> {
    /// Returns the array normalized over `axes`: `(x - mean) / √(variance + eps)`. Negative axes count from the end.
    ///
    /// Over the last axes it is layer normalization without gain and bias. Over the axes of each image it is instance
    /// normalization.
    ///
    /// # Shapes
    ///
    /// Same shape. The variance divides by the number of elements.
    ///
    /// # Derivative
    ///
    /// With the result `y`: `(g - mean g - y mean(g y)) / √(variance + eps)` (Ba, Kiros and Hinton 2016).
    ///
    /// # Panics
    ///
    /// If an axis is out of range or named twice.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0, 3.0], [5.0, 1.0]]);
    /// assert_eq!(x.standardize([-1], 0.0).value(), array![[-1.0, 1.0], [1.0, -1.0]].into_dyn());
    /// ```
    #[doc(alias("layer_norm", "LayerNorm", "elementwise_affine", "instance_norm", "InstanceNorm2d"))]
    #[track_caller]
    #[must_use]
    pub fn standardize(self, axes: impl AsRef<[isize]>, eps: T) -> Self {
        let axes = self.check(AxisSet::new("standardize", axes.as_ref(), &self.shape()));
        self.apply(Op::Normalize { axes, eps })
    }

    /// Returns the array divided by its root mean square over its last axes: `x / √(mean(x²) + eps) · gain`. The shape
    /// of `gain` says which axes.
    ///
    /// # Shapes
    ///
    /// `(.., D)` with a `gain` of shape `(D)`, or several axes in place of `D`.
    ///
    /// # Derivative
    ///
    /// With `h = g · gain`, `r = √(mean(x²) + eps)` and `y = x / r`: `(h - y mean(h y)) / r` by the array, `Σ g y` by
    /// `gain` (Zhang and Sennrich 2019).
    ///
    /// # Panics
    ///
    /// If `gain` does not have the shape of the last axes, or the operands are on different tapes.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let (x, gain) = (tape.leaf(array![[1.0, -7.0]]), tape.leaf(array![10.0, 1.0]));
    /// let y = x.rms_norm(gain, 0.0); // √((1 + 49) / 2) = 5
    /// assert_eq!(y.value(), array![[2.0, -1.4]].into_dyn());
    /// ```
    #[doc(alias = "RMSNorm")]
    #[track_caller]
    #[must_use]
    pub fn rms_norm(self, gain: Self, eps: T) -> Self {
        let (shape, last) = (self.shape(), gain.shape());
        if last.is_empty() || !shape.ends_with(&last) {
            self.refuse_norm("rms_norm", &[gain], "gain is not of the shape of the last axes".into());
        }
        self.assert_same_tape("rms_norm", gain);
        let axes: Vec<isize> = (1..=last.len()).map(|axis| -(axis as isize)).collect();
        let root = self.square().mean_axes(axes, KeepDims::Yes).add(eps).sqrt();
        self.div(root).mul(gain)
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
    #[doc(alias = "LayerNorm")]
    #[track_caller]
    #[must_use]
    pub fn layer_norm(self, gain: Self, bias: Self, eps: T) -> Self {
        let (shape, last) = (self.shape(), gain.shape());
        if last.is_empty() || !shape.ends_with(&last) || bias.shape() != last {
            self.refuse_norm("layer_norm", &[gain, bias], "gain and bias are not of the shape of the last axes".into());
        }
        self.assert_same_tape("layer_norm", gain);
        self.assert_same_tape("layer_norm", bias);
        let axes = (shape.len() - last.len()..shape.len()).fold(AxisSet::default(), AxisSet::with);
        self.tape().apply(Op::NormalizeAffine { axes, eps }, &[self.id(), gain.id(), bias.id()])
    }

    /// Returns the array with each channel (axis 1) normalized over all other axes:
    /// `(x - mean) / √(variance + eps) · gain + bias`. Mean and variance are those of this batch.
    ///
    /// [`batch_norm_running`](Self::batch_norm_running) also keeps averages of them, and
    /// [`batch_norm_with`](Self::batch_norm_with) takes given ones.
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
    #[doc(alias("BatchNorm1d", "BatchNorm2d"))]
    #[track_caller]
    #[must_use]
    pub fn batch_norm(self, gain: Self, bias: Self, eps: T) -> Self {
        self.channels_of_batch("batch_norm", &[gain, bias]);
        let axes = (0..self.ndim()).filter(|&axis| axis != 1).fold(AxisSet::default(), AxisSet::with);
        let (gain, bias) = (gain.per_channel(self), bias.per_channel(self));
        self.tape().apply(Op::NormalizeAffine { axes, eps }, &[self.id(), gain.id(), bias.id()])
    }

    /// Returns [`batch_norm`](Self::batch_norm), and moves running averages of mean and variance towards those of this
    /// batch. It is the training form of batch normalization.
    ///
    /// The averages move when this is recorded. A [`Program`](crate::Program) that runs it again does not move them.
    ///
    /// # Panics
    ///
    /// Like [`batch_norm`](Self::batch_norm), and if the averages are for another number of channels, or each channel
    /// has only one element.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{RunningStatistics, Tape};
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0], [3.0]]);
    /// let (gain, bias) = (tape.leaf(array![10.0]), tape.leaf(array![0.5]));
    /// let running = RunningStatistics::new(1).with_momentum(0.5);
    /// assert_eq!(x.batch_norm_running(gain, bias, &running, 0.0).value(), array![[-9.5], [10.5]].into_dyn());
    /// assert_eq!(running.mean().value()[[0]], 1.0); // half way from 0 to 2
    /// assert_eq!(running.variance().value()[[0]], 1.5); // half way from 1 to 2, the unbiased variance
    /// ```
    #[doc(alias("running_mean", "running_var", "track_running_stats"))]
    #[track_caller]
    #[must_use]
    pub fn batch_norm_running(self, gain: Self, bias: Self, running: &RunningStatistics<T>, eps: T) -> Self {
        let y = self.batch_norm(gain, bias, eps);
        // Not `value`, which a program would note as a decision of the code.
        running.observe(self.tape().array(self.id()));
        y
    }

    /// Returns the array with each channel (axis 1) normalized by a given mean and variance:
    /// `(x - mean) / √(variance + eps) · gain + bias`. It is the evaluation form of batch normalization.
    ///
    /// # Shapes
    ///
    /// `(N, C, ..)` with `mean`, `variance`, `gain` and `bias` of shape `(C)`.
    ///
    /// # Panics
    ///
    /// Like [`batch_norm`](Self::batch_norm).
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0], [3.0]]);
    /// let [mean, variance, gain, bias] = [2.0, 4.0, 10.0, 0.5].map(|number| tape.constant(array![number]));
    /// let y = x.batch_norm_with(mean, variance, gain, bias, 0.0);
    /// assert_eq!(y.value(), array![[-4.5], [5.5]].into_dyn()); // (1 - 2) / 2 · 10 + 0.5
    /// ```
    #[track_caller]
    #[must_use]
    pub fn batch_norm_with(self, mean: Self, variance: Self, gain: Self, bias: Self, eps: T) -> Self {
        self.channels_of_batch("batch_norm_with", &[mean, variance, gain, bias]);
        let scale = gain.div(variance.add(eps).sqrt());
        self.sub(mean.per_channel(self)).mul(scale.per_channel(self)).add(bias.per_channel(self))
    }

    /// Checks operands with a number for each channel of a batch.
    #[track_caller]
    fn channels_of_batch(self, op: &'static str, numbers: &[Self]) {
        let shape = self.shape();
        let &[_, channels, ..] = &*shape else {
            self.refuse(op, format!("the operand has {} axes, not at least 2", shape.len()));
        };
        if numbers.iter().any(|number| *number.shape() != [channels]) {
            let names = if numbers.len() == 2 { "gain and bias" } else { "mean, variance, gain and bias" };
            self.refuse_norm(op, numbers, format!("{names} are not of shape ({channels},)"));
        }
        for &number in numbers {
            self.assert_same_tape(op, number);
        }
    }

    /// Returns a vector of numbers for channels, with as many trailing axes as a batch has after its axis 1: so it
    /// broadcasts.
    #[track_caller]
    fn per_channel(self, batch: Self) -> Self {
        if batch.ndim() == 2 {
            return self;
        }
        let mut shape = self.shape();
        (2..batch.ndim()).for_each(|_| shape.push(1));
        self.apply(Linear::Reshape { shape })
    }

    #[track_caller]
    fn refuse_norm(self, op: &'static str, numbers: &[Self], finding: String) -> ! {
        let shapes: Vec<Shape> = std::iter::once(self.shape()).chain(numbers.iter().map(|x| x.shape())).collect();
        let shapes: Vec<&[usize]> = shapes.iter().map(|shape| &**shape).collect();
        let error = ShapeError::new(op, &shapes, finding);
        panic!("{}", self.tape().explain(&error, &[self.id()]))
    }
}
