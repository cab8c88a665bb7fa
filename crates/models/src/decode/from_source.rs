//! An encoder and decoder as a [`Decoder`]: it writes the target of a source.

use super::{Decoder, Logits, ids};
use crate::cache::Cache;
use crate::seq2seq::Seq2Seq;
use crate::source_to_target::{Memory, SourceToTarget};
use crate::t5::T5;
use burn::tensor::{Device, Int, Tensor};

/// What writing asks of an encoder and decoder.
pub trait EncoderDecoder {
    /// What the decoder looks at while it writes, one row for each source.
    type Memory: Clone;

    /// These rows of a memory, in this order; a row may come several times.
    fn select(memory: &Self::Memory, rows: &[usize]) -> Self::Memory;

    /// Logits after each of `inputs` `[batch, time]`, which follow the tokens in `cache`: `[batch, time, vocabulary]`.
    fn logits(&self, memory: &Self::Memory, inputs: Tensor<2, Int>, cache: &mut Cache) -> Tensor<3>;

    /// Number of token ids.
    fn vocabulary(&self) -> usize;

    /// Longest target, in tokens; `usize::MAX` where nothing limits it.
    fn context(&self) -> usize;
}

impl EncoderDecoder for Seq2Seq {
    type Memory = Memory;

    fn select(memory: &Memory, rows: &[usize]) -> Memory {
        memory.select(rows)
    }

    fn logits(&self, memory: &Memory, inputs: Tensor<2, Int>, cache: &mut Cache) -> Tensor<3> {
        Self::logits(self, memory, inputs, cache)
    }

    fn vocabulary(&self) -> usize {
        self.config().vocab_size
    }

    fn context(&self) -> usize {
        self.config().max_position_embeddings
    }
}

impl EncoderDecoder for T5 {
    type Memory = Memory;

    fn select(memory: &Memory, rows: &[usize]) -> Memory {
        memory.select(rows)
    }

    fn logits(&self, memory: &Memory, inputs: Tensor<2, Int>, cache: &mut Cache) -> Tensor<3> {
        Self::logits(self, memory, inputs, cache)
    }

    fn vocabulary(&self) -> usize {
        self.config().vocab_size
    }

    fn context(&self) -> usize {
        usize::MAX
    }
}

impl EncoderDecoder for SourceToTarget {
    type Memory = Memory;

    fn select(memory: &Memory, rows: &[usize]) -> Memory {
        memory.select(rows)
    }

    fn logits(&self, memory: &Memory, inputs: Tensor<2, Int>, cache: &mut Cache) -> Tensor<3> {
        Self::logits(self, memory, inputs, cache)
    }

    fn vocabulary(&self) -> usize {
        Self::vocabulary(self)
    }

    fn context(&self) -> usize {
        self.limit().unwrap_or(usize::MAX)
    }
}

/// An encoder and decoder with the sources that it writes targets of.
pub struct FromSource<'a, M: EncoderDecoder> {
    model: &'a M,
    memory: M::Memory,
    device: Device,
}

impl<'a, M: EncoderDecoder> FromSource<'a, M> {
    /// `memory` holds one row for each source.
    pub fn new(model: &'a M, memory: M::Memory, device: &Device) -> Self {
        Self { model, memory, device: device.clone() }
    }
}

/// What is kept of the targets so far.
pub struct Writing<Memory> {
    /// The source of each row.
    sources: Vec<usize>,
    /// Its part of the memory, row by row.
    memory: Memory,
    cache: Cache,
}

impl<M: EncoderDecoder> FromSource<'_, M> {
    fn read(&self, rows: &[&[u32]], state: &mut Writing<M::Memory>) -> Logits {
        let logits = self.model.logits(&state.memory, ids(rows, &self.device), &mut state.cache);
        let [batch, time, vocabulary] = logits.dims();
        Logits::new(logits.narrow(1, time - 1, 1).reshape([batch, vocabulary]))
    }
}

impl<M: EncoderDecoder> Decoder for FromSource<'_, M> {
    type State = Writing<M::Memory>;

    fn vocabulary(&self) -> usize {
        self.model.vocabulary()
    }

    fn context(&self) -> usize {
        self.model.context()
    }

    fn slides(&self) -> bool {
        false
    }

    /// # Panics
    /// When the rows differ in length: a target begins with the model's own first token.
    fn begin(&self, sources: &[usize], rows: &[&[u32]]) -> (Self::State, Logits) {
        assert!(rows.iter().all(|row| row.len() == rows[0].len()), "targets that begin with as many tokens");
        let memory = M::select(&self.memory, sources);
        let mut state = Writing { sources: sources.to_vec(), memory, cache: Cache::default() };
        let logits = self.read(rows, &mut state);
        (state, logits)
    }

    fn step(&self, tokens: &[u32], state: &mut Self::State) -> Logits {
        let rows: Vec<&[u32]> = tokens.chunks(1).collect();
        self.read(&rows, state)
    }

    fn select(&self, state: &mut Self::State, rows: &[usize]) {
        let sources: Vec<usize> = rows.iter().map(|&row| state.sources[row]).collect();
        // Beams of one source change places all the time; their memory stays where it is.
        if sources != state.sources {
            state.memory = M::select(&self.memory, &sources);
            state.sources = sources;
        }
        state.cache.select(rows);
    }

    fn join(&self, states: Vec<Self::State>) -> Self::State {
        let sources: Vec<usize> = states.iter().flat_map(|state| state.sources.iter().copied()).collect();
        let memory = M::select(&self.memory, &sources);
        Writing { sources, memory, cache: Cache::join(states.into_iter().map(|state| state.cache).collect()) }
    }
}
