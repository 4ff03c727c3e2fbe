//! [`Sequential`]: layers one after the other.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use ndarray::{Array2, ArrayRef2};
use rand::Rng;

use super::activation::{Activation, ReLU, Sigmoid, Tanh};
use super::buffer::Buffer;
use super::layer::default_is_new;
use super::linear::Linear;
use super::mode::{Draws, Mode};
use super::module::{Module, check_shapes, expect, recorded_width};
use super::trainable::{extend_distinct, extend_named};
use crate::error::{Error, Result};
use crate::param::Param;
use crate::scalar::Scalar;
use crate::shape::Shape;
use crate::tape::{Tape, Var};

/// A network of layers. The input of each layer is the output of the previous one.
///
/// Every layer keeps its output for the backward pass. A `Sequential` is a [`Module`] itself, and may be a layer of
/// another. Without layers it is the identity.
///
/// # Derivative
///
/// The chain rule, for two layers `y = f2(f1(x))` with `delta = dL/dy`: `f2` turns `delta` into the gradient by its own
/// input. That is the `delta` of `f1`, which turns it into the gradient by `x`.
///
/// [`backward_update_gradient`](Module::backward_update_gradient) stops at the first layer that has parameters: the
/// gradient by that layer's input is not needed.
///
/// # Panics
///
/// Like every [`Module`]. The message names the layer by its index, from 0, as in
/// `in layer 2 (Linear 100 -> 3): expected an input of width 100, found 784`.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::Param;
/// use tapegrad::nn::{Linear, Module, ReLU, Sequential};
///
/// let first = Linear::from_params(Param::new(array![[1.0, -1.0]]), None);
/// let last = Linear::from_params(Param::new(array![[2.0], [3.0]]), Some(Param::new(array![0.5])));
/// let mut net = Sequential::new().push(first).push(ReLU::new()).push(last);
///
/// let x = array![[4.0]];
/// assert_eq!(net.forward(&x), array![[8.5]]); // relu [4, -4] = [4, 0]; 2·4 + 3·0 + 0.5
/// assert_eq!(net.backward(&x, &array![[1.0]]), array![[2.0]]);
/// assert_eq!(*net.parameters()[1].grad().unwrap(), array![[4.0], [0.0]].into_dyn());
///
/// net.update_parameters(0.25); // w -= 0.25 grad
/// assert_eq!(*net.parameters()[1].value(), array![[1.0], [3.0]].into_dyn());
/// net.zero_grad();
/// assert!(net.gradient().iter().all(Option::is_none));
/// ```
pub struct Sequential<T> {
    layers: Vec<Box<dyn Module<T>>>,
    /// The name of each layer, and of the network, for the groups that it records.
    names: (Vec<Arc<str>>, Arc<str>),
    /// The parameters of all layers, each once: an update must not count tied parameters twice.
    parameters: Vec<Param<T>>,
    /// The output and the delta of a network without layers.
    identity: (Buffer<T>, Buffer<T>),
}

impl<T: Scalar> Sequential<T> {
    /// Returns a network without layers, which is the identity.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::nn::{Module, Sequential};
    ///
    /// assert_eq!(Sequential::new().forward(&array![[3.0]]), array![[3.0]]);
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self {
            layers: Vec::new(),
            names: (Vec::new(), name_of(0).into()),
            parameters: Vec::new(),
            identity: Default::default(),
        }
    }

    /// Returns the network with this layer at its end.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::nn::{Module, ReLU, Sequential, Tanh};
    ///
    /// let net = Sequential::<f64>::new().push(Tanh::new()).push(ReLU::new());
    /// assert_eq!(net.layers().map(|layer| layer.name()).collect::<Vec<_>>(), ["Tanh", "ReLU"]);
    /// ```
    #[doc(alias = "add")]
    #[must_use]
    pub fn push(mut self, layer: impl Module<T> + 'static) -> Self {
        extend_distinct(&mut self.parameters, layer.parameters());
        self.names.0.push(layer.name().into());
        self.layers.push(Box::new(layer));
        self.names.1 = name_of(self.len()).into();
        self
    }

    /// Returns a multi-layer perceptron: linear layers with an activation between any two, `layers` layers in all. Its
    /// widths are `inputs -> hidden -> … -> hidden -> classes`.
    ///
    /// # Errors
    ///
    /// If the number of layers is even or below 3, or if a width is 0.
    ///
    /// # Example
    ///
    /// ```
    /// use rand::{SeedableRng, rngs::StdRng};
    /// use tapegrad::nn::{Activation, Module, Sequential};
    ///
    /// # fn main() -> tapegrad::Result<()> {
    /// let mut rng = StdRng::seed_from_u64(0);
    /// let net = Sequential::<f32>::mlp(3, 784, 10, 3, Activation::ReLU, &mut rng)?;
    /// assert_eq!(net.layers().map(|layer| layer.name()).collect::<Vec<_>>(), ["Linear 784 -> 10", "ReLU", "Linear 10 -> 3"]);
    /// assert_eq!(net.parameter_count(), 7_883); // 784·10 + 10 + 10·3 + 3
    ///
    /// let error = Sequential::<f32>::mlp(4, 784, 10, 3, Activation::ReLU, &mut rng).unwrap_err();
    /// assert_eq!(error.to_string(), "layers: expected an odd number of at least 3, found 4");
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias("MLP", "multilayer perceptron"))]
    pub fn mlp(
        layers: usize,
        inputs: usize,
        hidden: usize,
        classes: usize,
        activation: Activation,
        rng: &mut (impl Rng + ?Sized),
    ) -> Result<Self> {
        if layers < 3 || layers.is_multiple_of(2) {
            return Err(Error::value("layers", "an odd number of at least 3", layers.to_string()));
        }
        for (what, width) in [("inputs", inputs), ("hidden units", hidden), ("classes", classes)] {
            if width == 0 {
                return Err(Error::value(what, "at least one", "0"));
            }
        }
        let mut network = Self::new();
        let mut width = inputs;
        for _ in 0..layers / 2 {
            network = network.push(Linear::new(width, hidden, rng));
            network = match activation {
                Activation::Tanh => network.push(Tanh::new()),
                Activation::Sigmoid => network.push(Sigmoid::new()),
                Activation::ReLU => network.push(ReLU::new()),
            };
            width = hidden;
        }
        Ok(network.push(Linear::new(width, classes, rng)))
    }

    /// Returns a table of the layers, each with the shape of its output for an input of this width, and its number of
    /// weights. Images in rows are printed as channels · height · width. Weights that two layers share count once in the total.
    ///
    /// # Panics
    ///
    /// If the network takes no input of this width.
    ///
    /// # Example
    ///
    /// ```
    /// use rand::{SeedableRng, rngs::StdRng};
    /// use tapegrad::nn::{Activation, Sequential};
    ///
    /// # fn main() -> tapegrad::Result<()> {
    /// let net = Sequential::<f32>::mlp(3, 784, 100, 3, Activation::Tanh, &mut StdRng::seed_from_u64(0))?;
    /// let expected = "\
    /// layer             output       parameters
    /// input             (batch, 784)
    /// Linear 784 -> 100 (batch, 100)      78500
    /// Tanh              (batch, 100)          0
    /// Linear 100 -> 3   (batch, 3)          303
    /// total                               78803";
    /// assert_eq!(net.summary(784), expected);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    #[must_use]
    pub fn summary(&self, input_width: usize) -> String {
        self.expect(self.output_width(input_width));
        let mut rows = vec![["layer".into(), "output".into(), "parameters".into()]];
        rows.push(["input".into(), format!("(batch, {input_width})"), String::new()]);
        let mut shape = Shape::from([input_width]);
        for layer in self.layers() {
            shape = self.expect(layer.output_shape(&shape));
            let lengths: Vec<String> = shape.iter().map(usize::to_string).collect();
            rows.push([layer.name(), format!("(batch, {})", lengths.join("·")), layer.parameter_count().to_string()]);
        }
        rows.push(["total".into(), String::new(), self.parameter_count().to_string()]);
        let column = |k: usize| rows.iter().map(|row: &[String; 3]| row[k].chars().count()).max().unwrap_or(0);
        let (first, second, third) = (column(0), column(1), column(2));
        let line = |[layer, output, count]: &[String; 3]| {
            format!("{layer:first$} {output:second$} {count:>third$}").trim_end().to_string()
        };
        rows.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// Returns the number of layers.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::nn::{Sequential, Tanh};
    ///
    /// assert_eq!(Sequential::<f64>::new().push(Tanh::new()).len(), 1);
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.layers.len()
    }

    /// Returns true if there are no layers.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::nn::Sequential;
    ///
    /// assert!(Sequential::<f64>::new().is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    /// Returns the layers.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::nn::{ReLU, Sequential, Tanh};
    ///
    /// let net = Sequential::<f32>::new().push(Tanh::new()).push(ReLU::new());
    /// let names: Vec<String> = net.layers().map(|layer| layer.name()).collect();
    /// assert_eq!(names, ["Tanh", "ReLU"]);
    /// ```
    pub fn layers(&self) -> impl ExactSizeIterator<Item = &dyn Module<T>> {
        self.layers.iter().map(Box::as_ref)
    }

    /// Panics with the message of a check that failed. The message names the layer, or the network if it has no layers.
    #[track_caller]
    fn expect<R>(&self, checked: Result<R, String>) -> R {
        match checked {
            Ok(value) => value,
            Err(message) if self.is_empty() => panic!("{}: {message}", self.name()),
            Err(message) => panic!("{message}"),
        }
    }

    /// Returns the message with the layer's index and name before it.
    fn in_layer(&self, index: usize, message: &str) -> String {
        format!("in layer {index} ({}): {message}", self.layers[index].name())
    }
}

default_is_new!(Sequential);

/// Returns the name of a network of this number of layers.
fn name_of(layers: usize) -> String {
    match layers {
        1 => "Sequential of 1 layer".into(),
        count => format!("Sequential of {count} layers"),
    }
}

/// Returns the delta of `input`, the input of the first of these layers, from the `delta` of the last one's output.
fn propagate<'a, T: Scalar>(
    layers: &'a mut [Box<dyn Module<T>>],
    input: &ArrayRef2<T>,
    mut delta: &'a ArrayRef2<T>,
    pass: impl for<'l> Fn(&'l mut dyn Module<T>, &ArrayRef2<T>, &ArrayRef2<T>) -> &'l Array2<T>,
) -> &'a ArrayRef2<T> {
    let mut rest = layers;
    while let Some((layer, before)) = rest.split_last_mut() {
        let input = before.last().map_or(input, |below| below.output());
        delta = pass(layer.as_mut(), input, delta);
        rest = before;
    }
    delta
}

impl<T: Scalar> Module<T> for Sequential<T> {
    fn name(&self) -> String {
        name_of(self.len())
    }

    fn forward(&mut self, input: &ArrayRef2<T>) -> &Array2<T> {
        // Before any layer runs: otherwise an error would leave some layers with old outputs and some with new ones.
        self.expect(self.output_width(input.ncols()));
        let Some((first, later)) = self.layers.split_first_mut() else {
            self.identity.0.copy_from(input);
            return self.identity.0.array();
        };
        let mut output = first.forward(input);
        for layer in later {
            output = layer.forward(output);
        }
        output
    }

    fn output(&self) -> &Array2<T> {
        self.layers.last().map_or(self.identity.0.array(), |last| last.output())
    }

    fn backward_update_gradient(&mut self, input: &ArrayRef2<T>, delta: &ArrayRef2<T>) {
        self.expect(self.check_backward(input, delta));
        let Some(first) = self.layers.iter().position(|layer| !layer.parameters().is_empty()) else { return };
        let (before, rest) = self.layers.split_at_mut(first);
        let Some((layer, later)) = rest.split_first_mut() else { return };
        let input = before.last().map_or(input, |below| below.output());
        let delta = propagate(later, layer.output(), delta, |layer, input, delta| layer.backward(input, delta));
        layer.backward_update_gradient(input, delta);
    }

    fn backward_delta(&mut self, input: &ArrayRef2<T>, delta: &ArrayRef2<T>) -> &Array2<T> {
        self.expect(self.check_backward(input, delta));
        let Some((first, later)) = self.layers.split_first_mut() else {
            self.identity.1.copy_from(delta);
            return self.identity.1.array();
        };
        let delta = propagate(later, first.output(), delta, |layer, input, delta| layer.backward_delta(input, delta));
        first.backward_delta(input, delta)
    }

    fn backward(&mut self, input: &ArrayRef2<T>, delta: &ArrayRef2<T>) -> &Array2<T> {
        self.expect(self.check_backward(input, delta));
        let Some((first, later)) = self.layers.split_first_mut() else {
            self.identity.1.copy_from(delta);
            return self.identity.1.array();
        };
        let delta = propagate(later, first.output(), delta, |layer, input, delta| layer.backward(input, delta));
        first.backward(input, delta)
    }

    fn grad_input(&self) -> &Array2<T> {
        self.layers.first().map_or(self.identity.1.array(), |first| first.grad_input())
    }

    fn parameters(&self) -> &[Param<T>] {
        &self.parameters
    }

    /// Tied parameters have the name of the first layer.
    fn named_parameters(&self) -> Vec<(String, Param<T>)> {
        let mut named = Vec::new();
        self.layers.iter().enumerate().for_each(|(k, layer)| extend_named(&mut named, k, layer.named_parameters()));
        named
    }

    fn named_buffers(&self) -> Vec<(String, Param<T>)> {
        let mut named = Vec::new();
        self.layers.iter().enumerate().for_each(|(k, layer)| extend_named(&mut named, k, layer.named_buffers()));
        named
    }

    fn buffers(&self) -> Vec<Param<T>> {
        let mut buffers = Vec::new();
        self.layers.iter().for_each(|layer| extend_distinct(&mut buffers, &layer.buffers()));
        buffers
    }

    fn set_mode(&mut self, mode: Mode) {
        self.layers.iter_mut().for_each(|layer| layer.set_mode(mode));
    }

    fn set_draws(&mut self, draws: Draws) {
        self.layers.iter_mut().for_each(|layer| layer.set_draws(draws));
    }

    fn record<'t>(&self, tape: &'t Tape<T>, mut x: Var<'t, T>) -> Var<'t, T> {
        if !self.is_empty() {
            let width = expect(self, recorded_width(x));
            self.expect(self.output_width(width));
        }
        // `track_caller` does not reach through a trait object.
        let _naming = tape.attribute_to(Location::caller());
        let _network = tape.open_group(&self.names.1);
        for (layer, name) in self.layers.iter().zip(&self.names.0) {
            let _layer = tape.open_group(name);
            x = layer.record(tape, x);
        }
        x
    }

    fn output_width(&self, input_width: usize) -> Result<usize, String> {
        let mut width = input_width;
        for (index, layer) in self.layers.iter().enumerate() {
            width = layer.output_width(width).map_err(|message| self.in_layer(index, &message))?;
        }
        Ok(width)
    }

    fn output_shape(&self, input: &[usize]) -> Result<Shape, String> {
        let mut shape = Shape::from(input);
        for (index, layer) in self.layers.iter().enumerate() {
            shape = layer.output_shape(&shape).map_err(|message| self.in_layer(index, &message))?;
        }
        Ok(shape)
    }

    /// Checks the last layer with `delta` and the first with `input`. The layers between fit since the forward pass.
    fn check_backward(&self, input: &ArrayRef2<T>, delta: &ArrayRef2<T>) -> Result<(), String> {
        let (Some(first), Some(last)) = (self.layers.first(), self.layers.last()) else {
            return check_shapes(self, input, delta);
        };
        let index = self.len() - 1;
        let last_input = if index == 0 { input } else { self.layers[index - 1].output() };
        last.check_backward(last_input, delta).map_err(|message| self.in_layer(index, &message))?;
        first.check_backward(input, first.output()).map_err(|message| self.in_layer(0, &message))
    }
}

/// Prints the number of weights, and a line for each layer.
///
/// # Example
///
/// ```
/// use rand::{SeedableRng, rngs::StdRng};
/// use tapegrad::nn::{Linear, Sequential, Tanh};
///
/// let mut rng = StdRng::seed_from_u64(0);
/// let (first, last) = (Linear::<f32>::new(784, 100, &mut rng), Linear::new(100, 3, &mut rng));
/// let net = Sequential::new().push(first).push(Tanh::new()).push(last);
/// assert_eq!(
///     format!("{net:?}"),
///     "Sequential of 3 layers, 78803 weights\n  0: Linear 784 -> 100\n  1: Tanh\n  2: Linear 100 -> 3"
/// );
/// ```
impl<T: Scalar> fmt::Debug for Sequential<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} weights", self.name(), self.parameter_count())?;
        for (index, layer) in self.layers.iter().enumerate() {
            // The lines of a network in this network are indented.
            write!(f, "\n  {index}: {}", format!("{layer:?}").replace('\n', "\n  "))?;
        }
        Ok(())
    }
}
