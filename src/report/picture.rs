//! The weights of a layer as small images side by side.

use ndarray::ArrayRef2;

use crate::draw::xml;
use crate::scalar::Scalar;

/// The weights of the units of a layer, each as an image of the pixels that it sees.
#[derive(Clone, Debug)]
pub(super) struct Weights {
    name: String,
    /// All units, those that are not shown included.
    units: usize,
    /// Height and width of an image.
    size: [usize; 2],
    /// The numbers of each unit that is shown.
    images: Vec<Vec<f64>>,
}

/// The units that a page shows.
const MOST: usize = 100;
/// Pixels of the picture between two units.
const GAP: usize = 1;
/// The palette's number of the colour between the units. The numbers before it are the colours of weights.
const PAPER: u8 = 255;

/// Red, green, blue.
type Colour = [u8; 3];

/// The colours of the lowest weight, of 0, of the highest weight, and between the units.
const LIGHT: [Colour; 4] = [[178, 72, 0], [250, 250, 250], [0, 84, 160], [255, 255, 255]];
const DARK: [Colour; 4] = [[255, 158, 84], [44, 48, 54], [110, 184, 255], [22, 27, 34]];

impl Weights {
    #[track_caller]
    pub(super) fn new<T: Scalar>(name: &str, weights: &ArrayRef2<T>, size: [usize; 2]) -> Self {
        let [height, width] = size;
        let (inputs, units) = weights.dim();
        assert!(
            height * width == inputs && inputs > 0,
            "Report: expected weights of {height} x {width} pixels, found {inputs} rows"
        );
        let columns = weights.columns().into_iter().take(MOST);
        let images = columns.map(|column| column.iter().map(|weight| weight.to_f64()).collect()).collect();
        Self { name: name.into(), units, size, images }
    }

    pub(super) fn html(&self) -> String {
        let [height, width] = self.size;
        if self.images.is_empty() {
            return String::new();
        }
        let bound = self.bound();
        let end = if bound < 0.01 { format!("{bound:.2e}") } else { format!("{bound:.3}") };
        let columns = self.images.len().min((280 / width).clamp(4, 20));
        let (light, dark) = (self.bitmap(columns, bound, &LIGHT), self.bitmap(columns, bound, &DARK));
        let zoom = (960 / (columns * (width + GAP))).clamp(1, 10);
        let shown = match self.units {
            1 => "1 unit".into(),
            units if units > MOST => format!("the first {MOST} of {units} units"),
            units => format!("{units} units"),
        };
        let name = xml(&self.name);
        format!(
            "<section>\n<h2>Weights of the first layer</h2>\n<figure class=\"wide\">\n<picture>\
             <source media=\"(prefers-color-scheme: dark)\" srcset=\"{}\">\
             <img class=\"weights\" width=\"{}\" alt=\"The weights {name} as images: {shown}, {height} by {width} pixels each\" \
             src=\"{}\"></picture>\n\
             <p class=\"scale\"><span>−{end}</span><span class=\"ramp\" aria-hidden=\"true\"></span><span>+{end}</span></p>\n\
             <p class=\"note\">{name}: {shown}, line by line, each as the {height} × {width} pixels that it sees. \
             A weight of 0 has the colour in the middle of the scale; the largest hundredth is beyond its ends.</p>\n\
             </figure>\n</section>\n",
            uri(&dark),
            columns * (width + GAP) * zoom,
            uri(&light),
        )
    }

    /// Returns the size that one weight of a hundred exceeds.
    fn bound(&self) -> f64 {
        let finite = self.images.iter().flatten().map(|weight| weight.abs()).filter(|size| size.is_finite());
        let mut sizes: Vec<f64> = finite.collect();
        sizes.sort_by(f64::total_cmp);
        sizes.get(sizes.len().saturating_sub(1 + sizes.len() / 100)).copied().unwrap_or(0.0).max(f64::MIN_POSITIVE)
    }

    /// Returns the pictures of all units as the bytes of one BMP file: it needs no compression, and each browser reads it.
    fn bitmap(&self, columns: usize, bound: f64, [low, zero, high, paper]: &[Colour; 4]) -> Vec<u8> {
        let [height, width] = self.size;
        let lines = self.images.len().div_ceil(columns);
        let (total_width, total_height) = (columns * (width + GAP) - GAP, lines * (height + GAP) - GAP);
        // The bytes of a row of pixels are a multiple of 4.
        let stride = total_width.next_multiple_of(4);
        let mut pixels = vec![PAPER; stride * total_height];
        for (unit, image) in self.images.iter().enumerate() {
            let (left, top) = (unit % columns * (width + GAP), unit / columns * (height + GAP));
            for (at, weight) in image.iter().enumerate() {
                // The last row comes first.
                let row = total_height - 1 - (top + at / width);
                pixels[row * stride + left + at % width] = index(*weight, bound);
            }
        }
        let mix =
            |from: u8, to: u8, part: f64| (f64::from(from) + part * (f64::from(to) - f64::from(from))).round() as u8;
        let palette = (0..=u8::MAX).flat_map(|index| {
            let part = (f64::from(index) - ZERO) / ZERO;
            let end = if part < 0.0 { low } else { high };
            let [red, green, blue] = match index {
                PAPER => *paper,
                _ => [0, 1, 2].map(|colour| mix(zero[colour], end[colour], part.abs())),
            };
            [blue, green, red, 0]
        });
        const HEADERS: usize = 14 + 40;
        const PALETTE: usize = 256 * 4;
        let words =
            |numbers: &[usize]| numbers.iter().flat_map(|&number| (number as u32).to_le_bytes()).collect::<Vec<u8>>();
        let mut file = b"BM".to_vec();
        file.extend(words(&[HEADERS + PALETTE + pixels.len(), 0, HEADERS + PALETTE]));
        // Size of the second header, width, height; one plane of 8 bits (two half words); no compression, size of the
        // pixels; no resolution; all colours.
        file.extend(words(&[40, total_width, total_height, 1 | 8 << 16, 0, pixels.len(), 0, 0, 256, 0]));
        file.extend(palette);
        file.extend(pixels);
        file
    }
}

/// The number of the colour of a weight of 0.
const ZERO: f64 = 127.0;

/// Returns the number of the colour of a weight: 0 to 254.
fn index(weight: f64, bound: f64) -> u8 {
    match weight.is_nan() {
        true => PAPER,
        false => (ZERO + ZERO * (weight / bound).clamp(-1.0, 1.0)).round() as u8,
    }
}

/// Returns an image as an address that contains it.
fn uri(bitmap: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut uri = String::from("data:image/bmp;base64,");
    for bytes in bitmap.chunks(3) {
        let number = (0..3).fold(0, |number, at| number << 8 | usize::from(bytes.get(at).copied().unwrap_or(0)));
        for digit in 0..4 {
            // Each byte needs eight thirds of a digit.
            let used = digit <= bytes.len();
            uri.push(if used { char::from(DIGITS[number >> (18 - 6 * digit) & 63]) } else { '=' });
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn base_64_is_that_of_the_standard() {
        for (bytes, expected) in [("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(uri(bytes.as_bytes()), format!("data:image/bmp;base64,{expected}"));
        }
    }

    #[test]
    fn a_bitmap_has_the_weights_where_they_belong() {
        // Two units that see one row of two pixels: the first line of the picture is [1, -1] paper [0, 1].
        let weights = Weights::new("w", &array![[1.0, 0.0], [-1.0, 1.0]], [1, 2]);
        let file = weights.bitmap(2, 1.0, &LIGHT);
        let word = |at: usize| u32::from_le_bytes([file[at], file[at + 1], file[at + 2], file[at + 3]]) as usize;
        assert_eq!([word(2), word(18), word(22)], [file.len(), 5, 1]);
        let colours: Vec<&[u8]> =
            file[word(10)..][..5].iter().map(|&at| &file[54 + 4 * usize::from(at)..][..3]).collect();
        let [low, zero, high, paper] = LIGHT.map(|[red, green, blue]| [blue, green, red]);
        assert_eq!(colours, [high, low, paper, zero, high]);
    }
}
