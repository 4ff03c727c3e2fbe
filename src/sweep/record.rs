//! The sweep that records: the same rules on `Var`s, so that the backward pass lands on the tape and can be differentiated
//! again.

use std::panic::Location;

use smallvec::SmallVec;

use super::on_vars::{AtVars, shape_of};
use crate::op::{Binary, Linear, Op};
use crate::scalar::Scalar;
use crate::tape::{Dependence, Event, RecordedRule, Step, Var, id_of};

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
    for id in (dependence.lowest..=from.id()).rev() {
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
            let first = id_of(tape.len());
            let contribution = at.record_vjp(k, g);
            tape.note_rule(RecordedRule { first, result: contribution.id(), node: id, k, g: g.id() });
            add(&mut cotangents[slot(operands[k])], contribution);
        }
    }
    let found = |&(target, earlier): &Target<'t, T>| {
        let position = target.id().checked_sub(dependence.lowest);
        position.and_then(|position| cotangents.get(position as usize).copied()).unwrap_or(earlier)
    };
    targets.iter().map(found).collect()
}
