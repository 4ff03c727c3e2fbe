//! The vocabulary of [`Var`](crate::Var): its methods and operators, which record.

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
mod window;

pub use window::Size2d;
