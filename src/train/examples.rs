//! [`Examples`]: inputs with their targets.

use std::ops::Range;
use std::sync::Arc;

use ndarray::{Array2, Axis};

use crate::data::Samples;
use crate::error::{Error, Result};
use crate::kernel::matrix::shape_to;
use crate::scalar::Scalar;

/// Inputs with their targets. An example is a row of each.
///
/// The arrays are shared, so that a tape records them without a copy.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::data::Samples;
/// use tapegrad::train::Examples;
///
/// # fn main() -> tapegrad::Result<()> {
/// let examples = Examples::from(&Samples::new(array![[0.5, 0.25], [1.0, 0.0]], vec![1, 0], 2)?);
/// assert_eq!(**examples.targets(), array![[0.0, 1.0], [1.0, 0.0]]); // one-hot
///
/// let error = Examples::new(array![[1.0], [2.0]], array![[1.0]]).unwrap_err();
/// assert_eq!(error.to_string(), "targets: expected 2 rows, one for each input, found 1");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Examples<T> {
    inputs: Arc<Array2<T>>,
    targets: Arc<Array2<T>>,
}

impl<T: Scalar> Examples<T> {
    /// Returns examples with these inputs, `(examples, width)`, and targets, `(examples, outputs)`.
    ///
    /// # Errors
    ///
    /// If there are no inputs, or if the numbers of rows differ.
    ///
    /// # Example
    ///
    /// See [`Examples`].
    pub fn new(inputs: Array2<T>, targets: Array2<T>) -> Result<Self> {
        if inputs.is_empty() {
            return Err(Error::value("inputs", "at least one row and one column", format!("shape {:?}", inputs.dim())));
        }
        if targets.nrows() != inputs.nrows() {
            let expected = format!("{} rows, one for each input", inputs.nrows());
            return Err(Error::value("targets", expected, targets.nrows().to_string()));
        }
        Ok(Self { inputs: Arc::new(inputs), targets: Arc::new(targets) })
    }

    /// Returns the inputs.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::train::Examples;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let examples = Examples::new(array![[1.0], [2.0]], array![[3.0], [4.0]])?;
    /// assert_eq!(**examples.inputs(), array![[1.0], [2.0]]);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn inputs(&self) -> &Arc<Array2<T>> {
        &self.inputs
    }

    /// Returns the targets.
    ///
    /// # Example
    ///
    /// See [`Examples`].
    #[must_use]
    pub fn targets(&self) -> &Arc<Array2<T>> {
        &self.targets
    }

    /// Returns the number of examples.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::train::Examples;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// assert_eq!(Examples::new(array![[1.0], [2.0]], array![[3.0], [4.0]])?.len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.inputs.nrows()
    }

    /// Returns false: there is always an example.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::train::Examples;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// assert!(!Examples::new(array![[1.0]], array![[3.0]])?.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns copies of these rows. They are in the memory of `batch`, unless a tape still uses it.
    pub(super) fn gather<'a>(&self, rows: &[usize], batch: &'a mut Option<Self>) -> &'a Self {
        self.copy(rows.len(), batch, |from, to| {
            rows.iter().zip(to.rows_mut()).for_each(|(&row, mut to)| to.assign(&from.row(row)));
        })
    }

    /// The same for a range of rows.
    pub(super) fn part<'a>(&self, rows: Range<usize>, batch: &'a mut Option<Self>) -> &'a Self {
        self.copy(rows.len(), batch, |from, to| to.assign(&from.slice_axis(Axis(0), rows.clone().into())))
    }

    fn copy<'a>(
        &self,
        rows: usize,
        batch: &'a mut Option<Self>,
        copy: impl Fn(&Array2<T>, &mut Array2<T>),
    ) -> &'a Self {
        let batch = batch.get_or_insert_with(|| Self { inputs: Arc::default(), targets: Arc::default() });
        for (to, from) in [(&mut batch.inputs, &self.inputs), (&mut batch.targets, &self.targets)] {
            if Arc::get_mut(to).is_none() {
                *to = Arc::default();
            }
            let to = Arc::get_mut(to).expect("just checked, or new");
            shape_to(to, (rows, from.ncols()));
            copy(from, to);
        }
        batch
    }

    /// Returns the class of each example, if the targets are one-hot with at least two classes.
    pub(super) fn labels(&self) -> Option<Vec<usize>> {
        let class = |row: ndarray::ArrayView1<'_, T>| {
            let ones = row.iter().filter(|&&y| y == T::ONE).count();
            let zeros = row.iter().filter(|&&y| y == T::ZERO).count();
            (ones == 1 && zeros + 1 == row.len()).then(|| row.iter().position(|&y| y == T::ONE)).flatten()
        };
        if self.targets.ncols() < 2 { None } else { self.targets.rows().into_iter().map(class).collect() }
    }
}

/// Copies the images, and makes one-hot targets of the labels.
impl<T: Scalar> From<&Samples<T>> for Examples<T> {
    fn from(samples: &Samples<T>) -> Self {
        Self { inputs: Arc::new(samples.images().clone()), targets: Arc::new(samples.one_hot()) }
    }
}
