//! Training a classifier.

use super::examples::{LabeledText, Told};
use super::{Windows, chosen, score_texts};
use crate::collate::inputs;
use crate::language_model::TaskError;
use crate::metrics::Average;
use crate::metrics::classification::{Prediction, SetPrediction};
use crate::metrics::interval::sum;
use crate::metrics::regression;
use burn::tensor::{Device, Int, Tensor, TensorData};
use loam_corpus::{Tokenizer, Window};
use loam_models::causal::Shape;
use loam_models::classifier::{Targets, losses};
use loam_models::{Classifier, Labels, Problem, SequenceClassifier};
use loam_train::TrainError;
use loam_train::finetune::{Measured, Task};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// How much the examples of each label count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClassWeights {
    /// All the same.
    #[default]
    None,
    /// In inverse proportion to how many there are of a label, 1 in the mean, as scikit-learn's `balanced`.
    Balanced,
}

/// Examples of one set, encoded.
struct Encoded {
    windows: Windows,
    /// Of every text its label; of several labels or numbers, their values.
    told: Vec<Target>,
}

/// What an example tells, in the numbers of a model's labels.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// The label's number; none for one that the model does not know.
    Label(Option<usize>),
    /// 1 or 0 for every label, or the numbers.
    Values(Vec<f32>),
}

/// A classifier's training and validation examples.
pub struct ClassifyTask {
    labels: Labels,
    tokenizer: Tokenizer,
    train: Encoded,
    valid: Option<Encoded>,
    lengths: Vec<usize>,
    weights: Vec<f64>,
    padding: usize,
    hash: String,
}

impl ClassifyTask {
    /// Examples for a model that sees `longest` tokens.
    ///
    /// # Errors
    /// When a label is none of the model's.
    pub fn new(
        train: &[LabeledText],
        valid: &[LabeledText],
        labels: Labels,
        tokenizer: Tokenizer,
        longest: usize,
        padding: usize,
        class_weights: ClassWeights,
    ) -> Result<Self, TaskError> {
        let encode = |examples: &[LabeledText]| -> Result<Encoded, TaskError> {
            let texts = examples.iter().map(|example| (example.text.as_str(), example.pair.as_deref()));
            let told = examples.iter().map(|example| target(example, &labels)).collect::<Result<_, _>>()?;
            Ok(Encoded { windows: Windows::of(texts, &tokenizer, longest, padding), told })
        };
        let (train, valid) = (encode(train)?, if valid.is_empty() { None } else { Some(encode(valid)?) });
        let balance = balance(&train.told, labels.len(), class_weights);
        let weight = |text: &usize| {
            let class = match &train.told[*text] {
                Target::Label(Some(label)) => balance[*label],
                Target::Label(None) => 0.0,
                Target::Values(_) => 1.0,
            };
            class / train.windows.counts[*text] as f64
        };
        let mut hasher = blake3::Hasher::new();
        for set in [Some(&train), valid.as_ref()].into_iter().flatten() {
            for (window, text) in set.windows.read.iter().zip(&set.windows.texts) {
                window.ids.iter().for_each(|id| {
                    hasher.update(&id.to_le_bytes());
                });
                hasher.update(format!("{:?}|", set.told[*text]).as_bytes());
            }
        }
        hasher.update(tokenizer.hash().as_bytes());
        Ok(Self {
            lengths: train.windows.read.iter().map(|window| window.ids.len()).collect(),
            weights: train.windows.texts.iter().map(weight).collect(),
            hash: hasher.finalize().to_hex().to_string(),
            labels,
            tokenizer,
            train,
            valid,
            padding,
        })
    }

    /// Training texts that are longer than the model sees, and pairs whose first text was cut.
    pub fn long(&self) -> (usize, usize) {
        (self.train.windows.counts.iter().filter(|count| **count > 1).count(), self.train.windows.cut)
    }

    /// Validation texts whose label is none of those trained on.
    pub fn unknown(&self) -> usize {
        let valid = self.valid.iter().flat_map(|valid| &valid.told);
        valid.filter(|target| matches!(target, Target::Label(None))).count()
    }

    fn targets(&self, texts: impl Iterator<Item = usize>, device: &Device) -> Targets {
        let told: Vec<&Target> = texts.map(|text| &self.train.told[text]).collect();
        if self.labels.problem() == Problem::SingleLabel {
            let ids: Vec<i64> = told
                .iter()
                .map(|target| match target {
                    Target::Label(Some(label)) => *label as i64,
                    _ => -1,
                })
                .collect();
            let count = ids.len();
            return Targets::Labels(Tensor::<1, Int>::from_data(TensorData::new(ids, [count]), device));
        }
        let values: Vec<f32> = told
            .iter()
            .flat_map(|target| match target {
                Target::Values(values) => values.clone(),
                Target::Label(_) => vec![0.0; self.labels.len()],
            })
            .collect();
        let shape = [told.len(), self.labels.len()];
        Targets::Values(Tensor::<2>::from_data(TensorData::new(values, shape), device))
    }
}

/// What an example tells a model of these labels.
pub(super) fn target(example: &LabeledText, labels: &Labels) -> Result<Target, TaskError> {
    let wrong = |what: &str| {
        let problem = labels.problem().name();
        Err(TaskError::Request(format!("{}: has {what}, which a model of {problem} cannot learn", example.place)))
    };
    Ok(match (&example.told, labels.problem()) {
        (Told::One(label), Problem::SingleLabel) => Target::Label(labels.id(label)),
        (Told::Many(many), Problem::SingleLabel) => match &many[..] {
            [label] => Target::Label(labels.id(label)),
            _ => return wrong(&format!("{} labels", many.len())),
        },
        (Told::One(label), Problem::MultiLabel) => Target::Values(several(std::slice::from_ref(label), labels)),
        (Told::Many(many), Problem::MultiLabel) => Target::Values(several(many, labels)),
        (Told::Number(number), Problem::Regression) => Target::Values(vec![*number as f32]),
        (Told::One(label), Problem::Regression) => match label.parse::<f32>() {
            Ok(number) if number.is_finite() => Target::Values(vec![number]),
            _ => return wrong(&format!("the label {label:?}")),
        },
        (Told::Number(number), Problem::SingleLabel) => Target::Label(labels.id(&number.to_string())),
        (Told::Many(_), Problem::Regression) => return wrong("labels"),
        (Told::Number(_), Problem::MultiLabel) => return wrong("a number"),
    })
}

fn several(many: &[String], labels: &Labels) -> Vec<f32> {
    labels.names().iter().map(|name| f32::from(u8::from(many.contains(name)))).collect()
}

/// The weight of every label.
fn balance(told: &[Target], labels: usize, weights: ClassWeights) -> Vec<f64> {
    if weights == ClassWeights::None {
        return vec![1.0; labels];
    }
    let mut counts = vec![0_u64; labels];
    for target in told {
        if let Target::Label(Some(label)) = target {
            counts[*label] += 1;
        }
    }
    let used = counts.iter().filter(|count| **count > 0).count().max(1) as f64;
    let all: u64 = counts.iter().sum();
    counts.iter().map(|count| if *count == 0 { 0.0 } else { all as f64 / (used * *count as f64) }).collect()
}

impl Task for ClassifyTask {
    type Model = Classifier;

    fn name(&self) -> &'static str {
        "classify"
    }

    fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    fn weight(&self, example: usize) -> f64 {
        self.weights[example]
    }

    fn loss(
        &self,
        model: &Classifier,
        examples: &[usize],
        scale: f32,
        dropout_seed: Option<u64>,
        device: &Device,
    ) -> Tensor<1> {
        let windows: Vec<&Window> = examples.iter().map(|&example| &self.train.windows.read[example]).collect();
        let logits = model.logits(&inputs(&windows, self.padding, device), dropout_seed);
        let targets = self.targets(examples.iter().map(|&example| self.train.windows.texts[example]), device);
        let losses = losses(logits, self.labels.problem(), &targets);
        let weights: Vec<f32> = examples.iter().map(|&example| self.weights[example] as f32).collect();
        let weights = Tensor::<1>::from_data(TensorData::new(weights, [examples.len()]), device);
        (losses * weights).sum() * scale
    }

    fn measure(&self, model: &Classifier, device: &Device) -> Result<Option<Measured>, TrainError> {
        let Some(valid) = &self.valid else { return Ok(None) };
        let scores = score_texts(model, &valid.windows, device);
        Ok(Some(measured(&scores, &valid.told, &self.labels)))
    }

    fn export(&self, model: &Classifier, folder: &Path) -> Result<(), TrainError> {
        model.save(folder)?;
        Ok(self.tokenizer.save_with_length(folder, Some(model.context()))?)
    }

    fn hash(&self) -> &str {
        &self.hash
    }

    fn describe(&self, model: &Classifier) -> Shape {
        model.shape()
    }
}

/// Loss and metrics of scores, in short: what `loam eval` says at length.
fn measured(scores: &[Vec<f32>], told: &[Target], labels: &Labels) -> Measured {
    let mut metrics = BTreeMap::new();
    let mut loss = 0.0;
    let ln = |probability: f32| -f64::from(probability.max(1e-12)).ln();
    let deciding = match labels.problem() {
        Problem::SingleLabel => {
            let predictions = single(scores, told, labels);
            for (row, prediction) in scores.iter().zip(&predictions) {
                loss += row.get(prediction.gold as usize).map_or(0.0, |probability| ln(*probability));
            }
            let counts = sum(&predictions);
            metrics.insert("accuracy".to_owned(), counts.accuracy().unwrap_or(0.0));
            metrics.insert("macro_f1".to_owned(), counts.scores(Average::Macro).f1);
            "accuracy"
        }
        Problem::MultiLabel => {
            for (row, target) in scores.iter().zip(told) {
                let Target::Values(values) = target else { continue };
                for (&probability, &value) in row.iter().zip(values) {
                    loss += if value > 0.5 { ln(probability) } else { ln(1.0 - probability) } / labels.len() as f64;
                }
            }
            let counts = sum(&sets(scores, told));
            metrics.insert("micro_f1".to_owned(), counts.scores(Average::Micro, labels.len()).f1);
            metrics.insert("macro_f1".to_owned(), counts.scores(Average::Macro, labels.len()).f1);
            "micro_f1"
        }
        Problem::Regression => {
            let pairs = numbers(scores, told);
            loss = pairs.iter().map(|(gold, said)| (gold - said).powi(2)).sum();
            metrics.extend(regression::spearman(&pairs).map(|value| ("spearman".to_owned(), value)));
            metrics.extend(regression::pearson(&pairs).map(|value| ("pearson".to_owned(), value)));
            "spearman"
        }
    };
    let examples = told.len() as u64;
    Measured { loss: loss / examples.max(1) as f64, metrics, deciding: deciding.to_owned(), examples }
}

/// Every text's label and the one that is most probable. A label that the model does not know is the one behind the last.
pub(super) fn single(scores: &[Vec<f32>], told: &[Target], labels: &Labels) -> Vec<Prediction> {
    let gold = |target: &Target| match target {
        Target::Label(Some(label)) => *label as u32,
        _ => labels.len() as u32,
    };
    let predicted = |row: &Vec<f32>| chosen(row, Problem::SingleLabel).first().map_or(u32::MAX, |label| *label as u32);
    scores.iter().zip(told).map(|(row, target)| Prediction { gold: gold(target), predicted: predicted(row) }).collect()
}

/// Every text's labels and those that are as probable as not.
pub(super) fn sets(scores: &[Vec<f32>], told: &[Target]) -> Vec<SetPrediction> {
    let ones =
        |values: &[f32]| (0_u32..).zip(values).filter(|(_, value)| **value >= 0.5).map(|(label, _)| label).collect();
    let gold = |target: &Target| match target {
        Target::Values(values) => ones(values),
        Target::Label(_) => BTreeSet::new(),
    };
    scores.iter().zip(told).map(|(row, target)| SetPrediction { gold: gold(target), predicted: ones(row) }).collect()
}

/// Every text's number and the one that the model says.
pub(super) fn numbers(scores: &[Vec<f32>], told: &[Target]) -> Vec<(f64, f64)> {
    let number = |target: &Target| match target {
        Target::Values(values) => values.first().map(|value| f64::from(*value)),
        Target::Label(_) => None,
    };
    scores.iter().zip(told).filter_map(|(row, target)| Some((number(target)?, f64::from(*row.first()?)))).collect()
}
