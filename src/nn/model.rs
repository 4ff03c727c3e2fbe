//! [`Model`]: what a user implements for a model of their own on the tape.

use ndarray::{ArrayD, ArrayRef2};

use crate::param::Param;
use crate::scalar::Scalar;
use crate::tape::{Tape, Var};

/// A model that is only recorded: parameters, and a computation on the tape. Its gradients come from the sweep.
///
/// It is the counterpart of PyTorch's `nn.Module`. A [`Module`](super::Module) has its passes derived by hand besides.
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
/// let line = Line { a: Param::new(array![2.0]), b: Param::new(array![1.0]) };
/// assert_eq!(line.call(&array![[0.0], [3.0]]), array![[1.0], [7.0]].into_dyn());
///
/// let tape = Tape::new();
/// line.record(&tape, tape.constant(array![[3.0]])).backward();
/// assert_eq!(line.a.grad().unwrap()[[0]], 3.0);
/// ```
#[doc(alias = "nn.Module")]
pub trait Model<T: Scalar> {
    /// Returns the parameters.
    fn parameters(&self) -> Vec<Param<T>>;

    /// Records the computation for the inputs `x`, a row for each example.
    #[track_caller]
    fn record<'t>(&self, tape: &'t Tape<T>, x: Var<'t, T>) -> Var<'t, T>;

    /// Returns the output for a batch, computed on a tape of its own.
    #[doc(alias("__call__", "predict"))]
    #[track_caller]
    fn call(&self, x: &ArrayRef2<T>) -> ArrayD<T> {
        let tape = Tape::new();
        self.record(&tape, tape.constant(x)).value().to_owned()
    }
}
