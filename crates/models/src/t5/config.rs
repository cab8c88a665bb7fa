//! `config.json` of a T5, under transformers' keys.

use crate::configuration::{
    activation, check_positive, check_probabilities, check_sizes, check_token, read_bool, read_number, read_size,
    read_text,
};
use crate::error::ModelError;
use crate::source_to_target;
use loam_nn::Activation;
use serde_json::{Map, Value, json};

/// The context that is trained on where a configuration names none.
const USUAL_CONTEXT: usize = 512;

/// T5 itself, or its multilingual sister.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Raffel et al. 2020, its version 1.1, and Flan-T5 (Chung et al. 2022).
    T5,
    /// Xue et al. 2021.
    Mt5,
}

impl Family {
    /// Every family.
    pub const ALL: [Self; 2] = [Self::T5, Self::Mt5];

    /// Its `model_type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::T5 => "t5",
            Self::Mt5 => "mt5",
        }
    }

    fn architecture(self) -> &'static str {
        match self {
            Self::T5 => "T5ForConditionalGeneration",
            Self::Mt5 => "MT5ForConditionalGeneration",
        }
    }
}

/// What an encoder and decoder with relative positions are. Fields carry the names of transformers' `T5Config` where it has
/// them.
#[derive(Clone, Debug, PartialEq)]
pub struct T5Config {
    /// Which family's keys and defaults.
    pub family: Family,
    /// Number of token ids, shared by source and target.
    pub vocab_size: usize,
    /// Width of the hidden states.
    pub d_model: usize,
    /// Channels of a head; all heads together need not be as wide as the hidden states.
    pub d_kv: usize,
    /// Width inside the feed-forward.
    pub d_ff: usize,
    /// Layers of the encoder.
    pub num_layers: usize,
    /// Layers of the decoder.
    pub num_decoder_layers: usize,
    /// Attention heads of a layer.
    pub num_heads: usize,
    /// Buckets that distances between tokens are sorted into.
    pub relative_attention_num_buckets: usize,
    /// Distances from here on share the last bucket.
    pub relative_attention_max_distance: usize,
    /// Dropout of embeddings, attention probabilities, the feed-forward, and what goes into the residual stream.
    pub dropout_rate: f64,
    /// Added to mean squares.
    pub layer_norm_epsilon: f64,
    /// Multiplies every initial weight.
    pub initializer_factor: f64,
    /// Activation of the feed-forward: `relu`, `gelu_new`, `silu`, `gelu`, `tanh`, `sigmoid`.
    pub dense_act_fn: String,
    /// Whether the feed-forward is gated (Shazeer 2020), as from version 1.1 on.
    pub is_gated_act: bool,
    /// Whether the embeddings are the output layer too.
    pub tied: bool,
    /// Whether the decoder's states are divided by the square root of the width before the output layer, as in version 1.0.
    pub scale_decoder_outputs: bool,
    /// The longest source and target that it was trained on, in tokens; nothing keeps it from reading longer ones.
    pub n_positions: Option<usize>,
    /// The id that fills short sequences.
    pub pad_token_id: Option<usize>,
    /// The id that ends a sequence.
    pub eos_token_id: Option<usize>,
    /// The id that every target begins with; T5's is the padding.
    pub decoder_start_token_id: usize,
}

impl T5Config {
    /// The gated feed-forward of version 1.1, 8/3 as wide as the hidden states and rounded up to a multiple of 32, with the
    /// tied and scaled output of version 1.0, whose first logits are of a size that training can begin with. The last id is
    /// the padding, with which targets begin too, and id 0 ends a sequence.
    pub fn new(vocabulary: usize, context: usize, width: usize, layers: usize, heads: usize, dropout: f64) -> Self {
        let padding = vocabulary.saturating_sub(1);
        Self {
            family: Family::T5,
            vocab_size: vocabulary,
            d_model: width,
            d_kv: width / heads.max(1),
            d_ff: width.saturating_mul(8).div_ceil(3).next_multiple_of(32),
            num_layers: layers,
            num_decoder_layers: layers,
            num_heads: heads,
            relative_attention_num_buckets: 32,
            relative_attention_max_distance: 128,
            dropout_rate: dropout,
            layer_norm_epsilon: 1e-6,
            initializer_factor: 1.0,
            dense_act_fn: "gelu_new".to_owned(),
            is_gated_act: true,
            tied: true,
            scale_decoder_outputs: true,
            n_positions: Some(context),
            pad_token_id: Some(padding),
            eos_token_id: Some(0),
            decoder_start_token_id: padding,
        }
    }

    /// The configuration that a `config.json` of `family` holds, its output tied. A key that is absent has transformers'
    /// value.
    ///
    /// Whether the output is scaled follows transformers 5: in T5 it is unless `tie_word_embeddings` or, where that is there,
    /// `scale_decoder_outputs` says no; in mT5 it never is.
    pub(super) fn from_json(family: Family, value: &Value) -> Result<Self, ModelError> {
        let size = |key: &str| read_size(value, key);
        let required = |key: &str| {
            size(key)?.ok_or_else(|| ModelError::Configuration(format!("{key} is missing; it is a whole number")))
        };
        let number = |key: &str, otherwise: f64| read_number(value, key).map(|x| x.unwrap_or(otherwise));
        if read_bool(value, "is_encoder_decoder")? == Some(false) {
            let reason =
                "is_encoder_decoder = false: an encoder alone is not read; a model that writes has a decoder too";
            return Err(ModelError::Configuration(reason.to_owned()));
        }
        let projection = read_text(value, "feed_forward_proj")?
            .unwrap_or_else(|| if family == Family::T5 { "relu" } else { "gated-gelu" }.to_owned());
        let (gated, act) = match projection.split('-').collect::<Vec<_>>()[..] {
            ["gated", "gelu"] => (true, "gelu_new"),
            ["gated", act] => (true, act),
            [act] if act != "gated" => (false, act),
            _ => {
                return Err(ModelError::Configuration(format!(
                    "feed_forward_proj = {projection:?} is neither an activation nor \"gated-\" and one"
                )));
            }
        };
        let num_layers = required("num_layers")?;
        let tie = read_bool(value, "tie_word_embeddings")?.unwrap_or(true);
        let pad_token_id = match value.get("pad_token_id") {
            None => Some(0),
            Some(_) => size("pad_token_id")?,
        };
        // Some configurations name several ids that end a text; a source ends with the first.
        let eos_token_id = match value.get("eos_token_id") {
            None => Some(1),
            Some(Value::Array(ids)) => ids.first().and_then(Value::as_u64).map(|id| id as usize),
            Some(_) => size("eos_token_id")?,
        };
        let config = Self {
            family,
            vocab_size: required("vocab_size")?,
            d_model: required("d_model")?,
            d_kv: required("d_kv")?,
            d_ff: required("d_ff")?,
            num_layers,
            num_decoder_layers: size("num_decoder_layers")?.unwrap_or(num_layers),
            num_heads: required("num_heads")?,
            relative_attention_num_buckets: size("relative_attention_num_buckets")?.unwrap_or(32),
            relative_attention_max_distance: size("relative_attention_max_distance")?.unwrap_or(128),
            dropout_rate: number("dropout_rate", 0.1)?,
            layer_norm_epsilon: number("layer_norm_epsilon", 1e-6)?,
            initializer_factor: number("initializer_factor", 1.0)?,
            dense_act_fn: read_text(value, "dense_act_fn")?.unwrap_or_else(|| act.to_owned()),
            is_gated_act: read_bool(value, "is_gated_act")?.unwrap_or(gated),
            tied: true,
            scale_decoder_outputs: family == Family::T5 && read_bool(value, "scale_decoder_outputs")?.unwrap_or(tie),
            n_positions: size("n_positions")?,
            pad_token_id,
            eos_token_id,
            decoder_start_token_id: size("decoder_start_token_id")?.or(pad_token_id).unwrap_or(0),
        };
        config.check()?;
        Ok(config)
    }

    /// What `config.json` holds.
    pub(super) fn to_json(&self) -> Map<String, Value> {
        // Transformers 5 makes exact GELU of a name of its own alone; `dense_act_fn` says it all the same.
        let act = if self.dense_act_fn == "gelu_new" && self.is_gated_act { "gelu" } else { &self.dense_act_fn };
        let projection = if self.is_gated_act { format!("gated-{act}") } else { act.to_owned() };
        let fields = json!({
            "model_type": self.family.name(),
            "architectures": [self.family.architecture()],
            "torch_dtype": "float32",
            "is_encoder_decoder": true,
            "vocab_size": self.vocab_size,
            "d_model": self.d_model,
            "d_kv": self.d_kv,
            "d_ff": self.d_ff,
            "num_layers": self.num_layers,
            "num_decoder_layers": self.num_decoder_layers,
            "num_heads": self.num_heads,
            "relative_attention_num_buckets": self.relative_attention_num_buckets,
            "relative_attention_max_distance": self.relative_attention_max_distance,
            "dropout_rate": self.dropout_rate,
            "layer_norm_epsilon": self.layer_norm_epsilon,
            "initializer_factor": self.initializer_factor,
            "feed_forward_proj": projection,
            "dense_act_fn": self.dense_act_fn,
            "is_gated_act": self.is_gated_act,
            "pad_token_id": self.pad_token_id,
            "eos_token_id": self.eos_token_id,
            "decoder_start_token_id": self.decoder_start_token_id,
            // What is meant by it is the scale; whether the output is tied, its readers see by the weights.
            "tie_word_embeddings": self.scale_decoder_outputs,
        });
        let Value::Object(mut fields) = fields else { unreachable!("an object was made") };
        if self.family == Family::T5 {
            fields.insert("scale_decoder_outputs".to_owned(), json!(self.scale_decoder_outputs));
        }
        if let Some(positions) = self.n_positions {
            fields.insert("n_positions".to_owned(), json!(positions));
        }
        fields
    }

    /// The longest source and target that are trained on, in tokens.
    pub fn context(&self) -> usize {
        self.n_positions.unwrap_or(USUAL_CONTEXT)
    }

    /// What the decoder reads to predict `targets` `[batch * time]`: each row of `time` ids moved one place to the right
    /// behind the start. Where a target does not count (−1), padding is read.
    pub fn decoder_inputs(&self, targets: &[i64], time: usize) -> Vec<i64> {
        source_to_target::decoder_inputs(targets, time, self.decoder_start_token_id, self.pad_token_id)
    }

    /// The activation inside the feed-forward.
    pub(super) fn activation(&self) -> Activation {
        activation("dense_act_fn", &self.dense_act_fn).expect("a configuration that was checked")
    }

    /// Channels of all heads together; none where they would not fit 64 bits.
    fn inner(&self) -> Option<u64> {
        (self.num_heads as u64).checked_mul(self.d_kv as u64)
    }

    /// Parameters of the tables of tokens: the embeddings, and the output where it has one of its own.
    pub fn table_parameters(&self) -> Option<u64> {
        let tables = if self.tied { 1 } else { 2 };
        (self.vocab_size as u64).checked_mul(self.d_model as u64)?.checked_mul(tables)
    }

    /// Number of parameters; none where it would not fit 64 bits.
    pub fn parameters(&self) -> Option<u64> {
        let width = self.d_model as u64;
        let attention = width.checked_mul(self.inner()?)?.checked_mul(4)?.checked_add(width)?;
        let matrices = if self.is_gated_act { 3 } else { 2 };
        let feed_forward = width.checked_mul(self.d_ff as u64)?.checked_mul(matrices)?.checked_add(width)?;
        let encoder = attention.checked_add(feed_forward)?.checked_mul(self.num_layers as u64)?;
        let decoder = attention.checked_mul(2)?.checked_add(feed_forward)?;
        let decoder = decoder.checked_mul(self.num_decoder_layers as u64)?;
        let positions = (self.relative_attention_num_buckets as u64).checked_mul(self.num_heads as u64)?;
        let shared = positions.checked_add(width)?.checked_mul(2)?;
        encoder.checked_add(decoder)?.checked_add(shared)?.checked_add(self.table_parameters()?)
    }

    pub(super) fn check(&self) -> Result<(), ModelError> {
        check_sizes(&[
            ("vocab_size", self.vocab_size),
            ("d_model", self.d_model),
            ("d_kv", self.d_kv),
            ("d_ff", self.d_ff),
            ("num_layers", self.num_layers),
            ("num_decoder_layers", self.num_decoder_layers),
            ("num_heads", self.num_heads),
            ("relative_attention_num_buckets", self.relative_attention_num_buckets),
            ("relative_attention_max_distance", self.relative_attention_max_distance),
            ("n_positions", self.context()),
        ])?;
        let (buckets, distance) = (self.relative_attention_num_buckets, self.relative_attention_max_distance);
        if buckets < 4 || distance <= buckets / 2 {
            return Err(ModelError::Configuration(format!(
                "relative_attention_num_buckets = {buckets} and relative_attention_max_distance = {distance}: there are at \
                 least 4 buckets, and half of them hold a distance each, below the largest"
            )));
        }
        activation("dense_act_fn", &self.dense_act_fn)?;
        check_probabilities(&[("dropout_rate", self.dropout_rate)])?;
        check_positive(&[
            ("layer_norm_epsilon", self.layer_norm_epsilon),
            ("initializer_factor", self.initializer_factor),
        ])?;
        check_token("pad_token_id", self.pad_token_id, self.vocab_size)?;
        check_token("eos_token_id", self.eos_token_id, self.vocab_size)?;
        check_token("decoder_start_token_id", Some(self.decoder_start_token_id), self.vocab_size)
    }
}
