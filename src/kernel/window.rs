//! Windows that move over the last two axes: patches for convolution, and pooling.

use std::fmt;
use std::ops::Range;

use pulp::{Simd, WithSimd};

use crate::number::{Classify, Number, dispatch, inlined};
use crate::threads::{PIECE, in_pieces};

/// A window over two axes: its size, the stride, the number of zeros around the array, and the distance between
/// neighbouring elements of the window. Pooling knows windows without gaps alone, of distance 1.
///
/// Each number has 32 bits, so that operations stay small.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    pub(crate) kernel: [u32; 2],
    pub(crate) stride: [u32; 2],
    pub(crate) padding: [u32; 2],
    pub(crate) dilation: [u32; 2],
}

impl Window {
    /// Returns a window without padding and without gaps.
    pub(crate) fn new(kernel: [u32; 2], stride: [u32; 2]) -> Self {
        Self { kernel, stride, padding: [0, 0], dilation: [1, 1] }
    }

    /// Returns the length from the first element of the window to the last, along an axis.
    pub(crate) fn extent(self, axis: usize) -> usize {
        (self.kernel[axis] as usize).saturating_sub(1) * self.dilation[axis] as usize + 1
    }

    /// Returns the number of windows along each axis of an array; `None` if the padded array is smaller than a window.
    pub(crate) fn counts(self, size: [usize; 2]) -> Option<[usize; 2]> {
        let along = |axis: usize| {
            let padded = size[axis] + 2 * self.padding[axis] as usize;
            let room = padded.checked_sub(self.extent(axis))?;
            Some(room / self.stride[axis] as usize + 1)
        };
        Some([along(0)?, along(1)?])
    }

    /// Returns the number of elements in a window.
    pub(crate) fn elements(self) -> usize {
        self.kernel[0] as usize * self.kernel[1] as usize
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[kernel {:?}, stride {:?}", self.kernel, self.stride)?;
        if self.padding != [0, 0] {
            write!(f, ", padding {:?}", self.padding)?;
        }
        if self.dilation != [1, 1] {
            write!(f, ", dilation {:?}", self.dilation)?;
        }
        f.write_str("]")
    }
}

/// The windows over one image of several channels.
#[derive(Clone, Copy, Debug)]
pub struct Patches {
    pub(crate) channels: usize,
    pub(crate) size: [usize; 2],
    pub(crate) counts: [usize; 2],
    pub(crate) window: Window,
}

impl Patches {
    /// Returns the windows over images of the shape `(count, channels, height, width)`. The images are at least as
    /// large as a window.
    pub(crate) fn new(images: &[usize], window: Window) -> Self {
        let size = [images[2], images[3]];
        let counts = window.counts(size).expect("the shape rule asks for images no smaller than a window");
        Self { channels: images[1], size, counts, window }
    }

    /// Returns whether each window is one element and each element has a window: then the image is its own patch
    /// matrix.
    pub(crate) fn are_elements(&self) -> bool {
        // A window of one element has no gaps.
        self.window == Window { dilation: self.window.dilation, ..Window::new([1, 1], [1, 1]) }
    }

    /// Returns the number of rows of the patch matrix: one for each element of a window.
    pub(crate) fn rows(&self) -> usize {
        self.channels * self.window.elements()
    }

    /// Returns the number of columns of the patch matrix: one for each window.
    pub(crate) fn columns(&self) -> usize {
        self.counts[0] * self.counts[1]
    }

    /// Returns the number of elements of the image.
    pub(crate) fn elements(&self) -> usize {
        self.channels * self.size[0] * self.size[1]
    }

    /// Calls `f` for each piece of a row of the patch matrix that comes from one row of the image. The arguments are
    /// the range of the piece in the matrix, the number of padding elements before and after, and the position in the
    /// image of the first element that is not padding.
    #[inline(always)]
    fn for_each_piece(&self, mut f: impl FnMut(std::ops::Range<usize>, usize, usize, usize)) {
        let [height, width] = self.size;
        let [down, across] = self.counts;
        let Window { stride, padding, dilation, .. } = self.window;
        let [(row_stride, column_stride), (top, left), (down_gap, across_gap)] =
            [stride, padding, dilation].map(|[a, b]| (a as usize, b as usize));
        let mut start = 0;
        for channel in 0..self.channels {
            for i in (0..self.window.kernel[0]).map(|i| i as usize * down_gap) {
                for j in (0..self.window.kernel[1]).map(|j| j as usize * across_gap) {
                    // Column `c` of the windows reads column `c * stride + j - left` of the image.
                    let before = left.saturating_sub(j).div_ceil(column_stride).min(across);
                    let end = (width + left).saturating_sub(j).div_ceil(column_stride).clamp(before, across);
                    for row in 0..down {
                        let piece = start..start + across;
                        start += across;
                        match (row * row_stride + i).checked_sub(top) {
                            Some(row) if row < height && end > before => {
                                let column = before * column_stride + j - left;
                                f(piece, before, across - end, (channel * height + row) * width + column);
                            }
                            _ => f(piece, across, 0, 0),
                        }
                    }
                }
            }
        }
    }

    /// Writes the patches of an image as the columns of a matrix (im2col), so that a convolution is a matrix product.
    pub(crate) fn gather<T: Number>(&self, x: &[T], matrix: &mut [T]) {
        let stride = self.window.stride[1] as usize;
        self.for_each_piece(inlined!(|piece, before, after, from| {
            let piece = &mut matrix[piece];
            let inside = before..piece.len() - after;
            clear(&mut piece[..inside.start]);
            clear(&mut piece[inside.end..]);
            let piece = &mut piece[inside];
            match stride {
                1 => copy(&x[from..from + piece.len()], piece),
                _ => piece.iter_mut().zip(x[from..].iter().step_by(stride)).for_each(|(to, &x)| *to = x),
            }
        }));
    }

    /// Adds each patch of a matrix to its place in an image: the adjoint of [`gather`](Self::gather).
    pub(crate) fn scatter_add<T: Number>(&self, matrix: &[T], x: &mut [T]) {
        let stride = self.window.stride[1] as usize;
        self.for_each_piece(inlined!(|piece, before, after, from| {
            let piece = &matrix[piece];
            let piece = &piece[before..piece.len() - after];
            match stride {
                1 => x[from..from + piece.len()].iter_mut().zip(piece).for_each(|(x, &g)| *x += g),
                _ => x[from..].iter_mut().step_by(stride).zip(piece).for_each(|(x, &g)| *x += g),
            }
        }));
    }
}

/// Fills a slice with zeros. Most are empty or of one element, shorter than a call of `memset`.
#[inline(always)]
fn clear<T: Number>(x: &mut [T]) {
    match x {
        [] => {}
        [x] => *x = T::ZERO,
        x => x.fill(T::ZERO),
    }
}

/// Copies a slice. Most are rows of small images: a few moves of known length take less than a call of `memcpy`.
#[inline(always)]
fn copy<T: Number>(from: &[T], to: &mut [T]) {
    const PART: usize = 8;
    let length = to.len();
    if !(PART..=8 * PART).contains(&length) {
        return to.copy_from_slice(from);
    }
    for (to, from) in to.as_chunks_mut::<PART>().0.iter_mut().zip(from.as_chunks::<PART>().0) {
        *to = *from;
    }
    // The last part may overlap the one before it.
    to[length - PART..].copy_from_slice(&from[length - PART..]);
}

/// Calls `f` with the number of each window, over all planes, and the position in `x` of its largest element. Of equal
/// elements it is the first. If the window has a NaN, it is the last NaN.
#[inline(always)]
fn for_each_largest<T: Number>(x: &[T], size: [usize; 2], window: Window, mut f: impl FnMut(usize, usize)) {
    let Some([down, across]) = window.counts(size) else { return };
    let plane = size[0] * size[1];
    let [row_stride, column_stride] = window.stride.map(|stride| stride as usize);
    let mut number = 0;
    for start in (0..x.len()).step_by(plane.max(1)) {
        for row in 0..down {
            for column in 0..across {
                let corner = start + row * row_stride * size[1] + column * column_stride;
                let (mut position, mut largest) = (corner, x[corner]);
                for i in 0..window.kernel[0] as usize {
                    let from = corner + i * size[1];
                    for (j, &x) in x[from..from + window.kernel[1] as usize].iter().enumerate() {
                        if x > largest || x.is_nan() {
                            (position, largest) = (from + j, x);
                        }
                    }
                }
                f(number, position);
                number += 1;
            }
        }
    }
}

/// The numbers of elements in a plane and in the plane of its windows.
#[derive(Clone, Copy)]
struct Planes {
    elements: usize,
    windows: usize,
}

impl Planes {
    /// Returns `None` if there is no window.
    fn new(size: [usize; 2], window: Window) -> Option<Self> {
        let [down, across] = window.counts(size)?;
        Some(Self { elements: (size[0] * size[1]).max(1), windows: (down * across).max(1) })
    }

    /// Calls `f` with the windows of some planes, in `y`, and the range of the elements of these planes.
    fn to_windows<T: Number>(self, y: &mut [T], window: Window, f: impl Fn(Range<usize>, &mut [T]) + Sync) {
        in_pieces(y, self.windows, (PIECE / window.elements()).max(1), |start, y| {
            f(start / self.windows * self.elements..(start + y.len()) / self.windows * self.elements, y);
        });
    }

    /// Calls `f` with the elements of some planes, in `y`, and the range of the windows of these planes.
    fn to_elements<T: Number>(self, y: &mut [T], f: impl Fn(Range<usize>, &mut [T]) + Sync) {
        in_pieces(y, self.elements, PIECE, |start, y| {
            f(start / self.elements * self.windows..(start + y.len()) / self.elements * self.windows, y);
        });
    }
}

/// `y[w] = values[p]`, where `p` is the position of the largest element of window `w` of `x`.
pub(crate) fn max_pool<T: Number>(x: &[T], values: &[T], size: [usize; 2], window: Window, y: &mut [T]) {
    let Some(planes) = Planes::new(size, window) else { return };
    planes.to_windows(y, window, |from, y| {
        let (x, values) = (&x[from.clone()], &values[from]);
        match Rows::<T>::stride(window) {
            Some(1) => dispatch(Pool::<T, 1> { x, values, size, window, y }),
            Some(2) => dispatch(Pool::<T, 2> { x, values, size, window, y }),
            _ => for_each_largest(x, size, window, inlined!(|number, position| y[number] = values[position])),
        }
    });
}

/// `y[p] += g[w]`, where `p` is the position of the largest element of window `w` of `x`.
pub(crate) fn add_max_unpool<T: Number>(x: &[T], g: &[T], size: [usize; 2], window: Window, y: &mut [T]) {
    let Some(planes) = Planes::new(size, window) else { return };
    planes.to_elements(y, |from, y| {
        let x = &x[from.start / planes.windows * planes.elements..][..y.len()];
        let g = &g[from];
        match Rows::<T>::stride(window) {
            Some(1) => dispatch(Unpool::<T, 1> { x, g, size, window, y }),
            Some(2) => dispatch(Unpool::<T, 2> { x, g, size, window, y }),
            _ => for_each_largest(x, size, window, inlined!(|number, position| y[position] += g[number])),
        }
    });
}

/// The most windows that are searched side by side.
const WIDTH: usize = 64;

/// Some neighbouring windows of a row, side by side.
struct Rows<T> {
    /// The largest element of each window so far.
    largest: [T; WIDTH],
    /// Its place in the window, row by row. A number of the same size as an element fills the same vectors.
    place: [T; WIDTH],
}

impl<T: Number> Rows<T> {
    /// Returns the column stride if there is a loop for it. A row of a window is a whole number of strides.
    fn stride(window: Window) -> Option<u32> {
        let stride = window.stride[1];
        // So that a place is exact in f32.
        let is_small = window.elements() < 1 << 24;
        (is_small && stride <= 2 && window.kernel[1].is_multiple_of(stride)).then_some(stride)
    }

    /// Finds the largest elements of `count` windows, the same as [`for_each_largest`]. `x` begins with the first
    /// window; `width` is the length of a row of the plane.
    #[inline(always)]
    fn find<const STRIDE: usize>(&mut self, x: &[T], width: usize, window: Window, count: usize) {
        let [height, across] = window.kernel.map(|length| length as usize);
        let (largest, place) = (&mut self.largest[..count], &mut self.place[..count]);
        for i in 0..height {
            for j in 0..across {
                let x = &x[i * width + j / STRIDE * STRIDE..][..count * STRIDE].as_chunks::<STRIDE>().0[..count];
                let number = T::from_f64((i * across + j) as f64);
                for c in 0..count {
                    let x = x[c][j % STRIDE];
                    let take = (i + j == 0) | (x > largest[c]) | x.is_nan();
                    largest[c] = if take { x } else { largest[c] };
                    place[c] = if take { number } else { place[c] };
                }
            }
        }
    }
}

/// Calls `f` for each run of neighbouring windows. The arguments are their largest elements, the position of the first
/// window in `x`, the number of windows before it, and the length of the run.
#[inline(always)]
fn for_each_row<T: Number, const STRIDE: usize>(
    x: &[T],
    size: [usize; 2],
    window: Window,
    mut f: impl FnMut(&Rows<T>, usize, usize, usize),
) {
    let Some([down, across]) = window.counts(size) else { return };
    let mut rows = Rows { largest: [T::ZERO; WIDTH], place: [T::ZERO; WIDTH] };
    let mut number = 0;
    for plane in (0..x.len()).step_by((size[0] * size[1]).max(1)) {
        for row in 0..down {
            for column in (0..across).step_by(WIDTH) {
                let count = WIDTH.min(across - column);
                let start = plane + row * window.stride[0] as usize * size[1] + column * STRIDE;
                rows.find::<STRIDE>(&x[start..], size[1], window, count);
                f(&rows, start, number, count);
                number += count;
            }
        }
    }
}

/// The loop of [`max_pool`].
struct Pool<'a, T, const STRIDE: usize> {
    x: &'a [T],
    values: &'a [T],
    size: [usize; 2],
    window: Window,
    y: &'a mut [T],
}

impl<T: Number, const STRIDE: usize> WithSimd for Pool<'_, T, STRIDE> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { x, values, size, window, y } = self;
        let [height, across] = window.kernel.map(|length| length as usize);
        let of_itself = std::ptr::eq(x, values);
        for_each_row::<T, STRIDE>(
            x,
            size,
            window,
            inlined!(|rows, start, number, count| {
                let (y, place) = (&mut y[number..number + count], &rows.place[..count]);
                if of_itself {
                    return y.copy_from_slice(&rows.largest[..count]);
                }
                for i in 0..height {
                    for j in 0..across {
                        let from = start + i * size[1] + j / STRIDE * STRIDE;
                        let values = &values[from..from + count * STRIDE].as_chunks::<STRIDE>().0[..count];
                        let number = T::from_f64((i * across + j) as f64);
                        for c in 0..count {
                            let value = values[c][j % STRIDE];
                            y[c] = if place[c] == number { value } else { y[c] };
                        }
                    }
                }
            }),
        );
    }
}

/// The loop of [`add_max_unpool`].
struct Unpool<'a, T, const STRIDE: usize> {
    x: &'a [T],
    g: &'a [T],
    size: [usize; 2],
    window: Window,
    y: &'a mut [T],
}

impl<T: Number, const STRIDE: usize> WithSimd for Unpool<'_, T, STRIDE> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { x, g, size, window, y } = self;
        let [height, across] = window.kernel.map(|length| length as usize);
        for_each_row::<T, STRIDE>(
            x,
            size,
            window,
            inlined!(|rows, start, number, count| {
                let (g, place) = (&g[number..number + count], &rows.place[..count]);
                for i in 0..height {
                    // From right to left: an element in several windows adds their numbers from left to right.
                    for j in (0..across).rev() {
                        let from = start + i * size[1] + j / STRIDE * STRIDE;
                        let y = &mut y[from..from + count * STRIDE].as_chunks_mut::<STRIDE>().0[..count];
                        let number = T::from_f64((i * across + j) as f64);
                        for c in 0..count {
                            let old = y[c][j % STRIDE];
                            y[c][j % STRIDE] = if place[c] == number { old + g[c] } else { old };
                        }
                    }
                }
            }),
        );
    }
}

/// Writes the mean of each window of each plane.
pub(crate) fn avg_pool<T: Number>(x: &[T], size: [usize; 2], window: Window, y: &mut [T]) {
    let Some(planes) = Planes::new(size, window) else { return };
    planes.to_windows(y, window, |from, y| avg_pool_of(&x[from], size, window, y));
}

/// Adds an equal part of each `g` to all elements of its window: the adjoint of [`avg_pool`].
pub(crate) fn add_avg_unpool<T: Number>(g: &[T], size: [usize; 2], window: Window, y: &mut [T]) {
    let Some(planes) = Planes::new(size, window) else { return };
    planes.to_elements(y, |from, y| add_avg_unpool_of(&g[from], size, window, y));
}

fn avg_pool_of<T: Number>(x: &[T], size: [usize; 2], window: Window, y: &mut [T]) {
    let Some([down, across]) = window.counts(size) else { return };
    let (count, stride) = (T::from_f64(window.elements() as f64), window.stride[1] as usize);
    let planes = x.chunks_exact((size[0] * size[1]).max(1)).zip(y.chunks_exact_mut((down * across).max(1)));
    for (x, y) in planes {
        for (row, y) in y.chunks_exact_mut(across).enumerate() {
            y.fill(T::ZERO);
            for i in 0..window.kernel[0] as usize {
                let from = (row * window.stride[0] as usize + i) * size[1];
                for j in 0..window.kernel[1] as usize {
                    y.iter_mut().zip(x[from + j..].iter().step_by(stride)).for_each(|(y, &x)| *y += x);
                }
            }
            y.iter_mut().for_each(|y| *y /= count);
        }
    }
}

fn add_avg_unpool_of<T: Number>(g: &[T], size: [usize; 2], window: Window, y: &mut [T]) {
    let Some([down, across]) = window.counts(size) else { return };
    let (count, stride) = (T::from_f64(window.elements() as f64), window.stride[1] as usize);
    let planes = y.chunks_exact_mut((size[0] * size[1]).max(1)).zip(g.chunks_exact((down * across).max(1)));
    for (y, g) in planes {
        for (row, g) in g.chunks_exact(across).enumerate() {
            for i in 0..window.kernel[0] as usize {
                let from = (row * window.stride[0] as usize + i) * size[1];
                for j in 0..window.kernel[1] as usize {
                    y[from + j..].iter_mut().step_by(stride).zip(g).for_each(|(y, &g)| *y += g / count);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The loops for windows side by side against those for one window after the other, bit for bit.
    #[test]
    fn windows_side_by_side_equal_one_after_the_other() {
        // Few different numbers, so that there are ties.
        let number = |i: usize| ((i * 7919) % 11) as f32 - 5.0;
        for (size, kernel, stride) in [
            ([6, 8], [2, 2], [2, 2]),
            ([5, 7], [2, 2], [2, 2]),
            ([4, 200], [2, 2], [1, 2]),
            ([5, 131], [3, 3], [1, 1]),
            ([9, 9], [3, 4], [2, 2]),
            ([3, 70], [1, 2], [3, 1]),
        ] {
            let window = Window::new(kernel, stride);
            let counts = window.counts(size).expect("windows fit");
            let (elements, windows) = (3 * size[0] * size[1], 3 * counts[0] * counts[1]);
            for with_nan in [false, true] {
                let x: Vec<f32> =
                    (0..elements).map(|i| if with_nan && i % 5 == 2 { f32::NAN } else { number(i) }).collect();
                let values: Vec<f32> = (0..elements).map(|i| number(i + 3)).collect();
                let g: Vec<f32> = (0..windows).map(|i| 0.1 + number(i) / 3.0).collect();
                let (mut own, mut others, mut sums) = (vec![0.0; windows], vec![0.0; windows], vec![-0.0; elements]);
                for_each_largest(&x, size, window, |number, position| {
                    own[number] = x[position];
                    others[number] = values[position];
                    sums[position] += g[number];
                });
                let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                let mut y = vec![1.0; windows];
                max_pool(&x, &x, size, window, &mut y);
                assert_eq!(bits(&y), bits(&own), "{size:?} {window}");
                max_pool(&x, &values, size, window, &mut y);
                assert_eq!(bits(&y), bits(&others), "{size:?} {window}");
                let mut y = vec![-0.0; elements];
                add_max_unpool(&x, &g, size, window, &mut y);
                assert_eq!(bits(&y), bits(&sums), "{size:?} {window}");
            }
        }
    }
}
