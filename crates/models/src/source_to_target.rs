//! Any encoder and decoder: the one that a folder holds, what it reads, and what it remembers of it.

use crate::cache::{Cache, pick};
use crate::causal::Shape;
use crate::configuration::File;
use crate::error::ModelError;
use crate::one_of::{inside, one_of};
use crate::seq2seq::Seq2Seq;
use crate::t5::{self, T5};
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use loam_nn::attention::Attention;
use loam_nn::head::{self, Grades};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// Source sequences side by side.
#[derive(Clone, Debug)]
pub struct Source {
    /// Token ids, `[batch, time]`.
    pub ids: Tensor<2, Int>,
    /// How many tokens of each row are not padding, which stands behind them; all of them without. Nothing sees padding.
    pub lengths: Option<Vec<usize>>,
}

impl Source {
    /// What attention to the source may see.
    pub(crate) fn mask(&self) -> Attention {
        let key_ranges = self.lengths.as_ref().map(|lengths| lengths.iter().map(|&length| 0..length).collect());
        Attention { key_ranges, ..Attention::default() }
    }
}

/// What the decoder looks at while it writes: every layer's keys and values of the source.
#[derive(Clone, Debug)]
pub struct Memory {
    /// `[batch, time, heads, head_width]` each.
    pub(crate) layers: Vec<(Tensor<4>, Tensor<4>)>,
    pub(crate) mask: Attention,
}

impl Memory {
    /// These rows, in this order; a row may come several times.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        let layers = self.layers.iter().map(|(keys, values)| (pick(keys.clone(), rows), pick(values.clone(), rows)));
        let pick_ranges = |ranges: &Arc<[Range<usize>]>| rows.iter().map(|&row| ranges[row].clone()).collect();
        let key_ranges = self.mask.key_ranges.as_ref().map(pick_ranges);
        Self { layers: layers.collect(), mask: Attention { key_ranges, ..self.mask.clone() } }
    }
}

/// What a decoder reads to predict `targets` `[batch * time]`: each row of `time` ids moved one place to the right behind
/// `start`. Where a target does not count (−1), padding is read.
///
/// Targets that are not moved would have the decoder predict what it is shown.
pub(crate) fn decoder_inputs(targets: &[i64], time: usize, start: usize, padding: Option<usize>) -> Vec<i64> {
    let padding = padding.unwrap_or(start) as i64;
    let moved = |row: &[i64]| -> Vec<i64> {
        let before = row.iter().take(row.len().saturating_sub(1));
        let read = before.map(|&id| if id < 0 { padding } else { id });
        std::iter::once(start as i64).chain(read).collect()
    };
    targets.chunks(time.max(1)).flat_map(moved).collect()
}

/// An encoder and decoder of one of the families.
#[derive(Clone, Debug)]
pub enum SourceToTarget {
    /// The Transformer of 2017, as Marian has it.
    Seq2Seq(Seq2Seq),
    /// T5 and mT5.
    T5(T5),
}

one_of!(SourceToTarget { Seq2Seq(Seq2Seq), T5(T5) });

impl SourceToTarget {
    /// Every `model_type` that [`SourceToTarget::load`] knows.
    pub fn model_types() -> Vec<&'static str> {
        ["marian"].into_iter().chain(t5::Family::ALL.map(t5::Family::name)).collect()
    }

    /// Reads the model of a folder, whose `config.json` names its family.
    ///
    /// # Errors
    /// When a file is missing or broken, or the family is none of [`SourceToTarget::model_types`].
    pub fn load(folder: &Path, device: &Device) -> Result<Self, ModelError> {
        let file = File::read(folder, &Self::model_types())?;
        Ok(match file.family.as_str() {
            "marian" => Self::Seq2Seq(Seq2Seq::load(folder, device)?),
            _ => Self::T5(T5::load(folder, device)?),
        })
    }

    /// What the model is; of T5, with the context that it was trained on.
    pub fn shape(&self) -> Shape {
        match self {
            Self::Seq2Seq(model) => {
                let config = model.config();
                Shape {
                    family: "seq2seq",
                    width: config.d_model,
                    layers: config.encoder_layers + config.decoder_layers,
                    heads: config.encoder_attention_heads,
                    context: config.max_position_embeddings,
                }
            }
            Self::T5(model) => {
                let config = model.config();
                Shape {
                    family: config.family.name(),
                    width: config.d_model,
                    layers: config.num_layers + config.num_decoder_layers,
                    heads: config.num_heads,
                    context: config.context(),
                }
            }
        }
    }

    /// The longest source, and the longest target, in tokens, that the model can read; T5 has no limit.
    pub fn limit(&self) -> Option<usize> {
        match self {
            Self::Seq2Seq(model) => Some(model.config().max_position_embeddings),
            Self::T5(_) => None,
        }
    }

    /// Number of token ids.
    pub fn vocabulary(&self) -> usize {
        inside!(self, Seq2Seq | T5, model => model.config().vocab_size)
    }

    /// The id that fills short sequences.
    pub fn padding(&self) -> usize {
        inside!(self, Seq2Seq | T5, model => model.config().pad_token_id.unwrap_or(model.config().decoder_start_token_id))
    }

    /// The id that every target begins with.
    pub fn start(&self) -> usize {
        inside!(self, Seq2Seq | T5, model => model.config().decoder_start_token_id)
    }

    /// The id that ends a sequence.
    pub fn end(&self) -> Option<usize> {
        inside!(self, Seq2Seq | T5, model => model.config().eos_token_id)
    }

    /// Parameters outside the tables of tokens and positions.
    pub fn inner_parameters(&self) -> u64 {
        let tables = match self {
            Self::Seq2Seq(model) => {
                let config = model.config();
                let positions = if config.static_position_embeddings { 0 } else { 2 * config.max_position_embeddings };
                ((config.vocab_size + positions) * config.d_model + config.vocab_size) as u64
            }
            Self::T5(model) => model.config().table_parameters().unwrap_or(0),
        };
        self.num_params() as u64 - tables
    }

    /// What the decoder reads to predict `targets` `[batch * time]`, in rows of `time`: see
    /// [`crate::Seq2SeqConfig::decoder_inputs`].
    pub fn decoder_inputs(&self, targets: &[i64], time: usize) -> Vec<i64> {
        inside!(self, Seq2Seq | T5, model => model.config().decoder_inputs(targets, time))
    }

    /// What the decoder needs of the source to write, computed once.
    pub fn memory(&self, source: &Source) -> Memory {
        inside!(self, Seq2Seq | T5, model => model.memory(source))
    }

    /// See [`Seq2Seq::loss`].
    pub fn loss(
        &self,
        source: &Source,
        inputs: Tensor<2, Int>,
        targets: Tensor<1, Int>,
        loss: head::Loss,
        dropout_seed: Option<u64>,
    ) -> Tensor<1> {
        inside!(self, Seq2Seq | T5, model => model.loss(source, inputs, targets, loss, dropout_seed))
    }

    /// See [`Seq2Seq::token_grades`].
    pub fn token_grades(&self, source: &Source, inputs: Tensor<2, Int>, targets: Tensor<1, Int>) -> Grades {
        inside!(self, Seq2Seq | T5, model => model.token_grades(source, inputs, targets))
    }

    /// See [`Seq2Seq::token_losses`].
    pub fn token_losses(&self, source: &Source, inputs: Tensor<2, Int>, targets: Tensor<1, Int>) -> Tensor<1> {
        inside!(self, Seq2Seq | T5, model => model.token_losses(source, inputs, targets))
    }

    /// See [`Seq2Seq::logits`].
    pub fn logits(&self, memory: &Memory, inputs: Tensor<2, Int>, cache: &mut Cache) -> Tensor<3> {
        inside!(self, Seq2Seq | T5, model => model.logits(memory, inputs, cache))
    }

    /// Writes the model in its family's Hugging Face layout.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), ModelError> {
        inside!(self, Seq2Seq | T5, model => model.save(folder))
    }
}
