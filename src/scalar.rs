//! [`Scalar`]: the element types of a tape, `f32` and `f64`.

use crate::input::Input;
use crate::kernel::matmul::Matmul;
use crate::number::Number;
use crate::op::Engine;

/// An element type that can be recorded and differentiated: `f32` or `f64`.
///
/// It is a [`Number`] that can be put on a tape, and it has the engine that runs operations on it. The trait is sealed:
/// kernels and tolerances are written for these two types.
///
/// # Example
///
/// ```
/// use tapegrad::Scalar;
///
/// fn half<T: Scalar>(x: T) -> T {
///     x / T::from_f64(2.0)
/// }
/// assert_eq!(half(3.0_f32), 1.5);
/// ```
///
/// It can be combined with traits of other crates:
///
/// ```
/// # use num_traits::Float;
/// # use tapegrad::Scalar;
/// fn softplus<T: Scalar + Float>(x: T) -> T {
///     x.exp().ln_1p() // the functions of `Float`
/// }
/// assert_eq!(softplus(0.0_f64), 2.0_f64.ln());
/// ```
pub trait Scalar: Number + Matmul + Engine + Input<Self> {}

impl Scalar for f32 {}
impl Scalar for f64 {}
