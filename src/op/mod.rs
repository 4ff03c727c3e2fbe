//! Operations: their data, shape rules, kernels and derivative rules.
//!
//! An operation is data: it can be stored, printed, planned and run. The rows of the table, [`Unary`] and [`Binary`],
//! are public: a program can apply any of them.
//!
//! | file | content |
//! |---|---|
//! | `rows` | THE TABLE of elementwise operations, as data |
//! | `elementwise` | the rows as operations: kernel, pullback, rule |
//! | `operation` | all operations, with names and parameters |
//! | `shape_rule`, `view_rule` | the shape of a result; the operations whose result is a view of the operand |
//! | `batch` | an operation that does the same to several arrays |
//! | `run`, `engine` | the kernel of each operation, behind one door for each number type |
//! | `rule` | the derivatives of structural operations |
//! | `tile`, `straight` | rows that run together, in a program: tile by tile, or number by number |
//! | `formula`, `words` | operations and rules as one writes them on paper: rows by running them on names |

mod axes;
mod batch;
mod data;
mod elementwise;
mod engine;
mod formula;
mod operation;
pub(crate) mod rows;
mod rule;
mod run;
mod shape_rule;
mod straight;
mod tile;
mod view_rule;
mod words;

pub(crate) use axes::{End, Permutation, Transposed};
pub(crate) use data::{IndexList, OpData};
pub use elementwise::{Binary, Saves, Unary};
pub use engine::Engine;
pub(crate) use engine::{Evaluated, evaluate};
pub use operation::names;
pub(crate) use operation::{Content, Linear, Op, ReduceKind};
pub(crate) use rule::{ConcatOffsets, Factors, RuleContext, matmul_vjp, vjp};
pub(crate) use shape_rule::matmul_shape;
#[cfg(feature = "decompositions")]
pub(crate) use shape_rule::{not_matrices, not_square};
pub use straight::Straight;
pub(crate) use straight::StraightBuilder;
pub(crate) use tile::{Gathered, Outside, TileGroup, TilePlace, TileRow, TileStep};
pub(crate) use words::Place;
