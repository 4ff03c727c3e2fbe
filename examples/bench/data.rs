//! The data of the workloads: numbers that depend on the workload alone, so that other programs can make the same.
//!
//! A *stream* is a sequence of numbers with a name, a whole number. W3 has the streams from 300 on, W12 those from 1200 on.

use ndarray::{Array, ShapeBuilder};
use tapegrad::{Param, Scalar};

/// Returns an array of `f` of the numbers of a stream, in row-major order.
pub fn array<T: Scalar, Sh: ShapeBuilder>(stream: u64, shape: Sh, f: impl Fn(f64) -> f64) -> Array<T, Sh::Dim> {
    let mut numbers = uniform(stream);
    Array::from_shape_simple_fn(shape, || T::from_f64(f(numbers.next().unwrap_or_default())))
}

/// Returns a weight: uniform between `±√(3 / fan_in)`, so that its variance is `1 / fan_in`.
pub fn weight<T: Scalar, Sh: ShapeBuilder>(stream: u64, shape: Sh, fan_in: usize) -> Array<T, Sh::Dim> {
    array(stream, shape, |u| symmetric(u) * (3.0 / fan_in as f64).sqrt())
}

/// Returns a bias: uniform between `±1 / √fan_in`.
pub fn bias<T: Scalar>(stream: u64, length: usize, fan_in: usize) -> Param<T> {
    Param::new(array(stream, length, |u| symmetric(u) / (fan_in as f64).sqrt()))
}

/// Returns labels of classes below `classes`.
pub fn labels(stream: u64, count: usize, classes: usize) -> Vec<usize> {
    uniform(stream).take(count).map(|u| (u * classes as f64) as usize).collect()
}

/// Returns a number in `[-1, 1)` for one in `[0, 1)`.
pub fn symmetric(u: f64) -> f64 {
    2.0 * u - 1.0
}

/// Returns the splitmix64 sequence of a stream, as numbers in `[0, 1)`.
fn uniform(stream: u64) -> impl Iterator<Item = f64> {
    (1u64..).map(move |i| {
        let mut z = ((stream << 32) + i).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        unit(z)
    })
}

/// Returns the sequence of NumPy's `default_rng(7).random()`: the generator PCG64 (M. O'Neill, 2014) from the state that
/// NumPy makes of the seed 7.
pub fn numpy() -> impl FnMut() -> f64 {
    const MULTIPLIER: u128 = 0x2360_ED05_1FC6_5DA4_4385_DF64_9FCC_F645;
    const INCREMENT: u128 = 0xC475_1896_CE8A_CEBF_6688_7F5A_C070_D959;
    let mut state: u128 = 0x9D0A_ECC4_E7B1_8891_9AE2_415A_6B29_2038;
    move || {
        state = state.wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT);
        let folded = (state >> 64) as u64 ^ state as u64;
        unit(folded.rotate_right((state >> 122) as u32))
    }
}

/// Returns the upper 53 bits as a number in `[0, 1)`.
fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}
