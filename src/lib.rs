//! Reverse-mode automatic differentiation on a tape, for [`ndarray`] arrays of `f32` and `f64`, and beside it a
//! neural-network library derived by hand. Both train the same network on the same parameters, and each is the
//! other's witness.
//!
//! # The idea
//!
//! Every operation goes through one function, and two interpreters run it: **arrays compute, [`Var`]s record**. Every
//! derivative rule is written **once**, for both. [`Var::backward`] sweeps on arrays, with fused kernels and recycled
//! buffers. [`Var::grads`] sweeps on `Var`s with the same rules. Its gradients are on the tape and can be
//! differentiated again.
//!
//! | call | runs | gives |
//! |---|---|---|
//! | [`Var::backward`] | the sweep on arrays; nothing is recorded | `.grad()` of every leaf and [`Param`], accumulated |
//! | [`Var::grads`], [`Var::vjp`] | the same sweep on `Var`s | gradients as `Var`s, of any order |
//! | [`Var::jvp`], [`Var::hvp`] | the same rules forward, on `Var`s | derivatives along a direction, as `Var`s |
//! | [`Program::compile`] | what was recorded, planned once, backward included | the same results for other inputs, again and again |
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
//! // The sweep visits %4, %3, %2 and computes the cotangent of each operand:
//! //   %4 square: g = 1        -> 2 y          for %3, y = tanh(1)
//! //   %3 tanh:   g = 2 y      -> g (1 - y²)   for %2
//! //   %2 mul:    g            -> g x          for w; x is a constant and has no cotangent
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
//! | module | contents |
//! |---|---|
//! | [`Tape`], [`Var`] | the recording, and handles to its values; operators and methods record |
//! | [`Param`] | a trainable array and its gradient, shared by layer, tape and optimizer |
//! | [`op`] | the operations, and the table of derivatives as data |
//! | [`CustomOp`] | custom operations |
//! | [`Program`] | a recorded computation, planned once and run on new inputs |
//! | [`transform`] | derivatives of closures over arrays: gradients, Jacobians, Hessians, and products with them |
//! | [`check`] | gradients compared with finite differences, hand-derived networks with the tape |
//! | [`draw`] | the recorded computation as a picture and as text |
//! | [`blame`] | the line that made the first NaN, and the reason why a gradient is missing |
//! | [`nn`] | the hand-derived path: [`Module`](nn::Module), layers, [`Sequential`](nn::Sequential), losses |
//! | [`optim`] | optimizers and learning-rate schedules, for both paths |
//! | `files` | parameters and whole runs saved and resumed, with the features `npz` or `safetensors` |
//! | [`train`] | batch, stochastic and mini-batch descent, for both paths; a log of the passes |
//! | [`report`] | a page that shows a run: curves, gradient norms, weights, confusion |
//! | [`chunks`] | the gradient of a large batch, chunk by chunk, for both paths |
//! | `parallel` | the same over several processes, by MPI; needs the feature `mpi`, see [`scaling_out`] |
//! | [`threads`] | one setting for everything that is shared among threads |
//! | [`data`] | digits from files, whole or by rows, batches, splits, accuracy, confusion |
//! | [`shape`] | broadcasting, and the error for shapes that do not fit |
//! | [`edge_cases`] | the contract at kinks, at infinities and for empty arrays |
//! | [`adding_an_operation`] | how the library gets a new operation: one row, or at most five places |
//!
//! # Words
//!
//! A **tape** is a list of **nodes**. A node is an **op**, its operands, and its **value**. A **leaf** is a
//! differentiable input, a **constant** is an input that is not differentiated. A **sweep** runs backward from a
//! **seed** and computes the **cotangent** `g` of every node: the derivative of the result by the node's value. A
//! **vjp** (vector-Jacobian product) is the rule that turns the cotangent of a result into the cotangent of an operand.
//! A **jvp** turns the **tangents** of the operands into the tangent of the result. Contributions to one cotangent
//! **accumulate**.
//!
//! # For a course
//!
//! Courses on building a neural network use other names. This table translates them:
//!
//! | there | here |
//! |---|---|
//! | `Module.forward`, `updateOutput` | [`Module::forward`](nn::Module::forward) |
//! | `Module.output`, `gradInput` | [`Module::output`](nn::Module::output), [`Module::grad_input`](nn::Module::grad_input) |
//! | `backward_update_gradient`, `accGradParameters` | [`Module::backward_update_gradient`](nn::Module::backward_update_gradient), [`Module::acc_grad_parameters`](nn::Module::acc_grad_parameters) with a scale |
//! | `backward_delta`, `updateGradInput` | [`Module::backward_delta`](nn::Module::backward_delta) |
//! | `backward` | [`Module::backward`](nn::Module::backward), both in one; with a scale [`Module::backward_scaled`](nn::Module::backward_scaled) |
//! | `update_parameters`, `updateParameters` | [`Module::update_parameters`](nn::Module::update_parameters) |
//! | `zero_grad`, `zeroGradParameters` | [`Module::zero_grad`](nn::Module::zero_grad); there the gradient is a matrix of zeros after it, here it is `None` |
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
//! | Criterion: `forward(prediction, target)` | [`nn::Loss`]: `forward(target, prediction)`, the other order |
//! | n-ary module | [`nn::NaryModule`]: [`nn::Sum`], [`nn::DotProduct`], with [`grad_input`](nn::NaryModule::grad_input), [`acc_grad_parameters`](nn::NaryModule::acc_grad_parameters), [`backward_scaled`](nn::NaryModule::backward_scaled) |
//! | module z, without input | [`nn::Vector`] |
//! | graph of modules | [`nn::Graph`] |
//! | Sequential, `add` | [`nn::Sequential`], [`push`](nn::Sequential::push) |
//! | MLP(L, H) | [`nn::Sequential::mlp`] |
//! | `predict_one_layer_nn`, `evaluate_loss` | [`forward`](nn::Module::forward) of [`nn::Linear`] and [`nn::Softmax`]; [`nn::CrossEntropy`] |
//! | `partial_derivative_one_layer_nn` | [`Module::backward_update_gradient`](nn::Module::backward_update_gradient) with the delta of [`nn::SoftmaxCrossEntropy`], or [`Var::backward`] |
//! | `gradient_descent_one_layer_nn` | [`train::batch_descent`] |
//! | these four and `predict_two_layer_nn`, …, on arrays alone | the example `from_scratch` |
//! | batch, stochastic, mini-batch descent | [`train::batch_descent`], [`train::stochastic_descent`], [`train::mini_batch_descent`] |
//! | mini-batch of `random(1, N)`, drawn B times | [`train::mini_batch_descent_with_replacement`] |
//! | `requires_grad`, `.backward()`, `.grad`, `.grad.zero_()` | [`Param`] or [`Tape::leaf`], [`Var::backward`], [`Param::grad`], [`Param::zero_grad`] |
//! | `torch.optim.SGD`, `step`, `zero_grad` | [`optim::Sgd`], [`step`](optim::Optimizer::step), [`zero_grad`](optim::Optimizer::zero_grad) |
//! | `torch.optim.Adam`, `AdamW`, `RMSprop`, `Adagrad` | [`optim::Adam`], [`optim::AdamW`], [`optim::RmsProp`], [`optim::Adagrad`] |
//! | `torch.optim.Adadelta`, `NAdam`, `RAdam`, `LBFGS` | [`optim::Adadelta`], [`optim::NAdam`], [`optim::RAdam`], [`optim::Lbfgs`] |
//! | parameter groups, `clip_grad_norm_`, `clip_grad_value_` | [`optim::Groups`], [`optim::clip_grad_norm`], [`optim::clip_grad_value`] |
//! | `torch.optim.lr_scheduler`, `ReduceLROnPlateau` | [`optim::Schedule`], [`optim::ReduceOnPlateau`] |
//! | `torch.nn.init`; initial parameters `1e-3 · N(0, 1)` | [`nn::Init`]; `Init::normal(1e-3)` |
//! | `state_dict`, `torch.save`, `torch.load` | [`nn::Module::named_parameters`], `files::save`, `files::load` |
//! | `DataLoader`, `WeightedRandomSampler`, `KFold`, `StandardScaler` | [`data::Batches`], [`data::Batches::weighted`], [`data::Samples::k_fold`], [`data::Normalization`] |
//! | `nn.Conv2d`, `MaxPool2d`, `AvgPool2d`, `Flatten` | [`nn::Conv2d`], [`nn::MaxPool2d`], [`nn::AvgPool2d`], [`nn::Flatten`]: a row is an image |
//! | `nn.BatchNorm1d`, `BatchNorm2d`, `LayerNorm`, `Dropout` | [`nn::BatchNorm`], [`nn::LayerNorm`], [`nn::Dropout`] |
//! | `nn.Embedding`, `RNNCell`, `LSTMCell`, `RNN`, `LSTM` | [`nn::Embedding`], [`nn::RnnCell`], [`nn::LstmCell`], [`nn::Recurrent`] |
//! | `nn.MultiheadAttention` | [`nn::MultiheadAttention`], on the tape |
//! | `model.train()`, `eval()`, `buffers()` | [`nn::Module::train`], [`eval`](nn::Module::eval), [`buffers`](nn::Module::buffers) |
//! | `class Mlp(nn.Module)` | [`nn::Model`] |
//! | one-hot, argmax, accuracy, confusion matrix, precision | [`data::one_hot`], [`data::predictions`], [`data::accuracy`], [`data::ConfusionMatrix`] |
//! | `train_test_split`, shuffle, pixels to 0..1 | [`data::Samples::train_test_split`], [`data::Samples::shuffled`], [`data::Samples::scaled`] |
//!
//! # Features
//!
//! All are off by default: `npy` reads `.npy` files, `npz` also reads and writes `.npz` files, `safetensors` reads and
//! writes `.safetensors` files, `idx` reads IDX files, `csv` reads CSV files, `progress` shows a bar while a descent runs,
//! `rayon` shares large kernels and chunks among [`threads`], and `mpi` shares chunks among processes. `mpi` needs an MPI
//! library, a C compiler and libclang.
//!
//! # Edge cases
//!
//! [`edge_cases`] lists the results at kinks, at infinities, at zeros and for empty arrays, beside PyTorch's. The tests
//! run all of them. The most important are:
//!
//! | case | gradient |
//! |---|---|
//! | `relu`, `abs` at 0 | 0 |
//! | `norm`, `std` where the result is 0 | 0, at any order |
//! | ties in `max`, `min`, `maximum` | shared equally |
//! | `prod` with zeros | exact: `[6, 0, 0]` for `[0, 2, 3]` |
//! | an element not taken by a mask, a maximum or `select` | 0, even for an infinite cotangent |
//! | `ln`, `sqrt`, division | as in IEEE 754, never clipped |
//! | a value used twice, `backward` twice | accumulates; `zero_grad` clears |
//! | a leaf that is not reached | `None`, not 0 |
//! | a sweep after its parameters were updated | the gradient at the recorded values |
//!
//! # Limits
//!
//! - A tape belongs to one thread at a time. With the feature `rayon` its large kernels use several [`threads`]; the
//!   results are the same bits.
//! - There are no in-place operations on recorded values.
//! - [`Var::grads`] records the cotangent of a slice as an array of the full size. For `n` slices of one array it
//!   records `n` such arrays. [`Var::backward`] adds each slice's cotangent in place.
//! - Derivatives exist to any order, except those of [`Var::det`], which exist to order 5.
//! - A tape keeps all recorded values, except those within a [`Tape::checkpoint`]: its segment runs again in the sweep.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![warn(missing_docs, missing_debug_implementations)]

#[doc = include_str!("adding_an_operation.md")]
pub mod adding_an_operation {}
pub mod blame;
pub mod check;
pub mod chunks;
pub mod data;
pub mod draw;
#[doc = include_str!("edge_cases.md")]
pub mod edge_cases {}
mod error;
#[cfg(any(feature = "npz", feature = "safetensors"))]
#[cfg_attr(docsrs, doc(cfg(any(feature = "npz", feature = "safetensors"))))]
pub mod files;
mod input;
mod kernel;
mod memory;
pub mod nn;
mod number;
pub mod op;
pub mod optim;
#[cfg(feature = "mpi")]
#[cfg_attr(docsrs, doc(cfg(feature = "mpi")))]
pub mod parallel;
mod param;
mod program;
mod reduction;
pub mod report;
mod scalar;
#[doc = include_str!("scaling_out.md")]
pub mod scaling_out {}
pub mod shape;
mod sweep;
mod tape;
pub mod threads;
pub mod train;
pub mod transform;
mod var;

pub use error::{Error, Result};
pub use input::Input;
#[doc(hidden)]
pub use number::InstructionSet;
pub use number::Number;
pub use param::Param;
pub use program::{Outputs, Program};
pub use reduction::Reduction;
pub use scalar::Scalar;
pub use shape::{AxisRange, KeepDims, Shape, ShapeError};
pub use tape::{CustomOp, Tape, Var};
pub use var::{
    AttentionMask, ConvOptions, CrossEntropyOptions, Operand, PoolDivisor, PoolOptions, RunningStatistics, Size2d,
};

/// The types and traits that most programs use, and [`ndarray`]'s `array!`.
pub mod prelude {
    pub use ndarray::array;

    pub use crate::nn::{
        CrossEntropy, Linear, LogSoftmax, Loss, Module, Mse, ReLU, Sequential, Sigmoid, Softmax, SoftmaxCrossEntropy,
        Tanh,
    };
    pub use crate::optim::{Adam, AdamW, Optimizer, Sgd};
    pub use crate::{KeepDims, Number, Param, Program, Reduction, Scalar, Tape, Var};
}

/// The README's code, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
