//! [`Size2d`]: two lengths, along height and width.

/// Two lengths, along height and width: the size of a window, a stride, or a padding.
///
/// Converts from one number for both, from `[height, width]`, and from `(height, width)`.
///
/// # Example
///
/// ```
/// use tapegrad::Size2d;
///
/// assert_eq!(Size2d::from(3), Size2d::from([3, 3]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Size2d([usize; 2]);

impl From<usize> for Size2d {
    fn from(length: usize) -> Self {
        Self([length, length])
    }
}

impl From<[usize; 2]> for Size2d {
    fn from(lengths: [usize; 2]) -> Self {
        Self(lengths)
    }
}

impl From<(usize, usize)> for Size2d {
    fn from((height, width): (usize, usize)) -> Self {
        Self([height, width])
    }
}

impl Size2d {
    /// Returns the two lengths.
    pub(crate) fn get(self) -> [usize; 2] {
        self.0
    }

    /// Returns the lengths in the form that operations store.
    #[track_caller]
    pub(super) fn lengths(self, op: &str) -> [u32; 2] {
        let mut lengths = [0; 2];
        // A loop, because a panic in a closure would name its own line and not the caller's.
        for (kept, length) in lengths.iter_mut().zip(self.0) {
            *kept = match u32::try_from(length) {
                Ok(length) if length <= u32::MAX / 4 => length,
                _ => panic!(
                    "{op}: a window, stride, padding or dilation of {length}: at most {} are possible",
                    u32::MAX / 4
                ),
            };
        }
        lengths
    }
}
