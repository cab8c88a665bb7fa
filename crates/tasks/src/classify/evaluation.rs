//! How well a classifier does on examples that it has not seen.

use super::training::{Target, numbers, sets, single, target};
use super::{LabeledText, TextClassifier, chosen};
use crate::evaluation::{Compared, Evaluation, compared};
use crate::language_model::TaskError;
use crate::metrics::classification::{Confusion, LabelCounts, LabelSetCounts, Prediction, SetPrediction};
use crate::metrics::interval::{mcnemar_exact, sum};
use crate::metrics::ranking::{Calibration, Confidence, auc_of_draws};
use crate::metrics::{Average, Bootstrap, Comparison, Interval, PrecisionRecall, regression};
use loam_models::Problem;
use serde::Serialize;
use std::collections::BTreeMap;

/// What a model said of examples.
pub struct Answers {
    labels: loam_models::Labels,
    scores: Vec<Vec<f32>>,
    told: Vec<Target>,
    /// Labels of examples that the model does not have, with how many examples have them.
    pub unknown: BTreeMap<String, u64>,
}

/// A label's precision, recall and F1.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LabelScores {
    /// Its name.
    pub label: String,
    /// They.
    #[serde(flatten)]
    pub scores: PrecisionRecall,
}

/// What is told of a classifier beside its metrics.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ClassifyDetails {
    /// Every label by itself; empty of a regression.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<LabelScores>,
    /// How often texts of the row's label were given the column's, in the order of `labels`; of one label a text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub confusion: Vec<Vec<u64>>,
}

/// How a metric follows from sums.
type Value<S> = (&'static str, fn(&S) -> Option<f64>);

const SINGLE: [Value<LabelCounts>; 9] = [
    ("accuracy", |sum| sum.accuracy()),
    ("macro_precision", |sum| Some(sum.scores(Average::Macro).precision)),
    ("macro_recall", |sum| Some(sum.scores(Average::Macro).recall)),
    ("macro_f1", |sum| Some(sum.scores(Average::Macro).f1)),
    ("micro_f1", |sum| Some(sum.scores(Average::Micro).f1)),
    ("weighted_precision", |sum| Some(sum.scores(Average::Weighted).precision)),
    ("weighted_recall", |sum| Some(sum.scores(Average::Weighted).recall)),
    ("weighted_f1", |sum| Some(sum.scores(Average::Weighted).f1)),
    ("mcc", |sum| Some(sum.matthews())),
];

impl Answers {
    /// Asks a classifier for the labels of examples.
    ///
    /// # Errors
    /// When an example has what the model cannot have, as several labels for a model of one.
    pub fn of(classifier: &TextClassifier, examples: &[LabeledText]) -> Result<Self, TaskError> {
        let labels = classifier.labels().clone();
        let told = examples.iter().map(|example| target(example, &labels)).collect::<Result<Vec<_>, _>>()?;
        let mut unknown = BTreeMap::new();
        for example in examples {
            let said = match &example.told {
                super::Told::One(label) => std::slice::from_ref(label),
                super::Told::Many(many) => many,
                super::Told::Number(_) => &[],
            };
            for label in
                said.iter().filter(|label| labels.problem() != Problem::Regression && labels.id(label).is_none())
            {
                *unknown.entry(label.clone()).or_default() += 1;
            }
        }
        let scores =
            classifier.classify(examples.iter().map(|example| (example.text.as_str(), example.pair.as_deref())));
        Ok(Self { labels, scores, told, unknown })
    }

    /// The scores of every label for each example.
    pub fn scores(&self) -> &[Vec<f32>] {
        &self.scores
    }

    /// What the model's outputs are called.
    pub fn labels(&self) -> &loam_models::Labels {
        &self.labels
    }

    /// The names of the labels chosen for an example.
    pub fn said(&self, example: usize) -> Vec<&str> {
        let chosen = chosen(&self.scores[example], self.labels.problem());
        chosen.into_iter().map(|label| self.labels.names()[label].as_str()).collect()
    }

    /// Metrics with intervals. A label that the model does not have is one that it never says.
    pub fn evaluate(&self, bootstrap: &Bootstrap) -> Evaluation<ClassifyDetails> {
        let mut metrics: Vec<(&str, Option<Interval>)> = Vec::new();
        let mut details = ClassifyDetails::default();
        let mut put = |name, interval| metrics.push((name, interval));
        match self.labels.problem() {
            Problem::SingleLabel => {
                let predictions = single(&self.scores, &self.told, &self.labels);
                for (name, value) in &SINGLE {
                    put(name, bootstrap.interval(&predictions, value));
                }
                let confidences: Vec<Confidence> = self.confidences(&predictions);
                put("ece", bootstrap.interval(&confidences, Calibration::error));
                if self.labels.len() == 2 && self.unknown.is_empty() {
                    let ranked: Vec<(f64, bool)> = self
                        .scores
                        .iter()
                        .zip(&predictions)
                        .map(|(row, prediction)| (f64::from(row[1]), prediction.gold == 1))
                        .collect();
                    put("auc", bootstrap.interval_of_draws(ranked.len(), |draws| auc_of_draws(&ranked, draws)));
                }
                let counts = sum(&predictions);
                details.labels = self.by_label(counts.by_label());
                let ids: Vec<u32> = counts.by_label().map(|(label, _)| label).collect();
                details.confusion = Confusion::of(&predictions).matrix(&ids);
            }
            Problem::MultiLabel => {
                let predictions = sets(&self.scores, &self.told);
                let labels = self.labels.len();
                let of = |value: &dyn Fn(&LabelSetCounts) -> Option<f64>| bootstrap.interval(&predictions, value);
                put("subset_accuracy", of(&LabelSetCounts::subset_accuracy));
                put("hamming_loss", of(&|sum| sum.hamming_loss(labels)));
                put("micro_precision", of(&|sum| Some(sum.scores(Average::Micro, labels).precision)));
                put("micro_recall", of(&|sum| Some(sum.scores(Average::Micro, labels).recall)));
                put("micro_f1", of(&|sum| Some(sum.scores(Average::Micro, labels).f1)));
                put("macro_f1", of(&|sum| Some(sum.scores(Average::Macro, labels).f1)));
                put("weighted_f1", of(&|sum| Some(sum.scores(Average::Weighted, labels).f1)));
                put("samples_f1", of(&|sum| Some(sum.scores_of_texts().f1)));
                details.labels = self.by_label(sum(&predictions).by_label());
            }
            Problem::Regression => {
                let pairs = numbers(&self.scores, &self.told);
                let of = |value: &dyn Fn(&[(f64, f64)], &[u32]) -> Option<f64>| {
                    bootstrap.interval_of_draws(pairs.len(), |draws| value(&pairs, draws))
                };
                put("pearson", of(&regression::pearson_of_draws));
                put("spearman", of(&regression::spearman_of_draws));
                let mean = |error: fn(f64) -> f64| {
                    let errors: Vec<f64> = pairs.iter().map(|(gold, said)| error(gold - said)).collect();
                    bootstrap.interval(&errors, crate::metrics::Mean::value)
                };
                put("mse", mean(|error| error * error));
                put("mae", mean(f64::abs));
            }
        }
        Evaluation::new(metrics, self.told.len(), details)
    }

    /// The second model's metrics less this one's.
    ///
    /// # Errors
    /// When the two have different labels, or labels of another kind.
    pub fn compare(&self, second: &Self, bootstrap: &Bootstrap) -> Result<Compared, TaskError> {
        let (mine, theirs) = (self.labels.problem(), second.labels.problem());
        if mine != theirs || self.labels.names() != second.labels.names() {
            return Err(TaskError::Request(format!(
                "the two models have different labels: {} ({}) and {} ({})",
                self.labels.names().join(", "),
                mine.name(),
                second.labels.names().join(", "),
                theirs.name()
            )));
        }
        let mut comparisons: Vec<(&str, Option<Comparison>)> = Vec::new();
        let mut put = |name, comparison| comparisons.push((name, comparison));
        match mine {
            Problem::SingleLabel => {
                let of = |answers: &Self| single(&answers.scores, &answers.told, &answers.labels);
                let (first, other) = (of(self), of(second));
                for (name, value) in SINGLE.iter().filter(|(name, _)| ["accuracy", "macro_f1", "mcc"].contains(name)) {
                    put(name, bootstrap.compare(&first, &other, value));
                }
            }
            Problem::MultiLabel => {
                let of = |answers: &Self| sets(&answers.scores, &answers.told);
                let (first, other): (Vec<SetPrediction>, Vec<SetPrediction>) = (of(self), of(second));
                let labels = self.labels.len();
                for (name, average) in [("micro_f1", Average::Micro), ("macro_f1", Average::Macro)] {
                    let value = |sum: &LabelSetCounts| Some(sum.scores(average, labels).f1);
                    put(name, bootstrap.compare(&first, &other, value));
                }
            }
            Problem::Regression => {
                let errors = |answers: &Self| -> Vec<f64> {
                    let pairs = numbers(&answers.scores, &answers.told);
                    pairs.into_iter().map(|(gold, said)| (gold - said).powi(2)).collect()
                };
                put("mse", bootstrap.compare(&errors(self), &errors(second), crate::metrics::Mean::value));
            }
        }
        Ok(compared(comparisons))
    }

    /// McNemar's exact test of which texts are right: how probable such a difference is if both models are as good. None where texts
    /// have not one label.
    pub fn mcnemar(&self, second: &Self) -> Option<f64> {
        if self.labels.problem() != Problem::SingleLabel || second.labels.problem() != Problem::SingleLabel {
            return None;
        }
        let right = |answers: &Self| -> Vec<bool> {
            let predictions = single(&answers.scores, &answers.told, &answers.labels);
            predictions.iter().map(|one| one.gold == one.predicted).collect()
        };
        let (first, other) = (right(self), right(second));
        let only = |a: &[bool], b: &[bool]| a.iter().zip(b).filter(|(a, b)| **a && !**b).count() as u64;
        Some(mcnemar_exact(only(&first, &other), only(&other, &first)))
    }

    fn confidences(&self, predictions: &[Prediction]) -> Vec<Confidence> {
        let of = |(row, prediction): (&Vec<f32>, &Prediction)| Confidence {
            probability: f64::from(row.iter().copied().fold(0.0, f32::max)),
            correct: prediction.gold == prediction.predicted,
        };
        self.scores.iter().zip(predictions).map(of).collect()
    }

    fn by_label(&self, scores: impl Iterator<Item = (u32, PrecisionRecall)>) -> Vec<LabelScores> {
        let name = |label: u32| {
            let known = self.labels.names().get(label as usize).cloned();
            known.unwrap_or_else(|| "(labels that the model does not have)".to_owned())
        };
        scores.map(|(label, scores)| LabelScores { label: name(label), scores }).collect()
    }
}
