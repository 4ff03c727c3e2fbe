//! The general product: blocks of packed operands, and tiles of the result in registers.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use crate::kernel::matmul::lanes::{PanelShape, Scratch, store_narrow, store_row};
use crate::kernel::matmul::operand::{Accumulate, MatrixRef, Product, even};
use crate::kernel::matmul::pack::{Panels, pack_columns, pack_rows};
use crate::number::{Vectors, outlined};

/// Longest piece of `k` in one pass: a panel of `b`, 3 vectors of 64 bytes wide, then takes 48 KiB, the size of a
/// first-level cache.
const KC: usize = 256;
/// The same if few columns reuse the rows of `a`: the rows are then best read in long pieces.
const KC_DIRECT: usize = 1024;
/// Most bytes of `a` packed at a time: half of a second-level cache of 1 MiB.
const MC_BYTES: usize = 512 * 1024;
/// Most vectors of columns of `b` packed at a time: with `KC` rows and vectors of 64 bytes, the other half.
const NC_VECTORS: usize = 33;
/// Up to this many columns of `c` reuse `a` so little that packing its columns would cost more than it saves.
const DIRECT: usize = 128;

/// Returns the length of the pieces of `k`. They are about equal: a short last one would cost a pass over `c` and do
/// little.
#[inline(always)]
pub(super) fn piece<T>(n: usize, k: usize, a: MatrixRef<'_, T>) -> usize {
    even(k, if n <= DIRECT && a.col_stride == 1 { KC_DIRECT } else { KC })
}

/// The general product, in blocks. `MR` is the height of a register tile, `HALF` the height of a tile for few remaining
/// rows.
#[inline(always)]
pub(super) fn tiles<S: Simd, T: Vectors, const MR: usize, const HALF: usize>(simd: S, product: Product<'_, T>) {
    let Product { m, n, k, a, b, c, c_strides: (row_stride, _), accumulate } = product;
    let lanes = T::lanes::<S>();
    let few_columns = n <= DIRECT;
    let in_place = a.col_stride == 1 || few_columns && a.row_stride == 1 && m >= MR;
    let kc_max = piece(n, k, a);
    let nc_max = n.min(NC_VECTORS * lanes);
    let mc_max = if in_place { m } else { even(m, MC_BYTES / size_of::<T>() / kc_max).next_multiple_of(MR) };
    let mut scratch = Scratch::take();
    let a_len = if in_place { 0 } else { mc_max * kc_max };
    let (pack_a, pack_b) = scratch.split(a_len, kc_max * nc_max.next_multiple_of(lanes));
    for jc in (0..n).step_by(nc_max) {
        let nc = nc_max.min(n - jc);
        for pc in (0..k).step_by(kc_max) {
            let kc = kc_max.min(k - pc);
            pack_columns::<S, T>(simd, b.from(pc, jc), kc, nc, pack_b);
            let right = Right { panels: pack_b, kc, nc, row_stride, accumulate: accumulate.at(pc) };
            for ic in (0..m).step_by(mc_max) {
                let mc = mc_max.min(m - ic);
                let (a, c) = (a.from(ic, pc), &mut c[ic * row_stride + jc..]);
                // Each kind of block is a function of its own: one function for all takes long to compile.
                if !in_place {
                    pack_rows::<T, MR>(a, mc, kc, pack_a);
                    outlined(simd, Block::<T, MR, HALF> { mc, pack_a, right, c });
                } else if a.col_stride == 1 {
                    outlined(simd, BlockInPlace::<T, ByRows, MR, HALF> { mc, a, right, c, by: ByRows });
                } else {
                    outlined(simd, BlockInPlace::<T, ByColumns, MR, HALF> { mc, a, right, c, by: ByColumns });
                }
            }
        }
    }
}

/// A packed block of `b`, and how its products are stored.
#[derive(Clone, Copy)]
struct Right<'a, T> {
    panels: &'a [T],
    kc: usize,
    nc: usize,
    /// The row stride of `c`.
    row_stride: usize,
    accumulate: Accumulate,
}

/// Multiplies a packed block of `a` with one of `b`: a panel of `b` stays in the first-level cache while the strips of
/// `a` pass.
struct Block<'a, T, const MR: usize, const HALF: usize> {
    mc: usize,
    pack_a: &'a [T],
    right: Right<'a, T>,
    c: &'a mut [T],
}

impl<T: Vectors, const MR: usize, const HALF: usize> WithSimd for Block<'_, T, MR, HALF> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { mc, pack_a, right, c } = self;
        let kc = right.kc;
        for shape in Panels::new(right.nc, T::lanes::<S>()) {
            for row in (0..mc).step_by(MR) {
                let strip = Strip(pack_a[row * kc..][..MR * kc].as_chunks::<MR>().0);
                let rows = 0..MR.min(mc - row);
                let c = &mut c[row * right.row_stride..];
                if rows.end <= HALF {
                    tile_of_width::<S, T, HALF>(simd, strip, shape, right, rows, c);
                } else {
                    tile_of_width::<S, T, MR>(simd, strip, shape, right, rows, c);
                }
            }
        }
    }
}

/// The same for a block of `a` that is read in place: each strip is read once and stays in the first-level cache while
/// the panels of `b` pass.
struct BlockInPlace<'a, T, B, const MR: usize, const HALF: usize> {
    mc: usize,
    a: MatrixRef<'a, T>,
    right: Right<'a, T>,
    c: &'a mut [T],
    by: B,
}

impl<T: Vectors, B: StripInPlace, const MR: usize, const HALF: usize> WithSimd for BlockInPlace<'_, T, B, MR, HALF> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { mc, a, right, c, by } = self;
        for row in (0..mc).step_by(MR) {
            if mc - row <= HALF {
                strip_in_place::<S, T, B, HALF>(simd, mc, row, a, right, c, by);
            } else {
                strip_in_place::<S, T, B, MR>(simd, mc, row, a, right, c, by);
            }
        }
    }
}

/// Multiplies the strip that begins at a row. The last strip begins earlier if it would not be whole, and stores only
/// the rows that no other strip stores.
#[inline(always)]
fn strip_in_place<S: Simd, T: Vectors, B: StripInPlace, const MR: usize>(
    simd: S,
    mc: usize,
    row: usize,
    a: MatrixRef<'_, T>,
    right: Right<'_, T>,
    c: &mut [T],
    by: B,
) {
    let start = row.min(mc.saturating_sub(MR));
    let rows = row - start..MR.min(mc - start);
    let strip = by.strip::<T, MR>(a.from(start, 0), rows.end, right.kc);
    let c = &mut c[start * right.row_stride..];
    for shape in Panels::new(right.nc, T::lanes::<S>()) {
        tile_of_width::<S, T, MR>(simd, strip, shape, right, rows.clone(), c);
    }
}

/// The way in which a strip of `a` is read in place.
trait StripInPlace: Copy {
    /// Returns the strip whose last used row is `rows - 1`, of `kc` columns.
    fn strip<T: Vectors, const MR: usize>(self, a: MatrixRef<'_, T>, rows: usize, kc: usize) -> impl Strips<T, MR>;
}

#[derive(Clone, Copy)]
struct ByRows;

impl StripInPlace for ByRows {
    #[inline(always)]
    fn strip<T: Vectors, const MR: usize>(self, a: MatrixRef<'_, T>, rows: usize, kc: usize) -> impl Strips<T, MR> {
        Rows::<T, MR>::new(a, rows, kc)
    }
}

#[derive(Clone, Copy)]
struct ByColumns;

impl StripInPlace for ByColumns {
    #[inline(always)]
    fn strip<T: Vectors, const MR: usize>(self, a: MatrixRef<'_, T>, _: usize, _: usize) -> impl Strips<T, MR> {
        Columns(a)
    }
}

/// The access of a tile to its `MR` rows of `a`, column by column.
trait Strips<T, const MR: usize>: Copy {
    type Column: Copy;
    /// Returns the same strip, known to the compiler to have `kc` columns.
    fn cut(self, kc: usize) -> Self;
    fn column(&self, p: usize) -> Self::Column;
    fn at(&self, column: Self::Column, i: usize) -> T;
}

/// Packed rows. A tile may use fewer than there are.
#[derive(Clone, Copy)]
struct Strip<'a, T, const MR: usize>(&'a [[T; MR]]);

impl<'a, T: Copy, const MR: usize, const USED: usize> Strips<T, USED> for Strip<'a, T, MR> {
    type Column = &'a [T; MR];

    #[inline(always)]
    fn cut(self, kc: usize) -> Self {
        Self(&self.0[..kc])
    }

    #[inline(always)]
    fn column(&self, p: usize) -> &'a [T; MR] {
        &self.0[p]
    }

    #[inline(always)]
    fn at(&self, column: &'a [T; MR], i: usize) -> T {
        column[i]
    }
}

/// Rows that are contiguous.
#[derive(Clone, Copy)]
struct Rows<'a, T, const MR: usize>([&'a [T]; MR]);

impl<'a, T: Copy, const MR: usize> Rows<'a, T, MR> {
    /// Beyond the last row, the last row is read again; the sums from it are not stored.
    #[inline(always)]
    fn new(a: MatrixRef<'a, T>, rows: usize, kc: usize) -> Self {
        let mut slices: [&[T]; MR] = [&[]; MR];
        for i in 0..MR {
            slices[i] = &a.data[i.min(rows - 1) * a.row_stride..][..kc];
        }
        Self(slices)
    }
}

impl<T: Copy, const MR: usize> Strips<T, MR> for Rows<'_, T, MR> {
    type Column = usize;

    #[inline(always)]
    fn cut(self, kc: usize) -> Self {
        let mut rows = self.0;
        for i in 0..MR {
            rows[i] = &rows[i][..kc];
        }
        Self(rows)
    }

    #[inline(always)]
    fn column(&self, p: usize) -> usize {
        p
    }

    #[inline(always)]
    fn at(&self, p: usize, i: usize) -> T {
        self.0[i][p]
    }
}

/// Columns that are contiguous, with at least `MR` rows.
#[derive(Clone, Copy)]
struct Columns<'a, T>(MatrixRef<'a, T>);

impl<'a, T: Vectors, const MR: usize> Strips<T, MR> for Columns<'a, T> {
    type Column = &'a [T];

    #[inline(always)]
    fn cut(self, _: usize) -> Self {
        self
    }

    #[inline(always)]
    fn column(&self, p: usize) -> &'a [T] {
        &self.0.data[p * self.0.col_stride..][..MR]
    }

    #[inline(always)]
    fn at(&self, column: &'a [T], i: usize) -> T {
        column[i]
    }
}

/// Computes and stores a tile as wide as its panel.
#[inline(always)]
fn tile_of_width<S: Simd, T: Vectors, const MR: usize>(
    simd: S,
    a: impl Strips<T, MR>,
    shape: PanelShape,
    right: Right<'_, T>,
    rows: Range<usize>,
    c: &mut [T],
) {
    match shape.vectors {
        1 => tile::<S, T, MR, 1>(simd, a, shape, right, rows, c),
        2 => tile::<S, T, MR, 2>(simd, a, shape, right, rows, c),
        _ => tile::<S, T, MR, 3>(simd, a, shape, right, rows, c),
    }
}

/// The register tile: `MR` rows by `NV` vectors of `c`, held in registers along the whole panel. Only `rows` of it are
/// stored.
#[inline(always)]
fn tile<S: Simd, T: Vectors, const MR: usize, const NV: usize>(
    simd: S,
    a: impl Strips<T, MR>,
    shape: PanelShape,
    right: Right<'_, T>,
    rows: Range<usize>,
    c: &mut [T],
) {
    let Right { panels, kc, row_stride, accumulate, .. } = right;
    let mut sums = [[T::splat(simd, T::default()); NV]; MR];
    // With all lengths equal to kc the loop needs no bounds checks.
    let a = a.cut(kc);
    let b = &T::as_vectors::<S>(&panels[shape.column * kc..]).as_chunks::<NV>().0[..kc];
    for p in 0..kc {
        let column = a.column(p);
        for i in 0..MR {
            let a = T::splat(simd, a.at(column, i));
            for v in 0..NV {
                sums[i][v] = T::fma(simd, a, b[p][v], sums[i][v]);
            }
        }
    }
    let c = &mut c[shape.column..];
    if NV == 1 && shape.width < T::lanes::<S>() {
        return store_narrow(simd, sums.map(|sum| sum[0]), c, row_stride, rows, shape.width, accumulate);
    }
    for i in 0..MR {
        if rows.contains(&i) {
            store_row(simd, sums[i], &mut c[i * row_stride..][..shape.width], shape, accumulate);
        }
    }
}
