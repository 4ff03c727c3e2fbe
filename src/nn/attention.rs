//! [`MultiheadAttention`]: attention on the tape.

use ndarray::{Array1, Array2};
use rand::Rng;

use super::linear::uniform;
use super::model::Model;
use crate::param::Param;
use crate::scalar::Scalar;
use crate::tape::{Tape, Var};
use crate::var::AttentionMask;

/// Attention with several heads, on the tape (Vaswani et al. 2017): queries, keys and values are projected, each head attends
/// with its own columns of them, and the heads' results are projected together.
///
/// As a [`Model`] it is self-attention: queries, keys and values are all the input.
///
/// # Shapes
///
/// Self-attention: `(batch, steps, width) -> (batch, steps, width)`. Each weight is `(width, width)`, in the layout
/// `(in, out)`, and each bias `(width)`.
///
/// # Example
///
/// ```
/// use ndarray::Array3;
/// use rand::{SeedableRng, rngs::StdRng};
/// use tapegrad::nn::{Model, MultiheadAttention};
/// use tapegrad::{AttentionMask, Tape};
///
/// let attention = MultiheadAttention::<f64>::new(8, 2, &mut StdRng::seed_from_u64(0)).with_mask(AttentionMask::Causal);
/// let tape = Tape::new();
/// let y = attention.record(&tape, tape.constant(Array3::ones((5, 3, 8))));
/// assert_eq!(y.shape().to_string(), "(5, 3, 8)");
/// assert_eq!(attention.parameter_count(), 288); // 4 (8·8 + 8)
/// ```
#[derive(Debug)]
pub struct MultiheadAttention<T> {
    width: usize,
    heads: usize,
    mask: AttentionMask,
    /// Weight and bias for queries, keys, values, and the output.
    parameters: Vec<Param<T>>,
}

impl<T: Scalar> MultiheadAttention<T> {
    /// Returns an attention of this width. Weights are drawn uniformly between `-1/√width` and `1/√width`, biases are 0.
    ///
    /// # Panics
    ///
    /// If the heads cannot share the width equally.
    ///
    /// # Example
    ///
    /// ```
    /// use rand::{SeedableRng, rngs::StdRng};
    /// use tapegrad::nn::{Model, MultiheadAttention};
    ///
    /// let attention = MultiheadAttention::<f64>::new(4, 2, &mut StdRng::seed_from_u64(0));
    /// assert_eq!(attention.parameter_count(), 80); // 4 (4·4 + 4)
    /// ```
    #[track_caller]
    #[must_use]
    pub fn new(width: usize, heads: usize, rng: &mut (impl Rng + ?Sized)) -> Self {
        assert!(
            heads > 0 && width > 0 && width.is_multiple_of(heads),
            "MultiheadAttention: a width of {width} cannot be divided into {heads} heads"
        );
        let mut draw = uniform(width, rng);
        let mut parameters = Vec::with_capacity(8);
        for part in ["query", "key", "value", "output"] {
            let weight = Array2::from_shape_simple_fn((width, width), &mut draw);
            parameters.push(Param::named(format!("{part}_weight"), weight));
            parameters.push(Param::named(format!("{part}_bias"), Array1::zeros(width)));
        }
        Self { width, heads, mask: AttentionMask::All, parameters }
    }

    /// Returns the attention with this mask.
    ///
    /// # Example
    ///
    /// See [`MultiheadAttention`].
    #[must_use]
    pub fn with_mask(self, mask: AttentionMask) -> Self {
        Self { mask, ..self }
    }

    /// Records the attention of queries, `(batch, T, width)`, to keys and values, `(batch, S, width)`.
    ///
    /// # Panics
    ///
    /// If the shapes do not fit.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::Array3;
    /// use rand::{SeedableRng, rngs::StdRng};
    /// use tapegrad::Tape;
    /// use tapegrad::nn::MultiheadAttention;
    ///
    /// let attention = MultiheadAttention::<f64>::new(4, 2, &mut StdRng::seed_from_u64(0));
    /// let tape = Tape::new();
    /// let (queries, keys) = (tape.constant(Array3::ones((1, 2, 4))), tape.constant(Array3::ones((1, 5, 4))));
    /// assert_eq!(attention.attend(&tape, queries, keys, keys).shape().to_string(), "(1, 2, 4)");
    /// ```
    #[track_caller]
    pub fn attend<'t>(&self, tape: &'t Tape<T>, query: Var<'t, T>, key: Var<'t, T>, value: Var<'t, T>) -> Var<'t, T> {
        let _group = tape.open_group("MultiheadAttention");
        let project = |x: Var<'t, T>, part: usize| {
            x.matmul(tape.param(&self.parameters[2 * part])) + tape.param(&self.parameters[2 * part + 1])
        };
        let mut heads = Vec::with_capacity(3);
        for (part, x) in [query, key, value].into_iter().enumerate() {
            let shape = x.shape();
            assert!(
                shape.len() == 3 && shape[2] == self.width,
                "MultiheadAttention: expected an input of shape (batch, steps, {}), found {shape}",
                self.width
            );
            let split = project(x, part).reshape([shape[0], shape[1], self.heads, self.width / self.heads]);
            heads.push(split.swapaxes(1, 2));
        }
        let y = heads[0].scaled_dot_product_attention(heads[1], heads[2], self.mask);
        project(y.swapaxes(1, 2).flatten_axes(2, 3), 3)
    }
}

impl<T: Scalar> Model<T> for MultiheadAttention<T> {
    fn parameters(&self) -> Vec<Param<T>> {
        self.parameters.clone()
    }

    fn record<'t>(&self, tape: &'t Tape<T>, x: Var<'t, T>) -> Var<'t, T> {
        self.attend(tape, x, x, x)
    }
}
