//! Reductions of a row-major array over a set of axes.
//!
//! The order in which elements are combined depends on the shape alone, never on the CPU: sums run over a
//! fixed number of lanes and in blocks, whose results are added in pairs, so that the rounding error of a long
//! sum grows with the logarithm of its length and not with the length.

use pulp::{Arch, Simd, WithSimd};
use smallvec::SmallVec;

use crate::number::{Classify, Number};
use crate::shape::AxisSet;

/// Accumulators side by side in one block: enough to fill two AVX-512 registers of `f32`.
const LANES: usize = 32;
/// Elements, or rows, added up one after the other before results are added in pairs.
const BLOCK: usize = 2048;
/// Rows of a block of columns.
const ROWS: usize = BLOCK / LANES;

/// What a reduction combines with: an associative function and its neutral element.
trait Combine<T>: Copy {
    const NEUTRAL: T;
    fn combine(a: T, b: T) -> T;
}

#[derive(Clone, Copy)]
struct Sum;
impl<T: Number> Combine<T> for Sum {
    const NEUTRAL: T = T::ZERO;
    #[inline(always)]
    fn combine(a: T, b: T) -> T {
        a + b
    }
}

#[derive(Clone, Copy)]
struct Max;
impl<T: Number> Combine<T> for Max {
    const NEUTRAL: T = T::NEG_INFINITY;
    #[inline(always)]
    fn combine(a: T, b: T) -> T {
        maximum(a, b)
    }
}

#[derive(Clone, Copy)]
struct Min;
impl<T: Number> Combine<T> for Min {
    const NEUTRAL: T = T::INFINITY;
    #[inline(always)]
    fn combine(a: T, b: T) -> T {
        -maximum(-a, -b)
    }
}

#[derive(Clone, Copy)]
struct Prod;
impl<T: Number> Combine<T> for Prod {
    const NEUTRAL: T = T::ONE;
    #[inline(always)]
    fn combine(a: T, b: T) -> T {
        a * b
    }
}

/// Returns the larger number, NaN if either is NaN.
#[inline(always)]
pub(crate) fn maximum<T: Number>(a: T, b: T) -> T {
    // NaN compares false: `a > b` hands on a NaN in b, the second test one in a.
    let larger = if a > b { a } else { b };
    if a.is_nan() { a } else { larger }
}

/// Returns the sum of a slice.
pub(crate) fn sum_slice<T: Number>(x: &[T]) -> T {
    let mut sum = T::ZERO;
    sum_rows(x, x.len(), std::slice::from_mut(&mut sum));
    sum
}

/// Returns the maximum of a slice, minus infinity of an empty one.
pub(crate) fn max_slice<T: Number>(x: &[T]) -> T {
    let mut max = T::NEG_INFINITY;
    max_rows(x, x.len(), std::slice::from_mut(&mut max));
    max
}

/// Sums each row of `length` elements.
pub(crate) fn sum_rows<T: Number>(x: &[T], length: usize, out: &mut [T]) {
    Arch::new().dispatch(Reduction { x, shape: &[out.len(), length], axes: AxisSet::one(1), out, combine: Sum });
}

/// Takes the maximum of each row of `length` elements.
pub(crate) fn max_rows<T: Number>(x: &[T], length: usize, out: &mut [T]) {
    Arch::new().dispatch(Reduction { x, shape: &[out.len(), length], axes: AxisSet::one(1), out, combine: Max });
}

/// Sums the row-major `x` over `axes` into `out`, the remaining axes in row-major order.
pub(crate) fn sum<T: Number>(x: &[T], shape: &[usize], axes: AxisSet, out: &mut [T]) {
    Arch::new().dispatch(Reduction { x, shape, axes, out, combine: Sum });
}

/// Takes the maximum of the row-major `x` over `axes` into `out`, the remaining axes in row-major order.
pub(crate) fn max<T: Number>(x: &[T], shape: &[usize], axes: AxisSet, out: &mut [T]) {
    Arch::new().dispatch(Reduction { x, shape, axes, out, combine: Max });
}

/// Takes the minimum of the row-major `x` over `axes` into `out`, the remaining axes in row-major order.
pub(crate) fn min<T: Number>(x: &[T], shape: &[usize], axes: AxisSet, out: &mut [T]) {
    Arch::new().dispatch(Reduction { x, shape, axes, out, combine: Min });
}

/// Multiplies the row-major `x` over `axes` into `out`, the remaining axes in row-major order.
pub(crate) fn prod<T: Number>(x: &[T], shape: &[usize], axes: AxisSet, out: &mut [T]) {
    Arch::new().dispatch(Reduction { x, shape, axes, out, combine: Prod });
}

/// Sums the columns of a matrix with `width` of them, from column `first` on as many as `out` takes.
pub(crate) fn sum_columns<T: Number>(x: &[T], width: usize, first: usize, out: &mut [T]) {
    Arch::new().dispatch(Columns { x, width, first, out, combine: Sum });
}

/// Takes the maximum of the columns of a matrix with `width` of them, from column `first` on as many as `out` takes.
pub(crate) fn max_columns<T: Number>(x: &[T], width: usize, first: usize, out: &mut [T]) {
    Arch::new().dispatch(Columns { x, width, first, out, combine: Max });
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
        let _ = self.combine;
        columns::<T, C>(self.x, self.width, self.first, self.out);
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
    fn with_simd<S: Simd>(self, _: S) {
        let _ = self.combine;
        reduce::<T, C>(self.x, self.shape, self.axes, self.out);
    }
}

/// Combines the elements of a slice: lanes within a block, blocks in pairs.
#[inline(always)]
fn fold<T: Number, C: Combine<T>>(x: &[T]) -> T {
    if x.len() <= LANES {
        return x.iter().fold(C::NEUTRAL, |a, &b| C::combine(a, b));
    }
    // A binary counter of partial results: slot i holds the result of 2^i blocks. This is the pairwise tree
    // without recursion, which would keep the loop from being compiled into its caller.
    let mut partial = [C::NEUTRAL; usize::BITS as usize];
    let mut blocks = 0usize;
    for block in x.chunks(BLOCK) {
        let mut result = fold_block::<T, C>(block);
        let mut slot = 0;
        while blocks >> slot & 1 == 1 {
            result = C::combine(partial[slot], result);
            slot += 1;
        }
        partial[slot] = result;
        blocks += 1;
    }
    let set = (0..usize::BITS as usize).filter(|slot| blocks >> slot & 1 == 1);
    set.fold(C::NEUTRAL, |a, slot| C::combine(partial[slot], a))
}

#[inline(always)]
fn fold_block<T: Number, C: Combine<T>>(x: &[T]) -> T {
    let (rows, rest) = x.as_chunks::<LANES>();
    let mut lanes = [C::NEUTRAL; LANES];
    for row in rows {
        for (lane, &x) in lanes.iter_mut().zip(row) {
            *lane = C::combine(*lane, x);
        }
    }
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
struct Group {
    length: usize,
    reduced: bool,
}

/// Joins neighbouring axes of the same kind, leaving out those of length 1.
fn groups(shape: &[usize], axes: AxisSet) -> SmallVec<[Group; 4]> {
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
fn reduce<T: Number, C: Combine<T>>(x: &[T], shape: &[usize], axes: AxisSet, out: &mut [T]) {
    let groups = groups(shape, axes);
    match groups.as_slice() {
        _ if x.is_empty() => out.fill(C::NEUTRAL),
        [] | [Group { reduced: false, .. }] => out.copy_from_slice(x),
        [Group { reduced: true, .. }] => out[0] = fold::<T, C>(x),
        [Group { reduced: false, .. }, Group { reduced: true, length }] => {
            for (out, row) in out.iter_mut().zip(x.chunks_exact(*length)) {
                *out = fold::<T, C>(row);
            }
        }
        [Group { reduced: true, .. }, Group { reduced: false, length }] => columns::<T, C>(x, *length, 0, out),
        // Anything else is a sequence of the last two cases, the innermost groups first taken together.
        [outer @ .., Group { reduced: true, length: rows }, Group { reduced: false, length }]
            if outer.iter().all(|g| !g.reduced) =>
        {
            for (out, x) in out.chunks_exact_mut(*length).zip(x.chunks_exact(rows * length)) {
                columns::<T, C>(x, *length, 0, out);
            }
        }
        groups => general::<T, C>(x, groups, out),
    }
}

/// Combines the rows of a matrix with `width` columns, from column `first` on as many as `out` takes, into one row.
#[inline(always)]
fn columns<T: Number, C: Combine<T>>(x: &[T], width: usize, first: usize, out: &mut [T]) {
    // A tile of columns is carried down a block of rows in registers; blocks are combined in pairs, as in `fold`.
    let block = width * ROWS;
    for (index, out) in out.chunks_mut(LANES).enumerate() {
        let start = first + index * LANES;
        let total = in_pairs::<T, C>(
            x.len().div_ceil(block),
            #[inline(always)]
            |index| {
                let rows = &x[index * block..x.len().min((index + 1) * block)];
                column_block::<T, C>(rows, width, start, out.len())
            },
        );
        out.copy_from_slice(&total[..out.len()]);
    }
}

/// Combines the results of blocks in pairs.
#[inline(always)]
fn in_pairs<T: Number, C: Combine<T>>(blocks: usize, block: impl Fn(usize) -> [T; LANES]) -> [T; LANES] {
    if blocks <= 1 {
        return block(0);
    }
    let mut partial = [[C::NEUTRAL; LANES]; usize::BITS as usize];
    for index in 0..blocks {
        let mut result = block(index);
        let mut slot = 0;
        while index >> slot & 1 == 1 {
            result = combine_lanes::<T, C>(partial[slot], result);
            slot += 1;
        }
        partial[slot] = result;
    }
    let mut total = [C::NEUTRAL; LANES];
    for slot in (0..usize::BITS as usize).filter(|slot| blocks >> slot & 1 == 1) {
        total = combine_lanes::<T, C>(partial[slot], total);
    }
    total
}

/// Combines `tile` columns of a block of rows, one row after the other.
#[inline(always)]
fn column_block<T: Number, C: Combine<T>>(rows: &[T], width: usize, start: usize, tile: usize) -> [T; LANES] {
    let mut lanes = [C::NEUTRAL; LANES];
    for row in rows.chunks_exact(width) {
        let row = &row[start..start + tile];
        if let Ok(row) = <&[T; LANES]>::try_from(row) {
            lanes = combine_lanes::<T, C>(lanes, *row);
        } else {
            for (lane, &x) in lanes.iter_mut().zip(row) {
                *lane = C::combine(*lane, x);
            }
        }
    }
    lanes
}

#[inline(always)]
fn combine_lanes<T: Number, C: Combine<T>>(mut a: [T; LANES], b: [T; LANES]) -> [T; LANES] {
    for (a, b) in a.iter_mut().zip(b) {
        *a = C::combine(*a, b);
    }
    a
}

/// Any alternation of kept and reduced groups. A row is the innermost kept group, of runs of the reduced one within, if
/// there is one; rows are combined as in `columns`.
#[inline(always)]
fn general<T: Number, C: Combine<T>>(x: &[T], groups: &[Group], out: &mut [T]) {
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
            let total = in_pairs::<T, C>(
                rows.div_ceil(ROWS),
                #[inline(always)]
                |index| {
                    let mut lanes = [C::NEUTRAL; LANES];
                    for row in index * ROWS..rows.min((index + 1) * ROWS) {
                        let start = base + offset(&reduced, row);
                        let row = &x[start..start + tile * run];
                        for (lane, run) in lanes.iter_mut().zip(row.chunks_exact(run)) {
                            let run = if let [x] = run { *x } else { fold::<T, C>(run) };
                            *lane = C::combine(*lane, run);
                        }
                    }
                    lanes
                },
            );
            out.copy_from_slice(&total[..tile]);
        }
    }
}

/// Lengths and strides of axes, the innermost first.
type Axes = SmallVec<[(usize, usize); 4]>;

/// Returns where the element at a position in row-major order lies.
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
