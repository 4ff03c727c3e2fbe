//! A bug in calling code panics at the caller's line and names operation, shapes, and where the operands were recorded.

use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, PoisonError};

use ndarray::{Array1, Array2, ArrayViewD, ArrayViewMutD, array};
use tapegrad::data::{Batches, Samples};
use tapegrad::nn::{AugmentedLinear, Graph, Linear, Module, Mse, NaryModule, Sequential, Sum, Tanh};
use tapegrad::optim::Sgd;
use tapegrad::train::{ByHand, Descent, Examples, mini_batch_descent};
use tapegrad::{AxisRange, CrossEntropyOptions, CustomOp, KeepDims, Param, Reduction, Shape, ShapeError, Tape, Var};

/// One test at a time: the panic hook is the process's.
static HOOK: Mutex<()> = Mutex::new(());

/// Runs `f`, which must panic, and returns the message and the line of this file that it names.
fn caught<R>(f: impl FnOnce() -> R) -> (String, u32) {
    let _one_at_a_time = HOOK.lock().unwrap_or_else(PoisonError::into_inner);
    let found = Arc::new(Mutex::new(None));
    let before = panic::take_hook();
    let (slot, thread) = (Arc::clone(&found), std::thread::current().id());
    panic::set_hook(Box::new(move |info| {
        // Tests that panic in other ways run beside this one.
        if std::thread::current().id() != thread {
            return;
        }
        let payload = info.payload();
        let owned = payload.downcast_ref::<String>().cloned();
        let message = owned.or_else(|| payload.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default();
        let location = info.location().expect("a panic has a location");
        *slot.lock().expect("nobody panics here") = Some((message, location.file().to_string(), location.line()));
    }));
    let result = panic::catch_unwind(AssertUnwindSafe(f));
    panic::set_hook(before);
    assert!(result.is_err(), "nothing panicked");
    let (message, file, line) = found.lock().expect("nobody panics here").take().expect("the hook ran");
    assert!(file.ends_with("errors.rs"), "the panic is at {file}:{line}, not at the caller: {message}");
    (message, line)
}

/// Asserts that an expression panics on its own line with this message.
macro_rules! assert_panics {
    ($expression:expr, $expected:expr) => {
        let (message, line) = caught(|| $expression);
        assert_eq!(message, $expected);
        assert_eq!(line, line!());
    };
    ($expression:expr, starts with $expected:expr) => {
        let (message, line) = caught(|| $expression);
        assert!(message.starts_with(&$expected), "{message}");
        assert_eq!(line, line!());
    };
}

fn zeros(rows: usize, columns: usize) -> Array2<f64> {
    Array2::zeros((rows, columns))
}

#[test]
fn a_matrix_product_that_does_not_fit_names_shapes_and_lines() {
    let tape = Tape::new();
    let x = tape.leaf(zeros(32, 784));
    let w = tape.param(&Param::new(zeros(785, 10)));
    let (x_line, w_line) = (line!() - 2, line!() - 1);
    let expected = format!(
        "matmul: (32, 784) x (785, 10): inner dimensions 784 and 785 differ\n  \
         operand 0: %0 = leaf (32, 784), recorded at tests/errors.rs:{x_line}:18\n  \
         operand 1: %1 = param (785, 10), recorded at tests/errors.rs:{w_line}:18"
    );
    assert_panics!(x.matmul(w), expected);
    assert_panics!(x.transpose().transpose().matmul(w), starts with "matmul: (32, 784) x (785, 10): inner dimensions");
    let vector = tape.leaf(Array1::zeros(3));
    assert_panics!(x.matmul(vector), starts with "matmul: (32, 784) x (3,): inner dimensions 784 and 3 differ");
    let cube = tape.leaf(ndarray::Array3::zeros((2, 3, 4)));
    assert_panics!(cube.matmul(x), starts with "matmul: (2, 3, 4) x (32, 784): inner dimensions 4 and 32 differ");
    let other = tape.leaf(ndarray::Array3::zeros((5, 4, 3)));
    let expected =
        "matmul: (2, 3, 4) x (5, 4, 3): the axes before the last two, (2,) and (5,), do not broadcast\n  operand 0: ";
    assert_panics!(cube.matmul(other), starts with expected);
    let scalar = tape.leaf(1.0);
    assert_panics!(scalar.matmul(x), starts with "matmul: () x (32, 784): the left operand has no axis");
    assert_panics!(x.matmul(scalar), starts with "matmul: (32, 784) x (): the right operand has no axis");
}

#[test]
fn operators_name_the_line_of_the_expression() {
    let tape = Tape::new();
    let (a, b) = (tape.leaf(zeros(32, 10)), tape.leaf(Array1::zeros(32)));
    assert_panics!(a + b, starts with "add: (32, 10) x (32,): lengths 10 and 32 of axis -1 do not broadcast\n  operand 0: %0");
    assert_panics!(a - b, starts with "sub: ");
    assert_panics!(a * b, starts with "mul: ");
    assert_panics!(a / b, starts with "div: ");
    assert_panics!(a.maximum(b), starts with "maximum: ");
    // Computed operands name the line that computed them.
    let line = line!() + 1;
    let doubled = b * 2.0;
    let found = caught(|| a + doubled).0;
    assert!(found.contains(&format!("operand 1: %2 = scale[2] (32,), recorded at tests/errors.rs:{line}:")), "{found}");
}

#[test]
fn values_of_different_tapes_do_not_mix() {
    let (tape, other) = (Tape::new(), Tape::new());
    let (a, b) = (tape.leaf(1.0), other.leaf(2.0));
    assert_panics!(a + b, starts with "add: the operands belong to different tapes: %0 = leaf (), recorded at tests/errors.rs:");
    assert_panics!(a.matmul(b), starts with "matmul: the operands belong to different tapes");
    assert_panics!(Var::concat(&[a, b], 0), starts with "concat: the operands belong to different tapes");
    assert_panics!((a * a).grads(&[b]), starts with "grads: the operands belong to different tapes");
}

#[test]
fn axes_out_of_range_are_named() {
    let tape = Tape::new();
    let x = tape.leaf(zeros(2, 3));
    assert_panics!(x.sum_axes([2], KeepDims::No), starts with "sum: (2, 3): axis 2 is out of range for 2 axes");
    assert_panics!(x.mean_axes([-3], KeepDims::No), starts with "mean: (2, 3): axis -3 is out of range for 2 axes");
    assert_panics!(x.max_axes([0, -2], KeepDims::No), starts with "max: (2, 3): axis -2 is named twice");
    assert_panics!(x.softmax(5), starts with "softmax: (2, 3): axis 5 is out of range");
    assert_panics!(x.log_softmax(2), starts with "log_softmax: (2, 3): axis 2 is out of range");
    assert_panics!(x.slice(2, ..), starts with "slice: (2, 3): axis 2 is out of range");
    assert_panics!(x.index_select(2, &[0]), starts with "index_select: (2, 3): axis 2 is out of range");
    assert_panics!(Var::concat(&[x], 2), starts with "concat: (2, 3): axis 2 is out of range");
    assert_panics!(x.permute([0]), starts with "permute: (2, 3): [0] does not name each of the 2 axes once");
    assert_panics!(x.permute([0, 0]), starts with "permute: (2, 3): axis 0 is named twice");
}

#[test]
fn shapes_and_indices_that_do_not_fit_are_named() {
    let tape = Tape::new();
    let x = tape.leaf(zeros(2, 3));
    assert_panics!(x.reshape([4, 2]), starts with "reshape: (2, 3): 6 elements do not fill the shape (4, 2), which takes 8");
    assert_panics!(x.broadcast_to([3, 2]), starts with "broadcast_to: (2, 3): it does not broadcast to (3, 2)");
    assert_panics!(x.broadcast_to([3]), starts with "broadcast_to: (2, 3): it does not broadcast to (3,)");
    assert_panics!(x.squeeze(0), starts with "squeeze: (2, 3): axis 0 has the length 2, not 1");
    assert_panics!(x.expand_dims(3), starts with "expand_dims: (2, 3): axis 3 is out of range for a result of 3 axes");
    assert_panics!(Var::stack(&[x, x.transpose()], 0), starts with "stack: (2, 3) x (3, 2): operand 1 has another shape");
    assert_panics!(Var::stack(&[x], -4), starts with "stack: (2, 3): axis -4 is out of range for a result of 3 axes");
    let ranges = [AxisRange::from(..), AxisRange::from(..), AxisRange::from(..)];
    assert_panics!(x.slice_axes(ranges), starts with "slice_axes: (2, 3): 3 ranges for 2 axes");
    assert_panics!(x.slice_axes([AxisRange::new(0, 1, 0)]), starts with "slice_axes: (2, 3): the step along axis 0 is 0");
    assert_panics!(x.flip([1, -1]), starts with "flip: (2, 3): axis -1 is named twice");
    assert_panics!(x.pad([(1, 1)], 0.0), starts with "pad: (2, 3): 1 pairs of lengths for 2 axes");
    assert_panics!(x.swapaxes(0, 2), starts with "swapaxes: (2, 3): axis 2 is out of range");
    let (wide, far) = (array![[0, 0, 0, 0]], array![[3]]);
    assert_panics!(x.gather(0, &wide), starts with "gather: (2, 3): indices of shape (1, 4) do not fit outside axis 0");
    assert_panics!(x.gather(1, &far), starts with "gather: (2, 3): index 3 is out of range for axis 1 of length 3");
    let expected = "scatter_add: (2, 3) x (2, 3): the source has another shape than the indices, (1, 4)";
    assert_panics!(x.scatter_add(1, &wide, x), starts with expected);
    let vector = tape.leaf(Array1::zeros(3));
    assert_panics!(vector.tril(0), starts with "tril: (3,): the operand has 1 axes, not at least 2");
    assert_panics!(tape.leaf(1.0).diag(), starts with "diag: (): a number has no diagonal");
    let images = tape.leaf(ndarray::Array4::zeros((2, 3, 4, 4)));
    let (weight, large) =
        (tape.leaf(ndarray::Array4::zeros((5, 2, 3, 3))), tape.leaf(ndarray::Array4::zeros((5, 3, 7, 3))));
    let expected = "conv2d: (2, 3, 4, 4) x (5, 2, 3, 3): the input has 3 channels, the weight takes 2";
    assert_panics!(images.conv2d(weight, None, 1, 0), starts with expected);
    let expected = "conv2d: (2, 3, 4, 4) x (5, 3, 7, 3): a window of [7, 3] is larger than [4, 4], padded by [1, 1]";
    assert_panics!(images.conv2d(large, None, 1, 1), starts with expected);
    assert_panics!(x.conv2d(weight, None, 1, 0), starts with "conv2d: (2, 3) x (5, 2, 3, 3): input and weight have 4 axes");
    let expected = "conv2d: (2, 3, 4, 4) x (5, 3, 7, 3) x (3,): the bias is not of shape (5,)";
    assert_panics!(images.conv2d(large, Some(vector), 1, 2), starts with expected);
    let expected = "max_pool2d: (2, 3): a window of [2, 2] with a stride of [0, 1]: every length has to be at least 1";
    assert_panics!(x.max_pool2d(2, [0, 1]), starts with expected);
    assert_panics!(x.avg_pool2d(3, 1), starts with "avg_pool2d: (2, 3): a window of [3, 3] is larger than [2, 3]");
    let expected = "layer_norm: (2, 3) x (2, 3) x (3,): gain and bias are not of the shape of the last axes";
    assert_panics!(x.layer_norm(x, vector, 0.1), starts with expected);
    let expected = "batch_norm: (2, 3, 4, 4) x (2, 3) x (3,): gain and bias are not of shape (3,)";
    assert_panics!(images.batch_norm(x, vector, 0.1), starts with expected);
    assert_panics!(x.inv(), starts with "inv: (2, 3): the matrix is 2 x 3, not square");
    assert_panics!(x.det(), starts with "det: (2, 3): the matrix is 2 x 3, not square");
    assert_panics!(vector.logdet(), starts with "logdet: (3,): the operand has 1 axes, not at least 2");
    assert_panics!(x.cholesky(), starts with "cholesky: (2, 3): the matrix is 2 x 3, not square");
    assert_panics!(x.eigh(), starts with "eigh: (2, 3): the matrix is 2 x 3, not square");
    assert_panics!(x.eigvalsh(), starts with "eigh: (2, 3): the matrix is 2 x 3, not square");
    assert_panics!(vector.eigh(), starts with "eigh: (3,): the operand has 1 axes, not at least 2");
    assert_panics!(vector.qr(), starts with "qr: (3,): the operand has 1 axes, not at least 2");
    assert_panics!(vector.svd(), starts with "svd: (3,): the operand has 1 axes, not at least 2");
    assert_panics!(vector.svdvals(), starts with "svd: (3,): the operand has 1 axes, not at least 2");
    assert_panics!(vector.trace(), starts with "trace: (3,): the operand has 1 axes, not at least 2");
    assert_panics!(x.solve(vector), starts with "solve: (2, 3) x (3,): the matrix is 2 x 3, not square");
    let square = tape.leaf(zeros(2, 2));
    assert_panics!(square.solve(vector), starts with "solve: (2, 2) x (3,): 2 equations for right sides of length 3");
    assert_panics!(square.solve(tape.leaf(1.0)), starts with "solve: (2, 2) x (): the operand has 0 axes, not at least 2");
    let mask = array![true, false];
    let expected = "select: (2,) x (2, 3) x (2, 3): mask and branches do not broadcast to one shape";
    assert_panics!(Var::select(&mask, x, x), starts with expected);
    assert_panics!(x.sum_to([2]), starts with "sum_to: (2, 3): it is not a broadcast of (2,)");
    assert_panics!(x.slice(0, 1..4), starts with "slice: (2, 3): 1..4 in steps of 1 is no range of axis 0 of length 2");
    assert_panics!(x.slice_step(0, .., 0), starts with "slice: (2, 3): 0..2 in steps of 0 is no range");
    assert_panics!(x.index_select(0, &[0, 2]), starts with "index_select: (2, 3): index 2 at position 1 is out of range for axis 0 of length 2");
    assert_panics!(x.pick(&[0, 3]), starts with "pick: (2, 3): index 3 at position 1 is out of range for axis 1 of length 3");
    assert_panics!(x.pick(&[0]), starts with "pick: (2, 3): 1 columns are named for 2 rows");
    assert_panics!(x.sum().pick(&[0]), starts with "pick: (): the operand has 0 axes, not 2");
    let other = tape.leaf(zeros(3, 2));
    assert_panics!(Var::concat(&[x, other], 1), starts with "concat: (2, 3) x (3, 2): operand 1 differs from the first outside axis 1");
    assert_panics!(Var::<f64>::concat(&[], 1), "concat: there is nothing to join");
    assert_panics!(x.slice(0, ..=usize::MAX), starts with "slice: (2, 3): 0..9223372036854775807 in steps of 1");
    assert_panics!(x.slice(0, -3..), starts with "slice: (2, 3): -3..2 in steps of 1 is no range of axis 0 of length 2");
    assert_panics!(x.slice(1, -1..1), starts with "slice: (2, 3): -1..1 in steps of 1 is no range of axis 1");
    assert_panics!(x.slice(1, AxisRange::new(3, None, -1)), starts with "slice: (2, 3): 3..3 in steps of -1 is no range");
    assert_panics!(x.slice(1, AxisRange::new(0, 1, -1)), starts with "slice: (2, 3): 0..1 in steps of -1 is no range");
    assert_panics!(x.index(0, 2), starts with "index: (2, 3): position 2 is out of range for axis 0 of length 2");
    assert_panics!(x.index(-1, -4), starts with "index: (2, 3): position -4 is out of range for axis 1 of length 3");
    assert_panics!(x.split(0, 0), starts with "split: (2, 3): parts of length 0");
    assert_panics!(x.split_sizes(1, &[1, 1]), starts with "split_sizes: (2, 3): [1, 1] add up to 2, the length of axis 1 is 3");
    assert_panics!(x.chunk(0, 0), starts with "chunk: (2, 3): 0 chunks");
    assert_panics!(x.flatten_axes(-1, 0), starts with "flatten_axes: (2, 3): axis 0 is before axis -1");
    assert_panics!(x.reshape((4, ())), starts with "reshape: (2, 3): 6 elements cannot be split into groups of 4");
    assert_panics!(x.reshape(((), 0)), starts with "reshape: (2, 3): beside a length of 0, no length can be inferred");
    assert_panics!(vector.diagonal(0), starts with "diagonal: (3,): the operand has 1 axes, not at least 2");
    assert_panics!(x.take(0, &array![[0], [2]]), starts with "take: (2, 3): index 2 at position 1 is out of range for axis 0");
    assert_panics!(x.pick_axis(0, &array![0, 1]), starts with "pick_axis: (2, 3): indices of shape (2,), expected (3,)");
    assert_panics!(x.pick_axis(0, &array![0, 2, 0]), starts with "pick_axis: (2, 3): index 2 is out of range for axis 0");
    assert_panics!(x.glu(1), starts with "glu: (2, 3): the length 3 of axis 1 is odd");
    assert_panics!(x.cumprod(2), starts with "cumprod: (2, 3): axis 2 is out of range");
    assert_panics!(x.sum_axis(2), starts with "sum: (2, 3): axis 2 is out of range");
    assert_panics!(x.topk(1, 4), starts with "topk: (2, 3): 4 elements of axis 1 of length 3");
    assert_panics!(tape.leaf(zeros(2, 0)).argmax(1), starts with "argmax: (2, 0): axis 1 has no elements");
    assert_panics!(x.slogdet(), starts with "slogdet: (2, 3): expected a square matrix");
    assert_panics!(x.outer(vector), starts with "outer: (2, 3) x (3,): expected two vectors");
    assert_panics!(x.cdist(x.transpose(), 2.0), starts with "cdist: (2, 3) x (3, 2): expected two matrices with rows of one length");
    assert_panics!(x.lp_norm(0.0), "lp_norm: expected a power above 0, found 0");
    assert_panics!(x.softplus_beta(0.0), "softplus_beta: expected a beta above 0, found 0");
    assert_panics!(x.celu(-1.0), "celu: expected an alpha above 0, found -1");
    assert_panics!(x.smooth_l1_loss(x, -1.0, Reduction::Sum), starts with "smooth_l1_loss: expected a beta of at least 0, found -1");
    let options = CrossEntropyOptions::new().with_weights([1.0]).with_ignored(9);
    assert_panics!(x.cross_entropy_with(&[0, 1], &options), starts with "cross_entropy_with: (2, 3): 1 weights are given for 3 classes");
    assert_panics!(x.cross_entropy_with(&[9, 3], &options), starts with "cross_entropy_with: (2, 3): index 3 at position 1 is out of range");
    let weight = tape.leaf(ndarray::Array3::<f64>::zeros((4, 1, 1)));
    assert_panics!(x.weighted_binary_cross_entropy_with_logits(x, weight, Reduction::Sum), starts with "weighted_binary_cross_entropy_with_logits: (2, 3): a weight that makes the targets (4, 2, 3)");
    assert_panics!(tapegrad::nn::Mse::<f64>::new().with_reduction(Reduction::None), starts with "Mse: it is one number and takes no Reduction::None");
    assert_panics!(x.value_as::<ndarray::Ix1>(), "value_as: an array of shape (2, 3), expected 1 axes");
    for (subscripts, finding) in [
        ("ij,jk->ik", "ij,jk->ik names 2 operands, 1 are given"),
        ("ijk", "\"ijk\" names 3 axes of an operand of 2"),
        ("i", "\"i\" names 1 axes of an operand of 2"),
        ("ii", "i has the lengths 2 and 3 in one operand"),
        ("i1->i", "'1' in \"i1\" is no letter"),
        ("ij->ii", "i is twice in the result of ij->ii"),
        ("ij->k", "k is in the result of ij->k and in no operand"),
        ("ij->...k", "k is in the result of ij->...k and in no operand"),
    ] {
        assert_panics!(Var::einsum(subscripts, &[x]), starts with format!("einsum: (2, 3): {finding}"));
    }
    assert_panics!(Var::einsum("ij,jk", &[x, x]), starts with "einsum: (2, 3) x (2, 3): j has the lengths 3 and 2");
    assert_panics!(x.movedim(0, 2), starts with "movedim: (2, 3): axis 2 is out of range");
    assert_panics!(x.repeat_interleave(0, usize::MAX), starts with "repeat_interleave: (2, 3): repeated ");
    assert_panics!(x.reshape([usize::MAX, 2]), starts with "reshape: (2, 3): 6 elements do not fill the shape");
    let empty = tape.leaf(zeros(2, 0));
    assert_panics!(empty.max(), starts with "max: (2, 0): the maximum over no elements does not exist");
}

#[test]
fn backward_from_what_is_no_loss_says_what_to_do() {
    let tape = Tape::new();
    let (x, c) = (tape.leaf(array![1.0, 2.0]), tape.constant(3.0));
    let advice =
        "a value of shape (2,) has no single gradient: reduce it to one number first, or use backward_with(seed)";
    assert_panics!(x.backward(), format!("backward: {advice}"));
    assert_panics!(x.grads(&[x]), format!("grads: {advice}"));
    assert_panics!(x.backward_with(1.0), "backward_with: a seed of shape () for a value of shape (2,)");
    assert_panics!(x.vjp_arrays(1.0, &[x]), "vjp_arrays: a cotangent of shape () for a value of shape (2,)");
    assert_panics!((c * 2.0).backward(), starts with "backward: the value depends on no leaf and no parameter: %2 = scale[2] ()");
    assert_panics!(x.item(), "item: a value of shape (2,) is not a single number");
    assert_panics!(x.sum().grads(&[x, c]), starts with "grads: the value does not depend on target 1: %1 = constant ()");
    assert_panics!(x.sum().vjp_arrays(1.0, &[c]), starts with "vjp_arrays: source 0 is neither a leaf nor a parameter: %1 = constant ()");
}

#[derive(Debug)]
struct Stubborn;

impl CustomOp<f64> for Stubborn {
    fn name(&self) -> &'static str {
        "stubborn"
    }

    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, ShapeError> {
        match operands {
            [x] => Ok(Shape::from(*x)),
            _ => Err(ShapeError::new("stubborn", operands, "it takes one operand".into())),
        }
    }

    fn forward(&self, operands: &[ArrayViewD<f64>], mut result: ArrayViewMutD<f64>) {
        result.assign(&operands[0]);
    }

    fn vjp<'t>(&self, _: usize, _: &[Var<'t, f64>], _: Var<'t, f64>, _: Var<'t, f64>) -> Var<'t, f64> {
        panic!("no derivative today")
    }
}

#[test]
fn a_custom_operation_refuses_with_its_own_words() {
    let tape = Tape::new();
    let x = tape.leaf(1.0);
    let op = Arc::new(Stubborn);
    assert_panics!(Var::custom(op.clone(), &[x, x]), starts with "stubborn: () x (): it takes one operand\n  operand 0: %0 = leaf ()");
    assert_panics!(Var::custom(op.clone(), &[]), "stubborn: there are no operands");
}

/// A rule that mixes up rows and columns.
#[derive(Debug)]
struct Turned;

impl CustomOp<f64> for Turned {
    fn name(&self) -> &'static str {
        "turned"
    }

    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, ShapeError> {
        Ok(Shape::from(operands[0]))
    }

    fn forward(&self, operands: &[ArrayViewD<f64>], mut result: ArrayViewMutD<f64>) {
        result.assign(&operands[0]);
    }

    fn vjp<'t>(&self, _: usize, _: &[Var<'t, f64>], _: Var<'t, f64>, g: Var<'t, f64>) -> Var<'t, f64> {
        g.transpose()
    }
}

#[test]
fn a_rule_of_the_wrong_shape_is_refused() {
    let tape = Tape::new();
    let x = tape.leaf(zeros(2, 3));
    let y = Var::custom(Arc::new(Turned), &[x]).sum();
    // The hook of another test would catch this panic, too.
    let _one_at_a_time = HOOK.lock().unwrap_or_else(PoisonError::into_inner);
    let message = panic::catch_unwind(AssertUnwindSafe(|| y.backward())).expect_err("the shapes differ");
    let message = message.downcast_ref::<String>().expect("a message");
    assert!(message.starts_with("turned: vjp returned a cotangent that does not fit operand 0: "), "{message}");
    assert!(x.grad().is_none());
    let recorded = panic::catch_unwind(AssertUnwindSafe(|| y.grads(&[x]))).expect_err("the shapes differ");
    assert_eq!(recorded.downcast_ref::<String>(), Some(message));
}

/// A rule that records on a tape of its own.
#[derive(Debug)]
struct Elsewhere;

impl CustomOp<f64> for Elsewhere {
    fn name(&self) -> &'static str {
        "elsewhere"
    }

    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, ShapeError> {
        // More axes than a tape takes, from an operand with any.
        Ok(std::iter::repeat_n(1, operands[0].len() * 65).collect())
    }

    fn forward(&self, _: &[ArrayViewD<f64>], mut result: ArrayViewMutD<f64>) {
        result.fill(1.0);
    }

    fn vjp<'t>(&self, _: usize, _: &[Var<'t, f64>], _: Var<'t, f64>, _: Var<'t, f64>) -> Var<'t, f64> {
        Box::leak(Box::new(Tape::new())).leaf(1.0)
    }
}

#[test]
fn a_rule_of_another_tape_is_refused() {
    let tape = Tape::new();
    let x = tape.leaf(1.0);
    let y = Var::custom(Arc::new(Elsewhere), &[x]);
    for sweep in [&(|| y.backward()) as &dyn Fn(), &|| drop(y.grads(&[x]))] {
        let message = panic::catch_unwind(AssertUnwindSafe(sweep)).expect_err("the tapes differ");
        let message = message.downcast_ref::<&str>().map(ToString::to_string).or(message.downcast_ref().cloned());
        assert_eq!(message.as_deref(), Some("elsewhere: vjp returned a Var of another tape"));
    }
}

#[test]
fn messages_and_printed_tapes_name_a_custom_operation() {
    let tape = Tape::new();
    let y = Var::custom(Arc::new(Turned), &[tape.leaf(zeros(2, 3))]);
    assert!(format!("{y:?}").starts_with("%1 = turned (2, 3), recorded at tests/errors.rs:"), "{y:?}");
    let (message, _) = caught(|| y.matmul(y));
    assert!(message.contains("operand 1: %1 = turned (2, 3), recorded at tests/errors.rs:"), "{message}");
    let any: Arc<dyn CustomOp<f64>> = Arc::new(Turned);
    assert_eq!(*Var::custom(any.clone(), &[y]).shape(), [2, 3]);
}

#[test]
fn more_axes_than_a_tape_takes_are_refused() {
    let tape = Tape::new();
    let x = tape.leaf(1.0);
    let most = x.reshape(vec![1; 64]);
    assert_eq!(most.sum().item(), 1.0);
    let expected = "reshape: (): an array of 65 axes: a tape takes at most 64\n  operand 0: %0 = leaf (), recorded at ";
    assert_panics!(x.reshape(vec![1; 65]), starts with expected);
    assert_panics!(x.broadcast_to(vec![2; 65]), starts with "broadcast_to: (): an array of 65 axes: a tape takes at most 64");
    let many = ndarray::ArrayD::<f64>::zeros(vec![1; 65]);
    assert_panics!(tape.leaf(&many), "an array of 65 axes: a tape takes at most 64");
    assert_panics!(tape.param(&Param::new(many.clone())), "an array of 65 axes: a tape takes at most 64");
    let vector = tape.leaf(array![1.0]);
    let expected = "elsewhere: (1,): an array of 65 axes: a tape takes at most 64";
    assert_panics!(Var::custom(Arc::new(Elsewhere), &[vector]), starts with expected);
}

#[test]
fn shapes_of_too_many_elements_are_refused() {
    const HUGE: usize = usize::MAX;
    let tape = Tape::new();
    let (one, none) = (tape.leaf(1.0), tape.leaf(zeros(0, 2)));
    assert_panics!(one.broadcast_to([HUGE, 2]), starts with "broadcast_to: (): the shape (18446744073709551615, 2) has too many elements");
    assert_panics!(one.broadcast_to([HUGE]), starts with "broadcast_to: (): the shape (18446744073709551615,) has too many elements");
    assert_panics!(none.reshape([0, HUGE, 2]), starts with "reshape: (0, 2): the shape ");
    assert_panics!(none.reshape([0, 1 << 40, 1 << 40]), starts with "reshape: (0, 2): the shape ");
    let long = one.broadcast_to([isize::MAX as usize]);
    assert_panics!(Var::concat(&[long, long, long], 0), starts with "concat: ");
    let long = none.reshape([0, 1 << 31, 1 << 31]);
    assert_eq!(*long.transpose().sum_axes([0, 1], KeepDims::No).shape(), [0]);
    let x = tape.leaf(array![[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
    let first = x.slice_step(0, 0..1, HUGE);
    assert_eq!(first.value(), array![[1.0, 2.0, 3.0]].into_dyn());
    first.sum().backward();
    assert_eq!(x.grad().expect("reached"), array![[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]].into_dyn());
    assert_eq!(*x.slice_step(1, 3.., HUGE).shape(), [2, 0]);
}

#[test]
fn bounds_that_are_no_interval_are_refused() {
    let x = Tape::new();
    let x = x.leaf(0.5);
    let expected =
        |low: f64, high: f64| format!("clamp: {low} and {high} are no interval: expected a lower and an upper bound");
    assert_panics!(x.clamp(f64::NAN, 1.0), expected(f64::NAN, 1.0));
    assert_panics!(x.clamp(0.0, f64::NAN), expected(0.0, f64::NAN));
    assert_panics!(x.clamp(1.0, 0.0), expected(1.0, 0.0));
    assert_panics!(x.unary(tapegrad::op::Unary::Clamp { low: 1.0, high: 0.0 }), expected(1.0, 0.0));
    assert_eq!(x.clamp(0.25, 0.25).item(), 0.25);
    assert_eq!(x.clamp(f64::NEG_INFINITY, f64::INFINITY).item(), 0.5);
}

/// Asserts that all nodes from `start` on name this line of this file.
fn assert_all_name(tape: &Tape<f64>, start: usize, line: u32) {
    let text = tape.to_string();
    assert!(text.lines().count() > start, "{text}");
    for node in text.lines().skip(start) {
        assert!(node.ends_with(&format!(" tests/errors.rs:{line}")), "not line {line}: {node}");
    }
}

#[test]
fn recorded_networks_name_the_line_that_records_them() {
    let weight = || Param::new(zeros(2, 2));
    let inner = Sequential::new().push(Tanh::new()).push(AugmentedLinear::from_param(Param::new(zeros(3, 2))));
    let net = Sequential::new().push(Linear::from_params(weight(), Some(Param::new(Array1::zeros(2))))).push(inner);
    let tape = Tape::new();
    let x = tape.leaf(zeros(1, 2));
    net.record(&tape, x);
    assert_all_name(&tape, 1, line!() - 1);

    let mut graph = Graph::new(1);
    let layer = graph.layer(net, graph.input(0));
    graph.join(Sum::new(), &[layer, graph.input(0), graph.input(0)]);
    let start = tape.len();
    graph.record(&tape, &[x]);
    assert_all_name(&tape, start, line!() - 1);
    let start = tape.len();
    Sum::new().record(&tape, &[x, x, x]);
    assert_all_name(&tape, start, line!() - 1);
}

/// A rule that is itself a gradient: of `x² / 2`.
#[derive(Debug)]
struct HalfSquare;

impl CustomOp<f64> for HalfSquare {
    fn name(&self) -> &'static str {
        "half_square"
    }

    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, ShapeError> {
        Ok(Shape::from(operands[0]))
    }

    fn forward(&self, operands: &[ArrayViewD<f64>], mut result: ArrayViewMutD<f64>) {
        result.assign(&operands[0].mapv(|x| x * x / 2.0));
    }

    fn vjp<'t>(&self, _: usize, operands: &[Var<'t, f64>], _: Var<'t, f64>, g: Var<'t, f64>) -> Var<'t, f64> {
        g * (operands[0].square() * 0.5).grad_wrt(operands[0])
    }
}

#[test]
fn a_gradient_within_a_gradient_leaves_the_line_as_it_is() {
    let tape = Tape::new();
    let x = tape.leaf(3.0);
    let y = Var::custom(Arc::new(HalfSquare), &[x.tanh()]);
    let start = tape.len();
    let _ = y.grad_wrt(x);
    assert_all_name(&tape, start, line!() - 1);
    let start = tape.len();
    let _ = x + 1.0;
    assert_all_name(&tape, start, line!() - 1);
}

#[test]
fn a_rule_that_panics_leaves_gradients_and_tape_as_they_were() {
    let tape = Tape::new();
    let (x, w) = (tape.leaf(3.0), Param::new(array![2.0]));
    let loss = (Var::custom(Arc::new(Stubborn), &[x]) * tape.param(&w)).sum();
    assert_eq!(caught(|| loss.backward()).0, "no derivative today");
    assert_eq!(caught(|| loss.grads(&[x])).0, "no derivative today");
    assert!(x.grad().is_none() && w.grad().is_none());
    (x * tape.param(&w)).sum().backward();
    assert_eq!((x.grad().expect("reached").sum(), w.grad().expect("reached").sum()), (2.0, 3.0));
}

#[test]
fn what_no_memory_can_hold_is_refused_by_its_name() {
    let tape = Tape::new();
    let x = tape.leaf(array![1.0, 2.0]);
    let expected = "pad: (2,): the shape (4611686018427387905,) has too many elements";
    assert_panics!(x.pad([(usize::MAX / 4, 0)], 0.0), starts with expected);
    let images = tape.leaf(ndarray::Array4::zeros((1, 1, 2, 2)));
    assert_panics!(images.conv2d(images, None, 1, 1_000_000_000), starts with "conv2d: (1, 1, 2, 2) x (1, 1, 2, 2): the shape ");
    let expected =
        "tile: (2,): repeated (18446744073709551615,) times: the shape (18446744073709551615,) has too many elements";
    assert_panics!(x.tile([usize::MAX]), starts with expected);
    let expected = "max_pool2d: a window, stride, padding or dilation of 5000000000: at most 1073741823 are possible";
    assert_panics!(images.max_pool2d(5_000_000_000, 1), expected);
}

#[test]
fn a_huber_function_without_an_interval_is_refused() {
    let tape = Tape::new();
    let (x, t) = (tape.leaf(array![1.0]), tape.leaf(array![0.0]));
    assert_panics!(x.huber(-1.0), "huber: expected a delta of at least 0, found -1");
    assert_panics!(x.huber_loss(t, f64::NAN, Reduction::Sum), "huber: expected a delta of at least 0, found NaN");
    assert_eq!(x.huber(0.0).item(), 0.0);
}

#[test]
fn rows_and_sizes_of_batches_that_do_not_exist_are_named() {
    let samples = Samples::new(array![[1.0]], vec![0], 1).expect("these are samples");
    assert_panics!(samples.select(&[3]), "select: expected rows below the number of samples, 1, found 3");
    let (mut images, mut labels) = (Array2::default((0, 0)), Vec::new());
    let expected = "gather_into: expected rows below the number of samples, 1, found 1";
    assert_panics!(samples.gather_into(&[0, 1], &mut images, &mut labels), expected);
    assert_panics!(Batches::new(3, 0, 0), "Batches: expected a size of at least 1, found 0");
    let w = Param::new(array![[1.0]]);
    let mut learner = ByHand::new(Linear::from_params(w.clone(), None), Mse::new());
    let (examples, mut sgd) = (Examples::from(&samples), Sgd::new([&w], 0.1));
    let expected = "mini_batch_descent: expected batches of at least 1 example, found a size of 0";
    assert_panics!(mini_batch_descent(&mut learner, &mut sgd, &examples, None, 0, Descent::new(1)), expected);
}

#[test]
fn results_that_no_memory_holds_are_refused_by_name() {
    let tape = Tape::<f64>::new();
    let x = tape.leaf(ndarray::array![1.0, 2.0]);
    let wide = tape.leaf(1.0).broadcast_to([1 << 45]); // not held, only seen
    assert_panics!(x.pad([(1 << 45, 0)], 0.0), starts with "pad: (2,): there is no memory for a result of shape (35184372088834,)");
    assert_panics!(wide + 1.0, starts with "add_number: (35184372088832,): there is no memory for a result of shape");
    assert_panics!(wide * wide, starts with "mul: (35184372088832,) x (35184372088832,): there is no memory");
    assert_eq!(tape.len(), 3);
}
