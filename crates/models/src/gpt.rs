//! GPT-2 (Radford et al. 2019): a decoder of pre-normalized blocks with learned positions, tanh GELU and a tied
//! output. Configuration keys and parameter names are those of Hugging Face's `GPT2LMHeadModel`.

use crate::configuration::{File, check_heads, check_probabilities, check_sizes};
use crate::dropouts::Dropouts;
use crate::error::ModelError;
use crate::language_model::{Cache, LanguageModel};
use crate::weights;
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use loam_nn::attention::{Attention as Mask, Positions, attend};
use loam_nn::head::Grades;
use loam_nn::initialize::Initializer;
use loam_nn::layers::{Embedding, LayerNorm, Linear};
use loam_nn::ops;
use loam_nn::{Activation, Dropout};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::Path;

/// `config.json` of a GPT-2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GptConfig {
    /// Number of token ids.
    pub vocab_size: usize,
    /// Longest sequence, in tokens.
    pub n_positions: usize,
    /// Width of the residual stream.
    pub n_embd: usize,
    /// Number of blocks.
    pub n_layer: usize,
    /// Attention heads a block.
    pub n_head: usize,
    /// Width inside the feed-forward; four times `n_embd` when absent.
    #[serde(default)]
    pub n_inner: Option<usize>,
    /// `gelu_new`, or its synonym `gelu_pytorch_tanh`.
    #[serde(default = "gelu_new")]
    pub activation_function: String,
    /// Dropout after attention's and the feed-forward's projection.
    #[serde(default)]
    pub resid_pdrop: f64,
    /// Dropout of the embeddings.
    #[serde(default)]
    pub embd_pdrop: f64,
    /// Dropout of attention probabilities.
    #[serde(default)]
    pub attn_pdrop: f64,
    /// Added to variances.
    #[serde(default = "layer_norm_epsilon")]
    pub layer_norm_epsilon: f64,
    /// Standard deviation of initial weights.
    #[serde(default = "initializer_range")]
    pub initializer_range: f64,
}

fn gelu_new() -> String {
    "gelu_new".to_owned()
}

fn layer_norm_epsilon() -> f64 {
    1e-5
}

fn initializer_range() -> f64 {
    0.02
}

impl GptConfig {
    /// A configuration with GPT-2's constants.
    pub fn new(vocabulary: usize, context: usize, width: usize, layers: usize, heads: usize, dropout: f64) -> Self {
        Self {
            vocab_size: vocabulary,
            n_positions: context,
            n_embd: width,
            n_layer: layers,
            n_head: heads,
            n_inner: None,
            activation_function: gelu_new(),
            resid_pdrop: dropout,
            embd_pdrop: dropout,
            attn_pdrop: dropout,
            layer_norm_epsilon: layer_norm_epsilon(),
            initializer_range: initializer_range(),
        }
    }

    /// Width inside the feed-forward.
    pub fn inner(&self) -> usize {
        self.n_inner.unwrap_or(4 * self.n_embd)
    }

    /// Number of parameters; none where it would not fit 64 bits.
    pub fn parameters(&self) -> Option<u64> {
        let [vocabulary, context, width, layers, inner] =
            [self.vocab_size, self.n_positions, self.n_embd, self.n_layer, self.inner()].map(|size| size as u64);
        let square = width.checked_mul(width)?.checked_mul(4)?;
        let feed_forward = width.checked_mul(inner)?.checked_mul(2)?;
        let vectors = width.checked_mul(9)?.checked_add(inner)?;
        let block = square.checked_add(feed_forward)?.checked_add(vectors)?;
        let embeddings = vocabulary.checked_add(context)?.checked_add(2)?.checked_mul(width)?;
        block.checked_mul(layers)?.checked_add(embeddings)
    }

    fn check(&self) -> Result<(), ModelError> {
        check_sizes(&[
            ("vocab_size", self.vocab_size),
            ("n_positions", self.n_positions),
            ("n_embd", self.n_embd),
            ("n_layer", self.n_layer),
            ("n_head", self.n_head),
            ("n_inner", self.inner()),
        ])?;
        check_heads(("n_embd", self.n_embd), ("n_head", self.n_head))?;
        if !matches!(self.activation_function.as_str(), "gelu_new" | "gelu_pytorch_tanh") {
            return Err(ModelError::Configuration(format!(
                "activation_function = {:?} is not GPT-2's; gelu_new is",
                self.activation_function
            )));
        }
        check_probabilities(&[
            ("resid_pdrop", self.resid_pdrop),
            ("embd_pdrop", self.embd_pdrop),
            ("attn_pdrop", self.attn_pdrop),
        ])
    }
}

/// Self-attention of a block.
#[derive(Module, Debug)]
pub struct Attention {
    c_attn: Linear,
    c_proj: Linear,
}

/// Feed-forward of a block.
#[derive(Module, Debug)]
pub struct Mlp {
    c_fc: Linear,
    c_proj: Linear,
}

/// One pre-normalized block.
#[derive(Module, Debug)]
pub struct Block {
    ln_1: LayerNorm,
    attn: Attention,
    ln_2: LayerNorm,
    mlp: Mlp,
}

/// Everything but the head.
#[derive(Module, Debug)]
pub struct Transformer {
    wte: Embedding,
    wpe: Embedding,
    h: Vec<Block>,
    ln_f: LayerNorm,
}

/// GPT-2 with its tied language-modeling head.
#[derive(Module, Debug)]
pub struct Gpt {
    transformer: Transformer,
    #[module(skip)]
    config: GptConfig,
}

impl Block {
    fn new(config: &GptConfig, draw: &mut Initializer) -> Self {
        let (width, deviation) = (config.n_embd, config.initializer_range);
        // GPT-2 scales the projections that feed the residual stream by the number of its additions.
        let residual = deviation / (2.0 * config.n_layer as f64).sqrt();
        Self {
            ln_1: LayerNorm::new(width, config.layer_norm_epsilon, draw),
            attn: Attention {
                c_attn: Linear::new(width, 3 * width, deviation, draw),
                c_proj: Linear::new(width, width, residual, draw),
            },
            ln_2: LayerNorm::new(width, config.layer_norm_epsilon, draw),
            mlp: Mlp {
                c_fc: Linear::new(width, config.inner(), deviation, draw),
                c_proj: Linear::new(config.inner(), width, residual, draw),
            },
        }
    }

    /// `layer.forward(x)`, dropped out, plus `residual`: one operation where nothing is dropped.
    fn project(layer: &Linear, x: Tensor<3>, residual: Tensor<3>, dropout: Option<Dropout>) -> Tensor<3> {
        match dropout {
            None => layer.forward_residual(x, residual),
            Some(dropout) => ops::dropout(layer.forward(x), dropout) + residual,
        }
    }

    fn forward(&self, x: Tensor<3>, config: &GptConfig, dropouts: &Dropouts, layer: u64) -> Tensor<3> {
        let place = 3 * layer;
        let qkv = self.attn.c_attn.forward(self.ln_1.forward(x.clone()));
        let attended = ops::causal_attention(qkv, config.n_head, dropouts.at(config.attn_pdrop, place + 1));
        let x = Self::project(&self.attn.c_proj, attended, x, dropouts.at(config.resid_pdrop, place + 2));
        self.feed_forward(x, dropouts.at(config.resid_pdrop, place + 3))
    }

    fn feed_forward(&self, x: Tensor<3>, dropout: Option<Dropout>) -> Tensor<3> {
        let layers =
            |input, residual| self.mlp.c_fc.feed_forward(&self.mlp.c_proj, input, residual, Activation::GeluTanh);
        let input = self.ln_2.forward(x.clone());
        match dropout {
            None => layers(input, Some(x)),
            Some(dropout) => ops::dropout(layers(input, None), dropout) + x,
        }
    }

    fn decode(&self, x: Tensor<3>, heads: usize, mask: Mask, cache: &mut Cache, layer: usize) -> Tensor<3> {
        let [batch, time, width] = x.dims();
        let qkv = self.attn.c_attn.forward(self.ln_1.forward(x.clone()));
        let part = |index: usize| qkv.clone().slice([0..batch, 0..time, index * width..(index + 1) * width]);
        let split = |x: Tensor<3>| -> Tensor<4> { x.reshape([batch, time, heads, width / heads]) };
        let (keys, values) = cache.extend(layer, split(part(1)), split(part(2)));
        let attended = attend(split(part(0)), keys, values, mask).reshape([batch, time, width]);
        let x = self.attn.c_proj.forward_residual(attended, x);
        self.feed_forward(x, None)
    }
}

impl Gpt {
    /// A new model, initialized as GPT-2 was, from a seed.
    ///
    /// # Errors
    /// When the configuration is impossible.
    pub fn new(config: GptConfig, seed: u64, device: &Device) -> Result<Self, ModelError> {
        config.check()?;
        let mut draw = Initializer::new(seed, device);
        let deviation = config.initializer_range;
        let transformer = Transformer {
            wte: Embedding::new(config.vocab_size, config.n_embd, deviation, &mut draw),
            wpe: Embedding::new(config.n_positions, config.n_embd, deviation, &mut draw),
            h: (0..config.n_layer).map(|_| Block::new(&config, &mut draw)).collect(),
            ln_f: LayerNorm::new(config.n_embd, config.layer_norm_epsilon, &mut draw),
        };
        Ok(Self { transformer, config })
    }

    /// Reads `config.json` and `model.safetensors` of a folder.
    ///
    /// # Errors
    /// When a file is missing or broken, or is not a GPT-2.
    pub fn load(folder: &Path, device: &Device) -> Result<Self, ModelError> {
        let file = File::read(folder, &["gpt2"])?;
        file.require("scale_attn_weights", &json!(true))?;
        file.require("scale_attn_by_inverse_layer_idx", &json!(false))?;
        file.require("add_cross_attention", &json!(false))?;
        file.require("tie_word_embeddings", &json!(true))?;
        let config: GptConfig = serde_json::from_value(file.value.clone())
            .map_err(|error| ModelError::format(&file.path, format!("is not a GPT-2 configuration: {error}")))?;
        config.check()?;
        let weights = file.weights(config.parameters())?;
        weights::load(Self::new(config, 0, device)?, &weights)
    }

    /// The configuration.
    pub fn config(&self) -> &GptConfig {
        &self.config
    }

    /// What the blocks make of `inputs` `[batch, time]`, which follow the tokens in `cache`: `[batch, time, width]`.
    fn decode(&self, inputs: Tensor<2, Int>, cache: &mut Cache) -> Tensor<3> {
        let t = &self.transformer;
        let time = inputs.dims()[1];
        let mask = cache.mask(time);
        let mut x = match cache.positions(time) {
            Positions::From(first) => ops::embed(t.wte.weight.val(), t.wpe.weight.val(), inputs, first),
            Positions::Each(each) => {
                let positions: Vec<i64> = each.iter().map(|&position| i64::from(position)).collect();
                let positions = Tensor::from_data(TensorData::new(positions, inputs.dims()), &inputs.device());
                ops::embed_tokens(t.wte.weight.val(), inputs, 1.0)
                    + ops::embed_tokens(t.wpe.weight.val(), positions, 1.0)
            }
        };
        for (layer, block) in t.h.iter().enumerate() {
            x = block.decode(x, self.config.n_head, mask.clone(), cache, layer);
        }
        x
    }

    /// The final hidden states, `[batch, time, width]`.
    fn hidden(&self, inputs: Tensor<2, Int>, dropout_seed: Option<u64>) -> Tensor<3> {
        let dropouts = Dropouts::new(dropout_seed);
        let t = &self.transformer;
        let mut x = ops::embed(t.wte.weight.val(), t.wpe.weight.val(), inputs, 0);
        x = dropouts.apply(x, self.config.embd_pdrop, 0);
        for (layer, block) in t.h.iter().enumerate() {
            x = block.forward(x, &self.config, &dropouts, layer as u64);
        }
        t.ln_f.forward(x)
    }
}

impl LanguageModel for Gpt {
    fn loss(
        &self,
        inputs: Tensor<2, Int>,
        targets: Tensor<1, Int>,
        scale: f32,
        dropout_seed: Option<u64>,
    ) -> Tensor<1> {
        ops::head_loss(self.hidden(inputs, dropout_seed), self.transformer.wte.weight.val(), targets, scale)
    }

    fn token_grades(&self, inputs: Tensor<2, Int>, targets: Tensor<1, Int>) -> Grades {
        ops::token_grades(self.hidden(inputs, None), self.transformer.wte.weight.val(), targets)
    }

    fn logits(&self, inputs: Tensor<2, Int>, cache: &mut Cache) -> Tensor<3> {
        let t = &self.transformer;
        ops::logits(t.ln_f.forward(self.decode(inputs, cache)), t.wte.weight.val())
    }

    fn last_logits(&self, inputs: Tensor<2, Int>, cache: &mut Cache) -> Tensor<2> {
        let t = &self.transformer;
        let x = self.decode(inputs, cache);
        let [batch, time, _] = x.dims();
        let logits = ops::logits(t.ln_f.forward(x.narrow(1, time - 1, 1)), t.wte.weight.val());
        logits.reshape([batch, self.config.vocab_size])
    }

    fn context(&self) -> usize {
        self.config.n_positions
    }

    fn vocabulary(&self) -> usize {
        self.config.vocab_size
    }

    fn non_embedding_parameters(&self) -> u64 {
        let embeddings = (self.config.vocab_size + self.config.n_positions) * self.config.n_embd;
        (self.num_params() - embeddings) as u64
    }

    fn save(&self, folder: &Path, end_of_text: Option<u32>) -> Result<(), ModelError> {
        std::fs::create_dir_all(folder).map_err(|source| ModelError::io(folder, source))?;
        let mut config = serde_json::to_value(&self.config).expect("a configuration is JSON");
        let fields = config.as_object_mut().expect("a configuration is an object");
        fields.insert("architectures".into(), json!(["GPT2LMHeadModel"]));
        fields.insert("model_type".into(), json!("gpt2"));
        fields.insert("n_ctx".into(), json!(self.config.n_positions));
        fields.insert("tie_word_embeddings".into(), json!(true));
        fields.insert("torch_dtype".into(), json!("float32"));
        fields.insert("bos_token_id".into(), json!(end_of_text));
        fields.insert("eos_token_id".into(), json!(end_of_text));
        weights::write_json(&folder.join("config.json"), &config)?;
        let generation = json!({ "bos_token_id": end_of_text, "eos_token_id": end_of_text });
        weights::write_json(&folder.join("generation_config.json"), &generation)?;
        weights::save(self, &folder.join("model.safetensors"))
    }
}
