//! [`Engine`]: the one door to the kernels for each number type, and [`evaluate`], which goes through it.

use crate::kernel::matmul::Accumulate;
use crate::kernel::view::View;
use crate::memory::{Lent, Pool};
use crate::number::Number;
use crate::op::data::OpData;
use crate::op::elementwise::{Binary, Unary};
use crate::op::operation::Op;
use crate::op::run::{product, pull_normalize};
use crate::op::straight::Straight;
use crate::op::tile::{Outside, TileGroup};
use crate::op::view_rule::Layout;
use crate::shape::{AxisSet, elements};

/// Runs operations on arrays of one number type.
///
/// These are functions of each type and not generic functions. So the code behind them is compiled once, with this
/// crate, and not again with every crate that uses it.
#[doc(hidden)]
pub trait Engine: Number {
    /// Computes an operation into the row-major `out`, whose shape is the one from the shape rule. The old content of
    /// `out` is never read.
    fn run(
        op: &Op<Self>,
        operands: &[View<'_, Self>],
        shape: &[usize],
        out: &mut [Self],
        data: &OpData,
        pool: &Pool<Self>,
    );

    /// Adds an operation's result to `out`, if that takes one pass and gives the same bits as a separate addition.
    /// Returns whether it did.
    fn run_add(
        op: &Op<Self>,
        operands: &[View<'_, Self>],
        shape: &[usize],
        out: &mut [Self],
        data: &OpData,
        pool: &Pool<Self>,
    ) -> bool;

    /// Runs a group of rows tile by tile. `made` are the arrays that it makes, `registers` its registers.
    fn run_tiles(
        group: &TileGroup<Self>,
        outside: &dyn Outside<Self>,
        made: &mut [Vec<Self>],
        registers: &mut [Vec<Self>],
    );

    /// Runs a straight-line program. `made` are the arrays that it makes, `registers` its registers.
    fn run_straight(
        program: &Straight<Self>,
        outside: &dyn Outside<Self>,
        made: &mut [Vec<Self>],
        registers: &mut [Self],
    );

    /// `g = dx(g, x, y)`, in place, or `g = dx(from, x, y)`.
    fn pull_unary(row: Unary<Self>, g: &mut [Self], from: Option<&[Self]>, x: &[Self], y: &[Self]);

    /// `g = dx(g, a, b, y)` for operand `k`, in place, or `g = dx(from, a, b, y)`. `g` has the shape of `y`, to which the
    /// operands `[a, b]` broadcast.
    fn pull_binary(
        row: Binary,
        k: usize,
        g: &mut [Self],
        from: Option<&[Self]>,
        operands: [View<'_, Self>; 2],
        y: View<'_, Self>,
    );

    /// Writes the cotangents of the operands of `normalize_affine` over `axes`, those that are wanted, given that of its
    /// result.
    fn pull_normalize(
        parameters: (AxisSet, Self),
        operands: [View<'_, Self>; 3],
        g: &[Self],
        grads: [Option<&mut [Self]>; 3],
        pool: &Pool<Self>,
    );
}

macro_rules! engine {
    ($($T:ident)*) => { $(
        impl Engine for $T {
            fn run(op: &Op<$T>, operands: &[View<'_, $T>], shape: &[usize], out: &mut [$T], data: &OpData, pool: &Pool<$T>) {
                // The most frequent first: they are short, and the frame of the function for all operations is large.
                match (op, operands) {
                    (Op::Unary(row), &[View { data, strides: None, .. }]) => row.forward(data, out),
                    (Op::Binary(row), &[a, b]) => row.forward(a, b, shape, out),
                    (&Op::Matmul { left, right }, &[a, b]) => product((a, left), (b, right), out, Accumulate::No),
                    _ => op.run_on(operands, shape, out, data, pool, Accumulate::No),
                }
            }

            fn run_add(
                op: &Op<$T>, operands: &[View<'_, $T>], shape: &[usize], out: &mut [$T], data: &OpData, pool: &Pool<$T>,
            ) -> bool {
                if let (&Op::Matmul { left, right }, &[a, b]) = (op, operands) {
                    product((a, left), (b, right), out, Accumulate::Yes);
                    return true;
                }
                let adds = op.adds();
                if adds {
                    op.run_on(operands, shape, out, data, pool, Accumulate::Yes);
                }
                adds
            }

            fn run_tiles(
                group: &TileGroup<$T>, outside: &dyn Outside<$T>, made: &mut [Vec<$T>], registers: &mut [Vec<$T>],
            ) {
                group.run_on(outside, made, registers);
            }

            fn run_straight(
                program: &Straight<$T>, outside: &dyn Outside<$T>, made: &mut [Vec<$T>], registers: &mut [$T],
            ) {
                program.run_on(outside, made, registers);
            }

            fn pull_unary(row: Unary<$T>, g: &mut [$T], from: Option<&[$T]>, x: &[$T], y: &[$T]) {
                row.pull(g, from, x, y);
            }

            fn pull_binary(
                row: Binary, k: usize, g: &mut [$T], from: Option<&[$T]>, operands: [View<'_, $T>; 2], y: View<'_, $T>,
            ) {
                row.pull(k, g, from, operands, y);
            }

            fn pull_normalize(
                parameters: (AxisSet, $T), operands: [View<'_, $T>; 3], g: &[$T], grads: [Option<&mut [$T]>; 3], pool: &Pool<$T>,
            ) {
                pull_normalize(parameters, operands, g, grads, pool);
            }
        }
    )* };
}
engine!(f32 f64);

/// The result of an operation.
pub(crate) enum Evaluated<'p, T: Number> {
    /// A view of the memory of its only operand, from this position on.
    View(Layout, usize),
    /// A buffer of its own, in row-major order.
    Computed(Lent<'p, T>),
}

/// Evaluates an operation: returns a view of its operand, or computes. Only this function decides between the two.
#[inline]
pub(crate) fn evaluate<'p, T: Engine>(
    op: &Op<T>,
    operands: &[View<'_, T>],
    shape: &[usize],
    data: &OpData,
    pool: &'p Pool<T>,
) -> Evaluated<'p, T> {
    if let Some((layout, offset)) = op.view(operands, shape) {
        return Evaluated::View(layout, offset);
    }
    let mut buffer = pool.lend(elements(shape));
    T::run(op, operands, shape, &mut buffer, data, pool);
    Evaluated::Computed(buffer)
}
