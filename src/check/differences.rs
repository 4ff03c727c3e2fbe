//! [`Differences`]: a gradient against differences of its function, along a direction.

use ndarray::ArrayD;

use super::report::{Failure, Number, Order, Verdict};
use super::slope::{CONFIDENCE, Slope, Steps, Value, slope};
use crate::scalar::Scalar;

/// The gradients by each variable; `None` if the function does not depend on it.
pub(super) type Gradients<T> = Vec<Option<ArrayD<T>>>;

/// A sum, and the sum of its terms' magnitudes, which tells how exact it is.
pub(super) type Sum = (f64, f64);

/// The share of a derivative that rounding may hide. It may be up to 2 where differences agree to a sixteenth.
const MOST_HIDDEN: f64 = 0.25;

/// A function `p`, the tape's gradient of it, and the point where both are compared.
pub(super) struct Differences<'a, T> {
    order: Order,
    tolerance: f64,
    /// Inputs, then parameters.
    at: &'a [ArrayD<T>],
    gradients: &'a Gradients<T>,
    p: &'a dyn Fn(&[ArrayD<T>]) -> Sum,
    /// The value of `p` at `at`.
    here: Sum,
}

/// The result of a comparison along a direction.
pub(super) struct Finding {
    /// `None` if the derivatives agree.
    verdict: Option<Verdict>,
    order: Order,
    found: f64,
    expected: f64,
    error: f64,
    hidden: f64,
    detail: String,
}

impl Finding {
    /// Returns what is wrong; `None` if the derivatives agree.
    pub(super) fn verdict(&self) -> Option<Verdict> {
        self.verdict
    }

    /// Returns the relative difference.
    pub(super) fn error(&self) -> f64 {
        self.error
    }

    /// Returns the relative error that rounding may hide.
    pub(super) fn hidden(&self) -> f64 {
        self.hidden
    }

    /// Returns the absolute difference.
    pub(super) fn difference(&self) -> f64 {
        (self.found - self.expected).abs()
    }

    /// Returns the failure; its numbers are those for a direction of length 1 instead of `length`.
    pub(super) fn failure(self, verdict: Verdict, length: f64) -> Failure {
        Failure::new(verdict, self.order, self.found / length, self.expected / length).because(self.detail)
    }
}

impl<'a, T: Scalar> Differences<'a, T> {
    pub(super) fn new(
        order: Order,
        tolerance: f64,
        at: &'a [ArrayD<T>],
        gradients: &'a Gradients<T>,
        p: &'a dyn Fn(&[ArrayD<T>]) -> Sum,
    ) -> Self {
        let here = p(at);
        Self { order, tolerance, at, gradients, p, here }
    }

    /// Returns the order of the derivative.
    pub(super) fn order(&self) -> Order {
        self.order
    }

    /// Returns whether the tape has a gradient by this variable.
    pub(super) fn has_gradient(&self, variable: usize) -> bool {
        self.gradients[variable].is_some()
    }

    /// Compares the gradients with differences along `v`: first with a few steps, and with more if these do not agree.
    pub(super) fn look(&self, v: &[ArrayD<f64>]) -> Finding {
        let terms = || pairs(self.gradients, v).map(|(g, v)| g * v);
        let (found, size): (f64, f64) = (terms().sum(), norm(terms()));
        // The inputs are rounded, too: each moves `p` by its share of this.
        let of_inputs = |h: f64| {
            let sizes = self.at.iter().zip(v).map(|(x, v)| {
                let mut sizes = v.clone();
                sizes.zip_mut_with(x, |v, x| *v = if *v == 0.0 { 0.0 } else { x.to_f64().abs() + h.abs() * v.abs() });
                sizes
            });
            let sizes: Vec<ArrayD<f64>> = sizes.collect();
            norm(pairs(self.gradients, &sizes).map(|(g, x)| g * x))
        };
        let slope = |steps: Steps, scatter: f64| {
            let value = |h: f64, (value, terms): Sum| -> Value {
                (value, T::EPSILON.to_f64() * (terms + of_inputs(h)) + scatter)
            };
            slope::<T>(steps, value(0.0, self.here), |h| value(h, self.value_beside(v, |_, v| h * v)))
        };
        let judge = |slope: &Slope, steps: Steps| self.judge(slope, steps, found, size, v);
        let quick = slope(Steps::Few, 0.0);
        let finding = judge(&quick, Steps::Few);
        let allowed = self.tolerance * size.max(found.abs());
        if finding.verdict.is_none() && finding.hidden <= self.tolerance && quick.change() <= allowed {
            return finding;
        }
        // The function is constant, and the tape says so.
        if found == 0.0 && size == 0.0 && quick.is_flat() {
            return Finding { verdict: None, hidden: 0.0, ..finding };
        }
        // Cancellation within the function shows in its values at neighbouring numbers.
        let ulps = 2.0 * T::EPSILON.to_f64();
        let next = |x: f64, v: f64| ulps * v.signum() * if x == 0.0 { v.abs() } else { x.abs() };
        let scatter = self.scatter(v, next);
        let finding = judge(&slope(Steps::Small, scatter), Steps::Small);
        match finding.verdict {
            None | Some(Verdict::NotDifferentiable) => finding,
            // A large step may show a slope that rounding hides in small ones.
            Some(Verdict::Inconclusive) => judge(&slope(Steps::All, scatter), Steps::All),
            // A small move is lost in a sum with a large number, and leaves no scatter between neighbours.
            _ => {
                let wide = if T::DTYPE == "f32" { 2.0_f64.powi(-12) } else { 2.0_f64.powi(-24) };
                let scatter = scatter.max(self.scatter(v, |_, v| wide * v));
                let second = judge(&slope(Steps::Small, scatter), Steps::Small);
                let excused = matches!(second.verdict, None | Some(Verdict::Inconclusive));
                if excused { judge(&slope(Steps::All, scatter), Steps::All) } else { finding }
            }
        }
    }

    /// Returns `p` where each element `x` that `v` moves is moved by `by(x, v)`.
    fn value_beside(&self, v: &[ArrayD<f64>], by: impl Fn(f64, f64) -> f64) -> Sum {
        let beside = |(x, v): (&ArrayD<T>, &ArrayD<f64>)| {
            let mut x = x.clone();
            x.zip_mut_with(v, |x, v| {
                if *v != 0.0 {
                    *x = T::from_f64(x.to_f64() + by(x.to_f64(), *v));
                }
            });
            x
        };
        let beside: Vec<ArrayD<T>> = self.at.iter().zip(v).map(beside).collect();
        (self.p)(&beside)
    }

    /// Returns an estimate of the noise of `p` (Moré and Wild 2011, Estimating computational noise). It uses differences of orders
    /// 2 and 3 at four points on each side, which are `next` apart.
    fn scatter(&self, v: &[ArrayD<f64>], next: impl Fn(f64, f64) -> f64) -> f64 {
        let value = |k: f64| self.value_beside(v, |x, v| k * next(x, v)).0;
        let mut scatter = 0.0;
        // Each side alone: a kink or a jump right here is not noise.
        for side in [-1.0, 1.0] {
            let mut differences: Vec<f64> = (1..=4).map(|k| value(side * f64::from(k))).collect();
            // Noise of size 1 has differences of order k of size √((2k)! / k!²). Those of order 1 contain the slope.
            for size in [2.0, 6.0, 20.0_f64] {
                differences = differences.windows(2).map(|pair| pair[1] - pair[0]).collect();
                let mean = norm(differences.iter().copied()) / (differences.len() as f64).sqrt();
                if size > 2.0 && mean.is_finite() {
                    scatter = f64::max(scatter, mean / size.sqrt());
                }
            }
        }
        scatter
    }

    /// Compares the slope along `v` with the derivative `found`, a sum of terms whose norm is `size`.
    fn judge(&self, slope: &Slope, steps: Steps, found: f64, size: f64, v: &[ArrayD<f64>]) -> Finding {
        let expected = slope.value();
        let scale = found.abs().max(size).max(if expected.is_nan() { 0.0 } else { expected.abs() });
        let difference = (found - expected).abs();
        // Subnormal numbers have fewer digits: two of them agree.
        let smallest = if T::DTYPE == "f32" { f64::from(f32::MIN_POSITIVE) } else { f64::MIN_POSITIVE };
        let allowed = self.tolerance * scale + smallest;
        let rounding = CONFIDENCE * slope.rounding();
        let agrees = difference <= allowed + rounding;
        let kink = slope.kink::<T>(scale).or_else(|| if agrees { None } else { slope.kink_around(found) });
        let hidden = if rounding <= allowed { 0.0 } else { rounding / scale };
        let (verdict, detail) = if !scale.is_finite() {
            (Some(Verdict::Inconclusive), "the derivative along a direction is not finite".into())
        } else if let Some((left, right)) = kink {
            let single = v.iter().flatten().filter(|v| **v != 0.0).count() == 1;
            let length = if single { v.iter().flatten().sum() } else { 1.0 };
            let shown = |slope: f64| Number::new(rounded::<T>(slope / length));
            (Some(Verdict::NotDifferentiable), format!("{} to the left, {} to the right", shown(left), shown(right)))
        } else if expected.is_nan() {
            (Some(Verdict::NotDifferentiable), "the function's domain ends here".into())
        } else if steps == Steps::All && slope.vanishes::<T>(size.max(found.abs())) {
            (None, String::new())
        } else if agrees && hidden > MOST_HIDDEN && !(hidden <= 2.0 && difference <= scale / 16.0) {
            let detail = format!("rounding hides the answer: differences are only exact to {rounding:.1e}");
            (Some(Verdict::Inconclusive), detail)
        } else if agrees {
            (None, String::new())
        } else if !slope.settled(allowed) && difference <= slope.spread() {
            let detail = format!("differences do not converge: the last two are {:.1e} apart", slope.change());
            (Some(Verdict::NotDifferentiable), detail)
        } else if slope.ever(found, allowed) {
            let detail = "larger steps agree with the tape, smaller ones do not".into();
            (Some(Verdict::Inconclusive), detail)
        } else {
            (Some(Verdict::Wrong), String::new())
        };
        let error = if difference == 0.0 || scale == 0.0 { 0.0 } else { difference / scale.max(rounding) };
        Finding { verdict, order: self.order, found, expected: rounded::<T>(expected), error, hidden, detail }
    }
}

/// Returns how far a step of 1 moves an element: by 1, or by more if the element is large.
pub(super) fn reach<T: Scalar>(x: T) -> f64 {
    (x.to_f64().abs() / 16.0).max(1.0)
}

/// Returns the sum with the products of two arrays' elements added.
pub(super) fn add_products<'a, A: Scalar, B: Scalar>(
    sum: Sum,
    a: impl IntoIterator<Item = &'a A>,
    b: impl IntoIterator<Item = &'a B>,
) -> Sum {
    let terms = a.into_iter().zip(b).map(|(a, b)| a.to_f64() * b.to_f64());
    terms.fold(sum, |(sum, size), term| (sum + term, size + term.abs()))
}

/// Returns each element of the gradients with the element of the direction; variables without a gradient are left out.
fn pairs<'a, T: Scalar>(
    gradients: &'a Gradients<T>,
    v: &'a [ArrayD<f64>],
) -> impl Iterator<Item = (f64, f64)> + Clone + 'a {
    let known = gradients.iter().zip(v).filter_map(|(gradient, v)| gradient.as_ref().map(|gradient| (gradient, v)));
    known.flat_map(|(gradient, v)| gradient.iter().zip(v).map(|(g, v)| (g.to_f64(), *v)))
}

/// Returns the root of the sum of squares, also where the sum overflows.
fn norm(elements: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = elements.clone().map(f64::abs).fold(0.0, f64::max);
    if largest == 0.0 || !largest.is_finite() {
        return largest;
    }
    largest * elements.map(|x| (x / largest).powi(2)).sum::<f64>().sqrt()
}

/// Returns a number rounded to the digits that differences can know.
fn rounded<T: Scalar>(x: f64) -> f64 {
    let digits = if T::DTYPE == "f32" { 4 } else { 9 };
    let shown = format!("{x:.digits$e}");
    let rounded = shown.parse().unwrap_or(x);
    // Messages show 0 instead of -0.
    if rounded == 0.0 { 0.0 } else { rounded }
}
