//! Batches, folds, normalization; IDX and CSV files, good and bad.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use ndarray::{Array2, array};
use tapegrad::data::{Batches, Csv, Dataset, Normalization, Samples, load_idx, load_mnist};
use tempfile::TempDir;

fn samples(count: usize) -> Samples<f64> {
    let images = Array2::from_shape_fn((count, 2), |(i, j)| (2 * i + j) as f64);
    Samples::new(images, (0..count).map(|i| i % 3).collect(), 3).unwrap()
}

#[test]
fn batches_are_resumed_at_any_epoch() {
    let weights: Vec<f64> = (0..20).map(f64::from).collect();
    let make = [
        || Batches::new(20, 6, 4),
        || Batches::new(20, 6, 4).with_drop_last(),
        || Batches::weighted(&(0..20).map(f64::from).collect::<Vec<_>>(), 30, 7, 4).unwrap(),
    ];
    for make in make {
        let mut batches = make();
        for epoch in 0..5 {
            assert_eq!(batches.epoch(), epoch);
            let resumed = make().resumed_at(epoch);
            assert!(resumed.iter().eq(batches.iter()));
            batches.shuffle();
        }
    }
    let mut drawn = Batches::weighted(&weights, 19_000, 100, 1).unwrap();
    assert_eq!(drawn.iter().len(), 0); // nothing is drawn yet
    drawn.shuffle();
    assert_eq!(drawn.iter().len(), 190);
    for (row, &weight) in weights.iter().enumerate() {
        // Binomial, with the mean 100 weight; five standard deviations.
        let count = drawn.iter().flatten().filter(|&&drawn| drawn == row).count() as f64;
        assert!((count - 100.0 * weight).abs() <= 5.0 * (100.0 * weight).sqrt(), "{row}: {count}");
    }
    for (weights, found) in [(&[1.0, -1.0][..], "-1 in row 1"), (&[f64::NAN], "NaN in row 0"), (&[0.0, 0.0], "")] {
        let error = Batches::weighted(weights, 3, 2, 0).unwrap_err().to_string();
        let expected = "weights: expected finite numbers of at least 0, and one above 0, found ";
        assert!(error.starts_with(&format!("{expected}{found}")), "{error}");
    }
    let sizes = |batches: Batches| batches.iter().map(<[usize]>::len).collect::<Vec<_>>();
    assert_eq!(sizes(Batches::new(12, 4, 0).with_drop_last()), [4, 4, 4]);
    assert_eq!(sizes(Batches::new(3, 4, 0).with_drop_last()), [0; 0]);
}

#[test]
fn consecutive_rows_are_not_copied() {
    let samples = samples(10);
    let (mut images, mut labels) = (Array2::zeros((0, 0)), Vec::new());
    let (view, classes) = samples.batch(&[4, 5, 6], &mut images, &mut labels);
    assert_eq!(view.as_ptr(), &raw const samples.images()[[4, 0]]);
    assert_eq!(classes.as_ptr(), &raw const samples.labels()[4]);
    assert!(images.is_empty());
    for rows in [&[4, 6, 5][..], &[4, 5, 5], &[9], &[]] {
        let (view, classes) = samples.batch(rows, &mut images, &mut labels);
        let expected: Vec<f64> = rows.iter().map(|&row| 2.0 * row as f64).collect();
        assert_eq!(view.column(0).to_vec(), expected);
        assert_eq!(classes, rows.iter().map(|row| row % 3).collect::<Vec<_>>());
    }
}

#[test]
fn folds_partition_the_samples() {
    let samples = samples(23);
    for k in [2, 5, 23] {
        let mut seen = Vec::new();
        for (train, test) in samples.k_fold(k, 3).unwrap() {
            assert!(test.len() == 23 / k || test.len() == 23 / k + 1);
            let rows = |samples: &Samples<f64>| samples.images().column(0).to_vec();
            let mut both = [rows(&train), rows(&test)].concat();
            both.sort_by(f64::total_cmp);
            assert_eq!(both, samples.images().column(0).to_vec());
            seen.extend(rows(&test));
        }
        seen.sort_by(f64::total_cmp);
        assert_eq!(seen, samples.images().column(0).to_vec());
    }
    let folds = |seed| samples.k_fold(4, seed).unwrap().map(|(_, test)| test).collect::<Vec<_>>();
    assert_eq!(folds(1), folds(1));
    assert_ne!(folds(1), folds(2));
    for k in [0, 1, 24] {
        let error = samples.k_fold(k, 0).map(|_| ()).unwrap_err().to_string();
        assert_eq!(error, format!("folds: expected from 2 to 23, the number of samples, found {k}"));
    }
}

#[test]
fn normalization_knows_the_training_samples_alone() {
    // A large mean: the sum of squares alone would lose the variance.
    let train = Samples::new(array![[1e9 + 1.0, 4.0], [1e9 + 3.0, 4.0]], vec![0, 1], 2).unwrap();
    let normalized = |test: f64| {
        let test = Samples::new(array![[test, 4.5]], vec![0], 2).unwrap();
        Dataset::new(train.clone(), test).unwrap().normalized()
    };
    let (data, normalization) = normalized(1e9);
    assert_eq!(data.train().images(), array![[-1.0, 0.0], [1.0, 0.0]]);
    assert_eq!(data.test().images(), array![[-2.0, 0.5]]);
    assert_eq!(normalized(-7.0).1, normalization);
    let error = normalization.apply(&Samples::new(array![[1.0]], vec![0], 1).unwrap()).unwrap_err().to_string();
    assert_eq!(error, "images: expected 2 pixels, as the statistics have, found 1");
    let many = samples(1000);
    let images = Normalization::of(&many).apply(&many).unwrap().images().clone();
    assert!(images.mean_axis(ndarray::Axis(0)).unwrap().iter().all(|mean| mean.abs() < 1e-12));
    assert!(images.var_axis(ndarray::Axis(0), 0.0).iter().all(|variance| (variance - 1.0).abs() < 1e-12));
    let error = Dataset::new(many.clone(), Samples::new(array![[1.0]], vec![0], 1).unwrap()).unwrap_err().to_string();
    let expected = "expected images of 2 pixels in 3 classes, found images of 1 pixels in 1 classes";
    assert_eq!(error, format!("test samples: {expected}"));
}

/// An IDX file: type, lengths, data.
fn idx(number_type: u8, lengths: &[u32], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, number_type, lengths.len() as u8];
    lengths.iter().for_each(|length| bytes.extend(length.to_be_bytes()));
    [&bytes, data].concat()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

struct Pair {
    _directory: TempDir,
    images: PathBuf,
    labels: PathBuf,
}

impl Pair {
    fn new(images: &[u8], labels: &[u8]) -> Self {
        let directory = TempDir::new().unwrap();
        let (i, l) = (directory.path().join("images"), directory.path().join("labels"));
        fs::write(&i, images).unwrap();
        fs::write(&l, labels).unwrap();
        Self { _directory: directory, images: i, labels: l }
    }

    fn load(&self) -> tapegrad::Result<Samples<f64>> {
        load_idx(&self.images, &self.labels)
    }
}

#[test]
fn idx_files_of_all_types() {
    let labels = idx(8, &[2], &[1, 0]);
    let types: [(u8, Vec<u8>, [f64; 2]); 6] = [
        (0x08, vec![0, 255], [0.0, 255.0]),
        (0x09, vec![0x80, 1], [-128.0, 1.0]),
        (0x0b, vec![0x80, 0, 1, 0], [-32768.0, 256.0]),
        (0x0c, vec![0xff, 0xff, 0xff, 0xff, 0, 1, 0, 0], [-1.0, 65536.0]),
        (0x0d, [0.5_f32, -2.0].iter().flat_map(|x| x.to_be_bytes()).collect(), [0.5, -2.0]),
        (0x0e, [0.1_f64, -2.0].iter().flat_map(|x| x.to_be_bytes()).collect(), [0.1, -2.0]),
    ];
    for (number_type, data, expected) in types {
        for lengths in [&[2, 1][..], &[2, 1, 1], &[2, 1, 1, 1]] {
            let images = idx(number_type, lengths, &data);
            for (images, labels) in [(images.clone(), labels.clone()), (gzip(&images), gzip(&labels))] {
                let samples = Pair::new(&images, &labels).load().unwrap();
                assert_eq!(samples.images().column(0).to_vec(), expected);
                assert_eq!(samples.labels(), [1, 0]);
            }
        }
    }
}

#[test]
fn bad_idx_files_are_refused() {
    let (images, labels) = (idx(8, &[2, 2], &[1, 2, 3, 4]), idx(8, &[2], &[1, 0]));
    let refuse = |images: &[u8], expected: &str| {
        let pair = Pair::new(images, &labels);
        let error = pair.load().unwrap_err().to_string();
        assert_eq!(error, format!("{}: expected {expected}", pair.images.display()));
    };
    refuse(&[], "an IDX file, found an empty file");
    refuse(b"PK\x03\x04", "an IDX file, found a file that does not begin like one");
    refuse(&images[..7], "an IDX file, found a header that is cut off");
    refuse(&images[..14], "the 4 bytes of an array of shape [2, 2], found 2 bytes");
    refuse(&[&images[..], &[0]].concat(), "the 4 bytes of an array of shape [2, 2], found more");
    refuse(&idx(10, &[2, 2], &[0; 4]), "an IDX file, found numbers of type 0x0a");
    refuse(&idx(8, &[u32::MAX; 3], &[]), "an IDX file, found the shape [4294967295, 4294967295, 4294967295]");
    let promise = "the 4611686014132420609 bytes of an array of shape [2147483647, 2147483647], found 0 bytes";
    refuse(&idx(8, &[2147483647; 2], &[]), promise);
    refuse(&gzip(&idx(8, &[2147483647; 2], &[])), promise);
    refuse(&idx(8, &[2], &[1, 2]), "an array of shape (samples, pixels), found shape [2]");
    let mut damaged = gzip(&images);
    damaged.truncate(damaged.len() - 10);
    let pair = Pair::new(&damaged, &labels);
    assert!(pair.load().unwrap_err().to_string().contains("an IDX file, found damaged data ("));
    assert!(Pair::new(&images, &idx(8, &[3], &[0; 3])).load().unwrap_err().to_string().contains("expected 2 labels"));
}

#[test]
fn mnist_is_a_directory_of_four_files() {
    let directory = TempDir::new().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(directory.path().join(name), bytes).unwrap();
    write("train-images-idx3-ubyte.gz", &gzip(&idx(8, &[2, 1, 2], &[1, 2, 3, 4])));
    write("train-labels-idx1-ubyte", &idx(8, &[2], &[0, 2]));
    write("t10k-images-idx3-ubyte", &idx(8, &[1, 1, 2], &[5, 6]));
    let error = load_mnist::<f32>(directory.path()).unwrap_err().to_string();
    assert!(error.contains("t10k-labels-idx1-ubyte: cannot be read"), "{error}");
    write("t10k-labels-idx1-ubyte.gz", &gzip(&idx(8, &[1], &[1])));
    let data = load_mnist::<f32>(directory.path()).unwrap();
    assert_eq!((data.train().classes(), data.test().classes()), (3, 3));
    assert_eq!(data.test().images(), array![[5.0, 6.0]]);
}

fn csv(text: &str) -> (TempDir, PathBuf) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("a.csv");
    fs::write(&path, text).unwrap();
    (directory, path)
}

#[test]
fn csv_files() {
    let (_directory, path) = csv("a,\"the \"\"b\"\"\",kind\r\n1,2,10\r\n-0.5,1e3,9\r\n\r\n7,8,10\r\n");
    let (samples, names) = Csv::new().samples::<f32>(&path, "kind").unwrap();
    assert_eq!(samples.images(), array![[1.0, 2.0], [-0.5, 1000.0], [7.0, 8.0]]);
    assert_eq!((samples.labels(), names), (&[1, 0, 1][..], vec!["9".to_string(), "10".to_string()]));
    let (names, table) = Csv::new().table::<f64>(&path).unwrap();
    assert_eq!(names, ["a", "the \"b\"", "kind"]);
    assert_eq!(table.column(2).to_vec(), [10.0, 9.0, 10.0]);

    let refuse = |text: &str, expected: &str| {
        let (_directory, path) = csv(text);
        let error = Csv::new().samples::<f32>(&path, "y").unwrap_err().to_string();
        assert_eq!(error.strip_prefix(&format!("{}", path.display())).unwrap(), expected);
    };
    refuse("", ": expected at least one line of numbers, found none");
    refuse("x,y\n", ": expected at least one line of numbers, found none");
    refuse("a,b\n1,2\n", ": expected a column y, found the columns a, b");
    refuse("x,y\n1,2\n3\n", ", line 3: expected 2 columns, found 1");
    refuse("x,y\n1,2\nz,4\n", ", line 3, column x: expected a finite number, found `z`");
    refuse("x,y\n1,2\ninf,4\n", ", line 3, column x: expected a finite number, found `inf`");
    refuse("x,y\n1,2\n1e39,4\n", ": expected finite numbers of type f32, found 1e39 in row 1, column 0");
    refuse("y\n1\n", ": expected at least one image with at least one pixel, found shape [1, 0]");
    let (_directory, path) = csv("x,y\n1,2\n");
    fs::write(&path, b"x,y\n\xff,2\n").unwrap();
    assert!(Csv::new().table::<f32>(&path).unwrap_err().to_string().contains("expected a CSV file, found CSV"));
    assert!(Csv::new().table::<f32>("no/such/file").unwrap_err().to_string().contains("cannot be read"));
}
