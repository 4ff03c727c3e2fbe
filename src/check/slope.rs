//! [`Slope`]: the derivative of a function of one number, from its values alone.

use crate::scalar::Scalar;

/// A value of a function, and about how far rounding may have taken it.
pub(super) type Value = (f64, f64);

/// How many steps are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Steps {
    /// Three, enough for most smooth functions.
    Few,
    /// From there down to where rounding is all that is left: for poles, kinks, and ends of a domain nearby.
    Small,
    /// From 1 down: also for a slope that rounding hides in a smaller step.
    All,
}

impl Steps {
    /// Returns the exponents of the first and the last step `h = 2^-e`, two apart.
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

/// What one step shows.
#[derive(Clone, Copy, Debug)]
struct Level {
    h: f64,
    left: f64,
    right: f64,
    /// What rounding may have added to the slope at either side.
    rounding: f64,
}

impl Level {
    fn central(&self) -> f64 {
        self.left / 2.0 + self.right / 2.0
    }

    /// How far the slopes at the left and at the right are apart.
    fn gap(&self) -> f64 {
        (self.right - self.left).abs()
    }
}

/// The slope of `p` at 0, from central differences of shrinking steps.
///
/// A difference `C(h) = (p(h) - p(-h)) / 2h` is off by `h² p'''/6 + …` and by rounding, about `ε |p| / h`. Two steps `h` and
/// `h/4` give `(16 C(h/4) - C(h)) / 15`, free of the first term, and `(4 C(h/4) - C(h)) / 3`, free of one in `h`, which there is
/// where the second derivative jumps. Of all these the one is believed that changed least from the step before, among
/// those that every smaller step confirms to within its rounding (the choice of Lepski 1990): so neither a kink or a pole
/// some way off nor rounding gets the upper hand, and no two large steps that agree by chance.
#[derive(Debug)]
pub(super) struct Slope {
    /// The derivative; NaN if the function has too few values here.
    pub(super) value: f64,
    /// How far the estimate before was from it; infinite if there are too few.
    pub(super) change: f64,
    /// What rounding may have added.
    pub(super) rounding: f64,
    /// The smaller step of the estimate.
    step: f64,
    /// Those with values at both sides, from the largest step to the smallest.
    levels: Vec<Level>,
    /// The smaller step of each estimate, the estimate, and how far it is from the one before.
    estimates: Vec<(f64, f64, f64)>,
}

/// An estimate from two steps.
#[derive(Clone, Copy)]
struct Estimate {
    step: f64,
    value: f64,
    rounding: f64,
}

/// Returns the slope at 0 of `p`, which is `at` there.
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

/// How many times the usual rounding a difference must be to be one.
pub(super) const CONFIDENCE: f64 = 8.0;

impl Slope {
    /// Returns the slopes at the left and at the right if they differ.
    ///
    /// Where there is a second derivative their difference shrinks with the step, to a quarter here. At a kink it stays,
    /// and at a jump it grows; in steps smaller than the way to a kink nearby it is gone.
    pub(super) fn kink<T: Scalar>(&self, scale: f64) -> Option<(f64, f64)> {
        let noticeable = if T::DTYPE == "f32" { 2e-2 } else { 1e-4 };
        let kink = self.last_gap(CONFIDENCE)?;
        (kink.gap() > noticeable * scale).then_some((kink.left, kink.right))
    }

    /// Returns the slopes at the left and at the right if they stay apart, if only a little, and `found` is about one of
    /// them or between them. So little would be no proof of a kink, but it is none of an error either.
    pub(super) fn kink_around(&self, found: f64) -> Option<(f64, f64)> {
        let kink = self.last_gap(2.0)?;
        let (left, right, by) = (kink.left, kink.right, kink.gap() / 4.0);
        (left.min(right) - by..=left.max(right) + by).contains(&found).then_some((left, right))
    }

    /// Returns the smallest step at which the slopes are apart by more than so many times their rounding, if they were hardly
    /// further apart at the step before, and if no smaller step that would show it says otherwise.
    fn last_gap(&self, times: f64) -> Option<&Level> {
        let last = self.levels.iter().rposition(|level| level.gap() > times * level.rounding)?;
        let (level, finer) = (&self.levels[last], &self.levels[last + 1..]);
        let before = last.checked_sub(1).map(|before| &self.levels[before])?;
        let stays = level.gap() > 0.5 * before.gap();
        let gone = |finer: &Level| finer.gap() < 0.5 * level.gap() && times * finer.rounding < level.gap();
        (stays && !finer.iter().any(gone)).then_some(level)
    }

    /// Returns how far from the value the derivative may be, as the differences show: by as much as the last two
    /// estimates and the slopes at either side of the last two steps that rounding leaves readable are apart. Where there is
    /// a kink nearby the function has the slope of one side.
    pub(super) fn spread(&self) -> f64 {
        let readable = self.levels.iter().rev().filter(|level| level.gap() > level.rounding).take(2);
        readable.map(Level::gap).fold(4.0 * self.change, f64::max)
    }

    /// Returns whether the estimates agree as closely as this.
    pub(super) fn settled(&self, within: f64) -> bool {
        self.change <= within + self.rounding
    }

    /// Returns whether two estimates in a row, from larger steps than the one believed, are as close to `found` as this.
    pub(super) fn ever(&self, found: f64, within: f64) -> bool {
        let close = |&(step, value, change): &(f64, f64, f64)| {
            step > self.step && (value - found).abs() <= within && change <= within
        };
        self.estimates.iter().any(close)
    }

    /// Returns whether the function has one value only.
    pub(super) fn is_flat(&self) -> bool {
        !self.levels.is_empty() && self.levels.iter().all(|level| level.left == 0.0 && level.right == 0.0)
    }

    /// Returns whether the slope is 0 to within rounding at a step that is not small, and `found` is, too.
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
