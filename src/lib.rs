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
//! | [`Var::grads`], [`Var::vjp`] | the same sweep on `Var`s | gradients as `Var`s, of any order |
//! | [`Var::jvp`], [`Var::hvp`] | the same rules forward, on `Var`s | derivatives along a direction, as `Var`s |
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
//! | [`transform`] | derivatives of closures over arrays: gradients, Jacobians, Hessians, products with them |
//! | [`check`] | gradients against differences, hand-derived networks against the tape |
//! | [`blame`] | which line made the first NaN, and why a gradient is missing |
//! | [`nn`] | the hand-derived path: [`Module`](nn::Module), layers, [`Sequential`](nn::Sequential), losses |
//! | [`optim`] | optimizers and schedules of learning rates, for both paths |
//! | [`train`] | batch, stochastic and mini-batch descent, for both paths |
//! | [`data`] | digits from files, batches, splits, accuracy, confusion |
//! | [`shape`] | broadcasting, and the error that says what does not fit |
//! | [`edge_cases`] | the contract at kinks, infinities and of nothing |
//! | [`adding_an_operation`] | how the library gets a new operation: one row, or at most five places |
//!
//! # Words
//!
//! A **tape** is a list of **nodes**: an **op**, its operands, and its **value**. A **leaf** is a differentiable input, a
//! **constant** one that is not. A **sweep** runs backward from a **seed** and hands every node its **cotangent** `g`, the
//! derivative of the result by the node's value. The rule that turns the cotangent of a result into one of an operand
//! is a **vjp** (vector-Jacobian product); a **jvp** takes a **tangent** the other way. Contributions to one cotangent
//! **accumulate**.
//!
//! # For a course
//!
//! Where to find what courses on building a neural network call by other names:
//!
//! | there | here |
//! |---|---|
//! | `Module.forward`, `updateOutput` | [`Module::forward`](nn::Module::forward) |
//! | `Module.output`, `gradInput` | [`Module::output`](nn::Module::output), [`Module::grad_input`](nn::Module::grad_input) |
//! | `backward_update_gradient`, `accGradParameters` | [`Module::backward_update_gradient`](nn::Module::backward_update_gradient), [`Module::acc_grad_parameters`](nn::Module::acc_grad_parameters) with a scale |
//! | `backward_delta`, `updateGradInput` | [`Module::backward_delta`](nn::Module::backward_delta) |
//! | `backward` | [`Module::backward`](nn::Module::backward), both in one |
//! | `update_parameters`, `updateParameters` | [`Module::update_parameters`](nn::Module::update_parameters) |
//! | `zero_grad`, `zeroGradParameters` | [`Module::zero_grad`](nn::Module::zero_grad) |
//! | Linear, `x W + b` | [`nn::Linear`]; without a bias [`nn::Linear::without_bias`] |
//! | Linear with a column of ones (`hstack`) | [`nn::AugmentedLinear`] |
//! | Tanh, Sigmoid, ReLU, Softmax, LogSoftmax | [`nn::Tanh`], [`nn::Sigmoid`], [`nn::ReLU`], [`nn::Softmax`], [`nn::LogSoftmax`] |
//! | MSE: mean over samples of the summed squares | [`nn::Mse`] with [`Reduction::BatchMean`] |
//! | square loss: mean over the outputs | [`nn::Mse`] with [`Reduction::OutputMean`] |
//! | squared error, gradient `-2 (y - ŷ)` | [`nn::Mse`] with [`Reduction::Sum`] |
//! | MSE of PyTorch: mean over all elements | [`nn::Mse`], [`Reduction::Mean`] |
//! | hinge, `max(0, 1 - ŷ y)` | [`nn::Hinge`] |
//! | perceptron loss, `max(0, -ŷ y)` | [`nn::Perceptron`] |
//! | cross-entropy `-1/N Σ [y ln(ŷ + 1e-16) + (1 - y) ln(1 - ŷ + 1e-16)]` | [`nn::CrossEntropy`] |
//! | cross-entropy of labels, `-ln p_y`, gradient `ŷ - y` | [`nn::SoftmaxCrossEntropy`]; summed with [`Reduction::Sum`] |
//! | Criterion | [`nn::Loss`] |
//! | n-ary module | [`nn::NaryModule`]: [`nn::Sum`], [`nn::DotProduct`] |
//! | module z, without input | [`nn::Vector`] |
//! | graph of modules | [`nn::Graph`] |
//! | Sequential, `add` | [`nn::Sequential`], [`push`](nn::Sequential::push) |
//! | MLP(L, H) | [`nn::Sequential::mlp`] |
//! | batch, stochastic, mini-batch descent | [`train::batch_descent`], [`train::stochastic_descent`], [`train::mini_batch_descent`] |
//! | `requires_grad`, `.backward()`, `.grad`, `.grad.zero_()` | [`Param`] or [`Tape::leaf`], [`Var::backward`], [`Param::grad`], [`Param::zero_grad`] |
//! | `torch.optim.SGD`, `step`, `zero_grad` | [`optim::Sgd`], [`step`](optim::Optimizer::step), [`zero_grad`](optim::Optimizer::zero_grad) |
//! | `torch.optim.Adam`, `AdamW`, `RMSprop`, `Adagrad` | [`optim::Adam`], [`optim::AdamW`], [`optim::RmsProp`], [`optim::Adagrad`] |
//! | `torch.optim.lr_scheduler` | [`optim::Schedule`] |
//! | `class Mlp(nn.Module)` | [`nn::Model`] |
//! | one-hot, argmax, accuracy, confusion matrix, precision | [`data::one_hot`], [`data::predictions`], [`data::accuracy`], [`data::ConfusionMatrix`] |
//! | `train_test_split`, shuffle, pixels to 0..1 | [`data::Samples::train_test_split`], [`data::Samples::shuffled`], [`data::Samples::scaled`] |
//!
//! Features, none of them on by default: `npy` reads `.npy` files, `npz` also reads and writes `.npz` files, `progress`
//! shows a bar while a descent runs, `rayon` shares large matrix products among threads.
//!
//! # Promises at the edges
//!
//! [`edge_cases`] says what comes out at kinks, at infinities, of zeros and of nothing, beside what PyTorch gives; tests
//! run all of it. What programs rely on most:
//!
//! | case | gradient |
//! |---|---|
//! | `relu`, `abs` at 0 | 0 |
//! | `norm`, `std` where they are 0 | 0, at any order |
//! | ties in `max`, `min`, `maximum` | shared evenly |
//! | `prod` with zeros | exact: `[6, 0, 0]` for `[0, 2, 3]` |
//! | what a mask, a maximum or `select` did not take | 0, even of an infinite cotangent |
//! | `ln`, `sqrt`, division | IEEE: no silent limit |
//! | a value used twice, `backward` twice | accumulates; `zero_grad` clears |
//! | a leaf that is not reached | `None`, never a made-up zero |
//! | a tape read after its parameters were updated | that of the recorded values |
//!
//! # Limits
//!
//! - A tape belongs to one thread at a time. With the feature `rayon` large matrix products use several threads; the
//!   results are the same bits.
//! - There are no in-place operations on recorded values.
//! - [`Var::grads`] records the cotangent of a slice in the size of the whole array: of `n` slices of one array it records
//!   `n` times that. [`Var::backward`] adds each up in its place.
//! - Derivatives are of any order, but for those of [`Var::det`], which end at order 5.
//! - A tape keeps all recorded values, but for segments that run again in the sweep: [`Tape::checkpoint`].

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![warn(missing_docs, missing_debug_implementations)]

#[doc = include_str!("adding_an_operation.md")]
pub mod adding_an_operation {}
pub mod blame;
pub mod check;
pub mod data;
#[doc = include_str!("edge_cases.md")]
pub mod edge_cases {}
mod error;
mod input;
mod kernel;
mod memory;
pub mod nn;
mod number;
pub mod op;
pub mod optim;
mod param;
mod reduction;
mod scalar;
pub mod shape;
mod sweep;
mod tape;
pub mod train;
pub mod transform;
mod var;

pub use error::{Error, Result};
pub use input::Input;
pub use number::Number;
pub use param::Param;
pub use reduction::Reduction;
pub use scalar::Scalar;
pub use shape::{AxisRange, KeepDims, Shape, ShapeError};
pub use tape::{CustomOp, Tape, Var};
pub use var::Size2d;

/// What most programs use, with [`ndarray`]'s `array!`.
pub mod prelude {
    pub use ndarray::array;

    pub use crate::nn::{
        CrossEntropy, Linear, LogSoftmax, Loss, Module, Mse, ReLU, Sequential, Sigmoid, Softmax, SoftmaxCrossEntropy,
        Tanh,
    };
    pub use crate::optim::{Adam, AdamW, Optimizer, Sgd};
    pub use crate::{KeepDims, Number, Param, Reduction, Scalar, Tape, Var};
}

/// The README's code, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
