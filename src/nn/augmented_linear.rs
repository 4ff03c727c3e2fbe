//! [`AugmentedLinear`]: the linear layer as one matrix.

use ndarray::{Array2, ArrayRef2, Axis, Slice};
use rand::Rng;

use super::buffer::{Buffer, row_major};
use super::layer::{buffered_results, debug_prints_name};
use super::linear::uniform;
use super::module::{Module, expect, fixed_width, recorded_width};
use crate::kernel::matmul::{Accumulate, MatrixRef, matmul};
use crate::param::Param;
use crate::scalar::Scalar;
use crate::shape::Shape;
use crate::tape::{GroupName, Tape, Var};

/// A fully connected layer with weight and bias in one matrix, `y = [x 1] W`: a column of ones is appended to the
/// input, and the last row of `W` is the bias.
///
/// It computes the same as [`Linear`](super::Linear) with weight `W[..in]` and bias `W[in]`.
///
/// # Shapes
///
/// `x: (batch, in)`, `W: (in + 1, out)`, `y: (batch, out)`.
///
/// # Derivative
///
/// With `x1 = [x 1]`, `y[i, o] = Σ_k x1[i, k] W[k, o]`, and `delta[i, o] = dL/dy[i, o]`:
///
/// ```text
/// dL/dW[k, o]  = Σ_i x1[i, k] delta[i, o]    dW   = x1ᵀ delta
/// dL/dx1[i, k] = Σ_o delta[i, o] W[k, o]     d_in = delta W[..in]ᵀ    the last column of x1 is not an input
/// ```
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::Param;
/// use tapegrad::nn::{AugmentedLinear, Module};
///
/// let mut layer = AugmentedLinear::from_param(Param::new(array![[2.0], [3.0], [0.5]]));
/// let x = array![[1.0, 10.0]];
/// assert_eq!(layer.forward(&x), array![[32.5]]); // 1·2 + 10·3 + 0.5
/// assert_eq!(layer.backward(&x, &array![[2.0]]), array![[4.0, 6.0]]);
/// assert_eq!(*layer.weight().grad().unwrap(), array![[2.0], [20.0], [2.0]].into_dyn());
/// ```
#[doc(alias("hstack", "bias column", "homogeneous"))]
pub struct AugmentedLinear<T> {
    inputs: usize,
    outputs: usize,
    weight: [Param<T>; 1],
    /// `[x 1]`.
    augmented: Buffer<T>,
    output: Buffer<T>,
    delta: Buffer<T>,
    delta_rows: Buffer<T>,
}

impl<T: Scalar> AugmentedLinear<T> {
    /// Returns a layer with all of `W` drawn uniformly between `-1/√inputs` and `1/√inputs`.
    ///
    /// # Panics
    ///
    /// If `inputs` or `outputs` is 0.
    ///
    /// # Example
    ///
    /// ```
    /// use rand::{SeedableRng, rngs::StdRng};
    /// use tapegrad::nn::AugmentedLinear;
    ///
    /// let layer = AugmentedLinear::<f64>::new(4, 2, &mut StdRng::seed_from_u64(0));
    /// assert_eq!(layer.weight().shape().to_string(), "(5, 2)");
    /// ```
    #[track_caller]
    #[must_use]
    pub fn new(inputs: usize, outputs: usize, rng: &mut (impl Rng + ?Sized)) -> Self {
        assert!(
            inputs > 0 && outputs > 0,
            "AugmentedLinear {inputs} -> {outputs}: expected at least one input and one output"
        );
        let mut draw = uniform(inputs, rng);
        Self::from_param(Param::named("weight", Array2::from_shape_simple_fn((inputs + 1, outputs), &mut draw)))
    }

    /// Returns a layer with this matrix `W`.
    ///
    /// # Panics
    ///
    /// If it is not a matrix with at least two rows and one column.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Param;
    /// use tapegrad::nn::{AugmentedLinear, Module};
    ///
    /// let mut layer = AugmentedLinear::from_param(Param::new(array![[2.0], [5.0]]));
    /// assert_eq!(layer.forward(&array![[3.0]]), array![[11.0]]); // [3 1] W
    /// ```
    #[track_caller]
    #[must_use]
    pub fn from_param(weight: Param<T>) -> Self {
        let (inputs, outputs) = match **weight.shape() {
            [rows, outputs] if rows > 1 && outputs > 0 => (rows - 1, outputs),
            _ => panic!("AugmentedLinear: expected a weight of shape (in + 1, out), found {}", weight.shape()),
        };
        Self {
            inputs,
            outputs,
            weight: [weight],
            augmented: Buffer::default(),
            output: Buffer::default(),
            delta: Buffer::default(),
            delta_rows: Buffer::default(),
        }
    }

    /// Returns the matrix, of shape `(in + 1, out)`.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Param;
    /// use tapegrad::nn::AugmentedLinear;
    ///
    /// let layer = AugmentedLinear::from_param(Param::new(array![[2.0], [5.0]]));
    /// assert_eq!(layer.weight().shape().to_string(), "(2, 1)");
    /// ```
    #[must_use]
    pub fn weight(&self) -> &Param<T> {
        &self.weight[0]
    }

    /// Returns the name, as that of a group of nodes.
    fn group(&self) -> GroupName {
        GroupName::Widths { kind: "AugmentedLinear", inputs: self.inputs, outputs: self.outputs, suffix: "" }
    }

    /// Writes `[x 1]`.
    fn augment(&mut self, input: &ArrayRef2<T>) {
        self.augmented.shaped((input.nrows(), self.inputs + 1)).fill(T::ONE);
        self.augmented.array_mut().slice_axis_mut(Axis(1), Slice::from(..self.inputs)).assign(input);
    }
}

debug_prints_name!(AugmentedLinear);

impl<T: Scalar> Module<T> for AugmentedLinear<T> {
    fn name(&self) -> String {
        self.group().to_string()
    }

    /// `y = [x 1] W`.
    fn forward(&mut self, input: &ArrayRef2<T>) -> &Array2<T> {
        expect(self, self.output_width(input.ncols()));
        self.augment(input);
        let (batch, rows, outputs) = (input.nrows(), self.inputs + 1, self.outputs);
        let weight = self.weight[0].value();
        let x1 = MatrixRef { data: self.augmented.values(), row_stride: rows, col_stride: 1 };
        let w = MatrixRef { data: row_major(&weight), row_stride: outputs, col_stride: 1 };
        matmul(batch, outputs, rows, x1, w, self.output.shaped((batch, outputs)), Accumulate::No);
        self.output.array()
    }

    buffered_results!();

    /// `dW += [x 1]ᵀ delta`.
    fn backward_update_gradient(&mut self, input: &ArrayRef2<T>, delta: &ArrayRef2<T>) {
        expect(self, self.check_backward(input, delta));
        self.augment(input);
        let (batch, rows, outputs) = (input.nrows(), self.inputs + 1, self.outputs);
        let x1_transposed = MatrixRef { data: self.augmented.values(), row_stride: 1, col_stride: rows };
        let delta = MatrixRef { data: self.delta_rows.rows_of(delta), row_stride: outputs, col_stride: 1 };
        self.weight[0].accumulate_with(|dw| matmul(rows, outputs, batch, x1_transposed, delta, dw, Accumulate::No));
    }

    /// `delta W[..in]ᵀ`: the last row of `W` is left out; swapped strides transpose the rest.
    fn backward_delta(&mut self, input: &ArrayRef2<T>, delta: &ArrayRef2<T>) -> &Array2<T> {
        expect(self, self.check_backward(input, delta));
        let (batch, inputs, outputs) = (input.nrows(), self.inputs, self.outputs);
        let weight = self.weight[0].value();
        let delta = MatrixRef { data: self.delta_rows.rows_of(delta), row_stride: outputs, col_stride: 1 };
        let w_transposed = MatrixRef { data: row_major(&weight), row_stride: 1, col_stride: outputs };
        matmul(batch, inputs, outputs, delta, w_transposed, self.delta.shaped((batch, inputs)), Accumulate::No);
        self.delta.array()
    }

    fn parameters(&self) -> &[Param<T>] {
        &self.weight
    }

    fn record<'t>(&self, tape: &'t Tape<T>, x: Var<'t, T>) -> Var<'t, T> {
        expect(self, recorded_width(x).and_then(|width| self.output_width(width)));
        let _group = tape.open_group(self.group());
        let ones = tape.constant(T::ONE).broadcast_to([x.shape()[0], 1]);
        Var::concat(&[x, ones], 1).matmul(tape.param(self.weight()))
    }

    fn output_width(&self, input_width: usize) -> Result<usize, String> {
        fixed_width(self.inputs, self.outputs, input_width)
    }

    fn output_shape(&self, input: &[usize]) -> Result<Shape, String> {
        Ok(Shape::from([self.output_width(input.iter().product())?]))
    }
}
