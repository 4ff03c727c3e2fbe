//! Optimizers against loops by hand. Optimizers and schedules against numbers from PyTorch (`optim.py`).

use std::slice;

use ndarray::{Array1, array};
use proptest::prelude::*;
use serde_json::Value;
use tapegrad::optim::{
    Adadelta, Adagrad, Adam, AdamW, Groups, NAdam, Optimizer, RAdam, ReduceOnPlateau, RmsProp, Schedule, Sgd,
    StateValue, Stateful, clip_grad_norm, clip_grad_value,
};
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
    fn nadam<T: Scalar>(w: &[Param<T>]) -> NAdam<T> {
        NAdam::new(w, t(0.1))
    }
    fn radam<T: Scalar>(w: &[Param<T>]) -> RAdam<T> {
        RAdam::new(w, t(0.1))
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
        ("adadelta", |w| Box::new(Adadelta::new(w, t(0.1)))),
        ("adadelta decayed", |w| {
            let adadelta = Adadelta::new(w, t(0.1)).with_rho(0.7).with_eps(t(1e-3));
            Box::new(adadelta.with_weight_decay(t(0.1)).with_maximize())
        }),
        ("nadam", |w| Box::new(nadam(w))),
        ("nadam decayed", |w| {
            let nadam = nadam(w).with_betas(0.7, 0.8).with_eps(t(1e-3)).with_weight_decay(t(0.1));
            Box::new(nadam.with_momentum_decay(0.1))
        }),
        ("nadam decoupled", |w| {
            Box::new(nadam(w).with_weight_decay(t(0.5)).with_decoupled_weight_decay().with_maximize())
        }),
        ("radam", |w| Box::new(radam(w))),
        ("radam rectified", |w| Box::new(radam(w).with_betas(0.7, 0.9).with_eps(t(1e-3)).with_weight_decay(t(0.1)))),
        ("radam decoupled", |w| {
            let radam = radam(w).with_betas(0.7, 0.5).with_weight_decay(t(0.5));
            Box::new(radam.with_decoupled_weight_decay().with_maximize())
        }),
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
        ("one cycle", Schedule::one_cycle(0.1, 41)),
        ("one cycle late", Schedule::one_cycle_with(0.1, 41, 0.75, 5.0, 50.0)),
        (
            "chained",
            Schedule::linear(0.1, 0.25, 1.0, 6)
                .times(Schedule::exponential(1.0, 0.9))
                .times(Schedule::step(2.0, 10, 0.5)),
        ),
        (
            "one after the other",
            Schedule::linear(0.1, 0.5, 0.75, 4)
                .then(7, Schedule::step(0.1, 3, 0.5).then(13, Schedule::exponential(0.1, 0.9))),
        ),
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

#[test]
fn a_resumed_optimizer_takes_the_steps_of_one_that_went_on() {
    let gradient = |step: usize| Array1::from_shape_fn(LENGTH, |k| ((k * 5 + step * 3) as f32).cos()).into_dyn();
    for (name, make) in optimizers::<f32>() {
        let [all, first, second] =
            [(); 3].map(|()| [Param::new(Array1::from_elem(LENGTH, 1.5)), Param::new(array![2.0])]);
        let run = |w: &[Param<f32>; 2], optimizer: &mut dyn Optimizer<f32>, steps: std::ops::Range<usize>| {
            for step in steps {
                optimizer.zero_grad();
                w[0].accumulate_grad(&gradient(step)); // nothing reaches w[1]
                optimizer.step();
            }
        };
        let mut whole = make(&all);
        run(&all, &mut *whole, 0..9);
        let mut before = make(&first);
        before.set_learning_rate(0.25);
        before.set_learning_rate(0.1);
        run(&first, &mut *before, 0..6);
        second[0].set_value((*first[0].value()).clone());
        let mut after = make(&second);
        after.set_learning_rate(0.5);
        after.load_state(before.state()).expect("its own state");
        assert_eq!(after.state(), before.state(), "{name}");
        run(&second, &mut *after, 6..9);
        assert_eq!(second[0].value(), all[0].value(), "{name}");
        assert!(after.state().iter().all(|entry| entry.parameter != Some(1)), "{name}");
    }
}

#[test]
fn a_foreign_state_is_refused_and_changes_nothing() {
    let w = Param::new(array![1.0, 2.0]);
    let mut adam = Adam::new([&w], 0.5);
    w.accumulate_grad(&array![1.0, 1.0].into_dyn());
    adam.step();
    let good = adam.state();
    let names: Vec<&str> = good.iter().map(|entry| &*entry.name).collect();
    assert_eq!(names, ["learning_rate", "step", "exp_avg", "exp_avg_sq"]);
    let mut refuse = |change: &dyn Fn(&mut Vec<_>), expected: &str| {
        let mut state = good.clone();
        change(&mut state);
        assert_eq!(adam.load_state(state).expect_err("refused").to_string(), expected);
        assert_eq!(adam.state(), good);
    };
    refuse(
        &|state| state[2].name = "sum".into(),
        "optimizer state: expected the entries step, exp_avg, exp_avg_sq for Adam, found sum",
    );
    refuse(
        &|state| drop(state.pop()),
        "optimizer state: expected the entries step, exp_avg, exp_avg_sq of parameter 0 for Adam, found 2 of 3",
    );
    refuse(
        &|state| state[3].parameter = Some(1),
        "optimizer state: expected entries of 1 parameters for Adam, found one of parameter 1",
    );
    refuse(
        &|state| state[2].value = StateValue::Array(array![1.0, 2.0, 3.0].into_dyn()),
        "optimizer state: expected an array exp_avg of shape (2,) for Adam, found an array of shape [3]",
    );
    refuse(
        &|state| state[1].value = StateValue::Number(1.0),
        "optimizer state: expected a whole number step for Adam, found the number 1",
    );
    refuse(
        &|state| state[0].value = StateValue::Number(f64::NAN),
        "optimizer state: expected a finite learning rate of at least 0 for Adam, found NaN",
    );
}

fn floats(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn assert_near(found: &[f64], expected: &Value, what: &str) {
    let expected = floats(expected);
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= 1e-13 * expected.abs().max(1.0), "{what}: {found} for {expected}");
    }
}

#[test]
fn plateaus_are_those_of_pytorch() {
    let json: Value = serde_json::from_str(include_str!("files/optim.json")).unwrap();
    let plateau = ReduceOnPlateau::new();
    let plateaus = [
        ("default", plateau.with_patience(3)),
        ("cooling", plateau.with_factor(0.5).with_patience(1).with_cooldown(3).with_threshold(0.2)),
        ("minimum", plateau.with_factor(0.3).with_patience(0).with_minimum(0.004)),
        ("rising", plateau.with_maximize().with_factor(0.5).with_patience(2)),
    ];
    assert_eq!(plateaus.len(), json["plateaus"].as_object().unwrap().len());
    for (name, mut plateau) in plateaus {
        let mut sgd = Sgd::new([&Param::new(array![0.0])], 0.1);
        let mut rates = Vec::new();
        for loss in floats(&json["losses"]) {
            // A copy that is loaded from the state goes on like the plateau itself.
            let mut copy = ReduceOnPlateau::new().with_factor(0.9);
            copy.load_state(&plateau.state::<f64>()).unwrap();
            plateau.load_state(&copy.state::<f64>()).unwrap();
            plateau.observe(loss, &mut sgd);
            rates.push(sgd.learning_rate());
        }
        assert_near(&rates, &json["plateaus"][name], name);
    }
}

#[test]
fn groups_are_those_of_pytorch() {
    let json: Value = serde_json::from_str(include_str!("files/optim.json")).unwrap();
    let (w, b) = (Param::new(array![1.0]), Param::new(array![-2.0]));
    let make = || {
        let first = Adam::new([&w], 0.1).with_betas(0.8, 0.9).with_weight_decay(0.3);
        Groups::new(first).with(Adam::new([&b], 0.02).with_betas(0.8, 0.9))
    };
    let (mut groups, schedule) = (make(), Schedule::exponential(0.1, 0.8));
    for (step, expected) in json["groups"].as_array().unwrap().iter().enumerate() {
        schedule.apply(step, &mut groups);
        groups.zero_grad();
        w.accumulate_grad(&*w.value());
        b.accumulate_grad(&b.value().mapv(f64::cos));
        groups.step();
        assert_near(&[w.value()[[0]], b.value()[[0]]], expected, "groups");
        // Resumed at every step.
        let state = groups.state();
        assert_eq!(state.iter().filter(|entry| entry.name.ends_with("/learning_rate")).count(), 2);
        groups = make();
        groups.load_state(state).unwrap();
    }
    let before = groups.state();
    let mut wrong = groups.state();
    wrong.last_mut().unwrap().name = "sum".into();
    wrong[0].value = StateValue::Number(7.0);
    assert!(groups.load_state(wrong).is_err());
    assert_eq!(groups.state(), before); // the first group, too, which had loaded its part
    let mut wrong = groups.state();
    wrong[0].name = "group2/learning_rate".into();
    assert!(groups.load_state(wrong).is_err());
}

#[test]
#[should_panic(expected = "is in another group already")]
fn a_parameter_is_in_one_group() {
    let w = Param::new(array![1.0]);
    let _ = Groups::new(Sgd::new([&w], 0.1)).with(Sgd::new([&w], 0.1));
}

#[test]
fn gradients_are_clipped_as_in_pytorch() {
    let json: Value = serde_json::from_str(include_str!("files/optim.json")).unwrap();
    let (w, b, unused) = (Param::new(Array1::zeros(3)), Param::new(Array1::zeros(2)), Param::new(array![1.0]));
    let check = |name: &str, clip: &dyn Fn(&[Param<f64>]) -> f64| {
        for (parameter, g) in [(&w, array![3.0, -0.5, 0.25]), (&b, array![-4.0, 1.5])] {
            parameter.zero_grad();
            parameter.accumulate_grad(&g.into_dyn());
        }
        let (snapshot, copy) = (w.grad().unwrap(), (*w.grad().unwrap()).clone());
        let total = clip(&[w.clone(), unused.clone(), b.clone(), w.clone()]);
        let grads = [&w, &b].map(|parameter| parameter.grad().unwrap().iter().copied().collect::<Vec<_>>());
        assert_near(&[vec![total], grads.concat()].concat(), &json["clipped"][name], name);
        assert_eq!(*snapshot, copy); // a snapshot never changes
    };
    check("norm", &|parameters| clip_grad_norm(parameters, 2.0));
    check("short", &|parameters| clip_grad_norm(parameters, 6.0));
    check("value", &|parameters| {
        clip_grad_value(parameters, 1.25);
        0.0
    });
    assert!(unused.grad().is_none());
}

#[test]
fn a_norm_that_is_not_finite_leaves_the_gradients() {
    let w = Param::new(array![1.0_f32, 1.0]);
    w.accumulate_grad(&array![f32::NAN, 2.0].into_dyn());
    assert!(clip_grad_norm([&w], 1.0).is_nan());
    assert_eq!(w.grad().unwrap()[[1]], 2.0);
    w.zero_grad();
    w.accumulate_grad(&array![3e38_f32, 3e38].into_dyn()); // the norm is beyond f32, the scaled gradient is not
    assert_eq!(clip_grad_norm([&w], 1.0), f32::INFINITY);
    assert!((w.grad().unwrap()[[0]] - 0.5_f32.sqrt()).abs() < 1e-6);
    w.zero_grad();
    assert_eq!(clip_grad_norm([&w], 1.0), 0.0);
}
