//! Repeated passages: runs of tokens or bytes that stand in a corpus more than once.
//!
//! Lee et al. (2022, "Deduplicating Training Data Makes Language Models Better") find runs of 50 tokens and more that repeat,
//! wherever they stand, in a suffix array of the whole corpus. A run of so many tokens repeats where every window of 50 within
//! it does, so the same places are found by sorting one hash a window, which needs no more memory than it is given and reads
//! the corpus as a stream, in portions that sort apart and merge: nothing is lost between them. A window's hash is a pair of
//! polynomials modulo 2⁶¹ − 1 at places drawn from a seed; two different windows of L tokens have the same with probability
//! below (L / 2⁶¹)², one in 10³³ for 50. A test compares with a suffix array.
//!
//! Each record takes 32 bytes of memory or scratch space, so a billion tokens sort in 32 GB on disk.

use std::ops::Range;

use super::arithmetic::{Draws, PRIME, add_modulo, multiply_modulo, subtract_modulo};
use super::external_sort::{ExternalSorter, Scratch};
use super::in_order::InOrder;
use super::words::{Cut, each_word};
use crate::error::CorpusError;

/// Tokens of a passage that Lee et al. remove.
pub const PASSAGE: usize = 50;

/// Finds repeated passages.
///
/// ```
/// use loam_corpus::deduplicate::{RepeatedPassages, Scratch};
///
/// let mut repeated = RepeatedPassages::new(4, &Scratch::default())?;
/// repeated.add(0, &[1_u32, 2, 3, 4, 5])?;
/// repeated.add(1, &[9_u32, 1, 2, 3, 4, 5, 8])?;
/// let mut passages = repeated.finish()?;
/// assert!(passages.of(0)?.is_empty());
/// assert_eq!(passages.of(1)?, [1..6]);
/// # Ok::<(), loam_corpus::CorpusError>(())
/// ```
#[derive(Debug)]
pub struct RepeatedPassages {
    length: usize,
    scratch: Scratch,
    bases: [u64; 2],
    /// What the token that leaves a window counted for.
    powers: [u64; 2],
    /// Two words of hash, document, place.
    windows: ExternalSorter<4>,
}

impl RepeatedPassages {
    /// Looks for passages of `length` tokens and more ([`PASSAGE`] is usual).
    ///
    /// # Errors
    /// [`CorpusError::Invalid`] for a length of nought.
    pub fn new(length: usize, scratch: &Scratch) -> Result<Self, CorpusError> {
        if length == 0 {
            return Err(CorpusError::invalid("passages of no token", "a passage has one token and more; 50 are usual"));
        }
        let mut draws = Draws::new(0x5EED);
        let bases = [0; 2].map(|_| draws.draw() % (PRIME - 2) + 2);
        let powers = bases.map(|base| (1..length).fold(1, |power, _| multiply_modulo(power, base)));
        Ok(Self { length, scratch: scratch.clone(), bases, powers, windows: ExternalSorter::new(scratch) })
    }

    /// Adds a document of token ids or bytes; in any order.
    ///
    /// # Errors
    /// [`CorpusError::Io`] where hashes cannot be written.
    pub fn add<T: Copy + Into<u32>>(&mut self, document: u64, tokens: &[T]) -> Result<(), CorpusError> {
        // Above nought, so that a token of 0 counts.
        let value = |token: T| u64::from(token.into()) + 1;
        let mut hash = [0; 2];
        for (place, &token) in tokens.iter().enumerate() {
            let leaves = place.checked_sub(self.length).map(|left| value(tokens[left]));
            for ((hash, &base), &power) in hash.iter_mut().zip(&self.bases).zip(&self.powers) {
                if let Some(leaves) = leaves {
                    *hash = subtract_modulo(*hash, multiply_modulo(leaves, power));
                }
                *hash = add_modulo(multiply_modulo(*hash, base), value(token));
            }
            if place + 1 >= self.length {
                self.windows.push([hash[0], hash[1], document, (place + 1 - self.length) as u64])?;
            }
        }
        Ok(())
    }

    /// What to remove.
    ///
    /// # Errors
    /// [`CorpusError::Io`] where hashes cannot be written or read.
    pub fn finish(self) -> Result<Passages, CorpusError> {
        let length = self.length as u64;
        let mut ranges = ExternalSorter::new(&self.scratch);
        let mut first = [0; 4];
        let mut begun = false;
        for record in self.windows.sort()? {
            let record = record?;
            if !begun || first[..2] != record[..2] {
                (first, begun) = (record, true);
                continue;
            }
            let [_, _, document, place] = record;
            // Where a passage repeats itself before it ends (`aaaa`), its first occurrence stays whole.
            let begin = if document == first[2] { place.max(first[3] + length) } else { place };
            if begin < place + length {
                ranges.push([document, begin, place + length])?;
            }
        }
        Ok(Passages { ranges: InOrder::new(ranges.sort()?) })
    }
}

/// The words of a text as tokens to find passages of: runs of letters and digits in lower case, letters of scripts without
/// spaces one by one. A token is 32 bits of a word's hash; that two passages of 50 words had the same by chance would take 50
/// such accidents.
pub fn words_as_tokens(text: &str) -> Vec<u32> {
    let mut tokens = Vec::new();
    each_word(text, Cut::Mixed, 0x5EED, |hash, _| tokens.push(hash as u32));
    tokens
}

/// A text without these ranges of its words, which are those of [`words_as_tokens`], in ascending order and apart. What stands
/// between a range and the next word goes with it; where that held the end of a line, a line ends there still.
pub fn without_words(text: &str, ranges: &[Range<usize>]) -> String {
    let mut places = Vec::new();
    each_word(text, Cut::Mixed, 0x5EED, |_, place| places.push(place));
    let mut left = String::with_capacity(text.len());
    let mut from = 0;
    for range in ranges {
        let (Some(first), Some(last)) = (places.get(range.start), places.get(range.end.wrapping_sub(1))) else {
            continue;
        };
        left.push_str(&text[from..first.start]);
        from = places.get(range.end).map_or(text.len(), |next| next.start);
        if text[last.end..from].contains('\n') && !left.is_empty() && !left.ends_with('\n') {
            left.truncate(left.trim_end().len());
            left.push('\n');
        }
    }
    left.push_str(&text[from..]);
    if !ranges.is_empty() {
        left.truncate(left.trim_end().len());
    }
    left
}

/// Passages to remove, read back document by document.
#[derive(Debug)]
pub struct Passages {
    ranges: InOrder<3>,
}

impl Passages {
    /// Ranges of tokens (or bytes) of a document that stand in an earlier one, or earlier in this one, in ascending order and
    /// apart from each other. What is in none of them stays, and with it the first occurrence of every window.
    ///
    /// Ranges of bytes may begin or end within a character. Documents are asked for in ascending order; some may be left out.
    ///
    /// # Errors
    /// [`CorpusError::Invalid`] where a document comes too late, [`CorpusError::Io`] where hashes cannot be read.
    pub fn of(&mut self, document: u64) -> Result<Vec<Range<usize>>, CorpusError> {
        let mut ranges: Vec<Range<usize>> = Vec::new();
        for &[_, begin, end] in self.ranges.of(document)? {
            let (begin, end) = (begin as usize, end as usize);
            match ranges.last_mut() {
                Some(last) if begin <= last.end => last.end = last.end.max(end),
                _ => ranges.push(begin..end),
            }
        }
        Ok(ranges)
    }
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "ranges are what is found")]
mod tests {
    use super::*;

    fn found<T: Copy + Into<u32>>(documents: &[Vec<T>], length: usize, memory: usize) -> Vec<Vec<Range<usize>>> {
        let mut repeated = RepeatedPassages::new(length, &Scratch { memory, ..Scratch::default() }).unwrap();
        for (number, tokens) in documents.iter().enumerate() {
            repeated.add(number as u64, tokens).unwrap();
        }
        let mut passages = repeated.finish().unwrap();
        (0..documents.len() as u64).map(|number| passages.of(number).unwrap()).collect()
    }

    /// The tokens that a plain search removes.
    fn by_force(documents: &[Vec<u32>], length: usize) -> Vec<Vec<bool>> {
        let mut removed: Vec<Vec<bool>> = documents.iter().map(|tokens| vec![false; tokens.len()]).collect();
        let windows: Vec<(usize, usize, &[u32])> = documents
            .iter()
            .enumerate()
            .flat_map(|(number, tokens)| {
                tokens.windows(length).enumerate().map(move |(place, window)| (number, place, window))
            })
            .collect();
        for (order, &(number, place, window)) in windows.iter().enumerate() {
            if let Some(&(first, begin, _)) = windows[..order].iter().find(|(_, _, earlier)| *earlier == window) {
                for (token, removed) in removed[number].iter_mut().enumerate().skip(place).take(length) {
                    *removed |= first != number || token >= begin + length;
                }
            }
        }
        removed
    }

    /// The tokens in any repeat but for those before which the same run began already, by a suffix array.
    fn by_suffix_array(documents: &[Vec<u32>], length: usize) -> Vec<Vec<bool>> {
        let mut suffixes: Vec<(usize, usize)> = documents
            .iter()
            .enumerate()
            .flat_map(|(n, tokens)| (0..tokens.len()).map(move |place| (n, place)))
            .collect();
        suffixes.sort_by(|&(a, i), &(b, k)| documents[a][i..].cmp(&documents[b][k..]).then((a, i).cmp(&(b, k))));
        let mut removed: Vec<Vec<bool>> = documents.iter().map(|tokens| vec![false; tokens.len()]).collect();
        let prefix = |&(n, place): &(usize, usize)| documents[n].get(place..place + length);
        for group in suffixes.chunk_by(|one, other| prefix(one).is_some() && prefix(one) == prefix(other)) {
            let first = *group.iter().min().unwrap();
            for &(n, place) in group.iter().filter(|suffix| **suffix != first) {
                let begin = if n == first.0 { place.max(first.1 + length) } else { place };
                removed[n][begin.min(place + length)..place + length].fill(true);
            }
        }
        removed
    }

    fn marks(documents: &[Vec<u32>], ranges: &[Vec<Range<usize>>]) -> Vec<Vec<bool>> {
        let inside = |ranges: &[Range<usize>], place| ranges.iter().any(|range| range.contains(&place));
        documents
            .iter()
            .zip(ranges)
            .map(|(tokens, ranges)| (0..tokens.len()).map(|place| inside(ranges, place)).collect())
            .collect()
    }

    #[test]
    fn equal_to_a_plain_search_and_to_a_suffix_array() {
        let mut draws = Draws::new(2);
        for (letters, length) in [(2, 6), (3, 4), (2, 1), (50, 2), (2, 30)] {
            let documents: Vec<Vec<u32>> =
                (0..12).map(|_| (0..draws.draw() % 60).map(|_| (draws.draw() % letters) as u32).collect()).collect();
            let expected = by_force(&documents, length);
            assert_eq!(by_suffix_array(&documents, length), expected);
            for memory in [0, 1 << 20] {
                let ranges = found(&documents, length, memory);
                assert_eq!(marks(&documents, &ranges), expected, "{letters} letters, length {length}");
                assert!(ranges.iter().all(|ranges| ranges.windows(2).all(|two| two[0].end < two[1].start)));
            }
        }
    }

    #[test]
    fn a_run_that_repeats_itself_keeps_its_beginning() {
        assert_eq!(found(&[vec![7_u32; 200]], PASSAGE, 0), [vec![50..200]]);
        assert_eq!(found(&[vec![0_u8; 50], vec![0_u8; 49], vec![0_u8; 60]], PASSAGE, 0), [vec![], vec![], vec![0..60]]);
    }

    #[test]
    fn a_passage_within_other_text() {
        let passage: Vec<u32> = (1000..1080).collect();
        let mut one: Vec<u32> = (0..100).collect();
        let mut other: Vec<u32> = (200..320).collect();
        one.splice(40..40, passage.clone());
        other.splice(7..7, passage);
        assert_eq!(found(&[one, other, vec![], vec![1]], PASSAGE, 1 << 20), [vec![], vec![7..87], vec![], vec![]]);
    }

    #[test]
    fn words_of_a_text_go_with_what_stands_behind_them() {
        let text = "One two, three. Four five!\nSix 红楼梦 seven.\n";
        assert_eq!(words_as_tokens(text).len(), 10);
        assert_eq!(words_as_tokens("ONE — two"), words_as_tokens("one, TWO"));
        assert_eq!(without_words(text, &[]), text);
        assert_eq!(without_words(text, &[1..3]), "One Four five!\nSix 红楼梦 seven.");
        assert_eq!(without_words(text, &[3..5, 7..8]), "One two, three.\nSix 红梦 seven.");
        assert_eq!(without_words(text, &[5..10]), "One two, three. Four five!");
        assert_eq!(without_words(text, &[0..10]), "");
        assert_eq!(without_words(text, &[20..30]), text.trim_end());
    }

    #[test]
    fn the_order_of_numbers_decides_not_that_of_adding() {
        let tokens: Vec<u32> = (0..60).collect();
        let mut repeated = RepeatedPassages::new(PASSAGE, &Scratch::default()).unwrap();
        for number in [9, 3, 5] {
            repeated.add(number, &tokens).unwrap();
        }
        let mut passages = repeated.finish().unwrap();
        assert!(passages.of(3).unwrap().is_empty());
        assert_eq!(passages.of(9).unwrap(), [0..60]);
        assert!(passages.of(5).is_err());
        assert!(RepeatedPassages::new(0, &Scratch::default()).is_err());
    }
}
