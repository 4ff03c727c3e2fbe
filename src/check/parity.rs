//! [`parity`]: compares hand-derived networks and losses with the tape.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use ndarray::{Array1, Array2, ArrayD, ArrayRef2};

use super::names::{index_of, name_of};
use super::restore::Restore;
use crate::nn::{Draws, Loss, Module, Sequential};
use crate::number::Classify;
use crate::param::Param;
use crate::scalar::Scalar;
use crate::shape::Shape;
use crate::tape::{Tape, Var};

/// How closely a hand-derived network and the tape agree.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::check::parity;
/// use tapegrad::nn::{Mse, Tanh};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let agreed = parity(&mut Tanh::new(), &mut Mse::new(), (&array![[0.5, 1.0]], &array![[1.0, 3.0]]))?;
/// assert!(agreed.rounding() < 1024.0);
/// assert!(agreed.to_string().starts_with("parity: 1 layers, 0 parameters: within"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Parity {
    layers: usize,
    parameters: usize,
    rounding: f64,
    at: String,
}

impl Parity {
    /// Returns the largest difference, in units in the last place of the largest number that was used to compute it.
    ///
    /// # Example
    ///
    /// See [`Parity`].
    #[must_use]
    pub fn rounding(&self) -> f64 {
        self.rounding
    }
}

impl fmt::Display for Parity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { layers, parameters, rounding, at } = self;
        write!(f, "parity: {layers} layers, {parameters} parameters: within {rounding:.1} roundings")?;
        if at.is_empty() { Ok(()) } else { write!(f, ", largest in {at}") }
    }
}

/// The first number that differs between a hand-derived network and the tape.
///
/// # Example
///
/// See [`parity`].
#[derive(Clone, Debug)]
pub struct Difference {
    layer: Option<usize>,
    part: Box<str>,
    quantity: Box<str>,
    index: Box<[usize]>,
    numbers: Option<Numbers>,
    detail: Box<str>,
}

#[derive(Clone, Debug)]
struct Numbers {
    by_hand: f64,
    on_tape: f64,
    ulps: u64,
}

impl Difference {
    /// Returns the number of the layer; `None` for the loss, for the network as a whole, and for a module that is not a
    /// [`Sequential`].
    ///
    /// # Example
    ///
    /// See [`parity`].
    #[must_use]
    pub fn layer(&self) -> Option<usize> {
        self.layer
    }

    /// Returns the quantity that differs: `output`, `input gradient`, `gradient of parameter 0 (weight)`, `loss` or `delta`.
    ///
    /// # Example
    ///
    /// See [`parity`].
    #[must_use]
    pub fn quantity(&self) -> &str {
        &self.quantity
    }

    /// Returns the index of the first element that differs.
    ///
    /// # Example
    ///
    /// See [`parity`].
    #[must_use]
    pub fn index(&self) -> &[usize] {
        &self.index
    }

    /// Returns the distance between the two numbers in ulps; `None` if the shapes differ.
    ///
    /// # Example
    ///
    /// See [`parity`].
    #[must_use]
    pub fn ulps(&self) -> Option<u64> {
        self.numbers.as_ref().map(|numbers| numbers.ulps)
    }

    /// Returns the hand-derived number; `None` if the shapes differ.
    ///
    /// # Example
    ///
    /// See [`parity`].
    #[must_use]
    pub fn by_hand(&self) -> Option<f64> {
        self.numbers.as_ref().map(|numbers| numbers.by_hand)
    }

    /// Returns the tape's number; `None` if the shapes differ.
    ///
    /// # Example
    ///
    /// See [`parity`].
    #[must_use]
    pub fn on_tape(&self) -> Option<f64> {
        self.numbers.as_ref().map(|numbers| numbers.on_tape)
    }

    fn because(mut self, detail: &str) -> Self {
        self.detail = detail.into();
        self
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "parity: {}: {}", self.part, self.quantity)?;
        if let Some(Numbers { by_hand, on_tape, ulps }) = self.numbers {
            write!(f, " at {:?}: by hand {by_hand}, on the tape {on_tape}", self.index)?;
            if ulps < u64::MAX {
                write!(f, ", {ulps} ulps apart")?;
            }
        }
        if self.detail.is_empty() { Ok(()) } else { write!(f, ": {}", self.detail) }
    }
}

impl std::error::Error for Difference {}

/// Compares a hand-derived network and loss with the tape on a batch `(x, y)`, and returns how closely they agree.
///
/// Each layer of a [`Sequential`] is recorded alone. Its recording uses the input and `delta` that the hand-derived passes
/// computed, so an error shows in the layer that made it, not in later ones. A network inside a network counts as one layer.
/// The order is: outputs from the first layer to the last, loss and `delta`, gradients by the inputs and parameters from the
/// last layer to the first, and the network as a whole.
///
/// The two may differ by rounding: by up to 1024 units in the last place of the largest number that was used to compute the
/// array. [`parity_within`] takes another limit. Afterwards the values and gradients of the parameters, and the
/// buffers, are as they were before. A layer with randomness draws the same numbers in all passes.
///
/// # Errors
///
/// The first [`Difference`], with layer, parameter, index, both numbers, and their distance in ulps.
///
/// # Panics
///
/// If the network or the loss panics because the batch does not fit it.
///
/// # Example
///
/// ```
/// use ndarray::{Array2, ArrayRef2, array};
/// use tapegrad::check::parity;
/// use tapegrad::nn::{Module, Mse, Sequential, Tanh};
/// use tapegrad::{Tape, Var};
///
/// /// `y = 3 x`, with a wrong derivative: 2.
/// #[derive(Debug, Default)]
/// struct Triple(Array2<f64>, Array2<f64>);
///
/// impl Module<f64> for Triple {
///     fn name(&self) -> String {
///         "Triple".into()
///     }
///     fn forward(&mut self, input: &ArrayRef2<f64>) -> &Array2<f64> {
///         self.0 = 3.0 * input;
///         &self.0
///     }
///     fn output(&self) -> &Array2<f64> {
///         &self.0
///     }
///     fn backward_delta(&mut self, _: &ArrayRef2<f64>, delta: &ArrayRef2<f64>) -> &Array2<f64> {
///         self.1 = 2.0 * delta;
///         &self.1
///     }
///     fn grad_input(&self) -> &Array2<f64> {
///         &self.1
///     }
///     fn record<'t>(&self, _: &'t Tape<f64>, x: Var<'t, f64>) -> Var<'t, f64> {
///         3.0 * x
///     }
/// }
///
/// let (x, y) = (array![[0.0, 1.0]], array![[1.0, 3.0]]);
/// assert!(parity(&mut Tanh::new(), &mut Mse::new(), (&x, &y)).is_ok());
///
/// let mut net = Sequential::new().push(Triple::default()).push(Tanh::new());
/// let difference = parity(&mut net, &mut Mse::new(), (&array![[0.0]], &array![[1.0]])).unwrap_err();
/// assert_eq!(
///     difference.to_string(), // delta is 2 (tanh 0 - 1) (1 - tanh² 0) = -2
///     "parity: layer 0 (Triple): input gradient at [0, 0]: by hand -4, on the tape -6, 2251799813685248 ulps apart"
/// );
/// ```
#[track_caller]
pub fn parity<T, M, L>(model: &mut M, loss: &mut L, batch: (&ArrayRef2<T>, &ArrayRef2<T>)) -> Result<Parity, Difference>
where
    T: Scalar,
    M: Module<T> + 'static,
    L: Loss<T> + ?Sized,
{
    parity_within(model, loss, batch, 1024.0)
}

/// Compares as [`parity`] does, and allows differences up to `roundings`: units in the last place of the largest number that
/// was used to compute an array.
///
/// # Errors
///
/// As [`parity`].
///
/// # Panics
///
/// As [`parity`].
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::check::parity_within;
/// use tapegrad::nn::{Mse, ReLU};
///
/// let agreement = parity_within(&mut ReLU::new(), &mut Mse::new(), (&array![[2.0]], &array![[0.0]]), 0.0)?;
/// assert_eq!(agreement.rounding(), 0.0);
/// # Ok::<(), tapegrad::check::Difference>(())
/// ```
#[track_caller]
pub fn parity_within<T, M, L>(
    model: &mut M,
    loss: &mut L,
    batch: (&ArrayRef2<T>, &ArrayRef2<T>),
    roundings: f64,
) -> Result<Parity, Difference>
where
    T: Scalar,
    M: Module<T> + 'static,
    L: Loss<T> + ?Sized,
{
    model.set_draws(Draws::Held);
    let outcome = compared(model, loss, batch, roundings);
    model.set_draws(Draws::Fresh);
    outcome
}

/// Compares a network without new random draws.
#[track_caller]
fn compared<T, M, L>(
    model: &mut M,
    loss: &mut L,
    (x, y): (&ArrayRef2<T>, &ArrayRef2<T>),
    roundings: f64,
) -> Result<Parity, Difference>
where
    T: Scalar,
    M: Module<T> + 'static,
    L: Loss<T> + ?Sized,
{
    let parameters = model.parameters().to_vec();
    let changing: Vec<Param<T>> = parameters.iter().cloned().chain(model.buffers()).collect();
    let _restore = Restore::new(&changing);
    let mut compare = Compare { roundings, worst: 0.0, at: String::new() };
    // The size of the numbers that each parameter's gradient is computed from.
    let mut sizes = vec![0.0; parameters.len()];

    // By hand.
    let zero_grad = || parameters.iter().for_each(Param::zero_grad);
    let grads = || -> Vec<Option<Arc<ArrayD<T>>>> { parameters.iter().map(Param::grad).collect() };
    zero_grad();
    let yhat = model.forward(x).clone();
    let value = loss.forward(y, &yhat);
    let delta = loss.backward(y, &yhat).clone();
    let dx = model.backward(x, &delta).clone();
    let by_hand = grads();

    // Each layer alone: outputs, from the first to the last, ...
    let any: &dyn Any = model;
    let mut layers: Vec<&dyn Module<T>> = match any.downcast_ref::<Sequential<T>>() {
        Some(net) => net.layers().collect(),
        None => vec![&*model],
    };
    let alone = layers.len() == 1 && !any.is::<Sequential<T>>();
    if layers.is_empty() {
        layers.push(&*model);
    }
    let part = |index: usize| Part {
        layer: (!alone).then_some(index),
        name: if alone { layers[index].name() } else { format!("layer {index} ({})", layers[index].name()) },
    };
    let inputs: Vec<&ArrayRef2<T>> =
        (0..layers.len()).map(|k| if k == 0 { x } else { layers[k - 1].output() }).collect();
    for (index, layer) in layers.iter().enumerate() {
        let tape = Tape::new();
        let recorded = layer.record(&tape, tape.leaf(inputs[index]));
        let size = largest(inputs[index].iter());
        compare.arrays(&part(index), "output", layer.output().view().into_dyn(), Some(recorded.value()), size)?;
    }
    // ... the loss, ...
    // The name of its type is the first word of its `Debug` output.
    let printed = format!("{loss:?}");
    let of_loss =
        Part { layer: None, name: format!("loss {}", printed.split([' ', '\n', '(', '{']).next().unwrap_or_default()) };
    {
        let tape = Tape::new();
        let recorded_yhat = tape.leaf(&yhat);
        let recorded = loss.record(y, recorded_yhat);
        let size = largest(yhat.iter()).max(largest(y.iter()));
        compare.number(&of_loss, "loss", value, recorded, size)?;
        let recorded_delta = gradient(recorded, recorded_yhat, None);
        compare.arrays(&of_loss, "delta", delta.view().into_dyn(), recorded_delta, largest(delta.iter()))?;
    }
    // ... and gradients, from the last to the first.
    zero_grad();
    for (index, layer) in layers.iter().enumerate().rev() {
        let delta = if index + 1 == layers.len() { &delta } else { layers[index + 1].grad_input() };
        let tape = Tape::new();
        let input = tape.leaf(inputs[index]);
        let recorded = gradient(layer.record(&tape, input), input, Some(delta));
        let size = largest(delta.iter());
        compare.arrays(&part(index), "input gradient", layer.grad_input().view().into_dyn(), recorded, size)?;
        for (number, parameter) in layer.parameters().iter().enumerate() {
            let shares = |layer: &&dyn Module<T>| layer.parameters().iter().any(|other| other.is(parameter));
            let Some(k) = parameters.iter().position(|known| known.is(parameter)) else { continue };
            let size = size * largest(inputs[index].iter()).max(1.0);
            sizes[k] = f64::max(sizes[k], size);
            // The gradient is complete in the first of the layers that share the parameter.
            if !layers[..index].iter().any(shares) {
                compare.grad(&part(index), number, parameter, &by_hand[k], &parameter.grad(), sizes[k])?;
            }
        }
    }

    // The network as a whole: each backward method alone, ...
    let of_network = Part { layer: None, name: model.name() };
    zero_grad();
    model.backward_update_gradient(x, &delta);
    let before = grads();
    compare
        .grads(&of_network, &parameters, &before, &by_hand, &sizes)
        .map_err(|difference| difference.because("backward_update_gradient against backward, both by hand"))?;
    let delta_alone = model.backward_delta(x, &delta).view().into_dyn();
    compare
        .arrays(&of_network, "input gradient", delta_alone, Some(dx.view().into_dyn()), largest(delta.iter()))
        .map_err(|difference| difference.because("backward_delta against backward, both by hand"))?;
    compare
        .grads(&of_network, &parameters, &grads(), &before, &vec![0.0; parameters.len()])
        .map_err(|difference| difference.because("after backward_delta and before, both by hand"))?;
    model.backward_update_gradient(x, &delta);
    let doubled = |grad: &Option<Arc<ArrayD<T>>>| grad.as_ref().map(|grad| Arc::new(grad.mapv(|g| g + g)));
    let twice: Vec<_> = before.iter().map(doubled).collect();
    compare
        .grads(&of_network, &parameters, &grads(), &twice, &sizes)
        .map_err(|difference| difference.because("a second call must add as much as the first, both by hand"))?;
    // ... and recorded.
    zero_grad();
    let tape = Tape::new();
    let input = tape.leaf(x);
    let output = model.record(&tape, input);
    let size = layers_size(x, &yhat);
    compare.arrays(&of_network, "output", yhat.view().into_dyn(), Some(output.value()), size)?;
    let recorded = loss.record(y, output);
    compare.number(&of_network, "loss", value, recorded, size.max(largest(y.iter())))?;
    let recorded_dx = gradient(recorded, input, None);
    // The differences of the layers add up.
    let size = sizes.iter().copied().fold(largest(dx.iter()).max(largest(delta.iter())), f64::max).max(1.0);
    compare.arrays(&of_network, "input gradient", dx.view().into_dyn(), recorded_dx, size)?;
    compare.grads(&of_network, &parameters, &by_hand, &grads(), &vec![size; parameters.len()])?;
    let layers = match (model as &dyn Any).downcast_ref::<Sequential<T>>() {
        Some(net) => net.len(),
        None => 1,
    };
    Ok(Parity { layers, parameters: parameters.len(), rounding: compare.worst, at: compare.at })
}

/// Runs a sweep from `y` and returns the gradient by `x`; `None` if the tape knows of no dependence.
fn gradient<'t, T: Scalar>(
    y: Var<'t, T>,
    x: Var<'t, T>,
    seed: Option<&ArrayRef2<T>>,
) -> Option<ndarray::ArrayViewD<'t, T>> {
    let reached = y.tape().nodes().node(y.id()).needs_grad;
    match seed {
        _ if !reached => {}
        Some(seed) => y.backward_with(seed),
        None => y.backward(),
    }
    x.grad()
}

/// Returns the size of an output and of the input that it was computed from, at least 1.
fn layers_size<T: Scalar>(x: &ArrayRef2<T>, yhat: &Array2<T>) -> f64 {
    largest(x.iter()).max(largest(yhat.iter())).max(1.0)
}

/// Returns the largest magnitude, or 0; infinities and NaN do not count.
fn largest<'a, T: Scalar>(elements: impl Iterator<Item = &'a T>) -> f64 {
    elements.map(|x| x.to_f64().abs()).filter(|x| x.is_finite()).fold(0.0, f64::max)
}

/// The place of a comparison.
struct Part {
    layer: Option<usize>,
    name: String,
}

struct Compare {
    roundings: f64,
    worst: f64,
    /// The place of the worst difference.
    at: String,
}

impl Compare {
    /// Compares element by element. `size` is the size of the numbers that the arrays were computed from.
    fn arrays<T: Scalar>(
        &mut self,
        part: &Part,
        quantity: &str,
        by_hand: ndarray::ArrayViewD<'_, T>,
        on_tape: Option<ndarray::ArrayViewD<'_, T>>,
        size: f64,
    ) -> Result<(), Difference> {
        let zeros;
        let (on_tape, detail) = match &on_tape {
            Some(on_tape) => (on_tape.view(), ""),
            None => {
                zeros = ArrayD::zeros(by_hand.raw_dim());
                (zeros.view(), "the tape knows of no dependence")
            }
        };
        let difference = |index, numbers, detail: String| Difference {
            layer: part.layer,
            part: part.name.as_str().into(),
            quantity: quantity.into(),
            index: Vec::into_boxed_slice(index),
            numbers,
            detail: String::into_boxed_str(detail),
        };
        if by_hand.shape() != on_tape.shape() {
            let (a, b) = (Shape::from(by_hand.shape()), Shape::from(on_tape.shape()));
            return Err(difference(Vec::new(), None, format!("by hand of shape {a}, on the tape of shape {b}")));
        }
        let size = size.max(largest(by_hand.iter())).max(largest(on_tape.iter()));
        let unit = T::EPSILON.to_f64() * size;
        for (number, (&a, &b)) in by_hand.iter().zip(&on_tape).enumerate() {
            if a == b || a.is_nan() && b.is_nan() {
                continue;
            }
            let roundings = (a.to_f64() - b.to_f64()).abs() / unit;
            // It also differs if one number is NaN or infinite.
            if !roundings.is_finite() || roundings > self.roundings {
                let numbers = Numbers { by_hand: a.to_f64(), on_tape: b.to_f64(), ulps: ulps(a, b) };
                let index = index_of(by_hand.shape(), number);
                return Err(difference(index, Some(numbers), detail.into()));
            }
            if roundings > self.worst {
                self.worst = roundings;
                self.at = format!("{}: {quantity}", part.name);
            }
        }
        Ok(())
    }

    /// Compares two single numbers.
    fn number<T: Scalar>(
        &mut self,
        part: &Part,
        quantity: &str,
        by_hand: T,
        on_tape: Var<'_, T>,
        size: f64,
    ) -> Result<(), Difference> {
        let by_hand = Array1::from_elem(1, by_hand);
        let on_tape = Array1::from_elem(1, on_tape.item());
        self.arrays(part, quantity, by_hand.view().into_dyn(), Some(on_tape.view().into_dyn()), size)
    }

    /// Compares the gradients of all parameters.
    fn grads<T: Scalar>(
        &mut self,
        part: &Part,
        parameters: &[Param<T>],
        by_hand: &[Option<Arc<ArrayD<T>>>],
        on_tape: &[Option<Arc<ArrayD<T>>>],
        sizes: &[f64],
    ) -> Result<(), Difference> {
        for (k, parameter) in parameters.iter().enumerate() {
            self.grad(part, k, parameter, &by_hand[k], &on_tape[k], sizes[k])?;
        }
        Ok(())
    }

    /// Compares the gradients of one parameter.
    fn grad<T: Scalar>(
        &mut self,
        part: &Part,
        number: usize,
        parameter: &Param<T>,
        by_hand: &Option<Arc<ArrayD<T>>>,
        on_tape: &Option<Arc<ArrayD<T>>>,
        size: f64,
    ) -> Result<(), Difference> {
        let quantity = format!("gradient of {}", name_of(number, parameter));
        // A missing gradient equals one of zeros: a network that does not depend on a parameter may give either.
        let zeros = || Arc::new(ArrayD::zeros(parameter.value().raw_dim()));
        let a = by_hand.clone().unwrap_or_else(zeros);
        let result = self.arrays(part, &quantity, a.view(), on_tape.as_ref().map(|grad| grad.view()), size);
        result.map_err(|difference| match by_hand {
            Some(_) => difference,
            None => difference.because("there is no gradient by hand"),
        })
    }
}

/// Returns the distance between two numbers in ulps; the maximum if exactly one is NaN.
fn ulps<T: Scalar>(a: T, b: T) -> u64 {
    if a.is_nan() || b.is_nan() {
        return if a.is_nan() && b.is_nan() { 0 } else { u64::MAX };
    }
    // Numbers of one sign have the order of their bits.
    let place = |x: T| -> i128 {
        let x = x.to_f64();
        let bits = if T::DTYPE == "f32" { u64::from((x.abs() as f32).to_bits()) } else { x.abs().to_bits() };
        if x < 0.0 { -i128::from(bits) } else { i128::from(bits) }
    };
    u64::try_from(place(a).abs_diff(place(b))).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::ulps;

    #[test]
    fn ulps_count_the_numbers_in_between() {
        assert_eq!(ulps(1.0_f64, 1.0 + f64::EPSILON), 1);
        assert_eq!(ulps(1.0_f32, 1.0 - f32::EPSILON), 2);
        assert_eq!(ulps(-0.0_f64, 0.0), 0);
        assert_eq!(ulps(-f64::from_bits(1), f64::from_bits(2)), 3);
        assert_eq!(ulps(f32::NAN, f32::NAN), 0);
        assert_eq!(ulps(f32::NAN, 1.0), u64::MAX);
        assert_eq!(ulps(f64::MAX, f64::INFINITY), 1);
    }
}
