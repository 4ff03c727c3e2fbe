//! [`Groups`]: parameters with settings of their own.

use std::fmt;

use super::optimizer::Optimizer;
use super::state::{StateEntry, Stateful, misfit};
use crate::error::Result;
use crate::param::Param;
use crate::scalar::Scalar;

/// Several optimizers as one: PyTorch's parameter groups. Each group has parameters and settings of its own, and may even
/// be an optimizer of another kind.
///
/// The learning rate is that of the first group. The other learning rates keep their ratio to it, so that a
/// [`Schedule`](super::Schedule) moves all of them.
///
/// # Example
///
/// Weight decay for the weights, and none for the biases, which learn twice as fast:
///
/// ```
/// use ndarray::array;
/// use tapegrad::Param;
/// use tapegrad::optim::{Groups, Optimizer, Sgd};
///
/// let (w, b) = (Param::new(array![8.0]), Param::new(array![8.0]));
/// let mut sgd = Groups::new(Sgd::new([&w], 0.5).with_weight_decay(0.25)).with(Sgd::new([&b], 1.0));
/// for parameter in [&w, &b] {
///     parameter.accumulate_grad(&array![2.0].into_dyn());
/// }
/// sgd.step(); // w: 8 - 0.5 (2 + 0.25 · 8), b: 8 - 2
/// assert_eq!((w.value()[[0]], b.value()[[0]]), (6.0, 6.0));
/// sgd.set_learning_rate(0.25); // and 0.5 for b
/// sgd.step(); // w: 6 - 0.25 (2 + 0.25 · 6), b: 6 - 0.5 · 2
/// assert_eq!((w.value()[[0]], b.value()[[0]]), (5.125, 5.0));
/// ```
#[doc(alias("param_groups", "add_param_group"))]
pub struct Groups<T> {
    /// Each with its learning rate divided by that of the first.
    groups: Vec<(f64, Box<dyn Optimizer<T>>)>,
}

impl<T: Scalar> Groups<T> {
    /// Returns an optimizer of one group.
    ///
    /// # Example
    ///
    /// See [`Groups`].
    #[must_use]
    pub fn new(first: impl Optimizer<T> + 'static) -> Self {
        Self { groups: vec![(1.0, Box::new(first))] }
    }

    /// Returns the optimizer with one more group.
    ///
    /// # Panics
    ///
    /// If a parameter is in another group already, or if the first group's learning rate is 0: no ratio to it exists.
    ///
    /// # Example
    ///
    /// See [`Groups`].
    #[track_caller]
    #[must_use]
    pub fn with(mut self, group: impl Optimizer<T> + 'static) -> Self {
        let known = self.parameters();
        if let Some(twice) = group.parameters().iter().find(|new| known.iter().any(|known| known.is(new))) {
            panic!("Groups: {twice:?} is in another group already");
        }
        let ratio = group.learning_rate().to_f64() / self.learning_rate().to_f64();
        assert!(ratio.is_finite(), "Groups: expected a first group with a learning rate above 0, found 0");
        self.groups.push((ratio, Box::new(group)));
        self
    }

    /// Returns the learning rate of each group.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Param;
    /// use tapegrad::optim::{Groups, Optimizer, Sgd};
    ///
    /// let (w, b) = (Param::new(array![1.0]), Param::new(array![1.0]));
    /// let mut sgd = Groups::new(Sgd::new([&w], 0.5)).with(Sgd::new([&b], 1.0));
    /// sgd.set_learning_rate(0.25);
    /// assert_eq!(sgd.learning_rates(), [0.25, 0.5]);
    /// ```
    #[must_use]
    pub fn learning_rates(&self) -> Vec<T> {
        self.groups.iter().map(|(_, group)| group.learning_rate()).collect()
    }
}

impl<T: Scalar> Optimizer<T> for Groups<T> {
    fn step(&mut self) {
        self.groups.iter_mut().for_each(|(_, group)| group.step());
    }

    fn zero_grad(&mut self) {
        self.groups.iter_mut().for_each(|(_, group)| group.zero_grad());
    }

    fn learning_rate(&self) -> T {
        self.groups[0].1.learning_rate()
    }

    fn set_learning_rate(&mut self, learning_rate: T) {
        for (ratio, group) in &mut self.groups {
            group.set_learning_rate(T::from_f64(learning_rate.to_f64() * *ratio));
        }
    }
}

/// An entry of a whole group is named `group1/learning_rate`.
impl<T: Scalar> Stateful<T> for Groups<T> {
    fn kind(&self) -> String {
        let kinds: Vec<String> = self.groups.iter().map(|(_, group)| group.kind()).collect();
        format!("Groups({})", kinds.join(", "))
    }

    fn parameters(&self) -> Vec<Param<T>> {
        self.groups.iter().flat_map(|(_, group)| group.parameters()).collect()
    }

    fn state(&self) -> Vec<StateEntry<T>> {
        let (mut all, mut before) = (Vec::new(), 0);
        for (index, (_, group)) in self.groups.iter().enumerate() {
            all.extend(group.state().into_iter().map(|entry| match entry.parameter {
                Some(place) => StateEntry { parameter: Some(before + place), ..entry },
                None => StateEntry { name: format!("group{index}/{}", entry.name), ..entry },
            }));
            before += group.parameters().len();
        }
        all
    }

    fn load_state(&mut self, state: Vec<StateEntry<T>>) -> Result<()> {
        let counts: Vec<usize> = self.groups.iter().map(|(_, group)| group.parameters().len()).collect();
        let mut parts: Vec<Vec<StateEntry<T>>> = counts.iter().map(|_| Vec::new()).collect();
        for mut entry in state {
            let index = match entry.parameter {
                Some(mut place) => {
                    let index = counts.iter().position(|&count| {
                        let here = place < count;
                        place -= if here { 0 } else { count };
                        here
                    });
                    entry.parameter = Some(place);
                    index
                }
                None => {
                    let group = entry.name.strip_prefix("group").and_then(|rest| rest.split_once('/'));
                    let group = group.and_then(|(index, name)| Some((index.parse::<usize>().ok()?, name.to_string())));
                    group.filter(|&(index, _)| index < counts.len()).map(|(index, name)| {
                        entry.name = name;
                        index
                    })
                }
            };
            match index {
                Some(index) => parts[index].push(entry),
                None => return Err(misfit("Groups", format!("entries of {} groups", counts.len()), entry.name)),
            }
        }
        let before: Vec<_> = self.groups.iter().map(|(_, group)| group.state()).collect();
        for (index, part) in parts.into_iter().enumerate() {
            if let Err(error) = self.groups[index].1.load_state(part) {
                // Each group takes back what it gave.
                for ((_, group), before) in self.groups.iter_mut().zip(before).take(index) {
                    group.load_state(before)?;
                }
                return Err(error);
            }
        }
        Ok(())
    }
}

/// Prints each group.
impl<T: Scalar> fmt::Debug for Groups<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Groups: ")?;
        for (index, (_, group)) in self.groups.iter().enumerate() {
            write!(f, "{}{group:?}", if index == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}
