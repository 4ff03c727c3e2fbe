//! The forward sweep: it records tangents of results, given tangents of the values that they depend on.
//!
//! It needs no rules of its own:
//!
//! 1. The Jacobian of an elementwise operation is diagonal: its rule serves both directions.
//! 2. A linear operation is its own derivative, and a matrix product is linear in each operand.
//! 3. Otherwise record the vjp for a dummy cotangent u; it is linear in u, so its vjp with respect to u is the jvp (the
//!    double-vjp trick). This trick on a whole function, instead of single operations, costs 1.3 to 1.8 times as much
//!    (`bench --path jvp` and `--path jvp-by-vjp`).

use std::panic::Location;

use smallvec::SmallVec;

use super::on_vars::{AtVars, shape_of};
use super::record;
use crate::op::{Binary, Linear, Op, Transposed};
use crate::scalar::Scalar;
use crate::tape::{Dependence, Detach, Event, Step, Tape, Var, id_of};

/// Returns the tangents of `from`, given tangents of the targets, and records them on the tape; `None` for a value that
/// depends on no target.
///
/// `location` is the line of the user's code that asked for the tangents. All nodes of the forward pass carry it.
#[track_caller]
pub(crate) fn jvp<'t, T: Scalar>(
    tape: &'t Tape<T>,
    from: &[Var<'t, T>],
    targets: &[Var<'t, T>],
    tangents: &[Var<'t, T>],
    location: &'static Location<'static>,
) -> Vec<Option<Var<'t, T>>> {
    let _naming = tape.attribute_to(location);
    let moves: Vec<(u32, Var<'t, T>)> =
        targets.iter().zip(tangents).map(|(target, &tangent)| (target.id(), tangent)).collect();
    push(tape, from, &moves)
}

/// Returns the tangents of `from`, given tangents of other nodes (`moves`).
#[track_caller]
fn push<'t, T: Scalar>(tape: &'t Tape<T>, from: &[Var<'t, T>], moves: &[(u32, Var<'t, T>)]) -> Vec<Option<Var<'t, T>>> {
    let Some(last) = from.iter().map(|from| from.id()).max() else { return Vec::new() };
    let dependence = Dependence::new(&tape.nodes(), last, moves.iter().map(|&(target, _)| target));
    // Indexed by the distance from the first target. No node before it has a tangent.
    let slot = |id: u32| (id - dependence.lowest) as usize;
    let mut visited = vec![false; slot(last + 1)];
    for from in from.iter().filter(|from| dependence.has(from.id())) {
        visited[slot(from.id())] = true;
    }
    {
        let nodes = tape.nodes();
        for id in (dependence.lowest..=last).rev() {
            if visited[slot(id)] && !nodes.node(id).detached {
                for &x in nodes.operands(id).iter().filter(|&&x| dependence.has(x)) {
                    visited[slot(x)] = true;
                }
            }
        }
    }
    let mut own: Vec<Option<Var<'t, T>>> = vec![None; visited.len()];
    for &(target, tangent) in moves.iter().filter(|&&(target, _)| target <= last) {
        let own = &mut own[slot(target)];
        *own = Some(own.map_or(tangent, |earlier| sum(earlier, tangent)));
    }
    let mut tangents: Vec<Option<Var<'t, T>>> = Vec::with_capacity(visited.len());
    let of = |tangents: &[Option<Var<'t, T>>], x: u32| {
        tangents.get(x.checked_sub(dependence.lowest)? as usize).copied().flatten()
    };
    for id in dependence.lowest..=last {
        let tangent = if visited[slot(id)] {
            let first = id_of(tape.len());
            let pushed = push_node(tape, id, |x| of(&tangents, x));
            if let Some(pushed) = pushed {
                tape.notify(Event::Derivative { first, result: pushed.id() });
            }
            match (pushed, own[slot(id)]) {
                (Some(pushed), Some(own)) => Some(sum(pushed, own)),
                (pushed, own) => pushed.or(own),
            }
        } else {
            None
        };
        tangents.push(tangent);
    }
    from.iter().map(|from| of(&tangents, from.id())).collect()
}

/// Returns the tangent of a node, given the tangents of its operands.
fn push_node<'t, T: Scalar>(
    tape: &'t Tape<T>,
    id: u32,
    tangent: impl Fn(u32) -> Option<Var<'t, T>>,
) -> Option<Var<'t, T>> {
    let (step, operands) = {
        let nodes = tape.nodes();
        if nodes.node(id).detached {
            return None;
        }
        (nodes.step(id).clone(), SmallVec::<[u32; 4]>::from_slice(nodes.operands(id)))
    };
    let passing = |k: usize| if step.passes(k) { tangent(operands[k]) } else { None };
    let moved: SmallVec<[(usize, Var<'t, T>); 4]> =
        (0..operands.len()).filter_map(|k| Some((k, passing(k)?))).collect();
    if moved.is_empty() {
        return None;
    }
    let x = |k: usize| Var::new(tape, operands[k]);
    let y = Var::new(tape, id);
    if let Step::Checkpoint(_) = step {
        let segment = tape.record_segment(id);
        let moves: SmallVec<[_; 4]> =
            segment.inputs.iter().filter_map(|&(input, alias)| Some((alias.id(), tangent(input)?))).collect();
        return push(tape, &[segment.y], &moves).pop().flatten();
    }
    if let Step::Op(op) = &step
        && op.is_linear()
    {
        let all: SmallVec<[u32; 4]> = (0..operands.len())
            .map(|k| tangent(operands[k]).unwrap_or_else(|| tape.zeros(shape_of(x(k)))).id())
            .collect();
        return Some(tape.apply(op.clone().linear_part(), &all));
    }
    let contribution = |&(k, t): &(usize, Var<'t, T>)| match &step {
        // If an operand is broadcast, its tangent is broadcast, too.
        Step::Op(Op::Unary(row)) => row.vjp(t, x(0), y),
        Step::Op(Op::Binary(row)) => {
            let shape = shape_of(y);
            let t = if shape_of(t) == shape { t } else { tape.apply(Linear::BroadcastTo { shape }, &[t.id()]) };
            row.vjp(k, t, x(0), x(1), y)
        }
        Step::Op(Op::Matmul { left, right }) => {
            let (a, b) = if k == 0 { (t, x(1)) } else { (x(0), t) };
            matmul(*left, a, *right, b)
        }
        step => transpose(tape, id, step, &operands, k, t),
    };
    moved.iter().map(contribution).reduce(sum)
}

fn sum<'t, T: Scalar>(a: Var<'t, T>, b: Var<'t, T>) -> Var<'t, T> {
    a.tape().apply(Op::Binary(Binary::Add), &[a.id(), b.id()])
}

fn matmul<'t, T: Scalar>(left: Transposed, a: Var<'t, T>, right: Transposed, b: Var<'t, T>) -> Var<'t, T> {
    a.tape().apply(Op::Matmul { left, right }, &[a.id(), b.id()])
}

/// Returns the tangent of a node, given the tangent of its operand `k`: the transpose of the operand's rule.
fn transpose<'t, T: Scalar>(
    tape: &'t Tape<T>,
    id: u32,
    step: &Step<T>,
    operands: &[u32],
    k: usize,
    tangent: Var<'t, T>,
) -> Var<'t, T> {
    let shape = shape_of(Var::new(tape, id));
    let (cotangent, pulled) = {
        // The recorded rule has to be differentiable, even if the derivative that needs it is detached.
        let _attaching = tape.detach_all(Detach::No);
        let cotangent = tape.zeros(shape.clone());
        (cotangent, AtVars::new(tape, id, step, operands).record_vjp(k, cotangent))
    };
    let pushed = record::grad(pulled, Some(tangent), &[cotangent], Location::caller());
    pushed.into_iter().next().flatten().unwrap_or_else(|| tape.zeros(shape))
}
