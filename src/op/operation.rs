//! [`Op`]: an operation as data. It can be stored, printed, planned and run.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::mem;

use crate::kernel::window::Window;
use crate::number::Number;
use crate::op::axes::{End, Permutation, Transposed};
use crate::op::data::IndexList;
use crate::op::elementwise::{Binary, Saves, Unary};
use crate::shape::{AxisSet, KeepDims, Shape};

/// Defines an enum of operations. Each has a name, the text printed after the name, and perhaps an operand that only
/// selects among the elements of the others, or follows from them (`chosen_by`). No cotangent passes to that operand.
macro_rules! operations {
    (
        $(#[$enum_doc:meta])* $Enum:ident, $STRUCTURAL:ident;
        rows { $( $(#[$row_doc:meta])* $Row:ident($Inner:ty); )* }
        $(
            $(#[$doc:meta])*
            $Variant:ident $({ $($field:ident: $Field:tt),+ })? = $name:tt
                $(, [$($text:tt)+])? $(, chosen_by $chooser:literal)?;
        )*
    ) => {
        $(#[$enum_doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub enum $Enum<T> {
            $( $(#[$row_doc])* $Row($Inner), )*
            $(
                $(#[$doc])*
                $Variant $({ $( #[allow(missing_docs)] $field: $Field ),+ })?,
            )*
        }

        impl<T: Number> $Enum<T> {
            /// Returns the name, for messages and printed tapes.
            #[allow(unused_variables)]
            pub(crate) fn name(&self) -> &'static str {
                match self {
                    $( Self::$Row(row) => row.name(), )*
                    $( Self::$Variant $({ $($field),+ })? => operations!(@value $name), )*
                }
            }

            /// Returns whether a cotangent passes to operand `k`.
            #[allow(unused_variables)]
            #[inline]
            pub(crate) fn passes(&self, k: usize) -> bool {
                match self {
                    $( Self::$Row(row) => row.passes(k), )*
                    $( Self::$Variant { .. } => true $(&& k != $chooser)?, )*
                }
            }
        }

        impl<T: Number> Content for $Enum<T> {
            fn write_to(&self, words: &mut impl Hasher) {
                mem::discriminant(self).hash(words);
                match self {
                    $( Self::$Row(row) => row.write_to(words), )*
                    $( Self::$Variant $({ $($field),+ })? => { $($( operations!(@write $Field, $field, words); )+)? } )*
                }
            }
        }

        /// Prints the operation as a call: the name, then its parameters.
        impl<T: Number> fmt::Display for $Enum<T> {
            #[allow(unused_variables)]
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $( Self::$Row(row) => row.fmt(f), )*
                    $( Self::$Variant $({ $($field),+ })? => {
                        f.write_str(self.name())?;
                        $( write!(f, $($text)+)?; )?
                        Ok(())
                    } )*
                }
            }
        }

        /// The names of all operations except the rows.
        const $STRUCTURAL: &[&str] = &[$( operations!(@name $name) ),*];
    };
    (@write T, $field:ident, $words:ident) => { $words.write_u64($field.to_f64().to_bits()) };
    (@write $Field:tt, $field:ident, $words:ident) => { $field.hash($words) };
    (@value ($($name:tt)+)) => { $($name)+ };
    (@value $name:literal) => { $name };
    (@name $name:literal) => { $name };
    (@name ($($name:tt)+)) => { "" };
}

/// Operations that can be told apart by what they write to a hasher.
///
/// It is not `Hash`, because it tells 0 from -0, which are equal.
pub(crate) trait Content {
    /// Writes which operation it is, and its parameters bit by bit.
    fn write_to(&self, words: &mut impl Hasher);
}

impl<T: Number> Content for Unary<T> {
    fn write_to(&self, words: &mut impl Hasher) {
        mem::discriminant(self).hash(words);
        self.parameters().iter().for_each(|parameter| words.write_u64(parameter.to_f64().to_bits()));
    }
}

impl Content for Binary {
    fn write_to(&self, words: &mut impl Hasher) {
        self.hash(words);
    }
}

operations! {
    /// An operation that is linear in all its operands together. Its jvp is the operation applied to the tangents. Its
    /// vjp is its [adjoint](Linear::adjoint).
    Linear, LINEAR;
    rows {}

    /// The running sums along an axis.
    CumSum { axis: usize, from: End } = "cumsum", ["[axis {axis}{}]", from.suffix()];
    /// The same elements in another shape.
    Reshape { shape: Shape } = "reshape", ["[{shape}]"];
    /// The axes in another order.
    Permute { order: Permutation } = "permute", ["{order}"];
    /// Axes of length 1 and missing axes, repeated.
    BroadcastTo { shape: Shape } = "broadcast_to", ["[{shape}]"];
    /// The adjoint of `broadcast_to`: the sum over the repeated axes.
    SumTo { shape: Shape } = "sum_to", ["[{shape}]"];
    /// `length` elements of an axis: every `step`-th, from `start` on.
    Slice { axis: usize, start: usize, step: usize, length: usize } = "slice",
        ["[axis {axis}, start {start}, step {step}, length {length}]"];
    /// The adjoint of `slice`: zeros elsewhere, on an axis of `length`.
    SliceBackward { axis: usize, start: usize, step: usize, length: usize } = "slice_backward",
        ["[axis {axis}, start {start}, step {step}, length {length}]"];
    /// Chosen positions of an axis.
    IndexSelect { axis: usize, indices: IndexList } = "index_select", ["[axis {axis}, {} indices]", indices.length()];
    /// The adjoint of `index_select`: adds into zeros, on an axis of `length`.
    IndexAdd { axis: usize, indices: IndexList, length: usize } = "index_add",
        ["[axis {axis}, {} indices, length {length}]", indices.length()];
    /// One chosen element of each row.
    TakeAlongRows { columns: IndexList } = "pick", ["[{} columns]", columns.length()];
    /// The adjoint of `pick`: zeros elsewhere, in rows of `width`.
    TakeAlongRowsBackward { columns: IndexList, width: usize } = "pick_backward",
        ["[{} columns, width {width}]", columns.length()];
    /// Arrays joined along an axis.
    Concat { axis: usize } = "concat", ["[axis {axis}]"];
    /// The elements in reverse order along a set of axes.
    Flip { axes: AxisSet } = "flip", ["[axes {axes:?}]"];
    /// A constant before and after the elements of an axis, which then has `length`. The operation is linear if the
    /// constant is 0. Otherwise its [linear part](Self::linear_part) has the same jvp and adjoint.
    Pad { axis: usize, before: usize, length: usize, value: T } = "pad",
        ["[axis {axis}, {before} before, length {length}, value {value}]"];
    /// The diagonal of the last two axes.
    Diagonal = "diagonal";
    /// The adjoint of `diagonal`: zeros elsewhere, in matrices of `rows` and `columns`.
    DiagonalBackward { rows: usize, columns: usize } = "diagonal_backward", ["[({rows}, {columns})]"];
    /// The last two axes on and below a diagonal, zeros above it.
    Tril { offset: isize } = "tril", ["[{offset}]"];
    /// The last two axes on and above a diagonal, zeros below it.
    Triu { offset: isize } = "triu", ["[{offset}]"];
    /// The mean of each window.
    AvgPool2d { window: Window } = "avg_pool2d", ["{window}"];
    /// The adjoint of `avg_pool2d`: each element spread over its window.
    AvgPool2dBackward { window: Window, size: [u32; 2] } = "avg_pool2d_backward", ["{window}"];
}

operations! {
    /// An operation: it computes an array from other arrays.
    Op, OTHER;
    rows {
        /// A row of the table.
        Unary(Unary<T>);
        /// A row of the table.
        Binary(Binary);
        /// A linear operation.
        Linear(Linear<T>);
    }

    /// The product of two matrices, or of two batches of matrices with broadcasting. Each operand may be read as its
    /// transpose.
    Matmul { left: Transposed, right: Transposed } = "matmul", ["{}", both_transposed(*left, *right)];
    /// A reduction over a set of axes.
    Reduce { kind: ReduceKind, axes: AxisSet, keep: KeepDims } = (kind.name()), ["[axes {axes:?}{}]", keep_text(*keep)];
    /// `e^x / Σ e^x` along an axis.
    Softmax { axis: usize } = "softmax", ["[axis {axis}]"];
    /// `x - ln Σ e^x` along an axis.
    LogSoftmax { axis: usize } = "log_softmax", ["[axis {axis}]"];
    /// The second operand where the first, a mask, is not 0, else the third.
    Select = "select", chosen_by 0;

    /// The correlation of images with the kernels of a weight: `(N, C, H, W)` and `(O, C, h, w)`.
    Conv2d { window: Window } = "conv2d", ["{window}"];
    /// The adjoint of `conv2d` for the images. Its operands are a cotangent and the weight.
    Conv2dInput { window: Window, size: [u32; 2] } = "conv2d_input", ["{window}"];
    /// The adjoint of `conv2d` for the weight. Its operands are the images and a cotangent.
    Conv2dWeight { window: Window } = "conv2d_weight", ["{window}"];
    /// For each window, the element of the second operand at the position of the first operand's largest element.
    TakeAtArgmax2d { window: Window } = "max_pool2d", ["{window}"], chosen_by 0;
    /// The adjoint of `max_pool2d` for its second operand: zeros where no window has its largest element.
    TakeAtArgmax2dBackward { window: Window } = "max_pool2d_backward", ["{window}"], chosen_by 0;
    /// `(x - mean) / √(variance + eps)` over a set of axes.
    Normalize { axes: AxisSet, eps: T } = "normalize", ["[axes {axes:?}, eps {eps}]"];
    /// The first operand normalized as by `normalize`, times the second, plus the third. The two broadcast to its shape.
    NormalizeAffine { axes: AxisSet, eps: T } = "normalize_affine", ["[axes {axes:?}, eps {eps}]"];
    /// The vjp of `normalize`. Its operands are the operand of `normalize` and a cotangent.
    NormalizeBackward { axes: AxisSet, eps: T } = "normalize_backward", ["[axes {axes:?}, eps {eps}]"];
    /// `1 / √(variance + eps)` over a set of axes, which stay with length 1.
    InverseStd { axes: AxisSet, eps: T } = "inverse_std", ["[axes {axes:?}, eps {eps}]"];

    /// The inverse of each matrix.
    Inverse = "inv";
    /// The determinant of each matrix.
    Det = "det";
    /// The order-k derivative of `det` contracted with k - 1 directions, as a matrix; order 1 is the cofactor matrix.
    DetDerivative { order: u8 } = "det_derivative", ["[order {order}]"];
    /// The logarithm of the determinant of each matrix.
    LogDet = "logdet";
    /// The sign of the determinant of each matrix, which is a constant.
    DetSign = "det_sign", chosen_by 0;
    /// The `x` with `a x = b`, or `aᵀ x = b`.
    Solve { left: Transposed } = "solve", ["{}", both_transposed(*left, Transposed::No)];
    /// A factorization of each matrix, with one row more: what a solution computes first. It depends on the matrix alone, and
    /// no derivative is taken through it.
    Factors = "factors", chosen_by 0;
    /// The same as `solve`. The third operand, the factors of the first, saves time; the derivative is that by the first.
    SolveByFactors { left: Transposed } = "solve_by_factors", ["{}", both_transposed(*left, Transposed::No)], chosen_by 2;
    /// The lower triangular `y` with `y yᵀ = x`.
    Cholesky = "cholesky";
}

/// The function of a reduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReduceKind {
    /// The sum.
    Sum,
    /// The maximum.
    Max,
    /// The minimum.
    Min,
    /// The product.
    Prod,
    /// The square root of the sum of squares.
    Norm,
    /// `ln Σ e^x`.
    LogSumExp,
}

impl ReduceKind {
    const ALL: [Self; 6] = [Self::Sum, Self::Max, Self::Min, Self::Prod, Self::Norm, Self::LogSumExp];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Max => "max",
            Self::Min => "min",
            Self::Prod => "prod",
            Self::Norm => "norm",
            Self::LogSumExp => "logsumexp",
        }
    }
}

impl<T: Number> Unary<T> {
    #[inline]
    fn passes(&self, _k: usize) -> bool {
        self.saves() != Saves::NotDifferentiable
    }
}

impl Binary {
    #[inline]
    fn passes(self, k: usize) -> bool {
        self.saves(k) != Saves::NotDifferentiable
    }
}

impl<T: Number> Linear<T> {
    /// Returns the operation with 0 instead of its constant.
    pub(crate) fn linear_part(mut self) -> Self {
        if let Self::Pad { value, .. } = &mut self {
            *value = T::ZERO;
        }
        self
    }
}

impl<T> From<Unary<T>> for Op<T> {
    #[inline]
    fn from(row: Unary<T>) -> Self {
        Self::Unary(row)
    }
}

impl<T> From<Binary> for Op<T> {
    #[inline]
    fn from(row: Binary) -> Self {
        Self::Binary(row)
    }
}

impl<T> From<Linear<T>> for Op<T> {
    #[inline]
    fn from(linear: Linear<T>) -> Self {
        Self::Linear(linear)
    }
}

/// Returns the names of all operations that a tape can hold, except sources. A test of all operations has to cover
/// them.
#[doc(hidden)]
#[must_use]
pub fn names() -> Vec<&'static str> {
    let mut names =
        [Unary::<f64>::NAMES, Binary::NAMES, LINEAR, OTHER, &ReduceKind::ALL.map(ReduceKind::name)].concat();
    names.retain(|name| !name.is_empty());
    names.extend(["custom", "checkpoint"]);
    names
}

/// Prints the row as a call: the name, then its parameters.
impl<T: Number> fmt::Display for Unary<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match &*self.parameters() {
            [] => Ok(()),
            parameters => write!(f, "[{}]", parameters.iter().map(number).collect::<Vec<_>>().join(", ")),
        }
    }
}

/// Prints the row as a call: the name.
impl fmt::Display for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Returns a number as text; very large and very small numbers in exponent notation.
fn number<T: Number>(x: &T) -> String {
    let size = x.to_f64().abs();
    let plain = size == 0.0 || !size.is_finite() || (1e-7..1e16).contains(&size);
    if plain { x.to_string() } else { format!("{x:e}") }
}

fn keep_text(keep: KeepDims) -> &'static str {
    match keep {
        KeepDims::Yes => ", keepdims",
        KeepDims::No => "",
    }
}

fn both_transposed(left: Transposed, right: Transposed) -> &'static str {
    match (left, right) {
        (Transposed::No, Transposed::No) => "",
        (Transposed::Yes, Transposed::No) => "[left transposed]",
        (Transposed::No, Transposed::Yes) => "[right transposed]",
        (Transposed::Yes, Transposed::Yes) => "[both transposed]",
    }
}
