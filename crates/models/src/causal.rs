//! Any causal language model: the one that a folder holds.

use crate::configuration::File;
use crate::error::ModelError;
use crate::gguf;
use crate::gpt::Gpt;
use crate::language_model::{Cache, LanguageModel};
use crate::llama::{self, Llama};
use crate::lstm::{Cell, Recurrent};
use crate::one_of::{inside, one_of};
use burn::tensor::{Device, Int, Tensor};
use loam_nn::head::Grades;
use serde_json::{Map, Value};
use std::path::Path;

/// A causal language model of one of the families.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "a process holds a few models")]
pub enum CausalModel {
    /// GPT-2.
    Gpt(Gpt),
    /// A plain recurrent network, an LSTM or a GRU.
    Recurrent(Recurrent),
    /// Llama and its relatives.
    Llama(Llama),
}

/// What a model is, for records and pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// `gpt`, `rnn`, `lstm`, `gru`, or the `model_type` of one of the llama family.
    pub family: &'static str,
    /// Width of the residual stream, or of a recurrent state.
    pub width: usize,
    /// Number of layers.
    pub layers: usize,
    /// Attention heads a layer; 0 without attention.
    pub heads: usize,
    /// Longest sequence, in tokens.
    pub context: usize,
}

one_of!(CausalModel { Gpt(Gpt), Recurrent(Recurrent), Llama(Llama) });

impl CausalModel {
    /// Every `model_type` that [`CausalModel::load`] knows.
    pub fn model_types() -> Vec<&'static str> {
        let llamas = llama::Family::ALL.map(llama::Family::name);
        ["gpt2"].into_iter().chain(Cell::ALL.map(Cell::name)).chain(llamas).collect()
    }

    /// Reads the model of a folder, whose `config.json` names its family, or of a GGUF file or the folder of one.
    ///
    /// # Errors
    /// When a file is missing or broken, or the family is none of [`CausalModel::model_types`].
    pub fn load(folder: &Path, device: &Device) -> Result<Self, ModelError> {
        if let Some(file) = gguf::find(folder)? {
            return gguf::load(&file, device);
        }
        let file = File::read(folder, &Self::model_types())?;
        Ok(match file.family.as_str() {
            "gpt2" => Self::Gpt(Gpt::load(folder, device)?),
            "rnn" | "lstm" | "gru" => Self::Recurrent(Recurrent::load(folder, device)?),
            _ => Self::Llama(Llama::load(folder, device)?),
        })
    }

    /// The final hidden states of `inputs` `[batch, time]`: `[batch, time, width]`. With a seed, dropout is on.
    pub fn hidden(&self, inputs: Tensor<2, Int>, dropout_seed: Option<u64>) -> Tensor<3> {
        match self {
            Self::Gpt(model) => model.hidden(inputs, dropout_seed),
            Self::Llama(model) => model.hidden(inputs, dropout_seed, None),
            Self::Recurrent(_) => unreachable!("refused by `without_output`"),
        }
    }

    /// The model without an output layer of its own.
    ///
    /// # Errors
    /// When it is a recurrent one.
    pub(crate) fn without_output(self) -> Result<Self, ModelError> {
        match self {
            Self::Gpt(model) => Ok(Self::Gpt(model.without_output())),
            Self::Llama(model) => Ok(Self::Llama(model.without_output())),
            Self::Recurrent(_) => {
                let message = "a recurrent language model reads in one direction; its classifier is another model";
                Err(ModelError::Request(message.to_owned()))
            }
        }
    }

    /// What stands in its `config.json`.
    ///
    /// # Errors
    /// When the configuration has no name for something.
    pub(crate) fn configuration(&self) -> Result<Map<String, Value>, ModelError> {
        match self {
            Self::Gpt(model) => Ok(model.fields()),
            Self::Llama(model) => model.fields(),
            Self::Recurrent(_) => unreachable!("refused by `without_output`"),
        }
    }

    /// What the model is.
    pub fn shape(&self) -> Shape {
        let (family, width, layers, heads) = match self {
            Self::Gpt(model) => {
                let config = model.config();
                ("gpt", config.n_embd, config.n_layer, config.n_head)
            }
            Self::Recurrent(model) => {
                let config = model.config();
                (config.cell.name(), config.hidden_size, config.num_hidden_layers, 0)
            }
            Self::Llama(model) => {
                let config = model.config();
                (config.family.name(), config.hidden_size, config.num_hidden_layers, config.num_attention_heads)
            }
        };
        Shape { family, width, layers, heads, context: self.context() }
    }
}

impl LanguageModel for CausalModel {
    fn loss(
        &self,
        inputs: Tensor<2, Int>,
        targets: Tensor<1, Int>,
        scale: f32,
        dropout_seed: Option<u64>,
    ) -> Tensor<1> {
        inside!(self, Gpt | Recurrent | Llama, model => model.loss(inputs, targets, scale, dropout_seed))
    }

    fn token_grades(&self, inputs: Tensor<2, Int>, targets: Tensor<1, Int>) -> Grades {
        inside!(self, Gpt | Recurrent | Llama, model => model.token_grades(inputs, targets))
    }

    fn logits(&self, inputs: Tensor<2, Int>, cache: &mut Cache) -> Tensor<3> {
        inside!(self, Gpt | Recurrent | Llama, model => model.logits(inputs, cache))
    }

    fn last_logits(&self, inputs: Tensor<2, Int>, cache: &mut Cache) -> Tensor<2> {
        inside!(self, Gpt | Recurrent | Llama, model => model.last_logits(inputs, cache))
    }

    fn context(&self) -> usize {
        inside!(self, Gpt | Recurrent | Llama, model => model.context())
    }

    fn vocabulary(&self) -> usize {
        inside!(self, Gpt | Recurrent | Llama, model => model.vocabulary())
    }

    fn non_embedding_parameters(&self) -> u64 {
        inside!(self, Gpt | Recurrent | Llama, model => model.non_embedding_parameters())
    }

    fn save(&self, folder: &Path, end_of_text: Option<u32>) -> Result<(), ModelError> {
        inside!(self, Gpt | Recurrent | Llama, model => model.save(folder, end_of_text))
    }
}
