//! [`Observer`]: looks at the cotangents of a sweep on arrays as they come to be, and may stop it.

use std::ops::ControlFlow;

use crate::kernel::view::View;
use crate::tape::{Nodes, Tape};

/// Looks at a sweep on arrays. If it stops the sweep, no gradient changes.
pub(crate) trait Observer<T> {
    /// Looks at the seed of the sweep that starts from node `from`.
    fn seed(&mut self, nodes: &Nodes<T>, from: u32, seed: View<'_, T>) -> ControlFlow<()>;

    /// The sweep enters a tape, the outer one or that of a segment, where some nodes hold a cotangent already.
    fn enter(&mut self, cotangents: &[Option<Vec<T>>]);

    /// The rules of a node are about to run on its cotangent.
    fn before(&mut self, g: View<'_, T>);

    /// The rules of node `id` ran: looks at the cotangents of its operands. The cotangent of operand `k` is that of node
    /// [`destination`](super::destination).
    fn after(&mut self, tape: &Tape<T>, nodes: &Nodes<T>, id: u32, cotangents: &[Option<Vec<T>>]) -> ControlFlow<()>;

    /// The sweep leaves the tape that it entered last.
    fn leave(&mut self);
}
