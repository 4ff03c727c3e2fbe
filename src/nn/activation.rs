//! The layers that apply a function to each element: [`Tanh`], [`Sigmoid`], [`ReLU`].

use std::fmt;

use ndarray::{Array2, ArrayRef2};

use super::buffer::Buffer;
use super::module::{Module, expect};
use crate::kernel::elementwise::{map, map_in_place, zip_in_place, zip_slices};
use crate::number::Algebra;
use crate::scalar::Scalar;
use crate::tape::{Tape, Var};

/// Which function [`Sequential::mlp`](super::Sequential::mlp) puts between two linear layers.
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

/// A layer `y = f(x)` on each element, with `f'` written in terms of `y`: the input need not be read again.
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

        impl<T: Scalar> $Layer<T> {
            /// Returns the layer. It takes any width.
            #[must_use]
            pub fn new() -> Self {
                Self { output: Buffer::default(), delta: Buffer::default() }
            }

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
                    Some(x) => map(self.output.shaped(input.dim()), x, #[inline(always)] |x| Self::f(x)),
                    None => map_in_place(self.output.copy_from(input), #[inline(always)] |x| Self::f(x)),
                }
                self.output.array()
            }

            fn output(&self) -> &Array2<T> {
                self.output.array()
            }

            fn backward_delta(&mut self, input: &ArrayRef2<T>, delta: &ArrayRef2<T>) -> &Array2<T> {
                expect(self, self.check_backward(input, delta));
                let y = self.output.values();
                match delta.as_slice() {
                    Some(values) => zip_slices(
                        self.delta.shaped(delta.dim()),
                        values,
                        y,
                        #[inline(always)]
                        |delta, y| Self::d_in(delta, y),
                    ),
                    None => zip_in_place(
                        self.delta.copy_from(delta),
                        y,
                        #[inline(always)]
                        |delta, y| Self::d_in(delta, y),
                    ),
                }
                self.delta.array()
            }

            fn grad_input(&self) -> &Array2<T> {
                self.delta.array()
            }

            fn record<'t>(&self, _: &'t Tape<T>, x: Var<'t, T>) -> Var<'t, T> {
                x.$method()
            }
        }

        /// Prints the name.
        impl<T: Scalar> fmt::Debug for $Layer<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($Layer))
            }
        }
    )* };
}

activation! {
    /// The hyperbolic tangent of each element, `y = tanh x`.
    ///
    /// # Derivative
    ///
    /// `tanh x = sinh x / cosh x` and `sinh' = cosh`, `cosh' = sinh`, so by the rule for quotients
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
    /// y'   = 0 where x <= 0, which is where y <= 0, at the kink x = 0 too; else 1
    /// d_in = 0 where y <= 0, else delta
    /// ```
    ///
    /// `delta` is selected and not multiplied: an infinite `delta` does not become NaN where it is cut off.
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
