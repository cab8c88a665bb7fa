//! What a pipeline is to do.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clean::Step;
use crate::deduplicate::{Keep, MinHashOptions};
use crate::error::CorpusError;
use crate::language::language_codes;
use crate::quality::Filters;
use crate::read::{Bytes, Split};
use crate::redact::Redactor;

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
}

fn auto() -> String {
    "auto".to_owned()
}

impl PipelineSource {
    /// Files with everything else found by looking.
    pub fn new(name: impl Into<String>, path: Vec<String>) -> Self {
        Self { name: name.into(), path, text_field: None, split: auto() }
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
        /// Codes of ISO 639-1; empty keeps all.
        #[serde(default)]
        keep: Vec<String>,
        /// The confidence below which a document goes, from 0 to 1.
        #[serde(default)]
        confidence: f64,
    },
    /// The published filters of quality.
    Filter(Filters),
    /// Takes out what tells who a person is, and keys.
    Redact(Redactor),
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
    },
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

impl StepPlan {
    /// Drops these duplicates, everything else as usual.
    pub fn deduplicate(by: Duplicates) -> Self {
        Self::Deduplicate {
            by,
            keep: Keep::First,
            minhash: MinHashOptions::default(),
            similarity: None,
            least_characters: ten(),
        }
    }

    /// What reasons and records call it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Clean { .. } => "clean",
            Self::Language { .. } => "language",
            Self::Filter(_) => "filter",
            Self::Redact(_) => "redact",
            Self::Decontaminate { .. } => "decontaminate",
            Self::Deduplicate { by: Duplicates::Url, .. } => "duplicate_url",
            Self::Deduplicate { by: Duplicates::Exact, .. } => "exact_duplicate",
            Self::Deduplicate { by: Duplicates::Near, .. } => "near_duplicate",
            Self::Deduplicate { by: Duplicates::Line, .. } => "repeated_lines",
            Self::Deduplicate { by: Duplicates::Paragraph, .. } => "repeated_paragraphs",
        }
    }

    /// Whether it needs all documents at once.
    pub(super) fn compares(&self) -> bool {
        matches!(self, Self::Deduplicate { .. })
    }
}

impl PipelinePlan {
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
        }
        for step in &self.steps {
            let wrong = |message: String, hint: &str| Err(CorpusError::invalid(message, hint));
            match step {
                StepPlan::Language { keep, confidence } => {
                    if let Some(unknown) = keep.iter().find(|code| !language_codes().any(|known| known == *code)) {
                        let codes: Vec<&str> = language_codes().collect();
                        return wrong(format!("no language \"{unknown}\""), &format!("there are {}", codes.join(", ")));
                    }
                    if !(0.0..=1.0).contains(confidence) {
                        return wrong(format!("a confidence of {confidence}"), "it lies between 0 and 1");
                    }
                }
                StepPlan::Decontaminate { sets, .. } if sets.is_empty() => {
                    return wrong("decontaminate has no sets".to_owned(), "sets = { name = [\"file.jsonl\"] }");
                }
                _ => {}
            }
        }
        Ok(())
    }
}
