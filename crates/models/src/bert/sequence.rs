//! BERT that labels whole texts.

use super::encoder::{Bert, Inputs};
use super::heads::{self, dense, first, pooled};
use super::layout::Family;
use super::{BertConfig, write};
use crate::classifier::SequenceClassifier;
use crate::dropouts::Dropouts;
use crate::error::ModelError;
use crate::labels::Labels;
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use loam_nn::Activation;
use loam_nn::layers::Dense;
use std::path::Path;

/// Where the last dropouts of a pass fall, behind the encoder's own places.
const DROPOUT: u64 = 1 << 32;

/// What stands upon the first token's hidden state: of BERT an output upon the pooler, of RoBERTa a layer with tanh, of
/// DistilBERT one with ReLU.
#[derive(Module, Debug)]
struct Head {
    dense: Option<Dense>,
    output: Dense,
}

/// `BertForSequenceClassification` and its relations.
#[derive(Module, Debug)]
pub struct SequenceBert {
    bert: Bert,
    sequence: Head,
    #[module(skip)]
    labels: Labels,
}

impl SequenceBert {
    /// A new head, from a seed, on an encoder as it is. BERT's pooler is part of the head: it is kept where the encoder
    /// has one, and new otherwise.
    pub fn new(bert: Bert, labels: Labels, seed: u64, device: &Device) -> Self {
        let plain = bert.config().family == Family::Bert;
        let bert = if plain { pooled(bert, seed, device) } else { bert.without_pooler() };
        let config = bert.config();
        let own = (!plain).then(|| dense(config, config.hidden_size, seed, 0, device));
        let output = dense(config, labels.len(), seed, 1, device);
        Self { bert, sequence: Head { dense: own, output }, labels }
    }

    /// Reads `config.json` and `model.safetensors` of a folder.
    ///
    /// # Errors
    /// When a file is missing or broken, is of another family, or has another head or none: that is never made up.
    pub fn load(folder: &Path, device: &Device) -> Result<Self, ModelError> {
        heads::load(
            folder,
            "ForSequenceClassification",
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
}

impl SequenceClassifier for SequenceBert {
    fn labels(&self) -> &Labels {
        &self.labels
    }

    fn context(&self) -> usize {
        self.config().context()
    }

    fn vocabulary(&self) -> usize {
        self.config().vocab_size
    }

    fn padding(&self) -> usize {
        self.config().pad_token_id.unwrap_or(0)
    }

    fn logits(&self, inputs: &Inputs, dropout_seed: Option<u64>) -> Tensor<2> {
        let hidden = self.bert.encode_first(inputs, dropout_seed);
        let (dropouts, probability) = (Dropouts::new(dropout_seed), self.config().text_dropout());
        let batch = hidden.dims()[0];
        let x = match &self.sequence.dense {
            None => self.bert.pool(hidden).expect("BERT's head has a pooler").unsqueeze(),
            Some(dense) if self.config().family.is_roberta() => {
                dense.forward_activated(dropouts.apply(first(hidden), probability, DROPOUT), Activation::Tanh)
            }
            Some(dense) => dense.forward_activated(first(hidden), Activation::Relu),
        };
        let x = dropouts.apply(x, probability, DROPOUT + 1);
        self.sequence.output.forward(x).reshape([batch, self.labels.len()])
    }

    fn save(&self, folder: &Path) -> Result<(), ModelError> {
        write(self, self.config(), "ForSequenceClassification", folder, |fields| self.labels.write(fields))
    }
}
