//! Records read back document by document.

use super::external_sort::Sorted;
use crate::error::CorpusError;

/// Sorted records whose first word is a document's number.
#[derive(Debug)]
pub(super) struct InOrder<const WORDS: usize> {
    sorted: Sorted<WORDS>,
    head: Option<[u64; WORDS]>,
    /// The last document asked for.
    last: Option<u64>,
    found: Vec<[u64; WORDS]>,
}

impl<const WORDS: usize> InOrder<WORDS> {
    pub(super) fn new(sorted: Sorted<WORDS>) -> Self {
        Self { sorted, head: None, last: None, found: Vec::new() }
    }

    /// The records of a document, which must be above the last one asked for; those passed over are lost.
    pub(super) fn of(&mut self, document: u64) -> Result<&[[u64; WORDS]], CorpusError> {
        if let Some(last) = self.last.filter(|last| document <= *last) {
            return Err(CorpusError::invalid(
                format!("document {document} after document {last}"),
                "what was found is read back once: ask for documents in ascending order",
            ));
        }
        self.last = Some(document);
        self.found.clear();
        while let Some(record) = self.head.take().map(Ok).or_else(|| self.sorted.next()).transpose()? {
            if record[0] > document {
                self.head = Some(record);
                break;
            }
            if record[0] == document {
                self.found.push(record);
            }
        }
        Ok(&self.found)
    }
}
