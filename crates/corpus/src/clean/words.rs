//! Words: where they are, which say little, and what is left of them without their endings.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::LazyLock;

use rust_stemmers::{Algorithm, Stemmer};
use serde::{Deserialize, Serialize};
use unicode_normalization::char::is_combining_mark;

use super::chinese::words_of;

/// Longer words have no ending to take off.
const LONGEST_WORD: usize = 64;

/// A language whose stop words are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// NLTK's list: 198 words.
    English,
    /// NLTK's list: 841 words.
    Chinese,
}

static STEMMER: LazyLock<Stemmer> = LazyLock::new(|| Stemmer::create(Algorithm::English));
static ENGLISH_STOP_WORDS: LazyLock<HashSet<&str>> = LazyLock::new(|| listed("en"));
static CHINESE_STOP_WORDS: LazyLock<HashSet<&str>> = LazyLock::new(|| listed("zh"));

fn listed(language: &str) -> HashSet<&'static str> {
    stop_words::lookup(language).unwrap_or_default().iter().copied().collect()
}

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece<'t> {
    /// Letters, their marks, digits, and apostrophes between letters.
    Word(&'t str),
    /// Chinese characters without anything between them.
    Han(&'t str),
    /// What is between.
    Gap(&'t str),
}

/// The pieces of a text, in order; together they are the text.
struct Pieces<'t>(&'t str);

fn is_han(character: char) -> bool {
    matches!(u32::from(character), 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF | 0x2_0000..=0x3_FFFF | 0x3007)
}

fn is_apostrophe(character: char) -> bool {
    matches!(character, '\'' | '\u{2019}')
}

fn is_of_word(character: char) -> bool {
    !is_han(character) && (character.is_alphanumeric() || is_combining_mark(character))
}

impl<'t> Iterator for Pieces<'t> {
    type Item = Piece<'t>;

    fn next(&mut self) -> Option<Piece<'t>> {
        let text = self.0;
        let first = text.chars().next()?;
        let (han, word) = (is_han(first), is_of_word(first));
        let mut characters = text.char_indices().peekable();
        let mut end = text.len();
        while let Some((at, character)) = characters.next() {
            let next = characters.peek().map(|(_, next)| *next);
            let inside = match (han, word) {
                (true, _) => is_han(character),
                (_, true) => is_of_word(character) || (is_apostrophe(character) && next.is_some_and(is_of_word)),
                _ => !is_han(character) && !is_of_word(character),
            };
            if !inside {
                end = at;
                break;
            }
        }
        let (piece, rest) = text.split_at(end);
        self.0 = rest;
        Some(match (han, word) {
            (true, _) => Piece::Han(piece),
            (_, true) => Piece::Word(piece),
            _ => Piece::Gap(piece),
        })
    }
}

fn ends_in_a_word(text: &str) -> bool {
    text.chars().next_back().is_some_and(|last| is_han(last) || is_of_word(last))
}

/// A space between the words of Chinese text, found by jieba's dictionary and, where that has none, by its hidden Markov
/// model; and one between Chinese and letters of other scripts or digits. Other text stays as it is, Japanese is taken for
/// Chinese where it is written in Chinese characters.
pub fn split_words(text: &str) -> String {
    let mut split = String::with_capacity(text.len() + text.len() / 4);
    let mut add = |word: &str, gap: bool| {
        if !gap && ends_in_a_word(&split) {
            split.push(' ');
        }
        split.push_str(word);
    };
    for piece in Pieces(text) {
        match piece {
            Piece::Han(run) => words_of(run).into_iter().for_each(|word| add(word, false)),
            Piece::Word(word) => add(word, false),
            Piece::Gap(gap) => add(gap, true),
        }
    }
    split
}

fn is_english_stop_word(word: &str) -> bool {
    let plain: Cow<str> = if word.bytes().all(|byte| byte.is_ascii_lowercase()) {
        Cow::Borrowed(word)
    } else {
        Cow::Owned(word.to_lowercase().replace('\u{2019}', "'"))
    };
    ENGLISH_STOP_WORDS.contains(&*plain)
}

/// The text without the words that nearly every text of a language has: those of one language, or, without one, of both,
/// each word by its script. Capitals do not matter. Chinese is split into words for it, as by [`split_words`].
///
/// Idempotent on English.
pub fn stop_words(text: &str, language: Option<Language>) -> String {
    let english = language != Some(Language::Chinese);
    let chinese = language != Some(Language::English);
    let mut kept = String::with_capacity(text.len());
    let mut dropped = false;
    let keep = |word: &str, gap: bool, kept: &mut String, dropped: &mut bool| {
        if gap {
            let first = word.trim_start_matches([' ', '\t']);
            // Where a word is gone, one of the spaces around it is too.
            if *dropped && (kept.is_empty() || kept.ends_with(char::is_whitespace)) {
                if first.starts_with('\n') {
                    kept.truncate(kept.trim_end_matches([' ', '\t']).len());
                }
                kept.push_str(first);
            } else {
                kept.push_str(word);
            }
            return;
        }
        if chinese && ends_in_a_word(kept) {
            kept.push(' ');
        }
        kept.push_str(word);
        *dropped = false;
    };
    for piece in Pieces(text) {
        match piece {
            Piece::Word(word) if english && is_english_stop_word(word) => dropped = true,
            Piece::Han(run) if chinese => {
                for word in words_of(run) {
                    if CHINESE_STOP_WORDS.contains(word) {
                        dropped = true;
                    } else {
                        keep(word, false, &mut kept, &mut dropped);
                    }
                }
            }
            Piece::Word(word) | Piece::Han(word) => keep(word, false, &mut kept, &mut dropped),
            Piece::Gap(gap) => keep(gap, true, &mut kept, &mut dropped),
        }
    }
    if dropped {
        kept.truncate(kept.trim_end().len());
    }
    kept
}

/// English words without their endings, in lower case, by Porter's second stemmer (Porter 2001): `running` and `runs`
/// become `run`. Words with letters beyond a to z stay as they are.
pub fn stem(text: &str) -> String {
    let mut stemmed = String::with_capacity(text.len());
    for piece in Pieces(text) {
        match piece {
            Piece::Word(word) if word.len() <= LONGEST_WORD => {
                let plain = word.to_ascii_lowercase().replace('\u{2019}', "'");
                let english = plain.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'\'');
                stemmed.push_str(if english { STEMMER.stem(&plain) } else { Cow::Borrowed(word) }.as_ref());
            }
            Piece::Word(other) | Piece::Han(other) | Piece::Gap(other) => stemmed.push_str(other),
        }
    }
    stemmed
}
