//! The sweep on arrays: nothing is recorded, rows of the table are fused into the cotangent's own buffer, and buffers
//! are recycled.

use std::cell::RefCell;
use std::mem;

use smallvec::SmallVec;

use super::assert_fits;
use crate::blame::{self, NonFinite, ValueRange};
use crate::kernel::elementwise::{add_assign, add_assign_view};
use crate::kernel::view::{self, View};
use crate::memory::Lent;
use crate::op::table;
use crate::op::{Interpreter, Op, Reads, Starts, Term};
use crate::param::Param;
use crate::scalar::Scalar;
use crate::shape::{Shape, elements};
use crate::tape::{Nodes, Tape};
use crate::var::Var;

/// The cotangents of a sweep by node; kept by the tape so that the list is allocated once.
pub(crate) type Cotangents<T> = Vec<Option<Vec<T>>>;

/// What sweeps keep for the next one.
pub(crate) struct Workspace<T> {
    cotangents: Cotangents<T>,
    /// Gradients that are complete, by node: they land when the whole sweep is.
    complete: Vec<(Complete<T>, Vec<T>)>,
    /// The tape on which the rules of custom operations run.
    scratch: RefCell<Option<Box<Tape<T>>>>,
}

/// Whose gradient is complete.
enum Complete<T> {
    /// Of a source of this tape.
    Source(u32),
    /// Of a parameter that a segment uses.
    Param(Param<T>),
}

impl<T> Default for Workspace<T> {
    fn default() -> Self {
        Self { cotangents: Vec::new(), complete: Vec::new(), scratch: RefCell::new(None) }
    }
}

/// Sweeps backward from `from` on arrays and accumulates the gradients of leaves and parameters.
///
/// # Panics
///
/// On a checked tape, with a [`NonFinite`] if a rule makes a number that is not finite. No gradient changes then.
#[track_caller]
pub(crate) fn backward<T: Scalar>(from: Var<'_, T>, seed: Option<Vec<T>>) {
    let tape = from.tape();
    let seed_copy = seed.as_ref().map(|seed| {
        let mut copy = tape.pool.take(seed.len());
        copy.copy_from_slice(seed);
        copy
    });
    let mut workspace = run_or_panic(from, seed);
    // Parameters first, while the nodes are at hand; leaves keep their gradient in their node.
    let nodes = tape.nodes();
    workspace.complete.retain_mut(|(complete, g)| {
        let param = match complete {
            Complete::Source(id) => nodes.param(*id),
            Complete::Param(param) => Some(&*param),
        };
        let Some(param) = param else { return true };
        if let Some(buffer) = param.accumulate_owned(mem::take(g)) {
            tape.pool.put(buffer);
        }
        false
    });
    drop(nodes);
    for (complete, g) in workspace.complete.drain(..) {
        if let Complete::Source(id) = complete {
            tape.add_leaf_grad(id, g);
        }
    }
    *tape.sweep.borrow_mut() = workspace;
    tape.note_sweep(from.id(), seed_copy);
}

/// Sweeps backward from `from` on arrays and returns the gradients of these leaves, `None` of one that is not reached.
/// Nothing accumulates anywhere.
#[track_caller]
pub(crate) fn leaf_grads<T: Scalar>(
    from: Var<'_, T>,
    seed: Option<Vec<T>>,
    leaves: &[Var<'_, T>],
) -> Vec<Option<Vec<T>>> {
    let tape = from.tape();
    let mut grads = vec![None; leaves.len()];
    if !tape.nodes().node(from.id()).needs_grad {
        return grads;
    }
    let mut workspace = run_or_panic(from, seed);
    for (complete, g) in workspace.complete.drain(..) {
        let position = match complete {
            Complete::Source(id) => leaves.iter().position(|leaf| leaf.id() == id),
            Complete::Param(_) => None,
        };
        match position {
            Some(position) => grads[position] = Some(g),
            None => tape.pool.put(g),
        }
    }
    *tape.sweep.borrow_mut() = workspace;
    grads
}

/// Sweeps backward from `from` once more, without touching a gradient, and returns who made the first number that is not
/// finite, or else whether all gradients are finite.
pub(crate) fn search<T: Scalar>(from: Var<'_, T>, seed: Option<Vec<T>>) -> Result<bool, Box<NonFinite>> {
    let tape = from.tape();
    let mut workspace = run(from, seed, Look::Yes)?;
    let mut finite = true;
    for (_, g) in workspace.complete.drain(..) {
        finite &= blame::all_finite(&g);
        tape.pool.put(g);
    }
    *tape.sweep.borrow_mut() = workspace;
    Ok(finite)
}

/// Whether a sweep on arrays looks for the first number that is not finite.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    Yes,
    No,
}

#[track_caller]
fn run_or_panic<T: Scalar>(from: Var<'_, T>, seed: Option<Vec<T>>) -> Workspace<T> {
    let look = if from.tape().is_checked() { Look::Yes } else { Look::No };
    match run(from, seed, look) {
        Ok(workspace) => workspace,
        Err(found) => panic!("{found}"),
    }
}

/// Sweeps backward from `from`; the gradients are left in the workspace's list of complete ones.
fn run<T: Scalar>(from: Var<'_, T>, seed: Option<Vec<T>>, look: Look) -> Result<Workspace<T>, Box<NonFinite>> {
    let tape = from.tape();
    let nodes = tape.nodes();
    if look == Look::Yes
        && let Some(seed) = &seed
        && let Some(found) = blame::in_seed(&nodes, from.id(), View::contiguous(seed, nodes.shape(from.id())))
    {
        return Err(Box::new(found));
    }
    // Taken out, not borrowed: if a rule panics, the tape is as it was.
    let mut workspace = mem::take(&mut *tape.sweep.borrow_mut());
    let seed = seed.unwrap_or_else(|| {
        let mut one = tape.pool.take(1);
        one.fill(T::ONE);
        one
    });
    let last = from.id() as usize;
    workspace.cotangents.resize_with(last + 1, || None);
    workspace.cotangents[last] = Some(seed);
    visit(tape, &nodes, from.id(), &mut workspace, look)?;
    workspace.cotangents.clear();
    Ok(workspace)
}

/// Visits the nodes from `last` down to the first and runs the rules of those that have a cotangent.
fn visit<T: Scalar>(
    tape: &Tape<T>,
    nodes: &Nodes<T>,
    last: u32,
    workspace: &mut Workspace<T>,
    look: Look,
) -> Result<(), Box<NonFinite>> {
    let Workspace { cotangents, complete, scratch } = workspace;
    // What an input of a segment holds already, no rule of the segment made.
    let infinite = |g: &Option<Vec<T>>| g.as_ref().is_some_and(|g| !blame::all_finite(g));
    let handed_on = || cotangents[..last as usize].iter().map(infinite).collect();
    let mut watch = (look == Look::Yes).then(|| Watch { tape, nodes, handed_on: handed_on() });
    for id in (0..=last).rev() {
        let (below, rest) = cotangents.split_at_mut(id as usize);
        let Some(g) = rest[0].take() else { continue };
        let node = nodes.node(id);
        let operands = nodes.operands(id);
        let given = watch.as_ref().map(|_| blame::survey(View::contiguous(&g, nodes.shape(id))));
        match (&node.op, operands) {
            (op, []) if !matches!(op, Op::Checkpoint(_)) => complete.push((Complete::Source(id), g)),
            // A row of one operand never broadcasts: its pullback runs in the cotangent's own buffer, and nothing else is
            // looked up.
            (Op::Unary(unary), &[x]) => {
                let mut g = tape.pool.hold(g);
                let (x_view, y) = (tape.view(nodes, x), tape.view(nodes, id).data);
                match x_view.as_slice() {
                    Some(x) => T::pull_unary(*unary, &mut g, x, y),
                    None if !unary.reads().operands() => T::pull_unary(*unary, &mut g, y, y),
                    None => {
                        let mut x = tape.pool.lend(g.len());
                        view::copy(x_view, x_view.shape, &mut x);
                        T::pull_unary(*unary, &mut g, &x, y);
                    }
                }
                add_buffer(&mut below[x as usize], g);
            }
            (Op::Checkpoint(_), _) => pull_segment(tape, nodes, id, g, below, complete, look)?,
            _ => {
                let at = AtArrays { tape, nodes, id, starts: Starts::default(), scratch };
                pull(&at, tape.pool.hold(g), below);
            }
        }
        if let (Some(watch), Some(given)) = (&mut watch, given) {
            watch.after(id, given, below)?;
        }
    }
    Ok(())
}

/// Looks for the first cotangent that is not finite.
struct Watch<'a, T> {
    tape: &'a Tape<T>,
    nodes: &'a Nodes<T>,
    /// Nodes whose cotangent is not finite though no rule made it so: an operand was not.
    handed_on: Vec<bool>,
}

impl<T: Scalar> Watch<'_, T> {
    /// Looks at what the rules of a node gave to its operands, `given` its own cotangent.
    #[cold]
    fn after(&mut self, id: u32, given: ValueRange, below: &[Option<Vec<T>>]) -> Result<(), Box<NonFinite>> {
        let node = self.nodes.node(id);
        for (k, &x) in self.nodes.operands(id).iter().enumerate().rev().filter(|&(k, _)| node.op.passes(k)) {
            let x = untransposed(self.nodes, &node.op, k, x).map_or(x, |(_, matrix)| matrix);
            let Some(cotangent) = &below[x as usize] else { continue };
            if self.handed_on[x as usize] || blame::all_finite(cotangent) {
                continue;
            }
            let cotangent = View::contiguous(cotangent, self.nodes.shape(x));
            // The rules within a segment have been looked at one by one.
            if !matches!(node.op, Op::Checkpoint(_))
                && let Some(found) = blame::in_rule(self.tape, self.nodes, id, k, given, cotangent)
            {
                return Err(Box::new(found));
            }
            self.handed_on[x as usize] = true;
        }
        Ok(())
    }
}

/// Runs a segment again, on another tape, and sweeps through it.
///
/// What the inputs' cotangents hold already goes there and comes back with the segment's contributions: they are added
/// one by one and in the order in which they would be without the checkpoint, which gives the same bits.
#[cold]
fn pull_segment<T: Scalar>(
    tape: &Tape<T>,
    nodes: &Nodes<T>,
    id: u32,
    g: Vec<T>,
    below: &mut [Option<Vec<T>>],
    complete: &mut Vec<(Complete<T>, Vec<T>)>,
    look: Look,
) -> Result<(), Box<NonFinite>> {
    let aside = tape.aside();
    let segment = tape.run_segment(nodes, id, &aside);
    let (tape, nodes) = (&*aside, aside.nodes());
    let mut workspace = mem::take(&mut *tape.sweep.borrow_mut());
    workspace.cotangents.resize_with(nodes.len(), || None);
    for &(operand, leaf) in segment.inputs.iter().filter(|(_, leaf)| nodes.node(*leaf).needs_grad) {
        workspace.cotangents[leaf as usize] = below[operand as usize].take();
    }
    add_buffer(&mut workspace.cotangents[segment.y as usize], tape.pool.hold(g));
    visit(tape, &nodes, segment.y, &mut workspace, look)?;

    // A leaf after the result is an input that the segment does not use.
    for &(operand, leaf) in segment.inputs.iter().filter(|(_, leaf)| *leaf > segment.y) {
        below[operand as usize] = workspace.cotangents[leaf as usize].take();
    }
    workspace.cotangents.clear();
    for (of, g) in workspace.complete.drain(..) {
        let id = match of {
            Complete::Source(id) => id,
            Complete::Param(_) => {
                complete.push((of, g));
                continue;
            }
        };
        if let Some(&(operand, _)) = segment.inputs.iter().find(|(_, leaf)| *leaf == id) {
            below[operand as usize] = Some(g);
        } else if let Some(param) = nodes.param(id) {
            complete.push((Complete::Param(param.clone()), g));
        } else {
            tape.pool.put(g); // of a leaf that the segment made for itself
        }
    }
    *tape.sweep.borrow_mut() = workspace;
    Ok(())
}

/// Runs the rules of one node on its cotangent.
fn pull<T: Scalar>(at: &AtArrays<'_, T>, g: Lent<'_, T>, below: &mut [Option<Vec<T>>]) {
    let nodes = at.nodes;
    let (op, operands, shape) = (&nodes.node(at.id).op, nodes.operands(at.id), nodes.shape(at.id));
    let wanted = |&k: &usize| op.passes(k) && nodes.node(operands[k]).needs_grad;
    // The operand that comes last takes over the cotangent's buffer. It is the first one: in `x + bias` and in
    // `x * gain` that is the large one.
    let Some(first) = (0..operands.len()).find(wanted) else { return };
    for k in (first + 1..operands.len()).rev().filter(wanted) {
        pull_operand(at, op, k, Tensor::Seen(View::contiguous(&g, shape)), below);
    }
    // A reshape is nothing but the buffer.
    if let (Op::Reshape(_), None) = (op, &below[operands[first] as usize]) {
        return add_buffer(&mut below[operands[first] as usize], g);
    }
    pull_operand(at, op, first, Tensor::Own { buffer: g, shape: shape.into() }, below);
}

/// Runs the rule of one operand.
fn pull_operand<'a, T: Scalar>(
    at: &AtArrays<'a, T>,
    op: &Op<T>,
    k: usize,
    g: Tensor<'a, T>,
    below: &mut [Option<Vec<T>>],
) {
    let operand = at.nodes.operands(at.id)[k];
    let target = at.nodes.shape(operand);
    match untransposed(at.nodes, op, k, operand) {
        Some((op, matrix)) => accumulate(at, table::vjp(&op, k, at, g), at.nodes.shape(matrix), matrix, below),
        None => accumulate(at, table::vjp(op, k, at, g), target, unflattened(at, op, operand, below), below),
    }
}

/// Returns the array of which `operand` is recorded as the row of all elements, in order to choose some of them (as
/// [`Var::gather`] does), else `operand` itself.
///
/// The cotangents of both are the same numbers in the same order: what is chosen goes straight there, and a few elements of
/// a large array do not make a cotangent of its size that has to be added up. Nothing lies between the two nodes, and
/// nothing else uses the row: the contributions keep their order.
fn unflattened<T: Scalar>(at: &AtArrays<'_, T>, op: &Op<T>, operand: u32, below: &[Option<Vec<T>>]) -> u32 {
    match (op, &at.nodes.node(operand).op) {
        (Op::IndexSelect { .. }, Op::Reshape(_)) if operand + 1 == at.id && below[operand as usize].is_none() => {
            at.nodes.operands(operand)[0]
        }
        _ => operand,
    }
}

/// Returns the product of matrices as a product of the matrix of which operand `k` is recorded as the transpose, and
/// that matrix.
///
/// Its cotangent goes straight there, as its elements lie, and is not transposed on the way. The transpose gets none:
/// in this sweep only sources keep one.
fn untransposed<T: Scalar>(nodes: &Nodes<T>, op: &Op<T>, k: usize, operand: u32) -> Option<(Op<T>, u32)> {
    let Op::Matmul { mut left, mut right } = *op else { return None };
    match &nodes.node(operand).op {
        Op::Permute(axes) if axes.is_transpose() => {}
        _ => return None,
    }
    let flag = if k == 0 { &mut left } else { &mut right };
    *flag = flag.flipped();
    Some((Op::Matmul { left, right }, nodes.operands(operand)[0]))
}

/// Adds a rule's result, of shape `target`, to the cotangent of `operand`, applying the rule's last operation on the way.
fn accumulate<T: Scalar>(
    at: &AtArrays<'_, T>,
    term: Term<T, Tensor<'_, T>>,
    target: &[usize],
    operand: u32,
    below: &mut [Option<Vec<T>>],
) {
    let (tape, slot) = (at.tape, &mut below[operand as usize]);
    let (op, x) = match term {
        Term::Done(tensor) => return add_broadcast(tape, tensor, target, slot),
        Term::One(op, x) => (op, Operands::One([x])),
        Term::Two(op, x, y) => (op, Operands::Two([x, y])),
    };
    // A structural rule gives a cotangent of its operand's very shape.
    debug_assert_eq!(*shape_of(&op, x.as_slice()), *target, "{op}");
    if let Operands::One([x]) = &x
        && let Some((layout, offset)) = op.view(x.view().shape, x.view().strides, target)
    {
        let strides = layout.strides();
        return add_view(tape, seen(x.view(), offset, strides.as_ref(), target), target, slot);
    }
    let views = x.views();
    if let Some(sum) = slot
        && op.run_add(&views, target, sum, tape, &tape.pool)
    {
        return;
    }
    let mut buffer = tape.pool.lend(elements(target));
    op.run(&views, target, &mut buffer, tape, &tape.pool);
    add_buffer(slot, buffer);
}

/// Returns an array's memory, from a position on, in another shape and with other strides, if not row-major.
fn seen<'a, T: Scalar>(x: View<'a, T>, offset: usize, strides: Option<&'a Shape>, shape: &'a [usize]) -> View<'a, T> {
    let data = &x.data[offset..];
    match strides {
        Some(strides) => View { data, shape, strides: Some(strides) },
        None => View::contiguous(data, shape),
    }
}

/// Adds a contribution to a cotangent. Here, and nowhere in a rule, is broadcasting undone.
fn add_broadcast<T: Scalar>(tape: &Tape<T>, contribution: Tensor<'_, T>, target: &[usize], slot: &mut Option<Vec<T>>) {
    let same = contribution.view().shape == target;
    if same || contribution.view().strides.is_none() && elements(contribution.view().shape) == elements(target) {
        return match contribution {
            Tensor::Own { buffer, .. } => add_buffer(slot, buffer),
            // Axes of length 1 come and go without moving an element.
            Tensor::Seen(view) if same => add_view(tape, view, target, slot),
            Tensor::Seen(view) => add_view(tape, View::contiguous(view.data, target), target, slot),
        };
    }
    let op = Op::SumTo(target.into());
    if let Err(error) = op.shape(&[contribution.view().shape]) {
        panic!("a rule gives a cotangent that does not fit its operand: {error}");
    }
    let mut buffer = tape.pool.lend(elements(target));
    op.run(&[contribution.view()], target, &mut buffer, tape, &tape.pool);
    add_buffer(slot, buffer);
}

/// Adds an array that somebody else owns.
fn add_view<T: Scalar>(tape: &Tape<T>, view: View<'_, T>, target: &[usize], slot: &mut Option<Vec<T>>) {
    match slot {
        Some(sum) => add_assign_view(sum, view, target),
        None => {
            let mut buffer = tape.pool.take(elements(target));
            view::copy(view, target, &mut buffer);
            *slot = Some(buffer);
        }
    }
}

/// The first cotangent moves into its place, a later one is added to it.
fn add_buffer<T: Scalar>(slot: &mut Option<Vec<T>>, buffer: Lent<'_, T>) {
    match slot {
        Some(sum) => add_assign(sum, &buffer),
        None => *slot = Some(buffer.keep()),
    }
}

/// An array of a sweep.
enum Tensor<'a, T: Scalar> {
    /// Recorded, or the cotangent of a node that is not done with it.
    Seen(View<'a, T>),
    /// The sweep's own, in row-major order.
    Own { buffer: Lent<'a, T>, shape: Shape },
}

impl<T: Scalar> Tensor<'_, T> {
    fn view(&self) -> View<'_, T> {
        match self {
            Self::Seen(view) => *view,
            Self::Own { buffer, shape } => View::contiguous(buffer, shape),
        }
    }
}

/// The operands of a rule's last operation.
enum Operands<'a, T: Scalar> {
    One([Tensor<'a, T>; 1]),
    Two([Tensor<'a, T>; 2]),
}

impl<'a, T: Scalar> Operands<'a, T> {
    fn as_slice(&self) -> &[Tensor<'a, T>] {
        match self {
            Self::One(x) => x,
            Self::Two(x) => x,
        }
    }

    fn views(&self) -> SmallVec<[View<'_, T>; 2]> {
        self.as_slice().iter().map(Tensor::view).collect()
    }
}

/// Returns the shape that an operation of a rule gives.
fn shape_of<T: Scalar>(op: &Op<T>, operands: &[Tensor<'_, T>]) -> Shape {
    let views: SmallVec<[View<'_, T>; 4]> = operands.iter().map(Tensor::view).collect();
    let shapes: SmallVec<[&[usize]; 4]> = views.iter().map(|view| view.shape).collect();
    op.shape(&shapes).unwrap_or_else(|error| panic!("a rule of the table applies {error}"))
}

/// One node in a sweep on arrays.
struct AtArrays<'a, T: Scalar> {
    tape: &'a Tape<T>,
    nodes: &'a Nodes<T>,
    id: u32,
    starts: Starts,
    scratch: &'a RefCell<Option<Box<Tape<T>>>>,
}

impl<'a, T: Scalar> AtArrays<'a, T> {
    fn operand(&self, k: usize) -> View<'a, T> {
        self.tape.view(self.nodes, self.nodes.operands(self.id)[k])
    }

    fn result(&self) -> View<'a, T> {
        self.tape.view(self.nodes, self.id)
    }

    /// Returns the array in a buffer that may be written.
    fn writable(&self, tensor: Tensor<'a, T>) -> Lent<'a, T> {
        match tensor {
            Tensor::Own { buffer, .. } => buffer,
            Tensor::Seen(view) => {
                let mut buffer = self.tape.pool.lend(elements(view.shape));
                view::copy(view, view.shape, &mut buffer);
                buffer
            }
        }
    }
}

impl<'a, T: Scalar> Interpreter<T> for AtArrays<'a, T> {
    type Value = Tensor<'a, T>;

    fn x(&self, k: usize) -> Tensor<'a, T> {
        Tensor::Seen(self.operand(k))
    }

    fn x_shape(&self, k: usize) -> Shape {
        Shape::from(self.nodes.shape(self.nodes.operands(self.id)[k]))
    }

    fn x_start(&self, k: usize, axis: usize) -> usize {
        self.starts.of(k, self.nodes.operands(self.id).iter().map(|&x| self.nodes.shape(x)[axis]))
    }

    fn y(&self) -> Tensor<'a, T> {
        Tensor::Seen(self.result())
    }

    fn again(&self, value: &Tensor<'a, T>) -> Tensor<'a, T> {
        match value {
            Tensor::Seen(view) => Tensor::Seen(*view),
            Tensor::Own { buffer, shape } => Tensor::Own { buffer: buffer.clone(), shape: shape.clone() },
        }
    }

    fn apply<const N: usize>(&self, op: Op<T>, mut operands: [Tensor<'a, T>; N]) -> Tensor<'a, T> {
        let shape = shape_of(&op, &operands);
        if let (Op::Reshape(_), [Tensor::Own { shape: old, .. }, ..]) = (&op, operands.as_mut_slice()) {
            *old = shape;
            return operands.into_iter().next().expect("a reshape has an operand");
        }
        let views: SmallVec<[View<'_, T>; 4]> = operands.iter().map(Tensor::view).collect();
        let mut buffer = self.tape.pool.lend(shape.elements());
        if let [x] = *views
            && let Some((layout, offset)) = op.view(x.shape, x.strides, &shape)
        {
            // Memory seen in another way, which a buffer of the rule's own cannot share.
            let strides = layout.strides();
            view::copy(seen(x, offset, strides.as_ref(), &shape), &shape, &mut buffer);
        } else {
            op.run(&views, &shape, &mut buffer, self.tape, &self.tape.pool);
        }
        drop(views);
        Tensor::Own { buffer, shape }
    }

    fn pull(&self, k: usize, g: Tensor<'a, T>) -> Tensor<'a, T> {
        let y = self.result();
        match self.nodes.node(self.id).op {
            Op::Binary(binary) if binary.reads(k) == Reads::Nothing => g,
            Op::Binary(binary) => {
                let mut buffer = self.writable(g);
                T::pull_binary(binary, k, &mut buffer, self.operand(0), self.operand(1), y);
                Tensor::Own { buffer, shape: y.shape.into() }
            }
            Op::Custom(custom) => self.pull_custom(custom, k, &g),
            ref op => unreachable!("{op} has a rule of its own"),
        }
    }
}

impl<'a, T: Scalar> AtArrays<'a, T> {
    /// Runs a custom operation's rule, which is written on `Var`s, on a tape of its own.
    fn pull_custom(&self, custom: crate::op::CustomId, k: usize, g: &Tensor<'a, T>) -> Tensor<'a, T> {
        let custom = self.tape.custom_op(custom);
        let mut scratch = self.scratch.take().unwrap_or_default();
        let (buffer, shape) = {
            let onto = |view: View<'_, T>| scratch.constant(view.array());
            let count = self.nodes.operands(self.id).len();
            let operands: SmallVec<[Var<'_, T>; 4]> = (0..count).map(|k| onto(self.operand(k))).collect();
            let y = onto(self.result());
            let result = custom.vjp(k, &operands, y, onto(g.view()));
            assert_fits(custom, k, result, &scratch, self.x_shape(k));
            let shape = result.shape();
            let mut buffer = self.tape.pool.lend(shape.elements());
            view::copy(scratch.view(&scratch.nodes(), result.id()), &shape, &mut buffer);
            (buffer, shape)
        };
        scratch.reset();
        self.scratch.replace(Some(scratch));
        Tensor::Own { buffer, shape }
    }
}
