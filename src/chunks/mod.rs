//! Gradients of a large batch, chunk by chunk: the memory of a few chunks, data read once, and every core at work.
//!
//! The loss of a batch is a sum over its rows, and so is its gradient. [`Chunks`] cuts the rows into chunks, computes
//! loss and gradient of each, and adds them up. What is recorded of a chunk of a few hundred rows stays in the
//! second-level cache, from the forward pass to the gradient of the weights. A whole large batch goes out to memory and
//! comes back between any two operations.
//!
//! | | a chunk is | state of a thread |
//! |---|---|---|
//! | [`Chunks::new`], [`Chunks::accumulate_gradients`] | recorded and swept | a tape |
//! | [`Chunks::by_hand`], [`Chunks::accumulate_by_hand`] | computed by hand-derived layers | what the user's function makes |
//!
//! # The same bits for any number of threads
//!
//! With the feature `rayon`, chunks are spread over [threads](crate::threads). Losses and gradients are added in a tree
//! over the chunks' numbers. A tree over `n` chunks adds the tree over the first half of them to the tree over the
//! others; the first half has one chunk more if `n` is odd. So the order depends on the number of rows and the size of a
//! chunk, and on nothing else. With the feature `mpi`, processes share the chunks, and the tree is the same.
//!
//! The sum over all rows at once is added in another order. It differs by rounding.
//!
//! # All or nothing
//!
//! The gradients of a chunk are collected beside the parameters. They reach [`Param::grad`](crate::Param::grad) when
//! the last chunk is done. If a chunk panics or returns an error, no gradient changes.
//!
//! A chunk belongs to the thread that runs it. Contributions to parameters from other threads, such as tasks that a
//! chunk starts, are not collected.
//!
//! # Memory
//!
//! Every thread keeps the memory of one chunk. A gradient waits in each level of the tree until its neighbour is there.
//! With one thread, `log₂(chunks) + 1` gradients exist at a time; with `t` threads, at most `t` times as many. All
//! memory is kept for the next call: from the second call on, one thread allocates nothing.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//!
//! use ndarray::array;
//! use tapegrad::chunks::{Chunks, Rows};
//! use tapegrad::{Param, Tape};
//!
//! let x = Arc::new(array![[1.0], [2.0], [3.0]]);
//! let w = Param::new(array![[2.0]]);
//!
//! // The mean of (x w)² over three rows, in chunks of two rows and of one.
//! let mut chunks = Chunks::new(2);
//! let loss = chunks.accumulate_gradients(Rows::mean(3), |tape, rows| {
//!     let x = tape.constant(&x).slice(0, rows); // no copy
//!     x.matmul(tape.param(&w)).square().mean()
//! });
//! assert!((loss - 56.0_f64 / 3.0).abs() < 1e-14); // (2² + 4² + 6²) / 3
//! assert!((w.grad().unwrap()[[0, 0]] - 56.0 / 3.0).abs() < 1e-14); // 2 w (1² + 2² + 3²) / 3
//! ```

mod accumulate;
#[cfg(feature = "mpi")]
mod parts;
mod rows;
#[cfg(any(test, feature = "mpi"))]
mod shards;
mod tree;

pub use accumulate::Chunks;
#[cfg(feature = "mpi")]
pub(crate) use parts::Sums;
pub use rows::Rows;
#[cfg(feature = "mpi")]
pub(crate) use shards::Shards;
