//! [`Progress`]: what a descent shows on the terminal.

/// What a descent shows on the terminal while it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// Nothing.
    #[default]
    Silent,
    /// A bar with the passes done, their rate, the time left and the training loss, on standard error; nothing if that is
    /// not a terminal.
    #[cfg(feature = "progress")]
    Bar,
}

/// A bar that is or is not there.
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

    /// Says what a pass begins with.
    #[cfg_attr(not(feature = "progress"), expect(unused_variables, clippy::unused_self))]
    pub(super) fn show(&self, pass: &super::Pass) {
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
