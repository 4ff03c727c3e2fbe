//! [`NonFinite`]: the operation that made the first NaN or infinity.

use std::fmt;
use std::panic::Location;

use ndarray::Dimension;

use super::hint::Scene;
use crate::kernel::view::View;
use crate::op::Op;
use crate::scalar::Scalar;
use crate::shape::Shape;
use crate::sweep;
use crate::tape::{Nodes, Tape};
use crate::var::Var;

/// The operation that made the first NaN or infinity: what [`Tape::first_non_finite`] returns and what a
/// [checked](Tape::checked) tape panics with.
///
/// An operation **makes** a NaN if none of its operands holds one, and an infinity if its operands are finite. A
/// rule makes one in the cotangent of an operand in the same way, its operands being the cotangent of the result and the
/// operation's operands.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct NonFinite {
    /// Whether the operation itself made it or its rule.
    pub phase: Phase,
    /// The operation, with its parameters, as [`Tape`] prints it; `leaf`, `constant`, `param` and `seed` for inputs.
    pub op: String,
    /// The line of the user's code that recorded the operation.
    pub location: &'static Location<'static>,
    /// NaN or an infinity.
    pub value: f64,
    /// The position of the first such number.
    pub index: Vec<usize>,
    /// The shape of the array that holds it.
    pub shape: Shape,
    /// What the operation, or its rule, was given.
    pub operands: Vec<Operand>,
    /// What usually lies behind it.
    pub hint: Option<String>,
}

/// What was under way when the first NaN or infinity came up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The operation was recorded: its value is not finite.
    Recording,
    /// The operation's rule ran in a sweep: the cotangent of an operand is not finite.
    Sweep {
        /// Which operand of the operation, from 0.
        operand: usize,
    },
}

/// An array that went into an operation or its rule.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Operand {
    /// `"operand 0"`, `"operand 1"`, …; in a sweep also `"result"` and `"cotangent"`.
    pub role: String,
    /// The operation that made it: empty for a cotangent.
    pub op: String,
    /// The line that recorded it.
    pub location: &'static Location<'static>,
    /// Its shape.
    pub shape: Shape,
    /// Which numbers it holds.
    pub range: ValueRange,
}

/// Which numbers an array holds.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct ValueRange {
    /// The smallest finite number; NaN if there is none.
    pub min: f64,
    /// The largest finite number; NaN if there is none.
    pub max: f64,
    /// How many numbers there are.
    pub elements: usize,
    /// How many of them are 0.
    pub zeros: usize,
    /// How many of them are NaN.
    pub nans: usize,
    /// How many of them are infinite.
    pub infinities: usize,
}

impl ValueRange {
    /// Returns the range of these numbers.
    fn of<T: Scalar>(numbers: impl Iterator<Item = T>) -> Self {
        let mut range = Self { min: f64::NAN, max: f64::NAN, elements: 0, zeros: 0, nans: 0, infinities: 0 };
        for x in numbers {
            range.elements += 1;
            if x.is_finite() {
                let x = x.to_f64();
                range.zeros += usize::from(x == 0.0);
                // `min` and `max` of NaN and a number are the number.
                (range.min, range.max) = (range.min.min(x), range.max.max(x));
            } else if x.is_nan() {
                range.nans += 1;
            } else {
                range.infinities += 1;
            }
        }
        range
    }

    /// Returns whether all numbers are finite.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        self.nans == 0 && self.infinities == 0
    }
}

/// Prints as `-1 to 2.5, 3 of 10 zero, 1 NaN`.
impl fmt::Display for ValueRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if self.elements == 0 {
            parts.push("no elements".to_string());
        } else if self.min == self.max {
            let all = if self.elements > 1 && self.is_finite() { "all " } else { "" };
            parts.push(format!("{all}{}", number(self.min)));
        } else if !self.min.is_nan() {
            parts.push(format!("{} to {}", number(self.min), number(self.max)));
        }
        if self.zeros > 0 && self.min != self.max {
            parts.push(format!("{} of {} zero", self.zeros, self.elements));
        }
        for (count, name) in [(self.nans, "NaN"), (self.infinities, "infinite")] {
            if count > 0 {
                parts.push(format!("{count} of {} {name}", self.elements));
            }
        }
        f.write_str(&parts.join(", "))
    }
}

/// Returns a number with six digits at most.
fn number(x: f64) -> String {
    let rounded = format!("{x:.5e}").parse().unwrap_or(x);
    let size = x.abs();
    if size == 0.0 || (1e-4..1e7).contains(&size) { format!("{rounded}") } else { format!("{rounded:e}") }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { role, op, location, shape, range } = self;
        match op.as_str() {
            "" => write!(f, "{role}: {shape}, {range}"),
            op => write!(f, "{role}: {op} {shape}, {range}, recorded at {location}"),
        }
    }
}

impl fmt::Display for NonFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { op, location, value, index, shape, .. } = self;
        let kind = if value.is_nan() { "NaN" } else { "infinity" };
        let at = if index.is_empty() { String::new() } else { format!(" at {index:?}") };
        match self.phase {
            Phase::Recording if self.operands.is_empty() => {
                write!(f, "{op} {shape} holds the first {kind}: {value}{at}, recorded at {location}")?;
            }
            Phase::Recording => {
                write!(f, "{op} made the first {kind}: {value}{at} of {shape}, recorded at {location}")?
            }
            Phase::Sweep { operand } => write!(
                f,
                "the rule of {op} made the first {kind} of the sweep: {value}{at} in the cotangent of operand {operand} \
                 {shape}; {op} is recorded at {location}"
            )?,
        }
        for operand in &self.operands {
            write!(f, "\n  {operand}")?;
        }
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// Looking for numbers that are not finite.
impl<T: Scalar> Tape<T> {
    /// Returns the operation that made the first NaN or infinity of this record, in its values or, if those are finite, in
    /// the sweeps that ran on it; `None` if there is neither.
    ///
    /// It says which operation it was, the line that recorded it, the ranges of its operands, and what usually lies
    /// behind it. It looks at a record as it is, and runs its sweeps once more without touching a gradient: call it when
    /// a loss or a gradient turns out not to be finite. A tape that is [`checked`](Self::checked) finds out at once.
    ///
    /// An operation makes a NaN if none of its operands holds one, and an infinity if its operands are finite. So
    /// infinities in a constant, as masks have them, are not blamed for as long as nothing comes of them; a leaf or a
    /// parameter that is not finite is. In gradients that were recorded by [`Var::grads`], the operation is blamed whose
    /// rule made the number.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let x = tape.leaf(array![-1.0, 2.0]);
    /// let loss = x.relu().ln().sum(); // ln 0
    /// assert_eq!(loss.item(), f64::NEG_INFINITY);
    ///
    /// let found = tape.first_non_finite().unwrap();
    /// assert_eq!(found.op, "ln");
    /// assert_eq!(found.location.line(), loss.tape().first_non_finite().unwrap().location.line());
    /// assert_eq!((found.operands[0].range.min, found.operands[0].range.max), (0.0, 2.0));
    /// assert!(found.hint.unwrap().starts_with("ln of 0 is minus infinity"));
    /// ```
    #[must_use]
    pub fn first_non_finite(&self) -> Option<NonFinite> {
        let nodes = self.nodes();
        let count = nodes.len() as u32;
        if let Some(found) = in_values(self, &nodes, |_| false) {
            return Some(found);
        }
        let sweeps: Vec<_> = self.sweeps().iter().map(|sweep| (sweep.from, sweep.seed.clone())).collect();
        let mut finite = true;
        for (from, seed) in sweeps {
            match sweep::search(Var::new(self, from), seed) {
                Ok(gradients_finite) => finite &= gradients_finite,
                Err(found) => return Some(*found),
            }
        }
        // Nobody made it: it came in with a constant. That matters only if something came of it.
        let mut used = vec![false; nodes.len()];
        (0..count).flat_map(|id| nodes.operands(id)).for_each(|&operand| used[operand as usize] = true);
        let mut results = (0..count).filter(|&id| !used[id as usize] && !nodes.operands(id).is_empty());
        if finite && results.all(|id| is_finite(self.view(&nodes, id))) {
            return None;
        }
        in_sources(self, &nodes, &[])
    }

    /// Returns this tape, which from now on checks as it goes: see [`set_checked`](Self::set_checked).
    ///
    /// # Example
    ///
    /// ```should_panic
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new().checked();
    /// let y = tape.leaf(1000.0).exp(); // panics here: exp made the first infinity
    /// ```
    #[must_use]
    pub fn checked(self) -> Self {
        self.set_checked(true);
        self
    }

    /// Panics with a [`NonFinite`] if the operation that was recorded last makes the first one.
    #[cold]
    #[track_caller]
    pub(crate) fn check_value(&self, id: u32) {
        let found = in_value(self, &self.nodes(), id);
        if let Some(found) = found {
            panic!("{found}");
        }
    }
}

/// Panics with the first operation from `first` on that made a number that is not finite, if the result, which was
/// recorded last, holds one. What is recorded on the way to a result may hold one: a selection may drop it again.
#[track_caller]
pub(crate) fn check_recorded<T: Scalar>(tape: &Tape<T>, first: u32, result: u32) {
    let found = {
        let nodes = tape.nodes();
        let finite = is_finite(tape.view(&nodes, result));
        if finite { None } else { (first..=result).find_map(|id| in_value(tape, &nodes, id)) }
    };
    if let Some(found) = found {
        panic!("{found}");
    }
}

/// Returns which numbers an array holds.
pub(crate) fn survey<T: Scalar>(view: View<'_, T>) -> ValueRange {
    match view.as_slice() {
        Some(values) => ValueRange::of(values.iter().copied()),
        None => ValueRange::of(view.array().iter().copied()),
    }
}

/// Returns whether all numbers are finite.
pub(crate) fn all_finite<T: Scalar>(values: &[T]) -> bool {
    values.iter().all(|x| x.is_finite())
}

fn is_finite<T: Scalar>(view: View<'_, T>) -> bool {
    match view.as_slice() {
        Some(values) => all_finite(values),
        None => view.array().iter().all(|x| x.is_finite()),
    }
}

/// Returns position and value of the first number that an operation on these operands made.
fn made<T: Scalar>(values: View<'_, T>, operands: &[ValueRange]) -> Option<(Vec<usize>, f64)> {
    if operands.iter().any(|x| x.nans > 0) {
        return None;
    }
    let infinite = operands.iter().any(|x| x.infinities > 0);
    first(values, |x| if infinite { x.is_nan() } else { !x.is_finite() })
}

fn first<T: Scalar>(values: View<'_, T>, wanted: impl Fn(T) -> bool) -> Option<(Vec<usize>, f64)> {
    let array = values.array();
    let mut elements = array.indexed_iter();
    elements.find(|&(_, &x)| wanted(x)).map(|(index, &x)| (index.as_array_view().to_vec(), x.to_f64()))
}

/// Returns the blame of the first operation or rule whose recorded value is to blame; `given` are not asked.
fn in_values<T: Scalar>(tape: &Tape<T>, nodes: &Nodes<T>, given: impl Fn(u32) -> bool) -> Option<NonFinite> {
    // What rules recorded on the way to their result is theirs: a selection may drop it again.
    let mut rules = nodes.rules().iter().peekable();
    (0..nodes.len() as u32).filter(|&id| !given(id)).find_map(|id| {
        while rules.next_if(|rule| rule.result < id).is_some() {}
        match rules.peek() {
            Some(rule) if rule.result == id => {
                let g = survey(tape.view(nodes, rule.g));
                in_rule(tape, nodes, rule.node, rule.k as usize, g, tape.view(nodes, id))
            }
            Some(rule) if rule.first <= id => None,
            _ => in_value(tape, nodes, id),
        }
    })
}

/// Returns the blame of the first input that is not finite, of segments too; `given` are not asked.
fn in_sources<T: Scalar>(tape: &Tape<T>, nodes: &Nodes<T>, given: &[u32]) -> Option<NonFinite> {
    (0..nodes.len() as u32).filter(|id| !given.contains(id)).find_map(|id| match nodes.node(id).op {
        Op::Checkpoint(_) => in_segment(tape, nodes, id, in_sources),
        _ => blame_source(tape, nodes, id, |x| !x.is_finite()),
    })
}

/// A search of a tape for whom to blame; the nodes in the list are not asked.
type Search<T> = fn(&Tape<T>, &Nodes<T>, &[u32]) -> Option<NonFinite>;

/// Returns what a search finds in a segment that runs once more. What stands for its inputs there is not asked.
fn in_segment<T: Scalar>(tape: &Tape<T>, nodes: &Nodes<T>, id: u32, search: Search<T>) -> Option<NonFinite> {
    let aside = tape.aside();
    aside.set_checked(false);
    let inputs: Vec<u32> = tape.run_segment(nodes, id, &aside).inputs.iter().map(|&(_, input)| input).collect();
    search(&aside, &aside.nodes(), &inputs)
}

/// Returns the blame of an operation for its value.
fn in_value<T: Scalar>(tape: &Tape<T>, nodes: &Nodes<T>, id: u32) -> Option<NonFinite> {
    let (values, node) = (tape.view(nodes, id), nodes.node(id));
    // What a segment makes may be selected away before its result. What nobody makes there came in with a constant.
    if let Op::Checkpoint(_) = node.op {
        return in_segment(tape, nodes, id, |tape, nodes, inputs| in_values(tape, nodes, |id| inputs.contains(&id)));
    }
    if is_finite(values) {
        return None;
    }
    if nodes.operands(id).is_empty() {
        let constant = matches!(node.op, Op::Constant);
        return blame_source(tape, nodes, id, |x| if constant { x.is_nan() } else { !x.is_finite() });
    }
    let operands = operands(tape, nodes, id);
    let ranges: Vec<_> = operands.iter().map(|operand| operand.range).collect();
    let (index, value) = made(values, &ranges)?;
    let op = tape.name(&node.op);
    let scene = Scene { op, value, operands: &ranges, cotangent: None, dtype: T::DTYPE };
    let hint = scene.hint();
    let shape = Shape::from(values.shape);
    let op = tape.call(&node.op);
    Some(NonFinite { phase: Phase::Recording, op, location: node.location, value, index, shape, operands, hint })
}

/// Returns the blame of an input that is not finite.
fn blame_source<T: Scalar>(tape: &Tape<T>, nodes: &Nodes<T>, id: u32, wanted: impl Fn(T) -> bool) -> Option<NonFinite> {
    if !nodes.operands(id).is_empty() {
        return None;
    }
    let values = tape.view(nodes, id);
    let (index, value) = first(values, wanted)?;
    Some(NonFinite {
        phase: Phase::Recording,
        op: tape.call(&nodes.node(id).op),
        location: nodes.node(id).location,
        value,
        index,
        shape: Shape::from(values.shape),
        operands: Vec::new(),
        hint: None,
    })
}

/// Returns the blame of the rule of node `id` for the cotangent of its operand `k`; `g` is what the rule was given.
pub(crate) fn in_rule<T: Scalar>(
    tape: &Tape<T>,
    nodes: &Nodes<T>,
    id: u32,
    k: usize,
    g: ValueRange,
    cotangent: View<'_, T>,
) -> Option<NonFinite> {
    if is_finite(cotangent) {
        return None;
    }
    let node = nodes.node(id);
    let mut operands = operands(tape, nodes, id);
    let ranges: Vec<_> = operands.iter().map(|operand| operand.range).collect();
    operands.push(operand("result".into(), tape, nodes, id));
    let (location, shape) = (node.location, Shape::from(nodes.shape(id)));
    operands.push(Operand { role: "cotangent".into(), op: String::new(), location, shape, range: g });
    let given: Vec<_> = operands.iter().map(|operand| operand.range).collect();
    let (index, value) = made(cotangent, &given)?;
    let op = tape.name(&node.op);
    let scene = Scene { op, value, operands: &ranges, cotangent: Some(g), dtype: T::DTYPE };
    let hint = scene.hint();
    let (phase, shape, op) = (Phase::Sweep { operand: k }, Shape::from(cotangent.shape), tape.call(&node.op));
    Some(NonFinite { phase, op, location, value, index, shape, operands, hint })
}

/// Returns the blame of a seed that is not finite; `id` is the node that the sweep starts from.
pub(crate) fn in_seed<T: Scalar>(nodes: &Nodes<T>, id: u32, seed: View<'_, T>) -> Option<NonFinite> {
    let (index, value) = first(seed, |x| !x.is_finite())?;
    Some(NonFinite {
        phase: Phase::Recording,
        op: "seed".into(),
        location: nodes.node(id).location,
        value,
        index,
        shape: Shape::from(seed.shape),
        operands: Vec::new(),
        hint: None,
    })
}

fn operands<T: Scalar>(tape: &Tape<T>, nodes: &Nodes<T>, id: u32) -> Vec<Operand> {
    let operands = nodes.operands(id).iter().enumerate();
    operands.map(|(k, &x)| operand(format!("operand {k}"), tape, nodes, x)).collect()
}

fn operand<T: Scalar>(role: String, tape: &Tape<T>, nodes: &Nodes<T>, id: u32) -> Operand {
    let node = nodes.node(id);
    let values = tape.view(nodes, id);
    let op = format!("%{id} = {}", tape.call(&node.op));
    Operand { role, op, location: node.location, shape: Shape::from(values.shape), range: survey(values) }
}
