//! Modules of any number of inputs, and the graph that connects them.

mod dot_product;
mod graph;
mod module;
mod sum;
mod vector;

pub use dot_product::DotProduct;
pub use graph::{Graph, NodeId};
pub use module::NaryModule;
pub use sum::Sum;
pub use vector::Vector;
