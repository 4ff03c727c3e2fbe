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
//! # A tour
//!
//! **Record, then sweep.** A [`Tape`] records. A [`Var`] is a handle to a value on it: it is `Copy`, and its operators and
//! methods compute at once. [`Var::backward`] sweeps.
//!
//! ```
//! use tapegrad::prelude::*;
//!
//! let tape = Tape::new();
//! let x = tape.leaf(array![1.0, 2.0, 3.0]);
//! let loss = (x * x).sum();
//! loss.backward();
//! assert_eq!(loss.item(), 14.0);
//! assert_eq!(x.grad().unwrap(), array![2.0, 4.0, 6.0].into_dyn()); // 2 x
//! ```
//!
//! **Parameters live longer than a tape.** A [`Param`] is a value with its gradient, shared by the tapes that record it and
//! the optimizer that updates it. A step is: record, sweep, update, clear, [`reset`](Tape::reset). After the first steps it
//! allocates nothing.
//!
//! ```
//! use tapegrad::prelude::*;
//!
//! let w = Param::new(array![0.0, 0.0]);
//! let (mut sgd, mut tape) = (Sgd::new([&w], 0.25), Tape::new());
//! for _ in 0..60 {
//!     let target = tape.constant(array![1.0, -2.0]);
//!     (tape.param(&w) - target).square().sum().backward();
//!     sgd.step(); // halves the distance
//!     sgd.zero_grad();
//!     tape.reset();
//! }
//! assert_eq!(*w.value(), array![1.0, -2.0].into_dyn());
//! ```
//!
//! **A network has two halves.** Its layers hold formulas derived by hand: [`forward`](nn::Module::forward) and
//! [`backward`](nn::Module::backward). They also [`record`](nn::Module::record) themselves, and the tape derives the same
//! gradients from its rules. Both add to the same parameters.
//!
//! ```
//! use rand::{SeedableRng, rngs::StdRng};
//! use tapegrad::prelude::*;
//!
//! let mut rng = StdRng::seed_from_u64(0);
//! let mut net = Sequential::<f64>::new().push(Linear::new(2, 3, &mut rng)).push(Tanh::new()).push(Linear::new(3, 1, &mut rng));
//! let (x, y, mut loss) = (array![[0.5, -1.0], [2.0, 0.3]], array![[1.0], [0.0]], Mse::new());
//!
//! let delta = loss.backward(&y, net.forward(&x)); // by hand
//! net.backward_update_gradient(&x, delta);
//! let by_hand = net.parameters()[0].grad().unwrap();
//! net.zero_grad();
//!
//! let tape = Tape::new(); // on the tape
//! loss.record(&y, net.record(&tape, tape.constant(&x))).backward();
//! let on_tape = net.parameters()[0].grad().unwrap();
//! assert!((&*by_hand - &*on_tape).iter().all(|difference| difference.abs() < 1e-15));
//! ```
//!
//! **Data come in batches.** [`data`] reads files, shuffles, splits and scores. [`train`] has the loops:
//! [`batch_descent`](train::batch_descent), [`stochastic_descent`](train::stochastic_descent) and
//! [`mini_batch_descent`](train::mini_batch_descent), by hand or by tape.
//!
//! ```
//! use tapegrad::prelude::*;
//! use tapegrad::train::{ByHand, Descent, Examples, mini_batch_descent};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let examples = Examples::new(array![[-1.0], [0.0], [1.0]], array![[-3.0], [0.0], [3.0]])?; // y = 3 x
//! let w = Param::new(array![[0.0]]);
//! let mut learner = ByHand::new(Linear::from_params(w.clone(), None), Mse::new());
//! let history = mini_batch_descent(&mut learner, &mut Sgd::new([&w], 0.1), &examples, None, 2, Descent::new(200))?;
//! assert!(history.result().train_loss() < 1e-12);
//! assert!((w.value()[[0, 0]] - 3.0_f64).abs() < 1e-6);
//! # Ok(())
//! # }
//! ```
//!
//! **Gradients are values, too.** [`Var::grads`] records them, so they can be differentiated again. [`Var::jvp`] goes
//! forward, and [`transform`] takes closures over arrays.
//!
//! ```
//! use tapegrad::prelude::*;
//! use tapegrad::transform;
//!
//! let tape = Tape::new();
//! let x = tape.leaf(2.0);
//! let slope = (x * x * x).grad_wrt(x);
//! assert_eq!((slope.item(), slope.grad_wrt(x).item()), (12.0, 12.0)); // 3 x², 6 x
//!
//! let hessian = transform::hessian(|x| (x * x * x).sum(), &array![1.0, 2.0]);
//! assert_eq!(hessian, array![[6.0, 0.0], [0.0, 12.0]].into_dyn());
//! ```
//!
//! **What is recorded can be compiled.** A [`Program`] plans the recording once and runs it on other numbers, with the bits of
//! the tape.
//!
//! ```
//! use tapegrad::prelude::*;
//!
//! # fn main() -> tapegrad::Result<()> {
//! let tape = Tape::new();
//! let x = tape.leaf(array![1.0, 2.0]);
//! let loss = (x * x).sum();
//! let mut program = Program::compile(&[x], &[loss, loss.grad_wrt(x)])?;
//! let outputs = program.run(&[array![3.0, 4.0].view().into_dyn()])?;
//! assert_eq!(outputs.item(0), 25.0);
//! assert_eq!(outputs.value(1), array![6.0, 8.0].into_dyn());
//! # Ok(())
//! # }
//! ```
//!
//! **Look inside.** A tape prints its program with the lines that recorded it. [`draw::graph`] draws it, [`blame`] says which
//! line made a NaN and why a gradient is missing, and [`check`] compares derivatives with finite differences.
//!
//! ```
//! use tapegrad::prelude::*;
//!
//! let tape = Tape::<f64>::new();
//! let x = tape.leaf(array![0.0, 4.0]);
//! x.sqrt().sum().backward();
//! assert_eq!(tape.ops(), ["leaf", "sqrt", "sum"]);
//! assert!(tape.to_string().contains("%1 = sqrt %0 : (2,)"));
//!
//! let found = tape.first_non_finite().unwrap(); // the gradient is [inf, 0.25]
//! assert_eq!((found.op(), found.value()), ("sqrt", f64::INFINITY));
//! ```
//!
//! **Save it.** With the feature `npz` or `safetensors`, `files::save(path, &net.named_parameters())` writes the parameters,
//! and `files::load` reads them. `files::ToSave` holds a whole run, which goes on where it stopped.
//!
//! # Pages
//!
//! | page | for |
//! |---|---|
//! | [`coming_from_pytorch`] | a table of names, the same programs side by side, and what is different |
//! | [`coming_from_candle_and_burn`] | the same for two Rust libraries, and when they serve better |
//! | [`writing_a_layer`] | a layer derived on paper, written by hand, and checked |
//! | [`why_is_my_gradient`] | gradients that are `None`, NaN, wrong or slow |
//! | [`edge_cases`] | the contract at kinks, at infinities and for empty arrays |
//! | [`adding_an_operation`] | how the library gets a new operation: one row, or at most five places |
//! | [`scaling_out`] | when many processes repay, and what they cost |
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
//! `decompositions` adds eigenvalues, QR and singular values of matrices, `rayon` shares large kernels and chunks among
//! [`threads`], and `mpi` shares chunks among processes. `mpi` needs an MPI library, a C compiler and libclang.
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
//! - [`Var::grads`] joins the cotangents of slices of one array, if the slices follow one another without overlap. For other
//!   slices it records an array of the full size each. [`Var::backward`] adds each slice's cotangent in place.
//! - Derivatives exist to any order, except those of [`Var::det`], which exist to order 5. Those of eigenvectors and singular
//!   vectors end where values are equal, those of `qr` where columns are linearly dependent.
//! - A tape keeps all recorded values, except those within a [`Tape::checkpoint`]: its segment runs again in the sweep.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![warn(missing_docs, missing_debug_implementations)]

#[doc = include_str!("adding_an_operation.md")]
pub mod adding_an_operation {}
pub mod blame;
pub mod check;
pub mod chunks;
#[doc = include_str!("coming_from_candle_and_burn.md")]
pub mod coming_from_candle_and_burn {}
#[doc = include_str!("coming_from_pytorch.md")]
pub mod coming_from_pytorch {}
pub mod data;
pub mod draw;
#[doc = include_str!("edge_cases.md")]
pub mod edge_cases {}
mod error;
#[cfg(any(feature = "npz", feature = "safetensors"))]
#[cfg_attr(docsrs, doc(cfg(any(feature = "npz", feature = "safetensors"))))]
pub mod files;
mod hash;
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
#[doc = include_str!("why_is_my_gradient.md")]
pub mod why_is_my_gradient {}
#[doc = include_str!("writing_a_layer.md")]
pub mod writing_a_layer {}

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
