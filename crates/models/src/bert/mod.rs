//! BERT (Devlin et al. 2019): a bidirectional encoder of post-normalized layers with learned positions and token types,
//! and its heads: over masked words, whose output is tied to the word embeddings, over next sentences, over texts, tokens
//! and spans. RoBERTa (Liu et al. 2019), XLM-RoBERTa (Conneau et al. 2020), `CamemBERT` (Martin et al. 2020) and DistilBERT
//! (Sanh et al. 2019) are the same encoder under other names. Configuration keys and parameter names in files are those
//! of Hugging Face's `BertForMaskedLM`, `RobertaForSequenceClassification` and so on.

mod config;
mod encoder;
mod heads;
mod layout;
mod next_sentence;
mod sequence;
mod span;
mod token;

pub use config::BertConfig;
pub use encoder::{Bert, Inputs};
pub use layout::Family;
pub use next_sentence::{NextSentenceBert, PretrainingBert};
pub use sequence::SequenceBert;
pub use span::SpanBert;
pub use token::TokenBert;

use crate::configuration::File;
use crate::error::ModelError;
use crate::weights::{self, Layout};
use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor};
use loam_nn::initialize::{Initializer, mix};
use loam_nn::layers::{Dense, LayerNorm};
use loam_nn::{Activation, head, ops};
use serde_json::{Map, Value, json};
use std::path::Path;

/// The head over masked words: a dense layer and a norm before the tied output, which has a bias of its own.
#[derive(Module, Debug)]
struct Head {
    dense: Dense,
    norm: LayerNorm,
    bias: Param<Tensor<1>>,
}

/// A BERT that tells masked words (Devlin et al. 2019, section 3.1).
#[derive(Module, Debug)]
pub struct MaskedBert {
    bert: Bert,
    head: Head,
}

impl MaskedBert {
    /// A new model, initialized as [`Bert::new`] says, from a seed.
    ///
    /// # Errors
    /// When the configuration is impossible.
    pub fn new(config: BertConfig, seed: u64, device: &Device) -> Result<Self, ModelError> {
        Ok(Self::on(Bert::new(config, seed, device)?, seed, device))
    }

    /// A new head, from a seed, on an encoder as it is.
    pub fn on(bert: Bert, seed: u64, device: &Device) -> Self {
        let config = bert.config();
        let (width, deviation) = (config.hidden_size, config.initializer_range);
        let (vocabulary, epsilon) = (config.vocab_size, config.layer_norm_eps);
        let mut draw = Initializer::new(mix(seed), device);
        let head = Head {
            dense: Dense::new(width, width, deviation, &mut draw),
            norm: LayerNorm::new(width, epsilon, &mut draw),
            bias: draw.constant([vocabulary], 0.0),
        };
        Self { bert, head }
    }

    /// Reads `config.json` and `model.safetensors` of a folder. A pooler and a head for next sentences are passed over.
    ///
    /// # Errors
    /// When a file is missing or broken, is of another family, or has no head over masked words.
    pub fn load(folder: &Path, device: &Device) -> Result<Self, ModelError> {
        let (file, config) = read(folder)?;
        file.require("tie_word_embeddings", &json!(true))?;
        let family = config.family;
        let parameters =
            config.parameters().zip(config.head_parameters()).and_then(|(body, head)| body.checked_add(head));
        let path = file.weights(parameters)?;
        let layout = Layout {
            names: &|name| family.names(name),
            passed_over: &|name| {
                Family::is_copy(name) || Family::is_pooler(name) || name.starts_with("cls.seq_relationship.")
            },
        };
        weights::load_as(Self::new(config, 0, device)?, &path, &layout)
    }

    /// The encoder.
    pub fn encoder(&self) -> &Bert {
        &self.bert
    }

    /// The configuration.
    pub fn config(&self) -> &BertConfig {
        self.bert.config()
    }

    /// What the head makes of hidden states `[batch, time, width]`, before the tied output.
    fn transform(&self, hidden: Tensor<3>) -> Tensor<3> {
        let kind = if self.config().family.is_roberta() { Activation::Gelu } else { self.config().activation() };
        self.head.norm.forward(self.head.dense.forward_activated(hidden, kind))
    }

    /// The transformed hidden states at the chosen places alone, `[1, chosen, width]`.
    fn chosen(&self, hidden: Tensor<3>, places: Tensor<1, Int>) -> Tensor<3> {
        let [batch, time, width] = hidden.dims();
        let count = places.dims()[0];
        // Rows of a table by their number: an embedding of the hidden states.
        let rows = ops::embed_tokens(hidden.reshape([batch * time, width]), places.reshape([1, count]), 1.0);
        self.transform(rows)
    }

    /// `scale` times the summed cross-entropy of the words that `targets` `[chosen]` names at `places` `[chosen]`, in
    /// nats: a place is `row * time + step`, and targets of −1 do not count. `[1]`, differentiable. The head is computed
    /// at these places alone. With a seed, dropout is on and follows from it alone.
    pub fn loss(
        &self,
        inputs: &Inputs,
        places: Tensor<1, Int>,
        targets: Tensor<1, Int>,
        scale: f32,
        dropout_seed: Option<u64>,
    ) -> Tensor<1> {
        self.loss_of(self.bert.encode(inputs, dropout_seed), places, targets, scale)
    }

    fn loss_of(&self, hidden: Tensor<3>, places: Tensor<1, Int>, targets: Tensor<1, Int>, scale: f32) -> Tensor<1> {
        let x = self.chosen(hidden, places);
        head::loss(x, self.bert.words(), self.head.bias.val(), targets, head::Loss::scaled(scale))
    }

    /// The cross-entropy at every one of `places`, in nats, and whether the target was the most probable word, `[chosen]`
    /// each, 0 at targets of −1; no dropout, not differentiable. Operands as in [`MaskedBert::loss`].
    pub fn token_grades(&self, inputs: &Inputs, places: Tensor<1, Int>, targets: Tensor<1, Int>) -> head::Grades {
        self.token_grades_of(self.bert.encode(inputs, None), places, targets)
    }

    /// The losses of [`MaskedBert::token_grades`].
    pub fn token_losses(&self, inputs: &Inputs, places: Tensor<1, Int>, targets: Tensor<1, Int>) -> Tensor<1> {
        self.token_grades(inputs, places, targets).losses
    }

    fn token_grades_of(&self, hidden: Tensor<3>, places: Tensor<1, Int>, targets: Tensor<1, Int>) -> head::Grades {
        let x = self.chosen(hidden, places);
        head::token_grades(x, self.bert.words(), self.head.bias.val(), targets)
    }

    /// The logits of every word at every place, `[batch, time, vocabulary]`.
    pub fn logits(&self, inputs: &Inputs) -> Tensor<3> {
        self.logits_of(self.bert.encode(inputs, None))
    }

    /// The logits of every word at `places` `[chosen]` alone, `[chosen, vocabulary]`; a place is `row * time + step`.
    pub fn logits_at(&self, inputs: &Inputs, places: Tensor<1, Int>) -> Tensor<2> {
        let [count] = places.dims();
        let x = self.chosen(self.bert.encode(inputs, None), places);
        head::logits(x, self.bert.words(), self.head.bias.val()).reshape([count, self.config().vocab_size])
    }

    fn logits_of(&self, hidden: Tensor<3>) -> Tensor<3> {
        head::logits(self.transform(hidden), self.bert.words(), self.head.bias.val())
    }

    /// Writes `config.json` and `model.safetensors` in the family's Hugging Face layout.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), ModelError> {
        write(self, self.config(), "ForMaskedLM", folder, |_| {})
    }
}

/// The folder's configuration, checked.
fn read(folder: &Path) -> Result<(File, BertConfig), ModelError> {
    let file = File::read(folder, &Family::ALL.map(Family::name))?;
    file.require("is_decoder", &json!(false))?;
    file.require("position_embedding_type", &json!("absolute"))?;
    let config = BertConfig::from_json(file.value.clone()).map_err(|error| {
        ModelError::format(&file.path, format!("is not a configuration of model_type {:?}: {error}", file.family))
    })?;
    config.check()?;
    Ok((file, config))
}

/// Writes a model of the class whose name ends with `class`; `complete` adds to `config.json` what its head has there.
fn write<M: Module>(
    module: &M,
    config: &BertConfig,
    class: &str,
    folder: &Path,
    complete: impl FnOnce(&mut Map<String, Value>),
) -> Result<(), ModelError> {
    std::fs::create_dir_all(folder).map_err(|source| ModelError::io(folder, source))?;
    let mut fields = config.to_json();
    fields.insert("architectures".into(), json!([format!("{}{class}", config.family.class())]));
    fields.insert("tie_word_embeddings".into(), json!(true));
    fields.insert("torch_dtype".into(), json!("float32"));
    complete(&mut fields);
    weights::write_json(&folder.join("config.json"), &Value::Object(fields))?;
    let stored = |name: &str| config.family.names(name).swap_remove(0);
    weights::save_as(module, &folder.join("model.safetensors"), &stored)
}
