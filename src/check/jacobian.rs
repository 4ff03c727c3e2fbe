//! Lua torch's `nn.Jacobian`: the derivatives of a module against differences, one element at a time.

use ndarray::{Array, Array2, ArrayD, ArrayRef, ArrayRef2, Axis, Dimension};

use super::restore::Restore;
use crate::nn::{Draws, Module};
use crate::param::Param;
use crate::scalar::Scalar;

/// Returns the step of the differences, near the cube root of the type's precision.
fn step<T: Scalar>() -> f64 {
    if T::DTYPE == "f32" { f64::from(2.0_f32.powi(-7)) } else { f64::from(2.0_f32.powi(-17)) }
}

/// Returns the largest absolute error of [`Module::backward_delta`].
///
/// The Jacobian by `backward_delta`, one output at a time, is compared with central differences of [`Module::forward`], one
/// element of `input` at a time. In `f64`, an error above `1e-5` means a wrong derivative or a kink near `input`. The
/// result is NaN if any of the numbers is NaN.
///
/// # Panics
///
/// If the module panics because `input` does not fit it.
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
    let _restore = restore(module, module.parameters());
    module.set_draws(Draws::Held);
    let backward = by_output(module, input, input.len(), |module, delta| {
        module.backward_delta(input, delta).iter().map(|x| x.to_f64()).collect()
    });
    let forward = differences(input, backward.nrows(), |moved| module.forward(&moved).to_owned());
    module.forward(input);
    module.set_draws(Draws::Fresh);
    largest_difference(&backward, &forward)
}

/// Returns the largest absolute error of [`Module::backward_update_gradient`] for `parameter`.
///
/// The Jacobian by `backward_update_gradient`, one output at a time, is compared with central differences of
/// [`Module::forward`], one element of the parameter at a time. Afterwards the parameter's value and gradient are as they were
/// before.
///
/// # Panics
///
/// If the module panics because `input` does not fit it.
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
    let _restore = restore(module, std::slice::from_ref(parameter));
    module.set_draws(Draws::Held);
    let ones = ArrayD::ones(parameter.value().raw_dim());
    let backward = by_output(module, input, ones.len(), |module, delta| {
        // The gradient starts at 1: the module must add to it.
        parameter.zero_grad();
        parameter.accumulate_grad(&ones);
        module.backward_update_gradient(input, delta);
        parameter.grad().map_or_else(Vec::new, |grad| grad.iter().map(|g| g.to_f64() - 1.0).collect())
    });
    let forward = parameter_differences(module, input, parameter, backward.nrows());
    module.forward(input);
    module.set_draws(Draws::Fresh);
    largest_difference(&backward, &forward)
}

/// Returns the largest absolute error of [`Module::update_parameters`] for `parameter`.
///
/// For each single output, the value of the parameter after a step of size 1 is compared with the value that central
/// differences of [`Module::forward`] give. Afterwards the values and gradients of the parameter, and of the module's other
/// parameters, are as they were before.
///
/// # Panics
///
/// If the module panics because `input` does not fit it.
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
    let restore_at_end = restore(module, std::slice::from_ref(parameter));
    module.set_draws(Draws::Held);
    let value = parameter.value();
    let backward = by_output(module, input, value.len(), |module, delta| {
        let _restore = restore(module, std::slice::from_ref(parameter));
        module.set_draws(Draws::Held);
        module.zero_grad();
        parameter.zero_grad();
        module.backward_update_gradient(input, delta);
        module.update_parameters(T::ONE);
        parameter.value().iter().map(|x| x.to_f64()).collect()
    });
    let mut forward = parameter_differences(module, input, parameter, backward.nrows());
    for mut row in forward.rows_mut() {
        row.iter_mut().zip(value.iter()).for_each(|(slope, from)| *slope = from.to_f64() - *slope);
    }
    drop(restore_at_end);
    module.forward(input);
    module.set_draws(Draws::Fresh);
    largest_difference(&backward, &forward)
}

/// Keeps the module's parameters and buffers, and parameters that may belong to another module.
fn restore<T: Scalar>(module: &(impl Module<T> + ?Sized), others: &[Param<T>]) -> Restore<T> {
    let mut params = module.parameters().to_vec();
    params.extend(module.buffers());
    params.extend_from_slice(others);
    Restore::new(&params)
}

/// Returns a matrix with one row per output. `row` computes each from a delta that is 1 at this output and 0 at the others.
/// Elements that it does not give are 0.
fn by_output<T: Scalar, M: Module<T> + ?Sized>(
    module: &mut M,
    input: &ArrayRef2<T>,
    columns: usize,
    mut row: impl FnMut(&mut M, &Array2<T>) -> Vec<f64>,
) -> Array2<f64> {
    let outputs = module.forward(input).len();
    let mut matrix = Array2::zeros((outputs, columns));
    for (k, mut to) in matrix.axis_iter_mut(Axis(0)).enumerate() {
        let mut delta = Array2::zeros(module.output().dim());
        if let Some(element) = delta.iter_mut().nth(k) {
            *element = T::ONE;
        }
        to.iter_mut().zip(row(module, &delta)).for_each(|(to, from)| *to = from);
    }
    matrix
}

/// Returns the Jacobian by `parameter`, from differences.
fn parameter_differences<T: Scalar>(
    module: &mut (impl Module<T> + ?Sized),
    input: &ArrayRef2<T>,
    parameter: &Param<T>,
    outputs: usize,
) -> Array2<f64> {
    let value = parameter.value();
    let jacobian = differences(&value, outputs, |moved| {
        parameter.set_value(moved);
        module.forward(input).to_owned()
    });
    parameter.set_value(ArrayD::clone(&value));
    jacobian
}

/// Returns the Jacobian of `forward` at `x`, one row per output, from central differences by one element at a time.
fn differences<T: Scalar, D: Dimension>(
    x: &ArrayRef<T, D>,
    outputs: usize,
    mut forward: impl FnMut(Array<T, D>) -> Array2<T>,
) -> Array2<f64> {
    let mut jacobian = Array2::zeros((outputs, x.len()));
    for (k, mut column) in jacobian.axis_iter_mut(Axis(1)).enumerate() {
        // Rounding decides where the element moves to.
        let mut moved = |by: f64| {
            let mut x = x.to_owned();
            let element = x.iter_mut().nth(k).expect("there is a column for each element");
            *element = T::from_f64(element.to_f64() + by);
            (element.to_f64(), forward(x))
        };
        let ((above, high), (below, low)) = (moved(step::<T>()), moved(-step::<T>()));
        for (to, (high, low)) in column.iter_mut().zip(high.iter().zip(&low)) {
            *to = (high.to_f64() - low.to_f64()) / (above - below);
        }
    }
    jacobian
}

/// Returns the largest absolute difference; NaN if any difference is NaN.
fn largest_difference(a: &Array2<f64>, b: &Array2<f64>) -> f64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, |largest, x| if x > largest || x.is_nan() { x } else { largest })
}
