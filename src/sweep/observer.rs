//! [`Observer`]: sees the cotangents of a sweep on arrays when they are computed, and may stop the sweep.

use std::ops::ControlFlow;

use crate::kernel::view::View;
use crate::tape::{Nodes, Tape};

/// Watches a sweep on arrays. If it stops the sweep, no gradient changes.
pub(crate) trait Observer<T> {
    /// Called with the seed of a sweep that starts from node `from`.
    fn seed(&mut self, nodes: &Nodes<T>, from: u32, seed: View<'_, T>) -> ControlFlow<()>;

    /// Called when the sweep enters a tape: the outer one or the tape of a segment. Some nodes already have a
    /// cotangent.
    fn enter(&mut self, cotangents: &[Option<Vec<T>>]);

    /// Called before the rules of a node run on its cotangent.
    fn before(&mut self, g: View<'_, T>);

    /// Called after the rules of node `id` ran, with the cotangents of all nodes. The rule for operand `k` added to the
    /// cotangent of the node [`destination`](super::destination).
    fn after(&mut self, tape: &Tape<T>, nodes: &Nodes<T>, id: u32, cotangents: &[Option<Vec<T>>]) -> ControlFlow<()>;

    /// Called when the sweep leaves the tape that it entered last.
    fn leave(&mut self);
}
