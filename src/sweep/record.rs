//! The sweep that records: the same rules on `Var`s, so that the backward pass lands on the tape and can be differentiated
//! again.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::panic::Location;

use smallvec::SmallVec;

use super::on_vars::{AtVars, shape_of};
use crate::op::{Binary, Linear, Op};
use crate::scalar::Scalar;
use crate::shape::Shape;
use crate::tape::{Dependence, Event, Step, Tape, Var, id_of};

/// Returns the gradients of `Σ from * seed` by `targets`, recorded on the tape; `None` for a target that it does not
/// depend on. The default seed is 1.
///
/// `location` is the line of the user's code that asked for the gradients. All nodes of the backward pass carry it.
#[track_caller]
pub(crate) fn grad<'t, T: Scalar>(
    from: Var<'t, T>,
    seed: Option<Var<'t, T>>,
    targets: &[Var<'t, T>],
    location: &'static Location<'static>,
) -> Vec<Option<Var<'t, T>>> {
    let _naming = from.tape().attribute_to(location);
    let targets: Vec<Target<'t, T>> = targets.iter().map(|&target| (target, None)).collect();
    grad_onto(from, seed, &targets)
}

/// A target and its cotangent so far, to which the sweep adds.
type Target<'t, T> = (Var<'t, T>, Option<Var<'t, T>>);

/// The first contribution moves into its place; a later one is added to it.
#[track_caller]
fn add<'t, T: Scalar>(slot: &mut Option<Var<'t, T>>, contribution: Var<'t, T>) {
    let Some(earlier) = *slot else { return *slot = Some(contribution) };
    let tape = earlier.tape();
    let sum = tape.apply(Op::Binary(Binary::Add), &[earlier.id(), contribution.id()]);
    tape.notify(Event::Derivative { first: sum.id(), result: sum.id() });
    *slot = Some(sum);
}

#[track_caller]
fn grad_onto<'t, T: Scalar>(
    from: Var<'t, T>,
    seed: Option<Var<'t, T>>,
    targets: &[Target<'t, T>],
) -> Vec<Option<Var<'t, T>>> {
    let tape = from.tape();
    let dependence = Dependence::new(&tape.nodes(), from.id(), targets.iter().map(|(target, _)| target.id()));
    // Indexed by the distance from the first target.
    let slot = |id: u32| (id - dependence.lowest) as usize;
    let mut cotangents: Vec<Option<Var<'t, T>>> = vec![None; slot(from.id() + 1)];
    for &(target, earlier) in targets.iter().filter(|(target, _)| target.id() <= from.id()) {
        cotangents[slot(target.id())] = earlier;
    }
    if dependence.has(from.id()) {
        let seed = seed.unwrap_or_else(|| {
            let one = tape.constant(T::ONE);
            tape.apply(Linear::BroadcastTo { shape: shape_of(from) }, &[one.id()])
        });
        add(&mut cotangents[slot(from.id())], seed);
    }
    // The windows that are not in `cotangents` yet, by the array that they are windows of.
    let mut windows: BTreeMap<u32, Windows<'t, T>> = BTreeMap::new();
    for id in (dependence.lowest..=from.id()).rev() {
        if let Some(windows) = windows.remove(&id) {
            add(&mut cotangents[slot(id)], windows.record(tape, id));
        }
        let Some(g) = cotangents[slot(id)] else { continue };
        let (step, operands) = {
            let nodes = tape.nodes();
            if nodes.node(id).detached {
                continue;
            }
            (nodes.step(id).clone(), SmallVec::<[u32; 4]>::from_slice(nodes.operands(id)))
        };
        if let Step::Checkpoint(_) = step {
            let segment = tape.record_segment(id);
            let wanted = segment.inputs.iter().filter(|(operand, _)| dependence.has(*operand));
            for &(operand, _) in wanted.clone() {
                if let Some(windows) = windows.remove(&operand) {
                    add(&mut cotangents[slot(operand)], windows.record(tape, operand));
                }
            }
            let targets: Vec<_> = wanted.clone().map(|&(x, alias)| (alias, cotangents[slot(x)])).collect();
            let found = grad_onto(segment.y, Some(g), &targets);
            for (&(operand, _), g) in wanted.zip(found) {
                cotangents[slot(operand)] = g;
            }
            continue;
        }
        let wanted = |&k: &usize| step.passes(k) && dependence.has(operands[k]);
        let at = AtVars::new(tape, id, &step, &operands);
        for k in (0..operands.len()).rev().filter(wanted) {
            let window = Window::of(&step, id, g);
            if let (Some(window), Some(others)) = (&window, windows.get_mut(&operands[k]))
                && others.take_in(window)
            {
                continue;
            }
            if let Some(others) = windows.remove(&operands[k]) {
                add(&mut cotangents[slot(operands[k])], others.record(tape, operands[k]));
            }
            if let Some(window) = window {
                windows.insert(operands[k], Windows { list: VecDeque::from([window]) });
                continue;
            }
            add(&mut cotangents[slot(operands[k])], at.record_rule(k, g));
        }
    }
    let found = |&(target, earlier): &Target<'t, T>| {
        let position = target.id().checked_sub(dependence.lowest);
        position.and_then(|position| cotangents.get(position as usize).copied()).unwrap_or(earlier)
    };
    targets.iter().map(found).collect()
}

/// The cotangent of a slice, which is not a contribution to the cotangent of its operand yet.
struct Window<'t, T> {
    axis: usize,
    range: Range<usize>,
    /// The slice.
    node: u32,
    g: Var<'t, T>,
}

impl<'t, T: Scalar> Window<'t, T> {
    /// Returns the window of a slice of successive elements, or `None` for another operation.
    fn of(step: &Step<T>, node: u32, g: Var<'t, T>) -> Option<Self> {
        match *step {
            Step::Op(Op::Linear(Linear::Slice { axis, start, step: 1, length })) => {
                Some(Self { axis, range: start..start + length, node, g })
            }
            _ => None,
        }
    }
}

/// Cotangents of slices of one array along one axis, in the order of their positions. They do not overlap.
///
/// Together they are one contribution, which is recorded at once: to record `n` windows of an array one by one would take
/// `n` times the time and the memory of the array.
struct Windows<'t, T> {
    list: VecDeque<Window<'t, T>>,
}

impl<'t, T: Scalar> Windows<'t, T> {
    /// Takes in a window before all others or after them. Returns `false` if it is neither.
    fn take_in(&mut self, window: &Window<'t, T>) -> bool {
        let copy = || Window { range: window.range.clone(), ..*window };
        match (self.list.front(), self.list.back()) {
            (Some(first), _) if first.axis != window.axis => return false,
            (Some(first), _) if window.range.end <= first.range.start => self.list.push_front(copy()),
            (_, Some(last)) if window.range.start >= last.range.end => self.list.push_back(copy()),
            _ => return false,
        }
        true
    }

    /// Records the contribution to the cotangent of the array: the rule of a slice, or the windows with zeros between them.
    #[track_caller]
    fn record(self, tape: &'t Tape<T>, array: u32) -> Var<'t, T> {
        let &Window { axis, node, g, .. } = &self.list[0];
        if self.list.len() == 1 {
            let step = tape.nodes().step(node).clone();
            return AtVars::new(tape, node, &step, &[array]).record_rule(0, g);
        }
        let first = id_of(tape.len());
        let mut shape = tape.nodes().shape(array).to_vec();
        let length = shape[axis];
        let (mut parts, mut end) = (Vec::with_capacity(self.list.len()), 0);
        let mut zeros_to = |start: usize, end: usize, parts: &mut Vec<u32>| {
            if start > end {
                shape[axis] = start - end;
                let zero = tape.constant(T::ZERO);
                parts.push(tape.apply(Linear::BroadcastTo { shape: Shape::from(&shape[..]) }, &[zero.id()]).id());
            }
        };
        for window in &self.list {
            zeros_to(window.range.start, end, &mut parts);
            parts.push(window.g.id());
            end = window.range.end;
        }
        zeros_to(length, end, &mut parts);
        let contribution = tape.apply(Linear::Concat { axis }, &parts);
        tape.notify(Event::Derivative { first, result: contribution.id() });
        contribution
    }
}
