//! Rules on arrays: their values, and the language of rules ([`RuleContext`]) computed on arrays.

use smallvec::SmallVec;

use crate::kernel::view::{self, View};
use crate::memory::Lent;
use crate::op::{Binary, ConcatOffsets, Evaluated, Linear, Op, RuleContext, Saves};
use crate::scalar::Scalar;
use crate::shape::{Shape, elements};
use crate::tape::{CustomId, Nodes, Tape, Var};

/// An array of a sweep.
pub(super) enum Tensor<'a, T: Scalar> {
    /// A recorded value, or a cotangent that its node still needs.
    Borrowed(View<'a, T>),
    /// Owned by the sweep, in row-major order.
    Owned { buffer: Lent<'a, T>, shape: Shape },
}

impl<T: Scalar> Tensor<'_, T> {
    #[inline]
    pub(super) fn view(&self) -> View<'_, T> {
        match self {
            Self::Borrowed(view) => *view,
            Self::Owned { buffer, shape } => View::contiguous(buffer, shape),
        }
    }
}

/// The operands of an operation that is not applied yet.
pub(super) enum Operands<'a, T: Scalar> {
    One([Tensor<'a, T>; 1]),
    Two([Tensor<'a, T>; 2]),
}

impl<'a, T: Scalar> Operands<'a, T> {
    #[inline]
    pub(super) fn as_slice(&self) -> &[Tensor<'a, T>] {
        match self {
            Self::One(x) => x,
            Self::Two(x) => x,
        }
    }
}

/// A value of a rule. The last operation of a rule stays pending: the sweep applies it directly into the operand's
/// cotangent.
pub(super) enum Value<'a, T: Scalar> {
    Ready(Tensor<'a, T>),
    Pending(Op<T>, Operands<'a, T>),
}

/// Returns the views of arrays.
#[inline]
pub(super) fn views<'v, T: Scalar>(tensors: &'v [Tensor<'_, T>]) -> SmallVec<[View<'v, T>; 4]> {
    tensors.iter().map(Tensor::view).collect()
}

/// Returns the shape that an operation of a rule gives.
#[inline]
pub(super) fn shape_of<T: Scalar>(op: &Op<T>, operands: &[View<'_, T>]) -> Shape {
    let shapes: SmallVec<[&[usize]; 4]> = operands.iter().map(|view| view.shape).collect();
    op.shape(&shapes).unwrap_or_else(|error| panic!("a rule of the table applies {error}"))
}

/// One node in a sweep on arrays.
pub(super) struct AtArrays<'a, T: Scalar> {
    pub(super) tape: &'a Tape<T>,
    pub(super) nodes: &'a Nodes<T>,
    pub(super) id: u32,
    offsets: ConcatOffsets,
}

impl<'a, T: Scalar> AtArrays<'a, T> {
    #[inline]
    pub(super) fn new(tape: &'a Tape<T>, nodes: &'a Nodes<T>, id: u32) -> Self {
        Self { tape, nodes, id, offsets: ConcatOffsets::default() }
    }

    #[inline]
    fn operand(&self, k: usize) -> View<'a, T> {
        self.tape.view(self.nodes, self.nodes.operands(self.id)[k])
    }

    #[inline]
    fn result(&self) -> View<'a, T> {
        self.tape.view(self.nodes, self.id)
    }

    /// Returns a copy of an array in a buffer of its own.
    #[inline]
    fn copy(&self, view: View<'_, T>) -> Lent<'a, T> {
        let mut buffer = self.tape.pool().lend(elements(view.shape));
        view::copy(view, view.shape, &mut buffer);
        buffer
    }

    fn compute(&self, op: &Op<T>, operands: &[Tensor<'a, T>]) -> Tensor<'a, T> {
        let views = views(operands);
        let shape = shape_of(op, &views);
        let buffer = match self.tape.evaluate(self.nodes, op, &views, &shape) {
            Evaluated::Computed(buffer) => buffer,
            // A view of an operand; a buffer of the rule's own needs a copy.
            Evaluated::View(layout, offset) => self.copy(layout.of_memory(&views[0].data[offset..], &shape)),
        };
        Tensor::Owned { buffer, shape }
    }

    /// Returns a value as an array: applies a pending operation.
    #[inline]
    pub(super) fn force(&self, value: Value<'a, T>) -> Tensor<'a, T> {
        match value {
            Value::Ready(tensor) => tensor,
            Value::Pending(op, operands) => self.compute(&op, operands.as_slice()),
        }
    }

    /// Runs the rule of a custom operation on a tape of its own, because the rule is written on `Var`s.
    pub(super) fn custom_vjp(&self, custom: CustomId, k: usize, g: &Tensor<'a, T>) -> Value<'a, T> {
        let custom = self.tape.custom_op(custom);
        let scratch = self.tape.scratch_for_rules();
        let onto = |view: View<'_, T>| scratch.constant(view.array());
        let count = self.nodes.operands(self.id).len();
        let operands: SmallVec<[Var<'_, T>; 4]> = (0..count).map(|k| onto(self.operand(k))).collect();
        let result = custom.vjp(k, &operands, onto(self.result()), onto(g.view()));
        super::on_vars::assert_fits(custom, k, result, &scratch, self.x_shape(k));
        let nodes = scratch.nodes();
        let view = scratch.view(&nodes, result.id());
        Value::Ready(Tensor::Owned { buffer: self.copy(view), shape: view.shape.into() })
    }
}

impl<'a, T: Scalar> RuleContext<T> for AtArrays<'a, T> {
    type Value = Value<'a, T>;

    #[inline]
    fn x(&self, k: usize) -> Value<'a, T> {
        Value::Ready(Tensor::Borrowed(self.operand(k)))
    }

    #[inline]
    fn x_shape(&self, k: usize) -> Shape {
        Shape::from(self.nodes.shape(self.nodes.operands(self.id)[k]))
    }

    fn x_start(&self, k: usize, axis: usize) -> usize {
        self.offsets.of(k, self.nodes.operands(self.id).iter().map(|&x| self.nodes.shape(x)[axis]))
    }

    #[inline]
    fn y(&self) -> Value<'a, T> {
        Value::Ready(Tensor::Borrowed(self.result()))
    }

    fn dup(&self, value: &mut Value<'a, T>) -> Value<'a, T> {
        let nothing = Value::Ready(Tensor::Borrowed(View { data: &[], shape: &[0], strides: None }));
        let tensor = self.force(std::mem::replace(value, nothing));
        let copy = match &tensor {
            Tensor::Borrowed(view) => Tensor::Borrowed(*view),
            Tensor::Owned { buffer, shape } => Tensor::Owned { buffer: buffer.clone(), shape: shape.clone() },
        };
        *value = Value::Ready(tensor);
        Value::Ready(copy)
    }

    #[inline]
    fn apply<const N: usize>(&self, op: impl Into<Op<T>>, operands: [Value<'a, T>; N]) -> Value<'a, T> {
        let op = op.into();
        let mut forced = operands.into_iter().map(|operand| self.force(operand));
        match (forced.next(), forced.next(), op) {
            // A reshape of the rule's own buffer is that buffer.
            (Some(Tensor::Owned { buffer, .. }), None, Op::Linear(Linear::Reshape { shape })) => {
                Value::Ready(Tensor::Owned { buffer, shape })
            }
            (Some(x), None, op) => Value::Pending(op, Operands::One([x])),
            (Some(x), Some(y), op) if forced.len() == 0 => Value::Pending(op, Operands::Two([x, y])),
            (first, second, op) => {
                let all: SmallVec<[Tensor<'a, T>; 8]> = first.into_iter().chain(second).chain(forced).collect();
                Value::Ready(self.compute(&op, &all))
            }
        }
    }

    #[inline]
    fn row_vjp(&self, k: usize, g: Value<'a, T>) -> Value<'a, T> {
        let Some(row) = self.binary_row().filter(|row| row.saves(k) != Saves::Nothing) else { return g };
        let mut buffer = match self.force(g) {
            Tensor::Owned { buffer, .. } => buffer,
            Tensor::Borrowed(view) => self.copy(view),
        };
        let y = self.result();
        T::pull_binary(row, k, &mut buffer, self.operand(0), self.operand(1), y);
        Value::Ready(Tensor::Owned { buffer, shape: y.shape.into() })
    }
}

impl<T: Scalar> AtArrays<'_, T> {
    /// Returns the row of a node of two operands. The sweep fuses rows of one operand; they do not reach this function.
    #[inline]
    fn binary_row(&self) -> Option<Binary> {
        match self.nodes.node(self.id).step {
            crate::tape::Step::Op(Op::Binary(row)) => Some(row),
            _ => None,
        }
    }
}
