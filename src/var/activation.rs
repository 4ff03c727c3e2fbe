//! Activation functions that are made of other operations. Those with a row of their own are in the table.

use super::operand::Operand;
use crate::op::Op;
use crate::scalar::Scalar;
use crate::shape::resolve_axis;
use crate::tape::Var;

/// Activation functions made of others.
impl<'t, T: Scalar> Var<'t, T> {
    /// Returns `x` limited to the interval from 0 to 6: [`clamp`](Self::clamp).
    ///
    /// # Derivative
    ///
    /// 1 between 0 and 6, else 0, also at both bounds.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![-1.0, 0.0, 3.0, 6.0, 7.0]);
    /// let y = x.relu6();
    /// y.sum().backward();
    /// assert_eq!(y.value(), array![0.0, 0.0, 3.0, 6.0, 6.0].into_dyn());
    /// assert_eq!(x.grad().unwrap(), array![0.0, 0.0, 1.0, 0.0, 0.0].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn relu6(self) -> Self {
        self.clamp(T::ZERO, T::from_f64(6.0))
    }

    /// Returns `x` limited to the interval from -1 to 1: [`clamp`](Self::clamp), which takes other bounds.
    ///
    /// # Derivative
    ///
    /// 1 between -1 and 1, else 0, also at both bounds.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![-2.0, 0.5, 1.0]);
    /// let y = x.hardtanh();
    /// y.sum().backward();
    /// assert_eq!(y.value(), array![-1.0, 0.5, 1.0].into_dyn());
    /// assert_eq!(x.grad().unwrap(), array![0.0, 1.0, 0.0].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn hardtanh(self) -> Self {
        self.clamp(-T::ONE, T::ONE)
    }

    /// Returns `ln(1 + e^(beta x)) / beta`, the [`softplus`](Self::softplus) of sharpness `beta`.
    ///
    /// # Derivative
    ///
    /// `1 / (1 + e^(-beta x))`
    ///
    /// # Panics
    ///
    /// If `beta` is not above 0.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(0.0);
    /// let y = x.softplus_beta(2.0);
    /// y.backward();
    /// assert_eq!((y.item(), x.grad().unwrap().sum()), (2.0_f64.ln() / 2.0, 0.5));
    /// ```
    #[track_caller]
    #[must_use]
    pub fn softplus_beta(self, beta: T) -> Self {
        assert!(beta > T::ZERO, "softplus_beta: expected a beta above 0, found {beta}");
        self.scale(beta).softplus().divide_by(beta)
    }

    /// Returns `x` where it is positive, else `weight x`: a [`leaky_relu`](Self::leaky_relu) whose slope is recorded and can
    /// be trained.
    ///
    /// # Shapes
    ///
    /// The two broadcast. One slope for each channel of images `(N, C, H, W)` has the shape `(C, 1, 1)`.
    ///
    /// # Derivative
    ///
    /// By `x`, 1 for `x > 0`, else the weight, also at 0. By the weight, `x` where it is not positive, else 0. The cotangents
    /// are selected.
    ///
    /// # Panics
    ///
    /// If the shapes do not broadcast, or the weight is on a different tape.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let (x, weight) = (tape.leaf(array![-2.0, 3.0]), tape.leaf(0.25));
    /// let y = x.prelu(weight);
    /// y.sum().backward();
    /// assert_eq!(y.value(), array![-0.5, 3.0].into_dyn());
    /// assert_eq!(x.grad().unwrap(), array![0.25, 1.0].into_dyn());
    /// assert_eq!(weight.grad().unwrap().sum(), -2.0);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn prelu(self, weight: impl Operand<'t, T>) -> Self {
        let positive = self.leaky_slope(T::ZERO); // 1 or 0: a recorded mask
        // A positive x does not meet the weight: an infinite one would make the weight's gradient NaN.
        let low =
            self.tape().apply(Op::Select, &[positive.id(), self.tape().zeros(self.shape()).id(), self.id()]) * weight;
        self.tape().apply(Op::Select, &[positive.id(), self.id(), low.id()])
    }

    /// Returns the gated linear unit `a / (1 + e^-b)`, where `a` and `b` are the first and the second half along an axis
    /// (Dauphin et al. 2017).
    ///
    /// # Shapes
    ///
    /// `(.., 2 n, ..) -> (.., n, ..)`
    ///
    /// # Derivative
    ///
    /// `s` by `a` and `a s (1 - s)` by `b`, with `s` the logistic function of `b`.
    ///
    /// # Panics
    ///
    /// If the axis is out of range, or its length is odd.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[3.0, 5.0, 0.0, 0.0]]);
    /// assert_eq!(x.glu(-1).value(), array![[1.5, 2.5]].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn glu(self, axis: isize) -> Self {
        let shape = self.shape();
        let length = shape[self.check(resolve_axis("glu", axis, &shape))];
        if !length.is_multiple_of(2) {
            self.refuse("glu", format!("the length {length} of axis {axis} is odd"));
        }
        self.slice(axis, ..length / 2) * self.slice(axis, length / 2..).sigmoid()
    }
}
