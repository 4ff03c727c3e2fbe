//! [`Mode`]: training or evaluation. [`Draws`]: whether a layer draws new random numbers.

/// What a network is used for. Dropout and batch normalization differ between the two; other layers do not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Training: dropout drops, batch normalization uses the batch's own mean and variance. Layers begin with it.
    #[default]
    Training,
    /// Evaluation: dropout is the identity, batch normalization uses the running averages.
    Evaluation,
}

/// Whether a layer with randomness draws new numbers in each pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Draws {
    /// Each pass draws new numbers.
    #[default]
    Fresh,
    /// Each pass, by hand or recorded, uses the numbers of the last one: as checks with differences need it.
    Held,
}
