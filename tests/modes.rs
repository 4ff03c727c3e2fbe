//! Directions and orders: vjp, jvp, Hessian-vector products, what is cut off, and derivatives of closures.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ndarray::{Array1, Array2, ArrayD, ArrayViewD, ArrayViewMutD, IxDyn, Zip, array};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tapegrad::op::{Binary, Unary};
use tapegrad::{CustomOp, KeepDims, Number, Param, Shape, ShapeError, Tape, Var, transform};

fn random(rng: &mut StdRng, shape: &[usize]) -> ArrayD<f64> {
    ArrayD::from_shape_simple_fn(IxDyn(shape), || rng.random_range(0.5..1.5))
}

fn close(found: &ArrayViewD<f64>, expected: &ArrayViewD<f64>, what: &str) {
    assert_eq!(found.shape(), expected.shape(), "{what}");
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() <= 1e-11 * b.abs().max(1.0), "{what}: {a} and {b}");
    }
}

fn message(f: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).expect_err("it panics");
    payload.downcast_ref::<String>().cloned().or(payload.downcast_ref::<&str>().map(|s| s.to_string())).expect("text")
}

/// `y = x0 / x1²`
#[derive(Debug)]
struct OverSquare;

impl CustomOp<f64> for OverSquare {
    fn name(&self) -> &'static str {
        "over_square"
    }

    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, ShapeError> {
        Ok(Shape::from(operands[0]))
    }

    fn forward(&self, operands: &[ArrayViewD<f64>], result: ArrayViewMutD<f64>) {
        Zip::from(result).and(&operands[0]).and(&operands[1]).for_each(|y, &a, &b| *y = a / (b * b));
    }

    fn vjp<'t>(&self, k: usize, x: &[Var<'t, f64>], y: Var<'t, f64>, g: Var<'t, f64>) -> Var<'t, f64> {
        if k == 0 { g / x[1].square() } else { g * y / x[1] * -2.0 }
    }
}

type Function = for<'t> fn(&[Var<'t, f64>]) -> Var<'t, f64>;

/// Functions of a `(3, 4)` and a `(4)` array that use every kind of rule.
const FUNCTIONS: &[(&str, Function)] = &[
    ("elementwise", |x| (x[0] * x[1]).tanh() / (x[1] + 1.0) - x[0].exp().ln().square()),
    ("maximum", |x| x[0].maximum(x[1]).relu() - x[1].maximum(x[0] - 0.3).clamp(0.6, 1.2)),
    ("matmul", |x| x[0].matmul(x[1]) + x[0].transpose().matmul(x[0]).sum()),
    ("matmul of views", |x| x[0].slice(0, 1..).matmul(x[0].transpose().slice_step(1, .., 2))),
    ("reductions", |x| x[0].sum_axes([0], KeepDims::No) * x[0].max_axes([1], KeepDims::Yes) + x[1].mean()),
    ("softmax", |x| x[0].softmax(1) * x[0].log_softmax(0)),
    ("moves", |x| x[0].reshape([2, 6]).transpose().permute([1, 0]).slice(1, 1..5) + x[1].broadcast_to([2, 4])),
    ("choices", |x| x[0].index_select(1, &[3, 0, 3]).pick(&[1, 0, 2]) * x[1].slice(0, ..3)),
    ("concat", |x| Var::concat(&[x[0].sum_to([4]), x[1], x[1]], 0).square()),
    ("concat with a constant", |x| Var::concat(&[x[1].tape().constant(array![7.0]), x[1]], 0).square()),
    ("custom", |x| Var::custom(Arc::new(OverSquare), &[x[0], x[1].broadcast_to([3, 4])])),
    ("checkpoint", |x| {
        let y = x[0].tape().checkpoint(&[x[0], x[1], x[0]], |_, x| (x[0] * x[1]).tanh() + x[2].square());
        y * x[0]
    }),
    ("nested checkpoint", |x| {
        x[0].tape().checkpoint(x, |tape, x| {
            tape.checkpoint(&[x[0].square(), x[1]], |_, x| x[0].matmul(x[1]).tanh()) * x[1].sum()
        })
    }),
    ("a gradient", |x| (x[0].tanh() * x[1]).square().sum().grads(&[x[0]])[0]),
    ("partly detached", |x| x[0].detach() * x[0] + x[0].tape().no_grad(|| x[1].square()) * x[1]),
];

/// Runs a function of the samples on leaves of random numbers.
fn with_leaves(f: Function, check: impl Fn(&[Var<'_, f64>], Var<'_, f64>, &mut StdRng)) {
    let mut rng = StdRng::seed_from_u64(7);
    let tape = Tape::new();
    let x = [tape.leaf(random(&mut rng, &[3, 4])), tape.leaf(random(&mut rng, &[4]))];
    check(&x, f(&x), &mut rng);
}

#[test]
fn jvp_and_vjp_are_transposes_of_each_other() {
    for &(name, f) in FUNCTIONS {
        with_leaves(f, |x, y, rng| {
            let tape = y.tape();
            let v = [tape.constant(random(rng, &[3, 4])), tape.constant(random(rng, &[4]))];
            let u = tape.constant(random(rng, &y.shape()));
            let pushed = (y.jvp(x, &v) * u).sum().item();
            let pulled = y.vjp_or_none(u, x);
            let pulled: f64 = pulled.iter().zip(v).filter_map(|(g, v)| Some(((*g)? * v).sum().item())).sum();
            assert!((pushed - pulled).abs() <= 1e-12 * pushed.abs().max(1.0), "{name}: {pushed} and {pulled}");
        });
    }
}

#[test]
fn jvp_is_the_vjp_transposed_twice_at_orders_1_and_2() {
    for &(name, f) in FUNCTIONS {
        with_leaves(f, |x, y, rng| {
            let tape = y.tape();
            let v = [tape.leaf(random(rng, &[3, 4])), tape.leaf(random(rng, &[4]))];
            let forward = y.jvp(x, &v);
            let u = tape.leaf(ArrayD::zeros(IxDyn(&y.shape())));
            let pulled = y.vjp_or_none(u, x);
            let contracted = pulled.iter().zip(v).filter_map(|(g, v)| Some(((*g)? * v).sum())).reduce(|a, b| a + b);
            let twice = contracted.expect("reached").grad_wrt(u);
            close(&forward.value(), &twice.value(), name);
            // The forward pass is recorded: it has derivatives by what it is made of.
            let targets = [x[0], x[1], v[0], v[1]];
            let (a, b) = (forward.square().sum(), twice.square().sum());
            for (a, b) in a.grads_or_none(&targets).iter().zip(b.grads_or_none(&targets)) {
                match (a, b) {
                    (Some(a), Some(b)) => close(&a.value(), &b.value(), &format!("{name}, second order")),
                    (a, b) => assert!(a.is_none() && b.is_none(), "{name}: only one of them depends"),
                }
            }
        });
    }
}

#[test]
fn every_elementwise_row_runs_forward() {
    let mut rng = StdRng::seed_from_u64(8);
    let tape = Tape::new();
    let t = tape.constant(random(&mut rng, &[3, 4]));
    for (unary, range) in Unary::<f64>::samples() {
        let x = tape.leaf(Array2::from_shape_fn((3, 4), |_| rng.random_range(range.clone())));
        let (y, h) = (x.unary(unary), 1e-6);
        let difference = ((x + t * h).unary(unary) - (x - t * h).unary(unary)) / (2.0 * h);
        match y.jvp_or_none(&[x], &[t]) {
            Some(pushed) => {
                for (a, b) in pushed.value().iter().zip(difference.value()) {
                    assert!((a - b).abs() <= 1e-7 * b.abs().max(1.0), "{}: {a} and {b}", unary.name());
                }
            }
            None => assert!(difference.value().iter().all(|&d| d == 0.0), "{}", unary.name()),
        }
    }
    for (binary, range) in Binary::samples() {
        // Apart, so that there are no ties.
        let part = (range.end - range.start) / 8.0;
        let mut within = |shape: &[usize], range: std::ops::Range<f64>| {
            ArrayD::from_shape_simple_fn(IxDyn(shape), || rng.random_range(range.clone()))
        };
        let a = tape.leaf(within(&[3, 1], range.start + part..range.start + 4.0 * part));
        let b = tape.leaf(within(&[4], range.end - 3.0 * part..range.end - part));
        let (ta, tb) = (tape.constant(random(&mut rng, &[3, 1])), tape.constant(random(&mut rng, &[4])));
        let (y, h) = (a.binary(binary, b), 1e-6);
        let moved = |h: f64| (a + ta * h).binary(binary, b + tb * h);
        let difference = (moved(h) - moved(-h)) / (2.0 * h);
        match y.jvp_or_none(&[a, b], &[ta, tb]) {
            Some(pushed) => {
                for (a, b) in pushed.value().iter().zip(difference.value()) {
                    assert!((a - b).abs() <= 1e-7 * b.abs().max(1.0), "{}: {a} and {b}", binary.name());
                }
            }
            None => assert!(difference.value().iter().all(|&d| d == 0.0), "{}", binary.name()),
        }
    }
}

#[test]
fn jvp_reaches_through_intermediates_and_repeated_targets() {
    let tape = Tape::new();
    let x = tape.leaf(3.0);
    let h = x.square();
    let y = h * x;
    let one = tape.constant(1.0);
    assert_eq!(y.jvp(&[h], &[one]).item(), 3.0); // x
    assert_eq!(y.jvp(&[x], &[one]).item(), 27.0); // 3 x²
    assert_eq!(y.jvp(&[x, h], &[one, one]).item(), 30.0);
    assert_eq!(y.jvp(&[x, x], &[one, one]).item(), 54.0);
    assert_eq!(y.jvp(&[y], &[one]).item(), 1.0);
    assert_eq!(y.grads(&[h])[0].item(), 3.0); // by an intermediate
    assert_eq!(y.grads(&[y])[0].item(), 1.0);
    assert!(y.jvp_or_none(&[tape.leaf(1.0)], &[one]).is_none());
    assert!(x.jvp_or_none(&[y], &[one]).is_none());
}

#[test]
fn a_vjp_is_recorded_and_differentiable_by_its_cotangent() {
    let tape = Tape::new();
    let x = tape.leaf(array![1.0, 2.0]);
    let g = tape.leaf(array![3.0, 5.0]);
    let pulled = (x * x * x).vjp(g, &[x])[0]; // 3 x² g
    assert_eq!(pulled.value(), array![9.0, 60.0].into_dyn());
    pulled.sum().backward();
    assert_eq!(g.grad().expect("reached"), array![3.0, 12.0].into_dyn()); // 3 x²
    assert_eq!(x.grad().expect("reached"), array![18.0, 60.0].into_dyn()); // 6 x g
}

#[test]
fn empty_scalar_and_strided_values_have_products() {
    let tape = Tape::<f32>::new();
    let empty = tape.leaf(Array2::zeros((0, 3)));
    assert_eq!(empty.tanh().vjp(empty, &[empty])[0].shape(), [0, 3].into());
    assert_eq!(empty.tanh().jvp(&[empty], &[empty]).shape(), [0, 3].into());
    let x = tape.leaf(array![[1.0, 2.0], [3.0, 4.0]]);
    let v = tape.constant(array![[1.0, 0.0], [0.0, 0.0]]).transpose();
    assert_eq!(x.transpose().square().jvp(&[x], &[v]).value(), array![[2.0, 0.0], [0.0, 0.0]].into_dyn());
    let g = tape.constant(1.0).broadcast_to([2, 2]);
    assert_eq!(x.square().vjp(g, &[x])[0].value(), array![[2.0, 4.0], [6.0, 8.0]].into_dyn());
    assert!(transform::jacobian(|x| x.tanh(), &Array1::<f64>::zeros(0)).is_empty());
    assert_eq!(transform::jacobian(|x| x.slice(0, ..0), &array![1.0]).shape(), [0, 1]);
    assert_eq!(transform::hessian(|x| x * x * x, &ndarray::arr0(2.0)).sum(), 12.0);
    let matrix = array![[1.0, 2.0], [3.0, 4.0]];
    let (value, gradient) = transform::value_and_grad(|x| x.slice(0, 1..).square().sum(), &matrix.t());
    assert_eq!((value, gradient), (20.0, array![[0.0, 0.0], [4.0, 8.0]]));
}

#[test]
fn hvp_is_the_jacobian_of_the_gradient_times_the_vector() {
    let mut rng = StdRng::seed_from_u64(9);
    let tape = Tape::new();
    let (a, b) = (tape.leaf(random(&mut rng, &[3, 2])), tape.leaf(random(&mut rng, &[2])));
    let (va, vb) = (tape.constant(random(&mut rng, &[3, 2])), tape.constant(random(&mut rng, &[2])));
    let loss = a.matmul(b).tanh().softmax(0).square().sum() + (a * b).sum();
    let products = loss.hvp(&[a, b], &[va, vb]);
    let grads = loss.grads(&[a, b]);
    let reverse = ((grads[0] * va).sum() + (grads[1] * vb).sum()).grads(&[a, b]);
    for (forward, reverse) in products.iter().zip(reverse) {
        close(&forward.value(), &reverse.value(), "H v");
    }
    // The gradient of a linear loss does not depend on anything: its derivative is 0.
    assert_eq!(a.sum().hvp(&[a], &[va])[0].value().sum(), 0.0);
}

#[test]
fn jacobian_and_hessian_have_a_row_for_each_output_and_agree_both_ways() {
    let x = array![0.3, -0.7];
    let wide = transform::jacobian(|x| x.tanh().sum_axes([0], KeepDims::Yes), &x); // (1, 2): in reverse
    let tall = transform::jacobian(|x| Var::concat(&[x.tanh(), x.square(), x * x.tape().constant(2.0)], 0), &x);
    let slopes = x.mapv(|x: f64| 1.0 - x.tanh().powi(2));
    assert_eq!(wide.shape(), [1, 2]);
    close(&wide.view(), &array![[slopes[0], slopes[1]]].into_dyn().view(), "in reverse");
    let expected =
        array![[slopes[0], 0.0], [0.0, slopes[1]], [0.6, 0.0], [0.0, -1.4], [2.0, 0.0], [0.0, 2.0]].into_dyn();
    close(&tall.view(), &expected.view(), "forward");
    let matrix = transform::jacobian(|x| x.transpose(), &array![[1.0, 2.0], [3.0, 4.0]]);
    assert_eq!(matrix.shape(), [2, 2, 2, 2]);
    assert_eq!((matrix[[0, 1, 1, 0]], matrix[[0, 1, 0, 1]]), (1.0, 0.0));

    let quadratic = array![[2.0, 1.0], [1.0, 6.0]];
    let a = quadratic.clone();
    let hessian = transform::hessian(move |x| x.matmul(x.tape().constant(&a)).matmul(x) * 0.5, &array![3.0, 4.0]);
    assert_eq!(hessian, quadratic.into_dyn());
}

#[test]
fn transforms_of_what_does_not_depend_are_zero_and_touch_no_parameter() {
    let w = Param::new(array![2.0, 3.0]);
    let weights = w.clone();
    let (value, gradient) = transform::value_and_grad(|x| (x * x.tape().param(&weights)).sum(), &array![1.0, 1.0]);
    assert_eq!((value, gradient), (5.0, array![2.0, 3.0]));
    assert!(w.grad().is_none());
    assert_eq!(transform::value_and_grad(|x| x.sign().sum(), &array![1.0, -2.0]), (0.0, array![0.0, 0.0]));
    assert_eq!(transform::hessian(|x| x.sum(), &array![1.0, 2.0]), array![[0.0, 0.0], [0.0, 0.0]].into_dyn());
    assert_eq!(transform::hvp(|x| x.sign().sum(), &array![1.0], &array![5.0]), array![0.0]);
    assert_eq!(transform::jvp(|x| x.sign(), &array![1.0], &array![5.0]).1, array![0.0].into_dyn());
    assert_eq!(transform::jacobian(|x| x.sign().broadcast_to([2, 1]), &array![1.0]).sum(), 0.0);
    let both = [array![1.0].into_dyn(), array![2.0].into_dyn()];
    let (_, gradients) = transform::value_and_grads(|x| x[1].square().sum(), &both.each_ref().map(|x| x.view()));
    assert_eq!(gradients, [array![0.0].into_dyn(), array![4.0].into_dyn()]);
}

#[test]
fn detached_values_are_constants_to_every_derivative() {
    let tape = Tape::new();
    let x = tape.leaf(array![[1.0, 2.0], [3.0, 4.0]]);
    for cut in [x.detach(), x.transpose().detach().transpose(), tape.no_grad(|| x.transpose()).transpose()] {
        assert_eq!(cut.value(), x.value());
        let y = (cut * x).sum();
        assert_eq!(y.grads(&[x])[0].value(), x.value());
        assert!(y.hvp(&[x], &[x])[0].value().iter().all(|&h| h == 0.0));
        assert_eq!(y.jvp(&[x], &[x]).item(), 30.0);
        assert!(cut.sum().grads_or_none(&[x])[0].is_none());
        assert!(cut.sum().jvp_or_none(&[x], &[x]).is_none());
        tape.zero_grad();
        y.backward();
        assert_eq!(x.grad().expect("reached"), x.value());
    }
    // A product reads past a transpose, but not past one that is cut off.
    let cut = tape.no_grad(|| x.transpose());
    tape.zero_grad();
    let y = cut.matmul(x).sum();
    y.backward();
    assert_eq!(x.grad().expect("reached"), array![[3.0, 3.0], [7.0, 7.0]].into_dyn()); // x's row sums
    assert_eq!(y.grads(&[x])[0].value(), array![[3.0, 3.0], [7.0, 7.0]].into_dyn());
    assert_eq!(y.grads(&[cut])[0].value(), array![[3.0, 7.0], [3.0, 7.0]].into_dyn()); // a target like any other
    assert!(y.grads(&[cut, x])[1].value() == array![[3.0, 3.0], [7.0, 7.0]].into_dyn());
    assert!(tape.to_string().contains("= detached permute"), "{tape}");
}

#[test]
fn nothing_recorded_without_gradients_needs_one() {
    let tape = Tape::new();
    let w = Param::new(array![2.0]);
    let x = tape.leaf(array![3.0]);
    let y = tape.no_grad(|| {
        let inner = tape.no_grad(|| x * 2.0);
        let still = x * 1.0; // the end of the inner section does not end this one
        let by_grads = (x * x).sum();
        assert!(by_grads.grads_or_none(&[x])[0].is_none());
        let segment = w.clone();
        let checkpoint = tape.checkpoint(&[x], move |tape, x| x[0] * tape.param(&segment));
        inner + still + tape.param(&w) + checkpoint
    });
    assert_eq!(y.item(), 17.0);
    assert!(message(|| y.backward()).contains("depends on no leaf and no parameter"));
    let again = x * 1.0;
    again.backward(); // after the section all is as before
    assert_eq!(x.grad().expect("reached").sum(), 1.0);
    // A leaf of a section is a leaf.
    let leaf = tape.no_grad(|| tape.leaf(1.0));
    leaf.square().backward();
    assert_eq!(leaf.grad().expect("reached").sum(), 2.0);
}

#[test]
fn gradients_can_be_taken_within_a_section_and_are_constants() {
    let tape = Tape::new();
    let x = tape.leaf(array![1.0, 2.0]);
    let y = (x * x * x).sum() + tape.checkpoint(&[x], |_, x| x[0].square().softmax(0).square().sum());
    let outside = y.grads(&[x])[0];
    let inside = tape.no_grad(|| y.grads(&[x])[0]);
    assert_eq!(inside.value(), outside.value());
    assert!(inside.sum().grads_or_none(&[x])[0].is_none());
    let pushed = tape.no_grad(|| y.jvp(&[x], &[x]));
    close(&pushed.value(), &y.jvp(&[x], &[x]).value(), "jvp within a section");
    assert!(pushed.grads_or_none(&[x])[0].is_none());
    assert!(y.jvp(&[x], &[x]).grads_or_none(&[x])[0].is_some());
    tape.no_grad(|| y.backward());
    assert!(x.grad().is_some());
}

#[test]
fn a_product_with_the_hessian_within_a_section_is_a_constant_but_right() {
    let tape = Tape::new();
    let (x, v) = (tape.leaf(array![1.0, 2.0]), tape.constant(array![1.0, 10.0]));
    let y = (x * x * x).sum();
    let product = tape.no_grad(|| y.hvp(&[x], &[v])[0]);
    assert_eq!(product.value(), array![6.0, 120.0].into_dyn()); // 6 x v
    assert!(product.sum().grads_or_none(&[x])[0].is_none());
}

#[test]
fn functions_that_return_what_is_detached_have_derivatives_of_zero() {
    let x = array![1.0, 2.0];
    fn cut(x: Var<'_, f64>) -> Var<'_, f64> {
        (x * x).sum().detach()
    }
    assert_eq!(transform::value_and_grad(cut, &x), (5.0, array![0.0, 0.0]));
    assert_eq!(transform::vjp(|x| (x * x).detach(), &x, array![1.0, 1.0]).1, array![0.0, 0.0]);
    assert_eq!(transform::jvp(|x| (x * x).detach(), &x, &x).1, array![0.0, 0.0].into_dyn());
    assert!(transform::jacobian(|x| (x * x).detach(), &x).iter().all(|&j| j == 0.0));
    assert!(transform::hessian(cut, &x).iter().all(|&h| h == 0.0));
    assert_eq!(transform::hvp(cut, &x, &x), array![0.0, 0.0]);
    assert_eq!(transform::value_and_grad(|x| x.tape().no_grad(|| x.sum()), &x).1, array![0.0, 0.0]);
}

#[test]
fn a_section_ends_when_it_panics() {
    let tape = Tape::new();
    let x = tape.leaf(2.0);
    let caught = catch_unwind(AssertUnwindSafe(|| tape.no_grad(|| tape.no_grad(|| x.matmul(x)))));
    assert!(caught.is_err());
    x.square().backward();
    assert_eq!(x.grad().expect("reached").sum(), 4.0);
}

#[test]
fn wrong_calls_name_what_does_not_fit() {
    let (tape, other) = (Tape::<f64>::new(), Tape::<f64>::new());
    let (x, alien) = (tape.leaf(array![1.0, 2.0]), other.leaf(array![1.0, 2.0]));
    let unused = tape.leaf(1.0);
    for (expected, f) in [
        ("vjp: a cotangent of shape () for a value of shape (2,)", (&|| drop(x.vjp(unused, &[x]))) as &dyn Fn()),
        ("vjp: the value does not depend on target 1: %1 = leaf ()", &|| drop(x.vjp(x, &[x, unused]))),
        ("vjp: the operands belong to different tapes", &|| drop(x.vjp(alien, &[x]))),
        ("vjp: the operands belong to different tapes", &|| drop(x.vjp(x, &[alien]))),
        ("jvp: 0 vectors for 1 targets", &|| _ = x.jvp(&[x], &[])),
        ("jvp: vector 0 of shape () for a target of shape (2,)", &|| _ = x.jvp(&[x], &[unused])),
        ("jvp: the operands belong to different tapes", &|| _ = x.jvp(&[x], &[alien])),
        ("jvp: the value depends on none of the targets: %0 = leaf (2,)", &|| _ = x.jvp(&[unused], &[unused])),
        ("hvp: 0 vectors for 1 targets", &|| drop(x.hvp(&[x], &[]))),
        ("a value of shape (2,) has no single gradient", &|| drop(x.hvp(&[x], &[x]))),
        ("value_and_grad: the function returned shape (2,)", &|| {
            drop(transform::value_and_grad(|x| x * 2.0, &array![1.0, 2.0]));
        }),
        ("hessian: the function returned shape (2,)", &|| drop(transform::hessian(|x| x, &array![1.0, 2.0]))),
        ("hvp: a vector of shape (1,) for an array of shape (2,)", &|| {
            drop(transform::hvp(|x| x.sum(), &array![1.0, 2.0], &array![1.0]));
        }),
        ("vjp: a cotangent of shape (1,) for a value of shape (2,)", &|| {
            drop(transform::vjp(|x| x, &array![1.0, 2.0], array![1.0]));
        }),
    ] {
        let text = message(f);
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn third_derivatives_of_tanh_are_right() {
    let tape = Tape::new();
    let x = tape.leaf(Array1::linspace(-2.0, 2.0, 9));
    let one = tape.constant(f64::ONE).broadcast_to([9]);
    let mut d = x.tanh();
    for _ in 0..3 {
        d = d.jvp(&[x], &[one]);
    }
    let y = x.value().mapv(f64::tanh);
    let expected = y.mapv(|y| (1.0 - y * y) * (6.0 * y * y - 2.0));
    close(&d.value(), &expected.view(), "third derivative");
}

#[test]
fn a_detached_target_moves_along_its_own_tangent_alone() {
    let tape = Tape::new();
    let x = tape.leaf(3.0);
    let d = x.detach();
    let v = [tape.constant(1.0), tape.constant(10.0)];
    assert_eq!((x * d).jvp(&[x, d], &v).item(), 33.0); // d · 1 + x · 10
}

#[test]
fn a_tangent_of_an_operand_that_is_broadcast_is_broadcast_with_it() {
    let tape = Tape::new();
    let (a, b) = (tape.leaf(array![3.0]), tape.leaf(array![5.0, 6.0]));
    let v = tape.constant(array![2.0]);
    for (y, expected) in [(a + b, 2.0), (b + a, 2.0), (a - b, 2.0), (b - a, -2.0)] {
        assert_eq!(y.jvp(&[a], &[v]).value(), array![expected, expected].into_dyn());
    }
    assert_eq!((a * b).jvp(&[a], &[v]).value(), array![10.0, 12.0].into_dyn());
}

#[test]
fn nothing_is_pushed_forward_to_what_a_detached_target_was_computed_from() {
    let tape = Tape::new();
    let x = tape.leaf(0.0);
    let d = x.sqrt().detach();
    let (y, v) = (d * x, tape.constant(1.0));
    let before = tape.len();
    assert_eq!(y.jvp(&[x, d], &[v, v]).item(), 0.0); // d · 1 + x · 1, and not the infinite slope of the root
    assert_eq!(tape.ops()[before..], ["mul", "mul", "add"]);
}

#[test]
fn a_transform_says_so_if_the_function_returns_a_var_of_another_tape() {
    let other: &'static Tape<f64> = Box::leak(Box::default());
    let (alien, x) = (other.leaf(1.0), array![1.0]);
    for (helper, f) in [
        ("value_and_grad", (&|| drop(transform::value_and_grad(|_| alien, &x))) as &dyn Fn()),
        ("vjp", &|| drop(transform::vjp(|_| alien, &x, ndarray::arr0(1.0)))),
        ("jvp", &|| drop(transform::jvp(|_| alien, &x, &x))),
        ("jacobian", &|| drop(transform::jacobian(|_| alien, &x))),
        ("hvp", &|| drop(transform::hvp(|_| alien, &x, &x))),
        ("hessian", &|| drop(transform::hessian(|_| alien, &x))),
    ] {
        assert_eq!(message(f), format!("{helper}: the function returned a Var of another tape"));
    }
}

/// Doubles, and counts how often its rule runs.
#[derive(Debug, Default)]
struct Counted(AtomicUsize);

impl CustomOp<f64> for Counted {
    fn name(&self) -> &'static str {
        "counted"
    }

    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, ShapeError> {
        Ok(Shape::from(operands[0]))
    }

    fn forward(&self, operands: &[ArrayViewD<f64>], mut result: ArrayViewMutD<f64>) {
        result.assign(&(&operands[0] * 2.0));
    }

    fn vjp<'t>(&self, _: usize, _: &[Var<'t, f64>], _: Var<'t, f64>, g: Var<'t, f64>) -> Var<'t, f64> {
        self.0.fetch_add(1, Ordering::Relaxed);
        g * 2.0
    }
}

#[test]
fn a_jacobian_runs_as_many_rules_as_there_are_rows_or_one_to_record_the_columns() {
    let op = Arc::new(Counted::default());
    let rows = transform::jacobian(|x| Var::custom(op.clone(), &[x]).slice(0, ..2), &array![1.0, 2.0, 3.0]);
    assert_eq!(rows, array![[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]].into_dyn());
    assert_eq!(op.0.swap(0, Ordering::Relaxed), 2);
    let columns = transform::jacobian(|x| Var::custom(op.clone(), &[x]).broadcast_to([3, 1]), &array![1.0]);
    assert_eq!(columns, array![[[2.0]], [[2.0]], [[2.0]]].into_dyn());
    assert_eq!(op.0.load(Ordering::Relaxed), 1);
}
