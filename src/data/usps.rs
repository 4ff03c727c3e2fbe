//! The USPS digits, in the forms that courses hand out.

use std::fs;
use std::path::{Path, PathBuf};

use ndarray::ArrayD;

use super::arrays;
use super::dataset::{Dataset, check_pair};
use super::samples::Samples;
use super::shortened::shortened;
use crate::error::{Error, Result};
use crate::scalar::Scalar;

/// Reads the USPS digits, or others in the same form: `train.npz` and `test.npz`, each with the images `x`,
/// `(samples, pixels)`, and the labels `y`, `(samples,)`; or else the text files `train.txt` and `test.txt` (also
/// `USPS_train.txt` and `USPS_test.txt`).
///
/// A text file begins with a line `classes pixels`; then comes a line for each digit, `label v1 v2 …`, with values
/// from 0 to 2; the last line is `-1`. Its values are halved, so that both forms give pixels from 0 to 1.
///
/// `.npz` files need the feature `npz`; text files need none.
///
/// # Errors
///
/// If the files are missing, or one is not as described. The message names the file, the line of a text file, what was
/// expected and what was found.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::data::load_usps;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let directory = tempfile::tempdir()?;
/// std::fs::write(directory.path().join("train.txt"), "2 3\n1 0 1 2\n0 2 2 0\n-1\n")?;
/// std::fs::write(directory.path().join("test.txt"), "2 3\n1 0 0 0\n-1\n")?;
/// let data = load_usps::<f64>(directory.path())?;
/// assert_eq!(data.train().images(), array![[0.0, 0.5, 1.0], [1.0, 1.0, 0.0]]);
/// assert_eq!(data.train().labels(), [1, 0]);
/// # Ok(())
/// # }
/// ```
pub fn load_usps<T: Scalar>(directory: impl AsRef<Path>) -> Result<Dataset<T>> {
    let directory = directory.as_ref();
    let both = |train: &str, test: &str| {
        let files = [directory.join(train), directory.join(test)];
        files.iter().all(|file| file.exists()).then_some(files)
    };
    if let Some([train, test]) = both("train.npz", "test.npz") {
        return check_pair((read_npz(&train)?, "train.npz", "train.npz"), (read_npz(&test)?, &test, &test));
    }
    match both("train.txt", "test.txt").or_else(|| both("USPS_train.txt", "USPS_test.txt")) {
        Some([train, test]) => check_pair(
            (read_text(&train)?, "the training file", "the training file"),
            (read_text(&test)?, &test, &test),
        ),
        None => {
            let expected = "the USPS digits: train.npz and test.npz with arrays x (samples, pixels) and y (samples,), or \
                            train.txt and test.txt with a first line `classes pixels`, a line `label v1 v2 …` for each \
                            digit, and a last line `-1`";
            let found = if directory.is_dir() { "neither pair of files" } else { "no such directory" };
            Err(Error::content(directory, expected, found))
        }
    }
}

#[cfg(feature = "npz")]
fn read_npz<T: Scalar>(path: &Path) -> Result<Samples<T>> {
    use super::npy::{LABELS, PIXELS};

    let mut file = super::npz::Npz::open(path)?;
    let (x, y) = (file.read("x", PIXELS)?, file.read("y", LABELS)?);
    arrays::to_samples(&file.place("x"), x, &file.place("y"), y)
}

#[cfg(not(feature = "npz"))]
fn read_npz<T: Scalar>(path: &Path) -> Result<Samples<T>> {
    Err(Error::content(path, "a build with the feature `npz`, which reads it", "one without"))
}

fn read_text<T: Scalar>(path: &Path) -> Result<Samples<T>> {
    let text = fs::read_to_string(path).map_err(|source| Error::Read { path: path.into(), source })?;
    let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    let at = |line: usize| PathBuf::from(format!("{}, line {line}", path.display()));
    let header = lines.next().map_or("", |(_, line)| line);
    let sizes: Vec<Option<usize>> = header.split_whitespace().map(|number| number.parse().ok()).collect();
    let [Some(classes @ 0..=arrays::MAX_CLASSES), Some(pixels @ 1..)] = sizes[..] else {
        let expected = "two whole numbers, `classes pixels`, with at most 1,000,000 classes";
        return Err(Error::content(&at(1), expected, format!("`{}`", shortened(header))));
    };
    let (mut values, mut labels) = (Vec::new(), Vec::new());
    let mut ended = false;
    for (number, line) in lines {
        if ended && !line.is_empty() {
            return Err(Error::content(&at(number), "nothing after the line `-1`", format!("`{}`", shortened(line))));
        }
        if ended || line == "-1" {
            ended = true;
            continue;
        }
        let mut numbers = line.split_whitespace();
        let label = numbers.next().unwrap_or("");
        match label.parse::<usize>() {
            Ok(class) if class < classes => labels.push(class as f64),
            _ => {
                let expected = format!("a label below {classes}");
                return Err(Error::content(&at(number), expected, format!("`{}`", shortened(label))));
            }
        }
        let before = values.len();
        for value in numbers {
            match value.parse::<f64>() {
                Ok(value) if (0.0..=2.0).contains(&value) => values.push(value / 2.0),
                _ => {
                    let found = format!("`{}`", shortened(value));
                    return Err(Error::content(&at(number), "values from 0 to 2", found));
                }
            }
        }
        if values.len() - before != pixels {
            let expected = format!("a label and {pixels} values");
            return Err(Error::content(&at(number), expected, format!("{} values", values.len() - before)));
        }
    }
    if !ended {
        let found = format!("the end of the file after {} digits", labels.len());
        return Err(Error::content(path, "a last line `-1`", found));
    }
    if labels.is_empty() {
        return Err(Error::content(path, "at least one line `label v1 v2 …` before the line `-1`", "none"));
    }
    let images = ArrayD::from_shape_vec(vec![labels.len(), pixels], values).expect("as many values in each line");
    let labels = ArrayD::from_shape_vec(vec![labels.len()], labels).expect("as many as there are");
    arrays::check_one_hot(path, labels.len(), classes)?;
    Ok(arrays::to_samples(path, images, path, labels)?.with_classes(classes))
}
