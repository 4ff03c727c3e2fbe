//! Sums over some nodes of the tree, for a process that runs a part of the chunks.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::accumulate::{Chunks, finish, sweep, weigh};
use super::rows::Rows;
use super::tree::{Computed, Failure, Tree};
use crate::param::Gradients;
use crate::scalar::Scalar;
use crate::tape::{Tape, Var};

/// What a process makes of its chunks.
pub(crate) struct Sums<'a, T> {
    /// The nodes of the tree to run.
    pub(crate) nodes: &'a [Range<usize>],
    /// Takes the node's position in the list, and its loss and gradients.
    pub(crate) each: &'a mut dyn FnMut(usize, f64, &Gradients<T>),
}

impl<T: Scalar> Chunks<T> {
    /// Runs the chunks of some nodes on tapes, and hands over the sums of each node. Returns the rows of the first chunk
    /// whose loss is not finite, if any.
    #[track_caller]
    pub(crate) fn sums_on_tapes<E, F>(
        &self,
        rows: Rows<'_, T>,
        record: F,
        sums: Sums<'_, T>,
    ) -> Result<Option<Range<usize>>, E>
    where
        E: Send,
        F: for<'t> Fn(&'t Tape<T>, Range<usize>) -> Result<Var<'t, T>, E> + Sync,
    {
        let depends = AtomicBool::new(false);
        self.sums(rows, sums, |tape, range| {
            let result = sweep(tape, &rows, range, &record, &depends);
            tape.reset();
            result
        })
    }
}

impl<T: Scalar, S: Send> Chunks<T, S> {
    /// Does the same with hand-derived layers.
    #[track_caller]
    pub(crate) fn sums_by_hand<E, F>(
        &self,
        rows: Rows<'_, T>,
        pass: F,
        sums: Sums<'_, T>,
    ) -> Result<Option<Range<usize>>, E>
    where
        E: Send,
        F: Fn(&mut S, Range<usize>) -> Result<T, E> + Sync,
    {
        self.sums(rows, sums, |state, range| weigh(&rows, range, |range| pass(state, range)))
    }

    #[track_caller]
    fn sums<E: Send>(
        &self,
        rows: Rows<'_, T>,
        sums: Sums<'_, T>,
        chunk: impl Fn(&mut S, Range<usize>) -> Result<Computed<T>, Failure<E>> + Sync,
    ) -> Result<Option<Range<usize>>, E> {
        let not_finite = AtomicUsize::new(usize::MAX);
        let tree = Tree::new(&self.kept, &*self.make, self.size, rows.count(), |state: &mut S, range: Range<usize>| {
            let computed = chunk(state, range.clone())?;
            if !computed.loss.is_finite() {
                not_finite.fetch_min(range.start, Ordering::Relaxed);
            }
            Ok(computed)
        });
        for (position, node) in sums.nodes.iter().enumerate() {
            let part = tree.run_subtree(node.clone());
            let loss = part.map(|part| {
                (sums.each)(position, part.loss, &part.gradients);
                self.kept.give_back(part.gradients);
                part.loss
            });
            finish::<T, E>(loss)?;
        }
        let start = not_finite.into_inner();
        Ok((start < usize::MAX).then(|| start..rows.count().min(start + self.size)))
    }
}
