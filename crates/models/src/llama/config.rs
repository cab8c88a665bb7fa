//! `config.json` of the llama family.

use super::rotary::Rope;
use crate::configuration::{
    activation, check_positive, check_probabilities, check_sizes, read_bool, read_flags, read_number, read_size,
    read_text,
};
use crate::error::ModelError;
use loam_nn::Activation;
use serde_json::{Map, Value, json};

/// Whose layout a model has: what stands in a layer, and the keys of its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Llama 1 to 3 (Touvron et al. 2023; Grattafiori et al. 2024), SmolLM 1 and 2, and the many others that share it.
    Llama,
    /// Mistral (Jiang et al. 2023): every layer may have a sliding window.
    Mistral,
    /// Qwen 2 and 2.5 (Yang et al. 2024): queries, keys and values have biases.
    Qwen2,
    /// Qwen 3 (Yang et al. 2025): queries and keys of a head are normalized.
    Qwen3,
    /// SmolLM 3: some layers know no positions (NoPE; Yang et al. 2025).
    Smollm3,
    /// Gemma 2 (Gemma Team 2024): norms before and after, soft caps, sliding windows in every other layer.
    Gemma2,
    /// The text model of Gemma 3 (Gemma Team 2025): as Gemma 2 without soft caps, queries and keys normalized, sliding
    /// layers with a rotary base of their own.
    Gemma3,
}

impl Family {
    /// Every family.
    pub const ALL: [Self; 7] =
        [Self::Llama, Self::Mistral, Self::Qwen2, Self::Qwen3, Self::Smollm3, Self::Gemma2, Self::Gemma3];

    /// Its `model_type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Mistral => "mistral",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
            Self::Smollm3 => "smollm3",
            Self::Gemma2 => "gemma2",
            Self::Gemma3 => "gemma3_text",
        }
    }

    /// The class that transformers opens it with.
    pub(super) fn architecture(self) -> &'static str {
        match self {
            Self::Llama => "LlamaForCausalLM",
            Self::Mistral => "MistralForCausalLM",
            Self::Qwen2 => "Qwen2ForCausalLM",
            Self::Qwen3 => "Qwen3ForCausalLM",
            Self::Smollm3 => "SmolLM3ForCausalLM",
            Self::Gemma2 => "Gemma2ForCausalLM",
            Self::Gemma3 => "Gemma3ForCausalLM",
        }
    }

    /// Whether it is one of the Gemmas: gains are stored less one, embeddings are scaled by the root of the width, and a
    /// layer's norms stand before and after attention and feed-forward.
    pub fn is_gemma(self) -> bool {
        matches!(self, Self::Gemma2 | Self::Gemma3)
    }

    /// Whether queries and keys of a head are normalized.
    pub fn normalizes_heads(self) -> bool {
        matches!(self, Self::Qwen3 | Self::Gemma3)
    }

    /// The rotary base where a configuration names none: of all layers, or of those that see everything.
    pub(super) fn base(self) -> f64 {
        match self {
            Self::Smollm3 => 2_000_000.0,
            Self::Gemma3 => 1_000_000.0,
            _ => 10_000.0,
        }
    }

    /// Heads of queries, heads of keys and values, and the width of a head where a configuration does not say.
    fn default_heads(self) -> (usize, Option<usize>, Option<usize>) {
        match self {
            Self::Mistral => (32, Some(8), None),
            Self::Qwen3 => (32, None, Some(128)),
            Self::Smollm3 => (16, Some(4), None),
            Self::Gemma2 | Self::Gemma3 => (8, Some(4), Some(256)),
            Self::Llama | Self::Qwen2 => (32, None, None),
        }
    }
}

/// What a model of the llama family is. Fields carry the names of transformers' configuration keys where there is one.
#[derive(Clone, Debug, PartialEq)]
pub struct LlamaConfig {
    /// Whose layout.
    pub family: Family,
    /// Number of token ids.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside the feed-forward.
    pub intermediate_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Heads of queries a layer.
    pub num_attention_heads: usize,
    /// Heads of keys and values a layer, each shared by as many heads of queries (Ainslie et al. 2023).
    pub num_key_value_heads: usize,
    /// Width of a head; need not be `hidden_size / num_attention_heads`.
    pub head_dim: usize,
    /// Activation of the gate: `silu`, `gelu_pytorch_tanh`, ….
    pub hidden_act: String,
    /// Longest sequence, in tokens.
    pub max_position_embeddings: usize,
    /// Added to mean squares.
    pub rms_norm_eps: f64,
    /// Standard deviation of initial weights.
    pub initializer_range: f64,
    /// Whether the embeddings are the output layer too.
    pub tie_word_embeddings: bool,
    /// Whether queries, keys and values have biases, and the projection out of attention, except in Qwen 2.
    pub attention_bias: bool,
    /// Whether the feed-forward has biases.
    pub mlp_bias: bool,
    /// Dropout of attention probabilities.
    pub attention_dropout: f64,
    /// Rotary positions; in Gemma 3 those of the layers that see everything.
    pub rope: Rope,
    /// Rotary positions of Gemma 3's sliding layers.
    pub local_rope: Option<Rope>,
    /// How many keys a query of a sliding layer sees, its own included.
    pub sliding_window: Option<usize>,
    /// Which layers have the sliding window, `[layers]`.
    pub sliding_layers: Vec<bool>,
    /// Which layers have rotary positions, `[layers]`; all but in SmolLM 3.
    pub rotary_layers: Vec<bool>,
    /// Scores are divided by its root in place of the head width's (Gemma).
    pub query_pre_attn_scalar: Option<f64>,
    /// Bounds the scores of attention. As in transformers, Gemma 3 keeps the key and does not use it.
    pub attn_logit_softcapping: Option<f64>,
    /// Bounds the logits.
    pub final_logit_softcapping: Option<f64>,
    /// `bos_token_id`, `eos_token_id` and `pad_token_id` as they stood in `config.json`.
    pub tokens: Map<String, Value>,
}

/// Keys that are kept as they are.
const TOKENS: [&str; 3] = ["bos_token_id", "eos_token_id", "pad_token_id"];

impl LlamaConfig {
    /// A Llama with tied embeddings, the feed-forward 8/3 as wide as the residual stream, rounded up to a multiple of 32.
    pub fn new(vocabulary: usize, context: usize, width: usize, layers: usize, heads: usize, dropout: f64) -> Self {
        Self {
            family: Family::Llama,
            vocab_size: vocabulary,
            hidden_size: width,
            intermediate_size: width.saturating_mul(8).div_ceil(3).next_multiple_of(32),
            num_hidden_layers: layers,
            num_attention_heads: heads,
            num_key_value_heads: heads,
            head_dim: width / heads.max(1),
            hidden_act: "silu".to_owned(),
            max_position_embeddings: context,
            rms_norm_eps: 1e-5,
            initializer_range: 0.02,
            tie_word_embeddings: true,
            attention_bias: false,
            mlp_bias: false,
            attention_dropout: dropout,
            rope: Rope::plain(10_000.0),
            local_rope: None,
            sliding_window: None,
            sliding_layers: vec![false; layers],
            rotary_layers: vec![true; layers],
            query_pre_attn_scalar: None,
            attn_logit_softcapping: None,
            final_logit_softcapping: None,
            tokens: Map::new(),
        }
    }

    /// The configuration that a `config.json` of `family` holds. A key that is absent has transformers' value.
    pub(super) fn from_json(family: Family, value: &Value) -> Result<Self, ModelError> {
        let size = |key: &str| read_size(value, key);
        let required = |key: &str| {
            size(key)?.ok_or_else(|| ModelError::Configuration(format!("{key} is missing; it is a whole number")))
        };
        let number = |key: &str, otherwise: f64| read_number(value, key).map(|x| x.unwrap_or(otherwise));
        let (hidden_size, layers) = (required("hidden_size")?, required("num_hidden_layers")?);
        check_sizes(&[("num_hidden_layers", layers)])?;
        if layers > MOST_LAYERS {
            return Err(ModelError::Configuration(format!("num_hidden_layers = {layers}; at most {MOST_LAYERS}")));
        }
        let (default_heads, default_shared, default_width) = family.default_heads();
        let heads = size("num_attention_heads")?.unwrap_or(default_heads);
        check_sizes(&[("num_attention_heads", heads)])?;
        let shared = match value.get("num_key_value_heads") {
            None => default_shared.unwrap_or(heads),
            Some(_) => size("num_key_value_heads")?.unwrap_or(heads),
        };
        let head_dim = match value.get("head_dim") {
            None => default_width.unwrap_or(hidden_size / heads),
            Some(_) => size("head_dim")?.unwrap_or(hidden_size / heads),
        };
        let gemma = family.is_gemma();
        let (act, otherwise) = if gemma { ("hidden_activation", "gelu_pytorch_tanh") } else { ("hidden_act", "silu") };
        let max_position_embeddings = size("max_position_embeddings")?.unwrap_or(match family {
            Family::Llama => 2048,
            Family::Mistral | Family::Gemma3 => 131_072,
            Family::Gemma2 => 8192,
            Family::Qwen2 | Family::Qwen3 | Family::Smollm3 => 32_768,
        });
        let (rope, local_rope) = Rope::of_model(family, value, max_position_embeddings)?;
        let rotary_layers = match (family, read_flags(value, "no_rope_layers")?) {
            (Family::Smollm3, Some(flags)) if flags.len() >= layers => flags[..layers].to_vec(),
            (Family::Smollm3, Some(flags)) => {
                let count = flags.len();
                let reason = format!("no_rope_layers has {count} entries for num_hidden_layers = {layers}");
                return Err(ModelError::Configuration(reason));
            }
            (Family::Smollm3, None) => {
                let interval = size("no_rope_layer_interval")?.unwrap_or(4);
                check_sizes(&[("no_rope_layer_interval", interval)])?;
                (1..=layers).map(|layer| !layer.is_multiple_of(interval)).collect()
            }
            _ => vec![true; layers],
        };
        let sliding_window = sliding_window(family, value)?;
        let mut config = Self {
            family,
            vocab_size: required("vocab_size")?,
            hidden_size,
            intermediate_size: required("intermediate_size")?,
            num_hidden_layers: layers,
            num_attention_heads: heads,
            num_key_value_heads: shared,
            head_dim,
            hidden_act: read_text(value, act)?.unwrap_or_else(|| otherwise.to_owned()),
            max_position_embeddings,
            rms_norm_eps: number("rms_norm_eps", 1e-6)?,
            initializer_range: number("initializer_range", 0.02)?,
            tie_word_embeddings: read_bool(value, "tie_word_embeddings")?.unwrap_or(gemma || family == Family::Smollm3),
            attention_bias: match family {
                Family::Qwen2 => true,
                Family::Mistral => false,
                _ => read_bool(value, "attention_bias")?.unwrap_or(false),
            },
            mlp_bias: matches!(family, Family::Llama | Family::Smollm3)
                && read_bool(value, "mlp_bias")?.unwrap_or(false),
            attention_dropout: number("attention_dropout", 0.0)?,
            rope,
            local_rope,
            sliding_window,
            sliding_layers: sliding_layers(family, value, layers, sliding_window, &rotary_layers)?,
            rotary_layers,
            query_pre_attn_scalar: if gemma { Some(number("query_pre_attn_scalar", 256.0)?) } else { None },
            attn_logit_softcapping: None,
            final_logit_softcapping: None,
            tokens: Map::new(),
        };
        let absent = |otherwise| if family == Family::Gemma2 { Some(otherwise) } else { None };
        if gemma {
            let cap = |key: &str, otherwise| match value.get(key) {
                None => Ok(otherwise),
                Some(_) => read_number(value, key),
            };
            config.attn_logit_softcapping = cap("attn_logit_softcapping", absent(50.0))?;
            config.final_logit_softcapping = cap("final_logit_softcapping", absent(30.0))?;
        }
        for key in TOKENS {
            if let Some(token) = value.get(key).filter(|token| !token.is_null()) {
                config.tokens.insert(key.to_owned(), token.clone());
            }
        }
        config.check()?;
        Ok(config)
    }

    /// What `config.json` holds, under the family's own keys.
    pub(super) fn to_json(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        let mut put = |key: &str, value: Value| drop(fields.insert(key.to_owned(), value));
        put("model_type", json!(self.family.name()));
        put("architectures", json!([self.family.architecture()]));
        put("torch_dtype", json!("float32"));
        put("vocab_size", json!(self.vocab_size));
        put("hidden_size", json!(self.hidden_size));
        put("intermediate_size", json!(self.intermediate_size));
        put("num_hidden_layers", json!(self.num_hidden_layers));
        put("num_attention_heads", json!(self.num_attention_heads));
        put("num_key_value_heads", json!(self.num_key_value_heads));
        put("head_dim", json!(self.head_dim));
        put(if self.family.is_gemma() { "hidden_activation" } else { "hidden_act" }, json!(self.hidden_act));
        put("max_position_embeddings", json!(self.max_position_embeddings));
        put("rms_norm_eps", json!(self.rms_norm_eps));
        put("initializer_range", json!(self.initializer_range));
        put("tie_word_embeddings", json!(self.tie_word_embeddings));
        put("attention_dropout", json!(self.attention_dropout));
        if !matches!(self.family, Family::Qwen2 | Family::Mistral) {
            put("attention_bias", json!(self.attention_bias));
        }
        if matches!(self.family, Family::Llama | Family::Smollm3) {
            put("mlp_bias", json!(self.mlp_bias));
        }
        put("rope_theta", json!(self.rope.theta));
        put("rope_scaling", self.rope.scaling_json());
        if let Some(local) = &self.local_rope {
            put("rope_local_base_freq", json!(local.theta));
        }
        let kind = |sliding: &bool| if *sliding { "sliding_attention" } else { "full_attention" };
        let kinds: Vec<&str> = self.sliding_layers.iter().map(kind).collect();
        match self.family {
            Family::Llama => {}
            Family::Mistral => put("sliding_window", json!(self.sliding_window)),
            Family::Qwen2 | Family::Qwen3 | Family::Smollm3 => {
                put("use_sliding_window", json!(self.sliding_window.is_some()));
                put("sliding_window", json!(self.sliding_window));
                put("layer_types", json!(kinds));
            }
            Family::Gemma2 | Family::Gemma3 => {
                put("sliding_window", json!(self.sliding_window));
                put("layer_types", json!(kinds));
                put("query_pre_attn_scalar", json!(self.query_pre_attn_scalar));
                put("attn_logit_softcapping", json!(self.attn_logit_softcapping));
                put("final_logit_softcapping", json!(self.final_logit_softcapping));
            }
        }
        if self.family == Family::Smollm3 {
            put("no_rope_layers", json!(self.rotary_layers.iter().map(|&turns| u8::from(turns)).collect::<Vec<_>>()));
        }
        for key in TOKENS {
            // Absent, they would take the defaults of transformers, which belong to other tokenizers.
            put(key, self.tokens.get(key).cloned().unwrap_or(Value::Null));
        }
        fields
    }

    /// The activation of the gate.
    pub(super) fn activation(&self) -> Activation {
        activation("hidden_act", &self.hidden_act).expect("a configuration that was checked")
    }

    /// The factor of the scores.
    pub(super) fn scale(&self) -> f32 {
        self.query_pre_attn_scalar.unwrap_or(self.head_dim as f64).sqrt().recip() as f32
    }

    /// Number of parameters; none where it would not fit 64 bits.
    pub fn parameters(&self) -> Option<u64> {
        let [vocabulary, width, inner, layers, heads, shared, head] = [
            self.vocab_size,
            self.hidden_size,
            self.intermediate_size,
            self.num_hidden_layers,
            self.num_attention_heads,
            self.num_key_value_heads,
            self.head_dim,
        ]
        .map(|size| size as u64);
        let (queries, keys) = (heads.checked_mul(head)?, shared.checked_mul(head)?);
        let mut attention = queries.checked_add(keys)?.checked_mul(2)?.checked_mul(width)?;
        if self.attention_bias {
            attention = attention.checked_add(queries)?.checked_add(keys.checked_mul(2)?)?;
            attention = attention.checked_add(if self.family == Family::Qwen2 { 0 } else { width })?;
        }
        if self.family.normalizes_heads() {
            attention = attention.checked_add(head.checked_mul(2)?)?;
        }
        let mut mlp = width.checked_mul(inner)?.checked_mul(3)?;
        if self.mlp_bias {
            mlp = mlp.checked_add(inner.checked_mul(2)?)?.checked_add(width)?;
        }
        let norms = width.checked_mul(if self.family.is_gemma() { 4 } else { 2 })?;
        let layer = attention.checked_add(mlp)?.checked_add(norms)?;
        let tables = vocabulary.checked_mul(if self.tie_word_embeddings { 1 } else { 2 })?.checked_add(1)?;
        layer.checked_mul(layers)?.checked_add(tables.checked_mul(width)?)
    }

    pub(crate) fn check(&self) -> Result<(), ModelError> {
        check_sizes(&[
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.num_key_value_heads),
            ("head_dim", self.head_dim),
            ("max_position_embeddings", self.max_position_embeddings),
        ])?;
        if let Some(window) = self.sliding_window {
            check_sizes(&[("sliding_window", window)])?;
        }
        let fail = |reason: String| Err(ModelError::Configuration(reason));
        let has_bias = match self.family {
            Family::Qwen2 => self.attention_bias,
            Family::Mistral => !self.attention_bias,
            _ => true,
        };
        let gemma = self.family.is_gemma();
        for (fits, key) in [
            (has_bias, "attention_bias"),
            (self.query_pre_attn_scalar.is_some() == gemma, "query_pre_attn_scalar"),
            (self.local_rope.is_some() == (self.family == Family::Gemma3), "rope_local_base_freq"),
            (self.sliding_layers.len() == self.num_hidden_layers, "layer_types"),
            (self.rotary_layers.len() == self.num_hidden_layers, "no_rope_layers"),
        ] {
            if !fits {
                return fail(format!("{key} is not what a {} has", self.family.name()));
            }
        }
        if !self.num_attention_heads.is_multiple_of(self.num_key_value_heads) {
            return fail(format!(
                "num_attention_heads = {} is not a multiple of num_key_value_heads = {}",
                self.num_attention_heads, self.num_key_value_heads
            ));
        }
        if !self.head_dim.is_multiple_of(2) {
            return fail(format!("head_dim = {} is odd, and rotary positions turn pairs", self.head_dim));
        }
        let queries = self.num_attention_heads.saturating_mul(self.head_dim);
        check_sizes(&[("num_attention_heads · head_dim", queries)])?;
        activation("hidden_act", &self.hidden_act)?;
        check_probabilities(&[("attention_dropout", self.attention_dropout)])?;
        check_positive(&[("rms_norm_eps", self.rms_norm_eps), ("initializer_range", self.initializer_range)])?;
        for (name, value) in [
            ("query_pre_attn_scalar", self.query_pre_attn_scalar),
            ("attn_logit_softcapping", self.attn_logit_softcapping),
            ("final_logit_softcapping", self.final_logit_softcapping),
        ] {
            check_positive(&[(name, value.unwrap_or(1.0))])?;
        }
        self.rope.check()?;
        self.local_rope.as_ref().map_or(Ok(()), Rope::check)
    }
}

/// Lists over layers are made before weights are looked at.
const MOST_LAYERS: usize = 1 << 16;

fn sliding_window(family: Family, value: &Value) -> Result<Option<usize>, ModelError> {
    let window = read_size(value, "sliding_window")?;
    let absent = value.get("sliding_window").is_none();
    Ok(match family {
        Family::Llama => None,
        Family::Mistral | Family::Gemma2 | Family::Gemma3 if absent => Some(4096),
        Family::Mistral | Family::Gemma2 | Family::Gemma3 => window,
        Family::Qwen2 | Family::Qwen3 | Family::Smollm3 => {
            let used = read_bool(value, "use_sliding_window")?.unwrap_or(false);
            let default = if family == Family::Smollm3 { None } else { Some(4096) };
            if used { if absent { default } else { window } } else { None }
        }
    })
}

fn sliding_layers(
    family: Family,
    value: &Value,
    layers: usize,
    window: Option<usize>,
    rotary_layers: &[bool],
) -> Result<Vec<bool>, ModelError> {
    if window.is_none() || family == Family::Llama {
        return Ok(vec![false; layers]);
    }
    // Mistral's layers are alike in transformers, whatever the key says.
    let kinds = value.get("layer_types").filter(|kinds| !kinds.is_null() && family != Family::Mistral);
    if let Some(kinds) = kinds {
        let names: Vec<&str> = kinds.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let known = |name: &&str| matches!(*name, "sliding_attention" | "full_attention");
        if names.len() != layers || !names.iter().all(known) {
            return Err(ModelError::Configuration(format!(
                "layer_types is not a list of {layers} times \"full_attention\" or \"sliding_attention\""
            )));
        }
        return Ok(names.iter().map(|name| *name == "sliding_attention").collect());
    }
    let pattern = read_size(value, "sliding_window_pattern")?.unwrap_or(6).max(1);
    let first = read_size(value, "max_window_layers")?.unwrap_or(28);
    Ok((0..layers)
        .map(|layer| match family {
            Family::Llama => false,
            Family::Mistral => true,
            Family::Qwen2 | Family::Qwen3 => layer >= first,
            Family::Smollm3 => !rotary_layers[layer],
            Family::Gemma2 => layer.is_multiple_of(2),
            Family::Gemma3 => !(layer + 1).is_multiple_of(pattern),
        })
        .collect())
}
