//! Micro-batches out of token streams: mixed, shuffled, and continued from any position.
//!
//! A resumed run must see what an uninterrupted one would have seen, so nothing here is a state that had to
//! be played forward. Sequence number k of a source is a pure function of (seed, source, k): its epoch is k
//! divided by the windows of an epoch, and within an epoch windows are visited in a pseudo-random order that
//! is computed, not stored (see `permutation`). From the second epoch on, windows begin at another phase, so
//! that the same text is cut elsewhere. The stream is taken as a ring: the window over its end goes on at its
//! start, where a document begins anyway. So every token of a stream is predicted exactly once an epoch.
//!
//! All sequences of a micro-batch are of one source, which the ledger needs to book its gradient. The source
//! is the one that is furthest behind its share of the tokens delivered so far.

mod pairs;

pub use pairs::{Fit, PairBatch, PairLoader, fitting};

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::CorpusError;
use crate::permutation::{Permutation, mix};
use crate::prepare::Prepared;
use crate::shard::TokenStream;

/// A target that does not count.
pub const IGNORE: u32 = u32::MAX;

/// Sequences of one source, side by side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MicroBatch {
    /// Index of the source.
    pub source: usize,
    /// Number of sequences.
    pub sequences: usize,
    /// Token ids `[sequences, context]`; padding is the end of text, or 0.
    pub inputs: Vec<u32>,
    /// For each input the token that follows `[sequences, context]`; [`IGNORE`] at padding.
    pub targets: Vec<u32>,
    /// Targets that count.
    pub tokens: usize,
    /// For each sequence, its number among those delivered of the source, and where its first target stands in the
    /// source's tokens.
    pub places: Vec<Place>,
}

/// What a sequence was cut from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its number among the sequences of the source, over all epochs.
    pub number: u64,
    /// The place of its first target in the source's tokens.
    pub start: usize,
}

/// How far a loader has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Sequences delivered of each source.
    pub sequences: Vec<u64>,
    /// Targets delivered of each source.
    pub tokens: Vec<u64>,
}

/// A sequence to evaluate on, as long as the context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// Token ids `[context]`.
    pub inputs: Vec<u32>,
    /// For each input the token that follows `[context]`; [`IGNORE`] at padding.
    pub targets: Vec<u32>,
}

/// Where token 0 is predicted from, and what padding is made of.
fn filler(stream: &TokenStream) -> u32 {
    stream.end_of_text().unwrap_or(0)
}

/// Appends the window of `length` targets that begins at target `start` of the ring, padded to `context`.
fn append_window(
    stream: &TokenStream,
    start: usize,
    length: usize,
    context: usize,
    inputs: &mut Vec<u32>,
    targets: &mut Vec<u32>,
) {
    let total = stream.len();
    let begin = targets.len();
    let first = length.min(total - start);
    stream.append(start..start + first, targets);
    stream.append(0..length - first, targets);
    // An input is the token before its target; before the first token of a stream, a document has ended.
    inputs.push(filler(stream));
    if start > 0 {
        let last = inputs.len() - 1;
        let mut before = Vec::with_capacity(1);
        stream.get(start - 1..start, &mut before);
        inputs[last] = before[0];
    }
    inputs.extend_from_slice(&targets[begin..begin + length - 1]);
    if first < length && stream.end_of_text().is_none() {
        // Without ends of documents, the start of the stream does not follow from its end.
        let at = inputs.len() - (length - first);
        inputs[at] = filler(stream);
    }
    inputs.resize(inputs.len() + context - length, filler(stream));
    targets.resize(targets.len() + context - length, IGNORE);
}

/// Delivers micro-batches without end.
pub struct Loader {
    streams: Vec<Arc<TokenStream>>,
    shares: Vec<f64>,
    context: usize,
    sequences: usize,
    seed: u64,
    /// Whether windows come in the order in which they stand.
    ordered: bool,
    position: Position,
}

impl Loader {
    /// A loader at its start.
    ///
    /// `context` is the length of a sequence in tokens.
    pub fn new(
        prepared: &Prepared,
        context: usize,
        sequences_per_micro_batch: usize,
        seed: u64,
    ) -> Result<Self, CorpusError> {
        if context == 0 || sequences_per_micro_batch == 0 || context.checked_mul(sequences_per_micro_batch).is_none() {
            return Err(CorpusError::invalid(
                format!("a micro-batch of {sequences_per_micro_batch} sequences of {context} tokens"),
                "both are at least 1",
            ));
        }
        let shares: Vec<f64> = prepared.sources().iter().map(|source| source.share).collect();
        let sources = shares.len();
        let usable = |(index, share): (usize, &f64)| *share > 0.0 && !prepared.train_stream(index).is_empty();
        if !shares.iter().enumerate().any(usable) {
            return Err(CorpusError::invalid("no source has tokens to train on", "check weights and files"));
        }
        let position = Position { sequences: vec![0; sources], tokens: vec![0; sources] };
        let streams = prepared.train_streams().to_vec();
        let ordered = prepared.is_ordered();
        Ok(Self { streams, shares, context, sequences: sequences_per_micro_batch, seed, ordered, position })
    }

    /// The source that is furthest behind its share; the first of equals.
    fn choose(&self) -> usize {
        let total: u64 = self.position.tokens.iter().sum();
        let goal = total as f64 + (self.context * self.sequences) as f64;
        let mut best = (f64::NEG_INFINITY, 0);
        for (source, &share) in self.shares.iter().enumerate() {
            if share > 0.0 && !self.streams[source].is_empty() {
                let behind = share * goal - self.position.tokens[source] as f64;
                if behind > best.0 {
                    best = (behind, source);
                }
            }
        }
        best.1
    }

    /// The next micro-batch.
    #[allow(clippy::should_implement_trait)] // There is always a next one; an Option would be a lie.
    pub fn next(&mut self) -> MicroBatch {
        let source = self.choose();
        let capacity = self.sequences * self.context;
        let mut batch = MicroBatch {
            source,
            sequences: self.sequences,
            inputs: Vec::with_capacity(capacity),
            targets: Vec::with_capacity(capacity),
            tokens: 0,
            places: Vec::with_capacity(self.sequences),
        };
        let stream = &self.streams[source];
        for _ in 0..self.sequences {
            let number = self.position.sequences[source];
            let (start, length) = if self.ordered {
                ordered_window(stream.len(), self.context, number)
            } else {
                window(stream.len(), self.context, self.seed, source, number)
            };
            append_window(stream, start, length, self.context, &mut batch.inputs, &mut batch.targets);
            batch.tokens += length;
            batch.places.push(Place { number, start });
            self.position.sequences[source] += 1;
        }
        self.position.tokens[source] += batch.tokens as u64;
        batch
    }

    /// The tokens of a source.
    pub fn stream(&self, source: usize) -> &TokenStream {
        &self.streams[source]
    }

    /// How far it has come.
    pub fn position(&self) -> Position {
        self.position.clone()
    }

    /// Goes on from a position as if everything before it had been delivered.
    ///
    /// # Panics
    /// When the position is of another number of sources.
    pub fn seek(&mut self, position: &Position) {
        let sources = self.shares.len();
        assert!(
            position.sequences.len() == sources && position.tokens.len() == sources,
            "a position over {} sources in data of {sources}",
            position.sequences.len()
        );
        self.position.clone_from(position);
    }
}

/// The first target and the number of targets of sequence `number`, over a ring of `total` tokens.
fn window(total: usize, context: usize, seed: u64, source: usize, number: u64) -> (usize, usize) {
    let windows = total.div_ceil(context) as u64;
    let epoch = number / windows;
    let key = mix(mix(mix(seed) ^ source as u64) ^ epoch);
    let place = Permutation::new(windows, key).of(number % windows) as usize;
    let phase = if epoch == 0 { 0 } else { (mix(key ^ 0x7068_6173) % total as u64) as usize };
    let length = context.min(total - place * context);
    ((phase + place * context) % total, length)
}

/// [`window`] of a stream whose order is a curriculum: one after the other, in every epoch.
fn ordered_window(total: usize, context: usize, number: u64) -> (usize, usize) {
    let place = (number % total.div_ceil(context) as u64) as usize;
    (place * context, context.min(total - place * context))
}

/// Consecutive windows of a held-out stream that do not overlap; every token is predicted once.
///
/// With a limit (tokens), windows are left out evenly over the stream until about that many tokens remain,
/// at least one window. The last window is padded. Deterministic.
pub fn evaluation_sequences(stream: &TokenStream, context: usize, limit_tokens: Option<usize>) -> Vec<Sequence> {
    if stream.is_empty() || context == 0 {
        return Vec::new();
    }
    let windows = stream.len().div_ceil(context);
    let wanted = limit_tokens.map_or(windows, |limit| (limit / context).clamp(1, windows));
    (0..wanted)
        .map(|number| {
            let start = (number as u128 * windows as u128 / wanted as u128) as usize * context;
            let length = context.min(stream.len() - start);
            let (mut inputs, mut targets) = (Vec::with_capacity(context), Vec::with_capacity(context));
            append_window(stream, start, length, context, &mut inputs, &mut targets);
            Sequence { inputs, targets }
        })
        .collect()
}

#[cfg(test)]
mod tests;
