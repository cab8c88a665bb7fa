//! Language modeling itself: a trained model with its tokenizer, the probability that it gives to a text, and the text
//! that it writes.

use crate::model_folder::model_folder;
use burn::module::Module;
use burn::tensor::Device;
use loam_corpus::{IGNORE, Tokenizer};
use loam_models::generate::{self, GenerateOptions};
use loam_models::sampling::StopMatcher;
use loam_models::{CausalModel, LanguageModel, ModelError};
use loam_train::batch;
use serde::Serialize;
use std::ops::ControlFlow;
use std::path::Path;

/// What can go wrong with a task.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// The model cannot be read or run as asked.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The tokenizer or the text cannot be read.
    #[error(transparent)]
    Corpus(#[from] loam_corpus::CorpusError),
    /// Something on the Hub cannot be had.
    #[error(transparent)]
    Hub(#[from] loam_hub::HubError),
    /// The input cannot be served.
    #[error("{0}")]
    Request(String),
}

/// A model folder, opened.
pub struct LoadedModel {
    /// The model.
    pub model: CausalModel,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    device: Device,
}

/// What a model makes of a text.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Score {
    /// Token ids of the text.
    pub tokens: Vec<u32>,
    /// For each token the natural logarithm of its probability after those before it; none for the first.
    pub logprobs: Vec<Option<f64>>,
    /// Mean of the scored tokens' negative logarithms: nats a token. None where nothing was scored.
    pub loss: Option<f64>,
    /// The same sum in bits over the bytes of the scored tokens' text. None where there are none.
    pub bits_per_byte: Option<f64>,
    /// Tokens that were scored.
    pub scored: usize,
}

/// What a model wrote.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Generation {
    /// What it was given.
    pub prompt: String,
    /// What it added.
    pub text: String,
    /// The ids that it added.
    pub tokens: Vec<u32>,
    /// `stop` or `length`.
    pub finish: &'static str,
}

impl LoadedModel {
    /// Opens a model folder, the `model/` of a run's folder, or a model on the Hub (`hf:org/name`).
    ///
    /// # Errors
    /// When files are missing or broken, or model and tokenizer do not belong together.
    pub fn open(path: &Path, device: &Device) -> Result<Self, TaskError> {
        let folder = model_folder(path)?;
        let model = CausalModel::load(&folder, device)?;
        let tokenizer = Tokenizer::open(&folder)?;
        if tokenizer.vocabulary() > model.vocabulary() {
            return Err(TaskError::Request(format!(
                "{}: the tokenizer has {} ids and the model {}; they do not belong together",
                folder.display(),
                tokenizer.vocabulary(),
                model.vocabulary()
            )));
        }
        Ok(Self { model, tokenizer, device: device.clone() })
    }

    /// A trained model still in memory.
    pub fn new(model: &CausalModel, tokenizer: Tokenizer, device: &Device) -> Self {
        Self { model: model.clone().valid(), tokenizer, device: device.clone() }
    }

    /// Scores a text. One longer than the model's context is read in windows that overlap by half, so that every token
    /// but the first ones has at least half a context before it.
    ///
    /// # Errors
    /// When the tokenizer and the model do not belong together.
    pub fn score(&self, text: &str) -> Result<Score, TaskError> {
        let tokens = self.tokenizer.encode(text);
        generate::check_ids(&self.model, &tokens)?;
        let mut logprobs: Vec<Option<f64>> = vec![None; tokens.len()];
        let context = self.model.context();
        let stride = context.div_ceil(2);
        let mut start = 0;
        while start + 1 < tokens.len() {
            let end = (start + context).min(tokens.len() - 1);
            let inputs = &tokens[start..end];
            // What an earlier window scored with more context keeps its score.
            let targets: Vec<u32> =
                (start + 1..=end).map(|index| if logprobs[index].is_some() { IGNORE } else { tokens[index] }).collect();
            let (input_ids, target_ids) = batch::tensors(inputs, &targets, 1, &self.device);
            let losses = self.model.token_losses(input_ids, target_ids);
            let losses = losses.into_data().convert::<f32>().try_into_vec::<f32>().expect("f32 after conversion");
            for (index, loss) in (start + 1..=end).zip(losses) {
                logprobs[index].get_or_insert(-f64::from(loss));
            }
            if end == tokens.len() - 1 {
                break;
            }
            start += stride;
        }
        let nats: f64 = -logprobs.iter().flatten().sum::<f64>();
        let scored = logprobs.iter().flatten().count();
        let bytes: usize = tokens.iter().skip(1).map(|&id| self.tokenizer.token_bytes(id)).sum();
        Ok(Score {
            loss: (scored > 0).then(|| nats / scored as f64),
            bits_per_byte: (scored > 0 && bytes > 0).then(|| nats / std::f64::consts::LN_2 / bytes as f64),
            tokens,
            logprobs,
            scored,
        })
    }

    /// Continues `prompt`, passing text to `on_text` as it comes, never half a character. Ends at a stop string, which
    /// is not part of the text.
    ///
    /// # Errors
    /// When the prompt is longer than the model's context, or the options are impossible.
    pub fn generate(
        &self,
        prompt: &str,
        options: &GenerateOptions,
        stop: &[String],
        mut on_text: impl FnMut(&str),
    ) -> Result<Generation, TaskError> {
        options.sampling.validate().map_err(|error| TaskError::Request(error.to_string()))?;
        let mut ids = self.tokenizer.encode(prompt);
        if ids.is_empty() {
            // An empty prompt asks for a text from its beginning, which is where training put the end of the last one.
            let begin = self.tokenizer.end_of_text().ok_or_else(|| {
                TaskError::Request("the prompt is empty, and this tokenizer has no token that begins a text".into())
            })?;
            ids.push(begin);
        }
        let mut options = options.clone();
        options.end_of_text = options.end_of_text.or_else(|| self.tokenizer.end_of_text());
        let mut stream = self.tokenizer.text_stream();
        let mut matcher = StopMatcher::new(stop.iter().cloned());
        let (mut text, mut tokens, mut stopped) = (String::new(), Vec::new(), false);
        let finish = generate::generate(&self.model, &ids, &options, &self.device, |id| {
            tokens.push(id);
            let Some(piece) = stream.push(id) else { return ControlFlow::Continue(()) };
            let emit = matcher.push(&piece);
            if !emit.text.is_empty() {
                on_text(&emit.text);
                text.push_str(&emit.text);
            }
            stopped = emit.stopped;
            if stopped { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        let mut rest = String::new();
        if !stopped {
            if let Some(piece) = stream.finish() {
                rest.push_str(&matcher.push(&piece).text);
            }
            rest.push_str(&matcher.finish());
        }
        if !rest.is_empty() {
            on_text(&rest);
            text.push_str(&rest);
        }
        Ok(Generation { prompt: prompt.to_owned(), text, tokens, finish: finish.name() })
    }
}
