//! A fast road for byte-level BPE with GPT-2's word pattern, which is what Loam trains by default.
//!
//! The general road of `tokenizers` keeps alignments of every character through every stage and runs a
//! regular expression over all text; that costs most of the time of preparing a corpus. The pattern of
//! GPT-2 is simple enough to be read by hand, and a word that was seen before has known ids, so here text
//! is cut by a few comparisons and looked up. Which characters are letters, numbers and white space is
//! asked of the very regular expression engine that `tokenizers` uses, once, so both roads always agree
//! (a test compares them).

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::LazyLock;

use tokenizers::utils::SysRegex;
use tokenizers::{DecoderWrapper, Model, ModelWrapper, PreTokenizerWrapper};

/// Words kept per thread; beyond this, words are encoded anew.
const MOST_CACHED: usize = 1 << 17;
/// Longer words are not kept.
const LONGEST_CACHED: usize = 64;

#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Class {
    Other,
    Letter,
    Number,
    Space,
}

/// The class of every code point.
static CLASSES: LazyLock<Vec<Class>> = LazyLock::new(|| {
    let mut classes = vec![Class::Other; 0x11_0000];
    let all: String = (0..0x11_0000).filter_map(char::from_u32).collect();
    for (pattern, class) in [(r"\p{L}+", Class::Letter), (r"\p{N}+", Class::Number), (r"\s+", Class::Space)] {
        let Ok(regex) = SysRegex::new(pattern) else { continue };
        for (start, end) in regex.find_iter(&all) {
            for character in all[start..end].chars() {
                classes[character as usize] = class;
            }
        }
    }
    classes
});

/// GPT-2's bijection between bytes and printable characters.
static BYTE_CHARACTERS: LazyLock<[char; 256]> = LazyLock::new(|| {
    let printable = |byte: u32| matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
    let mut next = 256;
    std::array::from_fn(|byte| {
        let byte = byte as u32;
        let code = if printable(byte) {
            byte
        } else {
            next += 1;
            next - 1
        };
        char::from_u32(code).unwrap_or_default()
    })
});

/// The byte that a character of a byte-level token stands for.
pub(super) fn byte_of(character: char) -> Option<u8> {
    static BYTES: LazyLock<HashMap<char, u8>> = LazyLock::new(|| {
        BYTE_CHARACTERS.iter().enumerate().map(|(byte, &character)| (character, byte as u8)).collect()
    });
    BYTES.get(&character).copied()
}

/// All 256 byte characters.
pub(super) fn alphabet() -> impl Iterator<Item = char> {
    BYTE_CHARACTERS.iter().copied()
}

/// A word in byte characters.
pub(super) fn to_byte_characters(word: &str) -> String {
    word.bytes().map(|byte| BYTE_CHARACTERS[byte as usize]).collect()
}

/// True when the tokens of this tokenizer are spelled in byte characters.
pub(super) fn decodes_bytes(model: &tokenizers::Tokenizer) -> bool {
    matches!(model.get_decoder(), Some(DecoderWrapper::ByteLevel(_)))
}

/// Cuts text into words by GPT-2's pattern
/// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`.
pub(super) struct Words<'a> {
    text: &'a str,
    classes: &'static [Class],
}

impl<'a> Words<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, classes: &CLASSES }
    }

    fn class_at(&self, at: usize) -> Option<(Class, usize)> {
        let byte = *self.text.as_bytes().get(at)?;
        if byte < 0x80 {
            return Some((self.classes[byte as usize], 1));
        }
        let character = self.text[at..].chars().next()?;
        Some((self.classes[character as usize], character.len_utf8()))
    }

    /// The end of the run of this class that begins at `at`.
    fn run(&self, class: Class, mut at: usize) -> usize {
        while let Some((next, length)) = self.class_at(at) {
            if next != class {
                break;
            }
            at += length;
        }
        at
    }

    fn length(&self) -> Option<usize> {
        let bytes = self.text.as_bytes();
        let (class, length) = self.class_at(0)?;
        if bytes[0] == b'\'' {
            match bytes.get(1..).unwrap_or_default() {
                [b's' | b't' | b'm' | b'd', ..] => return Some(2),
                [b'r' | b'v', b'e', ..] | [b'l', b'l', ..] => return Some(3),
                _ => {}
            }
        }
        if class != Class::Space {
            return Some(self.run(class, length));
        }
        if bytes[0] == b' '
            && let Some((next, next_length)) = self.class_at(1)
            && next != Class::Space
        {
            return Some(self.run(next, 1 + next_length));
        }
        let mut last = 0;
        let mut end = 0;
        while let Some((Class::Space, length)) = self.class_at(end) {
            last = end;
            end += length;
        }
        // White space before a word leaves its last character to that word.
        Some(if end < bytes.len() && last > 0 { last } else { end })
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let (word, rest) = self.text.split_at(self.length()?);
        self.text = rest;
        Some(word)
    }
}

#[derive(Default)]
struct Cache {
    owner: u64,
    words: HashMap<Box<str>, Box<[u32]>>,
}

thread_local! {
    static CACHE: RefCell<Cache> = RefCell::default();
}

/// Encodes by cutting with [`Words`] and remembering words.
pub(super) struct ByteLevelEncoder {
    /// Distinguishes tokenizers in the threads' caches.
    identity: u64,
}

impl ByteLevelEncoder {
    /// The fast road for this tokenizer, or `None` when anything about it differs from plain GPT-2.
    pub(super) fn of(model: &tokenizers::Tokenizer) -> Option<Self> {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let ModelWrapper::BPE(bpe) = model.get_model() else { return None };
        let Some(PreTokenizerWrapper::ByteLevel(cutting)) = model.get_pre_tokenizer() else { return None };
        let plain = bpe.dropout.is_none()
            && model.get_normalizer().is_none()
            && !cutting.add_prefix_space
            && cutting.use_regex
            && model.get_added_vocabulary().get_added_tokens_decoder().values().all(|token| token.special);
        plain.then(|| Self { identity: NEXT.fetch_add(1, Ordering::Relaxed) })
    }

    pub(super) fn encode(&self, model: &tokenizers::Tokenizer, text: &str) -> Vec<u32> {
        let mut ids = Vec::with_capacity(text.len() / 3);
        CACHE.with_borrow_mut(|cache| {
            if cache.owner != self.identity {
                *cache = Cache { owner: self.identity, words: HashMap::new() };
            }
            for word in Words::new(text) {
                if let Some(known) = cache.words.get(word) {
                    ids.extend_from_slice(known);
                    continue;
                }
                let begin = ids.len();
                let tokens = model.get_model().tokenize(&to_byte_characters(word)).unwrap_or_default();
                ids.extend(tokens.iter().map(|token| token.id));
                if word.len() <= LONGEST_CACHED && cache.words.len() < MOST_CACHED {
                    cache.words.insert(word.into(), ids[begin..].into());
                }
            }
        });
        ids
    }
}
