//! What a message hands to a function: numbers, and arrays as nested lists.

use std::fmt::Display;

use ndarray::{ArrayD, Axis};
use serde_json::Value;

use crate::protocol::Outcome;

/// The input of a function.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    value: &'a Value,
}

impl<'a> Input<'a> {
    pub fn new(value: &'a Value) -> Self {
        Self { value }
    }

    pub fn is_object(self) -> bool {
        self.value.is_object()
    }

    /// Returns the input itself, a number.
    pub fn bare_number(self) -> Outcome<f64> {
        self.value.as_f64().ok_or_else(|| expected("input", "a number", self.value))
    }

    fn field(self, name: &str) -> Outcome<&'a Value> {
        self.value.get(name).ok_or_else(|| format!("input: expected the field {name}"))
    }

    pub fn object(self, name: &str) -> Outcome<Input<'a>> {
        Ok(Input::new(self.field(name)?))
    }

    pub fn number(self, name: &str) -> Outcome<f64> {
        let value = self.field(name)?;
        value.as_f64().ok_or_else(|| expected(name, "a number", value))
    }

    /// Returns a whole number from 0.
    pub fn count(self, name: &str) -> Outcome<usize> {
        let value = self.field(name)?;
        whole(value).ok_or_else(|| expected(name, "a whole number from 0", value))
    }

    pub fn boolean(self, name: &str) -> Outcome<bool> {
        let value = self.field(name)?;
        value.as_bool().ok_or_else(|| expected(name, "true or false", value))
    }

    /// Returns a list of numbers: `axes` is 1; or of lists: `axes` is 2; and so on.
    pub fn array(self, name: &str, axes: usize) -> Outcome<ArrayD<f64>> {
        let (mut shape, mut first) = (Vec::new(), Some(self.field(name)?));
        for _ in 0..axes {
            let list = first.and_then(Value::as_array);
            shape.push(list.map_or(0, Vec::len));
            first = list.and_then(|list| list.first());
        }
        let mut numbers = Vec::new();
        collect(self.field(name)?, &shape, &mut numbers)
            .ok_or_else(|| format!("{name}: expected lists of numbers in {axes} axes, all of an axis of one length"))?;
        ArrayD::from_shape_vec(shape, numbers).map_err(|error| format!("{name}: {error}"))
    }

    /// Returns an array of this shape.
    pub fn shaped(self, name: &str, shape: &[usize]) -> Outcome<ArrayD<f64>> {
        let array = self.array(name, shape.len())?;
        if array.shape() == shape {
            return Ok(array);
        }
        Err(expected(name, &format!("the shape {shape:?}"), format!("{:?}", array.shape())))
    }

    /// Returns whole numbers from 0 and below `limit`: a list, or a list of lists, of the same shape as an array of numbers.
    pub fn indices(self, name: &str, axes: usize, limit: usize) -> Outcome<Vec<usize>> {
        let index = |&x: &f64| {
            let index = if x >= 0.0 && x.fract() == 0.0 { x as usize } else { limit };
            if index < limit {
                Ok(index)
            } else {
                Err(expected(name, &format!("whole numbers from 0 below {limit}"), x))
            }
        };
        self.array(name, axes)?.iter().map(index).collect()
    }
}

fn whole(value: &Value) -> Option<usize> {
    let number = value.as_f64()?;
    (number >= 0.0 && number.fract() == 0.0 && number < 9e15).then_some(number as usize)
}

/// Appends the numbers of nested lists of this shape; `None` if they have another.
fn collect(value: &Value, shape: &[usize], numbers: &mut Vec<f64>) -> Option<()> {
    match shape {
        [] => numbers.push(value.as_f64()?),
        [length, rest @ ..] => {
            let list = value.as_array().filter(|list| list.len() == *length)?;
            list.iter().try_for_each(|value| collect(value, rest, numbers))?;
        }
    }
    Some(())
}

/// Returns the words of a refusal.
pub fn expected(name: &str, what: &str, found: impl Display) -> String {
    let found: String = found.to_string().chars().take(60).collect();
    format!("{name}: expected {what}, found {found}")
}

/// Refuses a size that no memory would hold.
pub fn limit(name: &str, found: f64, most: f64) -> Outcome<()> {
    if found <= most { Ok(()) } else { Err(expected(name, &format!("at most {most:e} numbers"), format!("{found:e}"))) }
}

/// Returns an array as nested lists.
pub fn list(array: ArrayD<f64>) -> Value {
    if array.ndim() == 0 {
        array.sum().into()
    } else {
        array.axis_iter(Axis(0)).map(|row| list(row.to_owned())).collect()
    }
}
