//! Reverse-mode automatic differentiation on a tape, for [`ndarray`] arrays of `f32` and `f64`, and beside it a
//! neural-network library derived by hand. Both train the same network on the same parameters, and each is the
//! other's witness.
//!
//! # The idea
//!
//! Every operation goes through one function, and two interpreters run it: **arrays compute, [`Var`]s record**. Every
//! derivative rule is written **once**, for both. So [`Var::backward`] sweeps on arrays, with fused kernels and recycled
//! buffers, and [`Var::grads`] sweeps on `Var`s with the same rules: its gradients lie on the tape and can be differentiated
//! again.
//!
//! | call | what runs | what it gives |
//! |---|---|---|
//! | [`Var::backward`] | the sweep on arrays; nothing is recorded | `.grad()` of every leaf and [`Param`], accumulated |
//! | [`Var::grads`] | the same sweep on `Var`s | gradients as `Var`s, of any order |
//! | [`nn::Module`] | formulas derived by hand, independent of the rules | the second witness |
//!
//! # One worked gradient
//!
//! For `f(x, w) = tanh(x w)²` at `x = 0.5`, `w = 2` the chain rule gives `∂f/∂w = 2 tanh(1) (1 - tanh²(1)) · 0.5`:
//!
//! ```
//! use tapegrad::prelude::*;
//!
//! let tape = Tape::<f64>::new();
//! let x = tape.constant(0.5);
//! let w = tape.leaf(2.0);
//! let f = (x * w).tanh().square(); // %2 = mul, %3 = tanh, %4 = square
//!
//! // The sweep visits %4, %3, %2 and hands each operand its cotangent:
//! //   %4 square: g = 1        -> 2 y          for %3, y = tanh(1)
//! //   %3 tanh:   g = 2 y      -> g (1 - y²)   for %2
//! //   %2 mul:    g            -> g x          for w; x is a constant and gets none
//! f.backward();
//!
//! let y = 1.0_f64.tanh();
//! let by_hand = 2.0 * y * (1.0 - y * y) * 0.5;
//! assert!((w.grad().unwrap().sum() - by_hand).abs() < 1e-15);
//! assert!(x.grad().is_none());
//! ```
//!
//! # Map
//!
//! | module | what |
//! |---|---|
//! | [`Tape`], [`Var`] | the record, and handles to its values: operators and methods record |
//! | [`Param`] | a trainable array and its gradient, shared by layer, tape and optimizer |
//! | [`op`] | what an operation is; the rows of the table of derivatives as data |
//! | [`CustomOp`] | operations of one's own |
//! | [`nn`] | the hand-derived path: [`Module`](nn::Module), layers, [`Sequential`](nn::Sequential), losses |
//! | [`optim`] | optimizers, for both paths |
//! | [`data`] | digits from `.npy` files, batches, accuracy |
//! | [`shape`] | broadcasting, and the error that says what does not fit |
//!
//! # Words
//!
//! A **tape** is a list of **nodes**: an **op**, its operands, and its **value**. A **leaf** is a differentiable input, a
//! **constant** one that is not. A **sweep** runs backward from a **seed** and hands every node its **cotangent** `g`, the
//! derivative of the result by the node's value. The rule that turns the cotangent of a result into one of an operand
//! is a **vjp** (vector-Jacobian product). Contributions to one cotangent **accumulate**.
//!
//! # Promises at the edges
//!
//! | case | gradient |
//! |---|---|
//! | `relu`, `abs`, `sign` at 0 | 0 |
//! | ties in `max` | shared evenly; `maximum(a, a)`: half each |
//! | ties in `max_pool2d` | the first in row-major order, as in PyTorch |
//! | `clamp` at its bounds | 1 (PyTorch 2.15 gives 0) |
//! | `x^0` at 0 | 0 |
//! | `relu`, `clamp`, `maximum`, `pick`, `select`, `tril`, `triu` | selected, not multiplied: an infinity not taken leaves no trace |
//! | `ln`, `sqrt`, division | IEEE: no silent limit |
//! | `det` of a singular matrix | the cofactors (PyTorch 2.15 gives 0); orders 1 and 2, from order 3 on NaN |
//! | `inv`, `solve` of a singular matrix, `cholesky` of one that is not positive definite | NaN, the result as well |
//! | a value used twice, the same leaf twice | accumulates |
//! | `backward` twice | accumulates twice; `zero_grad` clears |
//! | a leaf that is not reached | `None`, never a made-up zero |
//! | a tape read after its parameters were updated | the recorded values |
//!
//! # Limits
//!
//! - A tape belongs to one thread at a time. With the feature `rayon` large matrix products use several threads; the
//!   results are the same bits.
//! - There are no in-place operations on recorded values.
//! - A sweep keeps all recorded values; there is no checkpointing.

#![forbid(unsafe_code)]
#![warn(missing_docs, missing_debug_implementations)]

mod custom;
pub mod data;
mod error;
mod input;
mod kernel;
mod memory;
pub mod nn;
pub mod op;
pub mod optim;
mod param;
mod scalar;
pub mod shape;
mod sweep;
mod tape;
mod var;

pub use custom::CustomOp;
pub use error::{Error, Result};
pub use input::Input;
pub use param::Param;
pub use scalar::Scalar;
pub use shape::{AxisRange, KeepDims, Shape, ShapeError};
pub use tape::Tape;
pub use var::{Size2d, Var};

/// What most programs use, with [`ndarray`]'s `array!`.
pub mod prelude {
    pub use ndarray::array;

    pub use crate::nn::{
        CrossEntropy, Linear, Loss, Module, Mse, ReLU, Sequential, Sigmoid, Softmax, SoftmaxCrossEntropy, Tanh,
    };
    pub use crate::optim::{Optimizer, Sgd};
    pub use crate::{KeepDims, Param, Scalar, Tape, Var};
}

/// The README's code, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
