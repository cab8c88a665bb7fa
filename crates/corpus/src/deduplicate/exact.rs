//! Exact duplicates: documents of one content, or of one address.

use super::cluster::{Clusters, Grouping, Keep};
use super::external_sort::Scratch;
use super::url::normalize_url;
use crate::duplicates::{ContentHash, content_hash, truncated};
use crate::error::CorpusError;

/// Finds documents that are equal, by 128 bits of BLAKE3: at a billion documents the chance of one false match is below 10⁻²⁰.
///
/// Hashes beyond the memory of [`Scratch`] are sorted on disk, so what stays in memory is four bytes a document, eight where
/// the rule is not [`Keep::First`].
#[derive(Debug)]
pub struct ExactDuplicates {
    grouping: Grouping<3>,
}

impl ExactDuplicates {
    /// Nothing added yet.
    pub fn new(keep: Keep, scratch: &Scratch) -> Self {
        Self { grouping: Grouping::new(keep, scratch) }
    }

    /// Adds a document, known by its text without white space at both ends; `text` is normalized already.
    ///
    /// # Errors
    /// [`CorpusError::Invalid`] for a number that is not below 2³² − 1, [`CorpusError::Io`] where hashes cannot be written.
    pub fn add(&mut self, document: u64, text: &str) -> Result<(), CorpusError> {
        self.add_hash(document, content_hash(text), text.len())
    }

    /// Adds a document of so many bytes, known by its address as [`normalize_url`] spells it.
    ///
    /// # Errors
    /// As [`ExactDuplicates::add`].
    pub fn add_url(&mut self, document: u64, url: &str, bytes: usize) -> Result<(), CorpusError> {
        self.add_hash(document, truncated(&blake3::hash(normalize_url(url).as_bytes())), bytes)
    }

    /// Adds a document of so many bytes, known by any hash.
    ///
    /// # Errors
    /// As [`ExactDuplicates::add`].
    pub fn add_hash(&mut self, document: u64, hash: ContentHash, bytes: usize) -> Result<(), CorpusError> {
        self.grouping.document(document, bytes)?;
        let [high, low] = words_of(hash);
        self.grouping.push([high, low, document])
    }

    /// Gives a document the score that [`Keep::Best`] goes by.
    ///
    /// # Errors
    /// [`CorpusError::Invalid`] for a number out of range.
    pub fn set_score(&mut self, document: u64, score: f64) -> Result<(), CorpusError> {
        self.grouping.set_score(document, score)
    }

    /// The clusters of equal documents.
    ///
    /// # Errors
    /// [`CorpusError::Io`] where hashes cannot be written or read.
    pub fn finish(self) -> Result<Clusters, CorpusError> {
        self.grouping.finish(|_, _| true)
    }
}

/// A hash as the words of a record.
pub(super) fn words_of(hash: ContentHash) -> [u64; 2] {
    let word = u128::from_be_bytes(hash);
    [(word >> 64) as u64, word as u64]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_one_cluster_spilling_or_not() {
        let texts: Vec<String> = (0..5000).map(|number| format!("text {}\n", number * number % 997)).collect();
        let clusters = |memory| {
            let mut exact = ExactDuplicates::new(Keep::First, &Scratch { memory, ..Scratch::default() });
            for (number, text) in texts.iter().enumerate() {
                exact.add(number as u64, text).unwrap();
            }
            exact.finish().unwrap()
        };
        let found = clusters(1 << 20);
        for (number, text) in texts.iter().enumerate() {
            let first = texts.iter().position(|other| other.trim() == text.trim()).unwrap();
            assert_eq!(found.verdict(number as u64).kept, first == number);
        }
        assert_eq!(found, clusters(1000));
    }

    #[test]
    fn the_best_of_equal_addresses_stays() {
        let mut exact = ExactDuplicates::new(Keep::Best, &Scratch::default());
        for (number, url) in
            ["http://www.Example.org/a/?utm_source=x", "https://example.org/a", "https://example.org/b"]
                .iter()
                .enumerate()
        {
            exact.add_url(number as u64, url, 10).unwrap();
            exact.set_score(number as u64, number as f64).unwrap();
        }
        let clusters = exact.finish().unwrap();
        assert_eq!(clusters.count(), 1);
        assert!(!clusters.verdict(0).kept && clusters.verdict(1).kept && clusters.verdict(2).kept);
    }

    #[test]
    fn blank_texts_are_equal() {
        let mut exact = ExactDuplicates::new(Keep::Longest, &Scratch::default());
        for (number, text) in ["", " \n", "x", "  "].iter().enumerate() {
            exact.add(number as u64, text).unwrap();
        }
        let clusters = exact.finish().unwrap();
        assert_eq!((clusters.removed(), clusters.verdict(1).kept), (2, true));
    }
}
