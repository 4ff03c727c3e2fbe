//! [`Dependence`]: which nodes depend on one of a few targets.

use super::nodes::Nodes;
use crate::number::Number;

/// Which nodes depend on one of a few targets.
pub(crate) struct Dependence {
    /// The first target: no node before it depends on one.
    pub(crate) lowest: u32,
    depends: Vec<bool>,
}

impl Dependence {
    /// Looks at all nodes up to `last`.
    pub(crate) fn new<T: Number>(nodes: &Nodes<T>, last: u32, targets: impl Iterator<Item = u32> + Clone) -> Self {
        let targets = targets.filter(|&target| target <= last);
        let lowest = targets.clone().min().unwrap_or(last + 1);
        let mut dependence = Self { lowest, depends: vec![false; (last + 1 - lowest) as usize] };
        for target in targets {
            dependence.depends[(target - lowest) as usize] = true;
        }
        for id in lowest..=last {
            let node = nodes.node(id);
            let mut operands = nodes.operands(id).iter().enumerate();
            if !node.detached && operands.any(|(k, &x)| dependence.has(x) && nodes.step(id).passes(k)) {
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
