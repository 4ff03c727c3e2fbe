//! The methods and operators of [`Var`](crate::Var). Each records an operation.

mod activation;
mod cross_entropy;
mod diagonal;
mod differentiate;
mod distance;
mod einsum;
mod elementwise;
mod index;
mod linalg;
mod loss;
mod operand;
mod operators;
mod order;
mod read;
mod record;
mod reduce;
mod reduce_axis;
mod scan;
mod shape;
mod split;
mod window;

pub use cross_entropy::CrossEntropyOptions;
pub use operand::Operand;
pub use window::Size2d;
