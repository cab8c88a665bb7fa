//! From a recipe's shape to the configuration of a new model, and from that to the model.

use crate::error::TrainError;
use crate::recipe::{ModelFamily, ModelShape};
use burn::tensor::Device;
use loam_corpus::Tokenizer;
use loam_models::bert::PretrainingBert;
use loam_models::lstm::{Cell, Recurrent, RecurrentConfig};
use loam_models::{
    BertConfig, CausalModel, Gpt, GptConfig, Llama, LlamaConfig, MaskedBert, ModelError, Seq2Seq, Seq2SeqConfig,
    SourceToTarget, T5, T5Config,
};

/// The configuration of a new model.
pub(crate) enum Configuration {
    Gpt(GptConfig),
    Recurrent(RecurrentConfig),
    Llama(Box<LlamaConfig>),
    Bert(BertConfig),
    Seq2Seq(Seq2SeqConfig),
    T5(T5Config),
}

impl Configuration {
    /// A model of this shape for a vocabulary of this size, whatever its tokens are: for its number of parameters.
    pub(crate) fn of_size(shape: &ModelShape, vocabulary: usize) -> Self {
        let ModelShape { family, width, layers, heads, context, dropout, tied } = *shape;
        let recurrent = |cell| RecurrentConfig {
            tie_word_embeddings: tied,
            ..RecurrentConfig::new(cell, vocabulary, context, width, layers, dropout)
        };
        match family {
            ModelFamily::Gpt => Self::Gpt(GptConfig::new(vocabulary, context, width, layers, heads, dropout)),
            ModelFamily::Llama => Self::Llama(Box::new(LlamaConfig {
                tie_word_embeddings: tied,
                ..LlamaConfig::new(vocabulary, context, width, layers, heads, dropout)
            })),
            ModelFamily::Rnn => Self::Recurrent(recurrent(Cell::Rnn)),
            ModelFamily::Lstm => Self::Recurrent(recurrent(Cell::Lstm)),
            ModelFamily::Gru => Self::Recurrent(recurrent(Cell::Gru)),
            ModelFamily::Bert => Self::Bert(BertConfig::new(vocabulary, context, width, layers, heads, dropout)),
            ModelFamily::Seq2Seq => {
                Self::Seq2Seq(Seq2SeqConfig::new(vocabulary, context, width, layers, heads, dropout))
            }
            ModelFamily::T5 => Self::T5(T5Config::new(vocabulary, context, width, layers, heads, dropout)),
        }
    }

    /// A model of this shape for this tokenizer.
    pub(crate) fn new(shape: &ModelShape, tokenizer: &Tokenizer) -> Result<Self, TrainError> {
        let mut configuration = Self::of_size(shape, tokenizer.vocabulary());
        let named = |key: &str, names: &[&str]| {
            let said = tokenizer.config().get(key).and_then(|name| name.as_str().or(name.get("content")?.as_str()));
            said.into_iter().chain(names.iter().copied()).find_map(|name| tokenizer.token_id(name))
        };
        let padding = named("pad_token", &["[PAD]", "<pad>", "<PAD>"]).map(|id| id as usize);
        let frame = || {
            let lacks = |what: &str| {
                TrainError::Request(format!(
                    "an encoder with a decoder needs a token that {what}, and this tokenizer has none; one that Loam trains \
                     has it"
                ))
            };
            let padding = padding.ok_or_else(|| lacks("fills short sequences (<pad> or [PAD])"))?;
            let end = tokenizer.end_of_text().ok_or_else(|| lacks("ends a text"))? as usize;
            Ok::<_, TrainError>((padding, end))
        };
        match &mut configuration {
            Self::Bert(config) => config.pad_token_id = padding.or(config.pad_token_id),
            Self::Seq2Seq(config) => {
                let (padding, end) = frame()?;
                config.pad_token_id = Some(padding);
                config.decoder_start_token_id = padding;
                config.eos_token_id = Some(end);
            }
            Self::T5(config) => {
                let (padding, end) = frame()?;
                config.pad_token_id = Some(padding);
                config.decoder_start_token_id = padding;
                config.eos_token_id = Some(end);
            }
            _ => {}
        }
        Ok(configuration)
    }

    pub(crate) fn parameters(&self) -> Option<u64> {
        match self {
            Self::Gpt(config) => config.parameters(),
            Self::Recurrent(config) => config.parameters(),
            Self::Llama(config) => config.parameters(),
            Self::Bert(config) => config.parameters()?.checked_add(config.head_parameters()?),
            Self::Seq2Seq(config) => config.parameters(),
            Self::T5(config) => config.parameters(),
        }
    }

    fn not_for(objective: &str) -> ModelError {
        ModelError::Request(format!("model.family is not one that learns objective.kind = \"{objective}\""))
    }

    pub(crate) fn build_causal(self, seed: u64, device: &Device) -> Result<CausalModel, ModelError> {
        Ok(match self {
            Self::Gpt(config) => Gpt::new(config, seed, device)?.into(),
            Self::Recurrent(config) => Recurrent::new(config, seed, device)?.into(),
            Self::Llama(config) => Llama::new(*config, seed, device)?.into(),
            Self::Bert(_) | Self::Seq2Seq(_) | Self::T5(_) => return Err(Self::not_for("causal")),
        })
    }

    pub(crate) fn build_masked(self, seed: u64, device: &Device) -> Result<MaskedBert, ModelError> {
        match self {
            Self::Bert(config) => MaskedBert::new(config, seed, device),
            _ => Err(Self::not_for("masked")),
        }
    }

    /// Masked words and next sentences.
    pub(crate) fn build_pretraining(self, seed: u64, device: &Device) -> Result<PretrainingBert, ModelError> {
        PretrainingBert::new(self.build_masked(seed, device)?, seed, device)
    }

    pub(crate) fn build_pairs(self, seed: u64, device: &Device) -> Result<SourceToTarget, ModelError> {
        match self {
            Self::Seq2Seq(config) => Ok(Seq2Seq::new(config, seed, device)?.into()),
            Self::T5(config) => Ok(T5::new(config, seed, device)?.into()),
            _ => Err(Self::not_for("pairs")),
        }
    }
}
