//! The held-out losses in a table, the n-gram models' beside the trained one's.

use serde::Serialize;

use super::details::visible;
use crate::facts::Facts;
use crate::numbers;

/// One model on one domain.
#[derive(Serialize)]
pub(super) struct ScoreRow {
    domain: String,
    model: String,
    loss: String,
    bits: String,
    accuracy: String,
}

fn row(domain: &str, model: &str, loss: f64, bits: Option<f64>, accuracy: Option<f64>) -> ScoreRow {
    let none = || "–".to_owned();
    ScoreRow {
        domain: visible(domain),
        model: visible(model),
        loss: numbers::fixed(loss, 3),
        bits: bits.filter(|bits| bits.is_finite()).map_or_else(none, |bits| numbers::fixed(bits, 3)),
        accuracy: accuracy.map_or_else(none, numbers::percent_column),
    }
}

/// Domain by domain, the worst model first, as it was trained last.
pub(super) fn rows(facts: &Facts) -> Vec<ScoreRow> {
    let trained = facts.model.as_ref().map_or("this run", |model| &model.family);
    let mut rows = Vec::new();
    for (domain, last) in facts.last_losses() {
        for simple in facts.baselines_of(domain) {
            rows.push(row(domain, &simple.name, simple.loss, Some(simple.bits_per_byte), simple.accuracy));
        }
        rows.push(row(domain, trained, last.loss, last.bits_per_byte, last.accuracy));
    }
    rows
}
