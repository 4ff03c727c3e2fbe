//! What was found in a file, shortened for a message.

/// Returns the beginning of what was found, for a message of one line.
pub(crate) fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_string(),
    }
}
