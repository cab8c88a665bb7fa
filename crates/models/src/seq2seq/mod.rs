//! The Transformer (Vaswani et al. 2017): an encoder that reads the source whole, and a decoder that writes the target
//! from left to right and looks at what the encoder made of the source. Configuration keys and parameter names are those
//! of Hugging Face's `MarianMTModel` (Junczys-Dowmunt et al. 2018): one table of embeddings for source, target and
//! output, and a bias on the output.

mod config;
mod layers;

pub use crate::source_to_target::{Memory, Source};
pub use config::Seq2SeqConfig;

use crate::cache::Cache;
use crate::configuration::File;
use crate::dropouts::Dropouts;
use crate::error::ModelError;
use crate::sinusoids::sinusoids;
use crate::weights::{self, Layout};
use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor};
use layers::{DecoderLayer, EncoderLayer};
use loam_nn::attention::Attention;
use loam_nn::initialize::Initializer;
use loam_nn::layers::Embedding;
use loam_nn::{head, ops};
use serde_json::json;
use std::path::Path;

#[derive(Module, Debug)]
struct Encoder {
    embed_positions: Option<Embedding>,
    layers: Vec<EncoderLayer>,
}

#[derive(Module, Debug)]
struct Decoder {
    embed_positions: Option<Embedding>,
    layers: Vec<DecoderLayer>,
}

#[derive(Module, Debug)]
struct Model {
    shared: Embedding,
    encoder: Encoder,
    decoder: Decoder,
}

/// An encoder and a decoder with their tied output.
#[derive(Module, Debug)]
pub struct Seq2Seq {
    model: Model,
    /// `[1, vocabulary]`. A constant to transformers; Marian trains it, and so does Loam.
    final_logits_bias: Param<Tensor<2>>,
    #[module(skip)]
    config: Seq2SeqConfig,
}

impl Seq2Seq {
    /// A new model, from a seed.
    ///
    /// # Errors
    /// When the configuration is impossible.
    pub fn new(config: Seq2SeqConfig, seed: u64, device: &Device) -> Result<Self, ModelError> {
        config.check()?;
        let mut draw = Initializer::new(seed, device);
        let (width, deviation) = (config.d_model, config.init_std);
        let learned = |draw: &mut Initializer| {
            let table = || Embedding::new(config.max_position_embeddings, width, deviation, draw);
            (!config.static_position_embeddings).then(table)
        };
        let shared = Embedding::new(config.vocab_size, width, deviation, &mut draw);
        let encoder = Encoder {
            embed_positions: learned(&mut draw),
            layers: (0..config.encoder_layers).map(|_| EncoderLayer::new(&config, &mut draw)).collect(),
        };
        let decoder = Decoder {
            embed_positions: learned(&mut draw),
            layers: (0..config.decoder_layers).map(|_| DecoderLayer::new(&config, &mut draw)).collect(),
        };
        let final_logits_bias = draw.constant([1, config.vocab_size], 0.0);
        Ok(Self { model: Model { shared, encoder, decoder }, final_logits_bias, config })
    }

    /// Reads `config.json` and `model.safetensors` of a folder.
    ///
    /// # Errors
    /// When a file is missing or broken, or is not a Marian with one table of embeddings.
    pub fn load(folder: &Path, device: &Device) -> Result<Self, ModelError> {
        let file = File::read(folder, &["marian"])?;
        for key in ["tie_word_embeddings", "share_encoder_decoder_embeddings"] {
            file.require(key, &json!(true))?;
        }
        for key in ["normalize_before", "normalize_embedding", "add_final_layer_norm"] {
            file.require(key, &json!(false))?;
        }
        let config: Seq2SeqConfig = serde_json::from_value(file.value.clone())
            .map_err(|error| ModelError::format(&file.path, format!("is not a Marian configuration: {error}")))?;
        file.require("decoder_vocab_size", &json!(config.vocab_size))?;
        config.check()?;
        let path = file.weights(config.parameters())?;
        let fixed = config.static_position_embeddings;
        let layout = Layout {
            names: &|name| vec![name.to_owned()],
            // Copies of the shared embeddings, and tables of sines and cosines.
            passed_over: &|name| {
                name == "lm_head.weight"
                    || matches!(name, "model.encoder.embed_tokens.weight" | "model.decoder.embed_tokens.weight")
                    || (fixed && name.ends_with(".embed_positions.weight"))
            },
        };
        weights::load_as(Self::new(config, 0, device)?, &path, &layout)
    }

    /// The configuration.
    pub fn config(&self) -> &Seq2SeqConfig {
        &self.config
    }

    /// Tokens and positions, `[batch, time, width]`; the first token of each row stands at position `first`.
    fn embed(&self, ids: Tensor<2, Int>, learned: Option<&Embedding>, first: usize) -> Tensor<3> {
        let (time, width) = (ids.dims()[1], self.config.d_model);
        let tokens = ops::embed_tokens(self.model.shared.weight.val(), ids, self.config.embedding_scale());
        let positions = match learned {
            Some(table) => table.weight.val().narrow(0, first, time),
            None => sinusoids(first, time, width, &tokens.device()),
        };
        tokens + positions.unsqueeze()
    }

    /// The embeddings of `ids` `[batch, time]` again, of which those of padding train nothing, as `padding_idx` has it in
    /// PyTorch: a target begins with padding, and nothing follows from where it began.
    fn without_gradient_at_padding(&self, x: Tensor<3>, ids: Tensor<2, Int>) -> Tensor<3> {
        let Some(padding) = self.config.pad_token_id.filter(|_| x.is_autodiff()) else { return x };
        let words = ids.not_equal_elem(padding as i64).float().unsqueeze_dim(2).to_device(&x.device());
        let fixed = x.clone().detach();
        fixed.clone() + (x - fixed) * words
    }

    /// The encoder's hidden states of the source, `[batch, time, width]`; those of padding mean nothing.
    fn encode_with(&self, source: &Source, dropouts: &Dropouts) -> Tensor<3> {
        let (encoder, mask) = (&self.model.encoder, source.mask());
        let x = self.embed(source.ids.clone(), encoder.embed_positions.as_ref(), 0);
        let mut x = dropouts.apply(x, self.config.dropout, 0);
        for (number, layer) in encoder.layers.iter().enumerate() {
            x = layer.forward(x, &self.config, &mask, dropouts, number as u64);
        }
        x
    }

    fn remember(&self, states: &Tensor<3>, mask: Attention) -> Memory {
        let layers = self
            .model
            .decoder
            .layers
            .iter()
            .map(|layer| layer.source(states.clone(), self.config.decoder_attention_heads))
            .collect();
        Memory { layers, mask }
    }

    /// The decoder's hidden states of `inputs` `[batch, time]`, after the tokens in `cache` where one is kept.
    fn decode_with(
        &self,
        inputs: Tensor<2, Int>,
        memory: &Memory,
        dropouts: &Dropouts,
        mut cache: Option<&mut Cache>,
    ) -> Tensor<3> {
        let decoder = &self.model.decoder;
        let first = cache.as_deref().map_or(0, Cache::len);
        let x = self.embed(inputs.clone(), decoder.embed_positions.as_ref(), first);
        let x = self.without_gradient_at_padding(x, inputs);
        // The place after all of the encoder's.
        let mut x = dropouts.apply(x, self.config.dropout, u64::MAX);
        for (number, (layer, source)) in decoder.layers.iter().zip(&memory.layers).enumerate() {
            let (source, cache) = (source.clone(), cache.as_deref_mut());
            x = layer.forward(x, source, &self.config, &memory.mask, dropouts, number, cache);
        }
        x
    }

    fn hidden(&self, source: &Source, inputs: Tensor<2, Int>, dropout_seed: Option<u64>) -> Tensor<3> {
        let dropouts = Dropouts::new(dropout_seed);
        let memory = self.remember(&self.encode_with(source, &dropouts), source.mask());
        self.decode_with(inputs, &memory, &dropouts, None)
    }

    fn bias(&self) -> Tensor<1> {
        self.final_logits_bias.val().reshape([self.config.vocab_size])
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
    /// [`Seq2SeqConfig::decoder_inputs`]) and `source`, in nats, with labels smoothed as `loss` says; targets of −1 do not
    /// count. `[1]`, differentiable: teacher forcing (Williams & Zipser 1989). With a seed, dropout is on and follows from
    /// it alone.
    pub fn loss(
        &self,
        source: &Source,
        inputs: Tensor<2, Int>,
        targets: Tensor<1, Int>,
        loss: head::Loss,
        dropout_seed: Option<u64>,
    ) -> Tensor<1> {
        let hidden = self.hidden(source, inputs, dropout_seed);
        head::loss(hidden, self.model.shared.weight.val(), self.bias(), targets, loss)
    }

    /// The cross-entropy of every target, in nats, and whether it was the most probable token, `[batch * time]` each, 0 at
    /// −1; labels are not smoothed, nothing is dropped, not differentiable. Operands as in [`Seq2Seq::loss`].
    pub fn token_grades(&self, source: &Source, inputs: Tensor<2, Int>, targets: Tensor<1, Int>) -> head::Grades {
        let hidden = self.hidden(source, inputs, None);
        head::token_grades(hidden, self.model.shared.weight.val(), self.bias(), targets)
    }

    /// The losses of [`Seq2Seq::token_grades`].
    pub fn token_losses(&self, source: &Source, inputs: Tensor<2, Int>, targets: Tensor<1, Int>) -> Tensor<1> {
        self.token_grades(source, inputs, targets).losses
    }

    /// Logits after each of `inputs` `[batch, time]`, which follow the tokens in `cache`: `[batch, time, vocabulary]`.
    pub fn logits(&self, memory: &Memory, inputs: Tensor<2, Int>, cache: &mut Cache) -> Tensor<3> {
        let hidden = self.decode_with(inputs, memory, &Dropouts::new(None), Some(cache));
        head::logits(hidden, self.model.shared.weight.val(), self.bias())
    }

    /// Writes `config.json`, `generation_config.json` and `model.safetensors` in Marian's Hugging Face layout.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), ModelError> {
        std::fs::create_dir_all(folder).map_err(|source| ModelError::io(folder, source))?;
        let config = &self.config;
        let mut fields = serde_json::to_value(config).expect("a configuration is JSON");
        for (key, value) in [
            ("architectures", json!(["MarianMTModel"])),
            ("model_type", json!("marian")),
            ("decoder_vocab_size", json!(config.vocab_size)),
            ("is_encoder_decoder", json!(true)),
            ("share_encoder_decoder_embeddings", json!(true)),
            ("tie_word_embeddings", json!(true)),
            ("forced_eos_token_id", json!(config.eos_token_id)),
            ("torch_dtype", json!("float32")),
        ] {
            fields[key] = value;
        }
        weights::write_json(&folder.join("config.json"), &fields)?;
        let generation = json!({
            "decoder_start_token_id": config.decoder_start_token_id,
            "eos_token_id": config.eos_token_id,
            "forced_eos_token_id": config.eos_token_id,
            "pad_token_id": config.pad_token_id,
        });
        weights::write_json(&folder.join("generation_config.json"), &generation)?;
        weights::save(self, &folder.join("model.safetensors"))
    }
}
