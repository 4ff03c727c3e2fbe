//! Arrays of a few elements as numbers of a straight-line program.

use std::collections::HashMap;

use super::graph::{Action, Graph, Origin};
use super::plan::{Located, Unit, operands, tile_row};
use crate::kernel::view::View;
use crate::memory::Pool;
use crate::op::{Linear, Op, ReduceKind, StraightBuilder};
use crate::scalar::Scalar;
use crate::shape::{KeepDims, elements};

/// The largest number of elements of such an array. A row on more of them is faster as a loop.
const FEW: usize = 8;
/// The largest number of elements that such an array may choose from.
const CHOICE: usize = 64;

/// How the elements of an array come about.
pub(super) enum Recipe {
    /// Each is a row of the table, on elements of the operands.
    Row,
    /// Each is an element of an operand, or 0.
    Moves(Vec<Option<(usize, usize)>>),
    /// Element `k` of the operand is added to this one.
    Sum(Vec<usize>),
}

/// Returns the recipe of a value with few elements.
pub(super) fn recipe<T: Scalar>(graph: &Graph<T>, value: usize) -> Option<Recipe> {
    let found = &graph.values[value];
    let Origin::Computed { action, operands } = &found.origin else { return None };
    if !(1..=FEW).contains(&elements(&found.shape)) {
        return None;
    }
    if tile_row(found).is_some() {
        return Some(Recipe::Row);
    }
    let read: usize = operands.iter().map(|&x| elements(&graph.values[x].shape)).sum();
    let Action::Op(op) = action else { return None };
    let result = match op {
        Op::Reduce { kind: ReduceKind::Sum, axes, .. } => graph.values[operands[0]].shape.reduced(*axes, KeepDims::Yes),
        Op::Linear(Linear::SumTo { shape }) => shape.clone(),
        Op::Linear(_) if read <= CHOICE => return moves(graph, op, operands, &found.shape).map(Recipe::Moves),
        _ => return None,
    };
    let targets = View::<T> { data: &[], shape: &result, strides: None };
    let shape = &graph.values[operands[0]].shape;
    (read <= FEW).then(|| Recipe::Sum(positions(shape, &targets.broadcast_strides(shape))))
}

/// Returns the source of each element, if an operation only moves elements. It is found out by running the operation on
/// numbers that it cannot combine to one another.
fn moves<T: Scalar>(
    graph: &Graph<T>,
    op: &Op<T>,
    operands: &[usize],
    shape: &[usize],
) -> Option<Vec<Option<(usize, usize)>>> {
    // From 1 to below 2, and irregular: a sum of two is no third, and neither is a mean.
    let golden = (5.0_f64.sqrt() - 1.0) / 2.0;
    let number = |k: usize| T::from_f64(1.0 + ((k * k + k) as f64 * golden).fract() / 2.0);
    let mut sources = Vec::new();
    let mut data: Vec<Vec<T>> = Vec::new();
    for (position, &operand) in operands.iter().enumerate() {
        let first = sources.len();
        sources.extend((0..elements(&graph.values[operand].shape)).map(|element| (position, element)));
        data.push((first..sources.len()).map(number).collect());
    }
    let views: Vec<View<'_, T>> = operands
        .iter()
        .zip(&data)
        .map(|(&operand, data)| View { data, shape: &graph.values[operand].shape, strides: None })
        .collect();
    let mut out = vec![T::ZERO; elements(shape)];
    T::run(op, &views, shape, &mut out, &graph.data, &Pool::default());
    let source = |&y: &T| {
        if y == T::ZERO {
            return Some(None);
        }
        (0..sources.len()).find(|&k| number(k) == y).map(|k| Some(sources[k]))
    };
    out.iter().map(source).collect()
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
