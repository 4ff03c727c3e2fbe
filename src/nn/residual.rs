//! [`Residual`]: a module beside a shortcut.

use ndarray::{Array2, ArrayRef2};

use super::buffer::Buffer;
use super::layer::buffered_results;
use super::mode::{Draws, Mode};
use super::module::{Module, expect, recorded_width};
use crate::param::Param;
use crate::scalar::Scalar;
use crate::tape::{Tape, Var};

/// A module with a shortcut around it, `y = x + f(x)` (He et al. 2016).
///
/// # Shapes
///
/// The output of the module has the width of its input.
///
/// # Derivative
///
/// ```text
/// d_in = delta + f's gradient by its input for delta
/// ```
///
/// The parameters of `f` see the same `delta`.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::Param;
/// use tapegrad::nn::{Linear, Module, Residual};
///
/// let mut layer = Residual::new(Linear::from_params(Param::new(array![[3.0]]), None));
/// let x = array![[2.0]];
/// assert_eq!(layer.forward(&x), array![[8.0]]); // 2 + 3·2
/// assert_eq!(layer.backward_delta(&x, &array![[1.0]]), array![[4.0]]); // 1 + 3
/// ```
#[derive(Debug)]
pub struct Residual<T> {
    inner: Box<dyn Module<T>>,
    output: Buffer<T>,
    delta: Buffer<T>,
}

impl<T: Scalar> Residual<T> {
    /// Returns the module with a shortcut around it.
    ///
    /// # Example
    ///
    /// See [`Residual`].
    #[doc(alias("shortcut", "skip connection"))]
    #[must_use]
    pub fn new(inner: impl Module<T> + 'static) -> Self {
        Self { inner: Box::new(inner), output: Buffer::default(), delta: Buffer::default() }
    }

    /// Returns the module within.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::nn::{Residual, Tanh};
    ///
    /// assert_eq!(Residual::new(Tanh::<f64>::new()).inner().name(), "Tanh");
    /// ```
    #[must_use]
    pub fn inner(&self) -> &dyn Module<T> {
        &*self.inner
    }
}

impl<T: Scalar> Module<T> for Residual<T> {
    fn name(&self) -> String {
        format!("Residual of {}", self.inner.name())
    }

    fn forward(&mut self, input: &ArrayRef2<T>) -> &Array2<T> {
        expect(self, self.output_width(input.ncols()));
        self.output.copy_from(input);
        *self.output.array_mut() += self.inner.forward(input);
        self.output.array()
    }

    buffered_results!();

    fn backward_update_gradient(&mut self, input: &ArrayRef2<T>, delta: &ArrayRef2<T>) {
        expect(self, self.check_backward(input, delta));
        self.inner.backward_update_gradient(input, delta);
    }

    fn backward_delta(&mut self, input: &ArrayRef2<T>, delta: &ArrayRef2<T>) -> &Array2<T> {
        expect(self, self.check_backward(input, delta));
        self.delta.copy_from(delta);
        *self.delta.array_mut() += self.inner.backward_delta(input, delta);
        self.delta.array()
    }

    fn backward(&mut self, input: &ArrayRef2<T>, delta: &ArrayRef2<T>) -> &Array2<T> {
        expect(self, self.check_backward(input, delta));
        self.delta.copy_from(delta);
        *self.delta.array_mut() += self.inner.backward(input, delta);
        self.delta.array()
    }

    fn parameters(&self) -> &[Param<T>] {
        self.inner.parameters()
    }

    fn buffers(&self) -> Vec<Param<T>> {
        self.inner.buffers()
    }

    fn set_mode(&mut self, mode: Mode) {
        self.inner.set_mode(mode);
    }

    fn set_draws(&mut self, draws: Draws) {
        self.inner.set_draws(draws);
    }

    fn record<'t>(&self, tape: &'t Tape<T>, x: Var<'t, T>) -> Var<'t, T> {
        expect(self, recorded_width(x).and_then(|width| self.output_width(width)));
        let _group = tape.open_group("Residual");
        x + self.inner.record(tape, x)
    }

    fn output_width(&self, input_width: usize) -> Result<usize, String> {
        match self.inner.output_width(input_width)? {
            width if width == input_width => Ok(width),
            width => Err(format!("the shortcut has width {input_width}, the module's output {width}")),
        }
    }
}
