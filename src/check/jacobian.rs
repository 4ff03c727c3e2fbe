//! Lua torch's `nn.Jacobian`: every derivative of a module, one by one, against differences.

use ndarray::{Array2, ArrayD, ArrayRef2, Axis};

use super::restore::Restore;
use crate::nn::Module;
use crate::param::Param;
use crate::scalar::Scalar;

/// Returns the step of the differences, near the cube root of the type's precision.
fn step<T: Scalar>() -> f64 {
    if T::DTYPE == "f32" { f64::from(2.0_f32.powi(-7)) } else { f64::from(2.0_f32.powi(-17)) }
}

/// Returns the largest absolute error of [`Module::backward_delta`]: its Jacobian, an output at a time, against central
/// differences of [`Module::forward`], an input at a time.
///
/// An error of more than `1e-5` in `f64` is a wrong derivative, or a kink near `input`. NaN if anything is NaN.
///
/// # Panics
///
/// As the module does, if `input` does not fit.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::check::test_jacobian;
/// use tapegrad::nn::Tanh;
///
/// assert!(test_jacobian(&mut Tanh::new(), &array![[0.5, -1.0], [2.0, 0.0]]) < 1e-9);
/// ```
#[doc(alias("testJacobian", "nn.Jacobian"))]
#[track_caller]
pub fn test_jacobian<T: Scalar>(module: &mut (impl Module<T> + ?Sized), input: &ArrayRef2<T>) -> f64 {
    let _restore = Restore::new(module.parameters());
    let outputs = module.forward(input).len();
    let mut backward = Array2::zeros((outputs, input.len()));
    for (k, mut row) in backward.axis_iter_mut(Axis(0)).enumerate() {
        let delta = unit(module, k);
        row.iter_mut().zip(module.backward_delta(input, &delta)).for_each(|(to, from)| *to = from.to_f64());
    }
    let mut moved = input.to_owned();
    let forward = differences::<T>(input.len(), outputs, |k, by| {
        let element = moved.iter_mut().nth(k).expect("one of the input's elements");
        let before = *element;
        *element = T::from_f64(before.to_f64() + by);
        let at = element.to_f64();
        let output = module.forward(&moved).to_owned();
        if let Some(element) = moved.iter_mut().nth(k) {
            *element = before;
        }
        (at, output)
    });
    module.forward(input);
    largest_difference(&backward, &forward)
}

/// Returns the largest absolute error of [`Module::backward_update_gradient`] for `parameter`: its Jacobian, an output at
/// a time, against central differences of [`Module::forward`], an element of the parameter at a time.
///
/// The parameter's value and gradient are as before afterwards.
///
/// # Panics
///
/// As the module does, if `input` does not fit.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use rand::{SeedableRng, rngs::StdRng};
/// use tapegrad::check::test_jacobian_parameters;
/// use tapegrad::nn::{Linear, Module};
///
/// let mut layer = Linear::<f64>::new(3, 2, &mut StdRng::seed_from_u64(0));
/// for parameter in layer.parameters().to_vec() {
///     assert!(test_jacobian_parameters(&mut layer, &array![[1.0, 2.0, 3.0]], &parameter) < 1e-9);
/// }
/// ```
#[doc(alias = "testJacobianParameters")]
#[track_caller]
pub fn test_jacobian_parameters<T: Scalar>(
    module: &mut (impl Module<T> + ?Sized),
    input: &ArrayRef2<T>,
    parameter: &Param<T>,
) -> f64 {
    let _restore = restore(module, parameter);
    let outputs = module.forward(input).len();
    let mut backward = Array2::zeros((outputs, parameter.shape().elements()));
    let ones = ArrayD::ones(parameter.value().raw_dim());
    for (k, mut row) in backward.axis_iter_mut(Axis(0)).enumerate() {
        // Something is there already: the module must add to it.
        parameter.zero_grad();
        parameter.accumulate_grad(&ones);
        let delta = unit(module, k);
        module.backward_update_gradient(input, &delta);
        if let Some(grad) = parameter.grad() {
            row.iter_mut().zip(grad.iter()).for_each(|(to, from)| *to = from.to_f64() - 1.0);
        }
    }
    let forward = parameter_differences(module, input, parameter, outputs);
    module.forward(input);
    largest_difference(&backward, &forward)
}

/// Returns the largest absolute error of [`Module::update_parameters`]: where a step of 1 takes `parameter` for each
/// single output, against where central differences of [`Module::forward`] say it should go.
///
/// The parameter's value and gradient, and those of the module's other parameters, are as before afterwards.
///
/// # Panics
///
/// As the module does, if `input` does not fit.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::Param;
/// use tapegrad::check::test_jacobian_update_parameters;
/// use tapegrad::nn::Linear;
///
/// let weight = Param::new(array![[0.5], [-1.0]]);
/// let mut layer = Linear::from_params(weight.clone(), None);
/// assert!(test_jacobian_update_parameters(&mut layer, &array![[1.0, 2.0]], &weight) < 1e-9);
/// assert_eq!(*weight.value(), array![[0.5], [-1.0]].into_dyn());
/// ```
#[doc(alias = "testJacobianUpdateParameters")]
#[track_caller]
pub fn test_jacobian_update_parameters<T: Scalar>(
    module: &mut (impl Module<T> + ?Sized),
    input: &ArrayRef2<T>,
    parameter: &Param<T>,
) -> f64 {
    let restore_at_end = restore(module, parameter);
    let outputs = module.forward(input).len();
    let value = parameter.value();
    let mut backward = Array2::zeros((outputs, value.len()));
    for (k, mut row) in backward.axis_iter_mut(Axis(0)).enumerate() {
        let _restore = restore(module, parameter);
        module.zero_grad();
        parameter.zero_grad();
        let delta = unit(module, k);
        module.backward_update_gradient(input, &delta);
        module.update_parameters(T::ONE);
        row.iter_mut().zip(parameter.value().iter()).for_each(|(to, from)| *to = from.to_f64());
    }
    let mut forward = parameter_differences(module, input, parameter, outputs);
    for mut row in forward.rows_mut() {
        row.iter_mut().zip(value.iter()).for_each(|(slope, from)| *slope = from.to_f64() - *slope);
    }
    drop(restore_at_end);
    module.forward(input);
    largest_difference(&backward, &forward)
}

/// Keeps the module's parameters, and this one, which may be none of them.
fn restore<T: Scalar>(module: &(impl Module<T> + ?Sized), parameter: &Param<T>) -> Restore<T> {
    let mut params = module.parameters().to_vec();
    params.push(parameter.clone());
    Restore::new(&params)
}

/// Returns a delta of one 1, at output `k`, and zeros.
fn unit<T: Scalar>(module: &(impl Module<T> + ?Sized), k: usize) -> Array2<T> {
    let mut delta = Array2::zeros(module.output().dim());
    if let Some(element) = delta.iter_mut().nth(k) {
        *element = T::ONE;
    }
    delta
}

fn parameter_differences<T: Scalar>(
    module: &mut (impl Module<T> + ?Sized),
    input: &ArrayRef2<T>,
    parameter: &Param<T>,
    outputs: usize,
) -> Array2<f64> {
    let value = parameter.value();
    let differences = differences::<T>(value.len(), outputs, |k, by| {
        let mut moved = ArrayD::clone(&value);
        let element = moved.iter_mut().nth(k).expect("one of the parameter's elements");
        *element = T::from_f64(element.to_f64() + by);
        let at = element.to_f64();
        parameter.set_value(moved);
        (at, module.forward(input).to_owned())
    });
    parameter.set_value(ArrayD::clone(&value));
    differences
}

/// Returns the Jacobian, an output in each row, of what `forward` gives with element `k` moved. `forward` says where the
/// element was moved to, which rounding decides.
fn differences<T: Scalar>(
    inputs: usize,
    outputs: usize,
    mut forward: impl FnMut(usize, f64) -> (f64, Array2<T>),
) -> Array2<f64> {
    let mut jacobian = Array2::zeros((outputs, inputs));
    for (k, mut column) in jacobian.axis_iter_mut(Axis(1)).enumerate() {
        let (above, high) = forward(k, step::<T>());
        let (below, low) = forward(k, -step::<T>());
        for (to, (high, low)) in column.iter_mut().zip(high.iter().zip(&low)) {
            *to = (high.to_f64() - low.to_f64()) / (above - below);
        }
    }
    jacobian
}

/// Returns the largest absolute difference; NaN if there is one.
fn largest_difference(a: &Array2<f64>, b: &Array2<f64>) -> f64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, |largest, x| if x > largest || x.is_nan() { x } else { largest })
}
