//! [`Mode`]: training or evaluation. [`Draws`]: whether a layer draws new random numbers.

/// What a network is used for. Dropout and batch normalization differ between the two; other layers do not.
///
/// # Example
///
/// ```
/// use ndarray::array;
/// use tapegrad::nn::{Dropout, Mode, Module};
///
/// let mut layer = Dropout::new(1.0, 0);
/// layer.set_mode(Mode::Evaluation); // the same as layer.eval()
/// assert_eq!(layer.forward(&array![[3.0]]), array![[3.0]]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Training: dropout drops, batch normalization uses the batch's own mean and variance. Layers begin with it.
    #[default]
    Training,
    /// Evaluation: dropout is the identity, batch normalization uses the running averages.
    Evaluation,
}

/// Whether a layer with randomness draws new numbers in each pass.
///
/// # Example
///
/// ```
/// use ndarray::Array2;
/// use tapegrad::nn::{Draws, Dropout, Module};
///
/// let (mut layer, x) = (Dropout::<f64>::new(0.5, 0), Array2::ones((1, 100)));
/// let first = layer.forward(&x).clone();
/// layer.set_draws(Draws::Held);
/// assert_eq!(layer.forward(&x), first); // the same mask again
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Draws {
    /// Each pass draws new numbers.
    #[default]
    Fresh,
    /// Each pass, by hand or recorded, uses the numbers of the last one: as checks with differences need it.
    Held,
}
