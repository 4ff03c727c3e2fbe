//! [`Reduction`]: how the terms of a loss become one number.

/// How the terms of a loss become one number: their sum, divided by a count. Or they stay, with [`None`](Self::None).
///
/// A loss has `n` rows, one for each example, and `d` terms in each row. An elementwise loss, such as
/// [`Mse`](crate::nn::Mse), has one term for each output. A loss of whole rows, such as
/// [`SoftmaxCrossEntropy`](crate::nn::SoftmaxCrossEntropy), has `d = 1`; `Mean` and `BatchMean` are then the same.
///
/// # Example
///
/// Four squared errors of 1 in two rows:
///
/// ```
/// use ndarray::array;
/// use tapegrad::Reduction::{BatchMean, Mean, OutputMean, Sum};
/// use tapegrad::nn::{Loss, Mse};
///
/// let (y, yhat) = (array![[0.0, 0.0], [0.0, 0.0]], array![[1.0, 1.0], [1.0, 1.0]]);
/// for (reduction, expected) in [(Mean, 1.0), (BatchMean, 2.0), (OutputMean, 2.0), (Sum, 4.0)] {
///     assert_eq!(Mse::new().with_reduction(reduction).forward(&y, &yhat), expected);
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reduction {
    /// Divided by `n d`: the mean of all terms.
    Mean,
    /// Divided by `n`: the sums of the examples, averaged.
    BatchMean,
    /// Divided by `d`: the means of the examples, summed.
    OutputMean,
    /// Not divided.
    Sum,
    /// Not added up, for the recorded losses of [`Var`](crate::Var): a loss of whole rows gives a number for each row, an
    /// elementwise loss a number for each element. The losses of [`nn`](crate::nn) are always one number, and refuse it.
    None,
}

impl Reduction {
    /// Returns the reduction; panics if it does not make one number of the terms of this loss.
    #[track_caller]
    pub(crate) fn to_one_number(self, loss: &str) -> Self {
        assert!(
            self != Self::None,
            "{loss}: it is one number and takes no Reduction::None: for a loss of each sample use the losses of Var"
        );
        self
    }

    /// Returns the divisor of the sum of `rows` times `terms` terms.
    pub(crate) fn divisor(self, rows: usize, terms: usize) -> f64 {
        let count = match self {
            Self::Mean => rows * terms,
            Self::BatchMean => rows,
            Self::OutputMean => terms,
            Self::Sum | Self::None => 1,
        };
        count as f64
    }
}
