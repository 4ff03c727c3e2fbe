//! Methods of [`Var`] that reduce: sums, extrema, moments, softmax.

use crate::number::Algebra;
use crate::op::{End, Linear, Op, ReduceKind};
use crate::scalar::Scalar;
use crate::shape::{AxisSet, KeepDims, resolve_axis};
use crate::tape::{Detach, Var};

/// Returns the sum over axes.
fn sum<T>(axes: AxisSet, keep: KeepDims) -> Op<T> {
    Op::Reduce { kind: ReduceKind::Sum, axes, keep }
}

impl<T: Scalar> Var<'_, T> {
    #[track_caller]
    fn reduce_all(self, kind: ReduceKind) -> Self {
        self.apply(Op::Reduce { kind, axes: AxisSet::all(self.shape().len()), keep: KeepDims::No })
    }

    #[track_caller]
    fn reduce_over(self, kind: ReduceKind, axes: &[isize], keep: KeepDims) -> Self {
        let axes = self.check(AxisSet::new(kind.name(), axes, &self.shape()));
        self.apply(Op::Reduce { kind, axes, keep })
    }

    /// Returns the sum of all elements, a scalar.
    ///
    /// # Derivative
    ///
    /// `g` for each element.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// assert_eq!(tape.leaf(array![[1.0, 2.0], [3.0, 4.0]]).sum().item(), 10.0);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn sum(self) -> Self {
        self.reduce_all(ReduceKind::Sum)
    }

    /// Returns the sum over `axes`. Negative axes count from the end. The sum over no elements is 0.
    ///
    /// # Panics
    ///
    /// If an axis is out of range or named twice.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{KeepDims, Tape};
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.sum_axes([0], KeepDims::No).value(), array![4.0, 6.0].into_dyn());
    /// assert_eq!(x.sum_axes([-1], KeepDims::Yes).value(), array![[3.0], [7.0]].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn sum_axes(self, axes: impl AsRef<[isize]>, keep: KeepDims) -> Self {
        self.reduce_over(ReduceKind::Sum, axes.as_ref(), keep)
    }

    /// Returns the mean of all elements, a scalar. The mean of an empty array is NaN.
    ///
    /// # Derivative
    ///
    /// `g / n` for each of the `n` elements.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// assert_eq!(tape.leaf(array![[1.0, 2.0], [3.0, 4.0]]).mean().item(), 2.5);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn mean(self) -> Self {
        let count = self.shape().elements();
        self.sum().divide_by(T::from_f64(count as f64))
    }

    /// Returns the mean over `axes`. Negative axes count from the end. The mean over no elements is NaN.
    ///
    /// # Panics
    ///
    /// If an axis is out of range or named twice.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{KeepDims, Tape};
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.mean_axes([1], KeepDims::No).value(), array![1.5, 3.5].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn mean_axes(self, axes: impl AsRef<[isize]>, keep: KeepDims) -> Self {
        let shape = self.shape();
        let axes = self.check(AxisSet::new("mean", axes.as_ref(), &shape));
        self.apply(sum(axes, keep)).divide_by(T::from_f64(axes.elements(&shape) as f64))
    }

    /// Returns the maximum of all elements, a scalar. It is NaN if an element is NaN.
    ///
    /// # Derivative
    ///
    /// `g` goes to the largest element. Elements that tie get equal shares.
    ///
    /// # Panics
    ///
    /// If there is no element.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![2.0, 5.0, 5.0]);
    /// let y = x.max();
    /// y.backward();
    /// assert_eq!(y.item(), 5.0);
    /// assert_eq!(x.grad().unwrap(), array![0.0, 0.5, 0.5].into_dyn());
    /// ```
    #[doc(alias = "amax")]
    #[track_caller]
    #[must_use]
    pub fn max(self) -> Self {
        self.reduce_all(ReduceKind::Max)
    }

    /// Returns the maximum over `axes`, like [`max`](Self::max). Negative axes count from the end.
    ///
    /// # Panics
    ///
    /// If an axis is out of range or named twice, or if the maximum is over no elements.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{KeepDims, Tape};
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0, 2.0], [4.0, 3.0]]);
    /// assert_eq!(x.max_axes([1], KeepDims::No).value(), array![2.0, 4.0].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn max_axes(self, axes: impl AsRef<[isize]>, keep: KeepDims) -> Self {
        self.reduce_over(ReduceKind::Max, axes.as_ref(), keep)
    }

    /// Returns the minimum of all elements, a scalar. It is NaN if an element is NaN.
    ///
    /// # Derivative
    ///
    /// `g` goes to the smallest element. Elements that tie get equal shares.
    ///
    /// # Panics
    ///
    /// If there is no element.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![7.0, 5.0, 5.0]);
    /// let y = x.min();
    /// y.backward();
    /// assert_eq!(y.item(), 5.0);
    /// assert_eq!(x.grad().unwrap(), array![0.0, 0.5, 0.5].into_dyn());
    /// ```
    #[doc(alias = "amin")]
    #[track_caller]
    #[must_use]
    pub fn min(self) -> Self {
        self.reduce_all(ReduceKind::Min)
    }

    /// Returns the minimum over `axes`, like [`min`](Self::min). Negative axes count from the end.
    ///
    /// # Panics
    ///
    /// If an axis is out of range or named twice, or if the minimum is over no elements.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{KeepDims, Tape};
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0, 2.0], [4.0, 3.0]]);
    /// assert_eq!(x.min_axes([1], KeepDims::No).value(), array![1.0, 3.0].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn min_axes(self, axes: impl AsRef<[isize]>, keep: KeepDims) -> Self {
        self.reduce_over(ReduceKind::Min, axes.as_ref(), keep)
    }

    /// Returns the product of all elements, a scalar. The product of an empty array is 1.
    ///
    /// # Derivative
    ///
    /// `g` times the product of the other elements. This product is computed without a division, so derivatives of any
    /// order are exact beside zeros. Neighbours are multiplied first: if their product overflows or underflows, so does
    /// the derivative.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![0.0, 2.0, 3.0]);
    /// let y = x.prod();
    /// y.backward();
    /// assert_eq!(y.item(), 0.0);
    /// assert_eq!(x.grad().unwrap(), array![6.0, 0.0, 0.0].into_dyn());
    /// ```
    #[doc(alias = "product")]
    #[track_caller]
    #[must_use]
    pub fn prod(self) -> Self {
        self.reduce_all(ReduceKind::Prod)
    }

    /// Returns the product over `axes`, like [`prod`](Self::prod). Negative axes count from the end.
    ///
    /// # Panics
    ///
    /// If an axis is out of range or named twice.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{KeepDims, Tape};
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0, 2.0], [4.0, 3.0]]);
    /// assert_eq!(x.prod_axes([1], KeepDims::No).value(), array![2.0, 12.0].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn prod_axes(self, axes: impl AsRef<[isize]>, keep: KeepDims) -> Self {
        self.reduce_over(ReduceKind::Prod, axes.as_ref(), keep)
    }

    /// Returns the Euclidean norm of all elements, `√Σ x²`, a scalar. For a matrix it is the Frobenius norm.
    ///
    /// The squares neither overflow nor underflow.
    ///
    /// # Derivative
    ///
    /// `x / y`, and 0 where the norm is 0.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![3.0, 4.0]);
    /// let y = x.norm();
    /// y.backward();
    /// assert_eq!(y.item(), 5.0);
    /// assert_eq!(x.grad().unwrap(), array![0.6, 0.8].into_dyn());
    /// ```
    #[doc(alias = "vector_norm")]
    #[track_caller]
    #[must_use]
    pub fn norm(self) -> Self {
        self.reduce_all(ReduceKind::Norm)
    }

    /// Returns the Euclidean norm over `axes`, like [`norm`](Self::norm). Negative axes count from the end.
    ///
    /// # Panics
    ///
    /// If an axis is out of range or named twice.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{KeepDims, Tape};
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[3.0, 4.0], [0.0, 2.0]]);
    /// assert_eq!(x.norm_axes([1], KeepDims::No).value(), array![5.0, 2.0].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn norm_axes(self, axes: impl AsRef<[isize]>, keep: KeepDims) -> Self {
        self.reduce_over(ReduceKind::Norm, axes.as_ref(), keep)
    }

    /// Returns `ln Σ e^x` over all elements, a scalar. For an empty array it is minus infinity.
    ///
    /// The maximum is subtracted first, so nothing overflows.
    ///
    /// # Derivative
    ///
    /// `e^x / Σ e^x`. Elements of minus infinity get 0, even if there are no others. Elements of infinity get equal
    /// shares.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![1000.0, 1000.0, f64::NEG_INFINITY]);
    /// let y = x.logsumexp();
    /// y.backward();
    /// assert_eq!(y.item(), 1000.0 + 2.0_f64.ln());
    /// assert_eq!(x.grad().unwrap(), array![0.5, 0.5, 0.0].into_dyn());
    /// ```
    #[doc(alias = "log_sum_exp")]
    #[track_caller]
    #[must_use]
    pub fn logsumexp(self) -> Self {
        self.reduce_all(ReduceKind::LogSumExp)
    }

    /// Returns `ln Σ e^x` over `axes`, like [`logsumexp`](Self::logsumexp). Negative axes count from the end.
    ///
    /// # Panics
    ///
    /// If an axis is out of range or named twice.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{KeepDims, Tape};
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[0.0, 0.0], [-1000.0, 5.0]]);
    /// assert_eq!(x.logsumexp_axes([1], KeepDims::No).value(), array![2.0_f64.ln(), 5.0].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn logsumexp_axes(self, axes: impl AsRef<[isize]>, keep: KeepDims) -> Self {
        self.reduce_over(ReduceKind::LogSumExp, axes.as_ref(), keep)
    }

    /// Returns the variance of all `n` elements, `Σ (x - mean)² / (n - ddof)`, a scalar.
    ///
    /// As in NumPy, `ddof` is 0 for the variance of a population and 1 for the estimate from a sample. (PyTorch's
    /// default is 1.) If there are no degrees of freedom, `n <= ddof`, the divisor is 0.
    ///
    /// # Derivative
    ///
    /// `2 (x - mean) / (n - ddof)`
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![1.0, 2.0, 3.0]);
    /// let y = x.var(1);
    /// y.backward();
    /// assert_eq!(y.item(), 1.0); // (1 + 0 + 1) / 2
    /// assert_eq!(x.grad().unwrap(), array![-1.0, 0.0, 1.0].into_dyn());
    /// ```
    #[doc(alias = "variance")]
    #[track_caller]
    #[must_use]
    pub fn var(self, ddof: usize) -> Self {
        self.variance(AxisSet::all(self.shape().len()), ddof, KeepDims::No)
    }

    /// Returns the variance over `axes`, like [`var`](Self::var). Negative axes count from the end.
    ///
    /// # Panics
    ///
    /// If an axis is out of range or named twice.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{KeepDims, Tape};
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0, 3.0], [5.0, 5.0]]);
    /// assert_eq!(x.var_axes([1], 0, KeepDims::No).value(), array![1.0, 0.0].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn var_axes(self, axes: impl AsRef<[isize]>, ddof: usize, keep: KeepDims) -> Self {
        let axes = self.check(AxisSet::new("var", axes.as_ref(), &self.shape()));
        self.variance(axes, ddof, keep)
    }

    #[track_caller]
    fn variance(self, axes: AxisSet, ddof: usize, keep: KeepDims) -> Self {
        let (centered, freedom) = self.centered(axes, ddof);
        centered.square().apply(sum(axes, keep)).divide_by(freedom)
    }

    /// Returns `x - mean` over `axes` and the number of degrees of freedom.
    #[track_caller]
    fn centered(self, axes: AxisSet, ddof: usize) -> (Self, T) {
        let count = axes.elements(&self.shape());
        let divisor = T::from_f64(count as f64);
        // The mean of large numbers can have a rounding error larger than their differences. The mean of `x - shift`
        // corrects it. A shift of all elements does not change the result, so the shift is detached: derivatives of any
        // order are right, and a sweep passes through one mean only.
        let detaching = self.tape().detach_all(Detach::Yes);
        let shift = self.apply(sum(axes, KeepDims::Yes)).divide_by(divisor);
        drop(detaching);
        let near = self - shift;
        let mean = near.apply(sum(axes, KeepDims::Yes)).divide_by(divisor);
        (near - mean, T::from_f64(count.saturating_sub(ddof) as f64))
    }

    /// Returns the standard deviation of all elements, the square root of [`var`](Self::var), a scalar.
    ///
    /// # Derivative
    ///
    /// `(x - mean) / ((n - ddof) y)`, and 0 where all elements are equal.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![1.0, 3.0]);
    /// let y = x.std(0);
    /// y.backward();
    /// assert_eq!(y.item(), 1.0);
    /// assert!((x.grad().unwrap()[[1]] - 0.5_f64).abs() < 1e-15);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn std(self, ddof: usize) -> Self {
        self.deviation(AxisSet::all(self.shape().len()), ddof, KeepDims::No)
    }

    /// Returns the standard deviation over `axes`, like [`std`](Self::std). Negative axes count from the end.
    ///
    /// # Panics
    ///
    /// If an axis is out of range or named twice.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{KeepDims, Tape};
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0, 5.0], [5.0, 5.0]]);
    /// let y = x.std_axes([1], 0, KeepDims::No);
    /// y.sum().backward();
    /// assert!((y.value()[[0]] - 2.0_f64).abs() < 1e-15 && y.value()[[1]] == 0.0);
    /// assert_eq!(x.grad().unwrap()[[1, 0]], 0.0);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn std_axes(self, axes: impl AsRef<[isize]>, ddof: usize, keep: KeepDims) -> Self {
        let axes = self.check(AxisSet::new("std", axes.as_ref(), &self.shape()));
        self.deviation(axes, ddof, keep)
    }

    #[track_caller]
    fn deviation(self, axes: AxisSet, ddof: usize, keep: KeepDims) -> Self {
        // A norm, because its derivative at 0 is 0.
        let (centered, freedom) = self.centered(axes, ddof);
        let divisor = freedom.sqrt();
        // Without degrees of freedom the result is 0 / 0. The derivative 0 of a norm of 0 would hide this from the
        // sweep.
        let centered = if freedom == T::ZERO { centered.divide_by(divisor) } else { centered };
        centered.apply(Op::Reduce { kind: ReduceKind::Norm, axes, keep }).divide_by(divisor)
    }

    /// Returns the running sums along an axis: element `i` is the sum of the elements 0 to `i`, accumulated in `f64`.
    ///
    /// # Derivative
    ///
    /// The running sums of `g` from the last element to the first.
    ///
    /// # Panics
    ///
    /// If the axis is out of range.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![1.0, 2.0, 3.0]);
    /// let y = x.cumsum(0);
    /// y.sum().backward();
    /// assert_eq!(y.value(), array![1.0, 3.0, 6.0].into_dyn());
    /// assert_eq!(x.grad().unwrap(), array![3.0, 2.0, 1.0].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn cumsum(self, axis: isize) -> Self {
        let axis = self.check(resolve_axis("cumsum", axis, &self.shape()));
        self.apply(Linear::CumSum { axis, from: End::First })
    }

    /// Returns `e^x / Σ e^x` along an axis.
    ///
    /// The maximum is subtracted first, so nothing overflows.
    ///
    /// # Derivative
    ///
    /// `y (g - Σ g y)`, summed along the axis.
    ///
    /// # Panics
    ///
    /// If the axis is out of range.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1000.0, 1000.0]]);
    /// assert_eq!(x.softmax(-1).value(), array![[0.5, 0.5]].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn softmax(self, axis: isize) -> Self {
        let axis = self.check(resolve_axis("softmax", axis, &self.shape()));
        self.apply(Op::Softmax { axis })
    }

    /// Returns the logarithm of [`softmax`](Self::softmax), `x - ln Σ e^x` along an axis.
    ///
    /// The maximum is subtracted first (log-sum-exp), so the result is accurate even if the softmax itself underflows.
    ///
    /// # Derivative
    ///
    /// `g - e^y Σ g`, summed along the axis.
    ///
    /// # Panics
    ///
    /// If the axis is out of range.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[0.0, 1000.0]]);
    /// assert_eq!(x.log_softmax(-1).value(), array![[-1000.0, 0.0]].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn log_softmax(self, axis: isize) -> Self {
        let axis = self.check(resolve_axis("log_softmax", axis, &self.shape()));
        self.apply(Op::LogSoftmax { axis })
    }
}
