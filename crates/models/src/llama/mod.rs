//! The llama family: decoders of RMS-normalized layers with rotary positions, grouped heads and a gated feed-forward.
//! Llama, Mistral, Qwen 2 and 3, SmolLM and Gemma differ in a handful of places, which [`Family`] and [`LlamaConfig`]
//! name. Configuration keys and parameter names are those of Hugging Face's `…ForCausalLM`.

mod config;
mod layers;
mod rotary;

pub use config::{Family, LlamaConfig};
pub use rotary::{Rope, Scaling};

use crate::configuration::File;
use crate::dropouts::Dropouts;
use crate::error::ModelError;
use crate::language_model::{Cache, LanguageModel};
use crate::weights::{self, Layout};
use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor};
use layers::{Layer, Pass};
use loam_nn::attention::Positions;
use loam_nn::head::{self, Grades};
use loam_nn::initialize::Initializer;
use loam_nn::layers::{Embedding, RmsNorm};
use loam_nn::ops;
use rotary::Rotary;
use serde_json::{Map, Value, json};
use std::path::Path;

/// Everything but the output layer.
#[derive(Module, Debug)]
pub struct Decoder {
    embed_tokens: Embedding,
    layers: Vec<Layer>,
    norm: RmsNorm,
}

/// An output layer of its own.
#[derive(Module, Debug)]
pub struct Head {
    weight: Param<Tensor<2>>,
}

/// A language model of the llama family.
#[derive(Module, Debug)]
pub struct Llama {
    model: Decoder,
    lm_head: Option<Head>,
    #[module(skip)]
    config: LlamaConfig,
    #[module(skip)]
    rotary: Rotary,
    #[module(skip)]
    local_rotary: Option<Rotary>,
}

impl Llama {
    /// A new model, from a seed.
    ///
    /// # Errors
    /// When the configuration is impossible.
    pub fn new(config: LlamaConfig, seed: u64, device: &Device) -> Result<Self, ModelError> {
        config.check()?;
        let mut draw = Initializer::new(seed, device);
        let (vocabulary, width) = (config.vocab_size, config.hidden_size);
        let deviation = config.initializer_range;
        let model = Decoder {
            embed_tokens: Embedding::new(vocabulary, width, deviation, &mut draw),
            layers: (0..config.num_hidden_layers).map(|_| Layer::new(&config, &mut draw)).collect(),
            norm: layers::norm(width, &config, &mut draw),
        };
        let lm_head =
            (!config.tie_word_embeddings).then(|| Head { weight: draw.normal([vocabulary, width], deviation) });
        let rotary = Rotary::new(&config.rope, config.head_dim);
        let local_rotary = config.local_rope.as_ref().map(|rope| Rotary::new(rope, config.head_dim));
        Ok(Self { model, lm_head, config, rotary, local_rotary })
    }

    /// Reads `config.json` and `model.safetensors` of a folder.
    ///
    /// # Errors
    /// When a file is missing or broken, or is not of this family.
    pub fn load(folder: &Path, device: &Device) -> Result<Self, ModelError> {
        let file = File::read(folder, &Family::ALL.map(Family::name))?;
        let config = Self::configuration(&file)?;
        let path = file.weights(config.parameters())?;
        let tied = config.tie_word_embeddings;
        let layout = Layout {
            // Base models are stored without the first part.
            names: &|name| vec![name.to_owned(), name.strip_prefix("model.").unwrap_or(name).to_owned()],
            // Old checkpoints carry the frequencies; some carry the tied output too.
            passed_over: &|name| name.ends_with(".rotary_emb.inv_freq") || (tied && name == "lm_head.weight"),
        };
        weights::load_as(Self::new(config, 0, device)?, &path, &layout)
    }

    /// The configuration.
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// What a `config.json` says, checked.
    pub(crate) fn configuration(file: &File) -> Result<LlamaConfig, ModelError> {
        let family = Family::ALL.into_iter().find(|family| family.name() == file.family).expect("one of the families");
        file.require("use_bidirectional_attention", &json!(false))?;
        LlamaConfig::from_json(family, &file.value).map_err(|error| ModelError::format(&file.path, error.to_string()))
    }

    /// What stands in its `config.json`.
    pub(crate) fn fields(&self) -> Result<Map<String, Value>, ModelError> {
        if let Scaling::Divisors(_) = self.config.rope.scaling {
            let reason = "its rotary divisors, which came from a GGUF file, have no name in config.json";
            return Err(ModelError::Configuration(reason.into()));
        }
        Ok(self.config.to_json())
    }

    /// Without an output layer of its own.
    pub(crate) fn without_output(self) -> Self {
        Self { lm_head: None, ..self }
    }

    /// The output layer's weight, `[vocabulary, width]`.
    fn output(&self) -> Tensor<2> {
        self.lm_head.as_ref().map_or(&self.model.embed_tokens.weight, |head| &head.weight).val()
    }

    /// The final hidden states of `inputs`, `[batch, time, width]`.
    pub(crate) fn hidden(
        &self,
        inputs: Tensor<2, Int>,
        dropout_seed: Option<u64>,
        cache: Option<&mut Cache>,
    ) -> Tensor<3> {
        self.model.norm.forward(self.layers(inputs, dropout_seed, cache))
    }

    /// What the layers make of `inputs`, before the last norm.
    fn layers(&self, inputs: Tensor<2, Int>, dropout_seed: Option<u64>, mut cache: Option<&mut Cache>) -> Tensor<3> {
        let (config, dropouts) = (&self.config, Dropouts::new(dropout_seed));
        let time = inputs.dims()[1];
        let held = cache.as_deref().map_or(0, Cache::len);
        let positions = cache.as_deref().map_or(Positions::From(0), |cache| cache.positions(time));
        let mask = cache.as_deref().map(|cache| cache.mask(time));
        let key_ranges = mask.as_ref().and_then(|mask| mask.key_ranges.as_ref());
        let scale = if config.family.is_gemma() { (config.hidden_size as f32).sqrt() } else { 1.0 };
        let mut x = ops::embed_tokens(self.model.embed_tokens.weight.val(), inputs, scale);
        for (number, layer) in self.model.layers.iter().enumerate() {
            let rotary = match &self.local_rotary {
                Some(local) if config.sliding_layers[number] => local,
                _ => &self.rotary,
            };
            let rotary = config.rotary_layers[number].then_some(rotary);
            let (positions, length) = (&positions, held + time);
            let pass = Pass { config, layer: number, rotary, dropouts: &dropouts, positions, length, key_ranges };
            x = layer.forward(x, &pass, cache.as_deref_mut());
        }
        x
    }

    /// Logits of hidden states, `[batch * time, vocabulary]`.
    fn capped_logits(&self, x: Tensor<3>) -> Tensor<2> {
        let [batch, time, _] = x.dims();
        let logits = ops::logits(x, self.output()).reshape([batch * time, self.config.vocab_size]);
        match self.config.final_logit_softcapping {
            Some(cap) => (logits / cap).tanh() * cap,
            None => logits,
        }
    }

    /// The grades of every token under capped logits, which the fused head does not know; the losses are differentiable.
    fn capped_grades(&self, x: Tensor<3>, targets: Tensor<1, Int>) -> Grades {
        let [batch, time, _] = x.dims();
        head::composed_grades(self.capped_logits(x).reshape([batch, time, self.config.vocab_size]), targets)
    }
}

impl LanguageModel for Llama {
    fn loss(
        &self,
        inputs: Tensor<2, Int>,
        targets: Tensor<1, Int>,
        scale: f32,
        dropout_seed: Option<u64>,
    ) -> Tensor<1> {
        let x = self.hidden(inputs, dropout_seed, None);
        match self.config.final_logit_softcapping {
            Some(_) => self.capped_grades(x, targets).losses.sum() * scale,
            None => ops::head_loss(x, self.output(), targets, scale),
        }
    }

    fn token_grades(&self, inputs: Tensor<2, Int>, targets: Tensor<1, Int>) -> Grades {
        let x = self.hidden(inputs, None, None);
        match self.config.final_logit_softcapping {
            Some(_) => {
                let Grades { losses, hits } = self.capped_grades(x, targets);
                Grades { losses: losses.inner(), hits: hits.inner() }
            }
            None => ops::token_grades(x, self.output(), targets),
        }
    }

    fn logits(&self, inputs: Tensor<2, Int>, cache: &mut Cache) -> Tensor<3> {
        let [batch, time] = inputs.dims();
        let x = self.hidden(inputs, None, Some(cache));
        self.capped_logits(x).reshape([batch, time, self.config.vocab_size])
    }

    fn last_logits(&self, inputs: Tensor<2, Int>, cache: &mut Cache) -> Tensor<2> {
        let time = inputs.dims()[1];
        let x = self.layers(inputs, None, Some(cache)).narrow(1, time - 1, 1);
        self.capped_logits(self.model.norm.forward(x))
    }

    fn context(&self) -> usize {
        self.config.max_position_embeddings
    }

    fn vocabulary(&self) -> usize {
        self.config.vocab_size
    }

    fn non_embedding_parameters(&self) -> u64 {
        (self.num_params() - self.config.vocab_size * self.config.hidden_size) as u64
    }

    fn save(&self, folder: &Path, end_of_text: Option<u32>) -> Result<(), ModelError> {
        std::fs::create_dir_all(folder).map_err(|source| ModelError::io(folder, source))?;
        let mut config = self.fields()?;
        let mut generation = Map::new();
        for key in ["bos_token_id", "eos_token_id"] {
            let token = config.get(key).filter(|token| !token.is_null()).cloned().unwrap_or(json!(end_of_text));
            config.insert(key.to_owned(), token.clone());
            generation.insert(key.to_owned(), token);
        }
        weights::write_json(&folder.join("config.json"), &Value::Object(config))?;
        weights::write_json(&folder.join("generation_config.json"), &Value::Object(generation))?;
        weights::save(self, &folder.join("model.safetensors"))
    }
}
