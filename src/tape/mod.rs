//! [`Tape`], the recording of a computation; [`Var`], the handle to a recorded value; [`CustomOp`], a user's operation.
//! These three types refer to each other.
//!
//! A [`Recording`] holds steps, operands, shapes, index lists, custom operations, segments and source lines. The values
//! are apart from it, in a `Memory`. `apply` evaluates a step and records it.

mod apply;
pub(crate) mod checkpoint;
mod dependence;
mod event;
mod group;
mod memory;
mod names;
mod nodes;
mod observe;
mod print;
mod read;
mod reads;
mod workspace;

use std::cell::{Cell, Ref, RefCell, RefMut};
use std::fmt::Debug;
use std::panic::Location;
use std::sync::Arc;

use elsa::FrozenVec;
use ndarray::{ArrayViewD, ArrayViewMutD};

use crate::input::{Input, SharedStorage};
use crate::memory::Pool;
use crate::param::Param;
use crate::scalar::Scalar;
use crate::shape::{Shape, ShapeError, check_size, elements};
use memory::{Memory, Place, Storage};
use nodes::Node;

pub(crate) use dependence::Dependence;
pub use event::Checked;
pub(crate) use event::Event;
pub(crate) use names::{Group, GroupName};
pub(crate) use nodes::{CustomId, Nodes, RecordedRule, Step, id_of};
pub(crate) use workspace::{Seed, SweepRun, Target, Workspace};

/// A recording of operations on arrays of `T`, in the order in which they ran.
///
/// A tape returns [`Var`]s: small handles to the values it holds. Every operation on a `Var` runs at once and is
/// recorded as a node. [`Var::backward`] then sweeps over the nodes from the last to the first. A node can only use
/// earlier nodes, so this order is topological. A sweep needs neither sorting nor recursion, however long the tape.
///
/// # Memory
///
/// The tape owns the values of its nodes until [`reset`](Self::reset), which keeps the memory for the next recording.
/// From the second step on, a step that records the same shapes makes no allocation. (Arrays of more than four axes are
/// an exception: each of their operations may allocate a list of axes.) A recorded value never changes, so a view of it
/// stays valid and correct as long as the tape is borrowed.
///
/// # Parameters that are updated
///
/// A tape always gives the **recorded** values. If an optimizer steps while a tape holds a parameter's value, it writes
/// the new value to other memory. [`reset`](Self::reset) returns the old memory for the next step. So the natural order
/// of a training step, `loss.backward(); sgd.step(); tape.reset();`, makes no copy.
///
/// # Threads
///
/// A tape can be sent to another thread, but two threads cannot share it. They can share [`Param`]s.
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
/// A `Var` cannot outlive the recording that it points into:
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
/// `f32` does not mix with `f64`:
///
/// ```compile_fail,E0308
/// use tapegrad::Tape;
///
/// let (single, double) = (Tape::<f32>::new(), Tape::<f64>::new());
/// let _ = single.leaf(1.0) + double.leaf(1.0);
/// ```
pub struct Tape<T> {
    recording: Recording<T>,
    memory: Memory<T>,
    /// The source line of the nodes of a recorded sweep, in place of their own.
    origin: Cell<Option<&'static Location<'static>>>,
    detaching: Cell<Detach>,
    /// The observer of each value and rule, on a checked tape.
    check: Cell<Option<Check<T>>>,
    /// While a segment runs: the parameters that it has used, with their values. A second run uses the values of the
    /// first.
    snapshots: RefCell<Option<ParamSnapshots<T>>>,
    /// A spare tape for segments and for the rules of custom operations.
    spare: RefCell<Option<Box<Tape<T>>>>,
    /// Values that the user's code has read since the last reset.
    reads: RefCell<Vec<reads::ValueRead<T>>>,
    workspace: RefCell<Workspace<T>>,
    /// The sweeps on arrays since the last reset, for blame.
    sweeps: RefCell<Vec<SweepRun<T>>>,
}

/// The recorded program, apart from the memory that holds the values.
pub(crate) struct Recording<T> {
    nodes: RefCell<Nodes<T>>,
    /// Boxed, so that a handle can be cloned while more are added.
    customs: FrozenVec<Box<Arc<dyn CustomOp<T>>>>,
    segments: FrozenVec<Box<Segment<T>>>,
}

/// A segment: its function, and the parameters that it used, with their values.
struct Segment<T> {
    function: Box<Function<T>>,
    snapshots: ParamSnapshots<T>,
}

type Function<T> = dyn for<'s> Fn(&'s Tape<T>, &[Var<'s, T>]) -> Var<'s, T> + Send;

/// Parameters with the values that a segment used. An optimizer may have updated the parameters since.
type ParamSnapshots<T> = Vec<(Param<T>, Arc<dyn SharedStorage<T>>)>;

/// An observer: returns the text of a panic if it finds something wrong.
pub(crate) type Check<T> = fn(&Tape<T>, Event) -> Option<String>;

/// Whether recorded nodes are detached: cut off from their operands for every derivative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detach {
    Yes,
    No,
}

/// A handle to a value on a [`Tape`].
///
/// A `Var` is `Copy`: use it as often as needed, without `&` or `clone()`. Methods and operators compute at once and
/// record the operation. Operators take `Var`s, and plain numbers on either side. Two arrays are combined element by
/// element with NumPy's broadcasting.
///
/// # Panics
///
/// Every method and operator panics at the caller's line if the shapes do not fit or the operands belong to different
/// tapes. The message names the operation, the shapes, and the lines that recorded the operands.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::Tape;
///
/// let tape = Tape::<f64>::new();
/// let x = tape.leaf(array![[1.0, 2.0], [3.0, 4.0]]);
/// let b = tape.leaf(array![10.0, 20.0]);
/// let y = 2.0 * x + b; // b is added to each row
/// assert_eq!(y.value(), array![[12.0, 24.0], [16.0, 28.0]].into_dyn());
/// y.sum().backward();
/// assert_eq!(b.grad().unwrap(), array![2.0, 2.0].into_dyn());
/// ```
pub struct Var<'t, T> {
    tape: &'t Tape<T>,
    id: u32,
}

impl<T> Clone for Var<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Var<'_, T> {}

impl<'t, T> Var<'t, T> {
    #[inline]
    pub(crate) fn new(tape: &'t Tape<T>, id: u32) -> Self {
        Self { tape, id }
    }

    #[inline]
    pub(crate) fn id(self) -> u32 {
        self.id
    }

    /// Returns the tape.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::{Tape, Var};
    ///
    /// /// Functions of `Var`s put their constants on the same tape.
    /// fn above<'t>(x: Var<'t, f64>, level: f64) -> Var<'t, f64> {
    ///     (x - x.tape().constant(level)).relu()
    /// }
    ///
    /// let tape = Tape::new();
    /// assert_eq!(above(tape.leaf(5.0), 2.0).item(), 3.0);
    /// ```
    #[must_use]
    #[inline]
    pub fn tape(self) -> &'t Tape<T> {
        self.tape
    }
}

/// A custom operation: a function on arrays, and its derivative written in recorded operations.
///
/// The rule is written on [`Var`]s, so [`Var::backward`] and [`Var::grads`] both use it, and the operation can be
/// differentiated to any order.
///
/// # Example
///
/// `softplus(x) = ln(1 + e^x)`, whose derivative is the logistic function:
///
/// ```
/// use std::sync::Arc;
/// use ndarray::{ArrayViewD, ArrayViewMutD, Zip};
/// use tapegrad::{CustomOp, Shape, ShapeError, Tape, Var};
///
/// #[derive(Debug)]
/// struct Softplus;
///
/// impl CustomOp<f64> for Softplus {
///     fn name(&self) -> &'static str {
///         "softplus"
///     }
///
///     fn shape(&self, operands: &[&[usize]]) -> Result<Shape, ShapeError> {
///         match operands {
///             [x] => Ok(Shape::from(*x)),
///             _ => Err(ShapeError::new("softplus", operands, "it takes one operand".into())),
///         }
///     }
///
///     fn forward(&self, operands: &[ArrayViewD<f64>], result: ArrayViewMutD<f64>) {
///         // ln(1 + e^x) = max(x, 0) + ln(1 + e^-|x|) does not overflow.
///         Zip::from(result).and(&operands[0]).for_each(|y, &x| *y = x.max(0.0) + (-x.abs()).exp().ln_1p());
///     }
///
///     fn vjp<'t>(&self, _k: usize, operands: &[Var<'t, f64>], _result: Var<'t, f64>, g: Var<'t, f64>) -> Var<'t, f64> {
///         g * operands[0].sigmoid()
///     }
/// }
///
/// let tape = Tape::new();
/// let softplus = Arc::new(Softplus);
/// let x = tape.leaf(0.0);
/// let y = Var::custom(softplus, &[x]);
/// y.backward();
/// assert_eq!(y.item(), 2.0_f64.ln());
/// assert_eq!(x.grad().unwrap().sum(), 0.5); // sigmoid(0)
/// assert_eq!(y.grad_wrt(x).grad_wrt(x).item(), 0.25); // second order
/// ```
pub trait CustomOp<T: Scalar>: Debug + Send + Sync {
    /// Returns the name that messages and printed tapes show.
    fn name(&self) -> &'static str;

    /// Returns the shape of the result.
    ///
    /// # Errors
    ///
    /// If the operation does not accept operands of these shapes, or this number of operands.
    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, ShapeError>;

    /// Computes the result. It must write every element: `result` holds arbitrary numbers before.
    fn forward(&self, operands: &[ArrayViewD<'_, T>], result: ArrayViewMutD<'_, T>);

    /// Returns the cotangent of operand `k` for the cotangent `g` of the result.
    ///
    /// It has the shape of the operand, or a shape that the operand broadcasts to.
    fn vjp<'t>(&self, k: usize, operands: &[Var<'t, T>], result: Var<'t, T>, g: Var<'t, T>) -> Var<'t, T>;
}

impl<T> Default for Recording<T> {
    fn default() -> Self {
        Self { nodes: RefCell::default(), customs: FrozenVec::new(), segments: FrozenVec::new() }
    }
}

impl<T: Scalar> Default for Tape<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Scalar> Tape<T> {
    /// Returns an empty tape.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::<f32>::new();
    /// assert!(tape.is_empty());
    /// ```
    #[must_use]
    #[inline]
    pub fn new() -> Self {
        Self {
            recording: Recording::default(),
            memory: Memory::default(),
            origin: Cell::new(None),
            detaching: Cell::new(Detach::No),
            check: Cell::new(None),
            snapshots: RefCell::new(None),
            spare: RefCell::new(None),
            reads: RefCell::default(),
            workspace: RefCell::default(),
            sweeps: RefCell::default(),
        }
    }

    /// Records a leaf: an input for which [`Var::backward`] computes a gradient.
    ///
    /// The input is a number, or an array or a view of any dimension, by value or by reference. Its elements are
    /// copied. An `Arc<Array>` in standard layout is shared instead.
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
        self.source(Step::Leaf, array)
    }

    /// Records an input that is not differentiated.
    ///
    /// The input is the same as for [`leaf`](Self::leaf). The elements are copied. An `Arc<Array>` in standard layout
    /// is shared instead: use it for a large data set that every step records.
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
        self.source(Step::Constant, array)
    }

    /// Records the current value of a parameter. The value is shared, not copied. The gradient goes to [`Param::grad`].
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
        let storage = self.memory.share(self.param_value(param));
        let id = self.push_source(Step::Param, param.shape(), storage, Location::caller());
        self.edit().add_param(id, param.clone());
        self.checked_var(id)
    }

    #[track_caller]
    #[inline]
    fn source(&self, step: Step<T>, array: impl Input<T>) -> Var<'_, T> {
        let shape = array.dims();
        assert_possible(&shape);
        let storage = match array.hand_over() {
            Ok(shared) => self.memory.share(shared),
            Err(array) => {
                let mut buffer = self.memory.pool.take(shape.elements());
                array.write_to(&mut buffer);
                self.memory.keep(buffer)
            }
        };
        self.checked_var(self.push_source(step, &shape, storage, Location::caller()))
    }

    /// Records an input whose value fills the whole of its storage.
    #[track_caller]
    #[inline]
    fn push_source(
        &self,
        step: Step<T>,
        shape: &[usize],
        storage: Storage,
        location: &'static Location<'static>,
    ) -> u32 {
        let mut nodes = self.edit();
        let length = elements(shape);
        let shape = nodes.add_dims(shape);
        let needs_grad = matches!(step, Step::Leaf | Step::Param);
        let location = self.origin.get().unwrap_or(location);
        self.memory.places.borrow_mut().push(Place::whole(storage, length));
        nodes.push(step, Node { operands: (0, 0), shape, location, needs_grad, detached: false, read: Cell::default() })
    }

    /// Runs `f`, and detaches all operations that `f` records on this tape.
    ///
    /// Values are computed and recorded as usual. Every derivative, of any order and in either direction, treats them
    /// as constants: [`Var::backward`], [`Var::grads`], [`Var::jvp`]. Leaves and parameters that `f` records are not
    /// detached: used outside, they have a gradient. Calls nest, and their effect ends even if `f` panics.
    /// [`Var::detach`] detaches a single value.
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
        let _detaching = self.detach_all(Detach::Yes);
        f()
    }

    /// Clears the gradients of all leaves of this tape: [`Var::grad`] is `None` again. The gradients of parameters
    /// stay; see [`Param::zero_grad`].
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
        for place in self.memory.places.borrow_mut().iter_mut() {
            place.grad = None;
        }
        for grad in self.memory.grads.borrow_mut().drain(..) {
            if let memory::LeafGrad::Private(buffer) = grad {
                self.memory.pool.put(buffer);
            }
        }
    }

    /// Removes all nodes and keeps the memory for the next recording.
    ///
    /// The `Var`s of this recording are stale afterwards. Using one is a compile error.
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
        let nodes = self.recording.nodes.get_mut();
        nodes.clear();
        for list in nodes.data.drain() {
            self.memory.index_pool.put(list);
        }
        for sweep in self.sweeps.get_mut().drain(..) {
            sweep.seed.into_iter().for_each(|seed| seed.give_back(&self.memory.pool));
        }
        self.reads.get_mut().clear();
        self.recording.customs.as_mut().clear();
        self.recording.segments.as_mut().clear();
        self.memory.reset();
    }

    /// Returns the number of nodes.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let _ = tape.leaf(1.0) + 2.0;
    /// assert_eq!(tape.len(), 2); // the leaf and the sum
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes().len()
    }

    /// Returns whether the tape has no nodes.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::Tape;
    ///
    /// let mut tape = Tape::new();
    /// let _ = tape.leaf(1.0);
    /// assert!(!tape.is_empty());
    /// tape.reset();
    /// assert!(tape.is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the names of the recorded operations, in order. Inputs are `"leaf"`, `"constant"` and `"param"`.
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
        self.nodes().steps().map(Step::name).collect()
    }

    /// Returns the nodes, for reading.
    #[inline]
    pub(crate) fn nodes(&self) -> Ref<'_, Nodes<T>> {
        self.recording.nodes.borrow()
    }

    /// Returns the nodes, for writing.
    ///
    /// # Panics
    ///
    /// If they are being read: a sweep or a segment runs.
    #[track_caller]
    #[inline]
    fn edit(&self) -> RefMut<'_, Nodes<T>> {
        match self.recording.nodes.try_borrow_mut() {
            Ok(nodes) => nodes,
            Err(_) => panic!(
                "the tape is in use and cannot record: within a checkpoint, a segment records on the tape that it is given, \
                 not on the outer one"
            ),
        }
    }

    /// Returns the pool of recycled buffers.
    #[inline]
    pub(crate) fn pool(&self) -> &Pool<T> {
        &self.memory.pool
    }

    /// Returns the memory that sweeps reuse.
    #[inline]
    pub(crate) fn workspace(&self) -> &RefCell<Workspace<T>> {
        &self.workspace
    }

    /// Attributes all nodes that are recorded while the result lives to this source line. In nested calls the outermost
    /// line stays, because it is the user's.
    pub(crate) fn attribute_to(&self, location: &'static Location<'static>) -> impl Drop {
        let before = self.origin.get();
        self.origin.set(before.or(Some(location)));
        Restore { cell: &self.origin, value: before }
    }

    /// Sets whether the nodes that are recorded while the result lives are detached.
    pub(crate) fn detach_all(&self, detach: Detach) -> impl Drop {
        Restore { cell: &self.detaching, value: self.detaching.replace(detach) }
    }
}

/// Sets a cell back when dropped.
struct Restore<'a, V: Copy> {
    cell: &'a Cell<V>,
    value: V,
}

impl<V: Copy> Drop for Restore<'_, V> {
    fn drop(&mut self) {
        self.cell.set(self.value);
    }
}

/// Panics if no array can have this shape.
#[track_caller]
fn assert_possible(shape: &[usize]) {
    if let Err(finding) = check_size(shape) {
        panic!("{finding}");
    }
}
