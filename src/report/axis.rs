//! Axes: which scale is readable, and where it has marks.

/// A scale between two numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Axis {
    /// The ends, as places: logarithms on a logarithmic axis.
    from: f64,
    to: f64,
    logarithmic: bool,
}

impl Axis {
    /// Returns a linear axis from the smallest to the largest of the finite values.
    pub(super) fn linear(values: impl Iterator<Item = f64>) -> Self {
        let (from, to) = range(values);
        Self { from, to, logarithmic: false }
    }

    /// Returns an axis with some room at both ends: a logarithmic one if a linear one would press most of the values
    /// against its lower end.
    pub(super) fn readable(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let logarithmic = match (values.first(), values.get(values.len() / 2), values.last()) {
            (Some(&low), Some(&middle), Some(&high)) => {
                low > 0.0 && high > 10.0 * low && middle - low < 0.1 * (high - low)
            }
            _ => false,
        };
        let (from, to) = range(values.into_iter().map(|value| if logarithmic { value.log10() } else { value }));
        let room = 0.05 * (to - from);
        Self { from: from - room, to: to + room, logarithmic }
    }

    pub(super) fn is_logarithmic(&self) -> bool {
        self.logarithmic
    }

    /// Returns where a number is between the ends, 0 to 1, or `None` if it has no place.
    pub(super) fn place(&self, number: f64) -> Option<f64> {
        let place = if self.logarithmic { number.log10() } else { number };
        Some((place - self.from) / (self.to - self.from)).filter(|place| place.is_finite())
    }

    /// Returns the marks: where each is, and its label. There are about `wanted` of them, and none between whole numbers if
    /// `whole`.
    pub(super) fn marks(&self, wanted: usize, whole: bool) -> Vec<(f64, String)> {
        let numbers = if self.logarithmic {
            let powers = self.multiples(&[1.0]);
            let steps = if powers.len() >= 2 { powers } else { self.multiples(&[1.0, 2.0, 5.0]) };
            if steps.len() >= 2 {
                let every = steps.len().div_ceil(wanted);
                steps.into_iter().step_by(every).collect()
            } else {
                linear_marks(10_f64.powf(self.from), 10_f64.powf(self.to), wanted, 0.0)
            }
        } else {
            linear_marks(self.from, self.to, wanted, if whole { 1.0 } else { 0.0 })
        };
        let placed = numbers.into_iter().filter_map(|(number, label)| Some((self.place(number)?, label)));
        placed.filter(|(place, _)| (-1e-9..=1.0 + 1e-9).contains(place)).collect()
    }

    /// Returns these multiples of powers of ten that are on the axis.
    fn multiples(&self, factors: &[f64]) -> Vec<(f64, String)> {
        let powers = self.from.floor() as i32..=self.to.ceil() as i32;
        let numbers = powers.flat_map(|power| {
            let unit = 10_f64.powi(power);
            factors.iter().map(move |factor| (factor * unit, unit))
        });
        let on_axis = numbers.filter(|(number, _)| (self.from..=self.to).contains(&number.log10()));
        on_axis.map(|(number, unit)| (number, written(number, unit))).collect()
    }
}

/// Returns the smallest and the largest finite value, or something around them if there is no difference.
fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let values = values.filter(|value| value.is_finite());
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), x| (a.min(x), b.max(x)));
    let around = if low == 0.0 { 1e-3 } else { 0.5 * low.abs() };
    match low < high {
        true => (low, high),
        false if low.is_finite() => (low - around, low + around),
        false => (0.0, 1.0),
    }
}

/// Returns multiples of 1, 2 or 5 times a power of ten that is not below `smallest`.
fn linear_marks(from: f64, to: f64, wanted: usize, smallest: f64) -> Vec<(f64, String)> {
    let distance = (to - from) / wanted as f64;
    let power = 10_f64.powf(distance.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|&step| step >= 0.999 * distance);
    let step = step.unwrap_or(10.0 * power).max(smallest);
    let (first, last) = ((from / step - 1e-9).ceil() as i64, (to / step + 1e-9).floor() as i64);
    // A range that is only rounding has no multiples apart from each other.
    let numbers = (first..=last).take(2 * wanted + 2).map(|k| k as f64 * step);
    numbers.map(|number| (number, written(number, step))).collect()
}

/// Returns a multiple of a step with the digits that tell it from its neighbours.
fn written(number: f64, step: f64) -> String {
    let power = |x: f64| (x.abs().log10() + 1e-9).floor() as i32;
    match number.abs() {
        size if size < 0.5 * step => "0".into(),
        1e-4..1e6 => format!("{number:.*}", (-power(step)).max(0) as usize),
        _ => format!("{number:.*e}", (power(number) - power(step)).max(0) as usize),
    }
}

#[cfg(test)]
mod tests {
    use super::Axis;

    fn labels(axis: &Axis, whole: bool) -> Vec<String> {
        axis.marks(5, whole).into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn marks_are_round_numbers() {
        assert_eq!(labels(&Axis::linear([0.0, 2.0].into_iter()), true), ["0", "1", "2"]);
        assert_eq!(labels(&Axis::linear([0.0, 30.0].into_iter()), true), ["0", "10", "20", "30"]);
        assert_eq!(labels(&Axis::readable([0.2, 1.1].into_iter()), false), ["0.2", "0.4", "0.6", "0.8", "1.0"]);
        let steep = Axis::readable([3.0, 0.1, 0.01, 0.004].into_iter());
        assert!(steep.is_logarithmic());
        assert_eq!(labels(&steep, false), ["0.01", "0.1", "1"]);
        assert_eq!(labels(&Axis::readable([3e-4].into_iter()), false), ["0.0002", "0.0003", "0.0004"]);
    }

    #[test]
    fn numbers_without_a_place_are_left_out() {
        let steep = Axis::readable([1e-9, 1e-8, 1.0, f64::NAN].into_iter());
        assert_eq!([0.0, -1.0, f64::NAN].map(|number| steep.place(number)), [None; 3]);
        assert_eq!(Axis::readable([f64::NAN].into_iter()).place(0.5), Some(0.5));
        assert_eq!(Axis::linear([7.0].into_iter()).place(7.0), Some(0.5));
    }
}
