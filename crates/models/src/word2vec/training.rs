//! The passes over the text.

use super::sample::{Piece, Random, Sampler};
use super::text::{END, EncodedText};
use super::{Kind, Vocabulary, Word2VecConfig, WordVectors};
use crate::error::ModelError;
use loam_kernels::word2vec::{Batch, Inertia, Rows, Step, Workspace, steps};
use rayon::prelude::*;
use std::time::Instant;

/// Words of text that are drawn from at once, by all threads.
const ROUND: usize = 1 << 18;
/// Words of a piece of it, which one task draws from: it decides what is drawn, so it never follows the threads.
const PIECE: usize = 1 << 13;
/// Windows of a batch at least, and at most. Larger ones leave the second-level cache.
const BATCH: (f64, f64) = (16.0, 128.0);
/// Gradients of single pairs, times the learning rate, that a batch has for a row, in the mean over pairs. All of them are
/// taken at the same rows: on 5 million words of Wikipedia, skip-gram, three epochs, this leaves the analogies that vectors
/// answer where single steps leave them, and batches many times as large let the vectors grow without bound.
const REACH: f64 = 0.125;
/// How much of its pairs a row is held back by ([`Inertia`]), which only the most frequent words feel.
const INERTIA: f64 = 0.5;

/// How far training has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Words of text that were read, over all epochs.
    pub words: u64,
    /// Words of text that will have been read in the end.
    pub total: u64,
    /// Passes begun, from 1.
    pub epoch: usize,
    /// The learning rate at this point.
    pub rate: f64,
    /// Seconds since training began.
    pub seconds: f64,
}

/// What training gives.
#[derive(Debug)]
pub struct Trained {
    /// The vectors of the words, in the order of the vocabulary.
    pub vectors: WordVectors,
    /// How far it came.
    pub progress: Progress,
    /// Whether it was stopped before its end.
    pub stopped: bool,
}

/// Trains vectors of every word. `watch` is told of every few hundred thousand words, and may stop by returning false.
///
/// The same text, vocabulary, and configuration give the same vectors, bit for bit, with the same number of
/// threads on the same machine.
///
/// # Errors
/// When the configuration is impossible or the text cannot be read.
pub fn train(
    vocabulary: &Vocabulary,
    text: &mut EncodedText,
    config: &Word2VecConfig,
    watch: &mut (dyn FnMut(&Progress) -> bool + Send),
) -> Result<Trained, ModelError> {
    config.check()?;
    // Inside the pool: entering it from outside costs more than one batch.
    rayon::scope(|_| Training::new(vocabulary, config).run(vocabulary, text, watch))
}

struct Training<'a> {
    config: &'a Word2VecConfig,
    input: Rows,
    output: Rows,
    sampler: Sampler,
    workspace: Workspace,
    /// Pair gradients that a window gives a row, in the mean over pairs.
    load: f64,
}

impl<'a> Training<'a> {
    fn new(vocabulary: &Vocabulary, config: &'a Word2VecConfig) -> Self {
        let mut input = Rows::zeros(vocabulary.len(), config.size);
        let mut random = Random::new(config.seed, 0, 0);
        let mut first = vec![0.0; config.size];
        for row in 0..vocabulary.len() {
            first.fill_with(|| ((random.fraction() - 0.5) / config.size as f64) as f32);
            input.set(row, &first);
        }
        let kept: Vec<f64> = vocabulary
            .counts()
            .iter()
            .zip(vocabulary.kept(config.sample))
            .map(|(count, chance)| *count as f64 * chance)
            .collect();
        let total: f64 = kept.iter().sum();
        let input_loads: Vec<f64> = kept.iter().map(|kept| kept / total).collect();
        let negative = config.negative as f64;
        let output_loads: Vec<f64> =
            input_loads.iter().zip(vocabulary.drawn()).map(|(share, drawn)| share + negative * drawn).collect();
        // A window reaches (window + 1) / 2 words to each side on average.
        let around = config.window as f64 + 1.0;
        let sources = if config.kind == Kind::SkipGram { around } else { 1.0 };
        // Gradients of single pairs that a window gives each row.
        let inputs: Vec<f64> = input_loads.iter().map(|load| load * around * (negative + 1.0)).collect();
        let outputs: Vec<f64> = output_loads.iter().map(|load| load * sources).collect();
        let sum = |power: i32| inputs.iter().chain(&outputs).map(|load| load.powi(power)).sum::<f64>();
        let load = sum(2) / sum(1);
        let inertia = |pairs: &[f64]| Inertia(pairs.iter().map(|pairs| (INERTIA * pairs) as f32).collect());
        let workspace = Workspace::new(inertia(&inputs), inertia(&outputs));
        let output = Rows::zeros(vocabulary.len(), config.size);
        Self { config, input, output, sampler: Sampler::new(vocabulary, config), workspace, load }
    }

    fn run(
        mut self,
        vocabulary: &Vocabulary,
        text: &mut EncodedText,
        watch: &mut (dyn FnMut(&Progress) -> bool + Send),
    ) -> Result<Trained, ModelError> {
        let begun = Instant::now();
        let total = text.words() * self.config.epochs as u64;
        let mut progress = Progress { words: 0, total, epoch: 0, rate: self.config.rate, seconds: 0.0 };
        let mut rows = Vec::with_capacity(ROUND + EncodedText::LONGEST_SENTENCE);
        let mut stopped = false;
        'epochs: for epoch in 0..self.config.epochs {
            progress.epoch = epoch + 1;
            text.rewind().map_err(in_scratch)?;
            let mut number = 0;
            loop {
                text.read(ROUND, &mut rows).map_err(in_scratch)?;
                if rows.is_empty() {
                    break;
                }
                let stretches: Vec<&[u32]> = stretches(&rows);
                let draw =
                    |(index, rows): (usize, &&[u32])| self.sampler.piece(epoch as u64, number + index as u64, rows);
                let pieces: Vec<Piece> = stretches.par_iter().enumerate().map(draw).collect();
                number += stretches.len() as u64;
                self.learn(&pieces, progress.words, total);
                progress.words += pieces.iter().map(|piece| piece.read).sum::<u64>();
                progress.rate = self.rate(progress.words as f64, total);
                progress.seconds = begun.elapsed().as_secs_f64();
                if !watch(&progress) {
                    stopped = progress.words < total;
                    break 'epochs;
                }
            }
        }
        let mut vectors = Vec::with_capacity(vocabulary.len() * self.config.size);
        for row in 0..vocabulary.len() {
            self.input.copy(row, &mut vectors);
        }
        let vectors = WordVectors::new(vocabulary.words().to_vec(), self.config.size, vectors)?;
        Ok(Trained { vectors, progress, stopped })
    }

    /// The learning rate after so many words.
    fn rate(&self, words: f64, total: u64) -> f64 {
        self.config.rate * (1.0 - words / total.max(1) as f64).max(1e-4)
    }

    /// Learns from pieces of text, before which so many words were read.
    fn learn(&mut self, pieces: &[Piece], mut words: u64, total: u64) {
        let mut all = Vec::new();
        for piece in pieces {
            let windows_in_all = piece.windows.len();
            let mut done = 0;
            while done < windows_in_all {
                let through = done as f64 / windows_in_all as f64;
                let rate = self.rate(words as f64 + piece.read as f64 * through, total);
                let most = (REACH / (rate * self.load)).clamp(BATCH.0, BATCH.1) as usize;
                let windows = &piece.windows[done..(done + most).min(windows_in_all)];
                let negatives = &piece.negatives[done * self.config.negative..][..windows.len() * self.config.negative];
                all.push(Step { batch: Batch { words: &piece.words, windows, negatives }, rate: rate as f32 });
                done += windows.len();
            }
            words += piece.read;
        }
        steps(self.config.kind, &mut self.input, &mut self.output, &all, &mut self.workspace);
    }
}

/// Rows in stretches of whole sentences.
fn stretches(rows: &[u32]) -> Vec<&[u32]> {
    let mut stretches = Vec::with_capacity(rows.len() / PIECE + 1);
    let mut rest = rows;
    while rest.len() > PIECE {
        let end = rest[PIECE - 1..].iter().position(|row| *row == END).map_or(rest.len(), |after| PIECE + after);
        let (stretch, after) = rest.split_at(end);
        stretches.push(stretch);
        rest = after;
    }
    if !rest.is_empty() {
        stretches.push(rest);
    }
    stretches
}

fn in_scratch(source: std::io::Error) -> ModelError {
    ModelError::io("the scratch file of the text", source)
}
