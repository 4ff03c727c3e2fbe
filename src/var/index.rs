//! Methods of [`Var`] that choose elements: by ranges, by indices, by a mask.

use ndarray::{ArrayRef, Axis, Dimension};
use smallvec::SmallVec;

use crate::input::Mask;
use crate::op::{IndexList, Linear, Op};
use crate::scalar::Scalar;
use crate::shape::{AxisRange, AxisSet, KeepDims, Shape, ShapeError, elements, resolve_axis, row_major_strides};
use crate::tape::{Var, id_of};

/// Ranges and indices.
impl<T: Scalar> Var<'_, T> {
    /// Returns a range of an axis. Negative positions count from the end. Only a range that runs backward copies data.
    ///
    /// A position beyond the axis is a mistake here. [`slice_axes`](Self::slice_axes) leaves it out, as NumPy does.
    ///
    /// # Derivative
    ///
    /// `g` at the selected positions, 0 elsewhere.
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
    /// assert_eq!(x.slice(0, ..-1).value(), array![[1.0, 2.0], [3.0, 4.0]].into_dyn());
    /// assert_eq!(x.slice(-1, ..1).shape().to_string(), "(3, 1)");
    /// ```
    #[doc(alias = "narrow")]
    #[track_caller]
    #[must_use]
    pub fn slice(self, axis: isize, range: impl Into<AxisRange>) -> Self {
        self.slice_range(axis, range.into())
    }

    /// Returns every `step`-th element of a range of an axis, whatever step the range has itself. No data is copied.
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
    pub fn slice_step(self, axis: isize, range: impl Into<AxisRange>, step: usize) -> Self {
        self.slice_range(axis, range.into().with_step(step))
    }

    #[track_caller]
    fn slice_range(self, axis: isize, range: AxisRange) -> Self {
        let shape = self.shape();
        let axis = self.check(resolve_axis("slice", axis, &shape));
        match range.resolve_within(axis, shape[axis]) {
            Ok((start, step, length, reversed)) => {
                let part = self.apply(Linear::Slice { axis, start, step, length });
                if reversed { part.apply(Linear::Flip { axes: AxisSet::one(axis) }) } else { part }
            }
            Err(finding) => self.refuse("slice", finding),
        }
    }

    /// Returns the part at one position of an axis, without that axis: NumPy's `x[i]` for axis 0. A negative position
    /// counts from the end. No data is copied.
    ///
    /// # Shapes
    ///
    /// `(.., n, ..) -> (.., ..)`
    ///
    /// # Derivative
    ///
    /// `g` at the position, 0 elsewhere.
    ///
    /// # Panics
    ///
    /// If the axis or the position is out of range.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]);
    /// assert_eq!(x.index(0, 1).value(), array![3.0, 4.0].into_dyn());
    /// assert_eq!(x.index(-1, -1).value(), array![2.0, 4.0, 6.0].into_dyn());
    /// ```
    #[doc(alias = "get")]
    #[doc(alias = "index_axis")]
    #[doc(alias = "__getitem__")]
    #[track_caller]
    #[must_use]
    pub fn index(self, axis: isize, position: isize) -> Self {
        let shape = self.shape();
        let axis = self.check(resolve_axis("index", axis, &shape));
        let length = shape[axis] as isize;
        if !(-length..length).contains(&position) {
            self.refuse("index", format!("position {position} is out of range for axis {axis} of length {length}"));
        }
        self.at_position(axis, position.rem_euclid(length) as usize)
    }

    /// Returns the part at a position of an axis, both in range, without the axis.
    #[track_caller]
    pub(super) fn at_position(self, axis: usize, start: usize) -> Self {
        let shape = self.shape().reduced(AxisSet::one(axis), KeepDims::No);
        self.apply(Linear::Slice { axis, start, step: 1, length: 1 }).apply(Linear::Reshape { shape })
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

    /// Returns the given positions of an axis; the axes of `indices`, an array of any rank, replace that axis. For axis 0
    /// of a matrix of vectors, one for each word, this is the embedding of the words.
    ///
    /// # Shapes
    ///
    /// `(a.., n, b..)` with `indices` of shape `(i..)` gives `(a.., i.., b..)`.
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
    /// let table = tape.leaf(array![[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]);
    /// let y = table.take(0, &array![[2, 0], [2, 2]]);
    /// y.sum().backward();
    /// assert_eq!(y.value(), array![[[5.0, 6.0], [1.0, 2.0]], [[5.0, 6.0], [5.0, 6.0]]].into_dyn());
    /// assert_eq!(table.grad().unwrap(), array![[1.0, 1.0], [0.0, 0.0], [3.0, 3.0]].into_dyn());
    /// ```
    #[doc(alias = "embedding")]
    #[track_caller]
    #[must_use]
    pub fn take<D: Dimension>(self, axis: isize, indices: &ArrayRef<usize, D>) -> Self {
        let shape = self.shape();
        let axis = self.check(resolve_axis("take", axis, &shape));
        let list: SmallVec<[usize; 16]> = indices.iter().copied().collect();
        self.check_indices("take", &list, axis, &shape);
        let list = self.tape().index_list(list.iter().copied());
        let around = shape[..axis].iter().chain(indices.shape()).chain(&shape[axis + 1..]);
        let result = around.copied().collect();
        self.apply(Linear::IndexSelect { axis, indices: list }).apply(Linear::Reshape { shape: result })
    }

    /// Returns one element of each row of a matrix: `y[i] = x[i, columns[i]]`. For other axes see
    /// [`pick_axis`](Self::pick_axis).
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

    /// Returns one element along an axis for each place on the other axes: `y[i, k] = x[i, indices[i, k], k]` for axis 1 of
    /// three.
    ///
    /// # Shapes
    ///
    /// `indices` and the result have the shape of the array without the axis.
    ///
    /// # Derivative
    ///
    /// `g` at the picked elements, 0 elsewhere. Elements are selected, not multiplied.
    ///
    /// # Panics
    ///
    /// If the axis or an index is out of range, or `indices` has another shape.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
    /// assert_eq!(x.pick_axis(0, &array![1, 0, 1]).value(), array![4.0, 2.0, 6.0].into_dyn());
    /// assert_eq!(x.pick_axis(-1, &array![2, 0]).value(), array![3.0, 4.0].into_dyn());
    /// ```
    #[doc(alias = "take_along_dim")]
    #[track_caller]
    #[must_use]
    pub fn pick_axis<D: Dimension>(self, axis: isize, indices: &ArrayRef<usize, D>) -> Self {
        let shape = self.shape();
        let index = self.check(resolve_axis("pick_axis", axis, &shape));
        let rest = shape.reduced(AxisSet::one(index), KeepDims::No);
        if *rest != *indices.shape() {
            let found = Shape::from(indices.shape());
            self.refuse("pick_axis", format!("indices of shape {found}, expected {rest}, without axis {index}"));
        }
        let indices = indices.view().insert_axis(Axis(index));
        self.take_at("pick_axis", axis, &indices).apply(Linear::Reshape { shape: rest })
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
        self.take_at("gather", axis, indices)
    }

    #[track_caller]
    fn take_at<D: Dimension>(self, op: &'static str, axis: isize, indices: &ArrayRef<usize, D>) -> Self {
        let shape = self.shape();
        let positions = self.positions(op, axis, indices);
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
    #[doc(alias = "index_add")]
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

    /// Returns the array with `value` where `mask` is true. Both broadcast.
    ///
    /// # Derivative
    ///
    /// `g` where the mask is false, 0 elsewhere. Elements are selected, not multiplied: an infinity or a NaN that is
    /// replaced has no effect.
    ///
    /// # Panics
    ///
    /// If the shapes do not broadcast.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let scores = tape.leaf(array![[1.0, 2.0], [3.0, 4.0]]);
    /// let y = scores.masked_fill(&array![false, true], f64::NEG_INFINITY).softmax(-1);
    /// assert_eq!(y.value(), array![[1.0, 0.0], [1.0, 0.0]].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn masked_fill<D: Dimension>(self, mask: &ArrayRef<bool, D>, value: T) -> Self {
        Self::select(mask, self.tape().constant(value), self)
    }
}
