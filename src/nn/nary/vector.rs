//! [`Vector`]: a parameter as a module.

use ndarray::{Array1, Array2, ArrayRef2};

use super::module::{NaryModule, expect, recorded_shapes, shapes};
use crate::nn::buffer::{Buffer, row_major};
use crate::param::Param;
use crate::scalar::Scalar;
use crate::tape::{Tape, Var};

/// A module without input. Its output is its parameter, a vector `z`, as one row: `y = z`.
///
/// # Shapes
///
/// `z: (width)`, `y: (1, width)`.
///
/// # Derivative
///
/// ```text
/// dy[0, j]/dz[j] = 1
/// dz = delta
/// ```
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::Param;
/// use tapegrad::nn::{NaryModule, Vector};
///
/// let mut z = Vector::from_param(Param::new(array![1.0, 2.0]));
/// assert_eq!(z.forward(&[]), array![[1.0, 2.0]]);
/// z.backward_update_gradient(&[], &array![[3.0, 4.0]]);
/// z.update_parameters(0.5);
/// assert_eq!(*z.parameters()[0].value(), array![-0.5, 0.0].into_dyn());
/// ```
#[doc(alias("Module z", "ModuleZ", "z", "latent"))]
#[derive(Debug)]
pub struct Vector<T> {
    parameter: [Param<T>; 1],
    output: Buffer<T>,
}

impl<T: Scalar> Vector<T> {
    /// Returns a module with this initial vector.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::nn::{NaryModule, Vector};
    ///
    /// assert_eq!(Vector::new(array![1.0, 2.0]).forward(&[]), array![[1.0, 2.0]]);
    /// ```
    #[must_use]
    pub fn new(z: Array1<T>) -> Self {
        Self { parameter: [Param::named("z", z)], output: Buffer::default() }
    }

    /// Returns a module with this parameter.
    ///
    /// # Panics
    ///
    /// If it is not a vector.
    ///
    /// # Example
    ///
    /// See [`Vector`].
    #[track_caller]
    #[must_use]
    pub fn from_param(z: Param<T>) -> Self {
        assert!(z.shape().len() == 1, "Vector: expected a parameter of shape (width,), found {}", z.shape());
        Self { parameter: [z], output: Buffer::default() }
    }

    fn width(&self) -> usize {
        self.parameter[0].shape().elements()
    }
}

impl<T: Scalar> NaryModule<T> for Vector<T> {
    fn name(&self) -> String {
        format!("Vector {}", self.width())
    }

    fn forward(&mut self, inputs: &[&ArrayRef2<T>]) -> &Array2<T> {
        let shape = expect(&self.name(), self.output_shape(&shapes(inputs)));
        self.output.shaped(shape).copy_from_slice(row_major(&self.parameter[0].value()));
        self.output.array()
    }

    fn output(&self) -> &Array2<T> {
        self.output.array()
    }

    fn backward_update_gradient(&mut self, inputs: &[&ArrayRef2<T>], delta: &ArrayRef2<T>) {
        expect(&self.name(), self.check_backward(inputs, delta));
        self.parameter[0].accumulate_with(|dz| dz.iter_mut().zip(delta).for_each(|(dz, &delta)| *dz = delta));
    }

    fn backward_delta(&mut self, inputs: &[&ArrayRef2<T>], delta: &ArrayRef2<T>) -> &[Array2<T>] {
        expect(&self.name(), self.check_backward(inputs, delta));
        &[]
    }

    fn grad_input(&self) -> &[Array2<T>] {
        &[]
    }

    fn parameters(&self) -> &[Param<T>] {
        &self.parameter
    }

    fn record<'t>(&self, tape: &'t Tape<T>, inputs: &[Var<'t, T>]) -> Var<'t, T> {
        let (rows, width) = expect(&self.name(), recorded_shapes(inputs).and_then(|shapes| self.output_shape(&shapes)));
        tape.param(&self.parameter[0]).reshape([rows, width])
    }

    fn output_shape(&self, inputs: &[(usize, usize)]) -> Result<(usize, usize), String> {
        match inputs.len() {
            0 => Ok((1, self.width())),
            count => Err(format!("expected no input, found {count}")),
        }
    }
}
