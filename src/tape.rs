//! [`Tape`]: the record of a computation.

mod checkpoint;

pub(crate) use checkpoint::Reach;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use elsa::FrozenVec;
use ndarray::{ArrayViewD, IxDyn, ShapeBuilder};
use smallvec::SmallVec;

use crate::custom::CustomOp;
use crate::input::{Input, Values};
use crate::kernel::view::View;
use crate::memory::Pool;
use crate::op::{CustomId, IndexList, Lists, Op};
use crate::param::Param;
use crate::scalar::Scalar;
use crate::shape::{Shape, ShapeError, excess, excess_in_memory};
use crate::var::Var;

/// A record of operations on arrays of `T`, in the order in which they ran.
///
/// A tape hands out [`Var`]s: small handles to the values it holds. Every operation on a `Var` runs at once and is
/// noted as a node. [`Var::backward`] then sweeps over the nodes from the last to the first. Since a node can only
/// use earlier ones, that order is topological: nothing is sorted and nothing recurses, however long the tape.
///
/// # Memory
///
/// The tape owns the values of its nodes until [`reset`](Self::reset), which keeps the memory for the next
/// recording: from the second step on, a step that records the same shapes allocates nothing. (Arrays of more
/// than four axes are the exception: each of their operations may allocate a list of axes.) Values never change once
/// recorded, so a view of one stays valid, and right, as long as the tape is borrowed.
///
/// # Parameters that are updated
///
/// A tape always gives the **recorded** values. An optimizer that steps while a tape holds a parameter's value
/// writes the new value to other memory, and [`reset`](Self::reset) gives the old memory back for the step after.
/// So the natural order of a training step, `loss.backward(); sgd.step(); tape.reset();`, copies nothing.
///
/// # Threads
///
/// A tape can be sent to another thread but not shared by two; [`Param`]s can be shared.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::Tape;
///
/// let tape = Tape::new();
/// let x = tape.leaf(array![1.0, 2.0, 3.0]);
/// let loss = (x * x).sum();
/// loss.backward();
/// assert_eq!(loss.item(), 14.0);
/// assert_eq!(x.grad().unwrap(), array![2.0, 4.0, 6.0].into_dyn());
/// ```
///
/// A `Var` cannot outlive the record that it points into:
///
/// ```compile_fail,E0502
/// use tapegrad::Tape;
///
/// let mut tape = Tape::new();
/// let x = tape.leaf(1.0);
/// tape.reset();
/// let y = x + 1.0; // x is stale
/// ```
///
/// and `f32` does not mix with `f64`:
///
/// ```compile_fail,E0308
/// use tapegrad::Tape;
///
/// let (single, double) = (Tape::<f32>::new(), Tape::<f64>::new());
/// let _ = single.leaf(1.0) + double.leaf(1.0);
/// ```
pub struct Tape<T> {
    nodes: RefCell<Nodes<T>>,
    /// Values, and gradients of leaves. A frozen vector only grows, so that references into its buffers stay valid
    /// while more is recorded.
    buffers: FrozenVec<Vec<T>>,
    /// Values that belong to somebody else as well: parameters, and constants that were handed over in an `Arc`.
    shared: FrozenVec<Arc<dyn Values<T>>>,
    index_lists: FrozenVec<Vec<u32>>,
    customs: FrozenVec<Arc<dyn CustomOp<T>>>,
    pub(crate) pool: Pool<T>,
    index_pool: Pool<u32>,
    /// The line that nodes of a recorded backward pass name instead of their own.
    origin: Cell<Option<&'static Location<'static>>>,
    /// Whether what is recorded is cut off from its operands.
    detaching: Cell<bool>,
    checkpoints: checkpoint::Checkpoints<T>,
    /// Memory of the sweep between calls.
    pub(crate) sweep: RefCell<crate::sweep::Workspace<T>>,
    /// The sweeps on arrays since the last reset, for blame.
    sweeps: RefCell<Vec<Sweep<T>>>,
    checked: Cell<bool>,
}

/// A sweep on arrays that ran: where it started, and the seed if it was not 1.
pub(crate) struct Sweep<T> {
    pub(crate) from: u32,
    pub(crate) seed: Option<Vec<T>>,
}

/// A rule that was recorded by a sweep on `Var`s: the nodes from `first` to `result`, for operand `k` of `node` and its
/// cotangent `g`.
pub(crate) struct RecordedRule {
    pub(crate) first: u32,
    pub(crate) result: u32,
    pub(crate) node: u32,
    pub(crate) k: u32,
    pub(crate) g: u32,
}

/// The nodes, and the lists that they refer to.
pub(crate) struct Nodes<T> {
    list: Vec<Node<T>>,
    /// Operands of all nodes, one after the other.
    operands: Vec<u32>,
    /// Shapes and strides of all nodes, one after the other; nodes of equal shape share one.
    dims: Vec<usize>,
    /// The parameters of the nodes that have one, in the order of the nodes.
    params: Vec<(u32, Param<T>)>,
    /// The rules that sweeps on `Var`s recorded, in the order of their nodes, for blame.
    rules: Vec<RecordedRule>,
}

/// One operation and where its result lies.
pub(crate) struct Node<T> {
    pub(crate) op: Op<T>,
    operands: (u32, u32),
    shape: Dims,
    strides: Option<Dims>,
    memory: Memory,
    offset: usize,
    pub(crate) location: &'static Location<'static>,
    pub(crate) needs_grad: bool,
    /// Whether no cotangent passes to the operands, whatever the operation.
    pub(crate) detached: bool,
    /// The buffer that holds the gradient, of a leaf that a sweep has reached.
    grad: Option<u32>,
}

/// A piece of `Nodes::dims`.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Dims {
    start: u32,
    rank: u32,
}

/// Which memory a value lies in.
#[derive(Clone, Copy)]
enum Memory {
    Buffer(u32),
    Shared(u32),
}

impl<T> Nodes<T> {
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn node(&self, id: u32) -> &Node<T> {
        &self.list[id as usize]
    }

    pub(crate) fn operands(&self, id: u32) -> &[u32] {
        let (start, count) = self.node(id).operands;
        &self.operands[start as usize..(start + count) as usize]
    }

    pub(crate) fn shape(&self, id: u32) -> &[usize] {
        self.dims(self.node(id).shape)
    }

    fn dims(&self, dims: Dims) -> &[usize] {
        &self.dims[dims.start as usize..(dims.start + dims.rank) as usize]
    }

    fn strides(&self, id: u32) -> Option<&[usize]> {
        self.node(id).strides.map(|strides| self.dims(strides))
    }

    /// Returns whether a value lies in row-major order without gaps.
    pub(crate) fn is_row_major(&self, id: u32) -> bool {
        self.node(id).strides.is_none()
    }

    /// Returns the parameter of a node.
    pub(crate) fn param(&self, id: u32) -> Option<&Param<T>> {
        let position = self.params.binary_search_by_key(&id, |&(node, _)| node).ok()?;
        Some(&self.params[position].1)
    }

    pub(crate) fn params(&self) -> &[(u32, Param<T>)] {
        &self.params
    }

    pub(crate) fn rules(&self) -> &[RecordedRule] {
        &self.rules
    }

    fn add_dims(&mut self, dims: &[usize]) -> Dims {
        let start = id_of(self.dims.len());
        self.dims.extend_from_slice(dims);
        Dims { start, rank: id_of(dims.len()) }
    }

    fn push(&mut self, node: Node<T>) -> u32 {
        let id = id_of(self.list.len());
        self.list.push(node);
        id
    }
}

/// Returns a position as an id. The one place that narrows: ids of 32 bits keep nodes and `Var`s small.
fn id_of(position: usize) -> u32 {
    u32::try_from(position).expect("a tape holds at most 4,294,967,295 nodes and axis lengths: reset it before")
}

/// Appends to a frozen vector and returns the position.
fn freeze<V>(list: &FrozenVec<V>, value: V) -> u32 {
    let id = id_of(list.len());
    list.push(value);
    id
}

impl<T: Scalar> Default for Tape<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Scalar> Tape<T> {
    /// Returns an empty tape.
    #[must_use]
    pub fn new() -> Self {
        Self {
            nodes: RefCell::new(Nodes {
                list: Vec::new(),
                operands: Vec::new(),
                dims: Vec::new(),
                params: Vec::new(),
                rules: Vec::new(),
            }),
            buffers: FrozenVec::new(),
            shared: FrozenVec::new(),
            index_lists: FrozenVec::new(),
            customs: FrozenVec::new(),
            pool: Pool::default(),
            index_pool: Pool::default(),
            origin: Cell::new(None),
            detaching: Cell::new(false),
            checkpoints: checkpoint::Checkpoints::default(),
            sweep: RefCell::default(),
            sweeps: RefCell::default(),
            checked: Cell::new(false),
        }
    }

    /// Records a leaf: an input with respect to which [`Var::backward`] computes a gradient.
    ///
    /// Takes arrays and views of any dimension, by value or by reference, and numbers. The elements are copied;
    /// an `Arc<Array>` is shared instead.
    ///
    /// # Panics
    ///
    /// If the array has more than 64 axes.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0, 2.0]]);
    /// assert!(x.grad().is_none()); // before backward
    /// x.sum().backward();
    /// assert_eq!(x.grad().unwrap(), array![[1.0, 1.0]].into_dyn());
    /// ```
    #[track_caller]
    pub fn leaf(&self, array: impl Input<T>) -> Var<'_, T> {
        self.source(Op::Leaf, array)
    }

    /// Records an input that is not differentiated.
    ///
    /// Takes what [`leaf`](Self::leaf) takes. The elements are copied; an `Arc<Array>` in standard layout is
    /// shared instead: the way to hand over a large data set at every step.
    ///
    /// # Panics
    ///
    /// If the array has more than 64 axes.
    ///
    /// # Example
    ///
    /// ```
    /// use std::sync::Arc;
    /// use ndarray::Array2;
    /// use tapegrad::Tape;
    ///
    /// let data = Arc::new(Array2::<f64>::ones((1000, 784)));
    /// let tape = Tape::new();
    /// let x = tape.constant(&data); // no copy
    /// assert_eq!(x.sum().item(), 784_000.0);
    /// ```
    #[track_caller]
    pub fn constant(&self, array: impl Input<T>) -> Var<'_, T> {
        self.source(Op::Constant, array)
    }

    /// Records the current value of a parameter. The value is shared, not copied, and its gradient goes to
    /// [`Param::grad`].
    ///
    /// # Panics
    ///
    /// If the parameter has more than 64 axes.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{Param, Tape};
    ///
    /// let w = Param::new(array![3.0]);
    /// let tape = Tape::new();
    /// tape.param(&w).square().sum().backward();
    /// assert_eq!(w.grad().unwrap()[[0]], 6.0);
    /// ```
    #[track_caller]
    pub fn param(&self, param: &Param<T>) -> Var<'_, T> {
        assert_possible(param.shape());
        let location = self.origin.get().unwrap_or(Location::caller());
        let memory = Memory::Shared(freeze(&self.shared, self.checkpoints.value(param)));
        let mut nodes = self.nodes.borrow_mut();
        let shape = nodes.add_dims(param.shape());
        let id = nodes.push(Node::source(Op::Param, shape, memory, location));
        nodes.params.push((id, param.clone()));
        drop(nodes);
        self.checked_var(id)
    }

    #[track_caller]
    fn source(&self, op: Op<T>, array: impl Input<T>) -> Var<'_, T> {
        let location = self.origin.get().unwrap_or(Location::caller());
        let (memory, shape) = self.place(array);
        let mut nodes = self.nodes.borrow_mut();
        let shape = nodes.add_dims(&shape);
        let id = nodes.push(Node::source(op, shape, memory, location));
        drop(nodes);
        self.checked_var(id)
    }

    /// Takes an array into the tape's memory.
    #[track_caller]
    fn place(&self, array: impl Input<T>) -> (Memory, Shape) {
        let shape = array.dims();
        assert_possible(&shape);
        let memory = match array.hand_over() {
            Ok(shared) => Memory::Shared(freeze(&self.shared, shared)),
            Err(array) => {
                let mut buffer = self.pool.take(shape.elements());
                array.write_to(&mut buffer);
                Memory::Buffer(freeze(&self.buffers, buffer))
            }
        };
        (memory, shape)
    }

    /// Runs `f`; what it records on this tape is cut off from its operands, so that nothing needs a gradient because of it.
    ///
    /// Values are computed and recorded as ever. A derivative treats them as constants, of any order and in either
    /// direction: [`Var::backward`], [`Var::grads`], [`Var::jvp`]. Leaves and parameters that `f` records stay
    /// what they are: used outside, they have a gradient. Sections nest, and end when `f` panics, too.
    /// [`Var::detach`] cuts a single value off.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(3.0);
    /// let factor = tape.no_grad(|| x * x); // 9, a constant to every derivative
    /// (factor * x).backward();
    /// assert_eq!(x.grad().unwrap().sum(), 9.0);
    /// ```
    pub fn no_grad<R>(&self, f: impl FnOnce() -> R) -> R {
        let _detaching = self.detach_all(true);
        f()
    }

    /// Clears the gradients of all leaves of this tape: [`Var::grad`] is `None` again. Parameters keep theirs, see
    /// [`Param::zero_grad`].
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(3.0);
    /// x.square().backward();
    /// tape.zero_grad();
    /// assert!(x.grad().is_none());
    /// ```
    pub fn zero_grad(&self) {
        for node in &mut self.nodes.borrow_mut().list {
            node.grad = None;
        }
    }

    /// Forgets the record and keeps its memory for the next one.
    ///
    /// `Var`s of the record are stale afterwards; using one is a compile error.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::Tape;
    ///
    /// let mut tape = Tape::new();
    /// for step in 0..3 {
    ///     let x = tape.leaf(f64::from(step));
    ///     assert_eq!(x.square().item(), f64::from(step * step));
    ///     assert_eq!(tape.len(), 2);
    ///     tape.reset();
    /// }
    /// assert!(tape.is_empty());
    /// ```
    pub fn reset(&mut self) {
        let nodes = self.nodes.get_mut();
        nodes.list.clear();
        nodes.operands.clear();
        nodes.dims.clear();
        nodes.params.clear();
        nodes.rules.clear();
        for sweep in self.sweeps.get_mut().drain(..) {
            sweep.seed.into_iter().for_each(|seed| self.pool.put(seed));
        }
        self.shared.as_mut().clear();
        self.customs.as_mut().clear();
        self.checkpoints.clear();
        // The first buffers go back last: the next recording begins with the memory it began with before.
        for buffer in self.buffers.as_mut().drain(..).rev() {
            self.pool.put(buffer);
        }
        for list in self.index_lists.as_mut().drain(..).rev() {
            self.index_pool.put(list);
        }
    }

    /// Makes the tape check as it goes, or stop to.
    ///
    /// A checked tape panics as soon as an operation makes a NaN or an infinity, when it is recorded or, in a sweep, in the
    /// cotangent that its rule gives to an operand; the message is the [`NonFinite`](crate::blame::NonFinite) that
    /// [`first_non_finite`](Self::first_non_finite) returns, which names the line that recorded the operation. A
    /// sweep that panics changes no gradient. Checking reads every value and cotangent once more; not checking costs
    /// nothing.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let _ = tape.leaf(0.0).ln(); // minus infinity, as in IEEE
    /// tape.set_checked(true);
    /// assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| tape.leaf(0.0).ln())).is_err());
    /// ```
    pub fn set_checked(&self, checked: bool) {
        self.checked.set(checked);
    }

    /// Returns whether the tape checks as it goes.
    #[must_use]
    pub fn is_checked(&self) -> bool {
        self.checked.get()
    }

    /// Returns the number of nodes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.borrow().len()
    }

    /// Returns whether nothing is recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the recorded operations' names, in order: `"leaf"`, `"constant"` and `"param"` for inputs.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let _ = tape.leaf(1.0).tanh().square();
    /// assert_eq!(tape.ops(), ["leaf", "tanh", "square"]);
    /// ```
    #[must_use]
    pub fn ops(&self) -> Vec<&'static str> {
        self.nodes.borrow().list.iter().map(|node| node.op.name()).collect()
    }

    /// Returns the nodes, for reading.
    pub(crate) fn nodes(&self) -> std::cell::Ref<'_, Nodes<T>> {
        self.nodes.borrow()
    }

    /// Returns the value of a node.
    pub(crate) fn view<'a>(&'a self, nodes: &'a Nodes<T>, id: u32) -> View<'a, T> {
        let node = nodes.node(id);
        let data = self.data(node);
        match nodes.strides(id) {
            Some(strides) => View { data, shape: nodes.shape(id), strides: Some(strides) },
            None => View::contiguous(data, nodes.shape(id)),
        }
    }

    /// Returns the memory of a value from its first element on.
    fn data(&self, node: &Node<T>) -> &[T] {
        let memory = match node.memory {
            Memory::Buffer(id) => &self.buffers[id as usize],
            Memory::Shared(id) => self.shared[id as usize].values(),
        };
        &memory[node.offset..]
    }

    /// Returns the value of a node as an array, which lives as long as the record.
    pub(crate) fn array(&self, id: u32) -> ArrayViewD<'_, T> {
        let nodes = self.nodes();
        let data = self.data(nodes.node(id));
        let (shape, strides) = (nodes.shape(id), nodes.strides(id));
        let data = if strides.is_none() { &data[..crate::shape::elements(shape)] } else { data };
        // Not by way of `view`, whose shape is borrowed from the list of nodes.
        match strides {
            Some(strides) => ArrayViewD::from_shape(IxDyn(shape).strides(IxDyn(strides)), data),
            None => ArrayViewD::from_shape(IxDyn(shape), data),
        }
        .expect("a node's memory holds its shape")
    }

    /// Returns the gradient of a leaf.
    pub(crate) fn leaf_grad(&self, id: u32) -> Option<ArrayViewD<'_, T>> {
        let nodes = self.nodes();
        let grad = &self.buffers[nodes.node(id).grad? as usize];
        Some(ArrayViewD::from_shape(IxDyn(nodes.shape(id)), grad).expect("a gradient has its leaf's shape"))
    }

    /// Adds to the gradient of a leaf.
    ///
    /// The sum goes to new memory: a view of the earlier gradient that somebody holds stays as it was.
    pub(crate) fn add_leaf_grad(&self, id: u32, mut g: Vec<T>) {
        let node = &mut self.nodes.borrow_mut().list[id as usize];
        if let Some(earlier) = node.grad {
            crate::kernel::elementwise::add_assign(&mut g, &self.buffers[earlier as usize]);
        }
        node.grad = Some(freeze(&self.buffers, g));
    }

    /// Keeps a copy of an array until reset and returns a view of it.
    pub(crate) fn keep(&self, array: &ndarray::ArrayD<T>) -> ArrayViewD<'_, T> {
        let mut buffer = self.pool.take(array.len());
        buffer.iter_mut().zip(array).for_each(|(to, &from)| *to = from);
        let id = freeze(&self.buffers, buffer);
        ArrayViewD::from_shape(array.raw_dim(), &self.buffers[id as usize]).expect("a copy has the array's shape")
    }

    /// Keeps a list of indices until reset.
    pub(crate) fn index_list(&self, indices: impl ExactSizeIterator<Item = u32>) -> IndexList {
        self.index_list_with(indices.len(), |list| list.iter_mut().zip(indices).for_each(|(to, index)| *to = index))
    }

    /// Keeps a list of indices until reset; `fill` writes every one of them.
    pub(crate) fn index_list_with(&self, length: usize, fill: impl FnOnce(&mut [u32])) -> IndexList {
        let mut list = self.index_pool.take(length);
        fill(&mut list);
        let length = id_of(list.len());
        IndexList { id: freeze(&self.index_lists, list), length }
    }

    /// Keeps a custom operation until reset.
    pub(crate) fn keep_custom(&self, custom: Arc<dyn CustomOp<T>>) -> CustomId {
        CustomId(freeze(&self.customs, custom))
    }

    /// Returns a custom operation.
    pub(crate) fn custom_op(&self, id: CustomId) -> &dyn CustomOp<T> {
        &self.customs[id.0 as usize]
    }

    /// Runs an operation on nodes of this tape and records it: the one way by which a computed node comes to be.
    ///
    /// # Panics
    ///
    /// If the operation does not take operands of these shapes.
    #[track_caller]
    pub(crate) fn apply(&self, op: Op<T>, operands: &[u32]) -> Var<'_, T> {
        match self.try_apply(op, operands, Location::caller()) {
            Ok(id) => self.checked_var(id),
            Err(error) => panic!("{}", self.explain(&error, operands)),
        }
    }

    /// Returns the handle of a node that was recorded just now, after a look at its value on a checked tape.
    ///
    /// What a rule records is checked when its result is there: see [`crate::sweep::grad`].
    #[inline]
    #[track_caller]
    fn checked_var(&self, id: u32) -> Var<'_, T> {
        if self.checked.get() && self.origin.get().is_none() {
            self.check_value(id);
        }
        Var::new(self, id)
    }

    fn try_apply(&self, op: Op<T>, operands: &[u32], location: &'static Location<'static>) -> Result<u32, ShapeError> {
        let location = self.origin.get().unwrap_or(location);
        let nodes = self.nodes.borrow();
        let Computed { shape, strides, memory, offset } = match self.same_shape(&nodes, &op, operands) {
            Some(shape) => {
                let memory = self.compute(&nodes, &op, operands, nodes.dims(shape));
                Computed { shape: NewDims::Known(shape), strides: None, memory, offset: 0 }
            }
            None => self.compute_shaped(&nodes, &op, operands)?,
        };
        let detached = self.detaching.get();
        let differentiable = operands.iter().enumerate().any(|(k, &id)| nodes.node(id).needs_grad && op.passes(k));
        let needs_grad = differentiable && !detached;
        drop(nodes);

        let nodes = &mut *self.nodes.borrow_mut();
        let shape = match shape {
            NewDims::Known(dims) => dims,
            NewDims::New(dims) => nodes.add_dims(&dims),
        };
        let strides = strides.map(|strides| nodes.add_dims(&strides));
        let start = id_of(nodes.operands.len());
        nodes.operands.extend_from_slice(operands);
        let operands = (start, id_of(operands.len()));
        Ok(nodes.push(Node {
            op,
            operands,
            shape,
            strides,
            memory,
            offset,
            location,
            needs_grad,
            detached,
            grad: None,
        }))
    }

    /// Returns the shape of an elementwise operation whose operands have the same, or one the last axes of the other, as
    /// a bias has: what nearly all have, and what needs no rule.
    fn same_shape(&self, nodes: &Nodes<T>, op: &Op<T>, operands: &[u32]) -> Option<Dims> {
        match (op, operands) {
            (Op::Unary(_), &[x]) => Some(nodes.node(x).shape),
            (Op::Binary(_), &[a, b]) => {
                let (a, b) = (nodes.node(a).shape, nodes.node(b).shape);
                if a == b || nodes.dims(a).ends_with(nodes.dims(b)) {
                    Some(a)
                } else {
                    nodes.dims(b).ends_with(nodes.dims(a)).then_some(b)
                }
            }
            _ => None,
        }
    }

    /// Runs an operation, or sees its operand in another way.
    fn compute_shaped(&self, nodes: &Nodes<T>, op: &Op<T>, operands: &[u32]) -> Result<Computed, ShapeError> {
        let shapes: SmallVec<[&[usize]; 4]> = operands.iter().map(|&id| nodes.shape(id)).collect();
        let shape = match *op {
            Op::Custom(id) => self.custom_op(id).shape(&shapes)?,
            _ => op.shape(&shapes)?,
        };
        if let Some(finding) = excess(&shape) {
            return Err(ShapeError::new(self.name(op), &shapes, finding));
        }
        if let [x] = *operands
            && let Some((layout, offset)) = op.view(nodes.shape(x), nodes.strides(x), &shape)
        {
            let node = nodes.node(x);
            let strides = layout.strides();
            return Ok(Computed {
                shape: NewDims::New(shape),
                strides,
                memory: node.memory,
                offset: node.offset + offset,
            });
        }
        if let Some(finding) = excess_in_memory(&shape) {
            return Err(ShapeError::new(self.name(op), &shapes, finding));
        }
        let memory = self.compute(nodes, op, operands, &shape);
        Ok(Computed { shape: NewDims::New(shape), strides: None, memory, offset: 0 })
    }

    /// Runs an operation into a new buffer.
    fn compute(&self, nodes: &Nodes<T>, op: &Op<T>, operands: &[u32], shape: &[usize]) -> Memory {
        let mut buffer = self.pool.take(crate::shape::elements(shape));
        match (op, operands) {
            // Without a list of operands: the paths that are taken most.
            (Op::Unary(_), &[x]) => op.run(&[self.view(nodes, x)], shape, &mut buffer, self, &self.pool),
            (Op::Binary(_), &[a, b]) => {
                let operands = [self.view(nodes, a), self.view(nodes, b)];
                op.run(&operands, shape, &mut buffer, self, &self.pool);
            }
            _ => {
                let views: SmallVec<[View<'_, T>; 4]> = operands.iter().map(|&id| self.view(nodes, id)).collect();
                match *op {
                    Op::Custom(id) => crate::custom::run(self.custom_op(id), &views, shape, &mut buffer),
                    _ => op.run(&views, shape, &mut buffer, self, &self.pool),
                }
            }
        }
        Memory::Buffer(freeze(&self.buffers, buffer))
    }

    /// Returns the sweeps on arrays since the last reset.
    pub(crate) fn sweeps(&self) -> std::cell::Ref<'_, Vec<Sweep<T>>> {
        self.sweeps.borrow()
    }

    /// Notes that a sweep on arrays ran.
    pub(crate) fn note_sweep(&self, from: u32, seed: Option<Vec<T>>) {
        let mut sweeps = self.sweeps.borrow_mut();
        let again = sweeps.last().is_some_and(|last| last.from == from && last.seed.is_none());
        if seed.is_some() || !again {
            sweeps.push(Sweep { from, seed });
        }
    }

    /// Notes that a sweep on `Var`s recorded a rule. A rule that hands on the cotangent as it is recorded nothing.
    pub(crate) fn note_rule(&self, rule: RecordedRule) {
        if rule.first <= rule.result {
            self.nodes.borrow_mut().rules.push(rule);
        }
    }

    /// Returns a shape error with the places where its operands were made.
    #[cold]
    pub(crate) fn explain(&self, error: &ShapeError, operands: &[u32]) -> String {
        let nodes = self.nodes();
        let mut text = error.to_string();
        for (k, &id) in operands.iter().enumerate() {
            text += &format!("\n  operand {k}: {}", self.describe_node(&nodes, id));
        }
        text
    }

    /// Returns number, operation, shape and line of a node.
    #[cold]
    pub(crate) fn describe(&self, id: u32) -> String {
        self.describe_node(&self.nodes(), id)
    }

    fn describe_node(&self, nodes: &Nodes<T>, id: u32) -> String {
        let (node, shape) = (nodes.node(id), Shape::from(nodes.shape(id)));
        let detached = if node.detached { "detached " } else { "" };
        format!("%{id} = {detached}{} {shape}, recorded at {}", self.call(&node.op), node.location)
    }

    /// Returns the name of an operation, of a custom one its own.
    pub(crate) fn name(&self, op: &Op<T>) -> &'static str {
        match *op {
            Op::Custom(custom) => self.custom_op(custom).name(),
            _ => op.name(),
        }
    }

    /// Returns the operation as a call, a custom one by its own name.
    pub(crate) fn call(&self, op: &Op<T>) -> String {
        match *op {
            Op::Custom(custom) => self.custom_op(custom).name().to_string(),
            _ => op.to_string(),
        }
    }

    /// Makes all nodes that are recorded while the result lives name this line, or the one that they name already: of
    /// calls within calls, the outermost is the user's.
    pub(crate) fn name_origin(&self, location: &'static Location<'static>) -> impl Drop {
        type Origin = Option<&'static Location<'static>>;
        struct Naming<'a>(&'a Cell<Origin>, Origin);
        impl Drop for Naming<'_> {
            fn drop(&mut self) {
                self.0.set(self.1);
            }
        }
        let before = self.origin.get();
        self.origin.set(before.or(Some(location)));
        Naming(&self.origin, before)
    }

    /// Cuts all nodes that are recorded while the result lives off from their operands, or does not.
    pub(crate) fn detach_all(&self, detaching: bool) -> impl Drop {
        struct Detaching<'a>(&'a Cell<bool>, bool);
        impl Drop for Detaching<'_> {
            fn drop(&mut self) {
                self.0.set(self.1);
            }
        }
        Detaching(&self.detaching, self.detaching.replace(detaching))
    }

    /// Records an array of zeros: one 0, repeated.
    pub(crate) fn zeros(&self, shape: Shape) -> Var<'_, T> {
        self.constant(T::ZERO).broadcast_to(shape)
    }
}

/// Panics if no array can have this shape.
#[track_caller]
fn assert_possible(shape: &[usize]) {
    if let Some(finding) = excess(shape) {
        panic!("{finding}");
    }
}

/// Where a result lies.
struct Computed {
    shape: NewDims,
    strides: Option<Shape>,
    memory: Memory,
    offset: usize,
}

enum NewDims {
    Known(Dims),
    New(Shape),
}

impl<T> Node<T> {
    fn source(op: Op<T>, shape: Dims, memory: Memory, location: &'static Location<'static>) -> Self {
        let needs_grad = !matches!(op, Op::Constant);
        let (operands, strides) = ((0, 0), None);
        Self { op, operands, shape, strides, memory, offset: 0, location, needs_grad, detached: false, grad: None }
    }
}

impl<T: Scalar> Lists for Tape<T> {
    fn indices(&self, list: IndexList) -> &[u32] {
        &self.index_lists[list.id as usize]
    }
}

/// Prints the program: a numbered line per node with operation, operands, shape, and who recorded it.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::Tape;
///
/// let tape = Tape::new();
/// let x = tape.leaf(array![1.0, 2.0]);
/// let _ = (x * 0.5).sum();
/// let text = tape.to_string();
/// let lines: Vec<&str> = text.lines().collect();
/// assert!(lines[0].starts_with("%0 = leaf : (2,)"));
/// assert!(lines[1].starts_with("%1 = scale[0.5] %0 : (2,)"));
/// assert!(lines[2].starts_with("%2 = sum[axes [0]] %1 : ()"));
/// ```
impl<T: Scalar> fmt::Display for Tape<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes = self.nodes();
        let width = nodes.len().saturating_sub(1).to_string().len();
        for id in 0..id_of(nodes.len()) {
            let node = nodes.node(id);
            let name = self.call(&node.op);
            let operands: String = nodes.operands(id).iter().map(|operand| format!(" %{operand}")).collect();
            let line = format!(
                "{:<pad$} = {}{name}{operands} : {}",
                format!("%{id}"),
                if node.detached { "detached " } else { "" },
                Shape::from(nodes.shape(id)),
                pad = width + 1
            );
            writeln!(f, "{line:<60} {}:{}", node.location.file(), node.location.line())?;
        }
        Ok(())
    }
}

/// Prints the program, as [`Display`](fmt::Display) does.
impl<T: Scalar> fmt::Debug for Tape<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Tape of {} nodes", self.len())?;
        fmt::Display::fmt(self, f)
    }
}
