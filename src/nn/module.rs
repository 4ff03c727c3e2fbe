//! [`Module`]: what every hand-derived layer does.

use std::fmt::Debug;
use std::sync::Arc;

use ndarray::{Array2, ArrayD, ArrayRef2};

use crate::param::Param;
use crate::scalar::Scalar;
use crate::tape::{Tape, Var};

/// A layer, or a network of layers, with its forward and backward pass derived by hand.
///
/// `input` is always a matrix with a row for each example of the batch, `delta` the gradient of the loss by the
/// output, of the output's shape. A backward pass belongs to the last forward pass: it takes the same `input`,
/// because a layer keeps its output and not its input. It also takes the weights that are there by then: an update
/// between the two passes makes the delta one of the new weights.
///
/// [`record`](Self::record) says the same computation to a [`Tape`]; the gradients that the tape finds must be
/// those of the hand-derived pass. Both accumulate in the same [`Param`]s.
///
/// # Panics
///
/// At the caller's line, naming the layer: if the width of the input is not the layer's, if a backward pass comes
/// before the forward pass, if it is on another batch size, or if `delta` has not the shape of the output.
///
/// # Example
///
/// A layer of one's own, `y = x²`. What it has to do by hand is [`forward`](Self::forward) and
/// [`backward_delta`](Self::backward_delta); a layer with parameters also lists them and adds to their gradients, and
/// one whose output has another width than its input says so by [`output_width`](Self::output_width).
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
pub trait Module<T: Scalar>: Debug + Send {
    /// Returns what messages call the layer: its kind and its widths, as in `Linear 100 -> 3`.
    fn name(&self) -> String;

    /// Computes the output, `(batch, in) -> (batch, out)`, and keeps it.
    #[doc(alias = "updateOutput")]
    #[track_caller]
    fn forward(&mut self, input: &ArrayRef2<T>) -> &Array2<T>;

    /// Returns the result of the last [`forward`](Self::forward), of shape `(0, 0)` before the first.
    fn output(&self) -> &Array2<T>;

    /// Adds the gradient of the loss by each parameter to the parameter's gradient. A layer without parameters does
    /// nothing.
    #[track_caller]
    fn backward_update_gradient(&mut self, input: &ArrayRef2<T>, delta: &ArrayRef2<T>) {
        expect(self, self.check_backward(input, delta));
    }

    /// Adds `scale` times the gradient of the loss by each parameter to the parameter's gradient.
    ///
    /// Gradients are linear in `delta`, so this is [`backward_update_gradient`](Self::backward_update_gradient) of
    /// `scale * delta`. That product is allocated; a scale of 1 costs nothing.
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

    /// Returns the gradient of the loss by the input: `(batch, out) -> (batch, in)`. Parameters are left alone.
    #[doc(alias = "updateGradInput")]
    #[track_caller]
    fn backward_delta(&mut self, input: &ArrayRef2<T>, delta: &ArrayRef2<T>) -> &Array2<T>;

    /// Returns the result of the last [`backward_delta`](Self::backward_delta) or [`backward`](Self::backward), of shape
    /// `(0, 0)` before the first.
    #[doc(alias = "gradInput")]
    fn grad_input(&self) -> &Array2<T>;

    /// Does both: [`backward_update_gradient`](Self::backward_update_gradient), then
    /// [`backward_delta`](Self::backward_delta), whose result it returns.
    #[track_caller]
    fn backward(&mut self, input: &ArrayRef2<T>, delta: &ArrayRef2<T>) -> &Array2<T> {
        self.backward_update_gradient(input, delta);
        self.backward_delta(input, delta)
    }

    /// Returns the parameters, each once. A layer without any takes part in no update.
    fn parameters(&self) -> &[Param<T>] {
        &[]
    }

    /// Returns the gradients of [`parameters`](Self::parameters), in their order; `None` where no backward pass has
    /// been since [`zero_grad`](Self::zero_grad).
    fn gradient(&self) -> Vec<Option<Arc<ArrayD<T>>>> {
        self.parameters().iter().map(Param::grad).collect()
    }

    /// Clears the gradients of all parameters.
    #[doc(alias = "zeroGradParameters")]
    fn zero_grad(&mut self) {
        self.parameters().iter().for_each(Param::zero_grad);
    }

    /// Takes a step of gradient descent: `w -= gradient_step * grad` for each parameter that has a gradient.
    #[doc(alias = "updateParameters")]
    fn update_parameters(&mut self, gradient_step: T) {
        for parameter in self.parameters() {
            parameter.update(gradient_step);
        }
    }

    /// Returns how many numbers there are to learn.
    ///
    /// # Example
    ///
    /// ```
    /// use rand::{SeedableRng, rngs::StdRng};
    /// use tapegrad::nn::{Linear, Module};
    ///
    /// let layer = Linear::<f32>::new(784, 10, &mut StdRng::seed_from_u64(0));
    /// assert_eq!(layer.parameter_count(), 7_850); // 784 · 10 + 10
    /// ```
    fn parameter_count(&self) -> usize {
        self.parameters().iter().map(|parameter| parameter.shape().elements()).sum()
    }

    /// Records the forward computation of `x`, `(batch, in) -> (batch, out)`. Kept results are left alone.
    #[track_caller]
    fn record<'t>(&self, tape: &'t Tape<T>, x: Var<'t, T>) -> Var<'t, T>;

    /// Returns the width of the output for an input of this width: the same, unless a layer says otherwise.
    ///
    /// A network checks its layers by this before it runs them.
    ///
    /// # Errors
    ///
    /// If the layer takes no input of this width: a message that goes behind the layer's name.
    fn output_width(&self, input_width: usize) -> Result<usize, String> {
        Ok(input_width)
    }

    /// Checks that a backward pass fits the last forward pass.
    ///
    /// # Errors
    ///
    /// If not: a message that goes behind the layer's name.
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

/// Panics with the layer's name if a check failed.
#[track_caller]
pub(crate) fn expect<T: Scalar, R>(layer: &(impl Module<T> + ?Sized), checked: Result<R, String>) -> R {
    match checked {
        Ok(value) => value,
        Err(message) => panic!("{}: {message}", layer.name()),
    }
}

/// Returns the width of the matrix on the tape.
///
/// # Errors
///
/// If it is no matrix.
pub(crate) fn recorded_width<T: Scalar>(x: Var<'_, T>) -> Result<usize, String> {
    match *x.shape() {
        [_, width] => Ok(width),
        _ => Err(format!("expected an input of shape (batch, width), found {}", x.shape())),
    }
}
