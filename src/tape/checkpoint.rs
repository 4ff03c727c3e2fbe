//! Checkpoints: segments of a computation that keep their result alone, and run again in a sweep.
//!
//! A segment runs on a tape of its own, lent for the occasion and cleared afterwards, so that what it computes on the
//! way is gone. A sweep on arrays runs it there once more, sweeps through it, and clears the tape again. A sweep that
//! records runs it on the tape itself, where its nodes can be differentiated again.

use std::cell::RefCell;
use std::ops::Deref;
use std::panic::Location;
use std::sync::Arc;

use elsa::FrozenVec;
use smallvec::SmallVec;

use super::{Memory, Node, Nodes, Tape, freeze, id_of};
use crate::input::Values;
use crate::kernel::view;
use crate::op::{Op, SegmentId};
use crate::param::Param;
use crate::scalar::Scalar;
use crate::shape::{Shape, elements};
use crate::sweep::Dependence;
use crate::var::Var;

type Function<T> = dyn for<'s> Fn(&'s Tape<T>, &[Var<'s, T>]) -> Var<'s, T> + Send;

/// A segment: what it does, and the parameters with the values that it used.
struct Segment<T> {
    function: Box<Function<T>>,
    pins: Pins<T>,
}

/// Parameters and the values that they have to a segment, whatever an optimizer did to them since.
type Pins<T> = Vec<(Param<T>, Arc<dyn Values<T>>)>;

/// What a tape keeps for its checkpoints.
pub(super) struct Checkpoints<T> {
    segments: FrozenVec<Box<Segment<T>>>,
    /// While a segment runs: the parameters that it has used. A second run finds all that the first one used.
    pins: RefCell<Option<Pins<T>>>,
    /// A tape for segments, between uses.
    spare: RefCell<Option<Box<Tape<T>>>>,
}

impl<T> Default for Checkpoints<T> {
    fn default() -> Self {
        Self { segments: FrozenVec::new(), pins: RefCell::new(None), spare: RefCell::new(None) }
    }
}

impl<T: Scalar> Checkpoints<T> {
    pub(super) fn clear(&mut self) {
        self.segments.as_mut().clear();
    }

    /// Returns the value of a parameter: the current one, or the one that the running segment has used before.
    pub(super) fn value(&self, param: &Param<T>) -> Arc<dyn Values<T>> {
        match &mut *self.pins.borrow_mut() {
            None => param.value(),
            Some(pins) => {
                if let Some((_, value)) = pins.iter().find(|(pinned, _)| pinned.is(param)) {
                    return Arc::clone(value);
                }
                let value: Arc<dyn Values<T>> = param.value();
                pins.push((param.clone(), Arc::clone(&value)));
                value
            }
        }
    }

    /// Makes parameters have these values while the result lives.
    fn pin(&self, pins: Pins<T>) -> impl Drop {
        struct Pinning<'a, T>(&'a RefCell<Option<Pins<T>>>, Option<Pins<T>>);
        impl<T> Drop for Pinning<'_, T> {
            fn drop(&mut self) {
                self.0.replace(self.1.take());
            }
        }
        Pinning(&self.pins, self.pins.replace(Some(pins)))
    }
}

/// A tape that a segment runs on. It works with the buffers of the tape that lends it, and is cleared when dropped.
pub(crate) struct Aside<'a, T: Scalar> {
    owner: &'a Tape<T>,
    tape: Box<Tape<T>>,
}

impl<T: Scalar> Aside<'_, T> {
    fn trade_pools(&self) {
        self.owner.pool.trade(&self.tape.pool);
        self.owner.index_pool.trade(&self.tape.index_pool);
    }
}

impl<T: Scalar> Deref for Aside<'_, T> {
    type Target = Tape<T>;

    fn deref(&self) -> &Tape<T> {
        &self.tape
    }
}

impl<T: Scalar> Drop for Aside<'_, T> {
    fn drop(&mut self) {
        self.tape.reset();
        self.tape.checkpoints.pins.replace(None);
        self.trade_pools();
        self.owner.checkpoints.spare.replace(Some(std::mem::take(&mut self.tape)));
    }
}

/// The nodes that are inputs of a segment, each once, and what stands for each where the segment runs.
type Inputs<V> = SmallVec<[(u32, V); 4]>;

/// A segment that has run: its inputs' nodes where it was recorded, each with what stands for it where it ran, and its
/// result there.
pub(crate) struct Ran<V> {
    pub(crate) inputs: Inputs<V>,
    pub(crate) y: V,
}

/// What the result of a segment depends on.
pub(crate) struct Reach<T> {
    /// The nodes of the inputs, where the segment was recorded.
    pub(crate) inputs: Vec<u32>,
    /// The parameters that it uses, and whether its result depends on each.
    pub(crate) params: Vec<(Param<T>, bool)>,
}

impl<T: Scalar> Tape<T> {
    /// Runs a segment of a computation and records nothing of it but its result: a sweep runs it again instead of keeping
    /// the values on the way.
    ///
    /// `segment` gets a tape and the inputs on it, and returns its result, which is recorded here as one node. What a
    /// deep network keeps for its sweep shrinks to the results of its segments and, while one of them runs, the
    /// values of that one; the price is that each segment runs twice. Gradients have the bits that they have without the
    /// checkpoint. Segments nest.
    ///
    /// - `segment` has to be the same function each time: a random mask, say, is drawn outside and handed in.
    /// - It borrows nothing. It owns what it needs ([`Param`]s and `Arc`s are cheap to clone), and every `Var` it needs is an
    ///   input.
    /// - Parameters that it records with [`Tape::param`] accumulate their gradients; when it runs again they have the
    ///   values that they had the first time, even if an optimizer stepped in between. They are no targets of
    ///   [`Var::grads`] outside: to be one, a parameter must be recorded outside and handed in.
    /// - Recorded derivatives ([`Var::grads`], [`Var::jvp`], …) of any order go through it. They record the segment in full, so
    ///   that they save no memory.
    ///
    /// # Panics
    ///
    /// If an input is of another tape, or `segment` panics; both leave the tape as it was. A sweep panics, before any
    /// gradient changes, if the segment gives other values than it gave the first time.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{Param, Tape};
    ///
    /// let w = Param::new(array![2.0, 3.0]);
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![1.0, 4.0]);
    /// let layer = w.clone();
    /// let y = tape.checkpoint(&[x], move |tape, x| (x[0] * tape.param(&layer)).square());
    /// assert_eq!(tape.ops(), ["leaf", "checkpoint"]);
    /// assert_eq!(y.value(), array![4.0, 144.0].into_dyn());
    ///
    /// y.sum().backward();
    /// assert_eq!(x.grad().unwrap(), array![8.0, 72.0].into_dyn()); // 2 x w²
    /// assert_eq!(*w.grad().unwrap(), array![4.0, 96.0].into_dyn()); // 2 x² w
    /// ```
    ///
    /// A segment cannot use a `Var` that is not handed in:
    ///
    /// ```compile_fail,E0277
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let (x, w) = (tape.leaf(1.0), tape.leaf(2.0));
    /// let y = tape.checkpoint(&[x], move |_, x| x[0] * w);
    /// ```
    #[track_caller]
    pub fn checkpoint<'t>(
        &'t self,
        inputs: &[Var<'t, T>],
        segment: impl for<'s> Fn(&'s Self, &[Var<'s, T>]) -> Var<'s, T> + Send + 'static,
    ) -> Var<'t, T> {
        let location = self.origin.get().unwrap_or(Location::caller());
        for input in inputs {
            let theirs = input.tape();
            assert!(
                std::ptr::eq(theirs, self),
                "checkpoint: an input is of another tape: {}",
                theirs.describe(input.id())
            );
        }
        let operands: SmallVec<[u32; 4]> = inputs.iter().map(|input| input.id()).collect();

        let aside = self.aside();
        // Within a segment that runs again, parameters have the values that they had the first time.
        let pins = self.checkpoints.pins.borrow().clone().unwrap_or_default();
        aside.checkpoints.pins.replace(Some(pins));
        let y = aside.run_function(&segment, self, &self.nodes(), &operands).y;
        let pins = aside.checkpoints.pins.take().unwrap_or_default();
        let (buffer, shape, needs_grad) = {
            let nodes = aside.nodes();
            let y_view = aside.view(&nodes, y);
            let mut buffer = aside.pool.take(elements(y_view.shape));
            view::copy(y_view, y_view.shape, &mut buffer);
            (buffer, Shape::from(y_view.shape), nodes.node(y).needs_grad)
        };
        drop(aside);

        if let Some(own) = &mut *self.checkpoints.pins.borrow_mut() {
            own.clone_from(&pins);
        }
        let id = SegmentId(freeze(&self.checkpoints.segments, Box::new(Segment { function: Box::new(segment), pins })));
        let memory = Memory::Buffer(freeze(&self.buffers, buffer));
        let detached = self.detaching.get();
        let nodes = &mut *self.nodes.borrow_mut();
        let shape = nodes.add_dims(&shape);
        let start = id_of(nodes.operands.len());
        nodes.operands.extend_from_slice(&operands);
        let node = Node {
            op: Op::Checkpoint(id),
            operands: (start, id_of(operands.len())),
            needs_grad: needs_grad && !detached,
            detached,
            ..Node::source(Op::Constant, shape, memory, location)
        };
        let id = nodes.push(node);
        Var::new(self, id)
    }

    /// Returns a tape to run a segment on.
    pub(crate) fn aside(&self) -> Aside<'_, T> {
        let aside = Aside { owner: self, tape: self.checkpoints.spare.take().unwrap_or_default() };
        aside.trade_pools();
        aside.set_checked(self.is_checked());
        aside
    }

    /// Runs the segment of a node again on the tape `aside`.
    ///
    /// # Panics
    ///
    /// If it gives other values than it gave the first time.
    pub(crate) fn run_segment(&self, nodes: &Nodes<T>, id: u32, aside: &Aside<'_, T>) -> Ran<u32> {
        let Segment { function, pins } = self.segment(nodes, id);
        aside.checkpoints.pins.replace(Some(pins.clone()));
        let ran = aside.run_function(function, self, nodes, nodes.operands(id));
        self.assert_repeats(nodes, id, aside, &aside.nodes(), ran.y);
        ran
    }

    /// Runs the segment of a node again and returns what its result depends on.
    pub(crate) fn segment_reach(&self, nodes: &Nodes<T>, id: u32) -> Reach<T> {
        let aside = self.aside();
        aside.set_checked(false);
        let Ran { inputs, y } = self.run_segment(nodes, id, &aside);
        let own = aside.nodes();
        let depends = |on: u32| own.node(y).needs_grad && Dependence::new(&aside, y, std::iter::once(on)).has(y);
        let inputs = inputs.iter().filter(|&&(_, input)| depends(input)).map(|&(operand, _)| operand).collect();
        let mut params: Vec<(Param<T>, bool)> = Vec::new();
        for &(param_id, ref param) in own.params() {
            match params.iter_mut().find(|(known, _)| known.is(param)) {
                Some((_, reached)) => *reached |= depends(param_id),
                None => params.push((param.clone(), depends(param_id))),
            }
        }
        // Within a segment of this one: it is used, and reached as far as this says.
        for (param, _) in &self.segment(nodes, id).pins {
            if !params.iter().any(|(known, _)| known.is(param)) {
                params.push((param.clone(), true));
            }
        }
        Reach { inputs, params }
    }

    /// Records the segment of a node on this tape itself, on values that are the inputs but nodes of their own: what
    /// stops there is the derivative by the inputs alone, not by what they themselves depend on.
    pub(crate) fn record_segment(&self, id: u32) -> Ran<Var<'_, T>> {
        // The segment is part of the record, also where the derivative that asks for it is not.
        let _attaching = self.detach_all(false);
        let (segment, operands) = {
            let nodes = self.nodes();
            (self.segment(&nodes, id), SmallVec::<[u32; 4]>::from_slice(nodes.operands(id)))
        };
        let _pinning = self.checkpoints.pin(segment.pins.clone());
        let alias = |x: u32| Var::new(self, x).broadcast_to(Var::new(self, x).shape());
        let (inputs, values) = stand_ins(&operands, alias);
        let y = (segment.function)(self, &values);
        assert!(std::ptr::eq(y.tape(), self), "checkpoint: the segment returned a Var of another tape");
        let nodes = self.nodes();
        self.assert_repeats(&nodes, id, self, &nodes, y.id());
        Ran { inputs, y }
    }

    /// Returns whether a segment has used the parameter: the sweep that records gives no gradient of that.
    pub(crate) fn is_param_of_segment(&self, param: &Param<T>) -> bool {
        self.checkpoints.segments.iter().any(|segment| segment.pins.iter().any(|(pinned, _)| pinned.is(param)))
    }

    fn segment(&self, nodes: &Nodes<T>, id: u32) -> &Segment<T> {
        let Op::Checkpoint(segment) = nodes.node(id).op else { unreachable!("the node is not a checkpoint") };
        &self.checkpoints.segments[segment.0 as usize]
    }

    /// Runs a segment's function on this tape, on copies of another one's values.
    fn run_function(
        &self,
        function: &(impl for<'s> Fn(&'s Self, &[Var<'s, T>]) -> Var<'s, T> + ?Sized),
        owner: &Self,
        nodes: &Nodes<T>,
        operands: &[u32],
    ) -> Ran<u32> {
        let (inputs, values) = stand_ins(operands, |id| Var::new(self, self.adopt(owner, nodes, id)));
        let y = function(self, &values);
        assert!(std::ptr::eq(y.tape(), self), "checkpoint: the segment returned a Var of another tape");
        Ran { inputs: inputs.into_iter().map(|(operand, input)| (operand, input.id())).collect(), y: y.id() }
    }

    /// Records a copy of another tape's value: a leaf if that needs a gradient, else a constant.
    fn adopt(&self, owner: &Self, nodes: &Nodes<T>, id: u32) -> u32 {
        let (node, x) = (nodes.node(id), owner.view(nodes, id));
        let mut buffer = self.pool.take(elements(x.shape));
        view::copy(x, x.shape, &mut buffer);
        let memory = Memory::Buffer(freeze(&self.buffers, buffer));
        let op = if node.needs_grad { Op::Leaf } else { Op::Constant };
        let own = &mut *self.nodes.borrow_mut();
        let shape = own.add_dims(x.shape);
        own.push(Node::source(op, shape, memory, node.location))
    }

    /// Asserts that a segment gave the value of the node `id` again.
    fn assert_repeats(&self, nodes: &Nodes<T>, id: u32, tape: &Self, tape_nodes: &Nodes<T>, y: u32) {
        let (first, again) = (self.view(nodes, id).array(), tape.view(tape_nodes, y).array());
        let same = |a: &T, b: &T| a.to_f64().to_bits() == b.to_f64().to_bits() || a.is_nan() && b.is_nan();
        assert!(
            first.shape() == again.shape() && first.iter().zip(&again).all(|(a, b)| same(a, b)),
            "checkpoint: the segment gave other values when it ran again: {}",
            self.describe_node(nodes, id)
        );
    }
}

/// Returns a stand-in for each different operand, and for each operand its own.
fn stand_ins<V: Copy>(operands: &[u32], make: impl Fn(u32) -> V) -> (Inputs<V>, SmallVec<[V; 4]>) {
    let mut inputs: Inputs<V> = SmallVec::new();
    let mut values = SmallVec::new();
    for &operand in operands {
        let known = inputs.iter().find(|(input, _)| *input == operand).map(|&(_, value)| value);
        let value = known.unwrap_or_else(|| make(operand));
        if known.is_none() {
            inputs.push((operand, value));
        }
        values.push(value);
    }
    (inputs, values)
}
