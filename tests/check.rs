//! The checks: what is right passes, what is wrong is named, and a kink is no error.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use ndarray::{Array1, Array2, ArrayD, ArrayRef2, ArrayViewD, ArrayViewMutD, IxDyn, Zip, array};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tapegrad::check::{
    Options, Order, Report, Verdict, gradcheck, parity, parity_within, test_jacobian, test_jacobian_parameters,
    test_jacobian_update_parameters,
};
use tapegrad::nn::{
    AugmentedLinear, CrossEntropy, Hinge, Linear, LogSoftmax, Loss, Module, Mse, Perceptron, ReLU, Sequential, Sigmoid,
    Softmax, SoftmaxCrossEntropy, Tanh,
};
use tapegrad::op::{Binary, Unary};
use tapegrad::{CustomOp, Param, Scalar, Shape, ShapeError, Tape, Var};

fn uniform<T: Scalar>(shape: &[usize], range: std::ops::Range<f64>, rng: &mut StdRng) -> ArrayD<T> {
    ArrayD::from_shape_simple_fn(IxDyn(shape), || T::from_f64(rng.random_range(range.clone())))
}

fn matrix<T: Scalar>(rows: usize, columns: usize, rng: &mut StdRng) -> Array2<T> {
    Array2::from_shape_simple_fn((rows, columns), || T::from_f64(rng.random_range(-1.5..1.5)))
}

/// Every row of the table, and a few functions of each kind.
fn every_rule_passes<T: Scalar>(options: &Options<T>) -> Vec<Report> {
    let rng = &mut StdRng::seed_from_u64(1);
    let mut reports = Vec::new();
    for (unary, range) in Unary::<T>::samples() {
        let x = uniform(&[2, 3], range, rng);
        let report = gradcheck(|x| x[0].unary(unary), &[x], options);
        reports.push(report.unwrap_or_else(|failure| panic!("{}: {failure}", unary.name())));
    }
    for (row, range) in Binary::samples() {
        let inputs = [uniform(&[2, 3], range.clone(), rng), uniform(&[3], range, rng)];
        let report = gradcheck(|x| x[0].binary(row, x[1]), &inputs, options);
        reports.push(report.unwrap_or_else(|failure| panic!("{}: {failure}", row.name())));
    }
    reports
}

#[test]
fn every_row_of_the_table_passes_in_f64() {
    let reports = every_rule_passes::<f64>(&Options::new());
    let worst = reports.iter().map(Report::largest_error).fold(0.0, f64::max);
    assert!(worst < 1e-8, "{worst:e}: the differences are better than that");
}

#[test]
fn every_row_of_the_table_passes_in_f32() {
    every_rule_passes::<f32>(&Options::new());
}

#[test]
fn functions_of_many_shapes_pass() {
    let rng = &mut StdRng::seed_from_u64(2);
    let options = Options::new();
    let inputs = [uniform(&[3, 4], -1.0..1.0, rng), uniform(&[4, 2], -1.0..1.0, rng), uniform(&[], 0.5..1.0, rng)];
    let report = gradcheck(|x| (x[0].matmul(x[1]) * x[2]).softmax(-1), &inputs, &options).unwrap();
    assert_eq!(report.elements(), 12 + 8 + 1);
    assert!(report.to_string().starts_with("gradcheck: 21 elements of 3 inputs in f64, 3 directions: order 1 within "));
    gradcheck(|x| x[0], &[array![1.0, 2.0].into_dyn()], &options).unwrap();
    gradcheck(|x| x[0].exp().sum(), &[ArrayD::<f64>::zeros(IxDyn(&[0, 3]))], &options).unwrap();
    // Linear: no second derivative. Constant: not even a first.
    gradcheck(|x| x[0] * 3.0, &[array![1.0].into_dyn()], &options).unwrap();
    gradcheck(|x| x[0].sign(), &[array![1.0].into_dyn()], &options).unwrap();
    gradcheck(|x| x[0].tape().constant(2.0), &[array![1.0].into_dyn()], &options).unwrap();
    // Near the end of the domain, near a kink, steep, and large.
    gradcheck(|x| x[0].ln(), &[array![1e-3, 1e3].into_dyn()], &options).unwrap();
    gradcheck(|x| x[0].relu() + x[0].abs(), &[array![1e-4, -1e-4].into_dyn()], &options).unwrap();
    gradcheck(|x| (x[0] * 100.0).tanh(), &[array![0.003].into_dyn()], &options).unwrap();
    gradcheck(|x| x[0].square(), &[array![1e6, 1e-6].into_dyn()], &options).unwrap();
}

// ---- Custom operations, right and wrong -------------------------------------------------------------------------

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    Factor,
    OneElement,
    Dropped,
    Constant,
    Square,
    LostCotangent,
    Fine,
}

/// `y = a² b`, with a fault in the rule for `b`, or for both.
#[derive(Debug)]
struct SquareTimes(Fault);

impl<T: Scalar> CustomOp<T> for SquareTimes {
    fn name(&self) -> &'static str {
        "square_times"
    }

    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, ShapeError> {
        Ok(Shape::from(operands[0]))
    }

    fn forward(&self, operands: &[ArrayViewD<T>], result: ArrayViewMutD<T>) {
        Zip::from(result).and(&operands[0]).and(&operands[1]).for_each(|y, &a, &b| *y = a * a * b);
    }

    fn vjp<'t>(&self, k: usize, x: &[Var<'t, T>], _: Var<'t, T>, g: Var<'t, T>) -> Var<'t, T> {
        let (a, b) = (x[0], x[1]);
        let right = if k == 0 { g * a * b * T::from_f64(2.0) } else { g * a * a };
        match (self.0, k) {
            (Fault::Factor, 1) => right * T::from_f64(2.0),
            (Fault::Fine, 1) => right * T::from_f64(1.0 + 1e-6),
            (Fault::OneElement, 1) => {
                let mut mask = ArrayD::ones(right.value().raw_dim());
                mask[[1, 2]] = T::from_f64(0.5);
                right * g.tape().constant(mask)
            }
            (Fault::Dropped, 1) => right * T::ZERO,
            // Right, but the tape cannot differentiate it by a.
            (Fault::Constant, 1) => g * g.tape().constant((a * a).value()),
            (Fault::Square, 1) => right * g,
            (Fault::LostCotangent, 1) => g.tape().constant(g.value()) * a * a,
            _ => right,
        }
    }
}

fn custom<T: Scalar>(fault: Fault, options: &Options<T>) -> Result<Report, tapegrad::check::Failure> {
    let rng = &mut StdRng::seed_from_u64(3);
    let inputs = [uniform(&[2, 3], 0.5..2.0, rng), uniform(&[2, 3], 0.5..2.0, rng)];
    let op = Arc::new(SquareTimes(fault));
    gradcheck(|x| Var::custom(op.clone(), x), &inputs, options)
}

#[test]
fn a_right_custom_operation_passes() {
    custom::<f64>(Fault::None, &Options::new()).unwrap();
    custom::<f32>(Fault::None, &Options::new()).unwrap();
}

fn wrong_operations_are_named<T: Scalar>() {
    let options = Options::<T>::new();
    for fault in [Fault::Factor, Fault::OneElement, Fault::Dropped] {
        let failure = custom(fault, &options).unwrap_err();
        assert_eq!(failure.verdict(), Verdict::Wrong, "{fault:?}: {failure}");
        assert_eq!((failure.order(), failure.variable()), (Order::First, Some("input 1")), "{fault:?}: {failure}");
        let factor = match fault {
            Fault::Factor => 2.0,
            Fault::OneElement => 0.5,
            _ => 0.0,
        };
        let (found, expected) = (failure.found(), failure.expected());
        assert!((found - factor * expected).abs() < 1e-3 * expected.abs(), "{fault:?}: {failure}");
        if fault == Fault::OneElement {
            assert_eq!(failure.index(), Some(&[1, 2][..]), "{failure}");
        }
    }
    let failure = custom(Fault::Constant, &options).unwrap_err();
    assert_eq!(failure.verdict(), Verdict::Wrong);
    assert_eq!((failure.order(), failure.variable()), (Order::Second, Some("input 0")), "{failure}");
    assert!(custom(Fault::Constant, &options.with_order(Order::First)).is_ok(), "at order 1 it is right");
}

#[test]
fn wrong_operations_are_named_in_f64() {
    wrong_operations_are_named::<f64>();
}

#[test]
fn wrong_operations_are_named_in_f32() {
    wrong_operations_are_named::<f32>();
}

#[test]
fn an_error_in_the_sixth_digit_is_seen() {
    let failure = custom::<f64>(Fault::Fine, &Options::new()).unwrap_err();
    assert_eq!((failure.verdict(), failure.variable()), (Verdict::Wrong, Some("input 1")), "{failure}");
    custom(Fault::Fine, &Options::<f64>::new().with_tolerance(1e-5)).unwrap();
}

#[test]
fn a_rule_that_is_not_linear_in_its_cotangent_fails_the_dot_test() {
    // With one output u is 1, and a squared cotangent is right by chance: only the dot test sees it.
    let inputs = [array![0.5].into_dyn(), array![2.0].into_dyn()];
    for fault in [Fault::Square, Fault::LostCotangent] {
        let op = Arc::new(SquareTimes(fault));
        let failure = gradcheck(|x| Var::custom(op.clone(), x).sum(), &inputs, &Options::new()).unwrap_err();
        assert_eq!((failure.verdict(), failure.variable()), (Verdict::NotAdjoint, Some("input 1")), "{failure}");
        let expected = if fault == Fault::Square { 0.5 } else { 0.0 };
        assert_eq!((failure.found(), failure.expected()), (0.25, expected), "{failure}");
    }
}

/// `y = x`, with a rule that is right only where it is recorded along with the rest.
#[derive(Debug)]
struct Sly;

impl CustomOp<f64> for Sly {
    fn name(&self) -> &'static str {
        "sly"
    }

    fn shape(&self, operands: &[&[usize]]) -> Result<Shape, ShapeError> {
        Ok(Shape::from(operands[0]))
    }

    fn forward(&self, operands: &[ArrayViewD<f64>], mut result: ArrayViewMutD<f64>) {
        result.assign(&operands[0]);
    }

    fn vjp<'t>(&self, _: usize, _: &[Var<'t, f64>], _: Var<'t, f64>, g: Var<'t, f64>) -> Var<'t, f64> {
        if g.tape().ops().contains(&"square") { g } else { g * 3.0 }
    }
}

#[test]
fn sweeps_that_differ_are_told() {
    let op = Arc::new(Sly);
    let failure =
        gradcheck(|x| Var::custom(op.clone(), &[x[0].square()]), &[array![1.0, 3.0].into_dyn()], &Options::new());
    let failure = failure.unwrap_err();
    assert_eq!((failure.verdict(), failure.variable()), (Verdict::SweepsDiffer, Some("input 0")), "{failure}");
    assert!((3.0 * failure.found() - failure.expected()).abs() < 1e-12, "{failure}");
}

#[test]
fn a_dependence_that_the_tape_does_not_know_is_told() {
    let x = [array![2.0].into_dyn(), array![3.0].into_dyn()];
    let failure = gradcheck(|x| (x[0] * x[0].tape().constant(x[1].value())).sum(), &x, &Options::new()).unwrap_err();
    assert_eq!(
        failure.to_string(),
        "gradcheck, order 1: wrong: input 1 at [0]: the tape gives 0, differences give 2 (no gradient: the tape knows of no dependence)"
    );
}

// ---- Kinks ------------------------------------------------------------------------------------------------------

fn kinks<T: Scalar>() {
    let verdict = |f: &dyn for<'t> Fn(&[Var<'t, T>]) -> Var<'t, T>, x: &[f64]| {
        let x = Array1::from_iter(x.iter().map(|&x| T::from_f64(x))).into_dyn();
        let failure = gradcheck(|x| f(x), &[x], &Options::new()).unwrap_err();
        assert_eq!(failure.verdict(), Verdict::NotDifferentiable, "{failure}");
        assert_eq!(failure.variable(), Some("input 0"), "{failure}");
        (failure.order(), failure.index().expect("an element")[0])
    };
    assert_eq!(verdict(&|x| x[0].relu(), &[1.0, -1.0, 0.0]), (Order::First, 2));
    assert_eq!(verdict(&|x| x[0].abs(), &[1.0, 0.0, -1.0]), (Order::First, 1));
    assert_eq!(verdict(&|x| x[0].abs().sum(), &[0.0]), (Order::First, 0)); // where differences say 0, as the rule does
    assert_eq!(verdict(&|x| x[0].relu(), &[1.0, 1e-15]), (Order::First, 1)); // nearer than any step
    assert_eq!(verdict(&|x| x[0].max(), &[1.0, 2.0, -1.0, 2.0]), (Order::First, 1));
    assert_eq!(verdict(&|x| x[0].maximum(x[0] * x[0]), &[0.5, 1.0]), (Order::First, 1));
    assert_eq!(verdict(&|x| x[0].clamp(-T::ONE, T::ONE), &[0.5, -1.0]), (Order::First, 1));
    assert_eq!(verdict(&|x| x[0].sign(), &[0.5, 0.0]), (Order::First, 1)); // a jump
    assert_eq!(verdict(&|x| x[0].relu().square(), &[0.5, 0.0]), (Order::Second, 1));
}

#[test]
fn kinks_are_not_called_wrong_in_f64() {
    kinks::<f64>();
}

#[test]
fn kinks_are_not_called_wrong_in_f32() {
    kinks::<f32>();
}

#[test]
fn a_wrong_element_is_named_before_a_kink() {
    let x = array![0.0, 1.0].into_dyn();
    let failure = gradcheck(
        |x| {
            let half_known = x[0] * x[0].tape().constant(x[0].value());
            half_known + x[0].abs()
        },
        &[x],
        &Options::new(),
    );
    let failure = failure.unwrap_err();
    assert_eq!((failure.verdict(), failure.index()), (Verdict::Wrong, Some(&[1][..])), "{failure}");
}

#[test]
fn what_is_not_finite_is_named() {
    let failure = |f: fn(Var<'_, f64>) -> Var<'_, f64>, x: ArrayD<f64>| {
        gradcheck(|x| f(x[0]), &[x], &Options::new()).unwrap_err()
    };
    let value = failure(|x| x.ln(), array![1.0, -1.0].into_dyn());
    assert_eq!(
        (value.verdict(), value.variable(), value.index()),
        (Verdict::NotFinite, Some("output"), Some(&[1][..]))
    );
    let gradient = failure(|x| x.sqrt(), array![[1.0], [0.0]].into_dyn());
    assert_eq!((gradient.verdict(), gradient.variable()), (Verdict::NotFinite, Some("input 0")));
    assert_eq!((gradient.index(), gradient.found().abs()), (Some(&[1, 0][..]), f64::INFINITY));
}

#[test]
fn a_function_that_changes_its_mind_is_told() {
    let count = Cell::new(0.0);
    let failure = gradcheck(
        |x| {
            count.set(count.get() + 1.0);
            x[0] * count.get()
        },
        &[array![1.0].into_dyn()],
        &Options::new(),
    );
    assert_eq!(failure.unwrap_err().verdict(), Verdict::NotRepeatable);
}

#[test]
#[should_panic(expected = "gradcheck: there is nothing to differentiate by")]
fn nothing_to_differentiate_by_is_a_mistake() {
    let _ = gradcheck(|x| x[0], &[], &Options::<f64>::new());
}

// ---- What is steep, near a pole, cancels, or is hidden by rounding -------------------------------------------------

#[test]
fn right_gradients_pass_near_poles_and_ends_and_where_they_are_steep() {
    let pass = |name: &str, x: f64, f: fn(Var<'_, f64>) -> Var<'_, f64>| {
        gradcheck(|x| f(x[0]), &[array![x].into_dyn()], &Options::new()).unwrap_or_else(|e| panic!("{name}: {e}"));
    };
    pass("recip", 1e-5, |x| x.recip());
    pass("sin", 0.3, |x| (x * 1e5).sin());
    pass("ln", 1e-6, |x| x.ln());
    pass("sqrt", 1e-5, |x| x.sqrt());
    pass("exp", 700.0, |x| x.exp());
    pass("square", 1e15, |x| x.square());
    pass("sum", 1.0, |x| x.sum() + 1e12);
    gradcheck(|x| x[0].square(), &[array![1e-8_f32].into_dyn()], &Options::new()).unwrap();
}

#[test]
fn a_missing_gradient_beside_a_large_one_is_seen() {
    let x = [array![1.0_f32, 2.0].into_dyn(), array![1.0_f32].into_dyn()];
    let f32 = gradcheck(|x| x[0].detach().square().sum() + x[1].sum() * 3000.0, &x, &Options::new());
    let x = [array![1.0].into_dyn(), array![1.0].into_dyn()];
    let f64 = gradcheck(|x| x[0].detach().square().sum() + x[1].sum() * 1e8, &x, &Options::new());
    let constant = gradcheck(|x| x[0].detach().sum() + 1e12, &x[..1], &Options::new());
    for failure in [f32, f64, constant].map(Result::unwrap_err) {
        assert_eq!((failure.verdict(), failure.variable()), (Verdict::Wrong, Some("input 0")), "{failure}");
    }
    let overflows = gradcheck(
        |x| (x[0] * 1e160 + (x[0] - x[0].detach()) * 5e160).sum(),
        &[array![0.0].into_dyn()],
        &Options::new(),
    );
    let failure = overflows.unwrap_err();
    assert_eq!(failure.verdict(), Verdict::Wrong);
    assert!(failure.to_string().contains("the tape gives 6e160, differences give 1e160"), "{failure}");
}

#[test]
fn parameters_within_a_checkpoint_are_checked_by_the_sweep_on_arrays() {
    let p = Param::new(array![2.0, 3.0]);
    let (options, x) = (Options::new().with_parameters(std::slice::from_ref(&p)), [array![0.5, 0.3].into_dyn()]);
    fn closure<F: for<'t> Fn(&[Var<'t, f64>]) -> Var<'t, f64>>(f: F) -> F {
        f
    }
    let right = closure(|x| {
        let q = p.clone();
        x[0].tape().checkpoint(&[x[0]], move |t, x| (t.param(&q) * x[0]).tanh()).sum()
    });
    assert_eq!(gradcheck(right, &x, &options).unwrap().elements(), 4);
    let wrong = closure(|x| {
        let q = p.clone();
        x[0].tape().checkpoint(&[x[0]], move |t, x| (t.param(&q).detach() * x[0] + t.param(&q)).tanh()).sum()
    });
    let failure = gradcheck(wrong, &x, &options).unwrap_err();
    assert_eq!((failure.verdict(), failure.variable()), (Verdict::Wrong, Some("parameter 0")), "{failure}");
}

#[test]
fn softmax_passes_where_its_outputs_are_of_all_sizes() {
    fn pass<T: Scalar>() {
        let rng = &mut StdRng::seed_from_u64(9);
        for range in [1.0, 3.0, 30.0] {
            for _ in 0..20 {
                let x = uniform::<T>(&[4], -range..range, rng);
                let outcome = gradcheck(|x| x[0].softmax(0), std::slice::from_ref(&x), &Options::new());
                outcome.unwrap_or_else(|failure| panic!("{x}: {failure}"));
            }
        }
    }
    pass::<f64>();
    pass::<f32>();
}

#[test]
#[should_panic(expected = "parameters 0 and 1 of the options are the same")]
fn the_same_parameter_twice_is_a_mistake() {
    let p = Param::new(array![2.0]);
    let options = Options::new().with_parameters(&[p.clone(), p.clone()]);
    let _ = gradcheck(|x| x[0] * x[0].tape().param(&p), &[array![1.0].into_dyn()], &options);
}

#[test]
fn the_worst_element_is_named_in_its_own_units() {
    let wrong = |x: &[f64]| {
        let x = Array1::from_iter(x.iter().copied()).into_dyn();
        gradcheck(|x| (x[0] * x[0].detach()).sum(), &[x], &Options::new()).unwrap_err()
    };
    let failure = wrong(&[40.0, 1.0]);
    assert_eq!((failure.index(), failure.found(), failure.expected()), (Some(&[0][..]), 40.0, 80.0), "{failure}");
    assert_eq!(wrong(&[1.0, 40.0]).index(), Some(&[1][..]));
}

// ---- Networks under gradcheck -----------------------------------------------------------------------------------

fn network<T: Scalar>(seed: u64) -> Sequential<T> {
    let rng = &mut StdRng::seed_from_u64(seed);
    let tied = Param::named("tied", matrix(4, 4, rng) * T::from_f64(0.5));
    Sequential::new()
        .push(Linear::new(3, 4, rng))
        .push(Tanh::new())
        .push(Linear::from_params(tied.clone(), None))
        .push(Sigmoid::new())
        .push(Linear::from_params(tied, None))
        .push(ReLU::new())
        .push(AugmentedLinear::new(4, 3, rng))
        .push(LogSoftmax::new())
        .push(Linear::without_bias(3, 2, rng))
        .push(Softmax::new())
}

fn losses<T: Scalar>() -> Vec<Box<dyn Loss<T>>> {
    vec![
        Box::new(Mse::new()),
        Box::new(Hinge::new()),
        Box::new(Perceptron::new()),
        Box::new(CrossEntropy::new()),
        Box::new(SoftmaxCrossEntropy::new()),
    ]
}

fn targets<T: Scalar>(rows: usize, columns: usize) -> Array2<T> {
    Array2::from_shape_fn((rows, columns), |(i, j)| if i % columns == j { T::ONE } else { T::ZERO })
}

/// Checks networks with a kink in them, and returns how many checks passed. In those that did not the input of a `ReLU` must
/// be nearer to 0 than a step.
fn networks_checked<T: Scalar>() -> usize {
    let mut passed = 0;
    for seed in 0..5 {
        let net = network::<T>(seed);
        net.parameters()[0].accumulate_grad(&ArrayD::ones(IxDyn(net.parameters()[0].shape())));
        let (values, gradient): (Vec<_>, _) = (net.parameters().iter().map(Param::value).collect(), net.gradient());
        let (x, y) = (matrix(4, 3, &mut StdRng::seed_from_u64(seed)).into_dyn(), targets(4, 2));
        let options = Options::new().with_parameters(net.parameters());
        for loss in losses() {
            match gradcheck(|v| loss.record(&y, net.record(v[0].tape(), v[0])), std::slice::from_ref(&x), &options) {
                Ok(report) => {
                    passed += 1;
                    assert_eq!(report.elements(), 12 + net.parameter_count());
                }
                Err(failure) => assert!(
                    matches!(failure.verdict(), Verdict::NotDifferentiable | Verdict::Inconclusive),
                    "{loss:?}: {failure}"
                ),
            }
        }
        for (parameter, value) in net.parameters().iter().zip(values) {
            assert_eq!(parameter.value(), value, "the check leaves values as they were");
        }
        assert_eq!(net.gradient(), gradient, "and gradients");
    }
    passed
}

#[test]
fn networks_pass_with_their_parameters_in_f64() {
    assert_eq!(networks_checked::<f64>(), 25);
}

#[test]
fn networks_pass_with_their_parameters_in_f32() {
    let passed = networks_checked::<f32>();
    assert!(passed >= 12, "{passed} of 25");
}

#[test]
fn a_wrong_parameter_is_named_and_restored() {
    let w = Param::named("gain", array![[1.0, 2.0], [3.0, 4.0]]);
    let options = Options::new().with_parameters(std::slice::from_ref(&w));
    let x = [array![[1.0, 2.0], [3.0, 40.0]].into_dyn()];
    let failure = gradcheck(
        |v| {
            let p = v[0].tape().param(&w);
            (v[0] * p + v[0].tape().constant(v[0].value()) * v[0].tape().constant(p.value())).sum()
        },
        &x,
        &options,
    );
    let failure = failure.unwrap_err();
    assert_eq!((failure.verdict(), failure.variable()), (Verdict::Wrong, Some("parameter 0 (gain)")), "{failure}");
    assert_eq!((failure.index(), failure.found(), failure.expected()), (Some(&[1, 1][..]), 40.0, 80.0), "{failure}");
    assert_eq!(w.value()[[1, 1]], 4.0);
    // A panic in the function puts everything back, too.
    let calls = Cell::new(0);
    let result = catch_unwind(AssertUnwindSafe(|| {
        gradcheck(
            |v| {
                calls.set(calls.get() + 1);
                assert!(calls.get() < 12, "enough");
                v[0] * v[0].tape().param(&w)
            },
            &x,
            &options,
        )
    }));
    assert!(result.is_err());
    assert_eq!(*w.value(), array![[1.0, 2.0], [3.0, 4.0]].into_dyn());
    assert!(w.grad().is_none());
}

// ---- Parity -----------------------------------------------------------------------------------------------------

/// `y = gain x`, element by element, with a fault somewhere.
#[derive(Debug)]
struct Gain<T: Scalar> {
    fault: GainFault,
    gain: [Param<T>; 1],
    output: Array2<T>,
    delta: Array2<T>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum GainFault {
    None,
    Output,
    Delta,
    Gradient,
    NoGradient,
    Overwrites,
    Walks,
    Touches,
}

impl<T: Scalar> Gain<T> {
    fn new(fault: GainFault, width: usize) -> Self {
        let gain = Array1::from_shape_fn(width, |k| T::from_f64(1.0 + k as f64));
        let nothing = || Array2::zeros((0, 0));
        Self { fault, gain: [Param::named("gain", gain)], output: nothing(), delta: nothing() }
    }
}

impl<T: Scalar> Module<T> for Gain<T> {
    fn name(&self) -> String {
        "Gain".into()
    }

    fn forward(&mut self, input: &ArrayRef2<T>) -> &Array2<T> {
        let gain = self.gain[0].value();
        self.output = Array2::from_shape_fn(input.dim(), |(i, j)| input[[i, j]] * gain[j]);
        if self.fault == GainFault::Output {
            self.output[[1, 0]] += T::EPSILON * T::from_f64(1e5);
        }
        &self.output
    }

    fn output(&self) -> &Array2<T> {
        &self.output
    }

    fn backward_update_gradient(&mut self, input: &ArrayRef2<T>, delta: &ArrayRef2<T>) {
        let mut gradient = (input * delta).sum_axis(ndarray::Axis(0));
        match self.fault {
            GainFault::Gradient => gradient[1] = -gradient[1],
            GainFault::NoGradient => return,
            GainFault::Overwrites => self.gain[0].zero_grad(),
            _ => {}
        }
        self.gain[0].accumulate_grad(&gradient.into_dyn());
    }

    fn backward_delta(&mut self, _: &ArrayRef2<T>, delta: &ArrayRef2<T>) -> &Array2<T> {
        let gain = self.gain[0].value();
        self.delta = Array2::from_shape_fn(delta.dim(), |(i, j)| delta[[i, j]] * gain[j]);
        match self.fault {
            GainFault::Delta => self.delta[[0, 1]] = T::ZERO,
            GainFault::Touches => self.gain[0].accumulate_grad(&ArrayD::ones(self.gain[0].value().raw_dim())),
            _ => {}
        }
        &self.delta
    }

    fn grad_input(&self) -> &Array2<T> {
        &self.delta
    }

    fn backward(&mut self, input: &ArrayRef2<T>, delta: &ArrayRef2<T>) -> &Array2<T> {
        let touches = self.fault == GainFault::Touches;
        if touches {
            self.fault = GainFault::None;
        }
        self.backward_update_gradient(input, delta);
        self.backward_delta(input, delta);
        if touches {
            self.fault = GainFault::Touches;
        }
        if self.fault == GainFault::Walks {
            // As if the fused walk had been derived for another sign.
            self.backward_delta(input, &(-delta.to_owned()));
        }
        &self.delta
    }

    fn parameters(&self) -> &[Param<T>] {
        &self.gain
    }

    fn record<'t>(&self, tape: &'t Tape<T>, x: Var<'t, T>) -> Var<'t, T> {
        x * tape.param(&self.gain[0])
    }
}

fn batch<T: Scalar>(rows: usize, width: usize) -> (Array2<T>, Array2<T>) {
    (matrix(rows, width, &mut StdRng::seed_from_u64(4)), targets(rows, width))
}

#[test]
fn random_networks_and_losses_are_at_parity() {
    fn agree<T: Scalar>() {
        let (mut runs, mut exact) = (0, 0);
        for seed in 0..20 {
            let mut net = network::<T>(seed);
            let (x, y) = (matrix(4, 3, &mut StdRng::seed_from_u64(seed)), targets(4, 2));
            for mut loss in losses() {
                let agreement =
                    parity(&mut net, &mut *loss, (&x, &y)).unwrap_or_else(|e| panic!("{seed} {loss:?}: {e}"));
                runs += 1;
                exact += usize::from(agreement.rounding() == 0.0);
            }
        }
        // The two compute differently. On few numbers the roundings may happen to be the same.
        assert!(exact * 2 < runs, "{exact} of {runs} runs agree in every bit");
    }
    agree::<f64>();
    agree::<f32>();
}

#[test]
fn modules_alone_and_networks_within_networks_are_at_parity() {
    let (x, y) = batch::<f64>(3, 3);
    let agreement = parity(&mut Gain::new(GainFault::None, 3), &mut Mse::new(), (&x, &y)).unwrap();
    assert!(agreement.to_string().starts_with("parity: 1 layers, 1 parameters: within "));
    parity(&mut Sequential::new(), &mut Mse::new(), (&x, &y)).unwrap();
    let inner = Sequential::new().push(Gain::new(GainFault::None, 3)).push(Tanh::new());
    parity(&mut Sequential::new().push(inner).push(Softmax::new()), &mut Mse::new(), (&x, &y)).unwrap();
}

#[test]
fn the_layer_parameter_and_index_that_differ_are_named() {
    let (x, y) = batch::<f64>(3, 3);
    let layer = "layer 2 (Gain)";
    for (fault, quantity, index) in [
        (GainFault::Output, "output", vec![1, 0]),
        (GainFault::Delta, "input gradient", vec![0, 1]),
        (GainFault::Gradient, "gradient of parameter 0 (gain)", vec![1]),
        (GainFault::NoGradient, "gradient of parameter 0 (gain)", vec![0]),
        (GainFault::Walks, "input gradient", vec![0, 0]),
    ] {
        let rng = &mut StdRng::seed_from_u64(5);
        let mut net = Sequential::new()
            .push(Linear::new(3, 3, rng))
            .push(Tanh::new())
            .push(Gain::new(fault, 3))
            .push(Tanh::new())
            .push(Linear::new(3, 3, rng));
        let before: Vec<_> = net.parameters().iter().map(Param::value).collect();
        let difference = parity(&mut net, &mut Mse::new(), (&x, &y)).unwrap_err();
        assert_eq!(difference.layer(), Some(2), "{fault:?}: {difference}");
        assert_eq!((difference.quantity(), difference.index()), (quantity, &index[..]), "{fault:?}: {difference}");
        assert!(difference.to_string().starts_with(&format!("parity: {layer}: {quantity} at {index:?}: by hand ")));
        assert_eq!(net.parameters().iter().map(Param::value).collect::<Vec<_>>(), before);
        assert!(net.gradient().iter().all(Option::is_none));
        match fault {
            GainFault::Output => {
                // The number is between 1/8 and 1/4, where an ulp is an eighth of that at 1.
                assert_eq!(difference.ulps(), Some(800_000), "{difference}");
                assert!(parity_within(&mut net, &mut Mse::new(), (&x, &y), 1e6).is_ok());
            }
            GainFault::Gradient => assert_eq!(difference.by_hand(), difference.on_tape().map(|x| -x)),
            GainFault::NoGradient => assert!(difference.to_string().ends_with("there is no gradient by hand")),
            _ => {}
        }
    }
}

#[test]
fn backward_methods_that_differ_are_told() {
    let (x, y) = batch::<f64>(3, 3);
    let mut net = Sequential::new().push(Tanh::new()).push(Gain::new(GainFault::Touches, 3));
    let difference = parity(&mut net, &mut Mse::new(), (&x, &y)).unwrap_err();
    assert!(difference.to_string().ends_with("after backward_delta and before, both by hand"), "{difference}");
    assert_eq!(difference.layer(), None);
    let mut alone = Gain::new(GainFault::Overwrites, 3);
    let difference = parity(&mut alone, &mut Mse::new(), (&x, &y)).unwrap_err();
    assert!(
        difference.to_string().ends_with("a second call must add as much as the first, both by hand"),
        "{difference}"
    );
    let gain = alone.gain[0].clone();
    assert!((test_jacobian_parameters(&mut alone, &x, &gain) - 1.0).abs() < 1e-8, "the 1 that it started from");
    // A layer that is tied must add to what is there.
    let gain = Gain::<f64>::new(GainFault::Overwrites, 3);
    let mut tied = Gain::new(GainFault::Overwrites, 3);
    tied.gain = gain.gain.clone();
    let mut net = Sequential::new().push(gain).push(Tanh::new()).push(tied);
    let difference = parity(&mut net, &mut Mse::new(), (&x, &y)).unwrap_err();
    assert_eq!((difference.layer(), difference.quantity()), (Some(0), "gradient of parameter 0 (gain)"));
}

/// The mean square, with a fault.
#[derive(Debug)]
struct WrongLoss {
    inner: Mse<f64>,
    value: f64,
    delta: Array2<f64>,
    factor: f64,
}

impl Loss<f64> for WrongLoss {
    fn forward(&mut self, y: &ArrayRef2<f64>, yhat: &ArrayRef2<f64>) -> f64 {
        self.inner.forward(y, yhat) + self.value
    }

    fn backward(&mut self, y: &ArrayRef2<f64>, yhat: &ArrayRef2<f64>) -> &Array2<f64> {
        self.delta = self.inner.backward(y, yhat) * self.factor;
        &self.delta
    }

    fn record<'t>(&self, y: &ArrayRef2<f64>, yhat: Var<'t, f64>) -> Var<'t, f64> {
        self.inner.record(y, yhat)
    }
}

#[test]
fn a_wrong_loss_is_named() {
    let (x, y) = batch::<f64>(3, 3);
    for (value, factor, quantity) in [(1.0, 1.0, "loss"), (0.0, 0.5, "delta"), (f64::NAN, 1.0, "loss")] {
        let mut loss = WrongLoss { inner: Mse::new(), value, delta: Array2::zeros((0, 0)), factor };
        let difference = parity(&mut Tanh::new(), &mut loss, (&x, &y)).unwrap_err();
        assert_eq!((difference.layer(), difference.quantity()), (None, quantity), "{difference}");
        assert!(
            difference.to_string().starts_with(&format!("parity: loss WrongLoss: {quantity} at [")),
            "{difference}"
        );
    }
}

// ---- Old torch's kit --------------------------------------------------------------------------------------------

fn kit<T: Scalar>(layer: &mut dyn Module<T>, width: usize, allowed: f64) {
    let rng = &mut StdRng::seed_from_u64(6);
    let x = matrix::<T>(3, width, rng);
    let name = layer.name();
    let error = test_jacobian(layer, &x);
    assert!(error < allowed, "{name}: {error:e}");
    let parameters = layer.parameters().to_vec();
    let values: Vec<_> = parameters.iter().map(Param::value).collect();
    for parameter in &parameters {
        let error = test_jacobian_parameters(layer, &x, parameter);
        assert!(error < allowed, "{name}, {parameter:?}: {error:e}");
        let error = test_jacobian_update_parameters(layer, &x, parameter);
        assert!(error < allowed, "{name}, {parameter:?}, update: {error:e}");
    }
    assert_eq!(parameters.iter().map(Param::value).collect::<Vec<_>>(), values);
    assert!(layer.gradient().iter().all(Option::is_none));
}

fn kit_of_all<T: Scalar>(allowed: f64) {
    let rng = &mut StdRng::seed_from_u64(7);
    let layers: Vec<Box<dyn Module<T>>> = vec![
        Box::new(Linear::new(3, 4, rng)),
        Box::new(Linear::without_bias(3, 4, rng)),
        Box::new(AugmentedLinear::new(3, 2, rng)),
        Box::new(Tanh::new()),
        Box::new(Sigmoid::new()),
        Box::new(ReLU::new()),
        Box::new(Softmax::new()),
        Box::new(LogSoftmax::new()),
        Box::new(network(8)),
        Box::new(Gain::new(GainFault::None, 3)),
    ];
    for mut layer in layers {
        kit(&mut *layer, 3, allowed);
    }
}

#[test]
fn every_module_passes_the_kit_in_f64() {
    kit_of_all::<f64>(1e-8);
}

#[test]
fn every_module_passes_the_kit_in_f32() {
    kit_of_all::<f32>(2e-3);
}

#[test]
fn the_kit_measures_errors() {
    let x = array![[1.0, 2.0, 3.0], [0.5, -1.0, 2.0]];
    assert!((test_jacobian(&mut Gain::new(GainFault::Delta, 3), &x) - 2.0).abs() < 1e-8); // gain[1], and 0 by hand
    for (fault, expected) in [(GainFault::Gradient, 4.0), (GainFault::NoGradient, 3.0)] {
        let mut layer = Gain::new(fault, 3);
        let gain = layer.gain[0].clone();
        assert!((test_jacobian_parameters(&mut layer, &x, &gain) - expected).abs() < 1e-8, "{fault:?}");
        assert!((test_jacobian_update_parameters(&mut layer, &x, &gain) - expected).abs() < 1e-8, "{fault:?}");
    }
    assert!(test_jacobian(&mut Tanh::new(), &array![[f64::NAN]]).is_nan());
    assert_eq!(test_jacobian(&mut Tanh::<f64>::new(), &Array2::zeros((0, 3))), 0.0);
    let error = test_jacobian(&mut ReLU::new(), &array![[1.0, 0.0]]);
    assert!((error - 0.5).abs() < 1e-9, "half of the kink: {error}");
}

#[test]
fn numbers_too_small_for_all_their_digits_pass() {
    // The derivative of a product of saturated sigmoids is about 1e-44.
    let x = array![-51.0_f32, -51.0].into_dyn();
    gradcheck(|x| x[0].sigmoid().prod(), &[x], &Options::new()).unwrap();
}
