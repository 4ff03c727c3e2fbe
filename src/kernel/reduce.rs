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

use crate::kernel::tree::{
    BLOCK, CHAIN, Combine, FEW, LANES, Lanes, Sum, append, chain, in_tree, join_lanes, one_block, part, prepend, strip,
    tree,
};
use crate::number::{Algebra, Number, dispatch, inlined, outlined};
use crate::shape::AxisSet;
use crate::threads::{self, PIECE, in_pieces};

/// The columns of a narrow strip.
const NARROW: usize = 8;

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
    in_strips(Shared { x, width, first, out, combine });
}

struct Shared<'a, T, C> {
    x: &'a [T],
    width: usize,
    first: usize,
    out: &'a mut [T],
    combine: C,
}

impl<T: Number, C: Combine<T>> Strips<T> for Shared<'_, T, C> {
    fn out(&mut self) -> &mut [T] {
        self.out
    }

    fn strip<const N: usize>(&self, start: usize) -> [T; N] {
        shared_strip(self.x, self.width, self.first + start, self.combine)
    }
}

/// The same as [`fold`], shared.
fn shared_fold<T: Number, C: Combine<T>>(x: &[T], combine: C) -> T {
    let (rows, rest) = x.as_chunks::<LANES>();
    join_lanes::<T, C>(shared_strip(rows.as_flattened(), LANES, 0, combine), rest)
}

/// The same as [`strip`] for the rows of a matrix, from column `start` on, shared: the pairwise tree is divided at its root
/// and below.
fn shared_strip<T: Number, C: Combine<T>, const N: usize>(x: &[T], width: usize, start: usize, combine: C) -> [T; N] {
    let blocks = (x.len() / width).div_ceil(BLOCK);
    if blocks == 1 || blocks * BLOCK * N < 2 * PIECE {
        return dispatch(Tree { x, width, start, combine });
    }
    // The tree over the blocks has at its left the largest power of two.
    let (first, second) = x.split_at((1 << (blocks - 1).ilog2()) * BLOCK * width);
    let (mut first, second) =
        threads::join(|| shared_strip(first, width, start, combine), || shared_strip(second, width, start, combine));
    append::<T, C, N>(&mut first, &second);
    first
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
        let mut result = outlined(simd, Tree { x: rows.as_flattened(), width: LANES, start: 0, combine: Sum });
        let others = self.results.len() - self.tiles.trailing_ones() as usize;
        for before in self.results[others..].iter().rev() {
            prepend::<T, Sum, LANES>(before, &mut result);
        }
        self.results.truncate(others);
        self.results.push(result);
        self.tiles += 1;
    }

    /// Adds the sum of the tiles that follow. The tiles before them are a power of two, and at least as many.
    pub(crate) fn append(&mut self, other: &Self) {
        match (self.results.last_mut(), other.results.first()) {
            // Two subtrees of the same size.
            (Some(own), Some(others)) if self.tiles == other.tiles => append::<T, Sum, LANES>(own, others),
            _ => self.results.extend_from_slice(&other.results),
        }
        self.tiles += other.tiles;
        (self.rest, self.rest_length) = (other.rest, other.rest_length);
    }

    /// Returns the sum of all tiles.
    pub(crate) fn finish(&self) -> T {
        let mut total = [T::ZERO; LANES];
        for result in self.results.iter().rev() {
            prepend::<T, Sum, LANES>(result, &mut total);
        }
        join_lanes::<T, Sum>(total, &self.rest[..self.rest_length])
    }
}

/// The pairwise tree over the rows of a matrix, from column `start` on.
struct Tree<'a, T, C, const N: usize> {
    x: &'a [T],
    width: usize,
    start: usize,
    combine: C,
}

impl<T: Number, C: Combine<T>, const N: usize> WithSimd for Tree<'_, T, C, N> {
    type Output = [T; N];

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> [T; N] {
        let Self { x, width, start, combine } = self;
        let _ = combine;
        tree::<T, C, N>(x.len() / width, inlined!(|row| part(&x[row * width + start..])))
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
    fn with_simd<S: Simd>(self, _: S) {
        in_strips(self);
    }
}

impl<T: Number, C: Combine<T>> Strips<T> for Columns<'_, T, C> {
    #[inline(always)]
    fn out(&mut self) -> &mut [T] {
        self.out
    }

    #[inline(always)]
    fn strip<const N: usize>(&self, start: usize) -> [T; N] {
        let Self { x, width, first, combine, .. } = *self;
        let _ = combine;
        strip::<T, C, N>(x.len() / width, inlined!(|row| part(&x[row * width + first + start..])))
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

/// Combines the elements of a slice: first rows of one element for each lane, then the lanes.
#[inline(always)]
fn fold<S: Simd, T: Number, C: Combine<T>>(simd: S, x: &[T]) -> T {
    if x.len() <= LANES {
        return x.iter().fold(C::NEUTRAL, |a, &b| C::combine(a, b));
    }
    let (rows, rest) = x.as_chunks::<LANES>();
    let lanes = if rows.len() <= CHAIN {
        chain::<T, C, LANES>(0..rows.len(), inlined!(|row| &rows[row]))
    } else {
        outlined(simd, Tree { x: rows.as_flattened(), width: LANES, start: 0, combine: C::default() })
    };
    join_lanes::<T, C>(lanes, rest)
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

/// Columns that are reduced strip by strip.
trait Strips<T> {
    /// Returns the place of the results, one for each column.
    fn out(&mut self) -> &mut [T];

    /// Combines the rows of `N` columns.
    fn strip<const N: usize>(&self, start: usize) -> [T; N];
}

/// Combines the rows of columns in strips of 32, of 8 or of one.
#[inline(always)]
fn in_strips<T: Number>(mut columns: impl Strips<T>) {
    match columns.out().len() {
        0..NARROW => each_strip::<T, 1>(&mut columns),
        NARROW..LANES => each_strip::<T, NARROW>(&mut columns),
        LANES.. => each_strip::<T, LANES>(&mut columns),
    }
}

/// The last strip overlaps the one before it where columns are left over. A column has the same result in both.
#[inline(always)]
fn each_strip<T: Number, const N: usize>(columns: &mut impl Strips<T>) {
    let count = columns.out().len();
    for start in (0..count).step_by(N) {
        let start = start.min(count - N);
        let result = columns.strip::<N>(start);
        columns.out()[start..start + N].copy_from_slice(&result);
    }
}

/// Reduces any alternation of kept and reduced groups. A row is the innermost kept group. If a reduced group lies
/// within it, each element of a row is a run of that group. Rows are combined as in a matrix.
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
        let x = &x[offset(&kept, position)..];
        if run == 1 {
            in_strips(Apart { x, reduced: &reduced, rows, out, combine: C::default() });
            continue;
        }
        for (index, out) in out.chunks_mut(LANES).enumerate() {
            let (start, length) = (index * LANES * run, out.len() * run);
            let row = |row| &x[start + offset(&reduced, row)..][..length];
            let total = if rows <= CHAIN {
                runs::<S, T, C>(simd, (0..rows).map(row), run)
            } else {
                in_tree(
                    rows,
                    [C::NEUTRAL; LANES],
                    prepend::<T, C, LANES>,
                    inlined!(|block: Range<usize>| one_block(
                        block,
                        [C::NEUTRAL; LANES],
                        append::<T, C, LANES>,
                        inlined!(|rows: Range<usize>| runs::<S, T, C>(simd, rows.map(row), run)),
                        inlined!(|first| {
                            let half = first + FEW / 2;
                            let (first, second) = ((first..half).map(row), (half..first + FEW).map(row));
                            let mut lanes = runs::<S, T, C>(simd, first, run);
                            append::<T, C, LANES>(&mut lanes, &runs::<S, T, C>(simd, second, run));
                            lanes
                        })
                    )),
                )
            };
            out.copy_from_slice(&total[..out.len()]);
        }
    }
}

/// Rows that lie apart along some axes.
struct Apart<'a, T, C> {
    x: &'a [T],
    reduced: &'a Axes,
    rows: usize,
    out: &'a mut [T],
    combine: C,
}

impl<T: Number, C: Combine<T>> Strips<T> for Apart<'_, T, C> {
    #[inline(always)]
    fn out(&mut self) -> &mut [T] {
        self.out
    }

    #[inline(always)]
    fn strip<const N: usize>(&self, start: usize) -> [T; N] {
        let _ = self.combine;
        strip::<T, C, N>(self.rows, inlined!(|row| part(&self.x[start + offset(self.reduced, row)..])))
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
