//! The lessons as a user runs them: wrong inputs give one line and a failing exit code and leave files alone, and lessons
//! that describe the same network give the same history.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

use ndarray::{Array2, Ix2};
use tapegrad::data::{Npz, save_npz};

/// Runs a lesson. `cargo test` builds them before it runs any test.
fn run(directory: &Path, command: &str) -> Output {
    let tests = env::current_exe().unwrap();
    let examples = tests.parent().unwrap().parent().unwrap().join("examples");
    let mut words = command.split_whitespace();
    let lesson = examples.join(words.next().unwrap()).with_extension(env::consts::EXE_EXTENSION);
    assert!(lesson.exists(), "{} is not built: run `cargo build --examples` first", lesson.display());
    Command::new(lesson).args(words).current_dir(directory).output().unwrap()
}

fn succeeds(directory: &Path, command: &str) -> String {
    let output = run(directory, command);
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Asserts that a lesson fails with this exit code, with one line on standard error that contains this.
fn fails(directory: &Path, command: &str, code: i32, expected: &str) {
    let output = run(directory, command);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{command}: {message}");
    assert!(message.starts_with("error: ") && message.contains(expected), "{command}: {message}");
    assert_eq!(message.lines().count(), 1, "{command}: {message}");
}

/// Cases in `tests/reference`, made by PyTorch 2.15 in float64.
const CASES: u64 = 107;

const LESSONS: [&str; 9] = [
    "digits one-layer",
    "digits two-layers",
    "digits tape",
    "digits optimizer",
    "digits module",
    "by_hand",
    "compare_activations",
    "three_descents",
    "show_digits",
];

#[test]
fn wrong_arguments_are_refused_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    for lesson in LESSONS {
        fails(
            directory,
            &format!("{lesson} --passes 0"),
            2,
            "'0' for '--passes <PASSES>': expected a whole number from 1",
        );
        fails(directory, &format!("{lesson} --nonsense"), 2, "unexpected argument '--nonsense'");
        fails(directory, &format!("{lesson} --data nowhere"), 1, "nowhere: expected a directory with x.npy");
    }
    for lesson in ["digits two-layers", "digits tape", "by_hand", "compare_activations", "usps", "three_descents"] {
        fails(directory, &format!("{lesson} --hidden 0"), 2, "'0' for '--hidden <HIDDEN>'");
    }
    for lesson in ["digits one-layer", "digits module", "by_hand", "compare_activations", "linear_regression", "usps"] {
        for epsilon in ["-0.1", "0", "NaN", "inf", "fast"] {
            let expected = format!("'{epsilon}' for '--epsilon <EPSILON>': expected a positive number");
            fails(directory, &format!("{lesson} --epsilon {epsilon}"), 2, &expected);
        }
    }
    fails(directory, "linear_regression --points 2", 1, "--points: expected more than the 3 inputs, found 2");
    let expected = "--points times --inputs: expected at most 50000000 numbers, found 999999000000";
    fails(directory, "linear_regression --points 1000000 --inputs 999999", 1, expected);
    fails(directory, "show_digits --digit 627", 1, "--digit: expected a number below 627, found 627");
    fails(directory, "usps", 2, "data/usps: expected the USPS digits: train.npz and test.npz");
    fails(directory, "digits one-layer --history no/where.npz", 1, "no/where.npz: expected a directory no to write to");
    fails(directory, "digits one-layer --plot .", 1, ".: expected the name of a file to write, found a directory");
    assert_eq!(fs::read_dir(directory).unwrap().count(), 0, "nothing was written");
}

#[test]
fn wrong_files_are_refused_and_others_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("data/digits178");
    fs::create_dir(directory.join("text")).unwrap();
    for file in ["x.npy", "y.npy", "xt.npy", "yt.npy"] {
        fs::copy(own.join(file), directory.join("text").join(file)).unwrap();
    }
    fs::write(directory.join("text/x.npy"), "not numbers\n").unwrap();
    fs::write(directory.join("kept.npz"), "precious").unwrap();
    fails(directory, "digits one-layer --data text --history kept.npz", 1, "text/x.npy: expected an .npy file, found");

    fs::write(directory.join("text.npz"), "not numbers\n").unwrap();
    fails(
        directory,
        "digits one-layer --init text.npz --save kept.npz",
        1,
        "text.npz: expected an .npz file, found 12 bytes",
    );
    fails(directory, "digits one-layer --init none.npz --save kept.npz", 1, "none.npz: cannot be read");
    let zeros = |rows, columns| Array2::<f64>::zeros((rows, columns)).into_dyn();
    save_npz(directory.join("short.npz"), &[("W", zeros(783, 3).view()), ("b", zeros(1, 3).view())]).unwrap();
    let expected = "short.npz, array W: expected shape (784, 3), found [783, 3]";
    fails(directory, "digits one-layer --init short.npz --save kept.npz", 1, expected);
    save_npz(directory.join("part.npz"), &[("W", zeros(784, 3).view())]).unwrap();
    fails(directory, "digits one-layer --init part.npz", 1, "part.npz: expected an array b, found the arrays W");
    fails(directory, "digits one-layer --epsilon 1e300 --history kept.npz", 1, "at pass 1: stopped");
    fails(directory, "digits tape --activation relu --epsilon 1e300 --history kept.npz", 1, "at pass 1: stopped");
    assert_eq!(fs::read_to_string(directory.join("kept.npz")).unwrap(), "precious");
}

fn history(directory: &Path, command: &str) -> Array2<f64> {
    succeeds(directory, &format!("{command} --history history.npz"));
    let history = Npz::open(directory.join("history.npz")).unwrap().array("history").unwrap();
    history.into_dimensionality::<Ix2>().unwrap()
}

#[test]
fn lessons_on_one_network_give_one_history() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    for (reduction, activation, epsilon) in [("sum", "tanh", 1e-4), ("mean", "relu", 0.1), ("mean", "sigmoid", 0.3)] {
        let common = format!("--hidden 5 --passes 8 --scale-pixels --reduction {reduction} --epsilon {epsilon}");
        let common = format!("{common} --activation {activation} --seed 3");
        let first = history(directory, &format!("digits two-layers {common} --path manual --save saved.npz"));
        assert_eq!(first.dim(), (8, 2));
        assert!(first[[7, 0]] < first[[0, 0]]);
        for lesson in ["two-layers --path tape", "tape", "module", "optimizer --momentum 0"] {
            let other = history(directory, &format!("digits {lesson} {common}"));
            let worst = (&other / &first - 1.0).iter().fold(0.0, |worst: f64, x| worst.max(x.abs()));
            assert!(worst < 1e-12, "{lesson}: {worst:e}");
        }
        // Training goes on where it was left.
        let longer = history(directory, &format!("digits two-layers {common}").replace("--passes 8", "--passes 9"));
        let rest =
            history(directory, &format!("digits tape {common} --init saved.npz").replace("--passes 8", "--passes 1"));
        assert!((rest[[0, 0]] / longer[[8, 0]] - 1.0).abs() < 1e-12, "{rest} {longer}");
    }
}

#[test]
fn the_one_layer_lesson_is_gradient_descent_on_the_softmax() {
    // Against a loop over samples, in no particular shape: p = softmax(x W + b), W -= ε Σ xᵀ (p - y).
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let w = Array2::from_shape_fn((784, 3), |(i, j)| 1e-3 * (((i * 7 + j * 5) % 11) as f64 - 5.0));
    let b = Array2::from_shape_fn((1, 3), |(_, j)| 1e-3 * j as f64);
    save_npz(directory.join("init.npz"), &[("W", w.view().into_dyn()), ("b", b.view().into_dyn())]).unwrap();
    let options = "--init init.npz --passes 3 --epsilon 1e-4 --scale-pixels";
    let found = history(directory, &format!("digits one-layer {options}"));

    let data = tapegrad::data::load_data::<f64>(concat!(env!("CARGO_MANIFEST_DIR"), "/data/digits178")).unwrap();
    let (mut w, mut b) = (w, b);
    for pass in 0..3 {
        let (mut dw, mut db) = (Array2::<f64>::zeros((784, 3)), [0.0; 3]);
        for (set, samples) in [data.train(), data.test()].into_iter().enumerate() {
            let mut loss = 0.0;
            for (image, &label) in samples.images().rows().into_iter().zip(samples.labels()) {
                let scores = [0, 1, 2]
                    .map(|k| b[[0, k]] + image.iter().zip(w.column(k)).map(|(x, w)| x / 255.0 * w).sum::<f64>());
                let total: f64 = scores.iter().map(|s| s.exp()).sum();
                loss += total.ln() - scores[label];
                for k in 0..3 {
                    let d = scores[k].exp() / total - f64::from(u8::from(k == label));
                    if set == 0 {
                        db[k] += d;
                        dw.column_mut(k).iter_mut().zip(image).for_each(|(dw, x)| *dw += x / 255.0 * d);
                    }
                }
            }
            let expected = loss / samples.len() as f64;
            assert!(
                (found[[pass, set]] / expected - 1.0).abs() < 1e-12,
                "{pass} {set}: {} {expected}",
                found[[pass, set]]
            );
        }
        w = w - 1e-4 * dw;
        (0..3).for_each(|k| b[[0, k]] -= 1e-4 * db[k]);
    }
}

#[test]
fn lessons_print_and_draw_what_they_promise() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let text = succeeds(directory, "digits tape --passes 2 --hidden 4 --json");
    assert!(text.contains("before the first backward:\n  W1.grad = None"), "{text}");
    assert!(text.contains("after it:\n  W1.grad = array of shape (784, 4)"), "{text}");
    let json: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(json["passes"], 2);

    succeeds(directory, "digits two-layers --passes 3 --hidden 4 --plot curves.svg --log");
    let svg = fs::read_to_string(directory.join("curves.svg")).unwrap();
    for word in ["train", "test", "pass", "mean cross-entropy"] {
        assert!(svg.contains(word), "{word}");
    }
    succeeds(directory, "compare_activations --passes 3 --hidden 4");
    succeeds(directory, "three_descents --passes 1 --hidden 4 --path tape");
    succeeds(directory, "show_digits --passes 1 --count 12");
    for file in ["compare_activations.svg", "three_descents.svg", "show_digits.svg"] {
        assert!(fs::read_to_string(directory.join(file)).unwrap().starts_with("<svg"), "{file}");
    }
    assert!(succeeds(directory, "by_hand --passes 5").contains("the same bits"));
    assert!(succeeds(directory, "linear_regression").contains("closed form"));
}

/// The texts of an SVG file: their height, their anchor, and what they say.
fn texts(svg: &str) -> Vec<(f64, String, String)> {
    let attribute = |tag: &str, name: &str| {
        let (_, after) = tag.split_once(&format!(" {name}=\"")).unwrap();
        after.split('"').next().unwrap().to_string()
    };
    let tags = svg.split("<text").skip(1).map(|text| text.split_once('>').unwrap());
    tags.map(|(tag, text)| {
        let text = text.split('<').next().unwrap().trim().to_string();
        (attribute(tag, "y").parse().unwrap(), attribute(tag, "text-anchor"), text)
    })
    .collect()
}

/// The height of the uppermost point of all curves.
fn top_of_curves(svg: &str) -> f64 {
    // The legend's lines have two points, curves have more.
    let points = svg.split("<polyline").skip(1);
    let points = points.map(|line| line.split_once("points=\"").unwrap().1.split('"').next().unwrap());
    let heights = points.filter(|points| points.split_whitespace().count() > 2).flat_map(|points| {
        points.split_whitespace().map(|point| point.split_once(',').unwrap().1.parse::<f64>().unwrap())
    });
    heights.fold(f64::INFINITY, f64::min)
}

#[test]
fn plots_mark_whole_passes_and_round_numbers_and_keep_the_legend_off_the_curves() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let near = "--passes 3 --hidden 4 --plot a.svg";
    for (lesson, curve, labels) in [
        (format!("digits two-layers {near} --epsilon 1e-9"), "train", None),
        (format!("digits two-layers {near} --epsilon 1e-9 --log"), "train", None),
        ("linear_regression --passes 400 --plot a.svg".to_string(), "descent", Some(["1"].as_slice())),
        (
            "linear_regression --passes 10 --epsilon 0.1 --plot a.svg".to_string(),
            "descent",
            Some(["1", "2", "5"].as_slice()),
        ),
    ] {
        succeeds(directory, &lesson);
        let svg = fs::read_to_string(directory.join("a.svg")).unwrap();
        let texts = texts(&svg);
        let anchored = |wanted: &str| {
            let texts = texts.iter().filter(|(_, anchor, _)| anchor == wanted);
            texts.map(|(_, _, text)| text.as_str()).filter(|text| text.parse::<f64>().is_ok()).collect::<Vec<_>>()
        };
        let (passes, losses) = (anchored("middle"), anchored("end"));
        assert!(passes.len() >= 3 && passes.iter().all(|pass| pass.parse::<u32>().is_ok()), "{lesson}: {passes:?}");
        let different: std::collections::HashSet<_> = losses.iter().collect();
        assert!(losses.len() >= 3 && different.len() == losses.len(), "{lesson}: {losses:?}");
        if let Some(leading) = labels {
            let digits =
                |label: &str| format!("{:e}", label.parse::<f64>().unwrap()).split('e').next().unwrap().to_string();
            assert!(losses.iter().all(|loss| leading.contains(&digits(loss).as_str())), "{lesson}: {losses:?}");
        }
        let legend = texts.iter().find(|(_, _, text)| text == curve).unwrap().0;
        assert!(legend < top_of_curves(&svg), "{lesson}: the legend is at {legend}");
    }
}

#[test]
fn usps_reads_both_forms() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let digit =
        |label: usize| format!("{label} {}", (0..16).map(|k| if k == label { "2 " } else { "0 " }).collect::<String>());
    let lines = |count: usize| (0..count).map(|k| digit(k % 10) + "\n").collect::<String>();
    fs::write(directory.join("train.txt"), format!("10 16\n{}-1\n", lines(300))).unwrap();
    fs::write(directory.join("test.txt"), format!("10 16\n{}-1\n", lines(50))).unwrap();
    let text = succeeds(directory, "usps --data . --passes 20 --json");
    let json: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(json["test_accuracy"], 1.0, "{text}");

    let x = Array2::from_shape_fn((30, 16), |(i, j)| f64::from(u8::from(i % 10 == j)));
    let y = ndarray::Array1::from_shape_fn(30, |i| (i % 10) as f64);
    for file in ["train.npz", "test.npz"] {
        save_npz(directory.join(file), &[("x", x.view().into_dyn()), ("y", y.view().into_dyn())]).unwrap();
    }
    assert!(succeeds(directory, "usps --data . --passes 1").starts_with("30 training and 30 test digits"));
}

#[test]
fn the_reference_cases_of_this_repository_pass() {
    let cases = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference");
    let directory = tempfile::tempdir().unwrap();
    let text = succeeds(directory.path(), &format!("reference {cases} --json"));
    let json: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!((json["cases"].as_u64(), json["passed"].as_u64()), (Some(CASES), Some(CASES)), "{text}");
    assert_eq!(json["unsupported"].as_array().unwrap().len(), 0, "{text}");
    fails(directory.path(), "reference nowhere", 1, "nowhere: expected a directory of cases with index.json");
    fs::write(directory.path().join("index.json"), "[{}]").unwrap();
    fails(directory.path(), "reference .", 1, "index.json: a case without id");
}

/// A case that cannot be compared is one that failed: the others are compared all the same.
#[test]
fn wrong_reference_cases_are_reported_by_their_number() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference");
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    fs::create_dir(directory.join("cases")).unwrap();
    for family in ["reduce", "softmax", "unary"] {
        let file = format!("cases/{family}.npz");
        fs::copy(cases.join(&file), directory.join(&file)).unwrap();
    }
    let index: Vec<serde_json::Value> =
        serde_json::from_str(&fs::read_to_string(cases.join("index.json")).unwrap()).unwrap();
    let case = |op: &str| index.iter().find(|case| case["op"] == op).unwrap().clone();
    let (mut softmax, mut sum, mut tanh, sin) = (case("softmax"), case("sum"), case("tanh"), case("sin"));
    let (mut number, mut nowhere) = (case("cos"), case("exp"));
    softmax["attrs"]["axis"] = 9.into(); // panics
    sum["attrs"]["keepdims"] = (!sum["attrs"]["keepdims"].as_bool().unwrap()).into(); // another shape
    tanh.as_object_mut().unwrap().remove("grads");
    number["grads"] = serde_json::json!([true, true]);
    nowhere["family"] = "nowhere".into();
    let all = [&softmax, &sum, &tanh, &number, &nowhere, &sin];
    fs::write(directory.join("index.json"), serde_json::to_string(&all).unwrap()).unwrap();

    let output = run(directory, "reference . --json");
    let (text, errors) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!((output.status.code(), errors.as_str()), (Some(1), "error: 5 of 6 cases failed\n"), "{text}");
    let json: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let failed: Vec<&serde_json::Value> = all[..5].iter().map(|case| &case["id"]).collect();
    assert_eq!(json["failed"].as_array().unwrap().iter().collect::<Vec<_>>(), failed);
    assert_eq!((json["cases"].as_u64(), json["passed"].as_u64()), (Some(6), Some(1)));
    for expected in [
        "softmax: (3, 4): axis 9 is out of range",
        "expected the shape of out, ",
        "expected grads, true or false",
        "nowhere.npz",
    ] {
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn every_graph_of_the_course_is_drawn_forward_and_backward() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let pieces = ["one_layer", "two_layers_sample", "two_layers_batch", "fully_connected", "relu", "loss"];
    let text = succeeds(directory, "draw_graph --out new/graphs --samples 20 --hidden 7");
    assert!(text.contains("two layers, a batch:"), "{text}");
    succeeds(directory, "draw_graph --out new/graphs --samples 20 --hidden 7 --backward");
    for (name, suffix) in pieces.iter().flat_map(|name| [(name, ""), (name, "_backward")]) {
        let picture =
            |ending| fs::read_to_string(directory.join(format!("new/graphs/{name}{suffix}.{ending}"))).unwrap();
        let (svg, dot) = (picture("svg"), picture("dot"));
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{name}");
        assert!(dot.starts_with("digraph ") && dot.ends_with("}\n"), "{name}");
        assert_eq!(svg.contains("up-head\" d="), !suffix.is_empty(), "{name}{suffix}");
        assert_eq!(dot.contains("style=dashed, constraint"), !suffix.is_empty(), "{name}{suffix}");
    }
    let batch = fs::read_to_string(directory.join("new/graphs/two_layers_batch_backward.svg")).unwrap();
    for rule in ["dW1 = xᵀ g : (784, 7)", "dW2 = hᵀ g : (7, 3)", "dz1 = g ⊙ (1 - h²) : (20, 7)"] {
        assert!(batch.contains(rule), "{rule}");
    }
    let sample = fs::read_to_string(directory.join("new/graphs/two_layers_sample.svg")).unwrap();
    assert!(sample.contains(">(1, 784)<") && !sample.contains("(20, "), "one sample");

    fails(directory, "draw_graph --samples 0", 2, "expected a whole number from 1");
    fails(
        directory,
        "draw_graph --samples 1000000 --inputs 1000000",
        1,
        "--samples times --inputs: expected at most 100000000, found 1000000 x 1000000",
    );
    fs::write(directory.join("file"), "").unwrap();
    fails(directory, "draw_graph --out file --samples 2", 1, "file: ");
}
