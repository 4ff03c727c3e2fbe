//! Loads and stores of whole and partial vectors, and memory for copies.

use std::mem;
use std::ops::Range;

use pulp::Simd;

use crate::kernel::matmul::operand::{Accumulate, MatrixRef};
use crate::number::Vectors;

/// The bytes of a line: a vector of AVX-512. Where numbers are summed along vectors, each lane of a line has a sum of its
/// own, on every machine.
pub(super) const LINE: usize = 64;

/// A panel's first column, how many columns it has, and how many vectors hold them.
#[derive(Clone, Copy)]
pub(super) struct PanelShape {
    pub(super) column: usize,
    pub(super) width: usize,
    pub(super) vectors: usize,
}

impl PanelShape {
    /// Returns the offset of a vector in the panel. The last vector overlaps the one before it instead of reaching
    /// beyond the end.
    #[inline(always)]
    pub(super) fn offset(&self, vector: usize, lanes: usize) -> usize {
        (vector * lanes).min(self.width.saturating_sub(lanes))
    }
}

/// Returns the number to store in place of `old`.
#[inline(always)]
pub(super) fn stored<T: Vectors>(accumulate: Accumulate, old: &T, sum: T) -> T {
    if accumulate == Accumulate::Yes { *old + sum } else { sum }
}

/// Returns the vector at the front of `x`, with zeros in the lanes that a shorter `x` does not fill.
#[inline(always)]
pub(super) fn load<S: Simd, T: Vectors>(simd: S, x: &[T]) -> T::Vector<S> {
    match T::as_vectors::<S>(x).first() {
        Some(&vector) => vector,
        None => T::partial_load(simd, x),
    }
}

/// Returns the numbers of `x` after its whole lines, as a line with zeros in the other lanes. The length alone decides
/// which lanes hold them. A line takes `PARTS` vectors.
#[inline(always)]
pub(super) fn tail<S: Simd, T: Vectors, const PARTS: usize>(simd: S, x: &[T]) -> [T::Vector<S>; PARTS] {
    let (lanes, line) = (T::lanes::<S>(), LINE / size_of::<T>());
    let zero = T::splat(simd, T::default());
    let mut parts = [zero; PARTS];
    if x.len() < line {
        for (part, x) in parts.iter_mut().zip(x.chunks(lanes)) {
            *part = T::partial_load(simd, x);
        }
        return parts;
    }
    let seen = line - x.len() % line;
    let last = &T::as_vectors::<S>(&x[x.len() - line..])[..PARTS];
    for p in 0..PARTS {
        let mask = T::first(simd, seen.saturating_sub(p * lanes).min(lanes));
        parts[p] = T::select(simd, mask, zero, last[p]);
    }
    parts
}

/// Returns the sum of the numbers of a line: each lane of the first half is added to that of the second, and so on down
/// to one.
#[inline(always)]
pub(super) fn sum_of_line<S: Simd, T: Vectors, const PARTS: usize>(simd: S, mut parts: [T::Vector<S>; PARTS]) -> T {
    let mut width = PARTS / 2;
    while width > 0 {
        for p in 0..width {
            parts[p] = T::sum(simd, parts[p], parts[p + width]);
        }
        width /= 2;
    }
    T::reduce(simd, parts[0])
}

/// Stores one row of a tile. The last vector may overlap the one before it, so all old content is read before anything
/// is written.
#[inline(always)]
pub(super) fn store_row<S: Simd, T: Vectors, const NV: usize>(
    simd: S,
    mut sums: [T::Vector<S>; NV],
    c: &mut [T],
    shape: PanelShape,
    accumulate: Accumulate,
) {
    let lanes = T::lanes::<S>();
    if accumulate == Accumulate::Yes {
        for v in 0..NV {
            sums[v] = T::sum(simd, T::as_vectors::<S>(&c[shape.offset(v, lanes)..])[0], sums[v]);
        }
    }
    for v in 0..NV {
        T::as_vectors_mut::<S>(&mut c[shape.offset(v, lanes)..])[0] = sums[v];
    }
}

/// Stores rows that are shorter than a vector. If `c` has room, it writes whole vectors, from the first row to the
/// last. The next row overwrites the lanes beyond a row's end. The last row restores the old content after it.
#[inline(always)]
pub(super) fn store_narrow<S: Simd, T: Vectors, const MR: usize>(
    simd: S,
    mut sums: [T::Vector<S>; MR],
    c: &mut [T],
    row_stride: usize,
    rows: Range<usize>,
    width: usize,
    accumulate: Accumulate,
) {
    let lanes = T::lanes::<S>();
    if rows != (0..MR) || row_stride != width || c.len() < (MR - 1) * width + lanes {
        for (i, sum) in sums.into_iter().enumerate().take(rows.end).skip(rows.start) {
            let c = &mut c[i * row_stride..][..width];
            let sum = if accumulate == Accumulate::Yes { T::sum(simd, T::partial_load(simd, c), sum) } else { sum };
            T::partial_store(simd, c, sum);
        }
        return;
    }
    let mask = T::first(simd, width);
    let c = &mut c[..(MR - 1) * width + lanes];
    if accumulate == Accumulate::Yes {
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum = T::sum(simd, T::as_vectors::<S>(&c[i * width..])[0], *sum);
        }
    }
    let behind = T::as_vectors::<S>(&c[(MR - 1) * width..])[0];
    sums[MR - 1] = T::select(simd, mask, sums[MR - 1], behind);
    for (i, sum) in sums.into_iter().enumerate() {
        T::as_vectors_mut::<S>(&mut c[i * width..])[0] = sum;
    }
}

/// Returns a copy of a matrix, row-major.
#[inline(always)]
pub(super) fn copied_rows<'a, T: Vectors>(
    scratch: &'a mut Scratch<T>,
    x: MatrixRef<'_, T>,
    rows: usize,
    columns: usize,
) -> MatrixRef<'a, T> {
    let (copy, _) = scratch.split(rows * columns, 0);
    for (i, copy) in copy.chunks_exact_mut(columns).enumerate().take(rows) {
        for (j, copy) in copy.iter_mut().enumerate() {
            *copy = x.data[i * x.row_stride + j * x.col_stride];
        }
    }
    MatrixRef { data: copy, row_stride: columns, col_stride: 1 }
}

/// The thread's scratch memory, taken from the thread while this value lives.
///
/// The memory is taken and given back, not lent to a closure: the closure would be a function of its own, compiled
/// without the vector instructions of its caller.
pub(super) struct Scratch<T: Vectors>(Vec<T>);

impl<T: Vectors> Scratch<T> {
    #[inline(always)]
    pub(super) fn take() -> Self {
        Self(T::swap_scratch(Vec::new()))
    }

    /// Returns two pieces of at least these lengths, aligned to cache lines.
    pub(super) fn split(&mut self, first: usize, second: usize) -> (&mut [T], &mut [T]) {
        let line = 64 / size_of::<T>();
        let first = first.next_multiple_of(line);
        let needed = first + second + line;
        if self.0.len() < needed {
            self.0.resize(needed, T::default());
        }
        let offset = self.0.as_ptr().align_offset(64).min(line);
        self.0[offset..offset + first + second].split_at_mut(first)
    }
}

impl<T: Vectors> Drop for Scratch<T> {
    fn drop(&mut self) {
        T::swap_scratch(mem::take(&mut self.0));
    }
}
