//! What a pipeline is to do.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::clean::Step;
use crate::deduplicate::{Keep, MinHashOptions, PASSAGE};
use crate::error::CorpusError;
use crate::language::Identifier;
use crate::quality::Filters;
use crate::read::{Bytes, Split};
use crate::redact::Redactor;
use crate::tokenizer::{Framing, TokenizerKind};

use super::order::{can_order_by, order_columns};
use super::score::ScorePlan;

/// Documents in, steps, and what comes out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PipelinePlan {
    /// Where documents come from, at least one.
    #[serde(rename = "source")]
    pub sources: Vec<PipelineSource>,
    /// What is done to them, in order.
    #[serde(rename = "step", default)]
    pub steps: Vec<StepPlan>,
    /// What makes tokens of what is left; none are made without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<TokensPlan>,
    /// What is held out.
    #[serde(default)]
    pub split: SplitPlan,
    /// How sources are mixed where models are trained on the tokens.
    #[serde(default)]
    pub mix: MixPlan,
    /// How bytes become text.
    #[serde(default)]
    pub read: Bytes,
    /// What is written.
    #[serde(default)]
    pub output: OutputPlan,
}

/// Files of one kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PipelineSource {
    /// What records call it.
    pub name: String,
    /// Files, folders and globs.
    pub path: Vec<String>,
    /// The field of records that holds the text; recognized by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_field: Option<String>,
    /// Where documents of text files end: auto, file, line, paragraph or `separator:STRING`.
    #[serde(default = "auto")]
    pub split: String,
    /// How often it is shown in relation to its size: 2 is twice as often, which is to say in two epochs to another's one.
    #[serde(default = "one")]
    pub weight: f64,
    /// Whether all of it is held out: a domain that a model is measured on and never trained on.
    #[serde(default)]
    pub held_out: bool,
}

fn one() -> f64 {
    1.0
}

fn auto() -> String {
    "auto".to_owned()
}

impl PipelineSource {
    /// Files with everything else found by looking.
    pub fn new(name: impl Into<String>, path: Vec<String>) -> Self {
        Self { name: name.into(), path, text_field: None, split: auto(), weight: 1.0, held_out: false }
    }

    pub(super) fn split(&self) -> Result<Split, CorpusError> {
        self.split.parse()
    }
}

/// What is compared to find duplicates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Duplicates {
    /// Addresses of pages, without what does not matter of them.
    Url,
    /// Whole texts.
    Exact,
    /// Texts that are alike, by MinHash.
    Near,
    /// Lines: those that stood before go from the text.
    Line,
    /// Paragraphs, likewise.
    Paragraph,
    /// Runs of words, wherever they stand: those that stood before go from the text.
    Passage,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum StepPlan {
    /// Named steps of cleaning.
    Clean {
        /// They, in order.
        steps: Vec<Step>,
    },
    /// Tells the language, and keeps documents in these.
    Language {
        /// Codes of ISO 639-1, or labels of the model; empty keeps all.
        #[serde(default)]
        keep: Vec<String>,
        /// The confidence below which a document goes, from 0 to 1.
        #[serde(default)]
        confidence: f64,
        /// A model of fastText (`lid.176.ftz`) that tells it in place of the built-in one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<PathBuf>,
    },
    /// The published filters of quality.
    Filter(Filters),
    /// Takes out what tells who a person is, and keys.
    Redact(Redactor),
    /// Measures documents by a model, and drops those outside limits.
    Score(ScorePlan),
    /// Drops documents that hold parts of evaluation sets.
    Decontaminate {
        /// Name of a set to its files.
        sets: BTreeMap<String, Vec<String>>,
        /// Words in a row that must stand in both.
        #[serde(default = "thirteen")]
        words: usize,
        /// Field of the sets' records that holds the text.
        #[serde(default)]
        text_field: Option<String>,
    },
    /// Drops what stands in the corpus more than once.
    Deduplicate {
        /// What is compared.
        by: Duplicates,
        /// Which copy stays.
        #[serde(default)]
        keep: Keep,
        /// Of near duplicates: how texts are compared.
        #[serde(default)]
        minhash: MinHashOptions,
        /// Of near duplicates: the estimated similarity below which two documents are not duplicates, whatever bands say.
        #[serde(default)]
        similarity: Option<f64>,
        /// Of lines and paragraphs: shorter ones may repeat.
        #[serde(default = "ten")]
        least_characters: usize,
        /// Of passages: words in a row, or characters of scripts without spaces.
        #[serde(default = "passage")]
        least_words: usize,
        /// Whether copies go; otherwise they are marked by their cluster alone. Lines, paragraphs and passages always go.
        #[serde(default = "yes")]
        remove: bool,
    },
}

fn passage() -> usize {
    PASSAGE
}

fn yes() -> bool {
    true
}

fn thirteen() -> usize {
    13
}

fn ten() -> usize {
    10
}

/// What is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OutputPlan {
    /// Bytes of text in a file of `text/`, about.
    pub file_bytes: u64,
    /// Whether the other fields of records are kept, as JSON in the column `metadata`.
    pub metadata: bool,
    /// Bytes that sorting may hold in memory.
    pub memory: usize,
}

impl Default for OutputPlan {
    fn default() -> Self {
        Self { file_bytes: 256 << 20, metadata: true, memory: 256 << 20 }
    }
}

/// What makes tokens of text: a file, or a tokenizer to be trained on what is left to train on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokensPlan {
    /// A `tokenizer.json`, or the folder that holds one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Of one that is trained: its family, byte-level BPE by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<TokenizerKind>,
    /// Of one that is trained: tokens, special tokens included; 8192 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vocab: Option<usize>,
    /// Of one that is trained: what else it is to have.
    #[serde(default)]
    pub framing: Framing,
}

/// What is held out. Documents that are alike go to one side, so that no near-duplicate of what a model is measured on is
/// trained on; where no step has looked for those, they are looked for and marked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SplitPlan {
    /// The part of each source that is held out as a domain of its name, by documents.
    pub held_out: f64,
}

/// How sources are mixed. The share of a source in training is (weight × tokens)^(1 / temperature), over the sum of these.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MixPlan {
    /// Above 1, small sources are shown more often than their size says; 1 leaves the proportions.
    pub temperature: f64,
    /// Tokens that a model is to be trained on. A source with more than its share of them is cut to it, by documents chosen
    /// by their hash; one with less is repeated.
    pub tokens: Option<u64>,
    /// The epochs that a source is repeated at most where there is a budget of tokens; what it then lacks, the others give.
    pub most_epochs: f64,
    /// A column of `documents.parquet` by which documents are shown in ascending order, instead of shuffled: a curriculum.
    /// Documents without a value come last. Text is ordered by its first 16 bytes.
    pub order_by: Option<String>,
    /// Whether that order is descending.
    pub descending: bool,
}

impl Default for MixPlan {
    fn default() -> Self {
        Self { temperature: 1.0, tokens: None, most_epochs: 4.0, order_by: None, descending: false }
    }
}

impl StepPlan {
    /// Drops these duplicates, everything else as usual.
    pub fn deduplicate(by: Duplicates) -> Self {
        Self::Deduplicate {
            by,
            keep: Keep::First,
            minhash: MinHashOptions::default(),
            similarity: None,
            least_characters: ten(),
            least_words: PASSAGE,
            remove: true,
        }
    }

    /// Marks what is alike, and lets all of it stay.
    pub(super) fn mark_near() -> Self {
        let mut step = Self::deduplicate(Duplicates::Near);
        if let Self::Deduplicate { remove, .. } = &mut step {
            *remove = false;
        }
        step
    }

    /// What reasons and records call it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Clean { .. } => "clean",
            Self::Language { .. } => "language",
            Self::Filter(_) => "filter",
            Self::Redact(_) => "redact",
            Self::Score(_) => "score",
            Self::Decontaminate { .. } => "decontaminate",
            Self::Deduplicate { by: Duplicates::Url, .. } => "duplicate_url",
            Self::Deduplicate { by: Duplicates::Exact, .. } => "exact_duplicate",
            Self::Deduplicate { by: Duplicates::Near, .. } => "near_duplicate",
            Self::Deduplicate { by: Duplicates::Line, .. } => "repeated_lines",
            Self::Deduplicate { by: Duplicates::Paragraph, .. } => "repeated_paragraphs",
            Self::Deduplicate { by: Duplicates::Passage, .. } => "repeated_passages",
        }
    }

    /// Whether what it finds is about whole documents, and can therefore be heard again, and of rows without their texts.
    pub(super) fn is_of_documents(&self) -> bool {
        matches!(self, Self::Deduplicate { by: Duplicates::Url | Duplicates::Exact | Duplicates::Near, .. })
    }

    /// Whether it needs all documents at once.
    pub(super) fn compares(&self) -> bool {
        matches!(self, Self::Deduplicate { .. })
    }
}

impl PipelinePlan {
    /// Sources through steps, everything else as usual.
    pub fn new(sources: Vec<PipelineSource>, steps: Vec<StepPlan>) -> Self {
        let (tokenizer, split, mix) = (None, SplitPlan::default(), MixPlan::default());
        Self { sources, steps, tokenizer, split, mix, read: Bytes::default(), output: OutputPlan::default() }
    }

    /// Refuses what cannot be done, before any file is read.
    pub(super) fn check(&self) -> Result<(), CorpusError> {
        if self.sources.is_empty() {
            return Err(CorpusError::invalid("there is no source", "name at least one file"));
        }
        for (number, source) in self.sources.iter().enumerate() {
            if self.sources[..number].iter().any(|other| other.name == source.name) {
                return Err(CorpusError::invalid(
                    format!("two sources are called \"{}\"", source.name),
                    "give each its own name",
                ));
            }
            source.split()?;
            if !(source.weight.is_finite() && source.weight >= 0.0) {
                return Err(CorpusError::invalid(
                    format!("source \"{}\" has the weight {}", source.name, source.weight),
                    "weights are finite and not negative",
                ));
            }
        }
        self.check_tokens()?;
        for step in &self.steps {
            let wrong = |message: String, hint: &str| Err(CorpusError::invalid(message, hint));
            match step {
                StepPlan::Language { keep, confidence, model } => {
                    Identifier::open(model.as_deref(), keep)?;
                    if !(0.0..=1.0).contains(confidence) {
                        return wrong(format!("a confidence of {confidence}"), "it lies between 0 and 1");
                    }
                }
                StepPlan::Score(score) => score.check()?,
                StepPlan::Decontaminate { sets, .. } if sets.is_empty() => {
                    return wrong("decontaminate has no sets".to_owned(), "sets = { name = [\"file.jsonl\"] }");
                }
                StepPlan::Deduplicate {
                    by: by @ (Duplicates::Line | Duplicates::Paragraph | Duplicates::Passage),
                    remove: false,
                    ..
                } => {
                    let by = format!("{by:?}").to_lowercase();
                    return wrong(
                        format!("deduplicate by {by} with remove = false"),
                        "only whole documents can be marked: url, exact, near",
                    );
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What tokens, held-out part and mixture must be.
    fn check_tokens(&self) -> Result<(), CorpusError> {
        let wrong = |message: String, hint: &str| Err(CorpusError::invalid(message, hint));
        let (split, mix) = (&self.split, &self.mix);
        if !(0.0..=0.5).contains(&split.held_out) {
            return wrong(format!("split.held_out = {}", split.held_out), "a part from 0 to 0.5; 0.02 is usual");
        }
        if self.sources.iter().all(|source| source.held_out || source.weight == 0.0) {
            return wrong("every source is held out or has the weight 0".to_owned(), "leave at least one to train on");
        }
        if !(mix.temperature.is_finite() && mix.temperature >= 0.1) {
            return wrong(format!("mix.temperature = {}", mix.temperature), "at least 0.1; 1 leaves the proportions");
        }
        if !(mix.most_epochs.is_finite() && mix.most_epochs >= 1.0) {
            return wrong(format!("mix.most_epochs = {}", mix.most_epochs), "at least 1; 4 is usual");
        }
        if mix.tokens == Some(0) {
            return wrong("mix.tokens = 0".to_owned(), "at least 1");
        }
        if mix.descending && mix.order_by.is_none() {
            return wrong(
                "mix.descending without mix.order_by".to_owned(),
                "name the column: order_by = \"characters\"",
            );
        }
        if let Some(TokensPlan { path: Some(path), kind, vocab, .. }) = &self.tokenizer
            && (kind.is_some() || vocab.is_some())
        {
            return wrong(
                format!("tokenizer.path = \"{}\" and a kind or vocab beside it", path.display()),
                "a tokenizer is read or trained: leave one out",
            );
        }
        if self.tokenizer.is_none() && *mix != MixPlan::default() {
            return wrong(
                "there is a [mix] and no [tokenizer]".to_owned(),
                "a mixture is one of tokens: add [tokenizer] with path = \"tokenizer.json\", or kind and vocab",
            );
        }
        if let Some(column) = &mix.order_by
            && !can_order_by(column)
        {
            let near = order_columns().min_by_key(|known| strsim::damerau_levenshtein(known, column));
            let hint = format!(
                "a column of documents.parquet, metadata.FIELD or scores.NAME; nearest is \"{}\"",
                near.unwrap_or_default()
            );
            return wrong(format!("mix.order_by = \"{column}\": no such column"), &hint);
        }
        Ok(())
    }

    /// Whether something is held out.
    pub(super) fn holds_out(&self) -> bool {
        self.split.held_out > 0.0 || self.sources.iter().any(|source| source.held_out)
    }

    /// The steps that are taken: those of the plan, and the marking that the split needs.
    pub(super) fn all_steps(&self) -> Vec<StepPlan> {
        let mut steps = self.steps.clone();
        let looked = |step: &StepPlan| matches!(step, StepPlan::Deduplicate { by: Duplicates::Near, .. });
        if self.holds_out() && !steps.iter().any(looked) {
            steps.push(StepPlan::mark_near());
        }
        steps
    }
}
