//! Samples that stay in their files: rows are read from their offset, and the rest of the file is left alone.

use std::fs::{self, File};
use std::path::Path;

use ndarray::{Array, Array2, Dimension, ShapeBuilder, array};
use ndarray_npy::{WritableElement, write_npy};
use tapegrad::chunks::{Chunks, Rows};
use tapegrad::data::{Samples, StoredSamples, load_data, open_data};
use tapegrad::nn::SoftmaxCrossEntropy;
use tapegrad::{Error, Param};
use tempfile::TempDir;

const DIGITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/digits178");

fn write<T: WritableElement, D: Dimension>(directory: &TempDir, name: &str, array: &Array<T, D>) {
    write_npy(directory.path().join(name), array).expect("the file is written");
}

fn open(directory: &TempDir) -> tapegrad::Result<StoredSamples<f64>> {
    StoredSamples::open(directory.path().join("x.npy"), directory.path().join("y.npy"))
}

/// Images of 5 pixels and their labels, in files of their own.
fn files(rows: usize) -> (TempDir, Samples<f64>) {
    let directory = tempfile::tempdir().expect("a directory is made");
    let images = Array2::from_shape_fn((rows, 5), |(row, column)| (row * 10 + column) as f64);
    let labels: Vec<i64> = (0..rows as i64).map(|row| row % 3).collect();
    write(&directory, "x.npy", &images);
    write(&directory, "y.npy", &Array::from(labels.clone()));
    let labels = labels.iter().map(|&label| label as usize).collect();
    (directory, Samples::new(images, labels, 3).expect("they are samples"))
}

fn message<T>(result: tapegrad::Result<T>) -> String {
    let error = result.err().expect("this must fail").to_string();
    error.rsplit('/').next().expect("the rest").to_string()
}

#[test]
fn rows_are_those_of_the_whole_file_in_any_order_and_number_type() {
    let (directory, samples) = files(50);
    let by_row = samples.images();
    // A file in Fortran's order has column after column.
    let mut by_column = Array2::zeros((50, 5).f());
    by_column.assign(by_row);
    for form in 0..5 {
        match form {
            0 => write(&directory, "x.npy", by_row),
            1 => write(&directory, "x.npy", &by_column),
            2 => write(&directory, "x.npy", &by_column.mapv(|pixel| pixel as f32)),
            // Pixels modulo 256.
            3 => write(&directory, "x.npy", &by_row.mapv(|pixel| pixel as u64 as u8)),
            _ => write(&directory, "y.npy", &samples.one_hot().mapv(|label| label as u8)),
        }
        let stored = open(&directory).expect("they are samples");
        assert_eq!((stored.len(), stored.width(), stored.classes()), (50, 5, 3));
        for rows in [0..1, 0..50, 7..31, 49..50] {
            let (read, numbers) = (stored.read(rows.clone()).expect("it reads"), rows.clone().collect::<Vec<_>>());
            let expected = samples.select(&numbers);
            let pixels =
                if form >= 3 { expected.images().mapv(|pixel| pixel % 256.0) } else { expected.images().clone() };
            assert_eq!((read.images(), read.labels()), (&pixels, expected.labels()), "form {form}, rows {rows:?}");
        }
    }
}

#[test]
fn blocks_of_a_megabyte_make_one_array() {
    // Rows of 320 kB: four blocks.
    let directory = tempfile::tempdir().expect("a directory is made");
    let images = Array2::from_shape_fn((10, 40_000), |(row, column)| (row * 3 + column) as f64);
    write(&directory, "x.npy", &images);
    write(&directory, "y.npy", &Array::from_elem(10, 0_u8));
    let samples = open(&directory).and_then(|stored| stored.read(1..10)).expect("it reads");
    assert_eq!(samples.images(), images.slice(ndarray::s![1.., ..]));
}

#[test]
fn batches_are_read_when_they_are_asked_for() {
    let (directory, samples) = files(20);
    let stored = open(&directory).expect("they are samples");
    let batches: Vec<Samples<f64>> = stored.batches(8).collect::<Result<_, _>>().expect("they read");
    let together: Vec<f64> = batches.iter().flat_map(|batch| batch.images().iter().copied()).collect();
    assert_eq!(batches.iter().map(Samples::len).collect::<Vec<_>>(), [8, 8, 4]);
    assert_eq!(together, samples.images().iter().copied().collect::<Vec<_>>());
    // The second half of the file goes away: what is in front of it is still read.
    let file = File::options().write(true).open(directory.path().join("x.npy")).expect("it is there");
    let size = file.metadata().expect("it is there").len();
    file.set_len(size - 10 * 5 * 8).expect("it is cut off");
    assert_eq!(stored.read(2..10).expect("it reads"), samples.select(&(2..10).collect::<Vec<_>>()));
    assert!(matches!(stored.read(2..11), Err(Error::Read { .. })));
}

#[test]
fn chunks_that_read_their_own_rows_have_the_bits_of_chunks_in_memory() {
    let whole = load_data::<f64>(DIGITS).expect("the digits are there");
    let stored = open_data::<f64>(DIGITS).expect("the digits are there");
    let (rows, width) = (300, stored.train().width());
    let gradient = |read: &(dyn Fn(std::ops::Range<usize>) -> tapegrad::Result<Samples<f64>> + Sync)| {
        let w = Param::new(Array2::from_shape_fn((width, 3), |(row, column)| ((row + column) % 5) as f64 * 1e-4));
        let loss = Chunks::new(64).try_accumulate_gradients(Rows::mean(rows), |tape, rows| {
            let samples = read(rows)?;
            let scores = tape.constant(samples.images()).matmul(tape.param(&w));
            Ok::<_, Error>(SoftmaxCrossEntropy::new().record_labels(samples.labels(), scores))
        });
        (loss.expect("it reads").to_bits(), w.grad().expect("reached").to_owned())
    };
    let in_memory = gradient(&|rows| Ok(whole.train().select(&rows.collect::<Vec<_>>())));
    assert_eq!(gradient(&|rows| stored.train().read(rows)), in_memory);
}

#[test]
fn a_message_names_the_row_of_the_file() {
    let (directory, samples) = files(30);
    let mut images = samples.images().clone();
    images[[17, 3]] = f64::NAN;
    write(&directory, "x.npy", &images);
    let stored = open(&directory).expect("the header is good");
    assert!(stored.read(0..17).is_ok());
    assert_eq!(message(stored.read(10..20)), "x.npy: expected finite numbers, found NaN in row 17, column 3");
    let mut labels = samples.one_hot();
    labels[[5, 0]] = 1.0;
    write(&directory, "y.npy", &labels);
    let found = message(open(&directory).and_then(|stored| stored.read(4..8)));
    assert!(found.starts_with("y.npy: expected one-hot rows") && found.ends_with("in row 5"), "{found}");
}

#[test]
fn files_that_do_not_fit_are_refused_when_they_are_opened() {
    let (directory, _) = files(4);
    let found = |name: &str, expected: &str| {
        let error = message(open(&directory));
        assert_eq!(error, format!("{name}: {expected}"));
    };
    write(&directory, "y.npy", &array![0_u8, 1, 2]);
    found("y.npy", "expected 4 labels, one for each image of x.npy, found 3 labels");
    write(&directory, "y.npy", &array![0.0, 1.0, 0.5, 1.0]);
    found("y.npy", "expected labels that are whole numbers from 0 to 999,999, found 0.5 in row 2");
    write(&directory, "x.npy", &Array2::<f64>::zeros((4, 0)));
    found("x.npy", "expected at least one image with at least one pixel, found shape [4, 0]");
    write(&directory, "x.npy", &array![1.0, 2.0]);
    found("x.npy", "expected an array of shape (samples, pixels), found shape [2]");
    fs::write(directory.path().join("x.npy"), b"\x93NUMPY").expect("it is written");
    found("x.npy", "expected an .npy file, found a header that is cut off");
    assert!(matches!(open_data::<f64>(Path::new("no/such/directory")), Err(Error::Read { .. })));
    for name in ["x", "y", "xt", "yt"] {
        fs::copy(format!("{DIGITS}/{name}.npy"), directory.path().join(format!("{name}.npy"))).expect("it is copied");
    }
    write(&directory, "xt.npy", &Array2::<f64>::zeros((627, 5)));
    let error = message(open_data::<f64>(directory.path()));
    assert_eq!(error, "xt.npy: expected images of 784 pixels, as in x.npy, found 5 pixels");
}

#[test]
#[should_panic(expected = "read: expected a range of at least one row, among 4, found 3..5")]
fn rows_behind_the_last_are_a_bug() {
    let (directory, _) = files(4);
    let _ = open(&directory).expect("they are samples").read(3..5);
}
