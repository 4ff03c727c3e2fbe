//! Normalization by mean and variance over a set of axes, for layer and batch normalization, and its pullback.
//!
//! | groups | way |
//! |---|---|
//! | rows of the array | `rows`: all steps for one row, then the next |
//! | channels of images | `planes`: the numbers of each channel, then one pass over all images |
//! | others | `groups`: each step is a pass over all groups |
//!
//! A sum is added in the order of [`reduce`] in each of them, so the gradients have the bits that the single operations
//! would give: a product by the gain, a sum, and the pullback of the normalization alone.

mod groups;
mod moments;
mod planes;
mod rows;

use self::groups::Groups;
use self::planes::Planes;
use crate::kernel::elementwise;
use crate::kernel::reduce::{self, Group};
use crate::kernel::view::{self, View};
use crate::memory::{Lent, Pool};
use crate::number::{Number, inlined};
use crate::shape::{AxisSet, elements};
use crate::threads::{self, PIECE};

/// How the groups lie in memory.
enum Layout {
    Rows { width: usize },
    Planes(Planes),
    Others,
}

impl Layout {
    fn of(shape: &[usize], axes: AxisSet) -> Self {
        match *reduce::groups(shape, axes) {
            _ if elements(shape) == 0 => Self::Others,
            // Threads share a row that is very long.
            [Group { reduced: true, length: width }]
            | [Group { reduced: false, .. }, Group { reduced: true, length: width }]
                if width < 2 * PIECE || threads::count() == 1 =>
            {
                Self::Rows { width }
            }
            [
                Group { reduced: true, length: count },
                Group { reduced: false, length: channels },
                Group { reduced: true, length },
            ] => Self::Planes(Planes { count, channels, length }),
            _ => Self::Others,
        }
    }

    /// Returns the layout for a gain and a bias of these shapes: rows take numbers for each column, channels a number for
    /// each channel.
    fn with(self, shape: &[usize], axes: AxisSet, operands: [&[usize]; 2]) -> Self {
        let spreads = |kept: &dyn Fn(usize) -> bool| {
            operands.iter().all(|operand| {
                let missing = shape.len() - operand.len();
                let length = |axis: usize| axis.checked_sub(missing).map_or(1, |axis| operand[axis]);
                (0..shape.len()).all(|axis| length(axis) == if kept(axis) { shape[axis] } else { 1 })
            })
        };
        match self {
            Self::Rows { .. } if spreads(&|axis| axes.contains(axis)) => self,
            Self::Planes(_) if spreads(&|axis| !axes.contains(axis)) => self,
            _ => Self::Others,
        }
    }
}

/// Writes `(x - mean) / √(variance + eps)` over `axes` to `y`.
pub(crate) fn normalize<T: Number>(x: &[T], shape: &[usize], axes: AxisSet, eps: T, y: &mut [T], pool: &Pool<T>) {
    match Layout::of(shape, axes) {
        Layout::Rows { width } => rows::normalize(x, width, eps, None, y),
        Layout::Planes(planes) => planes.normalize(x, eps, None, y, pool),
        Layout::Others => {
            let groups = Groups::new(shape, axes);
            let (mut scratch, mut inverse) = (pool.lend(x.len()), pool.lend(groups.count()));
            groups.normalize(x, eps, &mut scratch, y, &mut inverse);
        }
    }
}

/// Writes `(x - mean) / √(variance + eps) · gain + bias` over `axes` to `y`. Gain and bias broadcast to the shape.
pub(crate) fn normalize_affine<T: Number>(
    x: &[T],
    [gain, bias]: [View<'_, T>; 2],
    shape: &[usize],
    axes: AxisSet,
    eps: T,
    y: &mut [T],
    pool: &Pool<T>,
) {
    let layout = Layout::of(shape, axes).with(shape, axes, [gain.shape, bias.shape]);
    if let Layout::Others = layout {
        normalize(x, shape, axes, eps, y, pool);
        let mut product = pool.lend(y.len());
        elementwise::zip(View::contiguous(y, shape), gain, shape, &mut product, inlined!(|y, gain| y * gain));
        elementwise::zip(View::contiguous(&product, shape), bias, shape, y, inlined!(|y, bias| y + bias));
        return;
    }
    let (gain, bias) = (numbers(gain, pool), numbers(bias, pool));
    match layout {
        Layout::Rows { width } => rows::normalize(x, width, eps, Some([&gain, &bias]), y),
        Layout::Planes(planes) => planes.normalize(x, eps, Some([&gain, &bias]), y, pool),
        Layout::Others => {}
    }
}

/// Writes `1 / √(variance + eps)` of each group to `out`.
pub(crate) fn inverse_std<T: Number>(x: &[T], shape: &[usize], axes: AxisSet, eps: T, out: &mut [T], pool: &Pool<T>) {
    match Layout::of(shape, axes) {
        Layout::Rows { width } => rows::inverse_std(x, width, eps, out),
        Layout::Planes(planes) => planes.inverse_std(x, eps, out, pool),
        Layout::Others => {
            let (mut scratch, mut y) = (pool.lend(x.len()), pool.lend(x.len()));
            Groups::new(shape, axes).normalize(x, eps, &mut scratch, &mut y, out);
        }
    }
}

/// Writes the vjp of [`normalize`] to `out`: `r (g - mean g - y mean(g y))`, where `y` is the normalized `x` and
/// `r = 1 / √(variance + eps)`.
pub(crate) fn pull<T: Number>(x: &[T], g: &[T], shape: &[usize], axes: AxisSet, eps: T, out: &mut [T], pool: &Pool<T>) {
    match Layout::of(shape, axes) {
        Layout::Rows { width } => rows::pull(x, g, width, eps, out),
        Layout::Planes(planes) => planes.pull(x, g, None, eps, [Some(out), None, None], pool),
        Layout::Others => {
            let (mut y, mut scratch) = (pool.lend(x.len()), pool.lend(x.len()));
            let groups = Groups::new(shape, axes);
            let (mut inverse, mut numbers) = (pool.lend(groups.count()), pool.lend(2 * groups.count()));
            groups.normalize(x, eps, &mut scratch, &mut y, &mut inverse);
            groups.pull(g, &y, &inverse, &mut numbers, &mut scratch, out);
        }
    }
}

/// Writes the vjp of [`normalize_affine`] for its three operands, if they are wanted: with `h = g · gain` the vjp of
/// [`normalize`], `Σ g y` and `Σ g`. The sums have the shapes of gain and bias.
#[allow(clippy::too_many_arguments)]
pub(crate) fn pull_affine<T: Number>(
    x: &[T],
    g: &[T],
    [gain, bias]: [View<'_, T>; 2],
    shape: &[usize],
    axes: AxisSet,
    eps: T,
    grads: [Option<&mut [T]>; 3],
    pool: &Pool<T>,
) {
    match Layout::of(shape, axes).with(shape, axes, [gain.shape, bias.shape]) {
        Layout::Rows { .. } => rows::pull_affine(x, g, &numbers(gain, pool), eps, grads, pool),
        Layout::Planes(planes) => planes.pull(x, g, Some(&numbers(gain, pool)), eps, grads, pool),
        Layout::Others => {
            let [out, of_gain, of_bias] = grads;
            let (mut y, mut scratch) = (pool.lend(x.len()), pool.lend(x.len()));
            let groups = Groups::new(shape, axes);
            let (mut inverse, mut numbers) = (pool.lend(groups.count()), pool.lend(2 * groups.count()));
            groups.normalize(x, eps, &mut scratch, &mut y, &mut inverse);
            if let Some(out) = of_bias {
                reduce::sum(g, shape, AxisSet::stretched(bias.shape, shape), out);
            }
            if let Some(out) = of_gain {
                elementwise::zip_slices(&mut scratch, g, &y, inlined!(|g, y| g * y));
                reduce::sum(&scratch, shape, AxisSet::stretched(gain.shape, shape), out);
            }
            if let Some(out) = out {
                let mut h = pool.lend(x.len());
                elementwise::zip(View::contiguous(g, shape), gain, shape, &mut h, inlined!(|g, gain| g * gain));
                groups.pull(&h, &y, &inverse, &mut numbers, &mut scratch, out);
            }
        }
    }
}

/// Returns the elements of an operand, one after the other.
fn numbers<'a, T: Number>(x: View<'_, T>, pool: &'a Pool<T>) -> Lent<'a, T> {
    let mut copy = pool.lend(elements(x.shape));
    view::copy(x, x.shape, &mut copy);
    copy
}
