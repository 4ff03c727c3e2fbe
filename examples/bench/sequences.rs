//! W10: an LSTM of 64 units over 50 time steps of 32 features, batch 32; the last hidden state goes through a linear layer
//! to 10 classes. The loss is the mean cross-entropy of labels.
//!
//! `h` and `c` begin at 0, and at each time step
//!
//! ```text
//! i, f, g, o = the four quarters of x_t Wx + h Wh + b      Wx (32, 256), Wh (64, 256), b (256)
//! c = σ(f) c + σ(i) tanh(g)
//! h = σ(o) tanh(c)
//! ```
//!
//! Streams: 1000 is the input, `(time, batch, feature)` in `[-1, 1)`, and 1001 the labels. 1002 to 1006 are `Wx`, `Wh`, `b`,
//! and the linear layer's weight `(64, 10)` and bias. Fan-ins are 32, 64, 64, 64, 64; the bounds are those of W1 to W6.

use std::sync::Arc;

use ndarray::Array2;
use tapegrad::{Param, Reduction, Scalar};

use crate::data;
use crate::step::{Step, train};
use crate::workload::{Path, Workload};

pub const TIMES: usize = 50;
pub const BATCH: usize = 32;
pub const FEATURES: usize = 32;
pub const HIDDEN: usize = 64;

/// Returns a step of W10.
pub fn step<T: Scalar>(path: Path) -> Step<T> {
    let stream = Workload::W10.stream();
    let x = Arc::new(data::array(stream, (TIMES, BATCH, FEATURES), data::symmetric));
    let labels = data::labels(stream + 1, BATCH, 10);
    let zero = Arc::new(Array2::zeros((BATCH, HIDDEN)));
    let params = [
        Param::new(data::weight(stream + 2, (FEATURES, 4 * HIDDEN), FEATURES)),
        Param::new(data::weight(stream + 3, (HIDDEN, 4 * HIDDEN), HIDDEN)),
        data::bias(stream + 4, 4 * HIDDEN, HIDDEN),
        Param::new(data::weight(stream + 5, (HIDDEN, 10), HIDDEN)),
        data::bias(stream + 6, 10, HIDDEN),
    ];
    train(path, x, params.to_vec(), move |tape, x| {
        let [wx, wh, b, w, bias] = params.each_ref().map(|param| tape.param(param));
        let mut h = tape.constant(&zero);
        let mut c = h;
        for time in 0..TIMES {
            let x = x.slice(0, time..time + 1).squeeze(0);
            let z = x.matmul(wx) + h.matmul(wh) + b;
            let [i, f, g, o] = [0, 1, 2, 3].map(|k| z.slice(1, k * HIDDEN..(k + 1) * HIDDEN));
            c = f.sigmoid() * c + i.sigmoid() * g.tanh();
            h = o.sigmoid() * c.tanh();
        }
        (h.matmul(w) + bias).cross_entropy_labels(&labels, Reduction::Mean)
    })
}
