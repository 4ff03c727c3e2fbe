//! [`Linear`]: the fully connected layer.

use ndarray::{Array1, Array2, ArrayRef2};
use rand::{Rng, RngExt};

use super::buffer::{Buffer, row_major};
use super::layer::{buffered_results, debug_prints_name};
use super::module::{Module, expect, fixed_width, recorded_width};
use crate::kernel::matmul::{Accumulate, MatrixRef, matmul};
use crate::kernel::reduce::sum_columns;
use crate::param::Param;
use crate::scalar::Scalar;
use crate::shape::Shape;
use crate::tape::{GroupName, Tape, Var};
use crate::threads::{PIECE, in_pieces};

/// A fully connected layer, `y = x W + b`.
///
/// # Shapes
///
/// `x: (batch, in)`, `W: (in, out)`, `b: (out)`, `y: (batch, out)`.
///
/// # Derivative
///
/// For row `i` of the batch, `y[i, o] = Σ_k x[i, k] W[k, o] + b[o]`. With `delta[i, o] = dL/dy[i, o]`:
///
/// ```text
/// dL/dW[k, o] = Σ_i x[i, k] delta[i, o]    dW    = xᵀ delta
/// dL/db[o]    = Σ_i delta[i, o]            db    = the sums of the columns of delta
/// dL/dx[i, k] = Σ_o delta[i, o] W[k, o]    d_in  = delta Wᵀ
/// ```
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::Param;
/// use tapegrad::nn::{Linear, Module};
///
/// let weight = Param::new(array![[1.0, 2.0], [3.0, 4.0]]);
/// let mut layer = Linear::from_params(weight, Some(Param::new(array![0.5, -0.5])));
/// let x = array![[1.0, 1.0]];
/// assert_eq!(layer.forward(&x), array![[4.5, 5.5]]);
///
/// let delta = array![[1.0, 10.0]];
/// assert_eq!(layer.backward(&x, &delta), array![[21.0, 43.0]]); // delta Wᵀ
/// assert_eq!(*layer.weight().grad().unwrap(), array![[1.0, 10.0], [1.0, 10.0]].into_dyn());
/// assert_eq!(*layer.bias().unwrap().grad().unwrap(), array![1.0, 10.0].into_dyn());
/// ```
pub struct Linear<T> {
    inputs: usize,
    outputs: usize,
    /// The weight, then the bias if there is one.
    parameters: Vec<Param<T>>,
    output: Buffer<T>,
    delta: Buffer<T>,
    /// Row-major copies of an input and a delta in another layout.
    input_rows: Buffer<T>,
    delta_rows: Buffer<T>,
}

impl<T: Scalar> Linear<T> {
    /// Returns a layer with weight and bias drawn uniformly between `-1/√inputs` and `1/√inputs`, as in PyTorch.
    ///
    /// Equal generators give equal layers. An `f32` layer is the rounded `f64` layer.
    ///
    /// # Panics
    ///
    /// If `inputs` or `outputs` is 0.
    ///
    /// # Example
    ///
    /// ```
    /// use rand::{SeedableRng, rngs::StdRng};
    /// use tapegrad::nn::Linear;
    ///
    /// let layer = Linear::<f32>::new(4, 2, &mut StdRng::seed_from_u64(0));
    /// assert_eq!(layer.weight().shape().to_string(), "(4, 2)");
    /// assert_eq!(layer.bias().unwrap().shape().to_string(), "(2,)");
    /// assert!(layer.weight().value().iter().all(|w| w.abs() <= 0.5)); // 1/√4
    /// ```
    #[track_caller]
    #[must_use]
    pub fn new(inputs: usize, outputs: usize, rng: &mut (impl Rng + ?Sized)) -> Self {
        let mut layer = Self::without_bias(inputs, outputs, rng);
        let mut draw = uniform(inputs, rng);
        layer.parameters.push(Param::named("bias", Array1::from_shape_simple_fn(outputs, &mut draw)));
        layer
    }

    /// Returns a layer `y = x W` with a weight drawn as in [`new`](Self::new).
    ///
    /// # Panics
    ///
    /// If `inputs` or `outputs` is 0.
    ///
    /// # Example
    ///
    /// ```
    /// use rand::{SeedableRng, rngs::StdRng};
    /// use tapegrad::nn::{Linear, Module};
    ///
    /// let layer = Linear::<f64>::without_bias(4, 2, &mut StdRng::seed_from_u64(0));
    /// assert!(layer.bias().is_none());
    /// assert_eq!(layer.name(), "Linear 4 -> 2 without bias");
    /// ```
    #[track_caller]
    #[must_use]
    pub fn without_bias(inputs: usize, outputs: usize, rng: &mut (impl Rng + ?Sized)) -> Self {
        assert!(inputs > 0 && outputs > 0, "Linear {inputs} -> {outputs}: expected at least one input and one output");
        let mut draw = uniform(inputs, rng);
        let weight = Array2::from_shape_simple_fn((inputs, outputs), &mut draw);
        Self::from_params(Param::named("weight", weight), None)
    }

    /// Returns a layer with these parameters. Two layers with the same weight are tied: both add to its gradient.
    ///
    /// # Panics
    ///
    /// If the weight is not a matrix with at least one row and one column, or if the bias is not a vector with one
    /// element for each column of the weight.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Param;
    /// use tapegrad::nn::{Linear, Module, Sequential};
    ///
    /// let w = Param::new(array![[3.0]]);
    /// let tied = || Linear::from_params(w.clone(), None);
    /// let mut net = Sequential::new().push(tied()).push(tied());
    /// let x = array![[2.0]];
    /// assert_eq!(net.forward(&x), array![[18.0]]); // w² x
    /// net.backward_update_gradient(&x, &array![[1.0]]);
    /// assert_eq!(w.grad().unwrap()[[0, 0]], 12.0); // 2 w x
    /// ```
    #[track_caller]
    #[must_use]
    pub fn from_params(weight: Param<T>, bias: Option<Param<T>>) -> Self {
        let (inputs, outputs) = match **weight.shape() {
            [inputs, outputs] if inputs > 0 && outputs > 0 => (inputs, outputs),
            _ => panic!("Linear: expected a weight of shape (in, out), found {}", weight.shape()),
        };
        let mut parameters = vec![weight];
        if let Some(bias) = bias {
            let expected = Shape::from([outputs]);
            let found = bias.shape();
            assert!(
                *found == expected,
                "Linear {inputs} -> {outputs}: expected a bias of shape {expected}, found {found}"
            );
            parameters.push(bias);
        }
        Self {
            inputs,
            outputs,
            parameters,
            output: Buffer::default(),
            delta: Buffer::default(),
            input_rows: Buffer::default(),
            delta_rows: Buffer::default(),
        }
    }

    /// Returns the weight, of shape `(in, out)`.
    ///
    /// # Example
    ///
    /// ```
    /// use rand::{SeedableRng, rngs::StdRng};
    /// use tapegrad::nn::Linear;
    ///
    /// let layer = Linear::<f32>::new(4, 2, &mut StdRng::seed_from_u64(0));
    /// assert_eq!(layer.weight().shape().to_string(), "(4, 2)");
    /// ```
    #[must_use]
    pub fn weight(&self) -> &Param<T> {
        &self.parameters[0]
    }

    /// Returns the bias, of shape `(out)`, if there is one.
    ///
    /// # Example
    ///
    /// ```
    /// use rand::{SeedableRng, rngs::StdRng};
    /// use tapegrad::nn::Linear;
    ///
    /// let layer = Linear::<f32>::new(4, 2, &mut StdRng::seed_from_u64(0));
    /// assert_eq!(layer.bias().unwrap().shape().to_string(), "(2,)");
    /// ```
    #[must_use]
    pub fn bias(&self) -> Option<&Param<T>> {
        self.parameters.get(1)
    }

    /// Returns the name, as that of a group of nodes.
    fn group(&self) -> GroupName {
        let suffix = if self.bias().is_some() { "" } else { " without bias" };
        GroupName::Widths { kind: "Linear", inputs: self.inputs, outputs: self.outputs, suffix }
    }
}

/// Returns a generator of numbers, uniform between `-1/√inputs` and `1/√inputs`.
pub(super) fn uniform<T: Scalar>(inputs: usize, rng: &mut (impl Rng + ?Sized)) -> impl FnMut() -> T {
    let bound = 1.0 / (inputs as f64).sqrt();
    move || T::from_f64(rng.random_range(-bound..=bound))
}

debug_prints_name!(Linear);

impl<T: Scalar> Module<T> for Linear<T> {
    fn name(&self) -> String {
        self.group().to_string()
    }

    /// `y = x W + b`: each row of `y` starts as `b`, then the product is added.
    fn forward(&mut self, input: &ArrayRef2<T>) -> &Array2<T> {
        expect(self, self.output_width(input.ncols()));
        let (batch, inputs, outputs) = (input.nrows(), self.inputs, self.outputs);
        let y = self.output.shaped((batch, outputs));
        let store = match self.parameters.get(1) {
            Some(bias) => {
                let bias = bias.value();
                let b = row_major(&bias);
                in_pieces(y, outputs, PIECE, |_, y| y.chunks_exact_mut(outputs).for_each(|row| row.copy_from_slice(b)));
                Accumulate::Yes
            }
            None => Accumulate::No,
        };
        let weight = self.parameters[0].value();
        let x = MatrixRef { data: self.input_rows.rows_of(input), row_stride: inputs, col_stride: 1 };
        let w = MatrixRef { data: row_major(&weight), row_stride: outputs, col_stride: 1 };
        matmul(batch, outputs, inputs, x, w, y, store);
        self.output.array()
    }

    buffered_results!();

    /// `dW += xᵀ delta`, `db +=` the sums of the columns of `delta`.
    fn backward_update_gradient(&mut self, input: &ArrayRef2<T>, delta: &ArrayRef2<T>) {
        expect(self, self.check_backward(input, delta));
        let (batch, inputs, outputs) = (input.nrows(), self.inputs, self.outputs);
        let delta = self.delta_rows.rows_of(delta);
        let x_transposed = MatrixRef { data: self.input_rows.rows_of(input), row_stride: 1, col_stride: inputs };
        self.parameters[0].accumulate_with(|dw| {
            let delta = MatrixRef { data: delta, row_stride: outputs, col_stride: 1 };
            matmul(inputs, outputs, batch, x_transposed, delta, dw, Accumulate::No);
        });
        if let Some(bias) = self.parameters.get(1) {
            bias.accumulate_with(|db| sum_columns(delta, outputs, 0, db));
        }
    }

    /// `delta Wᵀ`: swapped strides transpose the weight.
    fn backward_delta(&mut self, input: &ArrayRef2<T>, delta: &ArrayRef2<T>) -> &Array2<T> {
        expect(self, self.check_backward(input, delta));
        let (batch, inputs, outputs) = (input.nrows(), self.inputs, self.outputs);
        let weight = self.parameters[0].value();
        let delta = MatrixRef { data: self.delta_rows.rows_of(delta), row_stride: outputs, col_stride: 1 };
        let w_transposed = MatrixRef { data: row_major(&weight), row_stride: 1, col_stride: outputs };
        matmul(batch, inputs, outputs, delta, w_transposed, self.delta.shaped((batch, inputs)), Accumulate::No);
        self.delta.array()
    }

    fn parameters(&self) -> &[Param<T>] {
        &self.parameters
    }

    fn record<'t>(&self, tape: &'t Tape<T>, x: Var<'t, T>) -> Var<'t, T> {
        expect(self, recorded_width(x).and_then(|width| self.output_width(width)));
        let _group = tape.open_group(self.group());
        let product = x.matmul(tape.param(self.weight()));
        match self.bias() {
            Some(bias) => product + tape.param(bias),
            None => product,
        }
    }

    fn output_width(&self, input_width: usize) -> Result<usize, String> {
        fixed_width(self.inputs, self.outputs, input_width)
    }

    fn output_shape(&self, input: &[usize]) -> Result<Shape, String> {
        Ok(Shape::from([self.output_width(input.iter().product())?]))
    }
}
