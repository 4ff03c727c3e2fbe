//! Saved runs: what is loaded is what was saved, a file that does not fit changes nothing, a killed process leaves a whole
//! file.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use ndarray::{Array1, Array2, ArrayD, arr0, array};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, RngExt, SeedableRng};
use tapegrad::data::{Generator, Npz, SafeTensors, save_npz, save_safetensors};
use tapegrad::files::{Saved, ToSave, load, save};
use tapegrad::nn::{Activation, Graph, Linear, Module, NaryModule, Sequential, Sum, Tanh};
use tapegrad::optim::{Adam, AdamW, Groups, Lbfgs, NAdam, Optimizer, RAdam, ReduceOnPlateau, Sgd, Stateful};
use tapegrad::{Param, Scalar};
use tempfile::TempDir;

const FORMATS: [&str; 2] = ["npz", "safetensors"];

type Named<T> = Vec<(String, Param<T>)>;

fn network<T: Scalar>(seed: u64) -> Sequential<T> {
    Sequential::mlp(3, 5, 4, 2, Activation::Tanh, &mut StdRng::seed_from_u64(seed)).expect("it has three layers")
}

fn values<T: Scalar>(named: &Named<T>) -> Vec<ArrayD<T>> {
    named.iter().map(|(_, parameter)| (*parameter.value()).clone()).collect()
}

fn names<T>(named: &Named<T>) -> Vec<&str> {
    named.iter().map(|(name, _)| &**name).collect()
}

#[test]
fn names_are_paths_and_differ() {
    let inner = Sequential::<f64>::new().push(Tanh::new()).push(network(0));
    let tied = Linear::from_params(Param::named("weight", array![[1.0], [2.0]]), None);
    let again = Linear::from_params(tied.weight().clone(), None);
    let net = Sequential::new().push(inner).push(tied).push(Tanh::new()).push(again);
    assert_eq!(
        names(&net.named_parameters()),
        ["0.1.0.weight", "0.1.0.bias", "0.1.2.weight", "0.1.2.bias", "1.weight"]
    );

    let mut graph = Graph::<f64>::new(1);
    let layer = |seed| Linear::new(2, 3, &mut StdRng::seed_from_u64(seed));
    let (a, b) = (graph.layer(layer(0), graph.input(0)), graph.layer(layer(1), graph.input(0)));
    graph.join(Sum::new(), &[a, b]);
    assert_eq!(names(&graph.named_parameters()), ["0.weight", "0.bias", "1.weight", "1.bias"]);
    assert_eq!(graph.named_parameters().len(), graph.parameters().len());

    // Without names of their own, and with equal ones.
    let unnamed = Linear::from_params(Param::new(array![[1.0_f64]]), Some(Param::new(array![1.0])));
    assert_eq!(names(&unnamed.named_parameters()), ["0", "1"]);
    let equal = Linear::from_params(Param::named("w", array![[1.0_f64]]), Some(Param::named("w", array![1.0])));
    assert_eq!(names(&equal.named_parameters()), ["w", "1.w"]);
}

fn round_trip<T: Scalar>(format: &str) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join(format!("net.{format}"));
    let (first, second) = (network::<T>(1).named_parameters(), network::<T>(2).named_parameters());
    // Numbers that a careless writer loses.
    let odd = [-0.0, f64::INFINITY, f64::NEG_INFINITY, 1e-40, 1.0 / 3.0, 16_777_217.0, 1e-320, f64::NAN];
    first[1].1.set_value(Array1::from_shape_fn(4, |k| T::from_f64(odd[k])));
    first[2].1.set_value(Array2::from_shape_fn((4, 2), |(i, j)| T::from_f64(odd[2 * i + j])));
    save(&path, &first).unwrap();
    load(&path, &second).unwrap();
    let bits =
        |named: &Named<T>| -> Vec<u64> { values(named).iter().flatten().map(|x| x.to_f64().to_bits()).collect() };
    assert_eq!(bits(&first), bits(&second));
}

#[test]
fn what_is_loaded_is_what_was_saved() {
    for format in FORMATS {
        round_trip::<f32>(format);
        round_trip::<f64>(format);
        // A file of the other precision.
        let directory = TempDir::new().unwrap();
        let path = directory.path().join(format!("net.{format}"));
        let (wide, narrow) = (network::<f64>(1).named_parameters(), network::<f32>(2).named_parameters());
        save(&path, &wide).unwrap();
        load(&path, &narrow).unwrap();
        assert_eq!(values(&narrow)[0], values(&wide)[0].mapv(|x| x as f32));
        wide[3].1.set_value(array![1.0, -1e300]);
        save(&path, &wide).unwrap();
        let before = values(&narrow);
        let error = load(&path, &narrow).unwrap_err().to_string();
        let expected = "array 2.bias: expected numbers within the range of f32, found -1e300 at [1]";
        assert!(error.ends_with(expected), "{error}");
        assert_eq!(values(&narrow), before);
    }
}

/// Two steps of an optimizer on a network, with gradients that depend on the step.
fn train<T: Scalar>(named: &Named<T>, optimizer: &mut dyn Optimizer<T>, steps: std::ops::Range<u64>) {
    for step in steps {
        optimizer.zero_grad();
        for (index, (_, parameter)) in named.iter().enumerate().skip(usize::from(step % 2 == 0)) {
            let g = |k: usize| T::from_f64(((k * 5 + index) as f64 + step as f64 * 0.3).cos());
            let gradient = Array1::from_shape_fn(parameter.shape().elements(), g);
            parameter.accumulate_grad(&gradient.into_shape_with_order(&**parameter.shape()).unwrap());
        }
        optimizer.step();
    }
}

type Make<T> = fn(&Named<T>) -> Box<dyn Optimizer<T>>;

fn parameters<T: Scalar>(named: &Named<T>) -> Vec<Param<T>> {
    named.iter().map(|(_, parameter)| parameter.clone()).collect()
}

fn optimizers<T: Scalar>() -> [Make<T>; 6] {
    [
        |named| Box::new(Sgd::new(parameters(named), T::from_f64(0.1)).with_momentum(T::from_f64(0.9))),
        |named| Box::new(Adam::new(parameters(named), T::from_f64(0.1))),
        |named| Box::new(AdamW::new(parameters(named), T::from_f64(0.1)).with_amsgrad()),
        |named| Box::new(NAdam::new(parameters(named), T::from_f64(0.1))),
        |named| Box::new(RAdam::new(parameters(named), T::from_f64(0.1)).with_betas(0.5, 0.7)),
        |named| {
            let (first, rest) =
                (Adam::new([&named[0].1], T::from_f64(0.1)), Sgd::new(&parameters(named)[1..], T::from_f64(0.3)));
            Box::new(Groups::new(first).with(rest))
        },
    ]
}

fn resumed<T: Scalar>(format: &str) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join(format!("run.{format}"));
    for make in optimizers::<T>() {
        let whole = network::<T>(1).named_parameters();
        let mut optimizer = make(&whole);
        train(&whole, &mut *optimizer, 0..6);
        ToSave::new().parameters(&whole).optimizer(&*optimizer, &whole).count("step", 6).write(&path).unwrap();
        train(&whole, &mut *optimizer, 6..9);

        let again = network::<T>(2).named_parameters();
        let mut optimizer = make(&again);
        optimizer.set_learning_rate(T::from_f64(0.75));
        let saved = Saved::read(&path).unwrap();
        saved.restore(&again, &mut *optimizer).unwrap();
        train(&again, &mut *optimizer, saved.count("step").unwrap()..9);
        assert_eq!(values(&again), values(&whole), "{optimizer:?}");
    }
}

#[test]
fn a_resumed_run_has_the_same_bits() {
    for format in FORMATS {
        resumed::<f32>(format);
        resumed::<f64>(format);
    }
}

#[test]
fn a_saved_line_search_goes_on() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("run.npz");
    let start = || (Param::named("x", array![-1.5]), Param::named("y", array![2.0]));
    let evaluate = |x: &Param<f64>, y: &Param<f64>| {
        let (a, b) = (x.value()[[0]], y.value()[[0]]);
        x.accumulate_grad(&array![-2.0 * (1.0 - a) - 400.0 * a * (b - a * a)].into_dyn());
        y.accumulate_grad(&array![200.0 * (b - a * a)].into_dyn());
        (1.0 - a).powi(2) + 100.0 * (b - a * a).powi(2)
    };
    let (x, y) = start();
    let mut whole = Lbfgs::new([&x, &y]).with_iterations(4);
    whole.step(|| evaluate(&x, &y));
    let named = vec![("x".to_string(), x.clone()), ("y".to_string(), y.clone())];
    ToSave::new().parameters(&named).optimizer(&whole, &named).write(&path).unwrap();
    whole.step(|| evaluate(&x, &y));
    let (a, b) = start();
    let named = vec![("x".to_string(), a.clone()), ("y".to_string(), b.clone())];
    let mut again = Lbfgs::new([&a, &b]).with_iterations(4);
    Saved::read(&path).unwrap().restore(&named, &mut again).unwrap();
    again.step(|| evaluate(&a, &b));
    assert_eq!((x.value(), y.value()), (a.value(), b.value()));
}

#[test]
fn a_line_search_that_has_not_begun_is_restored() {
    let directory = TempDir::new().unwrap();
    for format in FORMATS {
        let path = directory.path().join(format!("run.{format}"));
        let named = vec![("x".to_string(), Param::named("x", array![4.0]))];
        let optimizer = || Lbfgs::new([&named[0].1]);
        ToSave::new().parameters(&named).optimizer(&optimizer(), &named).write(&path).unwrap();
        let mut begun = optimizer();
        begun.step(|| {
            let x = named[0].1.value()[[0]];
            named[0].1.zero_grad();
            named[0].1.accumulate_grad(&array![2.0 * x].into_dyn());
            x * x
        });
        assert!(!begun.state().is_empty() && named[0].1.value()[[0]] != 4.0);
        Saved::read(&path).unwrap().restore(&named, &mut begun).unwrap();
        assert!(begun.state().is_empty());
        assert_eq!(named[0].1.value()[[0]], 4.0);
    }
}

#[test]
fn the_state_of_another_kind_of_optimizer_is_refused() {
    let directory = TempDir::new().unwrap();
    for format in FORMATS {
        let path = directory.path().join(format!("run.{format}"));
        let named = vec![("kind".to_string(), Param::new(array![1.0])), ("b".to_string(), Param::new(array![2.0]))];
        let makes: [(&str, Make<f64>); 6] = [
            ("Adam", |named| Box::new(Adam::new(parameters(named), 0.1))),
            ("AdamW", |named| Box::new(AdamW::new(parameters(named), 0.1))),
            ("RAdam", |named| Box::new(RAdam::new(parameters(named), 0.1))),
            ("Groups(Adam)", |named| Box::new(Groups::new(Adam::new(parameters(named), 0.1)))),
            ("Groups(Adam, Adam)", |named| {
                Box::new(Groups::new(Adam::new([&named[0].1], 0.1)).with(Adam::new([&named[1].1], 0.1)))
            }),
            ("Sgd", |named| Box::new(Sgd::new(parameters(named), 0.1))),
        ];
        for (saved, make) in &makes {
            let mut optimizer = make(&named);
            train(&named, &mut *optimizer, 0..2);
            ToSave::new().parameters(&named).optimizer(&*optimizer, &named).write(&path).unwrap();
            let before = values(&named);
            for (other, make) in &makes {
                let mut optimizer = make(&named);
                let outcome = Saved::read(&path).unwrap().restore(&named, &mut *optimizer);
                match outcome {
                    Ok(()) => assert_eq!(saved, other),
                    Err(error) => {
                        let expected =
                            format!("{}: expected the state of {other}, found that of {saved}", path.display());
                        assert_eq!(error.to_string(), expected);
                        assert_eq!(optimizer.state(), make(&named).state());
                        assert_eq!(values(&named), before);
                    }
                }
            }
        }
        // Of a file without the name, or with something else in its place.
        let (w, b) = (named[0].1.value(), named[1].1.value());
        let (rate, kind) = (arr0(0.5).into_dyn(), array![65.0, 0.5].into_dyn());
        let mut sgd = Sgd::new(parameters(&named), 0.1);
        for with_kind in [false, true] {
            let mut arrays = vec![("kind", w.view()), ("b", b.view()), ("optimizer/learning_rate", rate.view())];
            if with_kind {
                arrays.push(("optimizer/kind", kind.view()));
            }
            if format == "npz" { save_npz(&path, &arrays) } else { save_safetensors(&path, &arrays) }.unwrap();
            let outcome = Saved::read(&path).unwrap().restore(&named, &mut sgd);
            assert_eq!(sgd.learning_rate(), 0.5);
            match outcome {
                Ok(()) => assert!(!with_kind),
                Err(error) => {
                    let expected = "array optimizer/kind: expected the letters of a name, found an array of shape (2,)";
                    assert!(with_kind && error.to_string().ends_with(expected), "{error}");
                }
            }
        }
    }
}

#[test]
fn numbers_of_the_run_come_back() {
    let directory = TempDir::new().unwrap();
    for format in FORMATS {
        let path = directory.path().join(format!("run.{format}"));
        let mut plateau = ReduceOnPlateau::new().with_patience(1);
        let mut sgd = Sgd::new([&Param::new(array![0.0])], 1.0);
        [3.0, 4.0].into_iter().for_each(|loss| plateau.observe(loss, &mut sgd));
        let mut generator = Generator::new(5);
        for _ in 0..1000 {
            generator.next_u32();
        }
        let file = ToSave::new().count("pass", 1 << 53).number("best", 0.1).numbers("losses", &[1.0, f64::NAN]);
        file.generator("batches", &generator).plateau("plateau", &plateau).write(&path).unwrap();

        let saved = Saved::read(&path).unwrap();
        assert_eq!(saved.count("pass").unwrap(), 1 << 53);
        assert_eq!(saved.number("best").unwrap(), 0.1);
        let losses = saved.numbers("losses").unwrap();
        assert!(losses.len() == 2 && losses[0] == 1.0 && losses[1].is_nan());
        assert_eq!(saved.generator("batches").unwrap(), generator);
        let mut again = ReduceOnPlateau::new().with_patience(1);
        saved.plateau("plateau", &mut again).unwrap();
        assert_eq!(again, plateau);

        let place = |name: &str| format!("{}, array run/{name}", path.display());
        let error = saved.count("best").unwrap_err().to_string();
        assert_eq!(error, format!("{}: expected a whole number of at least 0, found 0.1", place("best")));
        let error = saved.number("losses").unwrap_err().to_string();
        assert_eq!(error, format!("{}: expected a single number, found an array of shape (2,)", place("losses")));
        let error = saved.generator("losses").unwrap_err().to_string();
        assert_eq!(
            error,
            format!("{}: expected the state of a generator, found an array of shape (2,)", place("losses"))
        );
        let error = saved.count("epoch").unwrap_err().to_string();
        assert!(error.contains("expected an array run/epoch, found the arrays run/batches, run/best, "), "{error}");
    }
}

#[test]
fn a_generator_goes_on_at_its_place() {
    let (mut numbers, mut standard) = (Generator::new(7), StdRng::seed_from_u64(7));
    let mut shuffled: [Vec<usize>; 2] = [(0..100).collect(), (0..100).collect()];
    for step in 0..200 {
        let mut again = Generator::from_state(&numbers.state()).unwrap();
        assert_eq!(again, numbers.clone());
        let (here, there): (Vec<u64>, Vec<u64>) = if step % 3 == 0 {
            (vec![numbers.next_u32().into()], vec![again.next_u32().into()])
        } else {
            (vec![numbers.next_u64()], vec![again.next_u64()])
        };
        assert_eq!(here, there);
        assert_eq!(numbers, again);
    }
    assert_ne!(Generator::new(7).random::<u64>(), Generator::new(8).random::<u64>());
    // Today's `StdRng` draws the same numbers: orders of batches did not change when the generator came.
    shuffled[0].shuffle(&mut Generator::new(7));
    shuffled[1].shuffle(&mut standard);
    assert_eq!(shuffled[0], shuffled[1]);
    let good = numbers.state();
    for (change, expected) in [
        (0, "generator state: expected 13 whole numbers below 4,294,967,296, found 4294967296"),
        (10, "generator state: expected a place below 2⁶⁸, found 16 · 2⁶⁴"),
    ] {
        let mut wrong = good.clone();
        wrong[change] = if change == 0 { 1 << 32 } else { 16 };
        assert_eq!(Generator::from_state(&wrong).unwrap_err().to_string(), expected);
    }
    assert!(Generator::from_state(&good[1..]).is_err());
}

/// A file, a network with an optimizer, and what both hold.
fn saved_run(format: &str) -> (TempDir, std::path::PathBuf, Named<f64>, Adam<f64>) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join(format!("run.{format}"));
    let named = network::<f64>(1).named_parameters();
    let mut adam = Adam::new(named.iter().map(|(_, parameter)| parameter), 0.1);
    train(&named, &mut adam, 0..2);
    ToSave::new().parameters(&named).optimizer(&adam, &named).count("step", 2).write(&path).unwrap();
    train(&named, &mut adam, 2..4);
    (directory, path, named, adam)
}

#[test]
fn a_file_that_is_cut_off_changes_nothing() {
    for format in FORMATS {
        let (_directory, path, named, mut adam) = saved_run(format);
        let (bytes, values_before, state) = (fs::read(&path).unwrap(), values(&named), adam.state());
        for length in (0..bytes.len()).filter(|k| k % 13 == 0 || k + 30 > bytes.len()) {
            fs::write(&path, &bytes[..length]).unwrap();
            let error = Saved::read(&path).and_then(|saved| saved.restore(&named, &mut adam)).unwrap_err().to_string();
            assert!(error.contains(&*path.to_string_lossy()) && error.contains("expected"), "{length}: {error}");
        }
        assert_eq!((values(&named), adam.state()), (values_before, state));
        fs::write(&path, &bytes).unwrap();
        Saved::read(&path).unwrap().restore(&named, &mut adam).unwrap();
    }
}

#[test]
fn a_file_that_does_not_fit_changes_nothing_and_says_why() {
    for format in FORMATS {
        let (directory, path, named, mut adam) = saved_run(format);
        let (before, state) = (values(&named), adam.state());
        let refuse = |adam: &mut Adam<f64>, expected: &str| {
            let error = Saved::read(&path).and_then(|saved| saved.restore(&named, adam)).unwrap_err().to_string();
            let prefix = format!("{}", path.display());
            assert_eq!(error.strip_prefix(&*prefix).unwrap(), expected);
            assert_eq!((values(&named), adam.state()), (before.clone(), state.clone()));
        };
        let write = |arrays: &[(&str, ArrayD<f64>)]| {
            let views: Vec<_> = arrays.iter().map(|(name, array)| (*name, array.view())).collect();
            if format == "npz" { save_npz(&path, &views) } else { save_safetensors(&path, &views) }.unwrap();
        };
        let zeros = |shape: &[usize]| ArrayD::<f64>::zeros(shape);
        let good = [
            ("0.weight", zeros(&[5, 4])),
            ("0.bias", zeros(&[4])),
            ("2.weight", zeros(&[4, 2])),
            ("2.bias", zeros(&[2])),
        ];
        write(&good);
        refuse(&mut adam, ": expected arrays optimizer/…, found none");
        write(&[&good[..3], &[("2.bias", zeros(&[3]))]].concat());
        refuse(&mut adam, ", array 2.bias: expected shape (2,), found (3,)");
        write(&[&good[..], &[("4.weight", zeros(&[2]))]].concat());
        refuse(&mut adam, ": expected no other arrays than those of the network, found `4.weight`");
        write(&good[..3]);
        refuse(&mut adam, ": expected an array 2.bias, found the arrays 0.bias, 0.weight, 2.weight");
        let step = ("optimizer/0.bias/step", arr0(1.5).into_dyn());
        write(&[&good[..], std::slice::from_ref(&step)].concat());
        refuse(&mut adam, ", array optimizer/0.bias/step: expected a whole number of at least 0, found 1.5");
        let step = ("optimizer/0.bias/step", arr0(1.0).into_dyn());
        write(&[&good[..], std::slice::from_ref(&step)].concat());
        refuse(&mut adam, ": expected the entries step, exp_avg, exp_avg_sq of parameter 1 for Adam, found 1 of 3");
        write(&[&good[..], &[("optimizer/4.weight/exp_avg", zeros(&[1]))]].concat());
        refuse(&mut adam, ": expected no other entry than learning_rate for Adam, found 4.weight/exp_avg");

        // Another kind of file.
        let other = directory.path().join(if format == "npz" { "a.safetensors" } else { "a.npz" });
        save(&other, &named).unwrap();
        fs::copy(&other, &path).unwrap();
        assert!(load(&path, &named).is_err());
        fs::write(&path, "not at all").unwrap();
        assert!(load(&path, &named).is_err());
        fs::remove_file(&path).unwrap();
        assert!(load(&path, &named).unwrap_err().to_string().contains("cannot be read"));
        assert_eq!(values(&named), before);
    }
    let error = save("net.txt", &network::<f64>(0).named_parameters()).unwrap_err().to_string();
    assert_eq!(error, "net.txt: expected a name with the extension `npz` or `safetensors`, found `txt`");
}

#[test]
#[should_panic(expected = "expected a name for each parameter of the optimizer, found none for Param bias (2,)")]
fn an_optimizer_of_other_parameters_is_not_saved() {
    let named = network::<f64>(1).named_parameters();
    let mut adam = Adam::new(named.iter().map(|(_, parameter)| parameter), 0.1);
    train(&named, &mut adam, 1..2);
    let _ = ToSave::new().optimizer(&adam, &named[..3]);
}

#[test]
fn files_from_python_are_read() {
    // Written by files.py.
    let place = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files").join(name);
    for format in FORMATS {
        for (precision, tolerance) in [("f32", 1e-7), ("f64", 0.0)] {
            let (w, b) = (Param::named("w", Array2::<f64>::zeros((3, 2))), Param::named("b", Array1::zeros(2)));
            let named = vec![("0.weight".to_string(), w.clone()), ("0.bias".to_string(), b.clone())];
            load(place(&format!("python_{precision}.{format}")), &named).unwrap();
            let expected = Array2::from_shape_fn((3, 2), |(i, j)| (2 * i + j) as f64 / 3.0).into_dyn();
            assert!((&*w.value() - &expected).iter().all(|off| off.abs() <= tolerance), "{format} {precision}");
            assert_eq!(*b.value(), array![-1.0, f64::INFINITY].into_dyn());
        }
    }
}

/// What the killed process does: it saves files of equal numbers, one after the other, until it is killed.
#[test]
fn child_that_saves() {
    let Ok(path) = std::env::var("TAPEGRAD_TEST_SAVE_TO") else { return };
    println!("\nready");
    for number in 1.. {
        save(&path, &uniform(f64::from(number))).unwrap();
    }
}

fn uniform(number: f64) -> Named<f64> {
    let filled = |name: &str| (name.to_string(), Param::new(Array1::from_elem(3000, number)));
    vec![filled("w"), filled("b")]
}

#[test]
fn a_process_that_is_killed_leaves_a_whole_file() {
    // A file system in memory, if there is one: a disk takes ten times as long to sync.
    let memory = Path::new("/dev/shm");
    let directory = || if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
    let kill = |format: &str, part: u64| {
        let directory = directory().unwrap();
        let path = directory.path().join(format!("run.{format}"));
        save(&path, &uniform(0.0)).unwrap();
        for round in 0..50 {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "files::child_that_saves", "--nocapture"])
                .env("TAPEGRAD_TEST_SAVE_TO", &path)
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let ready = BufReader::new(child.stdout.take().unwrap()).lines().any(|line| line.unwrap() == "ready");
            assert!(ready);
            // At any moment of one save or of the next.
            std::thread::sleep(Duration::from_micros((round * 61 + part * 37) % 3000));
            child.kill().unwrap();
            child.wait().unwrap();
            let named = uniform(-1.0);
            load(&path, &named).unwrap_or_else(|error| panic!("round {round}: {error}"));
            let values = values(&named);
            assert!(values.iter().flatten().all(|&x| x == values[0][[0]] && x >= 0.0), "round {round}");
            // The killed writer's unfinished file is the only other one.
            assert!(fs::read_dir(directory.path()).unwrap().count() <= 2);
        }
    };
    // Two hundred kills.
    std::thread::scope(|scope| {
        for part in 0..4 {
            scope.spawn(move || kill(FORMATS[part % 2], part as u64));
        }
    });
}

#[test]
fn both_formats_read_their_own_names() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("a.safetensors");
    let w = array![1.0_f32].into_dyn();
    let error = save_safetensors(&path, &[("w", w.view()), ("w", w.view())]).unwrap_err().to_string();
    assert!(error.ends_with("expected arrays of different names to write, found `w` twice"), "{error}");
    save_safetensors::<f32>(&path, &[]).unwrap();
    let error = SafeTensors::open(&path).unwrap().array::<f32>("w").unwrap_err().to_string();
    assert!(error.ends_with("a.safetensors: expected an array w, found no array"), "{error}");
    let npz = directory.path().join("a.npz");
    ToSave::new().count("pass", 3).write(&npz).unwrap();
    assert_eq!(Npz::open(&npz).unwrap().names(), ["run/pass"]);
}

#[test]
fn buffers_are_saved_beside_the_parameters() {
    use tapegrad::nn::BatchNorm;
    let make = || Sequential::<f64>::new().push(network(0)).push(BatchNorm::new(2));
    let all = |net: &Sequential<f64>| [net.named_parameters(), net.named_buffers()].concat();
    let (mut first, second) = (make(), make());
    first.forward(&Array2::from_shape_fn((6, 5), |(i, j)| ((i * 5 + j) as f64).sin())); // moves the running averages
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("net.npz");
    save(&path, &all(&first)).unwrap();
    assert_ne!(values(&first.named_buffers()), values(&second.named_buffers()));
    load(&path, &all(&second)).unwrap();
    assert_eq!(values(&first.named_buffers()), values(&second.named_buffers()));
    assert!(names(&first.named_buffers()).contains(&"1.running_mean"));
    let error = load(&path, &second.named_parameters()).unwrap_err().to_string();
    assert!(error.contains("expected no other arrays than those of the network, found `1.running_"), "{error}");
}
