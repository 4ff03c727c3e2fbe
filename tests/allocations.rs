//! After a few repetitions, a training step allocates nothing, by hand or on the tape.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use ndarray::{Array1, Array2, Array4, array, s};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tapegrad::KeepDims::No;
use tapegrad::Reduction::{Mean, Sum};
use tapegrad::chunks::{Chunks, Rows};
use tapegrad::nn::{Linear, Loss, Module, Sequential, SoftmaxCrossEntropy, Tanh};
use tapegrad::optim::{Adagrad, Adam, AdamW, Optimizer, RmsProp, Schedule, Sgd};
use tapegrad::{Param, Program, Scalar, Tape, Var, threads};

/// Counts the allocations of this thread. Other tests run on other threads.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    static LIVE_BYTES: Cell<isize> = const { Cell::new(0) };
    /// The most bytes that were asked for at once.
    static LARGEST: Cell<isize> = const { Cell::new(0) };
}

fn count(allocations: usize, bytes: isize) {
    // A thread that ends has no counters.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + allocations));
    let _ = LIVE_BYTES.try_with(|live| live.set(live.get() + bytes));
    let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(bytes)));
}

// SAFETY: every call goes to the system's allocator with the same arguments.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, -(layout.size() as isize));
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(1, size as isize - layout.size() as isize);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Asserts that a step allocates nothing after a few repetitions.
fn assert_steady(mut step: impl FnMut()) {
    for _ in 0..3 {
        step();
    }
    let (allocations, live) = (ALLOCATIONS.get(), LIVE_BYTES.get());
    // A short list that grows by one in each step moves meanwhile.
    for _ in 0..20 {
        step();
    }
    assert_eq!(ALLOCATIONS.get() - allocations, 0, "allocations in 20 steps");
    assert_eq!(LIVE_BYTES.get(), live, "bytes held");
}

fn mlp<T: Scalar>() -> Sequential<T> {
    let mut rng = StdRng::seed_from_u64(0);
    Sequential::new().push(Linear::new(784, 100, &mut rng)).push(Tanh::new()).push(Linear::new(100, 3, &mut rng))
}

fn batch<T: Scalar>(rows: usize) -> (Arc<Array2<T>>, Vec<usize>) {
    let pixel = |(i, j)| T::from_f64(((i * 31 + j * 7) % 97) as f64 / 97.0);
    (Arc::new(Array2::from_shape_fn((rows, 784), pixel)), (0..rows).map(|row| row % 3).collect())
}

fn tape_step<T: Scalar>(momentum: f64, copied: bool) -> impl FnMut() {
    let (network, loss, mut tape) = (mlp::<T>(), SoftmaxCrossEntropy::new(), Tape::new());
    let mut sgd = Sgd::new(network.parameters(), T::from_f64(0.01)).with_momentum(T::from_f64(momentum));
    let (images, labels) = batch(32);
    move || {
        let x = if copied { tape.constant(&*images) } else { tape.constant(&images) };
        loss.record_labels(&labels, network.record(&tape, x)).backward();
        sgd.step();
        sgd.zero_grad();
        tape.reset();
    }
}

#[test]
fn a_training_step_on_the_tape_allocates_nothing() {
    assert_steady(tape_step::<f32>(0.0, false));
    assert_steady(tape_step::<f64>(0.9, true));
}

#[test]
fn a_training_step_by_hand_allocates_nothing() {
    let (mut network, mut loss) = (mlp::<f32>(), SoftmaxCrossEntropy::new());
    let mut sgd = Sgd::new(network.parameters(), 0.01).with_momentum(0.9);
    let (images, labels) = batch(32);
    assert_steady(|| {
        let scores = network.forward(&images);
        loss.forward_labels(&labels, scores);
        let delta = loss.backward_labels(&labels, scores);
        network.backward_update_gradient(&images, delta);
        sgd.step();
        sgd.zero_grad();
    });
}

#[test]
fn a_step_of_any_optimizer_allocates_nothing_after_its_first() {
    let w = Param::new(Array2::<f32>::ones((20, 4)));
    w.accumulate_grad(&Array2::ones((20, 4)).into_dyn());
    let optimizers: [Box<dyn Optimizer<f32>>; 6] = [
        Box::new(Sgd::new([&w], 0.1).with_momentum(0.9).with_nesterov().with_weight_decay(0.1)),
        Box::new(Adam::new([&w], 0.1)),
        Box::new(AdamW::new([&w], 0.1).with_amsgrad()),
        Box::new(RmsProp::new([&w], 0.1)),
        Box::new(RmsProp::new([&w], 0.1).with_centered().with_momentum(0.9)),
        Box::new(Adagrad::new([&w], 0.1)),
    ];
    let schedules = [Schedule::multi_step(0.1, [1, 2], 0.5), Schedule::cosine(0.1, 7, 0.0).with_warm_up(2, 0.5)];
    for mut optimizer in optimizers {
        let mut step = |hold: bool| {
            // A tape may hold the old value: the step writes to other memory.
            let held = w.value();
            if !hold {
                drop(held);
            }
            optimizer.step();
        };
        step(true);
        let allocations = ALLOCATIONS.get();
        for count in 0..10 {
            step(count % 2 == 0);
        }
        assert_eq!(ALLOCATIONS.get() - allocations, 0, "allocations in 10 steps");
        for (count, schedule) in (0..10).zip(schedules.iter().cycle()) {
            schedule.apply(count, &mut *optimizer);
        }
        assert_eq!(ALLOCATIONS.get() - allocations, 0, "allocations by schedules");
    }
}

#[test]
fn a_chain_of_600_small_operations_allocates_nothing() {
    let x = Array1::<f64>::linspace(-1.0, 1.0, 64);
    let mut tape = Tape::new();
    assert_steady(|| {
        let x = tape.leaf(&x);
        let y = (0..200).fold(x, |y, _| (y * 0.9 + 0.1).tanh());
        y.square().sum().backward();
        tape.reset();
    });
}

#[test]
fn accumulating_over_batches_and_views_allocates_nothing() {
    let w = Param::new(Array2::<f64>::ones((6, 4)));
    let x = Arc::new(Array2::<f64>::ones((5, 6)));
    let mut tape = Tape::new();
    assert_steady(|| {
        w.zero_grad();
        for _ in 0..3 {
            let w = tape.param(&w);
            let y =
                tape.constant(&x).matmul(w).slice(0, 1..4).transpose() + w.slice(0, ..4).index_select(1, &[2, 0, 2]);
            (y.max_axes([1], tapegrad::KeepDims::Yes) * y.softmax(0)).sum().backward();
            tape.reset();
        }
        w.update(1e-3);
    });
}

#[test]
fn reductions_and_losses_allocate_nothing() {
    let x = Arc::new(Array2::from_shape_fn((6, 9), |(i, j)| (i * 5 + j) as f64 * 0.01 + 0.1));
    let labels = [0, 1, 2, 3, 4, 5];
    let mut tape = Tape::new();
    assert_steady(|| {
        let (x, target) = (tape.leaf(&*x), tape.constant(&x) * 0.9);
        let reduced = x.prod_axes([1], No) + x.norm_axes([1], No) + x.logsumexp_axes([-1], No) + x.std_axes([1], 1, No);
        let loss = reduced.sum()
            + x.prod_axes([0], No).min()
            + x.cumsum(0).gelu().mse_loss(target, Mean)
            + x.cross_entropy_labels(&labels, Mean)
            + x.cross_entropy(target, Sum)
            + x.sigmoid().binary_cross_entropy(target, Mean)
            + x.huber_loss(target, 1.0, Sum);
        loss.backward();
        tape.reset();
    });
}

#[test]
fn images_and_batches_of_matrices_allocate_nothing() {
    let images =
        Arc::new(Array4::<f32>::from_shape_fn((4, 2, 6, 6), |(n, c, i, j)| ((n + 3 * c + 5 * i + 7 * j) % 11) as f32));
    let (w, b) = (Array4::<f32>::ones((3, 2, 3, 3)), Array1::<f32>::ones(3));
    let mask = Array2::from_shape_fn((3, 3), |(i, j)| i >= j);
    let indices = Array4::from_shape_fn((4, 3, 3, 2), |(_, i, j, k)| (i + j + k) % 3);
    let mut tape = Tape::new();
    assert_steady(|| {
        let (x, w, b) = (tape.leaf(&images), tape.leaf(&w), tape.leaf(&b));
        let y = x.conv2d(w, Some(b), 1, 1).batch_norm(b, b, 1e-5).max_pool2d(2, 2);
        let z = y.matmul(y.swapaxes(2, 3)).layer_norm(b, b, 1e-5);
        let chosen = Var::select(&mask, z, y.flip([2])).gather(3, &indices).pad([(0, 0), (0, 0), (0, 0), (1, 0)], 1.0);
        (chosen.tril(0) + chosen.slice(0, 1..2).avg_pool2d([1, 3], 1)).sum().backward();
        tape.reset();
    });
}

#[test]
fn memory_stays_constant_over_10_000_steps_of_changing_batches() {
    let w = Param::new(Array2::<f32>::ones((10, 3)));
    let batches = [24, 17, 24, 1].map(|rows| Arc::new(Array2::<f32>::ones((rows, 10))));
    let mut tape = Tape::new();
    let mut epoch = || {
        for x in &batches {
            (tape.constant(x).matmul(tape.param(&w)).tanh() - 0.5).square().mean().backward();
            w.update(1e-3);
            w.zero_grad();
            tape.reset();
        }
    };
    for _ in 0..10 {
        epoch();
    }
    let live = LIVE_BYTES.get();
    for _ in 0..2500 {
        epoch();
    }
    assert_eq!(LIVE_BYTES.get(), live);
}

#[test]
fn names_and_groups_allocate_nothing() {
    let (layer, loss, mut tape) = (mlp::<f32>(), SoftmaxCrossEntropy::new(), Tape::new());
    let single = Linear::new(3, 3, &mut StdRng::seed_from_u64(0));
    let (images, targets) = (batch::<f32>(8).0, Array2::zeros((8, 3)));
    assert_steady(|| {
        let x = tape.constant(&images).named("x");
        let scores = tape.group("network", || single.record(&tape, layer.record(&tape, x))).named("z");
        loss.record(&targets, scores).backward();
        tape.reset();
    });
}

#[test]
fn elements_gathered_from_a_large_array_share_one_gradient() {
    let tape = Tape::<f32>::new();
    let (rows, columns) = (1 << 15, 1 << 7);
    let x = tape.leaf(Array2::<f32>::zeros((rows, columns)));
    let gradient = rows * columns * size_of::<f32>();
    let chosen: Vec<_> = (0..100).map(|k| x.gather(0, &array![[k], [k], [k + 1]])).collect();
    let loss = Var::concat(&chosen, 0).sum();
    let before = LIVE_BYTES.get();
    loss.backward();
    let held = LIVE_BYTES.get() - before;
    // Two gradients or more, if each choice made one of its own before it is added up.
    assert!(held < (gradient + gradient / 2) as isize, "{held} bytes for a gradient of {gradient}");
    assert_eq!(x.grad().expect("reached").sum(), 300.0);
}

/// The names of all arrays are for the message that one is missing.
#[test]
fn reading_one_array_of_a_file_does_not_name_the_others() {
    let directory = tempfile::tempdir().expect("a directory is made");
    let (path, one) = (directory.path().join("many.npz"), ndarray::array![1.0].into_dyn());
    let names: Vec<String> = (0..2000).map(|k| format!("w{k}")).collect();
    let arrays: Vec<_> = names.iter().map(|name| (name.as_str(), one.view())).collect();
    tapegrad::data::save_npz(&path, &arrays).expect("the file is written");
    let mut file = tapegrad::data::Npz::open(&path).expect("the file is read");
    let before = ALLOCATIONS.get();
    assert_eq!(file.array::<f64>("w1000").expect("it is there"), one);
    let allocations = ALLOCATIONS.get() - before;
    assert!(allocations < 1000, "{allocations}");
}

#[test]
fn backward_again_and_again_without_reset_takes_no_more_memory() {
    let tape = Tape::<f64>::new();
    let x = tape.leaf(Array1::from_shape_fn(1000, |i| i as f64));
    let y = x.square();
    let loss = y.sum();
    let seed = Array1::<f64>::ones(1000);
    for _ in 0..3 {
        loss.backward();
        y.backward_with(&seed);
    }
    let live = LIVE_BYTES.get();
    for _ in 0..100 {
        loss.backward();
        y.backward_with(&seed);
    }
    assert_eq!(LIVE_BYTES.get(), live);
    tape.zero_grad();
    loss.backward();
    assert_eq!(x.grad().expect("reached")[[3]], 6.0);
    assert_eq!(LIVE_BYTES.get(), live);
}

#[test]
fn a_training_step_in_chunks_allocates_nothing_on_one_thread() {
    let network = mlp::<f32>();
    let mut sgd = Sgd::new(network.parameters(), 0.01).with_momentum(0.9);
    let (images, labels) = batch(37);
    let mut chunks = Chunks::new(8);
    assert_steady(|| {
        threads::with(1, || {
            chunks.accumulate_gradients(Rows::mean(37), |tape, rows| {
                let x = tape.constant(&images).slice(0, rows.clone());
                SoftmaxCrossEntropy::new().record_labels(&labels[rows], network.record(tape, x))
            })
        });
        sgd.step();
        sgd.zero_grad();
    });

    let parameters = network.parameters().to_vec();
    let mut chunks = Chunks::by_hand(8, move || {
        let layer = |k: usize| Linear::from_params(parameters[k].clone(), Some(parameters[k + 1].clone()));
        (Sequential::new().push(layer(0)).push(Tanh::new()).push(layer(2)), SoftmaxCrossEntropy::new())
    });
    assert_steady(|| {
        threads::with(1, || {
            chunks.accumulate_by_hand(Rows::mean(37), |(network, loss), rows| {
                let (x, labels) = (images.slice(s![rows.clone(), ..]), &labels[rows]);
                let scores = network.forward(&x);
                let value = loss.forward_labels(labels, scores);
                let delta = loss.backward_labels(labels, scores);
                network.backward_update_gradient(&x, delta);
                value
            })
        });
        sgd.step();
        sgd.zero_grad();
    });
}

#[test]
fn one_thread_holds_a_gradient_for_each_level_of_the_tree_and_one_chunk() {
    let (elements, count) = (100_000, 64);
    let w = Param::new(Array1::<f32>::ones(elements));
    let before = LIVE_BYTES.get();
    let mut chunks = Chunks::new(1);
    threads::with(1, || {
        chunks.accumulate_gradients(Rows::sum(count), |tape, rows| (tape.param(&w) * rows.start as f32).sum())
    });
    let held = (LIVE_BYTES.get() - before) / (elements * size_of::<f32>()) as isize;
    // Seven gradients, that of the parameter, and on the tape the product and a cotangent. Buffers of a tape have up to
    // twice the size.
    assert!((8..=12).contains(&held), "{held} times the parameter, with {count} chunks");
    assert_eq!(w.grad().expect("reached")[[0]], 2016.0); // 0 + 1 + … + 63
}

#[test]
fn a_run_of_a_program_allocates_nothing() {
    let (network, loss, tape) = (mlp::<f32>(), SoftmaxCrossEntropy::new(), Tape::new());
    let mut sgd = Sgd::new(network.parameters(), 0.01).with_momentum(0.9);
    let (images, labels) = batch(32);
    let x = tape.constant(&images);
    let mut program = Program::compile_step(&[x], loss.record_labels(&labels, network.record(&tape, x))).unwrap();
    drop(tape);
    let input = images.view().into_dyn();
    assert_steady(|| {
        program.run(std::slice::from_ref(&input)).unwrap();
        sgd.step();
        sgd.zero_grad();
    });
}

#[test]
fn no_reader_allocates_what_a_header_promises() {
    use std::fs;
    use tapegrad::data::{Npz, SafeTensors, load_data, load_idx};

    let directory = tempfile::tempdir().expect("a directory is made");
    let write = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        fs::write(&path, bytes).expect("the file is written");
        path
    };
    let npy = |shape: &str| {
        let header = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}\n");
        [&b"\x93NUMPY\x01\x00"[..], &(header.len() as u16).to_le_bytes(), header.as_bytes()].concat()
    };
    // The length of the header is a promise, too.
    for bytes in [npy("(1000000, 784)"), b"\x93NUMPY\x02\x00\xff\xff\xff\x7f{".to_vec()] {
        write("x.npy", &bytes);
        LARGEST.set(0);
        assert!(load_data::<f32>(directory.path()).is_err());
        assert!(LARGEST.get() < 100_000, "npy: {}", LARGEST.get());
    }
    let header = "{\"a\":{\"dtype\":\"F64\",\"shape\":[1000000,784],\"data_offsets\":[0,6272000000]}}";
    for length in [header.len() as u64, 99_999_999, u64::MAX] {
        let path = write("a.safetensors", &[&length.to_le_bytes()[..], header.as_bytes()].concat());
        LARGEST.set(0);
        assert!(SafeTensors::open(path).is_err());
        assert!(LARGEST.get() < 100_000, "safetensors: {}", LARGEST.get());
    }
    let lengths: [&[u8]; 3] =
        [&[0, 0, 14, 2, 0, 15, 0, 0, 0, 0, 3, 0], &[0, 0, 8, 1, 0x7f, 255, 255, 255], &[0, 0, 8, 255]];
    for bytes in lengths {
        let path = write("images", bytes);
        LARGEST.set(0);
        assert!(load_idx::<f32>(&path, &path).is_err());
        assert!(LARGEST.get() < 100_000, "idx: {}", LARGEST.get());
    }
    // The directory at the end of an archive states how many files there are, and the size of each.
    let path = directory.path().join("a.npz");
    tapegrad::data::save_npz(&path, &[("w", array![1.0].into_dyn().view())]).expect("the file is written");
    let good = fs::read(&path).expect("it is there");
    let start = good.windows(4).position(|bytes| bytes == b"PK\x01\x02").expect("an archive has a directory");
    for (at, count) in [(start + 20, 8), (good.len() - 14, 4), (good.len() - 12, 4), (good.len() - 10, 4)] {
        let mut bytes = good.clone();
        bytes[at..at + count].fill(0x7f);
        fs::write(&path, bytes).expect("the file is written");
        LARGEST.set(0);
        let _ = Npz::open(&path).and_then(|mut file| file.array::<f64>("w"));
        assert!(LARGEST.get() < 1_000_000, "npz: {} with a change at {at}", LARGEST.get());
    }
}
