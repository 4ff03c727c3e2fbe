//! What an operation is, its shape rule, and the table of derivative rules.
//!
//! An operation is data: it can be stored, printed, planned and run. Two interpreters run it, one on arrays and
//! one that records on the tape, and every derivative rule is written once for both.
//! The rows of the table, [`Unary`] and [`Binary`], are public: a program can list them and apply any.

pub(crate) mod algebra;
mod run;
mod shape_rule;
pub(crate) mod table;

use std::fmt;

use smallvec::SmallVec;

pub use algebra::Algebra;
pub use run::Kernels;
pub(crate) use run::Lists;
pub(crate) use shape_rule::matmul_shape;
pub use table::{Binary, Reads, Unary};

use crate::scalar::Scalar;
use crate::shape::{AxisSet, KeepDims, Shape};

/// Whether a matrix operand is read as its transpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transposed {
    No,
    Yes,
}

impl Transposed {
    pub(crate) fn flipped(self) -> Self {
        match self {
            Self::No => Self::Yes,
            Self::Yes => Self::No,
        }
    }

    /// Returns the shape in the order in which it is read.
    pub(crate) fn order(self, shape: &[usize]) -> Shape {
        match self {
            Self::No => Shape::from(shape),
            Self::Yes => shape.iter().rev().copied().collect(),
        }
    }
}

/// An order of axes: axis `i` of the result is axis `self[i]` of the operand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Permutation(SmallVec<[u8; 8]>);

impl Permutation {
    /// Returns the order that reverses all axes.
    pub(crate) fn reversed(rank: usize) -> Self {
        Self((0..rank as u8).rev().collect())
    }

    /// Returns the order made of these axes.
    pub(crate) fn new(axes: impl Iterator<Item = usize>) -> Self {
        Self(axes.map(|axis| axis as u8).collect())
    }

    pub(crate) fn axes(&self) -> impl ExactSizeIterator<Item = usize> {
        self.0.iter().map(|&axis| usize::from(axis))
    }

    /// Returns the order that undoes this one.
    pub(crate) fn inverse(&self) -> Self {
        let mut inverse: SmallVec<[u8; 8]> = SmallVec::from_elem(0, self.0.len());
        for (position, axis) in self.axes().enumerate() {
            inverse[axis] = position as u8;
        }
        Self(inverse)
    }

    /// Returns `dims` in this order.
    pub(crate) fn apply(&self, dims: &[usize]) -> Shape {
        self.axes().map(|axis| dims[axis]).collect()
    }
}

/// A list of indices that the tape keeps, by its number: operations stay small and recording one allocates nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IndexList {
    pub(crate) id: u32,
    pub(crate) length: u32,
}

/// A custom operation that the tape keeps, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CustomId(pub(crate) u32);

/// A segment that the tape keeps, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentId(pub(crate) u32);

macro_rules! ops {
    ($( $(#[$doc:meta])* $Variant:ident $({ $($field:ident: $Field:ty),+ })? $(($Inner:ty))? = $name:literal; )*) => {
        /// An operation: what a node of the tape does to its operands.
        #[derive(Clone, Debug, PartialEq)]
        pub(crate) enum Op<T> {
            /// No operation: a differentiable input.
            Leaf,
            /// No operation: an input that is not differentiated.
            Constant,
            /// No operation: the value of a [`Param`](crate::Param).
            Param,
            /// A row of the table.
            Unary(Unary<T>),
            /// A row of the table.
            Binary(Binary),
            /// The user's own.
            Custom(CustomId),
            /// A part of the computation that sweeps run again.
            Checkpoint(SegmentId),
            $( $(#[$doc])* $Variant $({ $($field: $Field),+ })? $(($Inner))?, )*
        }

        impl<T: Scalar> Op<T> {
            /// Returns the name that messages and printed tapes use.
            pub(crate) fn name(&self) -> &'static str {
                match self {
                    Self::Leaf => "leaf",
                    Self::Constant => "constant",
                    Self::Param => "param",
                    Self::Unary(unary) => unary.name(),
                    Self::Binary(binary) => binary.name(),
                    Self::Custom(_) => "custom",
                    Self::Checkpoint(_) => "checkpoint",
                    $( Self::$Variant { .. } => $name, )*
                }
            }
        }

        /// The names of the structural operations.
        const STRUCTURAL: &[&str] = &[$($name),*];
    };
}

ops! {
    /// The product of two matrices, either read as its transpose.
    Matmul { left: Transposed, right: Transposed } = "matmul";
    /// The sum over a set of axes.
    Sum { axes: AxisSet, keep: KeepDims } = "sum";
    /// The maximum over a set of axes.
    Max { axes: AxisSet, keep: KeepDims } = "max";
    /// `e^x / Σ e^x` along an axis.
    Softmax { axis: usize } = "softmax";
    /// `x - ln Σ e^x` along an axis.
    LogSoftmax { axis: usize } = "log_softmax";
    /// The same elements in another shape.
    Reshape(Shape) = "reshape";
    /// The axes in another order.
    Permute(Permutation) = "permute";
    /// Axes of length 1, and missing ones, repeated.
    BroadcastTo(Shape) = "broadcast_to";
    /// The reverse of `broadcast_to`: the sum over what it repeats.
    SumTo(Shape) = "sum_to";
    /// Every `step`-th element of an axis, from `start` on, `length` of them.
    Slice { axis: usize, start: usize, step: usize, length: usize } = "slice";
    /// The reverse of `slice`: zeros elsewhere, on an axis of `length`.
    Unslice { axis: usize, start: usize, step: usize, length: usize } = "unslice";
    /// Chosen positions of an axis.
    IndexSelect { axis: usize, indices: IndexList } = "index_select";
    /// The reverse of `index_select`: adds into zeros, on an axis of `length`.
    IndexAdd { axis: usize, indices: IndexList, length: usize } = "index_add";
    /// One chosen element of each row.
    Pick { columns: IndexList } = "pick";
    /// The reverse of `pick`: zeros elsewhere, in rows of `width`.
    Unpick { columns: IndexList, width: usize } = "unpick";
    /// Arrays joined along an axis.
    Concat { axis: usize } = "concat";
}

/// Returns the names of all operations that a tape can hold, sources excepted: what a test of all of them has to cover.
///
/// # Example
///
/// ```
/// assert!(tapegrad::op::names().contains(&"matmul"));
/// assert!(tapegrad::op::names().contains(&"tanh"));
/// ```
#[must_use]
pub fn names() -> Vec<&'static str> {
    [Unary::<f64>::NAMES, Binary::NAMES, STRUCTURAL, &["custom", "checkpoint"]].concat()
}

impl<T: Scalar> Op<T> {
    /// Returns whether a cotangent passes to operand `k`.
    pub(crate) fn passes(&self, k: usize) -> bool {
        match self {
            Self::Unary(unary) => unary.reads() != Reads::Flat,
            Self::Binary(binary) => binary.reads(k) != Reads::Flat,
            _ => true,
        }
    }
}

impl<T: Scalar> Op<T> {
    /// Returns whether the operation is linear in its operands taken together: the derivative along a tangent is
    /// then the operation on the tangent. An operation that is not named here is differentiated by its rule.
    pub(crate) fn is_linear(&self) -> bool {
        matches!(
            self,
            Self::Sum { .. }
                | Self::Reshape(_)
                | Self::Permute(_)
                | Self::BroadcastTo(_)
                | Self::SumTo(_)
                | Self::Slice { .. }
                | Self::Unslice { .. }
                | Self::IndexSelect { .. }
                | Self::IndexAdd { .. }
                | Self::Pick { .. }
                | Self::Unpick { .. }
                | Self::Concat { .. }
        )
    }
}

/// Prints the operation as a call: the name, then its parameters.
impl<T: Scalar> fmt::Display for Op<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        let keep_text = |keep: &KeepDims| if *keep == KeepDims::Yes { ", keepdims" } else { "" };
        match self {
            Self::Unary(unary) if !unary.parameters().is_empty() => {
                write!(f, "[{}]", unary.parameters().iter().map(T::to_string).collect::<Vec<_>>().join(", "))
            }
            Self::Leaf | Self::Constant | Self::Param | Self::Unary(_) | Self::Binary(_) => Ok(()),
            Self::Custom(_) | Self::Checkpoint(_) => Ok(()),
            Self::Matmul { left, right } => match (left, right) {
                (Transposed::No, Transposed::No) => Ok(()),
                (Transposed::Yes, Transposed::No) => f.write_str("[left transposed]"),
                (Transposed::No, Transposed::Yes) => f.write_str("[right transposed]"),
                (Transposed::Yes, Transposed::Yes) => f.write_str("[both transposed]"),
            },
            Self::Sum { axes, keep } | Self::Max { axes, keep } => write!(f, "[axes {axes:?}{}]", keep_text(keep)),
            Self::Softmax { axis } | Self::LogSoftmax { axis } | Self::Concat { axis } => write!(f, "[axis {axis}]"),
            Self::Reshape(shape) | Self::BroadcastTo(shape) | Self::SumTo(shape) => write!(f, "[{shape}]"),
            Self::Permute(permutation) => write!(f, "{:?}", permutation.0),
            Self::Slice { axis, start, step, length } | Self::Unslice { axis, start, step, length } => {
                write!(f, "[axis {axis}, start {start}, step {step}, length {length}]")
            }
            Self::IndexSelect { axis, indices } => write!(f, "[axis {axis}, {} indices]", indices.length),
            Self::IndexAdd { axis, indices, length } => {
                write!(f, "[axis {axis}, {} indices, length {length}]", indices.length)
            }
            Self::Pick { columns } => write!(f, "[{} columns]", columns.length),
            Self::Unpick { columns, width } => write!(f, "[{} columns, width {width}]", columns.length),
        }
    }
}

/// What the rules of the table ask of the sweep that runs them: one runs them on arrays, one records them.
///
/// A value of it stands at one node: `x` and `y` are that node's operands and result.
pub(crate) trait Interpreter<T: Scalar> {
    /// An array, or a `Var`.
    type Value;

    /// Returns operand `k`.
    fn x(&self, k: usize) -> Self::Value;

    /// Returns the shape of operand `k`.
    fn x_shape(&self, k: usize) -> Shape;

    /// Returns the result.
    fn y(&self) -> Self::Value;

    /// Returns a second handle to a value that a rule uses twice.
    fn again(&self, value: &Self::Value) -> Self::Value;

    /// Applies an operation.
    fn apply<const N: usize>(&self, op: Op<T>, operands: [Self::Value; N]) -> Self::Value;

    /// Runs the rule of a row of the table, or of a custom operation, for operand `k`.
    fn pull(&self, k: usize, g: Self::Value) -> Self::Value;
}

/// The result of a rule: its last operation, left to the sweep to apply.
pub(crate) enum Term<T, V> {
    /// Apply this to one operand.
    One(Op<T>, V),
    /// Apply this to two operands.
    Two(Op<T>, V, V),
    /// It is applied.
    Done(V),
}
