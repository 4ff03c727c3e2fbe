//! The derivative rules of structural operations, each written once for both sweeps: [`vjp`], and the adjoints of linear
//! operations. The rules of elementwise operations are in the rows of the table.
//!
//! `g` is the cotangent of the output `y`. A rule returns the cotangent of an operand. Rules are written in a small
//! language, the methods of [`RuleContext`]: one sweep computes them on arrays, the other records them. Rules do not
//! handle broadcasting: the sweep undoes it.

use std::cell::OnceCell;

use smallvec::SmallVec;

use crate::number::Number;
use crate::op::axes::{Permutation, Transposed};
use crate::op::elementwise::{Binary, Unary};
use crate::op::operation::{Linear, Op, ReduceKind};
use crate::shape::{AxisSet, KeepDims, Shape};

/// The language of rules, at one node: `x` are the operands of the node, `y` is its result.
///
/// One sweep runs the rules on arrays, the other records them.
pub(crate) trait RuleContext<T: Number> {
    /// An array, or a `Var`.
    type Value;

    /// Returns operand `k`.
    fn x(&self, k: usize) -> Self::Value;

    /// Returns the shape of operand `k`.
    fn x_shape(&self, k: usize) -> Shape;

    /// Returns the position along `axis` at which operand `k` of a concatenation begins.
    fn x_start(&self, k: usize, axis: usize) -> usize;

    /// Returns the result.
    fn y(&self) -> Self::Value;

    /// Returns a second handle to a value that a rule uses twice.
    fn dup(&self, value: &mut Self::Value) -> Self::Value;

    /// Applies an operation.
    fn apply<const N: usize>(&self, op: impl Into<Op<T>>, operands: [Self::Value; N]) -> Self::Value;

    /// Runs the rule of a row of the table for operand `k`.
    fn row_vjp(&self, k: usize, g: Self::Value) -> Self::Value;

    /// `a + b`.
    #[inline]
    fn add(&self, a: Self::Value, b: Self::Value) -> Self::Value {
        self.apply(Binary::Add, [a, b])
    }

    /// `a - b`.
    #[inline]
    fn sub(&self, a: Self::Value, b: Self::Value) -> Self::Value {
        self.apply(Binary::Sub, [a, b])
    }

    /// `a b`, element by element.
    #[inline]
    fn mul(&self, a: Self::Value, b: Self::Value) -> Self::Value {
        self.apply(Binary::Mul, [a, b])
    }

    /// `-x`.
    #[inline]
    fn neg(&self, x: Self::Value) -> Self::Value {
        self.apply(Unary::Neg, [x])
    }

    /// `x²`.
    #[inline]
    fn square(&self, x: Self::Value) -> Self::Value {
        self.apply(Unary::Square, [x])
    }

    /// `x * factor`.
    #[inline]
    fn scale(&self, x: Self::Value, factor: f64) -> Self::Value {
        self.apply(Unary::Scale { factor: T::from_f64(factor) }, [x])
    }

    /// `x / divisor`.
    #[inline]
    fn divide_by(&self, x: Self::Value, divisor: f64) -> Self::Value {
        self.apply(Unary::DivideBy { divisor: T::from_f64(divisor) }, [x])
    }

    /// `x` where `mask` is positive, else 0: selected, not multiplied.
    #[inline]
    fn where_positive(&self, x: Self::Value, mask: Self::Value) -> Self::Value {
        self.apply(Binary::WherePositive, [x, mask])
    }

    /// The sum over `axes`, which stay with length 1.
    #[inline]
    fn sum(&self, x: Self::Value, axes: AxisSet) -> Self::Value {
        self.apply(Op::Reduce { kind: ReduceKind::Sum, axes, keep: KeepDims::Yes }, [x])
    }

    /// The elements in another shape.
    #[inline]
    fn reshape(&self, x: Self::Value, shape: Shape) -> Self::Value {
        self.apply(Linear::Reshape { shape }, [x])
    }

    /// A reduced value, with the reduced axes restored at length 1, so that it broadcasts against the operand.
    #[inline]
    fn keep_dims(&self, reduced: Self::Value, axes: AxisSet) -> Self::Value {
        self.reshape(reduced, self.x_shape(0).reduced(axes, KeepDims::Yes))
    }

    /// The product of matrices.
    #[inline]
    fn matmul(&self, a: (Self::Value, Transposed), b: (Self::Value, Transposed)) -> Self::Value {
        self.apply(Op::Matmul { left: a.1, right: b.1 }, [a.0, b.0])
    }

    /// The solution of `a x = b`, or of `aᵀ x = b`.
    fn solve(&self, a: (Self::Value, Transposed), b: Self::Value) -> Self::Value {
        self.apply(Op::Solve { left: a.1 }, [a.0, b])
    }

    /// The transposes of matrices that have the shape of the operand.
    fn transpose(&self, matrices: Self::Value) -> Self::Value {
        self.apply(Linear::Permute { order: Permutation::transpose(self.x_shape(0).len()) }, [matrices])
    }

    /// A number for each matrix of the operand, as a 1 x 1 matrix.
    fn matrix_of_one(&self, number: Self::Value) -> Self::Value {
        let shape = self.x_shape(0);
        let batch = shape[..shape.len() - 2].iter().copied();
        self.reshape(number, batch.chain([1, 1]).collect())
    }
}

impl<T: Number> Op<T> {
    /// Returns whether the operation is linear in its operands taken together, up to constants that it adds.
    pub(crate) fn is_linear(&self) -> bool {
        matches!(self, Self::Linear(_) | Self::Reduce { kind: ReduceKind::Sum, .. })
    }

    /// Returns the jvp of a linear operation, as an operation on the tangents.
    pub(crate) fn linear_part(self) -> Self {
        match self {
            Self::Linear(linear) => Self::Linear(linear.linear_part()),
            other => other,
        }
    }
}

impl<T: Number> Linear<T> {
    /// Returns the adjoint with respect to operand `k`, as an operation on the cotangent of the result.
    ///
    /// Moved elements move back, repeated elements are summed, and elements that were left out get 0.
    pub(crate) fn adjoint(&self, k: usize, at: &impl RuleContext<T>) -> Self {
        match *self {
            Self::CumSum { axis, from } => Self::CumSum { axis, from: from.other() },
            Self::Reshape { .. } => Self::Reshape { shape: at.x_shape(k) },
            Self::Permute { ref order } => Self::Permute { order: order.inverse() },
            Self::BroadcastTo { .. } => Self::SumTo { shape: at.x_shape(k) },
            Self::SumTo { .. } => Self::BroadcastTo { shape: at.x_shape(k) },
            Self::Slice { axis, start, step, .. } => {
                Self::SliceBackward { axis, start, step, length: at.x_shape(k)[axis] }
            }
            Self::SliceBackward { axis, start, step, .. } => {
                Self::Slice { axis, start, step, length: at.x_shape(k)[axis] }
            }
            Self::IndexSelect { axis, indices } => Self::IndexAdd { axis, indices, length: at.x_shape(k)[axis] },
            Self::IndexAdd { axis, indices, .. } => Self::IndexSelect { axis, indices },
            Self::TakeAlongRows { columns } => Self::TakeAlongRowsBackward { columns, width: at.x_shape(k)[1] },
            Self::TakeAlongRowsBackward { columns, .. } => Self::TakeAlongRows { columns },
            Self::Concat { axis } => {
                Self::Slice { axis, start: at.x_start(k, axis), step: 1, length: at.x_shape(k)[axis] }
            }
            Self::Flip { axes } => Self::Flip { axes },
            Self::Pad { axis, before, .. } => Self::Slice { axis, start: before, step: 1, length: at.x_shape(k)[axis] },
            Self::Diagonal => {
                let shape = at.x_shape(k);
                Self::DiagonalBackward { rows: shape[shape.len() - 2], columns: shape[shape.len() - 1] }
            }
            Self::DiagonalBackward { .. } => Self::Diagonal,
            Self::Tril { offset } => Self::Tril { offset },
            Self::Triu { offset } => Self::Triu { offset },
            Self::AvgPool2d { window } => Self::AvgPool2dBackward { window, size: size(&at.x_shape(k)) },
            Self::AvgPool2dBackward { window, .. } => Self::AvgPool2d { window },
        }
    }
}

/// Returns the rule of an operation for its operand `k`: the vector-Jacobian product with the cotangent `g`.
#[inline]
pub(crate) fn vjp<T: Number, I: RuleContext<T>>(op: &Op<T>, k: usize, i: &I, mut g: I::Value) -> I::Value {
    use Transposed::{No, Yes};
    match *op {
        Op::Unary(_) | Op::Binary(_) => i.row_vjp(k, g),
        Op::Linear(ref linear) => i.apply(linear.adjoint(k, i), [g]),
        Op::Matmul { left, right } => match matmul_vjp(k, left, right) {
            (Factors::CotangentFirst, left, right) => i.matmul((g, left), (i.x(1 - k), right)),
            (Factors::CotangentLast, left, right) => i.matmul((i.x(1 - k), left), (g, right)),
        },
        Op::Reduce { kind: ReduceKind::Sum, axes, .. } => {
            i.apply(Linear::BroadcastTo { shape: i.x_shape(0) }, [i.keep_dims(g, axes)])
        }
        // Ties share evenly: the mask of the extreme elements is divided by their number. The other elements get 0,
        // even if the cotangent is infinite.
        Op::Reduce { kind: ReduceKind::Max | ReduceKind::Min, axes, .. } => {
            let (y, g) = (i.keep_dims(i.y(), axes), i.keep_dims(g, axes));
            let mut mask = i.apply(Binary::Equal, [i.x(0), y]);
            let count = i.sum(i.dup(&mut mask), axes);
            let mut weight = i.apply(Binary::Div, [mask, count]);
            i.mul(i.where_positive(g, i.dup(&mut weight)), weight)
        }
        // g times the product of the others
        Op::Reduce { kind: ReduceKind::Prod, axes, .. } => {
            let g = i.keep_dims(g, axes);
            match axes.elements(&i.x_shape(0)) {
                0 | 1 => i.apply(Linear::BroadcastTo { shape: i.x_shape(0) }, [g]),
                _ => i.mul(products_of_others(i, axes), g),
            }
        }
        // g x / y, and 0 where the norm is 0, even if the cotangent is infinite
        Op::Reduce { kind: ReduceKind::Norm, axes, .. } => {
            let mut y = i.keep_dims(i.y(), axes);
            let g = i.where_positive(i.keep_dims(g, axes), i.dup(&mut y));
            i.mul(i.apply(Binary::DivideNoNan, [i.x(0), y]), g)
        }
        // g e^(x - y) / Σ e^(x - y). The sum is 1 except for the rounding of y, which is large where y is large, and
        // for infinities.
        Op::Reduce { kind: ReduceKind::LogSumExp, axes, .. } => {
            let (y, g) = (i.keep_dims(i.y(), axes), i.keep_dims(g, axes));
            let mut weight = i.apply(Binary::ExpDifference, [i.x(0), y]);
            let total = i.sum(i.dup(&mut weight), axes);
            i.mul(weight, i.apply(Binary::DivideNoNan, [g, total]))
        }
        // y (g - Σ g y)
        Op::Softmax { axis } => {
            let total = i.sum(i.mul(i.dup(&mut g), i.y()), AxisSet::one(axis));
            i.mul(i.sub(g, total), i.y())
        }
        // g - softmax Σ g, and softmax = e^y
        Op::LogSoftmax { axis } => {
            let total = i.sum(i.dup(&mut g), AxisSet::one(axis));
            i.sub(g, i.mul(i.apply(Unary::Exp, [i.y()]), total))
        }
        // Selected, never multiplied. The mask gets no cotangent.
        Op::Select => match k {
            1 => i.where_positive(g, i.x(0)),
            _ => i.where_positive(g, i.apply(Unary::SubtractFrom { minuend: T::ONE }, [i.x(0)])),
        },
        // Σ y g is a trilinear form in x, w and g. Each of the three operations is the derivative of the form with
        // respect to one of these. So the derivatives of each are the other two.
        Op::Conv2d { window } => match k {
            0 => i.apply(Op::Conv2dInput { window, size: size(&i.x_shape(0)) }, [g, i.x(1)]),
            _ => i.apply(Op::Conv2dWeight { window }, [i.x(0), g]),
        },
        Op::Conv2dInput { window, .. } => match k {
            0 => i.apply(Op::Conv2d { window }, [g, i.x(1)]),
            _ => i.apply(Op::Conv2dWeight { window }, [g, i.x(0)]),
        },
        Op::Conv2dWeight { window } => match k {
            0 => i.apply(Op::Conv2dInput { window, size: size(&i.x_shape(0)) }, [i.x(1), g]),
            _ => i.apply(Op::Conv2d { window }, [i.x(0), g]),
        },
        // The positions of the largest elements are piecewise constant. Taking the elements at these positions is
        // linear.
        Op::TakeAtArgmax2d { window } => i.apply(Op::TakeAtArgmax2dBackward { window }, [i.x(0), g]),
        Op::TakeAtArgmax2dBackward { window } => i.apply(Op::TakeAtArgmax2d { window }, [i.x(0), g]),
        // r (g - mean g - y mean(g y)) with r = 1 / √(variance + eps) (Ioffe and Szegedy 2015, 3)
        Op::Normalize { axes, eps } => i.apply(Op::NormalizeBackward { axes, eps }, [i.x(0), g]),
        // With the normalized x, n: y = n gain + bias. So g gain by n, g n by the gain, and g by the bias. The sweep on arrays
        // computes the three together. A recorded sweep normalizes once more, for the tape does not hold n.
        Op::NormalizeAffine { axes, eps } => match k {
            0 => i.apply(Op::NormalizeBackward { axes, eps }, [i.x(0), i.mul(g, i.x(1))]),
            1 => i.mul(g, i.apply(Op::Normalize { axes, eps }, [i.x(0)])),
            _ => g,
        },
        // The operation is linear in its second operand and self-adjoint.
        Op::NormalizeBackward { axes, eps } => match k {
            1 => i.apply(Op::NormalizeBackward { axes, eps }, [i.x(0), g]),
            _ => second_of_normalize(i, axes, eps, g),
        },
        // r = (variance + eps)^-½: -g r³ (x - mean) / n, and (x - mean) r is the normalized x
        Op::InverseStd { axes, eps } => {
            let factor = i.divide_by(i.mul(g, i.square(i.y())), -(axes.elements(&i.x_shape(0)) as f64));
            i.mul(i.apply(Op::Normalize { axes, eps }, [i.x(0)]), factor)
        }
        // Giles 2008, 2.2.3: y = a⁻¹: -yᵀ g yᵀ
        Op::Inverse => i.neg(i.matmul((i.matmul((i.y(), Yes), (g, No)), No), (i.y(), Yes))),
        // Giles 2008, 2.2.4: g det(a) a⁻ᵀ, which is g times the cofactors at singular matrices too
        Op::Det => i.mul(i.apply(Op::DetDerivative { order: 1 }, [i.x(0)]), i.matrix_of_one(g)),
        // By the matrix: order + 1, with g appended as a direction. By a direction: the same order, with g in its place.
        Op::DetDerivative { order } => {
            let (order, place) = if k == 0 { (order + 1, usize::from(order)) } else { (order, k) };
            let op = Op::DetDerivative { order };
            match order {
                2 => i.apply(op, replaced::<_, _, 2>(i, place, g)),
                3 => i.apply(op, replaced::<_, _, 3>(i, place, g)),
                4 => i.apply(op, replaced::<_, _, 4>(i, place, g)),
                5 => i.apply(op, replaced::<_, _, 5>(i, place, g)),
                _ => panic!("det: there are derivatives up to order 5"),
            }
        }
        // No cotangent passes.
        Op::DetSign => i.mul(i.x(0), i.matrix_of_one(g)),
        // g a⁻ᵀ
        Op::LogDet => i.mul(i.transpose(i.apply(Op::Inverse, [i.x(0)])), i.matrix_of_one(g)),
        // Giles 2008, 2.3.1: a x = b: db = a⁻ᵀ g, da = -db xᵀ; with aᵀ in the place of a, da is transposed.
        Op::Solve { left } => {
            let db = i.solve((i.x(0), left.flipped()), g);
            if k == 1 { db } else { matrix_of_solve(i, left, db) }
        }
        // The same. The factors serve the transposed matrix as well.
        Op::SolveByFactors { left } => {
            let db = i.apply(Op::SolveByFactors { left: left.flipped() }, [i.x(0), g, i.x(2)]);
            if k == 1 { db } else { matrix_of_solve(i, left, db) }
        }
        // No cotangent passes.
        Op::Factors => i.scale(i.x(0), 0.0),
        // Murray 2016, (10): y⁻ᵀ Φ(yᵀ g) y⁻¹, symmetric; Φ takes the lower triangle and half of the diagonal.
        Op::Cholesky => {
            let mut product = i.matmul((i.y(), Yes), (g, No));
            let below = i.apply(Linear::Tril { offset: -1 }, [i.dup(&mut product)]);
            let phi = i.scale(i.add(below, i.apply(Linear::Tril { offset: 0 }, [product])), 0.5);
            let left = i.solve((i.y(), Yes), phi);
            let mut both = i.solve((i.y(), Yes), i.transpose(left));
            let turned = i.transpose(i.dup(&mut both));
            i.scale(i.add(both, turned), 0.5)
        }
    }
}

/// Returns the vjp of the solution of equations for the matrix, given that for the right sides.
fn matrix_of_solve<T: Number, I: RuleContext<T>>(i: &I, left: Transposed, db: I::Value) -> I::Value {
    use Transposed::{No, Yes};
    i.neg(match left {
        No => i.matmul((db, No), (i.y(), Yes)),
        Yes => i.matmul((i.y(), No), (db, Yes)),
    })
}

/// The order of the two factors in the vjp of a matrix product: the cotangent, and the operand of the product that is
/// not the one whose cotangent it gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Factors {
    CotangentFirst,
    CotangentLast,
}

/// Returns the vjp of a matrix product for operand `k`: the product of two factors, each of them perhaps transposed.
///
/// y = a b: da = g bᵀ, db = aᵀ g (Giles 2008, 2.2.1). A transposed operand is read transposed, never copied.
#[inline]
pub(crate) fn matmul_vjp(k: usize, left: Transposed, right: Transposed) -> (Factors, Transposed, Transposed) {
    use Transposed::{No, Yes};
    match (k, left, right) {
        (0, No, _) => (Factors::CotangentFirst, No, right.flipped()),
        (0, Yes, _) => (Factors::CotangentLast, right, Yes),
        (_, _, No) => (Factors::CotangentLast, left.flipped(), No),
        (_, _, Yes) => (Factors::CotangentFirst, Yes, left),
    }
}

/// The positions at which the operands of a concatenation begin.
///
/// They are computed once for the node. If each rule computed its own, the time would be quadratic in the number of
/// operands.
#[derive(Default)]
pub(crate) struct ConcatOffsets(OnceCell<SmallVec<[usize; 8]>>);

impl ConcatOffsets {
    /// Returns the position at which operand `k` begins. `lengths` are the lengths of all operands.
    pub(crate) fn of(&self, k: usize, lengths: impl Iterator<Item = usize>) -> usize {
        let add_up = |end: &mut usize, length: usize| Some(std::mem::replace(end, *end + length));
        self.0.get_or_init(|| lengths.scan(0, add_up).collect())[k]
    }
}

/// Returns the operands, with one of them replaced by a value.
fn replaced<T: Number, I: RuleContext<T>, const N: usize>(i: &I, place: usize, value: I::Value) -> [I::Value; N] {
    let mut value = Some(value);
    std::array::from_fn(|k| if k == place { value.take().expect("a place comes once") } else { i.x(k) })
}

/// Returns the derivative of `<g, normalize_backward(x, h)>` by `x`.
///
/// Let `y` be the normalized `x` and `r = 1 / √(variance + eps)`. For each group of `n` elements, the number is
/// `n r (mean(g h) - mean g mean h - mean(g y) mean(h y))`. Its derivative by `y` is `-r (mean(h y) g + mean(g y) h)`;
/// like any cotangent of `y`, it is pulled back to `x`. The derivative of `r` by `x` is `-r² y / n`.
fn second_of_normalize<T: Number, I: RuleContext<T>>(i: &I, axes: AxisSet, eps: T, mut g: I::Value) -> I::Value {
    let count = axes.elements(&i.x_shape(0)) as f64;
    let mean = |x: I::Value| i.divide_by(i.sum(x, axes), count);
    let (mut y, mut h) = (i.apply(Op::Normalize { axes, eps }, [i.x(0)]), i.x(1));
    let mut r = i.apply(Op::InverseStd { axes, eps }, [i.x(0)]);
    let mut g_y = mean(i.mul(i.dup(&mut g), i.dup(&mut y)));
    let mut h_y = mean(i.mul(i.dup(&mut h), i.dup(&mut y)));
    let products = i.mul(mean(i.dup(&mut g)), mean(i.dup(&mut h)));
    let means = i.add(products, i.mul(i.dup(&mut g_y), i.dup(&mut h_y)));
    let number = i.sub(mean(i.mul(i.dup(&mut g), i.dup(&mut h))), means);
    let by_y = i.mul(i.add(i.mul(h_y, g), i.mul(g_y, h)), i.dup(&mut r));
    let by_y = i.apply(Op::NormalizeBackward { axes, eps }, [i.x(0), by_y]);
    let by_r = i.mul(i.mul(number, i.square(r)), y);
    i.neg(i.add(by_y, by_r))
}

/// Returns the lengths of the last two axes, in the type that operations on windows use.
fn size(shape: &[usize]) -> [u32; 2] {
    let length = |axis: usize| u32::try_from(axis).expect("a window that fits counts its axes in 32 bits");
    [length(shape[shape.len() - 2]), length(shape[shape.len() - 1])]
}

/// Returns, for each element of the operand, the product of all other elements of its group in a reduction over `axes`.
///
/// On the way up, pairs of neighbours are multiplied until two elements are left. On the way down, the product for a
/// pair times one of its elements is the product for the other. Nothing is divided, so zeros are exact. All steps are
/// operations, so the rule can be differentiated again. A pair has neighbours and not an element of each half: then
/// alternating large and small elements compensate each other.
fn products_of_others<T: Number, I: RuleContext<T>>(i: &I, axes: AxisSet) -> I::Value {
    let shape = i.x_shape(0);
    let ranks = 0..shape.len();
    let reduced = ranks.clone().filter(|&axis| axes.contains(axis));
    let order = Permutation::new(ranks.clone().filter(|&axis| !axes.contains(axis)).chain(reduced));
    let in_order = order.axes().eq(ranks);
    let mut length = axes.elements(&shape);
    let rows = shape.elements() / length.max(1);
    let slice =
        |x: &mut I::Value, start, step, length| i.apply(Linear::Slice { axis: 1, start, step, length }, [i.dup(x)]);
    let join = |a: I::Value, b: I::Value| i.apply(Linear::Concat { axis: 1 }, [a, b]);
    let column = |x: I::Value, length| i.reshape(x, [rows, length, 1].into());
    let interleave = |a: I::Value, b: I::Value, half| {
        let pairs = i.apply(Linear::Concat { axis: 2 }, [column(a, half), column(b, half)]);
        i.reshape(pairs, [rows, 2 * half].into())
    };

    let x = if in_order { i.x(0) } else { i.apply(Linear::Permute { order: order.clone() }, [i.x(0)]) };
    let mut x = i.reshape(x, [rows, length].into());
    let mut pairs: SmallVec<[[I::Value; 2]; 8]> = SmallVec::new();
    let mut lengths: SmallVec<[usize; 8]> = SmallVec::new();
    while length > 2 {
        let half = length / 2;
        let (mut a, mut b) = (slice(&mut x, 0, 2, half), slice(&mut x, 1, 2, half));
        let product = i.mul(i.dup(&mut a), i.dup(&mut b));
        // An odd last element goes to the next level.
        x = if length.is_multiple_of(2) { product } else { join(product, slice(&mut x, 2 * half, 1, 1)) };
        pairs.push([a, b]);
        lengths.push(length);
        length = length.div_ceil(2);
    }
    let mut others = join(slice(&mut x, 1, 1, 1), slice(&mut x, 0, 1, 1));
    while let (Some([a, b]), Some(length)) = (pairs.pop(), lengths.pop()) {
        let half = length / 2;
        let mut shared = slice(&mut others, 0, 1, half);
        let both = interleave(i.mul(i.dup(&mut shared), b), i.mul(shared, a), half);
        others = if length.is_multiple_of(2) { both } else { join(both, slice(&mut others, half, 1, 1)) };
    }
    let others = i.reshape(others, order.apply(&shape));
    if in_order { others } else { i.apply(Linear::Permute { order: order.inverse() }, [others]) }
}
