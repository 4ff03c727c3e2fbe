//! Operations on batches: the same operation on each array of a batch, whose first axis numbers them.

use crate::number::Number;
use crate::op::axes::Permutation;
use crate::op::operation::{Linear, Op};
use crate::shape::Shape;

impl<T: Number> Op<T> {
    /// Returns the operation that does the same to each of `count` arrays, or `None` if no operation does. Operands of fewer
    /// axes than others have axes of length 1 after the first.
    pub(crate) fn batched(&self, count: usize) -> Option<Self> {
        Some(match *self {
            // They broadcast, or work on the last two axes.
            Self::Unary(_)
            | Self::Binary(_)
            | Self::Select
            | Self::Matmul { .. }
            | Self::Inverse
            | Self::Det
            | Self::DetDerivative { .. }
            | Self::LogDet
            | Self::DetSign
            | Self::Solve { .. }
            | Self::Factors
            | Self::SolveByFactors { .. }
            | Self::Cholesky => self.clone(),
            Self::Linear(ref linear) => Self::Linear(linear.batched(count)?),
            Self::Reduce { kind, axes, keep } => Self::Reduce { kind, axes: axes.shifted(), keep },
            Self::Softmax { axis } => Self::Softmax { axis: axis + 1 },
            Self::LogSoftmax { axis } => Self::LogSoftmax { axis: axis + 1 },
            Self::Normalize { axes, eps } => Self::Normalize { axes: axes.shifted(), eps },
            Self::NormalizeAffine { axes, eps } => Self::NormalizeAffine { axes: axes.shifted(), eps },
            Self::NormalizeBackward { axes, eps } => Self::NormalizeBackward { axes: axes.shifted(), eps },
            Self::InverseStd { axes, eps } => Self::InverseStd { axes: axes.shifted(), eps },
            Self::Conv2d { .. }
            | Self::Conv2dInput { .. }
            | Self::Conv2dWeight { .. }
            | Self::TakeAtArgmax2d { .. }
            | Self::TakeAtArgmax2dBackward { .. } => return None,
        })
    }

    /// Returns whether an operand that is the same for the whole batch may stay without the first axis.
    pub(crate) fn broadcasts(&self) -> bool {
        matches!(self, Self::Binary(_) | Self::Select | Self::Matmul { .. })
    }
}

impl<T: Number> Linear<T> {
    fn batched(&self, count: usize) -> Option<Self> {
        let longer = |shape: &Shape| -> Shape { [count].into_iter().chain(shape.iter().copied()).collect() };
        Some(match *self {
            Self::CumSum { axis, from } => Self::CumSum { axis: axis + 1, from },
            Self::Reshape { ref shape } => Self::Reshape { shape: longer(shape) },
            Self::Permute { ref order } => {
                Self::Permute { order: Permutation::new([0].into_iter().chain(order.axes().map(|axis| axis + 1))) }
            }
            Self::BroadcastTo { ref shape } => Self::BroadcastTo { shape: longer(shape) },
            Self::Slice { axis, start, step, length } => Self::Slice { axis: axis + 1, start, step, length },
            Self::SliceBackward { axis, start, step, length } => {
                Self::SliceBackward { axis: axis + 1, start, step, length }
            }
            Self::IndexSelect { axis, indices } => Self::IndexSelect { axis: axis + 1, indices },
            Self::IndexAdd { axis, indices, length } => Self::IndexAdd { axis: axis + 1, indices, length },
            Self::Concat { axis } => Self::Concat { axis: axis + 1 },
            Self::Flip { axes } => Self::Flip { axes: axes.shifted() },
            Self::Pad { axis, before, length, value } => Self::Pad { axis: axis + 1, before, length, value },
            // They work on the last two axes.
            Self::Diagonal | Self::DiagonalBackward { .. } | Self::Tril { .. } | Self::Triu { .. } => self.clone(),
            // `sum_to` removes axes, and the others expect an array of two or four axes.
            Self::SumTo { .. }
            | Self::TakeAlongRows { .. }
            | Self::TakeAlongRowsBackward { .. }
            | Self::AvgPool2d { .. }
            | Self::AvgPool2dBackward { .. } => return None,
        })
    }
}
