//! The documents' part of the page: which did most for each held-out domain, which least, how they begin, and whether they
//! sum to their sources.

use std::collections::BTreeMap;

use loam_influence::documents::{DocumentClosing, DocumentText, DocumentValues, ValuedDocument};
use serde::Serialize;

use super::details::visible;
use crate::facts::Facts;
use crate::numbers::{self, counted};

/// Documents that are shown of either end, for each domain.
const SHOWN: usize = 5;
/// Domains that are shown.
const DOMAINS: usize = 6;
/// Characters of a document.
const CHARACTERS: usize = 240;

/// The whole part.
#[derive(Serialize)]
pub(super) struct DocumentSection {
    about: String,
    domains: Vec<DomainDocuments>,
    closing: Vec<ClosingRow>,
    cost: Option<String>,
}

#[derive(Serialize)]
struct DomainDocuments {
    domain: String,
    ends: Vec<End>,
}

/// The best or the worst.
#[derive(Serialize)]
struct End {
    name: &'static str,
    rows: Vec<DocumentRow>,
}

#[derive(Serialize)]
struct DocumentRow {
    value: String,
    negative: bool,
    error: String,
    per_million: String,
    tokens: String,
    source: String,
    path: String,
    preview: String,
}

#[derive(Serialize)]
struct ClosingRow {
    source: String,
    domain: String,
    documents: String,
    error: String,
    booked: String,
    residual: String,
}

/// What is shown; none where nothing was scored.
pub(super) fn section(values: &DocumentValues, facts: &Facts) -> Option<DocumentSection> {
    if values.count() == 0 {
        return None;
    }
    let domains: Vec<&str> = values.domains().take(DOMAINS).collect();
    let ends: Vec<(&str, [Vec<ValuedDocument>; 2])> =
        domains.iter().map(|domain| (*domain, [values.best(domain, SHOWN), values.worst(domain, SHOWN)])).collect();
    let ids: Vec<&str> = ends.iter().flat_map(|(_, ends)| ends).flatten().map(|document| &*document.id).collect();
    // Without texts, the values still say something.
    let texts = values.texts(&ids, CHARACTERS).unwrap_or_default();
    let domains = ends.iter().map(|(domain, [best, worst])| DomainDocuments {
        domain: (*domain).to_owned(),
        ends: vec![
            End { name: "Brought it down furthest", rows: rows(best, &texts) },
            End { name: "Brought it down least, or up", rows: rows(worst, &texts) },
        ],
    });
    let rate = values.rate().unwrap_or(1.0);
    Some(DocumentSection {
        about: format!(
            "{} had text in the micro-batches that were scored, {} of all; what was found is divided by this share. A value \
             is known to about its error: of single documents that were scored once, that is as much as the value itself.",
            counted(values.count() as u64, "document", "documents"),
            numbers::percent(rate),
        ),
        domains: domains.collect(),
        closing: values.closing().iter().map(closing).collect(),
        cost: facts.document_cost.as_ref().map(|cost| {
            format!(
                "Scoring {} targets of {} took {} on top of training without a ledger.",
                numbers::grouped(cost.tokens_scored),
                counted(cost.documents, "document", "documents"),
                numbers::percent(cost.overhead),
            )
        }),
    })
}

fn rows(documents: &[ValuedDocument], texts: &BTreeMap<String, DocumentText>) -> Vec<DocumentRow> {
    let decimals = numbers::decimals(documents.iter().map(|document| document.value)) + 1;
    // In the unit of the table of sources.
    let rate = |document: &ValuedDocument| document.value_per_token.map(|value| 1e6 * value);
    let rates = numbers::decimals(documents.iter().filter_map(rate));
    let row = |document: &ValuedDocument| {
        let text = texts.get(&document.id);
        DocumentRow {
            value: numbers::fixed(document.value, decimals),
            negative: document.value < 0.0,
            error: numbers::fixed(document.standard_error, decimals),
            per_million: rate(document).map(|value| numbers::fixed(value, rates)).unwrap_or_default(),
            tokens: format!(
                "{} of {}",
                numbers::grouped(document.tokens_scored),
                numbers::grouped(document.tokens_trained)
            ),
            source: document.source.clone(),
            path: text.map(|text| text.path.clone()).unwrap_or_default(),
            preview: text.map(|text| visible(&text.text)).unwrap_or_default(),
        }
    };
    documents.iter().map(row).collect()
}

fn closing(closing: &DocumentClosing) -> ClosingRow {
    let nats = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| numbers::fixed(value, 4));
    ClosingRow {
        source: closing.source.clone(),
        domain: closing.domain.clone(),
        documents: nats(Some(closing.documents)),
        error: nats(Some(closing.standard_error)),
        booked: nats(closing.booked),
        residual: nats(closing.residual),
    }
}
