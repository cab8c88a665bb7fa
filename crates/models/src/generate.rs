//! Writing text from one prompt, one token after the other: [`crate::decode`] for a single row.

use crate::decode::{self, Causal, Rules, WriteOptions};
use crate::error::ModelError;
use crate::language_model::LanguageModel;
use crate::sampling::SamplingOptions;
use burn::tensor::{Device, Int, Tensor, TensorData};
use std::ops::ControlFlow;

pub use crate::decode::Finish;

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
    let options = WriteOptions {
        max_new_tokens: options.max_new_tokens,
        sampling: options.sampling.clone(),
        rules: Rules::default(),
        ends: options.end_of_text.into_iter().collect(),
    };
    let written = decode::write(&Causal::new(model, device), &[prompt], &options, |_, token| on_token(token))?;
    Ok(written.first().map_or(Finish::Length, |written| written.finish))
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
