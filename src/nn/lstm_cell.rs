//! [`LstmCell`]: a recurrent cell with gates and a memory.

use ndarray::{Array2, ArrayRef2};
use rand::Rng;

use super::buffer::Buffer;
use super::cell::{Cell, Gates, record_joined};
use super::layer::{buffered_results, debug_prints_name};
use super::module::{Module, expect, fixed_width};
use crate::kernel::elementwise::map_in_place;
use crate::number::{Algebra, inlined};
use crate::param::Param;
use crate::scalar::Scalar;
use crate::tape::{Tape, Var};

/// A recurrent cell with gates and a memory `c` (Hochreiter and Schmidhuber 1997; Gers et al. 2000).
///
/// ```text
/// [zi | zf | zg | zo] = x W + h U + b        i = σ(zi)   f = σ(zf)   g = tanh zg   o = σ(zo)
/// c' = f c + i g                             h' = o tanh c'
/// ```
///
/// PyTorch's `LSTMCell` has two biases, whose sum is `b`, and weights transposed to these; the gates are in its order.
///
/// # Shapes
///
/// `[x | h | c]: (batch, inputs + 2 hidden)`, `W: (inputs, 4 hidden)`, `U: (hidden, 4 hidden)`, `b: (4 hidden)`,
/// `[h' | c']: (batch, 2 hidden)`.
///
/// # Derivative
///
/// With `delta = [dL/dh' | dL/dc']`. The memory reaches the loss by `h'` too, and `tanh' = 1 - tanh²`, `σ' = σ (1 - σ)`:
///
/// ```text
/// dc  = dL/dc' + dL/dh' o (1 - tanh² c')
/// dzi = dc g i (1 - i)        dzf = dc c f (1 - f)
/// dzg = dc i (1 - g²)         dzo = dL/dh' tanh c' o (1 - o)
/// dW = xᵀ dz        dU = hᵀ dz        db = the sums of the columns of dz
/// d_in = [dz Wᵀ | dz Uᵀ | dc f]
/// ```
///
/// # Example
///
/// ```
/// use ndarray::{array, Array1, Array2};
/// use tapegrad::Param;
/// use tapegrad::nn::{LstmCell, Module};
///
/// let zeros = |rows| Param::new(Array2::<f64>::zeros((rows, 4)));
/// let bias = Param::new(Array1::zeros(4));
/// let mut cell = LstmCell::from_params([zeros(1), zeros(1), bias]);
/// let y = cell.forward(&array![[5.0, 7.0, 2.0]]);
/// assert_eq!(y[[0, 1]], 1.0); // c' = ½ 2 + ½ tanh 0
/// assert_eq!(y[[0, 0]], 0.5 * 1.0_f64.tanh());
/// ```
#[doc(alias("LSTMCell", "long short-term memory"))]
pub struct LstmCell<T> {
    gates: Gates<T>,
    /// `tanh c'` of the last forward pass.
    squashed: Buffer<T>,
    output: Buffer<T>,
    delta: Buffer<T>,
    rows: Buffer<T>,
}

impl<T: Scalar> LstmCell<T> {
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
    /// use tapegrad::nn::{Cell, LstmCell};
    ///
    /// let cell = LstmCell::<f64>::new(2, 3, &mut StdRng::seed_from_u64(0));
    /// assert_eq!((cell.inputs(), cell.hidden(), cell.state()), (2, 3, 6)); // h and c
    /// ```
    #[track_caller]
    #[must_use]
    pub fn new(inputs: usize, hidden: usize, rng: &mut (impl Rng + ?Sized)) -> Self {
        Self::of(Gates::new("LstmCell", 4, inputs, hidden, rng))
    }

    /// Returns a cell with the parameters `W`, `U` and `b`.
    ///
    /// # Panics
    ///
    /// If their shapes do not fit together.
    ///
    /// # Example
    ///
    /// See [`LstmCell`].
    #[track_caller]
    #[must_use]
    pub fn from_params(parameters: [Param<T>; 3]) -> Self {
        Self::of(Gates::from_params("LstmCell", 4, parameters))
    }

    fn of(gates: Gates<T>) -> Self {
        let [squashed, output, delta, rows] = std::array::from_fn(|_| Buffer::default());
        Self { gates, squashed, output, delta, rows }
    }

    /// Writes `dz`, and `dc f` to the last columns of `d_in`. `z` holds the activated gates.
    fn differentiate(&mut self, input: &ArrayRef2<T>, delta: &ArrayRef2<T>) {
        let (hidden, inputs, batch) = (self.gates.hidden, self.gates.inputs, input.nrows());
        let d_in = self.delta.shaped(input.dim());
        let dz = self.gates.dz.shaped((batch, 4 * hidden));
        let (gates, squashed) = (self.gates.z.values(), self.squashed.values());
        for row in 0..batch {
            let (a, dz) = (&gates[row * 4 * hidden..][..4 * hidden], &mut dz[row * 4 * hidden..][..4 * hidden]);
            let d_in = &mut d_in[row * (inputs + 2 * hidden)..][..inputs + 2 * hidden];
            for k in 0..hidden {
                let [i, f, g, o] = [0, 1, 2, 3].map(|gate| a[gate * hidden + k]);
                let (dh, t, c) = (delta[[row, k]], squashed[row * hidden + k], input[[row, inputs + hidden + k]]);
                let dc = delta[[row, hidden + k]] + dh * o * (T::ONE - t * t);
                dz[k] = dc * g * i * (T::ONE - i);
                dz[hidden + k] = dc * c * f * (T::ONE - f);
                dz[2 * hidden + k] = dc * i * (T::ONE - g * g);
                dz[3 * hidden + k] = dh * t * o * (T::ONE - o);
                d_in[inputs + hidden + k] = dc * f;
            }
        }
    }
}

debug_prints_name!(LstmCell);

impl<T: Scalar> Module<T> for LstmCell<T> {
    fn name(&self) -> String {
        format!("LstmCell {} -> {}", self.gates.inputs, self.gates.hidden)
    }

    fn forward(&mut self, input: &ArrayRef2<T>) -> &Array2<T> {
        expect(self, self.output_width(input.ncols()));
        self.gates.forward(input);
        let (hidden, inputs) = (self.gates.hidden, self.gates.inputs);
        let output = self.output.shaped((input.nrows(), 2 * hidden));
        let squashed = self.squashed.shaped((input.nrows(), hidden));
        let a = self.gates.z.array_mut().as_slice_mut().unwrap_or_default();
        let results = output.chunks_exact_mut(2 * hidden).zip(squashed.chunks_exact_mut(hidden));
        let rows = self.rows.rows_of(input).chunks_exact(inputs + 2 * hidden);
        for ((a, x), (output, squashed)) in a.chunks_exact_mut(4 * hidden).zip(rows).zip(results) {
            let (sigmoids, rest) = a.split_at_mut(2 * hidden);
            let (tanhs, last) = rest.split_at_mut(hidden);
            map_in_place(sigmoids, inlined!(|z| z.sigmoid()));
            map_in_place(tanhs, inlined!(|z| z.tanh()));
            map_in_place(last, inlined!(|z| z.sigmoid()));
            for k in 0..hidden {
                let [i, f, g, o] = [0, 1, 2, 3].map(|gate| a[gate * hidden + k]);
                let c = f * x[inputs + hidden + k] + i * g;
                (squashed[k], output[k], output[hidden + k]) = (c, o, c);
            }
            map_in_place(squashed, inlined!(|c| c.tanh()));
            output.iter_mut().zip(squashed).for_each(|(h, &mut t)| *h *= t);
        }
        self.output.array()
    }

    buffered_results!();

    fn backward_update_gradient(&mut self, input: &ArrayRef2<T>, delta: &ArrayRef2<T>) {
        expect(self, self.check_backward(input, delta));
        self.differentiate(input, delta);
        self.gates.update_gradient(input);
    }

    fn backward_delta(&mut self, input: &ArrayRef2<T>, delta: &ArrayRef2<T>) -> &Array2<T> {
        expect(self, self.check_backward(input, delta));
        self.differentiate(input, delta);
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
        fixed_width(self.gates.inputs + 2 * self.gates.hidden, 2 * self.gates.hidden, input_width)
    }
}

impl<T: Scalar> Cell<T> for LstmCell<T> {
    fn inputs(&self) -> usize {
        self.gates.inputs
    }

    fn hidden(&self) -> usize {
        self.gates.hidden
    }

    fn state(&self) -> usize {
        2 * self.gates.hidden
    }

    fn step<'t>(&self, tape: &'t Tape<T>, x: Var<'t, T>, state: Var<'t, T>) -> Var<'t, T> {
        let _group = tape.open_group("LstmCell");
        let hidden = self.gates.hidden;
        let (h, c) = (state.slice(1, ..hidden), state.slice(1, hidden..));
        let z = self.gates.record(tape, x, h);
        let gate = |k: usize| z.slice(1, k * hidden..(k + 1) * hidden);
        let c = gate(1).sigmoid() * c + gate(0).sigmoid() * gate(2).tanh();
        Var::concat(&[gate(3).sigmoid() * c.tanh(), c], 1)
    }
}
