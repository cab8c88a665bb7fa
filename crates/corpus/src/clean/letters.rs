//! Letters alone, and small ones.

use unicode_normalization::char::is_combining_mark;

/// Letters of any script with their marks; whatever stands between them becomes one space, or one line end where it holds
/// one. Digits are no letters.
///
/// Idempotent.
pub fn letters(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut gap: Option<char> = None;
    for character in text.chars() {
        // A mark belongs to the letter before it, and to nothing where there is none.
        let mark = is_combining_mark(character) && gap.is_none() && !kept.is_empty();
        if character.is_alphabetic() || mark {
            if let Some(between) = gap.take().filter(|_| !kept.is_empty()) {
                kept.push(between);
            }
            kept.push(character);
        } else {
            gap = Some(if character == '\n' || gap == Some('\n') { '\n' } else { ' ' });
        }
    }
    kept
}

/// Unicode's lower case. Scripts without cases, as Chinese, stay as they are.
///
/// Idempotent.
pub fn lowercase(text: &str) -> String {
    text.to_lowercase()
}
