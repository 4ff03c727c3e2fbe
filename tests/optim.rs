//! Optimizers against loops by hand. Optimizers and schedules against numbers from PyTorch (`optim.py`).

use std::slice;

use ndarray::{Array1, array};
use proptest::prelude::*;
use serde_json::Value;
use tapegrad::optim::{Adagrad, Adam, AdamW, Optimizer, RmsProp, Schedule, Sgd};
use tapegrad::{Param, Scalar, Tape};

const LENGTH: usize = 70; // more than one vector register, and a remainder

fn vectors(count: usize) -> impl Strategy<Value = Vec<Vec<f64>>> {
    prop::collection::vec(prop::collection::vec(-2.0..2.0_f64, LENGTH), count)
}

proptest! {
    #![proptest_config(crate::common::cases(50))]

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
    sgd.step(); // no gradient
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

/// A constructor of optimizers with the learning rate 0.1.
type Make<T> = fn(&[Param<T>]) -> Box<dyn Optimizer<T>>;

/// The optimizers of `optim.py`, by name.
fn optimizers<T: Scalar>() -> Vec<(&'static str, Make<T>)> {
    fn t<T: Scalar>(x: f64) -> T {
        T::from_f64(x)
    }
    fn sgd<T: Scalar>(w: &[Param<T>]) -> Sgd<T> {
        Sgd::new(w, t(0.1))
    }
    fn adam<T: Scalar>(w: &[Param<T>]) -> Adam<T> {
        Adam::new(w, t(0.1))
    }
    fn adamw<T: Scalar>(w: &[Param<T>]) -> AdamW<T> {
        AdamW::new(w, t(0.1))
    }
    fn rms_prop<T: Scalar>(w: &[Param<T>]) -> RmsProp<T> {
        RmsProp::new(w, t(0.1))
    }
    fn adagrad<T: Scalar>(w: &[Param<T>]) -> Adagrad<T> {
        Adagrad::new(w, t(0.1))
    }
    vec![
        ("sgd", |w| Box::new(sgd(w))),
        ("sgd decayed uphill", |w| Box::new(sgd(w).with_weight_decay(t(0.1)).with_maximize())),
        ("sgd momentum", |w| Box::new(sgd(w).with_momentum(t(0.9)))),
        ("sgd dampened", |w| Box::new(sgd(w).with_momentum(t(0.9)).with_dampening(t(0.3)).with_weight_decay(t(0.1)))),
        ("sgd nesterov", |w| Box::new(sgd(w).with_momentum(t(0.9)).with_nesterov().with_weight_decay(t(0.1)))),
        ("sgd nesterov uphill", |w| Box::new(sgd(w).with_momentum(t(0.9)).with_nesterov().with_maximize())),
        ("adam", |w| Box::new(adam(w))),
        ("adam decayed", |w| Box::new(adam(w).with_betas(0.7, 0.8).with_eps(t(1e-3)).with_weight_decay(t(0.1)))),
        ("adam amsgrad", |w| Box::new(adam(w).with_betas(0.3, 0.4).with_amsgrad().with_weight_decay(t(0.1)))),
        ("adam uphill", |w| Box::new(adam(w).with_maximize())),
        ("adamw", |w| Box::new(adamw(w))),
        ("adamw amsgrad", |w| Box::new(adamw(w).with_betas(0.3, 0.4).with_amsgrad().with_weight_decay(t(0.5)))),
        ("adamw uphill", |w| Box::new(adamw(w).with_maximize())),
        ("rmsprop", |w| Box::new(rms_prop(w))),
        ("rmsprop decayed", |w| Box::new(rms_prop(w).with_alpha(0.7).with_eps(t(1e-3)).with_weight_decay(t(0.1)))),
        ("rmsprop momentum", |w| Box::new(rms_prop(w).with_alpha(0.7).with_momentum(t(0.5)))),
        ("rmsprop centered", |w| Box::new(rms_prop(w).with_alpha(0.7).with_centered())),
        ("rmsprop centered momentum", |w| {
            Box::new(rms_prop(w).with_alpha(0.7).with_centered().with_momentum(t(0.5)).with_maximize())
        }),
        ("adagrad", |w| Box::new(adagrad(w))),
        ("adagrad decayed", |w| {
            let adagrad = adagrad(w).with_learning_rate_decay(t(0.5)).with_initial_accumulator(t(0.3));
            Box::new(adagrad.with_weight_decay(t(0.1)).with_eps(t(1e-3)))
        }),
        ("adagrad uphill", |w| Box::new(adagrad(w).with_maximize())),
    ]
}

/// Returns the numbers of `optim.py`, by name.
fn numbers(of: &str) -> serde_json::Map<String, Value> {
    let json: Value = serde_json::from_str(include_str!("files/optim.json")).unwrap();
    json[of].as_object().unwrap().clone()
}

/// Runs every optimizer on the loss of `optim.py`.
fn assert_as_pytorch<T: Scalar>(tolerance: f64) {
    let (t, expected, optimizers) = (T::from_f64, numbers("optimizers"), optimizers::<T>());
    assert_eq!(optimizers.len(), expected.len());
    for (name, make) in optimizers {
        let w = Param::new(array![t(1.0), t(-2.0), t(0.5)]);
        let u = Param::new(array![t(3.0)]);
        let mut optimizer = make(&[w.clone(), u.clone()]);
        for (step, expected) in expected[name].as_array().unwrap().iter().enumerate() {
            optimizer.zero_grad();
            let x = w.value();
            let g = [x[[0]] + t(x[[0]].to_f64().cos()), t(3.0) * x[[1]], t(0.1) * x[[2]]];
            w.accumulate_grad(&Array1::from(g.to_vec()).into_dyn());
            if step % 2 == 1 {
                u.accumulate_grad(&(&*u.value() * t(2.0)));
            }
            drop(x);
            optimizer.step();
            let found: Vec<f64> = w.value().iter().chain(u.value().iter()).map(|w| w.to_f64()).collect();
            assert_eq!(found.len(), expected.as_array().unwrap().len());
            for (found, expected) in found.iter().zip(expected.as_array().unwrap()) {
                let expected = expected.as_f64().unwrap();
                let error = (found - expected).abs() / expected.abs().max(1.0);
                assert!(error <= tolerance, "{} {name}, step {step}: {found} for {expected}", T::DTYPE);
            }
        }
    }
}

#[test]
fn steps_are_those_of_pytorch() {
    assert_as_pytorch::<f64>(1e-13);
    assert_as_pytorch::<f32>(2e-5);
}

#[test]
fn steps_in_place_and_to_other_memory_are_the_same() {
    fn check<T: Scalar>() {
        for (name, make) in optimizers::<T>() {
            let start: Vec<T> = (0..LENGTH).map(|k| T::from_f64((k as f64 * 0.7).sin() + 1.5)).collect();
            let [whole, held] = [(); 2].map(|()| Param::new(Array1::from(start.clone())));
            let single: Vec<Param<T>> = start.iter().map(|&w| Param::new(array![w])).collect();
            let mut all = make(&[&[whole.clone(), held.clone()], &single[..]].concat());
            for step in 0..4 {
                let g = |k: usize| T::from_f64(((k * 5 + step * 3) as f64).cos());
                all.zero_grad();
                let gradient = Array1::from_shape_fn(LENGTH, g).into_dyn();
                whole.accumulate_grad(&gradient);
                held.accumulate_grad(&gradient);
                for (k, w) in single.iter().enumerate() {
                    w.accumulate_grad(&array![g(k)].into_dyn());
                }
                let snapshot = held.value();
                let before = (*snapshot).clone();
                all.step();
                assert_eq!(*snapshot, before, "{name}");
                assert_eq!(whole.value(), held.value(), "{name}");
                assert_ne!(*whole.value(), before, "{name}");
                for (k, w) in single.iter().enumerate() {
                    assert_eq!(whole.value()[[k]], w.value()[[0]], "{name}, element {k}");
                }
            }
        }
    }
    check::<f32>();
    check::<f64>();
}

#[test]
fn a_parameter_without_a_gradient_is_skipped_and_a_repeated_one_moves_once() {
    for (name, make) in optimizers::<f64>() {
        let [unused, once, twice] = [(); 3].map(|()| Param::new(array![2.0]));
        let mut optimizer = make(&[unused.clone(), twice.clone(), once.clone(), twice.clone()]);
        for _ in 0..3 {
            once.accumulate_grad(&array![1.0].into_dyn());
            twice.accumulate_grad(&array![1.0].into_dyn());
            optimizer.step();
        }
        assert_eq!(unused.value()[[0]], 2.0, "{name}");
        assert_eq!(once.value(), twice.value(), "{name}");
        assert_ne!(once.value()[[0]], 2.0, "{name}");
        optimizer.zero_grad();
        assert!(once.grad().is_none() && twice.grad().is_none(), "{name}");
    }
}

#[test]
fn a_variance_below_zero_by_rounding_gives_no_nan() {
    let w = Param::new(Array1::<f32>::zeros(100));
    let mut rms_prop = RmsProp::new([&w], 1e-3).with_alpha(0.5).with_centered();
    w.accumulate_grad(&Array1::from_shape_fn(100, |k| 0.07 * (k + 1) as f32).into_dyn());
    for _ in 0..50 {
        rms_prop.step(); // v - a² tends to 0; rounding makes every third of these negative
    }
    assert!(w.value().iter().all(|w| w.is_finite()), "{}", w.value());
}

#[test]
fn without_weight_decay_an_infinite_weight_gives_no_nan() {
    for (name, make) in optimizers::<f64>().into_iter().filter(|(name, _)| ["sgd", "adam", "rmsprop"].contains(name)) {
        let w = Param::new(array![f64::INFINITY]);
        let mut optimizer = make(slice::from_ref(&w));
        w.accumulate_grad(&array![1.0].into_dyn());
        optimizer.step();
        assert_eq!(w.value()[[0]], f64::INFINITY, "{name}");
    }
}

#[test]
fn schedules_are_those_of_pytorch() {
    let schedules = [
        ("step", Schedule::step(0.1, 7, 0.5)),
        ("multi_step", Schedule::multi_step(0.1, [5, 11, 11, 20], 0.3)),
        ("exponential", Schedule::exponential(0.1, 0.93)),
        ("cosine", Schedule::cosine(0.1, 9, 0.003)),
        ("linear", Schedule::linear(0.1, 0.2, 0.9, 12)),
        ("function", Schedule::function(0.1, |step| 1.0 / (1 + step) as f64)),
        ("warm-up", Schedule::cosine(0.1, 10, 0.0).with_warm_up(4, 0.1)),
    ];
    let expected = numbers("schedules");
    assert_eq!(schedules.len(), expected.len());
    for (name, schedule) in schedules {
        let expected = expected[name].as_array().unwrap();
        assert_eq!(expected.len(), 40);
        for (step, expected) in expected.iter().enumerate() {
            let (found, expected) = (schedule.at(step), expected.as_f64().unwrap());
            assert!((found - expected).abs() <= 1e-14, "{name}, step {step}: {found} for {expected}");
        }
    }
}

#[test]
fn a_schedule_is_applied_to_any_optimizer() {
    let schedule = Schedule::linear(0.5, 0.5, 1.0, 2);
    for (name, make) in optimizers::<f32>() {
        let mut optimizer = make(&[Param::new(array![1.0])]);
        assert_eq!(optimizer.learning_rate(), 0.1, "{name}");
        schedule.apply(1, &mut *optimizer);
        assert_eq!(optimizer.learning_rate(), 0.375, "{name}");
    }
}

#[test]
fn settings_are_printed() {
    let w = Param::new(array![1.0]);
    let sgd = Sgd::new([&w], 0.5).with_momentum(0.25).with_nesterov().with_weight_decay(2.0).with_maximize();
    let text = "Sgd of 1 parameters, learning rate 0.5, momentum 0.25, weight decay 2, maximizing, Nesterov";
    assert_eq!(format!("{sgd:?}"), text);
    let adamw = AdamW::new([&w], 0.5).with_amsgrad();
    let text = "AdamW of 1 parameters, learning rate 0.5, betas 0.9 and 0.999, eps 1e-8, weight decay 0.01, amsgrad";
    assert_eq!(format!("{adamw:?}"), text);
    let schedule = Schedule::step(0.1, 7, 0.5).with_warm_up(3, 0.25);
    let text = "Schedule of learning rate 0.1, times 0.5 every 7 steps, after 3 steps of warm-up from 0.25";
    assert_eq!(format!("{schedule:?}"), text);
}
