//! Broadcasting against a slow index-by-index oracle, over all pairs of shapes up to rank 4 with axes of length 0 to 3.

use ndarray::{ArrayD, IxDyn};
use tapegrad::op::Binary;
use tapegrad::shape::broadcast;
use tapegrad::{Tape, Var};

const LENGTHS: [usize; 4] = [0, 1, 2, 3];

/// All shapes of this rank.
fn shapes(rank: u32) -> impl Iterator<Item = Vec<usize>> {
    (0..4usize.pow(rank)).map(move |number| (0..rank).map(|axis| LENGTHS[number / 4usize.pow(axis) % 4]).collect())
}

/// The shape that NumPy's rule gives, worked out axis by axis from the right.
fn oracle_shape(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let length = |shape: &[usize], from_right: usize| {
        if from_right < shape.len() { shape[shape.len() - 1 - from_right] } else { 1 }
    };
    let mut result = Vec::new();
    for from_right in (0..rank).rev() {
        let (m, n) = (length(a, from_right), length(b, from_right));
        if m != n && m != 1 && n != 1 {
            return None;
        }
        result.push(if m == 1 { n } else { m });
    }
    Some(result)
}

/// The element of `x` that stands at `index` of the broadcast result.
fn position(index: &[usize], shape: &[usize]) -> Vec<usize> {
    let missing = index.len() - shape.len();
    shape.iter().zip(&index[missing..]).map(|(&length, &i)| if length == 1 { 0 } else { i }).collect()
}

fn indices(shape: &[usize]) -> impl Iterator<Item = Vec<usize>> + '_ {
    (0..shape.iter().product()).map(move |mut number| {
        let mut index = vec![0; shape.len()];
        for axis in (0..shape.len()).rev() {
            index[axis] = number % shape[axis];
            number /= shape[axis];
        }
        index
    })
}

fn numbers(shape: &[usize], seed: usize) -> ArrayD<f64> {
    let mut i = seed;
    ArrayD::from_shape_simple_fn(IxDyn(shape), || {
        i += 1;
        // Eighths: sums of them are exact in any order.
        ((i * 7919) % 61) as f64 / 8.0 + 0.125
    })
}

/// The value, and both derivatives by the schoolbook.
fn oracle(op: Binary, a: f64, b: f64) -> (f64, f64, f64) {
    match op {
        Binary::Add => (a + b, 1.0, 1.0),
        Binary::Sub => (a - b, 1.0, -1.0),
        Binary::Mul => (a * b, b, a),
        Binary::Div => (a / b, 1.0 / b, -a / (b * b)),
        Binary::Maximum if a == b => (a, 0.5, 0.5),
        Binary::Maximum => (a.max(b), f64::from(a > b), f64::from(b > a)),
        _ => unreachable!("not tested here"),
    }
}

const OPS: [Binary; 5] = [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div, Binary::Maximum];

/// Checks one operation on operands that are read as `seen` hands them on.
fn check(op: Binary, a: &ArrayD<f64>, b: &ArrayD<f64>, seen: impl for<'t> Fn(Var<'t, f64>) -> Var<'t, f64>) {
    let tape = Tape::new();
    let (a_leaf, b_leaf) = (tape.leaf(a), tape.leaf(b));
    let (a_seen, b_seen) = (seen(a_leaf), seen(b_leaf));
    let (a, b) = (a_seen.value().to_owned(), b_seen.value().to_owned());
    let shape = oracle_shape(a.shape(), b.shape()).expect("only pairs that broadcast");
    let y = a_seen.binary(op, b_seen);
    assert_eq!(*y.shape(), *shape);
    let seed = numbers(&shape, 5);
    y.backward_with(&seed);

    let result = y.value();
    let (mut da, mut db) = (ArrayD::zeros(a.raw_dim()), ArrayD::zeros(b.raw_dim()));
    for index in indices(&shape) {
        let (at_a, at_b) = (position(&index, a.shape()), position(&index, b.shape()));
        let (value, by_a, by_b) = oracle(op, a[&at_a[..]], b[&at_b[..]]);
        assert_eq!(result[&index[..]], value, "{op:?} {:?} {:?} at {index:?}", a.shape(), b.shape());
        da[&at_a[..]] += seed[&index[..]] * by_a;
        db[&at_b[..]] += seed[&index[..]] * by_b;
    }
    let found = [a_leaf, b_leaf].map(|leaf| leaf.grad().expect("reached").to_owned());
    for ((leaf, seen, expected), found) in [(a_leaf, a_seen, da), (b_leaf, b_seen, db)].into_iter().zip(found) {
        // The oracle's gradient goes back by the same route as the operand came: no arithmetic, only moves.
        tape.zero_grad();
        seen.backward_with(&expected);
        let expected = leaf.grad().expect("reached");
        assert_eq!(found.shape(), expected.shape());
        for (found, expected) in found.iter().zip(expected) {
            let bound = 1e-13 * (1.0 + expected.abs());
            assert!((found - expected).abs() <= bound, "{op:?} {:?} {:?}: {found}, {expected}", a.shape(), b.shape());
        }
    }
}

/// Every pair that the oracle takes; the number of pairs.
fn pairs(mut f: impl FnMut(&[usize], &[usize])) -> usize {
    let mut count = 0;
    for (rank_a, rank_b) in (0..=4).flat_map(|a| (0..=4).map(move |b| (a, b))) {
        for a in shapes(rank_a) {
            for b in shapes(rank_b) {
                f(&a, &b);
                count += 1;
            }
        }
    }
    count
}

#[test]
fn the_shape_rule_is_numpys() {
    let count = pairs(|a, b| match (broadcast("add", a, b), oracle_shape(a, b)) {
        (Ok(found), Some(expected)) => assert_eq!(*found, *expected),
        (Err(error), None) => assert!(error.to_string().ends_with("do not broadcast"), "{error}"),
        (found, expected) => panic!("{a:?} {b:?}: {found:?}, expected {expected:?}"),
    });
    assert_eq!(count, (1 + 4 + 16 + 64 + 256) * (1 + 4 + 16 + 64 + 256));
}

#[test]
fn values_and_gradients_are_those_of_the_index_loop() {
    let mut turn = 0;
    pairs(|a, b| {
        if oracle_shape(a, b).is_none() {
            return;
        }
        // Ranks up to 2 with every operation, the many pairs above with one each in turn.
        let (a_numbers, b_numbers) = (numbers(a, 1), numbers(b, 2));
        if a.len() <= 2 && b.len() <= 2 {
            OPS.iter().for_each(|&op| check(op, &a_numbers, &b_numbers, |x| x));
        } else {
            turn += 1;
            check(OPS[turn % 5], &a_numbers, &b_numbers, |x| x);
        }
    });
    assert!(turn > 5000, "{turn} pairs");
}

#[test]
fn strided_operands_give_the_same() {
    let mut turn = 0;
    pairs(|a, b| {
        if a.len() != b.len() || a.len() > 3 || a.is_empty() {
            return;
        }
        let reversed = |shape: &[usize]| shape.iter().rev().copied().collect::<Vec<_>>();
        if oracle_shape(&reversed(a), &reversed(b)).is_none() {
            return;
        }
        turn += 1;
        check(OPS[turn % 5], &numbers(a, 1), &numbers(b, 2), |x| x.transpose());
        // Every second row of twice as many.
        let doubled = |shape: &[usize]| [&[2 * shape[0]], &shape[1..]].concat();
        let sliced = |shape: &[usize]| numbers(&if shape[0] == 1 { shape.to_vec() } else { doubled(shape) }, 3);
        if oracle_shape(a, b).is_some() {
            check(OPS[turn % 5], &sliced(a), &sliced(b), |x| x.slice_step(0, .., 2));
        }
    });
    assert!(turn > 500, "{turn} pairs");
}

/// Long rows are read where they are, others are gathered, beside each other in one operation.
#[test]
fn long_and_short_rows_are_read_in_the_same_order() {
    for (a, b) in
        [([3, 300], [1, 300]), ([1, 600], [2, 1]), ([2, 128], [1, 128]), ([5, 127], [1, 127]), ([3, 1], [1, 700])]
    {
        let (a, b) = (numbers(&a, 1), numbers(&b, 2));
        for op in [Binary::Mul, Binary::Add] {
            check(op, &a, &b, |x| x);
            check(op, &b, &a, |x| x);
            check(op, &a, &b, |x| x.transpose().transpose());
            // Columns of a square, which are not neighbours in memory.
            check(op, &b, &a, |x| (x.transpose() * 1.0).transpose());
        }
    }
}
