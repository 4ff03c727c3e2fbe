//! [`Unreached`]: why a gradient is `None`.

use std::fmt;
use std::panic::Location;

use crate::op::Op;
use crate::param::Param;
use crate::scalar::Scalar;
use crate::shape::Shape;
use crate::tape::{Nodes, Tape};
use crate::var::Var;

/// A parameter without a gradient, and why: what [`Tape::unreached`] returns.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unreached {
    /// The parameter's place among those asked for.
    pub position: usize,
    /// The parameter's name, empty if it has none.
    pub name: String,
    /// The parameter's shape.
    pub shape: Shape,
    /// Why it has no gradient.
    pub reason: Reason,
}

/// Why a gradient is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// It was never recorded on this tape, or not since [`Tape::reset`].
    NotRecorded,
    /// No backward sweep has run on this tape since [`Tape::reset`]. ([`Var::grads`](crate::Var::grads) returns gradients and
    /// leaves `.grad()` as it is.)
    NoBackward {
        /// The line that recorded it.
        recorded: &'static Location<'static>,
    },
    /// A sweep reached it, and its gradient was cleared afterwards.
    Cleared {
        /// The line that recorded it.
        recorded: &'static Location<'static>,
    },
    /// The value that the last sweep started from does not depend on it.
    Independent {
        /// The line that recorded it.
        recorded: &'static Location<'static>,
        /// The value that the last sweep started from: number, operation, shape and line.
        from: String,
        /// The last operation that used it: number, operation, shape and line.
        last_use: Option<String>,
    },
    /// The value depends on it, but no cotangent gets through.
    CutOff {
        /// The line that recorded it.
        recorded: &'static Location<'static>,
        /// The value that the last sweep started from: number, operation, shape and line.
        from: String,
        /// The operation that lets no cotangent pass, or the constant that a value was copied to.
        by: String,
        /// The line that recorded that operation.
        location: &'static Location<'static>,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRecorded => f.write_str("never recorded on this tape since it was made or reset"),
            Self::NoBackward { recorded } => {
                write!(
                    f,
                    "recorded at {recorded}, but no backward sweep has run on this tape since it was made or reset"
                )
            }
            Self::Cleared { recorded } => {
                write!(f, "recorded at {recorded} and reached by a sweep, but cleared afterwards (zero_grad)")
            }
            Self::Independent { recorded, from, last_use } => {
                write!(f, "recorded at {recorded}, but the sweep started from {from}, which does not depend on it: ")?;
                match last_use {
                    Some(last) => write!(f, "its last use is {last}"),
                    None => f.write_str("nothing uses it"),
                }
            }
            Self::CutOff { recorded, from, by, .. } => {
                write!(f, "recorded at {recorded}, but cut off from {from}: no cotangent passes through {by}")
            }
        }
    }
}

/// Prints as `parameter 1 "bias" (3,): never recorded on this tape …`.
impl fmt::Display for Unreached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { position, name, shape, reason } = self;
        match name.as_str() {
            "" => write!(f, "parameter {position} {shape}: {reason}"),
            name => write!(f, "parameter {position} \"{name}\" {shape}: {reason}"),
        }
    }
}

impl<T: Scalar> Tape<T> {
    /// Returns the parameters without a gradient among `params`, and for each why it has none.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::blame::Reason;
    /// use tapegrad::{Param, Tape};
    ///
    /// let (used, idle, absent) = (Param::new(array![1.0]), Param::named("idle", array![2.0]), Param::new(array![3.0]));
    /// let tape = Tape::new();
    /// let (w, _) = (tape.param(&used), tape.param(&idle));
    /// w.square().sum().backward();
    ///
    /// let unreached = tape.unreached(&[used, idle, absent]);
    /// assert_eq!(unreached.len(), 2);
    /// assert_eq!((unreached[0].position, unreached[0].name.as_str()), (1, "idle"));
    /// assert!(unreached[0].to_string().ends_with("does not depend on it: nothing uses it"));
    /// assert_eq!(unreached[1].reason, Reason::NotRecorded);
    /// ```
    #[must_use]
    pub fn unreached<'p>(&self, params: impl IntoIterator<Item = &'p Param<T>>) -> Vec<Unreached> {
        let nodes = self.nodes();
        let missing = params.into_iter().enumerate().filter(|(_, param)| param.grad().is_none());
        missing
            .map(|(position, param)| {
                let ids: Vec<u32> = nodes.params().iter().filter(|(_, p)| p.is(param)).map(|&(id, _)| id).collect();
                let reason = reason(self, &nodes, &ids);
                Unreached { position, name: param.name().into(), shape: param.shape().clone(), reason }
            })
            .collect()
    }
}

impl<T: Scalar> Var<'_, T> {
    /// Returns why [`grad`](Self::grad) is `None`; `None` if there is a gradient. Of leaves and parameters; any other value
    /// has no gradient to keep.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::Tape;
    ///
    /// let tape = Tape::new();
    /// let (x, y) = (tape.leaf(1.0), tape.leaf(2.0));
    /// assert!(x.unreached().unwrap().to_string().ends_with("no backward sweep has run on this tape since it was made or reset"));
    /// x.square().backward();
    /// assert!(x.unreached().is_none());
    /// assert!(y.unreached().unwrap().to_string().ends_with("nothing uses it"));
    /// ```
    #[must_use]
    pub fn unreached(self) -> Option<Reason> {
        match self.grad() {
            Some(_) => None,
            None => Some(reason(self.tape(), &self.tape().nodes(), &[self.id()])),
        }
    }
}

/// Returns why what is recorded as these nodes has no gradient.
fn reason<T: Scalar>(tape: &Tape<T>, nodes: &Nodes<T>, ids: &[u32]) -> Reason {
    let Some(&first) = ids.first() else { return Reason::NotRecorded };
    let recorded = nodes.node(first).location;
    let sweeps = tape.sweeps();
    let Some(last) = sweeps.last() else { return Reason::NoBackward { recorded } };
    // Which values a cotangent comes back from.
    let mut differentiable = vec![false; nodes.len()];
    ids.iter().for_each(|&id| differentiable[id as usize] = nodes.node(id).needs_grad);
    for id in 0..nodes.len() as u32 {
        let mut operands = nodes.operands(id).iter().enumerate();
        differentiable[id as usize] |= nodes.node(id).needs_grad
            && operands.any(|(k, &x)| differentiable[x as usize] && nodes.node(id).op.passes(k));
    }
    if sweeps.iter().any(|sweep| differentiable[sweep.from as usize]) {
        return Reason::Cleared { recorded };
    }
    let from = tape.describe(last.from);
    // What the last sweep's value was computed from, whether a cotangent passes or not.
    let mut above = vec![false; nodes.len()];
    above[last.from as usize] = true;
    for id in (0..=last.from).rev() {
        if above[id as usize] {
            nodes.operands(id).iter().for_each(|&x| above[x as usize] = true);
        }
    }
    let cut = (0..=last.from).filter(|&id| above[id as usize] && !differentiable[id as usize]).find(|&id| {
        ids.contains(&id)
            || nodes.operands(id).iter().any(|&x| differentiable[x as usize])
            || is_copy(tape, nodes, id, &differentiable)
    });
    if let Some(by) = cut {
        return Reason::CutOff { recorded, from, by: tape.describe(by), location: nodes.node(by).location };
    }
    let uses = (0..nodes.len() as u32).rev().find(|&id| nodes.operands(id).iter().any(|x| ids.contains(x)));
    Reason::Independent { recorded, from, last_use: uses.map(|id| tape.describe(id)) }
}

/// Returns whether a node is a constant with the value of one of these: the same memory, or the same numbers unless they
/// are too few or too simple to tell.
fn is_copy<T: Scalar>(tape: &Tape<T>, nodes: &Nodes<T>, id: u32, of: &[bool]) -> bool {
    if !matches!(nodes.node(id).op, Op::Constant) {
        return false;
    }
    let copy = tape.view(nodes, id);
    let numbers = copy.array();
    let telling = numbers.iter().any(|x| Some(x) != numbers.first());
    (0..of.len() as u32).filter(|&node| of[node as usize]).any(|node| {
        let original = tape.view(nodes, node);
        let same_memory = std::ptr::eq(original.data.as_ptr(), copy.data.as_ptr()) && !copy.data.is_empty();
        same_memory || (telling && original.shape == copy.shape && original.array() == numbers)
    })
}
