//! Every rule of the table against central differences, at orders 1 and 2, and the two sweeps against each other.
//!
//! A sample is a function of a few inputs. With a random cotangent `u` and random directions `v` it must hold that
//! `<u, f(x + h v) - f(x - h v)> / 2h = <grad, v>`, and the same for the gradient itself.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use ndarray::{Array2, ArrayD, ArrayViewD, ArrayViewMutD, IxDyn, Zip, array};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tapegrad::Reduction::{BatchMean, Mean, Sum};
use tapegrad::op::{Binary, Unary, names};
use tapegrad::transform::{hessian, jacobian};
use tapegrad::{AxisRange, CustomOp, KeepDims, Scalar, Shape, ShapeError, Tape, Var};

type Function = Box<dyn for<'t> Fn(&[Var<'t, f64>]) -> Var<'t, f64>>;

struct Sample {
    name: String,
    shapes: Vec<Vec<usize>>,
    range: std::ops::Range<f64>,
    f: Function,
}

fn sample(
    name: impl Into<String>,
    shapes: &[&[usize]],
    range: std::ops::Range<f64>,
    f: impl for<'t> Fn(&[Var<'t, f64>]) -> Var<'t, f64> + 'static,
) -> Sample {
    let shapes = shapes.iter().map(|shape| shape.to_vec()).collect();
    Sample { name: name.into(), shapes, range, f: Box::new(f) }
}

/// `y = x0² x1`, with a rule for each operand.
#[derive(Debug)]
struct SquareTimes;

impl CustomOp<f64> for SquareTimes {
    fn name(&self) -> &'static str {
        "square_times"
    }

    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, ShapeError> {
        match operands {
            [a, b] if a == b => Ok(Shape::from(*a)),
            _ => Err(ShapeError::new("square_times", operands, "expected two operands of one shape".into())),
        }
    }

    fn forward(&self, operands: &[ArrayViewD<f64>], result: ArrayViewMutD<f64>) {
        Zip::from(result).and(&operands[0]).and(&operands[1]).for_each(|y, &a, &b| *y = a * a * b);
    }

    fn vjp<'t>(&self, k: usize, x: &[Var<'t, f64>], y: Var<'t, f64>, g: Var<'t, f64>) -> Var<'t, f64> {
        if k == 0 { g * y / x[0] * 2.0 } else { g * x[0] * x[0] }
    }
}

/// Returns matrices that have an inverse, and if they are symmetric a Cholesky factor.
fn shifted(x: Var<'_, f64>) -> Var<'_, f64> {
    let n = x.shape()[x.shape().len() - 1];
    x + x.tape().constant(Array2::eye(n) * 4.0)
}

/// Returns a matrix that is large enough for its factors to be a node.
fn large(x: Var<'_, f64>) -> Var<'_, f64> {
    shifted(x.pad([(13, 20), (20, 13)], 0.25))
}

/// Returns matrices near `diag(0, 2, 4, …)`, with eigenvalues and singular values that are far from each other.
fn spread(x: Var<'_, f64>) -> Var<'_, f64> {
    let shape = x.shape();
    let [.., m, n] = *shape else { panic!("not a matrix: {shape}") };
    x * 0.3 + x.tape().constant(Array2::from_shape_fn((m, n), |(i, j)| if i == j { 2.0 * i as f64 } else { 0.0 }))
}

fn samples() -> Vec<Sample> {
    let mut samples = Vec::new();
    for (unary, range) in Unary::<f64>::samples() {
        samples.push(sample(unary.name(), &[&[3, 4]], range.clone(), move |x| x[0].unary(unary)));
        samples.push(sample(format!("{} strided", unary.name()), &[&[3, 4]], range, move |x| {
            x[0].transpose().slice_step(0, .., 2).unary(unary)
        }));
    }
    for (binary, Range { start, end }) in Binary::samples() {
        let name = binary.name();
        // One operand is shifted so that no two elements are near each other: ties are kinks.
        let (range, shift) = (start..start + 0.3 * (end - start), 0.45 * (end - start));
        for (a, b) in [(vec![3, 4], vec![3, 4]), (vec![3, 4], vec![4]), (vec![3, 1], vec![2, 1, 4]), (vec![], vec![5])]
        {
            samples.push(sample(name, &[&a, &b], range.clone(), move |x| x[0].binary(binary, x[1] + shift)));
            samples.push(sample(name, &[&a, &b], range.clone(), move |x| (x[0] + shift).binary(binary, x[1])));
        }
        samples.push(sample(format!("{name} strided"), &[&[4, 3], &[3, 4]], range, move |x| {
            x[0].transpose().binary(binary, x[1] + shift)
        }));
    }
    let near_zero = -1.0..1.0;
    macro_rules! add {
        ($name:literal, [$($shape:expr),*], |$x:ident| $f:expr) => {
            samples.push(sample($name, &[$(&$shape),*], near_zero.clone(), |$x| $f))
        };
    }
    add!("matmul", [[3, 4], [4, 5]], |x| x[0].matmul(x[1]));
    add!("matmul left transposed", [[4, 3], [4, 5]], |x| x[0].transpose().matmul(x[1]));
    add!("matmul right transposed", [[3, 4], [5, 4]], |x| x[0].matmul(x[1].transpose()));
    add!("matmul both transposed", [[4, 3], [5, 4]], |x| x[0].transpose().matmul(x[1].transpose()));
    add!("matmul row", [[1, 4], [4, 5]], |x| x[0].matmul(x[1]));
    add!("matmul vector matrix", [[4], [4, 5]], |x| x[0].matmul(x[1]));
    add!("matmul matrix vector", [[3, 4], [4]], |x| x[0].matmul(x[1]));
    add!("matmul dot", [[4], [4]], |x| x[0].matmul(x[1]));
    add!("matmul sliced", [[6, 8], [8, 5]], |x| x[0].slice_step(0, .., 2).matmul(x[1].slice(1, 1..4)));
    add!("matmul broadcast", [[1, 4], [4, 5]], |x| x[0].broadcast_to([3, 4]).matmul(x[1]));
    add!("matmul of itself", [[4, 4]], |x| x[0].matmul(x[0]));
    add!("matmul batched", [[2, 3, 4], [2, 4, 5]], |x| x[0].matmul(x[1]));
    add!("matmul batched, left transposed", [[2, 4, 3], [2, 4, 5]], |x| x[0].permute([0, 2, 1]).matmul(x[1]));
    add!("matmul batched, right transposed", [[2, 3, 4], [2, 5, 4]], |x| x[0].matmul(x[1].permute([0, 2, 1])));
    add!("matmul batched, both transposed", [[2, 4, 3], [2, 5, 4]], |x| {
        x[0].permute([0, 2, 1]).matmul(x[1].permute([0, 2, 1]))
    });
    add!("matmul batches broadcast", [[2, 1, 3, 4], [5, 4, 2]], |x| x[0].matmul(x[1]));
    add!("matmul batch matrix", [[2, 3, 4], [4, 5]], |x| x[0].matmul(x[1]));
    add!("matmul strided batch matrix", [[4, 3, 2], [4, 5]], |x| x[0].transpose().matmul(x[1]));
    add!("matmul matrix batch", [[3, 4], [2, 4, 5]], |x| x[0].matmul(x[1]));
    add!("matmul transposed matrix batch", [[4, 3], [2, 4, 5]], |x| x[0].transpose().matmul(x[1]));
    add!("matmul batch vector", [[2, 3, 4], [4]], |x| x[0].matmul(x[1]));
    add!("matmul vector batch", [[4], [2, 4, 5]], |x| x[0].matmul(x[1]));
    add!("sum", [[2, 3, 4]], |x| x[0].sum());
    add!("sum over the last", [[2, 3, 4]], |x| x[0].sum_axes([-1], KeepDims::No));
    add!("sum over the middle", [[2, 3, 4]], |x| x[0].sum_axes([1], KeepDims::Yes));
    add!("sum over the outer", [[2, 3, 4]], |x| x[0].sum_axes([0, 2], KeepDims::No));
    add!("sum strided", [[2, 3, 4]], |x| x[0].transpose().sum_axes([0], KeepDims::No));
    add!("mean", [[2, 3, 4]], |x| x[0].mean());
    add!("mean over axes", [[2, 3, 4]], |x| x[0].mean_axes([0, 1], KeepDims::Yes));
    add!("max", [[2, 3, 4]], |x| x[0].max());
    add!("max over axes", [[2, 3, 4]], |x| x[0].max_axes([1], KeepDims::No));
    add!("max over outer axes", [[2, 3, 4]], |x| x[0].max_axes([0, 2], KeepDims::Yes));
    add!("min", [[2, 3, 4]], |x| x[0].min());
    add!("min over axes", [[2, 3, 4]], |x| x[0].min_axes([-1, 0], KeepDims::Yes));
    add!("prod", [[2, 3, 2]], |x| x[0].prod() * 50.0);
    add!("prod of 1", [[1, 3]], |x| x[0].prod_axes([0], KeepDims::No));
    add!("prod of 2", [[2, 3]], |x| x[0].prod_axes([0], KeepDims::Yes));
    add!("prod of 3", [[2, 3]], |x| x[0].prod_axes([1], KeepDims::No));
    add!("prod of 7", [[2, 7]], |x| x[0].prod_axes([-1], KeepDims::Yes));
    add!("prod over the outer", [[2, 3, 4]], |x| x[0].prod_axes([0, 2], KeepDims::No));
    add!("prod over the middle", [[2, 5, 2]], |x| x[0].prod_axes([1], KeepDims::Yes));
    add!("prod strided", [[5, 2, 3]], |x| x[0].transpose().prod_axes([1, 2], KeepDims::No));
    add!("norm", [[2, 3, 4]], |x| x[0].norm());
    add!("norm over axes", [[2, 3, 4]], |x| x[0].norm_axes([1], KeepDims::No));
    add!("norm over the outer", [[2, 3, 4]], |x| x[0].norm_axes([0, -1], KeepDims::Yes));
    add!("norm strided", [[2, 3, 4]], |x| x[0].transpose().norm_axes([0], KeepDims::No));
    add!("norm of tiny elements", [[2, 3]], |x| (x[0] * 1e-200).norm_axes([1], KeepDims::No) * 1e200);
    add!("logsumexp", [[2, 3, 4]], |x| x[0].logsumexp());
    add!("logsumexp over axes", [[2, 3, 4]], |x| x[0].logsumexp_axes([1], KeepDims::No));
    add!("logsumexp over the outer", [[2, 3, 4]], |x| x[0].logsumexp_axes([0, 2], KeepDims::Yes));
    add!("logsumexp strided", [[4, 3]], |x| x[0].transpose().logsumexp_axes([-1], KeepDims::No));
    add!("var", [[2, 3, 4]], |x| x[0].var(1));
    add!("var over axes", [[2, 3, 4]], |x| x[0].var_axes([0, -1], 0, KeepDims::Yes));
    add!("std", [[2, 3, 4]], |x| x[0].std(0));
    add!("std over axes", [[2, 3, 4]], |x| x[0].std_axes([1], 1, KeepDims::No));
    add!("cumsum", [[2, 3, 4]], |x| x[0].cumsum(-1));
    add!("cumsum of rows", [[2, 3, 4]], |x| x[0].cumsum(0) * x[0].cumsum(1));
    add!("cumsum strided", [[4, 3]], |x| x[0].transpose().cumsum(1));
    add!("mse_loss", [[3, 4], [3, 4]], |x| x[0].mse_loss(x[1], Mean));
    add!("l1_loss", [[3, 4], [3, 4]], |x| x[0].l1_loss(x[1] + 2.5, Sum));
    add!("huber_loss, near", [[3, 4], [3, 4]], |x| x[0].huber_loss(x[1], 2.5, Mean));
    add!("huber_loss, far", [[3, 4], [3, 4]], |x| x[0].huber_loss(x[1] + 4.0, 1.5, Sum));
    add!("cross_entropy_labels", [[3, 4]], |x| x[0].cross_entropy_labels(&[3, 0, 0], Mean));
    add!("cross_entropy_labels strided", [[4, 3]], |x| x[0].transpose().cross_entropy_labels(&[3, 0, 0], Sum).square());
    add!("cross_entropy", [[3, 4], [3, 4]], |x| x[0].cross_entropy(x[1], Mean));
    add!("cross_entropy of one row", [[4], [4]], |x| x[0].cross_entropy(x[1].softmax(0), Sum));
    add!("nll_loss", [[3, 4]], |x| x[0].nll_loss(&[3, 0, 0], Mean).exp());
    add!("binary_cross_entropy", [[3, 4], [3, 4]], |x| x[0].sigmoid().binary_cross_entropy(x[1].sigmoid(), Sum));
    add!("binary_cross_entropy_with_logits", [[3, 4], [3, 4]], |x| x[0].binary_cross_entropy_with_logits(x[1], Mean));
    add!("hinge_loss, active", [[3, 4], [3, 4]], |x| x[0].hinge_loss(x[1] - 3.0, Mean)
        + (x[0] + 3.0).hinge_loss(x[1] - 2.0, Sum));
    add!("perceptron_loss, active", [[3, 4], [3, 4]], |x| (x[0] + 2.0).perceptron_loss(x[1] - 2.0, Sum));
    add!("kl_div", [[3, 4], [3, 4]], |x| x[0].log_softmax(-1).kl_div(x[1].softmax(-1), Mean));
    add!("course_cross_entropy", [[3, 4], [3, 4]], |x| x[0].course_cross_entropy(x[1], BatchMean));
    add!("softmax", [[2, 3, 4]], |x| x[0].softmax(-1));
    add!("softmax over the first", [[2, 3, 4]], |x| x[0].softmax(0));
    add!("softmax over the middle", [[2, 3, 4]], |x| x[0].softmax(1));
    add!("log_softmax", [[2, 3, 4]], |x| x[0].log_softmax(-1));
    add!("log_softmax over the first", [[2, 3, 4]], |x| x[0].log_softmax(0));
    add!("log_softmax strided", [[4, 3]], |x| x[0].transpose().log_softmax(1));
    add!("reshape", [[2, 6]], |x| x[0].reshape([3, 4]));
    add!("reshape strided", [[2, 6]], |x| x[0].transpose().reshape([3, 4]));
    add!("transpose", [[2, 3, 4]], |x| x[0].transpose());
    add!("permute", [[2, 3, 4]], |x| x[0].permute([1, -1, 0]));
    add!("broadcast_to", [[3, 1]], |x| x[0].broadcast_to([2, 3, 4]));
    add!("sum_to", [[2, 3, 4]], |x| x[0].sum_to([3, 1]));
    add!("slice", [[5, 4]], |x| x[0].slice(0, 1..4).slice(-1, ..=2));
    add!("slice_step", [[7, 4]], |x| x[0].slice_step(0, 1.., 3));
    add!("index_select", [[5, 4]], |x| x[0].index_select(0, &[3, 0, 3]));
    add!("index_select of columns", [[2, 5, 4]], |x| x[0].index_select(1, &[4, 4, 1, 0]));
    add!("index_select strided", [[5, 4]], |x| x[0].transpose().index_select(0, &[1, 1]));
    add!("pick", [[3, 4]], |x| x[0].pick(&[2, 0, 2]));
    add!("concat", [[2, 3], [2, 1], [2, 2]], |x| Var::concat(x, 1));
    add!("concat of rows", [[2, 3], [1, 3]], |x| Var::concat(&[x[0], x[1], x[0]], 0));
    add!("squeeze", [[2, 1, 3]], |x| x[0].squeeze(1));
    add!("squeeze strided", [[3, 1, 2]], |x| x[0].transpose().squeeze(1).square());
    add!("expand_dims", [[2, 3]], |x| x[0].expand_dims(-1));
    add!("expand_dims strided", [[2, 3]], |x| x[0].transpose().expand_dims(1).square());
    add!("stack", [[2, 3], [2, 3]], |x| Var::stack(&[x[0], x[1], x[0]], 1));
    add!("slice_axes", [[5, 6]], |x| { x[0].slice_axes([AxisRange::new(None, None, -2), AxisRange::new(-2, 1, -1)]) });
    add!("flip", [[2, 3, 4]], |x| x[0].flip([0, 2]));
    add!("flip strided", [[2, 3, 4]], |x| x[0].transpose().flip([1]));
    add!("pad", [[2, 3]], |x| x[0].pad([(1, 0), (2, 3)], 0.7));
    add!("pad strided", [[2, 3]], |x| x[0].transpose().pad([(0, 0), (0, 1)], -0.7));
    add!("swapaxes", [[2, 3, 4]], |x| x[0].swapaxes(0, -1));
    add!("tile", [[2, 3]], |x| x[0].tile([2, 1, 3]));
    add!("tile strided", [[2, 3]], |x| x[0].transpose().tile([2]));
    add!("gather", [[3, 4]], |x| x[0].gather(0, &array![[0, 2, 1], [2, 2, 2]]));
    add!("gather strided", [[4, 3]], |x| x[0].transpose().gather(1, &array![[0, 3, 3, 1, 0]]));
    add!("scatter_add", [[3, 4], [2, 3]], |x| x[0].scatter_add(0, &array![[0, 2, 1], [0, 2, 2]], x[1]));
    add!("diag of a vector", [[3]], |x| x[0].diag());
    add!("diag of a batch", [[2, 3, 4]], |x| x[0].diag());
    add!("diag of a matrix", [[3, 4]], |x| x[0].diag());
    add!("diag of a strided matrix", [[3, 8]], |x| x[0].transpose().slice_step(0, .., 2).diag());
    add!("tril", [[2, 3, 4]], |x| x[0].tril(-1));
    add!("triu", [[4, 3]], |x| x[0].transpose().triu(1));
    add!("select", [[3, 1], [4]], |x| {
        Var::select(&array![[true, false, true, false], [true; 4], [false; 4]], x[0], x[1])
    });
    add!("select strided", [[4, 3], [3, 4]], |x| {
        Var::select(&array![true, false, true, true], x[0].transpose(), x[1])
    });
    add!("conv2d", [[2, 3, 6, 5], [4, 3, 3, 2], [4]], |x| x[0].conv2d(x[1], Some(x[2]), 1, 0));
    add!("conv2d with stride and padding", [[2, 2, 6, 5], [3, 2, 3, 2]], |x| x[0].conv2d(x[1], None, [2, 3], [1, 2]));
    add!("conv2d of elements", [[2, 3, 2, 3], [4, 3, 1, 1]], |x| x[0].conv2d(x[1], None, 1, 0));
    add!("conv2d of every other element", [[2, 3, 3, 3], [4, 3, 1, 1]], |x| x[0].conv2d(x[1], None, 2, 0));
    add!("conv2d strided", [[5, 6, 2, 1], [2, 3, 2, 4]], |x| {
        x[0].transpose().conv2d(x[1].permute([3, 0, 1, 2]).slice(0, 1..), None, 1, 1)
    });
    add!("conv2d of itself", [[2, 2, 3, 3]], |x| x[0].conv2d(x[0], None, 1, 2));
    add!("max_pool2d", [[2, 3, 5, 6]], |x| x[0].max_pool2d([2, 3], [1, 2]));
    add!("max_pool2d strided", [[6, 5]], |x| x[0].transpose().max_pool2d(2, 2).square());
    add!("avg_pool2d", [[2, 3, 5, 6]], |x| x[0].avg_pool2d([2, 3], [1, 2]).square());
    add!("avg_pool2d strided", [[6, 5]], |x| x[0].transpose().avg_pool2d(2, 2));
    add!("pools that overlap, and what they add to", [[5, 6]], |x| {
        x[0].avg_pool2d(2, 1) + x[0].max_pool2d(2, 1).square() + x[0].slice(0, 1..).slice(1, 1..)
    });
    add!("convolutions, and what they add to", [[2, 2, 4, 4], [2, 2, 3, 3]], |x| {
        x[0].conv2d(x[1], None, 1, 1).conv2d(x[1], None, 1, 1) + x[0] * x[1].sum()
    });
    add!("layer_norm", [[2, 3, 4], [4], [4]], |x| x[0].layer_norm(x[1], x[2], 0.1));
    add!("layer_norm over two axes", [[2, 3, 4], [3, 4], [3, 4]], |x| x[0].layer_norm(x[1], x[2], 0.1));
    add!("layer_norm strided", [[4, 3], [4], [4]], |x| x[0].transpose().layer_norm(x[1], x[2], 0.1));
    add!("batch_norm", [[4, 3], [3], [3]], |x| x[0].batch_norm(x[1], x[2], 0.1));
    add!("batch_norm of images", [[2, 3, 2, 3], [3], [3]], |x| x[0].batch_norm(x[1], x[2], 0.1));
    add!("batch_norm of images, strided", [[3, 2, 3, 2], [3], [3]], |x| x[0].transpose().batch_norm(x[1], x[2], 0.1));
    add!("layer_norm of itself", [[4]], |x| x[0].layer_norm(x[0], x[0], 0.1));
    add!("batch_norm, gain and bias the same", [[2, 2, 3], [2]], |x| x[0].batch_norm(x[1], x[1], 0.1));
    add!("standardize", [[2, 3, 4]], |x| x[0].standardize([1], 0.1));
    add!("standardize channels", [[2, 3, 4]], |x| x[0].standardize([0, 2], 0.1));
    add!("inv", [[3, 3]], |x| shifted(x[0]).inv());
    add!("inv batched, strided", [[3, 3, 2]], |x| shifted(x[0].transpose()).inv());
    add!("det", [[4, 4]], |x| x[0].det());
    add!("det of two", [[2, 2, 2]], |x| x[0].det());
    add!("det of one", [[1, 1]], |x| x[0].det());
    add!("det twice", [[3, 3]], |x| x[0].det().grad_wrt(x[0]));
    add!("det of a singular matrix", [[4, 2], [2, 4]], |x| x[0].matmul(x[1]).det());
    add!("det of a nearly singular matrix", [[3, 3]], |x| (x[0] * 1e-3).slice(0, 1..).pad([(1, 0), (0, 0)], 0.5).det()
        * 1e6);
    add!("logdet", [[3, 3]], |x| shifted(x[0]).logdet());
    add!("logdet batched", [[2, 3, 3]], |x| shifted(x[0]).logdet());
    add!("slogdet", [[3, 3]], |x| {
        let (sign, size) = shifted(x[0]).slogdet();
        sign * size
    });
    add!("trace", [[3, 4]], |x| x[0].trace());
    add!("trace batched", [[2, 3, 4]], |x| x[0].trace());
    add!("solve", [[4, 4], [4]], |x| shifted(x[0]).solve(x[1]));
    add!("solve for a matrix", [[3, 3], [3, 2]], |x| shifted(x[0].transpose()).solve(x[1]));
    add!("solve, batches broadcast", [[2, 1, 3, 3], [4, 3, 2]], |x| shifted(x[0]).solve(x[1]));
    add!("solve one matrix for a batch", [[3, 3], [4, 3, 2]], |x| shifted(x[0]).solve(x[1]));
    add!("solve triangular", [[3, 3], [3, 2]], |x| shifted(x[0]).tril(0).solve(shifted(x[0]).triu(0).solve(x[1])));
    add!("solve a large system", [[3, 3], [36]], |x| large(x[0]).solve(x[1]));
    add!("solve a large system for a batch", [[3, 3], [2, 36, 1]], |x| large(x[0]).transpose().solve(x[1]));
    add!("cholesky", [[3, 3]], |x| shifted(x[0]).cholesky());
    add!("cholesky of a product", [[2, 3, 3], [3, 3]], |x| shifted(x[0].matmul(x[1]) * 0.5).cholesky());
    add!("eigh", [[3, 3]], |x| {
        let (values, vectors) = spread(x[0]).eigh();
        (vectors * values.exp()).matmul(x[0])
    });
    add!("eigh batched, strided", [[3, 3, 2]], |x| {
        let (values, vectors) = spread(x[0].transpose()).eigh();
        vectors.sin() + values.expand_dims(-1)
    });
    add!("eigh of one", [[1, 1]], |x| {
        let (values, vectors) = x[0].eigh();
        values * vectors
    });
    add!("eigvalsh", [[2, 4, 4]], |x| spread(x[0]).eigvalsh());
    add!("qr", [[3, 3]], |x| {
        let (q, r) = shifted(x[0]).qr();
        q.sin() + r.square()
    });
    add!("qr of a tall matrix", [[4, 2]], |x| {
        let (q, r) = x[0].qr();
        q.matmul(r.sin())
    });
    add!("qr of a wide batch, strided", [[4, 3, 2]], |x| {
        let (q, r) = x[0].transpose().qr();
        q.sin().matmul(r)
    });
    add!("svd", [[3, 3]], |x| {
        let (u, values, v_t) = (spread(x[0]) + 1.0).svd();
        (u * values.exp()).matmul(v_t.sin())
    });
    add!("svd of a tall matrix", [[5, 3]], |x| {
        let (u, values, v_t) = (spread(x[0]) + 1.0).svd();
        (u.sin() * values).matmul(v_t)
    });
    add!("svd of a wide batch, strided", [[4, 3, 2]], |x| {
        let (u, values, v_t) = (spread(x[0].transpose()) + 1.0).svd();
        u.matmul(v_t.sin()) + values.sum()
    });
    add!("svdvals", [[2, 3, 4]], |x| (spread(x[0]) + 1.0).svdvals());
    add!("checkpoint", [[3, 4], [4]], |x| x[0].tape().checkpoint(x, |_, x| (x[0] * x[1]).tanh() + x[0].square()));
    add!("checkpoint of one input twice", [[4, 4]], |x| {
        let y = x[0].tape().checkpoint(&[x[0], x[0], x[0].transpose()], |_, x| (x[0] * x[1]).tanh() * x[2]);
        y + x[0].square()
    });
    samples.push(sample("custom", &[&[3, 2], &[3, 2]], 0.5..2.0, |x| Var::custom(Arc::new(SquareTimes), x)));
    samples
}

fn random(rng: &mut StdRng, shape: &[usize], range: std::ops::Range<f64>) -> ArrayD<f64> {
    ArrayD::from_shape_simple_fn(IxDyn(shape), || rng.random_range(range.clone()))
}

fn dot(a: &ArrayViewD<f64>, b: &ArrayD<f64>) -> f64 {
    assert_eq!(a.shape(), b.shape());
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Runs `f` on `x + h v` and returns `<u, y>`, then the gradients of that, then `<w, gradients>` and its gradients.
struct Run {
    value: f64,
    first: Vec<Option<ArrayD<f64>>>,
    contracted: f64,
    second: Vec<Option<ArrayD<f64>>>,
    ops: Vec<&'static str>,
}

fn run(f: &Function, x: &[ArrayD<f64>], u: &ArrayD<f64>, w: &[ArrayD<f64>]) -> Run {
    let tape = Tape::new();
    let x: Vec<Var<'_, f64>> = x.iter().map(|x| tape.leaf(x)).collect();
    let loss = (f(&x) * tape.constant(u)).sum();
    let grads = loss.grads_or_none(&x);
    let first = grads.iter().map(|grad| grad.map(|grad| grad.value().to_owned())).collect();
    // Half the square makes a second order of functions whose gradient is constant, too.
    let mut contracted = loss * loss * 0.5;
    for (grad, w) in grads.iter().zip(w) {
        if let Some(grad) = grad {
            contracted += (*grad * tape.constant(w)).sum();
        }
    }
    let second = contracted.grads_or_none(&x).iter().map(|g| g.map(|g| g.value().to_owned())).collect();
    Run { value: loss.item(), first, contracted: contracted.item(), second, ops: tape.ops() }
}

#[test]
fn every_rule_agrees_with_central_differences_at_orders_1_and_2() {
    let mut rng = StdRng::seed_from_u64(1);
    for Sample { name, shapes, range, f } in samples() {
        let x: Vec<ArrayD<f64>> = shapes.iter().map(|shape| random(&mut rng, shape, range.clone())).collect();
        let v: Vec<ArrayD<f64>> = shapes.iter().map(|shape| random(&mut rng, shape, -1.0..1.0)).collect();
        let w: Vec<ArrayD<f64>> = shapes.iter().map(|shape| random(&mut rng, shape, -1.0..1.0)).collect();
        let u = {
            let tape = Tape::new();
            let inputs: Vec<Var<'_, f64>> = x.iter().map(|x| tape.leaf(x)).collect();
            random(&mut rng, &f(&inputs).shape(), -1.0..1.0)
        };
        let h = 1e-5;
        let moved = |h: f64| -> Vec<ArrayD<f64>> { x.iter().zip(&v).map(|(x, v)| x + &(v * h)).collect() };
        let (at, above, below) = (run(&f, &x, &u, &w), run(&f, &moved(h), &u, &w), run(&f, &moved(-h), &u, &w));
        let along = |grads: &[Option<ArrayD<f64>>]| -> f64 {
            grads.iter().zip(&v).map(|(grad, v)| grad.as_ref().map_or(0.0, |grad| dot(&grad.view(), v))).sum()
        };
        for (order, found, expected) in [
            (1, along(&at.first), (above.value - below.value) / (2.0 * h)),
            (2, along(&at.second), (above.contracted - below.contracted) / (2.0 * h)),
        ] {
            let scale = 1.0 + expected.abs();
            assert!(
                (found - expected).abs() <= 2e-8 * scale,
                "{name}, shapes {shapes:?}, order {order}: the rule gives {found}, differences give {expected}"
            );
        }
    }
}

#[test]
fn the_sweep_on_arrays_gives_the_bits_of_the_sweep_that_records() {
    let mut rng = StdRng::seed_from_u64(2);
    for Sample { name, shapes, range, f } in samples() {
        let tape = Tape::new();
        let x: Vec<Var<'_, f64>> =
            shapes.iter().map(|shape| tape.leaf(random(&mut rng, shape, range.clone()))).collect();
        let y = f(&x);
        let loss = (y * tape.constant(random(&mut rng, &y.shape(), -1.0..1.0))).sum();
        let recorded = loss.grads_or_none(&x);
        if recorded.iter().all(Option::is_none) {
            continue; // a mask
        }
        loss.backward();
        for (k, (x, recorded)) in x.iter().zip(recorded).enumerate() {
            let recorded = recorded.map(|grad| grad.value().mapv(f64::to_bits));
            assert_eq!(x.grad().map(|grad| grad.mapv(f64::to_bits)), recorded, "{name}, shapes {shapes:?}, input {k}");
        }
    }
}

/// A sweep reads its seed where it is. The gradients are those of a cotangent that a rule has made, bit by bit, and a seed
/// that is shared stays as it is.
#[test]
fn a_seed_gives_the_bits_of_a_cotangent_in_the_middle() {
    let mut rng = StdRng::seed_from_u64(12);
    let bits = |grad: Option<ArrayD<f64>>| grad.map(|grad| grad.mapv(f64::to_bits));
    for Sample { name, shapes, range, f } in samples() {
        let tape = Tape::new();
        let x: Vec<Var<'_, f64>> =
            shapes.iter().map(|shape| tape.leaf(random(&mut rng, shape, range.clone()))).collect();
        let y = f(&x);
        let seed = Arc::new(random(&mut rng, &y.shape(), -1.0..1.0));
        if weighted(y, &seed).grads_or_none(&x).iter().all(Option::is_none) {
            continue; // a mask
        }
        let expected: Vec<_> = weighted(y, &seed).vjp_arrays(1.0, &x).into_iter().map(bits).collect();
        let strided = seed.t().as_standard_layout().into_owned().reversed_axes();
        for found in [y.vjp_arrays(&seed, &x), y.vjp_arrays(&*seed, &x), y.vjp_arrays(strided.view(), &x)] {
            let found: Vec<_> = found.into_iter().map(bits).collect();
            assert_eq!(found, expected, "{name}, shapes {shapes:?}");
        }
        let before = seed.mapv(f64::to_bits);
        y.backward_with(&seed);
        let found: Vec<_> = x.iter().map(|x| bits(x.grad().map(|grad| grad.to_owned()))).collect();
        assert_eq!(found, expected, "{name}, shapes {shapes:?}");
        assert_eq!(seed.mapv(f64::to_bits), before);
    }
}

#[test]
fn forward_is_the_transpose_of_backward_at_orders_1_and_2() {
    let mut rng = StdRng::seed_from_u64(4);
    for Sample { name, shapes, range, f } in samples() {
        let tape = Tape::new();
        let mut leaves = |range: &std::ops::Range<f64>| -> Vec<Var<'_, f64>> {
            shapes.iter().map(|shape| tape.leaf(random(&mut rng, shape, range.clone()))).collect()
        };
        let (x, v) = (leaves(&range), leaves(&(-1.0..1.0)));
        let y = f(&x);
        let u = tape.leaf(random(&mut rng, &y.shape(), -1.0..1.0));
        let Some(tangent) = y.jvp_or_none(&x, &v) else { continue }; // a mask
        let pushed = (tangent * u).sum();
        let pulled =
            y.vjp_or_none(u, &x).iter().zip(&v).filter_map(|(g, v)| Some(((*g)? * *v).sum())).reduce(|a, b| a + b);
        let pulled = pulled.expect("what moves is reached");
        let targets = [&x[..], &v, &[u]].concat();
        let close = |a: f64, b: f64, what: &str| {
            assert!(
                (a - b).abs() <= 1e-11 * (1.0 + b.abs()),
                "{name}, shapes {shapes:?}, {what}: {a} forward, {b} backward"
            );
        };
        close(pushed.item(), pulled.item(), "order 1");
        for (k, (a, b)) in pushed.grads_or_none(&targets).iter().zip(pulled.grads_or_none(&targets)).enumerate() {
            let zero = tape.constant(0.0);
            let (a, b) = (a.unwrap_or(zero).value(), b.unwrap_or(zero).value());
            let zeros = ArrayD::<f64>::zeros(targets[k].shape().to_vec());
            for (a, b) in (&a + &zeros).iter().zip((&b + &zeros).iter()) {
                close(*a, *b, &format!("order 2, target {k}"));
            }
        }
    }
}

/// Returns arrays of these shapes, one after the other in a vector.
fn parts_of<'t>(x: Var<'t, f64>, shapes: &[Vec<usize>]) -> Vec<Var<'t, f64>> {
    let mut start = 0;
    let part = |shape: &Vec<usize>| {
        let size: usize = shape.iter().product();
        start += size;
        x.slice(0, start - size..start).reshape(shape.clone())
    };
    shapes.iter().map(part).collect()
}

fn weighted<'t>(y: Var<'t, f64>, weights: &ArrayD<f64>) -> Var<'t, f64> {
    (y * y.tape().constant(weights)).sum()
}

/// The rows of a Jacobian and of a Hessian come from one sweep for all seeds, here compared with a sweep for each seed.
#[test]
fn one_sweep_for_many_seeds_agrees_with_a_sweep_for_each() {
    let mut rng = StdRng::seed_from_u64(7);
    for Sample { name, shapes, range, f } in samples() {
        let size = shapes.iter().map(|shape| shape.iter().product::<usize>()).sum();
        let x = random(&mut rng, &[size], range.clone());
        let close = |found: &ArrayD<f64>, expected: &ArrayD<f64>, what: &str| {
            assert_eq!(found.shape(), expected.shape(), "{what} of {name}");
            for (found, expected) in found.iter().zip(expected) {
                let size = 1.0 + expected.abs();
                assert!((found - expected).abs() <= 1e-12 * size, "{what} of {name}: {found} {expected}");
            }
        };
        let each = |y: Var<'_, f64>, leaf: Var<'_, f64>| -> ArrayD<f64> {
            let outputs = y.shape().elements();
            let mut rows = Vec::new();
            for k in 0..outputs {
                let mut seed = ArrayD::zeros(IxDyn(&y.shape()));
                seed.as_slice_mut().unwrap()[k] = 1.0;
                match y.vjp_arrays(&seed, &[leaf]).remove(0) {
                    Some(row) => rows.extend(row),
                    None => rows.extend(vec![0.0; leaf.len()]),
                }
            }
            let shape: Vec<usize> = y.shape().iter().chain(leaf.shape().iter()).copied().collect();
            ArrayD::from_shape_vec(shape, rows).unwrap()
        };
        let tape = Tape::new();
        let leaf = tape.leaf(&x);
        let y = f(&parts_of(leaf, &shapes));
        close(&jacobian(|x| f(&parts_of(x, &shapes)), &x), &each(y, leaf), "the Jacobian");
        let weights = random(&mut rng, &y.shape(), -1.0..1.0);
        if let Some(gradient) = weighted(y, &weights).grads_or_none(&[leaf])[0] {
            let found = hessian(|x| weighted(f(&parts_of(x, &shapes)), &weights), &x);
            close(&found, &each(gradient, leaf), "the Hessian");
        }
    }
}

#[test]
fn single_precision_agrees_with_double() {
    for (unary, range) in Unary::<f64>::samples() {
        let same_row = Unary::<f32>::samples().into_iter().find(|(single, _)| single.name() == unary.name());
        let single = same_row.expect("both types have the same rows").0;
        let x = ndarray::Array1::linspace(range.start, range.end, 33);
        let (double_tape, single_tape) = (Tape::new(), Tape::new());
        let (a, b) = (double_tape.leaf(&x), single_tape.leaf(x.mapv(|x| x as f32)));
        let (ya, yb) = (a.unary(unary), b.unary(single));
        for (a, b) in ya.value().iter().zip(yb.value()) {
            assert!((a - f64::from(*b)).abs() <= 1e-5 * (1.0 + a.abs()), "{}: {a} and {b}", unary.name());
        }
        if unary.saves() == tapegrad::op::Saves::NotDifferentiable {
            continue;
        }
        ya.sum().backward();
        yb.sum().backward();
        let (ga, gb) = (a.grad().expect("reached"), b.grad().expect("reached"));
        for (a, b) in ga.iter().zip(gb) {
            assert!((a - f64::from(*b)).abs() <= 1e-5 * (1.0 + a.abs()), "{}': {a} and {b}", unary.name());
        }
    }
}

#[test]
fn every_operation_has_a_sample() {
    let mut rng = StdRng::seed_from_u64(3);
    let mut seen = BTreeSet::new();
    for Sample { shapes, range, f, .. } in samples() {
        let x: Vec<ArrayD<f64>> = shapes.iter().map(|shape| random(&mut rng, shape, range.clone())).collect();
        let tape = Tape::new();
        let inputs: Vec<Var<'_, f64>> = x.iter().map(|x| tape.leaf(x)).collect();
        let u = random(&mut rng, &f(&inputs).shape(), -1.0..1.0);
        seen.extend(run(&f, &x, &u, &x).ops);
    }
    let missing: Vec<_> = names().into_iter().filter(|name| !seen.contains(name)).collect();
    assert!(missing.is_empty(), "no sample records {missing:?}");
}

/// Returns the derivatives of orders 1 to 4 at one point.
fn derivatives(x: f64, f: impl for<'t> Fn(Var<'t, f64>) -> Var<'t, f64>) -> [f64; 4] {
    let tape = Tape::new();
    let x = tape.leaf(x);
    let mut y = f(x);
    [(); 4].map(|()| {
        y = y.grads_or_none(&[x])[0].unwrap_or_else(|| tape.constant(0.0));
        y.item()
    })
}

#[test]
fn a_power_with_a_recorded_exponent_has_the_derivatives_of_one_with_a_number() {
    for exponent in [0.0, 1.0, 2.0, 3.0, 4.0, 2.5, -1.0] {
        for x in [0.0, 1.5, -1.5] {
            let number = derivatives(x, |x| x.powf(exponent));
            let recorded = derivatives(x, |x| x.pow(x.tape().constant(exponent)));
            let same = |(a, b): (&f64, &f64)| a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= 1e-14 * b.abs();
            assert!(recorded.iter().zip(&number).all(same), "{x}^{exponent}: {recorded:?}, expected {number:?}");
        }
    }
    assert_eq!(derivatives(0.0, |x| x.pow(x.tape().constant(0.0))), [0.0; 4]);
    assert_eq!(derivatives(0.0, |x| x.pow(x.tape().constant(1.0))), [1.0, 0.0, 0.0, 0.0]);
    assert_eq!(derivatives(0.0, |x| x.pow(x.tape().constant(2.0))), [0.0, 2.0, 0.0, 0.0]);
    // By the exponent: 0^b is 0 for b > 0.
    assert_eq!(derivatives(2.0, |b| b.tape().leaf(0.0).pow(b)), [0.0; 4]);
}

#[test]
fn derivatives_are_right_where_a_square_overflows() {
    fn slopes<T: Scalar>(x: &[f64], f: impl for<'t> Fn(Var<'t, T>) -> Var<'t, T>) -> Vec<f64> {
        let tape = Tape::<T>::new();
        let x = tape.leaf(x.iter().map(|&x| T::from_f64(x)).collect::<ndarray::Array1<_>>());
        let y = f(x).sum();
        y.backward();
        let found: Vec<f64> = x.grad().expect("reached").iter().map(|g| g.to_f64()).collect();
        let recorded: Vec<f64> = y.grad_wrt(x).value().iter().map(|g| g.to_f64()).collect();
        assert_eq!(found, recorded);
        found
    }
    let near = |found: Vec<f64>, expected: &[f64], tolerance: f64| {
        let close = |(a, b): (&f64, &f64)| (a - b).abs() <= tolerance * b.abs();
        assert!(found.iter().zip(expected).all(close), "{found:?}, expected {expected:?}");
    };
    near(slopes::<f64>(&[1e200, -1e155, 0.75], |x| x.asinh()), &[1e-200, 1e-155, 0.8], 1e-15);
    near(slopes::<f32>(&[1e22, -1e30], |x| x.asinh()), &[1e-22, 1e-30], 1e-6);
    near(slopes::<f64>(&[1e200, 1.25], |x| x.acosh()), &[1e-200, 4.0 / 3.0], 1e-15);
    near(slopes::<f32>(&[1e22], |x| x.acosh()), &[1e-22], 1e-6);
    let far = [1e19, 5e19, -1e19, -5e19, 50.0, -50.0];
    near(slopes::<f32>(&far, |x| x.gelu_tanh()), &[1.0, 1.0, 0.0, 0.0, 1.0, 0.0], 0.0);
    near(slopes::<f64>(&[1e160, -1e160], |x| x.gelu_tanh()), &[1.0, 0.0], 0.0);
}

#[test]
fn both_sweeps_add_up_the_operands_of_one_operation_in_the_same_order() {
    let tape = Tape::new();
    let (x, g) = (tape.leaf(array![1.0]), array![1e16, -1e16, 1.0]);
    let y = Var::concat(&[x, x, x], 0);
    y.backward_with(&g);
    // From the last operand on: 1 - 1e16 rounds to -1e16. From the first on it would be 1.
    assert_eq!(x.grad().expect("reached").sum(), 0.0);
    assert_eq!(y.vjp(tape.constant(&g), &[x])[0].item(), 0.0);
}
