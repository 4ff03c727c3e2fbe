//! Rows selected by index, concatenated and scattered. An array is read as `(outer, length, inner)` around one axis.

use std::ops::Range;

use smallvec::SmallVec;

use crate::number::Number;
use crate::shape::AxisSet;

/// The lengths before, at and after an axis.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AxisSplit {
    pub(crate) outer: usize,
    pub(crate) length: usize,
    pub(crate) inner: usize,
}

impl AxisSplit {
    pub(crate) fn new(shape: &[usize], axis: usize) -> Self {
        Self { outer: shape[..axis].iter().product(), length: shape[axis], inner: shape[axis + 1..].iter().product() }
    }
}

/// Calls `$few` with the number of elements of a short row as a constant; for other rows it runs `$many`. A few elements are
/// copied or added faster by instructions for that number than by a loop or a call of memcpy.
macro_rules! by_width {
    ($inner:expr, $few:ident($($argument:expr),*), $many:block) => {
        match $inner {
            1 => $few::<T, 1>($($argument),*),
            2 => $few::<T, 2>($($argument),*),
            3 => $few::<T, 3>($($argument),*),
            4 => $few::<T, 4>($($argument),*),
            8 => $few::<T, 8>($($argument),*),
            16 => $few::<T, 16>($($argument),*),
            _ => $many,
        }
    };
}

/// `y[o, i, :] = x[o, indices[i], :]`.
pub(crate) fn select<T: Number>(x: &[T], split: AxisSplit, indices: &[u32], y: &mut [T]) {
    let AxisSplit { length, inner, .. } = split;
    if y.is_empty() {
        return;
    }
    for (x, y) in x.chunks_exact(length * inner).zip(y.chunks_exact_mut(indices.len() * inner)) {
        by_width!(inner, select_few(x, indices, y), {
            for (&index, y) in indices.iter().zip(y.chunks_exact_mut(inner)) {
                let start = index as usize * inner;
                y.copy_from_slice(&x[start..start + inner]);
            }
        });
    }
}

fn select_few<T: Number, const INNER: usize>(x: &[T], indices: &[u32], y: &mut [T]) {
    let x = x.as_chunks::<INNER>().0;
    indices.iter().zip(y.as_chunks_mut::<INNER>().0).for_each(|(&index, y)| *y = x[index as usize]);
}

/// `y[o, indices[i], :] += x[o, i, :]`; `split` describes `y`. Rows with the same index are added.
pub(crate) fn add_selected<T: Number>(x: &[T], split: AxisSplit, indices: &[u32], y: &mut [T]) {
    let AxisSplit { length, inner, .. } = split;
    if x.is_empty() {
        return;
    }
    for (x, y) in x.chunks_exact(indices.len() * inner).zip(y.chunks_exact_mut(length * inner)) {
        by_width!(inner, add_few(x, indices, y), {
            for (&index, x) in indices.iter().zip(x.chunks_exact(inner)) {
                let start = index as usize * inner;
                for (y, &x) in y[start..start + inner].iter_mut().zip(x) {
                    *y += x;
                }
            }
        });
    }
}

fn add_few<T: Number, const INNER: usize>(x: &[T], indices: &[u32], y: &mut [T]) {
    let y = y.as_chunks_mut::<INNER>().0;
    for (&index, x) in indices.iter().zip(x.as_chunks::<INNER>().0) {
        y[index as usize].iter_mut().zip(x).for_each(|(y, &x)| *y += x);
    }
}

/// `y[i] = x[i, columns[i]]` for rows of `width` elements.
pub(crate) fn pick<T: Number>(x: &[T], width: usize, columns: &[u32], y: &mut [T]) {
    for (row, (&column, y)) in columns.iter().zip(y).enumerate() {
        *y = x[row * width + column as usize];
    }
}

/// `y[i, columns[i]] += x[i]` for rows of `width` elements.
pub(crate) fn add_picked<T: Number>(x: &[T], width: usize, columns: &[u32], y: &mut [T]) {
    for (row, (&column, &x)) in columns.iter().zip(x).enumerate() {
        y[row * width + column as usize] += x;
    }
}

/// Writes `x` into the rows of `y` that begin at `start` along the axis; `split` describes `y`.
pub(crate) fn place<T: Number>(x: &[T], split: AxisSplit, start: usize, y: &mut [T]) {
    let AxisSplit { outer, length, inner } = split;
    if x.is_empty() {
        return;
    }
    // A loop copies single elements faster than one memcpy for each.
    if x.len() == outer {
        y[start * inner..].iter_mut().step_by(length * inner).zip(x).for_each(|(y, &x)| *y = x);
        return;
    }
    for (x, y) in x.chunks_exact(x.len() / outer).zip(y.chunks_exact_mut(length * inner)) {
        y[start * inner..start * inner + x.len()].copy_from_slice(x);
    }
}

/// Copies `x` with the order of its elements along `axes` reversed.
pub(crate) fn flip<T: Number>(x: &[T], shape: &[usize], axes: AxisSet, y: &mut [T]) {
    // Neighbouring axes that are all flipped or all kept are joined, so that runs are as long as possible.
    let mut groups: SmallVec<[(usize, bool); 4]> = SmallVec::new();
    for (axis, &length) in shape.iter().enumerate() {
        let flipped = axes.contains(axis);
        match groups.last_mut() {
            _ if length == 1 => {}
            Some(group) if group.1 == flipped => group.0 *= length,
            _ => groups.push((length, flipped)),
        }
    }
    let (run, flipped) = groups.pop().unwrap_or((1, false));
    if y.is_empty() {
        return;
    }
    for (row, y) in y.chunks_exact_mut(run).enumerate() {
        // `from` is the number of the source row. It has the same digits as `row`, one in base `length` for each group;
        // the digits of flipped groups are counted from the end.
        let (mut rest, mut from, mut stride) = (row, 0, 1);
        for &(length, flipped) in groups.iter().rev() {
            let digit = rest % length;
            from += stride * if flipped { length - 1 - digit } else { digit };
            rest /= length;
            stride *= length;
        }
        let x = &x[from * run..(from + 1) * run];
        if flipped {
            y.iter_mut().zip(x.iter().rev()).for_each(|(y, &x)| *y = x);
        } else {
            y.copy_from_slice(x);
        }
    }
}

/// Sets the columns `clear(row)` of each row to 0, in every matrix of the last two axes.
pub(crate) fn clear_triangle<T: Number>(y: &mut [T], shape: &[usize], clear: impl Fn(usize) -> Range<usize>) {
    let &[.., rows, columns] = shape else { unreachable!("the shape rule asks for matrices") };
    if y.is_empty() {
        return;
    }
    for matrix in y.chunks_exact_mut(rows * columns) {
        for (row, y) in matrix.chunks_exact_mut(columns).enumerate() {
            let Range { start, end } = clear(row);
            y[start.min(columns)..end.min(columns)].fill(T::ZERO);
        }
    }
}
