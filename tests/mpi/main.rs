//! Gradients over several processes: the same bits for any number of them, and no run that hangs.
//!
//! Each test starts `mpirun` with this very program, whose ignored test `act` plays a part on every rank. Run it with
//! `cargo test --features mpi,rayon --test mpi`. Without `mpirun` every test fails and says so.

mod acts;
mod run;

use std::time::Duration;

use run::{Run, run};

#[test]
#[ignore = "a part of the other tests: it runs under mpirun"]
fn act() {
    acts::act();
}

/// Every rank has written the same text.
#[track_caller]
fn same_on_all(run: &Run) -> &str {
    assert!(run.succeeded, "{run:?}");
    assert!(run.said.iter().all(|said| *said == run.said[0] && !said.is_empty()), "{:?}", run.said);
    &run.said[0]
}

/// The run has failed soon, and each rank has said the expected words.
#[track_caller]
fn all_fail(act: &str, expected: &[&str]) {
    let run = run(act, expected.len(), &[]);
    assert!(!run.succeeded && run.time < Duration::from_secs(30), "{run:?}");
    assert_eq!(run.said, expected, "{run:?}");
}

#[test]
fn parameters_have_the_same_bits_on_any_number_of_ranks_and_threads() {
    let alone = run("descend", 1, &[("THREADS", "1")]);
    let expected = same_on_all(&alone);
    assert_eq!(expected.lines().count(), 4, "two number types, by tape and by hand: {expected}");
    for ranks in [1, 2, 3, 4] {
        for threads in ["1", "2"] {
            let run = run("descend", ranks, &[("THREADS", threads)]);
            assert_eq!(same_on_all(&run), expected, "{ranks} ranks of {threads} threads");
        }
    }
}

#[test]
fn a_parameter_of_some_rows_has_the_gradient_of_one_process() {
    for ranks in [1, 2, 4] {
        assert_eq!(same_on_all(&run("reach", ranks, &[])), "[0, 6] [-0.0] None");
    }
}

#[test]
fn more_parameters_than_a_record_has_bits_for() {
    let alone = run("many", 1, &[]);
    assert_eq!(same_on_all(&run("many", 3, &[])), same_on_all(&alone));
}

#[test]
fn everybody_hears_of_an_error() {
    let of_1 = "rank 1: the loss of rows 4..6 is not a finite number";
    all_fail("nan", &[of_1, of_1, of_1, of_1]);
    let of_2 = "rank 2: the gradient of Param w (1,) is not a finite number";
    all_fail("infinite", &[of_2, of_2, of_2]);
    all_fail("file", &["rank 1: row 2 is missing", "row 2 is missing"]);
    all_fail("agree", &["rank 1: no such file", "no such file", "rank 1: no such file"]);
}

#[test]
fn ranks_that_differ_are_told_how() {
    let widths = "rank 1: width of the data: expected 784, as on rank 0, found 783";
    all_fail("widths", &[widths, widths]);
    let shapes = "rank 2: parameters: expected f64 (2,) (3, 4), as on rank 0, found f64 (2,) (3, 5)";
    all_fail("shapes", &[shapes, shapes, shapes]);
    let rows =
        "rank 1: accumulate_gradients: expected 8 rows or numbers in chunks of 2, as on rank 0, found 9 in chunks of 2";
    all_fail("rows", &[rows, rows]);
    let acts = "rank 1: expected agree, as on rank 0, found same";
    all_fail("acts", &[acts, acts]);
}

#[test]
fn a_rank_without_rows_is_refused() {
    let expected = "rows: expected at least one chunk of 2 for each of 4 ranks, found 6 rows, which are 3 chunks";
    all_fail("few", &[expected; 4]);
}

#[test]
fn a_rank_that_has_ended_is_missed_at_once() {
    let gone = "rank 1: it has ended its part of the run";
    all_fail("leave", &[gone, "left", gone]);
}

#[test]
fn a_panic_ends_the_run() {
    let run = run("panic", 2, &[]);
    assert!(!run.succeeded && run.time < Duration::from_secs(30), "{run:?}");
    assert!(run.printed.contains("a bug on rank 1"), "{run:?}");
}

#[test]
fn a_rank_that_dies_ends_the_run_and_the_checkpoint_is_whole() {
    for signal in ["KILL", "TERM"] {
        let run = run("die", 2, &[("SIGNAL", signal)]);
        assert!(!run.succeeded && run.time < Duration::from_secs(30), "{run:?}");
        // Rank 0 writes step after step until it is ended.
        let saved = tapegrad::data::Npz::open(run.directory.path().join("saved.npz"))
            .and_then(|mut npz| npz.array::<f64>("w"))
            .expect("the last checkpoint is whole");
        assert!(saved.len() == 1000 && saved.iter().all(|&w| w == saved[[0]] && w >= 3.0), "{saved}");
    }
}

#[test]
fn a_silent_rank_is_named_and_the_run_ends() {
    let run = run("silent", 3, &[]);
    assert!(!run.succeeded && run.time < Duration::from_secs(30), "{run:?}");
    assert!(run.printed.contains("no message from rank [1] for 1"), "{run:?}");
    assert!(run.printed.contains("at the beginning of agree; the run ends"), "{run:?}");
}
