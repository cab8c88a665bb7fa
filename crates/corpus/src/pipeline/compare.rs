//! Steps that compare documents: what each needs of every row, and what it then says of each.

use rayon::prelude::*;

use super::plan::{Duplicates, StepPlan};
use super::row::Row;
use crate::deduplicate::{
    Clusters, ExactDuplicates, Least, NearDuplicates, NearOptions, Part, PartRemover, RepeatedParts, Scratch,
};
use crate::error::CorpusError;

/// A comparison that rows are added to, by their number.
pub(super) enum Comparison {
    Url(ExactDuplicates),
    Exact(ExactDuplicates),
    Near(Box<NearDuplicates>),
    Parts(RepeatedParts),
}

/// What came of it.
pub(super) enum Outcome {
    Clusters { reason: &'static str, clusters: Clusters },
    Parts { reason: &'static str, remover: PartRemover },
}

impl Comparison {
    pub(super) fn new(plan: &StepPlan, scratch: &Scratch) -> Result<Self, CorpusError> {
        let StepPlan::Deduplicate { by, keep, minhash, similarity, least_characters } = plan else {
            unreachable!("only steps that compare come here");
        };
        let parts = |part| Self::Parts(RepeatedParts::new(part, Least::Characters(*least_characters), scratch));
        Ok(match by {
            Duplicates::Url => Self::Url(ExactDuplicates::new(*keep, scratch)),
            Duplicates::Exact => Self::Exact(ExactDuplicates::new(*keep, scratch)),
            Duplicates::Near => {
                let options = NearOptions {
                    minhash: minhash.clone(),
                    keep: *keep,
                    verify: *similarity,
                    scratch: scratch.clone(),
                };
                Self::Near(Box::new(NearDuplicates::new(&options)?))
            }
            Duplicates::Line => parts(Part::Line),
            Duplicates::Paragraph => parts(Part::Paragraph),
        })
    }

    /// Adds the rows that are still there; the first has this number.
    pub(super) fn add(&mut self, rows: &[Row], first: u64) -> Result<(), CorpusError> {
        let there = || (first..).zip(rows).filter_map(|(number, row)| Some((number, row, row.text.as_deref()?)));
        match self {
            Self::Url(duplicates) => {
                for (number, row, text) in there() {
                    if let Some(url) = &row.url {
                        duplicates.add_url(number, url, text.len())?;
                    }
                }
            }
            Self::Exact(duplicates) => {
                for (number, _, text) in there() {
                    duplicates.add(number, text)?;
                }
            }
            Self::Near(duplicates) => {
                duplicates.add_all(&there().map(|(number, _, text)| (number, text)).collect::<Vec<_>>())?;
            }
            Self::Parts(parts) => {
                for (number, _, text) in there() {
                    parts.add(number, text)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn finish(self, plan: &StepPlan) -> Result<Outcome, CorpusError> {
        let reason = plan.name();
        Ok(match self {
            Self::Url(duplicates) | Self::Exact(duplicates) => {
                Outcome::Clusters { reason, clusters: duplicates.finish()? }
            }
            Self::Near(duplicates) => Outcome::Clusters { reason, clusters: duplicates.finish()? },
            Self::Parts(parts) => Outcome::Parts { reason, remover: parts.finish()? },
        })
    }
}

impl Outcome {
    /// Lets those rows go that are not to stay, and takes out of texts what stood before; the first has this number.
    /// Rows come in the order of their numbers.
    pub(super) fn apply(&mut self, rows: &mut [Row], first: u64) -> Result<(), CorpusError> {
        match self {
            Self::Clusters { reason, clusters } => {
                rows.par_iter_mut().enumerate().for_each(|(at, row)| {
                    if row.text.is_none() {
                        return;
                    }
                    let verdict = clusters.verdict(first + at as u64);
                    if let Some(cluster) = verdict.cluster {
                        row.cluster = Some(cluster);
                        row.cluster_size = Some(verdict.size);
                    }
                    if !verdict.kept {
                        let detail =
                            verdict.cluster.map(|cluster| format!("one of {} like document {cluster}", verdict.size));
                        row.drop_for(*reason, detail);
                    }
                });
            }
            Self::Parts { reason, remover } => {
                for (number, row) in (first..).zip(rows.iter_mut()) {
                    let Some(text) = &row.text else { continue };
                    let trimmed = remover.remove(number, text)?;
                    if trimmed.dropped == 0 {
                        continue;
                    }
                    let (left, dropped) = (trimmed.text.into_owned(), trimmed.dropped);
                    row.repeated += dropped as u32;
                    if left.trim().is_empty() {
                        row.drop_for(*reason, Some("nothing is left of it".to_owned()));
                    } else {
                        row.text = Some(left);
                    }
                }
            }
        }
        Ok(())
    }
}
