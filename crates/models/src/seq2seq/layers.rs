//! Layers of the encoder and of the decoder: post-normalized, as in the paper.

use super::config::Seq2SeqConfig;
use crate::dropouts::Dropouts;
use crate::language_model::Cache;
use burn::module::Module;
use burn::tensor::Tensor;
use loam_nn::attention::{self, attend};
use loam_nn::initialize::Initializer;
use loam_nn::layers::{Dense, LayerNorm};

/// Added to variances; Marian's configuration does not name it.
const EPSILON: f64 = 1e-5;

/// Places of dropout in a layer, of which a layer of the encoder uses four.
const PLACES: u64 = 6;

/// The projections around attention.
#[derive(Module, Debug)]
#[allow(clippy::struct_field_names)] // The checkpoints' names.
pub(super) struct Projections {
    k_proj: Dense,
    v_proj: Dense,
    q_proj: Dense,
    out_proj: Dense,
}

/// A layer of the encoder.
#[derive(Module, Debug)]
pub(super) struct EncoderLayer {
    self_attn: Projections,
    self_attn_layer_norm: LayerNorm,
    fc1: Dense,
    fc2: Dense,
    final_layer_norm: LayerNorm,
}

/// A layer of the decoder.
#[derive(Module, Debug)]
pub(super) struct DecoderLayer {
    self_attn: Projections,
    self_attn_layer_norm: LayerNorm,
    encoder_attn: Projections,
    encoder_attn_layer_norm: LayerNorm,
    fc1: Dense,
    fc2: Dense,
    final_layer_norm: LayerNorm,
}

/// `x` `[batch, time, width]` by heads.
fn split(x: Tensor<3>, heads: usize) -> Tensor<4> {
    let [batch, time, width] = x.dims();
    x.reshape([batch, time, heads, width / heads])
}

fn feed_forward(
    [widen, narrow]: [&Dense; 2],
    x: Tensor<3>,
    config: &Seq2SeqConfig,
    dropouts: &Dropouts,
    place: u64,
) -> Tensor<3> {
    // Without dropout inside it is one operation.
    if dropouts.at(config.activation_dropout, place).is_none() {
        return widen.feed_forward_dropped(narrow, x, dropouts.at(config.dropout, place + 1), config.activation());
    }
    let inner = widen.forward_activated(x.clone(), config.activation());
    let inner = dropouts.apply(inner, config.activation_dropout, place);
    dropouts.project(narrow, inner, x, config.dropout, place + 1)
}

impl Projections {
    fn new(config: &Seq2SeqConfig, draw: &mut Initializer) -> Self {
        let mut dense = || Dense::new(config.d_model, config.d_model, config.init_std, draw);
        Self { k_proj: dense(), v_proj: dense(), q_proj: dense(), out_proj: dense() }
    }

    /// Keys and values of `x`, `[batch, time, heads, head_width]` each.
    fn keys_and_values(&self, x: Tensor<3>, heads: usize) -> (Tensor<4>, Tensor<4>) {
        (split(self.k_proj.forward(x.clone()), heads), split(self.v_proj.forward(x), heads))
    }

    /// `x` plus what its queries find among `keys` and `values`; drops at `place` and the one after.
    fn forward(
        &self,
        x: Tensor<3>,
        (keys, values): (Tensor<4>, Tensor<4>),
        heads: usize,
        mask: attention::Attention,
        config: &Seq2SeqConfig,
        dropouts: &Dropouts,
        place: u64,
    ) -> Tensor<3> {
        let attention = attention::Attention { dropout: dropouts.at(config.attention_dropout, place), ..mask };
        let queries = split(self.q_proj.forward(x.clone()), heads);
        let attended = attend(queries, keys, values, attention).reshape(x.dims());
        dropouts.project(&self.out_proj, attended, x, config.dropout, place + 1)
    }
}

impl EncoderLayer {
    pub fn new(config: &Seq2SeqConfig, draw: &mut Initializer) -> Self {
        let (width, inner, deviation) = (config.d_model, config.encoder_ffn_dim, config.init_std);
        Self {
            self_attn: Projections::new(config, draw),
            self_attn_layer_norm: LayerNorm::new(width, EPSILON, draw),
            fc1: Dense::new(width, inner, deviation, draw),
            fc2: Dense::new(inner, width, deviation, draw),
            final_layer_norm: LayerNorm::new(width, EPSILON, draw),
        }
    }

    pub fn forward(
        &self,
        x: Tensor<3>,
        config: &Seq2SeqConfig,
        mask: &attention::Attention,
        dropouts: &Dropouts,
        layer: u64,
    ) -> Tensor<3> {
        let (place, heads) = (PLACES * layer, config.encoder_attention_heads);
        let own = self.self_attn.keys_and_values(x.clone(), heads);
        let x = self.self_attn.forward(x, own, heads, mask.clone(), config, dropouts, place + 1);
        let x = self.self_attn_layer_norm.forward(x);
        self.final_layer_norm.forward(feed_forward([&self.fc1, &self.fc2], x, config, dropouts, place + 3))
    }
}

impl DecoderLayer {
    pub fn new(config: &Seq2SeqConfig, draw: &mut Initializer) -> Self {
        let (width, inner, deviation) = (config.d_model, config.decoder_ffn_dim, config.init_std);
        Self {
            self_attn: Projections::new(config, draw),
            self_attn_layer_norm: LayerNorm::new(width, EPSILON, draw),
            encoder_attn: Projections::new(config, draw),
            encoder_attn_layer_norm: LayerNorm::new(width, EPSILON, draw),
            fc1: Dense::new(width, inner, deviation, draw),
            fc2: Dense::new(inner, width, deviation, draw),
            final_layer_norm: LayerNorm::new(width, EPSILON, draw),
        }
    }

    /// The keys and values that this layer takes from the encoder's `states`.
    pub fn source(&self, states: Tensor<3>, heads: usize) -> (Tensor<4>, Tensor<4>) {
        self.encoder_attn.keys_and_values(states, heads)
    }

    /// `x` after the tokens in `cache`, where one is kept; `source` is what [`DecoderLayer::source`] gave.
    pub fn forward(
        &self,
        x: Tensor<3>,
        source: (Tensor<4>, Tensor<4>),
        config: &Seq2SeqConfig,
        mask: &attention::Attention,
        dropouts: &Dropouts,
        layer: usize,
        cache: Option<&mut Cache>,
    ) -> Tensor<3> {
        // The encoder's places come first.
        let place = PLACES * (config.encoder_layers + 1 + layer) as u64;
        let heads = config.decoder_attention_heads;
        let (keys, values) = self.self_attn.keys_and_values(x.clone(), heads);
        let own = match cache {
            Some(cache) => cache.extend(layer, keys, values),
            None => (keys, values),
        };
        let causal = attention::Attention::causal();
        let x = self.self_attn.forward(x, own, heads, causal, config, dropouts, place + 1);
        let x = self.self_attn_layer_norm.forward(x);
        let x = self.encoder_attn.forward(x, source, heads, mask.clone(), config, dropouts, place + 3);
        let x = self.encoder_attn_layer_norm.forward(x);
        self.final_layer_norm.forward(feed_forward([&self.fc1, &self.fc2], x, config, dropouts, place + 5))
    }
}
