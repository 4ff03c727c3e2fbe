//! Layers on several threads share their parameters: no contribution is lost, and nobody waits for ever.

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
    let (tasks, passes) = (100, 2);
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
