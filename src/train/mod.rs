//! Training: three kinds of gradient descent for any model, with a history of losses and accuracies.
//!
//! A descent trains a [`Learner`], a model with its loss: [`ByHand`] runs hand-derived layers, [`ByTape`] records and
//! sweeps, [`InChunks`] takes the examples of either chunk by chunk. An [`Optimizer`](crate::optim::Optimizer) takes the steps. The training data are [`Examples`], inputs with
//! their targets.
//!
//! | function | a step uses | steps in a pass |
//! |---|---|---|
//! | [`batch_descent`] | all examples | 1 |
//! | [`stochastic_descent`] | one example, drawn at random with replacement | the number of examples |
//! | [`mini_batch_descent`] | `size` examples | enough to use each example once, in random order |
//! | [`mini_batch_descent_with_replacement`] | `size` examples, drawn at random with replacement | as many |
//!
//! Each returns the [`History`] of its passes: losses and accuracies **before** the updates of each pass. While it runs,
//! [`Descent::on_record`] gives a [`Record`] of each pass, for a [`Log`] or for a [`Report`](crate::report::Report).
//!
//! # Example
//!
//! A line through three points, `y = 2 x + 1`:
//!
//! ```
//! use ndarray::array;
//! use tapegrad::Param;
//! use tapegrad::nn::{Linear, Mse};
//! use tapegrad::optim::Sgd;
//! use tapegrad::train::{ByHand, Descent, Examples, batch_descent};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let examples = Examples::new(array![[-1.0], [0.0], [1.0]], array![[-1.0], [1.0], [3.0]])?;
//! let (w, b) = (Param::new(array![[0.0]]), Param::new(array![0.0]));
//! let mut line = ByHand::new(Linear::from_params(w.clone(), Some(b.clone())), Mse::new());
//! let mut sgd = Sgd::new([&w, &b], 0.25);
//!
//! let history = batch_descent(&mut line, &mut sgd, &examples, None, Descent::new(100))?;
//! assert_eq!(history.passes()[0].train_loss(), 11.0 / 3.0); // (1² + 1² + 3²) / 3
//! assert!(history.result().train_loss() < 1e-12);
//! assert!((w.value()[[0, 0]] - 2.0_f64).abs() < 1e-6 && (b.value()[[0]] - 1.0_f64).abs() < 1e-6);
//! # Ok(())
//! # }
//! ```

mod descent;
mod examples;
mod history;
mod in_chunks;
mod learner;
mod log;
mod progress;
mod record;

pub use descent::{
    Descent, batch_descent, mini_batch_descent, mini_batch_descent_with_replacement, stochastic_descent,
};
pub use examples::Examples;
pub use history::{Diverged, History, Pass};
pub use in_chunks::InChunks;
pub use learner::{ByHand, ByTape, Learner};
pub use log::Log;
pub use progress::{Bar, Progress};
pub use record::{Record, gradient_norms};
