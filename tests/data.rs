//! Files as they come: every accepted form gives the same samples, every fault a message that names file, expectation and
//! finding.

use std::fs;
use std::path::Path;

use ndarray::{Array, Array1, Array2, Array3, Dimension, ShapeBuilder, array};
use ndarray_npy::{WritableElement, write_npy};
use tapegrad::data::{
    Batches, ConfusionMatrix, Dataset, Npz, Samples, accuracy, load_data, load_usps, predictions, save_npz,
};
use tempfile::TempDir;

const DIGITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/digits178");

fn write<N: WritableElement, D: Dimension>(directory: &TempDir, name: &str, array: &Array<N, D>) {
    write_npy(directory.path().join(name), array).expect("the file is written");
}

/// A directory with a small data set that loads.
fn good() -> TempDir {
    let directory = TempDir::new().expect("a directory is made");
    write(&directory, "x.npy", &array![[0u8, 255], [7, 8], [1, 2]]);
    write(&directory, "y.npy", &array![[1u8, 0], [0, 1], [0, 1]]);
    write(&directory, "xt.npy", &array![[3u8, 4]]);
    write(&directory, "yt.npy", &array![[1u8, 0]]);
    directory
}

/// The error of loading, without the directory's own path.
fn error(directory: &TempDir) -> String {
    let error = load_data::<f64>(directory.path()).expect_err("this must not load").to_string();
    let prefix = format!("{}{}", directory.path().display(), std::path::MAIN_SEPARATOR);
    error.strip_prefix(&prefix).unwrap_or_else(|| panic!("{error} does not begin with the file")).to_string()
}

/// The error after a good file was replaced.
fn error_with<N: WritableElement, D: Dimension>(name: &str, array: &Array<N, D>) -> String {
    let directory = good();
    write(&directory, name, array);
    error(&directory)
}

fn error_with_bytes(name: &str, bytes: &[u8]) -> String {
    let directory = good();
    fs::write(directory.path().join(name), bytes).expect("the file is written");
    error(&directory)
}

#[test]
fn the_digits_of_this_repository_load() {
    let data: Dataset<f32> = load_data(DIGITS).expect("the digits are there");
    let count = |samples: &Samples<f32>, class| samples.labels().iter().filter(|&&label| label == class).count();
    assert_eq!([0, 1, 2].map(|class| count(data.train(), class)), [902, 856, 756]);
    assert_eq!([0, 1, 2].map(|class| count(data.test(), class)), [225, 214, 188]);
    assert_eq!((data.train().images().ncols(), data.test().classes()), (784, 3));
    let brightest = data.train().images().iter().fold(0.0, |a: f32, &b| a.max(b));
    assert_eq!(brightest, 255.0);
    // The top left corner of a digit is paper.
    assert!(data.train().images().column(0).iter().all(|&pixel| pixel == 0.0));
}

#[test]
fn every_number_type_and_form_of_label_gives_the_same_samples() {
    let expected: Dataset<f64> = load_data(good().path()).expect("it is good");
    assert_eq!(expected.train().labels(), [0, 1, 1]);
    let images = array![[0.0, 255.0], [7.0, 8.0], [1.0, 2.0]];
    let mut forms = 0;
    for image_form in 0..4 {
        for label_form in 0..8 {
            let directory = good();
            match image_form {
                0 => write(&directory, "x.npy", &images),
                1 => write(&directory, "x.npy", &images.mapv(|pixel| pixel as f32)),
                2 => write(&directory, "x.npy", &images.mapv(|pixel| pixel as u8)),
                _ => {
                    // Column by column.
                    let mut turned = Array2::zeros(images.raw_dim().f());
                    turned.assign(&images);
                    write(&directory, "x.npy", &turned);
                }
            }
            match label_form {
                0 => write(&directory, "y.npy", &array![0i64, 1, 1]),
                1 => write(&directory, "y.npy", &array![0i32, 1, 1]),
                2 => write(&directory, "y.npy", &array![0u8, 1, 1]),
                3 => write(&directory, "y.npy", &array![[0.0f64], [1.0], [1.0]]),
                4 => write(&directory, "y.npy", &array![0.0f32, 1.0, 1.0]),
                5 => write(&directory, "y.npy", &array![[1.0f32, 0.0], [0.0, 1.0], [0.0, 1.0]]),
                6 => write(&directory, "y.npy", &array![[1i64, 0], [0, 1], [0, 1]]),
                _ => {}
            }
            assert_eq!(load_data::<f64>(directory.path()).expect("it loads"), expected, "{image_form} {label_form}");
            forms += 1;
        }
    }
    assert_eq!(forms, 32);
}

#[test]
fn big_endian_files_load() {
    let directory = good();
    let header = "{'descr': '>f4', 'fortran_order': False, 'shape': (1, 2), }";
    let data: Vec<u8> = [3.0f32, 4.0].iter().flat_map(|x| x.to_be_bytes()).collect();
    let bytes = with_header(header, &data);
    fs::write(directory.path().join("xt.npy"), bytes).expect("the file is written");
    let data = load_data::<f64>(directory.path()).expect("it loads");
    assert_eq!(data.test().images(), array![[3.0, 4.0]]);
}

#[test]
fn what_is_missing_is_named() {
    let nowhere = load_data::<f64>("no/such/directory").expect_err("it is not there").to_string();
    let expected = "expected a directory with x.npy, y.npy, xt.npy and yt.npy, found nothing there";
    assert_eq!(nowhere, format!("no/such/directory: {expected}"));
    let file = Path::new(DIGITS).join("x.npy");
    let file = load_data::<f64>(&file).expect_err("it is a file").to_string();
    assert!(file.ends_with("expected a directory with x.npy, y.npy, xt.npy and yt.npy, found a file"), "{file}");
    for name in ["x.npy", "y.npy", "xt.npy", "yt.npy"] {
        let directory = good();
        fs::remove_file(directory.path().join(name)).expect("it was there");
        let found = error(&directory);
        assert!(found.starts_with(&format!("{name}: cannot be read: ")), "{found}");
        fs::create_dir(directory.path().join(name)).expect("a directory is made");
        assert_eq!(error(&directory), format!("{name}: expected an .npy file, found a directory"));
    }
}

#[test]
fn files_that_are_cut_off_or_something_else_are_refused() {
    let whole = fs::read(Path::new(DIGITS).join("x.npy")).expect("it is there");
    for length in [7, 20, 100, 128, 129, whole.len() - 1] {
        let found = error_with_bytes("x.npy", &whole[..length]);
        assert!(found.starts_with("x.npy: expected "), "{length}: {found}");
    }
    let longer = [&whole[..], b"more"].concat();
    let found = error_with_bytes("x.npy", &longer);
    assert!(found.starts_with("x.npy: expected an .npy file, found "), "{found}");
    let text = error_with_bytes("y.npy", b"1,0\n0,1\n");
    assert_eq!(text, "y.npy: expected an .npy file, found a file that does not begin like one");
    assert_eq!(error_with_bytes("y.npy", b""), "y.npy: expected an .npy file, found an empty file");
}

/// The bytes of an `.npy` file of version 1 with this header.
fn with_header(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    let padded = format!("{header:<117}\n");
    bytes.extend((padded.len() as u16).to_le_bytes());
    bytes.extend(padded.bytes());
    bytes.extend(data);
    bytes
}

#[test]
fn a_header_that_promises_more_than_there_is_costs_no_memory() {
    let huge = "(1000000000000, 784)";
    let many = ["1"; 1000].join(", ");
    for (shape, data) in [
        (huge, 0),
        ("(18446744073709551615,)", 0),
        ("(0, 9223372036854775807, 4)", 0),
        ("(0, 2305843009213693952)", 0), // an axis of 2^61 elements of 8 bytes
        ("(3, 2)", 47),
        (&format!("({many}, 2)"), 8),
    ] {
        for header in [
            format!("{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}"),
            format!("{{\"descr\": \"<f8\", \"fortran_order\": False, \"shape\": {shape}}}"),
            format!("{{'descr' : '<f8' , 'fortran_order'\t: False, 'shape' : {shape}}}"),
            format!("{{{:1100}'shape': {shape}, 'fortran_order': True, 'descr': '<f8'}}", ""),
            format!("{{'descr': '<f8', 'fortran_order': False, 'sh\\x61pe': {shape}, }}"),
        ] {
            let found = error_with_bytes("xt.npy", &with_header(&header, &vec![0; data]));
            assert!(found.starts_with("xt.npy: expected the data of an array of shape ("), "{header}: {found}");
            assert!(found.contains("found ") && found.ends_with(" bytes") && found.len() < 200, "{found}");
        }
    }
}

#[test]
fn a_header_that_is_not_clear_is_refused() {
    let long = "x".repeat(1000);
    let nested = ["[", "{", "("].map(|bracket| format!("{{'descr': {}", bracket.repeat(9_000)));
    for header in [
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1, 2), 'shape': (1000000000000, 784)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 784), 'shape': (1, 2)}",
        "{'descr': '<f8', 'fortran_order': False, 'sha' 'pe': (1000000000000, 784)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999999999, 99999999999999999999)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': [1, 2]}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 2)}",
        "{'descr': '<f8', 'fortran_order': Maybe, 'shape': (1, 2)}",
        "{'descr': '<f8', 'fortran_order': False}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1, 2)} {",
        "{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1, 2)}",
        "['descr']",
        "",
        &long,
        &nested[0],
        &nested[1],
        &nested[2],
    ] {
        let found = error_with_bytes("xt.npy", &with_header(header, &[0; 16]));
        assert!(found.starts_with("xt.npy: expected an .npy file, found the header "), "{header}: {found}");
        assert!(found.len() < 150, "{found}");
    }
    for (bytes, expected) in [
        (&b"\x93NUMPY\x01\x00\xff\x00{}"[..], "a header that is cut off"),
        (b"\x93NUMPY\x01\x00\xff\xff{}", "a header of 65535 bytes, more than 10000"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}", "a header of 4294967295 bytes, more than 10000"),
        (b"\x93NUMPY\x03\x00\x01", "a header that is cut off"),
        (b"\x93NUMPY\x04\x00\x02\x00{}", "version 4.0 of the format"),
    ] {
        assert_eq!(error_with_bytes("xt.npy", bytes), format!("xt.npy: expected an .npy file, found {expected}"));
    }
}

#[test]
fn messages_quote_no_more_than_a_line() {
    let mut labels = Array2::zeros((3, 784));
    labels[[1, 0]] = 1u8;
    let found = error_with("y.npy", &labels);
    assert!(found.starts_with("y.npy: expected one-hot rows, a single 1 among 0, found [0.0, "), "{found}");
    assert!(found.ends_with("… in row 0") && found.len() < 150, "{found}");
    let descriptor = "u4".repeat(1000);
    let header = format!("{{'descr': '{descriptor}', 'fortran_order': False, 'shape': (1, 2)}}");
    let found = error_with_bytes("xt.npy", &with_header(&header, &[0; 16]));
    assert!(found.starts_with("xt.npy: expected ") && found.len() < 200, "{found}");
}

#[test]
fn wrong_types_and_ranks_are_named() {
    let found = error_with("x.npy", &array![[1u32, 2], [3, 4], [5, 6]]);
    assert!(found.starts_with("x.npy: expected numbers of type u8, f32, f64, found type "), "{found}");
    assert!(found.contains("<u4"), "{found}");
    let found = error_with("y.npy", &array![true, false, true]);
    assert!(found.starts_with("y.npy: expected numbers of type u8, f32, f64, i32, i64, found type "), "{found}");
    let found = error_with("x.npy", &Array3::<u8>::zeros((3, 28, 28)));
    assert_eq!(found, "x.npy: expected an array of shape (samples, pixels), found shape [3, 28, 28]");
    let found = error_with("xt.npy", &Array1::<f64>::zeros(2));
    assert_eq!(found, "xt.npy: expected an array of shape (samples, pixels), found shape [2]");
    let found = error_with("y.npy", &Array3::<u8>::zeros((3, 2, 1)));
    assert!(
        found.starts_with("y.npy: expected one-hot labels of shape (samples, classes) or whole numbers"),
        "{found}"
    );
}

#[test]
fn counts_and_widths_that_differ_are_named() {
    let found = error_with("y.npy", &array![0u8, 1]);
    assert_eq!(found, "y.npy: expected 3 labels, one for each image of x.npy, found 2 labels");
    let found = error_with("xt.npy", &array![[1u8, 2, 3]]);
    assert_eq!(found, "xt.npy: expected images of 2 pixels, as in x.npy, found 3 pixels");
    let found = error_with("yt.npy", &array![2u8]);
    assert_eq!(found, "yt.npy: expected labels of 2 classes, as in y.npy, found 3 classes");
    let found = error_with("x.npy", &Array2::<u8>::zeros((0, 2)));
    assert_eq!(found, "x.npy: expected at least one image with at least one pixel, found shape [0, 2]");
    let found = error_with("yt.npy", &Array1::<u8>::zeros(0));
    assert_eq!(found, "yt.npy: expected at least one label, found shape [0]");
}

#[test]
fn numbers_that_are_none_are_named_with_their_place() {
    let found = error_with("x.npy", &array![[0.0, 1.0], [2.0, f64::NAN], [4.0, 5.0]]);
    assert_eq!(found, "x.npy: expected finite numbers, found NaN in row 1, column 1");
    let found = error_with("xt.npy", &array![[f32::INFINITY, 0.0]]);
    assert_eq!(found, "xt.npy: expected finite numbers, found inf in row 0, column 0");
}

#[test]
fn a_number_beyond_the_type_that_is_asked_for_is_refused() {
    let directory = good();
    write(&directory, "x.npy", &array![[0.0, 1.0], [1e300, 3.0], [4.0, 5.0]]);
    assert!(load_data::<f64>(directory.path()).is_ok());
    let error = load_data::<f32>(directory.path()).expect_err("this must not load").to_string();
    assert!(error.ends_with("x.npy: expected finite numbers of type f32, found 1e300 in row 1, column 0"), "{error}");
}

#[test]
fn labels_that_are_no_classes_are_named_with_their_row() {
    for (row, text) in [([1u8, 1u8], "[1.0, 1.0]"), ([0, 0], "[0.0, 0.0]"), ([0, 2], "[0.0, 2.0]")] {
        let found = error_with("y.npy", &ndarray::arr2(&[[1u8, 0], row, [0, 1]]));
        assert_eq!(found, format!("y.npy: expected one-hot rows, a single 1 among 0, found {text} in row 1"));
    }
    for (label, text) in [(-1.0, "-1"), (0.5, "0.5"), (f64::NAN, "NaN"), (1e300, &format!("1{:0<59}…", ""))] {
        let found = error_with("y.npy", &array![0.0, 1.0, label]);
        assert_eq!(
            found,
            format!("y.npy: expected labels that are whole numbers from 0 to 999,999, found {text} in row 2")
        );
    }
}

#[test]
fn samples_check_what_they_are_made_of() {
    let error =
        |images: Array2<f64>, labels: &[usize]| Samples::new(images, labels.to_vec(), 2).unwrap_err().to_string();
    assert_eq!(error(array![[1.0]], &[0, 1]), "labels: expected 1, one for each image, found 2");
    assert_eq!(error(array![[1.0]], &[2]), "labels: expected classes below 2, found 2 in row 0");
    assert!(error(Array2::zeros((0, 3)), &[]).starts_with("images: expected at least one"));
}

#[test]
fn equal_seeds_give_equal_batches_and_every_epoch_another_order() {
    let epochs = |seed| {
        let mut batches = Batches::new(100, 32, seed);
        (0..3).map(move |_| {
            batches.shuffle();
            batches.iter().map(<[usize]>::to_vec).collect::<Vec<_>>()
        })
    };
    let (first, again, other) =
        (epochs(1).collect::<Vec<_>>(), epochs(1).collect::<Vec<_>>(), epochs(2).collect::<Vec<_>>());
    assert_eq!(first, again);
    assert_ne!(first, other);
    assert_ne!(first[0], first[1]);
    assert_eq!(first[0].iter().map(Vec::len).collect::<Vec<_>>(), [32, 32, 32, 4]);
}

#[test]
fn arrays_of_an_npz_file_are_read_by_name_and_written_as_a_whole() {
    let directory = TempDir::new().expect("a directory is made");
    let path = directory.path().join("a.npz");
    let (w, b) = (array![[1.5, -2.0], [0.0, 1e300]].into_dyn(), array![3.0].into_dyn());
    save_npz(&path, &[("w", w.view()), ("b", b.view())]).expect("the file is written");
    let mut file = Npz::open(&path).expect("the file is read");
    assert_eq!(file.names(), ["w", "b"]);
    assert_eq!((file.array::<f64>("w").expect("w"), file.array::<f64>("b").expect("b")), (w.clone(), b));
    let message = |error: tapegrad::Error| error.to_string().replace(&path.display().to_string(), "a.npz");
    let missing = file.array::<f64>("v").expect_err("there is no v");
    assert_eq!(message(missing), "a.npz: expected an array v, found the arrays w, b");

    // Written over as a whole, and nothing is left beside it.
    save_npz(&path, &[("w", w.t())]).expect("the file is written");
    assert_eq!(Npz::open(&path).expect("read").array::<f64>("w").expect("w"), w.t());
    assert_eq!(fs::read_dir(directory.path()).expect("a directory").count(), 1);
    let nowhere = directory.path().join("no/where.npz");
    let error = save_npz(&nowhere, &[("w", w.view())]).expect_err("there is no such directory").to_string();
    assert!(error.contains("no/where.npz: cannot be written"), "{error}");

    let bytes = fs::read(&path).expect("the file is read");
    for (content, expected) in [
        (&b""[..], "expected an .npz file, found an empty file"),
        (b"plain text", "expected an .npz file, found 10 bytes of something else"),
        (&bytes[..bytes.len() / 2], "expected an .npz file, found"),
    ] {
        fs::write(&path, content).expect("the file is written");
        let error = Npz::open(&path).map(|_| ()).expect_err("this is not .npz");
        assert!(message(error).starts_with(&format!("a.npz: {expected}")), "{expected}");
    }
    // A byte of the data changed: the checksum tells.
    let mut damaged = bytes.clone();
    let place = damaged.len() / 2;
    damaged[place] ^= 1;
    fs::write(&path, &damaged).expect("the file is written");
    let read = Npz::open(&path).and_then(|mut file| file.array::<f64>("w"));
    assert!(message(read.expect_err("damaged")).contains("a.npz"));
}

#[test]
fn usps_text_is_checked_line_by_line() {
    let directory = TempDir::new().expect("a directory is made");
    let good = "2 3\n1 0 1 2\n0 0.5 2.0 0\n-1\n";
    let load = |train: &str| {
        fs::write(directory.path().join("USPS_train.txt"), train).expect("the file is written");
        fs::write(directory.path().join("USPS_test.txt"), good).expect("the file is written");
        load_usps::<f64>(directory.path())
    };
    let data = load(good).expect("this loads");
    assert_eq!(data.train().images(), array![[0.0, 0.5, 1.0], [0.25, 1.0, 0.0]]);
    assert_eq!((data.train().labels(), data.train().classes()), (&[1, 0][..], 2));
    assert_eq!(load("2 3\r\n1 0 1 2\r\n0 0.5 2.0 0\r\n-1\r\n\r\n").expect("this loads"), data);

    let text = "USPS_train.txt";
    for (train, expected) in [
        ("", "line 1: expected two whole numbers, `classes pixels`, with at most 1,000,000 classes, found ``"),
        ("2\n-1\n", "line 1: expected two whole numbers, `classes pixels`, with at most 1,000,000 classes, found `2`"),
        (
            "2 0\n-1\n",
            "line 1: expected two whole numbers, `classes pixels`, with at most 1,000,000 classes, found `2 0`",
        ),
        ("1000000000000 1\n0 1\n-1\n", "with at most 1,000,000 classes, found `1000000000000 1`"),
        ("10000000000000000000 1\n0 1\n-1\n", "with at most 1,000,000 classes, found `10000000000000000000 1`"),
        ("2 3\n2 0 0 0\n-1\n", "line 2: expected a label below 2, found `2`"),
        ("2 3\nx 0 0 0\n-1\n", "line 2: expected a label below 2, found `x`"),
        ("2 3\n1 0 0\n-1\n", "line 2: expected a label and 3 values, found 2 values"),
        ("2 3\n1 0 0 0 0\n-1\n", "line 2: expected a label and 3 values, found 4 values"),
        ("2 3\n1 0 0 2.5\n-1\n", "line 2: expected values from 0 to 2, found `2.5`"),
        ("2 3\n1 0 0 NaN\n-1\n", "line 2: expected values from 0 to 2, found `NaN`"),
        ("2 3\n1 0 0 0\n", "expected a last line `-1`, found the end of the file after 1 digits"),
        ("2 3\n1 0 0 0\n-1\n1 0 0 0\n", "line 4: expected nothing after the line `-1`, found `1 0 0 0`"),
        ("2 3\n-1\n", "expected at least one line `label v1 v2 …` before the line `-1`, found none"),
        ("2 18446744073709551615\n-1\n", "expected at least one line `label v1 v2 …` before the line `-1`, found none"),
        (
            "2 18446744073709551615\n1 0\n-1\n",
            "line 2: expected a label and 18446744073709551615 values, found 1 values",
        ),
        ("2 4\n1 0 0 0 0\n-1\n", "expected images of 4 pixels, as in the training file, found 3 pixels"),
    ] {
        let error = load(train).expect_err(expected).to_string();
        assert!(error.contains(expected) && (error.contains(text) || error.contains("test")), "{error}\n{expected}");
    }
    let nothing = TempDir::new().expect("a directory is made");
    let error = load_usps::<f64>(nothing.path()).expect_err("there is nothing").to_string();
    assert!(error.ends_with("found neither pair of files"), "{error}");
}

#[test]
fn compressed_npz_digits_load() {
    // Written by `numpy.savez_compressed(file, x=[[0, .5], [1, .25]] as float32, y=[1, 0] as uint8)`.
    let bytes: &[u8] = include_bytes!("files/compressed.npz");
    let directory = TempDir::new().expect("a directory is made");
    for file in ["train.npz", "test.npz"] {
        fs::write(directory.path().join(file), bytes).expect("the file is written");
    }
    let data = load_usps::<f32>(directory.path()).expect("this loads");
    assert_eq!(data.train().images(), array![[0.0, 0.5], [1.0, 0.25]]);
    assert_eq!(data.test().labels(), [1, 0]);
}

#[test]
fn samples_are_split_and_shuffled_by_seed() {
    let images = Array2::from_shape_fn((100, 2), |(i, j)| (2 * i + j) as f64);
    let samples = Samples::new(images, (0..100).map(|i| i % 3).collect(), 3).expect("samples");
    let (train, test) = samples.train_test_split(0.25, 1).expect("two parts");
    assert_eq!((train.len(), test.len(), train.classes()), (75, 25, 3));
    let mut seen: Vec<f64> = train.images().column(0).iter().chain(test.images().column(0)).copied().collect();
    seen.sort_by(f64::total_cmp);
    assert_eq!(seen, (0..100).map(|i| f64::from(2 * i)).collect::<Vec<_>>());
    for (image, &label) in test.images().rows().into_iter().zip(test.labels()) {
        assert_eq!(image[0] as usize / 2 % 3, label, "a label stays with its image");
    }
    assert_eq!(samples.train_test_split(0.25, 1).expect("two parts").1, test);
    assert_ne!(samples.train_test_split(0.25, 2).expect("two parts").1, test);
    assert_ne!(samples.shuffled(0), samples);
    assert_eq!(samples.shuffled(0), samples.shuffled(0));
    for share in [0.0, 0.001, 1.0, -0.5, f64::NAN, f64::INFINITY] {
        assert!(samples.train_test_split(share, 0).is_err(), "{share}");
    }
}

#[test]
fn confusion_counts_what_was_taken_for_what() {
    let scores = array![[2.0, 1.0, 0.0], [0.0, 1.0, 0.5], [0.0, 0.0, f64::NAN], [f64::NAN; 3], [f64::NEG_INFINITY; 3]];
    let labels = [0, 2, 0, 1, 0];
    assert_eq!(predictions(&scores), [Some(0), Some(1), Some(0), None, Some(0)]);
    let matrix = ConfusionMatrix::new(&scores, &labels);
    assert_eq!(matrix.counts(), array![[3, 0, 0], [0, 0, 0], [0, 1, 0]]);
    assert_eq!((matrix.accuracy(), accuracy(&scores, &labels)), (0.6, 0.6));
    assert_eq!((matrix.precision(0), matrix.precision(1), matrix.recall(1)), (1.0, 0.0, 0.0));
    assert!(matrix.precision(2).is_nan(), "nothing was taken for class 2");
}

#[test]
fn a_row_of_minus_infinities_is_taken_for_its_first_column() {
    const NONE: f64 = f64::NEG_INFINITY;
    let scores = array![[NONE, NONE], [f64::NAN, NONE], [NONE, -1.0]];
    assert_eq!(predictions(&scores), [Some(0), Some(1), Some(1)]);
    assert_eq!(accuracy(&scores, &[0, 1, 1]), 1.0);
}

#[test]
fn the_first_of_the_largest_scores_is_taken_in_rows_of_any_length_and_layout() {
    for columns in 1..30 {
        let score = |row: usize, column: usize| match (row * 31 + column * 17) % 11 {
            0 => f64::NAN,
            x => (x / 2) as f64,
        };
        let scores = Array2::from_shape_fn((12, columns), |(row, column)| score(row, column));
        let expected = |row: usize| {
            let numbers = (0..columns).filter(|&column| !score(row, column).is_nan());
            numbers.reduce(|best, column| if score(row, column) > score(row, best) { column } else { best })
        };
        let expected: Vec<Option<usize>> = (0..12).map(expected).collect();
        assert_eq!(predictions(&scores), expected, "{columns} columns");
        assert_eq!(predictions(&scores.t().as_standard_layout().t()), expected, "{columns} columns, by columns");
    }
}

#[test]
fn labels_that_no_memory_holds_as_one_hot_rows_are_refused() {
    let expected =
        "expected labels that are at most 1,000,000,000 numbers in one-hot form, found 1001 of 1000000 classes";
    // Files of a few kilobytes whose one-hot form would take 8 GB.
    let directory = good();
    write(&directory, "x.npy", &Array2::<u8>::zeros((1001, 2)));
    write(&directory, "y.npy", &Array1::<i32>::from_elem(1001, 999_999));
    assert!(error(&directory).ends_with(expected), "{}", error(&directory));
    let few = format!("1000000 1\n{}-1\n", "0 1\n".repeat(2));
    let many = format!("1000000 1\n{}-1\n", "0 1\n".repeat(1001));
    for (train, test) in [(&many, &few), (&few, &many)] {
        fs::write(directory.path().join("train.txt"), train).expect("the file is written");
        fs::write(directory.path().join("test.txt"), test).expect("the file is written");
        let error = load_usps::<f64>(directory.path()).expect_err("too many").to_string();
        assert!(error.ends_with(expected), "{error}");
    }
}

#[test]
fn a_name_that_is_given_twice_is_refused_before_anything_is_written() {
    let directory = TempDir::new().expect("a directory is made");
    let (path, w) = (directory.path().join("a.npz"), array![1.0].into_dyn());
    let error = save_npz(&path, &[("w", w.view()), ("b", w.view()), ("w", w.view())]).expect_err("twice").to_string();
    assert!(error.ends_with("a.npz: expected arrays of different names to write, found `w` twice"), "{error}");
    assert_eq!(fs::read_dir(directory.path()).expect("a directory").count(), 0);
}

#[test]
fn threads_that_write_one_file_do_not_disturb_each_other() {
    let directory = TempDir::new().expect("a directory is made");
    let path = directory.path().join("a.npz");
    let w = Array1::from_elem(10_000, 1.5).into_dyn();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..25).for_each(|_| save_npz(&path, &[("w", w.view())]).expect("the file is written")));
        }
    });
    assert_eq!(Npz::open(&path).expect("read").array::<f64>("w").expect("w"), w);
    assert_eq!(fs::read_dir(directory.path()).expect("a directory").count(), 1);
}

/// The names of the files of a directory.
fn names(directory: &TempDir) -> Vec<String> {
    let files = fs::read_dir(directory.path()).expect("a directory");
    let mut names: Vec<String> =
        files.map(|file| file.expect("a file").file_name().into_string().expect("plain")).collect();
    names.sort();
    names
}

#[test]
fn a_save_removes_what_a_killed_one_left_and_nothing_else() {
    let directory = TempDir::new().expect("a directory is made");
    let path = |name: &str| directory.path().join(name);
    let others = ["a.npz.1.part", "a.npz.1.2.3.part", "a.npz.x.2.part", "b.npz.1.2.part", "a.npz.part", "a.npz.1.2"];
    for name in others.iter().chain(&["a.npz.1.2.part", "a.npz.30.40.part"]) {
        fs::write(path(name), "left behind").expect("the file is written");
    }
    // Another writer is at work: it holds a lock on its file.
    let at_work = fs::File::open(path("a.npz.30.40.part")).expect("it is there");
    at_work.lock().expect("it is free");
    let w = array![1.0, 2.0].into_dyn();
    let save = || save_npz(path("a.npz"), &[("w", w.view())]).expect("the file is written");
    let expected = |more: &[&str]| {
        let mut names: Vec<String> = others.iter().chain(more).map(|name| name.to_string()).collect();
        names.sort();
        names
    };
    save();
    assert_eq!(names(&directory), expected(&["a.npz", "a.npz.30.40.part"]));
    drop(at_work);
    save();
    assert_eq!(names(&directory), expected(&["a.npz"]));
    assert_eq!(Npz::open(path("a.npz")).expect("read").array::<f64>("w").expect("w"), w);
}

#[test]
fn a_save_that_fails_leaves_what_was_there() {
    let directory = TempDir::new().expect("a directory is made");
    let path = directory.path().join("a.npz");
    // A directory in the place of the file: the last step, the renaming, fails.
    fs::create_dir(&path).expect("a directory is made");
    fs::write(path.join("precious"), "").expect("the file is written");
    let w = array![1.0].into_dyn();
    let error = save_npz(&path, &[("w", w.view())]).expect_err("a directory").to_string();
    assert!(error.contains("a.npz: cannot be written: "), "{error}");
    assert_eq!(names(&directory), ["a.npz"]);
    assert!(path.join("precious").exists());
}

#[test]
fn a_finite_number_of_an_npz_file_does_not_become_infinite() {
    let directory = TempDir::new().expect("a directory is made");
    let path = directory.path().join("a.npz");
    save_npz(&path, &[("w", array![[0.1, f64::INFINITY], [1.0, -1e300]].into_dyn().view())]).expect("written");
    let mut file = Npz::open(&path).expect("read");
    let error = file.array::<f32>("w").expect_err("too large").to_string();
    assert!(
        error.ends_with("a.npz, array w: expected numbers within the range of f32, found -1e300 at [1, 1]"),
        "{error}"
    );
    // Digits are rounded, and infinities stay.
    save_npz(&path, &[("w", array![0.1, f64::INFINITY].into_dyn().view())]).expect("written");
    let read = Npz::open(&path).expect("read").array::<f32>("w").expect("w");
    assert_eq!(read, array![0.1_f32, f32::INFINITY].into_dyn());
}
