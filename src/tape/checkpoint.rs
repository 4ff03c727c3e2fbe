//! Checkpoints: segments of a computation that keep only their result, and run again in a sweep.
//!
//! A segment runs on a scratch tape, which is cleared afterwards. So its intermediate values are dropped. A sweep on
//! arrays runs the segment on a scratch tape again, sweeps through it, and clears the tape. A sweep that records runs
//! the segment on the tape itself, where its nodes can be differentiated again.

use std::ops::Deref;
use std::panic::Location;
use std::sync::Arc;

use smallvec::SmallVec;

use super::dependence::Dependence;
use super::memory::{Place, freeze};
use super::nodes::{Node, Nodes, SegmentId, Step};
use super::{Detach, ParamSnapshots, Segment, Tape, Var};
use crate::input::SharedStorage;
use crate::kernel::view;
use crate::number::Classify;
use crate::op::Linear;
use crate::param::Param;
use crate::scalar::Scalar;
use crate::shape::{Shape, elements};

/// A tape that a segment or a custom operation's rule runs on. It is cleared when dropped, and returned to its owner.
pub(crate) struct ScratchTape<'a, T: Scalar> {
    owner: &'a Tape<T>,
    tape: Box<Tape<T>>,
    pools: Pools,
}

/// The pools of buffers that a scratch tape uses.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pools {
    /// Its own.
    Own,
    /// The owner's.
    Lent,
}

impl<T: Scalar> ScratchTape<'_, T> {
    /// Exchanges the pools with the owner's, if they are lent.
    fn trade_pools(&self) {
        if self.pools == Pools::Own {
            return;
        }
        self.owner.memory.pool.trade(&self.tape.memory.pool);
        self.owner.memory.index_pool.trade(&self.tape.memory.index_pool);
    }
}

impl<T: Scalar> Deref for ScratchTape<'_, T> {
    type Target = Tape<T>;

    fn deref(&self) -> &Tape<T> {
        &self.tape
    }
}

impl<T: Scalar> Drop for ScratchTape<'_, T> {
    fn drop(&mut self) {
        self.tape.reset();
        self.tape.snapshots.replace(None);
        self.trade_pools();
        self.owner.spare.replace(Some(std::mem::take(&mut self.tape)));
    }
}

/// The input nodes of a segment, each once, with its copy on the tape where the segment runs.
type Inputs<V> = SmallVec<[(u32, V); 4]>;

/// A segment that has run: its input nodes, each with its copy on the tape where the segment ran, and its result there.
pub(crate) struct SegmentRun<V> {
    pub(crate) inputs: Inputs<V>,
    pub(crate) y: V,
}

/// The inputs and parameters that the result of a segment depends on.
pub(crate) struct Dependencies<T> {
    /// The inputs that the result depends on: nodes of the tape where the segment was recorded.
    pub(crate) inputs: Vec<u32>,
    /// The parameters that the segment uses, and whether the result depends on each.
    pub(crate) params: Vec<(Param<T>, bool)>,
}

impl<T: Scalar> Tape<T> {
    /// Runs a segment of a computation and records only its result. A sweep runs the segment again, so its intermediate
    /// values are not kept.
    ///
    /// `segment` gets a tape and the inputs on it, and returns its result, which this tape records as one node. So a
    /// deep network keeps only the results of its segments, and the values of one segment while it runs. The price is
    /// that each segment runs twice. Gradients have the same bits as without the checkpoint. Segments nest.
    ///
    /// - `segment` must compute the same values each time. For example, draw a random mask outside and pass it as an
    ///   input.
    /// - It cannot borrow. It owns its data ([`Param`]s and `Arc`s are cheap to clone), and every `Var` it uses is an
    ///   input.
    /// - Parameters that it records with [`Tape::param`] accumulate their gradients. When it runs again they have their
    ///   values of the first run, even if an optimizer stepped in between. They cannot be targets of [`Var::grads`]
    ///   outside. A parameter that is a target must be recorded outside and be an input.
    /// - Recorded derivatives ([`Var::grads`], [`Var::jvp`], …) of any order go through it. They record the whole
    ///   segment, so they save no memory.
    ///
    /// # Panics
    ///
    /// If an input is on a different tape, or `segment` panics; the tape is then unchanged. A sweep panics, before any
    /// gradient changes, if the second run of the segment gives different values than the first.
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
    /// A segment cannot use a `Var` that is not an input:
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

        let scratch = self.scratch();
        // Within a segment that runs again, parameters have their values of the first run.
        let earlier = self.snapshots.borrow().clone().unwrap_or_default();
        scratch.snapshots.replace(Some(earlier));
        let y = scratch.run_function(&segment, self, &self.nodes(), &operands).y;
        let snapshots = scratch.snapshots.take().unwrap_or_default();
        let (buffer, shape, needs_grad) = {
            let nodes = scratch.nodes();
            let y_view = scratch.view(&nodes, y);
            let mut buffer = scratch.memory.pool.take(elements(y_view.shape));
            view::copy(y_view, y_view.shape, &mut buffer);
            (buffer, Shape::from(y_view.shape), nodes.node(y).needs_grad)
        };
        drop(scratch);

        if let Some(own) = &mut *self.snapshots.borrow_mut() {
            own.clone_from(&snapshots);
        }
        let segment = Segment { function: Box::new(segment), snapshots };
        let id = SegmentId(freeze(&self.recording.segments, Box::new(segment)));
        let (length, storage) = (buffer.len(), self.memory.keep(buffer));
        let detached = self.detaching.get() == Detach::Yes;
        let mut nodes = self.edit();
        let (shape, operands) = (nodes.add_dims(&shape), nodes.add_operands(&operands));
        let (step, needs_grad) = (Step::Checkpoint(id), needs_grad && !detached);
        self.memory.places.borrow_mut().push(Place::whole(storage, length));
        let id = nodes.push(step, Node { operands, shape, location, needs_grad, detached, read: Default::default() });
        drop(nodes);
        Var::new(self, id)
    }

    /// Returns the value of a parameter: the current one, or the one that the running segment used before.
    pub(super) fn param_value(&self, param: &Param<T>) -> Arc<dyn SharedStorage<T>> {
        match &mut *self.snapshots.borrow_mut() {
            None => param.value(),
            Some(snapshots) => {
                if let Some((_, value)) = snapshots.iter().find(|(known, _)| known.is(param)) {
                    return Arc::clone(value);
                }
                let value: Arc<dyn SharedStorage<T>> = param.value();
                snapshots.push((param.clone(), Arc::clone(&value)));
                value
            }
        }
    }

    /// Fixes the values of parameters while the result lives.
    fn pin(&self, snapshots: ParamSnapshots<T>) -> impl Drop {
        struct Pinned<'a, T>(&'a Tape<T>, Option<ParamSnapshots<T>>);
        impl<T> Drop for Pinned<'_, T> {
            fn drop(&mut self) {
                self.0.snapshots.replace(self.1.take());
            }
        }
        Pinned(self, self.snapshots.replace(Some(snapshots)))
    }

    /// Returns a tape to run a segment on.
    pub(crate) fn scratch(&self) -> ScratchTape<'_, T> {
        let scratch = ScratchTape { owner: self, tape: self.spare.take().unwrap_or_default(), pools: Pools::Lent };
        scratch.trade_pools();
        scratch.observe(self.observer());
        scratch
    }

    /// Returns a tape for the rule of a custom operation. It has its own pools of buffers.
    pub(crate) fn scratch_for_rules(&self) -> ScratchTape<'_, T> {
        ScratchTape { owner: self, tape: self.spare.take().unwrap_or_default(), pools: Pools::Own }
    }

    /// Runs the segment of a node again on the tape `scratch`.
    ///
    /// # Panics
    ///
    /// If it gives different values than in the first run.
    pub(crate) fn run_segment(&self, nodes: &Nodes<T>, id: u32, scratch: &ScratchTape<'_, T>) -> SegmentRun<u32> {
        let Segment { function, snapshots } = self.segment(nodes, id);
        scratch.snapshots.replace(Some(snapshots.clone()));
        let ran = scratch.run_function(function, self, nodes, nodes.operands(id));
        self.assert_repeats(nodes, id, scratch, &scratch.nodes(), ran.y);
        ran
    }

    /// Runs the segment of a node again and returns what its result depends on.
    pub(crate) fn segment_reach(&self, nodes: &Nodes<T>, id: u32) -> Dependencies<T> {
        let scratch = self.scratch();
        scratch.observe(None);
        let SegmentRun { inputs, y } = self.run_segment(nodes, id, &scratch);
        let own = scratch.nodes();
        let depends = |on: u32| own.node(y).needs_grad && Dependence::new(&own, y, std::iter::once(on)).has(y);
        let inputs = inputs.iter().filter(|&&(_, input)| depends(input)).map(|&(operand, _)| operand).collect();
        let mut params: Vec<(Param<T>, bool)> = Vec::new();
        for &(param_id, ref param) in own.params() {
            match params.iter_mut().find(|(known, _)| known.is(param)) {
                Some((_, reached)) => *reached |= depends(param_id),
                None => params.push((param.clone(), depends(param_id))),
            }
        }
        // A parameter of a nested segment. It is assumed to be reached, because the nested segment is not searched.
        for (param, _) in &self.segment(nodes, id).snapshots {
            if !params.iter().any(|(known, _)| known.is(param)) {
                params.push((param.clone(), true));
            }
        }
        Dependencies { inputs, params }
    }

    /// Records the segment of a node on this tape, on new nodes that alias its inputs. A derivative by these nodes
    /// stops at them, so it is the derivative by the inputs alone.
    pub(crate) fn record_segment(&self, id: u32) -> SegmentRun<Var<'_, T>> {
        // The segment is attached, even if the derivative that records it is detached.
        let _attaching = self.detach_all(Detach::No);
        let (segment, operands) = {
            let nodes = self.nodes();
            (self.segment(&nodes, id), SmallVec::<[u32; 4]>::from_slice(nodes.operands(id)))
        };
        let _pinned = self.pin(segment.snapshots.clone());
        let alias = |x: u32| {
            let shape = Shape::from(self.nodes().shape(x));
            self.apply(Linear::BroadcastTo { shape }, &[x])
        };
        let (inputs, values) = stand_ins(&operands, alias);
        let y = (segment.function)(self, &values);
        assert!(std::ptr::eq(y.tape(), self), "checkpoint: the segment returned a Var of another tape");
        let nodes = self.nodes();
        self.assert_repeats(&nodes, id, self, &nodes, y.id());
        SegmentRun { inputs, y }
    }

    /// Returns whether a segment has used the parameter. A sweep that records gives no gradient by such a parameter.
    pub(crate) fn is_param_of_segment(&self, param: &Param<T>) -> bool {
        self.recording.segments.iter().any(|segment| segment.snapshots.iter().any(|(pinned, _)| pinned.is(param)))
    }

    /// Returns name and shape of the parameters that the segment of a node used.
    pub(crate) fn segment_params(&self, nodes: &Nodes<T>, id: u32) -> Vec<(String, Shape)> {
        let snapshots = &self.segment(nodes, id).snapshots;
        snapshots.iter().map(|(param, _)| (param.name().to_string(), param.shape().clone())).collect()
    }

    fn segment(&self, nodes: &Nodes<T>, id: u32) -> &Segment<T> {
        let Step::Checkpoint(segment) = *nodes.step(id) else { unreachable!("the node is not a checkpoint") };
        &self.recording.segments[segment.0 as usize]
    }

    /// Runs a segment's function on this tape, on copies of the values of another tape.
    fn run_function(
        &self,
        function: &(impl for<'s> Fn(&'s Self, &[Var<'s, T>]) -> Var<'s, T> + ?Sized),
        owner: &Self,
        nodes: &Nodes<T>,
        operands: &[u32],
    ) -> SegmentRun<u32> {
        let (inputs, values) = stand_ins(operands, |id| Var::new(self, self.adopt(owner, nodes, id)));
        let y = function(self, &values);
        assert!(std::ptr::eq(y.tape(), self), "checkpoint: the segment returned a Var of another tape");
        SegmentRun { inputs: inputs.into_iter().map(|(operand, input)| (operand, input.id())).collect(), y: y.id() }
    }

    /// Records a copy of another tape's value: a leaf if the value needs a gradient, else a constant.
    fn adopt(&self, owner: &Self, nodes: &Nodes<T>, id: u32) -> u32 {
        let (node, x) = (nodes.node(id), owner.view(nodes, id));
        let mut buffer = self.memory.pool.take(elements(x.shape));
        view::copy(x, x.shape, &mut buffer);
        let step = if node.needs_grad { Step::Leaf } else { Step::Constant };
        self.push_source(step, x.shape, self.memory.keep(buffer), node.location)
    }

    /// Asserts that the second run of a segment gave the same value as node `id`.
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

/// Returns a stand-in for each distinct operand, and the list of the operands' stand-ins.
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
