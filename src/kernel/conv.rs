//! Convolution of images as matrix products (im2col): each patch of an image is a column of a matrix.
//!
//! Images are `(count, channels, height, width)`, results `(count, out, down, across)`, a weight is
//! `(out, channels, height, width)`, all row-major. [`Scratch`] is the memory for the patch
//! matrix of an image, for each thread.

use std::ops::Range;

use crate::kernel::matmul::{Accumulate, Matmul, MatrixRef, matmul};
use crate::kernel::window::Patches;
use crate::number::Number;
use crate::threads::{self, PIECE};

/// Convolutions of fewer multiplications stay on their thread.
const PARALLEL: usize = 1 << 20;
/// The number of groups of images whose weight gradients are summed separately, then added in order. It depends on shapes
/// alone.
const GROUPS: usize = 8;

/// The memory that a convolution needs.
#[derive(Clone, Copy)]
pub(crate) struct Scratch {
    /// The number of groups of images.
    groups: usize,
    /// The number of parts that run at the same time.
    parts: usize,
    /// The number of elements for each part.
    patches: usize,
}

impl Scratch {
    /// Returns the memory for images that are computed independently.
    pub(crate) fn of_images(patches: &Patches, out: usize, images: usize) -> Self {
        let parts = if is_large(patches, out, images) { threads::count().min(images) } else { 1 };
        Self { groups: images, parts, patches: patch_elements(patches) }
    }

    /// Returns the memory for the gradient of a weight of this many elements. A large weight is not divided: its
    /// matrix products are shared.
    pub(crate) fn of_weight(patches: &Patches, out: usize, images: usize) -> Self {
        let divided = is_large(patches, out, images) && out * patches.rows() <= PIECE;
        let groups = if divided { images.min(GROUPS) } else { 1 };
        Self { groups, parts: threads::count().min(groups), patches: patch_elements(patches) }
    }

    /// Returns the number of elements.
    pub(crate) fn elements(&self) -> usize {
        self.parts * self.patches
    }

    /// Returns the number of elements for the gradients of the groups.
    pub(crate) fn elements_of_groups(&self, weight: usize) -> usize {
        self.groups * weight
    }

    /// Calls `f` for each group with its number, its `size` elements of `out`, and memory: one after the other, or for
    /// several at the same time.
    fn for_each_group<T: Number>(
        self,
        out: &mut [T],
        size: usize,
        memory: &mut [T],
        f: impl Fn(usize, &mut [T], &mut [T]) + Sync,
    ) {
        if self.parts == 1 {
            return out.chunks_exact_mut(size).enumerate().for_each(|(group, out)| f(group, out, memory));
        }
        self.share(0, out, size, memory, &f);
    }

    fn share<T: Number>(
        self,
        start: usize,
        out: &mut [T],
        size: usize,
        memory: &mut [T],
        f: &(impl Fn(usize, &mut [T], &mut [T]) + Sync),
    ) {
        let parts = self.parts / 2;
        if parts == 0 {
            let groups = out.chunks_exact_mut(size).enumerate();
            return threads::alone(|| groups.for_each(|(group, out)| f(start + group, out, memory)));
        }
        let groups = self.groups * parts / self.parts;
        let (first, second) =
            (Self { groups, parts, ..self }, Self { groups: self.groups - groups, parts: self.parts - parts, ..self });
        let (out, out_after) = out.split_at_mut(groups * size);
        let (memory, memory_after) = memory.split_at_mut(parts * self.patches);
        threads::join(
            || first.share(start, out, size, memory, f),
            || second.share(start + groups, out_after, size, memory_after, f),
        );
    }
}

fn is_large(patches: &Patches, out: usize, images: usize) -> bool {
    [out, patches.rows(), patches.columns()].into_iter().fold(images, usize::saturating_mul) >= PARALLEL
}

/// Returns the number of elements of the patch matrix of an image, if it is a copy.
fn patch_elements(patches: &Patches) -> usize {
    if patches.are_elements() { 0 } else { patches.rows() * patches.columns() }
}

/// Returns a row-major matrix.
fn rows<T>(data: &[T], columns: usize) -> MatrixRef<'_, T> {
    MatrixRef { data, row_stride: columns, col_stride: 1 }
}

/// Returns the transpose of a row-major matrix.
fn transposed<T>(data: &[T], columns: usize) -> MatrixRef<'_, T> {
    MatrixRef { data, row_stride: 1, col_stride: columns }
}

/// Returns the patch matrix of an image: the image itself if each patch is one element, else a copy in the scratch
/// memory.
fn patches_of<'a, T: Number>(x: &'a [T], patches: &Patches, scratch: &'a mut [T]) -> &'a [T] {
    if patches.are_elements() {
        return x;
    }
    patches.gather(x, scratch);
    scratch
}

/// `y = W · patches(x)` for each image.
pub(crate) fn conv2d<T: Number + Matmul>(
    x: &[T],
    w: &[T],
    out: usize,
    patches: &Patches,
    (scratch, memory): (Scratch, &mut [T]),
    y: &mut [T],
) {
    let (inner, columns) = (patches.rows(), patches.columns());
    if y.is_empty() {
        return;
    }
    scratch.for_each_group(y, out * columns, memory, |n, y, memory| {
        let x = &x[n * patches.elements()..(n + 1) * patches.elements()];
        let matrix = patches_of(x, patches, memory);
        matmul(out, columns, inner, rows(w, inner), rows(matrix, columns), y, Accumulate::No);
    });
}

/// `dw += g · patches(x)ᵀ`, summed over the images. `sums` is memory for the gradients of groups of images.
pub(crate) fn add_conv2d_weight<T: Number + Matmul>(
    x: &[T],
    g: &[T],
    out: usize,
    patches: &Patches,
    (scratch, memory, sums): (Scratch, &mut [T], &mut [T]),
    dw: &mut [T],
) {
    let (inner, columns) = (patches.rows(), patches.columns());
    if g.is_empty() || dw.is_empty() {
        return;
    }
    let images = g.len() / (out * columns);
    // The transposed gradient, `patches(x) · gᵀ`: the product reads the large patch matrix along its rows.
    let add = |images: Range<usize>, sum: &mut [T], memory: &mut [T]| {
        for n in images {
            let (x, g) = (&x[n * patches.elements()..], &g[n * out * columns..(n + 1) * out * columns]);
            let matrix = patches_of(&x[..patches.elements()], patches, memory);
            matmul(inner, out, columns, rows(matrix, columns), transposed(g, columns), sum, Accumulate::Yes);
        }
    };
    scratch.for_each_group(sums, dw.len(), memory, |group, sum, memory| {
        sum.fill(T::ZERO);
        add(group * images / scratch.groups..(group + 1) * images / scratch.groups, sum, memory);
    });
    for sum in sums.chunks_exact(dw.len()) {
        for (o, dw) in dw.chunks_exact_mut(inner).enumerate() {
            dw.iter_mut().zip(sum[o..].iter().step_by(out)).for_each(|(dw, &sum)| *dw += sum);
        }
    }
}

/// `dx += scatter(Wᵀ · g)` for each image: each column is a patch, and it is added to the place that the patch comes
/// from.
pub(crate) fn add_conv2d_input<T: Number + Matmul>(
    g: &[T],
    w: &[T],
    out: usize,
    patches: &Patches,
    (scratch, memory): (Scratch, &mut [T]),
    dx: &mut [T],
) {
    let (inner, columns) = (patches.rows(), patches.columns());
    if g.is_empty() || dx.is_empty() {
        return;
    }
    scratch.for_each_group(dx, patches.elements(), memory, |n, dx, memory| {
        let g = &g[n * out * columns..(n + 1) * out * columns];
        if patches.are_elements() {
            matmul(inner, columns, out, transposed(w, inner), rows(g, columns), dx, Accumulate::Yes);
        } else {
            matmul(inner, columns, out, transposed(w, inner), rows(g, columns), memory, Accumulate::No);
            patches.scatter_add(memory, dx);
        }
    });
}
