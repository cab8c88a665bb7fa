//! An encoder and decoder with its tokenizer: it reads a text whole and writes another.

use crate::language_model::{Found, TaskError, TextOptions, end_tokens};
use crate::model_folder::{Place, belongs_to, place};
use burn::tensor::{Device, Tensor, TensorData};
use loam_corpus::Tokenizer;
use loam_models::decode::{self, BeamOptions, FromSource, LengthPenalty, WriteOptions};
use loam_models::source_to_target::Source;
use loam_models::{Adapted, SourceToTarget};
use std::ops::ControlFlow;
use std::path::Path;

/// A loaded encoder and decoder.
#[derive(Debug)]
pub struct SourceModel {
    model: SourceToTarget,
    tokenizer: Tokenizer,
    device: Device,
    /// Tokens that end a text.
    ends: Vec<u32>,
}

/// How far to look for the most probable text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Beams {
    /// Texts that are kept at every step; 1 chooses token by token, as the options say.
    pub beams: usize,
    /// Texts that come back for each source.
    pub n_best: usize,
    /// Scores are divided by the length to this power.
    pub length_penalty: f64,
}

impl SourceModel {
    /// Opens a model folder, or the `model/` of a run's folder, with adapters (PEFT's files) in its weights where some are
    /// named or the folder itself holds them; none where the model is of another kind.
    ///
    /// # Errors
    /// When files are missing or broken, or model, tokenizer and adapters do not belong together.
    pub fn open_adapted(path: &Path, adapter: Option<&Path>, device: &Device) -> Result<Option<Self>, TaskError> {
        let Place { model: base, adapter, tokenizer: folder } = place(path, adapter)?;
        let config = std::fs::read_to_string(base.join("config.json")).unwrap_or_default();
        let config: serde_json::Value = serde_json::from_str(&config).unwrap_or_default();
        if !config["model_type"].as_str().is_some_and(|family| SourceToTarget::model_types().contains(&family)) {
            return Ok(None);
        }
        let mut model = SourceToTarget::load(&base, device)?;
        if let Some(adapter) = &adapter {
            model = Adapted::load(model, adapter, device)?.merge();
        }
        let tokenizer = Tokenizer::open(&folder)?;
        belongs_to(&tokenizer, &folder, model.vocabulary())?;
        let ends = end_tokens(&base, &tokenizer);
        Ok(Some(Self { model, tokenizer, device: device.clone(), ends }))
    }

    /// Writes the model, adapters merged, and its tokenizer in the Hugging Face layout.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), TaskError> {
        self.model.save(folder)?;
        Ok(self.tokenizer.save(folder)?)
    }

    /// The ids of a source, with the end of text behind them.
    pub(crate) fn source(&self, text: &str) -> Result<Vec<u32>, TaskError> {
        let mut ids = self.tokenizer.encode_framed(text, usize::MAX);
        let end = self.model.end().map(|id| id as u32);
        if ids.last().copied() != end {
            ids.extend(end);
        }
        if ids.is_empty() {
            return Err(TaskError::Request(
                "a text of no tokens, which this model has no token to end with".to_owned(),
            ));
        }
        if let Some(context) = self.model.limit().filter(|context| ids.len() > *context) {
            return Err(TaskError::Request(format!(
                "a text of {} tokens is longer than the {context} that the model reads: {:.40}…; cut it into sentences",
                ids.len(),
                text
            )));
        }
        Ok(ids)
    }

    /// What the model makes of every text, each text's best first.
    ///
    /// # Errors
    /// When a text is longer than the model reads, or the options are impossible.
    pub fn write(&self, texts: &[String], options: &TextOptions, beams: Beams) -> Result<Vec<Vec<Found>>, TaskError> {
        let sources = texts.iter().map(|text| self.source(text)).collect::<Result<Vec<_>, _>>()?;
        let lengths: Vec<usize> = sources.iter().map(Vec::len).collect();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let padding = self.model.padding() as i64;
        let row = |ids: &Vec<u32>| {
            let filled = std::iter::repeat_n(padding, longest - ids.len());
            ids.iter().map(|id| i64::from(*id)).chain(filled).collect::<Vec<i64>>()
        };
        let ids: Vec<i64> = sources.iter().flat_map(row).collect();
        let ids = Tensor::from_data(TensorData::new(ids, [sources.len(), longest]), &self.device);
        let memory = self.model.memory(&Source { ids, lengths: Some(lengths) });
        let decoder = FromSource::new(&self.model, memory, &self.device);
        let start = [self.model.start() as u32];
        let rows: Vec<&[u32]> = sources.iter().map(|_| &start[..]).collect();
        let text = |tokens: Vec<u32>, score: f64, finish: decode::Finish| {
            let text = self.tokenizer.decode(&tokens);
            Found { text, tokens, score, finish: finish.name() }
        };
        if beams.beams == 1 {
            let settings = WriteOptions {
                max_new_tokens: options.max_new_tokens,
                sampling: options.sampling.clone(),
                rules: options.rules(),
                ends: self.ends.clone(),
            };
            let written = decode::write(&decoder, &rows, &settings, |_, _| ControlFlow::Continue(()))?;
            return Ok(written.into_iter().map(|one| vec![text(one.tokens, 0.0, one.finish)]).collect());
        }
        let settings = BeamOptions {
            n_best: beams.n_best,
            length_penalty: LengthPenalty::Power(beams.length_penalty),
            rules: options.rules(),
            ends: self.ends.clone(),
            ..BeamOptions::new(beams.beams, options.max_new_tokens)
        };
        let found = decode::search(&decoder, &rows, &settings)?;
        let texts = |found: Vec<decode::Hypothesis>| {
            found.into_iter().map(|one| text(one.tokens, one.score, one.finish)).collect()
        };
        Ok(found.into_iter().map(texts).collect())
    }
}
