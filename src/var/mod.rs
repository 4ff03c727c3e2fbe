//! The methods and operators of [`Var`](crate::Var). Each records an operation.

mod diagonal;
mod differentiate;
mod elementwise;
mod index;
mod linalg;
mod loss;
mod operators;
mod read;
mod record;
mod reduce;
mod shape;
mod split;
mod window;

pub use window::Size2d;
