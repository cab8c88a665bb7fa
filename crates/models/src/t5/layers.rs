//! Layers of the encoder and of the decoder: each part normalizes what it reads and adds to the residual stream. No layer
//! has a bias, and no score is scaled.
#![allow(non_snake_case, reason = "the checkpoints' names")]

use super::config::T5Config;
use crate::dropouts::Dropouts;
use crate::language_model::Cache;
use burn::module::Module;
use burn::tensor::Tensor;
use loam_nn::attention::{self, attend, attend_biased};
use loam_nn::initialize::Initializer;
use loam_nn::layers::{Embedding, Projection, RmsNorm};
use loam_nn::ops;

/// Places of dropout that a layer has at most.
const PLACES: u64 = 8;

/// The projections around attention, and in the first layer the table that all layers' relative positions come from.
#[derive(Module, Debug)]
struct Attention {
    q: Projection,
    k: Projection,
    v: Projection,
    o: Projection,
    relative_attention_bias: Option<Embedding>,
}

#[derive(Module, Debug)]
struct SelfAttentionLayer {
    SelfAttention: Attention,
    layer_norm: RmsNorm,
}

#[derive(Module, Debug)]
struct CrossAttentionLayer {
    EncDecAttention: Attention,
    layer_norm: RmsNorm,
}

/// `wi` and `wo`, or gated `wi_0`, `wi_1` and `wo`.
#[derive(Module, Debug)]
struct FeedForward {
    wi: Option<Projection>,
    wi_0: Option<Projection>,
    wi_1: Option<Projection>,
    wo: Projection,
}

#[derive(Module, Debug)]
struct FeedForwardLayer {
    DenseReluDense: FeedForward,
    layer_norm: RmsNorm,
}

/// A layer of the encoder.
#[derive(Module, Debug)]
pub(super) struct EncoderBlock {
    layer: (SelfAttentionLayer, FeedForwardLayer),
}

/// A layer of the decoder.
#[derive(Module, Debug)]
pub(super) struct DecoderBlock {
    layer: (SelfAttentionLayer, CrossAttentionLayer, FeedForwardLayer),
}

/// What a layer does beside its weights.
#[derive(Clone, Copy)]
pub(super) struct Pass<'a> {
    pub config: &'a T5Config,
    pub dropouts: &'a Dropouts,
    /// What relative positions add to the scores of self-attention, `[heads, queries + keys - 1]`.
    pub bias: &'a Tensor<2>,
    /// What attention to the source may see.
    pub source: &'a attention::Attention,
}

/// A new norm, whose gain is the factor of all initial weights.
pub(super) fn norm(config: &T5Config, draw: &mut Initializer) -> RmsNorm {
    let mut norm = RmsNorm::new(config.d_model, 0.0, config.layer_norm_epsilon, draw);
    norm.weight = draw.constant([config.d_model], config.initializer_factor as f32);
    norm
}

/// Deviation of a new weight that sums so many channels.
fn over(channels: usize, config: &T5Config) -> f64 {
    config.initializer_factor / (channels as f64).sqrt()
}

impl Attention {
    /// Deviations are those of transformers: without a scale of the scores, queries carry it.
    fn new(config: &T5Config, positions: bool, draw: &mut Initializer) -> Self {
        let (width, inner) = (config.d_model, config.num_heads * config.d_kv);
        let wide = over(width, config);
        Self {
            q: Projection::new(width, inner, false, wide / (config.d_kv as f64).sqrt(), draw),
            k: Projection::new(width, inner, false, wide, draw),
            v: Projection::new(width, inner, false, wide, draw),
            o: Projection::new(inner, width, false, over(inner, config), draw),
            relative_attention_bias: positions
                .then(|| Embedding::new(config.relative_attention_num_buckets, config.num_heads, wide, draw)),
        }
    }

    /// `x` `[batch, time, heads * d_kv]` by heads.
    fn split(x: Tensor<3>, config: &T5Config) -> Tensor<4> {
        let [batch, time, _] = x.dims();
        x.reshape([batch, time, config.num_heads, config.d_kv])
    }

    /// Keys and values of `x`, `[batch, time, heads, d_kv]` each.
    fn keys_and_values(&self, x: Tensor<3>, config: &T5Config) -> (Tensor<4>, Tensor<4>) {
        (Self::split(self.k.forward(x.clone()), config), Self::split(self.v.forward(x), config))
    }

    /// `residual` plus what the queries of `x` find among `keys` and `values`; drops at `place` and the one after.
    fn forward(
        &self,
        x: Tensor<3>,
        residual: Tensor<3>,
        (keys, values): (Tensor<4>, Tensor<4>),
        bias: Option<&Tensor<2>>,
        mask: attention::Attention,
        pass: Pass,
        place: u64,
    ) -> Tensor<3> {
        let (config, rate) = (pass.config, pass.config.dropout_rate);
        let attention = attention::Attention { scale: Some(1.0), dropout: pass.dropouts.at(rate, place), ..mask };
        let [batch, time, _] = x.dims();
        let queries = Self::split(self.q.forward(x), config);
        let attended = match bias {
            Some(bias) => attend_biased(queries, keys, values, bias.clone(), attention),
            None => attend(queries, keys, values, attention),
        };
        let attended = attended.reshape([batch, time, config.num_heads * config.d_kv]);
        pass.dropouts.project_unbiased(&self.o, attended, residual, rate, place + 1)
    }
}

impl SelfAttentionLayer {
    fn new(config: &T5Config, first: bool, draw: &mut Initializer) -> Self {
        Self { SelfAttention: Attention::new(config, first, draw), layer_norm: norm(config, draw) }
    }

    /// `x` after this part; with a cache, x follows the tokens that it holds.
    fn forward(
        &self,
        x: Tensor<3>,
        mask: attention::Attention,
        pass: Pass,
        place: u64,
        cache: Option<(usize, &mut Cache)>,
    ) -> Tensor<3> {
        let input = self.layer_norm.forward(x.clone());
        let (keys, values) = self.SelfAttention.keys_and_values(input.clone(), pass.config);
        let own = match cache {
            Some((layer, cache)) => cache.extend(layer, keys, values),
            None => (keys, values),
        };
        self.SelfAttention.forward(input, x, own, Some(pass.bias), mask, pass, place)
    }
}

impl FeedForwardLayer {
    fn new(config: &T5Config, draw: &mut Initializer) -> Self {
        let (width, inner, gated) = (config.d_model, config.d_ff, config.is_gated_act);
        let mut widen = |wanted: bool| wanted.then(|| Projection::new(width, inner, false, over(width, config), draw));
        let (wi, wi_0, wi_1) = (widen(!gated), widen(gated), widen(gated));
        let wo = Projection::new(inner, width, false, over(inner, config), draw);
        Self { DenseReluDense: FeedForward { wi, wi_0, wi_1, wo }, layer_norm: norm(config, draw) }
    }

    /// `x` after this part; drops at `place` and the one after.
    fn forward(&self, x: Tensor<3>, pass: Pass, place: u64) -> Tensor<3> {
        let (config, rate, dropouts) = (pass.config, pass.config.dropout_rate, pass.dropouts);
        let FeedForward { wi, wi_0, wi_1, wo } = &self.DenseReluDense;
        let (input, activation) = (self.layer_norm.forward(x.clone()), config.activation());
        let inner = match (wi, wi_0, wi_1) {
            (_, Some(gate), Some(up)) => ops::gated_pair(gate.forward(input.clone()), up.forward(input), activation),
            (Some(widen), ..) => ops::activate(widen.forward(input), activation),
            _ => unreachable!("a feed-forward is gated or not"),
        };
        let inner = dropouts.apply(inner, rate, place);
        dropouts.project_unbiased(wo, inner, x, rate, place + 1)
    }
}

impl EncoderBlock {
    pub fn new(config: &T5Config, first: bool, draw: &mut Initializer) -> Self {
        Self { layer: (SelfAttentionLayer::new(config, first, draw), FeedForwardLayer::new(config, draw)) }
    }

    /// The table of relative positions, in the first layer.
    pub fn positions(&self) -> Option<&Embedding> {
        self.layer.0.SelfAttention.relative_attention_bias.as_ref()
    }

    /// `x` after this layer, the `number`-th.
    pub fn forward(&self, x: Tensor<3>, pass: Pass, number: usize) -> Tensor<3> {
        // The places of the embeddings and of the last states come first.
        let place = PLACES * (1 + number) as u64;
        let x = self.layer.0.forward(x, pass.source.clone(), pass, place, None);
        self.layer.1.forward(x, pass, place + 2)
    }
}

impl DecoderBlock {
    pub fn new(config: &T5Config, first: bool, draw: &mut Initializer) -> Self {
        let own = SelfAttentionLayer::new(config, first, draw);
        let source = CrossAttentionLayer {
            EncDecAttention: Attention::new(config, false, draw),
            layer_norm: norm(config, draw),
        };
        Self { layer: (own, source, FeedForwardLayer::new(config, draw)) }
    }

    /// The table of relative positions, in the first layer.
    pub fn positions(&self) -> Option<&Embedding> {
        self.layer.0.SelfAttention.relative_attention_bias.as_ref()
    }

    /// The keys and values that this layer takes from the encoder's `states`.
    pub fn source(&self, states: Tensor<3>, config: &T5Config) -> (Tensor<4>, Tensor<4>) {
        self.layer.1.EncDecAttention.keys_and_values(states, config)
    }

    /// `x` after this layer, the `number`-th, and after the tokens in `cache`, where one is kept; `source` is what
    /// [`DecoderBlock::source`] gave.
    pub fn forward(
        &self,
        x: Tensor<3>,
        source: (Tensor<4>, Tensor<4>),
        own: &attention::Attention,
        pass: Pass,
        number: usize,
        cache: Option<&mut Cache>,
    ) -> Tensor<3> {
        let place = PLACES * (1 + pass.config.num_layers + number) as u64;
        let (mine, theirs, feed_forward) = &self.layer;
        let x = mine.forward(x, own.clone(), pass, place, cache.map(|cache| (number, cache)));
        let input = theirs.layer_norm.forward(x.clone());
        let x = theirs.EncDecAttention.forward(input, x, source, None, pass.source.clone(), pass, place + 2);
        feed_forward.forward(x, pass, place + 4)
    }
}
