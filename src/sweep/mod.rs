//! Sweeps: from a value back to all that it depends on, by the rules of the table, and forward the other way.
//!
//! [`backward`] runs the rules on arrays, [`grad`] runs the same rules on `Var`s. Both visit nodes by descending number, which
//! is topological order, so nothing is sorted and nothing recurses, and both add cotangents up in the same order, but
//! for those of a transposed operand of a matrix product, which the sweep on arrays takes straight to the matrix, and those
//! of elements that are chosen several times, which it adds to the others one by one.
//! [`jvp`] goes forward.

mod arrays;
mod forward;
mod record;

pub(crate) use arrays::{Workspace, backward, leaf_grads, search};
pub(crate) use forward::jvp;
pub(crate) use record::grad;

use crate::custom::CustomOp;
use crate::op::Op;
use crate::scalar::Scalar;
use crate::shape::Shape;
use crate::tape::Tape;
use crate::var::Var;

/// Which nodes depend on one of a few targets.
pub(crate) struct Dependence {
    /// The first target: no node before it depends on one.
    pub(crate) lowest: u32,
    depends: Vec<bool>,
}

impl Dependence {
    /// Looks at all nodes up to `last`.
    pub(crate) fn new<T: Scalar>(tape: &Tape<T>, last: u32, targets: impl Iterator<Item = u32> + Clone) -> Self {
        let targets = targets.filter(|&target| target <= last);
        let lowest = targets.clone().min().unwrap_or(last + 1);
        let mut dependence = Self { lowest, depends: vec![false; (last + 1 - lowest) as usize] };
        for target in targets {
            dependence.depends[(target - lowest) as usize] = true;
        }
        let nodes = tape.nodes();
        for id in lowest..=last {
            let node = nodes.node(id);
            let mut operands = nodes.operands(id).iter().enumerate();
            if !node.detached && operands.any(|(k, &x)| dependence.has(x) && node.op.passes(k)) {
                dependence.depends[(id - lowest) as usize] = true;
            }
        }
        dependence
    }

    /// Returns whether a node depends on a target, or is one.
    pub(crate) fn has(&self, id: u32) -> bool {
        id.checked_sub(self.lowest).is_some_and(|position| self.depends.get(position as usize) == Some(&true))
    }
}

/// Panics if what a custom operation's rule returned is no cotangent of its operand `k`.
fn assert_fits<T: Scalar>(custom: &dyn CustomOp<T>, k: usize, result: Var<'_, T>, tape: &Tape<T>, operand: Shape) {
    let name = custom.name();
    assert!(std::ptr::eq(result.tape(), tape), "{name}: vjp returned a Var of another tape");
    if let Err(error) = Op::<T>::SumTo(operand).shape(&[&result.shape()]) {
        panic!("{name}: vjp returned a cotangent that does not fit operand {k}: {error}");
    }
}
