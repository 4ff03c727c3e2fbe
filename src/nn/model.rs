//! [`Model`]: the trait of models that are only recorded.

use ndarray::{ArrayD, ArrayRef2};

use super::trainable::trainable;
use crate::param::Param;
use crate::scalar::Scalar;
use crate::tape::{Tape, Var};

/// A model on the tape: parameters and a recorded computation. Its gradients come from the sweep.
///
/// It corresponds to PyTorch's `nn.Module`. A [`Module`](super::Module) also has passes derived by hand.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::nn::Model;
/// use tapegrad::{Param, Scalar, Tape, Var};
///
/// /// A line, `y = a x + b`.
/// struct Line {
///     a: Param<f64>,
///     b: Param<f64>,
/// }
///
/// impl Model<f64> for Line {
///     fn parameters(&self) -> Vec<Param<f64>> {
///         vec![self.a.clone(), self.b.clone()]
///     }
///     fn record<'t>(&self, tape: &'t Tape<f64>, x: Var<'t, f64>) -> Var<'t, f64> {
///         x * tape.param(&self.a) + tape.param(&self.b)
///     }
/// }
///
/// let mut line = Line { a: Param::new(array![2.0]), b: Param::new(array![1.0]) };
/// assert_eq!(line.call(&array![[0.0], [3.0]]), array![[1.0], [7.0]].into_dyn());
///
/// let tape = Tape::new();
/// line.record(&tape, tape.constant(array![[3.0]])).backward();
/// assert_eq!(line.a.grad().unwrap()[[0]], 3.0);
/// line.update_parameters(0.5); // a: 2 - 0.5 · 3, b: 1 - 0.5 · 1
/// assert_eq!(line.call(&array![[1.0]]), array![[1.0]].into_dyn());
/// ```
#[doc(alias = "nn.Module")]
pub trait Model<T: Scalar> {
    /// Returns the parameters, each once.
    fn parameters(&self) -> Vec<Param<T>>;

    trainable!();

    /// Records the output for the inputs `x`, which have a row for each example.
    #[track_caller]
    fn record<'t>(&self, tape: &'t Tape<T>, x: Var<'t, T>) -> Var<'t, T>;

    /// Returns the output for a batch. It is computed on a new tape.
    #[doc(alias("__call__", "predict"))]
    #[track_caller]
    fn call(&self, x: &ArrayRef2<T>) -> ArrayD<T> {
        let tape = Tape::new();
        self.record(&tape, tape.constant(x)).value().to_owned()
    }
}
