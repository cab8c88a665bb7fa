//! A language model as a [`Decoder`].

use super::{Decoder, Logits, ids};
use crate::language_model::{Cache, LanguageModel};
use burn::tensor::Device;
use std::cell::{Cell, RefCell};

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

    /// Reads rows of equal length, from the `start`-th token of each.
    fn read(&self, rows: &[&[u32]], start: usize, cache: &mut Cache) -> Logits {
        let (time, mut logits) = (rows[0].len(), Logits::default());
        for start in (start..time).step_by(PIECE) {
            let piece: Vec<&[u32]> = rows.iter().map(|row| &row[start..(start + PIECE).min(time)]).collect();
            logits = Logits::new(self.model.last_logits(ids(&piece, &self.device), cache));
        }
        logits
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
            let mut cache = Cache::default();
            let logits = self.read(&group.iter().map(|&row| rows[row]).collect::<Vec<_>>(), 0, &mut cache);
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

/// A language model that writes one text after another and does not read again what the next has in common with the last:
/// a conversation, whose prompts each begin with the one before.
#[derive(Debug)]
pub struct Remembering<'a, M> {
    inner: Causal<'a, M>,
    /// The tokens that the cache holds.
    held: RefCell<(Vec<u32>, Cache)>,
    known: Cell<usize>,
}

impl<'a, M: LanguageModel> Remembering<'a, M> {
    /// Of a model on this device; it remembers nothing yet.
    pub fn new(model: &'a M, device: &Device) -> Self {
        Self { inner: Causal::new(model, device), held: RefCell::default(), known: Cell::new(0) }
    }

    /// Tokens of the last prompt that it did not read again.
    pub fn known(&self) -> usize {
        self.known.get()
    }
}

/// One row at a time.
impl<M: LanguageModel> Decoder for Remembering<'_, M> {
    type State = ();

    fn vocabulary(&self) -> usize {
        self.inner.vocabulary()
    }

    fn context(&self) -> usize {
        self.inner.context()
    }

    fn slides(&self) -> bool {
        true
    }

    fn begin(&self, _: &[usize], rows: &[&[u32]]) -> ((), Logits) {
        assert_eq!(rows.len(), 1, "one text at a time");
        let (tokens, cache) = &mut *self.held.borrow_mut();
        let mut known = tokens.iter().zip(rows[0]).take_while(|(a, b)| a == b).count();
        // What comes after the last token is asked for anew.
        known = known.min(rows[0].len() - 1);
        if !cache.truncate(known) {
            (known, *cache) = (0, Cache::default());
        }
        *tokens = rows[0].to_vec();
        self.known.set(known);
        ((), self.inner.read(rows, known, cache))
    }

    fn step(&self, new: &[u32], (): &mut ()) -> Logits {
        let (tokens, cache) = &mut *self.held.borrow_mut();
        tokens.extend_from_slice(new);
        self.inner.step(new, cache)
    }

    fn select(&self, (): &mut (), _: &[usize]) {}

    fn join(&self, _: Vec<()>) {}
}
