//! Printing: nodes by number, step, operands, shape and line.

use std::fmt;

use super::Tape;
use super::nodes::{Nodes, Step};
use crate::scalar::Scalar;
use crate::shape::{Shape, ShapeError};

impl<T: Scalar> Tape<T> {
    /// Returns a shape error with the places where its operands were made.
    #[cold]
    pub(crate) fn explain(&self, error: &ShapeError, operands: &[u32]) -> String {
        let nodes = self.nodes();
        let mut text = error.to_string();
        for (k, &id) in operands.iter().enumerate() {
            text += &format!("\n  operand {k}: {}", self.describe_node(&nodes, id));
        }
        text
    }

    /// Returns number, operation, shape and line of a node.
    #[cold]
    pub(crate) fn describe(&self, id: u32) -> String {
        self.describe_node(&self.nodes(), id)
    }

    pub(super) fn describe_node(&self, nodes: &Nodes<T>, id: u32) -> String {
        let (node, shape) = (nodes.node(id), Shape::from(nodes.shape(id)));
        let detached = if node.detached { "detached " } else { "" };
        format!("%{id} = {detached}{} {shape}, recorded at {}", self.call(nodes.step(id)), node.location)
    }

    /// Returns the name of an operation, of a custom one its own.
    pub(crate) fn name(&self, step: &Step<T>) -> &'static str {
        match step {
            Step::Custom(custom) => self.custom_op(*custom).name(),
            step => step.name(),
        }
    }

    /// Returns the operation as a call, a custom one by its own name.
    pub(crate) fn call(&self, step: &Step<T>) -> String {
        match step {
            Step::Custom(custom) => self.custom_op(*custom).name().to_string(),
            step => step.to_string(),
        }
    }
}

/// Prints the program: a numbered line per node with operation, operands, shape, and who recorded it.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::Tape;
///
/// let tape = Tape::new();
/// let x = tape.leaf(array![1.0, 2.0]);
/// let _ = (x * 0.5).sum();
/// let text = tape.to_string();
/// let lines: Vec<&str> = text.lines().collect();
/// assert!(lines[0].starts_with("%0 = leaf : (2,)"));
/// assert!(lines[1].starts_with("%1 = scale[0.5] %0 : (2,)"));
/// assert!(lines[2].starts_with("%2 = sum[axes [0]] %1 : ()"));
/// ```
impl<T: Scalar> fmt::Display for Tape<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes = self.nodes();
        let width = nodes.len().saturating_sub(1).to_string().len();
        for id in nodes.ids() {
            let node = nodes.node(id);
            let name = self.call(nodes.step(id));
            let operands: String = nodes.operands(id).iter().map(|operand| format!(" %{operand}")).collect();
            let line = format!(
                "{:<pad$} = {}{name}{operands} : {}",
                format!("%{id}"),
                if node.detached { "detached " } else { "" },
                Shape::from(nodes.shape(id)),
                pad = width + 1
            );
            writeln!(f, "{line:<60} {}:{}", node.location.file(), node.location.line())?;
        }
        Ok(())
    }
}

/// Prints the program, as [`Display`](fmt::Display) does.
impl<T: Scalar> fmt::Debug for Tape<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Tape of {} nodes", self.len())?;
        fmt::Display::fmt(self, f)
    }
}
