//! The matrix product, `c = a b` or `c += a b`.
//!
//! Large products follow Goto and van de Geijn (2008), in the form BLIS gave it (Van Zee and van de Geijn 2015). A tile
//! of `c` stays in registers while a strip of `a` (a few rows) and a panel of `b` (a few vectors of columns) run past
//! it. `b` is copied panel by panel, so that the tile reads it from front to back. `a` is read where it is if its rows
//! lie in one piece, or its columns do and few columns of `b` reuse them; else it is copied strip by strip. `k` is cut
//! so that a panel stays in the first-level cache, the columns of `b` and the copied rows of `a` so that each copy takes
//! half of the second-level cache.
//!
//! With few rows or columns a copy would cost more than it saves, and the large operand is read once, where it is:
//!
//! * `k` is 1 or a little more: there is little to sum and much to store ([`few_steps`]).
//! * The large operand's vectors run along `k`: dot products, a few rows against a few columns at a time ([`dots`]).
//! * They run across `k`: multiples of its rows are added up, in registers if there is one row of `a` and those of `b`
//!   are short ([`short_row`]), else a few rows at a time in the nearest cache ([`add_rows`]).
//!
//! Each element of `c` is summed along `k` in an order that depends on shapes and strides alone, never on how many
//! threads share the work. Packing memory is kept by the thread: a product allocates only when it needs more than any
//! before.

// Kernels take plain lengths and strides, and index arrays of constant length so that loops unroll into registers.
#![allow(clippy::too_many_arguments, clippy::needless_range_loop)]

use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

/// A matrix operand by strides: element `(i, j)` is `data[i * row_stride + j * col_stride]`.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a, T> {
    pub data: &'a [T],
    pub row_stride: usize,
    pub col_stride: usize,
}

/// What becomes of the old content of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// It is not read, and may be anything.
    Overwrite,
    /// The product is added to it.
    Add,
}

/// Longest piece of `k` in one pass: a panel of `b`, 3 vectors of 64 bytes wide, takes 48 KiB, a first-level cache.
const KC: usize = 256;
/// The same where few columns reuse the rows of `a`, which then are best read in long pieces.
const KC_DIRECT: usize = 1024;
/// Most bytes of `a` packed at a time: half of a second-level cache of 1 MiB.
const MC_BYTES: usize = 512 * 1024;
/// Most vectors of columns of `b` packed at a time: with `KC` rows and vectors of 64 bytes the other half.
const NC_VECTORS: usize = 33;
/// The widest tile, in vectors. With 8 rows it takes 24 of the 32 registers of AVX-512, with 4 rows 12 of the 16 of
/// AVX2: enough chains of multiply-adds to hide their latency, and room for the operands.
const TILE_VECTORS: usize = 3;
/// Up to this many columns of `c` reuse `a` so little that packing its columns would cost more than it saves.
const DIRECT: usize = 128;
/// Up to this many rows (or columns) of `c` count as few.
const FEW: usize = 8;
/// A row of up to this many bytes is short: four vectors of AVX-512.
const SHORT: usize = 256;
/// Up to this `k` there is too little to sum for a tile.
const STEPS: usize = 4;
/// Products of fewer multiplications are not shared by threads: waking one costs as much.
#[cfg(feature = "rayon")]
const PARALLEL: usize = 1 << 22;

/// `c = a b` or `c += a b`, where `a` is `(m, k)`, `b` is `(k, n)`, and `c` is `(m, n)`, row-major without gaps.
///
/// # Panics
///
/// If an operand is too short for its shape and strides, or `c` has another length.
#[track_caller]
pub fn matmul<T: MatmulScalar>(
    m: usize,
    n: usize,
    k: usize,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    c: &mut [T],
    store: Store,
) {
    T::matmul(m, n, k, a, b, c, store);
}

/// The same with given vector instructions.
#[inline(always)]
#[track_caller]
fn matmul_on<T: MatmulScalar>(
    arch: Arch,
    m: usize,
    n: usize,
    k: usize,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    c: &mut [T],
    store: Store,
) {
    assert_eq!(Some(c.len()), m.checked_mul(n), "matmul: the result of {m} x {n} has another length");
    if m == 0 || n == 0 {
        return;
    }
    if k == 0 {
        if store == Store::Overwrite {
            c.fill(T::default());
        }
        return;
    }
    a.assert_holds(m, k);
    b.assert_holds(k, n);
    Product { m, n, k, a, b, c, store }.compute(arch);
}

impl<'a, T: MatmulScalar> Matrix<'a, T> {
    #[track_caller]
    fn assert_holds(&self, rows: usize, columns: usize) {
        let row = (rows - 1).checked_mul(self.row_stride);
        let column = (columns - 1).checked_mul(self.col_stride);
        let last = row.zip(column).and_then(|(row, column)| row.checked_add(column));
        assert!(
            last.is_some_and(|last| last < self.data.len()),
            "matmul: an operand of {rows} x {columns} with strides ({}, {}) does not fit in {} elements",
            self.row_stride,
            self.col_stride,
            self.data.len()
        );
    }

    /// Returns the part that begins at a row and a column.
    #[inline(always)]
    fn from(self, row: usize, column: usize) -> Self {
        Self { data: &self.data[row * self.row_stride + column * self.col_stride..], ..self }
    }

    #[inline(always)]
    fn transposed(self) -> Self {
        Self { row_stride: self.col_stride, col_stride: self.row_stride, ..self }
    }
}

/// The operands and the result of one product.
struct Product<'a, T> {
    m: usize,
    n: usize,
    k: usize,
    a: Matrix<'a, T>,
    b: Matrix<'a, T>,
    c: &'a mut [T],
    store: Store,
}

/// How a product is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Path {
    /// One row of `a`, and rows of `b` so short that their sums stay in registers.
    ShortRow,
    /// Dot products of rows of `a` and columns of `b`, which are few.
    DotsFewColumns,
    /// The same where the rows of `a` are few.
    DotsFewRows,
    /// Sums of multiples of the rows of `b`, one for each of the few rows of `a`.
    RowsOfB,
    /// Sums of multiples of the columns of `a`, one for each of the few columns of `b`.
    ColumnsOfA,
    /// The same for any number of rows of `a` where `k` is small: little is summed, and much is stored.
    FewSteps,
    Tiles,
}

impl<T: MatmulScalar> Product<'_, T> {
    /// Chooses by shapes and strides alone, before threads share the work: the path decides the order of summation.
    #[inline(always)]
    fn path(&self) -> Path {
        let Product { m, n, k, a, b, .. } = *self;
        if k == 1 || k <= STEPS && n >= 2 * FEW && m > 1 {
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

    #[inline(always)]
    fn compute(self, arch: Arch) {
        let path = self.path();
        #[cfg(feature = "rayon")]
        if self.m.saturating_mul(self.n).saturating_mul(self.k) >= PARALLEL {
            let threads = rayon::current_num_threads();
            if threads > 1 {
                // Whole strips of rows, or whole cache lines of an only row.
                let (length, unit) = if self.m == 1 { (self.n, 64) } else { (self.m, 8) };
                return self.share(arch, path, length.div_ceil(threads).next_multiple_of(unit));
            }
        }
        self.run(arch, path);
    }

    #[inline(always)]
    fn run(self, arch: Arch, path: Path) {
        match path {
            Path::ShortRow => arch.dispatch(Task(self, PhantomData::<ShortRow>)),
            Path::RowsOfB => arch.dispatch(Task(self, PhantomData::<RowsOfB>)),
            Path::ColumnsOfA => arch.dispatch(Task(self, PhantomData::<ColumnsOfA>)),
            Path::DotsFewColumns => arch.dispatch(Task(self, PhantomData::<DotsFewColumns>)),
            Path::DotsFewRows => arch.dispatch(Task(self, PhantomData::<DotsFewRows>)),
            Path::FewSteps => arch.dispatch(Task(self, PhantomData::<FewSteps>)),
            Path::Tiles => arch.dispatch(Task(self, PhantomData::<Tiles>)),
        }
    }

    /// Shares `c` among threads, `part` rows to each, or columns of an only row. No element's sum is divided, so the
    /// bits are those of one thread.
    #[cfg(feature = "rayon")]
    fn share(self, arch: Arch, path: Path, part: usize) {
        let length = if self.m == 1 { self.n } else { self.m };
        if length <= part {
            return self.run(arch, path);
        }
        let Product { m, n, k, a, b, c, store } = self;
        let first = length.div_ceil(part) / 2 * part;
        let (first, second) = if m == 1 {
            let (left, right) = c.split_at_mut(first);
            let second = Product { m, n: n - first, k, a, b: b.from(0, first), c: right, store };
            (Product { m, n: first, k, a, b, c: left, store }, second)
        } else {
            let (upper, lower) = c.split_at_mut(first * n);
            let second = Product { m: m - first, n, k, a: a.from(first, 0), b, c: lower, store };
            (Product { m: first, n, k, a, b, c: upper, store }, second)
        };
        rayon::join(|| first.share(arch, path, part), || second.share(arch, path, part));
    }
}

/// A product, or a thread's part of one, on its way to the vector instructions that the machine has.
struct Task<'a, T, K>(Product<'a, T>, PhantomData<K>);

/// The kernels are dispatched one by one, so that each is a function of its own: a small one would otherwise pay for
/// the registers and stack of a large one.
trait Kernel {
    fn run<S: Simd, T: MatmulScalar>(simd: S, product: Product<'_, T>);
}

impl<T: MatmulScalar, K: Kernel> WithSimd for Task<'_, T, K> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        K::run(simd, self.0);
    }
}

macro_rules! kernels {
    ($($Kernel:ident($simd:ident, $product:ident) => $run:expr;)*) => {
        $(
            struct $Kernel;

            impl Kernel for $Kernel {
                #[inline(always)]
                fn run<S: Simd, T: MatmulScalar>($simd: S, $product: Product<'_, T>) {
                    $run
                }
            }
        )*
    };
}
kernels! {
    ShortRow(simd, it) => short_row(simd, it.n, it.k, it.a, it.b, it.c, it.store);
    RowsOfB(simd, it) => add_all_rows(simd, it.m, it.n, it.k, it.a, it.b, it.c, it.n, it.store);
    ColumnsOfA(simd, it) => columns_of_a(simd, it.m, it.n, it.k, it.a, it.b, it.c, it.store);
    DotsFewColumns(simd, it) =>
        few_dots(simd, it.m, it.n, it.k, it.a, it.b.transposed(), it.c, (it.n, 1), it.store);
    DotsFewRows(simd, it) =>
        few_dots(simd, it.n, it.m, it.k, it.b.transposed(), it.a, it.c, (1, it.n), it.store);
    FewSteps(simd, it) => few_steps(simd, it.m, it.n, it.k, it.a, it.b, it.c, it.store);
    Tiles(simd, it) => if S::REGISTER_COUNT >= 32 {
        tiles::<S, T, 8, 4>(simd, it.m, it.n, it.k, it.a, it.b, it.c, it.store);
    } else {
        tiles::<S, T, 4, 2>(simd, it.m, it.n, it.k, it.a, it.b, it.c, it.store);
    };
}

/// Returns what is stored where `old` was.
#[inline(always)]
fn stored<T: MatmulScalar>(store: Store, old: &T, sum: T) -> T {
    if store == Store::Add { *old + sum } else { sum }
}

/// `c[i, j] = a[i] b[j]`, where a row of `c` fits in a vector: whole vectors are stored nevertheless.
#[inline(always)]
fn narrow_outer<S: Simd, T: MatmulScalar>(
    simd: S,
    n: usize,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    c: &mut [T],
    store: Store,
) {
    let b = T::partial_load(simd, &b.data[..n]);
    let m = c.len() / n;
    for row in (0..m).step_by(8) {
        let rows = 8.min(m - row);
        let mut products = [b; 8];
        for (i, product) in products.iter_mut().enumerate() {
            let a = T::splat(simd, a.data[(row + i.min(rows - 1)) * a.row_stride]);
            *product = T::product(simd, a, b);
        }
        store_narrow(simd, products, &mut c[row * n..], n, 0..rows, n, store);
    }
}

/// Returns the vector at the front of `x`, filled up with zeros if `x` is shorter.
#[inline(always)]
fn load<S: Simd, T: MatmulScalar>(simd: S, x: &[T]) -> T::Vector<S> {
    match T::as_vectors::<S>(x).first() {
        Some(&vector) => vector,
        None => T::partial_load(simd, x),
    }
}

/// Returns what is left of `x` after its whole vectors, and zeros.
#[inline(always)]
fn tail<S: Simd, T: MatmulScalar>(simd: S, x: &[T]) -> T::Vector<S> {
    let lanes = T::lanes::<S>();
    if x.len() < lanes {
        return T::partial_load(simd, x);
    }
    let seen = lanes - x.len() % lanes;
    let last = T::as_vectors::<S>(&x[x.len() - lanes..])[0];
    T::select(simd, T::first(simd, seen), T::splat(simd, T::default()), last)
}

/// One row of `a` and short rows of `b`: the sums stay in registers, unless vectors are short too. `b` is read once.
#[inline(always)]
fn short_row<S: Simd, T: MatmulScalar>(
    simd: S,
    n: usize,
    k: usize,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    c: &mut [T],
    store: Store,
) {
    match n.div_ceil(T::lanes::<S>()) {
        1 => short_sums::<S, T, 1, 8>(simd, n, k, a, b, c, store),
        2 => short_sums::<S, T, 2, 4>(simd, n, k, a, b, c, store),
        3 | 4 => short_sums::<S, T, 4, 2>(simd, n, k, a, b, c, store),
        _ => add_all_rows(simd, 1, n, k, a, b, c, n, store),
    }
}

/// The same for rows of at most `NV` vectors. `CHAINS` sums run side by side to hide the latency of a multiply-add.
#[inline(always)]
fn short_sums<S: Simd, T: MatmulScalar, const NV: usize, const CHAINS: usize>(
    simd: S,
    n: usize,
    k: usize,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    c: &mut [T],
    store: Store,
) {
    let lanes = T::lanes::<S>();
    let mut sums = [[T::splat(simd, T::default()); NV]; CHAINS];
    // Whole vectors are read while the data reaches: lanes beyond the row's end belong to the next row and are dropped.
    let reach = NV * lanes + (CHAINS - 1) * b.row_stride;
    let mut p = 0;
    while p + CHAINS <= k && p * b.row_stride + reach <= b.data.len() {
        let rows = &b.data[p * b.row_stride..][..reach];
        for (chain, sums) in sums.iter_mut().enumerate() {
            let row = &T::as_vectors::<S>(&rows[chain * b.row_stride..])[..NV];
            let factor = T::splat(simd, a.data[(p + chain) * a.col_stride]);
            for (sum, &b) in sums.iter_mut().zip(row) {
                *sum = T::fma(simd, factor, b, *sum);
            }
        }
        p += CHAINS;
    }
    while p < k {
        let factor = T::splat(simd, a.data[p * a.col_stride]);
        let row = &b.data[p * b.row_stride..][..n];
        for (sum, row) in sums[p % CHAINS].iter_mut().zip(row.chunks(lanes)) {
            *sum = T::fma(simd, factor, T::partial_load(simd, row), *sum);
        }
        p += 1;
    }
    for (j, c) in c.chunks_mut(lanes).enumerate() {
        let mut sum = sums[0][j];
        for sums in &sums[1..] {
            sum = T::sum(simd, sum, sums[j]);
        }
        if store == Store::Add {
            sum = T::sum(simd, T::partial_load(simd, c), sum);
        }
        T::partial_store(simd, c, sum);
    }
}

/// Few columns of `b` and a transposed `a`: `c` is kept transposed in the nearest cache while the rows that `a` has in
/// memory are added to its rows, so that the large operand is read once, from front to back.
#[inline(always)]
fn columns_of_a<S: Simd, T: MatmulScalar>(
    simd: S,
    m: usize,
    n: usize,
    k: usize,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    c: &mut [T],
    store: Store,
) {
    let stride = m.next_multiple_of(T::lanes::<S>());
    let mut scratch = Scratch::take();
    let (sums, _) = scratch.split(stride * n, 0);
    add_all_rows(simd, n, m, k, b.transposed(), a.transposed(), sums, stride, Store::Overwrite);
    for (i, c) in c.chunks_exact_mut(n).enumerate() {
        for (c, sums) in c.iter_mut().zip(sums.chunks_exact(stride)) {
            *c = stored(store, c, sums[i]);
        }
    }
}

/// Rows of the large operand that are added to the sums in one go.
const ROWS: usize = 8;

/// `sums[i] = Σ factors[i, p] rows[p]` for few `i`; the rows have `width` numbers in one piece each, the sums lie
/// `stride` apart.
#[inline(always)]
fn add_all_rows<S: Simd, T: MatmulScalar>(
    simd: S,
    count: usize,
    width: usize,
    k: usize,
    factors: Matrix<'_, T>,
    rows: Matrix<'_, T>,
    sums: &mut [T],
    stride: usize,
    store: Store,
) {
    // The sums and the rows in hand share half of a first-level cache.
    let rows_of_block = if count <= 3 { count } else { count + ROWS };
    let block = 32 * 1024 / size_of::<T>() / rows_of_block;
    let block = width.div_ceil(width.div_ceil(block)).next_multiple_of(T::lanes::<S>());
    for start in (0..width).step_by(block) {
        let width = block.min(width - start);
        let rows = rows.from(0, start);
        let sums = &mut sums[start..];
        for p in (0..k).step_by(ROWS) {
            let (factors, rows) = (factors.from(0, p), rows.from(p, 0));
            let store = if p == 0 { store } else { Store::Add };
            if k - p >= ROWS && count == 4 {
                add_rows::<S, T, 4, 4>(simd, width, factors, rows, sums, stride, store);
                let (factors, rows) = (factors.from(0, 4), rows.from(4, 0));
                add_rows::<S, T, 4, 4>(simd, width, factors, rows, sums, stride, Store::Add);
            } else if k - p >= ROWS {
                add_to_all_sums::<S, T, ROWS>(simd, count, width, factors, rows, sums, stride, store);
            } else {
                for p in 0..k - p {
                    let (factors, rows) = (factors.from(0, p), rows.from(p, 0));
                    let store = if p == 0 { store } else { Store::Add };
                    add_to_all_sums::<S, T, 1>(simd, count, width, factors, rows, sums, stride, store);
                }
            }
        }
    }
}

/// Adds multiples of `R` rows to all sums, a few sums at a time: as many as the registers hold factors for.
#[inline(always)]
fn add_to_all_sums<S: Simd, T: MatmulScalar, const R: usize>(
    simd: S,
    count: usize,
    width: usize,
    factors: Matrix<'_, T>,
    rows: Matrix<'_, T>,
    sums: &mut [T],
    stride: usize,
    store: Store,
) {
    let mut i = 0;
    while i < count {
        let (factors, sums) = (factors.from(i, 0), &mut sums[i * stride..]);
        match count - i {
            1 => add_rows::<S, T, R, 1>(simd, width, factors, rows, sums, stride, store),
            2 | 4 => add_rows::<S, T, R, 2>(simd, width, factors, rows, sums, stride, store),
            _ => add_rows::<S, T, R, 3>(simd, width, factors, rows, sums, stride, store),
        }
        i += match count - i {
            1 => 1,
            2 | 4 => 2,
            _ => 3,
        };
    }
}

/// Small `k`: each row of `c` is a sum of a few multiples of the rows of `b`, which stay in the nearest cache.
#[inline(always)]
fn few_steps<S: Simd, T: MatmulScalar>(
    simd: S,
    m: usize,
    n: usize,
    k: usize,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    c: &mut [T],
    store: Store,
) {
    let mut scratch = Scratch::take();
    let rows = if b.col_stride == 1 { b } else { copied_rows(&mut scratch, b, k, n) };
    if k == 1 && n <= T::lanes::<S>() {
        return narrow_outer(simd, n, a, rows, c, store);
    }
    let mut i = 0;
    while i < m {
        let (factors, c) = (a.from(i, 0), &mut c[i * n..]);
        let count = if m - i >= 3 { 3 } else { 1 };
        match (k, count) {
            (1, 3) => add_rows::<S, T, 1, 3>(simd, n, factors, rows, c, n, store),
            (2, 3) => add_rows::<S, T, 2, 3>(simd, n, factors, rows, c, n, store),
            (3, 3) => add_rows::<S, T, 3, 3>(simd, n, factors, rows, c, n, store),
            (4, 3) => add_rows::<S, T, 4, 3>(simd, n, factors, rows, c, n, store),
            (1, _) => add_rows::<S, T, 1, 1>(simd, n, factors, rows, c, n, store),
            (2, _) => add_rows::<S, T, 2, 1>(simd, n, factors, rows, c, n, store),
            (3, _) => add_rows::<S, T, 3, 1>(simd, n, factors, rows, c, n, store),
            _ => add_rows::<S, T, 4, 1>(simd, n, factors, rows, c, n, store),
        }
        i += count;
    }
}

/// Returns a copy whose rows are in one piece each.
#[inline(always)]
fn copied_rows<'a, T: MatmulScalar>(
    scratch: &'a mut Scratch<T>,
    x: Matrix<'_, T>,
    rows: usize,
    columns: usize,
) -> Matrix<'a, T> {
    let (copy, _) = scratch.split(rows * columns, 0);
    for (i, copy) in copy.chunks_exact_mut(columns).enumerate().take(rows) {
        for (j, copy) in copy.iter_mut().enumerate() {
            *copy = x.data[i * x.row_stride + j * x.col_stride];
        }
    }
    Matrix { data: copy, row_stride: columns, col_stride: 1 }
}

/// `sums[i] += Σ factors[i, p] rows[p]` over `R` rows, for `J` sums.
#[inline(always)]
fn add_rows<S: Simd, T: MatmulScalar, const R: usize, const J: usize>(
    simd: S,
    width: usize,
    factors: Matrix<'_, T>,
    rows: Matrix<'_, T>,
    sums: &mut [T],
    stride: usize,
    store: Store,
) {
    let lanes = T::lanes::<S>();
    let zero = T::splat(simd, T::default());
    let mut factor = [[zero; R]; J];
    for j in 0..J {
        for p in 0..R {
            factor[j][p] = T::splat(simd, factors.data[j * factors.row_stride + p * factors.col_stride]);
        }
    }
    let vectors = width / lanes;
    let mut row = [&[][..]; R];
    for p in 0..R {
        row[p] = &rows.data[p * rows.row_stride..][..width];
    }
    let mut behind = sums;
    let mut sums: [&mut [T]; J] = std::array::from_fn(|_| Default::default());
    for sums in &mut sums {
        let (this, next) = behind.split_at_mut(stride.min(behind.len()));
        *sums = &mut this[..width];
        behind = next;
    }
    if vectors == 0 {
        let mut sum = [zero; J];
        if store == Store::Add {
            for j in 0..J {
                sum[j] = T::partial_load(simd, sums[j]);
            }
        }
        for p in 0..R {
            // The lanes beyond the row's end are dropped.
            let x = load(simd, &rows.data[p * rows.row_stride..]);
            for j in 0..J {
                sum[j] = T::fma(simd, factor[j][p], x, sum[j]);
            }
        }
        for j in 0..J {
            T::partial_store(simd, sums[j], sum[j]);
        }
        return;
    }
    // The last vector overlaps the one before, if need be: it is computed before that is stored, and stored after.
    let last = width - lanes;
    let mut last_sum = [zero; J];
    if store == Store::Add {
        for j in 0..J {
            last_sum[j] = T::as_vectors::<S>(&sums[j][last..])[0];
        }
    }
    for p in 0..R {
        let x = T::as_vectors::<S>(&row[p][last..])[0];
        for j in 0..J {
            last_sum[j] = T::fma(simd, factor[j][p], x, last_sum[j]);
        }
    }
    let mut row_vectors = [T::as_vectors::<S>(&[]); R];
    for p in 0..R {
        row_vectors[p] = &T::as_vectors::<S>(row[p])[..vectors];
    }
    let mut sum_vectors: [&mut [T::Vector<S>]; J] = std::array::from_fn(|_| Default::default());
    for (vector, sums) in sum_vectors.iter_mut().zip(&mut sums) {
        *vector = &mut T::as_vectors_mut::<S>(sums)[..vectors];
    }
    for v in 0..vectors {
        let mut sum = [zero; J];
        if store == Store::Add {
            for j in 0..J {
                sum[j] = sum_vectors[j][v];
            }
        }
        for p in 0..R {
            let x = row_vectors[p][v];
            for j in 0..J {
                sum[j] = T::fma(simd, factor[j][p], x, sum[j]);
            }
        }
        for j in 0..J {
            sum_vectors[j][v] = sum[j];
        }
    }
    for j in 0..J {
        T::as_vectors_mut::<S>(&mut sums[j][last..])[0] = last_sum[j];
    }
}

/// `c[i, j] = large[i] · small[j]`, where the rows of `large` are in one piece each and `small` has few rows.
#[inline(always)]
fn few_dots<S: Simd, T: MatmulScalar>(
    simd: S,
    large_rows: usize,
    small_rows: usize,
    k: usize,
    large: Matrix<'_, T>,
    small: Matrix<'_, T>,
    c: &mut [T],
    c_strides: (usize, usize),
    store: Store,
) {
    if small.col_stride == 1 {
        return dots(simd, large_rows, small_rows, k, large, small, c, c_strides, store);
    }
    let mut scratch = Scratch::take();
    let small = copied_rows(&mut scratch, small, small_rows, k);
    dots(simd, large_rows, small_rows, k, large, small, c, c_strides, store);
}

/// The same where the rows of `small` are in one piece each as well.
#[inline(always)]
fn dots<S: Simd, T: MatmulScalar>(
    simd: S,
    large_rows: usize,
    small_rows: usize,
    k: usize,
    large: Matrix<'_, T>,
    small: Matrix<'_, T>,
    c: &mut [T],
    c_strides: (usize, usize),
    store: Store,
) {
    let mut i = 0;
    while i < large_rows {
        let (large, c) = (large.from(i, 0), &mut c[i * c_strides.0..]);
        if large_rows - i >= 4 {
            dots_of_rows::<S, T, 4>(simd, small_rows, k, large, small, c, c_strides, store);
            i += 4;
        } else {
            dots_of_rows::<S, T, 1>(simd, small_rows, k, large, small, c, c_strides, store);
            i += 1;
        }
    }
}

/// Dot products of `R` rows with all rows of `small`, a few of them at a time: as many as the registers hold sums for.
#[inline(always)]
fn dots_of_rows<S: Simd, T: MatmulScalar, const R: usize>(
    simd: S,
    small_rows: usize,
    k: usize,
    large: Matrix<'_, T>,
    small: Matrix<'_, T>,
    c: &mut [T],
    c_strides: (usize, usize),
    store: Store,
) {
    let mut j = 0;
    while j < small_rows {
        let (small, c) = (small.from(j, 0), &mut c[j * c_strides.1..]);
        match small_rows - j {
            1 => dot_tile::<S, T, R, 1>(simd, k, large, small, c, c_strides, store),
            2 | 4 => dot_tile::<S, T, R, 2>(simd, k, large, small, c, c_strides, store),
            _ => dot_tile::<S, T, R, 3>(simd, k, large, small, c, c_strides, store),
        }
        j += match small_rows - j {
            1 => 1,
            2 | 4 => 2,
            _ => 3,
        };
    }
}

/// `R` by `J` dot products side by side: each vector read serves several of them.
#[inline(always)]
fn dot_tile<S: Simd, T: MatmulScalar, const R: usize, const J: usize>(
    simd: S,
    k: usize,
    large: Matrix<'_, T>,
    small: Matrix<'_, T>,
    c: &mut [T],
    c_strides: (usize, usize),
    store: Store,
) {
    let lanes = T::lanes::<S>();
    let vectors = k / lanes;
    let mut sums = [[T::splat(simd, T::default()); J]; R];
    let mut xs: [&[T]; R] = [&[]; R];
    let mut ys: [&[T]; J] = [&[]; J];
    let mut x_vectors = [T::as_vectors::<S>(&[]); R];
    let mut y_vectors = [T::as_vectors::<S>(&[]); J];
    for i in 0..R {
        xs[i] = &large.data[i * large.row_stride..][..k];
        x_vectors[i] = &T::as_vectors::<S>(xs[i])[..vectors];
    }
    for j in 0..J {
        ys[j] = &small.data[j * small.row_stride..][..k];
        y_vectors[j] = &T::as_vectors::<S>(ys[j])[..vectors];
    }
    for v in 0..vectors {
        for i in 0..R {
            for j in 0..J {
                sums[i][j] = T::fma(simd, x_vectors[i][v], y_vectors[j][v], sums[i][j]);
            }
        }
    }
    if vectors * lanes < k {
        let mut x_tails = [sums[0][0]; R];
        for i in 0..R {
            x_tails[i] = tail(simd, xs[i]);
        }
        for j in 0..J {
            let y = tail(simd, ys[j]);
            for i in 0..R {
                sums[i][j] = T::fma(simd, x_tails[i], y, sums[i][j]);
            }
        }
    }
    for i in 0..R {
        for j in 0..J {
            let c = &mut c[i * c_strides.0 + j * c_strides.1];
            *c = stored(store, c, T::reduce(simd, sums[i][j]));
        }
    }
}

/// The general product, in blocks. `MR` is the height of a register tile, `HALF` of one for few remaining rows.
#[inline(always)]
fn tiles<S: Simd, T: MatmulScalar, const MR: usize, const HALF: usize>(
    simd: S,
    m: usize,
    n: usize,
    k: usize,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    c: &mut [T],
    store: Store,
) {
    let lanes = T::lanes::<S>();
    let few_columns = n <= DIRECT;
    let in_place = a.col_stride == 1 || few_columns && a.row_stride == 1 && m >= MR;
    // Blocks of equal size: a small last one would cost a pass over c and do little.
    let kc_max = even(k, if few_columns && a.col_stride == 1 { KC_DIRECT } else { KC });
    let nc_max = n.min(NC_VECTORS * lanes);
    let mc_max = if in_place { m } else { even(m, MC_BYTES / size_of::<T>() / kc_max).next_multiple_of(MR) };
    let mut scratch = Scratch::take();
    let a_len = if in_place { 0 } else { mc_max * kc_max };
    let (pack_a, pack_b) = scratch.split(a_len, kc_max * nc_max.next_multiple_of(lanes));
    for jc in (0..n).step_by(nc_max) {
        let nc = nc_max.min(n - jc);
        for pc in (0..k).step_by(kc_max) {
            let kc = kc_max.min(k - pc);
            let store = if pc == 0 { store } else { Store::Add };
            pack_columns::<S, T>(simd, b.from(pc, jc), kc, nc, pack_b);
            let right = Right { panels: pack_b, kc, nc, row_stride: n, store };
            for ic in (0..m).step_by(mc_max) {
                let mc = mc_max.min(m - ic);
                let (a, c) = (a.from(ic, pc), &mut c[ic * n + jc..]);
                if in_place {
                    block_in_place::<S, T, MR, HALF>(simd, mc, a, right, c);
                } else {
                    pack_rows::<T, MR>(a, mc, kc, pack_a);
                    block::<S, T, MR, HALF>(simd, mc, pack_a, right, c);
                }
            }
        }
    }
}

/// Returns the length of the pieces if `length` is cut into as few as can be, none longer than `limit`, all about
/// equal.
#[inline(always)]
fn even(length: usize, limit: usize) -> usize {
    length.div_ceil(length.div_ceil(limit))
}

/// The panels into which a block of columns is cut, as even as can be: a panel of one vector, which would leave the
/// registers half empty, occurs only alone.
struct Panels {
    column: usize,
    columns: usize,
    lanes: usize,
}

/// A panel's first column, how many columns it has, and how many vectors hold them.
#[derive(Clone, Copy)]
struct PanelShape {
    column: usize,
    width: usize,
    vectors: usize,
}

impl PanelShape {
    /// Returns the offset of a vector in the panel. The last one overlaps the one before instead of ending in nothing.
    #[inline(always)]
    fn offset(&self, vector: usize, lanes: usize) -> usize {
        (vector * lanes).min(self.width.saturating_sub(lanes))
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
        let vectors = left.div_ceil(self.lanes);
        let vectors = vectors.div_ceil(vectors.div_ceil(TILE_VECTORS));
        let width = left.min(vectors * self.lanes);
        let shape = PanelShape { column: self.column, width, vectors };
        self.column += width;
        Some(shape)
    }
}

/// Packs `b` into panels as wide as a tile, each from the first row to the last.
#[inline(always)]
fn pack_columns<S: Simd, T: MatmulScalar>(simd: S, b: Matrix<'_, T>, kc: usize, nc: usize, out: &mut [T]) {
    let lanes = T::lanes::<S>();
    let mut out = out;
    for shape in (Panels { column: 0, columns: nc, lanes }) {
        let (panel, rest) = out.split_at_mut(shape.vectors * lanes * kc);
        out = rest;
        let b = b.from(0, shape.column);
        if shape.width < lanes {
            pack_narrow_panel(simd, b, kc, shape.width, panel);
        } else if b.col_stride == 1 {
            match shape.vectors {
                1 => pack_panel::<S, T, 1>(b, shape, panel),
                2 => pack_panel::<S, T, 2>(b, shape, panel),
                _ => pack_panel::<S, T, 3>(b, shape, panel),
            }
        } else {
            for v in 0..shape.vectors {
                pack_strided::<S, T>(b.from(0, shape.offset(v, lanes)), kc, shape.vectors, v, panel);
            }
        }
    }
}

/// Packs a panel of `NV` vectors whose rows are in one piece each.
#[inline(always)]
fn pack_panel<S: Simd, T: MatmulScalar, const NV: usize>(b: Matrix<'_, T>, shape: PanelShape, panel: &mut [T]) {
    let lanes = T::lanes::<S>();
    for (p, out) in T::as_vectors_mut::<S>(panel).as_chunks_mut::<NV>().0.iter_mut().enumerate() {
        let row = &b.data[p * b.row_stride..][..shape.width];
        for (v, out) in out.iter_mut().enumerate() {
            *out = T::as_vectors::<S>(&row[shape.offset(v, lanes)..])[0];
        }
    }
}

/// Packs a panel of less than a vector. What fills its rows up is never stored.
#[inline(always)]
fn pack_narrow_panel<S: Simd, T: MatmulScalar>(simd: S, b: Matrix<'_, T>, kc: usize, width: usize, panel: &mut [T]) {
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

/// Packs one vector of a panel from columns with any strides, a few columns at a time from top to bottom: where `b` is
/// a transposed matrix, that is along its rows in memory.
#[inline(always)]
fn pack_strided<S: Simd, T: MatmulScalar>(b: Matrix<'_, T>, kc: usize, vectors: usize, v: usize, panel: &mut [T]) {
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

/// Packs `a` into strips of `MR` rows, each from the first column to the last; rows beyond the end are 0.
#[inline(always)]
fn pack_rows<T: MatmulScalar, const MR: usize>(a: Matrix<'_, T>, mc: usize, kc: usize, out: &mut [T]) {
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

/// A packed block of `b`, and where its products go.
#[derive(Clone, Copy)]
struct Right<'a, T> {
    panels: &'a [T],
    kc: usize,
    nc: usize,
    /// How far apart the rows of `c` are.
    row_stride: usize,
    store: Store,
}

/// Multiplies a packed block of `a` with one of `b`: a panel of `b` stays in the first-level cache while the strips of
/// `a` pass.
#[inline(always)]
fn block<S: Simd, T: MatmulScalar, const MR: usize, const HALF: usize>(
    simd: S,
    mc: usize,
    pack_a: &[T],
    right: Right<'_, T>,
    c: &mut [T],
) {
    let kc = right.kc;
    for shape in (Panels { column: 0, columns: right.nc, lanes: T::lanes::<S>() }) {
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

/// The same for a block of `a` that is read where it is: a strip, which is read once, stays in the first-level cache
/// while the panels of `b` pass.
#[inline(always)]
fn block_in_place<S: Simd, T: MatmulScalar, const MR: usize, const HALF: usize>(
    simd: S,
    mc: usize,
    a: Matrix<'_, T>,
    right: Right<'_, T>,
    c: &mut [T],
) {
    for row in (0..mc).step_by(MR) {
        if mc - row <= HALF {
            strip_in_place::<S, T, HALF>(simd, mc, row, a, right, c);
        } else {
            strip_in_place::<S, T, MR>(simd, mc, row, a, right, c);
        }
    }
}

/// Multiplies the strip that begins at a row. At the end it begins earlier, so that it is whole, and stores what is
/// new.
#[inline(always)]
fn strip_in_place<S: Simd, T: MatmulScalar, const MR: usize>(
    simd: S,
    mc: usize,
    row: usize,
    a: Matrix<'_, T>,
    right: Right<'_, T>,
    c: &mut [T],
) {
    let start = row.min(mc.saturating_sub(MR));
    let rows = row - start..MR.min(mc - start);
    let (a, c) = (a.from(start, 0), &mut c[start * right.row_stride..]);
    let strip = if a.col_stride == 1 { Some(Rows::<T, MR>::new(a, rows.end, right.kc)) } else { None };
    for shape in (Panels { column: 0, columns: right.nc, lanes: T::lanes::<S>() }) {
        match strip {
            Some(strip) => tile_of_width::<S, T, MR>(simd, strip, shape, right, rows.clone(), c),
            None => tile_of_width::<S, T, MR>(simd, Columns(a), shape, right, rows.clone(), c),
        }
    }
}

/// How a tile reads its `MR` rows of `a`, one column after the other.
trait Strips<T, const MR: usize>: Copy {
    type Column: Copy;
    /// Returns the same, known to the compiler to have `kc` columns.
    fn cut(self, kc: usize) -> Self;
    fn column(&self, p: usize) -> Self::Column;
    fn at(&self, column: Self::Column, i: usize) -> T;
}

/// Packed rows, of which a tile uses the first.
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

/// Rows that are in one piece each.
#[derive(Clone, Copy)]
struct Rows<'a, T, const MR: usize>([&'a [T]; MR]);

impl<'a, T: Copy, const MR: usize> Rows<'a, T, MR> {
    /// Beyond the last row the last is read again; nobody stores what becomes of it.
    #[inline(always)]
    fn new(a: Matrix<'a, T>, rows: usize, kc: usize) -> Self {
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

/// Columns that are in one piece each, of which at least `MR` rows are there.
#[derive(Clone, Copy)]
struct Columns<'a, T>(Matrix<'a, T>);

impl<'a, T: MatmulScalar, const MR: usize> Strips<T, MR> for Columns<'a, T> {
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

#[inline(always)]
fn tile_of_width<S: Simd, T: MatmulScalar, const MR: usize>(
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

/// The register tile: `MR` rows by `NV` vectors of `c`, held in registers along the whole panel. `rows` of it are
/// stored.
#[inline(always)]
fn tile<S: Simd, T: MatmulScalar, const MR: usize, const NV: usize>(
    simd: S,
    a: impl Strips<T, MR>,
    shape: PanelShape,
    right: Right<'_, T>,
    rows: Range<usize>,
    c: &mut [T],
) {
    let Right { panels, kc, row_stride, store, .. } = right;
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
        return store_narrow(simd, sums.map(|sum| sum[0]), c, row_stride, rows, shape.width, store);
    }
    for i in 0..MR {
        if rows.contains(&i) {
            store_row(simd, sums[i], &mut c[i * row_stride..][..shape.width], shape, store);
        }
    }
}

/// Stores one row of a tile. The last vector may overlap the one before, so all old content is read before any is
/// written.
#[inline(always)]
fn store_row<S: Simd, T: MatmulScalar, const NV: usize>(
    simd: S,
    mut sums: [T::Vector<S>; NV],
    c: &mut [T],
    shape: PanelShape,
    store: Store,
) {
    let lanes = T::lanes::<S>();
    if store == Store::Add {
        for v in 0..NV {
            sums[v] = T::sum(simd, T::as_vectors::<S>(&c[shape.offset(v, lanes)..])[0], sums[v]);
        }
    }
    for v in 0..NV {
        T::as_vectors_mut::<S>(&mut c[shape.offset(v, lanes)..])[0] = sums[v];
    }
}

/// Stores rows of less than a vector. Whole vectors are written where they fit, from the first row to the last: what
/// one spills over its row's end the next one overwrites, and the last one writes back what was there.
#[inline(always)]
fn store_narrow<S: Simd, T: MatmulScalar, const MR: usize>(
    simd: S,
    mut sums: [T::Vector<S>; MR],
    c: &mut [T],
    row_stride: usize,
    rows: Range<usize>,
    width: usize,
    store: Store,
) {
    let lanes = T::lanes::<S>();
    if rows != (0..MR) || row_stride != width || c.len() < (MR - 1) * width + lanes {
        for (i, sum) in sums.into_iter().enumerate().take(rows.end).skip(rows.start) {
            let c = &mut c[i * row_stride..][..width];
            let sum = if store == Store::Add { T::sum(simd, T::partial_load(simd, c), sum) } else { sum };
            T::partial_store(simd, c, sum);
        }
        return;
    }
    let mask = T::first(simd, width);
    let c = &mut c[..(MR - 1) * width + lanes];
    if store == Store::Add {
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

/// The thread's packing memory, taken while it lives.
///
/// It is taken and given back, not lent to a closure: the closure would be a function of its own, compiled without the
/// vector instructions that its caller has.
struct Scratch<T: MatmulScalar>(Vec<T>);

impl<T: MatmulScalar> Scratch<T> {
    #[inline(always)]
    fn take() -> Self {
        Self(T::swap_scratch(Vec::new()))
    }

    /// Returns two pieces of at least these lengths, aligned to cache lines.
    fn split(&mut self, first: usize, second: usize) -> (&mut [T], &mut [T]) {
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

impl<T: MatmulScalar> Drop for Scratch<T> {
    fn drop(&mut self) {
        T::swap_scratch(std::mem::take(&mut self.0));
    }
}

/// The glue between number types and vectors.
pub trait MatmulScalar:
    Copy + Default + Send + Sync + 'static + std::ops::Mul<Output = Self> + std::ops::Add<Output = Self>
{
    /// A vector register of this type.
    type Vector<S: Simd>: Copy;
    /// A choice of a vector's lanes.
    type Mask<S: Simd>: Copy;

    /// Returns how many numbers a vector holds.
    fn lanes<S: Simd>() -> usize;
    /// Returns a vector of copies.
    fn splat<S: Simd>(simd: S, x: Self) -> Self::Vector<S>;
    /// Returns `a b + c`.
    fn fma<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>, c: Self::Vector<S>) -> Self::Vector<S>;
    /// Returns `a + b`.
    fn sum<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// Returns `a b`.
    fn product<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// Returns the sum of a vector's numbers.
    fn reduce<S: Simd>(simd: S, a: Self::Vector<S>) -> Self;
    /// Returns a slice as vectors, leaving out what does not fill one.
    fn as_vectors<S: Simd>(x: &[Self]) -> &[Self::Vector<S>];
    /// Returns a slice as vectors, leaving out what does not fill one.
    fn as_vectors_mut<S: Simd>(x: &mut [Self]) -> &mut [Self::Vector<S>];
    /// Returns at most a vector's worth of numbers, and zeros.
    fn partial_load<S: Simd>(simd: S, x: &[Self]) -> Self::Vector<S>;
    /// Writes as much of a vector as there is room for.
    fn partial_store<S: Simd>(simd: S, x: &mut [Self], a: Self::Vector<S>);
    /// Returns a mask of the first lanes.
    fn first<S: Simd>(simd: S, count: usize) -> Self::Mask<S>;
    /// Returns `a` where the mask is set, else `b`, bit by bit.
    fn select<S: Simd>(simd: S, mask: Self::Mask<S>, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// Exchanges the thread's packing memory.
    fn swap_scratch(scratch: Vec<Self>) -> Vec<Self>;
    /// Runs [`matmul`]. A function of each type, not a generic one: it is compiled once, with this crate, and not again with
    /// every crate that multiplies.
    fn matmul(m: usize, n: usize, k: usize, a: Matrix<'_, Self>, b: Matrix<'_, Self>, c: &mut [Self], store: Store);
}

macro_rules! matmul_scalar {
    (
        $T:ident, $vector:ident, $splat:ident, $fma:ident, $add:ident, $mul:ident, $reduce:ident, $as_simd:ident,
        $as_mut_simd:ident,
        $load:ident, $store:ident, $mask:ident, $between:ident, $index:ident, $select:ident
    ) => {
        impl MatmulScalar for $T {
            #[track_caller]
            fn matmul(m: usize, n: usize, k: usize, a: Matrix<'_, $T>, b: Matrix<'_, $T>, c: &mut [$T], store: Store) {
                matmul_on(Arch::new(), m, n, k, a, b, c, store);
            }

            type Vector<S: Simd> = S::$vector;
            type Mask<S: Simd> = S::$mask;

            #[inline(always)]
            fn lanes<S: Simd>() -> usize {
                size_of::<S::$vector>() / size_of::<$T>()
            }

            #[inline(always)]
            fn splat<S: Simd>(simd: S, x: $T) -> S::$vector {
                simd.$splat(x)
            }

            #[inline(always)]
            fn fma<S: Simd>(simd: S, a: S::$vector, b: S::$vector, c: S::$vector) -> S::$vector {
                simd.$fma(a, b, c)
            }

            #[inline(always)]
            fn sum<S: Simd>(simd: S, a: S::$vector, b: S::$vector) -> S::$vector {
                simd.$add(a, b)
            }

            #[inline(always)]
            fn product<S: Simd>(simd: S, a: S::$vector, b: S::$vector) -> S::$vector {
                simd.$mul(a, b)
            }

            #[inline(always)]
            fn reduce<S: Simd>(simd: S, a: S::$vector) -> $T {
                simd.$reduce(a)
            }

            #[inline(always)]
            fn as_vectors<S: Simd>(x: &[$T]) -> &[S::$vector] {
                S::$as_simd(x).0
            }

            #[inline(always)]
            fn as_vectors_mut<S: Simd>(x: &mut [$T]) -> &mut [S::$vector] {
                S::$as_mut_simd(x).0
            }

            #[inline(always)]
            fn partial_load<S: Simd>(simd: S, x: &[$T]) -> S::$vector {
                simd.$load(x)
            }

            #[inline(always)]
            fn partial_store<S: Simd>(simd: S, x: &mut [$T], a: S::$vector) {
                simd.$store(x, a);
            }

            #[inline(always)]
            fn first<S: Simd>(simd: S, count: usize) -> S::$mask {
                simd.$between(0, count as $index).mask()
            }

            #[inline(always)]
            fn select<S: Simd>(simd: S, mask: S::$mask, a: S::$vector, b: S::$vector) -> S::$vector {
                simd.$select(mask, a, b)
            }

            fn swap_scratch(scratch: Vec<$T>) -> Vec<$T> {
                thread_local! {
                    static SCRATCH: RefCell<Vec<$T>> = const { RefCell::new(Vec::new()) };
                }
                SCRATCH.replace(scratch)
            }
        }
    };
}
matmul_scalar!(
    f32,
    f32s,
    splat_f32s,
    mul_add_e_f32s,
    add_f32s,
    mul_f32s,
    reduce_sum_f32s,
    as_simd_f32s,
    as_mut_simd_f32s,
    partial_load_f32s,
    partial_store_f32s,
    m32s,
    mask_between_m32s,
    u32,
    select_f32s
);
matmul_scalar!(
    f64,
    f64s,
    splat_f64s,
    mul_add_e_f64s,
    add_f64s,
    mul_f64s,
    reduce_sum_f64s,
    as_simd_f64s,
    as_mut_simd_f64s,
    partial_load_f64s,
    partial_store_f64s,
    m64s,
    mask_between_m64s,
    u64,
    select_f64s
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;

    /// Returns every instruction set that can be tried here: users may have less than this machine.
    fn archs() -> Vec<Arch> {
        #[allow(unused_mut)]
        let mut archs = vec![Arch::new(), Arch::Scalar];
        #[cfg(target_arch = "x86_64")]
        archs.extend(pulp::x86::V3::try_new().map(Arch::V3));
        archs
    }

    /// How an operand lies in memory.
    #[derive(Clone, Copy, Debug)]
    enum Layout {
        Rows,
        Columns,
        Gaps,
        RepeatedRow,
        RepeatedColumn,
        RepeatedNumber,
    }

    const LAYOUTS: [Layout; 6] = [
        Layout::Rows,
        Layout::Columns,
        Layout::Gaps,
        Layout::RepeatedRow,
        Layout::RepeatedColumn,
        Layout::RepeatedNumber,
    ];

    /// Returns an operand's strides and the least length of its data.
    fn strides(layout: Layout, rows: usize, columns: usize) -> (usize, usize, usize) {
        let (row_stride, col_stride) = match layout {
            Layout::Rows => (columns, 1),
            Layout::Columns => (1, rows),
            Layout::Gaps => (2 * columns + 3, 2),
            Layout::RepeatedRow => (0, 1),
            Layout::RepeatedColumn => (1, 0),
            Layout::RepeatedNumber => (0, 0),
        };
        (row_stride, col_stride, (rows.max(1) - 1) * row_stride + (columns.max(1) - 1) * col_stride + 1)
    }

    trait Number: MatmulScalar + From<i8> + Into<f64> {
        const EPSILON: f64;
        const NAN: Self;
        const INFINITY: Self;
    }

    impl Number for f32 {
        const EPSILON: f64 = f32::EPSILON as f64;
        const NAN: Self = f32::NAN;
        const INFINITY: Self = f32::INFINITY;
    }

    impl Number for f64 {
        const EPSILON: f64 = f64::EPSILON;
        const NAN: Self = f64::NAN;
        const INFINITY: Self = f64::INFINITY;
    }

    /// Compares a product with the index loop. Small whole numbers: every product and sum is exact, so any difference
    /// is an error. The old content of what is overwritten is NaN.
    fn check<T: Number>(m: usize, n: usize, k: usize, a: Layout, b: Layout, store: Store) {
        let (a_row, a_col, a_len) = strides(a, m, k);
        let (b_row, b_col, b_len) = strides(b, k, n);
        let number = |i: usize, seed: usize| T::from(((i * 7919 + i / 13 + seed) % 13) as i8 - 6);
        let a_data: Vec<T> = (0..a_len).map(|i| number(i, 1)).collect();
        let b_data: Vec<T> = (0..b_len).map(|i| number(i, 5)).collect();
        let old: Vec<T> = (0..m * n).map(|i| if store == Store::Add { number(i, 9) } else { T::NAN }).collect();
        let mut expected: Vec<f64> =
            old.iter().map(|&old| if store == Store::Add { old.into() } else { 0.0 }).collect();
        for i in 0..m {
            for p in 0..k {
                let x: f64 = a_data[i * a_row + p * a_col].into();
                for j in 0..n {
                    expected[i * n + j] += x * b_data[p * b_row + j * b_col].into();
                }
            }
        }
        for arch in archs() {
            let mut c = old.clone();
            let left = Matrix { data: &a_data, row_stride: a_row, col_stride: a_col };
            let right = Matrix { data: &b_data, row_stride: b_row, col_stride: b_col };
            matmul_on(arch, m, n, k, left, right, &mut c, store);
            for (i, (&c, &expected)) in c.iter().zip(&expected).enumerate() {
                let (i, j) = (i / n, i % n);
                assert_eq!(
                    c.into(),
                    expected,
                    "({m}, {k}) {a:?} x ({k}, {n}) {b:?}, {store:?}: ({i}, {j}) on {arch:?}"
                );
            }
        }
    }

    /// Lengths that meet the edges of tiles and blocks.
    fn lengths() -> impl Strategy<Value = usize> {
        prop_oneof![4 => 0usize..40, 1 => prop::sample::select(vec![1, 1, 64, 97, 129, 130, 257, 300, 800, 1030])]
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(0), failure_persistence: None, ..ProptestConfig::with_cases(300) })]

        #[test]
        fn equals_the_index_loop(
            m in lengths(),
            n in lengths(),
            k in lengths(),
            a in prop::sample::select(LAYOUTS.to_vec()),
            b in prop::sample::select(LAYOUTS.to_vec()),
            add: bool,
        ) {
            prop_assume!(m * n * k < 1_000_000);
            let store = if add { Store::Add } else { Store::Overwrite };
            check::<f32>(m, n, k, a, b, store);
            check::<f64>(m, n, k, a, b, store);
        }
    }

    /// A shape for each path, and for each edge of the blocks.
    const SHAPES: [(usize, usize, usize); 25] = [
        (1, 1, 1),
        (1, 10, 784),
        (1, 16, 16),
        (1, 60, 9),
        (1, 300, 40),
        (16, 16, 1),
        (21, 10, 1),
        (21, 100, 1),
        (22, 100, 3),
        (5, 17, 4),
        (33, 3, 70),
        (33, 10, 600),
        (4, 200, 33),
        (8, 7, 9),
        (7, 90, 11),
        (40, 3, 50),
        (5, 1, 9),
        (17, 49, 257),
        (12, 65, 31),
        (13, 10, 40),
        (29, 10, 1100),
        (19, 40, 1100),
        (9, 1100, 20),
        (128, 100, 300),
        (1050, 130, 12),
    ];

    #[test]
    fn equals_the_index_loop_at_the_edges_of_paths_and_blocks() {
        for (m, n, k) in SHAPES {
            for (a, b) in [
                (Layout::Rows, Layout::Rows),
                (Layout::Rows, Layout::Columns),
                (Layout::Columns, Layout::Rows),
                (Layout::Columns, Layout::Columns),
                (Layout::Gaps, Layout::Gaps),
            ] {
                for store in [Store::Overwrite, Store::Add] {
                    check::<f32>(m, n, k, a, b, store);
                    check::<f64>(m, n, k, a, b, store);
                }
            }
        }
    }

    #[test]
    fn nothing_to_sum_is_zero_or_leaves_the_result() {
        let nothing = Matrix { data: &[], row_stride: 0, col_stride: 1 };
        let mut c = [f32::NAN, 2.0];
        matmul(1, 2, 0, nothing, nothing, &mut c[..2], Store::Overwrite);
        assert_eq!(c, [0.0, 0.0]);
        c = [1.0, 2.0];
        matmul(1, 2, 0, nothing, nothing, &mut c, Store::Add);
        assert_eq!(c, [1.0, 2.0]);
        matmul(0, 2, 3, nothing, nothing, &mut [], Store::Overwrite);
        matmul(2, 0, 3, nothing, nothing, &mut [], Store::Overwrite);
    }

    /// An infinity in the last row of `a` and zeros in `b`: every product with it is NaN, and no other.
    fn check_infinity<T: Number>(store: Store) {
        for (m, n, k) in SHAPES {
            for layout in [Layout::Rows, Layout::Columns] {
                let (row_stride, col_stride, _) = strides(layout, m, k);
                let (mut a, b) = (vec![T::from(1); m * k], vec![T::default(); k * n]);
                a[(m - 1) * row_stride + (k - 1) * col_stride] = T::INFINITY;
                for arch in archs() {
                    let mut c = vec![T::default(); m * n];
                    let a = Matrix { data: &a, row_stride, col_stride };
                    let b = Matrix { data: &b, row_stride: n, col_stride: 1 };
                    matmul_on(arch, m, n, k, a, b, &mut c, store);
                    for (i, row) in c.chunks(n).enumerate() {
                        let right = |&c: &T| if i == m - 1 { c.into().is_nan() } else { c.into() == 0.0 };
                        assert!(row.iter().all(right), "({m}, {k}) {layout:?} x ({k}, {n}), row {i} on {arch:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn infinity_times_zero_is_nan_and_stays_in_its_row() {
        check_infinity::<f32>(Store::Overwrite);
        check_infinity::<f32>(Store::Add);
        check_infinity::<f64>(Store::Overwrite);
        check_infinity::<f64>(Store::Add);
    }

    #[test]
    fn nan_in_b_stays_in_its_column() {
        for (m, n, k) in SHAPES {
            for layout in [Layout::Rows, Layout::Columns] {
                let (row_stride, col_stride, _) = strides(layout, k, n);
                let (a, mut b) = (vec![0.0f32; m * k], vec![1.0f32; k * n]);
                b[(k / 2) * row_stride + (n / 2) * col_stride] = f32::NAN;
                let mut c = vec![0.0; m * n];
                let a = Matrix { data: &a, row_stride: k, col_stride: 1 };
                matmul(m, n, k, a, Matrix { data: &b, row_stride, col_stride }, &mut c, Store::Overwrite);
                for (i, c) in c.iter().enumerate() {
                    assert_eq!(c.is_nan(), i % n == n / 2, "({m}, {k}) x ({k}, {n}) {layout:?}, element {i}");
                }
            }
        }
    }

    fn check_rounding<T: Number>(number: impl Fn(usize) -> T) {
        for (m, n, k) in SHAPES {
            let a: Vec<T> = (0..m * k).map(&number).collect();
            let b: Vec<T> = (0..k * n).map(|i| number(i + 17)).collect();
            for arch in archs() {
                let mut c = vec![T::default(); m * n];
                let left = Matrix { data: &a, row_stride: k, col_stride: 1 };
                let right = Matrix { data: &b, row_stride: n, col_stride: 1 };
                matmul_on(arch, m, n, k, left, right, &mut c, Store::Overwrite);
                for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
                    let (mut sum, mut size) = (0.0, 0.0);
                    for p in 0..k {
                        let product: f64 = a[i * k + p].into() * b[p * n + j].into();
                        sum += product;
                        size += product.abs();
                    }
                    // Higham 2002, 3.1: |error| <= k eps Σ|a||b| in whatever order the sum is taken. For f64 the oracle
                    // errs too.
                    let bound = 2.0 * k as f64 * T::EPSILON * size;
                    let error = (c[i * n + j].into() - sum).abs();
                    assert!(error <= bound, "({m}, {k}) x ({k}, {n}) at ({i}, {j}) on {arch:?}: {error} > {bound}");
                }
            }
        }
    }

    #[test]
    fn rounding_stays_within_the_bound_of_a_sum() {
        check_rounding(|i| ((i * 7919) % 1013) as f32 / 1013.0 - 0.5);
        check_rounding(|i| ((i * 7919) % 1013) as f64 / 1013.0 - 0.5);
    }

    #[test]
    fn the_same_product_has_the_same_bits_at_any_address() {
        let number = |i: usize| ((i * 7919) % 1013) as f32 / 1013.0 - 0.5;
        for (m, n, k) in SHAPES {
            let product = |shift: usize| {
                let a: Vec<f32> = (0..shift + m * k).map(|i| number(i.wrapping_sub(shift) % 4096)).collect();
                let b: Vec<f32> = (0..shift + k * n).map(|i| number(i.wrapping_sub(shift) % 4095 + 17)).collect();
                let mut c = vec![0.0; shift + m * n];
                let a = Matrix { data: &a[shift..], row_stride: k, col_stride: 1 };
                let b = Matrix { data: &b[shift..], row_stride: n, col_stride: 1 };
                matmul(m, n, k, a, b, &mut c[shift..], Store::Overwrite);
                c[shift..].iter().map(|c| c.to_bits()).collect::<Vec<_>>()
            };
            assert_eq!(product(0), product(3), "({m}, {k}) x ({k}, {n})");
        }
    }

    #[cfg(feature = "rayon")]
    #[test]
    fn threads_change_no_bit() {
        let number = |i: usize| ((i * 7919) % 1013) as f32 / 1013.0 - 0.5;
        let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads start");
        let pools = [pool(1), pool(2), pool(3), pool(5)];
        // One for each path, large enough to be shared.
        let shapes = [
            (1, 5000, 300),
            (8, 1000, 200),
            (1203, 3, 700),
            (1205, 10, 600),
            (1201, 100, 3),
            (2000, 1000, 1),
            (203, 101, 300),
            (301, 7, 1000),
            (130, 200, 300),
        ];
        for (m, n, k) in shapes {
            for layout in [Layout::Rows, Layout::Columns] {
                for b_layout in [Layout::Rows, Layout::Columns] {
                    let (a_row, a_col, _) = strides(layout, m, k);
                    let (b_row, b_col, _) = strides(b_layout, k, n);
                    let a: Vec<f32> = (0..m * k).map(number).collect();
                    let b: Vec<f32> = (0..k * n).map(|i| number(i + 17)).collect();
                    let results = pools.each_ref().map(|pool| {
                        let mut c: Vec<f32> = (0..m * n).map(number).collect();
                        let a = Matrix { data: &a, row_stride: a_row, col_stride: a_col };
                        let b = Matrix { data: &b, row_stride: b_row, col_stride: b_col };
                        pool.install(|| matmul(m, n, k, a, b, &mut c, Store::Add));
                        c.into_iter().map(f32::to_bits).collect::<Vec<_>>()
                    });
                    for result in &results[1..] {
                        assert!(*result == results[0], "({m}, {k}) {layout:?} x ({k}, {n}) {b_layout:?}");
                    }
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "an operand of 2 x 3 with strides (3, 1) does not fit in 5 elements")]
    fn a_short_operand_panics() {
        let right = Matrix { data: &[0.0; 3], row_stride: 1, col_stride: 1 };
        matmul(
            2,
            1,
            3,
            Matrix { data: &[0.0; 5], row_stride: 3, col_stride: 1 },
            right,
            &mut [0.0; 2],
            Store::Overwrite,
        );
    }

    #[test]
    #[should_panic(expected = "the result of 1 x 2 has another length")]
    fn a_result_of_another_length_panics() {
        let one = Matrix { data: &[0.0; 2], row_stride: 1, col_stride: 1 };
        matmul(1, 2, 1, one, one, &mut [0.0; 3], Store::Overwrite);
    }
}
