//! [`Softmax`] and [`LogSoftmax`]: from scores to probabilities or their logarithms.

use ndarray::{Array2, ArrayRef2};

use super::buffer::Buffer;
use super::layer::{buffered_results, debug_prints_name, new_without_settings};
use super::module::{Module, expect};
use crate::kernel::elementwise::{map, map_in_place};
use crate::number::{Algebra, inlined};
use crate::scalar::Scalar;
use crate::tape::{Tape, Var};

/// The softmax of each row, `y[j] = e^x[j] / Σ_k e^x[k]`: a row of probabilities.
///
/// The largest element of the row is subtracted first, so that no exponential overflows. The result does not change,
/// since `e^-max` cancels.
///
/// Instead of this layer and a cross-entropy, use [`SoftmaxCrossEntropy`](super::SoftmaxCrossEntropy) on the scores.
///
/// # Derivative
///
/// For one row, with `S = Σ_k e^x[k]`:
///
/// ```text
/// dy[k]/dx[j] = (k = j) e^x[j]/S - e^x[k] e^x[j]/S² = y[j] ((k = j) - y[k])
/// d_in[j]     = Σ_k delta[k] dy[k]/dx[j] = y[j] (delta[j] - Σ_k delta[k] y[k])
/// ```
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::nn::{Module, Softmax};
///
/// let mut layer = Softmax::new();
/// let x = array![[1000.0, 1000.0]];
/// assert_eq!(layer.forward(&x), array![[0.5, 0.5]]);
/// // Σ delta y = 2: ½ (4 - 2) and ½ (0 - 2)
/// assert_eq!(layer.backward_delta(&x, &array![[4.0, 0.0]]), array![[1.0, -1.0]]);
/// ```
#[derive(Clone, Default)]
pub struct Softmax<T> {
    output: Buffer<T>,
    delta: Buffer<T>,
}

new_without_settings!(Softmax, LogSoftmax);
debug_prints_name!(Softmax, LogSoftmax);

impl<T: Scalar> Module<T> for Softmax<T> {
    fn name(&self) -> String {
        "Softmax".into()
    }

    fn forward(&mut self, input: &ArrayRef2<T>) -> &Array2<T> {
        softmax_rows(self.output.copy_from(input), input.ncols(), |_| ());
        self.output.array()
    }

    buffered_results!();

    fn backward_delta(&mut self, input: &ArrayRef2<T>, delta: &ArrayRef2<T>) -> &Array2<T> {
        expect(self, self.check_backward(input, delta));
        let width = delta.ncols().max(1);
        let (y, d_in) = (self.output.values(), self.delta.copy_from(delta));
        for (d_in, y) in d_in.chunks_exact_mut(width).zip(y.chunks_exact(width)) {
            let mut weighted = T::ZERO;
            for (&delta, &y) in d_in.iter().zip(y) {
                weighted += delta * y;
            }
            for (d_in, &y) in d_in.iter_mut().zip(y) {
                *d_in = y * (*d_in - weighted);
            }
        }
        self.delta.array()
    }

    fn record<'t>(&self, _: &'t Tape<T>, x: Var<'t, T>) -> Var<'t, T> {
        x.softmax(-1)
    }
}

/// The logarithm of the softmax of each row, `y[j] = x[j] - ln Σ_k e^x[k]`.
///
/// It is computed as `(x[j] - m) - ln Σ_k e^(x[k] - m)` with the largest element `m` of the row (log-sum-exp shift).
/// Nothing overflows, and a probability that underflows still has its logarithm.
///
/// # Derivative
///
/// For one row, with `p = e^y` its softmax:
///
/// ```text
/// dy[k]/dx[j] = (k = j) - p[j]
/// d_in[j]     = Σ_k delta[k] dy[k]/dx[j] = delta[j] - p[j] Σ_k delta[k]
/// ```
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::nn::{LogSoftmax, Module};
///
/// let mut layer = LogSoftmax::new();
/// let x = array![[0.0, -1000.0]];
/// assert_eq!(layer.forward(&x), array![[0.0, -1000.0]]); // ln 1, and ln e^-1000
/// // p = [1, 0] and Σ delta = 3
/// assert_eq!(layer.backward_delta(&x, &array![[1.0, 2.0]]), array![[-2.0, 2.0]]);
/// ```
#[derive(Clone, Default)]
pub struct LogSoftmax<T> {
    output: Buffer<T>,
    softmax: Buffer<T>,
    delta: Buffer<T>,
}

impl<T: Scalar> Module<T> for LogSoftmax<T> {
    fn name(&self) -> String {
        "LogSoftmax".into()
    }

    fn forward(&mut self, input: &ArrayRef2<T>) -> &Array2<T> {
        let width = input.ncols().max(1);
        let y = self.output.copy_from(input);
        for row in y.chunks_exact_mut(width) {
            let max = row_max(row);
            row.iter_mut().for_each(|x| *x -= max);
        }
        // All rows at once: even short rows use the full vector width.
        let p = self.softmax.shaped(input.dim());
        map(p, y, inlined!(|x| x.exp()));
        for (y, p) in y.chunks_exact_mut(width).zip(p.chunks_exact_mut(width)) {
            let sum = p.iter().copied().sum::<T>();
            p.iter_mut().for_each(|p| *p /= sum);
            let log_sum = sum.ln();
            y.iter_mut().for_each(|x| *x -= log_sum);
        }
        self.output.array()
    }

    buffered_results!();

    fn backward_delta(&mut self, input: &ArrayRef2<T>, delta: &ArrayRef2<T>) -> &Array2<T> {
        expect(self, self.check_backward(input, delta));
        let width = delta.ncols().max(1);
        let (p, d_in) = (self.softmax.values(), self.delta.copy_from(delta));
        for (d_in, p) in d_in.chunks_exact_mut(width).zip(p.chunks_exact(width)) {
            let sum = d_in.iter().copied().sum::<T>();
            for (d_in, &p) in d_in.iter_mut().zip(p) {
                *d_in -= p * sum;
            }
        }
        self.delta.array()
    }

    fn record<'t>(&self, _: &'t Tape<T>, x: Var<'t, T>) -> Var<'t, T> {
        x.log_softmax(-1)
    }
}

/// Replaces each row `x` of `width` elements by `e^(x - max) / S` with `S = Σ e^(x - max)`. It calls `sums` with the
/// `S` of each row, in order.
pub(crate) fn softmax_rows<T: Scalar>(rows: &mut [T], width: usize, mut sums: impl FnMut(T)) {
    let width = width.max(1);
    for row in rows.chunks_exact_mut(width) {
        let max = row_max(row);
        row.iter_mut().for_each(|x| *x -= max);
    }
    // All rows at once: even short rows use the full vector width.
    map_in_place(rows, inlined!(|x| x.exp()));
    for row in rows.chunks_exact_mut(width) {
        let sum = row.iter().copied().sum();
        row.iter_mut().for_each(|y| *y /= sum);
        sums(sum);
    }
}

/// Returns the largest element that is not NaN. A NaN still makes the softmax of the whole row NaN.
pub(crate) fn row_max<T: Scalar>(row: &[T]) -> T {
    row.iter().fold(T::NEG_INFINITY, |max, &x| if x > max { x } else { max })
}
