//! One spelling for one text.
//!
//! The same sentence may reach us composed or decomposed, with Windows line ends, with stray control
//! characters. A model would learn each spelling apart, and the duplicate counter would miss copies, so
//! everything is brought to one form before it is counted or tokenized: Unicode NFC, `\n` line ends, no
//! byte order marks, no C0 control characters other than `\n` and `\t`. Nothing visible is changed.

use std::borrow::Cow;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// Brings text to the one form that the rest of the crate sees; borrows when nothing needs changing.
///
/// Idempotent: normalizing twice gives what normalizing once gives.
pub fn normalize(text: &str) -> Cow<'_, str> {
    let clean = if text.bytes().any(is_suspect) { Cow::Owned(drop_controls(text)) } else { Cow::Borrowed(text) };
    if clean.is_ascii() || is_nfc_quick(clean.chars()) == IsNormalized::Yes {
        return clean;
    }
    Cow::Owned(clean.nfc().collect())
}

/// True for bytes that may need dropping: control characters, and the first byte of U+FEFF.
fn is_suspect(byte: u8) -> bool {
    (byte < 0x20 && byte != b'\n' && byte != b'\t') || byte == 0xEF
}

fn drop_controls(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\r' => {
                characters.next_if_eq(&'\n');
                clean.push('\n');
            }
            '\n' | '\t' => clean.push(character),
            '\u{FEFF}' => {}
            control if control < ' ' => {}
            other => clean.push(other),
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_text_is_borrowed() {
        assert!(matches!(normalize("plain text\n\twith tabs"), Cow::Borrowed(_)));
        assert!(matches!(normalize("红楼梦,全角。"), Cow::Borrowed(_)));
    }

    #[test]
    fn line_ends_marks_and_controls() {
        assert_eq!(normalize("\u{FEFF}a\r\nb\rc\u{0}\u{7}d\n\re"), "a\nb\ncd\n\ne");
    }

    #[test]
    fn decomposed_is_composed_even_across_a_dropped_character() {
        assert_eq!(normalize("e\u{301}"), "é");
        assert_eq!(normalize("e\u{1}\u{301}"), "é");
    }

    #[test]
    fn twice_is_once() {
        for text in ["e\u{301}\r\n", "\u{FEFF}\u{FEFF}x", "각\u{11A8}", "\u{1F82}\u{345}", "ﬁ \u{212B}"] {
            let once = normalize(text).into_owned();
            assert_eq!(normalize(&once), once);
        }
    }
}
