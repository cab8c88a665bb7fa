//! A domain's lines over time, for the source × time picture.

use serde::Serialize;

use super::Line;
use super::book::{Book, Entry};

/// A stretch of one or more consecutive intervals.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bin {
    /// Optimizer steps done when it begins.
    pub from_step: u64,
    /// Optimizer steps done when it ends.
    pub step: u64,
    /// Sum of all lines, in nats that the loss came down.
    pub booked: f64,
    /// Nats by which the measured loss came down; none where an interval of the bin was not measured.
    pub measured: Option<f64>,
}

/// One line over time; every vector has one element a bin.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LineSeries {
    /// What the values are booked to.
    pub line: Line,
    /// Nats that the line took off the loss in each bin.
    pub values: Vec<f64>,
    /// The same, summed from the beginning of the run to the end of each bin.
    pub cumulative: Vec<f64>,
    /// Training tokens in each bin; 0 on lines that are no source.
    pub tokens: Vec<u64>,
}

impl LineSeries {
    /// Nats for every million tokens of the source in a bin; none in a bin without its tokens.
    pub fn value_per_million_tokens(&self, bin: usize) -> Option<f64> {
        let tokens = *self.tokens.get(bin)?;
        (tokens > 0).then(|| self.values[bin] / (tokens as f64 / 1e6))
    }
}

/// All lines of one held-out domain over time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Series {
    /// Held-out domain.
    pub domain: String,
    /// In order of time; equally many intervals in each, the last one excepted.
    pub bins: Vec<Bin>,
    /// Sources in the order of the file, then the other lines.
    pub lines: Vec<LineSeries>,
}

impl Series {
    pub(super) fn of(book: &Book, bins: usize) -> Self {
        let width = book.entries.len().div_ceil(bins.max(1)).max(1);
        let portions: Vec<&[Entry]> = book.entries.chunks(width).collect();
        let lines = book.lines.iter().enumerate().map(|(index, line)| line_series(line, index, &portions)).collect();
        Self { domain: book.domain.clone(), bins: portions.iter().map(|portion| bin(portion)).collect(), lines }
    }
}

fn bin(portion: &[Entry]) -> Bin {
    Bin {
        from_step: portion[0].interval.from_step,
        step: portion[portion.len() - 1].interval.step,
        booked: portion.iter().map(Entry::booked).sum(),
        measured: portion.iter().map(|entry| entry.measured).sum(),
    }
}

fn line_series(line: &Line, index: usize, portions: &[&[Entry]]) -> LineSeries {
    let values: Vec<f64> =
        portions.iter().map(|portion| portion.iter().map(|entry| entry.values[index]).sum()).collect();
    let tokens = portions.iter().map(|portion| portion.iter().map(|entry| entry.tokens[index]).sum()).collect();
    let cumulative = values
        .iter()
        .scan(0.0, |sum, value| {
            *sum += value;
            Some(*sum)
        })
        .collect();
    LineSeries { line: line.clone(), values, cumulative, tokens }
}
