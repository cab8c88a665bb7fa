//! Language modeling itself: a trained model with its tokenizer, the probability that it gives to a text, and the text
//! that it writes.

use crate::model_folder::{Place, belongs_to, place};
use burn::module::Module;
use burn::tensor::Device;
use loam_corpus::{IGNORE, TextStream, Tokenizer};
use loam_models::decode::{
    self, BeamOptions, Causal, Decoder, Finish, Hypothesis, LengthPenalty, Remembering, Rules, WriteOptions, Written,
};
use loam_models::generate::{self, GenerateOptions};
use loam_models::gguf::{self, TensorKind};
use loam_models::sampling::{SamplingOptions, StopMatcher};
use loam_models::{Adapted, CausalModel, LanguageModel, ModelError};
use loam_train::batch;
use serde::Serialize;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

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
    /// A run of training cannot begin or go on.
    #[error(transparent)]
    Train(#[from] loam_train::TrainError),
    /// The input cannot be served.
    #[error("{0}")]
    Request(String),
}

/// A model folder, opened.
#[derive(Debug)]
pub struct LoadedModel {
    /// The model.
    pub model: CausalModel,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    device: Device,
    /// Tokens that end a text.
    ends: Vec<u32>,
    folder: Option<PathBuf>,
}

/// Tokens of the prompt that the text's decoder sees before the new ones.
const PROMPT_TAIL: usize = 16;

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

/// How probable a continuation is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Likelihood {
    /// The natural logarithm of its probability.
    pub logarithm: f64,
    /// Whether each of its tokens is the most probable one after those before it.
    pub greedy: bool,
    /// Its tokens.
    pub tokens: usize,
}

/// How a model tells a token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Told {
    /// The negative logarithm of its probability, in nats.
    pub nats: f64,
    /// Whether no other token is more probable.
    pub most_probable: bool,
}

/// Sequences that are told side by side.
const SIDE_BY_SIDE: usize = 32;

/// Tokens that they have at most together, one sequence always being read whole.
const TOGETHER: usize = 16_384;

impl LoadedModel {
    /// How probable every continuation is after its context. White space at a context's end is the continuation's; without a context
    /// a continuation follows the token that begins texts, or else the one that ends them. What is longer than the model sees loses its
    /// beginning.
    ///
    /// # Errors
    /// When the tokenizer and the model do not belong together.
    pub fn likelihoods(&self, pairs: &[(&str, &str)]) -> Result<Vec<Likelihood>, TaskError> {
        let begin = self.tokenizer.special_id("bos_token", &[]).or(self.tokenizer.end_of_text());
        let mut sequences: Vec<(Vec<u32>, usize)> = Vec::with_capacity(pairs.len());
        for (context, continuation) in pairs {
            let before = context.trim_end();
            let whole = format!("{context}{continuation}");
            let mut ids = self.tokenizer.encode(&whole);
            let mut given = self.tokenizer.encode(before).len().min(ids.len());
            if given == 0 {
                ids.splice(0..0, begin);
                given = usize::from(begin.is_some());
            }
            generate::check_ids(&self.model, &ids)?;
            let surplus = ids.len().saturating_sub(self.model.context() + 1);
            ids.drain(..surplus);
            sequences.push((ids, given.saturating_sub(surplus).max(1)));
        }
        let asked: Vec<(Vec<u32>, Vec<bool>)> = sequences
            .into_iter()
            .map(|(ids, given)| {
                let asked = (0..ids.len()).map(|place| place >= given).collect();
                (ids, asked)
            })
            .collect();
        let likelihood = |tokens: Vec<Told>| Likelihood {
            logarithm: -tokens.iter().map(|told| told.nats).sum::<f64>(),
            greedy: tokens.iter().all(|told| told.most_probable),
            tokens: tokens.len(),
        };
        Ok(self.told(&asked).into_iter().map(likelihood).collect())
    }

    /// How the model tells the tokens of every sequence that are asked for, in their order, each after those before it; the first
    /// token of a sequence is never told. A sequence longer than the context is read in windows that overlap by half.
    pub(crate) fn told(&self, sequences: &[(Vec<u32>, Vec<bool>)]) -> Vec<Vec<Told>> {
        let context = self.model.context();
        // Sequence, first token that is read, first that is told, and the end of both.
        let mut windows: Vec<(usize, usize, usize, usize)> = Vec::with_capacity(sequences.len());
        for (index, (ids, _)) in sequences.iter().enumerate() {
            let (mut start, mut told) = (0, 1);
            while told < ids.len() {
                let end = (start + context + 1).min(ids.len());
                windows.push((index, start, told, end));
                (start, told) = (start + context.div_ceil(2), end);
            }
        }
        windows.sort_by_key(|&(index, start, _, end)| (end - start, index, start));
        let mut found: Vec<Vec<(usize, Told)>> = vec![Vec::new(); sequences.len()];
        let mut left = &windows[..];
        while let Some((_, start, _, end)) = left.last() {
            // The longest come first, so that what is too much for the memory is told soon.
            let time = end - start - 1;
            let many = (TOGETHER / time).clamp(1, SIDE_BY_SIDE).min(left.len());
            let (rest, group) = left.split_at(left.len() - many);
            left = rest;
            let (mut inputs, mut targets) = (Vec::new(), Vec::new());
            for &(index, start, told, end) in group {
                let (ids, asked) = &sequences[index];
                let read = end - start - 1;
                inputs.extend_from_slice(&ids[start..start + read]);
                inputs.resize(inputs.len() + time - read, 0);
                let target = |place: usize| if place >= told && asked[place] { ids[place] } else { IGNORE };
                targets.extend((start + 1..end).map(target));
                targets.resize(targets.len() + time - read, IGNORE);
            }
            let (input_ids, target_ids) = batch::tensors(&inputs, &targets, group.len(), &self.device);
            let grades = LanguageModel::token_grades(&self.model, input_ids, target_ids);
            let host = |tensor: burn::tensor::Tensor<1>| {
                tensor.into_data().convert::<f32>().try_into_vec::<f32>().expect("f32 after conversion")
            };
            let (losses, hits) = (host(grades.losses), host(grades.hits));
            for (row, &(index, start, ..)) in group.iter().enumerate() {
                for place in (row * time..(row + 1) * time).filter(|&place| targets[place] != IGNORE) {
                    let told = Told { nats: f64::from(losses[place]), most_probable: hits[place] > 0.5 };
                    found[index].push((start + place - row * time, told));
                }
            }
        }
        found
            .into_iter()
            .map(|mut told| {
                told.sort_by_key(|(place, _)| *place);
                told.into_iter().map(|(_, told)| told).collect()
            })
            .collect()
    }

    /// Opens a model folder, the `model/` of a run's folder, or a model on the Hub (`hf:org/name`).
    ///
    /// # Errors
    /// When files are missing or broken, or model and tokenizer do not belong together.
    pub fn open(path: &Path, device: &Device) -> Result<Self, TaskError> {
        Self::open_adapted(path, None, device)
    }

    /// The same with adapters (PEFT's files) in its weights. Where `path` itself holds adapters, it is opened with the
    /// base that they name.
    ///
    /// # Errors
    /// As [`LoadedModel::open`], and when the adapters are broken or belong to another base.
    pub fn open_adapted(path: &Path, adapter: Option<&Path>, device: &Device) -> Result<Self, TaskError> {
        let Place { model: base, adapter, tokenizer: folder } = place(path, adapter)?;
        let mut model = CausalModel::load(&base, device)?;
        if let Some(adapter) = &adapter {
            model = Adapted::load(model, adapter, device)?.merge();
        }
        let tokenizer = Tokenizer::open(&folder)?;
        belongs_to(&tokenizer, &folder, model.vocabulary())?;
        let ends = end_tokens(&base, &tokenizer);
        Ok(Self { model, tokenizer, device: device.clone(), ends, folder: Some(folder) })
    }

    /// A trained model still in memory.
    pub fn new(model: &CausalModel, tokenizer: Tokenizer, device: &Device) -> Self {
        let ends = tokenizer.end_of_text().into_iter().collect();
        Self { model: model.clone().valid(), tokenizer, device: device.clone(), ends, folder: None }
    }

    /// Writes model, tokenizer and chat template to one GGUF file, matrices stored as `kind`: `F32`, `F16`, `BF16`, `Q8_0` or
    /// `Q4_0`.
    ///
    /// # Errors
    /// When the file cannot be written, or the format has no place for this model or tokenizer.
    pub fn save_gguf(&self, path: &Path, kind: TensorKind) -> Result<(), TaskError> {
        Ok(gguf::save(&self.model, path, kind, &self.tokenizer.gguf_metadata()?)?)
    }

    /// Scores a text. One longer than the model's context is read in windows that overlap by half, so that every token
    /// but the first ones has at least half a context before it.
    ///
    /// # Errors
    /// When the tokenizer and the model do not belong together.
    pub fn score(&self, text: &str) -> Result<Score, TaskError> {
        self.score_beginning(text, usize::MAX)
    }

    /// [`LoadedModel::score`] of at most so many tokens from the beginning of a text.
    ///
    /// # Errors
    /// As there.
    pub fn score_beginning(&self, text: &str, longest: usize) -> Result<Score, TaskError> {
        let begin = self.tokenizer.begin_of_text();
        let mut tokens: Vec<u32> = begin.into_iter().collect();
        // Few tokens are longer than 32 bytes, so that the end of a long text need not be looked at.
        let most = longest.saturating_mul(32).min(text.len());
        tokens.extend(self.tokenizer.encode(&text[..text.floor_char_boundary(most)]).into_iter().take(longest));
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
        if begin.is_some() {
            // It is no part of the text.
            tokens.remove(0);
            logprobs.remove(0);
        }
        let nats: f64 = -logprobs.iter().flatten().sum::<f64>();
        let scored = logprobs.iter().flatten().count();
        let bytes: usize = tokens.iter().skip(tokens.len() - scored).map(|&id| self.tokenizer.token_bytes(id)).sum();
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
        let options = TextOptions {
            max_new_tokens: options.max_new_tokens,
            sampling: options.sampling.clone(),
            no_repeat_ngram: 0,
            stop: stop.to_vec(),
        };
        let mut written = self.write(&[prompt.to_owned()], &options, |_, text| {
            on_text(text);
            ControlFlow::Continue(())
        })?;
        Ok(written.remove(0))
    }

    /// Continues several prompts side by side, passing text with the number of its prompt to `on_text` as it comes, never
    /// half a character; `on_text` may end a text. A text ends at a stop string, which is not part of it.
    ///
    /// # Errors
    /// When a prompt is longer than the model's context, or the options are impossible.
    pub fn write(
        &self,
        prompts: &[String],
        options: &TextOptions,
        on_text: impl FnMut(usize, &str) -> ControlFlow<()>,
    ) -> Result<Vec<Generation>, TaskError> {
        let ids = prompts.iter().map(|prompt| self.prompt_ids(prompt)).collect::<Result<Vec<_>, _>>()?;
        let mut generations = self.write_ids(&ids, options, on_text)?;
        for (generation, prompt) in generations.iter_mut().zip(prompts) {
            generation.prompt.clone_from(prompt);
        }
        Ok(generations)
    }

    /// [`LoadedModel::write`] from token ids; the prompts of what comes back are empty.
    ///
    /// # Errors
    /// As [`LoadedModel::write`].
    pub fn write_ids(
        &self,
        prompts: &[Vec<u32>],
        options: &TextOptions,
        on_text: impl FnMut(usize, &str) -> ControlFlow<()>,
    ) -> Result<Vec<Generation>, TaskError> {
        self.write_through(&Causal::new(&self.model, &self.device), prompts, options, on_text)
    }

    /// The model as a decoder that need not read again what one text has in common with the one before.
    pub(crate) fn remembering(&self) -> Remembering<'_, CausalModel> {
        Remembering::new(&self.model, &self.device)
    }

    /// [`LoadedModel::write_ids`] through a decoder over this model.
    pub(crate) fn write_through<D: Decoder>(
        &self,
        decoder: &D,
        prompts: &[Vec<u32>],
        options: &TextOptions,
        mut on_text: impl FnMut(usize, &str) -> ControlFlow<()>,
    ) -> Result<Vec<Generation>, TaskError> {
        options.sampling.validate().map_err(|error| TaskError::Request(error.to_string()))?;
        let rows: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
        let settings = WriteOptions {
            max_new_tokens: options.max_new_tokens,
            sampling: options.sampling.clone(),
            rules: options.rules(),
            ends: self.ends.clone(),
        };
        let mut texts: Vec<Text> = rows.iter().map(|prompt| Text::new(self, prompt, &options.stop)).collect();
        let written = decode::write(decoder, &rows, &settings, |row, id| texts[row].push(id, row, &mut on_text))?;
        let finished = texts.into_iter().zip(written).enumerate();
        Ok(finished.map(|(row, (text, written))| text.finish(row, written, &mut on_text)).collect())
    }

    /// The most probable continuations of every prompt, found by beam search, each prompt's best first.
    ///
    /// # Errors
    /// When a prompt is longer than the model's context, or the options are impossible.
    pub fn search(
        &self,
        prompts: &[String],
        options: &TextOptions,
        beams: usize,
        n_best: usize,
        length_penalty: f64,
    ) -> Result<Vec<Vec<Found>>, TaskError> {
        let ids = prompts.iter().map(|prompt| self.prompt_ids(prompt)).collect::<Result<Vec<_>, _>>()?;
        self.search_ids(&ids, options, beams, n_best, length_penalty)
    }

    /// [`LoadedModel::search`] from token ids.
    ///
    /// # Errors
    /// As there.
    pub fn search_ids(
        &self,
        prompts: &[Vec<u32>],
        options: &TextOptions,
        beams: usize,
        n_best: usize,
        length_penalty: f64,
    ) -> Result<Vec<Vec<Found>>, TaskError> {
        let rows: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
        let settings = BeamOptions {
            n_best,
            length_penalty: LengthPenalty::Power(length_penalty),
            rules: options.rules(),
            ends: self.ends.clone(),
            ..BeamOptions::new(beams, options.max_new_tokens)
        };
        let decoder = Causal::new(&self.model, &self.device);
        let found = decode::search(&decoder, &rows, &settings)?;
        let text = |prompt: &[u32], hypothesis: Hypothesis| {
            let mut matcher = StopMatcher::new(options.stop.iter().cloned());
            let mut stream = self.stream_after(prompt);
            let mut text: String = hypothesis.tokens.iter().filter_map(|id| stream.push(*id)).collect();
            text.push_str(&stream.finish().unwrap_or_default());
            let emit = matcher.push(&text);
            let rest = if emit.stopped { String::new() } else { matcher.finish() };
            let finish = if emit.stopped { Finish::Stop } else { hypothesis.finish };
            Found { text: emit.text + &rest, tokens: hypothesis.tokens, score: hypothesis.score, finish: finish.name() }
        };
        let found = found.into_iter().zip(prompts);
        Ok(found.map(|(found, prompt)| found.into_iter().map(|one| text(prompt, one)).collect()).collect())
    }

    /// The text of tokens that follow a prompt. What a token means to it can depend on the tokens before: only the first of
    /// all loses its space.
    fn stream_after(&self, prompt: &[u32]) -> TextStream {
        let mut stream = self.tokenizer.text_stream();
        for id in &prompt[prompt.len().saturating_sub(PROMPT_TAIL)..] {
            stream.push(*id);
        }
        stream
    }

    /// A prompt's ids; those of an empty prompt ask for a text from its beginning, which is where training put the end of
    /// the last one.
    fn prompt_ids(&self, prompt: &str) -> Result<Vec<u32>, TaskError> {
        let mut ids: Vec<u32> = self.tokenizer.begin_of_text().into_iter().collect();
        ids.extend(self.tokenizer.encode(prompt));
        if !ids.is_empty() {
            return Ok(ids);
        }
        let begin = self.tokenizer.end_of_text().ok_or_else(|| {
            TaskError::Request("the prompt is empty, and this tokenizer has no token that begins a text".into())
        })?;
        Ok(vec![begin])
    }

    /// Where the model was opened; none of one that is only in memory.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }
}

/// How text is written.
#[derive(Clone, Debug, Default)]
pub struct TextOptions {
    /// Tokens to write at most, a text.
    pub max_new_tokens: usize,
    /// How each token is chosen.
    pub sampling: SamplingOptions,
    /// No sequence of so many tokens comes twice; 0 is off.
    pub no_repeat_ngram: usize,
    /// Strings that end a text.
    pub stop: Vec<String>,
}

impl TextOptions {
    pub(crate) fn rules(&self) -> Rules {
        Rules {
            repetition_penalty: self.sampling.repetition_penalty,
            no_repeat_ngram: self.no_repeat_ngram,
            ..Rules::default()
        }
    }
}

/// A text that beam search found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Found {
    /// What is added to the prompt.
    pub text: String,
    /// The ids that are added.
    pub tokens: Vec<u32>,
    /// The sum of the tokens' log-probabilities over the length penalty, in nats.
    pub score: f64,
    /// `stop` or `length`.
    pub finish: &'static str,
}

/// A text that is being written.
struct Text {
    stream: TextStream,
    matcher: StopMatcher,
    so_far: String,
    stopped: bool,
}

impl Text {
    fn new(model: &LoadedModel, prompt: &[u32], stop: &[String]) -> Self {
        let matcher = StopMatcher::new(stop.iter().cloned());
        Self { stream: model.stream_after(prompt), matcher, so_far: String::new(), stopped: false }
    }

    fn push(
        &mut self,
        id: u32,
        row: usize,
        on_text: &mut impl FnMut(usize, &str) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let Some(piece) = self.stream.push(id) else { return ControlFlow::Continue(()) };
        let emit = self.matcher.push(&piece);
        self.stopped = emit.stopped;
        if !emit.text.is_empty() {
            self.so_far.push_str(&emit.text);
            on_text(row, &emit.text)?;
        }
        if self.stopped { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn finish(
        mut self,
        row: usize,
        written: Written,
        on_text: &mut impl FnMut(usize, &str) -> ControlFlow<()>,
    ) -> Generation {
        if !self.stopped {
            let piece = self.stream.finish().unwrap_or_default();
            let rest = self.matcher.push(&piece).text + &self.matcher.finish();
            if !rest.is_empty() {
                // The text is complete, so nothing is left to be ended.
                let _ = on_text(row, &rest);
                self.so_far.push_str(&rest);
            }
        }
        Generation { prompt: String::new(), text: self.so_far, tokens: written.tokens, finish: written.finish.name() }
    }
}

/// Tokens that end a text: what `generation_config.json` names as `eos_token_id`, one or several, and the tokenizer's.
pub(crate) fn end_tokens(folder: &Path, tokenizer: &Tokenizer) -> Vec<u32> {
    let named = || -> Option<serde_json::Value> {
        let text = std::fs::read_to_string(folder.join("generation_config.json")).ok()?;
        Some(serde_json::from_str::<serde_json::Value>(&text).ok()?.get("eos_token_id")?.clone())
    };
    let mut ends: Vec<u32> = match named() {
        Some(serde_json::Value::Array(ids)) => ids.iter().filter_map(|id| Some(id.as_u64()? as u32)).collect(),
        Some(id) => id.as_u64().map(|id| id as u32).into_iter().collect(),
        None => Vec::new(),
    };
    ends.extend(tokenizer.end_of_text());
    ends.sort_unstable();
    ends.dedup();
    ends
}
