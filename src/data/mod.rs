//! Labelled samples: from files, in batches, and how well a network tells them apart.
//!
//! [`load_usps`] reads text files. `.npy` files, read by `load_data` or row by row by `open_data`, need the feature `npy`. `.npz` files, read by `Npz`
//! and `load_usps` and written by `save_npz`, need the feature `npz`.

mod arrays;
mod batches;
mod dataset;
mod metrics;
#[cfg(feature = "npy")]
mod npy;
#[cfg(feature = "npz")]
mod npz;
#[cfg(feature = "npz")]
mod replace;
#[cfg(feature = "npy")]
mod rows_of_file;
mod samples;
mod shortened;
#[cfg(feature = "npy")]
mod stored;
mod usps;

pub use batches::Batches;
pub use dataset::Dataset;
#[cfg(feature = "npy")]
#[cfg_attr(docsrs, doc(cfg(feature = "npy")))]
pub use dataset::load_data;
pub use metrics::{ConfusionMatrix, accuracy, predictions};
#[cfg(feature = "npz")]
#[cfg_attr(docsrs, doc(cfg(feature = "npz")))]
pub use npz::{Npz, save_npz};
pub use samples::{Samples, one_hot};
#[cfg(feature = "npy")]
#[cfg_attr(docsrs, doc(cfg(feature = "npy")))]
pub use stored::{StoredData, StoredSamples, open_data};
pub use usps::load_usps;
