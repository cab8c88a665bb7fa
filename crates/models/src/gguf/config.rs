//! Configurations in and out of GGUF metadata.

use crate::error::ModelError;
use crate::gpt::GptConfig;
use crate::llama::{Family, LlamaConfig, Rope, Scaling};
use loam_gguf::{Gguf, Value};

/// What a file's metadata ask for.
pub(super) enum Configuration {
    Gpt(GptConfig),
    Llama(Box<LlamaConfig>),
}

impl Configuration {
    pub(super) fn parameters(&self) -> Option<u64> {
        match self {
            Self::Gpt(config) => config.parameters(),
            Self::Llama(config) => config.parameters(),
        }
    }
}

/// Architectures, and the family that each is read as.
const ARCHITECTURES: [(&str, Family); 6] = [
    ("llama", Family::Llama),
    ("qwen2", Family::Qwen2),
    ("qwen3", Family::Qwen3),
    ("smollm3", Family::Smollm3),
    ("gemma2", Family::Gemma2),
    ("gemma3", Family::Gemma3),
];

/// Every how many layers SmolLM 3 has one without positions, and Gemma 3 one that sees everything: llama.cpp has no key
/// for either.
const SMOLLM3_INTERVAL: usize = 4;
const GEMMA3_INTERVAL: usize = 6;

struct Metadata<'a> {
    file: &'a Gguf,
    architecture: &'a str,
}

impl Metadata<'_> {
    fn get(&self, key: &str) -> Option<&Value> {
        self.file.get(&format!("{}.{key}", self.architecture))
    }

    fn wrong(&self, key: &str, reason: &str) -> ModelError {
        self.file.wrong(format!("{}.{key} {reason}", self.architecture)).into()
    }

    fn size(&self, key: &str) -> Result<Option<usize>, ModelError> {
        let read = |value: &Value| value.as_u64().and_then(|size| usize::try_from(size).ok());
        self.get(key).map(|value| read(value).ok_or_else(|| self.wrong(key, "is not a whole number"))).transpose()
    }

    fn required(&self, key: &str) -> Result<usize, ModelError> {
        self.size(key)?.ok_or_else(|| self.wrong(key, "is missing"))
    }

    /// A number; f32 numbers as they would be written in decimals.
    fn number(&self, key: &str) -> Result<Option<f64>, ModelError> {
        let read = |value: &Value| match value {
            Value::F32(x) => x.to_string().parse().ok(),
            _ => value.as_f64(),
        };
        self.get(key).map(|value| read(value).ok_or_else(|| self.wrong(key, "is not a number"))).transpose()
    }
}

/// The configuration in a file's metadata.
pub(super) fn read(file: &Gguf) -> Result<Configuration, ModelError> {
    let architecture = file.get("general.architecture").and_then(Value::as_str);
    let architecture = architecture.ok_or_else(|| file.wrong("general.architecture is missing"))?;
    let metadata = Metadata { file, architecture };
    if architecture == "gpt2" {
        return gpt(&metadata).map(Configuration::Gpt);
    }
    let Some((_, family)) = ARCHITECTURES.into_iter().find(|(name, _)| *name == architecture) else {
        let known = ARCHITECTURES.map(|(name, _)| name).join(", ");
        return Err(file.wrong(format!("holds a {architecture:?}; gpt2, {known} are read here")).into());
    };
    let config = llama(&metadata, family)?;
    config.check().map_err(|error| file.wrong(error.to_string()))?;
    Ok(Configuration::Llama(Box::new(config)))
}

/// Number of rows of the table of tokens.
fn vocabulary(file: &Gguf) -> Result<usize, ModelError> {
    let table = file.tensor("token_embd.weight").ok_or_else(|| file.wrong("lacks the tensor token_embd.weight"))?;
    Ok(table.shape.first().copied().unwrap_or(0))
}

fn gpt(metadata: &Metadata) -> Result<GptConfig, ModelError> {
    let mut config = GptConfig::new(
        vocabulary(metadata.file)?,
        metadata.required("context_length")?,
        metadata.required("embedding_length")?,
        metadata.required("block_count")?,
        metadata.required("attention.head_count")?,
        0.0,
    );
    config.n_inner = metadata.size("feed_forward_length")?.filter(|inner| Some(*inner) != config.n_embd.checked_mul(4));
    if let Some(epsilon) = metadata.number("attention.layer_norm_epsilon")? {
        config.layer_norm_epsilon = epsilon;
    }
    // Files of tied outputs hold the table twice. Where the two differ, also by how they are quantized, the output counts.
    let file = metadata.file;
    let same = |output| file.tensor("token_embd.weight").is_some_and(|table| file.values(table) == file.values(output));
    config.tie_word_embeddings = file.tensor("output.weight").is_none_or(same);
    Ok(config)
}

fn llama(metadata: &Metadata, family: Family) -> Result<LlamaConfig, ModelError> {
    let file = metadata.file;
    let (width, layers) = (metadata.required("embedding_length")?, metadata.required("block_count")?);
    let heads = metadata.required("attention.head_count")?;
    if layers == 0 || layers > 1 << 16 || heads == 0 {
        return Err(file.wrong(format!("asks for {layers} layers of {heads} heads")).into());
    }
    let head_dim = metadata.size("attention.key_length")?.unwrap_or(width / heads);
    if metadata.size("attention.value_length")?.is_some_and(|values| values != head_dim) {
        return Err(metadata.wrong("attention.value_length", "differs from attention.key_length"));
    }
    if metadata.size("rope.dimension_count")?.is_some_and(|turning| turning != head_dim) {
        return Err(metadata.wrong("rope.dimension_count", "is not the width of a head: partial rotary positions"));
    }
    if metadata.size("expert_count")?.unwrap_or(0) > 0 {
        return Err(metadata.wrong("expert_count", "is not 0: mixtures of experts are not read here"));
    }
    let context = metadata.required("context_length")?;
    let bias = |name: &str| file.tensor(&format!("blk.0.{name}.bias")).is_some();
    let gemma = family.is_gemma();
    let sliding_window = metadata.size("attention.sliding_window")?.filter(|window| gemma && *window > 0);
    let mut tokens = serde_json::Map::new();
    for (theirs, ours) in
        [("bos_token_id", "bos_token_id"), ("eos_token_id", "eos_token_id"), ("padding_token_id", "pad_token_id")]
    {
        if let Some(id) = file.get(&format!("tokenizer.ggml.{theirs}")).and_then(Value::as_u64) {
            tokens.insert(ours.to_owned(), id.into());
        }
    }
    let base = LlamaConfig::new(vocabulary(file)?, context, width, layers, heads, 0.0);
    Ok(LlamaConfig {
        family,
        intermediate_size: metadata.required("feed_forward_length")?,
        num_key_value_heads: metadata.size("attention.head_count_kv")?.unwrap_or(heads),
        head_dim,
        hidden_act: if gemma { "gelu_pytorch_tanh" } else { "silu" }.to_owned(),
        rms_norm_eps: metadata.number("attention.layer_norm_rms_epsilon")?.unwrap_or(1e-6),
        tie_word_embeddings: file.tensor("output.weight").is_none(),
        attention_bias: bias("attn_q"),
        mlp_bias: bias("ffn_gate"),
        rope: rope(metadata, family, context)?,
        local_rope: (family == Family::Gemma3).then(|| Rope::plain(10_000.0)),
        sliding_window,
        sliding_layers: (0..layers).map(|layer| sliding_window.is_some() && slides(family, layer)).collect(),
        rotary_layers: (1..=layers)
            .map(|layer| family != Family::Smollm3 || !layer.is_multiple_of(SMOLLM3_INTERVAL))
            .collect(),
        query_pre_attn_scalar: gemma.then(|| scalar(family, width, layers, heads, head_dim)),
        attn_logit_softcapping: metadata.number("attn_logit_softcapping")?.filter(|_| family == Family::Gemma2),
        final_logit_softcapping: metadata.number("final_logit_softcapping")?.filter(|_| gemma),
        tokens,
        ..base
    })
}

/// What scores are divided by the root of: the largest of each Gemma differs, which llama.cpp knows by its layers.
fn scalar(family: Family, width: usize, layers: usize, heads: usize, head_dim: usize) -> f64 {
    let largest = if family == Family::Gemma2 { 46 } else { 62 };
    if layers == largest { (width / heads) as f64 } else { head_dim as f64 }
}

fn slides(family: Family, layer: usize) -> bool {
    match family {
        Family::Gemma2 => layer.is_multiple_of(2),
        _ => !(layer + 1).is_multiple_of(GEMMA3_INTERVAL),
    }
}

fn rope(metadata: &Metadata, family: Family, context: usize) -> Result<Rope, ModelError> {
    let otherwise = if family == Family::Gemma3 { 1_000_000.0 } else { 10_000.0 };
    let theta = metadata.number("rope.freq_base")?.unwrap_or(otherwise);
    if let Some(tensor) = metadata.file.tensor("rope_freqs.weight") {
        return Ok(Rope { theta, scaling: divisors(metadata.file.values(tensor), theta) });
    }
    let factor = metadata.number("rope.scaling.factor")?;
    let factor = match factor {
        Some(factor) => Some(factor),
        None => metadata.number("rope.scale_linear")?,
    };
    let kind = metadata.get("rope.scaling.type").and_then(Value::as_str);
    let scaling = match (kind, factor) {
        (None | Some("none"), None) | (Some("none"), _) | (_, Some(1.0)) => Scaling::None,
        (None | Some("linear"), Some(factor)) => Scaling::Linear { factor },
        (Some("yarn"), Some(factor)) => {
            let number = |key: &str, otherwise: f64| metadata.number(key).map(|found| found.unwrap_or(otherwise));
            Scaling::Yarn {
                factor,
                original: number("rope.scaling.original_context_length", context as f64)?,
                beta_fast: number("rope.scaling.yarn_beta_fast", 32.0)?,
                beta_slow: number("rope.scaling.yarn_beta_slow", 1.0)?,
                // llama.cpp grows it by the factor itself.
                attention_factor: number("rope.scaling.attn_factor", 1.0)? * (0.1 * factor.ln() + 1.0),
                truncate: true,
            }
        }
        (Some(kind), _) => {
            let reason = format!("is {kind:?}; linear and yarn with a factor are read here");
            return Err(metadata.wrong("rope.scaling.type", &reason));
        }
    };
    Ok(Rope { theta, scaling })
}

/// Llama 3's scaling where these are its divisors, which have a name in `config.json`; the divisors themselves elsewhere.
fn divisors(found: Vec<f32>, theta: f64) -> Scaling {
    let factor = found.iter().fold(1.0_f32, |largest, x| largest.max(*x));
    let scaling =
        Scaling::Llama3 { factor: f64::from(factor), low_freq_factor: 1.0, high_freq_factor: 4.0, original: 8192.0 };
    let rope = Rope { theta, scaling };
    if factor > 1.0 && rope.check().is_ok() {
        let same = |(a, b): (&f32, f32)| (a - b).abs() <= 1e-4 * b;
        if found.iter().zip(rope.divisors(2 * found.len())).all(same) {
            return rope.scaling;
        }
    }
    Scaling::Divisors(found)
}

fn size(x: usize) -> Value {
    Value::U32(u32::try_from(x).expect("a size that was checked"))
}

/// The metadata of a GPT-2.
pub(super) fn of_gpt(config: &GptConfig) -> Result<Vec<(String, Value)>, ModelError> {
    if !config.is_plain() {
        let reason = "GGUF has no place for a GPT-2 of another activation or scale of attention than the paper's";
        return Err(ModelError::Request(reason.into()));
    }
    let mut metadata = vec![("general.architecture".to_owned(), Value::String("gpt2".into()))];
    let mut put = |key: &str, value| metadata.push((format!("gpt2.{key}"), value));
    put("context_length", size(config.n_positions));
    put("embedding_length", size(config.n_embd));
    put("block_count", size(config.n_layer));
    put("feed_forward_length", size(config.inner()));
    put("attention.head_count", size(config.n_head));
    put("attention.layer_norm_epsilon", Value::F32(config.layer_norm_epsilon as f32));
    Ok(metadata)
}

/// The metadata of one of the llama family.
pub(super) fn of_llama(config: &LlamaConfig) -> Result<Vec<(String, Value)>, ModelError> {
    let no = |what: &str| Err(ModelError::Request(format!("GGUF has no place for {what}")));
    let family = if config.family == Family::Mistral { Family::Llama } else { config.family };
    let (architecture, _) =
        ARCHITECTURES.into_iter().find(|(_, other)| *other == family).expect("every family has an architecture");
    let mut metadata = vec![("general.architecture".to_owned(), Value::String(architecture.into()))];
    let mut put = |key: &str, value| metadata.push((format!("{architecture}.{key}"), value));
    let window = config.sliding_window.filter(|_| config.sliding_layers.contains(&true));
    let mut context = config.max_position_embeddings;
    if !family.is_gemma()
        && let Some(window) = window
    {
        // Within the window it makes no difference.
        context = context.min(window);
    } else if let Some(window) = window {
        let expected = |(layer, slides_here): (usize, &bool)| *slides_here == slides(family, layer);
        if !config.sliding_layers.iter().enumerate().all(expected) {
            return no("this order of sliding layers");
        }
        put("attention.sliding_window", size(window));
    }
    let rotary = |(layer, turns): (usize, &bool)| {
        *turns != (family == Family::Smollm3 && (layer + 1).is_multiple_of(SMOLLM3_INTERVAL))
    };
    if !config.rotary_layers.iter().enumerate().all(rotary) {
        return no("this order of layers without positions");
    }
    let (width, layers, heads) = (config.hidden_size, config.num_hidden_layers, config.num_attention_heads);
    if config.query_pre_attn_scalar.is_some_and(|found| found != scalar(family, width, layers, heads, config.head_dim))
    {
        return no("query_pre_attn_scalar");
    }
    if config.local_rope.as_ref().is_some_and(|rope| *rope != Rope::plain(10_000.0)) {
        return no("rotary positions of sliding layers other than those of base 10000");
    }
    let act = if family.is_gemma() { "gelu_pytorch_tanh" } else { "silu" };
    if config.hidden_act != act {
        return no(&format!("hidden_act = {:?} in a {architecture}", config.hidden_act));
    }
    put("context_length", size(context));
    put("embedding_length", size(width));
    put("block_count", size(layers));
    put("feed_forward_length", size(config.intermediate_size));
    put("vocab_size", size(config.vocab_size));
    put("attention.head_count", size(heads));
    put("attention.head_count_kv", size(config.num_key_value_heads));
    put("attention.key_length", size(config.head_dim));
    put("attention.value_length", size(config.head_dim));
    put("attention.layer_norm_rms_epsilon", Value::F32(config.rms_norm_eps as f32));
    put("rope.dimension_count", size(config.head_dim));
    put("rope.freq_base", Value::F32(config.rope.theta as f32));
    let text = |text: &str| Value::String(text.to_owned());
    match &config.rope.scaling {
        // The divisors of the last two are a tensor.
        Scaling::None | Scaling::Dynamic { .. } | Scaling::Llama3 { .. } | Scaling::Divisors(_) => {}
        Scaling::Linear { factor } => {
            put("rope.scaling.type", text("linear"));
            put("rope.scaling.factor", Value::F32(*factor as f32));
        }
        Scaling::Yarn { factor, original, beta_fast, beta_slow, attention_factor, .. } => {
            put("rope.scaling.type", text("yarn"));
            put("rope.scaling.factor", Value::F32(*factor as f32));
            put("rope.scaling.original_context_length", Value::U32(*original as u32));
            put("rope.scaling.yarn_beta_fast", Value::F32(*beta_fast as f32));
            put("rope.scaling.yarn_beta_slow", Value::F32(*beta_slow as f32));
            put("rope.scaling.attn_factor", Value::F32((attention_factor / (0.1 * factor.ln() + 1.0)) as f32));
        }
    }
    for (key, cap) in [
        ("attn_logit_softcapping", config.attn_logit_softcapping.filter(|_| family == Family::Gemma2)),
        ("final_logit_softcapping", config.final_logit_softcapping),
    ] {
        if let Some(cap) = cap {
            put(key, Value::F32(cap as f32));
        }
    }
    Ok(metadata)
}
