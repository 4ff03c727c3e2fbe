//! [`TileGroup`]: rows of the table that run one after the other on one tile after the other.
//!
//! All steps of a group compute the same number of elements in row-major order. A tile is a range of them that fits into
//! the cache. All steps run on a tile before the next tile begins, so what only the group reads never reaches memory.

use std::mem;

use pulp::{Simd, WithSimd};
use smallvec::SmallVec;

use crate::kernel::reduce::{TileSum, sum_inlined};
use crate::kernel::view::{Reader, View};
use crate::number::{Number, dispatch};
use crate::op::elementwise::{Binary, RowLoop, Unary};
use crate::shape::Shape;

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
pub trait Outside<T> {
    /// Returns an array.
    fn view(&self, array: usize) -> View<'_, T>;
}

impl<T: Number> TileGroup<T> {
    /// Runs all steps on all tiles. `made` are the arrays that the group makes, `registers` its registers.
    pub(super) fn run_on(&self, outside: &dyn Outside<T>, made: &mut [Vec<T>], registers: &mut [Vec<T>]) {
        dispatch(Run { group: self, outside, made, registers });
    }
}

/// A run of a group, for one instruction set.
struct Run<'a, T> {
    group: &'a TileGroup<T>,
    outside: &'a dyn Outside<T>,
    made: &'a mut [Vec<T>],
    registers: &'a mut [Vec<T>],
}

impl<T: Number> WithSimd for Run<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { group, outside, made, registers } = self;
        let mut readers: SmallVec<[(Reader<'_, T>, usize); 4]> = SmallVec::new();
        for Gathered { array, shape, register } in &group.gathered {
            let view = outside.view(*array);
            match shape {
                Some(shape) => readers.push((Reader::new(view, shape), *register)),
                None => registers[*register][..group.tile.min(group.elements)].fill(view.data[0]),
            }
        }
        // The sum of a single tile is complete at once. A partial one is large, and a group may have hundreds.
        let partial = if group.tile < group.elements { group.sums.len() } else { 0 };
        let mut sums: SmallVec<[TileSum<T>; 2]> = (0..partial).map(|_| TileSum::new()).collect();
        for start in (0..group.elements).step_by(group.tile) {
            let length = group.tile.min(group.elements - start);
            for (reader, register) in &mut readers {
                reader.fill(start, &mut registers[*register][..length]);
            }
            for step in &group.steps {
                if let TileRow::Sum(sum) = step.row {
                    let x = step.operand(0, start, length, outside, made, registers);
                    if length == group.elements {
                        let total = sum_inlined(simd, x);
                        made[group.sums[sum]][0] = total;
                    } else {
                        sums[sum].add(simd, x);
                    }
                    continue;
                }
                // Taken out, so that a step can read the others.
                let (mut out, first) = match step.target {
                    TilePlace::Register(register) => (mem::take(&mut registers[register]), 0),
                    TilePlace::Made(array) => (mem::take(&mut made[array]), start),
                    TilePlace::Outside(_) => continue,
                };
                step.run(simd, &mut out[first..first + length], start, outside, made, registers);
                match step.target {
                    TilePlace::Register(register) => registers[register] = out,
                    TilePlace::Made(array) => made[array] = out,
                    TilePlace::Outside(_) => {}
                }
            }
        }
        for (sum, &array) in sums.iter().zip(&group.sums) {
            made[array][0] = sum.finish();
        }
    }
}

impl<T: Number> TileStep<T> {
    /// Returns the elements of a tile of an operand.
    #[inline(always)]
    fn operand<'a>(
        &self,
        k: usize,
        start: usize,
        length: usize,
        outside: &'a dyn Outside<T>,
        made: &'a [Vec<T>],
        registers: &'a [Vec<T>],
    ) -> &'a [T] {
        match self.operands[k] {
            TilePlace::Register(register) => &registers[register][..length],
            TilePlace::Made(array) => &made[array][start..start + length],
            TilePlace::Outside(array) => &outside.view(array).data[start..start + length],
        }
    }

    #[inline(always)]
    fn run<S: Simd>(
        &self,
        simd: S,
        out: &mut [T],
        start: usize,
        outside: &dyn Outside<T>,
        made: &[Vec<T>],
        registers: &[Vec<T>],
    ) {
        let length = out.len();
        let operand = |k: usize| self.operand(k, start, length, outside, made, registers);
        // The cotangent is in place, or moves to its place.
        let cotangent = |out: &mut [T]| {
            if self.operands[0] != self.target {
                out.copy_from_slice(operand(0));
            }
        };
        let row_loop = match self.row {
            TileRow::Unary(row) => RowLoop::Unary(row, operand(0), out),
            TileRow::Binary(row) => RowLoop::Binary(row, operand(0), operand(1), out),
            TileRow::Select => RowLoop::Select(operand(0), operand(1), operand(2), out),
            TileRow::PullUnary(row) => {
                cotangent(out);
                RowLoop::PullUnary(row, out, operand(1), operand(2))
            }
            TileRow::PullBinary(row, k) => {
                cotangent(out);
                RowLoop::PullBinary(row, k, out, operand(1), operand(2), operand(3))
            }
            // It writes no tile.
            TileRow::Sum(_) => return,
        };
        row_loop.run(simd);
    }
}
