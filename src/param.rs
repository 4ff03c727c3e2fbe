//! [`Param`]: a trainable array and its gradient.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ndarray::{Array, ArrayD, Dimension, IxDyn};

use crate::kernel::elementwise::{add_assign, map_in_place};
use crate::kernel::update::ParamUpdate;
use crate::number::inlined;
use crate::scalar::Scalar;
use crate::shape::Shape;
use crate::threads;

/// A trainable array: its value and its gradient, shared by a layer, the tapes that record it, and an optimizer.
///
/// A `Param` is a cheap handle: its clones are the same parameter. Threads can share it. A parameter may be used twice,
/// by one layer or by two tied layers: both contributions accumulate in its one gradient.
///
/// [`value`](Self::value) and [`grad`](Self::grad) return snapshots. A snapshot never changes, and neither does a value
/// that a tape recorded: while either exists, an update writes to other memory. Otherwise it works in place.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::{Param, Tape};
///
/// let w = Param::new(array![1.0, 2.0]);
/// assert!(w.grad().is_none()); // never reached
///
/// let tape = Tape::new();
/// let v = tape.param(&w);
/// (v * v).sum().backward();
/// assert_eq!(*w.grad().unwrap(), array![2.0, 4.0].into_dyn());
///
/// w.update(0.5); // w -= 0.5 * grad
/// assert_eq!(*w.value(), array![0.0, 0.0].into_dyn());
/// assert_eq!(v.value(), array![1.0, 2.0].into_dyn()); // the tape gives what was recorded
/// ```
pub struct Param<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    name: String,
    shape: Shape,
    state: Mutex<State<T>>,
}

struct State<T> {
    value: Arc<ArrayD<T>>,
    /// The memory of the previous value, for the next update that must not work in place.
    spare: Option<Arc<ArrayD<T>>>,
    /// The gradient, or the memory for it while `reached` is false.
    grad: Option<Arc<ArrayD<T>>>,
    /// Memory for the next contribution: that of the last one that was added to the gradient.
    contribution: Option<Arc<ArrayD<T>>>,
    /// Whether a backward pass has reached the parameter since the gradient was cleared.
    reached: bool,
}

/// Gradients of more elements than this change places with the earlier ones; others are copied.
const EXCHANGED: usize = 1024;

impl<T> Clone for Param<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T: Scalar> Param<T> {
    /// Returns a parameter with this value and no gradient.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Param;
    ///
    /// let w = Param::new(array![[1.0, 2.0]]);
    /// assert_eq!(*w.value(), array![[1.0, 2.0]].into_dyn());
    /// assert!(w.grad().is_none());
    /// ```
    #[must_use]
    pub fn new<D: Dimension>(value: Array<T, D>) -> Self {
        Self::named("", value)
    }

    /// Returns a parameter with this value and a name for messages.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Param;
    ///
    /// let w = Param::named("weight", array![[1.0, 2.0]]);
    /// assert_eq!(w.name(), "weight");
    /// assert_eq!(w.shape().to_string(), "(1, 2)");
    /// ```
    #[must_use]
    pub fn named<D: Dimension>(name: impl Into<String>, value: Array<T, D>) -> Self {
        let value = standard(value.into_dyn());
        let shape = Shape::from(value.shape());
        let state = State { value: Arc::new(value), spare: None, grad: None, contribution: None, reached: false };
        Self { shared: Arc::new(Shared { name: name.into(), shape, state: Mutex::new(state) }) }
    }

    /// Returns the name, empty if none was given.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Param;
    ///
    /// assert_eq!(Param::named("bias", array![0.0]).name(), "bias");
    /// assert_eq!(Param::new(array![0.0]).name(), "");
    /// ```
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Returns the shape, which never changes.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Param;
    ///
    /// assert_eq!(Param::new(array![[1.0, 2.0, 3.0]]).shape()[..], [1, 3]);
    /// ```
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shared.shape
    }

    /// Returns whether both handles refer to the same parameter.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Param;
    ///
    /// let w = Param::new(array![1.0]);
    /// assert!(w.is(&w.clone()));
    /// assert!(!w.is(&Param::new(array![1.0]))); // equal, and another parameter
    /// ```
    #[must_use]
    #[inline]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Returns a snapshot of the value, without copying it.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Param;
    ///
    /// let w = Param::new(array![1.0]);
    /// let before = w.value();
    /// w.set_value(array![2.0]);
    /// assert_eq!((before[0], w.value()[0]), (1.0, 2.0)); // a snapshot stays as it is
    /// ```
    #[must_use]
    #[inline]
    pub fn value(&self) -> Arc<ArrayD<T>> {
        Arc::clone(&self.state().value)
    }

    /// Replaces the value.
    ///
    /// # Panics
    ///
    /// If the new value has another shape.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Param;
    ///
    /// let w = Param::new(array![1.0, 2.0]);
    /// w.set_value(array![3.0, 4.0]);
    /// assert_eq!(*w.value(), array![3.0, 4.0].into_dyn());
    /// ```
    #[track_caller]
    pub fn set_value<D: Dimension>(&self, value: Array<T, D>) {
        let value = standard(value.into_dyn());
        let found = Shape::from(value.shape());
        assert!(found == self.shared.shape, "{self:?}: a value of shape {found} does not fit");
        self.state().value = Arc::new(value);
    }

    /// Returns a snapshot of the accumulated gradient, without copying it.
    ///
    /// It is `None` if no backward pass has reached the parameter since the last [`zero_grad`](Self::zero_grad).
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::{Param, Tape};
    ///
    /// let w = Param::new(array![3.0]);
    /// assert!(w.grad().is_none());
    /// let tape = Tape::new();
    /// tape.param(&w).square().sum().backward();
    /// assert_eq!(w.grad().unwrap()[0], 6.0);
    /// ```
    #[must_use]
    pub fn grad(&self) -> Option<Arc<ArrayD<T>>> {
        let state = self.state();
        if state.reached { state.grad.clone() } else { None }
    }

    /// Clears the gradient: [`grad`](Self::grad) is `None` again. Its memory is kept.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Param;
    ///
    /// let w = Param::new(array![3.0]);
    /// w.accumulate_grad(&array![1.0].into_dyn());
    /// w.zero_grad();
    /// assert!(w.grad().is_none());
    /// ```
    pub fn zero_grad(&self) {
        self.state().reached = false;
    }

    /// Adds `g` to the gradient.
    ///
    /// # Panics
    ///
    /// If `g` has another shape than the parameter.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Param;
    ///
    /// let w = Param::new(array![0.0, 0.0]);
    /// w.accumulate_grad(&array![1.0, 2.0].into_dyn());
    /// w.accumulate_grad(&array![1.0, 2.0].into_dyn());
    /// assert_eq!(*w.grad().unwrap(), array![2.0, 4.0].into_dyn());
    /// ```
    #[track_caller]
    pub fn accumulate_grad(&self, g: &ArrayD<T>) {
        let found = Shape::from(g.shape());
        assert!(found == self.shared.shape, "{self:?}: a gradient of shape {found} does not fit");
        self.accumulate_with(|contribution| contribution.iter_mut().zip(g).for_each(|(to, &g)| *to = g));
    }

    /// Takes a step of gradient descent, `value -= gradient_step * grad`. Without a gradient it does nothing.
    ///
    /// Two threads must not update one parameter at the same time: one of the updates may be lost.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Param;
    ///
    /// let w = Param::new(array![3.0]);
    /// w.accumulate_grad(&array![4.0].into_dyn());
    /// w.update(0.25);
    /// assert_eq!(w.value()[0], 2.0); // 3 - 0.25 · 4
    /// ```
    pub fn update(&self, gradient_step: T) {
        self.step(move |update, grad| update.map(grad, inlined!(|w, g| w - gradient_step * g)));
    }

    /// Replaces every element of the gradient. A snapshot of it stays as it is. Without a gradient it does nothing.
    pub(crate) fn map_grad(&self, f: impl Fn(T) -> T) {
        let state = &mut *self.state();
        if let Some(grad) = state.grad.as_mut().filter(|_| state.reached) {
            Arc::make_mut(grad).iter_mut().for_each(|g| *g = f(*g));
        }
    }

    /// Adds the contribution that `compute` writes. Its slice has arbitrary contents, and it must write every element.
    ///
    /// `compute` runs without the lock. A kernel that shares its work among threads may run another task while it
    /// waits, and that task may add to the same parameter.
    pub(crate) fn accumulate_with(&self, compute: impl FnOnce(&mut [T])) {
        if is_collecting() {
            let mut memory = collecting(|gradients| gradients.memory(self));
            memory.resize(self.shared.shape.elements(), T::ZERO);
            compute(&mut memory);
            return collecting(|gradients| gradients.add_computed(self, memory));
        }
        let unused = {
            let state = &mut *self.state();
            // Memory with a snapshot must stay as it is.
            let cleared = if state.reached { None } else { state.grad.take() };
            cleared.filter(|memory| Arc::strong_count(memory) == 1).or_else(|| state.contribution.take())
        };
        let mut memory = unused.unwrap_or_else(|| zeros(&self.shared.shape));
        let contribution = Arc::get_mut(&mut memory).and_then(|memory| memory.as_slice_mut());
        compute(contribution.expect("the memory has no other owner, and standard layout"));

        let state = &mut *self.state();
        if state.reached
            && let Some(grad) = state.grad.as_mut()
            && let (Some(grad), Some(g)) = (Arc::make_mut(grad).as_slice_mut(), memory.as_slice())
        {
            // Under the lock: see `step`.
            threads::alone(|| add_assign(grad, g));
            state.contribution = Some(memory);
        } else {
            state.grad = Some(memory);
            state.reached = true;
        }
    }

    /// Adds a contribution that the caller gives away, and returns a buffer that became free, if any. The first
    /// contribution becomes the gradient without a copy.
    pub(crate) fn accumulate_owned(&self, g: Vec<T>) -> Option<Vec<T>> {
        if is_collecting() {
            return collecting(|gradients| gradients.add(self, g));
        }
        let state = &mut *self.state();
        if !state.reached
            && let Some(grad) = state.grad.as_mut().and_then(Arc::get_mut)
        {
            // To copy a few numbers takes less time than to exchange two arrays.
            if g.len() <= EXCHANGED
                && let Some(grad) = grad.as_slice_mut()
            {
                grad.copy_from_slice(&g);
                state.reached = true;
                return Some(g);
            }
            let array = ArrayD::from_shape_vec(grad.raw_dim(), g).expect("a cotangent has its parameter's shape");
            state.reached = true;
            return Some(mem::replace(grad, array).into_raw_vec_and_offset().0);
        }
        if !state.reached {
            let array = ArrayD::from_shape_vec(IxDyn(&self.shared.shape), g);
            state.grad = Some(Arc::new(array.expect("a cotangent has its parameter's shape")));
            state.reached = true;
            return None;
        }
        if let Some(grad) = state.grad.as_mut()
            && let Some(grad) = Arc::make_mut(grad).as_slice_mut()
        {
            threads::alone(|| add_assign(grad, &g));
        }
        Some(g)
    }

    /// Lends value and gradient to an optimizer's rule. Without a gradient it does nothing.
    ///
    /// A rule that shares its work among threads runs without the lock, like [`accumulate_with`](Self::accumulate_with),
    /// and writes to other memory.
    pub(crate) fn step(&self, rule: impl FnOnce(ParamUpdate<'_, T>, &[T])) {
        let mut state = self.state();
        let large = state.grad.as_ref().is_some_and(|grad| grad.len() >= 2 * threads::PIECE);
        if !large || threads::count() == 1 {
            return state.step(&self.shared.shape, rule);
        }
        let Some(grad) = state.grad.clone().filter(|_| state.reached) else { return };
        let (mut next, value) = (unused(&mut state.spare, &self.shared.shape), Arc::clone(&state.value));
        drop(state);
        rule(moved(&value, &mut next), grad.as_slice().expect("gradients are in standard layout"));
        drop(value);
        self.state().replace(next);
    }

    #[inline]
    fn state(&self) -> MutexGuard<'_, State<T>> {
        // A panic under the lock may leave a mixture of old and new numbers. The state is still consistent.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Scalar> State<T> {
    /// Runs an optimizer's rule: in place if there is no snapshot; else the new value goes to other memory.
    fn step(&mut self, shape: &Shape, rule: impl FnOnce(ParamUpdate<'_, T>, &[T])) {
        let Some(grad) = self.grad.as_ref().filter(|_| self.reached).and_then(|grad| grad.as_slice()) else { return };
        if let Some(value) = Arc::get_mut(&mut self.value) {
            return rule(ParamUpdate::InPlace(slice_mut(value)), grad);
        }
        let mut next = unused(&mut self.spare, shape);
        rule(moved(&self.value, &mut next), grad);
        self.replace(next);
    }

    /// Replaces the value and keeps its memory.
    fn replace(&mut self, next: Arc<ArrayD<T>>) {
        self.spare = Some(mem::replace(&mut self.value, next));
    }
}

/// Returns the spare memory, unless that has a snapshot, too.
fn unused<T: Scalar>(spare: &mut Option<Arc<ArrayD<T>>>, shape: &Shape) -> Arc<ArrayD<T>> {
    spare.take().filter(|spare| Arc::strong_count(spare) == 1).unwrap_or_else(|| zeros(shape))
}

/// Returns the update that reads a value and writes to memory without another owner.
fn moved<'a, T: Scalar>(value: &'a ArrayD<T>, next: &'a mut Arc<ArrayD<T>>) -> ParamUpdate<'a, T> {
    let to = slice_mut(Arc::get_mut(next).expect("the memory is new or has no other owner"));
    ParamUpdate::Moved { from: value.as_slice().expect("values are in standard layout"), to }
}

fn slice_mut<T>(array: &mut ArrayD<T>) -> &mut [T] {
    array.as_slice_mut().expect("values are in standard layout")
}

fn zeros<T: Scalar>(shape: &Shape) -> Arc<ArrayD<T>> {
    Arc::new(ArrayD::zeros(IxDyn(shape)))
}

/// Returns the array in standard layout.
fn standard<T: Scalar>(array: ArrayD<T>) -> ArrayD<T> {
    if array.is_standard_layout() { array } else { array.as_standard_layout().into_owned() }
}

impl<T> fmt::Debug for Param<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.shared.name;
        write!(f, "Param{}{name} {}", if name.is_empty() { "" } else { " " }, self.shared.shape)
    }
}

thread_local! {
    /// Where the contributions of this thread go while a chunk runs on it: a box of [`Gradients`].
    static COLLECTED: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
}

#[inline]
fn is_collecting() -> bool {
    COLLECTED.with_borrow(Option::is_some)
}

/// Calls `f` with the gradients that this thread collects.
///
/// # Panics
///
/// If they are of another number type.
fn collecting<T: Scalar, R>(f: impl FnOnce(&mut Gradients<T>) -> R) -> R {
    COLLECTED.with_borrow_mut(|collected| {
        let gradients = collected.as_mut().and_then(|gradients| gradients.downcast_mut());
        match gradients {
            Some(gradients) => f(gradients),
            None => panic!("a chunk of another number type has a contribution to a parameter of {}", T::DTYPE),
        }
    })
}

/// Gradients of parameters, apart from the parameters: the sum over some rows of a batch.
///
/// The memory stays when the gradients are moved elsewhere or cleared.
pub(crate) struct Gradients<T> {
    entries: Vec<Entry<T>>,
    /// The entry after the one that was used last. Passes reach parameters in the same order again and again.
    next: usize,
    /// Memory for a contribution that is added.
    contribution: Vec<T>,
}

struct Entry<T> {
    param: Param<T>,
    /// The gradient, or memory for one.
    g: Vec<T>,
    reached: bool,
}

impl<T: Scalar> Gradients<T> {
    pub(crate) fn new() -> Self {
        Self { entries: Vec::new(), next: 0, contribution: Vec::new() }
    }

    /// Runs `f`. Until it ends, all contributions of this thread to parameters come here and not to the parameters. If
    /// `f` panics, they are lost.
    pub(crate) fn collect<R>(self: Box<Self>, f: impl FnOnce() -> R) -> (Box<Self>, R) {
        struct Restore(Option<Box<dyn Any>>);
        impl Drop for Restore {
            fn drop(&mut self) {
                COLLECTED.set(self.0.take());
            }
        }
        let _restore = Restore(COLLECTED.replace(Some(self)));
        let result = f();
        let gradients = COLLECTED.take().and_then(|gradients| gradients.downcast().ok());
        (gradients.expect("whoever replaces the box puts it back"), result)
    }

    fn entry(&mut self, param: &Param<T>) -> &mut Entry<T> {
        let expected = self.entries.get(self.next).is_some_and(|entry| entry.param.is(param));
        let position = if expected { Some(self.next) } else { self.entries.iter().position(|e| e.param.is(param)) };
        let position = position.unwrap_or_else(|| {
            self.entries.push(Entry { param: param.clone(), g: Vec::new(), reached: false });
            self.entries.len() - 1
        });
        self.next = position + 1;
        &mut self.entries[position]
    }

    /// Adds a contribution that the caller gives away, and returns a buffer that became free, if any.
    fn add(&mut self, param: &Param<T>, mut g: Vec<T>) -> Option<Vec<T>> {
        let entry = self.entry(param);
        if entry.reached {
            add_assign(&mut entry.g, &g);
        } else {
            mem::swap(&mut entry.g, &mut g);
            entry.reached = true;
        }
        (g.capacity() > 0).then_some(g)
    }

    /// Returns memory for a contribution.
    fn memory(&mut self, param: &Param<T>) -> Vec<T> {
        let entry = self.entry(param);
        let unused = if entry.reached { &mut self.contribution } else { &mut entry.g };
        mem::take(unused)
    }

    /// Adds a contribution in memory from [`memory`](Self::memory).
    fn add_computed(&mut self, param: &Param<T>, g: Vec<T>) {
        if let Some(unused) = self.add(param, g) {
            self.contribution = unused;
        }
    }

    /// Multiplies all gradients by a number.
    pub(crate) fn scale(&mut self, factor: T) {
        for entry in self.entries.iter_mut().filter(|entry| entry.reached) {
            map_in_place(&mut entry.g, inlined!(|g| factor * g));
        }
    }

    /// Adds the gradients of later rows, which are cleared.
    pub(crate) fn add_all(&mut self, later: &mut Self) {
        for Entry { param, g, reached } in &mut later.entries {
            if mem::take(reached)
                && let Some(unused) = self.add(param, mem::take(g))
            {
                *g = unused;
            }
        }
    }

    /// Adds the gradients to those of their parameters, and clears them here.
    pub(crate) fn accumulate(&mut self) {
        for Entry { param, g, reached } in &mut self.entries {
            if mem::take(reached)
                && let Some(unused) = param.accumulate_owned(mem::take(g))
            {
                *g = unused;
            }
        }
    }

    /// Calls `f` with each parameter that has a gradient here.
    #[cfg(feature = "mpi")]
    pub(crate) fn each(&self, mut f: impl FnMut(&Param<T>, &[T])) {
        self.entries.iter().filter(|entry| entry.reached).for_each(|entry| f(&entry.param, &entry.g));
    }

    /// Forgets all gradients and keeps their memory.
    pub(crate) fn clear(&mut self) {
        self.entries.iter_mut().for_each(|entry| entry.reached = false);
    }
}
