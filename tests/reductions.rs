//! Reductions over any axes are the index loop's, and long sums in `f32` are right to the last digits.

use ndarray::{Array2, Array3, ArrayD, Axis, IxDyn};
use tapegrad::nn::{Linear, Module};
use tapegrad::{KeepDims, Param, Tape};

#[test]
fn sums_and_maxima_over_any_axes_are_those_of_the_index_loop() {
    let tape = Tape::<f64>::new();
    for shape in [&[2, 3, 2, 3, 2][..], &[3, 1, 40, 2], &[70, 2, 3], &[150, 33, 3], &[3, 70, 35], &[2, 0, 3], &[5]] {
        // Whole numbers: sums are exact in any order.
        let mut next = 0u32;
        let x = ArrayD::from_shape_simple_fn(shape, || {
            next = next.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(next >> 20) - 2000.0
        });
        let v = tape.leaf(&x);
        for set in 0..1u32 << shape.len() {
            let axes: Vec<isize> =
                (0..shape.len()).filter(|axis| set >> axis & 1 == 1).map(|axis| axis as isize).collect();
            let (mut sum, mut max) = (x.clone(), x.clone());
            for &axis in &axes {
                sum = sum.sum_axis(Axis(axis as usize)).insert_axis(Axis(axis as usize));
                max = max
                    .fold_axis(Axis(axis as usize), f64::NEG_INFINITY, |a, &b| a.max(b))
                    .insert_axis(Axis(axis as usize));
            }
            assert_eq!(v.sum_axes(&axes, KeepDims::Yes).value(), sum, "{shape:?} {axes:?}");
            if !x.is_empty() {
                assert_eq!(v.max_axes(&axes, KeepDims::Yes).value(), max, "{shape:?} {axes:?}");
            }
        }
    }
}

/// Equal to six digits.
fn close(found: f32, expected: f64) -> bool {
    (f64::from(found) / expected - 1.0).abs() < 1e-6
}

#[test]
fn long_sums_over_alternating_axes_are_right() {
    let tape = Tape::<f32>::new();
    for (shape, axes) in [
        (&[400_000, 2, 2][..], &[0isize, 2][..]),
        (&[2, 400_000, 2, 2], &[1, 3]),
        (&[600, 2, 600, 2], &[0, 2]),
        (&[2, 600, 2, 600], &[1, 3]),
        (&[400_000, 40, 1], &[0]),
    ] {
        let x = tape.leaf(ArrayD::from_elem(IxDyn(shape), 0.1f32));
        let count: usize = axes.iter().map(|&axis| shape[axis as usize]).product();
        let expected = f64::from(0.1f32) * count as f64;
        for &sum in x.sum_axes(axes, KeepDims::No).value() {
            assert!(close(sum, expected), "{shape:?} {axes:?}: {sum}, expected {expected}");
        }
    }
}

#[test]
fn softmax_along_any_axis_is_right_however_long() {
    let tape = Tape::<f32>::new();
    for shape in [[1, 400_000, 2], [2, 400_000, 1], [2, 1000, 70], [3, 2, 600]] {
        let x = Array3::from_shape_fn(shape, |(_, j, k)| if j == 0 { 1.0 } else { -0.25 * (k % 3) as f32 });
        let v = tape.leaf(&x);
        let (softmax, log_softmax) = (v.softmax(1).value(), v.log_softmax(1).value());
        for (k, column) in x.lanes(Axis(1)).into_iter().enumerate() {
            let sum: f64 = column.iter().map(|&x| f64::from(x).exp()).sum();
            let at = (k / shape[2], k % shape[2]);
            for j in [0, 1, shape[1] - 1] {
                let (y, log_y) = (softmax[[at.0, j, at.1]], log_softmax[[at.0, j, at.1]]);
                let expected = f64::from(column[j]).exp() / sum;
                assert!(close(y, expected), "{shape:?}: {y}, expected {expected}");
                assert!(close(log_y, expected.ln()), "{shape:?}: {log_y}, expected {}", expected.ln());
            }
        }
    }
}

#[test]
fn the_gradient_of_a_bias_is_right_for_a_large_batch() {
    let bias = Param::new(ndarray::Array1::<f32>::zeros(2));
    let mut layer = Linear::from_params(Param::new(Array2::zeros((1, 2))), Some(bias.clone()));
    let (x, delta) = (Array2::zeros((400_000, 1)), Array2::from_elem((400_000, 2), 0.1));
    layer.forward(&x);
    layer.backward_update_gradient(&x, &delta);
    for &db in bias.grad().expect("reached").iter() {
        assert!(close(db, f64::from(0.1f32) * 4e5), "{db}");
    }
}

#[test]
fn a_running_sum_does_not_drift_from_the_sum() {
    let tape = Tape::<f32>::new();
    let shapes: [&[usize]; 3] = [&[2_000_000], &[1, 1_000_000, 2], &[500_000, 3]];
    for (shape, axis) in shapes.into_iter().zip([0, 1, 0]) {
        let x = tape.leaf(ArrayD::from_elem(IxDyn(shape), 0.1_f32));
        let y = x.cumsum(axis);
        let length = shape[axis as usize];
        let last = y.slice(axis, length - 1..);
        for &last in last.value() {
            assert!(close(last, f64::from(0.1_f32) * length as f64), "{shape:?}: {last}");
        }
        // The gradient runs from the other end.
        y.backward_with(ArrayD::from_elem(IxDyn(shape), 0.1_f32));
        let first = x.grad().expect("reached").first().copied().expect("an element");
        assert!(close(first, f64::from(0.1_f32) * length as f64), "{shape:?}: {first}");
    }
}

#[test]
fn a_product_of_large_and_small_numbers_has_the_gradient_of_ieee() {
    let tape = Tape::<f32>::new();
    for x in [
        vec![1e20_f32, 1e-20, 1e20, 1e-20],
        vec![1e-20, 1e20, 1e20, 1e-20, 3.0],
        vec![1e20, 1e-20, 1e20, 1e-20, 1e-20, 1e20, 1.0],
    ] {
        let leaf = tape.leaf(ndarray::Array1::from(x.clone()));
        leaf.prod().backward();
        for (k, &found) in leaf.grad().expect("reached").iter().enumerate() {
            let others = x.iter().enumerate().filter(|&(j, _)| j != k).map(|(_, &x)| f64::from(x));
            assert!(close(found, others.product()), "{x:?}: {found:e} at {k}");
        }
    }
}

/// `argmax` and `argmin` beside a loop over the elements, with equal elements, NaN, short and long axes.
#[test]
fn positions_of_extremes_are_those_of_the_index_loop() {
    let number = |seed: usize| match seed * 7919 % 1009 {
        k if k % 97 == 5 => f32::NAN,
        k => ((k % 13) as f32 - 6.0) * if k % 2 == 0 { 1.0 } else { -1.0 },
    };
    for (outer, length, inner) in [(3, 5, 1), (2, 200, 1), (2, 75, 1), (1, 7, 300), (3, 2, 130), (2, 1, 3), (4, 9, 2)] {
        for without_nan in [false, true] {
            let x = ArrayD::from_shape_fn(IxDyn(&[outer, length, inner]), |at| {
                let x = number((at[0] * length + at[1]) * inner + at[2] + length);
                if without_nan && x.is_nan() { 3.0 } else { x }
            });
            let tape = Tape::new();
            let found = [tape.leaf(&x).argmax(1), tape.leaf(&x).argmin(-2)];
            for o in 0..outer {
                for i in 0..inner {
                    let row: Vec<f32> = (0..length).map(|k| x[[o, k, i]]).collect();
                    let nan = row.iter().position(|x| x.is_nan());
                    let first = |best: f32| row.iter().position(|&x| x == best);
                    let largest = nan.or_else(|| first(row.iter().copied().fold(f32::NEG_INFINITY, f32::max)));
                    let smallest = nan.or_else(|| first(row.iter().copied().fold(f32::INFINITY, f32::min)));
                    let at = [Some(found[0][[o, i]]), Some(found[1][[o, i]])];
                    assert_eq!(at, [largest, smallest], "({outer}, {length}, {inner}) at {o}, {i}");
                }
            }
        }
    }
}

/// An empty batch is normalized to an empty one, in every layout of its groups.
#[test]
fn nothing_is_normalized_to_nothing() {
    for (shape, axes) in
        [(vec![0, 5], vec![1]), (vec![5, 0], vec![1]), (vec![0, 3, 4], vec![1, 2]), (vec![0, 3], vec![0])]
    {
        let tape = Tape::<f64>::new();
        let x = tape.leaf(ArrayD::zeros(IxDyn(&shape)));
        let y = x.standardize(axes, 1e-5);
        y.sum().backward();
        assert_eq!((y.shape().to_vec(), x.grad().map(|grad| grad.shape().to_vec())), (shape.clone(), Some(shape)));
    }
}

/// A row of one element is normalized as a column of one element is: -0 is its own mean.
#[test]
fn a_single_negative_zero_is_normalized_alike_in_rows_and_columns() {
    let tape = Tape::<f64>::new();
    let x = tape.leaf(ArrayD::from_elem(IxDyn(&[3, 1]), -0.0));
    let rows = x.standardize([1], 1e-5).value().mapv(f64::to_bits);
    let columns = x.transpose().standardize([0], 1e-5).value().mapv(f64::to_bits);
    assert_eq!(rows.iter().collect::<Vec<_>>(), columns.iter().collect::<Vec<_>>());
}
