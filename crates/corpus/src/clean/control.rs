//! Characters that nobody sees.

use std::borrow::Cow;

/// The text without what has neither shape nor width. [`normalize`] has dropped control characters below U+0020 and byte
/// order marks anywhere already; this step drops the rest:
///
/// - control characters (U+007F to U+009F),
/// - the zero-width space, word joiner, soft hyphen, combining grapheme joiner, and invisible operators (U+200B, U+2060 to
///   U+2064, U+00AD, U+034F, U+180E, U+FEFF),
/// - marks of direction (U+061C, U+200E, U+200F, U+202A to U+202E, U+2066 to U+206F),
/// - characters that annotate or stand for an object (U+FFF9 to U+FFFC), and those that are none (U+FFFE, U+FDD0 ...),
/// - tags (U+E0000 to U+E007F), in which text can be hidden, but for those of a flag.
///
/// U+2028 and U+2029, which end lines and paragraphs, and U+0085 become line ends. The zero-width joiner and non-joiner stay
/// where they change what is seen: between letters of scripts that join or stack (Arabic, Indic ...), and the joiner
/// between pictures; elsewhere they go. Variation selectors stay.
///
/// Idempotent.
///
/// [`normalize`]: crate::normalize::normalize()
pub fn control(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_invisible) {
        return Cow::Borrowed(text);
    }
    let mut kept = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    let mut flag = false;
    while let Some(character) = characters.next() {
        match character {
            '\u{85}' | '\u{2028}' | '\u{2029}' => kept.push('\n'),
            '\u{200C}' | '\u{200D}' => {
                // The next character that is seen decides, so that dropping what is between changes nothing later.
                while characters.next_if(|&next| is_invisible(next) && !is_line_end(next)).is_some() {}
                if joins(character, kept.chars().next_back(), characters.peek().copied()) {
                    kept.push(character);
                }
            }
            '\u{E0020}'..='\u{E007F}' if flag => kept.push(character),
            other if is_invisible(other) => {}
            other => kept.push(other),
        }
        // The black flag, and the tags that say whose it is.
        flag = character == '\u{1F3F4}' || (flag && ('\u{E0020}'..='\u{E007E}').contains(&character));
    }
    Cow::Owned(kept)
}

fn is_line_end(character: char) -> bool {
    matches!(character, '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Whether a character has to be looked at: everything that is dropped, in some places at least.
fn is_invisible(character: char) -> bool {
    match character {
        ' '..='~' | '\n' | '\t' => false,
        '\0'..='\u{9F}'
        | '\u{AD}'
        | '\u{34F}'
        | '\u{61C}'
        | '\u{180E}'
        | '\u{200B}'..='\u{200F}'
        | '\u{2028}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}'
        | '\u{FDD0}'..='\u{FDEF}'
        | '\u{FEFF}'
        | '\u{FFF9}'..='\u{FFFC}'
        | '\u{E0000}'..='\u{E007F}' => true,
        _ => character as u32 & 0xFFFE == 0xFFFE,
    }
}

/// Whether a joiner or non-joiner between two characters is seen.
fn joins(joiner: char, before: Option<char>, after: Option<char>) -> bool {
    let (Some(before), Some(after)) = (before, after) else { return false };
    // Persian plurals and Indic half letters end words, too: what is before decides, if a letter or space follows.
    let written = is_of_joining_script(before) && (is_of_joining_script(after) || joiner == '\u{200D}');
    written || (joiner == '\u{200D}' && is_picture(before) && is_picture(after))
}

/// Scripts whose letters change with their neighbors.
fn is_of_joining_script(character: char) -> bool {
    matches!(character,
        '\u{600}'..='\u{8FF}' | '\u{900}'..='\u{DFF}' | '\u{F00}'..='\u{109F}' | '\u{1780}'..='\u{18AF}'
        | '\u{1A20}'..='\u{1CFF}' | '\u{A800}'..='\u{ABFF}' | '\u{FB50}'..='\u{FDCF}' | '\u{FDF0}'..='\u{FDFF}'
        | '\u{FE70}'..='\u{FEFC}' | '\u{10A00}'..='\u{11FFF}' | '\u{1E900}'..='\u{1E95F}')
}

fn is_picture(character: char) -> bool {
    matches!(character, '\u{2190}'..='\u{2BFF}' | '\u{FE0F}' | '\u{20E3}' | '\u{1F000}'..='\u{1FAFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_sees_goes() {
        assert_eq!(control("zero\u{200B}width \u{2060}and\u{AD} bo\u{FEFF}m\u{7F}\u{9B}"), "zerowidth and bom");
        assert_eq!(control("\u{202B}abc\u{202C}\u{200E}\u{2066}d\u{2069}\u{61C}"), "abcd");
        assert_eq!(control("a\u{2028}b\u{2029}c\u{85}d"), "a\nb\nc\nd");
        assert_eq!(control("in\u{200C}side\u{200D} Latin, 中\u{200D}文"), "inside Latin, 中文");
        assert_eq!(control("hid\u{E0001}\u{E0068}\u{E0069}den\u{FFFC}\u{FFFE}\u{FDD0}\u{1FFFF}"), "hidden");
        assert_eq!(control("\u{200D}\u{200B}"), "");
    }

    #[test]
    fn what_changes_the_look_stays() {
        for text in [
            "می\u{200C}خواهم",
            "क्\u{200D}ष ක්\u{200D}ෂ",
            "👨\u{200D}👩\u{200D}👧 ❤\u{FE0F}\u{200D}🔥 👩🏽\u{200D}🚀",
            "🏴\u{E0067}\u{E0062}\u{E0065}\u{E006E}\u{E0067}\u{E007F}",
            "naïve\u{A0}café\u{3000}全角\n\ttab",
        ] {
            assert_eq!(control(text), text);
        }
        assert!(matches!(control("naïve\u{A0}中文 👍🏽"), Cow::Borrowed(_)));
    }

    #[test]
    fn twice_is_once() {
        for text in [
            "می\u{200C}\u{200B}\u{200C}خ",
            "a\u{200B}\u{200D}b",
            "🏴\u{E0067}\u{200B}\u{E007F}\u{E0041}",
            "क्\u{200D}\u{2028}ष",
            "👨\u{200D}\u{200D}👩",
        ] {
            let once = control(text).into_owned();
            assert_eq!(control(&once), once, "{text:?}");
        }
    }
}
