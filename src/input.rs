//! [`Input`]: arrays of any dimension, owned, borrowed or shared, and numbers, as arguments of a tape.

use std::sync::Arc;

use ndarray::{Array, ArrayBase, ArrayRef, Data, Dimension};

use crate::number::Number;
use crate::shape::Shape;

/// Memory that a tape shares with others.
pub trait SharedStorage<T>: Send + Sync {
    /// Returns the elements in row-major order.
    fn values(&self) -> &[T];
}

impl<T: Number, D: Dimension> SharedStorage<T> for Array<T, D> {
    fn values(&self) -> &[T] {
        self.as_slice().expect("only arrays in standard layout are shared")
    }
}

mod sealed {
    use super::{Arc, Shape, SharedStorage};

    pub trait Sealed<T>: Sized {
        /// Returns the lengths of the axes.
        fn dims(&self) -> Shape;
        /// Writes the elements in row-major order.
        fn write_to(self, out: &mut [T]);
        /// Returns the memory itself if it can be shared, else the array.
        fn hand_over(self) -> Result<Arc<dyn SharedStorage<T>>, Self> {
            Err(self)
        }
    }
}
pub(crate) use sealed::Sealed;

/// The arguments of [`Tape::leaf`](crate::Tape::leaf), [`Tape::constant`](crate::Tape::constant) and
/// [`Var::backward_with`](crate::Var::backward_with): arrays and views of any dimension by value or reference,
/// `Arc<Array>`, and numbers.
///
/// Elements are copied to the tape's own memory. Only an `Arc<Array>` in standard layout is shared instead. The trait
/// is sealed.
///
/// # Example
///
/// ```
/// use ndarray::{arr0, array};
/// use tapegrad::Tape;
///
/// let tape = Tape::new();
/// let a = array![[1.0, 2.0], [3.0, 4.0]];
/// assert_eq!(tape.leaf(&a).shape().to_string(), "(2, 2)");
/// assert_eq!(tape.leaf(a.row(1)).shape().to_string(), "(2,)"); // a view
/// assert_eq!(tape.leaf(a.t()).value()[[0, 1]], 3.0);           // in any layout
/// assert_eq!(tape.leaf(arr0(5.0)).item(), tape.leaf(5.0).item());
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be put on a tape of `{T}`",
    label = "expected an array or a number of type `{T}`",
    note = "write a number with a decimal point (`2.0`); for a list of numbers use `array![..]` of ndarray",
    note = "convert the elements of an array of another type: `array.mapv(T::from)`",
    note = "a `Param` is recorded by `tape.param(&param)`; a `Var` is on a tape already"
)]
pub trait Input<T>: Sealed<T> {}

impl<T, I: Sealed<T>> Input<T> for I {}

impl<T: Number, D: Dimension> Sealed<T> for &ArrayRef<T, D> {
    fn dims(&self) -> Shape {
        Shape::from((**self).shape())
    }

    fn write_to(self, out: &mut [T]) {
        match self.as_slice() {
            Some(values) => out.copy_from_slice(values),
            None => out.iter_mut().zip(self).for_each(|(to, &from)| *to = from),
        }
    }
}

impl<T: Number, S: Data<Elem = T>, D: Dimension> Sealed<T> for ArrayBase<S, D> {
    fn dims(&self) -> Shape {
        Shape::from((**self).shape())
    }

    fn write_to(self, out: &mut [T]) {
        (&*self).write_to(out);
    }
}

impl<T: Number, S: Data<Elem = T>, D: Dimension> Sealed<T> for &ArrayBase<S, D> {
    fn dims(&self) -> Shape {
        Shape::from((***self).shape())
    }

    fn write_to(self, out: &mut [T]) {
        (&**self).write_to(out);
    }
}

impl<T: Number, D: Dimension + 'static> Sealed<T> for Arc<Array<T, D>> {
    fn dims(&self) -> Shape {
        Shape::from((***self).shape())
    }

    fn write_to(self, out: &mut [T]) {
        (&**self).write_to(out);
    }

    fn hand_over(self) -> Result<Arc<dyn SharedStorage<T>>, Self> {
        if self.is_standard_layout() { Ok(self) } else { Err(self) }
    }
}

impl<T: Number, D: Dimension + 'static> Sealed<T> for &Arc<Array<T, D>> {
    fn dims(&self) -> Shape {
        Shape::from((****self).shape())
    }

    fn write_to(self, out: &mut [T]) {
        (&***self).write_to(out);
    }

    fn hand_over(self) -> Result<Arc<dyn SharedStorage<T>>, Self> {
        if self.is_standard_layout() { Ok(self.clone()) } else { Err(self) }
    }
}

/// A mask as numbers: 1 for true, 0 for false.
pub(crate) struct Mask<'a, D: Dimension>(pub(crate) &'a ArrayRef<bool, D>);

impl<T: Number, D: Dimension> Sealed<T> for Mask<'_, D> {
    fn dims(&self) -> Shape {
        Shape::from(self.0.shape())
    }

    fn write_to(self, out: &mut [T]) {
        out.iter_mut().zip(self.0).for_each(|(to, &from)| *to = if from { T::ONE } else { T::ZERO });
    }
}

macro_rules! number {
    ($T:ident) => {
        impl Sealed<$T> for $T {
            fn dims(&self) -> Shape {
                Shape::default()
            }

            fn write_to(self, out: &mut [$T]) {
                out.fill(self);
            }
        }
    };
}
number!(f32);
number!(f64);
