//! T5 (Raffel et al. 2020) and mT5 (Xue et al. 2021): an encoder and a decoder that know positions by distance alone.
//! Version 1.0 has a plain feed-forward and a tied, scaled output, version 1.1 and Flan-T5 a gated one and an output of its
//! own. Configuration keys and parameter names are those of Hugging Face's `T5ForConditionalGeneration`.

mod config;
mod layers;
mod positions;

pub use config::{Family, T5Config};

use crate::cache::Cache;
use crate::configuration::File;
use crate::dropouts::Dropouts;
use crate::error::ModelError;
use crate::source_to_target::{Memory, Source};
use crate::weights::{self, Layout, Tensors};
use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor};
use layers::{DecoderBlock, EncoderBlock, Pass};
use loam_nn::attention::Attention;
use loam_nn::head::{self, Grades};
use loam_nn::initialize::Initializer;
use loam_nn::layers::{Embedding, RmsNorm};
use loam_nn::ops;
use positions::Buckets;
use serde_json::{Value, json};
use std::path::Path;

/// Under which names files hold the embeddings, the one that is written first, and copies of them.
const EMBEDDINGS: [&str; 3] = ["shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"];

/// An output layer of its own, or the copy of the tied one.
const OUTPUT: &str = "lm_head.weight";

/// A table that the first checkpoints have and nobody uses.
const UNUSED: &str = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight";

#[derive(Module, Debug)]
struct Encoder {
    block: Vec<EncoderBlock>,
    final_layer_norm: RmsNorm,
}

#[derive(Module, Debug)]
struct Decoder {
    block: Vec<DecoderBlock>,
    final_layer_norm: RmsNorm,
}

#[derive(Module, Debug)]
struct Head {
    weight: Param<Tensor<2>>,
}

/// An encoder and a decoder with relative positions.
#[derive(Module, Debug)]
pub struct T5 {
    shared: Embedding,
    encoder: Encoder,
    decoder: Decoder,
    lm_head: Option<Head>,
    #[module(skip)]
    config: T5Config,
}

/// Places of dropout outside the layers.
#[derive(Clone, Copy)]
enum Place {
    Source,
    EncoderStates,
    Target,
    DecoderStates,
}

impl T5 {
    /// A new model, from a seed.
    ///
    /// # Errors
    /// When the configuration is impossible.
    pub fn new(config: T5Config, seed: u64, device: &Device) -> Result<Self, ModelError> {
        config.check()?;
        let mut draw = Initializer::new(seed, device);
        let (vocabulary, width, factor) = (config.vocab_size, config.d_model, config.initializer_factor);
        let shared = Embedding::new(vocabulary, width, factor, &mut draw);
        let encoder = Encoder {
            block: (0..config.num_layers).map(|layer| EncoderBlock::new(&config, layer == 0, &mut draw)).collect(),
            final_layer_norm: layers::norm(&config, &mut draw),
        };
        let decoder = Decoder {
            block: (0..config.num_decoder_layers)
                .map(|layer| DecoderBlock::new(&config, layer == 0, &mut draw))
                .collect(),
            final_layer_norm: layers::norm(&config, &mut draw),
        };
        let lm_head = (!config.tied).then(|| Head { weight: draw.normal([vocabulary, width], factor) });
        Ok(Self { shared, encoder, decoder, lm_head, config })
    }

    /// Reads `config.json` and `model.safetensors` of a folder. As in transformers 5, the output is a layer of its own where
    /// the file holds one that is not the embeddings, whatever `tie_word_embeddings` says.
    ///
    /// # Errors
    /// When a file is missing or broken, or is not a T5 with one table of embeddings.
    pub fn load(folder: &Path, device: &Device) -> Result<Self, ModelError> {
        let file = File::read(folder, &Family::ALL.map(Family::name))?;
        let family = Family::ALL.into_iter().find(|family| family.name() == file.family).expect("one of the families");
        let mut config = T5Config::from_json(family, &file.value)
            .map_err(|error| ModelError::format(&file.path, error.to_string()))?;
        let path = file.weights(config.parameters())?;
        let tensors = Tensors::open(&path)?;
        let there = |name: &&&str| tensors.describe(name).is_some();
        if let Some(embeddings) = EMBEDDINGS.iter().find(there) {
            for copy in EMBEDDINGS.iter().filter(there) {
                if !same(&tensors, embeddings, copy)? {
                    let reason = format!("{copy} is not {embeddings}; source and target share one table here");
                    return Err(ModelError::format(&path, reason));
                }
            }
            config.tied = !there(&&OUTPUT) || same(&tensors, embeddings, OUTPUT)?;
        }
        drop(tensors);
        let tied = config.tied;
        let layout = Layout {
            names: &|name| {
                let others: &[&str] = if name == EMBEDDINGS[0] { &EMBEDDINGS[1..] } else { &[] };
                let output = (tied && name == EMBEDDINGS[0]).then_some(OUTPUT);
                std::iter::once(name).chain(others.iter().copied()).chain(output).map(str::to_owned).collect()
            },
            passed_over: &|name| name == UNUSED,
        };
        weights::load_as(Self::new(config, 0, device)?, &path, &layout)
    }

    /// The configuration.
    pub fn config(&self) -> &T5Config {
        &self.config
    }

    /// The output layer's weight, `[vocabulary, width]`.
    fn output(&self) -> Tensor<2> {
        self.lm_head.as_ref().map_or(&self.shared.weight, |head| &head.weight).val()
    }

    fn embed(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        ops::embed_tokens(self.shared.weight.val(), ids, 1.0)
    }

    fn drop(&self, x: Tensor<3>, dropouts: &Dropouts, place: Place) -> Tensor<3> {
        dropouts.apply(x, self.config.dropout_rate, place as u64)
    }

    /// The encoder's hidden states of the source, `[batch, time, width]`; those of padding mean nothing.
    fn encode_with(&self, source: &Source, dropouts: &Dropouts) -> Tensor<3> {
        let (config, mask, time) = (&self.config, source.mask(), source.ids.dims()[1]);
        let mut x = self.drop(self.embed(source.ids.clone()), dropouts, Place::Source);
        let positions = self.encoder.block.first().and_then(EncoderBlock::positions);
        let bias = Buckets::new(config, true).bias(positions.expect("a first layer with positions"), time, time);
        let pass = Pass { config, dropouts, bias: &bias, source: &mask };
        for (number, block) in self.encoder.block.iter().enumerate() {
            x = block.forward(x, pass, number);
        }
        self.drop(self.encoder.final_layer_norm.forward(x), dropouts, Place::EncoderStates)
    }

    fn remember(&self, states: &Tensor<3>, mask: Attention) -> Memory {
        let blocks = self.decoder.block.iter();
        Memory { layers: blocks.map(|block| block.source(states.clone(), &self.config)).collect(), mask }
    }

    /// The decoder's hidden states of `inputs` `[batch, time]` as the output layer takes them, after the tokens in `cache`
    /// where one is kept.
    fn decode_with(
        &self,
        inputs: Tensor<2, Int>,
        memory: &Memory,
        dropouts: &Dropouts,
        mut cache: Option<&mut Cache>,
    ) -> Tensor<3> {
        let (config, time) = (&self.config, inputs.dims()[1]);
        let keys = cache.as_deref().map_or(0, Cache::len) + time;
        let own = cache.as_deref().map_or_else(Attention::causal, |cache| cache.mask(time));
        let mut x = self.drop(self.embed(inputs), dropouts, Place::Target);
        let positions = self.decoder.block.first().and_then(DecoderBlock::positions);
        let bias = Buckets::new(config, false).bias(positions.expect("a first layer with positions"), time, keys);
        let pass = Pass { config, dropouts, bias: &bias, source: &memory.mask };
        for (number, (block, source)) in self.decoder.block.iter().zip(&memory.layers).enumerate() {
            x = block.forward(x, source.clone(), &own, pass, number, cache.as_deref_mut());
        }
        let x = self.drop(self.decoder.final_layer_norm.forward(x), dropouts, Place::DecoderStates);
        if config.scale_decoder_outputs { x * (1.0 / (config.d_model as f32).sqrt()) } else { x }
    }

    fn hidden(&self, source: &Source, inputs: Tensor<2, Int>, dropout_seed: Option<u64>) -> Tensor<3> {
        let dropouts = Dropouts::new(dropout_seed);
        let memory = self.remember(&self.encode_with(source, &dropouts), source.mask());
        self.decode_with(inputs, &memory, &dropouts, None)
    }

    /// The encoder's hidden states of the source, `[batch, time, width]`; those of padding mean nothing. With a seed,
    /// dropout is on and follows from it alone.
    pub fn encode(&self, source: &Source, dropout_seed: Option<u64>) -> Tensor<3> {
        self.encode_with(source, &Dropouts::new(dropout_seed))
    }

    /// What the decoder needs of the source to write, computed once.
    pub fn memory(&self, source: &Source) -> Memory {
        self.remember(&self.encode(source, None), source.mask())
    }

    /// `loss.scale` times the summed cross-entropy of `targets` `[batch * time]` after `inputs` `[batch, time]` (of
    /// [`T5Config::decoder_inputs`]) and `source`, in nats, with labels smoothed as `loss` says; targets of −1 do not
    /// count. `[1]`, differentiable. With a seed, dropout is on and follows from it alone.
    pub fn loss(
        &self,
        source: &Source,
        inputs: Tensor<2, Int>,
        targets: Tensor<1, Int>,
        loss: head::Loss,
        dropout_seed: Option<u64>,
    ) -> Tensor<1> {
        let hidden = self.hidden(source, inputs, dropout_seed);
        if loss == head::Loss::scaled(loss.scale) {
            return ops::head_loss(hidden, self.output(), targets, loss.scale);
        }
        let bias = Tensor::zeros([self.config.vocab_size], &hidden.device());
        head::loss(hidden, self.output(), bias, targets, loss)
    }

    /// The cross-entropy of every target, in nats, and whether it was the most probable token, `[batch * time]` each, 0 at
    /// −1; labels are not smoothed, nothing is dropped, not differentiable. Operands as in [`T5::loss`].
    pub fn token_grades(&self, source: &Source, inputs: Tensor<2, Int>, targets: Tensor<1, Int>) -> Grades {
        ops::token_grades(self.hidden(source, inputs, None), self.output(), targets)
    }

    /// The losses of [`T5::token_grades`].
    pub fn token_losses(&self, source: &Source, inputs: Tensor<2, Int>, targets: Tensor<1, Int>) -> Tensor<1> {
        self.token_grades(source, inputs, targets).losses
    }

    /// Logits after each of `inputs` `[batch, time]`, which follow the tokens in `cache`: `[batch, time, vocabulary]`.
    pub fn logits(&self, memory: &Memory, inputs: Tensor<2, Int>, cache: &mut Cache) -> Tensor<3> {
        ops::logits(self.decode_with(inputs, memory, &Dropouts::new(None), Some(cache)), self.output())
    }

    /// Writes `config.json`, `generation_config.json` and `model.safetensors` in T5's Hugging Face layout.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), ModelError> {
        std::fs::create_dir_all(folder).map_err(|source| ModelError::io(folder, source))?;
        let config = &self.config;
        weights::write_json(&folder.join("config.json"), &Value::Object(config.to_json()))?;
        let generation = json!({
            "decoder_start_token_id": config.decoder_start_token_id,
            "eos_token_id": config.eos_token_id,
            "pad_token_id": config.pad_token_id,
        });
        weights::write_json(&folder.join("generation_config.json"), &generation)?;
        weights::save(self, &folder.join("model.safetensors"))
    }
}

/// Whether two tensors of a file are the same numbers.
fn same(tensors: &Tensors, one: &str, other: &str) -> Result<bool, ModelError> {
    let shape = |name: &str| tensors.describe(name).map(|description| description.shape);
    if one == other || tensors.same_place(one, other) {
        return Ok(true);
    }
    Ok(shape(one) == shape(other) && tensors.get(one)? == tensors.get(other)?)
}
