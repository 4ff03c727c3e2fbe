//! [`Var::scaled_dot_product_attention`].

use ndarray::Array2;

use crate::number::Algebra;
use crate::scalar::Scalar;
use crate::tape::Var;

/// Which keys a query of an attention sees.
///
/// # Example
///
/// See [`Var::scaled_dot_product_attention`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AttentionMask {
    /// All of them.
    #[default]
    All,
    /// Those up to its own position: a text is read from the front.
    #[doc(alias = "is_causal")]
    Causal,
}

/// Attention.
impl<T: Scalar> Var<'_, T> {
    /// Returns, for each query, the mean of the values, weighted by how well its key fits:
    /// `softmax(q kᵀ / √d) v`, with the softmax along the keys (Vaswani et al. 2017). The queries are `self`.
    ///
    /// # Shapes
    ///
    /// Queries `(.., T, d)`, keys `(.., S, d)`, values `(.., S, e)` give `(.., T, e)`. The axes before broadcast.
    ///
    /// # Derivative
    ///
    /// That of its steps: with the weights `p` and `s = p (h - Σ p h)` for `h = g vᵀ`, it is `s k / √d` by the queries,
    /// `sᵀ q / √d` by the keys, and `pᵀ g` by the values.
    ///
    /// # Panics
    ///
    /// If the shapes do not fit, an operand has fewer than two axes, or the operands are on different tapes.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{AttentionMask, Tape};
    ///
    /// let tape = Tape::new();
    /// let q = tape.leaf(array![[0.0], [0.0]]); // all keys fit equally
    /// let (k, v) = (tape.leaf(array![[5.0], [7.0]]), tape.leaf(array![[1.0], [3.0]]));
    /// let y = q.scaled_dot_product_attention(k, v, AttentionMask::All);
    /// assert_eq!(y.value(), array![[2.0], [2.0]].into_dyn());
    /// let y = q.scaled_dot_product_attention(k, v, AttentionMask::Causal);
    /// assert_eq!(y.value(), array![[1.0], [2.0]].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn scaled_dot_product_attention(self, key: Self, value: Self, mask: AttentionMask) -> Self {
        for operand in [self, key, value] {
            if operand.ndim() < 2 {
                let finding = format!("the operand has {} axes, not at least 2", operand.ndim());
                operand.refuse("scaled_dot_product_attention", finding);
            }
        }
        let width = T::from_f64(self.shape().last().map_or(1.0, |&width| width as f64));
        let scores = (self / width.sqrt()).matmul(key.swapaxes(-2, -1));
        let scores = match mask {
            AttentionMask::All => scores,
            AttentionMask::Causal => {
                let (rows, columns) = (self.shape()[self.ndim() - 2], key.shape()[key.ndim() - 2]);
                let later = Array2::from_shape_fn((rows, columns), |(query, key)| key > query);
                scores.masked_fill(&later, T::NEG_INFINITY)
            }
        };
        scores.softmax(-1).matmul(value)
    }
}
