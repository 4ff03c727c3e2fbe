//! Operations and their derivatives in words, as one writes them on paper: `x W`, and `xᵀ g` for its second operand.
//!
//! The words of an elementwise derivative are its row of the table, run on names. The words of a structural one stand
//! here, in the order of `rule`.

use crate::number::{Algebra, Number};
use crate::op::axes::{Permutation, Transposed};
use crate::op::elementwise::{Binary, Unary};
use crate::op::formula::{Sheet, Term, spelled};
use crate::op::operation::{Linear, Op, ReduceKind};
use crate::shape::{AxisSet, Shape};

/// A node as words need it: the names and shapes of its operands and of its result. The cotangent of the result is `g`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) x: &'a [&'a str],
    pub(crate) x_shapes: &'a [Shape],
    pub(crate) y: &'a str,
    pub(crate) y_shape: &'a Shape,
}

impl<T: Number> Op<T> {
    /// Returns the result as a formula.
    pub(crate) fn formula(&self, at: Place<'_>) -> String {
        let sheet = Sheet::new(at.y_shape.len());
        match self {
            Self::Unary(row) => row.formula(sheet.name(at.x[0]), &sheet).text(),
            Self::Binary(row) => row.formula::<T>(sheet.name(at.x[0]), sheet.name(at.x[1]), &sheet).text(),
            _ => self.structure(at),
        }
    }

    /// Returns the cotangent of operand `k` as a formula; `None` if no cotangent passes.
    pub(crate) fn rule_in_words(&self, k: usize, at: Place<'_>) -> Option<String> {
        if !self.passes(k) {
            return None;
        }
        let sheet = Sheet::new(at.y_shape.len());
        let (g, y) = (sheet.name("g"), sheet.name(at.y));
        let text = match self {
            Self::Unary(row) => row.vjp(g, sheet.name(at.x[0]), y).text(),
            Self::Binary(row) => match row.special_rule(k, at) {
                Some(text) => text,
                None => row.vjp::<T, _>(k, g, sheet.name(at.x[0]), sheet.name(at.x[1]), y).text(),
            },
            _ => self.structural_rule(k, at),
        };
        Some(match self.broadcast_axes(k, at) {
            Some(axes) => format!("Σ {} over {axes}", enclosed(&text)),
            None => text,
        })
    }

    /// Returns the axes along which operand `k` was repeated by broadcasting, which the sweep sums over.
    fn broadcast_axes(&self, k: usize, at: Place<'_>) -> Option<String> {
        // Of the last two axes of a product, broadcasting repeats none.
        let kept = match self {
            Self::Unary(_) | Self::Binary(_) | Self::Select => 0,
            Self::Matmul { .. } | Self::Solve { .. } | Self::SolveByFactors { .. } => 2,
            _ => return None,
        };
        let (x, y) = (&at.x_shapes[k], at.y_shape);
        let missing = y.len().checked_sub(x.len())?;
        let repeated = |axis: &usize| *axis < missing || x[*axis - missing] != y[*axis];
        let axes: Vec<usize> = (0..y.len().saturating_sub(kept)).filter(repeated).collect();
        if axes.is_empty() { None } else { Some(named_axes(&axes)) }
    }

    /// Returns the result of a structural operation as a formula.
    fn structure(&self, at: Place<'_>) -> String {
        let x = at.x[0];
        let second = || at.x.get(1).copied().unwrap_or_default();
        match *self {
            // They are formulas of the table.
            Self::Unary(_) | Self::Binary(_) => self.to_string(),
            Self::Linear(ref linear) => linear.structure(at),
            Self::Matmul { left, right } => format!("{} {}", turned(x, left), turned(second(), right)),
            Self::Reduce { kind, axes, .. } => {
                let function = match kind {
                    ReduceKind::Sum => "Σ",
                    ReduceKind::Max => "max",
                    ReduceKind::Min => "min",
                    ReduceKind::Prod => "Π",
                    ReduceKind::Norm => return format!("‖{x}‖{}", over(axes, at)),
                    ReduceKind::LogSumExp => return format!("ln Σ e^{x}{}", over(axes, at)),
                };
                format!("{function} {x}{}", over(axes, at))
            }
            Self::Softmax { axis } => format!("softmax({x}){}", along(axis, at)),
            Self::LogSoftmax { axis } => format!("log_softmax({x}){}", along(axis, at)),
            Self::Select => format!("{} where {x} ≠ 0, else {}", second(), at.x[2]),
            Self::Conv2d { .. } => format!("{x} ∗ {}", second()),
            Self::Conv2dInput { .. } => format!("conv2d_input({x}, {})", second()),
            Self::Conv2dWeight { .. } => format!("conv2d_weight({x}, {})", second()),
            Self::TakeAtArgmax2d { window } => format!("max of {x} in each window {}", sizes(window.kernel)),
            Self::TakeAtArgmax2dBackward { .. } => format!("{} at the maxima of {x}, else 0", second()),
            Self::Normalize { axes, eps } => {
                format!("({x} - mean) / √(variance + {}){}", spelled(eps), over(axes, at))
            }
            Self::NormalizeAffine { axes, eps } => {
                let normalized = format!("({x} - mean) / √(variance + {})", spelled(eps));
                format!("{normalized} ⊙ {} + {}{}", second(), at.x[2], over(axes, at))
            }
            Self::NormalizeBackward { .. } => format!("normalize_backward({x}, {})", second()),
            Self::InverseStd { axes, eps } => format!("1 / √(variance of {x} + {}){}", spelled(eps), over(axes, at)),
            Self::Inverse => format!("{x}⁻¹"),
            Self::Det => format!("det({x})"),
            Self::DetDerivative { order: 1 } => format!("cofactors({x})"),
            Self::DetDerivative { order } => format!("derivative of det, order {order}, at {}", at.x.join(", ")),
            Self::DetSign => format!("sign det({x})"),
            Self::LogDet => format!("ln det({x})"),
            Self::Solve { left } | Self::SolveByFactors { left } => {
                format!("{x}{} {}", if left == Transposed::No { "⁻¹" } else { "⁻ᵀ" }, second())
            }
            Self::Factors => format!("factors({x})"),
            Self::Cholesky => format!("cholesky({x})"),
        }
    }

    /// Returns the rule of a structural operation for its operand `k`, as `rule` has it.
    fn structural_rule(&self, k: usize, at: Place<'_>) -> String {
        use Transposed::{No, Yes};
        let (x, y) = (at.x[0], at.y);
        let second = || at.x.get(1).copied().unwrap_or_default();
        let product = |(a, left): (&str, _), (b, right): (&str, _)| format!("{} {}", turned(a, left), turned(b, right));
        match *self {
            // Their words are the rows of the table.
            Self::Unary(_) | Self::Binary(_) => self.to_string(),
            Self::Linear(ref linear) => linear.rule(k, at),
            Self::Matmul { left, right } => match (k, left, right) {
                (0, No, _) => product(("g", No), (second(), right.flipped())),
                (0, Yes, _) => product((second(), right), ("g", Yes)),
                (_, _, No) => product((x, left.flipped()), ("g", No)),
                (_, _, Yes) => product(("g", Yes), (x, left)),
            },
            Self::Reduce { kind, .. } => match kind {
                ReduceKind::Sum => "g for each term".into(),
                ReduceKind::Max => "g where the maximum is (ties share it), else 0".into(),
                ReduceKind::Min => "g where the minimum is (ties share it), else 0".into(),
                ReduceKind::Prod => "g times the product of the other elements".into(),
                ReduceKind::Norm => format!("g ⊙ {x} / {y}"),
                ReduceKind::LogSumExp => format!("g ⊙ e^({x} - {y})"),
            },
            Self::Softmax { axis } => format!("{y} ⊙ (g - Σ g ⊙ {y}){}", along(axis, at)),
            Self::LogSoftmax { axis } => format!("g - e^{y} ⊙ Σ g{}", along(axis, at)),
            Self::Select => match k {
                1 => format!("g where {x} ≠ 0, else 0"),
                _ => format!("g where {x} = 0, else 0"),
            },
            Self::Conv2d { .. } => match k {
                0 => format!("g spread by {}", second()),
                _ => format!("{x} ∗ g, over the batch"),
            },
            Self::Conv2dInput { .. } => match k {
                0 => format!("g ∗ {}", second()),
                _ => format!("g ∗ {x}, over the batch"),
            },
            Self::Conv2dWeight { .. } => match k {
                0 => format!("{} spread by g", second()),
                _ => format!("{x} ∗ g"),
            },
            Self::TakeAtArgmax2d { .. } => "g where each window has its maximum, else 0".into(),
            Self::TakeAtArgmax2dBackward { .. } => format!("g at the maxima of {x}"),
            Self::Normalize { .. } => format!("(g - mean g - {y} ⊙ mean(g ⊙ {y})) / √(variance + eps)"),
            Self::NormalizeAffine { .. } => match k {
                0 => format!(
                    "(h - mean h - n ⊙ mean(h ⊙ n)) / √(variance + eps), h = g ⊙ {}, n the normalized {x}",
                    second()
                ),
                1 => format!("g ⊙ the normalized {x}"),
                _ => "g".into(),
            },
            Self::NormalizeBackward { .. } => match k {
                1 => format!("normalize_backward({x}, g)"),
                _ => format!("the derivative of normalize_backward({x}, {}) by {x}, times g", second()),
            },
            Self::InverseStd { axes, .. } => {
                format!("-g ⊙ {y}³ ⊙ ({x} - mean) / {}", axes.elements(&at.x_shapes[0]))
            }
            Self::Inverse => format!("-{y}ᵀ g {y}ᵀ"),
            Self::Det => format!("g cofactors({x})"),
            Self::DetDerivative { order } => match k {
                0 => format!("derivative of det, order {}, with g as a direction", order + 1),
                _ => format!("derivative of det, order {order}, with g in place of {}", at.x[k]),
            },
            Self::DetSign => "0".into(),
            Self::LogDet => format!("g {x}⁻ᵀ"),
            Self::Factors => "0".into(),
            Self::Solve { left } | Self::SolveByFactors { left } => {
                let db = match left {
                    No => format!("{x}⁻ᵀ g"),
                    Yes => format!("{x}⁻¹ g"),
                };
                match (k, left) {
                    (1, _) => db,
                    (_, No) => format!("-({db}) {y}ᵀ"),
                    (_, Yes) => format!("-{y} ({db})ᵀ"),
                }
            }
            Self::Cholesky => {
                format!("s + sᵀ with s = {y}⁻ᵀ Φ({y}ᵀ g) {y}⁻¹ / 2, Φ the lower triangle with half the diagonal")
            }
        }
    }
}

impl<T: Number> Linear<T> {
    /// Returns the result as a formula.
    fn structure(&self, at: Place<'_>) -> String {
        let (x, y_shape) = (at.x[0], at.y_shape);
        match *self {
            Self::CumSum { axis, from } => format!("running sums of {x}{}{}", along(axis, at), from.suffix()),
            Self::Reshape { .. } => format!("{x} as {y_shape}"),
            Self::Permute { ref order } => permuted(x, order),
            Self::BroadcastTo { .. } if at.x_shapes[0] == *y_shape => x.into(),
            Self::BroadcastTo { .. } => format!("{x} repeated to {y_shape}"),
            Self::SumTo { .. } => format!("Σ {x} to {y_shape}"),
            Self::Slice { axis, start, step, length } => sliced(x, axis, start, step, length),
            Self::SliceBackward { axis, start, step, .. } => {
                format!("{x} in {}, else 0", sliced("", axis, start, step, at.x_shapes[0][axis]))
            }
            Self::IndexSelect { axis, indices } => format!("{x} at {} indices of axis {axis}", indices.length()),
            Self::IndexAdd { axis, indices, .. } => {
                format!("{x} added at {} indices of axis {axis}", indices.length())
            }
            Self::TakeAlongRows { .. } => format!("{x}[n, iₙ], one element of each row"),
            Self::TakeAlongRowsBackward { .. } => format!("{x} at [n, iₙ], else 0"),
            Self::Concat { axis } => format!("[{}]{}", at.x.join(", "), along_axis(axis)),
            Self::Pad { axis, before, value, .. } => {
                let length = at.x_shapes[0][axis];
                let after = y_shape[axis] - before - length;
                format!("{x} with {before} + {after} times {} around axis {axis}", spelled(value))
            }
            Self::Diagonal => format!("diagonal of {x}"),
            Self::DiagonalBackward { .. } => format!("{x} on the diagonal, else 0"),
            Self::Tril { offset } => format!("tril({x}, {offset})"),
            Self::Triu { offset } => format!("triu({x}, {offset})"),
            Self::AvgPool2d { window } => format!("mean of {x} in each window {}", sizes(window.kernel)),
            Self::AvgPool2dBackward { window, .. } => {
                format!("{x} / {} for each element of its window", window.elements())
            }
            _ => format!("{self}({x})"),
        }
    }

    /// Returns the adjoint for operand `k` as a formula.
    fn rule(&self, k: usize, at: Place<'_>) -> String {
        let shape = &at.x_shapes[k];
        match *self {
            Self::CumSum { axis, from } => format!("running sums of g{}{}", along(axis, at), from.other().suffix()),
            Self::Reshape { .. } => "g in the shape before".into(),
            Self::Permute { ref order } => permuted("g", &order.inverse()),
            Self::BroadcastTo { .. } if shape == at.y_shape => "g".into(),
            Self::BroadcastTo { .. } => "Σ g over the repeated axes".into(),
            Self::SumTo { .. } => "g for each term".into(),
            Self::Slice { axis, start, step, length } => {
                format!("g in {}, else 0", sliced("", axis, start, step, length))
            }
            Self::SliceBackward { axis, start, step, .. } => sliced("g", axis, start, step, shape[axis]),
            Self::IndexSelect { axis, indices } => {
                format!("g added at its {} indices of axis {axis}, else 0", indices.length())
            }
            Self::IndexAdd { axis, indices, .. } => format!("g at its {} indices of axis {axis}", indices.length()),
            Self::TakeAlongRows { .. } => "g at [n, iₙ], else 0".into(),
            Self::TakeAlongRowsBackward { .. } => "g[n, iₙ]".into(),
            Self::Concat { axis } => {
                let start = at.x_shapes[..k].iter().map(|shape| shape[axis]).sum();
                sliced("g", axis, start, 1, shape[axis])
            }
            Self::Pad { axis, before, .. } => sliced("g", axis, before, 1, shape[axis]),
            Self::Diagonal => "g on the diagonal, else 0".into(),
            Self::DiagonalBackward { .. } => "diagonal of g".into(),
            Self::Tril { offset } => format!("tril(g, {offset})"),
            Self::Triu { offset } => format!("triu(g, {offset})"),
            Self::AvgPool2d { window } => format!("g / {} for each element of its window", window.elements()),
            Self::AvgPool2dBackward { window, .. } => format!("mean of g in each window {}", sizes(window.kernel)),
            // Without words of its own: the operation's name. Its adjoint is linear in `g`.
            _ => format!("{self}ᵀ(g)"),
        }
    }
}

impl<T: Number> Unary<T> {
    /// Returns the function as a formula. A function that has no sign of its own is a call.
    fn formula<'a>(&self, x: Term<'a>, sheet: &'a Sheet) -> Term<'a> {
        let one = || sheet.number(T::ONE);
        match *self {
            Self::Neg => -x,
            Self::AddNumber { addend } if addend < T::ZERO => x - (-addend),
            Self::AddNumber { addend } => x + addend,
            Self::SubtractFrom { minuend } => sheet.number(minuend) - x,
            Self::Scale { factor } => x * factor,
            Self::DivideBy { divisor } => x / divisor,
            Self::Divide { dividend } => sheet.number(dividend) / x,
            Self::Recip => one() / x,
            Self::Square => x * x,
            Self::Powf { exponent } => Algebra::<T>::powf(x, exponent),
            Self::Exp => Algebra::<T>::exp(x),
            Self::ExpM1 => Algebra::<T>::exp_m1(x),
            Self::Ln1p => Algebra::<T>::ln_1p(x),
            Self::Sqrt => Algebra::<T>::sqrt(x),
            Self::Rsqrt => one() / Algebra::<T>::sqrt(x),
            Self::Abs => Algebra::<T>::abs(x),
            Self::InRangeMask { low, high } => Algebra::<T>::in_range_mask(x, low, high),
            ref row => {
                let parameters = row.parameters();
                let arguments = parameters.iter().map(|&parameter| sheet.number(parameter));
                sheet.call(row.name(), &std::iter::once(x).chain(arguments).collect::<Vec<_>>())
            }
        }
    }
}

impl Binary {
    /// Returns the function as a formula. A function that has no sign of its own is a call.
    fn formula<'a, T: Number>(self, a: Term<'a>, b: Term<'a>, sheet: &'a Sheet) -> Term<'a> {
        let (one, ln) = (sheet.number(T::ONE), Algebra::<T>::ln);
        let shifted = |x: Term<'a>| x + T::from_f64(1e-16);
        match self {
            Self::Add => a + b,
            Self::Sub => a - b,
            Self::Mul | Self::MultiplyNoNan => a * b,
            Self::Div | Self::DivideNoNan | Self::ZeroDivide => a / b,
            Self::Maximum => sheet.call("max", &[a, b]),
            Self::Minimum => sheet.call("min", &[a, b]),
            Self::Pow => Algebra::<T>::pow(a, b),
            Self::Hypot => Algebra::<T>::hypot(a, b),
            Self::ExpDifference => Algebra::<T>::exp_difference(a, b),
            Self::SquaredDifference => (a - b) * (a - b),
            Self::AbsDifference => Algebra::<T>::abs(a - b),
            Self::BinaryCrossEntropy => -(b * ln(a) + (one - b) * ln(one - a)),
            Self::CourseCrossEntropy => -(b * ln(shifted(a)) + (one - b) * ln(shifted(one - a))),
            Self::Hinge => (one - a * b).or_zero(),
            Self::Perceptron => (-(a * b)).or_zero(),
            Self::KlDivergence => b * (ln(b) - a),
            Self::WherePositive => Algebra::<T>::where_positive(a, b),
            Self::Equal => Algebra::<T>::equal(a, b),
            row => sheet.call(row.name(), &[a, b]),
        }
    }

    /// Returns the words of a rule whose row is written with the edge cases first, so that it does not read well.
    fn special_rule(self, k: usize, at: Place<'_>) -> Option<String> {
        let (own, other) = (at.x[k], at.x[1 - k]);
        match self {
            Self::Maximum => Some(format!("g where {own} > {other}, g / 2 where {own} = {other}, else 0")),
            Self::Minimum => Some(format!("g where {own} < {other}, g / 2 where {own} = {other}, else 0")),
            Self::Pow if k == 0 => Some(format!("g ⊙ {other} ⊙ {own}^({other} - 1)")),
            Self::Pow => Some(format!("g ⊙ {} ⊙ ln({other})", at.y)),
            _ => None,
        }
    }
}

/// Returns a matrix as it is read.
fn turned(name: &str, transposed: Transposed) -> String {
    match transposed {
        Transposed::No => name.into(),
        Transposed::Yes => format!("{name}ᵀ"),
    }
}

/// Returns a value with its axes in another order.
fn permuted(name: &str, order: &Permutation) -> String {
    if order.is_transpose() { format!("{name}ᵀ") } else { format!("{name} with axes {order}") }
}

/// Returns a slice, as NumPy writes it.
fn sliced(name: &str, axis: usize, start: usize, step: usize, length: usize) -> String {
    let before = ":, ".repeat(axis);
    if length == 1 {
        return format!("{name}[{before}{start}:{}]", start + 1);
    }
    let stop = start + length.saturating_sub(1) * step + usize::from(length > 0);
    let step = if step == 1 { String::new() } else { format!(":{step}") };
    format!("{name}[{before}{start}:{stop}{step}]")
}

/// Returns the sizes of a window.
fn sizes(kernel: [u32; 2]) -> String {
    format!("{} x {}", kernel[0], kernel[1])
}

/// Returns the axes of a reduction; nothing if they are all.
fn over(axes: AxisSet, at: Place<'_>) -> String {
    let rank = at.x_shapes[0].len();
    let axes: Vec<usize> = (0..rank).filter(|&axis| axes.contains(axis)).collect();
    if axes.len() == rank { String::new() } else { format!(" over {}", named_axes(&axes)) }
}

/// Returns the axis of an operation along one axis; nothing if there is only one, or if it is that of the rows of a matrix.
fn along(axis: usize, at: Place<'_>) -> String {
    match (at.y_shape.len(), axis) {
        (1, _) => String::new(),
        (2, 1) => " in each row".into(),
        _ => along_axis(axis),
    }
}

fn along_axis(axis: usize) -> String {
    format!(" along axis {axis}")
}

fn named_axes(axes: &[usize]) -> String {
    let list: Vec<String> = axes.iter().map(usize::to_string).collect();
    format!("{} {}", if axes.len() == 1 { "axis" } else { "axes" }, list.join(", "))
}

/// Returns a formula in parentheses, if it is more than one word.
fn enclosed(text: &str) -> String {
    if text.contains(' ') { format!("({text})") } else { text.into() }
}
