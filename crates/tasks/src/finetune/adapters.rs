//! A task that trains adapters, and the model's head, in the place of the model.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use loam_models::causal::Shape;
use loam_models::{Adaptable, Adapted, LoraConfig, ModelError};
use loam_train::TrainError;
use loam_train::finetune::{Joined, Measured, Task};
use loam_train::recipe::LoraRecipe;
use std::path::Path;

/// The task with its model as the base of adapters. What is left of them is the model with all of it in its weights.
pub(super) struct WithAdapters<'a, T>(pub &'a T);

/// Adapters for a model, which is not differentiated; they are where `device` is.
pub(super) fn adapted<M: Adaptable>(
    model: M,
    lora: &LoraRecipe,
    rank: usize,
    seed: u64,
    device: &Device,
) -> Result<Adapted<M>, ModelError> {
    let alpha = lora.alpha.unwrap_or(2.0 * rank as f64);
    let config = LoraConfig { rank, alpha, targets: lora.targets.clone() };
    Ok(Adapted::new(model, "", config, seed, device)?.with_head(device))
}

impl<T: Task> Task for WithAdapters<'_, T>
where
    T::Model: Adaptable,
{
    type Model = Adapted<T::Model>;

    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn lengths(&self) -> &[usize] {
        self.0.lengths()
    }

    fn weight(&self, example: usize) -> f64 {
        self.0.weight(example)
    }

    fn loss(
        &self,
        model: &Self::Model,
        examples: &[usize],
        scale: f32,
        dropout_seed: Option<u64>,
        device: &Device,
    ) -> Tensor<1> {
        self.0.loss(&model.effective(), examples, scale, dropout_seed, device)
    }

    fn joined(&self) -> Option<&dyn Joined<Self::Model>> {
        self.0.joined().map(|_| self as &dyn Joined<Self::Model>)
    }

    fn measure(&self, model: &Self::Model, device: &Device) -> Result<Option<Measured>, TrainError> {
        self.0.measure(&model.effective(), device)
    }

    fn export(&self, model: &Self::Model, folder: &Path) -> Result<(), TrainError> {
        self.0.export(&model.merge(), folder)
    }

    fn hash(&self) -> &str {
        self.0.hash()
    }

    fn frozen(&self, model: &Self::Model) -> u64 {
        model.base().num_params() as u64
    }

    fn describe(&self, model: &Self::Model) -> Shape {
        self.0.describe(model.base())
    }
}

impl<T: Task> WithAdapters<'_, T> {
    fn inner(&self) -> &dyn Joined<T::Model> {
        self.0.joined().expect("asked only where the task joins its examples")
    }
}

impl<T: Task> Joined<Adapted<T::Model>> for WithAdapters<'_, T>
where
    T::Model: Adaptable,
{
    fn text_lengths(&self) -> &[usize] {
        self.inner().text_lengths()
    }

    fn texts(&self, example: usize) -> Vec<usize> {
        self.inner().texts(example)
    }

    fn encode(
        &self,
        model: &Adapted<T::Model>,
        texts: &[usize],
        dropout_seed: Option<u64>,
        device: &Device,
    ) -> Tensor<2> {
        self.inner().encode(&model.effective(), texts, dropout_seed, device)
    }

    fn joined_loss(&self, examples: &[usize], texts: &[usize], vectors: Tensor<2>) -> Tensor<1> {
        self.inner().joined_loss(examples, texts, vectors)
    }
}
