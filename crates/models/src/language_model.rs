//! What training, evaluation and generation ask of a causal language model.

pub use crate::cache::Cache;
use crate::error::ModelError;
use burn::module::Module;
use burn::tensor::{Int, Tensor};
use loam_nn::head::Grades;
use std::path::Path;

/// A model that gives each token the probability of following the ones before it.
pub trait LanguageModel: Module {
    /// `scale` times the summed cross-entropy of `targets` `[batch * time]` after `inputs` `[batch, time]`, in nats;
    /// targets of −1 do not count. `[1]`, differentiable. With a seed, dropout is on and follows from it alone.
    fn loss(&self, inputs: Tensor<2, Int>, targets: Tensor<1, Int>, scale: f32, dropout_seed: Option<u64>)
    -> Tensor<1>;

    /// The cross-entropy of every target, in nats, and whether it was the most probable token, `[batch * time]` each, 0 at
    /// −1; no dropout, not differentiable.
    fn token_grades(&self, inputs: Tensor<2, Int>, targets: Tensor<1, Int>) -> Grades;

    /// The losses of [`LanguageModel::token_grades`].
    fn token_losses(&self, inputs: Tensor<2, Int>, targets: Tensor<1, Int>) -> Tensor<1> {
        self.token_grades(inputs, targets).losses
    }

    /// Logits after each of `inputs` `[batch, time]`, which follow the tokens in `cache`: `[batch, time, vocabulary]`.
    fn logits(&self, inputs: Tensor<2, Int>, cache: &mut Cache) -> Tensor<3>;

    /// Logits after the last of `inputs` `[batch, time]` alone, which follow the tokens in `cache`: `[batch, vocabulary]`.
    fn last_logits(&self, inputs: Tensor<2, Int>, cache: &mut Cache) -> Tensor<2> {
        let logits = self.logits(inputs, cache);
        let [batch, time, vocabulary] = logits.dims();
        logits.narrow(1, time - 1, 1).reshape([batch, vocabulary])
    }

    /// Longest sequence that the model can see, in tokens.
    fn context(&self) -> usize;

    /// Number of token ids.
    fn vocabulary(&self) -> usize;

    /// Parameters outside the embeddings.
    fn non_embedding_parameters(&self) -> u64;

    /// Writes `config.json`, `generation_config.json` and `model.safetensors` in the Hugging Face layout.
    ///
    /// # Errors
    /// When a file cannot be written.
    fn save(&self, folder: &Path, end_of_text: Option<u32>) -> Result<(), ModelError>;
}
