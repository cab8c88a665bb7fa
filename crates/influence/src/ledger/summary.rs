//! Totals of a ledger over the whole run, and whether its books close.

use serde::Serialize;

use super::Line;
use super::book::{Book, Entry};

/// The books close when the residual is at most this share of the measured change.
pub const CLOSES_WITHIN: f64 = 0.05;

/// What every held-out domain's book says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LedgerSummary {
    /// In the order of the file.
    pub domains: Vec<DomainSummary>,
}

/// One line's total for one held-out domain.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LineSummary {
    /// What the value is booked to.
    pub line: Line,
    /// Nats a held-out token by which the line brought the loss down; negative where it raised it.
    pub value: f64,
    /// Training tokens of the source; 0 on lines that are no source.
    pub tokens: u64,
    /// Nats for every million tokens of the source; none without tokens.
    pub value_per_million_tokens: Option<f64>,
    /// Share of the training tokens that the ledger saw; none on lines that are no source.
    pub share_of_tokens: Option<f64>,
    /// Share of what all sources together brought down; none on lines that are no source, and none where the sources
    /// together did not bring the loss down. Below 0 for a source that hurt.
    pub share_of_value: Option<f64>,
    /// Nats brought down over the later half of the intervals alone.
    pub late_value: f64,
    /// Training tokens of the source over the later half of the intervals.
    pub late_tokens: u64,
}

/// Whether the lines add up to what was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Books {
    /// The residual is within [`CLOSES_WITHIN`] of the measured change.
    Closed,
    /// It is not.
    Open,
    /// Nothing was measured, or the loss did not change, so there is nothing to compare with.
    Undecided,
}

/// One held-out domain's book over the whole run. Losses and values are nats a held-out token.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DomainSummary {
    /// Held-out domain.
    pub domain: String,
    /// Sources in the order of the file, then history, decay and what else was booked.
    pub lines: Vec<LineSummary>,
    /// Optimizer steps done when the book begins.
    pub from_step: u64,
    /// Optimizer steps done when it ends.
    pub step: u64,
    /// Intervals that the sums run over.
    pub intervals: usize,
    /// Intervals left out because they hold a number that is not finite.
    pub left_out: usize,
    /// Intervals among [`Self::intervals`] without a measurement; their lines count, and the residual leaves them out.
    pub unmeasured: usize,
    /// Sum of all lines over all intervals.
    pub booked: f64,
    /// By how much the measured loss came down, over the intervals that were measured; none if none was.
    pub measured: Option<f64>,
    /// Measured minus booked, over the intervals that were measured.
    pub residual: Option<f64>,
    /// |residual| over |measured|; none where the measured change is zero.
    pub residual_share: Option<f64>,
    /// Whether the books close.
    pub books: Books,
    /// Pearson correlation over intervals of the booked sum and the measured change; none with fewer than three
    /// intervals or where one of the two does not vary.
    pub correlation: Option<f64>,
}

impl LedgerSummary {
    pub(super) fn of(books: &[Book]) -> Self {
        Self { domains: books.iter().filter(|book| !book.lines.is_empty()).map(DomainSummary::of).collect() }
    }

    /// The book of one domain.
    pub fn domain(&self, name: &str) -> Option<&DomainSummary> {
        self.domains.iter().find(|domain| domain.domain == name)
    }
}

impl DomainSummary {
    fn of(book: &Book) -> Self {
        let measured: Vec<(f64, f64)> =
            book.entries.iter().filter_map(|entry| Some((entry.booked(), entry.measured?))).collect();
        let sum = (!measured.is_empty()).then(|| measured.iter().map(|pair| pair.1).sum::<f64>());
        let residual = sum.map(|sum| sum - measured.iter().map(|pair| pair.0).sum::<f64>());
        let residual_share = residual.zip(sum).and_then(|(residual, sum)| (sum != 0.0).then(|| (residual / sum).abs()));
        Self {
            domain: book.domain.clone(),
            lines: line_summaries(book),
            from_step: book.entries.first().map_or(0, |entry| entry.interval.from_step),
            step: book.entries.last().map_or(0, |entry| entry.interval.step),
            intervals: book.entries.len(),
            left_out: book.left_out,
            unmeasured: book.entries.len() - measured.len(),
            booked: book.entries.iter().map(Entry::booked).sum(),
            measured: sum,
            residual,
            residual_share,
            books: match residual_share {
                Some(share) if share <= CLOSES_WITHIN => Books::Closed,
                Some(_) => Books::Open,
                None => Books::Undecided,
            },
            correlation: correlation(&measured),
        }
    }

    /// The training sources among the lines.
    pub fn sources(&self) -> impl Iterator<Item = &LineSummary> {
        self.lines.iter().filter(|line| line.line.is_source())
    }

    /// The source that brought the loss down most for each of its tokens.
    pub fn most_helpful_per_token(&self) -> Option<&LineSummary> {
        self.per_token().max_by(|left, right| left.1.total_cmp(&right.1)).map(|pair| pair.0)
    }

    /// The source that brought the loss down least for each of its tokens, or raised it most.
    pub fn least_helpful_per_token(&self) -> Option<&LineSummary> {
        self.per_token().min_by(|left, right| left.1.total_cmp(&right.1)).map(|pair| pair.0)
    }

    fn per_token(&self) -> impl Iterator<Item = (&LineSummary, f64)> {
        self.sources().filter_map(|line| Some((line, line.value_per_million_tokens?)))
    }
}

fn line_summaries(book: &Book) -> Vec<LineSummary> {
    let late = &book.entries[book.entries.len() / 2..];
    let value = |entries: &[Entry], index: usize| entries.iter().map(|entry| entry.values[index]).sum::<f64>();
    let tokens = |entries: &[Entry], index: usize| entries.iter().map(|entry| entry.tokens[index]).sum::<u64>();
    let sources = || (0..book.lines.len()).filter(|index| book.lines[*index].is_source());
    let all_tokens: u64 = sources().map(|index| tokens(&book.entries, index)).sum();
    let all_value: f64 = sources().map(|index| value(&book.entries, index)).sum();
    let summary = |(index, line): (usize, &Line)| {
        let (own_value, own_tokens) = (value(&book.entries, index), tokens(&book.entries, index));
        LineSummary {
            line: line.clone(),
            value: own_value,
            tokens: own_tokens,
            value_per_million_tokens: (own_tokens > 0).then(|| own_value / (own_tokens as f64 / 1e6)),
            share_of_tokens: (line.is_source() && all_tokens > 0).then(|| own_tokens as f64 / all_tokens as f64),
            share_of_value: (line.is_source() && all_value > 0.0).then(|| own_value / all_value),
            late_value: value(late, index),
            late_tokens: tokens(late, index),
        }
    };
    book.lines.iter().enumerate().map(summary).collect()
}

/// Pearson correlation of pairs; none with fewer than three or where either side does not vary.
fn correlation(pairs: &[(f64, f64)]) -> Option<f64> {
    if pairs.len() < 3 {
        return None;
    }
    let count = pairs.len() as f64;
    let (mean_left, mean_right) =
        (pairs.iter().map(|pair| pair.0).sum::<f64>() / count, pairs.iter().map(|pair| pair.1).sum::<f64>() / count);
    let (mut covariance, mut left, mut right) = (0.0, 0.0, 0.0);
    for pair in pairs {
        let (a, b) = (pair.0 - mean_left, pair.1 - mean_right);
        covariance += a * b;
        left += a * a;
        right += b * b;
    }
    let scale = (left * right).sqrt();
    (scale > 0.0).then(|| (covariance / scale).clamp(-1.0, 1.0))
}
