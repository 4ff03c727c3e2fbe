//! [`Unit`]: what a program runs at once.

use super::graph::{Action, Origin, Value};
use crate::op::{Op, Straight, TileGroup, TileRow};
use crate::scalar::Scalar;
use crate::shape::Shape;

/// What runs at once.
pub(super) enum Unit<T> {
    /// An operation, a custom operation or a copy, computed from the operands of its value.
    One(usize),
    /// Rows of the table, tile by tile. `made` are the values that others read.
    Group { group: TileGroup<T>, made: Vec<usize> },
    /// Arrays of a few elements, number by number. `made` are the values that others read.
    Straight { program: Straight<T>, made: Vec<usize> },
}

impl<T> Unit<T> {
    /// Returns the values that the unit writes to memory.
    pub(super) fn made(&self) -> &[usize] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Group { made, .. } | Self::Straight { made, .. } => made,
        }
    }
}

/// Where a value lies: in the memory of a value that has its own.
pub(super) struct Located {
    pub(super) root: usize,
    pub(super) offset: usize,
    /// `None` for row-major without gaps.
    pub(super) strides: Option<Shape>,
}

/// Returns the operands of a value.
pub(super) fn operands<T>(value: &Value<T>) -> &[usize] {
    match &value.origin {
        Origin::Computed { operands, .. } => operands,
        Origin::Input(_) | Origin::Param(_) | Origin::Constant(_) => &[],
    }
}

/// Returns the step of a group that computes a value, if its elements are computed one by one.
pub(super) fn tile_row<T: Scalar>(value: &Value<T>) -> Option<TileRow<T>> {
    let Origin::Computed { action, .. } = &value.origin else { return None };
    match action {
        Action::Op(Op::Unary(row)) => Some(TileRow::Unary(*row)),
        Action::Op(Op::Binary(row)) => Some(TileRow::Binary(*row)),
        Action::Op(Op::Select) => Some(TileRow::Select),
        Action::PullUnary(row) => Some(TileRow::PullUnary(*row)),
        Action::PullBinary(row, k) => Some(TileRow::PullBinary(*row, *k)),
        Action::Op(_) | Action::Custom(_) | Action::Copy => None,
    }
}
