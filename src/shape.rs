//! [`Shape`], axes, broadcasting and [`ShapeError`].

use std::fmt;
use std::ops::Deref;

use smallvec::SmallVec;

/// The lengths of an array's axes; a scalar has no axis.
///
/// Up to four axes are held without an allocation. Displayed as Python does: `()`, `(3,)`, `(32, 784)`.
///
/// # Example
///
/// ```
/// use tapegrad::Shape;
///
/// let shape = Shape::from([32, 784]);
/// assert_eq!(shape.to_string(), "(32, 784)");
/// assert_eq!(shape.elements(), 25_088);
/// assert_eq!(shape[1], 784); // derefs to a slice of axis lengths
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Shape(SmallVec<[usize; 4]>);

impl Shape {
    /// Returns the number of elements: the product of the axis lengths, 1 for a scalar.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::Shape;
    ///
    /// assert_eq!(Shape::from([2, 3, 4]).elements(), 24);
    /// assert_eq!(Shape::default().elements(), 1); // a single number
    /// ```
    #[must_use]
    #[inline]
    pub fn elements(&self) -> usize {
        elements(self)
    }

    /// Returns this shape with the axes in `axes` at length 1 ([`KeepDims::Yes`]) or left out ([`KeepDims::No`]).
    #[inline]
    pub(crate) fn reduced(&self, axes: AxisSet, keep: KeepDims) -> Self {
        let mut shape = Self::default();
        for (axis, &length) in self.iter().enumerate() {
            match (axes.contains(axis), keep) {
                (false, _) => shape.0.push(length),
                (true, KeepDims::Yes) => shape.0.push(1),
                (true, KeepDims::No) => {}
            }
        }
        shape
    }

    /// Adds an axis at the end.
    #[inline]
    pub(crate) fn push(&mut self, length: usize) {
        self.0.push(length);
    }

    /// Returns this shape with the length of `axis` replaced.
    #[inline]
    pub(crate) fn with_axis(&self, axis: usize, length: usize) -> Self {
        let mut shape = self.clone();
        shape.0[axis] = length;
        shape
    }
}

impl Deref for Shape {
    type Target = [usize];

    #[inline]
    fn deref(&self) -> &[usize] {
        &self.0
    }
}

impl From<&[usize]> for Shape {
    #[inline]
    fn from(dims: &[usize]) -> Self {
        Self(SmallVec::from_slice(dims))
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    #[inline]
    fn from(dims: [usize; N]) -> Self {
        Self(SmallVec::from_slice(&dims))
    }
}

impl From<Vec<usize>> for Shape {
    #[inline]
    fn from(dims: Vec<usize>) -> Self {
        Self::from(dims.as_slice())
    }
}

impl From<&Shape> for Shape {
    #[inline]
    fn from(shape: &Shape) -> Self {
        shape.clone()
    }
}

impl FromIterator<usize> for Shape {
    #[inline]
    fn from_iter<I: IntoIterator<Item = usize>>(dims: I) -> Self {
        Self(dims.into_iter().collect())
    }
}

/// The new shape of [`Var::reshape`](crate::Var::reshape). One length may be inferred: it is written `()`, as in candle.
///
/// Converts from everything that converts to a [`Shape`], and from tuples of two to five lengths with one `()` among
/// them. So a shape with two inferred lengths does not compile.
///
/// # Example
///
/// ```
/// use ndarray::Array3;
/// use tapegrad::Tape;
///
/// let tape = Tape::new();
/// let x = tape.leaf(Array3::<f64>::zeros((2, 3, 4)));
/// assert_eq!(x.reshape((6, ())).shape().to_string(), "(6, 4)");
/// assert_eq!(x.reshape(((), 2, 2)).shape().to_string(), "(6, 2, 2)");
/// ```
///
/// ```compile_fail,E0277
/// # use ndarray::Array3;
/// # use tapegrad::Tape;
/// # let tape = Tape::new();
/// # let x = tape.leaf(Array3::<f64>::zeros((2, 3, 4)));
/// x.reshape(((), 2, ())); // which of the two?
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewShape {
    /// The lengths; 1 at the place of the inferred one.
    shape: Shape,
    inferred: Option<usize>,
}

impl NewShape {
    /// Returns the shape for this number of elements. If no length can be inferred, it is an error.
    pub(crate) fn resolve(self, count: usize) -> Result<Shape, String> {
        let Self { shape, inferred } = self;
        let Some(axis) = inferred else { return Ok(shape) };
        let others = elements(&shape);
        match count.checked_rem(others) {
            Some(0) => Ok(shape.with_axis(axis, count / others)),
            Some(_) => Err(format!("{count} elements cannot be split into groups of {others}")),
            None => Err("beside a length of 0, no length can be inferred".into()),
        }
    }
}

impl<S: Into<Shape>> From<S> for NewShape {
    #[inline]
    fn from(shape: S) -> Self {
        Self { shape: shape.into(), inferred: None }
    }
}

/// A tuple of lengths with one `()`, as an array with 1 in its place.
macro_rules! inferred {
    ($( ($($before:ident),*; $($after:ident),*) )+) => { $(
        impl From<($(inferred!(@length $before),)* (), $(inferred!(@length $after),)*)> for NewShape {
            #[inline]
            fn from(($($before,)* (), $($after,)*): ($(inferred!(@length $before),)* (), $(inferred!(@length $after),)*)) -> Self {
                let before: &[usize] = &[$($before),*];
                Self { shape: Shape::from([$($before,)* 1, $($after),*]), inferred: Some(before.len()) }
            }
        }
    )+ };
    (@length $name:ident) => { usize };
}
inferred! {
    (; a) (a;)
    (; a, b) (a; b) (a, b;)
    (; a, b, c) (a; b, c) (a, b; c) (a, b, c;)
    (; a, b, c, d) (a; b, c, d) (a, b; c, d) (a, b, c; d) (a, b, c, d;)
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [length] => write!(f, "({length},)"),
            dims => {
                f.write_str("(")?;
                for (axis, length) in dims.iter().enumerate() {
                    if axis > 0 {
                        f.write_str(", ")?;
                    }
                    write!(f, "{length}")?;
                }
                f.write_str(")")
            }
        }
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Returns the product of `dims`; `usize::MAX` if it overflows. No array has that many elements.
#[inline]
pub(crate) fn elements(dims: &[usize]) -> usize {
    dims.iter().fold(1, |product: usize, &length| product.saturating_mul(length))
}

/// Returns the strides of a row-major array.
#[inline]
pub(crate) fn row_major_strides(shape: &[usize]) -> Shape {
    let mut strides: SmallVec<[usize; 4]> = SmallVec::from_elem(1, shape.len());
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    Shape::from(strides.as_slice())
}

/// The largest number of axes, as in NumPy.
const MAX_AXES: usize = 64;

/// Checks that an array can have this shape. It must not have more axes than an [`AxisSet`] holds. Its strides, which
/// are products of lengths, must not overflow; an empty array has strides, too.
#[inline]
pub(crate) fn check_size(shape: &[usize]) -> Result<(), String> {
    if shape.len() > MAX_AXES {
        return Err(format!("an array of {} axes: a tape takes at most {MAX_AXES}", shape.len()));
    }
    check_product(shape, 1)
}

/// Checks that memory can hold an array of this shape, which a view does not need: the size in bytes, with the larger
/// number type, must not overflow.
#[inline]
pub(crate) fn check_memory(shape: &[usize]) -> Result<(), String> {
    if !shape.contains(&0) {
        check_product(shape, 8)?;
    }
    check_size(shape)
}

#[inline]
fn check_product(shape: &[usize], element: usize) -> Result<(), String> {
    let lengths = shape.iter().filter(|&&length| length > 0);
    match lengths.copied().try_fold(element, usize::checked_mul) {
        Some(product) if isize::try_from(product).is_ok() => Ok(()),
        _ => Err(format!("the shape {} has too many elements", Shape::from(shape))),
    }
}

/// Whether a reduction keeps its axes with length 1, so that the result broadcasts against the operand.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::{KeepDims, Tape};
///
/// let tape = Tape::new();
/// let x = tape.leaf(array![[1.0, 2.0], [3.0, 4.0]]);
/// assert_eq!(x.sum_axes([1], KeepDims::No).shape().to_string(), "(2,)");
/// assert_eq!(x.sum_axes([1], KeepDims::Yes).shape().to_string(), "(2, 1)");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeepDims {
    /// Reduced axes stay, with length 1.
    Yes,
    /// Reduced axes are left out.
    No,
}

/// A set of axes, as bits: the axes of a reduction.
///
/// # Example
///
/// See [`Var::sum_axes`](crate::Var::sum_axes), which makes one of its axes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct AxisSet(u64);

impl AxisSet {
    /// Returns the set of all axes of an array of this rank.
    pub(crate) fn all(rank: usize) -> Self {
        Self(1u64.unbounded_shl(rank as u32).wrapping_sub(1))
    }

    /// Returns the set of one axis.
    pub(crate) fn one(axis: usize) -> Self {
        Self(1 << axis)
    }

    /// Returns this set with one more axis.
    pub(crate) fn with(self, axis: usize) -> Self {
        Self(self.0 | 1 << axis)
    }

    /// Returns the set of the axes after these: those of an array with one more axis in front.
    pub(crate) fn shifted(self) -> Self {
        Self(self.0 << 1)
    }

    /// Returns the axes of `wide` along which an array of shape `narrow` repeats when it is broadcast to `wide`.
    pub(crate) fn stretched(narrow: &[usize], wide: &[usize]) -> Self {
        let missing = wide.len() - narrow.len();
        let repeats = |&axis: &usize| axis < missing || narrow[axis - missing] != wide[axis];
        Self((0..wide.len()).filter(repeats).fold(0, |set, axis| set | 1 << axis))
    }

    /// Returns the set of `axes`, negative ones counted from the end as in NumPy.
    pub(crate) fn new(op: &'static str, axes: &[isize], shape: &[usize]) -> Result<Self, ShapeError> {
        let mut set = Self(0);
        for &axis in axes {
            let index = resolve_axis(op, axis, shape)?;
            if set.contains(index) {
                let finding = format!("axis {axis} is named twice");
                return Err(ShapeError::new(op, &[shape], finding));
            }
            set.0 |= 1 << index;
        }
        Ok(set)
    }

    /// Returns whether `axis` is in the set.
    #[inline]
    pub(crate) fn contains(self, axis: usize) -> bool {
        axis < 64 && self.0 & (1 << axis) != 0
    }

    /// Returns the product of the lengths of the set's axes: the number of elements that a reduction combines into one.
    #[inline]
    pub(crate) fn elements(self, shape: &[usize]) -> usize {
        let reduced = shape.iter().enumerate().filter(|&(axis, _)| self.contains(axis));
        reduced.map(|(_, length)| length).product()
    }
}

impl fmt::Debug for AxisSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries((0..64).filter(|&axis| self.contains(axis))).finish()
    }
}

/// A range of an axis as in NumPy, `start:stop:step`. Negative positions count from the end. A negative step runs
/// backward. With a positive step, a missing `start` is 0 and a missing `stop` is the length of the axis; with a
/// negative step, they are the last position and the one before position 0. Positions beyond the axis are left out.
///
/// Converts from `..`, `a..b`, `a..`, `..b`, `a..=b` and `..=b`, with bounds of any [`Position`] type.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::{AxisRange, Tape};
///
/// let tape = Tape::new();
/// let x = tape.leaf(array![0.0, 1.0, 2.0, 3.0, 4.0]);
/// assert_eq!(x.slice_axes([AxisRange::from(1..-1)]).value(), array![1.0, 2.0, 3.0].into_dyn());
/// assert_eq!(x.slice_axes([AxisRange::new(None, None, -2)]).value(), array![4.0, 2.0, 0.0].into_dyn());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AxisRange {
    start: Option<isize>,
    stop: Option<isize>,
    step: isize,
}

impl AxisRange {
    /// Returns the range `start:stop:step`.
    ///
    /// # Example
    ///
    /// See [`AxisRange`].
    #[must_use]
    pub fn new(start: impl Into<Option<isize>>, stop: impl Into<Option<isize>>, step: isize) -> Self {
        Self { start: start.into(), stop: stop.into(), step }
    }

    /// Returns the first position, the step and the number of the elements on an axis of this length, all in ascending
    /// order, and whether they are read backward; `None` if the step is 0.
    pub(crate) fn resolve(self, length: usize) -> Option<(usize, usize, usize, bool)> {
        let end = length as isize;
        let step = self.step.unsigned_abs();
        // A backward range may stop before position 0, that is, at -1.
        let lowest = if self.step < 0 { -1 } else { 0 };
        let place = |position: isize| {
            let position = if position < 0 { position.saturating_add(end) } else { position };
            position.clamp(lowest, end + lowest)
        };
        let (start, stop, backward) = match self.step {
            0 => return None,
            1.. => (self.start.map_or(0, place), self.stop.map_or(end, place), false),
            _ => (self.start.map_or(end - 1, place), self.stop.map_or(-1, place), true),
        };
        let span = if backward { start - stop } else { stop - start };
        let count = usize::try_from(span).unwrap_or(0).div_ceil(step);
        if count == 0 {
            return Some((0, 1, 0, false));
        }
        let first = if backward { start as usize - (count - 1) * step } else { start as usize };
        Some((first, if count == 1 { 1 } else { step }, count, backward && count > 1))
    }

    /// Returns what [`resolve`](Self::resolve) returns, and an error if a position is beyond the axis, the range ends
    /// before it starts, or the step is 0.
    pub(crate) fn resolve_within(self, axis: usize, length: usize) -> Result<(usize, usize, usize, bool), String> {
        let end = length as isize;
        let place = |position: isize| if position < 0 { position.saturating_add(end) } else { position };
        // A backward range has no position after the last one.
        let highest = if self.step < 0 { end - 1 } else { end };
        let (start, stop) = (self.start.map(place), self.stop.map(place));
        let inside = [start, stop].into_iter().flatten().all(|position| (0..=highest).contains(&position));
        let ordered = match (start, stop) {
            (Some(start), Some(stop)) if self.step < 0 => stop <= start,
            (Some(start), Some(stop)) => start <= stop,
            _ => true,
        };
        let within = if inside && ordered { self.resolve(length) } else { None };
        within.ok_or_else(|| {
            let (start, stop) = (self.start.unwrap_or(0), self.stop.unwrap_or(end));
            format!("{start}..{stop} in steps of {} is no range of axis {axis} of length {length}", self.step)
        })
    }

    /// Returns the same range with another step.
    pub(crate) fn with_step(self, step: usize) -> Self {
        Self { step: step.to_isize(), ..self }
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for i32 {}
    impl Sealed for isize {}
    impl Sealed for usize {}
}

/// An integer that counts positions along an axis: `isize`, `usize`, or `i32`, the type of a plain literal. The trait is
/// sealed.
///
/// # Example
///
/// ```
/// use tapegrad::AxisRange;
///
/// let length: usize = 3;
/// assert_eq!(AxisRange::from(0..length), AxisRange::from(0..3));
/// assert_eq!(AxisRange::from(-2..), AxisRange::new(-2, None, 1));
/// ```
pub trait Position: sealed::Sealed + Copy {
    /// Returns the position; the largest `isize` if it is beyond.
    #[doc(hidden)]
    fn to_isize(self) -> isize;
}

macro_rules! position {
    ($($P:ident),+) => { $(
        impl Position for $P {
            #[inline]
            fn to_isize(self) -> isize {
                isize::try_from(self).unwrap_or(isize::MAX)
            }
        }
    )+ };
}
position!(i32, isize, usize);

/// Returns the end of a range whose last position is `last`. After position -1, the last of the axis, nothing comes.
fn after<P: Position>(last: P) -> Option<isize> {
    match last.to_isize() {
        -1 => None,
        last => Some(last.saturating_add(1)),
    }
}

impl From<std::ops::RangeFull> for AxisRange {
    #[inline]
    fn from(_: std::ops::RangeFull) -> Self {
        Self::new(None, None, 1)
    }
}

impl<P: Position> From<std::ops::Range<P>> for AxisRange {
    #[inline]
    fn from(range: std::ops::Range<P>) -> Self {
        Self::new(range.start.to_isize(), range.end.to_isize(), 1)
    }
}

impl<P: Position> From<std::ops::RangeFrom<P>> for AxisRange {
    #[inline]
    fn from(range: std::ops::RangeFrom<P>) -> Self {
        Self::new(range.start.to_isize(), None, 1)
    }
}

impl<P: Position> From<std::ops::RangeTo<P>> for AxisRange {
    #[inline]
    fn from(range: std::ops::RangeTo<P>) -> Self {
        Self::new(None, range.end.to_isize(), 1)
    }
}

impl<P: Position> From<std::ops::RangeInclusive<P>> for AxisRange {
    #[inline]
    fn from(range: std::ops::RangeInclusive<P>) -> Self {
        Self::new(range.start().to_isize(), after(*range.end()), 1)
    }
}

impl<P: Position> From<std::ops::RangeToInclusive<P>> for AxisRange {
    #[inline]
    fn from(range: std::ops::RangeToInclusive<P>) -> Self {
        Self::new(None, after(range.end), 1)
    }
}

/// Returns the index of `axis`, a negative one counted from the end as in NumPy.
///
/// # Errors
///
/// If `axis` is outside `-rank..rank`.
pub(crate) fn resolve_axis(op: &'static str, axis: isize, shape: &[usize]) -> Result<usize, ShapeError> {
    let rank = shape.len() as isize;
    let index = if axis < 0 { axis + rank } else { axis };
    if (0..rank).contains(&index) {
        Ok(index as usize)
    } else {
        let finding = format!("axis {axis} is out of range for {rank} axes");
        Err(ShapeError::new(op, &[shape], finding))
    }
}

/// Returns the common shape of two operands under NumPy's broadcasting. Axes are aligned at the right. A missing axis
/// or an axis of length 1 repeats to the length of the other.
///
/// # Errors
///
/// If the lengths of an axis differ and neither is 1.
///
/// # Example
///
/// ```
/// use tapegrad::shape::broadcast;
///
/// # fn main() -> Result<(), tapegrad::ShapeError> {
/// assert_eq!(broadcast("add", &[32, 1, 5], &[7, 1])?.to_string(), "(32, 7, 5)");
/// let error = broadcast("add", &[32, 10], &[32]).unwrap_err();
/// assert_eq!(error.to_string(), "add: (32, 10) x (32,): lengths 10 and 32 of axis -1 do not broadcast");
/// # Ok(())
/// # }
/// ```
pub fn broadcast(op: &'static str, a: &[usize], b: &[usize]) -> Result<Shape, ShapeError> {
    let rank = a.len().max(b.len());
    let length = |dims: &[usize], axis: usize| {
        // Axes missing at the left count as length 1.
        (axis + dims.len()).checked_sub(rank).map_or(1, |index| dims[index])
    };
    (0..rank)
        .map(|axis| match (length(a, axis), length(b, axis)) {
            (m, n) if m == n => Ok(m),
            (1, n) => Ok(n),
            (m, 1) => Ok(m),
            (m, n) => {
                let from_right = axis as isize - rank as isize;
                let finding = format!("lengths {m} and {n} of axis {from_right} do not broadcast");
                Err(ShapeError::new(op, &[a, b], finding))
            }
        })
        .collect()
}

/// The error of an operation that does not accept the shapes of its operands. Displayed as `op: shapes: finding`.
///
/// The shape rule of every operation returns it, and the panic of a recorded operation is its [`Display`](fmt::Display)
/// text followed by the places where the operands were recorded.
///
/// # Example
///
/// ```
/// use tapegrad::shape::broadcast;
///
/// let error = broadcast("mul", &[2, 3], &[4]).unwrap_err();
/// assert_eq!(error.op(), "mul");
/// assert!(error.to_string().contains("(2, 3) x (4,)"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapeError {
    op: &'static str,
    shapes: Vec<Shape>,
    finding: String,
}

impl ShapeError {
    /// Returns the error of `op` on operands of these shapes; `finding` states the mismatch.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::ShapeError;
    ///
    /// let error = ShapeError::new("softplus", &[&[2], &[3]], "it takes one operand".into());
    /// assert_eq!(error.to_string(), "softplus: (2,) x (3,): it takes one operand");
    /// ```
    #[must_use]
    #[cold]
    pub fn new(op: &'static str, shapes: &[&[usize]], finding: String) -> Self {
        let shapes = shapes.iter().map(|&dims| Shape::from(dims)).collect();
        Self { op, shapes, finding }
    }

    /// Returns the same error with the shapes of the caller's operands.
    pub(crate) fn with_shapes(self, shapes: &[&[usize]]) -> Self {
        Self::new(self.op, shapes, self.finding)
    }

    /// Returns the operation's name.
    ///
    /// # Example
    ///
    /// See [`ShapeError`].
    #[must_use]
    pub fn op(&self) -> &'static str {
        self.op
    }

    /// Returns the operands' shapes.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::shape::broadcast;
    ///
    /// let error = broadcast("mul", &[2, 3], &[4]).unwrap_err();
    /// assert_eq!(error.shapes()[1][..], [4]);
    /// ```
    #[must_use]
    pub fn shapes(&self) -> &[Shape] {
        &self.shapes
    }
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.op)?;
        for (index, shape) in self.shapes.iter().enumerate() {
            let separator = if index > 0 { " x " } else { "" };
            write!(f, "{separator}{shape}")?;
        }
        write!(f, ": {}", self.finding)
    }
}

impl std::error::Error for ShapeError {}
