//! The shape rule: the shapes that an operation accepts, and the shape of its result.

use crate::kernel::window::Window;
use crate::number::Number;
use crate::op::axes::Transposed;
use crate::op::operation::{Linear, Op, ReduceKind};
use crate::shape::{KeepDims, Shape, ShapeError, broadcast, elements};

/// Returns the error of an operation on operands of these shapes.
#[inline]
fn refusal(name: &'static str, operands: &[&[usize]]) -> impl Fn(String) -> ShapeError + Copy {
    move |finding| ShapeError::new(name, operands, finding)
}

impl<T: Number> Op<T> {
    /// Returns the shape of the result for operands of these shapes.
    ///
    /// # Errors
    ///
    /// If the operation does not accept them. The error names the operation, the shapes and the mismatch.
    pub(crate) fn shape(&self, operands: &[&[usize]]) -> Result<Shape, ShapeError> {
        let error = refusal(self.name(), operands);
        let x = operands[0];
        match *self {
            Self::Unary(_) => Ok(Shape::from(x)),
            Self::Binary(binary) => broadcast(binary.name(), x, operands[1]),
            Self::Linear(ref linear) => linear.shape(operands),
            Self::Matmul { left, right } => {
                // No list of axes in between: this rule runs for every matrix product.
                let (a, b) = (x, operands[1]);
                if let (&[a0, a1], &[b0, b1]) = (a, b) {
                    let (m, k) = if left == Transposed::Yes { (a1, a0) } else { (a0, a1) };
                    let (l, n) = if right == Transposed::Yes { (b1, b0) } else { (b0, b1) };
                    if k == l {
                        return Ok(Shape::from([m, n]));
                    }
                }
                matmul_shape(&left.order(a), &right.order(b))
            }
            Self::Reduce { kind, axes, keep } => {
                let result = Shape::from(x).reduced(axes, keep);
                let extremum = match kind {
                    ReduceKind::Max => "maximum",
                    ReduceKind::Min => "minimum",
                    ReduceKind::Sum | ReduceKind::Prod | ReduceKind::Norm | ReduceKind::LogSumExp => return Ok(result),
                };
                if axes.elements(x) == 0 && result.elements() > 0 {
                    return Err(error(format!("the {extremum} over no elements does not exist")));
                }
                Ok(result)
            }
            Self::Softmax { axis } | Self::LogSoftmax { axis } => {
                debug_assert!(axis < x.len());
                Ok(Shape::from(x))
            }
            Self::Select => {
                let common = |branches: Shape| broadcast(self.name(), x, &branches);
                let fits = |_| error("mask and branches do not broadcast to one shape".into());
                broadcast(self.name(), operands[1], operands[2]).and_then(common).map_err(fits)
            }
            Self::Conv2d { window } => {
                let w = operands[1];
                let (&[n, channels, height, width], &[out, taken, _, _]) = (x, w) else {
                    return Err(error("input and weight have 4 axes each".into()));
                };
                if channels != taken {
                    return Err(error(format!("the input has {channels} channels, the weight takes {taken}")));
                }
                let [down, across] = windows(window, [height, width]).map_err(error)?;
                Ok(Shape::from([n, out, down, across]))
            }
            Self::Conv2dInput { size, .. } => {
                Ok(Shape::from([x[0], operands[1][1], size[0] as usize, size[1] as usize]))
            }
            Self::Conv2dWeight { window } => {
                Ok(Shape::from([operands[1][1], x[1], window.kernel[0] as usize, window.kernel[1] as usize]))
            }
            // The second operand has the same shape. The error shows one of the two.
            Self::TakeAtArgmax2d { window } => pooled(self.name(), x, window),
            Self::TakeAtArgmax2dBackward { .. } => Ok(Shape::from(x)),
            Self::NormalizeAffine { .. } => {
                let fits = |operand: &&[usize]| broadcast(self.name(), x, operand).is_ok_and(|shape| *shape == *x);
                match operands[1..].iter().all(fits) {
                    true => Ok(Shape::from(x)),
                    false => Err(error("gain and bias do not broadcast to the shape of the first operand".into())),
                }
            }
            Self::Normalize { .. } | Self::NormalizeBackward { .. } => Ok(Shape::from(x)),
            Self::InverseStd { axes, .. } => Ok(Shape::from(x).reduced(axes, KeepDims::Yes)),
            Self::Inverse | Self::Cholesky | Self::DetDerivative { .. } => match *x {
                [.., rows, columns] if rows == columns => Ok(Shape::from(x)),
                _ => Err(error(not_square(x))),
            },
            Self::Det | Self::DetSign | Self::LogDet => match *x {
                [ref batch @ .., rows, columns] if rows == columns => Ok(Shape::from(batch)),
                _ => Err(error(not_square(x))),
            },
            Self::Factors => match *x {
                [ref batch @ .., rows, columns] if rows == columns => {
                    Ok(batch.iter().copied().chain([rows + 1, columns]).collect())
                }
                _ => Err(error(not_square(x))),
            },
            // The factors have the batch of the matrix.
            Self::Solve { .. } | Self::SolveByFactors { .. } => {
                let (a, b) = (x, operands[1]);
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
        }
    }
}

impl<T: Number> Linear<T> {
    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, ShapeError> {
        let error = refusal(self.name(), operands);
        let x = match operands {
            [x, ..] => *x,
            [] => return Err(error("there is no operand".into())),
        };
        match *self {
            Self::CumSum { axis, .. } => {
                debug_assert!(axis < x.len());
                Ok(Shape::from(x))
            }
            Self::Reshape { ref shape } => {
                if shape.elements() != elements(x) {
                    return Err(error(format!(
                        "{} elements do not fill the shape {shape}, which takes {}",
                        elements(x),
                        shape.elements()
                    )));
                }
                Ok(shape.clone())
            }
            Self::Permute { ref order } => Ok(order.apply(x)),
            Self::BroadcastTo { ref shape } => match broadcast(self.name(), x, shape) {
                Ok(common) if common == *shape => Ok(common),
                _ => Err(error(format!("it does not broadcast to {shape}"))),
            },
            Self::SumTo { ref shape } => match broadcast(self.name(), shape, x) {
                Ok(common) if *common == *x => Ok(shape.clone()),
                _ => Err(error(format!("it is not a broadcast of {shape}"))),
            },
            Self::Slice { axis, start, step, length } => {
                let end = if length == 0 { start } else { start + (length - 1) * step + 1 };
                if end > x[axis] {
                    return Err(error(format!("position {} is beyond axis {axis} of length {}", end - 1, x[axis])));
                }
                Ok(Shape::from(x).with_axis(axis, length))
            }
            Self::SliceBackward { axis, length, .. } | Self::IndexAdd { axis, length, .. } => {
                Ok(Shape::from(x).with_axis(axis, length))
            }
            Self::IndexSelect { axis, indices } => Ok(Shape::from(x).with_axis(axis, indices.length())),
            Self::TakeAlongRows { columns } => match *x {
                [rows, _] if rows == columns.length() => Ok(Shape::from([rows])),
                [rows, _] => Err(error(format!("{} columns are named for {rows} rows", columns.length()))),
                _ => Err(error(format!("the operand has {} axes, not 2", x.len()))),
            },
            Self::TakeAlongRowsBackward { width, .. } => Ok(Shape::from([x[0], width])),
            Self::Concat { axis } => {
                for (index, part) in operands.iter().enumerate().skip(1) {
                    let fits =
                        part.len() == x.len() && (0..part.len()).all(|other| other == axis || part[other] == x[other]);
                    if !fits {
                        return Err(error(format!("operand {index} differs from the first outside axis {axis}")));
                    }
                }
                let length = operands.iter().fold(0, |length: usize, part| length.saturating_add(part[axis]));
                Ok(Shape::from(x).with_axis(axis, length))
            }
            Self::Flip { .. } => Ok(Shape::from(x)),
            Self::Pad { axis, length, .. } => Ok(Shape::from(x).with_axis(axis, length)),
            Self::Diagonal => {
                let [batch @ .., rows, columns] = x else { return Err(error(not_matrices(x))) };
                Ok(batch.iter().copied().chain([*rows.min(columns)]).collect())
            }
            Self::DiagonalBackward { rows, columns } => match *x {
                [ref batch @ .., length] if length == rows.min(columns) => {
                    Ok(batch.iter().copied().chain([rows, columns]).collect())
                }
                _ => Err(error(format!("its last axis is not the diagonal of ({rows}, {columns})"))),
            },
            Self::Tril { .. } | Self::Triu { .. } => match x {
                [.., _, _] => Ok(Shape::from(x)),
                _ => Err(error(not_matrices(x))),
            },
            Self::AvgPool2d { window } => pooled(self.name(), x, window),
            Self::AvgPool2dBackward { size, .. } => {
                Ok(x[..x.len() - 2].iter().copied().chain(size.map(|length| length as usize)).collect())
            }
        }
    }
}

/// Returns the shape of an array with one number for each window.
fn pooled(name: &'static str, x: &[usize], window: Window) -> Result<Shape, ShapeError> {
    let operands = [x];
    let error = refusal(name, &operands);
    let &[ref planes @ .., height, width] = x else { return Err(error(not_matrices(x))) };
    let counts = windows(window, [height, width]).map_err(error)?;
    Ok(planes.iter().copied().chain(counts).collect())
}

/// Returns the number of windows along each axis, or the text of the mismatch.
fn windows(window: Window, size: [usize; 2]) -> Result<[usize; 2], String> {
    let dilation = || match window.dilation {
        [1, 1] => String::new(),
        dilation => format!(" with a dilation of {dilation:?}"),
    };
    if [window.stride, window.kernel, window.dilation].iter().any(|lengths| lengths.contains(&0)) {
        return Err(format!(
            "a window of {:?} with a stride of {:?}{}: every length has to be at least 1",
            window.kernel,
            window.stride,
            dilation()
        ));
    }
    window.counts(size).ok_or_else(|| {
        let (kernel, padding) = (window.kernel, window.padding);
        format!("a window of {kernel:?}{} is larger than {size:?}, padded by {padding:?}", dilation())
    })
}

/// Returns the text for an operand that has too few axes for matrices.
pub(crate) fn not_matrices(shape: &[usize]) -> String {
    format!("the operand has {} axes, not at least 2", shape.len())
}

/// Returns the text for an operand that is not a square matrix.
pub(crate) fn not_square(shape: &[usize]) -> String {
    match shape {
        [.., rows, columns] => format!("the matrix is {rows} x {columns}, not square"),
        _ => not_matrices(shape),
    }
}

/// Returns the shape of the matrix product of two operands, by NumPy's rules. A vector at the left is a matrix of one
/// row, a vector at the right a matrix of one column. The result lacks the axis of that row or column. Axes before the
/// last two broadcast.
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
