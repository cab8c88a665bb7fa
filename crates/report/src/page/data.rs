//! The data's part of the page: sources, what is repeated in them, and the held-out domains.

use loam_corpus::{HeldOutSummary, SourceSummary};
use serde::Serialize;

use super::details::visible;
use crate::facts::Facts;
use crate::numbers::{self, grouped};

/// Most repeated documents that are shown.
const REPEATED: usize = 12;

/// The whole part.
#[derive(Serialize)]
pub(super) struct DataSection {
    sources: Vec<SourceRow>,
    total: Option<SourceRow>,
    repeated: Vec<RepeatedRow>,
    held_out: Vec<HeldOutRow>,
    /// What copies cost, in words.
    cost: Option<String>,
}

#[derive(Serialize)]
struct SourceRow {
    name: String,
    documents: String,
    unique: String,
    duplicates: String,
    duplicate_share: String,
    bytes: String,
    tokens: String,
    passes: String,
    share: String,
}

#[derive(Serialize)]
struct RepeatedRow {
    copies: String,
    source: String,
    bytes: String,
    preview: String,
    path: String,
}

#[derive(Serialize)]
struct HeldOutRow {
    name: String,
    documents: String,
    bytes: String,
    tokens: String,
    overlap: String,
    overlaps: bool,
}

/// Exact copies over all sources.
pub(super) struct Copies {
    /// Training documents.
    pub documents: u64,
    /// Documents beyond the first copy of each.
    pub duplicates: u64,
    /// The source with the largest share of copies, by bytes.
    pub worst: Option<Worst>,
}

/// A source and the share of its bytes that are copies.
pub(super) struct Worst {
    pub name: String,
    pub share: f64,
}

impl Copies {
    /// None where the events tell of no source.
    pub fn count(sources: &[SourceSummary]) -> Option<Self> {
        if sources.is_empty() {
            return None;
        }
        let share = |source: &SourceSummary| source.duplicate_bytes as f64 / source.bytes.max(1) as f64;
        let worst = sources.iter().max_by(|left, right| share(left).total_cmp(&share(right)));
        Some(Self {
            documents: sources.iter().map(|source| source.documents).sum(),
            duplicates: sources.iter().map(|source| source.duplicate_documents).sum(),
            worst: worst.map(|source| Worst { name: source.name.clone(), share: share(source) }),
        })
    }
}

pub(super) fn section(facts: &Facts) -> DataSection {
    let sources = &facts.sources;
    let seen = facts.tokens as f64;
    DataSection {
        sources: sources.iter().map(|source| source_row(source, seen)).collect(),
        total: (sources.len() > 1).then(|| total_row(sources)),
        repeated: repeated(sources),
        held_out: facts.held_out.iter().map(held_out_row).collect(),
        cost: cost(sources, seen),
    }
}

fn source_row(source: &SourceSummary, seen: f64) -> SourceRow {
    let shown = seen * source.share;
    SourceRow {
        name: source.name.clone(),
        documents: grouped(source.documents),
        unique: grouped(source.unique_documents),
        duplicates: grouped(source.duplicate_documents),
        duplicate_share: part(source.duplicate_bytes, source.bytes),
        bytes: numbers::bytes(source.bytes),
        tokens: grouped(source.tokens),
        passes: if source.tokens > 0 { numbers::fixed(shown / source.tokens as f64, 2) } else { "–".into() },
        share: numbers::percent_column(source.share),
    }
}

fn total_row(sources: &[SourceSummary]) -> SourceRow {
    let sum = |get: fn(&SourceSummary) -> u64| sources.iter().map(get).sum::<u64>();
    SourceRow {
        name: "all".into(),
        documents: grouped(sum(|source| source.documents)),
        unique: grouped(sum(|source| source.unique_documents)),
        duplicates: grouped(sum(|source| source.duplicate_documents)),
        duplicate_share: part(sum(|source| source.duplicate_bytes), sum(|source| source.bytes)),
        bytes: numbers::bytes(sum(|source| source.bytes)),
        tokens: grouped(sum(|source| source.tokens)),
        passes: String::new(),
        share: numbers::percent_column(sources.iter().map(|source| source.share).sum()),
    }
}

fn part(some: u64, all: u64) -> String {
    if all == 0 { "–".into() } else { numbers::percent_column(some as f64 / all as f64) }
}

/// Training tokens that went to text that stands elsewhere in the same source, taking copies to be tokenized alike.
fn cost(sources: &[SourceSummary], seen: f64) -> Option<String> {
    let spent: f64 = sources
        .iter()
        .filter(|source| source.bytes > 0)
        .map(|source| seen * source.share * source.duplicate_bytes as f64 / source.bytes as f64)
        .sum();
    (seen > 0.0 && spent > 0.0).then(|| {
        format!(
            "By their share of the bytes, about {} of the {} training tokens ({}) went to exact copies.",
            numbers::compact(spent),
            numbers::compact(seen),
            numbers::percent(spent / seen)
        )
    })
}

fn repeated(sources: &[SourceSummary]) -> Vec<RepeatedRow> {
    let mut all: Vec<_> =
        sources.iter().flat_map(|source| source.most_repeated.iter().map(move |document| (source, document))).collect();
    all.sort_by_key(|(_, document)| std::cmp::Reverse(document.copies));
    all.truncate(REPEATED);
    all.into_iter()
        .map(|(source, document)| RepeatedRow {
            copies: grouped(document.copies),
            source: source.name.clone(),
            bytes: numbers::bytes(document.bytes),
            preview: visible(&document.preview),
            path: document.path.clone(),
        })
        .collect()
}

fn held_out_row(domain: &HeldOutSummary) -> HeldOutRow {
    HeldOutRow {
        name: domain.name.clone(),
        documents: grouped(domain.documents),
        bytes: numbers::bytes(domain.bytes),
        tokens: grouped(domain.tokens),
        overlap: if domain.overlap_documents == 0 {
            "none".into()
        } else {
            let share = part(domain.overlap_documents, domain.documents);
            format!("{} ({share})", grouped(domain.overlap_documents))
        },
        overlaps: domain.overlap_documents > 0,
    }
}
