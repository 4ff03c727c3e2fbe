//! [`Dropout`]: random elements become 0 in training.

use std::sync::atomic::{AtomicU64, Ordering};

use ndarray::{Array2, ArrayRef2};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::buffer::Buffer;
use super::layer::{buffered_results, debug_prints_name};
use super::mode::{Draws, Mode};
use super::module::{Module, expect};
use crate::scalar::Scalar;
use crate::tape::{Tape, Var};

/// In training each element becomes 0 with probability `p`, and the others are divided by `1 - p`, so that the mean stays. In
/// evaluation it is the identity (Srivastava et al. 2014).
///
/// The masks are numbered, and follow from the seed, their number and the shape of the input. Each forward pass takes the next
/// mask. A recording takes the mask of the forward pass before it, so that both halves agree. If there was no
/// forward pass, or its mask was recorded already, a recording takes the next mask. While draws are [held](Module::set_draws) all passes take the last mask.
///
/// A recorded mask is a constant: a [`Program`](crate::Program) uses the same one in each run. Do not record it in
/// [`Chunks`](crate::chunks::Chunks): on several threads the order of the masks is not fixed. A
/// [`checkpoint`](crate::Tape::checkpoint) refuses it, because the second run of the segment has another mask.
///
/// # Derivative
///
/// With the mask `m`, whose elements are 0 or `1 / (1 - p)`:
///
/// ```text
/// y    = x m
/// d_in = delta m
/// ```
///
/// # Example
///
/// ```
/// use ndarray::Array2;
/// use tapegrad::nn::{Dropout, Module};
///
/// let mut layer = Dropout::<f64>::new(0.75, 1);
/// let ones = Array2::ones((10, 1000));
/// let y = layer.forward(&ones).clone();
/// assert!(y.iter().all(|&y| y == 0.0 || y == 4.0)); // 1 / (1 - 0.75)
/// assert!((y.mean().unwrap() - 1.0).abs() < 0.1);
/// assert_eq!(layer.backward_delta(&ones, &ones), y); // the same mask
/// ```
pub struct Dropout<T> {
    p: f64,
    seed: u64,
    mode: Mode,
    draws: Draws,
    /// Twice the number of the last mask, plus 1 if it was recorded.
    last: AtomicU64,
    /// The mask of the last forward pass.
    mask: Buffer<T>,
    output: Buffer<T>,
    delta: Buffer<T>,
}

impl<T: Scalar> Dropout<T> {
    /// Returns a layer that drops an element with probability `p`. Equal seeds give equal masks.
    ///
    /// # Panics
    ///
    /// If `p` is not between 0 and 1.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::array;
    /// use tapegrad::nn::{Dropout, Module};
    ///
    /// assert_eq!(Dropout::new(0.0, 1).forward(&array![[3.0]]), array![[3.0]]); // drops nothing
    /// assert_eq!(Dropout::new(1.0, 1).forward(&array![[3.0]]), array![[0.0]]); // drops everything
    /// ```
    #[track_caller]
    #[must_use]
    pub fn new(p: f64, seed: u64) -> Self {
        assert!((0.0..=1.0).contains(&p), "Dropout: expected a probability between 0 and 1, found {p}");
        Self {
            p,
            seed,
            mode: Mode::default(),
            draws: Draws::default(),
            last: AtomicU64::new(1),
            mask: Buffer::default(),
            output: Buffer::default(),
            delta: Buffer::default(),
        }
    }
}

impl<T> Dropout<T> {
    /// Returns the layer after this number of masks, as a resumed run needs it: the next mask is the one that a layer
    /// draws after so many passes in training.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::Array2;
    /// use tapegrad::nn::{Dropout, Module};
    ///
    /// let ones = Array2::<f64>::ones((4, 5));
    /// let mut first = Dropout::new(0.5, 3);
    /// (0..7).for_each(|_| drop(first.forward(&ones).clone()));
    /// let mut resumed = Dropout::new(0.5, 3).resumed_at(7);
    /// assert_eq!(first.forward(&ones), resumed.forward(&ones));
    /// ```
    #[must_use]
    pub fn resumed_at(self, masks: u64) -> Self {
        Self { last: AtomicU64::new(2 * masks + 1), ..self }
    }
}

/// Writes the mask of this number.
fn draw<T: Scalar>(p: f64, seed: u64, number: u64, mask: &mut [T]) {
    // Seeds of neighbouring numbers are far apart.
    let mut rng = StdRng::seed_from_u64(seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    let kept = T::from_f64(1.0 / (1.0 - p));
    let bound = p * (u64::from(u32::MAX) + 1) as f64;
    mask.fill_with(|| if f64::from(rng.next_u32()) < bound { T::ZERO } else { kept });
}

debug_prints_name!(Dropout);

impl<T: Scalar> Module<T> for Dropout<T> {
    fn name(&self) -> String {
        format!("Dropout {}", self.p)
    }

    fn forward(&mut self, input: &ArrayRef2<T>) -> &Array2<T> {
        let mask = self.mask.shaped(input.dim());
        if self.mode == Mode::Evaluation {
            mask.fill(T::ONE);
        } else {
            let last = self.last.get_mut();
            if self.draws == Draws::Fresh {
                *last = (*last / 2 + 1) * 2;
            }
            draw(self.p, self.seed, *last / 2, mask);
        }
        let y = self.output.copy_from(input);
        y.iter_mut().zip(self.mask.values()).for_each(|(y, &m)| *y *= m);
        self.output.array()
    }

    buffered_results!();

    fn backward_delta(&mut self, input: &ArrayRef2<T>, delta: &ArrayRef2<T>) -> &Array2<T> {
        expect(self, self.check_backward(input, delta));
        let d_in = self.delta.copy_from(delta);
        d_in.iter_mut().zip(self.mask.values()).for_each(|(d_in, &m)| *d_in *= m);
        self.delta.array()
    }

    fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
    }

    fn set_draws(&mut self, draws: Draws) {
        self.draws = draws;
    }

    fn record<'t>(&self, tape: &'t Tape<T>, x: Var<'t, T>) -> Var<'t, T> {
        if self.mode == Mode::Evaluation {
            return x;
        }
        let next = |last: u64| match (self.draws, last % 2) {
            (Draws::Held, _) => Some(last),
            (Draws::Fresh, 0) => Some(last + 1),
            (Draws::Fresh, _) => Some((last / 2 + 1) * 2 + 1),
        };
        let before = self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        let number = next(before.unwrap_or_else(|last| last)).unwrap_or_default() / 2;
        let mut mask = ndarray::ArrayD::zeros(ndarray::IxDyn(&x.shape()));
        if let Some(mask) = mask.as_slice_mut() {
            draw(self.p, self.seed, number, mask);
        }
        x * tape.constant(mask)
    }
}
