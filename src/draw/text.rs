//! Texts in pictures: their width, and the signs that XML and DOT read as their own.

/// Returns an upper bound of the width of a text at a font size, for the usual fonts without serifs.
pub(super) fn width(text: &str, size: f64) -> f64 {
    let em = |c: char| match c {
        'i' | 'j' | 'l' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' | 'ᵀ' | '²' | '³' => 0.36,
        ' ' | 'f' | 't' | 'r' | '(' | ')' | '[' | ']' | '-' | '/' | '1' => 0.47,
        'm' | 'w' | 'M' | 'W' | '@' | '%' | '…' => 0.98,
        'a'..='z' | '0'..='9' | '_' => 0.62,
        'A'..='Z' => 0.72,
        _ => 0.86,
    };
    text.chars().map(em).sum::<f64>() * size
}

/// Returns a text for XML. Signs that XML forbids become the replacement character.
pub(crate) fn xml(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            '\t' | '\n' | '\r' => escaped.push(' '),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Returns a text without line breaks and other control characters.
pub(super) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Returns lines as a quoted string of DOT.
pub(super) fn dot(lines: &[String]) -> String {
    let mut quoted = String::from("\"");
    for (index, line) in lines.iter().enumerate() {
        if index > 0 {
            quoted += "\\n";
        }
        for c in line.chars() {
            match c {
                '"' => quoted += "\\\"",
                '\\' => quoted += "\\\\",
                c if c.is_control() => quoted.push(' '),
                c => quoted.push(c),
            }
        }
    }
    quoted.push('"');
    quoted
}
