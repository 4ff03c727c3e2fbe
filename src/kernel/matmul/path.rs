//! The choice of a kernel by shape, and the division of a product among threads.

use std::marker::PhantomData;

use pulp::{Arch, Simd, WithSimd};

use crate::kernel::matmul::dots::few_dots;
use crate::kernel::matmul::few::{add_all_rows, columns_of_a, few_steps, short_row};
use crate::kernel::matmul::lanes::LINE;
use crate::kernel::matmul::operand::Product;
use crate::kernel::matmul::plain;
use crate::kernel::matmul::tiles::tiles;
use crate::kernel::matmul::tiny::{self, tiny};
use crate::number::{Vectors, dispatch_or};
use crate::threads;

/// Up to this many rows (or columns) of `c` count as few.
const FEW: usize = 8;
/// A row of up to this many bytes is short.
const SHORT: usize = 4 * LINE;
/// Up to this `k` there is too little to sum for a tile.
const STEPS: usize = 4;
/// Products of fewer multiplications are not divided among threads: waking a thread takes as long.
const PARALLEL: usize = 1 << 22;

/// The way to compute a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Path {
    /// A few numbers.
    Tiny,
    /// One row of `a`, and rows of `b` so short that their sums stay in registers.
    ShortRow,
    /// Dot products of rows of `a` with the few columns of `b`.
    DotsFewColumns,
    /// Dot products of the few rows of `a` with columns of `b`.
    DotsFewRows,
    /// Sums of multiples of the rows of `b`, one for each of the few rows of `a`.
    RowsOfB,
    /// Sums of multiples of the columns of `a`, one for each of the few columns of `b`.
    ColumnsOfA,
    /// Sums of few multiples of the rows of `b`, for any number of rows of `a`: `k` is small, so there is little to sum
    /// and much to store.
    FewSteps,
    /// Register tiles, in blocks.
    Tiles,
}

impl<T: Vectors> Product<'_, T> {
    /// Chooses by shapes and strides alone, before the work is divided among threads: the path decides the order of
    /// summation.
    #[inline(always)]
    fn path(&self) -> Path {
        let Product { m, n, k, a, b, .. } = *self;
        if n <= tiny::COLUMNS && m <= tiny::ROWS && k <= tiny::ROWS {
            Path::Tiny
        } else if k == 1 || k <= STEPS && n >= 2 * FEW && m > 1 {
            Path::FewSteps
        } else if m == 1 && b.col_stride == 1 && n * size_of::<T>() <= SHORT {
            Path::ShortRow
        } else if m <= FEW && m <= n && b.col_stride == 1 {
            Path::RowsOfB
        } else if n <= 2 * FEW && n <= m && a.row_stride == 1 {
            Path::ColumnsOfA
        } else if (n <= FEW / 2 || n <= 2 * FEW && k >= 512) && n <= m && a.col_stride == 1 {
            Path::DotsFewColumns
        } else if m <= FEW / 2 && m <= n && b.row_stride == 1 {
            Path::DotsFewRows
        } else {
            Path::Tiles
        }
    }

    /// Computes a product of at least one element and one step.
    #[inline(always)]
    pub(super) fn compute(self, arch: Arch) {
        self.compute_shared_from(arch, PARALLEL);
    }

    /// Computes a product, and shares it among threads if it takes at least this many multiplications.
    #[inline(always)]
    pub(super) fn compute_shared_from(self, arch: Arch, least: usize) {
        let path = self.path();
        if self.m.saturating_mul(self.n).saturating_mul(self.k) >= least {
            let threads = threads::count();
            if threads > 1 {
                // Whole strips of rows. If there is one row only, whole cache lines of it.
                let (length, unit) = if self.m == 1 { (self.n, 64) } else { (self.m, 8) };
                return self.share(arch, path, length.div_ceil(threads).next_multiple_of(unit));
            }
        }
        self.run(arch, path);
    }

    /// Divides `c` among threads: `part` rows for each, or `part` columns if there is only one row. No element's sum is
    /// divided, so the bits are the same as with one thread.
    fn share(self, arch: Arch, path: Path, part: usize) {
        let length = if self.m == 1 { self.n } else { self.m };
        if length <= part {
            return self.run(arch, path);
        }
        let Product { m, n, k, a, b, c, c_strides, accumulate } = self;
        let first = length.div_ceil(part) / 2 * part;
        let (first, second) = if m == 1 {
            let (left, right) = c.split_at_mut(first);
            let second = Product { m, n: n - first, k, a, b: b.from(0, first), c: right, c_strides, accumulate };
            (Product { m, n: first, k, a, b, c: left, c_strides, accumulate }, second)
        } else {
            let (upper, lower) = c.split_at_mut(first * c_strides.0);
            let second = Product { m: m - first, n, k, a: a.from(first, 0), b, c: lower, c_strides, accumulate };
            (Product { m: first, n, k, a, b, c: upper, c_strides, accumulate }, second)
        };
        threads::join(|| first.share(arch, path, part), || second.share(arch, path, part));
    }
}

/// A product, or a thread's part of one, that is dispatched to the widest vector instructions of the machine.
struct Task<'a, T, K>(Product<'a, T>, PhantomData<K>);

/// Each kernel is dispatched separately, so that each is a function of its own. Otherwise a small kernel would pay for
/// the registers and the stack of a large one.
trait Kernel {
    fn run<S: Simd, T: Vectors>(simd: S, product: Product<'_, T>);

    /// The same product in the same order of summation, by plain loops.
    fn plain<T: Vectors>(product: Product<'_, T>);
}

impl<T: Vectors, K: Kernel> WithSimd for Task<'_, T, K> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        K::run(simd, self.0);
    }
}

macro_rules! kernels {
    ($($Kernel:ident($simd:ident, $product:ident) => $run:expr, plain $plain:path;)*) => { $(
        struct $Kernel;

        impl Kernel for $Kernel {
            #[inline(always)]
            fn run<S: Simd, T: Vectors>($simd: S, $product: Product<'_, T>) {
                $run
            }

            fn plain<T: Vectors>(product: Product<'_, T>) {
                $plain(product);
            }
        }
    )* };
}
kernels! {
    Tiny(_simd, product) => tiny(product), plain plain::in_pieces;
    ShortRow(simd, product) => short_row(simd, product), plain plain::in_chains;
    RowsOfB(simd, product) => add_all_rows(simd, product), plain plain::one_by_one;
    Dots(simd, product) => few_dots(simd, product), plain plain::in_lanes;
    FewSteps(simd, product) => few_steps(simd, product), plain plain::one_by_one;
    Tiles(simd, product) => if const { S::REGISTER_COUNT >= 32 } {
        tiles::<S, T, 8, 4>(simd, product);
    } else {
        tiles::<S, T, 4, 2>(simd, product);
    }, plain plain::in_pieces;
}

impl<T: Vectors> Product<'_, T> {
    #[inline(always)]
    fn run(self, arch: Arch, path: Path) {
        match path {
            Path::Tiny => self.run_by::<Tiny>(arch),
            Path::ShortRow => self.run_by::<ShortRow>(arch),
            Path::DotsFewColumns => self.run_by::<Dots>(arch),
            Path::DotsFewRows => self.transposed().run_by::<Dots>(arch),
            Path::RowsOfB => self.run_by::<RowsOfB>(arch),
            Path::ColumnsOfA => columns_of_a(self, |transposed| transposed.run_by::<RowsOfB>(arch)),
            Path::FewSteps => self.run_by::<FewSteps>(arch),
            Path::Tiles => self.run_by::<Tiles>(arch),
        }
    }

    #[inline(always)]
    fn run_by<K: Kernel>(self, arch: Arch) {
        dispatch_or(arch, Task(self, PhantomData::<K>), |Task(product, _)| K::plain(product));
    }
}
