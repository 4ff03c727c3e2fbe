//! Sums of numbers that are computed on the way, in the orders of [`reduce`](super::reduce): they have the bits of sums of
//! arrays of these numbers.
//!
//! The loops are plain: the adapters of iterators are not always inlined, and would be compiled without the vector
//! instructions of the kernel.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use crate::kernel::loops;
use crate::kernel::reduce::{BLOCK, CHAIN, FEW, LANES, Lanes, Sum, combine_lanes, in_blocks, in_pairs, join_lanes};
use crate::number::{Number, inlined, outlined};

/// Returns the sum of a function of the elements of slices of equal length, within a kernel that is dispatched already.
#[inline(always)]
pub(super) fn sum_of<S: Simd, T: Number, const K: usize>(
    simd: S,
    x: [&[T]; K],
    f: impl Fn([T; K]) -> T + Copy,
) -> T {
    let length = x[0].len();
    if length <= LANES {
        let mut total = T::ZERO;
        for i in 0..length {
            total += f(each(&x, i));
        }
        return total;
    }
    if length < (CHAIN + 1) * LANES {
        let (rows, rest) = lanes_of(x);
        return join_sum(add_terms(&rows, 0..rows[0].len(), f), rest, f);
    }
    outlined(simd, LongSum { x, f })
}

/// [`sum_of`] as a kernel.
pub(super) struct SumOf<'a, T, F, const K: usize> {
    pub(super) x: [&'a [T]; K],
    pub(super) f: F,
}

impl<T: Number, F: Fn([T; K]) -> T + Copy, const K: usize> WithSimd for SumOf<'_, T, F, K> {
    type Output = T;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> T {
        sum_of(simd, self.x, self.f)
    }
}

/// Returns the sum of runs of elements that lie apart, given the sum of each run: in the order in which a sum over axes before
/// and after a kept axis adds its runs.
#[inline(always)]
pub(super) fn sum_runs<T: Number>(count: usize, run: impl Fn(usize) -> T + Copy) -> T {
    in_pairs(
        count,
        (T::ZERO, inlined!(|a: T, b: &T| -> T { a + *b })),
        inlined!(|runs: Range<usize>| -> T { add_runs(runs, run) }),
        inlined!(|first: usize| -> T {
            add_runs(first..first + FEW / 2, run) + add_runs(first + FEW / 2..first + FEW, run)
        }),
    )
}

/// Adds the sums of runs, one run after the other.
#[inline(always)]
fn add_runs<T: Number>(runs: Range<usize>, run: impl Fn(usize) -> T) -> T {
    let mut sum = T::ZERO;
    for index in runs {
        sum += run(index);
    }
    sum
}

#[inline(always)]
fn each<T: Number, const K: usize>(x: &[&[T]; K], i: usize) -> [T; K] {
    let mut numbers = [T::ZERO; K];
    for k in 0..K {
        numbers[k] = x[k][i];
    }
    numbers
}

/// Returns the rows of one element for each lane, and the elements after the last whole row.
#[inline(always)]
fn lanes_of<T: Number, const K: usize>(x: [&[T]; K]) -> ([&[Lanes<T>]; K], [&[T]; K]) {
    let (mut rows, mut rest) = ([&[][..]; K], [&[][..]; K]);
    for k in 0..K {
        (rows[k], rest[k]) = x[k].as_chunks::<LANES>();
    }
    (rows, rest)
}

/// Adds a function of the elements of rows, one row after the other.
#[inline(always)]
fn add_terms<T: Number, const K: usize>(
    rows: &[&[Lanes<T>]; K],
    range: Range<usize>,
    f: impl Fn([T; K]) -> T,
) -> Lanes<T> {
    let mut lanes = [T::ZERO; LANES];
    for row in range {
        for i in 0..LANES {
            let mut numbers = [T::ZERO; K];
            for k in 0..K {
                numbers[k] = rows[k][row][i];
            }
            lanes[i] += f(numbers);
        }
    }
    lanes
}

/// Adds a function of the elements of a group of rows: those of each half, then the halves.
#[inline(always)]
fn add_group<T: Number, const K: usize>(
    rows: &[&[Lanes<T>]; K],
    first: usize,
    f: impl Fn([T; K]) -> T + Copy,
) -> Lanes<T> {
    let half = first + FEW / 2;
    combine_lanes::<T, Sum>(add_terms(rows, first..half, f), &add_terms(rows, half..first + FEW, f))
}

/// Adds a function of the elements after the last whole row to the first lanes, then the lanes.
#[inline(always)]
fn join_sum<T: Number, const K: usize>(mut lanes: Lanes<T>, rest: [&[T]; K], f: impl Fn([T; K]) -> T) -> T {
    for i in 0..rest[0].len().min(LANES) {
        lanes[i] += f(each(&rest, i));
    }
    join_lanes::<T, Sum>(lanes, &[])
}

/// [`sum_of`] for more than [`CHAIN`] rows of lanes.
struct LongSum<'a, T, F, const K: usize> {
    x: [&'a [T]; K],
    f: F,
}

impl<T: Number, F: Fn([T; K]) -> T + Copy, const K: usize> WithSimd for LongSum<'_, T, F, K> {
    type Output = T;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> T {
        let Self { x, f } = self;
        let (rows, rest) = lanes_of(x);
        let count = rows[0].len();
        let mut lanes = [T::ZERO; LANES];
        if count <= BLOCK {
            // One block: there is no tree.
            let mut row = 0;
            while row + FEW <= count {
                lanes = combine_lanes::<T, Sum>(lanes, &add_group(&rows, row, f));
                row += FEW;
            }
            if row < count {
                lanes = combine_lanes::<T, Sum>(lanes, &add_terms(&rows, row..count, f));
            }
        } else {
            lanes = in_blocks(
                count,
                (lanes, inlined!(|a: Lanes<T>, b: &Lanes<T>| -> Lanes<T> { combine_lanes::<T, Sum>(a, b) })),
                inlined!(|range: Range<usize>| -> Lanes<T> { add_terms(&rows, range, f) }),
                inlined!(|first: usize| -> Lanes<T> { add_group(&rows, first, f) }),
            );
        }
        join_sum(lanes, rest, f)
    }
}

/// The number of rows of a block of [`ColumnSums`].
pub(super) const ROWS_OF_BLOCK: usize = BLOCK;
/// The number of rows of a group of [`ColumnSums`].
pub(super) const ROWS_OF_GROUP: usize = FEW;

/// The sums of the columns of a matrix whose elements are computed on the way, from two matrices and a number for each row. They
/// have the bits of the sums of that matrix over its rows.
///
/// [`add`](Self::add) adds a group of rows to the sums of their block, and [`finish`](Self::finish) adds the sums of blocks.
pub(super) struct ColumnSums {
    /// The number of rows of the whole matrix.
    rows: usize,
    width: usize,
}

impl ColumnSums {
    pub(super) fn new(rows: usize, width: usize) -> Self {
        Self { rows, width }
    }

    /// Returns the number of elements of the sums of all blocks.
    pub(super) fn elements(&self) -> usize {
        self.rows.div_ceil(BLOCK) * self.width
    }

    /// Returns the number from which the sums of a block begin.
    #[inline(always)]
    pub(super) fn neutral<T: Number>(&self) -> T {
        // A single row is no sum: -0 stays -0.
        if self.rows == 1 { -T::ZERO } else { T::ZERO }
    }

    /// Adds `f(a, b, n)` of the elements of a group of rows, with the number `n` of each row. The group is whole, or the last
    /// one.
    #[inline(always)]
    pub(super) fn add<T: Number, N: Copy>(
        &self,
        [a, b]: [&[T]; 2],
        numbers: &[N],
        sums: &mut [T],
        f: impl Fn(T, T, N) -> T + Copy,
    ) {
        let mut start = 0;
        while start + LANES <= self.width {
            self.add_columns([a, b], numbers, start, LANES, sums, f);
            start += LANES;
        }
        if start < self.width {
            self.add_columns([a, b], numbers, start, self.width - start, sums, f);
        }
    }

    /// The same for `count` columns, at most one for each lane.
    #[inline(always)]
    fn add_columns<T: Number, N: Copy>(
        &self,
        [a, b]: [&[T]; 2],
        numbers: &[N],
        start: usize,
        count: usize,
        sums: &mut [T],
        f: impl Fn(T, T, N) -> T + Copy,
    ) {
        let sums = &mut sums[start..start + count];
        if self.rows <= CHAIN {
            let mut lanes = [T::ZERO; LANES];
            lanes[..count].copy_from_slice(sums);
            add_rows([a, b], numbers, 0..numbers.len(), (self.width, start, count), &mut lanes, f);
            sums.copy_from_slice(&lanes[..count]);
            return;
        }
        let half = if numbers.len() == FEW { FEW / 2 } else { numbers.len() };
        let (mut first, mut second) = ([T::ZERO; LANES], [T::ZERO; LANES]);
        add_rows([a, b], numbers, 0..half, (self.width, start, count), &mut first, f);
        add_rows([a, b], numbers, half..numbers.len(), (self.width, start, count), &mut second, f);
        for i in 0..count {
            sums[i] += first[i] + second[i];
        }
    }

    /// Adds the sums of blocks, in place, in a pairwise tree.
    pub(super) fn finish<T: Number>(&self, blocks: &mut [T], out: &mut [T]) {
        let width = self.width;
        if self.rows <= CHAIN {
            return out.copy_from_slice(&blocks[..width]);
        }
        // Results of 2^i blocks each, the largest first, at the front of the memory.
        let mut results = 0;
        for block in 0..blocks.len() / width {
            blocks.copy_within(block * width..(block + 1) * width, results * width);
            for _ in 0..block.trailing_ones() {
                let (before, result) = blocks[(results - 1) * width..].split_at_mut(width);
                loops::zip_in_place(before, result, |before, result| before + result);
                results -= 1;
            }
            results += 1;
        }
        out.fill(T::ZERO);
        for result in blocks[..results * width].chunks_exact(width).rev() {
            loops::zip_in_place(out, result, |total, result| result + total);
        }
    }
}

/// Adds `f(a, b, n)` of the elements of some rows, one row after the other.
#[inline(always)]
fn add_rows<T: Number, N: Copy>(
    [a, b]: [&[T]; 2],
    numbers: &[N],
    rows: Range<usize>,
    (width, start, count): (usize, usize, usize),
    lanes: &mut Lanes<T>,
    f: impl Fn(T, T, N) -> T,
) {
    for row in rows {
        let number = numbers[row];
        let range = row * width + start..row * width + start + count;
        let (a, b) = (&a[range.clone()], &b[range]);
        if let (Some(a), Some(b)) = (a.first_chunk::<LANES>(), b.first_chunk::<LANES>()) {
            for i in 0..LANES {
                lanes[i] += f(a[i], b[i], number);
            }
        } else {
            for i in 0..a.len().min(LANES) {
                lanes[i] += f(a[i], b[i], number);
            }
        }
    }
}
