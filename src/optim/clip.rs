//! Gradients cut to a size before the step.

use std::borrow::Borrow;

use crate::number::Classify;
use crate::param::Param;
use crate::scalar::Scalar;

/// Returns the parameters that have a gradient, each once.
fn distinct<T: Scalar>(parameters: impl IntoIterator<Item: Borrow<Param<T>>>) -> Vec<Param<T>> {
    let mut distinct: Vec<Param<T>> = Vec::new();
    for parameter in parameters {
        let parameter = parameter.borrow();
        if parameter.grad().is_some() && !distinct.iter().any(|known| known.is(parameter)) {
            distinct.push(parameter.clone());
        }
    }
    distinct
}

/// Scales the gradients of all parameters, so that the norm of all their elements together is at most `max_norm`, and
/// returns the norm before.
///
/// ```text
/// n  = √(Σ g²)
/// g *= min(1, max_norm / (n + 1e-6))
/// ```
///
/// This is `torch.nn.utils.clip_grad_norm_`. Where the norm is infinite or NaN, the gradients stay as they are: the caller
/// sees the norm, and may skip the step. PyTorch makes zeros and NaNs of them. A parameter without a gradient is left
/// alone.
///
/// # Panics
///
/// If `max_norm` is not a finite number of at least 0.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::Param;
/// use tapegrad::optim::clip_grad_norm;
///
/// let (w, b) = (Param::new(array![0.0]), Param::new(array![0.0]));
/// w.accumulate_grad(&array![3.0].into_dyn());
/// b.accumulate_grad(&array![4.0].into_dyn());
/// assert_eq!(clip_grad_norm([&w, &b], 1.0), 5.0);
/// assert!((w.grad().unwrap()[[0]] - 0.6_f64).abs() < 1e-6);
/// assert_eq!(clip_grad_norm([&w, &b], 10.0), w.grad().unwrap()[[0]].hypot(b.grad().unwrap()[[0]])); // short enough
/// ```
#[doc(alias = "clip_grad_norm_")]
#[track_caller]
pub fn clip_grad_norm<T: Scalar>(parameters: impl IntoIterator<Item: Borrow<Param<T>>>, max_norm: T) -> T {
    check("clip_grad_norm", "norm", max_norm);
    let parameters = distinct(parameters);
    // In f64, scaled by the largest element: no square overflows, and none is lost.
    let magnitudes = || parameters.iter().filter_map(Param::grad).map(|grad| grad.mapv(|g| g.to_f64().abs()));
    let largest =
        magnitudes().flatten().fold(0.0, |largest: f64, g| if largest.is_nan() || g <= largest { largest } else { g });
    if largest == 0.0 || !largest.is_finite() {
        return T::from_f64(largest);
    }
    let squares: f64 = magnitudes().map(|grad| grad.iter().map(|g| (g / largest) * (g / largest)).sum::<f64>()).sum();
    let norm = largest * squares.sqrt();
    let factor = max_norm.to_f64() / (norm + 1e-6);
    if factor < 1.0 {
        let factor = T::from_f64(factor);
        parameters.iter().for_each(|parameter| parameter.map_grad(|g| g * factor));
    }
    T::from_f64(norm)
}

/// Cuts every element of the gradients to the range from `-max` to `max`: `torch.nn.utils.clip_grad_value_`. NaN stays.
///
/// # Panics
///
/// If `max` is not a finite number of at least 0.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::Param;
/// use tapegrad::optim::clip_grad_value;
///
/// let w = Param::new(array![0.0, 0.0, 0.0]);
/// w.accumulate_grad(&array![-3.0, 0.5, 4.0].into_dyn());
/// clip_grad_value([&w], 1.0);
/// assert_eq!(*w.grad().unwrap(), array![-1.0, 0.5, 1.0].into_dyn());
/// ```
#[doc(alias = "clip_grad_value_")]
#[track_caller]
pub fn clip_grad_value<T: Scalar>(parameters: impl IntoIterator<Item: Borrow<Param<T>>>, max: T) {
    check("clip_grad_value", "value", max);
    let clip = |g: T| match g {
        g if g > max => max,
        g if g < -max => -max,
        g => g,
    };
    distinct(parameters).iter().for_each(|parameter| parameter.map_grad(clip));
}

#[track_caller]
fn check<T: Scalar>(name: &str, what: &str, max: T) {
    assert!(
        max.is_finite() && max >= T::ZERO,
        "{name}: a largest {what} of {max} is not a finite number of at least 0"
    );
}
