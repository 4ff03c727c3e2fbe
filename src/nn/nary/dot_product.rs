//! [`DotProduct`]: the dot product of two inputs, row by row.

use ndarray::{Array2, ArrayRef2};

use super::module::{NaryModule, common_shape, expect, recorded_shapes, row_of, shapes};
use crate::kernel::matrix::shape_to;
use crate::nn::buffer::Buffer;
use crate::nn::layer::new_without_settings;
use crate::scalar::Scalar;
use crate::shape::KeepDims;
use crate::tape::{Tape, Var};

/// The dot product of two inputs, row by row: `y[i] = Σ_j a[i, j] b[i, j]`.
///
/// # Shapes
///
/// `a, b: (batch, width)` or `(1, width)`, `y: (batch, 1)`.
///
/// # Derivative
///
/// ```text
/// dy[i]/da[i, j] = b[i, j]    d_a[i, j] = delta[i] b[i, j]
/// dy[i]/db[i, j] = a[i, j]    d_b[i, j] = delta[i] a[i, j]
/// ```
///
/// For an input of one row, summed over `i`.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::nn::{DotProduct, NaryModule};
///
/// let mut dot = DotProduct::new();
/// let (a, b) = (array![[1.0, 2.0]], array![[3.0, 4.0]]);
/// assert_eq!(dot.forward(&[&a, &b]), array![[11.0]]);
/// let deltas = dot.backward_delta(&[&a, &b], &array![[2.0]]);
/// assert_eq!(deltas[0], array![[6.0, 8.0]]);
/// assert_eq!(deltas[1], array![[2.0, 4.0]]);
/// ```
#[doc(alias("dot", "inner product", "scalar product"))]
#[derive(Clone, Debug, Default)]
pub struct DotProduct<T> {
    output: Buffer<T>,
    deltas: [Array2<T>; 2],
}

new_without_settings!(DotProduct);

impl<T: Scalar> NaryModule<T> for DotProduct<T> {
    fn name(&self) -> String {
        "DotProduct".into()
    }

    fn forward(&mut self, inputs: &[&ArrayRef2<T>]) -> &Array2<T> {
        let shape = expect("DotProduct", self.output_shape(&shapes(inputs)));
        for (row, y) in self.output.shaped(shape).iter_mut().enumerate() {
            *y = row_of(inputs[0], row).iter().zip(row_of(inputs[1], row)).map(|(&a, &b)| a * b).sum();
        }
        self.output.array()
    }

    fn output(&self) -> &Array2<T> {
        self.output.array()
    }

    fn backward_delta(&mut self, inputs: &[&ArrayRef2<T>], delta: &ArrayRef2<T>) -> &[Array2<T>] {
        expect("DotProduct", self.check_backward(inputs, delta));
        for (k, d_k) in self.deltas.iter_mut().enumerate() {
            let (input, other) = (inputs[k], inputs[1 - k]);
            shape_to(d_k, input.dim()).fill(T::ZERO);
            for (row, &delta) in delta.column(0).iter().enumerate() {
                let mut d_k = d_k.row_mut(if input.nrows() == 1 { 0 } else { row });
                d_k.iter_mut().zip(row_of(other, row)).for_each(|(d, &x)| *d += delta * x);
            }
        }
        &self.deltas
    }

    fn grad_input(&self) -> &[Array2<T>] {
        &self.deltas
    }

    fn record<'t>(&self, _: &'t Tape<T>, inputs: &[Var<'t, T>]) -> Var<'t, T> {
        expect("DotProduct", recorded_shapes(inputs).and_then(|shapes| self.output_shape(&shapes)));
        (inputs[0] * inputs[1]).sum_axes([1], KeepDims::Yes)
    }

    fn output_shape(&self, inputs: &[(usize, usize)]) -> Result<(usize, usize), String> {
        if inputs.len() != 2 {
            return Err(format!("expected two inputs, found {}", inputs.len()));
        }
        Ok((common_shape(inputs)?.0, 1))
    }
}
