//! BERT that tells whether one sentence follows another (Devlin et al. 2019, section 3.1), alone and beside masked words.
//! Only BERT itself has this head.

use super::encoder::{Bert, Inputs};
use super::heads::{self, dense, pooled};
use super::layout::Family;
use super::{BertConfig, MaskedBert, write};
use crate::classifier::cross_entropies;
use crate::error::ModelError;
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use loam_nn::head::Grades;
use loam_nn::layers::Dense;
use std::path::Path;

/// Logits of a text's two outcomes: 0 where the second sentence follows the first, 1 where it does not.
const OUTCOMES: usize = 2;

fn only_bert(bert: &Bert) -> Result<(), ModelError> {
    match bert.config().family {
        Family::Bert => Ok(()),
        family => Err(ModelError::Configuration(format!(
            "model_type = {:?} has no head over next sentences; \"bert\" has",
            family.name()
        ))),
    }
}

/// What the head makes of the pooled first token, `[batch, 2]`.
fn next_logits(bert: &Bert, next: &Dense, hidden: Tensor<3>) -> Tensor<2> {
    let pooled = bert.pool(hidden).expect("the head stands upon a pooler");
    let batch = pooled.dims()[0];
    next.forward(pooled.unsqueeze()).reshape([batch, OUTCOMES])
}

/// `BertForNextSentencePrediction`.
#[derive(Module, Debug)]
pub struct NextSentenceBert {
    bert: Bert,
    next: Dense,
}

impl NextSentenceBert {
    /// A new head, from a seed, on an encoder as it is. The pooler is kept where there is one, and new otherwise.
    ///
    /// # Errors
    /// When the family has no such head.
    pub fn new(bert: Bert, seed: u64, device: &Device) -> Result<Self, ModelError> {
        only_bert(&bert)?;
        let bert = pooled(bert, seed, device);
        let next = dense(bert.config(), OUTCOMES, seed, 2, device);
        Ok(Self { bert, next })
    }

    /// Reads `config.json` and `model.safetensors` of a folder.
    ///
    /// # Errors
    /// When a file is missing or broken, is of another family, or has another head or none: that is never made up.
    pub fn load(folder: &Path, device: &Device) -> Result<Self, ModelError> {
        heads::load(
            folder,
            "ForNextSentencePrediction",
            |_| Ok(OUTCOMES),
            |config, _| Self::new(Bert::new(config, 0, device)?, 0, device),
        )
    }

    /// The encoder.
    pub fn encoder(&self) -> &Bert {
        &self.bert
    }

    /// The configuration.
    pub fn config(&self) -> &BertConfig {
        self.bert.config()
    }

    /// The logits that the second sentence follows the first, and that it does not: `[batch, 2]`.
    pub fn logits(&self, inputs: &Inputs) -> Tensor<2> {
        next_logits(&self.bert, &self.next, self.bert.encode(inputs, None))
    }

    /// `scale` times the summed cross-entropy of `targets` `[batch]` in nats: 0 where the second sentence follows, 1
    /// where it does not, −1 where that does not count. `[1]`, differentiable. With a seed, dropout is on and follows
    /// from it alone.
    pub fn loss(&self, inputs: &Inputs, targets: Tensor<1, Int>, scale: f32, dropout_seed: Option<u64>) -> Tensor<1> {
        let logits = next_logits(&self.bert, &self.next, self.bert.encode(inputs, dropout_seed));
        cross_entropies(logits, targets).sum() * scale
    }

    /// Writes `config.json` and `model.safetensors` in the Hugging Face layout.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), ModelError> {
        write(self, self.config(), "ForNextSentencePrediction", folder, |_| {})
    }
}

/// `BertForPreTraining`: masked words and next sentences, told of one pass.
#[derive(Module, Debug)]
pub struct PretrainingBert {
    masked: MaskedBert,
    next: Dense,
}

impl PretrainingBert {
    /// A new head over next sentences, from a seed, beside the head over masked words. The pooler is kept where there is
    /// one, and new otherwise.
    ///
    /// # Errors
    /// When the family has no such head.
    pub fn new(masked: MaskedBert, seed: u64, device: &Device) -> Result<Self, ModelError> {
        only_bert(&masked.bert)?;
        let MaskedBert { bert, head } = masked;
        let bert = pooled(bert, seed, device);
        let next = dense(bert.config(), OUTCOMES, seed, 2, device);
        Ok(Self { masked: MaskedBert { bert, head }, next })
    }

    /// Reads `config.json` and `model.safetensors` of a folder.
    ///
    /// # Errors
    /// When a file is missing or broken, is of another family, or lacks one of the heads: that is never made up.
    pub fn load(folder: &Path, device: &Device) -> Result<Self, ModelError> {
        heads::load(
            folder,
            "ForPreTraining",
            |_| Ok(OUTCOMES),
            |config, _| Self::new(MaskedBert::new(config, 0, device)?, 0, device),
        )
    }

    /// The encoder with its head over masked words.
    pub fn masked(&self) -> &MaskedBert {
        &self.masked
    }

    /// The configuration.
    pub fn config(&self) -> &BertConfig {
        self.masked.config()
    }

    /// The logits of every word at every place, `[batch, time, vocabulary]`, and of next sentences, `[batch, 2]`, as
    /// [`NextSentenceBert::logits`] has them.
    pub fn logits(&self, inputs: &Inputs) -> (Tensor<3>, Tensor<2>) {
        let hidden = self.masked.bert.encode(inputs, None);
        (self.masked.logits_of(hidden.clone()), next_logits(&self.masked.bert, &self.next, hidden))
    }

    /// The summed cross-entropy of masked words, as [`MaskedBert::loss`] has it, times the first of `scales`, and of next
    /// sentences, as [`NextSentenceBert::loss`] has it, times the second. `[1]`, differentiable.
    pub fn loss(
        &self,
        inputs: &Inputs,
        words: (Tensor<1, Int>, Tensor<1, Int>),
        follows: Tensor<1, Int>,
        scales: (f32, f32),
        dropout_seed: Option<u64>,
    ) -> Tensor<1> {
        let hidden = self.masked.bert.encode(inputs, dropout_seed);
        let next = cross_entropies(next_logits(&self.masked.bert, &self.next, hidden.clone()), follows);
        self.masked.loss_of(hidden, words.0, words.1, scales.0) + next.sum() * scales.1
    }

    /// The grades at every masked place, as [`MaskedBert::token_grades`] has it, and the logits of next sentences,
    /// `[batch, 2]`; no dropout, not differentiable.
    pub fn token_grades(&self, inputs: &Inputs, words: (Tensor<1, Int>, Tensor<1, Int>)) -> (Grades, Tensor<2>) {
        let hidden = self.masked.bert.encode(inputs, None);
        let next = next_logits(&self.masked.bert, &self.next, hidden.clone()).inner();
        (self.masked.token_grades_of(hidden, words.0, words.1), next)
    }

    /// Writes `config.json` and `model.safetensors` in the Hugging Face layout.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), ModelError> {
        write(self, self.config(), "ForPreTraining", folder, |_| {})
    }
}
