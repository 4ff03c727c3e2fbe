//! The functions that users of PyTorch look for: values and derivatives of orders 1 and 2 against PyTorch's in float64,
//! and against differences.
//!
//! `torch_names.py` writes the table `files/torch_names.json`: shapes and interval of the inputs, and PyTorch's numbers.
//! Both make the inputs by the same formula.

use std::collections::BTreeSet;

use ndarray::{ArrayD, ArrayViewD, IxDyn, array};
use serde_json::Value;
use tapegrad::Reduction::{Mean, None, Sum};
use tapegrad::check::{Options, gradcheck};
use tapegrad::{CrossEntropyOptions, KeepDims, Program, Tape, Var};

pub(crate) type Function = for<'t> fn(&[Var<'t, f64>]) -> Var<'t, f64>;

/// The same functions as in `torch_names.py`.
fn functions() -> Vec<(&'static str, Function)> {
    let mut functions: Vec<(&'static str, Function)> = Vec::new();
    macro_rules! add {
        ($name:literal, |$x:ident| $f:expr) => {
            functions.push(($name, |$x| $f))
        };
        (concat $name:literal, $reduction:literal, |$x:ident| $f:expr) => {
            functions.push((concat!($name, " ", $reduction), |$x| $f))
        };
    }
    add!("index", |x| x[0].index(-1, -2).expand_dims(1) * x[0].index(0, 1));
    add!("slice", |x| x[0].slice(0, -3..-1).slice(1, 1..));
    add!("unbind", |x| x[0].unbind(1)[0] * x[0].unbind(-1)[3]);
    add!("split", |x| x[0].split(0, 2)[0] * x[0].split(0, 2)[1] + x[0].split(0, 2)[2]);
    add!("split_sizes", |x| x[0].split_sizes(1, &[1, 3, 1])[1] * x[0].split_sizes(1, &[1, 3, 1])[2]);
    add!("chunk", |x| x[0].chunk(0, 4)[0] * x[0].chunk(0, 4)[1] + x[0].chunk(0, 4)[2]);
    add!("flatten", |x| x[0].flatten() * x[0].flatten_axes(1, -1).sum());
    add!("flatten_axes", |x| x[0].flatten_axes(1, 2).square());
    add!("reshape", |x| x[0].reshape((3, (), 2)).square());
    add!("roll", |x| x[0].roll(1, -2) * x[0].roll(-1, 11));
    add!("movedim", |x| x[0].movedim(0, -1).square());
    add!("repeat_interleave", |x| x[0].repeat_interleave(1, 2).square());
    add!("masked_fill", |x| x[0].square().masked_fill(&array![false, true, false], 7.0));
    add!("diagonal", |x| x[0].diagonal(1).slice(0, ..2) * x[0].diagonal(-1));
    add!("pick_axis", |x| x[0].square().pick_axis(0, &array![2, 0, 2, 1]));
    add!("take", |x| x[0].square().take(0, &array![[3, 0], [3, 1]]));
    add!("selu", |x| x[0].selu());
    add!("celu", |x| x[0].celu(1.5));
    add!("mish", |x| x[0].mish());
    add!("softsign", |x| x[0].softsign());
    add!("hardswish", |x| x[0].hardswish());
    add!("relu6", |x| x[0].relu6());
    add!("hardtanh", |x| x[0].hardtanh());
    add!("softplus_beta", |x| x[0].softplus_beta(2.5));
    add!("prelu", |x| x[0].prelu(x[1].expand_dims(1)));
    add!("glu", |x| x[0].glu(-1));
    add!("exp2", |x| x[0].exp2());
    add!("floor", |x| x[0].floor() * x[0]);
    add!("ceil", |x| x[0].ceil() * x[0]);
    add!("round", |x| x[0].round() * x[0]);
    add!("lgamma", |x| x[0].lgamma());
    add!("digamma", |x| x[0].digamma());
    add!("remainder", |x| x[0].remainder(x[1]));
    add!("xlogy", |x| x[0].xlogy(x[1]));
    add!("logaddexp", |x| x[0].logaddexp(x[1]));
    add!("lerp", |x| x[0].lerp(x[1], x[2]));
    add!("maximum with a number", |x| x[0].maximum(0.2) * x[0]);
    add!("minimum with a number", |x| x[0].minimum(0.2) * x[0]);
    add!("clamp_min", |x| x[0].clamp_min(0.2) * x[0]);
    add!("clamp_max", |x| x[0].clamp_max(0.2) * x[0]);
    add!("exponent_of", |x| x[0].exponent_of(2.5));
    add!("operators that assign", |x| {
        let mut y = x[0];
        y *= 2.0;
        y += x[1];
        y -= 1.0;
        y *= x[0];
        y /= x[1];
        y -= x[1];
        y /= 3.0;
        y
    });
    add!("sum of an iterator", |x| {
        let terms = [x[0], x[0].square(), x[0].exp()];
        let factors = [x[0], x[0].exp()];
        terms.into_iter().sum::<Var<'_, f64>>() * factors.iter().product::<Var<'_, f64>>()
    });
    add!("sum_axis", |x| x[0].sum_axis(1).square());
    add!("mean_axis", |x| x[0].mean_axis(0).square());
    add!("max_axis", |x| x[0].max_axis(1).square());
    add!("min_axis", |x| x[0].min_axis(-1).square());
    add!("prod_axis", |x| x[0].prod_axis(1));
    add!("norm_axis", |x| x[0].norm_axis(1));
    add!("logsumexp_axis", |x| x[0].logsumexp_axis(0));
    add!("var_axis", |x| x[0].var_axis(1, 1));
    add!("std_axis", |x| x[0].std_axis(1, 0));
    add!("cumprod", |x| x[0].cumprod(1));
    add!("cumprod with zeros", |x| (x[0] * x[0].tape().constant(array![1.0, 1.0, 0.0, 1.0, 1.0])).cumprod(1));
    add!("logcumsumexp", |x| x[0].logcumsumexp(0));
    add!("cummax", |x| x[0].cummax(1) * x[0]);
    add!("cummin", |x| x[0].cummin(0) * x[0]);
    add!("lp_norm", |x| x[0].lp_norm(2.5));
    add!("lp_norm_axes", |x| x[0].lp_norm_axes(3.0, [0, 2], KeepDims::Yes) * x[0]);
    add!("lp_norm 1", |x| x[0].lp_norm(1.0).square());
    add!("lp_norm infinity", |x| x[0].lp_norm_axes(f64::INFINITY, [1], KeepDims::No).square());
    add!("cdist", |x| x[0].cdist(x[1], 2.0));
    add!("cdist 3", |x| x[0].cdist(x[1], 3.0));
    add!("cosine_similarity", |x| x[0].cosine_similarity(x[1], -1, 1e-8));
    add!("outer", |x| x[0].outer(x[1]));
    add!("slogdet", |x| {
        let (sign, size) = x[0].slogdet();
        sign * size
    });
    add!("sort", |x| x[0].sort(1) * x[0].tape().constant(array![1.0, 2.0, 3.0, 4.0, 5.0]) * x[0]);
    add!("topk", |x| x[0].topk(0, 3).0.square());
    add!("argmax", |x| x[0].square().pick_axis(1, &x[0].argmax(1)));
    add!("argmin", |x| x[0].square().pick_axis(0, &x[0].argmin(0)));
    macro_rules! einsum {
        ($($subscripts:literal)*) => {
            $( functions.push((concat!("einsum ", $subscripts), |x| Var::einsum($subscripts, x))); )*
        };
    }
    einsum! {
        "ij,jk->ik" "ij,jk" "ba" "bij,bjk->bik" "bij,bkj->kbi" "i,j->ij" "ij,ij->" "ii->i" "ii" "iji->j" "ij,j->i" "ij->j"
        "i,ij,j->" "ab,bc,cd,de->ae" "...ij,...jk->...ik" "...i->..." "...ij->...ji" "b...,b->b..." "ij,kl,ij->lk"
        "bhid,bhjd->bhij" "ij,jk,ik->ik" ",ij->ji"
    }
    macro_rules! losses {
        ($($reduction:ident $name:literal;)*) => { $(
            add!(concat "mse_loss", $name, |x| x[0].mse_loss(x[1], $reduction));
            add!(concat "l1_loss", $name, |x| x[0].l1_loss(x[1], $reduction));
            add!(concat "huber_loss", $name, |x| x[0].huber_loss(x[1], 0.7, $reduction));
            add!(concat "smooth_l1_loss", $name, |x| x[0].smooth_l1_loss(x[1], 0.7, $reduction));
            add!(concat "cross_entropy", $name, |x| x[0].cross_entropy(x[1].softmax(1), $reduction));
            add!(concat "cross_entropy_labels", $name, |x| x[0].cross_entropy_labels(&[2, 0, 1], $reduction));
            add!(concat "nll_loss", $name, |x| x[0].square().nll_loss(&[2, 0, 1], $reduction));
            add!(concat "binary_cross_entropy", $name, |x| {
                x[0].sigmoid().binary_cross_entropy(x[1].sigmoid(), $reduction)
            });
            add!(concat "binary_cross_entropy_with_logits", $name, |x| {
                x[0].binary_cross_entropy_with_logits(x[1].sigmoid(), $reduction)
            });
            add!(concat "weighted_binary_cross_entropy_with_logits", $name, |x| {
                let weight = x[0].tape().constant(array![0.5, 2.0, 3.0]);
                x[0].weighted_binary_cross_entropy_with_logits(x[1].sigmoid(), weight, $reduction)
            });
            add!(concat "kl_div", $name, |x| x[0].log_softmax(1).kl_div(x[1].softmax(1), $reduction));
            add!(concat "cross_entropy_with weights", $name, |x| {
                x[0].cross_entropy_with(&[2, 0, 1], &weighted().with_reduction($reduction))
            });
            add!(concat "cross_entropy_with everything", $name, |x| {
                let options = weighted().with_ignored(9).with_smoothing(0.3).with_reduction($reduction);
                x[0].cross_entropy_with(&[2, 9, 1], &options)
            });
        )* };
    }
    losses! { Mean "mean"; Sum "sum"; None "none"; }
    add!("cross_entropy_with an ignored label", |x| {
        x[0].cross_entropy_with(&[2, 9, 1], &CrossEntropyOptions::new().with_ignored(9))
    });
    add!("cross_entropy_with smoothing", |x| {
        x[0].cross_entropy_with(&[2, 0, 1], &CrossEntropyOptions::new().with_smoothing(0.3))
    });
    add!("smooth_l1_loss 0", |x| x[0].smooth_l1_loss(x[1], 0.0, Mean));
    functions
}

fn weighted() -> CrossEntropyOptions<f64> {
    CrossEntropyOptions::new().with_weights([0.5, 2.0, 1.5, 0.0])
}

fn table() -> Value {
    serde_json::from_str(include_str!("files/torch_names.json")).expect("the table is JSON")
}

fn numbers(row: &Value) -> Vec<f64> {
    row.as_array().expect("an array").iter().map(|x| x.as_f64().expect("a number")).collect()
}

fn lengths(row: &Value) -> Vec<usize> {
    numbers(row).into_iter().map(|length| length as usize).collect()
}

/// The numbers of `spread` in `torch_names.py`.
pub(crate) fn spread(shape: &[usize], low: f64, high: f64, k: usize) -> ArrayD<f64> {
    let number = |i: usize| {
        let turns = (i + 1) as f64 * 0.6180339887498949 + (k + 1) as f64 * 0.4142135623730951;
        low + (high - low) * (turns - turns.floor())
    };
    let count = shape.iter().product();
    ArrayD::from_shape_vec(IxDyn(shape), (0..count).map(number).collect()).expect("the shape has this many elements")
}

fn inputs(row: &Value) -> Vec<ArrayD<f64>> {
    let range = numbers(&row["range"]);
    let shapes = row["shapes"].as_array().expect("an array").iter();
    shapes.enumerate().map(|(k, shape)| spread(&lengths(shape), range[0], range[1], k)).collect()
}

fn assert_close(found: Var<'_, f64>, expected: &Value, name: &str, what: &str) {
    let (found, expected) = (found.value(), numbers(expected));
    assert_eq!(found.len(), expected.len(), "{name}, {what}");
    for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let close = (found - expected).abs() <= 1e-10 * (1.0 + expected.abs());
        assert!(close, "{name}, {what}, element {i}: {found}, PyTorch has {expected}");
    }
}

#[test]
fn values_and_two_orders_of_derivatives_are_those_of_pytorch() {
    assert_as_in_pytorch(&functions(), &table());
}

/// Compares values and derivatives of orders 1 and 2 with a table of `torch_names.py`.
pub(crate) fn assert_as_in_pytorch(functions: &[(&'static str, Function)], table: &Value) {
    for &(name, f) in functions {
        let row = &table[name];
        assert!(row.is_object(), "{name} is not in the table");
        let tape = Tape::new();
        let x: Vec<Var<'_, f64>> = inputs(row).iter().map(|x| tape.leaf(x)).collect();
        let y = f(&x);
        assert_eq!(y.shape().to_vec(), lengths(&row["shape"]), "{name}");
        assert_close(y, &row["value"], name, "value");
        let first = (y * tape.constant(spread(&y.shape(), -1.0, 1.0, 7))).sum().grads_or_zeros(&x);
        let mut contracted = tape.constant(0.0);
        for (k, &g) in first.iter().enumerate() {
            contracted += (g * tape.constant(spread(&g.shape(), -1.0, 1.0, 11 + k))).sum();
        }
        let second = contracted.grads_or_zeros(&x);
        for k in 0..x.len() {
            assert_close(first[k], &row["first"][k], name, &format!("gradient {k}"));
            assert_close(second[k], &row["second"][k], name, &format!("second derivative {k}"));
        }
    }
}

#[test]
fn derivatives_agree_with_differences() {
    assert_as_differences(&functions(), &table());
}

/// Compares derivatives of orders 1 and 2 with differences.
pub(crate) fn assert_as_differences(functions: &[(&'static str, Function)], table: &Value) {
    for &(name, f) in functions {
        let outcome = gradcheck(f, &inputs(&table[name]), &Options::new().with_directions(1));
        outcome.unwrap_or_else(|failure| panic!("{name}: {failure}"));
    }
}

#[test]
fn compiled_programs_of_them_run_on_other_inputs() {
    let table = table();
    for (name, f) in functions() {
        let row = &table[name];
        let compile = |inputs: Vec<ArrayD<f64>>| {
            let tape = Tape::new();
            let x: Vec<Var<'_, f64>> = inputs.iter().map(|x| tape.leaf(x)).collect();
            let y = f(&x);
            let gradients = y.sum().grads_or_zeros(&x);
            let outputs: Vec<Var<'_, f64>> = std::iter::once(y).chain(gradients).collect();
            let program = Program::compile(&x, &outputs).unwrap_or_else(|error| panic!("{name}: {error}"));
            (program, outputs.iter().map(|y| y.value().to_owned()).collect::<Vec<ArrayD<f64>>>())
        };
        let others: Vec<ArrayD<f64>> = inputs(row).iter().map(|x| x.mapv(|x| 0.9 * x + 0.01)).collect();
        let (mut program, _) = compile(inputs(row));
        let (_, expected) = compile(others.clone());
        let views: Vec<ArrayViewD<'_, f64>> = others.iter().map(|x| x.view()).collect();
        let outcome = program.run(&views);
        if ["sort", "topk", "argmax", "argmin"].contains(&name) {
            assert!(outcome.is_err(), "{name}: the order of other numbers was not chosen");
            continue;
        }
        let found = outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
        for (k, expected) in expected.iter().enumerate() {
            let bits = |array: &ArrayViewD<'_, f64>| array.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&found.value(k)), bits(&expected.view()), "{name}, output {k}");
        }
    }
}

#[test]
fn every_row_of_the_table_has_a_function() {
    assert_all_rows_are_used(&functions(), &table());
}

pub(crate) fn assert_all_rows_are_used(functions: &[(&'static str, Function)], table: &Value) {
    let rows: BTreeSet<&str> = table.as_object().expect("an object").keys().map(String::as_str).collect();
    let functions: BTreeSet<&str> = functions.iter().map(|&(name, _)| name).collect();
    assert_eq!(rows, functions);
}

#[test]
#[should_panic(expected = "sum: an iterator without a Var has no tape")]
fn the_sum_of_no_vars_is_refused() {
    let _ = std::iter::empty::<Var<'_, f64>>().sum::<Var<'_, f64>>();
}

#[test]
fn a_norm_of_zeros_makes_no_nan_on_the_way() {
    let tape = Tape::new().checked();
    let x = tape.leaf(array![0.0, 0.0]);
    x.lp_norm(3.0).backward(); // a checked tape panics at a NaN
    assert_eq!(x.grad().expect("reached"), array![0.0, 0.0].into_dyn());
}

/// What overflows or underflows on the way does not spoil the result.
#[test]
fn results_that_exist_are_found_where_steps_overflow() {
    let tape = Tape::<f64>::new();
    for x in [array![1e160, 0.0], array![1e200, 1e200], array![1e-200, 1e-200]] {
        let x = tape.leaf(x);
        let cosine = x.cosine_similarity(x, 0, 0.0);
        assert!((cosine.item() - 1.0).abs() < 1e-15);
        assert!(cosine.grads(&[x])[0].value().iter().all(|g| g.abs() < 1e-10 / x.abs().max().item()));
    }
    assert_eq!(tape.leaf(array![1e20]).lerp(1.0, 1.0).item(), 1.0);
    let x = tape.leaf(array![-1e-20]);
    x.digamma().backward();
    assert!((x.grad().unwrap().sum() / 1e40 - 1.0).abs() < 1e-12);
    let (x, weight) = (tape.leaf(array![f64::INFINITY, -2.0]), tape.leaf(array![0.5]));
    x.prelu(weight).sum().backward();
    assert_eq!(weight.grad().unwrap().sum(), -2.0);
}

#[test]
fn second_derivatives_beside_a_zero_or_minus_infinity_are_finite() {
    let tape = Tape::<f64>::new().checked();
    let x = tape.leaf(array![0.0, 4.0]);
    let gradient = x.lp_norm(0.5).grads(&[x])[0];
    assert_eq!(gradient.value(), array![0.0, 1.0].into_dyn());
    let twice = gradient.square().sum().grads(&[x])[0];
    assert!(twice.value().iter().all(|g| g.abs() < 1e-15)); // of the vector (0, x), the norm is |x|

    let tape = Tape::<f64>::new();
    let x = tape.leaf(array![f64::NEG_INFINITY, f64::NEG_INFINITY, 1.0, 1.0]);
    let gradient = x.logcumsumexp(0).slice(0, 3..).sum().grads(&[x])[0];
    assert_eq!(gradient.value(), array![0.0, 0.0, 0.5, 0.5].into_dyn());
    let twice = (gradient * tape.constant(array![1.0, 1.0, 1.0, 2.0])).sum().grads(&[x])[0];
    assert_eq!(twice.value(), array![0.0, 0.0, -0.25, 0.25].into_dyn());
}
