//! Compiled programs: they compute what the tape computes, bit by bit, on other inputs.

use std::sync::Arc;

use ndarray::{Array1, Array2, ArrayD, ArrayViewD, ArrayViewMutD, IxDyn, array};
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tapegrad::nn::{Linear, Module, Sequential, SoftmaxCrossEntropy, Tanh};
use tapegrad::op::{Binary, Unary};
use tapegrad::optim::{Adam, Optimizer};
use tapegrad::{CustomOp, KeepDims, Param, Program, Scalar, Shape, ShapeError, Tape, Var, threads};

use crate::accumulation::{execute, execute_shaped};

/// Whether two arrays have the same bits; all NaN count as the same.
fn same_bits<T: Scalar>(a: ArrayViewD<'_, T>, b: ArrayViewD<'_, T>) -> bool {
    let same = |(a, b): (&T, &T)| {
        let (a, b) = (a.to_f64(), b.to_f64());
        a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
    };
    a.shape() == b.shape() && a.iter().zip(b).all(same)
}

/// Compiles a function recorded on some inputs, runs it on others, and compares with the tape.
fn assert_as_recorded(
    recorded: &[ArrayD<f64>],
    run: &[ArrayD<f64>],
    f: impl for<'t> Fn(&[Var<'t, f64>]) -> Vec<Var<'t, f64>>,
) -> Result<(), TestCaseError> {
    let tape = Tape::new();
    let leaves: Vec<_> = recorded.iter().map(|x| tape.leaf(x)).collect();
    let outputs = f(&leaves);
    let mut program = Program::compile(&leaves, &outputs).unwrap();
    let plan = program.to_string();
    for data in [run, recorded, run] {
        let other = Tape::new();
        let leaves: Vec<_> = data.iter().map(|x| other.leaf(x)).collect();
        let expected = f(&leaves);
        let views: Vec<_> = data.iter().map(|x| x.view()).collect();
        let found = program.run(&views).unwrap();
        for (k, expected) in expected.iter().enumerate() {
            let same = same_bits(found.value(k), expected.value());
            let (found, expected) = (found.value(k), expected.value());
            prop_assert!(same, "output {}: {} {}\n{}\n{}", k, found, expected, plan, tape);
        }
    }
    Ok(())
}

/// A loss with its gradients and the Hessian times a vector.
fn orders_1_and_2<'t>(loss: Var<'t, f64>, x: &[Var<'t, f64>]) -> Vec<Var<'t, f64>> {
    let reached = loss.grads_or_none(x);
    let mut outputs = vec![loss];
    let mut along = None;
    for g in reached.iter().flatten() {
        outputs.push(*g);
        let sum = (*g * 0.7).sum();
        along = Some(along.map_or(sum, |along: Var<'t, f64>| along + sum));
    }
    if let Some(along) = along {
        outputs.extend(along.grads_or_none(x).into_iter().flatten());
    }
    outputs
}

proptest! {
    #![proptest_config(crate::common::cases(120))]

    #[test]
    fn random_programs_have_the_bits_of_the_tape_at_orders_1_and_2(
        instructions in prop::collection::vec((any::<u8>(), 0..6usize, 0..6usize), 1..20),
        data in prop::collection::vec(-1.0..1.0f64, 24),
    ) {
        let at = |start: usize| ArrayD::from_shape_fn(IxDyn(&[2, 3]), |i| data[start + 3 * i[0] + i[1]]);
        assert_as_recorded(&[at(0), at(6)], &[at(12), at(18)], |x| {
            orders_1_and_2(execute(x, &instructions, |x| x), x)
        })?;
    }

    #[test]
    fn random_programs_of_any_shape_have_the_bits_of_the_tape(
        instructions in prop::collection::vec((any::<u16>(), 0..5usize, 0..5usize), 1..14),
        shape in prop::sample::select(vec![vec![], vec![3], vec![2, 3], vec![1, 3], vec![2, 1, 2]]),
        data in prop::collection::vec(-1.0..1.0f64, 18),
    ) {
        let at = |start: usize| {
            let mut numbers = data[start..].iter().cycle();
            ArrayD::from_shape_simple_fn(IxDyn(&shape), || *numbers.next().unwrap())
        };
        assert_as_recorded(&[at(0)], &[at(9)], |x| orders_1_and_2(execute_shaped(x, &instructions), x))?;
    }
}

#[test]
fn several_tiles_of_every_kind_of_operand_have_the_bits_of_the_tape() {
    let number = |i: usize| ((i * 7919) % 1009) as f64 / 500.0 - 1.0;
    let x = |shift: usize| ArrayD::from_shape_fn(IxDyn(&[90, 77]), |i| number(shift + 77 * i[0] + i[1]));
    let row = |shift: usize| ArrayD::from_shape_fn(IxDyn(&[77]), |i| number(shift + i[0]));
    let column = |shift: usize| ArrayD::from_shape_fn(IxDyn(&[90, 1]), |i| number(shift + i[0]));
    assert_as_recorded(&[x(0), row(1), column(2)], &[x(3), row(4), column(5)], |v| {
        let [x, row, column] = [v[0], v[1], v[2]];
        let y = (x * row + column).tanh() * x.transpose().exp().transpose() / (x.square() + 1.0);
        let z = (y - y.mean()).sigmoid().sum_axes([0], KeepDims::No) * row;
        let flat = y.reshape([90 * 77]).sin();
        orders_1_and_2(z.square().mean() + flat.mean() + y.maximum(x).mean(), v)
    })
    .unwrap();
}

fn network<T: Scalar>(seed: u64) -> Sequential<T> {
    let mut rng = StdRng::seed_from_u64(seed);
    Sequential::new().push(Linear::new(20, 12, &mut rng)).push(Tanh::new()).push(Linear::new(12, 3, &mut rng))
}

fn images<T: Scalar>(step: usize) -> Array2<T> {
    Array2::from_shape_fn((9, 20), |(i, j)| T::from_f64(((i * 31 + j * 7 + step * 13) % 97) as f64 / 97.0))
}

fn trained<T: Scalar>(compiled: bool) -> Vec<Arc<ArrayD<T>>> {
    let (network, loss) = (network::<T>(1), SoftmaxCrossEntropy::new());
    let mut adam = Adam::new(network.parameters(), T::from_f64(0.01));
    let labels: Vec<usize> = (0..9).map(|row| row % 3).collect();
    let mut tape = Tape::new();
    let mut program = compiled.then(|| {
        let x = tape.constant(images::<T>(99));
        let program = Program::compile_step(&[x], loss.record_labels(&labels, network.record(&tape, x))).unwrap();
        tape.reset();
        program
    });
    for step in 0..20 {
        match &mut program {
            Some(program) => {
                let _ = program.run(&[images::<T>(step).view().into_dyn()]).unwrap();
            }
            None => {
                let x = tape.constant(images::<T>(step));
                loss.record_labels(&labels, network.record(&tape, x)).backward();
                tape.reset();
            }
        }
        adam.step();
        adam.zero_grad();
    }
    network.parameters().iter().map(|param| param.value()).collect()
}

#[test]
fn training_by_a_program_has_the_bits_of_training_on_the_tape() {
    for (a, b) in trained::<f32>(true).iter().zip(trained::<f32>(false)) {
        assert!(same_bits(a.view(), b.view()));
    }
    for (a, b) in trained::<f64>(true).iter().zip(trained::<f64>(false)) {
        assert!(same_bits(a.view(), b.view()));
    }
}

#[test]
fn gradients_accumulate_and_a_parameter_used_twice_collects_both() {
    let w = Param::new(array![2.0, -1.0]);
    let tape = Tape::new();
    let loss = (tape.param(&w) * tape.param(&w).square()).sum(); // w³
    let mut program = Program::compile_step(&[], loss).unwrap();
    let _ = program.run(&[]).unwrap();
    assert_eq!(*w.grad().unwrap(), array![12.0, 3.0].into_dyn()); // 3 w²
    let _ = program.run(&[]).unwrap();
    assert_eq!(*w.grad().unwrap(), array![24.0, 6.0].into_dyn());
    w.set_value(array![1.0, 1.0]);
    w.zero_grad();
    assert_eq!(program.run(&[]).unwrap().item(0), 2.0);
    assert_eq!(*w.grad().unwrap(), array![3.0, 3.0].into_dyn());
}

#[test]
fn what_the_outputs_do_not_need_is_left_out_and_equal_steps_run_once() {
    let tape = Tape::new();
    let (x, c) = (tape.leaf(array![1.0, 2.0]), tape.leaf(array![3.0, 4.0]));
    let _ = x.exp().sum();
    let constant = c.exp() + 1.0;
    let y = x.tanh() * constant + x.tanh();
    let program = Program::compile(&[x], &[y]).unwrap();
    // tanh once, mul, add; the constant is folded.
    assert!(program.to_string().starts_with("Program of 3 steps in 1 units"), "{program}");
}

#[test]
fn steps_with_other_parameters_are_not_taken_for_equal() {
    let tape = Tape::<f64>::new();
    let x = tape.leaf(array![[1.0, 2.0]]);
    // 0 and -0 are equal, and give other bits; so do the two ends of a row.
    let outputs = [x * 0.0, x * -0.0, x.slice(1, 0..1), x.slice(1, 1..2), x * 0.0];
    let mut program = Program::compile(&[x], &outputs).unwrap();
    let found = program.run(&[array![[3.0, 4.0]].into_dyn().view()]).unwrap();
    let bits = |k: usize| found.value(k).iter().map(|x: &f64| x.to_bits()).collect::<Vec<_>>();
    let of = |x: f64| x.to_bits();
    assert_eq!([bits(0), bits(1), bits(4)], [[of(0.0); 2], [of(-0.0); 2], [of(0.0); 2]]);
    assert_eq!([bits(2), bits(3)], [[of(3.0)], [of(4.0)]]);
}

#[test]
fn a_value_read_while_recording_is_a_guard() {
    let tape = Tape::new();
    let x = tape.leaf(array![1.0, 2.0]);
    let sum = x.sum();
    let y = if sum.item() > 0.0 { x * 2.0 } else { -x };
    let mut program = Program::compile(&[x], &[y]).unwrap();
    assert_eq!(program.run(&[array![2.0, 1.0].into_dyn().view()]).unwrap().value(0), array![4.0, 2.0].into_dyn());
    let error = program.run(&[array![-2.0, 1.0].into_dyn().view()]).unwrap_err().to_string();
    assert!(error.contains("tests/program.rs") && error.contains("read %1: expected 3, found -1"), "{error}");
}

#[test]
fn a_decision_is_a_guard_for_its_answer_alone() {
    let w = Param::new(array![1.0]);
    let tape = Tape::new();
    let x = tape.leaf(array![1.0, 2.0]);
    let loss = if x.sum().decide(|sum| sum > 0.0) { (x * tape.param(&w)).sum() } else { tape.param(&w).sum() };
    let mut program = Program::compile_step(&[x], loss).unwrap();
    assert_eq!(program.run(&[array![5.0, 1.0].into_dyn().view()]).unwrap().item(0), 6.0);
    let error = program.run(&[array![-5.0, 1.0].into_dyn().view()]).unwrap_err();
    assert!(matches!(error, tapegrad::Error::Diverged { node: 1, .. }), "{error}");
    assert_eq!(w.grad().unwrap()[0], 6.0, "a run that diverges adds nothing");
}

#[test]
fn reading_after_compiling_or_a_constant_is_no_guard() {
    let tape = Tape::new();
    let (x, c) = (tape.leaf(2.0), tape.constant(3.0));
    let y = x * c.item();
    let mut program = Program::compile(&[x], &[y]).unwrap();
    assert_eq!(y.item(), 6.0);
    assert_eq!(program.run(&[ndarray::arr0(5.0).into_dyn().view()]).unwrap().item(0), 15.0);
}

#[test]
fn inputs_that_do_not_fit_are_refused() {
    let tape = Tape::new();
    let (x, w) = (tape.leaf(array![1.0, 2.0]), Param::new(array![1.0]));
    let y = x * tape.param(&w);
    let message = |inputs: &[Var<'_, f64>]| Program::compile(inputs, &[y]).unwrap_err().to_string();
    assert!(message(&[x, x]).starts_with("the inputs of a program: expected each of them once"));
    assert!(message(&[y]).starts_with("an input of a program: expected a leaf or a constant, found %2 = mul"));
    let mut program = Program::compile(&[x], &[y]).unwrap();
    let none = program.run(&[]).unwrap_err().to_string();
    assert_eq!(none, "the inputs of a program: expected 1 array, found 0 arrays");
    let long = program.run(&[Array1::zeros(3).into_dyn().view()]).unwrap_err().to_string();
    assert_eq!(long, "an input of a program: expected the shape (2,) for input 0, found the shape (3,)");
}

#[test]
fn a_checkpoint_is_refused() {
    let tape = Tape::new();
    let x = tape.leaf(array![1.0, 2.0]);
    let y = tape.checkpoint(&[x], |_, x| x[0].tanh());
    let error = Program::compile(&[x], &[y]).unwrap_err().to_string();
    assert!(error.starts_with("a step of a program: expected an operation that is kept"), "{error}");
}

#[test]
fn outputs_may_be_inputs_parameters_constants_views_and_each_other() {
    let tape = Tape::new();
    let w = Param::new(array![[7.0, 8.0]]);
    let (x, c) = (tape.leaf(array![[1.0, 2.0], [3.0, 4.0]]), tape.constant(array![5.0]));
    let p = tape.param(&w);
    let y = x.tanh();
    let outputs = [x, c, p, y, y, x.transpose(), y.transpose(), y.slice(0, 1..), c.broadcast_to([3])];
    let mut program = Program::compile(&[x], &outputs).unwrap();
    w.set_value(array![[9.0, 10.0]]);
    let data = array![[0.1, 0.2], [0.3, 0.4]];
    let found = program.run(&[data.view().into_dyn()]).unwrap();
    let y = {
        let tape = Tape::new();
        tape.leaf(&data).tanh().value().to_owned()
    };
    let expected = [
        data.clone().into_dyn(),
        array![5.0].into_dyn(),
        array![[9.0, 10.0]].into_dyn(),
        y.clone(),
        y.clone(),
        data.t().to_owned().into_dyn(),
        y.t().to_owned(),
        y.slice_axis(ndarray::Axis(0), (1..).into()).to_owned(),
        array![5.0, 5.0, 5.0].into_dyn(),
    ];
    for (k, expected) in expected.iter().enumerate() {
        assert_eq!(found.value(k), expected, "output {k}");
    }
}

#[test]
fn inputs_in_any_layout_and_without_elements_pass() {
    let tape = Tape::new();
    let (x, empty) = (tape.leaf(Array2::<f64>::zeros((2, 3))), tape.leaf(Array2::<f64>::zeros((0, 3))));
    let loss = (x * 2.0).sum() + empty.tanh().sum();
    let outputs = [loss, loss.grad_wrt(empty), empty.tanh()];
    let mut program = Program::compile(&[x, empty], &outputs).unwrap();
    let data = array![[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]];
    let none = Array2::<f64>::zeros((0, 3));
    let found = program.run(&[data.t().into_dyn(), none.view().into_dyn()]).unwrap();
    assert_eq!(found.item(0), 42.0);
    assert_eq!((found.value(1).shape(), found.value(2).shape()), (&[0, 3][..], &[0, 3][..]));
}

#[test]
fn forward_derivatives_and_custom_operations_run_in_programs() {
    #[derive(Debug)]
    struct Cube;
    impl CustomOp<f64> for Cube {
        fn name(&self) -> &'static str {
            "cube"
        }
        fn shape(&self, operands: &[&[usize]]) -> Result<Shape, ShapeError> {
            Ok(Shape::from(operands[0]))
        }
        fn forward(&self, operands: &[ArrayViewD<'_, f64>], mut result: ArrayViewMutD<'_, f64>) {
            result.zip_mut_with(&operands[0], |y, x| *y = x.powi(3));
        }
        fn vjp<'t>(&self, _: usize, x: &[Var<'t, f64>], _: Var<'t, f64>, g: Var<'t, f64>) -> Var<'t, f64> {
            x[0].square() * g * 3.0
        }
    }
    let tape = Tape::new();
    let (x, v) = (tape.leaf(array![1.0, 2.0]), tape.constant(array![1.0, 0.0]));
    let y = Var::custom(Arc::new(Cube), &[x]);
    let outputs = [y, y.sum().grad_wrt(x), x.tanh().jvp(&[x], &[v])];
    let mut program = Program::compile(&[x, v], &outputs).unwrap();
    let (x, v) = (array![2.0, 3.0], array![0.0, 1.0]);
    let found = program.run(&[x.view().into_dyn(), v.view().into_dyn()]).unwrap();
    assert_eq!(found.value(0), array![8.0, 27.0].into_dyn());
    assert_eq!(found.value(1), array![12.0, 27.0].into_dyn());
    assert_eq!(found.value(2)[[0]], 0.0);
    assert!((found.value(2)[[1]] - (1.0 - 3.0_f64.tanh().powi(2))).abs() < 1e-15);
}

#[test]
fn a_program_outlives_its_tape_and_runs_on_another_thread() {
    let mut program = {
        let tape = Tape::new();
        let x = tape.leaf(array![1.0_f32, 2.0]);
        Program::compile(&[x], &[x.square().sum()]).unwrap()
    };
    let run = std::thread::spawn(move || program.run(&[array![3.0_f32, 4.0].into_dyn().view()]).unwrap().item(0));
    assert_eq!(run.join().unwrap(), 25.0);
}

#[test]
fn a_run_after_one_that_panicked_is_right() {
    #[derive(Debug)]
    struct Refuses;
    impl CustomOp<f64> for Refuses {
        fn name(&self) -> &'static str {
            "refuses"
        }
        fn shape(&self, operands: &[&[usize]]) -> Result<Shape, ShapeError> {
            Ok(Shape::from(operands[0]))
        }
        fn forward(&self, operands: &[ArrayViewD<'_, f64>], mut result: ArrayViewMutD<'_, f64>) {
            assert!(operands[0][0] > 0.0, "on purpose");
            result.assign(&operands[0]);
        }
        fn vjp<'t>(&self, _: usize, _: &[Var<'t, f64>], _: Var<'t, f64>, g: Var<'t, f64>) -> Var<'t, f64> {
            g
        }
    }
    let (tape, w) = (Tape::new(), Param::new(array![2.0]));
    let x = tape.leaf(array![1.0, 2.0]);
    let y = Var::custom(Arc::new(Refuses), &[x * 2.0]) * tape.param(&w);
    let mut program = Program::compile(&[x], &[y, x * 2.0]).unwrap();
    let run = std::panic::AssertUnwindSafe(|| drop(program.run(&[array![-1.0, 2.0].into_dyn().view()]).map(|_| ())));
    assert!(std::panic::catch_unwind(run).is_err());
    w.set_value(array![10.0]);
    let found = program.run(&[array![3.0, 4.0].into_dyn().view()]).unwrap();
    assert_eq!(found.value(0), array![60.0, 80.0].into_dyn());
    assert_eq!(found.value(1), array![6.0, 8.0].into_dyn());
}

#[test]
fn gradients_of_a_parameter_used_three_times_add_up_in_the_order_of_the_tape() {
    let w = Param::new(array![1.0]);
    let tape = Tape::new();
    let loss = (tape.param(&w) * 1.0 + tape.param(&w) * 1e16 + tape.param(&w) * -1e16).sum();
    loss.backward();
    assert_eq!(w.grad().unwrap()[0], 1.0); // (-1e16 + 1e16) + 1
    w.zero_grad();
    let mut program = Program::compile_step(&[], loss).unwrap();
    let _ = program.run(&[]).unwrap();
    assert_eq!(w.grad().unwrap()[0], 1.0);
}

/// Threads share the tiles of a large group; a number of tiles that is not a power of two, and one that is.
#[test]
fn a_large_group_has_the_same_bits_for_any_number_of_threads() {
    for rows in [1024, 1500, 2101] {
        let number = |i: usize| ((i * 7919) % 1013) as f64 / 1013.0 - 0.5;
        let inputs = [
            ArrayD::from_shape_fn(IxDyn(&[rows, 100]), |i| number(i[0] * 100 + i[1])),
            ArrayD::from_shape_fn(IxDyn(&[100]), |i| number(i[0] + 5)),
            ArrayD::from_shape_fn(IxDyn(&[rows, 1]), |i| number(i[0] + 9)),
        ];
        fn f<'t>(x: &[Var<'t, f64>]) -> Vec<Var<'t, f64>> {
            let y = x[0] * x[1] + x[2];
            let loss = (y.square() * x[0]).sum() + (x[0] * 0.3).sum() - y.mean() * 2.0;
            [vec![loss, y], loss.grads(x)].concat()
        }
        let expected: Vec<ArrayD<f64>> = {
            let tape = Tape::new();
            let leaves: Vec<_> = inputs.iter().map(|x| tape.leaf(x)).collect();
            f(&leaves).iter().map(|y| y.value().to_owned()).collect()
        };
        for count in [1, 2, 5] {
            let tape = Tape::new();
            let leaves: Vec<_> = inputs.iter().map(|x| tape.leaf(x)).collect();
            let mut program = Program::compile(&leaves, &f(&leaves)).unwrap();
            let views: Vec<_> = inputs.iter().map(|x| x.view()).collect();
            threads::with(count, || {
                for _ in 0..2 {
                    let found = program.run(&views).unwrap();
                    for (k, expected) in expected.iter().enumerate() {
                        assert!(same_bits(found.value(k), expected.view()), "{rows} rows, {count} threads, output {k}");
                    }
                }
            });
        }
    }
}

/// A thread that waits takes other tiles, on the stack that it has. The partial sums are not on it.
#[cfg(feature = "rayon")]
#[test]
fn threads_that_share_a_group_need_little_stack() {
    let x = ArrayD::from_shape_fn(IxDyn(&[2999, 100]), |i| (i[0] * 100 + i[1]) as f64);
    let tape = Tape::new();
    let leaf = tape.leaf(&x);
    let loss = (leaf.square() * 0.5).sum() + (leaf * 0.3).sum();
    let mut program = Program::compile(&[leaf], &[loss]).unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(5).stack_size(512 << 10).build().unwrap();
    let found = pool.install(|| program.run(&[x.view()]).unwrap().item(0));
    assert_eq!(found, loss.item());
}

/// Arrays of a few elements become single numbers, and larger ones tiles.
#[test]
fn every_row_has_the_bits_of_the_tape_on_few_and_on_many_elements() {
    fn all<'t>(x: Var<'t, f64>, other: Var<'t, f64>, y: Var<'t, f64>) -> Vec<Var<'t, f64>> {
        let g = (y * x.tape().constant(0.3)).sum().grads_or_none(&[x, other]);
        let cotangents = g.into_iter().flatten();
        [y].into_iter().chain(cotangents).collect()
    }
    let special = [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1e-310, 1e300];
    for length in [3, 40] {
        let input = |shift: usize, low: f64, high: f64| {
            let part = |k: usize| ((k + shift) * 577 % 101) as f64 / 101.0;
            ArrayD::from_shape_fn(IxDyn(&[length]), |i| low + (high - low) * part(i[0]))
        };
        let extreme = |shift: usize| ArrayD::from_shape_fn(IxDyn(&[length]), |i| special[(i[0] * shift + shift) % 7]);
        for (row, range) in Unary::<f64>::samples() {
            let data = input(0, range.start, range.end);
            for run in [input(5, range.start, range.end), extreme(1), extreme(4)] {
                assert_as_recorded(std::slice::from_ref(&data), &[run], |x| all(x[0], x[0], x[0].unary(row))).unwrap();
            }
        }
        for (row, range) in Binary::samples() {
            let data = [input(0, range.start, range.end), input(17, range.start, range.end)];
            for run in [[data[1].clone(), data[0].clone()], [extreme(1), extreme(3)], [extreme(4), extreme(2)]] {
                assert_as_recorded(&data, &run, |x| all(x[0], x[1], x[0].binary(row, x[1]))).unwrap();
            }
        }
    }
}

#[test]
fn parts_of_small_arrays_take_no_step_and_a_sum_keeps_its_order() {
    let x = [array![[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]].into_dyn(), array![0.1, 0.2, 0.3].into_dyn()];
    let run = [array![[1e16, -1.0, 3.0], [0.7, -1e16, 0.6]].into_dyn(), array![-0.0, 0.2, 1e-9].into_dyn()];
    let moves = |x: &[Var<'_, f64>]| -> Vec<ArrayD<f64>> {
        let tape = x[0].tape();
        let outputs = parts(x);
        let program = Program::compile(x, &outputs).unwrap();
        let text = program.to_string();
        assert!(text.contains("0 steps on single numbers"), "{text}");
        assert!(!tape.is_empty());
        outputs.iter().map(|y| y.value().to_owned()).collect()
    };
    fn parts<'t>(x: &[Var<'t, f64>]) -> Vec<Var<'t, f64>> {
        let columns = Var::concat(&[x[0].slice(1, 1..), x[0].slice(1, ..1)], 1);
        let rows = x[0].index_select(0, &[1, 1, 0]).slice(1, 2..);
        let flipped = x[0].flip([1]).slice(0, ..1);
        vec![columns, rows, flipped, x[1].pad([(2, 1)], 0.0), x[0].transpose().reshape([6]).slice(0, 2..4)]
    }
    fn sums<'t>(x: &[Var<'t, f64>]) -> Vec<Var<'t, f64>> {
        let y = x[0] * x[1];
        let all = [y.sum(), y.sum_axes([0], KeepDims::No), y.sum_axes([1], KeepDims::Yes), y.cumsum(1), y.mean()];
        let joined = Var::concat(&[x[1], x[1].slice(0, ..2)], 0).square().sum();
        [all.to_vec(), vec![joined], (joined * y.sum()).grads(x), parts(x)].concat()
    }
    let tape = Tape::new();
    let leaves: Vec<_> = x.iter().map(|x| tape.leaf(x)).collect();
    moves(&leaves);
    assert_as_recorded(&x, &run, sums).unwrap();
}

/// Selected, added and summed arrays of up to 128 elements become single numbers where that takes less time.
#[test]
fn programs_of_selections_and_sums_have_the_bits_of_the_tape() {
    fn minors<'t>(x: &[Var<'t, f64>]) -> Vec<Var<'t, f64>> {
        let indices: Vec<usize> = (0..60).map(|k| (k * k + 3) % 25).collect();
        let chosen = x[0].index_select(0, &indices);
        let terms = (chosen * x[0].index_select(0, &indices[5..6]) * chosen).reshape([5, 3, 4]);
        let sums = [vec![0_isize], vec![1], vec![2], vec![0, 1], vec![0, 2], vec![1, 2], vec![0, 1, 2]];
        let sums: Vec<_> = sums.iter().map(|axes| terms.sum_axes(axes, KeepDims::No)).collect();
        let loss = sums.iter().map(|y| y.square().sum()).reduce(|a, b| a + b).unwrap();
        let gradient = loss.grad_wrt(x[0]);
        let second = (gradient * x[0]).sum().grad_wrt(x[0]);
        [sums, vec![loss, gradient, second]].concat()
    }
    let data = |shift: usize| ArrayD::from_shape_fn(IxDyn(&[25]), |i| ((i[0] * 37 + shift) % 101) as f64 / 50.0 - 1.0);
    assert_as_recorded(&[data(0)], &[data(11)], minors).unwrap();
    let tape = Tape::new();
    let x = [tape.leaf(data(0))];
    let text = Program::compile(&x, &minors(&x)).unwrap().to_string();
    assert!(text.contains("steps on single numbers"), "{text}");
}

#[test]
fn constants_zeros_with_a_sign_and_sums_over_several_axes_are_those_of_the_tape() {
    fn f<'t>(x: &[Var<'t, f64>]) -> Vec<Var<'t, f64>> {
        let (x, y) = (x[0], x[1]);
        let sums = [vec![0_isize], vec![1], vec![2], vec![0, 2], vec![]];
        let mut all: Vec<_> = sums.iter().map(|axes| y.sum_axes(axes, KeepDims::No)).collect();
        let parts = [x.slice(0, ..1).sum(), x.slice(0, ..1).sum_axes([0], KeepDims::Yes), x.slice(0, 1..2).mean()];
        let moved = [x.pad([(1, 0)], 1.0), x.pad([(1, 1)], -0.0), x.pad([(1, 1)], 0.0), x.slice(0, ..1).cumsum(0)];
        let loss = moved.iter().map(|y| y.slice(0, ..1).square().sum()).reduce(|a, b| a + b).unwrap();
        all.extend(parts.into_iter().chain(moved));
        all.extend([loss, loss.grad_wrt(x), x.pad([(1, 0)], 0.0).square().sum().grad_wrt(x)]);
        all
    }
    let y = |shift: usize| {
        ArrayD::from_shape_fn(IxDyn(&[2, 2, 2]), |i| {
            ((i[0] * 61 + i[1] * 17 + i[2] * 5 + shift * 13) % 97) as f64 / 97.0 - 0.5
        })
    };
    for shift in 0..40 {
        let data = [array![5.0, 7.0].into_dyn(), y(0)];
        assert_as_recorded(&data, &[array![-0.0, 0.0].into_dyn(), y(shift)], f).unwrap();
    }
    let tape = Tape::new();
    let x = tape.leaf(array![[1.0, 2.0], [3.0, 4.0]]);
    let mut program = Program::compile(&[x], &[x.slogdet().1]).unwrap();
    assert!((program.run(&[x.value()]).unwrap().item(0) - 2.0_f64.ln()).abs() < 1e-15);
}
