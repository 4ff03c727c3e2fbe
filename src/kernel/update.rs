//! [`ParamUpdate`]: the loops of optimizers. Each is one pass over weights, gradient and the optimizer's state.

use pulp::{Simd, WithSimd};

use crate::kernel::elementwise::{zip_in_place, zip_slices};
use crate::number::{Number, dispatch};
use crate::threads::{self, PIECE};

/// The weights that an optimizer updates: in place, or read from the old memory and written to the new.
pub(crate) enum ParamUpdate<'a, T> {
    InPlace(&'a mut [T]),
    Moved { from: &'a [T], to: &'a mut [T] },
}

impl<'a, T: Number> ParamUpdate<'a, T> {
    fn len(&self) -> usize {
        match self {
            Self::InPlace(weights) => weights.len(),
            Self::Moved { to, .. } => to.len(),
        }
    }

    fn split_at(self, middle: usize) -> (Self, Self) {
        match self {
            Self::InPlace(weights) => {
                let (left, right) = weights.split_at_mut(middle);
                (Self::InPlace(left), Self::InPlace(right))
            }
            Self::Moved { from, to } => {
                let ((from, after), (to, to_after)) = (from.split_at(middle), to.split_at_mut(middle));
                (Self::Moved { from, to }, Self::Moved { from: after, to: to_after })
            }
        }
    }

    /// Computes `w = f(w, g)`.
    pub(crate) fn map(self, grad: &[T], f: impl Fn(T, T) -> T + Copy + Sync) {
        match self {
            Self::InPlace(weights) => zip_in_place(weights, grad, f),
            Self::Moved { from, to } => zip_slices(to, from, grad, f),
        }
    }
}

/// Defines `(w, s) = f(w, g, s)` for a fixed number of arrays `s`.
///
/// Slices are function arguments because only arguments are `noalias`; LLVM gives up run-time alias checks, and
/// vectorizing, beyond four slices. As everywhere in the kernels, the closure `f` has to be inlined: callers pass it by
/// [`inlined!`](crate::number::inlined).
macro_rules! update_loop {
    ($name:ident, $count:literal: $($state:ident $index:literal),+) => {
        impl<T: Number> ParamUpdate<'_, T> {
            /// Computes `(w, s) = f(w, g, s)` for the arrays `s` of the optimizer's state.
            pub(crate) fn $name(
                self,
                grad: &[T],
                states: [&mut [T]; $count],
                f: impl Fn(T, T, [T; $count]) -> (T, [T; $count]) + Copy + Sync + Send,
            ) {
                if self.len() >= 2 * PIECE && threads::count() > 1 {
                    let middle = self.len() / 2;
                    let ((first, second), (grad, grad_after)) = (self.split_at(middle), grad.split_at(middle));
                    let [$($state),+] = states.map(|state| state.split_at_mut(middle));
                    let (states, after) = ([$($state.0),+], [$($state.1),+]);
                    threads::join(
                        move || first.$name(grad, states, f),
                        move || second.$name(grad_after, after, f),
                    );
                    return;
                }
                struct Loop<'a, T, F> {
                    update: ParamUpdate<'a, T>,
                    grad: &'a [T],
                    states: [&'a mut [T]; $count],
                    f: F,
                }

                impl<T: Number, F: Fn(T, T, [T; $count]) -> (T, [T; $count])> WithSimd for Loop<'_, T, F> {
                    type Output = ();

                    #[inline(always)]
                    fn with_simd<S: Simd>(self, _: S) {
                        let Self { update, grad, states: [$($state),+], f } = self;
                        match update {
                            ParamUpdate::InPlace(w) => in_place(w, grad, $($state,)+ f),
                            ParamUpdate::Moved { from, to } => moved(to, from, grad, $($state,)+ f),
                        }
                    }
                }

                update_loop!(@function in_place(w) reads w, $count: $($state $index),+);
                update_loop!(@function moved(w, from) reads from, $count: $($state $index),+);

                dispatch(Loop { update: self, grad, states, f });
            }
        }
    };
    (
        @function $name:ident($w:ident $(, $from:ident)?) reads $old:ident,
        $count:literal: $($state:ident $index:literal),+
    ) => {
        #[inline(always)]
        fn $name<T: Number>(
            $w: &mut [T],
            $($from: &[T],)?
            g: &[T],
            $($state: &mut [T],)+
            f: impl Fn(T, T, [T; $count]) -> (T, [T; $count]),
        ) {
            let g = &g[..$w.len()];
            $( let $from = &$from[..$w.len()]; )?
            $( let $state = &mut $state[..$w.len()]; )+
            for index in 0..$w.len() {
                let (new, states) = f($old[index], g[index], [$($state[index]),+]);
                $w[index] = new;
                $( $state[index] = states[$index]; )+
            }
        }
    };
}

update_loop!(update_1, 1: a 0);
update_loop!(update_2, 2: a 0, b 1);
update_loop!(update_3, 3: a 0, b 1, c 2);
