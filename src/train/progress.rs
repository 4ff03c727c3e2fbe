//! [`Progress`]: the progress that a descent shows on the terminal.

use super::history::Pass;

/// The progress that a descent shows on the terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// Nothing.
    #[default]
    Silent,
    /// A bar on standard error, with the number of passes, their rate, the time left and the training loss. It is shown
    /// only on a terminal.
    #[cfg(feature = "progress")]
    Bar,
}

/// A bar, shown or hidden.
pub(super) struct Bar {
    #[cfg(feature = "progress")]
    bar: indicatif::ProgressBar,
}

impl Bar {
    #[cfg(feature = "progress")]
    pub(super) fn new(progress: Progress, passes: usize) -> Self {
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

    #[cfg(not(feature = "progress"))]
    pub(super) fn new(_: Progress, _: usize) -> Self {
        Self {}
    }

    /// Shows the losses at the start of a pass.
    #[cfg_attr(not(feature = "progress"), expect(unused_variables, clippy::unused_self))]
    pub(super) fn show(&self, pass: &Pass) {
        #[cfg(feature = "progress")]
        {
            self.bar.set_message(format!("loss {:.6}", pass.train_loss()));
            self.bar.set_position(pass.index() as u64);
        }
    }
}

#[cfg(feature = "progress")]
impl Drop for Bar {
    /// Leaves the terminal as it was, however the descent ends.
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
