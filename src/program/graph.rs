//! [`Graph`]: what a program computes, read from a tape. Only what the results need is read, equal steps are read once,
//! and what does not depend on inputs or parameters is a constant.

use std::collections::HashMap;
use std::panic::Location;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::error::{Error, Result};
use crate::kernel::view::{self, View};
use crate::op::{Binary, Op, OpData, Saves, Unary};
use crate::param::Param;
use crate::scalar::Scalar;
use crate::shape::{Shape, elements};
use crate::tape::{CustomOp, Nodes, RecordedRule, Step, Tape, Var};

/// What a step of a program computes.
#[derive(Clone)]
pub(super) enum Action<T> {
    Op(Op<T>),
    /// The rule of a row of one operand. The operands are `g`, `x` and `y`.
    PullUnary(Unary<T>),
    /// The rule of a row of two operands, for one of them. The operands are `g`, `a`, `b` and `y`.
    PullBinary(Binary, usize),
    Custom(Arc<dyn CustomOp<T>>),
    /// The same elements in memory of the program's own.
    Copy,
}

/// Where a value comes from.
pub(super) enum Origin<T> {
    Input(usize),
    Param(usize),
    Constant(Constant<T>),
    Computed { action: Action<T>, operands: SmallVec<[usize; 4]> },
}

/// A value that is the same in every run.
pub(super) struct Constant<T> {
    pub(super) data: Vec<T>,
    /// `None` for row-major without gaps. The layout is the one on the tape: some kernels combine numbers in an order
    /// that depends on it.
    pub(super) strides: Option<Shape>,
}

impl<T> Constant<T> {
    /// Returns the number that all elements are, if they share one place in memory.
    fn number(&self) -> Option<&T> {
        let repeats =
            self.strides.as_ref().map_or(self.data.len() == 1, |strides| strides.iter().all(|&stride| stride == 0));
        self.data.first().filter(|_| repeats)
    }
}

/// A value of a program.
pub(super) struct Value<T> {
    pub(super) shape: Shape,
    pub(super) origin: Origin<T>,
}

/// A value that was read while the program was recorded.
pub(super) struct Guard<T> {
    pub(super) value: usize,
    pub(super) node: u32,
    pub(super) location: &'static Location<'static>,
    pub(super) test: Test<T>,
}

/// What a run must find again.
pub(super) enum Test<T> {
    /// The same elements, bit by bit.
    Same(Vec<T>),
    /// The same answer.
    Answer { question: Arc<dyn Fn(T) -> bool + Send + Sync>, answer: bool },
}

/// What a program computes. Operands come before the values computed from them.
pub(super) struct Graph<T> {
    pub(super) inputs: Vec<Shape>,
    pub(super) params: Vec<Param<T>>,
    pub(super) values: Vec<Value<T>>,
    pub(super) outputs: Vec<usize>,
    /// The gradients that a run adds to parameters.
    pub(super) gradients: Vec<(Param<T>, usize)>,
    pub(super) guards: Vec<Guard<T>>,
    pub(super) data: OpData,
    /// The number of steps of the tape up to the last one read.
    pub(super) recorded: usize,
}

/// Reads a tape.
struct Reading<'t, T> {
    tape: &'t Tape<T>,
    nodes: &'t Nodes<T>,
    /// The position among the inputs.
    inputs: HashMap<u32, usize>,
    /// Whether the value of a node differs from run to run.
    varies: Vec<bool>,
    /// The rules whose results are the pullbacks of rows.
    pulls: HashMap<u32, RecordedRule>,
}

impl<T: Scalar> Graph<T> {
    /// Reads what `outputs` and `gradients` need.
    ///
    /// # Errors
    ///
    /// If an input is not a leaf or a constant, or is given twice, or a checkpoint is needed.
    pub(super) fn read(
        tape: &Tape<T>,
        inputs: &[Var<'_, T>],
        outputs: &[Var<'_, T>],
        gradients: &[(Param<T>, Var<'_, T>)],
    ) -> Result<Self> {
        let nodes = &*tape.nodes();
        let mut positions = HashMap::new();
        for (position, input) in inputs.iter().enumerate() {
            if !matches!(nodes.step(input.id()), Step::Leaf | Step::Constant) {
                let found = tape.describe(input.id());
                return Err(Error::value("an input of a program", "a leaf or a constant", found));
            }
            if positions.insert(input.id(), position).is_some() {
                let found = format!("{} as input {} too", tape.describe(input.id()), position);
                return Err(Error::value("the inputs of a program", "each of them once", found));
            }
        }
        let mut reading = Reading { tape, nodes, inputs: positions, varies: Vec::new(), pulls: HashMap::new() };
        reading.find_varying();
        reading.find_pulls();

        let reads = tape.reads();
        let guards: Vec<_> = reads.iter().filter(|read| reading.varies[read.id as usize]).collect();
        let mut live = vec![false; nodes.len()];
        let mut rest: Vec<u32> = outputs.iter().map(|output| output.id()).collect();
        rest.extend(gradients.iter().map(|(_, g)| g.id()));
        rest.extend(guards.iter().map(|guard| guard.id));
        while let Some(id) = rest.pop() {
            if !std::mem::replace(&mut live[id as usize], true) && reading.varies[id as usize] {
                if let Step::Checkpoint(_) = nodes.step(id) {
                    let found = tape.describe(id);
                    return Err(Error::value(
                        "a step of a program",
                        "an operation that is kept, not one that is run again",
                        found,
                    ));
                }
                rest.extend(reading.operands(id));
            }
        }

        let mut graph = Self {
            inputs: inputs.iter().map(|input| input.shape()).collect(),
            params: Vec::new(),
            values: Vec::new(),
            outputs: Vec::new(),
            gradients: Vec::new(),
            guards: Vec::new(),
            data: nodes.data.clone(),
            recorded: live.iter().rposition(|&live| live).map_or(0, |last| last + 1),
        };
        let places = graph.add_values(&reading, &live);
        let place = |id: u32| places[&id];
        graph.outputs = outputs.iter().map(|output| place(output.id())).collect();
        graph.gradients = gradients.iter().map(|(param, g)| (param.clone(), place(g.id()))).collect();
        for read in guards {
            let test = match &read.question {
                Some((question, answer)) => Test::Answer { question: question.clone(), answer: *answer },
                None => Test::Same(row_major(tape.view(nodes, read.id))),
            };
            graph.guards.push(Guard { value: place(read.id), node: read.id, location: read.location, test });
        }
        Ok(graph)
    }

    /// Adds the values of all live nodes and returns their places.
    fn add_values(&mut self, reading: &Reading<'_, T>, live: &[bool]) -> HashMap<u32, usize> {
        let Reading { tape, nodes, .. } = *reading;
        let mut places = HashMap::new();
        let mut numbers: HashMap<(Shape, u64), usize> = HashMap::new();
        let mut computed: HashMap<(String, SmallVec<[usize; 4]>), usize> = HashMap::new();
        for id in nodes.ids().filter(|&id| live[id as usize]) {
            let shape = Shape::from(nodes.shape(id));
            let origin = if let Some(&position) = reading.inputs.get(&id) {
                Origin::Input(position)
            } else if !reading.varies[id as usize] {
                let constant = constant(tape.view(nodes, id));
                if let Some(number) = constant.number() {
                    let bits = number.to_f64().to_bits();
                    if let Some(&place) = numbers.get(&(shape.clone(), bits)) {
                        places.insert(id, place);
                        continue;
                    }
                    numbers.insert((shape.clone(), bits), self.values.len());
                }
                Origin::Constant(constant)
            } else if let Some(param) = nodes.param(id) {
                let position = self.params.iter().position(|other| other.is(param));
                let position = position.unwrap_or_else(|| {
                    self.params.push(param.clone());
                    self.params.len() - 1
                });
                let earlier =
                    self.values.iter().position(|value| matches!(value.origin, Origin::Param(k) if k == position));
                if let Some(place) = earlier {
                    places.insert(id, place);
                    continue;
                }
                Origin::Param(position)
            } else {
                let action = reading.action(id);
                let operands: SmallVec<[usize; 4]> =
                    reading.operands(id).iter().map(|operand| places[operand]).collect();
                // A custom operation may give other results each time.
                if let Some(text) = action.text() {
                    if let Some(&place) = computed.get(&(text.clone(), operands.clone())) {
                        places.insert(id, place);
                        continue;
                    }
                    computed.insert((text, operands.clone()), self.values.len());
                }
                Origin::Computed { action, operands }
            };
            places.insert(id, self.values.len());
            self.values.push(Value { shape, origin });
        }
        places
    }
}

impl<T: Scalar> Action<T> {
    /// Returns a text that is the same for equal actions; `None` for a custom operation.
    fn text(&self) -> Option<String> {
        match self {
            Self::Op(op) => Some(format!("{op:?}")),
            Self::PullUnary(row) => Some(format!("pull {row:?}")),
            Self::PullBinary(row, k) => Some(format!("pull {k} {row:?}")),
            Self::Custom(_) | Self::Copy => None,
        }
    }
}

impl<T: Scalar> Reading<'_, T> {
    /// Finds the nodes whose values differ from run to run: inputs, parameters, and what depends on them.
    fn find_varying(&mut self) {
        for id in self.nodes.ids() {
            let varies = match self.nodes.step(id) {
                Step::Leaf | Step::Constant => self.inputs.contains_key(&id),
                // A segment may read a parameter.
                Step::Param | Step::Checkpoint(_) => true,
                Step::Op(_) | Step::Custom(_) => self.nodes.operands(id).iter().any(|&x| self.varies[x as usize]),
            };
            self.varies.push(varies);
        }
    }

    /// Finds the recorded rules that are the pullback of a row, which runs in one pass.
    fn find_pulls(&mut self) {
        for &rule in self.nodes.rules() {
            // A result of another shape than the cotangent was summed.
            let whole = self.nodes.shape(rule.result) == self.nodes.shape(rule.g);
            let pulls = match self.nodes.step(rule.node) {
                Step::Op(Op::Unary(row)) => reads_values(row.saves()),
                Step::Op(Op::Binary(row)) => reads_values(row.saves(rule.k)),
                _ => false,
            };
            if whole && pulls && rule.first < rule.result {
                self.pulls.insert(rule.result, rule);
            }
        }
    }

    /// Returns what a node computes from its [operands](Self::operands).
    fn action(&self, id: u32) -> Action<T> {
        let rule = self.pulls.get(&id).map(|rule| (self.nodes.step(rule.node), rule.k));
        match (rule, self.nodes.step(id)) {
            (Some((Step::Op(Op::Unary(row)), _)), _) => Action::PullUnary(*row),
            (Some((Step::Op(Op::Binary(row)), k)), _) => Action::PullBinary(*row, k),
            (_, Step::Op(op)) => Action::Op(op.clone()),
            (_, Step::Custom(custom)) => Action::Custom(self.tape.custom_handle(*custom)),
            (_, Step::Leaf | Step::Constant | Step::Param | Step::Checkpoint(_)) => {
                panic!("{}: a source is not computed", self.tape.describe(id))
            }
        }
    }

    /// Returns what the value of a node is computed from.
    fn operands(&self, id: u32) -> SmallVec<[u32; 4]> {
        let Some(rule) = self.pulls.get(&id) else { return SmallVec::from_slice(self.nodes.operands(id)) };
        let x = self.nodes.operands(rule.node);
        let y = rule.node;
        // In the place of a value that the rule does not read stands one that it reads.
        match (self.nodes.step(rule.node), x) {
            (Step::Op(Op::Unary(row)), &[x]) => match row.saves() {
                Saves::Operands => SmallVec::from_slice(&[rule.g, x, x]),
                Saves::Result => SmallVec::from_slice(&[rule.g, y, y]),
                _ => SmallVec::from_slice(&[rule.g, x, y]),
            },
            (Step::Op(Op::Binary(row)), &[a, b]) => match row.saves(rule.k) {
                Saves::Operands => SmallVec::from_slice(&[rule.g, a, b, a]),
                Saves::Result => SmallVec::from_slice(&[rule.g, y, y, y]),
                _ => SmallVec::from_slice(&[rule.g, a, b, y]),
            },
            _ => SmallVec::from_slice(self.nodes.operands(id)),
        }
    }
}

/// Returns whether a rule reads operands or the result.
fn reads_values(saves: Saves) -> bool {
    matches!(saves, Saves::Operands | Saves::Result | Saves::All)
}

/// Returns the elements in row-major order.
fn row_major<T: Scalar>(view: View<'_, T>) -> Vec<T> {
    let mut data = vec![T::ZERO; elements(view.shape)];
    view::copy(view, view.shape, &mut data);
    data
}

/// Returns the value of a node that is the same in every run.
fn constant<T: Scalar>(view: View<'_, T>) -> Constant<T> {
    let last =
        |strides: &[usize]| -> usize { view.shape.iter().zip(strides).map(|(n, stride)| (n - 1) * stride).sum() };
    match view.strides {
        Some(strides) if elements(view.shape) > 0 => {
            Constant { data: view.data[..=last(strides)].to_vec(), strides: Some(Shape::from(strides)) }
        }
        _ => Constant { data: row_major(view), strides: None },
    }
}
