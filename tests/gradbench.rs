//! The GradBench example as GradBench runs it: lines of JSON in, lines of JSON out. The answers to small inputs are those of
//! PyTorch (`gradbench.py`); what is no message, no evaluation or no input is refused, and the tool goes on.

use std::env;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

/// Returns the tool's answers to these lines.
fn answers(lines: &[String]) -> Vec<Value> {
    let tests = env::current_exe().unwrap();
    let examples = tests.parent().unwrap().parent().unwrap().join("examples");
    let example = examples.join("gradbench").with_extension(env::consts::EXE_EXTENSION);
    assert!(example.exists(), "{} is not built: run `cargo build --examples` first", example.display());
    let mut tool = Command::new(example);
    let mut tool = tool.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let (mut input, text) = (tool.stdin.take().unwrap(), lines.join("\n") + "\n");
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = tool.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "{}", output.status);
    let answers: Vec<Value> =
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), lines.len(), "an answer for each message");
    answers
}

fn evaluate(id: usize, module: &Value, function: &Value, input: &Value) -> String {
    json!({ "id": id, "kind": "evaluate", "module": module, "function": function, "input": input }).to_string()
}

/// Appends all numbers of a value, and its structure as text.
fn flatten(value: &Value, numbers: &mut Vec<f64>) -> String {
    match value {
        Value::Number(number) => {
            numbers.push(number.as_f64().unwrap());
            "x".into()
        }
        Value::Array(values) => {
            let parts: Vec<String> = values.iter().map(|value| flatten(value, numbers)).collect();
            format!("[{}]", parts.join(","))
        }
        Value::Object(fields) => {
            let parts: Vec<String> =
                fields.iter().map(|(name, value)| format!("{name}:{}", flatten(value, numbers))).collect();
            format!("{{{}}}", parts.join(","))
        }
        other => other.to_string(),
    }
}

/// Checks an output. Its numbers are right to 1e-12 of the largest.
fn assert_close(found: &Value, expected: &Value, what: &str) {
    let (mut found_numbers, mut numbers) = (Vec::new(), Vec::new());
    let (shape, expected_shape) = (flatten(found, &mut found_numbers), flatten(expected, &mut numbers));
    assert_eq!(shape, expected_shape, "{what}");
    let largest = numbers.iter().fold(0.0, |largest: f64, x| largest.max(x.abs()));
    for (position, (found, expected)) in found_numbers.iter().zip(&numbers).enumerate() {
        let gap = (found - expected).abs();
        assert!(gap <= 1e-12 * largest, "{what}, number {position}: expected {expected}, found {found}");
    }
}

/// Returns the recorded cases.
fn cases() -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files/gradbench.jsonl");
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_evaluation_gives_pytorch_s_answer() {
    let cases = cases();
    let lines: Vec<String> = cases
        .iter()
        .enumerate()
        .map(|(id, case)| evaluate(id, &case["module"], &case["function"], &case["input"]))
        .collect();
    for (id, (answer, case)) in answers(&lines).iter().zip(&cases).enumerate() {
        let what = format!("{} {}, case {id}", case["module"], case["function"]);
        assert_eq!((&answer["id"], &answer["success"]), (&json!(id), &json!(true)), "{what}: {answer}");
        assert_close(&answer["output"], &case["output"], &what);
        let timings = answer["timings"].as_array().unwrap();
        let runs = case["input"]["min_runs"].as_u64().map_or(1, |runs| runs as usize);
        assert_eq!(timings.len(), runs, "{what}: as many timings as runs");
        for timing in timings {
            assert_eq!(timing["name"], "evaluate", "{what}");
            assert!(timing["nanoseconds"].as_u64().is_some(), "{what}: {timing}");
        }
    }
    // Every function has a case.
    let names = cases.iter().map(|case| (case["module"].as_str().unwrap(), case["function"].as_str().unwrap()));
    let names: std::collections::BTreeSet<(&str, &str)> = names.collect();
    assert_eq!(names.iter().filter(|(module, _)| *module != "particle").count(), 24, "{names:?}");
}

#[test]
fn a_program_is_used_again_only_where_it_serves() {
    // The same shapes with other numbers, other shapes, another number of steps, and inputs that take another branch.
    let x = |x: &[f64], s: usize| json!({ "x": x, "s": s, "min_runs": 1, "min_seconds": 0 });
    let camera = |r: f64| {
        json!({ "n": 1, "m": 1, "p": 1, "cam": [r, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0], "x": [1, 2, 4], "w": 1,
            "feat": [0, 0], "min_runs": 1, "min_seconds": 0 })
    };
    let (ode, primal, ba, objective) = (json!("ode"), json!("primal"), json!("ba"), json!("objective"));
    let half_turn = std::f64::consts::PI;
    let lines = [
        evaluate(0, &ode, &primal, &x(&[1.0, 2.0], 1)),
        evaluate(1, &ode, &primal, &x(&[2.0, 3.0], 1)),
        evaluate(2, &ode, &primal, &x(&[1.0], 1)),
        evaluate(3, &ode, &primal, &x(&[1.0], 7)),
        evaluate(4, &ba, &objective, &camera(half_turn)),
        evaluate(5, &ba, &objective, &camera(0.0)),
        evaluate(6, &ba, &objective, &camera(half_turn)),
    ];
    let answers = answers(&lines);
    // y_0 = x_0 t and y_1 = x_0 x_1 t²/2, which the method solves exactly, at t = 2.
    for (answer, expected) in answers.iter().zip([json!([2, 4]), json!([4, 12]), json!([2]), json!([2])]) {
        assert_close(&answer["output"], &expected, "ode");
    }
    // The point (1, 2, 4) turned by half a turn about the first axis is (1, -2, -4).
    for (answer, errors) in answers[4..].iter().zip([[-0.25, 0.5], [0.25, 0.5], [-0.25, 0.5]]) {
        assert_close(&answer["output"]["reproj_error"]["elements"], &json!(errors), "ba");
    }
}

#[test]
fn the_protocol_s_messages_are_answered() {
    let lines = [
        json!({ "id": 0, "kind": "start", "eval": "lse", "config": {} }),
        json!({ "id": 1, "kind": "define", "module": "lse" }),
        json!({ "id": 2, "kind": "define", "module": "hessian" }),
        json!({ "id": 3, "kind": "analysis", "of": 2, "valid": false, "error": "no" }),
    ];
    let found = answers(&lines.map(|line| line.to_string()));
    assert_eq!(found[0], json!({ "id": 0, "tool": "tapegrad" }));
    assert_eq!(found[1], json!({ "id": 1, "success": true }));
    assert_eq!(found[2], json!({ "id": 2, "success": false, "error": "unknown module \"hessian\"" }));
    assert_eq!(found[3], json!({ "id": 3 }));
    let listed = include_str!("../examples/gradbench/evals.txt").lines();
    let define = |module: &str| json!({ "id": 0, "kind": "define", "module": module }).to_string();
    let defined = answers(&listed.map(define).collect::<Vec<_>>());
    assert_eq!(defined.len(), 12);
    assert!(defined.iter().all(|answer| answer["success"] == true), "{defined:?}");
}

#[test]
fn what_is_wrong_is_refused_and_the_tool_goes_on() {
    let message = |module: &str, function: &str, input: Value| {
        let mut input = input;
        if let Value::Object(fields) = &mut input {
            fields.entry("min_runs").or_insert(json!(1));
            fields.entry("min_seconds").or_insert(json!(0));
        }
        evaluate(7, &json!(module), &json!(function), &input)
    };
    let refused = [
        ("{".to_string(), "expected a message in JSON"),
        ("[1, 2]".into(), "kind: expected start, define, evaluate or analysis, found null"),
        (json!({ "id": 7, "kind": "stop" }).to_string(), "kind: expected start"),
        (json!({ "id": 7, "kind": "define" }).to_string(), "module: expected a name, found null"),
        (json!({ "id": 7, "kind": "evaluate", "module": "lse" }).to_string(), "function: expected a name, found null"),
        (message("fft", "primal", json!({})), "unknown module \"fft\""),
        (message("lse", "jacobian", json!({})), "unknown function \"jacobian\" of the module lse"),
        (message("lse", "primal", json!({})), "input: expected the field x"),
        (message("lse", "primal", json!({ "x": 1 })), "x: expected lists of numbers in 1 axes"),
        (message("lse", "primal", json!({ "x": ["1"] })), "x: expected lists of numbers in 1 axes"),
        (message("lse", "gradient", json!({ "x": [] })), "x: expected at least one number, found none"),
        (
            message("lse", "primal", json!({ "x": [1], "min_runs": -1 })),
            "min_runs: expected a whole number from 0, found -1",
        ),
        (message("lse", "primal", json!({ "x": [1], "min_seconds": -1 })), "min_seconds: expected a time, found -1"),
        (message("hello", "square", json!("three")), "input: expected a number, found \"three\""),
        (message("det", "primal", json!({ "A": [1, 2, 3], "ell": 2 })), "A: expected the shape [4], found [3]"),
        (message("det", "gradient", json!({ "A": [], "ell": 40 })), "ell: expected 1 to 11"),
        (message("llsq", "primal", json!({ "x": [1], "n": 1 })), "n: expected 2 points or more, found 1"),
        (
            message("llsq", "primal", json!({ "x": [1], "n": 9e12 })),
            "n times the length of x: expected at most 2e8 numbers",
        ),
        (message("ode", "primal", json!({ "x": [1], "s": 0 })), "x and s: expected at least one equation and one step"),
        (message("ode", "primal", json!({ "x": [1], "s": 1.5 })), "s: expected a whole number from 0, found 1.5"),
        (
            message("ode", "primal", json!({ "x": [1e300, 1e300], "s": 1 })),
            "the result has a number that is not finite",
        ),
        (
            message("kmeans", "cost", json!({ "points": [[1, 2], [3]], "centroids": [[1, 2]] })),
            "points: expected lists of numbers in 2 axes, all of an axis of one length",
        ),
        (
            message("kmeans", "dir", json!({ "points": [[1, 2]], "centroids": [[1]] })),
            "points and centroids: expected lists of the shapes [n, d] and [k, d], found [1, 2] and [1, 1]",
        ),
        (message("saddle", "rr", json!({ "start": [1] })), "start: expected the shape [2], found [1]"),
    ];
    let mut lines: Vec<String> = refused.iter().map(|(line, _)| line.clone()).collect();
    lines.push(message("lse", "primal", json!({ "x": [0, 0] })));
    // Half a case is no case: each field in turn is missing, or is something else.
    for case in cases().iter().filter(|case| !matches!(case["module"].as_str(), Some("hello" | "particle"))) {
        for field in case["input"].as_object().unwrap().keys() {
            for wrong in [None, Some(json!("wrong")), Some(json!([[[1, 2], 3]]))] {
                let mut input = case["input"].clone();
                let fields = input.as_object_mut().unwrap();
                match wrong {
                    Some(wrong) => fields.insert(field.clone(), wrong),
                    None => fields.remove(field),
                };
                lines.push(evaluate(8, &case["module"], &case["function"], &input));
            }
        }
    }
    let answers = answers(&lines);
    for ((_, expected), answer) in refused.iter().zip(&answers) {
        let error = answer["error"].as_str().unwrap_or_else(|| panic!("{expected}: {answer}"));
        assert!(error.starts_with(expected), "expected {expected}, found {error}");
        assert_eq!(answer["success"], false);
        assert!(answer["id"] == 7 || answer["id"].is_null(), "{answer}");
    }
    assert_close(&answers[refused.len()]["output"], &json!(2.0_f64.ln()), "the tool goes on");
    for (line, answer) in lines.iter().zip(&answers).skip(refused.len() + 1) {
        assert_eq!(answer["success"], false, "{line}");
        assert!(answer["error"].is_string(), "{answer}");
        assert_eq!(answer["output"], Value::Null);
    }
}
