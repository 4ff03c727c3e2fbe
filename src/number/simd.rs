//! The glue between number types and vector registers, and the choice of an instruction set.
//!
//! `pulp` names each operation by number type (`splat_f32s`, `splat_f64s`). [`Vectors`] gives both types one name, so
//! that a kernel is written once.

use std::cell::RefCell;
use std::ops::{Add, Mul};
use std::sync::atomic::{AtomicU8, Ordering};

use pulp::{Arch, Simd, WithSimd};

/// A set of vector instructions. Results have the same bits with each; the library's tests force each in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InstructionSet {
    /// The instructions of every machine of this architecture. Without fused multiply-adds, it is slow.
    Portable,
    /// x86-64-v3: AVX2 and fused multiply-adds.
    V3,
    /// x86-64-v4: AVX-512.
    V4,
}

/// The set that was forced, as its place in the enumeration, or [`NOT_FORCED`].
static FORCED: AtomicU8 = AtomicU8::new(NOT_FORCED);
const NOT_FORCED: u8 = u8::MAX;

impl InstructionSet {
    /// Returns the sets of this machine.
    #[must_use]
    pub fn available() -> Vec<Self> {
        [Self::Portable, Self::V3, Self::V4].into_iter().filter(|set| set.arch().is_some()).collect()
    }

    /// Has all kernels of the process use this set from now on, or the widest one again.
    ///
    /// # Panics
    ///
    /// If the machine has no such instructions.
    pub fn force(set: Option<Self>) {
        assert!(set.is_none_or(|set| set.arch().is_some()), "this machine does not have the instructions {set:?}");
        FORCED.store(set.map_or(NOT_FORCED, |set| set as u8), Ordering::Relaxed);
    }

    fn arch(self) -> Option<Arch> {
        match self {
            Self::Portable => Some(Arch::Scalar),
            #[cfg(target_arch = "x86_64")]
            Self::V3 => pulp::x86::V3::try_new().map(Arch::V3),
            #[cfg(target_arch = "x86_64")]
            Self::V4 => pulp::x86::V4::try_new().map(Arch::V4),
            #[cfg(not(target_arch = "x86_64"))]
            _ => None,
        }
    }
}

/// Returns the instruction set for a kernel: the widest of this machine, if none is forced.
#[inline]
pub(crate) fn arch() -> Arch {
    match FORCED.load(Ordering::Relaxed) {
        NOT_FORCED => Arch::new(),
        forced => forced_arch(forced),
    }
}

#[cold]
fn forced_arch(forced: u8) -> Arch {
    let sets = [InstructionSet::Portable, InstructionSet::V3, InstructionSet::V4];
    sets.into_iter().find(|&set| set as u8 == forced).and_then(InstructionSet::arch).unwrap_or_default()
}

/// Runs a kernel, compiled for the instruction set of [`arch`].
#[inline]
pub(crate) fn dispatch<K: WithSimd>(kernel: K) -> K::Output {
    arch().dispatch(kernel)
}

/// Runs a kernel that is made for vectors, or `plain` with the portable instruction set. The kernel is not compiled for
/// that one: with a vector of one lane, its loops unroll to much code that gains nothing.
#[inline]
pub(crate) fn dispatch_or<K: WithSimd>(arch: Arch, kernel: K, plain: impl FnOnce(K) -> K::Output) -> K::Output {
    match arch {
        #[cfg(target_arch = "x86_64")]
        Arch::V3(simd) => Simd::vectorize(simd, kernel),
        #[cfg(target_arch = "x86_64")]
        Arch::V4(simd) => Simd::vectorize(simd, kernel),
        #[cfg(target_arch = "aarch64")]
        Arch::Neon(simd) => Simd::vectorize(simd, kernel),
        _ => plain(kernel),
    }
}

/// Runs a kernel on a known instruction set, as a function of its own.
///
/// A caller compiles much faster if it does not hold the loops of all kernels that it chooses from.
#[inline(never)]
pub(crate) fn outlined<S: Simd, K: WithSimd>(simd: S, kernel: K) -> K::Output {
    simd.vectorize(kernel)
}

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

    /// Returns `a b + c`, rounded once. Where the machine has no instruction for it, a slow function computes the same
    /// bits.
    fn fma<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>, c: Self::Vector<S>) -> Self::Vector<S>;

    /// The same for one number.
    fn fused(a: Self, b: Self, c: Self) -> Self;

    /// Returns `a + b`.
    fn sum<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;

    /// Returns the sum of a vector's numbers: each lane of the first half is added to that of the second, and so on down to
    /// one.
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

    /// Calls `f` with the thread's spare buffers, of any lengths and contents. It must not call this function.
    fn with_spare<R>(f: impl FnOnce(&mut Vec<Vec<Self>>) -> R) -> R;
}

macro_rules! vectors {
    (
        $T:ident, $vector:ident, $splat:ident, $fma:ident, $add:ident, $reduce:ident, $as_simd:ident, $as_mut_simd:ident,
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
            fn fused(a: $T, b: $T, c: $T) -> $T {
                a.mul_add(b, c)
            }

            #[inline(always)]
            fn sum<S: Simd>(simd: S, a: S::$vector, b: S::$vector) -> S::$vector {
                simd.$add(a, b)
            }

            #[inline(always)]
            fn reduce<S: Simd>(simd: S, a: S::$vector) -> $T {
                // On x86, `pulp` adds in this order. The order of other machines is not stated.
                if cfg!(any(target_arch = "x86", target_arch = "x86_64")) {
                    return simd.$reduce(a);
                }
                let mut lanes = [0.0; 16];
                S::$as_mut_simd(&mut lanes).0[0] = a;
                let mut width = Self::lanes::<S>() / 2;
                while width > 0 {
                    for i in 0..width {
                        lanes[i] += lanes[i + width];
                    }
                    width /= 2;
                }
                lanes[0]
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

            fn with_spare<R>(f: impl FnOnce(&mut Vec<Vec<$T>>) -> R) -> R {
                thread_local! {
                    static SPARE: RefCell<Vec<Vec<$T>>> = const { RefCell::new(Vec::new()) };
                }
                SPARE.with_borrow_mut(f)
            }
        }
    };
}
vectors!(
    f32,
    f32s,
    splat_f32s,
    mul_add_f32s,
    add_f32s,
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
    mul_add_f64s,
    add_f64s,
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
