//! The gradient of a batch of examples.

use super::{Settings, Task, joined, micro_batches};
use crate::ledger;
use crate::optimizer::Constants;
use burn::tensor::{Device, Tensor};
use loam_nn::initialize::mix;
use loam_nn::parameters;

impl From<&Settings> for Constants {
    fn from(settings: &Settings) -> Self {
        Self {
            beta1: settings.beta1 as f32,
            beta2: settings.beta2 as f32,
            epsilon: settings.epsilon as f32,
            weight_decay: settings.weight_decay as f32,
            clip: settings.clip as f32,
        }
    }
}

/// The mean loss of a batch, and its gradient in every parameter, flat.
pub type Gradient = (f64, Vec<Tensor<1>>);

/// The seed of the dropout in a part of a batch.
pub(super) fn seed_of_part(seed: u64, (key, step): (u64, u64), part: usize) -> u64 {
    mix(mix(seed ^ key) ^ mix((step << 20) + part as u64))
}

/// The mean loss of a batch and its gradient, taken in parts that fit; none where the loss is not a number. Dropout follows from the
/// settings' seed, a key, which tells uses apart, and the step.
pub fn gradient<T: Task>(
    task: &T,
    model: &T::Model,
    batch: &[usize],
    settings: &Settings,
    place: (u64, u64),
    device: &Device,
) -> Option<Gradient> {
    if let Some(joined) = task.joined() {
        return joined::gradient(joined, model, batch, settings, place, device);
    }
    let weight: f64 = batch.iter().map(|example| task.weight(*example)).sum();
    let scale = if weight > 0.0 { (1.0 / weight) as f32 } else { 0.0 };
    let (mut sum, mut total) = (0.0, None);
    let parts = micro_batches(batch, task.lengths(), settings.micro_batch_tokens);
    for (number, part) in parts.into_iter().enumerate() {
        let seed = seed_of_part(settings.seed, place, number);
        let loss = task.loss(model, part, scale, Some(seed), device);
        sum += f64::from(loss.clone().into_scalar::<f32>());
        if !f64::is_finite(sum) {
            return None;
        }
        let gradients = parameters::gradients(model, loss.backward());
        let gradients = ledger::present(model, gradients, device);
        total = Some(match total {
            None => gradients,
            Some(total) => ledger::add(total, gradients),
        });
    }
    Some((sum, total?))
}
