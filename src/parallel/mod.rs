//! Gradients over several processes, on one machine or many, by MPI: the same bits for any number of them.
//!
//! This module needs the feature `mpi`, and an MPI library beside a C compiler and libclang (on Debian the packages
//! `libopenmpi-dev openmpi-bin libclang-dev`). The page [scaling out](crate::scaling_out) says when it pays.
//!
//! The processes of a run are its *ranks*. Each has all parameters and some rows of the data. A step is that of one
//! process: gradient, then optimizer. Only the gradient is computed by all ranks together:
//!
//! 1. [`Mpi::shard`] gives every rank successive [chunks](crate::chunks) of the batch, about as many as any other rank.
//! 2. [`Replica::new`] gives all ranks the parameters of rank 0.
//! 3. [`Replica::accumulate_gradients`] runs each rank's chunks, and adds up the sums of all ranks. Every rank gets the
//!    total, and takes the same step.
//!
//! # The same bits for any number of ranks
//!
//! The tree over the chunks' numbers says in which order losses and gradients are added, whoever computes them. A rank adds
//! up the largest subtrees that are its own: its *parts*. The rest of the tree is computed from the parts. So 1, 2, 3 or 4
//! ranks, of any number of threads, have the same parameters after any number of steps, and those of
//! [`Chunks`](crate::chunks::Chunks) without MPI.
//!
//! # What travels
//!
//! First a record of 512 bytes goes from every rank to every other one: whether there is an error, and the losses. Then the
//! numbers of the gradient are divided among the ranks. Each rank gets its range of every part, adds it up, and sends the
//! sum to all. With `P` ranks and a gradient of `G` bytes, a rank sends `k (P - 1) / P · G` bytes of its `k` parts, and
//! `(P - 1) / P · G` bytes of the total. It receives as many. If `P` is a power of two, `k` is 1. Then a rank sends less
//! than `2 G` bytes in a step, which is the least that is possible. Otherwise `k` is a few.
//!
//! A rank's sum is complete after its last chunk. To send the sum of its first half earlier would send one gradient more,
//! and the second half would take as long. So nothing is sent before all chunks are done.
//!
//! The state of the optimizer is on every rank. To divide it (stage 1 of ZeRO) takes an optimizer that steps on a range of
//! all numbers instead of whole parameters. Then the ranks would gather values instead of gradients: as many bytes.
//!
//! # When something goes wrong
//!
//! | | what happens |
//! |---|---|
//! | an error of a chunk, a NaN or an infinity, other rows or shapes on one rank, a rank without rows | an error on every rank, no gradient changes |
//! | [`Mpi::agree`] with an error, for instance of a file | an error on every rank |
//! | a rank has dropped its [`Mpi`] | an error on every rank that calls a common act |
//! | a rank panics | its message, and all ranks are ended with a failing exit code |
//! | a rank dies | `mpirun` ends the others, and fails |
//! | a rank is silent | after the timeout the others name it and end the run |
//!
//! A checkpoint that rank 0 writes with [`save_npz`](crate::data::save_npz) is whole at any time. All ranks have the same
//! parameters, so a run goes on with any number of them.

mod replica;
mod wire;
mod world;

pub use replica::Replica;
pub use world::Mpi;
