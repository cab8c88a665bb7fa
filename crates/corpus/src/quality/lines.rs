//! Lines and paragraphs, by each of the definitions that the filters have of them.

use memchr::memchr;
use memchr::memmem::find;

use super::characters::length;
use super::hashing::{Counts, hash};

/// True where a text has line ends other than `\n`.
fn has_others(text: &str) -> bool {
    let bytes = text.as_bytes();
    let other = |byte: u8| matches!(byte, 0x0B..=0x0D | 0x1C..=0x1E);
    // Without a way out of the inner loop, it is compiled to vector instructions.
    let plain = bytes.chunks(512).any(|chunk| chunk.iter().fold(false, |found, &byte| found | other(byte)));
    let wide = || ["\u{85}", "\u{2028}", "\u{2029}"].iter().any(|end| find(bytes, end.as_bytes()).is_some());
    plain || (!text.is_ascii() && wide())
}

/// The bytes of a line end at `at`; 0 where none is.
fn line_end(bytes: &[u8], at: usize) -> usize {
    match bytes[at] {
        b'\r' => 1 + usize::from(bytes.get(at + 1) == Some(&b'\n')),
        b'\n' | 0x0B | 0x0C | 0x1C..=0x1E => 1,
        0xC2 if bytes.get(at + 1) == Some(&0x85) => 2,
        0xE2 if matches!(bytes.get(at + 1..at + 3), Some([0x80, 0xA8 | 0xA9])) => 3,
        _ => 0,
    }
}

/// The lines of a text without their ends, by every line end that Unicode and Python know. What follows the last is a line
/// where there is something.
pub(super) fn any_lines(text: &str) -> impl Iterator<Item = &str> {
    let others = has_others(text);
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let bytes = rest.as_bytes();
        let (end, length) = if others {
            let end = (0..bytes.len()).find(|&at| line_end(bytes, at) > 0);
            end.map_or((bytes.len(), 0), |end| (end, line_end(bytes, end)))
        } else {
            memchr(b'\n', bytes).map_or((bytes.len(), 0), |end| (end, 1))
        };
        let line = &rest[..end];
        rest = &rest[end + length..];
        Some(line)
    })
}

/// What stands between line feeds, the empty lines too; at least one line.
pub(super) fn feed_lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = memchr(b'\n', text.as_bytes());
        rest = end.map(|end| &text[end + 1..]);
        Some(&text[..end.unwrap_or(text.len())])
    })
}

/// What stands between runs of at least so many line feeds: empty only at the start and the end of a text.
pub(super) fn blocks(text: &str, feeds: usize) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let bytes = text.as_bytes();
        let mut from = 0;
        while let Some(found) = memchr(b'\n', &bytes[from..]) {
            let start = from + found;
            let run = bytes[start..].iter().take_while(|&&byte| byte == b'\n').count();
            if run >= feeds {
                rest = Some(&text[start + run..]);
                return Some(&text[..start]);
            }
            from = start + run;
        }
        rest = None;
        Some(text)
    })
}

/// How many parts there are, how many of them stood before, and the code points of those.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Repeats {
    pub(super) parts: usize,
    pub(super) repeated: usize,
    pub(super) characters: usize,
}

/// Counts the parts that stood before. `hashes` is a buffer.
pub(super) fn repeats<'t>(
    parts: impl Iterator<Item = &'t str>,
    hashes: &mut Vec<(u64, &'t str)>,
    counts: &mut Counts,
) -> Repeats {
    hashes.clear();
    hashes.extend(parts.map(|part| (hash(part.as_bytes()), part)));
    let mut found = Repeats { parts: hashes.len(), ..Repeats::default() };
    if hashes.len() > 1 {
        counts.start(hashes.len());
        for &(hash, part) in hashes.iter() {
            if counts.add(hash).1 > 1 {
                found.repeated += 1;
                found.characters += length(part);
            }
        }
    }
    found
}
