//! Segments that run again in the sweep: the same bits, less memory.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ndarray::{Array1, Array2, ArrayD, array};
use tapegrad::{Param, Tape, Var, transform};

/// Counts what this thread holds, and the most that it held.
struct Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // A thread that is ending has no counters any more.
    let _ = LIVE.try_with(|live| {
        live.set(live.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(live.get())));
    });
}

// SAFETY: every call is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Returns the most memory that was held while `f` ran, over what was held before.
fn peak(f: impl FnOnce()) -> isize {
    let before = LIVE.get();
    PEAK.set(before);
    f();
    PEAK.get() - before
}

fn wave(rows: usize, columns: usize, phase: f64) -> Array2<f64> {
    Array2::from_shape_fn((rows, columns), |(i, j)| ((i * columns + j) as f64 * 0.37 + phase).sin())
}

#[derive(Clone)]
struct Layer {
    w: Param<f64>,
    b: Param<f64>,
}

impl Layer {
    fn new(width: usize, phase: f64) -> Self {
        let w = wave(width, width, phase) / (width as f64).sqrt();
        Self { w: Param::new(w), b: Param::new(Array1::from_elem(width, phase.cos() * 0.1)) }
    }

    fn record<'t>(&self, tape: &'t Tape<f64>, x: Var<'t, f64>) -> Var<'t, f64> {
        (x.matmul(tape.param(&self.w)) + tape.param(&self.b)).tanh()
    }
}

fn network(depth: usize, width: usize) -> Vec<Layer> {
    (0..depth).map(|k| Layer::new(width, k as f64)).collect()
}

/// Records the layers, `segment` of them to a checkpoint; 0 of them without.
fn record<'t>(layers: &[Layer], segment: usize, x: Var<'t, f64>) -> Var<'t, f64> {
    if segment == 0 {
        return layers.iter().fold(x, |x, layer| layer.record(x.tape(), x));
    }
    layers.chunks(segment).fold(x, |x, layers| {
        let layers = layers.to_vec();
        x.tape().checkpoint(&[x], move |tape, x| layers.iter().fold(x[0], |x, layer| layer.record(tape, x)))
    })
}

fn bits(array: &ArrayD<f64>) -> Vec<u64> {
    array.iter().map(|x| x.to_bits()).collect()
}

/// Returns the bits of all parameters' gradients and clears them.
fn take_grads(layers: &[Layer]) -> Vec<Vec<u64>> {
    let params = layers.iter().flat_map(|layer| [&layer.w, &layer.b]);
    let take = |param: &Param<f64>| {
        let grad = param.grad().expect("reached");
        param.zero_grad();
        bits(&grad)
    };
    params.map(take).collect()
}

#[test]
fn a_network_of_100_layers_takes_a_fifth_of_the_memory_for_the_same_bits() {
    let (layers, x) = (network(100, 8), Arc::new(wave(256, 8, 0.5)));
    let step = |segment: usize, tape: &mut Tape<f64>| {
        let loss = record(&layers, segment, tape.constant(&x)).square().mean();
        loss.backward();
        let value = loss.item().to_bits();
        tape.reset();
        value
    };
    // The gradients' own memory is there before the comparison.
    step(0, &mut Tape::new());
    let expected = take_grads(&layers);

    let mut peaks = Vec::new();
    let mut values = Vec::new();
    for segment in [0, 10] {
        peaks.push(peak(|| values.push(step(segment, &mut Tape::new()))));
        assert_eq!(take_grads(&layers), expected, "segments of {segment} layers");
    }
    assert_eq!(values[0], values[1]);
    // Three values a layer and one that the sweep carries, of 16 KiB each: some 5 MiB against 10 results and 10 layers.
    assert!(peaks[0] > 300 * 16_384, "{peaks:?}");
    assert!(peaks[1] * 5 < peaks[0], "{peaks:?}");
    assert!(peaks[1] < 60 * 16_384, "{peaks:?}");

    // From the second step on nothing more is held.
    let mut tape = Tape::new();
    let mut held = Vec::with_capacity(6);
    for _ in 0..6 {
        step(10, &mut tape);
        held.push(LIVE.get());
    }
    assert_eq!(take_grads(&layers).len(), 200);
    assert!(held[2..].iter().all(|&bytes| bytes == held[2]), "{held:?}");
}

#[test]
fn segments_of_any_length_and_nested_ones_give_the_same_bits() {
    let (layers, x) = (network(12, 5), wave(7, 5, 0.1));
    let run = |record: &dyn for<'t> Fn(Var<'t, f64>) -> Var<'t, f64>| {
        let tape = Tape::new();
        let x = tape.leaf(&x);
        let loss = (record(x) * x).sum(); // x has a cotangent before the segment adds to it
        loss.backward();
        (take_grads(&layers), x.grad().expect("reached").mapv(f64::to_bits), loss.item().to_bits())
    };
    let expected = run(&|x| record(&layers, 0, x));
    for segment in [1, 5, 12] {
        assert_eq!(run(&|x| record(&layers, segment, x)), expected, "{segment}");
    }
    let nested = |segment: usize| {
        let layers = layers.clone();
        run(&move |x| {
            let layers = layers.clone();
            x.tape().checkpoint(&[x], move |_, x| record(&layers, segment, x[0]))
        })
    };
    for segment in [1, 5, 12] {
        assert_eq!(nested(segment), expected, "nested, {segment}");
    }
}

#[test]
fn inputs_are_used_often_or_not_at_all_and_parameters_are_tied() {
    let (w, unused) = (Param::new(wave(4, 4, 0.3)), Param::new(array![1.0]));
    fn body<'t>(tape: &'t Tape<f64>, w: &Param<f64>, x: &[Var<'t, f64>]) -> Var<'t, f64> {
        let (first, second) = (tape.param(w), tape.param(w));
        (x[0].matmul(first) * x[1] + x[0].tanh()).matmul(second) * x[0] + x[3]
    }
    let run = |checkpoint: bool| {
        let tape = Tape::new();
        let a = tape.leaf(wave(4, 4, 1.0));
        let b = tape.leaf(wave(1, 4, 2.0));
        let (c, fixed) = (tape.leaf(5.0), tape.constant(wave(4, 4, 3.0)));
        let _ = tape.param(&unused);
        let inputs = [a, b, c, fixed, a];
        let y = if checkpoint {
            let w = w.clone();
            tape.checkpoint(&inputs, move |tape, x| body(tape, &w, x))
        } else {
            body(&tape, &w, &inputs)
        };
        (y * a + tape.param(&w)).square().sum().backward();
        assert!(c.grad().is_none() && fixed.grad().is_none() && unused.grad().is_none());
        let grads = [a.grad(), b.grad()].map(|grad| bits(&grad.expect("reached").to_owned()));
        let of_w = bits(&w.grad().expect("reached"));
        w.zero_grad();
        (grads, of_w)
    };
    assert_eq!(run(true), run(false));
}

#[test]
fn views_and_constants_and_results_of_other_kinds_pass() {
    let tape = Tape::new();
    let x = tape.leaf(array![[1.0, 2.0], [3.0, 4.0]]);
    let y = tape.checkpoint(&[x.transpose(), x.slice(0, 1..)], |_, x| x[0].slice(1, ..1) * x[1].transpose());
    assert_eq!(y.value(), array![[3.0], [8.0]].into_dyn());
    y.sum().backward();
    assert_eq!(x.grad().expect("reached"), array![[3.0, 4.0], [1.0, 2.0]].into_dyn());

    // A segment may return an input, a constant, or what a parameter alone gives.
    tape.zero_grad();
    let (w, five) = (Param::new(array![2.0]), tape.constant(5.0));
    tape.checkpoint(&[five, x], |_, x| x[1]).sum().backward();
    tape.checkpoint(&[x, five], |_, x| x[0]).sum().backward();
    assert_eq!(x.grad().expect("reached"), array![[2.0, 2.0], [2.0, 2.0]].into_dyn());
    let weights = w.clone();
    tape.checkpoint(&[], move |tape, _| tape.param(&weights).square()).backward();
    assert_eq!(w.grad().expect("reached").sum(), 4.0);
    let made = tape.checkpoint(&[x], |tape, x| tape.leaf(3.0) * x[0].detach());
    tape.zero_grad();
    made.sum().backward(); // the segment's own leaf is out of reach
    assert!(x.grad().is_none());
    let constant = tape.checkpoint(&[x], |tape, _| tape.constant(1.0));
    assert!(catch_unwind(AssertUnwindSafe(|| constant.backward())).is_err());
    assert!(constant.grads_or_none(&[x])[0].is_none());
    let empty = tape.leaf(Array2::zeros((0, 3)));
    tape.checkpoint(&[empty], |_, x| x[0].tanh()).sum().backward();
    assert_eq!(empty.grad().expect("reached").shape(), [0, 3]);
    let single = Tape::<f32>::new();
    let x = single.leaf(3.0);
    single.checkpoint(&[x], |_, x| x[0].square()).backward();
    assert_eq!(x.grad().expect("reached").sum(), 6.0);
}

#[test]
fn a_parameter_that_was_updated_has_its_old_value_when_the_segment_runs_again() {
    let w = Param::new(array![2.0]);
    let tape = Tape::new();
    let x = tape.leaf(array![3.0]);
    let (outer, inner) = (w.clone(), w.clone());
    let y = tape.checkpoint(&[x], move |tape, x| {
        let inner = inner.clone();
        let y = tape.checkpoint(x, move |tape, x| x[0] * tape.param(&inner));
        y * tape.param(&outer)
    });
    w.set_value(array![100.0]);
    y.backward();
    assert_eq!(x.grad().expect("reached").sum(), 4.0); // w²
    assert_eq!(w.grad().expect("reached").sum(), 12.0); // 2 w x
    assert_eq!(y.grads(&[x])[0].item(), 4.0);
    assert_eq!(tape.param(&w).item(), 100.0);
}

#[test]
fn recorded_derivatives_of_any_order_go_through() {
    let x = array![0.4, -0.3, 0.8];
    fn body<'t>(x: Var<'t, f64>) -> Var<'t, f64> {
        x.softmax(0).tanh() * x.square() + x.sum()
    }
    let with = |x| transform::hessian(|x| x.tape().checkpoint(&[x], |_, x| body(x[0])).square().sum(), x);
    let nested = |x| {
        transform::hessian(|x| x.tape().checkpoint(&[x], |t, x| t.checkpoint(x, |_, x| body(x[0])).square()).sum(), x)
    };
    let expected = transform::hessian(|x| body(x).square().sum(), &x);
    for found in [with(&x), nested(&x)] {
        for (a, b) in found.iter().zip(&expected) {
            assert!((a - b).abs() <= 1e-13 * b.abs().max(1.0), "{found} and {expected}");
        }
    }

    // A gradient penalty trains the parameters within.
    let penalty = |checkpoint: bool| {
        let w = Param::new(wave(3, 2, 0.2));
        let tape = Tape::new();
        let x = tape.leaf(&x);
        let y = if checkpoint {
            let w = w.clone();
            tape.checkpoint(&[x], move |tape, x| x[0].matmul(tape.param(&w)).tanh())
        } else {
            x.matmul(tape.param(&w)).tanh()
        };
        let gradient = y.square().sum().grads(&[x])[0];
        (gradient.square().sum() + y.sum()).backward();
        (w.grad().expect("reached").to_owned(), x.grad().expect("reached").to_owned())
    };
    let (found, expected) = (penalty(true), penalty(false));
    for (a, b) in found.0.iter().chain(&found.1).zip(expected.0.iter().chain(&expected.1)) {
        assert!((a - b).abs() <= 1e-13 * b.abs().max(1.0), "{found:?} and {expected:?}");
    }

    // Its inputs may depend on each other: each gets what is its own, once.
    let tape = Tape::new();
    let x = tape.leaf(3.0);
    let h = x.square();
    let y = tape.checkpoint(&[x, h], |_, x| x[0] * x[1]); // x³
    assert_eq!(y.grads(&[x, h]).map_values(), [27.0, 3.0]);
    let second = y.grad_wrt(x).grad_wrt(x);
    assert_eq!((second.item(), second.grad_wrt(x).item()), (18.0, 6.0));
}

trait MapValues {
    fn map_values(&self) -> Vec<f64>;
}

impl MapValues for Vec<Var<'_, f64>> {
    fn map_values(&self) -> Vec<f64> {
        self.iter().map(|x| x.item()).collect()
    }
}

fn message(f: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).expect_err("it panics");
    payload.downcast_ref::<String>().cloned().or(payload.downcast_ref::<&str>().map(|s| s.to_string())).expect("text")
}

#[test]
fn a_panic_inside_leaves_the_tape_usable() {
    let (runs, w) = (Arc::new(AtomicUsize::new(0)), Param::new(array![2.0]));
    let tape = Tape::new();
    let x = tape.leaf(array![3.0]);
    let text = message(|| _ = tape.checkpoint(&[x], |_, x| x[0].matmul(x[0].reshape([1, 1]).reshape([2]))));
    assert!(text.contains("reshape") && text.contains("tests/checkpoint.rs"), "{text}");
    assert_eq!(tape.len(), 1);

    // The second run fails: in the sweep, with gradients of other nodes already complete.
    let (count, weights) = (Arc::clone(&runs), w.clone());
    let y = tape.checkpoint(&[x], move |tape, x| {
        assert!(count.fetch_add(1, Ordering::Relaxed) != 1, "the second run");
        tape.no_grad(|| x[0] * 1.0) * tape.param(&weights) * x[0]
    });
    let loss = y * tape.param(&w);
    assert_eq!(message(|| loss.sum().backward()), "the second run");
    assert!(x.grad().is_none() && w.grad().is_none());
    loss.sum().backward();
    assert_eq!(w.grad().expect("reached").sum(), 36.0); // 2 x² w
    assert_eq!(x.grad().expect("reached").sum(), 12.0); // x w², one factor detached
    runs.store(1, Ordering::Relaxed);
    assert_eq!(message(|| drop(loss.grads(&[x]))), "the second run");
    assert_eq!(loss.grads(&[x])[0].item(), 12.0);
    (x * x).backward();
    assert_eq!(x.grad().expect("reached").sum(), 18.0);
}

#[test]
fn a_segment_that_does_not_repeat_itself_is_caught() {
    let runs = Arc::new(AtomicUsize::new(0));
    let tape = Tape::new();
    let x = tape.leaf(array![3.0, 4.0]);
    let count = Arc::clone(&runs);
    let y = tape.checkpoint(&[x], move |_, x| x[0] * count.fetch_add(1, Ordering::Relaxed) as f64);
    for text in [message(|| y.sum().backward()), message(|| drop(y.sum().grads(&[x])))] {
        assert!(text.contains("the segment gave other values when it ran again: %1 = checkpoint (2,)"), "{text}");
        assert!(text.contains("tests/checkpoint.rs"), "{text}");
    }
    assert!(x.grad().is_none());
    // NaN is the same as NaN.
    let y = tape.checkpoint(&[x], |_, x| (x[0] * 0.0).ln().sqrt() * f64::NAN);
    y.sum().backward();
    assert!(x.grad().expect("reached").iter().all(|g| g.is_nan()));
    let other = Tape::new();
    let text = message(|| _ = other.checkpoint(&[other.leaf(1.0), x], |_, x| x[0]));
    assert!(text.starts_with("checkpoint: an input is of another tape: %0 = leaf (2,)"), "{text}");
}

#[test]
fn a_tape_with_checkpoints_is_reset_printed_and_sent() {
    let mut tape = Tape::new();
    for _ in 0..3 {
        let x = tape.leaf(2.0);
        let indices = [1, 0];
        let y = tape.checkpoint(&[x], move |_, x| x[0].broadcast_to([2]).index_select(0, &indices).square());
        y.sum().backward();
        assert_eq!(x.grad().expect("reached").sum(), 8.0);
        assert!(tape.to_string().contains("= checkpoint %0 : (2,)"), "{tape}");
        assert_eq!(tape.len(), 3);
        tape.reset();
    }
    let _ = tape.checkpoint(&[tape.leaf(2.0)], |_, x| x[0].square());
    assert_eq!(std::thread::spawn(move || tape.len()).join().expect("no panic"), 2);
}

#[test]
fn a_checkpoint_within_no_grad_is_a_constant_to_every_derivative() {
    let w = Param::new(array![2.0]);
    let tape = Tape::new();
    let x = tape.leaf(array![3.0]);
    let weight = w.clone();
    let six = tape.no_grad(|| tape.checkpoint(&[x], move |tape, x| x[0] * tape.param(&weight)));
    let y = (six * x).sum();
    assert_eq!(y.grads(&[x])[0].item(), 6.0); // not 2 w x
    assert_eq!(y.jvp(&[x], &[tape.constant(array![1.0])]).item(), 6.0);
    y.backward();
    assert_eq!(x.grad().expect("reached").sum(), 6.0);
    assert!(w.grad().is_none());
}

#[test]
fn a_parameter_of_the_inner_segment_alone_has_its_old_value_when_both_run_again() {
    let w = Param::new(array![2.0]);
    let tape = Tape::new();
    let x = tape.leaf(array![3.0]);
    let weight = w.clone();
    let y = tape.checkpoint(&[x], move |tape, x| {
        let weight = weight.clone();
        tape.checkpoint(x, move |tape, x| x[0] * tape.param(&weight)).square()
    });
    w.set_value(array![100.0]);
    y.backward(); // y = x² w²
    assert_eq!(x.grad().expect("reached").sum(), 24.0);
    assert_eq!(w.grad().expect("reached").sum(), 36.0);
    assert_eq!(y.grads(&[x])[0].item(), 24.0);
}

#[test]
fn an_input_that_the_segment_does_not_use_keeps_the_cotangent_that_it_has() {
    let tape = Tape::new();
    let (x, z) = (tape.leaf(2.0), tape.leaf(5.0));
    // The product gives z its cotangent before the segment runs again, and the segment returns its first input.
    let y = tape.checkpoint(&[x, z], |_, x| x[0]) * z;
    assert_eq!(y.grads(&[x, z]).map_values(), [5.0, 2.0]);
    y.backward();
    assert_eq!((x.grad().expect("reached").sum(), z.grad().expect("reached").sum()), (5.0, 2.0));
}

#[test]
fn what_a_segment_records_in_a_derivative_names_the_line_that_asked_for_it() {
    let tape = Tape::new();
    let x = tape.leaf(3.0);
    let y = tape.checkpoint(&[x], |_, x| x[0].square().grads(&[x[0]])[0]);
    let before = tape.len();
    assert_eq!(y.grads(&[x])[0].item(), 2.0);
    let line = format!("tests/checkpoint.rs:{}", line!() - 1);
    let text = tape.to_string();
    assert!(tape.len() > before + 1 && text.lines().skip(before).all(|node| node.ends_with(&line)), "{text}");
}

#[test]
fn a_nan_of_another_sign_is_the_same_value() {
    let runs = AtomicUsize::new(0);
    let tape = Tape::new();
    let x = tape.leaf(array![3.0]);
    let y = tape.checkpoint(&[x], move |tape, x| {
        let nan = if runs.fetch_add(1, Ordering::Relaxed) == 0 { f64::NAN } else { -f64::NAN };
        Var::concat(&[x[0], tape.constant(array![nan])], 0)
    });
    y.sum().backward();
    assert_eq!(x.grad().expect("reached").sum(), 1.0);
}

#[test]
fn a_tape_that_was_reset_holds_no_value_of_a_parameter() {
    let w = Param::new(array![2.0]);
    let mut tape = Tape::new();
    let weight = w.clone();
    tape.checkpoint(&[tape.leaf(array![3.0])], move |tape, x| x[0] * tape.param(&weight)).backward();
    tape.reset();
    assert_eq!(Arc::strong_count(&w.value()), 2); // the parameter's own and this one
}

#[test]
fn a_segment_that_records_on_the_outer_tape_is_told_so() {
    thread_local! {
        static OUTER: &'static Tape<f64> = Box::leak(Box::new(Tape::new()));
    }
    let outer = OUTER.with(|tape| *tape);
    let x = outer.leaf(2.0);
    let text = message(|| _ = outer.checkpoint(&[x], |_, x| x[0] * OUTER.with(|outer| outer.leaf(3.0).item())));
    assert!(text.contains("a segment records on the tape that it is given, not on the outer one"), "{text}");
    assert_eq!(outer.len(), 1);
}

#[test]
fn vjp_arrays_reach_leaves_and_parameters_also_within_segments() {
    let (w, unused) = (Param::new(array![2.0, 3.0]), Param::new(array![1.0]));
    let tape = Tape::new();
    let x = tape.leaf(array![1.0, 10.0]);
    let (direct, other) = (tape.param(&w), tape.param(&unused));
    let inside = w.clone();
    let y = tape.checkpoint(&[x], move |tape, x| x[0].square() * tape.param(&inside)) + direct * 5.0;
    let pulled = y.vjp_arrays(array![1.0, 100.0], &[x, direct, other, x]);
    let by_x = array![4.0, 6000.0].into_dyn(); // 2 x w g
    assert_eq!(pulled, [Some(by_x.clone()), Some(array![6.0, 10500.0].into_dyn()), None, Some(by_x)]); // (x² + 5) g
    assert_eq!((x.grad(), w.grad()), (None, None));
    assert_eq!(x.sum().vjp_arrays(1.0, &[direct]), [None]);
    assert_eq!(tape.constant(1.0).vjp_arrays(1.0, &[x]), [None]);
}
