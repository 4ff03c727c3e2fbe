//! [`Graph`]: what a program computes, read from a tape. Only what the results need is read, equal steps are read once,
//! and what does not depend on inputs or parameters is a constant.

use std::hash::Hasher;
use std::panic::Location;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::error::{Error, Result};
use crate::hash::{FastMap, Words};
use crate::kernel::view::{self, View};
use crate::op::{Binary, Content, Op, OpData, Saves, Unary};
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
    inputs: FastMap<u32, usize>,
    /// Whether the value of a node differs from run to run.
    varies: Vec<bool>,
    /// For each node the rule whose result it is, if it is the pullback of a row.
    pulls: Vec<Option<RecordedRule>>,
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
        let mut positions = FastMap::default();
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
        let mut reading = Reading { tape, nodes, inputs: positions, varies: Vec::new(), pulls: Vec::new() };
        reading.find_varying();
        reading.find_pulls();

        let reads = tape.reads();
        let guards: Vec<_> = reads.iter().filter(|read| reading.varies[read.id as usize]).collect();
        let mut live = vec![false; nodes.len()];
        outputs.iter().for_each(|output| live[output.id() as usize] = true);
        gradients.iter().for_each(|(_, g)| live[g.id() as usize] = true);
        guards.iter().for_each(|guard| live[guard.id as usize] = true);
        // Operands have smaller ids.
        for id in nodes.ids().rev().filter(|&id| reading.varies[id as usize]) {
            if live[id as usize] {
                if let Step::Checkpoint(_) = nodes.step(id) {
                    let found = tape.describe(id);
                    return Err(Error::value(
                        "a step of a program",
                        "an operation that is kept, not one that is run again",
                        found,
                    ));
                }
                reading.operands(id).iter().for_each(|&operand| live[operand as usize] = true);
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
        let place = |id: u32| places[id as usize];
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

    /// Adds the values of all live nodes. Returns the place of each of them, at the position of its id.
    fn add_values(&mut self, reading: &Reading<'_, T>, live: &[bool]) -> Vec<usize> {
        let Reading { tape, nodes, .. } = *reading;
        let mut places = vec![usize::MAX; live.len()];
        let mut earlier: FastMap<Words, usize> = FastMap::default();
        earlier.reserve(live.iter().filter(|&&live| live).count());
        for id in nodes.ids().filter(|&id| live[id as usize]) {
            let shape = Shape::from(nodes.shape(id));
            let (origin, key) = if let Some(&position) = reading.inputs.get(&id) {
                (Origin::Input(position), None)
            } else if !reading.varies[id as usize] {
                let view = tape.view(nodes, id);
                (Origin::Constant(constant(view)), number(view).map(|number| number_key(number, &shape)))
            } else if let Some(param) = nodes.param(id) {
                let position = self.params.iter().position(|other| other.is(param));
                let position = position.unwrap_or_else(|| {
                    self.params.push(param.clone());
                    self.params.len() - 1
                });
                (Origin::Param(position), Some(key(1, &[position])))
            } else {
                let action = reading.action(id);
                let operands: SmallVec<[usize; 4]> =
                    reading.operands(id).iter().map(|&operand| places[operand as usize]).collect();
                let key = action.key(&operands);
                (Origin::Computed { action, operands }, key)
            };
            // An equal value stands for this one.
            let place = key.map_or(self.values.len(), |key| *earlier.entry(key).or_insert(self.values.len()));
            places[id as usize] = place;
            if place == self.values.len() {
                self.values.push(Value { shape, origin });
            }
        }
        places
    }
}

/// Begins the key of a value: what equal values have in common. `kind` says what the numbers after it stand for.
fn key(kind: usize, numbers: &[usize]) -> Words {
    let mut key = Words::default();
    key.write_usize(kind);
    // With it no two keys are equal by chance: what follows begins at a known place.
    key.write_usize(numbers.len());
    numbers.iter().for_each(|&number| key.write_usize(number));
    key
}

/// Returns the key of an array whose elements are all this number.
fn number_key<T: Scalar>(number: T, shape: &[usize]) -> Words {
    let mut key = key(0, shape);
    key.write_u64(number.to_f64().to_bits());
    key
}

impl<T: Scalar> Action<T> {
    /// Returns the key of what it computes from these values; `None` for a custom operation, which may give other results
    /// each time.
    fn key(&self, operands: &[usize]) -> Option<Words> {
        let (kind, content): (usize, &dyn Fn(&mut Words)) = match self {
            Self::Op(op) => (2, &|key| op.write_to(key)),
            Self::PullUnary(row) => (3, &|key| row.write_to(key)),
            Self::PullBinary(row, k) => (4 + k, &|key| row.write_to(key)),
            Self::Custom(_) | Self::Copy => return None,
        };
        let mut key = key(kind, operands);
        content(&mut key);
        Some(key)
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
        self.pulls = vec![None; self.nodes.len()];
        for &rule in self.nodes.rules() {
            // A result of another shape than the cotangent was summed.
            let whole = self.nodes.shape(rule.result) == self.nodes.shape(rule.g);
            let pulls = match self.nodes.step(rule.node) {
                Step::Op(Op::Unary(row)) => reads_values(row.saves()),
                Step::Op(Op::Binary(row)) => reads_values(row.saves(rule.k)),
                _ => false,
            };
            if whole && pulls && rule.first < rule.result {
                self.pulls[rule.result as usize] = Some(rule);
            }
        }
    }

    /// Returns what a node computes from its [operands](Self::operands).
    fn action(&self, id: u32) -> Action<T> {
        let rule = self.pulls[id as usize].map(|rule| (self.nodes.step(rule.node), rule.k));
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
        let Some(rule) = self.pulls[id as usize] else { return SmallVec::from_slice(self.nodes.operands(id)) };
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

/// Returns the number that all elements are, if they share one place in memory.
fn number<T: Scalar>(view: View<'_, T>) -> Option<T> {
    let repeats = view.strides.map_or(elements(view.shape) == 1, |strides| strides.iter().all(|&stride| stride == 0));
    view.data.first().copied().filter(|_| repeats)
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
