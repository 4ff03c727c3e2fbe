//! [`Unreached`]: why a gradient is `None`.

use std::collections::HashSet;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::Location;

use crate::kernel::view::View;
use crate::param::Param;
use crate::scalar::Scalar;
use crate::shape::Shape;
use crate::tape::checkpoint::Dependencies;
use crate::tape::{Nodes, Step, Tape, Var};

/// A parameter without a gradient, and the reason. [`Tape::unreached`] returns it.
///
/// # Example
///
/// See [`Tape::unreached`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreached {
    position: usize,
    name: String,
    shape: Shape,
    reason: Reason,
}

impl Unreached {
    /// Returns the parameter's position among those that were passed.
    ///
    /// # Example
    ///
    /// See [`Tape::unreached`].
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// Returns the parameter's name, or an empty string for a parameter without a name.
    ///
    /// # Example
    ///
    /// See [`Tape::unreached`].
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the parameter's shape.
    ///
    /// # Example
    ///
    /// See [`Tape::unreached`].
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Returns the reason.
    ///
    /// # Example
    ///
    /// See [`Tape::unreached`].
    #[must_use]
    pub fn reason(&self) -> &Reason {
        &self.reason
    }
}

/// Why a gradient is `None`.
///
/// # Example
///
/// See [`why_is_my_gradient`](crate::why_is_my_gradient).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// It has not been recorded on this tape since the tape was made or [reset](Tape::reset).
    NotRecorded,
    /// No backward sweep has run on this tape since it was made or [reset](Tape::reset).
    /// ([`Var::grads`](crate::Var::grads) returns gradients and does not change `.grad()`.)
    NoBackward {
        /// The line that recorded it.
        recorded: &'static Location<'static>,
    },
    /// It is the result of an operation, and only leaves and parameters keep a gradient.
    /// [`Var::grads`](crate::Var::grads) returns the gradient by any value.
    NotKept {
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
    /// The value depends on it, but no cotangent reaches it.
    CutOff {
        /// The line that recorded it.
        recorded: &'static Location<'static>,
        /// The value that the last sweep started from: number, operation, shape and line.
        from: String,
        /// The operation that passes no cotangent on, or the constant that a value was copied to.
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
            Self::NotKept { recorded } => write!(
                f,
                "recorded at {recorded} by an operation: only leaves and parameters keep a gradient, grads returns any value's"
            ),
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
    /// Returns the parameters without a gradient among `params`, each with the reason.
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
    /// assert_eq!((unreached[0].position(), unreached[0].name()), (1, "idle"));
    /// assert!(unreached[0].to_string().ends_with("does not depend on it: nothing uses it"));
    /// assert_eq!(unreached[1].reason(), &Reason::NotRecorded);
    /// ```
    #[must_use]
    pub fn unreached<'p>(&self, params: impl IntoIterator<Item = &'p Param<T>>) -> Vec<Unreached> {
        let nodes = self.nodes();
        let missing: Vec<_> = params.into_iter().enumerate().filter(|(_, param)| param.grad().is_none()).collect();
        if missing.is_empty() {
            return Vec::new();
        }
        let segments = Segments::new(self, &nodes);
        missing
            .into_iter()
            .map(|(position, param)| {
                let recorded = nodes.params().iter().filter(|(_, p)| p.is(param)).map(|&(id, _)| id);
                let ids: Vec<u32> = recorded.chain(segments.using(param)).collect();
                let starts: Vec<u32> =
                    ids.iter().copied().filter(|&id| !segments.contains(id) || segments.reached(id, param)).collect();
                let reason = reason(self, &nodes, &segments, &ids, &starts);
                Unreached { position, name: param.name().into(), shape: param.shape().clone(), reason }
            })
            .collect()
    }
}

impl<T: Scalar> Var<'_, T> {
    /// Returns why [`grad`](Self::grad) is `None`; `None` if there is a gradient.
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
        if self.grad().is_some() {
            return None;
        }
        let nodes = self.tape().nodes();
        if !matches!(nodes.step(self.id()), Step::Leaf | Step::Constant | Step::Param) {
            return Some(Reason::NotKept { recorded: nodes.node(self.id()).location });
        }
        let (segments, ids) = (Segments::new(self.tape(), &nodes), [self.id()]);
        Some(reason(self.tape(), &nodes, &segments, &ids, &ids))
    }
}

/// For each segment, the inputs and parameters that its result depends on.
struct Segments<T> {
    /// By node, in order.
    list: Vec<(u32, Dependencies<T>)>,
}

impl<T: Scalar> Segments<T> {
    /// Runs all segments of a tape again.
    fn new(tape: &Tape<T>, nodes: &Nodes<T>) -> Self {
        let checkpoints = nodes.ids().filter(|&id| matches!(nodes.step(id), Step::Checkpoint(_)));
        Self { list: checkpoints.map(|id| (id, tape.segment_reach(nodes, id))).collect() }
    }

    fn of(&self, id: u32) -> Option<&Dependencies<T>> {
        let place = self.list.binary_search_by_key(&id, |&(segment, _)| segment).ok()?;
        Some(&self.list[place].1)
    }

    fn contains(&self, id: u32) -> bool {
        self.of(id).is_some()
    }

    /// Returns the segments that use a parameter.
    fn using(&self, param: &Param<T>) -> impl Iterator<Item = u32> {
        self.list.iter().filter(|(_, reach)| reach.params.iter().any(|(p, _)| p.is(param))).map(|&(id, _)| id)
    }

    /// Returns whether a segment's result depends on a parameter.
    fn reached(&self, id: u32, param: &Param<T>) -> bool {
        self.of(id).is_some_and(|reach| reach.params.iter().any(|(p, reached)| *reached && p.is(param)))
    }

    /// Returns whether a cotangent passes from a node to operand `k`.
    fn passes(&self, nodes: &Nodes<T>, id: u32, k: usize) -> bool {
        match self.of(id) {
            Some(reach) => reach.inputs.contains(&nodes.operands(id)[k]),
            None => nodes.step(id).passes(k),
        }
    }
}

/// Returns why the value that is recorded as the nodes `ids` has no gradient. A cotangent that comes to one of `starts`
/// has reached it.
fn reason<T: Scalar>(tape: &Tape<T>, nodes: &Nodes<T>, segments: &Segments<T>, ids: &[u32], starts: &[u32]) -> Reason {
    let Some(&first) = ids.first() else { return Reason::NotRecorded };
    let recorded = nodes.node(first).location;
    let sweeps = tape.sweeps();
    let Some(last) = sweeps.last() else { return Reason::NoBackward { recorded } };
    // The values whose cotangent passes on to `starts`.
    let mut differentiable = vec![false; nodes.len()];
    starts.iter().for_each(|&id| differentiable[id as usize] = nodes.node(id).needs_grad);
    for id in nodes.ids() {
        let mut operands = nodes.operands(id).iter().enumerate();
        differentiable[id as usize] |= nodes.node(id).needs_grad
            && operands.any(|(k, &x)| differentiable[x as usize] && segments.passes(nodes, id, k));
    }
    if sweeps.iter().any(|sweep| differentiable[sweep.from as usize]) {
        return Reason::Cleared { recorded };
    }
    let from = tape.describe(last.from);
    // The nodes that the last sweep's value was computed from, whether or not a cotangent passes.
    let mut above = vec![false; nodes.len()];
    above[last.from as usize] = true;
    for id in (0..=last.from).rev() {
        if above[id as usize] {
            nodes.operands(id).iter().for_each(|&x| above[x as usize] = true);
        }
    }
    let mut outside = (0..=last.from).filter(|&id| above[id as usize] && !differentiable[id as usize]);
    let cut =
        outside.clone().find(|&id| ids.contains(&id) || nodes.operands(id).iter().any(|&x| differentiable[x as usize]));
    let cut = cut.or_else(|| {
        let originals = Originals::new(tape, nodes, &differentiable);
        outside.find(|&id| matches!(nodes.step(id), Step::Constant) && originals.contain(tape.view(nodes, id)))
    });
    if let Some(by) = cut {
        return Reason::CutOff { recorded, from, by: tape.describe(by), location: nodes.node(by).location };
    }
    let uses = nodes.ids().rev().find(|&id| nodes.operands(id).iter().any(|x| ids.contains(x)));
    Reason::Independent { recorded, from, last_use: uses.map(|id| tape.describe(id)) }
}

/// The values that a constant may be a copy of.
struct Originals {
    /// Their addresses.
    memory: HashSet<usize>,
    /// Their shapes and numbers, hashed.
    contents: HashSet<u64>,
}

impl Originals {
    fn new<T: Scalar>(tape: &Tape<T>, nodes: &Nodes<T>, chosen: &[bool]) -> Self {
        let views = || nodes.ids().take(chosen.len()).filter(|&id| chosen[id as usize]).map(|id| tape.view(nodes, id));
        Self {
            memory: views().map(|view| view.data.as_ptr().addr()).collect(),
            contents: views().filter_map(fingerprint).collect(),
        }
    }

    fn contain<T: Scalar>(&self, copy: View<'_, T>) -> bool {
        let same_memory = !copy.data.is_empty() && self.memory.contains(&copy.data.as_ptr().addr());
        same_memory || fingerprint(copy).is_some_and(|copy| self.contents.contains(&copy))
    }
}

/// Returns a hash of shape and numbers. If all numbers are equal it is `None`, because other arrays match by chance.
fn fingerprint<T: Scalar>(view: View<'_, T>) -> Option<u64> {
    let numbers = view.array();
    let first = numbers.first()?;
    numbers.iter().any(|x| x != first).then(|| {
        let mut hasher = DefaultHasher::new();
        view.shape.hash(&mut hasher);
        numbers.iter().for_each(|x| x.to_f64().to_bits().hash(&mut hasher));
        hasher.finish()
    })
}
