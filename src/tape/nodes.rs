//! [`Nodes`]: what was recorded, step by step, apart from the memory that holds the results.

use std::cell::Cell;
use std::fmt;
use std::panic::Location;

use super::names::Names;
use crate::number::Number;
use crate::op::{Linear, Op, OpData};
use crate::param::Param;
use crate::shape::elements;

/// A custom operation that a recording holds, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CustomId(pub(super) u32);

/// A segment that a recording holds, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentId(pub(super) u32);

/// What makes the value of a node.
#[derive(Clone, Debug)]
pub(crate) enum Step<T> {
    /// A differentiable input.
    Leaf,
    /// An input that is not differentiated.
    Constant,
    /// The value of a [`Param`](crate::Param).
    Param,
    /// An operation on earlier values.
    Op(Op<T>),
    /// An operation of the user's own.
    Custom(CustomId),
    /// A part of the computation that sweeps run again.
    Checkpoint(SegmentId),
}

impl<T: Number> Step<T> {
    /// Returns the name in printed tapes, except that of a custom operation, which only the recording knows.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Leaf => "leaf",
            Self::Constant => "constant",
            Self::Param => "param",
            Self::Op(op) => op.name(),
            Self::Custom(_) => "custom",
            Self::Checkpoint(_) => "checkpoint",
        }
    }

    /// Returns whether it has no operands: a leaf, a constant or a parameter.
    pub(crate) fn is_source(&self) -> bool {
        matches!(self, Self::Leaf | Self::Constant | Self::Param)
    }

    /// Returns whether a cotangent passes to operand `k`.
    #[inline]
    pub(crate) fn passes(&self, k: usize) -> bool {
        match self {
            Self::Op(op) => op.passes(k),
            Self::Leaf | Self::Constant | Self::Param | Self::Custom(_) | Self::Checkpoint(_) => true,
        }
    }
}

impl<T: Number> fmt::Display for Step<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Op(op) => op.fmt(f),
            Self::Leaf | Self::Constant | Self::Param | Self::Custom(_) | Self::Checkpoint(_) => {
                f.write_str(self.name())
            }
        }
    }
}

impl<T> From<Op<T>> for Step<T> {
    fn from(op: Op<T>) -> Self {
        Self::Op(op)
    }
}

impl<T> From<Linear<T>> for Step<T> {
    fn from(linear: Linear<T>) -> Self {
        Self::Op(Op::Linear(linear))
    }
}

/// What a recording notes of a step besides the step itself.
///
/// The two lie in lists of their own. A node is put together from small fields and a step is moved as a block: in one
/// list, the block would be read back before the fields have reached the cache, which takes longer than the rest.
pub(crate) struct Node {
    pub(super) operands: (u32, u32),
    pub(super) shape: Dims,
    /// The line that recorded it.
    pub(crate) location: &'static Location<'static>,
    pub(crate) needs_grad: bool,
    /// Whether no cotangent passes to the operands, whatever the operation.
    pub(crate) detached: bool,
    /// Whether the user's code has read the value.
    pub(super) read: Cell<bool>,
}

/// A piece of a list of axis lengths or strides.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Dims {
    start: u32,
    rank: u32,
}

impl Dims {
    /// Appends to a list and returns the piece.
    #[inline]
    pub(super) fn append(list: &mut Vec<usize>, dims: &[usize]) -> Self {
        let start = id_of(list.len());
        list.extend_from_slice(dims);
        Self { start, rank: id_of(dims.len()) }
    }

    /// Returns the piece of the list.
    #[inline]
    pub(super) fn of(self, list: &[usize]) -> &[usize] {
        &list[self.start as usize..(self.start + self.rank) as usize]
    }
}

/// A rule that a sweep on `Var`s recorded: the nodes from `first` to `result`, for operand `k` of `node` and its cotangent `g`.
#[derive(Clone, Copy)]
pub(crate) struct RecordedRule {
    pub(crate) first: u32,
    pub(crate) result: u32,
    pub(crate) node: u32,
    pub(crate) k: usize,
    pub(crate) g: u32,
}

/// Steps with their operands and shapes, and the lists that they refer to.
pub(crate) struct Nodes<T> {
    steps: Vec<Step<T>>,
    list: Vec<Node>,
    /// Operands of all nodes, one after the other.
    operands: Vec<u32>,
    /// Shapes, and strides where they are not row-major, one after the other; nodes of equal shape share one.
    dims: Vec<usize>,
    /// The parameters of the nodes that have one, in the order of the nodes.
    params: Vec<(u32, Param<T>)>,
    /// The rules that sweeps on `Var`s recorded, in the order of their nodes, for blame.
    rules: Vec<RecordedRule>,
    /// The index lists of operations.
    pub(crate) data: OpData,
    /// The names of values and groups.
    pub(crate) names: Names,
}

impl<T> Default for Nodes<T> {
    fn default() -> Self {
        // It has memory from the start: to compare shapes without axes that lie nowhere takes some machines 100 ns.
        let dims = Vec::with_capacity(16);
        let (steps, list, operands) = (Vec::new(), Vec::new(), Vec::new());
        Self {
            steps,
            list,
            operands,
            dims,
            params: Vec::new(),
            rules: Vec::new(),
            data: OpData::default(),
            names: Names::default(),
        }
    }
}

impl<T> Nodes<T> {
    /// Removes everything except the index lists, whose memory goes elsewhere.
    pub(super) fn clear(&mut self) {
        self.steps.clear();
        self.list.clear();
        self.operands.clear();
        self.dims.clear();
        self.params.clear();
        self.rules.clear();
        self.names.clear();
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// Returns the ids of all nodes, in order.
    pub(crate) fn ids(&self) -> std::ops::Range<u32> {
        0..id_of(self.len())
    }

    #[inline]
    pub(crate) fn node(&self, id: u32) -> &Node {
        &self.list[id as usize]
    }

    #[inline]
    pub(crate) fn step(&self, id: u32) -> &Step<T> {
        &self.steps[id as usize]
    }

    pub(super) fn steps(&self) -> impl Iterator<Item = &Step<T>> {
        self.steps.iter()
    }

    #[inline]
    pub(crate) fn operands(&self, id: u32) -> &[u32] {
        let (start, count) = self.node(id).operands;
        &self.operands[start as usize..(start + count) as usize]
    }

    #[inline]
    pub(crate) fn shape(&self, id: u32) -> &[usize] {
        self.dims(self.node(id).shape)
    }

    #[inline]
    pub(super) fn dims(&self, dims: Dims) -> &[usize] {
        dims.of(&self.dims)
    }

    /// Returns whether all operands of a node have as many elements as its value. Then none of them was repeated, and
    /// their shapes differ at most by axes of length 1.
    #[inline]
    pub(crate) fn same_sizes(&self, id: u32) -> bool {
        let own = self.node(id).shape;
        let same = |&x: &u32| self.node(x).shape == own || elements(self.shape(x)) == elements(self.dims(own));
        self.operands(id).iter().all(same)
    }

    /// Returns the parameter of a node.
    #[inline]
    pub(crate) fn param(&self, id: u32) -> Option<&Param<T>> {
        let position = self.params.binary_search_by_key(&id, |&(node, _)| node).ok()?;
        Some(&self.params[position].1)
    }

    pub(crate) fn params(&self) -> &[(u32, Param<T>)] {
        &self.params
    }

    pub(super) fn add_param(&mut self, id: u32, param: Param<T>) {
        self.params.push((id, param));
    }

    pub(crate) fn rules(&self) -> &[RecordedRule] {
        &self.rules
    }

    /// Notes a recorded rule. One that hands on the cotangent as it is recorded nothing.
    pub(super) fn add_rule(&mut self, rule: RecordedRule) {
        if rule.first <= rule.result {
            self.rules.push(rule);
        }
    }

    #[inline]
    pub(super) fn add_dims(&mut self, dims: &[usize]) -> Dims {
        Dims::append(&mut self.dims, dims)
    }

    #[inline]
    pub(super) fn add_operands(&mut self, operands: &[u32]) -> (u32, u32) {
        let start = id_of(self.operands.len());
        self.operands.extend_from_slice(operands);
        (start, id_of(operands.len()))
    }

    #[inline]
    pub(super) fn push(&mut self, step: Step<T>, node: Node) -> u32 {
        let id = id_of(self.list.len());
        self.steps.push(step);
        self.list.push(node);
        id
    }
}

/// Returns a position as an id. The one place that narrows: ids of 32 bits keep nodes and `Var`s small.
#[inline]
pub(crate) fn id_of(position: usize) -> u32 {
    u32::try_from(position).expect("a tape holds at most 4,294,967,295 nodes and axis lengths: reset it before")
}
