//! Unicode's forms.

use std::borrow::Cow;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick, is_nfkc_quick};

/// Unicode's form C: letters and their marks in one character where there is one. [`normalize`] brings every text to it
/// before the first step and after each, and takes line ends and control characters with it; the step is for those who
/// call it by itself, and for recipes that name what they rely on.
///
/// Idempotent.
///
/// [`normalize`]: crate::normalize::normalize()
pub fn nfc(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || is_nfc_quick(text.chars()) == IsNormalized::Yes {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.nfc().collect())
}

/// Unicode's form KC: form C, and every character that only looks different becomes the usual one. `ﬁ` becomes `fi`, `①`
/// and `²` digits, `㎏` letters, `…` three points, `Ａ` and `ｶ` those of the usual width; and so do full-width commas and
/// brackets, which are Chinese punctuation, and U+3000 and U+00A0, which become spaces. For widths alone, which leave
/// Chinese as it is, see [`width`](super::width()).
///
/// Idempotent.
pub fn nfkc(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || is_nfkc_quick(text.chars()) == IsNormalized::Yes {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.nfkc().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_character_for_a_letter_and_its_mark() {
        assert_eq!(nfc("e\u{301} ﬁ ① Ａ，"), "é ﬁ ① Ａ，");
        assert!(matches!(nfc("naïve 中文"), Cow::Borrowed(_)));
    }

    #[test]
    fn the_usual_character_for_those_that_look_different() {
        assert_eq!(nfkc("ﬁ ① 10² ㎏ … Ａ１，（ｶﾞ\u{3000}\u{A0}e\u{301}"), "fi 1 102 kg ... A1,(ガ  é");
        assert_eq!(nfkc("한국어 \u{1112}\u{1161}\u{11AB}"), "한국어 한");
        assert!(matches!(nfkc("naïve 中文"), Cow::Borrowed(_)));
        for text in ["ﷺ ﬃ ẛ̣ ㍿", "½ ⁵ ℌ", "e\u{301}"] {
            assert_eq!(nfkc(&nfkc(text)), nfkc(text));
        }
    }
}
