//! Reading: values, and gradients of leaves.

use ndarray::{ArrayD, ArrayViewD, IxDyn, ShapeBuilder};

use super::Tape;
use super::memory::{LeafGrad, Place, freeze};
use super::nodes::{Nodes, id_of};
use crate::kernel::elementwise::add_assign;
use crate::kernel::view::View;
use crate::scalar::Scalar;

impl<T: Scalar> Tape<T> {
    /// Returns the value of a node.
    #[inline]
    pub(crate) fn view<'a>(&'a self, nodes: &'a Nodes<T>, id: u32) -> View<'a, T> {
        // Read where it lies: a copy of a place that was written just now would wait for the writes.
        let places = self.memory.places.borrow();
        let place = &places[id as usize];
        View {
            data: self.memory.data(place),
            shape: nodes.shape(id),
            strides: place.strides.map(|strides| nodes.dims(strides)),
        }
    }

    /// Returns whether a value lies in row-major order without gaps.
    #[inline]
    pub(crate) fn is_row_major(&self, id: u32) -> bool {
        self.memory.place(id).strides.is_none()
    }

    /// Returns the value of a node as an array, which lives as long as the record.
    pub(crate) fn array(&self, id: u32) -> ArrayViewD<'_, T> {
        let (nodes, place) = (self.nodes(), self.memory.place(id));
        let (data, shape) = (self.memory.data(&place), nodes.shape(id));
        // Not by way of `view`, whose shape is borrowed from the list of nodes.
        match place.strides {
            Some(strides) => ArrayViewD::from_shape(IxDyn(shape).strides(IxDyn(nodes.dims(strides))), data),
            None => ArrayViewD::from_shape(IxDyn(shape), data),
        }
        .expect("a node's memory holds its shape")
    }

    /// Returns the gradient of a leaf. From now on it stays as it is, for a view of it is out: a later sweep adds to a copy.
    pub(crate) fn leaf_grad(&self, id: u32) -> Option<ArrayViewD<'_, T>> {
        let position = self.memory.place(id).grad?;
        let mut grads = self.memory.grads.borrow_mut();
        let grad = &mut grads[position as usize];
        let buffer = match std::mem::replace(grad, LeafGrad::Read(0)) {
            LeafGrad::Private(buffer) => freeze(&self.memory.buffers, buffer),
            LeafGrad::Read(buffer) => buffer,
        };
        *grad = LeafGrad::Read(buffer);
        let view = ArrayViewD::from_shape(IxDyn(self.nodes().shape(id)), &self.memory.buffers[buffer as usize]);
        Some(view.expect("a gradient has its leaf's shape"))
    }

    /// Adds to the gradient of a leaf: in place, unless a view of it was handed out.
    #[inline]
    pub(crate) fn add_leaf_grad(&self, id: u32, mut g: Vec<T>) {
        let mut places = self.memory.places.borrow_mut();
        let Place { grad, .. } = &mut places[id as usize];
        let mut grads = self.memory.grads.borrow_mut();
        let Some(position) = *grad else {
            *grad = Some(id_of(grads.len()));
            return grads.push(LeafGrad::Private(g));
        };
        match &mut grads[position as usize] {
            LeafGrad::Private(sum) => {
                // As the recorded sweep adds: the later contribution to the earlier sum.
                add_assign(sum, &g);
                self.memory.pool.put(g);
            }
            read @ LeafGrad::Read(_) => {
                if let LeafGrad::Read(earlier) = *read {
                    add_assign(&mut g, &self.memory.buffers[earlier as usize]);
                }
                *read = LeafGrad::Private(g);
            }
        }
    }

    /// Keeps a copy of an array until reset and returns a view of it.
    pub(crate) fn keep(&self, array: &ArrayD<T>) -> ArrayViewD<'_, T> {
        let mut buffer = self.memory.pool.take(array.len());
        buffer.iter_mut().zip(array).for_each(|(to, &from)| *to = from);
        let id = freeze(&self.memory.buffers, buffer);
        ArrayViewD::from_shape(array.raw_dim(), &self.memory.buffers[id as usize])
            .expect("a copy has the array's shape")
    }
}
