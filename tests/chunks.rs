//! Gradients in chunks: the same as those of the whole batch, the same bits for any number of threads, all or nothing.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ndarray::{Array1, Array2, ArrayD, array, s};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tapegrad::chunks::{Chunks, Rows};
use tapegrad::nn::{Linear, Loss, Module, Mse, Sequential, SoftmaxCrossEntropy, Tanh};
use tapegrad::{Param, Scalar, Tape, Var, threads};

/// A network 7 -> 5 tanh -> 3 with its data.
struct Problem<T> {
    w: Vec<Param<T>>,
    x: Arc<Array2<T>>,
    labels: Vec<usize>,
}

impl<T: Scalar> Problem<T> {
    fn new(rows: usize) -> Self {
        let mut rng = StdRng::seed_from_u64(3);
        let mut draw =
            |shape: (usize, usize)| Array2::from_shape_simple_fn(shape, || T::from_f64(rng.random_range(-1.0..1.0)));
        let w = vec![
            Param::new(draw((7, 5))),
            Param::new(draw((1, 5)).remove_axis(ndarray::Axis(0))),
            Param::new(draw((5, 3))),
            Param::new(draw((1, 3)).remove_axis(ndarray::Axis(0))),
        ];
        Self { w, x: Arc::new(draw((rows, 7))), labels: (0..rows).map(|row| row * row % 3).collect() }
    }

    fn network(&self) -> Sequential<T> {
        network(&self.w)
    }

    fn scores<'t>(&self, tape: &'t Tape<T>, rows: std::ops::Range<usize>) -> Var<'t, T> {
        self.network().record(tape, tape.constant(&self.x).slice(0, rows))
    }

    /// The mean cross-entropy of some rows.
    fn record<'t>(&self, tape: &'t Tape<T>, rows: std::ops::Range<usize>) -> Var<'t, T> {
        SoftmaxCrossEntropy::new().record_labels(&self.labels[rows.clone()], self.scores(tape, rows))
    }

    /// Loss and gradients in chunks of this size.
    fn in_chunks(&self, size: usize) -> (T, Vec<ArrayD<T>>) {
        self.with(&mut Chunks::new(size))
    }

    fn with(&self, chunks: &mut Chunks<T>) -> (T, Vec<ArrayD<T>>) {
        let loss = chunks.accumulate_gradients(Rows::mean(self.x.nrows()), |tape, rows| self.record(tape, rows));
        (loss, self.take())
    }

    /// Loss and gradients of all rows at once.
    fn whole(&self) -> (T, Vec<ArrayD<T>>) {
        let tape = Tape::new();
        let loss = self.record(&tape, 0..self.x.nrows());
        loss.backward();
        (loss.item(), self.take())
    }

    /// The gradients, which are cleared.
    fn take(&self) -> Vec<ArrayD<T>> {
        let take = |w: &Param<T>| {
            let grad = w.grad().expect("reached").to_owned();
            w.zero_grad();
            (*grad).clone()
        };
        self.w.iter().map(take).collect()
    }
}

fn network<T: Scalar>(w: &[Param<T>]) -> Sequential<T> {
    Sequential::new()
        .push(Linear::from_params(w[0].clone(), Some(w[1].clone())))
        .push(Tanh::new())
        .push(Linear::from_params(w[2].clone(), Some(w[3].clone())))
}

/// Asserts that two results differ by no more than rounding.
fn assert_close<T: Scalar>(a: &(T, Vec<ArrayD<T>>), b: &(T, Vec<ArrayD<T>>), what: &str) {
    let tolerance = 40.0 * T::EPSILON.to_f64();
    let (loss_a, loss_b) = (a.0.to_f64(), b.0.to_f64());
    assert!((loss_a - loss_b).abs() <= tolerance * loss_b.abs(), "{what}: loss {loss_a} and {loss_b}");
    for (a, b) in a.1.iter().zip(&b.1) {
        let largest = b.iter().fold(0.0, |largest: f64, x| largest.max(x.to_f64().abs()));
        let worst = a.iter().zip(b).fold(0.0, |worst: f64, (a, b)| worst.max((a.to_f64() - b.to_f64()).abs()));
        assert!(worst <= tolerance * largest, "{what}: differences of {worst:e} at {largest:e}");
    }
}

fn bits<T: Scalar>((loss, grads): &(T, Vec<ArrayD<T>>)) -> Vec<u64> {
    // An `f32` is an `f64` exactly.
    std::iter::once(loss).chain(grads.iter().flatten()).map(|x| x.to_f64().to_bits()).collect()
}

#[test]
fn chunks_of_any_size_give_the_gradient_of_the_whole_batch() {
    fn check<T: Scalar>() {
        let problem = Problem::<T>::new(37);
        let whole = problem.whole();
        for size in [1, 2, 8, 36, 37, 38, 1000] {
            assert_close(&problem.in_chunks(size), &whole, &format!("{} chunks of {size}", T::DTYPE));
        }
    }
    check::<f32>();
    check::<f64>();
}

#[test]
fn the_bits_are_the_same_for_any_number_of_threads() {
    fn check<T: Scalar>() {
        let problem = Problem::<T>::new(67);
        for size in [1, 3, 8, 40] {
            let (mut chunks, mut by_hand) = (Chunks::new(size), by_hand(&problem, size));
            let alone = threads::with(1, || bits(&problem.with(&mut chunks)));
            let alone_by_hand = threads::with(1, || bits(&by_hand_gradients(&problem, &mut by_hand)));
            for count in [2, 4, 8, 2, 1] {
                for _ in 0..5 {
                    let together = threads::with(count, || bits(&problem.with(&mut chunks)));
                    assert_eq!(together, alone, "chunks of {size} on {count} threads");
                    let together = threads::with(count, || bits(&by_hand_gradients(&problem, &mut by_hand)));
                    assert_eq!(together, alone_by_hand, "by hand: chunks of {size} on {count} threads");
                }
            }
        }
    }
    check::<f32>();
    check::<f64>();
}

/// 2^53 swallows a 1 that is added to it alone.
#[test]
fn gradients_are_added_in_a_tree_over_the_numbers_of_chunks() {
    let sum = |terms: &[f64]| {
        let w = Param::new(array![1.0]);
        Chunks::new(1).accumulate_gradients(Rows::sum(terms.len()), |tape, rows| tape.param(&w) * terms[rows.start]);
        w.grad().expect("reached")[[0]]
    };
    let big = (1_u64 << 53) as f64;
    assert_eq!(sum(&[big, 1.0, 1.0, 1.0]), (big + 1.0) + 2.0);
    assert_eq!(sum(&[1.0, 1.0, 1.0, big]), 2.0 + (1.0 + big));
    assert_eq!(sum(&[big, 0.0, 1.0, 1.0, 1.0]), (big + 1.0) + 2.0);
    assert_eq!(sum(&[0.0, 0.0, 0.0, 0.0, big, 1.0, 1.0]), (big + 1.0) + 1.0);
    assert_eq!(sum(&[0.0, 0.0, big, 0.0, 1.0, 1.0, 1.0]), big + (2.0 + 1.0));
    assert_eq!((big + 1.0, big + 2.0 - big), (big, 2.0));
}

type Hand<T> = Chunks<T, (Sequential<T>, SoftmaxCrossEntropy<T>)>;

fn by_hand<T: Scalar>(problem: &Problem<T>, size: usize) -> Hand<T> {
    let w = problem.w.clone();
    Chunks::by_hand(size, move || (network(&w), SoftmaxCrossEntropy::new()))
}

fn by_hand_gradients<T: Scalar>(problem: &Problem<T>, chunks: &mut Hand<T>) -> (T, Vec<ArrayD<T>>) {
    let loss = chunks.accumulate_by_hand(Rows::mean(problem.x.nrows()), |(network, loss), rows| {
        let (x, labels) = (problem.x.slice(s![rows.clone(), ..]), &problem.labels[rows]);
        let scores = network.forward(&x);
        let value = loss.forward_labels(labels, scores);
        let delta = loss.backward_labels(labels, scores);
        network.backward_update_gradient(&x, delta);
        value
    });
    (loss, problem.take())
}

#[test]
fn by_hand_and_by_tape_agree() {
    let problem = Problem::<f64>::new(29);
    let whole = problem.whole();
    for size in [1, 4, 29, 64] {
        assert_close(&by_hand_gradients(&problem, &mut by_hand(&problem, size)), &whole, &format!("{size}"));
    }
}

#[test]
fn mean_sum_and_weights_have_the_total_that_their_formula_says() {
    let (x, y) = (array![1.0, 2.0, 3.0, 4.0, 5.0], array![1.0, 0.0, 2.0, 0.5, 3.0]);
    let weights = [0.5, 0.0, 2.0, 0.25, 1.0];
    let w = 0.75;
    // l = (w x - y)², dl/dw = 2 (w x - y) x
    let sums = |factor: &dyn Fn(usize) -> f64| {
        (0..5).fold((0.0, 0.0), |(l, g), i| {
            let error = w * x[i] - y[i];
            (l + factor(i) * error * error, g + factor(i) * 2.0 * error * x[i])
        })
    };
    let total: f64 = weights.iter().sum();
    let cases = [
        (Rows::mean(5), sums(&|_| 0.2), [1.0; 5]),
        (Rows::sum(5), sums(&|_| 1.0), [1.0; 5]),
        (Rows::weighted(&weights), sums(&|i| weights[i] / total), weights),
    ];
    for (rows, (loss, slope), weights) in cases {
        let mean = !matches!(format!("{rows:?}"), text if text.contains("Sum"));
        for size in 1..=6 {
            for shape in 0..3 {
                let param = Param::new(array![w]);
                let found = Chunks::new(size).accumulate_gradients(rows, |tape, rows| {
                    let (x, y) = (x.slice(s![rows.clone()]), y.slice(s![rows.clone()]));
                    let losses = (tape.constant(x) * tape.param(&param) - tape.constant(y)).square();
                    let of_chunk = tape.constant(ArrayRef1(&weights[rows.clone()]).array());
                    match shape {
                        0 => losses,
                        1 => losses.reshape([rows.len(), 1]),
                        _ if mean => (losses * of_chunk).sum() / of_chunk.sum(),
                        _ => losses.sum(),
                    }
                });
                let grad = param.grad().expect("reached")[[0]];
                assert!((found - loss).abs() < 1e-14 * loss, "{rows:?} by {size}, {shape}: {found}, not {loss}");
                assert!((grad - slope).abs() < 1e-14 * slope.abs(), "{rows:?} by {size}, {shape}: {grad}, not {slope}");
            }
        }
    }
}

struct ArrayRef1<'a>(&'a [f64]);

impl ArrayRef1<'_> {
    fn array(&self) -> Array1<f64> {
        Array1::from(self.0.to_vec())
    }
}

#[test]
fn by_hand_the_share_of_a_smaller_last_chunk_is_right() {
    let x = array![[1.0], [2.0], [3.0], [4.0], [5.0]];
    let (y, weights) = (Array2::zeros((5, 1)), [1.0, 0.0, 0.0, 2.0, 1.0]);
    let w = Param::new(array![[1.0]]);
    for (rows, expected) in [(Rows::mean(5), 11.0), (Rows::weighted(&weights), (1.0 + 2.0 * 16.0 + 25.0) / 4.0)] {
        for size in 1..=6 {
            let weight = w.clone();
            let mut chunks = Chunks::by_hand(size, move || (Linear::from_params(weight.clone(), None), Mse::new()));
            let loss = chunks.accumulate_by_hand(rows, |(layer, mse), range| {
                // The mean of a chunk with weights, as a mean of rows that are scaled.
                let of_chunk = &weights[range.clone()];
                let share = |row: usize| match format!("{rows:?}").contains("Mean") {
                    true => 1.0,
                    false => (of_chunk[row] * of_chunk.len() as f64 / of_chunk.iter().sum::<f64>()).sqrt(),
                };
                let mut x = x.slice(s![range.clone(), ..]).to_owned();
                x.rows_mut().into_iter().enumerate().for_each(|(row, mut x)| x *= share(row));
                let y = y.slice(s![range, ..]);
                let yhat = layer.forward(&x);
                let loss = mse.forward(&y, yhat);
                let delta = mse.backward(&y, yhat);
                layer.backward_update_gradient(&x, delta);
                loss
            });
            let grad = w.grad().expect("reached")[[0, 0]];
            w.zero_grad();
            assert!((loss - expected).abs() < 1e-13 && (grad - 2.0 * expected).abs() < 1e-13, "{rows:?} by {size}");
        }
    }
}

#[test]
fn no_rows_have_no_gradient() {
    let w = Param::new(array![1.0]);
    let total = |rows: Rows<'_, f64>| Chunks::new(4).accumulate_gradients(rows, |tape, _| tape.param(&w).sum());
    assert!(total(Rows::mean(0)).is_nan());
    assert_eq!(total(Rows::sum(0)), 0.0);
    assert!(w.grad().is_none());
}

#[test]
fn gradients_are_added_to_those_that_are_there() {
    let w = Param::new(array![3.0]);
    w.accumulate_grad(&array![100.0].into_dyn());
    let mut chunks = Chunks::new(2);
    for expected in [130.0, 160.0] {
        chunks.accumulate_gradients(Rows::sum(5), |tape, rows| tape.param(&w).square().sum() * rows.len() as f64);
        assert_eq!(w.grad().expect("reached")[[0]], expected); // 5 · 2 w
    }
}

#[test]
fn tied_parameters_and_parameters_of_some_chunks_only() {
    let (tied, rare, never) = (Param::new(array![[2.0]]), Param::new(array![5.0]), Param::new(array![1.0]));
    let mut chunks = Chunks::new(1);
    for count in [1, 4] {
        threads::with(count, || {
            chunks.accumulate_gradients(Rows::sum(6), |tape, rows| {
                let w = || tape.param(&tied);
                let product = w().matmul(w()).sum() * (rows.start + 1) as f64; // 2 w (k + 1)
                if rows.start == 4 { product + tape.param(&rare).sum() } else { product }
            })
        });
        assert_eq!(tied.grad().expect("reached")[[0, 0]], 4.0 * 21.0);
        assert_eq!(rare.grad().expect("reached")[[0]], 1.0);
        assert!(never.grad().is_none());
        [&tied, &rare].iter().for_each(|w| w.zero_grad());
    }

    // By hand: both layers add to the one weight.
    let w = tied.clone();
    let mut chunks = Chunks::by_hand(1, move || {
        Sequential::new().push(Linear::from_params(w.clone(), None)).push(Linear::from_params(w.clone(), None))
    });
    chunks.accumulate_by_hand(Rows::sum(3), |network, rows| {
        let x = array![[(rows.start + 1) as f64]];
        let loss = network.forward(&x).sum();
        network.backward_update_gradient(&x, &array![[1.0]]);
        loss
    });
    assert_eq!(tied.grad().expect("reached")[[0, 0]], 4.0 * 6.0); // 2 w Σ x
}

/// Returns the text of a panic.
fn message(panic: Box<dyn Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic.downcast_ref::<&str>().expect("a panic has a text").to_string(),
    }
}

#[test]
fn a_panic_or_an_error_leaves_no_half_added_gradient() {
    let (a, b) = (Param::new(array![[2.0]]), Param::new(array![[3.0]]));
    a.accumulate_grad(&array![[7.0]].into_dyn());
    let (a_copy, b_copy) = (a.clone(), b.clone());
    let mut by_hand = Chunks::<f64, _>::by_hand(1, move || {
        [Linear::from_params(a_copy.clone(), None), Linear::from_params(b_copy.clone(), None)]
    });
    let mut by_tape = Chunks::<f64>::new(1);
    let x = array![[1.0]];
    for (count, bad) in [(1, 0), (1, 5), (4, 0), (4, 6), (8, 10)] {
        let pass = |layers: &mut [Linear<f64>; 2], row: usize, fail: &dyn Fn() -> Result<(), usize>| {
            layers[0].forward(&x);
            layers[0].backward_update_gradient(&x, &x);
            if row == bad {
                fail()?; // after one layer, before the other
            }
            layers[1].forward(&x);
            layers[1].backward_update_gradient(&x, &x);
            Ok(1.0)
        };
        let panics = || -> Result<(), usize> { panic!("row {bad} is bad") };
        threads::with(count, || {
            let record = |tape: &Tape<f64>, row: usize| {
                if row == bad {
                    panics().ok();
                }
                tape.param(&a).matmul(tape.param(&b)).sum().backward(); // collected, like all contributions
            };
            let result = catch_unwind(AssertUnwindSafe(|| {
                by_tape.accumulate_gradients(Rows::sum(11), |tape, rows| {
                    record(tape, rows.start);
                    tape.param(&a).sum()
                })
            }));
            assert_eq!(message(result.expect_err("it panics")), format!("row {bad} is bad"));
            assert!(
                catch_unwind(AssertUnwindSafe(|| {
                    by_hand.try_accumulate_by_hand(Rows::sum(11), |layers, rows| pass(layers, rows.start, &panics))
                }))
                .is_err()
            );
            // Several chunks fail: the error is that of the first.
            let result = by_hand.try_accumulate_by_hand(Rows::sum(11), |layers, rows| {
                let later = rows.start >= bad;
                pass(layers, rows.start, &|| Err(bad)).and_then(|loss| if later { Err(rows.start) } else { Ok(loss) })
            });
            assert_eq!(result, Err(bad), "{count} threads");
        });
        assert_eq!(a.grad().expect("as before")[[0, 0]], 7.0);
        assert!(b.grad().is_none());
        // Both still work.
        threads::with(count, || {
            by_hand.accumulate_by_hand(Rows::mean(11), |layers, _| pass(layers, usize::MAX, &|| Ok(())).expect("good"));
            by_tape.accumulate_gradients(Rows::mean(11), |tape, _| tape.param(&b).sum());
        });
        for (w, before, added) in [(&a, 7.0, 1.0), (&b, 0.0, 2.0)] {
            assert!((w.grad().expect("reached")[[0, 0]] - before - added).abs() < 1e-14);
        }
        a.zero_grad();
        b.zero_grad();
        a.accumulate_grad(&array![[7.0]].into_dyn());
    }
}

#[test]
fn randomness_that_is_seeded_by_the_row_does_not_depend_on_chunks() {
    let problem = Problem::<f64>::new(30);
    let dropout = |row: usize| {
        let mut rng = StdRng::seed_from_u64(row as u64);
        Array1::from_shape_simple_fn(3, || if rng.random_bool(0.5) { 2.0 } else { 0.0 })
    };
    let run = |size| {
        let loss = Chunks::new(size).accumulate_gradients(Rows::mean(30), |tape, rows| {
            let mut mask = Array2::zeros((rows.len(), 3));
            mask.rows_mut().into_iter().zip(rows.clone()).for_each(|(mut mask, row)| mask.assign(&dropout(row)));
            (problem.scores(tape, rows) * tape.constant(mask)).square().mean()
        });
        (loss, problem.take())
    };
    let whole = run(30);
    for size in [1, 7, 16] {
        assert_close(&run(size), &whole, &format!("{size}"));
        let alone = bits(&threads::with(1, || run(size)));
        assert_eq!(bits(&threads::with(4, || run(size))), alone);
    }
}

#[test]
fn a_loss_that_does_not_fit_is_refused_with_its_shape() {
    let w = Param::new(array![1.0, 2.0]);
    let refusal = |record: &(dyn for<'t> Fn(&'t Tape<f64>) -> Var<'t, f64> + Sync)| {
        let run = || Chunks::new(3).accumulate_gradients(Rows::sum(7), |tape, _| record(tape));
        message(catch_unwind(AssertUnwindSafe(run)).expect_err("refused"))
    };
    let expected =
        "accumulate_gradients: expected a loss of one element, or one for each of rows 0..3, found shape (2,)";
    assert_eq!(refusal(&|tape| tape.param(&w)), expected);
    let expected = "accumulate_gradients: expected a loss that depends on a parameter, found a constant in every chunk";
    assert_eq!(refusal(&|tape| tape.constant(1.0)), expected);
    assert!(w.grad().is_none());
}

/// Every thread keeps one tape, and a call takes the tapes of the last one.
#[test]
fn states_are_made_once_for_each_thread() {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    let mut chunks = Chunks::<f64, _>::by_hand(1, || MADE.fetch_add(1, Ordering::Relaxed));
    for (count, most) in [(1, 1), (4, 4), (4, 4)] {
        threads::with(count, || chunks.accumulate_by_hand(Rows::sum(100), |_, _| 1.0));
        assert!(MADE.load(Ordering::Relaxed) <= most);
    }
}

#[test]
fn kernels_of_a_chunk_stay_on_their_thread() {
    threads::with(4, || {
        Chunks::<f64, _>::by_hand(1, || ()).accumulate_by_hand(Rows::sum(8), |(), _| {
            assert_eq!(threads::count(), 1);
            assert_eq!(threads::with(3, threads::count), 1);
            0.0
        });
        assert_eq!(threads::count(), if cfg!(feature = "rayon") { 4 } else { 1 });
    });
}
