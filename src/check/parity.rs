//! [`parity`]: hand-derived networks and losses against the tape.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use ndarray::{Array1, Array2, ArrayD, ArrayRef2};

use super::index_of;
use super::restore::Restore;
use crate::nn::{Loss, Module, Sequential};
use crate::number::Classify;
use crate::param::Param;
use crate::scalar::Scalar;
use crate::shape::Shape;
use crate::tape::{Tape, Var};

/// How closely a hand-derived network and the tape agree.
#[derive(Clone, Debug)]
pub struct Parity {
    layers: usize,
    parameters: usize,
    rounding: f64,
    at: String,
}

impl Parity {
    /// Returns the largest difference, in units of the last place of the largest number that went into it.
    #[must_use]
    pub fn rounding(&self) -> f64 {
        self.rounding
    }
}

impl fmt::Display for Parity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { layers, parameters, rounding, at } = self;
        write!(f, "parity: {layers} layers, {parameters} parameters: within {rounding:.1} roundings")?;
        if at.is_empty() { Ok(()) } else { write!(f, ", the most in {at}") }
    }
}

/// The first number that a hand-derived network computes otherwise than the tape.
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
    /// Returns the number of the layer; `None` if it is the loss, the network as a whole, or a module of one piece.
    #[must_use]
    pub fn layer(&self) -> Option<usize> {
        self.layer
    }

    /// Returns what differs: `output`, `input gradient`, `gradient of parameter 0 (weight)`, `loss` or `delta`.
    #[must_use]
    pub fn quantity(&self) -> &str {
        &self.quantity
    }

    /// Returns the index of the first element that differs.
    #[must_use]
    pub fn index(&self) -> &[usize] {
        &self.index
    }

    /// Returns how many numbers of the type lie between the two, counting one of them; `None` if the shapes differ.
    #[must_use]
    pub fn ulps(&self) -> Option<u64> {
        self.numbers.as_ref().map(|numbers| numbers.ulps)
    }

    /// Returns the hand-derived number; `None` if the shapes differ.
    #[must_use]
    pub fn by_hand(&self) -> Option<f64> {
        self.numbers.as_ref().map(|numbers| numbers.by_hand)
    }

    /// Returns the tape's number; `None` if the shapes differ.
    #[must_use]
    pub fn on_tape(&self) -> Option<f64> {
        self.numbers.as_ref().map(|numbers| numbers.on_tape)
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

/// Compares a hand-derived network and loss with the tape on a batch `(x, y)`: outputs, loss, `delta`, gradients by the
/// inputs and by the parameters.
///
/// Each layer of a [`Sequential`] is recorded alone, on the input and `delta` that the hand-derived passes gave it, so
/// that an error is found in the layer that made it and not in those behind. Outputs are compared from the first layer to
/// the last, then loss and `delta`, then gradients from the last layer to the first, then the network as a whole. (A network
/// within a network is one layer.)
///
/// The two may differ by rounding: by 1024 units in the last place of the largest number that went into the array, see
/// [`parity_within`]. Values and gradients of the parameters are as before afterwards.
///
/// # Errors
///
/// The first difference, with layer, parameter, index, both numbers, and how many ulps they are apart.
///
/// # Panics
///
/// As the network and the loss do, if the batch does not fit them.
///
/// # Example
///
/// ```
/// use ndarray::{Array2, ArrayRef2, array};
/// use tapegrad::check::parity;
/// use tapegrad::nn::{Module, Mse, Sequential, Tanh};
/// use tapegrad::{Tape, Var};
///
/// /// `y = 3 x`, but for a slip in the derivative.
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

/// Does what [`parity`] does, and allows differences of so many `roundings`: units in the last place of the largest number
/// that went into an array.
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
    (x, y): (&ArrayRef2<T>, &ArrayRef2<T>),
    roundings: f64,
) -> Result<Parity, Difference>
where
    T: Scalar,
    M: Module<T> + 'static,
    L: Loss<T> + ?Sized,
{
    let parameters = model.parameters().to_vec();
    let _restore = Restore::new(&parameters);
    let mut compare = Compare { roundings, worst: 0.0, at: String::new(), sizes: vec![0.0; parameters.len()] };

    // By hand.
    let zero_grad = || parameters.iter().for_each(Param::zero_grad);
    let grads = || -> Vec<Option<Arc<ArrayD<T>>>> { parameters.iter().map(Param::grad).collect() };
    zero_grad();
    let yhat = model.forward(x).clone();
    let value = loss.forward(y, &yhat);
    let delta = loss.backward(y, &yhat).clone();
    let dx = model.backward(x, &delta).clone();
    let by_hand = grads();

    // Each layer alone: outputs up, ...
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
    // Its name is all that is wanted of what it prints.
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
    // ... and gradients down.
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
            compare.sizes[k] = f64::max(compare.sizes[k], size);
            // A gradient is complete in the first layer that shares the parameter.
            if !layers[..index].iter().any(shares) {
                let size = compare.sizes[k];
                compare.grads(&part(index), number, parameter, &by_hand[k], &parameter.grad(), size)?;
            }
        }
    }

    // The network as a whole, the walks one by one and recorded.
    let of_network = Part { layer: None, name: model.name() };
    zero_grad();
    model.backward_update_gradient(x, &delta);
    for (k, parameter) in parameters.iter().enumerate() {
        let size = compare.sizes[k];
        compare.grads(&of_network, k, parameter, &parameter.grad(), &by_hand[k], size).map_err(|difference| {
            Difference { detail: "backward_update_gradient against backward, both by hand".into(), ..difference }
        })?;
    }
    let before = grads();
    let size = largest(delta.iter());
    let delta_alone = model.backward_delta(x, &delta).view().into_dyn();
    compare.arrays(&of_network, "input gradient", delta_alone, Some(dx.view().into_dyn()), size).map_err(
        |difference| Difference { detail: "backward_delta against backward, both by hand".into(), ..difference },
    )?;
    for (k, parameter) in parameters.iter().enumerate() {
        compare.grads(&of_network, k, parameter, &parameter.grad(), &before[k], 0.0).map_err(|difference| {
            Difference { detail: "after backward_delta and before, both by hand".into(), ..difference }
        })?;
    }
    model.backward_update_gradient(x, &delta);
    for (k, parameter) in parameters.iter().enumerate() {
        let twice = before[k].as_ref().map(|grad| Arc::new(grad.mapv(|g| g + g)));
        compare.grads(&of_network, k, parameter, &parameter.grad(), &twice, compare.sizes[k]).map_err(
            |difference| Difference {
                detail: "a second walk must add as much as the first, both by hand".into(),
                ..difference
            },
        )?;
    }
    zero_grad();
    let tape = Tape::new();
    let input = tape.leaf(x);
    let output = model.record(&tape, input);
    let size = layers_size(x, &yhat);
    compare.arrays(&of_network, "output", yhat.view().into_dyn(), Some(output.value()), size)?;
    let recorded = loss.record(y, output);
    compare.number(&of_network, "loss", value, recorded, size.max(largest(y.iter())))?;
    let recorded_dx = gradient(recorded, input, None);
    // Differences of the layers add up.
    let size = compare.sizes.iter().copied().fold(largest(dx.iter()).max(largest(delta.iter())), f64::max).max(1.0);
    compare.arrays(&of_network, "input gradient", dx.view().into_dyn(), recorded_dx, size)?;
    for (k, parameter) in parameters.iter().enumerate() {
        compare.grads(&of_network, k, parameter, &by_hand[k], &parameter.grad(), size)?;
    }
    let layers = match (model as &dyn Any).downcast_ref::<Sequential<T>>() {
        Some(net) => net.len(),
        None => 1,
    };
    Ok(Parity { layers, parameters: parameters.len(), rounding: compare.worst, at: compare.at })
}

/// Sweeps from `y` and returns the gradient by `x`; `None` if the tape knows of no dependence.
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

/// Returns the size of the numbers that an output was computed from and of the output.
fn layers_size<T: Scalar>(x: &ArrayRef2<T>, yhat: &Array2<T>) -> f64 {
    largest(x.iter()).max(largest(yhat.iter())).max(1.0)
}

fn largest<'a, T: Scalar>(elements: impl Iterator<Item = &'a T>) -> f64 {
    elements.map(|x| x.to_f64().abs()).filter(|x| x.is_finite()).fold(0.0, f64::max)
}

/// Where something is compared.
struct Part {
    layer: Option<usize>,
    name: String,
}

struct Compare {
    roundings: f64,
    worst: f64,
    at: String,
    /// The size of the numbers that went into each parameter's gradient.
    sizes: Vec<f64>,
}

impl Compare {
    /// Compares element by element. `size` is the size of the numbers that both were computed from.
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
            // NaN of one, or infinity, is a difference, too.
            if !roundings.is_finite() || roundings > self.roundings {
                let numbers = Numbers { by_hand: a.to_f64(), on_tape: b.to_f64(), ulps: ulps(a, b) };
                let index = index_of(&by_hand.to_owned(), number);
                return Err(difference(index, Some(numbers), detail.into()));
            }
            if roundings > self.worst {
                self.worst = roundings;
                self.at = format!("{}: {quantity}", part.name);
            }
        }
        Ok(())
    }

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

    fn grads<T: Scalar>(
        &mut self,
        part: &Part,
        number: usize,
        parameter: &Param<T>,
        by_hand: &Option<Arc<ArrayD<T>>>,
        on_tape: &Option<Arc<ArrayD<T>>>,
        size: f64,
    ) -> Result<(), Difference> {
        let quantity = match parameter.name() {
            "" => format!("gradient of parameter {number}"),
            name => format!("gradient of parameter {number} ({name})"),
        };
        // No gradient is one of zeros: a network that does not depend on a parameter may do either.
        let zeros = || Arc::new(ArrayD::zeros(parameter.value().raw_dim()));
        let a = by_hand.clone().unwrap_or_else(zeros);
        let result = self.arrays(part, &quantity, a.view(), on_tape.as_ref().map(|grad| grad.view()), size);
        result.map_err(|difference| match by_hand {
            Some(_) => difference,
            None => Difference { detail: "there is no gradient by hand".into(), ..difference },
        })
    }
}

/// Returns how many steps of the type lie between two numbers; the most of all if one is NaN.
fn ulps<T: Scalar>(a: T, b: T) -> u64 {
    if a.is_nan() || b.is_nan() {
        return if a.is_nan() && b.is_nan() { 0 } else { u64::MAX };
    }
    // Numbers of one sign are ordered as their bits are.
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
