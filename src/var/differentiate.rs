//! Differentiating: backward, gradients as values, products with vectors.

use std::panic::Location;

use ndarray::{ArrayD, IxDyn};

use crate::blame;
use crate::input::Input;
use crate::op::Linear;
use crate::scalar::Scalar;
use crate::sweep;
use crate::tape::{Detach, Step, Var};

/// Differentiating.
impl<'t, T: Scalar> Var<'t, T> {
    /// Sweeps backward from this value, a loss with one element. The gradient accumulates in every leaf and parameter
    /// that the value depends on: [`Var::grad`], [`Param::grad`](crate::Param::grad).
    ///
    /// The sweep records nothing. If a rule panics, no gradient changes. A second sweep adds to the gradients in place.
    /// If [`Var::grad`] has returned a view of a gradient, the sum goes to new memory, which the tape holds until
    /// [`Tape::reset`](crate::Tape::reset).
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
        blame::backward(self, None);
    }

    /// Sweeps backward from this value with a cotangent of its shape as the seed, and accumulates the gradient of
    /// `Σ value * seed`.
    ///
    /// A seed in an `Arc<Array>` in standard layout is not copied. The tape holds it until
    /// [`Tape::reset`](crate::Tape::reset), or until the next sweep from this value.
    ///
    /// # Panics
    ///
    /// If the seed has a different shape than the value, or the value depends on no leaf and no parameter.
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
        blame::backward(self, Some(self.tape().seed(seed)));
    }

    /// Returns the gradients of this value, a loss with one element, by `targets`.
    ///
    /// They are recorded on the same tape and can be differentiated again. A target may be any value on the tape.
    /// `.grad()` of leaves and parameters does not change. The recorded gradients stay until
    /// [`Tape::reset`](crate::Tape::reset), so a loop that calls this without a reset makes the tape longer at each
    /// pass.
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
    #[doc(alias = "autograd")]
    #[track_caller]
    #[must_use]
    pub fn grads(self, targets: &[Self]) -> Vec<Self> {
        let grads = self.grads_or_none(targets);
        self.all_reached("grads", grads, targets)
    }

    /// Returns the gradient by one target, like [`grads`](Self::grads).
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

    /// Returns the gradients like [`grads`](Self::grads), and `None` for a target that the value does not depend on.
    ///
    /// # Panics
    ///
    /// If the value has more than one element.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let (x, unused) = (tape.leaf(3.0), tape.leaf(1.0));
    /// let grads = x.square().grads_or_none(&[x, unused]);
    /// assert_eq!(grads[0].unwrap().item(), 6.0);
    /// assert!(grads[1].is_none());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn grads_or_none(self, targets: &[Self]) -> Vec<Option<Self>> {
        self.assert_single("grads");
        for &target in targets {
            self.assert_same_tape("grads", target);
        }
        sweep::grad(self, None, targets, Location::caller())
    }

    /// Returns the gradients like [`grads`](Self::grads), and zeros for a target that the value does not depend on.
    ///
    /// Such a zero hides a mistake as well as a constant: [`grads_or_none`](Self::grads_or_none) tells them apart.
    ///
    /// # Panics
    ///
    /// If the value has more than one element.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let (x, unused) = (tape.leaf(3.0), tape.leaf(array![1.0, 2.0]));
    /// let grads = x.square().grads_or_zeros(&[x, unused]);
    /// assert_eq!(grads[0].item(), 6.0);
    /// assert_eq!(grads[1].value(), array![0.0, 0.0].into_dyn());
    /// ```
    #[doc(alias = "materialize_grads")]
    #[track_caller]
    #[must_use]
    pub fn grads_or_zeros(self, targets: &[Self]) -> Vec<Self> {
        or_zeros(self.grads_or_none(targets), targets)
    }

    /// Returns the vector-Jacobian products of this value with a cotangent of its shape, by `targets`: the gradients of
    /// `Σ value * cotangent`, where the cotangent is constant.
    ///
    /// They are recorded and can be differentiated again, also by the cotangent. For a loss with one element and the
    /// cotangent 1 they are the gradients, [`grads`](Self::grads).
    ///
    /// # Panics
    ///
    /// If the cotangent has a different shape than the value or is on a different tape, or the value does not depend on
    /// one of the targets (see [`vjp_or_none`](Self::vjp_or_none)).
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

    /// Returns the products like [`vjp`](Self::vjp), and `None` for a target that the value does not depend on.
    ///
    /// # Panics
    ///
    /// If the cotangent has a different shape than the value, or an operand is on a different tape.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let (x, unused) = (tape.leaf(array![1.0, 2.0]), tape.leaf(1.0));
    /// let pulled = x.square().vjp_or_none(tape.constant(array![1.0, 10.0]), &[x, unused]);
    /// assert_eq!(pulled[0].unwrap().value(), array![2.0, 40.0].into_dyn());
    /// assert!(pulled[1].is_none());
    /// ```
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

    /// Returns the products like [`vjp`](Self::vjp), and zeros for a target that the value does not depend on.
    ///
    /// # Panics
    ///
    /// If the cotangent has a different shape than the value, or an operand is on a different tape.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let (x, unused) = (tape.leaf(array![1.0, 2.0]), tape.leaf(1.0));
    /// let pulled = x.square().vjp_or_zeros(tape.constant(array![1.0, 10.0]), &[x, unused]);
    /// assert_eq!(pulled[0].value(), array![2.0, 40.0].into_dyn());
    /// assert_eq!(pulled[1].item(), 0.0);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn vjp_or_zeros(self, cotangent: Self, targets: &[Self]) -> Vec<Self> {
        or_zeros(self.vjp_or_none(cotangent, targets), targets)
    }

    /// Returns the vector-Jacobian products of this value with a cotangent of its shape, by leaves and parameters, as
    /// arrays; `None` for one that the value does not depend on.
    ///
    /// The sweep records nothing, and no stored gradient changes: so many cotangents can be pulled back on one tape, row
    /// by row of a Jacobian, without [`Tape::zero_grad`](crate::Tape::zero_grad). [`vjp`](Self::vjp) gives products that
    /// can be differentiated again, by any value.
    ///
    /// # Panics
    ///
    /// If the cotangent has a different shape than the value, or a source is on a different tape or neither a leaf nor a
    /// parameter. On a [`checked`](crate::Tape::checked) tape, if a rule makes a number that is not finite.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![2.0, 3.0]);
    /// let y = x.square(); // the Jacobian is diag(2 x)
    /// for (row, cotangent) in [array![1.0, 0.0], array![0.0, 1.0]].into_iter().enumerate() {
    ///     let pulled = y.vjp_arrays(&cotangent, &[x]);
    ///     assert_eq!(pulled[0], Some((cotangent * [4.0, 6.0][row]).into_dyn()));
    /// }
    /// assert_eq!(x.grad(), None);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn vjp_arrays(self, cotangent: impl Input<T>, sources: &[Self]) -> Vec<Option<ArrayD<T>>> {
        let (found, shape) = (cotangent.dims(), self.shape());
        assert!(found == shape, "vjp_arrays: a cotangent of shape {found} for a value of shape {shape}");
        for (k, &source) in sources.iter().enumerate() {
            self.assert_same_tape("vjp_arrays", source);
            let is_source = matches!(self.tape().nodes().step(source.id()), Step::Leaf | Step::Param);
            assert!(
                is_source,
                "vjp_arrays: source {k} is neither a leaf nor a parameter: {}",
                self.tape().describe(source.id())
            );
        }
        let array = |(grad, source): (Option<Vec<T>>, &Self)| {
            let array = ArrayD::from_shape_vec(IxDyn(&source.shape()), grad?);
            Some(array.expect("a gradient has the shape of its source"))
        };
        let seed = self.tape().seed(cotangent);
        let grads = blame::source_grads(self, Some(seed.values()), sources);
        seed.give_back(self.tape().pool());
        grads.into_iter().zip(sources).map(array).collect()
    }

    /// Returns the Jacobian-vector product of this value with `tangents` of the targets: the derivative
    /// `Σ ∂value/∂target · tangent` as every target moves along its tangent.
    ///
    /// This is forward mode: it visits the recorded operations once, in order. The result is recorded and can be
    /// differentiated again. The rules are those of [`vjp`](Self::vjp). The rule of an elementwise operation serves in
    /// both directions. A linear operation is its own jvp. For any other operation the jvp is the vjp of its vjp: the
    /// vjp is linear in its cotangent, and its vjp by that cotangent is the jvp (J. Townsend, 2017).
    ///
    /// # Panics
    ///
    /// If the number of tangents is not the number of targets, a tangent has a different shape than its target, an
    /// operand is on a different tape, or the value depends on none of the targets (see
    /// [`jvp_or_none`](Self::jvp_or_none)).
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
            None => panic!("jvp: the value depends on none of the targets: {}", self.tape().describe(self.id())),
        }
    }

    /// Returns the product like [`jvp`](Self::jvp), and `None` if the value depends on none of the targets.
    ///
    /// # Panics
    ///
    /// Like [`jvp`](Self::jvp), except for a value that depends on no target.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let (x, unused, one) = (tape.leaf(3.0), tape.leaf(1.0), tape.constant(1.0));
    /// assert_eq!(x.square().jvp_or_none(&[x], &[one]).unwrap().item(), 6.0);
    /// assert!(x.square().jvp_or_none(&[unused], &[one]).is_none());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn jvp_or_none(self, targets: &[Self], tangents: &[Self]) -> Option<Self> {
        self.assert_tangents("jvp", targets, tangents);
        sweep::jvp(self.tape(), &[self], targets, tangents, Location::caller()).pop().flatten()
    }

    /// Returns the Hessian-vector products of this value, a loss with one element: for each target, the derivative of
    /// its gradient as every target moves along its vector.
    ///
    /// They are the jvp of the gradients; the Hessian itself is never formed. The result is recorded and can be
    /// differentiated again. If a gradient is constant, its product is 0.
    ///
    /// # Panics
    ///
    /// If the value has more than one element or does not depend on one of the targets, the number of vectors is not
    /// the number of targets, a vector has a different shape than its target, or an operand is on a different tape.
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
        let _naming = self.tape().attribute_to(Location::caller());
        let grads = {
            // The gradients are differentiated once more here, even if the product itself is detached.
            let _attaching = self.tape().detach_all(Detach::No);
            self.grads(targets)
        };
        let pushed = sweep::jvp(self.tape(), &grads, targets, vectors, Location::caller());
        let along = |(pushed, grad): (Option<Self>, &Self)| pushed.unwrap_or_else(|| self.tape().zeros(grad.shape()));
        pushed.into_iter().zip(&grads).map(along).collect()
    }

    /// Returns the value detached: every derivative treats it as a constant. No data is copied.
    ///
    /// To detach several values see [`Tape::no_grad`](crate::Tape::no_grad).
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
        let _detaching = self.tape().detach_all(Detach::Yes);
        self.apply(Linear::BroadcastTo { shape: self.shape() })
    }

    /// Returns the gradients, or panics for the first target without one.
    #[track_caller]
    fn all_reached(self, method: &str, grads: Vec<Option<Self>>, targets: &[Self]) -> Vec<Self> {
        let mut result = Vec::with_capacity(targets.len());
        for (k, grad) in grads.into_iter().enumerate() {
            let Some(grad) = grad else {
                panic!("{method}: the value does not depend on target {k}: {}", self.tape().describe(targets[k].id()));
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
        let needs_grad = self.tape().nodes().node(self.id()).needs_grad;
        assert!(
            needs_grad,
            "backward: the value depends on no leaf and no parameter: {}",
            self.tape().describe(self.id())
        );
    }
}

/// Returns the gradients. Where there is no gradient, it gives zeros of the target's shape.
#[track_caller]
fn or_zeros<'t, T: Scalar>(grads: Vec<Option<Var<'t, T>>>, targets: &[Var<'t, T>]) -> Vec<Var<'t, T>> {
    let mut result = Vec::with_capacity(targets.len());
    for (grad, target) in grads.into_iter().zip(targets) {
        result.push(match grad {
            Some(grad) => grad,
            None => target.tape().zeros(target.shape()),
        });
    }
    result
}
