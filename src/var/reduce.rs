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

    /// Returns the sum over `axes`, negative ones counted from the end. The sum over no elements is 0.
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

    /// Returns the mean of all elements, a scalar; NaN of no elements.
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

    /// Returns the mean over `axes`, negative ones counted from the end; NaN of no elements.
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

    /// Returns the maximum of all elements, a scalar; NaN if one is NaN.
    ///
    /// # Derivative
    ///
    /// `g` goes to the maximal element; several that tie share it evenly.
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

    /// Returns the maximum over `axes`, negative ones counted from the end; otherwise as [`max`](Self::max).
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

    /// Returns the minimum of all elements, a scalar; NaN if one is NaN.
    ///
    /// # Derivative
    ///
    /// `g` goes to the minimal element; several that tie share it evenly.
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

    /// Returns the minimum over `axes`, negative ones counted from the end; otherwise as [`min`](Self::min).
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

    /// Returns the product of all elements, a scalar; 1 of no elements.
    ///
    /// # Derivative
    ///
    /// `g` times the product of the other elements, computed as such and never by division: exact beside zeros, at any
    /// order. Neighbours are multiplied first: where their product overflows or vanishes, so does the derivative.
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

    /// Returns the product over `axes`, negative ones counted from the end; otherwise as [`prod`](Self::prod).
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

    /// Returns the Euclidean (for a matrix: Frobenius) norm of all elements, `√Σ x²`, a scalar; no square overflows
    /// on the way.
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
    #[track_caller]
    #[must_use]
    pub fn norm(self) -> Self {
        self.reduce_all(ReduceKind::Norm)
    }

    /// Returns the Euclidean norm over `axes`, negative ones counted from the end; otherwise as [`norm`](Self::norm).
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

    /// Returns `ln Σ e^x` of all elements, a scalar, computed without overflow by a shift of the maximum; minus infinity
    /// of no elements.
    ///
    /// # Derivative
    ///
    /// `e^x / Σ e^x`. Elements of minus infinity get 0, even if there are no others; several of infinity share evenly.
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

    /// Returns `ln Σ e^x` over `axes`, negative ones counted from the end; otherwise as [`logsumexp`](Self::logsumexp).
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
    /// `ddof` (as in NumPy) is 0 for the variance of a population and 1 for the estimate from a sample, PyTorch's
    /// default. Without degrees of freedom, `n <= ddof`, the divisor is 0.
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

    /// Returns the variance over `axes`, negative ones counted from the end; otherwise as [`var`](Self::var).
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
        // The mean of large numbers is rounded, perhaps by more than the numbers differ: the mean of the differences is the part
        // that rounding took from it. A shift of all elements does not change the result. So the first mean is recorded as
        // detached: a sweep takes one mean, as without the correction, and derivatives of any order are right.
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

    /// Returns the standard deviation over `axes`, negative ones counted from the end; otherwise as [`std`](Self::std).
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
        // A norm, for its derivative where it is 0.
        let (centered, freedom) = self.centered(axes, ddof);
        let divisor = freedom.sqrt();
        // Without degrees of freedom the result is 0 / 0, which a norm of 0 with its derivative 0 would hide from the sweep.
        let centered = if freedom == T::ZERO { centered.divide_by(divisor) } else { centered };
        centered.apply(Op::Reduce { kind: ReduceKind::Norm, axes, keep }).divide_by(divisor)
    }

    /// Returns running sums along an axis: element `i` is the sum of the elements 0 to `i`, carried in `f64`.
    ///
    /// # Derivative
    ///
    /// The running sums of `g` from the other end.
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

    /// Returns `e^x / Σ e^x` along an axis, computed without overflow by a shift of the maximum.
    ///
    /// # Derivative
    ///
    /// `y (g - Σ g y)`, the sum along the axis.
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

    /// Returns the logarithm of [`softmax`](Self::softmax), `x - ln Σ e^x` along an axis, by a shift of the maximum
    /// (log-sum-exp): exact where the softmax itself underflows.
    ///
    /// # Derivative
    ///
    /// `g - e^y Σ g`, the sum along the axis.
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
