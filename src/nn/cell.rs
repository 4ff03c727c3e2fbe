//! [`Cell`]: one step of a recurrent network. [`RnnCell`]: the plain one.

use ndarray::{Array1, Array2, ArrayRef2};
use rand::Rng;

use super::buffer::{Buffer, row_major};
use super::layer::{buffered_results, debug_prints_name};
use super::linear::uniform;
use super::module::{Module, expect, fixed_width, recorded_width};
use crate::kernel::elementwise::map_in_place;
use crate::kernel::matmul::{Accumulate, MatrixRef, matmul};
use crate::kernel::reduce::sum_columns;
use crate::number::{Algebra, inlined};
use crate::param::Param;
use crate::scalar::Scalar;
use crate::shape::Shape;
use crate::tape::{Tape, Var};

/// One step of a recurrent network: from an input and a state to the next state.
///
/// As a [`Module`] it takes both side by side, `[x | state]`, so that each check of layers works on it.
/// [`Recurrent`](super::Recurrent) runs it along a sequence.
///
/// # Shapes
///
/// `(batch, inputs + state) -> (batch, state)`. The first [`hidden`](Self::hidden) columns of the state are the output.
///
/// # Example
///
/// ```
/// use rand::{SeedableRng, rngs::StdRng};
/// use tapegrad::Tape;
/// use tapegrad::nn::{Cell, RnnCell};
///
/// let cell = RnnCell::<f64>::new(2, 3, &mut StdRng::seed_from_u64(0));
/// let tape = Tape::new();
/// let (x, state) = (tape.constant(ndarray::array![[1.0, 2.0]]), tape.constant(ndarray::array![[0.0, 0.0, 0.0]]));
/// assert_eq!(cell.step(&tape, x, state).shape().to_string(), "(1, 3)");
/// ```
pub trait Cell<T: Scalar>: Module<T> {
    /// Returns the width of one step's input.
    fn inputs(&self) -> usize;

    /// Returns the width of one step's output.
    fn hidden(&self) -> usize;

    /// Returns the width of the state.
    fn state(&self) -> usize;

    /// Records a step: the state after input `x`, `(batch, inputs)`, in `state`, `(batch, state)`.
    #[track_caller]
    fn step<'t>(&self, tape: &'t Tape<T>, x: Var<'t, T>, state: Var<'t, T>) -> Var<'t, T>;
}

/// Records a cell as a module: `[x | state]` is cut in two.
#[track_caller]
pub(super) fn record_joined<'t, T: Scalar>(cell: &impl Cell<T>, tape: &'t Tape<T>, joined: Var<'t, T>) -> Var<'t, T> {
    expect(cell, recorded_width(joined).and_then(|width| cell.output_width(width)));
    let at = cell.inputs();
    cell.step(tape, joined.slice(1, ..at), joined.slice(1, at..))
}

/// What cells have in common: `z = x W + h U + b` for some gates, by hand.
pub(super) struct Gates<T> {
    pub(super) inputs: usize,
    pub(super) hidden: usize,
    /// The width of `[x | state]`.
    width: usize,
    /// The number of columns of `z`.
    columns: usize,
    /// `W`, `U` and `b`.
    pub(super) parameters: [Param<T>; 3],
    pub(super) z: Buffer<T>,
    pub(super) dz: Buffer<T>,
    rows: Buffer<T>,
    product: Buffer<T>,
}

impl<T: Scalar> Gates<T> {
    /// Returns gates with parameters drawn uniformly between `-1/√hidden` and `1/√hidden`.
    #[track_caller]
    pub(super) fn new(name: &str, gates: usize, inputs: usize, hidden: usize, rng: &mut (impl Rng + ?Sized)) -> Self {
        assert!(
            inputs > 0 && hidden > 0,
            "{name} {inputs} -> {hidden}: expected at least one input and one hidden unit"
        );
        let (mut draw, columns) = (uniform(hidden, rng), gates * hidden);
        let w = Param::named("weight_ih", Array2::from_shape_simple_fn((inputs, columns), &mut draw));
        let u = Param::named("weight_hh", Array2::from_shape_simple_fn((hidden, columns), &mut draw));
        let b = Param::named("bias", Array1::from_shape_simple_fn(columns, &mut draw));
        Self::from_params(name, gates, [w, u, b])
    }

    #[track_caller]
    pub(super) fn from_params(name: &str, gates: usize, parameters: [Param<T>; 3]) -> Self {
        let [w, u, b] = &parameters;
        let (inputs, hidden) = match (&**w.shape(), &**u.shape()) {
            (&[inputs, columns], &[hidden, same]) if columns == same && columns == gates * hidden => (inputs, hidden),
            _ => panic!(
                "{name}: expected weights of the shapes (inputs, {gates} hidden) and (hidden, {gates} hidden), found {} and {}",
                w.shape(),
                u.shape()
            ),
        };
        let columns = gates * hidden;
        assert!(inputs > 0 && hidden > 0, "{name}: expected at least one input and one hidden unit");
        assert!(
            *b.shape() == Shape::from([columns]),
            "{name}: expected a bias of shape ({columns},), found {}",
            b.shape()
        );
        // The state of a cell with 4 gates has a second part.
        let width = inputs + if gates == 1 { hidden } else { 2 * hidden };
        let [z, dz, rows, product] = std::array::from_fn(|_| Buffer::default());
        Self { inputs, hidden, width, columns, parameters, z, dz, rows, product }
    }

    /// Returns `x` or `h` in rows of `[x | state]`.
    fn part<'a>(&self, rows: &'a [T], number: usize) -> (MatrixRef<'a, T>, usize) {
        let (start, length) = [(0, self.inputs), (self.inputs, self.hidden)][number];
        let data = rows.get(start..).unwrap_or_default();
        (MatrixRef { data, row_stride: self.width, col_stride: 1 }, length)
    }

    /// Writes `z = x W + h U + b`.
    pub(super) fn forward(&mut self, joined: &ArrayRef2<T>) {
        let (batch, columns) = (joined.nrows(), self.columns);
        let mut rows = std::mem::take(&mut self.rows);
        let mut z = std::mem::take(&mut self.z);
        let values = z.shaped((batch, columns));
        let bias = self.parameters[2].value();
        values.chunks_exact_mut(columns).for_each(|z| z.copy_from_slice(row_major(&bias)));
        let data = rows.rows_of(joined);
        for number in 0..2 {
            let ((part, length), weight) = (self.part(data, number), self.parameters[number].value());
            let weight = MatrixRef { data: row_major(&weight), row_stride: columns, col_stride: 1 };
            matmul(batch, columns, length, part, weight, values, Accumulate::Yes);
        }
        (self.rows, self.z) = (rows, z);
    }

    /// `dW += xᵀ dz`, `dU += hᵀ dz`, `db +=` the sums of the columns of `dz`.
    pub(super) fn update_gradient(&mut self, joined: &ArrayRef2<T>) {
        let (batch, columns) = (joined.nrows(), self.columns);
        let mut rows = std::mem::take(&mut self.rows);
        let (data, dz) = (rows.rows_of(joined), self.dz.values());
        for number in 0..2 {
            let (part, length) = self.part(data, number);
            let transposed = MatrixRef { data: part.data, row_stride: 1, col_stride: part.row_stride };
            self.parameters[number].accumulate_with(|dw| {
                let dz = MatrixRef { data: dz, row_stride: columns, col_stride: 1 };
                matmul(length, columns, batch, transposed, dz, dw, Accumulate::No);
            });
        }
        self.parameters[2].accumulate_with(|db| sum_columns(dz, columns, 0, db));
        self.rows = rows;
    }

    /// Writes `dz Wᵀ` and `dz Uᵀ` to the columns of `x` and `h`.
    pub(super) fn delta(&mut self, d_in: &mut [T]) {
        let (batch, columns) = (self.dz.array().nrows(), self.columns);
        for (number, start, length) in [(0, 0, self.inputs), (1, self.inputs, self.hidden)] {
            let weight = self.parameters[number].value();
            let transposed = MatrixRef { data: row_major(&weight), row_stride: 1, col_stride: columns };
            let dz = MatrixRef { data: self.dz.values(), row_stride: columns, col_stride: 1 };
            let product = self.product.shaped((batch, length));
            matmul(batch, length, columns, dz, transposed, product, Accumulate::No);
            for (d_in, product) in d_in.chunks_exact_mut(self.width).zip(product.chunks_exact(length)) {
                d_in[start..start + length].copy_from_slice(product);
            }
        }
    }

    /// Records `z`.
    #[track_caller]
    pub(super) fn record<'t>(&self, tape: &'t Tape<T>, x: Var<'t, T>, h: Var<'t, T>) -> Var<'t, T> {
        let [w, u, b] = &self.parameters;
        x.matmul(tape.param(w)) + h.matmul(tape.param(u)) + tape.param(b)
    }
}

/// A recurrent cell, `h' = tanh(x W + h U + b)` (Elman 1990).
///
/// PyTorch's `RNNCell` has two biases, whose sum is `b`, and weights transposed to these.
///
/// # Shapes
///
/// `[x | h]: (batch, inputs + hidden)`, `W: (inputs, hidden)`, `U: (hidden, hidden)`, `b: (hidden)`, `h': (batch, hidden)`.
///
/// # Derivative
///
/// With `delta = dL/dh'`, and `tanh' = 1 - tanh²`:
///
/// ```text
/// dz = delta (1 - h'²)
/// dW = xᵀ dz        dU = hᵀ dz        db = the sums of the columns of dz
/// d_in = [dz Wᵀ | dz Uᵀ]
/// ```
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::Param;
/// use tapegrad::nn::{Module, RnnCell};
///
/// let [w, u, b] = [array![[2.0]], array![[3.0]], array![[1.0]]].map(|x| x.into_dyn());
/// let b = b.into_shape_with_order(1).unwrap();
/// let mut cell = RnnCell::from_params([Param::new(w), Param::new(u), Param::new(b)]);
/// let joined = array![[1.0, -1.0]]; // 2·1 - 3·1 + 1 = 0
/// assert_eq!(cell.forward(&joined), array![[0.0]]);
/// assert_eq!(cell.backward_delta(&joined, &array![[1.0]]), array![[2.0, 3.0]]); // tanh' 0 = 1
/// ```
#[doc(alias = "RNNCell")]
pub struct RnnCell<T> {
    gates: Gates<T>,
    output: Buffer<T>,
    delta: Buffer<T>,
}

impl<T: Scalar> RnnCell<T> {
    /// Returns a cell with parameters drawn uniformly between `-1/√hidden` and `1/√hidden`, as in PyTorch.
    ///
    /// # Panics
    ///
    /// If `inputs` or `hidden` is 0.
    ///
    /// # Example
    ///
    /// ```
    /// use rand::{SeedableRng, rngs::StdRng};
    /// use tapegrad::nn::{Cell, RnnCell};
    ///
    /// let cell = RnnCell::<f64>::new(2, 3, &mut StdRng::seed_from_u64(0));
    /// assert_eq!((cell.inputs(), cell.hidden(), cell.state()), (2, 3, 3));
    /// ```
    #[track_caller]
    #[must_use]
    pub fn new(inputs: usize, hidden: usize, rng: &mut (impl Rng + ?Sized)) -> Self {
        Self::of(Gates::new("RnnCell", 1, inputs, hidden, rng))
    }

    /// Returns a cell with the parameters `W`, `U` and `b`.
    ///
    /// # Panics
    ///
    /// If their shapes do not fit together.
    ///
    /// # Example
    ///
    /// See [`RnnCell`].
    #[track_caller]
    #[must_use]
    pub fn from_params(parameters: [Param<T>; 3]) -> Self {
        Self::of(Gates::from_params("RnnCell", 1, parameters))
    }

    fn of(gates: Gates<T>) -> Self {
        Self { gates, output: Buffer::default(), delta: Buffer::default() }
    }

    /// Writes `dz`.
    fn differentiate(&mut self, delta: &ArrayRef2<T>) {
        let dz = self.gates.dz.copy_from(delta);
        dz.iter_mut().zip(self.output.values()).for_each(|(dz, &h)| *dz *= T::ONE - h * h);
    }
}

debug_prints_name!(RnnCell);

impl<T: Scalar> Module<T> for RnnCell<T> {
    fn name(&self) -> String {
        format!("RnnCell {} -> {}", self.gates.inputs, self.gates.hidden)
    }

    fn forward(&mut self, input: &ArrayRef2<T>) -> &Array2<T> {
        expect(self, self.output_width(input.ncols()));
        self.gates.forward(input);
        map_in_place(self.output.copy_from(self.gates.z.array()), inlined!(|z| z.tanh()));
        self.output.array()
    }

    buffered_results!();

    fn backward_update_gradient(&mut self, input: &ArrayRef2<T>, delta: &ArrayRef2<T>) {
        expect(self, self.check_backward(input, delta));
        self.differentiate(delta);
        self.gates.update_gradient(input);
    }

    fn backward_delta(&mut self, input: &ArrayRef2<T>, delta: &ArrayRef2<T>) -> &Array2<T> {
        expect(self, self.check_backward(input, delta));
        self.differentiate(delta);
        self.gates.delta(self.delta.shaped(input.dim()));
        self.delta.array()
    }

    fn parameters(&self) -> &[Param<T>] {
        &self.gates.parameters
    }

    fn record<'t>(&self, tape: &'t Tape<T>, x: Var<'t, T>) -> Var<'t, T> {
        record_joined(self, tape, x)
    }

    fn output_width(&self, input_width: usize) -> Result<usize, String> {
        fixed_width(self.gates.inputs + self.gates.hidden, self.gates.hidden, input_width)
    }
}

impl<T: Scalar> Cell<T> for RnnCell<T> {
    fn inputs(&self) -> usize {
        self.gates.inputs
    }

    fn hidden(&self) -> usize {
        self.gates.hidden
    }

    fn state(&self) -> usize {
        self.gates.hidden
    }

    fn step<'t>(&self, tape: &'t Tape<T>, x: Var<'t, T>, state: Var<'t, T>) -> Var<'t, T> {
        let _group = tape.open_group("RnnCell");
        self.gates.record(tape, x, state).tanh()
    }
}
