//! Words as copies are compared by: runs of letters and digits, in lower case, hashed as they are read.
//!
//! What stands between words (white space, punctuation, symbols, marks that are not alphabetic) is passed over, so texts that
//! differ there, or in capitals, are the same. Letters and digits are what [`char::is_alphanumeric`] says, lower case is
//! [`char::to_lowercase`]; no accent is removed, and composed and decomposed letters differ, so text should have been brought
//! to one spelling ([`crate::normalize`]).
//!
//! Scripts without spaces ([`is_spaceless`]) have no such runs: there, a letter can be a word of its own ([`Cut`]).

use std::ops::Range;

use super::arithmetic::fold;

/// What becomes one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// A run of letters and digits, whatever the script.
    Runs,
    /// A letter of a script without spaces, or a run of other letters and digits.
    Mixed,
    /// Every letter and digit.
    Characters,
}

/// Multipliers of the hash: odd, with bits everywhere.
const MULTIPLIERS: [u64; 2] = [0xA076_1D64_78BD_642F, 0xE703_7ED1_A0B4_28DB];

/// Bytes that end a word; those that [`TABLE`] leaves to the slow path are [`WIDE`].
const GAP: u8 = 0;
const WIDE: u8 = 0xFF;

/// For every byte: itself in lower case where it is an ASCII letter or digit, else [`GAP`] or [`WIDE`].
static TABLE: [u8; 256] = {
    let mut table = [GAP; 256];
    let mut byte = 0;
    while byte < 256 {
        let ascii = byte as u8;
        if byte >= 128 {
            table[byte] = WIDE;
        } else if ascii.is_ascii_alphanumeric() {
            table[byte] = ascii.to_ascii_lowercase();
        }
        byte += 1;
    }
    table
};

/// The hash of a word in the making: eight bytes at a time.
struct WordHash {
    state: u64,
    held: u64,
    length: u64,
}

impl WordHash {
    #[inline]
    fn new(seed: u64) -> Self {
        Self { state: seed, held: 0, length: 0 }
    }

    #[inline]
    fn push(&mut self, byte: u8) {
        self.held = (self.held << 8) | u64::from(byte);
        self.length += 1;
        if self.length.is_multiple_of(8) {
            self.state = fold(self.state ^ self.held, MULTIPLIERS[0]);
            self.held = 0;
        }
    }

    #[inline]
    fn push_character(&mut self, character: char) {
        for lower in character.to_lowercase() {
            for &byte in lower.encode_utf8(&mut [0; 4]).as_bytes() {
                self.push(byte);
            }
        }
    }

    #[inline]
    fn finish(self) -> u64 {
        let state = fold(self.state ^ self.held, MULTIPLIERS[1]);
        fold(state ^ self.length, MULTIPLIERS[0])
    }
}

/// Hands every word's hash and place in the text to `each`, in order.
#[inline]
pub(super) fn each_word(text: &str, cut: Cut, seed: u64, mut each: impl FnMut(u64, Range<usize>)) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&first) = bytes.get(at) {
        let kind = TABLE[usize::from(first)];
        if kind == GAP {
            at += 1;
            continue;
        }
        let begin = at;
        let mut hash = WordHash::new(seed);
        let alone = cut == Cut::Characters;
        // One step a byte of ASCII, one step a character elsewhere.
        while let Some(&byte) = bytes.get(at) {
            let kind = TABLE[usize::from(byte)];
            if kind == GAP {
                break;
            }
            if kind == WIDE {
                let Some(character) = text[at..].chars().next() else { break };
                if !character.is_alphanumeric() {
                    if at == begin {
                        at += character.len_utf8();
                    }
                    break;
                }
                let apart = cut == Cut::Mixed && is_spaceless(character);
                if apart && at > begin {
                    break;
                }
                hash.push_character(character);
                at += character.len_utf8();
                if apart || alone {
                    break;
                }
            } else {
                hash.push(kind);
                at += 1;
                if alone {
                    break;
                }
            }
        }
        if hash.length > 0 {
            each(hash.finish(), begin..at);
        }
    }
}

/// The words in lower case with one space between them, runs in every script: what two lines that differ in capitals and
/// punctuation have in common.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    each_word(text, Cut::Runs, 0, |_, place| {
        if !plain.is_empty() {
            plain.push(' ');
        }
        plain.extend(text[place].chars().flat_map(char::to_lowercase));
    });
    plain
}

/// Whether a letter is of a script that is written without spaces between words (Chinese characters, kana, Thai, Lao, Khmer,
/// Burmese), or is Hangul, whose words change their ends.
pub(super) fn is_spaceless(character: char) -> bool {
    matches!(character,
        '\u{0E00}'..='\u{0EFF}' | '\u{1000}'..='\u{109F}' | '\u{1780}'..='\u{17FF}' | '\u{1100}'..='\u{11FF}'
        | '\u{2E80}'..='\u{2FDF}' | '\u{3005}'..='\u{3007}' | '\u{3021}'..='\u{318F}' | '\u{31A0}'..='\u{31FF}'
        | '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{A960}'..='\u{A97F}' | '\u{AC00}'..='\u{D7FF}'
        | '\u{F900}'..='\u{FAFF}' | '\u{FF66}'..='\u{FFDC}' | '\u{20000}'..='\u{3FFFF}')
}

/// Whether more than half of a text's letters are of a script without spaces.
pub(super) fn is_mostly_spaceless(text: &str) -> bool {
    // Such a letter takes three bytes at least, so most texts are told by counting bytes, which is fast.
    let wide = text.bytes().filter(|byte| !byte.is_ascii()).count();
    if wide == 0 || wide / 3 <= text.bytes().filter(u8::is_ascii_alphabetic).count() {
        return false;
    }
    let (mut letters, mut spaceless) = (0_usize, 0_usize);
    for character in text.chars().filter(|character| character.is_alphabetic()) {
        letters += 1;
        spaceless += usize::from(is_spaceless(character));
    }
    spaceless * 2 > letters
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str, cut: Cut) -> Vec<&str> {
        let mut words = Vec::new();
        each_word(text, cut, 1, |_, place| words.push(&text[place]));
        words
    }

    fn hashes(text: &str, cut: Cut) -> Vec<u64> {
        let mut hashes = Vec::new();
        each_word(text, cut, 1, |hash, _| hashes.push(hash));
        hashes
    }

    #[test]
    fn three_ways_to_cut() {
        let text = "Don't — say 3.14, 红楼梦 is読む!";
        assert_eq!(words(text, Cut::Runs), ["Don", "t", "say", "3", "14", "红楼梦", "is読む"]);
        assert_eq!(words(text, Cut::Mixed), ["Don", "t", "say", "3", "14", "红", "楼", "梦", "is", "読", "む"]);
        assert_eq!(words("a1。é梦 ", Cut::Characters), ["a", "1", "é", "梦"]);
        assert!(words("… — !?\n", Cut::Runs).is_empty() && words("", Cut::Characters).is_empty());
    }

    #[test]
    fn capitals_and_punctuation_make_no_difference() {
        let one = "The ÉLAN of Æstanbul, Abcdefgh12345678!";
        assert_eq!(hashes(one, Cut::Runs), hashes("the élan (of) æstanbul abcdefgh12345678", Cut::Runs));
        assert_eq!(plain("  The ÉLAN,\tof… 红楼 "), "the élan of 红楼");
    }

    #[test]
    fn different_words_differ() {
        let text: String = (0..200_000).map(|number| format!("{number:x} w{number} ")).collect::<Vec<_>>().concat();
        let mut all = hashes(&text, Cut::Runs);
        let mut distinct: Vec<&str> = text.split_whitespace().collect();
        distinct.sort_unstable();
        distinct.dedup();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), distinct.len());
        assert_ne!(hashes("ab c", Cut::Runs), hashes("a bc", Cut::Runs));
    }

    #[test]
    fn scripts_are_told() {
        for text in ["红楼梦,全角。", "これは日本語です ok", "한국어 문장입니다", "ภาษาไทย"]
        {
            assert!(is_mostly_spaceless(text), "{text}");
        }
        for text in ["", "plain", "ünïcödé ñandú", "Русский текст", "mostly English 中文", "…—“”…—“”"]
        {
            assert!(!is_mostly_spaceless(text), "{text}");
        }
    }
}
