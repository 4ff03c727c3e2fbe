//! Sums of numbers that are computed on the way, in the orders of [`reduce`](super::reduce): they have the bits of sums of
//! arrays of these numbers.
//!
//! The loops are plain: the adapters of iterators are not always inlined, and would be compiled without the vector
//! instructions of the kernel.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use crate::kernel::loops;
use crate::kernel::tree::{BLOCK, CHAIN, FEW, LANES, Lanes, Sum, append, in_tree, join_lanes, one_block};
use crate::number::{Number, inlined, outlined};

/// Returns the sums of functions of the elements of slices of equal length, within a kernel that is dispatched already.
/// Each is the same as the sum of an array of these numbers.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "a plain loop, as the module states")]
pub(super) fn sums_inlined<S: Simd, T: Number, const K: usize, const M: usize>(
    simd: S,
    x: [&[T]; K],
    f: impl Fn([T; K]) -> [T; M] + Copy,
) -> [T; M] {
    let length = x[0].len();
    let mut total = [T::ZERO; M];
    if length <= LANES {
        for i in 0..length {
            append::<T, Sum, M>(&mut total, &f(each(&x, i)));
        }
        return total;
    }
    let (mut rows, mut rest) = ([&[][..]; K], [&[][..]; K]);
    for k in 0..K {
        (rows[k], rest[k]) = x[k].as_chunks::<LANES>();
    }
    let count = rows[0].len();
    let mut lanes = if count <= CHAIN {
        add_terms(&rows, 0..count, f)
    } else {
        outlined(simd, TermBlocks::<T, _, K, M> { rows, f })
    };
    for i in 0..rest[0].len().min(LANES) {
        let terms = f(each(&rest, i));
        for m in 0..M {
            lanes[m][i] += terms[m];
        }
    }
    for m in 0..M {
        total[m] = join_lanes::<T, Sum>(lanes[m], &[]);
    }
    total
}

/// [`sums_inlined`] as a kernel.
pub(super) struct SumsOf<'a, T, F, const K: usize, const M: usize> {
    pub(super) x: [&'a [T]; K],
    pub(super) f: F,
}

impl<T: Number, F: Fn([T; K]) -> [T; M] + Copy, const K: usize, const M: usize> WithSimd for SumsOf<'_, T, F, K, M> {
    type Output = [T; M];

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> [T; M] {
        sums_inlined(simd, self.x, self.f)
    }
}

/// Returns the sums of runs of elements that lie apart, given the sums of each run: in the order in which a sum over axes
/// before and after a kept axis adds its runs.
#[inline(always)]
pub(super) fn sum_runs<T: Number, const M: usize>(count: usize, run: impl Fn(usize) -> [T; M] + Copy) -> [T; M] {
    if count <= CHAIN {
        return add_runs(0..count, run);
    }
    in_tree(
        count,
        [T::ZERO; M],
        inlined!(|before: &[T; M], sums: &mut [T; M]| append::<T, Sum, M>(sums, before)),
        inlined!(|block: Range<usize>| one_block(
            block,
            [T::ZERO; M],
            append::<T, Sum, M>,
            inlined!(|runs: Range<usize>| -> [T; M] { add_runs(runs, run) }),
            inlined!(|first: usize| -> [T; M] {
                let mut sums = add_runs(first..first + FEW / 2, run);
                append::<T, Sum, M>(&mut sums, &add_runs(first + FEW / 2..first + FEW, run));
                sums
            }),
        )),
    )
}

/// Adds the sums of runs, one run after the other.
#[inline(always)]
fn add_runs<T: Number, const M: usize>(runs: Range<usize>, run: impl Fn(usize) -> [T; M]) -> [T; M] {
    let mut sums = [T::ZERO; M];
    for index in runs {
        append::<T, Sum, M>(&mut sums, &run(index));
    }
    sums
}

/// Adds lanes of several sums. The order of two numbers does not change their sum.
#[inline(always)]
fn add_lanes<T: Number, const M: usize>(a: &mut [Lanes<T>; M], b: &[Lanes<T>; M]) {
    for m in 0..M {
        append::<T, Sum, LANES>(&mut a[m], &b[m]);
    }
}

#[inline(always)]
fn each<T: Number, const K: usize>(x: &[&[T]; K], i: usize) -> [T; K] {
    let mut numbers = [T::ZERO; K];
    for k in 0..K {
        numbers[k] = x[k][i];
    }
    numbers
}

/// Adds functions of the elements of rows, one row after the other.
#[inline(always)]
fn add_terms<T: Number, const K: usize, const M: usize>(
    rows: &[&[Lanes<T>]; K],
    range: Range<usize>,
    f: impl Fn([T; K]) -> [T; M],
) -> [Lanes<T>; M] {
    let mut lanes = [[T::ZERO; LANES]; M];
    for row in range {
        for i in 0..LANES {
            let mut numbers = [T::ZERO; K];
            for k in 0..K {
                numbers[k] = rows[k][row][i];
            }
            let terms = f(numbers);
            for m in 0..M {
                lanes[m][i] += terms[m];
            }
        }
    }
    lanes
}

/// The sums of functions of the elements of more than [`CHAIN`] rows.
struct TermBlocks<'a, T, F, const K: usize, const M: usize> {
    rows: [&'a [Lanes<T>]; K],
    f: F,
}

impl<T: Number, F: Fn([T; K]) -> [T; M] + Copy, const K: usize, const M: usize> WithSimd
    for TermBlocks<'_, T, F, K, M>
{
    type Output = [Lanes<T>; M];

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> [Lanes<T>; M] {
        let Self { rows, f } = self;
        in_tree(
            rows[0].len(),
            [[T::ZERO; LANES]; M],
            inlined!(|before: &[Lanes<T>; M], lanes: &mut [Lanes<T>; M]| add_lanes(lanes, before)),
            inlined!(|block: Range<usize>| one_block(
                block,
                [[T::ZERO; LANES]; M],
                inlined!(|lanes: &mut [Lanes<T>; M], part: &[Lanes<T>; M]| add_lanes(lanes, part)),
                inlined!(|range: Range<usize>| add_terms(&rows, range, f)),
                inlined!(|first: usize| {
                    let half = first + FEW / 2;
                    let mut lanes = add_terms(&rows, first..half, f);
                    add_lanes(&mut lanes, &add_terms(&rows, half..first + FEW, f));
                    lanes
                }),
            )),
        )
    }
}

/// The number of rows of a block of [`ColumnSums`].
pub(super) const ROWS_OF_BLOCK: usize = BLOCK;
/// The number of rows of a group of [`ColumnSums`].
pub(super) const ROWS_OF_GROUP: usize = FEW;

/// The sums of the columns of a matrix whose rows come one after the other, a group of them at a time.
///
/// They are the same as the sums of the whole matrix over its rows. [`finish`](Self::finish) adds the sums of blocks.
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

    /// Adds a group of rows to the sums of their block. The group is whole, or the last one. `scratch` is as long as a
    /// row.
    #[inline(always)]
    pub(super) fn add<T: Number>(&self, group: &[T], scratch: &mut [T], sums: &mut [T]) {
        let width = self.width;
        if self.rows == 1 {
            // It is no sum: -0 stays -0.
            sums.copy_from_slice(group);
        } else if self.rows <= CHAIN {
            add_rows(group, width, sums);
        } else if group.len() == FEW * width {
            let (first, second) = group.split_at(FEW / 2 * width);
            let ((a, b), (e, f)) = (first.split_at(2 * width), second.split_at(2 * width));
            let ((a, b), (c, d)) = (a.split_at(width), b.split_at(width));
            let ((e, f), (g, h)) = (e.split_at(width), f.split_at(width));
            let (b, c, d, e, f, g, h) =
                (&b[..width], &c[..width], &d[..width], &e[..width], &f[..width], &g[..width], &h[..width]);
            let (a, sums) = (&a[..width], &mut sums[..width]);
            for i in 0..width {
                let first = a[i] + b[i] + c[i] + d[i];
                sums[i] += first + (e[i] + f[i] + g[i] + h[i]);
            }
        } else {
            scratch.fill(T::ZERO);
            add_rows(group, width, scratch);
            loops::zip_in_place(sums, scratch, inlined!(|sum: T, part: T| -> T { sum + part }));
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

/// Adds rows to sums, one row after the other.
#[inline(always)]
fn add_rows<T: Number>(rows: &[T], width: usize, sums: &mut [T]) {
    let mut start = 0;
    while start < rows.len() {
        loops::zip_in_place(sums, &rows[start..start + width], inlined!(|sum: T, x: T| -> T { sum + x }));
        start += width;
    }
}
