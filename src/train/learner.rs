//! [`Learner`]: a model with its loss, by hand or by tape.

use std::fmt;

use ndarray::{Array2, ArrayRef2, Ix2};

use super::examples::Examples;
use crate::kernel::matrix::shape_to;
use crate::nn::{Loss, Module};
use crate::scalar::Scalar;
use crate::shape::Shape;
use crate::tape::{Tape, Var};

/// A model with its loss: the interface that a descent needs.
///
/// # Example
///
/// A learner of your own, the mean of numbers: `L = 1/n Σ (m - y)²`.
///
/// ```
/// use ndarray::{Array2, array};
/// use tapegrad::Param;
/// use tapegrad::optim::Sgd;
/// use tapegrad::train::{Descent, Examples, Learner, batch_descent};
///
/// #[derive(Debug)]
/// struct Mean {
///     m: Param<f64>,
///     output: Array2<f64>,
/// }
///
/// impl Learner<f64> for Mean {
///     fn evaluate(&mut self, examples: &Examples<f64>) -> f64 {
///         self.output = Array2::from_elem((examples.len(), 1), self.m.value()[[0]]);
///         (&self.output - &**examples.targets()).mapv(|d| d * d).mean().unwrap_or(f64::NAN)
///     }
///     fn accumulate_gradient(&mut self, examples: &Examples<f64>) -> f64 {
///         let loss = self.evaluate(examples);
///         let d = 2.0 * (&self.output - &**examples.targets()).mean().unwrap_or(f64::NAN);
///         self.m.accumulate_grad(&array![d].into_dyn());
///         loss
///     }
///     fn output(&self) -> &Array2<f64> {
///         &self.output
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let m = Param::new(array![0.0]);
/// let mut mean = Mean { m: m.clone(), output: Array2::default((0, 0)) };
/// let examples = Examples::new(array![[0.0], [0.0]], array![[1.0], [2.0]])?;
/// batch_descent(&mut mean, &mut Sgd::new([&m], 0.5), &examples, None, Descent::new(1))?;
/// assert_eq!(m.value()[[0]], 1.5);
/// # Ok(())
/// # }
/// ```
pub trait Learner<T: Scalar>: fmt::Debug {
    /// Returns the loss on the examples, and keeps the outputs.
    #[track_caller]
    fn evaluate(&mut self, examples: &Examples<T>) -> T;

    /// Returns the loss on the examples, keeps the outputs, and adds the gradient of the loss by each parameter to the
    /// parameter's gradient.
    #[track_caller]
    fn accumulate_gradient(&mut self, examples: &Examples<T>) -> T;

    /// Returns the outputs for the examples of the last call, `(examples, outputs)`.
    fn output(&self) -> &Array2<T>;
}

/// A hand-derived network with its loss. It is in its mode for training while gradients are accumulated, and in that for
/// evaluation while the loss is evaluated.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::Param;
/// use tapegrad::nn::{Linear, Mse};
/// use tapegrad::train::{ByHand, Examples, Learner};
///
/// # fn main() -> tapegrad::Result<()> {
/// let w = Param::new(array![[3.0]]);
/// let mut learner = ByHand::new(Linear::from_params(w.clone(), None), Mse::new());
/// assert_eq!(learner.accumulate_gradient(&Examples::new(array![[2.0]], array![[5.0]])?), 1.0); // (6 - 5)²
/// assert_eq!(w.grad().unwrap()[[0, 0]], 4.0); // 2 (6 - 5) · 2
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ByHand<N, L> {
    network: N,
    loss: L,
}

impl<N, L> ByHand<N, L> {
    /// Returns a learner with this network and this loss.
    ///
    /// # Example
    ///
    /// See [`ByHand`].
    #[must_use]
    pub fn new(network: N, loss: L) -> Self {
        Self { network, loss }
    }

    /// Returns the network.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::nn::{Mse, Tanh};
    /// use tapegrad::train::ByHand;
    ///
    /// assert_eq!(format!("{:?}", ByHand::new(Tanh::<f64>::new(), Mse::<f64>::new()).network()), "Tanh");
    /// ```
    #[must_use]
    pub fn network(&self) -> &N {
        &self.network
    }

    /// Returns the network, mutable.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::nn::{Dropout, Module, Mse};
    /// use tapegrad::train::ByHand;
    ///
    /// let mut learner = ByHand::new(Dropout::<f64>::new(1.0, 0), Mse::<f64>::new());
    /// learner.network_mut().eval();
    /// assert_eq!(learner.network_mut().forward(&ndarray::array![[3.0]]), ndarray::array![[3.0]]);
    /// ```
    pub fn network_mut(&mut self) -> &mut N {
        &mut self.network
    }
}

impl<T: Scalar, N: Module<T>, L: Loss<T>> Learner<T> for ByHand<N, L> {
    fn evaluate(&mut self, examples: &Examples<T>) -> T {
        self.network.eval();
        let yhat = self.network.forward(examples.inputs());
        self.loss.forward(examples.targets(), yhat)
    }

    fn accumulate_gradient(&mut self, examples: &Examples<T>) -> T {
        self.network.train();
        let yhat = self.network.forward(examples.inputs());
        let loss = self.loss.forward(examples.targets(), yhat);
        let delta = self.loss.backward(examples.targets(), yhat);
        self.network.backward_update_gradient(examples.inputs(), delta);
        loss
    }

    fn output(&self) -> &Array2<T> {
        self.network.output()
    }
}

/// A computation on a tape, with its loss.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::Param;
/// use tapegrad::nn::Mse;
/// use tapegrad::train::{ByTape, Examples, Learner};
///
/// # fn main() -> tapegrad::Result<()> {
/// let w = Param::new(array![[3.0]]);
/// let weight = w.clone();
/// let mut learner = ByTape::new(move |tape, x| x.matmul(tape.param(&weight)), Mse::new());
/// assert_eq!(learner.accumulate_gradient(&Examples::new(array![[2.0]], array![[5.0]])?), 1.0); // (6 - 5)²
/// assert_eq!(w.grad().unwrap()[[0, 0]], 4.0); // 2 (6 - 5) · 2
/// # Ok(())
/// # }
/// ```
///
/// For a network of layers: `ByTape::new(move |tape, x| network.record(tape, x), loss)`.
pub struct ByTape<T, F, L> {
    tape: Tape<T>,
    record: F,
    loss: L,
    output: Array2<T>,
}

impl<T: Scalar, F, L> ByTape<T, F, L>
where
    F: for<'t> Fn(&'t Tape<T>, Var<'t, T>) -> Var<'t, T>,
    L: Loss<T>,
{
    /// Returns a learner with this function, which records `(batch, width) -> (batch, outputs)`, and this loss.
    ///
    /// # Example
    ///
    /// See [`ByTape`].
    #[must_use]
    pub fn new(record: F, loss: L) -> Self {
        Self { tape: Tape::new(), record, loss, output: Array2::default((0, 0)) }
    }

    /// Records outputs and loss, calls `finish` with the loss, and returns its value.
    #[track_caller]
    fn run(&mut self, examples: &Examples<T>, finish: impl FnOnce(Var<'_, T>)) -> T {
        let yhat = (self.record)(&self.tape, self.tape.constant(examples.inputs()));
        {
            let value = yhat.value();
            let Ok(matrix) = value.view().into_dimensionality::<Ix2>() else {
                panic!("ByTape: expected an output of shape (batch, outputs), found {}", Shape::from(value.shape()));
            };
            keep(&mut self.output, &matrix);
        }
        let loss = self.loss.record(examples.targets(), yhat);
        finish(loss);
        let loss = loss.item();
        self.tape.reset();
        loss
    }
}

/// Copies a matrix, reusing the memory.
fn keep<T: Scalar>(kept: &mut Array2<T>, matrix: &ArrayRef2<T>) {
    shape_to(kept, matrix.dim());
    kept.assign(matrix);
}

impl<T: Scalar, F, L> Learner<T> for ByTape<T, F, L>
where
    F: for<'t> Fn(&'t Tape<T>, Var<'t, T>) -> Var<'t, T>,
    L: Loss<T>,
{
    fn evaluate(&mut self, examples: &Examples<T>) -> T {
        self.run(examples, |_| ())
    }

    fn accumulate_gradient(&mut self, examples: &Examples<T>) -> T {
        self.run(examples, |loss| loss.backward())
    }

    fn output(&self) -> &Array2<T> {
        &self.output
    }
}

impl<T: Scalar, F, L: fmt::Debug> fmt::Debug for ByTape<T, F, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByTape").field("loss", &self.loss).finish_non_exhaustive()
    }
}
