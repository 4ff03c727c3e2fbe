//! Long tapes, small stacks, and promises that the compiler keeps.

use std::thread;

use ndarray::array;
use static_assertions::{assert_impl_all, assert_not_impl_any};
use tapegrad::{Param, Tape, Var};

assert_impl_all!(Param<f32>: Send, Sync, Clone);
assert_impl_all!(Tape<f64>: Send);
assert_not_impl_any!(Tape<f64>: Sync, Clone);
assert_impl_all!(Var<'static, f32>: Copy);

fn with_a_small_stack(f: impl FnOnce() + Send + 'static) {
    let thread = thread::Builder::new().stack_size(256 * 1024).spawn(f).expect("a thread starts");
    assert!(thread.join().is_ok());
}

#[test]
fn a_million_nodes_record_sweep_reset_and_drop_without_recursion() {
    with_a_small_stack(|| {
        let mut tape = Tape::<f64>::new();
        // And less in the same memory.
        for count in [1_000_000, 4000] {
            let x = tape.leaf(1.0);
            let y = (0..count).fold(x, |y, k| if k % 2 == 0 { y + 0.5 } else { y * 0.5 });
            assert_eq!(tape.len(), count + 1);
            y.backward();
            assert_eq!(x.grad().expect("reached").sum(), 0.0); // 0.5^500,000, and 0.5^2000
            assert!((y.item() - 0.5).abs() < 1e-15); // the fixed point of (y + 0.5) / 2
            tape.reset();
        }
    });
}

#[test]
fn a_hundred_thousand_nodes_are_differentiated_on_the_tape() {
    with_a_small_stack(|| {
        let tape = Tape::<f64>::new();
        let x = tape.leaf(1.0);
        let y = (0..40_000).fold(x, |y, _| y * 1.0 + x * 2.5e-5);
        let first = y.square().grad_wrt(x);
        let second = first.grad_wrt(x);
        assert!((first.item() - 8.0).abs() < 1e-9, "{}", first.item()); // y = 2 x, (y²)' = 8 x
        assert!((second.item() - 8.0).abs() < 1e-9, "{}", second.item());
    });
}

#[test]
fn a_tape_moves_to_another_thread_and_a_parameter_is_shared() {
    let w = Param::new(ndarray::array![2.0]);
    let tape = Tape::new();
    let _ = tape.leaf(1.0);
    let shared = w.clone();
    let thread = thread::spawn(move || {
        (tape.param(&shared) * 3.0).sum().backward();
        tape.len()
    });
    assert_eq!(thread.join().expect("no panic"), 4);
    assert_eq!(w.grad().expect("reached")[[0]], 3.0);
}

#[test]
fn a_printed_tape_has_a_numbered_line_for_each_node_with_its_origin() {
    let tape = Tape::new();
    let w = Param::new(ndarray::array![[1.0], [2.0]]);
    let x = tape.constant(ndarray::array![[1.0, 2.0]]);
    let y = x.matmul(tape.param(&w)).tanh();
    let _ = y.sum().grads(&[x]);
    let text = tape.to_string();
    assert_eq!(text.lines().count(), tape.len());
    for (number, line) in text.lines().enumerate() {
        assert!(line.starts_with(&format!("%{number}")), "{line}");
        assert!(line.contains("tests/deep.rs:"), "{line}");
    }
    assert!(text.contains("= matmul %0 %1 : (1, 1)"), "{text}");
    assert!(format!("{tape:?}").ends_with(&text));
}

/// If each part counted those before it, each pass would read 5 * 10^10 lengths, which takes minutes instead of a second.
/// The cotangents of all parts are one contribution. One by one, each would be as large as the array.
#[test]
fn dividing_into_very_many_parts_records_a_node_for_each() {
    let count = 20_000;
    let tape = Tape::<f64>::new();
    let x = tape.leaf((0..count).map(f64::from).collect::<ndarray::Array1<_>>());
    // All parts except the first.
    let parts = x.unbind(0);
    let squares: Var<f64> = (1..parts.len()).map(|k| parts[k].square()).sum();
    let recorded = tape.len();
    let first = squares.grad_wrt(x);
    assert!(tape.len() - recorded < 6 * parts.len(), "{} nodes", tape.len() - recorded);
    let second = first.square().sum().grad_wrt(x); // of 4 x²
    for k in [0, 1, 2, 12_345, 19_999] {
        assert_eq!(first.value()[k], 2.0 * k as f64);
        assert_eq!(second.value()[k], 8.0 * k as f64);
    }
}

#[test]
fn windows_that_are_empty_overlap_or_lie_on_other_axes_add_up() {
    let tape = Tape::<f64>::new();
    let x = tape.leaf(ndarray::Array2::from_shape_fn((4, 3), |(i, j)| (3 * i + j) as f64));
    let slices = [
        x.slice(0, 1..1).sum(),
        x.slice(0, 3..4).square().sum(),
        x.slice(0, 0..2).square().sum(),
        x.slice(0, 1..3).square().sum(), // overlaps
        x.slice(1, 2..3).square().sum(), // another axis
        (x * x).sum(),                   // the whole
        x.slice(0, 2..3).square().sum(),
        x.slice(0, 0..0).sum(),
    ];
    let loss: Var<f64> = slices.into_iter().sum();
    let counts = array![[2.0, 2.0, 3.0], [3.0, 3.0, 4.0], [3.0, 3.0, 4.0], [2.0, 2.0, 3.0]].into_dyn();
    let recorded = loss.grad_wrt(x);
    assert_eq!(recorded.value(), &x.value() * &counts * 2.0);
    assert_eq!(recorded.sum().grad_wrt(x).value(), counts * 2.0);
    loss.backward();
    assert_eq!(x.grad().expect("reached"), recorded.value());
}

#[test]
fn joining_very_many_parts_records_a_node_for_each() {
    let count = 70_000;
    let tape = Tape::<f64>::new();
    let parts: Vec<_> = (0..count).map(|_| tape.leaf(array![1.0])).collect();
    let weights = tape.constant((0..count).map(f64::from).collect::<ndarray::Array1<_>>());
    let joined = (Var::concat(&parts, 0) * weights).sum();
    joined.backward();
    let recorded = tape.len();
    let grads = joined.grads(&parts);
    // A slice for each part, and the rules of the sum and of the product.
    assert!(tape.len() - recorded < parts.len() + 10, "{} nodes", tape.len() - recorded);
    Var::stack(&parts, 0).sum().backward();
    for k in [0, 1, 2, 65_537, 69_999] {
        assert_eq!(grads[k].item(), k as f64);
        assert_eq!(parts[k].grad().expect("reached").sum(), k as f64 + 1.0);
    }
}
