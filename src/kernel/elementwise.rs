//! Elementwise loops: one for each number of operands, generic over the function, compiled for each instruction set.
//!
//! The functions are branch-free, and multiply-adds that are fused are written as such, so that the loops vectorize and
//! give the same bits on every CPU.

use pulp::{Simd, WithSimd};

use crate::kernel::loops;
use crate::kernel::view::{CHUNK, View, read_beside};
use crate::number::{Number, dispatch, inlined};
use crate::threads::{PIECE, in_pieces};

/// Defines a loop over slices of equal length, compiled for the widest vector instructions of this CPU.
///
/// The loop is an always-inlined method of a struct, and callers pass the closure by [`inlined!`]. A function that is
/// not inlined is compiled without those instructions, and the loop is many times slower.
macro_rules! slice_loop {
    ($(#[$doc:meta])* $name:ident($out:ident $(, $in:ident)*) = f($($arg:ident),+)) => {
        $(#[$doc])*
        #[inline]
        pub(crate) fn $name<T: Number>(
            $out: &mut [T],
            $($in: &[T],)*
            f: impl Fn($(slice_loop!(@number $arg)),+) -> T + Copy + Sync,
        ) {
            struct Loop<'a, T, F> {
                $out: &'a mut [T],
                $($in: &'a [T],)*
                f: F,
            }

            impl<T: Number, F: Fn($(slice_loop!(@number $arg)),+) -> T> WithSimd for Loop<'_, T, F> {
                type Output = ();

                #[inline(always)]
                fn with_simd<S: Simd>(self, _: S) {
                    let Self { $out, $($in,)* f } = self;
                    loops::$name($out, $($in,)* f);
                }
            }

            $( let $in = &$in[..$out.len()]; )*
            in_pieces($out, 1, PIECE, |_start, $out| {
                $( let $in = &$in[_start..][..$out.len()]; )*
                dispatch(Loop { $out, $($in,)* f });
            });
        }
    };
    (@number $arg:ident) => { T };
}

slice_loop! {
    /// `y = f(x)`.
    map(y, x) = f(x)
}
slice_loop! {
    /// `x = f(x)`.
    map_in_place(x) = f(x)
}
slice_loop! {
    /// `y = f(a, b)`.
    zip_slices(y, a, b) = f(a, b)
}
slice_loop! {
    /// `a = f(a, b)`.
    zip_in_place(a, b) = f(a, b)
}
slice_loop! {
    /// `y = f(m, a, b)`.
    zip_three(y, m, a, b) = f(m, a, b)
}

/// `a += b`: adds a later cotangent to an earlier one.
#[inline]
pub(crate) fn add_assign<T: Number>(a: &mut [T], b: &[T]) {
    zip_in_place(a, b, inlined!(|a, b| a + b));
}

/// `a += b` with `b` read through strides.
pub(crate) fn add_assign_view<T: Number>(a: &mut [T], b: View<'_, T>, shape: &[usize]) {
    if let Some(b) = b.row_major_as(shape) {
        return add_assign(a, b);
    }
    in_pieces(a, CHUNK, PIECE, |start, a| {
        read_beside([b], shape, start, a, |_, a, [b]| add_assign(a, b));
    });
}

/// `y = f(a, b)`, both operands broadcast to `shape`.
pub(crate) fn zip<T: Number>(
    a: View<'_, T>,
    b: View<'_, T>,
    shape: &[usize],
    y: &mut [T],
    f: impl Fn(T, T) -> T + Copy + Sync,
) {
    zip_with(a, b, shape, y, |y, a, b| zip_slices(y, a, b, f));
}

/// Calls `f(y, a, b)` on pieces of `y` and of both operands, broadcast to `shape`.
pub(crate) fn zip_with<T: Number>(
    a: View<'_, T>,
    b: View<'_, T>,
    shape: &[usize],
    y: &mut [T],
    f: impl Fn(&mut [T], &[T], &[T]) + Sync,
) {
    if let (Some(a), Some(b)) = (a.row_major_as(shape), b.row_major_as(shape)) {
        return in_pieces(y, 1, PIECE, |start, y| f(y, &a[start..][..y.len()], &b[start..][..y.len()]));
    }
    in_pieces(y, CHUNK, PIECE, |start, y| {
        read_beside([a, b], shape, start, y, |_, y, [a, b]| f(y, a, b));
    });
}

/// The number of elements that are copied and then computed with, while they are in the first cache.
const BLOCK: usize = 1024;

/// Calls `f(start, g)` on pieces of `g`, each with the position of its first element. If there is a `from`, its elements are
/// in `g` by then.
pub(crate) fn in_place_or_from<T: Number>(g: &mut [T], from: Option<&[T]>, f: impl Fn(usize, &mut [T]) + Sync) {
    in_pieces(g, 1, PIECE, |start, g| {
        let Some(from) = from else { return f(start, g) };
        for (block, g) in g.chunks_mut(BLOCK).enumerate() {
            let start = start + block * BLOCK;
            g.copy_from_slice(&from[start..][..g.len()]);
            f(start, g);
        }
    });
}

/// Calls `f(g, a, b, y)` on pieces of `g`, of both operands, broadcast to the shape of `y`, and of `y`. If there is a `from`,
/// its elements are in `g` by then.
pub(crate) fn pull_with<T: Number>(
    g: &mut [T],
    from: Option<&[T]>,
    [a, b]: [View<'_, T>; 2],
    y: View<'_, T>,
    f: impl Fn(&mut [T], &[T], &[T], &[T]) + Sync,
) {
    let (y, shape) = (y.data, y.shape);
    if let (Some(a), Some(b)) = (a.row_major_as(shape), b.row_major_as(shape)) {
        return in_place_or_from(g, from, |start, g| {
            let range = start..start + g.len();
            f(g, &a[range.clone()], &b[range.clone()], &y[range]);
        });
    }
    in_pieces(g, CHUNK, PIECE, |start, g| {
        read_beside([a, b], shape, start, g, |start, g, [a, b]| {
            if let Some(from) = from {
                g.copy_from_slice(&from[start..][..g.len()]);
            }
            f(g, a, b, &y[start..][..g.len()]);
        });
    });
}

/// `y = a` where `mask` is not 0, else `b`, all three broadcast to `shape`.
pub(crate) fn select<T: Number>(mask: View<'_, T>, a: View<'_, T>, b: View<'_, T>, shape: &[usize], y: &mut [T]) {
    in_pieces(y, CHUNK, PIECE, |start, y| {
        read_beside([mask, a, b], shape, start, y, |_, y, [mask, a, b]| {
            zip_three(y, mask, a, b, inlined!(|mask, a, b| if mask == T::ZERO { b } else { a }));
        });
    });
}
