//! Methods of [`Var`] that take an array apart along an axis.

use crate::op::Linear;
use crate::scalar::Scalar;
use crate::shape::{Shape, resolve_axis};
use crate::tape::Var;

/// Parts.
impl<T: Scalar> Var<'_, T> {
    /// Returns the parts at each position of an axis, without that axis. No data is copied.
    ///
    /// # Derivative
    ///
    /// The `g` of each part at its position.
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
    /// let x = tape.leaf(array![[1.0, 2.0], [3.0, 4.0]]);
    /// let columns = x.unbind(1);
    /// assert_eq!(columns[1].value(), array![2.0, 4.0].into_dyn());
    /// ```
    #[doc(alias = "unstack")]
    #[track_caller]
    #[must_use]
    pub fn unbind(self, axis: isize) -> Vec<Self> {
        let shape = self.shape();
        let axis = self.check(resolve_axis("unbind", axis, &shape));
        let mut parts = Vec::with_capacity(shape[axis]);
        for position in 0..shape[axis] {
            parts.push(self.at_position(axis, position));
        }
        parts
    }

    /// Returns parts of length `size` along an axis; the last one may be shorter. No data is copied. An axis without
    /// elements has one part.
    ///
    /// # Derivative
    ///
    /// The `g` of each part at its positions.
    ///
    /// # Panics
    ///
    /// If the axis is out of range, or `size` is 0.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![1.0, 2.0, 3.0, 4.0, 5.0]);
    /// let parts = x.split(0, 2);
    /// assert_eq!(parts.len(), 3);
    /// assert_eq!(parts[1].value(), array![3.0, 4.0].into_dyn());
    /// assert_eq!(parts[2].value(), array![5.0].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn split(self, axis: isize, size: usize) -> Vec<Self> {
        let shape = self.shape();
        let axis = self.check(resolve_axis("split", axis, &shape));
        if size == 0 {
            self.refuse("split", "parts of length 0".into());
        }
        self.parts_of(axis, &shape, size)
    }

    /// Returns parts of the given lengths along an axis. No data is copied.
    ///
    /// # Derivative
    ///
    /// The `g` of each part at its positions.
    ///
    /// # Panics
    ///
    /// If the axis is out of range, or the lengths do not add up to its length.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![1.0, 2.0, 3.0, 4.0]);
    /// let parts = x.split_sizes(0, &[1, 3]);
    /// assert_eq!(parts[1].value(), array![2.0, 3.0, 4.0].into_dyn());
    /// ```
    #[doc(alias = "split_with_sizes")]
    #[track_caller]
    #[must_use]
    pub fn split_sizes(self, axis: isize, sizes: &[usize]) -> Vec<Self> {
        let shape = self.shape();
        let axis = self.check(resolve_axis("split_sizes", axis, &shape));
        let total = sizes.iter().fold(0, |total: usize, &size| total.saturating_add(size));
        if total != shape[axis] {
            let finding = format!("{sizes:?} add up to {total}, the length of axis {axis} is {}", shape[axis]);
            self.refuse("split_sizes", finding);
        }
        let (mut parts, mut start) = (Vec::with_capacity(sizes.len()), 0);
        for &length in sizes {
            parts.push(self.apply(Linear::Slice { axis, start, step: 1, length }));
            start += length;
        }
        parts
    }

    /// Returns at most `count` parts of equal length along an axis; the last one may be shorter. As in PyTorch, there are
    /// fewer parts if fewer of that length cover the axis: 5 elements in 4 chunks are 2 + 2 + 1. No data is copied.
    ///
    /// # Derivative
    ///
    /// The `g` of each part at its positions.
    ///
    /// # Panics
    ///
    /// If the axis is out of range, or `count` is 0.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0, 2.0, 3.0, 4.0]]);
    /// let halves = x.chunk(1, 2);
    /// assert_eq!((halves[0] * halves[1]).value(), array![[3.0, 8.0]].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn chunk(self, axis: isize, count: usize) -> Vec<Self> {
        let shape = self.shape();
        let axis = self.check(resolve_axis("chunk", axis, &shape));
        if count == 0 {
            self.refuse("chunk", "0 chunks".into());
        }
        self.parts_of(axis, &shape, shape[axis].div_ceil(count).max(1))
    }

    #[track_caller]
    fn parts_of(self, axis: usize, shape: &Shape, size: usize) -> Vec<Self> {
        let (mut parts, mut start) = (Vec::with_capacity(shape[axis].div_ceil(size)), 0);
        loop {
            let length = size.min(shape[axis] - start);
            parts.push(self.apply(Linear::Slice { axis, start, step: 1, length }));
            start += length;
            if start == shape[axis] {
                return parts;
            }
        }
    }
}
