//! The header of an `.npy` file: a Python dictionary in front of the data.

/// What a header says, checked before anybody allocates what it says.
pub(super) struct Header<'a> {
    /// The number type, as in `<f8`.
    pub(super) descriptor: &'a str,
    /// The lengths of the axes, as the header writes them.
    pub(super) shape: &'a str,
    /// The size of the data that follow.
    bytes: usize,
    /// The size of all that is before them.
    before: usize,
}

impl<'a> Header<'a> {
    /// Reads the header from the bytes of a file.
    ///
    /// Takes what NumPy writes, in either quotes and any order, and nothing that could be read in two ways.
    ///
    /// # Errors
    ///
    /// If there is none: a message about what was found instead.
    pub(super) fn read(file: &'a [u8]) -> Result<Self, String> {
        let Some(rest) = file.strip_prefix(b"\x93NUMPY") else {
            let found = if file.is_empty() { "an empty file" } else { "a file that does not begin like one" };
            return Err(found.into());
        };
        let (length, rest) = match *rest {
            [1, _, a, b, ref rest @ ..] => (usize::from(u16::from_le_bytes([a, b])), rest),
            [2 | 3, _, a, b, c, d, ref rest @ ..] => (u32::from_le_bytes([a, b, c, d]) as usize, rest),
            [version, ..] if !(1..=3).contains(&version) => return Err(format!("version {version} of the format")),
            _ => return Err("a header that is cut off".into()),
        };
        let (header, data) = rest.split_at_checked(length).ok_or("a header that is cut off")?;
        let unclear = || format!("the header {}", super::shortened(String::from_utf8_lossy(header).trim()));
        let (descriptor, shape) = str::from_utf8(header).ok().and_then(entries).ok_or_else(unclear)?;
        Ok(Self { descriptor, shape, bytes: data.len(), before: file.len() - data.len() })
    }

    /// Returns the size of a file with this header and the data that it promises; `None` if no process could hold them.
    pub(super) fn promised(&self) -> Option<usize> {
        let lengths = self.lengths()?;
        let data = if lengths.contains(&0) { 0 } else { self.spanned(&lengths)? };
        self.before.checked_add(data).filter(|&bytes| isize::try_from(bytes).is_ok())
    }

    /// Returns whether the file holds an array of this shape and number type, and the memory of a process could.
    pub(super) fn fits(&self) -> bool {
        let Some(lengths) = self.lengths() else { return false };
        let bytes = self.spanned(&lengths);
        bytes.is_some_and(|bytes| isize::try_from(bytes).is_ok() && (bytes <= self.bytes || lengths.contains(&0)))
    }

    fn lengths(&self) -> Option<Vec<usize>> {
        lengths(self.shape).map(|length| length.parse().ok()).collect()
    }

    /// Returns the bytes that axes of these lengths span. An empty array has strides too: its other axes have to fit.
    fn spanned(&self, lengths: &[usize]) -> Option<usize> {
        // `<f8` says how many bytes an element takes; a type that says nothing is none that we read.
        let digits = self.descriptor.trim_start_matches(|c: char| !c.is_ascii_digit());
        let element: usize = digits.parse().unwrap_or(1);
        lengths.iter().filter(|&&length| length > 0).try_fold(element, |n, &length| n.checked_mul(length))
    }
}

fn lengths(shape: &str) -> impl Iterator<Item = &str> {
    shape.split(',').map(str::trim).filter(|length| !length.is_empty())
}

/// Returns number type and shape, if the dictionary has these and the order of the axes, each once, and no more.
fn entries(header: &str) -> Option<(&str, &str)> {
    let mut rest = header.trim().strip_prefix('{')?.strip_suffix('}')?.trim_start();
    let (mut descriptor, mut order, mut shape) = (None, None, None);
    while !rest.is_empty() {
        let (key, after) = string(rest)?;
        let text = after.trim_start().strip_prefix(':')?.trim_start();
        let (slot, (value, after)) = match key {
            "descr" => (&mut descriptor, string(text)?),
            "fortran_order" => (&mut order, text.split_at(text.find([',', '}']).unwrap_or(text.len()))),
            "shape" => (&mut shape, text.strip_prefix('(')?.split_once(')')?),
            _ => return None,
        };
        if slot.replace(value).is_some() {
            return None;
        }
        let after = after.trim_start();
        rest = if after.is_empty() { after } else { after.strip_prefix(',')?.trim_start() };
    }
    let order_is_said = matches!(order?.trim_end(), "True" | "False");
    let counts = |length: &str| length.bytes().all(|byte| byte.is_ascii_digit());
    (order_is_said && lengths(shape?).all(counts)).then_some((descriptor?, shape?))
}

/// Returns the content of the string at the beginning, in either quotes, and what follows it.
fn string(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|first| matches!(first, '\'' | '"'))?;
    let (content, after) = text[1..].split_once(quote)?;
    // A backslash would make it something else than it looks like.
    (!content.contains('\\')).then_some((content, after))
}
