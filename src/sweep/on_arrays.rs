//! Rules on arrays: their values, and the language of rules ([`RuleContext`]) computed on arrays.

use std::cell::{Ref, RefCell};
use std::mem;

use smallvec::SmallVec;

use crate::kernel::view::{self, View};
use crate::memory::Lent;
use crate::op::{Binary, ConcatOffsets, Evaluated, Linear, Op, RuleContext, Saves};
use crate::scalar::Scalar;
use crate::shape::{Shape, elements};
use crate::tape::{CustomId, Nodes, Step, Tape, Var};

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
            Self::Owned { buffer, shape } => View { data: buffer, shape, strides: None },
        }
    }
}

/// A value of a rule. It is a name, not the array itself, because rules pass values on again and again.
pub(super) enum Value {
    /// An operand of the node.
    Operand(usize),
    /// The result of the node.
    Result,
    /// What the rule was given or has made, by its position.
    Made(usize),
}

/// An operation that is not applied yet. The last operation of a rule stays so: the sweep applies it directly into the
/// operand's cotangent.
pub(super) struct Pending<T> {
    pub(super) op: Op<T>,
    operands: SmallVec<[Value; 4]>,
}

/// The operands of an operation.
type Views<'v, T> = SmallVec<[View<'v, T>; 4]>;

/// What a rule was given or has made.
enum Made<'a, T: Scalar> {
    Array(Tensor<'a, T>),
    Pending(Pending<T>),
    /// It was used for the last time, and its memory is free.
    Used,
}

/// A position in the list of what a rule has made.
pub(super) struct Slot<'a, T: Scalar> {
    made: Made<'a, T>,
    /// How many values name it.
    names: usize,
}

/// What a rule returned.
pub(super) enum Outcome<'a, T: Scalar> {
    Array(Tensor<'a, T>),
    /// The position of a [`Pending`] operation.
    Pending(usize),
}

/// Returns the shape that an operation of a rule gives.
#[inline]
pub(super) fn shape_of<T: Scalar>(op: &Op<T>, operands: &[View<'_, T>]) -> Shape {
    let shapes: SmallVec<[&[usize]; 4]> = operands.iter().map(|view| view.shape).collect();
    op.shape(&shapes).unwrap_or_else(|error| panic!("a rule of the table applies {error}"))
}

/// The rule for one operand of a node, in a sweep on arrays.
pub(super) struct AtArrays<'a, T: Scalar> {
    pub(super) tape: &'a Tape<T>,
    pub(super) nodes: &'a Nodes<T>,
    pub(super) id: u32,
    offsets: &'a ConcatOffsets,
    slots: RefCell<SmallVec<[Slot<'a, T>; 16]>>,
}

impl<'a, T: Scalar> AtArrays<'a, T> {
    #[inline]
    pub(super) fn new(tape: &'a Tape<T>, nodes: &'a Nodes<T>, id: u32, offsets: &'a ConcatOffsets) -> Self {
        Self { tape, nodes, id, offsets, slots: RefCell::default() }
    }

    /// Returns a value that names an array.
    #[inline]
    pub(super) fn array(&self, tensor: Tensor<'a, T>) -> Value {
        self.push(Made::Array(tensor))
    }

    #[inline]
    fn push(&self, made: Made<'a, T>) -> Value {
        let mut slots = self.slots.borrow_mut();
        match slots.iter().position(|slot| slot.names == 0) {
            Some(free) => {
                slots[free] = Slot { made, names: 1 };
                Value::Made(free)
            }
            None => {
                slots.push(Slot { made, names: 1 });
                Value::Made(slots.len() - 1)
            }
        }
    }

    #[inline]
    fn operand(&self, k: usize) -> View<'a, T> {
        self.tape.view(self.nodes, self.nodes.operands(self.id)[k])
    }

    #[inline]
    fn result(&self) -> View<'a, T> {
        self.tape.view(self.nodes, self.id)
    }

    /// Returns what the rule has made, to be read.
    #[inline]
    pub(super) fn slots(&self) -> Ref<'_, [Slot<'a, T>]> {
        Ref::map(self.slots.borrow(), |slots| &slots[..])
    }

    /// Returns the array that a value names.
    #[inline]
    fn view<'v>(&'v self, slots: &'v [Slot<'a, T>], value: &Value) -> View<'v, T> {
        match *value {
            Value::Operand(k) => self.operand(k),
            Value::Result => self.result(),
            Value::Made(position) => match &slots[position].made {
                Made::Array(tensor) => tensor.view(),
                Made::Pending(_) | Made::Used => panic!("a rule reads an array that it has not made, or no longer has"),
            },
        }
    }

    /// Returns the operation at a position, with the arrays of its operands; `None` if it is applied.
    #[inline]
    pub(super) fn pending<'v>(
        &'v self,
        slots: &'v [Slot<'a, T>],
        position: usize,
    ) -> Option<(&'v Op<T>, Views<'v, T>)> {
        match &slots[position].made {
            Made::Pending(Pending { op, operands }) => {
                Some((op, operands.iter().map(|operand| self.view(slots, operand)).collect()))
            }
            Made::Array(_) | Made::Used => None,
        }
    }

    /// Returns what a rule returned.
    #[inline]
    pub(super) fn outcome(&self, value: Value) -> Outcome<'a, T> {
        let position = match value {
            Value::Operand(k) => return Outcome::Array(Tensor::Borrowed(self.operand(k))),
            Value::Result => return Outcome::Array(Tensor::Borrowed(self.result())),
            Value::Made(position) => position,
        };
        let slot = &mut self.slots.borrow_mut()[position];
        if let Made::Pending(_) = slot.made {
            return Outcome::Pending(position);
        }
        slot.names = 0;
        match mem::replace(&mut slot.made, Made::Used) {
            Made::Array(tensor) => Outcome::Array(tensor),
            Made::Pending(_) | Made::Used => panic!("a rule returns an array that it no longer has"),
        }
    }

    /// Returns a copy of an array in a buffer of its own.
    #[inline]
    fn copy(&self, view: View<'_, T>) -> Lent<'a, T> {
        let mut buffer = self.tape.pool().lend(elements(view.shape));
        view::copy(view, view.shape, &mut buffer);
        buffer
    }

    fn compute(&self, op: &Op<T>, operands: &[View<'_, T>]) -> Tensor<'a, T> {
        let shape = shape_of(op, operands);
        let buffer = match self.tape.evaluate(self.nodes, op, operands, &shape) {
            Evaluated::Computed(buffer) => buffer,
            // A view of an operand; a buffer of the rule's own needs a copy.
            Evaluated::View(layout, offset) => self.copy(layout.of_memory(&operands[0].data[offset..], &shape)),
        };
        Tensor::Owned { buffer, shape }
    }

    /// Applies an operation that is pending.
    #[inline]
    fn force(&self, value: &Value) {
        let Value::Made(position) = *value else { return };
        let array = match self.pending(&self.slots(), position) {
            Some((op, operands)) => self.compute(op, &operands),
            None => return,
        };
        let slots = &mut self.slots.borrow_mut()[..];
        if let Made::Pending(Pending { operands, .. }) = mem::replace(&mut slots[position].made, Made::Array(array)) {
            for operand in operands {
                release(slots, operand);
            }
        }
    }

    /// Returns the memory of an array that no other value names.
    #[inline]
    fn own(&self, value: &Value) -> Option<Lent<'a, T>> {
        let slots = &mut self.slots.borrow_mut()[..];
        if let Value::Made(position) = *value
            && let Slot { made, names: names @ 1 } = &mut slots[position]
            && let Made::Array(Tensor::Owned { .. }) = made
            && let Made::Array(Tensor::Owned { buffer, .. }) = mem::replace(made, Made::Used)
        {
            *names = 0;
            return Some(buffer);
        }
        None
    }

    /// Runs the rule of a custom operation on a tape of its own, because the rule is written on `Var`s.
    pub(super) fn custom_vjp(&self, custom: CustomId, k: usize, g: View<'_, T>) -> Tensor<'a, T> {
        let custom = self.tape.custom_op(custom);
        let scratch = self.tape.scratch_for_rules();
        let onto = |view: View<'_, T>| scratch.constant(view.array());
        let count = self.nodes.operands(self.id).len();
        let operands: SmallVec<[Var<'_, T>; 4]> = (0..count).map(|k| onto(self.operand(k))).collect();
        let result = custom.vjp(k, &operands, onto(self.result()), onto(g));
        super::on_vars::assert_fits(custom, k, result, &scratch, self.x_shape(k));
        let nodes = scratch.nodes();
        let view = scratch.view(&nodes, result.id());
        Tensor::Owned { buffer: self.copy(view), shape: view.shape.into() }
    }

    /// Returns the row of a node of two operands. The sweep fuses rows of one operand; they do not reach this function.
    #[inline]
    fn binary_row(&self) -> Option<Binary> {
        match *self.nodes.step(self.id) {
            Step::Op(Op::Binary(row)) => Some(row),
            _ => None,
        }
    }
}

/// Notes that a value is used. The memory of an array that no value names any more is free.
#[inline]
fn release<T: Scalar>(slots: &mut [Slot<'_, T>], value: Value) {
    if let Value::Made(position) = value {
        slots[position].names -= 1;
        if slots[position].names == 0 {
            slots[position].made = Made::Used;
        }
    }
}

impl<'a, T: Scalar> RuleContext<T> for AtArrays<'a, T> {
    type Value = Value;

    #[inline]
    fn x(&self, k: usize) -> Value {
        Value::Operand(k)
    }

    #[inline]
    fn x_shape(&self, k: usize) -> Shape {
        Shape::from(self.nodes.shape(self.nodes.operands(self.id)[k]))
    }

    fn x_start(&self, k: usize, axis: usize) -> usize {
        self.offsets.of(k, self.nodes.operands(self.id).iter().map(|&x| self.nodes.shape(x)[axis]))
    }

    #[inline]
    fn y(&self) -> Value {
        Value::Result
    }

    fn dup(&self, value: &mut Value) -> Value {
        match *value {
            Value::Operand(k) => Value::Operand(k),
            Value::Result => Value::Result,
            Value::Made(position) => {
                // Applied once, not once for each name.
                self.force(value);
                self.slots.borrow_mut()[position].names += 1;
                Value::Made(position)
            }
        }
    }

    #[inline]
    fn apply<const N: usize>(&self, op: impl Into<Op<T>>, operands: [Value; N]) -> Value {
        let op = op.into();
        operands.iter().for_each(|operand| self.force(operand));
        // A reshape of the rule's own buffer is that buffer.
        if let (Op::Linear(Linear::Reshape { shape }), [Value::Made(position)]) = (&op, &operands[..])
            && let Slot { made, names: 1 } = &mut self.slots.borrow_mut()[*position]
            && let Made::Array(Tensor::Owned { shape: own, .. }) = made
        {
            own.clone_from(shape);
            return Value::Made(*position);
        }
        self.push(Made::Pending(Pending { op, operands: operands.into_iter().collect() }))
    }

    #[inline]
    fn row_vjp(&self, k: usize, g: Value) -> Value {
        let Some(row) = self.binary_row().filter(|row| row.saves(k) != Saves::Nothing) else { return g };
        self.force(&g);
        let (operands, y) = ([self.operand(0), self.operand(1)], self.result());
        let buffer = if let Some(mut buffer) = self.own(&g) {
            T::pull_binary(row, k, &mut buffer, None, operands, y);
            buffer
        } else {
            let slots = &mut self.slots.borrow_mut()[..];
            let view = self.view(slots, &g);
            let mut buffer = self.tape.pool().lend(elements(y.shape));
            let from = view.as_slice();
            if from.is_none() {
                view::copy(view, y.shape, &mut buffer);
            }
            T::pull_binary(row, k, &mut buffer, from, operands, y);
            release(slots, g);
            buffer
        };
        self.array(Tensor::Owned { buffer, shape: y.shape.into() })
    }
}
