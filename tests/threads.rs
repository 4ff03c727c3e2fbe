//! Layers on several threads share their parameters: no contribution is lost, and nobody waits for ever. Kernels that
//! are shared among threads give the same bits as alone.

use std::thread;

use ndarray::Array2;
use tapegrad::Param;
use tapegrad::nn::{AugmentedLinear, Linear, Module};

#[test]
fn contributions_of_many_threads_all_arrive() {
    let (weight, bias) = (Param::new(Array2::<f64>::ones((3, 2))), Param::new(ndarray::Array1::zeros(2)));
    let augmented = Param::new(Array2::<f64>::ones((4, 2)));
    let (threads, passes) = (8, 200);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut layer = Linear::from_params(weight.clone(), Some(bias.clone()));
                let mut augmented = AugmentedLinear::from_param(augmented.clone());
                let (x, delta) = (Array2::ones((5, 3)), Array2::ones((5, 2)));
                for _ in 0..passes {
                    layer.forward(&x);
                    layer.backward_update_gradient(&x, &delta);
                    augmented.forward(&x);
                    augmented.backward_update_gradient(&x, &delta);
                }
            });
        }
    });
    for param in [&weight, &bias, &augmented] {
        let grad = param.grad().expect("reached");
        assert!(grad.iter().all(|&g| g == f64::from(5 * threads * passes)), "{param:?}: {grad}");
    }
}

#[test]
fn a_snapshot_of_a_gradient_stays_as_it_is() {
    let weight = Param::new(Array2::<f64>::ones((1, 1)));
    let mut layer = Linear::from_params(weight.clone(), None);
    let x = Array2::ones((1, 1));
    let mut backward = || {
        layer.forward(&x);
        layer.backward_update_gradient(&x, &x);
        weight.grad().expect("reached")
    };
    let (once, twice) = (backward(), backward());
    weight.zero_grad();
    let again = backward();
    assert_eq!([once[[0, 0]], twice[[0, 0]], again[[0, 0]]], [1.0, 2.0, 1.0]);
}

/// A thread that waits for others to finish their share of a product runs other tasks meanwhile, and one of these may
/// want the same parameter. If it had to wait for this thread, the test would never end.
#[cfg(feature = "rayon")]
#[test]
fn tasks_of_one_pool_share_a_weight() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().expect("threads start");
    let weight = Param::new(Array2::<f32>::ones((512, 512)));
    let augmented = Param::new(Array2::<f32>::ones((513, 512)));
    let (tasks, passes) = (100, 1);
    pool.scope(|scope| {
        for _ in 0..tasks {
            scope.spawn(|_| {
                let mut linear = Linear::from_params(weight.clone(), None);
                let mut augmented = AugmentedLinear::from_param(augmented.clone());
                let x = Array2::ones((16, 512)); // just enough to be shared
                for layer in [&mut linear as &mut dyn Module<f32>, &mut augmented] {
                    layer.forward(&x);
                    for _ in 0..passes {
                        layer.backward_update_gradient(&x, &x);
                    }
                }
            });
        }
    });
    for param in [&weight, &augmented] {
        let grad = param.grad().expect("reached");
        assert!(grad.iter().all(|&g| g == (16 * tasks * passes) as f32), "{param:?}");
    }
}

/// Arrays that are large enough to be divided, with lengths that no power of two divides.
#[cfg(feature = "rayon")]
mod shared_kernels {
    use ndarray::{ArrayD, IxDyn};
    use tapegrad::KeepDims::No;
    use tapegrad::optim::{Adam, AdamW, Optimizer, RmsProp, Sgd};
    use tapegrad::{Param, Scalar, Tape, Var, threads};

    /// Numbers of [-1, 1) in no order; a generator of random numbers would take as long as the operations.
    fn random<T: Scalar>(shape: &[usize], seed: u64) -> ArrayD<T> {
        let number = |i: u64| {
            let mixed = (i + (seed << 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40; // 2^64 / golden ratio
            T::from_f64(mixed as f64 / f64::from(1 << 23) - 1.0)
        };
        let count = shape.iter().product::<usize>() as u64;
        ArrayD::from_shape_vec(IxDyn(shape), (0..count).map(number).collect()).expect("as many numbers")
    }

    fn bits<'a, T: Scalar>(numbers: impl IntoIterator<Item = &'a T>) -> Vec<u64> {
        numbers.into_iter().map(|x| x.to_f64().to_bits()).collect()
    }

    /// Asserts that a function gives the same bits on these numbers of threads as on one.
    fn check(name: &str, counts: &[usize], run: impl Fn() -> Vec<u64> + Send + Sync) {
        let alone = threads::with(1, &run);
        for &count in counts {
            // Not `assert_eq`: it would print all numbers.
            assert!(threads::with(count, &run) == alone, "{name} on {count} threads");
        }
    }

    type Case<T> = (&'static str, &'static [usize], for<'t> fn(Var<'t, T>) -> Var<'t, T>);

    fn cases<T: Scalar>() -> Vec<Case<T>> {
        vec![
            ("tanh", &[433, 331], |x| x.tanh()),
            ("mul", &[433, 331], |x| x * (x + T::ONE)),
            ("add a row", &[433, 331], |x| x * x.slice(0, 3..4).reshape([331])),
            ("div by a column", &[433, 331], |x| x / (x.slice(1, 3..4) + T::from_f64(2.0))),
            ("transposed", &[379, 379], |x| x.transpose() * x.maximum(x.transpose())),
            ("slice with a step", &[900, 331], |x| x.slice_step(0, 3.., 2).tanh()),
            ("select", &[433, 331], |x| Var::select(&ndarray::arr1(&[true]), x, x + x)),
            ("sum", &[143_357], |x| x.sum()),
            ("sum of a block and a row", &[32 * 32 * 128 + 5], |x| x.sum()),
            ("mean of squares", &[433, 331], |x| x.square().mean()),
            ("sum of axis 0", &[433, 331], |x| x.sum_axes([0], No)),
            ("sum of axis 1", &[433, 331], |x| x.sum_axes([1], No)),
            ("sum of the middle", &[7, 150, 139], |x| x.sum_axes([1], No)),
            ("sum of the outer", &[7, 150, 139], |x| x.sum_axes([0, 2], No)),
            ("sum of long columns", &[70_001, 3], |x| x.sum_axes([0], No)),
            ("sum of two rows", &[2, 70_001], |x| x.sum_axes([1], No)),
            ("max of columns", &[70_001, 3], |x| x.max_axes([0], No)),
            ("min", &[143_357], |x| x.min()),
            ("prod of columns", &[17_001, 9], |x| (x * T::from_f64(0.01) + T::ONE).prod_axes([0], No)),
            ("norm", &[433, 331], |x| x.norm_axes([1], No)),
            ("logsumexp", &[433, 331], |x| x.logsumexp_axes([0], No)),
            ("softmax of rows", &[4033, 33], |x| x.softmax(1)),
            ("softmax of columns", &[331, 433], |x| x.softmax(0)),
            ("log_softmax of short rows", &[50_001, 3], |x| x.log_softmax(1)),
            ("log_softmax of one row", &[1, 143_357], |x| x.log_softmax(1)),
            ("matmul", &[200, 201], |x| x.matmul(x.transpose())),
            ("batch of matrices", &[300, 33, 17], |x| x.matmul(x.swapaxes(1, 2))),
            ("conv2d", &[9, 3, 40, 40], |x| {
                let w = x.slice(0, 0..4).slice(2, 0..5).slice(3, 0..5);
                x.conv2d(w, None, 1, 2)
            }),
            ("max_pool2d", &[9, 4, 64, 64], |x| x.max_pool2d(2, 2)),
            ("avg_pool2d", &[9, 4, 64, 64], |x| x.avg_pool2d(3, 2)),
            ("layer_norm", &[433, 331], |x| {
                let w = x.slice(0, 0..1).reshape([331]);
                x.layer_norm(w, w, T::from_f64(1e-5))
            }),
            ("standardize of long rows", &[2, 131_101], |x| x.standardize([1], T::from_f64(1e-5))),
            ("layer_norm of long rows", &[2, 131_101], |x| {
                let w = x.slice(0, 0..1).reshape([131_101]);
                x.layer_norm(w, w, T::from_f64(1e-5))
            }),
            ("batch_norm", &[40, 11, 18, 18], |x| {
                let w = x.slice(0, 0..1).slice(2, 0..1).slice(3, 0..1).reshape([11]);
                x.batch_norm(w, w, T::from_f64(1e-5))
            }),
        ]
    }

    #[test]
    fn shared_operations_give_the_same_bits_as_alone() {
        fn check_all<T: Scalar>(counts: &[usize]) {
            for (name, shape, record) in cases::<T>() {
                let x = random::<T>(shape, 1);
                check(name, counts, || {
                    let tape = Tape::new();
                    let x = tape.leaf(&x);
                    let y = record(x);
                    y.backward_with(random::<T>(&y.shape(), 2));
                    bits(y.value().iter().chain(&x.grad().expect("reached")))
                });
            }
        }
        check_all::<f32>(&[8]);
        check_all::<f64>(&[2]);
    }

    #[test]
    fn shared_steps_of_optimizers_give_the_same_bits_as_alone() {
        let (value, grad) = (random::<f32>(&[379, 377], 1), random::<f32>(&[379, 377], 2));
        type Make = fn(&Param<f32>) -> Box<dyn Optimizer<f32> + Send>;
        let optimizers: [Make; 5] = [
            |w| Box::new(Sgd::new([w], 0.1)),
            |w| Box::new(Sgd::new([w], 0.1).with_momentum(0.9).with_nesterov()),
            |w| Box::new(Adam::new([w], 0.1)),
            |w| Box::new(AdamW::new([w], 0.1).with_amsgrad()),
            |w| Box::new(RmsProp::new([w], 0.1).with_centered().with_momentum(0.9)),
        ];
        for make in optimizers {
            check("a step", &[2, 8], || {
                let w = Param::new(value.clone());
                let mut optimizer = make(&w);
                for _ in 0..3 {
                    w.accumulate_grad(&grad);
                    let before = w.value(); // a snapshot
                    let copy = (*before).clone();
                    optimizer.step();
                    assert!(*before == copy && *w.value() != copy);
                }
                bits(w.value().iter())
            });
        }
    }

    #[test]
    fn the_setting_is_that_of_the_pool_and_ends_with_its_function() {
        let outside = threads::count();
        assert_eq!(outside, rayon::current_num_threads());
        threads::with(3, || {
            assert_eq!((threads::count(), rayon::current_num_threads()), (3, 3));
            threads::with(1, || assert_eq!(threads::count(), 1));
            threads::with(2, || assert_eq!(threads::count(), 2));
            assert_eq!(threads::count(), 3);
        });
        let pool = rayon::ThreadPoolBuilder::new().num_threads(5).build().expect("threads start");
        assert_eq!(pool.install(threads::count), 5);
        let panic = std::panic::catch_unwind(|| threads::with(1, || panic!("on purpose")));
        assert!(panic.is_err());
        assert_eq!(threads::count(), outside);
    }
}
