//! Layer and batch normalization are one operation with one pullback. They have the bits of their formulas, written with other
//! operations.

use ndarray::{ArrayD, IxDyn, array};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tapegrad::{KeepDims, Program, Scalar, Tape, Var};

const EPS: f64 = 1e-3;

fn random<T: Scalar>(rng: &mut StdRng, shape: &[usize]) -> ArrayD<T> {
    ArrayD::from_shape_simple_fn(IxDyn(shape), || T::from_f64(rng.random_range(-1.0..1.0)))
}

/// Returns the bits; all NaNs are one.
fn bits<'a, T: Scalar>(x: impl IntoIterator<Item = &'a T>) -> Vec<u64> {
    x.into_iter().map(|x| if x.to_f64().is_nan() { u64::MAX } else { x.to_f64().to_bits() }).collect()
}

fn eps<T: Scalar>() -> T {
    T::from_f64(EPS)
}

/// Returns the normalized array times `w` plus `b`, and the gradients by the three for the cotangent `g`, by their formulas.
fn by_formula<'t, T: Scalar>([x, w, b, g]: [Var<'t, T>; 4], axes: &[isize]) -> [Var<'t, T>; 4] {
    let shape = x.shape();
    let count: usize = axes.iter().map(|&axis| shape[axis as usize]).product();
    let mean = |x: Var<'t, T>| x.sum_axes(axes, KeepDims::Yes) / T::from_f64(count as f64);
    let rough = x - mean(x);
    let difference = rough - mean(rough);
    let inverse = (mean(difference.square()) + eps::<T>()).sqrt().recip();
    let n = difference * inverse;
    let h = g * w;
    let dx = (h - mean(h) - n * mean(h * n)) * inverse;
    [n * w + b, dx, (g * n).sum_to(w.shape()), g.sum_to(b.shape())]
}

/// Compares a normalization with its formulas: recorded, swept on arrays, swept on `Var`s, and as a program.
fn check<T: Scalar>(x: &ArrayD<T>, strided: bool, axes: &[isize], channels: bool, rng: &mut StdRng) {
    let tape = Tape::<T>::new();
    let leaf = tape.leaf(if strided { x.t().as_standard_layout().into_owned() } else { x.clone() });
    let x = if strided { leaf.transpose() } else { leaf };
    let shape = x.shape();
    let numbers: Vec<usize> = if channels { vec![shape[1]] } else { shape[shape.len() - axes.len()..].to_vec() };
    let (w, b) = (tape.leaf(random(rng, &numbers)), tape.leaf(random(rng, &numbers)));
    let y = if channels { x.batch_norm(w, b, eps()) } else { x.layer_norm(w, b, eps()) };
    let g = random::<T>(rng, &shape);
    let inner = vec![1; if channels { shape.len() - 2 } else { 0 }];
    let [wide_w, wide_b] = [w, b].map(|numbers_of| numbers_of.reshape([&numbers[..], &inner].concat()));
    let expected = by_formula([x, wide_w, wide_b, tape.constant(&g)], axes).map(|value| bits(value.value()));
    let what = format!("{shape:?} over {axes:?}, strided: {strided}, {}", T::DTYPE);
    assert_eq!(bits(y.value()), expected[0], "{what}: the value");

    let plain = bits(x.standardize(axes, eps()).value());
    let (one, zero) = (tape.constant(T::ONE), tape.constant(-T::ZERO));
    assert_eq!(plain, bits(by_formula([x, one, zero, tape.constant(&g)], axes)[0].value()), "{what}: standardize");

    let recorded = y.vjp(tape.constant(&g), &[x, w, b]);
    y.backward_with(&g);
    let of_leaf = leaf.grad().expect("reached");
    let swept = if strided { of_leaf.t().into_owned() } else { of_leaf.to_owned() };
    let swept = [swept, w.grad().expect("reached").to_owned(), b.grad().expect("reached").to_owned()];
    for k in 0..3 {
        assert_eq!(bits(&swept[k]), expected[k + 1], "{what}: gradient {k}");
        assert_eq!(bits(recorded[k].value()), expected[k + 1], "{what}: recorded gradient {k}");
    }
    if shape.elements() == 0 || strided {
        return;
    }
    let mut program = Program::compile(&[x, w, b], &[y, recorded[0], recorded[1], recorded[2]]).expect("it compiles");
    let inputs = [x, w, b].map(|input| input.value().to_owned());
    let found = program.run(&[inputs[0].view(), inputs[1].view(), inputs[2].view()]).expect("it runs");
    for (k, expected) in expected.iter().enumerate() {
        assert_eq!(bits(found.value(k)), *expected, "{what}: output {k} of the program");
    }
    // Each alone, with constants in the place of the others.
    for alone in 0..3 {
        let tape = Tape::<T>::new();
        let [x, w, b] = [0, 1, 2].map(|k| if k == alone { tape.leaf(&inputs[k]) } else { tape.constant(&inputs[k]) });
        let y = if channels { x.batch_norm(w, b, eps()) } else { x.layer_norm(w, b, eps()) };
        y.backward_with(&g);
        let grads = [x, w, b].map(|input| input.grad().map(|grad| bits(grad)));
        for (k, grad) in grads.into_iter().enumerate() {
            assert_eq!(grad, (k == alone).then(|| expected[k + 1].clone()), "{what}: gradient {k} alone");
        }
    }
}

fn check_rows<T: Scalar>() {
    let mut rng = StdRng::seed_from_u64(1);
    // Rows: a single one, chains, whole groups and blocks of rows and parts of such. Widths: short, chains of lanes, one block
    // of them, and more.
    for rows in [1, 2, 8, 16, 17, 24, 33, 71] {
        for width in [1, 2, 3, 32, 33, 70] {
            check(&random::<T>(&mut rng, &[rows, width]), false, &[1], false, &mut rng);
        }
    }
    for width in [512, 543, 544, 545, 800, 1024, 1056, 1100, 2300] {
        check(&random::<T>(&mut rng, &[3, width]), false, &[1], false, &mut rng);
    }
    check(&random::<T>(&mut rng, &[40, 600]), false, &[1], false, &mut rng);
    check(&random::<T>(&mut rng, &[5, 4, 3]), false, &[1, 2], false, &mut rng);
    check(&random::<T>(&mut rng, &[5, 4, 3]), false, &[2], false, &mut rng);
    check(&random::<T>(&mut rng, &[7]), false, &[0], false, &mut rng);
    check(&random::<T>(&mut rng, &[2, 1, 3, 1]), false, &[1, 2, 3], false, &mut rng);
    check(&random::<T>(&mut rng, &[19, 5]), true, &[1], false, &mut rng);
    for shape in [[0, 3], [3, 0], [0, 0]] {
        check(&random::<T>(&mut rng, &shape), false, &[1], false, &mut rng);
    }
}

fn check_channels<T: Scalar>() {
    let mut rng = StdRng::seed_from_u64(2);
    for count in [1, 2, 16, 17, 24, 37] {
        for (channels, plane) in [(1, [2, 2]), (2, [1, 1]), (2, [1, 2]), (3, [5, 7]), (33, [2, 3])] {
            let shape = [count, channels, plane[0], plane[1]];
            check(&random::<T>(&mut rng, &shape), false, &[0, 2, 3], true, &mut rng);
        }
    }
    check(&random::<T>(&mut rng, &[3, 2, 25, 23]), false, &[0, 2, 3], true, &mut rng);
    check(&random::<T>(&mut rng, &[2, 2, 33, 40]), false, &[0, 2, 3], true, &mut rng);
    check(&random::<T>(&mut rng, &[9, 3, 4]), false, &[0, 2], true, &mut rng);
    check(&random::<T>(&mut rng, &[4, 3, 5]), true, &[0, 2], true, &mut rng);
    for (rows, columns) in [(1, 4), (40, 1), (40, 5), (20, 70)] {
        check(&random::<T>(&mut rng, &[rows, columns]), false, &[0], true, &mut rng);
    }
    for shape in [[0, 2, 3, 3], [2, 0, 3, 3], [2, 2, 0, 3]] {
        check(&random::<T>(&mut rng, &shape), false, &[0, 2, 3], true, &mut rng);
    }
}

#[test]
fn layer_norm_has_the_bits_of_its_formulas() {
    check_rows::<f32>();
    check_rows::<f64>();
}

#[test]
fn batch_norm_has_the_bits_of_its_formulas() {
    check_channels::<f32>();
    check_channels::<f64>();
}

/// The contributions to one node add up from the last operand to the first.
#[test]
fn one_node_may_be_several_operands() {
    let tape = Tape::new();
    let x = tape.leaf(array![1.0, -2.0, 4.0, 0.5]);
    let y = x.layer_norm(x, x, EPS);
    let z = x.expand_dims(0).layer_norm(x, x, EPS).squeeze(0);
    for y in [y, z] {
        tape.zero_grad();
        let g = array![0.3, -1.0, 2.0, 0.7];
        y.backward_with(&g);
        assert_eq!(bits(x.grad().expect("reached")), bits(y.vjp(tape.constant(&g), &[x])[0].value()));
    }
    let images = tape.leaf(ArrayD::from_shape_fn(IxDyn(&[2, 3, 2, 2]), |i| (i[0] * 5 + i[1] * 3 + i[2] * i[3]) as f64));
    let numbers = tape.leaf(array![1.0, 2.0, 3.0]);
    let y = images.batch_norm(numbers, numbers, EPS);
    y.sum().backward();
    // Σ g is the number of elements of a channel, and Σ g n is 0.
    assert!(numbers.grad().expect("reached").iter().all(|g| (g - 8.0).abs() < 1e-12));
}

/// Numbers whose squares overflow, and a large mean, in channels of images.
#[test]
fn far_channels_of_images_are_normalized() {
    let tape = Tape::<f32>::new();
    let near = |n: usize, i: usize| if (n + i).is_multiple_of(2) { -1.0_f32 } else { 1.0 };
    let far = ArrayD::from_shape_fn(IxDyn(&[4, 4, 3, 2]), |at| match at[1] {
        0 => near(at[0], at[2] + at[3]) * 3e30,
        1 => near(at[0], at[2] + at[3]) + 1e6,
        2 if at[0] == 1 && at[2] == 1 && at[3] == 1 => f32::INFINITY,
        2 => 1.0,
        _ => near(at[0], at[2] + at[3]),
    });
    let x = tape.leaf(far);
    let (one, zero) = (tape.leaf(ndarray::Array1::ones(4)), tape.leaf(ndarray::Array1::zeros(4)));
    let y = x.batch_norm(one, zero, 0.0);
    for (at, y) in y.value().indexed_iter() {
        if at[1] == 2 {
            assert!(y.is_nan(), "{at:?}: {y}"); // an infinity has no distance
        } else {
            assert!((y - near(at[0], at[2] + at[3])).abs() < 1e-6, "{at:?}: {y}");
        }
    }
    // The sum of normalized elements is always 0.
    y.slice(1, 0..2).sum().backward();
    assert!(x.grad().expect("reached").slice_axis(ndarray::Axis(1), (0..2).into()).iter().all(|g| g.abs() < 1e-5));
}
