//! Windows that move over the last two axes: patches for convolution, and pooling.

use std::fmt;
use std::ops::Range;

use crate::number::{Classify, Number, inlined};
use crate::threads::{PIECE, in_pieces};

/// A window over two axes: its size, the stride, and the number of zeros around the array.
///
/// Each number has 32 bits, so that operations stay small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub(crate) kernel: [u32; 2],
    pub(crate) stride: [u32; 2],
    pub(crate) padding: [u32; 2],
}

impl Window {
    /// Returns the number of windows along each axis of an array; `None` if the padded array is smaller than a window.
    pub(crate) fn counts(self, size: [usize; 2]) -> Option<[usize; 2]> {
        let along = |axis: usize| {
            let padded = size[axis] + 2 * self.padding[axis] as usize;
            let room = padded.checked_sub(self.kernel[axis] as usize)?;
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
        self.window == Window { kernel: [1, 1], stride: [1, 1], padding: [0, 0] }
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
        let [(row_stride, column_stride), (top, left)] =
            [self.window.stride, self.window.padding].map(|[a, b]| (a as usize, b as usize));
        let mut start = 0;
        for channel in 0..self.channels {
            for i in 0..self.window.kernel[0] as usize {
                for j in 0..self.window.kernel[1] as usize {
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
            piece[..inside.start].fill(T::ZERO);
            piece[inside.end..].fill(T::ZERO);
            let piece = &mut piece[inside];
            match stride {
                1 => piece.copy_from_slice(&x[from..from + piece.len()]),
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
        for_each_largest(x, size, window, inlined!(|number, position| y[number] = values[position]));
    });
}

/// `y[p] += g[w]`, where `p` is the position of the largest element of window `w` of `x`.
pub(crate) fn add_max_unpool<T: Number>(x: &[T], g: &[T], size: [usize; 2], window: Window, y: &mut [T]) {
    let Some(planes) = Planes::new(size, window) else { return };
    planes.to_elements(y, |from, y| {
        let x = &x[from.start / planes.windows * planes.elements..][..y.len()];
        let g = &g[from];
        for_each_largest(x, size, window, inlined!(|number, position| y[position] += g[number]));
    });
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
