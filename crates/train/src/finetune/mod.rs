//! Training on examples of a task: epochs over all of them, in batches of like length, with the task's own metric deciding
//! which weights stay.
//!
//! What a task is, is known where tasks are: it says what its examples are, how a model is wrong about them, and how well a
//! model does ([`Task`]). What is known here is the order of examples, the steps, when to measure, what to keep, and how a
//! run that was stopped goes on. Everything that is drawn is a pure function of the seed and the step, so that a resumed
//! run is the uninterrupted one, bit for bit.

mod batches;
mod gradient;
mod joined;
mod rate_finder;
mod trainer;

pub use batches::{epoch, micro_batches};
pub use gradient::{Gradient, gradient};
pub use joined::Joined;
pub use rate_finder::{RatePoint, RateSearch, find_rate};
pub use trainer::{FineTuned, fine_tune};

use crate::error::TrainError;
use crate::schedule::Schedule;
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// What a run of fine-tuning asks of a task.
pub trait Task {
    /// What is trained.
    type Model: Module;

    /// Its name, as the command line has it.
    fn name(&self) -> &'static str;

    /// Tokens of every training example: what it costs a batch.
    fn lengths(&self) -> &[usize];

    /// What an example counts in the mean that is learned: 1 for a text with a label, the labels told for a text whose words
    /// have them; times the weight of its class, where classes have weights.
    fn weight(&self, example: usize) -> f64;

    /// `scale` times the sum of the examples' losses, each as often as it counts, in nats, `[1]`, differentiable. With a
    /// seed, dropout is on and follows from it alone.
    fn loss(
        &self,
        model: &Self::Model,
        examples: &[usize],
        scale: f32,
        dropout_seed: Option<u64>,
        device: &Device,
    ) -> Tensor<1>;

    /// Where the loss joins the examples of a batch, how: [`Task::loss`] is then not asked, and batches are drawn without regard to
    /// length.
    fn joined(&self) -> Option<&dyn Joined<Self::Model>> {
        None
    }

    /// How well the model, which is not differentiable here, does on the examples that are kept for this; none where there
    /// are none.
    ///
    /// # Errors
    /// When the model cannot be asked.
    fn measure(&self, model: &Self::Model, device: &Device) -> Result<Option<Measured>, TrainError>;

    /// Writes the model in the Hugging Face layout, with its tokenizer.
    ///
    /// # Errors
    /// When a file cannot be written.
    fn export(&self, model: &Self::Model, folder: &Path) -> Result<(), TrainError>;

    /// A hash of what the task learns from, so that a run that goes on does so with the same.
    fn hash(&self) -> &str;

    /// Parameters that are not trained.
    fn frozen(&self, model: &Self::Model) -> u64 {
        let _ = model;
        0
    }

    /// What the model is, for the log.
    fn describe(&self, model: &Self::Model) -> loam_models::causal::Shape;
}

/// The batches of an epoch of a task.
fn batches_of<T: Task>(task: &T, settings: &Settings, number: u64) -> Vec<Vec<usize>> {
    match task.joined() {
        Some(_) => joined::epoch(task.lengths().len(), settings, number),
        None => epoch(task.lengths(), settings.batch, settings.seed, number),
    }
}

/// How well a model does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Mean loss in nats of what counts.
    pub loss: f64,
    /// The task's metrics by name.
    pub metrics: BTreeMap<String, f64>,
    /// The one of them that decides which weights are best; larger is better.
    pub deciding: String,
    /// Examples that were looked at.
    pub examples: u64,
}

impl Measured {
    /// The value that decides: of the metric, or, where it is no number, of the loss with its sign turned.
    pub fn score(&self) -> f64 {
        self.metrics.get(&self.deciding).copied().filter(|value| value.is_finite()).unwrap_or(-self.loss)
    }
}

/// How a task is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Times that every example is seen; a part of one is possible.
    pub epochs: f64,
    /// Examples an optimizer step.
    pub batch: usize,
    /// Tokens, with padding, that pass through the model at once at most; a batch of more is taken in parts.
    pub micro_batch_tokens: usize,
    /// Peak learning rate.
    pub lr: f64,
    /// How it rises and falls.
    pub schedule: Schedule,
    /// Part of the steps over which it rises.
    pub warmup: f64,
    /// Decoupled weight decay; none on biases and norms.
    pub weight_decay: f64,
    /// Largest norm of a step's gradient; 0 for no limit.
    pub clip: f64,
    /// Decay of the mean of gradients.
    pub beta1: f64,
    /// Decay of the mean of their squares.
    pub beta2: f64,
    /// Added to the denominator.
    pub epsilon: f64,
    /// Steps between measurements; an epoch where none is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_every: Option<u64>,
    /// Measurements in a row without a better one after which training stops.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience: Option<u64>,
    /// Seed of order, new weights and dropout.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            epochs: 3.0,
            batch: 32,
            micro_batch_tokens: 8192,
            lr: 5e-5,
            schedule: Schedule::Linear,
            warmup: 0.1,
            weight_decay: 0.01,
            clip: 1.0,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            eval_every: None,
            patience: None,
            seed: 1,
        }
    }
}

impl Settings {
    /// Says what is impossible, if anything.
    ///
    /// # Errors
    /// The first value that is.
    pub fn check(&self) -> Result<(), TrainError> {
        let wrong = |message: String| Err(TrainError::Request(message));
        let positive = [("train.epochs", self.epochs), ("train.lr", self.lr), ("train.epsilon", self.epsilon)];
        if let Some((name, value)) = positive.into_iter().find(|(_, value)| !(value.is_finite() && *value > 0.0)) {
            return wrong(format!("{name} = {value}: give a number above 0"));
        }
        if self.epochs > 1e6 {
            return wrong(format!("train.epochs = {}: that is no end; give 1,000,000 at most", self.epochs));
        }
        if !(1..=1 << 20).contains(&self.batch) {
            return wrong(format!("train.batch = {}: give a number of examples from 1 to 1,048,576", self.batch));
        }
        if self.micro_batch_tokens == 0 {
            return wrong("train.micro_batch_tokens = 0: nothing would pass through the model".to_owned());
        }
        let parts = [("train.warmup", self.warmup), ("train.beta1", self.beta1), ("train.beta2", self.beta2)];
        if let Some((name, value)) = parts.into_iter().find(|(_, value)| !(0.0..1.0).contains(value)) {
            return wrong(format!("{name} = {value}: give a part, from 0 up to 1 without it"));
        }
        let limits = [("train.weight_decay", self.weight_decay), ("train.clip", self.clip)];
        if let Some((name, value)) = limits.into_iter().find(|(_, value)| !(value.is_finite() && *value >= 0.0)) {
            return wrong(format!("{name} = {value}: give 0 or more"));
        }
        if self.eval_every == Some(0) || self.patience == Some(0) {
            return wrong("train.eval_every and train.patience are 1 or more where they are given".to_owned());
        }
        Ok(())
    }

    /// Steps of an epoch over so many examples.
    pub fn steps_an_epoch(&self, examples: usize) -> u64 {
        examples.div_ceil(self.batch) as u64
    }

    /// Steps of the whole training.
    pub fn steps(&self, examples: usize) -> u64 {
        ((self.epochs * self.steps_an_epoch(examples) as f64).round() as u64).max(1)
    }
}

/// `state.json` of a checkpoint: where fine-tuning stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Optimizer steps done.
    pub step: u64,
    /// Optimizer steps that are planned.
    pub steps: u64,
    /// Training tokens seen, without padding.
    pub tokens: u64,
    /// Seconds of training so far.
    pub seconds: f64,
    /// Hash of the examples.
    pub data_hash: String,
    /// The best measurement so far, and the step where it was made.
    pub best: Option<(u64, Measured)>,
    /// Measurements since then.
    pub without_better: u64,
    /// Version of Loam that wrote this.
    pub loam: String,
}

impl crate::checkpoint::Stands for Standing {
    fn step(&self) -> u64 {
        self.step
    }
}
