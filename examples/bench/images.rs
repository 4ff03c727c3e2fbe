//! W9: a small convolutional network on 64 images of 28 × 28.
//!
//! ```text
//! x (64, 1, 28, 28)
//!   conv 5×5, 1 → 16, relu, max-pool 2×2   (64, 16, 12, 12)
//!   conv 5×5, 16 → 32, relu, max-pool 2×2  (64, 32, 4, 4)
//!   flatten, linear                        (64, 10)
//! mean cross-entropy of labels
//! ```
//!
//! Streams: 900 is the input, in `[0, 1)`, and 901 the labels. 902 to 907 are both kernels with their biases, then the weight
//! `(512, 10)` with its bias. Fan-ins are 25, 25, 400, 400, 512, 512; the bounds are those of W1 to W6.

use std::sync::Arc;

use tapegrad::{Param, Reduction, Scalar};

use crate::data;
use crate::step::{Step, train};
use crate::workload::{Path, Workload};

pub const BATCH: usize = 64;

/// Returns a step of W9.
pub fn step<T: Scalar>(path: Path) -> Step<T> {
    let stream = Workload::W9.stream();
    let x = Arc::new(data::array(stream, (BATCH, 1, 28, 28), |u| u));
    let labels = data::labels(stream + 1, BATCH, 10);
    let params = [
        Param::new(data::weight(stream + 2, (16, 1, 5, 5), 25)),
        data::bias(stream + 3, 16, 25),
        Param::new(data::weight(stream + 4, (32, 16, 5, 5), 400)),
        data::bias(stream + 5, 32, 400),
        Param::new(data::weight(stream + 6, (512, 10), 512)),
        data::bias(stream + 7, 10, 512),
    ];
    train(path, x, params.to_vec(), move |tape, x| {
        let [k1, b1, k2, b2, w, b] = params.each_ref().map(|param| tape.param(param));
        let h = x.conv2d(k1, Some(b1), 1, 0).relu().max_pool2d(2, 2);
        let h = h.conv2d(k2, Some(b2), 1, 0).relu().max_pool2d(2, 2);
        (h.reshape([BATCH, 512]).matmul(w) + b).cross_entropy_labels(&labels, Reduction::Mean)
    })
}
