//! Modules of any number of inputs, and the graph that wires them.

mod dot_product;
mod graph;
mod sum;
mod vector;

use std::fmt::Debug;
use std::sync::Arc;

use ndarray::{Array2, ArrayD, ArrayRef2};

use crate::param::Param;
use crate::scalar::Scalar;
use crate::shape::Shape;
use crate::tape::{Tape, Var};

pub use dot_product::DotProduct;
pub use graph::{Graph, NodeId};
pub use sum::Sum;
pub use vector::Vector;

/// A module of any number of inputs, none included, with its forward and backward pass derived by hand.
///
/// It does what a [`Module`](super::Module) does with its one input, with the same contract: every input is a matrix
/// with a row for each example, a backward pass belongs to the last forward pass and takes the same inputs. Every
/// input gets a delta of its own.
///
/// An input of **one row** counts for every row of the others, as a parameter does; its delta is then the sum over
/// the rows.
///
/// # Panics
///
/// At the caller's line, naming the module: if the number of inputs, their rows or their widths do not fit, if a
/// backward pass comes before the forward pass, or if `delta` has not the shape of the output.
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
/// assert_eq!(deltas[1], array![[4.0, 6.0]]); // one row, used twice
/// ```
#[doc(alias("n-ary module", "table layer"))]
pub trait NaryModule<T: Scalar>: Debug + Send {
    /// Returns what messages call the module.
    fn name(&self) -> String;

    /// Computes the output, `(batch, out)`, and keeps it.
    #[doc(alias = "updateOutput")]
    #[track_caller]
    fn forward(&mut self, inputs: &[&ArrayRef2<T>]) -> &Array2<T>;

    /// Returns the result of the last [`forward`](Self::forward), of shape `(0, 0)` before the first.
    fn output(&self) -> &Array2<T>;

    /// Adds the gradient of the loss by each parameter to the parameter's gradient. A module without parameters does
    /// nothing.
    #[doc(alias = "accGradParameters")]
    #[track_caller]
    fn backward_update_gradient(&mut self, inputs: &[&ArrayRef2<T>], delta: &ArrayRef2<T>) {
        expect(&self.name(), self.check_backward(inputs, delta));
    }

    /// Returns the gradient of the loss by each input, of the input's shape. Parameters are left alone.
    #[doc(alias("updateGradInput", "gradInput"))]
    #[track_caller]
    fn backward_delta(&mut self, inputs: &[&ArrayRef2<T>], delta: &ArrayRef2<T>) -> &[Array2<T>];

    /// Does both.
    #[track_caller]
    fn backward(&mut self, inputs: &[&ArrayRef2<T>], delta: &ArrayRef2<T>) -> &[Array2<T>] {
        self.backward_update_gradient(inputs, delta);
        self.backward_delta(inputs, delta)
    }

    /// Returns the parameters, each once.
    fn parameters(&self) -> &[Param<T>] {
        &[]
    }

    /// Returns the gradients of [`parameters`](Self::parameters), in their order; `None` where no backward pass has
    /// been since [`zero_grad`](Self::zero_grad).
    fn gradient(&self) -> Vec<Option<Arc<ArrayD<T>>>> {
        self.parameters().iter().map(Param::grad).collect()
    }

    /// Clears the gradients of all parameters.
    fn zero_grad(&mut self) {
        self.parameters().iter().for_each(Param::zero_grad);
    }

    /// Takes a step of gradient descent: `w -= gradient_step * grad` for each parameter that has a gradient.
    fn update_parameters(&mut self, gradient_step: T) {
        for parameter in self.parameters() {
            parameter.update(gradient_step);
        }
    }

    /// Records the forward computation. Kept results are left alone.
    #[track_caller]
    fn record<'t>(&self, tape: &'t Tape<T>, inputs: &[Var<'t, T>]) -> Var<'t, T>;

    /// Returns the shape of the output for inputs of these shapes.
    ///
    /// # Errors
    ///
    /// If the module takes no such inputs: a message that goes behind its name.
    fn output_shape(&self, inputs: &[(usize, usize)]) -> Result<(usize, usize), String>;

    /// Checks that a backward pass fits the last forward pass.
    ///
    /// # Errors
    ///
    /// If not: a message that goes behind the module's name.
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
fn shapes<T>(inputs: &[&ArrayRef2<T>]) -> Vec<(usize, usize)> {
    inputs.iter().map(|input| input.dim()).collect()
}

/// Returns the shapes of matrices on the tape.
///
/// # Errors
///
/// If one is no matrix.
fn recorded_shapes<T: Scalar>(inputs: &[Var<'_, T>]) -> Result<Vec<(usize, usize)>, String> {
    let shape = |(k, x): (usize, &Var<'_, T>)| match *x.shape() {
        [rows, columns] => Ok((rows, columns)),
        _ => Err(format!("expected input {k} of shape (batch, width), found {}", Shape::from(&*x.shape()))),
    };
    inputs.iter().enumerate().map(shape).collect()
}

/// Returns the rows and the width that inputs have in common, where one row counts for all.
fn common_shape(inputs: &[(usize, usize)]) -> Result<(usize, usize), String> {
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
fn expect<R>(name: &str, checked: Result<R, String>) -> R {
    match checked {
        Ok(value) => value,
        Err(message) => panic!("{name}: {message}"),
    }
}

/// Returns the row of an input that belongs to row `row` of the batch.
fn row_of<T>(input: &ArrayRef2<T>, row: usize) -> ndarray::ArrayView1<'_, T> {
    input.row(if input.nrows() == 1 { 0 } else { row })
}
