//! The view rule: the operations whose result is a view of their operand. They compute nothing.

use smallvec::SmallVec;

use crate::kernel::view::View;
use crate::number::Number;
use crate::op::operation::{Linear, Op};
use crate::shape::{Shape, elements, row_major_strides};

impl<T: Number> Op<T> {
    /// Returns the layout of the result and the position of its first element, if it is a view of the operand; `None`
    /// if the operation computes.
    #[inline]
    pub(crate) fn view(&self, operands: &[View<'_, T>], result: &[usize]) -> Option<(Layout, usize)> {
        match (self, operands) {
            (Self::Linear(linear), [x]) => linear.view(x.shape, x.strides, result),
            _ => None,
        }
    }
}

impl<T: Number> Linear<T> {
    /// Returns the strides and the position of the first element of the result, if it is a view of the operand; `None`
    /// if the operation computes.
    #[inline]
    pub(super) fn view(&self, shape: &[usize], strides: Option<&[usize]>, result: &[usize]) -> Option<(Layout, usize)> {
        let own = || strides.map_or_else(|| row_major_strides(shape), Shape::from);
        match self {
            Self::Reshape { .. } => match strides {
                None => Some((Layout::RowMajor, 0)),
                Some(strides) => Some((Layout::of(result, reshaped(shape, strides, result)?), 0)),
            },
            Self::Permute { order } => Some((Layout::of(result, order.apply(&own())), 0)),
            Self::BroadcastTo { .. } => {
                let own = own();
                let missing = result.len() - shape.len();
                let strides = (0..result.len())
                    .map(|axis| match axis.checked_sub(missing) {
                        Some(index) if shape[index] == result[axis] => own[index],
                        _ => 0,
                    })
                    .collect();
                Some((Layout::of(result, strides), 0))
            }
            &Self::Slice { axis, start, step, .. } => {
                let own = own();
                // An empty slice has no first element, so any position is right.
                let offset = if elements(result) == 0 { 0 } else { start * own[axis] };
                Some((Layout::of(result, own.with_axis(axis, own[axis] * step)), offset))
            }
            Self::Diagonal => {
                let own = own();
                let batch = &own[..own.len() - 2];
                let along = own[own.len() - 2] + own[own.len() - 1];
                Some((Layout::of(result, batch.iter().copied().chain([along]).collect()), 0))
            }
            _ => None,
        }
    }
}

/// Returns the strides of a strided array in another shape; `None` if there are no such strides and the elements have
/// to be copied.
fn reshaped(shape: &[usize], strides: &[usize], result: &[usize]) -> Option<Shape> {
    if elements(result) == 0 {
        return Some(row_major_strides(result));
    }
    // Axes that continue each other in memory are joined. A new axis may be a part of a joined axis, but it may not
    // span two.
    let mut runs: SmallVec<[(usize, usize); 8]> = SmallVec::new();
    for (&length, &stride) in shape.iter().zip(strides).filter(|&(&length, _)| length != 1) {
        match runs.last_mut() {
            Some(outer) if outer.1 == stride * length => *outer = (outer.0 * length, stride),
            _ => runs.push((length, stride)),
        }
    }
    let mut new = result.iter().rev().copied();
    let mut reversed: SmallVec<[usize; 8]> = SmallVec::new();
    for &(mut rest, mut stride) in runs.iter().rev() {
        while rest > 1 {
            let length = new.next()?;
            if rest % length != 0 {
                return None;
            }
            reversed.push(stride);
            stride *= length;
            rest /= length;
        }
    }
    reversed.extend(new.map(|_| 1));
    Some(reversed.into_iter().rev().collect())
}

/// The memory layout of a result.
pub(crate) enum Layout {
    /// In row-major order without gaps.
    RowMajor,
    /// At these strides.
    Strided(Shape),
}

impl Layout {
    /// Returns the view of an array with this layout.
    #[inline]
    pub(crate) fn of_memory<'a, T: Number>(&'a self, data: &'a [T], shape: &'a [usize]) -> View<'a, T> {
        match self {
            Self::RowMajor => View::contiguous(data, shape),
            Self::Strided(strides) => View { data, shape, strides: Some(strides) },
        }
    }

    /// Returns the strides, unless they are the row-major ones.
    #[inline]
    pub(crate) fn strides(self) -> Option<Shape> {
        match self {
            Self::RowMajor => None,
            Self::Strided(strides) => Some(strides),
        }
    }

    /// Returns the layout with these strides. It recognizes row-major strides, because the fast paths are for these.
    fn of(shape: &[usize], strides: Shape) -> Self {
        let row_major = row_major_strides(shape);
        let same = shape.iter().zip(strides.iter().zip(row_major.iter())).all(|(&n, (s, r))| n == 1 || s == r);
        if same || elements(shape) == 0 { Self::RowMajor } else { Self::Strided(strides) }
    }
}
