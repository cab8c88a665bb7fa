//! BERT that labels every token.

use super::encoder::{Bert, Inputs};
use super::heads::{self, dense};
use super::{BertConfig, write};
use crate::dropouts::Dropouts;
use crate::error::ModelError;
use crate::labels::Labels;
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use loam_nn::head;
use loam_nn::layers::Dense;
use std::path::Path;

/// Where the last dropout of a pass falls, behind the encoder's own places.
const DROPOUT: u64 = 1 << 32;

/// `BertForTokenClassification` and its relations.
#[derive(Module, Debug)]
pub struct TokenBert {
    bert: Bert,
    token: Dense,
    #[module(skip)]
    labels: Labels,
}

impl TokenBert {
    /// A new head, from a seed, on an encoder as it is; a pooler is left behind.
    pub fn new(bert: Bert, labels: Labels, seed: u64, device: &Device) -> Self {
        let bert = bert.without_pooler();
        let token = dense(bert.config(), labels.len(), seed, 0, device);
        Self { bert, token, labels }
    }

    /// Reads `config.json` and `model.safetensors` of a folder.
    ///
    /// # Errors
    /// When a file is missing or broken, is of another family, or has another head or none: that is never made up.
    pub fn load(folder: &Path, device: &Device) -> Result<Self, ModelError> {
        heads::load(
            folder,
            "ForTokenClassification",
            |file| Ok(Labels::from_json(&file.value)?.len()),
            |config, file| Ok(Self::new(Bert::new(config, 0, device)?, Labels::from_json(&file.value)?, 0, device)),
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

    /// What its outputs are called.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    fn states(&self, inputs: &Inputs, dropout_seed: Option<u64>) -> Tensor<3> {
        let hidden = self.bert.encode(inputs, dropout_seed);
        Dropouts::new(dropout_seed).apply(hidden, self.config().token_dropout(), DROPOUT)
    }

    /// The logits of every label at every token, `[batch, time, labels]`; those of padding mean nothing.
    pub fn logits(&self, inputs: &Inputs) -> Tensor<3> {
        self.token.forward(self.states(inputs, None))
    }

    /// `scale` times the summed cross-entropy of the labels that `targets` `[batch * time]` names, in nats; −1 does not
    /// count: padding, and tokens that go on with a word. `[1]`, differentiable. With a seed, dropout is on and follows
    /// from it alone.
    pub fn loss(&self, inputs: &Inputs, targets: Tensor<1, Int>, scale: f32, dropout_seed: Option<u64>) -> Tensor<1> {
        let states = self.states(inputs, dropout_seed);
        head::loss(states, self.token.weight.val(), self.token.bias.val(), targets, head::Loss::scaled(scale))
    }

    /// Writes `config.json` and `model.safetensors` in the family's Hugging Face layout.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), ModelError> {
        write(self, self.config(), "ForTokenClassification", folder, |fields| self.labels.write_names(fields))
    }
}
