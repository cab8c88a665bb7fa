//! `config.json` of a translation Transformer, under Marian's keys.

use crate::configuration::{activation, check_heads, check_positive, check_probabilities, check_sizes, check_token};
use crate::error::ModelError;
use crate::source_to_target;
use loam_nn::Activation;
use serde::{Deserialize, Serialize};

/// What an encoder and decoder are. Keys are those of Hugging Face's `MarianConfig`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seq2SeqConfig {
    /// Number of token ids, shared by source and target.
    pub vocab_size: usize,
    /// Longest source and longest target, in tokens.
    pub max_position_embeddings: usize,
    /// Width of the hidden states.
    pub d_model: usize,
    /// Layers of the encoder.
    pub encoder_layers: usize,
    /// Layers of the decoder.
    pub decoder_layers: usize,
    /// Attention heads of an encoder layer.
    pub encoder_attention_heads: usize,
    /// Attention heads of a decoder layer.
    pub decoder_attention_heads: usize,
    /// Width inside the encoder's feed-forward.
    pub encoder_ffn_dim: usize,
    /// Width inside the decoder's feed-forward.
    pub decoder_ffn_dim: usize,
    /// Activation of the feed-forward: `relu`, `swish`, `gelu`, `gelu_new`, `tanh`, `sigmoid`.
    pub activation_function: String,
    /// Dropout of the embeddings and after each projection into the hidden states.
    #[serde(default = "tenth")]
    pub dropout: f64,
    /// Dropout of attention probabilities.
    #[serde(default)]
    pub attention_dropout: f64,
    /// Dropout inside the feed-forward.
    #[serde(default)]
    pub activation_dropout: f64,
    /// Standard deviation of initial weights.
    #[serde(default = "init_std")]
    pub init_std: f64,
    /// Whether embeddings are multiplied by the square root of the width.
    #[serde(default)]
    pub scale_embedding: bool,
    /// Whether positions are sines and cosines; learned otherwise, which transformers' Marian cannot read.
    #[serde(default = "yes")]
    pub static_position_embeddings: bool,
    /// The id that fills short sequences.
    #[serde(default)]
    pub pad_token_id: Option<usize>,
    /// The id that ends a sequence.
    #[serde(default)]
    pub eos_token_id: Option<usize>,
    /// The id that every target begins with; Marian's is the padding.
    pub decoder_start_token_id: usize,
}

fn tenth() -> f64 {
    0.1
}

fn init_std() -> f64 {
    0.02
}

fn yes() -> bool {
    true
}

impl Seq2SeqConfig {
    /// The Transformer of Vaswani et al. 2017: scaled embeddings, sines and cosines, ReLU, a feed-forward four times as
    /// wide as its hidden states. The last id is the padding, with which targets begin too, and id 0 ends a sequence, as
    /// in Marian's vocabularies.
    pub fn new(vocabulary: usize, context: usize, width: usize, layers: usize, heads: usize, dropout: f64) -> Self {
        let padding = vocabulary.saturating_sub(1);
        Self {
            vocab_size: vocabulary,
            max_position_embeddings: context,
            d_model: width,
            encoder_layers: layers,
            decoder_layers: layers,
            encoder_attention_heads: heads,
            decoder_attention_heads: heads,
            encoder_ffn_dim: 4 * width,
            decoder_ffn_dim: 4 * width,
            activation_function: "relu".to_owned(),
            dropout,
            attention_dropout: 0.0,
            activation_dropout: 0.0,
            init_std: init_std(),
            scale_embedding: true,
            static_position_embeddings: true,
            pad_token_id: Some(padding),
            eos_token_id: Some(0),
            decoder_start_token_id: padding,
        }
    }

    /// What the decoder reads to predict `targets` `[batch * time]`: each row of `time` ids moved one place to the right
    /// behind the start. Where a target does not count (−1), padding is read.
    ///
    /// Targets that are not moved would have the decoder predict what it is shown.
    pub fn decoder_inputs(&self, targets: &[i64], time: usize) -> Vec<i64> {
        source_to_target::decoder_inputs(targets, time, self.decoder_start_token_id, self.pad_token_id)
    }

    /// The activation inside the feed-forward.
    pub(super) fn activation(&self) -> Activation {
        activation("activation_function", &self.activation_function).expect("a configuration that was checked")
    }

    /// What embeddings are multiplied by.
    pub(super) fn embedding_scale(&self) -> f32 {
        if self.scale_embedding { (self.d_model as f32).sqrt() } else { 1.0 }
    }

    /// Number of parameters; none where it would not fit 64 bits.
    pub fn parameters(&self) -> Option<u64> {
        let [vocabulary, context, width, encoder, decoder, encoder_inner, decoder_inner] = [
            self.vocab_size,
            self.max_position_embeddings,
            self.d_model,
            self.encoder_layers,
            self.decoder_layers,
            self.encoder_ffn_dim,
            self.decoder_ffn_dim,
        ]
        .map(|size| size as u64);
        // Each attention has four projections and a norm; so has the feed-forward a norm.
        let attention = width.checked_add(1)?.checked_mul(width)?.checked_mul(4)?.checked_add(width.checked_mul(2)?)?;
        let feed_forward = |inner: u64| {
            let matrices = width.checked_mul(inner)?.checked_mul(2)?;
            matrices.checked_add(inner)?.checked_add(width.checked_mul(3)?)
        };
        let encoder = attention.checked_add(feed_forward(encoder_inner)?)?.checked_mul(encoder)?;
        let decoder = attention.checked_mul(2)?.checked_add(feed_forward(decoder_inner)?)?.checked_mul(decoder)?;
        let positions = if self.static_position_embeddings { 0 } else { context.checked_mul(2)? };
        let embeddings = vocabulary.checked_add(positions)?.checked_mul(width)?.checked_add(vocabulary)?;
        encoder.checked_add(decoder)?.checked_add(embeddings)
    }

    pub(super) fn check(&self) -> Result<(), ModelError> {
        check_sizes(&[
            ("vocab_size", self.vocab_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("d_model", self.d_model),
            ("encoder_layers", self.encoder_layers),
            ("decoder_layers", self.decoder_layers),
            ("encoder_attention_heads", self.encoder_attention_heads),
            ("decoder_attention_heads", self.decoder_attention_heads),
            ("encoder_ffn_dim", self.encoder_ffn_dim),
            ("decoder_ffn_dim", self.decoder_ffn_dim),
        ])?;
        check_heads(("d_model", self.d_model), ("encoder_attention_heads", self.encoder_attention_heads))?;
        check_heads(("d_model", self.d_model), ("decoder_attention_heads", self.decoder_attention_heads))?;
        activation("activation_function", &self.activation_function)?;
        check_probabilities(&[
            ("dropout", self.dropout),
            ("attention_dropout", self.attention_dropout),
            ("activation_dropout", self.activation_dropout),
        ])?;
        check_positive(&[("init_std", self.init_std)])?;
        check_token("pad_token_id", self.pad_token_id, self.vocab_size)?;
        check_token("eos_token_id", self.eos_token_id, self.vocab_size)?;
        check_token("decoder_start_token_id", Some(self.decoder_start_token_id), self.vocab_size)
    }
}
