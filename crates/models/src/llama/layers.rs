//! A layer of the llama family.

use super::config::{Family, LlamaConfig};
use super::rotary::Rotary;
use crate::dropouts::Dropouts;
use crate::language_model::Cache;
use burn::module::Module;
use burn::tensor::Tensor;
use loam_nn::attention::{Attention, attend};
use loam_nn::initialize::Initializer;
use loam_nn::layers::{Projection, RmsNorm};
use loam_nn::{Activation, ops};

/// Self-attention with grouped heads and rotary positions.
#[derive(Module, Debug)]
pub struct SelfAttention {
    q_proj: Projection,
    k_proj: Projection,
    v_proj: Projection,
    o_proj: Projection,
    q_norm: Option<RmsNorm>,
    k_norm: Option<RmsNorm>,
}

/// A gated feed-forward (Shazeer 2020).
#[derive(Module, Debug)]
pub struct Mlp {
    gate_proj: Projection,
    up_proj: Projection,
    down_proj: Projection,
}

/// One layer. Where there are four norms, two stand after attention and feed-forward, inside the residual.
#[derive(Module, Debug)]
pub struct Layer {
    self_attn: SelfAttention,
    mlp: Mlp,
    input_layernorm: RmsNorm,
    post_attention_layernorm: RmsNorm,
    pre_feedforward_layernorm: Option<RmsNorm>,
    post_feedforward_layernorm: Option<RmsNorm>,
}

/// What a layer does beside its weights.
pub(super) struct Pass<'a> {
    pub config: &'a LlamaConfig,
    /// The layer's number, from 0.
    pub layer: usize,
    /// Its positions, where it has any.
    pub rotary: Option<&'a Rotary>,
    pub dropouts: &'a Dropouts,
}

impl Pass<'_> {
    fn attention(&self) -> Attention {
        let config = self.config;
        let window = config.sliding_window.filter(|_| config.sliding_layers[self.layer]);
        let caps = config.family == Family::Gemma2;
        Attention {
            scale: Some(config.scale() * self.rotary.map_or(1.0, Rotary::score_factor)),
            soft_cap: config.attn_logit_softcapping.filter(|_| caps).map(|cap| cap as f32),
            dropout: self.dropouts.at(config.attention_dropout, self.layer as u64),
            ..window.map_or_else(Attention::causal, Attention::sliding)
        }
    }
}

/// A new norm that leaves what it normalizes.
pub(super) fn norm(width: usize, config: &LlamaConfig, draw: &mut Initializer) -> RmsNorm {
    RmsNorm::new(width, if config.family.is_gemma() { 1.0 } else { 0.0 }, config.rms_norm_eps, draw)
}

impl Layer {
    pub(super) fn new(config: &LlamaConfig, draw: &mut Initializer) -> Self {
        let (width, inner, deviation) = (config.hidden_size, config.intermediate_size, config.initializer_range);
        // As in GPT-2, by the number of additions to the residual stream.
        let residual = deviation / (2.0 * config.num_hidden_layers as f64).sqrt();
        let (queries, keys) =
            (config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim);
        let bias = config.attention_bias;
        let mut head_norm = || config.family.normalizes_heads().then(|| norm(config.head_dim, config, draw));
        let (q_norm, k_norm) = (head_norm(), head_norm());
        let self_attn = SelfAttention {
            q_proj: Projection::new(width, queries, bias, deviation, draw),
            k_proj: Projection::new(width, keys, bias, deviation, draw),
            v_proj: Projection::new(width, keys, bias, deviation, draw),
            o_proj: Projection::new(queries, width, bias && config.family != Family::Qwen2, residual, draw),
            q_norm,
            k_norm,
        };
        let mlp = Mlp {
            gate_proj: Projection::new(width, inner, config.mlp_bias, deviation, draw),
            up_proj: Projection::new(width, inner, config.mlp_bias, deviation, draw),
            down_proj: Projection::new(inner, width, config.mlp_bias, residual, draw),
        };
        let gemma = config.family.is_gemma();
        Self {
            self_attn,
            mlp,
            input_layernorm: norm(width, config, draw),
            post_attention_layernorm: norm(width, config, draw),
            pre_feedforward_layernorm: gemma.then(|| norm(width, config, draw)),
            post_feedforward_layernorm: gemma.then(|| norm(width, config, draw)),
        }
    }

    /// x `[batch, time, width]` after this layer; with a cache, x follows the tokens that it holds.
    pub(super) fn forward(&self, x: Tensor<3>, pass: &Pass, cache: Option<&mut Cache>) -> Tensor<3> {
        let input = self.input_layernorm.forward(x.clone());
        let attended = self.self_attn.attend(input, pass, cache);
        let activation = pass.config.activation();
        let (o_proj, down_proj) = (&self.self_attn.o_proj, &self.mlp.down_proj);
        let (Some(before), Some(after)) = (&self.pre_feedforward_layernorm, &self.post_feedforward_layernorm) else {
            let x = o_proj.forward_residual(attended, x);
            let inner = self.mlp.inner(self.post_attention_layernorm.forward(x.clone()), activation);
            return down_proj.forward_residual(inner, x);
        };
        let x = x + self.post_attention_layernorm.forward(o_proj.forward(attended));
        let inner = self.mlp.inner(before.forward(x.clone()), activation);
        x + after.forward(down_proj.forward(inner))
    }
}

impl SelfAttention {
    /// What heads gather, `[batch, time, heads * head_dim]`.
    fn attend(&self, x: Tensor<3>, pass: &Pass, cache: Option<&mut Cache>) -> Tensor<3> {
        let [batch, time, _] = x.dims();
        let (heads, shared, width) =
            (pass.config.num_attention_heads, pass.config.num_key_value_heads, pass.config.head_dim);
        let split = |x: Tensor<3>, heads: usize| -> Tensor<4> {
            let length = x.dims()[1];
            x.reshape([batch, length, heads, width])
        };
        // Of the layers that are done the cache holds the new tokens already.
        let first = cache.as_ref().and_then(|cache| cache.layers.get(pass.layer)).map_or(0, |(keys, _)| keys.dims()[1]);
        let prepare = |x: Tensor<3>, heads: usize, norm: &Option<RmsNorm>| {
            let mut x = split(x, heads);
            if let Some(norm) = norm {
                x = norm.forward(x);
            }
            pass.rotary.map_or(x.clone(), |rotary| rotary.turn(x, first))
        };
        let queries = prepare(self.q_proj.forward(x.clone()), heads, &self.q_norm);
        let mut keys = prepare(self.k_proj.forward(x.clone()), shared, &self.k_norm);
        let mut values = split(self.v_proj.forward(x), shared);
        if let Some(cache) = cache {
            let flat = |x: Tensor<4>| x.reshape([batch, time, shared * width]);
            let (all_keys, all_values) = cache.extend(pass.layer, flat(keys), flat(values));
            (keys, values) = (split(all_keys, shared), split(all_values, shared));
        }
        attend(queries, keys, values, pass.attention()).reshape([batch, time, heads * width])
    }
}

impl Mlp {
    /// What the last projection takes, `[batch, time, inner]`.
    fn inner(&self, x: Tensor<3>, activation: Activation) -> Tensor<3> {
        ops::gated_pair(self.gate_proj.forward(x.clone()), self.up_proj.forward(x), activation)
    }
}
