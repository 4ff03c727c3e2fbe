//! [`NonFinite`]: the operation that made the first NaN or infinity.

use std::fmt;
use std::panic::Location;

use ndarray::Dimension;

use super::hint::Evidence;
use super::range::ValueRange;
use crate::kernel::view::View;
use crate::number::Classify;
use crate::op::Op;
use crate::scalar::Scalar;
use crate::shape::Shape;
use crate::tape::{Nodes, Step, Tape};

/// The operation that made the first NaN or infinity. [`Tape::first_non_finite`] returns it, and a
/// [checked](Tape::checked) tape panics with it.
///
/// An operation **makes** a NaN if no operand holds one. It makes an infinity if all its operands are finite. The same
/// holds for a rule, which makes a NaN or an infinity in the cotangent of an operand. Its operands are the cotangent of
/// the result and the operation's operands and result.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::Tape;
/// use tapegrad::blame::Phase;
///
/// let tape = Tape::<f64>::new();
/// let x = tape.leaf(array![4.0, 0.0]);
/// x.sqrt().sum().backward();
/// let found = tape.first_non_finite().unwrap();
/// assert_eq!(found.phase(), Phase::Sweep { operand: 0 });
/// assert_eq!((found.op(), found.value(), found.index()), ("sqrt", f64::INFINITY, &[1][..]));
/// assert_eq!((found.shape().to_string(), found.location().file()), ("(2,)".to_string(), file!()));
///
/// let operand = &found.operands()[0];
/// assert_eq!((operand.role(), operand.op(), operand.shape().to_string()), ("operand 0", "%0 = leaf", "(2,)".to_string()));
/// let range = operand.range();
/// assert_eq!((range.min(), range.max(), range.elements(), range.zeros()), (0.0, 4.0, 2, 1));
/// assert_eq!((range.nans(), range.infinities(), range.is_finite()), (0, 0, true));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct NonFinite {
    pub(super) phase: Phase,
    pub(super) op: String,
    pub(super) location: &'static Location<'static>,
    pub(super) value: f64,
    pub(super) index: Vec<usize>,
    pub(super) shape: Shape,
    pub(super) operands: Vec<Operand>,
    pub(super) hint: Option<String>,
}

impl NonFinite {
    /// Returns whether the operation made the number when it was recorded, or its rule in a sweep.
    ///
    /// # Example
    ///
    /// See [`NonFinite`].
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Returns the operation with its parameters, as [`Tape`] prints it. For an input it is `leaf`, `constant`, `param`
    /// or `seed`.
    ///
    /// # Example
    ///
    /// See [`NonFinite`].
    #[must_use]
    pub fn op(&self) -> &str {
        &self.op
    }

    /// Returns the line of the user's code that recorded the operation.
    ///
    /// # Example
    ///
    /// See [`NonFinite`].
    #[must_use]
    pub fn location(&self) -> &'static Location<'static> {
        self.location
    }

    /// Returns the number: NaN or an infinity.
    ///
    /// # Example
    ///
    /// See [`NonFinite`].
    #[must_use]
    pub fn value(&self) -> f64 {
        self.value
    }

    /// Returns the position of the first such number.
    ///
    /// # Example
    ///
    /// See [`NonFinite`].
    #[must_use]
    pub fn index(&self) -> &[usize] {
        &self.index
    }

    /// Returns the shape of the array that holds it.
    ///
    /// # Example
    ///
    /// See [`NonFinite`].
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Returns the operands of the operation, or of its rule.
    ///
    /// # Example
    ///
    /// See [`NonFinite`].
    #[must_use]
    pub fn operands(&self) -> &[Operand] {
        &self.operands
    }

    /// Returns the usual cause.
    ///
    /// # Example
    ///
    /// See [`Tape::first_non_finite`].
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

/// When the first NaN or infinity was made: in recording or in a sweep.
///
/// # Example
///
/// See [`NonFinite`].
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
///
/// # Example
///
/// See [`NonFinite`].
#[derive(Clone, Debug, PartialEq)]
pub struct Operand {
    pub(super) role: String,
    pub(super) op: String,
    pub(super) location: &'static Location<'static>,
    pub(super) shape: Shape,
    pub(super) range: ValueRange,
}

impl Operand {
    /// Returns `"operand 0"`, `"operand 1"`, …; in a sweep also `"result"` and `"cotangent"`.
    ///
    /// # Example
    ///
    /// See [`NonFinite`].
    #[must_use]
    pub fn role(&self) -> &str {
        &self.role
    }

    /// Returns the operation that made the array. It is empty for a cotangent.
    ///
    /// # Example
    ///
    /// See [`NonFinite`].
    #[must_use]
    pub fn op(&self) -> &str {
        &self.op
    }

    /// Returns the line that recorded the operation.
    ///
    /// # Example
    ///
    /// See [`NonFinite`].
    #[must_use]
    pub fn location(&self) -> &'static Location<'static> {
        self.location
    }

    /// Returns the array's shape.
    ///
    /// # Example
    ///
    /// See [`NonFinite`].
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Returns the range of the array's numbers.
    ///
    /// # Example
    ///
    /// See [`NonFinite`].
    #[must_use]
    pub fn range(&self) -> &ValueRange {
        &self.range
    }
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

pub(super) fn is_finite<T: Scalar>(view: View<'_, T>) -> bool {
    match view.as_slice() {
        Some(values) => values.iter().all(|x| x.is_finite()),
        None => view.array().iter().all(|x| x.is_finite()),
    }
}

/// Returns the position and value of the first NaN or infinity that an operation on these operands made.
fn made<T: Scalar>(values: View<'_, T>, operands: &[ValueRange]) -> Option<(Vec<usize>, f64)> {
    if operands.iter().any(|x| x.nans > 0) {
        return None;
    }
    let infinite = operands.iter().any(|x| x.infinities > 0);
    first(values, |x| if infinite { x.is_nan() } else { !x.is_finite() })
}

/// Returns the position and value of the first number that satisfies `wanted`.
fn first<T: Scalar>(values: View<'_, T>, wanted: impl Fn(T) -> bool) -> Option<(Vec<usize>, f64)> {
    let array = values.array();
    let mut elements = array.indexed_iter();
    elements.find(|&(_, &x)| wanted(x)).map(|(index, &x)| (index.as_array_view().to_vec(), x.to_f64()))
}

/// Returns the first operation or rule whose recorded value is to blame, except the nodes that are `given`.
pub(super) fn in_values<T: Scalar>(tape: &Tape<T>, nodes: &Nodes<T>, given: impl Fn(u32) -> bool) -> Option<NonFinite> {
    // Intermediate values of a recorded rule are not blamed: a selection may drop them again.
    let mut rules = nodes.rules().iter().peekable();
    nodes.ids().filter(|&id| !given(id)).find_map(|id| {
        while rules.next_if(|rule| rule.result < id).is_some() {}
        match rules.peek() {
            Some(rule) if rule.result == id => {
                let g = ValueRange::of(tape.view(nodes, rule.g));
                in_rule(tape, nodes, rule.node, rule.k, g, tape.view(nodes, id))
            }
            Some(rule) if rule.first <= id => None,
            _ => in_value(tape, nodes, id),
        }
    })
}

/// Returns the first input that is not finite, also within segments, except the nodes that are `given`.
pub(super) fn in_sources<T: Scalar>(tape: &Tape<T>, nodes: &Nodes<T>, given: &[u32]) -> Option<NonFinite> {
    nodes.ids().filter(|id| !given.contains(id)).find_map(|id| match *nodes.step(id) {
        Step::Checkpoint(_) => in_segment(tape, nodes, id, in_sources),
        _ => blame_source(tape, nodes, id, |x| !x.is_finite()),
    })
}

/// A search of a tape for the operation to blame, except the nodes in the list.
type Search<T> = fn(&Tape<T>, &Nodes<T>, &[u32]) -> Option<NonFinite>;

/// Runs a segment again and returns the result of a search there. The search skips the copies of the segment's inputs.
fn in_segment<T: Scalar>(tape: &Tape<T>, nodes: &Nodes<T>, id: u32, search: Search<T>) -> Option<NonFinite> {
    let scratch = tape.scratch();
    scratch.observe(None);
    let inputs: Vec<u32> = tape.run_segment(nodes, id, &scratch).inputs.iter().map(|&(_, input)| input).collect();
    search(&scratch, &scratch.nodes(), &inputs)
}

/// Returns an operation as the one to blame, if it made a NaN or an infinity in its value.
pub(super) fn in_value<T: Scalar>(tape: &Tape<T>, nodes: &Nodes<T>, id: u32) -> Option<NonFinite> {
    let (values, step, location) = (tape.view(nodes, id), nodes.step(id), nodes.node(id).location);
    // A selection may drop a number within a segment before the result. A number that no operation made there came in
    // with a constant.
    if let Step::Checkpoint(_) = step {
        return in_segment(tape, nodes, id, |tape, nodes, inputs| in_values(tape, nodes, |id| inputs.contains(&id)));
    }
    // Factors may overflow where the solution does not. If it does, the solution is blamed.
    if is_finite(values) || matches!(step, Step::Op(Op::Factors)) {
        return None;
    }
    if nodes.operands(id).is_empty() {
        let constant = matches!(step, Step::Constant);
        return blame_source(tape, nodes, id, |x| if constant { x.is_nan() } else { !x.is_finite() });
    }
    let operands = operands(tape, nodes, id);
    let ranges: Vec<_> = operands.iter().map(|operand| operand.range).collect();
    let (index, value) = made(values, &ranges)?;
    let evidence = Evidence { step, value, operands: &ranges, cotangent: None, dtype: T::DTYPE };
    let hint = evidence.hint();
    let shape = Shape::from(values.shape);
    let op = tape.call(step);
    Some(NonFinite { phase: Phase::Recording, op, location, value, index, shape, operands, hint })
}

/// Returns an input as the one to blame, if it holds a `wanted` number.
fn blame_source<T: Scalar>(tape: &Tape<T>, nodes: &Nodes<T>, id: u32, wanted: impl Fn(T) -> bool) -> Option<NonFinite> {
    if !nodes.operands(id).is_empty() {
        return None;
    }
    let values = tape.view(nodes, id);
    let (index, value) = first(values, wanted)?;
    Some(NonFinite {
        phase: Phase::Recording,
        op: tape.call(nodes.step(id)),
        location: nodes.node(id).location,
        value,
        index,
        shape: Shape::from(values.shape),
        operands: Vec::new(),
        hint: None,
    })
}

/// Returns the operation of node `id` as the one to blame, if its rule made a NaN or an infinity in the cotangent of
/// operand `k`. `g` is the range of the cotangent of its result.
pub(super) fn in_rule<T: Scalar>(
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
    let step = nodes.step(id);
    let mut operands = operands(tape, nodes, id);
    let ranges: Vec<_> = operands.iter().map(|operand| operand.range).collect();
    operands.push(operand("result".into(), tape, nodes, id));
    let (location, shape) = (nodes.node(id).location, Shape::from(nodes.shape(id)));
    operands.push(Operand { role: "cotangent".into(), op: String::new(), location, shape, range: g });
    let given: Vec<_> = operands.iter().map(|operand| operand.range).collect();
    let (index, value) = made(cotangent, &given)?;
    let evidence = Evidence { step, value, operands: &ranges, cotangent: Some(g), dtype: T::DTYPE };
    let hint = evidence.hint();
    let (phase, shape, op) = (Phase::Sweep { operand: k }, Shape::from(cotangent.shape), tape.call(step));
    Some(NonFinite { phase, op, location, value, index, shape, operands, hint })
}

/// Returns the seed as the one to blame, if it is not finite. `id` is the node that the sweep starts from.
pub(super) fn in_seed<T: Scalar>(nodes: &Nodes<T>, id: u32, seed: View<'_, T>) -> Option<NonFinite> {
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
    // The factors of a matrix say nothing that the matrix does not.
    let count = if let Step::Op(Op::SolveByFactors { .. }) = nodes.step(id) { 2 } else { usize::MAX };
    let operands = nodes.operands(id).iter().enumerate().take(count);
    operands.map(|(k, &x)| operand(format!("operand {k}"), tape, nodes, x)).collect()
}

fn operand<T: Scalar>(role: String, tape: &Tape<T>, nodes: &Nodes<T>, id: u32) -> Operand {
    let node = nodes.node(id);
    let values = tape.view(nodes, id);
    let op = format!("%{id} = {}", tape.call(nodes.step(id)));
    Operand { role, op, location: node.location, shape: Shape::from(values.shape), range: ValueRange::of(values) }
}
