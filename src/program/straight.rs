//! Arrays of a few elements as numbers of a straight-line program.

use std::collections::HashMap;

use super::graph::{Action, Graph, Origin};
use super::unit::{Located, Unit, operands, tile_row};
use crate::kernel::view::View;
use crate::memory::Pool;
use crate::op::{Linear, Op, ReduceKind, StraightBuilder};
use crate::scalar::Scalar;
use crate::shape::{KeepDims, elements};

/// The largest number of elements of such an array. A row on more of them is faster as a loop.
const FEW: usize = 8;
/// The largest number in a program without larger arrays, where numbers take less time in all.
const MANY: usize = 128;
/// The largest number of elements of all arrays of such a program together.
const ALL: usize = 1 << 14;

/// How the elements of an array come about.
pub(super) enum Recipe {
    /// Each is a row of the table, on elements of the operands.
    Row,
    /// Each is an element of an operand, or 0.
    Moves(Vec<Option<(usize, usize)>>),
    /// Element `k` of the operand is added to this one.
    Sum(Vec<usize>),
}

/// Returns the largest number of elements of an array that becomes single numbers.
///
/// Programs of small arrays that are selected, joined and summed again and again take less time as numbers. The estimates
/// are in nanoseconds.
pub(super) fn limit<T: Scalar>(graph: &Graph<T>, located: &[Located]) -> usize {
    let (mut all, mut as_numbers, mut as_arrays) = (0, 0.0, 0.0);
    for (value, found) in graph.values.iter().enumerate() {
        let Origin::Computed { action, operands } = &found.origin else { continue };
        if located[value].root != value {
            continue;
        }
        let read = operands.iter().map(|&x| elements(&graph.values[x].shape)).max().unwrap_or(0);
        let count = elements(&found.shape).max(read);
        all += count;
        if count > MANY || all > ALL {
            return FEW;
        }
        let (each, array) = match (tile_row(found), action) {
            (Some(row), _) if row.is_arithmetic() => (1.3, 20.0),
            (Some(_), _) => (10.0, 30.0 + 0.5 * count as f64),
            (None, Action::Op(Op::Linear(Linear::SumTo { .. } | Linear::IndexAdd { .. } | Linear::CumSum { .. })))
            | (None, Action::Op(Op::Reduce { kind: ReduceKind::Sum, .. })) => (1.0, 120.0),
            // Only names change.
            (None, Action::Op(Op::Linear(_))) => (0.1, 120.0),
            // Its operands and its result pass through memory.
            (None, _) => (3.0, 0.0),
        };
        as_numbers += each * count as f64;
        as_arrays += array;
    }
    if as_numbers < as_arrays { MANY } else { FEW }
}

/// Returns the recipe of a value of at most `limit` elements.
pub(super) fn recipe<T: Scalar>(graph: &Graph<T>, value: usize, limit: usize) -> Option<Recipe> {
    let found = &graph.values[value];
    let Origin::Computed { action, operands } = &found.origin else { return None };
    if !(1..=limit).contains(&elements(&found.shape)) {
        return None;
    }
    if tile_row(found).is_some() {
        return Some(Recipe::Row);
    }
    let read: usize = operands.iter().map(|&x| elements(&graph.values[x].shape)).sum();
    let Action::Op(op) = action else { return None };
    let of = |x: usize| &*graph.values[x].shape;
    let targets = match op {
        Op::Reduce { kind: ReduceKind::Sum, axes, .. } if read <= limit => {
            repeated(&graph.values[operands[0]].shape.reduced(*axes, KeepDims::Yes), of(operands[0]))
        }
        Op::Linear(Linear::SumTo { shape }) if read <= limit => repeated(shape, of(operands[0])),
        // Its adjoint reads each element from where the operation adds it.
        &Op::Linear(Linear::IndexAdd { axis, indices, .. }) if read <= limit => {
            let positions: Vec<T> = (0..elements(&found.shape)).map(|k| T::from_f64(k as f64)).collect();
            let view = View::contiguous(&positions, &found.shape);
            let read = run(graph, &Op::Linear(Linear::IndexSelect { axis, indices }), &[view], of(operands[0]));
            read.into_iter().map(|position| position.to_f64() as usize).collect()
        }
        Op::Linear(_) if read <= FEW * limit => return moves(graph, op, operands, &found.shape).map(Recipe::Moves),
        _ => return None,
    };
    adds_in_order(graph, op, of(operands[0]), &found.shape, &targets).then_some(Recipe::Sum(targets))
}

/// Returns for each element of `wide` the position of the element of `narrow` that is repeated there.
fn repeated(narrow: &[usize], wide: &[usize]) -> Vec<usize> {
    positions(wide, &View::<f64> { data: &[], shape: narrow, strides: None }.broadcast_strides(wide))
}

/// Runs an operation on arrays that are not those of a run.
fn run<T: Scalar>(graph: &Graph<T>, op: &Op<T>, operands: &[View<'_, T>], shape: &[usize]) -> Vec<T> {
    let mut out = vec![T::ZERO; elements(shape)];
    T::run(op, operands, shape, &mut out, &graph.data, &Pool::default());
    out
}

/// Returns an irregular number from 1 to below 2: a sum of two is no third, and neither is a mean.
fn irregular<T: Scalar>(k: usize) -> T {
    let golden = (5.0_f64.sqrt() - 1.0) / 2.0;
    T::from_f64(1.0 + ((k * k + k) as f64 * golden).fract() / 2.0)
}

/// Returns whether an operation adds the elements of its operand to those of its result one after the other. Numbers of
/// many sizes are added in that order; another order rounds otherwise.
fn adds_in_order<T: Scalar>(graph: &Graph<T>, op: &Op<T>, from: &[usize], to: &[usize], targets: &[usize]) -> bool {
    (0..3).all(|probe| {
        let size = |k: usize| T::from_f64((((k * 7 + probe * 5) % 11) as f64 - 5.0).exp2());
        let x: Vec<T> = (0..targets.len()).map(|k| irregular::<T>(k + probe * 31) * size(k)).collect();
        let mut sums = vec![T::ZERO; elements(to)];
        targets.iter().zip(&x).for_each(|(&target, &x)| sums[target] += x);
        run(graph, op, &[View::contiguous(&x, from)], to) == sums
    })
}

/// Returns the source of each element, if an operation only moves elements. It is found out by running the operation on
/// numbers that it cannot combine to one another.
fn moves<T: Scalar>(
    graph: &Graph<T>,
    op: &Op<T>,
    operands: &[usize],
    shape: &[usize],
) -> Option<Vec<Option<(usize, usize)>>> {
    let mut sources = HashMap::new();
    let mut data: Vec<Vec<T>> = Vec::new();
    for (position, &operand) in operands.iter().enumerate() {
        let first = sources.len();
        let numbers = (0..elements(&graph.values[operand].shape)).map(|element| {
            let number: T = irregular(first + element);
            sources.insert(number.to_f64().to_bits(), (position, element));
            number
        });
        data.push(numbers.collect());
    }
    // Two numbers that are the same would be taken for one another.
    if sources.len() != data.iter().map(Vec::len).sum::<usize>() {
        return None;
    }
    let views: Vec<View<'_, T>> = operands
        .iter()
        .zip(&data)
        .map(|(&operand, data)| View { data, shape: &graph.values[operand].shape, strides: None })
        .collect();
    let source = |&y: &T| if y == T::ZERO { Some(None) } else { sources.get(&y.to_f64().to_bits()).map(|&x| Some(x)) };
    run(graph, op, &views, shape).iter().map(source).collect()
}

/// Returns the positions in memory of the elements of an array, in row-major order.
fn positions(shape: &[usize], strides: &[usize]) -> Vec<usize> {
    let mut positions = vec![0];
    for (&length, &stride) in shape.iter().zip(strides) {
        positions = positions.iter().flat_map(|start| (0..length).map(move |k| start + k * stride)).collect();
    }
    positions
}

/// Makes a unit of values that are computed together.
pub(super) fn unit<T: Scalar>(
    graph: &Graph<T>,
    located: &[Located],
    values: &[usize],
    recipes: &HashMap<usize, Recipe>,
    kept: &[bool],
) -> Unit<T> {
    let builder = StraightBuilder::new();
    let mut numbers: HashMap<usize, Vec<u32>> = HashMap::new();
    for &value in values {
        let shape = &graph.values[value].shape;
        // The numbers of an operand, broadcast to a shape.
        let operand = |x: usize, shape: &[usize]| -> Vec<u32> {
            let Located { root, offset, strides } = &located[x];
            let view = View::<T> { data: &[], shape: &graph.values[x].shape, strides: strides.as_deref() };
            let read = |position: usize| match (&graph.values[*root].origin, numbers.get(root)) {
                (_, Some(numbers)) => numbers[offset + position],
                (Origin::Constant(constant), None) => builder.constant(constant.data[offset + position]),
                _ => builder.load(*root, offset + position),
            };
            positions(shape, &view.broadcast_strides(shape)).into_iter().map(read).collect()
        };
        let whole = |x: usize| operand(x, &graph.values[x].shape);
        let operands = operands(&graph.values[value]);
        let made: Vec<u32> = match (&recipes[&value], tile_row(&graph.values[value])) {
            (Recipe::Moves(sources), _) => {
                let operands: Vec<Vec<u32>> = operands.iter().map(|&x| whole(x)).collect();
                let number = |source: &Option<(usize, usize)>| match *source {
                    Some((operand, element)) => operands[operand][element],
                    None => builder.constant(T::ZERO),
                };
                sources.iter().map(number).collect()
            }
            (Recipe::Sum(targets), _) => {
                let mut terms: Vec<Vec<u32>> = vec![Vec::new(); elements(shape)];
                for (number, &target) in whole(operands[0]).into_iter().zip(targets) {
                    terms[target].push(number);
                }
                terms.iter().map(|terms| builder.sum(terms)).collect()
            }
            (Recipe::Row, row) => {
                let row = row.expect("the recipe of a row is for a row");
                let operands: Vec<Vec<u32>> = operands.iter().map(|&x| operand(x, shape)).collect();
                (0..elements(shape))
                    .map(|k| builder.row(row.clone(), &operands.iter().map(|x| x[k]).collect::<Vec<_>>()))
                    .collect()
            }
        };
        numbers.insert(value, made);
    }
    let made: Vec<usize> = values.iter().copied().filter(|&value| kept[value]).collect();
    let arrays: Vec<&[u32]> = made.iter().map(|value| &*numbers[value]).collect();
    Unit::Straight { program: builder.finish(&arrays), made }
}
