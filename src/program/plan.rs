//! [`Plan`]: in which order a program runs, what runs together, and where values lie.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use super::graph::{Action, Graph, Origin, Value};
use super::straight::{self, Recipe, recipe};
use super::unit::{Located, Unit, operands, tile_row};
use crate::hash::FastMap;
use crate::kernel::reduce::TILE_UNIT;
use crate::kernel::view::View;
use crate::op::{Gathered, Op, ReduceKind, TileGroup, TilePlace, TileRow, TileStep};
use crate::scalar::Scalar;
use crate::shape::elements;

/// Whose memory holds a value.
#[derive(Clone, Copy)]
pub(super) enum Holder {
    Input(usize),
    Param(usize),
    /// The constant of this value.
    Constant(usize),
    Slot(usize),
    /// A value that only registers hold, or that is never computed.
    Nobody,
}

/// The order and the memory of a program.
pub(super) struct Plan<T> {
    pub(super) units: Vec<Unit<T>>,
    /// Where each value lies.
    pub(super) located: Vec<Located>,
    /// The memory of each value that has its own and is computed: a position among the slots.
    pub(super) slot: Vec<Option<usize>>,
    /// Where each value is read: whose memory, and the position of its first element. It follows from the tables above,
    /// and reading it touches one line of memory.
    pub(super) held: Vec<(Holder, usize)>,
    /// The number of elements of each slot.
    pub(super) slots: Vec<usize>,
    /// The number of elements of each register of a tile.
    pub(super) registers: Vec<usize>,
    /// The number of registers for single numbers.
    pub(super) numbers: usize,
}

/// The size of all registers of a group together, in bytes: they share the second-level cache with what they read.
const REGISTER_BYTES: usize = 1 << 17;
/// The least and the largest number of elements of a tile.
const TILE: (usize, usize) = (256, 4096);

impl<T: Scalar> Plan<T> {
    /// Plans a program. Outputs that are inputs, parameters or constants get a copy, which takes their place among the
    /// graph's outputs.
    pub(super) fn new(graph: &mut Graph<T>) -> Self {
        let mut located = locate(&graph.values);
        let mut copies = Vec::new();
        for output in &mut graph.outputs {
            if !is_computed(&graph.values[located[*output].root]) {
                let (from, to) = (*output, graph.values.len());
                let shape = graph.values[from].shape.clone();
                let origin = Origin::Computed { action: Action::Copy, operands: SmallVec::from_slice(&[from]) };
                graph.values.push(Value { shape, origin });
                located.push(Located { root: to, offset: 0, strides: None });
                copies.push(Draft::One(to));
                *output = to;
            }
        }
        let mut drafts = Drafts::new(graph, &located);
        drafts.list.extend(copies);
        let kept = drafts.kept(graph, &located);
        let mut plan = Self {
            units: Vec::new(),
            slot: Vec::new(),
            held: Vec::new(),
            slots: Vec::new(),
            registers: Vec::new(),
            numbers: 0,
            located,
        };
        for (unit, draft) in drafts.list.iter().enumerate() {
            let unit = match draft {
                &Draft::One(value) => Unit::One(value),
                Draft::Group { values, .. } => plan.group(graph, values, &drafts.unit, unit, &kept),
                Draft::Straight(values) => straight::unit(graph, &plan.located, values, &drafts.recipes, &kept),
            };
            if let Unit::Straight { program, .. } = &unit {
                plan.numbers = plan.numbers.max(program.registers());
            }
            plan.units.push(unit);
        }
        plan.place(graph);
        plan
    }

    /// Makes a group of values that are computed together.
    fn group(
        &mut self,
        graph: &Graph<T>,
        values: &[usize],
        unit_of: &[Option<usize>],
        unit: usize,
        kept: &[bool],
    ) -> Unit<T> {
        let inside = |value: usize| unit_of[self.located[value].root] == Some(unit);
        let mut last_use: FastMap<usize, usize> = FastMap::default();
        for (step, &value) in values.iter().enumerate() {
            for &operand in operands(&graph.values[value]).iter().filter(|&&operand| inside(operand)) {
                last_use.insert(self.located[operand].root, step);
            }
        }
        let size = elements(&graph.values[values[0]].shape);
        let (mut made, mut sums, mut gathered) = (Vec::new(), Vec::new(), Vec::<Gathered>::new());
        let (mut steps, mut free, mut registers) = (Vec::new(), Vec::new(), 0);
        let mut places: FastMap<usize, TilePlace> = FastMap::default();
        for (step, &value) in values.iter().enumerate() {
            let row = tile_row(&graph.values[value]).unwrap_or(TileRow::Sum(sums.len()));
            let mut sources: SmallVec<[TilePlace; 4]> = SmallVec::new();
            for &operand in operands(&graph.values[value]) {
                let located = &self.located[operand];
                let source = if inside(operand) {
                    places[&located.root]
                } else if located.strides.is_none() && elements(&graph.values[operand].shape) == size {
                    TilePlace::Outside(operand)
                } else {
                    let number = located.strides.as_ref().map_or_else(
                        || elements(&graph.values[operand].shape) == 1,
                        |strides| strides.iter().all(|&stride| stride == 0),
                    );
                    let shape = (!number).then(|| graph.values[value].shape.clone());
                    let earlier = gathered.iter().find(|earlier| earlier.array == operand && earlier.shape == shape);
                    let register = earlier.map(|earlier| earlier.register);
                    TilePlace::Register(register.unwrap_or_else(|| {
                        gathered.push(Gathered { array: operand, shape, register: registers });
                        registers += 1;
                        registers - 1
                    }))
                };
                sources.push(source);
            }
            let ends = |value: usize| last_use.get(&value) == Some(&step);
            let cotangent = operands(&graph.values[value])[0];
            let pulls = matches!(row, TileRow::PullUnary(_) | TileRow::PullBinary(..));
            let in_place = pulls
                && inside(cotangent)
                && ends(self.located[cotangent].root)
                && matches!(sources[0], TilePlace::Register(_))
                && !sources[1..].contains(&sources[0]);
            if let TileRow::Sum(_) = row {
                sums.push(made.len());
            }
            let target = if kept[value] {
                made.push(value);
                TilePlace::Made(made.len() - 1)
            } else if in_place {
                sources[0]
            } else {
                TilePlace::Register(free.pop().unwrap_or_else(|| {
                    registers += 1;
                    registers - 1
                }))
            };
            // Registers that are read for the last time, each of them once.
            let mut ended: SmallVec<[usize; 4]> = SmallVec::new();
            for &operand in operands(&graph.values[value]) {
                let root = self.located[operand].root;
                if inside(operand) && ends(root) && !ended.contains(&root) {
                    ended.push(root);
                    if let TilePlace::Register(register) = places[&root]
                        && TilePlace::Register(register) != target
                    {
                        free.push(register);
                    }
                }
            }
            // A value that nobody reads: its register is free at once.
            if let TilePlace::Register(register) = target
                && !last_use.contains_key(&value)
            {
                free.push(register);
            }
            places.insert(value, target);
            steps.push(TileStep { row, operands: sources, target });
        }
        let fits = REGISTER_BYTES / size_of::<T>() / (registers + made.len()).max(1);
        // A tile is a subtree of a sum.
        let least = if sums.is_empty() { TILE.0 } else { TILE_UNIT.max(TILE.0) };
        let tile = if fits == 0 { least } else { (1 << fits.ilog2()).clamp(least, TILE.1) };
        for register in 0..registers {
            if self.registers.len() <= register {
                self.registers.push(0);
            }
            self.registers[register] = self.registers[register].max(tile.min(size));
        }
        Unit::Group { group: TileGroup { elements: size, tile, steps, gathered, sums }, made }
    }

    /// Gives each computed value its memory. Memory of a value that no later unit reads is used again.
    fn place(&mut self, graph: &Graph<T>) {
        let mut last: Vec<usize> = vec![0; graph.values.len()];
        for (unit, reads) in self.units.iter().enumerate() {
            for value in unit_reads(reads, graph) {
                last[self.located[value].root] = unit;
            }
        }
        let guards = graph.guards.iter().map(|guard| guard.value);
        let gradients = graph.gradients.iter().map(|&(_, value)| value);
        for value in graph.outputs.iter().copied().chain(guards).chain(gradients) {
            last[self.located[value].root] = usize::MAX;
        }
        self.slot = vec![None; graph.values.len()];
        // Free slots by their size, and the slots that each unit frees.
        let mut free: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        let mut freed: Vec<Vec<usize>> = vec![Vec::new(); self.units.len()];
        for (unit, writes) in self.units.iter().enumerate() {
            for &value in writes.made() {
                let size = elements(&graph.values[value].shape);
                // The smallest that is large enough, else the largest.
                let best = free.range(size..).next().or_else(|| free.last_key_value()).map(|(&have, _)| have);
                let slot = best.and_then(|have| {
                    let slots = free.get_mut(&have)?;
                    let slot = slots.pop();
                    if slots.is_empty() {
                        free.remove(&have);
                    }
                    slot
                });
                let slot = slot.unwrap_or_else(|| {
                    self.slots.push(0);
                    self.slots.len() - 1
                });
                self.slots[slot] = self.slots[slot].max(size);
                self.slot[value] = Some(slot);
                if let Some(freed) = freed.get_mut(last[value].max(unit)) {
                    freed.push(slot);
                }
            }
            for slot in std::mem::take(&mut freed[unit]) {
                free.entry(self.slots[slot]).or_default().push(slot);
            }
        }
        let held = |&Located { root, offset, .. }: &Located| {
            let holder = match graph.values[root].origin {
                Origin::Input(position) => Holder::Input(position),
                Origin::Param(position) => Holder::Param(position),
                Origin::Constant(_) => Holder::Constant(root),
                Origin::Computed { .. } => self.slot[root].map_or(Holder::Nobody, Holder::Slot),
            };
            (holder, offset)
        };
        self.held = self.located.iter().map(held).collect();
    }
}

/// Units, while values are assigned to them.
struct Drafts {
    list: Vec<Draft>,
    /// The unit that computes a value.
    unit: Vec<Option<usize>>,
    /// How the elements of a value come about, if it is an array with few of them.
    recipes: Vec<Option<Recipe>>,
}

enum Draft {
    One(usize),
    Group { elements: usize, values: Vec<usize> },
    Straight(Vec<usize>),
}

impl Drafts {
    /// Assigns each computed value to a unit, in an order in which operands come first. A row joins the earliest group
    /// of its size that comes after all its operands, or computes some of them.
    fn new<T: Scalar>(graph: &Graph<T>, located: &[Located]) -> Self {
        let count = graph.values.len();
        let mut drafts = Self { list: Vec::new(), unit: vec![None; count], recipes: Vec::with_capacity(count) };
        drafts.recipes.resize_with(count, || None);
        let limit = straight::limit(graph, located);
        for (value, found) in graph.values.iter().enumerate() {
            let Origin::Computed { action, operands } = &found.origin else { continue };
            if located[value].root != value || matches!(action, Action::Copy) {
                continue;
            }
            let size = elements(&found.shape);
            let summed = drafts.group_of_sum(graph, located, found).is_some();
            let recipe = if summed { None } else { recipe(graph, value, limit) };
            let straight = recipe.is_some();
            drafts.recipes[value] = recipe;
            let row = !straight && size > 0 && tile_row(found).is_some();
            let joins = if straight {
                drafts.straight_for(located, operands)
            } else if row {
                drafts.group_for(graph, located, operands, size)
            } else {
                drafts.group_of_sum(graph, located, found)
            };
            let unit = joins.unwrap_or(drafts.list.len());
            match drafts.list.get_mut(unit) {
                Some(Draft::Group { values, .. } | Draft::Straight(values)) => values.push(value),
                _ if straight => drafts.list.push(Draft::Straight(vec![value])),
                _ if row => drafts.list.push(Draft::Group { elements: size, values: vec![value] }),
                _ => drafts.list.push(Draft::One(value)),
            }
            drafts.unit[value] = Some(unit);
        }
        drafts
    }

    /// Returns the group that a row of `size` elements joins.
    fn group_for<T: Scalar>(
        &self,
        graph: &Graph<T>,
        located: &[Located],
        operands: &[usize],
        size: usize,
    ) -> Option<usize> {
        // The first unit that the row can be in: of a register's value its own, else the one after.
        let first = operands.iter().filter_map(|&operand| {
            let Located { root, offset, strides } = &located[operand];
            let unit = self.unit[*root]?;
            let whole = strides.is_none() && *offset == 0 && elements(&graph.values[operand].shape) == size;
            let same = matches!(&self.list[unit], Draft::Group { elements, .. } if *elements == size);
            Some(if whole && same { unit } else { unit + 1 })
        });
        let first = first.max().unwrap_or(0);
        (first..self.list.len())
            .find(|&unit| matches!(&self.list[unit], Draft::Group { elements, .. } if *elements == size))
    }

    /// Returns the straight-line program that a value joins: the first one that comes after all its operands, or computes
    /// some of them.
    fn straight_for(&self, located: &[Located], operands: &[usize]) -> Option<usize> {
        let straight = |unit: usize| matches!(self.list[unit], Draft::Straight(_));
        let first = operands.iter().filter_map(|&operand| {
            let unit = self.unit[located[operand].root]?;
            Some(if straight(unit) { unit } else { unit + 1 })
        });
        (first.max().unwrap_or(0)..self.list.len()).find(|&unit| straight(unit))
    }

    /// Returns the group that a sum of all elements joins: the one that computes its operand.
    fn group_of_sum<T: Scalar>(&self, graph: &Graph<T>, located: &[Located], sum: &Value<T>) -> Option<usize> {
        let operand = summed(graph, sum)?;
        let Located { root, offset: 0, strides: None } = located[operand] else { return None };
        let unit = self.unit[root]?;
        let size = elements(&graph.values[operand].shape);
        // A sum of one element is as large as the rows of its group. It would seem to be one of them.
        matches!(&self.list[unit], Draft::Group { elements, .. } if *elements == size && size > 1).then_some(unit)
    }

    /// Returns which values of groups need memory: others than the group read them.
    fn kept<T: Scalar>(&self, graph: &Graph<T>, located: &[Located]) -> Vec<bool> {
        let mut kept = vec![false; graph.values.len()];
        for (value, found) in graph.values.iter().enumerate() {
            if located[value].root != value {
                continue;
            }
            for &operand in operands(found) {
                let root = located[operand].root;
                kept[root] |= self.unit[root] != self.unit[value] || self.unit[value].is_none();
            }
        }
        let guards = graph.guards.iter().map(|guard| guard.value);
        let gradients = graph.gradients.iter().map(|&(_, value)| value);
        for value in graph.outputs.iter().copied().chain(guards).chain(gradients) {
            kept[located[value].root] = true;
        }
        // What a sum is written to is not a register.
        for (value, found) in graph.values.iter().enumerate() {
            kept[value] |= summed(graph, found).is_some() && self.recipes[value].is_none();
        }
        kept
    }
}

/// Returns where each value lies.
fn locate<T: Scalar>(values: &[Value<T>]) -> Vec<Located> {
    let mut located: Vec<Located> = Vec::with_capacity(values.len());
    for (position, value) in values.iter().enumerate() {
        let own = Located { root: position, offset: 0, strides: None };
        located.push(match &value.origin {
            Origin::Constant(constant) => Located { strides: constant.strides.clone(), ..own },
            Origin::Computed { action: Action::Op(op), operands } if operands.len() == 1 => {
                let x = operands[0];
                let Located { root, offset, ref strides } = located[x];
                let view = View { data: &[], shape: &values[x].shape, strides: strides.as_deref() };
                match op.view(&[view], &value.shape) {
                    Some((layout, start)) => Located { root, offset: offset + start, strides: layout.strides() },
                    None => own,
                }
            }
            _ => own,
        });
    }
    located
}

fn is_computed<T>(value: &Value<T>) -> bool {
    matches!(value.origin, Origin::Computed { .. })
}

/// Returns the operand of a sum of all its elements.
fn summed<T: Scalar>(graph: &Graph<T>, value: &Value<T>) -> Option<usize> {
    let Origin::Computed { action: Action::Op(Op::Reduce { kind: ReduceKind::Sum, axes, .. }), operands } =
        &value.origin
    else {
        return None;
    };
    let shape = &graph.values[operands[0]].shape;
    (axes.elements(shape) == elements(shape) && elements(shape) > 0).then_some(operands[0])
}

/// Returns the values from outside that a unit reads.
fn unit_reads<T: Scalar>(unit: &Unit<T>, graph: &Graph<T>) -> SmallVec<[usize; 8]> {
    match unit {
        Unit::One(value) => operands(&graph.values[*value]).iter().copied().collect(),
        Unit::Group { group, .. } => {
            let gathered = group.gathered.iter().map(|gathered| gathered.array);
            let direct = group.steps.iter().flat_map(|step| &step.operands).filter_map(|place| match place {
                TilePlace::Outside(array) => Some(*array),
                TilePlace::Register(_) | TilePlace::Made(_) => None,
            });
            gathered.chain(direct).collect()
        }
        Unit::Straight { program, .. } => program.reads().collect(),
    }
}
