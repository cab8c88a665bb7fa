//! Steps that compare documents: what each needs of every row, and what it then says of each.

use rayon::prelude::*;

use super::plan::{Duplicates, StepPlan};
use super::row::Row;
use crate::deduplicate::{
    Clusters, ExactDuplicates, Least, NearDuplicates, NearHasher, NearOptions, Part, PartRemover, Passages,
    RepeatedParts, RepeatedPassages, Scratch, without_words, words_as_tokens,
};
use crate::duplicates::{ContentHash, content_hash};
use crate::error::CorpusError;

/// What a comparison needs of each text, made where the text is taken through the steps before it.
pub(super) enum Keys {
    /// Nothing beside the row.
    None,
    Near(NearHasher),
}

impl Keys {
    /// For the comparison that follows, if one does.
    pub(super) fn of(comparison: Option<&StepPlan>) -> Result<Self, CorpusError> {
        Ok(match comparison {
            Some(step @ StepPlan::Deduplicate { by: Duplicates::Near, .. }) => {
                Self::Near(NearHasher::new(&near_options(step, &Scratch::default()))?)
            }
            _ => Self::None,
        })
    }

    pub(super) fn make(&self, text: &str) -> Option<Vec<u8>> {
        match self {
            Self::None => None,
            Self::Near(hasher) => Some(hasher.key(text)),
        }
    }
}

fn near_options(step: &StepPlan, scratch: &Scratch) -> NearOptions {
    let StepPlan::Deduplicate { keep, minhash, similarity, .. } = step else {
        unreachable!("only steps that compare come here");
    };
    NearOptions { minhash: minhash.clone(), keep: *keep, verify: *similarity, scratch: scratch.clone() }
}

/// A comparison that rows are added to, by their number.
pub(super) enum Comparison {
    Url(ExactDuplicates),
    Exact(ExactDuplicates),
    Near(Box<NearDuplicates>),
    Parts(RepeatedParts),
    Passages(RepeatedPassages),
}

/// What came of it.
pub(super) enum Outcome {
    Clusters { rule: &'static str, clusters: Clusters, remove: bool },
    Parts { rule: &'static str, remover: PartRemover },
    Passages { rule: &'static str, passages: Passages },
}

impl Comparison {
    pub(super) fn new(plan: &StepPlan, scratch: &Scratch) -> Result<Self, CorpusError> {
        let StepPlan::Deduplicate { by, keep, least_characters, least_words, .. } = plan else {
            unreachable!("only steps that compare come here");
        };
        let parts = |part| Self::Parts(RepeatedParts::new(part, Least::Characters(*least_characters), scratch));
        Ok(match by {
            Duplicates::Url => Self::Url(ExactDuplicates::new(*keep, scratch)),
            Duplicates::Exact => Self::Exact(ExactDuplicates::new(*keep, scratch)),
            Duplicates::Near => Self::Near(Box::new(NearDuplicates::new(&near_options(plan, scratch))?)),
            Duplicates::Line => parts(Part::Line),
            Duplicates::Paragraph => parts(Part::Paragraph),
            Duplicates::Passage => Self::Passages(RepeatedPassages::new(*least_words, scratch)?),
        })
    }

    /// The columns of rows that it looks at: texts are the most of a row, and are seldom needed.
    pub(super) fn columns(&self) -> &'static [&'static str] {
        match self {
            Self::Url(_) => &["rule", "bytes", "url"],
            Self::Exact(_) => &["rule", "bytes", "content_hash"],
            Self::Near(_) => &["rule", "bytes", "key"],
            Self::Parts(_) | Self::Passages(_) => &["rule", "text"],
        }
    }

    /// Adds the rows that are still there; the first has this number.
    pub(super) fn add(&mut self, rows: &[Row], first: u64) -> Result<(), CorpusError> {
        let there = || (first..).zip(rows).filter(|(_, row)| row.stays());
        let texts = || there().filter_map(|(number, row)| Some((number, row.text.as_deref()?)));
        match self {
            Self::Url(duplicates) => {
                for (number, row) in there() {
                    if let Some(url) = &row.url {
                        duplicates.add_url(number, url, row.bytes as usize)?;
                    }
                }
            }
            Self::Exact(duplicates) => {
                for (number, row) in there() {
                    if let Some(hash) = row.content_hash.as_deref().and_then(hash_of) {
                        duplicates.add_hash(number, hash, row.bytes as usize)?;
                    }
                }
            }
            Self::Near(duplicates) => {
                for (number, row) in there() {
                    duplicates.add_key(number, row.bytes as usize, row.key.as_deref().unwrap_or_default())?;
                }
            }
            Self::Parts(parts) => {
                for (number, text) in texts() {
                    parts.add(number, text)?;
                }
            }
            Self::Passages(passages) => {
                let texts: Vec<(u64, &str)> = texts().collect();
                let tokens: Vec<Vec<u32>> = texts.par_iter().map(|(_, text)| words_as_tokens(text)).collect();
                for ((number, _), tokens) in texts.iter().zip(tokens) {
                    passages.add(*number, &tokens)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn finish(self, plan: &StepPlan) -> Result<Outcome, CorpusError> {
        let rule = plan.name();
        let remove = !matches!(plan, StepPlan::Deduplicate { remove: false, .. });
        Ok(match self {
            Self::Url(duplicates) | Self::Exact(duplicates) => {
                Outcome::Clusters { rule, clusters: duplicates.finish()?, remove }
            }
            Self::Near(duplicates) => Outcome::Clusters { rule, clusters: duplicates.finish()?, remove },
            Self::Parts(parts) => Outcome::Parts { rule, remover: parts.finish()? },
            Self::Passages(passages) => Outcome::Passages { rule, passages: passages.finish()? },
        })
    }
}

/// The hash that hexadecimal digits spell.
fn hash_of(digits: &str) -> Option<ContentHash> {
    Some(u128::from_str_radix(digits, 16).ok()?.to_be_bytes())
}

impl Outcome {
    /// Lets those rows go that are not to stay, and takes out of texts what stood before; the first has this number.
    /// Rows come in the order of their numbers.
    pub(super) fn apply(&mut self, rows: &mut [Row], first: u64) -> Result<(), CorpusError> {
        match self {
            Self::Clusters { rule, clusters, remove } => {
                rows.par_iter_mut().enumerate().for_each(|(at, row)| {
                    if !row.stays() {
                        return;
                    }
                    let verdict = clusters.verdict(first + at as u64);
                    if let Some(cluster) = verdict.cluster {
                        row.cluster = Some(cluster);
                        row.cluster_size = Some(verdict.size);
                    }
                    if !verdict.kept && *remove {
                        let detail =
                            verdict.cluster.map(|cluster| format!("one of {} like document {cluster}", verdict.size));
                        row.drop_for(*rule, detail);
                    }
                });
            }
            Self::Parts { rule, remover } => {
                for (number, row) in (first..).zip(rows.iter_mut()) {
                    let Some(text) = &row.text else { continue };
                    let trimmed = remover.remove(number, text)?;
                    if trimmed.dropped > 0 {
                        let (left, dropped) = (trimmed.text.into_owned(), trimmed.dropped);
                        shorten(row, left, dropped as usize, rule);
                    }
                }
            }
            Self::Passages { rule, passages } => {
                for (number, row) in (first..).zip(rows.iter_mut()) {
                    let Some(text) = &row.text else { continue };
                    let ranges = passages.of(number)?;
                    if !ranges.is_empty() {
                        let left = without_words(text, &ranges);
                        shorten(row, left, ranges.len(), rule);
                    }
                }
            }
        }
        Ok(())
    }
}

/// Puts what is left of a text in its place; the row goes where that is nothing.
fn shorten(row: &mut Row, left: String, dropped: usize, rule: &str) {
    row.repeated += dropped as u32;
    if left.trim().is_empty() {
        row.drop_for(rule, Some("nothing is left of it".to_owned()));
    } else {
        row.mark(&content_hash(&left));
        row.text = Some(left);
        row.measure();
    }
}
