//! [`Sum`]: the elementwise sum of inputs.

use ndarray::{Array2, ArrayRef2, Axis};

use super::module::{NaryModule, common_shape, expect, recorded_shapes, shapes};
use crate::kernel::matrix::shape_to;
use crate::nn::buffer::Buffer;
use crate::nn::layer::new_without_settings;
use crate::scalar::Scalar;
use crate::tape::{Tape, Var};

/// The elementwise sum of one input or more, `y = Σ_k x_k`.
///
/// # Shapes
///
/// `x_k: (batch, width)` or `(1, width)`, `y: (batch, width)`.
///
/// # Derivative
///
/// ```text
/// dy[i, j]/dx_k[i, j] = 1
/// d_k = delta        for an input of one row: the sums of the columns of delta
/// ```
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::nn::{NaryModule, Sum};
///
/// let mut sum = Sum::new();
/// let x = array![[1.0]];
/// assert_eq!(sum.forward(&[&x, &x, &x]), array![[3.0]]);
/// assert_eq!(sum.backward_delta(&[&x, &x, &x], &array![[5.0]]).len(), 3);
/// ```
#[doc(alias("CAddTable", "n-ary sum"))]
#[derive(Clone, Debug, Default)]
pub struct Sum<T> {
    output: Buffer<T>,
    deltas: Vec<Array2<T>>,
}

new_without_settings!(Sum);

impl<T: Scalar> NaryModule<T> for Sum<T> {
    fn name(&self) -> String {
        "Sum".into()
    }

    fn forward(&mut self, inputs: &[&ArrayRef2<T>]) -> &Array2<T> {
        let shape = expect("Sum", self.output_shape(&shapes(inputs)));
        self.output.shaped(shape).fill(T::ZERO);
        inputs.iter().for_each(|&input| **self.output.array_mut() += input);
        self.output.array()
    }

    fn output(&self) -> &Array2<T> {
        self.output.array()
    }

    fn backward_delta(&mut self, inputs: &[&ArrayRef2<T>], delta: &ArrayRef2<T>) -> &[Array2<T>] {
        expect("Sum", self.check_backward(inputs, delta));
        self.deltas.resize_with(inputs.len(), Default::default);
        for (d_k, input) in self.deltas.iter_mut().zip(inputs) {
            shape_to(d_k, input.dim());
            if input.dim() == delta.dim() {
                d_k.assign(delta);
            } else {
                d_k.row_mut(0).assign(&delta.sum_axis(Axis(0)));
            }
        }
        &self.deltas
    }

    fn grad_input(&self) -> &[Array2<T>] {
        &self.deltas
    }

    fn record<'t>(&self, _: &'t Tape<T>, inputs: &[Var<'t, T>]) -> Var<'t, T> {
        expect("Sum", recorded_shapes(inputs).and_then(|shapes| self.output_shape(&shapes)));
        // Not a fold: the nodes' source lines would be those of its closure.
        let mut sum = inputs[0];
        for &x in &inputs[1..] {
            sum += x;
        }
        sum
    }

    fn output_shape(&self, inputs: &[(usize, usize)]) -> Result<(usize, usize), String> {
        common_shape(inputs)
    }
}
