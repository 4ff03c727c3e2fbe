//! Losses: training makes them small.

mod criterion;
mod elementwise;
mod softmax_cross_entropy;

pub use criterion::Loss;
pub use elementwise::{CrossEntropy, Hinge, Mse, Perceptron};
pub use softmax_cross_entropy::SoftmaxCrossEntropy;
