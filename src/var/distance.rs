//! Methods of [`Var`] for norms, distances and angles.

use crate::scalar::Scalar;
use crate::shape::{AxisSet, KeepDims, ShapeError, broadcast};
use crate::tape::{Detach, Var};

/// Norms and distances.
impl<'t, T: Scalar> Var<'t, T> {
    /// Returns the p-norm of all elements, `(Σ |x|^p)^(1/p)`, a scalar. For the power infinity it is the largest `|x|`.
    ///
    /// The elements are divided by the largest first, so the powers neither overflow nor all vanish. If an element is infinite,
    /// the norm is NaN, except for the powers 1, 2 and infinity.
    ///
    /// # Derivative
    ///
    /// `sign(x) (|x| / y)^(p-1)`. At an element 0 it is 0, and where the norm is 0, too. For the power infinity the largest
    /// elements share the cotangent.
    ///
    /// # Panics
    ///
    /// If `p` is not above 0.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![3.0, -4.0]);
    /// assert_eq!(x.lp_norm(1.0).item(), 7.0);
    /// assert_eq!(x.lp_norm(2.0).item(), 5.0);
    /// assert_eq!(x.lp_norm(f64::INFINITY).item(), 4.0);
    /// assert!((x.lp_norm(3.0).item() - 91.0_f64.cbrt()).abs() < 1e-14); // 27 + 64
    /// ```
    #[doc(alias = "vector_norm")]
    #[track_caller]
    #[must_use]
    pub fn lp_norm(self, p: T) -> Self {
        let axes: Vec<isize> = (0..).take(self.ndim()).collect();
        self.lp_norm_axes(p, axes, KeepDims::No)
    }

    /// Returns the p-norm over `axes`, like [`lp_norm`](Self::lp_norm). Negative axes count from the end.
    ///
    /// # Panics
    ///
    /// If an axis is out of range or named twice, or `p` is not above 0.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{KeepDims, Tape};
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[3.0, -4.0], [0.0, 2.0]]);
    /// assert_eq!(x.lp_norm_axes(1.0, [1], KeepDims::No).value(), array![7.0, 2.0].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn lp_norm_axes(self, p: T, axes: impl AsRef<[isize]>, keep: KeepDims) -> Self {
        assert!(p > T::ZERO, "lp_norm: expected a power above 0, found {p}");
        let axes = axes.as_ref();
        if p == T::ONE + T::ONE {
            return self.norm_axes(axes, keep);
        }
        let shape = self.shape();
        let set = self.check(AxisSet::new("lp_norm", axes, &shape));
        let sizes = self.abs();
        if p == T::ONE || set.elements(&shape) == 0 {
            return sizes.sum_axes(axes, keep);
        }
        if p == T::INFINITY {
            return sizes.max_axes(axes, keep);
        }
        // The norm does not depend on the number that the elements are divided by, so this number is detached.
        let detaching = self.tape().detach_all(Detach::Yes);
        let largest = sizes.max_axes(axes, KeepDims::Yes);
        drop(detaching);
        let ratios = sizes.divide_no_nan(largest);
        let powers = if p < T::ONE {
            // The power of 0 has an infinite derivative. There it is a power of 1, times 0.
            let zeros = ratios.equal(ratios.zeros_like());
            ratios.add(zeros).powf(p).mul(zeros.one_minus())
        } else {
            ratios.powf(p)
        };
        let sum = powers.sum_axes(axes, KeepDims::Yes);
        // Of nothing but zeros the sum is 0, where the root has no derivative. There it is 1, and the norm 1 · 0.
        let norm = sum.add(sum.equal(sum.zeros_like())).powf(T::ONE / p).mul(largest);
        match keep {
            KeepDims::Yes => norm,
            KeepDims::No => norm.reshape(shape.reduced(set, KeepDims::No)),
        }
    }

    /// Returns the distance of each row of this matrix from each row of another, in the p-norm.
    ///
    /// # Shapes
    ///
    /// `(.., m, d) x (.., n, d) -> (.., m, n)`; axes before the last two broadcast. The differences take memory for
    /// `m n d` elements.
    ///
    /// # Derivative
    ///
    /// That of [`lp_norm`](Self::lp_norm) of each difference: 0 for rows that are equal.
    ///
    /// # Panics
    ///
    /// If the rows have different lengths, an operand has fewer than two axes, the shapes do not broadcast, `p` is not above
    /// 0, or `other` is on a different tape.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[0.0, 0.0], [3.0, 4.0]]);
    /// assert_eq!(x.cdist(x, 2.0).value(), array![[0.0, 5.0], [5.0, 0.0]].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn cdist(self, other: Self, p: T) -> Self {
        self.assert_same_tape("cdist", other);
        let (a, b) = (self.shape(), other.shape());
        match (&*a, &*b) {
            ([.., _, m], [.., _, n]) if m == n => {}
            _ => {
                let finding = "expected two matrices with rows of one length, or batches of such".into();
                let error = ShapeError::new("cdist", &[&a, &b], finding);
                panic!("{}", self.tape().explain(&error, &[self.id(), other.id()]));
            }
        }
        (self.expand_dims(-2) - other.expand_dims(-3)).lp_norm_axes(p, [-1], KeepDims::No)
    }

    /// Returns the cosine of the angle between vectors along an axis, `Σ x y / (max(‖x‖, eps) max(‖y‖, eps))`. The shapes
    /// broadcast, and the axis is one of the common shape.
    ///
    /// # Derivative
    ///
    /// By `x`, `(y / ‖y‖ - cos · x / ‖x‖) / ‖x‖`. A length below `eps` counts as the constant `eps`.
    ///
    /// # Panics
    ///
    /// If the shapes do not broadcast, the axis is out of range, or `other` is on a different tape.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let (x, y) = (tape.leaf(array![[3.0, 4.0], [0.0, 0.0]]), tape.leaf(array![4.0, 3.0]));
    /// assert_eq!(x.cosine_similarity(y, -1, 1e-8).value(), array![0.96, 0.0].into_dyn()); // 24 / 25
    /// ```
    #[track_caller]
    #[must_use]
    pub fn cosine_similarity(self, other: Self, axis: isize, eps: T) -> Self {
        self.assert_same_tape("cosine_similarity", other);
        let shape = match broadcast("cosine_similarity", &self.shape(), &other.shape()) {
            Ok(shape) => shape,
            Err(error) => panic!("{}", self.tape().explain(&error, &[self.id(), other.id()])),
        };
        // Each vector is divided by its length first: the products of the elements may overflow.
        let unit = |x: Self| {
            let x = if x.shape() == shape { x } else { x.broadcast_to(shape.clone()) };
            x / x.norm_axes([axis], KeepDims::Yes).clamp_min(eps)
        };
        (unit(self) * unit(other)).sum_axes([axis], KeepDims::No)
    }

    /// Returns the outer product of two vectors: `y[i, j] = a[i] b[j]`.
    ///
    /// # Shapes
    ///
    /// `(m) x (n) -> (m, n)`
    ///
    /// # Derivative
    ///
    /// `g b` by `a`, `gᵀ a` by `b`.
    ///
    /// # Panics
    ///
    /// If an operand is not a vector, or `other` is on a different tape.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let (a, b) = (tape.leaf(array![1.0, 2.0]), tape.leaf(array![3.0, 4.0, 5.0]));
    /// assert_eq!(a.outer(b).value(), array![[3.0, 4.0, 5.0], [6.0, 8.0, 10.0]].into_dyn());
    /// ```
    #[doc(alias = "ger")]
    #[track_caller]
    #[must_use]
    pub fn outer(self, other: Self) -> Self {
        self.assert_same_tape("outer", other);
        let (a, b) = (self.shape(), other.shape());
        if a.len() != 1 || b.len() != 1 {
            let error = ShapeError::new("outer", &[&a, &b], "expected two vectors".into());
            panic!("{}", self.tape().explain(&error, &[self.id(), other.id()]));
        }
        self.expand_dims(1).mul(other)
    }
}
