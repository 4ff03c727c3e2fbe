//! The glue between number types and vector registers.
//!
//! `pulp` names each operation by number type (`splat_f32s`, `splat_f64s`). [`Vectors`] gives both types one name, so
//! that a kernel is written once.

use std::cell::RefCell;
use std::ops::{Add, Mul};

use pulp::Simd;

/// A number type that vector registers hold: `f32` or `f64`.
pub trait Vectors: Copy + Default + Send + Sync + 'static + Mul<Output = Self> + Add<Output = Self> {
    /// A vector register of this type.
    type Vector<S: Simd>: Copy;
    /// A mask over the lanes of a vector.
    type Mask<S: Simd>: Copy;

    /// Returns the number of lanes of a vector.
    fn lanes<S: Simd>() -> usize;

    /// Returns a vector of copies.
    fn splat<S: Simd>(simd: S, x: Self) -> Self::Vector<S>;

    /// Returns `a b + c`, rounded once where the machine has an instruction for it.
    fn fma<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>, c: Self::Vector<S>) -> Self::Vector<S>;

    /// Returns `a + b`.
    fn sum<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;

    /// Returns `a b`.
    fn product<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;

    /// Returns the sum of a vector's numbers.
    fn reduce<S: Simd>(simd: S, a: Self::Vector<S>) -> Self;

    /// Returns the whole vectors at the front of a slice. Numbers that do not fill a vector are left out.
    fn as_vectors<S: Simd>(x: &[Self]) -> &[Self::Vector<S>];

    /// Returns the whole vectors at the front of a slice. Numbers that do not fill a vector are left out.
    fn as_vectors_mut<S: Simd>(x: &mut [Self]) -> &mut [Self::Vector<S>];

    /// Returns the slice's numbers, at most one vector of them, and zeros in the lanes that remain.
    fn partial_load<S: Simd>(simd: S, x: &[Self]) -> Self::Vector<S>;

    /// Writes the first lanes of a vector: as many as the slice has room for.
    fn partial_store<S: Simd>(simd: S, x: &mut [Self], a: Self::Vector<S>);

    /// Returns a mask of the first `count` lanes.
    fn first<S: Simd>(simd: S, count: usize) -> Self::Mask<S>;

    /// Returns the lanes of `a` where the mask is set, the lanes of `b` elsewhere.
    fn select<S: Simd>(simd: S, mask: Self::Mask<S>, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;

    /// Stores `scratch` as the thread's scratch memory and returns the memory that was stored before.
    fn swap_scratch(scratch: Vec<Self>) -> Vec<Self>;
}

macro_rules! vectors {
    (
        $T:ident, $vector:ident, $splat:ident, $fma:ident, $add:ident, $mul:ident, $reduce:ident, $as_simd:ident,
        $as_mut_simd:ident,
        $load:ident, $store:ident, $mask:ident, $between:ident, $index:ident, $select:ident
    ) => {
        impl Vectors for $T {
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
vectors!(
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
vectors!(
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
