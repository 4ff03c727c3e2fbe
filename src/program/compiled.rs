//! [`Compiled`]: what a program computes, and how.

use super::graph::Graph;
use super::plan::Plan;
use crate::scalar::Scalar;

/// What a program computes, and how.
pub(super) struct Compiled<T> {
    pub(super) graph: Graph<T>,
    pub(super) plan: Plan<T>,
}

impl<T: Scalar> Compiled<T> {
    pub(super) fn new(mut graph: Graph<T>) -> Self {
        let plan = Plan::new(&mut graph);
        Self { graph, plan }
    }
}
