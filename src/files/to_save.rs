//! [`ToSave`]: what a file is to hold.

use std::path::Path;

use ndarray::{Array1, arr0};

use super::format;
use crate::data::{Generator, Numbers};
use crate::error::Result;
use crate::optim::{ReduceOnPlateau, StateEntry, StateValue, Stateful};
use crate::param::Param;
use crate::scalar::Scalar;

/// What a file is to hold. See [`Saved`](super::Saved) for the way back.
///
/// # Example
///
/// See [`Saved`](super::Saved).
#[derive(Clone, Debug, Default)]
pub struct ToSave {
    arrays: Vec<(String, Numbers)>,
}

/// The largest whole number that every reader takes exactly.
const LARGEST: u64 = 1 << 53;

impl ToSave {
    /// Returns a file without contents.
    ///
    /// # Example
    ///
    /// See [`Saved`](super::Saved).
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds parameters by name, with the values that they have now.
    ///
    /// The names come from [`named_parameters`](crate::nn::Module::named_parameters), or from the caller. Buffers, which
    /// are values without a gradient, are saved in the same way.
    ///
    /// # Example
    ///
    /// See [`Saved`](super::Saved).
    #[must_use]
    pub fn parameters<T: Scalar>(mut self, named: &[(String, Param<T>)]) -> Self {
        self.arrays.extend(named.iter().map(|(name, parameter)| (name.clone(), Numbers::new(&*parameter.value()))));
        self
    }

    /// Adds what an optimizer remembers, and its kind. Entries are called after the parameters that they belong to.
    ///
    /// # Panics
    ///
    /// If one of the optimizer's parameters is not among the named ones.
    ///
    /// # Example
    ///
    /// See [`Saved`](super::Saved).
    #[track_caller]
    #[must_use]
    pub fn optimizer<T: Scalar>(
        mut self,
        optimizer: &(impl Stateful<T> + ?Sized),
        named: &[(String, Param<T>)],
    ) -> Self {
        let letters: Array1<i64> = optimizer.kind().bytes().map(i64::from).collect();
        self.arrays.push(("optimizer/kind".into(), Numbers::I64(letters.into_dyn())));
        let parameters = optimizer.parameters();
        for StateEntry { parameter, name, value } in optimizer.state() {
            let key = match parameter {
                None => format!("optimizer/{name}"),
                Some(index) => {
                    let parameter = &parameters[index];
                    let Some((path, _)) = named.iter().find(|(_, named)| named.is(parameter)) else {
                        panic!(
                            "ToSave: expected a name for each parameter of the optimizer, found none for {parameter:?}"
                        );
                    };
                    format!("optimizer/{path}/{name}")
                }
            };
            self.arrays.push((key, numbers(value)));
        }
        self
    }

    /// Adds what a plateau has seen, as numbers of the run.
    ///
    /// # Example
    ///
    /// See [`Saved::plateau`](super::Saved::plateau).
    #[must_use]
    pub fn plateau(mut self, name: &str, plateau: &ReduceOnPlateau) -> Self {
        for entry in plateau.state::<f64>() {
            self.arrays.push((format!("run/{name}/{}", entry.name), numbers(entry.value)));
        }
        self
    }

    /// Adds a whole number of the run: the number of the step, the size of a batch.
    ///
    /// # Panics
    ///
    /// If it is above 2⁵³.
    ///
    /// # Example
    ///
    /// See [`Saved::names`](super::Saved::names).
    #[track_caller]
    #[must_use]
    pub fn count(mut self, name: &str, count: u64) -> Self {
        assert!(count <= LARGEST, "ToSave: expected a whole number of at most 2^53, found {count}");
        self.arrays.push((format!("run/{name}"), Numbers::I64(arr0(count as i64).into_dyn())));
        self
    }

    /// Adds a number of the run: the best loss so far.
    ///
    /// # Example
    ///
    /// See [`Saved::names`](super::Saved::names).
    #[must_use]
    pub fn number(mut self, name: &str, number: f64) -> Self {
        self.arrays.push((format!("run/{name}"), Numbers::F64(arr0(number).into_dyn())));
        self
    }

    /// Adds a list of numbers of the run: the losses so far.
    ///
    /// # Example
    ///
    /// See [`Saved::names`](super::Saved::names).
    #[must_use]
    pub fn numbers(mut self, name: &str, numbers: &[f64]) -> Self {
        self.arrays.push((format!("run/{name}"), Numbers::F64(Array1::from(numbers.to_vec()).into_dyn())));
        self
    }

    /// Adds the place of a generator.
    ///
    /// # Example
    ///
    /// See [`Saved::generator`](super::Saved::generator).
    #[must_use]
    pub fn generator(mut self, name: &str, generator: &Generator) -> Self {
        let words: Array1<i64> = generator.state().into_iter().map(|word| word as i64).collect();
        self.arrays.push((format!("run/{name}"), Numbers::I64(words.into_dyn())));
        self
    }

    /// Writes the file: beside the old one, synced and renamed.
    ///
    /// # Errors
    ///
    /// If the extension is not one of the two, if two arrays have one name, or if the system refuses.
    ///
    /// # Example
    ///
    /// See [`Saved`](super::Saved).
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        format::write(path.as_ref(), &self.arrays)
    }
}

fn numbers<T: Scalar>(value: StateValue<T>) -> Numbers {
    match value {
        StateValue::Array(array) => Numbers::new(&*array),
        StateValue::Count(count) => Numbers::I64(arr0(count as i64).into_dyn()),
        StateValue::Number(number) => Numbers::F64(arr0(number).into_dyn()),
    }
}

/// Writes parameters by name to a file.
///
/// # Errors
///
/// As [`ToSave::write`].
///
/// # Example
///
/// See [`files`](super).
#[doc(alias = "save_file")]
pub fn save<T: Scalar>(path: impl AsRef<Path>, named: &[(String, Param<T>)]) -> Result<()> {
    ToSave::new().parameters(named).write(path)
}
