//! Training saved to a file, and resumed from it.
//!
//! [`save`] and [`load`] are for the parameters of a network. [`ToSave`] and [`Saved`] are for a whole run: parameters,
//! what an optimizer remembers, the place of a random [`Generator`](crate::data::Generator), the number of the step for a
//! [`Schedule`](crate::optim::Schedule). A run that is resumed from such a file computes the same bits as one that was
//! never interrupted.
//!
//! The extension says the format. `.npz` needs the feature `npz`, and `numpy.load` reads it. `.safetensors` needs the
//! feature `safetensors`; Python's `safetensors.torch.load_file` reads it, and writes files that are loaded here.
//!
//! | array of the file | contents |
//! |---|---|
//! | `0.weight` | a parameter, by its [name](crate::nn::Module::named_parameters) |
//! | `optimizer/0.weight/exp_avg` | what an optimizer remembers of a parameter, by PyTorch's name |
//! | `optimizer/learning_rate` | what it remembers as a whole |
//! | `optimizer/kind` | its kind, as the numbers of the letters: those of `Adam` are 65, 100, 97, 109 |
//! | `run/pass` | a number of the run, by the caller's name |
//!
//! A file is written beside the old one, synced and renamed. A process that is killed at any moment leaves the old file
//! or the new one whole. A file that does not fit changes nothing: everything is checked before the first parameter is set.
//!
//! A weight here is `(in, out)`. PyTorch's `nn.Linear` has `(out, in)`; whoever takes a file to it transposes.
//! `tests/files.py` shows both directions, and checks them.
//!
//! # Example
//!
//! ```
//! use rand::{SeedableRng, rngs::StdRng};
//! use tapegrad::files::{load, save};
//! use tapegrad::nn::{Activation, Module, Sequential};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let directory = tempfile::tempdir()?;
//! let path = directory.path().join("network.npz");
//! let network = |seed| Sequential::<f32>::mlp(3, 8, 4, 2, Activation::Tanh, &mut StdRng::seed_from_u64(seed));
//! let (first, second) = (network(1)?, network(2)?);
//! assert_ne!(first.parameters()[0].value(), second.parameters()[0].value());
//!
//! save(&path, &first.named_parameters())?;
//! load(&path, &second.named_parameters())?;
//! assert_eq!(first.parameters()[0].value(), second.parameters()[0].value());
//!
//! let smaller = Sequential::<f32>::mlp(3, 8, 3, 2, Activation::Tanh, &mut StdRng::seed_from_u64(1))?;
//! let error = load(&path, &smaller.named_parameters()).unwrap_err().to_string();
//! assert!(error.ends_with("network.npz, array 0.weight: expected shape (8, 3), found (8, 4)"));
//! # Ok(())
//! # }
//! ```

mod format;
mod saved;
mod to_save;

pub use saved::{Saved, load};
pub use to_save::{ToSave, save};
