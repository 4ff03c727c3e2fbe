//! Neural networks with hand-derived gradients, after Lua torch's `nn`: a check of the tape that is independent of it.
//!
//! Every layer states its derivation and computes it, without the engine's table of rules. A layer can also
//! [`record`](Module::record) itself on a [`Tape`](crate::Tape), whose sweep does not use these formulas. Both paths
//! accumulate in the same [`Param`](crate::Param)s and must agree, so each checks the other.
//!
//! | here | Lua torch |
//! |---|---|
//! | [`Module::forward`] | `updateOutput`, `forward` |
//! | [`Module::output`], [`Module::grad_input`] | `output`, `gradInput` |
//! | [`Module::backward_delta`] | `updateGradInput` |
//! | [`Module::backward_update_gradient`], [`Module::acc_grad_parameters`] | `accGradParameters` |
//! | [`Module::zero_grad`] | `zeroGradParameters` |
//! | [`Module::update_parameters`] | `updateParameters` |
//! | [`Loss`] | `Criterion` |
//!
//! Images flow through rows of a matrix: a row holds the channels of one image, one after the other. [`Conv2d`],
//! [`MaxPool2d`], [`AvgPool2d`] and [`BatchNorm::of_images`] know the size of their images. Likewise a row of
//! [`Recurrent`] holds the steps of a sequence. [`Module::train`] and [`Module::eval`] set the mode of [`Dropout`] and
//! [`BatchNorm`]; [`Module::buffers`] are the values that a save needs beside the parameters.
//!
//! The layers keep their results in buffers of their own: from the second batch on, a step allocates nothing.
//!
//! # Example
//!
//! One step of gradient descent on `(w x - 1)²`, by hand and on the tape:
//!
//! ```
//! use ndarray::array;
//! use tapegrad::nn::{Linear, Loss, Module, Mse, Sequential};
//! use tapegrad::{Param, Tape};
//!
//! let w = Param::new(array![[0.25]]);
//! let mut net = Sequential::new().push(Linear::from_params(w.clone(), None));
//! let mut loss = Mse::new();
//! let (x, y) = (array![[2.0]], array![[1.0]]);
//!
//! let yhat = net.forward(&x);
//! assert_eq!(loss.forward(&y, yhat), 0.25); // (0.5 - 1)²
//! let delta = loss.backward(&y, yhat);
//! net.backward_update_gradient(&x, delta);
//! let by_hand = w.grad().unwrap(); // 2 (0.5 - 1) · 2
//! assert_eq!(by_hand[[0, 0]], -2.0);
//!
//! net.zero_grad();
//! let tape = Tape::new();
//! loss.record(&y, net.record(&tape, tape.constant(&x))).backward();
//! assert_eq!(w.grad().unwrap(), by_hand);
//!
//! net.update_parameters(0.125);
//! assert_eq!(w.value()[[0, 0]], 0.5); // 0.25 + 0.125 · 2
//! ```

mod activation;
mod attention;
mod augmented_linear;
mod batch_norm;
mod buffer;
mod cell;
mod conv2d;
mod dropout;
mod embedding;
mod flatten;
mod image;
mod init;
mod layer;
mod layer_norm;
mod linear;
mod loss;
mod lstm_cell;
mod mode;
mod model;
mod module;
mod nary;
mod pool;
mod recurrent;
mod residual;
mod sequential;
mod softmax;
mod trainable;

pub use activation::{Activation, ReLU, Sigmoid, Tanh};
pub use attention::MultiheadAttention;
pub use augmented_linear::AugmentedLinear;
pub use batch_norm::BatchNorm;
pub use cell::{Cell, RnnCell};
pub use conv2d::Conv2d;
pub use dropout::Dropout;
pub use embedding::Embedding;
pub use flatten::Flatten;
pub use init::Init;
pub use layer_norm::LayerNorm;
pub use linear::Linear;
pub use loss::{CrossEntropy, Hinge, Loss, Mse, Perceptron, SoftmaxCrossEntropy};
pub use lstm_cell::LstmCell;
pub use mode::{Draws, Mode};
pub use model::Model;
pub use module::Module;
pub use nary::{DotProduct, Graph, NaryModule, NodeId, Sum, Vector};
pub use pool::{AvgPool2d, MaxPool2d};
pub use recurrent::Recurrent;
pub use residual::Residual;
pub use sequential::Sequential;
pub use softmax::{LogSoftmax, Softmax};
