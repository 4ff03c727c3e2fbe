//! [`Slope`]: the derivative of a function of one number, from its values alone.

use crate::scalar::Scalar;

/// A value of a function, and the approximate size of its rounding error.
pub(super) type Value = (f64, f64);

/// Which steps are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Steps {
    /// Three, which suffice for most smooth functions.
    Few,
    /// The same and smaller ones, until only rounding is left: for a pole, a kink or the end of the domain nearby.
    Small,
    /// From 1 down: also for a slope that rounding hides in small steps.
    All,
}

impl Steps {
    /// Returns the exponents `e` of the largest and the smallest step `h = 2^-e`. Every second exponent is used.
    fn exponents<T: Scalar>(self) -> std::ops::RangeInclusive<i32> {
        match (self, T::DTYPE == "f32") {
            (Self::Few, true) => 4..=8,
            (Self::Few, false) => 10..=14,
            (Self::Small, true) => 4..=26,
            (Self::Small, false) => 10..=40,
            (Self::All, true) => 0..=26,
            (Self::All, false) => 0..=40,
        }
    }
}

/// The slopes over one step.
#[derive(Clone, Copy, Debug)]
struct Level {
    h: f64,
    left: f64,
    right: f64,
    /// The rounding error of the slope on either side.
    rounding: f64,
}

impl Level {
    fn central(&self) -> f64 {
        self.left / 2.0 + self.right / 2.0
    }

    /// Returns the difference between the slopes on the left and on the right.
    fn gap(&self) -> f64 {
        (self.right - self.left).abs()
    }
}

/// The slope of `p` at 0, from central differences with shrinking steps.
///
/// A difference `C(h) = (p(h) - p(-h)) / 2h` has a truncation error `h² p'''/6 + …` and a rounding error of about `ε |p| / h`.
/// Two steps `h` and `h/4` give two extrapolations. `(16 C(h/4) - C(h)) / 15` removes the error term in `h²`.
/// `(4 C(h/4) - C(h)) / 3` removes an error term in `h`, which appears where the second derivative jumps.
///
/// An estimate is a candidate if every smaller step confirms it to within rounding (the choice of Lepski 1990). The candidate
/// that changed least from the step before is taken. So the result depends neither on rounding, nor on a kink or pole some
/// way off, nor on two large steps that agree by chance.
#[derive(Debug)]
pub(super) struct Slope {
    value: f64,
    change: f64,
    rounding: f64,
    /// The smaller step of the estimate.
    step: f64,
    /// The steps with finite values on both sides, from the largest to the smallest.
    levels: Vec<Level>,
    /// For each estimate: its smaller step, its value, and its change from the one before.
    estimates: Vec<(f64, f64, f64)>,
}

/// An estimate from two steps.
#[derive(Clone, Copy)]
struct Estimate {
    step: f64,
    value: f64,
    rounding: f64,
}

/// Returns the slope of `p` at 0, where its value is `at`.
pub(super) fn slope<T: Scalar>(steps: Steps, at: Value, mut p: impl FnMut(f64) -> Value) -> Slope {
    let mut levels: Vec<Level> = Vec::new();
    for exponent in steps.exponents::<T>().step_by(2) {
        let h = f64::from(-exponent).exp2();
        let (below, above) = (p(-h), p(h));
        let rounding = at.1.max(below.1).max(above.1) / h;
        let level = Level { h, left: (at.0 - below.0) / h, right: (above.0 - at.0) / h, rounding };
        // A large step may leave the domain.
        if level.left.is_finite() && level.right.is_finite() && rounding.is_finite() {
            levels.push(level);
        }
    }
    let mut slope = Slope {
        value: f64::NAN,
        change: f64::INFINITY,
        rounding: f64::INFINITY,
        step: 0.0,
        levels: Vec::new(),
        estimates: Vec::new(),
    };
    for share in [15.0, 3.0] {
        let adjacent = levels.windows(2).filter(|pair| pair[0].h == 4.0 * pair[1].h);
        let better: Vec<Estimate> = adjacent
            .map(|pair| Estimate {
                step: pair[1].h,
                value: pair[1].central() + (pair[1].central() - pair[0].central()) / share,
                rounding: pair[1].rounding * (1.0 + 1.0 / share) + pair[0].rounding / share,
            })
            .collect();
        for k in 1..better.len() {
            let Estimate { step, value, rounding } = better[k];
            let change = (value - better[k - 1].value).abs();
            slope.estimates.push((step, value, change));
            let confirmed = better[k + 1..]
                .iter()
                .all(|finer| (finer.value - value).abs() <= CONFIDENCE / 2.0 * (finer.rounding + rounding));
            if confirmed && change + rounding < slope.change + slope.rounding {
                (slope.value, slope.change, slope.rounding, slope.step) = (value, change, rounding, step);
            }
        }
    }
    slope.levels = levels;
    slope
}

/// A difference is significant if it is this many times its rounding error.
pub(super) const CONFIDENCE: f64 = 8.0;

impl Slope {
    /// Returns the derivative; NaN if too few steps have finite values.
    pub(super) fn value(&self) -> f64 {
        self.value
    }

    /// Returns the change from the previous estimate; infinity for the first estimate.
    pub(super) fn change(&self) -> f64 {
        self.change
    }

    /// Returns the rounding error.
    pub(super) fn rounding(&self) -> f64 {
        self.rounding
    }

    /// Returns the slopes on the left and on the right if they differ.
    ///
    /// Where the function has a second derivative, their difference shrinks with the step, here to a quarter. At a kink it
    /// stays; at a jump it grows. Near a kink it vanishes once the step is smaller than the distance to the kink.
    pub(super) fn kink<T: Scalar>(&self, scale: f64) -> Option<(f64, f64)> {
        let noticeable = if T::DTYPE == "f32" { 2e-2 } else { 1e-4 };
        let kink = self.last_gap(CONFIDENCE)?;
        (kink.gap() > noticeable * scale).then_some((kink.left, kink.right))
    }

    /// Returns the slopes on the left and on the right if they stay apart, even a little, and `found` is near one of them or
    /// between them. Such a small difference proves neither a kink nor an error.
    pub(super) fn kink_around(&self, found: f64) -> Option<(f64, f64)> {
        let kink = self.last_gap(2.0)?;
        let (left, right, by) = (kink.left, kink.right, kink.gap() / 4.0);
        (left.min(right) - by..=left.max(right) + by).contains(&found).then_some((left, right))
    }

    /// Returns the smallest step whose slopes differ by more than `times` their rounding error. `None` if the difference was
    /// twice as large at the step before, or if a smaller step is exact enough to show that it is gone.
    fn last_gap(&self, times: f64) -> Option<&Level> {
        let last = self.levels.iter().rposition(|level| level.gap() > times * level.rounding)?;
        let (level, finer) = (&self.levels[last], &self.levels[last + 1..]);
        let before = last.checked_sub(1).map(|before| &self.levels[before])?;
        let stays = level.gap() > 0.5 * before.gap();
        let gone = |finer: &Level| finer.gap() < 0.5 * level.gap() && times * finer.rounding < level.gap();
        (stays && !finer.iter().any(gone)).then_some(level)
    }

    /// Returns how far the derivative may be from the value: the larger of four times the last change and the differences
    /// between left and right slope at the two smallest steps where these exceed rounding. Near a kink, the derivative is the
    /// slope of one side.
    pub(super) fn spread(&self) -> f64 {
        let readable = self.levels.iter().rev().filter(|level| level.gap() > level.rounding).take(2);
        readable.map(Level::gap).fold(4.0 * self.change, f64::max)
    }

    /// Returns whether the last two estimates agree to `within` plus rounding.
    pub(super) fn settled(&self, within: f64) -> bool {
        self.change <= within + self.rounding
    }

    /// Returns whether some estimate from a larger step agrees to `within`, both with `found` and with the estimate before it.
    pub(super) fn ever(&self, found: f64, within: f64) -> bool {
        let close = |&(step, value, change): &(f64, f64, f64)| {
            step > self.step && (value - found).abs() <= within && change <= within
        };
        self.estimates.iter().any(close)
    }

    /// Returns whether the function is constant over all steps.
    pub(super) fn is_flat(&self) -> bool {
        !self.levels.is_empty() && self.levels.iter().all(|level| level.left == 0.0 && level.right == 0.0)
    }

    /// Returns whether both the slope and `found` are 0 to within rounding, at a step that is not small.
    pub(super) fn vanishes<T: Scalar>(&self, found: f64) -> bool {
        let small = if T::DTYPE == "f32" { 2.0_f64.powi(-12) } else { 2.0_f64.powi(-20) };
        let least = CONFIDENCE * self.rounding;
        self.step >= small && self.value.abs() <= least && found.abs() <= least
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact<T: Scalar>(steps: Steps, rounding: f64, p: impl Fn(f64) -> f64) -> Slope {
        slope::<T>(steps, (p(0.0), rounding), |t| (p(t), rounding))
    }

    #[test]
    fn slopes_of_smooth_functions_are_exact_to_many_digits() {
        for (p, expected) in [
            (Box::new(|t: f64| (1.0 + t).ln()) as Box<dyn Fn(f64) -> f64>, 1.0),
            (Box::new(|t: f64| (5e-4 + t).ln()), 2e3), // the largest step leaves the domain
            (Box::new(|t: f64| (2.0 * t).sin()), 2.0),
            (Box::new(|t: f64| (t + 2e-4).abs()), 1.0), // and here it steps over a kink
            (Box::new(|t: f64| t + t.max(0.0).powi(2)), 1.0),
        ] {
            let slope = exact::<f64>(Steps::Small, 1e-16, p);
            assert!((slope.value - expected).abs() < 1e-9 * expected, "{} {expected}", slope.value);
            assert!(slope.kink::<f64>(expected).is_none());
        }
    }

    #[test]
    fn large_steps_that_agree_by_chance_are_not_believed() {
        let steep = exact::<f64>(Steps::All, 1e-16, |t| (1e5 * t).sin());
        assert!((steep.value - 1e5).abs() < 1e-7 * 1e5, "{}", steep.value);
        let pole = exact::<f64>(Steps::All, 1e-11, |t| 1.0 / (1e-5 + t));
        assert!((pole.value + 1e10).abs() < 1e-7 * 1e10, "{}", pole.value);
        assert!(pole.kink::<f64>(1e10).is_none(), "a pole near by is no jump");
    }

    #[test]
    fn kinks_and_jumps_are_told_from_bends() {
        let kink = |p: fn(f64) -> f64| exact::<f64>(Steps::Small, 1e-16, p).kink::<f64>(1.0);
        assert_eq!(kink(f64::abs), Some((-1.0, 1.0)));
        assert!(kink(|t| t.max(0.0)).is_some());
        assert!(kink(|t| if t < 0.0 { 0.0 } else { 1.0 }).is_some());
        assert!(kink(|t| 1000.0 * t * t).is_none());
        assert!(kink(|t| t.max(0.0).powi(2)).is_none()); // of the second order
        assert!(kink(|t| t.abs().powi(3)).is_none());
        assert!(kink(|_| 1.0).is_none());
        assert!(kink(|t| t + 2e-3 * t.abs()).is_some(), "a fine one");
        assert!(kink(|t| t + 2e-5 * t.abs()).is_none(), "too fine");
    }

    #[test]
    fn outside_the_domain_there_is_no_slope() {
        let slope = exact::<f64>(Steps::All, 1e-16, f64::sqrt);
        assert!(slope.value.is_nan() && slope.change.is_infinite());
    }
}
