//! What to prepare, and what is told while it happens.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use crate::clean::Step;
use crate::error::CorpusError;
use crate::read::{Bytes, Note, ReadOptions, Records, Split, Turn, find_paired_files};
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
    /// Whether its records are pairs or conversations, and where they are.
    pub examples: Option<ExamplePlan>,
    /// What is done to its text, in order. Both sides of a pair are cleaned; conversations are not.
    pub clean: Vec<Step>,
}

/// Where the pairs or conversations of a source are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExamplePlan {
    /// In two fields of JSON records, or columns of text files, by their number from 1.
    Fields {
        /// The field of the input.
        input: String,
        /// The field of the target.
        target: String,
    },
    /// The targets are the lines of these files, folders or globs.
    Files(Vec<String>),
    /// The records are conversations.
    Conversations,
}

/// A conversation as a model reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marked {
    /// The text, special tokens spelled out.
    pub text: String,
    /// Where the answers stand in it, in bytes: what is learned.
    pub answers: Vec<Range<usize>>,
}

/// Writes a conversation as a model reads it, or says why it cannot.
type Write = dyn Fn(&[Turn]) -> Result<Marked, String> + Send + Sync;

/// What writes conversations: a chat template.
#[derive(Clone)]
pub struct ConversationWriter(pub Arc<Write>);

impl std::fmt::Debug for ConversationWriter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("ConversationWriter")
    }
}

impl PartialEq for ConversationWriter {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// What the records of `paths` are.
pub(crate) fn read_options(
    text_field: Option<&String>,
    split: &Split,
    examples: Option<&ExamplePlan>,
    bytes: Bytes,
) -> Result<ReadOptions, CorpusError> {
    let records = match examples {
        Some(ExamplePlan::Conversations) => Records::Conversations,
        None => Records::Texts,
        Some(ExamplePlan::Fields { input, target }) => {
            Records::PairFields { input: input.clone(), target: target.clone() }
        }
        Some(ExamplePlan::Files(paths)) => Records::PairFiles { targets: find_paired_files(paths)?.files },
    };
    Ok(ReadOptions { text_field: text_field.cloned(), split: split.clone(), records, bytes, ..ReadOptions::default() })
}

impl SourcePlan {
    /// A source of weight 1 with everything else found by looking.
    pub fn new(name: impl Into<String>, paths: Vec<String>) -> Self {
        let (text_field, split, examples, clean) = (None, Split::Auto, None, Vec::new());
        Self { name: name.into(), paths, weight: 1.0, text_field, split, examples, clean }
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
    /// Whether its records are pairs or conversations, and where they are.
    pub examples: Option<ExamplePlan>,
    /// What is done to its text, in order.
    pub clean: Vec<Step>,
}

impl HeldOutPlan {
    /// A domain with everything found by looking.
    pub fn new(name: impl Into<String>, paths: Vec<String>) -> Self {
        Self { name: name.into(), paths, text_field: None, split: Split::Auto, examples: None, clean: Vec::new() }
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
    /// What writes conversations, where a source has them.
    pub conversations: Option<ConversationWriter>,
    /// How the bytes of all files become text.
    pub bytes: Bytes,
}

/// What [`crate::prepare`] is doing; bytes are of normalized and cleaned text, counts are running totals.
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
    /// Something in a file could not be read and was passed over.
    PassedOver(Note),
    /// So many more things were passed over.
    PassedOverMore(u64),
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
