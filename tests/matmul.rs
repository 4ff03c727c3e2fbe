//! The matrix product of any number of axes: against an index loop, at the edges, and without copies.

use ndarray::{Array, ArrayD, Dimension, IxDyn, s};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tapegrad::{Tape, Var};

fn random(rng: &mut StdRng, shape: &[usize]) -> ArrayD<f64> {
    ArrayD::from_shape_simple_fn(IxDyn(shape), || rng.random_range(-1.0..1.0))
}

/// Returns element `(batch, row, column)` of an operand of two axes or more, its batch broadcast.
fn element(x: &ArrayD<f64>, batch: &[usize], row: usize, column: usize) -> f64 {
    let own = x.ndim() - 2;
    let mut index: Vec<usize> = batch[batch.len() - own..].to_vec();
    for (index, &length) in index.iter_mut().zip(x.shape()) {
        *index = if length == 1 { 0 } else { *index };
    }
    index.extend([row, column]);
    x[IxDyn(&index)]
}

/// The product by definition, for operands of two axes or more.
fn by_definition(a: &ArrayD<f64>, b: &ArrayD<f64>, shape: &[usize]) -> ArrayD<f64> {
    let inner = a.shape()[a.ndim() - 1];
    Array::from_shape_fn(IxDyn(shape), |index| {
        let (batch, matrix) = index.slice().split_at(shape.len() - 2);
        (0..inner).map(|k| element(a, batch, matrix[0], k) * element(b, batch, k, matrix[1])).sum()
    })
}

#[test]
fn batches_of_every_form_agree_with_the_definition() {
    let mut rng = StdRng::seed_from_u64(11);
    let forms: [(&[usize], &[usize], &[usize]); 10] = [
        (&[2, 3, 4], &[2, 4, 5], &[2, 3, 5]),
        (&[2, 3, 4], &[4, 5], &[2, 3, 5]),
        (&[3, 4], &[2, 4, 5], &[2, 3, 5]),
        (&[1, 3, 4], &[2, 4, 5], &[2, 3, 5]),
        (&[2, 1, 3, 4], &[5, 4, 2], &[2, 5, 3, 2]),
        (&[6, 1, 1, 3, 2], &[1, 5, 1, 2, 1], &[6, 5, 1, 3, 1]),
        (&[0, 3, 4], &[4, 5], &[0, 3, 5]),
        (&[2, 3, 0], &[2, 0, 5], &[2, 3, 5]),
        (&[0, 2, 3], &[1, 3, 0], &[0, 2, 0]),
        (&[2, 0, 3], &[2, 3, 2], &[2, 0, 2]),
    ];
    for (left, right, shape) in forms {
        let (a, b) = (random(&mut rng, left), random(&mut rng, right));
        let expected = by_definition(&a, &b, shape);
        let tape = Tape::new();
        let (x, y) = (tape.leaf(&a), tape.leaf(&b));
        let product = x.matmul(y);
        assert_eq!(*product.shape(), *shape, "{left:?} x {right:?}");
        assert!(product.value().abs_diff_eq(&expected, 1e-14), "{left:?} x {right:?}");
        product.sum().backward();
        assert_eq!(x.grad().unwrap().shape(), left);
        assert_eq!(y.grad().unwrap().shape(), right);
    }
}

trait AbsDiff {
    fn abs_diff_eq(&self, other: &ArrayD<f64>, tolerance: f64) -> bool;
}

impl<D: Dimension> AbsDiff for ndarray::ArrayView<'_, f64, D> {
    fn abs_diff_eq(&self, other: &ArrayD<f64>, tolerance: f64) -> bool {
        self.shape() == other.shape() && self.iter().zip(other).all(|(a, b)| (a - b).abs() <= tolerance)
    }
}

#[test]
fn strided_batches_are_read_where_they_are() {
    let mut rng = StdRng::seed_from_u64(12);
    let (a, b) = (random(&mut rng, &[6, 3, 8]), random(&mut rng, &[3, 5, 4]));
    let tape = Tape::new();
    let x = tape.leaf(&a).slice_step(0, .., 2).slice_step(2, 1.., 2);
    let y = tape.leaf(&b).permute([0, 2, 1]);
    let before = tape.len();
    let product = x.matmul(y);
    assert_eq!(tape.len(), before + 1, "one node, no copy");
    let left = a.slice(s![..;2, .., 1..;2]).to_owned().into_dyn();
    let right = b.view().permuted_axes(IxDyn(&[0, 2, 1])).to_owned();
    assert!(product.value().abs_diff_eq(&by_definition(&left, &right, &[3, 3, 5]), 1e-14));
}

#[test]
fn a_transpose_of_the_last_two_axes_is_read_in_place_and_has_a_gradient_of_its_own() {
    let mut rng = StdRng::seed_from_u64(13);
    let tape = Tape::new();
    let (x, y) = (tape.leaf(random(&mut rng, &[2, 4, 3])), tape.leaf(random(&mut rng, &[2, 5, 4])));
    let turned = x.permute([0, 2, 1]);
    let loss = turned.matmul(y.permute([0, 2, 1])).sum() + turned.sum();
    loss.backward();
    let ones = tape.constant(ndarray::Array3::ones((2, 3, 5)));
    let expected = ones.matmul(y).permute([0, 2, 1]).value().to_owned() + 1.0;
    assert!(x.grad().unwrap().abs_diff_eq(&expected, 1e-14));
    assert!(loss.grad_wrt(x).value().abs_diff_eq(&expected, 1e-14));
    let expected = expected.permuted_axes(IxDyn(&[0, 2, 1]));
    assert!(loss.grad_wrt(turned).value().abs_diff_eq(&expected, 1e-14));
}

#[test]
fn single_precision_has_batches_too() {
    let tape = Tape::<f32>::new();
    let a = tape.leaf(ndarray::Array3::from_shape_fn((2, 1, 2), |(i, _, k)| (2 * i + k) as f32));
    let b = tape.leaf(ndarray::array![[1.0_f32], [10.0]]);
    let y: Var<'_, f32> = a.matmul(b);
    assert_eq!(y.value(), ndarray::array![[[10.0_f32]], [[32.0]]].into_dyn());
    y.sum().backward();
    assert_eq!(b.grad().unwrap(), ndarray::array![[2.0_f32], [4.0]].into_dyn());
}
