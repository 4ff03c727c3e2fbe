//! [`Slope`]: the derivative of a function of one number, from its values alone.

use crate::scalar::Scalar;

/// The slope of `p` at 0, from central differences of shrinking steps.
///
/// A difference `C(h) = (p(h) - p(-h)) / 2h` is off by `h² p'''/6 + …` and by rounding, about `ε |p| / h`. Two steps `h` and
/// `h/4` give `(16 C(h/4) - C(h)) / 15`, free of the first term, and `(4 C(h/4) - C(h)) / 3`, free of one in `h`, which there is
/// where the second derivative jumps. Of all these the one is believed that changes least when the steps shrink further,
/// so that neither a kink or a pole some way off nor rounding gets the upper hand.
pub(super) struct Slope {
    /// The derivative.
    pub(super) value: f64,
    /// How far the estimate before was from it; infinite if there are too few.
    pub(super) change: f64,
    /// What rounding may have added.
    pub(super) rounding: f64,
    /// The slopes at the left and at the right, of the smallest step, and of one four times as large.
    sides: [(f64, f64); 2],
    rounding_of_sides: f64,
}

/// The exponents of the first and the last step `h = 2^-e`, in steps of two.
fn exponents<T: Scalar>() -> std::ops::RangeInclusive<i32> {
    if T::DTYPE == "f32" { 4..=12 } else { 10..=20 }
}

/// Returns the slope of `p` at 0. A value of `p` is off by about `rounding`.
pub(super) fn slope<T: Scalar>(rounding: f64, mut p: impl FnMut(f64) -> f64) -> Slope {
    let at = p(0.0);
    let mut levels: Vec<(f64, f64, f64)> = Vec::new();
    for exponent in exponents::<T>().step_by(2) {
        let h = f64::from(-exponent).exp2();
        let (left, right) = ((at - p(-h)) / h, (p(h) - at) / h);
        // A large step may leave the domain.
        if left.is_finite() && right.is_finite() {
            levels.push((h, left, right));
        }
    }
    let central: Vec<f64> = levels.iter().map(|&(_, left, right)| left / 2.0 + right / 2.0).collect();
    let mut slope = Slope {
        value: f64::NAN,
        change: f64::INFINITY,
        rounding: f64::INFINITY,
        sides: [(f64::NAN, f64::NAN); 2],
        rounding_of_sides: f64::INFINITY,
    };
    for share in [15.0, 3.0] {
        let better: Vec<f64> = central.windows(2).map(|pair| pair[1] + (pair[1] - pair[0]) / share).collect();
        for (k, pair) in better.windows(2).enumerate() {
            let (change, rounding) = ((pair[1] - pair[0]).abs(), rounding / levels[k + 2].0);
            if change + rounding < slope.change + slope.rounding {
                (slope.value, slope.change, slope.rounding) = (pair[1], change, rounding);
            }
        }
    }
    if let [.., large, small] = levels[..] {
        slope.sides = [(small.1, small.2), (large.1, large.2)];
        slope.rounding_of_sides = 4.0 * rounding / small.0;
    }
    slope
}

impl Slope {
    /// Returns the slopes at the left and at the right if they differ.
    ///
    /// Where there is a second derivative their difference shrinks with the step, to a quarter here. At a kink it stays,
    /// and at a jump it grows.
    pub(super) fn kink<T: Scalar>(&self, scale: f64) -> Option<(f64, f64)> {
        let [small, large] = self.sides.map(|(left, right)| (right - left).abs());
        let noticeable = if T::DTYPE == "f32" { 2e-2 } else { 1e-4 };
        let kink = small > 0.5 * large && small > noticeable * scale + 2.0 * self.rounding_of_sides;
        kink.then_some(self.sides[0])
    }

    /// Returns the slopes at the left and at the right if they stay apart, if only a little, and `found` is about one of
    /// them or between them. So little would be no proof of a kink, but it is none of an error either.
    pub(super) fn kink_around(&self, found: f64) -> Option<(f64, f64)> {
        let [small, large] = self.sides.map(|(left, right)| (right - left).abs());
        let (left, right) = self.sides[0];
        let between = (left.min(right) - small / 4.0..=left.max(right) + small / 4.0).contains(&found);
        (between && small > 0.5 * large && small > 0.5 * self.rounding_of_sides).then_some((left, right))
    }

    /// Returns how far from the value the derivative may be, as the differences show: by as much as the last two
    /// estimates and the slopes at either side are apart. Where there is a kink nearby the function has the slope of one side.
    pub(super) fn spread(&self) -> f64 {
        let [small, large] = self.sides.map(|(left, right)| (right - left).abs());
        (4.0 * self.change).max(small).max(large)
    }

    /// Returns whether the estimates agree as closely as this.
    pub(super) fn settled(&self, within: f64) -> bool {
        self.change <= within + self.rounding
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_of_smooth_functions_are_exact_to_many_digits() {
        for (p, expected) in [
            (Box::new(|t: f64| (1.0 + t).ln()) as Box<dyn Fn(f64) -> f64>, 1.0),
            (Box::new(|t: f64| (5e-4 + t).ln()), 2e3), // the largest step leaves the domain
            (Box::new(|t: f64| (2.0 * t).sin()), 2.0),
            (Box::new(|t: f64| (t + 2e-4).abs()), 1.0), // and here it steps over a kink
            (Box::new(|t: f64| t + t.max(0.0).powi(2)), 1.0),
        ] {
            let slope = slope::<f64>(1e-16, p);
            assert!((slope.value - expected).abs() < 1e-9 * expected, "{} {expected}", slope.value);
            assert!(slope.kink::<f64>(expected).is_none());
        }
    }

    #[test]
    fn kinks_and_jumps_are_told_from_bends() {
        let kink = |p: fn(f64) -> f64| slope::<f64>(1e-16, p).kink::<f64>(1.0);
        assert_eq!(kink(f64::abs), Some((-1.0, 1.0)));
        assert!(kink(|t| t.max(0.0)).is_some());
        assert!(kink(|t| if t < 0.0 { 0.0 } else { 1.0 }).is_some());
        assert!(kink(|t| 1000.0 * t * t).is_none());
        assert!(kink(|t| t.max(0.0).powi(2)).is_none()); // of the second order
        assert!(kink(|t| t.abs().powi(3)).is_none());
        assert!(kink(|_| 1.0).is_none());
    }

    #[test]
    fn outside_the_domain_there_is_no_slope() {
        let slope = slope::<f64>(1e-16, f64::sqrt);
        assert!(slope.value.is_nan() && slope.change.is_infinite());
    }
}
