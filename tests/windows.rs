//! Convolution, pooling and normalization: against index loops, at the edges, and without allocation of more than results.

use ndarray::{Array4, ArrayD, Ix4, IxDyn, array};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tapegrad::{KeepDims, Tape};

const NAN: f64 = f64::NAN;

fn random(rng: &mut StdRng, shape: &[usize]) -> ArrayD<f64> {
    ArrayD::from_shape_simple_fn(IxDyn(shape), || rng.random_range(-1.0..1.0))
}

fn close(a: &ArrayD<f64>, b: &ArrayD<f64>) -> bool {
    a.shape() == b.shape() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-12 * (1.0 + b.abs()))
}

/// The convolution by definition, and its gradients for the cotangent `g`.
fn by_definition(
    x: &Array4<f64>,
    w: &Array4<f64>,
    g: Option<&Array4<f64>>,
    stride: [usize; 2],
    padding: [usize; 2],
) -> (Array4<f64>, Array4<f64>, Array4<f64>) {
    let ((count, channels, height, width), (out, _, kh, kw)) = (x.dim(), w.dim());
    let down = (height + 2 * padding[0] - kh) / stride[0] + 1;
    let across = (width + 2 * padding[1] - kw) / stride[1] + 1;
    let mut y = Array4::zeros((count, out, down, across));
    let (mut dx, mut dw) = (Array4::zeros(x.dim()), Array4::zeros(w.dim()));
    for n in 0..count {
        for (o, row, column) in triples(out, down, across) {
            for (c, i, j) in triples(channels, kh, kw) {
                let from = [row * stride[0] + i, column * stride[1] + j];
                if from[0] < padding[0] || from[1] < padding[1] {
                    continue;
                }
                let (from, at) = ([n, c, from[0] - padding[0], from[1] - padding[1]], [n, o, row, column]);
                if from[2] < height && from[3] < width {
                    y[at] += x[from] * w[[o, c, i, j]];
                    if let Some(g) = g {
                        dx[from] += g[at] * w[[o, c, i, j]];
                        dw[[o, c, i, j]] += g[at] * x[from];
                    }
                }
            }
        }
    }
    (y, dx, dw)
}

fn triples(a: usize, b: usize, c: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..a * b * c).map(move |i| (i / (b * c), i / c % b, i % c))
}

#[test]
fn convolution_and_its_gradients_agree_with_the_definition() {
    let mut rng = StdRng::seed_from_u64(21);
    // images, weight, stride, padding
    type Case = ([usize; 4], [usize; 4], [usize; 2], [usize; 2]);
    let cases: [Case; 14] = [
        ([2, 3, 6, 5], [4, 3, 3, 3], [1, 1], [1, 1]),
        ([1, 1, 1, 1], [1, 1, 1, 1], [1, 1], [0, 0]),
        ([2, 3, 7, 8], [2, 3, 1, 1], [1, 1], [0, 0]),
        ([2, 3, 7, 8], [2, 3, 1, 1], [2, 3], [1, 2]),
        ([1, 2, 7, 9], [3, 2, 2, 4], [3, 2], [0, 3]),
        ([1, 2, 3, 2], [3, 2, 5, 4], [1, 1], [2, 1]),
        ([3, 1, 2, 2], [1, 1, 2, 2], [5, 7], [0, 0]),
        ([1, 1, 2, 2], [1, 1, 1, 1], [1, 1], [3, 3]),
        ([1, 2, 20, 40], [5, 2, 3, 3], [1, 1], [1, 1]),
        ([1, 2, 21, 40], [5, 2, 3, 5], [2, 2], [1, 2]),
        ([0, 2, 4, 4], [3, 2, 3, 3], [1, 1], [1, 1]),
        ([2, 0, 4, 4], [3, 0, 3, 3], [1, 1], [1, 1]),
        ([2, 2, 4, 4], [0, 2, 3, 3], [1, 1], [1, 1]),
        ([1, 1, 0, 3], [1, 1, 1, 1], [1, 1], [1, 0]),
    ];
    for (images, weight, stride, padding) in cases {
        let case = format!("{images:?} {weight:?} {stride:?} {padding:?}");
        let fix = |x: ArrayD<f64>| x.into_dimensionality::<Ix4>().expect("four axes");
        let (x, w) = (fix(random(&mut rng, &images)), fix(random(&mut rng, &weight)));
        let tape = Tape::new();
        let (vx, vw) = (tape.leaf(&x), tape.leaf(&w));
        let y = vx.conv2d(vw, None, stride, padding);
        let g = fix(random(&mut rng, &y.shape()));
        y.backward_with(&g);
        let (expected, dx, dw) = by_definition(&x, &w, Some(&g), stride, padding);
        assert!(close(&y.value().to_owned(), &expected.into_dyn()), "{case}");
        assert!(close(&vx.grad().expect("reached").to_owned(), &dx.into_dyn()), "{case}");
        assert!(close(&vw.grad().expect("reached").to_owned(), &dw.into_dyn()), "{case}");
    }
}

#[test]
fn convolution_adds_its_bias_to_each_channel() {
    let tape = Tape::<f32>::new();
    let x = tape.leaf(Array4::<f32>::ones((2, 1, 3, 3)));
    let w = tape.leaf(Array4::<f32>::ones((2, 1, 2, 2)));
    let b = tape.leaf(array![0.5_f32, -4.0]);
    let y = x.conv2d(w, Some(b), 1, 0);
    assert_eq!(y.value().sum(), 2.0 * 4.0 * (4.5 + 0.0));
    y.sum().backward();
    assert_eq!(b.grad().unwrap(), array![8.0_f32, 8.0].into_dyn());
}

#[test]
fn gradients_of_a_convolution_accumulate() {
    let mut rng = StdRng::seed_from_u64(22);
    let tape = Tape::new();
    let (x, w) = (tape.leaf(random(&mut rng, &[2, 2, 4, 4])), tape.leaf(random(&mut rng, &[2, 2, 3, 3])));
    let twice =
        x.conv2d(w, None, 1, 1).conv2d(w, None, 1, 1).sum() + x.max_pool2d(2, 1).sum() + x.avg_pool2d(2, 1).sum();
    let recorded = twice.grads(&[x, w]);
    twice.backward();
    assert!(close(&x.grad().unwrap().to_owned(), &recorded[0].value().to_owned()));
    assert!(close(&w.grad().unwrap().to_owned(), &recorded[1].value().to_owned()));
}

#[test]
fn pools_agree_with_the_definition() {
    let mut rng = StdRng::seed_from_u64(23);
    let x = random(&mut rng, &[2, 3, 7, 6]);
    for (kernel, stride) in [([1, 1], [1, 1]), ([2, 2], [2, 2]), ([3, 2], [1, 2]), ([7, 6], [1, 1]), ([2, 3], [4, 4])] {
        let tape = Tape::new();
        let v = tape.leaf(&x);
        let (max, mean) = (v.max_pool2d(kernel, stride), v.avg_pool2d(kernel, stride));
        let (down, across) = ((7 - kernel[0]) / stride[0] + 1, (6 - kernel[1]) / stride[1] + 1);
        assert_eq!(*max.shape(), [2, 3, down, across]);
        let (mut dmax, mut dmean) = (ArrayD::<f64>::zeros(x.raw_dim()), ArrayD::<f64>::zeros(x.raw_dim()));
        for (plane, row, column) in triples(6, down, across) {
            let at = [plane / 3, plane % 3, row, column];
            let (mut largest, mut sum) = (at, 0.0);
            for (_, i, j) in triples(1, kernel[0], kernel[1]) {
                let from = [at[0], at[1], row * stride[0] + i, column * stride[1] + j];
                sum += x[from];
                dmean[from] += 1.0 / (kernel[0] * kernel[1]) as f64;
                if (i, j) == (0, 0) || x[from] > x[largest] {
                    largest = from;
                }
            }
            assert_eq!(max.value()[at], x[largest]);
            assert!((mean.value()[at] - sum / (kernel[0] * kernel[1]) as f64).abs() < 1e-14);
            dmax[largest] += 1.0;
        }
        max.sum().backward();
        assert_eq!(v.grad().unwrap(), dmax);
        tape.zero_grad();
        mean.sum().backward();
        assert!(close(&v.grad().unwrap().to_owned(), &dmean));
    }
}

#[test]
fn ties_in_a_window_go_to_the_first_and_nan_is_the_largest() {
    let tape = Tape::new();
    let x = tape.leaf(array![[1.0, 1.0, 5.0], [1.0, 1.0, NAN]]);
    let y = x.max_pool2d(2, 1);
    assert!(y.value()[[0, 0]] == 1.0 && y.value()[[0, 1]].is_nan());
    y.backward_with(array![[3.0, 7.0]]);
    assert_eq!(x.grad().unwrap(), array![[3.0, 0.0, 0.0], [0.0, 0.0, 7.0]].into_dyn());
    let low = tape.leaf(array![[f64::NEG_INFINITY, f64::NEG_INFINITY]]);
    let y = low.max_pool2d([1, 2], 1);
    y.backward_with(array![[1.0]]);
    assert_eq!(y.item(), f64::NEG_INFINITY);
    assert_eq!(low.grad().unwrap(), array![[1.0, 0.0]].into_dyn());
    // Selected, never multiplied: what is not the largest gets no trace of an infinite cotangent.
    let z = tape.leaf(array![[2.0, 1.0]]);
    z.max_pool2d([1, 2], 1).backward_with(array![[f64::INFINITY]]);
    assert_eq!(z.grad().unwrap(), array![[f64::INFINITY, 0.0]].into_dyn());
}

#[test]
fn pools_of_no_images_are_empty() {
    let tape = Tape::new();
    let x = tape.leaf(Array4::<f64>::zeros((0, 2, 4, 4)));
    let y = x.max_pool2d(2, 2).sum() + x.avg_pool2d(2, 2).sum();
    y.backward();
    assert_eq!(x.grad().unwrap().shape(), [0, 2, 4, 4]);
}

#[test]
fn normalization_gives_mean_0_and_variance_1() {
    let mut rng = StdRng::seed_from_u64(24);
    let tape = Tape::new();
    let far = random(&mut rng, &[40, 3, 5, 2]).mapv(|x| 1e6 + 2.0 * x);
    let x = tape.leaf(far);
    let (one, zero) = (tape.constant(array![1.0, 1.0, 1.0]), tape.constant(array![0.0, 0.0, 0.0]));
    let y = x.batch_norm(one, zero, 0.0);
    for (mean, square) in
        y.mean_axes([0, 2, 3], KeepDims::No).value().iter().zip(y.square().mean_axes([0, 2, 3], KeepDims::No).value())
    {
        assert!(mean.abs() < 1e-8 && (square - 1.0).abs() < 1e-8, "{mean} {square}");
    }
    let z = x.transpose().layer_norm(
        tape.constant(ndarray::Array1::<f64>::ones(40)),
        tape.constant(ndarray::Array1::<f64>::zeros(40)),
        0.0,
    );
    for (mean, square) in
        z.mean_axes([-1], KeepDims::No).value().iter().zip(z.square().mean_axes([-1], KeepDims::No).value())
    {
        assert!(mean.abs() < 1e-8 && (square - 1.0).abs() < 1e-8, "{mean} {square}");
    }
}

/// Returns the values and the gradients at orders 1 and 2 of a normalization of `x`.
fn normalized<T: tapegrad::Scalar>(x: ArrayD<f64>, batch: bool) -> [ArrayD<f64>; 3] {
    let tape = Tape::<T>::new();
    let to = |x: &ArrayD<f64>| x.mapv(T::from_f64);
    let g = ArrayD::from_shape_fn(x.raw_dim(), |index| ((index[0] * 5 + index[1] * 3) % 7) as f64 - 3.0);
    let x = tape.leaf(to(&x));
    let length = x.shape()[1];
    let (one, zero) = (ndarray::Array1::from_elem(length, T::ONE), ndarray::Array1::from_elem(length, T::ZERO));
    let (one, zero) = (tape.constant(one), tape.constant(zero));
    let eps = T::from_f64(1e-5);
    let y = if batch { x.batch_norm(one, zero, eps) } else { x.layer_norm(one, zero, eps) };
    let dx = (y * tape.constant(to(&g))).sum().grad_wrt(x);
    let ddx = (dx * tape.constant(to(&g.mapv(|g| (g * g) % 5.0)))).sum().grad_wrt(x);
    [y, dx, ddx].map(|y| y.value().mapv(T::to_f64))
}

#[test]
fn a_large_mean_does_not_show_in_a_normalized_array() {
    for (shape, batch) in [([1, 150_000], false), ([3, 5000], false), ([20_000, 3], true), ([5000, 2], true)] {
        let axis = if batch { 0 } else { 1 };
        let near = ArrayD::from_shape_fn(IxDyn(&shape), |index| (index[axis] % 2) as f64);
        // In each precision: far from 0 the numbers have the digits that they have near it.
        let (of_f32, of_f64) = (normalized::<f32>(near.clone(), batch), normalized::<f64>(near.clone(), batch));
        for (mean, single) in [(1e6, true), (16_777_000.0, true), (1e15, false), (-4e15, false)] {
            let far = near.mapv(|x| x + mean);
            let found = if single { normalized::<f32>(far, batch) } else { normalized::<f64>(far, batch) };
            let expected = if single { &of_f32 } else { &of_f64 };
            for (order, (found, expected)) in found.iter().zip(expected).enumerate() {
                let largest = expected.fold(0.0_f64, |largest, x| largest.max(x.abs()));
                for (y, expected) in found.iter().zip(expected) {
                    let error = (y - expected).abs() / largest;
                    assert!(
                        error < if single { 1e-6 } else { 1e-13 },
                        "{shape:?} {mean} order {order}: {y} {expected}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_constant_group_is_normalized_to_0_although_its_mean_is_rounded() {
    let tape = Tape::<f32>::new();
    let (one, zero) = (ndarray::Array1::<f32>::ones(49), ndarray::Array1::<f32>::zeros(49));
    let x = tape.leaf(ndarray::Array2::from_elem((3, 49), 0.1_f32));
    let y = x.layer_norm(tape.constant(one), tape.constant(zero), 1e-20);
    assert!(y.value().iter().all(|&y| y == 0.0), "{:?}", y.value());
}

#[test]
fn a_constant_group_is_normalized_to_0_by_eps() {
    let tape = Tape::new();
    let x = tape.leaf(array![[3.0, 3.0], [3.0, 5.0]]);
    let (gain, bias) = (tape.leaf(array![2.0, 2.0]), tape.leaf(array![0.5, 0.5]));
    let y = x.layer_norm(gain, bias, 1e-5);
    assert_eq!(y.value()[[0, 0]], 0.5);
    y.backward_with(array![[1.0, 0.0], [0.0, 0.0]]);
    // (g gain - its mean) / √eps
    let found = x.grad().unwrap()[[0, 0]];
    assert!((found - 1.0 / 1e-5_f64.sqrt()).abs() < 1e-9, "{found}");
    // Without eps there is no such limit: NaN, as 0 / 0 is.
    assert!(x.layer_norm(gain, bias, 0.0).value()[[0, 0]].is_nan());
    let single = Tape::<f32>::new();
    let x = single.leaf(array![[1.0_f32, 3.0]]);
    let y = x.layer_norm(single.leaf(array![1.0_f32, 1.0]), single.leaf(array![0.0_f32, 0.0]), 0.0);
    assert_eq!(y.value(), array![[-1.0_f32, 1.0]].into_dyn());
}

#[test]
fn groups_without_an_element_are_normalized_to_nothing() {
    let tape = Tape::new();
    let x = tape.leaf(ndarray::Array2::<f64>::zeros((2, 0)));
    let none = tape.leaf(ndarray::Array1::<f64>::zeros(0));
    let y = x.layer_norm(none, none, 0.1);
    y.sum().backward();
    assert_eq!((y.shape().to_string(), x.grad().unwrap().shape()), ("(2, 0)".to_string(), &[2, 0][..]));
    assert_eq!(y.sum().grad_wrt(x).shape().to_string(), "(2, 0)");
}

#[test]
fn numbers_whose_squares_overflow_are_normalized() {
    let single = Tape::<f32>::new();
    let (one, zero) = (single.constant(array![1.0_f32, 1.0]), single.constant(array![0.0_f32, 0.0]));
    // The second group is as near as others are.
    let x = single.leaf(array![[3e30_f32, 4e30], [2.0, 4.0]]);
    let (y, turned) = (x.layer_norm(one, zero, 0.0), x.transpose().batch_norm(one, zero, 0.0));
    for (y, expected) in y.value().iter().zip([-1.0_f32, 1.0, -1.0, 1.0]) {
        assert!((y - expected).abs() < 1e-6, "{y}, expected {expected}");
    }
    assert_eq!(turned.value().t(), y.value());
    // r (g - mean g - y mean(g y)) is 0 for g = (1, 1), and for two elements for any other.
    y.sum().backward();
    assert!(x.grad().unwrap().iter().all(|g| g.abs() < 1e-6));
    let tape = Tape::new();
    let (one, zero) = (tape.constant(array![1.0, 1.0]), tape.constant(array![0.0, 0.0]));
    let x = tape.leaf(array![[-1e200, 1e200]]);
    for y in x.layer_norm(one, zero, 1e-5).value().iter().zip([-1.0, 1.0_f64]) {
        assert!((*y.0 - y.1).abs() < 1e-15, "{y:?}");
    }
    // An infinity has no distance.
    let x = tape.leaf(array![[f64::INFINITY, 1.0]]);
    assert!(x.layer_norm(one, zero, 0.0).value().iter().all(|y| y.is_nan()));
}
