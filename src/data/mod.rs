//! Labelled samples: from files, in batches, and how well a network tells them apart.
//!
//! [`load_usps`] reads text files. Other formats need a feature each:
//!
//! | feature | files | by |
//! |---|---|---|
//! | `npy` | `.npy` | `load_data`; row by row `open_data` |
//! | `npz` | `.npz` | `Npz`, `load_usps`, `save_npz` |
//! | `safetensors` | `.safetensors` | `SafeTensors`, `save_safetensors` |
//! | `idx` | IDX, also compressed by gzip: MNIST | `load_idx`, `load_mnist` |
//! | `csv` | CSV | `Csv` |

mod arrays;
mod batches;
#[cfg(feature = "csv")]
mod csv;
mod dataset;
mod generator;
#[cfg(feature = "idx")]
mod idx;
mod metrics;
mod normalization;
#[cfg(feature = "npy")]
mod npy;
#[cfg(feature = "npz")]
mod npz;
#[cfg(any(feature = "npz", feature = "safetensors"))]
mod numbers;
mod replace;
#[cfg(feature = "npy")]
mod rows_of_file;
#[cfg(feature = "safetensors")]
mod safetensors;
mod samples;
mod shortened;
#[cfg(feature = "npy")]
mod stored;
mod usps;

pub use batches::Batches;
#[cfg(feature = "csv")]
#[cfg_attr(docsrs, doc(cfg(feature = "csv")))]
pub use csv::Csv;
pub use dataset::Dataset;
#[cfg(feature = "npy")]
#[cfg_attr(docsrs, doc(cfg(feature = "npy")))]
pub use dataset::load_data;
pub use generator::Generator;
#[cfg(feature = "idx")]
#[cfg_attr(docsrs, doc(cfg(feature = "idx")))]
pub use idx::{load_idx, load_mnist};
pub use metrics::{ConfusionMatrix, accuracy, predictions};
pub use normalization::Normalization;
#[cfg(feature = "npz")]
pub(crate) use npz::save_numbers;
#[cfg(feature = "npz")]
#[cfg_attr(docsrs, doc(cfg(feature = "npz")))]
pub use npz::{Npz, save_npz};
#[cfg(any(feature = "npz", feature = "safetensors"))]
pub(crate) use numbers::{Numbers, in_type};
pub(crate) use replace::replace;
#[cfg(feature = "safetensors")]
pub(crate) use safetensors::save_tensors;
#[cfg(feature = "safetensors")]
#[cfg_attr(docsrs, doc(cfg(feature = "safetensors")))]
pub use safetensors::{SafeTensors, save_safetensors};
pub use samples::{Samples, one_hot};
pub(crate) use shortened::shortened;
#[cfg(feature = "npy")]
#[cfg_attr(docsrs, doc(cfg(feature = "npy")))]
pub use stored::{StoredData, StoredSamples, open_data};
pub use usps::load_usps;
