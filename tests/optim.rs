//! Optimizers against loops by hand.

mod common;

use ndarray::{Array1, array};
use proptest::prelude::*;
use tapegrad::optim::{Optimizer, Sgd};
use tapegrad::{Param, Tape};

const LENGTH: usize = 70; // more than one vector register of any kind, and a rest

fn vectors(count: usize) -> impl Strategy<Value = Vec<Vec<f64>>> {
    prop::collection::vec(prop::collection::vec(-2.0..2.0_f64, LENGTH), count)
}

proptest! {
    #![proptest_config(common::cases(50))]

    #[test]
    fn sgd_is_the_loop_of_its_definition(
        mut w in prop::collection::vec(-2.0..2.0_f64, LENGTH),
        grads in vectors(5),
        reached in prop::collection::vec(any::<bool>(), 5),
        held in prop::collection::vec(any::<bool>(), 5),
        lr in 0.0..0.5_f64,
        m in prop_oneof![Just(0.0), 0.0..1.0_f64],
    ) {
        let parameter = Param::new(Array1::from(w.clone()));
        let mut sgd = Sgd::new([parameter.clone()], lr).with_momentum(m);
        let mut velocity: Option<Vec<f64>> = None;
        let mut snapshots = Vec::new();
        for step in 0..5 {
            let g = &grads[step];
            sgd.zero_grad();
            if reached[step] {
                parameter.accumulate_grad(&Array1::from(g.clone()).into_dyn());
                // v = m v + g, v = g at the first step; w -= lr v
                let v = match velocity {
                    None => g.clone(),
                    Some(v) => v.iter().zip(g).map(|(v, g)| m * v + g).collect(),
                };
                for (w, v) in w.iter_mut().zip(&v) {
                    *w -= lr * v;
                }
                velocity = Some(v);
            }
            if held[step] {
                let value = parameter.value();
                snapshots.push((value.clone(), (*value).clone()));
            }
            sgd.step();
            prop_assert_eq!(parameter.value().iter().copied().collect::<Vec<_>>(), w.clone());
        }
        for (snapshot, copy) in snapshots {
            prop_assert_eq!(&*snapshot, &copy);
        }
    }
}

#[test]
fn a_parameter_given_twice_is_updated_once() {
    let w = Param::new(array![1.0]);
    let mut sgd = Sgd::new(&[w.clone(), w.clone()], 0.5);
    w.accumulate_grad(&array![1.0].into_dyn());
    sgd.step();
    assert_eq!(w.value()[[0]], 0.5);
}

#[test]
fn a_step_leaves_the_gradient_and_zero_grad_clears_it() {
    let (w, unused) = (Param::new(array![1.0]), Param::new(array![5.0]));
    let mut sgd = Sgd::new([&w, &unused], 0.5).with_momentum(0.5);
    w.accumulate_grad(&array![1.0].into_dyn());
    sgd.step();
    assert_eq!(w.grad().unwrap()[[0]], 1.0);
    sgd.zero_grad();
    assert!(w.grad().is_none());
    sgd.step(); // nothing to follow
    assert_eq!((w.value()[[0]], unused.value()[[0]]), (0.5, 5.0));
    w.accumulate_grad(&array![1.0].into_dyn());
    sgd.step(); // the velocity is still 1: v = 0.5 + 1
    assert_eq!(w.value()[[0]], -0.25);
}

#[test]
fn the_learning_rate_can_be_changed() {
    let w = Param::new(array![1.0_f32]);
    let mut sgd = Sgd::new(vec![w.clone()], 0.5);
    w.accumulate_grad(&array![1.0].into_dyn());
    sgd.step();
    sgd.set_learning_rate(0.25);
    assert_eq!(sgd.learning_rate(), 0.25);
    sgd.step();
    assert_eq!(w.value()[[0]], 0.25);
    sgd.set_learning_rate(0.0);
    sgd.step();
    assert_eq!(w.value()[[0]], 0.25);
    assert_eq!(sgd.with_momentum(0.5).momentum(), 0.5);
}

#[test]
fn a_step_does_not_touch_the_record() {
    let w = Param::new(array![3.0]);
    let mut sgd = Sgd::new([&w], 0.5);
    let tape = Tape::new();
    let v = tape.param(&w);
    v.square().sum().backward();
    sgd.step();
    assert_eq!((v.value()[[0]], w.value()[[0]]), (3.0, 0.0));
}
