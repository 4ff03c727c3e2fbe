//! Plain elementwise loops over slices of equal length.
//!
//! They are always inlined. So a loop has the vector instructions of the function that it is called from, if the closure is
//! inlined as well: callers pass it by [`inlined!`](crate::number::inlined).

use std::ops::AddAssign;

macro_rules! plain_loop {
    ($(#[$doc:meta])* $name:ident($out:ident $(, $in:ident)*) = f($($arg:ident),+)) => {
        $(#[$doc])*
        #[inline(always)]
        pub(crate) fn $name<T: Copy>($out: &mut [T], $($in: &[T],)* f: impl Fn($(plain_loop!(@number $arg)),+) -> T) {
            $( let $in = &$in[..$out.len()]; )*
            for index in 0..$out.len() {
                $out[index] = f($($arg[index]),+);
            }
        }
    };
    (@number $arg:ident) => { T };
}

plain_loop! {
    /// `y = f(x)`.
    map(y, x) = f(x)
}
plain_loop! {
    /// `x = f(x)`.
    map_in_place(x) = f(x)
}
plain_loop! {
    /// `y = f(a, b)`.
    zip_slices(y, a, b) = f(a, b)
}
plain_loop! {
    /// `a = f(a, b)`.
    zip_in_place(a, b) = f(a, b)
}
plain_loop! {
    /// `y = f(m, a, b)`.
    zip_three(y, m, a, b) = f(m, a, b)
}
plain_loop! {
    /// The pullback of a function of one operand, in place: `g = f(g, x, y)`.
    pull(g, x, y) = f(g, x, y)
}
plain_loop! {
    /// The pullback of a function of two operands, in place: `g = f(g, a, b, y)`.
    pull_slices(g, a, b, y) = f(g, a, b, y)
}

/// The pullback of a function of `x` and of numbers `a` that all rows share: `(out, a', b') = f(g, a, x)`, of which `a'` and `b'` are
/// added to sums over the rows.
#[inline(always)]
pub(crate) fn pull_and_add<T: Copy + AddAssign>(
    out: &mut [T],
    [a_sums, b_sums]: [&mut [T]; 2],
    [g, a, x]: [&[T]; 3],
    f: impl Fn(T, T, T) -> [T; 3],
) {
    pull_and_add_to(out, a_sums, b_sums, g, a, x, f);
}

/// Slices that are arguments of their own do not overlap.
#[inline(always)]
fn pull_and_add_to<T: Copy + AddAssign>(
    out: &mut [T],
    a_sums: &mut [T],
    b_sums: &mut [T],
    g: &[T],
    a: &[T],
    x: &[T],
    f: impl Fn(T, T, T) -> [T; 3],
) {
    let (a_sums, b_sums) = (&mut a_sums[..out.len()], &mut b_sums[..out.len()]);
    let (g, a, x) = (&g[..out.len()], &a[..out.len()], &x[..out.len()]);
    for index in 0..out.len() {
        let [pulled, of_a, of_b] = f(g[index], a[index], x[index]);
        out[index] = pulled;
        a_sums[index] += of_a;
        b_sums[index] += of_b;
    }
}
