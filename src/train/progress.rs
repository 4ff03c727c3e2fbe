//! [`Progress`]: the progress that a descent shows on the terminal.

use std::fmt;

use super::record::Record;

/// The progress that a descent shows on the terminal.
///
/// # Example
///
/// See [`Descent::progress`](super::Descent::progress).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// Nothing.
    #[default]
    Silent,
    /// A bar on standard error, with the number of passes, their rate, the time left, the training loss, and the accuracy,
    /// on the test examples if there are any. It is shown only on a terminal.
    #[cfg(feature = "progress")]
    Bar,
}

/// A bar that a loop of your own shows, as a descent does. It is removed when it is dropped.
///
/// # Example
///
/// ```
/// use tapegrad::train::{Bar, Progress, Record};
///
/// let bar = Bar::new(Progress::Silent, 10); // with the feature `progress` also `Progress::Bar`
/// for pass in 0..10 {
///     bar.show(&Record::new(pass, 1.0 / (1.0 + pass as f64)));
///     bar.above(|| println!("a line that the bar does not overwrite"));
/// }
/// ```
pub struct Bar {
    #[cfg(feature = "progress")]
    bar: indicatif::ProgressBar,
}

impl Bar {
    /// Returns a bar for so many passes.
    ///
    /// # Example
    ///
    /// See [`Bar`].
    #[cfg(feature = "progress")]
    #[must_use]
    pub fn new(progress: Progress, passes: usize) -> Self {
        use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
        let bar = match progress {
            Progress::Silent => ProgressBar::hidden(),
            Progress::Bar => ProgressBar::with_draw_target(Some(passes as u64), ProgressDrawTarget::stderr()),
        };
        let template = "{bar:30} pass {pos}/{len}, {per_sec}, {eta} left, {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { bar }
    }

    /// Returns a bar for so many passes.
    ///
    /// # Example
    ///
    /// See [`Bar`].
    #[cfg(not(feature = "progress"))]
    #[must_use]
    pub fn new(_: Progress, _: usize) -> Self {
        Self {}
    }

    /// Shows the index of a pass, its loss and its accuracy. The first call sets where the run begins: what an earlier run
    /// did does not count for the time that is left.
    ///
    /// # Example
    ///
    /// See [`Bar`].
    #[cfg_attr(not(feature = "progress"), expect(unused_variables))]
    pub fn show(&self, record: &Record) {
        #[cfg(feature = "progress")]
        {
            let accuracy = match (record.test_accuracy(), record.train_accuracy()) {
                (Some(share), _) => format!(", {:.2} % of the test examples", 100.0 * share),
                (None, Some(share)) => format!(", {:.2} %", 100.0 * share),
                (None, None) => String::new(),
            };
            let first = self.bar.message().is_empty();
            self.bar.set_message(format!("loss {:.6}{accuracy}", record.train_loss()));
            self.bar.set_position(record.pass() as u64);
            if first {
                self.bar.reset_eta();
            }
        }
    }

    /// Returns what `print` returns, which runs while the bar is not on the terminal.
    ///
    /// # Example
    ///
    /// See [`Bar`].
    pub fn above<R>(&self, print: impl FnOnce() -> R) -> R {
        #[cfg(feature = "progress")]
        return self.bar.suspend(print);
        #[cfg(not(feature = "progress"))]
        print()
    }
}

impl fmt::Debug for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bar").finish_non_exhaustive()
    }
}

#[cfg(feature = "progress")]
impl Drop for Bar {
    /// Leaves the terminal as it was, however the descent ends.
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
