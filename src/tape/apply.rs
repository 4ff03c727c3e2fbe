//! Recording: a step is evaluated and becomes a node.

use std::cell::Cell;
use std::panic::Location;
use std::slice;
use std::sync::Arc;

use ndarray::{ArrayViewD, ArrayViewMutD, IxDyn};
use smallvec::SmallVec;

use super::memory::Place;
use super::nodes::{CustomId, Dims, Node, Nodes, Step, id_of};
use super::{CustomOp, Detach, Tape, Var};
use crate::kernel::view::View;
use crate::op::{Evaluated, IndexList, Linear, Op, evaluate};
use crate::scalar::Scalar;
use crate::shape::{Shape, ShapeError, check_memory, check_size, elements};

impl<T: Scalar> Tape<T> {
    /// Evaluates a step on nodes of this tape and records it: the one way by which a computed node comes to be.
    ///
    /// # Panics
    ///
    /// If the step does not take operands of these shapes.
    #[inline]
    #[track_caller]
    pub(crate) fn apply(&self, step: impl Into<Step<T>>, operands: &[u32]) -> Var<'_, T> {
        self.apply_step(step.into(), operands)
    }

    #[track_caller]
    fn apply_step(&self, step: Step<T>, operands: &[u32]) -> Var<'_, T> {
        match self.try_apply(step, operands, Location::caller()) {
            Ok(id) => self.checked_var(id),
            Err(error) => panic!("{}", self.explain(&error, operands)),
        }
    }

    #[inline]
    #[track_caller]
    fn try_apply(
        &self,
        step: Step<T>,
        operands: &[u32],
        location: &'static Location<'static>,
    ) -> Result<u32, ShapeError> {
        let nodes = self.nodes();
        let Evaluation { shape, strides, place } = match self.same_shape(&nodes, &step, operands) {
            Some(shape) => {
                let place = self.compute(&nodes, &step, operands, nodes.dims(shape))?;
                Evaluation { shape: NewDims::Known(shape), strides: None, place }
            }
            None => self.evaluate_shaped(&nodes, &step, operands)?,
        };
        let differentiable = operands.iter().enumerate().any(|(k, &x)| nodes.node(x).needs_grad && step.passes(k));
        drop(nodes);

        let mut nodes = self.edit();
        let shape = match shape {
            NewDims::Known(dims) => dims,
            NewDims::New(dims) => nodes.add_dims(&dims),
        };
        let strides = strides.map(|strides| nodes.add_dims(&strides));
        let operands = nodes.add_operands(operands);
        let detached = self.detaching.get() == Detach::Yes;
        let location = self.origin.get().unwrap_or(location);
        self.memory.places.borrow_mut().push(Place { strides, ..place });
        let needs_grad = differentiable && !detached;
        Ok(nodes.push(step, Node { operands, shape, location, needs_grad, detached, read: Cell::default() }))
    }

    /// Returns whether a derivative can pass to one of these operands from what is recorded next.
    pub(crate) fn differentiates(&self, operands: &[u32]) -> bool {
        let nodes = self.nodes();
        self.detaching.get() == Detach::No && operands.iter().any(|&x| nodes.node(x).needs_grad)
    }

    /// Returns the shape of an elementwise operation whose operands have the same, or one the last axes of the other, as
    /// a bias has. Most operations are such, and need no shape rule.
    #[inline]
    fn same_shape(&self, nodes: &Nodes<T>, step: &Step<T>, operands: &[u32]) -> Option<Dims> {
        match (step, operands) {
            (Step::Op(Op::Unary(_)), &[x]) => Some(nodes.node(x).shape),
            (Step::Op(Op::Binary(_)), &[a, b]) => {
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

    /// Runs the shape rule, then evaluates.
    #[inline]
    fn evaluate_shaped(&self, nodes: &Nodes<T>, step: &Step<T>, operands: &[u32]) -> Result<Evaluation, ShapeError> {
        let shapes: SmallVec<[&[usize]; 4]> = operands.iter().map(|&id| nodes.shape(id)).collect();
        let shape = match step {
            Step::Op(op) => op.shape(&shapes)?,
            Step::Custom(id) => self.custom_op(*id).shape(&shapes)?,
            Step::Leaf | Step::Constant | Step::Param | Step::Checkpoint(_) => Shape::default(),
        };
        let refuse = |finding| ShapeError::new(self.name(step), &shapes, finding);
        check_size(&shape).map_err(refuse)?;
        if let (Step::Op(op), &[x]) = (step, operands)
            && let Some((layout, offset)) = op.view(&[self.view(nodes, x)], &shape)
        {
            let place = self.memory.place(x);
            let strides = layout.strides();
            let length = if strides.is_none() { elements(&shape) } else { place.length - offset };
            let place = Place { offset: place.offset + offset, length, ..Place::whole(place.storage, 0) };
            return Ok(Evaluation { shape: NewDims::New(shape), strides, place });
        }
        check_memory(&shape).map_err(refuse)?;
        let place = self.compute(nodes, step, operands, &shape)?;
        Ok(Evaluation { shape: NewDims::New(shape), strides: None, place })
    }

    /// Runs a step into a new buffer.
    #[inline]
    fn compute(
        &self,
        nodes: &Nodes<T>,
        step: &Step<T>,
        operands: &[u32],
        shape: &[usize],
    ) -> Result<Place, ShapeError> {
        let length = elements(shape);
        let Some(mut buffer) = self.memory.pool.try_take(length) else {
            return Err(self.too_large(nodes, step, operands, shape));
        };
        let pool = &self.memory.pool;
        match (step, operands) {
            // Without a list of operands: the paths that are taken most.
            (Step::Op(op), &[x]) => {
                let x = self.view(nodes, x);
                T::run(op, slice::from_ref(&x), shape, &mut buffer, &nodes.data, pool);
            }
            (Step::Op(op), &[a, b]) => {
                T::run(op, &[self.view(nodes, a), self.view(nodes, b)], shape, &mut buffer, &nodes.data, pool);
            }
            (Step::Op(op), _) => T::run(op, &self.views(nodes, operands), shape, &mut buffer, &nodes.data, pool),
            (Step::Custom(id), _) => {
                let views = self.views(nodes, operands);
                let operands: SmallVec<[ArrayViewD<'_, T>; 4]> = views.iter().map(View::array).collect();
                let result = ArrayViewMutD::from_shape(IxDyn(shape), &mut buffer[..]);
                self.custom_op(*id).forward(&operands, result.expect("the buffer has the result's shape"));
            }
            (Step::Leaf | Step::Constant | Step::Param | Step::Checkpoint(_), _) => {}
        }
        Ok(Place::whole(self.memory.keep(buffer), length))
    }

    #[inline]
    fn views<'a>(&'a self, nodes: &'a Nodes<T>, operands: &[u32]) -> SmallVec<[View<'a, T>; 4]> {
        operands.iter().map(|&id| self.view(nodes, id)).collect()
    }

    #[cold]
    fn too_large(&self, nodes: &Nodes<T>, step: &Step<T>, operands: &[u32], shape: &[usize]) -> ShapeError {
        let shapes: SmallVec<[&[usize]; 4]> = operands.iter().map(|&id| nodes.shape(id)).collect();
        let finding = format!(
            "there is no memory for a result of shape {}, {} bytes",
            Shape::from(shape),
            elements(shape).saturating_mul(size_of::<T>())
        );
        ShapeError::new(self.name(step), &shapes, finding)
    }

    /// Evaluates an operation on arrays that are not recorded, with the index lists of this tape.
    #[inline]
    pub(crate) fn evaluate(
        &self,
        nodes: &Nodes<T>,
        op: &Op<T>,
        operands: &[View<'_, T>],
        shape: &[usize],
    ) -> Evaluated<'_, T> {
        evaluate(op, operands, shape, &nodes.data, &self.memory.pool)
    }

    /// Keeps a list of indices until reset.
    #[track_caller]
    pub(crate) fn index_list(&self, indices: impl ExactSizeIterator<Item = usize>) -> IndexList {
        self.index_list_with(indices.len(), |list| {
            list.iter_mut().zip(indices).for_each(|(to, index)| *to = id_of(index))
        })
    }

    /// Keeps a list of indices until reset; `fill` writes every one of them.
    #[track_caller]
    pub(crate) fn index_list_with(&self, length: usize, fill: impl FnOnce(&mut [u32])) -> IndexList {
        let mut list = self.memory.index_pool.take(length);
        fill(&mut list);
        self.edit().data.push(list)
    }

    /// Keeps a custom operation until reset.
    pub(crate) fn keep_custom(&self, custom: Arc<dyn CustomOp<T>>) -> CustomId {
        CustomId(super::memory::freeze(&self.recording.customs, Box::new(custom)))
    }

    /// Returns a custom operation.
    #[inline]
    pub(crate) fn custom_op(&self, id: CustomId) -> &dyn CustomOp<T> {
        &*self.recording.customs[id.0 as usize]
    }

    /// Records an array of zeros: one 0, repeated.
    #[track_caller]
    pub(crate) fn zeros(&self, shape: Shape) -> Var<'_, T> {
        let zero = self.constant(T::ZERO);
        self.apply(Linear::BroadcastTo { shape }, &[zero.id])
    }
}

/// A result: its shape, and where it lies.
struct Evaluation {
    shape: NewDims,
    /// The strides that its place will have.
    strides: Option<Shape>,
    place: Place,
}

enum NewDims {
    Known(Dims),
    New(Shape),
}
