//! What a model says of documents. The corpus knows no models: whoever runs a pipeline brings what opens them.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::CorpusError;

use super::label::check_fasttext;

/// What is measured of a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ScoreMeasure {
    /// The perplexity under a language model: e to the mean of nats a token.
    Perplexity,
    /// Bits a byte under a language model, which models of other vocabularies can be compared by.
    BitsPerByte,
    /// The probability that a classifier gives this label.
    Label(String),
}

impl fmt::Display for ScoreMeasure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Perplexity => formatter.write_str("perplexity"),
            Self::BitsPerByte => formatter.write_str("bits_per_byte"),
            Self::Label(label) => write!(formatter, "label:{label}"),
        }
    }
}

impl FromStr for ScoreMeasure {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "perplexity" => Ok(Self::Perplexity),
            "bits_per_byte" => Ok(Self::BitsPerByte),
            _ => match text.strip_prefix("label:") {
                Some(label) if !label.is_empty() => Ok(Self::Label(label.to_owned())),
                _ => Err(format!("measure = \"{text}\": expected perplexity, bits_per_byte, or label:NAME")),
            },
        }
    }
}

impl TryFrom<String> for ScoreMeasure {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ScoreMeasure> for String {
    fn from(measure: ScoreMeasure) -> Self {
        measure.to_string()
    }
}

/// A score, and the documents that stay by it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScorePlan {
    /// A model's folder, that of a run, a file, or `hf:org/name`; or a model of fastText, of which labels are measured.
    pub model: PathBuf,
    /// What is measured.
    pub measure: ScoreMeasure,
    /// What the score is called in `documents.scores`, and the rule that a document goes by; the measure by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The lowest score that stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least: Option<f64>,
    /// The highest score that stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most: Option<f64>,
    /// Tokens of a document that are looked at, from its beginning: 1024 by default, and of models of fastText all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<usize>,
}

/// Tokens that are looked at where nobody says how many.
const TOKENS: usize = 1024;

impl ScorePlan {
    /// What records call it.
    pub fn called(&self) -> String {
        self.name.clone().unwrap_or_else(|| match &self.measure {
            ScoreMeasure::Label(label) => label.clone(),
            other => other.to_string(),
        })
    }

    /// Tokens of a document that a network looks at.
    pub fn tokens(&self) -> usize {
        self.tokens.unwrap_or(TOKENS)
    }

    pub(super) fn check(&self) -> Result<(), CorpusError> {
        let wrong = |message: String, hint: &str| Err(CorpusError::invalid(message, hint));
        if self.tokens == Some(0) {
            return wrong("a score of 0 tokens".to_owned(), "tokens = 1024 is usual");
        }
        for limit in [self.least, self.most].into_iter().flatten() {
            if !limit.is_finite() {
                return wrong(format!("{}: a limit of {limit}", self.called()), "limits are numbers");
            }
        }
        if self.least.zip(self.most).is_some_and(|(least, most)| least > most) {
            return wrong(format!("{}: least is above most", self.called()), "nothing would stay");
        }
        check_fasttext(self)
    }

    /// Why a document goes by its score, if it does.
    pub(super) fn verdict(&self, score: f64) -> Option<String> {
        if let Some(least) = self.least.filter(|least| score < *least) {
            return Some(format!("{score:.4} where the least is {least}"));
        }
        self.most.filter(|most| score > *most).map(|most| format!("{score:.4} where the most is {most}"))
    }
}

/// Tells the score of texts.
pub trait TextScorer: Send + Sync {
    /// The score of a text; none of one that the model has nothing to say of.
    fn score(&self, text: &str) -> Option<f64>;
}

/// Opens what a [`ScorePlan`] names.
pub type OpenScorer<'a> = dyn Fn(&ScorePlan) -> Result<Box<dyn TextScorer>, CorpusError> + Sync + 'a;

/// Opens nothing: for pipelines without scores.
pub fn no_scorers(plan: &ScorePlan) -> Result<Box<dyn TextScorer>, CorpusError> {
    Err(CorpusError::invalid(
        format!("the step score by {} needs models, and nothing here opens them", plan.model.display()),
        "run it with loam data prepare",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_and_limits() {
        for name in ["perplexity", "bits_per_byte", "label:good prose"] {
            assert_eq!(name.parse::<ScoreMeasure>().unwrap().to_string(), name);
        }
        assert!("label:".parse::<ScoreMeasure>().is_err() && "loss".parse::<ScoreMeasure>().is_err());
        let plan: ScorePlan =
            toml_like(r#"{"model": "m", "measure": "perplexity", "least": 5, "most": 100.0}"#).unwrap();
        assert_eq!((plan.called().as_str(), plan.tokens()), ("perplexity", TOKENS));
        assert!(plan.check().is_ok() && plan.verdict(5.0).is_none() && plan.verdict(100.0).is_none());
        assert_eq!(plan.verdict(4.5).unwrap(), "4.5000 where the least is 5");
        assert_eq!(plan.verdict(1e3).unwrap(), "1000.0000 where the most is 100");
        let plan: ScorePlan = toml_like(r#"{"model": "m", "measure": "label:x", "least": 0.9, "most": 0.1}"#).unwrap();
        assert!(plan.check().is_err());
        assert!(toml_like(r#"{"model": "m", "measure": "loss"}"#).is_err());
    }

    fn toml_like(json: &str) -> Result<ScorePlan, serde_json::Error> {
        serde_json::from_str(json)
    }
}
