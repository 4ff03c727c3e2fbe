//! [`Report`]: the page.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use ndarray::ArrayRef2;

use super::chart::{Chart, Series};
use super::picture::Weights;
use super::table;
use crate::data::{ConfusionMatrix, replace};
use crate::draw::xml;
use crate::error::{Error, Result};
use crate::scalar::Scalar;
use crate::train::Record;

/// A page that shows a run: the curves of losses, accuracies, learning rate and gradient norms, the weights of the first
/// layer as images, the confusion matrix, and all numbers as a table.
///
/// The page is one HTML file. It has no script, loads nothing, and follows the reader's choice of light or dark. The
/// example is in [`report`](crate::report).
#[derive(Clone, Debug)]
pub struct Report {
    title: String,
    facts: Vec<(String, String)>,
    records: Vec<Record>,
    /// The number of all passes, while the run goes on.
    running: Option<usize>,
    weights: Option<Weights>,
    confusion: Option<(ConfusionMatrix, Vec<String>)>,
}

impl Report {
    /// Returns a report with this title, and nothing else.
    #[must_use]
    pub fn new(title: impl Into<String>) -> Self {
        let title = title.into();
        Self { title, facts: Vec::new(), records: Vec::new(), running: None, weights: None, confusion: None }
    }

    /// Returns the report with one more line about the run: a setting, or what it runs on.
    #[must_use]
    pub fn with_fact(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.facts.push((name.into(), value.to_string()));
        self
    }

    /// Returns the report of these passes.
    #[must_use]
    pub fn with_records(self, records: &[Record]) -> Self {
        Self { records: records.to_vec(), ..self }
    }

    /// Returns the report of a run of so many passes that goes on: the page says how far it is, and a browser loads it
    /// again every few seconds.
    #[must_use]
    pub fn running(self, passes: usize) -> Self {
        Self { running: Some(passes), ..self }
    }

    /// Returns the report with the weights of the first layer, `(pixels, units)`: each column is drawn as an image of this
    /// height and width, row by row, at most a hundred of them.
    ///
    /// A [`Linear`](crate::nn::Linear) layer has its weights in this order. The kernels of a convolution are rows, so give
    /// the transposed matrix.
    ///
    /// # Panics
    ///
    /// If height times width is not the number of rows, or is 0.
    #[track_caller]
    #[must_use]
    pub fn with_weights<T: Scalar>(self, name: &str, weights: &ArrayRef2<T>, size: [usize; 2]) -> Self {
        Self { weights: Some(Weights::new(name, weights, size)), ..self }
    }

    /// Returns the report with this confusion matrix, whose classes have these names.
    ///
    /// # Panics
    ///
    /// If there is not a name for each class.
    #[track_caller]
    #[must_use]
    pub fn with_confusion<S: AsRef<str>>(self, matrix: &ConfusionMatrix, names: &[S]) -> Self {
        let (classes, found) = (matrix.counts().nrows(), names.len());
        assert!(classes == found, "Report: expected a name for each of {classes} classes, found {found}");
        let names = names.iter().map(|name| name.as_ref().into()).collect();
        Self { confusion: Some((matrix.clone(), names)), ..self }
    }

    /// Returns the page.
    #[must_use]
    pub fn html(&self) -> String {
        let title = xml(&self.title);
        let refresh = if self.running.is_some() { "<meta http-equiv=\"refresh\" content=\"3\">\n" } else { "" };
        let mut out = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n{refresh}<title>{title}</title>\n<style>\n{}</style>\n\
             </head>\n<body>\n<header>\n<h1>{title}</h1>\n<p class=\"status\">{}</p>\n",
            include_str!("style.css"),
            self.status()
        );
        out += &list("", self.last_numbers());
        out += &list(" class=\"facts\"", self.facts.iter().map(|(name, value)| (xml(name), xml(value))).collect());
        out += "</header>\n<main>\n";
        let charts: String = self.charts().iter().filter(|chart| !chart.series.is_empty()).map(Chart::html).collect();
        if !charts.is_empty() {
            out += &format!("<section>\n<h2>Curves</h2>\n<div class=\"charts\">\n{charts}</div>\n</section>\n");
        }
        out += &self.weights.as_ref().map(Weights::html).unwrap_or_default();
        if let Some((matrix, names)) = &self.confusion {
            out += &table::confusion(matrix, names);
        }
        if !self.records.is_empty() {
            out += &table::numbers(&self.records);
        }
        out + "</main>\n</body>\n</html>\n"
    }

    /// Writes the page to a file. It is written aside and renamed, so a browser never loads half of it.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let page = self.html();
        replace(path, |mut file| file.write_all(page.as_bytes()))
            .map_err(|source| Error::Write { path: path.into(), source })
    }

    /// Returns how far the run is.
    fn status(&self) -> String {
        let Some(last) = self.records.last() else { return "No pass has ended yet.".into() };
        let (pass, time) = (last.pass(), last.time());
        match self.running {
            None => format!("Finished: pass {pass} after {}.", words(time)),
            Some(passes) => {
                // The speed of the part that this report has seen.
                let begin = self.records.first().map_or((0, Duration::ZERO), |first| (first.pass(), first.time()));
                let (seen, took) = (pass - begin.0.min(pass), time.saturating_sub(begin.1));
                let left = match seen {
                    0 => String::new(),
                    _ => format!(
                        ", about {} left",
                        words(took.mul_f64(passes.saturating_sub(pass) as f64 / seen as f64))
                    ),
                };
                format!("Running: pass {pass} of {passes} after {}{left}. This page loads itself again.", words(time))
            }
        }
    }

    /// Returns what the last record has.
    fn last_numbers(&self) -> Vec<(String, String)> {
        let Some(last) = self.records.last() else { return Vec::new() };
        let percent = |share: f64| format!("{:.2}&nbsp;%", 100.0 * share);
        let numbers = [
            ("training loss", Some(format!("{:.6}", last.train_loss()))),
            ("test loss", last.test_loss().map(|loss| format!("{loss:.6}"))),
            ("training accuracy", last.train_accuracy().map(percent)),
            ("test accuracy", last.test_accuracy().map(percent)),
            ("learning rate", last.learning_rate().map(rounded)),
        ];
        numbers.into_iter().filter_map(|(name, number)| Some((name.into(), number?))).collect()
    }

    fn charts(&self) -> [Chart; 4] {
        let series = |lines: &[(&str, Number<'_>)]| -> Vec<Series> {
            let of = |(group, (name, value)): (usize, &(&str, Number<'_>))| {
                let point = |record: &Record| Some((record.pass() as f64, value(record)?));
                let points: Vec<(f64, f64)> = self.records.iter().filter_map(point).collect();
                let name = (*name).into();
                (!points.is_empty()).then_some(Series { name, group, member: group, points })
            };
            lines.iter().enumerate().filter_map(of).collect()
        };
        let percent = |share: Option<f64>| share.map(|share| 100.0 * share);
        [
            Chart {
                title: "Loss",
                what: "loss",
                series: series(&[
                    ("training", &|record| Some(record.train_loss())),
                    ("test", &|record| record.test_loss()),
                ]),
            },
            Chart {
                title: "Accuracy",
                what: "classified correctly, %",
                series: series(&[
                    ("training", &|record| percent(record.train_accuracy())),
                    ("test", &|record| percent(record.test_accuracy())),
                ]),
            },
            Chart {
                title: "Learning rate",
                what: "learning rate",
                series: series(&[("learning rate", &|record| record.learning_rate())]),
            },
            Chart { title: "Gradient norm of each parameter", what: "norm √(Σ g²)", series: self.gradient_norms() },
        ]
    }

    /// Returns a line for each parameter. Those of a layer, `0.weight` and `0.bias`, have one colour.
    fn gradient_norms(&self) -> Vec<Series> {
        let (mut series, mut layers) = (Vec::<Series>::new(), Vec::<(&str, usize)>::new());
        for record in &self.records {
            for (name, norm) in record.gradient_norms() {
                let point = (record.pass() as f64, *norm);
                if let Some(series) = series.iter_mut().find(|series| series.name == *name) {
                    series.points.push(point);
                    continue;
                }
                let layer = name.rsplit_once('.').map_or(&**name, |(layer, _)| layer);
                let group = layers.iter().position(|(of, _)| *of == layer).unwrap_or_else(|| {
                    layers.push((layer, 0));
                    layers.len() - 1
                });
                let member = layers[group].1;
                layers[group].1 += 1;
                series.push(Series { name: name.clone(), group, member, points: vec![point] });
            }
        }
        series
    }
}

/// What a line shows of a record.
type Number<'a> = &'a dyn Fn(&Record) -> Option<f64>;

/// Returns a list of names with their values, both of them HTML.
fn list(class: &str, entries: Vec<(String, String)>) -> String {
    if entries.is_empty() {
        return String::new();
    }
    let entry = |(name, value): (String, String)| format!("<div><dt>{name}</dt><dd>{value}</dd></div>\n");
    format!("<dl{class}>\n{}</dl>\n", entries.into_iter().map(entry).collect::<String>())
}

/// Returns a number with four digits, without zeros at its end.
fn rounded(number: f64) -> String {
    let rounded: f64 = format!("{number:.3e}").parse().unwrap_or(number);
    format!("{rounded:?}")
}

/// Returns a time as one reads it.
fn words(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}
