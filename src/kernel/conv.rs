//! Convolution of images as matrix products (im2col): each patch of an image is a column of a matrix.
//!
//! Images are `(count, channels, height, width)`, results `(count, out, down, across)`, a weight is
//! `(out, channels, height, width)`, all row-major. `scratch` holds the patch matrix of one image.

use crate::kernel::matmul::{Accumulate, Matmul, MatrixRef, matmul};
use crate::kernel::window::Patches;
use crate::number::Number;

/// Returns the number of elements of scratch memory.
pub(crate) fn scratch(patches: &Patches) -> usize {
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
    scratch: &mut [T],
    y: &mut [T],
) {
    let (inner, columns) = (patches.rows(), patches.columns());
    if y.is_empty() {
        return;
    }
    for (n, y) in y.chunks_exact_mut(out * columns).enumerate() {
        let x = &x[n * patches.elements()..(n + 1) * patches.elements()];
        let matrix = patches_of(x, patches, scratch);
        matmul(out, columns, inner, rows(w, inner), rows(matrix, columns), y, Accumulate::No);
    }
}

/// `dw += g · patches(x)ᵀ`, summed over the images.
pub(crate) fn add_conv2d_weight<T: Number + Matmul>(
    x: &[T],
    g: &[T],
    out: usize,
    patches: &Patches,
    scratch: &mut [T],
    dw: &mut [T],
) {
    let (inner, columns) = (patches.rows(), patches.columns());
    if g.is_empty() {
        return;
    }
    for (n, g) in g.chunks_exact(out * columns).enumerate() {
        let x = &x[n * patches.elements()..(n + 1) * patches.elements()];
        let matrix = patches_of(x, patches, scratch);
        matmul(out, inner, columns, rows(g, columns), transposed(matrix, columns), dw, Accumulate::Yes);
    }
}

/// `dx += scatter(Wᵀ · g)` for each image: each column is a patch, and it is added to the place that the patch comes
/// from.
pub(crate) fn add_conv2d_input<T: Number + Matmul>(
    g: &[T],
    w: &[T],
    out: usize,
    patches: &Patches,
    scratch: &mut [T],
    dx: &mut [T],
) {
    let (inner, columns) = (patches.rows(), patches.columns());
    if g.is_empty() || dx.is_empty() {
        return;
    }
    for (g, dx) in g.chunks_exact(out * columns).zip(dx.chunks_exact_mut(patches.elements())) {
        if patches.are_elements() {
            matmul(inner, columns, out, transposed(w, inner), rows(g, columns), dx, Accumulate::Yes);
        } else {
            matmul(inner, columns, out, transposed(w, inner), rows(g, columns), scratch, Accumulate::No);
            patches.scatter_add(scratch, dx);
        }
    }
}
