//! The shape rule: which shapes an operation takes, and which it gives.

use super::{Op, Transposed};
use crate::kernel::view::row_major_strides;
use crate::scalar::Scalar;
use crate::shape::{Shape, ShapeError, broadcast, elements};

impl<T: Scalar> Op<T> {
    /// Returns the shape of the result for operands of these shapes.
    ///
    /// # Errors
    ///
    /// If the operation cannot take them; the error names the operation, the shapes, and what does not fit.
    pub(crate) fn shape(&self, operands: &[&[usize]]) -> Result<Shape, ShapeError> {
        let error = |finding: String| ShapeError::new(self.name(), operands, finding);
        match (self, operands) {
            (Self::Unary(_), &[x]) => Ok(Shape::from(x)),
            (Self::Binary(binary), &[a, b]) => broadcast(binary.name(), a, b),
            (Self::Matmul { left, right }, &[a, b]) => {
                // Without a list of axes in between: this rule runs for every product.
                if let (&[a0, a1], &[b0, b1]) = (a, b) {
                    let (m, k) = if *left == Transposed::Yes { (a1, a0) } else { (a0, a1) };
                    let (l, n) = if *right == Transposed::Yes { (b1, b0) } else { (b0, b1) };
                    if k == l {
                        return Ok(Shape::from([m, n]));
                    }
                }
                matmul_shape(&left.order(a), &right.order(b))
            }
            (Self::Sum { axes, keep }, &[x]) => Ok(Shape::from(x).reduced(*axes, *keep)),
            (Self::Max { axes, keep }, &[x]) => {
                let result = Shape::from(x).reduced(*axes, *keep);
                if axes.elements(x) == 0 && result.elements() > 0 {
                    return Err(error("the maximum over no elements does not exist".into()));
                }
                Ok(result)
            }
            (Self::Softmax { axis } | Self::LogSoftmax { axis }, &[x]) => {
                debug_assert!(*axis < x.len());
                Ok(Shape::from(x))
            }
            (Self::Reshape(shape), &[x]) => {
                if shape.elements() != elements(x) {
                    return Err(error(format!(
                        "{} elements do not fill the shape {shape}, which takes {}",
                        elements(x),
                        shape.elements()
                    )));
                }
                Ok(shape.clone())
            }
            (Self::Permute(permutation), &[x]) => Ok(permutation.apply(x)),
            (Self::BroadcastTo(shape), &[x]) => match broadcast(self.name(), x, shape) {
                Ok(common) if common == *shape => Ok(common),
                _ => Err(error(format!("it does not broadcast to {shape}"))),
            },
            (Self::SumTo(shape), &[x]) => match broadcast(self.name(), shape, x) {
                Ok(common) if *common == *x => Ok(shape.clone()),
                _ => Err(error(format!("it is not a broadcast of {shape}"))),
            },
            (&Self::Slice { axis, start, step, length }, &[x]) => {
                let end = if length == 0 { start } else { start + (length - 1) * step + 1 };
                if end > x[axis] {
                    return Err(error(format!("position {} is beyond axis {axis} of length {}", end - 1, x[axis])));
                }
                Ok(Shape::from(x).with_axis(axis, length))
            }
            (&Self::Unslice { axis, length, .. } | &Self::IndexAdd { axis, length, .. }, &[x]) => {
                Ok(Shape::from(x).with_axis(axis, length))
            }
            (Self::IndexSelect { axis, indices }, &[x]) => Ok(Shape::from(x).with_axis(*axis, indices.length as usize)),
            (Self::Pick { columns }, &[x]) => match *x {
                [rows, _] if rows == columns.length as usize => Ok(Shape::from([rows])),
                [rows, _] => Err(error(format!("{} columns are named for {rows} rows", columns.length))),
                _ => Err(error(format!("the operand has {} axes, not 2", x.len()))),
            },
            (Self::Unpick { width, .. }, &[x]) => Ok(Shape::from([x[0], *width])),
            (Self::Concat { axis }, parts) => {
                let Some((first, rest)) = parts.split_first() else {
                    return Err(error("there is nothing to join".into()));
                };
                for (index, part) in rest.iter().enumerate() {
                    let fits = part.len() == first.len()
                        && (0..part.len()).all(|other| other == *axis || part[other] == first[other]);
                    if !fits {
                        let message = format!("operand {} differs from the first outside axis {axis}", index + 1);
                        return Err(error(message));
                    }
                }
                let length = parts.iter().fold(0, |length: usize, part| length.saturating_add(part[*axis]));
                Ok(Shape::from(*first).with_axis(*axis, length))
            }
            // The tape asks the custom operation itself; a source has no operands.
            (op, operands) => unreachable!("{op} does not take {} operands", operands.len()),
        }
    }

    /// Returns the strides and the position of the first element of the result, if it is the operand's own memory
    /// seen in another way. `None` if the operation computes.
    pub(crate) fn view(&self, shape: &[usize], strides: Option<&[usize]>, result: &[usize]) -> Option<(Layout, usize)> {
        let own = || strides.map_or_else(|| row_major_strides(shape), Shape::from);
        match self {
            // A reshape of a strided array would in general not be a strided array.
            Self::Reshape(_) if strides.is_none() => Some((Layout::RowMajor, 0)),
            Self::Permute(permutation) => Some((Layout::of(result, permutation.apply(&own())), 0)),
            Self::BroadcastTo(_) => {
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
                // An empty slice has no first element: any position will do.
                let offset = if elements(result) == 0 { 0 } else { start * own[axis] };
                Some((Layout::of(result, own.with_axis(axis, own[axis] * step)), offset))
            }
            _ => None,
        }
    }
}

/// Returns the shape of the matrix product of two operands, either a matrix or a vector.
///
/// # Errors
///
/// If an operand is neither, or the inner dimensions differ.
pub(crate) fn matmul_shape(a: &[usize], b: &[usize]) -> Result<Shape, ShapeError> {
    let error = |finding: String| ShapeError::new("matmul", &[a, b], finding);
    for (side, operand) in [("left", a), ("right", b)] {
        if !(1..=2).contains(&operand.len()) {
            return Err(error(format!("the {side} operand has {} axes, neither 1 nor 2", operand.len())));
        }
    }
    let (rows, inner_left) = a.split_at(a.len() - 1);
    let (inner_right, columns) = b.split_at(1);
    if inner_left != inner_right {
        return Err(error(format!("inner dimensions {} and {} differ", inner_left[0], inner_right[0])));
    }
    Ok(rows.iter().chain(columns).copied().collect())
}

/// How a result lies in memory.
pub(crate) enum Layout {
    /// In row-major order without gaps.
    RowMajor,
    /// At these strides.
    Strided(Shape),
}

impl Layout {
    /// Returns the strides, unless they are the row-major ones.
    pub(crate) fn strides(self) -> Option<Shape> {
        match self {
            Self::RowMajor => None,
            Self::Strided(strides) => Some(strides),
        }
    }

    /// Returns the layout of these strides, recognizing the row-major one: the fast paths are its.
    fn of(shape: &[usize], strides: Shape) -> Self {
        let row_major = row_major_strides(shape);
        let same = shape.iter().zip(strides.iter().zip(row_major.iter())).all(|(&n, (s, r))| n == 1 || s == r);
        if same || elements(shape) == 0 { Self::RowMajor } else { Self::Strided(strides) }
    }
}
