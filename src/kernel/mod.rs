//! How operations are computed: slices in, slices out.
//!
//! Kernels do not know tapes, operations or derivatives. They write results to row-major slices that the caller owns.
//! Operands are slices, or a [`View`](view::View) if strides matter. No kernel allocates in steady state.

pub(crate) mod conv;
pub(crate) mod elementwise;
pub(crate) mod extreme;
pub(crate) mod index;
pub(crate) mod linalg;
pub(crate) mod loops;
pub mod matmul;
pub(crate) mod matrix;
pub(crate) mod norm;
pub(crate) mod normalize;
pub(crate) mod reduce;
pub(crate) mod scan;
pub(crate) mod softmax;
mod sums;
mod tree;
pub(crate) mod update;
pub(crate) mod view;
pub mod window;
