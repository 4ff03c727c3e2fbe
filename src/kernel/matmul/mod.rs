//! The matrix product, `c = a b` or `c += a b`.
//!
//! Large products ([`tiles`]) follow Goto and van de Geijn (2008) in the form of BLIS (Van Zee and van de Geijn 2015).
//! A tile of `c` stays in registers. A strip of `a` (a few rows) and a panel of `b` (a few vectors of columns) run past
//! it. `b` is copied panel by panel, so that the tile reads it from front to back. `a` is read in place if its rows are
//! contiguous, or if its columns are and few columns of `b` reuse them. Otherwise `a` is copied strip by strip. `k` is
//! cut so that a panel stays in the first-level cache. The columns of `b` and the copied rows of `a` are cut so that
//! each copy takes half of the second-level cache.
//!
//! With few rows or columns a copy would cost more than it saves. Then the large operand is read once, in place:
//!
//! * The product has a few numbers in all: a row of it stays in registers ([`tiny`]).
//! * `k` is 1 or a little more: there is little to sum and much to store ([`few::few_steps`]).
//! * The vectors of the large operand run along `k`: dot products, a few rows with a few columns at a time ([`dots`]).
//! * They run across `k`: multiples of its rows are added up. If `a` has one row and the rows of `b` are short, the
//!   sums stay in registers ([`few::short_row`]). Otherwise a few rows at a time are added to sums in the nearest cache
//!   ([`few::add_all_rows`]).
//!
//! The order in which an element of `c` is summed along `k` depends on shapes and strides alone, never on the
//! instruction set or on how many threads share the work:
//!
//! * Each product is added by a fused multiply-add, from the first step to the last, to a sum that begins with 0, or with
//!   the old content of `c` if the paths of [`few`] add to it. [`tiny`] and [`tiles`] add to `c` in the end. [`tiles`] sums each piece of `k` by itself and adds the
//!   sums of the pieces to `c`, from the first to the last.
//! * Dot products have a sum for each lane of a line of 64 bytes, which takes as many vectors as the machine needs. Steps
//!   after the last whole line are added to the first lanes if there is no whole line, else to the last lanes. Then each
//!   lane of the first half is added to that of the second, and so on down to one.
//! * Short rows have 8, 4 or 2 sums for rows of up to 1, 2 or 4 lines: step `p` goes to sum `p` modulo that number. They
//!   are added from the first to the last.
//!
//! Each thread keeps its memory for copies: a product allocates only if it needs more than any
//! product before it.

// Kernels index arrays of constant length, so that loops unroll into registers.
#![allow(clippy::needless_range_loop)]

mod dots;
mod few;
mod lanes;
mod operand;
mod pack;
mod path;
mod plain;
mod tiles;
mod tiny;

use pulp::Arch;

pub use operand::{Accumulate, MatrixRef};

use crate::kernel::matmul::operand::Product;
use crate::number::{Vectors, arch};

/// Stores `a b` in `c`, or adds it to `c`.
///
/// # Shapes
///
/// `(m, k) x (k, n) -> (m, n)`; `c` is row-major without gaps.
///
/// # Panics
///
/// If an operand is too short for its shape and strides, or `c` has another length.
#[track_caller]
pub fn matmul<T: Matmul>(
    m: usize,
    n: usize,
    k: usize,
    a: MatrixRef<'_, T>,
    b: MatrixRef<'_, T>,
    c: &mut [T],
    accumulate: Accumulate,
) {
    assert_eq!(Some(c.len()), m.checked_mul(n), "matmul: the result of {m} x {n} has another length");
    T::matmul(m, n, k, a, b, (c, n), accumulate);
}

/// The same for a `c` whose rows begin `stride` apart. What lies between the rows is left as it is.
///
/// # Panics
///
/// If an operand or `c` is too short for its shape and strides, or the rows of `c` overlap.
#[track_caller]
pub(crate) fn matmul_strided<T: Matmul>(
    [m, n, k]: [usize; 3],
    a: MatrixRef<'_, T>,
    b: MatrixRef<'_, T>,
    c: &mut [T],
    stride: usize,
    accumulate: Accumulate,
) {
    T::matmul(m, n, k, a, b, (c, stride), accumulate);
}

/// A number type with a matrix product, compiled once, with this crate.
///
/// The product is a method of each type. A generic function would be compiled again with every crate that calls it.
/// Operations and the hand-derived layers both use this method. (The layers do not know operations.)
pub trait Matmul: Vectors {
    /// Runs [`matmul`] with a `c` whose rows begin at multiples of the number beside it.
    fn matmul(
        m: usize,
        n: usize,
        k: usize,
        a: MatrixRef<'_, Self>,
        b: MatrixRef<'_, Self>,
        c: (&mut [Self], usize),
        accumulate: Accumulate,
    );
}

macro_rules! matmul_of {
    ($T:ident) => {
        impl Matmul for $T {
            #[track_caller]
            fn matmul(
                m: usize,
                n: usize,
                k: usize,
                a: MatrixRef<'_, $T>,
                b: MatrixRef<'_, $T>,
                (c, stride): (&mut [$T], usize),
                accumulate: Accumulate,
            ) {
                matmul_on(arch(), Product { m, n, k, a, b, c, c_strides: (stride, 1), accumulate });
            }
        }
    };
}
matmul_of!(f32);
matmul_of!(f64);

/// Runs [`matmul`] with given vector instructions.
#[inline(always)]
#[track_caller]
fn matmul_on<T: Vectors>(arch: Arch, product: Product<'_, T>) {
    let Product { m, n, k, a, b, c, c_strides: (stride, _), accumulate } = product;
    if m == 0 || n == 0 {
        return;
    }
    let length = (m - 1).checked_mul(stride).and_then(|last| last.checked_add(n));
    let c = length.filter(|_| n <= stride).and_then(|length| c.get_mut(..length));
    let c = c.unwrap_or_else(|| panic!("matmul: a result of {m} x {n} with the row stride {stride} does not fit"));
    if k == 0 {
        if accumulate == Accumulate::No {
            c.chunks_mut(stride).for_each(|row| row[..n].fill(T::default()));
        }
        return;
    }
    a.assert_holds(m, k);
    b.assert_holds(k, n);
    Product { c, ..product }.compute(arch);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;

    /// Returns every instruction set that this machine can run. The machine of a user may have fewer.
    fn archs() -> Vec<Arch> {
        #[allow(unused_mut)]
        let mut archs = vec![Arch::new(), Arch::Scalar];
        #[cfg(target_arch = "x86_64")]
        if !matches!(archs[0], Arch::V3(_)) {
            archs.extend(pulp::x86::V3::try_new().map(Arch::V3));
        }
        archs
    }

    /// The memory layout of an operand.
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

    trait Number: Matmul + From<i8> + Into<f64> {
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

    /// Compares products with the index loop, in both precisions. The elements are small whole numbers: every product and
    /// sum is exact, so any difference is an error. A result that is overwritten holds NaN before.
    fn check(m: usize, n: usize, k: usize, a: Layout, b: Layout, accumulates: &[Accumulate]) {
        let (a_row, a_col, a_len) = strides(a, m, k);
        let (b_row, b_col, b_len) = strides(b, k, n);
        let left: Vec<f64> = (0..a_len).map(|i| whole(i, 1).into()).collect();
        let right: Vec<f64> = (0..b_len).map(|i| whole(i, 5).into()).collect();
        let mut sums = vec![0.0; m * n];
        // Slices: without optimization, a loop over vectors is several times slower.
        let (left, right, sums) = (&*left, &*right, &mut *sums);
        for i in 0..m {
            for p in 0..k {
                let x = left[i * a_row + p * a_col];
                for j in 0..n {
                    sums[i * n + j] += x * right[p * b_row + j * b_col];
                }
            }
        }
        for &accumulate in accumulates {
            check_sums::<f32>(m, n, k, a, b, accumulate, sums);
            check_sums::<f64>(m, n, k, a, b, accumulate, sums);
        }
    }

    fn whole(i: usize, seed: usize) -> i8 {
        ((i * 7919 + i / 13 + seed) % 13) as i8 - 6
    }

    /// Some shapes have a result whose rows are apart. What lies between them stays NaN.
    fn check_sums<T: Number>(m: usize, n: usize, k: usize, a: Layout, b: Layout, accumulate: Accumulate, sums: &[f64]) {
        let stride = n + if (m + n + k).is_multiple_of(2) { 0 } else { 3 };
        let (a_row, a_col, a_len) = strides(a, m, k);
        let (b_row, b_col, b_len) = strides(b, k, n);
        let a_data: Vec<T> = (0..a_len).map(|i| T::from(whole(i, 1))).collect();
        let b_data: Vec<T> = (0..b_len).map(|i| T::from(whole(i, 5))).collect();
        let add = accumulate == Accumulate::Yes;
        let at = |i: usize| i / stride * n + i % stride;
        let old = |i: usize| if add && i % stride < n { T::from(whole(at(i), 9)) } else { T::NAN };
        let old: Vec<T> = (0..m * stride).map(old).collect();
        for arch in archs() {
            let mut c = old.clone();
            let left = MatrixRef { data: &a_data, row_stride: a_row, col_stride: a_col };
            let right = MatrixRef { data: &b_data, row_stride: b_row, col_stride: b_col };
            matmul_on(arch, Product { m, n, k, a: left, b: right, c: &mut c, c_strides: (stride, 1), accumulate });
            let gap = |(i, c): (usize, T)| i % stride < n || c.into().is_nan();
            assert!(c.iter().copied().enumerate().all(gap), "({m}, {k}) {a:?} x ({k}, {n}) {b:?}: a gap on {arch:?}");
            let c = c.chunks(stride.max(1)).flat_map(|row| &row[..n]);
            for (i, (&c, &sum)) in c.zip(sums).enumerate() {
                let expected = if add { sum + f64::from(whole(i, 9)) } else { sum };
                let (i, j) = (i / n, i % n);
                assert_eq!(
                    c.into(),
                    expected,
                    "({m}, {k}) {a:?} x ({k}, {n}) {b:?}, {accumulate:?}: ({i}, {j}) on {arch:?}"
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
            let accumulate = if add { Accumulate::Yes } else { Accumulate::No };
            check(m, n, k, a, b, &[accumulate]);
        }
    }

    /// A shape for each path, and for each edge of the blocks.
    const SHAPES: [(usize, usize, usize); 28] = [
        (4, 4, 4),
        (8, 3, 5),
        (2, 1, 8),
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
        (17, 10, 530),
        (19, 17, 1100),
        (9, 1100, 20),
        (20, 100, 300),
        (21, 130, 12),
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
                check(m, n, k, a, b, &[Accumulate::No, Accumulate::Yes]);
            }
        }
        // Enough rows for two copied blocks of `a` in `f64`.
        check(530, 5, 257, Layout::Gaps, Layout::Gaps, &[Accumulate::No]);
    }

    #[test]
    fn nothing_to_sum_is_zero_or_leaves_the_result() {
        let nothing = MatrixRef { data: &[], row_stride: 0, col_stride: 1 };
        let mut c = [f32::NAN, 2.0];
        matmul(1, 2, 0, nothing, nothing, &mut c[..2], Accumulate::No);
        assert_eq!(c, [0.0, 0.0]);
        c = [1.0, 2.0];
        matmul(1, 2, 0, nothing, nothing, &mut c, Accumulate::Yes);
        assert_eq!(c, [1.0, 2.0]);
        matmul(0, 2, 3, nothing, nothing, &mut [], Accumulate::No);
        matmul(2, 0, 3, nothing, nothing, &mut [], Accumulate::No);
    }

    /// An infinity in the last row of `a` and zeros in `b`: the products with the infinity are NaN, all others are not.
    fn check_infinity<T: Number>(accumulate: Accumulate) {
        for (m, n, k) in SHAPES {
            for layout in [Layout::Rows, Layout::Columns] {
                let (row_stride, col_stride, _) = strides(layout, m, k);
                let (mut a, b) = (vec![T::from(1); m * k], vec![T::default(); k * n]);
                a[(m - 1) * row_stride + (k - 1) * col_stride] = T::INFINITY;
                for arch in archs() {
                    let mut c = vec![T::default(); m * n];
                    let a = MatrixRef { data: &a, row_stride, col_stride };
                    let b = MatrixRef { data: &b, row_stride: n, col_stride: 1 };
                    matmul_on(arch, Product { m, n, k, a, b, c: &mut c, c_strides: (n, 1), accumulate });
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
        check_infinity::<f32>(Accumulate::No);
        check_infinity::<f32>(Accumulate::Yes);
        check_infinity::<f64>(Accumulate::No);
        check_infinity::<f64>(Accumulate::Yes);
    }

    #[test]
    fn nan_in_b_stays_in_its_column() {
        for (m, n, k) in SHAPES {
            for layout in [Layout::Rows, Layout::Columns] {
                let (row_stride, col_stride, _) = strides(layout, k, n);
                let (a, mut b) = (vec![0.0f32; m * k], vec![1.0f32; k * n]);
                b[(k / 2) * row_stride + (n / 2) * col_stride] = f32::NAN;
                let mut c = vec![0.0; m * n];
                let a = MatrixRef { data: &a, row_stride: k, col_stride: 1 };
                matmul(m, n, k, a, MatrixRef { data: &b, row_stride, col_stride }, &mut c, Accumulate::No);
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
            let (left, right): (Vec<f64>, Vec<f64>) =
                (a.iter().map(|&x| x.into()).collect(), b.iter().map(|&x| x.into()).collect());
            let (left, right) = (&*left, &*right);
            // The sums of the products and of their sizes.
            let sums = (0..m * n).map(|at| {
                let (i, j) = (at / n, at % n);
                let (mut sum, mut size) = (0.0_f64, 0.0_f64);
                for p in 0..k {
                    let product = left[i * k + p] * right[p * n + j];
                    sum += product;
                    size += product.abs();
                }
                (sum, size)
            });
            let sums: Vec<(f64, f64)> = sums.collect();
            for arch in archs() {
                let mut c = vec![T::default(); m * n];
                let left = MatrixRef { data: &a, row_stride: k, col_stride: 1 };
                let right = MatrixRef { data: &b, row_stride: n, col_stride: 1 };
                let accumulate = Accumulate::No;
                matmul_on(arch, Product { m, n, k, a: left, b: right, c: &mut c, c_strides: (n, 1), accumulate });
                for (at, (&c, &(sum, size))) in c.iter().zip(&sums).enumerate() {
                    // Higham 2002, 3.1: |error| <= k eps Σ|a||b| for every order of summation. For f64 the oracle has
                    // rounding errors, too.
                    let bound = 2.0 * k as f64 * T::EPSILON * size;
                    let error = (c.into() - sum).abs();
                    let (i, j) = (at / n, at % n);
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

    /// Compares the instruction sets on products of fewer multiplications than `most`.
    fn check_bits<T: Number>(most: usize, number: impl Fn(usize) -> T) {
        // More rows and columns for the edges of short rows and lines.
        let more =
            [(1, 3, 40), (1, 17, 70), (1, 33, 37), (1, 63, 50), (2, 90, 37), (3, 7, 2000), (50, 12, 1), (9, 4, 15)];
        for (m, n, k) in SHAPES.into_iter().chain(more).filter(|(m, n, k)| m * n * k < most) {
            for (a_layout, b_layout) in
                [Layout::Rows, Layout::Columns].into_iter().flat_map(|a| [(a, Layout::Rows), (a, Layout::Columns)])
            {
                for accumulate in [Accumulate::No, Accumulate::Yes] {
                    let (a_row, a_col, a_len) = strides(a_layout, m, k);
                    let (b_row, b_col, b_len) = strides(b_layout, k, n);
                    let a: Vec<T> = (0..a_len).map(&number).collect();
                    let b: Vec<T> = (0..b_len).map(|i| number(i + 17)).collect();
                    let results = archs().into_iter().map(|arch| {
                        let mut c: Vec<T> = (0..m * n).map(|i| number(i + 5)).collect();
                        let a = MatrixRef { data: &a, row_stride: a_row, col_stride: a_col };
                        let b = MatrixRef { data: &b, row_stride: b_row, col_stride: b_col };
                        matmul_on(arch, Product { m, n, k, a, b, c: &mut c, c_strides: (n, 1), accumulate });
                        // In f64 all bits of an f32 show.
                        c.into_iter().map(|c| c.into().to_bits()).collect::<Vec<_>>()
                    });
                    let results: Vec<_> = results.collect();
                    for (result, arch) in results.iter().zip(archs()) {
                        assert!(
                            *result == results[0],
                            "({m}, {k}) {a_layout:?} x ({k}, {n}) {b_layout:?}, {accumulate:?}, on {arch:?}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        check_bits(usize::MAX, |i| ((i * 7919) % 1013) as f32 / 1013.0 - 0.5);
        check_bits(usize::MAX, |i| ((i * 7919) % 1013) as f64 / 1013.0 - 0.5);
        // Zeros of either sign; `k` in two pieces is among the smaller shapes.
        check_bits(300_000, |i| if i % 3 == 0 { -0.0_f32 } else { 0.0 });
    }

    #[test]
    fn the_same_product_has_the_same_bits_at_any_address() {
        let number = |i: usize| ((i * 7919) % 1013) as f32 / 1013.0 - 0.5;
        for (m, n, k) in SHAPES {
            let product = |shift: usize| {
                let a: Vec<f32> = (0..shift + m * k).map(|i| number(i.wrapping_sub(shift) % 4096)).collect();
                let b: Vec<f32> = (0..shift + k * n).map(|i| number(i.wrapping_sub(shift) % 4095 + 17)).collect();
                let mut c = vec![0.0; shift + m * n];
                let a = MatrixRef { data: &a[shift..], row_stride: k, col_stride: 1 };
                let b = MatrixRef { data: &b[shift..], row_stride: n, col_stride: 1 };
                matmul(m, n, k, a, b, &mut c[shift..], Accumulate::No);
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
        // One for each path that is ever shared, and one row and few rows.
        let shapes = [
            (1, 700, 30),
            (8, 100, 20),
            (203, 3, 70),
            (205, 10, 600),
            (201, 40, 3),
            (200, 100, 1),
            (103, 51, 300),
            (101, 7, 100),
            (70, 50, 300),
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
                        let a = MatrixRef { data: &a, row_stride: a_row, col_stride: a_col };
                        let b = MatrixRef { data: &b, row_stride: b_row, col_stride: b_col };
                        let accumulate = Accumulate::Yes;
                        let product = Product { m, n, k, a, b, c: &mut c, c_strides: (n, 1), accumulate };
                        // Shared however small it is.
                        pool.install(|| product.compute_shared_from(arch(), 0));
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
        let right = MatrixRef { data: &[0.0; 3], row_stride: 1, col_stride: 1 };
        matmul(
            2,
            1,
            3,
            MatrixRef { data: &[0.0; 5], row_stride: 3, col_stride: 1 },
            right,
            &mut [0.0; 2],
            Accumulate::No,
        );
    }

    #[test]
    #[should_panic(expected = "the result of 1 x 2 has another length")]
    fn a_result_of_another_length_panics() {
        let one = MatrixRef { data: &[0.0; 2], row_stride: 1, col_stride: 1 };
        matmul(1, 2, 1, one, one, &mut [0.0; 3], Accumulate::No);
    }
}
