//! Exact duplicates, counted without keeping the documents.
//!
//! Repeated text costs training time and is learnt by heart, so it is counted before anything else is
//! decided about it. A document is known by 16 bytes of BLAKE3 of its normalized, trimmed text: at a
//! billion documents the chance of one false match is below 10⁻²⁰. While counting, a distinct document
//! takes 24 to 48 bytes, sealed it takes 20; the text and path of the most repeated ones are kept in a
//! small table that rarer ones fall out of.

use std::collections::HashMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// 128 bits of BLAKE3 over a normalized, trimmed text.
pub type ContentHash = [u8; 16];

/// Entries of the table of most repeated documents.
const TABLE: usize = 256;
/// Characters of the first line shown.
const PREVIEW: usize = 120;

/// The hash by which exact duplicates are known; `text` is normalized already.
pub fn content_hash(text: &str) -> ContentHash {
    truncated(&blake3::hash(text.trim().as_bytes()))
}

/// The first 128 bits of a hash.
pub(crate) fn truncated(hash: &blake3::Hash) -> ContentHash {
    let mut short = [0; 16];
    short.copy_from_slice(&hash.as_bytes()[..16]);
    short
}

/// A hash in hexadecimal.
pub(crate) fn hexadecimal(hash: &ContentHash) -> String {
    use std::fmt::Write;
    hash.iter().fold(String::with_capacity(32), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A document that stands in a source more than once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepeatedDocument {
    /// How many times it stands there.
    pub copies: u64,
    /// Length of one copy in bytes.
    pub bytes: u64,
    /// Its first line that is not blank, at most 120 characters.
    pub preview: String,
    /// A file that holds a copy.
    pub path: String,
}

/// Counts documents and their copies.
#[derive(Clone, Debug, Default)]
pub struct DuplicateCounter {
    counts: HashMap<ContentHash, u32>,
    table: HashMap<ContentHash, RepeatedDocument>,
    /// Copies below which a new document does not enter a full table.
    entrance: u64,
    documents: u64,
    duplicate_bytes: u64,
}

impl DuplicateCounter {
    /// Counts one document and returns how many copies of it there are by now, itself included.
    pub fn add(&mut self, hash: ContentHash, text: &str, path: &Path) -> u64 {
        let count = self.counts.entry(hash).or_insert(0);
        *count = count.saturating_add(1);
        let copies = u64::from(*count);
        self.documents += 1;
        if copies > 1 {
            self.duplicate_bytes += text.len() as u64;
            self.remember(hash, copies, text, path);
        }
        copies
    }

    fn remember(&mut self, hash: ContentHash, copies: u64, text: &str, path: &Path) {
        if let Some(entry) = self.table.get_mut(&hash) {
            entry.copies = copies;
            return;
        }
        if self.table.len() >= TABLE {
            if copies <= self.entrance {
                return;
            }
            // Ties fall by hash, so that the outcome does not hang on the order of the table.
            let rarest = self.table.iter().map(|(hash, entry)| (entry.copies, *hash)).min();
            if let Some((fewest, rarest)) = rarest {
                self.entrance = fewest;
                if copies <= fewest {
                    return;
                }
                self.table.remove(&rarest);
            }
        }
        let preview = preview(text);
        let entry = RepeatedDocument { copies, bytes: text.len() as u64, preview, path: path.display().to_string() };
        self.table.insert(hash, entry);
    }

    /// Forgets a document with all its copies; `text_bytes` is the length of one copy.
    pub fn remove(&mut self, hash: &ContentHash, text_bytes: u64) {
        if let Some(copies) = self.counts.remove(hash) {
            let copies = u64::from(copies);
            self.documents -= copies;
            self.duplicate_bytes = self.duplicate_bytes.saturating_sub((copies - 1) * text_bytes);
            self.table.remove(hash);
        }
    }

    /// Documents counted.
    pub fn documents(&self) -> u64 {
        self.documents
    }

    /// Distinct documents.
    pub fn unique_documents(&self) -> u64 {
        self.counts.len() as u64
    }

    /// Documents beyond the first copy of each.
    pub fn duplicate_documents(&self) -> u64 {
        self.documents - self.unique_documents()
    }

    /// Bytes of the documents beyond the first copy of each.
    pub fn duplicate_bytes(&self) -> u64 {
        self.duplicate_bytes
    }

    /// Copies counted of this document.
    pub fn copies(&self, hash: &ContentHash) -> u64 {
        self.counts.get(hash).copied().map_or(0, u64::from)
    }

    /// The most repeated documents, most copies first.
    pub fn most_repeated(&self, limit: usize) -> Vec<RepeatedDocument> {
        let mut entries: Vec<_> = self.table.iter().collect();
        entries.sort_by(|a, b| b.1.copies.cmp(&a.1.copies).then(b.1.bytes.cmp(&a.1.bytes)).then(a.0.cmp(b.0)));
        entries.into_iter().take(limit).map(|(_, entry)| entry.clone()).collect()
    }

    /// The counts alone, in less memory.
    pub fn seal(self) -> SealedCounts {
        let mut counts: Vec<_> = self.counts.into_iter().collect();
        counts.sort_unstable();
        SealedCounts { counts }
    }
}

/// Counts of copies, sorted for looking up.
#[derive(Clone, Debug, Default)]
pub struct SealedCounts {
    counts: Vec<(ContentHash, u32)>,
}

impl SealedCounts {
    /// Copies counted of this document.
    pub fn copies(&self, hash: &ContentHash) -> u64 {
        self.counts.binary_search_by(|(known, _)| known.cmp(hash)).map_or(0, |at| u64::from(self.counts[at].1))
    }
}

/// The first line that is not blank, at most 120 characters.
pub(crate) fn preview(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    match line.char_indices().nth(PREVIEW) {
        Some(_) => line.chars().take(PREVIEW - 1).chain(['…']).collect(),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(texts: &[&str]) -> DuplicateCounter {
        let mut counter = DuplicateCounter::default();
        for text in texts {
            counter.add(content_hash(text), text, Path::new("a.txt"));
        }
        counter
    }

    #[test]
    fn copies_and_bytes() {
        let counter = count(&["one", "two", "one", " one\n", "three"]);
        assert_eq!((counter.documents(), counter.unique_documents(), counter.duplicate_documents()), (5, 3, 2));
        assert_eq!(counter.duplicate_bytes(), 3 + 5);
        let repeated = counter.most_repeated(10);
        assert_eq!(repeated.len(), 1);
        assert_eq!((repeated[0].copies, repeated[0].preview.as_str()), (3, "one"));
        assert_eq!(counter.copies(&content_hash("two")), 1);
        assert_eq!(counter.seal().copies(&content_hash("one")), 3);
    }

    #[test]
    fn the_most_repeated_stay_in_a_full_table() {
        let mut counter = DuplicateCounter::default();
        let mut add = |text: &str, times: usize| {
            for _ in 0..times {
                counter.add(content_hash(text), text, Path::new("a"));
            }
        };
        for k in 0..2000 {
            add(&format!("pair {k}"), 2);
        }
        add("last and most", 7);
        add("second", 5);
        let repeated = counter.most_repeated(2);
        assert_eq!(repeated.iter().map(|entry| entry.copies).collect::<Vec<_>>(), [7, 5]);
    }

    #[test]
    fn previews_are_short() {
        assert_eq!(preview("\n\n  first \nsecond"), "first");
        assert_eq!(preview(&"水".repeat(500)).chars().count(), PREVIEW);
    }
}
