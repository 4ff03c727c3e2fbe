//! The sweep that records: the same rules on `Var`s, so that the backward pass lands on the tape and can be differentiated
//! again.

use std::panic::Location;

use smallvec::SmallVec;

use super::{Dependence, assert_fits};
use crate::blame;
use crate::op::table;
use crate::op::{Interpreter, Op, Starts, Term};
use crate::scalar::Scalar;
use crate::shape::Shape;
use crate::tape::{RecordedRule, Tape};
use crate::var::Var;

/// Returns the gradients of `Σ from * seed` by `targets`, recorded on the tape; `None` where there is no dependence. The
/// seed is 1 if none is given.
///
/// `location` is the line of the user's that asked for it: all nodes of the backward pass name it.
#[track_caller]
pub(crate) fn grad<'t, T: Scalar>(
    from: Var<'t, T>,
    seed: Option<Var<'t, T>>,
    targets: &[Var<'t, T>],
    location: &'static Location<'static>,
) -> Vec<Option<Var<'t, T>>> {
    let _naming = from.tape().name_origin(location);
    let targets: Vec<Target<'t, T>> = targets.iter().map(|&target| (target, None)).collect();
    grad_onto(from, seed, &targets)
}

/// A target, and a cotangent to which the sweep adds its own.
type Target<'t, T> = (Var<'t, T>, Option<Var<'t, T>>);

/// The first cotangent moves into its place, a later one is added to it.
#[track_caller]
fn add<'t, T: Scalar>(slot: &mut Option<Var<'t, T>>, contribution: Var<'t, T>) {
    let Some(earlier) = *slot else { return *slot = Some(contribution) };
    let sum = earlier + contribution;
    if sum.tape().is_checked() {
        blame::check_recorded(sum.tape(), sum.id(), sum.id());
    }
    *slot = Some(sum);
}

#[track_caller]
fn grad_onto<'t, T: Scalar>(
    from: Var<'t, T>,
    seed: Option<Var<'t, T>>,
    targets: &[Target<'t, T>],
) -> Vec<Option<Var<'t, T>>> {
    let tape = from.tape();
    let dependence = Dependence::new(tape, from.id(), targets.iter().map(|(target, _)| target.id()));
    // By the distance from the first target.
    let slot = |id: u32| (id - dependence.lowest) as usize;
    let mut cotangents: Vec<Option<Var<'t, T>>> = vec![None; slot(from.id() + 1)];
    for &(target, earlier) in targets.iter().filter(|(target, _)| target.id() <= from.id()) {
        cotangents[slot(target.id())] = earlier;
    }
    if dependence.has(from.id()) {
        let seed = seed.unwrap_or_else(|| tape.constant(T::ONE).broadcast_to(from.shape()));
        add(&mut cotangents[slot(from.id())], seed);
    }
    for id in (dependence.lowest..=from.id()).rev() {
        let Some(g) = cotangents[slot(id)] else { continue };
        let (op, operands) = {
            let nodes = tape.nodes();
            if nodes.node(id).detached {
                continue;
            }
            (nodes.node(id).op.clone(), SmallVec::<[u32; 4]>::from_slice(nodes.operands(id)))
        };
        if let Op::Checkpoint(_) = op {
            let segment = tape.record_segment(id);
            let wanted = segment.inputs.iter().filter(|(operand, _)| dependence.has(*operand));
            let targets: Vec<_> = wanted.clone().map(|&(x, alias)| (alias, cotangents[slot(x)])).collect();
            let found = grad_onto(segment.y, Some(g), &targets);
            for (&(operand, _), g) in wanted.zip(found) {
                cotangents[slot(operand)] = g;
            }
            continue;
        }
        let wanted = |&k: &usize| op.passes(k) && dependence.has(operands[k]);
        let at = AtVars::new(tape, id, &operands);
        for k in (0..operands.len()).rev().filter(wanted) {
            let first = tape.len() as u32;
            let contribution = record_vjp(&at, &op, k, g);
            tape.note_rule(RecordedRule { first, result: contribution.id(), node: id, k: k as u32, g: g.id() });
            if tape.is_checked() {
                check_rule(id, k, g, contribution);
            }
            add(&mut cotangents[slot(operands[k])], contribution);
        }
    }
    let found = |&(target, earlier): &Target<'t, T>| {
        let position = target.id().checked_sub(dependence.lowest);
        position.and_then(|position| cotangents.get(position as usize).copied()).unwrap_or(earlier)
    };
    targets.iter().map(found).collect()
}

/// Runs the rule of a node for its operand `k`, recorded, and gives the result the operand's shape.
pub(crate) fn record_vjp<'t, T: Scalar>(at: &AtVars<'t, '_, T>, op: &Op<T>, k: usize, g: Var<'t, T>) -> Var<'t, T> {
    let contribution = match table::vjp(op, k, at, g) {
        Term::Done(var) => var,
        Term::One(op, x) => at.record(op, &[x]),
        Term::Two(op, x, y) => at.record(op, &[x, y]),
    };
    let target = at.x_shape(k);
    if contribution.shape() == target { contribution } else { contribution.sum_to(target) }
}

/// Panics if the rule of a node made a number that is not finite.
#[cold]
#[track_caller]
fn check_rule<T: Scalar>(id: u32, k: usize, g: Var<'_, T>, contribution: Var<'_, T>) {
    let tape = g.tape();
    let found = {
        let nodes = tape.nodes();
        let range = blame::survey(tape.view(&nodes, g.id()));
        blame::in_rule(tape, &nodes, id, k, range, tape.view(&nodes, contribution.id()))
    };
    if let Some(found) = found {
        panic!("{found}");
    }
}

/// One node in a sweep that records.
pub(crate) struct AtVars<'t, 'o, T> {
    tape: &'t Tape<T>,
    id: u32,
    operands: &'o [u32],
    starts: Starts,
}

impl<'t, 'o, T: Scalar> AtVars<'t, 'o, T> {
    pub(crate) fn new(tape: &'t Tape<T>, id: u32, operands: &'o [u32]) -> Self {
        Self { tape, id, operands, starts: Starts::default() }
    }

    fn record(&self, op: Op<T>, operands: &[Var<'t, T>]) -> Var<'t, T> {
        let ids: SmallVec<[u32; 2]> = operands.iter().map(|operand| operand.id()).collect();
        self.tape.apply(op, &ids)
    }
}

impl<'t, T: Scalar> Interpreter<T> for AtVars<'t, '_, T> {
    type Value = Var<'t, T>;

    fn x(&self, k: usize) -> Var<'t, T> {
        Var::new(self.tape, self.operands[k])
    }

    fn x_shape(&self, k: usize) -> Shape {
        self.x(k).shape()
    }

    fn x_start(&self, k: usize, axis: usize) -> usize {
        let nodes = self.tape.nodes();
        self.starts.of(k, self.operands.iter().map(|&x| nodes.shape(x)[axis]))
    }

    fn y(&self) -> Var<'t, T> {
        Var::new(self.tape, self.id)
    }

    fn again(&self, value: &Var<'t, T>) -> Var<'t, T> {
        *value
    }

    fn apply<const N: usize>(&self, op: Op<T>, operands: [Var<'t, T>; N]) -> Var<'t, T> {
        self.record(op, &operands)
    }

    fn pull(&self, k: usize, g: Var<'t, T>) -> Var<'t, T> {
        let op = self.tape.nodes().node(self.id).op.clone();
        match op {
            Op::Unary(unary) => unary.record_vjp(g, self.x(0), self.y()),
            Op::Binary(binary) => binary.record_vjp(k, g, self.x(0), self.x(1), self.y()),
            Op::Custom(custom) => {
                let operands: SmallVec<[Var<'t, T>; 4]> = (0..self.operands.len()).map(|k| self.x(k)).collect();
                let custom = self.tape.custom_op(custom);
                let result = custom.vjp(k, &operands, self.y(), g);
                assert_fits(custom, k, result, self.tape, self.x_shape(k));
                result
            }
            op => unreachable!("{op} has a rule of its own"),
        }
    }
}
