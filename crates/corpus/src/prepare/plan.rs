//! What to prepare, and what is told while it happens.

use std::path::PathBuf;

use crate::error::CorpusError;
use crate::read::{ReadOptions, Records, Split, find_paired_files};
use crate::tokenizer::{Framing, Tokenizer, TokenizerKind};

/// A training source.
#[derive(Clone, Debug, PartialEq)]
pub struct SourcePlan {
    /// Its name, unique among the sources.
    pub name: String,
    /// Files, folders or globs, relative to the current directory.
    pub paths: Vec<String>,
    /// How often it is shown in relation to its size: 1 is its natural proportion, 2 twice as often, 0 never.
    pub weight: f64,
    /// The JSON field that holds the text.
    pub text_field: Option<String>,
    /// Where documents of text files end.
    pub split: Split,
    /// Whether its records are pairs, and where they are.
    pub pairs: Option<PairPlan>,
}

/// Where the pairs of a source are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PairPlan {
    /// In two fields of JSON records, or columns of text files, by their number from 1.
    Fields {
        /// The field of the input.
        input: String,
        /// The field of the target.
        target: String,
    },
    /// The targets are the lines of these files, folders or globs.
    Files(Vec<String>),
}

/// What the records of `paths` are.
pub(super) fn read_options(
    text_field: &Option<String>,
    split: &Split,
    pairs: Option<&PairPlan>,
) -> Result<ReadOptions, CorpusError> {
    let records = match pairs {
        None => Records::Texts,
        Some(PairPlan::Fields { input, target }) => {
            Records::PairFields { input: input.clone(), target: target.clone() }
        }
        Some(PairPlan::Files(paths)) => Records::PairFiles { targets: find_paired_files(paths)?.files },
    };
    Ok(ReadOptions { text_field: text_field.clone(), split: split.clone(), records, source: 0 })
}

impl SourcePlan {
    /// A source of weight 1 with everything else found by looking.
    pub fn new(name: impl Into<String>, paths: Vec<String>) -> Self {
        Self { name: name.into(), paths, weight: 1.0, text_field: None, split: Split::Auto, pairs: None }
    }
}

/// A held-out domain: text that the model is measured on and never trained on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldOutPlan {
    /// Its name, unique among the domains.
    pub name: String,
    /// Files, folders or globs, relative to the current directory.
    pub paths: Vec<String>,
    /// The JSON field that holds the text.
    pub text_field: Option<String>,
    /// Where documents of text files end.
    pub split: Split,
    /// Whether its records are pairs, and where they are.
    pub pairs: Option<PairPlan>,
}

impl HeldOutPlan {
    /// A domain with everything found by looking.
    pub fn new(name: impl Into<String>, paths: Vec<String>) -> Self {
        Self { name: name.into(), paths, text_field: None, split: Split::Auto, pairs: None }
    }
}

/// Where the tokenizer comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum TokenizerPlan {
    /// Trained on the training sources.
    Train {
        /// Its family.
        kind: TokenizerKind,
        /// Tokens, special tokens included.
        vocabulary: usize,
        /// What else it is to have beside its kind's special tokens.
        framing: Framing,
    },
    /// Read from a `tokenizer.json`, or the folder that holds one.
    File(PathBuf),
    /// At hand already.
    Ready(Tokenizer),
}

/// Everything that [`crate::prepare`] needs to know.
#[derive(Clone, Debug, PartialEq)]
pub struct PreparePlan {
    /// At least one source.
    pub sources: Vec<SourcePlan>,
    /// Held-out domains. When there are none, 2 % of each source is held out as a domain of its name:
    /// documents chosen by content hash, so that copies never cross, or, in a source of fewer than 200
    /// documents, its last 2 % of bytes.
    pub held_out: Vec<HeldOutPlan>,
    /// The tokenizer.
    pub tokenizer: TokenizerPlan,
}

/// What [`crate::prepare`] is doing; bytes are of normalized text, counts are running totals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The files of a source or domain were found.
    Found {
        /// Source or domain.
        source: String,
        /// Files to read.
        files: usize,
        /// Files of unsupported kinds in its folders and globs, left out.
        skipped: usize,
    },
    /// Reading to count copies.
    Reading {
        /// Source or domain.
        source: String,
        /// Documents so far.
        documents: u64,
        /// Bytes so far.
        bytes: u64,
    },
    /// Reading to train the tokenizer.
    TrainingTokenizer {
        /// Documents so far.
        documents: u64,
        /// Bytes so far.
        bytes: u64,
    },
    /// The tokenizer is ready. A trained one may be smaller than asked when the text is small.
    TokenizerReady {
        /// Tokens asked for, when it was trained.
        asked: Option<usize>,
        /// Tokens it has.
        vocabulary: usize,
    },
    /// Tokenizing and writing.
    Tokenizing {
        /// Source or domain.
        source: String,
        /// Documents so far.
        documents: u64,
        /// Bytes so far.
        bytes: u64,
        /// Tokens so far.
        tokens: u64,
    },
    /// Syncing the folder to the disk.
    Finishing,
}

impl PreparePlan {
    /// Refuses plans that cannot be carried out, before any file is read.
    pub(super) fn check(&self) -> Result<(), CorpusError> {
        if self.sources.is_empty() {
            return Err(CorpusError::invalid("there is no source to train on", "name at least one file"));
        }
        if let Some(source) = self.sources.iter().find(|source| !(source.weight.is_finite() && source.weight >= 0.0)) {
            return Err(CorpusError::invalid(
                format!("source \"{}\" has the weight {}", source.name, source.weight),
                "weights are finite and not negative",
            ));
        }
        if !self.sources.iter().any(|source| source.weight > 0.0) {
            return Err(CorpusError::invalid("every source has the weight 0", "give at least one a positive weight"));
        }
        let names: Vec<&str> = self.sources.iter().map(|source| source.name.as_str()).collect();
        no_name_twice("sources", &names)?;
        let domains: Vec<&str> = self.held_out.iter().map(|domain| domain.name.as_str()).collect();
        no_name_twice("held-out domains", &domains)
    }
}

fn no_name_twice(what: &str, names: &[&str]) -> Result<(), CorpusError> {
    for (at, name) in names.iter().enumerate() {
        if names[..at].contains(name) {
            return Err(CorpusError::invalid(format!("two {what} are called \"{name}\""), "give each its own name"));
        }
    }
    Ok(())
}
