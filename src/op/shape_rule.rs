//! The shape rule: which shapes an operation takes, and which it gives.

use smallvec::SmallVec;

use super::{Op, Transposed};
use crate::kernel::view::row_major_strides;
use crate::kernel::window::Window;
use crate::scalar::Scalar;
use crate::shape::{KeepDims, Shape, ShapeError, broadcast, elements};

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
            (
                Self::Sum { axes, keep }
                | Self::Prod { axes, keep }
                | Self::Norm { axes, keep }
                | Self::LogSumExp { axes, keep },
                &[x],
            ) => Ok(Shape::from(x).reduced(*axes, *keep)),
            (Self::Max { axes, keep } | Self::Min { axes, keep }, &[x]) => {
                let result = Shape::from(x).reduced(*axes, *keep);
                if axes.elements(x) == 0 && result.elements() > 0 {
                    let which = if matches!(self, Self::Max { .. }) { "maximum" } else { "minimum" };
                    return Err(error(format!("the {which} over no elements does not exist")));
                }
                Ok(result)
            }
            (Self::Softmax { axis } | Self::LogSoftmax { axis } | Self::CumSum { axis, .. }, &[x]) => {
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
            (Self::Flip(_), &[x]) => Ok(Shape::from(x)),
            (&Self::Pad { axis, length, .. }, &[x]) => Ok(Shape::from(x).with_axis(axis, length)),
            (Self::Diagonal, &[x]) => {
                let [batch @ .., rows, columns] = x else { return Err(error(not_matrices(x))) };
                Ok(batch.iter().copied().chain([*rows.min(columns)]).collect())
            }
            (&Self::Undiagonal { rows, columns }, &[x]) => match x {
                [batch @ .., length] if *length == rows.min(columns) => {
                    Ok(batch.iter().copied().chain([rows, columns]).collect())
                }
                _ => Err(error(format!("it is no diagonal of ({rows}, {columns})"))),
            },
            (Self::Tril(_) | Self::Triu(_), &[x]) => match x {
                [.., _, _] => Ok(Shape::from(x)),
                _ => Err(error(not_matrices(x))),
            },
            (Self::Select, &[mask, a, b]) => {
                let common = |branches: Shape| broadcast(self.name(), mask, &branches);
                let fits = |_| error("mask and branches do not broadcast to one shape".into());
                broadcast(self.name(), a, b).and_then(common).map_err(fits)
            }
            (Self::Conv2d(window), &[x, w]) => {
                let (&[n, channels, height, width], &[out, taken, ..]) = (x, w) else {
                    return Err(error("input and weight have 4 axes each".into()));
                };
                if w.len() != 4 {
                    return Err(error("input and weight have 4 axes each".into()));
                }
                if channels != taken {
                    return Err(error(format!("the input has {channels} channels, the weight takes {taken}")));
                }
                let [down, across] = self.windows(*window, [height, width]).map_err(error)?;
                Ok(Shape::from([n, out, down, across]))
            }
            (Self::Conv2dInput { size, .. }, &[g, w]) => {
                Ok(Shape::from([g[0], w[1], size[0] as usize, size[1] as usize]))
            }
            (Self::Conv2dWeight(window), &[x, g]) => {
                Ok(Shape::from([g[1], x[1], window.kernel[0] as usize, window.kernel[1] as usize]))
            }
            (Self::MaxPool2d(window), &[x, _]) | (Self::AvgPool2d(window), &[x]) => {
                // A maximum takes its elements from a second operand, which is the same array: one is shown.
                let error = |finding: String| ShapeError::new(self.name(), &[x], finding);
                let &[ref planes @ .., height, width] = x else {
                    return Err(error(not_matrices(x)));
                };
                let counts = self.windows(*window, [height, width]).map_err(error)?;
                Ok(planes.iter().copied().chain(counts).collect())
            }
            (Self::MaxUnpool2d(_), &[x, _]) => Ok(Shape::from(x)),
            (Self::AvgUnpool2d { size, .. }, &[g]) => {
                Ok(g[..g.len() - 2].iter().copied().chain(size.map(|length| length as usize)).collect())
            }
            (Self::Normalize { .. }, &[x]) | (Self::Denormalize { .. }, &[x, _]) => Ok(Shape::from(x)),
            (Self::InverseStd { axes, .. }, &[x]) => Ok(Shape::from(x).reduced(*axes, KeepDims::Yes)),
            (Self::Inverse | Self::Cholesky, &[x]) | (Self::DetDerivative { .. }, &[x, ..]) => match *x {
                [.., rows, columns] if rows == columns => Ok(Shape::from(x)),
                _ => Err(error(not_square(x))),
            },
            (Self::Det | Self::LogDet, &[x]) => match *x {
                [ref batch @ .., rows, columns] if rows == columns => Ok(Shape::from(batch)),
                _ => Err(error(not_square(x))),
            },
            (Self::Solve { .. }, &[a, b]) => {
                let &[ref a_batch @ .., rows, columns] = a else { return Err(error(not_square(a))) };
                if rows != columns {
                    return Err(error(not_square(a)));
                }
                let &[ref b_batch @ .., length, count] = b else { return Err(error(not_matrices(b))) };
                if length != rows {
                    return Err(error(format!("{rows} equations for right sides of length {length}")));
                }
                let finding = |_| error("the axes before the last two do not broadcast".into());
                let batch = broadcast(self.name(), a_batch, b_batch).map_err(finding)?;
                Ok(batch.iter().copied().chain([length, count]).collect())
            }
            // The tape asks the custom operation itself; a source has no operands.
            (op, operands) => unreachable!("{op} does not take {} operands", operands.len()),
        }
    }

    /// Returns how many windows there are along each axis, or what does not fit.
    fn windows(&self, window: Window, size: [usize; 2]) -> Result<[usize; 2], String> {
        if window.stride.contains(&0) || window.kernel.contains(&0) {
            return Err(format!("windows of {:?} at a stride of {:?} do not exist", window.kernel, window.stride));
        }
        window.counts(size).ok_or_else(|| {
            format!("a window of {:?} is larger than {size:?}, padded by {:?}", window.kernel, window.padding)
        })
    }

    /// Returns the strides and the position of the first element of the result, if it is the operand's own memory
    /// seen in another way. `None` if the operation computes.
    pub(crate) fn view(&self, shape: &[usize], strides: Option<&[usize]>, result: &[usize]) -> Option<(Layout, usize)> {
        let own = || strides.map_or_else(|| row_major_strides(shape), Shape::from);
        match self {
            Self::Reshape(_) => match strides {
                None => Some((Layout::RowMajor, 0)),
                Some(strides) => Some((Layout::of(result, reshaped(shape, strides, result)?), 0)),
            },
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

/// Says that an operand has too few axes to hold matrices.
fn not_matrices(shape: &[usize]) -> String {
    format!("the operand has {} axes, not at least 2", shape.len())
}

/// Says that an operand is no square matrix.
fn not_square(shape: &[usize]) -> String {
    match shape {
        [.., rows, columns] => format!("the matrix is {rows} x {columns}, not square"),
        _ => not_matrices(shape),
    }
}

/// Returns the strides with which a strided array is read in another shape; `None` if there are none, and the elements have
/// to be copied.
fn reshaped(shape: &[usize], strides: &[usize], result: &[usize]) -> Option<Shape> {
    if elements(result) == 0 {
        return Some(row_major_strides(result));
    }
    // Axes that continue each other in memory are one. A new axis may be a part of such a one, but not span two.
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

/// Returns the shape of the matrix product of two operands, by NumPy's rules: a vector is a matrix of one row at the left
/// and of one column at the right, which the result does not have; axes before the last two broadcast.
///
/// # Errors
///
/// If an operand is a scalar, the inner dimensions differ, or the other axes do not broadcast.
pub(crate) fn matmul_shape(a: &[usize], b: &[usize]) -> Result<Shape, ShapeError> {
    let error = |finding: String| ShapeError::new("matmul", &[a, b], finding);
    let (rows, columns, k, l) = match (a, b) {
        ([], _) => return Err(error("the left operand has no axis".into())),
        (_, []) => return Err(error("the right operand has no axis".into())),
        ([.., k], [l]) => (&a[..a.len() - 1], [].as_slice(), k, l),
        ([.., k], [.., l, _]) => (&a[..a.len() - 1], &b[b.len() - 1..], k, l),
    };
    if k != l {
        return Err(error(format!("inner dimensions {k} and {l} differ")));
    }
    let (batch, rows) = rows.split_at(a.len().saturating_sub(2));
    let batch = broadcast("matmul", batch, &b[..b.len().saturating_sub(2)]).map_err(|_| {
        let finding = format!(
            "the axes before the last two, {} and {}, do not broadcast",
            Shape::from(batch),
            Shape::from(&b[..b.len().saturating_sub(2)])
        );
        error(finding)
    })?;
    Ok(batch.iter().chain(rows).chain(columns).copied().collect())
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
