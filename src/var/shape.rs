//! Methods of [`Var`] that rearrange elements: none of them computes numbers.

use smallvec::SmallVec;

use crate::op::{Linear, Permutation};
use crate::scalar::Scalar;
use crate::shape::{AxisSet, NewShape, Shape, ShapeError, check_memory, elements, resolve_axis};
use crate::tape::Var;

/// Shapes.
impl<T: Scalar> Var<'_, T> {
    /// Returns the elements, in row-major order, in a new shape. One length of a tuple may be inferred: it is written `()`
    /// (see [`NewShape`]).
    ///
    /// # Derivative
    ///
    /// `g` in the shape before.
    ///
    /// # Panics
    ///
    /// If the new shape has a different number of elements, or a length cannot be inferred.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![1.0, 2.0, 3.0, 4.0]);
    /// assert_eq!(x.reshape([2, 2]).value(), array![[1.0, 2.0], [3.0, 4.0]].into_dyn());
    /// assert_eq!(x.reshape((2, ())).value(), x.reshape([2, 2]).value());
    /// ```
    #[doc(alias = "view")]
    #[doc(alias = "view_as")]
    #[track_caller]
    #[must_use]
    pub fn reshape(self, shape: impl Into<NewShape>) -> Self {
        match shape.into().resolve(self.len()) {
            Ok(shape) => self.apply(Linear::Reshape { shape }),
            Err(finding) => self.refuse("reshape", finding),
        }
    }

    /// Returns the elements, in row-major order, as a vector.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// assert_eq!(tape.leaf(array![[1.0, 2.0], [3.0, 4.0]]).flatten().value(), array![1.0, 2.0, 3.0, 4.0].into_dyn());
    /// ```
    #[doc(alias = "ravel")]
    #[doc(alias = "flatten_all")]
    #[track_caller]
    #[must_use]
    pub fn flatten(self) -> Self {
        self.apply(Linear::Reshape { shape: [self.len()].into() })
    }

    /// Returns the array with the axes `first` to `last` joined into one. `flatten_axes(1, -1)` makes a vector of each
    /// example of a batch.
    ///
    /// # Panics
    ///
    /// If an axis is out of range, or `last` is before `first`.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::Array4;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let images = tape.leaf(Array4::<f64>::zeros((10, 3, 4, 5)));
    /// assert_eq!(images.flatten_axes(1, -1).shape().to_string(), "(10, 60)");
    /// assert_eq!(images.flatten_axes(0, 1).shape().to_string(), "(30, 4, 5)");
    /// ```
    #[doc(alias = "flatten_from")]
    #[track_caller]
    #[must_use]
    pub fn flatten_axes(self, first: isize, last: isize) -> Self {
        let shape = self.shape();
        let from = self.check(resolve_axis("flatten_axes", first, &shape));
        let to = self.check(resolve_axis("flatten_axes", last, &shape));
        if to < from {
            self.refuse("flatten_axes", format!("axis {last} is before axis {first}"));
        }
        let joined = [elements(&shape[from..=to])];
        let lengths = shape[..from].iter().chain(&joined).chain(&shape[to + 1..]);
        self.apply(Linear::Reshape { shape: lengths.copied().collect() })
    }

    /// Returns the array with its axes in reverse order: the transpose of a matrix. No data is copied.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0, 2.0, 3.0]]);
    /// assert_eq!(x.transpose().value(), array![[1.0], [2.0], [3.0]].into_dyn());
    /// ```
    #[doc(alias = "t")]
    #[track_caller]
    #[must_use]
    pub fn transpose(self) -> Self {
        self.apply(Linear::Permute { order: Permutation::reversed(self.shape().len()) })
    }

    /// Returns the array with its axes permuted: axis `i` of the result is axis `axes[i]`. No data is copied.
    ///
    /// # Panics
    ///
    /// If `axes` does not name each axis once.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::Array3;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(Array3::<f64>::zeros((2, 3, 4)));
    /// assert_eq!(x.permute([2, 0, 1]).shape().to_string(), "(4, 2, 3)");
    /// ```
    #[track_caller]
    #[must_use]
    pub fn permute(self, axes: impl AsRef<[isize]>) -> Self {
        let (axes, shape) = (axes.as_ref(), self.shape());
        let _ = self.check(AxisSet::new("permute", axes, &shape)); // in range and named once
        if axes.len() != shape.len() {
            let finding = format!("{axes:?} does not name each of the {} axes once", shape.len());
            self.check::<()>(Err(ShapeError::new("permute", &[&shape], finding)));
        }
        let index = |&axis: &isize| if axis < 0 { (axis + axes.len() as isize) as usize } else { axis as usize };
        self.apply(Linear::Permute { order: Permutation::new(axes.iter().map(index)) })
    }

    /// Returns the array broadcast to a shape by NumPy's rule. No data is copied.
    ///
    /// # Derivative
    ///
    /// `g` summed over the broadcast axes.
    ///
    /// # Panics
    ///
    /// If the array does not broadcast to the shape.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![1.0, 2.0]);
    /// let y = x.broadcast_to([3, 2]);
    /// y.sum().backward();
    /// assert_eq!(y.value().sum(), 9.0);
    /// assert_eq!(x.grad().unwrap(), array![3.0, 3.0].into_dyn());
    /// ```
    #[doc(alias = "expand")]
    #[track_caller]
    #[must_use]
    pub fn broadcast_to(self, shape: impl Into<Shape>) -> Self {
        self.apply(Linear::BroadcastTo { shape: shape.into() })
    }

    /// Returns the array summed to `shape`: the reverse of [`broadcast_to`](Self::broadcast_to). It sums over the axes
    /// that broadcasting from `shape` would repeat.
    ///
    /// # Panics
    ///
    /// If an array of `shape` does not broadcast to this array's shape.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.sum_to([2]).value(), array![4.0, 6.0].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn sum_to(self, shape: impl Into<Shape>) -> Self {
        self.apply(Linear::SumTo { shape: shape.into() })
    }

    /// Returns arrays joined along an axis.
    ///
    /// # Shapes
    ///
    /// All axes except the joined one have equal lengths.
    ///
    /// # Panics
    ///
    /// If there are no operands, the axis is out of range, the shapes do not fit, or the operands are on different
    /// tapes.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{Tape, Var};
    ///
    /// let tape = Tape::new();
    /// let (a, b) = (tape.leaf(array![1.0, 2.0]), tape.leaf(array![3.0]));
    /// assert_eq!(Var::concat(&[a, b], 0).value(), array![1.0, 2.0, 3.0].into_dyn());
    /// ```
    #[doc(alias = "cat")]
    #[doc(alias = "concatenate")]
    #[track_caller]
    #[must_use]
    pub fn concat(parts: &[Self], axis: isize) -> Self {
        let Some(&first) = parts.first() else { panic!("concat: there is nothing to join") };
        for &part in parts {
            first.assert_same_tape("concat", part);
        }
        let axis = first.check(resolve_axis("concat", axis, &first.shape()));
        let ids: SmallVec<[u32; 8]> = parts.iter().map(|part| part.id()).collect();
        first.tape().apply(Linear::Concat { axis }, &ids)
    }

    /// Returns the array without an axis of length 1. No data is copied.
    ///
    /// # Panics
    ///
    /// If the axis is out of range or its length is not 1.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// assert_eq!(tape.leaf(array![[1.0, 2.0]]).squeeze(0).value(), array![1.0, 2.0].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn squeeze(self, axis: isize) -> Self {
        let shape = self.shape();
        let index = self.check(resolve_axis("squeeze", axis, &shape));
        if shape[index] != 1 {
            self.refuse("squeeze", format!("axis {axis} has the length {}, not 1", shape[index]));
        }
        let rest = shape.iter().enumerate().filter(|&(axis, _)| axis != index);
        self.apply(Linear::Reshape { shape: rest.map(|(_, &length)| length).collect() })
    }

    /// Returns the array with a new axis of length 1, which becomes axis `axis` of the result. No data is copied.
    ///
    /// # Panics
    ///
    /// If `axis` is out of range for the result.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![1.0, 2.0]);
    /// assert_eq!(x.expand_dims(0).value(), array![[1.0, 2.0]].into_dyn());
    /// assert_eq!(x.expand_dims(-1).value(), array![[1.0], [2.0]].into_dyn());
    /// ```
    #[doc(alias = "unsqueeze")]
    #[track_caller]
    #[must_use]
    pub fn expand_dims(self, axis: isize) -> Self {
        let shape = self.shape();
        let axis = self.new_axis("expand_dims", axis, &shape);
        self.apply(Linear::Reshape {
            shape: shape[..axis].iter().copied().chain([1]).chain(shape[axis..].iter().copied()).collect(),
        })
    }

    /// Returns the index of a new axis of an array of this shape.
    #[track_caller]
    fn new_axis(self, op: &'static str, axis: isize, shape: &[usize]) -> usize {
        let rank = shape.len() as isize + 1;
        let index = if axis < 0 { axis + rank } else { axis };
        if !(0..rank).contains(&index) {
            self.refuse(op, format!("axis {axis} is out of range for a result of {rank} axes"));
        }
        index as usize
    }

    /// Returns arrays of equal shape joined along a new axis, which becomes axis `axis` of the result.
    ///
    /// # Panics
    ///
    /// If there are no operands, the axis is out of range, the shapes differ, or the operands are on different tapes.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{Tape, Var};
    ///
    /// let tape = Tape::new();
    /// let (a, b) = (tape.leaf(array![1.0, 2.0]), tape.leaf(array![3.0, 4.0]));
    /// assert_eq!(Var::stack(&[a, b], 0).value(), array![[1.0, 2.0], [3.0, 4.0]].into_dyn());
    /// assert_eq!(Var::stack(&[a, b], 1).value(), array![[1.0, 3.0], [2.0, 4.0]].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn stack(parts: &[Self], axis: isize) -> Self {
        let Some(&first) = parts.first() else { panic!("stack: there is nothing to join") };
        let shape = first.shape();
        for (k, &part) in parts.iter().enumerate() {
            first.assert_same_tape("stack", part);
            if part.shape() != shape {
                let error =
                    ShapeError::new("stack", &[&shape, &part.shape()], format!("operand {k} has another shape"));
                panic!("{}", first.tape().explain(&error, &[first.id(), part.id()]));
            }
        }
        let axis = first.new_axis("stack", axis, &shape);
        let mut rows: SmallVec<[Self; 8]> = SmallVec::with_capacity(parts.len());
        for &part in parts {
            rows.push(part.expand_dims(axis as isize));
        }
        Self::concat(&rows, axis as isize)
    }

    /// Returns the array with the order of its elements along `axes` reversed.
    ///
    /// # Derivative
    ///
    /// `g`, reversed along the same axes.
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
    /// let x = tape.leaf(array![[1.0, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.flip([1]).value(), array![[2.0, 1.0], [4.0, 3.0]].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn flip(self, axes: impl AsRef<[isize]>) -> Self {
        let axes = self.check(AxisSet::new("flip", axes.as_ref(), &self.shape()));
        self.apply(Linear::Flip { axes })
    }

    /// Returns the array padded with `value`: `pads` holds the numbers of elements before and after, for each axis.
    ///
    /// # Derivative
    ///
    /// The part of `g` at the original elements.
    ///
    /// # Panics
    ///
    /// If `pads` does not hold one pair for each axis.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0, 2.0]]);
    /// assert_eq!(x.pad([(0, 1), (1, 0)], 9.0).value(), array![[9.0, 1.0, 2.0], [9.0, 9.0, 9.0]].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn pad(self, pads: impl AsRef<[(usize, usize)]>, value: T) -> Self {
        let (pads, shape) = (pads.as_ref(), self.shape());
        if pads.len() != shape.len() {
            self.refuse("pad", format!("{} pairs of lengths for {} axes", pads.len(), shape.len()));
        }
        let mut result = self;
        for (axis, &(before, after)) in pads.iter().enumerate().filter(|&(_, &pad)| pad != (0, 0)) {
            let Some(length) = before.checked_add(after).and_then(|more| more.checked_add(shape[axis])) else {
                self.refuse("pad", format!("{before} before and {after} after axis {axis} are too many"));
            };
            result = result.apply(Linear::Pad { axis, before, length, value });
        }
        result
    }

    /// Returns the array with two axes exchanged. No data is copied.
    ///
    /// # Panics
    ///
    /// If an axis is out of range.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::Array3;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(Array3::<f64>::zeros((2, 3, 4)));
    /// assert_eq!(x.swapaxes(0, -1).shape().to_string(), "(4, 3, 2)");
    /// ```
    #[track_caller]
    #[must_use]
    pub fn swapaxes(self, first: isize, second: isize) -> Self {
        let shape = self.shape();
        let first = self.check(resolve_axis("swapaxes", first, &shape));
        let second = self.check(resolve_axis("swapaxes", second, &shape));
        self.apply(Linear::Permute { order: Permutation::swapped(shape.len(), first, second) })
    }

    /// Returns the array with an axis moved to another place. The other axes stay in order. No data is copied.
    ///
    /// # Panics
    ///
    /// If an axis is out of range.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::Array3;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(Array3::<f64>::zeros((2, 3, 4)));
    /// assert_eq!(x.movedim(0, -1).shape().to_string(), "(3, 4, 2)");
    /// ```
    #[doc(alias = "moveaxis")]
    #[track_caller]
    #[must_use]
    pub fn movedim(self, from: isize, to: isize) -> Self {
        let shape = self.shape();
        let from = self.check(resolve_axis("movedim", from, &shape));
        let to = self.check(resolve_axis("movedim", to, &shape));
        let mut order: SmallVec<[usize; 8]> = (0..shape.len()).filter(|&axis| axis != from).collect();
        order.insert(to, from);
        self.apply(Linear::Permute { order: Permutation::new(order.into_iter()) })
    }

    /// Returns the array with its elements moved on by `shift` places along an axis: those that leave at one end come in at
    /// the other.
    ///
    /// # Derivative
    ///
    /// `g`, rolled by `-shift`.
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
    /// assert_eq!(x.roll(0, 1).value(), array![3.0, 1.0, 2.0].into_dyn());
    /// assert_eq!(x.roll(0, -1).value(), array![2.0, 3.0, 1.0].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn roll(self, axis: isize, shift: isize) -> Self {
        let shape = self.shape();
        let axis = self.check(resolve_axis("roll", axis, &shape));
        let length = shape[axis];
        let shift = shift.checked_rem_euclid(length as isize).unwrap_or(0) as usize; // without full turns
        if shift == 0 {
            return self;
        }
        let part = |start, length| self.apply(Linear::Slice { axis, start, step: 1, length });
        let (last, first) = (part(length - shift, shift), part(0, length - shift));
        self.tape().apply(Linear::Concat { axis }, &[last.id(), first.id()])
    }

    /// Returns the array with each part along an axis repeated `repeats` times, copies beside each other.
    /// [`tile`](Self::tile) repeats the whole array.
    ///
    /// # Derivative
    ///
    /// `g` summed over the copies.
    ///
    /// # Panics
    ///
    /// If the axis is out of range, or the result is too large for memory.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![1.0, 2.0]);
    /// let y = x.repeat_interleave(0, 2);
    /// y.sum().backward();
    /// assert_eq!(y.value(), array![1.0, 1.0, 2.0, 2.0].into_dyn());
    /// assert_eq!(x.grad().unwrap(), array![2.0, 2.0].into_dyn());
    /// ```
    #[doc(alias = "repeat")]
    #[track_caller]
    #[must_use]
    pub fn repeat_interleave(self, axis: isize, repeats: usize) -> Self {
        let shape = self.shape();
        let axis = self.check(resolve_axis("repeat_interleave", axis, &shape));
        let result = shape.with_axis(axis, shape[axis].saturating_mul(repeats));
        if let Err(finding) = check_memory(&result) {
            self.refuse("repeat_interleave", format!("repeated {repeats} times: {finding}"));
        }
        let with_copies = |copies: usize| -> Shape {
            shape[..=axis].iter().copied().chain([copies]).chain(shape[axis + 1..].iter().copied()).collect()
        };
        self.apply(Linear::Reshape { shape: with_copies(1) })
            .apply(Linear::BroadcastTo { shape: with_copies(repeats) })
            .apply(Linear::Reshape { shape: result })
    }

    /// Returns the array repeated `reps[i]` times along axis `i`, one copy after the other. As in NumPy, missing axes
    /// and missing repetitions on the left count as 1.
    ///
    /// # Derivative
    ///
    /// `g` summed over the copies.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![1.0, 2.0]);
    /// let y = x.tile([2, 2]);
    /// y.sum().backward();
    /// assert_eq!(y.value(), array![[1.0, 2.0, 1.0, 2.0], [1.0, 2.0, 1.0, 2.0]].into_dyn());
    /// assert_eq!(x.grad().unwrap(), array![4.0, 4.0].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn tile(self, reps: impl AsRef<[usize]>) -> Self {
        let (reps, shape) = (reps.as_ref(), self.shape());
        let rank = reps.len().max(shape.len());
        let at = |list: &[usize], axis: usize| (axis + list.len()).checked_sub(rank).map_or(1, |index| list[index]);
        // Each repetition is a new axis, broadcast, before the axis that it repeats.
        let (mut apart, mut wide, mut result) = (Shape::default(), Shape::default(), Shape::default());
        for (repeat, length) in (0..rank).map(|axis| (at(reps, axis), at(&shape, axis))) {
            if repeat != 1 {
                apart.push(1);
                wide.push(repeat);
            }
            apart.push(length);
            wide.push(length);
            result.push(repeat.saturating_mul(length));
        }
        if let Err(finding) = check_memory(&result) {
            self.refuse("tile", format!("repeated {} times: {finding}", Shape::from(reps)));
        }
        self.apply(Linear::Reshape { shape: apart })
            .apply(Linear::BroadcastTo { shape: wide })
            .apply(Linear::Reshape { shape: result })
    }
}
