//! What is told about a source and about a held-out domain.

use serde::{Deserialize, Serialize};

use crate::duplicates::RepeatedDocument;

/// Documents that were left out for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// In words: that there was no text, or what left none.
    pub reason: String,
    /// How many.
    pub documents: u64,
}

/// A training source in numbers. What is held out of it is not counted here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceSummary {
    /// Its name.
    pub name: String,
    /// How often it is shown in relation to its size.
    pub weight: f64,
    /// Documents.
    pub documents: u64,
    /// Distinct documents.
    pub unique_documents: u64,
    /// Documents beyond the first copy of each.
    pub duplicate_documents: u64,
    /// Bytes of those.
    pub duplicate_bytes: u64,
    /// Bytes of normalized and cleaned text.
    pub bytes: u64,
    /// Tokens, the ends of documents included.
    pub tokens: u64,
    /// Of those, tokens that stand for words that the tokenizer does not know.
    #[serde(default)]
    pub unknown_tokens: u64,
    /// Documents with nothing to learn from, by reason; they are not among `documents`.
    #[serde(default)]
    pub dropped: Vec<Dropped>,
    /// Its planned share of the training tokens: weight × tokens, normalized over the sources.
    pub share: f64,
    /// Its most repeated documents.
    pub most_repeated: Vec<RepeatedDocument>,
}

/// A held-out domain in numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeldOutSummary {
    /// Its name.
    pub name: String,
    /// Documents, or parts of documents.
    pub documents: u64,
    /// Bytes of normalized and cleaned text.
    pub bytes: u64,
    /// Tokens, the ends of documents included.
    pub tokens: u64,
    /// Of those, tokens that stand for words that the tokenizer does not know.
    #[serde(default)]
    pub unknown_tokens: u64,
    /// Documents with nothing to tell, by reason; they are not among `documents`.
    #[serde(default)]
    pub dropped: Vec<Dropped>,
    /// Documents that also stand, exactly, in the training text.
    pub overlap_documents: u64,
}

/// Sets every source's share from weights and tokens.
pub(super) fn set_shares(sources: &mut [SourceSummary]) {
    let total: f64 = sources.iter().map(|source| source.weight * source.tokens as f64).sum();
    for source in sources {
        source.share = if total > 0.0 { source.weight * source.tokens as f64 / total } else { 0.0 };
    }
}
