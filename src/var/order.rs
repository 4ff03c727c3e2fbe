//! Methods of [`Var`] that put elements in order.

use std::cmp::Ordering;

use ndarray::{Array1, ArrayD, ArrayView1, Axis};

use crate::kernel::extreme;
use crate::kernel::index::AxisSplit;
use crate::number::Classify;
use crate::scalar::Scalar;
use crate::shape::resolve_axis;
use crate::tape::Var;

/// Orders two numbers; NaN comes after all others, as in NumPy and PyTorch.
fn compare<T: Scalar>(a: T, b: T) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// Returns the positions of a row's elements in ascending order. Equal elements stay in order.
fn ascending<T: Scalar>(row: ArrayView1<'_, T>) -> Array1<usize> {
    let mut order: Vec<usize> = (0..row.len()).collect();
    order.sort_by(|&i, &j| compare(row[i], row[j]));
    order.into()
}

/// Returns the positions of the `k` largest elements of a row, the largest first. Equal elements stay in order.
fn largest<T: Scalar>(row: ArrayView1<'_, T>, k: usize) -> Array1<usize> {
    let mut order: Vec<usize> = (0..row.len()).collect();
    order.sort_by(|&i, &j| compare(row[j], row[i]));
    order.truncate(k);
    order.into()
}

/// Order. Positions are plain numbers: no cotangent passes through the choice, and values are differentiable by the elements
/// that were chosen.
///
/// These methods read the value. A [`Program`](crate::Program) compiled from it cannot choose anew, so a run with other
/// numbers there ends with an error.
impl<T: Scalar> Var<'_, T> {
    /// Writes what `choose` returns for each row along the axis.
    #[track_caller]
    fn choose(self, axis: usize, length: usize, choose: impl Fn(ArrayView1<'_, T>) -> Array1<usize>) -> ArrayD<usize> {
        let value = self.value();
        let mut shape = value.raw_dim();
        shape[axis] = length;
        let mut chosen = ArrayD::zeros(shape);
        if length > 0 {
            let rows = chosen.lanes_mut(Axis(axis)).into_iter().zip(value.lanes(Axis(axis)));
            rows.for_each(|(mut to, row)| to.assign(&choose(row)));
        }
        chosen
    }

    /// Returns the positions that put the elements along an axis in ascending order. Equal elements stay in order, NaN comes
    /// last.
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
    /// assert_eq!(tape.leaf(array![3.0, 1.0, 2.0]).argsort(0), array![1, 2, 0].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn argsort(self, axis: isize) -> ArrayD<usize> {
        self.order("argsort", axis)
    }

    #[track_caller]
    fn order(self, method: &'static str, axis: isize) -> ArrayD<usize> {
        let shape = self.shape();
        let axis = self.check(resolve_axis(method, axis, &shape));
        self.choose(axis, shape[axis], ascending)
    }

    /// Returns the array with the elements along an axis in ascending order, NaN last. [`flip`](Self::flip) makes the order
    /// descending, and [`argsort`](Self::argsort) returns the positions.
    ///
    /// # Derivative
    ///
    /// `g` at the positions that the elements came from.
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
    /// let x = tape.leaf(array![3.0, 1.0, 2.0]);
    /// let y = x.sort(0);
    /// y.backward_with(array![1.0, 10.0, 100.0]);
    /// assert_eq!(y.value(), array![1.0, 2.0, 3.0].into_dyn());
    /// assert_eq!(x.grad().unwrap(), array![100.0, 1.0, 10.0].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn sort(self, axis: isize) -> Self {
        self.gather(axis, &self.order("sort", axis))
    }

    /// Returns the `k` largest elements along an axis, the largest first, and their positions. Of equal elements the first
    /// comes first; NaN counts as larger than all others.
    ///
    /// # Shapes
    ///
    /// `(.., n, ..) -> (.., k, ..)`
    ///
    /// # Derivative
    ///
    /// `g` at the positions of the elements, 0 elsewhere.
    ///
    /// # Panics
    ///
    /// If the axis is out of range or shorter than `k`.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![3.0, 1.0, 5.0, 2.0]);
    /// let (values, positions) = x.topk(0, 2);
    /// values.sum().backward();
    /// assert_eq!((values.value(), positions), (array![5.0, 3.0].into_dyn().view(), array![2, 0].into_dyn()));
    /// assert_eq!(x.grad().unwrap(), array![1.0, 0.0, 1.0, 0.0].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn topk(self, axis: isize, k: usize) -> (Self, ArrayD<usize>) {
        let shape = self.shape();
        let index = self.check(resolve_axis("topk", axis, &shape));
        if k > shape[index] {
            self.refuse("topk", format!("{k} elements of axis {axis} of length {}", shape[index]));
        }
        let positions = self.choose(index, k, |row| largest(row, k));
        (self.gather(axis, &positions), positions)
    }

    /// Returns the positions of the largest elements along an axis, without the axis. Of several the first; a NaN counts as
    /// the largest.
    ///
    /// # Panics
    ///
    /// If the axis is out of range or has no elements.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let scores = tape.leaf(array![[1.0, 3.0, 2.0], [4.0, 0.0, 4.0]]);
    /// assert_eq!(scores.argmax(-1), array![1, 0].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn argmax(self, axis: isize) -> ArrayD<usize> {
        self.extreme("argmax", axis, extreme::largest)
    }

    /// Returns the positions of the smallest elements along an axis, without the axis. Of several the first; a NaN counts as
    /// the smallest.
    ///
    /// # Panics
    ///
    /// If the axis is out of range or has no elements.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// assert_eq!(tape.leaf(array![[1.0, 3.0], [4.0, 0.0]]).argmin(0), array![0, 1].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn argmin(self, axis: isize) -> ArrayD<usize> {
        self.extreme("argmin", axis, extreme::smallest)
    }

    /// Writes positions along an axis.
    #[track_caller]
    fn extreme(self, op: &'static str, axis: isize, find: fn(&[T], AxisSplit, &mut [usize])) -> ArrayD<usize> {
        let shape = self.shape();
        let axis = self.check(resolve_axis(op, axis, &shape));
        if shape[axis] == 0 {
            self.refuse(op, format!("axis {axis} has no elements"));
        }
        let (value, split) = (self.value(), AxisSplit::new(&shape, axis));
        let others: Vec<usize> = (0..shape.len()).filter(|&other| other != axis).map(|other| shape[other]).collect();
        let mut positions = ArrayD::zeros(others);
        if let Some(positions) = positions.as_slice_mut() {
            find(value.as_standard_layout().as_slice().unwrap_or_default(), split, positions);
        }
        positions
    }
}
