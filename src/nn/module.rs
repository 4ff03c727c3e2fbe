//! [`Module`]: the trait of hand-derived layers.

use std::fmt::Debug;

use ndarray::{Array2, ArrayRef2};

use super::mode::Draws;
use super::trainable::trainable;
use crate::param::Param;
use crate::scalar::Scalar;
use crate::shape::Shape;
use crate::tape::{Tape, Var};

/// A layer, or a network of layers, with its forward and backward pass derived by hand.
///
/// `input` is a matrix with a row for each example of the batch. `delta` is the gradient of the loss by the output, and
/// has the output's shape.
///
/// A backward pass belongs to the last forward pass. It takes the same `input` again, because a layer keeps its output
/// and not its input. It uses the current weights: after an update between the two passes, the delta is that of the
/// new weights.
///
/// [`record`](Self::record) records the same computation on a [`Tape`]. The tape must find the same gradients as the
/// hand-derived pass. Both accumulate in the same [`Param`]s.
///
/// # Panics
///
/// At the caller's line, with the layer's name:
///
/// - if the input has not the layer's width;
/// - if a backward pass comes before the forward pass, or has another batch size;
/// - if `delta` has not the output's shape.
///
/// # Example
///
/// A layer of your own, `y = x²`. The work by hand is in [`forward`](Self::forward) and
/// [`backward_delta`](Self::backward_delta). A layer with parameters also defines [`parameters`](Self::parameters) and
/// [`backward_update_gradient`](Self::backward_update_gradient). A layer that changes the width also defines
/// [`output_width`](Self::output_width).
///
/// ```
/// use ndarray::{Array2, ArrayRef2, array};
/// use tapegrad::nn::Module;
/// use tapegrad::{Tape, Var};
///
/// #[derive(Debug, Default)]
/// struct Square {
///     output: Array2<f64>,
///     delta: Array2<f64>,
/// }
///
/// impl Module<f64> for Square {
///     fn name(&self) -> String {
///         "Square".into()
///     }
///     fn forward(&mut self, input: &ArrayRef2<f64>) -> &Array2<f64> {
///         self.output = input * input;
///         &self.output
///     }
///     fn output(&self) -> &Array2<f64> {
///         &self.output
///     }
///     // y = x², so dL/dx = dL/dy · 2x
///     fn backward_delta(&mut self, input: &ArrayRef2<f64>, delta: &ArrayRef2<f64>) -> &Array2<f64> {
///         self.delta = 2.0 * input * delta;
///         &self.delta
///     }
///     fn grad_input(&self) -> &Array2<f64> {
///         &self.delta
///     }
///     fn record<'t>(&self, _: &'t Tape<f64>, x: Var<'t, f64>) -> Var<'t, f64> {
///         x * x
///     }
/// }
///
/// let mut layer = Square::default();
/// let x = array![[1.0, 3.0]];
/// assert_eq!(layer.forward(&x), array![[1.0, 9.0]]);
/// assert_eq!(layer.backward_delta(&x, &array![[1.0, 1.0]]), array![[2.0, 6.0]]);
/// ```
pub trait Module<T: Scalar>: Debug + Send + Sync {
    /// Returns the layer's name in messages: its kind and its widths, as in `Linear 100 -> 3`.
    fn name(&self) -> String;

    /// Returns the output, `(batch, in) -> (batch, out)`, and keeps it.
    #[doc(alias = "updateOutput")]
    #[track_caller]
    fn forward(&mut self, input: &ArrayRef2<T>) -> &Array2<T>;

    /// Returns the result of the last [`forward`](Self::forward). Before the first, its shape is `(0, 0)`.
    fn output(&self) -> &Array2<T>;

    /// Adds the gradient of the loss by each parameter to the parameter's gradient. By default it does nothing, as fits
    /// a layer without parameters.
    #[track_caller]
    fn backward_update_gradient(&mut self, input: &ArrayRef2<T>, delta: &ArrayRef2<T>) {
        expect(self, self.check_backward(input, delta));
    }

    /// Adds `scale` times the gradient of the loss by each parameter to the parameter's gradient.
    ///
    /// Gradients are linear in `delta`, so this is [`backward_update_gradient`](Self::backward_update_gradient) with
    /// `scale * delta`. The product is allocated, except for a scale of 1.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Param;
    /// use tapegrad::nn::{Linear, Module};
    ///
    /// let mut layer = Linear::from_params(Param::new(array![[5.0]]), None);
    /// let x = array![[2.0]];
    /// layer.forward(&x);
    /// layer.acc_grad_parameters(&x, &array![[3.0]], 0.5);
    /// layer.acc_grad_parameters(&x, &array![[3.0]], 1.0);
    /// assert_eq!(layer.weight().grad().unwrap()[[0, 0]], 9.0); // (0.5 + 1) · 2 · 3
    /// ```
    #[doc(alias = "accGradParameters")]
    #[track_caller]
    fn acc_grad_parameters(&mut self, input: &ArrayRef2<T>, delta: &ArrayRef2<T>, scale: T) {
        if scale == T::ONE {
            self.backward_update_gradient(input, delta);
        } else {
            self.backward_update_gradient(input, &delta.mapv(|delta| scale * delta));
        }
    }

    /// Returns the gradient of the loss by the input, `(batch, out) -> (batch, in)`, and keeps it. The parameters'
    /// gradients do not change.
    #[doc(alias = "updateGradInput")]
    #[track_caller]
    fn backward_delta(&mut self, input: &ArrayRef2<T>, delta: &ArrayRef2<T>) -> &Array2<T>;

    /// Returns the result of the last [`backward_delta`](Self::backward_delta) or [`backward`](Self::backward). Before
    /// the first, its shape is `(0, 0)`.
    #[doc(alias = "gradInput")]
    fn grad_input(&self) -> &Array2<T>;

    /// Returns the gradient of the loss by the input, and adds the parameters' gradients:
    /// [`backward_update_gradient`](Self::backward_update_gradient), then [`backward_delta`](Self::backward_delta).
    #[track_caller]
    fn backward(&mut self, input: &ArrayRef2<T>, delta: &ArrayRef2<T>) -> &Array2<T> {
        self.backward_update_gradient(input, delta);
        self.backward_delta(input, delta)
    }

    /// Returns the gradient of the loss by the input, and adds `scale` times the parameters' gradients. The gradient by
    /// the input is not scaled, as in Lua torch.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Param;
    /// use tapegrad::nn::{Linear, Module};
    ///
    /// let mut layer = Linear::from_params(Param::new(array![[5.0]]), None);
    /// let x = array![[2.0]];
    /// layer.forward(&x);
    /// assert_eq!(layer.backward_scaled(&x, &array![[3.0]], 0.5), array![[15.0]]); // 3 · 5
    /// assert_eq!(layer.weight().grad().unwrap()[[0, 0]], 3.0); // 0.5 · 2 · 3
    /// ```
    #[track_caller]
    fn backward_scaled(&mut self, input: &ArrayRef2<T>, delta: &ArrayRef2<T>, scale: T) -> &Array2<T> {
        self.acc_grad_parameters(input, delta, scale);
        self.backward_delta(input, delta)
    }

    /// Returns the parameters, each once; none by default.
    fn parameters(&self) -> &[Param<T>] {
        &[]
    }

    trainable!();

    /// Sets whether passes draw new random numbers. By default it does nothing, as fits a layer without randomness.
    fn set_draws(&mut self, _draws: Draws) {}

    /// Records the forward computation of `x`, `(batch, in) -> (batch, out)`. [`output`](Self::output) does not change.
    #[track_caller]
    fn record<'t>(&self, tape: &'t Tape<T>, x: Var<'t, T>) -> Var<'t, T>;

    /// Returns the width of the output for an input of this width; by default the same.
    ///
    /// A network checks its layers with it before it runs them.
    ///
    /// # Errors
    ///
    /// A message, to be printed after the layer's name, if the layer takes no input of this width.
    fn output_width(&self, input_width: usize) -> Result<usize, String> {
        Ok(input_width)
    }

    /// Returns the shape of one example's output, for a printed table, from the shape of one example's input. The product
    /// of its lengths is [`output_width`](Self::output_width). By default it is the input's shape if the width stays,
    /// else the width.
    ///
    /// # Errors
    ///
    /// As [`output_width`](Self::output_width).
    fn output_shape(&self, input: &[usize]) -> Result<Shape, String> {
        let width = input.iter().product();
        let output = self.output_width(width)?;
        Ok(if output == width { Shape::from(input) } else { Shape::from([output]) })
    }

    /// Checks that `input` and `delta` fit the last forward pass.
    ///
    /// # Errors
    ///
    /// A message, to be printed after the layer's name, if they do not.
    fn check_backward(&self, input: &ArrayRef2<T>, delta: &ArrayRef2<T>) -> Result<(), String> {
        check_shapes(self, input, delta)
    }
}

/// Checks `input` and `delta` against the output of the last forward pass.
pub(crate) fn check_shapes<T: Scalar>(
    layer: &(impl Module<T> + ?Sized),
    input: &ArrayRef2<T>,
    delta: &ArrayRef2<T>,
) -> Result<(), String> {
    let output = layer.output().dim();
    if output == (0, 0) && delta.dim() != output {
        return Err("backward before forward".into());
    }
    let width = layer.output_width(input.ncols())?;
    if width != output.1 {
        let found = input.ncols();
        return Err(format!("an input of width {found} is not the forward pass's, which gave a width of {}", output.1));
    }
    if input.nrows() != output.0 {
        return Err(format!("backward on a batch of {} after forward on a batch of {}", input.nrows(), output.0));
    }
    if delta.dim() != output {
        return Err(format!("expected a delta of the output's shape {output:?}, found {:?}", delta.dim()));
    }
    Ok(())
}

/// Returns the width of the output of a layer that takes inputs of one width.
///
/// # Errors
///
/// If the input has another width.
pub(crate) fn fixed_width(inputs: usize, outputs: usize, input_width: usize) -> Result<usize, String> {
    if input_width == inputs {
        Ok(outputs)
    } else {
        Err(format!("expected an input of width {inputs}, found {input_width}"))
    }
}

/// Panics with the layer's name if a check failed.
#[track_caller]
pub(crate) fn expect<T: Scalar, R>(layer: &(impl Module<T> + ?Sized), checked: Result<R, String>) -> R {
    match checked {
        Ok(value) => value,
        Err(message) => panic!("{}: {message}", layer.name()),
    }
}

/// Returns the width of a matrix on the tape.
///
/// # Errors
///
/// If `x` is not a matrix.
pub(crate) fn recorded_width<T: Scalar>(x: Var<'_, T>) -> Result<usize, String> {
    match *x.shape() {
        [_, width] => Ok(width),
        _ => Err(format!("expected an input of shape (batch, width), found {}", x.shape())),
    }
}
