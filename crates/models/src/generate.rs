//! Writing text, one token after the other.

use crate::error::ModelError;
use crate::language_model::{Cache, LanguageModel};
use crate::sampling::{Sampler, SamplingOptions};
use burn::tensor::{Device, Int, Tensor, TensorData};
use std::ops::ControlFlow;

/// How to go on from a prompt.
#[derive(Clone, Debug, Default)]
pub struct GenerateOptions {
    /// Tokens to write at most.
    pub max_new_tokens: usize,
    /// How each token is chosen.
    pub sampling: SamplingOptions,
    /// A token that ends the text; it is not passed on.
    pub end_of_text: Option<u32>,
}

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

/// Continues `prompt`, passing each new token to `on_token`, which may end the writing. Text longer than the model's
/// context goes on from its last half, which is read again.
///
/// # Errors
/// When the prompt is empty, longer than the model's context, or holds ids that the model has not.
pub fn generate<M: LanguageModel>(
    model: &M,
    prompt: &[u32],
    options: &GenerateOptions,
    device: &Device,
    mut on_token: impl FnMut(u32) -> ControlFlow<()>,
) -> Result<Finish, ModelError> {
    let context = model.context();
    if prompt.is_empty() {
        return Err(ModelError::Request("the prompt is empty, and this model has no token to begin with".into()));
    }
    if prompt.len() > context {
        return Err(ModelError::Request(format!(
            "the prompt is {} tokens long and the model's context is {context}; shorten it",
            prompt.len()
        )));
    }
    check_ids(model, prompt)?;
    let mut sampler = Sampler::new(options.sampling.clone()).map_err(|error| ModelError::Request(error.to_string()))?;
    let mut history = prompt.to_vec();
    let mut cache = Cache::default();
    let mut fresh = prompt.to_vec();
    for _ in 0..options.max_new_tokens {
        if cache.len() + fresh.len() > context {
            cache = Cache::default();
            fresh = history[history.len() - context.div_ceil(2)..].to_vec();
        }
        let logits = last_logits(model, &fresh, &mut cache, device);
        let next = sampler.sample(&logits, &history);
        if options.end_of_text == Some(next) {
            return Ok(Finish::Stop);
        }
        history.push(next);
        fresh = vec![next];
        if on_token(next).is_break() {
            return Ok(Finish::Stop);
        }
    }
    Ok(Finish::Length)
}

/// Complains of ids beyond the model's vocabulary.
///
/// # Errors
/// When there is one.
pub fn check_ids<M: LanguageModel>(model: &M, ids: &[u32]) -> Result<(), ModelError> {
    match ids.iter().find(|&&id| id as usize >= model.vocabulary()) {
        Some(id) => Err(ModelError::Request(format!(
            "token {id} is beyond the model's vocabulary of {}; do the tokenizer and the model belong together?",
            model.vocabulary()
        ))),
        None => Ok(()),
    }
}

/// Ids as a tensor `[1, length]`.
pub fn row(ids: &[u32], device: &Device) -> Tensor<2, Int> {
    let values: Vec<i64> = ids.iter().map(|&id| i64::from(id)).collect();
    Tensor::from_data(TensorData::new(values, [1, ids.len()]), device)
}

fn last_logits<M: LanguageModel>(model: &M, fresh: &[u32], cache: &mut Cache, device: &Device) -> Vec<f32> {
    let logits = model.logits(row(fresh, device), cache);
    let [_, time, vocabulary] = logits.dims();
    let last = logits.slice([0..1, time - 1..time, 0..vocabulary]);
    last.into_data().convert::<f32>().try_into_vec::<f32>().expect("f32 after conversion")
}
