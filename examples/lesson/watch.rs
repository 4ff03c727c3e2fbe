//! What shows a training while it runs: a bar, a log, and a page for a browser.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use ndarray::{Array2, Ix2};
use tapegrad::data::ConfusionMatrix;
use tapegrad::report::Report;
use tapegrad::train::{Bar, Log, Progress, Record};
use tapegrad::{Param, Scalar};

use super::{Outcome, check_output};

// Where to write what shows the run. (A documentation comment would replace what the lesson says about itself.)
#[derive(Args, Clone, Debug, Default)]
pub struct Outputs {
    /// Write a line of JSON for each pass: losses, accuracies, learning rate, gradient norms
    #[arg(long, visible_alias = "jsonl", value_name = "FILE.jsonl")]
    pub log: Option<PathBuf>,
    /// Write a page that shows the run, again after each pass: open it in a browser
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
}

impl Outputs {
    /// Checks before the work begins that both can be written.
    pub fn check(&self) -> Outcome {
        check_output(self.log.as_ref())?;
        check_output(self.report.as_ref())
    }
}

/// A run that can be watched.
pub struct Watch {
    log: Option<Log>,
    report: Option<PathBuf>,
    /// The page, without what changes.
    page: Report,
    layer: Option<FirstLayer>,
    bar: Bar,
    passes: usize,
    records: Vec<Record>,
    written: Option<Instant>,
    begin: Instant,
    /// The time of an earlier run that this one goes on from.
    before: Duration,
    finished: bool,
}

/// The weights of the first layer, a column for each unit, and the height and width of what a unit sees.
type FirstLayer = Box<dyn Fn() -> Option<(String, Array2<f64>, [usize; 2])>>;

/// A page is written at most so often, however short the passes are.
const AT_MOST_EVERY: Duration = Duration::from_secs(1);

impl Watch {
    /// Returns a run of so many passes that begins at pass `first`: the log keeps the passes before it.
    pub fn new(outputs: &Outputs, page: Report, progress: Progress, passes: usize, first: usize) -> Outcome<Self> {
        outputs.check()?;
        let (log, records) = match &outputs.log {
            Some(path) if first > 0 => {
                let (log, records) = Log::resume(path, first)?;
                (Some(log), records)
            }
            Some(path) => (Some(Log::create(path)?), Vec::new()),
            None => (None, Vec::new()),
        };
        Ok(Self {
            log,
            report: outputs.report.clone(),
            page,
            layer: None,
            bar: Bar::new(progress, passes),
            passes,
            before: records.last().map_or(Duration::ZERO, Record::time),
            records,
            written: None,
            begin: Instant::now(),
            finished: false,
        })
    }

    /// Shows this weight of the first layer: of a linear layer on square images, or of a convolution of one channel.
    pub fn first_layer<T: Scalar>(&mut self, name: impl Into<String>, weight: &Param<T>) {
        let (name, weight) = (name.into(), weight.clone());
        self.layer = Some(Box::new(move || {
            let value = weight.value().mapv(|w| w.to_f64());
            match *value.shape() {
                [units, 1, height, width] => {
                    let rows = value.into_shape_with_order((units, height * width)).ok()?;
                    Some((name.clone(), rows.reversed_axes(), [height, width]))
                }
                [pixels, _] => {
                    let side = (1..=pixels).find(|side| side * side == pixels)?;
                    Some((name.clone(), value.into_dimensionality::<Ix2>().ok()?, [side, side]))
                }
                _ => None,
            }
        }));
    }

    /// Returns the time since the run began, with that of the run that it goes on from.
    pub fn time(&self) -> Duration {
        self.before + self.begin.elapsed()
    }

    /// Runs `print` while no bar is on the terminal.
    pub fn above(&self, print: impl FnOnce()) {
        self.bar.above(print);
    }

    /// Adds a pass to everything that shows the run.
    pub fn show(&mut self, record: Record) -> Outcome {
        self.bar.show(&record);
        if let Some(log) = &mut self.log {
            log.write(&record)?;
        }
        if self.report.is_some() {
            self.records.push(record);
            if self.written.is_none_or(|time| time.elapsed() > AT_MOST_EVERY) {
                self.write(self.page().running(self.passes))?;
                self.written = Some(Instant::now());
            }
        }
        Ok(())
    }

    /// Ends the run, with the confusion matrix of the test examples if there is one, and their classes' names.
    pub fn finish(mut self, confusion: Option<(&ConfusionMatrix, &[String])>) -> Outcome {
        self.finished = true;
        let mut page = self.page();
        if let Some((matrix, names)) = confusion {
            page = page.with_confusion(matrix, names);
        }
        self.write(page)?;
        if let Some(path) = &self.report {
            println!("the report is in {}", path.display());
        }
        Ok(())
    }

    fn page(&self) -> Report {
        let page = self.page.clone().with_records(&self.records);
        match self.layer.as_ref().and_then(|layer| layer()) {
            Some((name, weights, size)) => page.with_weights(&name, &weights, size),
            None => page,
        }
    }

    fn write(&self, page: Report) -> Outcome {
        Ok(self.report.as_ref().map_or(Ok(()), |path| page.write(path))?)
    }
}

impl Drop for Watch {
    /// A page of a run that failed does not wait for more.
    fn drop(&mut self) {
        if !self.finished {
            // What made the run fail is the error to report.
            let _ = self.write(self.page().with_fact("outcome", "stopped before its end"));
        }
    }
}

/// Returns the names of classes: the digits 1, 7 and 8 of the course, or numbers.
pub fn class_names(classes: usize) -> Vec<String> {
    match classes {
        3 => ["1", "7", "8"].map(String::from).to_vec(),
        _ => (0..classes).map(|class| class.to_string()).collect(),
    }
}
