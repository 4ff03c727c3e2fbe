//! Lanes that are combined row by row, in an order that the number of rows fixes: a pairwise tree over blocks of rows.

use std::ops::Range;

use smallvec::SmallVec;

use crate::number::{Number, inlined};

/// Accumulators side by side: enough to fill two AVX-512 registers of `f32`.
pub(super) const LANES: usize = 32;
/// Up to this many rows are combined one after the other. More are combined block by block.
pub(super) const CHAIN: usize = 16;
/// The number of rows in a block.
pub(super) const BLOCK: usize = 4 * FEW;
/// The number of rows in a group. Each half of a group is combined one row after the other.
pub(super) const FEW: usize = 8;

/// The function of a reduction: it is associative and has a neutral element.
pub(super) trait Combine<T>: Copy + Default + Send + Sync {
    const NEUTRAL: T;
    fn combine(a: T, b: T) -> T;
}

#[derive(Clone, Copy, Default)]
pub(super) struct Sum;
impl<T: Number> Combine<T> for Sum {
    const NEUTRAL: T = T::ZERO;
    #[inline(always)]
    fn combine(a: T, b: T) -> T {
        a + b
    }
}

/// One number for each lane.
pub(super) type Lanes<T> = [T; LANES];

/// Combines the elements after the last whole row with the first lanes, then the lanes.
#[inline(always)]
pub(super) fn join_lanes<T: Number, C: Combine<T>>(mut lanes: Lanes<T>, rest: &[T]) -> T {
    // Neutral elements fill up the row: a loop over single elements would take most of a short row's time. No lane is -0 in a
    // sum, for it starts at 0.
    let mut row = [C::NEUTRAL; LANES];
    row[..rest.len()].copy_from_slice(rest);
    append::<T, C, LANES>(&mut lanes, &row);
    let lanes = halve::<T, C, LANES, 16>(&lanes);
    let lanes = halve::<T, C, 16, 8>(&lanes);
    let lanes = halve::<T, C, 8, 4>(&lanes);
    let lanes = halve::<T, C, 4, 2>(&lanes);
    C::combine(lanes[0], lanes[1])
}

/// Combines the first half of some lanes with the second.
#[inline(always)]
fn halve<T: Number, C: Combine<T>, const N: usize, const HALF: usize>(lanes: &[T; N]) -> [T; HALF] {
    let mut joined = [C::NEUTRAL; HALF];
    for i in 0..HALF {
        joined[i] = C::combine(lanes[i], lanes[i + HALF]);
    }
    joined
}

/// Returns the first `N` elements.
#[inline(always)]
pub(super) fn part<T, const N: usize>(x: &[T]) -> &[T; N] {
    x.first_chunk().expect("as many elements as a strip has columns")
}

/// Combines rows of `N` elements lane by lane, in the order that the module's documentation states.
#[inline(always)]
pub(super) fn strip<'a, T: Number, C: Combine<T>, const N: usize>(
    rows: usize,
    row: impl Fn(usize) -> &'a [T; N],
) -> [T; N] {
    if rows <= CHAIN { chain::<T, C, N>(0..rows, row) } else { tree::<T, C, N>(rows, row) }
}

/// The same, also for a few rows that are the last block of many.
#[inline(always)]
pub(super) fn tree<'a, T: Number, C: Combine<T>, const N: usize>(
    rows: usize,
    row: impl Fn(usize) -> &'a [T; N],
) -> [T; N] {
    let row = &row;
    in_tree(
        rows,
        [C::NEUTRAL; N],
        prepend::<T, C, N>,
        inlined!(|block: Range<usize>| {
            if block.len() == BLOCK {
                return row_groups::<T, C, N, { BLOCK / FEW }>(block.start, row);
            }
            one_block(
                block,
                [C::NEUTRAL; N],
                append::<T, C, N>,
                inlined!(|rows| chain::<T, C, N>(rows, row)),
                inlined!(|first| row_groups::<T, C, N, 1>(first, row)),
            )
        }),
    )
}

/// Combines groups of rows one after the other. A lane is written once for each group.
#[inline(always)]
fn row_groups<'a, T: Number, C: Combine<T>, const N: usize, const GROUPS: usize>(
    start: usize,
    row: impl Fn(usize) -> &'a [T; N],
) -> [T; N] {
    let mut lanes = [C::NEUTRAL; N];
    for group in 0..GROUPS {
        let at = start + group * FEW;
        let [a, b, c, d] = [row(at), row(at + 1), row(at + 2), row(at + 3)];
        let [e, f, g, h] = [row(at + 4), row(at + 5), row(at + 6), row(at + 7)];
        for i in 0..N {
            let first = C::combine(C::combine(C::combine(a[i], b[i]), c[i]), d[i]);
            let second = C::combine(C::combine(C::combine(e[i], f[i]), g[i]), h[i]);
            lanes[i] = C::combine(lanes[i], C::combine(first, second));
        }
    }
    lanes
}

/// Combines rows one after the other. (This is not a `fold`: a function of the standard library may stay a function of its own,
/// without the instructions of this CPU.)
#[inline(always)]
pub(super) fn chain<'a, T: Number, C: Combine<T>, const N: usize>(
    rows: Range<usize>,
    row: impl Fn(usize) -> &'a [T; N],
) -> [T; N] {
    let mut lanes = [C::NEUTRAL; N];
    for index in rows {
        append::<T, C, N>(&mut lanes, row(index));
    }
    lanes
}

/// Combines the rows of each block by `one_block`, and the results in a pairwise tree. `prepend` combines a result with one
/// that comes before it.
#[inline(always)]
pub(super) fn in_tree<A: Copy>(
    rows: usize,
    neutral: A,
    prepend: impl Fn(&A, &mut A),
    one_block: impl Fn(Range<usize>) -> A,
) -> A {
    // Results of 2^i blocks each, the largest first. This is the pairwise tree without recursion: a recursive function
    // would not be inlined into its caller.
    let mut results: SmallVec<[A; 32]> = SmallVec::new();
    for (block, start) in (0..rows).step_by(BLOCK).enumerate() {
        let mut result = one_block(start..rows.min(start + BLOCK));
        let others = results.len() - block.trailing_ones() as usize;
        for before in results[others..].iter().rev() {
            prepend(before, &mut result);
        }
        results.truncate(others);
        results.push(result);
    }
    let mut total = neutral;
    for result in results.iter().rev() {
        prepend(result, &mut total);
    }
    total
}

/// Combines the groups of a block one after the other by `append`. `one_by_one` combines a range of rows one after the other;
/// `few` combines a group of [`FEW`] rows, given its first row.
#[inline(always)]
pub(super) fn one_block<A: Copy>(
    rows: Range<usize>,
    neutral: A,
    append: impl Fn(&mut A, &A),
    one_by_one: impl Fn(Range<usize>) -> A,
    few: impl Fn(usize) -> A,
) -> A {
    let mut result = neutral;
    for start in rows.clone().step_by(FEW) {
        let part = if rows.end - start < FEW { one_by_one(start..rows.end) } else { few(start) };
        append(&mut result, &part);
    }
    result
}

/// Combines lanes with others that come after them.
///
/// The places stay where they are, and the loop counts: the compiler makes vectors of that. Of arrays by value and of `zip` it
/// makes code that takes two to five times as long.
#[inline(always)]
pub(super) fn append<T: Number, C: Combine<T>, const N: usize>(lanes: &mut [T; N], after: &[T; N]) {
    for i in 0..N {
        lanes[i] = C::combine(lanes[i], after[i]);
    }
}

/// Combines lanes with others that come before them.
#[inline(always)]
pub(super) fn prepend<T: Number, C: Combine<T>, const N: usize>(before: &[T; N], lanes: &mut [T; N]) {
    for i in 0..N {
        lanes[i] = C::combine(before[i], lanes[i]);
    }
}
