//! Plain elementwise loops over slices of equal length.
//!
//! They are always inlined. So a loop has the vector instructions of the function that it is called from, if the closure is
//! inlined as well: callers pass it by [`inlined!`](crate::number::inlined).

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
