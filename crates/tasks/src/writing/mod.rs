//! Texts written from texts: translations and summaries, by an encoder with a decoder, or by a language model that is asked for
//! them in the words of a prompt.

mod brief;
mod pairs;
pub mod training;

pub use brief::{Brief, PLACE, WritingTask, check_prompt};
pub use pairs::{Pair, read_pairs};

pub(crate) use brief::{asked, is_chinese};

use crate::chat::{CHATML, ChatTemplate, Message};
use crate::from_source::{Beams, SourceModel};
use crate::language_model::{Found, LoadedModel, TaskError, TextOptions};
use crate::metrics::summaries::sentences;
use crate::model_folder::{model_folder, place};
use burn::tensor::Device;
use loam_models::LanguageModel;
use loam_models::sampling::SamplingOptions;
use std::ops::ControlFlow;
use std::path::Path;

/// How texts are written.
#[derive(Clone, Copy, Debug)]
pub struct WritingOptions {
    /// Texts that are kept at every step; none for five of an encoder with a decoder, and the most probable token of a language
    /// model.
    pub beams: Option<usize>,
    /// Scores are divided by the length to this power.
    pub length_penalty: f64,
    /// Tokens to write at most.
    pub most: usize,
    /// No sequence of so many tokens comes twice; 0 is off.
    pub no_repeat_ngram: usize,
    /// Texts that are read side by side.
    pub batch: usize,
}

/// What was written of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// It.
    pub text: String,
    /// Parts that the text was read in; 1 where it was read whole.
    pub parts: usize,
}

/// A model that writes.
#[derive(Debug)]
pub struct Writer {
    model: Model,
    brief: Brief,
}

#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "there is one")]
enum Model {
    Source(SourceModel),
    Causal(LoadedModel, ChatTemplate),
}

/// How often summaries may be summarized again.
const DEEPEST: usize = 8;

impl Writer {
    /// Opens one: a folder, a run's folder, a GGUF file, or `hf:org/name`. The words around a text are `prompt`'s, or those that the
    /// model was trained with, or, of a language model, the usual ones.
    ///
    /// # Errors
    /// When files are missing or broken, the model is of another kind, or the prompt has no place for a text.
    pub fn open(path: &Path, task: WritingTask, prompt: Option<&str>, device: &Device) -> Result<Self, TaskError> {
        if let Some(prompt) = prompt {
            check_prompt(prompt)?;
        }
        let known = Brief::beside(&model_folder(path)?)?;
        let kept = known.filter(|known| known.task == task).and_then(|known| known.prompt);
        let brief = Brief { task, prompt: prompt.map(str::to_owned).or(kept) };
        if let Some(model) = SourceModel::open_adapted(path, None, device)? {
            return Ok(Self { model: Model::Source(model), brief });
        }
        let model = LoadedModel::open(path, device)?;
        let folder = place(path, None)?.tokenizer;
        let template = match ChatTemplate::of_folder(&folder)? {
            Some(template) => template,
            None => ChatTemplate::new(CHATML.to_owned(), Vec::new(), "chatml".to_owned())?,
        };
        Ok(Self { model: Model::Causal(model, template), brief })
    }

    /// What is asked about a text.
    fn asked(&self, text: &str) -> String {
        match (&self.brief.prompt, &self.model) {
            (Some(prompt), _) => asked(prompt, text),
            (None, Model::Source(_)) => text.to_owned(),
            (None, Model::Causal(..)) => asked(self.brief.task.usual_prompt(text), text),
        }
    }

    /// The ids that a language model reads of a text.
    fn prompt(&self, model: &LoadedModel, template: &ChatTemplate, text: &str) -> Result<Vec<u32>, TaskError> {
        let rendered = template.render(&[Message::new("user", self.asked(text))], true)?;
        Ok(model.tokenizer.encode_with_special_tokens(&rendered.text))
    }

    /// Whether the model can read a text whole and still write.
    fn fits(&self, text: &str, most: usize) -> Result<bool, TaskError> {
        match &self.model {
            Model::Source(model) => Ok(model.source(&self.asked(text)).is_ok()),
            Model::Causal(model, template) => {
                let context = model.model.context();
                // Few tokens are longer than 32 bytes, so that what is far too long need not be looked at.
                let short = text.len() <= context.saturating_mul(32);
                Ok(short && self.prompt(model, template, text)?.len() + most.min(context / 2) <= context)
            }
        }
    }

    /// What becomes of every text, in their order, or why nothing does. A text without words becomes none. What is longer than the
    /// model reads is summarized in parts, whose summaries are summarized again; it is not translated. `done` hears how many texts
    /// are done.
    ///
    /// # Errors
    /// When the options are impossible.
    pub fn write(
        &self,
        texts: &[String],
        options: &WritingOptions,
        done: &mut dyn FnMut(usize),
    ) -> Result<Vec<Result<Written, String>>, TaskError> {
        let mut written: Vec<Result<Written, String>> = vec![Ok(Written::default()); texts.len()];
        let mut order: Vec<usize> = Vec::with_capacity(texts.len());
        let mut long = Vec::new();
        for (index, text) in texts.iter().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
            match self.fits(text, options.most) {
                Ok(true) => order.push(index),
                Ok(false) if self.brief.task == WritingTask::Summarize => long.push(index),
                Ok(false) => written[index] = self.one(text, options).map_err(|error| error.to_string()),
                Err(error) => written[index] = Err(error.to_string()),
            }
        }
        // Texts of like length go through the model together.
        order.sort_by_key(|&index| texts[index].len());
        let mut count = texts.len() - order.len() - long.len();
        for batch in order.chunks(options.batch.max(1)) {
            let sources: Vec<&str> = batch.iter().map(|&index| &texts[index][..]).collect();
            for (&index, text) in batch.iter().zip(self.side_by_side(&sources, options)?) {
                written[index] = Ok(Written { text, parts: 1 });
            }
            count += batch.len();
            done(count);
        }
        for index in long {
            written[index] = self.in_parts(&texts[index], options).map_err(|error| error.to_string());
            count += 1;
            done(count);
        }
        Ok(written)
    }

    fn one(&self, text: &str, options: &WritingOptions) -> Result<Written, TaskError> {
        Ok(Written { text: self.side_by_side(&[text], options)?.remove(0), parts: 1 })
    }

    fn side_by_side(&self, texts: &[&str], options: &WritingOptions) -> Result<Vec<String>, TaskError> {
        let text_options = TextOptions {
            max_new_tokens: options.most,
            sampling: SamplingOptions { temperature: 0.0, ..SamplingOptions::default() },
            no_repeat_ngram: options.no_repeat_ngram,
            stop: Vec::new(),
        };
        let best =
            |found: Vec<Found>| found.into_iter().next().map(|best| best.text.trim().to_owned()).unwrap_or_default();
        match &self.model {
            Model::Source(model) => {
                let asked: Vec<String> = texts.iter().map(|text| self.asked(text)).collect();
                let beams =
                    Beams { beams: options.beams.unwrap_or(5), n_best: 1, length_penalty: options.length_penalty };
                Ok(model.write(&asked, &text_options, beams)?.into_iter().map(best).collect())
            }
            Model::Causal(model, template) => {
                let prompts: Vec<Vec<u32>> =
                    texts.iter().map(|text| self.prompt(model, template, text)).collect::<Result<_, _>>()?;
                let longest = prompts.iter().map(Vec::len).max().unwrap_or(0);
                let room = (model.model.context() + 1).saturating_sub(longest).max(1);
                let text_options = TextOptions { max_new_tokens: options.most.min(room), ..text_options };
                match options.beams.unwrap_or(1) {
                    1 => {
                        let all = model.write_ids(&prompts, &text_options, |_, _| ControlFlow::Continue(()))?;
                        Ok(all.into_iter().map(|one| one.text.trim().to_owned()).collect())
                    }
                    beams => {
                        let found = model.search_ids(&prompts, &text_options, beams, 1, options.length_penalty)?;
                        Ok(found.into_iter().map(best).collect())
                    }
                }
            }
        }
    }

    /// The summary of a text that is too long to be read whole.
    fn in_parts(&self, text: &str, options: &WritingOptions) -> Result<Written, TaskError> {
        let (mut text, mut parts) = (text.to_owned(), 1);
        for _ in 0..DEEPEST {
            let cut = self.parts(&text, options.most)?;
            parts = parts.max(cut.len());
            let mut summaries = Vec::with_capacity(cut.len());
            for batch in cut.chunks(options.batch.max(1)) {
                let batch: Vec<&str> = batch.iter().map(String::as_str).collect();
                summaries.extend(self.side_by_side(&batch, options)?);
            }
            text = summaries.join("\n");
            if cut.len() == 1 {
                return Ok(Written { text, parts });
            }
        }
        let message =
            format!("its summary is still too long after {DEEPEST} times; let it be shorter with --max-tokens");
        Err(TaskError::Request(message))
    }

    /// A text in parts that the model can read, cut between sentences where that is possible.
    fn parts(&self, text: &str, most: usize) -> Result<Vec<String>, TaskError> {
        if self.fits(text, most)? {
            return Ok(vec![text.to_owned()]);
        }
        let sentences = sentences(text);
        let halves: [String; 2] = if sentences.len() > 1 {
            let (mut taken, mut first) = (0, 0);
            while first + 1 < sentences.len() && taken < text.len() / 2 {
                taken += sentences[first].len() + 1;
                first += 1;
            }
            [sentences[..first].join("\n"), sentences[first..].join("\n")]
        } else {
            let middle = text.floor_char_boundary(text.len() / 2);
            if middle == 0 {
                let message = "the model's context has no room for a text beside the prompt and what is written";
                return Err(TaskError::Request(message.to_owned()));
            }
            let space = text[..middle].rfind(char::is_whitespace).filter(|&at| at > middle / 2).unwrap_or(middle);
            [text[..space].to_owned(), text[space..].trim_start().to_owned()]
        };
        let mut parts = Vec::new();
        for half in halves {
            parts.extend(self.parts(&half, most)?);
        }
        Ok(parts)
    }
}
