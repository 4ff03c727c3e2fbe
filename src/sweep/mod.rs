//! Sweeps over the nodes of a tape: backward from a value to everything that it depends on, and forward.
//!
//! [`backward`] runs the rules on arrays, [`grad`] runs the same rules on `Var`s. Both visit nodes by descending
//! number. That is a topological order, so nothing is sorted and nothing recurses. Both add cotangents in the same
//! order, with two exceptions:
//!
//! 1. matmul by a transposed operand adds to the untransposed matrix;
//! 2. index_add adds duplicates one at a time.
//!
//! [`batch_grads`] sweeps backward on arrays for several cotangents at once. [`jvp`] sweeps forward. An [`Observer`] can watch a sweep on arrays.

mod arrays;
mod batch;
mod forward;
mod observer;
mod on_arrays;
mod on_vars;
mod record;

pub(crate) use arrays::{backward, destination, finite_gradients, source_grads};
pub(crate) use batch::batch_grads;
pub(crate) use forward::jvp;
pub(crate) use observer::Observer;
pub(crate) use record::grad;
