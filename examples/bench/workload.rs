//! Which workloads, paths and variants there are, and which of them go together.

use clap::ValueEnum;

/// What a step computes, see the table at the top of `main.rs`.
#[derive(Clone, Copy, Debug, ValueEnum, PartialEq, Eq, PartialOrd, Ord)]
#[value(rename_all = "verbatim")]
pub enum Workload {
    W1,
    W2,
    W3,
    W4,
    W5,
    W6,
    W7,
    W8,
    W9,
    W10,
    W11,
    W12,
}

/// How a step is computed.
#[derive(Clone, Copy, Debug, ValueEnum, PartialEq, Eq)]
pub enum Path {
    /// Recorded on a tape and swept, anew in each step
    Tape,
    /// By hand-derived passes
    Manual,
    /// On a tape, a chunk of the batch at a time
    Chunked,
    /// By hand-derived passes, a chunk of the batch at a time
    ManualChunked,
    /// Recorded and compiled once, run in each step
    Program,
    /// The derivative along a direction, by the sweep forward
    Jvp,
    /// The derivative along a direction, by differentiating the vjp by its cotangent
    JvpByVjp,
}

/// Another way to write a workload.
#[derive(Clone, Copy, Debug, ValueEnum, PartialEq, Eq)]
pub enum Variant {
    /// W12: the state is three numbers instead of one array of three
    Scalars,
    /// W11: the sweep forward through the gradient
    Fwdrev,
    /// W11: the sweep backward through the gradient
    Revrev,
}

impl Workload {
    /// Returns the number in the name.
    pub fn number(self) -> u64 {
        self as u64 + 1
    }

    /// Returns the first stream of its data.
    pub fn stream(self) -> u64 {
        100 * self.number()
    }

    /// Returns the ways to compute it.
    pub fn paths(self) -> impl Iterator<Item = Path> {
        Path::value_variants().iter().copied().filter(move |path| match self {
            Self::W7 | Self::W8 => !matches!(path, Path::Chunked | Path::ManualChunked),
            Self::W9 | Self::W10 | Self::W11 | Self::W12 => matches!(path, Path::Tape | Path::Program),
            _ => true,
        })
    }

    /// Returns the other ways to write it.
    pub fn variants(self) -> &'static [Variant] {
        match self {
            Self::W11 => &[Variant::Fwdrev, Variant::Revrev],
            Self::W12 => &[Variant::Scalars],
            _ => &[],
        }
    }

    /// Refuses a path or a variant that the workload does not have.
    pub fn check(self, path: Path, variant: Option<Variant>) -> Result<(), String> {
        if !self.paths().any(|other| other == path) {
            let paths: Vec<_> = self.paths().map(name).collect();
            let expected = paths.join(", ");
            return Err(match (self, path) {
                (Self::W7 | Self::W8, _) => format!("{self:?} has no batch to be cut into chunks: expected {expected}"),
                _ => format!("--path {}: expected one of {expected} for {self:?}", name(path)),
            });
        }
        match variant {
            Some(found) if !self.variants().contains(&found) => {
                let variants: Vec<_> = self.variants().iter().copied().map(name).collect();
                let expected = if variants.is_empty() { "no variant".into() } else { variants.join(" or ") };
                Err(format!("--variant {}: expected {expected} for {self:?}", name(found)))
            }
            _ => Ok(()),
        }
    }
}

/// Returns the name of a value on the command line.
pub fn name(value: impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}
