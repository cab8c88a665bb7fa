//! BERT that finds a span of its text, the answer to a question (Devlin et al. 2019, section 4.2).

use super::encoder::{Bert, Inputs};
use super::heads::{self, dense};
use super::{BertConfig, write};
use crate::classifier::cross_entropies;
use crate::dropouts::Dropouts;
use crate::error::ModelError;
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use loam_nn::layers::Dense;
use std::path::Path;

/// Where the last dropout of a pass falls, behind the encoder's own places.
const DROPOUT: u64 = 1 << 32;

/// What keeps padding from being an end of a span: no logit comes near.
const NEVER: f32 = -1e9;

/// `BertForQuestionAnswering` and its relations.
#[derive(Module, Debug)]
pub struct SpanBert {
    bert: Bert,
    span: Dense,
}

impl SpanBert {
    /// A new head, from a seed, on an encoder as it is; a pooler is left behind.
    pub fn new(bert: Bert, seed: u64, device: &Device) -> Self {
        let bert = bert.without_pooler();
        let span = dense(bert.config(), 2, seed, 0, device);
        Self { bert, span }
    }

    /// Reads `config.json` and `model.safetensors` of a folder.
    ///
    /// # Errors
    /// When a file is missing or broken, is of another family, or has another head or none: that is never made up.
    pub fn load(folder: &Path, device: &Device) -> Result<Self, ModelError> {
        heads::load(
            folder,
            "ForQuestionAnswering",
            |_| Ok(2),
            |config, _| Ok(Self::new(Bert::new(config, 0, device)?, 0, device)),
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

    /// The logits with which a span begins and with which it ends at every token, `[batch, time]` each; those of padding
    /// are below every other.
    pub fn logits(&self, inputs: &Inputs, dropout_seed: Option<u64>) -> (Tensor<2>, Tensor<2>) {
        let hidden = self.bert.encode(inputs, dropout_seed);
        let [batch, time, _] = hidden.dims();
        let hidden = Dropouts::new(dropout_seed).apply(hidden, self.config().span_dropout(), DROPOUT);
        let both = self.span.forward(hidden);
        let end = |end: usize| {
            let logits = both.clone().narrow(2, end, 1).reshape([batch, time]);
            match &inputs.lengths {
                None => logits,
                Some(lengths) => {
                    let of = |&length: &usize| (0..time).map(move |step| if step < length { 0.0 } else { NEVER });
                    let padding: Vec<f32> = lengths.iter().flat_map(of).collect();
                    let padding = Tensor::from_data(TensorData::new(padding, [batch, time]), &logits.device());
                    logits + padding
                }
            }
        };
        (end(0), end(1))
    }

    /// `scale` times the sum over texts of the mean of two cross-entropies, in nats: of the token that the span begins at,
    /// `starts` `[batch]`, and of its last one, `ends` `[batch]`, among the text's tokens; −1 does not count. `[1]`,
    /// differentiable. With a seed, dropout is on and follows from it alone.
    pub fn loss(
        &self,
        inputs: &Inputs,
        starts: Tensor<1, Int>,
        ends: Tensor<1, Int>,
        scale: f32,
        dropout_seed: Option<u64>,
    ) -> Tensor<1> {
        let (start, end) = self.logits(inputs, dropout_seed);
        (cross_entropies(start, starts).sum() + cross_entropies(end, ends).sum()) * (scale / 2.0)
    }

    /// Writes `config.json` and `model.safetensors` in the family's Hugging Face layout.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), ModelError> {
        write(self, self.config(), "ForQuestionAnswering", folder, |_| {})
    }
}
