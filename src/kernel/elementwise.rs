//! Elementwise loops: one for each number of operands, generic over the function, compiled for each instruction set.
//!
//! The functions are branch-free, and multiply-adds that are fused are written as such, so that the loops vectorize and
//! give the same bits on every CPU.

use pulp::{Simd, WithSimd};

use crate::kernel::view::{CHUNK, Reader, View};
use crate::number::{Number, dispatch, inlined};

/// Defines a loop over slices of equal length, compiled for the widest vector instructions of this CPU.
///
/// The loop is an always-inlined method of a struct, and callers pass the closure by [`inlined!`]. A function that is
/// not inlined is compiled without those instructions, and the loop is many times slower.
macro_rules! slice_loop {
    ($(#[$doc:meta])* $name:ident($out:ident $(, $in:ident)*) = f($($arg:ident),+)) => {
        $(#[$doc])*
        #[inline]
        pub(crate) fn $name<T: Number>($out: &mut [T], $($in: &[T],)* f: impl Fn($(slice_loop!(@number $arg)),+) -> T) {
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
                    $( let $in = &$in[..$out.len()]; )*
                    for index in 0..$out.len() {
                        $out[index] = f($($arg[index]),+);
                    }
                }
            }

            dispatch(Loop { $out, $($in,)* f });
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
slice_loop! {
    /// The pullback of a function of one operand, in place: `g = f(g, x, y)`.
    pull(g, x, y) = f(g, x, y)
}
slice_loop! {
    /// The pullback of a function of two operands, in place: `g = f(g, a, b, y)`.
    pull_slices(g, a, b, y) = f(g, a, b, y)
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
    let (mut b, mut buffer) = (Reader::new(b, shape), [T::ZERO; CHUNK]);
    for (index, a) in a.chunks_mut(CHUNK).enumerate() {
        let length = a.len();
        add_assign(a, b.next(index * CHUNK, length, &mut buffer));
    }
}

/// `y = f(a, b)`, both operands broadcast to `shape`.
pub(crate) fn zip<T: Number>(
    a: View<'_, T>,
    b: View<'_, T>,
    shape: &[usize],
    y: &mut [T],
    f: impl Fn(T, T) -> T + Copy,
) {
    if let (Some(a), Some(b)) = (a.row_major_as(shape), b.row_major_as(shape)) {
        return zip_slices(y, a, b, f);
    }
    let (mut a, mut a_buffer) = (Reader::new(a, shape), [T::ZERO; CHUNK]);
    let (mut b, mut b_buffer) = (Reader::new(b, shape), [T::ZERO; CHUNK]);
    for (index, y) in y.chunks_mut(CHUNK).enumerate() {
        let (start, length) = (index * CHUNK, y.len());
        zip_slices(y, a.next(start, length, &mut a_buffer), b.next(start, length, &mut b_buffer), f);
    }
}

/// The pullback of a function of two operands, in place: `g = f(g, a, b, y)` with `a` and `b` broadcast to `shape`.
pub(crate) fn pull_zip<T: Number>(
    g: &mut [T],
    a: View<'_, T>,
    b: View<'_, T>,
    y: &[T],
    shape: &[usize],
    f: impl Fn(T, T, T, T) -> T + Copy,
) {
    if let (Some(a), Some(b)) = (a.row_major_as(shape), b.row_major_as(shape)) {
        return pull_slices(g, a, b, y, f);
    }
    let (mut a, mut a_buffer) = (Reader::new(a, shape), [T::ZERO; CHUNK]);
    let (mut b, mut b_buffer) = (Reader::new(b, shape), [T::ZERO; CHUNK]);
    for (index, (g, y)) in g.chunks_mut(CHUNK).zip(y.chunks(CHUNK)).enumerate() {
        let (start, length) = (index * CHUNK, g.len());
        pull_slices(g, a.next(start, length, &mut a_buffer), b.next(start, length, &mut b_buffer), y, f);
    }
}

/// `y = a` where `mask` is not 0, else `b`, all three broadcast to `shape`.
pub(crate) fn select<T: Number>(mask: View<'_, T>, a: View<'_, T>, b: View<'_, T>, shape: &[usize], y: &mut [T]) {
    let mut readers = [mask, a, b].map(|x| (Reader::new(x, shape), [T::ZERO; CHUNK]));
    for (index, y) in y.chunks_mut(CHUNK).enumerate() {
        let (start, length) = (index * CHUNK, y.len());
        let [mask, a, b] = readers.each_mut().map(|(reader, buffer)| reader.next(start, length, buffer));
        zip_three(y, mask, a, b, inlined!(|mask, a, b| if mask == T::ZERO { b } else { a }));
    }
}
