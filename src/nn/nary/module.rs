//! [`NaryModule`]: the trait of modules with any number of inputs, and what its implementations share.

use std::fmt::Debug;

use ndarray::{Array2, ArrayRef2, ArrayView1};

use crate::nn::trainable::trainable;
use crate::param::Param;
use crate::scalar::Scalar;
use crate::shape::Shape;
use crate::tape::{Tape, Var};

/// A module of any number of inputs, 0 included, with its forward and backward pass derived by hand.
///
/// The contract is that of [`Module`](crate::nn::Module), which has one input. Every input is a matrix with a row for
/// each example. A backward pass belongs to the last forward pass and takes the same inputs. Every input gets its own
/// delta.
///
/// An input of **one row** is broadcast to the rows of the others; its delta is the sum over the rows.
///
/// # One output
///
/// A module has one output, so a backward pass takes one delta. A function of several outputs is several modules on the
/// same inputs, in a [`Graph`](crate::nn::Graph): a value of a graph may be the input of several nodes, and the graph adds
/// their deltas. With a list of outputs, every layer and every caller would have to give a delta for outputs that nobody
/// used. On the tape a function may return any number of [`Var`]s.
///
/// # Panics
///
/// At the caller's line, with the module's name:
///
/// - if the number of inputs, their rows or their widths do not fit;
/// - if a backward pass comes before the forward pass;
/// - if `delta` has not the output's shape.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::nn::{NaryModule, Sum};
///
/// let mut sum = Sum::new();
/// let (a, b) = (array![[1.0, 2.0], [3.0, 4.0]], array![[10.0, 20.0]]);
/// assert_eq!(sum.forward(&[&a, &b]), array![[11.0, 22.0], [13.0, 24.0]]);
/// let deltas = sum.backward_delta(&[&a, &b], &array![[1.0, 2.0], [3.0, 4.0]]);
/// assert_eq!(deltas[0], array![[1.0, 2.0], [3.0, 4.0]]);
/// assert_eq!(deltas[1], array![[4.0, 6.0]]); // one row, broadcast to two
/// ```
#[doc(alias("n-ary module", "table layer"))]
pub trait NaryModule<T: Scalar>: Debug + Send + Sync {
    /// Returns the module's name in messages.
    fn name(&self) -> String;

    /// Returns the output, `(batch, out)`, and keeps it.
    #[doc(alias = "updateOutput")]
    #[track_caller]
    fn forward(&mut self, inputs: &[&ArrayRef2<T>]) -> &Array2<T>;

    /// Returns the result of the last [`forward`](Self::forward). Before the first, its shape is `(0, 0)`.
    fn output(&self) -> &Array2<T>;

    /// Adds the gradient of the loss by each parameter to the parameter's gradient. By default it does nothing, as fits
    /// a module without parameters.
    #[track_caller]
    fn backward_update_gradient(&mut self, inputs: &[&ArrayRef2<T>], delta: &ArrayRef2<T>) {
        expect(&self.name(), self.check_backward(inputs, delta));
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
    /// use tapegrad::nn::{NaryModule, Vector};
    ///
    /// let mut z = Vector::new(array![1.0, 2.0]);
    /// z.forward(&[]);
    /// z.acc_grad_parameters(&[], &array![[3.0, 4.0]], 0.5);
    /// z.acc_grad_parameters(&[], &array![[3.0, 4.0]], 1.0);
    /// assert_eq!(*z.parameters()[0].grad().unwrap(), array![4.5, 6.0].into_dyn()); // (0.5 + 1) delta
    /// ```
    #[doc(alias = "accGradParameters")]
    #[track_caller]
    fn acc_grad_parameters(&mut self, inputs: &[&ArrayRef2<T>], delta: &ArrayRef2<T>, scale: T) {
        if scale == T::ONE {
            self.backward_update_gradient(inputs, delta);
        } else {
            self.backward_update_gradient(inputs, &delta.mapv(|delta| scale * delta));
        }
    }

    /// Returns the gradient of the loss by each input, of the input's shape, and keeps it. The parameters' gradients do
    /// not change.
    #[doc(alias = "updateGradInput")]
    #[track_caller]
    fn backward_delta(&mut self, inputs: &[&ArrayRef2<T>], delta: &ArrayRef2<T>) -> &[Array2<T>];

    /// Returns the result of the last [`backward_delta`](Self::backward_delta), [`backward`](Self::backward) or
    /// [`backward_scaled`](Self::backward_scaled): a matrix for each input. Before the first, there is no matrix, or each
    /// has the shape `(0, 0)`.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::nn::{NaryModule, Sum};
    ///
    /// let mut sum = Sum::new();
    /// let x = array![[1.0, 2.0]];
    /// sum.forward(&[&x, &x]);
    /// sum.backward_delta(&[&x, &x], &array![[3.0, 4.0]]);
    /// assert_eq!(sum.grad_input(), [array![[3.0, 4.0]], array![[3.0, 4.0]]]);
    /// ```
    #[doc(alias = "gradInput")]
    fn grad_input(&self) -> &[Array2<T>];

    /// Returns the gradient of the loss by each input, and adds the parameters' gradients.
    #[track_caller]
    fn backward(&mut self, inputs: &[&ArrayRef2<T>], delta: &ArrayRef2<T>) -> &[Array2<T>] {
        self.backward_update_gradient(inputs, delta);
        self.backward_delta(inputs, delta)
    }

    /// Returns the gradient of the loss by each input, and adds `scale` times the parameters' gradients. The gradient by
    /// the inputs is not scaled, as in Lua torch.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Param;
    /// use tapegrad::nn::{Graph, Linear, NaryModule};
    ///
    /// let mut graph = Graph::new(1);
    /// graph.layer(Linear::from_params(Param::new(array![[5.0]]), None), graph.input(0));
    /// let x = array![[2.0]];
    /// graph.forward(&[&x]);
    /// assert_eq!(graph.backward_scaled(&[&x], &array![[3.0]], 0.5), [array![[15.0]]]); // 3 · 5
    /// assert_eq!(graph.parameters()[0].grad().unwrap()[[0, 0]], 3.0); // 0.5 · 2 · 3
    /// ```
    #[track_caller]
    fn backward_scaled(&mut self, inputs: &[&ArrayRef2<T>], delta: &ArrayRef2<T>, scale: T) -> &[Array2<T>] {
        self.acc_grad_parameters(inputs, delta, scale);
        self.backward_delta(inputs, delta)
    }

    /// Returns the parameters, each once; none by default.
    fn parameters(&self) -> &[Param<T>] {
        &[]
    }

    trainable!();

    /// Records the forward computation. [`output`](Self::output) does not change.
    #[track_caller]
    fn record<'t>(&self, tape: &'t Tape<T>, inputs: &[Var<'t, T>]) -> Var<'t, T>;

    /// Returns the shape of the output for inputs of these shapes.
    ///
    /// # Errors
    ///
    /// A message, to be printed after the module's name, if it takes no such inputs.
    fn output_shape(&self, inputs: &[(usize, usize)]) -> Result<(usize, usize), String>;

    /// Checks that `inputs` and `delta` fit the last forward pass.
    ///
    /// # Errors
    ///
    /// A message, to be printed after the module's name, if they do not.
    fn check_backward(&self, inputs: &[&ArrayRef2<T>], delta: &ArrayRef2<T>) -> Result<(), String> {
        let output = self.output().dim();
        if output == (0, 0) && delta.dim() != output {
            return Err("backward before forward".into());
        }
        let expected = self.output_shape(&shapes(inputs))?;
        if expected != output {
            return Err(format!("the inputs are not the forward pass's, which gave an output of {output:?}"));
        }
        if delta.dim() != output {
            return Err(format!("expected a delta of the output's shape {output:?}, found {:?}", delta.dim()));
        }
        Ok(())
    }
}

/// Returns the shapes of matrices.
pub(super) fn shapes<T>(inputs: &[&ArrayRef2<T>]) -> Vec<(usize, usize)> {
    inputs.iter().map(|input| input.dim()).collect()
}

/// Returns the shapes of matrices on the tape.
///
/// # Errors
///
/// If one is not a matrix.
pub(super) fn recorded_shapes<T: Scalar>(inputs: &[Var<'_, T>]) -> Result<Vec<(usize, usize)>, String> {
    let shape = |(k, x): (usize, &Var<'_, T>)| match *x.shape() {
        [rows, columns] => Ok((rows, columns)),
        _ => Err(format!("expected input {k} of shape (batch, width), found {}", Shape::from(&*x.shape()))),
    };
    inputs.iter().enumerate().map(shape).collect()
}

/// Returns the shape to which inputs of one width are broadcast, `(rows, width)`.
///
/// # Errors
///
/// If there is no input, or if the inputs do not broadcast.
pub(super) fn common_shape(inputs: &[(usize, usize)]) -> Result<(usize, usize), String> {
    let Some(&(_, width)) = inputs.first() else { return Err("expected at least one input, found none".into()) };
    let rows = inputs.iter().map(|&(rows, _)| rows).find(|&rows| rows != 1).unwrap_or(1);
    for (k, &shape) in inputs.iter().enumerate() {
        if shape.1 != width {
            return Err(format!(
                "expected inputs of one width, found {width} for input 0 and {} for input {k}",
                shape.1
            ));
        }
        if shape.0 != rows && shape.0 != 1 {
            return Err(format!("expected inputs of {rows} rows, or of one, found {} for input {k}", shape.0));
        }
    }
    Ok((rows, width))
}

/// Panics with the module's name if a check failed.
#[track_caller]
pub(super) fn expect<R>(name: &str, checked: Result<R, String>) -> R {
    match checked {
        Ok(value) => value,
        Err(message) => panic!("{name}: {message}"),
    }
}

/// Returns row `row` of an input that is broadcast to the rows of the batch.
pub(super) fn row_of<T>(input: &ArrayRef2<T>, row: usize) -> ArrayView1<'_, T> {
    input.row(if input.nrows() == 1 { 0 } else { row })
}
