//! A look at data before anything is done with it.
//!
//! Most surprises in training data can be seen in its first rows, its lengths, its copies and a handful of
//! tell-tale strings. One streaming pass collects them; memory is that of the duplicate counter.

mod lengths;
mod oddities;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use lengths::Lengths;
pub use oddities::OddityKind;

use crate::batches::in_batches;
use crate::clean::{NoText, Step, clean};
use crate::duplicates::{ContentHash, DuplicateCounter, RepeatedDocument, content_hash};
use crate::error::CorpusError;
use crate::prepare::Dropped;
use crate::read::{Bytes, Document, Documents, ReadOptions, Split, find_files};
use crate::tokenizer::Tokenizer;
use lengths::Histogram;

/// What to look at, and how.
#[derive(Clone, Debug)]
pub struct InspectOptions {
    /// The JSON field that holds the text.
    pub text_field: Option<String>,
    /// Where documents of text files end.
    pub split: Split,
    /// Documents to show.
    pub preview: usize,
    /// Characters of each to show.
    pub preview_characters: usize,
    /// Counts tokens when given.
    pub tokenizer: Option<Tokenizer>,
    /// Steps of cleaning; what is told is of the text after them.
    pub clean: Vec<Step>,
    /// How bytes become text.
    pub bytes: Bytes,
}

impl Default for InspectOptions {
    fn default() -> Self {
        let (text_field, split, tokenizer, clean) = (None, Split::Auto, None, Vec::new());
        Self { text_field, split, preview: 3, preview_characters: 400, tokenizer, clean, bytes: Bytes::default() }
    }
}

/// A document as a model will see it, shortened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviewDocument {
    /// Its file.
    pub path: String,
    /// Where it begins in the decompressed file, in bytes.
    pub offset: u64,
    /// The beginning of its text as it was read, where it is cleaned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The beginning of its normalized and cleaned text.
    pub text: String,
    /// Characters of all its text.
    pub characters: u64,
    /// Tokens of all its text.
    pub tokens: Option<u64>,
}

/// An oddity, with one place where it can be seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Oddity {
    /// What it is.
    pub kind: OddityKind,
    /// Documents that have it.
    pub documents: u64,
    /// The first file that has it.
    pub path: String,
    /// Where: the byte offset of the document in the decompressed file plus the position in its text.
    pub offset: u64,
}

/// Shares of characters, adding up to 1 (or all 0 without text).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scripts {
    /// ASCII.
    pub ascii: f64,
    /// Chinese, Japanese and Korean.
    pub cjk: f64,
    /// Everything else.
    pub other: f64,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inspection {
    /// Files read.
    pub files: u64,
    /// Files of unsupported kinds that were left out.
    pub skipped_files: Vec<String>,
    /// Why files could not be read to their end, a message a file. Training stops at the first of them.
    pub problems: Vec<String>,
    /// What could not be read within files and was passed over, with its place, a message each.
    #[serde(default)]
    pub passed_over: Vec<String>,
    /// Documents with text.
    pub documents: u64,
    /// Documents without text, which training leaves out.
    pub empty_documents: u64,
    /// The same by reason: read without text, or left without it by a step of cleaning.
    #[serde(default)]
    pub dropped: Vec<Dropped>,
    /// Bytes of normalized text.
    pub bytes: u64,
    /// Characters of normalized text.
    pub characters: u64,
    /// Tokens, without ends of documents, when a tokenizer was given.
    pub tokens: Option<u64>,
    /// Lengths of documents in characters.
    pub document_characters: Lengths,
    /// Lengths of documents in tokens.
    pub document_tokens: Option<Lengths>,
    /// Distinct documents.
    pub unique_documents: u64,
    /// Documents beyond the first copy of each.
    pub duplicate_documents: u64,
    /// Bytes of those.
    pub duplicate_bytes: u64,
    /// The most repeated ones.
    pub most_repeated: Vec<RepeatedDocument>,
    /// Scripts by share of characters.
    pub scripts: Scripts,
    /// The first documents.
    pub preview: Vec<PreviewDocument>,
    /// Top-level fields of JSON records: name → type → records.
    pub fields: BTreeMap<String, BTreeMap<String, u64>>,
    /// Probable mistakes, by kind.
    pub oddities: Vec<Oddity>,
}

struct Looked {
    path: Arc<Path>,
    offset: u64,
    /// As it was read, where it was cleaned.
    before: Option<String>,
    text: Result<String, NoText>,
    hash: ContentHash,
    characters: [u64; 3],
    tokens: Option<u64>,
    oddities: Vec<(OddityKind, usize)>,
}

fn look(document: Document, options: &InspectOptions) -> Looked {
    let oddities = oddities::oddities(&document.text);
    let cleaned = clean(&document.text, &options.clean).map(Cow::into_owned);
    let text = cleaned.as_deref().unwrap_or_default();
    let mut characters = [0; 3];
    for character in text.chars() {
        let class = if character.is_ascii() {
            0
        } else if is_cjk(character) {
            1
        } else {
            2
        };
        characters[class] += 1;
    }
    Looked {
        hash: content_hash(text),
        tokens: options.tokenizer.as_ref().map(|tokenizer| tokenizer.encode(text).len() as u64),
        before: (!options.clean.is_empty()).then(|| document.text.chars().take(options.preview_characters).collect()),
        path: document.path,
        offset: document.offset,
        characters,
        oddities,
        text: cleaned,
    }
}

/// Chinese, Japanese and Korean letters and punctuation, full-width forms included.
fn is_cjk(character: char) -> bool {
    matches!(u32::from(character), 0x1100..=0x11FF | 0x2E80..=0x9FFF | 0xAC00..=0xD7FF | 0xF900..=0xFAFF
        | 0xFE30..=0xFE4F | 0xFF00..=0xFFEF | 0x1_B000..=0x1_B16F | 0x2_0000..=0x3_FFFF)
}

/// Reads everything behind the patterns once and says what is there. A file that cannot be read does not keep the
/// others from being looked at: its error stands in [`Inspection::problems`].
///
/// # Errors
/// When the patterns lead to nothing, or no file could be read and one has an error.
pub fn inspect(patterns: &[String], options: &InspectOptions) -> Result<Inspection, CorpusError> {
    let found = find_files(patterns)?;
    let files = found.files.len() as u64;
    let read = ReadOptions {
        text_field: options.text_field.clone(),
        split: options.split.clone(),
        bytes: options.bytes,
        ..ReadOptions::default()
    };
    let mut documents = Documents::new(found.files, read).with_fields().past_errors();
    let notes = documents.notes();
    let mut gathered = Gathered::default();
    let tokenizer = options.tokenizer.as_ref();
    in_batches(
        &mut documents,
        |document| document.text.len(),
        |document| Some(look(document, options)),
        |batch| {
            for looked in &batch {
                gathered.add(looked, options);
            }
            Ok(())
        },
    )?;
    let fields = documents.take_fields().unwrap_or_default().0;
    let mut problems = documents.take_problems();
    if gathered.counter.documents() + gathered.empty == 0 && !problems.is_empty() {
        return Err(problems.swap_remove(0));
    }
    let (passed_over, more) = notes.take();
    let more = (more > 0).then(|| format!("{more} more like these"));
    let total = gathered.characters.iter().sum::<u64>();
    let share = |count: u64| if total > 0 { count as f64 / total as f64 } else { 0.0 };
    let counter = gathered.counter;
    Ok(Inspection {
        files,
        skipped_files: found.skipped.iter().map(|path| path.display().to_string()).collect(),
        problems: problems.iter().map(ToString::to_string).collect(),
        passed_over: passed_over.iter().map(ToString::to_string).chain(more).collect(),
        documents: counter.documents(),
        empty_documents: gathered.empty,
        dropped: gathered
            .dropped
            .iter()
            .map(|(why, &documents)| Dropped { reason: why.to_string(), documents })
            .collect(),
        bytes: gathered.bytes,
        characters: total,
        tokens: tokenizer.map(|_| gathered.tokens),
        document_characters: gathered.lengths.summary(),
        document_tokens: tokenizer.map(|_| gathered.token_lengths.summary()),
        unique_documents: counter.unique_documents(),
        duplicate_documents: counter.duplicate_documents(),
        duplicate_bytes: counter.duplicate_bytes(),
        most_repeated: counter.most_repeated(10),
        scripts: Scripts {
            ascii: share(gathered.characters[0]),
            cjk: share(gathered.characters[1]),
            other: share(gathered.characters[2]),
        },
        preview: gathered.preview,
        fields: fields
            .into_iter()
            .map(|(name, types)| (name, types.into_iter().map(|(kind, count)| (kind.to_owned(), count)).collect()))
            .collect(),
        oddities: gathered.oddities.into_values().collect(),
    })
}

#[derive(Default)]
struct Gathered {
    counter: DuplicateCounter,
    empty: u64,
    dropped: BTreeMap<NoText, u64>,
    bytes: u64,
    tokens: u64,
    characters: [u64; 3],
    lengths: Histogram,
    token_lengths: Histogram,
    preview: Vec<PreviewDocument>,
    oddities: BTreeMap<OddityKind, Oddity>,
}

impl Gathered {
    fn add(&mut self, looked: &Looked, options: &InspectOptions) {
        for (kind, position) in &looked.oddities {
            let entry = self.oddities.entry(*kind).or_insert_with(|| Oddity {
                kind: *kind,
                documents: 0,
                path: looked.path.display().to_string(),
                offset: looked.offset + *position as u64,
            });
            entry.documents += 1;
        }
        let text = match &looked.text {
            Ok(text) => text,
            Err(why) => {
                self.empty += 1;
                *self.dropped.entry(*why).or_default() += 1;
                return;
            }
        };
        let characters = looked.characters.iter().sum();
        self.counter.add(looked.hash, text, &looked.path);
        self.bytes += text.len() as u64;
        self.lengths.add(characters);
        for (total, count) in self.characters.iter_mut().zip(looked.characters) {
            *total += count;
        }
        if let Some(tokens) = looked.tokens {
            self.tokens += tokens;
            self.token_lengths.add(tokens);
        }
        if self.preview.len() < options.preview {
            self.preview.push(PreviewDocument {
                path: looked.path.display().to_string(),
                offset: looked.offset,
                before: looked.before.clone(),
                text: text.chars().take(options.preview_characters).collect(),
                characters,
                tokens: looked.tokens,
            });
        }
    }
}

#[cfg(test)]
mod tests;
