//! Operations that move elements about: against ndarray and index loops, at empty and single axes, and without copies.

use ndarray::{ArrayD, ArrayViewD, Axis, Ix2, IxDyn, Slice, array};
use tapegrad::{AxisRange, Tape, Var};

const NAN: f64 = f64::NAN;
const INF: f64 = f64::INFINITY;

/// Counts up from 1.
fn counted(shape: &[usize]) -> ArrayD<f64> {
    let mut next = 0.0;
    ArrayD::from_shape_simple_fn(IxDyn(shape), || {
        next += 1.0;
        next
    })
}

/// Asserts that `x` is read where it lies: its value begins in the memory of `original`, and so do those of a copy of none.
fn assert_view(x: Var<'_, f64>, original: Var<'_, f64>) {
    let memory = original.value();
    let memory = memory.as_slice().expect("a leaf is row-major").as_ptr_range();
    assert!(memory.contains(&x.value().as_ptr()), "{x:?} is a copy");
}

#[test]
fn views_copy_nothing() {
    let tape = Tape::new();
    let x = tape.leaf(counted(&[4, 1, 6]));
    for y in [
        x.squeeze(1),
        x.expand_dims(0),
        x.transpose().squeeze(1),
        x.transpose().expand_dims(2),
        x.swapaxes(0, 2),
        x.slice_axes([AxisRange::new(1, None, 2), AxisRange::from(..), AxisRange::from(..-1)]),
        x.squeeze(1).diag(),
        x.squeeze(1).transpose().diag(),
        x.reshape([2, 2, 6]).transpose().reshape([6, 2, 1, 2]),
        x.slice_step(2, .., 2).reshape([2, 2, 3]),
        x.slice_step(0, .., 2).reshape([2, 2, 3]),
        x.broadcast_to([4, 5, 6]).reshape([2, 2, 5, 3, 2]),
    ] {
        assert_view(y, x);
    }
}

#[test]
fn a_reshape_of_any_layout_gives_the_elements_in_row_major_order() {
    let tape = Tape::new();
    let x = tape.leaf(counted(&[4, 6]));
    let layouts = [
        x,
        x.transpose(),
        x.slice_step(0, .., 2),
        x.slice_step(1, .., 2),
        x.slice(0, 1..3),
        x.reshape([2, 2, 3, 2]).permute([0, 2, 1, 3]),
        x.expand_dims(1).broadcast_to([4, 3, 6]),
        x.slice(0, 2..2),
        x.slice(1, 5..).slice(0, 3..),
    ];
    for layout in layouts {
        let value = layout.value().to_owned();
        let count = value.len();
        let mut shapes = vec![vec![count], vec![1, count, 1], vec![count, 1]];
        for divisor in [2, 3, 4, 6] {
            if count > 0 && count % divisor == 0 {
                shapes.push(vec![divisor, count / divisor]);
                shapes.push(vec![count / divisor, 1, divisor]);
            }
        }
        for shape in shapes {
            let y = layout.reshape(shape.clone());
            let expected: Vec<f64> = value.iter().copied().collect();
            assert_eq!(y.value().iter().copied().collect::<Vec<_>>(), expected, "{:?} to {shape:?}", layout.shape());
            assert_eq!(*y.shape(), *shape);
        }
    }
}

#[test]
fn ranges_are_those_of_numpy() {
    // start, stop, step, and what NumPy 2.4 gives for arange(5)[start:stop:step]
    type Case = (Option<isize>, Option<isize>, isize, &'static [f64]);
    let cases: [Case; 20] = [
        (None, None, 1, &[0.0, 1.0, 2.0, 3.0, 4.0]),
        (None, None, 2, &[0.0, 2.0, 4.0]),
        (None, None, -1, &[4.0, 3.0, 2.0, 1.0, 0.0]),
        (None, None, -2, &[4.0, 2.0, 0.0]),
        (None, None, -3, &[4.0, 1.0]),
        (Some(1), Some(4), 2, &[1.0, 3.0]),
        (Some(-2), None, 1, &[3.0, 4.0]),
        (None, Some(-2), 1, &[0.0, 1.0, 2.0]),
        (Some(-100), Some(100), 3, &[0.0, 3.0]),
        (Some(100), Some(-100), -3, &[4.0, 1.0]),
        (Some(3), Some(0), -1, &[3.0, 2.0, 1.0]),
        (Some(3), None, -2, &[3.0, 1.0]),
        (None, Some(2), -1, &[4.0, 3.0]),
        (Some(-1), Some(-4), -2, &[4.0, 2.0]),
        (Some(3), Some(3), 1, &[]),
        (Some(4), Some(1), 1, &[]),
        (Some(1), Some(4), -1, &[]),
        (Some(7), Some(9), 1, &[]),
        (Some(0), Some(-1), -1, &[]),
        (Some(2), Some(isize::MAX), isize::MAX, &[2.0]),
    ];
    let tape = Tape::new();
    let x = tape.leaf(array![0.0, 1.0, 2.0, 3.0, 4.0]);
    for (start, stop, step, expected) in cases {
        let y = x.slice_axes([AxisRange::new(start, stop, step)]);
        assert_eq!(y.value().iter().copied().collect::<Vec<_>>(), expected, "{start:?}:{stop:?}:{step}");
    }
    assert_eq!(x.slice_axes([AxisRange::new(None, None, isize::MIN)]).value(), array![4.0].into_dyn());
    let nothing = tape.leaf(ArrayD::<f64>::zeros(IxDyn(&[0, 1])));
    assert_eq!(nothing.slice_axes([AxisRange::new(None, None, -1)]).shape().to_string(), "(0, 1)");
    let matrix = tape.leaf(counted(&[3, 4]));
    let y = matrix.slice_axes([AxisRange::new(2, None, -2), AxisRange::new(0, 4, 3)]);
    assert_eq!(y.value(), array![[9.0, 12.0], [1.0, 4.0]].into_dyn());
    y.sum().backward();
    let expected: ndarray::Array2<f64> = array![[1.0, 0.0, 0.0, 1.0], [0.0; 4], [1.0, 0.0, 0.0, 1.0]];
    assert_eq!(matrix.grad().unwrap(), expected.into_dyn());
    assert_eq!(matrix.slice_axes([]).value(), matrix.value());
}

#[test]
fn flip_agrees_with_ndarray_in_every_layout() {
    let tape = Tape::new();
    let x = tape.leaf(counted(&[3, 1, 4, 2]));
    for layout in [x, x.transpose(), x.slice_step(2, .., 2), x.slice(2, 0..0)] {
        for set in 0..16_usize {
            let axes: Vec<isize> = (0..4).filter(|axis| set >> axis & 1 == 1).collect();
            let mut expected: ArrayViewD<f64> = layout.value();
            for &axis in &axes {
                expected.slice_axis_inplace(Axis(axis as usize), Slice::new(0, None, -1));
            }
            assert_eq!(layout.flip(&axes).value(), expected, "{axes:?}");
        }
    }
    assert_eq!(tape.leaf(5.0).flip([]).item(), 5.0);
}

#[test]
fn padding_and_tiling_of_nothing_give_constants_and_nothing() {
    let tape = Tape::new();
    let nothing = tape.leaf(ArrayD::<f64>::zeros(IxDyn(&[0, 2])));
    let padded = nothing.pad([(1, 1), (0, 1)], 7.0);
    assert_eq!(padded.value(), array![[7.0, 7.0, 7.0], [7.0, 7.0, 7.0]].into_dyn());
    padded.sum().backward();
    assert_eq!(nothing.grad().unwrap().shape(), [0, 2]);
    let x = tape.leaf(array![1.0, 2.0]);
    assert_eq!(x.pad([(0, 0)], 7.0).value(), x.value());
    let none = x.tile([0]);
    assert_eq!(none.shape().to_string(), "(0,)");
    none.sum().backward();
    assert_eq!(x.grad().unwrap(), array![0.0, 0.0].into_dyn());
    assert_eq!(tape.leaf(3.0).tile([2, 2]).value(), array![[3.0, 3.0], [3.0, 3.0]].into_dyn());
    assert_eq!(x.tile([]).value(), x.value());
    let matrix = tape.leaf(array![[1.0, 2.0], [3.0, 4.0]]);
    let expected = array![[1.0, 2.0, 1.0, 2.0], [3.0, 4.0, 3.0, 4.0]];
    assert_eq!(matrix.tile([2]).value(), expected.into_dyn());
    // A pad of infinity touches no gradient.
    matrix.pad([(1, 0), (0, 1)], INF).tril(-9).sum().backward();
    assert_eq!(matrix.grad().unwrap(), array![[0.0, 0.0], [0.0, 0.0]].into_dyn());
}

#[test]
fn triangles_agree_with_an_index_loop() {
    let tape = Tape::new();
    for shape in [[3, 4], [4, 3], [1, 1], [0, 2], [2, 0]] {
        let x = tape.leaf(counted(&shape));
        for k in [-100, -4, -3, -2, -1, 0, 1, 2, 3, 4, 100, isize::MIN, isize::MAX] {
            let kept = |lower: bool| {
                let matrix = x.value().into_dimensionality::<Ix2>().expect("a matrix");
                let mut matrix = matrix.to_owned();
                for ((row, column), x) in matrix.indexed_iter_mut() {
                    let above = (column as isize - row as isize) as i128;
                    let keep = if lower { above <= k as i128 } else { above >= k as i128 };
                    *x = if keep { *x } else { 0.0 };
                }
                matrix.into_dyn()
            };
            assert_eq!(x.tril(k).value(), kept(true), "tril {k} of {shape:?}");
            assert_eq!(x.triu(k).value(), kept(false), "triu {k} of {shape:?}");
        }
    }
    let x = tape.leaf(array![[1.0, NAN], [2.0, INF]]);
    let y = x.tril(-1);
    assert_eq!(y.value(), array![[0.0, 0.0], [2.0, 0.0]].into_dyn());
    y.backward_with(array![[INF, NAN], [1.0, INF]]);
    assert_eq!(x.grad().unwrap(), array![[0.0, 0.0], [1.0, 0.0]].into_dyn());
}

#[test]
fn diagonals_of_every_form() {
    let tape = Tape::new();
    for shape in [[3, 3], [2, 4], [4, 2], [1, 5], [0, 3]] {
        let x = tape.leaf(counted(&shape));
        let matrix = x.value().into_dimensionality::<Ix2>().expect("a matrix").to_owned();
        assert_eq!(x.diag().value(), matrix.diag().into_dyn(), "{shape:?}");
        assert_eq!(x.transpose().diag().value(), matrix.diag().into_dyn(), "{shape:?}");
        x.diag().sum().backward();
        assert_eq!(x.grad().unwrap().sum(), shape[0].min(shape[1]) as f64);
    }
    let none = tape.leaf(ArrayD::<f64>::zeros(IxDyn(&[0])));
    assert_eq!(none.diag().shape().to_string(), "(0, 0)");
}

#[test]
fn what_select_does_not_take_leaves_no_trace() {
    let tape = Tape::new();
    let (a, b) = (tape.leaf(array![1.0, NAN, -0.0]), tape.leaf(array![INF, 2.0, 3.0]));
    let y = Var::select(&array![true, false, true], a, b);
    assert_eq!(y.value(), array![1.0, 2.0, -0.0].into_dyn());
    assert!(y.value()[2].is_sign_negative());
    y.backward_with(array![1.0, INF, NAN]);
    let (a, b) = (a.grad().unwrap(), b.grad().unwrap());
    assert!(a[0] == 1.0 && a[1] == 0.0 && a[2].is_nan(), "{a}");
    assert_eq!(b, array![0.0, INF, 0.0].into_dyn());
}

#[test]
fn select_broadcasts_mask_and_branches() {
    let tape = Tape::new();
    let (a, b) = (tape.leaf(array![[1.0], [2.0]]), tape.leaf(5.0));
    let y = Var::select(&array![true, false, true], a, b);
    assert_eq!(y.value(), array![[1.0, 5.0, 1.0], [2.0, 5.0, 2.0]].into_dyn());
    y.sum().backward();
    assert_eq!(a.grad().unwrap(), array![[2.0], [2.0]].into_dyn());
    assert_eq!(b.grad().unwrap().sum(), 2.0);
    // The mask may be the widest; all may be empty.
    let y = Var::select(&array![[true], [false]], tape.leaf(1.0), tape.leaf(2.0));
    assert_eq!(y.value(), array![[1.0], [2.0]].into_dyn());
    let none = tape.leaf(ArrayD::<f64>::zeros(IxDyn(&[0, 1])));
    assert_eq!(Var::select(&array![true, false], none, b).shape().to_string(), "(0, 2)");
}

#[test]
fn gather_and_scatter_add_agree_with_an_index_loop() {
    let tape = Tape::new();
    let x = tape.leaf(counted(&[3, 4, 2]));
    let indices = ndarray::Array3::from_shape_fn((2, 5, 2), |(i, j, k)| (i + 3 * j + k) % 4);
    let y = x.gather(1, &indices);
    let expected = ndarray::Array3::from_shape_fn((2, 5, 2), |(i, j, k)| x.value()[[i, indices[[i, j, k]], k]]);
    assert_eq!(y.value(), expected.into_dyn());
    let source = tape.leaf(counted(&[2, 5, 2]));
    let mut sums = x.value().to_owned();
    for ((i, j, k), &index) in indices.indexed_iter() {
        sums[[i, index, k]] += source.value()[[i, j, k]];
    }
    assert_eq!(x.scatter_add(1, &indices, source).value(), sums);
    // Views of indices, no indices, and an array of no element.
    assert_eq!(x.gather(1, &indices.slice(ndarray::s![.., ..;2, ..])).shape().to_string(), "(2, 3, 2)");
    assert_eq!(x.gather(0, &ndarray::Array3::zeros((0, 4, 2))).shape().to_string(), "(0, 4, 2)");
    let none = tape.leaf(ArrayD::<f64>::zeros(IxDyn(&[0, 2])));
    assert_eq!(none.gather(0, &ndarray::Array2::zeros((0, 2))).shape().to_string(), "(0, 2)");
}

#[test]
fn single_precision_moves_likewise() {
    let tape = Tape::<f32>::new();
    let x = tape.leaf(array![[1.0_f32, 2.0], [3.0, 4.0]]);
    let y = Var::stack(&[x.flip([0]), x.tril(0), x.diag().diag(), x.pad([(0, 0), (0, 0)], 1.0)], 0);
    assert_eq!(y.sum_axes([0], tapegrad::KeepDims::No).value(), array![[6.0_f32, 6.0], [7.0, 14.0]].into_dyn());
    y.sum().backward();
    assert_eq!(x.grad().unwrap(), array![[4.0_f32, 2.0], [3.0, 4.0]].into_dyn());
}

/// How much memory this takes is counted in `tests/allocations.rs`.
#[test]
fn a_few_elements_of_a_large_array_are_gathered_many_times() {
    let tape = Tape::<f32>::new();
    let x = tape.leaf(ndarray::Array2::<f32>::zeros((40_000, 100)));
    let chosen: Vec<_> = (0..20_000).map(|k| x.gather(0, &array![[k], [k], [k + 1]])).collect();
    // A row that something else uses, too.
    let row = x.reshape([4_000_000]);
    let of_row = row.index_select(0, &[0, 0, 399_999]);
    (Var::concat(&chosen, 0).sum() + of_row.sum() + row.sum()).backward();
    let grad = x.grad().expect("reached");
    assert_eq!((grad[[0, 0]], grad[[1, 0]], grad[[7, 1]]), (5.0, 4.0, 1.0));
    assert_eq!(grad.sum(), 4_000_000.0 + 3.0 + 60_000.0);
}

#[test]
fn parts_at_the_ends_and_of_empty_axes() {
    let tape = Tape::new();
    let x = tape.leaf(array![0.0, 1.0, 2.0, 3.0, 4.0]);
    let list = |y: tapegrad::Var<'_, f64>| y.value().iter().copied().collect::<Vec<_>>();
    assert_eq!(list(x.slice(0, ..=-2)), [0.0, 1.0, 2.0, 3.0]);
    assert_eq!(list(x.slice(0, -2..=-1)), [3.0, 4.0]);
    assert_eq!(list(x.slice(0, 2_usize..=3)), [2.0, 3.0]);
    assert_eq!(list(x.slice(0, AxisRange::new(-1, 1, -2))), [4.0, 2.0]);
    assert_eq!(list(x.slice(0, 5..)), [0.0; 0]);
    assert_eq!(list(x.slice_step(0, AxisRange::new(1, None, -1), 3)), [1.0, 4.0]);
    assert_eq!(list(x.roll(0, isize::MIN)), list(x.roll(0, isize::MIN.rem_euclid(5))));
    assert_eq!(list(x.roll(0, 5)), list(x));
    let lengths = |parts: Vec<tapegrad::Var<'_, f64>>| parts.iter().map(|part| part.len()).collect::<Vec<_>>();
    assert_eq!(lengths(x.chunk(0, 4)), [2, 2, 1]); // as torch.chunk
    assert_eq!(lengths(x.chunk(0, 9)), [1; 5]);
    assert_eq!(lengths(x.split(0, 9)), [5]);
    let nothing = tape.leaf(ArrayD::<f64>::zeros(IxDyn(&[0, 2])));
    assert_eq!(lengths(nothing.chunk(0, 3)), [0]);
    assert_eq!(lengths(nothing.split(0, 3)), [0]);
    assert!(nothing.unbind(0).is_empty() && nothing.is_empty());
    assert_eq!(nothing.roll(0, 1).shape().to_string(), "(0, 2)");
    assert_eq!(nothing.reshape((2, ())).shape().to_string(), "(2, 0)");
    let matrix = tape.leaf(counted(&[2, 3]));
    assert_eq!(list(matrix.diagonal(2)), [3.0]);
    assert!(matrix.diagonal(3).is_empty() && matrix.diagonal(isize::MIN).is_empty());
    assert_eq!(matrix.take(1, &ndarray::arr0(2)).shape().to_string(), "(2,)");
}

/// Rows of every short length are selected, and their cotangents added, as by a loop. Some lengths have code of their own.
#[test]
fn short_rows_are_selected_and_added_as_by_a_loop() {
    let indices = [2, 0, 2, 4];
    for inner in 1..=17 {
        let tape = Tape::<f64>::new();
        let x = tape.leaf(ndarray::Array3::from_shape_fn((2, 5, inner), |(o, i, k)| (o * 100 + i * 20 + k) as f64));
        let y = x.index_select(1, &indices);
        let seed = ndarray::Array3::from_shape_fn((2, 4, inner), |(o, i, k)| (o * 90 + i * 19 + k + 1) as f64);
        y.backward_with(&seed);
        let mut gradient = ndarray::Array3::<f64>::zeros((2, 5, inner));
        for ((o, i, k), &g) in seed.indexed_iter() {
            assert_eq!(y.value()[[o, i, k]], x.value()[[o, indices[i], k]]);
            gradient[[o, indices[i], k]] += g;
        }
        assert_eq!(x.grad().expect("reached"), gradient.into_dyn(), "rows of {inner}");
    }
}
