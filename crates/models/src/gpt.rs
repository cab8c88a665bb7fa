//! GPT-2 (Radford et al. 2019): a decoder of pre-normalized blocks with learned positions, tanh GELU and a tied
//! output. Configuration keys and parameter names are those of Hugging Face's `GPT2LMHeadModel`, whose other activations,
//! scales of attention and outputs of their own are read and written too.

use crate::configuration::{File, activation, check_heads, check_positive, check_probabilities, check_sizes};
use crate::dropouts::Dropouts;
use crate::error::ModelError;
use crate::language_model::{Cache, LanguageModel};
use crate::weights::{self, Layout};
use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use loam_nn::attention::{Attention as Mask, Positions, attend};
use loam_nn::head::Grades;
use loam_nn::initialize::Initializer;
use loam_nn::layers::{Embedding, LayerNorm, Linear};
use loam_nn::ops;
use loam_nn::{Activation, Dropout};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
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
    /// Activation of the feed-forward: `gelu_new`, `gelu`, `relu`, `silu`, `tanh`, `sigmoid`.
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
    /// Whether scores of attention are divided by the square root of a head's width.
    #[serde(default = "yes")]
    pub scale_attn_weights: bool,
    /// Whether scores of attention are divided by the number of the layer too, from 1.
    #[serde(default)]
    pub scale_attn_by_inverse_layer_idx: bool,
    /// Whether the output layer is the table of tokens.
    #[serde(default = "yes")]
    pub tie_word_embeddings: bool,
}

fn yes() -> bool {
    true
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
            scale_attn_weights: true,
            scale_attn_by_inverse_layer_idx: false,
            tie_word_embeddings: true,
        }
    }

    /// The activation inside the feed-forward.
    fn activation(&self) -> Activation {
        activation("activation_function", &self.activation_function).expect("a configuration that was checked")
    }

    /// The factor of the scores in a layer; none where it is GPT-2's own, 1 / √(head width).
    fn scale(&self, layer: usize) -> Option<f32> {
        if self.scale_attn_weights && !self.scale_attn_by_inverse_layer_idx {
            return None;
        }
        let head = if self.scale_attn_weights { (self.n_embd as f64 / self.n_head as f64).sqrt() } else { 1.0 };
        let layer = if self.scale_attn_by_inverse_layer_idx { (layer + 1) as f64 } else { 1.0 };
        Some((1.0 / (head * layer)) as f32)
    }

    /// Whether it computes what the GPT-2 of the paper does, but for the table of the output.
    pub(crate) fn is_plain(&self) -> bool {
        self.scale(0).is_none() && self.activation() == Activation::GeluTanh
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
        let tables = if self.tie_word_embeddings { vocabulary } else { vocabulary.checked_mul(2)? };
        let embeddings = tables.checked_add(context)?.checked_add(2)?.checked_mul(width)?;
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
        activation("activation_function", &self.activation_function)?;
        check_positive(&[
            ("layer_norm_epsilon", self.layer_norm_epsilon),
            ("initializer_range", self.initializer_range),
        ])?;
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

/// An output layer of its own.
#[derive(Module, Debug)]
pub struct Head {
    weight: Param<Tensor<2>>,
}

/// GPT-2 with its language-modeling head.
#[derive(Module, Debug)]
pub struct Gpt {
    transformer: Transformer,
    lm_head: Option<Head>,
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
        let dropout = dropouts.at(config.attn_pdrop, place + 1);
        let attended = match config.scale(layer as usize) {
            None => ops::causal_attention(qkv, config.n_head, dropout),
            scale => {
                let [q, k, v] = [0, 1, 2].map(|part| heads_of(&qkv, part, config.n_head));
                attend(q, k, v, Mask { scale, dropout, ..Mask::causal() }).reshape(x.dims())
            }
        };
        let x = Self::project(&self.attn.c_proj, attended, x, dropouts.at(config.resid_pdrop, place + 2));
        self.feed_forward(x, config.activation(), dropouts.at(config.resid_pdrop, place + 3))
    }

    fn feed_forward(&self, x: Tensor<3>, activation: Activation, dropout: Option<Dropout>) -> Tensor<3> {
        let layers = |input, residual| self.mlp.c_fc.feed_forward(&self.mlp.c_proj, input, residual, activation);
        let input = self.ln_2.forward(x.clone());
        match dropout {
            None => layers(input, Some(x)),
            Some(dropout) => ops::dropout(layers(input, None), dropout) + x,
        }
    }

    fn decode(&self, x: Tensor<3>, config: &GptConfig, mask: Mask, cache: &mut Cache, layer: usize) -> Tensor<3> {
        let qkv = self.attn.c_attn.forward(self.ln_1.forward(x.clone()));
        let [q, k, v] = [0, 1, 2].map(|part| heads_of(&qkv, part, config.n_head));
        let (keys, values) = cache.extend(layer, k, v);
        let attended = attend(q, keys, values, Mask { scale: config.scale(layer), ..mask }).reshape(x.dims());
        let x = self.attn.c_proj.forward_residual(attended, x);
        self.feed_forward(x, config.activation(), None)
    }
}

/// Queries (0), keys (1) or values (2) of packed `qkv` `[batch, time, 3 * width]`, `[batch, time, heads, head_width]`.
fn heads_of(qkv: &Tensor<3>, part: usize, heads: usize) -> Tensor<4> {
    let [batch, time, packed] = qkv.dims();
    let width = packed / 3;
    qkv.clone().narrow(2, part * width, width).reshape([batch, time, heads, width / heads])
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
        let lm_head = (!config.tie_word_embeddings)
            .then(|| Head { weight: draw.normal([config.vocab_size, config.n_embd], deviation) });
        Ok(Self { transformer, lm_head, config })
    }

    /// Reads `config.json` and `model.safetensors` of a folder.
    ///
    /// # Errors
    /// When a file is missing or broken, or is not a GPT-2.
    pub fn load(folder: &Path, device: &Device) -> Result<Self, ModelError> {
        let file = File::read(folder, &["gpt2"])?;
        let config = Self::configuration(&file)?;
        let path = file.weights(config.parameters())?;
        let tied = config.tie_word_embeddings;
        let layout = Layout {
            // Base models are stored without the first part.
            names: &|name| vec![name.to_owned(), name.strip_prefix("transformer.").unwrap_or(name).to_owned()],
            // Causal masks that old checkpoints carry, and the copy of the tied output.
            passed_over: &|name| {
                name.ends_with(".attn.bias")
                    || name.ends_with(".attn.masked_bias")
                    || (tied && name == "lm_head.weight")
            },
        };
        weights::load_as(Self::new(config, 0, device)?, &path, &layout)
    }

    /// What a `config.json` says, checked.
    pub(crate) fn configuration(file: &File) -> Result<GptConfig, ModelError> {
        file.require("add_cross_attention", &json!(false))?;
        let config: GptConfig = serde_json::from_value(file.value.clone())
            .map_err(|error| ModelError::format(&file.path, format!("is not a GPT-2 configuration: {error}")))?;
        config.check()?;
        Ok(config)
    }

    /// What stands in its `config.json`.
    pub(crate) fn fields(&self) -> Map<String, Value> {
        let mut config = serde_json::to_value(&self.config).expect("a configuration is JSON");
        let fields = config.as_object_mut().expect("a configuration is an object");
        fields.insert("architectures".into(), json!(["GPT2LMHeadModel"]));
        fields.insert("model_type".into(), json!("gpt2"));
        fields.insert("n_ctx".into(), json!(self.config.n_positions));
        fields.insert("torch_dtype".into(), json!("float32"));
        std::mem::take(fields)
    }

    /// Without an output layer of its own.
    pub(crate) fn without_output(self) -> Self {
        Self { lm_head: None, ..self }
    }

    /// The output layer's weight, `[vocabulary, width]`.
    fn output(&self) -> Tensor<2> {
        self.lm_head.as_ref().map_or(&self.transformer.wte.weight, |head| &head.weight).val()
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
            x = block.decode(x, &self.config, mask.clone(), cache, layer);
        }
        x
    }

    /// The final hidden states, `[batch, time, width]`.
    pub fn hidden(&self, inputs: Tensor<2, Int>, dropout_seed: Option<u64>) -> Tensor<3> {
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
        ops::head_loss(self.hidden(inputs, dropout_seed), self.output(), targets, scale)
    }

    fn token_grades(&self, inputs: Tensor<2, Int>, targets: Tensor<1, Int>) -> Grades {
        ops::token_grades(self.hidden(inputs, None), self.output(), targets)
    }

    fn logits(&self, inputs: Tensor<2, Int>, cache: &mut Cache) -> Tensor<3> {
        ops::logits(self.transformer.ln_f.forward(self.decode(inputs, cache)), self.output())
    }

    fn last_logits(&self, inputs: Tensor<2, Int>, cache: &mut Cache) -> Tensor<2> {
        let x = self.decode(inputs, cache);
        let [batch, time, _] = x.dims();
        let logits = ops::logits(self.transformer.ln_f.forward(x.narrow(1, time - 1, 1)), self.output());
        logits.reshape([batch, self.config.vocab_size])
    }

    fn context(&self) -> usize {
        self.config.n_positions
    }

    fn vocabulary(&self) -> usize {
        self.config.vocab_size
    }

    fn non_embedding_parameters(&self) -> u64 {
        let config = &self.config;
        let tables = if config.tie_word_embeddings { config.vocab_size } else { 2 * config.vocab_size };
        let embeddings = (tables + config.n_positions) * config.n_embd;
        (self.num_params() - embeddings) as u64
    }

    fn save(&self, folder: &Path, end_of_text: Option<u32>) -> Result<(), ModelError> {
        std::fs::create_dir_all(folder).map_err(|source| ModelError::io(folder, source))?;
        let mut fields = self.fields();
        fields.insert("bos_token_id".into(), json!(end_of_text));
        fields.insert("eos_token_id".into(), json!(end_of_text));
        weights::write_json(&folder.join("config.json"), &Value::Object(fields))?;
        let generation = json!({ "bos_token_id": end_of_text, "eos_token_id": end_of_text });
        weights::write_json(&folder.join("generation_config.json"), &generation)?;
        weights::save(self, &folder.join("model.safetensors"))
    }
}
