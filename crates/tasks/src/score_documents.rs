//! Models as measures of documents, for the steps of a pipeline that score.

use crate::classify::TextClassifier;
use crate::language_model::{LoadedModel, TaskError};
use burn::tensor::Device;
use loam_corpus::CorpusError;
use loam_corpus::pipeline::{ScoreMeasure, ScorePlan, TextScorer};

/// Opens the model of a step that scores.
///
/// # Errors
/// Where the model cannot be opened, or a classifier has no such label.
pub fn open_scorer(plan: &ScorePlan, device: &Device) -> Result<Box<dyn TextScorer>, CorpusError> {
    let failed = |error: TaskError| {
        CorpusError::invalid(
            format!("the step score cannot open {}: {error}", plan.model.display()),
            "model is a folder, that of a run, or hf:org/name",
        )
    };
    match &plan.measure {
        ScoreMeasure::Label(label) => {
            let classifier = TextClassifier::open(&plan.model, device).map_err(failed)?;
            let names = classifier.labels();
            let Some(number) = names.iter().position(|name| name == label) else {
                return Err(CorpusError::invalid(
                    format!("{} has no label \"{label}\"", plan.model.display()),
                    format!("there are {}", names.join(", ")),
                ));
            };
            Ok(Box::new(LabelScorer { classifier, number, tokens: plan.tokens() }))
        }
        measure @ (ScoreMeasure::Perplexity | ScoreMeasure::BitsPerByte) => {
            let model = LoadedModel::open(&plan.model, device).map_err(failed)?;
            Ok(Box::new(LikelihoodScorer {
                model,
                bits_per_byte: *measure == ScoreMeasure::BitsPerByte,
                tokens: plan.tokens(),
            }))
        }
    }
}

struct LabelScorer {
    classifier: TextClassifier,
    number: usize,
    tokens: usize,
}

impl TextScorer for LabelScorer {
    fn score(&self, text: &str) -> Option<f64> {
        let scores = self.classifier.scores(&[text], self.tokens);
        scores.first()?.get(self.number).map(|score| f64::from(*score))
    }
}

struct LikelihoodScorer {
    model: LoadedModel,
    bits_per_byte: bool,
    tokens: usize,
}

impl TextScorer for LikelihoodScorer {
    fn score(&self, text: &str) -> Option<f64> {
        let score = self.model.score_beginning(text, self.tokens).ok()?;
        if self.bits_per_byte { score.bits_per_byte } else { score.loss.map(f64::exp) }
    }
}
