//! How operations read axes: transposed, from one end, in another order.

use std::fmt;

use smallvec::SmallVec;

use crate::shape::Shape;

/// Whether a matrix operand is read as its transpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transposed {
    No,
    Yes,
}

impl Transposed {
    pub(crate) fn flipped(self) -> Self {
        match self {
            Self::No => Self::Yes,
            Self::Yes => Self::No,
        }
    }

    /// Returns the shape of the operand as it is read: a transpose swaps the last two axes.
    pub(crate) fn order(self, shape: &[usize]) -> Shape {
        match (self, shape) {
            (Self::Yes, &[ref batch @ .., rows, columns]) => batch.iter().copied().chain([columns, rows]).collect(),
            _ => Shape::from(shape),
        }
    }
}

/// The end of an axis from which a running sum starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    First,
    Last,
}

impl End {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::First => Self::Last,
            Self::Last => Self::First,
        }
    }

    /// Returns the text of the end in a printed operation.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::First => "",
            Self::Last => ", from the end",
        }
    }
}

/// An order of axes: axis `i` of the result is axis `self[i]` of the operand.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Permutation(SmallVec<[u8; 8]>);

impl Permutation {
    /// Returns the order that reverses all axes.
    pub(crate) fn reversed(rank: usize) -> Self {
        Self((0..rank as u8).rev().collect())
    }

    /// Returns the order made of these axes.
    pub(crate) fn new(axes: impl Iterator<Item = usize>) -> Self {
        Self(axes.map(|axis| axis as u8).collect())
    }

    /// Returns whether this order swaps the last two axes and nothing else: the transpose of a batch of matrices.
    pub(crate) fn is_transpose(&self) -> bool {
        let rank = self.0.len();
        let swapped = |axis: usize| if axis + 2 < rank { axis } else { 2 * rank - 3 - axis };
        rank >= 2 && self.axes().enumerate().all(|(position, axis)| axis == swapped(position))
    }

    /// Returns the order that swaps the last two axes.
    pub(crate) fn transpose(rank: usize) -> Self {
        Self::swapped(rank, rank - 2, rank - 1)
    }

    /// Returns the order that swaps two axes.
    pub(crate) fn swapped(rank: usize, first: usize, second: usize) -> Self {
        Self::new((0..rank).map(|axis| match axis {
            _ if axis == first => second,
            _ if axis == second => first,
            _ => axis,
        }))
    }

    pub(crate) fn axes(&self) -> impl ExactSizeIterator<Item = usize> {
        self.0.iter().map(|&axis| usize::from(axis))
    }

    /// Returns the order that undoes this one.
    pub(crate) fn inverse(&self) -> Self {
        let mut inverse: SmallVec<[u8; 8]> = SmallVec::from_elem(0, self.0.len());
        for (position, axis) in self.axes().enumerate() {
            inverse[axis] = position as u8;
        }
        Self(inverse)
    }

    /// Returns `dims` in this order.
    pub(crate) fn apply(&self, dims: &[usize]) -> Shape {
        self.axes().map(|axis| dims[axis]).collect()
    }
}

impl fmt::Display for Permutation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.0).finish()
    }
}
