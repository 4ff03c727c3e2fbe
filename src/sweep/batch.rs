//! The sweep on arrays for several cotangents at once: each node is visited once, for all of them.
//!
//! A cotangent has one more axis, the first, which numbers the members of the batch. The rules are those of the other sweeps.
//! What a rule computes from recorded values alone is the same for all members and is computed once. Operations that a
//! batch cannot have run on one member after the other.

use std::rc::Rc;

use smallvec::SmallVec;

use super::on_arrays::shape_of;
use crate::kernel::view::{self, View};
use crate::memory::Lent;
use crate::op::{ConcatOffsets, Evaluated, Linear, Op, RuleContext, Saves, Transposed, vjp};
use crate::scalar::Scalar;
use crate::shape::{Shape, elements};
use crate::tape::{Dependence, Nodes, Step, Tape, Var};

/// Returns the gradients of `Σ from * seed` by a source, for each of `count` seeds, one after the other in memory; zeros if
/// `from` does not depend on the source. `None` if a node on the way takes part in sweeps of single cotangents only: a
/// checkpoint or a custom operation.
pub(crate) fn batch_grads<T: Scalar>(
    from: Var<'_, T>,
    seeds: &[T],
    count: usize,
    source: Var<'_, T>,
) -> Option<Vec<T>> {
    let tape = from.tape();
    let nodes = &*tape.nodes();
    let zeros = || vec![T::ZERO; count * elements(nodes.shape(source.id()))];
    let dependence = Dependence::new(nodes, from.id(), [source.id()].into_iter());
    if !dependence.has(from.id()) {
        return Some(zeros());
    }
    let lowest = dependence.lowest;
    let alone = |id: &u32| dependence.has(*id) && matches!(nodes.step(*id), Step::Custom(_) | Step::Checkpoint(_));
    if (lowest..=from.id()).any(|id| alone(&id)) {
        return None;
    }
    let mut cotangents: Vec<Option<Lent<'_, T>>> = Vec::new();
    cotangents.resize_with((from.id() - lowest + 1) as usize, || None);
    let mut first = tape.pool().lend(seeds.len());
    first.copy_from_slice(seeds);
    cotangents[(from.id() - lowest) as usize] = Some(first);
    for id in (lowest..=from.id()).rev() {
        let (below, rest) = cotangents.split_at_mut((id - lowest) as usize);
        let Some(g) = rest[0].take() else { continue };
        if id == source.id() {
            return Some(g.keep());
        }
        let (Step::Op(op), false) = (nodes.step(id), nodes.node(id).detached) else { continue };
        let operands = nodes.operands(id);
        let wanted = |&k: &usize| op.passes(k) && dependence.has(operands[k]);
        let at = AtBatch { tape, nodes, id, count, offsets: ConcatOffsets::default() };
        let mut g = Some(g);
        let Some(last) = (0..operands.len()).find(wanted) else { continue };
        for k in (last..operands.len()).rev().filter(wanted) {
            // The rule that runs last takes over the buffer of the cotangent.
            let own = if k == last { g.take() } else { g.clone() };
            let Some(own) = own else { continue };
            let contribution = at.pull(op, k, own);
            let slot = &mut below[(operands[k] - lowest) as usize];
            match slot {
                Some(sum) => sum.iter_mut().zip(&*contribution).for_each(|(sum, &g)| *sum += g),
                None => *slot = Some(contribution),
            }
        }
    }
    Some(zeros())
}

/// One node, in a sweep of several cotangents.
struct AtBatch<'a, T: Scalar> {
    tape: &'a Tape<T>,
    nodes: &'a Nodes<T>,
    id: u32,
    /// The number of members of the batch.
    count: usize,
    offsets: ConcatOffsets,
}

/// A value of a rule.
#[derive(Clone)]
enum Value<'a, T: Scalar> {
    /// A recorded value, the same for all members.
    Recorded(View<'a, T>),
    /// What the rule was given or has made. The shape is that of one member.
    Made { data: Rc<Lent<'a, T>>, shape: Shape, many: bool },
}

impl<T: Scalar> Value<'_, T> {
    /// Returns the shape of one member.
    fn shape(&self) -> &[usize] {
        match self {
            Self::Recorded(view) => view.shape,
            Self::Made { shape, .. } => shape,
        }
    }

    /// Returns whether each member has a value of its own.
    fn is_many(&self) -> bool {
        matches!(self, Self::Made { many: true, .. })
    }

    /// Returns the value that all members share, or that of one member.
    fn member(&self, member: usize) -> View<'_, T> {
        match self {
            Self::Recorded(view) => *view,
            Self::Made { data, shape, many } => {
                let length = elements(shape);
                let start = if *many { member * length } else { 0 };
                View::contiguous(&data[start..start + length], shape)
            }
        }
    }

    /// Returns the memory of the values of all members, or of the one that they share.
    fn memory(&self) -> View<'_, T> {
        match self {
            Self::Recorded(view) => *view,
            Self::Made { data, shape, .. } => View { data, shape, strides: None },
        }
    }
}

impl<'a, T: Scalar> AtBatch<'a, T> {
    fn operand(&self, k: usize) -> View<'a, T> {
        self.tape.view(self.nodes, self.nodes.operands(self.id)[k])
    }

    fn result(&self) -> View<'a, T> {
        self.tape.view(self.nodes, self.id)
    }

    /// Returns the cotangents of an operand, given those of the result.
    fn pull(&self, op: &Op<T>, k: usize, g: Lent<'a, T>) -> Lent<'a, T> {
        let target = self.nodes.shape(self.nodes.operands(self.id)[k]);
        let many = Value::Made { data: Rc::new(g), shape: self.result().shape.into(), many: true };
        let pulled = self.own(vjp(op, k, self, many));
        let Value::Made { data, shape, .. } = self.summed(pulled, target) else {
            panic!("a sum is made");
        };
        debug_assert_eq!(elements(&shape), elements(target));
        Rc::try_unwrap(data).unwrap_or_else(|shared| Lent::clone(&shared))
    }

    /// Undoes broadcasting.
    fn summed(&self, value: Value<'a, T>, target: &[usize]) -> Value<'a, T> {
        if elements(value.shape()) == elements(target) {
            return value;
        }
        let ones = value.shape().len() - target.len();
        let whole = |ones: usize, shape: &[usize]| -> Shape {
            [self.count].into_iter().chain(std::iter::repeat_n(1, ones)).chain(shape.iter().copied()).collect()
        };
        let (shape, result) = (whole(0, value.shape()), whole(ones, target));
        let op = Op::Linear(Linear::SumTo { shape: result.clone() });
        let mut out = self.tape.pool().lend(elements(&result));
        let view = View { data: value.memory().data, shape: &shape, strides: None };
        T::run(&op, &[view], &result, &mut out, &self.nodes.data, self.tape.pool());
        Value::Made { data: Rc::new(out), shape: target.into(), many: true }
    }

    /// Returns a value with memory for each member.
    fn own(&self, value: Value<'a, T>) -> Value<'a, T> {
        if value.is_many() {
            return value;
        }
        let (shape, length) = (Shape::from(value.shape()), elements(value.shape()));
        let mut out = self.tape.pool().lend(self.count * length);
        let view = value.member(0);
        for part in out.chunks_exact_mut(length.max(1)) {
            view::copy(view, &shape, part);
        }
        Value::Made { data: Rc::new(out), shape, many: true }
    }

    /// Applies an operation to arrays.
    fn compute(&self, op: &Op<T>, operands: &[View<'_, T>], shape: &[usize]) -> Lent<'a, T> {
        match self.tape.evaluate(self.nodes, op, operands, shape) {
            Evaluated::Computed(buffer) => buffer,
            Evaluated::View(layout, offset) => {
                let mut buffer = self.tape.pool().lend(elements(shape));
                view::copy(layout.of_memory(&operands[0].data[offset..], shape), shape, &mut buffer);
                buffer
            }
        }
    }

    /// Applies an operation to all members at once.
    fn at_once(&self, op: &Op<T>, operands: &[Value<'a, T>], shape: Shape) -> Value<'a, T> {
        // The matrices of a batch below each other are one matrix, if all are multiplied by the same one.
        if let (Op::Matmul { left: Transposed::No, .. }, [a, b]) = (op, operands)
            && let (true, false, &[rows, columns], 2) = (a.is_many(), b.is_many(), a.shape(), b.shape().len())
        {
            let below = [self.count * rows, columns];
            let views = [View { data: a.memory().data, shape: &below, strides: None }, b.memory()];
            let out = self.compute(op, &views, &shape_of(op, &views));
            return Value::Made { data: Rc::new(out), shape, many: true };
        }
        // Operands of fewer axes are padded on the left, where broadcasting would add axes.
        let ranks = operands.iter().map(|value| value.shape().len());
        let rank = match op {
            Op::Linear(Linear::BroadcastTo { .. }) => shape.len(),
            _ => ranks.max().unwrap_or(0),
        };
        let owned: SmallVec<[Value<'a, T>; 4]> = operands
            .iter()
            .map(|value| if op.broadcasts() { value.clone() } else { self.own(value.clone()) })
            .collect();
        let shapes: SmallVec<[Shape; 4]> = owned
            .iter()
            .map(|value| {
                let own = value.shape().iter().copied();
                let missing = rank - value.shape().len();
                if value.is_many() {
                    [self.count].into_iter().chain(std::iter::repeat_n(1, missing)).chain(own).collect()
                } else {
                    own.collect()
                }
            })
            .collect();
        let views: SmallVec<[View<'_, T>; 4]> =
            owned.iter().zip(&shapes).map(|(value, shape)| View { shape, ..value.memory() }).collect();
        let whole = shape_of(op, &views);
        debug_assert_eq!(elements(&whole), self.count * elements(&shape));
        let out = self.compute(op, &views, &whole);
        Value::Made { data: Rc::new(out), shape, many: true }
    }

    /// Applies an operation to one member after the other.
    fn one_by_one(&self, op: &Op<T>, operands: &[Value<'a, T>], shape: Shape) -> Value<'a, T> {
        let length = elements(&shape);
        let mut out = self.tape.pool().lend(self.count * length);
        for (member, part) in out.chunks_exact_mut(length.max(1)).enumerate() {
            let views: SmallVec<[View<'_, T>; 4]> = operands.iter().map(|value| value.member(member)).collect();
            part.copy_from_slice(&self.compute(op, &views, &shape));
        }
        Value::Made { data: Rc::new(out), shape, many: true }
    }
}

impl<'a, T: Scalar> RuleContext<T> for AtBatch<'a, T> {
    type Value = Value<'a, T>;

    fn x(&self, k: usize) -> Value<'a, T> {
        Value::Recorded(self.operand(k))
    }

    fn x_shape(&self, k: usize) -> Shape {
        self.operand(k).shape.into()
    }

    fn x_start(&self, k: usize, axis: usize) -> usize {
        self.offsets.of(k, self.nodes.operands(self.id).iter().map(|&x| self.nodes.shape(x)[axis]))
    }

    fn y(&self) -> Value<'a, T> {
        Value::Recorded(self.result())
    }

    fn dup(&self, value: &mut Value<'a, T>) -> Value<'a, T> {
        value.clone()
    }

    fn apply<const N: usize>(&self, op: impl Into<Op<T>>, operands: [Value<'a, T>; N]) -> Value<'a, T> {
        let op = op.into();
        let members: SmallVec<[View<'_, T>; 4]> = operands.iter().map(|value| value.member(0)).collect();
        let shape = shape_of(&op, &members);
        if !operands.iter().any(Value::is_many) {
            let out = self.compute(&op, &members, &shape);
            return Value::Made { data: Rc::new(out), shape, many: false };
        }
        match op.batched(self.count) {
            Some(batched) => self.at_once(&batched, &operands, shape),
            None => self.one_by_one(&op, &operands, shape),
        }
    }

    fn row_vjp(&self, k: usize, g: Value<'a, T>) -> Value<'a, T> {
        let saves = match *self.nodes.step(self.id) {
            Step::Op(Op::Unary(row)) => row.saves(),
            Step::Op(Op::Binary(row)) => row.saves(k),
            _ => Saves::Nothing,
        };
        let Value::Made { data, shape, many } = g else { return g };
        if saves == Saves::Nothing {
            return Value::Made { data, shape, many };
        }
        let mut data = Rc::try_unwrap(data).unwrap_or_else(|shared| Lent::clone(&shared));
        let (y, length) = (self.result(), elements(&shape));
        let x = self.operand(0);
        for g in data.chunks_exact_mut(length.max(1)) {
            match *self.nodes.step(self.id) {
                Step::Op(Op::Binary(row)) => T::pull_binary(row, k, g, None, [x, self.operand(1)], y),
                Step::Op(Op::Unary(row)) => match x.as_slice() {
                    Some(x) => T::pull_unary(row, g, None, x, y.data),
                    None if !saves.operands() => T::pull_unary(row, g, None, y.data, y.data),
                    None => {
                        let mut copy = self.tape.pool().lend(length);
                        view::copy(x, x.shape, &mut copy);
                        T::pull_unary(row, g, None, &copy, y.data);
                    }
                },
                _ => {}
            }
        }
        Value::Made { data: Rc::new(data), shape, many }
    }
}
