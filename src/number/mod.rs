//! Number types: what kernels compute with. Nothing here knows of arrays, operations or tapes.

pub(crate) mod simd;

pub use simd::Vectors;
