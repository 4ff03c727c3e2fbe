//! [`TileGroup`]: rows of the table that run one after the other on one tile after the other.
//!
//! All steps of a group compute the same number of elements in row-major order. A tile is a range of them that fits into
//! the cache. All steps run on a tile before the next tile begins, so what only the group reads never reaches memory.
//!
//! Threads share the tiles of a large group. Sums keep the order of [`TileSum`], so the number of threads changes no bit.

use std::fmt;
use std::mem;
use std::ops::{DerefMut, Range};

use pulp::{Simd, WithSimd};
use smallvec::SmallVec;

use crate::kernel::reduce::{TileSum, sum_inlined};
use crate::kernel::view::{Reader, View};
use crate::number::{Number, dispatch};
use crate::op::elementwise::{Binary, Unary, select};
use crate::shape::Shape;
use crate::threads::{self, PIECE};

/// What a step computes.
#[derive(Clone, Debug, PartialEq)]
pub enum TileRow<T> {
    /// `y = f(x)`.
    Unary(Unary<T>),
    /// `y = f(a, b)`.
    Binary(Binary),
    /// `y = a` where the mask is not 0, else `b`.
    Select,
    /// The cotangent of the operand of a row. The operands are `g`, `x` and `y`.
    PullUnary(Unary<T>),
    /// The cotangent of one operand of a row. The operands are `g`, `a`, `b` and `y`.
    PullBinary(Binary, usize),
    /// The sum of all elements of the group's size: the sum of this number.
    Sum(usize),
}

impl<T> TileRow<T> {
    /// Returns whether single numbers take no call.
    pub(crate) fn is_arithmetic(&self) -> bool {
        match self {
            Self::Unary(row) | Self::PullUnary(row) => {
                matches!(row, Unary::Neg | Unary::Square | Unary::AddNumber { .. } | Unary::Scale { .. })
            }
            Self::Binary(row) | Self::PullBinary(row, _) => {
                matches!(row, Binary::Add | Binary::Sub | Binary::Mul | Binary::Div)
            }
            Self::Select => false,
            Self::Sum(_) => true,
        }
    }
}

impl<T: Number> fmt::Display for TileRow<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unary(row) => row.fmt(f),
            Self::Binary(row) => row.fmt(f),
            Self::Select => f.write_str("select"),
            Self::PullUnary(row) => write!(f, "pull {row}"),
            Self::PullBinary(row, k) => write!(f, "pull {k} of {row}"),
            Self::Sum(_) => f.write_str("sum"),
        }
    }
}

/// Where a step reads, and where it writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TilePlace {
    /// A register: memory of one tile.
    Register(usize),
    /// An array that the group makes.
    Made(usize),
    /// A row-major array from outside the group. No step writes there.
    Outside(usize),
}

/// A step of a group.
#[derive(Clone, Debug)]
pub struct TileStep<T> {
    pub(crate) row: TileRow<T>,
    pub(crate) operands: SmallVec<[TilePlace; 4]>,
    pub(crate) target: TilePlace,
}

/// An operand that is not a row-major array of the group's size. A register holds what a tile reads of it.
#[derive(Clone, Debug)]
pub struct Gathered {
    /// The array.
    pub(crate) array: usize,
    /// The shape that it is broadcast to; `None` for a number, which is the same for all tiles.
    pub(crate) shape: Option<Shape>,
    pub(crate) register: usize,
}

/// Rows that run together.
#[derive(Clone, Debug)]
pub struct TileGroup<T> {
    /// The number of elements of each array.
    pub(crate) elements: usize,
    /// The number of elements of a tile.
    pub(crate) tile: usize,
    pub(crate) steps: Vec<TileStep<T>>,
    pub(crate) gathered: Vec<Gathered>,
    /// The arrays of one element that the sums are written to, among those that the group makes.
    pub(crate) sums: Vec<usize>,
}

/// The arrays from outside a group, by their numbers.
pub trait Outside<T>: Sync {
    /// Returns an array.
    fn view(&self, array: usize) -> View<'_, T>;

    /// Returns the elements of a row-major array, and perhaps more after them.
    fn row_major(&self, array: usize) -> &[T];
}

/// A part of each array that a group makes.
type Parts<'a, T> = SmallVec<[&'a mut [T]; 16]>;

impl<T: Number> TileGroup<T> {
    /// Runs all steps on all tiles. `made` are the arrays that the group makes, `registers` its registers.
    pub(super) fn run_on(&self, outside: &dyn Outside<T>, made: &mut [Vec<T>], registers: &mut [Vec<T>]) {
        let range = 0..self.elements;
        // The sum of a single tile is complete at once.
        let partial = if self.tile < self.elements { self.sums.len() } else { 0 };
        let mut sums: SmallVec<[TileSum<T>; 2]> = (0..partial).map(|_| TileSum::new()).collect();
        if self.is_large(self.elements) && threads::count() > 1 {
            let parts = made.iter_mut().map(Vec::as_mut_slice).collect();
            self.share(outside, range, parts, registers, &mut sums);
        } else {
            dispatch(Run { group: self, outside, range, made, registers, sums: &mut sums });
        }
        for (sum, &array) in sums.iter().zip(&self.sums) {
            made[array][0] = sum.finish();
        }
    }

    /// Returns whether two threads are faster than one with so many elements.
    fn is_large(&self, elements: usize) -> bool {
        elements > self.tile && elements.saturating_mul(self.steps.len()) >= 2 * PIECE
    }

    /// Runs all steps on a range of elements, and shares it among threads. The parts of the arrays begin with the range.
    ///
    /// A partial sum has 4 kB, so it stays where it is: a thread that waits may run many other ranges on its stack.
    fn share(
        &self,
        outside: &dyn Outside<T>,
        range: Range<usize>,
        mut made: Parts<'_, T>,
        registers: &mut [Vec<T>],
        sums: &mut [TileSum<T>],
    ) {
        if !self.is_large(range.len()) {
            return dispatch(Run { group: self, outside, range, made: &mut made, registers, sums });
        }
        // The tree over the tiles has at its left the largest power of two.
        let tiles = range.len().div_ceil(self.tile);
        let length = (1 << (tiles - 1).ilog2()) * self.tile;
        let middle = range.start + length;
        let (mut left, mut right) = (Parts::new(), Parts::new());
        for (array, part) in made.into_iter().enumerate() {
            // A sum is one number. It is written in the end.
            let (first, second) = part.split_at_mut(if self.sums.contains(&array) { 0 } else { length });
            left.push(first);
            right.push(second);
        }
        // Allocations for each division: they take far less time than what is divided.
        let mut more: Vec<Vec<T>> = registers.iter().map(|register| vec![T::ZERO; register.len()]).collect();
        let mut others: Vec<TileSum<T>> = sums.iter().map(|_| TileSum::new()).collect();
        threads::join(
            || self.share(outside, range.start..middle, left, registers, sums),
            || self.share(outside, middle..range.end, right, &mut more, &mut others),
        );
        sums.iter_mut().zip(&others).for_each(|(sum, other)| sum.append(other));
    }
}

/// A run of a group on a range of elements, for one instruction set. `made` are parts of the arrays, and begin with the
/// range. `sums` are empty if one tile is all.
struct Run<'a, T, M> {
    group: &'a TileGroup<T>,
    outside: &'a dyn Outside<T>,
    range: Range<usize>,
    made: &'a mut [M],
    registers: &'a mut [Vec<T>],
    sums: &'a mut [TileSum<T>],
}

impl<T: Number, M: Default + DerefMut<Target = [T]>> WithSimd for Run<'_, T, M> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { group, outside, range, made, registers, sums } = self;
        let mut readers: SmallVec<[(Reader<'_, T>, usize); 4]> = SmallVec::new();
        for Gathered { array, shape, register } in &group.gathered {
            let view = outside.view(*array);
            match shape {
                Some(shape) => readers.push((Reader::new(view, shape).at(range.start), *register)),
                None => registers[*register][..group.tile.min(group.elements)].fill(view.data[0]),
            }
        }
        for start in range.clone().step_by(group.tile) {
            let length = group.tile.min(range.end - start);
            for (reader, register) in &mut readers {
                reader.fill(start, &mut registers[*register][..length]);
            }
            let tile = Tile { outside, start, offset: start - range.start, length };
            for step in &group.steps {
                if let TileRow::Sum(sum) = step.row {
                    let x = tile.operand(step, 0, made, registers);
                    if length == group.elements {
                        let total = sum_inlined(simd, x);
                        made[group.sums[sum]][0] = total;
                    } else {
                        sums[sum].add(simd, x);
                    }
                    continue;
                }
                // Taken out, so that a step can read the others.
                match step.target {
                    TilePlace::Register(register) => {
                        let mut out = mem::take(&mut registers[register]);
                        tile.run(simd, step, &mut out[..length], made, registers);
                        registers[register] = out;
                    }
                    TilePlace::Made(array) => {
                        let mut out = mem::take(&mut made[array]);
                        tile.run(simd, step, &mut out[tile.offset..][..length], made, registers);
                        made[array] = out;
                    }
                    TilePlace::Outside(_) => {}
                }
            }
        }
    }
}

/// A tile: where it begins in the arrays from outside and in the parts that the group makes, and how long it is.
struct Tile<'a, T> {
    outside: &'a dyn Outside<T>,
    start: usize,
    offset: usize,
    length: usize,
}

impl<'a, T: Number> Tile<'a, T> {
    /// Returns the elements of an operand of a step.
    #[inline(always)]
    fn operand<'m, M: DerefMut<Target = [T]>>(
        &self,
        step: &TileStep<T>,
        k: usize,
        made: &'m [M],
        registers: &'m [Vec<T>],
    ) -> &'m [T]
    where
        'a: 'm,
    {
        match step.operands[k] {
            TilePlace::Register(register) => &registers[register][..self.length],
            TilePlace::Made(array) => &made[array][self.offset..][..self.length],
            TilePlace::Outside(array) => &self.outside.row_major(array)[self.start..][..self.length],
        }
    }

    /// Runs a step that writes a tile.
    #[inline(always)]
    fn run<S: Simd, M: DerefMut<Target = [T]>>(
        &self,
        simd: S,
        step: &TileStep<T>,
        out: &mut [T],
        made: &[M],
        registers: &[Vec<T>],
    ) {
        let operand = |k: usize| self.operand(step, k, made, registers);
        // The cotangent is in place, or moves to its place.
        let cotangent = |out: &mut [T]| {
            if step.operands[0] != step.target {
                out.copy_from_slice(operand(0));
            }
        };
        match &step.row {
            TileRow::Unary(row) => row.run(simd, operand(0), out),
            TileRow::Binary(row) => row.run(simd, operand(0), operand(1), out),
            TileRow::Select => select(simd, operand(0), operand(1), operand(2), out),
            TileRow::PullUnary(row) => {
                cotangent(out);
                row.run_pull(simd, out, operand(1), operand(2));
            }
            TileRow::PullBinary(row, k) => {
                cotangent(out);
                row.run_pull(simd, *k, out, operand(1), operand(2), operand(3));
            }
            // It writes no tile.
            TileRow::Sum(_) => {}
        }
    }
}
