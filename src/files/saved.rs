//! [`Saved`]: what a file holds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use ndarray::ArrayD;

use super::format;
use crate::data::{Generator, in_type};
use crate::error::{Error, Result};
use crate::optim::{ReduceOnPlateau, StateEntry, StateValue, Stateful};
use crate::param::Param;
use crate::scalar::Scalar;
use crate::shape::Shape;

/// What a file holds, read as a whole.
///
/// # Example
///
/// A run of three steps that is saved after the second one:
///
/// ```
/// use ndarray::array;
/// use tapegrad::Param;
/// use tapegrad::files::{Saved, ToSave};
/// use tapegrad::optim::{Optimizer, Schedule, Sgd};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let directory = tempfile::tempdir()?;
/// let path = directory.path().join("run.npz");
/// let schedule = Schedule::exponential(1.0, 0.5);
/// let begin = || {
///     let w = Param::named("w", array![8.0]);
///     let sgd = Sgd::new([&w], 1.0).with_momentum(0.5);
///     (vec![("w".to_string(), w)], sgd)
/// };
/// let step = |number: usize, named: &[(String, Param<f64>)], sgd: &mut Sgd<f64>| {
///     schedule.apply(number, sgd);
///     sgd.zero_grad();
///     named[0].1.accumulate_grad(&named[0].1.value());
///     sgd.step();
/// };
///
/// let (named, mut sgd) = begin();
/// (0..2).for_each(|number| step(number, &named, &mut sgd));
/// ToSave::new().parameters(&named).optimizer(&sgd, &named).count("step", 2).write(&path)?;
/// step(2, &named, &mut sgd);
///
/// let (resumed, mut sgd) = begin(); // another process
/// let saved = Saved::read(&path)?;
/// saved.restore(&resumed, &mut sgd)?;
/// (saved.count("step")? as usize..3).for_each(|number| step(number, &resumed, &mut sgd));
/// assert_eq!(resumed[0].1.value(), named[0].1.value());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Saved {
    path: PathBuf,
    arrays: BTreeMap<String, ArrayD<f64>>,
}

/// What the names of an optimizer's entries begin with.
const OPTIMIZER: &str = "optimizer/";
/// The kind of the optimizer.
const KIND: &str = "optimizer/kind";
/// What the names of a run's numbers begin with.
const RUN: &str = "run/";

impl Saved {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// If there is no such file, its extension is not one of the two, or it is damaged.
    ///
    /// # Example
    ///
    /// See [`Saved`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let (mut arrays, mut twice) = (BTreeMap::new(), None);
        for (name, array) in format::read(path)? {
            if arrays.insert(name.clone(), array).is_some() {
                twice = Some(name);
            }
        }
        match twice {
            Some(name) => Err(Error::content(path, "arrays of different names", format!("`{name}` twice"))),
            None => Ok(Self { path: path.into(), arrays }),
        }
    }

    /// Returns the names of all arrays of the file, sorted.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Param;
    /// use tapegrad::files::{Saved, ToSave};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let directory = tempfile::tempdir()?;
    /// let path = directory.path().join("run.npz");
    /// let named = [("w".to_string(), Param::new(array![1.0]))];
    /// ToSave::new().parameters(&named).count("pass", 7).number("best", 0.5).numbers("losses", &[1.0, 0.5]).write(&path)?;
    ///
    /// let saved = Saved::read(&path)?;
    /// assert_eq!(saved.names(), ["run/best", "run/losses", "run/pass", "w"]);
    /// assert_eq!((saved.count("pass")?, saved.number("best")?, saved.numbers("losses")?), (7, 0.5, vec![1.0, 0.5]));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.arrays.keys().map(String::as_str).collect()
    }

    /// Gives the parameters the values of the file, all of them or none.
    ///
    /// # Errors
    ///
    /// If the file has no array for a parameter, or one of another shape; if it has an array that no parameter is called
    /// after, except those of an optimizer and of the run; if a finite number is too large for an `f32`.
    ///
    /// # Example
    ///
    /// See [`files`](super).
    pub fn load<T: Scalar>(&self, named: &[(String, Param<T>)]) -> Result<()> {
        let values = self.values(named)?;
        named.iter().zip(values).for_each(|((_, parameter), value)| parameter.set_value(value));
        Ok(())
    }

    /// Gives the parameters the values of the file, and the optimizer what it remembered: all of it, or nothing.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load), and if the file has no entries of an optimizer, or those of another kind. A file that does not
    /// name the kind, from Python perhaps, is one of any kind whose entries fit.
    ///
    /// # Example
    ///
    /// See [`Saved`].
    pub fn restore<T: Scalar>(
        &self,
        named: &[(String, Param<T>)],
        optimizer: &mut (impl Stateful<T> + ?Sized),
    ) -> Result<()> {
        let values = self.values(named)?;
        let parameters = optimizer.parameters();
        self.check_kind(&optimizer.kind())?;
        let state = self.state(named, &parameters)?;
        // The optimizer takes its state as a whole, or refuses.
        optimizer.load_state(state).map_err(|error| match error {
            Error::Value { expected, found, .. } => Error::content(&self.path, expected, found),
            other => other,
        })?;
        named.iter().zip(values).for_each(|((_, parameter), value)| parameter.set_value(value));
        Ok(())
    }

    /// Returns a whole number of the run.
    ///
    /// # Errors
    ///
    /// If the file has none of this name.
    ///
    /// # Example
    ///
    /// See [`names`](Self::names).
    pub fn count(&self, name: &str) -> Result<u64> {
        let place = format!("{RUN}{name}");
        whole(self.single(&place)?).ok_or_else(|| self.misfit(&place, "a whole number of at least 0"))
    }

    /// Returns a number of the run.
    ///
    /// # Errors
    ///
    /// If the file has none of this name.
    ///
    /// # Example
    ///
    /// See [`names`](Self::names).
    pub fn number(&self, name: &str) -> Result<f64> {
        self.single(&format!("{RUN}{name}"))
    }

    /// Returns a list of numbers of the run.
    ///
    /// # Errors
    ///
    /// If the file has none of this name.
    ///
    /// # Example
    ///
    /// See [`names`](Self::names).
    pub fn numbers(&self, name: &str) -> Result<Vec<f64>> {
        let place = format!("{RUN}{name}");
        match self.array(&place)? {
            array if array.ndim() == 1 => Ok(array.iter().copied().collect()),
            _ => Err(self.misfit(&place, "a list of numbers")),
        }
    }

    /// Returns a generator at its place.
    ///
    /// # Errors
    ///
    /// If the file has none of this name.
    ///
    /// # Example
    ///
    /// ```
    /// use rand::RngExt;
    /// use tapegrad::data::Generator;
    /// use tapegrad::files::{Saved, ToSave};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let directory = tempfile::tempdir()?;
    /// let path = directory.path().join("run.npz");
    /// let mut rng = Generator::new(7);
    /// let _: f64 = rng.random();
    /// ToSave::new().generator("rng", &rng).write(&path)?;
    /// assert_eq!(Saved::read(&path)?.generator("rng")?.random::<f64>(), rng.random::<f64>());
    /// # Ok(())
    /// # }
    /// ```
    pub fn generator(&self, name: &str) -> Result<Generator> {
        let place = format!("{RUN}{name}");
        let words: Option<Vec<u64>> = self.numbers(name)?.into_iter().map(whole).collect();
        words
            .and_then(|words| Generator::from_state(&words).ok())
            .ok_or_else(|| self.misfit(&place, "the state of a generator"))
    }

    /// Gives a plateau what it had seen.
    ///
    /// # Errors
    ///
    /// If the file has none of this name. The plateau is then as before.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::files::{Saved, ToSave};
    /// use tapegrad::optim::ReduceOnPlateau;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let directory = tempfile::tempdir()?;
    /// let path = directory.path().join("run.npz");
    /// let (first, mut second) = (ReduceOnPlateau::new(), ReduceOnPlateau::new());
    /// ToSave::new().plateau("plateau", &first).write(&path)?;
    /// Saved::read(&path)?.plateau("plateau", &mut second)?;
    /// assert_eq!(first, second);
    /// # Ok(())
    /// # }
    /// ```
    pub fn plateau(&self, name: &str, plateau: &mut ReduceOnPlateau) -> Result<()> {
        let entry = |part: &str, value| StateEntry::<f64> { parameter: None, name: part.into(), value };
        plateau.load_state(&[
            entry("best", StateValue::Number(self.number(&format!("{name}/best"))?)),
            entry("bad", StateValue::Count(self.count(&format!("{name}/bad"))?)),
            entry("cooling", StateValue::Count(self.count(&format!("{name}/cooling"))?)),
        ])
    }

    /// Returns the value of each parameter, with everything checked.
    fn values<T: Scalar>(&self, named: &[(String, Param<T>)]) -> Result<Vec<ArrayD<T>>> {
        let names: BTreeSet<&str> = named.iter().map(|(name, _)| &**name).collect();
        let known = |name: &str| names.contains(name) || name.starts_with(OPTIMIZER) || name.starts_with(RUN);
        let value = |(name, parameter): &(String, Param<T>)| {
            let array = self.array(name)?;
            if array.shape() != &**parameter.shape() {
                let found = Shape::from(array.shape()).to_string();
                return Err(Error::content(&self.place(name), format!("shape {}", parameter.shape()), found));
            }
            in_type(&self.place(name), array.clone())
        };
        let values = named.iter().map(value).collect::<Result<_>>()?;
        match self.arrays.keys().find(|name| !known(name)) {
            Some(name) => {
                Err(Error::content(&self.path, "no other arrays than those of the network", format!("`{name}`")))
            }
            None => Ok(values),
        }
    }

    /// Refuses the state of another kind of optimizer.
    fn check_kind(&self, expected: &str) -> Result<()> {
        let Some(letters) = self.arrays.get(KIND) else { return Ok(()) };
        let byte = |&letter: &f64| (letter == f64::from(letter as u8)).then_some(letter as u8);
        let bytes: Option<Vec<u8>> = letters.iter().map(byte).collect();
        match bytes.and_then(|bytes| String::from_utf8(bytes).ok()) {
            Some(kind) if kind == expected => Ok(()),
            Some(kind) => {
                Err(Error::content(&self.path, format!("the state of {expected}"), format!("that of {kind}")))
            }
            None => Err(self.misfit(KIND, "the letters of a name")),
        }
    }

    /// Returns the entries of an optimizer of these parameters.
    fn state<T: Scalar>(&self, named: &[(String, Param<T>)], parameters: &[Param<T>]) -> Result<Vec<StateEntry<T>>> {
        let mut state = Vec::new();
        for (key, array) in self.arrays.range(OPTIMIZER.to_string()..) {
            let Some(name) = key.strip_prefix(OPTIMIZER) else { break };
            if key == KIND {
                continue;
            }
            // The longest name of a parameter that it begins with: names may contain slashes.
            let of = |(path, parameter): &(String, Param<T>)| {
                let rest = name.strip_prefix(&**path)?.strip_prefix('/')?;
                Some((rest, parameters.iter().position(|known| known.is(parameter))?))
            };
            let owner = named.iter().filter_map(of).min_by_key(|(rest, _)| rest.len());
            let (name, parameter) = owner.map_or((name, None), |(rest, index)| (rest, Some(index)));
            let value = match (array.ndim(), array.iter().next()) {
                (0, Some(&number)) if COUNTS.contains(&name) => {
                    StateValue::Count(whole(number).ok_or_else(|| self.misfit(key, "a whole number of at least 0"))?)
                }
                (0, Some(&number)) if NUMBERS.contains(&name.rsplit('/').next().unwrap_or(name)) => {
                    StateValue::Number(number)
                }
                _ => StateValue::Array(in_type(&self.place(key), array.clone())?),
            };
            state.push(StateEntry { parameter, name: name.into(), value });
        }
        // An optimizer that has not begun may have nothing to remember.
        if state.is_empty() && !parameters.is_empty() && !self.arrays.contains_key(KIND) {
            return Err(Error::content(&self.path, "arrays optimizer/…", "none"));
        }
        Ok(state)
    }

    fn array(&self, name: &str) -> Result<&ArrayD<f64>> {
        self.arrays.get(name).ok_or_else(|| {
            let names: Vec<&str> = self.names().into_iter().take(5).collect();
            let found = match self.arrays.len() {
                0 => "no array".into(),
                count if count > names.len() => format!("the arrays {}, …", names.join(", ")),
                _ => format!("the arrays {}", names.join(", ")),
            };
            Error::content(&self.path, format!("an array {name}"), found)
        })
    }

    fn single(&self, name: &str) -> Result<f64> {
        let array = self.array(name)?;
        match (array.ndim(), array.iter().next()) {
            (0, Some(&number)) => Ok(number),
            _ => Err(self.misfit(name, "a single number")),
        }
    }

    fn place(&self, name: &str) -> PathBuf {
        format!("{}, array {name}", self.path.display()).into()
    }

    /// Returns the error of an array that is not what was expected.
    fn misfit(&self, name: &str, expected: &str) -> Error {
        let found = match self.arrays.get(name) {
            Some(array) if array.len() == 1 => format!("{}", array.sum()),
            Some(array) => format!("an array of shape {}", Shape::from(array.shape())),
            None => "none".into(),
        };
        Error::content(&self.place(name), expected, found)
    }
}

/// Entries of optimizers that are whole numbers.
const COUNTS: &[&str] = &["step", "n_iter"];
/// Entries of optimizers that are single numbers in `f64`.
const NUMBERS: &[&str] = &["learning_rate", "mu_product", "t", "H_diag"];

/// Returns a number as a whole one.
fn whole(number: f64) -> Option<u64> {
    (number >= 0.0 && number.fract() == 0.0 && number <= 2f64.powi(53)).then_some(number as u64)
}

/// Gives parameters the values of a file, all of them or none.
///
/// # Errors
///
/// As [`Saved::read`] and [`Saved::load`].
///
/// # Example
///
/// See [`files`](super).
#[doc(alias("load_file", "load_state_dict"))]
pub fn load<T: Scalar>(path: impl AsRef<Path>, named: &[(String, Param<T>)]) -> Result<()> {
    Saved::read(path)?.load(named)
}
