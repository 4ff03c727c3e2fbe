//! [`Windows`]: the windows that a convolution or a pooling by hand moves over images. The tape's kernels have their own.

use crate::var::{ConvOptions, PoolOptions, Size2d};

/// The windows over images of a fixed size, element by element.
#[derive(Clone, Debug)]
pub(super) struct Windows {
    /// Channels, height and width of the images.
    pub(super) image: [usize; 3],
    pub(super) kernel: [usize; 2],
    /// The number of windows along height and width.
    pub(super) counts: [usize; 2],
    /// For each element of a window that is not padding: the number of the window, the place in the window, the place in
    /// the plane.
    pub(super) taps: Vec<[usize; 3]>,
}

impl Windows {
    /// Returns the windows of a convolution.
    #[track_caller]
    pub(super) fn of_convolution(layer: &str, image: [usize; 3], kernel: [usize; 2], options: &ConvOptions) -> Self {
        Self::new(layer, image, kernel, [options.stride, options.padding, options.dilation])
    }

    /// Returns the windows of a pooling.
    #[track_caller]
    pub(super) fn of_pool(layer: &str, image: [usize; 3], options: &PoolOptions) -> Self {
        let (kernel, padding) = (options.kernel.get(), options.padding.get());
        assert!(
            (0..2).all(|axis| padding[axis] <= kernel[axis] / 2),
            "{layer}: a padding of {padding:?} is more than half of a window of {kernel:?}"
        );
        Self::new(layer, image, kernel, [options.stride, options.padding, Size2d::from(1)])
    }

    #[track_caller]
    fn new(layer: &str, image: [usize; 3], kernel: [usize; 2], lengths: [Size2d; 3]) -> Self {
        let [stride, padding, dilation] = lengths.map(Size2d::get);
        let ([_, height, width], size) = (image, [image[1], image[2]]);
        assert!(!image.contains(&0), "{layer}: expected images with elements, found the size {image:?}");
        assert!(
            [kernel, stride, dilation].iter().all(|lengths| !lengths.contains(&0)),
            "{layer}: a window of {kernel:?} with a stride of {stride:?} and a dilation of {dilation:?}: every length has \
             to be at least 1"
        );
        let mut counts = [0; 2];
        for axis in 0..2 {
            let (extent, padded) = ((kernel[axis] - 1) * dilation[axis] + 1, size[axis] + 2 * padding[axis]);
            assert!(
                extent <= padded,
                "{layer}: a window of {kernel:?} with a dilation of {dilation:?} is larger than {size:?}, padded by \
                 {padding:?}"
            );
            counts[axis] = (padded - extent) / stride[axis] + 1;
        }
        let mut taps = Vec::new();
        for window in 0..counts[0] * counts[1] {
            let (row, column) = (window / counts[1] * stride[0], window % counts[1] * stride[1]);
            for place in 0..kernel[0] * kernel[1] {
                let (i, j) = (row + place / kernel[1] * dilation[0], column + place % kernel[1] * dilation[1]);
                let inside =
                    (padding[0]..height + padding[0]).contains(&i) && (padding[1]..width + padding[1]).contains(&j);
                if inside {
                    taps.push([window, place, (i - padding[0]) * width + j - padding[1]]);
                }
            }
        }
        Self { image, kernel, counts, taps }
    }

    /// Returns the number of elements of an image.
    pub(super) fn width(&self) -> usize {
        self.image.iter().product()
    }

    /// Returns the number of elements of one channel.
    pub(super) fn plane(&self) -> usize {
        self.image[1] * self.image[2]
    }

    /// Returns the number of windows in a plane.
    pub(super) fn windows(&self) -> usize {
        self.counts[0] * self.counts[1]
    }

    /// Returns the number of elements of a window.
    pub(super) fn elements(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }
}

/// Returns the text of an image's size.
pub(super) fn size_text([channels, height, width]: [usize; 3]) -> String {
    format!("{channels}x{height}x{width}")
}
