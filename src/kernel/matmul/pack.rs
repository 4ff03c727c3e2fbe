//! Copies of operands in the order in which tiles read them.

use pulp::Simd;

use crate::kernel::matmul::lanes::{PanelShape, load};
use crate::kernel::matmul::operand::{MatrixRef, even};
use crate::number::Vectors;

/// The widest tile, in vectors. With 8 rows it takes 24 of the 32 registers of AVX-512, with 4 rows 12 of the 16 of
/// AVX2: enough chains of multiply-adds to hide their latency, and room for the operands.
const TILE_VECTORS: usize = 3;
/// Rows that are packed together: each is on a memory page of its own, if the matrix is wide.
const ROWS: usize = 16;

/// The panels of a block of columns, as even as possible. A panel of one vector would leave the registers half empty;
/// it occurs only if the block has no other.
pub(super) struct Panels {
    column: usize,
    columns: usize,
    lanes: usize,
}

impl Panels {
    #[inline(always)]
    pub(super) fn new(columns: usize, lanes: usize) -> Self {
        Self { column: 0, columns, lanes }
    }
}

impl Iterator for Panels {
    type Item = PanelShape;

    #[inline(always)]
    fn next(&mut self) -> Option<PanelShape> {
        let left = self.columns - self.column;
        if left == 0 {
            return None;
        }
        let vectors = even(left.div_ceil(self.lanes), TILE_VECTORS);
        let width = left.min(vectors * self.lanes);
        let shape = PanelShape { column: self.column, width, vectors };
        self.column += width;
        Some(shape)
    }
}

/// Packs `b` into panels as wide as a tile, each from the first row to the last.
#[inline(always)]
pub(super) fn pack_columns<S: Simd, T: Vectors>(simd: S, b: MatrixRef<'_, T>, kc: usize, nc: usize, out: &mut [T]) {
    let lanes = T::lanes::<S>();
    if b.col_stride == 1 && nc >= lanes {
        // A few rows of all panels at a time: the rows are read from left to right, which the processor foresees.
        for row in (0..kc).step_by(ROWS) {
            let rows = row..kc.min(row + ROWS);
            let mut start = 0;
            for shape in Panels::new(nc, lanes) {
                let width = shape.vectors * lanes;
                let panel = &mut out[start + rows.start * width..start + rows.end * width];
                let b = b.from(row, shape.column);
                match shape.vectors {
                    1 => pack_panel::<S, T, 1>(b, shape, panel),
                    2 => pack_panel::<S, T, 2>(b, shape, panel),
                    _ => pack_panel::<S, T, 3>(b, shape, panel),
                }
                start += width * kc;
            }
        }
        return;
    }
    let mut out = out;
    for shape in Panels::new(nc, lanes) {
        let (panel, rest) = out.split_at_mut(shape.vectors * lanes * kc);
        out = rest;
        let b = b.from(0, shape.column);
        if shape.width < lanes {
            pack_narrow_panel(simd, b, kc, shape.width, panel);
        } else {
            for v in 0..shape.vectors {
                pack_strided::<S, T>(b.from(0, shape.offset(v, lanes)), kc, shape.vectors, v, panel);
            }
        }
    }
}

/// Packs a panel of `NV` vectors whose rows are contiguous.
#[inline(always)]
fn pack_panel<S: Simd, T: Vectors, const NV: usize>(b: MatrixRef<'_, T>, shape: PanelShape, panel: &mut [T]) {
    let lanes = T::lanes::<S>();
    for (p, out) in T::as_vectors_mut::<S>(panel).as_chunks_mut::<NV>().0.iter_mut().enumerate() {
        let row = &b.data[p * b.row_stride..][..shape.width];
        for (v, out) in out.iter_mut().enumerate() {
            *out = T::as_vectors::<S>(&row[shape.offset(v, lanes)..])[0];
        }
    }
}

/// Packs a panel of less than a vector. The lanes beyond its columns may hold anything: they are never stored.
#[inline(always)]
fn pack_narrow_panel<S: Simd, T: Vectors>(simd: S, b: MatrixRef<'_, T>, kc: usize, width: usize, panel: &mut [T]) {
    if b.col_stride == 1 {
        for (p, out) in T::as_vectors_mut::<S>(panel).iter_mut().enumerate().take(kc) {
            *out = load(simd, &b.data[p * b.row_stride..]);
        }
        return;
    }
    for (p, out) in panel.chunks_exact_mut(T::lanes::<S>()).enumerate().take(kc) {
        for (j, out) in out[..width].iter_mut().enumerate() {
            *out = b.data[p * b.row_stride + j * b.col_stride];
        }
    }
}

/// Packs one vector of a panel from columns with any strides, a few columns at a time, from top to bottom. If `b` is a
/// transposed matrix, this order follows its rows in memory.
#[inline(always)]
fn pack_strided<S: Simd, T: Vectors>(b: MatrixRef<'_, T>, kc: usize, vectors: usize, v: usize, panel: &mut [T]) {
    let lanes = T::lanes::<S>();
    let group = if lanes % 8 == 0 { 8 } else { lanes };
    for j in (0..lanes).step_by(group) {
        if group == 8 && b.row_stride == 1 {
            let mut columns: [&[T]; 8] = [&[]; 8];
            for i in 0..8 {
                columns[i] = &b.data[(j + i) * b.col_stride..][..kc];
            }
            for (p, out) in panel.chunks_exact_mut(vectors * lanes).enumerate().take(kc) {
                let mut group = [T::default(); 8];
                for i in 0..8 {
                    group[i] = columns[i][p];
                }
                out[v * lanes + j..][..8].copy_from_slice(&group);
            }
        } else {
            for (p, out) in panel.chunks_exact_mut(vectors * lanes).enumerate().take(kc) {
                for (i, out) in out[v * lanes + j..][..group].iter_mut().enumerate() {
                    *out = b.data[p * b.row_stride + (j + i) * b.col_stride];
                }
            }
        }
    }
}

/// Packs `a` into strips of `MR` rows, each from the first column to the last. Rows beyond the end are 0.
#[inline(always)]
pub(super) fn pack_rows<T: Vectors, const MR: usize>(a: MatrixRef<'_, T>, mc: usize, kc: usize, out: &mut [T]) {
    for (row, strip) in (0..mc).step_by(MR).zip(out.chunks_exact_mut(MR * kc)) {
        let used = MR.min(mc - row);
        let a = a.from(row, 0);
        let (columns, _) = strip.as_chunks_mut::<MR>();
        if a.row_stride == 1 && used == MR {
            for (p, column) in columns.iter_mut().enumerate() {
                column.copy_from_slice(&a.data[p * a.col_stride..][..MR]);
            }
        } else {
            for (p, column) in columns.iter_mut().enumerate() {
                *column = [T::default(); MR];
                for (i, x) in column[..used].iter_mut().enumerate() {
                    *x = a.data[i * a.row_stride + p * a.col_stride];
                }
            }
        }
    }
}
