//! The words of a text and what the filters ask of each: found once, kept as positions and hashes.

use unicode_segmentation::UnicodeSegmentation;

use super::characters::{ends_sentence, is_letter, is_punctuation, is_space, is_symbol, length};
use super::english::{first_pass, second_pass};
use super::hashing::hash;
use super::specials::{ENGLISH, Specials};
use crate::clean::cut_chinese;

/// How a text is split into words and sentences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Segmentation {
    /// By the rules of spaCy's English tokenizer, as datatrove does.
    #[default]
    English,
    /// By jieba, as datatrove does.
    Chinese,
    /// By the word boundaries of Unicode (UAX 29).
    Unicode,
}

impl Segmentation {
    /// That of a language, by its ISO 639 code of two or three letters, with or without a script or region behind it.
    pub fn of(language: &str) -> Self {
        let code = language.split(['-', '_']).next().unwrap_or_default();
        match code.to_ascii_lowercase().as_str() {
            "en" | "eng" => Self::English,
            "zh" | "zho" | "chi" | "cmn" | "yue" | "wuu" => Self::Chinese,
            _ => Self::Unicode,
        }
    }
}

/// One word, or one mark of punctuation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word {
    pub(super) hash: u64,
    /// Its first byte.
    pub(super) start: usize,
    pub(super) bytes: u32,
    /// Code points.
    pub(super) length: u32,
    pub(super) flags: u8,
}

impl Word {
    /// It has a letter.
    const LETTER: u8 = 1;
    /// It has nothing but symbols.
    const SYMBOLS: u8 = 2;
    /// It is one character, which ends sentences.
    const STOP: u8 = 4;
    /// It has nothing but punctuation.
    const PUNCTUATION: u8 = 8;
    /// More than one space stands before it.
    const GAP: u8 = 16;

    fn new(text: &str, start: usize) -> Self {
        let (mut letter, mut symbols, mut punctuation) = (false, true, true);
        let mut characters = 0;
        let mut last = '\0';
        for character in text.chars() {
            letter |= is_letter(character);
            symbols = symbols && is_symbol(character);
            punctuation = punctuation && is_punctuation(character);
            characters += 1;
            last = character;
        }
        let stop = characters == 1 && ends_sentence(last);
        let flag = |flag: u8, set: bool| if set { flag } else { 0 };
        let flags = flag(Self::LETTER, letter)
            | flag(Self::SYMBOLS, symbols)
            | flag(Self::STOP, stop)
            | flag(Self::PUNCTUATION, punctuation);
        Self { hash: hash(text.as_bytes()), start, bytes: text.len() as u32, length: characters, flags }
    }

    pub(super) fn has_letter(self) -> bool {
        self.flags & Self::LETTER != 0
    }

    pub(super) fn is_symbols(self) -> bool {
        self.flags & Self::SYMBOLS != 0
    }
}

/// Buffers of the splitting.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    ends: Vec<u32>,
    cut: Vec<u32>,
    found: Vec<(usize, usize)>,
}

/// Puts the words of a text in `words`.
pub(super) fn split(text: &str, segmentation: Segmentation, words: &mut Vec<Word>, scratch: &mut Scratch) {
    words.clear();
    match segmentation {
        Segmentation::English => english(text, words, scratch),
        Segmentation::Chinese => pieces(cut_chinese(text), text, words),
        Segmentation::Unicode => pieces(text.split_word_bounds(), text, words),
    }
}

/// Sentences of some words in a row: a new one begins behind a full stop (or its like) and the punctuation after it.
pub(super) fn sentences(words: &[Word], mut begins: impl FnMut(usize)) {
    let mut seen = false;
    for (at, word) in words.iter().enumerate() {
        let gap = word.flags & Word::GAP != 0;
        let stop = word.flags & Word::STOP != 0;
        if seen && (gap || (!stop && word.flags & Word::PUNCTUATION == 0)) {
            begins(at);
            seen = false;
        }
        seen |= stop;
    }
}

/// White space: whether it is more than a single space.
fn is_gap(space: &str) -> bool {
    !matches!(space, "" | " ")
}

/// Words from the parts of a text, in order, white space among them or left out.
fn pieces<'t>(parts: impl IntoIterator<Item = &'t str>, text: &'t str, words: &mut Vec<Word>) {
    let base = text.as_ptr() as usize;
    let mut end = 0;
    for part in parts {
        let bare = part.trim_matches(is_space);
        if bare.is_empty() {
            continue;
        }
        let start = bare.as_ptr() as usize - base;
        let mut word = Word::new(bare, start);
        if is_gap(&text[end..start]) {
            word.flags |= Word::GAP;
        }
        words.push(word);
        end = start + bare.len();
    }
}

const SPACE: u8 = 1;
const LETTER: u8 = 2;
const DIGIT: u8 = 4;
/// Beyond ASCII.
const WIDE: u8 = 8;
const OTHER: u8 = 16;

static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut classes = [OTHER; 256];
    let mut byte = 0;
    while byte < 256 {
        let character = byte as u8;
        if character >= 0x80 {
            classes[byte] = WIDE;
        } else if matches!(character, 9..=13 | 28..=32) {
            classes[byte] = SPACE;
        } else if character.is_ascii_alphabetic() {
            classes[byte] = LETTER;
        } else if character.is_ascii_digit() {
            classes[byte] = DIGIT;
        }
        byte += 1;
    }
    classes
}

/// Bytes of the white space at a byte that begins a character beyond ASCII; 0 where none is.
fn wide_space(text: &str, at: usize) -> usize {
    // U+0085, U+00A0; U+1680; U+2000 to U+205F; U+3000.
    if !matches!(text.as_bytes()[at], 0xC2 | 0xE1..=0xE3) {
        return 0;
    }
    text[at..].chars().next().filter(|&character| is_space(character)).map_or(0, char::len_utf8)
}

fn english(text: &str, words: &mut Vec<Word>, scratch: &mut Scratch) {
    let specials: &Specials = &ENGLISH;
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let space = at;
        while at < bytes.len() {
            let class = CLASSES[bytes[at] as usize];
            let length = if class == WIDE { wide_space(text, at) } else { usize::from(class == SPACE) };
            if length == 0 {
                break;
            }
            at += length;
        }
        let start = at;
        // What the last byte is, and what those before it are.
        let (mut last, mut before) = (0, 0);
        while at < bytes.len() {
            let class = CLASSES[bytes[at] as usize];
            if class == SPACE || (class == WIDE && wide_space(text, at) > 0) {
                break;
            }
            before |= last;
            last = class;
            at += 1;
        }
        if start == at {
            return;
        }
        let first = words.len();
        span(&text[start..at], start, last, before, specials, words, scratch);
        if is_gap(&text[space..start]) {
            words[first].flags |= Word::GAP;
        }
    }
}

/// The words of what stands between white space.
fn span(
    span: &str,
    start: usize,
    last: u8,
    before: u8,
    specials: &Specials,
    words: &mut Vec<Word>,
    scratch: &mut Scratch,
) {
    let bytes = span.as_bytes();
    let hashed = hash(bytes);
    if let Some(special) = specials.find_hashed(span, hashed) {
        return push(span, start, &special.ends, words);
    }
    let plain =
        |hash: u64, bytes: usize, flags: u8| Word { hash, start, bytes: bytes as u32, length: bytes as u32, flags };
    // Most words are letters, and most of the others are letters with one mark behind them.
    if before | last == LETTER {
        words.push(plain(hashed, bytes.len(), Word::LETTER));
        return;
    }
    if before | last == DIGIT {
        words.push(plain(hashed, bytes.len(), 0));
        return;
    }
    if before == LETTER && last == OTHER {
        let body = &span[..bytes.len() - 1];
        let leaves = match bytes[bytes.len() - 1] {
            b',' | b';' | b':' | b'!' | b'?' | b')' | b'"' | b'\'' | b']' => true,
            b'.' => {
                let (final_letter, body) = (bytes[bytes.len() - 2], body.as_bytes());
                let capitals = body.len() > 1 && body[body.len() - 2].is_ascii_uppercase();
                final_letter.is_ascii_lowercase() || capitals
            }
            _ => false,
        };
        if leaves {
            let hashed = hash(body.as_bytes());
            match specials.find_hashed(body, hashed) {
                Some(special) => push(body, start, &special.ends, words),
                None => words.push(plain(hashed, body.len(), Word::LETTER)),
            }
            words.push(Word::new(&span[body.len()..], start + body.len()));
            return;
        }
    }
    scratch.ends.clear();
    first_pass(span, Some(specials), &mut scratch.cut, &mut scratch.ends);
    second_pass(span, specials, &mut scratch.ends, &mut scratch.found);
    push(span, start, &scratch.ends, words);
}

fn push(text: &str, start: usize, ends: &[u32], words: &mut Vec<Word>) {
    let mut from = 0;
    for &end in ends {
        words.push(Word::new(&text[from..end as usize], start + from));
        from = end as usize;
    }
}

/// How many of the listed words there are.
pub(super) fn listed(words: &[Word], hashes: &[u64]) -> usize {
    // Nearly every word is told from the listed ones by six bits of its hash.
    let bit = |hash: u64| 1u64 << (hash >> 58);
    let mask = hashes.iter().fold(0, |mask, &hash| mask | bit(hash));
    let mut seen = vec![false; hashes.len()];
    for word in words.iter().filter(|word| mask & bit(word.hash) != 0) {
        if let Some(place) = hashes.iter().position(|&hash| hash == word.hash) {
            seen[place] = true;
        }
    }
    seen.into_iter().filter(|&seen| seen).count()
}

/// Code points of some words in a row, without what stands between them.
pub(super) fn total_length(words: &[Word]) -> usize {
    words.iter().map(|word| word.length as usize).sum()
}

/// Words between white space, up to a number of them.
pub(super) fn spaced(text: &str, enough: usize) -> usize {
    text.split(is_space).filter(|word| !word.is_empty()).take(enough).count()
}

/// True where something between white space is longer than so many code points.
pub(super) fn has_longer(text: &str, longest: usize) -> bool {
    text.len() > longest && text.split(is_space).any(|word| word.len() > longest && length(word) > longest)
}
