//! The sweep on arrays: nothing is recorded, rows of the table are fused into the cotangent's own buffer, and buffers
//! are recycled.

use std::borrow::Cow;
use std::mem;
use std::ops::ControlFlow::{self, Continue};

use super::observer::Observer;
use super::on_arrays::{AtArrays, Outcome, Tensor, Value, shape_of};
use crate::kernel::elementwise::{add_assign, add_assign_view};
use crate::kernel::view::{self, View};
use crate::memory::Lent;
use crate::number::Classify;
use crate::op::{Binary, ConcatOffsets, Evaluated, Factors, Linear, Op, Saves, Transposed, Unary, matmul_vjp, vjp};
use crate::scalar::Scalar;
use crate::shape::{AxisSet, elements};
use crate::tape::{Nodes, Seed, Step, Tape, Target, Var, Workspace};

/// An optional observer.
type Observed<'o, T> = Option<&'o mut dyn Observer<T>>;

/// The cotangent of the node that is visited. It is borrowed if it is the seed, or if another rule still needs it.
type Cotangent<'s, T> = Cow<'s, [T]>;

/// Sweeps backward from `from` on arrays and accumulates the gradients of leaves and parameters. If the observer stops the
/// sweep, or a rule panics, no gradient changes.
pub(crate) fn backward<T: Scalar>(
    from: Var<'_, T>,
    seed: Option<Seed<T>>,
    observer: Observed<'_, T>,
) -> ControlFlow<()> {
    let tape = from.tape();
    let mut workspace = run(from, seed.as_ref().map(Seed::values), observer)?;
    // Parameters first, while the nodes are borrowed. The gradients of leaves stay on the tape.
    let nodes = tape.nodes();
    workspace.complete.retain_mut(|(target, g)| {
        let param = match target {
            Target::Source(id) => nodes.param(*id),
            Target::Param(param) => Some(&*param),
        };
        let Some(param) = param else { return true };
        if let Some(buffer) = param.accumulate_owned(mem::take(g)) {
            tape.pool().put(buffer);
        }
        false
    });
    drop(nodes);
    for (target, g) in workspace.complete.drain(..) {
        if let Target::Source(id) = target {
            tape.add_leaf_grad(id, g);
        }
    }
    *tape.workspace().borrow_mut() = workspace;
    tape.note_sweep(from.id(), seed);
    Continue(())
}

/// Sweeps backward from `from` on arrays and returns the gradients of these leaves and parameters; `None` for one that
/// is not reached. It accumulates no gradient.
pub(crate) fn source_grads<T: Scalar>(
    from: Var<'_, T>,
    seed: Option<&[T]>,
    sources: &[Var<'_, T>],
    observer: Observed<'_, T>,
) -> ControlFlow<(), Vec<Option<Vec<T>>>> {
    let tape = from.tape();
    let mut grads: Vec<Option<Vec<T>>> = vec![None; sources.len()];
    if !tape.nodes().node(from.id()).needs_grad {
        return Continue(grads);
    }
    let mut workspace = run(from, seed, observer)?;
    let nodes = tape.nodes();
    for (target, g) in workspace.complete.drain(..) {
        let is_target = |source: &Var<'_, T>| match &target {
            Target::Source(id) => source.id() == *id,
            // Within a checkpoint.
            Target::Param(param) => nodes.param(source.id()).is_some_and(|own| own.is(param)),
        };
        let mut found = grads.iter_mut().zip(sources).filter(|(_, source)| is_target(source)).map(|(grad, _)| grad);
        let first = found.next();
        for other in found {
            add(other, g.clone());
        }
        match first {
            Some(first) => add(first, g),
            None => tape.pool().put(g),
        }
    }
    drop(nodes);
    *tape.workspace().borrow_mut() = workspace;
    Continue(grads)
}

/// Adds a contribution to a gradient.
fn add<T: Scalar>(grad: &mut Option<Vec<T>>, g: Vec<T>) {
    match grad {
        Some(grad) => grad.iter_mut().zip(g).for_each(|(grad, g)| *grad += g),
        None => *grad = Some(g),
    }
}

/// Sweeps backward from `from` once more and returns whether all gradients are finite. It changes no stored gradient.
pub(crate) fn finite_gradients<T: Scalar>(
    from: Var<'_, T>,
    seed: Option<&[T]>,
    observer: &mut dyn Observer<T>,
) -> ControlFlow<(), bool> {
    let tape = from.tape();
    let mut workspace = run(from, seed, Some(observer))?;
    let mut finite = true;
    for (_, g) in workspace.complete.drain(..) {
        finite &= g.iter().all(|x| x.is_finite());
        tape.pool().put(g);
    }
    *tape.workspace().borrow_mut() = workspace;
    Continue(finite)
}

/// Sweeps backward from `from` and leaves the gradients in the workspace's list `complete`.
fn run<T: Scalar>(
    from: Var<'_, T>,
    seed: Option<&[T]>,
    mut observer: Observed<'_, T>,
) -> ControlFlow<(), Workspace<T>> {
    let tape = from.tape();
    let nodes = tape.nodes();
    if let (Some(observer), Some(seed)) = (&mut observer, seed) {
        observer.seed(&nodes, from.id(), View::contiguous(seed, nodes.shape(from.id())))?;
    }
    // Taken out, not borrowed: if a rule panics, the tape is as it was.
    let mut workspace = mem::take(&mut *tape.workspace().borrow_mut());
    workspace.cotangents.resize_with(from.id() as usize + 1, || None);
    visit(tape, &nodes, (from.id(), Some(seed.unwrap_or(&[T::ONE]))), &mut workspace, observer)?;
    workspace.cotangents.clear();
    Continue(workspace)
}

/// Visits the nodes from `last` down to the first and runs the rules of those that have a cotangent. That of `last` may be
/// given.
fn visit<T: Scalar>(
    tape: &Tape<T>,
    nodes: &Nodes<T>,
    (last, mut seed): (u32, Option<&[T]>),
    workspace: &mut Workspace<T>,
    mut observer: Observed<'_, T>,
) -> ControlFlow<()> {
    let Workspace { cotangents, complete } = workspace;
    if let Some(observer) = &mut observer {
        observer.enter(&cotangents[..last as usize]);
    }
    for id in (0..=last).rev() {
        let (below, rest) = cotangents.split_at_mut(id as usize);
        let g = match (rest[0].take(), seed.take()) {
            (Some(g), _) => Cow::Owned(g),
            (None, Some(seed)) => Cow::Borrowed(seed),
            (None, None) => continue,
        };
        if let Some(observer) = &mut observer {
            observer.before(View::contiguous(&g, nodes.shape(id)));
        }
        match nodes.step(id) {
            Step::Leaf | Step::Constant | Step::Param => complete.push((Target::Source(id), owned(tape, g))),
            Step::Op(Op::Unary(row)) => pull_unary(tape, nodes, id, *row, g, below),
            Step::Op(Op::Binary(row)) if nodes.same_sizes(id) => pull_binary(tape, nodes, id, *row, g, below),
            Step::Op(Op::Matmul { left, right }) if nodes.shape(id).len() == 2 => {
                pull_matmul(tape, nodes, id, (*left, *right), g, below);
            }
            Step::Op(Op::NormalizeAffine { axes, eps }) => {
                pull_normalize(tape, nodes, id, (*axes, *eps), &g, below);
                give_back(tape, g);
            }
            Step::Op(_) | Step::Custom(_) => pull(tape, nodes, id, g, below),
            Step::Checkpoint(_) => {
                let g = owned(tape, g);
                match &mut observer {
                    Some(observer) => pull_segment(tape, nodes, id, g, below, complete, Some(&mut **observer))?,
                    None => pull_segment(tape, nodes, id, g, below, complete, None)?,
                }
            }
        }
        if let Some(observer) = &mut observer {
            observer.after(tape, nodes, id, below)?;
        }
    }
    if let Some(observer) = observer {
        observer.leave();
    }
    Continue(())
}

/// Runs the segment of a checkpoint again, on another tape, and sweeps through it.
///
/// The cotangents that the inputs already have move to that tape, and the segment's contributions are added to them
/// there. So contributions are added in the same order as without the checkpoint, and the bits are the same.
#[cold]
fn pull_segment<T: Scalar>(
    tape: &Tape<T>,
    nodes: &Nodes<T>,
    id: u32,
    g: Vec<T>,
    below: &mut [Option<Vec<T>>],
    complete: &mut Vec<(Target<T>, Vec<T>)>,
    observer: Observed<'_, T>,
) -> ControlFlow<()> {
    let scratch = tape.scratch();
    let segment = tape.run_segment(nodes, id, &scratch);
    let (tape, nodes) = (&*scratch, scratch.nodes());
    let mut workspace = mem::take(&mut *tape.workspace().borrow_mut());
    workspace.cotangents.resize_with(nodes.len(), || None);
    for &(operand, leaf) in segment.inputs.iter().filter(|(_, leaf)| nodes.node(*leaf).needs_grad) {
        workspace.cotangents[leaf as usize] = below[operand as usize].take();
    }
    add_buffer(&mut workspace.cotangents[segment.y as usize], tape.pool().hold(g));
    visit(tape, &nodes, (segment.y, None), &mut workspace, observer)?;

    // A leaf with a number above the result is an input that the segment does not use.
    for &(operand, leaf) in segment.inputs.iter().filter(|(_, leaf)| *leaf > segment.y) {
        below[operand as usize] = workspace.cotangents[leaf as usize].take();
    }
    workspace.cotangents.clear();
    for (target, g) in workspace.complete.drain(..) {
        let id = match target {
            Target::Source(id) => id,
            Target::Param(_) => {
                complete.push((target, g));
                continue;
            }
        };
        if let Some(&(operand, _)) = segment.inputs.iter().find(|(_, leaf)| *leaf == id) {
            below[operand as usize] = Some(g);
        } else if let Some(param) = nodes.param(id) {
            complete.push((Target::Param(param.clone()), g));
        } else {
            tape.pool().put(g); // of a leaf that the segment made for itself
        }
    }
    *tape.workspace().borrow_mut() = workspace;
    Continue(())
}

/// Returns the cotangent in a buffer of its own.
#[inline]
fn owned<T: Scalar>(tape: &Tape<T>, g: Cotangent<'_, T>) -> Vec<T> {
    match g {
        Cow::Owned(g) => g,
        Cow::Borrowed(seed) => {
            let mut copy = tape.pool().take(seed.len());
            copy.copy_from_slice(seed);
            copy
        }
    }
}

/// Runs the pullback of a row in the buffer of the cotangent; if that is needed elsewhere, in a new one. `pull(g, from)` runs
/// it in `g`, on the elements of `from` if there are others.
#[inline]
fn pulled<T: Scalar>(tape: &Tape<T>, g: Cotangent<'_, T>, pull: impl FnOnce(&mut [T], Option<&[T]>)) -> Vec<T> {
    match g {
        Cow::Owned(mut g) => {
            pull(&mut g, None);
            g
        }
        Cow::Borrowed(from) => {
            let mut g = tape.pool().take(from.len());
            pull(&mut g, Some(from));
            g
        }
    }
}

/// Runs the pullback of a row of one operand. Such a row never broadcasts: its pullback runs in the buffer of the
/// cotangent and needs nothing else. If that is the seed, it runs in a new buffer.
#[inline]
fn pull_unary<T: Scalar>(
    tape: &Tape<T>,
    nodes: &Nodes<T>,
    id: u32,
    row: Unary<T>,
    g: Cotangent<'_, T>,
    below: &mut [Option<Vec<T>>],
) {
    let operand = nodes.operands(id)[0];
    let (x_view, y) = (tape.view(nodes, operand), tape.view(nodes, id).data);
    let g = match x_view.as_slice() {
        Some(x) => pulled(tape, g, |g, from| T::pull_unary(row, g, from, x, y)),
        None if !row.saves().operands() => pulled(tape, g, |g, from| T::pull_unary(row, g, from, y, y)),
        None => {
            let mut x = tape.pool().lend(g.len());
            view::copy(x_view, x_view.shape, &mut x);
            pulled(tape, g, |g, from| T::pull_unary(row, g, from, &x, y))
        }
    };
    add_vec(tape, &mut below[operand as usize], g);
}

/// Runs the pullbacks of a row of two operands. Both operands have the shape of the result. The second operand's pullback
/// runs in a new buffer, the first operand's in the buffer of the cotangent itself. If that is the seed, both run in new ones.
#[inline]
fn pull_binary<T: Scalar>(
    tape: &Tape<T>,
    nodes: &Nodes<T>,
    id: u32,
    row: Binary,
    mut g: Cotangent<'_, T>,
    below: &mut [Option<Vec<T>>],
) {
    let &[first, second] = nodes.operands(id) else { return };
    let wanted = |k: usize, x: u32| nodes.node(x).needs_grad && row.saves(k) != Saves::NotDifferentiable;
    let pull = |k: usize, g: Cotangent<'_, T>| {
        if row.saves(k) == Saves::Nothing {
            return owned(tape, g);
        }
        let (operands, y) = ([first, second].map(|x| tape.view(nodes, x)), tape.view(nodes, id));
        pulled(tape, g, |g, from| T::pull_binary(row, k, g, from, operands, y))
    };
    let (wants_first, wants_second) = (wanted(0, first), wanted(1, second));
    if wants_second {
        match (row.saves(1), &mut below[second as usize]) {
            (Saves::Nothing, Some(sum)) => add_assign(sum, &g),
            (_, slot) => {
                let own = if wants_first { Cow::Borrowed(&*g) } else { mem::take(&mut g) };
                add_vec(tape, slot, pull(1, own));
            }
        }
    }
    if wants_first {
        add_vec(tape, &mut below[first as usize], pull(0, g));
    } else {
        give_back(tape, g);
    }
}

/// Returns the memory of a cotangent to the tape.
#[inline]
fn give_back<T: Scalar>(tape: &Tape<T>, g: Cotangent<'_, T>) {
    if let Cow::Owned(g) = g {
        tape.pool().put(g);
    }
}

/// Runs the rules of a product of two matrices, not batches: each is one product, and nothing is summed after it.
#[inline]
fn pull_matmul<T: Scalar>(
    tape: &Tape<T>,
    nodes: &Nodes<T>,
    id: u32,
    (left, right): (Transposed, Transposed),
    g: Cotangent<'_, T>,
    below: &mut [Option<Vec<T>>],
) {
    let (operands, pool) = (nodes.operands(id), tape.pool());
    let cotangent = View { data: &g, shape: nodes.shape(id), strides: None };
    for k in [1, 0] {
        let operand = operands[k];
        if !nodes.node(operand).needs_grad {
            continue;
        }
        let (left, right, into) = untransposed(nodes, (left, right), k, operand).unwrap_or((left, right, operand));
        let other = tape.view(nodes, operands[1 - k]);
        let (factors, left, right) = matmul_vjp(k, left, right);
        let x = match factors {
            Factors::CotangentFirst => [cotangent, other],
            Factors::CotangentLast => [other, cotangent],
        };
        let (op, target) = (Op::Matmul { left, right }, nodes.shape(into));
        match &mut below[into as usize] {
            Some(sum) => {
                T::run_add(&op, &x, target, sum, &nodes.data, pool);
            }
            slot @ None => {
                let mut buffer = pool.take(elements(target));
                T::run(&op, &x, target, &mut buffer, &nodes.data, pool);
                *slot = Some(buffer);
            }
        }
    }
    give_back(tape, g);
}

/// Runs the rules of a normalization with gain and bias together: they share the normalized elements, and read the cotangent
/// once.
#[inline]
fn pull_normalize<T: Scalar>(
    tape: &Tape<T>,
    nodes: &Nodes<T>,
    id: u32,
    parameters: (AxisSet, T),
    g: &[T],
    below: &mut [Option<Vec<T>>],
) {
    let &[x, gain, bias] = nodes.operands(id) else { return };
    let operands = [x, gain, bias];
    let mut grads = operands.map(|x| nodes.node(x).needs_grad.then(|| tape.pool().take(elements(nodes.shape(x)))));
    let views = operands.map(|x| tape.view(nodes, x));
    T::pull_normalize(parameters, views, g, grads.each_mut().map(|grad| grad.as_deref_mut()), tape.pool());
    for (operand, grad) in operands.into_iter().zip(grads).rev() {
        if let Some(grad) = grad {
            add_vec(tape, &mut below[operand as usize], grad);
        }
    }
}

/// Runs the rules of one node on its cotangent.
#[inline]
fn pull<T: Scalar>(tape: &Tape<T>, nodes: &Nodes<T>, id: u32, g: Cotangent<'_, T>, below: &mut [Option<Vec<T>>]) {
    let (step, operands, shape) = (nodes.step(id), nodes.operands(id), nodes.shape(id));
    let wanted = |&k: &usize| step.passes(k) && nodes.node(operands[k]).needs_grad;
    // The operand that is visited last takes over the buffer of the cotangent. This is the first operand: in `x + bias`
    // and `x * gain` it is the large one.
    let Some(first) = (0..operands.len()).find(wanted) else { return give_back(tape, g) };
    let offsets = ConcatOffsets::default();
    for k in (first + 1..operands.len()).rev().filter(wanted) {
        let g = Tensor::Borrowed(View { data: &g, shape, strides: None });
        pull_operand(&AtArrays::new(tape, nodes, id, &offsets), k, g, below);
    }
    let g = match g {
        Cow::Owned(g) => tape.pool().hold(g),
        Cow::Borrowed(seed) => {
            let g = Tensor::Borrowed(View { data: seed, shape, strides: None });
            return pull_operand(&AtArrays::new(tape, nodes, id, &offsets), first, g, below);
        }
    };
    // A reshape passes the buffer on.
    if let (Step::Op(Op::Linear(Linear::Reshape { .. })), None) = (step, &below[operands[first] as usize]) {
        return add_buffer(&mut below[operands[first] as usize], g);
    }
    let g = Tensor::Owned { buffer: g, shape: shape.into() };
    pull_operand(&AtArrays::new(tape, nodes, id, &offsets), first, g, below);
}

/// Runs the rule of one operand.
#[inline]
fn pull_operand<'a, T: Scalar>(at: &AtArrays<'a, T>, k: usize, g: Tensor<'a, T>, below: &mut [Option<Vec<T>>]) {
    let nodes = at.nodes;
    let operand = nodes.operands(at.id)[k];
    match nodes.step(at.id) {
        Step::Op(op) => {
            let product = if let &Op::Matmul { left, right } = op { Some((left, right)) } else { None };
            if let Some((left, right, matrix)) = product.and_then(|sides| untransposed(nodes, sides, k, operand)) {
                let value = vjp(&Op::Matmul { left, right }, k, at, at.array(g));
                return accumulate(at, value, matrix, below, matrix);
            }
            let into = unflattened(nodes, at.id, op, operand, below);
            accumulate(at, vjp(op, k, at, at.array(g)), operand, below, into);
        }
        Step::Custom(custom) => {
            let contribution = at.custom_vjp(*custom, k, g.view());
            add_broadcast(at, contribution, nodes.shape(operand), &mut below[operand as usize]);
        }
        // These steps have no operands, or run as a whole.
        Step::Leaf | Step::Constant | Step::Param | Step::Checkpoint(_) => {}
    }
}

/// Returns the node that receives the cotangent from the rule of node `id` for operand `k`: the operand or, if it is a
/// transpose that `matmul` reads as the matrix itself, that matrix.
pub(crate) fn destination<T: Scalar>(nodes: &Nodes<T>, id: u32, k: usize) -> u32 {
    let operand = nodes.operands(id)[k];
    match nodes.step(id) {
        &Step::Op(Op::Matmul { left, right }) => {
            untransposed(nodes, (left, right), k, operand).map_or(operand, |(.., matrix)| matrix)
        }
        Step::Leaf | Step::Constant | Step::Param | Step::Op(_) | Step::Custom(_) | Step::Checkpoint(_) => operand,
    }
}

/// If `operand` is a flattening recorded only for this index_select (as [`Var::gather`] does), returns the array that was
/// flattened, else `operand` itself.
///
/// The cotangents of both have the same numbers in the same order. So the selected elements are added to the cotangent
/// of the array directly: a few elements of a large array need no second cotangent of its size. No node lies between
/// the two nodes, and no other node uses the flattening, so contributions are added in the same order.
#[inline]
fn unflattened<T: Scalar>(nodes: &Nodes<T>, id: u32, op: &Op<T>, operand: u32, below: &[Option<Vec<T>>]) -> u32 {
    match (op, nodes.step(operand)) {
        (Op::Linear(Linear::IndexSelect { .. }), Step::Op(Op::Linear(Linear::Reshape { .. })))
            if operand + 1 == id && below[operand as usize].is_none() =>
        {
            nodes.operands(operand)[0]
        }
        _ => operand,
    }
}

/// If operand `k` of a matrix product is recorded as a transpose, returns the product of the matrix itself, and that matrix.
///
/// The result is added to the cotangent of the matrix directly and is not transposed on the way. The transpose gets no
/// cotangent: in this sweep only sources keep theirs.
#[inline]
fn untransposed<T: Scalar>(
    nodes: &Nodes<T>,
    (left, right): (Transposed, Transposed),
    k: usize,
    operand: u32,
) -> Option<(Transposed, Transposed, u32)> {
    match nodes.step(operand) {
        Step::Op(Op::Linear(Linear::Permute { order })) if order.is_transpose() => {}
        _ => return None,
    }
    let (left, right) = if k == 0 { (left.flipped(), right) } else { (left, right.flipped()) };
    Some((left, right, nodes.operands(operand)[0]))
}

/// Adds a rule's result, which fits the value of `operand`, to the cotangent of the node `into`. The pending last
/// operation of the rule is applied directly into the cotangent if that is possible.
#[inline]
fn accumulate<T: Scalar>(at: &AtArrays<'_, T>, value: Value, operand: u32, below: &mut [Option<Vec<T>>], into: u32) {
    let (tape, target, slot) = (at.tape, at.nodes.shape(operand), &mut below[into as usize]);
    let position = match at.outcome(value) {
        Outcome::Array(tensor) => return add_broadcast(at, tensor, target, slot),
        Outcome::Pending(position) => position,
    };
    let slots = at.slots();
    let Some((op, x)) = at.pending(&slots, position) else { return };
    // If an operand was broadcast against another, the result of a rule is larger than the operand and has to be
    // summed. The result of an adjoint is never larger.
    let shape = if let Op::Linear(_) = op { None } else { Some(shape_of(op, &x)) };
    debug_assert!(shape.is_some() || *shape_of(op, &x) == *target, "{op}");
    if let Some(shape) = shape.filter(|shape| **shape != *target) {
        let mut buffer = tape.pool().lend(shape.elements());
        T::run(op, &x, &shape, &mut buffer, &at.nodes.data, tape.pool());
        return add_broadcast(at, Tensor::Owned { buffer, shape }, target, slot);
    }
    if let Some(sum) = slot
        && T::run_add(op, &x, target, sum, &at.nodes.data, tape.pool())
    {
        return;
    }
    match tape.evaluate(at.nodes, op, &x, target) {
        Evaluated::View(layout, offset) => add_view(tape, layout.of_memory(&x[0].data[offset..], target), target, slot),
        Evaluated::Computed(buffer) => add_buffer(slot, buffer),
    }
}

/// Adds a contribution to a cotangent. Only this function undoes broadcasting; rules do not.
#[inline]
fn add_broadcast<T: Scalar>(
    at: &AtArrays<'_, T>,
    contribution: Tensor<'_, T>,
    target: &[usize],
    slot: &mut Option<Vec<T>>,
) {
    let tape = at.tape;
    let same = contribution.view().shape == target;
    if same || contribution.view().strides.is_none() && elements(contribution.view().shape) == elements(target) {
        return match contribution {
            Tensor::Owned { buffer, .. } => add_buffer(slot, buffer),
            // Axes of length 1 are added or removed without moving an element.
            Tensor::Borrowed(view) if same => add_view(tape, view, target, slot),
            Tensor::Borrowed(view) => add_view(tape, View::contiguous(view.data, target), target, slot),
        };
    }
    let op = Op::Linear(Linear::SumTo { shape: target.into() });
    if let Err(error) = op.shape(&[contribution.view().shape]) {
        panic!("a rule gives a cotangent that does not fit its operand: {error}");
    }
    let mut buffer = tape.pool().lend(elements(target));
    T::run(&op, &[contribution.view()], target, &mut buffer, &at.nodes.data, tape.pool());
    add_buffer(slot, buffer);
}

/// Adds an array that the sweep does not own.
#[inline]
fn add_view<T: Scalar>(tape: &Tape<T>, view: View<'_, T>, target: &[usize], slot: &mut Option<Vec<T>>) {
    match slot {
        Some(sum) => add_assign_view(sum, view, target),
        None => {
            let mut buffer = tape.pool().take(elements(target));
            view::copy(view, target, &mut buffer);
            *slot = Some(buffer);
        }
    }
}

/// Adds an array that nothing else holds: as [`add_buffer`].
#[inline]
fn add_vec<T: Scalar>(tape: &Tape<T>, slot: &mut Option<Vec<T>>, buffer: Vec<T>) {
    match slot {
        Some(sum) => {
            add_assign(sum, &buffer);
            tape.pool().put(buffer);
        }
        None => *slot = Some(buffer),
    }
}

/// The first contribution moves into its place; a later one is added to it.
#[inline]
fn add_buffer<T: Scalar>(slot: &mut Option<Vec<T>>, buffer: Lent<'_, T>) {
    match slot {
        Some(sum) => add_assign(sum, &buffer),
        None => *slot = Some(buffer.keep()),
    }
}
