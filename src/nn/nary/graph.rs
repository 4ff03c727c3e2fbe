//! [`Graph`]: a network of modules without a cycle.

use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicUsize, Ordering};

use ndarray::{Array2, ArrayRef2};
use smallvec::SmallVec;

use super::module::{NaryModule, expect, recorded_shapes, shapes};
use crate::kernel::matrix::shape_to;
use crate::nn::mode::Mode;
use crate::nn::module::Module;
use crate::nn::trainable::{extend_distinct, extend_named};
use crate::param::Param;
use crate::scalar::Scalar;
use crate::tape::{Tape, Var};

/// A network of modules without a cycle. A node takes any of the graph's inputs and of the earlier nodes' outputs. The
/// output of the last node is the graph's.
///
/// A graph is an [`NaryModule`] itself, and may be a node of another.
///
/// # Derivative
///
/// The chain rule, from the last node to the first: a node turns the delta of its output into a delta for each of its
/// inputs. The deltas of a value that is used several times are added.
///
/// [`backward_update_gradient`](NaryModule::backward_update_gradient) computes only the deltas on a path to a
/// parameter. The delta of an unused input is zero.
///
/// # Panics
///
/// Like every [`NaryModule`]. The message names the node, as in `in node 3 (DotProduct): expected two inputs, found 1`.
///
/// # Example
///
/// A step of training for a bilinear score, `s = (x W) · y` for each pair of rows, with the target 1:
///
/// ```
/// use ndarray::array;
/// use tapegrad::Param;
/// use tapegrad::nn::{DotProduct, Graph, Linear, Loss, Mse, NaryModule};
///
/// let w = Param::new(array![[1.0, 0.0], [0.0, 1.0]]);
/// let mut scorer = Graph::new(2);
/// let projected = scorer.layer(Linear::from_params(w.clone(), None), scorer.input(0));
/// scorer.join(DotProduct::new(), &[projected, scorer.input(1)]);
///
/// let (x, y, target) = (array![[1.0, 2.0]], array![[2.0, 1.0]], array![[1.0]]);
/// let mut loss = Mse::new();
/// let score = scorer.forward(&[&x, &y]);
/// assert_eq!(score, array![[4.0]]); // 1·2 + 2·1
/// let delta = loss.backward(&target, score); // 2 (4 - 1)
/// let deltas = scorer.backward(&[&x, &y], delta);
/// assert_eq!(deltas[0], array![[12.0, 6.0]]); // 6 W y
/// assert_eq!(deltas[1], array![[6.0, 12.0]]); // 6 x W
/// assert_eq!(*w.grad().unwrap(), array![[12.0, 6.0], [24.0, 12.0]].into_dyn()); // 6 xᵀ y
///
/// scorer.update_parameters(1.0 / 50.0); // |x|² |y|² = 25: a step of 1/(2 · 25) reaches the target
/// let score: f64 = scorer.forward(&[&x, &y])[[0, 0]];
/// assert!((score - 1.0).abs() < 1e-14);
/// ```
#[doc(alias("gModule", "nngraph", "container"))]
pub struct Graph<T> {
    /// The graph's number: it tells this graph's places from another's.
    number: usize,
    inputs: usize,
    nodes: Vec<Node<T>>,
    /// The parameters of all nodes, each once.
    parameters: Vec<Param<T>>,
    /// By place: true if the value depends on a parameter.
    learns: Vec<bool>,
    /// By place: the delta of the last backward pass.
    deltas: Vec<Array2<T>>,
    /// By place: true if the last backward pass reached it.
    reached: Vec<bool>,
}

/// A module and the places of its inputs. The graph's inputs have the first places, its nodes the following.
struct Node<T> {
    module: Box<dyn NaryModule<T>>,
    from: SmallVec<[usize; 2]>,
}

/// The place of a value in a [`Graph`]: one of its inputs, or one of its nodes.
///
/// # Example
///
/// See [`Graph`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NodeId {
    /// The graph's number.
    number: usize,
    place: usize,
}

/// The number of graphs so far.
static GRAPHS: AtomicUsize = AtomicUsize::new(0);

/// What a backward pass computes: the gradients of the parameters, the deltas of the inputs, or both.
#[derive(Clone, Copy, PartialEq)]
enum Pass {
    Gradient,
    Delta,
    Both,
}

impl<T: Scalar> Graph<T> {
    /// Returns a graph with this number of inputs and no nodes.
    ///
    /// # Example
    ///
    /// See [`Graph`].
    #[must_use]
    pub fn new(inputs: usize) -> Self {
        Self {
            number: GRAPHS.fetch_add(1, Ordering::Relaxed),
            inputs,
            nodes: Vec::new(),
            parameters: Vec::new(),
            learns: vec![false; inputs],
            deltas: vec![Array2::default((0, 0)); inputs],
            reached: vec![false; inputs],
        }
    }

    /// Returns the place of an input.
    ///
    /// # Panics
    ///
    /// If the index is not below the number of inputs.
    ///
    /// # Example
    ///
    /// See [`Graph`].
    #[track_caller]
    #[must_use]
    pub fn input(&self, index: usize) -> NodeId {
        assert!(index < self.inputs, "Graph: input {index} of a graph of {} inputs", self.inputs);
        NodeId { number: self.number, place: index }
    }

    /// Adds a layer of one input and returns the place of its output.
    ///
    /// # Panics
    ///
    /// If the input is a place of another graph.
    ///
    /// # Example
    ///
    /// See [`Graph`].
    #[track_caller]
    pub fn layer(&mut self, module: impl Module<T> + 'static, input: NodeId) -> NodeId {
        self.join(Unary(module), &[input])
    }

    /// Adds a module of any number of inputs and returns the place of its output.
    ///
    /// # Panics
    ///
    /// If an input is a place of another graph.
    ///
    /// # Example
    ///
    /// See [`Graph`].
    #[track_caller]
    pub fn join(&mut self, module: impl NaryModule<T> + 'static, inputs: &[NodeId]) -> NodeId {
        if let Some(k) = inputs.iter().position(|input| input.number != self.number) {
            panic!("Graph: {}: expected places of this graph, found one of another graph as input {k}", module.name());
        }
        extend_distinct(&mut self.parameters, module.parameters());
        self.learns.push(!module.parameters().is_empty() || inputs.iter().any(|input| self.learns[input.place]));
        self.deltas.push(Array2::default((0, 0)));
        self.reached.push(false);
        self.nodes.push(Node { module: Box::new(module), from: inputs.iter().map(|input| input.place).collect() });
        NodeId { number: self.number, place: self.inputs + self.nodes.len() - 1 }
    }

    /// Returns the message with the node's index and name before it.
    fn in_node(&self, index: usize, message: &str) -> String {
        format!("in node {index} ({}): {message}", self.nodes[index].module.name())
    }

    /// Runs a backward pass.
    #[track_caller]
    fn walk(&mut self, inputs: &[&ArrayRef2<T>], delta: &ArrayRef2<T>, pass: Pass) {
        expect(&self.name(), self.check_backward(inputs, delta));
        let last = self.inputs + self.nodes.len() - 1;
        self.reached.fill(false);
        shape_to(&mut self.deltas[last], delta.dim());
        self.deltas[last].assign(delta);
        self.reached[last] = true;
        for index in (0..self.nodes.len()).rev() {
            let place = self.inputs + index;
            if !self.reached[place] || pass == Pass::Gradient && !self.learns[place] {
                continue;
            }
            let (before, rest) = self.nodes.split_at_mut(index);
            let Node { module, from } = &mut rest[0];
            let operands = operands(from, inputs, before);
            let (below, here) = self.deltas.split_at_mut(place);
            let deltas = match pass {
                Pass::Gradient if !from.iter().any(|&place| self.learns[place]) => {
                    module.backward_update_gradient(&operands, &here[0]);
                    continue;
                }
                Pass::Delta => module.backward_delta(&operands, &here[0]),
                Pass::Gradient | Pass::Both => module.backward(&operands, &here[0]),
            };
            for (&place, delta) in from.iter().zip(deltas) {
                // The graph's inputs never learn: a gradient pass leaves `grad_input` as it is.
                if pass == Pass::Gradient && !self.learns[place] {
                    continue;
                }
                if self.reached[place] {
                    below[place] += delta;
                } else {
                    shape_to(&mut below[place], delta.dim());
                    below[place].assign(delta);
                    self.reached[place] = true;
                }
            }
        }
    }

    /// Returns the deltas of the inputs.
    fn input_deltas(&mut self, inputs: &[&ArrayRef2<T>]) -> &[Array2<T>] {
        for ((delta, reached), input) in self.deltas.iter_mut().zip(&self.reached).zip(inputs) {
            if !reached {
                shape_to(delta, input.dim()).fill(T::ZERO);
            }
        }
        &self.deltas[..self.inputs]
    }
}

/// Returns a node's operands, from the graph's inputs and the earlier nodes.
fn operands<'a, T: Scalar>(
    from: &[usize],
    inputs: &[&'a ArrayRef2<T>],
    before: &'a [Node<T>],
) -> SmallVec<[&'a ArrayRef2<T>; 4]> {
    let value = |&place: &usize| match place.checked_sub(inputs.len()) {
        None => inputs[place],
        Some(index) => before[index].module.output(),
    };
    from.iter().map(value).collect()
}

impl<T: Scalar> NaryModule<T> for Graph<T> {
    fn name(&self) -> String {
        match self.nodes.len() {
            1 => "Graph of 1 node".into(),
            count => format!("Graph of {count} nodes"),
        }
    }

    fn forward(&mut self, inputs: &[&ArrayRef2<T>]) -> &Array2<T> {
        // Before any node runs: otherwise an error would leave some nodes with old outputs and some with new ones.
        expect(&self.name(), self.output_shape(&shapes(inputs)));
        for index in 0..self.nodes.len() {
            let (before, rest) = self.nodes.split_at_mut(index);
            let Node { module, from } = &mut rest[0];
            module.forward(&operands(from, inputs, before));
        }
        self.output()
    }

    fn output(&self) -> &Array2<T> {
        self.nodes.last().expect("Graph: expected at least one node, found none").module.output()
    }

    fn backward_update_gradient(&mut self, inputs: &[&ArrayRef2<T>], delta: &ArrayRef2<T>) {
        self.walk(inputs, delta, Pass::Gradient);
    }

    fn backward_delta(&mut self, inputs: &[&ArrayRef2<T>], delta: &ArrayRef2<T>) -> &[Array2<T>] {
        self.walk(inputs, delta, Pass::Delta);
        self.input_deltas(inputs)
    }

    fn backward(&mut self, inputs: &[&ArrayRef2<T>], delta: &ArrayRef2<T>) -> &[Array2<T>] {
        self.walk(inputs, delta, Pass::Both);
        self.input_deltas(inputs)
    }

    fn grad_input(&self) -> &[Array2<T>] {
        &self.deltas[..self.inputs]
    }

    fn parameters(&self) -> &[Param<T>] {
        &self.parameters
    }

    /// A node's place is counted without the inputs. Tied parameters have the name of the first node.
    fn named_parameters(&self) -> Vec<(String, Param<T>)> {
        let mut named = Vec::new();
        let nodes = self.nodes.iter().enumerate();
        nodes.for_each(|(k, node)| extend_named(&mut named, k, node.module.named_parameters()));
        named
    }

    fn named_buffers(&self) -> Vec<(String, Param<T>)> {
        let mut named = Vec::new();
        let nodes = self.nodes.iter().enumerate();
        nodes.for_each(|(k, node)| extend_named(&mut named, k, node.module.named_buffers()));
        named
    }

    fn buffers(&self) -> Vec<Param<T>> {
        let mut buffers = Vec::new();
        self.nodes.iter().for_each(|node| extend_distinct(&mut buffers, &node.module.buffers()));
        buffers
    }

    fn set_mode(&mut self, mode: Mode) {
        self.nodes.iter_mut().for_each(|node| node.module.set_mode(mode));
    }

    fn record<'t>(&self, tape: &'t Tape<T>, inputs: &[Var<'t, T>]) -> Var<'t, T> {
        expect(&self.name(), recorded_shapes(inputs).and_then(|shapes| self.output_shape(&shapes)));
        // `track_caller` does not reach through a trait object.
        let _naming = tape.attribute_to(Location::caller());
        let mut values = inputs.to_vec();
        for Node { module, from } in &self.nodes {
            let operands: SmallVec<[Var<'t, T>; 4]> = from.iter().map(|&place| values[place]).collect();
            values.push(module.record(tape, &operands));
        }
        values[values.len() - 1]
    }

    fn output_shape(&self, inputs: &[(usize, usize)]) -> Result<(usize, usize), String> {
        if inputs.len() != self.inputs {
            return Err(format!("expected {} inputs, found {}", self.inputs, inputs.len()));
        }
        let mut shapes = inputs.to_vec();
        for (index, Node { module, from }) in self.nodes.iter().enumerate() {
            let operands: SmallVec<[(usize, usize); 4]> = from.iter().map(|&place| shapes[place]).collect();
            shapes.push(module.output_shape(&operands).map_err(|message| self.in_node(index, &message))?);
        }
        match self.nodes.is_empty() {
            true => Err("expected at least one node".into()),
            false => Ok(shapes[shapes.len() - 1]),
        }
    }

    /// Checks every node with its operands, and the last one with `delta`.
    fn check_backward(&self, inputs: &[&ArrayRef2<T>], delta: &ArrayRef2<T>) -> Result<(), String> {
        self.output_shape(&shapes(inputs))?;
        for (index, Node { module, from }) in self.nodes.iter().enumerate() {
            let last = index + 1 == self.nodes.len();
            let delta = if last { delta } else { module.output() };
            let operands = operands(from, inputs, &self.nodes);
            module.check_backward(&operands, delta).map_err(|message| self.in_node(index, &message))?;
        }
        Ok(())
    }
}

/// Prints the number of weights, and a line for each node with the places of its inputs.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::nn::{Graph, Sum, Vector};
///
/// let mut graph = Graph::new(1);
/// let bias = graph.join(Vector::new(array![1.0, 2.0]), &[]);
/// graph.join(Sum::new(), &[graph.input(0), bias]);
/// assert_eq!(format!("{graph:?}"), "Graph of 2 nodes, 2 weights\n  0: Vector 2 []\n  1: Sum [input 0, node 0]");
/// ```
impl<T: Scalar> fmt::Debug for Graph<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} weights", self.name(), self.parameter_count())?;
        for (index, Node { module, from }) in self.nodes.iter().enumerate() {
            let place = |&place: &usize| match place.checked_sub(self.inputs) {
                None => format!("input {place}"),
                Some(node) => format!("node {node}"),
            };
            let from: Vec<String> = from.iter().map(place).collect();
            write!(f, "\n  {index}: {} [{}]", module.name(), from.join(", "))?;
        }
        Ok(())
    }
}

/// A [`Module`] as an [`NaryModule`] of one input.
#[derive(Debug)]
struct Unary<M>(M);

impl<T: Scalar, M: Module<T>> NaryModule<T> for Unary<M> {
    fn name(&self) -> String {
        self.0.name()
    }

    fn forward(&mut self, inputs: &[&ArrayRef2<T>]) -> &Array2<T> {
        self.0.forward(inputs[0])
    }

    fn output(&self) -> &Array2<T> {
        self.0.output()
    }

    fn backward_update_gradient(&mut self, inputs: &[&ArrayRef2<T>], delta: &ArrayRef2<T>) {
        self.0.backward_update_gradient(inputs[0], delta);
    }

    fn backward_delta(&mut self, inputs: &[&ArrayRef2<T>], delta: &ArrayRef2<T>) -> &[Array2<T>] {
        std::slice::from_ref(self.0.backward_delta(inputs[0], delta))
    }

    fn backward(&mut self, inputs: &[&ArrayRef2<T>], delta: &ArrayRef2<T>) -> &[Array2<T>] {
        std::slice::from_ref(self.0.backward(inputs[0], delta))
    }

    fn grad_input(&self) -> &[Array2<T>] {
        std::slice::from_ref(self.0.grad_input())
    }

    fn parameters(&self) -> &[Param<T>] {
        self.0.parameters()
    }

    fn named_parameters(&self) -> Vec<(String, Param<T>)> {
        self.0.named_parameters()
    }

    fn named_buffers(&self) -> Vec<(String, Param<T>)> {
        self.0.named_buffers()
    }

    fn buffers(&self) -> Vec<Param<T>> {
        self.0.buffers()
    }

    fn set_mode(&mut self, mode: Mode) {
        self.0.set_mode(mode);
    }

    fn record<'t>(&self, tape: &'t Tape<T>, inputs: &[Var<'t, T>]) -> Var<'t, T> {
        self.0.record(tape, inputs[0])
    }

    fn output_shape(&self, inputs: &[(usize, usize)]) -> Result<(usize, usize), String> {
        let (rows, width) = inputs[0];
        Ok((rows, self.0.output_width(width)?))
    }

    fn check_backward(&self, inputs: &[&ArrayRef2<T>], delta: &ArrayRef2<T>) -> Result<(), String> {
        self.0.check_backward(inputs[0], delta)
    }
}
