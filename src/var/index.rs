//! Methods of [`Var`] that choose elements: by ranges, by indices, by a mask.

use std::ops::{Bound, RangeBounds};

use ndarray::{ArrayRef, Dimension};
use smallvec::SmallVec;

use crate::input::Mask;
use crate::op::{IndexList, Linear, Op};
use crate::scalar::Scalar;
use crate::shape::{AxisRange, AxisSet, Shape, ShapeError, elements, resolve_axis, row_major_strides};
use crate::tape::{Var, id_of};

/// Ranges and indices.
impl<T: Scalar> Var<'_, T> {
    /// Returns a range of an axis. No data is copied.
    ///
    /// # Panics
    ///
    /// If the axis is out of range, or the range goes beyond it or ends before it starts.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]);
    /// assert_eq!(x.slice(0, 1..).value(), array![[3.0, 4.0], [5.0, 6.0]].into_dyn());
    /// assert_eq!(x.slice(-1, ..1).shape().to_string(), "(3, 1)");
    /// ```
    #[track_caller]
    #[must_use]
    pub fn slice(self, axis: isize, range: impl RangeBounds<usize>) -> Self {
        self.slice_step(axis, range, 1)
    }

    /// Returns every `step`-th element of a range of an axis. No data is copied.
    ///
    /// # Panics
    ///
    /// Like [`slice`](Self::slice), and if the step is 0.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![0.0, 1.0, 2.0, 3.0, 4.0]);
    /// assert_eq!(x.slice_step(0, 1.., 2).value(), array![1.0, 3.0].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn slice_step(self, axis: isize, range: impl RangeBounds<usize>, step: usize) -> Self {
        let shape = self.shape();
        let axis = self.check(resolve_axis("slice", axis, &shape));
        let start = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&last) => last.saturating_add(1),
            Bound::Excluded(&end) => end,
            Bound::Unbounded => shape[axis],
        };
        if start > end || end > shape[axis] || step == 0 {
            let finding =
                format!("{start}..{end} in steps of {step} is no range of axis {axis} of length {}", shape[axis]);
            self.check::<()>(Err(ShapeError::new("slice", &[&shape], finding)));
        }
        let length = (end - start).div_ceil(step);
        // A step that is never taken may have any size, and would overflow as a stride.
        let step = if length > 1 { step } else { 1 };
        self.apply(Linear::Slice { axis, start, step, length })
    }

    /// Returns the given positions of an axis, in the given order. A position may occur more than once.
    ///
    /// # Derivative
    ///
    /// `g` added at the selected positions. Repeated positions accumulate.
    ///
    /// # Panics
    ///
    /// If the axis or an index is out of range.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0], [2.0], [3.0]]);
    /// let y = x.index_select(0, &[2, 0, 2]);
    /// y.sum().backward();
    /// assert_eq!(y.value(), array![[3.0], [1.0], [3.0]].into_dyn());
    /// assert_eq!(x.grad().unwrap(), array![[1.0], [0.0], [2.0]].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn index_select(self, axis: isize, indices: &[usize]) -> Self {
        let shape = self.shape();
        let axis = self.check(resolve_axis("index_select", axis, &shape));
        self.check_indices("index_select", indices, axis, &shape);
        let indices = self.tape().index_list(indices.iter().copied());
        self.apply(Linear::IndexSelect { axis, indices })
    }

    /// Returns one element of each row of a matrix: `y[i] = x[i, columns[i]]`.
    ///
    /// # Shapes
    ///
    /// `(rows, columns) -> (rows)`
    ///
    /// # Derivative
    ///
    /// `g[i]` at `(i, columns[i])`, 0 elsewhere. Elements are selected, not multiplied, so an infinity that is not
    /// picked has no effect.
    ///
    /// # Panics
    ///
    /// If the operand is not a matrix with one row for each element of `columns`, or a column is out of range.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.pick(&[1, 0]).value(), array![2.0, 3.0].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn pick(self, columns: &[usize]) -> Self {
        let shape = self.shape();
        if shape.len() == 2 {
            self.check_indices("pick", columns, 1, &shape);
        }
        let columns = self.tape().index_list(columns.iter().copied());
        self.apply(Linear::TakeAlongRows { columns })
    }

    #[track_caller]
    pub(crate) fn check_indices(self, op: &'static str, indices: &[usize], axis: usize, shape: &[usize]) {
        let length = shape[axis];
        if let Some((position, index)) = indices.iter().enumerate().find(|&(_, &index)| index >= length) {
            let finding =
                format!("index {index} at position {position} is out of range for axis {axis} of length {length}");
            self.check::<()>(Err(ShapeError::new(op, &[shape], finding)));
        }
        let fits = u32::try_from(length).is_ok() && u32::try_from(indices.len()).is_ok();
        assert!(fits, "{op}: an axis of {length} and {} indices: at most 4,294,967,295 are possible", indices.len());
    }

    /// Returns a range of each axis, by NumPy's rules: `x[start:stop:step, …]`. Axes without a range are taken whole.
    /// Only a negative step copies data.
    ///
    /// # Derivative
    ///
    /// `g` at the selected positions, 0 elsewhere.
    ///
    /// # Panics
    ///
    /// If there are more ranges than axes, or a step is 0.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{AxisRange, Tape};
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
    /// let y = x.slice_axes([AxisRange::from(1..), AxisRange::new(None, None, -2)]);
    /// y.sum().backward();
    /// assert_eq!(y.value(), array![[6.0, 4.0]].into_dyn());
    /// assert_eq!(x.grad().unwrap(), array![[0.0, 0.0, 0.0], [1.0, 0.0, 1.0]].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn slice_axes(self, ranges: impl AsRef<[AxisRange]>) -> Self {
        let (ranges, shape) = (ranges.as_ref(), self.shape());
        if ranges.len() > shape.len() {
            self.refuse("slice_axes", format!("{} ranges for {} axes", ranges.len(), shape.len()));
        }
        let (mut result, mut backward) = (self, AxisSet::default());
        for (axis, range) in ranges.iter().enumerate() {
            let Some((start, step, length, reversed)) = range.resolve(shape[axis]) else {
                self.refuse("slice_axes", format!("the step along axis {axis} is 0"));
            };
            if length < shape[axis] {
                result = result.apply(Linear::Slice { axis, start, step, length });
            }
            if reversed {
                backward = backward.with(axis);
            }
        }
        if backward == AxisSet::default() { result } else { result.apply(Linear::Flip { axes: backward }) }
    }

    /// Returns elements by their position along an axis: `y[i, j, …] = x[indices[i, j, …], j, …]` for axis 0, and
    /// likewise for the other axes.
    ///
    /// # Shapes
    ///
    /// `indices` has as many axes as the array. Along each axis except `axis` it is at most as long. The result has the
    /// shape of `indices`.
    ///
    /// # Derivative
    ///
    /// `g` added at the selected positions: [`scatter_add`](Self::scatter_add).
    ///
    /// # Panics
    ///
    /// If the axis or an index is out of range, or the shapes do not fit.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0, 2.0], [3.0, 4.0]]);
    /// let y = x.gather(1, &array![[1, 1], [0, 1]]);
    /// y.sum().backward();
    /// assert_eq!(y.value(), array![[2.0, 2.0], [3.0, 4.0]].into_dyn());
    /// assert_eq!(x.grad().unwrap(), array![[0.0, 2.0], [1.0, 1.0]].into_dyn());
    /// ```
    #[doc(alias = "take_along_axis")]
    #[track_caller]
    #[must_use]
    pub fn gather<D: Dimension>(self, axis: isize, indices: &ArrayRef<usize, D>) -> Self {
        let shape = self.shape();
        let positions = self.positions("gather", axis, indices);
        let flat = self.apply(Linear::Reshape { shape: [elements(&shape)].into() });
        flat.apply(Linear::IndexSelect { axis: 0, indices: positions })
            .apply(Linear::Reshape { shape: indices.shape().into() })
    }

    /// Returns the array with the elements of `source` added at the positions that `indices` names along an axis:
    /// `y[indices[i, j, …], j, …] += source[i, j, …]` for axis 0, and likewise for the other axes. Repeated positions
    /// accumulate.
    ///
    /// # Shapes
    ///
    /// `indices` has as many axes as the array. Along each axis except `axis` it is at most as long. `source` has the
    /// shape of `indices`.
    ///
    /// # Derivative
    ///
    /// `g` by the array, [`gather`](Self::gather) of `g` by `source`.
    ///
    /// # Panics
    ///
    /// If the axis or an index is out of range, the shapes do not fit, or `source` is on a different tape.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![10.0, 20.0, 30.0]);
    /// let source = tape.leaf(array![1.0, 2.0, 3.0, 4.0]);
    /// let y = x.scatter_add(0, &array![0, 2, 0, 0], source);
    /// assert_eq!(y.value(), array![18.0, 20.0, 32.0].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn scatter_add<D: Dimension>(self, axis: isize, indices: &ArrayRef<usize, D>, source: Self) -> Self {
        self.assert_same_tape("scatter_add", source);
        let shape = self.shape();
        let positions = self.positions("scatter_add", axis, indices);
        if *source.shape() != *indices.shape() {
            let finding = format!("the source has another shape than the indices, {}", Shape::from(indices.shape()));
            let error = ShapeError::new("scatter_add", &[&shape, &source.shape()], finding);
            panic!("{}", self.tape().explain(&error, &[self.id(), source.id()]));
        }
        let flat = source.apply(Linear::Reshape { shape: [indices.len()].into() });
        let sums = flat.apply(Linear::IndexAdd { axis: 0, indices: positions, length: elements(&shape) });
        self.add(sums.apply(Linear::Reshape { shape }))
    }

    /// Returns the row-major positions in this array of the elements that `indices` names along an axis.
    #[track_caller]
    fn positions<D: Dimension>(self, op: &'static str, axis: isize, indices: &ArrayRef<usize, D>) -> IndexList {
        let shape = self.shape();
        let axis = self.check(resolve_axis(op, axis, &shape));
        let dims = indices.shape();
        let fits =
            dims.len() == shape.len() && (0..dims.len()).all(|other| other == axis || dims[other] <= shape[other]);
        if !fits {
            self.refuse(op, format!("indices of shape {} do not fit outside axis {axis}", Shape::from(dims)));
        }
        if let Some(index) = indices.iter().find(|&&index| index >= shape[axis]) {
            self.refuse(op, format!("index {index} is out of range for axis {axis} of length {}", shape[axis]));
        }
        let count = elements(&shape);
        let possible = u32::try_from(count).is_ok() && u32::try_from(indices.len()).is_ok();
        assert!(possible, "{op}: {count} elements and {} indices: at most 4,294,967,295 are possible", indices.len());
        let strides = row_major_strides(&shape);
        self.tape().index_list_with(indices.len(), |list| {
            let Some((&width, outer)) = dims.split_last().filter(|_| !list.is_empty()) else { return };
            let mut indices = indices.iter();
            let mut place: SmallVec<[usize; 8]> = SmallVec::from_elem(0, outer.len());
            for row in list.chunks_exact_mut(width) {
                // The position along `axis` is the index found; along the other axes it is the position in `indices`.
                let fixed = (0..outer.len()).filter(|&other| other != axis).map(|other| strides[other] * place[other]);
                let start: usize = fixed.sum();
                let step = usize::from(axis != outer.len());
                for (column, (to, &index)) in row.iter_mut().zip(&mut indices).enumerate() {
                    *to = id_of(start + strides[axis] * index + step * column);
                }
                for (index, &length) in place.iter_mut().zip(outer).rev() {
                    *index += 1;
                    if *index < length {
                        break;
                    }
                    *index = 0;
                }
            }
        })
    }

    /// Returns `a` where `mask` is true and `b` where it is false: NumPy's `where`. All three broadcast.
    ///
    /// # Derivative
    ///
    /// By each branch, `g` where its element was taken and 0 elsewhere. Elements are selected, not multiplied. A NaN or
    /// an infinity in the branch that is not taken does not reach the result, and an infinite cotangent does not reach
    /// the gradient by that branch.
    ///
    /// # Panics
    ///
    /// If the shapes do not broadcast, or the branches are on different tapes.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{Tape, Var};
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![4.0, -1.0]);
    /// let mask = x.value().mapv(|x| x > 0.0);
    /// let y = Var::select(&mask, x * 10.0, tape.constant(7.0));
    /// y.sum().backward();
    /// assert_eq!(y.value(), array![40.0, 7.0].into_dyn());
    /// assert_eq!(x.grad().unwrap(), array![10.0, 0.0].into_dyn());
    /// ```
    #[doc(alias = "where")]
    #[track_caller]
    #[must_use]
    pub fn select<D: Dimension>(mask: &ArrayRef<bool, D>, a: Self, b: Self) -> Self {
        a.assert_same_tape("select", b);
        let mask = a.tape().constant(Mask(mask));
        a.tape().apply(Op::Select, &[mask.id(), a.id(), b.id()])
    }
}
