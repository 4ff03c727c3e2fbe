//! A run to be looked at: the log and the report say what the history says.

use std::fs;
use std::time::Duration;

use ndarray::{Array2, array};
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::Value;
use tapegrad::Param;
use tapegrad::data::{Batches, ConfusionMatrix, predictions};
use tapegrad::nn::{Linear, Module, Sequential, SoftmaxCrossEntropy, Tanh};
use tapegrad::optim::{Optimizer, Sgd};
use tapegrad::report::Report;
use tapegrad::train::{
    ByHand, Descent, Examples, History, Learner, Log, Record, batch_descent, gradient_norms, mini_batch_descent,
};

use crate::common::cases;

type Named = Vec<(String, Param<f64>)>;

type Network = ByHand<Sequential<f64>, SoftmaxCrossEntropy<f64>>;

fn problem() -> (Network, Named, Sgd<f64>, [Examples<f64>; 2]) {
    let mut rng = StdRng::seed_from_u64(3);
    let network =
        Sequential::new().push(Linear::new(4, 3, &mut rng)).push(Tanh::new()).push(Linear::new(3, 2, &mut rng));
    let named = network.named_parameters();
    let sgd = Sgd::new(network.parameters(), 0.1);
    let set = |shift: f64| {
        let x = Array2::from_shape_fn((6, 4), |(row, column)| (row as f64 * 0.7 + column as f64 + shift).sin());
        let y = Array2::from_shape_fn((6, 2), |(row, class)| f64::from(u8::from(row % 2 == class)));
        Examples::new(x, y).unwrap()
    };
    (ByHand::new(network, SoftmaxCrossEntropy::new()), named, sgd, [set(0.0), set(0.3)])
}

/// Returns the history of a short run of mini-batches, and its records.
fn run() -> (History, Vec<Record>) {
    let (mut learner, named, mut sgd, [train, test]) = problem();
    let mut records = Vec::new();
    let descent = Descent::new(4).seed(1).on_record(&named, |record| records.push(record));
    let history = mini_batch_descent(&mut learner, &mut sgd, &train, Some(&test), 4, descent).unwrap();
    (history, records)
}

#[test]
fn the_log_holds_what_the_history_holds() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.jsonl");
    let (history, records) = run();
    let mut log = Log::create(&path).unwrap();
    for (number, record) in records.iter().enumerate() {
        log.write(record).unwrap();
        // Each line is there at once.
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), number + 1);
    }
    let lines: Vec<Value> =
        fs::read_to_string(&path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let passes: Vec<_> = history.passes().iter().chain([history.result()]).collect();
    assert_eq!(lines.len(), 5);
    for (line, pass) in lines.iter().zip(passes) {
        assert_eq!(line["pass"], pass.index());
        assert_eq!(line["train_loss"].as_f64(), Some(pass.train_loss()));
        assert_eq!(line["train_accuracy"].as_f64(), pass.train_accuracy());
        assert_eq!(line["test_loss"].as_f64(), pass.test_loss());
        assert_eq!(line["test_accuracy"].as_f64(), pass.test_accuracy());
        assert_eq!(line["seconds"].as_f64(), Some(pass.time().as_secs_f64()));
        assert_eq!(line["learning_rate"].as_f64(), Some(0.1));
        let names = ["0.weight", "0.bias", "2.weight", "2.bias"];
        let has_norms = names.iter().all(|name| line["gradient_norms"][name].as_f64().is_some_and(|norm| norm > 0.0));
        assert_eq!(has_norms, pass.index() < 4, "{line}");
    }
}

#[test]
fn the_norms_are_those_of_the_first_step_of_a_pass() {
    let (_, records) = run();
    let (mut learner, named, mut sgd, [train, _]) = problem();
    let mut batches = Batches::new(6, 4, 1);
    for record in &records[..4] {
        batches.shuffle();
        for (step, rows) in batches.iter().enumerate() {
            let select = |all: &Array2<f64>| all.select(ndarray::Axis(0), rows);
            let batch = Examples::new(select(train.inputs()), select(train.targets())).unwrap();
            sgd.zero_grad();
            learner.accumulate_gradient(&batch);
            if step == 0 {
                assert_eq!(record.gradient_norms(), gradient_norms(&named));
            }
            sgd.step();
        }
    }
}

#[test]
fn a_descent_on_all_examples_records_each_pass_once_also_if_it_is_ended() {
    let (mut learner, named, mut sgd, [train, _]) = problem();
    let mut records = Vec::new();
    let descent = Descent::new(9)
        .on_pass(|pass| match pass.index() {
            2 => std::ops::ControlFlow::Break(()),
            _ => std::ops::ControlFlow::Continue(()),
        })
        .on_record(&named, |record| records.push(record));
    let history = batch_descent(&mut learner, &mut sgd, &train, None, descent).unwrap();
    let losses: Vec<f64> = records.iter().map(Record::train_loss).collect();
    let passes = history.passes().iter().chain([history.result()]);
    assert_eq!(losses, passes.map(|pass| pass.train_loss()).collect::<Vec<_>>());
    assert!(records.len() == 3 && records.iter().all(|record| record.gradient_norms().len() == 4));
    assert!(named.iter().all(|(_, parameter)| parameter.grad().is_none()));
}

/// Finite numbers and others.
fn numbers() -> impl Strategy<Value = f64> {
    any::<u64>().prop_map(f64::from_bits)
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn a_record_is_read_back_with_the_same_bits(
        pass in any::<usize>(),
        nanoseconds in 0_u64..1 << 50,
        numbers in proptest::collection::vec(numbers(), 6),
        name in ".{0,12}",
    ) {
        let record = Record::new(pass, numbers[0])
            .with_train_accuracy(numbers[1])
            .with_test_loss(numbers[2])
            .with_learning_rate(numbers[3])
            .with_time(Duration::from_nanos(nanoseconds))
            .with_gradient_norms(vec![(name.clone(), numbers[4]), ("last".into(), numbers[5])]);
        let json = record.to_json();
        let read = Record::from_json(&json).expect("it was written by to_json");
        prop_assert_eq!(read.to_json(), json.clone());
        let bits = |x: f64| if x.is_nan() { f64::NAN.to_bits() } else { x.to_bits() };
        prop_assert_eq!(bits(read.train_loss()), bits(numbers[0]));
        prop_assert_eq!(bits(read.gradient_norms()[0].1), bits(numbers[4]));
        prop_assert_eq!((read.pass(), read.time()), (pass, record.time()));
        // And by others.
        let value: Value = serde_json::from_str(&json).expect("it is JSON");
        let number = &value["gradient_norms"][&name];
        match number.as_f64() {
            Some(number) => prop_assert_eq!(number.to_bits(), numbers[4].to_bits()),
            None => prop_assert!(["NaN", "Infinity", "-Infinity"].contains(&number.as_str().unwrap())),
        }
    }
}

#[test]
fn a_log_goes_on_where_the_run_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.jsonl");
    let losses = |path| {
        let text = fs::read_to_string(path).unwrap();
        text.lines().map(|line| Record::from_json(line).unwrap().train_loss()).collect::<Vec<_>>()
    };
    let mut log = Log::create(&path).unwrap();
    (0..4).for_each(|pass| log.write(&Record::new(pass, pass as f64)).unwrap());
    // A killed writer may leave a part of a line.
    let text = fs::read_to_string(&path).unwrap() + "{\"pass\":4,\"sec";
    fs::write(&path, &text).unwrap();
    let (mut log, before) = Log::resume(&path, 9).unwrap();
    assert_eq!(before.len(), 4);
    log.write(&Record::new(4, 40.0)).unwrap();
    assert_eq!(losses(&path), [0.0, 1.0, 2.0, 3.0, 40.0]);
    let (mut log, before) = Log::resume(&path, 2).unwrap();
    assert_eq!(before, [Record::new(0, 0.0), Record::new(1, 1.0)]);
    log.write(&Record::new(2, 20.0)).unwrap();
    assert_eq!(losses(&path), [0.0, 1.0, 20.0]);

    let (_, before) = Log::resume(directory.path().join("new.jsonl"), 5).unwrap();
    assert!(before.is_empty() && directory.path().join("new.jsonl").exists());
}

#[test]
fn a_file_that_is_no_log_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("poem.txt");
    for text in
        ["Twinkle\n", "Twinkle", "{\"pass\":0,\"seconds\":0.0}\n", "{\"pass\":0,\"seconds\":0.0,\"train_loss\":inf}\n"]
    {
        fs::write(&path, text).unwrap();
        let error = Log::resume(&path, 1).unwrap_err().to_string();
        assert!(error.contains("poem.txt: expected a line of a log, {\"pass\":…}, as line 1, found"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    let error = Log::create(directory.path().join("no/run.jsonl")).unwrap_err().to_string();
    assert!(error.contains("no/run.jsonl: cannot be written"), "{error}");
}

/// Returns what is between each pair of these words.
fn between<'a>(page: &'a str, from: &str, to: &str) -> Vec<&'a str> {
    page.split(from).skip(1).map(|rest| rest.split(to).next().unwrap()).collect()
}

#[test]
fn the_report_holds_every_series_of_the_history_and_loads_nothing() {
    let (history, records) = run();
    let (learner, _, _, [_, test]) = {
        let (mut learner, named, sgd, sets) = problem();
        learner.evaluate(&sets[1]);
        (learner, named, sgd, sets)
    };
    let labels: Vec<usize> = predictions(test.targets()).into_iter().map(Option::unwrap).collect();
    let matrix = ConfusionMatrix::new(learner.output(), &labels);
    let report = Report::new("a & b <run>")
        .with_fact("batch", 4)
        .with_records(&records)
        .with_weights("0.weight", &Array2::from_shape_fn((4, 3), |(row, unit)| row as f64 - unit as f64), [2, 2])
        .with_confusion(&matrix, &["even", "<odd>"]);
    let page = report.html();
    for forbidden in ["http", "<script", "<link", "@import", "url(", "<run>", "<odd>"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    assert_eq!(page.matches("src=\"data:image/bmp;base64,").count(), 1);
    assert!(page.contains("prefers-color-scheme: dark") && page.contains("Finished: pass 4"));

    // A chart for each quantity, with a line and as many dots as passes for each series.
    let charts = between(&page, "<svg class=\"chart\"", "</svg>\n</figure>");
    let dots: Vec<usize> = charts.iter().map(|chart| chart.matches("<circle").count()).collect();
    assert_eq!(dots, [2 * 5, 2 * 5, 5, 4 * 4]);
    for (chart, what) in charts.iter().zip(["loss", "classified correctly, %", "learning rate", "norm √(Σ g²)"]) {
        assert!(chart.contains(what) && chart.contains(">pass</text>") && chart.contains("role=\"img\""), "{chart}");
    }
    for pass in history.passes().iter().chain([history.result()]) {
        let dot = |name: &str, value: f64| format!("<title>{name}, pass {}: {value:?}</title>", pass.index());
        assert!(charts[0].contains(&dot("training", pass.train_loss())));
        assert!(charts[0].contains(&dot("test", pass.test_loss().unwrap())));
        assert!(charts[1].contains(&dot("training", 100.0 * pass.train_accuracy().unwrap())));
        let row = [pass.train_loss(), pass.test_loss().unwrap(), pass.train_accuracy().unwrap()];
        let row: String = row.iter().map(|value| format!("<td>{value:?}</td>")).collect();
        assert!(page.contains(&format!("<tr><th scope=\"row\">{}</th>{row}", pass.index())));
    }
    for (name, norm) in records.iter().flat_map(Record::gradient_norms) {
        assert!(charts[3].contains(&format!("<title>{name}</title>")) && page.contains(&format!("<td>{norm:?}</td>")));
    }
    let counts: Vec<&str> = between(&page, "style=\"--shade:", "</td>").iter().map(|cell| &cell[7..]).collect();
    assert_eq!(counts, matrix.counts().iter().map(usize::to_string).collect::<Vec<_>>());
}

#[test]
fn a_report_of_a_running_descent_loads_itself_again_until_it_ends() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.html");
    let records: Vec<Record> =
        (0..3).map(|pass| Record::new(pass, 1.0).with_time(Duration::from_secs(10 * pass as u64))).collect();
    Report::new("run").running(8).with_records(&records).write(&path).unwrap();
    let page = fs::read_to_string(&path).unwrap();
    assert!(page.contains("Running: pass 2 of 8 after 20.0 s, about 1 min 0 s left"), "{page}");
    assert_eq!(page.matches("http").count(), page.matches("<meta http-equiv=\"refresh\"").count());
    assert_eq!(page.matches("http-equiv").count(), 1);
    Report::new("run").with_records(&records).write(&path).unwrap();
    assert!(!fs::read_to_string(&path).unwrap().contains("http"));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    assert!(Report::new("empty").html().contains("No pass has ended yet."));
}

#[test]
fn numbers_that_are_not_finite_do_not_break_a_report() {
    let losses = [1.0, f64::NAN, f64::INFINITY, 0.0, -1.0, 1e300];
    let records: Vec<Record> = losses.iter().enumerate().map(|(pass, &loss)| Record::new(pass, loss)).collect();
    let page = Report::new("wild").with_records(&records).with_weights("w", &array![[f64::NAN], [0.0]], [1, 2]).html();
    let charts = between(&page, "<svg class=\"chart\"", "</svg>\n</figure>");
    assert_eq!(charts[0].matches("<circle").count(), 4);
    for attribute in ["d=\"", "cx=\"", "cy=\""] {
        for data in between(charts[0], attribute, "\"") {
            assert!(!data.contains("NaN") && !data.contains("inf"), "{data}");
        }
    }
}

#[test]
#[should_panic(expected = "Report: expected weights of 2 x 3 pixels, found 4 rows")]
fn weights_of_another_size_are_refused() {
    let _ = Report::new("").with_weights("w", &Array2::<f32>::zeros((4, 1)), [2, 3]);
}
