//! [`View`]: a slice read through a shape and strides, and [`Reader`], which reads one in row-major order.

use ndarray::{ArrayViewD, IxDyn, ShapeBuilder};
use smallvec::SmallVec;

use crate::number::Number;
use crate::shape::{Shape, elements, row_major_strides};
use crate::threads::{PIECE, in_pieces};

/// An array operand: element `(i, j, …)` is `data[i * strides[0] + j * strides[1] + …]`.
///
/// A stride of 0 repeats an axis: a broadcast operand is not copied.
#[derive(Clone, Copy, Debug)]
pub struct View<'a, T> {
    pub(crate) data: &'a [T],
    pub(crate) shape: &'a [usize],
    /// `None` for row-major order without gaps: the most frequent case by far, and the one with the fast paths.
    pub(crate) strides: Option<&'a [usize]>,
}

impl<'a, T: Number> View<'a, T> {
    /// Returns the view of a row-major array.
    #[inline]
    pub(crate) fn contiguous(data: &'a [T], shape: &'a [usize]) -> Self {
        Self { data: &data[..elements(shape)], shape, strides: None }
    }

    /// Returns the elements as a slice if they are row-major in memory.
    #[inline]
    pub(crate) fn as_slice(&self) -> Option<&'a [T]> {
        self.strides.is_none().then_some(self.data)
    }

    /// Returns the elements of the array broadcast to `shape`, as a slice, if these are row-major in memory.
    #[inline]
    pub(crate) fn row_major_as(&self, shape: &[usize]) -> Option<&'a [T]> {
        // If the number of elements is the same, broadcasting only adds axes of length 1.
        self.as_slice().filter(|data| self.shape == shape || data.len() == elements(shape))
    }

    /// Returns the view as one of `ndarray`.
    pub(crate) fn array(&self) -> ArrayViewD<'a, T> {
        let shape = IxDyn(self.shape);
        match self.strides {
            Some(strides) => ArrayViewD::from_shape(shape.strides(IxDyn(strides)), self.data),
            None => ArrayViewD::from_shape(shape, self.data),
        }
        .expect("a view's memory holds its shape")
    }

    /// Returns the strides; those of a row-major array are computed from its shape.
    pub(crate) fn strides(&self) -> Shape {
        self.strides.map_or_else(|| row_major_strides(self.shape), Shape::from)
    }

    /// Returns the strides of this array broadcast to `shape`: 0 along axes that repeat.
    pub(crate) fn broadcast_strides(&self, shape: &[usize]) -> Shape {
        let own = self.strides();
        let missing = shape.len() - self.shape.len();
        (0..shape.len())
            .map(|axis| match axis.checked_sub(missing) {
                Some(index) if self.shape[index] == shape[axis] => own[index],
                _ => 0,
            })
            .collect()
    }
}

/// Returns the position in memory of the first element of each matrix of a batch, in row-major order of `batch`. The
/// axes of `view` before the last two are broadcast to `batch`.
pub(crate) fn starts<T: Number>(view: View<'_, T>, batch: &[usize]) -> impl Iterator<Item = usize> {
    let outer = view.shape.len() - 2;
    let strides = view.strides();
    let matrices = View { data: view.data, shape: &view.shape[..outer], strides: Some(&strides[..outer]) };
    let mut walk = Walk::new(batch, &matrices.broadcast_strides(batch));
    (0..elements(batch)).map(move |_| walk.run(1).0)
}

/// The largest number of elements that [`read_beside`] gathers at a time: they stay in the first-level cache.
pub(crate) const CHUNK: usize = 512;
/// An array of at most this many elements is small.
const FEW: usize = 64;
/// Runs of at least this many elements are read in place. For shorter ones the calls take more time than gathering.
const LONG: usize = 128;

/// Reads a view, broadcast to a shape, in row-major order, a chunk at a time.
///
/// This is the one strided path of all elementwise kernels. A chunk of a row-major operand is a part of its own slice.
/// Long runs of any other operand are read in place, too. The rest is gathered into a small buffer. So the arithmetic runs on
/// slices only.
pub(crate) struct Reader<'a, T> {
    data: &'a [T],
    /// The number of elements read before.
    start: usize,
    /// `None` for a row-major slice, which is read in place.
    walk: Option<Walk>,
}

impl<'a, T: Number> Reader<'a, T> {
    /// Returns a reader of `view` broadcast to `shape`.
    pub(crate) fn new(view: View<'a, T>, shape: &[usize]) -> Self {
        let walk = match view.row_major_as(shape) {
            Some(_) => None,
            None => Some(Walk::new(shape, &view.broadcast_strides(shape))),
        };
        Self { data: view.data, start: 0, walk }
    }

    /// Returns the reader that goes on at this position, an element of the shape.
    pub(crate) fn at(mut self, position: usize) -> Self {
        self.start = position;
        self.walk = self.walk.map(|walk| walk.at(position));
        self
    }

    /// Returns how many of the next elements are best read at once, at most `limit`: those of a long run in memory, which
    /// need not be gathered.
    #[inline]
    fn ahead(&self, limit: usize) -> usize {
        match &self.walk {
            Some(Walk { inner: (length, 1, index), .. }) if *length >= LONG => limit.min(length - index),
            _ => limit,
        }
    }

    /// Returns the next `length` elements, in `buffer` if they have to be gathered.
    fn next<'b>(&mut self, length: usize, buffer: &'b mut [T]) -> &'b [T]
    where
        'a: 'b,
    {
        let start = self.start;
        self.start += length;
        match &mut self.walk {
            None => &self.data[start..self.start],
            Some(walk) if walk.inner.1 == 1 && walk.inner.0 >= LONG && length <= walk.inner.0 - walk.inner.2 => {
                let (start, length) = walk.run(length);
                &self.data[start..start + length]
            }
            Some(walk) => {
                walk.gather(self.data, &mut buffer[..length]);
                &buffer[..length]
            }
        }
    }
}

impl<T: Number> Reader<'_, T> {
    /// Fills `out` with the next elements. `start` is the number of elements read before.
    pub(crate) fn fill(&mut self, start: usize, out: &mut [T]) {
        match &mut self.walk {
            None => out.copy_from_slice(&self.data[start..start + out.len()]),
            Some(walk) => walk.gather(self.data, out),
        }
    }
}

/// Calls `f(start, y, x)` for one part of `y` after the other, with the position of its first element, and the same part of
/// each view, broadcast to `shape`. The first element of `y` is that of the shape at `start`.
pub(crate) fn read_beside<T: Number, const N: usize>(
    views: [View<'_, T>; N],
    shape: &[usize],
    start: usize,
    y: &mut [T],
    f: impl FnMut(usize, &mut [T], [&[T]; N]),
) {
    let readers = views.map(|view| Reader::new(view, shape).at(start));
    // To fill a large buffer with zeros takes as long as a small operation.
    if y.len() <= FEW {
        read_by::<T, N, FEW>(readers, start, y, f)
    } else {
        read_by::<T, N, CHUNK>(readers, start, y, f)
    }
}

fn read_by<T: Number, const N: usize, const LIMIT: usize>(
    mut readers: [Reader<'_, T>; N],
    start: usize,
    y: &mut [T],
    mut f: impl FnMut(usize, &mut [T], [&[T]; N]),
) {
    let mut buffers = [[T::ZERO; LIMIT]; N];
    let (mut start, mut rest) = (start, y);
    while !rest.is_empty() {
        let length = readers.iter().fold(LIMIT.min(rest.len()), |limit, reader| reader.ahead(limit));
        let (y, after) = rest.split_at_mut(length);
        let mut both = readers.iter_mut().zip(&mut buffers);
        let x = std::array::from_fn(|_| both.next().map_or(&[][..], |(reader, buffer)| reader.next(length, buffer)));
        f(start, y, x);
        (start, rest) = (start + length, after);
    }
}

/// Copies `view`, broadcast to `shape`, into the row-major `out`.
pub(crate) fn copy<T: Number>(view: View<'_, T>, shape: &[usize], out: &mut [T]) {
    match view.row_major_as(shape) {
        Some(data) => in_pieces(out, 1, PIECE, |start, out| out.copy_from_slice(&data[start..][..out.len()])),
        None => in_pieces(out, 1, PIECE, |start, out| {
            Walk::new(shape, &view.broadcast_strides(shape)).at(start).gather(view.data, out);
        }),
    }
}

/// Adds the row-major `g` to a strided part of `data`: the elements that begin at `offset` and have this shape and
/// these strides.
pub(crate) fn scatter_add<T: Number>(data: &mut [T], offset: usize, shape: &[usize], strides: &[usize], g: &[T]) {
    let mut walk = Walk::new(shape, strides);
    let mut rest = g;
    while !rest.is_empty() {
        let (start, length) = walk.run(rest.len());
        let start = offset + start;
        let (run, after) = rest.split_at(length);
        match walk.inner.1 {
            1 => data[start..start + length].iter_mut().zip(run).for_each(|(d, &g)| *d += g),
            stride => {
                for (i, &g) in run.iter().enumerate() {
                    data[start + i * stride] += g;
                }
            }
        }
        rest = after;
    }
}

/// A walk through the positions of a strided array in row-major order, one run along the innermost axis at a time.
struct Walk {
    /// Length, stride and current index of each axis except the innermost.
    outer: SmallVec<[(usize, usize, usize); 4]>,
    /// Length, stride and current index of the innermost axis.
    inner: (usize, usize, usize),
    /// The position of the current outer index.
    offset: usize,
}

impl Walk {
    /// Returns a walk that starts at the first element. Axes that continue each other in memory are joined, so that
    /// runs are long.
    fn new(shape: &[usize], strides: &[usize]) -> Self {
        let mut axes: SmallVec<[(usize, usize, usize); 4]> = SmallVec::new();
        for (&length, &stride) in shape.iter().zip(strides) {
            if length == 1 {
                continue;
            }
            match axes.last_mut() {
                Some(outer) if outer.1 == stride * length => *outer = (outer.0 * length, stride, 0),
                _ => axes.push((length, stride, 0)),
            }
        }
        let inner = axes.pop().unwrap_or((1, 0, 0));
        Self { outer: axes, inner, offset: 0 }
    }

    /// Returns the walk that goes on at this position, an element of the shape.
    fn at(mut self, position: usize) -> Self {
        if position > 0 {
            let (length, _, index) = &mut self.inner;
            let mut rest = position / *length;
            *index = position % *length;
            for (length, stride, index) in self.outer.iter_mut().rev() {
                *index = rest % *length;
                self.offset += *index * *stride;
                rest /= *length;
            }
        }
        self
    }

    /// Returns position and length of the next run, which is at most `limit` long, and moves past it.
    #[inline]
    fn run(&mut self, limit: usize) -> (usize, usize) {
        let (length, stride, index) = self.inner;
        let run = limit.min(length - index);
        let start = self.offset + index * stride;
        if index + run < length {
            self.inner.2 += run;
        } else {
            self.inner.2 = 0;
            for (length, stride, index) in self.outer.iter_mut().rev() {
                *index += 1;
                self.offset += *stride;
                if *index < *length {
                    break;
                }
                self.offset -= *stride * *length;
                *index = 0;
            }
        }
        (start, run)
    }

    /// Fills `out` with the next elements of `data`.
    fn gather<T: Number>(&mut self, data: &[T], out: &mut [T]) {
        let mut rest = out;
        while !rest.is_empty() {
            let (start, length) = self.run(rest.len());
            let (run, after) = rest.split_at_mut(length);
            match self.inner.1 {
                0 => run.fill(data[start]),
                // A loop copies a short run faster than memcpy does.
                1 if length <= 8 => run.iter_mut().zip(&data[start..start + length]).for_each(|(o, &x)| *o = x),
                1 => run.copy_from_slice(&data[start..start + length]),
                stride => run.iter_mut().zip(data[start..].iter().step_by(stride)).for_each(|(o, &x)| *o = x),
            }
            rest = after;
        }
    }
}
