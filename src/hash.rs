//! [`FastMap`]: maps whose keys the library makes itself, and [`Words`]: content as a key.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use smallvec::SmallVec;

/// A map with a hash of a few instructions. It is for ids, positions and bits of our own: nobody can choose keys that
/// collide in order to make a program slow.
pub(crate) type FastMap<K, V> = HashMap<K, V, BuildHasherDefault<FastHasher>>;

/// The hash of 64-bit words: each is mixed in by a product of 128 bits, whose two halves are combined.
#[derive(Default)]
pub(crate) struct FastHasher(u64);

/// An odd number without a pattern: the fraction of the golden ratio.
const MIXER: u64 = 0x9E37_79B9_7F4A_7C15;

impl Hasher for FastHasher {
    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }

    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        words(bytes).for_each(|word| self.write_u64(word));
    }

    #[inline]
    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }

    #[inline]
    fn write_u64(&mut self, word: u64) {
        let product = u128::from(self.0.rotate_left(23) ^ word ^ MIXER) * u128::from(MIXER);
        self.0 = product as u64 ^ (product >> 64) as u64;
    }

    #[inline]
    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }
}

/// Returns bytes as words; the last one is filled with zeros.
fn words(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    })
}

/// All that a value writes to a [`Hasher`]. Two values of a type are equal if their words are: what `Hash` writes tells
/// unequal values apart, whatever follows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Words(SmallVec<[u64; 8]>);

impl Hasher for Words {
    /// Nobody asks for it: the words themselves are what was wanted.
    fn finish(&self) -> u64 {
        let mut hasher = FastHasher::default();
        self.0.iter().for_each(|&word| hasher.write_u64(word));
        hasher.finish()
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.extend(words(bytes));
    }

    #[inline]
    fn write_u64(&mut self, word: u64) {
        self.0.push(word);
    }

    #[inline]
    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }
}
