//! One decoder for every model that writes from left to right: greedy choice and sampling ([`write()`]), and beam search
//! ([`search`]). Both work on a batch of rows that may differ in length, read each token once into a cache, and know of
//! the model only what [`Decoder`] asks: [`Causal`] makes one of a language model, [`FromSource`] of an encoder and
//! decoder.
//!
//! Rules and their order are those of Hugging Face transformers ([`Rules`]), so that settings carry over and results
//! equal its `generate`.

mod beams;
mod causal;
mod from_source;
mod rules;
mod write;

pub use beams::{BeamOptions, EarlyStopping, Hypothesis, LengthPenalty, search};
pub use causal::{Causal, Remembering};
pub use from_source::{EncoderDecoder, FromSource};
pub use rules::Rules;
pub use write::{WriteOptions, Written, write};

use crate::error::ModelError;
use burn::tensor::{Device, Int, Tensor, TensorData};

/// Why the writing ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The model ended the text, or a stop string was met.
    Stop,
    /// The allowance of new tokens is used up.
    Length,
}

impl Finish {
    /// `stop` or `length`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
        }
    }
}

/// Logits of the next token, one row of the vocabulary for each row of the batch.
#[derive(Clone, Debug, Default)]
pub struct Logits {
    values: Vec<f32>,
    vocabulary: usize,
}

impl Logits {
    /// `[rows, vocabulary]` from a tensor.
    pub fn new(logits: Tensor<2>) -> Self {
        let vocabulary = logits.dims()[1];
        Self { values: logits.into_data().convert::<f32>().try_into_vec().expect("f32 after conversion"), vocabulary }
    }

    /// Those of one row.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.vocabulary..(row + 1) * self.vocabulary]
    }
}

/// A model that writes: it reads tokens into a state and tells what may come next.
pub trait Decoder {
    /// What is kept of the tokens read, row by row.
    type State;

    /// Number of token ids.
    fn vocabulary(&self) -> usize;

    /// Longest sequence that the model can see, in tokens.
    fn context(&self) -> usize;

    /// Whether a text longer than the context may go on from its last half.
    fn slides(&self) -> bool;

    /// Reads the first tokens of every row, which may differ in length and are not empty; row `i` belongs to the source
    /// `sources[i]`, where the model has sources.
    fn begin(&self, sources: &[usize], rows: &[&[u32]]) -> (Self::State, Logits);

    /// Reads one more token of every row.
    fn step(&self, tokens: &[u32], state: &mut Self::State) -> Logits;

    /// Keeps these rows of the state, in this order; a row may be kept several times.
    fn select(&self, state: &mut Self::State, rows: &[usize]);

    /// The rows of several states, one after the other.
    fn join(&self, states: Vec<Self::State>) -> Self::State;
}

/// Complains of prompts that are empty, longer than the context, or hold ids beyond the vocabulary.
fn check_prompts<D: Decoder>(decoder: &D, prompts: &[&[u32]]) -> Result<(), ModelError> {
    let context = decoder.context();
    for (number, prompt) in prompts.iter().enumerate() {
        let which = if prompts.len() == 1 { "the prompt".to_owned() } else { format!("prompt {}", number + 1) };
        if prompt.is_empty() {
            return Err(ModelError::Request(format!("{which} is empty, and this model has no token to begin with")));
        }
        if prompt.len() > context {
            return Err(ModelError::Request(format!(
                "{which} is {} tokens long and the model's context is {context}; shorten it",
                prompt.len()
            )));
        }
        if let Some(id) = prompt.iter().find(|&&id| id as usize >= decoder.vocabulary()) {
            return Err(ModelError::Request(format!(
                "token {id} of {which} is beyond the model's vocabulary of {}; do the tokenizer and the model belong \
                 together?",
                decoder.vocabulary()
            )));
        }
    }
    Ok(())
}

/// Ids as a tensor `[rows, time]`.
fn ids(rows: &[&[u32]], device: &Device) -> Tensor<2, Int> {
    let time = rows.first().map_or(0, |row| row.len());
    let values: Vec<i64> = rows.iter().flat_map(|row| row.iter().map(|&id| i64::from(id))).collect();
    Tensor::from_data(TensorData::new(values, [rows.len(), time]), device)
}
