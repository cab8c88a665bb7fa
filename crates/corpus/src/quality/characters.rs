//! What a character is to the filters.

use super::tables;

/// True where a character lies in one of the sorted ranges.
fn within(table: &[(u32, u32)], character: char) -> bool {
    let code = u32::from(character);
    let after = table.partition_point(|&(first, _)| first <= code);
    after > 0 && code <= table[after - 1].1
}

/// White space, as Python has it: Unicode's, and the four separators of ASCII.
pub(super) fn is_space(character: char) -> bool {
    matches!(character, '\u{1C}'..='\u{1F}') || character.is_whitespace()
}

/// Without the white space at both ends.
pub(super) fn stripped(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// True where nothing but white space stands.
pub(super) fn is_blank(text: &str) -> bool {
    text.chars().all(is_space)
}

/// A letter to the rules that split words.
pub(super) fn is_alpha(character: char) -> bool {
    if character.is_ascii() { character.is_ascii_alphabetic() } else { within(tables::ALPHA, character) }
}

/// A letter that is not a capital.
pub(super) fn is_lower(character: char) -> bool {
    if character.is_ascii() {
        return character.is_ascii_lowercase();
    }
    within(tables::UNCASED, character) || (character.is_lowercase() && within(tables::ALPHA, character))
}

/// A letter that is not a small one.
pub(super) fn is_upper(character: char) -> bool {
    if character.is_ascii() {
        return character.is_ascii_uppercase();
    }
    within(tables::UNCASED, character) || (character.is_uppercase() && within(tables::ALPHA, character))
}

/// Punctuation or a quote that leaves a word at both of its ends.
pub(super) fn is_affix(character: char) -> bool {
    match character {
        ',' | ':' | ';' | '!' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '<' | '>' | '_' | '#' | '*' | '&' | '\''
        | '"' | '`' => true,
        _ => !character.is_ascii() && within(tables::AFFIXES, character),
    }
}

/// A quote, or a comma, which may stand for a low one.
pub(super) fn is_quote(character: char) -> bool {
    match character {
        '\'' | '"' | '`' | ',' => true,
        _ => !character.is_ascii() && within(tables::QUOTES, character),
    }
}

/// A sign of money.
pub(super) fn is_currency(character: char) -> bool {
    character == '$' || (!character.is_ascii() && within(tables::CURRENCY, character))
}

/// A symbol or an emoji that is a word of its own.
pub(super) fn is_icon(character: char) -> bool {
    !character.is_ascii() && within(tables::ICONS, character)
}

/// Unicode category P.
pub(super) fn is_punctuation(character: char) -> bool {
    if character.is_ascii() {
        return character.is_ascii_punctuation()
            && !matches!(character, '$' | '+' | '<' | '=' | '>' | '^' | '`' | '|' | '~');
    }
    within(tables::PUNCTUATION, character)
}

/// What ends a line, in any script.
pub(super) fn is_terminal(character: char) -> bool {
    match character {
        '.' | '!' | '?' => true,
        _ => !character.is_ascii() && within(tables::TERMINAL, character),
    }
}

/// What ends a sentence where it is a word of its own.
pub(super) fn ends_sentence(character: char) -> bool {
    is_terminal(character) && !within(tables::NO_SENTENCE_END, character)
}

/// What words are made of that say nothing: punctuation, marks, controls.
pub(super) fn is_symbol(character: char) -> bool {
    if character.is_ascii() {
        let control = character.is_ascii_control() && !matches!(character, '\t' | '\n');
        return character.is_ascii_punctuation() || control;
    }
    within(tables::SYMBOLS, character) || within(tables::TERMINAL, character)
}

/// A letter, by Unicode category L.
pub(super) fn is_letter(character: char) -> bool {
    // Numbers made of letters and letters in circles are alphabetic to Unicode, yet no letters.
    let numeral = matches!(u32::from(character),
        0x2160..=0x2182 | 0x2185..=0x2188 | 0x24B6..=0x24E9 | 0x3007 | 0x3021..=0x3029 | 0x3038..=0x303A | 0x1_F130..=0x1_F189);
    character.is_alphabetic() && !numeral
}

/// Code points of a text.
pub(super) fn length(text: &str) -> usize {
    text.chars().count()
}
