//! Who made the first NaN or infinity, and why a gradient is missing: by message and line.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use ndarray::{ArrayViewD, ArrayViewMutD, array};
use tapegrad::blame::{Checked, NonFinite, Phase, Reason};
use tapegrad::{CustomOp, Param, Reduction, Shape, ShapeError, Tape, Var};

fn first(tape: &Tape<f64>) -> NonFinite {
    tape.first_non_finite().expect("something is not finite")
}

/// Runs `f`, which must panic, and returns the message.
fn caught<R>(f: impl FnOnce() -> R) -> String {
    let payload = panic::catch_unwind(AssertUnwindSafe(f)).err().expect("nothing panicked");
    payload.downcast_ref::<String>().expect("a message").clone()
}

#[test]
fn a_finite_record_has_nobody_to_blame() {
    let tape = Tape::new();
    assert_eq!(tape.first_non_finite(), None);
    let x = tape.leaf(array![1.0, 2.0]);
    x.ln().sum().backward();
    x.ln().sum().grad_wrt(x).sum().backward();
    assert_eq!(tape.first_non_finite(), None);
}

#[test]
fn the_first_operation_is_named_with_line_ranges_and_hint() {
    let tape = Tape::<f64>::new();
    let x = tape.leaf(array![[-1.0, 2.0], [3.0, 5.5]]);
    let y = x.relu();
    let z = y.ln();
    let (y_line, line) = (line!() - 2, line!() - 1);
    let _ = (z * 0.0).sum(); // makes a NaN, but of an infinity
    let found = first(&tape);
    assert_eq!(
        found.to_string(),
        format!(
            "ln made the first infinity: -inf at [0, 0] of (2, 2), recorded at tests/blame.rs:{line}:15\n  \
             operand 0: %1 = relu (2, 2), 0 to 5.5, 1 of 4 zero, recorded at tests/blame.rs:{y_line}:15\n  \
             hint: ln of 0 is minus infinity: keep its operand above 0, or use log_softmax for the logarithm of a softmax"
        )
    );
    assert_eq!((found.phase(), found.op()), (Phase::Recording, "ln"));
    assert_eq!((found.location().file(), found.location().line()), ("tests/blame.rs", line));
    assert_eq!((found.value(), found.index(), found.shape()), (f64::NEG_INFINITY, &[0, 0][..], &Shape::from([2, 2])));
    let range = found.operands()[0].range();
    assert_eq!((range.min(), range.max(), range.elements(), range.zeros()), (0.0, 5.5, 4, 1));
    assert!(range.is_finite());
}

/// Records something on a tape and returns the first lines' operation, number and hint.
fn blamed(f: impl for<'t> FnOnce(&'t Tape<f64>)) -> (String, f64, String) {
    let tape = Tape::new();
    f(&tape);
    let found = first(&tape);
    (found.op().into(), found.value(), found.hint().unwrap_or_default().into())
}

fn record(_: Var<'_, f64>) {}

#[test]
fn known_traps_have_a_hint() {
    type Trap = (fn(&Tape<f64>), &'static str, f64, &'static str);
    let traps: [Trap; 20] = [
        (|t| record(t.leaf(-1.0).ln()), "ln", f64::NAN, "ln of a negative number is NaN"),
        (|t| record(t.leaf(array![-1.0, 0.0]).ln()), "ln", f64::NAN, "ln of a negative number is NaN"),
        (|t| record(t.leaf(-1.0).sqrt()), "sqrt", f64::NAN, "sqrt of a negative number is NaN"),
        (
            |t| record(t.leaf(1.0) / t.leaf(array![0.0, 1.0])),
            "div",
            f64::INFINITY,
            "division by 0: among the divisors there is a 0",
        ),
        (
            |t| record(t.leaf(0.0) / t.leaf(array![0.0, 0.0])),
            "div",
            f64::NAN,
            "division by 0: among the divisors there are 2 zeros",
        ),
        (|t| record(-1.0 / t.leaf(0.0)), "divide[-1]", f64::NEG_INFINITY, "division by 0"),
        (
            |t| record(t.leaf(710.0).exp()),
            "exp",
            f64::INFINITY,
            "overflow: e^x is beyond the largest f64 from x = 709.79 on",
        ),
        (|t| record(t.leaf(1e200).square()), "square", f64::INFINITY, "overflow: beyond the largest f64, 1.797"),
        (|t| record(t.leaf(-2.0).powf(0.5)), "powf[0.5]", f64::NAN, "a negative number to a fractional power"),
        (|t| record(t.leaf(0.0).powf(-1.0)), "powf[-1]", f64::INFINITY, "0 to a negative power"),
        (
            |t| record(t.leaf(ndarray::Array1::zeros(0)).mean()),
            "divide_by[0]",
            f64::NAN,
            "division by 0, or nearly so: a mean over no elements",
        ),
        (
            |t| record((t.leaf(array![1.0, 2.0]) + t.constant(f64::NEG_INFINITY)).softmax(0)),
            "softmax[axis 0]",
            f64::NAN,
            "softmax of nothing but minus infinities",
        ),
        (
            |t| record((t.leaf(1.0) + t.constant(f64::INFINITY)) * 0.0),
            "scale[0]",
            f64::NAN,
            "infinity minus infinity, or 0 times infinity",
        ),
        (|t| record(t.leaf(-1.0).ln_1p()), "ln_1p", f64::NEG_INFINITY, "ln_1p is minus infinity at -1"),
        (
            |t| record(t.leaf(array![0.0]).binary_cross_entropy(t.constant(array![1.0]), Reduction::Mean)),
            "binary_cross_entropy_term",
            f64::INFINITY,
            "a prediction of 0 or 1 is certain, and wrong: use binary_cross_entropy_with_logits",
        ),
        (
            |t| record(t.leaf(array![-0.5]).kl_div(t.constant(array![-1.0]), Reduction::Sum)),
            "kl_divergence",
            f64::NAN,
            "targets are probabilities",
        ),
        (
            |t| {
                record(t.leaf(array![[2.0, 2.0]]).layer_norm(
                    t.constant(array![1.0, 1.0]),
                    t.constant(array![0.0, 0.0]),
                    0.0,
                ))
            },
            "normalize_affine[axes [1], eps 0]",
            f64::NAN,
            "all elements",
        ),
        (|t| record(t.leaf(array![[1.0, 1.0], [1.0, 1.0]]).inv()), "inv", f64::NAN, "the matrix is singular"),
        (|t| record(t.leaf(array![[-1.0]]).logdet()), "logdet", f64::NAN, "the determinant is not above 0"),
        (|t| record(t.leaf(array![[-1.0]]).cholesky()), "cholesky", f64::NAN, "the matrix is not positive definite"),
    ];
    for (trap, op, value, hint) in traps {
        let (found_op, found_value, found_hint) = blamed(trap);
        assert_eq!(found_op, op);
        assert!(found_value == value || found_value.is_nan() && value.is_nan(), "{op}: {found_value}");
        assert!(found_hint.starts_with(hint), "{op}: {found_hint}");
    }
}

#[test]
fn single_precision_overflows_earlier() {
    let tape = Tape::<f32>::new();
    let _ = tape.leaf(89.0).exp();
    let found = tape.first_non_finite().expect("an infinity");
    assert!(found.hint().expect("a hint").starts_with("overflow: e^x is beyond the largest f32 from x = 88.73 on"));
}

#[test]
fn inputs_are_blamed_if_they_are_not_finite() {
    let tape = Tape::<f64>::new();
    let x = tape.constant(array![1.0, f64::NAN]);
    let line = line!() - 1;
    let _ = x.square();
    assert_eq!(
        first(&tape).to_string(),
        format!("constant (2,) holds the first NaN: NaN at [1], recorded at tests/blame.rs:{line}:18")
    );
    let tape = Tape::<f64>::new();
    let w = Param::new(array![f64::INFINITY]);
    let _ = tape.param(&w);
    assert!(first(&tape).to_string().starts_with("param (1,) holds the first infinity: inf at [0], recorded at"));
}

#[test]
fn an_infinity_in_a_constant_is_blamed_only_if_something_comes_of_it() {
    let tape = Tape::<f64>::new();
    let mask = tape.constant(array![0.0, f64::NEG_INFINITY]);
    let scores = tape.leaf(array![1.0, 2.0]) + mask;
    let _ = scores.softmax(0).square().sum();
    assert_eq!(tape.first_non_finite(), None);
    let _ = scores.sum();
    assert!(first(&tape).to_string().starts_with("constant (2,) holds the first infinity: -inf at [1]"));
}

#[test]
fn views_and_broadcasts_are_looked_through() {
    let tape = Tape::<f64>::new();
    let x = tape.leaf(array![[1.0, 0.0, 2.0], [3.0, 4.0, 5.0]]).transpose().slice(0, 1..).broadcast_to([2, 2, 2]);
    let _ = x.ln();
    let found = first(&tape);
    assert_eq!((found.op(), found.index()), ("ln", &[0, 0, 0][..]));
    assert_eq!((found.operands()[0].range().min(), found.operands()[0].range().max()), (0.0, 5.0));
    assert_eq!(found.operands()[0].range().zeros(), 2);
}

#[test]
fn a_sweep_names_the_rule_and_the_line_of_its_operation() {
    let tape = Tape::<f64>::new();
    let x = tape.leaf(array![4.0, 0.0]);
    let y = x.sqrt();
    let line = line!() - 1;
    let loss = (y * 3.0).sum();
    loss.backward();
    let found = first(&tape);
    assert_eq!(
        found.to_string(),
        format!(
            "the rule of sqrt made the first infinity of the sweep: inf at [1] in the cotangent of operand 0 (2,); \
             sqrt is recorded at tests/blame.rs:{line}:15\n  \
             operand 0: %0 = leaf (2,), 0 to 4, 1 of 2 zero, recorded at tests/blame.rs:{}:18\n  \
             result: %1 = sqrt (2,), 0 to 2, 1 of 2 zero, recorded at tests/blame.rs:{line}:15\n  \
             cotangent: (2,), all 3\n  \
             hint: at 0 the derivative of sqrt is infinite: add a small number to its operand",
            line - 1
        )
    );
    assert_eq!(found.phase(), Phase::Sweep { operand: 0 });
    // Looking changes nothing.
    assert_eq!(x.grad().expect("reached"), array![0.75, f64::INFINITY].into_dyn());
    assert_eq!(first(&tape), found);
}

#[test]
fn a_selection_after_the_root_is_recognized() {
    let tape = Tape::<f64>::new();
    let x = tape.leaf(array![4.0, 0.0]);
    x.sqrt().maximum(tape.constant(1.0)).sum().backward();
    let found = first(&tape);
    assert!(found.value().is_nan());
    let hint = found.hint().expect("a hint");
    assert!(hint.contains("a cotangent of 0 times that is NaN") && hint.contains("leave it out before sqrt"), "{hint}");
}

#[test]
fn an_infinity_that_a_rule_hands_on_is_not_blamed_on_a_later_one() {
    let tape = Tape::<f64>::new();
    let x = tape.leaf(array![2.0, 3.0]);
    // The sweep comes to the product first: its rule hands the constant's infinity on to x, where the root's adds to it.
    let (root, product) = (x.sqrt(), x * tape.constant(array![1.0, f64::INFINITY]));
    (root + product).sum().backward();
    assert_eq!(first(&tape).op(), "constant");
}

#[test]
fn every_sweep_since_the_reset_is_looked_at() {
    let mut tape = Tape::<f64>::new();
    let x = tape.leaf(0.0);
    x.sqrt().backward();
    x.square().backward_with(1.0);
    assert_eq!(first(&tape).op(), "sqrt");
    tape.reset();
    assert_eq!(tape.first_non_finite(), None);
    tape.leaf(array![1.0, 1.0]).square().backward_with(array![1.0, f64::INFINITY]);
    assert!(first(&tape).to_string().starts_with("seed (2,) holds the first infinity: inf at [1]"));
}

#[test]
fn recorded_gradients_blame_the_rule() {
    let tape = Tape::<f64>::new();
    let x = tape.leaf(array![4.0, 0.0]);
    let y = x.sqrt();
    let line = line!() - 1;
    let _ = y.sum().grad_wrt(x);
    let found = first(&tape);
    assert_eq!((found.op(), found.phase()), ("sqrt", Phase::Sweep { operand: 0 }));
    assert_eq!(found.location().line(), line);
    assert_eq!(found.operands()[2].range().max(), 1.0);
}

#[test]
fn a_checked_tape_panics_at_once() {
    let tape = Tape::<f64>::new().checked();
    assert!(tape.is_checked());
    let x = tape.leaf(array![4.0, 0.0]);
    let message = caught(|| x.ln());
    assert!(
        message.starts_with("ln made the first infinity: -inf at [1] of (2,), recorded at tests/blame.rs:"),
        "{message}"
    );
    assert!(caught(|| tape.leaf(f64::NAN)).starts_with("leaf () holds the first NaN: NaN, recorded at"));
    assert!(caught(|| tape.param(&Param::new(array![f64::NAN]))).starts_with("param (1,) holds the first NaN"));
    let _ = tape.constant(f64::NEG_INFINITY) + x; // a mask
    tape.set_checked(Checked::No);
    let _ = x.ln();
}

#[test]
fn a_checked_sweep_panics_and_changes_no_gradient() {
    let tape = Tape::<f64>::new().checked();
    let (x, w) = (tape.leaf(array![4.0, 0.0]), Param::new(array![2.0]));
    let y = x.sqrt();
    let line = line!() - 1;
    let loss = (y * tape.param(&w)).sum();
    for message in [caught(|| loss.backward()), caught(|| loss.backward_with(2.0)), caught(|| loss.grads(&[x]))] {
        let expected =
            "the rule of sqrt made the first infinity of the sweep: inf at [1] in the cotangent of operand 0 (2,); ";
        assert!(message.starts_with(expected), "{message}");
        assert!(message.contains(&format!("sqrt is recorded at tests/blame.rs:{line}:15")), "{message}");
    }
    assert!(x.grad().is_none() && w.grad().is_none());
    x.square().sum().backward();
    assert_eq!(x.grad().expect("reached"), array![8.0, 0.0].into_dyn());
}

#[test]
fn a_checked_panic_is_at_the_callers_line() {
    let found = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (slot, before) = (Arc::clone(&found), panic::take_hook());
    panic::set_hook(Box::new(move |info| {
        let location = info.location().expect("a panic has a location");
        slot.lock().expect("nobody panics here").push((location.file().to_string(), location.line()));
    }));
    let tape = Tape::<f64>::new().checked();
    let x = tape.leaf(array![4.0, 0.0]);
    let y = x.sqrt().sum();
    caught(|| x.ln());
    caught(|| y.backward());
    caught(|| y.grads(&[x]));
    let line = line!();
    panic::set_hook(before);
    let found = found.lock().expect("nobody panics here");
    for expected in [line - 3, line - 2, line - 1] {
        assert!(found.contains(&("tests/blame.rs".into(), expected)), "{expected}: {found:?}");
    }
}

#[test]
fn operations_within_a_checkpoint_are_blamed_themselves() {
    // In a value.
    let tape = Tape::<f64>::new();
    let x = tape.leaf(array![4.0, 0.0]);
    let y = tape.checkpoint(&[x], |_, x| (x[0] * 2.0).ln().exp());
    let line = line!() - 1;
    let found = first(&tape);
    assert_eq!((found.op(), found.location().line(), found.value()), ("ln", line, f64::NEG_INFINITY));
    assert_eq!(y.value()[[1]], 0.0);

    // In a sweep, and behind a segment that hands an infinity on.
    let tape = Tape::<f64>::new();
    let x = tape.leaf(array![4.0, 0.0]);
    let y = tape.checkpoint(&[x], |_, x| x[0].sqrt());
    let line = line!() - 1;
    (y + x).sum().backward();
    let found = first(&tape);
    assert_eq!((found.op(), found.location().line(), found.phase()), ("sqrt", line, Phase::Sweep { operand: 0 }));

    // At once.
    let tape = Tape::<f64>::new().checked();
    let x = tape.leaf(array![4.0, 0.0]);
    assert!(caught(|| tape.checkpoint(&[x], |_, x| x[0].ln())).starts_with("ln made the first infinity"));
    let y = tape.checkpoint(&[x], |_, x| x[0].sqrt());
    assert!(caught(|| y.sum().backward()).starts_with("the rule of sqrt made the first infinity"));
    assert!(x.grad().is_none());

    // Nobody: an infinite constant was masked out.
    let tape = Tape::<f64>::new();
    let mask = tape.constant(array![0.0, f64::NEG_INFINITY]);
    let x = tape.leaf(array![4.0, 1.0]);
    tape.checkpoint(&[x + mask, mask], |_, x| (x[0] + x[1]).exp()).sum().backward();
    assert_eq!(tape.first_non_finite(), None);
}

#[test]
fn what_is_detached_is_named_as_the_cut() {
    let tape = Tape::<f64>::new();
    let w = Param::named("weight", array![2.0]);
    let cut = tape.param(&w).square().detach();
    (cut * tape.leaf(array![3.0])).sum().backward();
    let text = tape.unreached([&w])[0].to_string();
    assert!(text.contains("cut off from") && text.contains("= detached ") && text.contains("tests/blame.rs"), "{text}");
    let tape = Tape::<f64>::new();
    let x = tape.leaf(array![2.0]);
    let cut = tape.no_grad(|| x.square());
    let line = line!() - 1;
    (cut + tape.leaf(1.0)).sum().backward();
    let Some(Reason::CutOff { location, .. }) = x.unreached() else { panic!("{:?}", x.unreached()) };
    assert_eq!(location.line(), line);
}

#[test]
fn parameters_of_segments_are_unreached_for_reasons_of_their_own() {
    let tape = Tape::<f64>::new();
    let [used, cut, inner] = ["used", "cut", "inner"].map(|name| Param::named(name, array![2.0]));
    let x = tape.leaf(array![3.0]);
    let y = {
        let (used, cut, inner) = (used.clone(), cut.clone(), inner.clone());
        tape.checkpoint(&[x], move |tape, x| {
            let inner = inner.clone();
            let nested = tape.checkpoint(&[x[0].detach()], move |tape, x| x[0] * tape.param(&inner));
            x[0].detach() * tape.param(&used) * tape.param(&cut).detach() + nested
        })
    };
    let line = line!() - 2;
    let all = [&used, &cut, &inner];
    assert!(tape.unreached(all).iter().all(|unreached| matches!(unreached.reason(), Reason::NoBackward { .. })));
    y.sum().backward();
    assert_eq!((used.grad().expect("reached").sum(), inner.grad().expect("reached").sum()), (6.0, 3.0));
    let unreached = tape.unreached(all);
    let [of_cut] = &unreached[..] else { panic!("{unreached:?}") };
    let Reason::CutOff { location, by, .. } = of_cut.reason() else { panic!("{of_cut}") };
    assert_eq!((of_cut.name(), location.file()), ("cut", "tests/blame.rs"));
    assert!(by.contains("checkpoint") && location.line() < line, "{of_cut}");
    // An input that is detached within.
    assert!(matches!(x.unreached(), Some(Reason::CutOff { .. })), "{:?}", x.unreached());
    // And after a zero_grad.
    used.zero_grad();
    assert!(matches!(tape.unreached([&used])[0].reason(), Reason::Cleared { .. }));
}

#[test]
fn a_matrix_read_through_its_transpose_is_looked_at() {
    for left in [true, false] {
        for checked in [Checked::Yes, Checked::No] {
            let tape = Tape::<f64>::new();
            tape.set_checked(checked);
            let (a, b) = (tape.leaf(array![[1e-200]]), tape.leaf(array![[1e200]]));
            let turned = a.transpose();
            let product = if left { turned.matmul(b) } else { b.matmul(turned) };
            let loss = (product * tape.constant(array![[1e200]])).sum();
            // The gradient of a is 1e200 · 1e200.
            let expected = "the rule of matmul made the first infinity of the sweep: inf at [0, 0]";
            let message = if checked == Checked::Yes {
                caught(|| loss.backward())
            } else {
                loss.backward();
                first(&tape).to_string()
            };
            assert!(message.starts_with(expected), "{message}");
        }
    }
}

#[test]
fn a_checked_sweep_forward_panics_at_once() {
    let tape = Tape::<f64>::new().checked();
    let x = tape.leaf(array![4.0, 0.0]);
    let y = x.sqrt();
    let v = tape.constant(array![1.0, 1.0]);
    let line = line!() + 1;
    let message = caught(|| y.jvp(&[x], &[v]));
    assert!(
        message.contains("made the first infinity") && message.contains(&format!("tests/blame.rs:{line}:")),
        "{message}"
    );
    assert_eq!(x.square().jvp(&[x], &[v]).value(), array![8.0, 0.0].into_dyn());
}

#[test]
fn a_sum_of_cotangents_that_overflows_is_seen_on_both_paths() {
    let tape = Tape::<f64>::new().checked();
    let x = tape.leaf(1e-10);
    let y = x * 1.5e308 + x * 1.5e308;
    assert!(caught(|| y.grad_wrt(x)).starts_with("add made the first infinity"));
    assert!(caught(|| y.backward()).starts_with("the rule of scale[1.5e308] made the first infinity"));
    assert!(x.grad().is_none());
    // The result of a segment without inputs keeps none.
    let tape = Tape::<f64>::new();
    let w = Param::new(array![1.0]);
    let y = tape.checkpoint(&[], move |tape, _| tape.param(&w).sum());
    y.backward();
    assert!(matches!(y.unreached(), Some(Reason::NotKept { .. })));
}

/// Doubles; its rule divides by 0.
#[derive(Debug)]
struct Broken;

impl CustomOp<f64> for Broken {
    fn name(&self) -> &'static str {
        "broken"
    }

    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, ShapeError> {
        Ok(Shape::from(operands[0]))
    }

    fn forward(&self, operands: &[ArrayViewD<f64>], mut result: ArrayViewMutD<f64>) {
        result.assign(&(&operands[0] * 2.0));
    }

    fn vjp<'t>(&self, _: usize, _: &[Var<'t, f64>], _: Var<'t, f64>, g: Var<'t, f64>) -> Var<'t, f64> {
        g / g.tape().constant(0.0)
    }
}

#[test]
fn a_custom_operation_is_blamed_by_its_own_name() {
    for checked in [Checked::No, Checked::Yes] {
        let tape = Tape::<f64>::new();
        tape.set_checked(checked);
        let x = tape.leaf(1.0);
        let y = Var::custom(Arc::new(Broken), &[x]);
        if checked == Checked::Yes {
            let expected = "the rule of broken made the first infinity of the sweep";
            assert!(caught(|| y.backward()).starts_with(expected));
            assert!(caught(|| y.grads(&[x])).starts_with(expected));
        } else {
            y.backward();
            assert_eq!(first(&tape).op(), "broken");
            let _ = y.grads(&[x]);
            assert_eq!((first(&tape).op(), first(&tape).phase()), ("broken", Phase::Sweep { operand: 0 }));
        }
    }
}

fn reason(tape: &Tape<f64>, param: &Param<f64>) -> Reason {
    tape.unreached([param]).swap_remove(0).reason().clone()
}

#[test]
fn a_parameter_that_is_not_on_the_tape_is_said_so() {
    let mut tape = Tape::<f64>::new();
    let (w, v) = (Param::named("weight", array![[1.0, 2.0]]), Param::new(array![1.0]));
    let found = tape.unreached(&[w.clone(), v]);
    assert_eq!(
        found.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "parameter 0 \"weight\" (1, 2): never recorded on this tape since it was made or reset",
            "parameter 1 (1,): never recorded on this tape since it was made or reset"
        ]
    );
    tape.param(&w).sum().backward();
    assert_eq!(tape.unreached([&w]), []);
    w.zero_grad();
    tape.reset();
    assert_eq!(reason(&tape, &w), Reason::NotRecorded);
}

#[test]
fn no_sweep_and_a_cleared_gradient_are_told_apart() {
    let tape = Tape::<f64>::new();
    let w = Param::new(array![1.0]);
    let x = tape.param(&w);
    let line = line!() - 1;
    let loss = x.square().sum();
    assert_eq!(
        reason(&tape, &w).to_string(),
        format!(
            "recorded at tests/blame.rs:{line}:18, but no backward sweep has run on this tape since it was made or reset"
        )
    );
    let _ = loss.grads(&[x]);
    assert!(matches!(reason(&tape, &w), Reason::NoBackward { .. }), "grads leaves .grad() alone");
    loss.backward();
    w.zero_grad();
    assert!(matches!(reason(&tape, &w), Reason::Cleared { recorded } if recorded.line() == line));
}

#[test]
fn a_value_in_between_keeps_no_gradient() {
    let tape = Tape::<f64>::new();
    let y = tape.leaf(1.0).exp();
    y.square().backward();
    let reason = y.unreached().expect("no gradient");
    assert!(matches!(reason, Reason::NotKept { recorded } if recorded.line() == line!() - 3), "{reason}");
    let c = tape.constant(1.0);
    (c * tape.leaf(1.0)).backward();
    let reason = c.unreached().expect("no gradient");
    assert!(reason.to_string().contains("no cotangent passes through %3 = constant ()"), "{reason}");
}

#[test]
fn a_loss_that_does_not_depend_on_it_is_named_with_its_last_use() {
    let tape = Tape::<f64>::new();
    let (w, v) = (Param::new(array![1.0]), Param::new(array![2.0]));
    let (x, y) = (tape.param(&w), tape.param(&v));
    let line = line!() - 1;
    let loss = x.square().sum();
    loss.backward();
    assert_eq!(
        reason(&tape, &v).to_string(),
        format!(
            "recorded at tests/blame.rs:{}:40, but the sweep started from %3 = sum[axes [0]] (), recorded at \
             tests/blame.rs:{}:27, which does not depend on it: nothing uses it",
            line,
            line + 2
        )
    );
    let _ = y.tanh();
    let line = line!() - 1;
    let expected = format!("its last use is %4 = tanh (1,), recorded at tests/blame.rs:{line}:15");
    assert!(reason(&tape, &v).to_string().ends_with(&expected));
}

#[test]
fn what_cuts_a_parameter_off_is_named() {
    let tape = Tape::<f64>::new();
    let (w, v) = (Param::new(array![1.0, 2.0]), Param::new(array![3.0, 4.0]));
    let hidden = tape.param(&w).square();
    let copied = tape.constant(hidden.value());
    let shared = tape.constant(v.value());
    let (copied_line, shared_line) = (line!() - 2, line!() - 1);
    let x = tape.leaf(1.0);
    let _ = tape.param(&v);
    (copied * shared * x).sum().backward();
    for (param, by, line) in [(&w, "%2 = constant (2,)", copied_line), (&v, "%3 = constant (2,)", shared_line)] {
        let reason = reason(&tape, param);
        let Reason::CutOff { by: found, location, from, .. } = &reason else { panic!("{reason}") };
        assert!(found.starts_with(by) && from.contains("sum"), "{found}");
        assert_eq!(location.line(), line);
        assert!(reason.to_string().contains("no cotangent passes through"), "{reason}");
    }
}

#[test]
fn a_row_that_passes_no_cotangent_is_named() {
    use tapegrad::op::Binary;
    let tape = Tape::<f64>::new();
    let w = Param::new(array![1.0, 2.0]);
    let x = tape.leaf(array![1.0, 1.0]);
    let mask = tape.param(&w).binary(Binary::Equal, x);
    let line = line!() - 1;
    (mask * x).sum().backward();
    let Reason::CutOff { by, location, .. } = reason(&tape, &w) else { panic!("not cut off") };
    assert!(by.contains("equal (2,)"), "{by}");
    assert_eq!(location.line(), line);
}

#[test]
fn an_operation_that_hands_a_nan_on_is_not_blamed() {
    let tape = Tape::<f64>::new();
    let y = tape.leaf(-1.0).sqrt();
    tape.set_checked(Checked::Yes);
    assert!((y * 2.0).item().is_nan());
    assert_eq!(first(&tape).op(), "sqrt");
}

/// Its value is its first operand, its rule multiplies by the second and selects the product where that is not 0.
#[derive(Debug)]
struct Selecting;

impl CustomOp<f64> for Selecting {
    fn name(&self) -> &'static str {
        "selecting"
    }

    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, ShapeError> {
        Ok(Shape::from(operands[0]))
    }

    fn forward(&self, operands: &[ArrayViewD<f64>], mut result: ArrayViewMutD<f64>) {
        result.assign(&operands[0]);
    }

    fn vjp<'t>(&self, _: usize, x: &[Var<'t, f64>], _: Var<'t, f64>, g: Var<'t, f64>) -> Var<'t, f64> {
        let wanted = x[1].value().mapv(|x| x != 0.0);
        Var::select(&wanted, g / x[1], g.tape().constant(0.0))
    }
}

#[test]
fn what_a_rule_makes_on_the_way_and_selects_away_is_not_blamed() {
    for checked in [Checked::No, Checked::Yes] {
        let tape = Tape::<f64>::new();
        tape.set_checked(checked);
        let (x, divisor) = (tape.leaf(array![1.0, 1.0]), tape.constant(array![4.0, 0.0]));
        let y = Var::custom(Arc::new(Selecting), &[x, divisor]);
        assert_eq!(y.sum().grad_wrt(x).value(), array![0.25, 0.0].into_dyn()); // and 1 / 0 on the way
        assert_eq!(tape.first_non_finite(), None);
    }
}

#[test]
fn an_infinity_in_a_constant_is_blamed_if_only_a_gradient_shows_it() {
    let tape = Tape::<f64>::new();
    let x = tape.leaf(array![2.0, 3.0]);
    let y = x * tape.constant(array![1.0, f64::INFINITY]);
    assert_eq!(y.slice(0, ..1).sum().item(), 2.0); // all that is left of the values is finite
    assert_eq!(tape.first_non_finite(), None);
    y.backward_with(array![1.0, 1.0]);
    assert_eq!(x.grad().expect("reached"), array![1.0, f64::INFINITY].into_dyn());
    assert!(first(&tape).to_string().starts_with("constant (2,) holds the first infinity: inf at [1]"));
}

#[test]
fn a_tape_that_is_checked_too_late_still_says_which_operation_of_a_segment_it_was() {
    let tape = Tape::<f64>::new();
    let _ = tape.checkpoint(&[tape.leaf(0.0)], |_, x| x[0].ln());
    tape.set_checked(Checked::Yes);
    assert_eq!(first(&tape).op(), "ln");
}

#[test]
fn a_checkpoint_is_not_blamed_for_an_infinity_that_its_segment_hands_on() {
    use tapegrad::op::Binary;
    let tape = Tape::<f64>::new().checked();
    let x = tape.leaf(0.0);
    let y = tape.checkpoint(&[x], |tape, x| x[0].binary(Binary::MultiplyNoNan, tape.constant(f64::INFINITY)));
    assert_eq!(y.item(), 0.0);
    y.backward();
    assert_eq!(x.grad().expect("reached").sum(), f64::INFINITY);
    assert_eq!(first(&tape).op(), "constant");
}

#[test]
fn an_infinity_handed_on_before_a_segment_is_not_blamed_on_the_segment() {
    let tape = Tape::<f64>::new();
    let x = tape.leaf(array![2.0, 3.0]);
    // The sweep comes to the product first: its rule hands the constant's infinity on to x, where the segment's adds to it.
    let (square, product) =
        (tape.checkpoint(&[x], |_, x| x[0].square()), x * tape.constant(array![1.0, f64::INFINITY]));
    (square + product).sum().backward();
    assert_eq!(first(&tape).op(), "constant");
}

#[test]
fn a_mask_that_a_segment_makes_is_not_blamed_if_nothing_comes_of_it() {
    let tape = Tape::<f64>::new();
    let x = tape.leaf(array![2.0, 3.0]);
    let scores = tape.checkpoint(&[x], |tape, x| x[0] + tape.constant(array![0.0, f64::NEG_INFINITY]));
    assert_eq!(scores.softmax(0).value(), array![1.0, 0.0].into_dyn());
    assert_eq!(tape.first_non_finite(), None);
    let _ = scores.sum();
    assert!(first(&tape).to_string().starts_with("constant (2,) holds the first infinity: -inf at [1]"));
}

#[test]
fn a_nan_of_an_unknown_cause_has_no_hint() {
    let tape = Tape::<f64>::new();
    Var::custom(Arc::new(Broken), &[tape.leaf(1.0)]).backward_with(0.0); // 0 / 0
    let found = first(&tape);
    assert!(found.value().is_nan());
    assert_eq!((found.op(), found.hint()), ("broken", None));
}

#[test]
fn a_constant_of_equal_numbers_is_no_copy_unless_it_is_the_same_memory() {
    let tape = Tape::<f64>::new();
    let (w, v) = (Param::new(array![1.0, 1.0]), Param::new(array![2.0, 2.0]));
    let (_, _) = (tape.param(&w), tape.param(&v));
    let (chance, shared) = (tape.constant(array![1.0, 1.0]), tape.constant(v.value()));
    (tape.leaf(3.0) * chance * shared).sum().backward();
    assert!(matches!(reason(&tape, &w), Reason::Independent { .. }), "{}", reason(&tape, &w));
    let Reason::CutOff { by, .. } = reason(&tape, &v) else { panic!("{}", reason(&tape, &v)) };
    assert!(by.starts_with("%3 = constant (2,)"), "{by}");
}

#[test]
fn a_mask_is_cut_off_where_the_operation_has_another_operand_that_is_not() {
    use tapegrad::op::Binary;
    let tape = Tape::<f64>::new();
    let w = Param::new(array![1.0, -1.0]);
    let x = tape.leaf(array![2.0, 3.0]);
    x.binary(Binary::WherePositive, tape.param(&w)).sum().backward();
    assert_eq!(x.grad().expect("reached"), array![1.0, 0.0].into_dyn());
    let Reason::CutOff { by, .. } = reason(&tape, &w) else { panic!("{}", reason(&tape, &w)) };
    assert!(by.contains("where_positive (2,)"), "{by}");
}

#[test]
fn an_infinite_cotangent_that_a_rule_only_hands_on_is_blamed_on_its_maker() {
    let tape = Tape::<f64>::new();
    let (a, b) = (tape.leaf(1.0), tape.leaf(2.0));
    let g = tape.leaf(0.0).ln();
    let _ = (a + b).vjp(g, &[a]); // the rule of a sum records nothing: the result is g
    assert_eq!(first(&tape).op(), "ln");
}

/// A large matrix is solved by factors that are recorded. They are not a result: an overflow in them is none in the solution, and
/// a singular matrix is found at the solution.
#[test]
fn factors_of_a_matrix_are_not_blamed() {
    let mut matrix = ndarray::Array2::<f64>::eye(32);
    (matrix[[0, 0]], matrix[[0, 1]], matrix[[1, 0]], matrix[[1, 1]]) = (1e308, 1e308, -1e308, 1e308);
    let tape = Tape::new().checked();
    let (a, ones) = (tape.leaf(matrix), tape.constant(ndarray::Array1::ones(32)));
    assert_eq!(a.solve(ones).value()[31], 1.0);
    assert!(tape.first_non_finite().is_none());

    let tape = Tape::<f64>::new();
    let singular = tape.leaf(ndarray::Array2::zeros((32, 32)));
    let _ = singular.solve(tape.constant(ndarray::Array1::ones(32)));
    let message = tape.first_non_finite().expect("the matrix is singular").to_string();
    assert!(message.contains("the matrix is singular, or nearly so"), "{message}");
    assert!(!message.contains("factors ("), "{message}");
}
