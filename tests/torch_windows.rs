//! Convolution, pooling and normalization: values and derivatives of orders 1 and 2 against PyTorch's in float64, and
//! against differences. `torch_windows.py` writes the table.

use ndarray::{Array2, Array3, Array4, ArrayD, array};
use serde_json::Value;
use tapegrad::{ConvOptions, PoolDivisor, PoolOptions, RunningStatistics, Tape};

use crate::torch_names::{Function, assert_all_rows_are_used, assert_as_differences, assert_as_in_pytorch};

fn conv() -> ConvOptions {
    ConvOptions::new()
}

/// The same functions as in `torch_windows.py`.
fn functions() -> Vec<(&'static str, Function)> {
    let mut functions: Vec<(&'static str, Function)> = Vec::new();
    macro_rules! add {
        ($name:literal, |$x:ident| $f:expr) => {
            functions.push(($name, |$x| $f))
        };
        ($name:literal, $method:ident, $options:expr) => {
            functions.push(($name, |x| x[0].$method(x[1], x.get(2).copied(), &$options)))
        };
    }
    add!("conv2d", |x| x[0].conv2d(x[1], Some(x[2]), [2, 1], [1, 0]));
    add!("conv2d dilation", conv2d_with, conv().with_padding([2, 1]).with_dilation([2, 3]));
    add!("conv2d dilation stride", conv2d_with, conv().with_stride([2, 3]).with_padding(1).with_dilation([3, 2]));
    add!("conv2d groups", conv2d_with, conv().with_groups(2));
    add!("conv2d depthwise", conv2d_with, conv().with_groups(3).with_padding(1).with_stride(2));
    add!("conv2d all", conv2d_with, conv().with_stride(2).with_padding(1).with_dilation(2).with_groups(2));
    add!("conv1d", conv1d, conv().with_stride(2).with_padding(1));
    add!("conv1d all", conv1d, conv().with_stride(2).with_padding(2).with_dilation(3).with_groups(2));
    add!("conv_transpose2d", conv_transpose2d, conv());
    add!("conv_transpose2d stride", conv_transpose2d, conv().with_stride([2, 3]).with_padding([1, 0]));
    add!("conv_transpose2d output_padding", conv_transpose2d, conv().with_stride([2, 3]).with_output_padding([1, 2]));
    add!("conv_transpose2d dilation", conv_transpose2d, conv().with_dilation([3, 2]).with_padding(1));
    add!("conv_transpose2d groups", conv_transpose2d, conv().with_groups(2).with_stride(2));
    add!("conv_transpose1d", conv_transpose1d, conv().with_stride(2).with_padding(1).with_output_padding(1));
    add!("max_pool2d", |x| x[0].max_pool2d(3, 2).square());
    add!("max_pool2d padding", |x| x[0].max_pool2d_with(&pool()).square());
    add!("avg_pool2d", |x| x[0].avg_pool2d(3, 2).square());
    add!("avg_pool2d padding", |x| x[0].avg_pool2d_with(&pool()).square());
    add!("avg_pool2d elements", |x| { x[0].avg_pool2d_with(&pool().with_divisor(PoolDivisor::Elements)).square() });
    add!("global_max_pool2d", |x| x[0].global_max_pool2d().square());
    add!("global_avg_pool2d", |x| x[0].global_avg_pool2d().square());
    add!("standardize", |x| x[0].standardize([-1], 1e-3));
    add!("standardize axes", |x| x[0].standardize([-2, -1], 1e-3));
    add!("instance norm", |x| x[0].standardize([2, 3], 1e-3));
    add!("layer_norm", |x| x[0].layer_norm(x[1], x[2], 1e-3));
    add!("rms_norm", |x| x[0].rms_norm(x[1], 1e-3));
    add!("rms_norm axes", |x| x[0].rms_norm(x[1], 1e-3));
    add!("batch_norm", |x| x[0].batch_norm(x[1], x[2], 1e-3));
    add!("batch_norm images", |x| x[0].batch_norm(x[1], x[2], 1e-3));
    add!("batch_norm_running", |x| {
        // The averages of one batch, moved twice; they are constants of the recording.
        let running = RunningStatistics::new(2).with_momentum(0.3);
        let (seen, tape) = (spread_images(), x[0].tape());
        running.observe(seen.view());
        running.observe((2.0 * seen).view());
        let [mean, variance] = [running.mean(), running.variance()].map(|average| tape.constant(&*average.value()));
        x[0].batch_norm_with(mean, variance, x[1], x[2], 1e-3)
    });
    add!("batch_norm_with", |x| x[0].batch_norm_with(x[1], x[2], x[3], x[4], 1e-3));
    functions
}

fn pool() -> PoolOptions {
    PoolOptions::new([3, 2]).with_stride([2, 1]).with_padding([1, 1])
}

/// The images of the case `batch_norm_running`: differences move the recorded ones, and not these.
fn spread_images() -> ArrayD<f64> {
    crate::torch_names::spread(&[2, 2, 2, 3], -1.0, 1.0, 0)
}

fn table() -> Value {
    serde_json::from_str(include_str!("files/torch_windows.json")).expect("the table is JSON")
}

#[test]
fn values_and_two_orders_of_derivatives_are_those_of_pytorch() {
    assert_as_in_pytorch(&functions(), &table());
    assert_all_rows_are_used(&functions(), &table());
}

#[test]
fn derivatives_agree_with_differences() {
    assert_as_differences(&functions(), &table());
}

/// `<conv x, y> = <x, conv_transpose y>` for every stride, padding, dilation and number of groups.
#[test]
fn the_transposed_convolution_is_the_adjoint() {
    let number = |i: usize| ((i * 7919) % 23) as f64 - 11.0_f64;
    for groups in [1, 2] {
        for (stride, padding, dilation) in [(1, 0, 1), (2, 1, 1), (3, 2, 1), (1, 1, 2), (2, 0, 3)] {
            let options = conv().with_stride(stride).with_padding(padding).with_dilation(dilation).with_groups(groups);
            let mut count = 0;
            let mut next = |_: (usize, usize, usize, usize)| {
                count += 1;
                number(count)
            };
            let x = Array4::from_shape_fn((2, 4, 9, 8), &mut next);
            let w = Array4::from_shape_fn((6, 4 / groups, 3, 2), &mut next);
            let tape = Tape::new();
            let (x, w) = (tape.leaf(x), tape.leaf(w));
            let y = x.conv2d_with(w, None, &options);
            let g = tape.leaf(y.value().mapv(|y: f64| y % 7.0));
            let rest =
                |axis: usize, kernel: usize| (x.shape()[axis] + 2 * padding - dilation * (kernel - 1) - 1) % stride;
            let back = g.conv_transpose2d(w, None, &options.with_output_padding([rest(2, 3), rest(3, 2)]));
            assert_eq!((y * g).sum().item(), (x * back).sum().item(), "{options:?}");
        }
    }
}

#[test]
fn a_batch_moves_the_running_averages() {
    let tape = Tape::new();
    let x = tape.leaf(array![[1e9, 0.0], [1e9 + 2.0, 4.0]]);
    let (gain, bias) = (tape.leaf(array![1.0, 1.0]), tape.leaf(array![0.0, 0.0]));
    let running = RunningStatistics::new(2);
    let y = x.batch_norm_running(gain, bias, &running, 0.0);
    assert_eq!(y.value(), array![[-1.0, -1.0], [1.0, 1.0]].into_dyn());
    assert_eq!(running.mean().value()[[1]], 0.2);
    // 1 + 0.1 (2 - 1) at a large mean, and 1 + 0.1 (8 - 1)
    assert!((running.variance().value()[[0]] - 1.1_f64).abs() < 1e-12);
    assert!((running.variance().value()[[1]] - 1.7_f64).abs() < 1e-12);
}

fn refusal(f: impl FnOnce() + std::panic::UnwindSafe) -> String {
    let panic = std::panic::catch_unwind(f).expect_err("a panic");
    panic.downcast_ref::<String>().expect("a message").lines().next().unwrap_or_default().to_owned()
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    macro_rules! refused {
        ($method:ident, $x:expr, $w:expr, $options:expr) => {
            refusal(|| {
                let tape = Tape::new();
                let (x, w) = (tape.leaf(ArrayD::<f64>::zeros(&$x[..])), tape.leaf(ArrayD::<f64>::zeros(&$w[..])));
                let _ = x.$method(w, None, &$options);
            })
        };
    }
    let messages = [
        refused!(conv2d_with, [1, 4, 5, 5], [3, 2, 2, 2], conv().with_groups(2)),
        refused!(conv2d_with, [1, 4, 5, 5], [4, 1, 2, 2], conv().with_groups(2)),
        refused!(conv2d_with, [1, 1, 5, 5], [1, 1, 3, 3], conv().with_dilation(3)),
        refused!(conv2d_with, [1, 1, 5, 5], [1, 1, 3, 3], conv().with_dilation(0)),
        refused!(conv1d, [1, 1, 5, 5], [1, 1, 3, 3], conv()),
        refused!(conv_transpose2d, [1, 2, 5, 5], [3, 2, 3, 3], conv()),
        refused!(conv_transpose2d, [1, 3, 5, 5], [3, 2, 3, 3], conv().with_groups(2)),
        refused!(conv_transpose2d, [1, 1, 5, 5], [1, 1, 3, 3], conv().with_output_padding(1)),
        refused!(conv_transpose2d, [1, 1, 1, 1], [1, 1, 1, 1], conv().with_padding(1)),
        refusal(|| {
            let tape = Tape::new();
            let _ = tape.leaf(Array2::<f64>::zeros((4, 4))).max_pool2d_with(&PoolOptions::new(2).with_padding(2));
        }),
        refusal(|| {
            let tape = Tape::new();
            let [x, y] = [3, 4].map(|length| tape.leaf(Array3::<f64>::zeros((2, 2, length))));
            let _ = x.rms_norm(y, 0.0);
        }),
        refusal(|| RunningStatistics::<f64>::new(2).observe(array![[1.0, 2.0]].view().into_dyn())),
    ];
    let expected = [
        "conv2d: (1, 4, 5, 5) x (3, 2, 2, 2): 4 channels to 3 cannot be divided into 2 groups",
        "conv2d: (1, 4, 5, 5) x (4, 1, 2, 2): each of 2 groups has 2 channels, the weight takes 1",
        "conv2d: (1, 1, 5, 5) x (1, 1, 3, 3): \
         a window of [3, 3] with a dilation of [3, 3] is larger than [5, 5], padded by [0, 0]",
        "conv2d: (1, 1, 5, 5) x (1, 1, 3, 3): a window of [3, 3] with a stride of [1, 1] with a dilation of [0, 0]: \
         every length has to be at least 1",
        "conv1d: (1, 1, 5, 5) x (1, 1, 3, 3): input and weight have 3 axes each",
        "conv_transpose2d: (1, 2, 5, 5) x (3, 2, 3, 3): the input has 2 channels, the weight takes 3",
        "conv_transpose2d: (1, 3, 5, 5) x (3, 2, 3, 3): 3 channels cannot be divided into 2 groups",
        "conv_transpose2d: (1, 1, 5, 5) x (1, 1, 3, 3): an output padding of 1 is not smaller than the stride, 1",
        "conv_transpose2d: (1, 1, 1, 1) x (1, 1, 1, 1): \
         images of [1, 1] have no transposed convolution with [kernel [1, 1], stride [1, 1], padding [1, 1]]",
        "max_pool2d: (4, 4): a padding of [2, 2] is more than half of a window of [2, 2]",
        "rms_norm: (2, 2, 3) x (2, 2, 4): gain is not of the shape of the last axes",
        "RunningStatistics: expected more than one element for each channel, found 1: one has no variance",
    ];
    assert_eq!(messages.join("\n"), expected.join("\n"));
}
