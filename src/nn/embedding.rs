//! [`Embedding`]: a vector for each of a number of symbols.

use ndarray::{Array2, ArrayRef2};
use rand::{Rng, RngExt};

use super::buffer::{Buffer, row_major};
use super::layer::{buffered_results, debug_prints_name};
use super::module::{Module, expect, recorded_width};
use crate::param::Param;
use crate::scalar::Scalar;
use crate::shape::Shape;
use crate::tape::{Tape, Var};

/// A table with a row of numbers for each symbol: each number of the input is the index of a row.
///
/// The indices are whole numbers in the input's type, from 0 to below the number of rows. Several indices in a row of the
/// input give their rows of the table one after the other.
///
/// # Shapes
///
/// `x: (batch, positions)`, table `W: (symbols, width)`, `y: (batch, positions·width)`.
///
/// # Derivative
///
/// ```text
/// y[i, (p, k)] = W[x[i, p], k]
/// dL/dW[s, k]  = Σ_{i,p: x[i, p] = s} delta[i, (p, k)]
/// d_in         = 0    an index is not a quantity that changes a little
/// ```
///
/// # Panics
///
/// Like every [`Module`], and if a number of the input is not an index of a row.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::Param;
/// use tapegrad::nn::{Embedding, Module};
///
/// let mut layer = Embedding::from_param(Param::new(array![[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]));
/// let x = array![[2.0, 0.0], [2.0, 2.0]];
/// assert_eq!(layer.forward(&x), array![[5.0, 6.0, 1.0, 2.0], [5.0, 6.0, 5.0, 6.0]]);
/// layer.backward_update_gradient(&x, &array![[1.0, 0.0, 1.0, 0.0], [1.0, 0.0, 1.0, 7.0]]);
/// assert_eq!(*layer.weight().grad().unwrap(), array![[1.0, 0.0], [0.0, 0.0], [3.0, 7.0]].into_dyn());
/// ```
pub struct Embedding<T> {
    symbols: usize,
    width: usize,
    weight: [Param<T>; 1],
    /// The indices of the last forward pass.
    indices: Vec<usize>,
    output: Buffer<T>,
    delta: Buffer<T>,
    delta_rows: Buffer<T>,
}

impl<T: Scalar> Embedding<T> {
    /// Returns a layer whose table has the standard normal distribution, as in PyTorch.
    ///
    /// # Panics
    ///
    /// If a length is 0.
    ///
    /// # Example
    ///
    /// ```
    /// use rand::{SeedableRng, rngs::StdRng};
    /// use tapegrad::nn::{Embedding, Module};
    ///
    /// let mut layer = Embedding::<f64>::new(26, 3, &mut StdRng::seed_from_u64(0));
    /// assert_eq!(layer.forward(&ndarray::array![[0.0, 25.0]]).dim(), (1, 6)); // two symbols of three numbers
    /// ```
    #[track_caller]
    #[must_use]
    pub fn new(symbols: usize, width: usize, rng: &mut (impl Rng + ?Sized)) -> Self {
        // Box and Muller (1958).
        let mut normal = || {
            let (a, b): (f64, f64) = (rng.random(), rng.random());
            T::from_f64((-2.0 * (1.0 - a).ln()).sqrt() * (std::f64::consts::TAU * b).cos())
        };
        Self::from_param(Param::named("weight", Array2::from_shape_simple_fn((symbols, width), &mut normal)))
    }

    /// Returns a layer with this table.
    ///
    /// # Panics
    ///
    /// If it is not a matrix with at least one row and one column.
    ///
    /// # Example
    ///
    /// See [`Embedding`].
    #[track_caller]
    #[must_use]
    pub fn from_param(weight: Param<T>) -> Self {
        let (symbols, width) = match **weight.shape() {
            [symbols, width] if symbols > 0 && width > 0 => (symbols, width),
            _ => panic!("Embedding: expected a table of shape (symbols, width), found {}", weight.shape()),
        };
        Self {
            symbols,
            width,
            weight: [weight],
            indices: Vec::new(),
            output: Buffer::default(),
            delta: Buffer::default(),
            delta_rows: Buffer::default(),
        }
    }

    /// Returns the table, of shape `(symbols, width)`.
    ///
    /// # Example
    ///
    /// ```
    /// use rand::{SeedableRng, rngs::StdRng};
    /// use tapegrad::nn::Embedding;
    ///
    /// let layer = Embedding::<f64>::new(26, 3, &mut StdRng::seed_from_u64(0));
    /// assert_eq!(layer.weight().shape().to_string(), "(26, 3)");
    /// ```
    #[must_use]
    pub fn weight(&self) -> &Param<T> {
        &self.weight[0]
    }

    /// Returns a number of the input as an index.
    ///
    /// # Errors
    ///
    /// If it is not a whole number, or not below the number of symbols.
    fn index(&self, number: T) -> Result<usize, String> {
        let (number, symbols) = (number.to_f64(), self.symbols);
        if number.fract() == 0.0 && (0.0..symbols as f64).contains(&number) {
            Ok(number as usize)
        } else {
            Err(format!("expected an index from 0 to {}, found {number}", symbols - 1))
        }
    }
}

debug_prints_name!(Embedding);

impl<T: Scalar> Module<T> for Embedding<T> {
    fn name(&self) -> String {
        format!("Embedding {} -> {}", self.symbols, self.width)
    }

    fn forward(&mut self, input: &ArrayRef2<T>) -> &Array2<T> {
        let indices: Result<Vec<usize>, String> = input.iter().map(|&number| self.index(number)).collect();
        self.indices = expect(self, indices);
        let weight = self.weight[0].value();
        let y = self.output.shaped((input.nrows(), input.ncols() * self.width));
        for (y, &index) in y.chunks_exact_mut(self.width).zip(&self.indices) {
            y.copy_from_slice(&row_major(&weight)[index * self.width..][..self.width]);
        }
        self.output.array()
    }

    buffered_results!();

    fn backward_update_gradient(&mut self, input: &ArrayRef2<T>, delta: &ArrayRef2<T>) {
        expect(self, self.check_backward(input, delta));
        let (width, indices, delta) = (self.width, &self.indices, self.delta_rows.rows_of(delta));
        self.weight[0].accumulate_with(|dw| {
            dw.fill(T::ZERO);
            for (delta, &index) in delta.chunks_exact(width).zip(indices) {
                dw[index * width..][..width].iter_mut().zip(delta).for_each(|(dw, &delta)| *dw += delta);
            }
        });
    }

    fn backward_delta(&mut self, input: &ArrayRef2<T>, delta: &ArrayRef2<T>) -> &Array2<T> {
        expect(self, self.check_backward(input, delta));
        self.delta.shaped(input.dim()).fill(T::ZERO);
        self.delta.array()
    }

    fn parameters(&self) -> &[Param<T>] {
        &self.weight
    }

    fn record<'t>(&self, tape: &'t Tape<T>, x: Var<'t, T>) -> Var<'t, T> {
        expect(self, recorded_width(x));
        let _group = tape.open_group("Embedding");
        let numbers = x.value_as::<ndarray::Ix2>();
        let indices: Result<Vec<usize>, String> = numbers.iter().map(|&number| self.index(number)).collect();
        let indices = Array2::from_shape_vec(numbers.raw_dim(), expect(self, indices));
        let indices = indices.expect("there is an index for each number");
        tape.param(self.weight()).take(0, &indices).flatten_axes(1, -1)
    }

    fn output_width(&self, input_width: usize) -> Result<usize, String> {
        Ok(input_width * self.width)
    }

    fn output_shape(&self, input: &[usize]) -> Result<Shape, String> {
        Ok(Shape::from([input.iter().product(), self.width]))
    }
}
