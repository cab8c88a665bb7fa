//! What the families' files call the same parameters.

use serde::{Deserialize, Serialize};

/// A family of encoders that differ in names, positions, and token types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Devlin et al. 2019.
    Bert,
    /// Liu et al. 2019: positions begin after the padding id, and the head's activation is always GELU.
    Roberta,
    /// Conneau et al. 2020: RoBERTa over a hundred languages.
    #[serde(rename = "xlm-roberta")]
    XlmRoberta,
    /// Martin et al. 2020: RoBERTa over French.
    Camembert,
    /// Sanh et al. 2019: no token types, no pooler.
    DistilBert,
}

/// Our parts of a layer, and what BERT and RoBERTa, and DistilBERT call them.
const LAYER: [[&str; 3]; 8] = [
    ["attention.query", "attention.self.query", "attention.q_lin"],
    ["attention.key", "attention.self.key", "attention.k_lin"],
    ["attention.value", "attention.self.value", "attention.v_lin"],
    ["attention.output", "attention.output.dense", "attention.out_lin"],
    ["attention.norm", "attention.output.LayerNorm", "sa_layer_norm"],
    ["intermediate", "intermediate.dense", "ffn.lin1"],
    ["output", "output.dense", "ffn.lin2"],
    ["norm", "output.LayerNorm", "output_layer_norm"],
];

/// Our parts of heads, and what BERT, RoBERTa and DistilBERT call them; empty where there is none.
const HEADS: [[&str; 4]; 8] = [
    ["head.dense", "cls.predictions.transform.dense", "lm_head.dense", "vocab_transform"],
    ["head.norm", "cls.predictions.transform.LayerNorm", "lm_head.layer_norm", "vocab_layer_norm"],
    ["head", "cls.predictions", "lm_head", "vocab_projector"],
    ["next", "cls.seq_relationship", "", ""],
    ["sequence.dense", "", "classifier.dense", "pre_classifier"],
    ["sequence.output", "classifier", "classifier.out_proj", "classifier"],
    ["token", "classifier", "classifier", "classifier"],
    ["span", "qa_outputs", "qa_outputs", "qa_outputs"],
];

impl Family {
    /// Every family.
    pub const ALL: [Self; 5] = [Self::Bert, Self::Roberta, Self::XlmRoberta, Self::Camembert, Self::DistilBert];

    /// Its `model_type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bert => "bert",
            Self::Roberta => "roberta",
            Self::XlmRoberta => "xlm-roberta",
            Self::Camembert => "camembert",
            Self::DistilBert => "distilbert",
        }
    }

    /// Whether it is RoBERTa in all but its name.
    pub fn is_roberta(self) -> bool {
        matches!(self, Self::Roberta | Self::XlmRoberta | Self::Camembert)
    }

    /// What stands before the encoder's parameters in files.
    fn prefix(self) -> &'static str {
        if self.is_roberta() { Self::Roberta.name() } else { self.name() }
    }

    /// The first part of its classes' names in transformers.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Bert => "Bert",
            Self::Roberta => "Roberta",
            Self::XlmRoberta => "XLMRoberta",
            Self::Camembert => "Camembert",
            Self::DistilBert => "DistilBert",
        }
    }

    /// The name under which one of our parameters is written.
    pub fn stored(self, parameter: &str) -> String {
        self.names(parameter).swap_remove(0)
    }

    /// The names under which one of our parameters may be stored, the one to write first. Parameters of the encoder
    /// alone are written without the family's prefix, as transformers' base models are.
    pub(super) fn names(self, parameter: &str) -> Vec<String> {
        let parameter = parameter.strip_prefix("masked.").unwrap_or(parameter);
        let (below_head, ours) = match parameter.strip_prefix("bert.") {
            Some(rest) => (true, rest),
            None => (false, parameter),
        };
        let (part, kind) = ours.rsplit_once('.').unwrap_or((ours, ""));
        let stored = format!("{}.{kind}", self.part(part));
        let mut names;
        if HEADS.iter().any(|row| row[0] == part) {
            names = vec![stored];
            // The tied output's bias has a copy under the name of the layer that it belongs to.
            match self {
                Self::Bert if ours == "head.bias" => names.push("cls.predictions.decoder.bias".to_owned()),
                Self::DistilBert => {}
                _ if ours == "head.bias" => names.push("lm_head.decoder.bias".to_owned()),
                _ => {}
            }
        } else {
            let prefixed = format!("{}.{stored}", self.prefix());
            names = if below_head { vec![prefixed, stored] } else { vec![stored, prefixed] };
        }
        // What TensorFlow's first checkpoints call scale and shift.
        let old: Vec<String> = names
            .iter()
            .filter_map(|name| {
                let stem = |kind| name.strip_suffix(kind).filter(|stem| stem.ends_with("LayerNorm"));
                let gamma = stem(".weight").map(|stem| format!("{stem}.gamma"));
                gamma.or_else(|| stem(".bias").map(|stem| format!("{stem}.beta")))
            })
            .collect();
        names.extend(old);
        names
    }

    fn part(self, ours: &str) -> String {
        let column = if self == Self::DistilBert { 2 } else { 1 };
        if let Some((number, part)) = ours.strip_prefix("encoder.layer.").and_then(|rest| rest.split_once('.')) {
            let stack = if self == Self::DistilBert { "transformer" } else { "encoder" };
            let row = LAYER.iter().find(|row| row[0] == part).expect("a part of a layer");
            return format!("{stack}.layer.{number}.{}", row[column]);
        }
        if let Some(row) = HEADS.iter().find(|row| row[0] == ours) {
            let column = match self {
                Self::Bert => 1,
                Self::Roberta | Self::XlmRoberta | Self::Camembert => 2,
                Self::DistilBert => 3,
            };
            return row[column].to_owned();
        }
        match ours {
            "embeddings.norm" => "embeddings.LayerNorm".to_owned(),
            "pooler" => "pooler.dense".to_owned(),
            other => other.to_owned(),
        }
    }

    /// Whether a tensor of a file is a constant or a copy, which no module has.
    pub(super) fn is_copy(name: &str) -> bool {
        name.ends_with("embeddings.position_ids")
            || name.ends_with("embeddings.token_type_ids")
            || matches!(
                name,
                "cls.predictions.decoder.weight"
                    | "cls.predictions.decoder.bias"
                    | "lm_head.decoder.weight"
                    | "lm_head.decoder.bias"
                    | "vocab_projector.weight"
            )
    }

    /// Whether a tensor of a file belongs to what stands upon the encoder.
    pub(super) fn is_head(name: &str) -> bool {
        let heads = ["cls.", "lm_head.", "vocab_", "classifier.", "pre_classifier.", "qa_outputs."];
        heads.iter().any(|head| name.starts_with(head))
    }

    /// Whether a tensor of a file belongs to the pooler.
    pub(super) fn is_pooler(name: &str) -> bool {
        name.starts_with("pooler.") || name.contains(".pooler.")
    }
}
