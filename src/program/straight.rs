//! Arrays of a few elements as numbers of a straight-line program.

use smallvec::{SmallVec, smallvec};

use super::graph::{Action, Graph, Origin};
use super::unit::{Located, Unit, operands, tile_row};
use crate::hash::FastMap;
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
    Moves(Vec<Option<Source>>),
    /// Element `k` of the operand is added to this one. For each element, whether the sum begins with 0: then the sum of -0
    /// is 0.
    Sum { targets: Vec<usize>, from_zero: Vec<bool> },
}

/// Where an element comes from.
#[derive(Clone, Copy)]
pub(super) struct Source {
    operand: usize,
    element: usize,
    /// It is added to 0, which makes 0 of -0.
    added: bool,
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
            summed(&graph.values[operands[0]].shape.reduced(*axes, KeepDims::Yes), of(operands[0]))?
        }
        Op::Linear(Linear::SumTo { shape }) if read <= limit => summed(shape, of(operands[0]))?,
        // Its adjoint reads each element from where the operation adds it.
        &Op::Linear(Linear::IndexAdd { axis, indices, .. }) if read <= limit => {
            let positions: Vec<T> = (0..elements(&found.shape)).map(|k| T::from_f64(k as f64)).collect();
            let view = View::contiguous(&positions, &found.shape);
            let read = run(graph, &Op::Linear(Linear::IndexSelect { axis, indices }), &[view], of(operands[0]));
            read.into_iter().map(|position| position.to_f64() as usize).collect()
        }
        // Its constant may be equal to an element.
        Op::Linear(Linear::Pad { value, .. }) if value.to_f64().to_bits() != 0 => return None,
        Op::Linear(_) if read <= FEW * limit => return moves(graph, op, operands, &found.shape).map(Recipe::Moves),
        _ => return None,
    };
    let zeros = vec![-T::ZERO; read];
    let sums = run(graph, op, &[View::contiguous(&zeros, of(operands[0]))], &found.shape);
    let from_zero = sums.iter().map(|sum| sum.to_f64().is_sign_positive()).collect();
    adds_in_order(graph, op, of(operands[0]), &found.shape, &targets).then_some(Recipe::Sum { targets, from_zero })
}

/// The most elements that a reduction adds one after the other, whatever the shape.
const CHAIN: usize = 16;

/// Returns for each element of an array the position of the element of its sum, which is repeated there; `None` if its
/// elements may be added in another order than that of memory: if there are many, or axes that are kept lie between
/// others that are summed.
fn summed(sum: &[usize], shape: &[usize]) -> Option<Vec<usize>> {
    let missing = shape.len() - sum.len();
    let long = (0..shape.len()).filter(|&axis| shape[axis] != 1);
    let reduced: Vec<bool> = long.map(|axis| axis < missing || sum[axis - missing] != shape[axis]).collect();
    let runs = (0..reduced.len()).filter(|&k| reduced[k] && (k == 0 || !reduced[k - 1])).count();
    let each = elements(shape) / elements(sum).max(1);
    let positions =
        || positions(shape, &View::<f64> { data: &[], shape: sum, strides: None }.broadcast_strides(shape)).into_vec();
    (runs <= 1 && each <= CHAIN).then(positions)
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
    T::from_f64(1.0 + ((k * k + k + 1) as f64 * golden).fract() / 2.0)
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
/// numbers that it cannot combine to one another, and on zeros with a sign.
fn moves<T: Scalar>(graph: &Graph<T>, op: &Op<T>, operands: &[usize], shape: &[usize]) -> Option<Vec<Option<Source>>> {
    let mut sources = FastMap::default();
    let mut data: Vec<Vec<T>> = Vec::new();
    for (operand, &value) in operands.iter().enumerate() {
        let first = sources.len();
        let numbers = (0..elements(&graph.values[value].shape)).map(|element| {
            let number: T = irregular(first + element);
            sources.insert(number.to_f64().to_bits(), (operand, element));
            number
        });
        data.push(numbers.collect());
    }
    // Two numbers that are the same would be taken for one another.
    if sources.len() != data.iter().map(Vec::len).sum::<usize>() {
        return None;
    }
    let on = |data: &[Vec<T>]| {
        let views: Vec<View<'_, T>> = operands
            .iter()
            .zip(data)
            .map(|(&value, data)| View { data, shape: &graph.values[value].shape, strides: None })
            .collect();
        run(graph, op, &views, shape)
    };
    let (numbers, zeros) = (on(&data), on(&data.iter().map(|data| vec![-T::ZERO; data.len()]).collect::<Vec<_>>()));
    let source = |(number, zero): (&T, &T)| {
        let positive = zero.to_f64().to_bits() == 0;
        if *number == T::ZERO {
            return positive.then_some(None);
        }
        let &(operand, element) = sources.get(&number.to_f64().to_bits())?;
        (*zero == T::ZERO).then_some(Some(Source { operand, element, added: positive }))
    };
    numbers.iter().zip(&zeros).map(source).collect()
}

/// Returns the positions in memory of the elements of an array, in row-major order.
fn positions(shape: &[usize], strides: &[usize]) -> SmallVec<[usize; 8]> {
    let mut positions = smallvec![0];
    for (&length, &stride) in shape.iter().zip(strides) {
        positions = positions.iter().flat_map(|start| (0..length).map(move |k| start + k * stride)).collect();
    }
    positions
}

/// The numbers of an array with few elements.
type Few = SmallVec<[u32; 8]>;

/// Makes a unit of values that are computed together.
pub(super) fn unit<T: Scalar>(
    graph: &Graph<T>,
    located: &[Located],
    values: &[usize],
    recipes: &[Option<Recipe>],
    kept: &[bool],
) -> Unit<T> {
    let builder = StraightBuilder::new();
    // The numbers of all values, one after the other, and where those of each value begin.
    let mut numbers: Vec<u32> = Vec::new();
    let mut starts: FastMap<usize, usize> = FastMap::default();
    for &value in values {
        let shape = &graph.values[value].shape;
        // The numbers of an operand, broadcast to a shape.
        let operand = |x: usize, shape: &[usize]| -> Few {
            let Located { root, offset, strides } = &located[x];
            let view = View::<T> { data: &[], shape: &graph.values[x].shape, strides: strides.as_deref() };
            let start = starts.get(root);
            let read = |position: usize| match (&graph.values[*root].origin, start) {
                (_, Some(start)) => numbers[start + offset + position],
                (Origin::Constant(constant), None) => builder.constant(constant.data[offset + position]),
                _ => builder.load(*root, offset + position),
            };
            if elements(shape) == 1 {
                return smallvec![read(0)];
            }
            positions(shape, &view.broadcast_strides(shape)).into_iter().map(read).collect()
        };
        let whole = |x: usize| operand(x, &graph.values[x].shape);
        let operands = operands(&graph.values[value]);
        let recipe = recipes[value].as_ref().expect("each of these values has a recipe");
        let made: Few = match (recipe, tile_row(&graph.values[value])) {
            (Recipe::Moves(sources), _) => {
                let operands: SmallVec<[Few; 4]> = operands.iter().map(|&x| whole(x)).collect();
                let number = |source: &Option<Source>| match *source {
                    Some(Source { operand, element, added: true }) => {
                        builder.sum(builder.constant(T::ZERO), &[operands[operand][element]])
                    }
                    Some(Source { operand, element, added: false }) => operands[operand][element],
                    None => builder.constant(T::ZERO),
                };
                sources.iter().map(number).collect()
            }
            (Recipe::Sum { targets, from_zero }, _) => {
                let mut terms: Vec<Few> = vec![Few::new(); elements(shape)];
                for (number, &target) in whole(operands[0]).into_iter().zip(targets) {
                    terms[target].push(number);
                }
                let sum = |(terms, &from_zero): (&Few, &bool)| match terms.split_first() {
                    Some((&first, rest)) if !from_zero => builder.sum(first, rest),
                    _ => builder.sum(builder.constant(T::ZERO), terms),
                };
                terms.iter().zip(from_zero).map(sum).collect()
            }
            (Recipe::Row, row) => {
                let row = row.expect("the recipe of a row is for a row");
                let operands: SmallVec<[Few; 4]> = operands.iter().map(|&x| operand(x, shape)).collect();
                (0..elements(shape))
                    .map(|k| builder.row(row.clone(), &operands.iter().map(|x| x[k]).collect::<SmallVec<[u32; 4]>>()))
                    .collect()
            }
        };
        starts.insert(value, numbers.len());
        numbers.extend(made);
    }
    let made: Vec<usize> = values.iter().copied().filter(|&value| kept[value]).collect();
    let array = |value: &usize| &numbers[starts[value]..][..elements(&graph.values[*value].shape)];
    let arrays: Vec<&[u32]> = made.iter().map(array).collect();
    Unit::Straight { program: builder.finish(&arrays), made }
}
