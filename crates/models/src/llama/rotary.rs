//! Rotary positions of a model: base, scaling, and the table of angles.

use super::config::Family;
use crate::configuration::{check_positive, read_bool, read_number, read_text};
use crate::error::ModelError;
use burn::tensor::Tensor;
use loam_nn::attention::{Pairing, Positions, RotaryTable, frequencies, rotate};
use serde_json::{Map, Value, json};
use std::f64::consts::TAU;
use std::sync::{Arc, Mutex, PoisonError};

/// How a model that was trained on short sequences reads longer ones.
#[derive(Clone, Debug, PartialEq)]
pub enum Scaling {
    /// It does not.
    None,
    /// Positions are divided by a factor (Chen et al. 2023).
    Linear {
        /// The factor.
        factor: f64,
    },
    /// The base grows with sequences longer than `max_position_embeddings`, where Loam's contexts end: up to there
    /// nothing is scaled.
    Dynamic {
        /// The factor, kept for who reads further.
        factor: f64,
    },
    /// Llama 3.1: long waves are stretched, short ones are not.
    Llama3 {
        /// By how much long waves are stretched.
        factor: f64,
        /// Waves longer than the original context over this are stretched whole.
        low_freq_factor: f64,
        /// Waves shorter than the original context over this are left alone.
        high_freq_factor: f64,
        /// The original context, in tokens.
        original: f64,
    },
    /// YaRN (Peng et al. 2023).
    Yarn {
        /// By how much long waves are stretched.
        factor: f64,
        /// The original context, in tokens.
        original: f64,
        /// Turns in the original context from which on waves are left alone.
        beta_fast: f64,
        /// Turns below which waves are stretched whole.
        beta_slow: f64,
        /// What cosines and sines are multiplied by.
        attention_factor: f64,
        /// Whether the bounds between are whole channels.
        truncate: bool,
    },
    /// What every frequency is divided by, `[head_dim / 2]`, as GGUF files store Llama 3.1's.
    Divisors(Vec<f32>),
}

/// Rotary positions (Su et al. 2021).
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// The base of the frequencies.
    pub theta: f64,
    /// Their scaling.
    pub scaling: Scaling,
}

impl Rope {
    /// A base without scaling.
    pub fn plain(theta: f64) -> Self {
        Self { theta, scaling: Scaling::None }
    }

    /// What a `config.json` says, in the keys of transformers 5 (`rope_parameters`) or in the older ones (`rope_theta`,
    /// `rope_scaling`, `rope_local_base_freq`): that of the model, and that of Gemma 3's sliding layers.
    pub(super) fn of_model(family: Family, value: &Value, context: usize) -> Result<(Self, Option<Self>), ModelError> {
        let table = |value: Option<&Value>| match value {
            None | Some(Value::Null) => Ok(Map::new()),
            Some(Value::Object(fields)) => Ok(fields.clone()),
            Some(other) => Err(ModelError::Configuration(format!("rope_parameters = {other} is not an object"))),
        };
        let parameters = table(value.get("rope_parameters"))?;
        let scaling = table(value.get("rope_scaling"))?;
        let theta = read_number(value, "rope_theta")?.unwrap_or(family.base());
        let partial = read_number(value, "partial_rotary_factor")?;
        let nested = |key: &str| parameters.get(key).is_some_and(Value::is_object);
        let read = |fields: Map<String, Value>, theta| Self::read(&Value::Object(fields), theta, context, partial);
        let of = |key: &str| table(parameters.get(key));
        if family == Family::Gemma3 {
            let mut full = of("full_attention")?;
            full.extend(scaling);
            let local = read_number(value, "rope_local_base_freq")?.unwrap_or(10_000.0);
            return Ok((read(full, theta)?, Some(read(of("sliding_attention")?, local)?)));
        }
        if nested("full_attention") || nested("sliding_attention") {
            let (full, sliding) = (read(of("full_attention")?, theta)?, read(of("sliding_attention")?, theta)?);
            if nested("full_attention") && nested("sliding_attention") && full != sliding {
                let reason = format!("rope_parameters differ between layers, which {} does not know", family.name());
                return Err(ModelError::Configuration(reason));
            }
            return Ok((if nested("full_attention") { full } else { sliding }, None));
        }
        Ok((read(if scaling.is_empty() { parameters } else { scaling }, theta)?, None))
    }

    fn read(value: &Value, theta: f64, context: usize, partial: Option<f64>) -> Result<Self, ModelError> {
        let number = |key: &str| read_number(value, key);
        let required = |key: &str| {
            number(key)?.ok_or_else(|| ModelError::Configuration(format!("rope_parameters.{key} is missing")))
        };
        let otherwise = |key: &str, default: f64| number(key).map(|found| found.unwrap_or(default));
        if number("partial_rotary_factor")?.or(partial).is_some_and(|part| part != 1.0) {
            return Err(ModelError::Configuration("partial_rotary_factor other than 1 is not supported".into()));
        }
        let kind = match read_text(value, "rope_type")? {
            Some(kind) => kind,
            None => read_text(value, "type")?.unwrap_or_else(|| "default".to_owned()),
        };
        let original = otherwise("original_max_position_embeddings", context as f64)?;
        let scaling = match kind.as_str() {
            "default" => Scaling::None,
            "linear" => Scaling::Linear { factor: required("factor")? },
            "dynamic" => Scaling::Dynamic { factor: required("factor")? },
            "llama3" => Scaling::Llama3 {
                factor: required("factor")?,
                low_freq_factor: required("low_freq_factor")?,
                high_freq_factor: required("high_freq_factor")?,
                original,
            },
            "yarn" => {
                let factor = number("factor")?.unwrap_or(context as f64 / original);
                let grown = |scale: f64| if factor <= 1.0 { 1.0 } else { 0.1 * scale * factor.ln() + 1.0 };
                let attention_factor = match (number("attention_factor")?, number("mscale")?, number("mscale_all_dim")?)
                {
                    (Some(factor), ..) => factor,
                    (None, Some(scale), Some(all)) if scale != 0.0 && all != 0.0 => grown(scale) / grown(all),
                    _ => grown(1.0),
                };
                let turns = |key: &str, default| Ok(number(key)?.filter(|turns| *turns != 0.0).unwrap_or(default));
                Scaling::Yarn {
                    factor,
                    original,
                    beta_fast: turns("beta_fast", 32.0)?,
                    beta_slow: turns("beta_slow", 1.0)?,
                    attention_factor,
                    truncate: read_bool(value, "truncate")?.unwrap_or(true),
                }
            }
            _ => {
                return Err(ModelError::Configuration(format!(
                    "rope_type = {kind:?} is not supported; default, linear, dynamic, llama3 and yarn are"
                )));
            }
        };
        Ok(Self { theta: otherwise("rope_theta", theta)?, scaling })
    }

    /// `rope_scaling` as transformers writes it.
    pub(super) fn scaling_json(&self) -> Value {
        match &self.scaling {
            Scaling::None => Value::Null,
            Scaling::Linear { factor } => json!({ "rope_type": "linear", "factor": factor }),
            Scaling::Dynamic { factor } => json!({ "rope_type": "dynamic", "factor": factor }),
            Scaling::Llama3 { factor, low_freq_factor, high_freq_factor, original } => json!({
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": low_freq_factor,
                "high_freq_factor": high_freq_factor,
                "original_max_position_embeddings": *original as u64,
            }),
            Scaling::Yarn { factor, original, beta_fast, beta_slow, attention_factor, truncate } => json!({
                "rope_type": "yarn",
                "factor": factor,
                "original_max_position_embeddings": *original as u64,
                "beta_fast": beta_fast,
                "beta_slow": beta_slow,
                "attention_factor": attention_factor,
                "truncate": truncate,
            }),
            // Made into Llama 3's where they are read; others have no name in transformers.
            Scaling::Divisors(divisors) => json!({ "rope_type": "divisors", "divisors": divisors }),
        }
    }

    pub(super) fn check(&self) -> Result<(), ModelError> {
        check_positive(&[("rope_theta", self.theta)])?;
        match &self.scaling {
            Scaling::None => Ok(()),
            Scaling::Linear { factor } | Scaling::Dynamic { factor } => check_positive(&[("rope factor", *factor)]),
            Scaling::Llama3 { factor, low_freq_factor, high_freq_factor, original } => check_positive(&[
                ("rope factor", *factor),
                ("low_freq_factor", *low_freq_factor),
                ("high_freq_factor - low_freq_factor", high_freq_factor - low_freq_factor),
                ("original_max_position_embeddings", *original),
            ]),
            Scaling::Yarn { factor, original, beta_fast, beta_slow, attention_factor, .. } => check_positive(&[
                ("rope factor", *factor),
                ("original_max_position_embeddings", *original),
                ("beta_fast", *beta_fast),
                ("beta_slow", *beta_slow),
                ("attention_factor", *attention_factor),
            ]),
            Scaling::Divisors(divisors) => {
                divisors.iter().try_for_each(|divisor| check_positive(&[("rope divisor", f64::from(*divisor))]))
            }
        }
    }

    /// Frequencies of the pairs of a head, in radians a token.
    pub(super) fn frequencies(&self, head_dim: usize) -> Vec<f64> {
        let mut all = frequencies(self.theta, head_dim);
        match &self.scaling {
            Scaling::None | Scaling::Dynamic { .. } => {}
            Scaling::Linear { factor } => all.iter_mut().for_each(|frequency| *frequency /= factor),
            Scaling::Llama3 { factor, low_freq_factor, high_freq_factor, original } => {
                for frequency in &mut all {
                    let turns = original * *frequency / TAU;
                    // 0 where the wave is stretched whole, 1 where it is left alone.
                    let kept = ((turns - low_freq_factor) / (high_freq_factor - low_freq_factor)).clamp(0.0, 1.0);
                    *frequency *= (1.0 - kept) / factor + kept;
                }
            }
            Scaling::Yarn { factor, original, beta_fast, beta_slow, truncate, .. } => {
                let channel = |turns: f64| head_dim as f64 * (original / (turns * TAU)).ln() / (2.0 * self.theta.ln());
                let (low, high) = (channel(*beta_fast), channel(*beta_slow));
                let (low, high) = if *truncate { (low.floor(), high.ceil()) } else { (low, high) };
                let (low, high) = (low.max(0.0), high.min(head_dim as f64 - 1.0));
                let high = if low == high { high + 0.001 } else { high };
                for (pair, frequency) in all.iter_mut().enumerate() {
                    let stretched = ((pair as f64 - low) / (high - low)).clamp(0.0, 1.0);
                    *frequency *= stretched / factor + (1.0 - stretched);
                }
            }
            Scaling::Divisors(divisors) => {
                all.iter_mut().zip(divisors).for_each(|(frequency, divisor)| *frequency /= f64::from(*divisor));
            }
        }
        all
    }

    /// What the product of a query and a key is multiplied by.
    fn score_factor(&self) -> f32 {
        match self.scaling {
            Scaling::Yarn { attention_factor, .. } => (attention_factor * attention_factor) as f32,
            _ => 1.0,
        }
    }
}

/// Angles of positions as they are asked for; shared by a model's copies.
#[derive(Clone, Debug)]
pub(super) struct Rotary {
    frequencies: Arc<[f64]>,
    score_factor: f32,
    table: Arc<Mutex<Arc<RotaryTable>>>,
}

impl Rotary {
    pub(super) fn new(rope: &Rope, head_dim: usize) -> Self {
        let frequencies = rope.frequencies(head_dim);
        let table = Arc::new(Mutex::new(Arc::new(RotaryTable::new(0..0, &frequencies))));
        Self { frequencies: frequencies.into(), score_factor: rope.score_factor(), table }
    }

    /// The table of at least so many positions.
    fn table(&self, positions: usize) -> Arc<RotaryTable> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if table.positions().end < positions {
            *table = Arc::new(RotaryTable::new(0..positions.next_power_of_two(), &self.frequencies));
        }
        table.clone()
    }

    /// Queries or keys, `[batch, time, heads, head_dim]`, of which the first token stands at position `first`.
    pub(super) fn turn(&self, x: Tensor<4>, first: usize) -> Tensor<4> {
        let table = self.table(first + x.dims()[1]);
        rotate(x, table, Positions::From(first), Pairing::HalfSplit)
    }

    /// What scores are multiplied by beside their scale.
    pub(super) fn score_factor(&self) -> f32 {
        self.score_factor
    }
}
