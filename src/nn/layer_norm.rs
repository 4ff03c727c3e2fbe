//! [`LayerNorm`]: each row normalized.

use ndarray::{Array1, Array2, ArrayRef2};

use super::buffer::{Buffer, row_major};
use super::layer::{buffered_results, debug_prints_name};
use super::module::{Module, expect, fixed_width, recorded_width};
use crate::number::Algebra;
use crate::param::Param;
use crate::scalar::Scalar;
use crate::tape::{Tape, Var};

/// Each row normalized to mean 0 and variance 1, times a weight, plus a bias (Ba, Kiros and Hinton 2016).
///
/// # Shapes
///
/// `x, y: (batch, D)`, weight `w` and bias `b: (D)`. The variance divides by `D`.
///
/// # Derivative
///
/// For one row, with `μ = 1/D Σ x`, `v = 1/D Σ (x - μ)²`, `r = 1/√(v + eps)` and `n = (x - μ) r`:
///
/// ```text
/// y[j]        = w[j] n[j] + b[j]
/// dL/db[j]    = delta[j]                 dL/dw[j] = delta[j] n[j]      summed over the rows
/// h[j]        = dL/dn[j] = delta[j] w[j]
/// dμ/dx[j]    = 1/D                      dv/dx[j] = 2/D (x[j] - μ)     as Σ (x - μ) = 0
/// dr/dx[j]    = -½ (v + eps)^(-3/2) dv/dx[j] = -r² n[j] / D
/// dn[k]/dx[j] = ((k = j) - 1/D) r + (x[k] - μ) dr/dx[j] = r ((k = j) - 1/D - n[k] n[j] / D)
/// d_in[j]     = Σ_k h[k] dn[k]/dx[j] = r (h[j] - mean h - n[j] mean(h n))
/// ```
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::nn::{LayerNorm, Module};
///
/// let mut layer = LayerNorm::new(2).with_eps(0.0);
/// let x = array![[1.0, 3.0]];
/// assert_eq!(layer.forward(&x), array![[-1.0, 1.0]]);
/// layer.backward_update_gradient(&x, &array![[2.0, 5.0]]);
/// assert_eq!(*layer.weight().grad().unwrap(), array![-2.0, 5.0].into_dyn());
/// ```
pub struct LayerNorm<T> {
    width: usize,
    eps: T,
    /// The weight, then the bias.
    parameters: [Param<T>; 2],
    /// The normalized rows `n`, and `r` for each row.
    normalized: Buffer<T>,
    inverse: Vec<T>,
    output: Buffer<T>,
    delta: Buffer<T>,
    delta_rows: Buffer<T>,
}

impl<T: Scalar> LayerNorm<T> {
    /// Returns a layer with a weight of ones, a bias of zeros and an `eps` of 1e-5.
    ///
    /// # Panics
    ///
    /// If the width is 0.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::nn::{LayerNorm, Module};
    ///
    /// assert_eq!(LayerNorm::<f64>::new(3).parameter_count(), 6);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn new(width: usize) -> Self {
        assert!(width > 0, "LayerNorm: expected a width of at least 1, found 0");
        Self {
            width,
            eps: T::from_f64(1e-5),
            parameters: [Param::named("weight", Array1::ones(width)), Param::named("bias", Array1::zeros(width))],
            normalized: Buffer::default(),
            inverse: Vec::new(),
            output: Buffer::default(),
            delta: Buffer::default(),
            delta_rows: Buffer::default(),
        }
    }

    /// Returns the layer with this number added to each variance.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::nn::{LayerNorm, Module};
    ///
    /// let mut layer = LayerNorm::new(2).with_eps(3.0);
    /// assert_eq!(layer.forward(&array![[-1.0, 1.0]]), array![[-0.5, 0.5]]); // ±1 / √(1 + 3)
    /// ```
    #[must_use]
    pub fn with_eps(self, eps: T) -> Self {
        Self { eps, ..self }
    }

    /// Returns the weight, of shape `(D)`.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::nn::LayerNorm;
    ///
    /// assert_eq!(*LayerNorm::<f64>::new(2).weight().value(), ndarray::array![1.0, 1.0].into_dyn());
    /// ```
    #[must_use]
    pub fn weight(&self) -> &Param<T> {
        &self.parameters[0]
    }

    /// Returns the bias, of shape `(D)`.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::nn::LayerNorm;
    ///
    /// assert_eq!(*LayerNorm::<f64>::new(2).bias().value(), ndarray::array![0.0, 0.0].into_dyn());
    /// ```
    #[must_use]
    pub fn bias(&self) -> &Param<T> {
        &self.parameters[1]
    }
}

/// Returns the mean and the variance of numbers, the variance with this divisor. Right at a large mean: the mean of the
/// differences corrects the rounding of the first mean.
pub(super) fn moments<T: Scalar>(numbers: impl Iterator<Item = T> + Clone, count: usize) -> (T, T) {
    let count = T::from_f64(count as f64);
    let rough = numbers.clone().sum::<T>() / count;
    let mean = rough + numbers.clone().map(|x| x - rough).sum::<T>() / count;
    (mean, numbers.map(|x| (x - mean) * (x - mean)).sum::<T>() / count)
}

debug_prints_name!(LayerNorm);

impl<T: Scalar> Module<T> for LayerNorm<T> {
    fn name(&self) -> String {
        format!("LayerNorm {}", self.width)
    }

    fn forward(&mut self, input: &ArrayRef2<T>) -> &Array2<T> {
        expect(self, self.output_width(input.ncols()));
        let [weight, bias] = [0, 1].map(|k| self.parameters[k].value());
        let n = self.normalized.copy_from(input);
        let y = self.output.shaped(input.dim());
        self.inverse.clear();
        for (n, y) in n.chunks_exact_mut(self.width).zip(y.chunks_exact_mut(self.width)) {
            let (mean, variance) = moments(n.iter().copied(), self.width);
            let r = T::ONE / (variance + self.eps).sqrt();
            self.inverse.push(r);
            let affine = row_major(&weight).iter().zip(row_major(&bias));
            for ((n, y), (&w, &b)) in n.iter_mut().zip(y).zip(affine) {
                *n = (*n - mean) * r;
                *y = w * *n + b;
            }
        }
        self.output.array()
    }

    buffered_results!();

    fn backward_update_gradient(&mut self, input: &ArrayRef2<T>, delta: &ArrayRef2<T>) {
        expect(self, self.check_backward(input, delta));
        let (n, delta, width) = (self.normalized.values(), self.delta_rows.rows_of(delta), self.width);
        self.parameters[0].accumulate_with(|dw| {
            dw.fill(T::ZERO);
            for (n, delta) in n.chunks_exact(width).zip(delta.chunks_exact(width)) {
                dw.iter_mut().zip(n.iter().zip(delta)).for_each(|(dw, (&n, &delta))| *dw += delta * n);
            }
        });
        self.parameters[1].accumulate_with(|db| {
            db.fill(T::ZERO);
            for delta in delta.chunks_exact(width) {
                db.iter_mut().zip(delta).for_each(|(db, &delta)| *db += delta);
            }
        });
    }

    /// `r (h - mean h - n mean(h n))` with `h = delta w`.
    fn backward_delta(&mut self, input: &ArrayRef2<T>, delta: &ArrayRef2<T>) -> &Array2<T> {
        expect(self, self.check_backward(input, delta));
        let (weight, count) = (self.parameters[0].value(), T::from_f64(self.width as f64));
        let d_in = self.delta.copy_from(delta);
        let rows = d_in.chunks_exact_mut(self.width).zip(self.normalized.values().chunks_exact(self.width));
        for ((h, n), &r) in rows.zip(&self.inverse) {
            h.iter_mut().zip(row_major(&weight)).for_each(|(h, &w)| *h *= w);
            let mean = h.iter().copied().sum::<T>() / count;
            let along = h.iter().zip(n).map(|(&h, &n)| h * n).sum::<T>() / count;
            h.iter_mut().zip(n).for_each(|(h, &n)| *h = r * (*h - mean - n * along));
        }
        self.delta.array()
    }

    fn parameters(&self) -> &[Param<T>] {
        &self.parameters
    }

    fn record<'t>(&self, tape: &'t Tape<T>, x: Var<'t, T>) -> Var<'t, T> {
        expect(self, recorded_width(x).and_then(|width| self.output_width(width)));
        let _group = tape.open_group("LayerNorm");
        x.layer_norm(tape.param(self.weight()), tape.param(self.bias()), self.eps)
    }

    fn output_width(&self, input_width: usize) -> Result<usize, String> {
        fixed_width(self.width, self.width, input_width)
    }
}
