//! [`Outline`]: a recording as it is drawn and explained: names, formulas, shapes, and what the sweep computes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::op::Place;
use crate::scalar::Scalar;
use crate::shape::Shape;
use crate::tape::{Group, GroupName, Nodes, Step, Tape, Var};

/// What a picture is of: a whole tape, or the value of a [`Var`] with all that it was computed from.
///
/// # Example
///
/// ```
/// use tapegrad::{Tape, draw};
///
/// let tape = Tape::new();
/// let (x, unused) = (tape.leaf(2.0).named("x"), tape.leaf(3.0).named("unused"));
/// let y = x.square();
/// assert!(draw::explain(&tape).contains("unused")); // a tape
/// assert!(!draw::explain(y).contains("unused")); // a value, with what it was computed from
/// ```
pub struct Recorded<'t, T> {
    tape: &'t Tape<T>,
    root: Option<u32>,
}

impl<T: Scalar> fmt::Debug for Recorded<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorded").field("nodes", &self.tape.len()).field("root", &self.root).finish()
    }
}

impl<'t, T: Scalar> From<&'t Tape<T>> for Recorded<'t, T> {
    fn from(tape: &'t Tape<T>) -> Self {
        Self { tape, root: None }
    }
}

impl<'t, T: Scalar> From<&'t mut Tape<T>> for Recorded<'t, T> {
    fn from(tape: &'t mut Tape<T>) -> Self {
        Self { tape, root: None }
    }
}

impl<'t, T: Scalar> From<Var<'t, T>> for Recorded<'t, T> {
    fn from(var: Var<'t, T>) -> Self {
        Self { tape: var.tape(), root: Some(var.id()) }
    }
}

impl<'t, T: Scalar> From<&Var<'t, T>> for Recorded<'t, T> {
    fn from(var: &Var<'t, T>) -> Self {
        Self::from(*var)
    }
}

/// What a node is, by its shape and colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Parameter,
    Leaf,
    Constant,
    Operation,
    Custom,
    Checkpoint,
}

/// A node.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// Its number on the tape.
    pub(super) id: u32,
    pub(super) kind: Kind,
    pub(super) name: String,
    /// The operation as a call; for a source what kind it is.
    pub(super) call: String,
    /// The operation's name.
    pub(super) op: &'static str,
    /// How it is computed from its operands; nothing for a source.
    pub(super) formula: String,
    pub(super) shape: Shape,
    pub(super) uses: Vec<Use>,
    /// Whether the sweep reaches it: it has a cotangent.
    pub(super) reached: bool,
    /// Why it has none, if it has not.
    pub(super) unreached: &'static str,
    /// The number of contributions to its cotangent.
    pub(super) contributions: usize,
}

impl Line {
    /// Returns whether it is computed from others.
    pub(super) fn is_computed(&self) -> bool {
        matches!(self.kind, Kind::Operation | Kind::Custom | Kind::Checkpoint)
    }

    /// Returns the assignment, `z = x W`; for a source the name.
    pub(super) fn assignment(&self) -> String {
        if self.is_computed() { format!("{} = {}", self.name, self.formula) } else { self.name.clone() }
    }
}

/// An operand of a node.
#[derive(Clone, Debug)]
pub(super) struct Use {
    /// The position of the operand's line.
    pub(super) line: usize,
    /// The contribution to the operand's cotangent, if the sweep computes one.
    pub(super) rule: Option<String>,
}

/// A group of lines: those from `first` to before `end`.
#[derive(Clone, Debug)]
pub(super) struct Range {
    pub(super) first: usize,
    pub(super) end: usize,
    pub(super) name: String,
}

/// A recording as it is drawn.
#[derive(Clone, Debug)]
pub(super) struct Outline {
    pub(super) lines: Vec<Line>,
    /// Groups, outer ones before inner ones.
    pub(super) groups: Vec<Range>,
    /// The line that the sweep starts from: the loss.
    pub(super) root: Option<usize>,
}

impl Outline {
    /// Reads a recording.
    pub(super) fn of<T: Scalar>(recorded: Recorded<'_, T>) -> Self {
        let (tape, nodes) = (recorded.tape, recorded.tape.nodes());
        let root = recorded.root.or_else(|| root_of(&nodes));
        let ids: Vec<u32> = match recorded.root {
            None => nodes.ids().collect(),
            Some(root) => ancestors(&nodes, root),
        };
        let position: BTreeMap<u32, usize> = ids.iter().enumerate().map(|(line, &id)| (id, line)).collect();
        let names = names(&nodes, &ids, root);
        let reached = reached(&nodes, root);
        let name = |id: &u32| names.get(id).map_or("", String::as_str);

        let mut lines: Vec<Line> = Vec::with_capacity(ids.len());
        for &id in &ids {
            let (node, step, operands) = (nodes.node(id), nodes.step(id), nodes.operands(id));
            let shape = Shape::from(nodes.shape(id));
            let x: Vec<&str> = operands.iter().map(name).collect();
            let x_shapes: Vec<Shape> = operands.iter().map(|&x| Shape::from(nodes.shape(x))).collect();
            let at = Place { x: &x, x_shapes: &x_shapes, y: name(&id), y_shape: &shape };
            let op = tape.name(step);
            let call = |function: &str| format!("{function}({})", x.join(", "));
            let (kind, formula) = match step {
                Step::Leaf => (Kind::Leaf, String::new()),
                Step::Constant => (Kind::Constant, String::new()),
                Step::Param => (Kind::Parameter, String::new()),
                Step::Op(op) => (Kind::Operation, op.formula(at)),
                Step::Custom(_) => (Kind::Custom, call(op)),
                Step::Checkpoint(_) => (Kind::Checkpoint, call("segment")),
            };
            let passes = |k: usize| reached.contains(&id) && reached.contains(&operands[k]) && step.passes(k);
            let rule = |k: usize| match step {
                Step::Op(op) => op.rule_in_words(k, at),
                Step::Custom(_) => Some(format!("the rule of {op} by {}", x[k])),
                Step::Checkpoint(_) => Some(format!("the sweep of the segment, run again, by {}", x[k])),
                Step::Leaf | Step::Constant | Step::Param => None,
            };
            let uses = operands.iter().enumerate();
            let uses: Vec<Use> = uses
                .map(|(k, operand)| Use { line: position[operand], rule: if passes(k) { rule(k) } else { None } })
                .collect();
            for used in uses.iter().filter(|used| used.rule.is_some()) {
                lines[used.line].contributions += 1;
            }
            let unreached = match (node.detached, node.needs_grad) {
                (true, _) => "detached",
                (_, false) if step.is_source() => "not differentiated",
                (_, false) => "no leaf or parameter before it",
                (_, true) => "the loss does not depend on it",
            };
            let detached = if node.detached { "detached " } else { "" };
            let source = match kind {
                Kind::Parameter => "parameter".into(),
                _ => tape.call(step),
            };
            let inner = match step {
                Step::Checkpoint(_) => inner_parameters(&tape.segment_params(&nodes, id)),
                _ => String::new(),
            };
            lines.push(Line {
                id,
                kind,
                name: name(&id).into(),
                call: format!("{detached}{source}{inner}"),
                op,
                formula,
                shape,
                uses,
                reached: reached.contains(&id),
                unreached,
                contributions: usize::from(Some(id) == root),
            });
        }
        let groups = ranges(nodes.names.groups(), &ids);
        Self { lines, groups, root: root.and_then(|root| position.get(&root).copied()) }
    }

    /// Returns the groups that begin at a line, outer ones first, with their positions.
    pub(super) fn groups_at(&self, line: usize) -> impl Iterator<Item = (usize, &Range)> {
        let start = self.groups.partition_point(|range| range.first < line);
        self.groups.iter().enumerate().skip(start).take_while(move |(_, range)| range.first == line)
    }

    /// Returns whether a line is the value that the sweep starts from, and a loss: one number that is differentiated.
    pub(super) fn is_loss(&self, line: usize) -> bool {
        self.root == Some(line) && self.lines[line].reached && self.lines[line].shape.elements() == 1
    }

    /// Returns the contribution of a rule to the cotangent of a line: `dW = xᵀ g`.
    pub(super) fn contribution(&self, line: usize, rule: &str) -> String {
        let Line { name, contributions, .. } = &self.lines[line];
        let sign = if *contributions > 1 { "+=" } else { "=" };
        format!("d{name} {sign} {rule}")
    }
}

/// Returns the parameters that a segment uses, by name and shape.
fn inner_parameters(parameters: &[(String, Shape)]) -> String {
    let list: Vec<String> = parameters.iter().map(|(name, shape)| format!("{name} {shape}").trim().into()).collect();
    if list.is_empty() { String::new() } else { format!(" with {}", list.join(", ")) }
}

/// Returns the value that a sweep of a whole tape starts from: the last number that is differentiated, else the last
/// value that is.
fn root_of<T: Scalar>(nodes: &Nodes<T>) -> Option<u32> {
    let differentiated = |&id: &u32| nodes.node(id).needs_grad;
    let number = |&id: &u32| nodes.shape(id).iter().product::<usize>() == 1 && !nodes.step(id).is_source();
    let last = || nodes.ids().rev().find(differentiated);
    nodes.ids().rev().filter(differentiated).find(number).or_else(last).or_else(|| nodes.ids().last())
}

/// Returns a value and all that it was computed from, in order.
fn ancestors<T: Scalar>(nodes: &Nodes<T>, root: u32) -> Vec<u32> {
    let mut found = BTreeSet::from([root]);
    for id in (0..=root).rev() {
        if found.contains(&id) {
            found.extend(nodes.operands(id));
        }
    }
    found.into_iter().collect()
}

/// Returns the nodes that a sweep from `root` reaches.
fn reached<T: Scalar>(nodes: &Nodes<T>, root: Option<u32>) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    let Some(root) = root.filter(|&root| nodes.node(root).needs_grad) else { return found };
    found.insert(root);
    for id in (0..=root).rev() {
        let step = nodes.step(id);
        // A detached node needs no gradient, so it is not found.
        if found.contains(&id) {
            let operands = nodes.operands(id).iter().enumerate();
            let passed = operands.filter(|&(k, &x)| step.passes(k) && nodes.node(x).needs_grad);
            found.extend(passed.map(|(_, &x)| x));
        }
    }
    found
}

/// Returns the name of each node: its own, numbered if it is not the only one; else `v` with the node's number, as in a
/// Wengert list. A loss without a name is `L`.
fn names<T: Scalar>(nodes: &Nodes<T>, ids: &[u32], root: Option<u32>) -> BTreeMap<u32, String> {
    let given: BTreeMap<u32, &str> = nodes.names.values().collect();
    let own = |id: u32| -> Option<&str> {
        let parameter = || match nodes.param(id)?.name() {
            "" => None,
            "weight" => Some("W"),
            "bias" => Some("b"),
            name => Some(name),
        };
        let loss = || (Some(id) == root && is_loss(nodes, id)).then_some("L");
        given.get(&id).copied().or_else(parameter).or_else(loss)
    };
    // A parameter that was recorded twice is one.
    let same = |a: u32, b: u32| match (nodes.param(a), nodes.param(b)) {
        (Some(a), Some(b)) => a.is(b),
        _ => a == b,
    };
    let mut by_name: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for &id in ids {
        if let Some(name) = own(id) {
            by_name.entry(name).or_default().push(id);
        }
    }
    let mut names: BTreeMap<u32, String> = ids.iter().map(|&id| (id, format!("v{id}"))).collect();
    for (name, of) in &by_name {
        let mut distinct: Vec<u32> = Vec::new();
        for &id in of {
            if !distinct.iter().any(|&known| same(known, id)) {
                distinct.push(id);
            }
        }
        let separator = if name.ends_with(|last: char| last.is_ascii_digit()) { "_" } else { "" };
        let mut numbers = (1..).map(|number| format!("{name}{separator}{number}"));
        for &first in &distinct {
            let text = match distinct.len() {
                1 => (*name).into(),
                _ => numbers.find(|text| !by_name.contains_key(text.as_str())).unwrap_or_default(),
            };
            for &id in of.iter().filter(|&&id| same(first, id)) {
                names.insert(id, text.clone());
            }
        }
    }
    names
}

fn is_loss<T: Scalar>(nodes: &Nodes<T>, id: u32) -> bool {
    nodes.node(id).needs_grad && !nodes.step(id).is_source() && nodes.shape(id).iter().product::<usize>() == 1
}

/// Returns the groups as ranges of lines. Groups of the same lines are one, with both names. A layer of one operation has
/// no frame: the operation says what it is.
fn ranges(groups: &[Group], ids: &[u32]) -> Vec<Range> {
    let mut ranges: Vec<Range> = Vec::new();
    for group in groups {
        let line = |id: u32| ids.partition_point(|&own| own < id);
        let (first, end, name) = (line(group.first), line(group.end), group.name.to_string());
        let chosen = matches!(group.name, GroupName::Text(_));
        if end == first || end == first + 1 && !chosen {
            continue;
        }
        // They are in the order of their first lines.
        let same_first = ranges.iter_mut().rev().take_while(|range| range.first == first);
        match same_first.into_iter().find(|range| range.end == end) {
            Some(same) if same.name.ends_with(&name) => {}
            Some(same) => same.name = format!("{}: {name}", same.name),
            None => ranges.push(Range { first, end, name }),
        }
    }
    ranges
}
