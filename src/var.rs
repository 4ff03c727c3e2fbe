//! [`Var`]: the handle to a recorded value. Its methods and operators record.

mod linalg;
mod shape;
mod window;

use std::fmt;
use std::ops::{Add, Div, Mul, Neg, RangeBounds, Sub};
use std::panic::Location;

use ndarray::ArrayViewD;
use smallvec::SmallVec;

use crate::custom::SharedOp;
use crate::input::Input;
use crate::op::{Algebra, Binary, End, Op, Permutation, Transposed, Unary};
use crate::scalar::Scalar;
use crate::shape::{AxisSet, KeepDims, Shape, ShapeError, resolve_axis};
use crate::sweep;
use crate::tape::Tape;

pub use window::Size2d;

/// A handle to a value on a [`Tape`].
///
/// A `Var` is `Copy`: it is used without `&` or `clone()`, as often as one likes. Methods and operators compute at
/// once and record what they did. Operators take `Var`s and plain numbers on either side; two arrays are combined
/// element by element with NumPy's broadcasting.
///
/// # Panics
///
/// Every method and operator panics at the caller's line if shapes do not fit, naming the operation, the shapes and
/// where the operands were recorded, and if the operands belong to different tapes.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::Tape;
///
/// let tape = Tape::<f64>::new();
/// let x = tape.leaf(array![[1.0, 2.0], [3.0, 4.0]]);
/// let b = tape.leaf(array![10.0, 20.0]);
/// let y = 2.0 * x + b; // b is added to each row
/// assert_eq!(y.value(), array![[12.0, 24.0], [16.0, 28.0]].into_dyn());
/// y.sum().backward();
/// assert_eq!(b.grad().unwrap(), array![2.0, 2.0].into_dyn());
/// ```
pub struct Var<'t, T> {
    tape: &'t Tape<T>,
    id: u32,
}

impl<T> Clone for Var<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Var<'_, T> {}

impl<'t, T> Var<'t, T> {
    pub(crate) fn new(tape: &'t Tape<T>, id: u32) -> Self {
        Self { tape, id }
    }

    pub(crate) fn id(self) -> u32 {
        self.id
    }

    /// Returns the tape.
    #[must_use]
    pub fn tape(self) -> &'t Tape<T> {
        self.tape
    }
}

/// Reading.
impl<'t, T: Scalar> Var<'t, T> {
    /// Returns the value, without copying it.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![1.0, 2.0]) * 3.0;
    /// assert_eq!(x.value(), array![3.0, 6.0].into_dyn());
    /// assert_eq!(x.value().sum(), 9.0);
    /// ```
    #[must_use]
    pub fn value(self) -> ArrayViewD<'t, T> {
        self.tape.array(self.id)
    }

    /// Returns the only element of a value with one element.
    ///
    /// # Panics
    ///
    /// If the value has another number of elements.
    #[track_caller]
    #[must_use]
    pub fn item(self) -> T {
        let value = self.value();
        assert!(value.len() == 1, "item: a value of shape {} is not a single number", self.shape());
        value.first().copied().expect("there is one element")
    }

    /// Returns the shape.
    #[must_use]
    pub fn shape(self) -> Shape {
        Shape::from(self.tape.nodes().shape(self.id))
    }

    /// Returns the accumulated gradient of a leaf or a parameter; `None` if no backward sweep has reached it since it was
    /// recorded or cleared.
    ///
    /// Only leaves and parameters keep a gradient. The gradient by any other value, or by a constant, is what
    /// [`grads`](Self::grads) of the loss returns. The view is a snapshot: a later sweep leaves it as it is. For a
    /// parameter it is a copy, one for each call, which the tape holds until [`Tape::reset`];
    /// [`Param::grad`](crate::Param::grad) does without.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let (x, unused) = (tape.leaf(3.0), tape.leaf(1.0));
    /// let y = x * x;
    /// y.backward();
    /// assert_eq!(x.grad().unwrap().sum(), 6.0);
    /// y.backward(); // accumulates
    /// assert_eq!(x.grad().unwrap().sum(), 12.0);
    /// assert!(unused.grad().is_none()); // never a made-up zero
    /// ```
    #[must_use]
    pub fn grad(self) -> Option<ArrayViewD<'t, T>> {
        let param = self.tape.nodes().param(self.id).cloned();
        match param {
            Some(param) => param.grad().map(|grad| self.tape.keep(&grad)),
            None => self.tape.leaf_grad(self.id),
        }
    }
}

/// Differentiating.
impl<'t, T: Scalar> Var<'t, T> {
    /// Sweeps backward from this value, a loss with one element, and accumulates the gradient in every leaf and parameter
    /// that it depends on: [`Var::grad`], [`Param::grad`](crate::Param::grad).
    ///
    /// Nothing is recorded. If a rule panics, no gradient changes. A second sweep puts the sums of leaves in new memory,
    /// which the tape holds until [`Tape::reset`].
    ///
    /// # Panics
    ///
    /// If the value has more than one element (see [`backward_with`](Self::backward_with)), or depends on no leaf
    /// and no parameter.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0, 2.0], [3.0, 4.0]]);
    /// let w = tape.leaf(array![[0.5], [-0.5]]);
    /// let loss = x.matmul(w).square().mean(); // x w = [-0.5, -0.5]
    /// loss.backward();
    /// assert_eq!(w.grad().unwrap(), array![[-2.0], [-3.0]].into_dyn());
    /// ```
    #[track_caller]
    pub fn backward(self) {
        self.assert_single("backward");
        self.assert_differentiable();
        sweep::backward(self, None);
    }

    /// Sweeps backward from this value with a cotangent of its shape as the seed: accumulates the gradient of
    /// `Σ value * seed`.
    ///
    /// # Panics
    ///
    /// If the seed's shape is another, or the value depends on no leaf and no parameter.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![1.0, 2.0]);
    /// x.square().backward_with(array![1.0, 10.0]);
    /// assert_eq!(x.grad().unwrap(), array![2.0, 40.0].into_dyn());
    /// ```
    #[track_caller]
    pub fn backward_with(self, seed: impl Input<T>) {
        let (found, shape) = (seed.dims(), self.shape());
        assert!(found == shape, "backward_with: a seed of shape {found} for a value of shape {shape}");
        self.assert_differentiable();
        let mut buffer = self.tape.pool.take(shape.elements());
        seed.write_to(&mut buffer);
        sweep::backward(self, Some(buffer));
    }

    /// Returns the gradients of this value, a loss with one element, by `targets`, recorded on the same tape, so that
    /// they can be differentiated again.
    ///
    /// A target may be any value on the tape. `.grad()` of leaves and parameters stays as it is. What is recorded stays
    /// until [`Tape::reset`]: a loop that asks again and again makes the tape longer and longer.
    ///
    /// # Panics
    ///
    /// If the value has more than one element, or does not depend on one of the targets (see
    /// [`grads_or_none`](Self::grads_or_none)).
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(2.0);
    /// let y = x * x * x;
    /// let first = y.grad_wrt(x);
    /// let second = first.grad_wrt(x);
    /// assert_eq!(first.item(), 12.0); // 3 x²
    /// assert_eq!(second.item(), 12.0); // 6 x
    /// ```
    #[track_caller]
    #[must_use]
    pub fn grads(self, targets: &[Self]) -> Vec<Self> {
        let grads = self.grads_or_none(targets);
        self.all_reached("grads", grads, targets)
    }

    /// Returns the gradient by one target; otherwise as [`grads`](Self::grads).
    ///
    /// # Panics
    ///
    /// If the value has more than one element, or does not depend on the target.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(3.0);
    /// assert_eq!(x.square().grad_wrt(x).item(), 6.0);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn grad_wrt(self, target: Self) -> Self {
        let mut grads = self.grads(&[target]);
        grads.swap_remove(0)
    }

    /// Returns what [`grads`](Self::grads) returns, `None` for a target on which the value does not depend.
    ///
    /// # Panics
    ///
    /// If the value has more than one element.
    #[track_caller]
    #[must_use]
    pub fn grads_or_none(self, targets: &[Self]) -> Vec<Option<Self>> {
        self.assert_single("grads");
        for &target in targets {
            self.assert_same_tape("grads", target);
        }
        sweep::grad(self, None, targets, Location::caller())
    }

    /// Returns the vector-Jacobian products of this value and a cotangent of its shape, by `targets`: the gradients of
    /// `Σ value * cotangent` with the cotangent held fixed.
    ///
    /// They are recorded and can be differentiated again, by the cotangent, too: it is a value like any other. For a loss
    /// with one element and the cotangent 1 this is [`grads`](Self::grads).
    ///
    /// # Panics
    ///
    /// If the cotangent has another shape or is of another tape, or the value does not depend on one of the targets (see
    /// [`vjp_or_none`](Self::vjp_or_none)).
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![1.0, 2.0, 3.0]);
    /// let g = tape.constant(array![1.0, 10.0, 100.0]);
    /// let pulled = x.square().vjp(g, &[x]);
    /// assert_eq!(pulled[0].value(), array![2.0, 40.0, 600.0].into_dyn()); // 2 x g
    /// ```
    #[track_caller]
    #[must_use]
    pub fn vjp(self, cotangent: Self, targets: &[Self]) -> Vec<Self> {
        let grads = self.vjp_or_none(cotangent, targets);
        self.all_reached("vjp", grads, targets)
    }

    /// Returns what [`vjp`](Self::vjp) returns, `None` for a target on which the value does not depend.
    ///
    /// # Panics
    ///
    /// If the cotangent has another shape, or an operand is of another tape.
    #[track_caller]
    #[must_use]
    pub fn vjp_or_none(self, cotangent: Self, targets: &[Self]) -> Vec<Option<Self>> {
        self.assert_same_tape("vjp", cotangent);
        let (found, shape) = (cotangent.shape(), self.shape());
        assert!(found == shape, "vjp: a cotangent of shape {found} for a value of shape {shape}");
        for &target in targets {
            self.assert_same_tape("vjp", target);
        }
        sweep::grad(self, Some(cotangent), targets, Location::caller())
    }

    /// Returns the Jacobian-vector product of this value along `tangents` of the targets: its derivative as every target
    /// moves along its tangent, `Σ ∂value/∂target · tangent`.
    ///
    /// Forward mode: the recorded operations are visited once, in order, and the result is recorded and can be
    /// differentiated again. The rules are those of the table. For an elementwise operation the same rule serves in both
    /// directions, a linear one is its own derivative, and any other is transposed twice (the vjp is linear in its
    /// cotangent, and its own vjp by that cotangent is the jvp; J. Townsend, 2017).
    ///
    /// # Panics
    ///
    /// If there are not as many tangents as targets, a tangent has another shape than its target, an operand is of another
    /// tape, or the value depends on none of the targets (see [`jvp_or_none`](Self::jvp_or_none)).
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![1.0, 2.0, 3.0]);
    /// let v = tape.constant(array![1.0, 0.0, 10.0]);
    /// let pushed = x.square().sum().jvp(&[x], &[v]);
    /// assert_eq!(pushed.item(), 62.0); // 2·1·1 + 2·2·0 + 2·3·10
    /// ```
    #[doc(alias = "jacobian_vector_product")]
    #[doc(alias = "pushforward")]
    #[track_caller]
    #[must_use]
    pub fn jvp(self, targets: &[Self], tangents: &[Self]) -> Self {
        match self.jvp_or_none(targets, tangents) {
            Some(tangent) => tangent,
            None => panic!("jvp: the value depends on none of the targets: {}", self.tape.describe(self.id)),
        }
    }

    /// Returns what [`jvp`](Self::jvp) returns, `None` if the value depends on none of the targets.
    ///
    /// # Panics
    ///
    /// As [`jvp`](Self::jvp), but for a value that depends on no target.
    #[track_caller]
    #[must_use]
    pub fn jvp_or_none(self, targets: &[Self], tangents: &[Self]) -> Option<Self> {
        self.assert_tangents("jvp", targets, tangents);
        sweep::jvp(self.tape, &[self], targets, tangents, Location::caller()).pop().flatten()
    }

    /// Returns the Hessian-vector products of this value, a loss with one element: for each target the derivative of
    /// the gradient by it, as every target moves along its vector.
    ///
    /// A jvp of the gradients; the Hessian itself is never formed. The result is recorded and can be differentiated
    /// again. Where a gradient is constant its derivative is 0.
    ///
    /// # Panics
    ///
    /// If the value has more than one element or does not depend on one of the targets, if there are not as many
    /// vectors as targets, a vector has another shape than its target, or an operand is of another tape.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![1.0, 2.0]);
    /// let v = tape.constant(array![1.0, 10.0]);
    /// let loss = (x * x * x).sum(); // the Hessian is diag(6 x)
    /// assert_eq!(loss.hvp(&[x], &[v])[0].value(), array![6.0, 120.0].into_dyn());
    /// ```
    #[doc(alias = "hessian_vector_product")]
    #[track_caller]
    #[must_use]
    pub fn hvp(self, targets: &[Self], vectors: &[Self]) -> Vec<Self> {
        self.assert_tangents("hvp", targets, vectors);
        let _naming = self.tape.name_origin(Location::caller());
        let grads = {
            // They are to be differentiated once more, also where the product is not.
            let _attaching = self.tape.detach_all(false);
            self.grads(targets)
        };
        let pushed = sweep::jvp(self.tape, &grads, targets, vectors, Location::caller());
        let along = |(pushed, grad): (Option<Self>, &Self)| pushed.unwrap_or_else(|| self.tape.zeros(grad.shape()));
        pushed.into_iter().zip(&grads).map(along).collect()
    }

    /// Returns the value as a constant to every derivative: no cotangent passes through. Nothing is copied.
    ///
    /// For more than one value see [`Tape::no_grad`].
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(3.0);
    /// (x.detach() * x).backward();
    /// assert_eq!(x.grad().unwrap().sum(), 3.0); // not 2 x
    /// ```
    #[doc(alias = "stop_gradient")]
    #[track_caller]
    #[must_use]
    pub fn detach(self) -> Self {
        let _detaching = self.tape.detach_all(true);
        self.apply(Op::BroadcastTo(self.shape()))
    }

    /// Returns the gradients, or panics for the first target that has none.
    #[track_caller]
    fn all_reached(self, method: &str, grads: Vec<Option<Self>>, targets: &[Self]) -> Vec<Self> {
        let mut result = Vec::with_capacity(targets.len());
        for (k, grad) in grads.into_iter().enumerate() {
            let Some(grad) = grad else {
                panic!("{method}: the value does not depend on target {k}: {}", self.tape.describe(targets[k].id));
            };
            result.push(grad);
        }
        result
    }

    #[track_caller]
    fn assert_tangents(self, method: &str, targets: &[Self], tangents: &[Self]) {
        let (count, expected) = (tangents.len(), targets.len());
        assert!(count == expected, "{method}: {count} vectors for {expected} targets");
        for (k, (&target, &tangent)) in targets.iter().zip(tangents).enumerate() {
            self.assert_same_tape(method, target);
            self.assert_same_tape(method, tangent);
            let (found, shape) = (tangent.shape(), target.shape());
            assert!(found == shape, "{method}: vector {k} of shape {found} for a target of shape {shape}");
        }
    }

    #[track_caller]
    fn assert_single(self, method: &str) {
        let shape = self.shape();
        assert!(
            shape.elements() == 1,
            "{method}: a value of shape {shape} has no single gradient: reduce it to one number first, or use backward_with(seed)"
        );
    }

    #[track_caller]
    fn assert_differentiable(self) {
        let needs_grad = self.tape.nodes().node(self.id).needs_grad;
        assert!(needs_grad, "backward: the value depends on no leaf and no parameter: {}", self.tape.describe(self.id));
    }

    #[track_caller]
    pub(crate) fn assert_same_tape(self, op: &str, other: Self) {
        assert!(
            std::ptr::eq(self.tape, other.tape),
            "{op}: the operands belong to different tapes: {} and {}",
            self.tape.describe(self.id),
            other.tape.describe(other.id)
        );
    }
}

/// Recording.
impl<'t, T: Scalar> Var<'t, T> {
    #[track_caller]
    fn apply(self, op: Op<T>) -> Self {
        self.tape.apply(op, &[self.id])
    }

    /// Records a shape rule's result, or panics with it.
    #[track_caller]
    pub(crate) fn check<R>(self, result: Result<R, ShapeError>) -> R {
        match result {
            Ok(value) => value,
            Err(error) => panic!("{}", self.tape.explain(&error, &[self.id])),
        }
    }

    /// Applies a row of the table of elementwise functions.
    ///
    /// # Panics
    ///
    /// If the bounds of [`clamp`](Self::clamp) are no interval, or the `delta` of [`huber`](Self::huber) is negative or NaN.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::{Tape, op::Unary};
    ///
    /// let tape = Tape::new();
    /// assert_eq!(tape.leaf(3.0).unary(Unary::Square).item(), 9.0);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn unary(self, op: Unary<T>) -> Self {
        if let Unary::Clamp { low, high } = op {
            assert!(low <= high, "clamp: {low} and {high} are no interval: expected a lower and an upper bound");
        }
        if let Unary::Huber { delta } = op {
            assert!(delta >= T::ZERO, "huber: expected a delta of at least 0, found {delta}");
        }
        self.apply(Op::Unary(op))
    }

    /// Applies a row of the table of elementwise functions of two operands, with broadcasting.
    ///
    /// # Panics
    ///
    /// If the shapes do not broadcast, or `other` is of another tape.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::{Tape, op::Binary};
    ///
    /// let tape = Tape::new();
    /// assert_eq!(tape.leaf(3.0).binary(Binary::Mul, tape.leaf(2.0)).item(), 6.0);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn binary(self, op: Binary, other: Self) -> Self {
        self.assert_same_tape(op.name(), other);
        self.tape.apply(Op::Binary(op), &[self.id, other.id])
    }

    /// Returns the natural logarithm: [`ln`](Self::ln) under the name that NumPy gives it.
    #[track_caller]
    #[must_use]
    pub fn log(self) -> Self {
        self.ln()
    }

    /// Returns the matrix product, as NumPy's `@` does.
    ///
    /// # Shapes
    ///
    /// `(m, k) x (k, n) -> (m, n)`, `(k) x (k, n) -> (n)`, `(m, k) x (k) -> (m)`, `(k) x (k) -> ()`. Axes before the last
    /// two are a batch of matrices and broadcast: `(b, m, k) x (b, k, n)`, `(b, m, k) x (k, n)` and
    /// `(m, k) x (b, k, n) -> (b, m, n)`.
    ///
    /// # Derivative
    ///
    /// `g bᵀ` and `aᵀ g` (Giles 2008, 2.2.1), summed over what is repeated. A transposed operand is read transposed, never
    /// copied.
    ///
    /// # Panics
    ///
    /// If an operand has no axis, the inner dimensions differ, the batches do not broadcast, or `other` is of another tape.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let a = tape.leaf(array![[1.0, 2.0], [3.0, 4.0]]);
    /// let x = tape.leaf(array![1.0, -1.0]);
    /// let y = a.matmul(x);
    /// assert_eq!(y.value(), array![-1.0, -1.0].into_dyn());
    /// y.sum().backward();
    /// assert_eq!(x.grad().unwrap(), array![4.0, 6.0].into_dyn());
    ///
    /// let batch = tape.leaf(array![[[1.0, 0.0]], [[0.0, 2.0]]]); // two matrices of one row
    /// assert_eq!(batch.matmul(a).value(), array![[[1.0, 2.0]], [[6.0, 8.0]]].into_dyn());
    /// ```
    #[doc(alias = "dot")]
    #[track_caller]
    #[must_use]
    pub fn matmul(self, other: Self) -> Self {
        self.assert_same_tape("matmul", other);
        let (a, b) = (self.shape(), other.shape());
        if let ([_, _], [_, _]) = (&*a, &*b) {
            return self.matmul_matrices(other);
        }
        let shape = match crate::op::matmul_shape(&a, &b) {
            Ok(shape) => shape,
            Err(error) => panic!("{}", self.tape.explain(&error, &[self.id, other.id])),
        };
        // A vector is a matrix of one row at the left, of one column at the right.
        let left = if a.len() == 1 { self.apply(Op::Reshape([1, a[0]].into())) } else { self };
        let right = if b.len() == 1 { other.apply(Op::Reshape([b[0], 1].into())) } else { other };
        // A batch of matrices that meets a single one is a taller matrix: one large product instead of many small ones,
        // and the gradient of the single one is a product as well, not a sum of many.
        if let (&[ref rows @ .., inner], 1..=2) = (&*a, b.len())
            && rows.len() > 1
            && self.tape.nodes().is_row_major(self.id)
        {
            let rows = crate::shape::elements(rows);
            return left.apply(Op::Reshape([rows, inner].into())).matmul_matrices(right).apply(Op::Reshape(shape));
        }
        let product = left.matmul_matrices(right);
        if a.len() == 1 || b.len() == 1 { product.apply(Op::Reshape(shape)) } else { product }
    }

    /// Records the product of operands of two axes or more.
    #[track_caller]
    fn matmul_matrices(self, other: Self) -> Self {
        let op = Op::Matmul { left: Transposed::No, right: Transposed::No };
        self.tape.apply(op, &[self.id, other.id])
    }

    /// Returns the sum of all elements, a scalar.
    ///
    /// # Derivative
    ///
    /// `g` for each element.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// assert_eq!(tape.leaf(array![[1.0, 2.0], [3.0, 4.0]]).sum().item(), 10.0);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn sum(self) -> Self {
        let axes = AxisSet::all(self.shape().len());
        self.apply(Op::Sum { axes, keep: KeepDims::No })
    }

    /// Returns the sum over `axes`, negative ones counted from the end. The sum over no elements is 0.
    ///
    /// # Panics
    ///
    /// If an axis is out of range or named twice.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{KeepDims, Tape};
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.sum_axes([0], KeepDims::No).value(), array![4.0, 6.0].into_dyn());
    /// assert_eq!(x.sum_axes([-1], KeepDims::Yes).value(), array![[3.0], [7.0]].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn sum_axes(self, axes: impl AsRef<[isize]>, keep: KeepDims) -> Self {
        let axes = self.check(AxisSet::new("sum", axes.as_ref(), &self.shape()));
        self.apply(Op::Sum { axes, keep })
    }

    /// Returns the mean of all elements, a scalar; NaN of no elements.
    ///
    /// # Derivative
    ///
    /// `g / n` for each of the `n` elements.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// assert_eq!(tape.leaf(array![[1.0, 2.0], [3.0, 4.0]]).mean().item(), 2.5);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn mean(self) -> Self {
        let count = self.shape().elements();
        self.sum().divide_by(T::from_f64(count as f64))
    }

    /// Returns the mean over `axes`, negative ones counted from the end; NaN of no elements.
    ///
    /// # Panics
    ///
    /// If an axis is out of range or named twice.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{KeepDims, Tape};
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.mean_axes([1], KeepDims::No).value(), array![1.5, 3.5].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn mean_axes(self, axes: impl AsRef<[isize]>, keep: KeepDims) -> Self {
        let shape = self.shape();
        let axes = self.check(AxisSet::new("mean", axes.as_ref(), &shape));
        self.apply(Op::Sum { axes, keep }).divide_by(T::from_f64(axes.elements(&shape) as f64))
    }

    /// Returns the maximum of all elements, a scalar; NaN if one is NaN.
    ///
    /// # Derivative
    ///
    /// `g` goes to the maximal element; several that tie share it evenly.
    ///
    /// # Panics
    ///
    /// If there is no element.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![2.0, 5.0, 5.0]);
    /// let y = x.max();
    /// y.backward();
    /// assert_eq!(y.item(), 5.0);
    /// assert_eq!(x.grad().unwrap(), array![0.0, 0.5, 0.5].into_dyn());
    /// ```
    #[doc(alias = "amax")]
    #[track_caller]
    #[must_use]
    pub fn max(self) -> Self {
        let axes = AxisSet::all(self.shape().len());
        self.apply(Op::Max { axes, keep: KeepDims::No })
    }

    /// Returns the maximum over `axes`, negative ones counted from the end; otherwise as [`max`](Self::max).
    ///
    /// # Panics
    ///
    /// If an axis is out of range or named twice, or if the maximum is over no elements.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{KeepDims, Tape};
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0, 2.0], [4.0, 3.0]]);
    /// assert_eq!(x.max_axes([1], KeepDims::No).value(), array![2.0, 4.0].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn max_axes(self, axes: impl AsRef<[isize]>, keep: KeepDims) -> Self {
        let axes = self.check(AxisSet::new("max", axes.as_ref(), &self.shape()));
        self.apply(Op::Max { axes, keep })
    }

    /// Returns the minimum of all elements, a scalar; NaN if one is NaN.
    ///
    /// # Derivative
    ///
    /// `g` goes to the minimal element; several that tie share it evenly.
    ///
    /// # Panics
    ///
    /// If there is no element.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![7.0, 5.0, 5.0]);
    /// let y = x.min();
    /// y.backward();
    /// assert_eq!(y.item(), 5.0);
    /// assert_eq!(x.grad().unwrap(), array![0.0, 0.5, 0.5].into_dyn());
    /// ```
    #[doc(alias = "amin")]
    #[track_caller]
    #[must_use]
    pub fn min(self) -> Self {
        let axes = AxisSet::all(self.shape().len());
        self.apply(Op::Min { axes, keep: KeepDims::No })
    }

    /// Returns the minimum over `axes`, negative ones counted from the end; otherwise as [`min`](Self::min).
    ///
    /// # Panics
    ///
    /// If an axis is out of range or named twice, or if the minimum is over no elements.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{KeepDims, Tape};
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0, 2.0], [4.0, 3.0]]);
    /// assert_eq!(x.min_axes([1], KeepDims::No).value(), array![1.0, 3.0].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn min_axes(self, axes: impl AsRef<[isize]>, keep: KeepDims) -> Self {
        let axes = self.check(AxisSet::new("min", axes.as_ref(), &self.shape()));
        self.apply(Op::Min { axes, keep })
    }

    /// Returns the product of all elements, a scalar; 1 of no elements.
    ///
    /// # Derivative
    ///
    /// `g` times the product of the other elements, computed as such and never by division: exact beside zeros, at any
    /// order. Neighbours are multiplied first: where their product overflows or vanishes, so does the derivative.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![0.0, 2.0, 3.0]);
    /// let y = x.prod();
    /// y.backward();
    /// assert_eq!(y.item(), 0.0);
    /// assert_eq!(x.grad().unwrap(), array![6.0, 0.0, 0.0].into_dyn());
    /// ```
    #[doc(alias = "product")]
    #[track_caller]
    #[must_use]
    pub fn prod(self) -> Self {
        let axes = AxisSet::all(self.shape().len());
        self.apply(Op::Prod { axes, keep: KeepDims::No })
    }

    /// Returns the product over `axes`, negative ones counted from the end; otherwise as [`prod`](Self::prod).
    ///
    /// # Panics
    ///
    /// If an axis is out of range or named twice.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{KeepDims, Tape};
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0, 2.0], [4.0, 3.0]]);
    /// assert_eq!(x.prod_axes([1], KeepDims::No).value(), array![2.0, 12.0].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn prod_axes(self, axes: impl AsRef<[isize]>, keep: KeepDims) -> Self {
        let axes = self.check(AxisSet::new("prod", axes.as_ref(), &self.shape()));
        self.apply(Op::Prod { axes, keep })
    }

    /// Returns the Euclidean (for a matrix: Frobenius) norm of all elements, `√Σ x²`, a scalar; no square overflows
    /// on the way.
    ///
    /// # Derivative
    ///
    /// `x / y`, and 0 where the norm is 0.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![3.0, 4.0]);
    /// let y = x.norm();
    /// y.backward();
    /// assert_eq!(y.item(), 5.0);
    /// assert_eq!(x.grad().unwrap(), array![0.6, 0.8].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn norm(self) -> Self {
        let axes = AxisSet::all(self.shape().len());
        self.apply(Op::Norm { axes, keep: KeepDims::No })
    }

    /// Returns the Euclidean norm over `axes`, negative ones counted from the end; otherwise as [`norm`](Self::norm).
    ///
    /// # Panics
    ///
    /// If an axis is out of range or named twice.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{KeepDims, Tape};
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[3.0, 4.0], [0.0, 2.0]]);
    /// assert_eq!(x.norm_axes([1], KeepDims::No).value(), array![5.0, 2.0].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn norm_axes(self, axes: impl AsRef<[isize]>, keep: KeepDims) -> Self {
        let axes = self.check(AxisSet::new("norm", axes.as_ref(), &self.shape()));
        self.apply(Op::Norm { axes, keep })
    }

    /// Returns `ln Σ e^x` of all elements, a scalar, computed without overflow by a shift of the maximum; minus infinity
    /// of no elements.
    ///
    /// # Derivative
    ///
    /// `e^x / Σ e^x`. Elements of minus infinity get 0, even if there are no others; several of infinity share evenly.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![1000.0, 1000.0, f64::NEG_INFINITY]);
    /// let y = x.logsumexp();
    /// y.backward();
    /// assert_eq!(y.item(), 1000.0 + 2.0_f64.ln());
    /// assert_eq!(x.grad().unwrap(), array![0.5, 0.5, 0.0].into_dyn());
    /// ```
    #[doc(alias = "log_sum_exp")]
    #[track_caller]
    #[must_use]
    pub fn logsumexp(self) -> Self {
        let axes = AxisSet::all(self.shape().len());
        self.apply(Op::LogSumExp { axes, keep: KeepDims::No })
    }

    /// Returns `ln Σ e^x` over `axes`, negative ones counted from the end; otherwise as [`logsumexp`](Self::logsumexp).
    ///
    /// # Panics
    ///
    /// If an axis is out of range or named twice.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{KeepDims, Tape};
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[0.0, 0.0], [-1000.0, 5.0]]);
    /// assert_eq!(x.logsumexp_axes([1], KeepDims::No).value(), array![2.0_f64.ln(), 5.0].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn logsumexp_axes(self, axes: impl AsRef<[isize]>, keep: KeepDims) -> Self {
        let axes = self.check(AxisSet::new("logsumexp", axes.as_ref(), &self.shape()));
        self.apply(Op::LogSumExp { axes, keep })
    }

    /// Returns the variance of all `n` elements, `Σ (x - mean)² / (n - ddof)`, a scalar.
    ///
    /// `ddof` (as in NumPy) is 0 for the variance of a population and 1 for the estimate from a sample, PyTorch's
    /// default. Without degrees of freedom, `n <= ddof`, the divisor is 0.
    ///
    /// # Derivative
    ///
    /// `2 (x - mean) / (n - ddof)`
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![1.0, 2.0, 3.0]);
    /// let y = x.var(1);
    /// y.backward();
    /// assert_eq!(y.item(), 1.0); // (1 + 0 + 1) / 2
    /// assert_eq!(x.grad().unwrap(), array![-1.0, 0.0, 1.0].into_dyn());
    /// ```
    #[doc(alias = "variance")]
    #[track_caller]
    #[must_use]
    pub fn var(self, ddof: usize) -> Self {
        self.variance(AxisSet::all(self.shape().len()), ddof, KeepDims::No)
    }

    /// Returns the variance over `axes`, negative ones counted from the end; otherwise as [`var`](Self::var).
    ///
    /// # Panics
    ///
    /// If an axis is out of range or named twice.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{KeepDims, Tape};
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0, 3.0], [5.0, 5.0]]);
    /// assert_eq!(x.var_axes([1], 0, KeepDims::No).value(), array![1.0, 0.0].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn var_axes(self, axes: impl AsRef<[isize]>, ddof: usize, keep: KeepDims) -> Self {
        let axes = self.check(AxisSet::new("var", axes.as_ref(), &self.shape()));
        self.variance(axes, ddof, keep)
    }

    #[track_caller]
    fn variance(self, axes: AxisSet, ddof: usize, keep: KeepDims) -> Self {
        let (centered, freedom) = self.centered(axes, ddof);
        centered.square().apply(Op::Sum { axes, keep }).divide_by(freedom)
    }

    /// Returns `x - mean` over `axes` and the number of degrees of freedom.
    #[track_caller]
    fn centered(self, axes: AxisSet, ddof: usize) -> (Self, T) {
        let count = axes.elements(&self.shape());
        let divisor = T::from_f64(count as f64);
        // The mean of large numbers is rounded, and perhaps by more than the numbers differ: the mean of the differences is what
        // rounding took from it. No shift of all elements changes the result. So the first mean has no derivative and is recorded
        // as detached: a sweep takes one mean, as without the correction, and derivatives of any order are right.
        let detaching = self.tape.detach_all(true);
        let shift = self.apply(Op::Sum { axes, keep: KeepDims::Yes }).divide_by(divisor);
        drop(detaching);
        let near = self - shift;
        let mean = near.apply(Op::Sum { axes, keep: KeepDims::Yes }).divide_by(divisor);
        (near - mean, T::from_f64(count.saturating_sub(ddof) as f64))
    }

    /// Returns the standard deviation of all elements, the square root of [`var`](Self::var), a scalar.
    ///
    /// # Derivative
    ///
    /// `(x - mean) / ((n - ddof) y)`, and 0 where all elements are equal.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![1.0, 3.0]);
    /// let y = x.std(0);
    /// y.backward();
    /// assert_eq!(y.item(), 1.0);
    /// assert!((x.grad().unwrap()[[1]] - 0.5_f64).abs() < 1e-15);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn std(self, ddof: usize) -> Self {
        self.deviation(AxisSet::all(self.shape().len()), ddof, KeepDims::No)
    }

    /// Returns the standard deviation over `axes`, negative ones counted from the end; otherwise as [`std`](Self::std).
    ///
    /// # Panics
    ///
    /// If an axis is out of range or named twice.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{KeepDims, Tape};
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0, 5.0], [5.0, 5.0]]);
    /// let y = x.std_axes([1], 0, KeepDims::No);
    /// y.sum().backward();
    /// assert!((y.value()[[0]] - 2.0_f64).abs() < 1e-15 && y.value()[[1]] == 0.0);
    /// assert_eq!(x.grad().unwrap()[[1, 0]], 0.0);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn std_axes(self, axes: impl AsRef<[isize]>, ddof: usize, keep: KeepDims) -> Self {
        let axes = self.check(AxisSet::new("std", axes.as_ref(), &self.shape()));
        self.deviation(axes, ddof, keep)
    }

    #[track_caller]
    fn deviation(self, axes: AxisSet, ddof: usize, keep: KeepDims) -> Self {
        // A norm, for its derivative where it is 0.
        let (centered, freedom) = self.centered(axes, ddof);
        let divisor = freedom.sqrt();
        // Without degrees of freedom the result is 0 / 0, which a norm of 0 with its derivative 0 would hide from the sweep.
        let centered = if freedom == T::ZERO { centered.divide_by(divisor) } else { centered };
        centered.apply(Op::Norm { axes, keep }).divide_by(divisor)
    }

    /// Returns running sums along an axis: element `i` is the sum of the elements 0 to `i`, carried in `f64`.
    ///
    /// # Derivative
    ///
    /// The running sums of `g` from the other end.
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
    /// let x = tape.leaf(array![1.0, 2.0, 3.0]);
    /// let y = x.cumsum(0);
    /// y.sum().backward();
    /// assert_eq!(y.value(), array![1.0, 3.0, 6.0].into_dyn());
    /// assert_eq!(x.grad().unwrap(), array![3.0, 2.0, 1.0].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn cumsum(self, axis: isize) -> Self {
        let axis = self.check(resolve_axis("cumsum", axis, &self.shape()));
        self.apply(Op::CumSum { axis, from: End::First })
    }

    /// Returns `e^x / Σ e^x` along an axis, computed without overflow by a shift of the maximum.
    ///
    /// # Derivative
    ///
    /// `y (g - Σ g y)`, the sum along the axis.
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
    /// let x = tape.leaf(array![[1000.0, 1000.0]]);
    /// assert_eq!(x.softmax(-1).value(), array![[0.5, 0.5]].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn softmax(self, axis: isize) -> Self {
        let axis = self.check(resolve_axis("softmax", axis, &self.shape()));
        self.apply(Op::Softmax { axis })
    }

    /// Returns the logarithm of [`softmax`](Self::softmax), `x - ln Σ e^x` along an axis, by a shift of the maximum
    /// (log-sum-exp): exact where the softmax itself underflows.
    ///
    /// # Derivative
    ///
    /// `g - e^y Σ g`, the sum along the axis.
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
    /// let x = tape.leaf(array![[0.0, 1000.0]]);
    /// assert_eq!(x.log_softmax(-1).value(), array![[-1000.0, 0.0]].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn log_softmax(self, axis: isize) -> Self {
        let axis = self.check(resolve_axis("log_softmax", axis, &self.shape()));
        self.apply(Op::LogSoftmax { axis })
    }

    /// Returns the same elements, in row-major order, in another shape.
    ///
    /// # Panics
    ///
    /// If the shape takes another number of elements.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![1.0, 2.0, 3.0, 4.0]);
    /// assert_eq!(x.reshape([2, 2]).value(), array![[1.0, 2.0], [3.0, 4.0]].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn reshape(self, shape: impl Into<Shape>) -> Self {
        self.apply(Op::Reshape(shape.into()))
    }

    /// Returns the array with its axes in reverse order: the transpose of a matrix. Nothing is copied.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0, 2.0, 3.0]]);
    /// assert_eq!(x.transpose().value(), array![[1.0], [2.0], [3.0]].into_dyn());
    /// ```
    #[doc(alias = "t")]
    #[track_caller]
    #[must_use]
    pub fn transpose(self) -> Self {
        self.apply(Op::Permute(Permutation::reversed(self.shape().len())))
    }

    /// Returns the array with its axes in another order: axis `i` of the result is axis `axes[i]`. Nothing is copied.
    ///
    /// # Panics
    ///
    /// If `axes` does not name each axis once.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::Array3;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(Array3::<f64>::zeros((2, 3, 4)));
    /// assert_eq!(x.permute([2, 0, 1]).shape().to_string(), "(4, 2, 3)");
    /// ```
    #[track_caller]
    #[must_use]
    pub fn permute(self, axes: impl AsRef<[isize]>) -> Self {
        let (axes, shape) = (axes.as_ref(), self.shape());
        let _ = self.check(AxisSet::new("permute", axes, &shape)); // in range and named once
        if axes.len() != shape.len() {
            let finding = format!("{axes:?} does not name each of the {} axes once", shape.len());
            self.check::<()>(Err(ShapeError::new("permute", &[&shape], finding)));
        }
        let index = |&axis: &isize| if axis < 0 { (axis + axes.len() as isize) as usize } else { axis as usize };
        self.apply(Op::Permute(Permutation::new(axes.iter().map(index))))
    }

    /// Returns the array repeated to a wider shape by NumPy's rule. Nothing is copied.
    ///
    /// # Derivative
    ///
    /// `g` summed over what is repeated.
    ///
    /// # Panics
    ///
    /// If the array does not broadcast to the shape.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![1.0, 2.0]);
    /// let y = x.broadcast_to([3, 2]);
    /// y.sum().backward();
    /// assert_eq!(y.value().sum(), 9.0);
    /// assert_eq!(x.grad().unwrap(), array![3.0, 3.0].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn broadcast_to(self, shape: impl Into<Shape>) -> Self {
        self.apply(Op::BroadcastTo(shape.into()))
    }

    /// Returns the sum over what broadcasting to this array's shape would repeat: the reverse of
    /// [`broadcast_to`](Self::broadcast_to).
    ///
    /// # Panics
    ///
    /// If an array of `shape` does not broadcast to this array's shape.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.sum_to([2]).value(), array![4.0, 6.0].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn sum_to(self, shape: impl Into<Shape>) -> Self {
        self.apply(Op::SumTo(shape.into()))
    }

    /// Returns a range of an axis. Nothing is copied.
    ///
    /// # Panics
    ///
    /// If the axis is out of range, or the range goes beyond it or ends before it starts.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]);
    /// assert_eq!(x.slice(0, 1..).value(), array![[3.0, 4.0], [5.0, 6.0]].into_dyn());
    /// assert_eq!(x.slice(-1, ..1).shape().to_string(), "(3, 1)");
    /// ```
    #[track_caller]
    #[must_use]
    pub fn slice(self, axis: isize, range: impl RangeBounds<usize>) -> Self {
        self.slice_step(axis, range, 1)
    }

    /// Returns every `step`-th element of a range of an axis. Nothing is copied.
    ///
    /// # Panics
    ///
    /// As [`slice`](Self::slice), and if the step is 0.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![0.0, 1.0, 2.0, 3.0, 4.0]);
    /// assert_eq!(x.slice_step(0, 1.., 2).value(), array![1.0, 3.0].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn slice_step(self, axis: isize, range: impl RangeBounds<usize>, step: usize) -> Self {
        use std::ops::Bound;
        let shape = self.shape();
        let axis = self.check(resolve_axis("slice", axis, &shape));
        let start = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&last) => last.saturating_add(1),
            Bound::Excluded(&end) => end,
            Bound::Unbounded => shape[axis],
        };
        if start > end || end > shape[axis] || step == 0 {
            let finding =
                format!("{start}..{end} in steps of {step} is no range of axis {axis} of length {}", shape[axis]);
            self.check::<()>(Err(ShapeError::new("slice", &[&shape], finding)));
        }
        let length = (end - start).div_ceil(step);
        // A step that is never taken may be of any size; as a stride it would overflow.
        let step = if length > 1 { step } else { 1 };
        self.apply(Op::Slice { axis, start, step, length })
    }

    /// Returns the given positions of an axis, in the given order; a position may occur more than once.
    ///
    /// # Derivative
    ///
    /// `g` added up at the positions that it came from.
    ///
    /// # Panics
    ///
    /// If the axis or an index is out of range.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0], [2.0], [3.0]]);
    /// let y = x.index_select(0, &[2, 0, 2]);
    /// y.sum().backward();
    /// assert_eq!(y.value(), array![[3.0], [1.0], [3.0]].into_dyn());
    /// assert_eq!(x.grad().unwrap(), array![[1.0], [0.0], [2.0]].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn index_select(self, axis: isize, indices: &[usize]) -> Self {
        let shape = self.shape();
        let axis = self.check(resolve_axis("index_select", axis, &shape));
        self.check_indices("index_select", indices, axis, &shape);
        let indices = self.tape.index_list(indices.iter().map(|&index| index as u32));
        self.apply(Op::IndexSelect { axis, indices })
    }

    /// Returns one element of each row of a matrix: `y[i] = x[i, columns[i]]`.
    ///
    /// # Shapes
    ///
    /// `(rows, columns) -> (rows)`
    ///
    /// # Derivative
    ///
    /// `g[i]` at `(i, columns[i])`, 0 elsewhere. Elements are selected, never multiplied: an infinity that is not
    /// picked leaves no trace.
    ///
    /// # Panics
    ///
    /// If the operand is not a matrix with as many rows as there are columns named, or a column is out of range.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0, 2.0], [3.0, 4.0]]);
    /// assert_eq!(x.pick(&[1, 0]).value(), array![2.0, 3.0].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn pick(self, columns: &[usize]) -> Self {
        let shape = self.shape();
        if shape.len() == 2 {
            self.check_indices("pick", columns, 1, &shape);
        }
        let columns = self.tape.index_list(columns.iter().map(|&column| column as u32));
        self.apply(Op::Pick { columns })
    }

    #[track_caller]
    pub(crate) fn check_indices(self, op: &'static str, indices: &[usize], axis: usize, shape: &[usize]) {
        let length = shape[axis];
        if let Some((position, index)) = indices.iter().enumerate().find(|&(_, &index)| index >= length) {
            let finding =
                format!("index {index} at position {position} is out of range for axis {axis} of length {length}");
            self.check::<()>(Err(ShapeError::new(op, &[shape], finding)));
        }
        let fits = u32::try_from(length).is_ok() && u32::try_from(indices.len()).is_ok();
        assert!(fits, "{op}: an axis of {length} and {} indices: at most 4,294,967,295 are possible", indices.len());
    }

    /// Returns arrays joined along an axis.
    ///
    /// # Shapes
    ///
    /// All axes but the joined one have equal lengths.
    ///
    /// # Panics
    ///
    /// If there is nothing to join, the axis is out of range, the shapes do not fit, or the operands are of
    /// different tapes.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{Tape, Var};
    ///
    /// let tape = Tape::new();
    /// let (a, b) = (tape.leaf(array![1.0, 2.0]), tape.leaf(array![3.0]));
    /// assert_eq!(Var::concat(&[a, b], 0).value(), array![1.0, 2.0, 3.0].into_dyn());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn concat(parts: &[Self], axis: isize) -> Self {
        let Some(&first) = parts.first() else { panic!("concat: there is nothing to join") };
        for &part in parts {
            first.assert_same_tape("concat", part);
        }
        let axis = first.check(resolve_axis("concat", axis, &first.shape()));
        let ids: SmallVec<[u32; 8]> = parts.iter().map(|part| part.id).collect();
        first.tape.apply(Op::Concat { axis }, &ids)
    }

    /// Applies an operation of one's own, an `Arc` of a [`CustomOp`](crate::CustomOp) or of `dyn CustomOp`; see there for an example.
    ///
    /// # Panics
    ///
    /// If there is no operand, the operation's shape rule refuses the operands, or they are of different tapes.
    #[track_caller]
    #[must_use]
    pub fn custom(op: &impl SharedOp<T>, operands: &[Self]) -> Self {
        let op = op.share();
        let Some(&first) = operands.first() else { panic!("{}: there are no operands", op.name()) };
        for &operand in operands {
            first.assert_same_tape(op.name(), operand);
        }
        let ids: SmallVec<[u32; 8]> = operands.iter().map(|operand| operand.id).collect();
        let id = first.tape.keep_custom(op);
        first.tape.apply(Op::Custom(id), &ids)
    }
}

/// Prints number, operation, shape and value.
impl<T: Scalar> fmt::Debug for Var<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}", self.tape.describe(self.id), self.value())
    }
}

macro_rules! operator {
    ($Trait:ident, $method:ident, |$a:ident, $b:ident| $number_right:expr) => {
        impl<'t, T: Scalar> $Trait for Var<'t, T> {
            type Output = Self;

            #[track_caller]
            fn $method(self, other: Self) -> Self {
                // The row's own method, which comes before the operator's.
                Var::$method(self, other)
            }
        }

        impl<'t, T: Scalar> $Trait<T> for Var<'t, T> {
            type Output = Self;

            #[track_caller]
            fn $method(self, $b: T) -> Self {
                let $a = self;
                $number_right
            }
        }
    };
}
operator!(Add, add, |x, number| x.add_number(number));
operator!(Sub, sub, |x, number| x.add_number(-number));
operator!(Mul, mul, |x, number| x.scale(number));
operator!(Div, div, |x, number| x.divide_by(number));

impl<T: Scalar> Neg for Var<'_, T> {
    type Output = Self;

    #[track_caller]
    fn neg(self) -> Self {
        self.negative()
    }
}

macro_rules! number_left {
    ($T:ident: $($Trait:ident $method:ident $row:ident),+) => { $(
        impl<'t> $Trait<Var<'t, $T>> for $T {
            type Output = Var<'t, $T>;

            #[track_caller]
            fn $method(self, x: Var<'t, $T>) -> Var<'t, $T> {
                x.$row(self)
            }
        }
    )+ };
}
number_left!(f32: Add add add_number, Sub sub subtract_from, Mul mul scale, Div div divide);
number_left!(f64: Add add add_number, Sub sub subtract_from, Mul mul scale, Div div divide);

/// Rules of the table, recorded.
impl<T: Scalar> Algebra<T> for Var<'_, T> {
    fn exp(self) -> Self {
        Var::exp(self)
    }
    fn ln(self) -> Self {
        Var::ln(self)
    }
    fn ln_1p(self) -> Self {
        Var::ln_1p(self)
    }
    fn sin(self) -> Self {
        Var::sin(self)
    }
    fn cos(self) -> Self {
        Var::cos(self)
    }
    fn sinh(self) -> Self {
        Var::sinh(self)
    }
    fn cosh(self) -> Self {
        Var::cosh(self)
    }
    fn erfc(self) -> Self {
        Var::erfc(self)
    }
    fn sqrt(self) -> Self {
        Var::sqrt(self)
    }
    fn tanh(self) -> Self {
        Var::tanh(self)
    }
    fn sigmoid(self) -> Self {
        Var::sigmoid(self)
    }
    fn abs(self) -> Self {
        Var::abs(self)
    }
    fn sign(self) -> Self {
        Var::sign(self)
    }
    fn powf(self, exponent: T) -> Self {
        Var::powf(self, exponent)
    }
    fn pow(self, exponent: Self) -> Self {
        Var::pow(self, exponent)
    }
    fn hypot(self, other: Self) -> Self {
        Var::hypot(self, other)
    }
    fn maximum(self, other: Self) -> Self {
        Var::maximum(self, other)
    }
    fn one_minus(self) -> Self {
        self.subtract_from(T::ONE)
    }
    fn gate(self, mask: Self) -> Self {
        Var::gate(self, mask)
    }
    fn within(self, low: T, high: T) -> Self {
        Var::within(self, low, high)
    }
    fn share(self, other: Self) -> Self {
        Var::share(self, other)
    }
    fn equal(self, other: Self) -> Self {
        Var::equal(self, other)
    }
    fn leaky_slope(self, slope: T) -> Self {
        Var::leaky_slope(self, slope)
    }
    fn elu_slope(self, alpha: T) -> Self {
        Var::elu_slope(self, alpha)
    }
    fn exp_difference(self, other: Self) -> Self {
        Var::exp_difference(self, other)
    }
    fn mul_or_zero(self, factor: Self) -> Self {
        Var::mul_or_zero(self, factor)
    }
    fn ratio(self, divisor: Self) -> Self {
        Var::ratio(self, divisor)
    }
    fn clamp(self, low: T, high: T) -> Self {
        Var::clamp(self, low, high)
    }
    fn div_or_zero(self, divisor: Self) -> Self {
        Var::div_or_zero(self, divisor)
    }
    fn zeros_like(self) -> Self {
        self.tape.zeros(self.shape())
    }
}
