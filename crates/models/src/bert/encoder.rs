//! The encoder alone: hidden states of every token, and a vector of every sequence.

use super::config::BertConfig;
use super::layout::Family;
use super::{read, write};
use crate::dropouts::Dropouts;
use crate::error::ModelError;
use crate::sinusoids;
use crate::weights::{self, Layout, Tensors};
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use loam_nn::attention::{self, attend};
use loam_nn::initialize::{Initializer, mix};
use loam_nn::layers::{Dense, Embedding, LayerNorm};
use loam_nn::{Activation, ops};
use std::path::Path;

/// Amplitude of the positions of a new encoder, over the standard deviation of its other weights.
const POSITIONS: f64 = 4.0;
/// Below this width positions are drawn like words, which they would leave too little room: a model of width 32 learned
/// less in 300 steps with sines.
const NARROW: usize = 128;

/// Sequences side by side, as an encoder reads them.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// Token ids, `[batch, time]`.
    pub ids: Tensor<2, Int>,
    /// The type of every token, `[batch, time]`: 0 for the first sentence, 1 for the second; 0 throughout without.
    pub token_types: Option<Tensor<2, Int>>,
    /// How many tokens of each row are not padding, which stands behind them; all of them without. No token sees padding.
    pub lengths: Option<Vec<usize>>,
}

impl Inputs {
    /// One sentence a row, without padding.
    pub fn new(ids: Tensor<2, Int>) -> Self {
        Self { ids, token_types: None, lengths: None }
    }
}

/// Self-attention of a layer, with the norm after its residual addition.
#[derive(Module, Debug)]
struct SelfAttention {
    query: Dense,
    key: Dense,
    value: Dense,
    output: Dense,
    norm: LayerNorm,
}

/// One post-normalized layer.
#[derive(Module, Debug)]
struct Layer {
    attention: SelfAttention,
    intermediate: Dense,
    output: Dense,
    norm: LayerNorm,
}

/// Words, positions and token types, summed and normalized.
#[derive(Module, Debug)]
#[allow(clippy::struct_field_names)] // The checkpoints' names.
struct Embeddings {
    word_embeddings: Embedding,
    position_embeddings: Embedding,
    token_type_embeddings: Option<Embedding>,
    norm: LayerNorm,
}

/// The layers.
#[derive(Module, Debug)]
struct Encoder {
    layer: Vec<Layer>,
}

/// BERT's encoder, with its pooler where it has one.
#[derive(Module, Debug)]
pub struct Bert {
    embeddings: Embeddings,
    encoder: Encoder,
    pooler: Option<Dense>,
    #[module(skip)]
    config: BertConfig,
}

/// Which tokens' states a layer gives.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    All,
    /// The first of every sequence, which sees all of them.
    First,
}

impl Layer {
    fn new(config: &BertConfig, draw: &mut Initializer) -> Self {
        let (width, inner, deviation) = (config.hidden_size, config.intermediate_size, config.initializer_range);
        Self {
            attention: SelfAttention {
                query: Dense::new(width, width, deviation, draw),
                key: Dense::new(width, width, deviation, draw),
                value: Dense::new(width, width, deviation, draw),
                output: Dense::new(width, width, deviation, draw),
                norm: LayerNorm::new(width, config.layer_norm_eps, draw),
            },
            intermediate: Dense::new(width, inner, deviation, draw),
            output: Dense::new(inner, width, deviation, draw),
            norm: LayerNorm::new(width, config.layer_norm_eps, draw),
        }
    }

    fn forward(
        &self,
        x: Tensor<3>,
        config: &BertConfig,
        mask: &attention::Attention,
        dropouts: &Dropouts,
        layer: u64,
        asked: Asked,
    ) -> Tensor<3> {
        let ([batch, time, width], heads) = (x.dims(), config.num_attention_heads);
        let (place, probability) = (3 * layer, config.hidden_dropout_prob);
        let split = |x: Tensor<3>| -> Tensor<4> {
            let [_, time, _] = x.dims();
            x.reshape([batch, time, heads, width / heads])
        };
        let own = &self.attention;
        let dropout = dropouts.at(config.attention_probs_dropout_prob, place + 1);
        let (key, value) = (split(own.key.forward(x.clone())), split(own.value.forward(x.clone())));
        let (x, time) = match asked {
            Asked::All => (x, time),
            Asked::First => (x.narrow(1, 0, 1), 1),
        };
        let query = split(own.query.forward(x.clone()));
        let attended = attend(query, key, value, attention::Attention { dropout, ..mask.clone() });
        let attended = attended.reshape([batch, time, width]);
        let x = own.norm.forward(dropouts.project(&own.output, attended, x, probability, place + 2));
        let dropout = dropouts.at(probability, place + 3);
        self.norm.forward(self.intermediate.feed_forward_dropped(&self.output, x, dropout, config.activation()))
    }
}

impl Bert {
    /// A new encoder without a pooler, from a seed: initialized as BERT was, but for its positions, which begin as sines and
    /// cosines larger than the words. Devlin et al. 2019 draw them at random, and a small model then spends most of a short
    /// training on a plateau, where it tells words by the bag of the others, until it finds out which positions are neighbors.
    ///
    /// # Errors
    /// When the configuration is impossible.
    pub fn new(config: BertConfig, seed: u64, device: &Device) -> Result<Self, ModelError> {
        config.check()?;
        let mut draw = Initializer::new(seed, device);
        let (width, deviation) = (config.hidden_size, config.initializer_range);
        let mut table = |rows: usize| Embedding::new(rows, width, deviation, &mut draw);
        let (word_embeddings, drawn) = (table(config.vocab_size), table(config.max_position_embeddings));
        let token_type_embeddings = (config.type_vocab_size > 0).then(|| table(config.type_vocab_size));
        let position_embeddings = if width < NARROW {
            drawn
        } else {
            let (rows, amplitude) = (config.max_position_embeddings, (POSITIONS * deviation) as f32);
            let sines = sinusoids::values(0, rows, width).into_iter().map(|x| x * amplitude).collect();
            Embedding { weight: draw.values([rows, width], sines) }
        };
        let norm = LayerNorm::new(width, config.layer_norm_eps, &mut draw);
        let embeddings = Embeddings { word_embeddings, position_embeddings, token_type_embeddings, norm };
        let layer = (0..config.num_hidden_layers).map(|_| Layer::new(&config, &mut draw)).collect();
        Ok(Self { embeddings, encoder: Encoder { layer }, pooler: None, config })
    }

    /// The same with a new pooler, from a seed, in the place of any that it had.
    #[must_use]
    pub fn with_pooler(self, seed: u64, device: &Device) -> Self {
        let width = self.config.hidden_size;
        let pooler = Dense::new(width, width, self.config.initializer_range, &mut Initializer::new(mix(!seed), device));
        Self { pooler: Some(pooler), ..self }
    }

    /// Reads `config.json` and `model.safetensors` of a folder, whatever head stands upon the encoder there. The pooler
    /// is read where the file has one.
    ///
    /// # Errors
    /// When a file is missing or broken, or is of another family.
    pub fn load(folder: &Path, device: &Device) -> Result<Self, ModelError> {
        let (file, config) = read(folder)?;
        let path = file.weights(config.parameters())?;
        let family = config.family;
        let mut bert = Self::new(config, 0, device)?;
        if Tensors::open(&path)?.names()?.iter().any(|name| Family::is_pooler(name)) {
            bert = bert.with_pooler(0, device);
        }
        let layout = Layout {
            names: &|name| family.names(name),
            passed_over: &|name| Family::is_copy(name) || Family::is_head(name),
        };
        weights::load_as(bert, &path, &layout)
    }

    /// The configuration.
    pub fn config(&self) -> &BertConfig {
        &self.config
    }

    /// Whether it has a pooler.
    pub fn has_pooler(&self) -> bool {
        self.pooler.is_some()
    }

    /// The same without its pooler.
    #[must_use]
    pub fn without_pooler(self) -> Self {
        Self { pooler: None, ..self }
    }

    /// The word embeddings, `[vocabulary, width]`.
    pub(super) fn words(&self) -> Tensor<2> {
        self.embeddings.word_embeddings.weight.val()
    }

    fn embed(&self, inputs: &Inputs) -> Tensor<3> {
        let [_, time] = inputs.ids.dims();
        let own = &self.embeddings;
        let first = self.config.first_position();
        let mut positions = own.position_embeddings.weight.val().narrow(0, first, time);
        let types = own.token_type_embeddings.as_ref().map(|types| types.weight.val());
        if let (Some(types), None) = (&types, &inputs.token_types) {
            positions = positions + types.clone().narrow(0, 0, 1);
        }
        let mut x = ops::embed(self.words(), positions, inputs.ids.clone(), 0);
        if let (Some(types), Some(ids)) = (types, &inputs.token_types) {
            x = x + ops::embed_tokens(types, ids.clone(), 1.0);
        }
        own.norm.forward(x)
    }

    /// The hidden states of the last layer, `[batch, time, width]`; those of padding mean nothing. Sequences are at most
    /// [`BertConfig::context`] long. With a seed, dropout is on and follows from it alone.
    pub fn encode(&self, inputs: &Inputs, dropout_seed: Option<u64>) -> Tensor<3> {
        self.run(inputs, dropout_seed, Asked::All)
    }

    /// The first token's state of [`Bert::encode`] alone, `[batch, 1, width]`: what labels of whole texts stand upon. The last
    /// layer then has one row a text, where keys and values, a sixth of its products, are what is left.
    pub fn encode_first(&self, inputs: &Inputs, dropout_seed: Option<u64>) -> Tensor<3> {
        if self.encoder.layer.is_empty() {
            return self.encode(inputs, dropout_seed).narrow(1, 0, 1);
        }
        self.run(inputs, dropout_seed, Asked::First)
    }

    fn run(&self, inputs: &Inputs, dropout_seed: Option<u64>, asked: Asked) -> Tensor<3> {
        let dropouts = Dropouts::new(dropout_seed);
        let key_ranges = inputs.lengths.as_ref().map(|lengths| lengths.iter().map(|&length| 0..length).collect());
        let mask = attention::Attention { key_ranges, ..attention::Attention::default() };
        let mut x = dropouts.apply(self.embed(inputs), self.config.hidden_dropout_prob, 0);
        for (layer, block) in self.encoder.layer.iter().enumerate() {
            let asked = if layer + 1 == self.encoder.layer.len() { asked } else { Asked::All };
            x = block.forward(x, &self.config, &mask, &dropouts, layer as u64, asked);
        }
        x
    }

    /// A vector of every sequence, `[batch, width]`, out of the first token's hidden state (Devlin et al. 2019,
    /// section 3.1): `tanh` of a dense layer. None without a pooler.
    pub fn pool(&self, hidden: Tensor<3>) -> Option<Tensor<2>> {
        let pooler = self.pooler.as_ref()?;
        let [batch, _, width] = hidden.dims();
        let pooled = pooler.forward_activated(hidden.narrow(1, 0, 1), Activation::Tanh);
        Some(pooled.reshape([batch, width]))
    }

    /// Writes `config.json` and `model.safetensors` in the family's Hugging Face layout.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), ModelError> {
        write(self, &self.config, "Model", folder, |_| {})
    }
}
