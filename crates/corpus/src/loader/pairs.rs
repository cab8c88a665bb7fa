//! Micro-batches of pairs: mixed, shuffled, of like lengths, and continued from any position.
//!
//! Pairs differ in length, and a batch is as long as its longest. An epoch visits the pairs in a pseudo-random order; of
//! every [`WINDOW`] of them in this order, those of like lengths are put side by side, as many as fit the budget of a
//! micro-batch, and the micro-batches of the window are visited in a pseudo-random order again. All of it is a pure
//! function of (seed, source, pairs delivered so far), as for streams of text.

use std::collections::HashMap;

use super::Position;
use crate::error::CorpusError;
use crate::permutation::{Permutation, mix};
use crate::prepare::{ExampleStream, Prepared};

/// Pairs that are sorted by length together.
const WINDOW: usize = 4096;

/// Pairs of one source, side by side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairBatch {
    /// Index of the source.
    pub source: usize,
    /// Indices of the pairs in the source.
    pub pairs: Vec<usize>,
}

/// A window of an epoch, cut into micro-batches.
struct Window {
    number: u64,
    batches: Vec<Vec<usize>>,
    /// Where each micro-batch begins, in pairs of the window.
    starts: HashMap<usize, usize>,
}

/// Delivers micro-batches of pairs without end.
pub struct PairLoader {
    streams: Vec<ExampleStream>,
    /// The pairs of each source that fit the context.
    usable: Vec<Vec<usize>>,
    shares: Vec<f64>,
    fit: Fit,
    budget: usize,
    seed: u64,
    position: Position,
    windows: Vec<Option<Window>>,
}

impl PairLoader {
    /// A loader at its start, of pairs that fit. A micro-batch has at most
    /// `budget` tokens on its longer side, padding included.
    pub fn new(prepared: &Prepared, fit: Fit, budget: usize, seed: u64) -> Result<Self, CorpusError> {
        let sources = prepared.sources().len();
        let mut streams = Vec::new();
        for (index, source) in prepared.sources().iter().enumerate() {
            let stream = prepared.train_examples(index).ok_or_else(|| {
                CorpusError::invalid(
                    format!("source \"{}\" has no pairs", source.name),
                    "name its targets with target_path, or its fields with input_field and target_field",
                )
            })?;
            streams.push(stream.clone());
        }
        let usable: Vec<Vec<usize>> = streams.iter().map(|stream| fitting(stream, fit)).collect();
        let shares: Vec<f64> = prepared.sources().iter().map(|source| source.share).collect();
        if !shares.iter().zip(&usable).any(|(share, pairs)| *share > 0.0 && !pairs.is_empty()) {
            return Err(CorpusError::invalid(
                format!("no source has pairs of at most {} to train on", fit.words()),
                "check weights and files, or make the context longer",
            ));
        }
        Ok(Self {
            usable,
            shares,
            fit,
            budget: budget.max(fit.context()),
            seed,
            position: Position { sequences: vec![0; sources], tokens: vec![0; sources] },
            windows: streams.iter().map(|_| None).collect(),
            streams,
        })
    }

    /// Pairs of all sources that are longer than the context and left out.
    pub fn left_out(&self) -> usize {
        self.streams.iter().zip(&self.usable).map(|(stream, usable)| stream.len() - usable.len()).sum()
    }

    /// Micro-batches of one epoch over all sources that have a share.
    pub fn batches_per_epoch(&self) -> u64 {
        let mut count = 0;
        for (source, _) in self.shares.iter().enumerate().filter(|(_, share)| **share > 0.0) {
            for window in 0..self.usable[source].len().div_ceil(WINDOW) {
                count += self.window(source, window as u64).batches.len() as u64;
            }
        }
        count
    }

    /// The source that is furthest behind its share; the first of equals.
    fn choose(&self) -> usize {
        let goal = self.position.tokens.iter().sum::<u64>() as f64 + self.budget as f64;
        let mut best = (f64::NEG_INFINITY, 0);
        for (source, &share) in self.shares.iter().enumerate() {
            if share > 0.0 && !self.usable[source].is_empty() {
                let behind = share * goal - self.position.tokens[source] as f64;
                if behind > best.0 {
                    best = (behind, source);
                }
            }
        }
        best.1
    }

    /// Window `number` of a source, over all epochs.
    fn window(&self, source: usize, number: u64) -> Window {
        let (stream, usable) = (&self.streams[source], &self.usable[source]);
        let windows = usable.len().div_ceil(WINDOW) as u64;
        let (epoch, window) = (number / windows, (number % windows) as usize);
        let key = mix(mix(mix(self.seed) ^ source as u64) ^ epoch);
        let order = Permutation::new(usable.len() as u64, key);
        let range = window * WINDOW..((window + 1) * WINDOW).min(usable.len());
        let mut pairs: Vec<usize> = range.map(|place| usable[order.of(place as u64) as usize]).collect();
        let length = |pair: usize| {
            let (input, target) = stream.lengths(pair);
            (self.fit.length((input, target)), target)
        };
        pairs.sort_by_key(|pair| length(*pair));
        let mut batches: Vec<Vec<usize>> = Vec::new();
        for pair in pairs {
            match batches.last_mut() {
                // Sorted, so this pair is the longest.
                Some(batch) if (batch.len() + 1) * length(pair).0 <= self.budget => batch.push(pair),
                _ => batches.push(vec![pair]),
            }
        }
        let shuffled = Permutation::new(batches.len() as u64, mix(key ^ mix(window as u64 ^ 0x6261_7463)));
        let batches: Vec<Vec<usize>> =
            (0..batches.len()).map(|place| batches[shuffled.of(place as u64) as usize].clone()).collect();
        let mut starts = HashMap::new();
        let mut start = 0;
        for (number, batch) in batches.iter().enumerate() {
            starts.insert(start, number);
            start += batch.len();
        }
        Window { number, batches, starts }
    }

    /// The next micro-batch.
    #[allow(clippy::should_implement_trait)] // There is always a next one; an Option would be a lie.
    pub fn next(&mut self) -> PairBatch {
        let source = self.choose();
        let (epoch, within) = {
            let (delivered, all) = (self.position.sequences[source], self.usable[source].len() as u64);
            (delivered / all, (delivered % all) as usize)
        };
        let windows = self.usable[source].len().div_ceil(WINDOW) as u64;
        let number = epoch * windows + (within / WINDOW) as u64;
        if self.windows[source].as_ref().is_none_or(|window| window.number != number) {
            self.windows[source] = Some(self.window(source, number));
        }
        let window = self.windows[source].as_ref().expect("made above");
        // A position that is not between two micro-batches is not one of this loader; its window begins again.
        let batch = window.starts.get(&(within % WINDOW)).copied().unwrap_or_default();
        let pairs = window.batches[batch].clone();
        let tokens: usize = pairs.iter().map(|pair| self.streams[source].lengths(*pair)).map(|(a, b)| a + b).sum();
        self.position.sequences[source] += pairs.len() as u64;
        self.position.tokens[source] += tokens as u64;
        PairBatch { source, pairs }
    }

    /// The pairs of a source.
    pub fn stream(&self, source: usize) -> &ExampleStream {
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

/// How much of a pair, or of a conversation, fits a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// So many tokens of the input, and so many of the target.
    Sides(usize),
    /// So many tokens of both together, the last of which is told and not read.
    Whole(usize),
}

impl Fit {
    fn context(self) -> usize {
        match self {
            Self::Sides(context) | Self::Whole(context) => context,
        }
    }

    /// Tokens that a row of a batch is long.
    fn length(self, (input, target): (usize, usize)) -> usize {
        match self {
            Self::Sides(_) => input.max(target),
            Self::Whole(_) => (input + target).saturating_sub(1),
        }
    }

    fn words(self) -> String {
        match self {
            Self::Sides(context) => format!("{context} tokens a side"),
            Self::Whole(context) => format!("{context} tokens"),
        }
    }
}

/// The pairs that fit.
pub fn fitting(stream: &ExampleStream, fit: Fit) -> Vec<usize> {
    (0..stream.len()).filter(|pair| fit.length(stream.lengths(*pair)) <= fit.context()).collect()
}
