//! [`ValueRange`]: the range of an array's numbers, and counts of zeros, NaNs and infinities.

use std::fmt;

use crate::kernel::view::View;
use crate::number::{Classify, Number};

/// The range of an array's numbers, and how many of them are zero, NaN or infinite.
///
/// # Example
///
/// See [`NonFinite`](super::NonFinite).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ValueRange {
    pub(super) min: f64,
    pub(super) max: f64,
    pub(super) elements: usize,
    pub(super) zeros: usize,
    pub(super) nans: usize,
    pub(super) infinities: usize,
}

impl ValueRange {
    /// Returns the smallest finite number, or NaN if no number is finite.
    ///
    /// # Example
    ///
    /// See [`NonFinite`](super::NonFinite).
    #[must_use]
    pub fn min(&self) -> f64 {
        self.min
    }

    /// Returns the largest finite number, or NaN if no number is finite.
    ///
    /// # Example
    ///
    /// See [`NonFinite`](super::NonFinite).
    #[must_use]
    pub fn max(&self) -> f64 {
        self.max
    }

    /// Returns the number of elements.
    ///
    /// # Example
    ///
    /// See [`NonFinite`](super::NonFinite).
    #[must_use]
    pub fn elements(&self) -> usize {
        self.elements
    }

    /// Returns the number of zeros.
    ///
    /// # Example
    ///
    /// See [`NonFinite`](super::NonFinite).
    #[must_use]
    pub fn zeros(&self) -> usize {
        self.zeros
    }

    /// Returns the number of NaNs.
    ///
    /// # Example
    ///
    /// See [`NonFinite`](super::NonFinite).
    #[must_use]
    pub fn nans(&self) -> usize {
        self.nans
    }

    /// Returns the number of infinities.
    ///
    /// # Example
    ///
    /// See [`NonFinite`](super::NonFinite).
    #[must_use]
    pub fn infinities(&self) -> usize {
        self.infinities
    }

    /// Returns the range of an array.
    pub(super) fn of<T: Number>(view: View<'_, T>) -> Self {
        match view.as_slice() {
            Some(values) => Self::of_numbers(values.iter().copied()),
            None => Self::of_numbers(view.array().iter().copied()),
        }
    }

    fn of_numbers<T: Number>(numbers: impl Iterator<Item = T>) -> Self {
        let mut range = Self { min: f64::NAN, max: f64::NAN, elements: 0, zeros: 0, nans: 0, infinities: 0 };
        for x in numbers {
            range.elements += 1;
            if x.is_finite() {
                let x = x.to_f64();
                range.zeros += usize::from(x == 0.0);
                // `min` and `max` of NaN and a number return the number.
                (range.min, range.max) = (range.min.min(x), range.max.max(x));
            } else if x.is_nan() {
                range.nans += 1;
            } else {
                range.infinities += 1;
            }
        }
        range
    }

    /// Returns whether all numbers are finite.
    ///
    /// # Example
    ///
    /// See [`NonFinite`](super::NonFinite).
    #[must_use]
    pub fn is_finite(&self) -> bool {
        self.nans == 0 && self.infinities == 0
    }
}

/// Prints as `-1 to 2.5, 3 of 10 zero, 1 NaN`.
impl fmt::Display for ValueRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if self.elements == 0 {
            parts.push("no elements".to_string());
        } else if self.min == self.max {
            let all = if self.elements > 1 && self.is_finite() { "all " } else { "" };
            parts.push(format!("{all}{}", number(self.min)));
        } else if !self.min.is_nan() {
            parts.push(format!("{} to {}", number(self.min), number(self.max)));
        }
        if self.zeros > 0 && self.min != self.max {
            parts.push(format!("{} of {} zero", self.zeros, self.elements));
        }
        for (count, name) in [(self.nans, "NaN"), (self.infinities, "infinite")] {
            if count > 0 {
                parts.push(format!("{count} of {} {name}", self.elements));
            }
        }
        f.write_str(&parts.join(", "))
    }
}

/// Returns a number with at most six digits.
fn number(x: f64) -> String {
    let rounded = format!("{x:.5e}").parse().unwrap_or(x);
    let size = x.abs();
    if size == 0.0 || (1e-4..1e7).contains(&size) { format!("{rounded}") } else { format!("{rounded:e}") }
}
