//! The lessons as a user runs them: wrong inputs give one line and a failing exit code and leave files alone, and lessons
//! that describe the same network give the same history.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

use ndarray::{Array1, Array2, Ix2, s};
use ndarray_npy::write_npy;
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

const LESSONS: [&str; 11] = [
    "digits one-layer",
    "digits two-layers",
    "digits tape",
    "digits optimizer",
    "digits module",
    "from_scratch",
    "two_losses",
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
    for lesson in
        ["digits two-layers", "digits tape", "from_scratch", "by_hand", "compare_activations", "usps", "three_descents"]
    {
        fails(directory, &format!("{lesson} --hidden 0"), 2, "'0' for '--hidden <HIDDEN>'");
    }
    for lesson in [
        "digits one-layer",
        "digits module",
        "from_scratch",
        "two_losses",
        "by_hand",
        "compare_activations",
        "linear_regression",
        "modules",
        "usps",
    ] {
        for epsilon in ["-0.1", "0", "NaN", "inf", "fast"] {
            let expected = format!("'{epsilon}' for '--epsilon <EPSILON>': expected a positive number");
            fails(directory, &format!("{lesson} --epsilon {epsilon}"), 2, &expected);
        }
    }
    fails(
        directory,
        "linear_regression --points 3 --inputs 3",
        2,
        "--points: expected more than the number of inputs, 3, found 3",
    );
    let expected = "--points times --inputs: expected at most 50000000 numbers, found 999999000000";
    fails(directory, "linear_regression --points 1000000 --inputs 999999", 2, expected);
    fails(directory, "show_digits --digit 627", 1, "--digit: expected a number below 627, found 627");
    fails(directory, "usps", 1, "data/usps: expected the USPS digits: train.npz and test.npz");
    fails(directory, "digits one-layer --history no/where.npz", 1, "no/where.npz: expected a directory no to write to");
    for lesson in LESSONS.into_iter().chain(["linear_regression", "modules", "manual_vs_autograd"]) {
        fails(
            directory,
            &format!("{lesson} --plot ."),
            1,
            ".: expected the name of a file to write, found a directory",
        );
        fails(directory, &format!("{lesson} --plot no/a.svg"), 1, "no/a.svg: expected a directory no to write to");
    }
    for lesson in
        LESSONS.into_iter().chain(["linear_regression", "modules", "manual_vs_autograd", "usps", "cnn", "char_lstm"])
    {
        let expected = "'x.png' for '--plot <FILE.svg>': expected a name that ends in .svg, found .png";
        fails(directory, &format!("{lesson} --plot x.png"), 2, expected);
    }
    for lesson in ["manual_vs_autograd", "cnn", "char_lstm", "train_your_own", "usps", "digits tape"] {
        let log = if lesson == "digits tape" { "--jsonl" } else { "--log" };
        for option in [log, "--report"] {
            let expected = "no/a: expected a directory no to write to";
            fails(directory, &format!("{lesson} {option} no/a"), 1, expected);
            fails(directory, &format!("{lesson} {option} ."), 1, "expected the name of a file to write");
        }
    }
    fails(directory, "modules --steps 0", 2, "'0' for '--steps <STEPS>': expected a whole number from 1");
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
    fails(directory, "digits one-layer --epsilon 1e308 --history kept.npz", 1, "at pass 1: stopped");
    let infinite = "digits tape --hidden 4 --epsilon 1e308 --loss softmax --history kept.npz";
    fails(directory, infinite, 1, "stopped (a smaller --epsilon may help)");
    assert_eq!(fs::read_to_string(directory.join("kept.npz")).unwrap(), "precious");
}

fn history(directory: &Path, command: &str) -> Array2<f64> {
    succeeds(directory, &format!("{command} --history history.npz"));
    let history = Npz::open(directory.join("history.npz")).unwrap().array("history").unwrap();
    history.into_dimensionality::<Ix2>().unwrap()
}

/// Writes every thirtieth digit of this repository, and returns the directory's name.
fn few_digits(directory: &Path) -> &'static str {
    let data = tapegrad::data::load_data::<f64>(concat!(env!("CARGO_MANIFEST_DIR"), "/data/digits178")).unwrap();
    fs::create_dir(directory.join("few")).unwrap();
    for (samples, images, labels) in [(data.train(), "x.npy", "y.npy"), (data.test(), "xt.npy", "yt.npy")] {
        let every = |array: &Array2<f64>| array.slice(s![..;30, ..]).to_owned();
        write_npy(directory.join("few").join(images), &every(samples.images())).unwrap();
        write_npy(directory.join("few").join(labels), &every(&samples.one_hot())).unwrap();
    }
    "few"
}

/// Writes the parameters of `course_reference.py`: 1e-3 (((7 i + 5 j + 3 i j) mod 23) - 11), a vector with i = 0.
fn write_start(path: &Path, widths: &[usize]) {
    let value = |i: usize, j: usize| 1e-3 * ((7 * i + 5 * j + 3 * i * j) % 23) as f64 - 11e-3;
    let mut arrays = Vec::new();
    for (k, pair) in widths.windows(2).enumerate() {
        let number = if widths.len() == 2 { String::new() } else { (k + 1).to_string() };
        arrays.push((format!("W{number}"), Array2::from_shape_fn((pair[0], pair[1]), |(i, j)| value(i, j)).into_dyn()));
        arrays.push((format!("b{number}"), Array1::from_shape_fn(pair[1], |j| value(0, j)).into_dyn()));
    }
    let arrays: Vec<_> = arrays.iter().map(|(name, array)| (name.as_str(), array.view())).collect();
    save_npz(path, &arrays).unwrap();
}

/// Compares histories of 200 passes with a table of another program's, by command. A row has the number of the pass, the
/// training loss and the test loss.
fn assert_histories(table: &str, also: impl Fn(&str) -> Vec<String>) {
    let table: serde_json::Value = serde_json::from_str(table).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let few = few_digits(directory);
    write_start(&directory.join("one.npz"), &[784, 3]);
    write_start(&directory.join("two.npz"), &[784, 4, 3]);
    for (command, rows) in table.as_object().unwrap() {
        let init = if command.starts_with("one") { "one.npz" } else { "two.npz" };
        for options in also(command) {
            let command = format!("digits {command} {options} --init {init} --data {few} --passes 200");
            let found = history(directory, &command);
            assert_eq!(found.dim(), (200, 2));
            let rows = rows.as_array().unwrap();
            assert_eq!(rows.len(), 10);
            for row in rows {
                let pass = row[0].as_u64().unwrap() as usize;
                for set in [0, 1] {
                    let (found, expected) = (found[[pass, set]], row[set + 1].as_f64().unwrap());
                    let error = (found / expected - 1.0).abs();
                    assert!(error < 1e-9, "{command}, pass {pass}, {set}: {found} for {expected}, {error:e}");
                }
            }
        }
    }
}

#[test]
fn histories_by_formulas_and_by_tape_are_those_of_numpy() {
    assert_histories(include_str!("files/course_numpy.json"), |_| vec!["--path manual".into(), "--path tape".into()]);
}

#[test]
fn histories_of_leaves_optimizer_and_module_are_those_of_pytorch() {
    assert_histories(include_str!("files/course_torch.json"), |_| vec![String::new()]);
}

#[test]
fn lessons_on_one_network_give_one_history() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let few = few_digits(directory);
    for (activation, epsilon) in [("tanh", 0.2), ("relu", 0.1), ("sigmoid", 0.3)] {
        let common = format!("--data {few} --hidden 5 --passes 8 --epsilon {epsilon}");
        let common = format!("{common} --activation {activation} --seed 3");
        // Along ŷ - y, averaged: the gradient of the softmax cross-entropy, which all of them report.
        let softmax = format!("{common} --loss softmax");
        let by_delta = format!("{softmax} --reduction mean");
        let first = history(directory, &format!("digits two-layers {by_delta} --path manual --save saved.npz"));
        assert_eq!(first.dim(), (8, 2));
        assert!(first[[7, 0]] < first[[0, 0]]);
        let agrees = |first: &Array2<f64>, command: &str| {
            let other = history(directory, command);
            let worst = (&other / first - 1.0).iter().fold(0.0, |worst: f64, x| worst.max(x.abs()));
            assert!(worst < 1e-12, "{command}: {worst:e}");
        };
        agrees(&first, &format!("digits two-layers {by_delta} --path tape"));
        for lesson in ["tape", "module", "optimizer --momentum 0"] {
            agrees(&first, &format!("digits {lesson} {softmax}"));
        }
        // Training goes on where it was left.
        let longer = history(directory, &format!("digits two-layers {by_delta}").replace("--passes 8", "--passes 9"));
        let rest =
            history(directory, &format!("digits tape {softmax} --init saved.npz").replace("--passes 8", "--passes 1"));
        assert!((rest[[0, 0]] / longer[[8, 0]] - 1.0).abs() < 1e-12, "{rest} {longer}");

        // The course's loss has another gradient.
        let course = history(directory, &format!("digits tape {common}"));
        for lesson in ["module", "optimizer --momentum 0"] {
            agrees(&course, &format!("digits {lesson} {common}"));
        }
        let delta = history(directory, &format!("digits two-layers {common} --reduction mean"));
        assert!((delta[[0, 0]] / course[[0, 0]] - 1.0).abs() < 1e-15);
        let [fall, other] = [&delta, &course].map(|history| history[[0, 0]] - history[[7, 0]]);
        assert!((fall / other - 1.0).abs() > 0.1, "{fall} {other}");
    }
}

#[test]
fn an_option_that_a_lesson_does_not_use_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    for (command, option) in [
        ("digits one-layer --hidden 5", "--hidden"),
        ("digits one-layer --activation relu", "--activation"),
        ("digits one-layer --momentum 0.5", "--momentum"),
        ("digits two-layers --momentum 0.5", "--momentum"),
        ("digits tape --path manual", "--path"),
        ("digits tape --reduction sum", "--reduction"),
        ("digits optimizer --path tape", "--path"),
        ("digits module --momentum 0.9", "--momentum"),
        ("digits module --reduction mean", "--reduction"),
    ] {
        fails(directory.path(), command, 2, &format!("unexpected argument '{option}' found"));
    }
    let expected = "'--raw-pixels' cannot be used with '--scale-pixels'";
    fails(directory.path(), "digits tape --raw-pixels --scale-pixels", 2, expected);
    fails(directory.path(), "digits one-layer --loss square", 2, "'square' for '--loss <LOSS>'");
}

#[test]
fn lessons_print_and_draw_what_they_promise() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let text = succeeds(directory, "digits tape --passes 2 --hidden 4 --json");
    for expected in [
        "its 2514 rows sum to 1, within",
        "before loss.backward():\n    W1.grad = None",
        "after it:\n    W1.grad = array of shape (784, 4)",
        "after zero_grad():\n    W1.grad = None",
        "do 2 passes suffice? no: the loss fell by 0.000 %",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let json: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(json["passes"], 2);
    let text = succeeds(directory, "digits module --passes 1 --hidden 4");
    for expected in ["model(x) == x: true", "c1: Linear 784 -> 4, Relu, c2: Linear 4 -> 3", "its 627 rows sum to 1"] {
        assert!(text.contains(expected), "{expected}: {text}");
    }

    // The rest on few digits.
    let few = format!("--data {}", few_digits(directory));
    succeeds(directory, &format!("digits two-layers {few} --passes 3 --hidden 4 --plot curves.svg --log"));
    let svg = fs::read_to_string(directory.join("curves.svg")).unwrap();
    for word in ["train", "test", "pass", "loss L", "accuracy %"] {
        assert!(svg.contains(word), "{word}");
    }
    succeeds(directory, &format!("compare_activations {few} --passes 3 --hidden 4"));
    succeeds(directory, &format!("three_descents {few} --passes 1 --hidden 4 --path tape"));
    succeeds(directory, &format!("show_digits {few} --passes 1 --count 12"));
    for file in ["compare_activations.svg", "three_descents.svg", "show_digits.svg"] {
        assert!(fs::read_to_string(directory.join(file)).unwrap().starts_with("<svg"), "{file}");
    }
    assert!(succeeds(directory, &format!("by_hand {few} --passes 2")).contains("the same bits"));
    assert!(succeeds(directory, "linear_regression").contains("closed form"));
    let svg = fs::read_to_string(directory.join("linear_regression.svg")).unwrap();
    for word in ["points", "by descent", "by the closed form", "mean squared error"] {
        assert!(svg.contains(word), "{word}");
    }
    assert_eq!(svg.matches("<circle").count(), 201, "200 points, and one in the legend");
    assert_eq!(succeeds(directory, "modules").matches("by hand and by tape: they differ by").count(), 5);
}

/// Every curve of a lesson on digits has its accuracies beside it.
#[test]
fn each_lesson_on_digits_leaves_a_picture_of_losses_and_accuracies() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let few = few_digits(directory);
    for (command, file) in [
        ("digits one-layer", "digits_one_layer.svg"),
        ("digits two-layers", "digits_two_layers.svg"),
        ("digits tape --hidden 4", "digits_tape.svg"),
        ("digits optimizer --hidden 4", "digits_optimizer.svg"),
        ("digits module --hidden 4", "digits_module.svg"),
        ("from_scratch", "from_scratch.svg"),
        ("two_losses", "two_losses.svg"),
        ("by_hand --hidden 4", "by_hand.svg"),
        ("compare_activations --hidden 4", "compare_activations.svg"),
        ("three_descents --hidden 4", "three_descents.svg"),
    ] {
        succeeds(directory, &format!("{command} --passes 2 --data {few}"));
        let svg = fs::read_to_string(directory.join(file)).unwrap();
        for word in ["pass", "accuracy %", "loss", "train", "digits told apart"] {
            // The vertical axis of by_hand and three_descents is called by the loss's name.
            assert!(svg.contains(word) || word == "loss" && svg.contains("cross-entropy"), "{file}: {word}");
        }
    }
}

/// The numbers that the documents ask for.
#[test]
fn the_course_from_scratch_answers_its_questions() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let few = few_digits(directory);
    let text = succeeds(directory, &format!("from_scratch --passes 20 --epsilon 1e-3 --data {few}"));
    for expected in [
        "N = 84 digits, D = 784 pixels, K = 3 classes",
        "one layer: (D + 1) K = 2355\n",
        "H = 10: (D + 1) H + (H + 1) K = 7883\n",
        "H = 100: (D + 1) H + (H + 1) K = 78803\n",
        "256 x 256 pixels: 655403\n",
        "at ŷ = y it is 0.000000",
        "gradcheck compares all 2355 elements with finite differences",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert_eq!(text.matches("by modules: the same history").count(), 2, "{text}");
    assert_eq!(text.matches("by the tape: the same history").count(), 2, "{text}");
}

/// The binary form has another derivative than the categorical one, and each agrees with its own tape and differences.
#[test]
fn two_losses_have_two_deltas() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let few = few_digits(directory);
    let text = succeeds(directory, &format!("two_losses --passes 3 --data {few}"));
    for expected in [
        "categorical  1.098612   [-0.666667,  0.333333,  0.333333]   [-0.666667,  0.333333,  0.333333]",
        "binary       1.909543   [-1.000000,  0.500000,  0.500000]   [-1.000000,  0.500000,  0.500000]",
        "binary / categorical: [ 1.500000,  1.500000,  1.500000]",
        "along the delta of the binary loss:",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
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
    let near = format!("--data {} --passes 3 --hidden 4 --plot a.svg", few_digits(directory));
    let line = "linear_regression --inputs 2 --plot a.svg";
    // Logarithmic axes over several powers of ten are labelled at these, and at nothing else.
    for (lesson, curve, at_least, powers) in [
        (format!("digits two-layers {near} --epsilon 1e-9"), "train", 3, false),
        (format!("digits two-layers {near} --epsilon 1e-9 --log"), "train", 3, false),
        (format!("{line} --noise 0.1 --passes 400"), "descent", 3, true),
        (format!("{line} --passes 10"), "descent", 2, true),
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
        assert!(losses.len() >= at_least && different.len() == losses.len(), "{lesson}: {losses:?}");
        if powers {
            let is_power = |label: &&str| format!("{:e}", label.parse::<f64>().unwrap()).starts_with("1e");
            assert!(losses.iter().all(is_power), "{lesson}: {losses:?}");
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
    let [by_hand, by_tape] = ["manual", "tape"].map(|path| {
        let text = succeeds(directory, &format!("usps --data . --passes 20 --path {path} --json"));
        let json: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(json["test_accuracy"], 1.0, "{text}");
        json["train_loss"].as_f64().unwrap()
    });
    assert!((by_hand / by_tape - 1.0).abs() < 1e-3, "{by_hand} {by_tape}"); // in f32

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

/// The saved parameters and the history of a run.
fn saved(directory: &Path, command: &str) -> [Vec<u8>; 2] {
    succeeds(directory, &format!("{command} --save saved.safetensors --history history.npz"));
    ["saved.safetensors", "history.npz"].map(|name| fs::read(directory.join(name)).unwrap())
}

#[test]
fn a_resumed_lesson_ends_with_the_same_bits() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let few = few_digits(directory);
    for lesson in ["one-layer", "two-layers --path tape", "tape", "optimizer --momentum 0.5", "module"] {
        let hidden = if lesson == "one-layer" { "" } else { "--hidden 4" };
        let command = format!("digits {lesson} {hidden} --data {few} --epsilon 1e-3");
        let whole = saved(directory, &format!("{command} --passes 7"));
        for format in ["npz", "safetensors"] {
            succeeds(directory, &format!("{command} --passes 4 --checkpoint run.{format} --every 3"));
            let resumed = saved(directory, &format!("{command} --passes 7 --resume run.{format}"));
            assert!(whole == resumed, "{lesson}");
        }
    }
    let command = format!("digits tape --hidden 5 --data {few} --resume run.npz");
    fails(directory, &command, 1, "run.npz, array W1: expected shape (784, 5), found (784, 4)");
    let command = format!("digits tape --hidden 4 --data {few} --passes 2 --resume run.npz");
    fails(directory, &command, 1, "run.npz: expected a pass of at most 2, found 3");
    fails(
        directory,
        &format!("digits tape --data {few} --resume few/x.npy"),
        1,
        "x.npy: expected a name with the extension",
    );

    let line = |k: usize| format!("{} {} {} {}\n", k % 2, k % 3, (k + 1) % 2, k * k % 3);
    let lines: String = (0..12).map(line).collect();
    for name in ["train.txt", "test.txt"] {
        fs::write(directory.join(name), format!("2 3\n{lines}-1\n")).unwrap();
    }
    let command = "usps --data . --hidden 4 --batch 5 --passes 8 --save saved.npz";
    let saved = |options: &str| {
        succeeds(directory, &format!("{command} {options}"));
        fs::read(directory.join("saved.npz")).unwrap()
    };
    for path in ["manual", "tape"] {
        let whole = saved(&format!("--path {path}"));
        assert!(whole == saved(&format!("--path {path} --checkpoint run.npz --every 4")));
        // The last checkpoint is that before the smaller steps.
        let run = tapegrad::files::Saved::read(directory.join("run.npz")).unwrap();
        assert_eq!(run.count("pass").unwrap(), 6);
        assert!(whole == saved(&format!("--path {path} --resume run.npz")));
    }
    fails(
        directory,
        &format!("{command} --resume run.npz --seed 3"),
        1,
        "run.npz: expected a run with --seed 3, found 0",
    );
}

#[test]
fn a_network_of_ones_own_is_resumed() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let command = format!("train_your_own --data {} --passes 3 --hidden 4 --batch 30", few_digits(directory));
    succeeds(directory, &format!("{command} --run whole.npz"));
    succeeds(directory, &format!("{command} --run parts.npz --until 1"));
    succeeds(directory, &format!("{command} --run parts.npz"));
    let [whole, parts] = ["whole.npz", "parts.npz"].map(|name| fs::read(directory.join(name)).unwrap());
    assert!(whole == parts);
    assert!(directory.join("train_your_own.svg").exists());
    let other = command.replace("--hidden 4", "--hidden 5");
    fails(directory, &format!("{other} --run parts.npz"), 1, "array 0.weight: expected shape (784, 5), found (784, 4)");
}

/// Returns the lines of a log without the times.
fn log_of(path: &Path) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(path).unwrap();
    let without_time = |line: &str| {
        let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line.as_object_mut().unwrap().remove("seconds").is_some());
        line
    };
    text.lines().map(without_time).collect()
}

#[test]
fn a_watched_lesson_leaves_a_log_and_a_report_and_goes_on_with_both() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let few = few_digits(directory);
    let line = |k: usize| format!("{} {} {} {}\n", k % 2, k % 3, (k + 1) % 2, k * k % 3);
    let lines: String = (0..12).map(line).collect();
    for name in ["train.txt", "test.txt"] {
        fs::write(directory.join(name), format!("2 3\n{lines}-1\n")).unwrap();
    }
    // Whole; then in two parts, the second from a checkpoint before passes that the first has logged already.
    for (command, whole, parts, passes, parameters) in [
        (
            format!("digits two-layers --data {few} --hidden 4 --jsonl run.jsonl"),
            "--passes 5",
            ["--passes 4 --checkpoint a.npz --every 3", "--passes 5 --resume a.npz"],
            6,
            4,
        ),
        (
            format!("digits module --data {few} --hidden 4 --jsonl run.jsonl"),
            "--passes 5",
            ["--passes 4 --checkpoint b.npz --every 3", "--passes 5 --resume b.npz"],
            6,
            4,
        ),
        (
            "usps --data . --hidden 4 --batch 5 --passes 8 --log run.jsonl".into(),
            "",
            ["--checkpoint c.npz --every 4", "--resume c.npz"],
            9,
            4,
        ),
        (
            format!("train_your_own --data {few} --passes 3 --hidden 4 --batch 30 --jsonl run.jsonl"),
            "--run d.npz",
            ["--run e.npz --until 1", "--run e.npz"],
            3,
            4,
        ),
    ] {
        let text = succeeds(directory, &format!("{command} {whole}"));
        assert!(!text.contains("report"), "{text}");
        let log = log_of(&directory.join("run.jsonl"));
        assert_eq!(log.len(), passes, "{command}");
        for (pass, line) in log.iter().enumerate() {
            assert_eq!(line["pass"], pass, "{command}");
            for name in ["train_loss", "test_loss", "learning_rate"] {
                assert!(line[name].as_f64().is_some_and(|number| number > 0.0), "{command}: {line}");
            }
            let norms = line["gradient_norms"].as_object().map_or(0, serde_json::Map::len);
            assert!(norms == parameters || norms == 0 && pass + 1 == passes, "{command}: {line}");
        }
        for part in parts {
            let text = succeeds(directory, &format!("{command} {part} --report run.html"));
            assert!(text.contains("the report is in run.html"), "{text}");
        }
        assert!(log == log_of(&directory.join("run.jsonl")), "{command}");
        let page = fs::read_to_string(directory.join("run.html")).unwrap();
        assert!(page.contains("Finished: pass") && !page.contains("http-equiv"), "{command}");
        assert_eq!(
            page.matches("<tr><th scope=\"row\">").count(),
            passes + page.matches("class=\"right\"").count() + 1
        );
    }

    // A run that fails leaves a page that does not wait.
    let command = "digits module --hidden 4 --loss softmax --raw-pixels --epsilon 1e300 --passes 3 --report run.html";
    let command = format!("{command} --data {few}");
    fails(directory, &command, 1, "the loss is");
    let page = fs::read_to_string(directory.join("run.html")).unwrap();
    assert!(page.contains("stopped before its end") && !page.contains("http-equiv"));
}
