//! `config.json` of BERT and of its near relations.

use super::layout::Family;
use crate::causal::Shape;
use crate::configuration::{activation, check_heads, check_positive, check_probabilities, check_sizes, check_token};
use crate::error::ModelError;
use loam_nn::Activation;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// What a BERT is. Keys are those of Hugging Face's `BertConfig`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BertConfig {
    /// Whose layout and positions.
    #[serde(rename = "model_type")]
    pub family: Family,
    /// Number of token ids.
    pub vocab_size: usize,
    /// Width of the hidden states.
    pub hidden_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Attention heads a layer.
    pub num_attention_heads: usize,
    /// Width inside the feed-forward.
    pub intermediate_size: usize,
    /// Activation of the feed-forward and of the head: `gelu`, `gelu_new`, `relu`, `silu`, `tanh`, `sigmoid`.
    #[serde(default = "gelu")]
    pub hidden_act: String,
    /// Rows of the table of positions. RoBERTa leaves the rows up to its padding id unused.
    pub max_position_embeddings: usize,
    /// Number of token types; 0 of DistilBERT, which has none.
    #[serde(default = "two")]
    pub type_vocab_size: usize,
    /// Added to variances.
    #[serde(default = "layer_norm_eps")]
    pub layer_norm_eps: f64,
    /// Dropout of the embeddings and after each projection into the hidden states.
    #[serde(default = "tenth")]
    pub hidden_dropout_prob: f64,
    /// Dropout of attention probabilities.
    #[serde(default = "tenth")]
    pub attention_probs_dropout_prob: f64,
    /// Dropout before the output of heads over texts and tokens; where it is left open, that of the hidden states, and a
    /// fifth before DistilBERT's over texts.
    #[serde(default)]
    pub classifier_dropout: Option<f64>,
    /// Dropout before DistilBERT's head over spans; a tenth where it is left open. The others have none there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qa_dropout: Option<f64>,
    /// The id that fills short sequences.
    #[serde(default)]
    pub pad_token_id: Option<usize>,
    /// Standard deviation of initial weights.
    #[serde(default = "initializer_range")]
    pub initializer_range: f64,
}

fn gelu() -> String {
    "gelu".to_owned()
}

fn two() -> usize {
    2
}

fn layer_norm_eps() -> f64 {
    1e-12
}

fn tenth() -> f64 {
    0.1
}

fn initializer_range() -> f64 {
    0.02
}

/// DistilBERT's keys beside BERT's.
const DISTILBERT_KEYS: [(&str, &str); 8] = [
    ("dim", "hidden_size"),
    ("n_layers", "num_hidden_layers"),
    ("n_heads", "num_attention_heads"),
    ("hidden_dim", "intermediate_size"),
    ("activation", "hidden_act"),
    ("dropout", "hidden_dropout_prob"),
    ("attention_dropout", "attention_probs_dropout_prob"),
    ("seq_classif_dropout", "classifier_dropout"),
];

impl BertConfig {
    /// A BERT with the constants of Devlin et al. 2019 and a feed-forward four times as wide as its hidden states.
    pub fn new(vocabulary: usize, context: usize, width: usize, layers: usize, heads: usize, dropout: f64) -> Self {
        Self {
            family: Family::Bert,
            vocab_size: vocabulary,
            hidden_size: width,
            num_hidden_layers: layers,
            num_attention_heads: heads,
            intermediate_size: 4 * width,
            hidden_act: gelu(),
            max_position_embeddings: context,
            type_vocab_size: 2,
            layer_norm_eps: layer_norm_eps(),
            hidden_dropout_prob: dropout,
            attention_probs_dropout_prob: dropout,
            classifier_dropout: None,
            qa_dropout: None,
            pad_token_id: Some(0),
            initializer_range: initializer_range(),
        }
    }

    /// What it is, for records.
    pub fn shape(&self) -> Shape {
        Shape {
            family: self.family.name(),
            width: self.hidden_size,
            layers: self.num_hidden_layers,
            heads: self.num_attention_heads,
            context: self.context(),
        }
    }

    /// The configuration that a `config.json` holds, whichever of the families it is.
    pub(super) fn from_json(mut value: Value) -> Result<Self, serde_json::Error> {
        if value.get("model_type").and_then(Value::as_str) == Some(Family::DistilBert.name())
            && let Some(fields) = value.as_object_mut()
        {
            for (theirs, ours) in DISTILBERT_KEYS {
                if let Some(value) = fields.remove(theirs) {
                    fields.insert(ours.to_owned(), value);
                }
            }
            fields.insert("type_vocab_size".into(), json!(0));
            fields.insert("layer_norm_eps".into(), json!(layer_norm_eps()));
        }
        serde_json::from_value(value)
    }

    /// What `config.json` holds, under the family's own keys.
    pub(super) fn to_json(&self) -> Map<String, Value> {
        let Value::Object(mut fields) = serde_json::to_value(self).expect("a configuration is JSON") else {
            unreachable!("a configuration is an object")
        };
        if self.family == Family::DistilBert {
            for (theirs, ours) in DISTILBERT_KEYS {
                // Transformers would take a null for a probability.
                if let Some(value) = fields.remove(ours).filter(|value| !value.is_null()) {
                    fields.insert(theirs.to_owned(), value);
                }
            }
            fields.remove("type_vocab_size");
            fields.remove("layer_norm_eps");
        }
        fields
    }

    /// The row of the table of positions at which a sequence begins: RoBERTa's begin after the padding id.
    pub(super) fn first_position(&self) -> usize {
        if self.family.is_roberta() { self.pad_token_id.unwrap_or(1) + 1 } else { 0 }
    }

    /// Dropout before the output of a head over texts.
    pub(super) fn text_dropout(&self) -> f64 {
        let usual = if self.family == Family::DistilBert { 0.2 } else { self.hidden_dropout_prob };
        self.classifier_dropout.unwrap_or(usual)
    }

    /// Dropout before the output of a head over tokens: DistilBERT's is that of the hidden states always.
    pub(super) fn token_dropout(&self) -> f64 {
        let own = self.classifier_dropout.filter(|_| self.family != Family::DistilBert);
        own.unwrap_or(self.hidden_dropout_prob)
    }

    /// Dropout before the output of a head over spans.
    pub(super) fn span_dropout(&self) -> f64 {
        if self.family == Family::DistilBert { self.qa_dropout.unwrap_or(0.1) } else { 0.0 }
    }

    /// Longest sequence, in tokens.
    pub fn context(&self) -> usize {
        self.max_position_embeddings.saturating_sub(self.first_position())
    }

    /// The activation inside the feed-forward.
    pub(super) fn activation(&self) -> Activation {
        activation("hidden_act", &self.hidden_act).expect("a configuration that was checked")
    }

    /// Number of parameters of embeddings and layers; none where it would not fit 64 bits.
    pub fn parameters(&self) -> Option<u64> {
        let [vocabulary, positions, types, width, layers, inner] = [
            self.vocab_size,
            self.max_position_embeddings,
            self.type_vocab_size,
            self.hidden_size,
            self.num_hidden_layers,
            self.intermediate_size,
        ]
        .map(|size| size as u64);
        let square = width.checked_mul(width)?.checked_mul(4)?;
        let feed_forward = width.checked_mul(inner)?.checked_mul(2)?;
        let vectors = width.checked_mul(9)?.checked_add(inner)?;
        let layer = square.checked_add(feed_forward)?.checked_add(vectors)?;
        let rows = vocabulary.checked_add(positions)?.checked_add(types)?.checked_add(2)?;
        layer.checked_mul(layers)?.checked_add(rows.checked_mul(width)?)
    }

    /// Number of parameters of the head over masked words.
    pub fn head_parameters(&self) -> Option<u64> {
        let (width, vocabulary) = (self.hidden_size as u64, self.vocab_size as u64);
        width.checked_add(3)?.checked_mul(width)?.checked_add(vocabulary)
    }

    pub(super) fn check(&self) -> Result<(), ModelError> {
        check_sizes(&[
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
        ])?;
        if self.family != Family::DistilBert {
            check_sizes(&[("type_vocab_size", self.type_vocab_size)])?;
        }
        check_heads(("hidden_size", self.hidden_size), ("num_attention_heads", self.num_attention_heads))?;
        activation("hidden_act", &self.hidden_act)?;
        check_probabilities(&[
            ("hidden_dropout_prob", self.hidden_dropout_prob),
            ("attention_probs_dropout_prob", self.attention_probs_dropout_prob),
            ("classifier_dropout", self.classifier_dropout.unwrap_or(0.0)),
            ("qa_dropout", self.qa_dropout.unwrap_or(0.0)),
        ])?;
        check_positive(&[("layer_norm_eps", self.layer_norm_eps), ("initializer_range", self.initializer_range)])?;
        check_token("pad_token_id", self.pad_token_id, self.vocab_size)?;
        if self.context() == 0 {
            return Err(ModelError::Configuration(format!(
                "max_position_embeddings = {} leaves no position after pad_token_id = {}",
                self.max_position_embeddings,
                self.first_position() - 1
            )));
        }
        Ok(())
    }
}
