//! A language model as a [`Decoder`].

use super::{Decoder, Logits, ids};
use crate::language_model::{Cache, LanguageModel};
use burn::tensor::Device;

/// A language model that goes on from prompts.
#[derive(Debug)]
pub struct Causal<'a, M> {
    model: &'a M,
    device: Device,
}

impl<'a, M: LanguageModel> Causal<'a, M> {
    /// Of a model on this device.
    pub fn new(model: &'a M, device: &Device) -> Self {
        Self { model, device: device.clone() }
    }
}

/// Tokens of a prompt that are read in one pass: more would hold all layers' activations of all of them at once.
const PIECE: usize = 1024;

impl<M: LanguageModel> Decoder for Causal<'_, M> {
    type State = Cache;

    fn vocabulary(&self) -> usize {
        self.model.vocabulary()
    }

    fn context(&self) -> usize {
        self.model.context()
    }

    fn slides(&self) -> bool {
        true
    }

    /// Rows of equal length are read together, so no padding is ever computed.
    fn begin(&self, _: &[usize], rows: &[&[u32]]) -> (Cache, Logits) {
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|&row| rows[row].len());
        let (mut caches, mut values) = (Vec::new(), vec![0.0; rows.len() * self.vocabulary()]);
        for group in order.chunk_by(|&a, &b| rows[a].len() == rows[b].len()) {
            let time = rows[group[0]].len();
            let mut cache = Cache::default();
            let mut logits = Logits::default();
            for start in (0..time).step_by(PIECE) {
                let piece: Vec<&[u32]> =
                    group.iter().map(|&row| &rows[row][start..(start + PIECE).min(time)]).collect();
                logits = Logits::new(self.model.last_logits(ids(&piece, &self.device), &mut cache));
            }
            for (index, &row) in group.iter().enumerate() {
                values[row * self.vocabulary()..][..self.vocabulary()].copy_from_slice(logits.row(index));
            }
            caches.push(cache);
        }
        let mut cache = Cache::join(caches);
        let mut places = vec![0; order.len()];
        for (place, &row) in order.iter().enumerate() {
            places[row] = place;
        }
        if !places.is_sorted() {
            cache.select(&places);
        }
        (cache, Logits { values, vocabulary: self.vocabulary() })
    }

    fn step(&self, tokens: &[u32], cache: &mut Cache) -> Logits {
        let rows: Vec<&[u32]> = tokens.chunks(1).collect();
        Logits::new(self.model.last_logits(ids(&rows, &self.device), cache))
    }

    fn select(&self, cache: &mut Cache, rows: &[usize]) {
        cache.select(rows);
    }

    fn join(&self, states: Vec<Cache>) -> Cache {
        Cache::join(states)
    }
}
