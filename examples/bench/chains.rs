//! W7 and W8: `y = tanh(0.9 y + 0.1)` again and again, the mean of `y²`, and its gradient by the first `y`.
//!
//! | | elements | repeats |
//! |---|---|---|
//! | W7 | 1,000,000 | 10 |
//! | W8 | 64 | 200 |
//!
//! The input is the workload's first stream, in `[-1, 1)`. There are no parameters, so nothing is updated.

use std::sync::Arc;

use ndarray::{Array1, Array2, Axis, Zip};
use tapegrad::Scalar;
use tapegrad::nn::{Module, Tanh};

use crate::data;
use crate::step::{Step, along, differentiate};
use crate::workload::{Path, Workload};

const SCALE: f64 = 0.9;
const OFFSET: f64 = 0.1;

/// Returns elements and repeats.
pub fn sizes(workload: Workload) -> (usize, usize) {
    if workload == Workload::W7 { (1_000_000, 10) } else { (64, 200) }
}

/// Returns a step of W7 or W8.
pub fn step<T: Scalar>(workload: Workload, path: Path) -> Step<T> {
    let (length, repeats) = sizes(workload);
    let x: Arc<Array1<T>> = Arc::new(data::array(workload.stream(), length, data::symmetric));
    let (scale, offset) = (T::from_f64(SCALE), T::from_f64(OFFSET));
    match path {
        Path::Tape | Path::Program => {
            differentiate(path, x, move |_, x| (0..repeats).fold(x, |y, _| (y * scale + offset).tanh()).square().mean())
        }
        Path::Jvp | Path::JvpByVjp => {
            along(path, x, move |_, x| (0..repeats).fold(x, |y, _| (y * scale + offset).tanh()).square().mean())
        }
        // The other paths with rows do not exist for a chain.
        Path::Manual | Path::Chunked | Path::ManualChunked => by_hand(&x, repeats, scale, offset),
    }
}

fn by_hand<T: Scalar>(x: &Array1<T>, repeats: usize, scale: T, offset: T) -> Step<T> {
    let x = x.clone().insert_axis(Axis(0));
    let mut links: Vec<(Array2<T>, Tanh<T>)> = (0..repeats).map(|_| (Array2::zeros(x.dim()), Tanh::new())).collect();
    let mut g = Array2::zeros(x.dim());
    Box::new(move |wanted| {
        let mut y: &Array2<T> = &x;
        for (z, tanh) in &mut links {
            Zip::from(&mut *z).and(y).for_each(|z, &y| *z = y * scale + offset);
            y = tanh.forward(z);
        }
        let count = T::from_f64(x.len() as f64);
        let loss = y.iter().map(|&y| y * y).sum::<T>() / count;
        Zip::from(&mut g).and(y).for_each(|g, &y| *g = (y + y) / count);
        for (z, tanh) in links.iter_mut().rev() {
            let delta = tanh.backward_delta(z, &g);
            Zip::from(&mut g).and(delta).for_each(|g, &delta| *g = delta * scale);
        }
        if let Some(list) = wanted {
            list.push(g.row(0).to_owned().into_dyn());
        }
        loss
    })
}
