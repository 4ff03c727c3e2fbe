//! The Gaussian mixture example as a user runs it: against PyTorch's numbers, its own hand-written gradient and
//! differences; and what it says of files and arguments that are wrong.

use std::path::Path;
use std::process::{Command, Output};
use std::{env, fs};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/files/gmm_2_3_4.txt");

/// Objective and gradient of that file by PyTorch 2.15.
const OBJECTIVE: f64 = 9.879346235729173;
const GRADIENT: [f64; 18] = [
    0.2487571390034563,
    0.6126816800534256,
    -0.861438819056882,
    -2.252429470717453,
    -0.5143774018444679,
    -0.04894620081156037,
    -0.879422782892393,
    0.2962930851583652,
    0.765470340492336,
    -0.736404350515341,
    -1.3236067086560768,
    0.25801616716667186,
    -0.9989415962471645,
    -0.6861129859874514,
    -0.7974804496837657,
    -1.5659088085880069,
    -2.8743728652428526,
    1.4700585799104977,
];

/// Runs the example. `cargo test` builds it before it runs any test.
fn gmm(directory: &Path, words: &[&str]) -> Output {
    let tests = env::current_exe().unwrap();
    let examples = tests.parent().unwrap().parent().unwrap().join("examples");
    let example = examples.join("gmm").with_extension(env::consts::EXE_EXTENSION);
    assert!(example.exists(), "{} is not built: run `cargo build --examples` first", example.display());
    Command::new(example).args(words).current_dir(directory).output().unwrap()
}

fn succeeds(directory: &Path, words: &[&str]) -> String {
    let output = gmm(directory, words);
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn last_line(text: &str) -> serde_json::Value {
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

fn numbers(values: &serde_json::Value) -> Vec<f64> {
    values.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

/// Returns the number that follows these words.
fn number_after(text: &str, words: &str) -> f64 {
    let rest = &text[text.find(words).unwrap_or_else(|| panic!("{words}: {text}")) + words.len()..];
    rest.split_whitespace().next().unwrap().trim_end_matches(',').parse().unwrap()
}

#[test]
fn objective_and_gradient_are_those_of_pytorch() {
    let result = last_line(&succeeds(Path::new("."), &[FILE, "--json"]));
    let objective = result["objective"].as_f64().unwrap();
    assert!((objective - OBJECTIVE).abs() < 1e-13 * OBJECTIVE, "{objective}");
    let gradient = numbers(&result["gradient"]);
    assert_eq!(gradient.len(), GRADIENT.len());
    for (position, (found, expected)) in gradient.iter().zip(GRADIENT).enumerate() {
        assert!((found - expected).abs() < 1e-13 * expected.abs().max(1.0), "{position}: {found} {expected}");
    }
}

#[test]
fn tape_hand_and_differences_agree_at_every_size() {
    for (d, k, n) in [("1", "1", "1"), ("1", "4", "20"), ("5", "1", "30"), ("10", "7", "150"), ("20", "12", "150")] {
        let text = succeeds(Path::new("."), &["--d", d, "--k", k, "--n", n, "--runs", "1"]);
        assert!(number_after(&text, "tape and hand differ by ") < 1e-12, "{text}");
        assert!(number_after(&text, "in the objective, by ") < 1e-12, "{text}");
        // The weight of a single component cannot change: its derivative is 0, and differences of it are rounding alone.
        if k != "1" {
            // Differences are not exact to more digits than this: gradcheck's own tolerance.
            assert!(number_after(&text, "order 1 within ") < 1e-7, "{text}");
        }
        // No node for a point.
        assert!(number_after(&text, " us, ") < 100.0, "{text}");
    }
}

#[test]
fn what_is_saved_is_what_was_drawn() {
    let directory = tempfile::tempdir().unwrap();
    let drawn = succeeds(directory.path(), &["--d", "3", "--k", "2", "--n", "10", "--save", "drawn.txt", "--json"]);
    let read = succeeds(directory.path(), &["drawn.txt", "--json"]);
    assert_eq!(last_line(&drawn), last_line(&read));
    let other = succeeds(directory.path(), &["--d", "3", "--k", "2", "--n", "10", "--seed", "1", "--json"]);
    assert_ne!(last_line(&drawn), last_line(&other));
}

/// Asserts that the example fails with this exit code and one line on standard error that contains this.
fn fails(directory: &Path, words: &[&str], code: i32, expected: &str) {
    let output = gmm(directory, words);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{words:?}: {message}");
    assert!(message.starts_with("error: ") && message.contains(expected), "{words:?}: {message}");
    assert_eq!(message.lines().count(), 1, "{words:?}: {message}");
}

#[test]
fn malformed_files_are_refused_by_line() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let whole = fs::read_to_string(FILE).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let without = |line: usize| [&lines[..line - 1], &lines[line..]].concat().join("\n");
    let replaced = |line: usize, by: &str| [&lines[..line - 1], &[by], &lines[line..]].concat().join("\n");
    let cases = [
        (String::new(), "line 1: expected three whole numbers d k n from 1, found the end of the file"),
        (replaced(1, "2 3"), "line 1: expected three whole numbers d k n from 1, 3 in number, found 2"),
        (replaced(1, "2 0 4"), "line 1: expected three whole numbers d k n from 1, found [2.0, 0.0, 4.0]"),
        (replaced(1, "2 3.5 4"), "line 1: expected three whole numbers"),
        (replaced(1, "2 3 -4"), "line 1: expected three whole numbers"),
        (replaced(1, "900000000 900000000 900000000"), "line 5: expected an alpha, 1 in number, found 2"),
        (replaced(3, "x"), "line 3: expected a finite number, found \"x\""),
        (replaced(6, "NaN 1"), "line 6: expected a finite number, found \"NaN\""),
        (replaced(7, "1e999 1"), "line 7: expected a finite number"),
        (replaced(8, "1 2"), "line 8: expected the root of an inverse covariance, 3 in number, found 2"),
        // What comes next stands in for the missing line, until nothing comes.
        (without(11), "line 15: expected gamma and m, found the end of the file"),
        (without(15), "line 15: expected gamma and m, found the end of the file"),
        (replaced(15, "0 1"), "line 15: expected gamma above 0 and a whole number m from 0, found 0 1"),
        (replaced(15, "1 0.5"), "line 15: expected gamma above 0"),
        (format!("{whole}\n1 2\n"), "line 17: expected the end of the file, found \"1 2\""),
    ];
    for (text, expected) in cases {
        fs::write(directory.join("bad.txt"), &text).unwrap();
        fails(directory, &["bad.txt"], 1, &format!("bad.txt, {expected}"));
    }
    fails(directory, &["none.txt"], 1, "none.txt: ");
    fails(directory, &["."], 1, ".: ");
    // What is beyond all numbers is said to be so, and by whom.
    let icf = lines[7].replacen("0.25", "800", 1);
    fs::write(directory.join("huge.txt"), replaced(8, &icf)).unwrap();
    fails(directory, &["huge.txt"], 1, "the objective or its gradient is not finite: exp made the first infinity");
    // Other ends of line, and empty lines at the end, are as good.
    fs::write(directory.join("dos.txt"), whole.replace('\n', "\r\n") + "\r\n\r\n").unwrap();
    assert!(succeeds(directory, &["dos.txt"]).starts_with("4 points in 2 dimensions, 3 components, 18 parameters"));
}

#[test]
fn wrong_arguments_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    fails(directory, &["--d", "0"], 2, "'0' for '--d <D>': expected a whole number from 1 to 1,000,000");
    fails(directory, &["--runs", "many"], 2, "'many' for '--runs <RUNS>'");
    fails(directory, &["--nonsense"], 2, "unexpected argument '--nonsense'");
    fails(directory, &[FILE, "--k", "3"], 2, "and --d, --k, --n or --seed exclude each other");
    fails(directory, &["--d", "1000000", "--k", "1000000"], 2, "--d, --k, --n: expected k (n + d) d of at most 5e8");
    fails(directory, &["--save", "no/where.txt"], 1, "no/where.txt: expected a directory no to write to");
    assert_eq!(fs::read_dir(directory).unwrap().count(), 0, "nothing was written");
}
