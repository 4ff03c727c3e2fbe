//! [`Generator`]: random numbers from a place that can be saved.

use std::convert::Infallible;
use std::fmt;

use rand::rngs::ChaCha12Rng;
use rand::{Rng, SeedableRng, TryRng};

use crate::error::{Error, Result};

/// A generator of random numbers that a resumed run continues at the very number where the earlier run stopped.
///
/// It is ChaCha with 12 rounds, a counter behind a cipher: its state is a key and the number of words drawn so far. Any
/// place is reached at once, with no need to draw the numbers before it. `rand`'s `StdRng` hides its state, and may use
/// another algorithm in the next version; a file could not name the place.
///
/// # Example
///
/// ```
/// use rand::RngExt;
/// use tapegrad::data::Generator;
///
/// # fn main() -> tapegrad::Result<()> {
/// let mut first = Generator::new(7);
/// let _: f64 = first.random();
/// let mut second = Generator::from_state(&first.state())?;
/// assert_eq!(first.random::<f64>(), second.random::<f64>());
/// # Ok(())
/// # }
/// ```
#[derive(PartialEq, Eq)]
pub struct Generator {
    cipher: ChaCha12Rng,
}

/// The words of 32 bits in a state: the key, the place, and the stream.
const WORDS: usize = 8 + 3 + 2;

impl Generator {
    /// Returns the generator of this seed, at its first number.
    ///
    /// # Example
    ///
    /// ```
    /// use rand::RngExt;
    /// use tapegrad::data::Generator;
    ///
    /// assert_eq!(Generator::new(7).random::<f64>(), Generator::new(7).random::<f64>());
    /// ```
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { cipher: ChaCha12Rng::seed_from_u64(seed) }
    }

    /// Returns the state: whole numbers below 2³², which any file format holds.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::data::Generator;
    ///
    /// assert_eq!(Generator::new(7).state().len(), 13);
    /// assert_ne!(Generator::new(7).state(), Generator::new(8).state());
    /// ```
    #[must_use]
    pub fn state(&self) -> Vec<u64> {
        let key = self.cipher.get_seed();
        let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
        let (place, stream) = (self.cipher.get_word_pos(), self.cipher.get_stream());
        let low = |number: u128| (number & u128::from(u32::MAX)) as u64;
        let mut words: Vec<u64> = key.chunks(4).map(word).collect();
        words.extend([0, 32, 64].map(|shift| low(place >> shift)));
        words.extend([0, 32].map(|shift| low(u128::from(stream) >> shift)));
        words
    }

    /// Returns the generator of a [`state`](Self::state).
    ///
    /// # Errors
    ///
    /// If it is not the state of a generator.
    ///
    /// # Example
    ///
    /// ```
    /// use tapegrad::data::Generator;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let first = Generator::new(7);
    /// assert!(Generator::from_state(&first.state())? == first);
    /// assert!(Generator::from_state(&[1, 2, 3]).is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_state(state: &[u64]) -> Result<Self> {
        let expected = format!("{WORDS} whole numbers below 4,294,967,296");
        if state.len() != WORDS {
            return Err(Error::value("generator state", expected, format!("{} numbers", state.len())));
        }
        if let Some(large) = state.iter().find(|&&word| word > u32::MAX.into()) {
            return Err(Error::value("generator state", expected, large.to_string()));
        }
        // 2⁶⁴ blocks of 16 words.
        if state[10] > 15 {
            return Err(Error::value("generator state", "a place below 2⁶⁸", format!("{} · 2⁶⁴", state[10])));
        }
        let mut key = [0; 32];
        for (bytes, &word) in key.chunks_mut(4).zip(state) {
            bytes.copy_from_slice(&(word as u32).to_le_bytes());
        }
        let mut cipher = ChaCha12Rng::from_seed(key);
        cipher.set_stream(state[11] | state[12] << 32);
        cipher.set_word_pos(u128::from(state[8]) | u128::from(state[9]) << 32 | u128::from(state[10]) << 64);
        Ok(Self { cipher })
    }
}

/// The copy draws the same numbers.
impl Clone for Generator {
    fn clone(&self) -> Self {
        let mut cipher = ChaCha12Rng::from_seed(self.cipher.get_seed());
        cipher.set_stream(self.cipher.get_stream());
        cipher.set_word_pos(self.cipher.get_word_pos());
        Self { cipher }
    }
}

impl TryRng for Generator {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> std::result::Result<u32, Infallible> {
        Ok(self.cipher.next_u32())
    }

    fn try_next_u64(&mut self) -> std::result::Result<u64, Infallible> {
        Ok(self.cipher.next_u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> std::result::Result<(), Infallible> {
        self.cipher.fill_bytes(bytes);
        Ok(())
    }
}

/// Prints the place.
impl fmt::Debug for Generator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Generator at word {}", self.cipher.get_word_pos())
    }
}
