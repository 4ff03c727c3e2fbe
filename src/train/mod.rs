//! Training: the three descents over any model, and what they saw on the way.
//!
//! A descent drives a [`Learner`], of which there is one for each half of the library: [`ByHand`] runs hand-derived
//! layers, [`ByTape`] records and sweeps. An [`Optimizer`](crate::optim::Optimizer) takes the steps. What is learned are
//! [`Examples`], inputs with their targets.
//!
//! | function | what a step sees | steps in a pass |
//! |---|---|---|
//! | [`batch_descent`] | all examples | 1 |
//! | [`stochastic_descent`] | one example, drawn at random | as many as there are examples |
//! | [`mini_batch_descent`] | `size` examples | until all were seen, in random order |
//!
//! Each returns the [`History`] of its passes: losses and accuracies **before** the pass's updates.
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
mod learner;
mod progress;

pub use descent::{Descent, batch_descent, mini_batch_descent, stochastic_descent};
pub use examples::Examples;
pub use history::{Diverged, History, Pass};
pub use learner::{ByHand, ByTape, Learner};
pub use progress::Progress;
