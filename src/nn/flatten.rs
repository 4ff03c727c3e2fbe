//! [`Flatten`]: from images to rows.

use ndarray::{Array2, ArrayRef2};

use super::buffer::Buffer;
use super::layer::{buffered_results, debug_prints_name, new_without_settings};
use super::module::{Module, expect};
use crate::scalar::Scalar;
use crate::shape::Shape;
use crate::tape::{Tape, Var};

/// The identity, `y = x`: a row of an image already holds its channels one after the other.
///
/// Recorded, it makes a matrix with a row for each example of an array with any axes. In
/// [`summary`](super::Sequential::summary) it ends the images.
///
/// # Derivative
///
/// `d_in = delta`
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::nn::{Flatten, Module};
///
/// let mut layer = Flatten::new();
/// assert_eq!(layer.forward(&array![[1.0, 2.0]]), array![[1.0, 2.0]]);
/// assert_eq!(layer.backward_delta(&array![[1.0, 2.0]], &array![[3.0, 4.0]]), array![[3.0, 4.0]]);
/// ```
#[derive(Clone, Default)]
pub struct Flatten<T> {
    output: Buffer<T>,
    delta: Buffer<T>,
}

new_without_settings!(Flatten);
debug_prints_name!(Flatten);

impl<T: Scalar> Module<T> for Flatten<T> {
    fn name(&self) -> String {
        "Flatten".into()
    }

    fn forward(&mut self, input: &ArrayRef2<T>) -> &Array2<T> {
        self.output.copy_from(input);
        self.output.array()
    }

    buffered_results!();

    fn backward_delta(&mut self, input: &ArrayRef2<T>, delta: &ArrayRef2<T>) -> &Array2<T> {
        expect(self, self.check_backward(input, delta));
        self.delta.copy_from(delta);
        self.delta.array()
    }

    fn record<'t>(&self, _: &'t Tape<T>, x: Var<'t, T>) -> Var<'t, T> {
        if x.ndim() == 2 { x } else { x.flatten_axes(1, -1) }
    }

    fn output_shape(&self, input: &[usize]) -> Result<Shape, String> {
        Ok(Shape::from([input.iter().product::<usize>()]))
    }
}
