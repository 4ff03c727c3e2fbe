//! Positions of the largest and the smallest elements along an axis.

use pulp::{Simd, WithSimd};

use super::index::AxisSplit;
use crate::number::{Classify, Number, dispatch, inlined};

/// The number of neighbours whose best elements are found at the same time.
const BLOCK: usize = 128;
/// The number of elements of a row that are compared side by side.
const LANES: usize = 8;

/// `positions[o, i]` is the first `k` for which `x[o, k, i]` is the largest; a NaN counts as the largest. The axis has at
/// least one element.
pub(crate) fn largest<T: Number>(x: &[T], split: AxisSplit, positions: &mut [usize]) {
    run(
        x,
        split,
        positions,
        inlined!(|other: T, best: T| -> bool { (other > best) | (other.is_nan() & !best.is_nan()) }),
    );
}

/// `positions[o, i]` is the first `k` for which `x[o, k, i]` is the smallest; a NaN counts as the smallest. The axis has at
/// least one element.
pub(crate) fn smallest<T: Number>(x: &[T], split: AxisSplit, positions: &mut [usize]) {
    run(
        x,
        split,
        positions,
        inlined!(|other: T, best: T| -> bool { (other < best) | (other.is_nan() & !best.is_nan()) }),
    );
}

fn run<T: Number>(x: &[T], split: AxisSplit, positions: &mut [usize], exceeds: impl Fn(T, T) -> bool + Copy) {
    dispatch(Extremes { x, split, positions, exceeds });
}

struct Extremes<'a, T, F> {
    x: &'a [T],
    split: AxisSplit,
    positions: &'a mut [usize],
    /// Whether the first number is to be kept instead of the second, which comes before it.
    exceeds: F,
}

impl<T: Number, F: Fn(T, T) -> bool + Copy> WithSimd for Extremes<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { x, split: AxisSplit { length, inner, .. }, positions, exceeds } = self;
        if positions.is_empty() {
            return;
        }
        if inner == 1 {
            x.chunks_exact(length).zip(positions).for_each(|(row, position)| *position = in_row(row, exceeds));
            return;
        }
        let mut best = [T::ZERO; BLOCK];
        for (x, positions) in x.chunks_exact(length * inner).zip(positions.chunks_exact_mut(inner)) {
            for (block, positions) in positions.chunks_mut(BLOCK).enumerate() {
                let start = block * BLOCK;
                let best = &mut best[..positions.len()];
                best.copy_from_slice(&x[start..][..best.len()]);
                positions.fill(0);
                for (k, row) in x.chunks_exact(inner).enumerate().skip(1) {
                    keep(best, positions, &row[start..], k, exceeds);
                }
            }
        }
    }
}

/// Keeps those elements of a row that exceed the best before, and their position.
#[inline(always)]
fn keep<T: Number>(best: &mut [T], positions: &mut [usize], row: &[T], k: usize, exceeds: impl Fn(T, T) -> bool) {
    let row = &row[..best.len()];
    let positions = &mut positions[..best.len()];
    for i in 0..best.len() {
        let found = exceeds(row[i], best[i]);
        best[i] = if found { row[i] } else { best[i] };
        positions[i] = if found { k } else { positions[i] };
    }
}

/// Returns the position of the best element of a row.
#[inline(always)]
fn in_row<T: Number>(row: &[T], exceeds: impl Fn(T, T) -> bool + Copy) -> usize {
    let (lanes, rest) = row.as_chunks::<LANES>();
    let mut found = (row[0], 0);
    let mut take = |x: T, position: usize| {
        // Of two equal elements the first. Two NaN are not equal, but neither exceeds the other.
        if exceeds(x, found.0) || position < found.1 && !exceeds(found.0, x) {
            found = (x, position);
        }
    };
    if let Some((&first, others)) = lanes.split_first().filter(|(_, others)| others.len() >= LANES) {
        let (mut best, mut positions) = (first, [0; LANES]);
        others.iter().enumerate().for_each(|(k, row)| keep(&mut best, &mut positions, row, k + 1, exceeds));
        (0..LANES).for_each(|lane| take(best[lane], positions[lane] * LANES + lane));
        rest.iter().enumerate().for_each(|(k, &x)| take(x, lanes.len() * LANES + k));
    } else {
        row.iter().enumerate().skip(1).for_each(|(k, &x)| take(x, k));
    }
    found.1
}
