//! Reading: values, shapes, gradients.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use ndarray::{ArrayView, ArrayViewD, Dimension};

use crate::scalar::Scalar;
use crate::shape::Shape;
use crate::tape::Var;

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
    #[track_caller]
    pub fn value(self) -> ArrayViewD<'t, T> {
        self.tape().note_read(self.id(), Location::caller());
        self.tape().array(self.id())
    }

    /// Returns the value with its number of axes in the type: `value_as::<Ix2>()` is a view of a matrix.
    ///
    /// # Panics
    ///
    /// If the value has another number of axes.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::{Ix2, array};
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0, 2.0], [3.0, 4.0]]);
    /// let matrix = (x * 2.0).value_as::<Ix2>();
    /// assert_eq!(matrix.row(1), array![6.0, 8.0]);
    /// ```
    #[must_use]
    #[track_caller]
    pub fn value_as<D: Dimension>(self) -> ArrayView<'t, T, D> {
        with_axes("value_as", self.value())
    }

    /// Returns the only element of a value with one element.
    ///
    /// # Panics
    ///
    /// If the value does not have exactly one element.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// assert_eq!(tape.leaf(array![1.0, 2.0]).sum().item(), 3.0);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn item(self) -> T {
        let value = self.value();
        assert!(value.len() == 1, "item: a value of shape {} is not a single number", self.shape());
        value.first().copied().expect("there is one element")
    }

    /// Returns the answer to a question about the only element of a value.
    ///
    /// A [`Program`](crate::Program) asks the question again in each run. If the answer is another, the run ends with
    /// an error, because the code might have recorded something else. (After [`item`](Self::item), which leaves open
    /// what the code does with the number, a run must find the same number again.)
    ///
    /// # Panics
    ///
    /// If the value does not have exactly one element.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(3.0);
    /// let y = if x.decide(|x| x > 0.0) { x.sqrt() } else { x * 0.0 };
    /// assert_eq!(y.item(), 3.0_f64.sqrt());
    /// ```
    #[track_caller]
    #[must_use]
    pub fn decide(self, question: impl Fn(T) -> bool + Send + Sync + 'static) -> bool {
        let value = self.tape().array(self.id());
        assert!(value.len() == 1, "decide: a value of shape {} is not a single number", self.shape());
        let answer = question(value.first().copied().expect("there is one element"));
        self.tape().note_question(self.id(), Arc::new(question), answer, Location::caller());
        answer
    }

    /// Returns the shape.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0, 2.0, 3.0]]);
    /// assert_eq!(x.shape().to_string(), "(1, 3)");
    /// assert_eq!(x.shape()[1], 3);
    /// ```
    #[must_use]
    pub fn shape(self) -> Shape {
        Shape::from(self.tape().nodes().shape(self.id()))
    }

    /// Returns the number of elements.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
    /// assert_eq!((x.len(), x.ndim(), x.is_empty()), (6, 2, false));
    /// ```
    #[doc(alias = "numel")]
    #[doc(alias = "elem_count")]
    #[must_use]
    pub fn len(self) -> usize {
        self.shape().elements()
    }

    /// Returns whether there are no elements.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::Array1;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// assert!(tape.leaf(Array1::<f64>::zeros(0)).is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Returns the number of axes; 0 for a single number.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// assert_eq!((tape.leaf(1.0).ndim(), tape.leaf(array![[1.0]]).ndim()), (0, 2));
    /// ```
    #[doc(alias = "dim")]
    #[doc(alias = "rank")]
    #[must_use]
    pub fn ndim(self) -> usize {
        self.shape().len()
    }

    /// Returns the accumulated gradient of a leaf or a parameter; `None` if no backward sweep has reached it since it
    /// was recorded or cleared.
    ///
    /// Only leaves and parameters keep a gradient. For the gradient by any other value, or by a constant, use
    /// [`grads`](Self::grads) of the loss. The view is a snapshot: a later sweep does not change it. For a parameter
    /// each call copies the gradient, and the tape holds the copy until [`Tape::reset`](crate::Tape::reset).
    /// [`Param::grad`](crate::Param::grad) makes no copy.
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
    /// assert!(unused.grad().is_none()); // not reached: `None`, not 0
    /// ```
    #[must_use]
    pub fn grad(self) -> Option<ArrayViewD<'t, T>> {
        let param = self.tape().nodes().param(self.id()).cloned();
        match param {
            Some(param) => param.grad().map(|grad| self.tape().keep(&grad)),
            None => self.tape().leaf_grad(self.id()),
        }
    }

    /// Returns the gradient like [`grad`](Self::grad), with its number of axes in the type.
    ///
    /// # Panics
    ///
    /// If the gradient has another number of axes.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::{Ix1, array};
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![1.0, 2.0]);
    /// x.square().sum().backward();
    /// let slope = x.grad_as::<Ix1>().unwrap();
    /// assert_eq!(slope[1], 4.0);
    /// ```
    #[must_use]
    #[track_caller]
    pub fn grad_as<D: Dimension>(self) -> Option<ArrayView<'t, T, D>> {
        let grad = self.grad()?;
        Some(with_axes("grad_as", grad))
    }
}

/// Returns an array with its number of axes in the type.
#[track_caller]
fn with_axes<'t, T, D: Dimension>(method: &str, array: ArrayViewD<'t, T>) -> ArrayView<'t, T, D> {
    let (shape, expected) = (Shape::from(array.shape()), D::NDIM);
    match array.into_dimensionality() {
        Ok(array) => array,
        Err(_) => panic!("{method}: an array of shape {shape}, expected {} axes", expected.unwrap_or(0)),
    }
}

/// Prints number, operation, shape and value.
impl<T: Scalar> fmt::Debug for Var<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}", self.tape().describe(self.id()), self.tape().array(self.id()))
    }
}
