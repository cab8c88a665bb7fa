//! The rows of a ledger, gathered into one book a held-out domain: lines across, intervals down.

use std::collections::BTreeMap;

use loam_train::record::LedgerRow;
use serde::Serialize;

/// What a value is booked to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "line", content = "source", rename_all = "snake_case")]
pub enum Line {
    /// A training source, by its name in the recipe.
    Source(String),
    /// Momentum carried over from earlier steps, where the run did not credit it to the sources that built it.
    History,
    /// Decoupled weight decay.
    Decay,
    /// A line that this version of Loam does not know, by its name in the file.
    Other(String),
}

impl Line {
    /// The name that a reader sees: the source's own, or the line's.
    pub fn name(&self) -> &str {
        match self {
            Self::Source(name) | Self::Other(name) => name,
            Self::History => "history",
            Self::Decay => "decay",
        }
    }

    /// Whether this is a training source.
    pub fn is_source(&self) -> bool {
        matches!(self, Self::Source(_))
    }

    /// Sources first, in the order of the file; then the other lines.
    fn rank(&self) -> u8 {
        match self {
            Self::Source(_) => 0,
            Self::History => 1,
            Self::Decay => 2,
            Self::Other(_) => 3,
        }
    }
}

/// A stretch of training between two fresh held-out gradients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Interval {
    /// Optimizer steps done when it begins.
    pub from_step: u64,
    /// Optimizer steps done when it ends.
    pub step: u64,
}

/// What one interval booked.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub interval: Interval,
    /// Nats that each line took off the loss, in the order of [`Book::lines`].
    pub values: Vec<f64>,
    /// Training tokens of each line.
    pub tokens: Vec<u64>,
    /// Nats by which the measured loss came down, where it was measured.
    pub measured: Option<f64>,
}

impl Entry {
    /// Sum of all lines, in nats.
    pub fn booked(&self) -> f64 {
        self.values.iter().sum()
    }

    fn is_finite(&self) -> bool {
        self.values.iter().all(|value| value.is_finite()) && self.measured.is_none_or(f64::is_finite)
    }
}

/// Everything that was booked for one held-out domain.
#[derive(Clone, Debug)]
pub(super) struct Book {
    pub domain: String,
    pub lines: Vec<Line>,
    /// In order of time; whole and finite.
    pub entries: Vec<Entry>,
    /// Intervals left out because one of their numbers is not finite.
    pub left_out: usize,
}

impl Book {
    /// One book a domain, in the order in which the rows name the domains.
    ///
    /// A step range, line and source that come twice count once, as the later row has them: a run that was killed and
    /// resumed may write the intervals after its last checkpoint again.
    pub fn gather(rows: &[LedgerRow]) -> Vec<Self> {
        let mut domains: Vec<&str> = Vec::new();
        for row in rows {
            if !domains.contains(&row.domain.as_str()) {
                domains.push(&row.domain);
            }
        }
        domains.into_iter().map(|domain| Self::of(domain, rows.iter().filter(|row| row.domain == domain))).collect()
    }

    fn of<'a>(domain: &str, rows: impl Iterator<Item = &'a LedgerRow> + Clone) -> Self {
        let mut lines: Vec<Line> = Vec::new();
        for row in rows.clone() {
            if let Some(line) = line_of(row)
                && !lines.contains(&line)
            {
                lines.push(line);
            }
        }
        lines.sort_by_key(Line::rank);
        let mut entries: BTreeMap<Interval, Entry> = BTreeMap::new();
        for row in rows {
            let interval = Interval { from_step: row.from_step, step: row.step };
            let entry = entries.entry(interval).or_insert_with(|| Entry {
                interval,
                values: vec![0.0; lines.len()],
                tokens: vec![0; lines.len()],
                measured: None,
            });
            match line_of(row).and_then(|line| lines.iter().position(|other| *other == line)) {
                Some(index) => {
                    entry.values[index] = row.value;
                    entry.tokens[index] = row.tokens;
                }
                None => entry.measured = Some(row.value),
            }
        }
        let all = entries.len();
        let entries: Vec<Entry> = entries.into_values().filter(Entry::is_finite).collect();
        Self { domain: domain.to_owned(), lines, left_out: all - entries.len(), entries }
    }
}

/// The line that a row books to; none for a measurement.
fn line_of(row: &LedgerRow) -> Option<Line> {
    match row.line.as_str() {
        "source" => Some(Line::Source(row.source.clone())),
        "history" => Some(Line::History),
        "decay" => Some(Line::Decay),
        "measured" => None,
        other => Some(Line::Other(other.to_owned())),
    }
}
