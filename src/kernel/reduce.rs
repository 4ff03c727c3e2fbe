//! Reductions of a row-major array over a set of axes.
//!
//! The order of combination depends on the shape alone, never on the CPU. A matrix that is reduced over its rows is cut
//! into strips of at most [`LANES`] columns (32). In a strip, rows are combined lane by lane:
//!
//! - Up to [`CHAIN`] rows (16) are combined one after the other.
//! - More rows are cut into blocks of [`BLOCK`] (32). The results of the blocks are combined in a pairwise tree.
//! - A block is cut into groups of [`FEW`] rows (8). The results of the groups are combined one after the other.
//! - A group has two halves of 4 rows. The rows of each half are combined one after the other, then the two halves.
//! - A last group of fewer rows is combined one row after the other.
//!
//! A long vector is read as a matrix of one strip: each row has 32 neighbours. The elements after the last whole row
//! are combined with the first lanes. Then the lanes are combined: lane `i` with lane `i + 16`, then with lane `i + 8`,
//! and so on down to one. A vector of at most 32 elements is combined one element after the other.
//!
//! So the rounding error of a long sum grows with the logarithm of its length, not with the length.

use std::ops::Range;

use pulp::{Simd, WithSimd};
use smallvec::SmallVec;

use crate::number::{Algebra, Number, dispatch, inlined, outlined};
use crate::shape::AxisSet;
use crate::threads::{self, PIECE, in_pieces};

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

#[derive(Clone, Copy, Default)]
struct Max;
impl<T: Number> Combine<T> for Max {
    const NEUTRAL: T = T::NEG_INFINITY;
    #[inline(always)]
    fn combine(a: T, b: T) -> T {
        a.maximum(b)
    }
}

#[derive(Clone, Copy, Default)]
struct Min;
impl<T: Number> Combine<T> for Min {
    const NEUTRAL: T = T::INFINITY;
    #[inline(always)]
    fn combine(a: T, b: T) -> T {
        -(-a).maximum(-b)
    }
}

#[derive(Clone, Copy, Default)]
struct Prod;
impl<T: Number> Combine<T> for Prod {
    const NEUTRAL: T = T::ONE;
    #[inline(always)]
    fn combine(a: T, b: T) -> T {
        a * b
    }
}

/// Returns the sum of a slice, within a kernel that is dispatched already.
#[inline(always)]
pub(crate) fn sum_inlined<S: Simd, T: Number>(simd: S, x: &[T]) -> T {
    fold::<S, T, Sum>(simd, x)
}

/// Returns the maximum of a slice, within a kernel that is dispatched already.
#[inline(always)]
pub(crate) fn max_inlined<S: Simd, T: Number>(simd: S, x: &[T]) -> T {
    fold::<S, T, Max>(simd, x)
}

/// Sums the row-major `x` over `axes` into `out`, the remaining axes in row-major order.
pub(crate) fn sum<T: Number>(x: &[T], shape: &[usize], axes: AxisSet, out: &mut [T]) {
    run(x, shape, axes, out, Sum);
}

/// Takes the maximum of the row-major `x` over `axes` into `out`, the remaining axes in row-major order.
pub(crate) fn max<T: Number>(x: &[T], shape: &[usize], axes: AxisSet, out: &mut [T]) {
    run(x, shape, axes, out, Max);
}

/// Takes the minimum of the row-major `x` over `axes` into `out`, the remaining axes in row-major order.
pub(crate) fn min<T: Number>(x: &[T], shape: &[usize], axes: AxisSet, out: &mut [T]) {
    run(x, shape, axes, out, Min);
}

/// Multiplies the row-major `x` over `axes` into `out`, the remaining axes in row-major order.
pub(crate) fn prod<T: Number>(x: &[T], shape: &[usize], axes: AxisSet, out: &mut [T]) {
    run(x, shape, axes, out, Prod);
}

/// Sums each column of a matrix of `width` columns: column `first` and the following ones, as many as `out` takes.
pub(crate) fn sum_columns<T: Number>(x: &[T], width: usize, first: usize, out: &mut [T]) {
    run_columns(x, width, first, out, Sum);
}

/// Takes the maximum of each column of a matrix of `width` columns: column `first` and the following ones, as many as
/// `out` takes.
pub(crate) fn max_columns<T: Number>(x: &[T], width: usize, first: usize, out: &mut [T]) {
    run_columns(x, width, first, out, Max);
}

/// Reduces on this thread, or shares a large array. No order of combination changes: threads divide the elements of the
/// result, and the pairwise tree at its branches.
fn run<T: Number, C: Combine<T>>(x: &[T], shape: &[usize], axes: AxisSet, out: &mut [T], combine: C) {
    if x.len() < 2 * PIECE || threads::count() == 1 {
        return dispatch(Reduction { x, shape, axes, out, combine });
    }
    match groups(shape, axes).as_slice() {
        [Group { reduced: true, .. }] => out[0] = shared_fold(x, combine),
        &[Group { reduced: false, length: 1 }, Group { reduced: true, .. }] => out[0] = shared_fold(x, combine),
        &[Group { reduced: false, .. }, Group { reduced: true, length }] => {
            in_pieces(out, 1, (PIECE / length).max(1), |start, out| {
                let (x, shape) = (&x[start * length..][..out.len() * length], [out.len(), length]);
                dispatch(Reduction { x, shape: &shape, axes: AxisSet::one(1), out, combine });
            });
        }
        &[Group { reduced: true, .. }, Group { reduced: false, length }] => run_columns(x, length, 0, out, combine),
        &[Group { reduced: false, .. }, Group { reduced: true, length: rows }, Group { reduced: false, length }] => {
            in_pieces(out, length, (PIECE / rows).max(length), |start, out| {
                let (x, shape) = (&x[start * rows..][..out.len() * rows], [out.len() / length, rows, length]);
                dispatch(Reduction { x, shape: &shape, axes: AxisSet::one(1), out, combine });
            });
        }
        _ => dispatch(Reduction { x, shape, axes, out, combine }),
    }
}

/// Reduces the rows of some columns on this thread, or shares them.
fn run_columns<T: Number, C: Combine<T>>(x: &[T], width: usize, first: usize, out: &mut [T], combine: C) {
    let rows = x.len() / width.max(1);
    if rows * out.len() < 2 * PIECE || threads::count() == 1 {
        return dispatch(Columns { x, width, first, out, combine });
    }
    if rows * LANES < 2 * PIECE {
        return in_pieces(out, LANES, (PIECE / rows.max(1)).max(LANES), |start, out| {
            dispatch(Columns { x, width, first: first + start, out, combine });
        });
    }
    for (index, out) in out.chunks_mut(LANES).enumerate() {
        let lanes = shared_tile(x, width, first + index * LANES, out.len(), combine);
        out.copy_from_slice(&lanes[..out.len()]);
    }
}

/// The same as [`fold`], shared.
fn shared_fold<T: Number, C: Combine<T>>(x: &[T], combine: C) -> T {
    let (rows, rest) = x.as_chunks::<LANES>();
    join_lanes::<T, C>(shared_tile(rows.as_flattened(), LANES, 0, LANES, combine), rest)
}

/// The same as [`tile`] for at least a block of rows, shared: the pairwise tree is divided at its root and below.
fn shared_tile<T: Number, C: Combine<T>>(x: &[T], width: usize, start: usize, count: usize, combine: C) -> Lanes<T> {
    let blocks = (x.len() / width).div_ceil(BLOCK);
    if blocks == 1 || blocks * BLOCK * count < 2 * PIECE {
        return dispatch(Blocks { x, width, start, count, combine });
    }
    // The tree over the blocks has at its left the largest power of two.
    let (first, second) = x.split_at((1 << (blocks - 1).ilog2()) * BLOCK * width);
    let (first, second) = threads::join(
        || shared_tile(first, width, start, count, combine),
        || shared_tile(second, width, start, count, combine),
    );
    combine_lanes::<T, C>(first, &second)
}

/// The sum of an array that is there one tile after the other. It is the same as [`sum_inlined`] of the whole array.
///
/// Each tile is a subtree of the pairwise tree: all tiles except the last have [`TILE_UNIT`] elements times the same power
/// of two.
pub(crate) struct TileSum<T> {
    /// Results of `2^i` tiles each, the largest first.
    results: SmallVec<[Lanes<T>; 16]>,
    tiles: usize,
    /// The elements after the last whole row.
    rest: Lanes<T>,
    rest_length: usize,
}

/// The number of elements of a block of a long vector.
pub(crate) const TILE_UNIT: usize = BLOCK * LANES;

impl<T: Number> TileSum<T> {
    #[inline]
    pub(crate) fn new() -> Self {
        Self { results: SmallVec::new(), tiles: 0, rest: [T::ZERO; LANES], rest_length: 0 }
    }

    /// Adds the next tile.
    #[inline(always)]
    pub(crate) fn add<S: Simd>(&mut self, simd: S, tile: &[T]) {
        let (rows, rest) = tile.as_chunks::<LANES>();
        self.rest[..rest.len()].copy_from_slice(rest);
        self.rest_length = rest.len();
        if rows.is_empty() {
            return;
        }
        let blocks = Blocks { x: rows.as_flattened(), width: LANES, start: 0, count: LANES, combine: Sum };
        let mut result = outlined(simd, blocks);
        let others = self.results.len() - self.tiles.trailing_ones() as usize;
        for before in self.results[others..].iter().rev() {
            result = combine_lanes::<T, Sum>(*before, &result);
        }
        self.results.truncate(others);
        self.results.push(result);
        self.tiles += 1;
    }

    /// Adds the sum of the tiles that follow. The tiles before them are a power of two, and at least as many.
    pub(crate) fn append(&mut self, other: &Self) {
        match (self.results.last_mut(), other.results.first()) {
            // Two subtrees of the same size.
            (Some(own), Some(others)) if self.tiles == other.tiles => *own = combine_lanes::<T, Sum>(*own, others),
            _ => self.results.extend_from_slice(&other.results),
        }
        self.tiles += other.tiles;
        (self.rest, self.rest_length) = (other.rest, other.rest_length);
    }

    /// Returns the sum of all tiles.
    pub(crate) fn finish(&self) -> T {
        let start = [T::ZERO; LANES];
        let total = self.results.iter().rfold(start, |total, result| combine_lanes::<T, Sum>(*result, &total));
        join_lanes::<T, Sum>(total, &self.rest[..self.rest_length])
    }
}

struct Blocks<'a, T, C> {
    x: &'a [T],
    width: usize,
    start: usize,
    count: usize,
    combine: C,
}

impl<T: Number, C: Combine<T>> WithSimd for Blocks<'_, T, C> {
    type Output = Lanes<T>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Lanes<T> {
        let _ = self.combine;
        blocks::<T, C>(self.x, self.width, self.start, self.count)
    }
}

struct Columns<'a, T, C> {
    x: &'a [T],
    width: usize,
    first: usize,
    out: &'a mut [T],
    combine: C,
}

impl<T: Number, C: Combine<T>> WithSimd for Columns<'_, T, C> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let _ = self.combine;
        columns::<S, T, C>(simd, self.x, self.width, self.first, self.out);
    }
}

struct General<'a, T, C> {
    x: &'a [T],
    groups: &'a [Group],
    out: &'a mut [T],
    combine: C,
}

impl<T: Number, C: Combine<T>> WithSimd for General<'_, T, C> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let _ = self.combine;
        general::<S, T, C>(simd, self.x, self.groups, self.out);
    }
}

struct Reduction<'a, T, C> {
    x: &'a [T],
    shape: &'a [usize],
    axes: AxisSet,
    out: &'a mut [T],
    combine: C,
}

impl<T: Number, C: Combine<T>> WithSimd for Reduction<'_, T, C> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        reduce(simd, self);
    }
}

/// One number for each lane.
pub(super) type Lanes<T> = [T; LANES];

/// Combines the elements of a slice: first rows of one element for each lane, then the lanes.
#[inline(always)]
fn fold<S: Simd, T: Number, C: Combine<T>>(simd: S, x: &[T]) -> T {
    if x.len() <= LANES {
        return x.iter().fold(C::NEUTRAL, |a, &b| C::combine(a, b));
    }
    let (rows, rest) = x.as_chunks::<LANES>();
    join_lanes::<T, C>(tile::<S, T, C>(simd, rows.as_flattened(), LANES, 0, LANES), rest)
}

/// Combines the elements after the last whole row with the first lanes, then the lanes.
#[inline(always)]
pub(super) fn join_lanes<T: Number, C: Combine<T>>(mut lanes: Lanes<T>, rest: &[T]) -> T {
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane = C::combine(*lane, x);
    }
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] = C::combine(lanes[i], lanes[i + width]);
        }
        width /= 2;
    }
    lanes[0]
}

/// A run of neighbouring axes that are all reduced or all kept.
pub(super) struct Group {
    pub(super) length: usize,
    pub(super) reduced: bool,
}

/// Joins neighbouring axes that are all reduced or all kept. Axes of length 1 are left out.
pub(super) fn groups(shape: &[usize], axes: AxisSet) -> SmallVec<[Group; 4]> {
    let mut groups: SmallVec<[Group; 4]> = SmallVec::new();
    for (axis, &length) in shape.iter().enumerate() {
        let reduced = axes.contains(axis);
        match groups.last_mut() {
            _ if length == 1 => {}
            Some(group) if group.reduced == reduced => group.length *= length,
            _ => groups.push(Group { length, reduced }),
        }
    }
    groups
}

#[inline(always)]
fn reduce<S: Simd, T: Number, C: Combine<T>>(simd: S, reduction: Reduction<'_, T, C>) {
    let Reduction { x, shape, axes, out, combine } = reduction;
    let groups = groups(shape, axes);
    match groups.as_slice() {
        _ if x.is_empty() => out.fill(C::NEUTRAL),
        [] | [Group { reduced: false, .. }] => out.copy_from_slice(x),
        [Group { reduced: true, .. }] => out[0] = fold::<S, T, C>(simd, x),
        [Group { reduced: false, .. }, Group { reduced: true, length }] => {
            for (out, row) in out.iter_mut().zip(x.chunks_exact(*length)) {
                *out = fold::<S, T, C>(simd, row);
            }
        }
        [Group { reduced: true, .. }, Group { reduced: false, length }] => {
            outlined(simd, Columns { x, width: *length, first: 0, out, combine });
        }
        // Leading kept axes: one matrix after the other.
        [outer @ .., Group { reduced: true, length: rows }, Group { reduced: false, length }]
            if outer.iter().all(|g| !g.reduced) =>
        {
            for (out, x) in out.chunks_exact_mut(*length).zip(x.chunks_exact(rows * length)) {
                outlined(simd, Columns { x, width: *length, first: 0, out, combine });
            }
        }
        groups => outlined(simd, General { x, groups, out, combine }),
    }
}

/// Combines the rows of a matrix of `width` columns: column `first` and the following ones, as many as `out` takes.
#[inline(always)]
fn columns<S: Simd, T: Number, C: Combine<T>>(simd: S, x: &[T], width: usize, first: usize, out: &mut [T]) {
    for (index, out) in out.chunks_mut(LANES).enumerate() {
        let lanes = tile::<S, T, C>(simd, x, width, first + index * LANES, out.len());
        out.copy_from_slice(&lanes[..out.len()]);
    }
}

/// Combines the rows of a matrix in `count` columns from column `start` on: at most one column for each lane.
#[inline(always)]
fn tile<S: Simd, T: Number, C: Combine<T>>(simd: S, x: &[T], width: usize, start: usize, count: usize) -> Lanes<T> {
    if x.len() / width <= CHAIN {
        return one_by_one::<T, C>(x, width, start, count);
    }
    outlined(simd, Blocks { x, width, start, count, combine: C::default() })
}

/// The same, also for a few rows that are the last block of many.
#[inline(always)]
fn blocks<T: Number, C: Combine<T>>(x: &[T], width: usize, start: usize, count: usize) -> Lanes<T> {
    in_blocks(
        x.len() / width,
        of_lanes::<T, C>(),
        inlined!(|rows: Range<usize>| one_by_one::<T, C>(
            &x[rows.start * width..rows.end * width],
            width,
            start,
            count
        )),
        inlined!(|row| {
            let x = &x[row * width..(row + FEW) * width];
            if count < LANES || width == LANES {
                return few::<T, C>(std::array::from_fn(|row| &x[row * width + start..][..count]));
            }
            // The same order as in `few`. Long rows that lie apart are read one after the other.
            let (first, second) = x.split_at(FEW / 2 * width);
            let first = one_by_one::<T, C>(first, width, start, LANES);
            combine_lanes::<T, C>(first, &one_by_one::<T, C>(second, width, start, LANES))
        }),
    )
}

/// Combines the rows of `count` columns one after the other.
#[inline(always)]
fn one_by_one<T: Number, C: Combine<T>>(x: &[T], width: usize, start: usize, count: usize) -> Lanes<T> {
    let mut lanes = [C::NEUTRAL; LANES];
    for row in x.chunks_exact(width) {
        let row = &row[start..start + count];
        if let Ok(row) = <&Lanes<T>>::try_from(row) {
            lanes = combine_lanes::<T, C>(lanes, row);
        } else {
            for (lane, &x) in lanes.iter_mut().zip(row) {
                *lane = C::combine(*lane, x);
            }
        }
    }
    lanes
}

/// Combines rows in the order that the module's documentation states. `one_by_one` combines a range of rows one after
/// the other; `few` combines a group of [`FEW`] rows, given its first row.
#[inline(always)]
pub(super) fn in_pairs<A: Copy>(
    rows: usize,
    (neutral, combine): (A, impl Fn(A, &A) -> A),
    one_by_one: impl Fn(Range<usize>) -> A,
    few: impl Fn(usize) -> A,
) -> A {
    if rows <= CHAIN { one_by_one(0..rows) } else { in_blocks(rows, (neutral, combine), one_by_one, few) }
}

/// Combines blocks of rows in a pairwise tree.
#[inline(always)]
pub(super) fn in_blocks<A: Copy>(
    rows: usize,
    (neutral, combine): (A, impl Fn(A, &A) -> A),
    one_by_one: impl Fn(Range<usize>) -> A,
    few: impl Fn(usize) -> A,
) -> A {
    // Results of 2^i blocks each, the largest first. This is the pairwise tree without recursion: a recursive function
    // would not be inlined into its caller.
    let mut results: SmallVec<[A; 32]> = SmallVec::new();
    for (block, start) in (0..rows).step_by(BLOCK).enumerate() {
        let end = rows.min(start + BLOCK);
        let mut result = neutral;
        for start in (start..end).step_by(FEW) {
            let part = if end - start < FEW { one_by_one(start..end) } else { few(start) };
            result = combine(result, &part);
        }
        let others = results.len() - block.trailing_ones() as usize;
        for before in results[others..].iter().rev() {
            result = combine(*before, &result);
        }
        results.truncate(others);
        results.push(result);
    }
    results.iter().rfold(neutral, |total, result| combine(*result, &total))
}

/// Combines a group of rows of the same length: the rows of each half one after the other, then the halves.
#[inline(always)]
fn few<T: Number, C: Combine<T>>(rows: [&[T]; FEW]) -> Lanes<T> {
    let [a, b, c, d, e, f, g, h] = rows.map(|row| &row[..rows[0].len()]);
    let mut lanes = [C::NEUTRAL; LANES];
    for (i, lane) in lanes[..rows[0].len()].iter_mut().enumerate() {
        let first = C::combine(C::combine(C::combine(a[i], b[i]), c[i]), d[i]);
        let second = C::combine(C::combine(C::combine(e[i], f[i]), g[i]), h[i]);
        *lane = C::combine(first, second);
    }
    lanes
}

/// The neutral lanes, and the function that combines two.
#[inline(always)]
#[allow(clippy::type_complexity)]
fn of_lanes<T: Number, C: Combine<T>>() -> (Lanes<T>, impl Fn(Lanes<T>, &Lanes<T>) -> Lanes<T>) {
    ([C::NEUTRAL; LANES], inlined!(|a: Lanes<T>, b: &Lanes<T>| -> Lanes<T> { combine_lanes::<T, C>(a, b) }))
}

#[inline(always)]
pub(super) fn combine_lanes<T: Number, C: Combine<T>>(mut a: Lanes<T>, b: &Lanes<T>) -> Lanes<T> {
    for (a, &b) in a.iter_mut().zip(b) {
        *a = C::combine(*a, b);
    }
    a
}

/// Reduces any alternation of kept and reduced groups. A row is the innermost kept group. If a reduced group lies
/// within it, each element of a row is a run of that group. Rows are combined as in `columns`.
#[inline(always)]
fn general<S: Simd, T: Number, C: Combine<T>>(simd: S, x: &[T], groups: &[Group], out: &mut [T]) {
    let (groups, run) = match groups {
        [groups @ .., Group { reduced: true, length }] => (groups, *length),
        _ => (groups, 1),
    };
    let [outer @ .., Group { length: width, .. }] = groups else { return };
    // Lengths and strides of the outer groups, the innermost first.
    let (mut kept, mut reduced) = (Axes::new(), Axes::new());
    let mut stride = width * run;
    for group in outer.iter().rev() {
        let axes = if group.reduced { &mut reduced } else { &mut kept };
        axes.push((group.length, stride));
        stride *= group.length;
    }
    let rows: usize = reduced.iter().map(|&(length, _)| length).product();
    for (position, out) in out.chunks_exact_mut(*width).enumerate() {
        let base = offset(&kept, position);
        for (index, out) in out.chunks_mut(LANES).enumerate() {
            let (base, tile) = (base + index * LANES * run, out.len());
            let row = |row| &x[base + offset(&reduced, row)..][..tile * run];
            let total = in_pairs(
                rows,
                of_lanes::<T, C>(),
                inlined!(|rows: Range<usize>| runs::<S, T, C>(simd, rows.map(row), run)),
                inlined!(|first| match run {
                    1 => few::<T, C>(std::array::from_fn(|index| row(first + index))),
                    _ => {
                        let half = first + FEW / 2;
                        let (first, second) = ((first..half).map(row), (half..first + FEW).map(row));
                        combine_lanes::<T, C>(runs::<S, T, C>(simd, first, run), &runs::<S, T, C>(simd, second, run))
                    }
                }),
            );
            out.copy_from_slice(&total[..tile]);
        }
    }
}

/// Combines rows one after the other. Each element of a row is a run of elements of the array, which is combined first.
#[inline(always)]
fn runs<'a, S: Simd, T: Number, C: Combine<T>>(simd: S, rows: impl Iterator<Item = &'a [T]>, run: usize) -> Lanes<T> {
    let mut lanes = [C::NEUTRAL; LANES];
    for row in rows {
        for (lane, run) in lanes.iter_mut().zip(row.chunks_exact(run)) {
            let run = if let [x] = run { *x } else { fold::<S, T, C>(simd, run) };
            *lane = C::combine(*lane, run);
        }
    }
    lanes
}

/// Lengths and strides of axes, the innermost first.
type Axes = SmallVec<[(usize, usize); 4]>;

/// Returns the offset in memory of the element at a position in row-major order.
#[inline(always)]
fn offset(axes: &[(usize, usize)], mut position: usize) -> usize {
    if let [(_, stride)] = axes {
        return position * stride;
    }
    let mut offset = 0;
    for &(length, stride) in axes {
        offset += position % length * stride;
        position /= length;
    }
    offset
}
