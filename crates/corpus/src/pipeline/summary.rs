//! What came, and what went at which step.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::row::{Row, Side};

/// Documents that went for one reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// How many.
    pub documents: u64,
    /// Bytes of their texts when they went.
    pub bytes: u64,
}

/// One source in numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceCounts {
    /// Documents read.
    pub read: u64,
    /// Bytes of their texts.
    pub bytes_read: u64,
    /// Documents kept, those held out among them.
    pub kept: u64,
    /// Bytes of their texts.
    pub bytes: u64,
    /// Of these, documents held out.
    pub held_out: u64,
    /// Things that were redacted in those kept.
    pub redacted: u64,
    /// Lines and paragraphs that were taken out of those kept.
    pub repeated: u64,
    /// Those that went, by reason.
    pub dropped: BTreeMap<String, Reason>,
    /// Of those that went, those that hold parts of evaluation sets, by set; one may hold parts of several.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub contaminated: BTreeMap<String, u64>,
    /// Those kept by language, where it was told.
    pub languages: BTreeMap<String, u64>,
    /// Their tokens, where a tokenizer was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<TokenCounts>,
}

/// The tokens of one source, ends of documents included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TokenCounts {
    /// To train on.
    pub train: u64,
    /// Held out.
    pub held_out: u64,
    /// Its part of what a model is to be shown.
    pub share: f64,
    /// How often its tokens are shown where all planned ones are.
    pub epochs: f64,
}

/// What a pipeline did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PipelineSummary {
    /// By source.
    pub sources: BTreeMap<String, SourceCounts>,
    /// Tokens that a model is to be shown, where tokens were made: as many as there are, or the budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned_tokens: Option<u64>,
    /// What in files could not be read and was passed over, a message each.
    pub passed_over: Vec<String>,
}

impl PipelineSummary {
    pub(super) fn add(&mut self, row: &Row) {
        let counts = match self.sources.get_mut(&*row.source) {
            Some(counts) => counts,
            None => self.sources.entry(row.source.to_string()).or_default(),
        };
        counts.read += 1;
        counts.bytes_read += row.bytes_read;
        if let Some(reason) = &row.rule {
            let reason = counts.dropped.entry(reason.clone()).or_default();
            reason.documents += 1;
            reason.bytes += row.bytes;
            for set in &row.evaluation_sets {
                *counts.contaminated.entry(set.clone()).or_default() += 1;
            }
            return;
        }
        counts.kept += 1;
        counts.bytes += row.bytes;
        counts.held_out += u64::from(row.side == Some(Side::HeldOut));
        counts.redacted += u64::from(row.redacted);
        counts.repeated += u64::from(row.repeated);
        if let Some(language) = &row.language {
            *counts.languages.entry(language.clone()).or_default() += 1;
        }
    }
}
