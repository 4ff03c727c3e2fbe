//! Recording: how the methods of [`Var`] put operations on the tape, and custom operations.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::op::Op;
use crate::scalar::Scalar;
use crate::shape::ShapeError;
use crate::tape::{CustomOp, Step, Var};

impl<T: Scalar> Var<'_, T> {
    #[track_caller]
    #[inline]
    pub(super) fn apply(self, op: impl Into<Op<T>>) -> Self {
        self.tape().apply(op.into(), &[self.id()])
    }

    /// Records a shape rule's result, or panics with it.
    #[track_caller]
    pub(crate) fn check<R>(self, result: Result<R, ShapeError>) -> R {
        match result {
            Ok(value) => value,
            Err(error) => panic!("{}", self.tape().explain(&error, &[self.id()])),
        }
    }

    /// Panics with a finding on this value's shape.
    #[track_caller]
    pub(super) fn refuse(self, op: &'static str, finding: String) -> ! {
        let error = ShapeError::new(op, &[&self.shape()], finding);
        panic!("{}", self.tape().explain(&error, &[self.id()]))
    }

    #[track_caller]
    #[inline]
    pub(crate) fn assert_same_tape(self, op: &str, other: Self) {
        assert!(
            std::ptr::eq(self.tape(), other.tape()),
            "{op}: the operands belong to different tapes: {} and {}",
            self.tape().describe(self.id()),
            other.tape().describe(other.id())
        );
    }

    /// Applies a custom operation; see [`CustomOp`] for an example. The operation is an `Arc` of any type that
    /// implements `CustomOp`: `Var::custom(op.clone(), &[x])`.
    ///
    /// # Panics
    ///
    /// If there is no operand, the operation's shape rule refuses the operands, or they are on different tapes.
    ///
    /// # Example
    ///
    /// See [`CustomOp`].
    #[track_caller]
    #[must_use]
    pub fn custom(op: Arc<dyn CustomOp<T>>, operands: &[Self]) -> Self {
        let Some(&first) = operands.first() else { panic!("{}: there are no operands", op.name()) };
        for &operand in operands {
            first.assert_same_tape(op.name(), operand);
        }
        let ids: SmallVec<[u32; 8]> = operands.iter().map(|operand| operand.id()).collect();
        let id = first.tape().keep_custom(op);
        first.tape().apply(Step::Custom(id), &ids)
    }
}
