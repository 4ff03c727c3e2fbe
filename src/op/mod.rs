//! What an operation is, its shape rule, and the table of derivative rules.
//!
//! An operation is data: it can be stored, printed, planned and run. Two interpreters run it, one on arrays and
//! one that records on the tape, and every derivative rule is written once for both.
//! The rows of the table, [`Unary`] and [`Binary`], are public: a program can list them and apply any.

pub(crate) mod algebra;
mod run;
mod shape_rule;
pub(crate) mod table;

use std::cell::OnceCell;
use std::fmt;

use smallvec::SmallVec;

pub use algebra::{Algebra, Functions};
pub use run::Kernels;
pub(crate) use run::Lists;
pub(crate) use shape_rule::matmul_shape;
pub use table::{Binary, Reads, Unary};

use crate::kernel::window::Window;
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

    /// Returns the shape in the order in which it is read: a transpose swaps the last two axes.
    pub(crate) fn order(self, shape: &[usize]) -> Shape {
        match (self, shape) {
            (Self::Yes, &[ref batch @ .., rows, columns]) => batch.iter().copied().chain([columns, rows]).collect(),
            _ => Shape::from(shape),
        }
    }
}

/// The end of an axis from which a running sum starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    First,
    Last,
}

impl End {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::First => Self::Last,
            Self::Last => Self::First,
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

    /// Returns whether this order swaps the last two axes and nothing else: the transpose of a batch of matrices.
    pub(crate) fn is_transpose(&self) -> bool {
        let rank = self.0.len();
        let swapped = |axis: usize| if axis + 2 < rank { axis } else { 2 * rank - 3 - axis };
        rank >= 2 && self.axes().enumerate().all(|(position, axis)| axis == swapped(position))
    }

    /// Returns the order that swaps two axes.
    pub(crate) fn swapped(rank: usize, first: usize, second: usize) -> Self {
        Self::new((0..rank).map(|axis| match axis {
            _ if axis == first => second,
            _ if axis == second => first,
            _ => axis,
        }))
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
    /// The product of two matrices, either read as its transpose; of two batches of them, with broadcasting.
    Matmul { left: Transposed, right: Transposed } = "matmul";
    /// The sum over a set of axes.
    Sum { axes: AxisSet, keep: KeepDims } = "sum";
    /// The maximum over a set of axes.
    Max { axes: AxisSet, keep: KeepDims } = "max";
    /// The minimum over a set of axes.
    Min { axes: AxisSet, keep: KeepDims } = "min";
    /// The product over a set of axes.
    Prod { axes: AxisSet, keep: KeepDims } = "prod";
    /// The square root of the sum of squares over a set of axes.
    Norm { axes: AxisSet, keep: KeepDims } = "norm";
    /// `ln Σ e^x` over a set of axes.
    LogSumExp { axes: AxisSet, keep: KeepDims } = "logsumexp";
    /// The sums of all elements up to each, along an axis.
    CumSum { axis: usize, from: End } = "cumsum";
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

    /// The elements in reverse order along a set of axes.
    Flip(AxisSet) = "flip";
    /// A constant before and after the elements of an axis, which then has `length`.
    Pad { axis: usize, before: usize, length: usize, value: T } = "pad";
    /// The diagonal of the last two axes.
    Diagonal = "diagonal";
    /// The reverse of `diagonal`: zeros elsewhere, in matrices of `rows` and `columns`.
    Undiagonal { rows: usize, columns: usize } = "undiagonal";
    /// The last two axes on and below a diagonal, zeros above it.
    Tril(isize) = "tril";
    /// The last two axes on and above a diagonal, zeros below it.
    Triu(isize) = "triu";
    /// The second operand where the first, a mask, is not 0, else the third.
    Select = "select";

    /// The correlation of images with the kernels of a weight: `(N, C, H, W)` and `(O, C, h, w)`.
    Conv2d(Window) = "conv2d";
    /// The reverse of `conv2d` for the images: of results and weight.
    Conv2dInput { window: Window, size: [u32; 2] } = "conv2d_input";
    /// The reverse of `conv2d` for the weight: of images and results.
    Conv2dWeight(Window) = "conv2d_weight";
    /// From the second operand, what lies where the first has the largest element of each window.
    MaxPool2d(Window) = "max_pool2d";
    /// The reverse of `max_pool2d` for its second operand: zeros where no window has its largest element.
    MaxUnpool2d(Window) = "max_unpool2d";
    /// The mean of each window.
    AvgPool2d(Window) = "avg_pool2d";
    /// The reverse of `avg_pool2d`: each element spread over its window.
    AvgUnpool2d { window: Window, size: [u32; 2] } = "avg_unpool2d";
    /// `(x - mean) / √(variance + eps)` over a set of axes.
    Normalize { axes: AxisSet, eps: T } = "normalize";
    /// The reverse of `normalize`: of its operand and a cotangent.
    Denormalize { axes: AxisSet, eps: T } = "denormalize";
    /// `1 / √(variance + eps)` over a set of axes, which stay with length 1.
    InverseStd { axes: AxisSet, eps: T } = "inverse_std";

    /// The inverse of each matrix.
    Inverse = "inv";
    /// The determinant of each matrix.
    Det = "det";
    /// The derivative of the determinant of that order, applied to one matrix less than the order: of order 1, the cofactors.
    DetDerivative { order: u8 } = "det_derivative";
    /// The logarithm of the determinant of each matrix.
    LogDet = "logdet";
    /// The `x` with `a x = b`, or `aᵀ x = b`.
    Solve { left: Transposed } = "solve";
    /// The lower triangular `y` with `y yᵀ = x`.
    Cholesky = "cholesky";
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
            // A mask, and the operand that says where the largest elements are.
            Self::Select | Self::MaxPool2d(_) | Self::MaxUnpool2d(_) => k != 0,
            _ => true,
        }
    }

    /// Returns whether the operation is linear in its operands taken together: the derivative along a tangent is
    /// then the operation on the tangent. An operation that is not named here is differentiated by its rule.
    pub(crate) fn is_linear(&self) -> bool {
        match self {
            Self::Sum { .. }
            | Self::CumSum { .. }
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
            | Self::Flip(_)
            | Self::Diagonal
            | Self::Undiagonal { .. }
            | Self::Tril(_)
            | Self::Triu(_)
            | Self::AvgPool2d(_)
            | Self::AvgUnpool2d { .. } => true,
            // With zeros around; other numbers do not move.
            Self::Pad { value, .. } => *value == T::ZERO,
            _ => false,
        }
    }
}

/// Returns a number as it is printed; very large and small ones without all their zeros.
fn number<T: Scalar>(x: &T) -> String {
    let size = x.to_f64().abs();
    let plain = size == 0.0 || !size.is_finite() || (1e-7..1e16).contains(&size);
    if plain { x.to_string() } else { format!("{x:e}") }
}

/// Prints the operation as a call: the name, then its parameters.
impl<T: Scalar> fmt::Display for Op<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        let keep_text = |keep: &KeepDims| if *keep == KeepDims::Yes { ", keepdims" } else { "" };
        match self {
            Self::Unary(unary) if !unary.parameters().is_empty() => {
                write!(f, "[{}]", unary.parameters().iter().map(number).collect::<Vec<_>>().join(", "))
            }
            Self::Leaf | Self::Constant | Self::Param | Self::Unary(_) | Self::Binary(_) => Ok(()),
            Self::Custom(_) | Self::Checkpoint(_) => Ok(()),
            Self::Diagonal | Self::Select => Ok(()),
            Self::Inverse | Self::Det | Self::LogDet | Self::Cholesky => Ok(()),
            Self::DetDerivative { order } => write!(f, "[order {order}]"),
            Self::Solve { left: Transposed::No } => Ok(()),
            Self::Solve { left: Transposed::Yes } => f.write_str("[left transposed]"),
            Self::Matmul { left, right } => match (left, right) {
                (Transposed::No, Transposed::No) => Ok(()),
                (Transposed::Yes, Transposed::No) => f.write_str("[left transposed]"),
                (Transposed::No, Transposed::Yes) => f.write_str("[right transposed]"),
                (Transposed::Yes, Transposed::Yes) => f.write_str("[both transposed]"),
            },
            Self::CumSum { axis, from: End::First } => write!(f, "[axis {axis}]"),
            Self::CumSum { axis, from: End::Last } => write!(f, "[axis {axis}, from the end]"),
            Self::Sum { axes, keep }
            | Self::Max { axes, keep }
            | Self::Min { axes, keep }
            | Self::Prod { axes, keep }
            | Self::Norm { axes, keep }
            | Self::LogSumExp { axes, keep } => write!(f, "[axes {axes:?}{}]", keep_text(keep)),
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
            Self::Flip(axes) => write!(f, "[axes {axes:?}]"),
            Self::Pad { axis, before, length, value } => {
                write!(f, "[axis {axis}, {before} before, length {length}, value {value}]")
            }
            Self::Undiagonal { rows, columns } => write!(f, "[({rows}, {columns})]"),
            Self::Tril(offset) | Self::Triu(offset) => write!(f, "[{offset}]"),
            Self::Conv2d(window)
            | Self::Conv2dInput { window, .. }
            | Self::Conv2dWeight(window)
            | Self::MaxPool2d(window)
            | Self::MaxUnpool2d(window)
            | Self::AvgPool2d(window)
            | Self::AvgUnpool2d { window, .. } => {
                write!(f, "[kernel {:?}, stride {:?}", window.kernel, window.stride)?;
                if window.padding != [0, 0] {
                    write!(f, ", padding {:?}", window.padding)?;
                }
                f.write_str("]")
            }
            Self::Normalize { axes, eps } | Self::Denormalize { axes, eps } | Self::InverseStd { axes, eps } => {
                write!(f, "[axes {axes:?}, eps {eps}]")
            }
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

    /// Returns where operand `k` of arrays that are joined along `axis` begins.
    fn x_start(&self, k: usize, axis: usize) -> usize;

    /// Returns the result.
    fn y(&self) -> Self::Value;

    /// Returns a second handle to a value that a rule uses twice.
    fn again(&self, value: &Self::Value) -> Self::Value;

    /// Applies an operation.
    fn apply<const N: usize>(&self, op: Op<T>, operands: [Self::Value; N]) -> Self::Value;

    /// Runs the rule of a row of the table, or of a custom operation, for operand `k`.
    fn pull(&self, k: usize, g: Self::Value) -> Self::Value;
}

/// Where the operands of a node begin along the axis on which they are joined.
///
/// They are added up once for the node: counted anew for each operand, the rules of a long list of parts would take time
/// that grows with its square.
#[derive(Default)]
pub(crate) struct Starts(OnceCell<SmallVec<[usize; 8]>>);

impl Starts {
    /// Returns where operand `k` begins; `lengths` are those of all operands.
    pub(crate) fn of(&self, k: usize, lengths: impl Iterator<Item = usize>) -> usize {
        let add_up = |end: &mut usize, length: usize| Some(std::mem::replace(end, *end + length));
        self.0.get_or_init(|| lengths.scan(0, add_up).collect())[k]
    }
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
