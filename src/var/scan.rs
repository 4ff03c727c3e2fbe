//! Methods of [`Var`] that accumulate along an axis by doubling steps.

use crate::op::{Linear, Op};
use crate::scalar::Scalar;
use crate::shape::resolve_axis;
use crate::tape::Var;

/// Running products and extrema.
///
/// Each is made in `⌈log₂ n⌉` steps for an axis of length `n`. Step `k` combines each element with the one `2ᵏ` places
/// before it, which by then stands for `2ᵏ` elements (Hillis and Steele 1986). Every step is recorded.
impl<T: Scalar> Var<'_, T> {
    /// Combines each element with all those before it; `combine` takes the earlier part first.
    #[track_caller]
    fn scan(self, op: &'static str, axis: isize, combine: impl Fn(Self, Self) -> Self) -> Self {
        let shape = self.shape();
        let axis = self.check(resolve_axis(op, axis, &shape));
        let (length, mut reach, mut y) = (shape[axis], 1, self);
        while reach < length {
            let part = |start, length| y.apply(Linear::Slice { axis, start, step: 1, length });
            let later = combine(part(0, length - reach), part(reach, length - reach));
            y = self.tape().apply(Linear::Concat { axis }, &[part(0, reach).id(), later.id()]);
            reach *= 2;
        }
        y
    }

    /// Returns the running products along an axis: element `i` is the product of the elements 0 to `i`.
    ///
    /// # Derivative
    ///
    /// By `x[k]`, the sum over `i >= k` of `g[i]` times the product of the elements 0 to `i` except `k`. Nothing is divided,
    /// so derivatives of any order are exact beside zeros.
    ///
    /// The products of inner ranges are formed as well. If one of them overflows or underflows, so do the results that it
    /// belongs to: `[0, 1e200, 1e200]` gives `[0, 0, NaN]`.
    ///
    /// # Panics
    ///
    /// If the axis is out of range.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![2.0, 0.0, 3.0]);
    /// let y = x.cumprod(0);
    /// y.sum().backward();
    /// assert_eq!(y.value(), array![2.0, 0.0, 0.0].into_dyn());
    /// assert_eq!(x.grad().unwrap(), array![1.0, 8.0, 0.0].into_dyn()); // 2 + 2 · 3 at the zero
    /// ```
    #[track_caller]
    #[must_use]
    pub fn cumprod(self, axis: isize) -> Self {
        self.scan("cumprod", axis, Self::times)
    }

    #[track_caller]
    fn times(self, later: Self) -> Self {
        self.mul(later)
    }

    /// Returns the running `ln Σ e^x` along an axis, without overflow. Elements of minus infinity count as 0 in the sum.
    ///
    /// # Derivative
    ///
    /// By `x[k]`, the sum over `i >= k` of `g[i] e^(x[k] - y[i])`.
    ///
    /// # Panics
    ///
    /// If the axis is out of range.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![f64::NEG_INFINITY, 1000.0, 1000.0]);
    /// let y = x.logcumsumexp(0);
    /// assert_eq!(y.value(), array![f64::NEG_INFINITY, 1000.0, 1000.0 + 2.0_f64.ln()].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn logcumsumexp(self, axis: isize) -> Self {
        self.scan("logcumsumexp", axis, |earlier, later| earlier.logaddexp(later))
    }

    /// Returns the running maxima along an axis: element `i` is the largest of the elements 0 to `i`, NaN from the first NaN
    /// on.
    ///
    /// # Derivative
    ///
    /// `g[i]` goes to the largest of the elements 0 to `i`; of several that tie, to the last, as in PyTorch.
    ///
    /// # Panics
    ///
    /// If the axis is out of range.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![1.0, 3.0, 2.0, 3.0]);
    /// let y = x.cummax(0);
    /// y.sum().backward();
    /// assert_eq!(y.value(), array![1.0, 3.0, 3.0, 3.0].into_dyn());
    /// assert_eq!(x.grad().unwrap(), array![1.0, 2.0, 0.0, 1.0].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn cummax(self, axis: isize) -> Self {
        self.scan("cummax", axis, |earlier, later| later.unless_below(earlier, later, earlier))
    }

    /// Returns the running minima along an axis, like [`cummax`](Self::cummax).
    ///
    /// # Derivative
    ///
    /// `g[i]` goes to the smallest of the elements 0 to `i`; of several that tie, to the last.
    ///
    /// # Panics
    ///
    /// If the axis is out of range.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![3.0, 1.0, 2.0]);
    /// assert_eq!(x.cummin(0).value(), array![3.0, 1.0, 1.0].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn cummin(self, axis: isize) -> Self {
        self.scan("cummin", axis, |earlier, later| (-later).unless_below(-earlier, later, earlier))
    }

    /// Returns the later element, or the earlier one where `self` is below `bound` or `bound` is NaN.
    #[track_caller]
    fn unless_below(self, bound: Self, later: Self, earlier: Self) -> Self {
        // The weight is 0 where it is below. A NaN is not equal to itself. Never are both terms 1.
        let weight = self.tie_weight(bound);
        let mask = weight.equal(weight.zeros_like()).add(bound.equal(bound).one_minus());
        self.tape().apply(Op::Select, &[mask.id(), earlier.id(), later.id()])
    }
}
