//! [`Recurrent`]: a cell along a sequence.

use ndarray::{Array2, ArrayRef2, Axis, Slice};

use super::buffer::Buffer;
use super::cell::Cell;
use super::layer::buffered_results;
use super::mode::{Draws, Mode};
use super::module::{Module, expect, recorded_width};
use crate::param::Param;
use crate::scalar::Scalar;
use crate::shape::Shape;
use crate::tape::{Tape, Var};

/// A [`Cell`] along a sequence: the state after each step is that before the next one, and the first state is 0.
///
/// # Shapes
///
/// A row of the input holds the steps of a sequence one after the other: `(batch, steps·inputs) -> (batch, steps·hidden)`,
/// for any number of steps.
///
/// # Derivative
///
/// Backpropagation through time (Werbos 1990). With the cell `s(t) = f([x(t) | s(t-1)])`, whose first columns are the
/// output `y(t)`, a state reaches the loss by its output and by the next state:
///
/// ```text
/// ds(t)             = [delta(t) | 0] + d_state(t+1)          d_state(T+1) = 0
/// [d_in(t) | d_state(t)] = the cell's gradient by its input for ds(t)
/// ```
///
/// The parameters of the cell get the sum of the gradients of all steps. The pass goes from the last step to the first, and
/// repeats the forward computation of each step.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use rand::{SeedableRng, rngs::StdRng};
/// use tapegrad::nn::{LstmCell, Module, Recurrent};
///
/// let mut layer = Recurrent::new(LstmCell::<f64>::new(2, 3, &mut StdRng::seed_from_u64(0)));
/// let y = layer.forward(&array![[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]]).clone();
/// assert_eq!(y.dim(), (1, 12)); // 4 steps of 3
/// // A step sees what is before it.
/// let other = layer.forward(&array![[1.0, 2.0, 3.0, 4.0, 0.0, 0.0, 0.0, 0.0]]);
/// assert_eq!(y.as_slice().unwrap()[..6], other.as_slice().unwrap()[..6]);
/// ```
#[doc(alias("RNN", "LSTM"))]
#[derive(Debug)]
pub struct Recurrent<T> {
    cell: Box<dyn Cell<T>>,
    /// `[x(t) | s(t-1)]` for each step of the last forward pass.
    joined: Vec<Buffer<T>>,
    output: Buffer<T>,
    delta: Buffer<T>,
}

impl<T: Scalar> Recurrent<T> {
    /// Returns the cell along sequences.
    ///
    /// # Example
    ///
    /// See [`Recurrent`].
    #[must_use]
    pub fn new(cell: impl Cell<T> + 'static) -> Self {
        Self { cell: Box::new(cell), joined: Vec::new(), output: Buffer::default(), delta: Buffer::default() }
    }

    /// Returns the cell.
    ///
    /// # Example
    ///
    /// ```
    /// use rand::{SeedableRng, rngs::StdRng};
    /// use tapegrad::nn::{LstmCell, Recurrent};
    ///
    /// let layer = Recurrent::new(LstmCell::<f64>::new(2, 3, &mut StdRng::seed_from_u64(0)));
    /// assert_eq!(layer.cell().hidden(), 3);
    /// ```
    #[must_use]
    pub fn cell(&self) -> &dyn Cell<T> {
        &*self.cell
    }

    /// Goes back through the steps.
    fn through_time(
        &mut self,
        delta: &ArrayRef2<T>,
        pass: impl for<'c> Fn(&'c mut dyn Cell<T>, &ArrayRef2<T>, &ArrayRef2<T>) -> &'c Array2<T>,
    ) {
        let (inputs, hidden, state) = (self.cell.inputs(), self.cell.hidden(), self.cell.state());
        let (batch, steps) = (delta.nrows(), delta.ncols() / hidden);
        self.delta.shaped((batch, steps * inputs));
        let mut carried = Array2::zeros((batch, state));
        for step in (0..steps).rev() {
            let mut of_output = carried.slice_axis_mut(Axis(1), Slice::from(..hidden));
            of_output += &delta.slice_axis(Axis(1), Slice::from(step * hidden..(step + 1) * hidden));
            let joined = self.joined[step].array();
            self.cell.forward(joined);
            let d_joined = pass(&mut *self.cell, joined, &carried);
            let mut d_in =
                self.delta.array_mut().slice_axis_mut(Axis(1), Slice::from(step * inputs..(step + 1) * inputs));
            d_in.assign(&d_joined.slice_axis(Axis(1), Slice::from(..inputs)));
            carried.assign(&d_joined.slice_axis(Axis(1), Slice::from(inputs..)));
        }
    }
}

impl<T: Scalar> Module<T> for Recurrent<T> {
    fn name(&self) -> String {
        format!("Recurrent {}", self.cell.name())
    }

    fn forward(&mut self, input: &ArrayRef2<T>) -> &Array2<T> {
        let width = expect(self, self.output_width(input.ncols()));
        let (inputs, hidden, state) = (self.cell.inputs(), self.cell.hidden(), self.cell.state());
        let (batch, steps) = (input.nrows(), width / hidden);
        self.output.shaped((batch, width));
        self.joined.resize_with(steps, Buffer::default);
        for step in 0..steps {
            self.joined[step].shaped((batch, inputs + state));
            let joined = self.joined[step].array_mut();
            joined
                .slice_axis_mut(Axis(1), Slice::from(..inputs))
                .assign(&input.slice_axis(Axis(1), Slice::from(step * inputs..(step + 1) * inputs)));
            match step {
                0 => joined.slice_axis_mut(Axis(1), Slice::from(inputs..)).fill(T::ZERO),
                _ => joined.slice_axis_mut(Axis(1), Slice::from(inputs..)).assign(self.cell.output()),
            }
            let after = self.cell.forward(joined);
            let mut y =
                self.output.array_mut().slice_axis_mut(Axis(1), Slice::from(step * hidden..(step + 1) * hidden));
            y.assign(&after.slice_axis(Axis(1), Slice::from(..hidden)));
        }
        self.output.array()
    }

    buffered_results!();

    fn backward_update_gradient(&mut self, input: &ArrayRef2<T>, delta: &ArrayRef2<T>) {
        self.backward(input, delta);
    }

    fn backward_delta(&mut self, input: &ArrayRef2<T>, delta: &ArrayRef2<T>) -> &Array2<T> {
        expect(self, self.check_backward(input, delta));
        self.through_time(delta, |cell, joined, delta| cell.backward_delta(joined, delta));
        self.delta.array()
    }

    fn backward(&mut self, input: &ArrayRef2<T>, delta: &ArrayRef2<T>) -> &Array2<T> {
        expect(self, self.check_backward(input, delta));
        self.through_time(delta, |cell, joined, delta| cell.backward(joined, delta));
        self.delta.array()
    }

    fn parameters(&self) -> &[Param<T>] {
        self.cell.parameters()
    }

    fn buffers(&self) -> Vec<Param<T>> {
        self.cell.buffers()
    }

    fn set_mode(&mut self, mode: Mode) {
        self.cell.set_mode(mode);
    }

    fn set_draws(&mut self, draws: Draws) {
        self.cell.set_draws(draws);
    }

    fn record<'t>(&self, tape: &'t Tape<T>, x: Var<'t, T>) -> Var<'t, T> {
        let width = expect(self, recorded_width(x).and_then(|width| self.output_width(width)));
        let _group = tape.open_group("Recurrent");
        let (inputs, hidden) = (self.cell.inputs(), self.cell.hidden());
        let mut state = tape.constant(Array2::zeros((x.shape()[0], self.cell.state())));
        let mut outputs = Vec::with_capacity(width / hidden);
        for step in 0..width / hidden {
            state = self.cell.step(tape, x.slice(1, step * inputs..(step + 1) * inputs), state);
            outputs.push(state.slice(1, ..hidden));
        }
        Var::concat(&outputs, 1)
    }

    fn output_width(&self, input_width: usize) -> Result<usize, String> {
        let inputs = self.cell.inputs();
        if input_width > 0 && input_width.is_multiple_of(inputs) {
            Ok(input_width / inputs * self.cell.hidden())
        } else {
            Err(format!("expected at least one step of width {inputs}, found an input of width {input_width}"))
        }
    }

    fn output_shape(&self, input: &[usize]) -> Result<Shape, String> {
        let width = self.output_width(input.iter().product())?;
        Ok(Shape::from([width / self.cell.hidden(), self.cell.hidden()]))
    }
}
