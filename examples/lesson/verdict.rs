//! What a curve of losses says, in words.

use tapegrad::files::{Saved, ToSave};
use tapegrad::train::Pass;

/// Losses and accuracies, train and test: before each pass's update, and last after all.
#[derive(Clone, Debug, Default)]
pub struct Curves {
    pub losses: Vec<[f64; 2]>,
    pub accuracies: Vec<[f64; 2]>,
}

impl Curves {
    /// Returns the curves of the passes of a descent.
    pub fn new<'a>(passes: impl IntoIterator<Item = &'a Pass>) -> Self {
        let mut curves = Self::default();
        passes.into_iter().for_each(|pass| curves.append(pass));
        curves
    }

    /// Adds a pass of a descent.
    pub fn append(&mut self, pass: &Pass) {
        let of = |value: Option<f64>| value.unwrap_or(f64::NAN);
        self.push([pass.train_loss(), of(pass.test_loss())], [of(pass.train_accuracy()), of(pass.test_accuracy())]);
    }

    /// Adds the curves to what a file is to hold.
    pub fn save(&self, file: ToSave) -> ToSave {
        file.numbers("losses", self.losses.as_flattened()).numbers("accuracies", self.accuracies.as_flattened())
    }

    /// Returns the curves of the passes before this one from a file.
    pub fn load(saved: &Saved, passes: usize) -> Result<Self, Box<dyn std::error::Error>> {
        let [losses, accuracies] = [saved.numbers("losses")?, saved.numbers("accuracies")?];
        let pairs = |numbers: &[f64]| numbers.as_chunks().0.to_vec();
        let curves = Self { losses: pairs(&losses), accuracies: pairs(&accuracies) };
        match curves.losses.len() == passes && curves.accuracies.len() == passes {
            true => Ok(curves),
            false => {
                Err(format!("expected curves of {passes} passes in the file, found {}", curves.losses.len()).into())
            }
        }
    }

    pub fn push(&mut self, losses: [f64; 2], accuracies: [f64; 2]) {
        self.losses.push(losses);
        self.accuracies.push(accuracies);
    }

    /// Returns the losses on the training digits (0) or on the test digits (1).
    pub fn loss(&self, set: usize) -> impl Iterator<Item = f64> {
        self.losses.iter().map(move |losses| losses[set])
    }

    /// Returns the accuracies in per cent.
    pub fn percent(&self, set: usize) -> impl Iterator<Item = f64> {
        self.accuracies.iter().map(move |accuracies| 100.0 * accuracies[set])
    }

    /// Says what the curves show: whether the loss falls, whether it has converged, and whether the network overfits.
    pub fn verdict(&self) -> String {
        let (train, test): (Vec<f64>, Vec<f64>) = (self.loss(0).collect(), self.loss(1).collect());
        let ([first, .., last], passes) = (train.as_slice(), train.len() - 1) else {
            return "there is no curve to speak of".into();
        };
        let mut said = Vec::new();
        let rises: Vec<usize> = (1..=passes).filter(|&pass| train[pass] > train[pass - 1]).collect();
        if last > first {
            said.push(format!(
                "the training loss has grown from {first:.6} to {last:.6}: this step is too large; try a smaller --epsilon"
            ));
        } else if let Some(at) = rises.first() {
            let count = rises.len();
            said.push(format!(
                "the training loss rose in {count} of {passes} passes, first in pass {at}: this step leaps over the valley"
            ));
        }
        if last < first {
            let tenth = (passes / 10).max(1);
            let lately = train[passes - tenth] - last;
            let (of_fall, of_rest) = (lately / (first - last), lately / last);
            let converged = of_fall.abs() < 0.01 && of_rest.abs() < 0.01;
            said.push(format!(
                "it has {}converged: the last tenth of the passes brought {:.1} % of the whole fall, and {:.1} % of what is left",
                if converged { "" } else { "not " },
                100.0 * of_fall,
                100.0 * of_rest
            ));
        }
        let lowest = (0..=passes).fold(0, |best, pass| if test[pass] < test[best] { pass } else { best });
        // A curve that leaps is lowest somewhere by chance.
        let smooth = rises.len() <= passes / 20;
        if smooth && test[passes] > 1.01 * test[lowest] && train[passes] < train[lowest] {
            said.push(format!(
                "the test loss was lowest before pass {lowest}, {:.6}, and is {:.6} now, while the training loss fell on:\n\
                 the network overfits, it learns what only the training digits have",
                test[lowest], test[passes]
            ));
        }
        said.join("\n")
    }
}
