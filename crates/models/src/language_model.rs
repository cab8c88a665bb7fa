//! What training, evaluation and generation ask of a causal language model.

use crate::error::ModelError;
use burn::module::Module;
use burn::tensor::{Int, Tensor};
use std::path::Path;

/// What a model keeps of the tokens seen so far: keys and values of each, or a state of all.
#[derive(Clone, Debug, Default)]
pub struct Cache {
    /// A Transformer's pairs of keys and values, `[batch, time, width]`, from the first layer to the last.
    pub layers: Vec<(Tensor<3>, Tensor<3>)>,
    /// A recurrent network's state and, of an LSTM, cell, `[batch, hidden]`, from the first layer to the last.
    pub states: Vec<(Tensor<2>, Option<Tensor<2>>)>,
    /// Tokens that `states` have read.
    pub read: usize,
}

impl Cache {
    /// Tokens held.
    pub fn len(&self) -> usize {
        self.layers.first().map_or(self.read, |(keys, _)| keys.dims()[1])
    }

    /// Whether no token has been seen.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds the keys and values of new tokens at `layer`; all of them so far come back.
    pub fn extend(&mut self, layer: usize, keys: Tensor<3>, values: Tensor<3>) -> (Tensor<3>, Tensor<3>) {
        let (keys, values) = match self.layers.get(layer) {
            Some((old_keys, old_values)) => {
                (Tensor::cat(vec![old_keys.clone(), keys], 1), Tensor::cat(vec![old_values.clone(), values], 1))
            }
            None => (keys, values),
        };
        if layer < self.layers.len() {
            self.layers[layer] = (keys.clone(), values.clone());
        } else {
            self.layers.push((keys.clone(), values.clone()));
        }
        (keys, values)
    }
}

/// A model that gives each token the probability of following the ones before it.
pub trait LanguageModel: Module {
    /// `scale` times the summed cross-entropy of `targets` `[batch * time]` after `inputs` `[batch, time]`, in nats;
    /// targets of −1 do not count. `[1]`, differentiable. With a seed, dropout is on and follows from it alone.
    fn loss(&self, inputs: Tensor<2, Int>, targets: Tensor<1, Int>, scale: f32, dropout_seed: Option<u64>)
    -> Tensor<1>;

    /// The cross-entropy of every target, `[batch * time]` nats, 0 at −1; no dropout, not differentiable.
    fn token_losses(&self, inputs: Tensor<2, Int>, targets: Tensor<1, Int>) -> Tensor<1>;

    /// Logits after each of `inputs` `[batch, time]`, which follow the tokens in `cache`: `[batch, time, vocabulary]`.
    fn logits(&self, inputs: Tensor<2, Int>, cache: &mut Cache) -> Tensor<3>;

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
