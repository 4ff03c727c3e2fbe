//! Threads: one setting for everything that the library shares among threads.
//!
//! With the feature `rayon`, large kernels and [chunks](crate::chunks) run on the threads of the current rayon pool:
//! matrix products, elementwise functions, reductions, convolutions, and the steps of optimizers. A kernel that is too
//! small to gain stays on its thread. So does every kernel of a chunk, because the chunks fill the threads already.
//!
//! The number of threads is that of the pool:
//!
//! - [`with`] runs a function on a pool of a given size, which is kept for the next call;
//! - otherwise it is rayon's default, one for each core, or the environment variable `RAYON_NUM_THREADS`, or a pool of
//!   your own.
//!
//! **The results have the same bits for any number of threads.** No sum is divided differently, and gradients of
//! chunks are added in an order that their numbers fix.
//!
//! Run a whole training loop in one call of [`with`]. Then every step starts on a thread of the pool, and the other
//! threads are awake.

use std::cell::Cell;

/// Arrays of at least twice this number of elements are divided: a piece takes 10 microseconds or more.
pub(crate) const PIECE: usize = 1 << 16;

/// Who may use the threads of the pool.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Everything that runs on this thread.
    Shared,
    /// Nothing: [`with`] one thread.
    One,
    /// Nothing: a chunk runs here.
    Chunk,
}

thread_local! {
    static MODE: Cell<Mode> = const { Cell::new(Mode::Shared) };
}

/// Sets the mode back when dropped.
struct Restore(Mode);

impl Drop for Restore {
    fn drop(&mut self) {
        MODE.set(self.0);
    }
}

fn in_mode<R>(mode: Mode, f: impl FnOnce() -> R) -> R {
    let _restore = Restore(MODE.replace(mode));
    f()
}

/// Returns the number of threads that a kernel or a list of chunks may use if it starts now and here.
///
/// It is 1 without the feature `rayon`, and within a chunk.
///
/// # Example
///
/// ```
/// use tapegrad::threads;
///
/// assert_eq!(threads::with(1, threads::count), 1);
/// assert_eq!(threads::with(3, threads::count), if cfg!(feature = "rayon") { 3 } else { 1 });
/// ```
#[must_use]
pub fn count() -> usize {
    match MODE.get() {
        Mode::Shared => pool::size(),
        Mode::One | Mode::Chunk => 1,
    }
}

/// Runs `f` with this number of threads, and returns its result.
///
/// `f` runs on a thread of a rayon pool of this size. The pool is kept for the next call. With 1 thread there is no
/// pool, and `f` runs on the thread of the caller. Without the feature `rayon` it always does. Within a chunk the
/// setting has no effect.
///
/// # Panics
///
/// If the number is 0, if the system refuses to start the threads, or if `f` panics.
///
/// # Example
///
/// ```
/// use tapegrad::{Tape, threads};
///
/// let train = || {
///     let tape = Tape::new();
///     let x = tape.leaf(ndarray::Array1::from_elem(1 << 20, 0.5_f32));
///     (x * x).sum().item()
/// };
/// assert_eq!(threads::with(1, train), 262_144.0); // 2^20 / 4
/// assert_eq!(threads::with(4, train), 262_144.0); // the same bits
/// ```
#[track_caller]
pub fn with<R: Send>(threads: usize, f: impl FnOnce() -> R + Send) -> R {
    assert!(threads > 0, "threads::with: expected at least 1 thread, found 0");
    match (MODE.get(), threads) {
        (Mode::Chunk, _) => f(),
        (_, 1) => in_mode(Mode::One, f),
        _ => pool::install(threads, || in_mode(Mode::Shared, f)),
    }
}

/// Runs `f` without other threads: every kernel in it stays on this one.
pub(crate) fn alone<R>(f: impl FnOnce() -> R) -> R {
    in_mode(Mode::Chunk, f)
}

/// Runs two functions, at the same time if a thread is free.
///
/// Meanwhile this thread may run any other task of the pool. So the caller must hold no lock that such a task wants.
pub(crate) fn join<A: Send, B: Send>(a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B + Send) -> (A, B) {
    pool::join(a, b)
}

/// Calls `f` for pieces of `out`, each with the position of its first element: one piece, or several at the same time
/// if it is long enough. Every piece begins at a multiple of `unit`, and has at least `fewest` elements.
///
/// The caller holds no lock, as for [`join`].
#[inline]
pub(crate) fn in_pieces<T: Send>(out: &mut [T], unit: usize, fewest: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    if out.len() >= 2 * fewest {
        let threads = count();
        if threads > 1 {
            // A few pieces for each thread: the first that is done takes one more.
            let piece = out.len().div_ceil(4 * threads).max(fewest).next_multiple_of(unit.max(1));
            return share(out, 0, piece, &f);
        }
    }
    f(0, out);
}

/// `f` is behind a pointer, so that rayon's code is compiled once for each type of elements. A piece is large: the call costs
/// nothing beside it.
fn share<T: Send>(out: &mut [T], start: usize, piece: usize, f: &(dyn Fn(usize, &mut [T]) + Sync)) {
    if out.len() <= piece {
        return f(start, out);
    }
    let middle = out.len().div_ceil(piece) / 2 * piece;
    let (left, right) = out.split_at_mut(middle);
    join(|| share(left, start, piece, f), || share(right, start + middle, piece, f));
}

#[cfg(feature = "rayon")]
mod pool {
    use std::sync::{Arc, Mutex, PoisonError};

    use rayon::{ThreadPool, ThreadPoolBuilder};

    pub(super) use rayon::{current_num_threads as size, join};

    /// A pool of each size that was asked for.
    static POOLS: Mutex<Vec<Arc<ThreadPool>>> = Mutex::new(Vec::new());

    #[track_caller]
    pub(super) fn install<R: Send>(threads: usize, f: impl FnOnce() -> R + Send) -> R {
        if rayon::current_thread_index().is_some() && size() == threads {
            return f();
        }
        let started = kept(threads);
        match started {
            Ok(pool) => pool.install(f),
            Err(error) => panic!("threads::with: {threads} threads did not start: {error}"),
        }
    }

    fn kept(threads: usize) -> Result<Arc<ThreadPool>, rayon::ThreadPoolBuildError> {
        let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = pools.iter().find(|pool| pool.current_num_threads() == threads) {
            return Ok(Arc::clone(pool));
        }
        let pool = Arc::new(ThreadPoolBuilder::new().num_threads(threads).build()?);
        pools.push(Arc::clone(&pool));
        Ok(pool)
    }
}

#[cfg(not(feature = "rayon"))]
mod pool {
    pub(super) fn size() -> usize {
        1
    }

    pub(super) fn join<A, B>(a: impl FnOnce() -> A, b: impl FnOnce() -> B) -> (A, B) {
        (a(), b())
    }

    pub(super) fn install<R>(_: usize, f: impl FnOnce() -> R) -> R {
        f()
    }
}
