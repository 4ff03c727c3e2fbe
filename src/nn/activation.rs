//! The elementwise layers: [`Tanh`], [`Sigmoid`], [`ReLU`].

use ndarray::{Array2, ArrayRef2};

use super::buffer::Buffer;
use super::layer::{buffered_results, debug_prints_name, new_without_settings};
use super::module::{Module, expect};
use crate::kernel::elementwise::{map, map_in_place, zip_in_place, zip_slices};
use crate::number::{Algebra, inlined};
use crate::scalar::Scalar;
use crate::tape::{Tape, Var};

/// The function between two linear layers of [`Sequential::mlp`](super::Sequential::mlp).
///
/// # Example
///
/// See [`Sequential::mlp`](super::Sequential::mlp).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Activation {
    /// [`Tanh`].
    Tanh,
    /// [`Sigmoid`].
    Sigmoid,
    /// [`ReLU`].
    ReLU,
}

/// Defines layers `y = f(x)` on each element. `d_in` is `delta f'`, with `f'` in terms of `y`: the backward pass does
/// not read the input.
macro_rules! activation {
    ($(
        $(#[$doc:meta])*
        $Layer:ident: y = |$x:ident| $f:expr, d_in = |$delta:ident, $y:ident| $d_in:expr, recorded as $method:ident
    )*) => { $(
        $(#[$doc])*
        #[derive(Clone, Default)]
        pub struct $Layer<T> {
            output: Buffer<T>,
            delta: Buffer<T>,
        }

        new_without_settings!($Layer);
        debug_prints_name!($Layer);

        impl<T: Scalar> $Layer<T> {
            #[inline(always)]
            fn f($x: T) -> T {
                $f
            }

            #[inline(always)]
            fn d_in($delta: T, $y: T) -> T {
                $d_in
            }
        }

        impl<T: Scalar> Module<T> for $Layer<T> {
            fn name(&self) -> String {
                stringify!($Layer).into()
            }

            fn forward(&mut self, input: &ArrayRef2<T>) -> &Array2<T> {
                match input.as_slice() {
                    Some(x) => map(self.output.shaped(input.dim()), x, inlined!(|x| Self::f(x))),
                    None => map_in_place(self.output.copy_from(input), inlined!(|x| Self::f(x))),
                }
                self.output.array()
            }

            buffered_results!();

            fn backward_delta(&mut self, input: &ArrayRef2<T>, delta: &ArrayRef2<T>) -> &Array2<T> {
                expect(self, self.check_backward(input, delta));
                let y = self.output.values();
                match delta.as_slice() {
                    Some(values) => zip_slices(self.delta.shaped(delta.dim()), values, y, inlined!(|delta, y| Self::d_in(delta, y))),
                    None => zip_in_place(self.delta.copy_from(delta), y, inlined!(|delta, y| Self::d_in(delta, y))),
                }
                self.delta.array()
            }

            fn record<'t>(&self, _: &'t Tape<T>, x: Var<'t, T>) -> Var<'t, T> {
                x.$method()
            }
        }
    )* };
}

activation! {
    /// The hyperbolic tangent of each element, `y = tanh x`.
    ///
    /// # Derivative
    ///
    /// `tanh x = sinh x / cosh x`, `sinh' = cosh` and `cosh' = sinh`, so by the quotient rule
    ///
    /// ```text
    /// y'   = (cosh² x - sinh² x) / cosh² x = 1 - y²
    /// d_in = delta (1 - y²)
    /// ```
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::nn::{Module, Tanh};
    ///
    /// let mut layer = Tanh::new();
    /// let x = array![[0.0, 100.0]];
    /// assert_eq!(layer.forward(&x), array![[0.0, 1.0]]);
    /// assert_eq!(layer.backward_delta(&x, &array![[3.0, 3.0]]), array![[3.0, 0.0]]);
    /// ```
    Tanh: y = |x| x.tanh(), d_in = |delta, y| delta * (T::ONE - y * y), recorded as tanh

    /// The logistic function of each element, `y = 1 / (1 + e^-x)`.
    ///
    /// # Derivative
    ///
    /// ```text
    /// y'   = e^-x / (1 + e^-x)² = y (1 - y)    because e^-x / (1 + e^-x) = 1 - y
    /// d_in = delta y (1 - y)
    /// ```
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::nn::{Module, Sigmoid};
    ///
    /// let mut layer = Sigmoid::new();
    /// let x = array![[0.0]];
    /// assert_eq!(layer.forward(&x), array![[0.5]]);
    /// assert_eq!(layer.backward_delta(&x, &array![[8.0]]), array![[2.0]]); // 8 · ½ · ½
    /// ```
    Sigmoid: y = |x| x.sigmoid(), d_in = |delta, y| delta * (y * (T::ONE - y)), recorded as sigmoid

    /// The rectifier of each element, `y = max(x, 0)`; NaN stays NaN.
    ///
    /// # Derivative
    ///
    /// ```text
    /// y'   = 0 where x <= 0, also at the kink; else 1    x <= 0 where y <= 0
    /// d_in = 0 where y <= 0, else delta
    /// ```
    ///
    /// `delta` is selected, not multiplied: where `y'` is 0, an infinite `delta` gives 0 and not NaN.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::nn::{Module, ReLU};
    ///
    /// let mut layer = ReLU::new();
    /// let x = array![[-1.0, 0.0, 2.0]];
    /// assert_eq!(layer.forward(&x), array![[0.0, 0.0, 2.0]]);
    /// assert_eq!(layer.backward_delta(&x, &array![[f64::INFINITY, 5.0, 5.0]]), array![[0.0, 0.0, 5.0]]);
    /// ```
    ReLU: y = |x| if x < T::ZERO { T::ZERO } else { x },
        d_in = |delta, y| if y <= T::ZERO { T::ZERO } else { delta }, recorded as relu
}
